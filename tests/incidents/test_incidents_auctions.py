"""Incidents of opening and closing: cancels in the cross, auctions that never ran."""

from collections.abc import Callable

import pytest

from holdfast.engine import Engine
from holdfast.setups import AUCTION_SETUP
from holdfast.stories import Story
from holdfast_engine.exchange import Parts
from holdfast_engine.faults import orders
from holdfast_model.vocabulary import (
    SPOT,
    AuctionUncrossed,
    Burst,
    CancelOrder,
    Crash,
    CrashPoint,
    HaltProduct,
    HealReplica,
    KillReplica,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    PartitionReplica,
    PauseReplica,
    Phase,
    PromoteReplica,
    Reason,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    ResumeStage,
    SetPhase,
    Side,
    Stage,
    StartReplica,
    TakeSnapshot,
    TradeExecuted,
)

Told = Callable[[Engine], None]
ORDER_FAULTS = {fault.name: fault for fault in orders.FAULTS}
BTC = "BTC-USD"


def phase(story: Story) -> Phase:
    """The phase now."""
    return story.view.phase


def closed(engine: Engine) -> Story:
    """Three clients with money; the venue opens and closes through an auction, and is closed."""
    story = Story(AUCTION_SETUP, engine)
    for client in AUCTION_SETUP.clients:
        story.deposit(client, BTC=5_000, ETH=5_000, USD=5_000)
    assert phase(story) is Phase.CLOSED
    return story


def crossing(story: Story, session: str) -> None:
    """Orders that cross: two clients want 6 lots each at 101, one offers 4 at 99."""
    story.buy("alice", f"{session}-bid", 6, 101)
    story.buy("carol", f"{session}-later", 6, 101)
    story.sell("bob", f"{session}-ask", 4, 99)


def uncrossed(story: Story) -> list[tuple[str, int | None, int]]:
    """What was published of each auction in the market, price and volume, that had any orders."""
    return [
        (event.market, event.price_ticks, event.volume_lots)
        for event in story.told
        if isinstance(event, AuctionUncrossed) and event.price_ticks is not None
    ]


def test_a_storm_of_cancels_in_the_cross_leaves_no_order_without_an_outcome(engine: Engine) -> None:
    """nasdaq-facebook-2012-05-18: cancels made the validation loop, a stale engine took over, orders were stuck."""
    story = closed(engine)
    story.do(SetPhase(phase=Phase.AUCTION))
    for number in range(6):
        story.buy("alice", f"a{number}", 2, 100 + number)
        story.sell("bob", f"b{number}", 2, 98 + number)
    story.do(PauseReplica(replica="n2"))
    storm = [
        CancelOrder(client=client, order=f"{client[0]}{number}") for number in (5, 0) for client in ("alice", "bob")
    ]
    story.do(Burst(commands=(*storm, story.order(Side.BUY, "carol", "c0", 1, 103), storm[0])))
    story.do(KillReplica(replica="n1"), ResumeReplica(replica="n2"))
    assert story.refusal(PromoteReplica(replica="n2")) is Reason.REPLICA_STALE
    story.do(PromoteReplica(replica="n3"))
    # While the validation is at fault nobody can go round it: a crossed book is not opened without its cross.
    story.do(HaltProduct(product=SPOT, cause="the validation of the cross does not end"))
    assert story.refusal(SetPhase(phase=Phase.OPEN)) is Reason.TRANSITION_ILLEGAL
    for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN):
        story.do(ResumeStage(product=SPOT, stage=stage))
    story.do(StartReplica(replica="n1"), PromoteReplica(replica="n1"))
    story.do(SetPhase(phase=Phase.OPEN))
    assert uncrossed(story) == [(BTC, 102, 7)]
    outcomes = [event for event in story.told if isinstance(event, OrderFilled | OrderCancelled)]
    ended = {(event.client, event.order) for event in outcomes}
    resting = {(order.client, order.order) for order in story.view.orders}
    accepted = {(event.client, event.order) for event in story.told if isinstance(event, OrderAccepted)}
    assert len(ended) == len(outcomes)
    assert not ended & resting
    assert ended | resting == accepted
    assert len(accepted) == 13


def test_trading_does_not_open_without_its_auction_whichever_replica_opens_it(engine: Engine) -> None:
    """nyse-2023-01-24: a backup that was left running made symbols skip their auction; trades were busted."""
    story = closed(engine)
    story.do(PromoteReplica(replica="n2"))
    assert phase(story) is Phase.CLOSED
    for shortcut in (Phase.OPEN, Phase.POST_ONLY, Phase.MAINTENANCE):
        assert story.refusal(SetPhase(phase=shortcut)) is Reason.TRANSITION_ILLEGAL
    early = story.order(Side.BUY, "alice", "early", 1, 150)
    assert story.refusal(early) is Reason.PHASE_FORBIDS
    story.do(SetPhase(phase=Phase.HALTED))
    assert story.refusal(early) is Reason.PHASE_FORBIDS
    story.do(SetPhase(phase=Phase.CANCEL_ONLY), SetPhase(phase=Phase.POST_ONLY))
    assert story.refusal(SetPhase(phase=Phase.OPEN)) is Reason.TRANSITION_ILLEGAL
    story.do(SetPhase(phase=Phase.AUCTION))
    crossing(story, "open")
    assert story.happened(TradeExecuted) == 0
    story.do(SetPhase(phase=Phase.OPEN))
    assert uncrossed(story) == [(BTC, 100, 4)]
    assert [event.price_ticks for event in story.told if isinstance(event, TradeExecuted)] == [100]


