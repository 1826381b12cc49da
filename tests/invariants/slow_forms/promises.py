"""PRIO-2, slowly: what each type of order promises, looked up again at every event of an order."""

from collections.abc import Sequence

from holdfast_model.vocabulary import (
    LIQUIDATION_ORDER_PREFIX,
    SPOT,
    STAGE_COMMANDS,
    AdvanceTime,
    CancelAll,
    CancelReason,
    Conditions,
    DisconnectClient,
    MarkChanged,
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    Phase,
    PhaseChanged,
    PlaceOrder,
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
    Trigger,
    TriggerBy,
    TriggerWhen,
    View,
)
from slow_forms.book import Order, OrderKey, orders_at, parties
from slow_forms.marks import prices_mean_the_same_since
from slow_forms.standing import positions_at
from slow_forms.tale import Done, Moment, Tale, Violations

_RESTING = {TimeInForce.GTC, TimeInForce.GTT}


def prio_2(tale: Tale) -> Violations:
    """Each order type keeps its promise, prices stay within their bounds, and nobody trades with itself."""
    yield from _rested(tale)
    for moment in tale.all(TradeExecuted):
        for subject in _traded(tale, moment):
            yield moment.step, subject
    yield from _taken_in(tale)
    yield from _cancelled(tale)
    yield from _triggered(tale)
    for moment in tale.all(Done):
        for subject in (*_ended(tale, moment), *_together(tale, moment), *_whole(tale, moment)):
            yield moment.step, subject


def _name(key: OrderKey) -> str:
    return f"order {'/'.join(key)}"


def _conditions(order: Order) -> Conditions:
    return order.accepted.conditions or Conditions()


def _awaits_its_trigger(order: Order) -> bool:
    return _conditions(order).trigger is not None and not order.triggered


def linked_at(tale: Tale, end: int) -> dict[OrderKey, OrderKey]:
    """The other order of each pair of which one cancels the other."""
    linked = {}
    for order in tale.before(end, OrderAccepted):
        if order.conditions is not None and order.conditions.one_cancels_other is not None:
            pair = (order.client, order.order), (order.client, order.conditions.one_cancels_other)
            linked[pair[0]], linked[pair[1]] = pair[1], pair[0]
    return linked


def _rested(tale: Tale) -> Violations:
    for moment in tale.all(OrderRested):
        key = (moment.what.client, moment.what.order)
        order = orders_at(tale, moment.at).get(key)
        if order is not None:
            if order.accepted.time_in_force not in _RESTING or order.price is None:
                yield moment.step, _name(key)
            if _awaits_its_trigger(order):
                yield moment.step, f"stop {'/'.join(key)}"
    for moment in tale.all(View):
        orders = orders_at(tale, moment.at)
        for shown in moment.what.orders:
            known = orders.get((shown.client, shown.order))
            if known is not None and known.accepted.time_in_force not in _RESTING:
                yield moment.step, _name((shown.client, shown.order))


def _traded(tale: Tale, moment: Moment) -> list[str]:
    trade: TradeExecuted = moment.what
    orders, wrong = orders_at(tale, moment.at), []
    maker, taker = parties(trade)
    if taker in orders and orders[taker].accepted.post_only:
        wrong.append(_name(taker))
    if trade.maker_client == trade.taker_client:
        wrong.append(f"trade {trade.trade}")
    for key, side in (maker, trade.taker_side.opposite), (taker, trade.taker_side):
        if key not in orders:
            continue
        if _awaits_its_trigger(orders[key]):
            wrong.append(f"stop {'/'.join(key)}")
        if _conditions(orders[key]).reduce_only:
            lots, _ = positions_at(tale, moment.at).get((key[0], trade.market), (0, 0))
            if (-lots if side is Side.BUY else lots) < trade.size_lots:
                wrong.append(_name(key))
    best, market = _met(tale, moment, taker), tale.markets(moment.at).get(trade.market)
    if best is not None and market is not None and not _within(trade.price_ticks, best, market.protection_ppm):
        wrong.append(f"price of trade {trade.trade}")
    return wrong


def _within(price: int, reference: int, ppm: int) -> bool:
    return abs(price - reference) * 1_000_000 <= reference * ppm


