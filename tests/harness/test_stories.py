"""Stories: what their verbs do, and the scenarios that are told with them."""

import pytest

from holdfast.engine import LocalEngine
from holdfast.running import run
from holdfast.scenarios import SCENARIOS, Scenario
from holdfast.setups import CUSTODY_FROST_SETUP, CUSTODY_SETUP, SMALL_SETUP, WHOLE_SETUP
from holdfast.stories import Story
from holdfast_model.vocabulary import (
    NETWORK,
    AccountRead,
    Amount,
    BroadcastPayment,
    Bucket,
    CommitNonce,
    CreditDeposit,
    DepositCredited,
    FundHouse,
    PauseReplica,
    PaymentStatus,
    Phase,
    PhaseChanged,
    Reason,
    Rejected,
    ReportDeposit,
    Setup,
    Side,
    SubmitShare,
    SweepFunds,
    WithdrawalStatus,
)


def test_a_deposit_is_credited_at_once_without_custody_and_over_its_chain_with_it() -> None:
    for setup, kind in ((SMALL_SETUP, CreditDeposit), (CUSTODY_SETUP, ReportDeposit)):
        story = Story(setup)
        story.deposit("alice", BTC=70, USD=90)
        assert (story.amount("alice", Bucket.FREE, "BTC"), story.amount("alice", Bucket.FREE, "USD")) == (70, 90)
        assert sum(isinstance(step, kind) for step in story.runner.steps) == story.happened(DepositCredited) == 2


@pytest.mark.parametrize("setup", [CUSTODY_SETUP, CUSTODY_FROST_SETUP])
def test_a_whole_withdrawal_is_paid_out_of_the_tier_that_allows_it_after_its_time_lock(setup: Setup) -> None:
    story = Story(setup)
    story.deposit("alice", BTC=3_000)
    assert story.withdraw("alice", "w1", "BTC", 500) == "alice/w1"
    assert story.withdrawal("alice", "w1") is WithdrawalStatus.PAID
    assert (story.held_by("hot", "BTC"), story.time_ms) == (3_000 - 502, 0)
    assert not any(isinstance(event, Rejected) for event in story.told)
    # The hot tier may not pay so much, and the cold one holds nothing.
    story.approve("alice", "w2", "BTC", 600)
    assert isinstance(story.told[-1], Rejected)
    assert story.told[-1].reason is Reason.CUSTODY_SHORT
    with pytest.raises(AssertionError, match="alice/w2 was not approved"):
        story.broadcast("alice/w2")


def test_signers_say_as_many_words_as_they_are_asked_for() -> None:
    story = Story(CUSTODY_SETUP)
    story.deposit("alice", BTC=100)
    payment = story.approve("alice", "w1", "BTC", 60)
    for words, kind, status in ((1, CommitNonce, PaymentStatus.APPROVED), (2, SubmitShare, PaymentStatus.SIGNING)):
        story.sign(payment, words)
        assert isinstance(story.runner.steps[-1], kind)
        shown = story.payment(payment)
        assert shown is not None
        assert shown.status is status
    assert story.word(payment) == story.word(payment)
    story.sign(payment, 1)
    assert story.withdrawal("alice", "w1") is WithdrawalStatus.SIGNED
    story.sign(payment)
    with pytest.raises(AssertionError, match="nobody has anything to say on alice/w1"):
        story.word(payment)


def test_a_broadcast_waits_for_the_time_lock_of_its_tier() -> None:
    story = Story(CUSTODY_SETUP)
    story.deposit("alice", BTC=3_000)
    story.do(FundHouse(account=NETWORK, asset="BTC", amount=Amount(10), transaction="owner-1"))
    for number in (1, 2):
        sweep = f"s{number}"
        story.do(SweepFunds(sweep=sweep, asset="BTC", amount=Amount(400), source="hot", target="cold"))
        story.sign(f"@sweep/{sweep}")
        story.broadcast(f"@sweep/{sweep}")
        story.include(f"@sweep/{sweep}")
    assert (story.held_by("cold", "BTC"), story.time_ms) == (800, 0)
    story.withdraw("alice", "w1", "BTC", 600)
    assert (story.held_by("cold", "BTC"), story.time_ms) == (198, 60_000)
    assert story.withdrawal("alice", "w1") is WithdrawalStatus.PAID


def test_maintenance_is_announced_and_left_by_its_procedure() -> None:
    story = Story(WHOLE_SETUP)
    story.maintain()
    story.deploy("r2", "n1")
    assert [replica.release for replica in story.view.replicas] == ["r2", "r1", "r1"]
    story.phases(Phase.CANCEL_ONLY)
    story.maintain()
    story.deploy("r1")
    assert {replica.release for replica in story.view.replicas} == {"r1"}
    story.reopen()
    gone_through = [event.after for event in story.told if isinstance(event, PhaseChanged)]
    assert gone_through == [*[Phase.CANCEL_ONLY, Phase.MAINTENANCE] * 2, Phase.POST_ONLY, Phase.OPEN]
    assert not any(isinstance(event, Rejected) for event in story.told)


def test_a_read_is_a_balance_or_a_reason() -> None:
    story = Story(SMALL_SETUP)
    story.deposit("alice", BTC=70)
    read = story.read("alice", "n2")
    assert isinstance(read, AccountRead)
    assert (read.replica, [item.amount for item in read.balances]) == ("n2", [70])
    story.do(PauseReplica(replica="n2"))
    assert story.read("alice", "n2") is Reason.UNAVAILABLE
    assert story.ask("n3", story.order(Side.SELL, "alice", "a1", 1, 100)) is Reason.NOT_PRIMARY
    assert story.ask("n1", story.order(Side.SELL, "alice", "a1", 1, 100)) is None


def scenario(name: str) -> Scenario:
    """The scenario of this name."""
    return next(item for item in SCENARIOS if item.name == name)


FROST = {item.name for item in SCENARIOS if item.setup == CUSTODY_FROST_SETUP}


@pytest.mark.parametrize("item", SCENARIOS, ids=lambda item: item.name)
def test_a_scenario_has_the_same_steps_each_time_but_for_what_random_nonces_make_of_words(item: Scenario) -> None:
    first, second = item.steps(item.setup), item.steps(item.setup)
    assert list(map(type, first)) == list(map(type, second))
    assert (first == second) is (item.name not in FROST)


@pytest.mark.parametrize("name", ["failover-of-a-half-signed-withdrawal", *FROST])
def test_every_withdrawal_that_was_half_signed_at_a_failover_is_paid_once(name: str) -> None:
    item = scenario(name)
    steps = item.steps(item.setup)
    engine = LocalEngine()
    shown = run(engine, item.setup, steps)
    assert shown.violations == []
    view, records = engine.observe(0)
    assert [withdrawal.status for withdrawal in view.withdrawals] == [WithdrawalStatus.PAID] * 3
    assert sum(isinstance(record.command, BroadcastPayment) for record in records) == 6
    assert view.epoch == 4


def test_the_backlog_of_a_provider_is_credited_once() -> None:
    item = scenario("provider-outage")
    engine = LocalEngine()
    shown = run(engine, item.setup, item.steps(item.setup))
    assert shown.violations == []
    view, _ = engine.observe()
    bobs = {(item.bucket, item.asset): item.amount for item in view.balances if item.account == "bob"}
    assert bobs[Bucket.FREE, "BTC"] + bobs[Bucket.HELD, "BTC"] == 200 + 40 - 20
    assert [withdrawal.status for withdrawal in view.withdrawals] == [WithdrawalStatus.PAID] * 2
