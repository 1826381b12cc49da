"""PHASE-2 on histories made by hand: what must happen before a venue or a product goes on."""

from typing import Any

import pytest
from msgspec import Struct

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_model.vocabulary import (
    Amount,
    AnnounceMaintenance,
    Answer,
    AuctionUncrossed,
    CancelReason,
    Collateral,
    Event,
    HaltProduct,
    Margin,
    MarkChanged,
    Market,
    MarkRule,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    Perpetual,
    Phase,
    PhaseChanged,
    PriceTicks,
    Product,
    ProductHalted,
    ProductResumed,
    Record,
    ResumeStage,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Stage,
    Step,
    Tier,
    TimeInForce,
    TradeExecuted,
)

RULE = MarkRule(sources=("a",), sources_min=1, age_max_ms=10, band_ppm=100_000)
TIERS = (Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),)


def market(name: str, **kind: Any) -> Market:  # noqa: ANN401 - fields
    return Market(market=name, base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1), **kind)


def setup(*, auctions: bool) -> Setup:
    return Setup(
        assets=("BTC", "USD"),
        markets=(market("S"), market("P", mark=RULE, perpetual=Perpetual(tiers=TIERS), product="linear")),
        clients=("alice", "bob"),
        products=(Product(product="linear"),),
        margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
        auctions=auctions,
    )


def told(*events: Event, step: Step | None = None) -> Record:
    return Record(step=step or AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events),))


def phase(before: Phase, after: Phase, *first: Event) -> Record:
    return told(*first, PhaseChanged(before=before, after=after), step=SetPhase(phase=after))


def uncrossed(name: str, price: int | None = None, volume: int = 0) -> AuctionUncrossed:
    return AuctionUncrossed(
        market=name,
        price_ticks=None if price is None else PriceTicks(price),
        volume_lots=SizeLots(volume),
        imbalance_lots=SizeLots(0),
    )


def rests(client: str, side: Side, price: int, name: str = "S") -> Record:
    return told(
        OrderAccepted(
            client=client,
            order="o",
            market=name,
            side=side,
            size_lots=SizeLots(1),
            price_ticks=PriceTicks(price),
            time_in_force=TimeInForce.GTC,
            post_only=False,
            self_trade=SelfTrade.CANCEL_NEWEST,
        ),
        OrderRested(client=client, order="o", price_ticks=PriceTicks(price), left_lots=SizeLots(1)),
    )


def resumed(stage: Stage, product: str = "linear") -> Record:
    return told(ProductResumed(product=product, stage=stage), step=ResumeStage(product=product, stage=stage))


TRADED = (
    TradeExecuted(
        trade=1,
        market="S",
        price_ticks=PriceTicks(10),
        size_lots=SizeLots(1),
        taker_side=Side.SELL,
        maker_client="alice",
        maker_order="o",
        taker_client="bob",
        taker_order="o",
        maker_fee=Amount(0),
        taker_fee=Amount(0),
    ),
    OrderFilled(client="alice", order="o"),
    OrderFilled(client="bob", order="o"),
)
CLOSED, AUCTION, OPEN, HALTED = Phase.CLOSED, Phase.AUCTION, Phase.OPEN, Phase.HALTED
CANCEL_ONLY, POST_ONLY, MAINTENANCE = Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.MAINTENANCE
BOTH = (uncrossed("P"), uncrossed("S"))
GATHERED = [phase(CLOSED, AUCTION), rests("alice", Side.BUY, 11), rests("bob", Side.SELL, 9)]
CALLED_OFF = [*GATHERED, phase(AUCTION, CANCEL_ONLY)]
HALT = told(ProductHalted(product="linear", cause="late"), step=HaltProduct(product="linear", cause="late"))
MARKED = told(MarkChanged(market="P", mark_ticks=PriceTicks(10), sources=("a",)))
CAREFUL = [HALT, resumed(Stage.CANCEL_ONLY), resumed(Stage.POST_ONLY)]
CANCELLED = OrderCancelled(client="bob", order="o", left_lots=SizeLots(1), reason=CancelReason.REQUESTED)

HOLDING = {
    "trading opens through an auction": [phase(CLOSED, AUCTION), phase(AUCTION, OPEN, *BOTH)],
    "orders that cross trade where the auction ends": [
        *GATHERED,
        phase(AUCTION, OPEN, uncrossed("P"), uncrossed("S", 10, 1), *TRADED),
    ],
    "an auction that is called off is followed by the next one": [
        *CALLED_OFF,
        phase(CANCEL_ONLY, AUCTION),
        phase(AUCTION, CLOSED, uncrossed("P"), uncrossed("S", 10, 1), *TRADED),
    ],
    "once nothing crosses any more the venue goes on": [*CALLED_OFF, told(CANCELLED), phase(CANCEL_ONLY, POST_ONLY)],
    "maintenance takes a crossed book along": [*CALLED_OFF, phase(CANCEL_ONLY, MAINTENANCE)],
    "a product opens stage by stage": [*CAREFUL, MARKED, resumed(Stage.OPEN)],
}


