"""PHASE-2 on histories made by hand: what maintenance, a rebuilt state and a release oblige to is owed until done."""

from hashlib import sha256
from itertools import pairwise

import pytest
from msgspec.structs import replace

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_model.findings import Violation
from holdfast_model.vocabulary import (
    ActivateRelease,
    Amount,
    AnnounceMaintenance,
    Answer,
    AuctionUncrossed,
    ChainRule,
    Command,
    ConfirmLoad,
    Crash,
    CrashPoint,
    CustodyRules,
    DeployRelease,
    Event,
    JournalRecord,
    KillReplica,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    LoadConfirmed,
    MaintenanceAnnounced,
    Market,
    Phase,
    PhaseChanged,
    PromoteReplica,
    Reconcile,
    Reconciled,
    Record,
    Release,
    ReleaseActivated,
    ReleaseDeployed,
    ReplicaChanged,
    ReplicaPromoted,
    ReplicaStatus,
    Restart,
    RestoreSnapshot,
    SetPhase,
    Setup,
    SizeLots,
    StartReplica,
    Step,
    TakeSnapshot,
    TierRule,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice", "bob"),
    releases=(Release(release="r1"), Release(release="r2")),
    procedure=True,
)
CUSTODY = replace(
    SETUP,
    custody=CustodyRules(
        tiers=(TierRule(tier="hot", signers=("s",), threshold=1),),
        chains=tuple(ChainRule(asset=asset, confirmations=1) for asset in SETUP.assets),
    ),
)
OPEN, CANCEL_ONLY, MAINTENANCE, POST_ONLY, AUCTION, HALTED = (
    Phase.OPEN,
    Phase.CANCEL_ONLY,
    Phase.MAINTENANCE,
    Phase.POST_ONLY,
    Phase.AUCTION,
    Phase.HALTED,
)
HASH = sha256(b"state").hexdigest()


def told(step: Step, *events: Event) -> Record:
    return Record(step=step, answers=(Answer(events=events),))


def through(*phases: Phase) -> list[Record]:
    """One phase after the other, the first of which is where it was."""
    return [
        told(SetPhase(phase=after), PhaseChanged(before=before, after=after)) for before, after in pairwise(phases)
    ]


def deployed(name: str) -> Record:
    return told(DeployRelease(replica=name, release="r1"), ReleaseDeployed(replica=name, release="r1"))


def restarted(name: str) -> list[Record]:
    return [
        told(KillReplica(replica=name), ReplicaChanged(replica=name, status=ReplicaStatus.DOWN)),
        told(StartReplica(replica=name), ReplicaChanged(replica=name, status=ReplicaStatus.UP)),
    ]


def promoted(name: str, epoch: int = 2) -> Record:
    return told(PromoteReplica(replica=name), ReplicaPromoted(replica=name, epoch=epoch))


def resent(command: Command, *events: Event) -> JournalRecord:
    return JournalRecord(seq=1, epoch=1, command=command, events=events, journal_sha256=HASH)


CONFIRMED = told(ConfirmLoad(), LoadConfirmed(seq=0, state_sha256=HASH))
RECONCILED = told(Reconcile(), Reconciled(balances=1))
ACTIVATED = told(ActivateRelease(release="r1"), ReleaseActivated(release="r1"))
RESTARTED = [Record(step=Crash()), Record(step=Restart())]
RESTORED = Record(step=RestoreSnapshot())
BEGUN = [
    told(AnnounceMaintenance(begins_ms=0), MaintenanceAnnounced(begins_ms=0)),
    *through(OPEN, CANCEL_ONLY, MAINTENANCE),
]
ABORTED = through(MAINTENANCE, CANCEL_ONLY)
LIQUIDATED = told(
    Liquidate(client="alice", product="spot"),
    LiquidationStepped(
        client="alice",
        product="spot",
        kind=LiquidationKind.CANCEL_ORDERS,
        equity=Amount(0),
        maintenance=Amount(1),
    ),
)


def found(setup: Setup, *records: Record) -> list[Violation]:
    auditor = Auditor(setup, catalogue=(invariant_by_id("PHASE-2"),))
    violations = [violation for record in records for violation in auditor.watch(record)]
    assert auditor.coverage()[0].checked > 0
    return violations


OWED = {
    "called off with nothing done": ([*BEGUN, *ABORTED], "maintenance began"),
    "called off after a snapshot": ([*BEGUN, Record(step=TakeSnapshot()), *ABORTED], "maintenance began"),
    "called off after a restore": ([*BEGUN, RESTORED, *ABORTED], "the state was restored"),
    "called off after one node": ([*BEGUN, deployed("n3"), *ABORTED], "r1 was deployed on n3"),
    "called off after an activation": ([*BEGUN, ACTIVATED, *ABORTED], "r1 was activated"),
    "restored after it was called off": ([*BEGUN, *ABORTED, RESTORED], "the state was restored"),
    "called off over a halt": ([*BEGUN, RESTORED, *through(MAINTENANCE, HALTED, CANCEL_ONLY)], "the state was"),
    "halted and restarted": (
        [*BEGUN, CONFIRMED, *through(MAINTENANCE, HALTED), *RESTARTED, *through(HALTED, CANCEL_ONLY)],
        "the exchange was restarted",
    ),
    "a failover after a restore": ([*BEGUN, RESTORED, promoted("n2"), *ABORTED], "the state was restored"),
    "a rebuilt replica promoted": (
        [*BEGUN, CONFIRMED, *restarted("n2"), promoted("n2"), *ABORTED],
        "n2 was started again and promoted",
    ),
    "a deployed replica promoted": (
        [*BEGUN, deployed("n2"), promoted("n2"), *ABORTED],
        "r1 was installed on n2 and promoted",
    ),
    "restored without maintenance": ([*through(OPEN, CANCEL_ONLY), RESTORED], "the state was restored"),
}


