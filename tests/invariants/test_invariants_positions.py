"""POS-1, POS-2 and CONS-4 on histories made by hand, with the numbers of the rulebook worked out beside them."""

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import asdict
from slow_forms.forms import assert_both_find_the_same

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.causes import CausesBoundEffects
from holdfast_invariants.monitor import Invariant, Kind, Monitor, Severity
from holdfast_invariants.positions import PositionsAreRecomputable, PositionsSumToZero
from holdfast_model.vocabulary import (
    CLEARING,
    FEES,
    INSURANCE,
    LENDING,
    OUTSIDE,
    PROMOTIONS,
    ROUNDING,
    AccrueInterest,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    Answer,
    AssetAmount,
    Balance,
    Borrow,
    Borrowed,
    Bucket,
    CauseKind,
    Collateral,
    Conditions,
    CreditDeposit,
    Deleveraged,
    DepositCredited,
    EntryPosted,
    Event,
    FundHouse,
    FundingSettled,
    GrantPromotion,
    HouseFunded,
    InterestAccrued,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    Margin,
    MarkChanged,
    Market,
    MarkRule,
    OrderAccepted,
    OrderAmended,
    OrderRested,
    Perpetual,
    PlaceOrder,
    Position,
    PositionChanged,
    Posting,
    PriceTicks,
    Product,
    PromotionGranted,
    Reason,
    Record,
    Rejected,
    Repaid,
    Repay,
    SelfTrade,
    SettleFunding,
    Setup,
    Side,
    SizeLots,
    Step,
    TakeSnapshot,
    Tier,
    TimeInForce,
    TradeExecuted,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
    View,
)

FREE, HELD, COLLATERAL, BORROWED = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED
RULE = MarkRule(sources=("a", "b"), sources_min=1, age_max_ms=10, band_ppm=100_000)
PERPETUAL = Perpetual(
    tiers=(Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),), funding_ppm_max=100_000
)


def market(name: str, **kind: Any) -> Market:  # noqa: ANN401 - fields
    return Market(market=name, base="BTC", quote="USD", lot_amount=Amount(10), tick_amount=Amount(1), **kind)


SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        market("S", mark=RULE, taker_fee_ppm=100_000),
        market("P", mark=RULE, perpetual=PERPETUAL, product="linear", taker_fee_ppm=100_000),
        market("I", mark=RULE, perpetual=PERPETUAL, product="island"),
    ),
    clients=("alice", "bob", "carol"),
    products=(Product(product="linear"), Product(product="island", isolated=True)),
    margin=Margin(
        unit="USD",
        collateral=(Collateral(asset="USD"), Collateral(asset="BTC", market="S")),
        credit=(AssetAmount(asset="USD", amount=Amount(50)),),
    ),
    promotion_max=(AssetAmount(asset="USD", amount=Amount(5)),),
)


def catalogue(*monitors: type[Monitor]) -> tuple[Invariant, ...]:
    return tuple(
        Invariant(
            id=monitor.invariant,
            kind=Kind.ALWAYS,
            sentence="",
            severity=Severity.CRITICAL,
            incidents=(),
            needs=frozenset(),
            monitor=monitor,
        )
        for monitor in monitors
    )


ALL = catalogue(PositionsAreRecomputable, PositionsSumToZero, CausesBoundEffects)


# Words --------------------------------------------------------------------------------------------------------------


def told(*events: Event, step: Step | None = None) -> Record:
    return Record(step=step or AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events),))


def entry(kind: CauseKind, *lines: tuple[str, Bucket, str, int], cause: str = "c") -> EntryPosted:
    return EntryPosted(
        cause_kind=kind,
        cause=cause,
        postings=tuple(
            Posting(account=account, bucket=bucket, asset=asset, amount=Amount(amount))
            for account, bucket, asset, amount in lines
        ),
    )


def trade(
    number: int, buyer: str, seller: str, size: int, price: int, *, name: str = "P", fee: int = 0
) -> TradeExecuted:
    """The buyer takes."""
    return TradeExecuted(
        trade=number,
        market=name,
        price_ticks=PriceTicks(price),
        size_lots=SizeLots(size),
        taker_side=Side.BUY,
        maker_client=seller,
        maker_order="m",
        taker_client=buyer,
        taker_order="t",
        maker_fee=Amount(0),
        taker_fee=Amount(fee),
    )


