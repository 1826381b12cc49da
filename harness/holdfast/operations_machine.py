"""A Hypothesis machine for operations: failovers, maintenance by procedure, releases, surges, reads anywhere."""

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from holdfast.machines import move, needs
from holdfast.margin_machine import MarginMachine
from holdfast.setups import OPERATIONS_SETUP
from holdfast_model.vocabulary import (
    ActivateRelease,
    Amount,
    AskReplica,
    Burst,
    CancelAllOrders,
    CancelOrder,
    Capability,
    Command,
    ConfirmLoad,
    Crash,
    CrashPoint,
    DeployRelease,
    KillReplica,
    PartitionReplica,
    PauseReplica,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PromoteReplica,
    ReadAccount,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    SetPhase,
    Setup,
    Side,
    StartReplica,
    TimeInForce,
)

_index = st.integers(0, 2**16)
_prices = st.integers(96, 104)
_troubles = st.sampled_from((PauseReplica, PartitionReplica, KillReplica))
"""What may happen to a replica."""


class OperationsMachine(MarginMachine):
    """Drives an exchange by its procedure and against it; after every step every invariant is checked."""

    setup: ClassVar[Setup] = OPERATIONS_SETUP

    # What is done, given names --------------------------------------------------------------------------------------

    @property
    def _primary(self) -> str:
        return self.runner.auditor.told.primary

    def _other(self, index: int) -> str:
        """A replica that is not the primary, by a drawn number."""
        others = [name for name in self.setup.replicas if name != self._primary] or [self._primary]
        return others[index % len(others)]

    def _order_of(self, client: int, price: int) -> PlaceOrder:
        return self._placement(client, Side.BUY if client % 2 else Side.SELL, price, 1, TimeInForce.GTC)

    def _read(self, client: int) -> ReadAccount:
        return ReadAccount(client=self._client(client))

    def _reads(self, client: int) -> tuple[Command, ...]:
        return (self._read(client),) if Capability.READS in self.runner.capabilities else ()

    def _mend(self) -> None:
        """Every replica is up again."""
        for name in self.setup.replicas:
            self.cure(name)

    def _leave_maintenance(self, *, confirmed: bool) -> None:
        if confirmed:
            self.do(ConfirmLoad())
        self.do(SetPhase(phase=Phase.POST_ONLY))
        self.do(SetPhase(phase=Phase.OPEN))

    def _deploy(self, release: str, count: int) -> None:
        for name in self.setup.replicas[:count]:
            self.do(DeployRelease(replica=name, release=release))

    # Replicas -------------------------------------------------------------------------------------------------------

    @needs(Capability.REPLICAS)
    @rule(trouble=_troubles, heir=_index, client=_index, price=_prices, back=st.booleans())
    @move
    def replace_primary(self, *, trouble: type[KillReplica], heir: int, client: int, price: int, back: bool) -> None:
        """The primary is lost, another one promoted; clients go on asking the old one; perhaps it comes back."""
        first = self._primary
        self.do(trouble(replica=first))
        self.do(self._order_of(client, price))
        self.do(PromoteReplica(replica=self._other(heir)))
        self.do(AskReplica(replica=first, commands=(self._order_of(client, price), *self._reads(client))))
        self.do(self._order_of(client + 1, price))
        self.cure(first)
        self.do(AskReplica(replica=first, commands=(*self._reads(client), self._order_of(client, price))))
        if back:
            self.do(PromoteReplica(replica=first))

    @needs(Capability.REPLICAS, Capability.RESEND)
    @rule(client=_index, price=_prices, point=st.sampled_from(CrashPoint), heir=_index, times=st.integers(1, 3))
    @move
    def lose_primary_in_flight(self, client: int, price: int, point: CrashPoint, heir: int, times: int) -> None:
        """The primary dies with an order in flight, whose client gives it again and again."""
        order = self._order_of(client, price)
        self.do(Crash(in_flight=order, point=point, replica=self._primary))
        self.do(PromoteReplica(replica=self._other(heir)))
        for _ in range(times):
            self.do(order)
        self._mend()

    @needs(Capability.REPLICAS)
    @rule(trouble=_troubles, client=_index, price=_prices, lost=st.booleans(), heir=_index)
    @move
    def lose_quorum(self, *, trouble: type[KillReplica], client: int, price: int, lost: bool, heir: int) -> None:
        """The primary is left alone; then it is lost as well, and the others are back without it."""
        first, others = self._primary, [name for name in self.setup.replicas if name != self._primary]
        for name in others:
            self.do(trouble(replica=name))
        self.do(self._order_of(client, price))
        self.do(PromoteReplica(replica=self._other(heir)))
        if lost:
            self.do(KillReplica(replica=first))
        for name in others:
            self.cure(name)
        self.do(PromoteReplica(replica=self._other(heir)))
        self.do(self._order_of(client, price))
        self._mend()

    @needs(Capability.REPLICAS, Capability.READS, Capability.FUNDS)
    @rule(client=_index, price=_prices, replica=_index, amount=st.sampled_from((1, 30)))
    @move
    def read_while_lagging(self, client: int, price: int, replica: int, amount: int) -> None:
        """A replica misses what is decided and is read; then the primary is lost, and it is read once more."""
        first, lagging = self._primary, self._other(replica)
        self.do(PauseReplica(replica=lagging))
        self.deposit(client=client, asset=replica, amount=amount)
        self.do(self._order_of(client, price))
        self.do(AskReplica(replica=lagging, commands=(self._read(client),)))
        self.do(PauseReplica(replica=first))
        self.cure(lagging)
        self.do(AskReplica(replica=lagging, commands=(self._read(client), self._read(client + 1))))
        self.do(PromoteReplica(replica=lagging))
        self._mend()

    # Maintenance ----------------------------------------------------------------------------------------------------

    @needs(Capability.PROCEDURE, Capability.PHASES)
    @rule(
        announced=st.sampled_from((True, True, True, False)),
        confirmed=st.sampled_from((True, True, True, False)),
        emptied=st.booleans(),
        release=_index,
        count=st.integers(0, 3),
        activated=st.booleans(),
        restored=st.booleans(),
    )
    @move
    def upgrade(
        self,
        *,
        announced: bool,
        confirmed: bool,
        emptied: bool,
        release: int,
        count: int,
        activated: bool,
        restored: bool,
    ) -> None:
        """Maintenance by the procedure, or with a step left out: a release, node by node, activated and confirmed."""
        self.begin_maintenance(announced=announced)
        if emptied:
            self.do(SetPhase(phase=Phase.CANCEL_ONLY))
            self.do(CancelAllOrders())
            self.begin_maintenance(announced=announced)
        name = self.setup.releases[release % len(self.setup.releases)].release
        self._deploy(name, count)
        if activated:
            self.do(ActivateRelease(release=name))
        if restored and Capability.SNAPSHOT in self.runner.capabilities:
            self.do(RestoreSnapshot())
        self._leave_maintenance(confirmed=confirmed)

    @needs(Capability.PROCEDURE, Capability.PHASES)
    @rule(
        release=_index,
        count=st.integers(1, 3),
        orders=st.lists(st.tuples(_index, _prices), max_size=4),
        cancelled=st.booleans(),
        back=st.booleans(),
    )
    @move
    def abort(self, *, release: int, count: int, orders: list[tuple[int, int]], cancelled: bool, back: bool) -> None:
        """Maintenance is called off in the middle of a deployment, cancels come under skew, and it is begun again."""
        name = self.setup.releases[release % len(self.setup.releases)].release
        placed = [self._order_of(client, price) for client, price in orders]
        for order in placed:
            self.do(order)
        self.begin_maintenance(announced=True)
        self._deploy(name, count)
        self.do(SetPhase(phase=Phase.CANCEL_ONLY))
        for order in placed[::2]:
            self.do(CancelOrder(client=order.client, order=order.order))
        self._leave_maintenance(confirmed=False)
        if cancelled:
            self.do(CancelAllOrders())
        self.begin_maintenance(announced=True)
        self._deploy(self.setup.releases[0].release if back else name, len(self.setup.replicas))
        self.do(ActivateRelease(release=self.setup.releases[0].release if back else name))
        self._leave_maintenance(confirmed=True)

    @needs(Capability.PROCEDURE, Capability.PHASES)
    @rule(replica=_index, way=st.integers(0, 2), aborted=st.booleans())
    @move
    def rebuild_after_the_barrier(self, *, replica: int, way: int, aborted: bool) -> None:
        """Once the load was confirmed something is rebuilt after all, and the venue goes on, over an abort or not."""
        self.begin_maintenance(announced=True)
        self.discharge()
        name = self._other(replica)
        if way == 0:
            self.do(DeployRelease(replica=name, release=self.runner.auditor.told.release))
        elif way == 1 or Capability.SNAPSHOT not in self.runner.capabilities:
            self.do(KillReplica(replica=name))
            self.do(StartReplica(replica=name))
            self.do(PromoteReplica(replica=name))
        else:
            self.do(RestoreSnapshot())
        if aborted:
            self.do(SetPhase(phase=Phase.CANCEL_ONLY))
        self._leave_maintenance(confirmed=False)
        self.reopen()

    @needs(Capability.PROCEDURE, Capability.PHASES)
    @rule(opened=st.booleans())
    @move
    def take_a_wrong_turn(self, *, opened: bool) -> None:
        """Trading is to open out of maintenance at once, or maintenance begins again without an announcement."""
        self.begin_maintenance(announced=True)
        if opened:
            self.discharge()
            self.do(SetPhase(phase=Phase.OPEN))
        else:
            self.do(SetPhase(phase=Phase.CANCEL_ONLY))
            self.do(SetPhase(phase=Phase.MAINTENANCE))
        self.reopen()

    @needs(Capability.PROCEDURE, Capability.PHASES)
    @rule(client=_index, price=_prices)
    @move
    def activate_over_open_orders(self, client: int, price: int) -> None:
        """A release that changes the worth of a tick is to be activated while orders rest."""
        name = self.setup.releases[-1].release
        for order in (self._order_of(client, price), self._order_of(client, price)):
            self.do(order)
        self.begin_maintenance(announced=True)
        self._deploy(name, len(self.setup.replicas))
        self.do(ActivateRelease(release=name))
        self._leave_maintenance(confirmed=True)
        self.do(CancelAllOrders())

    @needs(Capability.PROCEDURE, Capability.PHASES, Capability.FUNDS)
    @rule(client=_index)
    @move
    def pay_in_maintenance(self, client: int) -> None:
        """A withdrawal that was requested before is to be paid while the venue is in maintenance."""
        owner, name = self._client(client), self._id("w")
        asset = self.setup.assets[client % len(self.setup.assets)]
        self.do(RequestWithdrawal(client=owner, withdrawal=name, asset=asset, amount=Amount(5)))
        self.begin_maintenance(announced=True)
        self.do(PayWithdrawal(client=owner, withdrawal=name))
        self._leave_maintenance(confirmed=True)

    @needs(Capability.PROCEDURE)
    @rule()
    def confirm(self) -> None:
        """The load barrier, whenever somebody thinks of it."""
        self.do(ConfirmLoad())

    @needs(Capability.PROCEDURE, Capability.CANCEL_ALL)
    @rule(every=st.booleans())
    def cancel_by_force(self, *, every: bool) -> None:
        """Everybody's orders are cancelled, in one market or in all."""
        self.do(CancelAllOrders(market=None if every else self.setup.markets[0].market))

    @needs(Capability.PROCEDURE, Capability.LIQUIDATION, Capability.RESTART)
    @rule(index=_index, size=st.integers(8, 40), percent=st.integers(8, 30), way=st.integers(0, 2))
    @move
    def liquidate_after_a_restart(self, index: int, size: int, percent: int, way: int) -> None:
        """A position is below maintenance when the state is rebuilt; the barrier comes between two attempts."""
        held = self._squeezed(index, size, percent, thin=False)
        if held is None:
            return
        client, market = held
        if way == 0:
            self.do(Crash())
            self.do(Restart())
        elif way == 1 and Capability.SNAPSHOT in self.runner.capabilities:
            self.do(RestoreSnapshot())
        else:
            first = self._primary
            self.do(KillReplica(replica=first))
            self.do(StartReplica(replica=first))
        self._liquidate(client, market.product, 1)
        self.do(ConfirmLoad())
        self._liquidate(client, market.product, 2)

    # Surge ----------------------------------------------------------------------------------------------------------

    @needs(Capability.INGRESS)
    @rule(orders=st.integers(0, 5), reads=st.integers(0, 3), cancels=st.integers(0, 4), price=_prices, again=_index)
    @move
    def surge(self, *, orders: int, reads: int, cancels: int, price: int, again: int) -> None:
        """Reads, orders and cancels arrive all at once, the most important last; what was shed is given again."""
        commands: list[Command] = [command for index in range(reads) for command in self._reads(index)]
        commands += [self._order_of(index, price) for index in range(orders)]
        for index in range(cancels):
            key = self._order(index)
            if key is not None:
                commands.append(CancelOrder(client=key[0], order=key[1]))
        if commands:
            self.do(Burst(commands=tuple(commands)))
            self.do(commands[again % len(commands)])

    @needs(Capability.RATE_LIMITS, Capability.READS)
    @rule(client=_index, more=st.integers(0, 3), pause=st.sampled_from((1, 400, 1_000)))
    @move
    def hurry(self, client: int, more: int, pause: int) -> None:
        """A client asks as often as it may within a second, and more; then time goes on."""
        for _ in range(self.setup.rate_max + more):
            self.do(self._read(client))
        self.do(self.later(pause))
        self.do(self._order_of(client, 100))

    def discharge(self) -> None:
        """What the procedure owes is done once all replicas are up, and have the release that is active."""
        self._mend()
        told = self.runner.auditor.told
        if Capability.PROCEDURE in self.runner.capabilities and set(told.installed.values()) != {told.release}:
            if told.phase is not Phase.MAINTENANCE:
                self.begin_maintenance(announced=True)
            self._deploy(told.release, len(self.setup.replicas))
        super().discharge()
