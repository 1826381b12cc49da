"""Faults after which something never comes to rest: nothing is lost or wrong, and it is pending for ever."""

from collections.abc import Sequence
from typing import Any

from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault
from holdfast_engine.ingress import RATED, Admission, Ingress
from holdfast_engine.replicas import Cluster
from holdfast_engine.state import OutgoingPayment
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AssetId,
    Capability,
    Command,
    DepositOrphaned,
    DepositSeen,
    Event,
    Events,
    Hex,
    MismatchFound,
    OrderRested,
    ProductId,
    ProviderChanged,
    Reason,
    Rejected,
    ReplicaId,
    Sha256,
    SignerId,
    Timestamp,
)


class _NeverResumesPayments(Venue):
    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._cut_off: set[AssetId] = set()

    def _on_provider_changed(self, event: ProviderChanged) -> None:
        super()._on_provider_changed(event)
        if not event.up:
            self._cut_off.add(event.asset)

    def lock_over(self, payment: OutgoingPayment) -> bool:
        return payment.intent.asset not in self._cut_off and super().lock_over(payment)


class _ForgetsDepositsThatComeBack(Venue):
    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._orphans: set[tuple[str, str]] = set()

    def _on_deposit_orphaned(self, event: DepositOrphaned) -> None:
        super()._on_deposit_orphaned(event)
        self._orphans.add((event.asset, event.transaction))

    def _on_deposit_seen(self, event: DepositSeen) -> None:
        super()._on_deposit_seen(event)
        if (event.asset, event.transaction) in self._orphans:
            self._unsettled[event.asset].pop(event.transaction, None)


class _NeverSignsAgain(Venue):
    def commitment_valid(self, payment: OutgoingPayment, signer: SignerId, commitment: Hex) -> bool:
        return payment.attempt == 1 and super().commitment_valid(payment, signer, commitment)


class _LeavesTransfersWaiting(Venue):
    def on_product_open(self, product: ProductId) -> None:
        """Nothing follows, whatever waits."""


class _StaysHalted(Venue):
    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._differed = False

    def _on_mismatch_found(self, event: MismatchFound) -> None:
        super()._on_mismatch_found(event)
        self._differed = True

    def settled(self) -> bool:
        return not self._differed and super().settled()


class _LeavesOrdersHanging(Venue):
    def emit(self, event: Event) -> None:
        if self.epoch == 1 or not isinstance(event, OrderRested):
            super().emit(event)


class _NeverAgreesAgain(Cluster):
    _failed_over = False

    def promote(self, name: ReplicaId) -> None:
        super().promote(name)
        self._failed_over = True

    def agreed_state(self) -> Sha256 | None:
        return None if self._failed_over else super().agreed_state()


class _NeverDrains(Ingress):
    """What was shed keeps its place in the queue."""

    def __init__(self, capacity: int, rate_max: int = 0) -> None:
        super().__init__(capacity, rate_max)
        self._room = capacity

    def admit(self, commands: Sequence[Command], time_ms: Timestamp = 0) -> Admission:
        admission = super().admit(commands, time_ms)
        self._room -= len(admission.shed)
        return admission

    def admit_one(self, command: Command, time_ms: Timestamp) -> bool:
        return (self._room > 0 or not isinstance(command, RATED)) and super().admit_one(command, time_ms)

    def limited(self, command: Command) -> Events:
        if self._room > 0:
            return super().limited(command)
        return (Rejected(reason=Reason.OVERLOADED),)


FAULTS = (
    Fault(
        name="payments-never-resumed",
        sentence="Once a chain's provider was down, no payment is ever broadcast on it again.",
        violates=("LIVE-1",),
        needs=frozenset({Capability.CUSTODY}),
        parts=Parts(venue=_NeverResumesPayments),
    ),
    Fault(
        name="returned-deposit-forgotten",
        sentence="A deposit that a reorganisation took away and that comes back is never final again.",
        violates=("LIVE-1", "CUST-2"),
        parts=Parts(venue=_ForgetsDepositsThatComeBack),
    ),
    Fault(
        name="signing-never-restarted",
        sentence="Once signing began again, no commitment is taken any more, and the payment is never signed.",
        violates=("LIVE-1",),
        needs=frozenset({Capability.CUSTODY}),
        parts=Parts(venue=_NeverSignsAgain),
    ),
    Fault(
        name="transfer-waits-for-ever",
        sentence="A transfer that waited for a halted product does not arrive when the product opens.",
        violates=("LIVE-1", "ISOL-1"),
        needs=frozenset({Capability.MARGIN}),
        parts=Parts(venue=_LeavesTransfersWaiting),
    ),
    Fault(
        name="halted-for-ever",
        sentence="An exchange that halted itself stays halted, although what differed was made good.",
        violates=("LIVE-1",),
        needs=frozenset({Capability.CUSTODY}),
        parts=Parts(venue=_StaysHalted),
    ),
    Fault(
        name="order-hangs-after-failover",
        sentence="After a failover an order that does not trade at once neither rests nor ends.",
        violates=("LIVE-1",),
        parts=Parts(venue=_LeavesOrdersHanging),
    ),
    Fault(
        name="barrier-never-passed",
        sentence="After a failover the replicas are never found equal, and the load is never confirmed.",
        violates=("LIVE-1",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(cluster=_NeverAgreesAgain),
    ),
    Fault(
        name="queue-never-drains",
        sentence="What was shed keeps its place in the queue, until nothing of a client is taken in any more.",
        violates=("LIVE-1", "SURGE-1"),
        parts=Parts(ingress=_NeverDrains),
    ),
)
