"""Symmetry in a sort: states that differ only by the names of its members are counted once.

A permutation of the members acts on a state: it moves the variables of families over the sort, and renames the
members that variables hold. A variable of a record that is not in use holds the first member and means nobody (the
owner of an order that was never placed); it is not renamed. Whether it is in use is read from its *selector*: the
first other variable of the same record whose values tell the two apart, such as the order's status. Which values of
the selector mean "in use" is learnt from states that a plain search reaches first, and extended where the search
meets another one; what is learnt wrongly cannot go unnoticed, because of the next paragraph.

**Soundness is checked, on every state that is visited.** For each state that stands for others, each permutation and
each step: the step can be taken if and only if the renamed step can be taken in the renamed state; it leads to the
renamed state; all properties and goals say the same in both; and the first state is its own renaming. By induction
the states that are visited then stand for all reachable ones, whatever the spec's text looks like. A spec that
singles out a member (a literal `Account(0)` that is more than nobody's name) fails that check and is refused. The
price is one further expansion for each permutation, so what is saved is memory more than time. An eventuality whose
conditions speak of single members is refused as well: along a path of states that stand for others, names change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import NoReturn

import numpy as np

from holdfast_model.checkers.packing import Packing
from holdfast_model.checkers.vectorise import Rewrite, Words, rewriting
from holdfast_model.errors import HoldfastError
from holdfast_model.spec.language import Range
from holdfast_model.spec.model import Instance, Model, State, Step
from holdfast_model.spec.sorts import Enumeration, Finite, Index, members, sized
from holdfast_model.spec.terms import Condition, Operand, all_of, any_of, choose, negation, variable
from holdfast_model.spec.variables import Declaration, FamilyDeclaration, Part, PartFamily, Scope

MEMBERS_MAX = 4
"""Of n members there are n! permutations, each of which is checked in each state."""

Permutation = tuple[int, ...]
"""What each member becomes."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """One variable of the state: its record, its name in it, and the members that index either."""

    scope: tuple[str, ...]
    name: str
    indices: tuple[tuple[Finite, int], ...]
    sort: type


def _cells(scope: type[Scope], path: tuple[str, ...], indices: tuple[tuple[Finite, int], ...]) -> Iterator[_Cell]:
    """The variables of a scope in the order of the state, as its layout has them."""
    for name, declared in scope._fields.items():
        match declared:
            case Declaration():
                yield _Cell(path, name, indices, declared.sort)
            case FamilyDeclaration():
                for key in product(*(members(sort) for sort in declared.sorts)):
                    further = tuple(zip(declared.sorts, map(int, key), strict=True))
                    yield _Cell(path, name, (*indices, *further), declared.member.sort)
            case Part():
                yield from _cells(declared.record, (*path, name), indices)
            case PartFamily():
                for member in members(declared.sort):
                    yield from _cells(declared.record, (*path, name), (*indices, (declared.sort, int(member))))
            case _:
                raise AssertionError(f"{declared!r} is a field of an unknown kind")


@dataclass(frozen=True, slots=True)
class Selector:
    """What tells whether a variable that holds a member is in use: another variable, and its values that say so.

    A number says so when it differs from its first value; `values` then is empty.
    """

    position: int
    by_value: bool
    values: frozenset[int] = frozenset()


class NewlyUsedError(Exception):
    """A variable was met in use where its selector says that it is not: the search must start again."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


