"""What a sequence does to replicas and releases, and what it reads: failovers, grey failures, skew, load barriers.

Each move goes the way that the procedure asks for, and now and then takes each wrong turn that there is.
"""

from abc import abstractmethod
from collections.abc import Sequence

from holdfast.drawing import Moves
from holdfast.risking import Risk
from holdfast_model.vocabulary import (
    ActivateRelease,
    AnnounceMaintenance,
    AskReplica,
    Burst,
    CancelAllOrders,
    CancelOrder,
    Capability,
    ClientId,
    Command,
    ConfirmLoad,
    Crash,
    CrashPoint,
    DeployRelease,
    HealReplica,
    KillReplica,
    Market,
    PartitionReplica,
    PauseReplica,
    Phase,
    PromoteReplica,
    ReadAccount,
    Reason,
    Reconcile,
    ReleaseId,
    ReplicaId,
    ReplicaStatus,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    SetPhase,
    Side,
    StartReplica,
    TakeSnapshot,
)

_TROUBLES: tuple[type[PauseReplica | PartitionReplica | KillReplica], ...] = (
    PauseReplica,
    PartitionReplica,
    KillReplica,
)
CURES: dict[ReplicaStatus, type[ResumeReplica | HealReplica | StartReplica]] = {
    ReplicaStatus.PAUSED: ResumeReplica,
    ReplicaStatus.PARTITIONED: HealReplica,
    ReplicaStatus.DOWN: StartReplica,
}


def owed_steps(*, custody: bool) -> tuple[ConfirmLoad | Reconcile, ...]:
    """What the procedure owes before orders are taken: the load barrier and, with custody, reconciliation."""
    return (ConfirmLoad(), Reconcile()) if custody else (ConfirmLoad(),)