def test_a_standby_that_was_left_running_since_the_day_before_does_not_open_the_market(engine: Engine) -> None:
    """nyse-2023-01-24: the backup was left running, and what it knew of the day was that it was open already."""
    story = closed(engine)
    story.do(SetPhase(phase=Phase.AUCTION), SetPhase(phase=Phase.OPEN))
    # The standby is cut off while the market is open, and the day ends without it.
    story.do(PartitionReplica(replica="n3"))
    story.do(SetPhase(phase=Phase.AUCTION), SetPhase(phase=Phase.CLOSED))
    story.do(SetPhase(phase=Phase.AUCTION))
    crossing(story, "next")
    early = story.order(Side.BUY, "alice", "early", 1, 150)
    assert story.ask("n3", early, SetPhase(phase=Phase.OPEN)) is Reason.NOT_PRIMARY
    lag = {item.replica: item.seq for item in story.view.replicas}
    assert lag["n1"] - lag["n3"] == 6
    # The primary fails at the open. The standby is reached again, and is not let lead with what it lacks.
    story.do(KillReplica(replica="n1"), HealReplica(replica="n3"))
    assert story.refusal(PromoteReplica(replica="n3")) is Reason.REPLICA_STALE
    assert story.ask("n3", early) is Reason.NOT_PRIMARY
    story.do(PromoteReplica(replica="n2"))
    assert phase(story) is Phase.AUCTION
    assert story.happened(TradeExecuted) == 0
    story.do(SetPhase(phase=Phase.OPEN))
    assert uncrossed(story) == [(BTC, 100, 4)]
    # It has caught up with the one that leads now, and could lead itself: the auction is not run again.
    story.do(PromoteReplica(replica="n3"))
    assert (phase(story), story.view.primary) == (Phase.OPEN, "n3")
    assert uncrossed(story) == [(BTC, 100, 4)]


def test_a_restart_before_the_close_does_not_lose_the_closing_auction(engine: Engine) -> None:
    """euronext-2020-10-19: after a persistence bug and a restart the closing auction never ran."""
    story = closed(engine)
    story.do(SetPhase(phase=Phase.AUCTION), SetPhase(phase=Phase.OPEN))
    story.do(TakeSnapshot())
    story.do(SetPhase(phase=Phase.AUCTION))
    crossing(story, "close")
    story.do(Crash(in_flight=SetPhase(phase=Phase.CLOSED), point=CrashPoint.TORN_JOURNAL), Restart())
    assert phase(story) is Phase.AUCTION
    story.do(RestoreSnapshot(), PromoteReplica(replica="n2"))
    gathered = [("close-bid", 6), ("close-later", 6), ("close-ask", 4)]
    assert [(order.order, order.left_lots) for order in story.view.orders] == gathered
    story.do(SetPhase(phase=Phase.CLOSED))
    assert uncrossed(story) == [(BTC, 100, 4)]
    assert story.left("alice", "close-bid") == 2
    assert story.refusal(story.order(Side.SELL, "bob", "late", 2, 101)) is Reason.PHASE_FORBIDS
    story.do(Crash(), Restart())
    assert phase(story) is Phase.CLOSED
    assert story.happened(TradeExecuted) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("stale-replica-promoted", test_a_storm_of_cancels_in_the_cross_leaves_no_order_without_an_outcome),
        ("order-accepted-while-halted", test_trading_does_not_open_without_its_auction_whichever_replica_opens_it),
        ("stale-snapshot-restore", test_a_restart_before_the_close_does_not_lose_the_closing_auction),
        ("last-record-lost", test_a_restart_before_the_close_does_not_lose_the_closing_auction),
    ],
)
def test_a_planted_fault_at_the_open_or_close_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("auction-skipped-at-open", test_trading_does_not_open_without_its_auction_whichever_replica_opens_it),
        ("auction-never-uncrossed", test_a_restart_before_the_close_does_not_lose_the_closing_auction),
        ("uncrossed-at-the-wrong-price", test_trading_does_not_open_without_its_auction_whichever_replica_opens_it),
        ("uncrossed-newest-first", test_a_restart_before_the_close_does_not_lose_the_closing_auction),
    ],
)
def test_with_a_planted_fault_of_auctions_the_story_does_not_get_to_its_end(
    fault: str, told: Told, told_in_vain: Callable[[Parts, Told], None]
) -> None:
    told_in_vain(ORDER_FAULTS[fault].parts, told)
