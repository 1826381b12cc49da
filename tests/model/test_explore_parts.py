"""The explorer's processes: one or two give equal evidence, limits and interrupts stop both, a lost one is told."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from holdfast_model.checkers import partitions, search
from holdfast_model.checkers.explore import INTERRUPTED, explore
from holdfast_model.checkers.partitions import RemotePart
from holdfast_model.checkers.states import Candidates, States, hashed
from holdfast_model.errors import InconclusiveError
from holdfast_model.evidence import Verdict
from holdfast_model.specs import load_model

needs_fork = pytest.mark.skipif(not partitions.can_fork(), reason="processes of a search are forked on Linux only")


@contextmanager
def forks(monkeypatch: pytest.MonkeyPatch, *, at: int = 100) -> Iterator[list[RemotePart]]:
    """Searches fork from this size of a level on; the list has the processes that they forked."""
    made: list[RemotePart] = []
    init = RemotePart.__init__

    def counted(self: RemotePart, *arguments: object) -> None:
        init(self, *arguments)  # type: ignore[arg-type]  # passed on as they came
        made.append(self)

    monkeypatch.setattr(search, "SPLIT_STATES", at)
    monkeypatch.setattr(RemotePart, "__init__", counted)
    yield made
    assert made, "no process was forked, so nothing was shown"
    for remote in made:
        with pytest.raises(ChildProcessError):
            os.waitpid(remote._process, os.WNOHANG)


@needs_fork
@pytest.mark.parametrize(
    "model",
    [
        "exchange:slice=trading",
        "yardstick:orders=1,bug=restore",
        "exchange:slice=maintenance,bug=barrier-skipped",
        "exchange:slice=custody,signers=2,nonces=1,blocks=2",
    ],
)
@pytest.mark.parametrize("symmetry", [None, "accounts"])
def test_one_process_and_two_give_equal_evidence(
    model: str, symmetry: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(model)
    with forks(monkeypatch):
        alone = explore(loaded, workers=1, symmetry=symmetry)
        assert explore(loaded, workers=2, symmetry=symmetry) == alone
    whole = explore(loaded, workers=1, symmetry=symmetry)  # so small that the states were in one part
    assert (whole.distinct, whole.generated, whole.depth) == (alone.distinct, alone.generated, alone.depth)
    assert (whole.verdict, whole.deadlocks, whole.actions) == (alone.verdict, alone.deadlocks, alone.actions)
    assert [v.states for v in whole.violations] == [v.states for v in alone.violations]
    assert [goal.states for goal in whole.goals] == [goal.states for goal in alone.goals]
    assert len(whole.deadlock) == len(alone.deadlock)


@needs_fork
def test_an_eventuality_is_decided_alike_by_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model("exchange:slice=maintenance")
    assert loaded.responses
    with forks(monkeypatch):
        found = explore(loaded, workers=2)
    assert found.verdict is Verdict.HELD
    assert {row.states for row in found.properties} == {15_075}


@needs_fork
@pytest.mark.parametrize("states", [5_000, 5_001, 12_345])
def test_a_limit_of_states_is_kept_to_the_state_by_two_processes(
    states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model("exchange:slice=trading")
    with forks(monkeypatch):
        alone = explore(loaded, workers=1, states_max=states)
        assert alone.distinct == states
        assert {row.states for row in alone.properties} == {states}
        assert explore(loaded, workers=2, states_max=states) == alone


@needs_fork
def test_a_limit_of_memory_stops_both_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model("yardstick")
    with forks(monkeypatch):
        found = explore(loaded, workers=2, memory_bytes_max=2_000_000)
        assert found == explore(loaded, workers=1, memory_bytes_max=2_000_000)
    assert found.stopped_by == "memory limit of 2000000 bytes"
    assert found.verdict is Verdict.INCONCLUSIVE
    assert {row.states for row in found.properties} == {found.distinct}


@needs_fork
def test_a_search_that_is_told_to_stop_says_what_it_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    with forks(monkeypatch):
        found = explore(load_model("yardstick"), workers=2, stop=stop)
    assert found.stopped_by == INTERRUPTED
    assert found.depth == 13
    assert 0 < found.distinct < 1_482_570
    assert {row.states for row in found.properties} == {found.distinct}
    assert found.verdict is Verdict.INCONCLUSIVE


@needs_fork
def test_a_process_that_is_killed_leaves_nothing_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    with forks(monkeypatch) as made:

        def kill(level: int, *_: int) -> None:
            if made and level > 12:
                os.kill(made[0]._process, signal.SIGKILL)
                time.sleep(0.1)

        with pytest.raises(InconclusiveError, match="a process of the search ended unexpectedly"):
            explore(load_model("yardstick"), workers=2, progress=kill)


@needs_fork
def test_a_mistake_in_another_process_is_a_bug_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: partitions.Part, *_: int) -> None:
        raise ValueError(f"part {self._part}")

    with forks(monkeypatch) as made:
        spread = partitions.Parts._spread

        def spread_and_break(self: partitions.Parts, workers: int) -> None:
            expand = partitions.Part.expand
            monkeypatch.setattr(partitions.Part, "expand", fails)
            spread(self, workers)
            monkeypatch.setattr(partitions.Part, "expand", expand)

        monkeypatch.setattr(partitions.Parts, "_spread", spread_and_break)
        with pytest.raises(AssertionError, match="ValueError in another process of the search: part 1"):
            explore(load_model("yardstick"), workers=2)
        assert made


def test_a_small_model_forks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast_model.checkers.partitions.os.fork", lambda: pytest.fail("forked"))
    assert explore(load_model("exchange:slice=surge"), workers=2).verdict is Verdict.HELD


def test_states_are_told_apart_by_all_their_words_even_where_all_hashes_are_equal() -> None:
    generator = np.random.default_rng(7)
    rows = generator.integers(0, 20, (2, 3_000)).astype(np.uint64)
    expected = {tuple(row) for row in rows.T.tolist()}
    zeros = np.zeros(len(rows[0]), np.int32)
    for hashes in (hashed([*rows]), np.zeros(len(rows[0]), np.uint64)):
        states = States(2, memory_bytes_max=1 << 30)
        numbers = np.concatenate(
            [
                states.add(Candidates([*rows[:, part]], hashes[part], zeros[part], zeros[part]))
                for part in (slice(0, 1_000), slice(1_000, 3_000))
            ]
        )
        assert states.count == len(expected)
        kept = np.array([word[: states.count] for word in states.words])
        assert (kept[:, numbers] == rows).all()
