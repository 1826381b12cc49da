"""PRIO: who trades, at which price, and what each order type promises."""

from typing import Any

from sortedcontainers import SortedDict

from holdfast_invariants.monitor import Found, Monitor, on
from holdfast_invariants.told import OrderKey, ToldOrder
from holdfast_model.vocabulary import (
    Answer,
    Command,
    MarketId,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    PlaceOrder,
    PriceTicks,
    Side,
    TimeInForce,
    TradeExecuted,
    View,
)


class PriceTimePriority(Monitor):
    """PRIO-1: the oldest order at the best price trades, at its own price; the book is never crossed.

    The monitor keeps its own queues, from the events alone: orders join at the back when they rest.
    """

    invariant = "PRIO-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._sides: dict[tuple[MarketId, Side], SortedDict[PriceTicks, dict[OrderKey, None]]] = {
            (market, side): SortedDict() for market in self.told.markets for side in Side
        }
        self._where: dict[OrderKey, tuple[MarketId, Side, PriceTicks]] = {}
        self._touched: set[MarketId] = set()

    @on(OrderRested)
    def rested(self, event: OrderRested) -> Found:
        """An order joins the back of its queue."""
        key = (event.client, event.order)
        order = self.told.orders.get(key)
        if order is not None and key not in self._where:
            levels = self._sides[order.market, order.side]
            levels.setdefault(event.price_ticks, {})[key] = None
            self._where[key] = (order.market, order.side, event.price_ticks)
            self._touched.add(order.market)
        return ()

    @on(OrderCancelled, OrderFilled)
    def gone(self, event: OrderCancelled | OrderFilled) -> Found:
        """An order leaves its queue."""
        self._leave((event.client, event.order))
        return ()

    @on(OrderAmended)
    def amended(self, event: OrderAmended) -> Found:
        """Only a smaller size at the same price keeps the place in the queue."""
        self.checked += 1
        key = (event.client, event.order)
        order = self.told.orders.get(key)
        if order is None:
            return
        deserved = (
            event.price_ticks == order.price_ticks
            and event.size_lots <= order.size_lots
            and "amend-loses-priority" not in self.conventions
        )
        if event.priority_kept and not deserved:
            yield self.violation(
                f"order {'/'.join(key)}",
                found=f"it keeps its place with {event.size_lots} lots at {event.price_ticks}",
                expected=f"the back of the queue: it was {order.size_lots} lots at {order.price_ticks}",
                evidence=[event],
            )
        if not event.priority_kept:
            self._leave(key)

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> Found:
        """The maker is the head of the best queue, the price is its price, and within the taker's limit."""
        self.checked += 1
        maker = (event.maker_client, event.maker_order)
        side = event.taker_side.opposite
        head = self._head(event.market, side)
        if head is None or head[0] != maker:
            yield self.violation(
                f"trade {event.trade}",
                found=f"order {'/'.join(maker)} traded",
                expected=f"order {'/'.join(head[0])} at {head[1]}, the oldest at the best price"
                if head
                else "nobody",
                evidence=[event],
            )
        where = self._where.get(maker)
        if where is not None and where[2] != event.price_ticks:
            yield self.violation(
                f"price of trade {event.trade}",
                found=str(event.price_ticks),
                expected=f"{where[2]}, the resting order's price",
                evidence=[event],
            )
        taker = self.told.orders.get((event.taker_client, event.taker_order))
        if taker is not None and not _within(taker, event.price_ticks):
            yield self.violation(
                f"price of trade {event.trade} for its taker",
                found=str(event.price_ticks),
                expected=f"no worse than the limit {taker.price_ticks}",
                evidence=[event],
            )

    def after(self, command: Command, answer: Answer) -> Found:  # noqa: ARG002 - all in the queues
        """No book is crossed when a command is done."""
        for market in sorted(self._touched):
            self.checked += 1
            bid, ask = self._head(market, Side.BUY), self._head(market, Side.SELL)
            if bid is not None and ask is not None and bid[1] >= ask[1]:
                yield self.violation(
                    f"book of {market}", found=f"bid {bid[1]}, ask {ask[1]}", expected="every bid below every ask"
                )
        self._touched.clear()

    def view(self, view: View) -> Found:
        """The queues shown are in the order in which the orders came."""
        shown: dict[tuple[MarketId, Side, PriceTicks], list[OrderKey]] = {}
        for order in view.orders:
            shown.setdefault((order.market, order.side, order.price_ticks), []).append((order.client, order.order))
        for (market, side, price), keys in shown.items():
            self.checked += 1
            levels = self._sides.get((market, side))
            expected = [key for key in (levels or {}).get(price, ()) if key in keys]
            known = [key for key in keys if key in expected]
            if known != expected:
                yield self.violation(
                    f"queue of {market} {side} {price}",
                    found=", ".join("/".join(key) for key in known),
                    expected=", ".join("/".join(key) for key in expected),
                )

    def _head(self, market: MarketId, side: Side) -> tuple[OrderKey, PriceTicks] | None:
        levels = self._sides.get((market, side))
        if not levels:
            return None
        price, queue = levels.peekitem(-1 if side is Side.BUY else 0)
        return next(iter(queue)), price

    def _leave(self, key: OrderKey) -> None:
        where = self._where.pop(key, None)
        if where is not None:
            market, side, price = where
            levels = self._sides[market, side]
            del levels[price][key]
            if not levels[price]:
                del levels[price]
            self._touched.add(market)


