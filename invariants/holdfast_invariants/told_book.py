"""The books as the public feed tells them: who stands where in which queue."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from holdfast_model.vocabulary import (
    Answer,
    AuctionUncrossed,
    ClientId,
    MarketId,
    OpenOrder,
    OrderId,
    PriceTicks,
    SetPhase,
    Side,
    StopArmed,
    StopTriggered,
    TimeInForce,
)

if TYPE_CHECKING:
    from holdfast_invariants.told import ToldOrder

_BUY = Side.BUY
RESTING_KINDS = frozenset({TimeInForce.GTC, TimeInForce.GTT})
"""The kinds of orders of which something may rest."""

OrderKey = tuple[ClientId, OrderId]
Queue = OrderedDict[OrderKey, "ToldOrder"]
"""Orders in the order in which they came: the oldest is found at once, however many left before it."""


class Queues:
    """The queues of one side of a market, by price. The best price is the lowest once multiplied by `direction`."""

    def __init__(self, direction: int) -> None:
        self.levels: dict[int, Queue] = {}
        self._direction = direction
        self._best_first: list[int] = []

    def begin(self, price: PriceTicks) -> Queue:
        """A queue at a price at which there is none."""
        queue = self.levels[price] = OrderedDict()
        heappush(self._best_first, price * self._direction)
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

    def prices(self) -> list[int]:
        """The prices at which orders rest, the best first: costs as much as there are."""
        return sorted(
            (price for price in self.levels if self.levels[price]), key=lambda price: price * self._direction
        )

    def lots(self) -> dict[int, int]:
        """The lots that rest at each price."""
        return {
            price: sum(order.left_lots for order in queue.values()) for price, queue in self.levels.items() if queue
        }

    def orders(self) -> Iterator["ToldOrder"]:
        """The orders: best price first, then in the order in which they came."""
        for price in self.prices():
            yield from self.levels[price].values()


class MarketBook:
    """The queues of a market."""

    def __init__(self) -> None:
        self.bids = Queues(-1)
        self.asks = Queues(1)

    def side(self, side: Side) -> Queues:
        """The queues of one side."""
        return self.bids if side is _BUY else self.asks

    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bid, ask = self.bids.best(), self.asks.best()
        return bid is not None and ask is not None and bid >= ask


class ToldBook:
    """The books of all markets, folded from events; orders join at the back when they rest.

    It shares the orders of the record that it is a part of.
    """

    def __init__(self, orders: Mapping[OrderKey, "ToldOrder"]) -> None:
        self._orders = orders
        self.markets: dict[MarketId, MarketBook] = {}
        """The books by market; none for a market in which no order ever rested."""
        self.where: dict[OrderKey, tuple[Queue, PriceTicks]] = {}
        """The queue and the price of each order that rests."""
        self.open: dict[ClientId, dict[OrderKey, ToldOrder]] = {}
        """Resting orders and waiting stops by client."""
        self.uncrossing: AuctionUncrossed | None = None
        """The auction whose trades are told now."""

    def appliers(self) -> Mapping[type, Callable[[Any], None]]:
        """What folds events of stops and auctions; `join` and `leave` are called where an order rests or ends."""
        return {
            StopArmed: self._on_armed,
            StopTriggered: self._on_triggered,
            AuctionUncrossed: self._on_uncrossed,
        }

    def levels_if_shown(self, shown: Sequence[OpenOrder], resting: Mapping[OrderKey, "ToldOrder"]) -> int | None:
        """How many levels there are, if just what rests is shown, in the order of the queues; None where it is not.

        Then nothing is to be said of any order shown, as far as its book is concerned: it is the one told, with what
        was told to be left of it at its price, of a kind that may rest, and no fill of it was taken back.
        """
        if len(shown) != len(resting):
            return None
        levels, orders = 0, iter(shown)
        for market in sorted(self.markets):
            for queues in (self.markets[market].bids, self.markets[market].asks):
                for price in queues.prices():
                    levels += 1
                    for key, told in queues.levels[price].items():
                        now = next(orders, None)
                        if (
                            now is None
                            or now.order != told.order
                            or now.client != told.client
                            or now.left_lots != told.left_lots
                            or now.price_ticks != price
                            or price != told.price_ticks
                            or now.size_lots != told.size_lots
                            or now.side is not told.side
                            or now.market != market
                            or told.market != market
                            or told.size_lots - told.left_lots < told.filled_lots
                            or told.time_in_force not in RESTING_KINDS
                            or resting.get(key) is not told
                            or self._orders.get(key) is not told
                            or told.status.terminal
                        ):
                            return None
        return levels if next(orders, None) is None else None

    def crossed(self, market: MarketId) -> bool:
        """Whether the best bid of a market is at or above its best ask."""
        book = self.markets.get(market)
        return book is not None and book.crossed()

    def join(self, order: "ToldOrder", price: PriceTicks) -> None:
        """An order rests: at the back of its price's queue, unless it stands in one."""
        key = order.key
        if key in self.where:
            return
        book = self.markets.get(order.market)
        if book is None:
            book = self.markets[order.market] = MarketBook()
        queues = book.bids if order.side is _BUY else book.asks
        queue = queues.levels.get(price)
        if queue is None:
            queue = queues.begin(price)
        queue[key] = order
        self.where[key] = (queue, price)
        try:
            self.open[key[0]][key] = order
        except KeyError:
            self.open[key[0]] = {key: order}

    def leave(self, key: OrderKey) -> None:
        """An order is open no longer, or loses its place."""
        opened = self.open.get(key[0])
        if opened is not None:
            opened.pop(key, None)
        where = self.where.pop(key, None)
        if where is not None:
            del where[0][key]

    def _on_armed(self, event: StopArmed) -> None:
        order = self._orders.get((event.client, event.order))
        if order is not None:
            self.open.setdefault(order.client, {})[order.key] = order

    def _on_triggered(self, event: StopTriggered) -> None:
        """Stops are triggered once the auctions are done: what trades now is not the auction's."""
        self.uncrossing = None
        self.leave((event.client, event.order))

    def _on_uncrossed(self, event: AuctionUncrossed) -> None:
        self.uncrossing = event

    def opened(self, command: SetPhase, answer: Answer) -> None:  # noqa: ARG002 - the auctions are done
        """What trades from now on trades in the book."""
        self.uncrossing = None
