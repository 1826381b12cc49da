"""docs/your-engine.md: its files run under pytest as they stand, and fail when the engine is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "your-engine.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
WIRE, OBJECT = "-m holdfast_engine", "LocalEngine()"


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
def test_the_rule_that_the_user_adds_finds_what_it_is_for_on_a_process(tmp_path: Path) -> None:
    assert BLOCKS["process"].count(WIRE) == 1
    done = run_pytest(tmp_path, BLOCKS["process"].replace(WIRE, f"{WIRE} --fault cancel-all-misses-one"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "PRIO-2" in done.stdout


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
        program = f"from {module} import {name}; {name}.TestCase; print({name}.setup.clients)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
