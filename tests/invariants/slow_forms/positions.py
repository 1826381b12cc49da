"""POS-1, slowly: each position reckoned again from what happened to it, and from what its account could pay."""

from typing import NamedTuple

from holdfast_model.vocabulary import (
    CLEARING,
    Bucket,
    ClientId,
    Deleveraged,
    EntryPosted,
    FundingSettled,
    Market,
    PositionChanged,
    ProductId,
    Side,
    TradeExecuted,
    TransferCompleted,
    View,
    margin_account,
)
from slow_forms.standing import positions_at, transfers_at
from slow_forms.tale import Done, Moment, Tale, Violations

Position = tuple[int, int]
"""Lots, above zero for a long one, and entry value."""
Key = tuple[str, str]


def pos_1(tale: Tale) -> Violations:
    """Every position follows from the trades, funding and liquidations told, and flips only by trades."""
    if tale.setup.margin is None:
        return
    for moment in tale.all(PositionChanged):
        for subject in _changed(tale, moment):
            yield moment.step, subject
    for moment in tale.all(Done):
        for subject in _done(tale, moment):
            yield moment.step, subject
    for moment in tale.all(View):
        shown = {(item.client, item.market): (item.position_lots, item.entry_value) for item in moment.what.positions}
        told = positions_at(tale, moment.at)
        for key in {*shown, *told}:
            if shown.get(key) != told.get(key):
                yield moment.step, _name(key)
        clearing = sum(
            item.amount for item in moment.what.balances if (item.account, item.bucket) == (CLEARING, Bucket.FREE)
        )
        if clearing != -sum(entry for _, entry in shown.values()):
            yield moment.step, f"{CLEARING} shown"


def _name(key: Key) -> str:
    return f"position {'/'.join(key)}"


def _changed(tale: Tale, moment: Moment) -> list[str]:
    event: PositionChanged = moment.what
    key, now = (event.client, event.market), (event.position_lots, event.entry_value)
    before, start = positions_at(tale, moment.at).get(key, (0, 0)), tale.began(moment)
    traded = any(key in _keys(other) for other in tale.between(start, moment.at, TradeExecuted))
    wrong = [f"direction of {_name(key)}"] * (before[0] * now[0] < 0 and not traded)
    expected = _expected(tale, start, moment.at, key)
    if expected is None:
        # What is owed for a position without lots may be paid: `@clearing` says whether that adds up.
        paid = before[0] == now[0] == 0 and 0 <= now[1] < before[1]
        expected = now if paid else before
    return wrong + [_name(key)] * (now != expected)


def _keys(moment: Moment) -> list[Key]:
    event = moment.what
    match event:
        case TradeExecuted():
            return [(event.maker_client, event.market), (event.taker_client, event.market)]
        case Deleveraged():
            return [(event.client, event.market), (event.counterparty, event.market)]
        case _:
            return []


def _expected(tale: Tale, start: int, end: int, key: Key) -> Position | None:
    """What a position must be told to be, after what was told in this answer since it was told last."""
    told = [other.at for other in tale.between(start, end, PositionChanged) if _is_of(other.what, key)]
    expected: Position | None = None
    for moment in tale.between(told[-1] if told else start, end, TradeExecuted, Deleveraged, FundingSettled):
        before, after = positions_at(tale, moment.at).get(key, (0, 0)), _after(tale, moment, key)
        if after is not None and (after != before or expected is not None):
            expected = after
    return expected


def _is_of(event: PositionChanged, key: Key) -> bool:
    return (event.client, event.market) == key


def _after(tale: Tale, moment: Moment, key: Key) -> Position | None:
    """What an event makes of a position; None where it has nothing to do with it."""
    own = [leg for leg in legs(tale, moment) if (leg.client, moment.what.market) == key]
    return settled(tale, moment, own[-1]).after if own else None


class Leg(NamedTuple):
    """One client's side of what happens to positions: lots that it gains, or loses if negative, a price, a charge."""

    client: ClientId
    lots: int
    price_ticks: int
    charge: int


