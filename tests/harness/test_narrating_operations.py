"""Operations are told in words: what is done to replicas, and what changed by it."""

from holdfast.engine import LocalEngine
from holdfast.narrating import narrate
from holdfast.setups import OPERATIONS_SETUP
from holdfast_model.vocabulary import (
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    AskReplica,
    ConfirmLoad,
    Crash,
    CrashPoint,
    CreditDeposit,
    DeployRelease,
    KillReplica,
    PauseReplica,
    Phase,
    PromoteReplica,
    ReadAccount,
    ResumeReplica,
    SetPhase,
    StartReplica,
    Step,
)

READ = ReadAccount(client="alice")
STEPS: tuple[Step, ...] = (
    CreditDeposit(client="alice", asset="USD", amount=Amount(5), transaction="t"),
    PauseReplica(replica="n2"),
    AdvanceTime(time_ms=7),
    ResumeReplica(replica="n2"),
    Crash(in_flight=READ, point=CrashPoint.BEFORE_JOURNAL, replica="n1"),
    PromoteReplica(replica="n2"),
    AskReplica(replica="n3", commands=(READ, AdvanceTime(time_ms=8))),
    StartReplica(replica="n1"),
    AnnounceMaintenance(begins_ms=7),
    SetPhase(phase=Phase.CANCEL_ONLY),
    SetPhase(phase=Phase.MAINTENANCE),
    DeployRelease(replica="n1", release="r2"),
    ConfirmLoad(),
    KillReplica(replica="n1"),
)


def test_what_is_done_to_replicas_is_told_with_what_changed() -> None:
    runner, told = narrate(LocalEngine(), OPERATIONS_SETUP, STEPS)
    assert runner.violations == []
    assert [step.step for step in told] == [
        "deposit t: 5 USD for alice",
        "n2 is paused",
        "the time is 7 ms",
        "n2 is resumed",
        "KILL n1 (before_journal) while: alice reads its balances",
        "n2 is to be promoted",
        "n3 alone is asked: alice reads its balances; the time is 8 ms",
        "n1 is started",
        "maintenance is announced for 7 ms",
        "phase to cancel_only",
        "phase to maintenance",
        "r2 is deployed on n1",
        "the load is to be confirmed",
        "KILL n1",
    ]
    assert told[1].answers == ("n2 is paused",)
    assert told[1].changes == ("replica n2: up, r1 -> paused, r1",)
    assert "replica n2: paused, r1 -> paused, r1, 1 behind" in told[2].changes
    assert told[3].changes == ("replica n2: paused, r1, 1 behind -> up, r1",)
    assert told[5].answers == ("n2 promoted, epoch 2",)
    assert {"primary: n1 -> n2", "replica n1: up, r1 -> down, r1, 1 behind"} <= {*told[5].changes}
    assert told[6].answers == ("alice at n3, cut 3: free 5 USD", "refused: not_primary")
    assert told[11].answers == ("r2 deployed on n1",)
    assert told[11].changes == ("replica n1: up, r1 -> up, r2",)
    assert told[12].answers == ("refused: replicas_differ",)
