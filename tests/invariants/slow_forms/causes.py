"""CONS-4, slowly: entries against what else their answer tells, loans against the pool, new risk against margin."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from holdfast_model.vocabulary import (
    ARRIVING,
    CLEARING,
    FEES,
    INSURANCE,
    LENDING,
    LIQUIDATION_ORDER_PREFIX,
    NETWORK,
    OUTSIDE,
    PROMOTIONS,
    ROUNDING,
    SPOT,
    SWEEP_PREFIX,
    AmendOrder,
    Answer,
    AssetId,
    Borrow,
    Borrowed,
    Bucket,
    CauseKind,
    Command,
    CreditDeposit,
    Deleveraged,
    DepositCredited,
    DepositFinalised,
    EntryPosted,
    Event,
    FundHouse,
    FundingSettled,
    GrantPromotion,
    HouseFunded,
    InterestAccrued,
    LiquidationStepped,
    Market,
    OrderAccepted,
    OrderAmended,
    PaymentApproved,
    PlaceOrder,
    ProductId,
    PromotionGranted,
    Repaid,
    Repay,
    RequestWithdrawal,
    Side,
    SweepCompleted,
    TradeExecuted,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from slow_forms.book import Order, OrderKey, orders_at, parties
from slow_forms.margin import PPM, Account, Risk, charged, fee_to_come, up
from slow_forms.positions import account_of, legs, settled
from slow_forms.standing import balances_at, transfers_at, withdrawals_at
from slow_forms.tale import Asked, Done, Moment, Tale, Violations

FREE, HELD, COLLATERAL, BORROWED = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED
Line = tuple[str, Bucket, AssetId, int]
Moved = dict[tuple[str, Bucket, AssetId], int]
"""By account, bucket and asset what is there more, or less; nothing where nothing changed."""


def cons_4(tale: Tale) -> Violations:
    """No command moves more than its cause allows, lends what is not there, or adds risk without margin."""
    yield from _unasked(tale)
    yield from _unexplained(tale)
    yield from _misheld(tale)
    yield from _paid_for_somebody_else(tale)
    yield from _beyond_the_pool(tale)
    if tale.setup.margin is not None:
        yield from _without_margin(tale)


# A command has one effect, and that is what it asks for -------------------------------------------------------------

_ASKED_BY: dict[type, type] = {
    DepositCredited: CreditDeposit,
    WithdrawalRequested: RequestWithdrawal,
    HouseFunded: FundHouse,
    PromotionGranted: GrantPromotion,
    TransferStarted: TransferMargin,
    Borrowed: Borrow,
    Repaid: Repay,
    OrderAccepted: PlaceOrder,
    OrderAmended: AmendOrder,
}


def _unasked(tale: Tale) -> Violations:
    for moment in tale.all(Asked):
        command = moment.what.command
        effects = [told for told in tale.answer(moment) if _is_to_be_asked_for(tale, told.what)]
        for told in effects:
            if told is not effects[0] or not _asks_for(command, told.what):
                yield told.step, f"{type(told.what).__name__} of {type(command).__name__}"


def _is_to_be_asked_for(tale: Tale, event: Event) -> bool:
    """Chains bring deposits about where there is custody, and liquidations orders of their own."""
    if isinstance(event, DepositCredited):
        return tale.setup.custody is None
    if isinstance(event, OrderAccepted):
        return not event.order.startswith(LIQUIDATION_ORDER_PREFIX)
    return type(event) in _ASKED_BY


def _asks_for(command: Command, event: Event) -> bool:
    """Whether the event is what the command asks for, in everything that the command says."""
    if type(command) is not _ASKED_BY[type(event)]:
        return False
    return all(getattr(command, said) == getattr(event, said) for said in command.__struct_fields__)


# Entries are explained, one by one, by what else the answer tells ---------------------------------------------------

_HOLDS = {CauseKind.ORDER_HOLD, CauseKind.ORDER_RELEASE}
_OF_LIQUIDATIONS = {CauseKind.INSURANCE, CauseKind.SEIZURE}
_OBLIGATIONS = {CauseKind.SETTLEMENT, *_OF_LIQUIDATIONS}


def _unexplained(tale: Tale) -> Violations:
    for moment in tale.all(Done):
        answer = tale.answer(moment)
        causes = [cause for told in answer if (cause := _moves(tale, told)) is not None]
        posted = [told.what for told in answer if isinstance(told.what, EntryPosted)]
        kinds = {kind for kind, _ in causes} | {entry.cause_kind for entry in posted}
        for kind in kinds - _HOLDS - _OBLIGATIONS:
            entries = [entry for entry in posted if entry.cause_kind is kind]
            due = [moved for of, moved in causes if of is kind and moved]
            for entry, moved, allowed in zip_longest(_first_of(kind, entries), _as_moved(kind, entries), due):
                if entry is None:
                    yield moment.step, f"{kind} without an entry"
                elif moved != allowed:
                    yield moment.step, _name(entry)


def _name(entry: EntryPosted) -> str:
    return f"entry {entry.cause_kind} {entry.cause}"


def _first_of(kind: CauseKind, entries: list[EntryPosted]) -> list[EntryPosted]:
    return entries[:1] if kind is CauseKind.INTEREST else entries


def _as_moved(kind: CauseKind, entries: list[EntryPosted]) -> list[Moved]:
    """What entries of one kind moved. A period's interest is many entries, one for each who owes."""
    if kind is CauseKind.INTEREST and entries:
        return [_sum(line for entry in entries for line in _lines(entry))]
    return [_sum(_of_trade(line) if kind is CauseKind.TRADE else line for line in _lines(entry)) for entry in entries]


