"""A breadth-first search of all states: whole frontiers at a time, expanded on all cores, and what comes of it."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from holdfast_model.checkers.expansion import Asymmetric, Broken, Expansion, LeftRange, NewlyUsed, Program, Reached
from holdfast_model.checkers.partitions import PARTS, Parts, Piece, piece_of
from holdfast_model.checkers.states import STATES_MAX, Candidates, LimitReachedError, hashed
from holdfast_model.checkers.symmetry import NewlyUsedError, Permutation, Symmetry
from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import TraceState
from holdfast_model.spec.language import PropertyDeclaration
from holdfast_model.spec.model import Instance, State

PIECE_STATES = 1 << 16
"""States of one part expanded at a time, at most: many amortise numpy's calls, few stay in the cache."""

SPLIT_STATES = 1 << 14
"""A level of this size is worth the help of another process."""

INTERRUPTED = "interrupted"
"""What stopped a search that was told to stop."""

Progress = Callable[[int, int, int], None]
"""Called after each level with (levels so far, distinct states, generated states)."""

EVERY_GOAL_REACHED = "every goal is reached"
"""What stopped a search that looked for goals only."""

Stop = Callable[[], bool]
"""Asked now and then whether to stop."""


class Search:
    """One breadth-first search and what it has found."""

    def __init__(
        self,
        program: Program,
        *,
        memory_bytes_max: int,
        states_max: int | None = None,
        symmetry: Symmetry | None = None,
        judges_end: bool = False,
        until_goals: bool = False,
        until_broken: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        """With `judges_end` a state without a step is a violation; `until_goals` ends it at the last goal.

        `until_broken` ends it when all properties of these invariants are violated; eventualities never are earlier.
        """
        self.program = program
        self.model = program.model
        self.distinct = 0
        self._piece = piece_of(program, PIECE_STATES)
        self.parts = Parts(
            program,
            piece=self._piece,
            memory_bytes_max=memory_bytes_max,
            keeps_edges=bool(program.model.responses),
        )
        self.taken = [0] * len(program.instances)
        self.generated = 0
        self.deadlocks = 0
        self.deadlock_first: int | None = None
        self.checked = 0
        self.depth = 0
        self.levels: list[list[int]] = [[0]]
        """How many states each part had before each level; those of the last one are the last that were expanded."""
        self.stopped_by = ""
        self.broken: dict[int, tuple[int, Instance | None]] = {}
        """By number of property: the state that breaks it, or its parent and the step that breaks it."""
        self.reached: dict[int, int] = {}
        """By number of goal: the first state that reaches it."""
        self._symmetry = symmetry
        self._judges_end = judges_end
        self._until_goals = until_goals
        self._until_broken = until_broken
        self._workers = workers
        self._states_max = states_max
        self._memory_bytes_max = memory_bytes_max
        self._expanded = [0]
        """The places in each part before which all states have been expanded or checked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.dismiss()

    # The levels -------------------------------------------------------------------------------------------------

    def run(self, progress: Progress | None = None, *, stop: Stop | None = None) -> None:
        """Search until the space is exhausted, every property is broken, a limit is reached, or `stop` says so."""
        initial = [np.array([word], np.uint64) for word in self.program.packing.pack(self.model.initial)]
        none = np.array([-1], np.int32)
        self.parts.add_first(Candidates(initial, hashed(initial), none, none))
        self.distinct = self.generated = 1
        while self._expanded != self.parts.counts:
            self.depth += 1
            self.levels.append([*self.parts.counts])
            if sum(self.parts.counts) - sum(self._expanded) >= SPLIT_STATES:
                self._split()
            self._level(self.levels[-1], stop)
            self.distinct = sum(self.parts.counts)
            if self.stopped_by:
                self._check_rest()
                return
            if progress is not None:
                progress(self.depth, self.distinct, self.generated)
            if self._expanded != self.parts.counts:
                self.stopped_by = self._broken_enough()
                if self.stopped_by:
                    return

    def _split(self) -> None:
        """Have the states in parts from now on. What was said of their numbers so far is said of the new ones."""
        try:
            numbers = self.parts.split(self._workers)
        except LimitReachedError:
            self.stopped_by = f"memory limit of {self._memory_bytes_max} bytes"
            return
        if numbers is None:
            return
        parts = numbers % PARTS

        def places(counts: list[int]) -> list[int]:
            return [int(np.count_nonzero(parts[: counts[0]] == part)) for part in range(PARTS)]

        self.levels = [places(counts) for counts in self.levels]
        self._expanded = places(self._expanded)
        self.broken = {which: (int(numbers[state]), step) for which, (state, step) in self.broken.items()}
        self.reached = {goal: int(numbers[state]) for goal, state in self.reached.items()}
        if self.deadlock_first is not None:
            self.deadlock_first = int(numbers[self.deadlock_first])

    def _level(self, ends: list[int], stop: Stop | None) -> None:
        """Expand all states before these places, a piece of each part at a time."""
        while self._expanded != ends and not self.stopped_by:
            pieces = self._pieces(ends)
            expansions, bounds = self.parts.expand(pieces)
            self._past(pieces)
            for expansion in expansions:
                self._take_up(expansion)
            if self._until_goals and len(self.reached) == len(self.model.goals):
                self.stopped_by = EVERY_GOAL_REACHED
            elif stop is not None and stop():
                self.stopped_by = INTERRUPTED
            if not self.stopped_by:
                self._add(bounds)

    def _pieces(self, ends: list[int]) -> list[Piece]:
        """The next states of each part, before these places."""
        return [
            (start, min(start + self._piece, end)) if start < end else None
            for start, end in zip(self._expanded, ends, strict=True)
        ]

    def _past(self, pieces: Sequence[Piece]) -> None:
        self._expanded = [
            start if piece is None else piece[1] for start, piece in zip(self._expanded, pieces, strict=True)
        ]

    def _add(self, bounds: list[list[int]]) -> None:
        """Add what the parts have found, as far as the limits allow."""
        before = self.parts.counts
        if not self.parts.add(bounds):
            self.stopped_by = f"memory limit of {self._memory_bytes_max} bytes"
        limit = STATES_MAX if self._states_max is None else self._states_max
        if sum(self.parts.counts) > limit:
            self.stopped_by = f"limit of {limit} states"
            excess = sum(self.parts.counts) - limit
            counts = [*self.parts.counts]
            for part in reversed(range(len(counts))):
                cut = min(excess, counts[part] - before[part])
                counts[part] -= cut
                excess -= cut
            self.parts.cut(counts)

    def _broken_enough(self) -> str:
        """Why there is no more counterexample to look for; empty where there is.

        An eventuality that was asked for is decided when all is visited, and only if nothing else is broken.
        """
        properties = self.program.properties
        wanted = {n for n, p in enumerate(properties) if p.invariant in self._until_broken}
        eventually = any(p.invariant in self._until_broken for p in self.model.responses)
        if wanted and not eventually and wanted <= self.broken.keys():
            return f"what was looked for: {', '.join(self._until_broken)} violated"
        still_judged = self._judges_end and self.deadlock_first is None
        if properties and len(self.broken) == len(properties) and not still_judged:
            return "every property is violated"
        return ""

    def _take_up(self, expansion: Expansion) -> None:
        self._take_up_findings(expansion)
        self.checked += expansion.stop - expansion.start
        for number, times in expansion.taken:
            self.taken[number] += times
            self.generated += times
        self.deadlocks += expansion.stuck
        if self.deadlock_first is None:
            self.deadlock_first = expansion.stuck_first

    def _take_up_findings(self, expansion: Expansion) -> None:
        for finding in expansion.findings:
            match finding:
                case Reached(goal, state):
                    self.reached.setdefault(goal, state)
                case Broken(which, state, step):
                    self.broken.setdefault(which, (state, None if step is None else self.program.instances[step]))
                case LeftRange(state, step):
                    if not self.stopped_by:
                        self._range_is_wrong(state, self.program.instances[step])
                case NewlyUsed(_, words):
                    raise NewlyUsedError(self.program.packing.unpack(words))
                case Asymmetric(state, what):
                    raise self._asymmetry(state, what)

    def _asymmetry(self, state: int, what: str) -> HoldfastError:
        assert self._symmetry is not None
        return self._symmetry.asymmetry(what, " -> ".join(shown.action for shown in self.trace(state, None)))

    def _check_rest(self) -> None:
        """Check the states that a limit left unexpanded: they too were reached."""
        while self._expanded != self.parts.counts:
            pieces = self._pieces(self.parts.counts)
            self._past(pieces)
            for checked in self.parts.check(pieces):
                self._take_up_findings(checked)
                self.checked += checked.stop - checked.start

    def _range_is_wrong(self, parent: int, instance: Instance) -> None:
        """A step leaves a declared range and breaks no property: the search cannot go on."""
        before = self.unpacked(parent)
        after = self.model.step(instance, before, exploring=True)
        assert after is not None, "the generated guard and the interpreter disagree"
        sound = all(self.model.holds(p, after, before=before) for p in self.program.properties)
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

    # Eventualities ----------------------------------------------------------------------------------------------

    def unanswered(self, which: int) -> int | None:
        """The first state from which an eventuality's end cannot be reached, though it should. Needs every state."""
        if self._symmetry is not None and (state := self.parts.names_matter(which)) is not None:
            name = self.model.responses[which].name
            raise self._asymmetry(state, f"`{name}` speaks of single {self._symmetry.counted}, as no symmetry allows")
        values = self.parts.responses(which)
        found: list[int] = []
        for whenever, then in zip(values[::2], values[1::2], strict=True):
            found += map(int, np.flatnonzero(whenever & ~self.parts.reach_back(then)))
        return min(found, key=self._order, default=None)

    def _order(self, number: int) -> tuple[int, int]:
        """The level of a state, and its number."""
        place, part = divmod(number, len(self.parts.counts))
        return next(level for level, counts in enumerate(self.levels) if place < counts[part]), number

    # Traces -----------------------------------------------------------------------------------------------------

    def unpacked(self, number: int) -> State:
        """The state with this number."""
        return self.program.packing.unpack(self.parts.kept(number)[0])

    def first_levels(self) -> list[State]:
        """The states of all levels but the last one, which need not be complete."""
        return [
            self.unpacked(place * len(self.parts.counts) + part)
            for part, count in enumerate(self.levels[-1])
            for place in range(count)
        ]

    def _told(self, path: Sequence[int]) -> tuple[list[tuple[Instance | None, State]], Permutation | None]:
        """The real steps and states of a path of states that stand for others, and the last one's names."""
        symmetry = self._symmetry
        names = None if symmetry is None else symmetry.identity
        state = self.model.initial
        told: list[tuple[Instance | None, State]] = [(None, state)]
        for at in path[-2::-1]:
            words, _, via = self.parts.kept(at)
            standing, instance = self.program.packing.unpack(words), self.program.instances[via]
            if symmetry is not None and names is not None:
                instance = symmetry.renamed_step(instance, names)
            after = self.model.step(instance, state, exploring=True)
            assert after is not None, f"generated code and interpreter disagree on {instance.label}"
            if symmetry is not None:
                names = symmetry.names_of(after, standing)
                assert names is not None, f"generated code and interpreter disagree on {instance.label}"
            else:
                assert after == standing, f"generated code and interpreter disagree on {instance.label}"
            state = after
            told.append((instance, state))
        return told, names

    def trace(
        self,
        number: int,
        further: Instance | None,
        *,
        breaks: PropertyDeclaration | None = None,
        reaches: PropertyDeclaration | None = None,
    ) -> tuple[TraceState, ...]:
        """The path to a state, and one step further where given, replayed and judged by the interpreter."""
        path: list[int] = []
        at = number
        while at >= 0:
            path.append(at)
            at = self.parts.kept(at)[1]
        told, names = self._told(path)
        if further is not None:
            if self._symmetry is not None and names is not None:
                further = self._symmetry.renamed_step(further, names)
            beyond = self.model.step(further, told[-1][1], exploring=True)
            assert beyond is not None, f"generated code and interpreter disagree on {further.label}"
            told.append((further, beyond))
        if breaks is not None:
            holds = self.model.holds(breaks, told[-1][1], before=told[-2:][0][1])
            assert not holds, "code and interpreter disagree on a property"
        if reaches is not None:
            assert self.model.holds(reaches, told[-1][1]), "code and interpreter disagree on a goal"
        return tuple(
            TraceState(action="init" if instance is None else instance.label, state=self.model.show(state))
            for instance, state in told
        )
