"""docs/your-engine.md: its files run under pytest as they stand, and fail when the engine is wrong."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest import TestCase

import pytest

from holdfast.machines import ExchangeMachine

PAGE = (Path(__file__).parents[2] / "docs" / "your-engine.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
OBJECT = "LocalEngine()"


def run_pytest(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What a user sees who runs a file of the page, with warnings as errors."""
    (folder / "test_my_exchange.py").write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_my_exchange.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["process", "object"])
def test_the_file_passes_as_it_stands(name: str, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, BLOCKS[name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.slow
def test_the_file_fails_with_the_smallest_sequence_where_an_engine_is_wrong(tmp_path: Path) -> None:
    line, wrong = re.compile(r"^ENGINE = .*$", re.MULTILINE), 'ENGINE = "fault:cancel-all-misses-one"'
    faulty, count = line.subn(wrong, BLOCKS["process"])
    assert count == 1
    done = run_pytest(tmp_path, faulty)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert re.search(r"^E +AssertionError: [^\n]+\n(E +[^\n]+\n){1,12}?E +PRIO-2", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_fault_of_an_object_is_found_by_hypothesis_itself(tmp_path: Path) -> None:
    assert BLOCKS["object"].count(OBJECT) == 1
    faulty = BLOCKS["object"].replace(OBJECT, 'LocalEngine(parts=fault_by_name("hash-chain-broken").parts)')
    done = run_pytest(tmp_path, f"from holdfast_engine.faults import fault_by_name\n\n{faulty}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "InvariantViolatedError" in done.stdout
    assert "AUDIT-1" in done.stdout


def test_every_machine_of_the_table_is_there() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for name, module in rows:
        machine = getattr(import_module(module), name)
        assert issubclass(machine, ExchangeMachine)
        assert machine.__module__ == module
        assert issubclass(machine.TestCase, TestCase)
