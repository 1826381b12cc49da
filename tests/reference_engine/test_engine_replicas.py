"""Replicas: who decides, what is on a quorum, who lags, who may be promoted, and what each one answers."""

from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from holdfast.engine import LocalEngine
from holdfast.running import Runner
from holdfast.setups import SMALL_SETUP
from holdfast_engine.exchange import Exchange, Parts
from holdfast_engine.journal import LOG, Journal
from holdfast_engine.replicas import Replica
from holdfast_engine.storage import MemoryStorage
from holdfast_model.vocabulary import (
    AccountBalance,
    AccountRead,
    Amount,
    AskReplica,
    Bucket,
    CancelOrder,
    Command,
    Crash,
    CrashPoint,
    CreditDeposit,
    DeployRelease,
    Event,
    HealReplica,
    KillReplica,
    PartitionReplica,
    PauseReplica,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    Reason,
    Rejected,
    Release,
    ReleaseDeployed,
    ReplicaChanged,
    ReplicaCommand,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    StartReplica,
    Step,
)

N1, N2, N3 = "n1", "n2", "n3"
UP, PAUSED, PARTITIONED, DOWN = (
    ReplicaStatus.UP,
    ReplicaStatus.PAUSED,
    ReplicaStatus.PARTITIONED,
    ReplicaStatus.DOWN,
)
SETUP = replace(SMALL_SETUP, releases=(Release(release="r1"), Release(release="r2")))
FIVE = replace(SETUP, replicas=("n1", "n2", "n3", "n4", "n5"))
Move = type[PauseReplica | ResumeReplica | PartitionReplica | HealReplica | KillReplica | StartReplica]
MOVES: dict[Move, tuple[set[ReplicaStatus], ReplicaStatus]] = {
    PauseReplica: ({UP}, PAUSED),
    ResumeReplica: ({PAUSED}, UP),
    PartitionReplica: ({UP}, PARTITIONED),
    HealReplica: ({PARTITIONED}, UP),
    KillReplica: ({UP, PAUSED, PARTITIONED}, DOWN),
    StartReplica: ({DOWN}, UP),
}
"""The published table: in which statuses a thing can be done to a replica, and what becomes of it."""
REACHED: dict[ReplicaStatus, tuple[Move, ...]] = {
    UP: (),
    PAUSED: (PauseReplica,),
    PARTITIONED: (PartitionReplica,),
    DOWN: (KillReplica,),
}


def deposit(number: int) -> CreditDeposit:
    return CreditDeposit(client="alice", asset="USD", amount=Amount(1_000), transaction=f"t{number}")


def place(order: str) -> PlaceOrder:
    return PlaceOrder(
        client="alice",
        order=order,
        market="BTC-USD",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(100),
    )


def begun(setup: Setup = SETUP, parts: Parts | None = None, storage: MemoryStorage | None = None) -> Exchange:
    exchange = Exchange(storage or MemoryStorage(), parts)
    exchange.reset(setup)
    return exchange


@pytest.fixture
def exchange() -> Exchange:
    """Three replicas and one deposit; n1 is the primary."""
    exchange = begun()
    assert ask(exchange, deposit(0)) != ()
    return exchange


def ask(exchange: Exchange, *commands: Command, at: ReplicaId | None = None) -> tuple[Event, ...]:
    """The events of the last of some commands, each handed over alone."""
    events: tuple[Event, ...] = ()
    for command in commands:
        (answer,) = exchange.submit([command], at)
        events = answer.events
    return events


def reason(events: tuple[Event, ...]) -> Reason | None:
    return events[0].reason if isinstance(events[0], Rejected) else None


def seqs(exchange: Exchange) -> dict[ReplicaId, int]:
    return {replica.replica: replica.seq for replica in exchange.view().replicas}


def statuses(exchange: Exchange) -> dict[ReplicaId, ReplicaStatus]:
    return {replica.replica: replica.status for replica in exchange.view().replicas}


