"""What an event makes of positions and of money, by the rulebook: reckoned from what was told before it."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from holdfast_invariants.reckoning import PPM, fee_to_come, funding_due, paid, rounded_up, traded
from holdfast_invariants.told import Place, Told, ToldOrder
from holdfast_invariants.told_margin import ToldPosition
from holdfast_model.vocabulary import (
    ARRIVING,
    CLEARING,
    FEES,
    LENDING,
    NETWORK,
    OUTSIDE,
    PROMOTIONS,
    ROUNDING,
    Amount,
    AssetId,
    Borrowed,
    Bucket,
    CauseKind,
    ClientId,
    Deleveraged,
    DepositCredited,
    DepositFinalised,
    FundingSettled,
    HouseFunded,
    InterestAccrued,
    Market,
    PaymentApproved,
    Posting,
    ProductId,
    PromotionGranted,
    Repaid,
    Side,
    SweepCompleted,
    TradeExecuted,
    TransferCompleted,
    TransferStarted,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    margin_account,
)

FREE, HELD, COLLATERAL, BORROWED = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED
_BUY = Side.BUY
Moved = dict[Place, int]


class Settled(Struct, frozen=True, kw_only=True):
    """A position after an event, and what the account was paid in cash for it, or paid if negative.

    `charge` is what others get of it (a fee, funding); the rest is between the account and `@clearing`.
    """

    client: ClientId
    account: str
    before: ToldPosition
    after: ToldPosition
    paid: int
    charge: int


def ledger_account(told: Told, client: ClientId, product: ProductId) -> str:
    """The ledger account of a client's collateral for a product."""
    isolated = any(item.product == product and item.isolated for item in told.setup.products)
    return margin_account(client, product, isolated=isolated)


def _settled(
    told: Told, market: Market, client: ClientId, *, lots: int = 0, price: int = 0, charge: int = 0
) -> Settled:
    """A position after a trade of signed lots and a charge: what there is no cash for is owed in the entry value."""
    assert told.margin is not None
    before = told.margin.position(client, market.market)
    after, profit = traded(before, lots=lots, price=price, tick_amount=market.tick_amount)
    account = ledger_account(told, client, market.product)
    net = profit - charge
    cash = paid(net, cash=told.amounts.get((account, COLLATERAL, market.quote), 0))
    return Settled(
        client=client,
        account=account,
        before=before,
        after=ToldPosition(after.lots, after.entry + cash - net),
        paid=cash,
        charge=charge,
    )


def settled_by_trade(told: Told, market: Market, event: TradeExecuted) -> list[Settled]:
    """Both sides of a trade in a perpetual."""
    lots = event.size_lots if event.taker_side is _BUY else -event.size_lots
    return [
        _settled(told, market, client, lots=signed, price=event.price_ticks, charge=fee)
        for client, signed, fee in (
            (event.maker_client, -lots, event.maker_fee),
            (event.taker_client, lots, event.taker_fee),
        )
    ]


def settled_by_deleveraging(told: Told, market: Market, event: Deleveraged) -> list[Settled]:
    """Both sides of a deleveraging: the bankrupt account's lots are closed against the counterparty's."""
    assert told.margin is not None
    long = told.margin.position(event.client, event.market).lots > 0
    lots = -event.size_lots if long else event.size_lots
    return [
        _settled(told, market, client, lots=signed, price=event.price_ticks)
        for client, signed in ((event.client, lots), (event.counterparty, -lots))
    ]


def settled_by_funding(told: Told, market: Market, event: FundingSettled) -> list[Settled]:
    """All positions of a market at a funding."""
    assert told.margin is not None
    return [
        _settled(
            told,
            market,
            client,
            charge=funding_due(
                position.lots, mark=event.mark_ticks, tick_amount=market.tick_amount, rate_ppm=event.rate_ppm
            ),
        )
        for client, position in told.margin.holders.get(market.market, {}).items()
        if position.lots
    ]


def moved(*lines: tuple[str, Bucket, str, int]) -> Moved:
    """Lines added up by place, without those of nothing."""
    total: Moved = defaultdict(int)
    for account, bucket, asset, amount in lines:
        total[account, bucket, asset] += amount
    return _without_nothing(total)


