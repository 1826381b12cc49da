"""REPL-1, FENCE-1, PHASE-2 in maintenance, MAINT-1, SURGE-1 and READ-1 on histories made by hand.

Each breaks one thing at its last step, after steps in which the same thing is done as it should be.
"""

from hashlib import sha256
from typing import Any

import pytest

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_model.vocabulary import (
    OUTSIDE,
    AccountBalance,
    AccountRead,
    ActivateRelease,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    Answer,
    AskReplica,
    Bucket,
    Burst,
    CancelAll,
    CancelOrder,
    CauseKind,
    ChainRule,
    ClientDisconnected,
    Command,
    ConfirmLoad,
    Crash,
    CrashPoint,
    CreditDeposit,
    CustodyRules,
    DeployRelease,
    EntryPosted,
    Event,
    JournalRecord,
    KillReplica,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    LoadConfirmed,
    MaintenanceAnnounced,
    Market,
    MarketTick,
    PartitionReplica,
    PauseReplica,
    Phase,
    PhaseChanged,
    PlaceOrder,
    Posting,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    Reason,
    Reconcile,
    Reconciled,
    Record,
    Rejected,
    Release,
    ReleaseActivated,
    ReleaseDeployed,
    Replica,
    ReplicaChanged,
    ReplicaPromoted,
    ReplicaStatus,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    StartReplica,
    Step,
    TakeSnapshot,
    TierRule,
    TimeAdvanced,
    View,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice", "bob"),
    ingress_capacity=2,
    releases=(
        Release(release="r1"),
        Release(release="r2", tick_amounts=(MarketTick(market="M", tick_amount=Amount(2)),)),
    ),
    procedure=True,
    rate_max=2,
)
CUSTODY = Setup(
    assets=SETUP.assets,
    markets=SETUP.markets,
    clients=SETUP.clients,
    procedure=True,
    custody=CustodyRules(
        tiers=(TierRule(tier="hot", signers=("s",), threshold=1),),
        chains=(ChainRule(asset="BTC", confirmations=1), ChainRule(asset="USD", confirmations=1)),
    ),
)
FREE, HELD = Bucket.FREE, Bucket.HELD
UP, PAUSED, PARTITIONED, DOWN = (
    ReplicaStatus.UP,
    ReplicaStatus.PAUSED,
    ReplicaStatus.PARTITIONED,
    ReplicaStatus.DOWN,
)
OVERLOADED, LIMITED, NOT_PRIMARY = (
    Rejected(reason=reason) for reason in (Reason.OVERLOADED, Reason.RATE_LIMITED, Reason.NOT_PRIMARY)
)
TICK = AnnounceMaintenance(begins_ms=0)


# Words --------------------------------------------------------------------------------------------------------------


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def told(*events: Event, step: Step = TICK, seq: int | None = None) -> Record:
    return Record(step=step, answers=(Answer(events=events, seq=seq),))


def decided(*seqs: int) -> list[Record]:
    """Commands that were decided, of which only the numbers matter."""
    return [told(TimeAdvanced(time_ms=seq), step=AdvanceTime(time_ms=seq), seq=seq) for seq in seqs]


def changed(replica: str, status: ReplicaStatus) -> Record:
    steps: dict[ReplicaStatus, Step] = {
        UP: StartReplica(replica=replica),
        PAUSED: PauseReplica(replica=replica),
        PARTITIONED: PartitionReplica(replica=replica),
        DOWN: KillReplica(replica=replica),
    }
    return told(ReplicaChanged(replica=replica, status=status), step=steps[status])


def promoted(replica: str, epoch: int, seq: int) -> Record:
    return told(ReplicaPromoted(replica=replica, epoch=epoch), step=PromoteReplica(replica=replica), seq=seq)


def asked(replica: str, *pairs: tuple[Command, Answer]) -> Record:
    return Record(
        step=AskReplica(replica=replica, commands=tuple(command for command, _ in pairs)),
        answers=tuple(answer for _, answer in pairs),
    )


def place(order: str, client: str = "alice") -> PlaceOrder:
    return PlaceOrder(
        client=client,
        order=order,
        market="M",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(10),
    )


