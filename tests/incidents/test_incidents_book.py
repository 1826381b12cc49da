"""Incidents of order books: fills beyond an order, a wrong feed, a cascade, busted trades, a clock that steps back.

A story is told on the healthy engine; on one with a planted fault it must not get to its end.
"""

from collections.abc import Callable

import pytest

from holdfast.engine import Engine
from holdfast.setups import MARGIN_SETUP, SMALL_SETUP
from holdfast.stories import Story
from holdfast_engine.exchange import Parts
from holdfast_engine.faults import orders
from holdfast_model.vocabulary import (
    AdvanceTime,
    AmendOrder,
    Bucket,
    Burst,
    CancelAll,
    CancelOrder,
    CancelReason,
    Command,
    Conditions,
    Crash,
    CrashPoint,
    DisconnectClient,
    Event,
    HaltProduct,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    PauseReplica,
    PriceTicks,
    PromoteReplica,
    Reason,
    RefundWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    SelfTrade,
    Side,
    SizeLots,
    TakeSnapshot,
    TimeInForce,
    TradeExecuted,
    Trigger,
    TriggerWhen,
)

Told = Callable[[Engine], None]
ORDER_FAULTS = {fault.name: fault for fault in orders.FAULTS}
BTC, USD = "BTC", "USD"


def funded(engine: Engine, amount: int = 20_000) -> Story:
    """Three clients with money in one spot market."""
    story = Story(SMALL_SETUP, engine)
    for client in SMALL_SETUP.clients:
        story.deposit(client, BTC=amount, USD=amount)
    return story


def stop_below(price: int) -> Conditions:
    """The condition of an order that waits until a trade is at or below a price."""
    return Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(price)))


def trades(story: Story) -> list[TradeExecuted]:
    """All trades that were told."""
    return [event for event in story.told if isinstance(event, TradeExecuted)]


def test_the_children_of_a_parent_never_trade_more_than_it_when_the_fills_come_late(
    engine: Engine,
) -> None:
    """knight-2012-08-01: whoever hears of no fill sends the order again, and the exchange counts it once."""
    story = funded(engine)
    for number in range(6):
        story.sell("bob", f"b{number}", 3, 100)
    parent = 7
    for number, point in enumerate(CrashPoint):
        child = story.order(Side.BUY, "alice", f"parent-{number}", 2, 100, time_in_force=TimeInForce.IOC)
        story.do(Crash(in_flight=child, point=point), Restart())
        decided = point is CrashPoint.AFTER_JOURNAL
        assert story.refusal(child) == (Reason.DUPLICATE_ORDER if decided else None)
        story.do(TakeSnapshot(), RestoreSnapshot())
        assert story.refusal(child) is Reason.DUPLICATE_ORDER
    bought = (story.amount("alice", Bucket.FREE, BTC) - 20_000) // 10
    assert bought == 6
    story.do(Burst(commands=(story.order(Side.BUY, "alice", "last", parent - bought, 100),) * 3))
    assert (story.amount("alice", Bucket.FREE, BTC) - 20_000) // 10 == parent
    assert [story.left("bob", f"b{number}") for number in range(6)] == [None, None, 2, 3, 3, 3]


def test_a_replica_that_runs_other_code_is_seen_before_it_serves_anybody(engine: Engine) -> None:
    """knight-2012-08-01: one server of eight was left out; here a replica that does not know a command."""
    story = funded(engine)
    story.buy("alice", "a1", 2, 99)
    story.do(CancelOrder(client="alice", order="a1"))
    assert len({(replica.seq, replica.state_sha256) for replica in story.view.replicas}) == 1
    story.do(PromoteReplica(replica="n2"))
    assert story.left("alice", "a1") is None
    story.sell("bob", "b1", 2, 99)
    assert trades(story) == []


class Feed:
    """The book as a reader of the public feed has it: from events alone, without a look at the exchange."""

    def __init__(self) -> None:
        self.accepted: dict[tuple[str, str], OrderAccepted] = {}
        self.size: dict[tuple[str, str], int] = {}
        self.book: dict[tuple[str, str], tuple[int, int]] = {}
        """Price and what is left of each resting order, in the order in which they joined their queues."""

    def hear(self, event: Event) -> None:
        """Take one event."""
        match event:
            case OrderAccepted():
                self.accepted[event.client, event.order] = event
                self.size[event.client, event.order] = event.size_lots
            case OrderRested():
                self.book[event.client, event.order] = (event.price_ticks, event.left_lots)
            case TradeExecuted():
                for key in (event.maker_client, event.maker_order), (event.taker_client, event.taker_order):
                    if key in self.book:
                        price, left = self.book[key]
                        self.book[key] = (price, left - event.size_lots)
            case OrderReduced() | OrderAmended():
                key = (event.client, event.order)
                self.size[key] = event.size_lots
                if isinstance(event, OrderAmended) and not event.priority_kept:
                    del self.book[key]
                elif key in self.book:
                    self.book[key] = (self.book[key][0], event.left_lots)
            case OrderFilled() | OrderCancelled():
                self.book.pop((event.client, event.order), None)
            case _:
                pass

    def orders(self) -> tuple[OpenOrder, ...]:
        """The book in the order in which a view has it: best price first, oldest first."""
        rows = [
            OpenOrder(
                client=key[0],
                order=key[1],
                market=self.accepted[key].market,
                side=self.accepted[key].side,
                price_ticks=PriceTicks(price),
                size_lots=SizeLots(self.size[key]),
                left_lots=SizeLots(left),
            )
            for key, (price, left) in self.book.items()
        ]
        bids = sorted((row for row in rows if row.side is Side.BUY), key=lambda row: -row.price_ticks)
        asks = sorted((row for row in rows if row.side is Side.SELL), key=lambda row: row.price_ticks)
        return tuple(sorted((*bids, *asks), key=lambda row: row.market))


