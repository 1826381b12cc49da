"""What an exchange has told the outside so far: the record that every invariant is checked against.

It is folded from acknowledged events alone, one event at a time, at a cost that does not depend on how much there is.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from holdfast_invariants.told_book import ToldBook
from holdfast_invariants.told_custody import DepositKey, ToldCustody, ToldWithdrawal, WithdrawalKey
from holdfast_invariants.told_margin import ToldMargin
from holdfast_invariants.told_owed import ToldOwed
from holdfast_invariants.told_triggers import ToldTriggers
from holdfast_model.vocabulary import (
    Answer,
    AssetId,
    Bucket,
    ClientId,
    Command,
    DepositCredited,
    EntryPosted,
    Event,
    MarketId,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderId,
    OrderReduced,
    OrderRested,
    Phase,
    PhaseChanged,
    PriceTicks,
    ReleaseActivated,
    ReleaseDeployed,
    ReleaseId,
    ReplicaChanged,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    Setup,
    Sha256,
    Side,
    SizeLots,
    StopArmed,
    StopTriggered,
    TimeInForce,
    TradeExecuted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.chain import GENESIS

OrderKey = tuple[ClientId, OrderId]
Place = tuple[str, Bucket, AssetId]
OrderEvent = (
    OrderAccepted
    | OrderRested
    | OrderFilled
    | OrderCancelled
    | OrderReduced
    | OrderAmended
    | StopArmed
    | StopTriggered
)


class ToldStatus(StrEnum):
    """What clients believe of an order."""

    ACCEPTED = "accepted"
    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the order is over."""
        return self in TERMINAL


TERMINAL = frozenset({ToldStatus.FILLED, ToldStatus.CANCELLED})
"""The statuses of an order that is over."""

# Until Python 3.12 a member costs ten times as much to look up in its enum as a name of the module.
_ACCEPTED, _RESTING, _FILLED, _CANCELLED = ToldStatus


class ToldOrder(Struct, kw_only=True, gc=False):
    """An order as its owner knows it."""

    key: OrderKey
    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    price_ticks: PriceTicks | None
    size_lots: SizeLots
    left_lots: SizeLots
    filled_lots: SizeLots = SizeLots(0)
    time_in_force: TimeInForce
    post_only: bool
    status: ToldStatus = ToldStatus.ACCEPTED
    amended: bool = False
    fee_numerator: int = 0
    """Sum over its trades of quote amount times fee rate in ppm."""
    number: int = 0
    """How many orders were accepted before it."""


Acts = tuple[Callable[[Any], None], ...]
Hearer = Callable[[Any, Answer], None]


