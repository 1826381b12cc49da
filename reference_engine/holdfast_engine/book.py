"""The order book of one market: price-time priority, and what a taker would meet in it.

A price is a level; a level is a queue in order of arrival. Levels stand in a `SortedDict`, queues in
insertion-ordered dicts. The best price is kept at hand, because every order asks for it: finding it and any order in
its queue is O(1), a new or emptied level O(log levels).
"""

from collections.abc import Iterator
from enum import Enum, auto
from itertools import islice

from msgspec import Struct
from sortedcontainers import SortedDict

from holdfast_engine.order import Order
from holdfast_model.vocabulary import ClientId, PriceTicks, SelfTrade, Side, SizeLots

# The members of an enum take as long to look up as all else that is done with them.
BUY, SELL = Side.BUY, Side.SELL

Queue = dict[int, Order]
"""The orders of one price by `Order.accepted`, in order of arrival."""


class StepKind(Enum):
    """What happens when a taker meets a resting order."""

    TRADE = auto()
    CANCEL_MAKER = auto()
    DECREMENT = auto()


TRADE = StepKind.TRADE


class MatchStep(Struct, frozen=True, gc=False):
    """One meeting of a taker with a resting order; `lots` are traded or taken off both."""

    kind: StepKind
    maker: Order
    lots: SizeLots


class MatchPlan(Struct, frozen=True, gc=False):
    """All that a taker would meet, in order, without anything done yet.

    `left` is what the taker then has left; `taker_cancelled` says that self-trade prevention ends it there.
    """

    steps: tuple[MatchStep, ...]
    left: SizeLots
    taker_cancelled: bool

    @property
    def fills(self) -> list[tuple[PriceTicks, SizeLots]]:
        """The price and lots of each trade there would be."""
        return [
            (step.maker.price_ticks, step.lots)
            for step in self.steps
            if step.kind is TRADE and step.maker.price_ticks is not None
        ]

    @property
    def traded(self) -> int:
        """The lots that would trade."""
        return sum(step.lots for step in self.steps if step.kind is TRADE)


class Ladder:
    """The price levels of one side, with the best price at hand (None: there is no level)."""

    __slots__ = ("_best_place", "best", "levels")

    def __init__(self, side: Side) -> None:
        self._best_place = -1 if side is BUY else 0
        self.levels: SortedDict[PriceTicks, Queue] = SortedDict()
        self.best: PriceTicks | None = None

    def add(self, order: Order) -> None:
        """Put an order at the back of its price's queue."""
        assert order.price_ticks is not None, "a market order never rests"
        queue = self.levels.get(order.price_ticks)
        if queue is None:
            queue = self.levels[order.price_ticks] = {}
            self._find_best()
        assert order.accepted not in queue, f"{order.key} rests already"
        queue[order.accepted] = order

    def remove(self, order: Order) -> None:
        """Take an order out of its queue."""
        price = order.price_ticks
        queue = self.levels[price]
        del queue[order.accepted]
        if not queue:
            del self.levels[price]
            if price == self.best:
                self._find_best()

    def _find_best(self) -> None:
        self.best = self.levels.peekitem(self._best_place)[0] if self.levels else None

    def beyond_best(self) -> Iterator[Queue]:
        """The queues of all levels but the best, the better first."""
        prices = reversed(self.levels) if self._best_place else iter(self.levels)
        return (self.levels[price] for price in islice(prices, 1, None))


class Book:
    """The resting orders of one market."""

    def __init__(self) -> None:
        bids, asks = Ladder(BUY), Ladder(SELL)
        self._ladders = {BUY: bids, SELL: asks}
        self._facing = {BUY: asks, SELL: bids}

    def add(self, order: Order) -> None:
        """Put an order at the back of its price's queue."""
        self._ladders[order.side].add(order)

    def remove(self, order: Order) -> None:
        """Take an order out of its queue."""
        self._ladders[order.side].remove(order)

    def best_price(self, side: Side) -> PriceTicks | None:
        """The highest bid or the lowest ask; None where the side is empty."""
        return self._ladders[side].best

    def orders(self, side: Side) -> Iterator[Order]:
        """The orders of one side in the order in which a taker meets them: best price first, then oldest first."""
        ladder = self._ladders[side]
        if ladder.best is not None:
            yield from self.queue(ladder.levels[ladder.best])
            for level in ladder.beyond_best():
                yield from self.queue(level)

    def queue(self, level: Queue) -> Iterator[Order]:
        """The orders of one price in the order in which a taker meets them: oldest first."""
        return iter(level.values())

    def crosses(self, side: Side, price: PriceTicks | None) -> bool:
        """Whether an order of this side and price would meet a resting order at once (None: a market order)."""
        best = self._facing[side].best
        if best is None:
            return False
        return price is None or (best <= price if side is BUY else best >= price)

    def plan(
        self, *, client: ClientId | None, side: Side, price: PriceTicks | None, size: SizeLots, self_trade: SelfTrade
    ) -> MatchPlan:
        """What an incoming order would meet. Nothing is changed.

        The taker's self-trade mode decides what happens at an order of its own client (None: there is no such).
        """
        if not self.crosses(side, price):
            return MatchPlan((), size, False)  # noqa: FBT003 - by name it takes twice as long
        left: int = size
        at: PriceTicks | None = None
        steps: list[MatchStep] = []
        for maker in self.orders(SELL if side is BUY else BUY):
            if not left:
                break
            if maker.price_ticks != at:
                at = maker.price_ticks
                assert at is not None
                if not self.acceptable(side, price, at):
                    break
            lots = maker.left_lots if maker.left_lots < left else SizeLots(left)
            if maker.client != client:
                steps.append(MatchStep(TRADE, maker, lots))
                left -= lots
                continue
            match self_trade:
                case SelfTrade.CANCEL_NEWEST:
                    return MatchPlan(tuple(steps), SizeLots(left), taker_cancelled=True)
                case SelfTrade.CANCEL_OLDEST:
                    steps.append(MatchStep(StepKind.CANCEL_MAKER, maker, SizeLots(0)))
                case SelfTrade.CANCEL_BOTH:
                    steps.append(MatchStep(StepKind.CANCEL_MAKER, maker, SizeLots(0)))
                    return MatchPlan(tuple(steps), SizeLots(left), taker_cancelled=True)
                case SelfTrade.DECREMENT:
                    steps.append(MatchStep(StepKind.DECREMENT, maker, lots))
                    left -= lots
        return MatchPlan(tuple(steps), SizeLots(left), taker_cancelled=False)

    def acceptable(self, side: Side, limit: PriceTicks | None, price: PriceTicks) -> bool:
        """Whether a taker of this side and limit may trade at the price."""
        return limit is None or (price <= limit if side is BUY else price >= limit)
