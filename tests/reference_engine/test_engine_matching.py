"""Who trades with whom, at which price, and what each kind of order does with its rest."""

import pytest
from msgspec.structs import replace

from holdfast_engine.order import OrderStatus
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    Bucket,
    CancelOrder,
    CancelReason,
    Command,
    CreditDeposit,
    Event,
    Market,
    OrderAmended,
    OrderCancelled,
    OrderReduced,
    OrderRested,
    Phase,
    PlaceOrder,
    PriceTicks,
    Reason,
    Rejected,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(10), tick_amount=Amount(2)),),
    clients=("alice", "bob", "carol"),
)
Row = tuple[str, int, int]


@pytest.fixture
def venue() -> Venue:
    """Everybody has 10,000 of each asset, and nothing rests."""
    venue = Venue(SETUP)
    for client in SETUP.clients:
        for asset in SETUP.assets:
            deposit = CreditDeposit(
                client=client, asset=asset, amount=Amount(10_000), transaction=f"{client}-{asset}"
            )
            venue.apply(deposit)
    return venue


def limit(name: str, side: Side, size: int, price: int | None) -> PlaceOrder:
    """An order named `client/id`."""
    client, order = name.split("/")
    return PlaceOrder(
        client=client,
        order=order,
        market="M",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=None if price is None else PriceTicks(price),
    )


def sell(name: str, size: int, price: int | None) -> PlaceOrder:
    return limit(name, Side.SELL, size, price)


def buy(name: str, size: int, price: int | None) -> PlaceOrder:
    return limit(name, Side.BUY, size, price)


def amend(name: str, size: int, price: int) -> AmendOrder:
    client, order = name.split("/")
    return AmendOrder(client=client, order=order, size_lots=SizeLots(size), price_ticks=PriceTicks(price))


def run(venue: Venue, *commands: Command) -> tuple[Event, ...]:
    """The events of the last command."""
    events: tuple[Event, ...] = ()
    for command in commands:
        events = venue.apply(command)
    return events


def trades(events: tuple[Event, ...]) -> list[Row]:
    """Maker, price and size of each trade."""
    return [
        (f"{event.maker_client}/{event.maker_order}", event.price_ticks, event.size_lots)
        for event in events
        if isinstance(event, TradeExecuted)
    ]


def book(venue: Venue, side: Side) -> list[Row]:
    """Name, price and rest of each resting order, best first."""
    return [
        (f"{order.client}/{order.order}", order.price_ticks or 0, order.left_lots)
        for order in venue.books["M"].orders(side)
    ]


def status(venue: Venue, name: str) -> OrderStatus:
    client, order = name.split("/")
    return venue.orders[client, order].status


def of(events: tuple[Event, ...], *kinds: type) -> list[Event]:
    return [event for event in events if isinstance(event, kinds)]


def refused(events: tuple[Event, ...]) -> Reason | None:
    return events[0].reason if len(events) == 1 and isinstance(events[0], Rejected) else None


def test_the_best_price_trades_first_and_at_one_price_the_oldest(venue: Venue) -> None:
    run(venue, sell("alice/old", 2, 11), sell("bob/young", 2, 11), sell("bob/best", 1, 10), sell("alice/far", 9, 13))
    events = run(venue, buy("carol/t", 4, 12))
    assert trades(events) == [("bob/best", 10, 1), ("alice/old", 11, 2), ("bob/young", 11, 1)]
    assert book(venue, Side.SELL) == [("bob/young", 11, 1), ("alice/far", 13, 9)]


def test_a_selling_taker_meets_the_highest_bid_first(venue: Venue) -> None:
    run(venue, buy("alice/low", 1, 9), buy("alice/old", 1, 10), buy("bob/young", 1, 10))
    assert trades(run(venue, sell("carol/t", 3, 9))) == [
        ("alice/old", 10, 1),
        ("bob/young", 10, 1),
        ("alice/low", 9, 1),
    ]


def test_a_trade_is_made_at_the_resting_order_s_price_and_the_taker_keeps_the_difference(venue: Venue) -> None:
    run(venue, sell("alice/m", 3, 10), buy("bob/t", 3, 50))
    free, held = (venue.ledger.amount("bob", bucket, "USD") for bucket in (Bucket.FREE, Bucket.HELD))
    assert (free, held) == (10_000 - 3 * 10 * 2, 0)
    assert venue.ledger.amount("bob", Bucket.FREE, "BTC") == 10_000 + 3 * 10


