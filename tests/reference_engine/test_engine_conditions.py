"""What an order's conditions promise: refusals in their order, links, reduce-only, cancelling together."""

from copy import deepcopy

import pytest
from msgspec.structs import replace
from spot_venues import accepted, cancelled, place, refused

from holdfast_engine.state import VenueState, state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AdvanceTime,
    AmendOrder,
    Amount,
    Bucket,
    CancelAll,
    CancelOrder,
    CancelReason,
    ClientDisconnected,
    Collateral,
    Conditions,
    CreditDeposit,
    DisconnectClient,
    Events,
    HaltProduct,
    Margin,
    Market,
    MarkRule,
    OrderRested,
    Perpetual,
    Phase,
    PlaceOrder,
    PriceTicks,
    Product,
    Reason,
    Rejected,
    ReportPrice,
    ResumeStage,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Stage,
    Tier,
    TimeInForce,
    TradeExecuted,
    TransferMargin,
    Trigger,
    TriggerWhen,
)
from holdfast_model.vocabulary.wire import decode, encode

SPOT_MARKET = Market(
    market="M",
    base="BTC",
    quote="USD",
    lot_amount=Amount(1),
    tick_amount=Amount(1),
    band_ppm=500_000,
    reference_ticks=PriceTicks(100),
)
PERPETUAL = Market(
    market="P",
    base="BTC",
    quote="USD",
    lot_amount=Amount(1),
    tick_amount=Amount(1),
    product="linear",
    mark=MarkRule(sources=("s",), sources_min=1, age_max_ms=1_000_000, band_ppm=1_000_000),
    perpetual=Perpetual(tiers=(Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),)),
)
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(SPOT_MARKET, replace(SPOT_MARKET, market="N", band_ppm=0), PERPETUAL),
    clients=("alice", "bob", "carol"),
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
)
BELOW = Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(90))


def stop(client: str, order: str, size: int = 1, *, trigger: Trigger = BELOW, other: str | None = None) -> PlaceOrder:
    return place(
        client, order, Side.SELL, size, None, conditions=Conditions(trigger=trigger, one_cancels_other=other)
    )


def traded(events: Events) -> list[tuple[str, str, int]]:
    """Maker, taker and lots of each trade."""
    return [
        (event.maker_order, event.taker_order, event.size_lots)
        for event in events
        if isinstance(event, TradeExecuted)
    ]


@pytest.fixture
def venue() -> Venue:
    """Everybody has 10,000 of each asset, and as much in margin; the mark of the perpetual is 100."""
    venue = Venue(SETUP)
    for client in SETUP.clients:
        for asset in SETUP.assets:
            accepted(
                venue,
                CreditDeposit(client=client, asset=asset, amount=Amount(20_000), transaction=f"{client}{asset}"),
            )
        accepted(
            venue,
            TransferMargin(
                client=client,
                request="in",
                asset="USD",
                amount=Amount(10_000),
                source="spot",
                target="linear",
            ),
        )
    accepted(
        venue,
        AdvanceTime(time_ms=10),
        ReportPrice(source="s", market="P", price_ticks=PriceTicks(100), time_ms=10),
    )
    return venue


# Refusals ----------------------------------------------------------------------------------------------------------

NONSENSE = Conditions(
    trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(0)),
    expires_ms=10,
    one_cancels_other="nope",
)
PASSED = replace(NONSENSE, trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(100)))