def cancel(order: str) -> CancelOrder:
    return CancelOrder(client="alice", order=order)


def paid(client: str, asset: str, amount: int, seq: int) -> Record:
    """A deposit of which only the entry matters."""
    lines = ((OUTSIDE, FREE, -amount), (client, FREE, amount))
    entry = EntryPosted(
        cause_kind=CauseKind.DEPOSIT,
        cause="t",
        postings=tuple(
            Posting(account=account, bucket=bucket, asset=asset, amount=Amount(moved))
            for account, bucket, moved in lines
        ),
    )
    command = CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=f"t{seq}")
    return told(entry, step=command, seq=seq)


def read(replica: str, seq: int, *balances: tuple[str, int], client: str = "alice", bucket: Bucket = FREE) -> Answer:
    return Answer(
        events=(
            AccountRead(
                client=client,
                replica=replica,
                seq=seq,
                balances=tuple(
                    AccountBalance(bucket=bucket, asset=asset, amount=Amount(amount)) for asset, amount in balances
                ),
            ),
        )
    )


READ = ReadAccount(client="alice")


def seen(seq: int, *replicas: Replica, **more: Any) -> Record:  # noqa: ANN401 - fields of the view
    return Record(step=TakeSnapshot(), view=View(seq=seq, replicas=replicas, **more))


def replica(name: str, seq: int, state: str | None, **more: Any) -> Replica:  # noqa: ANN401 - fields of the replica
    return Replica(replica=name, seq=seq, state_sha256=None if state is None else hash_of(state), **more)


def phase(before: Phase, after: Phase, seq: int | None = None) -> Record:
    return told(PhaseChanged(before=before, after=after), step=SetPhase(phase=after), seq=seq)


def announced(begins_ms: int) -> Record:
    return told(MaintenanceAnnounced(begins_ms=begins_ms), step=AnnounceMaintenance(begins_ms=begins_ms))


def deployed(name: str, release: str) -> Record:
    step = DeployRelease(replica=name, release=release)
    return told(ReleaseDeployed(replica=name, release=release), step=step)


def confirmed(seq: int = 0, state: str = "a") -> Record:
    return told(LoadConfirmed(seq=seq, state_sha256=hash_of(state)), step=ConfirmLoad())


def activated(release: str) -> Record:
    return told(ReleaseActivated(release=release), step=ActivateRelease(release=release))


RECONCILED = told(Reconciled(balances=1), step=Reconcile())
LIQUIDATED = told(
    LiquidationStepped(
        client="alice",
        product="spot",
        kind=LiquidationKind.CANCEL_ORDERS,
        equity=Amount(0),
        maintenance=Amount(1),
    ),
    step=Liquidate(client="alice", product="spot"),
)
OPEN, CANCEL_ONLY, MAINTENANCE, POST_ONLY = Phase.OPEN, Phase.CANCEL_ONLY, Phase.MAINTENANCE, Phase.POST_ONLY
BEGUN = [announced(0), phase(OPEN, CANCEL_ONLY), phase(CANCEL_ONLY, MAINTENANCE)]
ENDED = [confirmed(), phase(MAINTENANCE, POST_ONLY), phase(POST_ONLY, OPEN)]
DEPLOYED = [deployed(name, "r2") for name in SETUP.replicas]
KILLED = Crash(in_flight=place("f"), point=CrashPoint.AFTER_JOURNAL, replica="n1")


def resent(seq: int, epoch: int, command: Command, *events: Event) -> JournalRecord:
    return JournalRecord(seq=seq, epoch=epoch, command=command, events=events, journal_sha256=hash_of("head"))


def window(milliseconds: int) -> Record:
    return told(TimeAdvanced(time_ms=milliseconds), step=AdvanceTime(time_ms=milliseconds))


def burst(*pairs: tuple[Command, tuple[Event, ...], int | None]) -> Record:
    return Record(
        step=Burst(commands=tuple(command for command, _, _ in pairs)),
        answers=tuple(Answer(events=events, seq=seq) for _, events, seq in pairs),
    )


DONE = (ClientDisconnected(client="bob"),)
"""An effect of which only matters that it is one."""


