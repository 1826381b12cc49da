"""Liquidation: each step, the prices and amounts of it, who pays, and when nobody is liquidated.

Alice is long 100 lots bought at 100 with 1,500 in cash: a value of 10,000, of which 700 must be kept. At a mark of 90
her equity is 500, 600 must be kept, and 85 is the bankruptcy price. A step closes 40 %, 40 lots.
"""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from holdfast.stories import Story
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    SPOT,
    Amount,
    Borrow,
    Bucket,
    CancelReason,
    CauseKind,
    Conditions,
    Crash,
    CrashPoint,
    Deleveraged,
    EntryPosted,
    Events,
    FundHouse,
    HaltProduct,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    OrderAccepted,
    OrderCancelled,
    Phase,
    PriceTicks,
    Reason,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SetPhase,
    Side,
    Stage,
    TakeSnapshot,
    TimeInForce,
    TradeExecuted,
    Trigger,
    TriggerWhen,
)

PERP = "BTC-PERP"
FREE, COLLATERAL, BORROWED = Bucket.FREE, Bucket.COLLATERAL, Bucket.BORROWED
STEP = Liquidate(client="alice", product="linear")
BELOW_NO_MORE = Reason.NOT_BELOW_MAINTENANCE
VenueOf = Callable[[Story], Venue]


def fund(story: Story, account: str, amount: int, asset: str = "USD") -> None:
    number = len(story.told)
    story.do(FundHouse(account=account, asset=asset, amount=Amount(amount), transaction=f"owner-{number}"))


def trade(  # noqa: PLR0917 - a trade, as people say it
    story: Story, buyer: str, seller: str, size: int, price: int, market: str = PERP
) -> None:
    """A trade of which the buyer is the maker: its fee is 0.02 %, the seller's 0.05 %."""
    number = len(story.told)
    story.buy(buyer, f"b{number}", size, price, market)
    events = story.sell(seller, f"s{number}", size, price, market)
    assert any(isinstance(event, TradeExecuted) for event in events)


def long(story: Story, *, shorts: dict[str, int] | None = None) -> None:
    """Alice's position, against these lots of others."""
    story.pledge("alice", "linear", USD=1_505)
    for client, lots in (shorts or {"bob": 100}).items():
        story.pledge(client, "linear", USD=3_000)
        trade(story, "alice", client, lots, 100)
    assert lots_of(story, "alice") == 100
    story.do(story.transfer("alice", "USD", cash(story) - 1_500, "linear", SPOT))
    assert cash(story) == 1_500


def cash(story: Story, account: str = "alice", asset: str = "USD") -> int:
    return story.amount(account, COLLATERAL, asset)


def lots_of(story: Story, client: str, market: str = PERP) -> int:
    position = story.position(client, market)
    return 0 if position is None else position.position_lots


def told(events: Events) -> LiquidationStepped:
    """What the step is said to be: the first that is told."""
    assert isinstance(events[0], LiquidationStepped)
    return events[0]


def traded(events: Events) -> list[tuple[int, int]]:
    return [(event.size_lots, event.price_ticks) for event in events if isinstance(event, TradeExecuted)]


def deleveraged(events: Events) -> list[tuple[str, int, int]]:
    return [
        (event.counterparty, event.size_lots, event.price_ticks) for event in events if isinstance(event, Deleveraged)
    ]


def entries(events: Events, kind: CauseKind) -> list[dict[tuple[str, Bucket, str], int]]:
    return [
        {(line.account, line.bucket, line.asset): line.amount for line in event.postings}
        for event in events
        if isinstance(event, EntryPosted) and event.cause_kind is kind
    ]


# When ---------------------------------------------------------------------------------------------------------------