def _met(tale: Tale, moment: Moment, key: OrderKey) -> int | None:
    """The best price that a protected market order met: when it came, was triggered, or was left alone."""
    met = None
    linked = linked_at(tale, moment.at).get(key)
    kinds = (OrderAccepted, StopTriggered, OrderCancelled)
    for before in tale.between(tale.began(moment), moment.at, *kinds):
        event, own = before.what, (before.what.client, before.what.order)
        order = orders_at(tale, before.at + 1).get(key)
        if order is None or order.price is not None:
            continue
        market = tale.markets(before.at).get(order.accepted.market)
        if market is None or not market.protection_ppm:
            continue
        comes = own == key and not isinstance(event, OrderCancelled)
        waits = isinstance(event, OrderAccepted) and _conditions(order).trigger is not None
        if comes and not waits:
            met = _best(tale, before.at, market.market, order.accepted.side.opposite)
        elif isinstance(event, OrderCancelled) and own == linked:
            made_way = met is not None and event.reason is CancelReason.ONE_CANCELS_OTHER
            if made_way:
                met = _best(tale, before.at + 1, market.market, order.accepted.side.opposite)
    return met


def _best(tale: Tale, end: int, market: MarketId, side: Side) -> int | None:
    prices = [
        order.rests_at
        for order in orders_at(tale, end).values()
        if (order.accepted.market, order.accepted.side, order.state) == (market, side, "resting")
        and order.rests_at is not None
    ]
    return (max if side is Side.BUY else min)(prices) if prices else None


# What is taken in, and what ends ------------------------------------------------------------------------------------


def _taken_in(tale: Tale) -> Violations:
    for moment in tale.all(OrderAccepted, OrderAmended):
        event, key = moment.what, (moment.what.client, moment.what.order)
        if isinstance(event, OrderAccepted):
            known, of_a_client = event.market, not event.order.startswith(LIQUIDATION_ORDER_PREFIX)
            expires = event.conditions.expires_ms if event.conditions is not None else None
            if expires is not None and expires <= tale.time_ms(moment.at):
                yield moment.step, _name(key)
        else:
            order = orders_at(tale, moment.at).get(key)
            known, of_a_client = "" if order is None else order.accepted.market, True
        market = tale.markets(moment.at).get(known)
        if market is not None and market.band_ppm and of_a_client and event.price_ticks is not None:
            last = last_price(tale, moment.at, known)
            reference = market.reference_ticks if last is None else last
            if reference is not None and not _within(event.price_ticks, reference, market.band_ppm):
                yield moment.step, f"price of {_name(key)}"


def last_price(tale: Tale, end: int, market: MarketId) -> int | None:
    """The last trade's price, if it was in the ticks of now."""
    (known,) = (item for item in tale.setup.markets if item.market == market)
    since = prices_mean_the_same_since(tale, end, known)
    prices = [item.what.price_ticks for item in tale.between(since, end, TradeExecuted) if item.what.market == market]
    return prices[-1] if prices else None


def _ending(tale: Tale, start: int, end: int) -> list[OrderKey]:
    """The orders that traded, were triggered, or ended otherwise than with the other of a pair."""
    ending: list[OrderKey] = []
    for moment in tale.between(start, end, TradeExecuted, StopTriggered, OrderFilled, OrderCancelled):
        event = moment.what
        if isinstance(event, TradeExecuted):
            ending += parties(event)
        elif not isinstance(event, OrderCancelled) or event.reason is not CancelReason.ONE_CANCELS_OTHER:
            ending.append((event.client, event.order))
    return ending


def _cancelled(tale: Tale) -> Violations:
    """Who is cancelled for a reason has it."""
    for moment in tale.all(OrderCancelled):
        key, reason = (moment.what.client, moment.what.order), moment.what.reason
        order = orders_at(tale, moment.at).get(key)
        conditions = Conditions() if order is None else _conditions(order)
        due = True
        if reason is CancelReason.EXPIRED:
            up = conditions.expires_ms is not None and conditions.expires_ms <= tale.time_ms(moment.at)
            due = up and tale.phase(moment.at) is not Phase.MAINTENANCE
        elif reason is CancelReason.ONE_CANCELS_OTHER:
            other = linked_at(tale, moment.at).get(key)
            due = other in _ending(tale, tale.began(moment), moment.at)
        elif reason is CancelReason.DISCONNECTED:
            due = conditions.cancel_on_disconnect
        if not due:
            yield moment.step, _name(key)


def _ended(tale: Tale, moment: Moment) -> list[str]:
    """Nobody is left whose time is up, or whose pair traded, was triggered or ended."""
    orders, command = orders_at(tale, moment.at), moment.what.asked.command
    left = []
    if isinstance(command, AdvanceTime | SetPhase) and tale.phase(moment.at) is not Phase.MAINTENANCE:
        now = tale.time_ms(moment.at)
        left += [
            key
            for key, order in orders.items()
            if order.state != "over" and (_conditions(order).expires_ms or now + 1) <= now
        ]
    start = tale.answer(moment)[0].at if tale.answer(moment) else moment.at
    linked = linked_at(tale, moment.at)
    others = [linked[key] for key in _ending(tale, start, moment.at) if key in linked]
    return [_name(key) for key in left + [key for key in others if key in orders and orders[key].state != "over"]]


