"""PRIO-2 and the end of an auction on histories made by hand: stops, pairs, times, bounds, cancels of many."""

from typing import Any

import pytest
from msgspec import Struct

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_invariants.reckoning import Uncrossed, auction_price
from holdfast_model.vocabulary import (
    LIQUIDATION_ORDER_PREFIX,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    Answer,
    AuctionUncrossed,
    CancelAll,
    CancelReason,
    ClientDisconnected,
    Collateral,
    Conditions,
    DisconnectClient,
    Event,
    Margin,
    MarkChanged,
    Market,
    MarkRule,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    Perpetual,
    Phase,
    PhaseChanged,
    PositionChanged,
    PriceTicks,
    Product,
    ProductHalted,
    ProductResumed,
    Reason,
    Record,
    Rejected,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Stage,
    Step,
    StopArmed,
    StopTriggered,
    Tier,
    TimeAdvanced,
    TimeInForce,
    TradeExecuted,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

RULE = MarkRule(sources=("a",), sources_min=1, age_max_ms=10, band_ppm=100_000)
PERPETUAL = Perpetual(tiers=(Tier(value_floor=Amount(0), initial_ppm=200_000, maintenance_ppm=100_000),))


def market(name: str, **kind: Any) -> Market:  # noqa: ANN401 - fields
    return Market(market=name, base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1), **kind)


SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        market("S", band_ppm=100_000, protection_ppm=20_000, reference_ticks=PriceTicks(100)),
        market("P", mark=RULE, perpetual=PERPETUAL, product="linear"),
    ),
    clients=("alice", "bob", "carol"),
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
)
BUY, SELL = Side.BUY, Side.SELL
GTC, GTT, FOK = TimeInForce.GTC, TimeInForce.GTT, TimeInForce.FOK
ABOVE, BELOW = TriggerWhen.AT_OR_ABOVE, TriggerWhen.AT_OR_BELOW


# Words --------------------------------------------------------------------------------------------------------------


def told(*events: Event, step: Step | None = None) -> Record:
    return Record(step=step or AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events),))


def accepted(
    client: str,
    order: str,
    side: Side = BUY,
    price: int | None = 100,
    *,
    size: int = 1,
    name: str = "S",
    life: TimeInForce = GTC,
    **conditions: Any,  # noqa: ANN401 - fields
) -> OrderAccepted:
    return OrderAccepted(
        client=client,
        order=order,
        market=name,
        side=side,
        size_lots=SizeLots(size),
        price_ticks=None if price is None else PriceTicks(price),
        time_in_force=life,
        post_only=False,
        self_trade=SelfTrade.CANCEL_NEWEST,
        conditions=Conditions(**conditions) if conditions else None,
    )


def rests(client: str, order: str, side: Side = BUY, price: int = 100, **more: Any) -> Record:  # noqa: ANN401
    event = accepted(client, order, side, price, **more)
    return told(
        event, OrderRested(client=client, order=order, price_ticks=PriceTicks(price), left_lots=event.size_lots)
    )


def trigger(when: TriggerWhen, price: int, by: TriggerBy = TriggerBy.LAST) -> Trigger:
    return Trigger(by=by, when=when, price_ticks=PriceTicks(price))


def waits(client: str, order: str, at: Trigger, side: Side = BUY, price: int | None = 100, **more: Any) -> Record:  # noqa: ANN401
    return told(accepted(client, order, side, price, trigger=at, **more), StopArmed(client=client, order=order))


def trade(
    maker: str, taker: str, price: int, *, size: int = 1, number: int = 1, name: str = "S", buys: bool = True
) -> TradeExecuted:
    maker_client, maker_order = maker.split("/")
    taker_client, taker_order = taker.split("/")
    return TradeExecuted(
        trade=number,
        market=name,
        price_ticks=PriceTicks(price),
        size_lots=SizeLots(size),
        taker_side=BUY if buys else SELL,
        maker_client=maker_client,
        maker_order=maker_order,
        taker_client=taker_client,
        taker_order=taker_order,
        maker_fee=Amount(0),
        taker_fee=Amount(0),
    )


