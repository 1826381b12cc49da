"""What one search computes of many states at a time: their properties, their successors, and what is wrong with them.

Expanding some states is a pure function of their words, so several processes can expand different states at once;
what was found is a list in a fixed order, which the search takes up in the order of the states.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast_model.checkers.packing import Packing, packing_of
from holdfast_model.checkers.states import Candidates, Numbers, hashed
from holdfast_model.checkers.symmetry import Symmetry
from holdfast_model.checkers.vectorise import Columns, Flags, Indices, Judge, Rewrite, Words, judging, vectorise
from holdfast_model.spec.language import PropertyDeclaration, PropertyKind
from holdfast_model.spec.model import Instance, Model, Step
from holdfast_model.spec.terms import Condition, Operand, substitute

FlagsOrBool: TypeAlias = Flags | bool
"""A condition in each of some states, or in all of them."""

Values: TypeAlias = Sequence[FlagsOrBool]


@dataclass(frozen=True, slots=True)
class Reached:
    """A state that reaches a goal."""

    goal: int
    state: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A state that breaks a property, or a step from it that does."""

    property: int
    state: int
    step: int | None = None


@dataclass(frozen=True, slots=True)
class LeftRange:
    """A step that leaves a declared range although its successor breaks no property."""

    state: int
    step: int


@dataclass(frozen=True, slots=True)
class NewlyUsed:
    """A state, or a successor of it, with a variable in use where the symmetry took it for unused, and its words."""

    state: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asymmetric:
    """A state in which members of the sort are treated differently."""

    state: int
    what: str


Finding: TypeAlias = Reached | Broken | LeftRange | NewlyUsed | Asymmetric


@dataclass(slots=True)
class Expansion:
    """What is to know of the states from `start` up to `stop`. `stuck` are those without a step, `ended` excepted."""

    start: int
    stop: int
    findings: list[Finding] = field(default_factory=list)
    taken: list[tuple[int, int]] = field(default_factory=list)
    """Steps and in how many of the states each was taken."""
    stuck: int = 0
    stuck_first: int | None = None
    candidates: Candidates | None = None


class Program:
    """A model's steps and properties as numpy code, and what it finds."""

    def __init__(
        self, model: Model, properties: Sequence[PropertyDeclaration], *, end: PropertyDeclaration | None = None
    ) -> None:
        """`end` says in which states the system may rest for good; None is nowhere."""
        self.model = model
        self.properties = properties
        self.packing: Packing = packing_of(model)
        self.instances: list[Instance] = []
        self.steps: list[Step] = []
        for instance in model.instances():
            step = model.stage(instance.action, instance.arguments, exploring=True)
            if step is not None:
                self.instances.append(instance)
                self.steps.append(step)
        self.of_states = [number for number, p in enumerate(properties) if p.kind is PropertyKind.ALWAYS]
        self.of_steps = [number for number, p in enumerate(properties) if p.kind is PropertyKind.STEP]
        self._formulas = [model.formula(properties[number]) for number in self.of_states]
        self._ends = end is not None
        others = [*model.goals, *([] if end is None else [end])]
        self.code = vectorise(
            self.steps, [*self._formulas, *(model.formula(declared) for declared in others)], self.packing
        )
        self.step_judges = [self._judge_of(step) for step in self.steps]
        self._response_judges = [judging(_conditions(model, declared), self.packing) for declared in model.responses]
        self._after_judges: dict[int, Judge] = {}
        """By number of step: what the properties say of its successors, whether or not these are within range."""
        self._symmetry: Symmetry | None = None
        self._rewritings: list[Rewrite] = []

    def _judge_of(self, step: Step) -> Judge | None:
        """What the properties of steps say of a step, from the state before it; None where they allow it always."""
        formulas = [self.model.step_formula(self.properties[number], step.updates) for number in self.of_steps]
        return None if all(formula is True for formula in formulas) else judging(formulas, self.packing)

    def use(self, symmetry: Symmetry) -> None:
        """Count states that differ only by names once, from now on."""
        self._symmetry = symmetry
        self._rewritings = symmetry.rewritings(self.packing)
        self._turned_steps = symmetry.turned_steps(self.instances)
        self._newly_used = judging([symmetry.newly_used()], self.packing)

    def renamed(self, words: Words) -> list[Words]:
        """These states under other names, for each permutation."""
        return [rewrite(words) for rewrite in self._rewritings]

    def expand(self, words: Words, start: int) -> Expansion:
        """What is to know of these states, numbered from `start`, and their successors."""
        return _Expander(self, words, start).expanded()

    def checked(self, words: Words, start: int) -> Expansion:
        """What the properties and goals say of these states; they are not expanded."""
        expander = _Expander(self, words, start)
        _, _, formulas = self.code.check(words)
        expander.check(formulas)
        return expander.result

    def responses(self, number: int, words: Words) -> list[Flags]:
        """Both conditions of an eventuality in these states, for each combination of arguments."""
        return [_flags(value, len(words[0])) for value in self._response_judges[number](words)]

    def after_judge(self, number: int) -> Judge:
        """What the properties of states say of a step's successor, from the state before it."""
        if number not in self._after_judges:
            memo: dict[int, Operand] = {}
            updates = dict(self.steps[number].updates)
            after = [substitute(formula, updates, memo=memo) for formula in self._formulas]
            self._after_judges[number] = judging(after, self.packing)
        return self._after_judges[number]


