"""The exchange as it runs: ingress, the primary venue, its journal, a standby fed by the log, the hot wallet.

Acknowledged means durable in the journal. The standby is fed record by record after that; while it is paused it lags,
and its promotion is refused until it has everything that was acknowledged.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy

from msgspec import Struct

from holdfast_engine.custody import MOVING, HotWallet
from holdfast_engine.ingress import Ingress
from holdfast_engine.journal import Journal
from holdfast_engine.state import VenueState, state_sha256
from holdfast_engine.storage import Storage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Answer,
    Command,
    CrashPoint,
    Events,
    JournalRecord,
    OpenOrder,
    PauseStandby,
    PromoteStandby,
    Reason,
    Rejected,
    Replica,
    ResumeStandby,
    Setup,
    Side,
    View,
    WaitingStop,
)
from holdfast_model.vocabulary.wire import canonical, from_canonical

SNAPSHOT = "snapshot"
SETUP = "setup"


class Recovery:
    """How a venue is rebuilt: the last snapshot, then every journal record after it."""

    def recover(self, venue: Venue, snapshot: VenueState | None, tail: Iterable[JournalRecord]) -> None:
        """Bring a new venue to where the journal ends; `tail` is what `tail()` gave."""
        if snapshot is not None:
            venue.load(self.snapshot(snapshot))
        for record in tail:
            self.replay(venue, record)

    def snapshot(self, snapshot: VenueState) -> VenueState:
        """The snapshot as it is loaded."""
        return snapshot

    def tail(self, records: Sequence[JournalRecord], *, after_seq: int) -> Sequence[JournalRecord]:
        """The records that the snapshot does not hold."""
        return records[after_seq:]

    def replay(self, venue: Venue, record: JournalRecord) -> None:
        """Redo one decided command from its events."""
        venue.replay(record.events)


class Standby:
    """A second venue, fed with the primary's records in order."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.paused = False
        self._backlog: list[Events] = []

    def feed(self, events: Events) -> None:
        """Take one record; a paused standby leaves it in the backlog."""
        self._backlog.append(events)
        if not self.paused:
            self.catch_up()

    def catch_up(self) -> None:
        """Apply all that was missed."""
        for events in self._backlog:
            self.follow(events)
        self._backlog.clear()

    def follow(self, events: Events) -> None:
        """Apply one record."""
        self.venue.replay(events)

    def promotable(self, acknowledged_seq: int) -> bool:
        """Whether it may become primary: only with everything that was acknowledged."""
        return self.venue.seq == acknowledged_seq


class Parts(Struct, frozen=True, kw_only=True):
    """What an exchange is made of. A planted fault replaces one part by a small subclass.

    Without a standby nothing is fed, and a promotion is refused as stale.
    """

    venue: type[Venue] = Venue
    journal: type[Journal] = Journal
    recovery: type[Recovery] = Recovery
    ingress: type[Ingress] = Ingress
    standby: type[Standby] | None = Standby
    wallet: type[HotWallet] = HotWallet