def triggered(key: str, price: int) -> StopTriggered:
    client, order = key.split("/")
    return StopTriggered(client=client, order=order, price_ticks=PriceTicks(price))


def cancelled(key: str, reason: CancelReason = CancelReason.REQUESTED) -> OrderCancelled:
    client, order = key.split("/")
    return OrderCancelled(client=client, order=order, left_lots=SizeLots(1), reason=reason)


def filled(key: str) -> OrderFilled:
    client, order = key.split("/")
    return OrderFilled(client=client, order=order)


def time(milliseconds: int, *more: Event) -> Record:
    return told(TimeAdvanced(time_ms=milliseconds), *more, step=AdvanceTime(time_ms=milliseconds))


def phase(before: Phase, after: Phase, *more: Event) -> Record:
    return told(PhaseChanged(before=before, after=after), *more, step=SetPhase(phase=after))


def held(client: str, lots: int) -> Record:
    return told(
        PositionChanged(client=client, market="P", position_lots=SizeLots(lots), entry_value=Amount(lots * 100))
    )


def marked(price: int, *more: Event) -> Record:
    return told(MarkChanged(market="P", mark_ticks=PriceTicks(price), sources=("a",)), *more)


OTHER, EXPIRED, LOST = CancelReason.ONE_CANCELS_OTHER, CancelReason.EXPIRED, CancelReason.DISCONNECTED
OPEN, HALTED, MAINTENANCE, CANCEL_ONLY = Phase.OPEN, Phase.HALTED, Phase.MAINTENANCE, Phase.CANCEL_ONLY
# A trade at 102: bob's offer, which alice takes.
OFFER = rests("bob", "b", SELL, 102)
TRADE = (accepted("alice", "t", BUY, 102), trade("bob/b", "alice/t", 102), filled("bob/b"), filled("alice/t"))
STOP = waits("alice", "s", trigger(ABOVE, 102))
LATER = waits("alice", "l", trigger(ABOVE, 101))
BY_MARK = waits("bob", "m", trigger(BELOW, 90, TriggerBy.MARK), SELL, 80, name="P")
PAIR = [rests("alice", "a", SELL, 103), waits("alice", "s", trigger(BELOW, 97), SELL, 96, one_cancels_other="a")]
DEEP = [rests("bob", f"b{price}", SELL, price) for price in (100, 102, 103)]
TIMED = rests("alice", "g", BUY, 99, life=GTT, expires_ms=10)
WATCHED = rests("alice", "w", BUY, 98, cancel_on_disconnect=True)
REDUCING = rests("alice", "r", SELL, 100, name="P", size=5, reduce_only=True)
ALL_OF_ALICE, GONE = CancelAll(client="alice"), DisconnectClient(client="alice")
DISCONNECTED = ClientDisconnected(client="alice")