def _without_nothing(total: Moved) -> Moved:
    return {place: amount for place, amount in total.items() if amount} if 0 in total.values() else total


def of_settled(market: Market, sides: Iterable[Settled], *, charges_to: str) -> Moved:
    """The money that settling moves; the charges go to one account."""
    lines = []
    for side in sides:
        lines += [
            (side.account, COLLATERAL, market.quote, side.paid),
            (CLEARING, FREE, market.quote, -side.paid - side.charge),
            (charges_to, FREE, market.quote, side.charge),
        ]
    return moved(*lines)


def of_trade(told: Told, market: Market, event: TradeExecuted) -> Moved:
    """The money that a trade moves; what is free and what is held of a client counts as one, and so do fees."""
    if market.perpetual is not None and told.margin is not None:
        return of_settled(market, settled_by_trade(told, market, event), charges_to=FEES)
    value = event.price_ticks * event.size_lots * market.tick_amount
    base = event.size_lots * market.lot_amount
    if event.taker_side is not _BUY:
        base, value = -base, -value
    return moved(
        (event.taker_client, FREE, market.base, base),
        (event.taker_client, FREE, market.quote, -value - event.taker_fee),
        (event.maker_client, FREE, market.base, -base),
        (event.maker_client, FREE, market.quote, value - event.maker_fee),
        (FEES, FREE, market.quote, event.maker_fee + event.taker_fee),
    )


def is_of_spot_trade(postings: Iterable[Posting], event: TradeExecuted, market: Market) -> bool:
    """Whether `as_of_trade` of these postings is plainly `of_trade` of a spot trade: a quarter of the cost of both.

    They are to be compared where it is not: an entry may move nothing in a roundabout way.
    """
    value = event.price_ticks * event.size_lots * market.tick_amount
    lots = event.size_lots * market.lot_amount
    if event.taker_side is not _BUY:
        lots, value = -lots, -value
    quote, taker, maker = market.quote, event.taker_client, event.maker_client
    if taker == maker:
        return False
    # What is still to be posted: in the end nothing.
    bases = {taker: lots, maker: -lots}
    quotes = {
        taker: -value - event.taker_fee,
        maker: value - event.maker_fee,
        FEES: event.maker_fee + event.taker_fee,
        ROUNDING: 0,
    }
    try:
        for posting in postings:
            bucket, asset = posting.bucket, posting.asset
            if bucket is not FREE and bucket is not HELD:
                return False
            if asset == quote:
                quotes[posting.account] -= posting.amount
            elif asset == market.base:
                bases[posting.account] -= posting.amount
            else:
                return False
    except KeyError:
        return False
    quotes[FEES] += quotes[ROUNDING]
    quotes[ROUNDING] = 0
    return not any(quotes.values()) and not any(bases.values())


def as_of_trade(postings: Iterable[Posting]) -> Moved:
    """What a trade's entry moved, with what is held counted as free, and rounding as a fee."""
    total: Moved = {}
    for posting in postings:
        account, bucket = posting.account, posting.bucket
        place = (FEES if account == ROUNDING else account, FREE if bucket is HELD else bucket, posting.asset)
        total[place] = total.get(place, 0) + posting.amount
    return _without_nothing(total)


def to_hold(market: Market, order: ToldOrder) -> tuple[AssetId, int]:
    """What is to be held for what is left of a spot order with a price: base, or price times size and a fee.

    The fee is at the higher rate: whether a fill is a maker's or a taker's is not known before.
    """
    assert order.price_ticks is not None
    if order.side is not _BUY:
        return market.base, order.left_lots * market.lot_amount
    value = order.price_ticks * order.left_lots * market.tick_amount
    return market.quote, value + fee_to_come(market, value, order.fee_numerator)


