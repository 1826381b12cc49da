"""Differential testing: faults differ, the reference does not, and a finding replays."""

import sys

import pytest

from holdfast.counterexamples import Progress
from holdfast.differing import Comparison, Diff, Pair, compare
from holdfast.engine import EngineFailure
from holdfast.engines import EngineSource
from holdfast.faulting import representatives, turns
from holdfast.generating import SMALL_SETUP
from holdfast_engine.conventions import parts_with
from holdfast_engine.faults import FAULTS, Fault
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Capability

ENGINE = f"stdio:{sys.executable} -m holdfast_engine"


def test_the_reference_as_a_process_is_the_reference() -> None:
    with EngineSource(ENGINE) as source:
        diff = Diff(source, seed=1)
        diff.run(commands=300)
    assert diff.findings == ()
    assert diff.commands >= 300
    assert diff.comparison.compared["fills"] > 0
    assert diff.comparison.compared["balances"] > 0


def test_a_planted_fault_differs_over_the_wire_and_its_finding_is_small() -> None:
    with EngineSource(f"{ENGINE} --fault takers-price") as source:
        diff = Diff(source, seed=1)
        diff.run(commands=200)
        assert diff.findings
        smallest = min(diff.findings, key=lambda finding: finding.counterexample.commands)
        assert smallest.counterexample.commands <= 4
        again = compare(source, Comparison(diff.identity), SMALL_SETUP, smallest.counterexample.steps)
    assert [item.kind for item in again.differences] == [item.kind for item in smallest.counterexample.differences]


class Seen(Exception):  # noqa: N818 - what is looked for, and no error
    """An engine differed from the reference."""


class FirstDifference(Diff):
    """A comparison that ends where an engine differs, without making what shows it small."""

    def _difference(self, pair: Pair, progress: Progress) -> None:  # noqa: ARG002 - nothing takes long
        raise Seen(pair.differences[0].kind)


DEEP = {
    "collateral-seized-whole",
    "debt-grown-at-restore",
    "deleveraged-by-id",
    "insurance-passed-over",
    "insurance-pays-twice",
    "liquidated-above-maintenance",
    "liquidated-while-halted",
    "maintenance-left-unreconciled",
    "old-release-skips-cancels",
    "payments-never-resumed",
    "product-opened-without-a-mark",
    "promotion-granted-twice",
    "release-activated-over-open-orders",
    "retry-executed-after-failover",
    "stop-forgotten-at-restore",
    "transfer-lost-at-restore",
}
"""The faults whose first difference comes so late that `make nightly` looks for it."""


def test_the_faults_that_differ_late_are_faults_and_few() -> None:
    assert {fault.name for fault in FAULTS} >= DEEP
    assert len(DEEP) * 8 < len(FAULTS)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            id=fault.name,
            marks=[pytest.mark.deep if fault.name in DEEP or fault not in representatives(2) else pytest.mark.slow],
        )
        for fault in FAULTS
    ],
)
def test_every_planted_fault_differs_from_the_reference(fault: Fault) -> None:
    with EngineSource(f"fault:{fault.name}") as source:
        setups = turns(fault, source.engine().identity.capabilities)
        with pytest.raises(Seen):
            FirstDifference(source, seed=1, setups=setups).run(commands=20_000)


def test_what_an_engine_does_not_declare_is_named_as_not_compared() -> None:
    with EngineSource("reference") as source:
        engine = source.engine()
        engine.limit(frozenset(Capability) - {Capability.FEES, Capability.RESTART, Capability.REPLICAS})  # type: ignore[attr-defined]  # LocalEngine's
        diff = Diff(source, seed=3)
        diff.run(commands=400)
        named = {item.subject for item in diff.not_compared}
    assert {"fees", "restart", "replicas"} <= named
    assert "limit_orders" not in named
    assert diff.findings == ()


def test_a_convention_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(HoldfastError, match="declares the convention 'anything-goes'; there are: amend"):
        parts_with(["anything-goes"], funds=True)


def test_no_process_outlives_its_source() -> None:
    with EngineSource(ENGINE) as source:
        engine = source.engine()
        engine.reset(SMALL_SETUP)
    with pytest.raises(EngineFailure, match=r"not running|closed"):
        engine.submit(())