STOP_REFUSALS: list[tuple[Reason, dict[str, object]]] = [
    (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
    (Reason.UNKNOWN_MARKET, {"market": "M"}),
    (Reason.PRODUCT_HALTED, {}),
    (Reason.SIZE_NOT_POSITIVE, {"size_lots": 1_000_000}),
    (Reason.PRICE_NOT_POSITIVE, {"price_ticks": None}),
    (Reason.MARKET_ORDER_CANNOT_REST, {"price_ticks": 151}),
    (Reason.CONDITIONS_CONTRADICT, {"time_in_force": TimeInForce.GTT}),
    (Reason.CONDITIONS_CONTRADICT, {"conditions": PASSED}),
    (Reason.RESERVED_ID, {"order": "bid"}),
    (Reason.DUPLICATE_ORDER, {"order": "new"}),
    (Reason.EXPIRY_PASSED, {"conditions": replace(PASSED, expires_ms=11)}),
    (
        Reason.OTHER_ORDER_NOT_LINKABLE,
        {"conditions": replace(PASSED, expires_ms=11, one_cancels_other=None)},
    ),
    (Reason.PRICE_OUTSIDE_BAND, {"price_ticks": 150}),
    (
        Reason.TRIGGER_PASSED,
        {
            "conditions": Conditions(
                expires_ms=11, trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(101))
            )
        },
    ),
    (Reason.INSUFFICIENT_FUNDS, {"size_lots": 1}),
]
ORDER_REFUSALS: list[tuple[Reason, dict[str, object]]] = [
    (Reason.CONDITIONS_CONTRADICT, {"time_in_force": TimeInForce.FOK, "conditions": Conditions(reduce_only=True)}),
    (Reason.RESERVED_ID, {"order": "new"}),
    (Reason.POST_ONLY_WOULD_TAKE, {"post_only": False}),
    (Reason.FOK_UNFILLABLE, {"time_in_force": TimeInForce.GTC}),
    (Reason.REDUCE_ONLY_WOULD_INCREASE, {"conditions": Conditions()}),
    (Reason.INSUFFICIENT_MARGIN, {"size_lots": 1}),
]


def rows(command: PlaceOrder, repairs: list[tuple[Reason, dict[str, object]]]) -> list[tuple[PlaceOrder, Reason]]:
    """Each refusal with the command that breaks its rule and every rule after it."""
    found = []
    for reason, repair in repairs:
        found.append((command, reason))
        command = replace(command, **repair)
    return found


STOP = PlaceOrder(
    client="nobody",
    order="liquidation-1",
    market="NOPE",
    side=Side.BUY,
    size_lots=SizeLots(0),
    price_ticks=PriceTicks(0),
    post_only=True,
    conditions=NONSENSE,
)
PERPETUAL_ORDER = place(
    "alice",
    "liquidation-1",
    Side.BUY,
    10_000,
    100,
    market="P",
    post_only=True,
    time_in_force=TimeInForce.GTT,
    conditions=Conditions(reduce_only=True),
)


@pytest.mark.parametrize(("command", "reason"), rows(STOP, STOP_REFUSALS))
def test_the_first_rule_that_a_stop_order_breaks_is_the_reason(
    venue: Venue, command: PlaceOrder, reason: Reason
) -> None:
    accepted(venue, place("bob", "ask", Side.SELL, 1, 100), place("alice", "bid", Side.BUY, 1, 100))
    if reason in {Reason.UNKNOWN_CLIENT, Reason.UNKNOWN_MARKET, Reason.PRODUCT_HALTED}:
        accepted(venue, HaltProduct(product="spot", cause="late"))
    before = deepcopy(venue.state())
    assert venue.apply(command) == (Rejected(reason=reason),)
    assert venue.state() == replace(before, seq=before.seq + 1)


def test_a_stop_order_that_breaks_none_of_the_rules_waits(venue: Venue) -> None:
    good = replace(STOP, **{name: value for _, repair in STOP_REFUSALS for name, value in repair.items()})
    accepted(venue, place("bob", "ask", Side.SELL, 1, 100), place("alice", "bid", Side.BUY, 1, 100), good)
    assert [order.order for order in venue.waiting.values()] == ["new"]


@pytest.mark.parametrize(("command", "reason"), rows(PERPETUAL_ORDER, ORDER_REFUSALS))
def test_the_first_rule_that_a_perpetual_s_order_breaks_is_the_reason(
    venue: Venue, command: PlaceOrder, reason: Reason
) -> None:
    accepted(venue, place("bob", "ask", Side.SELL, 1, 100, market="P"))
    assert venue.apply(command) == (Rejected(reason=reason),)


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(reduce_only=True),
        Conditions(expires_ms=99),
        Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(-1))),
    ],
)
def test_conditions_that_contradict_a_spot_order_are_refused(venue: Venue, conditions: Conditions) -> None:
    command = place("alice", "x", Side.BUY, 1, 100, conditions=conditions)
    assert refused(venue.apply(command)) is Reason.CONDITIONS_CONTRADICT
    accepted(venue, replace(command, conditions=Conditions()))


