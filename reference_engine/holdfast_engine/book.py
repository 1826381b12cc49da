"""The order book of one market: price-time priority, and what a taker would meet in it.

A price is a level; a level is a queue in order of arrival. Prices stand in a `SortedList`, queues are
insertion-ordered dicts. The best price is kept at hand, because every order asks for it: finding it and any order in
its queue is O(1), a new or emptied level O(log levels).
"""

from collections.abc import Callable, Iterator
from enum import Enum, auto
from itertools import islice

from msgspec import Struct
from sortedcontainers import SortedList

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
    NOTHING_TO_REDUCE = auto()


TRADE = StepKind.TRADE


class MatchStep(Struct, frozen=True, gc=False):
    """One meeting of a taker with a resting order; `lots` are traded or taken off both.

    `price` is that of a trade in an auction; any other trade is at the resting order's.
    """

    kind: StepKind
    maker: Order
    lots: SizeLots
    price: PriceTicks | None = None


class MatchPlan(Struct, frozen=True, gc=False):
    """All that a taker would meet, in order, without anything done yet.

    `left` is what the taker then has left; `taker_cancelled` says that self-trade prevention ends it there, `reduced`
    that it is reduce-only, has no position left to reduce, and could trade on.
    """

    steps: tuple[MatchStep, ...]
    left: SizeLots
    taker_cancelled: bool
    reduced: bool = False

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

    __slots__ = ("_best_place", "_prices", "best", "levels")

    def __init__(self, side: Side) -> None:
        self._best_place = -1 if side is BUY else 0
        self._prices: SortedList[PriceTicks] = SortedList()
        self.levels: dict[PriceTicks, Queue] = {}
        self.best: PriceTicks | None = None

    def add(self, order: Order) -> None:
        """Put an order at the back of its price's queue."""
        assert order.price_ticks is not None, "a market order never rests"
        queue = self.levels.get(order.price_ticks)
        if queue is None:
            queue = self.levels[order.price_ticks] = {}
            self._prices.add(order.price_ticks)
            self.best = self._prices[self._best_place]
        assert order.accepted not in queue, f"{order.key} rests already"
        queue[order.accepted] = order

    def remove(self, order: Order) -> None:
        """Take an order out of its queue."""
        price = order.price_ticks
        assert price is not None, "a market order never rests"
        queue = self.levels[price]
        del queue[order.accepted]
        if not queue:
            del self.levels[price]
            self._prices.remove(price)
            if price == self.best:
                self.best = self._prices[self._best_place] if self._prices else None

    def beyond_best(self) -> Iterator[Queue]:
        """The queues of all levels but the best, the better first."""
        prices = reversed(self._prices) if self._best_place else iter(self._prices)
        return (self.levels[price] for price in islice(prices, 1, None))


class Reduction(Struct, frozen=True):
    """What a plan must know where reduce-only orders meet.

    `reducible` tells how many lots of its owner's position an order could close now; `room` is that of the taker,
    None where the taker is not reduce-only.
    """

    reducible: Callable[[Order], int]
    room: int | None


class Bounds:
    """How far reduce-only orders may still trade, while a plan is made in which their owners' positions change.

    All resting orders that a taker meets stand on one side, so that whatever an owner's earlier ones trade takes away
    from what its later ones may reduce.
    """

    def __init__(self, reduction: Reduction) -> None:
        self._reducible = reduction.reducible
        self._room = reduction.room
        self._traded: dict[ClientId, int] = {}

    @property
    def exhausted(self) -> bool:
        """Whether the taker is reduce-only and has nothing left to reduce."""
        return self._room is not None and self._room <= 0

    def take(self, maker: Order, lots: SizeLots) -> SizeLots:
        """The lots of at most these that the two may trade, which they then do; none where the maker may not."""
        if self._room is not None:
            lots = SizeLots(min(lots, self._room))
        if maker.reduce_only:
            reducible = self._reducible(maker) - self._traded.get(maker.client, 0)
            lots = SizeLots(max(0, min(lots, reducible)))
        if self._room is not None:
            self._room -= lots
        self._traded[maker.client] = self._traded.get(maker.client, 0) + lots
        return lots