@pytest.mark.parametrize("after", [POST_ONLY, AUCTION])
@pytest.mark.parametrize(("history", "since"), OWED.values(), ids=OWED)
def test_no_order_is_taken_before_what_is_owed_was_done(history: list[Record], since: str, after: Phase) -> None:
    entered = through(CANCEL_ONLY, after)
    assert found(SETUP, *history, CONFIRMED, *entered) == []
    (violation,) = found(SETUP, *history, *entered)
    assert (violation.subject, violation.step) == (f"load barrier before {after}", len(history))
    assert violation.found.startswith(f"cancel_only is left for {after} without one since {since}")


@pytest.mark.parametrize(("history", "since"), OWED.values(), ids=OWED)
def test_with_custody_a_reconciliation_is_owed_too(history: list[Record], since: str) -> None:
    entered = through(CANCEL_ONLY, POST_ONLY)
    assert found(CUSTODY, *history, RECONCILED, CONFIRMED, *entered) == []
    (violation,) = found(CUSTODY, *history, CONFIRMED, *entered)
    assert violation.subject == "reconciliation before post_only"
    assert f"without one since {since}" in violation.found


def test_what_was_done_since_a_replica_was_started_is_done_when_it_is_promoted_and_nothing_else_is() -> None:
    started, entered = restarted("n2"), through(OPEN, CANCEL_ONLY, POST_ONLY)
    assert found(CUSTODY, *started, RECONCILED, promoted("n2"), CONFIRMED, *entered) == []
    assert found(CUSTODY, *started, RECONCILED, CONFIRMED, promoted("n2"), *entered) == []
    (violation,) = found(CUSTODY, *started, CONFIRMED, promoted("n2"), *entered)
    assert violation.subject == "reconciliation before post_only"
    assert violation.found.endswith("without one since n2 was started again and promoted")
    (violation,) = found(CUSTODY, *started, RECONCILED, promoted("n2"), *entered)
    assert violation.subject == "load barrier before post_only"


def test_what_is_owed_is_owed_where_trading_opens_too() -> None:
    history = [*BEGUN, CONFIRMED, *through(MAINTENANCE, POST_ONLY), RESTORED]
    (violation,) = found(SETUP, *history, *through(POST_ONLY, OPEN))
    assert violation.subject == "load barrier before open"
    assert found(SETUP, *history, CONFIRMED, *through(POST_ONLY, OPEN)) == []


def test_post_only_stays_owed_after_an_abort() -> None:
    (violation,) = found(SETUP, *BEGUN, CONFIRMED, *ABORTED, *through(CANCEL_ONLY, OPEN))
    assert violation.subject == "post-only phase before open"


def test_an_auction_stands_in_for_the_post_only_phase() -> None:
    uncrossed = AuctionUncrossed(market="M", price_ticks=None, volume_lots=SizeLots(0), imbalance_lots=SizeLots(0))
    opened = told(SetPhase(phase=OPEN), uncrossed, PhaseChanged(before=AUCTION, after=OPEN))
    assert found(SETUP, *BEGUN, CONFIRMED, *ABORTED, *through(CANCEL_ONLY, AUCTION), opened) == []


def test_nobody_is_liquidated_by_a_replica_that_was_rebuilt_before_it_was_promoted() -> None:
    history = [*restarted("n2"), LIQUIDATED, promoted("n2")]
    (violation,) = found(SETUP, *history, LIQUIDATED)
    assert violation.found.endswith("since n2 was started again and promoted")
    assert found(SETUP, *history, CONFIRMED, LIQUIDATED, promoted("n3", 3), LIQUIDATED) == []


def test_a_phase_that_was_entered_before_a_kill_is_not_judged_by_what_the_restart_obliges_to() -> None:
    survived = Record(
        step=Restart(),
        resent=(resent(SetPhase(phase=POST_ONLY), PhaseChanged(before=MAINTENANCE, after=POST_ONLY)),),
    )
    killed = Record(step=Crash(in_flight=SetPhase(phase=POST_ONLY), point=CrashPoint.AFTER_JOURNAL))
    assert found(SETUP, *BEGUN, CONFIRMED, killed, survived) == []
    (violation,) = found(SETUP, *BEGUN, killed, survived)
    assert violation.found.endswith("without one since maintenance began")
    (violation,) = found(SETUP, *BEGUN, CONFIRMED, killed, survived, *through(POST_ONLY, OPEN))
    assert violation.found.endswith("without one since the exchange was restarted")