def position(client: str, lots: int, value: int, name: str = "P") -> PositionChanged:
    return PositionChanged(client=client, market=name, position_lots=SizeLots(lots), entry_value=Amount(value))


def deposit(client: str, asset: str, amount: int, transaction: str) -> tuple[Event, ...]:
    return (
        DepositCredited(client=client, asset=asset, amount=Amount(amount), transaction=transaction),
        entry(CauseKind.DEPOSIT, (OUTSIDE, FREE, asset, -amount), (client, FREE, asset, amount)),
    )


def credited(client: str, asset: str, amount: int, transaction: str) -> Record:
    command = CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=transaction)
    return told(*deposit(client, asset, amount, transaction), step=command)


def transfer(
    client: str,
    amount: int,
    request: str,
    *more: Event,
    target: str = "linear",
    account: str | None = None,
    arrives: int | None = None,
) -> Record:
    words: dict[str, Any] = {
        "client": client,
        "request": request,
        "asset": "USD",
        "amount": Amount(amount),
        "source": "spot",
        "target": target,
    }
    arrives = amount if arrives is None else arrives
    return told(
        TransferStarted(**words),
        entry(CauseKind.TRANSFER, (client, FREE, "USD", -amount), (client, HELD, "USD", amount)),
        TransferCompleted(client=client, request=request),
        entry(CauseKind.TRANSFER, (client, HELD, "USD", -arrives), (account or client, COLLATERAL, "USD", arrives)),
        *more,
        step=TransferMargin(**words),
    )


def funded(account: str, amount: int, transaction: str) -> Record:
    words: dict[str, Any] = {
        "account": account,
        "asset": "USD",
        "amount": Amount(amount),
        "transaction": transaction,
    }
    lines = ((OUTSIDE, FREE, "USD", -amount), (account, FREE, "USD", amount))
    return told(
        HouseFunded(**words), entry(CauseKind.HOUSE_FUNDING, *lines, cause=transaction), step=FundHouse(**words)
    )


FUNDED = [
    credited("alice", "USD", 200, "1"),
    credited("bob", "USD", 200, "2"),
    transfer("alice", 100, "1"),
    transfer("bob", 4, "1"),
]
# Alice buys 3 at 10 from bob: entry values of 30 and -30, no money moves but the fee of 3.
FEE = entry(CauseKind.TRADE, ("alice", COLLATERAL, "USD", -3), (FEES, FREE, "USD", 3))
OPENED = [
    *FUNDED,
    told(trade(1, "alice", "bob", 3, 10, fee=3), position("bob", -3, -30), position("alice", 3, 30), FEE),
]
# Bob buys 1 back at 13, fee 2 (1.3 rounded up): alice gains 3. Bob loses 3 and owes 2, and has 4: 1 stays owed.
CLOSED_ENTRY = entry(
    CauseKind.TRADE,
    ("alice", COLLATERAL, "USD", 3),
    ("bob", COLLATERAL, "USD", -4),
    (CLEARING, FREE, "USD", -1),
    (FEES, FREE, "USD", 1),
    (ROUNDING, FREE, "USD", 1),
)
CLOSED = [
    *OPENED,
    told(trade(2, "bob", "alice", 1, 13, fee=2), position("alice", 2, 20), position("bob", -2, -19), CLOSED_ENTRY),
]
MARKED = told(MarkChanged(market="P", mark_ticks=PriceTicks(12), sources=("a",)))
# Funding at 10 %: alice pays 2 * 12 / 10 = 2.4, rounded up; bob receives it rounded down.
FUNDING = FundingSettled(market="P", period=1, rate_ppm=100_000, mark_ticks=PriceTicks(12))
FUNDING_ENTRY = entry(
    CauseKind.FUNDING,
    ("alice", COLLATERAL, "USD", -3),
    ("bob", COLLATERAL, "USD", 2),
    (ROUNDING, FREE, "USD", 1),
)
SETTLE = SettleFunding(market="P", period=1, rate_ppm=100_000)
# Bob is closed at 12 against alice: alice gains 24 - 20, bob loses 24 - 19 and has nothing: 5 stay owed.
DELEVERAGED = Deleveraged(
    market="P", client="bob", counterparty="alice", size_lots=SizeLots(2), price_ticks=PriceTicks(12), score=Amount(1)
)
DELEVERAGING = entry(
    CauseKind.DELEVERAGING, ("alice", COLLATERAL, "USD", 4), (CLEARING, FREE, "USD", -4), cause="bob/P"
)
OWING = [
    *CLOSED,
    told(
        DELEVERAGED,
        position("bob", 0, 5),
        position("alice", 0, 0),
        DELEVERAGING,
        step=Liquidate(client="bob", product="linear"),
    ),
]
PAID_OFF = (
    position("bob", 0, 0),
    entry(CauseKind.SETTLEMENT, ("bob", COLLATERAL, "USD", -5), (CLEARING, FREE, "USD", 5), cause="bob/P"),
)


