"""Which obligations of a proof are others under other names, found by renaming and comparing them.

Accounts differ by nothing but their names, so that a deposit of the first and one of the seventh are one obligation.
No such symmetry is assumed. A renaming permutes the members of index sorts, and with them the variables that belong
to them; it maps a formula that is valid to one that is valid, whatever it is, as long as members of these sorts are
only compared for equality. So where a renaming maps every property to itself, and one step to another, the one keeps
a property exactly if the other does. Both are checked here, on the terms themselves, by signatures: two terms have
one signature only if they are alike up to the order of what is added, multiplied, compared for equality or joined by
`and` and `or`, and to the order of the members in a choice between values of a sort. How a renaming is found does not
matter; it is guessed by the names of the variables.

Orders do differ by more than names: slots are taken in order, and the older order sets the price. Where a step does
not change who is before whom, what it keeps is mostly kept whatever that order is. To show that, each comparison by
it is an unknown truth value, in what is assumed and in what is shown, and is renamed with the members it speaks of.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from holdfast_model.checkers.knowledge import Supports
from holdfast_model.checkers.polynomials import unvisited
from holdfast_model.spec.sorts import UNBOUNDED, Enumeration, Index, is_unbounded, size_of
from holdfast_model.spec.terms import Operand, Operator, Term, argument, rebuild, walk
from holdfast_model.spec.variables import Variable

Members: TypeAlias = frozenset[tuple[type, int]]
"""Members of index sorts, each with its sort."""

_ORDER = -1
"""Stands, beside the members of a sort, for their order: a comparison by it does not survive a renaming."""

_NAMED_MOST = 3
"""A formula about more members than these of one sort is left as it is."""


class Unrenamable(Exception):  # noqa: N818 - not an error: the renaming is not one that keeps the meaning
    """A renaming would change what a term means, or has no variable to turn one into."""


@dataclass(frozen=True, eq=False, slots=True)
class Renaming:
    """A permutation of the members of some sorts: by sort, what each member becomes."""

    permutations: Mapping[type, tuple[int, ...]]
    moved: Members
    signatures: dict[Term, int] = field(default_factory=dict)

    def of(self, sort: type, member: int) -> int:
        """What a member becomes."""
        permutation = self.permutations.get(sort)
        return member if permutation is None else permutation[member]


def renaming(permutations: Mapping[type, Sequence[int]]) -> Renaming:
    """The renaming with these permutations."""
    kept = {sort: tuple(p) for sort, p in permutations.items() if list(p) != sorted(p)}
    for permutation in kept.values():
        assert sorted(permutation) == list(range(len(permutation))), "a renaming loses nobody"
    moved = {(s, m) for s, p in kept.items() for m, becomes in enumerate(p) if m != becomes}
    return Renaming(kept, frozenset(moved | {(s, _ORDER) for s in kept}))


def generators(sort: type, members: Sequence[int], size: int) -> list[Renaming]:
    """Two renamings that generate all permutations of these members: a swap of two, and a turn of all."""
    if len(members) < 2:  # noqa: PLR2004 - nobody to swap with
        return []
    swap, turn = list(range(size)), list(range(size))
    swap[members[0]], swap[members[1]] = members[1], members[0]
    for one, next_one in zip(members, [*members[1:], members[0]], strict=True):
        turn[one] = next_one
    return [renaming({sort: swap}), renaming({sort: turn})]


def bringing_first(sort_members: Sequence[int], named: Sequence[int], size: int) -> list[int]:
    """A permutation of `sort_members` that makes `named` the first of them, in this order."""
    permutation = list(range(size))
    order = [*named, *(m for m in sort_members if m not in named)]
    for member, becomes in zip(order, sort_members, strict=True):
        permutation[member] = becomes
    return permutation


class Signatures:
    """The signatures of terms, each computed once for each renaming."""

    def __init__(self, variables: Sequence[Variable], sizes: Mapping[type, int]) -> None:
        self._count = len(variables)
        self._sizes = sizes
        self._numbers: dict[object, int] = {}
        self._plain = renaming({})
        self._members: dict[Term, Members] = {}
        prefixes: dict[str, list[type]] = {}
        for sort, size in sizes.items():
            if issubclass(sort, Index) and size != UNBOUNDED:
                prefixes.setdefault(sort.prefix, []).append(sort)
        # Where two sorts print alike, a name does not say whose member it means.
        self._sorts = {prefix: sorts[0] for prefix, sorts in prefixes.items() if len(sorts) == 1}
        self._parsed = [self._parse(v.name) for v in variables]
        self._positions = {parsed: position for position, parsed in enumerate(self._parsed)}
        assert len(self._positions) == len(variables), "a renaming gives no two variables one name"
        self._of_sort = [v.sort for v in variables]
        self._counters: dict[Term, type] = {}
        self._opaque: set[type] = set()

    def make_opaque(self, sort: type, operands: Iterable[Operand]) -> None:
        """Take the order of a sort's members for a relation of which nothing is known, renamed with them.

        So are comparisons of a number with constants, where it is compared with one for each member, as a counter of
        slots is. Only what is `opened` may be concluded from what is renamed so.
        """
        assert not self._members, "nothing has been signed with another meaning"
        self._opaque.add(sort)
        constants: dict[Term, set[int]] = {}
        for term in walk(operands):
            counted = _counted(term)
            if counted is not None:
                constants.setdefault(counted[0], set()).add(counted[1])
        for number, compared in constants.items():
            if compared >= set(range(self._sizes[sort])):
                self._counters.setdefault(number, sort)

    def opaque(self, term: Term) -> bool:
        """Whether a term is a comparison that is renamed as if nothing were known of it."""
        counted = _counted(term)
        if counted is not None and counted[0] in self._counters:
            return 0 <= counted[1] < self._sizes[self._counters[counted[0]]]
        return _orders(term) in self._opaque

    @property
    def sorts(self) -> list[type]:
        """The sorts whose members can be told by the names of variables."""
        return list(self._sorts.values())

    def _parse(self, name: str) -> tuple[str, tuple[tuple[type, int], ...]]:
        """A variable's name without the members in its indices, and these."""
        found: list[tuple[type, int]] = []

        def without(index: re.Match[str]) -> str:
            shown = []
            for token in index.group(1).split(", "):
                parts = re.fullmatch(r"(\D+)(\d+)", token)
                sort = self._sorts.get(parts.group(1)) if parts else None
                if parts and sort is not None and 1 <= int(parts.group(2)) <= self._sizes[sort]:
                    found.append((sort, int(parts.group(2)) - 1))
                    shown.append(sort.__name__)
                else:
                    shown.append(token)
            return f"[{', '.join(shown)}]"

        shown = re.sub(r"\[([^\]]*)\]", without, name)
        return shown, tuple(found)

    def position(self, position: int, by: Renaming) -> int:
        """The variable that one becomes."""
        name, members = self._parsed[position]
        found = self._positions.get((name, tuple((s, by.of(s, m)) for s, m in members)))
        if found is None or self._of_sort[found] is not self._of_sort[position]:
            raise Unrenamable
        return found

    def members(self, operand: Operand) -> Members:
        """The members that a term names, as indices of its variables or as constants, and orders that it uses."""
        if not isinstance(operand, Term):
            return frozenset()
        stack = [operand]
        while stack:
            term = stack[-1]
            if term in self._members:
                stack.pop()
                continue
            waiting = [a for a in term.arguments if isinstance(a, Term) and a not in self._members]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            found: set[tuple[type, int]] = set()
            if term.operator is Operator.VARIABLE:
                assert isinstance(term.payload, int)
                found.update(self._parsed[term.payload % self._count][1])
            sort = _sort_of_constants(term)
            for part in term.arguments:
                if isinstance(part, Term):
                    found |= self._members[part]
                elif issubclass(sort, Index) and not isinstance(part, bool):
                    found.add((sort, int(part)))
            if _orders(term) is not None:
                found.add((sort, _ORDER))
            counted = _counted(term)
            if counted is not None and self.opaque(term):
                found.add((self._counters[counted[0]], counted[1]))
            self._members[term] = frozenset(found)
        return self._members[operand]

    def of(self, operand: Operand, by: Renaming | None = None) -> int:
        """The signature of an operand when its members have been renamed."""
        by = by or self._plain
        if not isinstance(operand, Term):
            return self._number(("constant", isinstance(operand, bool), int(operand)))
        stack = [operand]
        while stack:
            term = stack[-1]
            if self._known(term, by) is not None:
                stack.pop()
                continue
            children = list(_children(term))
            waiting = [a for a in children if isinstance(a, Term) and self._known(a, by) is None]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            renamed = not by.moved.isdisjoint(self.members(term))
            (by if renamed else self._plain).signatures[term] = self._number(self._key(term, by))
        found = self._known(operand, by)
        assert found is not None
        return found

    def _known(self, term: Term, by: Renaming) -> int | None:
        if by.moved and not by.moved.isdisjoint(self.members(term)):
            return by.signatures.get(term)
        return self._plain.signatures.get(term)

    def _number(self, key: object) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _argument(self, operand: Operand, sort: type, by: Renaming) -> int:
        if isinstance(operand, Term):
            found = self._known(operand, by)
            assert found is not None
            return found
        if issubclass(sort, Index) and not isinstance(operand, bool):
            return self._number(("member", sort, by.of(sort, int(operand))))
        return self._number(("constant", isinstance(operand, bool), int(operand)))

    def _key(self, term: Term, by: Renaming) -> object:
        sort = _sort_of_constants(term)
        orders = _orders(term)
        if orders in by.permutations and orders not in self._opaque:
            raise Unrenamable
        if _counted(term) is not None and self.opaque(term):
            return self._comparison(term, by)
        match term.operator:
            case Operator.VARIABLE:
                assert isinstance(term.payload, int)
                after, position = divmod(term.payload, self._count)
                return "variable", after, self.position(position, by)
            case Operator.ARGUMENT:
                return "argument", term.payload, term.sort
            case Operator.ADD | Operator.SUBTRACT:
                addends: dict[int, int] = {}
                for addend, factor in _addends(term):
                    number = self._argument(addend, int, by)
                    addends[number] = addends.get(number, 0) + factor
                return "sum", frozenset(addends.items())
            case Operator.MULTIPLY:
                return "product", tuple(sorted(self._argument(a, int, by) for a in term.arguments))
            case Operator.AND | Operator.OR | Operator.EQUAL:
                return term.operator, frozenset(self._argument(a, sort, by) for a in term.arguments)
            case Operator.ITE:
                return self._choice(term, by)
            case _:
                return term.operator, tuple(self._argument(a, sort, by) for a in term.arguments)

    def _comparison(self, term: Term, by: Renaming) -> object:
        counted = _counted(term)
        assert counted is not None
        number, constant = counted
        first = term.arguments[0] is number
        return (
            "opaque",
            term.operator,
            first or term.operator is Operator.EQUAL,
            self._argument(number, int, by),
            by.of(self._counters[number], constant),
        )

    def _choice(self, term: Term, by: Renaming) -> object:
        subject, values, otherwise = _cases(term)
        if subject is None:
            condition, then, other = term.arguments
            return (
                "choice",
                self._argument(condition, bool, by),
                self._argument(then, term.sort, by),
                self._argument(other, term.sort, by),
            )
        every = range(size_of(subject.sort))
        return (
            "cases",
            self._argument(subject, subject.sort, by),
            frozenset(
                (by.of(subject.sort, member), self._argument(values.get(member, otherwise), term.sort, by))
                for member in every
            ),
        )


