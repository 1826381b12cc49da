"""The exchange as it runs: ingress, the replicas with their primary, the journal that feeds them, custody's wallets.

Acknowledged means durable on more than half of the replicas: where that many are not up, nothing is decided.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import get_args

from msgspec import Struct

from holdfast_engine.custody import MOVING, Wallets
from holdfast_engine.ingress import Ingress
from holdfast_engine.journal import Journal, Records
from holdfast_engine.replicas import Cluster, Replica
from holdfast_engine.state import VenueState, own, state_sha256
from holdfast_engine.storage import Storage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Answer,
    Command,
    CrashPoint,
    JournalRecord,
    OpenOrder,
    PromoteReplica,
    ReadAccount,
    Reason,
    Rejected,
    ReleaseDeployed,
    ReleaseId,
    ReplicaCommand,
    ReplicaId,
    Setup,
    Side,
    View,
    WaitingStop,
)
from holdfast_model.vocabulary.phases import legal
from holdfast_model.vocabulary.wire import canonical, from_canonical

SNAPSHOT = "snapshot"
SETUP = "setup"
INSTALLED = "installed"


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


class Installed(Struct, frozen=True, kw_only=True):
    """The release that is installed on each replica, as their disks know it; in the order of the setup."""

    releases: tuple[ReleaseId, ...]


class Parts(Struct, frozen=True, kw_only=True):
    """What an exchange is made of. A planted fault replaces one part by a small subclass."""

    venue: type[Venue] = Venue
    journal: type[Journal] = Journal
    recovery: type[Recovery] = Recovery
    ingress: type[Ingress] = Ingress
    replica: type[Replica] = Replica
    cluster: type[Cluster] = Cluster
    wallets: type[Wallets] = Wallets


class Exchange:
    """A running exchange on durable storage; made anew on the same storage, it is the same one after a restart."""

    def __init__(self, storage: Storage, parts: Parts | None = None) -> None:
        self._storage = storage
        self._parts = parts or Parts()
        self._setup: Setup | None = None
        setup = storage.read(SETUP)
        if setup is not None:
            self._begin(from_canonical(setup, Setup))
            self._cluster.rebuilt_seq = self._primary.seq

    @property
    def started(self) -> bool:
        """Whether it has a setup; without one it can only be reset."""
        return self._setup is not None

    def reset(self, setup: Setup) -> None:
        """Forget everything and begin with this setup. Nothing is forgotten where its signers' keys do not fit."""
        self._parts.venue(setup)
        self._storage.clear()
        self._storage.write(SETUP, canonical(setup))
        self._begin(setup)

    def _begin(self, setup: Setup) -> None:
        self._setup = setup
        self._ingress = self._parts.ingress(setup.ingress_capacity, setup.rate_max)
        self._wallets = self._parts.wallets(self._storage, setup.custody)
        self._specials: dict[type, Callable[..., Answer]] = {
            **dict.fromkeys(get_args(ReplicaCommand), self._change),
            PromoteReplica: self._promote,
            ReadAccount: self._read,
        }
        self._recover(setup)

    def _recover(self, setup: Setup) -> None:
        """Start all replicas from the storage; also drive the wallets to where the journal says it is."""
        self._journal = self._parts.journal(self._storage)
        records = self._journal.load()
        saved = self._storage.read(INSTALLED)
        first = (setup.releases[0].release,) * len(setup.replicas)
        installed = from_canonical(saved, Installed).releases if saved else first
        venues = self._rebuilt(records, len(setup.replicas))
        self._cluster = self._parts.cluster(
            setup,
            [
                self._parts.replica(name, venue, release)
                for name, venue, release in zip(setup.replicas, venues, installed, strict=True)
            ],
            rebuild=lambda length, count: self._rebuilt(self._records()[:length], count),
            log=lambda after_seq: self._records()[after_seq:],
        )
        self._follow_cluster()
        self._move_wallets(records)

    def _rebuilt(self, records: Records, count: int) -> list[Venue]:
        """Venues rebuilt from the last snapshot that these records reach, and what is after it.

        Replicas share no order, so that each has its own copies of those in the snapshot.
        """
        assert self._setup is not None
        recovery = self._parts.recovery()
        saved = self._storage.read(SNAPSHOT)
        snapshot = from_canonical(saved, VenueState) if saved else None
        if snapshot is not None and snapshot.seq > len(records):
            snapshot = None
        tail = tuple(recovery.tail(records, after_seq=snapshot.seq if snapshot is not None else 0))
        venues = [self._parts.venue(self._setup) for _ in range(count)]
        for venue in venues:
            recovery.recover(venue, None if snapshot is None else own(snapshot), tail)
        return venues

    def _move_wallets(self, records: Records) -> None:
        for record in records.telling_of(*MOVING):
            self._wallets.follow(record.events, seq=record.seq)

    def _follow_cluster(self) -> None:
        """Take note of who is the primary now, who is fed, and whether anything can be decided."""
        cluster = self._cluster
        present = cluster.present()
        self._primary = self._rebuilt(self._records(), 1)[0] if present is None else present
        self._followers = cluster.followers
        reason = cluster.closed_for()
        self._closed = None if reason is None else Answer(events=(Rejected(reason=reason),))

    # Commands -----------------------------------------------------------------------------------------------------

    def submit(self, commands: Sequence[Command], replica: ReplicaId | None = None) -> tuple[Answer, ...]:
        """Answer commands that arrive together, in the order in which they were given; maybe at one replica."""
        answer = self._answer
        if replica is not None and replica != self._cluster.primary:
            answer = partial(self._cluster.ask, replica)
        if len(commands) == 1:
            (command,) = commands
            if self._ingress.admit_one(command, self._primary.time_ms):
                return (answer(command),)
            return (Answer(events=self._ingress.limited(command)),)
        admission = self._ingress.admit(commands, self._primary.time_ms)
        answers: dict[int, Answer] = {}
        for position in admission.admitted:
            answers[position] = answer(commands[position])
        for position in admission.shed:
            answers[position] = Answer(events=self._ingress.refusal(commands[position]))
        for position in admission.limited:
            answers[position] = Answer(events=self._ingress.limited(commands[position]))
        return tuple(answers[position] for position in range(len(commands)))

    def _answer(self, command: Command) -> Answer:
        special = self._specials.get(command.__class__)
        if special is not None:
            return special(command)
        return self._decide(command) if self._closed is None else self._closed

    def _decide(self, command: Command) -> Answer:
        primary = self._primary
        events = primary.apply(command)
        seq = primary.seq
        self._journal.append(seq=seq, epoch=primary.epoch, command=command, events=events)
        for replica in self._followers:
            replica.follow(events)
        self._wallets.follow(events, seq=seq)
        return Answer(events=events, seq=seq, journal_sha256=self._journal.head)

    def _promote(self, command: PromoteReplica) -> Answer:
        """Let another replica be the primary, and decide that itself; a refusal is no decision of anybody's."""
        reason = self._cluster.promotion_refusal(command.replica)
        if reason is not None:
            return Answer(events=(Rejected(reason=reason),))
        self._cluster.promote(command.replica)
        self._follow_cluster()
        return self._decide(command)

    def _change(self, command: ReplicaCommand) -> Answer:
        """Do something to a replica; nothing of it is a decision of the venue, or in the journal."""
        if not legal(self._primary.phase, command):
            return Answer(events=(Rejected(reason=Reason.PHASE_FORBIDS),))
        events = self._cluster.change(command)
        if isinstance(events[0], ReleaseDeployed):
            releases = tuple(replica.release for replica in self._cluster.replicas.values())
            self._storage.write(INSTALLED, canonical(Installed(releases=releases)))
        self._follow_cluster()
        return Answer(events=events)

    def _read(self, command: ReadAccount) -> Answer:
        if self._closed is not None:
            return self._closed
        cluster = self._cluster
        return Answer(events=cluster.read(cluster.replicas[cluster.primary], command))

    def crash(self, command: Command, point: CrashPoint) -> None:
        """Come as far with a command as a process does that dies at the point; the object is useless afterwards."""
        write: dict[CrashPoint, Callable[..., None]] = {
            CrashPoint.TORN_JOURNAL: self._journal.append_torn,
            CrashPoint.AFTER_JOURNAL: self._journal.append,
        }
        if point not in write or not self._decidable(command):
            return
        events = self._primary.apply(command)
        write[point](seq=self._primary.seq, epoch=self._primary.epoch, command=command, events=events)

    def _decidable(self, command: Command) -> bool:
        """Whether a command gets as far as a decision; a promotion that does is carried out."""
        if isinstance(command, PromoteReplica) and self._cluster.promotion_refusal(command.replica) is None:
            self._cluster.promote(command.replica)
            self._follow_cluster()
            return True
        return command.__class__ not in self._specials and self._closed is None

    def snapshot(self) -> None:
        """Write a snapshot of the primary; after a crash the old or the new one is there, whole."""
        self._storage.write(SNAPSHOT, canonical(self._primary.state()))

    def restore(self) -> None:
        """Throw the replicas that are up away and rebuild them from the storage."""
        self._journal = self._parts.journal(self._storage)
        records = self._journal.load()
        self._cluster.restore()
        self._follow_cluster()
        self._move_wallets(records)

    def resend(self, since_seq: int) -> tuple[JournalRecord, ...]:
        """Everything decided after a sequence number, for a client that was cut off (FIX: resend request)."""
        return tuple(self._records()[since_seq:])

    def _records(self) -> Records:
        return self._parts.journal(self._storage).load()

    def view(self) -> View:
        """What the exchange shows now, at the cut of its last decided command."""
        venue = self._primary
        state = venue.state()
        sha256 = state_sha256(state)
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
            custody=self._wallets.custody(),
            replicas=tuple(replica.shown(venue, sha256) for _, replica in sorted(self._cluster.replicas.items())),
            primary=self._cluster.primary,
            release=venue.release,
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
            deposits=venue.pending_deposits(),
            payments=venue.payments_under_way(),
            chains=state.chains,
            liabilities=state.liabilities,
        )
