"""Every reachable state, breadth first: what a search of a whole model says about it.

States are packed into 64-bit words and kept (`packing`, `states`); their successors are computed in numpy, for whole
frontiers at a time (`vectorise`, `expansion`), by two processes (`partitions`, `search`). A candidate is compared
with the whole packed state that it may equal. So the search is exact at any size of state: the probability that two
states are taken for one is 0. Each state keeps the number of its first parent and the step taken, from which traces
are replayed by the interpreter: a trace is therefore also a check of the generated code.

**Violations.** A state that breaks a property is counted and reported but not expanded: what follows from a broken
state says nothing about the other properties. The search goes on elsewhere until every property has its
counterexample or the space is exhausted. So each trace is a shortest one among those that break nothing earlier, and
the counts of a model that holds do not depend on any of this.

**Ranges.** A successor outside of a declared range is never stored, so nothing wraps around. If it breaks a property
(a balance below zero, say) that is the report; if not, the range itself is wrong, and that is a SpecError.

**Kinds of properties.** A step that breaks a property of steps is reported, with what the state behind it breaks, and
leads nowhere. A goal is reported with a shortest path; one that no state of an exhausted space reaches leaves the
verdict inconclusive. An eventuality is decided when the space is exhausted and nothing else is broken: every step is
kept, and from the states that satisfy its second condition the search goes back along them. A reached state that
satisfies the first condition and is not met on the way back is the report. So it says that nothing makes the end
unreachable, not that every path comes to it.

**Deadlocks.** A state in which no action can be taken, and which breaks nothing, is counted, and a shortest way to
the first one is kept. Within bounds such a state is often only the end of what the bounds allow, so it is judged
where the spec says what a legitimate end is (`Spec.may_end`): then any other is a violation. `Deadlocks` overrides
that.

**Symmetry.** With `symmetry` the states that differ only by the names of a sort's members are counted once
(`symmetry`); that this is sound is checked in every state. Traces, goals and eventualities are those of real states.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from holdfast_model.checkers.expansion import Program
from holdfast_model.checkers.partitions import usable_cores
from holdfast_model.checkers.search import INTERRUPTED, Progress, Search, Stop
from holdfast_model.checkers.symmetry import NewlyUsedError, Symmetry
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import (
    ActionCoverage,
    Bound,
    Exploration,
    GoalCoverage,
    ModelViolation,
    PropertyCoverage,
    Verdict,
)
from holdfast_model.spec.language import PropertyDeclaration, PropertyKind, Spec
from holdfast_model.spec.model import Model

__all__ = ["DEADLOCK", "INTERRUPTED", "MEMORY_BYTES_MAX", "Deadlocks", "Progress", "Stop", "explore"]

MEMORY_BYTES_MAX = 4 << 30
"""The default limit on what the search keeps."""

SAMPLED_STATES = 20_000
"""From how many states a symmetry learns which variables are in use."""

DEADLOCK = "DEADLOCK"
"""What a violation by a state without a step is filed under."""


class Deadlocks(StrEnum):
    """What a state in which no action can be taken means."""

    DECLARED = "declared"
    """A violation unless it is an end that the spec declares; where the spec declares none they are reported only."""
    VIOLATION = "violation"
    """A violation unless it is an end that the spec declares."""
    REPORT = "report"
    """Never a violation; they are counted and one is shown."""


def explore(
    model: Model,
    invariants: Sequence[str] = (),
    *,
    symmetry: str | None = None,
    states_max: int | None = None,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
    progress: Progress | None = None,
    auxiliary: bool = False,
    deadlocks: Deadlocks = Deadlocks.DECLARED,
    workers: int | None = None,
    stop: Stop | None = None,
    until_goals: bool = False,
) -> Exploration:
    """The result of visiting every state that the model can reach within its ranges.

    All properties are judged. The search ends early when each of them, or of `invariants` if given, is violated.
    `states_max`, `memory_bytes_max` (of what the search keeps; some tens of megabytes of working space for each
    process come on top) and `stop`, which is asked several times a second, stop it cleanly: the result then is not
    complete, and without a violation inconclusive. `symmetry` is what a sort is counted as, such as "accounts". With
    `auxiliary` the auxiliary invariants are checked as well. The result is the same for any number of `workers`,
    which are processes: 1 or 2; 2 where there are two cores, if not given. `until_goals` stops it as soon as every
    goal is reached.

    HoldfastError where a variable or an argument has no finite range, the model is not symmetric, or it has no
    property for one of `invariants`; SpecError where a value leaves its range without breaking a property.
    """
    properties = [p for p in model.properties if auxiliary or not p.auxiliary]
    judged = dict.fromkeys(p.invariant for p in (*properties, *model.responses))
    for name in invariants:
        if name not in judged:
            raise HoldfastError(f"{model.name} has no property for {name}; it has: {', '.join(judged) or 'none'}")
    end = _end_of(model)
    judges_end = deadlocks is Deadlocks.VIOLATION or (deadlocks is Deadlocks.DECLARED and end is not None)
    program = Program(model, properties, end=end)
    names = None if symmetry is None else _learnt(Symmetry(model, symmetry), program)

    def searched() -> Search:
        return Search(
            program,
            memory_bytes_max=memory_bytes_max,
            states_max=states_max,
            symmetry=names,
            judges_end=judges_end,
            until_goals=until_goals,
            until_broken=invariants,
            workers=usable_cores() if workers is None else workers,
        )

    while True:
        with searched() as search:
            try:
                search.run(progress, stop=stop)
            except NewlyUsedError as met:
                assert names is not None
                names.extend(met.state)
                names.check_initial()
                program.use(names)
            else:
                return _evidence(search, properties, judges_end=judges_end, symmetry=symmetry)


def _end_of(model: Model) -> PropertyDeclaration | None:
    """Where the spec says that the system may rest for good; None where it does not say."""
    declared = type(model.spec).may_end
    if declared is Spec.may_end:
        return None
    code = declared.__code__
    return PropertyDeclaration(
        invariant=DEADLOCK,
        name=declared.__name__,
        function=declared,
        parameters=(),
        sentence="A state without a step is one in which the system may rest.",
        auxiliary=False,
        declared_at=f"{code.co_filename}:{code.co_firstlineno}",
        kind=PropertyKind.ALWAYS,
    )


def _learnt(symmetry: Symmetry, program: Program) -> Symmetry:
    """The symmetry, ready to be used: a plain search of some first levels shows what is in use where."""
    symmetry.check_initial()
    if symmetry.holders:
        sample = Search(program, memory_bytes_max=MEMORY_BYTES_MAX, states_max=SAMPLED_STATES)
        sample.run()
        symmetry.learn(list(zip(*sample.first_levels(), strict=True)))
    program.use(symmetry)
    return symmetry


def _evidence(
    search: Search, properties: Sequence[PropertyDeclaration], *, judges_end: bool, symmetry: str | None
) -> Exploration:
    """What the search shows, with its verdict."""
    model = search.model
    violations = [*_broken(search, properties)]
    first = search.deadlock_first
    stuck = () if first is None else search.trace(first, None)
    if judges_end and stuck:
        violations.append(
            ModelViolation(invariant=DEADLOCK, property=Spec.may_end.__name__, states=len(stuck), trace=stuck)
        )
    complete = not search.stopped_by
    if complete and not violations:
        violations = [*_unanswered(search)]
    goals = tuple(_goals(search))
    taken = dict.fromkeys((action.name for action in model.actions), 0)
    for instance, times in zip(search.program.instances, search.taken, strict=True):
        taken[instance.action.name] += times
    judged = [(p.invariant, p.name) for p in (*properties, *model.responses)]
    judged += [(DEADLOCK, Spec.may_end.__name__)] if judges_end else []
    if violations:
        verdict = Verdict.VIOLATED
    elif complete and judged and search.checked and all(goal.states for goal in goals):
        verdict = Verdict.HELD
    else:
        verdict = Verdict.INCONCLUSIVE
    once = Bound(name="symmetry", value=f"states that differ only by the names of {symmetry} are counted once")
    return Exploration(
        model=model.name,
        verdict=verdict,
        bounds=(*model.bounds(explored=True), *([once] if symmetry is not None else [])),
        distinct=search.distinct,
        generated=search.generated,
        depth=search.depth,
        complete=complete,
        collision_probability=0.0,
        actions=tuple(ActionCoverage(action=name, taken=times) for name, times in taken.items()),
        properties=tuple(
            PropertyCoverage(invariant=invariant, property=name, states=search.checked) for invariant, name in judged
        ),
        violations=tuple(violations),
        deadlocks=search.deadlocks,
        stopped_by=search.stopped_by,
        goals=goals,
        deadlock=stuck,
    )


def _broken(search: Search, properties: Sequence[PropertyDeclaration]) -> Iterator[ModelViolation]:
    """Each property of states or steps that fails, with a shortest path."""
    for number, (state, further) in sorted(search.broken.items()):
        declared = properties[number]
        trace = search.trace(state, further, breaks=declared)
        yield ModelViolation(invariant=declared.invariant, property=declared.name, states=len(trace), trace=trace)


def _unanswered(search: Search) -> Iterator[ModelViolation]:
    """Each eventuality that fails, with a shortest path to a state from which its end is out of reach."""
    for which, declared in enumerate(search.model.responses):
        number = search.unanswered(which)
        if number is not None:
            trace = search.trace(number, None)
            yield ModelViolation(invariant=declared.invariant, property=declared.name, states=len(trace), trace=trace)


def _goals(search: Search) -> Iterator[GoalCoverage]:
    """Each goal with a shortest path to it, as far as one was found."""
    for number, goal in enumerate(search.model.goals):
        at = search.reached.get(number)
        trace = () if at is None else search.trace(at, None, reaches=goal)
        yield GoalCoverage(goal=goal.invariant, sentence=goal.sentence, states=len(trace), trace=trace)