# 10 lots bought at 100: at a mark of 90 an equity of 45 is exactly what must be kept.
@pytest.mark.parametrize(("equity", "reason"), [(45, BELOW_NO_MORE), (44, None)])
def test_an_account_is_liquidated_below_its_maintenance_margin_and_not_at_it(
    story: Story, equity: int, reason: Reason | None
) -> None:
    story.pledge("alice", "linear", USD=100 + equity + 1)
    story.pledge("bob", "linear", USD=500)
    trade(story, "alice", "bob", 10, 100)
    story.mark(PERP, 90)
    assert story.refusal(STEP) is reason


def test_liquidations_are_refused_in_this_order(story: Story) -> None:
    long(story)
    story.do(HaltProduct(product="linear", cause="late"))
    story.wait(60_001)
    command = Liquidate(client="nobody", product="moon")
    for reason, repair in (
        (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
        (Reason.UNKNOWN_PRODUCT, {"product": "linear"}),
    ):
        assert story.refusal(command) is reason
        command = replace(command, **repair)
    assert story.refusal(command) is Reason.PRODUCT_HALTED
    for market in (PERP, "ETH-PERP"):
        story.mark(market, 40)
    for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN):
        story.do(ResumeStage(product="linear", stage=stage))
    story.wait(60_001)
    assert story.refusal(command) is Reason.MARK_UNAVAILABLE
    story.mark(PERP, 100)
    assert story.refusal(command) is Reason.NOT_BELOW_MAINTENANCE
    story.mark(PERP, 90)
    assert story.refusal(command) is None


def test_nobody_is_liquidated_while_any_product_that_he_is_engaged_in_is_not_open(story: Story) -> None:
    """binance-um-2025-08-29: the mark moves on while the owner can do nothing about it."""
    long(story)
    story.do(HaltProduct(product="linear", cause="late"))
    story.mark(PERP, 60)
    for product in ("linear", SPOT):
        assert story.refusal(Liquidate(client="alice", product=product)) is Reason.PRODUCT_HALTED
    for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY):
        story.do(ResumeStage(product="linear", stage=stage))
        assert story.refusal(STEP) is Reason.PRODUCT_HALTED
    story.do(ResumeStage(product="linear", stage=Stage.OPEN))
    assert story.refusal(STEP) is None


def test_an_open_order_is_an_engagement_and_another_products_halt_is_none(story: Story) -> None:
    long(story)
    story.pledge("alice", "island", USD=100)
    story.buy("alice", "isle", 1, 40, "ETH-ISLE")
    story.mark(PERP, 90)
    story.do(HaltProduct(product="island", cause="late"))
    assert story.refusal(Liquidate(client="alice", product="island")) is Reason.PRODUCT_HALTED
    assert story.refusal(Liquidate(client="bob", product="island")) is Reason.NOT_BELOW_MAINTENANCE
    assert story.refusal(STEP) is None


def test_a_loan_is_liquidated_although_a_product_that_has_nothing_to_do_with_it_is_halted(story: Story) -> None:
    indebted(story, bitcoin=150, debt=1_000, mark=75)
    fund(story, "@insurance", 600)
    story.do(HaltProduct(product="linear", cause="late"))
    assert story.refusal(Liquidate(client="alice", product=SPOT)) is None


def test_nobody_is_liquidated_but_in_the_open_phase(story: Story) -> None:
    long(story)
    story.mark(PERP, 80)
    for phase in (Phase.CANCEL_ONLY, Phase.POST_ONLY):
        story.do(SetPhase(phase=phase))
        assert story.refusal(STEP) is Reason.PHASE_FORBIDS
    story.do(SetPhase(phase=Phase.OPEN))
    assert story.refusal(STEP) is None


# Orders, and the book -----------------------------------------------------------------------------------------------


