"""What a sequence does to replicas and releases, and what it reads: failovers, grey failures, skew, load barriers."""

from abc import abstractmethod

from holdfast.drawing import Moves
from holdfast.risking import Risk
from holdfast_model.vocabulary import (
    ActivateRelease,
    AnnounceMaintenance,
    AskReplica,
    CancelAllOrders,
    Capability,
    Command,
    ConfirmLoad,
    Crash,
    CrashPoint,
    DeployRelease,
    HealReplica,
    KillReplica,
    PartitionReplica,
    PauseReplica,
    PromoteReplica,
    ReadAccount,
    ReplicaId,
    ReplicaStatus,
    ResumeReplica,
    StartReplica,
)

_TROUBLES: tuple[type[PauseReplica | PartitionReplica | KillReplica], ...] = (
    PauseReplica,
    PartitionReplica,
    KillReplica,
)
_CURES: dict[ReplicaStatus, type[ResumeReplica | HealReplica | StartReplica]] = {
    ReplicaStatus.PAUSED: ResumeReplica,
    ReplicaStatus.PARTITIONED: HealReplica,
    ReplicaStatus.DOWN: StartReplica,
}


class Operating(Risk):
    """Moves of operators, and reads of clients."""

    @abstractmethod
    def in_flight(self) -> Command | None:
        """A command whose outcome nobody will be told."""

    # Replicas -------------------------------------------------------------------------------------------------------

    def broken(self) -> bool:
        """Whether the primary is not up, or too few replicas are."""
        up = [name for name, status in self.told.replicas.items() if status is ReplicaStatus.UP]
        return self.can(Capability.REPLICAS) and (self.told.primary not in up or len(up) < self.setup.quorum)

    def mend(self) -> Moves:
        """Every replica is up again, in any order; another primary is promoted first where that can be."""
        if self.chance(0.5):
            yield PromoteReplica(replica=self.one(self.setup.replicas))
        names = [name for name, status in self.told.replicas.items() if status is not ReplicaStatus.UP]
        for name in self.random.sample(names, len(names)):
            status = self.told.replicas[name]
            if status is not ReplicaStatus.UP:
                yield _CURES[status](replica=name)

    def fail_over(self) -> Moves:
        """Something happens to replicas; another one is promoted, perhaps one that lags; perhaps back again."""
        first = self.told.primary
        others = [name for name in self.setup.replicas if name != first]
        if not others:
            return
        heir, lagging = self.one(others), self.one(others)
        lags = self.chance(0.6)
        if lags:
            yield self.one(_TROUBLES)(replica=lagging)
            yield self.place()
        yield from self._lose(first)
        if self.chance(0.5):
            yield self.place()
        if self.told.replicas[lagging] is not ReplicaStatus.UP and self.chance(0.8):
            yield _CURES[self.told.replicas[lagging]](replica=lagging)
        yield PromoteReplica(replica=lagging if lags and self.chance(0.7) else heir)
        if self.told.primary == first:
            yield PromoteReplica(replica=heir)
        if self.chance(0.5):
            yield AskReplica(replica=first, commands=(self.place(),))
        yield from self.mend()
        if self.chance(0.3):
            yield PromoteReplica(replica=first)

    def _lose(self, name: ReplicaId) -> Moves:
        """The primary dies, perhaps with a command in flight, or is gone in another way, or nothing happens to it."""
        if self.can(Capability.RESEND) and self.chance(0.5):
            yield Crash(in_flight=self.in_flight(), point=self.one(list(CrashPoint)), replica=name)
        elif self.chance(0.7):
            yield self.one(_TROUBLES)(replica=name)

    def ask_replica(self) -> AskReplica:
        """A client or an operator turns to one replica, the primary or not."""
        commands: list[Command] = [self.read() if self.can(Capability.READS) and self.chance(0.7) else self.place()]
        if self.chance(0.3):
            commands.append(self.place())
        return AskReplica(replica=self.one(self.setup.replicas), commands=tuple(commands))

    def read(self) -> ReadAccount:
        """A client reads its balances."""
        return ReadAccount(client=self.one(self.setup.clients))

    # Maintenance ----------------------------------------------------------------------------------------------------

    def announce(self) -> Moves:
        """Maintenance is announced, mostly in time; without a procedure only now and then."""
        if not self.can(Capability.PROCEDURE) or not (self.setup.procedure or self.chance(0.1)):
            return
        begins_ms = self.known.time_ms + self.one((0, 0, 500))
        yield AnnounceMaintenance(begins_ms=begins_ms)
        if begins_ms > self.known.time_ms and self.chance(0.8):
            yield self.later(500)

    def confirm(self) -> Moves:
        """The load barrier, once every replica is up."""
        if not self.can(Capability.PROCEDURE) or not (self.setup.procedure or self.chance(0.3)):
            return
        yield from self.mend()
        yield ConfirmLoad()

    def release(self) -> Moves:
        """Another release is installed, replica by replica, and activated; perhaps too early, or rolled back."""
        names = [release.release for release in self.setup.releases]
        release, skipped = self.one(names), self.chance(0.3)
        for name in self.random.sample(list(self.setup.replicas), len(self.setup.replicas) - int(skipped)):
            yield DeployRelease(replica=name, release=release)
        if self.chance(0.3):
            yield CancelAllOrders()
        yield ActivateRelease(release=release)
        if skipped or self.chance(0.2):
            for name in self.setup.replicas:
                if self.told.installed[name] != self.told.release:
                    yield DeployRelease(replica=name, release=self.told.release)

    def force_cancels(self) -> CancelAllOrders:
        """Everybody's orders are cancelled, in one market or in all."""
        return CancelAllOrders(market=self.one(self.setup.markets).market if self.chance(0.5) else None)
