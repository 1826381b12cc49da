"""The machines for custody and operations find every fault that is planted for these parts, by what it violates.

The machine of everything at once finds some of each part: it has more to choose from, and so takes longer for any.

One seed, nothing remembered or shrunk: a fault that is not found needs a move of the machine that puts together what
chance does not. `EXAMPLES` are many times what most faults need; each run stops at the first violation.
"""

from collections.abc import Callable

import pytest

from holdfast.custody_machine import CustodyMachine
from holdfast.engine import Engine, LocalEngine
from holdfast.machines import ExchangeMachine, InvariantViolatedError, run_examples
from holdfast.operations_machine import OperationsMachine
from holdfast.setups import CUSTODY_FROST_SETUP, CUSTODY_SETUP, OPERATIONS_SETUP, WHOLE_SETUP
from holdfast.whole_machine import WholeMachine
from holdfast_engine.faults import custody, fault_by_name, operations, procedure, replicas
from holdfast_engine.faults.fault import Fault
from holdfast_model.vocabulary import Capability, Setup

SEED = 1
EXAMPLES = 400
STEPS = 50
EXAMPLES_HEALTHY = 12
LATE = {
    "tier-overfilled",
    "queue-priority-lost",
    "fill-forgotten",
    "split-brain",
    "deposed-primary-acknowledges",
    "cut-off-primary-decides",
    "promoted-without-a-quorum",
    "retry-executed-after-failover",
    "old-release-skips-cancels",
    "cut-off-replica-read",
    "release-in-force-before-activation",
    "release-activated-over-open-orders",
}
"""The faults that take the machine two seconds and more: too slow for the fast loop."""


def machine_for(fault: Fault) -> type[ExchangeMachine]:
    """The machine of the part that a fault is in, or that it needs."""
    return CustodyMachine if fault in custody.FAULTS or Capability.CUSTODY in fault.needs else OperationsMachine


def violations(
    machine: type[ExchangeMachine], setup: Setup, make: Callable[[], Engine], *, examples: int = EXAMPLES
) -> tuple[set[str], int]:
    """What the step violated at which the machine stopped, which is nothing if it did not, and how many it took."""
    taken = 0

    class Subject(machine):  # type: ignore[misc,valid-type]  # the class is chosen at run time
        make_engine = staticmethod(make)

        def teardown(self) -> None:
            nonlocal taken
            taken += len(self.runner.steps)
            super().teardown()

    Subject.setup = setup
    found: set[str] = set()
    try:
        run_examples(Subject, seed=SEED, examples=examples, steps=STEPS)
    except InvariantViolatedError as error:
        found = {violation.invariant for violation in error.violations}
    return found, taken


FAULTS = (*custody.FAULTS, *operations.FAULTS, *replicas.FAULTS, *procedure.FAULTS)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=[pytest.mark.slow] if fault.name in LATE else []) for fault in FAULTS],
)
def test_the_machine_finds_a_fault_by_an_invariant_that_it_names(fault: Fault) -> None:
    machine = machine_for(fault)
    found, taken = violations(machine, machine.setup, lambda: LocalEngine(parts=fault.parts))
    assert found & set(fault.violates), f"{sorted(found)} within {taken} steps of seed {SEED}"


@pytest.mark.parametrize("name", ["forged-share-accepted", "share-too-few", "nonce-taken-again"])
def test_the_machine_finds_faults_of_signing_where_signatures_are_real(name: str) -> None:
    fault = fault_by_name(name)
    found, taken = violations(CustodyMachine, CUSTODY_FROST_SETUP, lambda: LocalEngine(parts=fault.parts))
    assert found & set(fault.violates), f"{sorted(found)} within {taken} steps of seed {SEED}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "liquidated-above-maintenance",
        "order-without-margin",
        "refund-in-another-asset",
        "payment-broadcast-again",
        "barrier-forgiven-by-an-abort",
        "stale-replica-promoted",
    ],
)
def test_the_machine_of_everything_finds_faults_of_each_part(name: str) -> None:
    fault = fault_by_name(name)
    found, taken = violations(WholeMachine, WHOLE_SETUP, lambda: LocalEngine(parts=fault.parts))
    assert found & set(fault.violates), f"{sorted(found)} within {taken} steps of seed {SEED}"


def test_every_fault_of_these_parts_is_looked_for_and_late_ones_are_among_them() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 60
    assert {fault.name for fault in FAULTS} >= LATE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "setup"),
    [(CustodyMachine, CUSTODY_SETUP), (OperationsMachine, OPERATIONS_SETUP), (WholeMachine, WHOLE_SETUP)],
    ids=["custody", "operations", "whole"],
)
def test_the_same_machine_finds_nothing_on_the_healthy_exchange(machine: type[ExchangeMachine], setup: Setup) -> None:
    found, taken = violations(machine, setup, LocalEngine, examples=EXAMPLES_HEALTHY)
    assert found == set()
    assert taken > EXAMPLES_HEALTHY * STEPS / 2