class Exchange:
    """A running exchange on durable storage; made anew on the same storage, it is the same one after a restart."""

    def __init__(self, storage: Storage, parts: Parts | None = None) -> None:
        self._storage = storage
        self._parts = parts or Parts()
        self._setup: Setup | None = None
        setup = storage.read(SETUP)
        if setup is not None:
            self._begin(from_canonical(setup, Setup))

    @property
    def started(self) -> bool:
        """Whether it has a setup; without one it can only be reset."""
        return self._setup is not None

    def reset(self, setup: Setup) -> None:
        """Forget everything and begin with this setup."""
        self._storage.clear()
        self._storage.write(SETUP, canonical(setup))
        self._begin(setup)

    def _begin(self, setup: Setup) -> None:
        self._setup = setup
        self._ingress = self._parts.ingress(setup.ingress_capacity)
        self._wallet = self._parts.wallet(self._storage)
        self._recover()

    def _recover(self) -> None:
        """Rebuild primary and standby from the storage; also drive the wallet to where the journal says it is."""
        assert self._setup is not None
        self._journal = self._parts.journal(self._storage)
        records = self._journal.load()
        recovery = self._parts.recovery()
        saved = self._storage.read(SNAPSHOT)
        first = from_canonical(saved, VenueState) if saved else None
        tail = tuple(recovery.tail(records, after_seq=first.seq if first else 0))
        self._primary = self._parts.venue(self._setup)
        recovery.recover(self._primary, first, tail)
        self._standby: Standby | None = None
        if self._parts.standby is not None:
            # Replicas share no order, so that each has its own reading of the snapshot.
            venue = self._parts.venue(self._setup)
            recovery.recover(venue, from_canonical(saved, VenueState) if saved else None, tail)
            self._standby = self._parts.standby(venue)
        for record in records.telling_of(*MOVING):
            self._wallet.follow(record.events)

    def submit(self, commands: Sequence[Command]) -> tuple[Answer, ...]:
        """Answer commands that arrive together, in the order in which they were given."""
        if len(commands) == 1:
            self._ingress.admit_one()
            return (self._decide(commands[0]),)
        admission = self._ingress.admit(commands)
        answers: dict[int, Answer] = {}
        for position in admission.admitted:
            answers[position] = self._decide(commands[position])
        for position in admission.shed:
            answers[position] = Answer(events=self._ingress.refusal(commands[position]))
        return tuple(answers[position] for position in range(len(commands)))

    def _decide(self, command: Command) -> Answer:
        epoch = self._primary.epoch
        events = self._apply(command)
        seq = self._primary.seq
        self._journal.append(seq=seq, epoch=epoch, command=command, events=events)
        if self._standby is not None:
            self._standby.feed(events)
            if command.__class__ is PauseStandby:
                self._standby.paused = True
        self._wallet.follow(events)
        return Answer(events=events, seq=seq, journal_sha256=self._journal.head)

    def _apply(self, command: Command) -> Events:
        if command.__class__ is PromoteStandby and not self._promote():
            events = (Rejected(reason=Reason.STANDBY_STALE),)
            self._primary.replay(events)
            return events
        if command.__class__ is ResumeStandby and self._standby is not None:
            self._standby.catch_up()
            self._standby.paused = False
        return self._primary.apply(command)

    def _promote(self) -> bool:
        """Make the standby the primary, and start a new standby from its state; not where it lacks something."""
        standby = self._standby
        if standby is None or not standby.promotable(self._primary.seq):
            return False
        self._primary = standby.venue
        successor = self._parts.venue(self._primary.setup)
        successor.load(deepcopy(self._primary.state()))
        self._standby = standby.__class__(successor)
        return True

    def crash(self, command: Command, point: CrashPoint) -> None:
        """Come as far with a command as a process does that dies at the point; the object is useless afterwards."""
        epoch = self._primary.epoch
        events = self._apply(command)
        write: dict[CrashPoint, Callable[..., None]] = {
            CrashPoint.TORN_JOURNAL: self._journal.append_torn,
            CrashPoint.AFTER_JOURNAL: self._journal.append,
        }
        if point in write:
            write[point](seq=self._primary.seq, epoch=epoch, command=command, events=events)

    def snapshot(self) -> None:
        """Write a snapshot of the primary; after a crash the old or the new one is there, whole."""
        self._storage.write(SNAPSHOT, canonical(self._primary.state()))

    def restore(self) -> None:
        """Throw primary and standby away and rebuild them from the storage."""
        self._recover()

    def resend(self, since_seq: int) -> tuple[JournalRecord, ...]:
        """Everything decided after a sequence number, for a client that was cut off (FIX: resend request)."""
        return tuple(self._parts.journal(self._storage).load()[since_seq:])

    def view(self) -> View:
        """What the exchange shows now, at the cut of its last decided command."""
        venue = self._primary
        state = venue.state()
        return View(
            seq=state.seq,
            phase=state.phase,
            epoch=state.epoch,
            orders=tuple(
                OpenOrder(
                    client=order.client,
                    order=order.order,
                    market=order.market,
                    side=order.side,
                    price_ticks=order.price_ticks,
                    size_lots=order.size_lots,
                    left_lots=order.left_lots,
                )
                for market in sorted(venue.books)
                for side in (Side.BUY, Side.SELL)
                for order in venue.books[market].orders(side)
                if order.price_ticks is not None
            ),
            balances=state.balances,
            withdrawals=state.withdrawals,
            custody=self._wallet.custody(),
            replicas=(
                _replica("primary", state),
                *(() if self._standby is None else (_replica("standby", self._standby.venue.state()),)),
            ),
            journal_sha256=self._journal.head,
            ingress_depth_max=self._ingress.depth_max,
            time_ms=venue.time_ms,
            stops=tuple(
                WaitingStop(
                    client=order.client,
                    order=order.order,
                    market=order.market,
                    side=order.side,
                    price_ticks=order.price_ticks,
                    size_lots=order.left_lots,
                    trigger=order.conditions.trigger,
                )
                for order in venue.waiting.values()
                if order.conditions is not None and order.conditions.trigger is not None
            ),
            positions=state.positions,
            marks=state.marks,
            stages=state.stages,
            transfers=tuple(sorted(state.transfers, key=lambda item: (item.client, item.request))),
        )


def _replica(name: str, state: VenueState) -> Replica:
    return Replica(replica=name, seq=state.seq, state_sha256=state_sha256(state))
