"""Positions and funding: entry values, what closing releases, what is paid in cash, and what stays owed."""

import pytest
from msgspec.structs import replace

from holdfast.stories import Story
from holdfast_model.vocabulary import (
    SPOT,
    Amount,
    Bucket,
    CauseKind,
    Conditions,
    EntryPosted,
    Events,
    FundHouse,
    FundingSettled,
    HaltProduct,
    Liquidate,
    PositionChanged,
    Reason,
    RestoreSnapshot,
    SettleFunding,
    Side,
    SizeLots,
    TakeSnapshot,
    TradeExecuted,
)

PERP = "BTC-PERP"
FREE, COLLATERAL = Bucket.FREE, Bucket.COLLATERAL
BUY, SELL = Side.BUY, Side.SELL


def pledged(story: Story, **amounts: int) -> None:
    for client, amount in amounts.items():
        story.pledge(client, "linear", USD=amount)


def held(story: Story, client: str, market: str = PERP) -> tuple[int, int]:
    """Lots and entry value; nothing where there is no position."""
    position = story.position(client, market)
    return (0, 0) if position is None else (position.position_lots, position.entry_value)


def cash(story: Story, client: str) -> int:
    return story.amount(client, COLLATERAL, "USD")


class Desk:
    """Trades between a client, as the maker, and dave, who has plenty."""

    def __init__(self, story: Story) -> None:
        self.story, self.number = story, 0
        story.pledge("dave", "linear", USD=9_000)

    def trade(self, client: str, lots: int, price: int, market: str = PERP) -> TradeExecuted:
        self.number += 1
        buy, sell = self.story.buy, self.story.sell
        first, second = (buy, sell) if lots > 0 else (sell, buy)
        first(client, f"m{self.number}", abs(lots), price, market)
        events = second("dave", f"t{self.number}", abs(lots), price, market)
        return next(event for event in events if isinstance(event, TradeExecuted))


@pytest.fixture
def desk(story: Story) -> Desk:
    return Desk(story)


def entry(events: Events, kind: CauseKind) -> dict[tuple[str, Bucket], int]:
    found = [event for event in events if isinstance(event, EntryPosted) and event.cause_kind is kind]
    assert len(found) == 1
    return {(line.account, line.bucket): line.amount for line in found[0].postings}


# Positions ----------------------------------------------------------------------------------------------------------


def test_opening_adds_the_signed_value_and_pays_fees_only(story: Story, desk: Desk) -> None:
    pledged(story, alice=5_000)
    trade = desk.trade("alice", 10, 100)
    assert (trade.maker_fee, trade.taker_fee) == (1, 1)  # 0.02 % and 0.05 % of 1,000, each rounded up
    assert held(story, "alice") == (10, 1_000)
    assert held(story, "dave") == (-10, -1_000)
    assert (cash(story, "alice"), cash(story, "dave")) == (4_999, 8_999)
    assert (story.amount("@fees", FREE, "USD"), story.amount("@rounding", FREE, "USD")) == (0, 2)
    desk.trade("alice", 190, 101)
    assert held(story, "alice") == (200, 1_000 + 19_190)
    # 0.02 % of 19,190 is 3.838, and 0.05 % of it 9.595: 4 and 10 are charged, 3 and 9 are earned.
    assert (cash(story, "alice"), cash(story, "dave")) == (4_995, 8_989)
    assert (story.amount("@fees", FREE, "USD"), story.amount("@rounding", FREE, "USD")) == (12, 4)


