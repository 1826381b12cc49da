"""Stop orders: when they are triggered, in which order, and what becomes of them."""

import pytest
from msgspec.structs import replace
from spot_venues import accepted, cancelled, funded, place, refused, restored, traded

from holdfast_engine.state import state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AdvanceTime,
    AmendOrder,
    Amount,
    Bucket,
    CancelOrder,
    CancelReason,
    Command,
    Conditions,
    EntryPosted,
    Events,
    HaltProduct,
    Market,
    MarkRule,
    Phase,
    PlaceOrder,
    PriceTicks,
    Reason,
    ReportPrice,
    ResumeStage,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Stage,
    StopTriggered,
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
    clients=("alice", "bob", "carol"),
)
UP, DOWN = TriggerWhen.AT_OR_ABOVE, TriggerWhen.AT_OR_BELOW


def above(price: int) -> Trigger:
    return Trigger(when=UP, price_ticks=PriceTicks(price))


def below(price: int) -> Trigger:
    return Trigger(when=DOWN, price_ticks=PriceTicks(price))


def stop(order: str, side: Side, size: int, price: int | None, when: Trigger, **more: object) -> PlaceOrder:
    conditions = Conditions(trigger=when)
    return place("alice", order, side, size, price, conditions=conditions, **more)


def trade_at(venue: Venue, price: int, *, market: str = "M", lots: int = 1) -> Events:
    """Bob and carol trade at this price, through a book that must be empty there; the answer to the second order."""
    name = f"{market}{venue.seq}"
    return accepted(
        venue,
        place("bob", name, Side.BUY, lots, price, market=market),
        place("carol", name, Side.SELL, lots, price, market=market),
    )


def triggered(events: Events) -> list[tuple[str, int]]:
    return [(event.order, event.price_ticks) for event in events if isinstance(event, StopTriggered)]


def named(events: Events) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, EntryPosted)]


@pytest.fixture
def venue() -> Venue:
    return funded(SETUP)


def test_a_stop_waits_outside_the_book_and_holds_what_a_limit_order_would(venue: Venue) -> None:
    assert named(accepted(venue, stop("s", Side.BUY, 3, 120, above(110)))) == ["OrderAccepted", "StopArmed"]
    accepted(venue, stop("m", Side.SELL, 3, None, below(90)))
    assert list(venue.books["M"].orders(Side.BUY)) == []
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 360
    assert venue.ledger.amount("alice", Bucket.HELD, "BTC") == 0
    assert [order.order for order in venue.waiting.values()] == ["s", "m"]
    accepted(venue, CancelOrder(client="alice", order="s"))
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 0


@pytest.mark.parametrize(
    ("when", "trigger", "price", "hit"),
    [
        (UP, 100, 99, False),
        (UP, 100, 100, True),
        (UP, 100, 101, True),
        (DOWN, 100, 101, False),
        (DOWN, 100, 100, True),
        (DOWN, 100, 99, True),
    ],
)
def test_a_stop_is_triggered_at_its_price_or_beyond(
    venue: Venue, when: TriggerWhen, trigger: int, price: int, *, hit: bool
) -> None:
    accepted(venue, stop("s", Side.BUY, 1, 50, Trigger(when=when, price_ticks=PriceTicks(trigger))))
    assert triggered(trade_at(venue, price)) == ([("s", price)] if hit else [])
    assert len(venue.waiting) == (not hit)


def test_a_trigger_that_is_passed_already_is_refused_but_not_by_the_setup_s_reference(venue: Venue) -> None:
    accepted(venue, stop("early", Side.BUY, 1, 50, above(100)))
    trade_at(venue, 99)
    assert refused(venue.apply(stop("s", Side.BUY, 1, 50, above(99)))) is Reason.TRIGGER_PASSED
    accepted(venue, stop("s", Side.BUY, 1, 50, above(100)))


def test_another_market_s_trades_trigger_nothing(venue: Venue) -> None:
    accepted(venue, stop("s", Side.BUY, 1, 50, above(100)))
    assert triggered(trade_at(venue, 200, market="N")) == []


def test_of_all_passed_stops_the_first_accepted_goes_first_whatever_its_price(venue: Venue) -> None:
    accepted(
        venue,
        stop("a", Side.BUY, 1, 50, above(110)),
        stop("b", Side.BUY, 1, 50, above(101)),
        stop("c", Side.BUY, 1, 50, above(105)),
        stop("far", Side.BUY, 1, 50, above(111)),
    )
    assert triggered(trade_at(venue, 110)) == [("a", 110), ("b", 110), ("c", 110)]


