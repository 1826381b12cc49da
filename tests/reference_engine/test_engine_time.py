"""The venue's time: orders that expire, also across maintenance and a restart."""

import pytest
from msgspec.structs import replace
from spot_venues import accepted, cancelled, funded, place, refused, restored

from holdfast_engine.state import state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AdvanceTime,
    Amount,
    CancelOrder,
    CancelReason,
    Conditions,
    EntryPosted,
    HaltProduct,
    Market,
    MarkRule,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceTicks,
    Reason,
    ReportPrice,
    SetPhase,
    Setup,
    Side,
    TimeAdvanced,
    TimeInForce,
    Trigger,
    TriggerBy,
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
        replace(MARKET, mark=MarkRule(sources=("s",), sources_min=1, age_max_ms=100, band_ppm=0)),
        replace(MARKET, market="N"),
    ),
    clients=("alice", "bob"),
)


def until(client: str, order: str, expires_ms: int, **more: object) -> PlaceOrder:
    plain = place(client, order, Side.BUY, 1, 90, time_in_force=TimeInForce.GTT)
    return replace(plain, **{"conditions": Conditions(expires_ms=expires_ms), **more})


@pytest.fixture
def venue() -> Venue:
    return funded(SETUP)


def test_time_only_goes_forward(venue: Venue) -> None:
    assert accepted(venue, AdvanceTime(time_ms=10)) == (TimeAdvanced(time_ms=10),)
    for time_ms in (10, 9):
        assert refused(venue.apply(AdvanceTime(time_ms=time_ms))) is Reason.TIME_NOT_LATER
    assert venue.state().time_ms == 10
    assert refused(Venue(SETUP).apply(AdvanceTime(time_ms=0))) is Reason.TIME_NOT_LATER


def test_orders_expire_when_their_time_is_reached_in_the_order_of_acceptance(venue: Venue) -> None:
    stop = Conditions(expires_ms=10, trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(100)))
    accepted(
        venue,
        until("alice", "later", 11),
        until("alice", "second", 10),
        until("bob", "stop", 10, conditions=stop),
        until("alice", "first", 5, market="N"),
        until("alice", "gone", 5),
        CancelOrder(client="alice", order="gone"),
    )
    assert cancelled(accepted(venue, AdvanceTime(time_ms=4))) == []
    events = accepted(venue, AdvanceTime(time_ms=10))
    assert cancelled(events) == [(order, CancelReason.EXPIRED) for order in ("second", "stop", "first")]
    assert cancelled(accepted(venue, AdvanceTime(time_ms=11))) == [("later", CancelReason.EXPIRED)]
    assert all(balance.bucket == "free" for balance in venue.state().balances)


def test_a_time_that_is_reached_already_is_refused(venue: Venue) -> None:
    accepted(venue, AdvanceTime(time_ms=10))
    assert refused(venue.apply(until("alice", "x", 10))) is Reason.EXPIRY_PASSED
    accepted(venue, until("alice", "x", 11))


def test_a_filled_order_does_not_expire(venue: Venue) -> None:
    accepted(venue, until("alice", "x", 10), place("bob", "y", Side.SELL, 1, 90))
    assert accepted(venue, AdvanceTime(time_ms=10)) == (TimeAdvanced(time_ms=10),)


def test_an_order_that_has_ended_is_none_whose_time_is_up(venue: Venue) -> None:
    accepted(venue, until("alice", "filled", 10), until("alice", "cancelled", 10), until("alice", "open", 10))
    accepted(venue, place("bob", "b", Side.SELL, 1, 90), CancelOrder(client="alice", order="cancelled"))
    events = accepted(venue, AdvanceTime(time_ms=9), AdvanceTime(time_ms=10))
    assert [name for name, _ in cancelled(events)] == ["open"]
    assert venue.expired() == []


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED])
def test_orders_expire_in_every_phase_but_maintenance_and_at_every_stage(venue: Venue, phase: Phase) -> None:
    accepted(venue, until("alice", "x", 10), HaltProduct(product="spot", cause="late"))
    if phase is not Phase.OPEN:
        accepted(venue, SetPhase(phase=phase))
    assert cancelled(accepted(venue, AdvanceTime(time_ms=10))) == [("x", CancelReason.EXPIRED)]


@pytest.mark.parametrize("snapshot", [False, True])
def test_orders_whose_time_is_up_in_maintenance_end_with_it_and_not_before(venue: Venue, *, snapshot: bool) -> None:
    accepted(
        venue,
        until("alice", "x", 10),
        until("alice", "y", 99),
        SetPhase(phase=Phase.CANCEL_ONLY),
        SetPhase(phase=Phase.MAINTENANCE),
    )
    assert accepted(venue, AdvanceTime(time_ms=10)) == (TimeAdvanced(time_ms=10),)
    if snapshot:
        venue = restored(venue)
    replica = restored(venue)
    events = accepted(venue, SetPhase(phase=Phase.POST_ONLY))
    assert events[0] == PhaseChanged(before=Phase.MAINTENANCE, after=Phase.POST_ONLY)
    assert cancelled(events) == [("x", CancelReason.EXPIRED)]
    replica.replay(events)
    assert state_sha256(replica.state()) == state_sha256(venue.state())
    accepted(venue, SetPhase(phase=Phase.OPEN))
    assert cancelled(accepted(venue, AdvanceTime(time_ms=99))) == [("y", CancelReason.EXPIRED)]


def test_orders_expire_first_then_marks_are_made_and_then_stops_are_triggered(venue: Venue) -> None:
    below = Trigger(by=TriggerBy.MARK, when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(95))
    accepted(
        venue,
        AdvanceTime(time_ms=10),
        ReportPrice(source="s", market="M", price_ticks=PriceTicks(100), time_ms=10),
        until("alice", "x", 200),
        place("bob", "ask", Side.SELL, 1, 95),
        until("alice", "dying", 200, conditions=Conditions(expires_ms=200, trigger=below)),
        place("alice", "stop", Side.BUY, 1, 95, conditions=Conditions(trigger=below)),
    )
    events = accepted(venue, AdvanceTime(time_ms=200))
    assert [type(event).__name__ for event in events if not isinstance(event, EntryPosted)] == [
        "TimeAdvanced",
        "OrderCancelled",
        "OrderCancelled",
        "MarkChanged",
    ]
    assert cancelled(events) == [("x", CancelReason.EXPIRED), ("dying", CancelReason.EXPIRED)]
    report = ReportPrice(source="s", market="M", price_ticks=PriceTicks(95), time_ms=200)
    assert [type(event).__name__ for event in accepted(venue, report)][:3] == [
        "PriceReported",
        "MarkChanged",
        "StopTriggered",
    ]