def test_the_fee_is_rounded_up_once_over_an_order_that_fills_in_pieces(story: Story, desk: Desk) -> None:
    pledged(story, alice=5_000)
    story.buy("alice", "whole", 30, 100, PERP)
    fees = []
    for number in range(3):
        events = story.sell("dave", f"piece-{number}", 10, 100, PERP)
        fees += [event.maker_fee for event in events if isinstance(event, TradeExecuted)]
    assert fees == [1, 0, 0]  # 0.02 % of 3,000 is 0.6
    assert cash(story, "alice") == 4_999
    assert desk.number == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_closing_releases_entry_value_pro_rata_and_what_truncation_leaves_stays_with_the_lots(
    story: Story, desk: Desk, sign: int
) -> None:
    pledged(story, alice=5_000)
    desk.trade("alice", sign, 100)
    desk.trade("alice", 2 * sign, 101)
    assert held(story, "alice") == (3 * sign, 302 * sign)
    before = cash(story, "alice")
    desk.trade("alice", -sign, 110)
    assert held(story, "alice") == (2 * sign, 202 * sign)  # 302 / 3 is 100.67, of which 100 are released
    assert cash(story, "alice") == before + sign * (110 - 100) - 1
    desk.trade("alice", -2 * sign, 110)
    assert held(story, "alice") == (0, 0)
    assert story.position("alice", PERP) is None
    assert cash(story, "alice") == before + sign * (330 - 302) - 2


@pytest.mark.parametrize("sign", [1, -1])
def test_a_trade_beyond_a_position_closes_it_and_opens_the_rest_at_its_price(
    story: Story, desk: Desk, sign: int
) -> None:
    pledged(story, alice=5_000)
    desk.trade("alice", 3 * sign, 100)
    before = cash(story, "alice")
    desk.trade("alice", -5 * sign, 110)
    assert held(story, "alice") == (-2 * sign, -220 * sign)
    assert cash(story, "alice") == before + 30 * sign - 1


def test_profit_is_paid_out_of_clearing_which_is_minus_the_sum_of_all_entry_values(story: Story, desk: Desk) -> None:
    pledged(story, alice=5_000, bob=5_000)
    desk.trade("alice", 10, 100)
    desk.trade("bob", -10, 103)
    assert story.amount("@clearing", FREE, "USD") == 0 - (1_000 - 1_030 + held(story, "dave")[1])
    desk.trade("alice", -4, 105)
    entries = sum(item.entry_value for item in story.view.positions)
    assert story.amount("@clearing", FREE, "USD") == -entries
    desk.trade("alice", -6, 105)
    desk.trade("bob", 10, 105)
    assert story.view.positions == ()
    assert story.amount("@clearing", FREE, "USD") == 0


def test_both_sides_of_a_trade_may_close(story: Story) -> None:
    pledged(story, alice=1_000, bob=1_000)
    story.buy("alice", "a", 5, 100, PERP)
    story.sell("bob", "b", 5, 100, PERP)
    story.sell("alice", "c", 5, 104, PERP)
    events = story.buy("bob", "d", 5, 104, PERP)
    assert [event for event in events if isinstance(event, PositionChanged)] == [
        PositionChanged(client="alice", market=PERP, position_lots=SizeLots(0), entry_value=Amount(0)),
        PositionChanged(client="bob", market=PERP, position_lots=SizeLots(0), entry_value=Amount(0)),
    ]
    assert entry(events, CauseKind.TRADE) == {
        ("alice", COLLATERAL): 20 - 1,
        ("bob", COLLATERAL): -20 - 1,
        ("@rounding", FREE): 2,
    }


@pytest.mark.parametrize(("lots", "side", "prices"), [(10, SELL, (89, 91)), (-10, BUY, (111, 109))])
def test_an_order_that_only_reduces_needs_no_margin_but_must_bear_what_it_may_lose(
    story: Story, desk: Desk, lots: int, side: Side, prices: tuple[int, int]
) -> None:
    pledged(story, alice=101)
    desk.trade("alice", lots, 100)  # the fee was 1: equity is 100, and so is the initial margin
    for price, reason in zip(prices, (Reason.INSUFFICIENT_MARGIN, None), strict=True):
        order = story.order(side, "alice", f"at{price}", 10, price, PERP, conditions=Conditions(reduce_only=True))
        assert story.refusal(order) is reason


# What cannot be paid ------------------------------------------------------------------------------------------------


