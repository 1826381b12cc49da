"""The mutants of a plan: all that Cosmic Ray can make of its modules, and a sample of them that a seed draws.

A mutant is named by its module, its function, the operator, and the text of its line before and after, never by a
line number, so that its name survives changes elsewhere. The sample takes places, and of each place one mutant: else
the places for which the tool has many mutants would count many times. Each place has a rank that depends on the seed
and on its name alone, so that a change of the code changes little of the sample.
"""

import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from types import CodeType

import msgspec
from msgspec import Struct

from holdfast_model.errors import HoldfastError


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Modules that are sampled together, and the tests that judge them, the quickest to find something first."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is mutated, and what judges it: `benchmarks/mutation/plan.toml`."""

    copied: tuple[str, ...]
    source_roots: tuple[str, ...]
    package: str
    preloaded: tuple[str, ...]
    generators: str
    deselected: tuple[str, ...]
    traced_seconds: int
    tests_seconds: int
    generators_seconds: int
    excluded: dict[str, str]
    groups: dict[str, Group]

    def path(self, module: str) -> str:
        """The file of a module, seen from the root of the tree."""
        return f"{self.package}/{module}.py"


class Mutant(Struct, frozen=True, kw_only=True):
    """One mutation; `number` counts the lines of the function that read the same, `line` is where it is now."""

    group: str
    module: str
    function: str
    operator: str
    before: str
    after: str
    number: int
    line: int
    source: str

    @property
    def key(self) -> tuple[str, str, str, str, str, int]:
        """What it is named by."""
        return (self.module, self.function, self.operator, self.before, self.after, self.number)

    @property
    def id(self) -> str:
        """Its name, in short."""
        return sha256(repr(self.key).encode()).hexdigest()[:10]


class Span(Struct, frozen=True):
    """A stretch of source, and why nothing in it is mutated."""

    start: tuple[int, int]
    end: tuple[int, int]
    why: str


ANNOTATION = "type annotations"
ASSERTION = "assertions, which say what is true anyway: a weaker one changes nothing, a false one stops everything"
PATTERN = "alternatives of a pattern or of isinstance"
SIGNATURE = "the stars and slashes of a signature"
DECLARATION = "how a class or a function is declared: keywords of its head"
TEXT = "docstrings"
IMPORT = "imports"


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises `HoldfastError`."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Plan)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise HoldfastError(f"{path}: {error}; a plan of mutation is expected") from error


def spans_left_out(tree: ast.Module) -> Iterator[Span]:
    """The parts of a module in which a mutation is no question."""
    for node in ast.walk(tree):
        match node:
            case ast.Assert():
                yield _span(node, ASSERTION)
            case ast.Import() | ast.ImportFrom():
                yield _span(node, IMPORT)
            case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=ast.expr() as annotation):
                yield _span(annotation, ANNOTATION)
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
                yield _span(kinds, PATTERN)
            case ast.match_case(pattern=pattern):
                yield _span(pattern, PATTERN)
            case ast.Expr(value=ast.Constant(value=str())):
                yield _span(node, TEXT)
            case _:
                pass
        if isinstance(node, ast.FunctionDef):
            yield from _signature(node)
        if isinstance(node, ast.ClassDef):
            yield from (_span(keyword.value, DECLARATION) for keyword in node.keywords)
        if isinstance(node, ast.Module | ast.ClassDef):
            yield from (
                _span(part.value, ANNOTATION)
                for part in node.body
                if isinstance(part, ast.Assign) and isinstance(part.value, ast.BinOp) and _is_a_type(part.value)
            )


def _is_a_type(value: ast.expr) -> bool:
    """Whether a value is a union of names, such as `Money = Micros | Cents`."""
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.BitOr) and _is_a_type(value.left) and _is_a_type(value.right)
    return isinstance(value, ast.Subscript) or (isinstance(value, ast.Name) and not value.id.isupper())


def _signature(function: ast.FunctionDef) -> Iterator[Span]:
    """All of a signature but its default values."""
    at = (function.lineno, function.col_offset)
    arguments = function.args
    defaults = [value for value in (*arguments.defaults, *arguments.kw_defaults) if value is not None]
    for value in sorted(defaults, key=lambda value: (value.lineno, value.col_offset)):
        yield Span(at, (value.lineno, value.col_offset), SIGNATURE)
        assert value.end_lineno is not None
        assert value.end_col_offset is not None
        at = (value.end_lineno, value.end_col_offset)
    yield Span(at, (function.body[0].lineno, function.body[0].col_offset), SIGNATURE)


def _span(node: ast.expr | ast.stmt | ast.pattern, why: str) -> Span:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return Span((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset), why)


def function_at(tree: ast.Module, line: int) -> str:
    """The qualified name of the function or class that a line is in; "" at the top."""
    names: list[str] = []
    body: Iterable[ast.AST] = tree.body
    while True:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
                names.append(node.name)
                body = node.body
                break
        else:
            return ".".join(names)


class Place(Struct, frozen=True, kw_only=True):
    """Where something can be mutated, and the mutations there are: operators, and which of the module it would be."""

    group: str
    module: str
    function: str
    before: str
    number: int
    line: int
    column: int
    choices: tuple[tuple[str, int], ...]

    def rank(self, seed: int, choice: str = "") -> bytes:
        """The order in which places are drawn, and one of a place's choices."""
        name = (seed, self.module, self.function, self.before, self.number, self.column, choice)
        return sha256(repr(name).encode()).digest()