def case(invariant: str, name: str, *history: Any, setup: Setup = SETUP) -> Any:  # noqa: ANN401 - pytest's
    """Good records, the bad one, the violation's subject, and how what was found begins."""
    return pytest.param(setup, invariant, *history, id=f"{invariant} {name}")


CASES = [
    # REPL-1
    case(
        "REPL-1",
        "a replica with another release has another state",
        [seen(1, replica("n1", 1, "a", release="r1"), replica("n2", 1, "a", release="r2"), replica("n3", 0, "b"))],
        seen(1, replica("n2", 1, "x", release="r2")),
        "state at 1",
        f"{hash_of('x')} at the n2 with r2",
    ),
    case(
        "REPL-1",
        "the state after a restore is another one",
        [seen(1, replica("n1", 1, "a")), Record(step=RestoreSnapshot()), seen(1, replica("n1", 1, "a"))],
        seen(1, replica("n1", 1, "b")),
        "state at 1",
        f"{hash_of('b')} at the n1",
    ),
    case(
        "REPL-1",
        "the load barrier found another state",
        [seen(1, replica("n1", 1, "a"), replica("n2", 1, None, status=PAUSED)), confirmed(1, "a")],
        confirmed(1, "b"),
        "state at 1",
        f"{hash_of('b')} at the load barrier",
    ),
    case(
        "REPL-1",
        "two records have one number",
        decided(1, 2),
        decided(2)[0],
        "record 2",
        "AdvanceTime as record 2",
    ),
    # FENCE-1
    case(
        "FENCE-1",
        "a deposed primary decides",
        [
            *decided(1),
            asked("n1", (place("a"), Answer(events=DONE, seq=2))),
            promoted("n2", 2, 3),
            asked("n1", (place("b"), Answer(events=(NOT_PRIMARY,))), (READ, read("n1", 3))),
        ],
        asked("n1", (place("c"), Answer(events=DONE, seq=3))),
        "replica n1",
        "it acknowledges PlaceOrder as record 3",
    ),
    case(
        "FENCE-1",
        "a replica acknowledges what nobody decided",
        [asked("n2", (place("b"), Answer(events=(NOT_PRIMARY,))))],
        asked("n2", (place("c"), Answer(events=DONE))),
        "replica n2",
        "it acknowledges PlaceOrder",
    ),
    case(
        "FENCE-1",
        "a primary that is cut off decides",
        [changed("n2", PARTITIONED), *decided(1), changed("n2", UP), changed("n1", PARTITIONED)],
        decided(2)[0],
        "record 2",
        "AdvanceTime is acknowledged while n1, the primary, is partitioned",
    ),
    case(
        "FENCE-1",
        "the primary decides alone",
        [changed("n2", PAUSED), *decided(1), changed("n3", DOWN)],
        decided(2)[0],
        "record 2",
        "AdvanceTime is acknowledged while n1, the primary, is up and 1 replicas are up",
    ),
    case(
        "FENCE-1",
        "an epoch is given twice",
        [promoted("n2", 2, 1), promoted("n1", 3, 2)],
        promoted("n2", 3, 3),
        "promotion of n2",
        "it begins epoch 3",
    ),
    case(
        "FENCE-1",
        "the promoted replica lacks what was acknowledged",
        decided(1, 2, 3),
        promoted("n2", 2, 3),
        "promotion of n2",
        "its log ended at 2",
    ),
    case(
        "FENCE-1",
        "a replica that is down is promoted",
        [changed("n2", DOWN), changed("n2", UP), promoted("n2", 2, 1), changed("n3", DOWN)],
        promoted("n3", 3, 2),
        "promotion of n3",
        "it is down",
    ),
    case(
        "FENCE-1",
        "the primary is promoted",
        [promoted("n2", 2, 1)],
        promoted("n2", 3, 2),
        "promotion of n2",
        "it is the primary already",
    ),
    case(
        "FENCE-1",
        "a replica is promoted without a quorum",
        [changed("n1", DOWN), promoted("n2", 2, 1), changed("n2", DOWN)],
        promoted("n3", 3, 2),
        "promotion of n3",
        "1 replicas are up",
    ),
    case(
        "FENCE-1",
        "a record is of an epoch that was over",
        [
            Record(step=KILLED),
            Record(
                step=PromoteReplica(replica="n2"),
                resent=(resent(1, 1, place("f")),),
                answers=(Answer(events=(ReplicaPromoted(replica="n2", epoch=2),), seq=2),),
            ),
            Record(step=Crash(in_flight=place("g"))),
        ],
        Record(step=Restart(), resent=(resent(3, 1, place("g")),)),
        "record 3",
        "it is of epoch 1",
    ),
    case(
        "FENCE-1",
        "another replica takes itself for the primary",
        [promoted("n2", 2, 1), seen(1, epoch=2, primary="n2")],
        seen(1, epoch=2, primary="n1"),
        "primary of epoch 2",
        "n1",
    ),
    case("FENCE-1", "the epoch shown was never begun", [seen(0, epoch=1)], seen(0, epoch=2), "epoch", "2"),
    case(
        "FENCE-1",
        "the log of the new epoch lacks what was acknowledged",
        [*decided(1), promoted("n2", 2, 2), *decided(3), seen(3, epoch=2, journal_sha256=hash_of("h"))],
        seen(2, epoch=2, journal_sha256=hash_of("h")),
        "log of epoch 2",
        "it ends at 2",
    ),
    # PHASE-2
    case(
        "PHASE-2",
        "maintenance was not announced",
        [*BEGUN, *ENDED, phase(OPEN, CANCEL_ONLY)],
        phase(CANCEL_ONLY, MAINTENANCE),
        "maintenance at 0 ms",
        "it begins, and it was not announced",
    ),
    case(
        "PHASE-2",
        "maintenance begins before it was announced for",
        [announced(500), window(500), phase(OPEN, CANCEL_ONLY), phase(CANCEL_ONLY, MAINTENANCE), announced(900)],
        phase(CANCEL_ONLY, MAINTENANCE),
        "maintenance at 500 ms",
        "it begins, and it was announced for 900 ms",
    ),
    case(
        "PHASE-2",
        "the load barrier is skipped",
        [*BEGUN, *ENDED, *BEGUN],
        phase(MAINTENANCE, POST_ONLY),
        "load barrier before post_only",
        "maintenance is left for post_only without one since maintenance began",
    ),
    case(
        "PHASE-2",
        "a node is deployed after the load barrier",
        [*BEGUN, deployed("n2", "r1"), confirmed(), deployed("n2", "r1")],
        phase(MAINTENANCE, POST_ONLY),
        "load barrier before post_only",
        "maintenance is left for post_only without one since r1 was deployed on n2",
    ),
    case(
        "PHASE-2",
        "the state is restored after the load barrier",
        [*BEGUN, confirmed(), Record(step=RestoreSnapshot())],
        phase(MAINTENANCE, POST_ONLY),
        "load barrier before post_only",
        "maintenance is left for post_only without one since the state was restored",
    ),
    case(
        "PHASE-2",
        "the reconciliation is skipped",
        [*BEGUN, confirmed(), RECONCILED, phase(MAINTENANCE, POST_ONLY), phase(POST_ONLY, OPEN), *BEGUN, confirmed()],
        phase(MAINTENANCE, POST_ONLY),
        "reconciliation before post_only",
        "maintenance is left for post_only without one since maintenance began",
        setup=CUSTODY,
    ),
    case(
        "PHASE-2",
        "post-only is skipped",
        [*BEGUN, *ENDED, *BEGUN, confirmed()],
        phase(MAINTENANCE, OPEN),
        "post-only phase before open",
        "maintenance is left for open without one",
    ),
    case(
        "PHASE-2",
        "the load is confirmed with a replica down",
        [confirmed(), changed("n2", DOWN)],
        confirmed(),
        "load barrier at 0",
        "n2 is down",
    ),
    case(
        "PHASE-2",
        "the load is confirmed with another release on a node",
        [*BEGUN, deployed("n3", "r2")],
        confirmed(),
        "load barrier at 0",
        "r2 is installed on n3, r1 active",
    ),
    case(
        "PHASE-2",
        "the load of another cut is confirmed",
        [*decided(1, 2), confirmed(2)],
        confirmed(1),
        "load barrier at 1",
        "it is of the cut 1, not of 2",
    ),
    case(
        "PHASE-2",
        "a release is activated that one node lacks",
        [*BEGUN, *DEPLOYED, activated("r2"), deployed("n1", "r1"), deployed("n2", "r1")],
        activated("r1"),
        "release r1",
        "it is activated, and n3 lacks it or is not up",
    ),
    case(
        "PHASE-2",
        "a release is in force that was only installed",
        [*DEPLOYED, seen(0, replica("n1", 0, None, release="r2"), release="r1")],
        seen(0, release="r2"),
        "release in force",
        "r2",
    ),
    case(
        "PHASE-2",
        "a node was skipped, and it was told that it was not",
        [*DEPLOYED],
        seen(0, replica("n1", 0, None, release="r2"), replica("n3", 0, None, release="r1")),
        "release on n3",
        "r1",
    ),
    case(
        "PHASE-2",
        "somebody is liquidated after a restart",
        [LIQUIDATED, Record(step=Crash()), Record(step=Restart()), confirmed(), LIQUIDATED, Record(step=Restart())],
        LIQUIDATED,
        "liquidation of alice",
        "it is liquidated without a load barrier since the exchange was restarted",
    ),
    case(
        "PHASE-2",
        "somebody is liquidated after the primary was started again",
        [changed("n2", DOWN), changed("n2", UP), LIQUIDATED, changed("n1", DOWN), changed("n1", UP)],
        LIQUIDATED,
        "liquidation of alice",
        "it is liquidated without a load barrier since n1 was started again",
    ),
    # MAINT-1
    case(
        "MAINT-1",
        "another replica tells other balances",
        [
            paid("alice", "USD", 5, 1),
            phase(OPEN, CANCEL_ONLY, 2),
            phase(CANCEL_ONLY, MAINTENANCE, 3),
            asked("n2", (READ, read("n2", 3, ("USD", 5)))),
            asked("n3", (READ, read("n3", 2))),
        ],
        asked("n3", (READ, read("n3", 3, ("USD", 5), ("BTC", 7)))),
        "balance alice free BTC at n3",
        "7 after maintenance",
    ),
    # SURGE-1
    case(
        "SURGE-1",
        "a read is taken in and a new order shed",
        [burst((READ, (OVERLOADED,), None), (place("a"), DONE, 1), (place("b", "bob"), DONE, 2)), window(1_000)],
        burst((READ, DONE, None), (place("c"), (OVERLOADED,), None), (place("d", "bob"), DONE, 3)),
        "new orders",
        "1 commands were shed while reads were taken in",
    ),
    case(
        "SURGE-1",
        "a cancel is decided after a new order",
        [burst((place("a"), DONE, 2), (cancel("x"), DONE, 1))],
        burst((place("b"), DONE, 3), (CancelAll(client="alice"), DONE, 4)),
        "cancels",
        "CancelAll was decided after PlaceOrder",
    ),
    case(
        "SURGE-1",
        "a command is shed while there is room",
        [burst((cancel("a"), DONE, 1), (cancel("b"), DONE, 2), (place("c"), (OVERLOADED,), None))],
        burst((cancel("a"), DONE, 1), (place("c"), (OVERLOADED,), None)),
        "shedding",
        "1 commands are shed and 1 taken in",
    ),
    case(
        "SURGE-1",
        "a client is limited before its rate is used up",
        [
            told(*DONE, step=place("a")),
            told(*DONE, step=cancel("a")),
            told(*DONE, step=place("b")),
            told(LIMITED, step=place("c")),
            told(*DONE, step=place("d", "bob")),
            window(1_000),
            told(*DONE, step=place("e")),
        ],
        told(LIMITED, step=place("f")),
        "rate at 1 s",
        "command 2 of alice in a second is limited",
    ),
    case(
        "SURGE-1",
        "a client is not limited though its rate is used up",
        [told(*DONE, step=place("a")), told(*DONE, step=READ)],
        told(
            *DONE,
            step=RequestWithdrawal(client="alice", withdrawal="w", asset="BTC", amount=Amount(1)),
        ),
        "rate at 0 s",
        "command 3 of alice in a second is taken in",
    ),
    case(
        "SURGE-1",
        "a cancel is limited",
        [told(*DONE, step=place("a")), told(*DONE, step=place("b")), told(*DONE, step=cancel("a"))],
        told(LIMITED, step=cancel("b")),
        "rate at 0 s",
        "it is limited",
    ),
    case(
        "SURGE-1",
        "what was shed counts against the rate",
        [
            told(*DONE, step=place("a")),
            burst((cancel("x"), DONE, 1), (cancel("y"), DONE, 2), (place("b"), (OVERLOADED,), None)),
        ],
        told(LIMITED, step=place("c")),
        "rate at 0 s",
        "command 2 of alice in a second is limited",
    ),
    # READ-1
    case(
        "READ-1",
        "the balances are told as zero",
        [paid("alice", "USD", 5, 1), told(*read("n1", 1, ("USD", 5)).events, step=READ)],
        told(*read("n1", 1).events, step=READ),
        "alice free USD at n1",
        "0 at the cut 1",
    ),
    case(
        "READ-1",
        "a lagging replica tells old balances under a later cut",
        [
            paid("alice", "USD", 5, 1),
            changed("n2", PAUSED),
            paid("alice", "USD", 2, 2),
            paid("alice", "USD", 4, 3),
            changed("n1", DOWN),
            changed("n2", UP),
            asked("n2", (READ, read("n2", 1, ("USD", 5)))),
            asked("n3", (READ, read("n3", 3, ("USD", 11)))),
        ],
        asked("n2", (READ, read("n2", 2, ("USD", 5)))),
        "alice free USD at n2",
        "5 at the cut 2",
    ),
    case(
        "READ-1",
        "the primary is read at a cut that is over",
        [*decided(1), told(*read("n1", 1).events, step=READ), *decided(2)],
        told(*read("n1", 1).events, step=READ),
        "read of alice at n1",
        "it is of the cut 1",
    ),
    case(
        "READ-1",
        "a replica goes back",
        [*decided(1, 2), seen(2, replica("n2", 1, None)), asked("n2", (READ, read("n2", 1)))],
        asked("n2", (READ, read("n2", 0))),
        "read of alice at n2",
        "it is of the cut 0",
    ),
    case(
        "READ-1",
        "a cut is told that there is not yet",
        [*decided(1), asked("n2", (READ, read("n2", 1)))],
        asked("n2", (READ, read("n2", 2))),
        "read of alice at n2",
        "it is of the cut 2",
    ),
    case(
        "READ-1",
        "a replica that is cut off is read",
        [asked("n2", (READ, read("n2", 0))), changed("n2", PARTITIONED)],
        asked("n2", (READ, read("n2", 0))),
        "read of alice at n2",
        "n2 is partitioned",
    ),
    case(
        "READ-1",
        "another replica answers",
        [asked("n2", (READ, read("n2", 0))), told(*read("n1", 0).events, step=READ)],
        asked("n2", (READ, read("n3", 0))),
        "read of alice at n3",
        "it is answered by n3",
    ),
    case(
        "READ-1",
        "somebody else's balances are told",
        [told(*read("n1", 0).events, step=READ)],
        told(*read("n1", 0, client="bob").events, step=READ),
        "read of bob at n1",
        "the balances of bob",
    ),
    case(
        "READ-1",
        "a read is a decision",
        [told(*read("n1", 0).events, step=READ)],
        told(*read("n1", 0).events, step=READ, seq=1),
        "read of alice",
        "it is record 1",
    ),
]


