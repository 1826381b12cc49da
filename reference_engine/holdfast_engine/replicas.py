"""The replicas of an exchange: which are there, which one is the primary, and how far each has come.

One log feeds them all. The primary's decisions are applied by each replica that is up, in order, before they are
acknowledged; one that is not up lags, and catches up from the primary's log once both are up. So whatever was
acknowledged is on more than half of the replicas, and a replica that lacks some of it is not promoted (Lamport, Paxos
Made Simple, 2001: any two majorities meet; Viewstamped Replication, 2012: the epochs). What is simulated of that in
one process, and what is not, stands in docs/decisions/0010-one-log-many-replicas.md.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from holdfast_engine.state import state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AccountBalance,
    AccountRead,
    Answer,
    Bucket,
    Command,
    DeployRelease,
    Events,
    HealReplica,
    JournalRecord,
    KillReplica,
    PartitionReplica,
    PauseReplica,
    ReadAccount,
    Reason,
    Rejected,
    ReleaseDeployed,
    ReleaseId,
    ReplicaChanged,
    ReplicaCommand,
    ReplicaId,
    ReplicaStatus,
    ResumeReplica,
    Setup,
    Sha256,
    StartReplica,
)
from holdfast_model.vocabulary import Replica as ReplicaView

UP, PAUSED, PARTITIONED, DOWN = (
    ReplicaStatus.UP,
    ReplicaStatus.PAUSED,
    ReplicaStatus.PARTITIONED,
    ReplicaStatus.DOWN,
)

_BUCKETS = tuple(sorted(Bucket))


class Replica:
    """One copy of the venue and how far its log goes. Seams for planted faults are the methods without underscore."""

    def __init__(self, name: ReplicaId, venue: Venue, release: ReleaseId) -> None:
        self.name = name
        self.status = UP
        self.release = release
        self.venue: Venue | None = venue
        self.rebuilt_seq = -1
        """How much was acknowledged when it was last rebuilt while the exchange ran; -1: never."""
        self._kept_seq = 0

    @property
    def seq(self) -> int:
        """How far its log goes; of one that is down, what it had made durable."""
        return self._kept_seq if self.venue is None else self.venue.seq

    def follow(self, events: Events) -> None:
        """Apply one record of the primary."""
        assert self.venue is not None
        self.venue.replay(events)

    def catch_up(self, records: Iterable[JournalRecord]) -> None:
        """Apply all that was missed."""
        for record in records:
            self.follow(record.events)

    def promotable(self, acknowledged_seq: int) -> bool:
        """Whether it may become primary: only with everything that was acknowledged."""
        return self.seq == acknowledged_seq

    def stop(self) -> None:
        """Lose everything that is not durable."""
        self._kept_seq, self.venue, self.status = self.seq, None, DOWN

    def start(self, venue: Venue) -> None:
        """Go on with a venue that was rebuilt from its own log."""
        self.venue, self.status = venue, UP

    def readable(self) -> bool:
        """Whether its balances may be told: it is up, and what it loaded was confirmed."""
        return self.status is UP and self.venue is not None and self.venue.loaded

    def read(self, command: ReadAccount) -> Events:
        """A client's balances at the cut that the replica has reached, or why they are not told: never a guess."""
        venue = self.venue
        if venue is None or not self.readable():
            return (Rejected(reason=Reason.UNAVAILABLE),)
        return (
            AccountRead(
                client=command.client,
                replica=self.name,
                seq=venue.seq,
                balances=tuple(
                    AccountBalance(bucket=bucket, asset=asset, amount=amount)
                    for bucket in _BUCKETS
                    for asset in sorted(venue.assets)
                    for amount in (venue.ledger.amount(command.client, bucket, asset),)
                    if amount
                ),
            ),
        )

    def shown(self, like: Venue, sha256: Sha256) -> ReplicaView:
        """What a view shows of it; one that answers nothing shows no state. `sha256` is that of the state of `like`.

        Replicas hold the same, mostly, and that is seen at a tenth of what another hash costs.
        """
        if self.venue is None or self.status is PAUSED:
            shown = None
        else:
            same = self.venue is like or self.venue.equals(like)
            shown = sha256 if same else state_sha256(self.venue.state())
        return ReplicaView(
            replica=self.name,
            seq=self.seq,
            state_sha256=shown,
            status=self.status,
            release=self.release,
        )