def of_interest(told: Told, event: InterestAccrued) -> Moved:
    """The money of a period's interest: every debt grows by it, rounded up."""
    lines = []
    for client in told.setup.clients:
        exact = -told.amounts.get((client, BORROWED, event.asset), 0) * event.rate_ppm
        lines += [
            (client, BORROWED, event.asset, -rounded_up(exact, PPM)),
            (LENDING, BORROWED, event.asset, exact // PPM),
            (ROUNDING, BORROWED, event.asset, rounded_up(exact, PPM) - exact // PPM),
        ]
    return moved(*lines)


def _wallet(told: Told, client: ClientId, product: ProductId) -> tuple[str, Bucket]:
    if any(item.product == product for item in told.setup.products):
        return ledger_account(told, client, product), COLLATERAL
    return client, FREE


def of_transfer(told: Told, event: TransferStarted | TransferCompleted) -> Moved | None:
    """The money of a transfer that leaves or arrives; None for one that nobody was told of."""
    assert told.margin is not None
    if isinstance(event, TransferStarted):
        source = _wallet(told, event.client, event.source)
        return moved((*source, event.asset, -event.amount), (event.client, HELD, event.asset, event.amount))
    transfer = told.margin.transfers.get((event.client, event.request))
    if transfer is None:
        return None
    target = _wallet(told, event.client, transfer.target)
    return moved((event.client, HELD, transfer.asset, -transfer.amount), (*target, transfer.asset, transfer.amount))


_FROM_TO: dict[type, tuple[CauseKind, tuple[str, Bucket], tuple[str, Bucket]]] = {
    DepositFinalised: (CauseKind.ARRIVAL, (OUTSIDE, FREE), (ARRIVING, FREE)),
    DepositCredited: (CauseKind.DEPOSIT, (OUTSIDE, FREE), ("", FREE)),
    WithdrawalRequested: (CauseKind.WITHDRAWAL_HOLD, ("", FREE), ("", HELD)),
    WithdrawalPaid: (CauseKind.WITHDRAWAL_PAYMENT, ("", HELD), (OUTSIDE, FREE)),
    WithdrawalRefunded: (CauseKind.WITHDRAWAL_REFUND, ("", HELD), ("", FREE)),
    HouseFunded: (CauseKind.HOUSE_FUNDING, (OUTSIDE, FREE), ("", FREE)),
    PromotionGranted: (CauseKind.PROMOTION, (PROMOTIONS, FREE), ("", FREE)),
}
"""Events that move one amount from one place to another, where no account stands for the event's own."""

Payment = (
    DepositFinalised
    | DepositCredited
    | WithdrawalRequested
    | WithdrawalPaid
    | WithdrawalRefunded
    | HouseFunded
    | PromotionGranted
    | Borrowed
    | Repaid
)


def of_payment(told: Told, event: Payment) -> tuple[CauseKind, Moved]:
    """The kind of entry and the money of an event that moves one amount of one asset, a chain's fee included.

    With custody a deposit has arrived before it is credited. A repayment pays the pool first, then rounding.
    """
    asset, amount = event.asset, event.amount
    if isinstance(event, WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded):
        amount = Amount(amount + event.fee)
    if isinstance(event, Borrowed):
        return CauseKind.BORROW, moved(
            (LENDING, FREE, asset, -amount),
            (event.client, FREE, asset, amount),
            (event.client, BORROWED, asset, -amount),
            (LENDING, BORROWED, asset, amount),
        )
    if isinstance(event, Repaid):
        to_pool = min(amount, told.amounts.get((LENDING, BORROWED, asset), 0))
        return CauseKind.REPAY, moved(
            (event.client, FREE, asset, -amount),
            (event.client, BORROWED, asset, amount),
            (LENDING, FREE, asset, to_pool),
            (LENDING, BORROWED, asset, -to_pool),
            (ROUNDING, FREE, asset, amount - to_pool),
            (ROUNDING, BORROWED, asset, to_pool - amount),
        )
    kind, source, target = _FROM_TO[type(event)]
    if isinstance(event, DepositCredited) and told.custody is not None:
        source = (ARRIVING, FREE)
    own = event.account if isinstance(event, HouseFunded) else event.client
    return kind, moved((source[0] or own, source[1], asset, -amount), (target[0] or own, target[1], asset, amount))


def of_sweep(told: Told, event: PaymentApproved | SweepCompleted) -> Moved:
    """The money of a sweep: its chain's fee, which is held when it is approved, and spent when it is final."""
    if isinstance(event, SweepCompleted):
        return moved((NETWORK, HELD, event.asset, -event.fee), (OUTSIDE, FREE, event.asset, event.fee))
    fee = told.custody.fees.get(event.intent.asset, 0) if told.custody is not None else 0
    return moved((NETWORK, FREE, event.intent.asset, -fee), (NETWORK, HELD, event.intent.asset, fee))
