"""Faults of matching, order types and order states."""

from collections.abc import Iterator

from msgspec.structs import replace

from holdfast_engine.book import Book, MatchPlan, MatchStep, Queue, Reduction
from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AmendOrder,
    ClientId,
    Command,
    Phase,
    PlaceOrder,
    PriceTicks,
    SelfTrade,
    Side,
    SizeLots,
    TradeExecuted,
)


class _NewestFirst(Book):
    def queue(self, level: Queue) -> Iterator[Order]:
        return reversed(level.values())


class _ServesNewestFirst(Venue):
    book_class = _NewestFirst


class _WorstPriceFirst(Book):
    def orders(self, side: Side) -> Iterator[Order]:
        return iter(sorted(super().orders(side), key=lambda order: order.price_ticks or 0, reverse=side is Side.SELL))


class _TradesThrough(Venue):
    book_class = _WorstPriceFirst


class _TradesAtTheTakersPrice(UncheckedVenue):
    def trade_price(self, maker: Order, taker: Order) -> PriceTicks:
        return taker.price_ticks or super().trade_price(maker, taker)


class _LetsIocRest(Venue):
    def rests(self, order: Order) -> bool:
        return order.price_ticks is not None


class _FillsFokInPart(Venue):
    def fillable(self, plan: MatchPlan, size: SizeLots) -> bool:  # noqa: ARG002 - the fault
        return plan.traded > 0


class _LetsPostOnlyTake(Venue):
    def takes(self, book: Book, side: Side, price: PriceTicks | None) -> bool:  # noqa: ARG002 - the fault
        return False


class _KnowsNoClient(Book):
    def plan(
        self,
        *,
        client: ClientId | None,
        side: Side,
        price: PriceTicks | None,
        size: SizeLots,
        self_trade: SelfTrade,
        reduction: Reduction | None = None,
    ) -> MatchPlan:
        del client
        return super().plan(
            client=None, side=side, price=price, size=size, self_trade=self_trade, reduction=reduction
        )


class _LetsClientsTradeWithThemselves(Venue):
    book_class = _KnowsNoClient


class _KeepsPriorityForMore(Venue):
    def keeps_priority(self, order: Order, command: AmendOrder) -> bool:
        return command.price_ticks == order.price_ticks


class _ReportsFillsTwice(Venue):
    def trade(self, taker: Order, step: MatchStep) -> None:
        super().trade(taker, step)
        trade = next(event for event in reversed(self._events) if isinstance(event, TradeExecuted))
        if step.maker.status is OrderStatus.FILLED and taker.status is OrderStatus.FILLED:
            self.emit(replace(trade, trade=trade.trade + 1))


class _CancelsFilledOrders(Venue):
    def cancellable(self, order: Order) -> bool:
        return super().cancellable(order) or order.status is OrderStatus.FILLED


class _AcceptsWhileHalted(Venue):
    def phase_allows(self, command: Command) -> bool:
        return (self.phase is Phase.HALTED and isinstance(command, PlaceOrder)) or super().phase_allows(command)


FAULTS = (
    Fault(
        name="newest-first",
        sentence="Of the orders at one price the newest trades first.",
        violates=("PRIO-1",),
        parts=Parts(venue=_ServesNewestFirst),
    ),
    Fault(
        name="trade-through",
        sentence="An order trades at a worse price while a better one rests.",
        violates=("PRIO-1",),
        parts=Parts(venue=_TradesThrough),
    ),
    Fault(
        name="takers-price",
        sentence="A trade is made at the taker's limit instead of the resting order's price.",
        violates=("PRIO-1",),
        parts=Parts(venue=_TradesAtTheTakersPrice),
    ),
    Fault(
        name="ioc-rests",
        sentence="What an immediate-or-cancel order leaves stays in the book.",
        violates=("PRIO-2",),
        parts=Parts(venue=_LetsIocRest),
    ),
    Fault(
        name="fok-filled-in-part",
        sentence="A fill-or-kill order is filled in part.",
        violates=("PRIO-2",),
        parts=Parts(venue=_FillsFokInPart),
    ),
    Fault(
        name="post-only-takes",
        sentence="A post-only order trades at once.",
        violates=("PRIO-2",),
        parts=Parts(venue=_LetsPostOnlyTake),
    ),
    Fault(
        name="self-trade-allowed",
        sentence="A client trades with itself.",
        violates=("PRIO-2",),
        incidents=("hyperliquid-jelly-2025-03-26",),
        parts=Parts(venue=_LetsClientsTradeWithThemselves),
    ),
    Fault(
        name="amend-for-more-keeps-priority",
        sentence="An order amended to a larger size keeps its place in the queue.",
        violates=("PRIO-1",),
        parts=Parts(venue=_KeepsPriorityForMore),
    ),
    Fault(
        name="fill-reported-twice",
        sentence="The last fill of an order is reported twice, past the order's size.",
        violates=("FINAL-3",),
        incidents=("knight-2012-08-01",),
        parts=Parts(venue=_ReportsFillsTwice),
    ),
    Fault(
        name="filled-order-cancelled",
        sentence="An order that was filled can still be cancelled.",
        violates=("FINAL-1",),
        incidents=("okex-2018-03-30",),
        parts=Parts(venue=_CancelsFilledOrders),
    ),
    Fault(
        name="order-accepted-while-halted",
        sentence="New orders are taken in while the venue is halted.",
        violates=("PHASE-1",),
        incidents=("nyse-2023-01-24",),
        parts=Parts(venue=_AcceptsWhileHalted),
    ),
)
