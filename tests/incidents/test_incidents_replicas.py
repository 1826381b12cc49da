"""Incidents of nodes and of load: a primary that is silent, a risk process that is down, bursts while scaling out."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from holdfast.engine import Engine
from holdfast.setups import MARGIN_SETUP, SMALL_SETUP
from holdfast.stories import Story
from holdfast_engine.exchange import Parts
from holdfast_engine.replicas import Cluster
from holdfast_model.vocabulary import (
    AccountRead,
    Bucket,
    Burst,
    CancelOrder,
    ConfirmLoad,
    Crash,
    CrashPoint,
    HaltProduct,
    HealReplica,
    KillReplica,
    Liquidate,
    LiquidationStepped,
    OrderAccepted,
    OrderCancelled,
    PartitionReplica,
    PauseReplica,
    PromoteReplica,
    ReadAccount,
    Reason,
    Rejected,
    Restart,
    ResumeReplica,
    ResumeStage,
    SettleFunding,
    Side,
    Stage,
    StartReplica,
    TradeExecuted,
    View,
)

Told = Callable[[Engine], None]
BTC, USD = "BTC", "USD"
PERP = "BTC-PERP"


def funded(engine: Engine) -> Story:
    """Three clients with money in one spot market."""
    story = Story(SMALL_SETUP, engine)
    for client in SMALL_SETUP.clients:
        story.deposit(client, BTC=2_000, USD=20_000)
    return story


def decided(view: View) -> tuple[object, ...]:
    """All that the venue has decided."""
    return (view.seq, view.orders, view.balances, view.withdrawals, view.phase, view.epoch)


def same_everywhere(story: Story) -> bool:
    """Whether all replicas have the same log and state."""
    return len({(item.seq, item.state_sha256) for item in story.view.replicas}) == 1


def exact(story: Story, client: str, replica: str | None = None) -> bool:
    """Whether a read tells what the client has at the last cut."""
    read = story.read(client, replica)
    if not isinstance(read, AccountRead):
        return False
    view = story.view
    told = {(item.bucket, item.asset): item.amount for item in read.balances}
    return (read.seq, told) == (
        view.seq,
        {(item.bucket, item.asset): item.amount for item in view.balances if item.account == client},
    )


def test_while_a_primary_is_silent_nothing_is_acknowledged(engine: Engine) -> None:
    """tse-2020-10-01: a memory fault did not trigger the switch-over, a case that was never tested."""
    story = funded(engine)
    story.buy("alice", "a1", 5, 99)
    before = story.view
    story.do(PauseReplica(replica="n1"))
    sale, cancel = story.order(Side.SELL, "bob", "b1", 2, 99), CancelOrder(client="alice", order="a1")
    for command in (sale, cancel, story.order(Side.BUY, "carol", "c1", 1, 98)):
        assert story.refusal(command) is Reason.NO_PRIMARY
        for follower in ("n2", "n3"):
            assert story.ask(follower, command) is Reason.NOT_PRIMARY
    assert story.read("alice") is Reason.NO_PRIMARY
    assert exact(story, "alice", "n2")
    assert decided(story.view) == decided(before)
    # The switch-over, with too few and with enough; whoever was told to try again is served now, once.
    story.do(PauseReplica(replica="n3"))
    assert story.refusal(PromoteReplica(replica="n2")) is Reason.NO_QUORUM
    assert story.refusal(PromoteReplica(replica="n1")) is Reason.REPLICA_UNAVAILABLE
    story.do(ResumeReplica(replica="n3"))
    assert story.refusal(PromoteReplica(replica="n2")) is None
    assert story.refusal(sale) is None
    assert story.refusal(sale) is Reason.DUPLICATE_ORDER
    assert (story.left("alice", "a1"), story.view.primary, story.view.epoch) == (3, "n2", before.epoch + 1)
    # The old one comes back and is no primary: what is asked of it is refused, and it has what the others have.
    story.do(ResumeReplica(replica="n1"))
    for command in (cancel, story.order(Side.SELL, "bob", "b2", 3, 99)):
        assert story.ask("n1", command) is Reason.NOT_PRIMARY
    assert same_everywhere(story)
    assert exact(story, "alice", "n1")
    assert story.left("alice", "a1") == 3
    assert story.happened(TradeExecuted) == 1
    assert story.refusal(PromoteReplica(replica="n1")) is None
    assert story.refusal(cancel) is None


def test_a_primary_that_only_clients_reach_decides_nothing(engine: Engine) -> None:
    """tse-2020-10-01: the same where the silence is one of the network: clients reach the old primary throughout."""
    story = funded(engine)
    story.buy("alice", "a1", 5, 99)
    before = story.view
    story.do(PartitionReplica(replica="n1"))
    first, second = (story.order(Side.SELL, "bob", f"b{number}", 2, 99) for number in (1, 2))
    assert story.refusal(first) is Reason.NO_QUORUM
    assert story.ask("n1", first) is Reason.NO_QUORUM
    assert story.read("alice", "n1") is Reason.NO_QUORUM
    assert decided(story.view) == decided(before)
    story.do(PromoteReplica(replica="n3"))
    assert story.ask("n1", second) is Reason.NOT_PRIMARY
    assert story.read("alice", "n1") is Reason.UNAVAILABLE
    story.do(first)
    assert story.left("alice", "a1") == 3
    assert story.ask("n1", second, CancelOrder(client="alice", order="a1")) is not None
    assert story.refusal(PromoteReplica(replica="n1")) is Reason.REPLICA_UNAVAILABLE
    # Of the three two are gone now: what is left decides nothing either.
    story.do(KillReplica(replica="n2"))
    assert story.refusal(second) is Reason.NO_QUORUM
    story.do(HealReplica(replica="n1"), StartReplica(replica="n2"))
    assert same_everywhere(story)
    assert (story.left("alice", "a1"), story.view.primary) == (3, "n3")
    assert story.happened(TradeExecuted) == 1


@pytest.mark.parametrize("point", list(CrashPoint))
def test_an_order_in_flight_at_a_switch_over_is_taken_in_once(engine: Engine, point: CrashPoint) -> None:
    """tse-2020-10-01: what was under way when the primary died is asked again, and counts once."""
    story = funded(engine)
    story.buy("alice", "a1", 5, 99)
    sale = story.order(Side.SELL, "bob", "b1", 2, 99)
    story.do(Crash(in_flight=sale, point=point, replica="n1"))
    assert story.refusal(sale) is Reason.NO_PRIMARY
    story.do(PromoteReplica(replica="n2"))
    there = point is CrashPoint.AFTER_JOURNAL
    assert story.left("alice", "a1") == (3 if there else 5)
    assert story.refusal(sale) is (Reason.DUPLICATE_ORDER if there else None)
    story.do(StartReplica(replica="n1"), PromoteReplica(replica="n1"))
    assert story.refusal(sale) is Reason.DUPLICATE_ORDER
    assert (story.left("alice", "a1"), same_everywhere(story)) == (3, True)


def test_while_the_risk_process_is_down_its_product_is_halted(engine: Engine) -> None:
    """nse-2021-02-24: storage failed over, the risk system was down, and matching could have gone on without it."""
    story = Story(MARGIN_SETUP, engine)
    for client in MARGIN_SETUP.clients:
        story.deposit(client, USD=10_000, BTC=1_000)
    for market in MARGIN_SETUP.markets:
        story.mark(market.market, 100 if market.base == BTC else 40)
    story.pledge("alice", "linear", USD=1_450)
    story.pledge("bob", "linear", USD=3_000)
    story.buy("alice", "long", 100, 100, PERP)
    story.sell("bob", "short", 100, 100, PERP)
    story.buy("carol", "resting", 2, 99, "BTC-USD")
    positions = story.view.positions
    story.do(HaltProduct(product="linear", cause="the risk process is down"), PauseReplica(replica="n1"))
    order = story.order(Side.BUY, "dave", "d1", 1, 100, PERP)
    assert story.refusal(order) is Reason.NO_PRIMARY
    story.do(PromoteReplica(replica="n2"), ResumeReplica(replica="n1"))
    # Matching is up again, and the halt holds on the new primary: no new risk, and nobody is liquidated blindly.
    story.mark(PERP, 88)
    for command in (
        order,
        story.order(Side.SELL, "alice", "out", 1, 100, PERP),
        Liquidate(client="alice", product="linear"),
        SettleFunding(market=PERP, period=1, rate_ppm=100),
        story.transfer("alice", USD, 1, "linear", "spot"),
    ):
        assert story.refusal(command) is Reason.PRODUCT_HALTED
    story.sell("dave", "sold", 2, 99, "BTC-USD")
    assert [event.market for event in story.told if isinstance(event, TradeExecuted)] == [PERP, "BTC-USD"]
    # Prices grew old meanwhile: the product opens when the risk process has fresh ones, and not before.
    story.wait(61_000)
    story.do(*(ResumeStage(product="linear", stage=stage) for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY)))
    last = ResumeStage(product="linear", stage=Stage.OPEN)
    assert story.refusal(last) is Reason.MARK_UNAVAILABLE
    for name, price in ((PERP, 98), ("ETH-PERP", 40)):
        assert story.refusal(last) is Reason.MARK_UNAVAILABLE
        story.mark(name, price)
    assert story.refusal(last) is None
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.NOT_BELOW_MAINTENANCE
    assert story.view.positions == positions
    assert story.happened(LiquidationStepped) == 0


def test_under_load_and_while_scaling_out_a_read_is_exact_or_refused(engine: Engine) -> None:
    """gate-2025-04-23: overloaded while it was scaled out, a venue showed balances of zero."""
    story = Story(replace(SMALL_SETUP, procedure=True, rate_max=8), engine)
    for client in SMALL_SETUP.clients:
        story.deposit(client, BTC=500, USD=5_000)
    story.buy("alice", "a1", 5, 99)
    story.sell("bob", "b1", 3, 103)
    assert all(exact(story, "alice", replica) for replica in (None, "n1", "n2", "n3"))
    # More than there is room for: reads are shed first, then the newest orders; all are told, and nothing is done.
    rush = [story.order(Side.BUY, "carol", f"c{number}", 1, 90 + number) for number in range(6)]
    known = len(story.told)
    story.do(Burst(commands=(ReadAccount(client="alice"), *rush, CancelOrder(client="alice", order="a1"))))
    answers = story.told[known:]
    refused = [event.reason for event in answers if isinstance(event, Rejected)]
    assert refused == [Reason.OVERLOADED] * 4
    assert not any(isinstance(event, AccountRead) for event in answers)
    assert [event.order for event in answers if isinstance(event, OrderCancelled)] == ["a1"]
    assert [event.order for event in answers if isinstance(event, OrderAccepted)] == ["c0", "c1", "c2"]
    assert (story.view.ingress_depth_max, exact(story, "carol")) == (4, True)
    # What was shed may be given again; beyond its rate a client is told so, until the next second.
    story.wait()
    for order in rush[3:]:
        assert story.refusal(order) is None
    limited = [story.refusal(story.order(Side.BUY, "carol", f"more-{number}", 1, 90)) for number in range(6)]
    assert limited == [None] * 5 + [Reason.RATE_LIMITED]
    assert story.read("carol") is Reason.RATE_LIMITED
    assert story.refusal(CancelOrder(client="carol", order="c0")) is None
    assert exact(story, "alice")
    story.wait()
    assert exact(story, "carol")
    # A node that is added, cut off, or not loaded yet says that it cannot tell.
    story.do(PartitionReplica(replica="n2"), KillReplica(replica="n3"))
    assert {story.read("alice", replica) for replica in ("n2", "n3")} == {Reason.UNAVAILABLE}
    story.do(HealReplica(replica="n2"), StartReplica(replica="n3"))
    assert exact(story, "alice", "n2")
    assert exact(story, "alice", "n3")
    story.do(Crash(), Restart())
    story.wait()
    for replica in (None, "n1", "n2", "n3"):
        assert story.read("alice", replica) is Reason.UNAVAILABLE
    story.do(ConfirmLoad())
    story.wait()
    assert all(exact(story, "alice", replica) for replica in (None, "n1", "n2", "n3"))
    assert story.amount("alice", Bucket.FREE, USD) == 5_000


def in_flight_and_durable(engine: Engine) -> None:
    """The order that was in the log when the primary died."""
    test_an_order_in_flight_at_a_switch_over_is_taken_in_once(engine, CrashPoint.AFTER_JOURNAL)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            "promoted-without-a-quorum",
            test_while_a_primary_is_silent_nothing_is_acknowledged,
        ),
        ("epoch-not-raised", test_while_a_primary_is_silent_nothing_is_acknowledged),
        (
            "deposed-primary-acknowledges",
            test_while_a_primary_is_silent_nothing_is_acknowledged,
        ),
        (
            "cut-off-primary-decides",
            test_a_primary_that_only_clients_reach_decides_nothing,
        ),
        ("split-brain", test_a_primary_that_only_clients_reach_decides_nothing),
        ("retry-executed-after-failover", in_flight_and_durable),
        (
            "liquidated-while-halted",
            test_while_the_risk_process_is_down_its_product_is_halted,
        ),
        ("cut-off-replica-read", test_under_load_and_while_scaling_out_a_read_is_exact_or_refused),
        ("read-omits-what-is-held", test_under_load_and_while_scaling_out_a_read_is_exact_or_refused),
        ("reads-served-first", test_under_load_and_while_scaling_out_a_read_is_exact_or_refused),
    ],
)
def test_a_planted_fault_in_a_story_of_nodes_and_load_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)


class _GoesOnWithoutItsPrimary(Cluster):
    """Whoever else is up decides while the primary is silent, and is not made the primary of a new epoch."""

    def closed_for(self) -> Reason | None:
        return None


def test_where_somebody_decides_while_the_primary_is_silent_the_story_does_not_get_to_its_end(
    told_in_vain: Callable[[Parts, Told], None],
) -> None:
    told_in_vain(
        Parts(cluster=_GoesOnWithoutItsPrimary),
        test_while_a_primary_is_silent_nothing_is_acknowledged,
    )