def view(*positions: tuple[str, int, int], clearing: int = 0) -> Record:
    shown = View(
        seq=0,
        positions=tuple(
            Position(client=client, market="P", position_lots=SizeLots(lots), entry_value=Amount(value))
            for client, lots, value in positions
        ),
        balances=(Balance(account=CLEARING, bucket=FREE, asset="USD", amount=Amount(clearing)),) if clearing else (),
    )
    return Record(step=TakeSnapshot(), view=shown)


LENT = [
    *FUNDED,
    funded(LENDING, 60, "h"),
]


LOAN = Borrow(client="alice", request="l", asset="USD", amount=Amount(10))


def loan(amount: int, *, moves: int | None = None) -> Record:
    moves = amount if moves is None else moves
    words: dict[str, Any] = {"client": "alice", "request": "l", "asset": "USD", "amount": Amount(amount)}
    return told(
        Borrowed(**words),
        entry(
            CauseKind.BORROW,
            (LENDING, FREE, "USD", -moves),
            ("alice", FREE, "USD", moves),
            ("alice", BORROWED, "USD", -moves),
            (LENDING, BORROWED, "USD", moves),
        ),
        step=Borrow(**words),
    )


def interest(charged: int, earned: int) -> Record:
    return told(
        InterestAccrued(asset="USD", period=1, rate_ppm=10_000),
        entry(
            CauseKind.INTEREST,
            ("alice", BORROWED, "USD", -charged),
            (LENDING, BORROWED, "USD", earned),
            (ROUNDING, BORROWED, "USD", charged - earned),
        ),
        step=AccrueInterest(asset="USD", period=1, rate_ppm=10_000),
    )


def grant(amount: int, *, to: str = "bob", granted: int | None = None) -> Record:
    given = amount if granted is None else granted
    return told(
        PromotionGranted(client=to, asset="USD", amount=Amount(given), grant="g"),
        entry(CauseKind.PROMOTION, (PROMOTIONS, FREE, "USD", -given), (to, FREE, "USD", given), cause="g"),
        step=GrantPromotion(client="bob", asset="USD", amount=Amount(amount), grant="g"),
    )


PROMOTED = [
    *FUNDED,
    funded(PROMOTIONS, 4, "h"),
]


def repaid(to_pool: int, *, to_rounding: int = 0) -> Record:
    amount = to_pool + to_rounding
    words: dict[str, Any] = {"client": "alice", "request": "r", "asset": "USD", "amount": Amount(amount)}
    return told(
        Repaid(**words),
        entry(
            CauseKind.REPAY,
            ("alice", FREE, "USD", -amount),
            ("alice", BORROWED, "USD", amount),
            (LENDING, FREE, "USD", to_pool),
            (LENDING, BORROWED, "USD", -to_pool),
            (ROUNDING, FREE, "USD", to_rounding),
            (ROUNDING, BORROWED, "USD", -to_rounding),
        ),
        step=Repay(**words),
    )


def held(client: str, asset: str, amount: int) -> EntryPosted:
    return entry(CauseKind.ORDER_HOLD, (client, FREE, asset, -amount), (client, HELD, asset, amount))