HOLDING = {
    "a stop is triggered by a trade": [OFFER, STOP, told(*TRADE, triggered("alice/s", 102), cancelled("alice/s"))],
    "the first accepted is triggered first": [
        OFFER,
        STOP,
        LATER,
        told(*TRADE, triggered("alice/s", 102), triggered("alice/l", 102)),
    ],
    "a stop is triggered by the mark": [BY_MARK, marked(91), marked(90, triggered("bob/m", 90))],
    "a stop waits while the venue is halted": [
        phase(OPEN, HALTED),
        BY_MARK,
        marked(90),
        phase(HALTED, CANCEL_ONLY),
        phase(CANCEL_ONLY, OPEN, triggered("bob/m", 90)),
    ],
    "a stop waits while its product is halted": [
        BY_MARK,
        told(ProductHalted(product="linear", cause="late")),
        marked(90),
        told(ProductResumed(product="linear", stage=Stage.OPEN), triggered("bob/m", 90)),
    ],
    "a fill-or-kill stop is filled whole": [
        OFFER,
        waits("alice", "s", trigger(ABOVE, 102), life=FOK, price=103),
        rests("bob", "c", SELL, 103),
        told(*TRADE, triggered("alice/s", 102), trade("bob/c", "alice/s", 103, number=2), filled("alice/s")),
    ],
    "one trades and cancels the other": [
        *PAIR,
        told(accepted("bob", "t"), trade("alice/a", "bob/t", 103), filled("alice/a"), cancelled("alice/s", OTHER)),
    ],
    "one is triggered and cancels the other, and lives on": [
        *PAIR,
        rests("bob", "c", SELL, 97),
        told(
            accepted("carol", "t", BUY, 97),
            trade("bob/c", "carol/t", 97),
            triggered("alice/s", 97),
            cancelled("alice/a", OTHER),
            OrderRested(client="alice", order="s", price_ticks=PriceTicks(96), left_lots=SizeLots(1)),
        ),
    ],
    "an order expires": [TIMED, time(9), time(10, cancelled("alice/g", EXPIRED))],
    "an order expires after maintenance": [
        TIMED,
        phase(CANCEL_ONLY, MAINTENANCE),
        time(11),
        phase(MAINTENANCE, CANCEL_ONLY, cancelled("alice/g", EXPIRED)),
    ],
    "a price at the edge of its band": [
        rests("bob", "b", BUY, 90),
        told(
            OrderAmended(
                client="bob",
                order="b",
                size_lots=SizeLots(1),
                price_ticks=PriceTicks(110),
                left_lots=SizeLots(1),
                priority_kept=False,
            )
        ),
    ],
    "a liquidation sells beyond the band": [OFFER, told(accepted("bob", f"{LIQUIDATION_ORDER_PREFIX}1", SELL, 5))],
    "a market order as far as it is protected": [
        *DEEP,
        told(
            accepted("alice", "m", BUY, None, size=3),
            trade("bob/b100", "alice/m", 100),
            trade("bob/b102", "alice/m", 102, number=2),
            cancelled("alice/m", CancelReason.PRICE_PROTECTION),
        ),
    ],
    "a stop at the market meets what is left when the other order is cancelled": [
        rests("alice", "a", SELL, 99),
        rests("bob", "b", SELL, 101),
        rests("bob", "c", SELL, 103),
        waits("alice", "s", trigger(ABOVE, 99), BUY, None, one_cancels_other="a"),
        told(
            accepted("carol", "t", BUY, 101),
            trade("bob/b", "carol/t", 101),
            filled("bob/b"),
            triggered("alice/s", 101),
            cancelled("alice/a", OTHER),
            trade("bob/c", "alice/s", 103, number=2),
        ),
    ],
    "a reduce-only order reduces": [
        held("alice", 3),
        REDUCING,
        told(trade("alice/r", "bob/t", 100, size=3, name="P"), cancelled("alice/r", CancelReason.REDUCE_ONLY)),
    ],
    "all orders are cancelled": [
        TIMED,
        STOP,
        WATCHED,
        OFFER,
        told(*(cancelled(f"alice/{name}") for name in "gsw"), step=ALL_OF_ALICE),
    ],
    "a pair is cancelled together": [
        *PAIR,
        told(cancelled("alice/a"), cancelled("alice/s", OTHER), step=ALL_OF_ALICE),
    ],
    "orders of a halted product stay": [
        rests("alice", "p", name="P"),
        told(ProductHalted(product="linear", cause="late")),
        told(Rejected(reason=Reason.NOTHING_TO_CANCEL), step=ALL_OF_ALICE),
    ],
    "those that asked for it go with the session": [
        TIMED,
        WATCHED,
        told(DISCONNECTED, cancelled("alice/w", LOST), step=GONE),
    ],
}


def auditor() -> Auditor:
    return Auditor(SETUP, catalogue=(invariant_by_id("PRIO-2"),))


@pytest.mark.parametrize("name", HOLDING)
def test_nothing_is_reported_where_orders_keep_their_promise(name: str) -> None:
    watching = auditor()
    for record in HOLDING[name]:
        assert watching.watch(record) == []
    assert watching.coverage()[0].checked > 0


class Case(Struct, frozen=True, kw_only=True):
    good: list[Record]
    bad: Record
    subject: str
    found: str
    expected: str