# What is done to a replica ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", list(ReplicaStatus))
@pytest.mark.parametrize("command", list(MOVES))
@pytest.mark.parametrize("name", [N1, N2])
def test_a_replica_moves_between_statuses_as_the_table_says(
    exchange: Exchange, before: ReplicaStatus, command: Move, name: ReplicaId
) -> None:
    ask(exchange, *(trouble(replica=name) for trouble in REACHED[before]))
    allowed, after = MOVES[command]
    (answer,) = exchange.submit([command(replica=name)])
    assert (answer.seq, answer.journal_sha256) == (None, None), "it is no decision, and in no journal"
    if before in allowed:
        assert answer.events == (ReplicaChanged(replica=name, status=after),)
    else:
        assert answer.events == (Rejected(reason=Reason.REPLICA_UNAVAILABLE),)
    assert statuses(exchange)[name] is (after if before in allowed else before)
    assert len(exchange.resend(0)) == 1


def test_the_table_has_everything_that_is_done_to_replicas() -> None:
    assert {*MOVES, DeployRelease} == set(get_args(ReplicaCommand))


@pytest.mark.parametrize("command", [*MOVES, PromoteReplica])
def test_an_unknown_replica_is_refused_first(exchange: Exchange, command: Move) -> None:
    ask(exchange, KillReplica(replica=N2), KillReplica(replica=N3))
    assert ask(exchange, command(replica="n9")) == (Rejected(reason=Reason.UNKNOWN_REPLICA),)


# Quorum -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [PauseReplica, PartitionReplica, KillReplica])
@pytest.mark.parametrize(
    ("setup", "lost", "closed"),
    [
        (SETUP, (N2,), None),
        (SETUP, (N2, N3), Reason.NO_QUORUM),
        (FIVE, ("n2", "n3"), None),
        (FIVE, ("n2", "n3", "n4"), Reason.NO_QUORUM),
        (replace(SETUP, replicas=("n1", "n2")), (N2,), Reason.NO_QUORUM),
        (replace(SETUP, replicas=("n1",)), (), None),
    ],
)
def test_nothing_is_decided_that_is_not_on_more_than_half(
    trouble: Move, setup: Setup, lost: tuple[ReplicaId, ...], closed: Reason | None
) -> None:
    exchange = begun(setup)
    ask(exchange, *(trouble(replica=name) for name in lost))
    before = exchange.view()
    (answer,) = exchange.submit([deposit(1)])
    if closed is None:
        assert answer.seq == 1
        return
    assert answer.events == (Rejected(reason=closed),)
    assert (answer.seq, exchange.view(), exchange.resend(0)) == (None, replace(before, ingress_depth_max=1), ())


@pytest.mark.parametrize(
    ("trouble", "closed"),
    [
        (PauseReplica, Reason.NO_PRIMARY),
        (KillReplica, Reason.NO_PRIMARY),
        (PartitionReplica, Reason.NO_QUORUM),
    ],
)
def test_without_a_primary_that_acts_every_command_is_refused_at_the_door(
    exchange: Exchange, trouble: Move, closed: Reason
) -> None:
    ask(exchange, trouble(replica=N1))
    for command in (deposit(1), place("o"), SetPhase(phase=Phase.HALTED), ReadAccount(client="alice")):
        assert ask(exchange, command) == ask(exchange, command, at=N1) == (Rejected(reason=closed),)
    assert seqs(exchange) == {N1: 1, N2: 1, N3: 1}


@pytest.mark.parametrize(
    ("trouble", "cure"),
    [(PauseReplica, ResumeReplica), (PartitionReplica, HealReplica), (KillReplica, StartReplica)],
)
def test_the_primary_that_comes_back_goes_on_where_it_was(exchange: Exchange, trouble: Move, cure: Move) -> None:
    ask(exchange, trouble(replica=N1), deposit(1), cure(replica=N1))
    assert exchange.submit([deposit(1)])[0].seq == 2
    assert (exchange.view().epoch, exchange.view().primary) == (1, N1)
    assert seqs(exchange) == {N1: 2, N2: 2, N3: 2}


