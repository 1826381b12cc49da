"""Margin accounts: what they are worth, what they need, and which orders they bear. All numbers are worked out here.

A BTC unit of collateral is a tenth of a lot, so that it is worth a tenth of the mark, less 10 %; an ETH unit a tenth
of its mark, less 25 %. A position needs 10 % of its value up to 6,000, 20 % beyond; 5 % and 10 % to be kept. Fees are
at most 0.05 %.
"""

from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from holdfast.setups import MARGIN_SETUP
from holdfast.stories import Story
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    SPOT,
    AmendOrder,
    Amount,
    Borrow,
    CancelReason,
    Conditions,
    FundHouse,
    OrderCancelled,
    PlaceOrder,
    PriceTicks,
    Product,
    Reason,
    Rejected,
    Side,
    SizeLots,
    StopTriggered,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

BUY, SELL = Side.BUY, Side.SELL
PERP = "BTC-PERP"
REDUCE = Conditions(reduce_only=True)
VenueOf = Callable[[Story], Venue]


def lend(story: Story, **amounts: int) -> None:
    for asset, amount in amounts.items():
        story.do(FundHouse(account="@lending", asset=asset, amount=Amount(amount), transaction=f"pool-{asset}"))


def borrow(client: str, request: str, asset: str, amount: int) -> Borrow:
    return Borrow(client=client, request=request, asset=asset, amount=Amount(amount))


def amend(client: str, order: str, size: int, price: int) -> AmendOrder:
    return AmendOrder(client=client, order=order, size_lots=SizeLots(size), price_ticks=PriceTicks(price))


def margins(venue: Venue, client: str, product: str) -> tuple[int | None, int | None, int | None]:
    """Equity, maintenance margin and initial margin."""
    account = venue.margin_account(client, product)
    return venue.equity(account), venue.maintenance(account), venue.initial(account)


def open_long(story: Story, client: str, size: int, price: int, market: str = PERP) -> None:
    """A long position that the client's order got as a maker, from somebody with plenty."""
    story.pledge("dave", next(m.product for m in story.setup.markets if m.market == market), USD=2_000)
    story.buy(client, f"long-{market}", size, price, market)
    story.sell("dave", f"short-{market}", size, price, market)
    position = story.position(client, market)
    assert position is not None
    assert position.position_lots == size


# What there is, and what is needed ----------------------------------------------------------------------------------


def test_equity_is_collateral_less_haircuts_minus_debts_plus_unrealised_profit(
    story: Story, venue_of: VenueOf
) -> None:
    lend(story, BTC=100)
    story.pledge("alice", "linear", USD=1_000, BTC=17, ETH=3)
    story.do(borrow("alice", "loan", "BTC", 3))
    open_long(story, "alice", 4, 100)
    story.mark("BTC-USD", 101)
    story.mark(PERP, 103)
    fee = 1  # 0.02 % of 400, rounded up
    bitcoin = 154  # 17 * 10.1 is 171.7, less 10 % is 154.53
    ether = 9  # 3 * 4 less 25 %
    debt = 31  # 3 * 10.1, rounded up
    maintenance = 21 + 4  # 5 % of 412; 10 % of the debt
    initial = 42 + 7  # 10 % of 412; 20 % of the debt
    assert margins(venue_of(story), "alice", "linear") == (
        1_000 - fee + bitcoin + ether - debt + 4 * 3,
        maintenance,
        initial,
    )


def test_tiers_are_progressive(story: Story, venue_of: VenueOf) -> None:
    story.pledge("alice", "linear", USD=1_000)
    open_long(story, "alice", 70, 100)
    _, maintenance, initial = margins(venue_of(story), "alice", "linear")
    assert (maintenance, initial) == (300 + 100, 600 + 200)


