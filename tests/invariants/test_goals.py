"""Goals: each is reached by what it names, and by nothing that only looks like it."""

import pytest

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.goals import GOALS, Progress, Watch
from holdfast_model.vocabulary import (
    Amount,
    AnnounceMaintenance,
    Answer,
    AuctionUncrossed,
    Bucket,
    CancelReason,
    Capability,
    CauseKind,
    Deleveraged,
    EntryPosted,
    Event,
    JournalRecord,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    MarkChanged,
    Market,
    OrderCancelled,
    PlaceOrder,
    PositionChanged,
    Posting,
    PriceTicks,
    ProductResumed,
    Reason,
    Record,
    Rejected,
    Restart,
    ResumeStage,
    Setup,
    Side,
    SizeLots,
    Stage,
    Step,
    TimeInForce,
    TradeExecuted,
    TransferCompleted,
    TransferStarted,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="P", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice", "bob"),
)


def told(*events: Event, step: Step | None = None) -> Record:
    return Record(step=step or AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events),))


def position(client: str, lots: int) -> PositionChanged:
    return PositionChanged(client=client, market="P", position_lots=SizeLots(lots), entry_value=Amount(0))


def reached(*records: Record, capabilities: frozenset[Capability] = frozenset(Capability)) -> list[str]:
    """What the last record reaches, of what is asked here."""
    auditor, watch = Auditor(SETUP, catalogue=()), Watch(capabilities)
    progress = Progress(auditor.told)
    found: list[str] = []
    for record in records:
        auditor.watch(record)
        found = watch.reached(progress, record)
        progress.note(record)
    return found


TRADE = TradeExecuted(
    trade=1,
    market="P",
    price_ticks=PriceTicks(10),
    size_lots=SizeLots(1),
    taker_side=Side.BUY,
    maker_client="alice",
    maker_order="m",
    taker_client="bob",
    taker_order="t",
    maker_fee=Amount(0),
    taker_fee=Amount(0),
)
DELEVERAGED = Deleveraged(
    market="P",
    client="alice",
    counterparty="bob",
    size_lots=SizeLots(1),
    price_ticks=PriceTicks(1),
    score=Amount(1),
)
LONG = told(TRADE, position("bob", 2))
STARTED = TransferStarted(client="alice", request="r", asset="USD", amount=Amount(1), source="spot", target="linear")
ARRIVED = TransferCompleted(client="alice", request="r")
ORDER = PlaceOrder(
    client="alice",
    order="o",
    market="P",
    side=Side.BUY,
    size_lots=SizeLots(1),
    price_ticks=PriceTicks(1),
    time_in_force=TimeInForce.GTC,
)
HALTED = Rejected(reason=Reason.PRODUCT_HALTED)
LIQUIDATE = Liquidate(client="alice", product="spot")


def cancelled(reason: CancelReason) -> OrderCancelled:
    return OrderCancelled(client="alice", order="o", left_lots=SizeLots(1), reason=reason)


def uncrossed(volume: int) -> AuctionUncrossed:
    return AuctionUncrossed(
        market="P", price_ticks=PriceTicks(1), volume_lots=SizeLots(volume), imbalance_lots=SizeLots(0)
    )


def marked(price: int | None) -> MarkChanged:
    return MarkChanged(market="P", mark_ticks=None if price is None else PriceTicks(price), sources=())


def entered(kind: CauseKind) -> EntryPosted:
    line = Posting(account="alice", bucket=Bucket.FREE, asset="USD", amount=Amount(1))
    return EntryPosted(cause_kind=kind, cause="c", postings=(line,))


def stepped(kind: LiquidationKind) -> LiquidationStepped:
    return LiquidationStepped(client="alice", product="spot", kind=kind, equity=Amount(0), maintenance=Amount(1))


RESENT = JournalRecord(
    seq=1, epoch=1, command=AnnounceMaintenance(begins_ms=0), events=(position("bob", 2),), journal_sha256="0" * 64
)


@pytest.mark.parametrize(
    ("goal", "records"),
    [
        ("auction-uncrossed", [told(uncrossed(1))]),
        ("order-expired", [told(cancelled(CancelReason.EXPIRED))]),
        ("one-cancelled-other", [told(cancelled(CancelReason.ONE_CANCELS_OTHER))]),
        ("cancelled-with-its-session", [told(cancelled(CancelReason.DISCONNECTED))]),
        ("reduced-to-nothing", [told(cancelled(CancelReason.REDUCE_ONLY))]),
        ("position-opened", [LONG]),
        ("position-closed", [LONG, told(TRADE, position("bob", 0))]),
        ("position-flipped", [LONG, told(TRADE, position("bob", -1))]),
        ("position-flipped", [told(TRADE, position("bob", 1), TRADE, position("bob", -1))]),
        ("position-closed", [Record(step=Restart(), resent=(RESENT,)), told(TRADE, position("bob", 0))]),
        ("mark-unavailable", [told(marked(1)), told(marked(None))]),
        ("liquidation-write-off", [told(stepped(LiquidationKind.WRITE_OFF))]),
        ("liquidation-waited", [told(HALTED, step=LIQUIDATE)]),
        ("funding-paid", [told(entered(CauseKind.FUNDING))]),
        ("interest-accrued", [told(entered(CauseKind.INTEREST))]),
        ("product-resumed", [told(ProductResumed(product="spot", stage=Stage.OPEN))]),
        ("transfer-waited", [told(STARTED), told(ARRIVED, step=ResumeStage(product="linear", stage=Stage.OPEN))]),
    ],
)
def test_a_goal_is_reached_by_what_it_names(goal: str, records: list[Record]) -> None:
    assert goal in reached(*records)


@pytest.mark.parametrize(
    ("goal", "records"),
    [
        ("auction-uncrossed", [told(uncrossed(0))]),
        ("order-expired", [told(cancelled(CancelReason.REQUESTED))]),
        ("position-opened", [LONG, told(TRADE, position("bob", 3))]),
        ("position-closed", [LONG, told(DELEVERAGED, position("bob", 0))]),
        ("position-flipped", [LONG, told(TRADE, position("alice", -1))]),
        ("mark-unavailable", [told(marked(1))]),
        ("liquidation-write-off", [told(stepped(LiquidationKind.SEIZE))]),
        ("liquidation-waited", [told(HALTED, step=ORDER)]),
        ("funding-paid", [told(entered(CauseKind.TRADE))]),
        ("product-resumed", [told(ProductResumed(product="spot", stage=Stage.POST_ONLY))]),
        ("transfer-waited", [told(STARTED, ARRIVED)]),
    ],
)
def test_a_goal_is_not_reached_by_what_only_looks_like_it(goal: str, records: list[Record]) -> None:
    assert goal in {item.id for item in GOALS}
    assert goal not in reached(*records)


def test_a_goal_is_not_asked_of_an_engine_that_lacks_what_it_needs() -> None:
    trade = told(TRADE, position("bob", 2))
    assert reached(trade, capabilities=frozenset({Capability.LIMIT_ORDERS})) == ["traded"]


def test_every_goal_says_what_it_is_reached_by_in_one_sentence_and_under_one_id() -> None:
    assert len({goal.id for goal in GOALS}) == len(GOALS)
    assert [goal.id for goal in GOALS if not goal.by or not goal.needs] == []
    assert [goal.id for goal in GOALS if not goal.sentence.endswith(".") or ". " in goal.sentence] == []
