"""Work is shared among processes without a result lost, swapped, or dependent on how many there are."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from holdfast.workers import UNWANTED, Beside, Lost, spread

MODULE = """
import os
import signal
import time
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

def hang_at(number):
    while number == 2:
        pass
    return number

def be_stopped_at_two_and_killed_at_four(number):
    if number in (2, 4):
        os.kill(os.getpid(), signal.SIGSTOP if number == 2 else signal.SIGKILL)
    return number

def tell_who(path):
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(1)

def never_end_but_at_one(number):
    if number == 1:
        raise ValueError("one")
    while number > 1:
        time.sleep(1)
    return number

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

def raise_oddly(number):
    raise Odd(number, number + 1)

def raise_at_three(number):
    if number == 3:
        raise ValueError("three")
    return number
"""
"""What the processes do: a module of its own, because they find their work by its name."""

Work = Callable[[str], Callable[..., Any]]
shared = partial(spread, guard_seconds=60)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    (tmp_path / "work_of_workers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("work_of_workers")
    return lambda name: getattr(module, name)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items_whoever_makes_them(work: Work, workers: int) -> None:
    assert list(shared(work("square"), range(12), workers=workers)) == [number * number for number in range(12)]


def test_a_process_that_dies_costs_its_own_item_and_no_other(work: Work) -> None:
    found = list(shared(work("square_but_die_at_five"), range(9), workers=2))
    lost = Lost("its process died, with exit status 9, 2 times over")
    assert found == [lost if number == 5 else number * number for number in range(9)]


def test_a_process_that_hangs_is_killed_and_costs_its_own_item(work: Work) -> None:
    found = list(spread(work("hang_at"), range(6), workers=2, guard_seconds=6))
    hung = Lost("its process hung: it was killed after 6 s")
    assert found == [hung if number == 2 else number for number in range(6)]


def test_one_worker_is_guarded_as_well_and_nothing_is_left_running(work: Work) -> None:
    found = list(spread(work("be_stopped_at_two_and_killed_at_four"), range(6), workers=1, guard_seconds=6))
    assert found[2] == Lost("its process hung: it was killed after 6 s")
    assert found[4] == Lost("its process died, of SIGKILL, 2 times over")
    assert [found[place] for place in (0, 1, 3, 5)] == [0, 1, 3, 5]
    assert active_children() == []


@pytest.mark.usefixtures("work")
def test_workers_end_when_the_process_that_asked_them_is_killed(tmp_path: Path) -> None:
    script = f"""if __name__ == "__main__":
    import sys
    sys.path.insert(0, {str(tmp_path)!r})
    from work_of_workers import tell_who
    from holdfast.workers import spread
    list(spread(tell_who, [{str(tmp_path / "one")!r}, {str(tmp_path / "two")!r}], workers=2, guard_seconds=60))
"""
    (tmp_path / "asking.py").write_text(script)
    asking = subprocess.Popen([sys.executable, str(tmp_path / "asking.py")])
    who = [tmp_path / "one", tmp_path / "two"]
    try:
        assert eventually(lambda: all(path.exists() and path.read_text() for path in who))
    finally:
        asking.kill()
        asking.wait()
    assert eventually(lambda: not any(Path(f"/proc/{path.read_text()}").exists() for path in who))


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within a minute."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def test_what_died_of_something_else_than_its_item_is_done_again(work: Work, tmp_path: Path) -> None:
    items = [str(tmp_path / name) for name in ("first", "second", "third", "fourth")]
    assert list(shared(work("die_the_first_time"), items, workers=2)) == ["first", "second", "third", "fourth"]


def test_an_exception_of_the_work_is_raised_where_it_was_asked_for(work: Work) -> None:
    results = shared(work("raise_at_three"), range(6), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_what_is_not_wanted_any_more_is_ended_and_neither_waited_for_nor_raised(work: Work) -> None:
    wanted = {0, 1, 2, 3}
    results = shared(work("never_end_but_at_one"), range(4), workers=4, wanted=wanted.__contains__)
    assert next(results) == 0
    wanted.clear()
    assert list(results) == [UNWANTED] * 3
    assert active_children() == []


def test_an_exception_that_cannot_be_sent_is_told_with_its_trace(work: Work) -> None:
    with pytest.raises(RuntimeError, match="1 and 2"):
        list(shared(work("raise_oddly"), [1, 2], workers=1))


def test_nothing_to_share_is_nothing(work: Work) -> None:
    assert list(shared(work("square"), [])) == []
    assert list(shared(work("square"), [4])) == [16]


def test_there_may_be_more_processes_later(work: Work) -> None:
    allowed = iter([1] * 4 + [3] * 100)
    assert list(shared(work("square"), range(8), workers=lambda: next(allowed))) == [n * n for n in range(8)]


def test_what_goes_on_beside_is_waited_for_and_its_exception_raised(work: Work) -> None:
    def nothing_to_add() -> None:
        waited.append(True)

    waited: list[bool] = []
    squares = Beside(lambda _: list(shared(work("square"), range(4), workers=2)))
    assert squares.result(nothing_to_add) == [0, 1, 4, 9]
    assert waited
    assert squares.seconds > 0
    with pytest.raises(ValueError, match="three"):
        Beside(lambda _: list(shared(work("raise_at_three"), range(6), workers=2))).result(nothing_to_add)


def test_what_goes_on_beside_ends_with_its_processes_once_it_is_left(work: Work) -> None:
    def squares(go_on: Callable[[], None]) -> list[object]:
        found = []
        for square in shared(work("square"), range(1_000_000), workers=1):
            go_on()
            found.append(square)
        return found

    beside = Beside(squares)
    assert eventually(lambda: bool(active_children()))
    beside.leave()
    with pytest.raises(InterruptedError):
        beside.result(lambda: None)
    assert eventually(lambda: not active_children())
