"""The examples of machines, shared among processes: nothing lost, nothing swapped, nothing left behind."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path

import pytest

from holdfast.custody_machine import CustodyMachine
from holdfast.machines import ExchangeMachine, InvariantViolatedError
from holdfast.setups import CUSTODY_SETUP, SMALL_SETUP
from holdfast.sharding import SHARD_EXAMPLES, MachineOutcome, MachineWork, run_machines
from holdfast_model.findings import Violation
from holdfast_model.vocabulary.protocol import DATA_DIRECTORY_VARIABLE

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


COMPARING = f"""
from hashlib import sha256

if __name__ == "__main__":
    from holdfast.custody_machine import CustodyMachine
    from holdfast.machines import ExchangeMachine, InvariantViolatedError
    from holdfast.margin_machine import MarginMachine
    from holdfast.setups import CUSTODY_SETUP, MARGIN_SETUP, SMALL_SETUP
    from holdfast.sharding import MachineWork, run_machines

    work = [
        MachineWork("margin", MarginMachine, MARGIN_SETUP, 9),
        MachineWork("custody", CustodyMachine, CUSTODY_SETUP, {SHARD_EXAMPLES + 9}),
        MachineWork("machine", ExchangeMachine, SMALL_SETUP, 9),
    ]
    for allowed in (lambda: 1, lambda: 2, lambda: 3, None):
        if allowed is None:
            import holdfast.gating
        found = run_machines("reference", work, seed=1, steps=8, workers=allowed, progress=lambda _: None)
        told = [
            (one.examples, one.run.sequences, one.run.commands, sorted(one.run.goals.items()), list(one.run.checked))
            + tuple(item.checked for item in one.run.checked.values())
            for one in found
        ]
        print(told[-1][:3], sha256(repr(told).encode()).hexdigest())
"""
"""Machines by any number of processes, each of which has loaded other modules than the others."""


def test_the_outcome_is_the_same_for_any_number_of_processes(tmp_path: Path) -> None:
    script = tmp_path / "comparing.py"
    script.write_text(COMPARING)
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=True)
    one, *others = run.stdout.splitlines()
    assert others == [one] * 3


def test_all_examples_are_run_and_counted() -> None:
    trading, custody = outcomes(TRADING, CUSTODY, workers=2)
    assert trading.run.sequences > TRADING.examples
    assert trading.run.commands > trading.run.sequences
    assert custody.run.sequences > CUSTODY.examples
    assert all(each.seconds > 0 and not each.lost and not each.run.violations for each in (trading, custody))


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

from holdfast.machines import ExchangeMachine, InvariantViolatedError

class DyingMachine(ExchangeMachine):
    def __init__(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""A machine whose process dies: in a module of its own, because processes find it by its name."""


FLAKY = """
from holdfast.machines import ExchangeMachine, InvariantViolatedError
from holdfast_model.findings import Violation
from holdfast_model.vocabulary.protocol import DATA_DIRECTORY_VARIABLE

LIE = Violation(invariant="CONS-1", step=0, subject="BTC", found="1", expected="2")

class FlakyMachine(ExchangeMachine):
    runs = 0

    def come_to_rest(self):
        super().come_to_rest()
        FlakyMachine.runs += 1
        if FlakyMachine.runs == 3:
            self.runner.auditor.violations.append(LIE)
            raise InvariantViolatedError([LIE])
"""
"""A machine that violates an invariant once, and never again."""


def test_what_an_engine_violates_in_one_run_and_not_in_the_next_is_violated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flaky_machine.py").write_text(FLAKY)
    monkeypatch.syspath_prepend(tmp_path)
    flaky = MachineWork("flaky", import_module("flaky_machine").FlakyMachine, SMALL_SETUP, 9)
    found, custody = outcomes(flaky, CUSTODY, workers=2)
    assert [violation.invariant for violation in found.run.violations] == ["CONS-1"]
    assert not custody.run.violations


def test_an_invariant_that_is_violated_is_told_from_one_process_to_another() -> None:
    violation = Violation(invariant="CONS-1", step=0, subject="BTC", found="1", expected="2")
    told = pickle.loads(pickle.dumps(InvariantViolatedError([violation])))  # noqa: S301 - dumped a moment ago
    assert told.violations == (violation,)
    assert "CONS-1" in str(told)


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

HANGING = """
import subprocess
import sys
import time

engine = subprocess.Popen([sys.executable, "-m", "holdfast_engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for number, line in enumerate(sys.stdin.buffer):
    while number > 60:
        time.sleep(60)
    engine.stdin.write(line)
    engine.stdin.flush()
    sys.stdout.buffer.write(engine.stdout.readline())
    sys.stdout.buffer.flush()
"""
"""An engine that answers some requests, and then none any more."""

ASKING = f"""
import signal
import sys

from holdfast.machines import ExchangeMachine, InvariantViolatedError
from holdfast.setups import SMALL_SETUP
from holdfast.sharding import MachineWork, run_machines

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work = [MachineWork("machine", ExchangeMachine, SMALL_SETUP, {LONG.examples})]
    list(run_machines(sys.argv[1], work, seed=1, steps=6, workers=lambda: 2, progress=print))
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


@pytest.mark.parametrize("kind", ["answering", "hanging"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_the_engines_of_a_run_that_is_killed_or_interrupted(
    how: int, kind: str, tmp_path: Path
) -> None:
    script, hanging, folders = tmp_path / "asking.py", tmp_path / "hanging.py", tmp_path / "folders"
    script.write_text(ASKING)
    hanging.write_text(HANGING)
    folders.mkdir()
    engine = f"stdio:{sys.executable} {hanging}" if kind == "hanging" else ENGINE
    with subprocess.Popen(
        [sys.executable, str(script), engine],
        env={**os.environ, "TMPDIR": str(folders)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as asking:
        assert eventually(lambda: len(list(folders.glob("holdfast-*/*"))) >= 2)
        assert engines_in(folders)
        time.sleep(2 if kind == "hanging" else 0)
        asking.send_signal(how)
        _, told = asking.communicate(timeout=60)
    assert eventually(lambda: not list(folders.glob("holdfast-*")))
    assert eventually(lambda: not engines_in(folders))
    assert "SpawnProcess" not in told


def engines_in(folders: Path) -> list[str]:
    """The numbers of the processes whose data directory is below this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{DATA_DIRECTORY_VARIABLE}={folders}/".encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within a minute."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()
