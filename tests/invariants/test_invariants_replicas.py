"""What is told of replicas: who is the primary, what was in flight when one died, and what is no decision."""

from msgspec.structs import replace

from holdfast_invariants.auditor import Auditor
from holdfast_model.vocabulary import (
    OUTSIDE,
    AccountRead,
    Amount,
    Answer,
    AskReplica,
    Bucket,
    CancelOrder,
    CancelReason,
    Capability,
    CauseKind,
    Crash,
    CreditDeposit,
    DeployRelease,
    DepositCredited,
    EntryPosted,
    Event,
    JournalRecord,
    KillReplica,
    Market,
    MarketTick,
    OrderCancelled,
    Posting,
    PromoteReplica,
    ReadAccount,
    Reason,
    Record,
    Rejected,
    Release,
    ReleaseActivated,
    ReleaseDeployed,
    Replica,
    ReplicaChanged,
    ReplicaPromoted,
    ReplicaStatus,
    Restart,
    Setup,
    SizeLots,
    StartReplica,
    View,
)
from holdfast_model.vocabulary.chain import JournalBody, seal

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice",),
    releases=(
        Release(release="r1"),
        Release(release="r2", tick_amounts=(MarketTick(market="M", tick_amount=Amount(2)),)),
    ),
)
DEPOSIT = CreditDeposit(client="alice", asset="USD", amount=Amount(5), transaction="t")
CREDITED: tuple[Event, ...] = (
    DepositCredited(client="alice", asset="USD", amount=Amount(5), transaction="t"),
    EntryPosted(
        cause_kind=CauseKind.DEPOSIT,
        cause="t",
        postings=(
            Posting(account=OUTSIDE, bucket=Bucket.FREE, asset="USD", amount=Amount(-5)),
            Posting(account="alice", bucket=Bucket.FREE, asset="USD", amount=Amount(5)),
        ),
    ),
)
PROMOTE = PromoteReplica(replica="n2")
PROMOTED: tuple[Event, ...] = (ReplicaPromoted(replica="n2", epoch=2),)
LOST = Crash(in_flight=DEPOSIT, replica="n1")
RESENT = JournalRecord(seq=1, epoch=1, command=DEPOSIT, events=CREDITED, journal_sha256="0" * 64)


def audited(*records: Record, capabilities: frozenset[Capability] | None = None) -> Auditor:
    without = (
        frozenset(Capability) - {Capability.JOURNAL, Capability.ENTRIES} if capabilities is None else capabilities
    )
    auditor = Auditor(SETUP, capabilities=without)
    for record in records:
        auditor.watch(record)
    return auditor


def found(auditor: Auditor) -> list[tuple[str, str]]:
    return [(violation.invariant, violation.subject) for violation in auditor.violations]


def promotion(*resent: JournalRecord, seq: int = 2) -> Record:
    return Record(step=PROMOTE, answers=(Answer(events=PROMOTED, seq=seq),), resent=resent)


def test_what_was_in_flight_is_believed_before_the_promotion_that_follows_it() -> None:
    auditor = audited(Record(step=LOST), promotion(RESENT))
    assert found(auditor) == []
    assert (auditor.told.deposits, auditor.told.seq, auditor.told.unknown) == ({("", "t")}, 2, [])
    assert (auditor.told.primary, auditor.told.epoch) == ("n2", 2)


def test_what_was_not_replicated_before_the_death_is_settled_as_never_done() -> None:
    auditor = audited(Record(step=LOST), promotion(seq=1))
    assert auditor.unsettled is False
    assert (auditor.told.deposits, found(auditor)) == (set(), [])


def test_a_record_that_nobody_asked_for_is_reported_at_the_promotion_that_brings_it() -> None:
    auditor = audited(Record(step=Crash(replica="n1")), promotion(RESENT))
    assert ("FINAL-2", "journal record 1") in found(auditor)


def test_only_a_decision_settles_what_was_in_flight() -> None:
    refused = Answer(events=(Rejected(reason=Reason.NO_PRIMARY),))
    started = Answer(events=(ReplicaChanged(replica="n1", status=ReplicaStatus.UP),))
    auditor = audited(
        Record(step=LOST),
        Record(step=DEPOSIT, answers=(refused,)),
        Record(step=StartReplica(replica="n1"), answers=(started,)),
    )
    assert auditor.unsettled
    assert (auditor.told.seq, auditor.told.unknown) == (0, [DEPOSIT])
    auditor.watch(promotion(RESENT))
    assert auditor.told.unknown == []
    assert found(auditor) == []


