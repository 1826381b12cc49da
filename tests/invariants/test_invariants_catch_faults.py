"""Each invariant holds on the healthy exchange, was exercised there, and catches the bugs planted for it."""

import re
from collections import Counter

import pytest

from holdfast.engines import FAULT_PREFIX, REFERENCE, EngineSource
from holdfast.faulting import turns
from holdfast.fuzzing import episode, fuzz
from holdfast.running import Runner
from holdfast.setups import setups_for
from holdfast_engine.exchange import Parts
from holdfast_engine.faults import FAULTS, Fault, fault_by_name
from holdfast_invariants.catalogue import CATALOGUE, invariant_by_id
from holdfast_invariants.goals import GOALS, Goal
from holdfast_invariants.monitor import Invariant
from holdfast_model.errors import HoldfastError

SEED = 20250703
HEALTHY_EPISODES = 125
COMMANDS_MAX = 20_000
INCIDENT = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-(19|20)\d\d(-\d\d(-\d\d)?)?")


def made(engine: EngineSource, numbers: range) -> list[Runner]:
    """Seeded histories, made as `holdfast fuzz` makes them: the setups take turns."""
    setups = setups_for(engine.engine().identity.capabilities)
    return [episode(engine, setup=setups[number % len(setups)], seed=SEED, number=number) for number in numbers]


@pytest.fixture(scope="module")
def healthy() -> list[Runner]:
    """Histories of the exchange without a fault."""
    with EngineSource(REFERENCE) as engine:
        return made(engine, range(HEALTHY_EPISODES))


@pytest.mark.parametrize("invariant", CATALOGUE, ids=lambda invariant: invariant.id)
def test_on_a_healthy_exchange_it_was_checked_and_holds(healthy: list[Runner], invariant: Invariant) -> None:
    coverage = [next(c for c in runner.auditor.coverage() if c.id == invariant.id) for runner in healthy]
    assert sum(entry.checked for entry in coverage) > 0, f"vacuous with seed {SEED}"
    assert [
        (number, violation)
        for number, runner in enumerate(healthy)
        for violation in runner.violations
        if violation.invariant == invariant.id
    ] == [], f"seed {SEED}"


def test_the_healthy_exchange_never_fails(healthy: list[Runner]) -> None:
    assert [runner.failure for runner in healthy if runner.failed] == []


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.id)
def test_each_goal_is_reached_and_not_at_every_step(healthy: list[Runner], goal: Goal) -> None:
    reached: Counter[str] = Counter()
    for runner in healthy:
        reached.update(runner.goals)
    assert 0 < reached[goal.id] < sum(len(runner.steps) for runner in healthy), f"seed {SEED}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught_by_every_invariant_that_it_names(fault: Fault) -> None:
    named = frozenset(fault.violates)
    with EngineSource(FAULT_PREFIX + fault.name) as engine:
        setups = turns(fault, engine.engine().identity.capabilities)
        outcome = fuzz(
            engine, seed=SEED, commands=COMMANDS_MAX, setups=setups, stop=lambda found: named <= found.first.keys()
        )
    assert named - outcome.first.keys() == set(), f"not caught by {COMMANDS_MAX} commands of seed {SEED}"


def test_every_invariant_has_a_fault_that_it_must_catch() -> None:
    named = {identifier for fault in FAULTS for identifier in fault.violates}
    assert named == {invariant.id for invariant in CATALOGUE}


def test_the_first_catalogue_and_at_least_twenty_faults_are_there() -> None:
    assert {invariant.id for invariant in CATALOGUE} >= {
        *(f"CONS-{number}" for number in (1, 2, 3)),
        *(f"FINAL-{number}" for number in (1, 2, 3, 4)),
        *("PRIO-1", "PRIO-2", "REPL-1", "PHASE-1", "MAINT-1", "SURGE-1", "AUDIT-1"),
    }
    assert len(FAULTS) >= 20
    assert {fault.name for fault in FAULTS} >= {
        "stale-snapshot-restore",
        "tail-replayed-twice",
        "refund-in-another-asset",
        "filled-order-reopened",
        "queue-priority-lost",
        "fee-rounded-down",
        "order-accepted-while-halted",
        "stale-replica-promoted",
        "shed-command-has-effect",
    }


@pytest.mark.parametrize("invariant", CATALOGUE, ids=lambda invariant: invariant.id)
def test_an_entry_says_what_it_is_in_one_sentence_and_is_found_by_its_id(invariant: Invariant) -> None:
    assert invariant.sentence.endswith(".")
    assert invariant.sentence.count(". ") == 0
    assert invariant.monitor.invariant == invariant.id
    assert invariant_by_id(invariant.id) is invariant
    assert [incident for incident in invariant.incidents if not INCIDENT.fullmatch(incident)] == []
    assert len(set(invariant.incidents)) == len(invariant.incidents)


def test_an_id_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(HoldfastError, match=r"there is no invariant 'CONS-9'; there are: CONS-1, CONS-2"):
        invariant_by_id("CONS-9")
    with pytest.raises(HoldfastError, match=r"there is no fault 'gremlin'; there are: acknowledged-before"):
        fault_by_name("gremlin")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_says_what_goes_wrong_and_what_it_re_enacts(fault: Fault) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", fault.name)
    assert fault.sentence.endswith(".")
    assert fault.violates
    assert len(set(fault.violates)) == len(fault.violates)
    assert [incident for incident in fault.incidents if not INCIDENT.fullmatch(incident)] == []
    assert fault.parts != Parts()


def test_one_seed_gives_one_history() -> None:
    with EngineSource(REFERENCE) as engine:
        (first, _), (second, other) = made(engine, range(3, 5)), made(engine, range(3, 5))
    assert first.steps == second.steps
    assert first.last_view == second.last_view
    assert first.steps != other.steps
