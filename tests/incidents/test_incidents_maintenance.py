"""Incidents of maintenance: an old snapshot restored, nodes with different releases, aborts, and what is loaded."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from holdfast.engine import Engine
from holdfast.scenarios import backpack_after, backpack_before, backpack_maintenance
from holdfast.setups import CUSTODY_FROST_SETUP, CUSTODY_SETUP, MARGIN_SETUP, SMALL_SETUP, WHOLE_SETUP
from holdfast.stories import Story
from holdfast_model.vocabulary import (
    SPOT,
    AccountRead,
    ActivateRelease,
    Amount,
    Bucket,
    CancelAllOrders,
    CancelOrder,
    ConfirmLoad,
    Crash,
    DeployRelease,
    HaltProduct,
    JournalRecord,
    KillReplica,
    Liquidate,
    LiquidationStepped,
    LoadConfirmed,
    MarketTick,
    OrderCancelled,
    Payment,
    PaymentBroadcast,
    PaymentStatus,
    Phase,
    PromoteReplica,
    Reason,
    Reconcile,
    Rejected,
    Release,
    Restart,
    RestoreSnapshot,
    SetPhase,
    Setup,
    StartReplica,
    TakeSnapshot,
    TradeExecuted,
    View,
    WithdrawalStatus,
)

Told = Callable[[Engine], None]
BTC, USD = "BTC", "USD"
PERP = "BTC-PERP"

assert WHOLE_SETUP.custody is not None
assert CUSTODY_FROST_SETUP.custody is not None
WHOLE_FROST_SETUP = replace(
    WHOLE_SETUP, custody=replace(WHOLE_SETUP.custody, tiers=CUSTODY_FROST_SETUP.custody.tiers)
)
RELEASES = (
    Release(release="r1"),
    Release(release="r2", tick_amounts=(MarketTick(market="BTC-USD", tick_amount=Amount(2)),)),
    Release(release="r3"),
)
"""The second changes what a tick is worth, the third nothing."""


def records(story: Story) -> tuple[JournalRecord, ...]:
    """The whole history."""
    _, found = story.runner.engine.observe(0)
    return found


def refusals(story: Story, tell: Callable[[], object]) -> list[Reason]:
    """Why anything was refused in a part of a story."""
    known = len(story.told)
    tell()
    return [event.reason for event in story.told[known:] if isinstance(event, Rejected)]


def balances(view: View, *, without: str = "") -> dict[tuple[str, Bucket, str], int]:
    """All balances but those of one account."""
    return {(item.account, item.bucket, item.asset): item.amount for item in view.balances if item.account != without}


def payment(story: Story) -> Payment:
    """The payment of alice's withdrawal."""
    found = story.payment("alice/w1")
    assert found is not None
    return found