class Failovers(Risk):
    """What happens to replicas, and what clients ask of them."""

    @abstractmethod
    def in_flight(self) -> Command | None:
        """A command whose outcome nobody will be told."""

    def broken(self) -> bool:
        """Whether the primary is not up, or too few replicas are."""
        return self.can(Capability.REPLICAS) and not self.told.can_decide

    def _followers(self) -> list[ReplicaId]:
        """All replicas but the primary, in any order."""
        names = [name for name in self.setup.replicas if name != self.told.primary]
        return self.random.sample(names, len(names))

    def cure(self, name: ReplicaId) -> Moves:
        """A replica is up again, if it was not."""
        status = self.told.replicas[name]
        if status is not ReplicaStatus.UP:
            yield CURES[status](replica=name)

    def mend(self) -> Moves:
        """Every replica is up again, in any order; another primary is promoted first where that can be."""
        if self.chance(0.5):
            yield PromoteReplica(replica=self.one(self.setup.replicas))
        for name in self.random.sample(self.setup.replicas, len(self.setup.replicas)):
            yield from self.cure(name)

    def fail_over(self) -> Moves:
        """Something happens to replicas; another one is promoted, perhaps one that lags; perhaps back again."""
        first, followers = self.told.primary, self._followers()
        if not followers:
            return
        heir, lagging = self.one(followers), self.one(followers)
        lags = self.chance(0.6)
        if lags:
            yield self.one(_TROUBLES)(replica=lagging)
            yield self.place()
        yield from self._lose(first)
        if self.chance(0.5):
            yield self.place()
        if self.chance(0.8):
            yield from self.cure(lagging)
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

    def isolate(self) -> Moves:
        """The primary is cut off, another one is promoted, and clients go on asking the old one, also once healed."""
        first, followers = self.told.primary, self._followers()
        if not followers:
            return
        yield PartitionReplica(replica=first)
        yield self.place() if self.chance(0.5) else AskReplica(replica=first, commands=(self.place(),))
        yield PromoteReplica(replica=followers[0])
        yield AskReplica(replica=first, commands=(self.place(), *self.reads(1)))
        yield self.place()
        if self.chance(0.3):
            yield Crash(replica=first)
        yield from self.cure(first)
        yield AskReplica(replica=first, commands=(*self.reads(1), self.place()))
        yield self.place()
        if self.chance(0.5):
            yield PromoteReplica(replica=first)
            yield AskReplica(replica=followers[0], commands=(self.place(),))

    def strand(self) -> Moves:
        """All others are lost, and the primary may not go on alone; then it is lost too, and the others are back."""
        first, followers = self.told.primary, self._followers()
        if not followers:
            return
        for name in followers:
            yield self.one(_TROUBLES)(replica=name)
        yield self.place()
        yield self.place() if self.chance(0.5) else PromoteReplica(replica=followers[0])
        if self.chance(0.7):
            yield self.one(_TROUBLES)(replica=first)
        for name in followers:
            if self.chance(0.85):
                yield from self.cure(name)
        yield PromoteReplica(replica=followers[0])
        yield self.place()
        yield from self.mend()

    def lag(self) -> Moves:
        """A replica misses what is decided, and is read while it lags; it may not become the primary as it is."""
        first, followers = self.told.primary, self._followers()
        if not followers:
            return
        lagging, *others = followers
        yield PauseReplica(replica=lagging) if self.chance(0.6) else PartitionReplica(replica=lagging)
        client, asset = self.client(), self.one(self.setup.assets)
        if self.can(Capability.FUNDS):
            yield self.deposit(client, asset, self.random.randint(1, 50))
        yield self.place(client=client)
        yield self.place()
        yield AskReplica(replica=lagging, commands=self.reads(1, client))
        if self.chance(0.3):
            yield from self.cure(lagging)
            yield AskReplica(replica=lagging, commands=self.reads(2, client))
            return
        yield PauseReplica(replica=first) if self.chance(0.5) else KillReplica(replica=first)
        yield from self.cure(lagging)
        yield AskReplica(replica=lagging, commands=self.reads(2, client))
        yield PromoteReplica(replica=lagging)
        for name in others:
            yield PromoteReplica(replica=name)
            yield AskReplica(replica=lagging, commands=self.reads(1, client))
        yield from self.mend()

    def persist(self) -> Moves:
        """A client whose order was in flight when the primary died gives it again, and again after the failover."""
        first, followers = self.told.primary, self._followers()
        if not followers:
            return
        order = self.place()
        yield Crash(in_flight=order, point=self.one(list(CrashPoint)), replica=first)
        yield order
        yield PromoteReplica(replica=followers[0])
        yield order
        if self.chance(0.5):
            yield CancelOrder(client=order.client, order=order.order)
        yield order
        yield from self.mend()

    # Asking ---------------------------------------------------------------------------------------------------------

    def ask_replica(self) -> AskReplica:
        """A client or an operator turns to one replica, the primary or not."""
        commands: list[Command] = [self.read() if self.can(Capability.READS) and self.chance(0.7) else self.place()]
        if self.chance(0.3):
            commands.append(self.place())
        return AskReplica(replica=self.one(self.setup.replicas), commands=tuple(commands))

    def read(self) -> ReadAccount:
        """A client reads its balances; now and then somebody who is no client does."""
        return ReadAccount(client=self.client() if self.chance(0.97) else "mallory")

    def reads(self, count: int, client: ClientId | None = None) -> tuple[Command, ...]:
        """Reads of a client and others, where the engine can be read; else orders."""
        if not self.can(Capability.READS):
            return tuple(self.place() for _ in range(count))
        first = self.read() if client is None else ReadAccount(client=client)
        return (first, *(self.read() for _ in range(count - 1)))

    def surge(self) -> Moves:
        """Orders, cancels and reads at once, more than there is room for; what was shed is given again."""
        orders = [self.place() for _ in range(self.random.randint(1, 5))]
        commands: list[Command] = [*orders, *self.reads(self.random.randint(1, 3))]
        for _ in range(self.random.randint(0, 4)):
            cancel = self.cancel()
            if cancel is not None:
                commands.append(cancel)
        yield Burst(commands=tuple(self.random.sample(commands, len(commands))))
        if self.chance(0.5):
            yield Burst(commands=tuple(self.random.choices(commands, k=self.random.randint(2, 8))))

    def hurry(self) -> Moves:
        """A client asks for more than it may within a second, cancels all the same, and goes on in the next one."""
        client = self.client()
        yield self.later(self.random.randint(200, 1_200))
        for _ in range(self.setup.rate_max + 2):
            yield self.one((*self.reads(1, client), self.place(client=client)))
        cancel = self.cancel()
        if cancel is not None:
            yield cancel
        yield self.place()
        yield self.later(self.one((300, 1_000)))
        yield self.place(client=client)


