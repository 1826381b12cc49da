"""The monitors against the invariants written slowly: see `slow_forms`."""

from random import Random

import pytest
from slow_forms.forms import SLOW_FORMS
from slow_forms.histories import SEED, SETUPS, Case, corrupted, episode, faulty

from holdfast_engine.faults import FAULTS
from holdfast_invariants.catalogue import CATALOGUE

HEALTHY_EPISODES = 3
CORRUPTIONS = 12
NOT_YET = {entry.id for entry in CATALOGUE} - {*SLOW_FORMS}


@pytest.fixture(scope="module")
def healthy() -> list[Case]:
    return [episode(workload, number) for workload in SETUPS for number in range(HEALTHY_EPISODES)]


@pytest.fixture(scope="module")
def corruptions(healthy: list[Case]) -> list[Case]:
    random = Random(SEED)  # noqa: S311 - the same corruptions in every run
    return [case for history in healthy for case in corrupted(history, random, CORRUPTIONS)]


def slow(case: Case, invariant: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for step, subject in SLOW_FORMS[invariant](case.tale):
        found[subject] = min(step, found.get(subject, step))
    return found


@pytest.mark.parametrize("invariant", SLOW_FORMS)
def test_on_healthy_histories_neither_finds_anything(healthy: list[Case], invariant: str) -> None:
    exercised = 0
    for case in healthy:
        assert slow(case, invariant) == case.found.get(invariant, {}) == {}, case.name
        exercised += case.checked[invariant] > 0
    assert exercised >= HEALTHY_EPISODES, "nothing was compared"


@pytest.fixture(scope="module")
def faulty_histories() -> list[Case]:
    named = {fault.name for fault in FAULTS if SLOW_FORMS.keys() & set(fault.violates)}
    return [case for fault in sorted(named) for case in faulty(fault)]


@pytest.mark.parametrize("invariant", SLOW_FORMS)
def test_on_planted_faults_both_find_the_same(faulty_histories: list[Case], invariant: str) -> None:
    violated = set()
    for case in faulty_histories:
        found = case.found.get(invariant, {})
        assert slow(case, invariant) == found, case.name
        if found:
            violated.add(case.fault)
    assert violated >= {fault.name for fault in FAULTS if invariant in fault.violates}


@pytest.mark.parametrize("invariant", SLOW_FORMS)
def test_on_corrupted_histories_both_find_the_same(corruptions: list[Case], invariant: str) -> None:
    for case in corruptions:
        assert slow(case, invariant) == case.found.get(invariant, {}), case.name


def test_every_entry_of_the_catalogue_has_a_slow_form() -> None:
    assert {*SLOW_FORMS} | NOT_YET == {entry.id for entry in CATALOGUE}