# Lag and catching up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshot_at", [None, 1, 3])
@pytest.mark.parametrize(
    ("trouble", "cure"),
    [(PauseReplica, ResumeReplica), (PartitionReplica, HealReplica), (KillReplica, StartReplica)],
)
def test_a_replica_lags_while_it_is_not_up_and_then_catches_up(
    exchange: Exchange, trouble: Move, cure: Move, snapshot_at: int | None
) -> None:
    ask(exchange, trouble(replica=N3))
    for number in range(1, 5):
        ask(exchange, deposit(number))
        if number == snapshot_at:
            exchange.snapshot()
    view = exchange.view()
    assert seqs(exchange) == {N1: 5, N2: 5, N3: 1}
    ask(exchange, cure(replica=N3))
    assert seqs(exchange) == {N1: 5, N2: 5, N3: 5}
    shown = exchange.view().replicas
    assert len({replica.state_sha256 for replica in shown}) == 1
    assert shown[0].state_sha256 == view.replicas[0].state_sha256


def test_only_a_replica_that_answers_shows_its_state(exchange: Exchange) -> None:
    ask(exchange, PauseReplica(replica=N2), KillReplica(replica=N3))
    shown = {replica.replica: replica.state_sha256 is None for replica in exchange.view().replicas}
    assert shown == {N1: False, N2: True, N3: True}
    ask(exchange, ResumeReplica(replica=N2), PartitionReplica(replica=N2))
    assert {replica.replica for replica in exchange.view().replicas if replica.state_sha256} == {N1, N2}


def test_a_replica_that_lags_does_not_catch_up_from_a_primary_that_is_not_there(exchange: Exchange) -> None:
    ask(exchange, PauseReplica(replica=N2), deposit(1), KillReplica(replica=N1), ResumeReplica(replica=N2))
    assert seqs(exchange) == {N1: 2, N2: 1, N3: 2}
    ask(exchange, PromoteReplica(replica=N3))
    assert seqs(exchange) == {N1: 2, N2: 3, N3: 3}


# Promotion ----------------------------------------------------------------------------------------------------------


def test_a_promotion_is_the_first_record_of_its_epoch(exchange: Exchange) -> None:
    before = exchange.view()
    (answer,) = exchange.submit([PromoteReplica(replica=N2)])
    assert (answer.events, answer.seq) == ((ReplicaPromoted(replica=N2, epoch=2),), 2)
    ask(exchange, deposit(1))
    view = exchange.view()
    assert (view.primary, view.epoch, view.orders) == (N2, 2, before.orders)
    assert [record.epoch for record in exchange.resend(0)] == [1, 2, 2]


def test_a_stale_replica_is_not_promoted_and_a_refusal_is_no_decision(exchange: Exchange) -> None:
    ask(exchange, PauseReplica(replica=N2), deposit(1), KillReplica(replica=N1), ResumeReplica(replica=N2))
    (answer,) = exchange.submit([PromoteReplica(replica=N2)])
    assert (answer.events, answer.seq) == ((Rejected(reason=Reason.REPLICA_STALE),), None)
    assert (exchange.view().epoch, exchange.view().primary) == (1, N1)
    assert ask(exchange, PromoteReplica(replica=N3)) == (ReplicaPromoted(replica=N3, epoch=2),)
    assert ask(exchange, PromoteReplica(replica=N2)) == (ReplicaPromoted(replica=N2, epoch=3),), "it has caught up"


def test_the_refusals_of_a_promotion_come_in_their_order(exchange: Exchange) -> None:
    """Everything is wrong at first; each step rights what was refused."""
    ask(exchange, SetPhase(phase=Phase.CANCEL_ONLY), SetPhase(phase=Phase.MAINTENANCE))
    ask(exchange, DeployRelease(replica=N2, release="r2"), PauseReplica(replica=N2))
    ask(exchange, SetPhase(phase=Phase.CANCEL_ONLY), KillReplica(replica=N1), PauseReplica(replica=N3))
    promote = PromoteReplica(replica=N2)
    assert reason(ask(exchange, replace(promote, replica="n9"))) is Reason.UNKNOWN_REPLICA
    assert reason(ask(exchange, promote)) is Reason.REPLICA_UNAVAILABLE
    ask(exchange, ResumeReplica(replica=N2))
    assert reason(ask(exchange, promote)) is Reason.NO_QUORUM
    ask(exchange, ResumeReplica(replica=N3))
    assert reason(ask(exchange, promote)) is Reason.REPLICA_STALE
    ask(exchange, StartReplica(replica=N1))
    assert reason(ask(exchange, promote)) is Reason.RELEASE_DIFFERS
    assert reason(ask(exchange, replace(promote, replica=N1))) is Reason.REPLICA_UNAVAILABLE, "it is the primary"
    assert ask(exchange, replace(promote, replica=N3)) == (ReplicaPromoted(replica=N3, epoch=2),)