def test_positions_of_all_products_that_are_not_isolated_share_an_account_and_isolated_ones_do_not(
    story: Story, venue_of: VenueOf
) -> None:
    story.pledge("alice", "linear", USD=1_000)
    story.pledge("alice", "island", USD=500)
    open_long(story, "alice", 10, 100)
    open_long(story, "alice", 10, 40, "ETH-PERP")
    open_long(story, "alice", 10, 40, "ETH-ISLE")
    story.mark(PERP, 110)
    story.mark("ETH-PERP", 35)
    story.mark("ETH-ISLE", 20)
    venue = venue_of(story)
    assert margins(venue, "alice", "linear") == (998 + 100 - 50, 55 + 18, 110 + 35)
    assert margins(venue, "alice", SPOT) == margins(venue, "alice", "linear")
    assert margins(venue, "alice", "island") == (499 - 200, 10, 20)


@pytest.mark.parametrize("market", ["BTC-USD", PERP])
def test_an_account_is_worth_nothing_known_as_long_as_a_mark_that_it_needs_is_missing(
    story: Story, venue_of: VenueOf, market: str
) -> None:
    story.pledge("alice", "linear", USD=1_000, BTC=10)
    open_long(story, "alice", 10, 100)
    for other in ("BTC-USD", PERP):
        if other != market:
            story.wait(40_000)
            story.mark(other, 100)
    story.wait(30_000)
    assert story.mark_of(market) is None
    venue = venue_of(story)
    equity, maintenance, _ = margins(venue, "alice", "linear")
    assert equity is None
    assert (maintenance is None) is (market == PERP)
    assert margins(venue, "bob", "linear") == (0, 0, 0)
    assert story.refusal(story.order(BUY, "alice", "x", 1, 100, PERP)) is Reason.MARK_UNAVAILABLE


# New orders ---------------------------------------------------------------------------------------------------------


# 80 lots at the mark of 100 need 600 + 400 and may lose a fee at the higher rate; a worse price is lost as well.
@pytest.mark.parametrize(
    ("side", "price", "needed"),
    [
        (BUY, 100, 1_000 + 4),
        (SELL, 100, 1_000 + 4),
        (BUY, 102, 1_000 + 5 + 160),
        (SELL, 98, 1_000 + 4 + 160),
        (BUY, 98, 1_000 + 4),
        (SELL, 102, 1_000 + 5),
    ],
)
def test_an_order_is_refused_by_one_unit_of_the_margin_that_it_needs(
    story: Story, side: Side, price: int, needed: int
) -> None:
    story.pledge("alice", "linear", USD=needed - 1)
    order = story.order(side, "alice", "x", 80, price, PERP)
    assert story.refusal(order) is Reason.INSUFFICIENT_MARGIN
    story.pledge("alice", "linear", USD=1)
    assert story.refusal(order) is None


def test_a_market_order_may_lose_what_its_fills_cost_it(story: Story) -> None:
    story.pledge("dave", "linear", USD=5_000)
    story.sell("dave", "a", 40, 102, PERP)
    story.sell("dave", "b", 60, 105, PERP)
    needed = 1_000 + 5 + 80 + 200  # the fee of 4,080 + 4,200, and the prices against the mark
    story.pledge("alice", "linear", USD=needed - 1)
    order = story.order(BUY, "alice", "x", 80, None, PERP)
    assert story.refusal(order) is Reason.INSUFFICIENT_MARGIN
    story.pledge("alice", "linear", USD=1)
    assert story.refusal(order) is None


def test_of_open_buys_and_open_sells_those_count_that_make_the_larger_position(story: Story) -> None:
    story.pledge("alice", "linear", USD=1_009)
    story.buy("alice", "buy", 80, 100, PERP)
    sell = story.order(SELL, "alice", "sell", 80, 101, PERP)
    needed = 1_000 + 4 + 5  # the margin once, and what both orders may lose
    assert needed == 1_009
    assert story.refusal(sell) is None
    assert story.refusal(story.order(SELL, "alice", "more", 1, 101, PERP)) is Reason.INSUFFICIENT_MARGIN