class Book:
    """The resting orders of one market; `reducing` of them are reduce-only."""

    def __init__(self) -> None:
        self.reducing = 0
        bids, asks = Ladder(BUY), Ladder(SELL)
        self._ladders = {BUY: bids, SELL: asks}
        self._facing = {BUY: asks, SELL: bids}

    def add(self, order: Order) -> None:
        """Put an order at the back of its price's queue."""
        self._ladders[order.side].add(order)
        if order.conditions is not None:
            self.reducing += order.conditions.reduce_only

    def remove(self, order: Order) -> None:
        """Take an order out of its queue."""
        self._ladders[order.side].remove(order)
        if order.conditions is not None:
            self.reducing -= order.conditions.reduce_only

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

    def queued(self) -> list[tuple[PriceTicks | None, dict[PriceTicks, list[int]]]]:
        """Of either side the best price, and which orders stand in which queue, by their numbers."""
        return [
            (ladder.best, {price: list(queue) for price, queue in ladder.levels.items()})
            for ladder in self._ladders.values()
        ]

    def lots_by_price(self, side: Side) -> dict[PriceTicks, int]:
        """The lots that rest on one side at each price."""
        levels = self._ladders[side].levels
        return {price: sum(order.left_lots for order in queue.values()) for price, queue in levels.items()}

    def crosses(self, side: Side, price: PriceTicks | None) -> bool:
        """Whether an order of this side and price would meet a resting order at once (None: a market order)."""
        best = self._facing[side].best
        if best is None:
            return False
        return price is None or (best <= price if side is BUY else best >= price)

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
        """What an incoming order would meet. Nothing is changed.

        The taker's self-trade mode decides what happens at an order of its own client (None: there is no such).
        `reduction` is needed where the taker or an order of the book is reduce-only.
        """
        if not size or not self.crosses(side, price):
            return MatchPlan((), size, False)  # noqa: FBT003 - by name it takes twice as long
        left = size
        at = self._facing[side].best  # which is acceptable, as it crosses
        steps: list[MatchStep] = []
        bounds = None if reduction is None else Bounds(reduction)
        for maker in self.orders(SELL if side is BUY else BUY):
            if maker.price_ticks != at:
                at = maker.price_ticks
                assert at is not None
                if not self.acceptable(side, price, at):
                    break
            if bounds is not None and bounds.exhausted:
                return MatchPlan(tuple(steps), left, taker_cancelled=False, reduced=True)
            lots = min(left, maker.left_lots)
            if maker.client != client:
                if bounds is not None:
                    lots = bounds.take(maker, lots)
                    if not lots:
                        steps.append(MatchStep(StepKind.NOTHING_TO_REDUCE, maker, lots))
                        continue
                steps.append(MatchStep(TRADE, maker, lots))
                left -= lots  # type: ignore[assignment]  # a size less a size is a size
            else:
                match self_trade:
                    case SelfTrade.CANCEL_NEWEST:
                        return MatchPlan(tuple(steps), left, taker_cancelled=True)
                    case SelfTrade.CANCEL_OLDEST:
                        steps.append(MatchStep(StepKind.CANCEL_MAKER, maker, SizeLots(0)))
                    case SelfTrade.CANCEL_BOTH:
                        steps.append(MatchStep(StepKind.CANCEL_MAKER, maker, SizeLots(0)))
                        return MatchPlan(tuple(steps), left, taker_cancelled=True)
                    case SelfTrade.DECREMENT:
                        steps.append(MatchStep(StepKind.DECREMENT, maker, lots))
                        left -= lots  # type: ignore[assignment]  # and so it is here
            if not left:
                break  # before the next order is looked for, perhaps at another level
        return MatchPlan(tuple(steps), left, False)  # noqa: FBT003 - by name it takes twice as long

    def acceptable(self, side: Side, limit: PriceTicks | None, price: PriceTicks) -> bool:
        """Whether a taker of this side and limit may trade at the price."""
        return limit is None or (price <= limit if side is BUY else price >= limit)
