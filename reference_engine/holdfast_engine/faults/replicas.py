"""Faults of replication: who decides, what a promotion lacks, what a replica applies, and what it lets be read."""

from collections.abc import Iterable
from copy import deepcopy

from msgspec.structs import replace

from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault, OverwritingJournal, UncheckedVenue
from holdfast_engine.ingress import Ingress
from holdfast_engine.replicas import DOWN, PARTITIONED, PAUSED, UP, Cluster, Replica
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AccountRead,
    Answer,
    Bucket,
    Capability,
    ClientId,
    Command,
    Event,
    Events,
    FundsCommand,
    JournalRecord,
    MarginCommand,
    OrderCancelled,
    OrderId,
    ReadAccount,
    Reason,
    ReplicaId,
    ReplicaPromoted,
    TradingCommand,
)

_OF_CLIENTS = TradingCommand | FundsCommand | MarginCommand


class _Remembering(Cluster):
    """A cluster in which replicas that were the primary once are known."""

    deposed: frozenset[ReplicaId] = frozenset()

    def promote(self, name: ReplicaId) -> None:
        self.deposed = (self.deposed | {self.primary}) - {name}
        super().promote(name)

    def deposed_venue(self, replica: Replica) -> Venue | None:
        """The venue of a replica that was the primary once."""
        return replica.venue if replica.name in self.deposed else None


class _TwoPrimaries(_Remembering):
    def fence(self, replica: Replica, command: Command) -> Answer:
        venue = self.deposed_venue(replica)
        if venue is None or replica.status is not PARTITIONED or not isinstance(command, _OF_CLIENTS):
            return super().fence(replica, command)
        return Answer(events=venue.apply(command), seq=venue.seq)


class _AcknowledgesOnceDeposed(_Remembering):
    def fence(self, replica: Replica, command: Command) -> Answer:
        venue = self.deposed_venue(replica)
        if venue is None or replica.status is PAUSED or not isinstance(command, _OF_CLIENTS):
            return super().fence(replica, command)
        thrown_away = venue.__class__(venue.setup)
        thrown_away.load(deepcopy(venue.state()))
        return Answer(events=thrown_away.apply(command))


class _NeedsNoQuorum(Cluster):
    @property
    def acknowledged_seq(self) -> int:
        return max((replica.seq for replica in self.up), default=self.replicas[self.primary].seq)

    def has_quorum(self) -> bool:
        return True


class _DecidesWhileCutOff(Cluster):
    def closed_for(self) -> Reason | None:
        return None if self.replicas[self.primary].status is PARTITIONED else super().closed_for()


class _PromotedByFewerThanHalf(Cluster):
    def promotion_refusal(self, name: ReplicaId) -> Reason | None:
        reason = super().promotion_refusal(name)
        return None if reason is Reason.NO_QUORUM else reason


class _PromotedWhateverItLacks(Replica):
    def promotable(self, acknowledged_seq: int) -> bool:  # noqa: ARG002 - the fault
        return True


class _StaysInItsEpoch(Venue):
    def emit(self, event: Event) -> None:
        super().emit(replace(event, epoch=self.epoch) if isinstance(event, ReplicaPromoted) else event)


class _ForgetsIdsWhenPromoted(UncheckedVenue):
    forgotten = 0

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, ReplicaPromoted):
            self.forgotten = self.accepted

    def order_id_used(self, client: ClientId, order: OrderId) -> bool:
        known = self.orders.get((client, order))
        return known is not None and known.accepted > self.forgotten


class _OldReleaseSkipsCancels(Replica):
    def follow(self, events: Events) -> None:
        assert self.venue is not None
        old = self.release != self.venue.release
        super().follow(() if old and any(isinstance(event, OrderCancelled) for event in events) else events)


class _CatchesUpWithTheLastOnly(Replica):
    def catch_up(self, records: Iterable[JournalRecord]) -> None:
        *missed, last = records
        for _ in missed:
            self.follow(())
        self.follow(last.events)


class _ReadsZeroWhenUnavailable(Replica):
    def read(self, command: ReadAccount) -> Events:
        if self.status is UP and not self.readable():
            return (AccountRead(client=command.client, replica=self.name, seq=self.seq, balances=()),)
        return super().read(command)


class _ReadsWhileCutOff(Replica):
    def readable(self) -> bool:
        return self.status not in {PAUSED, DOWN} and self.venue is not None


class _OmitsWhatIsHeld(Replica):
    def read(self, command: ReadAccount) -> Events:
        return tuple(
            replace(event, balances=tuple(item for item in event.balances if item.bucket is not Bucket.HELD))
            if isinstance(event, AccountRead)
            else event
            for event in super().read(command)
        )


