"""Price bands, and how far a market order may trade."""

import pytest
from msgspec.structs import replace
from spot_venues import accepted, cancelled, funded, place, refused, restored

from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    CancelReason,
    Conditions,
    Events,
    Market,
    PriceTicks,
    Reason,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
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
        replace(MARKET, band_ppm=100_000, protection_ppm=50_000),
        replace(MARKET, market="N", reference_ticks=None, band_ppm=100_000),
    ),
    clients=("alice", "bob"),
)


def lots(events: Events) -> list[tuple[int, int]]:
    return [(event.price_ticks, event.size_lots) for event in events if isinstance(event, TradeExecuted)]


@pytest.fixture
def venue() -> Venue:
    return funded(SETUP, 100_000)


@pytest.mark.parametrize(("price", "within"), [(89, False), (90, True), (110, True), (111, False)])
@pytest.mark.parametrize("side", list(Side))
def test_a_limit_is_within_the_band_around_the_reference_before_the_first_trade(
    venue: Venue, side: Side, price: int, *, within: bool
) -> None:
    answer = refused(venue.apply(place("alice", "x", side, 1, price)))
    assert answer is (None if within else Reason.PRICE_OUTSIDE_BAND)


def test_the_band_follows_the_last_trade_of_its_market(venue: Venue) -> None:
    accepted(venue, place("alice", "b", Side.BUY, 1, 110), place("bob", "s", Side.SELL, 1, 110))
    assert refused(venue.apply(place("alice", "x", Side.BUY, 1, 98))) is Reason.PRICE_OUTSIDE_BAND
    for again in (venue, restored(venue)):
        accepted(again, place("alice", "x", Side.BUY, 1, 99), place("alice", "y", Side.BUY, 1, 121))


def test_without_a_trade_and_a_reference_there_is_no_band(venue: Venue) -> None:
    accepted(
        venue,
        place("alice", "b", Side.BUY, 1, 7, market="N"),
        place("bob", "s", Side.SELL, 1, 7, market="N"),
    )
    assert refused(venue.apply(place("bob", "x", Side.SELL, 1, 9, market="N"))) is Reason.PRICE_OUTSIDE_BAND


def test_an_amendment_and_a_stop_s_limit_are_held_to_the_band_too(venue: Venue) -> None:
    accepted(venue, place("alice", "x", Side.BUY, 2, 90))
    amend = AmendOrder(client="alice", order="x", size_lots=SizeLots(2), price_ticks=PriceTicks(89))
    assert refused(venue.apply(amend)) is Reason.PRICE_OUTSIDE_BAND
    above = Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(200)))
    stop = place("alice", "s", Side.BUY, 1, 111, conditions=above)
    assert refused(venue.apply(stop)) is Reason.PRICE_OUTSIDE_BAND
    accepted(venue, replace(stop, price_ticks=None))


@pytest.mark.parametrize("side", list(Side))
def test_a_market_order_trades_no_further_than_its_protection_and_the_rest_is_cancelled(
    venue: Venue, side: Side
) -> None:
    away = 1 if side is Side.BUY else -1
    for distance in (0, 5, 6):
        accepted(venue, place("bob", str(distance), side.opposite, 1, 100 + away * distance))
    events = accepted(venue, place("alice", "x", side, 3, None))
    assert lots(events) == [(100, 1), (100 + away * 5, 1)]
    assert cancelled(events) == [("x", CancelReason.PRICE_PROTECTION)]


def test_a_market_order_that_empties_the_book_is_cancelled_as_a_remainder(venue: Venue) -> None:
    accepted(venue, place("bob", "a", Side.SELL, 1, 100))
    assert cancelled(accepted(venue, place("alice", "x", Side.BUY, 2, None))) == [
        ("x", CancelReason.MARKET_REMAINDER)
    ]
    assert cancelled(accepted(venue, place("alice", "y", Side.BUY, 2, None))) == [
        ("y", CancelReason.MARKET_REMAINDER)
    ]


def test_a_fill_or_kill_market_order_is_refused_where_protection_would_end_it(venue: Venue) -> None:
    accepted(venue, place("bob", "a", Side.SELL, 1, 100), place("bob", "b", Side.SELL, 1, 106))
    order = place("alice", "x", Side.BUY, 2, None, time_in_force=TimeInForce.FOK)
    assert refused(venue.apply(order)) is Reason.FOK_UNFILLABLE
    assert lots(accepted(venue, replace(order, size_lots=SizeLots(1)))) == [(100, 1)]


def test_a_market_buy_is_covered_by_what_it_may_trade_only() -> None:
    poor = funded(SETUP, 105)
    accepted(poor, place("bob", "a", Side.SELL, 1, 100), place("bob", "b", Side.SELL, 1, 106))
    assert lots(accepted(poor, place("alice", "x", Side.BUY, 2, None))) == [(100, 1)]