def _lines(entry: EntryPosted) -> list[Line]:
    return [(item.account, item.bucket, item.asset, item.amount) for item in entry.postings]


def _of_trade(line: Line) -> Line:
    """A trade is paid out of what is held or free, and its fee may be all remainder: that is CONS-3's to say."""
    account, bucket, asset, amount = line
    return (FEES if account == ROUNDING else account, FREE if bucket is HELD else bucket, asset, amount)


def _sum(lines: Iterable[Line]) -> Moved:
    moved: Moved = {}
    for account, bucket, asset, amount in lines:
        moved[account, bucket, asset] = moved.get((account, bucket, asset), 0) + amount
    return {place: amount for place, amount in moved.items() if amount}


Cause = tuple[CauseKind, Moved]
"""The kind of entry that an event calls for, and what it is to move."""


def _moves(tale: Tale, moment: Moment) -> Cause | None:
    """What an event calls for; None where it moves nothing."""
    match event := moment.what:
        case TradeExecuted() | FundingSettled() | Deleveraged():
            return _of_market(tale, moment)
        case TransferStarted() | TransferCompleted():
            return _of_transfer(tale, moment)
        case PaymentApproved() if event.intent.payment.startswith(SWEEP_PREFIX):
            asset = event.intent.asset
            return CauseKind.NETWORK_FEE, _paid(asset, _chain_fee(tale, asset), (NETWORK, FREE), (NETWORK, HELD))
        case SweepCompleted():
            return CauseKind.NETWORK_FEE, _paid(event.asset, event.fee, (NETWORK, HELD), (OUTSIDE, FREE))
        case InterestAccrued():
            return CauseKind.INTEREST, _interest(tale, moment)
        case Borrowed() | Repaid():
            return _of_loan(tale, moment)
        case _:
            return _of_payment(tale, moment)


def _paid(asset: AssetId, amount: int, source: tuple[str, Bucket], target: tuple[str, Bucket]) -> Moved:
    return _sum([(*source, asset, -amount), (*target, asset, amount)])


def _chain_fee(tale: Tale, asset: AssetId) -> int:
    chains = tale.setup.custody.chains if tale.setup.custody is not None else ()
    return sum(chain.fee for chain in chains if chain.asset == asset)


def _of_payment(tale: Tale, moment: Moment) -> Cause | None:
    event, custody = moment.what, tale.setup.custody is not None
    match event:
        case DepositFinalised():
            # It arrives once, whatever becomes of it: what was undone and is final again has its entry.
            if any(
                (other.asset, other.transaction) == (event.asset, event.transaction)
                for other in tale.before(moment.at, DepositFinalised)
            ):
                return None
            return CauseKind.ARRIVAL, _paid(event.asset, event.amount, (OUTSIDE, FREE), (ARRIVING, FREE))
        case DepositCredited():
            source = ARRIVING if custody else OUTSIDE
            return CauseKind.DEPOSIT, _paid(event.asset, event.amount, (source, FREE), (event.client, FREE))
        case HouseFunded():
            return CauseKind.HOUSE_FUNDING, _paid(event.asset, event.amount, (OUTSIDE, FREE), (event.account, FREE))
        case PromotionGranted():
            return CauseKind.PROMOTION, _paid(event.asset, event.amount, (PROMOTIONS, FREE), (event.client, FREE))
        case WithdrawalRequested() | WithdrawalPaid() | WithdrawalRefunded():
            free, held, outside = (event.client, FREE), (event.client, HELD), (OUTSIDE, FREE)
            kind, source_of, target_of = {
                WithdrawalRequested: (CauseKind.WITHDRAWAL_HOLD, free, held),
                WithdrawalPaid: (CauseKind.WITHDRAWAL_PAYMENT, held, outside),
                WithdrawalRefunded: (CauseKind.WITHDRAWAL_REFUND, held, free),
            }[type(event)]
            return kind, _paid(event.asset, event.amount + event.fee, source_of, target_of)
        case _:
            return None


