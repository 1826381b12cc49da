"""PRIO-1: who trades, and at which price."""

from typing import Any

from holdfast_invariants.monitor import Monitor, on
from holdfast_invariants.reckoning import Uncrossed, auction_price
from holdfast_invariants.told import OrderKey, ToldOrder
from holdfast_invariants.told_book import MarketBook
from holdfast_model.vocabulary import (
    Answer,
    AuctionUncrossed,
    Command,
    MarketId,
    OrderAmended,
    OrderRested,
    Phase,
    PriceTicks,
    Side,
    TradeExecuted,
    View,
)

_NO_BOOK = MarketBook()
_TRADING = frozenset({Phase.OPEN, Phase.POST_ONLY})
_BUY = Side.BUY


class PriceTimePriority(Monitor):
    """PRIO-1: the oldest order at the best price trades, at its own price; the book is never crossed.

    The queues are those of the feed (`told.book`), in which orders join at the back when they rest. A call auction
    gathers orders that cross, and trades them at one price: the oldest at the best price of each side.
    """

    invariant = "PRIO-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._crossed: set[MarketId] = set()
        """The books that an order joined so that it crossed the other side, until they may no longer be crossed."""

    @on(OrderRested, plain=1)
    def rested(self, event: OrderRested) -> None:
        """An order joins the back of its queue; only then can its book become crossed."""
        order = self.told.order
        if order is None:
            return
        self.checked += 1
        book = self.told.book.markets.get(order.market)
        if book is None:
            return
        if order.side is _BUY:
            ask = book.asks.best()
            crossed = ask is not None and event.price_ticks >= ask
        else:
            bid = book.bids.best()
            crossed = bid is not None and event.price_ticks <= bid
        if crossed:
            if not self._crossed:
                self.look_at_end(self.uncrossed)
            self._crossed.add(order.market)

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

    @on(AuctionUncrossed)
    def uncrossing(self, event: AuctionUncrossed) -> None:
        """The price is the published rule's; the trades that follow in this market are the auction's."""
        self.checked += 1
        book, market = self.told.book.markets.get(event.market, _NO_BOOK), self.told.markets.get(event.market)
        reference = self.told.triggers.last.get(event.market, market.reference_ticks if market is not None else None)
        expected = auction_price(book.bids.lots(), book.asks.lots(), reference)
        found = Uncrossed(event.price_ticks, event.volume_lots, event.imbalance_lots)
        if found != expected:
            self.report(
                f"auction of {event.market}",
                found=_shown(found),
                expected=f"{_shown(expected)}: the most volume, the least imbalance, nearest to {reference}, lowest",
                evidence=[event],
            )

    @on(TradeExecuted, plain=1)
    def trade(self, event: TradeExecuted) -> None:
        """The maker is the head of the best queue, the price is its price, and within the taker's limit."""
        self.checked += 1
        book = self.told.book.markets.get(event.market, _NO_BOOK)
        queues = book.asks if event.taker_side is _BUY else book.bids
        best = queues.best()
        head = None if best is None else next(iter(queues.levels[best]))
        auction = self.told.book.uncrossing
        if auction is not None and auction.market == event.market:
            self._in_auction(event, book, auction)
        elif head != (event.maker_client, event.maker_order) or best != event.price_ticks:
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
        where = self.told.book.where.get(maker)
        if where is not None and where[1] != event.price_ticks:
            self.report(
                f"price of trade {event.trade}",
                found=str(event.price_ticks),
                expected=f"{where[1]}, the resting order's price",
                evidence=[event],
            )

    def _in_auction(self, event: TradeExecuted, book: MarketBook, auction: AuctionUncrossed) -> None:
        """Both are the oldest at the best price of their side, and neither trades beyond its limit."""
        keys = {(event.maker_client, event.maker_order), (event.taker_client, event.taker_order)}
        heads = {
            next(iter(side.levels[best])) for side in (book.bids, book.asks) if (best := side.best()) is not None
        }
        if keys != heads:
            self.report(
                f"trade {event.trade}",
                found=f"{' and '.join(sorted('/'.join(key) for key in keys))} traded",
                expected=f"{' and '.join(sorted('/'.join(key) for key in heads)) or 'nobody'}, the oldest",
                evidence=[event],
            )
        maker = self.told.maker
        if event.price_ticks != auction.price_ticks or (maker is not None and not _within(maker, event.price_ticks)):
            self.report(
                f"price of trade {event.trade}",
                found=str(event.price_ticks),
                expected=f"{auction.price_ticks}, the auction's price, within the maker's limit",
                evidence=[event],
            )

    def uncrossed(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all in the queues
        """No book is crossed when a command is done and orders may trade; only an order that joins makes it so."""
        if self.told.phase not in _TRADING:
            self.look_at_end(self.uncrossed)
            return
        for market in sorted(self._crossed):
            book = self.told.book.markets.get(market, _NO_BOOK)
            bid, ask = book.bids.best(), book.asks.best()
            if bid is not None and ask is not None and bid >= ask:
                self.report(f"book of {market}", found=f"bid {bid}, ask {ask}", expected="every bid below every ask")
        self._crossed.clear()

    def view(self, view: View) -> None:  # noqa: ARG002 - told.shown has its orders
        """The queues shown are in the order in which the orders came."""
        if self.told.levels_as_told is not None:
            self.checked += self.told.levels_as_told
            return
        levels: dict[tuple[MarketId, Side, PriceTicks], list[OrderKey]] = {}
        for shown, key, _ in self.told.shown:
            levels.setdefault((shown.market, shown.side, shown.price_ticks), []).append(key)
        self.checked += len(levels)
        for (market, side, price), keys in levels.items():
            book = self.told.book.markets.get(market, _NO_BOOK)
            queue = book.side(side).levels.get(price) or ()
            present = set(keys)
            expected = [key for key in queue if key in present]
            known = [key for key in keys if key in queue]
            if known != expected:
                self.report(
                    f"queue of {market} {side} {price}",
                    found=", ".join("/".join(key) for key in known),
                    expected=", ".join("/".join(key) for key in expected),
                )


def _shown(auction: Uncrossed) -> str:
    return f"{auction.volume_lots} lots at {auction.price_ticks}, imbalance {auction.imbalance_lots}"


def _within(taker: ToldOrder, price: PriceTicks) -> bool:
    if taker.price_ticks is None:
        return True
    return price <= taker.price_ticks if taker.side is _BUY else price >= taker.price_ticks