class Told:
    """Everything acknowledged so far. `unknown` holds commands whose outcome nobody was told.

    What an event or view speaks of is looked up once for all monitors, before they look at it: `order` (and its
    `key`), or `maker` and `taker`, or `withdrawal`, each None where there is none of that name; `shown`, the orders
    in a view; `command`, whose answer is at hand. When an entry is believed, `below` are the places that one of its
    postings left below zero. Of all these, only those of the event at hand mean anything.

    `book`, `triggers`, `owed`, `margin` and `custody` are parts of the record that are told each event after it;
    there is no `margin` where the setup has none and no marks, and no `custody` where it has none. `up` are the
    replicas that are up. `resending` is set while records are believed that were decided before the last kill and are
    told only now.
    """

    # CPython is quick at the methods of an instance only while at most thirty attributes are in its dictionary: those
    # that each command or event changes are slots.
    __slots__ = (
        "__dict__",
        "amounts",
        "below",
        "command",
        "head",
        "key",
        "maker",
        "order",
        "orders",
        "phase",
        "resting",
        "seq",
        "shown",
        "taker",
        "trade",
        "withdrawal",
    )

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.release = setup.releases[0].release
        self.markets = {market.market: market for market in setup.markets_under(self.release)}
        self.orders: dict[OrderKey, ToldOrder] = {}
        self.resting: dict[OrderKey, ToldOrder] = {}
        self.amounts: dict[Place, int] = {}
        self.deposits: set[DepositKey] = set()
        """What was credited; without custody a transaction is one, whatever its asset, which is then left empty."""
        self.withdrawals: dict[WithdrawalKey, ToldWithdrawal] = {}
        self.phase = Phase.CLOSED if setup.auctions else Phase.OPEN
        self.epoch = 1
        self.primary = setup.replicas[0]
        self.replicas: dict[ReplicaId, ReplicaStatus] = dict.fromkeys(setup.replicas, ReplicaStatus.UP)
        self.up = frozenset(self.replicas)
        self.installed: dict[ReplicaId, ReleaseId] = dict.fromkeys(setup.replicas, setup.releases[0].release)
        self.seq = 0
        self.trade = 0
        self.head: Sha256 = GENESIS
        self.unknown: list[Command] = []
        self.resending = False

        self.command: Command | None = None
        self.key: OrderKey = ("", "")
        self.order: ToldOrder | None = None
        self.maker: ToldOrder | None = None
        self.taker: ToldOrder | None = None
        self.withdrawal: ToldWithdrawal | None = None
        self.below: list[Place] = []
        self.shown: list[tuple[OpenOrder, OrderKey, ToldOrder | None]] = []

        look_up_order, look_up_withdrawal = (self._look_up_order,), (self._look_up_withdrawal,)
        self._acts: dict[type, tuple[Acts, Acts]] = {
            EntryPosted: ((), (self._posted,)),
            OrderAccepted: (look_up_order, (self._accepted,)),
            OrderRested: (look_up_order, (self._rested,)),
            TradeExecuted: ((self._look_up_both,), (self._traded,)),
            OrderFilled: (look_up_order, (self._filled,)),
            OrderCancelled: (look_up_order, (self._cancelled,)),
            OrderReduced: (look_up_order, (self._reduced,)),
            OrderAmended: (look_up_order, (self._amended,)),
            StopArmed: (look_up_order, ()),
            StopTriggered: (look_up_order, ()),
            DepositCredited: ((), (self._credited,)),
            WithdrawalRequested: (look_up_withdrawal, (self._requested,)),
            WithdrawalPaid: (look_up_withdrawal, (self._paid,)),
            WithdrawalRefunded: (look_up_withdrawal, (self._refunded,)),
            PhaseChanged: ((), (self._phase_changed,)),
            ReplicaChanged: ((), (self._replica_changed,)),
            ReplicaPromoted: ((), (self._promoted,)),
            ReleaseDeployed: ((), (self._deployed,)),
            ReleaseActivated: ((), (self._activated,)),
        }

        self.book = ToldBook(self.orders)
        self.triggers = ToldTriggers(setup, self.orders)
        self.owed = ToldOwed(setup)
        marked = setup.margin is not None or any(market.mark is not None for market in setup.markets)
        self.margin = ToldMargin(setup) if marked else None
        self.custody = ToldCustody(setup.custody, self.withdrawals) if setup.custody is not None else None
        self._hearers: Mapping[type, Hearer] = self.custody.true.hearers() if self.custody is not None else {}
        for part in (self.book, self.triggers, self.owed, self.margin, self.custody):
            for event, act in part.appliers().items() if part is not None else ():
                found, believed = self._acts.get(event, ((), ()))
                self._acts[event] = (found, (*believed, act))

    def lookups(self, event: type) -> Acts:
        """What looks up what events of this class speak of."""
        return self._acts.get(event, ((), ()))[0]

    def beliefs(self, event: type) -> Acts:
        """What believes events of this class, once `lookups` has looked at them."""
        return self._acts.get(event, ((), ()))[1]

    def hearers(self, command: type) -> tuple[Hearer, ...]:
        """What hears commands of this class, which report what is true outside, before their answer is looked at."""
        return (self._hearers[command],) if command in self._hearers else ()

    def closers(self, command: type) -> tuple[Hearer, ...]:
        """What is called at the end of each answer to commands of this class, before it is looked at as a whole."""
        closers = self.owed.closers(command)
        return closers if self.custody is None else (*closers, self.custody.close)

    def deposit_key(self, event: DepositCredited) -> DepositKey:
        """What a deposit is known by: its chain's transaction."""
        return (event.asset if self.custody is not None else "", event.transaction)

    def apply(self, event: Event) -> None:
        """Believe one event."""
        for act in (*self.lookups(type(event)), *self.beliefs(type(event))):
            act(event)

    # Looking up: once for all monitors ----------------------------------------------------------------------------

    def look_up_view(self, view: View) -> None:
        """Find what was told of each order shown."""
        self.shown = [
            (order, key, self.orders.get(key)) for order in view.orders for key in ((order.client, order.order),)
        ]

    def _look_up_order(self, event: OrderEvent) -> None:
        self.key = key = (event.client, event.order)
        self.order = self.orders.get(key)

    def _look_up_both(self, event: TradeExecuted) -> None:
        self.maker = self.orders.get((event.maker_client, event.maker_order))
        self.taker = self.orders.get((event.taker_client, event.taker_order))

    def _look_up_withdrawal(self, event: WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded) -> None:
        self.withdrawal = self.withdrawals.get((event.client, event.withdrawal))

    # Believing: each event once, after it was looked up -------------------------------------------------------------

    def _posted(self, event: EntryPosted) -> None:
        amounts = self.amounts
        amount = amounts.get
        self.below = []
        for posting in event.postings:
            place = (posting.account, posting.bucket, posting.asset)
            amounts[place] = after = amount(place, 0) + posting.amount
            if after < 0:
                self.below.append(place)

    def _accepted(self, event: OrderAccepted) -> None:
        key = self.key
        self.orders[key] = ToldOrder(
            key=key,
            client=event.client,
            order=event.order,
            market=event.market,
            side=event.side,
            price_ticks=event.price_ticks,
            size_lots=event.size_lots,
            left_lots=event.size_lots,
            time_in_force=event.time_in_force,
            post_only=event.post_only,
            number=len(self.orders),
        )

    def _rested(self, event: OrderRested) -> None:  # noqa: ARG002 - `order` is the one that rests
        order = self.order
        if order is not None:
            order.status = _RESTING
            self.resting[order.key] = order

    def _traded(self, event: TradeExecuted) -> None:
        self.trade = event.trade
        market = self.markets.get(event.market)
        if market is None:
            return
        value = event.price_ticks * event.size_lots * market.tick_amount
        if self.maker is not None:
            _fill(self.maker, event.size_lots, value * market.maker_fee_ppm)
        if self.taker is not None:
            _fill(self.taker, event.size_lots, value * market.taker_fee_ppm)

    def _filled(self, event: OrderFilled) -> None:  # noqa: ARG002 - `order` is the one that is filled
        self._over(_FILLED)

    def _cancelled(self, event: OrderCancelled) -> None:  # noqa: ARG002 - `order` is the one that is cancelled
        if self.order is not None:
            self.order.left_lots = SizeLots(0)
            self._over(_CANCELLED)

    def _over(self, status: ToldStatus) -> None:
        order = self.order
        if order is not None:
            order.status = status
            self.resting.pop(order.key, None)

    def _reduced(self, event: OrderReduced) -> None:
        if self.order is not None:
            self.order.size_lots, self.order.left_lots = event.size_lots, event.left_lots

    def _amended(self, event: OrderAmended) -> None:
        order = self.order
        if order is None:
            return
        order.size_lots, order.left_lots = event.size_lots, event.left_lots
        order.price_ticks, order.amended = event.price_ticks, True
        if not event.priority_kept:
            order.status = _ACCEPTED
            self.resting.pop(order.key, None)

    def _credited(self, event: DepositCredited) -> None:
        self.deposits.add(self.deposit_key(event))

    def _requested(self, event: WithdrawalRequested) -> None:
        self._withdrawal(event, WithdrawalStatus.REQUESTED)

    def _paid(self, event: WithdrawalPaid) -> None:
        self._withdrawal(event, WithdrawalStatus.PAID)

    def _refunded(self, event: WithdrawalRefunded) -> None:
        self._withdrawal(event, WithdrawalStatus.REFUNDED)

    def _withdrawal(
        self, event: WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded, status: WithdrawalStatus
    ) -> None:
        if self.withdrawal is None or status is WithdrawalStatus.REQUESTED:
            self.withdrawals[event.client, event.withdrawal] = ToldWithdrawal(
                asset=event.asset,
                amount=event.amount,
                status=status,
                fee=event.fee,
                destination=event.destination if isinstance(event, WithdrawalRequested) else "",
            )
        else:
            self.withdrawal.status = status

    def _phase_changed(self, event: PhaseChanged) -> None:
        self.phase = event.after

    def killed(self, replica: ReplicaId | None) -> None:
        """A replica was killed; None: the whole process was, and all replicas are up when it is started again."""
        if replica is None:
            self.replicas = dict.fromkeys(self.replicas, ReplicaStatus.UP)
            self.up = frozenset(self.replicas)
        elif replica in self.replicas:
            self._replica_is(replica, ReplicaStatus.DOWN)

    @property
    def can_decide(self) -> bool:
        """Whether the primary can decide: it is up, and reaches more than half of all replicas."""
        return self.primary in self.up and len(self.up) >= self.setup.quorum

    def _replica_changed(self, event: ReplicaChanged) -> None:
        self._replica_is(event.replica, event.status)

    def _replica_is(self, replica: ReplicaId, status: ReplicaStatus) -> None:
        self.replicas[replica] = status
        self.up = frozenset(name for name, known in self.replicas.items() if known is ReplicaStatus.UP)

    def _deployed(self, event: ReleaseDeployed) -> None:
        self.installed[event.replica] = event.release

    def _promoted(self, event: ReplicaPromoted) -> None:
        self.epoch, self.primary = event.epoch, event.replica

    def _activated(self, event: ReleaseActivated) -> None:
        """Prices count ticks of another amount from now on where the release says so; older ones mean nothing."""
        self.release = event.release
        if all(event.release != item.release for item in self.setup.releases):
            return
        for market in self.setup.markets_under(event.release):
            if market.tick_amount != self.markets[market.market].tick_amount:
                self.triggers.last.pop(market.market, None)
                if self.margin is not None and market.market in self.margin.reports:
                    self.margin.reports[market.market] = {}
            self.markets[market.market] = market


def _fill(order: ToldOrder, size: SizeLots, fee_numerator: int) -> None:
    order.left_lots -= size  # type: ignore[assignment]  # a size less a size is a size
    order.filled_lots += size  # type: ignore[assignment]  # and so is their sum
    order.fee_numerator += fee_numerator
