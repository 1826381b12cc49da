"""Actions as TLA+: staged with arguments that stay symbols where the spec's text allows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from holdfast_model.errors import SpecError
from holdfast_model.spec.language import ActionDeclaration, Range
from holdfast_model.spec.model import Model, Step
from holdfast_model.spec.sorts import Finite, members, sized
from holdfast_model.spec.terms import Operand, Operator, Term, all_of, argument, choose, rebuild, same, walk
from holdfast_model.spec.variables import Variable
from holdfast_model.tlaplus import expressions
from holdfast_model.tlaplus.expressions import Leaves, Read, Vocabulary, Writer, bare, conjuncts, joined, matches


@dataclass(frozen=True, slots=True)
class Case:
    """An action with constants for some of its parameters, by position; the others are symbols."""

    constants: dict[int, int]
    step: Step


def cases_of(model: Model, action: ActionDeclaration) -> list[Case]:
    """The steps of an action, with as few constants for its arguments as its text allows.

    A spec may loop over a sort or look up a table by a member, which needs it to be a constant. And nothing is
    believed of symbols: with constants in their place each step must be, term for term, that of the search.
    """
    finite = [place for place, p in enumerate(action.parameters) if not isinstance(p.domain, Range)]
    for size in range(len(finite) + 1):
        for places in combinations(finite, size):
            found = _staged(model, action, places)
            if found is not None:
                return found
    raise AssertionError("an action whose arguments are all constants is what the search stages")


def _staged(model: Model, action: ActionDeclaration, places: Sequence[int]) -> list[Case] | None:
    """The steps of an action with constants in these places; None where it needs more, or differs with symbols."""
    symbols = [argument(p.name, int if isinstance(p.domain, Range) else p.domain) for p in action.parameters]
    domains = [_members(model, p.domain) if not isinstance(p.domain, Range) else [] for p in action.parameters]
    cases = []
    for chosen in product(*(domains[place] for place in places)):
        constants = dict(zip(places, chosen, strict=True))
        given: list[Operand] = [constants.get(place, symbol) for place, symbol in enumerate(symbols)]
        try:
            step = model.stage(action, tuple(given), exploring=True)
        except SpecError:
            if len(places) == sum(bool(domain) for domain in domains):
                raise
            return None
        free = [place for place, domain in enumerate(domains) if domain and place not in constants]
        for members_chosen in product(*(domains[place] for place in free)):
            values = dict(zip(free, members_chosen, strict=True))
            concrete = tuple(values.get(place, operand) for place, operand in enumerate(given))
            if not _agree(model, _with(step, action, values), model.stage(action, concrete, exploring=True)):
                return None
        if step is not None:
            cases.append(Case(constants, step))
    return cases


def _members(model: Model, sort: Finite) -> list[int]:
    with sized(model.spec.sizes):
        return members(sort)


def _with(step: Step | None, action: ActionDeclaration, values: dict[int, int]) -> Step | None:
    """The step with constants in the place of some arguments."""
    if step is None:
        return None
    by_name = {action.parameters[place].name: value for place, value in values.items()}
    memo: dict[int, Operand] = {}
    guard, *updates = (_put(term, by_name, memo) for term in (step.guard, *step.updates.values()))
    if guard is False:
        return None
    assert isinstance(guard, bool | Term)
    return Step(all_of(guard), dict(zip(step.updates, updates, strict=True)))  # type: ignore[arg-type]  # a condition


def _put(root: Operand, values: dict[str, int], memo: dict[int, Operand]) -> Operand:
    if not isinstance(root, Term):
        return root
    for term in walk([root]):
        if id(term) in memo:
            continue
        if term.operator is Operator.ARGUMENT:
            memo[id(term)] = values.get(str(term.payload), term)
            continue
        arguments = tuple(memo[id(a)] if isinstance(a, Term) else a for a in term.arguments)
        changed = any(new is not old for new, old in zip(arguments, term.arguments, strict=True))
        memo[id(term)] = rebuild(term, arguments) if changed else term
    return memo[id(root)]


def _agree(model: Model, one: Step | None, other: Step | None) -> bool:
    """Whether two steps are the same terms; an update to the value before is none."""
    if one is None or other is None:
        return one is other
    before = model.symbols()
    mine = {p: new for p, new in one.updates.items() if not same(new, before[p])}
    theirs = dict(other.updates)
    return (
        same(one.guard, other.guard)
        and mine.keys() == theirs.keys()
        and all(same(new, theirs[position]) for position, new in mine.items())
    )


@dataclass(frozen=True, slots=True)
class Update:
    """A new value at a place below a variable; `old` is the value before at that place."""

    place: str
    value: Operand
    old: Operand
    sort: type
    read: Read | None = None
    """The family and the index that are updated, where they are symbols."""
    condition: Operand = True
    """Where it happens, apart from the index."""


def updates_of(words: Vocabulary, step: Step) -> dict[str, list[Update]]:
    """The updates of a step by variable: of whole families at a symbolic index where they are that, else of cells."""
    left = dict(step.updates)
    found: dict[str, list[Update]] = {}
    families = {id(leaves): leaves for leaves, _ in (words.leaves[p] for p in left if p in words.leaves)}
    for leaves in families.values():
        update = _written_at(words, leaves, left)
        if update is not None:
            first = next(iter(leaves.cells().values())).variable
            found.setdefault(first.path[0][0], []).append(update)
            for cell in leaves.cells().values():
                left.pop(cell.position, None)
    for position, value in left.items():
        v = words.model.variables[position]
        old = words.value(position, after=False)
        found.setdefault(v.path[0][0], []).append(Update(_below(v), value, old, v.sort))
    return found


def _below(v: Variable) -> str:
    """A variable instance as EXCEPT names it: what follows the variable's own name."""
    return expressions.place(v).removeprefix(v.path[0][0])