# In the spot market bob, who holds 30 for his order, buys 2 lots of 10 at 11 and pays a fee of 3.
SPOT_TRADE = trade(1, "bob", "alice", 2, 11, name="S", fee=3)
SPOT = [
    credited("bob", "USD", 200, "1"),
    credited("alice", "BTC", 200, "2"),
    told(held("bob", "USD", 30), held("alice", "BTC", 20)),
]
# For 2 lots at 9 bob holds 18, and the fee of 1.8 rounded up.
ORDER = PlaceOrder(
    client="bob",
    order="1",
    market="S",
    side=Side.BUY,
    size_lots=SizeLots(2),
    price_ticks=PriceTicks(9),
    post_only=True,
)


def taken_in(*, holds: int = 20, **otherwise: Any) -> Record:  # noqa: ANN401 - fields
    """Bob's order rests."""
    rests = OrderRested(client="bob", order="1", price_ticks=PriceTicks(9), left_lots=SizeLots(2))
    accepted = OrderAccepted(**asdict(ORDER) | otherwise)
    return told(accepted, held("bob", "USD", holds), rests, step=ORDER)


OTHERWISE: dict[str, Any] = {
    "time_in_force": TimeInForce.IOC,
    "post_only": False,
    "self_trade": SelfTrade.DECREMENT,
    "conditions": Conditions(cancel_on_disconnect=True),
}


def amended(size: int, *, told_size: int) -> Record:
    """Bob's order is to have another size, and to hold 10 more for each lot of it."""
    words: dict[str, Any] = {"client": "bob", "order": "1", "price_ticks": PriceTicks(9)}
    now = SizeLots(told_size)
    return told(
        OrderAmended(size_lots=now, left_lots=now, priority_kept=False, **words),
        held("bob", "USD", 10 * (told_size - 2)),
        OrderRested(client="bob", order="1", price_ticks=PriceTicks(9), left_lots=now),
        step=AmendOrder(size_lots=SizeLots(size), **words),
    )


def spot_entry(value: int = 22, base: int = 20) -> EntryPosted:
    return entry(
        CauseKind.TRADE,
        ("bob", HELD, "USD", -30),
        ("bob", FREE, "USD", 30 - value - 3),
        ("bob", FREE, "BTC", base),
        ("alice", HELD, "BTC", -base),
        ("alice", FREE, "USD", value),
        (FEES, FREE, "USD", 2),
        (ROUNDING, FREE, "USD", 1),
        cause="1",
    )


# What holds ---------------------------------------------------------------------------------------------------------

HOLDING = {
    "a profit is paid, and what a loser cannot pay stays owed": CLOSED,
    "funding": [*CLOSED, MARKED, told(FUNDING, FUNDING_ENTRY, step=SETTLE)],
    "a deleveraging leaves a position of no lots that owes": OWING,
    "what is owed is paid first when collateral comes in": [*OWING, transfer("bob", 50, "2", *PAID_OFF)],
    "an isolated account": [
        *FUNDED,
        transfer("alice", 9, "i", target="island", account="alice@island"),
        told(trade(1, "alice", "bob", 1, 9, name="I"), position("alice", 1, 9, "I"), position("bob", -1, -9, "I")),
    ],
    "a trade that turns a position round": [
        *OPENED,
        told(
            trade(2, "bob", "alice", 5, 10, fee=5),
            position("alice", -2, -20),
            position("bob", 2, 21),
            entry(
                CauseKind.TRADE,
                ("bob", COLLATERAL, "USD", -4),
                (CLEARING, FREE, "USD", -1),
                (FEES, FREE, "USD", 5),
            ),
        ),
    ],
    "loan, interest and repayment": [*LENT, loan(50), interest(1, 0), repaid(10)],
    "the whole of a debt is repaid, its interest last": [*LENT, loan(50), interest(1, 0), repaid(50, to_rounding=1)],
    "an order is held for, and for more of it more": [*FUNDED, taken_in(), view(), amended(3, told_size=3), view()],
    "a promotion": [*PROMOTED, grant(4)],
    "a spot trade": [*SPOT, told(SPOT_TRADE, spot_entry())],
    "a refusal": [*FUNDED, told(Rejected(reason=Reason.INSUFFICIENT_FUNDS), step=LOAN)],
    "views": [*CLOSED, view(("alice", 2, 20), ("bob", -2, -19), clearing=-1)],
}


