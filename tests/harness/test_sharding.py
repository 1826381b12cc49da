"""The examples of machines, shared among processes: nothing lost, nothing swapped, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from holdfast.custody_machine import CustodyMachine
from holdfast.machines import ExchangeMachine, MachineRun
from holdfast.setups import CUSTODY_SETUP, SMALL_SETUP
from holdfast.sharding import SHARD_EXAMPLES, MachineOutcome, MachineWork, run_machines

TRADING = MachineWork("machine", ExchangeMachine, SMALL_SETUP, SHARD_EXAMPLES + 9)
CUSTODY = MachineWork("custody-machine", CustodyMachine, CUSTODY_SETUP, 9)


def outcomes(
    *work: MachineWork, workers: int | None, engine: str = "reference", steps: int = 6
) -> list[MachineOutcome]:
    told: list[str] = []
    allowed = None if workers is None else lambda: workers
    found = run_machines(engine, work, seed=1, steps=steps, workers=allowed, progress=told.append)
    over = [outcome for outcome in found if outcome.over]
    assert told
    return over


def content(run: MachineRun) -> Any:  # noqa: ANN401 - whatever there is to compare
    return run.sequences, run.commands, run.goals, run.checked, run.failing, run.violations


def test_the_outcome_is_the_same_for_any_number_of_processes() -> None:
    one, two = (outcomes(TRADING, CUSTODY, workers=workers) for workers in (1, 2))
    assert [content(each.run) for each in one] == [content(each.run) for each in two]
    assert one[0].run.sequences > TRADING.examples
    assert one[0].run.commands > 0
    assert all(each.seconds > 0 and not each.lost and not each.run.violations for each in (*one, *two))


def test_one_process_does_it_all_where_that_is_wanted() -> None:
    (found,) = outcomes(CUSTODY, workers=None)
    assert found.run.sequences >= CUSTODY.examples
    long = MachineWork("machine", ExchangeMachine, SMALL_SETUP, 40 * SHARD_EXAMPLES)
    (found,) = outcomes(long, engine="fault:hash-chain-broken", workers=None)
    assert "AUDIT-1" in {violation.invariant for violation in found.run.violations}
    assert found.run.sequences < 3 * SHARD_EXAMPLES
    assert active_children() == []


def test_an_outcome_is_told_after_each_shard() -> None:
    told = [
        (outcome.examples, outcome.over)
        for outcome in run_machines(
            "reference", [TRADING, CUSTODY], seed=1, steps=1, workers=lambda: 2, progress=lambda _: None
        )
    ]
    assert told == [(SHARD_EXAMPLES, False), (SHARD_EXAMPLES + 9, True), (9, True)]


def test_each_shard_has_examples_of_its_own_and_only_the_first_begins_with_the_openings() -> None:
    (whole,) = outcomes(TRADING, workers=1)
    shorter = MachineWork("machine", ExchangeMachine, SMALL_SETUP, SHARD_EXAMPLES)
    (first,) = outcomes(shorter, workers=1)
    assert whole.run.sequences == first.run.sequences + 9
    assert whole.run.commands > first.run.commands


def test_a_machine_that_finds_a_violation_goes_no_further_and_the_next_one_goes_on() -> None:
    long = MachineWork("machine", ExchangeMachine, SMALL_SETUP, 40 * SHARD_EXAMPLES)
    found, custody = outcomes(long, CUSTODY, engine="fault:hash-chain-broken", workers=2)
    assert "AUDIT-1" in {violation.invariant for violation in found.run.violations}
    assert found.run.failing
    assert found.run.sequences < 3 * SHARD_EXAMPLES
    assert not found.lost
    assert "AUDIT-1" in {violation.invariant for violation in custody.run.violations}


DYING = """
import os
import signal

from holdfast.machines import ExchangeMachine

class DyingMachine(ExchangeMachine):
    def __init__(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""A machine whose process dies: in a module of its own, because processes find it by its name."""


def test_a_process_that_dies_costs_its_shard_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    dying = MachineWork("dying", import_module("dying").DyingMachine, SMALL_SETUP, 9)
    lost, custody = outcomes(dying, CUSTODY, workers=2)
    assert lost.lost == {"examples 1 to 9 of dying": "its process died, of SIGKILL, 2 times over"}
    assert lost.run.sequences == 0
    assert custody.run.sequences >= CUSTODY.examples
    assert not custody.lost


LONG = MachineWork("machine", ExchangeMachine, SMALL_SETUP, 100 * SHARD_EXAMPLES)
ENGINE = f"stdio:{sys.executable} -m holdfast_engine"

ASKING = f"""
import signal

from holdfast.machines import ExchangeMachine
from holdfast.setups import SMALL_SETUP
from holdfast.sharding import MachineWork, run_machines

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work = [MachineWork("machine", ExchangeMachine, SMALL_SETUP, {LONG.examples})]
    list(run_machines({ENGINE!r}, work, seed=1, steps=6, workers=lambda: 2, progress=print))
"""


def test_nothing_is_left_of_the_engines_when_the_outcome_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    work = [MachineWork("short", ExchangeMachine, SMALL_SETUP, 9), LONG]
    found = run_machines(ENGINE, work, seed=1, steps=6, workers=lambda: 2, progress=lambda _: None)
    first = next(found)
    assert first.over
    assert first.run.sequences >= 9
    assert eventually(lambda: any(tmp_path.glob("holdfast-*/*")))
    found.close()
    assert active_children() == []
    assert list(tmp_path.glob("holdfast-*")) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_the_engines_of_a_run_that_is_killed_or_interrupted(how: int, tmp_path: Path) -> None:
    script = tmp_path / "asking.py"
    script.write_text(ASKING)
    folders = tmp_path / "folders"
    folders.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "TMPDIR": str(folders)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as asking:
        assert eventually(lambda: len(list(folders.glob("holdfast-*/*"))) >= 2)
        asking.send_signal(how)
        asking.wait(60)
    assert eventually(lambda: not list(folders.glob("holdfast-*")))
    assert eventually(lambda: not processes_that_name(str(folders)))


def processes_that_name(text: str) -> list[str]:
    """The numbers of the processes with this text in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within a minute."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()