def _written_at(words: Vocabulary, leaves: Leaves, updates: dict[int, Operand]) -> Update | None:
    """The one write at an index of symbols that explains what becomes of every cell of a family, if there is one."""
    cells = leaves.cells()
    key, cell = next((key, cell) for key, cell in cells.items() if cell.position in updates)
    new = updates[cell.position]
    if (
        not isinstance(new, Term)
        or new.operator is not Operator.ITE
        or new.arguments[2] is not words.value(cell.position, after=False)
    ):
        return None
    condition, value, _ = new.arguments
    for read, rest in _indices(leaves, key, condition):
        if all(
            same(
                updates.get(other.position, words.value(other.position, after=False)),
                _chosen(read, at, rest, value, words.value(other.position, after=False)),
            )
            for at, other in cells.items()
        ):
            return Update(
                leaves.place.removeprefix(cell.variable.path[0][0]),
                value,
                words.staged(read),
                cell.variable.sort,
                read,
                all_of(*rest),  # type: ignore[arg-type]  # conditions
            )
    return None


def _chosen(read: Read, key: tuple[int, ...], rest: Sequence[Operand], value: Operand, old: Operand) -> Operand:
    """What becomes of a cell when a family is written at an index under further conditions."""
    return choose(all_of(matches(read, key), *rest), value, old)  # type: ignore[arg-type]  # conditions


def _indices(leaves: Leaves, key: tuple[int, ...], condition: Operand) -> Iterator[tuple[Read, Sequence[Operand]]]:
    """The indices that the first parts of a condition may compare with a key, with the parts that are left."""
    parts = conjuncts(condition)
    sorts = leaves.family.sorts
    for count in range(min(len(parts), len(sorts)), 0, -1):
        heads = [
            p.arguments[0]
            for p in parts[:count]
            if isinstance(p, Term) and p.operator is Operator.EQUAL and not isinstance(p.arguments[1], Term)
        ]
        if len(heads) < count:
            continue
        for places in combinations(range(len(sorts)), count):
            chosen: list[Operand] = list(key)
            for at, head in zip(places, heads, strict=True):
                chosen[at] = head
            if all(isinstance(h, Term) and h.sort is sorts[at] for at, h in zip(places, heads, strict=True)):
                yield Read(leaves, tuple(chosen)), parts[count:]


def roots_of(step: Step, updates: dict[str, list[Update]]) -> list[Operand]:
    """Every term that an action is written with."""
    found: list[Operand] = list(conjuncts(step.guard))
    for several in updates.values():
        for update in several:
            found += [update.value, *conjuncts(update.condition)]
            if update.read is not None:
                found += update.read.index
    return found


def written(update: Update, writer: Writer) -> str:
    """An update as a part of EXCEPT: `!.free[account, "B"] = @ + 1`."""
    at = update.place
    if update.read is not None:
        index = zip(update.read.index, update.read.leaves.family.sorts, strict=True)
        at += f"[{', '.join(writer.text(i, sort) for i, sort in index)}]"
    value = bare(writer.text(update.value, update.sort, old=update.old))
    conditions = [writer.text(c) for c in conjuncts(update.condition) if c is not True]
    if conditions:
        condition = joined("/\\", conditions)
        value = f"IF {condition} THEN {value} ELSE @"
    return f"!{at} = {value}"


def limits(model: Model) -> dict[tuple[str, int], tuple[int, int]]:
    """The least and the greatest value that the search gives to each argument, by action and place."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for instance in model.instances():
        for place, value in enumerate(instance.arguments):
            key = instance.action.name, place
            least, greatest = found.get(key, (value, value))
            found[key] = min(least, value), max(greatest, value)
    return found