@pytest.mark.parametrize("trouble", [PauseReplica, PartitionReplica, KillReplica, None])
def test_a_deposed_primary_is_fenced_and_follows(exchange: Exchange, trouble: Move | None) -> None:
    cure: dict[Move, Move] = {
        PauseReplica: ResumeReplica,
        PartitionReplica: HealReplica,
        KillReplica: StartReplica,
    }
    if trouble is not None:
        ask(exchange, trouble(replica=N1))
    ask(exchange, PromoteReplica(replica=N2))
    assert ask(exchange, place("o"), at=N1) == (Rejected(reason=Reason.NOT_PRIMARY),)
    ask(exchange, deposit(1))
    if trouble is not None:
        ask(exchange, cure[trouble](replica=N1))
    assert ask(exchange, place("o"), at=N1) == (Rejected(reason=Reason.NOT_PRIMARY),)
    assert seqs(exchange) == {N1: 3, N2: 3, N3: 3}
    assert [record.command for record in exchange.resend(1)] == [PromoteReplica(replica=N2), deposit(1)]


def test_failing_over_and_back_loses_nothing(exchange: Exchange) -> None:
    ask(exchange, place("1"), KillReplica(replica=N1), PromoteReplica(replica=N2))
    ask(exchange, place("2"), StartReplica(replica=N1), PromoteReplica(replica=N1), place("3"))
    view = exchange.view()
    assert [order.order for order in view.orders] == ["1", "2", "3"]
    assert (view.primary, view.epoch) == (N1, 3)
    assert len({replica.state_sha256 for replica in view.replicas}) == 1


def test_a_restart_brings_every_replica_back_under_the_primary_that_was() -> None:
    storage = MemoryStorage()
    exchange = begun(storage=storage)
    ask(
        exchange,
        deposit(0),
        PromoteReplica(replica=N2),
        PauseReplica(replica=N3),
        deposit(1),
        KillReplica(replica=N2),
    )
    again = Exchange(storage)
    view = again.view()
    assert (view.primary, view.epoch, view.seq) == (N2, 2, 3)
    assert statuses(again) == {N1: UP, N2: UP, N3: UP}
    assert seqs(again) == {N1: 3, N2: 3, N3: 3}


def test_a_restore_rebuilds_what_is_up_and_leaves_the_rest_as_it_is(exchange: Exchange) -> None:
    ask(exchange, PauseReplica(replica=N3), deposit(1))
    exchange.snapshot()
    ask(exchange, deposit(2))
    before = exchange.view()
    exchange.restore()
    assert exchange.view() == before
    assert seqs(exchange) == {N1: 3, N2: 3, N3: 1}
    ask(exchange, KillReplica(replica=N1), KillReplica(replica=N3), StartReplica(replica=N3))
    exchange.restore()
    assert seqs(exchange) == {N1: 3, N2: 3, N3: 1}, "no replica learns from a snapshot what its log does not have"


def test_while_no_replica_runs_the_exchange_still_shows_what_was_acknowledged(exchange: Exchange) -> None:
    ask(exchange, place("1"))
    before = exchange.view()
    ask(exchange, *(KillReplica(replica=name) for name in SETUP.replicas))
    view = exchange.view()
    assert (view.orders, view.balances, view.seq) == (before.orders, before.balances, before.seq)
    assert [replica.state_sha256 for replica in view.replicas] == [None] * 3


# Asking one replica -------------------------------------------------------------------------------------------------


