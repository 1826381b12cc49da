"""What an exchange has told the outside so far: the record that every invariant is checked against.

It is folded from acknowledged events alone, one event at a time, at a cost that does not depend on how much there is.
"""

from collections import deque
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
    LEGAL_COMMANDS,
    Answer,
    AssetId,
    Bucket,
    CancelReason,
    CauseKind,
    ClientId,
    Command,
    DepositCredited,
    EntryPosted,
    Event,
    Events,
    Market,
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
    ProductHalted,
    ProductResumed,
    ReleaseActivated,
    ReleaseDeployed,
    ReleaseId,
    ReplicaChanged,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    SetPhase,
    Setup,
    Sha256,
    Side,
    SizeLots,
    Stage,
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

_OF_ORDERS = (
    OrderAccepted,
    OrderRested,
    OrderFilled,
    OrderCancelled,
    OrderReduced,
    OrderAmended,
    StopArmed,
    StopTriggered,
)
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
_OPEN, _FREE, _HELD = Phase.OPEN, Bucket.FREE, Bucket.HELD
_HOLDS = (CauseKind.ORDER_HOLD, CauseKind.ORDER_RELEASE)
ORDINARILY_CANCELLED = frozenset(
    {CancelReason.REQUESTED, CancelReason.IOC_REMAINDER, CancelReason.MARKET_REMAINDER, CancelReason.SELF_TRADE}
)
"""Why orders are cancelled of which nothing else is to be known."""
NOTHING_BELOW: list[Place] = []
_NONE_ORDINARY: frozenset[type] = frozenset()


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
    conditional: bool = False
    """Whether it has conditions, or another order is linked with it."""


Acts = tuple[Callable[[Any], None], ...]
Look = Callable[[Any], bool]
"""What looks up what an event speaks of, and sees whether the event is plain."""


def _nothing_to_find(event: Event) -> bool:  # noqa: ARG001 - it speaks of nothing that was told before
    return False


Hearer = Callable[[Any, Answer], None]


