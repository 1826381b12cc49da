"""Accepting a history of the exchange as a path of the model: what it shows after each move must be explained.

The model's states that agree with all that was shown so far are kept. After a move they are the old ones, where it
changed nothing, and those that the actions lead to by which the move may be explained; of all these, the ones that
agree with what is shown now. If none is left, the history is no path of the model.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from holdfast.engine import Engine
from holdfast.linking.following import CONTRADICTS, Follower, contradiction, first_difference
from holdfast.linking.rules import By, Move, Values
from holdfast_model.findings import LinkDifference
from holdfast_model.spec.model import Instance, Model, State
from holdfast_model.specs.exchange.ledger import Kind
from holdfast_model.specs.exchange.operations import Recovery

REPEATED_MAX = 16
"""How often one action may be repeated to explain one move."""

NO_LIMIT = 1_000_000


class History:
    """An exchange to which something is done at random, and the states that the model can be in by what it shows."""

    def __init__(self, model: Model, engine: Engine, seed: str, path: Sequence[Instance] = ()) -> None:
        self.model = model
        follower = Follower(model, engine)
        follower.set_out(path)
        self.world = follower.world
        self.world.followed = None
        self.states: set[State] = {follower.state}
        self.moves = list(follower.steps)
        """What was done, the path that it set out with included."""
        self.difference: LinkDifference | None = follower.difference
        self._random = Random(seed)  # noqa: S311 - a history must be the same for one seed
        self._kinds = [
            n for n, v in enumerate(model.variables) if v.name.startswith("log[") and v.name.endswith(".kind")
        ]
        self._instances: dict[str, list[Instance]] = {}
        for instance in model.instances():
            self._instances.setdefault(instance.action.name, []).append(instance)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done: it differs, or what follows is not modelled."""
        return self.difference is not None or self.world.is_halted_for_good

    def go_on(self) -> Move | None:
        """Do something at random that one of the parts offers, and explain it; None where none offers anything."""
        offered = [move for subject in self.world.subjects for move in subject.moves(self.world, self._random)]
        room = self._room()
        offered = [move for move in offered if move.logged <= room]
        if not offered:
            return None
        (move,) = self._random.choices(offered, [each.weight for each in offered])
        self.moves.append(move.name)
        try:
            move.do(self.world)
            self.world.look()
            reached = set(self.states)
            for sequence in move.explained_by:
                reached |= self._after(sequence)
            self._keep(move.name, reached)
        except CONTRADICTS as error:
            self.difference = contradiction(error, step=len(self.moves), label=move.name)
        return move

    def _room(self) -> int:
        """How many commands still fit in the model's log, where it has one; the exchange's own has no limit.

        In any of the states: what the exchange does with another command is one of its own in some of them.
        """
        if not self.world.has(Recovery):
            return NO_LIMIT
        return min(sum(state[kind] == Kind.NONE for kind in self._kinds) for state in self.states)

    def _after(self, sequence: Iterable[By]) -> set[State]:
        """The states that these actions lead to, one after the other."""
        states = self.states
        for by in sequence:
            if not by.any_number:
                states = self._steps(states, by)
                continue
            latest = states
            for _ in range(REPEATED_MAX):
                latest = self._steps(latest, by) - states
                states = states | latest
        return states

    def _steps(self, states: set[State], by: By) -> set[State]:
        instances = [one for one in self._instances.get(by.action, ()) if has_arguments(one, by.arguments)]
        found = (self.model.step(instance, state) for state in states for instance in instances)
        return {state for state in found if state is not None}

    def _keep(self, label: str, reached: set[State]) -> None:
        """Keep the states that agree with what is shown; where none does, remember how the nearest one differs."""
        self.world.surprises.clear()
        if self.world.failure:
            self.difference = LinkDifference(
                step=len(self.moves), action=label, variable="the exchange", model="runs", engine=self.world.failure
            )
            return
        observed = self.world.abstract()
        agreeing = {state for state in reached if self.world.expected(state, observed) == observed}
        if agreeing:
            self.states = agreeing
            return
        expected = min((self.world.expected(state, observed) for state in sorted(reached)), key=_distance(observed))
        self.difference = first_difference(self.model, expected, observed, step=len(self.moves), label=label)


def has_arguments(instance: Instance, wanted: Mapping[str, int]) -> bool:
    """Whether an action has these arguments, among others."""
    names = [parameter.name for parameter in instance.action.parameters]
    return all(int(instance.arguments[names.index(name)]) == value for name, value in wanted.items())


class _distance:  # noqa: N801 - reads as a function
    def __init__(self, observed: Values) -> None:
        self._observed = observed

    def __call__(self, expected: Values) -> int:
        """In how many variables a state differs from what is shown."""
        return sum(value != expected[name] for name, value in self._observed.items())
