"""Time to bug: what was found is counted, what was not is never a number, and the page says what was measured."""

import re
from pathlib import Path

import pytest
from benchmarks.time_to_bug import FINDERS, NOT_FOUND, Bounds, Hunt, Search, hunt, machine_for, measure, page
from msgspec.structs import replace

from benchmarks import time_to_bug
from holdfast.counterexamples import silent
from holdfast.faulting import turns
from holdfast_engine.faults import FAULTS, fault_by_name
from holdfast_model.vocabulary import Capability

PAGE = Path(__file__).parents[2] / "docs" / "time-to-bug.md"
EASY, HARD = "fee-rounded-down", "liquidated-while-halted"
BOUNDS = Bounds(commands=250, seconds=60)


def rows(text: str) -> dict[str, list[str]]:
    """The table of faults: what stands in the columns of the three finders."""
    lines = re.findall(r"^\| ([a-z0-9-]+) \| \w+Machine \| (.+) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    return {fault: cells for fault, *cells in lines}


def heads(text: str) -> dict[str, str]:
    """The table of finders: how many they found, and of how many."""
    return dict(re.findall(r"^\| (\w+) \| (\d+ of \d+) \|", text, re.MULTILINE))


def test_what_is_found_is_counted_and_what_is_not_is_told_as_such() -> None:
    told: list[str] = []
    faults = [fault_by_name(EASY), fault_by_name(HARD)]
    result = measure(faults, seed=1, bounds=BOUNDS, workers=1, tell=told.append)
    easy, hard = result.hunts
    assert [search.finder for search in easy.searches] == list(FINDERS)
    for search in easy.searches:
        assert search.commands is not None
        assert 0 < search.commands < BOUNDS.commands + 300, "healing at an example's end may pass the bound"
        assert search.invariant in fault_by_name(EASY).violates
        assert search.given_up_by is None
    given_up = [search for search in hard.searches if search.commands is None]
    assert given_up
    assert {(search.cpu_seconds, search.invariant, search.given_up_by) for search in given_up} == {
        (None, None, "commands")
    }
    assert len(told) == 2
    assert "gave up (commands)" in told[1]
    assert [item.found for item in result.summaries] == [
        sum(each.searches[place].commands is not None for each in result.hunts) for place in range(len(FINDERS))
    ]
    text = page(result)
    assert rows(text).keys() == {EASY, HARD}
    assert NOT_FOUND in rows(text)[HARD]
    assert NOT_FOUND not in rows(text)[EASY]


def test_a_search_is_the_same_again() -> None:
    first, again = (hunt(EASY, seed=1, bounds=BOUNDS) for _ in range(2))
    assert [search.commands for search in first.searches] == [search.commands for search in again.searches]


def test_what_is_kept_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, faults = tmp_path / "kept.jsonl", [fault_by_name(EASY)]
    first = measure(faults, seed=1, bounds=BOUNDS, workers=1, tell=silent, keep=keep)
    asked: list[str] = []

    def asked_for(name: str, *, seed: int, bounds: Bounds) -> Hunt:
        asked.append(f"{name} {seed} {bounds.commands}")
        return first.hunts[0]

    monkeypatch.setattr(time_to_bug, "hunt", asked_for)
    assert measure(faults, seed=1, bounds=BOUNDS, workers=1, tell=silent, keep=keep) == first
    assert asked == []
    measure(faults, seed=2, bounds=BOUNDS, workers=1, tell=silent, keep=keep)
    assert asked == [f"{EASY} 2 250"]


def test_a_kept_line_that_is_none_is_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = tmp_path / "kept.jsonl"
    keep.write_text("nothing\n")
    assert time_to_bug.main(["--only", EASY, "--keep", str(keep)]) == 2
    assert "kept.jsonl:1: " in capsys.readouterr().err


def test_a_violation_of_what_the_fault_does_not_name_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_to_bug, "fault_by_name", lambda name: replace(fault_by_name(name), violates=("ADL-1",)))
    monkeypatch.setattr(time_to_bug, "machine_for", lambda _: machine_for(fault_by_name(EASY)))
    found = hunt(EASY, seed=1, bounds=BOUNDS)
    assert [search.commands for search in found.searches] == [None, None, None]


def test_the_clock_ends_a_search_too() -> None:
    found = hunt(HARD, seed=1, bounds=Bounds(commands=10**9, seconds=0.2))
    assert {search.given_up_by for search in found.searches if search.commands is None} == {"CPU time"}


def test_a_median_counts_what_was_not_found_as_longest() -> None:
    def of(*commands: int | None) -> Hunt:
        searches = (
            Search(
                finder=finder,
                commands=each,
                cpu_seconds=None if each is None else each / 100,
                invariant=None,
                given_up_by=None,
            )
            for finder, each in zip(FINDERS, commands, strict=True)
        )
        return Hunt(fault="x", violates=(), machine="M", searches=tuple(searches))

    summaries, common = time_to_bug.summaries_of([of(None, 5, 7), of(None, None, 1), of(10, 20, 30)])
    assert common == 1
    assert [item.found for item in summaries] == [1, 2, 3]
    assert [item.commands_median for item in summaries] == [None, 20, 7]
    assert [item.commands_median_common for item in summaries] == [10, 20, 30]


def test_an_unknown_fault_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert time_to_bug.main(["--only", "nothing"]) == 2
    assert "there is no fault 'nothing'" in capsys.readouterr().err


def test_each_fault_has_a_setup_to_show_in() -> None:
    assert [fault.name for fault in FAULTS if not turns(fault, frozenset(Capability))] == []
    hangs = turns(fault_by_name("payments-never-resumed"), frozenset(Capability))
    assert [setup.custody is None for setup in hangs] == [False]


def test_each_fault_has_a_machine() -> None:
    assert len({machine_for(fault)[0] for fault in FAULTS}) == 5


def test_the_committed_page_is_of_faults_that_there_are_and_counts_what_it_shows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = rows(text)
    assert table
    assert table.keys() <= {fault.name for fault in FAULTS}
    assert heads(text) == {
        finder: f"{sum(cells[place] != NOT_FOUND for cells in table.values())} of {len(table)}"
        for place, finder in enumerate(FINDERS)
    }
