"""SEQ-1 on histories made by hand: numbers, and the book that the feed gives."""

import pytest

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.feed import FeedGivesTheBook
from holdfast_invariants.monitor import Invariant, Kind, Severity
from holdfast_model.vocabulary import (
    Amount,
    AnnounceMaintenance,
    Answer,
    CancelReason,
    ConfirmLoad,
    Crash,
    Event,
    JournalRecord,
    Market,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    PriceTicks,
    Record,
    Restart,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    TakeSnapshot,
    TimeInForce,
    TradeExecuted,
    View,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice", "bob"),
)
SEQ_1 = Invariant(
    id="SEQ-1",
    kind=Kind.ALWAYS,
    sentence="",
    severity=Severity.HIGH,
    incidents=(),
    needs=frozenset(),
    monitor=FeedGivesTheBook,
)
BUY, SELL = Side.BUY, Side.SELL


def told(*events: Event, seq: int | None = None) -> Record:
    return Record(step=AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events, seq=seq),))


def accepted(order: str, side: Side, size: int, price: int, client: str = "alice") -> OrderAccepted:
    return OrderAccepted(
        client=client,
        order=order,
        market="M",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
        time_in_force=TimeInForce.GTC,
        post_only=False,
        self_trade=SelfTrade.CANCEL_NEWEST,
    )


def rested(order: str, left: int, price: int, client: str = "alice") -> OrderRested:
    return OrderRested(client=client, order=order, price_ticks=PriceTicks(price), left_lots=SizeLots(left))


def open_order(order: str, side: Side, size: int, price: int) -> tuple[Event, ...]:
    return accepted(order, side, size, price), rested(order, size, price)


def trade(number: int, maker: str, size: int, price: int) -> TradeExecuted:
    """Bob's order `t` buys from alice."""
    return TradeExecuted(
        trade=number,
        market="M",
        price_ticks=PriceTicks(price),
        size_lots=SizeLots(size),
        taker_side=BUY,
        maker_client="alice",
        maker_order=maker,
        taker_client="bob",
        taker_order="t",
        maker_fee=Amount(0),
        taker_fee=Amount(0),
    )


def amended(order: str, size: int, price: int, left: int, *, kept: bool) -> OrderAmended:
    return OrderAmended(
        client="alice",
        order=order,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
        left_lots=SizeLots(left),
        priority_kept=kept,
    )


def cancelled(order: str, left: int) -> OrderCancelled:
    return OrderCancelled(client="alice", order=order, left_lots=SizeLots(left), reason=CancelReason.REQUESTED)


def book(*orders: tuple[str, Side, int, int, int]) -> Record:
    """A view of alice's orders: id, side, left, size, price."""
    shown = tuple(
        OpenOrder(
            client="alice",
            order=order,
            market="M",
            side=side,
            price_ticks=PriceTicks(price),
            size_lots=SizeLots(size),
            left_lots=SizeLots(left),
        )
        for order, side, left, size, price in orders
    )
    return Record(step=TakeSnapshot(), view=View(seq=0, orders=shown))


TAKER = accepted("t", BUY, 9, 12, "bob")
FILLED = OrderFilled(client="alice", order="1")
ASKS = [told(*open_order("1", SELL, 5, 10)), told(*open_order("2", SELL, 5, 10)), told(*open_order("3", SELL, 5, 9))]
BIDS = [told(*open_order("4", BUY, 1, 7)), told(*open_order("5", BUY, 1, 8))]
QUEUE = (("3", SELL, 5, 5, 9), ("1", SELL, 5, 5, 10), ("2", SELL, 5, 5, 10))
IN_FLIGHT = JournalRecord(seq=3, epoch=1, command=ConfirmLoad(), events=(), journal_sha256="0" * 64)

HOLDING = {
    "queues in order": [*ASKS, *BIDS, book(("5", BUY, 1, 1, 8), ("4", BUY, 1, 1, 7), *QUEUE)],
    "trades and a fill": [
        *ASKS[:2],
        told(TAKER, trade(1, "1", 5, 10), FILLED, trade(2, "2", 4, 10)),
        book(("2", SELL, 1, 5, 10)),
    ],
    "an order that keeps its place and one that loses it": [
        *ASKS,
        told(amended("1", 4, 10, 4, kept=True)),
        told(amended("3", 6, 10, 6, kept=False), rested("3", 6, 10)),
        book(("1", SELL, 4, 4, 10), ("2", SELL, 5, 5, 10), ("3", SELL, 6, 6, 10)),
    ],
    "self-trade prevention took lots off": [
        *ASKS[:1],
        told(OrderReduced(client="alice", order="1", size_lots=SizeLots(2), left_lots=SizeLots(2))),
        told(cancelled("1", 2)),
        book(),
    ],
    "numbers rise by one, across a restart too": [
        told(seq=1),
        told(seq=2),
        Record(step=Crash(in_flight=ConfirmLoad())),
        Record(step=Restart(), resent=(IN_FLIGHT,)),
        told(seq=4),
    ],
}