def test_what_is_left_of_a_limit_order_rests_behind_those_before_it(venue: Venue) -> None:
    run(venue, sell("alice/m", 2, 10), buy("bob/first", 1, 10), buy("carol/t", 5, 10))
    assert book(venue, Side.BUY) == [("carol/t", 10, 4)]
    run(venue, buy("bob/later", 1, 10))
    assert [name for name, *_ in book(venue, Side.BUY)] == ["carol/t", "bob/later"]
    assert status(venue, "alice/m") is OrderStatus.FILLED
    assert status(venue, "bob/first") is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("kind", "price", "expected", "reason"),
    [
        ({"time_in_force": TimeInForce.IOC}, 10, [("alice/m", 10, 2)], CancelReason.IOC_REMAINDER),
        ({"time_in_force": TimeInForce.IOC}, 9, [], CancelReason.IOC_REMAINDER),
        ({}, None, [("alice/m", 10, 2), ("alice/far", 30, 1)], CancelReason.MARKET_REMAINDER),
    ],
    ids=["ioc that meets some", "ioc that meets none", "market order through all prices"],
)
def test_what_is_left_of_an_order_that_never_rests_is_cancelled(
    venue: Venue, kind: dict[str, object], price: int | None, expected: list[Row], reason: CancelReason
) -> None:
    run(venue, sell("alice/m", 2, 10), sell("alice/far", 1, 30))
    events = run(venue, replace(buy("bob/t", 5, price), **kind))
    assert trades(events) == expected
    left = 5 - sum(size for *_, size in expected)
    assert of(events, OrderCancelled) == [
        OrderCancelled(client="bob", order="t", left_lots=SizeLots(left), reason=reason)
    ]
    assert book(venue, Side.BUY) == []
    assert venue.ledger.amount("bob", Bucket.HELD, "USD") == 0


def test_a_market_order_is_filled_whole_where_there_is_enough(venue: Venue) -> None:
    run(venue, buy("alice/m", 9, 10))
    events = run(venue, sell("bob/t", 5, None))
    assert trades(events) == [("alice/m", 10, 5)]
    assert status(venue, "bob/t") is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("size", "price", "filled"),
    [(3, 10, False), (3, 11, True), (5, 11, False), (5, 12, True), (6, 12, False), (6, None, False), (5, None, True)],
)
def test_a_fill_or_kill_order_trades_whole_or_not_at_all(
    venue: Venue, size: int, price: int | None, *, filled: bool
) -> None:
    run(venue, sell("alice/a", 2, 10), sell("carol/b", 2, 11), sell("alice/c", 1, 12))
    before = book(venue, Side.SELL)
    events = run(venue, replace(buy("bob/t", size, price), time_in_force=TimeInForce.FOK))
    assert (sum(lots for *_, lots in trades(events)), refused(events)) == (
        (size, None) if filled else (0, Reason.FOK_UNFILLABLE)
    )
    assert (book(venue, Side.SELL) == before) is not filled


@pytest.mark.parametrize("mode", list(SelfTrade))
def test_an_own_order_in_the_way_never_counts_towards_a_fill_or_kill_order(venue: Venue, mode: SelfTrade) -> None:
    run(venue, sell("bob/own", 2, 10), sell("alice/m", 2, 11))
    fok = replace(buy("bob/t", 4, 11), time_in_force=TimeInForce.FOK, self_trade=mode)
    assert refused(run(venue, fok)) is Reason.FOK_UNFILLABLE
    assert book(venue, Side.SELL) == [("bob/own", 10, 2), ("alice/m", 11, 2)]


def test_a_fill_or_kill_order_passes_over_an_own_order_that_it_cancels(venue: Venue) -> None:
    run(venue, sell("bob/own", 2, 10), sell("alice/m", 2, 11))
    fok = replace(buy("bob/t", 2, 11), time_in_force=TimeInForce.FOK, self_trade=SelfTrade.CANCEL_OLDEST)
    assert trades(run(venue, fok)) == [("alice/m", 11, 2)]
    assert status(venue, "bob/own") is OrderStatus.CANCELLED


