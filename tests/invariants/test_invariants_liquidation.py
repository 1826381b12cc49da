"""LIQ-1 and ADL-1 on histories made by hand, with the numbers of the rulebook worked out beside them."""

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_invariants.monitor import Invariant
from holdfast_model.vocabulary import (
    CLEARING,
    INSURANCE,
    LENDING,
    LIQUIDATION_ORDER_PREFIX,
    OUTSIDE,
    Amount,
    AnnounceMaintenance,
    Answer,
    AssetAmount,
    Bucket,
    CancelReason,
    CauseKind,
    Collateral,
    Conditions,
    Deleveraged,
    EntryPosted,
    Event,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    Margin,
    MarkChanged,
    Market,
    MarkRule,
    OrderAccepted,
    OrderCancelled,
    OrderRested,
    Perpetual,
    Phase,
    PhaseChanged,
    PositionChanged,
    Posting,
    PriceTicks,
    Product,
    ProductHalted,
    Reason,
    Record,
    Rejected,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    Step,
    Tier,
    TimeInForce,
    TradeExecuted,
)

COLLATERAL, FREE, BORROWED = Bucket.COLLATERAL, Bucket.FREE, Bucket.BORROWED
RULE = MarkRule(sources=("a",), sources_min=1, age_max_ms=10, band_ppm=100_000)
PERPETUAL = Perpetual(
    tiers=(Tier(value_floor=Amount(0), initial_ppm=200_000, maintenance_ppm=100_000),), liquidation_step_ppm=500_000
)


def market(name: str, **kind: Any) -> Market:  # noqa: ANN401 - fields
    return Market(market=name, base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1), **kind)


SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        market("S", mark=RULE),
        market("P", mark=RULE, perpetual=PERPETUAL, product="linear"),
        market("Q", mark=RULE, perpetual=PERPETUAL, product="linear"),
    ),
    clients=("alice", "bob", "carol", "dave"),
    products=(Product(product="linear"),),
    margin=Margin(
        unit="USD",
        collateral=(Collateral(asset="USD"), Collateral(asset="BTC", haircut_ppm=500_000, market="S")),
        credit=(AssetAmount(asset="USD", amount=Amount(1_000)),),
        liquidation_step_ppm=500_000,
    ),
)
BOTH = (invariant_by_id("LIQ-1"), invariant_by_id("ADL-1"))


# Words --------------------------------------------------------------------------------------------------------------


def told(*events: Event, step: Step | None = None) -> Record:
    return Record(step=step or AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events),))


def entry(kind: CauseKind, *lines: tuple[str, Bucket, str, int]) -> EntryPosted:
    return EntryPosted(
        cause_kind=kind,
        cause="c",
        postings=tuple(
            Posting(account=account, bucket=bucket, asset=asset, amount=Amount(amount))
            for account, bucket, asset, amount in lines
        ),
    )


def has(account: str, amount: int, asset: str = "USD", bucket: Bucket = COLLATERAL) -> Record:
    return told(entry(CauseKind.DEPOSIT, (OUTSIDE, FREE, asset, -amount), (account, bucket, asset, amount)))


def insured(amount: int, asset: str = "USD") -> Record:
    return has(INSURANCE, amount, asset, FREE)


def position(client: str, lots: int, value: int, name: str = "P") -> PositionChanged:
    return PositionChanged(client=client, market=name, position_lots=SizeLots(lots), entry_value=Amount(value))


def mark(price: int | None, name: str = "P") -> Record:
    ticks = None if price is None else PriceTicks(price)
    return told(MarkChanged(market=name, mark_ticks=ticks, sources=("a",)))


def rests(client: str, order: str, side: Side, size: int, price: int, **conditions: Any) -> Record:  # noqa: ANN401
    return told(
        OrderAccepted(
            client=client,
            order=order,
            market="P",
            side=side,
            size_lots=SizeLots(size),
            price_ticks=PriceTicks(price),
            time_in_force=TimeInForce.GTC,
            post_only=False,
            self_trade=SelfTrade.CANCEL_NEWEST,
            conditions=Conditions(**conditions) if conditions else None,
        ),
        OrderRested(client=client, order=order, price_ticks=PriceTicks(price), left_lots=SizeLots(size)),
    )