def legs(tale: Tale, moment: Moment) -> list[Leg]:
    """Both sides of a trade or of a deleveraging, or all that a funding charges; none where there is no perpetual."""
    event, market = moment.what, tale.markets(moment.at).get(moment.what.market)
    if market is None or market.perpetual is None:
        return []
    held = {client: lots for (client, of), (lots, _) in positions_at(tale, moment.at).items() if of == event.market}
    match event:
        case TradeExecuted(price_ticks=price):
            bought = event.size_lots if event.taker_side is Side.BUY else -event.size_lots
            return [
                Leg(event.maker_client, -bought, price, event.maker_fee),
                Leg(event.taker_client, bought, price, event.taker_fee),
            ]
        case Deleveraged(price_ticks=price):
            closed = -event.size_lots if held.get(event.client, 0) > 0 else event.size_lots
            return [Leg(event.client, closed, price, 0), Leg(event.counterparty, -closed, price, 0)]
        case _:
            # Payments are rounded up and receipts down, which is the same: up.
            per_lot = event.mark_ticks * market.tick_amount * event.rate_ppm
            return [Leg(client, 0, 0, -(-lots * per_lot // 1_000_000)) for client, lots in held.items() if lots]


class Settled(NamedTuple):
    """A position afterwards, and what its account was paid in cash, or paid if negative, less the charge."""

    after: Position
    paid: int


def settled(tale: Tale, moment: Moment, leg: Leg) -> Settled:
    """Profit, loss and charge are paid out of the account's cash; what it cannot pay is owed in the entry value."""
    market, change = tale.markets(moment.at)[moment.what.market], leg.lots
    lots, entry = positions_at(tale, moment.at).get((leg.client, market.market), (0, 0))
    closing = min(abs(change), abs(lots)) if change * lots < 0 else 0
    released = _towards_zero(entry * closing, abs(lots)) if closing else 0
    worth = leg.price_ticks * market.tick_amount
    profit = (closing if lots > 0 else -closing) * worth - released
    opening = abs(change) - closing
    opened = (opening if change > 0 else -opening) * worth
    due = profit - leg.charge
    unpaid = _unpaid(tale, moment.at, leg.client, market, due)
    return Settled((lots + change, entry - released + opened + unpaid), due + unpaid)


def _towards_zero(value: int, by: int) -> int:
    return value // by if value >= 0 else -(-value // by)


def account_of(tale: Tale, client: str, product: ProductId) -> str:
    """The ledger account of a client's margin account."""
    return margin_account(client, product, isolated=product in tale.isolated)


def _unpaid(tale: Tale, end: int, client: str, market: Market, due: int) -> int:
    """How much of what an account owes (a negative `due`) its cash cannot pay."""
    assert tale.setup.margin is not None
    account = account_of(tale, client, market.product)
    cash = tale.balance(end, account, Bucket.COLLATERAL, tale.setup.margin.unit)
    return max(0, -(cash + due))


def _done(tale: Tale, moment: Moment) -> list[str]:
    assert tale.setup.margin is not None
    unit, answer = tale.setup.margin.unit, tale.answer(moment)
    start, positions, wrong = moment.at - len(answer), positions_at(tale, moment.at), []
    touched = {
        key
        for event in answer
        for key in (
            *_keys(event),
            *(
                key
                for key in positions_at(tale, event.at)
                if isinstance(event.what, FundingSettled) and key[1] == event.what.market
            ),
        )
    }
    for key in touched:
        expected = _expected(tale, start, moment.at, key)
        if expected is not None and positions.get(key, (0, 0)) != expected:
            wrong.append(_name(key))
    if any(isinstance(event.what, PositionChanged | EntryPosted) for event in answer):
        clearing = tale.balance(moment.at, CLEARING, Bucket.FREE, unit)
        wrong += [CLEARING] * (clearing != -sum(entry for _, entry in positions.values()))
    for event in answer:
        if isinstance(event.what, TransferCompleted):
            wrong += _still_owed(tale, event, moment.at)
    return wrong


def _still_owed(tale: Tale, moment: Moment, end: int) -> list[str]:
    """What is owed for positions without lots is paid first out of collateral that comes in."""
    assert tale.setup.margin is not None
    client, unit = moment.what.client, tale.setup.margin.unit
    under_way = transfers_at(tale, moment.at).get(f"{client}/{moment.what.request}")
    if under_way is None or under_way[3] not in {product.product for product in tale.setup.products}:
        return []
    account = account_of(tale, client, under_way[3])
    cash = tale.balance(end, account, Bucket.COLLATERAL, unit)
    products = {market.market: market.product for market in tale.setup.markets}
    return [
        f"what {client} owes for {market}"
        for (owner, market), (lots, entry) in positions_at(tale, end).items()
        if owner == client and not lots and entry > 0 and cash > 0
        if account_of(tale, client, products[market]) == account
    ]