def test_a_product_s_stage_comes_before_the_order_itself_but_after_what_a_cancel_names(venue: Venue) -> None:
    accepted(
        venue,
        place("alice", "bid", Side.BUY, 1, 99),
        HaltProduct(product="spot", cause="late"),
    )
    amend = AmendOrder(client="alice", order="bid", size_lots=SizeLots(1), price_ticks=PriceTicks(1_000))
    for command, reason in (
        (CancelOrder(client="alice", order="nope"), Reason.UNKNOWN_ORDER),
        (CancelOrder(client="alice", order="bid"), Reason.PRODUCT_HALTED),
        (CancelAll(client="alice", market="M"), Reason.PRODUCT_HALTED),
        (amend, Reason.PRODUCT_HALTED),
    ):
        assert refused(venue.apply(command)) is reason
    accepted(venue, ResumeStage(product="spot", stage=Stage.CANCEL_ONLY))
    assert refused(venue.apply(amend)) is Reason.PRODUCT_HALTED
    accepted(
        venue,
        ResumeStage(product="spot", stage=Stage.POST_ONLY),
        place("bob", "ask", Side.SELL, 1, 101, post_only=True),
    )
    assert refused(venue.apply(place("alice", "x", Side.BUY, 1, 99))) is Reason.PRODUCT_HALTED
    crossing = replace(amend, price_ticks=PriceTicks(101))
    assert refused(venue.apply(crossing)) is Reason.POST_ONLY_WOULD_TAKE
    accepted(venue, ResumeStage(product="spot", stage=Stage.OPEN))
    assert traded(accepted(venue, crossing)) == [("ask", "bid", 1)]


# One cancels other --------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(venue: Venue) -> Venue:
    """Alice sells 4 at 110, or at the market once the price is down to 90; somebody bids at 90."""
    accepted(
        venue,
        place("bob", "bid90", Side.BUY, 1, 90),
        place("bob", "bid80", Side.BUY, 9, 80),
        place("alice", "profit", Side.SELL, 4, 110),
        stop("alice", "loss", 4, other="profit"),
    )
    return venue


def test_a_part_of_one_that_trades_cancels_the_other_at_once_and_keeps_what_is_left(pair: Venue) -> None:
    events = accepted(pair, place("carol", "x", Side.BUY, 1, 110))
    assert cancelled(events) == [("loss", CancelReason.ONE_CANCELS_OTHER)]
    assert pair.orders["alice", "profit"].left_lots == 3
    assert refused(pair.apply(CancelOrder(client="alice", order="loss"))) is Reason.ORDER_NOT_OPEN
    assert cancelled(accepted(pair, CancelOrder(client="alice", order="profit"))) == [
        ("profit", CancelReason.REQUESTED)
    ]


def test_the_one_that_is_triggered_has_the_other_cancelled_before_it_is_matched(pair: Venue) -> None:
    events = accepted(pair, place("carol", "x", Side.SELL, 1, 90))
    names = [type(event).__name__ for event in events if type(event).__name__ != "EntryPosted"]
    assert names[names.index("StopTriggered") :] == [
        "StopTriggered",
        "OrderCancelled",
        "TradeExecuted",
        "OrderFilled",
    ]
    assert cancelled(events) == [("profit", CancelReason.ONE_CANCELS_OTHER)]
    assert traded(events) == [("bid90", "x", 1), ("bid80", "loss", 4)]


@pytest.mark.parametrize(("first", "second"), [("profit", "loss"), ("loss", "profit")])
def test_the_one_that_is_cancelled_has_the_other_cancelled(pair: Venue, first: str, second: str) -> None:
    assert cancelled(accepted(pair, CancelOrder(client="alice", order=first))) == [
        (first, CancelReason.REQUESTED),
        (second, CancelReason.ONE_CANCELS_OTHER),
    ]
    assert pair.ledger.amount("alice", Bucket.HELD, "BTC") == 0


def test_a_limit_order_may_be_linked_with_a_waiting_stop(venue: Venue) -> None:
    accepted(venue, place("bob", "ask", Side.SELL, 1, 100), stop("alice", "loss"))
    profit = place("alice", "p", Side.BUY, 3, 100, conditions=Conditions(one_cancels_other="loss"))
    assert cancelled(accepted(venue, profit)) == [("loss", CancelReason.ONE_CANCELS_OTHER)]
    assert venue.orders["alice", "p"].left_lots == 2