AMENDED = OrderAmended(
    client="bob",
    order="b",
    size_lots=SizeLots(1),
    price_ticks=PriceTicks(113),
    left_lots=SizeLots(1),
    priority_kept=False,
)
CASES = {
    "a stop is triggered early": Case(
        good=[OFFER, waits("alice", "s", trigger(ABOVE, 103))],
        bad=told(*TRADE, triggered("alice/s", 102)),
        subject="stop alice/s",
        found="triggered while the last is 102",
        expected="at_or_above 103",
    ),
    "a stop is triggered by another price": Case(
        good=[OFFER, STOP],
        bad=told(*TRADE, triggered("alice/s", 103)),
        subject="stop alice/s",
        found="triggered by 103",
        expected="102, the last",
    ),
    "a stop without a price is triggered": Case(
        good=[STOP],
        bad=told(triggered("alice/s", 102)),
        subject="stop alice/s",
        found="the last is None",
        expected="at_or_above 102",
    ),
    "a stop is forgotten": Case(
        good=[OFFER, STOP],
        bad=told(*TRADE),
        subject="stop alice/s",
        found="it waits although the last is at_or_above 102",
        expected="triggered at once",
    ),
    "a stop is forgotten when trading resumes": Case(
        good=[BY_MARK, phase(OPEN, HALTED), marked(90)],
        bad=phase(HALTED, OPEN),
        subject="stop bob/m",
        found="it waits although the mark is at_or_below 90",
        expected="triggered at once",
    ),
    "a stop that is passed is taken in": Case(
        good=[OFFER, told(*TRADE)],
        bad=STOP,
        subject="stop alice/s",
        found="it waits",
        expected="triggered at once",
    ),
    "a stop is triggered while the venue is halted": Case(
        good=[BY_MARK, phase(OPEN, HALTED)],
        bad=marked(90, triggered("bob/m", 90)),
        subject="stop bob/m",
        found="it is triggered",
        expected="while trading is not open",
    ),
    "a stop is triggered while its product is halted": Case(
        good=[BY_MARK, told(ProductHalted(product="linear", cause="late"))],
        bad=marked(90, triggered("bob/m", 90)),
        subject="stop bob/m",
        found="it is triggered",
        expected="while trading is not open",
    ),
    "the later stop is triggered first": Case(
        good=[OFFER, STOP, LATER],
        bad=told(*TRADE, triggered("alice/l", 102), triggered("alice/s", 102)),
        subject="stop alice/l",
        found="it is triggered",
        expected="alice/s first",
    ),
    "an order that does not wait is triggered": Case(
        good=[OFFER],
        bad=told(triggered("bob/b", 102)),
        subject="stop bob/b",
        found="it is triggered",
        expected="it does not wait",
    ),
    "a stop that waits trades": Case(
        good=[STOP],
        bad=told(trade("alice/s", "bob/t", 100)),
        subject="stop alice/s",
        found="TradeExecuted before it was triggered",
        expected="waits outside the book",
    ),
    "a stop that waits rests": Case(
        good=[STOP],
        bad=told(OrderRested(client="alice", order="s", price_ticks=PriceTicks(100), left_lots=SizeLots(1))),
        subject="stop alice/s",
        found="OrderRested before it was triggered",
        expected="waits outside the book",
    ),
    "a fill-or-kill stop is filled in part": Case(
        good=[
            OFFER,
            waits("alice", "s", trigger(ABOVE, 102), life=FOK, price=103, size=2),
            rests("bob", "c", SELL, 103),
        ],
        bad=told(*TRADE, triggered("alice/s", 102), trade("bob/c", "alice/s", 103, number=2)),
        subject="order alice/s",
        found="1 of 2 lots",
        expected="all or nothing",
    ),
    "the other order stays after a trade": Case(
        good=PAIR,
        bad=told(accepted("bob", "t"), trade("alice/a", "bob/t", 103), filled("alice/a")),
        subject="order alice/s",
        found="open although alice/a traded",
        expected="one cancels the other",
    ),
    "the other order stays after a cancel": Case(
        good=PAIR,
        bad=told(cancelled("alice/s")),
        subject="order alice/a",
        found="open although alice/s traded",
        expected="one cancels the other",
    ),
    "an order is cancelled for nothing": Case(
        good=PAIR,
        bad=told(cancelled("alice/s", OTHER)),
        subject="order alice/s",
        found="cancelled as one_cancels_other",
        expected="trades, is triggered or ends",
    ),
    "an order outlives its time": Case(
        good=[TIMED],
        bad=time(10),
        subject="order alice/g",
        found="open at 10",
        expected="good till 10",
    ),
    "an order outlives maintenance": Case(
        good=[TIMED, phase(CANCEL_ONLY, MAINTENANCE), time(11)],
        bad=phase(MAINTENANCE, CANCEL_ONLY),
        subject="order alice/g",
        found="open at 11",
        expected="good till 10",
    ),
    "an order expires early": Case(
        good=[TIMED],
        bad=time(9, cancelled("alice/g", EXPIRED)),
        subject="order alice/g",
        found="cancelled as expired",
        expected="it is 9, good till 10",
    ),
    "an order expires in maintenance": Case(
        good=[TIMED, phase(CANCEL_ONLY, MAINTENANCE)],
        bad=time(10, cancelled("alice/g", EXPIRED)),
        subject="order alice/g",
        found="cancelled as expired",
        expected="outside maintenance",
    ),
    "an order is accepted whose time is up": Case(
        good=[time(10)],
        bad=TIMED,
        subject="order alice/g",
        found="accepted at 10",
        expected="its time is up",
    ),
    "a price is outside the band": Case(
        good=[],
        bad=rests("bob", "b", BUY, 111),
        subject="price of order bob/b",
        found="111 is taken in",
        expected="100000 ppm of 100",
    ),
    "an amended price is outside the band of the last trade": Case(
        good=[OFFER, told(*TRADE), rests("bob", "b", BUY, 100)],
        bad=told(AMENDED),
        subject="price of order bob/b",
        found="113 is taken in",
        expected="100000 ppm of 102",
    ),
    "a market order trades too far away": Case(
        good=DEEP,
        bad=told(
            accepted("alice", "m", BUY, None, size=3),
            trade("bob/b100", "alice/m", 100),
            trade("bob/b103", "alice/m", 103, number=2),
        ),
        subject="price of trade 2",
        found="trades at 103",
        expected="20000 ppm from 100",
    ),
    "a stop at the market trades too far away": Case(
        good=[*DEEP, waits("bob", "s", trigger(ABOVE, 100), BUY, None)],
        bad=told(
            accepted("alice", "t", BUY, 100),
            trade("bob/b100", "alice/t", 100),
            filled("bob/b100"),
            triggered("bob/s", 100),
            trade("bob/b102", "bob/s", 105, number=2),
        ),
        subject="price of trade 2",
        found="trades at 105",
        expected="20000 ppm from 102",
    ),
    "a reduce-only maker turns a position round": Case(
        good=[held("alice", 3), REDUCING],
        bad=told(trade("alice/r", "bob/t", 100, size=4, name="P")),
        subject="order alice/r",
        found="a reduce-only sell of 4 lots trades with a position of 3",
        expected="left to reduce",
    ),
    "a reduce-only taker increases a position": Case(
        good=[held("alice", 3)],
        bad=told(
            accepted("alice", "r", BUY, 100, name="P", reduce_only=True), trade("bob/m", "alice/r", 100, name="P")
        ),
        subject="order alice/r",
        found="a reduce-only buy of 1 lots trades with a position of 3",
        expected="left to reduce",
    ),
    "one order is left": Case(
        good=[TIMED, STOP],
        bad=told(cancelled("alice/g"), step=ALL_OF_ALICE),
        subject="CancelAll of alice",
        found="alice/g",
        expected="alice/g, alice/s",
    ),
    "nothing is cancelled": Case(
        good=[STOP],
        bad=told(Rejected(reason=Reason.NOTHING_TO_CANCEL), step=ALL_OF_ALICE),
        subject="CancelAll of alice",
        found="none",
        expected="alice/s",
    ),
    "orders are cancelled in another order": Case(
        good=[TIMED, STOP],
        bad=told(cancelled("alice/s"), cancelled("alice/g"), step=ALL_OF_ALICE),
        subject="CancelAll of alice",
        found="alice/s, alice/g",
        expected="alice/g, alice/s",
    ),
    "orders of another market are cancelled": Case(
        good=[STOP, rests("alice", "p", name="P")],
        bad=told(cancelled("alice/s"), cancelled("alice/p"), step=CancelAll(client="alice", market="S")),
        subject="CancelAll of alice",
        found="alice/s, alice/p",
        expected="alice/s",
    ),
    "an order outlives its session": Case(
        good=[WATCHED],
        bad=told(DISCONNECTED, step=GONE),
        subject="DisconnectClient of alice",
        found="none",
        expected="alice/w",
    ),
    "an order goes with a session that it does not depend on": Case(
        good=[TIMED],
        bad=told(DISCONNECTED, cancelled("alice/g", LOST), step=GONE),
        subject="order alice/g",
        found="cancelled as disconnected",
        expected="asked for it",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_promise_that_is_broken_is_reported_where_it_is(name: str) -> None:
    case = CASES[name]
    watching = auditor()
    for record in case.good:
        assert watching.watch(record) == []
    violations = watching.watch(case.bad)
    assert case.subject in [violation.subject for violation in violations]
    violation = next(violation for violation in violations if violation.subject == case.subject)
    assert (violation.invariant, violation.step) == ("PRIO-2", len(case.good))
    assert case.found in violation.found
    assert case.expected in violation.expected


# The end of an auction ----------------------------------------------------------------------------------------------


def uncrossed(price: int | None, volume: int, imbalance: int) -> Record:
    event = AuctionUncrossed(
        market="S",
        price_ticks=None if price is None else PriceTicks(price),
        volume_lots=SizeLots(volume),
        imbalance_lots=SizeLots(imbalance),
    )
    return told(event, step=SetPhase(phase=OPEN))


GATHERED = [
    phase(CANCEL_ONLY, Phase.AUCTION),
    rests("alice", "1", BUY, 105, size=4),
    rests("alice", "2", BUY, 101, size=2),
    rests("bob", "3", SELL, 98, size=3),
    rests("bob", "4", SELL, 103, size=2),
]


def test_an_auction_ends_at_the_price_of_the_published_rule() -> None:
    watching = Auditor(SETUP, catalogue=(invariant_by_id("PRIO-1"),))
    for record in (*GATHERED, uncrossed(103, 4, -1)):
        assert watching.watch(record) == []


@pytest.mark.parametrize(
    ("price", "volume", "imbalance"), [(102, 3, 1), (104, 4, -1), (103, 5, -1), (103, 4, 1), (None, 0, 0)]
)
def test_another_end_of_an_auction_is_reported(price: int | None, volume: int, imbalance: int) -> None:
    watching = Auditor(SETUP, catalogue=(invariant_by_id("PRIO-1"),))
    for record in GATHERED:
        watching.watch(record)
    (violation,) = watching.watch(uncrossed(price, volume, imbalance))
    assert (violation.subject, violation.step) == ("auction of S", len(GATHERED))
    assert violation.found == f"{volume} lots at {price}, imbalance {imbalance}"
    assert violation.expected.startswith("4 lots at 103, imbalance -1")


@pytest.mark.parametrize(
    ("bids", "asks", "reference", "end"),
    [
        ({}, {9: 1}, 9, Uncrossed()),
        ({9: 1}, {10: 1}, 9, Uncrossed()),
        ({10: 1}, {10: 1}, None, Uncrossed(10, 1, 0)),
        ({10: 5}, {6: 5}, 20, Uncrossed(10, 5, 0)),
        ({10: 5}, {6: 5}, 1, Uncrossed(6, 5, 0)),
        ({10: 5, 8: 5}, {6: 5}, 7, Uncrossed(9, 5, 0)),
        ({10: 5, 8: 5}, {6: 5, 7: 4}, 1, Uncrossed(7, 9, 1)),
    ],
)
def test_the_most_volume_then_the_least_imbalance_then_the_nearest_then_the_lowest(
    bids: dict[int, int], asks: dict[int, int], reference: int | None, end: Uncrossed
) -> None:
    assert auction_price(bids, asks, reference) == end
