"""PRIO: who trades, at which price, and what each order type promises."""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Any

from holdfast_invariants.monitor import Monitor, after, on
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

_BUY, _GTC, _FOK = Side.BUY, TimeInForce.GTC, TimeInForce.FOK

_Queue = OrderedDict[OrderKey, None]
"""Orders in the order in which they came: the oldest is found at once, however many left before it."""


class _Queues:
    """The queues of one side of a market, by price. The best price is the lowest once multiplied by `direction`."""

    def __init__(self, direction: int) -> None:
        self.levels: dict[int, _Queue] = {}
        self._direction = direction
        self._best_first: list[int] = []

    def join(self, key: OrderKey, price: PriceTicks) -> _Queue:
        """The queue of the price, with the order at its back."""
        queue = self.levels.get(price)
        if queue is None:
            queue = self.levels[price] = OrderedDict()
            heappush(self._best_first, price * self._direction)
        queue[key] = None
        return queue

    def best(self) -> int | None:
        """The best price at which an order rests. A level that emptied is dropped once it is in front."""
        prices, levels = self._best_first, self.levels
        while prices:
            price = prices[0] * self._direction
            if levels[price]:
                return price
            heappop(prices)
            del levels[price]
        return None


class _Book:
    """The queues of a market."""

    def __init__(self) -> None:
        self.bids = _Queues(-1)
        self.asks = _Queues(1)