def test_the_book_that_is_made_from_the_feed_is_the_book(engine: Engine) -> None:
    """asx-2020-11-16: combined orders gave wrong market data; here every kind of order, compared step by step."""
    story, feed = funded(engine), Feed()
    decrement = SelfTrade.DECREMENT
    steps: list[Command] = [
        story.order(Side.BUY, "alice", "a1", 5, 99),
        story.order(Side.BUY, "bob", "b1", 4, 99),
        story.order(Side.SELL, "carol", "c1", 6, 101),
        story.order(Side.SELL, "carol", "c2", 7, 99),
        story.order(Side.SELL, "bob", "b2", 9, 99, self_trade=decrement),
        story.order(Side.SELL, "alice", "stop", 2, 97, conditions=stop_below(98)),
        story.order(
            Side.BUY,
            "carol",
            "pair",
            3,
            102,
            conditions=Conditions(
                trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(110)), one_cancels_other="c1"
            ),
        ),
        AmendOrder(client="bob", order="b2", size_lots=SizeLots(4), price_ticks=PriceTicks(99)),
        AmendOrder(client="bob", order="b2", size_lots=SizeLots(9), price_ticks=PriceTicks(100)),
        story.order(Side.BUY, "alice", "a3", 2, 98),
        story.order(Side.SELL, "carol", "c4", 2, 105),
        story.order(Side.SELL, "carol", "c5", 3, 106),
        story.order(Side.SELL, "carol", "c3", 1, 97, time_in_force=TimeInForce.IOC),
        story.order(Side.BUY, "bob", "b3", 9, 101, self_trade=SelfTrade.CANCEL_OLDEST),
        CancelAll(client="carol"),
        story.order(Side.SELL, "bob", "b4", 3, None),
    ]
    differing = 0
    for step in steps:
        for event in story.do(step):
            feed.hear(event)
        differing += bool(story.view.orders)
        assert feed.orders() == story.view.orders, step
    assert differing > 10
    assert {CancelReason.ONE_CANCELS_OTHER, CancelReason.SELF_TRADE} <= {
        event.reason for event in story.told if isinstance(event, OrderCancelled)
    }
    assert story.happened(OrderReduced)
    assert "carol" not in {order.client for order in story.view.orders}
    story.do(TakeSnapshot(), Crash(), Restart(), RestoreSnapshot())
    assert feed.orders() == story.view.orders


def test_a_cascade_to_the_bottom_of_the_book_breaks_no_rule_and_its_trades_stand(engine: Engine) -> None:
    """gdax-2017-06-21: a big market order and the stops behind it; the negative control: nothing is wrong."""
    story = funded(engine)
    story.do(TakeSnapshot())
    for price in (100, 99, 97, 40, 1):
        story.buy("alice", f"a{price}", 3, price)
    story.sell("carol", "first", 3, None, conditions=stop_below(98))
    story.sell("bob", "second", 3, None, conditions=stop_below(50))
    story.sell("bob", "big", 7, None)
    assert [(trade.taker_order, trade.price_ticks, trade.size_lots) for trade in trades(story)] == [
        ("big", 100, 3),
        ("big", 99, 3),
        ("big", 97, 1),
        ("first", 97, 2),
        ("first", 40, 1),
        ("second", 40, 2),
        ("second", 1, 1),
    ]
    balances = story.view.balances
    story.do(Crash(), Restart(), RestoreSnapshot())
    assert story.view.balances == balances
    story.sell("bob", "after", 1, 1)
    assert trades(story)[-1].price_ticks == 1


def test_a_market_order_in_a_market_with_protection_stops_on_the_way_down(engine: Engine) -> None:
    """gdax-2017-06-21: what a venue may do about it is to bound a market order, never to take its trades back."""
    story = Story(MARGIN_SETUP, engine)
    story.deposit("alice", USD=20_000)
    story.deposit("bob", BTC=20_000)
    for price in (100, 97, 96, 90):
        story.buy("alice", f"a{price}", 3, price)
    told = story.sell("bob", "big", 12, None)
    assert [trade.price_ticks for trade in trades(story)] == [100, 97]
    assert [(event.left_lots, event.reason) for event in told if isinstance(event, OrderCancelled)] == [
        (6, CancelReason.PRICE_PROTECTION)
    ]