@pytest.mark.parametrize("name", HOLDING)
def test_nothing_is_reported_where_nothing_is_wrong(name: str) -> None:
    auditor = Auditor(SETUP, catalogue=ALL)
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert sum(entry.checked for entry in auditor.coverage()) > 0


# What does not ------------------------------------------------------------------------------------------------------


class Case(Struct, frozen=True, kw_only=True):
    monitor: type[Monitor]
    good: list[Record]
    bad: Record
    subject: str
    found: str


def case(name: str, monitor: type[Monitor], good: list[Record], bad: Record, subject: str, found: str) -> Any:  # noqa: ANN401, PLR0917 - a row
    return pytest.param(
        Case(monitor=monitor, good=good, bad=bad, subject=subject, found=found), id=f"{monitor.invariant} {name}"
    )


POS_1, POS_2, CONS_4 = PositionsAreRecomputable, PositionsSumToZero, CausesBoundEffects
CASES = [
    case(
        "an entry value is released in full for a part",
        POS_1,
        OPENED,
        told(trade(2, "bob", "alice", 1, 13), position("alice", 2, 0), position("bob", -2, -20)),
        "position alice/P",
        "2 lots for 0",
    ),
    case(
        "a trade changes no position",
        POS_1,
        OPENED,
        told(trade(2, "bob", "alice", 1, 13), position("alice", 2, 20)),
        "position bob/P",
        "-3 lots for -30",
    ),
    case(
        "what an account cannot pay is forgotten",
        POS_1,
        OPENED,
        told(
            trade(2, "bob", "alice", 1, 13, fee=2), position("alice", 2, 20), position("bob", -2, -20), CLOSED_ENTRY
        ),
        "position bob/P",
        "-2 lots for -20",
    ),
    case(
        "a position flips without a trade",
        POS_1,
        OPENED,
        told(position("alice", -3, -30), position("bob", 3, 30)),
        "direction of position alice/P",
        "from 3 to -3 lots",
    ),
    case(
        "a position changes for no reason",
        POS_1,
        OPENED,
        told(position("alice", 4, 30)),
        "position alice/P",
        "4 lots",
    ),
    case(
        "clearing gets more than is unsettled",
        POS_1,
        OPENED,
        told(entry(CauseKind.TRADE, ("alice", COLLATERAL, "USD", -1), (CLEARING, FREE, "USD", 1))),
        CLEARING,
        "1 USD",
    ),
    case(
        "collateral comes in and a debt of the account stays",
        POS_1,
        OWING,
        transfer("bob", 50, "2"),
        "what bob owes for P",
        "5 USD while 50 USD are in bob",
    ),
    case(
        "funding that cannot be paid is forgotten",
        POS_1,
        [
            *OPENED,
            told(
                trade(2, "bob", "alice", 1, 13, fee=2),
                position("alice", 2, 20),
                position("bob", -2, -19),
                CLOSED_ENTRY,
            ),
            MARKED,
        ],
        told(
            FundingSettled(market="P", period=1, rate_ppm=-100_000, mark_ticks=PriceTicks(12)),
            entry(CauseKind.FUNDING, ("alice", COLLATERAL, "USD", 2), (ROUNDING, FREE, "USD", -2)),
        ),
        "position bob/P",
        "-2 lots for -19",
    ),
    case(
        "a position is shown flipped",
        POS_1,
        [*CLOSED, view(("alice", 2, 20), ("bob", -2, -19), clearing=-1)],
        view(("alice", -2, -20), ("bob", 2, 19), clearing=1),
        "position alice/P",
        "-2 lots for -20 are shown",
    ),
    case(
        "a position is not shown",
        POS_1,
        CLOSED,
        view(("bob", -2, -19), clearing=19),
        "position alice/P",
        "0 lots for 0 are shown",
    ),
    case(
        "clearing is shown as something else",
        POS_1,
        CLOSED,
        view(("alice", 2, 20), ("bob", -2, -19), clearing=-7),
        f"{CLEARING} shown",
        "-7",
    ),
    case(
        "a long position has no short one",
        POS_2,
        OPENED,
        told(trade(2, "carol", "bob", 1, 10), position("carol", 1, 10)),
        "contract P",
        "all positions sum to 1 lots",
    ),
    case("positions shown do not sum to zero", POS_2, OPENED, view(("alice", 3, 30)), "contract P", "the positions"),
    case(
        "a period of funding is settled twice",
        POS_2,
        [*CLOSED, MARKED, told(FUNDING, FUNDING_ENTRY, step=SETTLE)],
        told(FUNDING, FUNDING_ENTRY, step=SETTLE),
        "period of funding P/1",
        "1",
    ),
    case("funding at another mark", POS_2, CLOSED, told(FUNDING, FUNDING_ENTRY), "mark of funding P/1", "12"),
    case(
        "funding at too high a rate",
        POS_2,
        [*CLOSED, MARKED],
        told(FundingSettled(market="P", period=1, rate_ppm=100_001, mark_ticks=PriceTicks(12))),
        "rate of funding P/1",
        "100001",
    ),
    case(
        "funding rounds in favour of who pays",
        CONS_4,
        [*CLOSED, MARKED],
        told(FUNDING, entry(CauseKind.FUNDING, ("alice", COLLATERAL, "USD", -2), ("bob", COLLATERAL, "USD", 2))),
        "entry funding c",
        "alice collateral USD -2",
    ),
    case(
        "funding moves nothing",
        CONS_4,
        [*CLOSED, MARKED],
        told(FUNDING),
        "funding without an entry",
        "no entry",
    ),
    case(
        "an entry that nothing explains",
        CONS_4,
        FUNDED,
        told(entry(CauseKind.DEPOSIT, (OUTSIDE, FREE, "USD", -1), ("bob", FREE, "USD", 1), cause="x")),
        "entry deposit x",
        "@outside free USD -1",
    ),
    case(
        "a refused command moves money",
        CONS_4,
        FUNDED,
        told(
            Rejected(reason=Reason.INSUFFICIENT_FUNDS),
            entry(CauseKind.WITHDRAWAL_PAYMENT, (OUTSIDE, FREE, "USD", 1), ("bob", FREE, "USD", -1), cause="x"),
        ),
        "entry withdrawal_payment x",
        "@outside free USD +1",
    ),
    case(
        "a reward in units of another asset",
        CONS_4,
        PROMOTED,
        told(
            PromotionGranted(client="bob", asset="USD", amount=Amount(2), grant="g"),
            entry(CauseKind.PROMOTION, (PROMOTIONS, FREE, "BTC", -2), ("bob", FREE, "BTC", 2), cause="g"),
            step=GrantPromotion(client="bob", asset="USD", amount=Amount(2), grant="g"),
        ),
        "entry promotion g",
        "@promotions free BTC -2",
    ),
    case(
        "a grant of more than was asked for",
        CONS_4,
        PROMOTED,
        grant(2, granted=3),
        "PromotionGranted of GrantPromotion",
        "bob USD 3 g",
    ),
    case(
        "a grant to another client",
        CONS_4,
        PROMOTED,
        grant(2, to="alice"),
        "PromotionGranted of GrantPromotion",
        "alice",
    ),
    case("a grant beyond what was paid in", CONS_4, PROMOTED, grant(5), "PromotionGranted to bob", "5 USD"),
    case(
        "a grant above its bound",
        CONS_4,
        [
            *PROMOTED,
            funded(PROMOTIONS, 9, "k"),
        ],
        grant(6),
        "PromotionGranted to bob",
        "6 USD",
    ),
    case("a loan above the credit", CONS_4, LENT, loan(51), "Borrowed to alice", "51 USD"),
    case("a loan above what is left of it", CONS_4, [*LENT, loan(30)], loan(21), "Borrowed to alice", "21 USD"),
    case("a loan that is not in the pool", CONS_4, FUNDED, loan(1), "Borrowed to alice", "1 USD"),
    case("a loan pays out more than is owed for it", CONS_4, LENT, loan(5, moves=6), "entry borrow c", "@lending"),
    case("interest is rounded down", CONS_4, [*LENT, loan(50)], interest(0, 0), "entry interest c", "nothing"),
    case(
        "a repayment pays what rounding is owed first",
        CONS_4,
        [*LENT, loan(50), interest(1, 0)],
        repaid(9, to_rounding=1),
        "entry repay c",
        "@lending borrowed USD -9",
    ),
    case("a transfer arrives doubled", CONS_4, FUNDED, transfer("bob", 2, "2", arrives=4), "entry transfer c", "bob"),
    case(
        "a trade pays for other lots",
        CONS_4,
        SPOT,
        told(SPOT_TRADE, spot_entry(base=200)),
        "entry trade 1",
        "@fees free USD +3, alice free BTC -200",
    ),
    case("a trade at another price", CONS_4, SPOT, told(SPOT_TRADE, spot_entry(value=20)), "entry trade 1", "@fees"),
    case("a trade without an entry", CONS_4, SPOT, told(SPOT_TRADE), "trade without an entry", "no entry"),
    case(
        "the money of one account is held for another",
        CONS_4,
        FUNDED,
        told(entry(CauseKind.ORDER_HOLD, ("alice", FREE, "USD", -2), ("bob", HELD, "USD", 2), cause="bob/1")),
        "entry order_hold bob/1",
        "alice free USD -2",
    ),
    case(
        "the insurance fund pays outside a liquidation",
        CONS_4,
        FUNDED,
        told(entry(CauseKind.INSURANCE, (INSURANCE, FREE, "USD", -2), ("bob", COLLATERAL, "USD", 2), cause="bob/P")),
        "entry insurance bob/P",
        "@insurance free USD -2",
    ),
    case(
        "the insurance fund pays after a liquidation",
        CONS_4,
        [
            *FUNDED,
            told(
                LiquidationStepped(
                    client="bob",
                    product="linear",
                    kind=LiquidationKind.WRITE_OFF,
                    equity=Amount(0),
                    maintenance=Amount(1),
                )
            ),
        ],
        told(entry(CauseKind.INSURANCE, (INSURANCE, FREE, "USD", -2), ("bob", COLLATERAL, "USD", 2), cause="bob/P")),
        "entry insurance bob/P",
        "@insurance free USD -2",
    ),
    case(
        "an order is taken in for more than was asked",
        CONS_4,
        FUNDED,
        taken_in(size_lots=SizeLots(212)),
        "OrderAccepted of PlaceOrder",
        "bob 1 S buy 212 9",
    ),
    *(
        case(
            f"an order is taken in with another {word}",
            CONS_4,
            FUNDED,
            taken_in(**{word: otherwise}),
            "OrderAccepted of PlaceOrder",
            "bob 1 S buy 2 9",
        )
        for word, otherwise in OTHERWISE.items()
    ),
    case(
        "an order is amended to more than was asked",
        CONS_4,
        [*FUNDED, taken_in()],
        amended(3, told_size=4),
        "OrderAmended of AmendOrder",
        "bob 1 4 9",
    ),
    *(
        case(
            f"{holds} are held for an order that needs 20",
            CONS_4,
            [*FUNDED, taken_in(holds=holds)],
            view(),
            "held of bob USD",
            f"{holds} USD are held",
        )
        for holds in (18, 21)
    ),
]