def stepped(kind: LiquidationKind, equity: int, maintenance: int, **position: Any) -> LiquidationStepped:  # noqa: ANN401
    return LiquidationStepped(
        client="alice",
        product="linear",
        kind=kind,
        equity=Amount(equity),
        maintenance=Amount(maintenance),
        **position,
    )


def liquidated(*events: Event) -> Record:
    return told(*events, step=Liquidate(client="alice", product="linear"))


def ordered(size: int, price: int, side: Side = Side.SELL) -> OrderAccepted:
    return OrderAccepted(
        client="alice",
        order=f"{LIQUIDATION_ORDER_PREFIX}1",
        market="P",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
        time_in_force=TimeInForce.IOC,
        post_only=False,
        self_trade=SelfTrade.CANCEL_OLDEST,
        conditions=Conditions(reduce_only=True),
    )


def sold(number: int, buyer: str, order: str, size: int, price: int) -> TradeExecuted:
    """Alice sells in a liquidation."""
    return TradeExecuted(
        trade=number,
        market="P",
        price_ticks=PriceTicks(price),
        size_lots=SizeLots(size),
        taker_side=Side.SELL,
        maker_client=buyer,
        maker_order=order,
        taker_client="alice",
        taker_order=f"{LIQUIDATION_ORDER_PREFIX}1",
        maker_fee=Amount(0),
        taker_fee=Amount(0),
    )


def closed(counterparty: str, size: int, price: int, score: int) -> Deleveraged:
    return Deleveraged(
        market="P",
        client="alice",
        counterparty=counterparty,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
        score=Amount(score),
    )


CANCEL, REDUCE, INSURE, DELEVERAGE, SEIZE, WRITE_OFF = LiquidationKind
BID = Side.BUY

