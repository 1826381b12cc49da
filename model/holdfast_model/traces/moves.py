"""Steps of a model by the texts that evidence and files have of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Obligation, TraceState
from holdfast_model.spec.language import ActionDeclaration, Range
from holdfast_model.spec.model import Instance, Model
from holdfast_model.spec.shapes import Names

INIT = "init"
"""What leads to the first state of a path."""

ASSUMED = "assumed"
"""What stands there in a counterexample to induction: its first state need not be reachable."""


@dataclass(frozen=True, slots=True)
class Move:
    """What a trace says that led to a state: an action with the value of each of its parameters by name."""

    action: str
    arguments: Mapping[str, int | str]

    @property
    def label(self) -> str:
        """The move as messages show it."""
        shown = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.action}({shown})" if shown else self.action


def action_named(model: Model, name: str) -> ActionDeclaration:
    """The action with this name, or HoldfastError that lists what there is."""
    found = next((a for a in model.actions if a.name == name), None)
    if found is None:
        raise HoldfastError(
            f"model {model.name} has no action {name!r}; expected one of: {', '.join(a.name for a in model.actions)}"
        )
    return found


def instance_of(model: Model, move: Move) -> Instance:
    """The step of the model that a move means. HoldfastError for what the model does not have."""
    action = action_named(model, move.action)
    expected = [p.name for p in action.parameters]
    if sorted(move.arguments) != sorted(expected):
        raise HoldfastError(
            f"action {action.name!r} has arguments {sorted(move.arguments)}; expected {', '.join(expected) or 'none'}"
        )
    names = Names(model)
    values = []
    for parameter in action.parameters:
        given = move.arguments[parameter.name]
        if isinstance(parameter.domain, Range):
            if not isinstance(given, int) or isinstance(given, bool):
                raise HoldfastError(
                    f"argument {parameter.name!r} of {action.name!r} is {given!r}; expected an integer"
                )
            values.append(given)
            continue
        members = names.of(parameter.domain)
        if given not in members:
            raise HoldfastError(
                f"argument {parameter.name!r} of {action.name!r} is {given!r}; expected one of: {', '.join(members)}"
            )
        values.append(parameter.domain(members[str(given)]))
    return Instance(action, tuple(values))


def move_of(model: Model, label: str) -> Move:
    """The move that a step's printed label means: `place(u1, buy, price=1, size=2)`."""
    name, _, rest = label.removesuffix(")").partition("(")
    action = action_named(model, name)
    texts = rest.split(", ") if rest else []
    if len(texts) != len(action.parameters):
        raise HoldfastError(f"step {label!r} has {len(texts)} arguments; expected {len(action.parameters)}")
    return moved(action, dict(zip((p.name for p in action.parameters), texts, strict=True)))


def moved(action: ActionDeclaration, printed: Mapping[str, str]) -> Move:
    """The move with these printed arguments: numbers become numbers, members of sorts stay names."""
    return Move(
        action.name,
        {
            p.name: int(printed[p.name].removeprefix(f"{p.name}="))
            if isinstance(p.domain, Range)
            else printed[p.name]
            for p in action.parameters
        },
    )


def trace_of_refutation(model: Model, refuted: Obligation) -> tuple[TraceState, ...]:
    """A refuted obligation as a trace: the state that induction assumes and the one that breaks the property."""
    if refuted.action == INIT:
        return (TraceState(action=INIT, state=refuted.after),)
    action = action_named(model, refuted.action)
    texts = [
        f"{p.name}={refuted.arguments[p.name]}" if isinstance(p.domain, Range) else refuted.arguments[p.name]
        for p in action.parameters
    ]
    label = f"{action.name}({', '.join(texts)})" if texts else action.name
    return TraceState(action=ASSUMED, state=refuted.before), TraceState(action=label, state=refuted.after)
