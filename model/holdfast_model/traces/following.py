"""Whether states are a path of a model: each step is taken again by the interpreter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState
from holdfast_model.findings import Difference, Violation
from holdfast_model.spec.language import PropertyKind
from holdfast_model.spec.model import Instance, Model, State
from holdfast_model.traces.moves import ASSUMED, INIT, Move, instance_of


@dataclass(frozen=True, slots=True)
class Followed:
    """How far states are a path of a model. `step` numbers in findings are those of states, 0 the first.

    `trace` has the states that were reached and the step that leads to each. `differences` is empty when all of them
    are a path; else it lists what differs at the first step that is none. `violations` are of the states and steps
    that were reached, each property at its first.
    """

    trace: tuple[TraceState, ...]
    violations: tuple[Violation, ...]
    differences: tuple[Difference, ...]


def follow(
    model: Model,
    states: Sequence[State],
    moves: Sequence[Move | None],
    *,
    loop: int | None = None,
    assumed: bool = False,
) -> Followed:
    """The states as a path of the model, as far as they are one.

    A step whose move is not known (None) is any that leads there, among those of a search's finite ranges. With
    `loop` a further step leads from the last state back to that one. `assumed` allows any first state. HoldfastError
    where a move is none of the model's, or an argument that must be found has no finite range.
    """
    assert len(states) == len(moves)
    start = ASSUMED if assumed else INIT
    first = TraceState(action=start, state=model.show(states[0]))
    if not assumed and states[0] != model.initial:
        return Followed(
            (), (), _differences(model, 0, found=states[0], expected=model.initial, says="the first state")
        )
    trace = [first]
    violations = {v.subject: v for v in _violations(model, 0, states[0], None)}
    further = [] if loop is None else [(states[-1], states[loop], None)]
    steps = [*zip(states, states[1:], moves[1:], strict=False), *further]
    for number, (before, after, move) in enumerate(steps, start=1):
        taken = _taken(model, number, before, after, move)
        if isinstance(taken, tuple):
            return Followed(tuple(trace), tuple(violations.values()), taken)
        trace.append(TraceState(action=taken.label, state=model.show(after)))
        for violation in _violations(model, number, after, before):
            violations.setdefault(violation.subject, violation)
    return Followed(tuple(trace), tuple(violations.values()), ())


def _taken(
    model: Model, number: int, before: State, after: State, move: Move | None
) -> Instance | tuple[Difference, ...]:
    """The step that leads from one state to the next, or what is different where none does."""
    if move is not None:
        try:
            instance = instance_of(model, move)
        except HoldfastError as error:
            raise HoldfastError(f"state {number}: {error}") from error
        reached = model.step(instance, before)
        if reached is None:
            return (
                Difference(
                    kind="step",
                    step=number,
                    subject=instance.label,
                    found="it is taken",
                    expected="its guard is false in the state before",
                ),
            )
        if reached == after:
            return instance
        return _differences(model, number, found=after, expected=reached, says=instance.label)
    nearest: tuple[int, Instance, State] | None = None
    for instance in model.instances():
        reached = model.step(instance, before)
        if reached is None:
            continue
        if reached == after:
            return instance
        distance = sum(one != other for one, other in zip(reached, after, strict=True))
        if nearest is None or distance < nearest[0]:
            nearest = distance, instance, reached
    if nearest is None:
        return (
            Difference(
                kind="step",
                step=number,
                subject="every action",
                found="a step is taken",
                expected="no guard is true in the state before",
            ),
        )
    says = f"no step leads there; the nearest is {nearest[1].label}"
    return _differences(model, number, found=after, expected=nearest[2], says=says)


def _differences(model: Model, number: int, *, found: State, expected: State, says: str) -> tuple[Difference, ...]:
    """Each variable in which a recorded state is not the one that the model has there."""
    recorded, computed = model.show(found), model.show(expected)
    return tuple(
        Difference(kind=says, step=number, subject=name, found=value, expected=computed[name])
        for name, value in recorded.items()
        if value != computed[name]
    )


def _violations(model: Model, number: int, state: State, before: State | None) -> Iterator[Violation]:
    """The properties that a state breaks, or the step to it."""
    for declared in model.properties:
        of_steps = declared.kind is PropertyKind.STEP
        if of_steps and before is None:
            continue
        if not model.holds(declared, state, before=before if of_steps else None):
            yield Violation(
                invariant=declared.invariant,
                step=number,
                subject=declared.name,
                found="it does not hold " + ("of this step" if of_steps else "in this state"),
                expected=declared.sentence,
            )