@pytest.mark.parametrize(("setup", "invariant", "good", "bad", "subject", "found"), CASES)
def test_what_is_wrong_is_reported_at_its_step(  # noqa: PLR0917 - the fields of a case
    setup: Setup, invariant: str, good: list[Record], bad: Record, subject: str, found: str
) -> None:
    auditor = Auditor(setup, catalogue=(invariant_by_id(invariant),))
    for record in good:
        assert auditor.watch(record) == []
    about = [violation for violation in auditor.watch(bad) if violation.subject == subject]
    assert [violation.step for violation in about] == [len(good)], auditor.violations
    assert about[0].found.startswith(found)
    assert about[0].expected not in {"", about[0].found}
    assert auditor.coverage()[0].violations == len(auditor.violations)


def holds(setup: Setup, invariant: str, *records: Record) -> None:
    auditor = Auditor(setup, catalogue=(invariant_by_id(invariant),))
    assert [violation for record in records for violation in auditor.watch(record)] == []
    assert auditor.coverage()[0].checked > 0


def test_a_command_in_flight_when_the_primary_died_was_decided_before_it() -> None:
    survived = Record(
        step=PromoteReplica(replica="n2"),
        resent=(resent(2, 1, place("f"), *DONE),),
        answers=(Answer(events=(ReplicaPromoted(replica="n2", epoch=2),), seq=3),),
    )
    holds(SETUP, "FENCE-1", *decided(1), Record(step=KILLED), survived)