@pytest.mark.parametrize("setup", [WHOLE_SETUP, WHOLE_FROST_SETUP])
def test_after_a_maintenance_that_goes_wrong_every_client_finds_what_it_had(engine: Engine, setup: Setup) -> None:
    """backpack-2025-07-03: closed orders were back, positions flipped, a debt grown, a withdrawal another asset's."""
    story = Story(setup, engine)
    assert refusals(story, lambda: backpack_before(story)) == []
    before, history = story.view, records(story)
    assert {(item.client, item.order, item.left_lots) for item in before.orders} == {
        ("alice", "a1", 1),
        ("alice", "a3", 4),
        ("carol", "c2", 2),
        ("carol", "c3", 2),
        ("carol", "c4", 2),
    }
    assert [(item.client, item.position_lots) for item in before.positions] == [("alice", 20), ("bob", -20)]
    assert story.amount("bob", Bucket.BORROWED, USD) == -503
    assert payment(story).status is PaymentStatus.SIGNING
    assert [item.amount for item in before.deposits] == [70]

    # Node by node, aborted, with a node cut off, restored from the old snapshot: nothing is skipped, nothing is lost.
    assert refusals(story, lambda: backpack_maintenance(story)) == [
        Reason.RELEASE_DIFFERS,
        Reason.REPLICAS_DIFFER,
        Reason.NOT_LOADED,
        Reason.NOT_RECONCILED,
    ]
    after = story.view
    assert (after.phase, after.release) == (Phase.POST_ONLY, "r2")
    assert len({(item.seq, item.state_sha256, item.release) for item in after.replicas}) == 1
    left = tuple(item for item in before.orders if item.order not in {"c2", "c3"})
    assert after.orders == left
    assert (after.stops, after.positions, after.transfers) == (before.stops, before.positions, before.transfers)
    assert (after.withdrawals, after.payments, after.deposits) == (
        before.withdrawals,
        before.payments,
        before.deposits,
    )
    assert balances(after, without="carol") == balances(before, without="carol")
    assert story.amount("carol", Bucket.FREE, BTC) == balances(before)["carol", Bucket.FREE, BTC] + 2 * 2 * 10
    assert records(story)[: len(history)] == history

    # Back in trading: what cannot be done is said, each read is exact at the cut that it names, the backlog is told.
    assert refusals(story, lambda: backpack_after(story)) == [
        Reason.PHASE_FORBIDS,
        *[Reason.OVERLOADED] * 3,
        Reason.PROVIDER_DOWN,
        Reason.PROVIDER_DOWN,
        Reason.DUPLICATE_DEPOSIT,
        Reason.DUPLICATE_DEPOSIT,
        Reason.AMOUNT_ABOVE_DEBT,
    ]
    reads = [event for event in story.told if isinstance(event, AccountRead)]
    assert len(reads) == 2
    lagging, current = reads
    assert (lagging.replica, current.replica, current.seq - lagging.seq) == ("n2", "n3", 2)
    held = [
        sum(item.amount for item in read.balances if (item.bucket, item.asset) == (Bucket.HELD, USD))
        for read in (lagging, current)
    ]
    assert held == [0, 92 + 93]
    # A trade at 92 triggers the stop that waited at 96 all the while.
    assert (story.view.stops, story.left("dave", "stop")) == ((), 1)
    assert story.withdrawal("alice", "w1") is WithdrawalStatus.PAID
    sent = [event.intent for event in story.told if isinstance(event, PaymentBroadcast)]
    assert [(item.asset, item.amount, item.destination) for item in sent] == [(BTC, 104, "alice-elsewhere")]
    assert story.withdrawal("carol", "w2") is WithdrawalStatus.REFUNDED
    assert story.held_by("hot", BTC) == 4 * 500 + 70 - 106
    assert story.view.transfers == ()
    assert story.amount("dave@island", Bucket.COLLATERAL, USD) == 100
    assert story.view.positions == ()
    assert story.amount("bob", Bucket.BORROWED, USD) == 0
    assert story.happened(LiquidationStepped) == 0
    assert records(story)[: len(history)] == history


def procedural(engine: Engine) -> Story:
    """Three clients with money in one spot market, with releases and maintenance by procedure."""
    story = Story(replace(SMALL_SETUP, releases=RELEASES, procedure=True), engine)
    for client in SMALL_SETUP.clients:
        story.deposit(client, BTC=2_000, USD=20_000)
    return story