class Symmetry:
    """The permutations of a sort's members and how they act on states, steps and packed words."""

    def __init__(self, model: Model, counted: str) -> None:
        """HoldfastError where the model has no such sort, too many members of it, or treats one of them apart."""
        spec = model.spec
        sorts = {sort.counted: sort for sort in spec.sizes if issubclass(sort, Index)}
        if counted not in sorts:
            raise HoldfastError(
                f"symmetry {counted!r} is not available for model {model.name}; "
                f"expected one of: {', '.join(sorts) or 'none'}"
            )
        self.model = model
        self.counted = counted
        self.sort: type[Index] = sorts[counted]
        size = spec.sizes[self.sort]
        if size > MEMBERS_MAX:
            raise HoldfastError(
                f"symmetry of {size} {counted} is not available: {size}! permutations are checked in each state; "
                f"expected at most {MEMBERS_MAX}"
            )
        self.identity: Permutation = tuple(range(size))
        self.permutations: list[Permutation] = list(permutations(range(size)))[1:]
        """All but the one that changes nothing."""
        with sized(spec.sizes):
            cells = list(_cells(type(spec), (), ()))
        assert len(cells) == len(model.variables), "the layout has changed its form"
        assert all(cell.name in v.name for cell, v in zip(cells, model.variables, strict=True))
        self._cells = cells
        self._positions = {(cell.scope, cell.name, cell.indices): position for position, cell in enumerate(cells)}
        self.holders = [position for position, cell in enumerate(cells) if cell.sort is self.sort]
        """The variables that hold a member."""
        self.selectors: dict[int, Selector] = {}

    # What is in use ---------------------------------------------------------------------------------------------

    def learn(self, complete: Sequence[Sequence[int]]) -> None:
        """Choose selectors, from the values of each variable in all states of some first levels.

        Where a variable is in use, the sample has as many states for each member that it may hold.
        """
        for holder in self.holders:
            found = [self._selector(holder, other, complete) for other in self._beside(holder)]
            fitting = [selector for selector, fits in found if fits] + [selector for selector, _ in found]
            self.selectors[holder] = next(
                (selector for selector in fitting if not self._in_use(selector, self.model.initial)), None
            ) or self._no_selector(holder)

    def _no_selector(self, holder: int) -> NoReturn:
        name = self.model.variables[holder].name
        raise self._refusal(f"nothing beside `{name}` tells when it is more than its first value")

    def _beside(self, holder: int) -> list[int]:
        """The other variables of the same record and indices: those that have named values first."""
        cell = self._cells[holder]
        beside = [
            position
            for position, other in enumerate(self._cells)
            if (other.scope, other.indices) == (cell.scope, cell.indices) and other.sort is not self.sort
        ]
        return sorted(beside, key=lambda position: not self._is_named(position))

    def _is_named(self, position: int) -> bool:
        return issubclass(self._cells[position].sort, Enumeration | bool)

    def _selector(self, holder: int, other: int, complete: Sequence[Sequence[int]]) -> tuple[Selector, bool]:
        """The other variable as a selector, and whether it fits all of the sample."""
        by_value = self._is_named(other)
        first = self.model.initial[other]
        counts: dict[int, list[int]] = {}
        for held, beside in zip(complete[holder], complete[other], strict=True):
            told = beside if by_value else int(beside != first)
            counts.setdefault(told, [0] * len(self.identity))[held] += 1
        used = {told for told, by_member in counts.items() if any(by_member[1:])}
        moves = any(sort is self.sort for sort, _ in self._cells[holder].indices)
        fits = moves or all(len(set(counts[told])) == 1 for told in used)
        if by_value:
            return Selector(other, by_value=True, values=frozenset(used)), fits
        return Selector(other, by_value=False), fits and 0 not in used

    def extend(self, state: State) -> None:
        """Count the selectors' values in this state as "in use" where something is; HoldfastError where none can."""
        changed = False
        for holder in self.holders:
            selector = self.selectors[holder]
            if not state[holder] or self._in_use(selector, state):
                continue
            told = state[selector.position]
            if not selector.by_value or told == self.model.initial[selector.position]:
                raise self._refusal(
                    f"`{self.model.variables[holder].name}` is in use where nothing beside it says so"
                )
            self.selectors[holder] = Selector(selector.position, by_value=True, values=selector.values | {told})
            changed = True
        assert changed, "the code and the interpreter disagree on what is in use"

    def _in_use(self, selector: Selector, state: State) -> bool:
        told = state[selector.position]
        return told in selector.values if selector.by_value else told != self.model.initial[selector.position]

    def _used(self, holder: int) -> Condition:
        """The condition under which a variable is in use."""
        selector = self.selectors[holder]
        sort = self._cells[selector.position].sort
        told = variable(selector.position, sort)
        if not selector.by_value:
            return negation(told == self.model.initial[selector.position])
        return any_of(*(told == sort(value) for value in sorted(selector.values)))

    def newly_used(self) -> Condition:
        """Whether a state has a variable in use where its selector says that it is not."""
        return any_of(
            *(
                all_of(negation(variable(holder, self.sort) == self.sort(0)), negation(self._used(holder)))
                for holder in self.holders
            )
        )

    def _refusal(self, reason: str) -> HoldfastError:
        return HoldfastError(f"model {self.model.name} is not symmetric in {self.counted}: {reason}")

    # What a permutation does ------------------------------------------------------------------------------------

    def _target(self, position: int, permutation: Permutation) -> int:
        """Where a variable's value goes."""
        cell = self._cells[position]
        moved = tuple((sort, permutation[at] if sort is self.sort else at) for sort, at in cell.indices)
        return self._positions[cell.scope, cell.name, moved]

    def renamed(self, state: State, permutation: Permutation) -> State:
        """The state under other names, on plain ints."""
        result = list(state)
        for position, value in enumerate(state):
            in_use = position in self.selectors and self._in_use(self.selectors[position], state)
            result[self._target(position, permutation)] = permutation[value] if in_use else value
        return tuple(result)

    def names_of(self, state: State, standing: State) -> Permutation | None:
        """Under which names the state that stands for others is this one; None where under none."""
        return next(
            (names for names in (self.identity, *self.permutations) if self.renamed(standing, names) == state), None
        )

    def renamed_step(self, instance: Instance, permutation: Permutation) -> Instance:
        """The step under other names."""
        arguments = tuple(
            permutation[value] if not isinstance(p.domain, Range) and p.domain is self.sort else int(value)
            for p, value in zip(instance.action.parameters, instance.arguments, strict=True)
        )
        typed = tuple(
            value if isinstance(p.domain, Range) else p.domain(value)
            for p, value in zip(instance.action.parameters, arguments, strict=True)
        )
        return Instance(instance.action, typed)

    def turned_steps(self, instances: Sequence[Instance]) -> list[list[int]]:
        """For each permutation the number of each step's renaming; HoldfastError where a step has none."""
        numbers = {(i.action.name, tuple(map(int, i.arguments))): number for number, i in enumerate(instances)}
        found = []
        for permutation in self.permutations:
            turned = []
            for instance in instances:
                other = self.renamed_step(instance, permutation)
                number = numbers.get((other.action.name, tuple(map(int, other.arguments))))
                if number is None:
                    raise self._refusal(f"{instance.label} can be taken in some state, {other.label} in none")
                turned.append(number)
            found.append(turned)
        return found

    def rewritings(self, packing: Packing) -> list[Rewrite]:
        """Each permutation as code on packed words."""
        return [rewriting(self._as_step(permutation), packing) for permutation in self.permutations]

    def _as_step(self, permutation: Permutation) -> Step:
        updates: dict[int, Operand] = {}
        for position, cell in enumerate(self._cells):
            value: Operand = variable(position, cell.sort)
            if position in self.selectors:
                name: Operand = self.sort(permutation[0])
                for member in range(1, len(permutation)):
                    is_it = variable(position, self.sort) == self.sort(member)
                    name = choose(is_it, self.sort(permutation[member]), name)
                value = choose(self._used(position), name, value)
            target = self._target(position, permutation)
            if target != position or position in self.selectors:
                updates[target] = value
        return Step(guard=True, updates=updates)

    def canonical(self, words: Words, renamings: Sequence[Words]) -> Words:
        """For each state the one that stands for it: of all its renamings that with the least words."""
        best = words
        for other in renamings:
            less = np.zeros(len(words[0]), np.bool_)
            equal = np.ones(len(words[0]), np.bool_)
            for mine, theirs in zip(best, other, strict=True):
                less |= equal & (theirs < mine)
                equal &= theirs == mine
            best = [np.where(less, theirs, mine) for mine, theirs in zip(best, other, strict=True)]
        return best

    def check_initial(self) -> None:
        """HoldfastError unless the first state is its own renaming."""
        for permutation in self.permutations:
            other = self.renamed(self.model.initial, permutation)
            if other == self.model.initial:
                continue
            shown, renamed = self.model.show(self.model.initial), self.model.show(other)
            name = next(name for name in shown if shown[name] != renamed[name])
            raise self._refusal(f"`{name}` is {shown[name]} at first; expected the same for all {self.counted}")

    def asymmetry(self, what: str, path: str) -> HoldfastError:
        """The refusal of a model of which a visited state shows that it treats members differently."""
        return self._refusal(f"{what} (in the state reached by {path})")