def test_a_load_that_was_confirmed_before_a_restart_must_be_confirmed_again() -> None:
    auditor = Auditor(SETUP, catalogue=(invariant_by_id("PHASE-2"),))
    confirming = LoadConfirmed(seq=0, state_sha256=hash_of("a"))
    for record in (
        Record(step=Crash(in_flight=ConfirmLoad(), point=CrashPoint.AFTER_JOURNAL)),
        Record(step=Restart(), resent=(resent(1, 1, ConfirmLoad(), confirming),)),
    ):
        assert auditor.watch(record) == []
    (violation,) = auditor.watch(LIQUIDATED)
    assert violation.subject == "liquidation of alice"


def test_a_load_confirmed_in_flight_before_a_failover_counts() -> None:
    confirming = LoadConfirmed(seq=0, state_sha256=hash_of("a"))
    holds(
        SETUP,
        "PHASE-2",
        *BEGUN,
        Record(step=Crash(in_flight=ConfirmLoad(), point=CrashPoint.AFTER_JOURNAL, replica="n1")),
        Record(
            step=PromoteReplica(replica="n2"),
            resent=(resent(1, 1, ConfirmLoad(), confirming),),
            answers=(Answer(events=(ReplicaPromoted(replica="n2", epoch=2),), seq=2),),
        ),
        phase(MAINTENANCE, POST_ONLY),
    )