def test_open_orders_in_perpetuals_are_cancelled_first_waiting_stops_included(story: Story) -> None:
    long(story)
    story.sell("alice", "rests", 10, 120, PERP)
    trigger = Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(50))
    story.sell("alice", "waits", 10, 100, PERP, conditions=Conditions(trigger=trigger))
    story.buy("alice", "elsewhere", 1, 38, "ETH-PERP")
    story.buy("alice", "spot", 1, 100, "BTC-USD")
    story.buy("bob", "bid", 40, 88, PERP)
    story.mark(PERP, 90)
    events = story.do(STEP)
    assert told(events).kind is LiquidationKind.CANCEL_ORDERS
    assert [(event.order, event.reason) for event in events if isinstance(event, OrderCancelled)] == [
        (name, CancelReason.LIQUIDATION) for name in ("rests", "waits", "elsewhere")
    ]
    assert traded(events) == []
    assert story.left("alice", "spot") == 1
    assert told(story.do(STEP)).kind is LiquidationKind.REDUCE


def test_a_step_closes_its_share_in_the_book_at_the_bankruptcy_price_or_better(story: Story) -> None:
    long(story)
    story.pledge("carol", "linear", USD=3_000)
    story.buy("carol", "first", 10, 88, PERP)
    story.buy("carol", "second", 50, 86, PERP)
    story.mark(PERP, 90)
    events = story.do(STEP)
    step = told(events)
    assert (step.kind, step.market, step.size_lots, step.bankruptcy_ticks) == (LiquidationKind.REDUCE, PERP, 40, 85)
    assert (step.equity, step.maintenance) == (500, 600)
    order = next(event for event in events if isinstance(event, OrderAccepted))
    assert (order.client, order.order, order.side, order.price_ticks) == ("alice", "liquidation-1", Side.SELL, 85)
    assert order.time_in_force is TimeInForce.IOC
    assert order.conditions == Conditions(reduce_only=True)
    assert traded(events) == [(10, 88), (30, 86)]
    # 40 lots cost 4,000 and bring 880 + 2,580; the fee is 0.05 % of that, 1.73.
    assert cash(story) == 1_500 - 540 - 2
    assert lots_of(story, "alice") == 60
    # 958 - 600 is left, and 5 % of 5,400 must be kept.
    assert story.refusal(STEP) is BELOW_NO_MORE


def test_what_the_book_does_not_take_at_the_bankruptcy_price_is_not_closed_in_that_step(story: Story) -> None:
    long(story)
    fund(story, "@insurance", 10_000)
    story.buy("bob", "a", 7, 85, PERP)
    story.buy("bob", "b", 90, 84, PERP)
    story.mark(PERP, 90)
    events = story.do(STEP)
    assert told(events).kind is LiquidationKind.REDUCE
    assert traded(events) == [(7, 85)]
    assert [event.reason for event in events if isinstance(event, OrderCancelled)] == [CancelReason.IOC_REMAINDER]
    assert story.amount("@insurance", FREE, "USD") == 10_000


def test_a_short_is_closed_by_buying(story: Story) -> None:
    """At a mark of 110 its equity is 500, and 700 must be kept: 115 is the bankruptcy price."""
    story.pledge("alice", "linear", USD=1_505)
    story.pledge("bob", "linear", USD=3_000)
    trade(story, "bob", "alice", 100, 100)
    assert cash(story) == 1_500
    story.sell("bob", "offer", 50, 115, PERP)
    story.mark(PERP, 110)
    events = story.do(STEP)
    assert (told(events).bankruptcy_ticks, told(events).size_lots) == (115, 40)
    assert traded(events) == [(40, 115)]
    assert cash(story) == 1_500 - 600 - 3  # the fee is 0.05 % of 4,600, 2.3
    assert lots_of(story, "alice") == -60


def test_the_position_that_needs_the_most_margin_comes_first_and_of_equals_the_first_market(story: Story) -> None:
    story.pledge("alice", "linear", USD=700)
    story.pledge("bob", "linear", USD=3_000)
    trade(story, "alice", "bob", 20, 100)
    trade(story, "alice", "bob", 60, 40, "ETH-PERP")
    story.mark(PERP, 84)
    story.mark("ETH-PERP", 35)
    # Both fell by 320 and 300, so that 77 are left; 84 must be kept for 1,680, 105 for 2,100.
    assert told(story.do(STEP)).market == "ETH-PERP"