def test_what_an_account_cannot_pay_stays_owed_and_is_paid_first_when_collateral_comes_in(
    story: Story, desk: Desk
) -> None:
    story.pledge("alice", "linear", BTC=100)  # counts for 900, and is no cash
    desk.trade("alice", 10, 100)
    assert held(story, "alice") == (10, 1_001)  # the fee of 1 is owed
    desk.trade("alice", -10, 90)
    assert held(story, "alice") == (0, 102)  # a loss of 101, and a fee of 1
    assert cash(story, "alice") == 0
    story.do(TakeSnapshot(), RestoreSnapshot())
    events = story.do(story.transfer("alice", "USD", 60, SPOT, "linear"))
    assert entry(events, CauseKind.SETTLEMENT) == {("alice", COLLATERAL): -60, ("@clearing", FREE): 60}
    assert (held(story, "alice"), cash(story, "alice")) == ((0, 42), 0)
    story.do(story.transfer("alice", "BTC", 1, SPOT, "linear"))
    assert held(story, "alice") == (0, 42)
    story.do(story.transfer("alice", "USD", 100, SPOT, "linear"))
    assert (held(story, "alice"), cash(story, "alice")) == ((0, 0), 58)
    assert story.position("alice", PERP) is None


def test_the_last_unit_that_is_owed_is_written_off_too(story: Story, desk: Desk) -> None:
    story.pledge("alice", "linear", BTC=100)
    desk.trade("alice", 10, 100)
    desk.trade("alice", -10, 100)
    pledged(story, alice=1)
    assert held(story, "alice") == (0, 1)  # of two fees, one is paid
    story.do(story.transfer("alice", "BTC", 99, "linear", SPOT))
    story.do(FundHouse(account="@insurance", asset="USD", amount=Amount(5), transaction="insured"))
    step = Liquidate(client="alice", product="linear")
    assert story.refusal(step) is Reason.NOT_BELOW_MAINTENANCE
    story.mark("BTC-USD", 1)  # what is left of the collateral counts for nothing now
    assert entry(story.do(step), CauseKind.INSURANCE) == {("@insurance", FREE): -1, ("@clearing", FREE): 1}
    assert story.position("alice", PERP) is None
    assert story.refusal(step) is not None


def test_what_is_owed_is_paid_market_by_market(story: Story, desk: Desk) -> None:
    story.pledge("alice", "linear", BTC=200)
    for market, price, loss in (("ETH-PERP", 40, 2), (PERP, 100, 5)):
        desk.trade("alice", 10, price, market)
        desk.trade("alice", -10, price - loss, market)
    assert (held(story, "alice"), held(story, "alice", "ETH-PERP")) == ((0, 52), (0, 22))
    pledged(story, alice=60)
    assert (held(story, "alice"), held(story, "alice", "ETH-PERP")) == ((0, 0), (0, 14))
    assert cash(story, "alice") == 0


def test_what_is_owed_is_paid_out_of_a_later_profit_in_the_same_market(story: Story, desk: Desk) -> None:
    story.pledge("alice", "linear", BTC=100)
    desk.trade("alice", 10, 100)
    desk.trade("alice", -10, 95)
    assert held(story, "alice") == (0, 52)
    desk.trade("alice", 10, 95)
    assert held(story, "alice") == (10, 52 + 950 + 1)
    desk.trade("alice", -10, 101)
    assert (held(story, "alice"), cash(story, "alice")) == ((0, 0), 1_010 - 1_003 - 1)


# Funding ------------------------------------------------------------------------------------------------------------


def funding(period: int, rate: int, market: str = PERP) -> SettleFunding:
    return SettleFunding(market=market, period=period, rate_ppm=rate)


