"""A gate that is killed, or whose disk is full: what was finished is readable, and the next run works."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from holdfast_reports import UNFINISHED_FILE

SMALL_GATE = """
import sys
import time
from functools import partial

from holdfast import cli, gating
from holdfast.__main__ import main
from holdfast.linking.checking import Work
from holdfast_engine.faults import FAULTS

real = gating.rerun

def slowly(seconds, *arguments):
    time.sleep(seconds)
    return real(*arguments)

if __name__ == "__main__":
    few, slow = int(sys.argv.pop(1)), float(sys.argv.pop(1))
    gating.PROFILES["smoke"] = gating.Profile(
        name="smoke", proofs=(), explorations=(), machine_examples=2, margin_examples=2, custody_examples=2,
        operations_examples=2, whole_examples=2, machine_steps=5, commands=400, fault_commands=400, faults_each=None,
        link=Work(walks=1, walk_steps=2, histories=1, history_moves=2), links=(), witnessed=(),
    )
    gating.rerun = partial(slowly, slow)
    gating.Gate._faults = lambda gate: FAULTS[:few]
    main()
"""
"""The gate on little work; so many planted bugs, and so many seconds before each scenario."""


def command(tmp_path: Path, *arguments: str, faults: int = 2, slow: float = 0.0) -> list[str]:
    script = tmp_path / "small_gate.py"
    script.write_text(SMALL_GATE)
    return [sys.executable, str(script), str(faults), str(slow), *arguments]


def ended(arguments: list[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def report_of(folder: Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return ended([sys.executable, "-m", "holdfast", "report", str(folder)], cwd)


def result_in(file: Path) -> Any:  # noqa: ANN401 - any JSON value
    return json.loads(file.read_text())["result"]


def killed_once(process: "subprocess.Popen[bytes]", file: Path, parts: int) -> None:
    """Kill it once a file tells of so many runs, or of so many planted bugs that were caught."""
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None:
        found = result_in(file) if file.exists() else {}
        done = found["runs"] if "runs" in found else found.get("faults", [])
        if sum(item["verdict"] in {"held", "violated", "caught"} for item in done) >= parts:
            break
        time.sleep(0.02)
    assert process.poll() is None, "it was over before it was killed"
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_gate_that_is_killed_keeps_what_it_finished_and_the_next_one_works(tmp_path: Path) -> None:
    out = tmp_path / "holdfast-report"
    out.mkdir()
    (out / "report.html").write_text("of an earlier run")
    process = subprocess.Popen(command(tmp_path, "gate", slow=0.5), cwd=tmp_path, stdout=subprocess.DEVNULL)
    killed_once(process, out / UNFINISHED_FILE, parts=7)
    assert [path.name for path in out.iterdir() if path.is_file()] == [UNFINISHED_FILE]

    told = report_of(out, tmp_path)
    assert told.returncode == 3, told.stdout + told.stderr
    assert "not let finish" in told.stdout
    assert "not finished: planted bugs" in told.stdout
    assert "INCONCLUSIVE" in told.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["verdict"] == "inconclusive"
    assert {"generator", "machine", "custody-machine"} <= {run["name"] for run in report["result"]["runs"]}
    assert "planted bugs" in report["result"]["unfinished"]
    assert "generator" not in report["result"]["unfinished"]
    assert not (out / UNFINISHED_FILE).exists()
    assert report_of(out, tmp_path).returncode == 3

    again = ended(command(tmp_path, "gate"), tmp_path)
    assert again.returncode == 3, again.stdout + again.stderr  # so little work reaches too little
    assert result_in(out / "report.json")["unfinished"] == []
    assert len(result_in(out / "report.json")["faults"]["faults"]) == 2
    assert not (out / UNFINISHED_FILE).exists()


def test_a_gate_that_is_killed_on_a_faulty_engine_keeps_its_counterexamples_with_their_evidence(
    tmp_path: Path,
) -> None:
    out = tmp_path / "holdfast-report"
    arguments = command(tmp_path, "gate", "--engine", "fault:fee-from-nowhere", slow=0.5)
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)
    killed_once(process, out / UNFINISHED_FILE, parts=6)
    told = report_of(out, tmp_path)
    assert told.returncode == 1, told.stdout + told.stderr
    listed = {item["file"] for item in result_in(out / "report.json")["counterexamples"]}
    assert listed == {f"counterexamples/{path.name}" for path in (out / "counterexamples").glob("*.json")}
    assert listed
    replay = [sys.executable, "-m", "holdfast", "replay", str(out / min(listed))]
    assert ended(replay, tmp_path).returncode == 1
    assert ended([*replay, "--engine", "reference"], tmp_path).returncode == 0


@pytest.mark.slow
def test_planted_bugs_that_were_tried_before_a_kill_or_an_interrupt_are_kept(tmp_path: Path) -> None:
    names = ["fee-from-nowhere", "hash-chain-broken", "order-accepted-while-halted", "liquidated-all-at-once"]
    names += ["tier-overfilled", "time-lock-ignored", "insurance-pays-twice", "tier-promised-twice"]
    arguments = [sys.executable, "-m", "holdfast", "faults", *names, "--commands", "6000", "--json"]
    file = tmp_path / "killed.json"
    process = subprocess.Popen([*arguments, str(file)], cwd=tmp_path, stdout=subprocess.DEVNULL)
    killed_once(process, file, parts=1)
    found = json.loads(file.read_text())
    assert (found["verdict"], found["exit_status"]) == ("inconclusive", 3)
    assert [item["fault"] for item in found["result"]["faults"]] == names
    assert found["result"]["faults"][-1]["reason"] == "the run ended before it was tried"

    interrupted = subprocess.Popen(
        [*arguments, "interrupted.json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    end = time.monotonic() + 200
    while time.monotonic() < end and not (tmp_path / "interrupted.json").exists():
        time.sleep(0.02)
    interrupted.send_signal(signal.SIGINT)
    told, _ = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "interrupted" in told
    assert "nothing is known of tier-promised-twice: the run ended before it was tried" in told
    found = json.loads((tmp_path / "interrupted.json").read_text())
    assert (found["verdict"], found["exit_status"]) == ("inconclusive", 130)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = ended(["mount", "-t", "tmpfs", "-o", "size=96k", "holdfast-test", str(disk)], tmp_path)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        ended(["umount", str(disk)], tmp_path)


def test_a_full_disk_is_named_and_what_was_finished_before_is_readable(small_disk: Path, tmp_path: Path) -> None:
    out = small_disk / "report"
    run = ended(command(tmp_path, "gate", "--out", str(out)), tmp_path)
    assert run.returncode == 2, run.stdout + run.stderr
    assert f"{out / UNFINISHED_FILE}: cannot be written: No space left on device" in run.stderr
    assert [path.name for path in out.iterdir() if path.is_file()] == [UNFINISHED_FILE]
    kept = result_in(out / UNFINISHED_FILE)
    assert [item["name"] for item in kept["runs"]][:2] == ["generator", "machine"]
    assert "planted bugs" in kept["unfinished"]

    saved = tmp_path / "saved"
    copytree(out, saved)
    assert report_of(saved, tmp_path).returncode == 3
    assert ended(command(tmp_path, "gate", "--out", str(tmp_path / "roomy")), tmp_path).returncode == 3
    assert (tmp_path / "roomy" / "report.html").is_file()