def _orders(term: Term) -> type | None:
    """The index sort of which a term puts two members in order."""
    if term.operator in (Operator.LESS, Operator.AT_MOST):
        sort = _sort_of_constants(term)
        return sort if issubclass(sort, Index) else None
    return None


def _counted(term: Term) -> tuple[Term, int] | None:
    """The number that a term compares with a constant, and that constant."""
    if term.operator in (Operator.LESS, Operator.AT_MOST, Operator.EQUAL):
        one, other = term.arguments
        if isinstance(one, Term) and not isinstance(other, Term) and one.sort is int:
            return one, int(other)
        if isinstance(other, Term) and not isinstance(one, Term) and other.sort is int:
            return other, int(one)
    return None


def _sort_of_constants(term: Term) -> type:
    """The sort that a constant among a term's arguments has."""
    if term.operator is Operator.ITE:
        return term.sort
    return next((a.sort for a in term.arguments if isinstance(a, Term)), int)


def _cases(term: Term) -> tuple[Term | None, dict[int, Operand], Operand]:
    """A chain of choices by what one value of a finite sort is: that value, what each member gives, and the rest."""
    subject = _compared(term.arguments[0])[0]
    if subject is None or is_unbounded(subject.sort):
        return None, {}, term
    values: dict[int, Operand] = {}
    rest: Operand = term
    while isinstance(rest, Term) and rest.operator is Operator.ITE:
        another, members = _compared(rest.arguments[0])
        if another is not subject:
            break
        for member in members:
            values.setdefault(member, rest.arguments[1])
        rest = rest.arguments[2]
    return subject, values, rest