def _of_loan(tale: Tale, moment: Moment) -> Cause:
    """A loan is paid out of the pool, and owed to it; a repayment goes to the pool first, then to rounding."""
    event = moment.what
    client, asset, amount = event.client, event.asset, event.amount
    if isinstance(event, Borrowed):
        owed = [(client, BORROWED, asset, -amount), (LENDING, BORROWED, asset, amount)]
        return CauseKind.BORROW, _sum([(LENDING, FREE, asset, -amount), (client, FREE, asset, amount), *owed])
    to_pool = min(amount, tale.balance(moment.at, LENDING, BORROWED, asset))
    lines = [(client, FREE, asset, -amount), (client, BORROWED, asset, amount)]
    for account, share in (LENDING, to_pool), (ROUNDING, amount - to_pool):
        lines += [(account, FREE, asset, share), (account, BORROWED, asset, -share)]
    return CauseKind.REPAY, _sum(lines)


def _interest(tale: Tale, moment: Moment) -> Moved:
    """What each debt grows by, rounded up; the whole part is the pool's, what rounding added is rounding's."""
    asset, lines = moment.what.asset, []
    for client in tale.setup.clients:
        exact = -tale.balance(moment.at, client, BORROWED, asset) * moment.what.rate_ppm
        earned, charged = exact // PPM, up(exact, PPM)
        lines.append((client, BORROWED, asset, -charged))
        lines += [(LENDING, BORROWED, asset, earned), (ROUNDING, BORROWED, asset, charged - earned)]
    return _sum(lines)


def _of_transfer(tale: Tale, moment: Moment) -> Cause | None:
    """Collateral that leaves is held until it arrives."""
    event = moment.what
    held = (event.client, HELD)
    if isinstance(event, TransferStarted):
        return CauseKind.TRANSFER, _paid(event.asset, event.amount, _wallet(tale, event.client, event.source), held)
    under_way = transfers_at(tale, moment.at).get(f"{event.client}/{event.request}")
    if under_way is None:
        return None
    amount, asset, _, target = under_way
    return CauseKind.TRANSFER, _paid(asset, amount, held, _wallet(tale, event.client, target))


def _wallet(tale: Tale, client: str, product: ProductId) -> tuple[str, Bucket]:
    """Where a client's collateral for a product is; for none, what is free."""
    margined = any(item.product == product for item in tale.setup.products)
    return (account_of(tale, client, product), COLLATERAL) if margined else (client, FREE)


def _of_market(tale: Tale, moment: Moment) -> Cause | None:
    event, market = moment.what, tale.markets(moment.at).get(moment.what.market)
    if market is None:
        return None
    if isinstance(event, TradeExecuted):
        spot = market.perpetual is None
        return CauseKind.TRADE, _spot_trade(event, market) if spot else _settlements(tale, moment, market, FEES)
    kind = CauseKind.FUNDING if isinstance(event, FundingSettled) else CauseKind.DELEVERAGING
    return kind, _settlements(tale, moment, market, ROUNDING)


def _spot_trade(event: TradeExecuted, market: Market) -> Moved:
    """The buyer has the base and the seller the quote amount; each pays its fee."""
    maker, taker = event.maker_client, event.taker_client
    buyer, seller = (taker, maker) if event.taker_side is Side.BUY else (maker, taker)
    base, quote = event.size_lots * market.lot_amount, event.price_ticks * event.size_lots * market.tick_amount
    return _sum(
        [
            (buyer, FREE, market.base, base),
            (seller, FREE, market.base, -base),
            (seller, FREE, market.quote, quote),
            (buyer, FREE, market.quote, -quote),
            (maker, FREE, market.quote, -event.maker_fee),
            (taker, FREE, market.quote, -event.taker_fee),
            (FEES, FREE, market.quote, event.maker_fee + event.taker_fee),
        ]
    )


