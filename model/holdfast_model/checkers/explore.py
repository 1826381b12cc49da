"""Every reachable state, breadth first, whole frontiers at a time in numpy.

States are packed into 64-bit words and kept; the table of visited states holds their numbers, and a candidate is
compared with the whole packed state it may equal. So the search is exact at any size of state: the probability that
two states are taken for one is 0. Each state keeps the number of its first parent and the step taken, from which
traces are replayed by the interpreter: a trace is therefore also a check of the generated code.

**Violations.** A state that breaks a property is counted and reported but not expanded: what follows from a broken
state says nothing about the other properties. The search goes on elsewhere until every property has its
counterexample or the space is exhausted. So each trace is a shortest one among those that break nothing earlier, and
the counts of a model that holds do not depend on any of this.

**Ranges.** A successor outside of a declared range is never stored, so nothing wraps around. If it breaks a property
(a balance below zero, say) that is the report; if not, the range itself is wrong, and that is a SpecError.

**Kinds of properties.** A step that breaks a property of steps is reported, with what the state behind it breaks, and
leads nowhere. A goal is reported with
a shortest path; one that no state of an exhausted space reaches leaves the verdict inconclusive. An eventuality is
decided when the space is exhausted and nothing else is broken: every step is kept, and from the states that satisfy
its second condition the search goes back along them. A reached state that satisfies the first condition and is not
met on the way back is the report. So it says that nothing makes the end unreachable, not that every path comes to it.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from holdfast_model.checkers.packing import Packing, packing_of
from holdfast_model.checkers.vectorise import Flags, Indices, Judge, Words, judging, vectorise
from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import (
    ActionCoverage,
    Exploration,
    GoalCoverage,
    ModelViolation,
    PropertyCoverage,
    TraceState,
    Verdict,
)
from holdfast_model.spec.language import PropertyDeclaration, PropertyKind
from holdfast_model.spec.model import Instance, Model, State, Step
from holdfast_model.spec.terms import Operand, substitute

CHUNK_STATES = 1 << 16
"""States expanded at a time: enough to amortise numpy's calls, few enough for the columns to stay in the cache."""

EVERY_GOAL_REACHED = "every goal is reached"
"""What stopped a search that looked for goals only."""

MEMORY_BYTES_MAX = 4 << 30
"""The default limit on what the search keeps."""

Progress = Callable[[int, int, int], None]
"""Called after each level with (levels so far, distinct states, generated states)."""


Scalar = TypeVar("Scalar", bound=np.generic)


class _LimitReachedError(Exception):
    """The search must stop cleanly; the message says which limit."""