def _compared(condition: Operand) -> tuple[Term | None, list[int]]:
    """The value of a finite sort that a condition compares with members, or with several of them, and these."""
    assert isinstance(condition, Term)
    found: Term | None = None
    members = []
    for part in condition.arguments if condition.operator is Operator.OR else (condition,):
        if not isinstance(part, Term) or part.operator is not Operator.EQUAL or isinstance(part.arguments[1], Term):
            return None, []
        subject = part.arguments[0]
        if not isinstance(subject, Term) or not issubclass(subject.sort, Index | Enumeration):
            return None, []
        if found is not None and subject is not found:
            return None, []
        found = subject
        members.append(int(part.arguments[1]))
    return found, members


def _children(term: Term) -> Iterator[Operand]:
    """What a term's signature is made of: of sums and chains of choices, all that they join."""
    if term.operator in (Operator.ADD, Operator.SUBTRACT):
        yield from (addend for addend, _ in _addends(term))
    elif term.operator is Operator.ITE:
        subject, values, rest = _cases(term)
        yield from term.arguments if subject is None else (subject, *values.values(), rest)
    else:
        yield from term.arguments


def _addends(term: Term) -> Iterator[tuple[Operand, int]]:
    """What a sum adds, each with its factor."""
    stack: list[tuple[Operand, int]] = [(term, 1)]
    while stack:
        operand, factor = stack.pop()
        if isinstance(operand, Term):
            one, *others = operand.arguments or (0,)
            if operand.operator is Operator.ADD:
                stack += [(others[0], factor), (one, factor)]
                continue
            if operand.operator is Operator.SUBTRACT:
                stack += [(others[0], -factor), (one, factor)]
                continue
            if operand.operator is Operator.MULTIPLY:
                constant, what = (one, others[0]) if not isinstance(one, Term) else (others[0], one)
                if not isinstance(constant, Term):
                    stack.append((what, factor * int(constant)))
                    continue
            yield operand, factor
        elif int(operand):
            yield 1, factor * int(operand)