def test_a_read_is_answered_at_the_replica_s_own_cut(exchange: Exchange) -> None:
    ask(exchange, place("1"), PartitionReplica(replica=N3), deposit(1), HealReplica(replica=N3))
    ask(exchange, PauseReplica(replica=N2), deposit(2), KillReplica(replica=N1), ResumeReplica(replica=N2))
    held = AccountBalance(bucket=Bucket.HELD, asset="USD", amount=Amount(101))
    for name, seq, free in ((N2, 3, 1_899), (N3, 4, 2_899)):
        (answer,) = exchange.submit([ReadAccount(client="alice")], name)
        assert (answer.seq, answer.journal_sha256) == (None, None)
        free_balance = AccountBalance(bucket=Bucket.FREE, asset="USD", amount=Amount(free))
        assert answer.events == (
            AccountRead(client="alice", replica=name, seq=seq, balances=(free_balance, held)),
        ), "stale it may be, and it says at which cut"


def test_a_read_at_the_primary_needs_no_name_and_is_in_no_journal(exchange: Exchange) -> None:
    (answer,) = exchange.submit([ReadAccount(client="bob")])
    assert answer.events == (AccountRead(client="bob", replica=N1, seq=1, balances=()),)
    assert answer.seq is None
    assert len(exchange.resend(0)) == 1


@pytest.mark.parametrize("trouble", [PauseReplica, PartitionReplica, KillReplica])
def test_a_replica_that_is_not_up_tells_nothing_and_never_zero(exchange: Exchange, trouble: Move) -> None:
    ask(exchange, trouble(replica=N2))
    assert reason(ask(exchange, ReadAccount(client="alice"), at=N2)) is Reason.UNAVAILABLE
    assert reason(ask(exchange, ReadAccount(client="nobody"), at=N2)) is Reason.UNKNOWN_CLIENT
    assert reason(ask(exchange, ReadAccount(client="nobody"))) is Reason.UNKNOWN_CLIENT


def test_nobody_decides_but_the_primary(exchange: Exchange) -> None:
    for command in (deposit(1), PromoteReplica(replica=N2), PauseReplica(replica=N3)):
        assert ask(exchange, command, at=N2) == (Rejected(reason=Reason.NOT_PRIMARY),)
    assert ask(exchange, deposit(1), at="n9") == (Rejected(reason=Reason.UNKNOWN_REPLICA),)
    assert exchange.submit([deposit(1)], N1)[0].seq == 2
    assert set(statuses(exchange).values()) == {UP}


# Commands in flight -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", list(CrashPoint))
@pytest.mark.parametrize("killed", [N1, N2])
@pytest.mark.parametrize("after", [PromoteReplica(replica=N3), Restart(), deposit(2)])
def test_what_was_in_flight_when_a_replica_died_is_known_after_the_next_decision(
    point: CrashPoint, killed: ReplicaId, after: Step
) -> None:
    runner = Runner(LocalEngine(), SETUP)
    flying = place("1")
    crash = Crash(in_flight=flying, point=point, replica=killed)
    runner.run([deposit(0), crash])
    assert runner.auditor.told.unknown == [flying]
    if isinstance(after, Restart):
        runner.do(Crash())
    if isinstance(after, CreditDeposit):
        runner.do(StartReplica(replica=killed))
        assert runner.auditor.told.unknown == [flying], "a start decides nothing"
    record = runner.do(after)
    assert record is not None
    durable = point is CrashPoint.AFTER_JOURNAL
    assert [resent.command for resent in record.resent] == ([flying] if durable else [])
    assert runner.auditor.told.unknown == []
    assert (("alice", "1") in runner.auditor.told.resting) is durable
    retried = runner.do(flying)
    assert retried is not None
    assert (reason(retried.answers[0].events) is Reason.DUPLICATE_ORDER) is durable
    assert runner.violations == []