def test_only_an_open_order_of_the_same_market_and_the_other_kind_can_be_linked(pair: Venue) -> None:
    accepted(
        pair,
        place("alice", "gone", Side.BUY, 1, 70),
        CancelOrder(client="alice", order="gone"),
        place("alice", "free", Side.BUY, 1, 70),
        stop("alice", "free-stop"),
        place("alice", "elsewhere", Side.BUY, 1, 70, market="N"),
    )
    for other in ("nope", "gone", "profit", "free-stop", "elsewhere", "bid80", "x"):
        assert refused(pair.apply(stop("alice", "x", other=other))) is Reason.OTHER_ORDER_NOT_LINKABLE, other
    limit = place("alice", "y", Side.BUY, 1, 70, conditions=Conditions(one_cancels_other="free"))
    assert refused(pair.apply(limit)) is Reason.OTHER_ORDER_NOT_LINKABLE
    accepted(pair, stop("alice", "x", other="free"))


def test_links_survive_a_snapshot(pair: Venue) -> None:
    restored = Venue(SETUP)
    restored.load(decode(encode(pair.state()), VenueState))
    assert state_sha256(restored.state()) == state_sha256(pair.state())
    assert restored.apply(CancelOrder(client="alice", order="loss")) == pair.apply(
        CancelOrder(client="alice", order="loss")
    )


# Reduce-only --------------------------------------------------------------------------------------------------------


@pytest.fixture
def long(venue: Venue) -> Venue:
    """Alice is long 5 against bob."""
    accepted(
        venue,
        place("bob", "s", Side.SELL, 5, 100, market="P"),
        place("alice", "b", Side.BUY, 5, 100, market="P"),
    )
    return venue


def reducing(order: str, size: int, price: int | None, **more: object) -> PlaceOrder:
    return place("alice", order, Side.SELL, size, price, market="P", conditions=Conditions(reduce_only=True), **more)


def lots(venue: Venue, client: str = "alice") -> int:
    return {item.client: int(item.position_lots) for item in venue.state().positions}.get(client, 0)


def test_a_reduce_only_taker_trades_its_position_away_and_no_further(long: Venue) -> None:
    accepted(long, place("carol", "bid", Side.BUY, 9, 99, market="P"))
    events = accepted(long, reducing("r", 8, 99))
    assert traded(events) == [("bid", "r", 5)]
    assert cancelled(events) == [("r", CancelReason.REDUCE_ONLY)]
    assert lots(long) == 0


def test_a_reduce_only_maker_is_limited_to_its_position_and_the_next_order_trades(long: Venue) -> None:
    accepted(long, reducing("r", 8, 101), place("carol", "ask", Side.SELL, 9, 101, market="P"))
    events = accepted(long, place("bob", "take", Side.BUY, 7, 101, market="P"))
    assert traded(events) == [("r", "take", 5), ("ask", "take", 2)]
    assert cancelled(events) == [("r", CancelReason.REDUCE_ONLY)]
    assert lots(long) == 0


def test_what_an_owner_s_other_orders_trade_earlier_in_the_same_plan_counts(long: Venue) -> None:
    accepted(
        long,
        place("alice", "plain", Side.SELL, 3, 101, market="P"),
        reducing("r1", 4, 102),
        reducing("r2", 4, 103),
        place("carol", "ask", Side.SELL, 5, 104, market="P"),
    )
    events = accepted(long, place("bob", "take", Side.BUY, 10, 104, market="P", time_in_force=TimeInForce.FOK))
    assert traded(events) == [("plain", "take", 3), ("r1", "take", 2), ("ask", "take", 5)]
    assert cancelled(events) == [("r1", CancelReason.REDUCE_ONLY), ("r2", CancelReason.REDUCE_ONLY)]
    assert lots(long) == 0


def test_fill_or_kill_counts_only_what_reduce_only_orders_may_trade(long: Venue) -> None:
    accepted(long, reducing("r", 8, 101))
    fok = place("bob", "take", Side.BUY, 6, 101, market="P", time_in_force=TimeInForce.FOK)
    assert refused(long.apply(fok)) is Reason.FOK_UNFILLABLE
    assert traded(accepted(long, replace(fok, size_lots=SizeLots(5)))) == [("r", "take", 5)]


