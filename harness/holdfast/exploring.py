"""What a person is told of an exploration: violations, goals, coverage, and how far it went."""

from collections.abc import Sequence

from holdfast.console import say, say_steps
from holdfast_model.evidence import Exploration, TraceState
from holdfast_model.traces import narrated


def say_exploration(found: Exploration) -> None:
    """Print all but the verdict."""
    for violation in found.violations:
        say(f"{violation.invariant} ({violation.property}) is violated in {violation.states} states:")
        say_steps(narrated(violation.trace))
    for goal in found.goals:
        reached = f"reached in {goal.states - 1} steps: {_path(goal.trace)}" if goal.states else "not reached"
        say(f"  goal {goal.goal}: {reached}")
    taken = [f"{action.action} {action.taken:,}" for action in found.actions if action.taken]
    say(f"  taken: {', '.join(taken) or 'no action'}")
    never = [action.action for action in found.actions if not action.taken]
    if never:
        say(f"  never enabled{'' if found.complete else ' so far'}: {', '.join(never)}")
    if found.deadlocks:
        say(
            f"  in {found.deadlocks:,} states no action can be taken; a shortest way to one, "
            f"{len(found.deadlock) - 1} steps: {_path(found.deadlock)}"
        )
        if not any(row.invariant == "DEADLOCK" for row in found.properties):
            say("    not judged: the spec does not say where it may end (--deadlocks violation judges them)")
    for bound in found.bounds:
        say(f"  within: {bound.name}: {bound.value}")
    if not found.complete:
        say(f"  covered: every state within {found.depth - 1} steps, and some of those after one step more")
    say(
        f"  {found.distinct:,} distinct states, {found.generated:,} generated, depth {found.depth}; probability that "
        f"a state was missed: {found.collision_probability:.2g}"
    )


def _path(trace: Sequence[TraceState]) -> str:
    return " -> ".join(state.action for state in trace)