def test_a_fault_that_promotes_a_stale_replica_is_caught_where_it_loses_something() -> None:
    class Hasty(Replica):
        def promotable(self, acknowledged_seq: int) -> bool:  # noqa: ARG002 - the fault
            return True

    class Overwriting(Journal):
        def chain(self, lines: list[bytes], line: bytes, *, seq: int) -> None:
            del lines[seq - 1 :]
            lines.append(line)

    runner = Runner(LocalEngine(parts=Parts(replica=Hasty, journal=Overwriting)), SETUP)
    runner.run([deposit(0), PauseReplica(replica=N2), deposit(1), KillReplica(replica=N1), ResumeReplica(replica=N2)])
    assert runner.violations == []
    runner.do(PromoteReplica(replica=N2))
    assert "FINAL-2" in {violation.invariant for violation in runner.violations}


# Releases -----------------------------------------------------------------------------------------------------------


def test_the_refusals_of_a_deployment_come_in_their_order(exchange: Exchange) -> None:
    deploy = DeployRelease(replica="n9", release="r9")
    assert reason(ask(exchange, deploy)) is Reason.PHASE_FORBIDS
    ask(exchange, SetPhase(phase=Phase.CANCEL_ONLY), SetPhase(phase=Phase.MAINTENANCE), PauseReplica(replica=N2))
    assert reason(ask(exchange, deploy)) is Reason.UNKNOWN_REPLICA
    deploy = replace(deploy, replica=N2)
    assert reason(ask(exchange, deploy)) is Reason.UNKNOWN_RELEASE
    deploy = replace(deploy, release="r2")
    assert reason(ask(exchange, deploy)) is Reason.REPLICA_UNAVAILABLE
    ask(exchange, ResumeReplica(replica=N2))
    (answer,) = exchange.submit([deploy])
    assert (answer.events, answer.seq) == ((ReleaseDeployed(replica=N2, release="r2"),), None)


def test_what_is_installed_survives_a_restart() -> None:
    storage = MemoryStorage()
    exchange = begun(storage=storage)
    ask(exchange, SetPhase(phase=Phase.CANCEL_ONLY), SetPhase(phase=Phase.MAINTENANCE))
    ask(exchange, DeployRelease(replica=N2, release="r2"))
    for view in (exchange.view(), Exchange(storage).view()):
        assert [replica.release for replica in view.replicas] == ["r1", "r2", "r1"]
        assert view.release == "r1"


# Every combination --------------------------------------------------------------------------------------------------


