"""Following a path of the model on the exchange: each step carried out, and the states compared after it."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from holdfast.engine import Engine, LocalEngine
from holdfast.linking.rules import ActionRule, Taken, Values
from holdfast.linking.subjects import rule_of, subjects_of
from holdfast.linking.world import World
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState
from holdfast_model.findings import LinkDifference, Replay
from holdfast_model.spec.model import Instance, Model, State
from holdfast_model.spec.variables import Variable
from holdfast_model.specs import load_model
from holdfast_model.specs.exchange.margin import Margin

DISTURBING = 3
"""The rarity from which on an action disturbs."""

LEFT_OUT = 0.5
"""How likely a walk leaves out an action that disturbs, as long as there is another: so it gets further.

Source: A. Groce and others, "Swarm Testing", ISSTA 2012.
"""


DRAWS_MAX = 6
"""How many draws of its arguments an action gets before a walk turns to another one."""


CONTRADICTS = (LookupError, ValueError, StopIteration)
"""What is raised where a planted bug lets the exchange tell of something that it never told the beginning of."""


def contradiction(error: Exception, *, step: int, label: str) -> LinkDifference:
    """The difference between a model and an exchange that contradicts itself."""
    found = f"contradicts itself: {type(error).__name__}: {error}"
    return LinkDifference(step=step, action=label, variable="what is shown", model="makes sense", engine=found)


class Follower:
    """A model and an exchange that go the same way, step by step, from their first states."""

    def __init__(self, model: Model, engine: Engine) -> None:
        self.model = model
        self.state: State = model.initial
        self.world = World(model, engine, subjects_of(model))
        self.steps: list[str] = []
        self.difference = self._compare("init")
        self._variables = {variable.name: variable for variable in model.variables}

    def cannot(self, instance: Instance, after: State) -> str:
        """Why the exchange cannot take a step of the model; empty where it can."""
        rule = rule_of(self.model, instance.action.name)
        if rule.is_linked is None:
            return ""
        return rule.is_linked(self.world, self._taken(instance, after))

    def take(self, instance: Instance, after: State) -> LinkDifference | None:
        """Let the exchange take a step whose state afterwards is known; the first difference."""
        rule: ActionRule = rule_of(self.model, instance.action.name)
        taken = self._taken(instance, after)
        self.state = after
        self.steps.append(instance.label)
        try:
            if rule.act is not None:
                rule.act(self.world, taken)
            self.world.settle(self.world.named(after))
            self.world.look()
            self.difference = self._compare(instance.label)
        except CONTRADICTS as error:
            self.difference = contradiction(error, step=len(self.steps), label=instance.label)
        return self.difference

    def set_out(self, path: Sequence[Instance]) -> None:
        """Go along a path of the model, to the first difference."""
        for instance in path:
            if self.difference is None:
                after = self.model.step(instance, self.state)
                assert after is not None, f"{instance.label} can be taken"
                self.take(instance, after)

    def _taken(self, instance: Instance, after: State) -> Taken:
        names = [parameter.name for parameter in instance.action.parameters]
        arguments = dict(zip(names, map(int, instance.arguments), strict=True))
        return Taken(arguments, self.world.named(self.state), self.world.named(after))

    def _compare(self, label: str) -> LinkDifference | None:
        world = self.world
        if world.failure:
            return self._difference(label, "the exchange", "runs", world.failure)
        if world.surprises:
            return self._difference(label, "the answer", "as the model has it", "; ".join(world.surprises))
        observed = world.abstract()
        expected = world.expected(self.state, observed)
        return first_difference(self.model, expected, observed, step=len(self.steps), label=label)

    def _difference(self, label: str, variable: str, model: str, engine: str) -> LinkDifference:
        return LinkDifference(step=len(self.steps), action=label, variable=variable, model=model, engine=engine)


def first_difference(
    model: Model, expected: Values, observed: Values, *, step: int, label: str
) -> LinkDifference | None:
    """The first variable in which the exchange is not as expected."""
    variables = {variable.name: variable for variable in model.variables}
    for name, value in observed.items():
        if value != expected[name]:
            shown = [_printed(variables.get(name), each) for each in (expected[name], value)]
            return LinkDifference(step=step, action=label, variable=name, model=shown[0], engine=shown[1])
    return None


def _printed(variable: Variable | None, value: int) -> str:
    if variable is None or variable.sort is int:
        return str(value)
    size = 1 if variable.greatest is None else variable.greatest
    return variable.printed(value) if 0 <= value <= size else "nothing"


def follow(model: Model, instances: Sequence[Instance], engine: Engine | None = None) -> Replay:
    """Follow a path of the model on an engine, the reference by itself, to the first difference.

    Raises `HoldfastError` where it is no path of the model.
    """
    follower = Follower(model, engine or LocalEngine())
    states = [model.initial]
    for number, instance in enumerate(instances, start=1):
        after = model.step(instance, states[-1])
        if after is None:
            raise HoldfastError(
                f"step {number}, {instance.label}, cannot be taken in {model.name}; expected a path of the model"
            )
        states.append(after)
    for instance, after in zip(instances, states[1:], strict=True):
        if follower.difference is not None:
            break
        reason = follower.cannot(instance, after)
        if reason:
            return Replay(
                model=model.name,
                matched=False,
                steps=len(follower.steps),
                unsupported=f"step {len(follower.steps) + 1}, {instance.label}: {reason}",
            )
        follower.take(instance, after)
    return Replay(
        model=model.name,
        matched=follower.difference is None,
        steps=len(follower.steps),
        difference=follower.difference,
    )


def replay_on_reference(model_name: str, trace: Sequence[TraceState]) -> Replay:
    """Follow a trace of a model, as `explore` or `witness` gives it, on the reference exchange.

    Raises `HoldfastError` for a model that there is not and for a trace that is no path of it.
    """
    model = load_model(model_name)
    reason = why_not_linked(model)
    if reason:
        return Replay(model=model.name, matched=False, steps=0, unsupported=reason)
    return follow(model, path_of(model, [state.action for state in trace[1:]]))


def why_not_linked(model: Model) -> str:
    """Why a model is not linked to the exchange; empty where it is."""
    if not subjects_of(model):
        return f"model {model.name} is no slice of the exchange"
    if isinstance(model.spec, Margin) and model.spec.parameters["lots"] > 1:
        return "the exchange rounds the margin of a whole position up, the model that of each lot; expected lots=1"
    return ""


def path_of(model: Model, labels: Sequence[str]) -> list[Instance]:
    """The steps that these labels name, such as `send(q1)`. Raises `HoldfastError` for one that the model has not."""
    known = {instance.label: instance for instance in model.instances()}
    for number, label in enumerate(labels, start=1):
        if label not in known:
            raise HoldfastError(f"step {number} is {label!r}; expected an action of model {model.name}")
    return [known[label] for label in labels]


class Walk:
    """A random path of the model, within the limits of a search: any action that can be taken, then any arguments."""

    def __init__(self, follower: Follower, seed: str, taken: "Counter[str] | None" = None) -> None:
        self.follower = follower
        self.taken: Counter[str] = Counter() if taken is None else taken
        """How often each action was taken, here and in other walks: the rarer one goes first more often."""
        self._random = Random(seed)  # noqa: S311 - a walk must be the same for one seed
        self._instances: dict[str, list[Instance]] = {}
        for instance in follower.model.instances():
            self._instances.setdefault(instance.action.name, []).append(instance)
        self._left_out = {
            name for name in self._instances if self._rarity(name) >= DISTURBING and self._random.random() < LEFT_OUT
        }
        self.not_taken: dict[str, int] = {}
        """By reason: how often a step was passed over because the exchange cannot take it."""

    def _rarity(self, name: str) -> float:
        return rule_of(self.follower.model, name).rarity

    def next(self) -> tuple[Instance, State] | None:
        """A step that can be taken now, drawn at random; None where there is none."""
        weights = {
            name: self._random.random() * (1 + self.taken[name]) * self._rarity(name) for name in self._instances
        }
        for name in sorted(weights, key=lambda name: (name in self._left_out, weights[name])):
            instances = self._instances[name]
            for instance in self._random.sample(instances, min(len(instances), DRAWS_MAX)):
                after = self.follower.model.step(instance, self.follower.state, exploring=True)
                if after is None:
                    continue
                reason = self.follower.cannot(instance, after)
                if not reason:
                    self.taken[name] += 1
                    return instance, after
                self.not_taken[reason] = self.not_taken.get(reason, 0) + 1
        return None