def test_an_engine_that_tells_nothing_again_leaves_it_open_for_ever() -> None:
    auditor = audited(Record(step=LOST), promotion(seq=1), capabilities=frozenset({Capability.REPLICAS}))
    assert auditor.told.unknown == [DEPOSIT]
    assert not auditor.unsettled, "there is nobody to ask"


def test_reads_and_what_is_done_to_replicas_move_no_number() -> None:
    read = AccountRead(client="alice", replica="n3", seq=0, balances=())
    auditor = audited(
        Record(
            step=AskReplica(replica="n3", commands=(ReadAccount(client="alice"), DEPOSIT)),
            answers=(Answer(events=(read,)), Answer(events=(Rejected(reason=Reason.NOT_PRIMARY),))),
        ),
        Record(
            step=KillReplica(replica="n3"),
            answers=(Answer(events=(ReplicaChanged(replica="n3", status=ReplicaStatus.DOWN),)),),
        ),
    )
    assert (auditor.told.seq, auditor.told.deposits, found(auditor)) == (0, set(), [])
    assert auditor.told.replicas == {"n1": "up", "n2": "up", "n3": "down"}


def test_a_crash_of_a_replica_and_a_restart_of_all_are_known_without_an_answer() -> None:
    auditor = audited(Record(step=Crash(replica="n3")))
    assert auditor.told.replicas["n3"] is ReplicaStatus.DOWN
    auditor.watch(Record(step=Crash()))
    auditor.watch(Record(step=Restart()))
    assert set(auditor.told.replicas.values()) == {ReplicaStatus.UP}


def test_a_promotion_is_hashed_with_the_epoch_that_it_begins() -> None:
    for epoch, expected in ((2, []), (1, [("AUDIT-1", "journal record 1")])):
        _, head = seal("0" * 64, JournalBody(seq=1, epoch=epoch, command=PROMOTE, events=PROMOTED))
        record = Record(step=PROMOTE, answers=(Answer(events=PROMOTED, seq=1, journal_sha256=head),))
        assert found(audited(record, capabilities=frozenset(Capability))) == expected


def test_two_replicas_of_one_length_differ_only_where_both_show_their_state() -> None:
    one = Replica(replica="n1", seq=0, state_sha256="a" * 64)
    other = Replica(replica="n2", seq=0, state_sha256="b" * 64)
    for shown, expected in ((replace(other, state_sha256=None), []), (other, [("REPL-1", "state at 0")])):
        auditor = audited(capabilities=frozenset(Capability))
        auditor.look(View(seq=0, replicas=(one, shown), journal_sha256="0" * 64))
        assert [item for item in found(auditor) if item[0] == "REPL-1"] == expected


def test_what_is_installed_changes_no_price_and_what_is_active_does() -> None:
    deployed = Answer(events=(ReleaseDeployed(replica="n1", release="r2"),))
    auditor = audited(Record(step=DeployRelease(replica="n1", release="r2"), answers=(deployed,)))
    assert auditor.told.installed["n1"] == "r2"
    assert auditor.told.markets["M"].tick_amount == 1
    auditor.told.apply(ReleaseActivated(release="r2"))
    assert (auditor.told.release, auditor.told.markets["M"].tick_amount) == ("r2", 2)
    auditor.told.apply(ReleaseActivated(release="of an engine that made it up"))
    assert auditor.told.markets["M"].tick_amount == 2


def test_what_a_client_is_told_at_the_door_for_its_rate_counts_as_shed() -> None:
    cancelled = OrderCancelled(client="alice", order="1", left_lots=SizeLots(1), reason=CancelReason.REQUESTED)
    limited = Answer(events=(Rejected(reason=Reason.RATE_LIMITED), cancelled))
    auditor = audited(Record(step=CancelOrder(client="alice", order="1"), answers=(limited,)))
    assert ("SURGE-1", "CancelOrder 0") in found(auditor), "a refused command has no effect"
