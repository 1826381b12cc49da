"""The goals of failovers, maintenance, reads and rates: reached by what they name, and not by what looks like it."""

from collections.abc import Iterable

import pytest

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.goals import GOALS, Progress, Watch
from holdfast_model.vocabulary import (
    AccountRead,
    ActivateRelease,
    AdvanceTime,
    Amount,
    Answer,
    AskReplica,
    Burst,
    CancelAllOrders,
    CancelOrder,
    CancelReason,
    Capability,
    Command,
    Crash,
    CrashPoint,
    Event,
    JournalRecord,
    KillReplica,
    Liquidate,
    Market,
    OrderCancelled,
    PartitionReplica,
    Phase,
    PhaseChanged,
    PromoteReplica,
    ReadAccount,
    Reason,
    Record,
    Rejected,
    Release,
    ReleaseActivated,
    ReplicaChanged,
    ReplicaPromoted,
    ReplicaStatus,
    SetPhase,
    Setup,
    SizeLots,
    Step,
    TimeAdvanced,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice", "bob"),
    releases=(Release(release="r1"), Release(release="r2"), Release(release="r3")),
    procedure=True,
)
PLAIN = Setup(assets=SETUP.assets, markets=SETUP.markets, clients=SETUP.clients)
CANCEL = CancelOrder(client="alice", order="a")
READ = ReadAccount(client="alice")


def told(step: Step, *events: Event, seq: int | None = None, resent: Iterable[JournalRecord] = ()) -> Record:
    return Record(step=step, answers=(Answer(events=events, seq=seq),), resent=tuple(resent))


def refused(step: Step, reason: Reason) -> Record:
    return told(step, Rejected(reason=reason))


def promoted(replica: str, epoch: int, *resent: JournalRecord) -> Record:
    event = ReplicaPromoted(replica=replica, epoch=epoch)
    return told(PromoteReplica(replica=replica), event, seq=epoch, resent=resent)


def asked(replica: str, command: Command, event: Event) -> Record:
    return told(AskReplica(replica=replica, commands=(command,)), event)


def phase(before: Phase, after: Phase) -> Record:
    return told(SetPhase(phase=after), PhaseChanged(before=before, after=after))


def activated(release: str) -> Record:
    return told(ActivateRelease(release=release), ReleaseActivated(release=release))


def read(seq: int) -> AccountRead:
    return AccountRead(client="alice", replica="n2", seq=seq, balances=())


def cancelled(reason: CancelReason) -> OrderCancelled:
    return OrderCancelled(client="alice", order="a", left_lots=SizeLots(1), reason=reason)


def reached(records: Iterable[Record], setup: Setup = SETUP) -> set[str]:
    auditor, watch = Auditor(setup, catalogue=()), Watch(frozenset(Capability))
    progress = Progress(auditor.told)
    found: set[str] = set()
    for record in records:
        auditor.watch(record)
        found.update(watch.reached(progress, record))
        progress.note(record)
    return found


NOT_PRIMARY = Rejected(reason=Reason.NOT_PRIMARY)
KILLED = told(KillReplica(replica="n1"), ReplicaChanged(replica="n1", status=ReplicaStatus.DOWN))
CUT_OFF = told(PartitionReplica(replica="n1"), ReplicaChanged(replica="n1", status=ReplicaStatus.PARTITIONED))
FLYING = Record(step=Crash(in_flight=CANCEL, point=CrashPoint.AFTER_JOURNAL, replica="n1"))
RESENT = JournalRecord(seq=1, epoch=1, command=CANCEL, events=(), journal_sha256="0" * 64)
DECIDED = told(AdvanceTime(time_ms=1), TimeAdvanced(time_ms=1), seq=1)
LIQUIDATE = Liquidate(client="alice", product="spot")
ABORTED = [phase(Phase.CANCEL_ONLY, Phase.MAINTENANCE), phase(Phase.MAINTENANCE, Phase.CANCEL_ONLY)]
LEFT = phase(Phase.MAINTENANCE, Phase.POST_ONLY)
SHED = Rejected(reason=Reason.OVERLOADED)


def burst(*pairs: tuple[Command, Event]) -> Record:
    return Record(
        step=Burst(commands=tuple(command for command, _ in pairs)),
        answers=tuple(Answer(events=(event,)) for _, event in pairs),
    )


@pytest.mark.parametrize(
    ("goal", "records", "alike"),
    [
        ("promoted-after-a-kill", [KILLED, promoted("n2", 2)], [CUT_OFF, promoted("n2", 2)]),
        ("no-quorum", [refused(CANCEL, Reason.NO_QUORUM)], [refused(CANCEL, Reason.NO_PRIMARY)]),
        (
            "deposed-primary-asked",
            [promoted("n2", 2), asked("n1", CANCEL, NOT_PRIMARY)],
            [promoted("n2", 2), asked("n3", CANCEL, NOT_PRIMARY), promoted("n1", 3), asked("n1", READ, read(0))],
        ),
        ("in-flight-survived-a-failover", [FLYING, promoted("n2", 2, RESENT)], [FLYING, promoted("n2", 2)]),
        ("in-flight-lost-with-the-primary", [FLYING, promoted("n2", 2)], [FLYING, promoted("n2", 2, RESENT)]),
        ("read-at-a-lagging-replica", [DECIDED, asked("n2", READ, read(0))], [DECIDED, asked("n2", READ, read(1))]),
        ("read-shed", [burst((CANCEL, NOT_PRIMARY), (READ, SHED))], [burst((READ, read(0)), (CANCEL, SHED))]),
        ("rate-limited", [refused(READ, Reason.RATE_LIMITED)], [refused(READ, Reason.OVERLOADED)]),
        ("maintenance-by-procedure", [LEFT], ABORTED),
        ("maintenance-tried-again", [*ABORTED, ABORTED[0]], [ABORTED[0], LEFT, ABORTED[0]]),
        (
            "skipped-barrier-refused",
            [refused(SetPhase(phase=Phase.POST_ONLY), Reason.NOT_LOADED)],
            [refused(LIQUIDATE, Reason.NOT_LOADED)],
        ),
        (
            "liquidation-before-the-barrier-refused",
            [refused(LIQUIDATE, Reason.NOT_LOADED)],
            [refused(LIQUIDATE, Reason.NOT_BELOW_MAINTENANCE)],
        ),
        ("release-activated", [activated("r2")], [activated("r1")]),
        ("release-rolled-back", [activated("r2"), activated("r1")], [activated("r2"), activated("r3")]),
        (
            "cancelled-by-force",
            [told(CancelAllOrders(), cancelled(CancelReason.FORCED))],
            [told(CANCEL, cancelled(CancelReason.REQUESTED))],
        ),
    ],
)
def test_a_goal_of_operations_is_reached_by_what_it_names_alone(
    goal: str, records: list[Record], alike: list[Record]
) -> None:
    assert goal in {item.id for item in GOALS}
    assert goal in reached(records)
    assert goal not in reached(alike)


def test_maintenance_without_a_procedure_is_not_maintenance_by_procedure() -> None:
    assert "maintenance-by-procedure" not in reached([LEFT], PLAIN)
