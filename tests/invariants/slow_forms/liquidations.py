"""LIQ-1, slowly: whether an account may be liquidated, and by which step."""

from holdfast_model.vocabulary import (
    INSURANCE,
    LIQUIDATION_ORDER_PREFIX,
    AssetId,
    Bucket,
    CauseKind,
    Deleveraged,
    EntryPosted,
    Event,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    OrderAccepted,
    OrderCancelled,
    Phase,
    Reason,
    Rejected,
    Side,
    Stage,
    TimeInForce,
    TradeExecuted,
)
from slow_forms.margin import PPM, Account, up
from slow_forms.standing import positions_at
from slow_forms.tale import Asked, Moment, Tale, Violations

_BEYOND = {LiquidationKind.INSURE, LiquidationKind.DELEVERAGE}
_SPARES = {Reason.NOT_BELOW_MAINTENANCE, Reason.NOTHING_TO_LIQUIDATE}
Moved = dict[tuple[str, Bucket, AssetId], int]


def liq_1(tale: Tale) -> Violations:
    """Nobody is liquidated above maintenance, without a mark, while unable to act, or more than needed."""
    for moment in tale.all(LiquidationStepped):
        if moment.asked is None or not isinstance(moment.asked.command, Liquidate):
            yield moment.step, f"step of the liquidation of {moment.what.client} in {moment.what.product}"
    if tale.setup.margin is None:
        return
    for moment in tale.all(Asked):
        command, events = moment.what.command, moment.what.answer.events
        if isinstance(command, Liquidate):
            account = Account(tale, moment.at, command.client, command.product)
            steps = [event for event in events if isinstance(event, LiquidationStepped)]
            if steps:
                name = f"the liquidation of {steps[0].client} in {steps[0].product}"
                for what in _wrong(account, steps, events):
                    yield moment.step, f"{what} of {name}"
            elif _is_spared(account, moment):
                yield moment.step, f"liquidation of {command.client} in {command.product}"


def _can_act(account: Account) -> bool:
    """Whether trading is open, in each product in which the account has a position or an order."""
    tale, end = account.tale, account.end
    engaged = {account.markets[name].product for name, (lots, _) in account.positions.items() if lots}
    engaged |= {account.markets[order.accepted.market].product for order in account.orders.values()}
    return tale.phase(end) is Phase.OPEN and all(tale.stage(end, product) is Stage.OPEN for product in engaged)


def _is_spared(account: Account, moment: Moment) -> bool:
    events = moment.what.answer.events
    if not any(isinstance(event, Rejected) and event.reason in _SPARES for event in events):
        return False
    equity = account.equity
    below = equity is not None and equity < account.maintenance
    return below and due_kind(account) is not None and _can_act(account)


def due_kind(account: Account) -> LiquidationKind | None:
    """The first kind of step that applies."""
    if account.orders:
        return LiquidationKind.CANCEL_ORDERS
    if account.largest is not None:
        if [*account.offered(account.bankruptcy)]:
            return LiquidationKind.REDUCE
        return LiquidationKind.INSURE if insured(account) else LiquidationKind.DELEVERAGE
    if seizure(account):
        return LiquidationKind.SEIZE
    written_off = any(account.insurance(asset) > 0 for asset, _ in account.obligations)
    return LiquidationKind.WRITE_OFF if written_off else None


