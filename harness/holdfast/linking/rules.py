"""What the link between a model and the exchange is made of: rules for variables and actions, and subjects.

A subject is a part of the spec (trading, custody, ...) and says three things about it, once:

- **the abstraction**: how each variable of a model state is read off what the exchange shows, or why it is not
  compared (`VariableRule`; a ghost records what happened in the model, so that no exchange has it);
- **the concretisation**: which commands carry out each action (`ActionRule`);
- **the moves** (`Move`): what is done to the exchange at random, and by which actions of the model it is explained.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, ClassVar

from holdfast_model.specs.exchange.ledger import Exchange
from holdfast_model.vocabulary import JournalRecord, View

if TYPE_CHECKING:
    from holdfast.linking.world import World

Values = dict[str, int]
"""Values by name of variable, such as `live.free[u1, SOL]`; members of sorts by number."""

MISSING = -1
"""What is observed where the exchange shows nothing although it told of something; no variable has this value."""


class Reading(StrEnum):
    """Where the value of a variable comes from."""

    SHOWN = "shown"
    """From what the exchange shows: its view and its journal."""
    OUTSIDE = "outside"
    """From the world outside of the exchange, which the link plays: chains, signers, clients."""
    TOGETHER = "together"
    """Only together with other variables."""
    NOT_COMPARED = "not compared"


@dataclass(frozen=True, slots=True)
class VariableRule:
    """How a variable is read. `of_engine`: it is a field of the engine's record (live, snapshot, replica, log)."""

    name: str
    reading: Reading
    how: str
    of_engine: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """A step of the model that is carried out: its arguments, and the model's states around it."""

    arguments: Mapping[str, int]
    before: Values
    after: Values


@dataclass(frozen=True, slots=True)
class ActionRule:
    """What carries out an action: `how` in words, `act` in deed; None where the exchange does nothing of its own."""

    action: str
    how: str
    act: "Callable[[World, Taken], None] | None"
    is_linked: "Callable[[World, Taken], str] | None" = None
    """Why the exchange cannot take this step although the model can ("" where it can)."""
    rarity: float = 1
    """How much rarer than others a walk takes it: what undoes or disturbs, so that walks get somewhere."""


@dataclass(frozen=True, slots=True)
class By:
    """An action that explains what was shown, maybe with some arguments known, once or any number of times."""

    action: str
    arguments: Mapping[str, int] = field(default_factory=dict)
    any_number: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """Something that is done to the exchange, and the sequences of actions by which the model may explain it.

    None is needed where it changes nothing. It adds at most so many commands to the model's log (`logged`).
    """

    name: str
    do: "Callable[[World], None]"
    explained_by: tuple[tuple[By, ...], ...] = ()
    logged: int = 0
    weight: float = 1
    """How much more often than others a history has it."""


class Subject:
    """A part of the spec, and how it is linked. Stateless: what there is to know is in the `World`."""

    part: ClassVar[type[Exchange]]
    """The part of the spec that it is about."""
    variables: ClassVar[tuple[VariableRule, ...]] = ()
    actions: ClassVar[tuple[ActionRule, ...]] = ()
    unlogged: ClassVar[tuple[int, ...]] = ()
    """The kinds of commands of the model's log that are no commands of the exchange."""

    def fields(self, world: "World", view: View) -> Values:
        """The fields of the engine's record that this part declares, off a view and what was told up to it."""
        del world, view
        return {}

    def beside(self, world: "World") -> Values:
        """The variables of this part that are beside the engine's record."""
        del world
        return {}

    def together(self, world: "World", state: Mapping[str, int]) -> Values:
        """What is compared of several variables together, as the model has it, under the names in `fields`."""
        del world, state
        return {}

    def logged(self, world: "World", record: JournalRecord) -> Sequence[Values]:
        """What a record is in the model's log, where it is a command of this part that took effect."""
        del world, record
        return ()

    def settle(self, world: "World", after: Values) -> None:
        """What is still to be done after a step of the model, whichever it was."""
        del world, after

    def forget(self, world: "World") -> None:
        """What is lost with the primary besides its engine."""
        del world

    def moves(self, world: "World", random: Random) -> Sequence[Move]:
        """What may be done to the exchange now, drawn at random; most of it may be refused."""
        del world, random
        return ()
