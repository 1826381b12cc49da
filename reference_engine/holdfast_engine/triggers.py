"""Triggers: what waits for a price or for a time. Stop orders, their triggers, and orders whose time is up.

Stops are looked at when a command's own work is done, where a market traded, has another mark, or trades again.
"""

from collections import defaultdict
from collections.abc import Iterable

from msgspec.structs import replace
from sortedcontainers import SortedDict, SortedList

from holdfast_engine.book import MatchPlan
from holdfast_engine.core import Deciders, Evolvers
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.state import VenueState
from holdfast_engine.trading import Trading
from holdfast_model.vocabulary import (
    AdvanceTime,
    CancelReason,
    Event,
    MarkChanged,
    MarketId,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceTicks,
    ProductResumed,
    Reason,
    Setup,
    StopArmed,
    StopTriggered,
    TimeAdvanced,
    TimeInForce,
    TradeExecuted,
    Trigger,
    TriggerBy,
    TriggerWhen,
)


class Stops:
    """The waiting stops of one market, by trigger level and there by acceptance.

    Those whose price is passed are found without a look at the others.
    """

    def __init__(self) -> None:
        self._levels: defaultdict[tuple[TriggerBy, TriggerWhen], SortedDict[PriceTicks, dict[int, Order]]] = (
            defaultdict(SortedDict)
        )

    def add(self, order: Order, trigger: Trigger, level: PriceTicks) -> None:
        """Let a stop wait for a price level. Complexity: O(log levels)."""
        self._levels[trigger.by, trigger.when].setdefault(level, {})[order.accepted] = order

    def remove(self, order: Order, trigger: Trigger, level: PriceTicks) -> None:
        """A stop waits no longer. Complexity: O(log levels)."""
        levels = self._levels[trigger.by, trigger.when]
        queue = levels.get(level, {})
        queue.pop(order.accepted, None)
        if not queue:
            levels.pop(level, None)

    def first(self, by: TriggerBy, price: PriceTicks) -> Order | None:
        """Of the stops whose level the price is at or beyond, the one that was accepted first.

        Complexity: O(log levels) and the number of these stops' levels.
        """
        above, below = self._levels[by, TriggerWhen.AT_OR_ABOVE], self._levels[by, TriggerWhen.AT_OR_BELOW]
        passed = [above[level] for level in above.irange(maximum=price)]
        passed += [below[level] for level in below.irange(minimum=price)]
        return min((queue[min(queue)] for queue in passed), key=lambda order: order.accepted, default=None)