@pytest.mark.parametrize("name", HOLDING)
def test_nothing_is_reported_where_nothing_is_wrong(name: str) -> None:
    auditor = Auditor(SETUP, catalogue=(SEQ_1,))
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert auditor.coverage()[0].checked > 0


@pytest.mark.parametrize(
    ("good", "bad", "subject", "found"),
    [
        pytest.param([told(seq=1)], told(seq=3), "sequence number 3", "3 after 1", id="a number is left out"),
        pytest.param([told(seq=1)], told(seq=1), "sequence number 1", "1 after 1", id="a number is given again"),
        pytest.param(
            [told(seq=1), Record(step=Crash(in_flight=ConfirmLoad()))],
            told(seq=4),
            "sequence number 4",
            "4 after 1",
            id="more is missing than was in flight",
        ),
        pytest.param(ASKS, told(TAKER, trade(2, "3", 1, 9)), "trade number 2", "2 after 0", id="a trade is missing"),
        pytest.param(
            ASKS[:1],
            told(TAKER, trade(1, "1", 2, 10), cancelled("1", 5)),
            "order alice/1",
            "5 lots are left of it, says OrderCancelled",
            id="more is cancelled than was left",
        ),
        pytest.param(
            ASKS[:1],
            told(TAKER, trade(1, "1", 2, 10), FILLED),
            "order alice/1",
            "0 lots are left of it, says OrderFilled",
            id="an order is filled that has lots left",
        ),
        pytest.param(
            [],
            told(accepted("1", SELL, 5, 10), rested("1", 4, 10)),
            "order alice/1",
            "4 lots are left of it, says OrderRested",
            id="less rests than is left",
        ),
        pytest.param(
            [*ASKS[:1], told(TAKER, trade(1, "1", 2, 10))],
            told(amended("1", 4, 10, 4, kept=True)),
            "order alice/1",
            "4 lots are left of 4",
            id="what was filled is offered again",
        ),
        pytest.param(
            [*ASKS, book(*QUEUE)], book(*QUEUE[:2]), "book of M sell", "in place 3 is nobody", id="one is gone"
        ),
        pytest.param(
            ASKS, book(QUEUE[0], QUEUE[2], QUEUE[1]), "book of M sell", "in place 2 is alice/2", id="places changed"
        ),
        pytest.param(
            ASKS, book(QUEUE[1], QUEUE[0], QUEUE[2]), "book of M sell", "in place 1 is alice/1", id="levels changed"
        ),
        pytest.param(
            [*ASKS[:1], told(TAKER, trade(1, "1", 2, 10))],
            book(("1", SELL, 5, 5, 10)),
            "book of M sell",
            "in place 1 is alice/1: 5 at 10",
            id="a combination's trade is missing in the book",
        ),
        pytest.param([], book(QUEUE[0]), "book of M sell", "in place 1 is alice/3", id="nobody was told of it"),
    ],
)
def test_a_violation_is_reported_at_the_step_that_causes_it(
    good: list[Record], bad: Record, subject: str, found: str
) -> None:
    auditor = Auditor(SETUP, catalogue=(SEQ_1,))
    for record in good:
        assert auditor.watch(record) == []
    new = auditor.watch(bad)
    about = [violation for violation in new if violation.subject == subject]
    assert [(violation.invariant, violation.step) for violation in about] == [("SEQ-1", len(good))], new
    assert about[0].found.startswith(found)


def test_after_a_restart_that_told_all_a_gap_is_not_excused() -> None:
    auditor = Auditor(SETUP, catalogue=(SEQ_1,))
    history = [told(seq=1), Record(step=Crash(in_flight=ConfirmLoad())), Record(step=Restart())]
    for record in history:
        assert auditor.watch(record) == []
    (found,) = auditor.watch(told(seq=3))
    assert found.subject == "sequence number 3"
