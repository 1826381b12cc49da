"""Trading: placing, amending and cancelling orders, matching them, what is held for them, and fees.

Refusals are decided in the order in which the checks stand in each `_decide_…` method; `docs/exchange.md` states it.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Self

from holdfast_engine.arithmetic import (
    fee_added,
    fee_added_earned,
    fee_charged,
    hold_to_buy,
    hold_to_sell,
    notional,
    price_band,
    protected_price,
)
from holdfast_engine.book import BUY, SELL, TRADE, Book, MatchPlan, MatchStep, Reduction, StepKind
from holdfast_engine.core import FREE, HELD, Deciders, Evolvers, Fields, Lines
from holdfast_engine.order import OPEN_STATUSES, Order, OrderStatus
from holdfast_engine.products import Products
from holdfast_engine.sorting import SortedKeys
from holdfast_engine.state import LastTrade, VenueState
from holdfast_model.vocabulary import (
    FEES,
    LIQUIDATION_ORDER_PREFIX,
    ROUNDING,
    AmendOrder,
    Amount,
    AssetId,
    Bucket,
    CancelAll,
    CancelOrder,
    CancelReason,
    CauseKind,
    ClientDisconnected,
    ClientId,
    DisconnectClient,
    Market,
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderId,
    OrderReduced,
    OrderRested,
    Phase,
    PlaceOrder,
    PriceTicks,
    Reason,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
)

# The members of an enum take as long to look up as all else that is done with them.
ACCEPTED, RESTING = OrderStatus.ACCEPTED, OrderStatus.RESTING
FILLED, CANCELLED = OrderStatus.FILLED, OrderStatus.CANCELLED
FOK, GTT = TimeInForce.FOK, TimeInForce.GTT
NOTHING, NO_LOTS = Amount(0), SizeLots(0)
LASTING = (TimeInForce.GTC, GTT)
"""What is left of a limit order with these rests."""
AUCTION = Phase.AUCTION
REQUESTED, ONE_CANCELS_OTHER = CancelReason.REQUESTED, CancelReason.ONE_CANCELS_OTHER
_WAITING = OrderStatus.WAITING
ORDER_HOLD, ORDER_RELEASE, TRADED = CauseKind.ORDER_HOLD, CauseKind.ORDER_RELEASE, CauseKind.TRADE


class Trading(Products):
    """The orders of all clients, and the books in which they rest."""

    __slots__ = ("_fee_ppm", "_order_keys", "_queues", "accepted", "books", "last_trades", "orders", "trades")

    book_class: type[Book] = Book

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        # A hold reckons with the higher rate, because whether a fill is a maker's or a taker's is not known before.
        self._fee_ppm = {market.market: max(market.maker_fee_ppm, market.taker_fee_ppm) for market in setup.markets}
        self.trades = 0
        self.accepted = 0
        self.last_trades: dict[MarketId, PriceTicks] = {}
        self.books = {market: self.book_class() for market in self.markets}
        self._queues = [(market, side) for market in sorted(self.markets) for side in (Side.BUY, Side.SELL)]
        """The sides of all books, as snapshots list them."""
        self.orders: dict[tuple[ClientId, OrderId], Order] = {}
        self._order_keys: SortedKeys[tuple[ClientId, OrderId]] = SortedKeys()

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {
            PlaceOrder: cls._decide_place,
            CancelOrder: cls._decide_cancel,
            AmendOrder: cls._decide_amend,
            CancelAll: cls._decide_cancel_all,
            DisconnectClient: cls._decide_disconnect,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            OrderAccepted: cls._on_order_accepted,
            OrderRested: cls._on_order_rested,
            TradeExecuted: cls._on_trade_executed,
            OrderFilled: cls._on_order_filled,
            OrderCancelled: cls._on_order_cancelled,
            OrderReduced: cls._on_order_reduced,
            OrderAmended: cls._on_order_amended,
            ClientDisconnected: cls._unchanged,
        }

    # Deciding -----------------------------------------------------------------------------------------------------

    def _decide_place(self, command: PlaceOrder) -> None:
        reason = self._form_refusal(command) or self._placing_refusal(command)
        if reason is not None:
            return self.refuse(reason)
        if command.conditions is not None and command.conditions.trigger is not None:
            return self._decide_stop(command)
        if command.post_only and self.takes(self.books[command.market], command.side, command.price_ticks):
            return self.refuse(Reason.POST_ONLY_WOULD_TAKE)
        plan = self.plan(command, client=command.client, size=command.size_lots)
        if command.time_in_force is FOK and not self.fillable(plan, command.size_lots):
            return self.refuse(Reason.FOK_UNFILLABLE)
        if command.conditions is not None and command.conditions.reduce_only and not self.reducible(command):
            return self.refuse(Reason.REDUCE_ONLY_WOULD_INCREASE)
        reason = self.uncovered(command, plan)
        if reason is not None:
            return self.refuse(reason)
        return self.execute(self._accept(command), plan)

    def _form_refusal(self, command: PlaceOrder) -> Reason | None:
        """Why an order is refused for what stands in it alone, but for its conditions."""
        if command.client not in self.clients:
            return Reason.UNKNOWN_CLIENT
        if command.market not in self.markets:
            return Reason.UNKNOWN_MARKET
        if self.restricted and not self.stage_allows(command.market, command):
            return Reason.PRODUCT_HALTED
        if command.size_lots <= 0:
            return Reason.SIZE_NOT_POSITIVE
        if command.price_ticks is None:
            return Reason.MARKET_ORDER_CANNOT_REST if command.post_only else None
        return Reason.PRICE_NOT_POSITIVE if command.price_ticks <= 0 else None

    def _placing_refusal(self, command: PlaceOrder) -> Reason | None:
        """Why a well-formed order is refused before it is looked at what it would meet."""
        conditions, market = command.conditions, self.markets[command.market]
        if (conditions is not None or command.time_in_force is GTT) and self._contradicts(command, market):
            return Reason.CONDITIONS_CONTRADICT
        if command.order.startswith(LIQUIDATION_ORDER_PREFIX):
            return Reason.RESERVED_ID
        if self.order_id_used(command.client, command.order):
            return Reason.DUPLICATE_ORDER
        if conditions is not None:
            if conditions.expires_ms is not None and conditions.expires_ms <= self.time_ms:
                return Reason.EXPIRY_PASSED
            if conditions.one_cancels_other is not None and not self.linkable(command):
                return Reason.OTHER_ORDER_NOT_LINKABLE
        if market.band_ppm and command.price_ticks is not None and not self.within_band(market, command.price_ticks):
            return Reason.PRICE_OUTSIDE_BAND
        if self.phase is AUCTION and not self.auction_takes(command):
            return Reason.AUCTION_TAKES_LIMIT_ORDERS
        return None

    def _contradicts(self, command: PlaceOrder, market: Market) -> bool:
        """Whether an order's conditions contradict each other or its market."""
        conditions = command.conditions
        expires_ms = None if conditions is None else conditions.expires_ms
        if (command.time_in_force is GTT) is not (expires_ms is not None):
            return True
        if conditions is None:
            return False
        if conditions.reduce_only and market.perpetual is None:
            return True
        return conditions.trigger is not None and conditions.trigger.price_ticks <= 0

    def _decide_stop(self, command: PlaceOrder) -> None:
        """Take in a stop order: see the chapter on triggers."""
        raise NotImplementedError

    def _accept(self, command: PlaceOrder) -> Order:
        """Take an order in and hold what must be held for it."""
        self.emit(
            OrderAccepted(
                client=command.client,
                order=command.order,
                market=command.market,
                side=command.side,
                size_lots=command.size_lots,
                price_ticks=command.price_ticks,
                time_in_force=command.time_in_force,
                post_only=command.post_only,
                self_trade=command.self_trade,
                conditions=command.conditions,
            )
        )
        order = self.orders[command.client, command.order]
        self._move_hold(order, NOTHING, ORDER_HOLD)
        return order

    def _decide_cancel(self, command: CancelOrder) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        order = self.orders.get((command.client, command.order))
        if order is None:
            return self.refuse(Reason.UNKNOWN_ORDER)
        if not self.cancellable(order):
            return self.refuse(Reason.ORDER_NOT_OPEN)
        if self.restricted and not self.stage_allows(order.market, command):
            return self.refuse(Reason.PRODUCT_HALTED)
        return self.cancel(order, REQUESTED)

    def _decide_cancel_all(self, command: CancelAll) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.market is not None:
            if command.market not in self.markets:
                return self.refuse(Reason.UNKNOWN_MARKET)
            if self.restricted and not self.stage_allows(command.market, command):
                return self.refuse(Reason.PRODUCT_HALTED)
        orders = self.cancelled_together(command)
        return self.cancel_each(orders, REQUESTED) if orders else self.refuse(Reason.NOTHING_TO_CANCEL)

    def _decide_disconnect(self, command: DisconnectClient) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        self.emit(ClientDisconnected(client=command.client))
        return self.cancel_each(self.cancelled_by_disconnect(command.client), CancelReason.DISCONNECTED)

    def _decide_amend(self, command: AmendOrder) -> None:
        order = self.orders.get((command.client, command.order))
        reason = self._amending_refusal(command, order)
        if reason is not None:
            return self.refuse(reason)
        assert order is not None
        left = SizeLots(command.size_lots - order.filled_lots)
        reason = self.amendment_uncovered(order, price=command.price_ticks, left=left)
        if reason is not None:
            return self.refuse(reason)
        before = self.hold(order)
        kept = self.keeps_priority(order, command)
        self.emit(
            OrderAmended(
                client=order.client,
                order=order.order,
                size_lots=command.size_lots,
                price_ticks=command.price_ticks,
                left_lots=left,
                priority_kept=kept,
            )
        )
        self._move_hold(order, before, ORDER_HOLD)
        if kept:
            return None
        return self.execute(order, self.plan(order, client=self.amended_taker(order), size=order.left_lots))

    def _amending_refusal(self, command: AmendOrder, order: Order | None) -> Reason | None:
        """Why an amendment is refused before it is looked at what it must be covered with."""
        if command.client not in self.clients:
            return Reason.UNKNOWN_CLIENT
        if command.size_lots <= 0:
            return Reason.SIZE_NOT_POSITIVE
        if command.price_ticks <= 0:
            return Reason.PRICE_NOT_POSITIVE
        if order is None:
            return Reason.UNKNOWN_ORDER
        if order.status is not OrderStatus.RESTING:
            return Reason.ORDER_NOT_OPEN
        if self.restricted and not self.stage_allows(order.market, command):
            return Reason.PRODUCT_HALTED
        if command.size_lots <= order.filled_lots:
            return Reason.SIZE_NOT_ABOVE_FILLED
        market = self.markets[order.market]
        if market.band_ppm and not self.within_band(market, command.price_ticks):
            return Reason.PRICE_OUTSIDE_BAND
        if self._never_takes(order) and self.takes(self.books[order.market], order.side, command.price_ticks):
            return Reason.POST_ONLY_WOULD_TAKE
        return None

    def _never_takes(self, order: Order) -> bool:
        """Whether an amended order must not trade: post-only is the order, the phase or the stage."""
        if order.post_only or self.phase is Phase.POST_ONLY:
            return True
        return self.markets[order.market].product in self.restricted

    # What an order meets --------------------------------------------------------------------------------------------

    def plan(self, order: PlaceOrder | Order, *, client: ClientId | None, size: SizeLots) -> MatchPlan:
        """What this much of an order would meet now: nothing in an auction, nobody beyond its market's protection."""
        if self.phase is AUCTION:
            return MatchPlan((), size, taker_cancelled=False)
        book, price = self.books[order.market], order.price_ticks
        if price is None:
            price = self.protected(order)
        reduction = None
        only_reduces = order.conditions is not None and order.conditions.reduce_only
        if only_reduces or book.reducing:
            reduction = Reduction(self.reducible, self.reducible(order) if only_reduces else None)
        return book.plan(
            client=client,
            side=order.side,
            price=price,
            size=size,
            self_trade=order.self_trade,
            reduction=reduction,
        )

    def execute(self, taker: Order, plan: MatchPlan) -> None:
        """Carry out what a taker meets, then let what is left of it rest or be cancelled."""
        for step in plan.steps:
            if step.kind is TRADE:
                self.trade(taker, step)
            elif step.kind is StepKind.CANCEL_MAKER:
                self.cancel(step.maker, CancelReason.SELF_TRADE)
            elif step.kind is StepKind.DECREMENT:
                self.decrement(step.maker, step.lots)
                self.decrement(taker, step.lots)
            else:
                self.cancel(step.maker, CancelReason.REDUCE_ONLY)
        if taker.status in (FILLED, CANCELLED):
            return
        if plan.taker_cancelled:
            self.cancel(taker, CancelReason.SELF_TRADE)
        elif plan.reduced:
            self.cancel(taker, CancelReason.REDUCE_ONLY)
        elif self.rests(taker):
            assert taker.price_ticks is not None
            self.emit(
                OrderRested(
                    client=taker.client,
                    order=taker.order,
                    price_ticks=taker.price_ticks,
                    left_lots=taker.left_lots,
                )
            )
        else:
            self.cancel(taker, self._remainder(taker))

    def _remainder(self, taker: Order) -> CancelReason:
        """Why what is left of an order that does not rest is cancelled."""
        if taker.price_ticks is not None:
            return CancelReason.IOC_REMAINDER
        offered = self.books[taker.market].best_price(taker.side.opposite) is not None
        return CancelReason.PRICE_PROTECTION if offered else CancelReason.MARKET_REMAINDER

    def trade(self, taker: Order, step: MatchStep) -> None:
        """Trade with a resting order at its price: the trade, its entry, and the end of an order that is filled."""
        maker, size = step.maker, step.lots
        market = self.markets[taker.market]
        price = self.trade_price(maker, taker) if step.price is None else step.price
        value = notional(price, size, tick_amount=market.tick_amount)
        maker_held, taker_held = self.hold(maker), self.hold(taker)
        maker_fee = self.fee(maker, value, market.maker_fee_ppm)
        taker_fee = self.fee(taker, value, market.taker_fee_ppm)
        maker_earned = fee_added_earned(maker.fee_numerator, value * market.maker_fee_ppm)
        taker_earned = fee_added_earned(taker.fee_numerator, value * market.taker_fee_ppm)
        self.emit(
            TradeExecuted(
                trade=self.trades + 1,
                market=market.market,
                price_ticks=price,
                size_lots=size,
                taker_side=taker.side,
                maker_client=maker.client,
                maker_order=maker.order,
                taker_client=taker.client,
                taker_order=taker.order,
                maker_fee=maker_fee,
                taker_fee=taker_fee,
            )
        )
        if market.perpetual is None:
            base = size * market.lot_amount
            lines = self._spot_lines(
                market, maker, released=maker_held - self.hold(maker), fee=maker_fee, value=value, base=base
            )
            lines += self._spot_lines(
                market, taker, released=taker_held - self.hold(taker), fee=taker_fee, value=value, base=base
            )
        else:
            lines = self.settle_trade(market, price, size, ((maker, maker_fee), (taker, taker_fee)))
        lines += self.fee_postings(market.quote, charged=maker_fee + taker_fee, earned=maker_earned + taker_earned)
        self.post(TRADED, str(self.trades), lines)
        if not maker.left_lots:
            self.emit(OrderFilled(client=maker.client, order=maker.order))
        if not taker.left_lots:
            self.emit(OrderFilled(client=taker.client, order=taker.order))
        for order in (maker, taker):
            if order.other is not None or order.conditions is not None:
                self._after_trade(order)

    def _after_trade(self, order: Order) -> None:
        """End what a trade of the order ends: the order that it is linked with, and a reduction that is complete."""
        other = self.linked(order)
        if other is not None:
            self.cancel(other, ONE_CANCELS_OTHER)
        if order.left_lots and order.reduce_only and not self.reducible(order):
            self.cancel(order, CancelReason.REDUCE_ONLY)

    def cancel_each(self, orders: Iterable[Order], reason: CancelReason) -> None:
        """Cancel orders one by one; one that ended with another before it is passed over."""
        for order in orders:
            if order.status in OPEN_STATUSES:
                self.cancel(order, reason)

    def _spot_lines(self, market: Market, order: Order, *, released: int, fee: int, value: int, base: int) -> Lines:
        """One side's lines of a spot trade's entry but for fees; what its hold became smaller by is released."""
        client, quote = order.client, market.quote
        if order.side is BUY:
            return [
                (client, HELD, quote, -released),
                (client, FREE, quote, released - value - fee),
                (client, FREE, market.base, base),
            ]
        return [
            (client, HELD, market.base, -released),
            (client, FREE, market.base, released - base),
            (client, FREE, quote, value - fee),
        ]

    def settle_trade(
        self, market: Market, price: PriceTicks, size: SizeLots, sides: Iterable[tuple[Order, Amount]]
    ) -> Lines:
        """The lines of a perpetual's trade but for the fees: see the chapter on perpetuals."""
        raise NotImplementedError

    def cancel(self, order: Order, reason: CancelReason) -> None:
        """Cancel what is left of an order, release exactly what is held for it, cancel the order linked with it."""
        ends_other = order.other is not None and reason is not ONE_CANCELS_OTHER
        other = self.linked(order) if ends_other else None
        before = self.hold(order)
        self.emit(OrderCancelled(client=order.client, order=order.order, left_lots=order.left_lots, reason=reason))
        self._move_hold(order, before, ORDER_RELEASE)
        if other is not None:
            self.cancel(other, ONE_CANCELS_OTHER)

    def decrement(self, order: Order, lots: SizeLots) -> None:
        """Take lots off an order that meets one of its own client; an order of nothing left is cancelled."""
        if order.left_lots == lots:
            return self.cancel(order, CancelReason.SELF_TRADE)
        before = self.hold(order)
        self.emit(
            OrderReduced(
                client=order.client,
                order=order.order,
                size_lots=SizeLots(order.size_lots - lots),
                left_lots=SizeLots(order.left_lots - lots),
            )
        )
        return self._move_hold(order, before, ORDER_RELEASE)

    # Rules of orders, each a seam -----------------------------------------------------------------------------------

    def order_id_used(self, client: ClientId, order: OrderId) -> bool:
        """Whether the client ever had an order of this id accepted."""
        return (client, order) in self.orders

    def takes(self, book: Book, side: Side, price: PriceTicks | None) -> bool:
        """Whether an order would trade at once, as far as post-only is concerned."""
        return book.crosses(side, price)

    def fillable(self, plan: MatchPlan, size: SizeLots) -> bool:
        """Whether a fill-or-kill order would trade whole."""
        return plan.traded == size

    def rests(self, order: Order) -> bool:
        """Whether what is left of an order stays in the book."""
        return order.price_ticks is not None and order.time_in_force in LASTING

    def cancellable(self, order: Order) -> bool:
        """Whether an order can be cancelled: only one that rests or waits."""
        return order.status in OPEN_STATUSES

    def cancelled_together(self, command: CancelAll) -> list[Order]:
        """The open orders that are all cancelled at once, in the order in which they were accepted."""
        return [
            order
            for order in self.orders_of(command.client)
            if (command.market is None or order.market == command.market)
            and (not self.restricted or self.stage_allows(order.market, command))
        ]

    def cancelled_by_disconnect(self, client: ClientId) -> list[Order]:
        """A client's open orders that asked to be cancelled when its session is lost."""
        return [
            order
            for order in self.orders_of(client)
            if order.conditions is not None and order.conditions.cancel_on_disconnect
        ]

    def orders_of(self, client: ClientId | None = None) -> list[Order]:
        """The resting orders and waiting stops of a client, or of all, in the order in which they were accepted."""
        resting = (order for book in self.books.values() for side in Side for order in book.orders(side))
        found = [order for order in (*resting, *self.waiting.values()) if client is None or order.client == client]
        return sorted(found, key=lambda order: order.accepted)

    def linkable(self, command: PlaceOrder) -> bool:
        """Whether the order named can be linked with a new one: open, of the same market, one of the two a stop."""
        conditions = command.conditions
        assert conditions is not None
        other = self.orders.get((command.client, conditions.one_cancels_other or ""))
        if other is None or other.market != command.market or other.other is not None:
            return False
        return other.status is (OrderStatus.WAITING if conditions.trigger is None else RESTING)

    def linked(self, order: Order) -> Order | None:
        """The order that ends when this one trades, is triggered or ends."""
        return None if order.other is None else self.orders[order.client, order.other]

    def within_band(self, market: Market, price: PriceTicks) -> bool:
        """Whether a limit price is within the band around the market's last trade, or else around its reference."""
        reference = self.last_trades.get(market.market, market.reference_ticks)
        if reference is None:
            return True
        lowest, highest = price_band(reference, band_ppm=market.band_ppm)
        return lowest <= price <= highest

    def protected(self, order: PlaceOrder | Order) -> PriceTicks | None:
        """The worst price that a market order may trade at; None where its market does not protect it."""
        protection_ppm = self.markets[order.market].protection_ppm
        best = self.books[order.market].best_price(order.side.opposite)
        if not protection_ppm or best is None:
            return None
        return protected_price(best, protection_ppm=protection_ppm, buying=order.side is Side.BUY)

    def auction_takes(self, command: PlaceOrder) -> bool:
        """Whether an auction takes an order in: stops, and limit orders that rest without further promises."""
        conditions = command.conditions
        if conditions is not None and (conditions.trigger is not None or conditions.reduce_only):
            return conditions.trigger is not None
        return command.price_ticks is not None and command.time_in_force in LASTING and not command.post_only

    def reducible(self, order: PlaceOrder | Order) -> int:  # noqa: ARG002 - the chapter on perpetuals knows
        """The lots of its owner's position that an order could close now: in a spot market there is no position."""
        return 0

    def keeps_priority(self, order: Order, command: AmendOrder) -> bool:
        """Whether an amended order keeps its place: only at the same price, and not for more."""
        return command.price_ticks == order.price_ticks and command.size_lots <= order.size_lots

    def amended_taker(self, order: Order) -> ClientId | None:
        """Whose orders an amended order must not trade with when it crosses: its own client's."""
        return order.client

    def trade_price(self, maker: Order, taker: Order) -> PriceTicks:  # noqa: ARG002 - a seam: a fault looks at the taker
        """The price of a trade: the resting order's."""
        assert maker.price_ticks is not None
        return maker.price_ticks

    def fee(self, order: Order, value: Amount, rate_ppm: int) -> Amount:
        """What a trade of this quote amount adds to the order's fee, which is rounded up over the whole order."""
        return fee_added(order.fee_numerator, value * rate_ppm)

    def fee_postings(self, asset: AssetId, *, charged: int, earned: int) -> list[tuple[str, Bucket, AssetId, int]]:
        """Where a fee goes: its whole part to the house's fees, what rounding up added to its rounding account."""
        return [(FEES, FREE, asset, earned), (ROUNDING, FREE, asset, charged - earned)]

    def hold(self, order: Order) -> Amount:
        """What must be held for an order as it stands; nothing for a market order, which pays from what is free."""
        price, left = order.price_ticks, order.left_lots
        if price is None or not left:
            return NOTHING
        return self.hold_for(order, price, left, order.fee_numerator)

    def hold_for(self, order: PlaceOrder | Order, price: PriceTicks, left: SizeLots, fee_numerator: int) -> Amount:
        """What must be held for an order of this price with this much left, and its fee so far."""
        market = self.markets[order.market]
        if market.perpetual is not None:
            return NOTHING
        if order.side is SELL:
            return hold_to_sell(left, lot_amount=market.lot_amount)
        return hold_to_buy(
            price,
            left,
            tick_amount=market.tick_amount,
            fee_numerator=fee_numerator,
            rate_ppm=self._fee_ppm[market.market],
        )

    def uncovered(self, command: PlaceOrder, plan: MatchPlan) -> Reason | None:
        """Why a new order is not covered, if it is not; a waiting spot stop without a price need not be covered."""
        if self.markets[command.market].perpetual is not None:
            return self.margin_uncovered(command, plan)
        if self.funded(command, plan):
            return None
        waits = command.conditions is not None and command.conditions.trigger is not None
        return None if waits and command.price_ticks is None else Reason.INSUFFICIENT_FUNDS

    def margin_uncovered(self, command: PlaceOrder, plan: MatchPlan) -> Reason | None:
        """Why a margin account does not bear a new order, if it does not: see the chapter on perpetuals."""
        raise NotImplementedError

    def amendment_uncovered(self, order: Order, *, price: PriceTicks, left: SizeLots) -> Reason | None:
        """Why an order with this price and this much left would not be covered, if it would not."""
        more = Amount(self.hold_for(order, price, left, order.fee_numerator) - self.hold(order))
        market = self.markets[order.market]
        asset = market.quote if order.side is BUY else market.base
        return None if self.covers(order.client, asset, more) else Reason.INSUFFICIENT_FUNDS

    def funded(self, command: PlaceOrder, plan: MatchPlan) -> bool:
        """Whether the free balance covers what an order may cost: limit and fee, or for a market buy its plan."""
        market = self.markets[command.market]
        if command.side is SELL:
            need = hold_to_sell(command.size_lots, lot_amount=market.lot_amount)
            return self.covers(command.client, market.base, need)
        if command.price_ticks is not None:
            need = self.hold_for(command, command.price_ticks, command.size_lots, 0)
        else:
            value = sum(
                notional(step.maker.price_ticks or PriceTicks(0), step.lots, tick_amount=market.tick_amount)
                for step in plan.steps
                if step.kind is TRADE
            )
            need = Amount(value + fee_charged(value * market.taker_fee_ppm))
        return self.covers(command.client, market.quote, need)

    def _move_hold(self, order: Order, before: Amount, kind: CauseKind) -> None:
        """Move between free and held what the order's hold changed by."""
        more = self.hold(order) - before
        market, client = self.markets[order.market], order.client
        asset = market.quote if order.side is BUY else market.base
        self.move(kind, f"{client}/{order.order}", client, asset, more)

    # Evolving -----------------------------------------------------------------------------------------------------

    def _on_order_accepted(self, event: OrderAccepted) -> None:
        self.accepted += 1
        order = Order(
            client=event.client,
            order=event.order,
            market=event.market,
            side=event.side,
            size_lots=event.size_lots,
            price_ticks=event.price_ticks,
            time_in_force=event.time_in_force,
            post_only=event.post_only,
            self_trade=event.self_trade,
            status=ACCEPTED,
            filled_lots=NO_LOTS,
            left_lots=event.size_lots,
            fee_numerator=NOTHING,
            accepted=self.accepted,
            conditions=event.conditions,
        )
        self.orders[event.client, event.order] = order
        if event.conditions is not None and event.conditions.one_cancels_other is not None:
            other = self.orders[event.client, event.conditions.one_cancels_other]
            order.other, other.other = other.order, order.order
        if event.conditions is not None:
            self.note(order)

    def note(self, order: Order) -> None:
        """Take note of an order that has conditions (see the chapter on triggers)."""

    def forget(self, order: Order) -> None:
        """An order that has conditions is at its end."""

    def _on_order_rested(self, event: OrderRested) -> None:
        order = self.orders[event.client, event.order]
        order.status = RESTING
        self.books[order.market].add(order)

    def _on_trade_executed(self, event: TradeExecuted) -> None:
        self.trades = event.trade
        self.last_trades[event.market] = event.price_ticks
        market = self.markets[event.market]
        orders, size = self.orders, event.size_lots
        value = event.price_ticks * size * market.tick_amount
        for order, rate_ppm in (
            (orders[event.maker_client, event.maker_order], market.maker_fee_ppm),
            (orders[event.taker_client, event.taker_order], market.taker_fee_ppm),
        ):
            order.filled_lots += size  # type: ignore[assignment]  # a size and a size are a size
            order.left_lots -= size  # type: ignore[assignment]  # and so is their difference
            order.fee_numerator += value * rate_ppm  # type: ignore[assignment]  # and this is an amount

    def forget_prices(self, market: MarketId) -> None:
        """Nor does the price of its last trade."""
        super().forget_prices(market)
        self.last_trades.pop(market, None)

    def _on_order_filled(self, event: OrderFilled) -> None:
        order = self.orders[event.client, event.order]
        if order.status is RESTING:
            self.books[order.market].remove(order)
        if order.conditions is not None:
            self.forget(order)
        order.status = FILLED

    def _on_order_cancelled(self, event: OrderCancelled) -> None:
        order = self.orders[event.client, event.order]
        self._leave_book(order)
        if order.conditions is not None:
            self.forget(order)
        order.status = CANCELLED
        order.left_lots = NO_LOTS
        if order.other is not None:
            self.orders[order.client, order.other].other = None
            order.other = None

    def _on_order_reduced(self, event: OrderReduced) -> None:
        order = self.orders[event.client, event.order]
        order.size_lots, order.left_lots = event.size_lots, event.left_lots

    def _on_order_amended(self, event: OrderAmended) -> None:
        order = self.orders[event.client, event.order]
        if not event.priority_kept:
            self._leave_book(order)
            order.status = ACCEPTED
        order.size_lots, order.left_lots = event.size_lots, event.left_lots
        order.price_ticks = event.price_ticks

    def _leave_book(self, order: Order) -> None:
        if order.status is RESTING:
            self.books[order.market].remove(order)

    # Snapshots ----------------------------------------------------------------------------------------------------

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"trades": None, "accepted": None, "last_trades": _last_trades}

    def equals(self, other: Self) -> bool:
        """Orders are equal, and so are their places in the queues."""
        return (
            super().equals(other)
            and self.orders == other.orders
            and list(self.waiting.values()) == list(other.waiting.values())
            and all(book.queued() == other.books[market].queued() for market, book in self.books.items())
        )

    def _parts(self) -> dict[str, Any]:
        parts = super()._parts()
        parts |= {
            "resting": tuple(chain.from_iterable(self.books[market].orders(side) for market, side in self._queues)),
            "waiting": tuple(self.waiting.values()),
            "closed": tuple(
                [
                    order
                    for order in map(self.orders.__getitem__, self._order_keys.of(self.orders))
                    if (status := order.status) is not RESTING and status is not _WAITING
                ]
            ),
        }
        return parts

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.trades, self.accepted = state.trades, state.accepted
        self.last_trades = {last.market: last.price_ticks for last in state.last_trades}
        self.books = {market: self.book_class() for market in self.markets}
        self.orders, self._order_keys = {}, SortedKeys()
        for order in state.resting:
            self.orders[order.key] = order
            self.books[order.market].add(order)
        self.waiting = {order.key: order for order in state.waiting}
        for order in (*state.waiting, *state.closed):
            self.orders[order.key] = order


def _last_trades(prices: dict[MarketId, PriceTicks]) -> list[LastTrade]:
    return [LastTrade(market=market, price_ticks=prices[market]) for market in sorted(prices)]
