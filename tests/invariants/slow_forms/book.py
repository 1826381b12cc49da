"""What was told of an order, and which orders stand in the book, recomputed from the first event on."""

from dataclasses import dataclass

from holdfast_model.vocabulary import (
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    Side,
    StopArmed,
    StopTriggered,
    TradeExecuted,
)
from slow_forms.tale import Tale

OrderKey = tuple[str, str]


def parties(trade: TradeExecuted) -> tuple[OrderKey, OrderKey]:
    """The maker's order and the taker's."""
    return (trade.maker_client, trade.maker_order), (trade.taker_client, trade.taker_order)


@dataclass
class Order:
    """What was told of one order so far."""

    accepted: OrderAccepted
    accepted_at: int
    size: int
    left: int
    price: int | None
    filled: int = 0
    triggered: bool = False
    rests_at: int | None = None
    """The price of the queue that it joined last."""
    state: str = "taken in"
    """taken in, resting, waiting, or over."""

    @property
    def is_open(self) -> bool:
        return self.state in {"resting", "waiting"}


_ORDER_EVENTS = (
    OrderAccepted,
    StopArmed,
    StopTriggered,
    OrderRested,
    TradeExecuted,
    OrderFilled,
    OrderCancelled,
    OrderReduced,
    OrderAmended,
)


def orders_at(tale: Tale, end: int) -> dict[OrderKey, Order]:
    """All orders that were ever accepted, as they stand before a place, in the order of acceptance."""
    orders: dict[OrderKey, Order] = {}
    for moment in tale.between(0, end, *_ORDER_EVENTS):
        event = moment.what
        if isinstance(event, OrderAccepted):
            orders.pop((event.client, event.order), None)
            orders[event.client, event.order] = Order(
                event, moment.at, event.size_lots, event.size_lots, event.price_ticks
            )
        elif isinstance(event, TradeExecuted):
            for key in parties(event):
                if key in orders:
                    orders[key].left -= event.size_lots
                    orders[key].filled += event.size_lots
        elif (event.client, event.order) in orders:
            _change(orders[event.client, event.order], event)
    return orders


def _change(order: Order, event: object) -> None:
    match event:
        case StopArmed():
            order.state = "waiting"
        case StopTriggered():
            order.state, order.triggered = "taken in", True
        case OrderRested():
            order.state, order.rests_at = "resting", event.price_ticks
        case OrderFilled() | OrderCancelled():
            order.state, order.left = "over", 0
        case OrderReduced():
            order.size, order.left = event.size_lots, event.left_lots
        case OrderAmended():
            order.size, order.left, order.price = event.size_lots, event.left_lots, event.price_ticks
            if not event.priority_kept:
                order.state = "taken in"
        case _:
            pass


def crossed_at(tale: Tale, end: int) -> set[MarketId]:
    """The markets in whose book the best bid is at or above the best ask."""
    prices: dict[tuple[MarketId, Side], list[int]] = {}
    for order in orders_at(tale, end).values():
        if order.state == "resting" and order.rests_at is not None:
            prices.setdefault((order.accepted.market, order.accepted.side), []).append(order.rests_at)
    return {
        market
        for market, side in prices
        if side is Side.BUY and max(prices[market, side]) >= min(prices.get((market, Side.SELL), [10**30]))
    }
