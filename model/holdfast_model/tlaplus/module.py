r"""A model as a TLA+ module and a configuration for TLC.

Variables, records and families are as the spec declares them, members of sorts are strings, and each action is one
action with its parameters. Numbers of actions range over what the search tries, and limits of the search are part of
the guards, so that TLC counts what `explore` counts: distinct states, generated states, depth. Ghosts are variables
like others.

TLC takes a disjunction in an action apart and counts a state once for each part that leads to it. So a guard's
disjunction is written as a value, `(a \/ b) = TRUE`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast_model.errors import HoldfastError
from holdfast_model.spec.language import ActionDeclaration, PropertyDeclaration, PropertyKind, Range
from holdfast_model.spec.model import Model
from holdfast_model.spec.shapes import Cell, Family, Fields, Names, Shape, cells_of, shape_of
from holdfast_model.spec.sorts import Enumeration, Finite, Index
from holdfast_model.spec.terms import Operand, Term, argument
from holdfast_model.spec.variables import Variable
from holdfast_model.tlaplus.actions import Case, cases_of, limits, roots_of, updates_of, written
from holdfast_model.tlaplus.expressions import (
    CHOOSING,
    Vocabulary,
    Writer,
    after_name,
    bare,
    conjuncts,
    constant,
    indices,
)

_RESERVED = frozenset(
    """
    Nat Int BOOLEAN TRUE FALSE STRING Init Next Spec TypeOK vars IF THEN ELSE LET IN CASE OTHER DOMAIN SUBSET
    UNION ENABLED UNCHANGED CHOOSE EXCEPT MODULE EXTENDS INSTANCE WITH LOCAL CONSTANT CONSTANTS VARIABLE
    VARIABLES ASSUME ASSUMPTION AXIOM THEOREM LEMMA PROPOSITION COROLLARY LAMBDA RECURSIVE ACTION STATE TEMPORAL
    PROOF BY DEF DEFS OBVIOUS OMITTED QED HAVE HIDE NEW PICK PREFIX SUFFICES TAKE USE WITNESS DEFINE PROVE ONLY
    WF_ SF_
    """.split()  # noqa: SIM905 - a list would be three times as long
)

_BOUND = r"[tx]\d+"
"""The names that definitions in a LET and arguments of functions have."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The two files of a model: the module's name and both texts."""

    name: str
    module: str
    configuration: str


def tlc_command(name: str) -> str:
    """How TLC is run on an exported model, in its folder."""
    return f"java -cp tla2tools.jar tlc2.TLC -deadlock -workers auto -config {name}.cfg {name}.tla"


def export(model: Model, folder: Path) -> Exported:
    """Write `NAME.tla` and `NAME.cfg` into a folder. HoldfastError where model or folder do not allow it."""
    exported = _Module(model).exported()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{exported.name}.tla").write_text(exported.module, encoding="ascii")
        (folder / f"{exported.name}.cfg").write_text(exported.configuration, encoding="ascii")
    except OSError as error:
        raise HoldfastError(f"{folder}: cannot be written: {error.strerror}") from error
    return exported