class _StampsThePrimarysCut(Cluster):
    def read(self, replica: Replica, command: ReadAccount) -> Events:
        return tuple(
            replace(event, seq=self.acknowledged_seq) if isinstance(event, AccountRead) else event
            for event in super().read(replica, command)
        )


class _ReadsZeroUnderLoad(Ingress):
    def refusal(self, command: Command) -> Events:
        if isinstance(command, ReadAccount):
            return (AccountRead(client=command.client, replica="n1", seq=0, balances=()),)
        return super().refusal(command)


FAULTS = (
    Fault(
        name="split-brain",
        sentence="After a partition the old primary decides on while the other side has promoted a new one.",
        violates=("FENCE-1", "REPL-1", "FINAL-2"),
        parts=Parts(venue=UncheckedVenue, cluster=_TwoPrimaries),
    ),
    Fault(
        name="deposed-primary-acknowledges",
        sentence="A replica that is no longer the primary acknowledges what it is asked, and it is lost.",
        violates=("FENCE-1", "FINAL-2"),
        parts=Parts(cluster=_AcknowledgesOnceDeposed),
    ),
    Fault(
        name="stale-replica-promoted",
        sentence="A replica that lags behind is promoted.",
        violates=("FINAL-2", "FENCE-1", "REPL-1"),
        incidents=("nasdaq-facebook-2012-05-18",),
        parts=Parts(venue=UncheckedVenue, replica=_PromotedWhateverItLacks, journal=OverwritingJournal),
    ),
    Fault(
        name="acknowledged-before-the-quorum",
        sentence="The primary acknowledges what no other replica has, and a failover loses it.",
        violates=("FENCE-1", "FINAL-2"),
        parts=Parts(venue=UncheckedVenue, cluster=_NeedsNoQuorum, journal=OverwritingJournal),
    ),
    Fault(
        name="cut-off-primary-decides",
        sentence="A primary that is cut off from all other replicas goes on deciding.",
        violates=("FENCE-1",),
        parts=Parts(cluster=_DecidesWhileCutOff),
    ),
    Fault(
        name="promoted-without-a-quorum",
        sentence="A replica is promoted while half of the replicas or fewer are up.",
        violates=("FENCE-1",),
        parts=Parts(venue=UncheckedVenue, cluster=_PromotedByFewerThanHalf, journal=OverwritingJournal),
    ),
    Fault(
        name="epoch-not-raised",
        sentence="A promotion begins no new epoch, so that nobody can tell the old primary from the new one.",
        violates=("FENCE-1",),
        parts=Parts(venue=_StaysInItsEpoch),
    ),
    Fault(
        name="retry-executed-after-failover",
        sentence="After a failover an order that was in flight is executed again when its client repeats it.",
        violates=("FINAL-4",),
        incidents=("poloniex-2014-03-04",),
        parts=Parts(venue=_ForgetsIdsWhenPromoted),
    ),
    Fault(
        name="old-release-skips-cancels",
        sentence="A replica with another release than the active one does not know cancellations.",
        violates=("REPL-1",),
        incidents=("knight-2012-08-01", "backpack-2025-07-03"),
        needs=frozenset({Capability.PROCEDURE}),
        parts=Parts(venue=UncheckedVenue, replica=_OldReleaseSkipsCancels),
    ),
    Fault(
        name="catch-up-skips-the-gap",
        sentence="A replica that was cut off goes on with the last record, without those that it missed before it.",
        violates=("REPL-1",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=UncheckedVenue, replica=_CatchesUpWithTheLastOnly),
    ),
    Fault(
        name="unavailable-read-as-zero",
        sentence="A replica that has not confirmed its load tells balances of zero instead of none.",
        violates=("READ-1",),
        incidents=("gate-2025-04-23",),
        parts=Parts(replica=_ReadsZeroWhenUnavailable),
    ),
    Fault(
        name="cut-off-replica-read",
        sentence="A replica that is cut off answers reads as if nothing could have happened elsewhere.",
        violates=("READ-1",),
        parts=Parts(replica=_ReadsWhileCutOff),
    ),
    Fault(
        name="read-omits-what-is-held",
        sentence="A read tells only a part of a client's balances.",
        violates=("READ-1",),
        parts=Parts(replica=_OmitsWhatIsHeld),
    ),
    Fault(
        name="lagging-read-stamped-as-current",
        sentence="A replica that lags tells its old balances under the primary's cut.",
        violates=("READ-1",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(cluster=_StampsThePrimarysCut),
    ),
    Fault(
        name="read-zero-under-load",
        sentence="A read for which there is no room is answered with balances of zero.",
        violates=("READ-1",),
        incidents=("gate-2025-04-23",),
        parts=Parts(ingress=_ReadsZeroUnderLoad),
    ),
)
