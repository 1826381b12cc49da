"""The machine for operations: each of its moves does what it says, and finds the faults that are planted for it."""

from collections.abc import Callable

import pytest
from hypothesis import Phase as HypothesisPhase
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.engine import LocalEngine
from holdfast.engines import EngineSource
from holdfast.machines import InvariantViolatedError, run_machine
from holdfast.operations_machine import OperationsMachine
from holdfast.setups import OPERATIONS_SETUP
from holdfast_engine.faults import fault_by_name
from holdfast_model.vocabulary import CrashPoint, KillReplica, PartitionReplica, Phase

Move = Callable[[OperationsMachine], None]


def replaced(machine: OperationsMachine) -> None:
    machine.replace_primary(trouble=PartitionReplica, heir=0, client=1, price=100, back=True)


def killed(machine: OperationsMachine) -> None:
    machine.lose_primary_in_flight(client=1, price=100, point=CrashPoint.AFTER_JOURNAL, heir=0, times=2)


def lost(machine: OperationsMachine) -> None:
    machine.lose_primary_in_flight(client=1, price=100, point=CrashPoint.TORN_JOURNAL, heir=0, times=2)


def alone(machine: OperationsMachine) -> None:
    machine.lose_quorum(trouble=KillReplica, client=1, price=100, lost=True, heir=0)


def lagging(machine: OperationsMachine) -> None:
    machine.read_while_lagging(client=0, price=100, replica=0, amount=30)


def upgraded(machine: OperationsMachine) -> None:
    machine.upgrade(announced=True, confirmed=True, emptied=True, release=1, count=3, activated=True, restored=True)


def careless(machine: OperationsMachine) -> None:
    machine.upgrade(
        announced=True, confirmed=False, emptied=False, release=0, count=0, activated=False, restored=False
    )


def aborted(machine: OperationsMachine) -> None:
    upgraded(machine)
    machine.abort(release=1, count=2, orders=[(0, 100), (1, 99)], cancelled=True, back=True)


def liquidated(machine: OperationsMachine) -> None:
    machine.liquidate_after_a_restart(index=3, size=30, percent=20, way=0)


def surged(machine: OperationsMachine) -> None:
    machine.surge(orders=4, reads=3, cancels=2, price=100, again=0)


def hurried(machine: OperationsMachine) -> None:
    machine.hurry(client=0, more=1, pause=1_000)


@pytest.fixture
def machine() -> OperationsMachine:
    """A machine whose exchange is healthy and whose clients have money."""
    made = OperationsMachine()
    made.begin(funded=True)
    return made


@pytest.mark.parametrize(
    ("move", "goals"),
    [
        (replaced, {"replica-promoted", "deposed-primary-asked", "no-quorum"}),
        (killed, {"promoted-after-a-kill", "in-flight-survived-a-failover", "retry-refused"}),
        (lost, {"promoted-after-a-kill", "in-flight-lost-with-the-primary", "retry-refused"}),
        (alone, {"no-quorum", "promoted-after-a-kill"}),
        (lagging, {"read-at-a-lagging-replica", "stale-promotion-refused"}),
        (upgraded, {"maintenance-by-procedure", "release-activated"}),
        (careless, {"skipped-barrier-refused"}),
        (aborted, {"maintenance-tried-again", "release-rolled-back", "cancelled-by-force"}),
        (liquidated, {"liquidation-before-the-barrier-refused", "liquidation-deleverage"}),
        (surged, {"read-shed", "shed"}),
        (hurried, {"rate-limited"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_move_reaches_what_it_is_for(machine: OperationsMachine, move: Move, goals: set[str]) -> None:
    move(machine)
    assert goals <= machine.runner.goals.keys()


def test_the_venue_opens_again_after_everything(machine: OperationsMachine) -> None:
    careless(machine)
    closed = machine.runner.auditor.told.phase
    machine.reopen()
    assert (closed, machine.runner.auditor.told.phase) == (Phase.MAINTENANCE, Phase.OPEN)


@pytest.mark.parametrize(
    ("fault", "invariant", "move"),
    [
        ("split-brain", "FENCE-1", replaced),
        ("retry-executed-after-failover", "FINAL-4", killed),
        ("acknowledged-before-the-quorum", "FENCE-1", alone),
        ("lagging-read-stamped-as-current", "READ-1", lagging),
        (
            "node-skipped-in-deployment",
            "PHASE-2",
            lambda machine: machine.upgrade(
                announced=True, confirmed=True, emptied=True, release=1, count=2, activated=True, restored=False
            ),
        ),
        ("maintenance-left-unconfirmed", "PHASE-2", careless),
        ("load-barrier-ignored", "PHASE-2", liquidated),
        ("reads-served-first", "SURGE-1", surged),
        ("rate-limit-never-resets", "SURGE-1", hurried),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_move_finds_the_fault_that_it_is_for(fault: str, invariant: str, move: Move) -> None:
    class Faulty(OperationsMachine):
        make_engine = staticmethod(lambda: LocalEngine(parts=fault_by_name(fault).parts))

    machine = Faulty()
    machine.begin(funded=True)
    with pytest.raises(InvariantViolatedError, match=invariant):
        move(machine)


def test_the_machine_can_be_used_from_a_test_of_ones_own() -> None:
    class Faulty(OperationsMachine):
        make_engine = staticmethod(lambda: LocalEngine(parts=fault_by_name("epoch-not-raised").parts))

    chosen = settings(
        max_examples=200, stateful_step_count=20, database=None, deadline=None, phases=(HypothesisPhase.generate,)
    )
    with pytest.raises(InvariantViolatedError, match="FENCE-1"):
        run_state_machine_as_test(Faulty, settings=chosen)


def test_the_machine_finds_nothing_on_the_healthy_exchange() -> None:
    with EngineSource("reference") as source:
        outcome = run_machine(
            source, setup=OPERATIONS_SETUP, seed=3, examples=15, steps=30, machine=OperationsMachine
        )
    assert outcome.violations == ()
    assert outcome.goals["replica-promoted"] > 0