def _together(tale: Tale, moment: Moment) -> list[str]:
    """All orders that are to be are cancelled, in the order of acceptance; besides only those linked with them."""
    command = moment.what.asked.command
    if not isinstance(command, CancelAll | DisconnectClient):
        return []
    events = [event.what for event in tale.answer(moment)]
    refusals = [event.reason for event in events if isinstance(event, Rejected)]
    if refusals and not (isinstance(command, CancelAll) and refusals[0] is Reason.NOTHING_TO_CANCEL):
        return []
    start = moment.at - len(events)
    due = [
        key
        for key, order in orders_at(tale, start).items()
        if key[0] == command.client and order.is_open and _is_meant(tale, start, command, order)
    ]
    cancelled = [event for event in events if isinstance(event, OrderCancelled)]
    with_others = [
        (event.client, event.order) for event in cancelled if event.reason is CancelReason.ONE_CANCELS_OTHER
    ]
    found = [key for event in cancelled if (key := (event.client, event.order)) not in with_others]
    linked = linked_at(tale, start)
    right = found == [key for key in due if key not in with_others] and all(
        linked.get(key) in due for key in with_others
    )
    return [] if right else [f"{type(command).__name__} of {command.client}"]


def _is_meant(tale: Tale, end: int, command: CancelAll | DisconnectClient, order: Order) -> bool:
    if isinstance(command, DisconnectClient):
        return _conditions(order).cancel_on_disconnect
    market = order.accepted.market
    stage = tale.stage(end, tale.markets(end)[market].product)
    return command.market in {None, market} and CancelAll in STAGE_COMMANDS[stage]


def _whole(tale: Tale, moment: Moment) -> list[str]:
    """A fill-or-kill order, placed or triggered with this answer, is filled whole or not at all."""
    command, events = moment.what.asked.command, [event.what for event in tale.answer(moment)]
    orders, wrong = orders_at(tale, moment.at), []
    if isinstance(command, PlaceOrder) and command.time_in_force is TimeInForce.FOK:
        key = (command.client, command.order)
        trades = [event for event in events if isinstance(event, TradeExecuted) and parties(event)[1] == key]
        if sum(trade.size_lots for trade in trades) not in {0, command.size_lots}:
            wrong.append(_name(key))
    for event in events:
        if isinstance(event, StopTriggered) and (event.client, event.order) in orders:
            order = orders[event.client, event.order]
            if order.accepted.time_in_force is TimeInForce.FOK and order.filled not in {0, order.size}:
                wrong.append(_name((event.client, event.order)))
    return wrong


# Stops --------------------------------------------------------------------------------------------------------------


def _triggered(tale: Tale) -> Violations:
    for moment in tale.all(StopTriggered):
        key = (moment.what.client, moment.what.order)
        order = orders_at(tale, moment.at).get(key)
        first = [*_due(tale, moment.at), None][0]
        if (
            order is None
            or order.state != "waiting"
            or key != first
            or moment.what.price_ticks != _price_for(tale, moment.at, order)
        ):
            yield moment.step, f"stop {'/'.join(key)}"
    moves = (MarkChanged, PhaseChanged, ProductResumed, StopArmed, TradeExecuted, StopTriggered)
    for moment in tale.all(Done):
        if any(isinstance(event.what, moves) for event in tale.answer(moment)):
            for key in _due(tale, moment.at):
                yield moment.step, f"stop {'/'.join(key)}"


def _due(tale: Tale, end: int) -> Sequence[OrderKey]:
    """The stops that are to be triggered, the first accepted first."""
    if tale.phase(end) is not Phase.OPEN:
        return []
    products = {market.market: market.product for market in tale.setup.markets}
    return [
        key
        for key, order in orders_at(tale, end).items()
        if order.state == "waiting"
        and tale.stage(end, products.get(order.accepted.market, SPOT)) is Stage.OPEN
        and _is_passed(_conditions(order).trigger, _price_for(tale, end, order))
    ]


def _price_for(tale: Tale, end: int, order: Order) -> int | None:
    trigger, market = _conditions(order).trigger, order.accepted.market
    if trigger is not None and trigger.by is TriggerBy.MARK:
        return tale.mark(end, market)
    return last_price(tale, end, market)


def _is_passed(trigger: Trigger | None, price: int | None) -> bool:
    if trigger is None or price is None:
        return False
    above = trigger.when is TriggerWhen.AT_OR_ABOVE
    return price >= trigger.price_ticks if above else price <= trigger.price_ticks