def _settlements(tale: Tale, moment: Moment, market: Market, charges_to: str) -> Moved:
    """Profit and loss are between the accounts and `@clearing`; charges go to one account of the house."""
    lines: list[Line] = []
    for leg in legs(tale, moment):
        _, paid = settled(tale, moment, leg)
        lines.append((account_of(tale, leg.client, market.product), COLLATERAL, market.quote, paid))
        lines.append((charges_to, FREE, market.quote, leg.charge))
        lines.append((CLEARING, FREE, market.quote, -paid - leg.charge))
    return _sum(lines)


# What is held, and what is paid for an account ----------------------------------------------------------------------


def _misheld(tale: Tale) -> Violations:
    """What is held for an order stays with its client, in one asset, and clients have held just what is to be."""
    for moment in tale.all(EntryPosted):
        if moment.what.cause_kind in _HOLDS:
            lines = _lines(moment.what)
            places = {(account, asset) for account, _, asset, _ in lines}
            buckets = {bucket for _, bucket, _, _ in lines}
            if len(places) > 1 or not buckets <= {FREE, HELD} or sum(amount for *_, amount in lines) != 0:
                yield moment.step, _name(moment.what)
    for moment in tale.all(View):
        held = {
            (account, asset): amount
            for (account, bucket, asset), amount in balances_at(tale, moment.at).items()
            if bucket == HELD and not account.startswith("@")
        }
        needed = _to_be_held(tale, moment.at)
        for account, asset in {*held, *needed}:
            if held.get((account, asset), 0) != needed.get((account, asset), 0):
                yield moment.step, f"held of {account} {asset}"


def _to_be_held(tale: Tale, end: int) -> Mapping[tuple[str, AssetId], int]:
    """What is to be held of each client and asset: for open orders, and for withdrawals and transfers under way."""
    over, markets = {WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED}, tale.markets(end)
    holds = [
        (f"{key[0]}/", *_hold(tale, end, key, order, markets[order.accepted.market]))
        for key, order in orders_at(tale, end).items()
        if order.is_open and order.accepted.market in markets
    ]
    holds += [
        (label, asset, amount + fee)
        for label, (asset, amount, fee, _, status) in withdrawals_at(tale, end).items()
        if status not in over
    ]
    holds += [(label, asset, amount) for label, (amount, asset, _, _) in transfers_at(tale, end).items()]
    needed: dict[tuple[str, AssetId], int] = {}
    for label, asset, amount in holds:
        client, _, _ = label.partition("/")
        needed[client, asset] = needed.get((client, asset), 0) + amount
    return needed


def _hold(tale: Tale, end: int, key: OrderKey, order: Order, market: Market) -> tuple[AssetId, int]:
    """A sell holds its base; a buy its price times size, and its fee still to come at the higher rate."""
    if market.perpetual is not None or order.price is None:
        return market.quote, 0
    if order.accepted.side is Side.SELL:
        return market.base, order.left * market.lot_amount
    value = order.price * order.left * market.tick_amount
    return market.quote, value + fee_to_come(market, value, charged(tale, end, key))


def _paid_for_somebody_else(tale: Tale) -> Violations:
    """What is paid for an account is between it and the house; insurance and seizures only in a liquidation."""
    house = {INSURANCE, CLEARING, LENDING, ROUNDING}
    for moment in tale.all(Asked):
        in_liquidation = False
        for told in tale.answer(moment):
            in_liquidation |= isinstance(told.what, LiquidationStepped)
            if not isinstance(told.what, EntryPosted) or told.what.cause_kind not in _OBLIGATIONS:
                continue
            owners = {item.account.partition("@")[0] for item in told.what.postings if item.account not in house}
            unprompted = told.what.cause_kind in _OF_LIQUIDATIONS and not in_liquidation
            if unprompted or len(owners) > 1:
                yield told.step, _name(told.what)


# What is lent or granted is there, and within its limit -------------------------------------------------------------