class ReplicasMachine(RuleBasedStateMachine):
    """Random troubles, promotions, orders, snapshots and restarts against a model of a few lines."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = MemoryStorage()
        self.exchange = begun(storage=self.storage)
        self.statuses = dict.fromkeys(SETUP.replicas, UP)
        self.logs = dict.fromkeys(SETUP.replicas, 0)
        self.primary: ReplicaId = N1
        self.epoch, self.acknowledged, self.number = 1, 0, 0

    @property
    def closed(self) -> Reason | None:
        status = self.statuses[self.primary]
        if status in (PAUSED, DOWN):
            return Reason.NO_PRIMARY
        return None if status is UP and self.up >= 2 else Reason.NO_QUORUM

    @property
    def up(self) -> int:
        return list(self.statuses.values()).count(UP)

    def fed(self) -> None:
        """Whoever is up has the whole log, as long as the primary is up to tell it."""
        if self.statuses[self.primary] is UP:
            self.logs |= {name: self.acknowledged for name, status in self.statuses.items() if status is UP}

    def decided(self) -> None:
        self.acknowledged += 1
        self.logs[self.primary] = self.acknowledged
        self.fed()

    @rule(command=st.sampled_from(list(MOVES)), name=st.sampled_from(SETUP.replicas))
    def trouble(self, command: Move, name: ReplicaId) -> None:
        before, after = MOVES[command]
        events = ask(self.exchange, command(replica=name))
        if self.statuses[name] in before:
            self.statuses[name] = after
            self.fed()
            assert events == (ReplicaChanged(replica=name, status=after),)
        else:
            assert reason(events) is Reason.REPLICA_UNAVAILABLE

    @rule(name=st.sampled_from(SETUP.replicas))
    def promote(self, name: ReplicaId) -> None:
        expected = None
        if name == self.primary or self.statuses[name] is not UP:
            expected = Reason.REPLICA_UNAVAILABLE
        elif self.up < 2:
            expected = Reason.NO_QUORUM
        elif self.logs[name] < self.acknowledged:
            expected = Reason.REPLICA_STALE
        events = ask(self.exchange, PromoteReplica(replica=name))
        if expected is not None:
            assert reason(events) is expected
            return
        self.primary, self.epoch = name, self.epoch + 1
        self.decided()
        assert events == (ReplicaPromoted(replica=name, epoch=self.epoch),)

    @rule(name=st.sampled_from((None, *SETUP.replicas)))
    def order(self, name: ReplicaId | None) -> None:
        self.number += 1
        command = deposit(self.number) if self.number % 2 else CancelOrder(client="alice", order="none")
        (answer,) = self.exchange.submit([command], name)
        if name not in (None, self.primary):
            assert reason(answer.events) is Reason.NOT_PRIMARY
        elif self.closed is not None:
            assert reason(answer.events) is self.closed
        else:
            self.decided()
            assert answer.seq == self.acknowledged

    @rule(name=st.sampled_from(SETUP.replicas))
    def read(self, name: ReplicaId) -> None:
        (event,) = ask(self.exchange, ReadAccount(client="alice"), at=name)
        if name == self.primary and self.closed is not None:
            assert reason((event,)) is self.closed
        elif self.statuses[name] is not UP:
            assert reason((event,)) is Reason.UNAVAILABLE
        else:
            assert isinstance(event, AccountRead)
            credited = [
                record
                for record in self.exchange.resend(0)[: self.logs[name]]
                if isinstance(record.command, CreditDeposit)
            ]
            assert event.seq == self.logs[name]
            assert sum(balance.amount for balance in event.balances) == 1_000 * len(credited)

    @rule()
    def snapshot(self) -> None:
        self.exchange.snapshot()

    @rule()
    def restore(self) -> None:
        self.exchange.restore()

    @rule()
    def restart(self) -> None:
        self.exchange = Exchange(self.storage)
        self.statuses = dict.fromkeys(SETUP.replicas, UP)
        self.fed()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        view = self.exchange.view()
        assert statuses(self.exchange) == self.statuses
        assert seqs(self.exchange) == self.logs
        assert (view.primary, view.epoch, view.seq) == (self.primary, self.epoch, self.acknowledged)
        assert len(self.storage.lines(LOG)) == self.acknowledged
        hashes = {(replica.seq, replica.state_sha256) for replica in view.replicas if replica.state_sha256}
        assert len(hashes) == len({seq for seq, _ in hashes}), "equal logs give equal states"

    @invariant()
    def whatever_was_acknowledged_is_on_more_than_half(self) -> None:
        assert sum(log == self.acknowledged for log in self.logs.values()) >= SETUP.quorum


TestReplicas = ReplicasMachine.TestCase
TestReplicas.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_restore_does_not_wake_what_is_not_up() -> None:
    runner = Runner(LocalEngine(), SETUP)
    runner.run(
        [
            deposit(0),
            KillReplica(replica=N3),
            RestoreSnapshot(),
            AskReplica(replica=N3, commands=(ReadAccount(client="alice"),)),
        ]
    )
    assert runner.auditor.told.replicas[N3] is DOWN
    assert runner.last_view is not None
    assert runner.last_view.replicas[2].status is DOWN
    assert runner.violations == []


@pytest.mark.parametrize(
    ("point", "wanted", "primary", "epoch"),
    [
        (CrashPoint.BEFORE_JOURNAL, N2, N1, 1),
        (CrashPoint.AFTER_JOURNAL, N2, N2, 2),
        (CrashPoint.AFTER_JOURNAL, N1, N1, 1),
    ],
)
def test_a_promotion_in_flight_took_effect_exactly_where_it_was_durable_and_legal(
    point: CrashPoint, wanted: ReplicaId, primary: ReplicaId, epoch: int
) -> None:
    storage = MemoryStorage()
    exchange = begun(storage=storage)
    ask(exchange, deposit(0))
    exchange.crash(PromoteReplica(replica=wanted), point)
    again = Exchange(storage)
    assert (again.view().primary, again.view().epoch) == (primary, epoch)
    assert reason(ask(again, deposit(1))) is None
