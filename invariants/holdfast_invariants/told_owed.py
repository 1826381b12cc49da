"""What an exchange owes that no state shows: commands turned away at its door, deposits unheard, the load barrier."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from holdfast_model.vocabulary import (
    AmendOrder,
    Answer,
    AssetId,
    Borrow,
    CancelAll,
    CancelOrder,
    ClientId,
    LoadConfirmed,
    PlaceOrder,
    ReadAccount,
    Reason,
    Rejected,
    ReleaseDeployed,
    Repay,
    ReplicaChanged,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    ReportDeposit,
    RequestWithdrawal,
    Setup,
    TransactionId,
    TransferMargin,
)

TURNED_AWAY = frozenset(
    {Reason.OVERLOADED, Reason.RATE_LIMITED, Reason.NO_PRIMARY, Reason.NO_QUORUM, Reason.NOT_PRIMARY}
)
"""The refusals that say nothing of the command, only that it cannot be decided now."""

ClientCommand = (
    PlaceOrder
    | AmendOrder
    | CancelOrder
    | CancelAll
    | RequestWithdrawal
    | TransferMargin
    | Borrow
    | Repay
    | ReadAccount
)
BY_CLIENTS: tuple[type, ...] = get_args(ClientCommand)
"""What clients ask, and ask again when they were turned away."""


class ToldOwed:
    """Folded from answers. `at_first` is what was pending when healing began last, by subject."""

    def __init__(self, setup: Setup) -> None:
        self._by_procedure = setup.procedure
        self._primary = setup.replicas[0]
        self._down: set[ReplicaId] = set()
        self._unconfirmed: set[ReplicaId] = set()
        """The replicas that were started again since the load was confirmed last."""
        self.away: dict[ClientId, tuple[ClientCommand, Reason]] = {}
        """The last command of each client whose last command was turned away, and why."""
        self.unheard: dict[tuple[AssetId, TransactionId], ReportDeposit] = {}
        """The deposits that could not be told because the connection to their chain was down."""
        self.barrier = ""
        """Why the load barrier is owed, "" where it is not."""
        self.at_first: dict[str, str] = {}

    def appliers(self) -> Mapping[type, Callable[[Any], None]]:
        """What folds each event."""
        return {
            LoadConfirmed: self._on_confirmed,
            ReleaseDeployed: self._on_deployed,
            ReplicaChanged: self._on_replica,
            ReplicaPromoted: self._on_promoted,
        }

    def rebuilt(self, since: str) -> None:
        """The state in memory is another one: where there is a procedure, the load is to be confirmed."""
        if self._by_procedure:
            self.barrier = since

    def killed(self, replica: ReplicaId) -> None:
        """A replica died, and will be another one in memory once it is started."""
        self._down.add(replica)

    def closers(self, command: type) -> tuple[Callable[[Any, Answer], None], ...]:
        """What is called at the end of each answer to commands of this class."""
        if command in BY_CLIENTS:
            return (self._answered,)
        return (self._heard,) if command is ReportDeposit else ()

    def _answered(self, command: ClientCommand, answer: Answer) -> None:
        """Whether a client was turned away, or was answered now."""
        events = answer.events
        if events and not self.away and events[0].__class__ is not Rejected:
            return
        reason = _refusal(answer)
        if reason in TURNED_AWAY:
            self.away[command.client] = (command, reason)
        elif self.away and answer.events:
            self.away.pop(command.client, None)

    def _heard(self, report: ReportDeposit, answer: Answer) -> None:
        """Whether a deposit could be told."""
        reason = _refusal(answer)
        if reason is Reason.PROVIDER_DOWN:
            self.unheard[report.asset, report.transaction] = report
        elif self.unheard and answer.events and reason not in TURNED_AWAY:
            self.unheard.pop((report.asset, report.transaction), None)

    def _on_confirmed(self, event: LoadConfirmed) -> None:  # noqa: ARG002 - that it happened is enough
        self.barrier = ""
        self._unconfirmed.clear()

    def _on_deployed(self, event: ReleaseDeployed) -> None:
        self.rebuilt(f"{event.release} was deployed on {event.replica}")

    def _on_replica(self, event: ReplicaChanged) -> None:
        if event.status is ReplicaStatus.DOWN:
            self._down.add(event.replica)
        elif event.replica in self._down:
            self._down.discard(event.replica)
            self._unconfirmed.add(event.replica)
            if event.replica == self._primary:
                self.rebuilt(f"{event.replica} was started again")

    def _on_promoted(self, event: ReplicaPromoted) -> None:
        self._primary = event.replica
        if event.replica in self._unconfirmed:
            self.rebuilt(f"{event.replica} was started again and promoted")


def _refusal(answer: Answer) -> Reason | None:
    first = answer.events[0] if answer.events else None
    return first.reason if isinstance(first, Rejected) else None