@pytest.mark.parametrize("name", HOLDING)
def test_no_step_is_missed_where_none_is_left_out(name: str) -> None:
    auditor = Auditor(setup(auctions=True), catalogue=(invariant_by_id("PHASE-2"),))
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert auditor.coverage()[0].checked > 0


def test_where_the_setup_knows_no_auctions_post_only_is_followed_by_open() -> None:
    auditor = Auditor(setup(auctions=False), catalogue=(invariant_by_id("PHASE-2"),))
    assert auditor.watch(phase(POST_ONLY, OPEN)) == []
    assert auditor.coverage()[0].checked > 0


class Case(Struct, frozen=True, kw_only=True):
    good: list[Record]
    bad: Record
    subject: str
    found: str
    expected: str


CASES = {
    "opens without an auction": Case(
        good=[phase(CLOSED, CANCEL_ONLY), phase(CANCEL_ONLY, POST_ONLY)],
        bad=phase(POST_ONLY, OPEN),
        subject="opening from post_only",
        found="trading opens from post_only",
        expected="through an auction",
    ),
    "one market is not uncrossed": Case(
        good=[phase(CLOSED, AUCTION)],
        bad=phase(AUCTION, OPEN, uncrossed("S")),
        subject="auction of P",
        found="P is not uncrossed",
        expected="uncrossed by an auction first",
    ),
    "nothing is uncrossed at the close": Case(
        good=GATHERED,
        bad=phase(AUCTION, CLOSED, uncrossed("P")),
        subject="auction of S",
        found="S is not uncrossed",
        expected="uncrossed by an auction first",
    ),
    "a book is crossed after its auction": Case(
        good=GATHERED,
        bad=phase(AUCTION, CLOSED, *BOTH),
        subject="auction of S",
        found="the book of S is crossed after its auction",
        expected="uncrossed by an auction first",
    ),
    "a crossed book goes on to post-only": Case(
        good=CALLED_OFF,
        bad=phase(CANCEL_ONLY, POST_ONLY),
        subject="book of S",
        found="from cancel_only to post_only with a crossed book",
        expected="uncrossed by an auction first",
    ),
    "a market is uncrossed twice": Case(
        good=[phase(CLOSED, AUCTION)],
        bad=phase(AUCTION, OPEN, *BOTH, uncrossed("S")),
        subject="uncrossing of S",
        found="for the second time",
        expected="once for each market",
    ),
    "a market is uncrossed without an auction": Case(
        good=[phase(CLOSED, AUCTION), phase(AUCTION, OPEN, *BOTH)],
        bad=told(uncrossed("S")),
        subject="uncrossing of S",
        found="in open",
        expected="where an auction ends",
    ),
    "a crossed book of a halted product is uncrossed": Case(
        good=[
            phase(CLOSED, AUCTION),
            rests("alice", Side.BUY, 11, "P"),
            rests("bob", Side.SELL, 9, "P"),
            HALT,
        ],
        bad=told(uncrossed("P", 10, 1), step=SetPhase(phase=OPEN)),
        subject="uncrossing of P",
        found="while linear is at the stage halted",
        expected="is not open",
    ),
    "a stage is left out": Case(
        good=[HALT],
        bad=resumed(Stage.POST_ONLY),
        subject="stage of linear",
        found="from halted to post_only",
        expected="cancel_only after halted",
    ),
    "a product that is open is resumed": Case(
        good=[],
        bad=resumed(Stage.OPEN),
        subject="stage of linear",
        found="from open to open",
        expected="open already",
    ),
    "a product opens without a mark": Case(
        good=CAREFUL,
        bad=resumed(Stage.OPEN),
        subject="mark of P",
        found="linear opens while the mark is UNAVAILABLE",
        expected="marks for all its perpetuals",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_that_is_left_out_is_reported_where_it_was_due(name: str) -> None:
    case = CASES[name]
    auditor = Auditor(setup(auctions=True), catalogue=(invariant_by_id("PHASE-2"),))
    for record in case.good:
        assert auditor.watch(record) == []
    violations = auditor.watch(case.bad)
    assert case.subject in [violation.subject for violation in violations]
    violation = next(violation for violation in violations if violation.subject == case.subject)
    assert (violation.invariant, violation.step) == ("PHASE-2", len(case.good))
    assert case.found in violation.found
    assert case.expected in violation.expected
    assert violation.evidence