@pytest.mark.parametrize(("price", "rests"), [(9, True), (10, False), (11, False)])
def test_a_post_only_order_rests_or_is_refused(venue: Venue, price: int, *, rests: bool) -> None:
    run(venue, sell("alice/m", 1, 10))
    events = run(venue, replace(buy("bob/t", 1, price), post_only=True))
    assert refused(events) is (None if rests else Reason.POST_ONLY_WOULD_TAKE)
    assert (book(venue, Side.BUY) != []) is rests
    assert trades(events) == []


def test_a_post_only_order_is_refused_also_where_it_would_meet_its_own_client(venue: Venue) -> None:
    run(venue, sell("bob/own", 1, 10))
    assert refused(run(venue, replace(buy("bob/t", 1, 10), post_only=True))) is Reason.POST_ONLY_WOULD_TAKE


@pytest.mark.parametrize(
    ("mode", "size", "traded", "books"),
    [
        (SelfTrade.CANCEL_NEWEST, 6, ["alice/a"], ([("bob/own", 11, 2), ("carol/c", 12, 9)], [])),
        (SelfTrade.CANCEL_OLDEST, 6, ["alice/a", "carol/c"], ([("carol/c", 12, 4)], [])),
        (SelfTrade.CANCEL_BOTH, 6, ["alice/a"], ([("carol/c", 12, 9)], [])),
        (SelfTrade.DECREMENT, 6, ["alice/a", "carol/c"], ([("carol/c", 12, 6)], [])),
        (SelfTrade.DECREMENT, 2, ["alice/a"], ([("bob/own", 11, 1), ("carol/c", 12, 9)], [])),
        (SelfTrade.DECREMENT, 3, ["alice/a"], ([("carol/c", 12, 9)], [])),
        (SelfTrade.DECREMENT, 14, ["alice/a", "carol/c"], ([], [("bob/t", 12, 2)])),
    ],
)
def test_the_taker_s_mode_decides_what_happens_at_an_own_order(
    venue: Venue, mode: SelfTrade, size: int, traded: list[str], books: tuple[list[Row], list[Row]]
) -> None:
    run(venue, sell("alice/a", 1, 10), sell("bob/own", 2, 11), sell("carol/c", 9, 12))
    venue.orders["bob", "own"].self_trade = SelfTrade.CANCEL_BOTH
    events = run(venue, replace(buy("bob/t", size, 12), self_trade=mode))
    assert [maker for maker, *_ in trades(events)] == traded
    assert (book(venue, Side.SELL), book(venue, Side.BUY)) == books
    cancelled = [event for event in events if isinstance(event, OrderCancelled)]
    assert {event.reason for event in cancelled} <= {CancelReason.SELF_TRADE}


def test_decrement_takes_the_smaller_off_both_and_releases_what_was_held_for_it(venue: Venue) -> None:
    run(venue, sell("bob/own", 5, 10))
    events = run(venue, replace(buy("bob/t", 2, 10), self_trade=SelfTrade.DECREMENT))
    assert of(events, OrderReduced, OrderCancelled) == [
        OrderReduced(client="bob", order="own", size_lots=SizeLots(3), left_lots=SizeLots(3)),
        OrderCancelled(client="bob", order="t", left_lots=SizeLots(2), reason=CancelReason.SELF_TRADE),
    ]
    assert venue.ledger.amount("bob", Bucket.HELD, "BTC") == 30
    assert venue.ledger.amount("bob", Bucket.HELD, "USD") == 0
    assert venue.trades == 0


def test_a_decremented_order_keeps_its_place(venue: Venue) -> None:
    run(venue, sell("bob/own", 5, 10), sell("alice/later", 5, 10))
    run(venue, replace(buy("bob/t", 2, 10), self_trade=SelfTrade.DECREMENT))
    assert [name for name, *_ in book(venue, Side.SELL)] == ["bob/own", "alice/later"]


