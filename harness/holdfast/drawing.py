"""Drawing orders and movements of funds: what clients do, mostly sensible, sometimes wrong on purpose."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from holdfast.known import Known
from holdfast_invariants.told import Told, ToldOrder
from holdfast_model.vocabulary import (
    LIQUIDATION_ORDER_PREFIX,
    AdvanceTime,
    AmendOrder,
    Amount,
    AssetId,
    Bucket,
    CancelAll,
    CancelOrder,
    Capability,
    ClientId,
    Command,
    Conditions,
    CreditDeposit,
    DisconnectClient,
    Market,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    RefundWithdrawal,
    RequestWithdrawal,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    Step,
    TimeInForce,
    Trigger,
    TriggerBy,
    TriggerWhen,
    WithdrawalStatus,
)

Moves = Iterator[Step]
"""Steps that belong together; each is drawn when the one before it has been answered."""
T = TypeVar("T")

PRICE_MIDDLE, PRICE_SPREAD = 100, 4
SELF_TRADE_NEEDS = {
    SelfTrade.CANCEL_NEWEST: Capability.STP_CANCEL_NEWEST,
    SelfTrade.CANCEL_OLDEST: Capability.STP_CANCEL_OLDEST,
    SelfTrade.CANCEL_BOTH: Capability.STP_CANCEL_BOTH,
    SelfTrade.DECREMENT: Capability.STP_DECREMENT,
}
TIME_NEEDS = frozenset({Capability.GOOD_TILL_TIME, Capability.MARKS})
"""An engine that has one of these takes the time."""


class Draws:
    """A random number generator, a setup, an engine's capabilities, and what the engine has told so far."""

    def __init__(self, random: Random, setup: Setup, capabilities: frozenset[Capability]) -> None:
        self.random = random
        self.setup = setup
        self.told = Told(setup)
        self.known = Known(setup)
        self._can = capabilities
        self._numbers: dict[str, int] = {}
        self._time = 0
        self._walk = {market.base: market.reference_ticks or PRICE_MIDDLE for market in setup.markets}
        self._self_trades = [mode for mode, needs in SELF_TRADE_NEEDS.items() if needs in capabilities]

    def can(self, *capabilities: Capability) -> bool:
        """Whether the engine has all of these."""
        return self._can.issuperset(capabilities)

    def chance(self, probability: float) -> bool:
        """True as often as the probability says."""
        return self.random.random() < probability

    def one(self, items: Sequence[T]) -> T:
        """One of them."""
        return self.random.choice(items)

    def number(self, kind: str) -> str:
        """A new id."""
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return f"{kind}{self._numbers[kind]}"

    def client(self) -> ClientId:
        """Any client."""
        return self.one(self.setup.clients)

    def amount(self, account: str, bucket: Bucket, asset: AssetId) -> int:
        """What an account has in a bucket, as was told."""
        return self.told.amounts.get((account, bucket, asset), 0)

    @property
    def tells_time(self) -> bool:
        """Whether the engine takes the time."""
        return bool(self._can & TIME_NEEDS)

    def later(self, milliseconds: int) -> AdvanceTime:
        """The time, so much later."""
        self._time = max(self._time, self.known.time_ms) + milliseconds
        return AdvanceTime(time_ms=self._time)

    # Prices and sizes ---------------------------------------------------------------------------------------------

    def walk(self, asset: AssetId) -> int:
        """Where the outside world's price of an asset stands, in ticks."""
        return self._walk[asset]

    def move(self, asset: AssetId, factor: float) -> None:
        """Let the outside world's price of an asset be another one, at least a tick."""
        self._walk[asset] = max(1, round(self._walk[asset] * factor))

    def middle(self, market: Market) -> int:
        """Around which price orders are placed; in a market with bounds mostly within them."""
        walk = self._walk[market.base]
        if not market.band_ppm or self.chance(0.1):
            return walk
        last = self.known.last.get(market.market, market.reference_ticks or walk)
        room = last * market.band_ppm // 1_250_000
        return min(max(walk, last - room), last + room)

    def price(self, market: Market) -> PriceTicks:
        """A limit price near the middle; where there are bounds, now and then beyond them."""
        middle = self.middle(market)
        if market.band_ppm and self.chance(0.04):
            return PriceTicks(max(1, round(middle * self.one((0.7, 1.4)))))
        scale = max(1, middle // PRICE_MIDDLE)
        return PriceTicks(max(1, middle + scale * self.random.randint(-PRICE_SPREAD, PRICE_SPREAD)))

    def size(self, market: Market) -> SizeLots:
        """The size of an order; positions are built of larger ones, and it takes them to go far in a book."""
        if (market.perpetual is not None or market.protection_ppm) and self.chance(0.3):
            return SizeLots(self.random.randint(10, 40))
        return SizeLots(self.random.randint(1, 9))


class Orders(Draws):
    """Orders of all types, and what is done with them."""

    def place(self, market: Market | None = None, client: ClientId | None = None) -> PlaceOrder:
        """An order, some with conditions."""
        market = self.one(self.setup.markets) if market is None else market
        collected = self.told.phase is Phase.AUCTION and self.chance(0.85)
        market_order = self.can(Capability.MARKET_ORDERS) and not collected and self.chance(0.08)
        lives = [TimeInForce.GTC] * 8
        if not market_order and not collected:
            lives += [TimeInForce.IOC] * self.can(Capability.IOC) + [TimeInForce.FOK] * 2 * self.can(Capability.FOK)
        life = self.one(lives)
        resting = not market_order and life is TimeInForce.GTC and not collected and self.can(Capability.POST_ONLY)
        cautious = self.told.phase is Phase.POST_ONLY
        order = PlaceOrder(
            client=self.client() if client is None else client,
            order=self.number("o"),
            market=market.market,
            side=self.one((Side.BUY, Side.SELL)),
            size_lots=self.size(market),
            price_ticks=None if market_order else self.price(market),
            time_in_force=life,
            post_only=resting and self.chance(0.7 if cautious else 0.12),
            self_trade=self.one(self._self_trades) if self._self_trades else SelfTrade.CANCEL_NEWEST,
        )
        while self.chance(0.22):
            order = self._twisted(order, market)
        return order

    def _twisted(self, order: PlaceOrder, market: Market) -> PlaceOrder:
        """The order with one condition more, of those that the engine knows."""
        twists = [
            (self.stop, self.can(Capability.STOP_ORDERS)),
            (self.stop, self.can(Capability.STOP_ORDERS)),
            (self._expiring, self.can(Capability.GOOD_TILL_TIME)),
            (self._watched, self.can(Capability.CANCEL_ON_DISCONNECT)),
            (self._reducing, self.can(Capability.MARGIN) and (market.perpetual is not None or self.chance(0.05))),
            (self._linked, self.can(Capability.ONE_CANCELS_OTHER, Capability.STOP_ORDERS)),
        ]
        possible = [twist for twist, able in twists if able]
        return self.one(possible)(order, market) if possible else order

    def stop(self, order: PlaceOrder, market: Market) -> PlaceOrder:
        """A stop order near the market; one that is passed already now and then."""
        by = TriggerBy.LAST
        if self.can(Capability.MARKS) and market.mark is not None:
            by = self.one((TriggerBy.LAST, TriggerBy.MARK))
        at = (self.known.marks if by is TriggerBy.MARK else self.known.last).get(market.market)
        when = self.one((TriggerWhen.AT_OR_ABOVE, TriggerWhen.AT_OR_BELOW))
        away = self.random.randint(0, PRICE_SPREAD) if self.chance(0.9) else -1
        middle = self.middle(market) if at is None else at
        price = middle + away * max(1, middle // PRICE_MIDDLE) * (1 if when is TriggerWhen.AT_OR_ABOVE else -1)
        trigger = Trigger(by=by, when=when, price_ticks=PriceTicks(price if self.chance(0.98) else 0))
        at_market = self.can(Capability.MARKET_ORDERS) and self.chance(0.4)
        post_only = order.post_only or (self.can(Capability.POST_ONLY) and self.chance(0.15))
        return replace(
            order,
            size_lots=SizeLots(order.size_lots * (100 if at_market and self.chance(0.2) else 1)),
            price_ticks=None if at_market else order.price_ticks or self.price(market),
            time_in_force=TimeInForce.GTC if at_market else order.time_in_force,
            post_only=post_only and not at_market and order.time_in_force is TimeInForce.GTC,
            conditions=replace(order.conditions or Conditions(), trigger=trigger),
        )

    def _expiring(self, order: PlaceOrder, market: Market) -> PlaceOrder:  # noqa: ARG002 - twists are called alike
        """An order good till a time, rarely one that contradicts itself."""
        if order.price_ticks is None or order.time_in_force not in (TimeInForce.GTC, TimeInForce.GTT):
            return order
        soon = self.one((1, 500, 2_000, 2_000, 20_000, 20_000, 90_000, 0))
        expires = None if self.chance(0.03) else self.known.time_ms + soon
        return replace(
            order,
            time_in_force=TimeInForce.GTC if self.chance(0.03) else TimeInForce.GTT,
            conditions=replace(order.conditions or Conditions(), expires_ms=expires),
        )

    def _watched(self, order: PlaceOrder, market: Market) -> PlaceOrder:  # noqa: ARG002 - twists are called alike
        return replace(order, conditions=replace(order.conditions or Conditions(), cancel_on_disconnect=True))

    def _reducing(self, order: PlaceOrder, market: Market) -> PlaceOrder:
        """A reduce-only order, mostly of somebody who has a position."""
        held = [(key[0], lots) for key, lots in self.known.positions.items() if key[1] == market.market and lots]
        if held and self.chance(0.85):
            client, lots = self.one(held)
            order = replace(order, client=client, side=Side.SELL if lots > 0 else Side.BUY)
        return replace(order, conditions=replace(order.conditions or Conditions(), reduce_only=True))

    def _linked(self, order: PlaceOrder, market: Market) -> PlaceOrder:
        """An order that is linked with an open one of its client: one of the two is a stop."""
        stops = self.known.stops
        waiting = [key for key, stop in stops.items() if stop.market == market.market]
        resting = [key for key, other in self.told.resting.items() if other.market == market.market]
        if not waiting + resting:
            return order
        key = self.one(waiting + resting)
        is_stop = order.conditions is not None and order.conditions.trigger is not None
        if key not in stops and not is_stop and self.chance(0.9):
            order = self.stop(order, market)
        if key in stops and is_stop and order.conditions is not None and self.chance(0.9):
            order = replace(order, conditions=replace(order.conditions, trigger=None))
        linked = replace(order.conditions or Conditions(), one_cancels_other=key[1])
        return replace(order, client=key[0], conditions=linked)

    def wrong(self) -> Command:
        """A command that is refused for how it is written."""
        order = self.place()
        return self.one(
            (
                replace(order, price_ticks=None, time_in_force=TimeInForce.GTC, post_only=True, conditions=None)
                if self.can(Capability.POST_ONLY, Capability.MARKET_ORDERS)
                else order,
                replace(order, client="mallory"),
                replace(order, market="NO-WHERE"),
                replace(order, size_lots=SizeLots(0)),
                replace(order, price_ticks=PriceTicks(self.one((0, -1)))),
                replace(order, order=f"{LIQUIDATION_ORDER_PREFIX}{self.random.randint(0, 3)}"),
            )
        )

    def paired(self) -> Moves:
        """A limit order and a stop that cancel each other: profit to take, loss to stop."""
        market = self.one(self.setup.markets)
        scale = max(1, self.middle(market) // PRICE_MIDDLE)
        side, away = self.one((Side.BUY, Side.SELL)), 2 * scale
        sign = 1 if side is Side.SELL else -1
        plain = replace(self.place(market), side=side, time_in_force=TimeInForce.GTC, conditions=None)
        price = PriceTicks(max(1, self.middle(market) + sign * away))
        first = replace(plain, price_ticks=price, post_only=False)
        yield first
        if (first.client, first.order) not in self.told.resting and not self.chance(0.2):
            return
        when = TriggerWhen.AT_OR_BELOW if side is Side.SELL else TriggerWhen.AT_OR_ABOVE
        trigger = Trigger(when=when, price_ticks=PriceTicks(max(1, self.middle(market) - sign * away)))
        yield replace(
            first,
            order=self.number("o"),
            price_ticks=None if self.can(Capability.MARKET_ORDERS) and self.chance(0.5) else self.price(market),
            conditions=Conditions(trigger=trigger, one_cancels_other=first.order),
        )

    def protected(self) -> list[Market]:
        """The markets in which a market order goes only so far."""
        return [market for market in self.setup.markets if market.protection_ppm]

    def sweep(self) -> Moves:
        """A market order that meets orders at more prices than it may go through."""
        market = self.one(self.protected())
        middle, side = self.middle(market), self.one((Side.BUY, Side.SELL))
        away = max(1, middle // PRICE_MIDDLE) * (1 if side is Side.BUY else -1)
        sweeper = self.client()
        others = [client for client in self.setup.clients if client != sweeper]
        for step in range(self.random.randint(3, 6)):
            yield replace(
                self.place(market, self.one(others)),
                side=side.opposite,
                size_lots=SizeLots(self.random.randint(1, 9)),
                price_ticks=PriceTicks(max(1, middle + 2 * step * away)),
                time_in_force=TimeInForce.GTC,
                conditions=None,
            )
        yield replace(
            self.place(market, sweeper),
            side=side,
            size_lots=SizeLots(self.random.randint(20, 60)),
            price_ticks=None,
            time_in_force=TimeInForce.GTC,
            post_only=False,
            conditions=None,
        )

    def some_order(self) -> ToldOrder | None:
        """Mostly an open order, now and then a waiting stop or any order that there ever was."""
        told = self.told
        if self.known.stops and self.chance(0.2):
            return told.orders.get(self.one(list(self.known.stops)))
        if told.resting and self.chance(0.85):
            return self.one(list(told.resting.values()))
        return self.one(list(told.orders.values())) if told.orders else None

    def cancel(self) -> CancelOrder | None:
        """A cancel of some order."""
        order = self.some_order()
        return CancelOrder(client=order.client, order=order.order) if order else None

    def cancel_all(self) -> CancelAll:
        """A cancel of all orders of a client."""
        market = self.one(self.setup.markets).market if self.chance(0.5) else None
        return CancelAll(client=self.client(), market=market)

    def disconnect(self) -> DisconnectClient | None:
        """A session that is lost, mostly of a client with an order that asked to be cancelled then."""
        watched = list(self.known.watched)
        if self.chance(0.2):
            return DisconnectClient(client=self.client())
        return DisconnectClient(client=self.one(watched)[0]) if watched else None

    def amend(self) -> AmendOrder | None:
        """An order with another price or size, now and then so large that its client can hardly pay for it."""
        order = self.some_order()
        if order is None:
            return None
        same_price = order.price_ticks is not None and self.chance(0.6)
        price = order.price_ticks if same_price else self.price(self.told.markets[order.market])
        size = max(1, order.size_lots + self.random.randint(-3, 3))
        if self.chance(0.1):
            size = order.size_lots * self.one((5, 20, 100))
        return AmendOrder(
            client=order.client,
            order=order.order,
            size_lots=SizeLots(size),
            price_ticks=PriceTicks(PRICE_MIDDLE) if price is None else price,
        )

    def advance_time(self) -> AdvanceTime:
        """The time: mostly a little later, rarely so much that prices are too old, or not later at all."""
        if self.chance(0.03):
            return AdvanceTime(time_ms=self.known.time_ms)
        return self.later(self.one((1, 500, 500, 2_000, 2_000, 2_000, 20_000, 20_000, 90_000)))


class Funds(Orders):
    """Deposits and withdrawals."""

    def deposit(self, client: ClientId, asset: AssetId, amount: int) -> CreditDeposit:
        """A deposit of this much."""
        return CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=self.number("t"))

    def wrong(self) -> Command:
        """A command that is refused for how it is written."""
        if not self.can(Capability.FUNDS) or self.chance(0.5):
            return super().wrong()
        client, asset = self.client(), self.one(self.setup.assets)
        wrong: list[Command] = [
            self.deposit("mallory", asset, 5),
            self.deposit(client, "DOGE", 5),
            self.deposit(client, asset, self.one((0, -5))),
            RequestWithdrawal(client=client, withdrawal=self.number("w"), asset="DOGE", amount=Amount(5)),
            RequestWithdrawal(client=client, withdrawal=self.number("w"), asset=asset, amount=Amount(-5)),
            PayWithdrawal(client=client, withdrawal="w-none"),
            RefundWithdrawal(client=client, withdrawal="w-none"),
        ]
        return self.one(wrong)

    def fund(self) -> Step:
        """Something with a deposit or a withdrawal."""
        told = self.told
        client, asset = self.client(), self.one(self.setup.assets)
        settled = self.random.random()
        if settled < 0.2:  # noqa: PLR2004 - a weight
            return self.deposit(client, asset, self.random.randint(1, 500))
        if settled < 0.55 or not told.withdrawals:  # noqa: PLR2004 - a weight
            amount = self.one((self.random.randint(1, 500), self.about_all(client, asset)))
            return RequestWithdrawal(client=client, withdrawal=self.number("w"), asset=asset, amount=Amount(amount))
        open_ones = [key for key, item in told.withdrawals.items() if item.status is WithdrawalStatus.REQUESTED]
        keys = open_ones if open_ones and self.chance(0.5) else list(told.withdrawals)
        owner, withdrawal = self.one(keys)
        if self.chance(0.5):
            return PayWithdrawal(client=owner, withdrawal=withdrawal)
        return RefundWithdrawal(client=owner, withdrawal=withdrawal)

    def settle_twice(self) -> Moves:
        """A withdrawal of all there is, settled in one way and then in the other, perhaps after a deposit."""
        client, asset = self.client(), self.one(self.setup.assets)
        amount = max(1, self.amount(client, Bucket.FREE, asset))
        name = self.number("w")
        yield RequestWithdrawal(client=client, withdrawal=name, asset=asset, amount=Amount(amount))
        ways: list[Command] = [
            RefundWithdrawal(client=client, withdrawal=name),
            PayWithdrawal(client=client, withdrawal=name),
        ]
        first, second = self.random.sample(ways, 2)
        yield first
        if self.chance(0.3):
            yield self.deposit(client, asset, self.random.randint(1, 500))
        yield second

    def about_all(self, client: ClientId, asset: AssetId) -> int:
        """All that a client has free, and perhaps some of what is held for its orders."""
        free, held = (self.amount(client, bucket, asset) for bucket in (Bucket.FREE, Bucket.HELD))
        return max(1, free + self.random.randint(0, max(0, held)))
