"""The call auction: orders gather without trading, and then trade at one published price.

Source: the opening auctions of Euronext, Xetra and the NYSE, which publish the same rule: the most volume, then the
least imbalance, then the nearest to a reference.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate

from msgspec import Struct

from holdfast_engine.book import Book, MatchStep, StepKind
from holdfast_engine.core import Evolvers
from holdfast_engine.order import Order
from holdfast_engine.triggers import Triggers
from holdfast_model.vocabulary import (
    AuctionUncrossed,
    CancelReason,
    MarketId,
    Phase,
    PriceTicks,
    Setup,
    Side,
    SizeLots,
)

Levels = Mapping[PriceTicks, int]
"""The lots of one side of a book by limit price."""


class Uncross(Struct, frozen=True):
    """At which price an auction ends, what trades there, and what buyers want beyond what sellers offer."""

    price: PriceTicks
    volume: int
    imbalance: int


def uncross_price(bids: Levels, asks: Levels, reference: PriceTicks | None) -> Uncross | None:
    """The price that maximises the volume, then has the least imbalance, is nearest to the reference, is lowest.

    None where no bid meets an ask. Between two neighbouring limit prices nothing changes but the distance to the
    reference, so that it is enough to look at each limit price, at the ticks beside it, and at the reference.
    Complexity: O(n log n) in the number of limit prices.

    >>> uncross_price({10: 5, 9: 5}, {8: 4, 9: 2, 11: 3}, reference=None)
    Uncross(price=9, volume=6, imbalance=4)
    >>> uncross_price({10: 5}, {6: 5}, reference=8), uncross_price({10: 5}, {6: 5}, reference=None)
    (Uncross(price=8, volume=5, imbalance=0), Uncross(price=6, volume=5, imbalance=0))
    >>> uncross_price({9: 5}, {10: 5}, reference=9) is None
    True
    """
    if not bids or not asks or max(bids) < min(asks):
        return None
    wanted, offered = sorted(bids), sorted(asks)
    wanted_sums = [0, *accumulate(bids[price] for price in wanted)]
    offered_sums = [0, *accumulate(asks[price] for price in offered)]

    def at(price: PriceTicks) -> Uncross:
        demand = wanted_sums[-1] - wanted_sums[bisect_left(wanted, price)]
        supply = offered_sums[bisect_right(offered, price)]
        return Uncross(price, min(demand, supply), demand - supply)

    candidates = {near for price in (*wanted, *offered) for near in (price - 1, price, price + 1)}
    centre = 0 if reference is None else reference
    return min(
        (at(PriceTicks(price)) for price in (*candidates, centre) if offered[0] <= price <= wanted[-1]),
        key=lambda end: (
            -end.volume,
            abs(end.imbalance),
            0 if reference is None else abs(end.price - centre),
            end.price,
        ),
    )


class Auction(Triggers):
    """What happens when an auction begins and ends."""

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {AuctionUncrossed: cls._unchanged}

    def crossed(self, market: MarketId) -> bool:
        """Whether a bid and an ask of the market could trade: only in an auction, or where one was called off."""
        book = self.books[market]
        bid = book.best_price(Side.BUY)
        return bid is not None and book.crosses(Side.BUY, bid)

    def uncrossing_allows(self, phase: Phase) -> bool:
        """Whether crossed books let the venue go to a phase.

        An auction ends where every market with a crossed book can trade; without an auction none may be crossed where
        orders rest or trade.
        """
        crossed = [market for market in self.markets if self.crossed(market)]
        if self.phase is Phase.AUCTION:
            return phase not in {Phase.OPEN, Phase.CLOSED} or not any(
                self.markets[market].product in self.restricted for market in crossed
            )
        return phase not in {Phase.OPEN, Phase.POST_ONLY} or not crossed

    def begin_auction(self) -> None:
        """Cancel the resting orders that an auction cannot take along: what they may trade depends on a position."""
        reducing = [order for order in self.orders_of() if order.reduce_only and order.key not in self.waiting]
        self.cancel_each(reducing, CancelReason.REDUCE_ONLY)

    def end_auction(self) -> None:
        """Uncross each market, in the order of ids."""
        for market in sorted(self.markets):
            self.uncross(market)

    def uncross(self, market: MarketId) -> None:
        """Publish a market's auction price and trade there."""
        end = self.uncross_at(market)
        self.emit(
            AuctionUncrossed(
                market=market,
                price_ticks=None if end is None else end.price,
                volume_lots=SizeLots(0 if end is None else end.volume),
                imbalance_lots=SizeLots(0 if end is None else end.imbalance),
            )
        )
        if end is not None:
            for pair in self._pairs(self.books[market], end.price):
                self._trade_or_decrement(*pair, end.price)

    def uncross_at(self, market: MarketId) -> Uncross | None:
        """How a market's auction ends by the published rule."""
        book = self.books[market]
        bids, asks = book.lots_by_price(Side.BUY), book.lots_by_price(Side.SELL)
        return uncross_price(bids, asks, self.last_trades.get(market, self.markets[market].reference_ticks))

    def uncross_queue(self, book: Book, side: Side) -> list[Order]:
        """One side's orders in the order in which they trade in an auction: best price first, then oldest first."""
        return list(book.orders(side))

    def _pairs(self, book: Book, price: PriceTicks) -> Iterator[tuple[Order, Order]]:
        """The bids and asks that meet at a price, pair by pair; each pair must be done with before the next."""
        bids, asks = (
            [order for order in self.uncross_queue(book, side) if book.acceptable(side, order.price_ticks, price)]
            for side in (Side.BUY, Side.SELL)
        )
        bid, ask = 0, 0
        while bid < len(bids) and ask < len(asks):
            yield bids[bid], asks[ask]
            bid += not bids[bid].left_lots
            ask += not asks[ask].left_lots

    def _trade_or_decrement(self, bid: Order, ask: Order, price: PriceTicks) -> None:
        """Trade, the later accepted order being the taker; two orders of one client lose the smaller size instead."""
        lots = SizeLots(min(bid.left_lots, ask.left_lots))
        maker, taker = sorted((bid, ask), key=lambda order: order.accepted)
        if maker.client == taker.client:
            self.decrement(maker, lots)
            self.decrement(taker, lots)
        else:
            self.trade(taker, MatchStep(StepKind.TRADE, maker, lots, price))