class PriceTimePriority(Monitor):
    """PRIO-1: the oldest order at the best price trades, at its own price; the book is never crossed.

    The monitor keeps its own queues, from the events alone: orders join at the back when they rest.
    """

    invariant = "PRIO-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._books: dict[MarketId, _Book] = {market: _Book() for market in self.told.markets}
        self._where: dict[OrderKey, tuple[_Queue, PriceTicks]] = {}
        self._crossed: set[MarketId] = set()
        """The books that an order joined so that it crossed the other side, unless the command goes on to mend it."""

    @on(OrderRested)
    def rested(self, event: OrderRested) -> None:
        """An order joins the back of its queue."""
        order = self.told.order
        if order is not None and order.key not in self._where:
            key, market, price = order.key, order.market, event.price_ticks
            book = self._books.get(market)
            if book is None:
                return
            self.checked += 1
            if order.side is _BUY:
                self._where[key] = (book.bids.join(key, price), price)
                ask = book.asks.best()
                crossed = ask is not None and price >= ask
            else:
                self._where[key] = (book.asks.join(key, price), price)
                bid = book.bids.best()
                crossed = bid is not None and price <= bid
            if crossed:
                self._crossed.add(market)

    @on(OrderCancelled, OrderFilled)
    def gone(self, event: OrderCancelled | OrderFilled) -> None:  # noqa: ARG002 - told.key is the order's
        """An order leaves its queue."""
        self._leave(self.told.key)

    @on(OrderAmended)
    def amended(self, event: OrderAmended) -> None:
        """Only a smaller size at the same price keeps the place in the queue."""
        self.checked += 1
        order = self.told.order
        if order is None:
            return
        deserved = (
            event.price_ticks == order.price_ticks
            and event.size_lots <= order.size_lots
            and "amend-loses-priority" not in self.conventions
        )
        if event.priority_kept and not deserved:
            self.report(
                f"order {'/'.join(order.key)}",
                found=f"it keeps its place with {event.size_lots} lots at {event.price_ticks}",
                expected=f"the back of the queue: it was {order.size_lots} lots at {order.price_ticks}",
                evidence=[event],
            )
        if not event.priority_kept:
            self._leave(order.key)

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> None:
        """The maker is the head of the best queue, the price is its price, and within the taker's limit."""
        self.checked += 1
        book = self._books.get(event.market)
        if book is not None:
            queues = book.asks if event.taker_side is _BUY else book.bids
            best = queues.best()
            head = None if best is None else next(iter(queues.levels[best]))
            if head != (event.maker_client, event.maker_order) or best != event.price_ticks:
                self._out_of_turn(event, head, best)
        taker = self.told.taker
        if taker is not None and not _within(taker, event.price_ticks):
            self.report(
                f"price of trade {event.trade} for its taker",
                found=str(event.price_ticks),
                expected=f"no worse than the limit {taker.price_ticks}",
                evidence=[event],
            )

    def _out_of_turn(self, event: TradeExecuted, head: OrderKey | None, best: int | None) -> None:
        maker = (event.maker_client, event.maker_order)
        if head != maker:
            self.report(
                f"trade {event.trade}",
                found=f"order {'/'.join(maker)} traded",
                expected=f"order {'/'.join(head)} at {best}, the oldest at the best price" if head else "nobody",
                evidence=[event],
            )
        where = self._where.get(maker)
        if where is not None and where[1] != event.price_ticks:
            self.report(
                f"price of trade {event.trade}",
                found=str(event.price_ticks),
                expected=f"{where[1]}, the resting order's price",
                evidence=[event],
            )

    @after()
    def uncrossed(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all in the queues
        """No book is crossed when a command is done; it can only become so when an order joins it."""
        if not self._crossed:
            return
        for market in sorted(self._crossed):
            book = self._books[market]
            bid, ask = book.bids.best(), book.asks.best()
            if bid is not None and ask is not None and bid >= ask:
                self.report(f"book of {market}", found=f"bid {bid}, ask {ask}", expected="every bid below every ask")
        self._crossed.clear()

    def view(self, view: View) -> None:  # noqa: ARG002 - told.shown has its orders
        """The queues shown are in the order in which the orders came."""
        levels: dict[tuple[MarketId, Side, PriceTicks], list[OrderKey]] = {}
        for shown, key, _ in self.told.shown:
            levels.setdefault((shown.market, shown.side, shown.price_ticks), []).append(key)
        self.checked += len(levels)
        for (market, side, price), keys in levels.items():
            book = self._books.get(market)
            if book is None:
                continue
            queue = (book.bids if side is _BUY else book.asks).levels.get(price) or ()
            present = set(keys)
            expected = [key for key in queue if key in present]
            known = [key for key in keys if key in queue]
            if known != expected:
                self.report(
                    f"queue of {market} {side} {price}",
                    found=", ".join("/".join(key) for key in known),
                    expected=", ".join("/".join(key) for key in expected),
                )

    def _leave(self, key: OrderKey) -> None:
        where = self._where.pop(key, None)
        if where is not None:
            del where[0][key]


def _within(taker: ToldOrder, price: PriceTicks) -> bool:
    if taker.price_ticks is None:
        return True
    return price <= taker.price_ticks if taker.side is _BUY else price >= taker.price_ticks


class OrderTypesKeepTheirPromise(Monitor):
    """PRIO-2: IOC never rests, FOK is all or nothing, post-only never takes, nobody trades with itself."""

    invariant = "PRIO-2"

    @on(OrderRested)
    def rested(self, event: OrderRested) -> None:
        """Only a good-till-cancelled limit order rests."""
        self.checked += 1
        order = self.told.order
        if order is not None and (order.time_in_force is not _GTC or order.price_ticks is None):
            kind = "market" if order.price_ticks is None else order.time_in_force
            self.report(
                f"order {event.client}/{event.order}",
                found=f"{event.left_lots} lots of a {kind} order rest",
                expected="what is left is cancelled",
                evidence=[event],
            )

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> None:
        """A taker is not post-only, and not its own counterparty."""
        self.checked += 1
        taker = self.told.taker
        if taker is not None and taker.post_only:
            self.report(
                f"order {event.taker_client}/{event.taker_order}",
                found=f"a post-only order took {event.size_lots} lots in trade {event.trade}",
                expected="a post-only order never takes",
                evidence=[event],
            )
        if event.maker_client == event.taker_client and not self._unprotected(taker):
            self.report(
                f"trade {event.trade}",
                found=f"{event.maker_client} trades with itself",
                expected="self-trade prevention",
                evidence=[event],
            )

    def _unprotected(self, taker: ToldOrder | None) -> bool:
        return taker is not None and taker.amended and "amend-resets-self-trade-prevention" in self.conventions

    def view(self, view: View) -> None:
        """No order of a kind that never rests is shown in the book."""
        self.checked += len(view.orders)
        for shown, _, order in self.told.shown:
            if order is not None and order.time_in_force is not _GTC:
                self.report(
                    f"order {shown.client}/{shown.order}",
                    found=f"{shown.left_lots} lots of a {order.time_in_force} order are in the book",
                    expected="what is left is cancelled",
                    evidence=[shown],
                )

    @after(PlaceOrder)
    def filled_whole(self, command: PlaceOrder, answer: Answer) -> None:
        """A fill-or-kill order that was accepted is filled whole."""
        if command.time_in_force is not _FOK:
            return
        self.checked += 1
        filled = sum(
            event.size_lots
            for event in answer.events
            if isinstance(event, TradeExecuted)
            and (event.taker_client, event.taker_order) == (command.client, command.order)
        )
        if filled not in (0, command.size_lots):
            self.report(
                f"order {command.client}/{command.order}",
                found=f"{filled} of {command.size_lots} lots filled",
                expected="all or nothing",
                evidence=[command],
            )
