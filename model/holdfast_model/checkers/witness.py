"""Shortest sequences to goals: by visiting all that is nearer, and where that is too much, by a solver.

A model is searched once for all the goals asked of it, breadth first, until the last is reached. A search that stops
at its limit hands the goals that are left to a bounded search, which starts at the length to which all is known. Both
are exact: no sequence within the model's limits is shorter. A goal that is reached by neither is not reached, and
says why: the space is exhausted, or a limit was met.

Several sequences of one goal differ by the names of their actions: after the first, each is a shortest one that is
none of those before (`avoiding.py`).
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from time import monotonic

from holdfast_model.checkers.avoiding import Avoiding
from holdfast_model.checkers.bound import STEP_RESOURCES, bound
from holdfast_model.checkers.explore import explore
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import (
    WITNESS_SCHEMA,
    Bound,
    BoundedOutcome,
    Exploration,
    Method,
    SearchedModel,
    TraceState,
    Verdict,
    Witness,
    WitnessedGoal,
    Witnesses,
    WitnessSummary,
)
from holdfast_model.spec.language import PropertyDeclaration
from holdfast_model.spec.model import Model

STATES_MAX = 2_000_000
"""How many states a search for goals visits before a solver takes over."""

STEPS_MAX = 16
"""How long the sequences are at most that a solver looks for."""

NOT_ON_THE_ENGINE = "only the interpreter of the specification took its steps"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Whether an engine went the way of a sequence; else why it was not asked to, or what differed."""

    matched: bool = False
    reason: str = ""
    difference: str = ""


Replays = Callable[[str, Sequence[TraceState]], Replayed]
"""Lets an engine go the way of a sequence of the model of this name."""