def test_after_aborts_and_retries_a_forced_cancel_releases_each_hold_once(
    engine: Engine,
) -> None:
    """kraken-2018-01-11: a two-hour migration took two days, and all orders were cancelled."""
    story = procedural(engine)
    free = balances(story.view)
    story.buy("alice", "a1", 5, 99)
    story.buy("alice", "a2", 2, 98)
    story.sell("bob", "b1", 4, 103)
    story.do(TakeSnapshot(), HaltProduct(product=SPOT, cause="the migration begins"))
    orders, held = story.view.orders, balances(story.view)
    assert (len(orders), story.refusal(CancelAllOrders(market="BTC-USD"))) == (3, Reason.PRODUCT_HALTED)
    assert story.refusal(SetPhase(phase=Phase.MAINTENANCE)) is Reason.TRANSITION_ILLEGAL
    story.phases(Phase.CANCEL_ONLY)
    assert story.refusal(SetPhase(phase=Phase.MAINTENANCE)) is Reason.NOT_ANNOUNCED
    for attempt in range(3):
        story.maintain()
        story.deploy("r3", *("n1", "n2", "n3")[: attempt + 1])
        story.do(RestoreSnapshot())
        # Only the last attempt gets to the end of the deployment; the others are given up, and nothing has moved.
        done = attempt == 2
        assert story.refusal(ActivateRelease(release="r3")) == (None if done else Reason.RELEASE_DIFFERS)
        if not done:
            assert story.refusal(ConfirmLoad()) is Reason.REPLICAS_DIFFER
            assert story.refusal(SetPhase(phase=Phase.POST_ONLY)) is Reason.NOT_LOADED
        story.phases(Phase.CANCEL_ONLY)
        assert story.view.phase is Phase.CANCEL_ONLY
        assert (story.view.orders, balances(story.view)) == (orders, held)
        # The announcement was used up with the attempt.
        assert story.refusal(SetPhase(phase=Phase.MAINTENANCE)) is Reason.NOT_ANNOUNCED
    story.resume(SPOT)
    story.do(CancelAllOrders())
    assert [event.order for event in story.told if isinstance(event, OrderCancelled)] == ["a1", "a2", "b1"]
    assert story.view.orders == ()
    assert balances(story.view) == free
    assert story.refusal(CancelAllOrders()) is Reason.NOTHING_TO_CANCEL
    assert story.refusal(CancelOrder(client="alice", order="a1")) is Reason.ORDER_NOT_OPEN
    story.maintain()
    story.reopen()
    assert story.view.phase is Phase.OPEN
    story.buy("carol", "c1", 1, 103)
    assert story.happened(TradeExecuted) == 0


def test_a_new_scale_at_one_node_prices_nothing_before_it_is_activated(
    engine: Engine,
) -> None:
    """coinbase-precision-2021-11-19: a new precision reached services at different times: 100 times too much."""
    # By the procedure nothing would open with nodes that differ; here nobody follows one.
    story = Story(replace(CUSTODY_SETUP, releases=RELEASES, procedure=False), engine)
    for client in ("alice", "bob"):
        story.deposit(client, BTC=500, USD=5_000)
        assert (story.amount(client, Bucket.FREE, BTC), story.amount(client, Bucket.FREE, USD)) == (500, 5_000)
    story.buy("alice", "a1", 3, 100)
    story.maintain()
    story.deploy("r2", "n3")
    assert story.refusal(ActivateRelease(release="r2")) is Reason.RELEASE_DIFFERS
    story.phases(Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN)
    # Trading goes on with one node of another scale: a tick is what it was, on each of them.
    story.sell("bob", "b1", 2, 100)
    story.do(KillReplica(replica="n3"), StartReplica(replica="n3"))
    assert [item.release for item in story.view.replicas] == ["r1", "r1", "r2"]
    assert len({item.state_sha256 for item in story.view.replicas}) == 1
    bought = (story.amount("alice", Bucket.FREE, BTC), spent(story, "alice"))
    assert bought == (520, 201)
    assert story.refusal(PromoteReplica(replica="n3")) is Reason.RELEASE_DIFFERS
    # What rests is in the old ticks, so the new scale is not activated over it.
    story.maintain()
    story.deploy("r2", "n1", "n2")
    assert story.refusal(ActivateRelease(release="r2")) is Reason.ORDERS_OPEN
    assert (story.view.release, story.left("alice", "a1")) == ("r1", 1)
    story.phases(Phase.CANCEL_ONLY)
    story.do(CancelAllOrders())
    assert spent(story, "alice") == 201
    story.maintain()
    assert story.refusal(ActivateRelease(release="r2")) is None
    story.reopen()
    # Half as many ticks, each worth twice as much: the same trade for the same money.
    story.buy("alice", "a2", 2, 50)
    story.sell("bob", "b2", 2, 50)
    assert (story.amount("alice", Bucket.FREE, BTC), spent(story, "alice")) == (540, 402)
    story.do(Crash(), Restart())
    assert (story.amount("alice", Bucket.FREE, BTC), spent(story, "alice")) == (540, 402)
    story.do(ConfirmLoad())
    assert story.refusal(Reconcile()) is None
    story.deposit("bob", BTC=7)
    assert story.held_by("hot", BTC) == 1_007