def _conditions(model: Model, declared: PropertyDeclaration) -> list[Condition]:
    return [condition for pair in model.response_formulas(declared) for condition in (pair.whenever, pair.then)]


class _Expander:
    """The work on some consecutive states."""

    def __init__(self, program: Program, words: Words, start: int) -> None:
        self._program = program
        self._words = words
        self._start = start
        self._size = len(words[0])
        self.result = Expansion(start, start + self._size)
        self._turned: list[_Turned] = []

    def check(self, formulas: Values) -> Flags | None:
        """Which of the states break no property (None: all)."""
        program, found = self._program, self.result.findings
        sound: Flags | None = None
        properties = len(program.of_states)
        for goal, formula in enumerate(formulas[properties : properties + len(program.model.goals)]):
            if np.any(formula):
                found.append(Reached(goal, self._start + int(np.argmax(formula))))
        for number, formula in zip(program.of_states, formulas, strict=False):
            holds = _flags(formula, self._size)
            if holds.all():
                continue
            sound = holds if sound is None else sound & holds
            found.append(Broken(number, self._start + int(np.argmin(holds))))
        return sound

    def expanded(self) -> Expansion:
        """The states checked, and their successors computed."""
        program, result = self._program, self.result
        columns, guards, formulas = program.code.check(self._words)
        sound = self.check(formulas)
        if program._symmetry is not None and not self._turn(guards, formulas, sound):  # noqa: SLF001 - one module
            return result
        stuck = np.ones(self._size, np.bool_) if sound is None else sound.copy()
        produced: list[Words] = []
        parents: list[Numbers] = []
        steps: list[Numbers] = []
        everywhere = np.ones(self._size, np.bool_) if sound is None else sound
        for number, guard in enumerate(guards):
            if isinstance(guard, bool):
                enabled = everywhere if guard else ~np.ones(self._size, np.bool_)
            else:
                enabled = guard if sound is None else guard & sound
            indices: Indices = np.flatnonzero(enabled)
            if not indices.size:
                continue
            stuck &= ~enabled
            result.taken.append((number, indices.size))
            indices = self._allowed(number, indices)
            if not indices.size:
                continue
            after, indices = self._successors(number, columns, indices)
            produced.append(after)
            parents.append((indices + self._start).astype(np.int32))
            steps.append(np.full(indices.size, number, np.int32))
        if program._ends:  # noqa: SLF001 - one module
            stuck &= ~_flags(formulas[-1], self._size)
        if stuck.any():
            result.stuck = int(np.count_nonzero(stuck))
            result.stuck_first = self._start + int(np.argmax(stuck))
        if produced:
            joined = [np.concatenate(parts) for parts in zip(*produced, strict=True)]
            self._offer(joined, np.concatenate(parents), np.concatenate(steps))
        return result

    def _successors(self, number: int, columns: Columns, indices: Indices) -> tuple[Words, Indices]:
        """The words after a step, without successors that no words can hold."""
        after, left_range = self._program.code.steps[number](self._words, columns, indices)
        for turned in self._turned:
            turned.take(number, indices, left_range, self)
        if left_range is None or not left_range.any():
            return after, indices
        breaks_none = self._judge_after(number, indices[left_range])
        if breaks_none.any():
            parent = int(indices[left_range][np.argmax(breaks_none)])
            self.result.findings.append(LeftRange(self._start + parent, number))
        inside = ~left_range
        return [word[inside] for word in after], indices[inside]

    def _offer(self, words: Words, parents: Numbers, steps: Numbers) -> None:
        """Make candidates of the successors, of those that stand for others where there is a symmetry."""
        symmetry = self._program._symmetry  # noqa: SLF001 - one module
        if symmetry is not None:
            renamings = self._program.renamed(words)
            for turned, renaming in zip(self._turned, renamings, strict=True):
                turned.compare(words, renaming, parents, steps, self)
            words = symmetry.canonical(words, renamings)
        self.result.candidates = Candidates(words, hashed(words), parents, steps)

    def _allowed(self, number: int, indices: Indices) -> Indices:
        """The states from which a step breaks no property of steps."""
        program = self._program
        if not program.of_steps:
            return indices
        judge = program.step_judges[number]
        judged: Values = [True] * len(program.of_steps)
        if judge is not None:
            judged = judge([word[indices] for word in self._words])
        for turned in self._turned:
            turned.judge_step(number, indices, judged, self)
        allowed = np.ones(indices.size, np.bool_)
        for which, holds in zip(program.of_steps, judged, strict=True):
            broken = ~_flags(holds, indices.size)
            if broken.any():
                self.result.findings.append(Broken(which, self._start + int(indices[np.argmax(broken)]), number))
                allowed &= ~broken
        if not allowed.all():
            self._judge_after(number, indices[~allowed])
        return indices[allowed]

    def _judge_after(self, number: int, indices: Indices) -> Flags:
        """Which of these successors, none of which is kept, break no property of states."""
        program = self._program
        judged = program.after_judge(number)([word[indices] for word in self._words])
        for turned in self._turned:
            turned.judge_after(number, indices, judged, self)
        breaks_none = np.ones(indices.size, np.bool_)
        for which, holds in zip(program.of_states, judged, strict=True):
            broken = ~_flags(holds, indices.size)
            breaks_none &= ~broken
            if broken.any():
                self.result.findings.append(Broken(which, self._start + int(indices[np.argmax(broken)]), number))
        return breaks_none

    def _turn(self, guards: Values, formulas: Values, sound: Flags | None) -> bool:
        """Look at the states under other names, too. False where it makes no sense to go on."""
        program = self._program
        if self.newly_used(self._words, np.arange(self._size)):
            return False
        for words, steps in zip(program.renamed(self._words), program._turned_steps, strict=True):  # noqa: SLF001
            turned = _Turned(program, words, steps)
            turned.compare_states(guards, formulas, sound, self)
            self._turned.append(turned)
        return not self.result.findings or not isinstance(self.result.findings[-1], Asymmetric)

    def newly_used(self, words: Words, parents: npt.NDArray[np.integer[Any]]) -> bool:
        """Whether one of these states or successors has a variable in use where none was expected; it is reported."""
        (newly,) = self._program._newly_used(words)  # noqa: SLF001 - one module
        if not np.any(newly):
            return False
        at = int(np.argmax(newly))
        state = self._start + at if words is self._words else int(parents[at])
        self.result.findings.append(NewlyUsed(state, tuple(int(word[at]) for word in words)))
        return True

    def differs(self, one: FlagsOrBool, other: FlagsOrBool, indices: Indices | None, what: str) -> None:
        """Report that a state and its renaming are told apart, where they are."""
        if one is other:
            return
        size = self._size if indices is None else indices.size
        apart = _flags(one, size) != _flags(other, size)
        if apart.any():
            at = int(np.argmax(apart))
            self.result.findings.append(Asymmetric(self._start + (at if indices is None else int(indices[at])), what))


