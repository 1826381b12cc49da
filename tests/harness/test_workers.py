"""Work is shared among processes without a result lost, swapped, or dependent on how many there are."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from holdfast.workers import spread

MODULE = """
import os
from pathlib import Path
from typing import Any

def square(number):
    return number * number

def square_but_die_at_five(number):
    if number == 5:
        os._exit(9)
    return number * number

def die_the_first_time(path):
    seen = Path(path)
    if seen.name == "first" and not seen.exists():
        seen.touch()
        os._exit(9)
    return seen.name

def raise_at_three(number):
    if number == 3:
        raise ValueError("three")
    return number
"""
"""What the processes do: a module of its own, because they find their work by its name."""

Work = Callable[[str], Callable[..., Any]]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    (tmp_path / "work_of_workers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("work_of_workers")
    return lambda name: getattr(module, name)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items_whoever_makes_them(work: Work, workers: int) -> None:
    assert list(spread(work("square"), range(12), workers=workers)) == [number * number for number in range(12)]


def test_a_process_that_dies_costs_its_own_item_and_no_other(work: Work) -> None:
    found = list(spread(work("square_but_die_at_five"), range(9), workers=2))
    assert found == [None if number == 5 else number * number for number in range(9)]


def test_what_died_of_something_else_than_its_item_is_done_again(work: Work, tmp_path: Path) -> None:
    items = [str(tmp_path / name) for name in ("first", "second", "third", "fourth")]
    assert list(spread(work("die_the_first_time"), items, workers=2)) == ["first", "second", "third", "fourth"]


def test_an_exception_of_the_work_is_raised_where_it_was_asked_for(work: Work) -> None:
    results = spread(work("raise_at_three"), range(6), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_nothing_to_share_is_nothing(work: Work) -> None:
    assert list(spread(work("square"), [])) == []
    assert list(spread(work("square"), [4])) == [16]