class _Scope:
    """Gives out identifiers, each once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def name(self, wanted: str) -> str:
        """The identifier that is wanted, or one like it that is free."""
        text = re.sub(r"\W", "_", wanted, flags=re.ASCII)
        while text in self._taken or re.fullmatch(_BOUND, text):
            text += "_"
        self._taken.add(text)
        return text

    def within(self) -> "_Scope":
        """A scope inside this one."""
        return _Scope(self._taken)


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[_-]", name))


class _Module:
    """Writes one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._shape = shape_of(model)
        self._names = Names(model)
        for name in self._shape.fields:
            if name in _RESERVED or re.fullmatch(_BOUND, name):
                raise HoldfastError(f"variable `{name}` of model {model.name} has a name that the TLA+ module needs")
        self._scope = _Scope([*_RESERVED, *self._shape.fields])
        self.name = re.sub(r"\W+", "_", model.name, flags=re.ASCII)
        self._sorts = {sort: self._scope.name(sort.__name__) for sort in self._all_sorts()}
        self._ranks = {sort: self._scope.name(f"{name}Rank") for sort, name in self._sorts.items()}
        self._steps = [(a, self._scope.name(_camel(a.name)), cases_of(model, a)) for a in model.actions]
        self._limits = limits(model)
        self._properties = [(p, self._scope.name(_camel(p.name))) for p in model.properties]
        self._goals = [(g, self._scope.name(f"Not{_camel(g.name)}")) for g in model.goals]

    def _all_sorts(self) -> list[Finite]:
        """The finite sorts of variables, of what indexes them, and of parameters, in the order met."""
        found: dict[Finite, None] = {}
        for v in self._model.variables:
            members = [type(member) for _, key in v.path for member in key]
            for sort in (*members, v.sort):
                if issubclass(sort, Index | Enumeration):
                    found[sort] = None
        for action in self._model.actions:
            for parameter in action.parameters:
                if not isinstance(parameter.domain, Range):
                    found[parameter.domain] = None
        return list(found)

    def exported(self) -> Exported:
        """Both files."""
        definitions = [self._initial(), self._types(), *self._actions(), self._next(), *self._stated()]
        body = "\n\n".join(definitions)
        # Only now is it known which members are compared by order.
        ranks = [self._rank(sort, name) for sort, name in self._ranks.items() if f"{name}[" in body]
        title = f" MODULE {self.name} "
        width = max(77, len(title) + 8)  # of dashes there must be four on each side
        lines = [
            title.center(width, "-"),
            *self._header(),
            "EXTENDS Integers",
            "",
            *(self._set(sort, name) for sort, name in self._sorts.items()),
            *ranks,
            "",
            *self._variables(),
            "",
            body,
            "=" * width,
            "",
        ]
        return Exported(self.name, "\n".join(lines), self._configuration())

    def _header(self) -> list[str]:
        bounds = [f"{b.name}: {b.value}" for b in self._model.bounds(explored=True)]
        return [
            f"(* Model {self._model.name}, written by Holdfast from the terms that its own checkers start from.",
            "   To check it, in this folder:",
            f"     {tlc_command(self.name)}",
            "   Within:",
            *(f"     {_ascii(bound)}" for bound in bounds),
            "   `(a \\/ b) = TRUE` in an action keeps TLC from counting a step once for each reason to take it. *)",
        ]

    def _set(self, sort: Finite, name: str) -> str:
        return f"{name} == {{{_quoted(self._names.of(sort))}}}"

    def _rank(self, sort: Finite, name: str) -> str:
        cases = " [] ".join(f'x1 = "{member}" -> {number}' for member, number in self._names.of(sort).items())
        return f"{name} == [x1 \\in {self._sorts[sort]} |-> CASE {cases}]"

    def _variables(self) -> list[str]:
        names = list(self._shape.fields)
        lines = ["VARIABLES"]
        for number, name in enumerate(names, start=1):
            ghost = all(cell.variable.ghost for cell in cells_of(self._shape.fields[name]))
            comma = "," if number < len(names) else ""
            lines.append(f"    {name}{comma}" + ("  \\* a ghost: it only records what happened" if ghost else ""))
        return [*lines, "", f"vars == <<{', '.join(names)}>>"]

    def _initial(self) -> str:
        return "Init ==\n" + _junction(
            "/\\",
            [
                _by_field(f"{name} = ", shape, " |-> ", lambda part: self._built(part, self._first))
                for name, shape in self._shape.fields.items()
            ],
        )

    def _types(self) -> str:
        return "TypeOK ==\n" + _junction(
            "/\\",
            [_by_field(f"{name} \\in ", shape, ": ", self._domain) for name, shape in self._shape.fields.items()],
        )

    def _first(self, cell: Cell) -> str:
        return constant(cell.variable.sort, cell.variable.initial)

    def _built(self, shape: Shape, value: Callable[[Cell], str], depth: int = 1) -> str:
        """A value of a shape; `depth` keeps the bound names of functions within functions apart."""
        match shape:
            case Cell():
                return value(shape)
            case Fields(fields):
                return f"[{', '.join(f'{name} |-> {self._built(f, value, depth)}' for name, f in fields.items())}]"
            case Family(sorts, members):
                by_text: dict[str, list[str]] = {}
                for key, member in members.items():
                    shown = indices(sorts, key)
                    by_text.setdefault(self._built(member, value, depth + 1), []).append(
                        shown if len(sorts) == 1 else f"<<{shown}>>"
                    )
                x = f"x{depth}"
                chosen = " [] ".join(f"{x} \\in {{{', '.join(keys)}}} -> {text}" for text, keys in by_text.items())
                text = f"CASE {chosen}" if len(by_text) > 1 else next(iter(by_text))
                return f"[{x} \\in {self._product(sorts)} |-> {text}]"

    def _domain(self, shape: Shape) -> str:
        """The set of the values that a shape may have."""
        match shape:
            case Cell(_, variable):
                return self._range(variable)
            case Fields(fields):
                return f"[{', '.join(f'{name}: {self._domain(f)}' for name, f in fields.items())}]"
            case Family(sorts, members):
                domains = {self._domain(member) for member in members.values()}
                assert len(domains) == 1, "members of a family have one range"
                return f"[{self._product(sorts)} -> {domains.pop()}]"

    def _product(self, sorts: Sequence[Finite]) -> str:
        return " \\X ".join(self._sorts[sort] for sort in sorts)

    def _range(self, v: Variable) -> str:
        if issubclass(v.sort, bool):
            return "BOOLEAN"
        if issubclass(v.sort, Index | Enumeration):
            return self._sorts[v.sort]
        if v.least is not None and v.greatest is not None:
            return f"({v.least}..{v.greatest})"
        if v.least == 0:
            return "Nat"
        limits_of = [f"n >= {v.least}"] * (v.least is not None) + [f"n <= {v.greatest}"] * (v.greatest is not None)
        return f"{{n \\in Int : {limits_of[0]}}}" if limits_of else "Int"

    def _words(self, arguments: dict[str, str] | None = None) -> Vocabulary:
        return Vocabulary(self._model, self._shape, self._ranks, arguments or {})

    def _actions(self) -> list[str]:
        found = []
        for action, name, cases in self._steps:
            scope = self._scope.within()
            parameters = {p.name: scope.name(p.name) for p in action.parameters}
            head = name + (f"({', '.join(parameters.values())})" if parameters else "")
            comment = f"\\* {_ascii(action.sentence)}\n" if action.sentence else ""
            if not cases:
                found.append(f"{comment}{head} == FALSE  \\* its guard is false in every state")
            elif len(cases) == 1 and not cases[0].constants:
                found.append(f"{comment}{head} ==\n{self._step(cases[0], parameters)}")
            else:
                parts = []
                for case in cases:
                    fixed = [
                        f"{parameters[action.parameters[place].name]} = {constant(type(value), value)}"
                        for place, value in case.constants.items()
                    ]
                    parts.append(
                        "/\\ " + " /\\ ".join(fixed) + "\n/\\ " + _hanging(self._step(case, parameters, depth=0), 3)
                    )
                found.append(f"{comment}{head} ==\n" + _junction("\\/", parts))
        return found

    def _step(self, case: Case, parameters: dict[str, str], depth: int = 4) -> str:
        """Guard and updates of a step."""
        words = self._words(parameters)
        updates = updates_of(words, case.step)
        writer = Writer(words, roots_of(case.step, updates))
        lines = [_valued(writer, part) for part in conjuncts(case.step.guard) if part is not True]
        for name, shape in self._shape.fields.items():
            if name in updates and isinstance(shape, Cell):
                (update,) = updates[name]
                lines.append(f"{name}' = {writer.text(update.value, update.sort)}")
            elif name in updates:
                parts = [written(update, writer) for update in updates[name]]
                opening = f"{name}' = [{name} EXCEPT "
                lines.append(opening + (",\n" + " " * len(opening)).join(parts) + "]")
        rest = [name for name in self._shape.fields if name not in updates]
        if rest:
            lines.append(f"UNCHANGED <<{', '.join(rest)}>>")
        return _with_definitions(writer, _junction("/\\", lines, depth=0), depth=depth)

    def _next(self) -> str:
        parts = []
        for action, name, _ in self._steps:
            scope = self._scope.within()
            names = [scope.name(p.name) for p in action.parameters]
            bound = [f"{n} \\in {self._ranged(action, place)}" for place, n in enumerate(names)]
            quantified = f"\\E {', '.join(bound)} : " if bound else ""
            parts.append(f"{quantified}{name}" + (f"({', '.join(names)})" if names else ""))
        return "Next ==\n" + _junction("\\/", parts) + "\n\nSpec == Init /\\ [][Next]_vars"

    def _ranged(self, action: ActionDeclaration, place: int) -> str:
        domain = action.parameters[place].domain
        if not isinstance(domain, Range):
            return self._sorts[domain]
        least, greatest = self._limits[action.name, place]
        return f"{least}..{greatest}"

    def _stated(self) -> list[str]:
        """Properties and goals."""
        found = []
        for declared, name in self._properties:
            label = "An auxiliary invariant" if declared.auxiliary else declared.invariant
            comment = f"\\* {label}: {_ascii(declared.sentence)}\n"
            if declared.kind is PropertyKind.STEP:
                after: dict[int, Operand] = {
                    position: argument(after_name(v), v.sort) for position, v in enumerate(self._model.variables)
                }
                formula: Operand = self._model.step_formula(declared, after)
                found.append(f"{comment}{name} ==\n    [][\n{self._condition(formula, depth=8)}\n    ]_vars")
            else:
                found.append(f"{comment}{name} ==\n{self._condition(self._model.formula(declared))}")
        for declared, name in self._goals:
            comment = (
                f"\\* Goal {declared.invariant}: {_ascii(declared.sentence)}\n\\* Where this fails, it is reached.\n"
            )
            formula = self._model.formula(declared)
            found.append(f"{comment}{name} == ~(\n{self._condition(formula)}\n    )")
        found.extend(
            f"\\* {declared.invariant} ({declared.name}): {_ascii(declared.sentence)}\n"
            "\\* That the way to a state stays open speaks of the tree of behaviours; TLA+ has no form for it."
            for declared in self._model.responses
        )
        return found

    def _condition(self, formula: Operand, depth: int = 4) -> str:
        parts = list(conjuncts(formula))
        writer = Writer(self._words(), parts)
        return _with_definitions(
            writer, _junction("/\\", [bare(writer.text(p)) for p in parts], depth=0), depth=depth
        )

    def _configuration(self) -> str:
        def named(keyword: str, chosen: Iterable[tuple[PropertyDeclaration, str]]) -> list[str]:
            return [f"{keyword} {name}" for _, name in chosen]

        of_states = [(p, n) for p, n in self._properties if p.kind is PropertyKind.ALWAYS]
        lines = [
            f"\\* {tlc_command(self.name)}",
            "\\* A state without a step is no error of a model: -deadlock tells TLC not to look for one.",
            "SPECIFICATION Spec",
            *named("INVARIANT", [(p, n) for p, n in of_states if not p.auxiliary]),
            # Last, for what breaks an invariant may also leave a range, and the invariant says more.
            "INVARIANT TypeOK",
            *named("PROPERTY", [(p, n) for p, n in self._properties if p.kind is PropertyKind.STEP]),
            "\\* Auxiliary invariants, which proofs rest on; explore leaves them out, too:",
            *named("\\* INVARIANT", [(p, n) for p, n in of_states if p.auxiliary]),
            "\\* Goals: TLC shows a shortest way to one as the counterexample of its negation:",
            *named("\\* INVARIANT", self._goals),
        ]
        return "\n".join([*lines, ""])