def _within(taker: ToldOrder, price: PriceTicks) -> bool:
    if taker.price_ticks is None:
        return True
    return price <= taker.price_ticks if taker.side is Side.BUY else price >= taker.price_ticks


class OrderTypesKeepTheirPromise(Monitor):
    """PRIO-2: IOC never rests, FOK is all or nothing, post-only never takes, nobody trades with itself."""

    invariant = "PRIO-2"

    @on(OrderRested)
    def rested(self, event: OrderRested) -> Found:
        """Only a good-till-cancelled limit order rests."""
        self.checked += 1
        order = self.told.orders.get((event.client, event.order))
        if order is not None and (order.time_in_force is not TimeInForce.GTC or order.price_ticks is None):
            kind = "market" if order.price_ticks is None else order.time_in_force
            yield self.violation(
                f"order {event.client}/{event.order}",
                found=f"{event.left_lots} lots of a {kind} order rest",
                expected="what is left is cancelled",
                evidence=[event],
            )

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> Found:
        """A taker is not post-only, and not its own counterparty."""
        self.checked += 1
        taker = self.told.orders.get((event.taker_client, event.taker_order))
        if taker is not None and taker.post_only:
            yield self.violation(
                f"order {event.taker_client}/{event.taker_order}",
                found=f"a post-only order took {event.size_lots} lots in trade {event.trade}",
                expected="a post-only order never takes",
                evidence=[event],
            )
        unprotected = taker is not None and taker.amended and "amend-resets-self-trade-prevention" in self.conventions
        if event.maker_client == event.taker_client and not unprotected:
            yield self.violation(
                f"trade {event.trade}",
                found=f"{event.maker_client} trades with itself",
                expected="self-trade prevention",
                evidence=[event],
            )

    def view(self, view: View) -> Found:
        """No order of a kind that never rests is shown in the book."""
        for shown in view.orders:
            self.checked += 1
            order = self.told.orders.get((shown.client, shown.order))
            if order is not None and order.time_in_force is not TimeInForce.GTC:
                yield self.violation(
                    f"order {shown.client}/{shown.order}",
                    found=f"{shown.left_lots} lots of a {order.time_in_force} order are in the book",
                    expected="what is left is cancelled",
                    evidence=[shown],
                )

    def after(self, command: Command, answer: Answer) -> Found:
        """A fill-or-kill order that was accepted is filled whole."""
        if not isinstance(command, PlaceOrder) or command.time_in_force is not TimeInForce.FOK:
            return
        self.checked += 1
        filled = sum(
            event.size_lots
            for event in answer.events
            if isinstance(event, TradeExecuted)
            and (event.taker_client, event.taker_order) == (command.client, command.order)
        )
        if filled not in (0, command.size_lots):
            yield self.violation(
                f"order {command.client}/{command.order}",
                found=f"{filled} of {command.size_lots} lots filled",
                expected="all or nothing",
                evidence=[command],
            )
