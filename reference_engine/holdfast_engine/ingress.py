"""The bounded door: which commands of those that arrive together are taken in, in which order, and which are shed."""

from collections.abc import Sequence

from msgspec import Struct

from holdfast_model.vocabulary import (
    CancelAll,
    CancelOrder,
    Command,
    Events,
    OperatorCommand,
    PlaceOrder,
    Reason,
    Rejected,
)


class Admission(Struct, frozen=True):
    """Positions in the arriving batch: `admitted` in the order of decision, `shed` in the order of arrival."""

    admitted: tuple[int, ...]
    shed: tuple[int, ...]


class Ingress:
    """Admission under load. Operators first, then cancels, then all else by arrival; beyond capacity: shed, and told.

    Cancels go before new orders because a client that cannot cancel carries a risk that it did not choose.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.depth_max = 0

    def admit(self, commands: Sequence[Command]) -> Admission:
        """Decide who gets in. `depth_max` keeps the longest queue there ever was."""
        by_rank = sorted(range(len(commands)), key=lambda position: self.rank(commands[position]))
        admitted = self.within(by_rank)
        self.depth_max = max(self.depth_max, len(admitted))
        taken = frozenset(admitted)
        return Admission(
            tuple(admitted), tuple(position for position in range(len(commands)) if position not in taken)
        )

    def admit_one(self) -> None:
        """Take in a command that arrives alone: it goes before nobody, and there is always room for one."""
        self.depth_max = self.depth_max or 1

    def rank(self, command: Command) -> int:
        """Who goes first: the lower the earlier; equals stay in order of arrival."""
        if isinstance(command, OperatorCommand):
            return 0
        if isinstance(command, CancelOrder | CancelAll):
            return 1
        return 3 if isinstance(command, PlaceOrder) else 2

    def refusal(self, command: Command) -> Events:  # noqa: ARG002 - a seam: a fault may look at the command
        """What is answered to a command for which there is no room."""
        return (Rejected(reason=Reason.OVERLOADED),)

    def within(self, ranked: list[int]) -> list[int]:
        """Those for whom there is room."""
        return ranked[: self._capacity]