class _States:
    """All states found so far, numbered in breadth-first order, and the table that finds a packed state's number."""

    def __init__(self, words: int, *, memory_bytes_max: int, states_max: int | None) -> None:
        self.count = 0
        self.words: Words = [np.empty(1 << 12, np.uint64) for _ in range(words)]
        self.parent = np.empty(1 << 12, np.int32)
        self.via = np.empty(1 << 12, np.int32)
        self._table = np.full(1 << 14, -1, np.int32)
        self._memory_bytes_max = memory_bytes_max
        self._states_max = (1 << 31) - 1 if states_max is None else min(states_max, (1 << 31) - 1)

    def _slots(self, words: Words) -> npt.NDArray[np.int64]:
        mixed = words[0] * np.uint64(0x9E3779B97F4A7C15)
        for number, word in enumerate(words[1:], start=1):
            mixed ^= mixed >> np.uint64(29)
            mixed += word * np.uint64((0xBF58476D1CE4E5B9 + 0x632BE59BD9B4E01A * number) % (1 << 64) | 1)
            mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0xD6E8FEB86659FD93)
        return (mixed >> np.uint64(64 - (len(self._table) - 1).bit_length())).astype(np.int64)

    def _room_for(self, more: int) -> None:
        """Make room for this many further states, within the memory limit."""
        needed = self.count + more
        capacity, table = len(self.parent), len(self._table)
        while capacity < needed:
            capacity += capacity // 2
        while table < 2 * needed:
            table *= 2
        if capacity == len(self.parent) and table == len(self._table):
            return
        kept = capacity * (8 * len(self.words) + 8) + 4 * table
        copied = 8 * len(self.parent) if capacity > len(self.parent) else 0
        if kept + copied > self._memory_bytes_max:
            raise _LimitReachedError(f"memory limit of {self._memory_bytes_max} bytes")
        if capacity > len(self.parent):
            self.words = [_grown(word, capacity, used=self.count) for word in self.words]
            self.parent = _grown(self.parent, capacity, used=self.count)
            self.via = _grown(self.via, capacity, used=self.count)
        if table > len(self._table):
            self._table = np.full(table, -1, np.int32)
            for start in range(0, self.count, CHUNK_STATES):
                stop = min(start + CHUNK_STATES, self.count)
                self._reinsert([word[start:stop] for word in self.words], np.arange(start, stop, dtype=np.int32))

    def _reinsert(self, words: Words, numbers: npt.NDArray[np.int32]) -> None:
        slots = self._slots(words)
        mask = len(self._table) - 1
        while numbers.size:
            free = self._table.take(slots) < 0
            self._table[slots[free]] = numbers[free]
            lost = self._table.take(slots) != numbers
            numbers = numbers[lost]
            slots = (slots[lost] + 1) & mask

    def add(self, words: Words, parent: npt.NDArray[np.int32], via: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The number of each of these states; a new one gets one, and keeps one parent. Raises at a limit."""
        numbers = np.empty(len(parent), np.int32)
        # Most candidates are old or repeated, so room is made for what can be new and not reserved per candidate.
        self._room_for(len(parent))
        slots = self._slots(words)
        mask = len(self._table) - 1
        pending: Indices = np.arange(len(parent))
        table = self._table
        while pending.size:
            found = table.take(slots)
            free = found < 0
            if free.any():
                candidates, places = pending[free], slots[free]
                table[places] = -2 - candidates.astype(np.int32)
                won = table.take(places) == -2 - candidates.astype(np.int32)
                winners = candidates[won]
                first = self.count
                self.count += len(winners)
                for kept, word in zip(self.words, words, strict=True):
                    kept[first : self.count] = word.take(winners)
                self.parent[first : self.count] = parent.take(winners)
                self.via[first : self.count] = via.take(winners)
                table[places[won]] = np.arange(first, self.count, dtype=np.int32)
                if self.count > self._states_max:
                    self.count = self._states_max
                    raise _LimitReachedError(f"limit of {self._states_max} states")
                found = table.take(slots)
            differs = self.words[0].take(found) != words[0].take(pending)
            for kept, word in zip(self.words[1:], words[1:], strict=True):
                differs |= kept.take(found) != word.take(pending)
            numbers[pending] = found
            pending = pending[differs]
            slots = (slots[differs] + 1) & mask
        return numbers


def _grown(old: npt.NDArray[Scalar], capacity: int, *, used: int) -> npt.NDArray[Scalar]:
    new = np.empty(capacity, old.dtype)
    new[:used] = old[:used]
    return new


class _Search:
    """One breadth-first search and what it has found."""

    def __init__(
        self,
        model: Model,
        properties: Sequence[PropertyDeclaration],
        *,
        memory_bytes_max: int,
        states_max: int | None,
        until_goals: bool = False,
    ) -> None:
        self.model = model
        self._until_goals = until_goals
        self.properties = properties
        self.packing: Packing = packing_of(model)
        self.instances: list[Instance] = []
        steps: list[Step] = []
        for instance in model.instances():
            step = model.stage(instance.action, instance.arguments, exploring=True)
            if step is not None:
                self.instances.append(instance)
                steps.append(step)
        self._of_states = [number for number, p in enumerate(properties) if p.kind is PropertyKind.ALWAYS]
        self._of_steps = [number for number, p in enumerate(properties) if p.kind is PropertyKind.STEP]
        self._formulas = [model.formula(properties[number]) for number in self._of_states]
        goals = [model.formula(goal) for goal in model.goals]
        self.code = vectorise(steps, [*self._formulas, *goals], self.packing)
        self._step_judges = [self._judge_of(step) for step in steps]
        self.states = _States(self.packing.words, memory_bytes_max=memory_bytes_max, states_max=states_max)
        self._steps = steps
        self._judges: dict[int, Judge] = {}
        """By number of step: what the properties say of its successors, whether or not these are within range."""
        self.taken = [0] * len(self.instances)
        self.generated = 0
        self.deadlocks = 0
        self.checked = 0
        self.depth = 0
        self.stopped_by = ""
        self.broken: dict[int, tuple[int, Instance | None]] = {}
        """By number of property: the state that breaks it, or its parent and the step that breaks it."""
        self.reached: dict[int, int] = {}
        """By number of goal: the first state that reaches it."""
        self._edges: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = []
        """States and their successors, where an eventuality needs them."""

    def _judge_of(self, step: Step) -> Judge | None:
        """What the properties of steps say of a step, from the state before it; None where they allow it always."""
        formulas = [self.model.step_formula(self.properties[number], step.updates) for number in self._of_steps]
        return None if all(formula is True for formula in formulas) else judging(formulas, self.packing)

    def run(self, progress: Progress | None) -> None:
        """Search until the space is exhausted, every property is broken, or a limit is reached."""
        initial = [np.array([word], np.uint64) for word in self.packing.pack(self.model.initial)]
        self.states.add(initial, np.array([-1], np.int32), np.array([-1], np.int32))
        self.generated = 1
        first = 0
        while first < self.states.count:
            last = self.states.count
            self.depth += 1
            for start in range(first, last, CHUNK_STATES):
                stop = min(start + CHUNK_STATES, last)
                try:
                    self._expand(start, stop)
                except _LimitReachedError as limit:
                    self.stopped_by = str(limit)
                if self.stopped_by:
                    self._check_rest()
                    return
            first = last
            if progress is not None:
                progress(self.depth, self.states.count, self.generated)
            if self.properties and len(self.broken) == len(self.properties) and first < self.states.count:
                self.stopped_by = "every property is violated"
                return

    def _check(self, start: int, stop: int, formulas: list[Flags | bool]) -> Flags | None:
        """Which of these states break no property (None: all); the first that breaks each is remembered."""
        self.checked += stop - start
        sound: Flags | None = None
        for goal, formula in enumerate(formulas[len(self._of_states) :]):
            if goal not in self.reached and np.any(formula):
                self.reached[goal] = start + int(np.argmax(formula))
        for number, formula in zip(self._of_states, formulas, strict=False):
            holds = np.full(stop - start, formula) if isinstance(formula, bool) else formula
            if holds.all():
                continue
            sound = holds if sound is None else sound & holds
            self.broken.setdefault(number, (start + int(np.argmin(holds)), None))
        return sound

    def _check_rest(self) -> None:
        """Check the states that a limit left unexpanded: they too were reached."""
        for start in range(self.checked, self.states.count, CHUNK_STATES):
            stop = min(start + CHUNK_STATES, self.states.count)
            _, _, formulas = self.code.check([word[start:stop] for word in self.states.words])
            self._check(start, stop, formulas)

    def _expand(self, start: int, stop: int) -> None:
        words: Words = [word[start:stop] for word in self.states.words]
        columns, guards, formulas = self.code.check(words)
        sound = self._check(start, stop, formulas)
        if self._until_goals and len(self.reached) == len(self.model.goals):
            self.stopped_by = EVERY_GOAL_REACHED
            return
        stuck = np.ones(stop - start, np.bool_) if sound is None else sound.copy()
        produced: list[Words] = []
        parents: list[npt.NDArray[np.int32]] = []
        via: list[npt.NDArray[np.int32]] = []
        everywhere = np.ones(stop - start, np.bool_) if sound is None else sound
        for number, guard in enumerate(guards):
            if isinstance(guard, bool):
                enabled = everywhere if guard else ~np.ones(stop - start, np.bool_)
            else:
                enabled = guard if sound is None else guard & sound
            indices: Indices = np.flatnonzero(enabled)
            if not indices.size:
                continue
            stuck &= ~enabled
            self.taken[number] += indices.size
            self.generated += indices.size
            indices = self._allowed(number, words, indices, start)
            if not indices.size:
                continue
            after, left_range = self.code.steps[number](words, columns, indices)
            if left_range is not None and left_range.any():
                self._leave_range(number, indices[left_range] + start)
                inside = ~left_range
                after, indices = [word[inside] for word in after], indices[inside]
            produced.append(after)
            parents.append((indices + start).astype(np.int32))
            via.append(np.full(indices.size, number, np.int32))
        self.deadlocks += int(np.count_nonzero(stuck))
        if produced:
            joined = [np.concatenate(parts) for parts in zip(*produced, strict=True)]
            sources = np.concatenate(parents)
            targets = self.states.add(joined, sources, np.concatenate(via))
            if self.model.responses:
                self._edges.append((sources, targets))

    def _allowed(self, number: int, words: Words, indices: Indices, start: int) -> Indices:
        """The states from which a step breaks no property of steps; the first that breaks each is remembered."""
        judge = self._step_judges[number]
        if judge is None:
            return indices
        allowed = np.ones(indices.size, np.bool_)
        for which, holds in zip(self._of_steps, judge([word[indices] for word in words]), strict=True):
            broken = np.full(indices.size, not holds) if isinstance(holds, bool) else ~holds
            if broken.any():
                self.broken.setdefault(which, (start + int(indices[np.argmax(broken)]), self.instances[number]))
                allowed &= ~broken
        if not allowed.all():
            self._judge_after(number, indices[~allowed] + start)
        return indices[allowed]

    def unanswered(self, declared: PropertyDeclaration) -> int | None:
        """The first state from which an eventuality's end cannot be reached, though it should. Needs every state."""
        pairs = self.model.response_formulas(declared)
        judge = judging([condition for pair in pairs for condition in (pair.whenever, pair.then)], self.packing)
        values = [
            np.full(self.states.count, value) if isinstance(value, bool) else value
            for value in judge([word[: self.states.count] for word in self.states.words])
        ]
        found: list[int] = []
        for whenever, then in zip(values[::2], values[1::2], strict=True):
            reaches = then.copy()
            grown = True
            while grown:
                before = int(np.count_nonzero(reaches))
                for sources, targets in self._edges[::-1]:
                    reaches[sources[reaches[targets]]] = True
                grown = int(np.count_nonzero(reaches)) > before
            lost = np.flatnonzero(whenever & ~reaches)
            found += [int(lost[0])] if lost.size else []
        return min(found, default=None)

    def _leave_range(self, number: int, parents: Indices) -> None:
        """Judge successors that no packed state can hold; one that breaks nothing is a mistake in the ranges."""
        breaks_none = self._judge_after(number, parents)
        if breaks_none.any() and not self.stopped_by:
            self._range_is_wrong(int(parents[np.argmax(breaks_none)]), self.instances[number])

    def _judge_after(self, number: int, parents: Indices) -> Flags:
        """Which of these successors, none of which is kept, break no property of states; the first is remembered."""
        if number not in self._judges:
            memo: dict[int, Operand] = {}
            updates = dict(self._steps[number].updates)
            after = [substitute(formula, updates, memo=memo) for formula in self._formulas]
            self._judges[number] = judging(after, self.packing)
        breaks_none = np.ones(parents.size, np.bool_)
        judged = self._judges[number]([word[parents] for word in self.states.words])
        for which, holds in zip(self._of_states, judged, strict=True):
            broken = np.full(parents.size, not holds) if isinstance(holds, bool) else ~holds
            breaks_none &= ~broken
            if broken.any():
                self.broken.setdefault(which, (int(parents[np.argmax(broken)]), self.instances[number]))
        return breaks_none

    def _range_is_wrong(self, parent: int, instance: Instance) -> None:
        """A step leaves a declared range and breaks no property: the search cannot go on."""
        after = self.model.step(instance, self.unpacked(parent), exploring=True)
        assert after is not None, "the generated guard and the interpreter disagree"
        before = self.unpacked(parent)
        sound = all(self.model.holds(p, after, before=before) for p in self.properties)
        assert sound, "code and interpreter disagree on a property"
        outside = self.model.outside(after)
        assert outside, "the generated range check and the interpreter disagree"
        variable, value = outside[0]
        wrong = (
            f"`{variable.name}` becomes {value} in step {instance.label}; "
            f"expected a value within {variable.least}..{variable.greatest}"
        )
        if not self.broken:
            path = " -> ".join(state.action for state in self.trace(parent, instance))
            raise SpecError(f"{variable.declared_at}: {wrong} (reached by {path})")
        self.stopped_by = f"a value outside of its range: {wrong}"

    def unpacked(self, number: int) -> State:
        """The state with this number."""
        return self.packing.unpack(tuple(int(word[number]) for word in self.states.words))

    def trace(
        self, number: int, further: Instance | None, *, breaks: PropertyDeclaration | None = None
    ) -> tuple[TraceState, ...]:
        """The path to a state, and one step further where given, replayed and judged by the interpreter."""
        path: list[int] = []
        at = number
        while at >= 0:
            path.append(at)
            at = int(self.states.parent[at])
        state = before = self.model.initial
        trace = [TraceState(action="init", state=self.model.show(state))]
        for at in path[-2::-1]:
            instance = self.instances[int(self.states.via[at])]
            after = self.model.step(instance, state, exploring=True)
            assert after == self.unpacked(at), f"generated code and interpreter disagree on {instance.label}"
            state = after
            trace.append(TraceState(action=instance.label, state=self.model.show(state)))
        if further is not None:
            beyond = self.model.step(further, state, exploring=True)
            assert beyond is not None
            before, state = state, beyond
            trace.append(TraceState(action=further.label, state=self.model.show(state)))
        if breaks is not None:
            holds = self.model.holds(breaks, state, before=before)
            assert not holds, "code and interpreter disagree on a property"
        return tuple(trace)


def explore(
    model: Model,
    *,
    symmetry: str | None = None,
    states_max: int | None = None,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
    progress: Progress | None = None,
    auxiliary: bool = False,
    until_goals: bool = False,
) -> Exploration:
    """The result of visiting every state that the model can reach within its ranges.

    `states_max` and `memory_bytes_max` (of what the search keeps; a few tens of megabytes of working space come on
    top) stop it cleanly: the result then is not complete, and without a violation inconclusive. With `auxiliary`
    the auxiliary invariants are checked as well. `until_goals` stops it as soon as every goal is reached.
    HoldfastError where a variable or an argument has no finite range; SpecError where a value leaves its range
    without breaking a property.
    """
    if symmetry is not None:
        raise HoldfastError(f"symmetry {symmetry!r} is not available for model {model.name}; available: none")
    properties = [p for p in model.properties if auxiliary or not p.auxiliary]
    search = _Search(
        model, properties, memory_bytes_max=memory_bytes_max, states_max=states_max, until_goals=until_goals
    )
    search.run(progress)
    violations = []
    for number, broken in sorted(search.broken.items()):
        declared = properties[number]
        trace = search.trace(*broken, breaks=declared)
        violations.append(
            ModelViolation(invariant=declared.invariant, property=declared.name, states=len(trace), trace=trace)
        )
    complete = not search.stopped_by
    if complete and not violations:
        violations = _unanswered(search)
    goals = _goals(search)
    taken = dict.fromkeys((action.name for action in model.actions), 0)
    for instance, times in zip(search.instances, search.taken, strict=True):
        taken[instance.action.name] += times
    judged = [*properties, *model.responses]
    if violations:
        verdict = Verdict.VIOLATED
    elif complete and judged and search.checked and all(goal.states for goal in goals):
        verdict = Verdict.HELD
    else:
        verdict = Verdict.INCONCLUSIVE
    return Exploration(
        model=model.name,
        verdict=verdict,
        bounds=model.bounds(explored=True),
        distinct=search.states.count,
        generated=search.generated,
        depth=search.depth,
        complete=complete,
        collision_probability=0.0,
        actions=tuple(ActionCoverage(action=name, taken=times) for name, times in taken.items()),
        properties=tuple(
            PropertyCoverage(invariant=p.invariant, property=p.name, states=search.checked) for p in judged
        ),
        violations=tuple(violations),
        deadlocks=search.deadlocks,
        stopped_by=search.stopped_by,
        goals=goals,
    )


def _unanswered(search: _Search) -> list[ModelViolation]:
    """Each eventuality that fails, with a shortest path to a state from which its end is out of reach."""
    found = []
    for declared in search.model.responses:
        number = search.unanswered(declared)
        if number is not None:
            trace = search.trace(number, None)
            found.append(
                ModelViolation(invariant=declared.invariant, property=declared.name, states=len(trace), trace=trace)
            )
    return found


def _goals(search: _Search) -> tuple[GoalCoverage, ...]:
    """Each goal with a shortest path to it, as far as one was found."""
    found = []
    for number, goal in enumerate(search.model.goals):
        at = search.reached.get(number)
        trace = () if at is None else search.trace(at, None)
        if at is not None:
            assert search.model.holds(goal, search.unpacked(at)), "code and interpreter disagree on a goal"
        found.append(GoalCoverage(goal=goal.invariant, sentence=goal.sentence, states=len(trace), trace=trace))
    return tuple(found)