def spent(story: Story, client: str) -> int:
    """How much less a client has of 5,000 dollars."""
    return 5_000 - story.amount(client, Bucket.FREE, USD) - story.amount(client, Bucket.HELD, USD)


def test_a_node_that_was_left_out_of_a_deployment_does_no_harm(engine: Engine) -> None:
    """knight-2012-08-01: seven of eight servers were deployed, and on the eighth a reused flag revived old code."""
    story = procedural(engine)
    story.buy("alice", "a1", 5, 99)
    story.buy("alice", "a2", 2, 98)
    story.maintain()
    story.deploy("r3", "n1", "n2")
    assert story.refusal(ActivateRelease(release="r3")) is Reason.RELEASE_DIFFERS
    assert story.refusal(ConfirmLoad()) is Reason.REPLICAS_DIFFER
    assert story.refusal(SetPhase(phase=Phase.POST_ONLY)) is Reason.NOT_LOADED
    assert story.refusal(PromoteReplica(replica="n2")) is Reason.RELEASE_DIFFERS
    # Aborted with the nodes in different states: the orders of one client mean the same on all of them.
    story.phases(Phase.CANCEL_ONLY)
    story.do(CancelOrder(client="alice", order="a1"))
    assert len({(item.seq, item.state_sha256) for item in story.view.replicas}) == 1
    # What the deployment owes is owed after the abort too: nothing opens before the nodes agree.
    assert story.refusal(SetPhase(phase=Phase.POST_ONLY)) is Reason.NOT_LOADED
    assert story.refusal(ConfirmLoad()) is Reason.REPLICAS_DIFFER
    story.maintain()
    story.deploy("r3", "n3")
    assert story.refusal(ActivateRelease(release="r3")) is None
    story.reopen()
    story.sell("bob", "b1", 3, 98)
    assert [(event.price_ticks, event.size_lots) for event in story.told if isinstance(event, TradeExecuted)] == [
        (98, 2)
    ]
    story.do(PromoteReplica(replica="n3"))
    assert (story.view.phase, story.view.primary) == (Phase.OPEN, "n3")
    assert story.left("bob", "b1") == 1
    assert story.refusal(CancelOrder(client="alice", order="a1")) is Reason.ORDER_NOT_OPEN
    # A rollback of the code is the release before, installed and activated as any other.
    story.maintain()
    assert story.refusal(DeployRelease(replica="n1", release="r9")) is Reason.UNKNOWN_RELEASE
    story.deploy("r1")
    assert story.refusal(ActivateRelease(release="r1")) is None
    story.reopen()
    assert story.left("bob", "b1") == 1


