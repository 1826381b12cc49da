"""A model that remembers which of some sequences it is following, so that a goal can be reached by another one.

Beside the model's own variables its state has one that says where the steps so far stand in the tree of the sequences
to avoid, by the names of their actions. Where they have left the tree, they stay outside of it; where they have taken
one whole, they stay beyond it, since more steps make no other sequence of it. The goal is reached where it was and
where the steps neither are nor begin with one of these sequences. What checks the model checks this one in the same
way.
"""

from collections.abc import Sequence

from holdfast_model.spec.language import ActionDeclaration, PropertyDeclaration, PropertyKind
from holdfast_model.spec.model import Instance, Model, State, Step
from holdfast_model.spec.sorts import UNBOUNDED
from holdfast_model.spec.terms import Condition, Number, Operand, Value, all_of, ite, negation, variable
from holdfast_model.spec.variables import Variable

OUTSIDE, BEYOND, ROOT = 0, 1, 2
"""Places: of steps that have left the tree, of steps that go on after one of its sequences, and of no steps."""


class Avoiding(Model):
    """The model, with one goal, which none of the sequences reaches; each is the names of the actions, in order."""

    def __init__(self, model: Model, goal: PropertyDeclaration, sequences: Sequence[Sequence[str]]) -> None:
        assert UNBOUNDED not in model.spec.sizes.values(), "sequences are those of a model of some size"
        super().__init__(model.spec, name=model.name)
        self.goals = (goal,)
        self.responses = ()
        self._next: dict[str, dict[int, int]] = {}
        self._ends: set[int] = set()
        places = ROOT
        for sequence in sequences:
            place = ROOT
            for name in sequence:
                following = self._next.setdefault(name, {})
                if place not in following:
                    places += 1
                    following[place] = places
                place = following[place]
            self._ends.add(place)
        self._at = len(self.variables)
        self.initial = (*self.initial, ROOT)
        self.variables = (
            *self.variables,
            Variable("place in the tree", int, OUTSIDE, places, ROOT, goal.declared_at, ghost=True),
        )

    def _following(self, name: str, place: Value) -> Value:
        """The place after an action with this name."""
        after: Value = OUTSIDE
        for before, behind in self._next.get(name, {}).items():
            after = ite(place == before, behind, after)
        for taken in (BEYOND, *sorted(self._ends)):
            after = ite(place == taken, BEYOND, after)
        return after

    def _is_another(self, place: Value) -> Condition:
        return all_of(*(negation(place == end) for end in (BEYOND, *sorted(self._ends))))

    def stage(
        self, action: ActionDeclaration, arguments: tuple[Operand, ...], *, exploring: bool = False
    ) -> Step | None:
        """As the model's, and the place moves on."""
        step = super().stage(action, arguments, exploring=exploring)
        if step is None:
            return None
        place = variable(self._at, int)
        assert isinstance(place, Number)
        return Step(step.guard, {**step.updates, self._at: self._following(action.name, place)})

    def step(self, instance: Instance, state: State, *, exploring: bool = False) -> State | None:
        """As the model's, and the place moves on."""
        after = super().step(instance, state[: self._at], exploring=exploring)
        if after is None:
            return None
        place = self._following(instance.action.name, state[self._at])
        assert isinstance(place, int)
        return (*after, place)

    def formula(self, declared: PropertyDeclaration, *, cells: list[Operand] | None = None) -> Condition:
        """As the model's; of the goal also that the steps begin with none of the sequences."""
        found = super().formula(declared, cells=cells)
        if declared.kind is not PropertyKind.SOMETIMES:
            return found
        place = variable(self._at, int) if cells is None else cells[self._at]
        return all_of(found, self._is_another(place))  # type: ignore[arg-type]  # a number

    def holds(self, declared: PropertyDeclaration, state: State, *, before: State | None = None) -> bool:
        """As the model's; of the goal also that the steps begin with none of the sequences."""
        found = super().holds(declared, state, before=before)
        return found and (declared.kind is not PropertyKind.SOMETIMES or state[self._at] not in {BEYOND, *self._ends})

    def show(self, state: State) -> dict[str, str]:
        """The state of the model alone."""
        shown = super().show(state)
        del shown[self.variables[self._at].name]
        return shown