def test_equal_positions_are_closed_by_market(story: Story) -> None:
    story.pledge("alice", "linear", USD=452)
    story.pledge("bob", "linear", USD=3_000)
    trade(story, "alice", "bob", 20, 100)
    trade(story, "alice", "bob", 50, 40, "ETH-PERP")
    story.mark(PERP, 90)
    story.mark("ETH-PERP", 36)
    # 450 - 200 - 200 are left; 90 must be kept for each of the two values of 1,800.
    assert told(story.do(STEP)).market == PERP


# Insurance ----------------------------------------------------------------------------------------------------------


def test_the_insurance_fund_pays_what_the_book_is_beyond_the_bankruptcy_price_as_far_as_it_can(
    story: Story,
) -> None:
    long(story)
    fund(story, "@insurance", 100)
    story.buy("bob", "first", 20, 84, PERP)
    story.buy("bob", "second", 30, 80, PERP)
    story.mark(PERP, 90)
    events = story.do(STEP)
    step = told(events)
    # 1 for each of 20 lots, and 5 for each of as many as 80 are enough for.
    assert (step.kind, step.size_lots, step.bankruptcy_ticks) == (LiquidationKind.INSURE, 36, 85)
    assert traded(events) == [(20, 84), (16, 80)]
    assert entries(events, CauseKind.INSURANCE) == [
        {("@insurance", FREE, "USD"): -100, ("alice", COLLATERAL, "USD"): 100}
    ]
    assert story.amount("@insurance", FREE, "USD") == 0
    assert cash(story) == 1_500 + 100 - (3_600 - 1_680 - 1_280) - 2


def test_an_insurance_fund_that_cannot_pay_for_a_lot_pays_nothing(story: Story) -> None:
    long(story)
    fund(story, "@insurance", 4)
    story.buy("bob", "bid", 40, 80, PERP)
    story.mark(PERP, 90)
    assert told(story.do(STEP)).kind is LiquidationKind.DELEVERAGE
    assert story.amount("@insurance", FREE, "USD") == 4


# Deleveraging -------------------------------------------------------------------------------------------------------


def test_without_book_and_insurance_the_other_side_is_closed_at_the_bankruptcy_price(story: Story) -> None:
    long(story)
    before = cash(story, "bob")
    story.mark(PERP, 90)
    events = story.do(STEP)
    assert told(events).kind is LiquidationKind.DELEVERAGE
    assert deleveraged(events) == [("bob", 40, 85)]
    assert entries(events, CauseKind.DELEVERAGING) == [
        {("alice", COLLATERAL, "USD"): -600, ("bob", COLLATERAL, "USD"): 600}
    ]
    assert (cash(story), cash(story, "bob")) == (900, before + 600)  # no fee
    assert (lots_of(story, "alice"), lots_of(story, "bob")) == (60, -60)
    assert story.refusal(STEP) is BELOW_NO_MORE


def test_of_two_with_the_same_score_the_one_whose_id_comes_first_is_closed(story: Story) -> None:
    long(story, shorts={"dave": 30, "carol": 30, "bob": 40})
    for client in ("bob", "carol", "dave"):
        story.pledge(client, "linear", USD=3_500 - cash(story, client))
    story.mark(PERP, 80)
    # The equity is -500, so that 85 leaves nothing; bob, with more lots, has more leverage.
    assert deleveraged(story.do(STEP)) == [("bob", 40, 85)]
    assert deleveraged(story.do(STEP)) == [("carol", 24, 85)]