def test_an_order_that_would_make_a_position_smaller_still_counts_with_what_it_may_lose(story: Story) -> None:
    story.pledge("alice", "linear", USD=102)
    open_long(story, "alice", 10, 100)
    assert story.refusal(story.order(SELL, "alice", "x", 10, 99, PERP)) is Reason.INSUFFICIENT_MARGIN
    assert story.refusal(story.order(SELL, "alice", "x", 20, 100, PERP)) is None


def test_a_reduce_only_order_needs_no_margin_and_must_bear_what_it_may_lose(story: Story) -> None:
    story.pledge("alice", "linear", USD=101)
    open_long(story, "alice", 10, 100)  # the fee was 1: equity is 100, and so is the initial margin
    more = story.order(BUY, "alice", "more", 1, 100, PERP)
    assert story.refusal(more) is Reason.INSUFFICIENT_MARGIN
    ruinous = story.order(SELL, "alice", "ruinous", 10, 89, PERP, conditions=REDUCE)
    assert story.refusal(ruinous) is Reason.INSUFFICIENT_MARGIN  # it may lose 110 and a fee of 1
    first = story.order(SELL, "alice", "first", 10, 91, PERP, conditions=REDUCE)
    assert story.refusal(first) is None  # it may lose 90 and a fee of 1
    second = story.order(SELL, "alice", "second", 10, 99, PERP, conditions=REDUCE)
    assert story.refusal(second) is Reason.INSUFFICIENT_MARGIN  # 100 - 11 is less than 91
    assert story.refusal(story.order(SELL, "alice", "third", 1, 100, PERP, conditions=REDUCE)) is None


def test_a_reduce_only_order_is_refused_when_there_is_nothing_to_reduce_and_before_the_margin_is_looked_at(
    story: Story,
) -> None:
    refused = Reason.REDUCE_ONLY_WOULD_INCREASE
    for side in (BUY, SELL):
        assert story.refusal(story.order(side, "alice", "x", 1, 100, PERP, conditions=REDUCE)) is refused
    story.pledge("alice", "linear", USD=200)
    open_long(story, "alice", 10, 100)
    assert story.refusal(story.order(BUY, "alice", "x", 1, 100, PERP, conditions=REDUCE)) is refused


def test_a_missing_mark_is_the_reason_before_a_missing_margin(story: Story) -> None:
    order = story.order(BUY, "alice", "x", 80, 100, PERP)
    assert story.refusal(order) is Reason.INSUFFICIENT_MARGIN
    story.wait(60_001)
    assert story.refusal(order) is Reason.MARK_UNAVAILABLE


def test_each_isolated_account_has_the_markets_of_its_own_product_only() -> None:
    """Of two isolated products, whichever comes first by its name."""
    isle = next(market for market in MARGIN_SETUP.markets if market.product == "island")
    products = (
        *MARGIN_SETUP.products,
        Product(product="atoll", isolated=True),
        Product(product="reef", isolated=True),
    )
    markets = (
        *MARGIN_SETUP.markets,
        replace(isle, market="ETH-ATOLL", product="atoll"),
        replace(isle, market="ETH-REEF", product="reef"),
    )
    venue = Venue(replace(MARGIN_SETUP, products=products, markets=markets))
    for product, name in (("atoll", "ETH-ATOLL"), ("island", "ETH-ISLE"), ("reef", "ETH-REEF")):
        assert [market.market for market in venue.margin_account("alice", product).markets] == [name]
    assert [market.market for market in venue.margin_account("alice", "linear").markets] == ["BTC-PERP", "ETH-PERP"]


# Amendments ---------------------------------------------------------------------------------------------------------


