"""What triggers and ends orders: time, last trades, stages of products, waiting stops, expiries, links."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from sortedcontainers import SortedList

from holdfast_model.vocabulary import (
    SPOT,
    ClientId,
    Conditions,
    MarketId,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderId,
    PriceTicks,
    ProductHalted,
    ProductId,
    ProductResumed,
    Setup,
    Side,
    SizeLots,
    Stage,
    StopArmed,
    StopTriggered,
    TimeAdvanced,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

if TYPE_CHECKING:
    from holdfast_invariants.told import ToldOrder

OrderKey = tuple[ClientId, OrderId]


class ToldStop(Struct, frozen=True, kw_only=True):
    """A stop order that waits, and how many orders were accepted before it."""

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    price_ticks: PriceTicks | None
    size_lots: SizeLots
    trigger: Trigger
    number: int


class ToldTriggers:
    """Folded from events: what stops, expiries and links between orders depend on."""

    def __init__(self, setup: Setup, orders: Mapping[OrderKey, "ToldOrder"]) -> None:
        self._orders = orders
        self.time_ms = 0
        self.last: dict[MarketId, PriceTicks] = {}
        """The price of each market's last trade, which is noted where that is believed."""
        self.stages: dict[ProductId, Stage] = {
            SPOT: Stage.OPEN,
            **{product.product: Stage.OPEN for product in setup.products},
        }
        self.conditions: dict[OrderKey, Conditions] = {}
        """The conditions of every order that has some, for ever."""
        self.stops: dict[OrderKey, ToldStop] = {}
        self.linked: dict[OrderKey, OrderKey] = {}
        """For each order that was linked, open or not, the other one."""
        self._expiries: SortedList[tuple[int, int, OrderKey]] = SortedList()
        self._expiry_of: dict[OrderKey, tuple[int, int, OrderKey]] = {}
        self._waiting: dict[tuple[MarketId, TriggerBy, TriggerWhen], SortedList[tuple[int, int, OrderKey]]] = {}
        self._pending: dict[OrderKey, ToldStop] = {}
        self.of_conditions: tuple[Callable[[Any], None], ...] = (self._on_accepted, self._on_over)
        """What folds nothing from events of orders without conditions."""

    def appliers(self) -> Mapping[type, Callable[[Any], None]]:
        """What folds each event."""
        return {
            TimeAdvanced: self._on_time,
            ProductHalted: self._on_halted,
            ProductResumed: self._on_resumed,
            OrderAccepted: self._on_accepted,
            StopArmed: self._on_armed,
            StopTriggered: self._on_triggered,
            OrderCancelled: self._on_over,
            OrderFilled: self._on_over,
        }

    def is_open(self, product: ProductId) -> bool:
        """Whether a product is open; one that nobody ever spoke of is."""
        return self.stages.get(product, Stage.OPEN) is Stage.OPEN

    def waits(self, key: OrderKey) -> bool:
        """Whether a stop order was not triggered yet."""
        return key in self.stops or key in self._pending

    def expired(self) -> Iterator[OrderKey]:
        """The open orders whose time is up, the earliest expiry first."""
        for expires_ms, _, key in self._expiries:
            if expires_ms > self.time_ms:
                return
            yield key

    def passed(self, marks: Mapping[MarketId, PriceTicks | None]) -> Iterator[ToldStop]:
        """The waiting stops whose price is reached, whatever their market's product."""
        for (market, by, when), waiting in self._waiting.items():
            price = self.last.get(market) if by is TriggerBy.LAST else marks.get(market)
            if price is None:
                continue
            for rank, _, key in waiting:
                trigger = rank if when is TriggerWhen.AT_OR_ABOVE else -rank
                if not reached(trigger, when, price):
                    break
                yield self.stops[key]

    def _on_time(self, event: TimeAdvanced) -> None:
        self.time_ms = event.time_ms

    def _on_halted(self, event: ProductHalted) -> None:
        self.stages[event.product] = Stage.HALTED

    def _on_resumed(self, event: ProductResumed) -> None:
        self.stages[event.product] = event.stage

    def _on_accepted(self, event: OrderAccepted) -> None:
        conditions = event.conditions
        if conditions is None:
            return
        key = (event.client, event.order)
        order = self._orders[key]
        number, order.conditional = order.number, True
        self.conditions[key] = conditions
        if conditions.expires_ms is not None:
            self._expiry_of[key] = (conditions.expires_ms, number, key)
            self._expiries.add(self._expiry_of[key])
        if conditions.one_cancels_other is not None:
            other = (event.client, conditions.one_cancels_other)
            self.linked[key], self.linked[other] = other, key
            if other in self._orders:
                self._orders[other].conditional = True
        if conditions.trigger is not None:
            self._pending[key] = ToldStop(
                client=event.client,
                order=event.order,
                market=event.market,
                side=event.side,
                price_ticks=event.price_ticks,
                size_lots=event.size_lots,
                trigger=conditions.trigger,
                number=number,
            )

    def _on_armed(self, event: StopArmed) -> None:
        key = (event.client, event.order)
        stop = self._pending.pop(key, None)
        if stop is not None:
            self._disarm(key)
            self.stops[key] = stop
            place, item = _ranked(stop)
            self._waiting.setdefault(place, SortedList()).add(item)

    def _on_triggered(self, event: StopTriggered) -> None:
        self._disarm((event.client, event.order))

    def _on_over(self, event: OrderCancelled | OrderFilled) -> None:
        if not self.conditions:
            return
        key = (event.client, event.order)
        expiry = self._expiry_of.pop(key, None)
        if expiry is not None:
            self._expiries.remove(expiry)
        self._disarm(key)

    def _disarm(self, key: OrderKey) -> None:
        stop = self.stops.pop(key, None)
        if stop is not None:
            place, item = _ranked(stop)
            self._waiting[place].remove(item)
            if not self._waiting[place]:
                del self._waiting[place]


def reached(trigger_ticks: int, when: TriggerWhen, price_ticks: int) -> bool:
    """Whether a price is at or beyond a trigger price.

    >>> reached(10, TriggerWhen.AT_OR_ABOVE, 10), reached(10, TriggerWhen.AT_OR_BELOW, 11)
    (True, False)
    """
    return price_ticks >= trigger_ticks if when is TriggerWhen.AT_OR_ABOVE else price_ticks <= trigger_ticks


def _ranked(stop: ToldStop) -> tuple[tuple[MarketId, TriggerBy, TriggerWhen], tuple[int, int, OrderKey]]:
    """Where a stop waits, and its rank there: those that are reached first come first."""
    trigger = stop.trigger
    rank = trigger.price_ticks if trigger.when is TriggerWhen.AT_OR_ABOVE else -trigger.price_ticks
    return (stop.market, trigger.by, trigger.when), (rank, stop.number, (stop.client, stop.order))