class Cluster:
    """The replicas, as the primary's `Surroundings` know them. Seams for planted faults have no underscore.

    `rebuild` makes so many venues out of snapshot and log, as far as a length of the log; `log` tells what is after a
    number.
    """

    def __init__(
        self,
        setup: Setup,
        replicas: Sequence[Replica],
        *,
        rebuild: Callable[[int, int], list[Venue]],
        log: Callable[[int], Iterable[JournalRecord]],
    ) -> None:
        self.setup = setup
        self.replicas = {replica.name: replica for replica in replicas}
        self.rebuilt_seq = self.deployed_seq = -1
        self._rebuild = rebuild
        self._log = log
        (self.primary,) = {replica.venue.primary for replica in replicas if replica.venue is not None}
        for replica in replicas:
            self._join(replica)

    def _join(self, replica: Replica) -> None:
        assert replica.venue is not None
        replica.venue.surroundings = self

    # What is so ---------------------------------------------------------------------------------------------------

    @property
    def acknowledged_seq(self) -> int:
        """The number of the last command that was acknowledged: the primary has it, also where it is down."""
        return self.replicas[self.primary].seq

    @property
    def up(self) -> list[Replica]:
        """The replicas that are up."""
        return [replica for replica in self.replicas.values() if replica.status is UP]

    @property
    def followers(self) -> list[Replica]:
        """The replicas that are fed: all that are up, but for the primary."""
        return [replica for replica in self.up if replica.name != self.primary]

    def has_quorum(self) -> bool:
        """Whether what is decided now would be durable on more than half of the replicas."""
        return len(self.up) >= self.setup.quorum

    def closed_for(self) -> Reason | None:
        """Why nothing can be decided now; None: the primary is there, and reaches more than half."""
        status = self.replicas[self.primary].status
        if status in {PAUSED, DOWN}:
            return Reason.NO_PRIMARY
        return None if status is UP and self.has_quorum() else Reason.NO_QUORUM

    def present(self) -> Venue | None:
        """The primary's venue; without a primary, that of a replica that has all that was acknowledged, if any."""
        primary = self.replicas[self.primary].venue
        if primary is not None:
            return primary
        known = (replica.venue for replica in self.replicas.values() if replica.seq == self.acknowledged_seq)
        return next((venue for venue in known if venue is not None), None)

    def agreed_state(self) -> Sha256 | None:
        """The state's hash if all replicas are up and have the same log, state and active release; else None."""
        venues = [
            replica.venue
            for replica in self.up
            if replica.venue is not None and replica.release == replica.venue.release
        ]
        if len(venues) != len(self.replicas):
            return None
        first, *others = venues
        agreed = state_sha256(first.state())
        differ = (venue for venue in others if not venue.equals(first))
        return None if any(state_sha256(venue.state()) != agreed for venue in differ) else agreed

    def installed(self, release: ReleaseId) -> bool:
        """Whether all replicas are up and have the release installed."""
        return all(replica.status is UP and replica.release == release for replica in self.replicas.values())

    # Commands that are handed to a replica which is not the primary -------------------------------------------------

    def ask(self, name: ReplicaId, command: Command) -> Answer:
        """What a replica answers that is not the primary: it reads, and decides nothing."""
        replica = self.replicas.get(name)
        if replica is None:
            return _refused(Reason.UNKNOWN_REPLICA)
        if isinstance(command, ReadAccount):
            return Answer(events=self.read(replica, command))
        return self.fence(replica, command)

    def fence(self, replica: Replica, command: Command) -> Answer:  # noqa: ARG002 - a seam: a deposed primary looks
        """Nobody decides but the primary of the epoch."""
        return _refused(Reason.NOT_PRIMARY)

    def read(self, replica: Replica, command: ReadAccount) -> Events:
        """A client's balances at a replica's own cut."""
        if command.client not in self.setup.clients:
            return (Rejected(reason=Reason.UNKNOWN_CLIENT),)
        return replica.read(command)

    # What is done to replicas ---------------------------------------------------------------------------------------

    def change(self, command: ReplicaCommand) -> Events:
        """Do something to a replica; what its status does not allow is refused."""
        replica = self.replicas.get(command.replica)
        if replica is None:
            return (Rejected(reason=Reason.UNKNOWN_REPLICA),)
        match command:
            case PauseReplica():
                return self._move(replica, {UP}, PAUSED)
            case ResumeReplica():
                return self._move(replica, {PAUSED}, UP)
            case PartitionReplica():
                return self._move(replica, {UP}, PARTITIONED)
            case HealReplica():
                return self._move(replica, {PARTITIONED}, UP)
            case KillReplica():
                return self._move(replica, {UP, PAUSED, PARTITIONED}, DOWN)
            case StartReplica():
                return self._move(replica, {DOWN}, UP)
            case DeployRelease():
                return self._deploy(replica, command.release)
            case _:
                assert_never(command)

    def _move(self, replica: Replica, before: set[ReplicaStatus], after: ReplicaStatus) -> Events:
        if replica.status not in before:
            return (Rejected(reason=Reason.REPLICA_UNAVAILABLE),)
        if after is DOWN:
            replica.stop()
        elif replica.status is DOWN:
            self._start(replica)
        replica.status = after
        self.catch_up()
        return (ReplicaChanged(replica=replica.name, status=after),)

    def _start(self, replica: Replica) -> None:
        """Rebuild a replica from its own log."""
        (venue,) = self._rebuild(replica.seq, 1)
        self._replace(replica, venue)
        if replica.name == self.primary:
            self.rebuilt_seq = replica.rebuilt_seq

    def _replace(self, replica: Replica, venue: Venue) -> None:
        """A replica goes on with a venue that was rebuilt."""
        replica.start(venue)
        self._join(replica)
        replica.rebuilt_seq = self.acknowledged_seq

    def _deploy(self, replica: Replica, release: ReleaseId) -> Events:
        if all(item.release != release for item in self.setup.releases):
            return (Rejected(reason=Reason.UNKNOWN_RELEASE),)
        if replica.status is not UP:
            return (Rejected(reason=Reason.REPLICA_UNAVAILABLE),)
        replica.stop()
        replica.release = release
        self._start(replica)
        self.deployed_seq = self.acknowledged_seq
        return (ReleaseDeployed(replica=replica.name, release=release),)

    def catch_up(self) -> None:
        """Let every replica that is up and lags have what it missed, if the primary is there to tell it."""
        if self.replicas[self.primary].status is not UP:
            return
        for replica in self.followers:
            if replica.seq < self.acknowledged_seq:
                replica.catch_up(self._log(replica.seq))

    def restore(self) -> None:
        """Rebuild every replica that is up, as far as its log goes."""
        lengths: dict[int, list[Replica]] = {}
        for replica in self.up:
            lengths.setdefault(replica.seq, []).append(replica)
        for length, replicas in lengths.items():
            for replica, venue in zip(replicas, self._rebuild(length, len(replicas)), strict=True):
                self._replace(replica, venue)
        self.rebuilt_seq = self.acknowledged_seq
        self.catch_up()

    # Promotion ------------------------------------------------------------------------------------------------------

    def promotion_refusal(self, name: ReplicaId) -> Reason | None:
        """Why a replica may not become the primary; None: it may."""
        replica = self.replicas.get(name)
        if replica is None:
            return Reason.UNKNOWN_REPLICA
        if name == self.primary or replica.status is not UP or replica.venue is None:
            return Reason.REPLICA_UNAVAILABLE
        if not self.has_quorum():
            return Reason.NO_QUORUM
        if not replica.promotable(self.acknowledged_seq):
            return Reason.REPLICA_STALE
        return None if replica.release == replica.venue.release else Reason.RELEASE_DIFFERS

    def promote(self, name: ReplicaId) -> None:
        """Make a replica the primary; those that are up follow it, the old primary among them.

        What is owed for the old primary stays owed; what the new one was rebuilt from is not confirmed either.
        """
        self.primary = name
        self.rebuilt_seq = max(self.rebuilt_seq, self.replicas[name].rebuilt_seq)
        self.catch_up()


def _refused(reason: Reason) -> Answer:
    return Answer(events=(Rejected(reason=reason),))