def _beyond_the_pool(tale: Tale) -> Violations:
    margin = tale.setup.margin
    for moment in tale.all(PromotionGranted, Borrowed):
        event = moment.what
        if isinstance(event, Borrowed):
            pool, limits = LENDING, margin.credit if margin is not None else ()
            used = -tale.balance(moment.at, event.client, BORROWED, event.asset)
        else:
            pool, limits, used = PROMOTIONS, tale.setup.promotion_max, 0
        most = sum(limit.amount for limit in limits if limit.asset == event.asset) - used
        if event.amount > min(most, tale.balance(moment.at, pool, FREE, event.asset)):
            yield moment.step, f"{type(event).__name__} to {event.client}"


# New risk is borne --------------------------------------------------------------------------------------------------


def _without_margin(tale: Tale) -> Violations:
    """What takes more risk is looked at as things stand before its answer."""
    for moment in tale.all(Asked):
        command, answer = moment.what.command, moment.what.answer
        first: Any = answer.events[0] if answer.events else None
        match command:
            case PlaceOrder() if isinstance(first, OrderAccepted):
                what = _placed(tale, moment.at, command, answer)
            case AmendOrder() if isinstance(first, OrderAmended):
                what = _amended(tale, moment.at, command)
            case TransferMargin() if isinstance(first, TransferStarted):
                what = _transferred(tale, moment.at, command)
            case Borrow() if isinstance(first, Borrowed):
                account = Account(tale, moment.at, command.client, SPOT, lent={command.asset: command.amount})
                what = [] if _leaves_initial_margin(account) else [f"loan {command.client}/{command.request}"]
            case _:
                what = []
        for subject in what:
            yield moment.step, f"margin for {subject}"


def _leaves_initial_margin(account: Account) -> bool:
    """Whether there is equity and initial margin to speak of, and the first is at least the second."""
    equity, needed = account.equity, account.initial([*account.resting.values()])
    return equity is not None and needed is not None and equity >= needed


def _bears(account: Account, others: list[Risk], new: Risk) -> bool:
    """Whether the account has its margin with a new order; with one that only reduces, what all orders may lose."""
    orders = [*others, new]
    equity = account.equity
    needed = account.losses(orders) if new.reduces else account.initial(orders)
    marked = account.tale.mark(account.end, new.market) is not None
    return marked and equity is not None and needed is not None and equity >= needed


def _placed(tale: Tale, end: int, command: PlaceOrder, answer: Answer) -> list[str]:
    """An order is borne at its limit; a market order at its fills, of which a stop has none yet."""
    market = tale.markets(end).get(command.market)
    if market is None or market.perpetual is None:
        return []
    waits = command.conditions is not None and command.conditions.trigger is not None
    if command.price_ticks is not None:
        fills = [(command.price_ticks, command.size_lots)]
    else:
        fills = [
            (event.price_ticks, event.size_lots)
            for event in answer.events
            if isinstance(event, TradeExecuted) and parties(event)[1] == (command.client, command.order) and not waits
        ]
    reduces = command.conditions is not None and command.conditions.reduce_only
    new = Risk(command.market, command.side, command.size_lots, fills, reduces=reduces)
    account = Account(tale, end, command.client, market.product)
    borne = _bears(account, [*account.resting.values()], new)
    return [] if borne else [f"order {command.client}/{command.order} in {command.market}"]


def _amended(tale: Tale, end: int, command: AmendOrder) -> list[str]:
    """An amendment is borne as an order in its place would be, unless it keeps the price for no larger size."""
    key = (command.client, command.order)
    order = orders_at(tale, end).get(key)
    market = None if order is None else tale.markets(end).get(order.accepted.market)
    if order is None or market is None or market.perpetual is None:
        return []
    left = command.size_lots - order.filled
    if command.price_ticks == order.price and left <= order.left:
        return []
    account = Account(tale, end, command.client, market.product)
    others = [risk for other, risk in account.resting.items() if other != key]
    amended = replace(account.rest_of(key, order), lots=left, fills=[(command.price_ticks, left)])
    borne = _bears(account, others, amended)
    return [] if borne else [f"order {command.client}/{command.order} in {market.market}"]


def _transferred(tale: Tale, end: int, command: TransferMargin) -> list[str]:
    """What stays in an account that has positions, open orders or debts is its initial margin."""
    if command.source == SPOT:
        return []
    account = Account(tale, end, command.client, command.source, taken={command.asset: command.amount})
    owes = any(account.debt(item.asset) for item in account.collateral)
    idle = not (account.positions or account.orders or owes)
    return [] if idle or _leaves_initial_margin(account) else [f"transfer {command.client}/{command.request}"]