def test_a_larger_order_is_checked_as_one_in_its_place_would_be(story: Story) -> None:
    needed = 600 + 420 + 5  # 81 lots at 100, and the fee on them
    story.pledge("alice", "linear", USD=needed - 1)
    story.buy("alice", "x", 80, 100, PERP)
    assert story.refusal(amend("alice", "x", 81, 100)) is Reason.INSUFFICIENT_MARGIN
    story.pledge("alice", "linear", USD=1)
    assert story.refusal(amend("alice", "x", 81, 100)) is None


def test_a_smaller_order_at_the_same_price_needs_no_margin_and_one_at_a_worse_price_does(story: Story) -> None:
    story.pledge("alice", "linear", USD=1_004)
    story.buy("alice", "x", 80, 100, PERP)
    story.mark(PERP, 115)  # 80 lots need 600 + 640 now
    assert story.refusal(amend("alice", "x", 79, 101)) is Reason.INSUFFICIENT_MARGIN
    assert story.refusal(amend("alice", "x", 79, 100)) is None
    story.wait(60_001)
    assert story.refusal(amend("alice", "x", 78, 100)) is None
    assert story.refusal(amend("alice", "x", 78, 101)) is Reason.MARK_UNAVAILABLE


# Waiting stops ------------------------------------------------------------------------------------------------------


def test_a_waiting_stop_is_checked_when_it_is_placed_and_when_it_is_triggered_and_not_in_between(
    story: Story,
) -> None:
    story.pledge("alice", "linear", USD=1_084)
    trigger = Trigger(by=TriggerBy.MARK, when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(105))
    stops = [story.order(BUY, "alice", name, 80, 100, PERP, conditions=Conditions(trigger=trigger)) for name in "ab"]
    assert story.refusal(story.order(BUY, "alice", "c", 87, 100, PERP)) is Reason.INSUFFICIENT_MARGIN
    assert [story.refusal(stop) for stop in stops] == [None, None]
    begun = len(story.told)
    story.mark(PERP, 105)
    told = story.told[begun:]
    # 80 lots need 600 + 480 at this mark, and a fee of 4; 160 lots far more.
    assert [event.order for event in told if isinstance(event, StopTriggered)] == ["a", "b"]
    assert [(e.order, e.reason) for e in told if isinstance(e, OrderCancelled)] == [("b", CancelReason.UNFUNDED)]
    assert story.left("alice", "a") == 80


def test_a_stop_that_the_account_does_not_bear_is_refused(story: Story) -> None:
    trigger = Trigger(by=TriggerBy.MARK, when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(105))
    stop = story.order(BUY, "alice", "x", 80, 100, PERP, conditions=Conditions(trigger=trigger))
    story.pledge("alice", "linear", USD=1_003)
    assert story.refusal(stop) is Reason.INSUFFICIENT_MARGIN
    story.pledge("alice", "linear", USD=1)
    assert story.refusal(stop) is None


# No fill at an unchanged mark ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_no_fill_at_an_unchanged_mark_takes_an_account_below_its_initial_margin(story: Story, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    story.pledge("alice", "linear", USD=700, BTC=30)
    story.pledge("bob", "linear", USD=1_500)
    story.pledge("carol", "linear", USD=300)
    venue = Venue(story.setup)
    for step in story.runner.steps:
        assert not isinstance(venue.apply(step)[0], Rejected)  # type: ignore[arg-type] # all of them are commands
    refused = 0
    for number in range(250):
        market, price = random.choice(((PERP, 100), ("ETH-PERP", 40)))
        events = venue.apply(
            PlaceOrder(
                client=random.choice(("alice", "bob", "carol")),
                order=f"o{number}",
                market=market,
                side=random.choice((BUY, SELL)),
                size_lots=SizeLots(random.randint(1, 20)),
                price_ticks=PriceTicks(price + random.randint(-2, 2)),
            )
        )
        refused += isinstance(events[0], Rejected)
        for client in ("alice", "bob", "carol"):
            equity, _, initial = margins(venue, client, "linear")
            assert equity is not None
            assert initial is not None
            assert equity >= initial
    assert venue.trades > 10
    assert refused > 10