class _Turned:
    """The same states under other names: everything must be as in the states themselves, under these names."""

    def __init__(self, program: Program, words: Words, steps: list[int]) -> None:
        self._program = program
        self._words = words
        self._steps = steps
        self._columns, self._guards, self._formulas = program.code.check(words)
        self._after: list[Words] = []

    def _label(self, number: int) -> str:
        return self._program.instances[number].label

    def compare_states(self, guards: Values, formulas: Values, sound: Flags | None, at: _Expander) -> None:
        program = self._program
        names = [program.properties[number].name for number in program.of_states]
        names += [goal.name for goal in program.model.goals] + ["may_end"]
        for name, one, other in zip(names, formulas, self._formulas, strict=False):
            at.differs(one, other, None, f"`{name}` is true under some names and false under others")
        for number, guard in enumerate(guards):
            other = self._guards[self._steps[number]]
            one = guard
            if sound is not None:
                one, other = guard & sound, other & sound
            at.differs(
                one,
                other,
                None,
                f"only one of {self._label(number)} and {self._label(self._steps[number])} is enabled",
            )

    def take(self, number: int, indices: Indices, left_range: Flags | None, at: _Expander) -> None:
        other = self._steps[number]
        after, left = self._program.code.steps[other](self._words, self._columns, indices)
        one: Flags | bool = False if left_range is None else left_range
        at.differs(
            one,
            False if left is None else left,
            indices,
            f"only one of {self._label(number)} and {self._label(other)} leaves a range",
        )
        if left_range is not None and left_range.any():
            after = [word[~left_range] for word in after]
        self._after.append(after)

    def compare(self, words: Words, renaming: Words, parents: Numbers, steps: Numbers, at: _Expander) -> None:
        """The successors of the renamed states must be the renamed successors."""
        joined = [np.concatenate(parts) for parts in zip(*self._after, strict=True)]
        apart: Flags = np.zeros(len(parents), np.bool_)
        for one, other in zip(joined, renaming, strict=True):
            apart |= one != other
        if not apart.any() or at.newly_used(words, parents) or at.newly_used(joined, parents):
            return
        first = int(np.argmax(apart))
        number = int(steps[first])
        what = f"{self._label(number)} and {self._label(self._steps[number])} lead to different states"
        at.result.findings.append(Asymmetric(int(parents[first]), what))

    def judge_step(self, number: int, indices: Indices, judged: Values, at: _Expander) -> None:
        judge = self._program.step_judges[self._steps[number]]
        others: Values = [True] * len(judged)
        if judge is not None:
            others = judge([word[indices] for word in self._words])
        for one, other in zip(judged, others, strict=True):
            at.differs(
                one,
                other,
                indices,
                f"a property allows only one of {self._label(number)} and {self._label(self._steps[number])}",
            )

    def judge_after(self, number: int, indices: Indices, judged: Values, at: _Expander) -> None:
        others = self._program.after_judge(self._steps[number])([word[indices] for word in self._words])
        for one, other in zip(judged, others, strict=True):
            at.differs(
                one,
                other,
                indices,
                f"a property tells what follows from {self._label(number)} and from "
                f"{self._label(self._steps[number])} apart",
            )


def _flags(value: FlagsOrBool, size: int) -> Flags:
    return np.full(size, value) if isinstance(value, bool) else value