class Operating(Failovers):
    """Maintenance, with its wrong turns."""

    @abstractmethod
    def reopen(self) -> Moves:
        """The venue opens again, one phase after the other."""

    def announce(self) -> Moves:
        """Maintenance is announced, mostly in time; without a procedure only now and then."""
        if not self.can(Capability.PROCEDURE) or not (self.setup.procedure or self.chance(0.1)):
            return
        if self.chance(0.1):
            return
        ahead_ms = self.one((0, 0, 500)) if self.tells_time else 0
        yield AnnounceMaintenance(begins_ms=self.known.time_ms + ahead_ms)
        if ahead_ms and self.chance(0.8):
            yield self.later(ahead_ms)

    def begin_maintenance(self) -> Moves:
        """Maintenance begins, mostly announced; where it was refused for want of it, it is announced then."""
        if self.chance(0.7):
            yield from self.announce()
        yield SetPhase(phase=Phase.MAINTENANCE)
        if self.known.refusal is Reason.NOT_ANNOUNCED:
            yield AnnounceMaintenance(begins_ms=self.known.time_ms)
            yield SetPhase(phase=Phase.MAINTENANCE)

    def confirm(self) -> Moves:
        """The load barrier, once every replica is up and has the release that is active; now and then left out."""
        if not self.can(Capability.PROCEDURE) or not self.chance(0.9 if self.setup.procedure else 0.3):
            return
        if self.told.phase is Phase.MAINTENANCE and self.chance(0.2):
            yield SetPhase(phase=self.one((Phase.POST_ONLY, Phase.POST_ONLY, Phase.OPEN)))
        yield from self.mend()
        if self.told.phase is Phase.MAINTENANCE and self.chance(0.8):
            yield from self.deploy(self.told.release, self.setup.replicas)
        yield ConfirmLoad()
        if self.told.phase is Phase.MAINTENANCE and self.chance(0.2):
            yield from self._rebuild_late()
            yield SetPhase(phase=Phase.POST_ONLY)
            yield ConfirmLoad()

    def _rebuild_late(self) -> Moves:
        """Once the load was confirmed something is rebuilt after all: the state, a node, or the next primary."""
        name = self._followers()[0] if len(self.setup.replicas) > 1 else self.told.primary
        match self.one(("restore",) * self.can(Capability.SNAPSHOT) + ("deploy", "promote")):
            case "restore":
                yield RestoreSnapshot()
            case "deploy":
                yield DeployRelease(replica=name, release=self.told.release)
            case _:
                yield KillReplica(replica=name)
                yield StartReplica(replica=name)
                yield PromoteReplica(replica=name)

    def discharge(self) -> Moves:
        """What is owed before orders are taken is done, outside maintenance; nodes that differ take another one."""
        if self.told.phase in {Phase.MAINTENANCE, Phase.HALTED}:
            return
        yield from self.mend()
        if any(installed != self.told.release for installed in self.told.installed.values()):
            if self.told.phase is not Phase.CANCEL_ONLY:
                yield SetPhase(phase=Phase.CANCEL_ONLY)
            yield from self.begin_maintenance()
            return
        yield from owed_steps(custody=self.can(Capability.CUSTODY) and self.setup.custody is not None)

    def deploy(self, release: ReleaseId, names: Sequence[ReplicaId]) -> Moves:
        """A release is installed node by node where it is not, with what a reader finds in between."""
        for name in self.random.sample(names, len(names)):
            if self.told.installed[name] != release:
                yield DeployRelease(replica=name, release=release)
                if self.can(Capability.READS) and self.chance(0.15):
                    yield AskReplica(replica=name, commands=self.reads(1))

    def release(self) -> Moves:
        """Another release is installed, replica by replica, and activated; perhaps too early, or rolled back."""
        others = [item.release for item in self.setup.releases if item.release != self.told.release]
        release = self.one(others) if others and self.chance(0.8) else self.told.release
        skipped = self.chance(0.3)
        if self.chance(0.8):
            yield from self.mend()
        names = self.random.sample(self.setup.replicas, len(self.setup.replicas))
        yield from self.deploy(release, names[1:] if skipped else names)
        yield ActivateRelease(release=release)
        if self.known.refusal is Reason.RELEASE_DIFFERS and self.chance(0.8):
            yield from self.mend()
            yield from self.deploy(release, names)
            yield ActivateRelease(release=release)
        if self.chance(0.15):
            yield RestoreSnapshot() if self.can(Capability.SNAPSHOT) else ConfirmLoad()
        if self.chance(0.4):
            rolled_back = self.setup.releases[0].release
            yield from self.deploy(rolled_back, names)
            yield ActivateRelease(release=rolled_back)

    def upgrade(self) -> Moves:
        """Maintenance by the procedure: emptied where prices change, a release, perhaps aborted, tried again."""
        yield SetPhase(phase=Phase.CANCEL_ONLY)
        if self.chance(0.6):
            yield CancelAllOrders()
        if self.can(Capability.SNAPSHOT) and self.chance(0.5):
            yield TakeSnapshot()
        yield from self.begin_maintenance()
        if self.chance(0.5):
            yield from self.abort()
        yield from self.release()
        if self.can(Capability.SNAPSHOT) and self.chance(0.3):
            yield RestoreSnapshot()
        yield from self.reopen()

    def abort(self) -> Moves:
        """Maintenance is called off in the middle of a deployment: trading between, and all of it once more."""
        names = self.random.sample(self.setup.replicas, self.random.randint(1, len(self.setup.replicas)))
        yield from self.deploy(self.one(self.setup.releases).release, names)
        yield SetPhase(phase=Phase.CANCEL_ONLY)
        if self.chance(0.5):
            yield self.cancel() or self.place()
        if self.chance(0.8):
            yield from self.reopen()
            for _ in range(self.random.randint(1, 3)):
                yield from self._trade(self.one(self._rescaled()))
            yield self.cancel() or self.place()
            yield SetPhase(phase=Phase.CANCEL_ONLY)
        yield self.cancel() or CancelAllOrders()
        yield from self.begin_maintenance()

    def _rescaled(self) -> list[Market]:
        """The markets whose prices mean something else in another release."""
        names = {item.market for release in self.setup.releases for item in release.tick_amounts}
        return [market for market in self.setup.markets if market.market in names] or list(self.setup.markets)

    def _trade(self, market: Market) -> Moves:
        """Two orders that cross, the first perhaps the larger one, and with what is left of it in the book."""
        buyer, seller = self.random.sample(self.setup.clients, 2)
        price, size = self.walk(market.base), self.random.randint(1, 9)
        yield self.limit(buyer, market, Side.BUY, size + self.random.randint(0, 3), price)
        yield self.limit(seller, market, Side.SELL, size, price)

    def reload(self) -> Moves:
        """The state is rebuilt in the middle of trading, in one way or another; perhaps the barrier comes later."""
        first = self.told.primary
        ways = ["kill"] * self.can(Capability.RESTART) + ["restore"] * self.can(Capability.SNAPSHOT) + ["start"]
        match self.one(ways):
            case "kill":
                yield Crash()
                yield Restart()
            case "restore":
                yield RestoreSnapshot()
            case _:
                yield KillReplica(replica=first)
                yield StartReplica(replica=first)
        yield AskReplica(replica=first, commands=self.reads(1))
        if self.chance(0.6):
            yield ConfirmLoad()

    def force_cancels(self) -> CancelAllOrders:
        """Everybody's orders are cancelled, in one market or in all."""
        return CancelAllOrders(market=self.one(self.setup.markets).market if self.chance(0.5) else None)