def test_maintenance_that_is_called_off_needs_no_barrier_and_begins_again_once_announced() -> None:
    holds(
        SETUP,
        "PHASE-2",
        *BEGUN,
        phase(MAINTENANCE, CANCEL_ONLY),
        announced(0),
        phase(CANCEL_ONLY, MAINTENANCE),
        *DEPLOYED,
        activated("r2"),
        *ENDED,
    )


def test_without_a_procedure_no_step_of_it_is_obligatory() -> None:
    plain = Setup(assets=SETUP.assets, markets=SETUP.markets, clients=SETUP.clients)
    holds(plain, "PHASE-2", phase(CANCEL_ONLY, MAINTENANCE), phase(MAINTENANCE, POST_ONLY), LIQUIDATED)


def test_what_was_in_flight_at_a_kill_may_count_against_the_rate_or_not() -> None:
    first = told(*DONE, step=place("a"))
    settled = told(*DONE, step=cancel("x"), seq=1)
    for last in (told(LIMITED, step=place("b")), told(*DONE, step=place("b"))):
        holds(SETUP, "SURGE-1", first, Record(step=KILLED), settled, last)


def test_a_door_that_was_started_again_counts_anew() -> None:
    used_up = [told(*DONE, step=place("a")), told(*DONE, step=place("b"))]
    holds(SETUP, "SURGE-1", *used_up, Record(step=Crash()), Record(step=Restart()), *used_up)


def test_a_read_among_commands_may_be_of_any_cut_that_they_made() -> None:
    for cut, amount in ((1, 5), (2, 7)):
        together = burst(
            (
                CreditDeposit(client="alice", asset="USD", amount=Amount(2), transaction="t2"),
                paid("alice", "USD", 2, 2).answers[0].events,
                2,
            ),
            (READ, read("n1", cut, ("USD", amount)).events, None),
        )
        holds(SETUP, "READ-1", paid("alice", "USD", 5, 1), together)