def _by_field(opening: str, shape: Shape, symbol: str, text: Callable[[Shape], str]) -> str:
    """What is said of a variable; of a record, one field a line."""
    if not isinstance(shape, Fields):
        return opening + text(shape)
    parts = [f"{name}{symbol}{text(field)}" for name, field in shape.fields.items()]
    between = ",\n" + " " * (len(opening) + 1)
    return f"{opening}[{between.join(parts)}]"


def _quoted(members: Iterable[str]) -> str:
    return ", ".join(f'"{member}"' for member in members)


def _valued(writer: Writer, part: Operand) -> str:
    """A conjunct of a guard, which TLC takes as one value."""
    text = writer.text(part)
    return f"{text} = TRUE" if isinstance(part, Term) and part.operator in CHOOSING else bare(text)


def _junction(symbol: str, parts: Sequence[str], depth: int = 4) -> str:
    """A list of conjuncts or disjuncts, one below the other."""
    pad = " " * depth
    return "\n".join(f"{pad}{symbol} {_hanging(part, depth + 3)}" for part in parts)


def _hanging(text: str, depth: int) -> str:
    """The text with all lines but the first moved to the right."""
    return text.replace("\n", "\n" + " " * depth)


def _with_definitions(writer: Writer, body: str, *, depth: int) -> str:
    """The body behind the LET that it needs."""
    pad = " " * depth
    if not writer.definitions:
        return pad + _hanging(body, depth)
    first, *more = [f"{name} == {bare(text)}" for name, text in writer.definitions]
    lines = [f"LET {first}", *(f"    {line}" for line in more), f"IN  {_hanging(body, 4)}"]
    return pad + _hanging("\n".join(lines), depth)


def _ascii(text: str) -> str:
    """Text that may stand in a comment."""
    return text.encode("ascii", "replace").decode("ascii").replace("(*", "( *").replace("*)", "* )")