class Sample(Struct, frozen=True, kw_only=True):
    """The mutants that a seed draws; how much there is to draw from, by group; what was left out, by the reason."""

    drawn_from: str
    mutants: tuple[Mutant, ...]
    places: dict[str, int]
    possible: dict[str, int]
    left_out: dict[str, int]


def sample_of(root: Path, plan: Plan, *, seed: int, size: int, kept: Path) -> Sample:
    """The sample of a tree, shared evenly among the groups; `kept` is a file that spares drawing it again."""
    sources = {module: _read(root / plan.path(module)) for group in plan.groups.values() for module in group.modules}
    groups = {name: group.modules for name, group in plan.groups.items()}
    drawn_from = sha256(repr((tool(), groups, plan.excluded, seed, size, sources)).encode()).hexdigest()
    if kept.exists():
        with suppress(msgspec.DecodeError):
            known = msgspec.json.decode(kept.read_bytes(), type=Sample)
            if known.drawn_from == drawn_from:
                return known
    left_out: Counter[str] = Counter()
    places = {
        name: [place for module in group.modules for place in _places(name, module, sources[module], plan, left_out)]
        for name, group in plan.groups.items()
    }
    quota, more = divmod(size, len(plan.groups))
    sample = Sample(
        drawn_from=drawn_from,
        mutants=tuple(
            mutant
            for number, name in enumerate(plan.groups)
            for mutant in islice(_drawn(places[name], sources, seed, left_out), quota + (number < more))
        ),
        places={name: len(found) for name, found in places.items()},
        possible={name: sum(len(place.choices) for place in found) for name, found in places.items()},
        left_out=dict(sorted(left_out.items(), key=lambda item: (-item[1], item[0]))),
    )
    kept.write_bytes(msgspec.json.encode(sample))
    return sample


def _places(group: str, module: str, source: str, plan: Plan, left_out: Counter[str]) -> Iterator[Place]:
    """Where a module can be mutated."""
    tree, lines = ast.parse(source), source.splitlines()
    spans = list(spans_left_out(tree))
    excluded = {re.compile(pattern): why for pattern, why in plan.excluded.items()}
    found: defaultdict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    for operator, occurrence, start in _mutations(source):
        why = next((why for pattern, why in excluded.items() if pattern.fullmatch(operator)), "")
        why = why or next((span.why for span in spans if span.start <= start < span.end), "")
        if why:
            left_out[why] += 1
        else:
            found[start].append((operator, occurrence))
    alike: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for (line, column), choices in sorted(found.items()):
        function, before = function_at(tree, line), lines[line - 1].strip()
        same = alike[function, before]
        if line not in same:
            same.append(line)
        yield Place(
            group=group,
            module=module,
            function=function,
            before=before,
            number=same.index(line),
            line=line,
            column=column - (len(lines[line - 1]) - len(lines[line - 1].lstrip())),
            choices=tuple(choices),
        )


def _drawn(places: list[Place], sources: Mapping[str, str], seed: int, left_out: Counter[str]) -> Iterator[Mutant]:
    """One mutant for each place, in the order of the ranks.

    Left out is what is no program, and what the interpreter compiles to the same as the source or another mutant.
    """
    seen = {module: {_compiled(source)} for module, source in sources.items()}
    for place in sorted(places, key=lambda place: place.rank(seed)):
        for operator, occurrence in sorted(place.choices, key=lambda choice: place.rank(seed, repr(choice[0]))):
            mutated = _mutated(sources[place.module], operator, occurrence)
            compiled = _compiled(mutated)
            if compiled is not None and compiled not in seen[place.module]:
                seen[place.module].add(compiled)
                yield Mutant(
                    group=place.group,
                    module=place.module,
                    function=place.function,
                    operator=operator.removeprefix("core/"),
                    before=place.before,
                    after=mutated.splitlines()[place.line - 1].strip(),
                    number=place.number,
                    line=place.line,
                    source=mutated,
                )
                break
            left_out["what compiles to nothing, or to the same as the source or another mutant"] += 1


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise HoldfastError(f"{path}: {error}; the plan names it as a module to mutate") from error


def _compiled(source: str) -> str | None:
    """What the interpreter makes of a source, without where it stands; None where it is no program."""
    try:
        return _shape(compile(source, "", "exec"))
    except SyntaxError:
        return None


def _shape(code: CodeType) -> str:
    constants = [_shape(item) if isinstance(item, CodeType) else (type(item), item) for item in code.co_consts]
    return repr((code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants))


def tool() -> str:
    """The tool and its version. Raises `HoldfastError` where it is not installed."""
    try:
        return f"Cosmic Ray {version('cosmic-ray')}"
    except PackageNotFoundError as error:
        raise HoldfastError("Cosmic Ray is not installed; `make mutation` installs it from its lock") from error


def _mutations(source: str) -> Iterator[tuple[str, int, tuple[int, int]]]:
    """All mutations that Cosmic Ray knows for a source: operator, occurrence, start."""
    from cosmic_ray.ast import ast_nodes, get_ast  # noqa: PLC0415 - only `make mutation` installs it
    from cosmic_ray.plugins import get_operator, operator_names  # noqa: PLC0415 - as above

    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(operator_names()):
        made = get_operator(name)
        if made.arguments():
            continue
        operator = made()
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(positions):
            yield name, occurrence, start


def _mutated(source: str, operator: str, occurrence: int) -> str:
    from cosmic_ray.mutating import mutate_code  # noqa: PLC0415 - as above
    from cosmic_ray.plugins import get_operator  # noqa: PLC0415 - as above

    mutated = mutate_code(source, get_operator(operator)(), occurrence)
    assert isinstance(mutated, str), "the mutation was there a moment ago"
    return mutated