def insured(account: Account) -> list[tuple[int, int]]:
    """What the fund can pay for beyond the bankruptcy price."""
    market = account.largest
    assert market is not None
    fund, fills = account.insurance(account.markets[market].quote), []
    for price, lots in account.offered(None):
        gap = abs(price - account.bankruptcy) * account.markets[market].tick_amount
        bought = min(lots, fund // gap)
        if bought > 0:
            fills.append((price, bought))
            fund -= bought * gap
        if bought < lots:
            break
    return fills


def seizure(account: Account) -> Moved:
    """What a step for the first obligation that anything can be had for takes, and what the fund pays."""
    items = {item.asset: item for item in account.collateral}
    for asset, amount in account.obligations:
        step = max(1, up(amount * account.margin.liquidation_step_ppm, PPM))
        own = min(step, account.cash(asset))
        if own > 0:
            return {(account.name, Bucket.COLLATERAL, asset): -own}
        most = min(step, account.insurance(asset))
        for item in account.collateral:
            has = account.cash(item.asset)
            if has <= 0 or most <= 0:
                continue
            price, owed_price = account.price(item), account.price(items[asset])
            assert price is not None
            assert owed_price is not None
            value = account.owed_worth(items[asset], most)
            if account.worth(item, has) < value:
                paid, taken = account.worth(item, has) * owed_price[1] // owed_price[0], has
            else:
                paid, taken = most, up(value * price[1] * PPM, price[0] * (PPM - item.haircut_ppm))
            if paid > 0:
                return {
                    (account.name, Bucket.COLLATERAL, item.asset): -taken,
                    (INSURANCE, Bucket.FREE, item.asset): taken,
                    (INSURANCE, Bucket.FREE, asset): -paid,
                }
    return {}


def paid_by(account: Account, events: tuple[Event, ...]) -> Moved:
    """What entries of the fund and of seizures moved of the account's collateral and of the fund."""
    places = {(account.name, Bucket.COLLATERAL), (INSURANCE, Bucket.FREE)}
    moved: Moved = {}
    for event in events:
        if isinstance(event, EntryPosted) and event.cause_kind in {CauseKind.INSURANCE, CauseKind.SEIZURE}:
            for posting in event.postings:
                if (posting.account, posting.bucket) in places:
                    place = (posting.account, posting.bucket, posting.asset)
                    moved[place] = moved.get(place, 0) + posting.amount
    return {place: amount for place, amount in moved.items() if amount}


def _wrong(account: Account, steps: list[LiquidationStepped], events: tuple[Event, ...]) -> list[str]:
    step, wrong = steps[0], ["steps"] * (len(steps) > 1)
    equity = account.equity
    if equity is None:
        return [*wrong, "mark"] + ["owner"] * (not _can_act(account))
    if equity >= account.maintenance:
        wrong.append("equity")
    elif (step.equity, step.maintenance) != (equity, account.maintenance):
        wrong.append("numbers")
    wrong += ["owner"] * (not _can_act(account))
    due = due_kind(account)
    if due is None or (step.kind is not due and not {step.kind, due} <= _BEYOND):
        return [*wrong, "step"]
    if account.largest is not None and due is not LiquidationKind.CANCEL_ORDERS:
        wrong += _of_position(account, step)
    if step.kind is not due:
        return wrong
    if due is LiquidationKind.CANCEL_ORDERS:
        cancelled = {(event.client, event.order) for event in events if isinstance(event, OrderCancelled)}
        wrong += ["orders"] * (cancelled != {*account.orders})
    elif due in {LiquidationKind.REDUCE, LiquidationKind.INSURE}:
        wrong += _in_the_book(account, due, step, events)
    elif due is LiquidationKind.SEIZE and paid_by(account, events) != seizure(account):
        wrong.append("seizure")
    return wrong


def _of_position(account: Account, step: LiquidationStepped) -> list[str]:
    if step.market != account.largest:
        return ["position"]
    wrong = ["bankruptcy price"] * (step.bankruptcy_ticks != account.bankruptcy)
    size, most = step.size_lots or 0, account.step_lots
    right = 0 < size <= most if step.kind is LiquidationKind.INSURE else size == most
    return wrong + ["size"] * (not right)


def _in_the_book(
    account: Account, kind: LiquidationKind, step: LiquidationStepped, events: tuple[Event, ...]
) -> list[str]:
    """One immediate reduce-only order, to the bankruptcy price or as far as the fund pays, takes what is there."""
    market = account.largest
    assert market is not None
    if kind is LiquidationKind.REDUCE:
        fills, limit, lots = [*account.offered(account.bankruptcy)], account.bankruptcy, account.step_lots
    else:
        fills = insured(account)
        limit, lots = fills[-1][0], sum(bought for _, bought in fills)
    side = Side.SELL if account.positions[market][0] > 0 else Side.BUY
    orders = [
        event
        for event in events
        if isinstance(event, OrderAccepted)
        and event.client == step.client
        and event.order.startswith(LIQUIDATION_ORDER_PREFIX)
    ]
    asked = [
        (order.market, order.side, order.size_lots, order.price_ticks, order.time_in_force)
        for order in orders
        if order.conditions is not None and order.conditions.reduce_only
    ]
    wrong = ["order"] * (len(orders) != 1 or asked != [(market, side, lots, limit, TimeInForce.IOC)])
    ids = {order.order for order in orders}
    traded = [
        (event.price_ticks, event.size_lots)
        for event in events
        if isinstance(event, TradeExecuted) and event.taker_client == step.client and event.taker_order in ids
    ]
    return wrong + ["trades"] * (traded != fills)


# ADL-1 --------------------------------------------------------------------------------------------------------------


def adl_1(tale: Tale) -> Violations:
    """Insurance, then deleveraging in the published order, cover exactly what an account cannot pay."""
    for moment in tale.all(Deleveraged):
        if moment.asked is None or not isinstance(moment.asked.command, Liquidate):
            yield moment.step, f"deleveraging of {moment.what.counterparty} in {moment.what.market}"
    if tale.setup.margin is None:
        return
    for moment in tale.all(Asked):
        command, events = moment.what.command, moment.what.answer.events
        steps = [event for event in events if isinstance(event, LiquidationStepped)]
        if isinstance(command, Liquidate) and steps:
            account = Account(tale, moment.at, command.client, command.product)
            for what in _miscovered(account, steps[0], events):
                yield moment.step, f"{what} {steps[0].client} in {steps[0].product}"


def _miscovered(account: Account, step: LiquidationStepped, events: tuple[Event, ...]) -> list[str]:
    due = due_kind(account) if account.equity is not None else None
    if due is None:
        return []
    if step.kind is not due:
        return ["deficit of"] * (step.kind in _BEYOND)
    wrong = ["payment for"] * (
        due is not LiquidationKind.SEIZE and paid_by(account, events) != _covered(account, due)
    )
    told = [event for event in events if isinstance(event, Deleveraged)]
    found = [
        (item.client, item.counterparty, item.size_lots, item.market, item.price_ticks, item.score) for item in told
    ]
    expected = _deleveraged(account) if due is LiquidationKind.DELEVERAGE else []
    return wrong + ["deleveraging for"] * (found != expected)


def _covered(account: Account, due: LiquidationKind) -> Moved:
    """What the fund pays for this step."""
    if due is LiquidationKind.INSURE:
        market = account.largest
        assert market is not None
        of = account.markets[market]
        paid = sum(abs(price - account.bankruptcy) * of.tick_amount * lots for price, lots in insured(account))
        lines = {(account.name, Bucket.COLLATERAL, of.quote): paid, (INSURANCE, Bucket.FREE, of.quote): -paid}
        return {place: amount for place, amount in lines.items() if amount}
    if due is LiquidationKind.WRITE_OFF:
        for asset, amount in account.obligations:
            paid = min(amount, account.insurance(asset))
            if paid > 0:
                return {(INSURANCE, Bucket.FREE, asset): -paid}
    return {}


def _deleveraged(account: Account) -> list[tuple[str, str, int, str, int, int]]:
    """Against whom a step is closed: the highest score first, of equals the first client id."""
    market, tale, left, closed = account.largest, account.tale, account.step_lots, []
    assert market is not None
    long = account.positions[market][0] > 0
    others = {
        client: lots
        for (client, of), (lots, _) in positions_at(tale, account.end).items()
        if of == market and lots and (lots > 0) != long
    }
    scores = {client: _score(Account(tale, account.end, client, account.product), market) for client in others}
    for client in sorted(others, key=lambda other: (-scores[other], other)):
        lots = min(left, abs(others[client]))
        if lots:
            closed.append((account.client, client, lots, market, account.bankruptcy, scores[client]))
            left -= lots
    return closed


def _score(account: Account, market: str) -> int:
    """Profit in ppm of the entry value, times leverage in ppm; or a loss divided by it, as large in the same unit."""
    lots, entry = account.positions[market]
    mark = account.tale.mark(account.end, market)
    assert mark is not None
    value = lots * mark * account.markets[market].tick_amount
    equity = account.equity
    leverage = abs(value) * PPM // max(1, 1 if equity is None else equity)
    profit = (value - entry) * PPM // max(1, abs(entry))
    return profit * leverage if profit >= 0 else profit * PPM * PPM // max(1, leverage)