@pytest.mark.parametrize(
    ("size", "price", "kept"),
    [(3, 10, True), (5, 10, True), (6, 10, False), (5, 11, False), (5, 9, False), (3, 11, False)],
)
def test_an_amended_order_keeps_its_place_only_at_the_same_price_and_not_for_more(
    venue: Venue, size: int, price: int, *, kept: bool
) -> None:
    run(venue, buy("alice/a", 5, 10), buy("bob/b", 5, 10), buy("carol/x", 1, price))
    events = run(venue, amend("alice/a", size, price))
    assert [event.priority_kept for event in events if isinstance(event, OrderAmended)] == [kept]
    queue = [name for name, at, _ in book(venue, Side.BUY) if at == price]
    assert queue[0 if kept else -1] == "alice/a"
    assert len(of(events, OrderRested)) == (not kept)
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == size * price * 2


def test_an_amended_size_counts_what_is_filled(venue: Venue) -> None:
    run(venue, buy("alice/a", 5, 10), sell("bob/t", 2, 10), amend("alice/a", 3, 10))
    assert book(venue, Side.BUY) == [("alice/a", 10, 1)]
    run(venue, amend("alice/a", 9, 10))
    assert book(venue, Side.BUY) == [("alice/a", 10, 7)]


@pytest.mark.parametrize("size", [1, 2])
def test_an_order_cannot_be_amended_to_no_more_than_is_filled(venue: Venue, size: int) -> None:
    run(venue, buy("alice/a", 5, 10), sell("bob/t", 2, 10))
    assert refused(run(venue, amend("alice/a", size, 10))) is Reason.SIZE_NOT_ABOVE_FILLED
    assert book(venue, Side.BUY) == [("alice/a", 10, 3)]


def test_an_amended_order_that_crosses_trades_as_a_taker(venue: Venue) -> None:
    run(venue, sell("bob/m", 2, 12), buy("alice/a", 5, 10))
    events = run(venue, amend("alice/a", 6, 13))
    assert trades(events) == [("bob/m", 12, 2)]
    assert book(venue, Side.BUY) == [("alice/a", 13, 4)]


def test_an_amended_order_that_meets_its_own_client_follows_its_own_mode(venue: Venue) -> None:
    run(venue, sell("alice/own", 2, 12), buy("alice/a", 5, 10), amend("alice/a", 5, 12))
    assert status(venue, "alice/a") is OrderStatus.CANCELLED
    assert book(venue, Side.SELL) == [("alice/own", 12, 2)]
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 0


@pytest.mark.parametrize("why", ["the order is post-only", "the phase is post-only"])
def test_an_amended_order_does_not_take_where(venue: Venue, why: str) -> None:
    run(venue, sell("bob/m", 2, 12), replace(buy("alice/a", 5, 10), post_only=why == "the order is post-only"))
    if why == "the phase is post-only":
        run(venue, SetPhase(phase=Phase.CANCEL_ONLY), SetPhase(phase=Phase.POST_ONLY))
    assert refused(run(venue, amend("alice/a", 5, 12))) is Reason.POST_ONLY_WOULD_TAKE
    assert refused(run(venue, amend("alice/a", 5, 11))) is None
    assert book(venue, Side.BUY) == [("alice/a", 11, 5)]


def test_an_order_is_not_amended_beyond_its_client_s_funds(venue: Venue) -> None:
    run(venue, buy("alice/a", 5, 10))
    assert refused(run(venue, amend("alice/a", 501, 10))) is Reason.INSUFFICIENT_FUNDS
    assert refused(run(venue, amend("alice/a", 500, 10))) is None
    assert venue.ledger.amount("alice", Bucket.FREE, "USD") == 0


def test_a_cancelled_order_gives_back_what_was_held_and_its_id_stays_used(venue: Venue) -> None:
    run(venue, buy("alice/a", 5, 10), sell("bob/t", 2, 10))
    cancel = CancelOrder(client="alice", order="a")
    assert of(run(venue, cancel), OrderCancelled) == [
        OrderCancelled(client="alice", order="a", left_lots=SizeLots(3), reason=CancelReason.REQUESTED)
    ]
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") == 0
    assert venue.ledger.amount("alice", Bucket.FREE, "USD") == 10_000 - 2 * 10 * 2
    assert refused(run(venue, cancel)) is Reason.ORDER_NOT_OPEN
    assert refused(run(venue, buy("alice/a", 1, 1))) is Reason.DUPLICATE_ORDER
    assert refused(run(venue, buy("carol/a", 1, 1))) is None