def test_a_reduce_only_order_that_met_nothing_rests_and_is_cancelled_when_met_without_a_position(long: Venue) -> None:
    accepted(
        long,
        reducing("r", 5, 110),
        place("carol", "bid", Side.BUY, 5, 99, market="P"),
        place("alice", "out", Side.SELL, 5, 99, market="P"),
    )
    assert refused(long.apply(reducing("r9", 1, 110))) is Reason.REDUCE_ONLY_WOULD_INCREASE
    events = accepted(long, place("bob", "take", Side.BUY, 1, 110, market="P"))
    assert traded(events) == []
    assert cancelled(events) == [("r", CancelReason.REDUCE_ONLY)]
    assert [event.order for event in events if isinstance(event, OrderRested)] == ["take"]


def test_an_amended_reduce_only_order_that_crosses_is_limited_too(long: Venue) -> None:
    accepted(long, reducing("r", 8, 110), place("carol", "bid", Side.BUY, 9, 99, market="P"))
    amend = AmendOrder(client="alice", order="r", size_lots=SizeLots(9), price_ticks=PriceTicks(99))
    events = accepted(long, amend)
    assert traded(events) == [("bid", "r", 5)]
    assert cancelled(events) == [("r", CancelReason.REDUCE_ONLY)]


# Cancelling together ------------------------------------------------------------------------------------------------


def test_cancel_all_cancels_in_the_order_of_acceptance_stops_included_and_links_once(venue: Venue) -> None:
    accepted(
        venue,
        place("alice", "n", Side.BUY, 1, 60, market="N"),
        stop("alice", "s"),
        place("alice", "a", Side.SELL, 1, 140),
        place("bob", "b", Side.BUY, 1, 60),
        stop("alice", "t", other="a"),
        place("alice", "z", Side.BUY, 1, 90),
    )
    other = Venue(SETUP)
    other.load(deepcopy(venue.state()))
    assert cancelled(accepted(other, CancelAll(client="alice", market="M"))) == [
        ("s", CancelReason.REQUESTED),
        ("a", CancelReason.REQUESTED),
        ("t", CancelReason.ONE_CANCELS_OTHER),
        ("z", CancelReason.REQUESTED),
    ]
    assert [order for order, _ in cancelled(accepted(venue, CancelAll(client="alice")))] == ["n", "s", "a", "t", "z"]
    assert venue.apply(CancelAll(client="alice")) == (Rejected(reason=Reason.NOTHING_TO_CANCEL),)
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 0
    assert venue.orders["bob", "b"].left_lots == 1


def test_cancel_all_names_what_is_unknown_and_passes_over_markets_that_are_halted(venue: Venue) -> None:
    assert refused(venue.apply(CancelAll(client="nobody", market="NOPE"))) is Reason.UNKNOWN_CLIENT
    assert refused(venue.apply(CancelAll(client="alice", market="NOPE"))) is Reason.UNKNOWN_MARKET
    accepted(
        venue,
        place("alice", "m", Side.BUY, 1, 60),
        place("alice", "p", Side.BUY, 1, 60, market="P"),
        HaltProduct(product="linear", cause="late"),
    )
    assert cancelled(accepted(venue, CancelAll(client="alice"))) == [("m", CancelReason.REQUESTED)]


def test_a_disconnect_cancels_what_asked_for_it_at_every_stage_and_while_halted(venue: Venue) -> None:
    leaving = Conditions(cancel_on_disconnect=True)
    accepted(
        venue,
        place("alice", "stays", Side.BUY, 1, 60),
        place("alice", "m", Side.BUY, 1, 60, conditions=leaving),
        place("alice", "s", Side.SELL, 1, None, conditions=replace(leaving, trigger=BELOW)),
        place("alice", "p", Side.BUY, 1, 60, market="P", conditions=leaving),
        place("bob", "b", Side.BUY, 1, 60, conditions=leaving),
        HaltProduct(product="linear", cause="late"),
        SetPhase(phase=Phase.HALTED),
    )
    events = accepted(venue, DisconnectClient(client="alice"))
    assert events[0] == ClientDisconnected(client="alice")
    assert cancelled(events) == [(order, CancelReason.DISCONNECTED) for order in ("m", "s", "p")]
    assert refused(venue.apply(DisconnectClient(client="nobody"))) is Reason.UNKNOWN_CLIENT
