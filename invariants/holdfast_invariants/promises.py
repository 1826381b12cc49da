"""PRIO-2: what each order type promises."""

from typing import Any

from holdfast_invariants.monitor import Monitor, after, before, on, once_believed
from holdfast_invariants.reckoning import product_of, within
from holdfast_invariants.told import OrderKey, ToldOrder
from holdfast_invariants.told_book import RESTING_KINDS
from holdfast_invariants.told_triggers import ToldStop, reached
from holdfast_model.vocabulary import (
    LIQUIDATION_ORDER_PREFIX,
    STAGE_COMMANDS,
    AdvanceTime,
    Answer,
    CancelAll,
    CancelReason,
    Command,
    DisconnectClient,
    MarkChanged,
    Market,
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceTicks,
    ProductResumed,
    Reason,
    Rejected,
    SetPhase,
    Side,
    Stage,
    StopArmed,
    StopTriggered,
    TimeInForce,
    TradeExecuted,
    TriggerBy,
    View,
)

_BUY, _FOK, _OPEN, _MAINTENANCE = Side.BUY, TimeInForce.FOK, Phase.OPEN, Phase.MAINTENANCE
_EXPIRED, _OTHER, _LOST = CancelReason.EXPIRED, CancelReason.ONE_CANCELS_OTHER, CancelReason.DISCONNECTED


def _named(key: OrderKey) -> str:
    return f"order {'/'.join(key)}"


def _listed(keys: list[OrderKey]) -> str:
    return ", ".join("/".join(key) for key in keys) or "none"


