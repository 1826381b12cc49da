"""Telling a trace to a person: each step, and what it changed."""

from collections.abc import Mapping, Sequence

from holdfast_model.evidence import TraceState
from holdfast_model.findings import Difference, StepNarrative, Violation
from holdfast_model.traces.moves import ASSUMED


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Each variable that has another value: "name: before -> after", in the order of the model.

    >>> changes({"mode": "up", "seen[o1]": "none"}, {"mode": "down", "seen[o1]": "none"})
    ('mode: up -> down',)
    """
    return tuple(f"{name}: {before[name]} -> {value}" for name, value in after.items() if before[name] != value)


def narrated(
    trace: Sequence[TraceState],
    *,
    violations: Sequence[Violation] = (),
    differences: Sequence[Difference] = (),
) -> tuple[StepNarrative, ...]:
    """The trace step by step, with what was found wrong at each.

    A first state that is assumed is shown whole, for nobody can know it; that of a path is the model's own.
    """
    told = []
    for number, state in enumerate(trace):
        if number:
            shown = changes(trace[number - 1].state, state.state)
        else:
            whole = state.action == ASSUMED
            shown = tuple(f"{name} = {value}" for name, value in state.state.items()) if whole else ()
        wrong = tuple(f"{v.invariant} ({v.subject}): {v.found}" for v in violations if v.step == number)
        told.append(StepNarrative(step=state.action, changes=shown, violations=wrong))
    if differences:
        told.append(
            StepNarrative(
                step=differences[0].kind,
                violations=tuple(f"{d.subject}: recorded {d.found}; the model has {d.expected}" for d in differences),
            )
        )
    return tuple(told)