# Alice is long 10 for 1,000 with 150 of collateral; at a mark of 90 her equity is 150 - 100 = 50, her maintenance
# margin 90. Sold at 85, her lots would leave nothing: a step sells 5 of them there or higher.
SHORT = [
    has("alice", 150),
    has("bob", 1_000),
    has("carol", 1_000),
    has("dave", 5_000),
    told(position("alice", 10, 1_000), position("bob", -4, -400), position("carol", -4, -400)),
    told(position("dave", -2, -200)),
    mark(90),
]
AT_BANKRUPTCY: dict[str, Any] = {"market": "P", "size_lots": SizeLots(5), "bankruptcy_ticks": PriceTicks(85)}
REDUCING = stepped(REDUCE, 50, 90, **AT_BANKRUPTCY)
ORDER = ordered(5, 85)
BIDS = [*SHORT, rests("bob", "b", BID, 2, 86), rests("carol", "c", BID, 9, 85), rests("bob", "d", BID, 9, 84)]
TRADES = (sold(1, "bob", "b", 2, 86), sold(2, "carol", "c", 3, 85))
# Below 85 there are 2 lots at 83 and 9 at 80: they cost the fund 2 and 5 a lot, of its 12 it can pay for 2 and 1.
THIN = [*SHORT, insured(12), rests("bob", "b", BID, 2, 83), rests("carol", "c", BID, 9, 80)]
INSURING = stepped(INSURE, 50, 90, **AT_BANKRUPTCY | {"size_lots": SizeLots(3)})
PAID = entry(CauseKind.INSURANCE, (INSURANCE, FREE, "USD", -9), ("alice", COLLATERAL, "USD", 9))
BEYOND = (ordered(3, 80), sold(1, "bob", "b", 2, 83), sold(2, "carol", "c", 1, 80))
# Bob's and carol's profit is 40 of 400 at a leverage of 360 : 1,040, dave's 20 of 200 at 180 : 5,020.
DELEVERAGING = stepped(DELEVERAGE, 50, 90, **AT_BANKRUPTCY)
FIRST = 100_000 * (360 * 1_000_000 // 1_040)
RANKED = (closed("bob", 4, 85, FIRST), closed("carol", 1, 85, FIRST))
# All is sold, 40 stay owed for the position, and there is a debt of 100 USD. Alice has 30 USD, and 4 BTC at 50.
# Her equity is 30 + 4 * 50 / 2 - 100 - 40, her maintenance margin a tenth of the debt. A step pays 20 of the 40.
OWING = [
    has("alice", 30),
    has("alice", 4, "BTC"),
    told(entry(CauseKind.BORROW, ("alice", BORROWED, "USD", -100), (LENDING, BORROWED, "USD", 100))),
    told(position("alice", 0, 40)),
    mark(50, "S"),
]
SEIZING = stepped(SEIZE, -10, 10)
OWN = entry(CauseKind.SEIZURE, ("alice", COLLATERAL, "USD", -20), (CLEARING, FREE, "USD", 20))
# Without a dollar of her own the fund takes a BTC, which counts for 25, for the 20 that it pays.
PLEDGED = [*OWING[1:], insured(500)]
TAKEN = entry(
    CauseKind.SEIZURE,
    ("alice", COLLATERAL, "BTC", -1),
    (INSURANCE, FREE, "BTC", 1),
    (INSURANCE, FREE, "USD", -20),
    (CLEARING, FREE, "USD", 20),
)
BARE = [*OWING[2:], insured(70)]
WRITING_OFF = stepped(WRITE_OFF, -140, 10)
WRITTEN_OFF = entry(CauseKind.INSURANCE, (INSURANCE, FREE, "USD", -40), (CLEARING, FREE, "USD", 40))
CANCELLED = OrderCancelled(client="alice", order="o", left_lots=SizeLots(1), reason=CancelReason.LIQUIDATION)
WORKING = [*BIDS, rests("alice", "o", BID, 1, 70), rests("alice", "s", BID, 1, 71)]


def cancelled(order: str) -> OrderCancelled:
    return replace(CANCELLED, order=order)


HOLDING = {
    "its orders are cancelled first": [
        *WORKING,
        liquidated(stepped(CANCEL, 50, 90), cancelled("o"), cancelled("s")),
    ],
    "a part is sold at the bankruptcy price or better": [*BIDS, liquidated(REDUCING, ORDER, *TRADES)],
    "what a reduce-only order cannot buy is passed over": [
        *SHORT,
        told(position("bob", -1, -100), position("carol", -7, -700)),
        rests("bob", "b", BID, 3, 86, reduce_only=True),
        liquidated(REDUCING, ORDER, sold(1, "bob", "b", 1, 86)),
    ],
    "the fund pays as far as it reaches": [*THIN, liquidated(INSURING, PAID, *BEYOND)],
    "the highest score first, of equals the first client": [*SHORT, liquidated(DELEVERAGING, *RANKED)],
    "a step is paid out of the asset that is owed": [*OWING, liquidated(SEIZING, OWN)],
    "the fund takes another asset over": [*PLEDGED, liquidated(replace(SEIZING, equity=Amount(-40)), TAKEN)],
    "the fund pays where there is no collateral": [*BARE, liquidated(WRITING_OFF, WRITTEN_OFF)],
}
REFUSED = liquidated(Rejected(reason=Reason.NOT_BELOW_MAINTENANCE))
SPARED = {
    "it is at its maintenance margin": [*SHORT, has("alice", 40), REFUSED],
    "its mark is unavailable": [*SHORT, mark(None), liquidated(Rejected(reason=Reason.MARK_UNAVAILABLE))],
    "its owner cannot act": [
        *SHORT,
        told(ProductHalted(product="linear", cause="late")),
        liquidated(Rejected(reason=Reason.PRODUCT_HALTED)),
    ],
    "the venue is halted": [*SHORT, told(PhaseChanged(before=Phase.OPEN, after=Phase.HALTED)), REFUSED],
    "the exchange is busy": [*SHORT, liquidated(Rejected(reason=Reason.OVERLOADED))],
    "nothing can be taken of it": [*OWING[2:], liquidated(Rejected(reason=Reason.NOTHING_TO_LIQUIDATE))],
}


def auditor_of(*invariants: Invariant) -> Auditor:
    return Auditor(SETUP, catalogue=invariants or BOTH)


@pytest.mark.parametrize("name", HOLDING)
def test_a_step_that_is_due_is_let_pass(name: str) -> None:
    auditor = auditor_of()
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert [entry.checked > 0 for entry in auditor.coverage()] == [True, True]


@pytest.mark.parametrize("name", SPARED)
def test_a_refusal_is_let_pass_where_no_step_is_due(name: str) -> None:
    auditor = auditor_of()
    for record in SPARED[name]:
        assert auditor.watch(record) == []


# What does not hold -------------------------------------------------------------------------------------------------


class Case(Struct, frozen=True, kw_only=True):
    invariant: str
    good: list[Record]
    bad: Record
    subject: str
    found: str
    expected: str


def case(
    name: str, invariant: str, good: list[Record], bad: Record, subject: str, *, found: str, expected: str
) -> Any:  # noqa: ANN401 - a row
    row = Case(invariant=invariant, good=good, bad=bad, subject=subject, found=found, expected=expected)
    return pytest.param(row, id=f"{invariant} {name}")


OF = "of the liquidation of alice in linear"
CASES = [
    case(
        "above maintenance",
        "LIQ-1",
        [*BIDS, has("alice", 40)],
        liquidated(replace(REDUCING, equity=Amount(90)), ORDER, *TRADES),
        f"equity {OF}",
        found="equity 90, maintenance margin 90",
        expected="below",
    ),
    case(
        "spared",
        "LIQ-1",
        BIDS,
        REFUSED,
        "liquidation of alice in linear",
        found="refused: not_below_maintenance",
        expected="reduce 5 lots of P from 85: equity 50 is below the maintenance margin 90",
    ),
    case(
        "spared for a mark that there is",
        "LIQ-1",
        WORKING,
        liquidated(Rejected(reason=Reason.MARK_UNAVAILABLE)),
        "liquidation of alice in linear",
        found="refused: mark_unavailable",
        expected="cancel_orders",
    ),
    case(
        "other numbers",
        "LIQ-1",
        BIDS,
        liquidated(replace(REDUCING, equity=Amount(49)), ORDER, *TRADES),
        f"numbers {OF}",
        found="equity 49",
        expected="equity 50, maintenance margin 90",
    ),
    case(
        "without a mark",
        "LIQ-1",
        [*BIDS, mark(None)],
        liquidated(REDUCING, ORDER, *TRADES),
        f"mark {OF}",
        found="UNAVAILABLE",
        expected="no liquidation",
    ),
    case(
        "while its product is halted",
        "LIQ-1",
        [*BIDS, told(ProductHalted(product="linear", cause="late"))],
        liquidated(REDUCING, ORDER, *TRADES),
        f"owner {OF}",
        found="linear is not open",
        expected="can act",
    ),
    case(
        "while the venue is halted",
        "LIQ-1",
        [*BIDS, told(PhaseChanged(before=Phase.OPEN, after=Phase.HALTED))],
        liquidated(REDUCING, ORDER, *TRADES),
        f"owner {OF}",
        found="the venue is in halted",
        expected="can act",
    ),
    case(
        "without being asked",
        "LIQ-1",
        BIDS,
        told(REDUCING),
        f"step {OF}",
        found="a step reduce",
        expected="a command to liquidate",
    ),
    case(
        "two steps at once",
        "LIQ-1",
        BIDS,
        liquidated(REDUCING, ORDER, *TRADES, REDUCING),
        f"steps {OF}",
        found="2 steps",
        expected="one step",
    ),
    case(
        "a position is sold before orders are cancelled",
        "LIQ-1",
        WORKING,
        liquidated(REDUCING, ORDER, *TRADES),
        f"step {OF}",
        found="reduce",
        expected="cancel_orders",
    ),
    case(
        "an order is left",
        "LIQ-1",
        WORKING,
        liquidated(stepped(CANCEL, 50, 90), cancelled("o")),
        f"orders {OF}",
        found="cancelled: alice/o",
        expected="alice/o, alice/s",
    ),
    case(
        "another position",
        "LIQ-1",
        [*BIDS, told(position("alice", 1, 80, "Q")), mark(80, "Q")],
        liquidated(replace(REDUCING, maintenance=Amount(98), market="Q")),
        f"position {OF}",
        found="Q",
        expected="P, which needs the most",
    ),
    case(
        "the whole position",
        "LIQ-1",
        BIDS,
        liquidated(replace(REDUCING, size_lots=SizeLots(10)), ordered(10, 85), *TRADES),
        f"size {OF}",
        found="10 lots",
        expected="5 of 10 lots",
    ),
    case(
        "a worse bankruptcy price",
        "LIQ-1",
        BIDS,
        liquidated(replace(REDUCING, bankruptcy_ticks=PriceTicks(84)), ORDER, *TRADES),
        f"bankruptcy price {OF}",
        found="84",
        expected="85",
    ),
    case(
        "an order beyond the bankruptcy price",
        "LIQ-1",
        BIDS,
        liquidated(REDUCING, ordered(5, 84), *TRADES),
        f"order {OF}",
        found="P sell 5 84",
        expected="P sell 5 85",
    ),
    case(
        "an order that may turn the position round",
        "LIQ-1",
        BIDS,
        liquidated(REDUCING, replace(ORDER, conditions=None), *TRADES),
        f"order {OF}",
        found="no such order",
        expected="reduce-only",
    ),
    case(
        "trades beyond the bankruptcy price",
        "LIQ-1",
        BIDS,
        liquidated(REDUCING, ORDER, TRADES[0], sold(2, "bob", "d", 3, 84)),
        f"trades {OF}",
        found="2 at 86, 3 at 84",
        expected="2 at 86, 3 at 85",
    ),
    case(
        "more is seized than a step",
        "LIQ-1",
        OWING,
        liquidated(SEIZING, entry(CauseKind.SEIZURE, ("alice", COLLATERAL, "USD", -30), (CLEARING, FREE, "USD", 30))),
        f"seizure {OF}",
        found="alice USD -30",
        expected="alice USD -20",
    ),
    case(
        "more of another asset is seized than it costs",
        "LIQ-1",
        PLEDGED,
        liquidated(
            replace(SEIZING, equity=Amount(-40)),
            entry(
                CauseKind.SEIZURE,
                ("alice", COLLATERAL, "BTC", -4),
                (INSURANCE, FREE, "BTC", 4),
                (INSURANCE, FREE, "USD", -20),
                (CLEARING, FREE, "USD", 20),
            ),
        ),
        f"seizure {OF}",
        found="alice BTC -4",
        expected="alice BTC -1",
    ),
    case(
        "the fund pays while there is collateral",
        "LIQ-1",
        [*OWING, insured(70)],
        liquidated(replace(WRITING_OFF, equity=Amount(-60)), WRITTEN_OFF),
        f"step {OF}",
        found="write_off",
        expected="seize",
    ),
    case(
        "nothing is left to do",
        "LIQ-1",
        OWING[2:],
        liquidated(WRITING_OFF),
        f"step {OF}",
        found="write_off",
        expected="no step",
    ),
    case(
        "deleveraged while the book would have taken it",
        "ADL-1",
        BIDS,
        liquidated(DELEVERAGING, *RANKED),
        "deficit of alice in linear",
        found="deleverage 5 lots of P",
        expected="reduce 5 lots of P from 85, in the book 2 at 86, 3 at 85",
    ),
    case(
        "deleveraged while the fund could pay",
        "ADL-1",
        THIN,
        liquidated(DELEVERAGING, *RANKED),
        "deficit of alice in linear",
        found="deleverage 5 lots of P",
        expected="insure 3 lots of P from 85, in the book 2 at 83, 1 at 80",
    ),
    case(
        "insured without a fund",
        "ADL-1",
        [*SHORT, rests("bob", "b", BID, 2, 83)],
        liquidated(INSURING, PAID, *BEYOND),
        "deficit of alice in linear",
        found="insure 3 lots",
        expected="deleverage 5 lots of P at 85",
    ),
    case(
        "the fund pays too much",
        "ADL-1",
        THIN,
        liquidated(
            INSURING,
            entry(CauseKind.INSURANCE, (INSURANCE, FREE, "USD", -12), ("alice", COLLATERAL, "USD", 12)),
            *BEYOND,
        ),
        "payment for alice in linear",
        found="alice USD +12",
        expected="alice USD +9",
    ),
    case(
        "the fund pays nothing",
        "ADL-1",
        THIN,
        liquidated(INSURING, *BEYOND),
        "payment for alice in linear",
        found="nothing",
        expected="@insurance USD -9",
    ),
    case(
        "less is written off than there is",
        "ADL-1",
        BARE,
        liquidated(
            WRITING_OFF, entry(CauseKind.INSURANCE, (INSURANCE, FREE, "USD", -39), (CLEARING, FREE, "USD", 39))
        ),
        "payment for alice in linear",
        found="@insurance USD -39",
        expected="@insurance USD -40",
    ),
    case(
        "of two with one score the second comes first",
        "ADL-1",
        SHORT,
        liquidated(DELEVERAGING, closed("carol", 4, 85, FIRST), closed("bob", 1, 85, FIRST)),
        "deleveraging for alice in linear",
        found="carol 4 lots",
        expected=f"bob 4 lots of P at 85, score {FIRST}; carol 1 lots",
    ),
    case(
        "the lowest score first",
        "ADL-1",
        SHORT,
        liquidated(DELEVERAGING, closed("dave", 2, 85, 1), closed("bob", 3, 85, FIRST)),
        "deleveraging for alice in linear",
        found="dave 2 lots",
        expected="bob 4 lots",
    ),
    case(
        "less than the step",
        "ADL-1",
        SHORT,
        liquidated(DELEVERAGING, RANKED[0]),
        "deleveraging for alice in linear",
        found="bob 4 lots",
        expected="carol 1 lots",
    ),
    case(
        "at another price",
        "ADL-1",
        SHORT,
        liquidated(DELEVERAGING, *(replace(item, price_ticks=PriceTicks(90)) for item in RANKED)),
        "deleveraging for alice in linear",
        found="bob 4 lots of P at 90",
        expected="bob 4 lots of P at 85",
    ),
    case(
        "somebody is deleveraged besides",
        "ADL-1",
        BIDS,
        liquidated(REDUCING, ORDER, *TRADES, closed("dave", 2, 85, 1)),
        "deleveraging for alice in linear",
        found="dave 2 lots",
        expected="nobody",
    ),
    case(
        "without a liquidation",
        "ADL-1",
        SHORT,
        told(RANKED[0]),
        "deleveraging of bob in P",
        found="4 lots are closed against alice",
        expected="a step of a liquidation",
    ),
]


@pytest.mark.parametrize("row", CASES)
def test_a_step_that_is_not_due_is_reported_where_it_is_told(row: Case) -> None:
    auditor = auditor_of(invariant_by_id(row.invariant))
    for record in row.good:
        assert auditor.watch(record) == []
    violations = auditor.watch(row.bad)
    assert row.subject in [violation.subject for violation in violations]
    violation = next(violation for violation in violations if violation.subject == row.subject)
    assert (violation.invariant, violation.step) == (row.invariant, len(row.good))
    assert row.found in violation.found
    assert row.expected in violation.expected
    assert violation.evidence