def test_nobody_is_liquidated_or_told_a_balance_before_the_load_is_confirmed(engine: Engine) -> None:
    """paradex-2026-01-19: after a restart with a partial load the liquidations ran before anybody had looked."""
    story = Story(replace(MARGIN_SETUP, procedure=True), engine)
    for client in MARGIN_SETUP.clients:
        story.deposit(client, USD=5_000)
    for market in MARGIN_SETUP.markets:
        story.mark(market.market, 100 if market.base == BTC else 40)
    story.pledge("alice", "linear", USD=1_450)
    story.pledge("bob", "linear", USD=3_000)
    story.buy("alice", "long", 100, 100, PERP)
    story.sell("bob", "short", 100, 100, PERP)
    story.do(TakeSnapshot())
    story.mark(PERP, 95)
    positions, held = story.view.positions, balances(story.view)
    step = Liquidate(client="alice", product="linear")
    assert story.refusal(step) is Reason.NOT_BELOW_MAINTENANCE
    story.do(Crash(), Restart())
    # A mark that is wrong while the state is being loaded liquidates nobody, and no balance is made up.
    story.mark(PERP, 88)
    for client in MARGIN_SETUP.clients:
        assert story.refusal(replace(step, client=client)) is Reason.NOT_LOADED
        assert story.read(client) is Reason.UNAVAILABLE
    story.do(KillReplica(replica="n3"))
    assert story.refusal(ConfirmLoad()) is Reason.REPLICAS_DIFFER
    assert story.refusal(step) is Reason.NOT_LOADED
    story.mark(PERP, 95)
    story.do(StartReplica(replica="n3"))
    assert [type(event) for event in story.do(ConfirmLoad())] == [LoadConfirmed]
    assert story.refusal(step) is Reason.NOT_BELOW_MAINTENANCE
    assert (story.view.positions, balances(story.view)) == (positions, held)
    # The same after a restore, and in maintenance, which is not left without the barrier.
    story.maintain()
    story.do(RestoreSnapshot())
    assert story.refusal(SetPhase(phase=Phase.POST_ONLY)) is Reason.NOT_LOADED
    assert story.refusal(SetPhase(phase=Phase.OPEN)) is Reason.TRANSITION_ILLEGAL
    story.reopen()
    assert story.view.phase is Phase.OPEN
    assert (story.view.positions, balances(story.view)) == (positions, held)
    read = story.read("alice")
    assert isinstance(read, AccountRead)
    assert {(item.bucket, item.asset): item.amount for item in read.balances} == {
        (bucket, asset): amount for (account, bucket, asset), amount in held.items() if account == "alice"
    }
    assert story.happened(LiquidationStepped) == 0
    # Who really falls below is liquidated once everything is there.
    story.mark(PERP, 88)
    assert story.refusal(step) is None
    assert story.happened(LiquidationStepped) == 1


def with_structural_signing(engine: Engine) -> None:
    """The whole sequence of Backpack."""
    test_after_a_maintenance_that_goes_wrong_every_client_finds_what_it_had(engine, WHOLE_SETUP)


def with_frost(engine: Engine) -> None:
    """The same with real signatures."""
    test_after_a_maintenance_that_goes_wrong_every_client_finds_what_it_had(engine, WHOLE_FROST_SETUP)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("stale-snapshot-restore", with_frost),
        ("nonces-forgotten-by-restore", with_frost),
        ("intent-changed-after-approval", with_frost),
        ("maintenance-left-unconfirmed", with_structural_signing),
        ("read-zero-under-load", with_structural_signing),
        ("lagging-read-stamped-as-current", with_structural_signing),
        (
            "maintenance-not-announced",
            test_after_aborts_and_retries_a_forced_cancel_releases_each_hold_once,
        ),
        (
            "announcement-serves-twice",
            test_after_aborts_and_retries_a_forced_cancel_releases_each_hold_once,
        ),
        (
            "forced-cancel-leaves-holds",
            test_after_aborts_and_retries_a_forced_cancel_releases_each_hold_once,
        ),
        ("release-in-force-before-activation", test_a_new_scale_at_one_node_prices_nothing_before_it_is_activated),
        ("node-skipped-in-deployment", test_a_node_that_was_left_out_of_a_deployment_does_no_harm),
        ("load-barrier-ignored", test_nobody_is_liquidated_or_told_a_balance_before_the_load_is_confirmed),
    ],
)
def test_a_planted_fault_in_a_story_of_maintenance_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)