def test_nothing_that_can_be_asked_for_takes_a_trade_back(engine: Engine) -> None:
    """okex-2018-03-30: a set of trades was rolled back; here no command and no restore does it."""
    story = funded(engine)
    story.do(TakeSnapshot())
    story.buy("alice", "a1", 4, 100)
    story.sell("bob", "b1", 4, 100)
    balances = story.view.balances
    refused: list[tuple[Command, Reason]] = [
        (CancelOrder(client="alice", order="a1"), Reason.ORDER_NOT_OPEN),
        (CancelOrder(client="bob", order="b1"), Reason.ORDER_NOT_OPEN),
        (CancelAll(client="alice"), Reason.NOTHING_TO_CANCEL),
        (
            AmendOrder(client="alice", order="a1", size_lots=SizeLots(1), price_ticks=PriceTicks(100)),
            Reason.ORDER_NOT_OPEN,
        ),
        (story.order(Side.SELL, "alice", "a1", 4, 100), Reason.DUPLICATE_ORDER),
        (RefundWithdrawal(client="bob", withdrawal="b1"), Reason.UNKNOWN_WITHDRAWAL),
    ]
    for command, reason in refused:
        assert story.refusal(command) is reason
        assert story.view.balances == balances
    story.do(DisconnectClient(client="alice"), RestoreSnapshot(), PauseReplica(replica="n2"))
    story.do(ResumeReplica(replica="n2"), PromoteReplica(replica="n2"))
    story.do(Crash(), Restart(), HaltProduct(product="spot", cause="complaints"))
    assert story.view.balances == balances
    assert len(trades(story)) == 1


def test_a_trade_at_a_price_that_nobody_expected_stands_like_any_other(engine: Engine) -> None:
    """quoine-2017-04-19: with its market maker gone a venue traded at 250 times the price; a court let it stand."""
    story = funded(engine, amount=200_000)
    story.sell("carol", "usual", 1, 100)
    story.buy("alice", "a1", 1, 100)
    story.sell("carol", "far", 2, 25_000)
    story.buy("bob", "b1", 2, None)
    assert [trade.price_ticks for trade in trades(story)] == [100, 25_000]
    assert story.refusal(CancelOrder(client="carol", order="far")) is Reason.ORDER_NOT_OPEN
    balances = story.view.balances
    story.do(TakeSnapshot(), RestoreSnapshot(), Crash(), Restart())
    assert story.view.balances == balances


def test_a_clock_that_steps_back_is_refused_and_changes_nothing(engine: Engine) -> None:
    """eurex-2013-08-26: wrong time halted trading; here it is an answer, and the time is what it was."""
    story = funded(engine)
    story.wait(10_000)
    expires = Conditions(expires_ms=12_000)
    story.buy("alice", "a1", 2, 99, time_in_force=TimeInForce.GTT, conditions=expires)
    for time_ms in (10_000, 9_999, 1, 0):
        before = story.view
        assert story.refusal(AdvanceTime(time_ms=time_ms)) is Reason.TIME_NOT_LATER
        after = story.view
        assert (after.time_ms, after.orders, after.balances) == (before.time_ms, before.orders, before.balances)
        assert after.seq == before.seq + 1
    story.do(Crash(), Restart())
    assert story.refusal(AdvanceTime(time_ms=10_000)) is Reason.TIME_NOT_LATER
    assert story.left("alice", "a1") == 2
    story.do(AdvanceTime(time_ms=12_000))
    assert story.left("alice", "a1") is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("fill-reported-twice", test_the_children_of_a_parent_never_trade_more_than_it_when_the_fills_come_late),
        ("takers-price", test_the_book_that_is_made_from_the_feed_is_the_book),
        ("trade-through", test_a_cascade_to_the_bottom_of_the_book_breaks_no_rule_and_its_trades_stand),
        ("tail-replayed-twice", test_a_cascade_to_the_bottom_of_the_book_breaks_no_rule_and_its_trades_stand),
        ("filled-order-cancelled", test_nothing_that_can_be_asked_for_takes_a_trade_back),
        ("stale-snapshot-restore", test_nothing_that_can_be_asked_for_takes_a_trade_back),
        ("filled-order-cancelled", test_a_trade_at_a_price_that_nobody_expected_stands_like_any_other),
    ],
)
def test_a_planted_fault_of_the_book_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("feed-omits-a-cancel", test_the_book_that_is_made_from_the_feed_is_the_book),
        ("feed-tells-the-wrong-size", test_the_book_that_is_made_from_the_feed_is_the_book),
        ("one-cancels-other-executes-both", test_the_book_that_is_made_from_the_feed_is_the_book),
        ("market-order-unprotected", test_a_market_order_in_a_market_with_protection_stops_on_the_way_down),
        ("cancel-all-misses-one", test_the_book_that_is_made_from_the_feed_is_the_book),
    ],
)
def test_with_a_planted_fault_of_orders_the_story_does_not_get_to_its_end(
    fault: str, told: Told, told_in_vain: Callable[[Parts, Told], None]
) -> None:
    told_in_vain(ORDER_FAULTS[fault].parts, told)