class Told:
    """Everything acknowledged so far. `unknown` holds commands whose outcome nobody was told.

    What an event or view speaks of is looked up once for all monitors, before they look at it: `order` (and its
    `key`), or `maker`, `taker` and `market`, or `withdrawal`, each None where there is none of that name; `shown`,
    the orders in a view; `command` and `answer`, the one at hand. An entry is believed when it is looked up: `below`
    are the places that one of its postings left below zero. Of all these, only those of the event at hand mean
    anything.

    A lookup of an entry also sees whether it is plain, no more than what follows from what was told before (see
    `monitor`); of the events of orders `plain` sees that. So is an answer to one of the `ordinary` commands, those
    that the phase allows while no product is halted and the primary can decide: there are none else. Of the answer at
    hand `to_come` are the events that were not looked at yet, `plain_so_far` says that all others were plain, and
    `effect_of` is the last answer of which the effect that its command asks for was plain.

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
        "answer",
        "below",
        "book",
        "command",
        "effect_of",
        "head",
        "key",
        "maker",
        "market",
        "markets",
        "order",
        "orders",
        "ordinary",
        "phase",
        "plain_so_far",
        "resting",
        "seq",
        "shown",
        "taker",
        "to_come",
        "trade",
        "triggers",
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

        self.recent: deque[tuple[int, Events]] = deque()
        """What was told since the cut of the slowest replica that was shown, with the numbers."""

        self.command: Command | None = None
        self.answer: Answer | None = None
        self.to_come: Any = iter(())
        self.plain_so_far = True
        self.effect_of: Answer | None = None
        self.market: Market | None = None
        self.key: OrderKey = ("", "")
        self.order: ToldOrder | None = None
        self.maker: ToldOrder | None = None
        self.taker: ToldOrder | None = None
        self.withdrawal: ToldWithdrawal | None = None
        self.below = NOTHING_BELOW
        self.shown: list[tuple[OpenOrder, OrderKey, ToldOrder | None]] = []
        self.levels_as_told: int | None = None

        self._lookups: dict[type, Look] = {
            **dict.fromkeys(_OF_ORDERS, self._look_up_order),
            TradeExecuted: self._look_up_trade,
            **dict.fromkeys((WithdrawalRequested, WithdrawalPaid, WithdrawalRefunded), self._look_up_withdrawal),
        }
        self._acts: dict[type, Acts] = {
            OrderAccepted: (self.believe_accepted,),
            OrderRested: (self._rested,),
            TradeExecuted: (self._traded,),
            OrderFilled: (self._filled,),
            OrderCancelled: (self._cancelled,),
            OrderReduced: (self._reduced,),
            OrderAmended: (self._amended,),
            DepositCredited: (self._credited,),
            WithdrawalRequested: (self._requested,),
            WithdrawalPaid: (self._paid,),
            WithdrawalRefunded: (self._refunded,),
            PhaseChanged: (self._phase_changed,),
            ReplicaChanged: (self._replica_changed,),
            ReplicaPromoted: (self._promoted,),
            ReleaseDeployed: (self._deployed,),
            ReleaseActivated: (self._activated,),
        }

        self._believed_if_plain = (self.believe_accepted, self._rested, self._traded, self._filled, self._cancelled)

        self.book = ToldBook(self.orders)
        self.triggers = ToldTriggers(setup, self.orders)
        self.owed = ToldOwed(setup)
        marked = setup.margin is not None or any(market.mark is not None for market in setup.markets)
        self.margin = ToldMargin(setup) if marked else None
        self.custody = ToldCustody(setup.custody, self.withdrawals) if setup.custody is not None else None
        self._hearers: Mapping[type, Hearer] = self.custody.true.hearers() if self.custody is not None else {}
        for part in (self.book, self.triggers, self.owed, self.margin, self.custody):
            for event, act in part.appliers().items() if part is not None else ():
                self._acts[event] = (*self._acts.get(event, ()), act)
        for event in (PhaseChanged, ReplicaChanged, ReplicaPromoted, ProductHalted, ProductResumed):
            self._acts[event] = (*self._acts.get(event, ()), self._settled)
        self._settled()

    def look_up(self, topic: type | CauseKind) -> Look:
        """What looks up what events of this class, or entries of this kind, speak of."""
        if isinstance(topic, CauseKind):
            return self._held if topic in _HOLDS else self.believe_entry
        return self._lookups.get(topic, _nothing_to_find)

    def beliefs(self, topic: type | CauseKind) -> Acts:
        """What believes events of this class, once `look_up` has looked at them."""
        return self._acts.get(EntryPosted if isinstance(topic, CauseKind) else topic, ())

    def further_beliefs(self, topic: type | CauseKind) -> Acts:
        """What else believes events of this class, once `Plain` has believed a plain one."""
        done = {*self.triggers.of_conditions, *self._believed_if_plain}
        return tuple(act for act in self.beliefs(topic) if act not in done)

    def hearers(self, command: type | CauseKind) -> tuple[Hearer, ...]:
        """What hears commands of this class, which report what is true outside, before their answer is looked at."""
        hearer = self._hearers.get(command) if isinstance(command, type) else None
        return (hearer,) if hearer is not None else ()

    def closers(self, command: type) -> tuple[Hearer, ...]:
        """What is called at the end of each answer to commands of this class, before it is looked at as a whole."""
        closers = self.owed.closers(command)
        if command is SetPhase:
            closers = (*closers, self.book.opened)
        return closers if self.custody is None else (*closers, self.custody.close)

    def deposit_key(self, event: DepositCredited) -> DepositKey:
        """What a deposit is known by: its chain's transaction."""
        return (event.asset if self.custody is not None else "", event.transaction)

    def apply(self, event: Event) -> None:
        """Believe one event."""
        topic = event.cause_kind if isinstance(event, EntryPosted) else type(event)
        self.look_up(topic)(event)
        for act in self.beliefs(topic):
            act(event)

    # Looking up: once for all monitors ----------------------------------------------------------------------------

    def look_up_view(self, view: View, *, plain: bool = True) -> None:
        """Find what was told of each order shown; what every replica has applied is recent no longer.

        Where the book shown is plainly the one that was told, and may be taken for plain, nothing is to be found in
        it: then `levels_as_told` is the number of its levels, and `shown` is empty.
        """
        self.levels_as_told = self.book.levels_if_shown(view.orders, self.resting) if plain else None
        self.shown = (
            [(order, key, self.orders.get(key)) for order in view.orders for key in ((order.client, order.order),)]
            if self.levels_as_told is None
            else []
        )
        slowest = min((replica.seq for replica in view.replicas), default=self.seq)
        while self.recent and self.recent[0][0] <= slowest:
            self.recent.popleft()

    def _look_up_order(self, event: OrderEvent) -> bool:
        """An order, by its name."""
        self.key = key = (event.client, event.order)
        self.order = self.orders.get(key)
        return False

    def _look_up_trade(self, event: TradeExecuted) -> bool:
        self.maker = self.orders.get((event.maker_client, event.maker_order))
        self.taker = self.orders.get((event.taker_client, event.taker_order))
        self.market = self.markets.get(event.market)
        return False

    def _look_up_withdrawal(self, event: WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded) -> bool:
        self.withdrawal = self.withdrawals.get((event.client, event.withdrawal))
        return False

    # Believing: each event once, after it was looked up -------------------------------------------------------------

    def believe_entry(self, event: EntryPosted) -> bool:
        """Believe an entry; a plain one sums to zero per asset, and leaves nothing that it touches below zero."""
        amounts, below = self.amounts, NOTHING_BELOW
        first, in_first = "", 0
        others: dict[AssetId, int] = {}
        for posting in event.postings:
            asset, added = posting.asset, posting.amount
            place = (posting.account, posting.bucket, asset)
            try:
                after = amounts[place] + added
            except KeyError:
                after = added
            amounts[place] = after
            if after < 0:
                below = [*below, place]
            if asset == first:
                in_first += added
            elif first:
                others[asset] = others.get(asset, 0) + added
            else:
                first, in_first = asset, added
        self.below = below
        return not below and not in_first and not any(others.values())

    def _held(self, event: EntryPosted) -> bool:
        """Plain: one amount, between free and held of one account, which leaves neither below zero."""
        if len(event.postings) == 2:  # noqa: PLR2004 - all of an exchange that is well
            one, other = event.postings
            account, asset, source, target, added = one.account, one.asset, one.bucket, other.bucket, one.amount
            if (
                ((source is _FREE and target is _HELD) or (source is _HELD and target is _FREE))
                and added == -other.amount
                and account == other.account
                and asset == other.asset
            ):
                amounts = self.amounts
                place, opposite = (account, source, asset), (account, target, asset)
                try:
                    after = amounts[place] + added
                except KeyError:
                    after = added
                try:
                    there = amounts[opposite] - added
                except KeyError:
                    there = -added
                amounts[place], amounts[opposite] = after, there
                if after >= 0 and there >= 0:
                    self.below = NOTHING_BELOW
                    return True
                self.below = [where for where in (place, opposite) if amounts[where] < 0]
                return False
        self.believe_entry(event)
        return False

    def believe_accepted(self, event: OrderAccepted) -> None:
        """Believe in a new order."""
        key, triggers = self.key, self.triggers
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
            conditional=key in triggers.linked or key in triggers.conditions,
        )

    def _rested(self, event: OrderRested) -> None:
        order = self.order
        if order is not None:
            order.status = _RESTING
            self.resting[self.key] = order
            self.book.join(order, event.price_ticks)

    def _traded(self, event: TradeExecuted) -> None:
        self.trade = event.trade
        self.triggers.last[event.market] = event.price_ticks
        market, size = self.market, event.size_lots
        if market is None:
            return
        value = event.price_ticks * size * market.tick_amount
        for order, rate_ppm in ((self.maker, market.maker_fee_ppm), (self.taker, market.taker_fee_ppm)):
            if order is not None:
                order.left_lots -= size  # type: ignore[assignment]  # a size less a size is a size
                order.filled_lots += size  # type: ignore[assignment]  # and so is their sum
                order.fee_numerator += value * rate_ppm

    def _filled(self, event: OrderFilled) -> None:  # noqa: ARG002 - `order` is the one that is filled
        order = self.order
        if order is not None:
            order.status = _FILLED
            self.resting.pop(self.key, None)
        self.book.leave(self.key)

    def _cancelled(self, event: OrderCancelled) -> None:  # noqa: ARG002 - `order` is the one that is cancelled
        order = self.order
        if order is not None:
            order.left_lots = SizeLots(0)
            order.status = _CANCELLED
            self.resting.pop(self.key, None)
        self.book.leave(self.key)

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
            self.book.leave(order.key)

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
            self._settled()
        elif replica in self.replicas:
            self._replica_is(replica, ReplicaStatus.DOWN)
            self.owed.killed(replica)
            self._settled()

    @property
    def can_decide(self) -> bool:
        """Whether the primary can decide: it is up, and reaches more than half of all replicas."""
        return self.primary in self.up and len(self.up) >= self.setup.quorum

    def _replica_changed(self, event: ReplicaChanged) -> None:
        self._replica_is(event.replica, event.status)

    def _replica_is(self, replica: ReplicaId, status: ReplicaStatus) -> None:
        self.replicas[replica] = status
        self.up = frozenset(name for name, known in self.replicas.items() if known is ReplicaStatus.UP)

    def _settled(self, event: Event | None = None) -> None:  # noqa: ARG002 - whatever it was
        """See which commands are ordinary now."""
        restricted = any(stage is not Stage.OPEN for stage in self.triggers.stages.values())
        settled = self.phase is _OPEN and self.can_decide and not restricted
        self.ordinary = LEGAL_COMMANDS[_OPEN] if settled else _NONE_ORDINARY

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
                    self.margin.rescaled_ms[market.market] = self.triggers.time_ms
            self.markets[market.market] = market