# Alice is long 3, bob short 1, dave short 2; at a mark of 103 and 1 % that is 3.09, 1.03 and 2.06.
@pytest.mark.parametrize(
    ("rate", "amounts"),
    [(10_000, (-4, 1, 2, 1)), (-10_000, (3, -2, -3, 2)), (1, (-1, 0, 0, 1)), (-1, (0, -1, -1, 2))],
)
def test_funding_is_paid_rounded_up_received_rounded_down_and_the_remainder_goes_to_rounding(
    story: Story, desk: Desk, rate: int, amounts: tuple[int, ...]
) -> None:
    pledged(story, alice=1_000, bob=1_000)
    desk.trade("alice", 3, 100)
    desk.trade("bob", -1, 100)
    story.mark(PERP, 103)
    events = story.do(funding(1, rate))
    assert isinstance(events[0], FundingSettled)
    assert (events[0].mark_ticks, events[0].period, events[0].rate_ppm) == (103, 1, rate)
    places = [*((client, COLLATERAL) for client in ("alice", "bob", "dave")), ("@rounding", FREE)]
    expected = {place: amount for place, amount in zip(places, amounts, strict=True) if amount}
    assert entry(events, CauseKind.FUNDING) == expected
    assert sum(amounts) == 0


def test_a_funding_of_nothing_counts_as_a_period(story: Story, desk: Desk) -> None:
    assert [type(event) for event in story.do(funding(1, 10_000))] == [FundingSettled]
    pledged(story, alice=1_000)
    desk.trade("alice", 3, 100)
    assert [type(event) for event in story.do(funding(2, 0))] == [FundingSettled]
    assert story.refusal(funding(2, 10_000)) is Reason.PERIOD_NOT_NEXT


def test_funding_that_an_account_cannot_pay_is_added_to_what_its_position_cost(story: Story, desk: Desk) -> None:
    story.pledge("alice", "linear", USD=1, BTC=100)
    desk.trade("alice", 10, 100)
    assert (held(story, "alice"), cash(story, "alice")) == ((10, 1_000), 0)
    events = story.do(funding(1, 10_000))
    assert entry(events, CauseKind.FUNDING) == {("dave", COLLATERAL): 10, ("@clearing", FREE): -10}
    assert held(story, "alice") == (10, 1_010)


def test_funding_is_paid_in_the_accounts_that_bear_the_positions(story: Story) -> None:
    for client in ("alice", "bob"):
        story.pledge(client, "island", USD=500)
    story.buy("alice", "a", 10, 40, "ETH-ISLE")
    story.sell("bob", "b", 10, 40, "ETH-ISLE")
    events = story.do(funding(1, 10_000, "ETH-ISLE"))
    assert entry(events, CauseKind.FUNDING) == {("alice@island", COLLATERAL): -4, ("bob@island", COLLATERAL): 4}


def test_funding_is_refused_in_this_order(story: Story) -> None:
    story.do(HaltProduct(product="linear", cause="late"))
    story.wait(60_001)
    command = funding(5, -10_001, "BTC-USD")
    for reason, repair in (
        (Reason.UNKNOWN_MARKET, {"market": "NO-WHERE"}),
        (Reason.UNKNOWN_MARKET, {"market": PERP}),
        (Reason.PRODUCT_HALTED, {"market": "ETH-ISLE"}),
        (Reason.RATE_OUT_OF_BOUNDS, {"rate_ppm": -10_000}),
        (Reason.PERIOD_NOT_NEXT, {"period": 0}),
        (Reason.PERIOD_NOT_NEXT, {"period": 1}),
    ):
        assert story.refusal(command) is reason
        command = replace(command, **repair)
    assert story.refusal(command) is Reason.MARK_UNAVAILABLE
    story.mark("ETH-ISLE", 40)
    assert story.refusal(command) is None


def test_the_period_of_a_funding_is_not_forgotten_by_a_restore(story: Story, desk: Desk) -> None:
    pledged(story, alice=1_000)
    desk.trade("alice", 3, 100)
    story.do(funding(1, 10_000), TakeSnapshot(), funding(2, 10_000), RestoreSnapshot())
    assert story.refusal(funding(1, 10_000)) is Reason.PERIOD_NOT_NEXT
    assert story.refusal(funding(2, 10_000)) is Reason.PERIOD_NOT_NEXT
    assert story.refusal(funding(3, 10_000)) is None
    assert cash(story, "alice") == 1_000 - 1 - 3 * 3