@pytest.mark.parametrize("wrong", CASES)
def test_a_violation_is_reported_at_the_step_that_causes_it(wrong: Case) -> None:
    auditor = Auditor(SETUP, catalogue=catalogue(wrong.monitor))
    for record in wrong.good:
        assert auditor.watch(record) == []
    new = auditor.watch(wrong.bad)
    about = [violation for violation in new if violation.subject == wrong.subject]
    assert [(found.invariant, found.step) for found in about] == [(wrong.monitor.invariant, len(wrong.good))], new
    assert about[0].found.startswith(wrong.found)
    assert about[0].expected not in ("", about[0].found)


HISTORIES = HOLDING | {str(row.id): [*row.values[0].good, row.values[0].bad] for row in CASES}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_slow_forms_find_the_same(name: str) -> None:
    assert_both_find_the_same(SETUP, HISTORIES[name], ALL)


@pytest.mark.parametrize("monitor", [POS_1, POS_2, CONS_4])
def test_an_exchange_without_margin_costs_these_monitors_nothing_and_breaks_nothing(monitor: type[Monitor]) -> None:
    bare = Setup(assets=SETUP.assets, markets=(market("S"),), clients=SETUP.clients)
    auditor = Auditor(bare, catalogue=catalogue(monitor))
    assert auditor.told.margin is None
    for record in [*SPOT, told(SPOT_TRADE, spot_entry()), view()]:
        assert auditor.watch(record) == []
