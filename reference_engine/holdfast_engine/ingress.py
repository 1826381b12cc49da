"""The bounded door: which commands of those that arrive together are taken in, in which order, and which are shed."""

from collections.abc import Sequence

from msgspec import Struct

from holdfast_model.vocabulary import (
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    ClientId,
    Command,
    Events,
    OperatorCommand,
    PlaceOrder,
    ReadAccount,
    Reason,
    Rejected,
    Repay,
    RequestWithdrawal,
    Timestamp,
    TransferMargin,
)

RATED = (PlaceOrder, AmendOrder, RequestWithdrawal, TransferMargin, Borrow, Repay, ReadAccount)
"""What a client asks for itself and what is counted against its rate; cancelling is always allowed."""

_WINDOW_MS = 1_000


class Admission(Struct, frozen=True):
    """Positions in the arriving batch: `admitted` in the order of decision, the others in the order of arrival.

    For the `shed` there is no room; the `limited` are beyond what their client may ask in a second.
    """

    admitted: tuple[int, ...]
    shed: tuple[int, ...]
    limited: tuple[int, ...] = ()


class Ingress:
    """Admission under load. Operators first, cancels, all else by arrival, new orders, reads; beyond capacity: shed.

    Cancels go before new orders because a client that cannot cancel carries a risk that it did not choose. Reads go
    last: they move nothing, and one that is refused is asked again.
    """

    def __init__(self, capacity: int, rate_max: int = 0) -> None:
        self._capacity = capacity
        self._rate_max = rate_max
        self._window = 0
        self._asked: dict[ClientId, int] = {}
        self.depth_max = 0

    def admit(self, commands: Sequence[Command], time_ms: Timestamp = 0) -> Admission:
        """Decide who gets in. `depth_max` keeps the longest queue there ever was.

        What is shed is not counted against its client's rate.
        """
        arriving: Sequence[int] = range(len(commands))
        if self._rate_max:
            arriving = [position for position in arriving if self.within_rate(commands[position], time_ms)]
        admitted = self.within(sorted(arriving, key=lambda position: self.rank(commands[position])))
        self.depth_max = max(self.depth_max, len(admitted))
        taken, arrived = frozenset(admitted), frozenset(arriving)
        shed = tuple(position for position in arriving if position not in taken)
        for position in shed:
            self._give_back(commands[position])
        limited = tuple(position for position in range(len(commands)) if position not in arrived)
        return Admission(tuple(admitted), shed, limited)

    def admit_one(self, command: Command, time_ms: Timestamp) -> bool:
        """Whether a command that arrives alone is taken in: there is room for one, within the rate."""
        self.depth_max = self.depth_max or 1
        return not self._rate_max or self.within_rate(command, time_ms)

    def within_rate(self, command: Command, time_ms: Timestamp) -> bool:
        """Whether a client may ask this in this second of the venue's time; it is counted if so."""
        if not isinstance(command, RATED):
            return True
        if time_ms // _WINDOW_MS != self._window:
            self._window = time_ms // _WINDOW_MS
            self._asked.clear()
        asked = self._asked.get(command.client, 0)
        if asked >= self._rate_max:
            return False
        self._asked[command.client] = asked + 1
        return True

    def _give_back(self, command: Command) -> None:
        if self._rate_max and isinstance(command, RATED):
            self._asked[command.client] -= 1

    def rank(self, command: Command) -> int:
        """Who goes first: the lower the earlier; equals stay in order of arrival."""
        if isinstance(command, OperatorCommand):
            return 0
        if isinstance(command, CancelOrder | CancelAll):
            return 1
        if isinstance(command, PlaceOrder):
            return 3
        return 4 if isinstance(command, ReadAccount) else 2

    def refusal(self, command: Command) -> Events:  # noqa: ARG002 - a seam: a fault may look at the command
        """What is answered to a command for which there is no room."""
        return (Rejected(reason=Reason.OVERLOADED),)

    def limited(self, command: Command) -> Events:  # noqa: ARG002 - a seam: a fault may look at the command
        """What is answered to a command beyond its client's rate."""
        return (Rejected(reason=Reason.RATE_LIMITED),)

    def within(self, ranked: list[int]) -> list[int]:
        """Those for whom there is room."""
        return ranked[: self._capacity]
