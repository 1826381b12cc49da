"""The monitors against the invariants written slowly: see `slow_forms`."""

from functools import cache
from random import Random

import pytest
from slow_forms.counted import SLOW
from slow_forms.forms import SLOW_FORMS, found_slowly
from slow_forms.histories import SEED, SETUPS, Case, corrupted, episode, faulty

from holdfast_engine.faults import FAULTS
from holdfast_invariants.catalogue import CATALOGUE

HEALTHY_EPISODES = 2
CORRUPTIONS = 12
AT_ONCE = 2
"""With how many of its planted faults a form is compared in the fast suite; with the others in the deep one."""


@pytest.fixture(scope="module")
def healthy() -> list[Case]:
    return [episode(workload, number) for workload in SETUPS for number in range(HEALTHY_EPISODES)]


@pytest.fixture(scope="module")
def corruptions(healthy: list[Case]) -> list[Case]:
    random = Random(SEED)  # noqa: S311 - the same corruptions in every run
    return [case for history in healthy for case in corrupted(history, random, CORRUPTIONS)]


@cache
def faulty_histories(fault: str) -> list[Case]:
    """Histories of a planted fault in which everything fires that it must violate."""
    return faulty(fault)


@pytest.mark.parametrize("invariant", SLOW_FORMS)
def test_on_healthy_histories_neither_finds_anything(healthy: list[Case], invariant: str) -> None:
    exercised = 0
    for case in healthy:
        assert found_slowly(case.tale, invariant) == case.found.get(invariant, {}) == {}, case.name
        exercised += case.checked[invariant] > 0
    assert exercised >= HEALTHY_EPISODES, "nothing was compared"


FAULTS_OF = {entry: [fault.name for fault in FAULTS if entry in fault.violates] for entry in SLOW_FORMS}
FIRST = [(entry, fault) for entry, names in FAULTS_OF.items() for fault in names[:AT_ONCE]]
OTHERS = [(entry, fault) for entry, names in FAULTS_OF.items() for fault in names[AT_ONCE:]]


@pytest.mark.parametrize(
    ("invariant", "fault"),
    [*FIRST, *(pytest.param(entry, fault, marks=pytest.mark.deep) for entry, fault in OTHERS)],
)
def test_on_a_planted_fault_both_find_the_same(invariant: str, fault: str) -> None:
    cases = faulty_histories(fault)
    for case in cases:
        assert found_slowly(case.tale, invariant) == case.found.get(invariant, {}), case.name
    assert any(invariant in case.found for case in cases), "nothing was compared"


@pytest.mark.parametrize("invariant", SLOW_FORMS)
def test_on_corrupted_histories_both_find_the_same(corruptions: list[Case], invariant: str) -> None:
    for case in corruptions:
        assert found_slowly(case.tale, invariant) == case.found.get(invariant, {}), case.name


def test_most_corruptions_violate_something(corruptions: list[Case]) -> None:
    assert sum(bool(case.found) for case in corruptions) * 2 > len(corruptions)


def test_every_entry_of_the_catalogue_has_a_slow_form() -> None:
    assert sorted([*SLOW_FORMS, *SLOW]) == sorted(entry.id for entry in CATALOGUE)