def test_who_gained_most_with_least_behind_it_is_closed_first(story: Story, venue_of: VenueOf) -> None:
    story.pledge("alice", "linear", USD=1_502)
    for client, amount in (("bob", 2_000), ("carol", 2_000), ("dave", 900)):
        story.pledge(client, "linear", USD=amount)
    for client, lots, price in (("dave", 30, 96), ("bob", 40, 100), ("carol", 30, 104)):
        trade(story, "alice", client, lots, price)
    story.mark(PERP, 88)
    # Profits in ppm of the entry value are 153,846, 120,000 and 83,333; the equities 2,478, 2,478 and 1,138.
    venue = venue_of(story)
    scores = {
        client: venue.score(venue.markets[PERP], venue.position(client, PERP)) for client in ("bob", "carol", "dave")
    }
    assert scores == {
        "bob": 120_000 * (3_520 * 1_000_000 // 2_478),
        "carol": 153_846 * (2_640 * 1_000_000 // 2_478),
        "dave": 83_333 * (2_640 * 1_000_000 // 1_138),
    }
    assert sorted(scores, key=lambda client: -scores[client]) == ["dave", "bob", "carol"]
    events = story.do(STEP)
    # 100 lots cost 10,000, 1,499 in cash: an equity of 299, so that 88 - 2 leaves 99.
    assert deleveraged(events) == [("dave", 30, 86), ("bob", 10, 86)]
    assert [event.score for event in events if isinstance(event, Deleveraged)] == [scores["dave"], scores["bob"]]


def test_an_equity_that_is_unavailable_counts_as_one_and_so_comes_first(story: Story) -> None:
    long(story, shorts={"bob": 50, "carol": 50})
    story.pledge("carol", "linear", BTC=1_000)
    story.wait(60_001)
    story.mark(PERP, 90)
    assert story.mark_of("BTC-USD") is None
    assert deleveraged(story.do(STEP)) == [("carol", 40, 85)]


def test_the_same_side_is_never_deleveraged(story: Story) -> None:
    long(story)
    story.pledge("carol", "linear", USD=3_000)
    story.pledge("bob", "linear", USD=3_000)
    trade(story, "carol", "bob", 100, 100)
    story.mark(PERP, 90)
    assert deleveraged(story.do(STEP)) == [("bob", 40, 85)]
    assert lots_of(story, "carol") == 100


def test_an_isolated_account_is_liquidated_alone(story: Story) -> None:
    """hyperliquid-jelly-2025-03-26: what is lost in one product is not covered by what is in another."""
    story.pledge("alice", "linear", USD=5_000)
    for client in ("alice", "bob"):
        story.pledge(client, "island", USD=402)
    trade(story, "alice", "bob", 100, 40, "ETH-ISLE")
    assert cash(story, "alice@island") == 401
    story.mark("ETH-ISLE", 30)
    # 401 - 1,000 is left of it: 36 is where nothing would be.
    events = story.do(Liquidate(client="alice", product="island"))
    assert (told(events).equity, told(events).bankruptcy_ticks) == (-599, 36)
    assert deleveraged(events) == [("bob", 40, 36)]
    assert cash(story) == 5_000
    assert story.refusal(STEP) is BELOW_NO_MORE


def test_a_bankrupt_position_is_closed_step_by_step_and_leaves_nothing(story: Story) -> None:
    story.pledge("alice", "island", USD=402)
    story.pledge("bob", "island", USD=2_000)
    trade(story, "alice", "bob", 100, 40, "ETH-ISLE")
    story.mark("ETH-ISLE", 30)
    step = Liquidate(client="alice", product="island")
    closed = []
    while lots_of(story, "alice", "ETH-ISLE"):
        closed += [(size, price) for _, size, price in deleveraged(story.do(step))]
    # 40 % of what is left, rounded up; 36 is the price until what rounding left is enough for a lower one.
    assert [size for size, _ in closed] == [40, 24, 15, 9, 5, 3, 2, 1, 1]
    assert [price for _, price in closed] == [36] * 8 + [35]
    assert cash(story, "alice@island") == 0
    assert story.position("alice", "ETH-ISLE") is None
    assert story.refusal(step) is BELOW_NO_MORE


# Debts --------------------------------------------------------------------------------------------------------------


def indebted(story: Story, *, bitcoin: int, debt: int, mark: int) -> None:
    """Alice owes USD against bitcoin, whose price falls; a unit of it counts for 9 % of its mark."""
    fund(story, "@lending", 2_000)
    story.pledge("alice", "linear", BTC=bitcoin)
    story.do(Borrow(client="alice", request="loan", asset="USD", amount=Amount(debt)))
    assert story.amount("alice", BORROWED, "USD") == -debt
    story.mark("BTC-USD", mark)


def test_debts_are_paid_with_other_collateral_which_the_insurance_fund_takes_over_less_its_haircut(
    story: Story,
) -> None:
    indebted(story, bitcoin=150, debt=1_000, mark=75)
    fund(story, "@insurance", 600)
    # It counts for 1,012, and 1,000 and a tenth of it are needed. 38 units, for 256, are the least for a step of 250.
    events = story.do(STEP)
    assert (told(events).kind, told(events).equity, told(events).maintenance) == (LiquidationKind.SEIZE, 12, 100)
    assert entries(events, CauseKind.SEIZURE) == [
        {
            ("alice", COLLATERAL, "BTC"): -38,
            ("@insurance", FREE, "BTC"): 38,
            ("@insurance", FREE, "USD"): -250,
            ("alice", BORROWED, "USD"): 250,
            ("@lending", FREE, "USD"): 250,
            ("@lending", BORROWED, "USD"): -250,
        }
    ]
    events = story.do(STEP)  # a quarter of 750, rounded up; 28 units for 189 are the least for it
    assert entries(events, CauseKind.SEIZURE)[0]["alice", BORROWED, "USD"] == 188
    assert cash(story, asset="BTC") == 150 - 38 - 28


def test_the_asset_that_is_owed_is_taken_first_and_a_step_at_a_time(story: Story) -> None:
    indebted(story, bitcoin=150, debt=1_000, mark=75)
    story.pledge("alice", "linear", USD=60)
    events = story.do(STEP)
    assert entries(events, CauseKind.SEIZURE) == [
        {
            ("alice", COLLATERAL, "USD"): -60,
            ("alice", BORROWED, "USD"): 60,
            ("@lending", FREE, "USD"): 60,
            ("@lending", BORROWED, "USD"): -60,
        }
    ]
    assert cash(story, asset="BTC") == 150


def test_the_insurance_fund_takes_over_no_more_than_it_can_pay_for(story: Story) -> None:
    indebted(story, bitcoin=150, debt=1_000, mark=75)
    fund(story, "@insurance", 100)
    seized = entries(story.do(STEP), CauseKind.SEIZURE)[0]
    assert (seized["alice", BORROWED, "USD"], seized["alice", COLLATERAL, "BTC"]) == (100, -15)  # 14.8, rounded up


def test_of_other_collateral_the_first_asset_is_taken(story: Story) -> None:
    indebted(story, bitcoin=150, debt=1_100, mark=75)
    story.pledge("alice", "linear", ETH=10)
    fund(story, "@insurance", 600)
    assert cash(story, asset="ETH") == 10
    story.do(STEP)
    assert (cash(story, asset="BTC"), cash(story, asset="ETH")) == (150 - 41, 10)  # 275 of 6.75 each


def test_a_debt_in_another_asset_is_met_at_its_mark(story: Story) -> None:
    """100 units of bitcoin are owed for 1,300 USD of collateral; at 125 they count for 1,250."""
    fund(story, "@lending", 200, "BTC")
    fund(story, "@insurance", 12, "BTC")
    story.pledge("alice", "linear", USD=1_300)
    story.do(Borrow(client="alice", request="loan", asset="BTC", amount=Amount(100)))
    story.mark("BTC-USD", 125)
    events = story.do(STEP)
    # The step is 25 units, of which the fund has 12: worth 150 at the mark.
    assert entries(events, CauseKind.SEIZURE) == [
        {
            ("alice", COLLATERAL, "USD"): -150,
            ("@insurance", FREE, "USD"): 150,
            ("@insurance", FREE, "BTC"): -12,
            ("alice", BORROWED, "BTC"): 12,
            ("@lending", FREE, "BTC"): 12,
            ("@lending", BORROWED, "BTC"): -12,
        }
    ]


def test_the_insurance_fund_pays_for_all_collateral_what_it_counts_for_and_writes_off_the_rest_as_it_can(
    story: Story,
) -> None:
    indebted(story, bitcoin=150, debt=1_000, mark=1)
    fund(story, "@insurance", 600)
    seized = entries(story.do(STEP), CauseKind.SEIZURE)[0]
    assert (seized["alice", COLLATERAL, "BTC"], seized["alice", BORROWED, "USD"]) == (-150, 13)  # 13.5 is what it is
    events = story.do(STEP)
    assert told(events).kind is LiquidationKind.WRITE_OFF
    assert entries(events, CauseKind.INSURANCE) == [
        {
            ("@insurance", FREE, "USD"): -587,
            ("alice", BORROWED, "USD"): 587,
            ("@lending", FREE, "USD"): 587,
            ("@lending", BORROWED, "USD"): -587,
        }
    ]
    assert story.amount("alice", BORROWED, "USD") == -400
    assert story.refusal(STEP) is Reason.NOTHING_TO_LIQUIDATE
    fund(story, "@insurance", 500)
    assert told(story.do(STEP)).kind is LiquidationKind.WRITE_OFF
    assert (story.amount("alice", BORROWED, "USD"), story.amount("@insurance", FREE, "USD")) == (0, 100)
    assert story.refusal(STEP) is BELOW_NO_MORE


def test_what_is_owed_for_positions_comes_before_debts(story: Story) -> None:
    indebted(story, bitcoin=150, debt=600, mark=100)
    story.pledge("bob", "linear", USD=1_000)
    trade(story, "alice", "bob", 10, 100)
    story.buy("bob", "back", 10, 60, PERP)
    story.mark(PERP, 60)
    story.sell("alice", "out", 10, 60, PERP, conditions=Conditions(reduce_only=True))
    position = story.position("alice", PERP)
    assert position is not None
    assert (position.position_lots, position.entry_value) == (0, 402)
    story.mark("BTC-USD", 74)
    fund(story, "@insurance", 600)
    # 999 of collateral, 402 owed for the position and a debt of 600: a quarter of 402, rounded up, is 101.
    events = story.do(STEP)
    assert (told(events).equity, told(events).maintenance) == (-3, 60)
    assert entries(events, CauseKind.SEIZURE) == [
        {
            ("alice", COLLATERAL, "BTC"): -16,
            ("@insurance", FREE, "BTC"): 16,
            ("@insurance", FREE, "USD"): -101,
            ("@clearing", FREE, "USD"): 101,
        }
    ]
    assert story.amount("alice", BORROWED, "USD") == -600


# Crashes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", list(CrashPoint))
def test_a_step_that_a_crash_cut_off_is_taken_once(story: Story, point: CrashPoint) -> None:
    long(story)
    story.do(TakeSnapshot())
    story.mark(PERP, 80)
    story.do(Crash(in_flight=STEP, point=point), Restart())
    left = lots_of(story, "alice")
    assert left == (60 if point is CrashPoint.AFTER_JOURNAL else 100)
    events = story.do(STEP)
    assert deleveraged(events) == [("bob", left * 4 // 10, 85)]
    story.do(RestoreSnapshot())
    assert lots_of(story, "alice") == left - left * 4 // 10


def test_the_number_of_a_liquidation_order_is_not_used_again_after_a_restore(story: Story) -> None:
    long(story)
    for number in range(4):
        story.buy("bob", f"bid-{number}", 1, 86, PERP)
        story.do(TakeSnapshot(), RestoreSnapshot())
        story.mark(PERP, 90)
        events = story.do(STEP)
        order = next(event for event in events if isinstance(event, OrderAccepted))
        assert order.order == f"liquidation-{number + 1}"
