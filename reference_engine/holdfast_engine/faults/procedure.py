"""Faults of maintenance by procedure: steps that are skipped, releases that come early, cancels by force."""

from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.order import Order
from holdfast_engine.replicas import Cluster, Replica
from holdfast_engine.state import state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    CancelReason,
    Capability,
    CauseKind,
    Events,
    MarketId,
    OrderCancelled,
    Phase,
    Reason,
    ReleaseId,
    ReplicaCommand,
    ReplicaId,
    Sha256,
)


class _BeginsUnannounced(Venue):
    def announced(self) -> bool:
        return True


class _AnnouncesForEver(Venue):
    def begin_maintenance(self) -> None:
        announced = self.announced_ms
        super().begin_maintenance()
        self.announced_ms = announced


class _LiquidatesUnloaded(Venue):
    @property
    def loaded(self) -> bool:
        return True


class _ReopensUnconfirmed(Venue):
    def missing_step(self, phase: Phase) -> Reason | None:
        missing = super().missing_step(phase)
        return None if missing is Reason.NOT_LOADED else missing


class _ReopensUnreconciled(Venue):
    def owed_step(self) -> Reason | None:
        missing = super().owed_step()
        return None if missing is Reason.NOT_RECONCILED else missing


class _ForgivesWhatWasCalledOff(Venue):
    def owed_step(self) -> Reason | None:
        return super().owed_step() if self.phase is Phase.MAINTENANCE else None


class _TrustsWhatIsPromoted(Cluster):
    def promote(self, name: ReplicaId) -> None:
        before = self.rebuilt_seq
        super().promote(name)
        self.rebuilt_seq = before


class _OverlooksDeployments(Cluster):
    def change(self, command: ReplicaCommand) -> Events:
        before = self.deployed_seq
        events = super().change(command)
        self.deployed_seq = before
        return events


class _OpensOutOfMaintenance(Venue):
    def may_enter(self, phase: Phase) -> bool:
        return (self.phase is Phase.MAINTENANCE and phase is Phase.OPEN) or super().may_enter(phase)


class _OverlooksANode(Cluster):
    def agreed_state(self) -> Sha256 | None:
        venue = self.replicas[self.primary].venue
        return None if venue is None else state_sha256(venue.state())

    def installed(self, release: ReleaseId) -> bool:
        return sum(replica.release == release for replica in self.replicas.values()) >= len(self.replicas) - 1


class _PricesByWhatIsInstalled(Replica):
    def start(self, venue: Venue) -> None:
        super().start(venue)
        venue.rescale(venue.setup.markets_under(self.release))


class _ActivatesOverOpenOrders(UncheckedVenue):
    def priced(self, market: MarketId) -> bool:  # noqa: ARG002 - the fault
        return False


class _LeavesHolds(Venue):
    def cancel(self, order: Order, reason: CancelReason) -> None:
        if reason is not CancelReason.FORCED:
            super().cancel(order, reason)
        else:
            self.emit(
                OrderCancelled(client=order.client, order=order.order, left_lots=order.left_lots, reason=reason)
            )


class _ReleasesTwiceByForce(UncheckedVenue):
    def cancel(self, order: Order, reason: CancelReason) -> None:
        before = self.hold(order)
        super().cancel(order, reason)
        if reason is CancelReason.FORCED:
            self._move_hold(order, before, CauseKind.ORDER_RELEASE)


FAULTS = (
    Fault(
        name="maintenance-not-announced",
        sentence="Maintenance begins though nobody was told of it, or earlier than was told.",
        violates=("PHASE-2",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_BeginsUnannounced),
    ),
    Fault(
        name="announcement-serves-twice",
        sentence="One announcement lets maintenance begin again and again.",
        violates=("PHASE-2",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_AnnouncesForEver),
    ),
    Fault(
        name="load-barrier-ignored",
        sentence="After a restart accounts are liquidated before the load of the state is confirmed.",
        violates=("PHASE-2",),
        incidents=("paradex-2026-01-19",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_LiquidatesUnloaded),
    ),
    Fault(
        name="maintenance-left-unconfirmed",
        sentence="Maintenance is left for post-only before the load is confirmed.",
        violates=("PHASE-2",),
        incidents=("backpack-2025-07-03", "paradex-2026-01-19"),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_ReopensUnconfirmed),
    ),
    Fault(
        name="maintenance-left-unreconciled",
        sentence="Maintenance is left for post-only before ledger and custody were reconciled.",
        violates=("PHASE-2",),
        incidents=("backpack-2025-07-03",),
        needs=frozenset({Capability.PROCEDURE, Capability.CUSTODY}),
        parts=Parts(venue=_ReopensUnreconciled),
    ),
    Fault(
        name="barrier-forgiven-by-an-abort",
        sentence="Maintenance that is called off after a deployment or a restore owes no load barrier any more.",
        violates=("PHASE-2",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_ForgivesWhatWasCalledOff),
    ),
    Fault(
        name="barrier-forgiven-by-a-promotion",
        sentence="A replica that was rebuilt and never confirmed becomes the primary, and is trusted at once.",
        violates=("PHASE-2",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(cluster=_TrustsWhatIsPromoted),
    ),
    Fault(
        name="deployment-after-the-barrier",
        sentence="A release is installed on a node after the load was confirmed, and nobody confirms it again.",
        violates=("PHASE-2",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(cluster=_OverlooksDeployments),
    ),
    Fault(
        name="post-only-skipped",
        sentence="Trading opens out of maintenance at once, without the post-only phase.",
        violates=("PHASE-2", "PHASE-1"),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_OpensOutOfMaintenance),
    ),
    Fault(
        name="node-skipped-in-deployment",
        sentence="A release is activated, and the load confirmed, though one node was left with another release.",
        violates=("PHASE-2",),
        incidents=("backpack-2025-07-03", "knight-2012-08-01"),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(cluster=_OverlooksANode),
    ),
    Fault(
        name="release-in-force-before-activation",
        sentence="A node reckons in the ticks of the release that is installed on it, before it is activated.",
        # With nothing left to change at the activation, a mark in the old ticks stays in use: MARK-1.
        violates=("REPL-1", "CONS-2", "MARK-1"),
        incidents=("coinbase-precision-2021-11-19",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=UncheckedVenue, replica=_PricesByWhatIsInstalled),
    ),
    Fault(
        name="release-activated-over-open-orders",
        sentence="A release changes what a tick is worth while orders are open at prices in the old ticks.",
        violates=("CONS-2", "CONS-4"),
        incidents=("coinbase-precision-2021-11-19",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_ActivatesOverOpenOrders),
    ),
    Fault(
        name="forced-cancel-leaves-holds",
        sentence="Orders that an operator cancels by force leave behind what was held for them.",
        violates=("CONS-4",),
        incidents=("kraken-2018-01-11",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_LeavesHolds),
    ),
    Fault(
        name="forced-cancel-releases-twice",
        sentence="What is held for orders that an operator cancels by force is released twice.",
        violates=("CONS-2",),
        incidents=("kraken-2018-01-11",),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=_ReleasesTwiceByForce),
    ),
)