def by_the_interpreter(model: str, trace: Sequence[TraceState]) -> Replayed:  # noqa: ARG001 - no engine is asked
    """No engine is asked: the interpreter alone took the steps."""
    return Replayed(reason=NOT_ON_THE_ENGINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far to look: `sequences` for each goal at most, and the limits of the two methods."""

    sequences: int = 1
    states_max: int = STATES_MAX
    steps_max: int = STEPS_MAX
    resources: int = STEP_RESOURCES

    def bounds(self) -> tuple[Bound, ...]:
        """As evidence prints them."""
        return (
            Bound(name="sequences for each goal", value=f"at most {self.sequences}"),
            Bound(name="states visited of a model", value=f"at most {self.states_max:,}"),
            Bound(name="steps that a solver looks for", value=f"at most {self.steps_max}"),
        )


@dataclass(slots=True)
class _Found:
    """What is known about one goal of a model."""

    goal: PropertyDeclaration
    method: Method | None = None
    reason: str = ""
    traces: list[tuple[TraceState, ...]] = field(default_factory=list)
    replayed: Replayed = field(default_factory=lambda: Replayed(reason="no sequence was found"))


@dataclass(slots=True)
class Hunt:
    """Looks for goals, model by model. What is found so far is there at any time."""

    limits: Limits
    progress: Progress
    replays: Replays = by_the_interpreter
    found: list[tuple[Model, _Found]] = field(default_factory=list)
    searched: list[SearchedModel] = field(default_factory=list)
    interrupted: bool = False
    timing: dict[str, float] = field(default_factory=dict)
    """Seconds: `witness:MODEL` in all; `goal:NAME` from the start of its model's search until it was reached."""

    def run(self, model: Model, goals: Sequence[str]) -> None:
        """Look for these goals of a model. HoldfastError where it has one of them not."""
        by_name = {goal.invariant: goal for goal in model.goals}
        for name in goals:
            if name not in by_name:
                raise HoldfastError(
                    f"model {model.name} has no goal {name!r}; it has: {', '.join(by_name) or 'none'}"
                )
        start = monotonic()
        sought = [by_name[name] for name in dict.fromkeys(goals)]
        wanted = [_Found(goal) for goal in sought]
        self.found += [(model, each) for each in wanted]
        self.progress(f"witness: searching {model.name} for {len(wanted)} goals")
        exploration = self._explored(_seeking(model, sought), wanted, timed=True)
        self.searched.append(
            SearchedModel(
                model=model.name,
                bounds=exploration.bounds,
                distinct=exploration.distinct,
                depth=exploration.depth,
                complete=exploration.complete,
                stopped_by=exploration.stopped_by,
                violations=exploration.violations,
            )
        )
        self._bounded(model, [each for each in wanted if each.method is None], exploration)
        for each in wanted:
            self._further(model, each)
            if each.traces:
                each.replayed = self.replays(model.name, each.traces[0])
        self.timing[f"witness:{model.name}"] = round(monotonic() - start, 3)

    def _explored(self, model: Model, wanted: list[_Found], *, timed: bool) -> Exploration:
        start = monotonic()
        levels: list[float] = []
        exploration = explore(
            model,
            states_max=self.limits.states_max,
            until_goals=True,
            progress=lambda *_: levels.append(monotonic() - start),
        )
        end = monotonic() - start
        for each, coverage in zip(wanted, exploration.goals, strict=True):
            if coverage.states:
                each.method = each.method or Method.EXPLORE
                each.traces.append(coverage.trace)
                if timed:
                    seconds = levels[coverage.states - 1] if coverage.states <= len(levels) else end
                    self.timing[f"goal:{each.goal.invariant}"] = round(seconds, 3)
            elif not each.traces:
                each.reason = (
                    f"none of the {exploration.distinct:,} states that the model can reach is one"
                    if exploration.complete
                    else f"the search stopped by {exploration.stopped_by}"
                )
        return exploration

    def _bounded(self, model: Model, missed: list[_Found], exploration: Exploration) -> None:
        """A solver takes over where the search met a limit."""
        if not missed or exploration.complete or exploration.violations:
            return
        known = exploration.depth - 1
        for each in missed:
            start = monotonic()
            name = each.goal.invariant
            found = bound(
                model,
                goals=[each.goal],
                steps_max=max(self.limits.steps_max, known + 1),
                known_steps=known,
                until_goals=True,
                resources=self.limits.resources,
                progress=lambda length, _, name=name: self.progress(f"witness: {name} in {length} steps"),  # type: ignore[misc]  # bound early
            )
            (goal,) = found.goals
            if goal.outcome is BoundedOutcome.REACHED:
                each.method, each.reason = Method.BOUND, ""
                each.traces.append(goal.trace)
            elif found.exhausted:
                each.reason = f"every sequence has fewer than {found.steps} steps, and none reaches it"
            else:
                each.reason += f", and no sequence of up to {goal.steps} steps reaches it"
                each.reason += f"; {goal.reason}" if goal.reason else ""
            self.timing[f"goal:{name}"] = round(monotonic() - start, 3)

    def _further(self, model: Model, each: _Found) -> None:
        """Look for more sequences of a goal, each another than all before it."""
        while each.method is Method.EXPLORE and len(each.traces) < self.limits.sequences:
            self.progress(f"witness: another sequence to {each.goal.invariant}")
            before = len(each.traces)
            self._explored(Avoiding(model, each.goal, [names_of(t) for t in each.traces]), [each], timed=False)
            if len(each.traces) == before:
                return

    def witnesses(self) -> list[Witness]:
        """Every sequence that was found, those of one goal from the shortest on."""
        return [
            Witness(
                schema=WITNESS_SCHEMA,
                goal=each.goal.invariant,
                sentence=each.goal.sentence,
                model=model.name,
                method=each.method,
                trace=trace,
            )
            for model, each in self.found
            if each.method is not None
            for trace in each.traces
        ]

    def result(self, files: Sequence[str] = ()) -> Witnesses:
        """The evidence; `files` names the file of each of `witnesses()`, where they were written."""
        named = iter(files)
        goals = []
        for model, each in self.found:
            summaries = [
                WitnessSummary(actions=tuple(state.action for state in trace[1:]), file=next(named, ""))
                for trace in each.traces
            ]
            first = summaries[0] if summaries else WitnessSummary(actions=())
            goals.append(
                WitnessedGoal(
                    goal=each.goal.invariant,
                    sentence=each.goal.sentence,
                    model=model.name,
                    steps=len(first.actions),
                    method=each.method,
                    reason=each.reason or ("" if summaries else "the search was interrupted"),
                    replayed=each.replayed.matched,
                    not_replayed_because=each.replayed.reason,
                    difference=each.replayed.difference,
                    actions=first.actions,
                    file=first.file,
                    others=tuple(summaries[1:]),
                )
            )
        return Witnesses(
            verdict=self.verdict(),
            bounds=self.limits.bounds(),
            goals=tuple(goals),
            searched=tuple(self.searched),
        )

    def verdict(self) -> Verdict:
        """Held only if goals were sought, each was reached, nothing broke on the way, and no engine went another."""
        if any(each.violations for each in self.searched) or any(each.replayed.difference for _, each in self.found):
            return Verdict.VIOLATED
        reached = not self.interrupted and bool(self.found) and all(each.method is not None for _, each in self.found)
        return Verdict.HELD if reached else Verdict.INCONCLUSIVE


def _seeking(model: Model, goals: Sequence[PropertyDeclaration]) -> Model:
    """The same model with these goals only, and without what only a search of all its states decides."""
    narrowed = copy(model)
    narrowed.goals = tuple(goals)
    narrowed.responses = ()
    return narrowed


def names_of(trace: Sequence[TraceState]) -> tuple[str, ...]:
    """The actions of a trace by name, without their arguments."""
    return tuple(state.action.partition("(")[0] for state in trace[1:])