class OrderTypesKeepTheirPromise(Monitor):
    """PRIO-2: each order does what its type promises, and nobody trades with itself.

    IOC never rests, FOK is all or nothing, post-only never takes, reduce-only never makes a position larger; a stop
    is triggered when its price is reached, the first accepted first, and then without delay; of two linked orders one
    cancels the other; a good-till-time order is over once its time is up; prices stay within their bounds; what is
    cancelled together, or with a session, is cancelled to the last.
    """

    invariant = "PRIO-2"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._awaits_end = False
        self._moved = False
        """Whether a price moved, or trading resumed, so that stops may have to be triggered."""
        self._ending: list[OrderKey] = []
        """Linked orders that traded, were triggered or ended: the others end with them."""
        self._whole: list[ToldOrder] = []
        """Fill-or-kill stops that were triggered."""
        self._met: dict[OrderKey, int | None] = {}
        """The best price that each market order met on arrival, where its market protects it."""

    # Taking, resting, trading ---------------------------------------------------------------------------------------

    @on(OrderRested, plain=1)
    def rested(self, event: OrderRested) -> None:
        """Only a good-till-cancelled or good-till-time limit order rests, and no stop that waits."""
        self.checked += 1
        order = self.told.order
        if order is None:
            return
        if order.time_in_force not in RESTING_KINDS or order.price_ticks is None:
            kind = "market" if order.price_ticks is None else order.time_in_force
            self.report(
                f"order {event.client}/{event.order}",
                found=f"{event.left_lots} lots of a {kind} order rest",
                expected="what is left is cancelled",
                evidence=[event],
            )
        if self.told.triggers.conditions:
            self._not_waiting(order.key, event)

    @on(TradeExecuted, plain=1)
    def trade(self, event: TradeExecuted) -> None:
        """A taker is not post-only, and not its own counterparty."""
        self.checked += 1
        self._busy()
        self._moved = True
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
        if self.told.triggers.conditions:
            self._conditional((event.maker_client, event.maker_order), event, event.taker_side.opposite)
            self._conditional((event.taker_client, event.taker_order), event, event.taker_side)
        if self._met:
            self._protected(event)

    def _unprotected(self, taker: ToldOrder | None) -> bool:
        return taker is not None and taker.amended and "amend-resets-self-trade-prevention" in self.conventions

    def _conditional(self, key: OrderKey, event: TradeExecuted, side: Side) -> None:
        """What an order with conditions promises where it trades."""
        triggers = self.told.triggers
        if key in triggers.linked:
            self._ending.append(key)
        conditions = triggers.conditions.get(key)
        if conditions is None:
            return
        self._not_waiting(key, event)
        if conditions.reduce_only and self.told.margin is not None:
            self.checked += 1
            held = self.told.margin.position(key[0], event.market).lots
            if (-held if side is _BUY else held) < event.size_lots:
                self.report(
                    _named(key),
                    found=f"a reduce-only {side} of {event.size_lots} lots trades with a position of {held}",
                    expected="no more than the position that is left to reduce",
                    evidence=[event],
                )

    def _not_waiting(self, key: OrderKey, event: OrderRested | TradeExecuted) -> None:
        if self.told.triggers.waits(key):
            self.report(
                f"stop {'/'.join(key)}",
                found=f"{type(event).__name__} before it was triggered",
                expected="it waits outside the book",
                evidence=[event],
            )

    def view(self, view: View) -> None:
        """No order of a kind that never rests is shown in the book."""
        self.checked += len(view.orders)
        for shown, _, order in self.told.shown:
            if order is not None and order.time_in_force not in RESTING_KINDS:
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

    # Bounds on prices -----------------------------------------------------------------------------------------------

    @on(OrderAccepted, plain=0)
    def accepted(self, event: OrderAccepted) -> None:
        """A limit price is within the band, and an order's time is not up when it comes."""
        market = self.told.markets.get(event.market)
        if market is None:
            return
        conditions = event.conditions
        if event.price_ticks is None:
            if market.protection_ppm and (conditions is None or conditions.trigger is None):
                self._busy()
                self._met[event.client, event.order] = self._best(event.market, event.side)
        elif market.band_ppm and not event.order.startswith(LIQUIDATION_ORDER_PREFIX):
            self._in_band(market, event, event.price_ticks)
        if conditions is not None and conditions.expires_ms is not None:
            self.checked += 1
            if conditions.expires_ms <= self.told.triggers.time_ms:
                self.report(
                    f"order {event.client}/{event.order}",
                    found=f"accepted at {self.told.triggers.time_ms}, good till {conditions.expires_ms}",
                    expected="refused: its time is up",
                    evidence=[event],
                )

    @on(OrderAmended)
    def amended(self, event: OrderAmended) -> None:
        """So is the price of an amendment."""
        order = self.told.order
        market = self.told.markets.get(order.market) if order is not None else None
        if market is not None and market.band_ppm:
            self._in_band(market, event, event.price_ticks)

    def _in_band(self, market: Market, event: OrderAccepted | OrderAmended, price: PriceTicks) -> None:
        self.checked += 1
        reference = self.told.triggers.last.get(market.market, market.reference_ticks)
        if reference is not None and not within(price, reference, ppm=market.band_ppm):
            self.report(
                f"price of order {event.client}/{event.order}",
                found=f"{price} is taken in",
                expected=f"within {market.band_ppm} ppm of {reference}",
                evidence=[event],
            )

    def _best(self, market: MarketId, side: Side) -> int | None:
        book = self.told.book.markets.get(market)
        return book.side(side.opposite).best() if book is not None else None

    def _protected(self, event: TradeExecuted) -> None:
        key = (event.taker_client, event.taker_order)
        best, market = self._met.get(key), self.told.markets.get(event.market)
        if best is None or market is None:
            return
        self.checked += 1
        if not within(event.price_ticks, best, ppm=market.protection_ppm):
            self.report(
                f"price of trade {event.trade}",
                found=f"a market order trades at {event.price_ticks}",
                expected=f"no further than {market.protection_ppm} ppm from {best}, the best price that it met",
                evidence=[event],
            )

    # Ends -----------------------------------------------------------------------------------------------------------

    @on(OrderFilled, OrderCancelled, plain=0)
    def over(self, event: OrderFilled | OrderCancelled) -> None:
        """The other of a pair ends too; an order that ends of itself has a reason to."""
        key = self.told.key
        if isinstance(event, OrderCancelled):
            self._reasoned(event, key)
            if event.reason is _OTHER:
                return
        if key in self.told.triggers.linked:
            self._busy()
            self._ending.append(key)

    def _reasoned(self, event: OrderCancelled, key: OrderKey) -> None:
        triggers, conditions = self.told.triggers, self.told.triggers.conditions.get(key)
        if event.reason is _EXPIRED:
            expires = conditions.expires_ms if conditions is not None else None
            due = expires is not None and expires <= triggers.time_ms and self.told.phase is not _MAINTENANCE
            expected = f"once its time is up, outside maintenance: it is {triggers.time_ms}, good till {expires}"
        elif event.reason is _OTHER:
            due = triggers.linked.get(key) in self._ending
            expected = "when the order that it is linked with trades, is triggered or ends"
        elif event.reason is _LOST:
            due = conditions is not None and conditions.cancel_on_disconnect
            expected = "only orders that asked for it"
        else:
            return
        self.checked += 1
        if not due:
            self.report(_named(key), found=f"it is cancelled as {event.reason}", expected=expected, evidence=[event])

    @once_believed(OrderCancelled, plain=0)
    def made_way(self, event: OrderCancelled) -> None:
        """A market order that was linked meets what is left once the other order is cancelled."""
        other = self.told.triggers.linked.get((event.client, event.order)) if self._met else None
        order = self.told.orders.get(other) if other is not None and other in self._met else None
        if order is not None and event.reason is _OTHER:
            self._met[order.key] = self._best(order.market, order.side)

    @after(AdvanceTime, SetPhase)
    def timed(self, command: AdvanceTime | SetPhase, answer: Answer) -> None:  # noqa: ARG002 - all is told
        """No order is open whose time is up; in maintenance it waits until that is over."""
        self.checked += 1
        if self.told.phase is _MAINTENANCE:
            return
        for key in self.told.triggers.expired():
            expires = self.told.triggers.conditions[key].expires_ms
            self.report(
                _named(key),
                found=f"it is open at {self.told.triggers.time_ms}",
                expected=f"cancelled: it is good till {expires}",
                evidence=[command],
            )

    @before(CancelAll)
    def cancelled_together(self, command: CancelAll, answer: Answer) -> None:
        """All open orders of the client are cancelled, where their product lets it, in order of acceptance."""
        refused = next((event for event in answer.events if isinstance(event, Rejected)), None)
        if refused is not None and refused.reason is not Reason.NOTHING_TO_CANCEL:
            return
        stages = self.told.triggers.stages
        due = [
            order
            for order in self.told.book.open.get(command.client, {}).values()
            if command.market in (None, order.market)
            and CancelAll in STAGE_COMMANDS[stages.get(product_of(self.told, order.market), Stage.OPEN)]
        ]
        self._all_of(command, due, answer)

    @before(DisconnectClient)
    def cancelled_with_session(self, command: DisconnectClient, answer: Answer) -> None:
        """All open orders of the client that asked for it are cancelled, at every stage."""
        if any(isinstance(event, Rejected) for event in answer.events):
            return
        conditions = self.told.triggers.conditions
        due = [
            order
            for key, order in self.told.book.open.get(command.client, {}).items()
            if key in conditions and conditions[key].cancel_on_disconnect
        ]
        self._all_of(command, due, answer)

    def _all_of(self, command: CancelAll | DisconnectClient, due: list[ToldOrder], answer: Answer) -> None:
        """These and no others are cancelled, in the order of acceptance; those that they are linked with besides."""
        self.checked += 1
        linked = self.told.triggers.linked
        keys = [order.key for order in sorted(due, key=lambda order: order.number)]
        cancelled = [event for event in answer.events if isinstance(event, OrderCancelled)]
        others = {(event.client, event.order) for event in cancelled if event.reason is _OTHER}
        found = [(event.client, event.order) for event in cancelled if event.reason is not _OTHER]
        expected = [key for key in keys if key not in others]
        if found != expected or not all(linked.get(key) in keys for key in others):
            self.report(
                f"{type(command).__name__} of {command.client}",
                found=_listed(found),
                expected=_listed(expected),
                evidence=[command],
            )

    # Stops ----------------------------------------------------------------------------------------------------------

    @on(MarkChanged, PhaseChanged, ProductResumed, StopArmed)
    def moved(self, event: MarkChanged | PhaseChanged | ProductResumed | StopArmed) -> None:  # noqa: ARG002
        """Stops may have to be triggered now."""
        self._busy()
        self._moved = True

    def _marks(self) -> dict[MarketId, PriceTicks | None]:
        return self.told.margin.marks if self.told.margin is not None else {}

    def _due(self) -> list[ToldStop]:
        """The stops that are to be triggered now, the first accepted first."""
        told, triggers = self.told, self.told.triggers
        if told.phase is not _OPEN or not triggers.stops:
            return []
        passed = (stop for stop in triggers.passed(self._marks()) if triggers.is_open(product_of(told, stop.market)))
        return sorted(passed, key=lambda stop: stop.number)

    @on(StopTriggered)
    def triggered(self, event: StopTriggered) -> None:
        """A stop that waits is triggered by a price that reaches it, where it can trade, the first accepted first."""
        self.checked += 1
        self._busy()
        key = self.told.key
        if key in self.told.triggers.linked:
            self._ending.append(key)
        stop = self.told.triggers.stops.get(key)
        if stop is None:
            self._wrongly(event, found="it is triggered", expected="no trigger: it does not wait")
            return
        price = (
            self.told.triggers.last.get(stop.market)
            if stop.trigger.by is TriggerBy.LAST
            else self._marks().get(stop.market)
        )
        trigger = stop.trigger
        if price is None or not reached(trigger.price_ticks, trigger.when, price):
            self._wrongly(
                event,
                found=f"it is triggered while the {trigger.by} is {price}",
                expected=f"a trigger {trigger.when} {trigger.price_ticks}",
            )
        elif event.price_ticks != price:
            self._wrongly(
                event, found=f"it is triggered by {event.price_ticks}", expected=f"{price}, the {trigger.by}"
            )
        else:
            first = next(iter(self._due()), None)
            if first is None:
                self._wrongly(event, found="it is triggered", expected="it waits while trading is not open")
            elif (first.client, first.order) != key:
                self._wrongly(event, found="it is triggered", expected=f"{first.client}/{first.order} first")
        order, market = self.told.order, self.told.markets.get(stop.market)
        if order is not None and order.time_in_force is _FOK:
            self._whole.append(order)
        if stop.price_ticks is None and market is not None and market.protection_ppm:
            self._met[key] = self._best(stop.market, stop.side)

    def _wrongly(self, event: StopTriggered, *, found: str, expected: str) -> None:
        self.report(f"stop {event.client}/{event.order}", found=found, expected=expected, evidence=[event])

    def _busy(self) -> None:
        """There may be something to look at when the command at hand is done."""
        if not self._awaits_end:
            self._awaits_end = True
            self.look_at_end(self.done)

    def done(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all is in what was told
        """Every stop that was to be triggered was, and every order that was to end with another one did."""
        self._awaits_end = False
        if self._moved:
            self._moved = False
            self._triggers()
        if self._ending:
            self._pairs()
        if self._met:
            self._met.clear()
        if self._whole:
            self._wholes()

    def _triggers(self) -> None:
        if not self.told.triggers.stops:
            return
        self.checked += 1
        for stop in self._due():
            trigger = stop.trigger
            self.report(
                f"stop {stop.client}/{stop.order}",
                found=f"it waits although the {trigger.by} is {trigger.when} {trigger.price_ticks}",
                expected="it is triggered at once while trading is open",
            )

    def _pairs(self) -> None:
        orders, linked = self.told.orders, self.told.triggers.linked
        for key in self._ending:
            self.checked += 1
            other = orders.get(linked[key])
            if other is not None and not other.status.terminal:
                self.report(
                    _named(other.key),
                    found=f"it is open although {'/'.join(key)} traded, was triggered or ended",
                    expected="one cancels the other",
                )
        self._ending.clear()

    def _wholes(self) -> None:
        for order in self._whole:
            self.checked += 1
            if order.filled_lots not in (0, order.size_lots):
                self.report(
                    _named(order.key),
                    found=f"{order.filled_lots} of {order.size_lots} lots filled",
                    expected="all or nothing",
                )
        self._whole.clear()
