"""The call auction: what it takes in, at which price it ends, and where it may not end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from spot_venues import accepted, cancelled, funded, place, refused, restored, traded

from holdfast_engine.auction import Uncross, uncross_price
from holdfast_engine.state import state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AdvanceTime,
    Amount,
    AuctionUncrossed,
    Bucket,
    CancelOrder,
    CancelReason,
    Collateral,
    Conditions,
    Events,
    HaltProduct,
    Margin,
    Market,
    MarkRule,
    OrderRested,
    Perpetual,
    Phase,
    PhaseChanged,
    PriceTicks,
    Product,
    Reason,
    ReportPrice,
    ResumeStage,
    SetPhase,
    Setup,
    Side,
    Stage,
    StopTriggered,
    Tier,
    TimeInForce,
    TradeExecuted,
    TransferMargin,
    Trigger,
    TriggerWhen,
)

MARKET = Market(
    market="M",
    base="BTC",
    quote="USD",
    lot_amount=Amount(1),
    tick_amount=Amount(1),
    reference_ticks=PriceTicks(100),
)
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        replace(MARKET, market="N", maker_fee_ppm=10_000, taker_fee_ppm=20_000),
        replace(MARKET, maker_fee_ppm=10_000, taker_fee_ppm=20_000),
    ),
    clients=("alice", "bob", "carol"),
    auctions=True,
)


def to(venue: Venue, *phases: Phase) -> Events:
    return accepted(venue, *(SetPhase(phase=phase) for phase in phases))


def uncrossed(events: Events, market: str = "M") -> tuple[int | None, int, int]:
    (event,) = [item for item in events if isinstance(item, AuctionUncrossed) and item.market == market]
    return event.price_ticks, event.volume_lots, event.imbalance_lots


@pytest.fixture
def venue() -> Venue:
    """In its first auction."""
    venue = funded(SETUP)
    to(venue, Phase.AUCTION)
    return venue


# The price ----------------------------------------------------------------------------------------------------------

prices = st.integers(1, 12).map(PriceTicks)
levels = st.dictionaries(prices, st.integers(1, 5), max_size=6)


@given(levels, levels, st.one_of(st.none(), st.integers(1, 14).map(PriceTicks)))
def test_the_price_is_the_best_of_all_there_are(
    bids: dict[PriceTicks, int], asks: dict[PriceTicks, int], reference: PriceTicks | None
) -> None:
    def rank(price: int) -> tuple[int, int, int, int]:
        wanted = sum(lots for limit, lots in bids.items() if limit >= price)
        offered = sum(lots for limit, lots in asks.items() if limit <= price)
        distance = 0 if reference is None else abs(price - reference)
        return -min(wanted, offered), abs(wanted - offered), distance, price

    best = min(map(rank, range(1, 15)))
    found = uncross_price(bids, asks, reference)
    if not best[0]:
        assert found is None
    else:
        assert found is not None
        assert (-found.volume, abs(found.imbalance), found.price) == (best[0], best[1], best[3])


@pytest.mark.parametrize(
    ("bids", "asks", "reference", "expected"),
    [
        ({10: 9, 9: 1}, {8: 2, 10: 8}, 1, (10, 9, -1)),  # volume first
        ({10: 5, 9: 1}, {9: 5}, 1, (10, 5, 0)),  # then imbalance
        ({10: 5}, {6: 5}, 7, (7, 5, 0)),  # then the distance to the reference
        ({10: 5}, {6: 5}, 20, (10, 5, 0)),
        ({10: 3, 8: 2}, {8: 5, 10: 1}, 9, (8, 5, 0)),
        ({12: 4, 8: 1}, {8: 4, 12: 1}, 10, (10, 4, 0)),
    ],
)
def test_the_published_rule_decides_in_its_order(
    bids: dict[PriceTicks, int], asks: dict[PriceTicks, int], reference: PriceTicks, expected: tuple[int, int, int]
) -> None:
    assert uncross_price(bids, asks, reference) == Uncross(PriceTicks(expected[0]), *expected[1:])


def test_of_two_prices_equally_near_the_lower_is_taken() -> None:
    bids, asks = {PriceTicks(12): 4, PriceTicks(9): 1}, {PriceTicks(8): 4, PriceTicks(11): 1}
    assert uncross_price(bids, asks, PriceTicks(10)) == Uncross(PriceTicks(10), 4, 0)
    ends = {PriceTicks(12): 2, PriceTicks(8): 3}, {PriceTicks(8): 2, PriceTicks(12): 3}
    assert uncross_price(*ends, PriceTicks(10)) == Uncross(PriceTicks(10), 2, 0)


# What is taken in ---------------------------------------------------------------------------------------------------


def test_trading_with_auctions_begins_closed_and_opens_through_an_auction_only() -> None:
    venue = funded(SETUP)
    assert venue.phase is Phase.CLOSED
    assert refused(venue.apply(place("alice", "x", Side.BUY, 1, 100))) is Reason.PHASE_FORBIDS
    to(venue, Phase.CANCEL_ONLY, Phase.POST_ONLY)
    assert refused(venue.apply(SetPhase(phase=Phase.OPEN))) is Reason.TRANSITION_ILLEGAL
    to(venue, Phase.AUCTION, Phase.OPEN)


@pytest.mark.parametrize(
    "more",
    [
        {"price_ticks": None},
        {"time_in_force": TimeInForce.IOC},
        {"time_in_force": TimeInForce.FOK},
        {"post_only": True},
    ],
)
def test_an_auction_takes_lasting_limit_orders_only(venue: Venue, more: dict[str, object]) -> None:
    command = place("alice", "x", Side.BUY, 1_000_000, 100, **more)
    assert refused(venue.apply(command)) is Reason.AUCTION_TAKES_LIMIT_ORDERS
    lasting = Conditions(expires_ms=9)
    for good in (
        place("alice", "x", Side.BUY, 1, 100),
        place("alice", "y", Side.BUY, 1, 100, time_in_force=TimeInForce.GTT, conditions=lasting),
    ):
        assert isinstance(accepted(venue, good)[-1], OrderRested)


def test_an_auction_takes_stops_and_triggers_them_once_it_is_left_for_open(venue: Venue) -> None:
    above = Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(100)))
    accepted(
        venue,
        place("carol", "stop", Side.BUY, 1, None, conditions=above, time_in_force=TimeInForce.IOC),
        place("alice", "b", Side.BUY, 1, 100),
        place("bob", "s", Side.SELL, 2, 100),
    )
    events = to(venue, Phase.OPEN)
    assert traded(events) == [("b", "s", 1, 100), ("s", "stop", 1, 100)]
    names = [type(event).__name__ for event in events]
    assert names.index("PhaseChanged") < names.index("StopTriggered")


def test_an_auction_that_is_left_for_closed_triggers_nothing_until_trading_resumes(venue: Venue) -> None:
    above = Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(100)))
    accepted(
        venue,
        place("carol", "stop", Side.BUY, 1, 90, conditions=above),
        place("alice", "b", Side.BUY, 1, 100),
        place("bob", "s", Side.SELL, 1, 100),
    )
    assert traded(to(venue, Phase.CLOSED)) == [("b", "s", 1, 100)]
    assert len(venue.waiting) == 1
    assert any(isinstance(event, StopTriggered) for event in to(venue, Phase.AUCTION, Phase.OPEN))


# Uncrossing ---------------------------------------------------------------------------------------------------------


def test_all_trade_at_the_one_price_best_first_then_oldest_and_the_later_one_is_the_taker(venue: Venue) -> None:
    accepted(
        venue,
        place("alice", "b1", Side.BUY, 2, 104),
        place("bob", "s1", Side.SELL, 3, 98),
        place("carol", "s2", Side.SELL, 3, 98),
        place("carol", "b2", Side.BUY, 1, 105),
        place("alice", "b3", Side.BUY, 3, 104),
        place("bob", "s3", Side.SELL, 9, 106),
    )
    replica = restored(venue)
    events = to(venue, Phase.OPEN)
    assert uncrossed(events) == (100, 6, 0)
    assert traded(events) == [("s1", "b2", 1, 100), ("b1", "s1", 2, 100), ("s2", "b3", 3, 100)]
    assert events[-1] == PhaseChanged(before=Phase.AUCTION, after=Phase.OPEN)
    fees = [(event.maker_fee, event.taker_fee) for event in events if isinstance(event, TradeExecuted)]
    assert fees == [(1, 2), (2, 4), (3, 6)]
    assert all(balance.amount > 0 or balance.account == "@outside" for balance in venue.state().balances)
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 0
    replica.replay(events)
    assert state_sha256(replica.state()) == state_sha256(venue.state())


def test_markets_are_uncrossed_in_the_order_of_ids_also_where_nothing_crosses(venue: Venue) -> None:
    accepted(
        venue, place("alice", "b", Side.BUY, 1, 100, market="N"), place("bob", "s", Side.SELL, 1, 101, market="N")
    )
    events = to(venue, Phase.OPEN)
    assert [event.market for event in events if isinstance(event, AuctionUncrossed)] == ["M", "N"]
    assert uncrossed(events, "N") == (None, 0, 0)


def test_two_orders_of_one_client_lose_the_smaller_size_and_go_on(venue: Venue) -> None:
    accepted(
        venue,
        place("alice", "b", Side.BUY, 5, 100),
        place("alice", "s", Side.SELL, 2, 100),
        place("bob", "t", Side.SELL, 2, 100),
    )
    events = to(venue, Phase.OPEN)
    assert uncrossed(events) == (100, 4, 1)
    assert cancelled(events) == [("s", CancelReason.SELF_TRADE)]
    assert traded(events) == [("b", "t", 2, 100)]
    assert venue.orders["alice", "b"].left_lots == 1
    assert venue.orders["alice", "b"].size_lots == 3


def test_orders_that_rested_before_take_part_with_their_place(venue: Venue) -> None:
    to(venue, Phase.OPEN)
    accepted(venue, place("alice", "old", Side.BUY, 1, 99), place("bob", "ask", Side.SELL, 1, 101))
    to(venue, Phase.AUCTION)
    accepted(venue, place("carol", "new", Side.BUY, 1, 99), place("carol", "s", Side.SELL, 1, 95))
    assert traded(to(venue, Phase.OPEN)) == [("old", "s", 1, 99)]


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 4), st.integers(8, 12), st.sampled_from("ab"))))
@settings(max_examples=100, deadline=None)
def test_after_an_auction_no_book_is_crossed_and_the_volume_is_what_was_traded_or_decremented(
    given_orders: list[tuple[Side, int, int, str]],
) -> None:
    venue = funded(replace(SETUP, clients=("a", "b")), 10_000)
    to(venue, Phase.AUCTION)
    for number, (side, size, price, client) in enumerate(given_orders):
        accepted(venue, place(client, str(number), side, size, price))
    before = {order.key: order.left_lots for order in venue.books["M"].orders(Side.BUY)}
    replica = restored(venue)
    events = to(venue, Phase.OPEN)
    replica.replay(events)
    assert state_sha256(replica.state()) == state_sha256(venue.state())
    after = {order.key: order.left_lots for order in venue.books["M"].orders(Side.BUY)}
    assert not venue.crossed("M")
    assert sum(before.values()) - sum(after.values()) == uncrossed(events)[1]


# Calling it off -----------------------------------------------------------------------------------------------------


@pytest.fixture
def crossed(venue: Venue) -> Venue:
    """An auction with a crossed book."""
    accepted(venue, place("alice", "b", Side.BUY, 1, 101), place("bob", "s", Side.SELL, 1, 100))
    return venue


@pytest.mark.parametrize("through", [[Phase.CANCEL_ONLY], [Phase.HALTED, Phase.CANCEL_ONLY]])
def test_an_auction_called_off_leaves_a_crossed_book_from_which_only_an_auction_leads(
    crossed: Venue, through: list[Phase]
) -> None:
    assert traded(to(crossed, *through)) == []
    assert crossed.crossed("M")
    assert refused(crossed.apply(SetPhase(phase=Phase.POST_ONLY))) is Reason.TRANSITION_ILLEGAL
    to(crossed, Phase.MAINTENANCE)
    crossed = restored(crossed)
    assert refused(crossed.apply(SetPhase(phase=Phase.POST_ONLY))) is Reason.TRANSITION_ILLEGAL
    to(crossed, Phase.CANCEL_ONLY, Phase.AUCTION)
    assert traded(to(crossed, Phase.OPEN)) == [("b", "s", 1, 100)]


def test_cancelling_what_crosses_lets_the_venue_go_on(crossed: Venue) -> None:
    to(crossed, Phase.CANCEL_ONLY)
    accepted(crossed, CancelOrder(client="bob", order="s"))
    to(crossed, Phase.POST_ONLY)


def test_an_auction_does_not_end_while_the_product_of_a_crossed_book_is_not_open(crossed: Venue) -> None:
    accepted(crossed, HaltProduct(product="spot", cause="late"))
    for phase in (Phase.OPEN, Phase.CLOSED):
        assert refused(crossed.apply(SetPhase(phase=phase))) is Reason.TRANSITION_ILLEGAL
    accepted(crossed, *(ResumeStage(product="spot", stage=stage) for stage in list(Stage)[1:]))
    assert traded(to(crossed, Phase.OPEN)) == [("b", "s", 1, 100)]


def test_without_a_crossed_book_a_halted_product_does_not_keep_the_auction(venue: Venue) -> None:
    accepted(venue, HaltProduct(product="spot", cause="late"))
    to(venue, Phase.OPEN)


# Reduce-only --------------------------------------------------------------------------------------------------------

MARGINED = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(
            market="M",
            base="BTC",
            quote="USD",
            lot_amount=Amount(1),
            tick_amount=Amount(1),
            product="linear",
            mark=MarkRule(sources=("s",), sources_min=1, age_max_ms=1_000, band_ppm=0),
            perpetual=Perpetual(tiers=(Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),)),
        ),
    ),
    clients=("alice", "bob"),
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
)


def test_entering_an_auction_cancels_resting_reduce_only_orders_and_takes_no_others() -> None:
    venue = funded(MARGINED)
    only = Conditions(reduce_only=True)
    stop = replace(only, trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(150)))
    for client in ("alice", "bob"):
        into = TransferMargin(
            client=client, request="in", asset="USD", amount=Amount(5_000), source="spot", target="linear"
        )
        accepted(venue, into)
    accepted(
        venue,
        AdvanceTime(time_ms=1),
        ReportPrice(source="s", market="M", price_ticks=PriceTicks(100), time_ms=1),
        place("alice", "b", Side.BUY, 3, 100),
        place("bob", "s", Side.SELL, 3, 100),
        place("bob", "down", Side.BUY, 3, 90, conditions=only),
        place("alice", "up", Side.SELL, 3, 110, conditions=only),
        place("alice", "later", Side.SELL, 3, 110, conditions=stop),
    )
    events = to(venue, Phase.AUCTION)
    assert events[0] == PhaseChanged(before=Phase.OPEN, after=Phase.AUCTION)
    assert cancelled(events) == [("down", CancelReason.REDUCE_ONLY), ("up", CancelReason.REDUCE_ONLY)]
    assert [order.order for order in venue.waiting.values()] == ["later"]
    again = place("alice", "again", Side.SELL, 1, 110, conditions=only)
    assert refused(venue.apply(again)) is Reason.AUCTION_TAKES_LIMIT_ORDERS
    accepted(venue, place("alice", "out", Side.SELL, 3, 95), place("bob", "in", Side.BUY, 3, 105))
    assert traded(to(venue, Phase.OPEN)) == [("out", "in", 3, 100)]
    assert all(not item.position_lots for item in venue.state().positions)