def test_a_triggered_stop_s_trade_triggers_the_next_one(venue: Venue) -> None:
    accepted(
        venue,
        place("bob", "b90", Side.BUY, 2, 90),
        place("bob", "b80", Side.BUY, 2, 80),
        place("bob", "b70", Side.BUY, 5, 70),
        stop("late", Side.SELL, 1, None, below(80)),
        stop("first", Side.SELL, 2, None, below(90)),
        stop("second", Side.SELL, 2, None, below(85)),
    )
    events = accepted(venue, place("carol", "x", Side.SELL, 1, 90))
    assert triggered(events) == [("first", 90), ("late", 80), ("second", 80)]
    assert traded(events) == [
        ("b90", "x", 1, 90),
        ("b90", "first", 1, 90),
        ("b80", "first", 1, 80),
        ("b80", "late", 1, 80),
        ("b70", "second", 2, 70),
    ]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (stop("s", Side.BUY, 1, 120, above(100), post_only=True), CancelReason.POST_ONLY),
        (stop("s", Side.BUY, 9, 119, above(100), time_in_force=TimeInForce.FOK), CancelReason.IOC_REMAINDER),
        (stop("s", Side.BUY, 9, 90, above(100), time_in_force=TimeInForce.IOC), CancelReason.IOC_REMAINDER),
        (stop("s", Side.BUY, 90, None, above(100)), CancelReason.UNFUNDED),
    ],
)
def test_a_triggered_stop_whose_promise_cannot_be_kept_is_cancelled(
    venue: Venue, order: PlaceOrder, reason: CancelReason
) -> None:
    accepted(venue, place("bob", "ask", Side.SELL, 90, 120), order)
    events = trade_at(venue, 100)
    assert cancelled(events) == [("s", reason)]
    assert named(events)[-2:] == ["StopTriggered", "OrderCancelled"]
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 0


def test_a_market_stop_that_sells_what_is_gone_is_unfunded(venue: Venue) -> None:
    accepted(venue, stop("s", Side.SELL, 10_000, None, below(90)), place("alice", "x", Side.SELL, 1, 500))
    assert cancelled(trade_at(venue, 90)) == [("s", CancelReason.UNFUNDED)]


def test_a_stop_limit_order_rests_when_it_is_triggered_and_meets_nothing(venue: Venue) -> None:
    accepted(venue, stop("s", Side.BUY, 2, 95, above(100)))
    trade_at(venue, 100)
    assert [order.order for order in venue.books["M"].orders(Side.BUY)] == ["s"]
    accepted(venue, AmendOrder(client="alice", order="s", size_lots=SizeLots(1), price_ticks=PriceTicks(95)))


def test_a_waiting_stop_is_not_amended(venue: Venue) -> None:
    accepted(venue, stop("s", Side.BUY, 2, 95, above(100)))
    amend = AmendOrder(client="alice", order="s", size_lots=SizeLots(1), price_ticks=PriceTicks(95))
    assert refused(venue.apply(amend)) is Reason.ORDER_NOT_OPEN


# Halts --------------------------------------------------------------------------------------------------------------


def mark(price: int, *, at: int) -> tuple[Command, ...]:
    return (
        AdvanceTime(time_ms=at),
        ReportPrice(source="s", market="M", price_ticks=PriceTicks(price), time_ms=at),
    )


def by_mark(order: str, trigger: int) -> PlaceOrder:
    conditions = Conditions(trigger=Trigger(by=TriggerBy.MARK, when=UP, price_ticks=PriceTicks(trigger)))
    return place("alice", order, Side.BUY, 1, 50, conditions=conditions)


def test_a_mark_triggers_and_an_unavailable_one_does_not(venue: Venue) -> None:
    accepted(venue, by_mark("s", 100), by_mark("t", 120))
    trade_at(venue, 200)
    assert triggered(accepted(venue, *mark(100, at=10))) == [("s", 100)]
    assert refused(venue.apply(by_mark("u", 100))) is Reason.TRIGGER_PASSED
    accepted(venue, AdvanceTime(time_ms=1_000), by_mark("u", 100))
    assert triggered(accepted(venue, *mark(120, at=1_001))) == [("t", 120), ("u", 120)]


def halt_product(venue: Venue) -> None:
    accepted(venue, HaltProduct(product="spot", cause="late"))


def resume_product(venue: Venue) -> Events:
    return accepted(venue, *(ResumeStage(product="spot", stage=stage) for stage in list(Stage)[1:]))


def halt_venue(venue: Venue) -> None:
    accepted(venue, SetPhase(phase=Phase.HALTED))


def resume_venue(venue: Venue) -> Events:
    return accepted(venue, *(SetPhase(phase=phase) for phase in (Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN)))


@pytest.mark.parametrize(("halt", "resume"), [(halt_product, resume_product), (halt_venue, resume_venue)])
@pytest.mark.parametrize(("price", "hit"), [(100, True), (99, False)])
def test_a_price_passed_during_a_halt_triggers_when_trading_resumes_if_it_is_passed_still(
    venue: Venue, halt: object, resume: object, price: int, *, hit: bool
) -> None:
    assert callable(halt)
    assert callable(resume)
    accepted(venue, by_mark("s", 100))
    halt(venue)
    assert triggered(accepted(venue, *mark(150, at=10))) == []
    again = restored(venue)
    for one in (venue, again):
        assert triggered(accepted(one, *mark(price, at=20))) == []
        assert triggered(resume(one)) == ([("s", price)] if hit else [])
    assert state_sha256(again.state()) == state_sha256(venue.state())


# Restoring ----------------------------------------------------------------------------------------------------------


def test_waiting_stops_are_the_same_after_a_snapshot_and_after_a_replay(venue: Venue) -> None:
    replica = restored(venue)
    for command in (
        stop("a", Side.BUY, 1, 50, above(110)),
        stop("b", Side.BUY, 1, 50, above(101)),
        stop("gone", Side.BUY, 1, 50, above(101)),
        CancelOrder(client="alice", order="gone"),
        place("bob", "x", Side.BUY, 1, 100),
        place("carol", "x", Side.SELL, 1, 100),
    ):
        replica.replay(accepted(venue, command))
        assert state_sha256(replica.state()) == state_sha256(venue.state())
    again = restored(venue)
    assert trade_at(venue, 110) == trade_at(again, 110) == trade_at(replica, 110)
    assert not venue.waiting
