"""The order book of one market: price-time priority, and what a taker would meet in it.

A price is a level; a level is a queue in order of arrival. Levels stand in a `SortedDict`, queues in
insertion-ordered dicts, so that the best price is found in O(log levels), any order in its queue in O(1).
"""

from collections.abc import Iterator
from enum import Enum, auto

from msgspec import Struct
from sortedcontainers import SortedDict

from holdfast_engine.order import Order
from holdfast_model.vocabulary import ClientId, OrderId, PriceTicks, SelfTrade, Side, SizeLots

OrderKey = tuple[ClientId, OrderId]


class StepKind(Enum):
    """What happens when a taker meets a resting order."""

    TRADE = auto()
    CANCEL_MAKER = auto()
    DECREMENT = auto()


class MatchStep(Struct, frozen=True):
    """One meeting of a taker with a resting order; `lots` are traded or taken off both."""

    kind: StepKind
    maker: Order
    lots: SizeLots


class MatchPlan(Struct, frozen=True):
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
            if step.kind is StepKind.TRADE and step.maker.price_ticks is not None
        ]

    @property
    def traded(self) -> int:
        """The lots that would trade."""
        return sum(step.lots for step in self.steps if step.kind is StepKind.TRADE)


class Book:
    """The resting orders of one market."""

    def __init__(self) -> None:
        self._levels: dict[Side, SortedDict[PriceTicks, dict[OrderKey, Order]]] = {
            Side.BUY: SortedDict(),
            Side.SELL: SortedDict(),
        }

    def add(self, order: Order) -> None:
        """Put an order at the back of its price's queue."""
        assert order.price_ticks is not None, "a market order never rests"
        levels = self._levels[order.side]
        queue = levels.get(order.price_ticks)
        if queue is None:
            queue = levels[order.price_ticks] = {}
        assert order.key not in queue, f"{order.key} rests already"
        queue[order.key] = order

    def remove(self, order: Order) -> None:
        """Take an order out of its queue."""
        assert order.price_ticks is not None, "a market order never rests"
        levels = self._levels[order.side]
        queue = levels[order.price_ticks]
        del queue[order.key]
        if not queue:
            del levels[order.price_ticks]

    def best_price(self, side: Side) -> PriceTicks | None:
        """The highest bid or the lowest ask; None where the side is empty."""
        levels = self._levels[side]
        if not levels:
            return None
        price: PriceTicks = levels.peekitem(-1 if side is Side.BUY else 0)[0]
        return price

    def orders(self, side: Side) -> Iterator[Order]:
        """The orders of one side in the order in which a taker meets them: best price first, then oldest first."""
        levels = self._levels[side]
        for price in reversed(levels) if side is Side.BUY else levels:
            yield from self.queue(levels[price])

    def queue(self, level: dict[OrderKey, Order]) -> Iterator[Order]:
        """The orders of one price in the order in which a taker meets them: oldest first."""
        return iter(level.values())

    def crosses(self, side: Side, price: PriceTicks | None) -> bool:
        """Whether an order of this side and price would meet a resting order at once (None: a market order)."""
        best = self.best_price(side.opposite)
        if best is None:
            return False
        return price is None or (best <= price if side is Side.BUY else best >= price)

    def plan(
        self, *, client: ClientId | None, side: Side, price: PriceTicks | None, size: SizeLots, self_trade: SelfTrade
    ) -> MatchPlan:
        """What an incoming order would meet. Nothing is changed.

        The taker's self-trade mode decides what happens at an order of its own client (None: there is no such).
        """
        left: int = size
        if not self.crosses(side, price):
            return MatchPlan((), size, taker_cancelled=False)
        steps: list[MatchStep] = []
        for maker in self.orders(side.opposite):
            assert maker.price_ticks is not None
            if not left or not self.acceptable(side, price, maker.price_ticks):
                break
            lots = SizeLots(min(left, maker.left_lots))
            if maker.client != client:
                steps.append(MatchStep(StepKind.TRADE, maker, lots))
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
        return limit is None or (price <= limit if side is Side.BUY else price >= limit)