@dataclass(frozen=True, slots=True)
class TermSymmetry:
    """The sorts whose members can change places in every property, and in each the members that can."""

    signatures: Signatures
    free: Mapping[type, tuple[int, ...]]
    opaque: frozenset[type] = frozenset()
    """The sorts whose members can change places only where nothing is concluded from their order."""

    @classmethod
    def of(
        cls, variables: Sequence[Variable], sizes: Mapping[type, int], properties: Sequence[Sequence[Operand]]
    ) -> "TermSymmetry":
        """What keeps each of these properties, given by conjuncts, as it is. A first member may be a special one."""
        signatures = Signatures(variables, sizes)
        every = {sort: tuple(range(sizes[sort])) for sort in signatures.sorts}
        return cls(signatures, every).mapping(properties)

    @classmethod
    def with_orders_opaque(
        cls, variables: Sequence[Variable], sizes: Mapping[type, int], sorts: Iterable[type], terms: Sequence[Operand]
    ) -> "TermSymmetry":
        """Every change of places, with nothing known of the order of these sorts' members; to be checked yet."""
        signatures = Signatures(variables, sizes)
        opaque = frozenset(sorts).intersection(signatures.sorts)
        for sort in signatures.sorts:
            if sort in opaque:
                signatures.make_opaque(sort, terms)
        return cls(signatures, {sort: tuple(range(sizes[sort])) for sort in signatures.sorts}, opaque)

    @classmethod
    def none(cls, signatures: Signatures) -> "TermSymmetry":
        """No change of places at all."""
        return cls(signatures, {})

    def maps(self, properties: Sequence[Sequence[Operand]]) -> bool:
        """Whether every change of places maps each of these sets of conditions to itself."""
        return self.mapping(properties).free == self.free

    def mapping(self, properties: Sequence[Sequence[Operand]]) -> "TermSymmetry":
        """What maps each of these sets of conditions to itself."""
        found: dict[type, tuple[int, ...]] = {}
        for sort, members in self.free.items():
            for some in (members, members[1:]) if members[0] == 0 else (members,):
                by = generators(sort, some, size_of(sort))
                if by and all(kept(self.signatures, each, properties) for each in by):
                    found[sort] = some
                    break
        return TermSymmetry(self.signatures, found, self.opaque)

    def opened(
        self,
        operand: Operand,
        memo: dict[Term, Operand],
        moving: frozenset[int | str],
        supports: Supports,
    ) -> Operand:
        """The operand with an unknown truth value for each opaque comparison that speaks of nothing moving."""
        if not isinstance(operand, Term):
            return operand
        for term in unvisited(operand, memo):
            if self.signatures.opaque(term) and moving.isdisjoint(supports.of(term)):
                memo[term] = argument(f"{term!r}", bool)
            elif term.arguments:
                arguments = tuple(memo[a] if isinstance(a, Term) else a for a in term.arguments)
                unchanged = all(new is old for new, old in zip(arguments, term.arguments, strict=True))
                memo[term] = term if unchanged else rebuild(term, arguments)
            else:
                memo[term] = term
        return memo[operand]

    def without(self, named: Members) -> "TermSymmetry":
        """What leaves these members alone."""
        left = {s: tuple(m for m in members if (s, m) not in named) for s, members in self.free.items()}
        return TermSymmetry(
            self.signatures, {s: members for s, members in left.items() if len(members) > 1}, self.opaque
        )

    def keeping(self, updates: Mapping[int, Operand], guard: Operand) -> "TermSymmetry":
        """What also maps a step to itself; often not the first member, which is the value of a reset variable."""
        plain = self.signature(updates, guard, renaming({}))
        found: dict[type, tuple[int, ...]] = {}
        for sort, members in self.free.items():
            for some in (members, members[1:]) if members[0] == 0 else (members,):
                by = generators(sort, some, size_of(sort))
                if by and all(self._maps(updates, guard, each, to=plain) for each in by):
                    found[sort] = some
                    break
        return TermSymmetry(self.signatures, found, self.opaque)

    def _maps(self, updates: Mapping[int, Operand], guard: Operand, by: Renaming, *, to: object) -> bool:
        try:
            return self.signature(updates, guard, by) == to
        except Unrenamable:
            return False

    def signature(self, updates: Mapping[int, Operand], guard: Operand, by: Renaming) -> object:
        """The signature of a step when its members have been renamed."""
        changed = frozenset(
            (self.signatures.position(position, by), self._signed(value, self._sort(position), by))
            for position, value in updates.items()
        )
        return changed, self.signatures.of(guard, by)

    def _sort(self, position: int) -> type:
        return self.signatures._of_sort[position]  # noqa: SLF001 - in one module

    def _signed(self, value: Operand, sort: type, by: Renaming) -> object:
        if not isinstance(value, Term) and issubclass(sort, Index):
            return "member", by.of(sort, int(value))
        return self.signatures.of(value, by)

    def first_named(self, named: Iterable[tuple[type, int]]) -> Renaming:
        """A renaming that makes the named members the first of their sorts, in the order in which they come."""
        wanted: dict[type, list[int]] = {}
        for sort, member in dict.fromkeys(named):
            if member in self.free.get(sort, ()):
                wanted.setdefault(sort, []).append(member)
        return self._bringing(tuple((sort, tuple(members)) for sort, members in wanted.items()))

    def _bringing(self, wanted: tuple[tuple[type, tuple[int, ...]], ...]) -> Renaming:
        return renaming({sort: bringing_first(self.free[sort], members, size_of(sort)) for sort, members in wanted})

    def representatives(self, conditions: Sequence[Operand]) -> list[int]:
        """The places of conditions of which every other one is a renamed one."""
        seen: set[int] = set()
        found: list[int] = []
        renamings: dict[Members, Renaming] = {}
        for place, condition in enumerate(conditions):
            named = [each for each in self.signatures.members(condition) if each[1] in self.free.get(each[0], ())]
            counts: dict[type, int] = {}
            for sort, _ in named:
                counts[sort] = counts.get(sort, 0) + 1
            few = frozenset(each for each in named if counts[each[0]] <= _NAMED_MOST)
            by = renamings.get(few)
            if by is None:
                by = renamings[few] = self.first_named(sorted(few, key=lambda each: (each[0].__name__, each[1])))
            try:
                signature = self.signatures.of(condition, by)
            except Unrenamable:
                signature = self.signatures.of(condition)
            if signature not in seen:
                seen.add(signature)
                found.append(place)
        return found


def kept(signatures: Signatures, by: Renaming, properties: Sequence[Sequence[Operand]]) -> bool:
    """Whether a renaming maps each property, given by conjuncts, to itself."""
    try:
        return all({signatures.of(c, by) for c in part} == {signatures.of(c) for c in part} for part in properties)
    except Unrenamable:
        return False
