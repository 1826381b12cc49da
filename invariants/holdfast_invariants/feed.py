"""SEQ: the public feed has no gap, and the book that it gives is the book."""

from itertools import zip_longest

from holdfast_invariants.monitor import Monitor, before, on
from holdfast_invariants.told import ToldOrder
from holdfast_model.vocabulary import (
    Answer,
    Command,
    MarketId,
    OpenOrder,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    Side,
    TradeExecuted,
    View,
)


class FeedGivesTheBook(Monitor):
    """SEQ-1: numbers rise without a gap, and the book rebuilt from the feed alone is the book that is shown.

    Level by level, order by order in the order of the queue, with what is left of each.
    """

    invariant = "SEQ-1"

    @before(plain=1)
    def asked(self, command: Command, answer: Answer) -> None:
        """Each command decided has the next number, but for those whose outcome nobody was told."""
        if answer.seq is None:
            return
        self.checked += 1
        last = self.told.seq
        if not last < answer.seq <= last + 1 + len(self.told.unknown):
            self.report(
                f"sequence number {answer.seq}",
                found=f"{answer.seq} after {last}",
                expected=f"{last + 1}: numbers rise by one",
                evidence=[command],
            )

    @on(TradeExecuted, plain=1)
    def trade(self, event: TradeExecuted) -> None:
        """Trades are numbered without a gap."""
        self.checked += 1
        if event.trade != self.told.trade + 1 and not self.told.unknown:
            self.report(
                f"trade number {event.trade}",
                found=f"{event.trade} after {self.told.trade}",
                expected=f"{self.told.trade + 1}: trade numbers rise by one",
                evidence=[event],
            )

    @on(OrderRested, OrderCancelled, plain=1)
    def left(self, event: OrderRested | OrderCancelled) -> None:
        """What is said to be left of an order is what the feed left of it."""
        order = self.told.order
        if order is None or order.status.terminal:
            return
        self.checked += 1
        if event.left_lots != order.left_lots:
            self._miscounted(event, event.left_lots, order)

    @on(OrderFilled, plain=1)
    def filled(self, event: OrderFilled) -> None:
        """Nothing is left of an order that is filled."""
        order = self.told.order
        if order is None or order.status.terminal:
            return
        self.checked += 1
        if order.left_lots:
            self._miscounted(event, 0, order)

    @on(OrderReduced, OrderAmended)
    def resized(self, event: OrderReduced | OrderAmended) -> None:
        """What is left after a change of size is the size less what was filled."""
        order = self.told.order
        if order is None or order.status.terminal:
            return
        self.checked += 1
        expected = event.size_lots - order.filled_lots
        if event.left_lots != expected:
            self.report(
                f"order {event.client}/{event.order}",
                found=f"{event.left_lots} lots are left of {event.size_lots}",
                expected=f"{expected}: {order.filled_lots} are filled",
                evidence=[event],
            )

    def _miscounted(self, event: OrderRested | OrderCancelled | OrderFilled, left: int, order: ToldOrder) -> None:
        self.report(
            f"order {event.client}/{event.order}",
            found=f"{left} lots are left of it, says {type(event).__name__}",
            expected=f"{order.left_lots}, after all that the feed told of it",
            evidence=[event],
        )

    def view(self, view: View) -> None:
        """The book shown is the book that the feed gives."""
        if self.told.levels_as_told is not None:
            self.checked += len(self.told.markets) * len(Side)
            return
        shown: dict[tuple[MarketId, Side], list[OpenOrder]] = {}
        for order in view.orders:
            shown.setdefault((order.market, order.side), []).append(order)
        for market in self.told.markets:
            for side in Side:
                self.checked += 1
                self._side(market, side, shown.get((market, side), []))

    def _side(self, market: MarketId, side: Side, shown: list[OpenOrder]) -> None:
        book = self.told.book.markets.get(market)
        told = book.side(side).orders() if book is not None else ()
        for place, (now, order) in enumerate(zip_longest(shown, told), start=1):
            found = f"{now.client}/{now.order}: {now.left_lots} at {now.price_ticks}" if now is not None else "nobody"
            expected = (
                f"{order.client}/{order.order}: {order.left_lots} at {order.price_ticks}"
                if order is not None
                else "nobody"
            )
            if found != expected:
                self.report(
                    f"book of {market} {side}",
                    found=f"in place {place} is {found}",
                    expected=f"{expected}, by the feed",
                )
                return
