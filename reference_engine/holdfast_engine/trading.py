"""Trading: placing, amending and cancelling orders, matching them, what is held for them, and fees.

Refusals are decided in the order in which the checks stand in each `_decide_…` method; `docs/exchange.md` states it.
"""

from collections.abc import Iterable
from typing import Any

from holdfast_engine.arithmetic import fee_charged, fee_earned, hold_to_buy, hold_to_sell, notional
from holdfast_engine.book import BUY, SELL, TRADE, Book, MatchPlan, MatchStep, StepKind
from holdfast_engine.core import FREE, HELD, Deciders, Evolvers, Lines
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.products import Products
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    FEES,
    ROUNDING,
    AmendOrder,
    Amount,
    AssetId,
    Bucket,
    CancelOrder,
    CancelReason,
    CauseKind,
    ClientId,
    Market,
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
RESTING, FILLED, CANCELLED = OrderStatus.RESTING, OrderStatus.FILLED, OrderStatus.CANCELLED
GTC, FOK = TimeInForce.GTC, TimeInForce.FOK


class Trading(Products):
    """The orders of all clients, and the books in which they rest."""

    book_class: type[Book] = Book

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.trades = 0
        self.accepted = 0
        self.books = {market: self.book_class() for market in self.markets}
        self.orders: dict[tuple[ClientId, OrderId], Order] = {}

    def _deciders(self) -> Deciders:
        return super()._deciders() | {
            PlaceOrder: self._decide_place,
            CancelOrder: self._decide_cancel,
            AmendOrder: self._decide_amend,
        }

    def _evolvers(self) -> Evolvers:
        return super()._evolvers() | {
            OrderAccepted: self._on_order_accepted,
            OrderRested: self._on_order_rested,
            TradeExecuted: self._on_trade_executed,
            OrderFilled: self._on_order_filled,
            OrderCancelled: self._on_order_cancelled,
            OrderReduced: self._on_order_reduced,
            OrderAmended: self._on_order_amended,
        }

    # Deciding -----------------------------------------------------------------------------------------------------

    def _decide_place(self, command: PlaceOrder) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.market not in self.markets:
            return self.refuse(Reason.UNKNOWN_MARKET)
        if self.restricted and not self.stage_allows(command.market, command):
            return self.refuse(Reason.PRODUCT_HALTED)
        if command.size_lots <= 0:
            return self.refuse(Reason.SIZE_NOT_POSITIVE)
        if command.price_ticks is not None and command.price_ticks <= 0:
            return self.refuse(Reason.PRICE_NOT_POSITIVE)
        if command.price_ticks is None and command.post_only:
            return self.refuse(Reason.MARKET_ORDER_CANNOT_REST)
        if self.order_id_used(command.client, command.order):
            return self.refuse(Reason.DUPLICATE_ORDER)
        book = self.books[command.market]
        if command.post_only and self.takes(book, command.side, command.price_ticks):
            return self.refuse(Reason.POST_ONLY_WOULD_TAKE)
        plan = book.plan(
            client=command.client,
            side=command.side,
            price=command.price_ticks,
            size=command.size_lots,
            self_trade=command.self_trade,
        )
        if command.time_in_force is FOK and not self.fillable(plan, command.size_lots):
            return self.refuse(Reason.FOK_UNFILLABLE)
        reason = self.uncovered(command, plan)
        if reason is not None:
            return self.refuse(reason)
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
            )
        )
        order = self.orders[command.client, command.order]
        self._move_hold(order, Amount(0), CauseKind.ORDER_HOLD)
        self._execute(order, plan)
        return None

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
        return self.cancel(order, CancelReason.REQUESTED)

    def _decide_amend(self, command: AmendOrder) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.size_lots <= 0:
            return self.refuse(Reason.SIZE_NOT_POSITIVE)
        if command.price_ticks <= 0:
            return self.refuse(Reason.PRICE_NOT_POSITIVE)
        order = self.orders.get((command.client, command.order))
        if order is None:
            return self.refuse(Reason.UNKNOWN_ORDER)
        if order.status is not OrderStatus.RESTING:
            return self.refuse(Reason.ORDER_NOT_OPEN)
        if self.restricted and not self.stage_allows(order.market, command):
            return self.refuse(Reason.PRODUCT_HALTED)
        left = SizeLots(command.size_lots - order.filled_lots)
        if left <= 0:
            return self.refuse(Reason.SIZE_NOT_ABOVE_FILLED)
        book = self.books[order.market]
        never_takes = (
            order.post_only or self.phase is Phase.POST_ONLY or self.markets[order.market].product in self.restricted
        )
        if never_takes and self.takes(book, order.side, command.price_ticks):
            return self.refuse(Reason.POST_ONLY_WOULD_TAKE)
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
        self._move_hold(order, before, CauseKind.ORDER_HOLD)
        if kept:
            return None
        plan = book.plan(
            client=self.amended_taker(order),
            side=order.side,
            price=order.price_ticks,
            size=order.left_lots,
            self_trade=order.self_trade,
        )
        return self._execute(order, plan)

    def _execute(self, taker: Order, plan: MatchPlan) -> None:
        """Carry out what a taker meets, then let what is left of it rest or be cancelled."""
        for step in plan.steps:
            if step.kind is TRADE:
                self.trade(taker, step)
            elif step.kind is StepKind.CANCEL_MAKER:
                self.cancel(step.maker, CancelReason.SELF_TRADE)
            else:
                self._decrement(step.maker, step.lots)
                self._decrement(taker, step.lots)
        if taker.status in (FILLED, CANCELLED):
            return
        if plan.taker_cancelled:
            self.cancel(taker, CancelReason.SELF_TRADE)
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
        elif taker.price_ticks is None:
            self.cancel(taker, CancelReason.MARKET_REMAINDER)
        else:
            self.cancel(taker, CancelReason.IOC_REMAINDER)

    def trade(self, taker: Order, step: MatchStep) -> None:
        """Trade with a resting order at its price: the trade, its entry, and the end of an order that is filled."""
        maker, size = step.maker, step.lots
        market = self.markets[taker.market]
        price = self.trade_price(maker, taker)
        value = notional(price, size, tick_amount=market.tick_amount)
        maker_held, taker_held = self.hold(maker), self.hold(taker)
        earned_before = fee_earned(maker.fee_numerator) + fee_earned(taker.fee_numerator)
        maker_fee = self.fee(maker, value, market.maker_fee_ppm)
        taker_fee = self.fee(taker, value, market.taker_fee_ppm)
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
        sides = ((maker, maker_fee, maker_held), (taker, taker_fee, taker_held))
        settle = self._settle_spot if market.perpetual is None else self.settle_trade
        postings = settle(market, price, size, sides)
        earned = fee_earned(maker.fee_numerator) + fee_earned(taker.fee_numerator)
        postings += self.fee_postings(market.quote, charged=maker_fee + taker_fee, earned=earned - earned_before)
        self.post(CauseKind.TRADE, str(self.trades), postings)
        for order in (maker, taker):
            if not order.left_lots:
                self.emit(OrderFilled(client=order.client, order=order.order))

    def _settle_spot(
        self, market: Market, price: PriceTicks, size: SizeLots, sides: Iterable[tuple[Order, Amount, Amount]]
    ) -> Lines:
        """The lines of a spot trade's entry but for fees; each side comes with its fee and what was held before."""
        value = notional(price, size, tick_amount=market.tick_amount)
        base = size * market.lot_amount
        lines: Lines = []
        for order, fee, held in sides:
            released = held - self.hold(order)
            if order.side is BUY:
                lines += [
                    (order.client, HELD, market.quote, -released),
                    (order.client, FREE, market.quote, released - value - fee),
                    (order.client, FREE, market.base, base),
                ]
            else:
                lines += [
                    (order.client, HELD, market.base, -released),
                    (order.client, FREE, market.base, released - base),
                    (order.client, FREE, market.quote, value - fee),
                ]
        return lines

    def settle_trade(
        self, market: Market, price: PriceTicks, size: SizeLots, sides: Iterable[tuple[Order, Amount, Amount]]
    ) -> Lines:
        """The lines of a perpetual's trade but for the fees: see the chapter on perpetuals."""
        raise NotImplementedError

    def cancel(self, order: Order, reason: CancelReason) -> None:
        """Cancel what is left of an order and release exactly what is held for it."""
        before = self.hold(order)
        self.emit(OrderCancelled(client=order.client, order=order.order, left_lots=order.left_lots, reason=reason))
        self._move_hold(order, before, CauseKind.ORDER_RELEASE)

    def _decrement(self, order: Order, lots: SizeLots) -> None:
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
        return self._move_hold(order, before, CauseKind.ORDER_RELEASE)

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
        return order.price_ticks is not None and order.time_in_force is GTC

    def cancellable(self, order: Order) -> bool:
        """Whether an order can be cancelled: only a resting one."""
        return order.status is RESTING

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
        return Amount(fee_charged(order.fee_numerator + value * rate_ppm) - fee_charged(order.fee_numerator))

    def fee_postings(self, asset: AssetId, *, charged: int, earned: int) -> list[tuple[str, Bucket, AssetId, int]]:
        """Where a fee goes: its whole part to the house's fees, what rounding up added to its rounding account."""
        return [(FEES, FREE, asset, earned), (ROUNDING, FREE, asset, charged - earned)]

    def hold(self, order: Order) -> Amount:
        """What must be held for an order as it stands; nothing for a market order, which pays from what is free."""
        if order.price_ticks is None:
            return Amount(0)
        return self.hold_for(order, price=order.price_ticks, left=order.left_lots)

    def hold_for(self, order: Order, *, price: PriceTicks, left: SizeLots) -> Amount:
        """What must be held for an order of this price with this much left."""
        market = self.markets[order.market]
        if market.perpetual is not None:
            return Amount(0)
        if order.side is SELL:
            return hold_to_sell(left, lot_amount=market.lot_amount)
        return hold_to_buy(
            price,
            left,
            tick_amount=market.tick_amount,
            fee_numerator=order.fee_numerator,
            rate_ppm=max(market.maker_fee_ppm, market.taker_fee_ppm),
        )

    def uncovered(self, command: PlaceOrder, plan: MatchPlan) -> Reason | None:
        """Why a new order is not covered, if it is not."""
        return None if self.funded(command, plan) else Reason.INSUFFICIENT_FUNDS

    def amendment_uncovered(self, order: Order, *, price: PriceTicks, left: SizeLots) -> Reason | None:
        """Why an order is not covered at a new price with this much left, if it is not."""
        more = self.hold_for(order, price=price, left=left) - self.hold(order)
        covered = self.covers(order.client, self._hold_asset(order), Amount(more))
        return None if covered else Reason.INSUFFICIENT_FUNDS

    def funded(self, command: PlaceOrder, plan: MatchPlan) -> bool:
        """Whether the free balance covers what an order may cost: limit and fee, or for a market buy its plan."""
        market = self.markets[command.market]
        if command.side is SELL:
            need = hold_to_sell(command.size_lots, lot_amount=market.lot_amount)
            return self.covers(command.client, market.base, need)
        if command.price_ticks is not None:
            need = hold_to_buy(
                command.price_ticks,
                command.size_lots,
                tick_amount=market.tick_amount,
                fee_numerator=0,
                rate_ppm=max(market.maker_fee_ppm, market.taker_fee_ppm),
            )
        else:
            value = sum(
                notional(step.maker.price_ticks or PriceTicks(0), step.lots, tick_amount=market.tick_amount)
                for step in plan.steps
                if step.kind is TRADE
            )
            need = Amount(value + fee_charged(value * market.taker_fee_ppm))
        return self.covers(command.client, market.quote, need)

    def _hold_asset(self, order: Order) -> AssetId:
        market = self.markets[order.market]
        return market.quote if order.side is BUY else market.base

    def _move_hold(self, order: Order, before: Amount, kind: CauseKind) -> None:
        """Move between free and held what the order's hold changed by."""
        more = self.hold(order) - before
        asset = self._hold_asset(order)
        cause = f"{order.client}/{order.order}"
        self.post(kind, cause, [(order.client, FREE, asset, -more), (order.client, HELD, asset, more)])

    # Evolving -----------------------------------------------------------------------------------------------------

    def _on_order_accepted(self, event: OrderAccepted) -> None:
        self.accepted += 1
        self.orders[event.client, event.order] = Order(
            accepted=self.accepted,
            client=event.client,
            order=event.order,
            market=event.market,
            side=event.side,
            size_lots=event.size_lots,
            price_ticks=event.price_ticks,
            time_in_force=event.time_in_force,
            post_only=event.post_only,
            self_trade=event.self_trade,
            status=OrderStatus.ACCEPTED,
            filled_lots=SizeLots(0),
            left_lots=event.size_lots,
            fee_numerator=Amount(0),
        )

    def _on_order_rested(self, event: OrderRested) -> None:
        order = self.orders[event.client, event.order]
        order.status = RESTING
        self.books[order.market].add(order)

    def _on_trade_executed(self, event: TradeExecuted) -> None:
        self.trades = event.trade
        market = self.markets[event.market]
        value = notional(event.price_ticks, event.size_lots, tick_amount=market.tick_amount)
        for key, rate in (
            ((event.maker_client, event.maker_order), market.maker_fee_ppm),
            ((event.taker_client, event.taker_order), market.taker_fee_ppm),
        ):
            order = self.orders[key]
            order.filled_lots = SizeLots(order.filled_lots + event.size_lots)
            order.left_lots = SizeLots(order.left_lots - event.size_lots)
            order.fee_numerator = Amount(order.fee_numerator + value * rate)

    def _on_order_filled(self, event: OrderFilled) -> None:
        order = self.orders[event.client, event.order]
        self._leave_book(order)
        order.status = FILLED

    def _on_order_cancelled(self, event: OrderCancelled) -> None:
        order = self.orders[event.client, event.order]
        self._leave_book(order)
        order.status = CANCELLED
        order.left_lots = SizeLots(0)

    def _on_order_reduced(self, event: OrderReduced) -> None:
        order = self.orders[event.client, event.order]
        order.size_lots, order.left_lots = event.size_lots, event.left_lots

    def _on_order_amended(self, event: OrderAmended) -> None:
        order = self.orders[event.client, event.order]
        if not event.priority_kept:
            self._leave_book(order)
            order.status = OrderStatus.ACCEPTED
        order.size_lots, order.left_lots = event.size_lots, event.left_lots
        order.price_ticks = event.price_ticks

    def _leave_book(self, order: Order) -> None:
        if order.status is RESTING:
            self.books[order.market].remove(order)

    # Snapshots ----------------------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, Any]:
        return super()._parts() | {
            "trades": self.trades,
            "accepted": self.accepted,
            "resting": tuple(
                order
                for market in sorted(self.books)
                for side in (Side.BUY, Side.SELL)
                for order in self.books[market].orders(side)
            ),
            "closed": tuple(
                self.orders[key] for key in sorted(self.orders) if self.orders[key].status is not OrderStatus.RESTING
            ),
        }

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.trades, self.accepted = state.trades, state.accepted
        self.books = {market: self.book_class() for market in self.markets}
        self.orders = {}
        for order in state.resting:
            self.orders[order.key] = order
            self.books[order.market].add(order)
        for order in state.closed:
            self.orders[order.key] = order