class Triggers(Trading):
    """The stops that wait, the orders that expire, and the venue's time."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._stops = {market: Stops() for market in self.markets}
        self._expiring: SortedList[tuple[int, int, tuple[str, str]]] = SortedList()

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {AdvanceTime: cls._decide_time}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            StopArmed: cls._on_stop_armed,
            StopTriggered: cls._on_stop_triggered,
            TimeAdvanced: cls._on_time_advanced,
        }

    # Time -----------------------------------------------------------------------------------------------------------

    def _decide_time(self, command: AdvanceTime) -> None:
        if command.time_ms <= self.time_ms:
            return self.refuse(Reason.TIME_NOT_LATER)
        self.emit(TimeAdvanced(time_ms=command.time_ms))
        if self.phase is not Phase.MAINTENANCE:
            self.expire()
        return self.make_marks()

    def expire(self) -> None:
        """Cancel the orders whose time is up."""
        self.cancel_each(self.expired(), CancelReason.EXPIRED)

    def expired(self) -> list[Order]:
        """The open orders whose time is up, in the order in which they were accepted."""
        found = []
        for expires_ms, _, key in self._expiring:
            if expires_ms > self.time_ms:
                break
            found.append(self.orders[key])
        return sorted(found, key=lambda order: order.accepted)

    # Stops ----------------------------------------------------------------------------------------------------------

    def _decide_stop(self, command: PlaceOrder) -> None:
        assert command.conditions is not None
        assert command.conditions.trigger is not None
        trigger = command.conditions.trigger
        price = self.trigger_price(command.market, trigger.by)
        if price is not None and self.passed(trigger, price):
            return self.refuse(Reason.TRIGGER_PASSED)
        reason = self.uncovered(command, MatchPlan((), command.size_lots, taker_cancelled=False))
        if reason is not None:
            return self.refuse(reason)
        order = self._accept(command)
        return self.emit(StopArmed(client=order.client, order=order.order))

    def trigger_price(self, market: MarketId, by: TriggerBy) -> PriceTicks | None:
        """The price that triggers look at: the last trade's or the mark; None while there is none."""
        return self.last_trades.get(market) if by is TriggerBy.LAST else self.marks.get(market)

    def passed(self, trigger: Trigger, price: PriceTicks) -> bool:
        """Whether a price is at or beyond a trigger price."""
        if trigger.when is TriggerWhen.AT_OR_ABOVE:
            return price >= trigger.price_ticks
        return price <= trigger.price_ticks

    def trigger_level(self, trigger: Trigger) -> PriceTicks:
        """The price at which a waiting stop is triggered."""
        return trigger.price_ticks

    def trading_open(self, market: MarketId) -> bool:
        """Whether the market trades continuously: both the phase and its product are open."""
        return self.phase is Phase.OPEN and self.markets[market].product not in self.restricted

    def follow_up(self) -> None:
        """Trigger stops one by one, the one that was accepted first of all whose price is passed."""
        looked_at: dict[MarketId, None] = {}
        seen = 0
        while True:
            for event in self._events[seen:]:
                looked_at |= self._moved_by(event)
            seen = len(self._events)
            found = [stop for market in looked_at for stop in self._passed_first(market)]
            if not found:
                return
            order, price = min(found, key=lambda stop: stop[0].accepted)
            self.trigger(order, price)

    def _moved_by(self, event: Event) -> dict[MarketId, None]:
        """The markets whose stops may be triggered because of an event."""
        match event:
            case TradeExecuted(market=market) | MarkChanged(market=market):
                return {market: None}
            case PhaseChanged() | ProductResumed():
                return dict.fromkeys(self.markets)
            case _:
                return {}

    def _passed_first(self, market: MarketId) -> Iterable[tuple[Order, PriceTicks]]:
        """The first passed stop of a market for the last trade and for the mark, with the price that passed it."""
        if not self.trading_open(market):
            return
        for by in TriggerBy:
            price = self.trigger_price(market, by)
            order = None if price is None else self._stops[market].first(by, price)
            if price is not None and order is not None:
                yield order, price

    def trigger(self, order: Order, price: PriceTicks) -> None:
        """Let a stop order arrive as an ordinary one, after the order that it is linked with is cancelled."""
        self.emit(StopTriggered(client=order.client, order=order.order, price_ticks=price))
        other = self.linked(order)
        if other is not None:
            self.cancel(other, CancelReason.ONE_CANCELS_OTHER)
        if order.post_only and self.takes(self.books[order.market], order.side, order.price_ticks):
            return self.cancel(order, CancelReason.POST_ONLY)
        plan = self.plan(order, client=order.client, size=order.left_lots)
        if order.time_in_force is TimeInForce.FOK and not self.fillable(plan, order.left_lots):
            return self.cancel(order, CancelReason.IOC_REMAINDER)
        if order.reduce_only and not self.reducible(order):
            return self.cancel(order, CancelReason.REDUCE_ONLY)
        if not self.bearable(order, plan):
            return self.cancel(order, CancelReason.UNFUNDED)
        return self.execute(order, plan)

    def bearable(self, order: Order, plan: MatchPlan) -> bool:
        """Whether a triggered stop is still covered; what is held for one with a limit price covers it."""
        if self.markets[order.market].perpetual is None and order.price_ticks is not None:
            return True
        return self.uncovered(self._placed(order), plan) is None

    def _placed(self, order: Order) -> PlaceOrder:
        """The order as it would be placed now, without the trigger."""
        conditions = order.conditions
        return PlaceOrder(
            client=order.client,
            order=order.order,
            market=order.market,
            side=order.side,
            size_lots=order.left_lots,
            price_ticks=order.price_ticks,
            time_in_force=order.time_in_force,
            post_only=order.post_only,
            self_trade=order.self_trade,
            conditions=None if conditions is None else replace(conditions, trigger=None),
        )

    # Evolving -------------------------------------------------------------------------------------------------------

    def note(self, order: Order) -> None:
        """Remember when an order expires."""
        if order.conditions is not None and order.conditions.expires_ms is not None:
            self._expiring.add((order.conditions.expires_ms, order.accepted, order.key))

    def forget(self, order: Order) -> None:
        """An order that ends expires no more, and a stop that ends waits no longer."""
        if order.conditions is not None and order.conditions.expires_ms is not None:
            self._expiring.discard((order.conditions.expires_ms, order.accepted, order.key))
        if order.status is OrderStatus.WAITING:
            self.disarm(order)

    def arm(self, order: Order) -> None:
        """Let a stop order wait for its trigger."""
        assert order.conditions is not None
        assert order.conditions.trigger is not None
        trigger = order.conditions.trigger
        self._stops[order.market].add(order, trigger, self.trigger_level(trigger))

    def disarm(self, order: Order) -> None:
        """Let a stop order wait no longer."""
        assert order.conditions is not None
        assert order.conditions.trigger is not None
        trigger = order.conditions.trigger
        self._stops[order.market].remove(order, trigger, self.trigger_level(trigger))
        del self.waiting[order.key]

    def _on_stop_armed(self, event: StopArmed) -> None:
        order = self.orders[event.client, event.order]
        order.status = OrderStatus.WAITING
        self.waiting[order.key] = order
        self.arm(order)

    def _on_stop_triggered(self, event: StopTriggered) -> None:
        order = self.orders[event.client, event.order]
        self.disarm(order)
        order.status = OrderStatus.ACCEPTED

    def _on_time_advanced(self, event: TimeAdvanced) -> None:
        self.time_ms = event.time_ms

    # Snapshots ------------------------------------------------------------------------------------------------------

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self._stops = {market: Stops() for market in self.markets}
        self._expiring.clear()
        for order in (*state.waiting, *state.resting):
            self.rearm(order)

    def rearm(self, order: Order) -> None:
        """Let an open order of a snapshot wait for its time and its trigger again."""
        if order.conditions is not None:
            self.note(order)
        if order.status is OrderStatus.WAITING:
            self.arm(order)
