"""Traces of models on the command line: written by explore and prove, followed by replay."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.tracing import TraceFolder, conclusion, replay_trace, trace_bytes, write_exploration
from holdfast_model.checkers.explore import explore
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ModelViolation, TraceState, Verdict
from holdfast_model.specs import load_model
from holdfast_model.traces import Shows

BUG = "exchange:slice=surge,bug=no-capacity"


def holdfast(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def written(folder: Path, name: str) -> list[Path]:
    model = load_model(name)
    return write_exploration(TraceFolder(folder, model), explore(model))


def replayed(file: Path, model: str | None = None) -> tuple[Any, Verdict]:
    data = trace_bytes(file)
    assert data is not None
    return replay_trace(file, data, model)


def edited(file: Path, **shows: str) -> Path:
    document = json.loads(file.read_text())
    document["#meta"]["holdfast"]["shows"].update(shows)
    file.write_text(json.dumps(document))
    return file


def test_explore_writes_traces_that_replay_shows_step_by_step(tmp_path: Path) -> None:
    run = holdfast("explore", "--model", BUG, "--out", "found", "--export", "tla", cwd=tmp_path)
    assert run.returncode == 1
    name = "exchange_slice_surge_bug_no_capacity"
    assert (tmp_path / "tla" / f"{name}.tla").is_file()
    assert f"tlc2.TLC -deadlock -workers auto -config {name}.cfg {name}.tla" in run.stdout
    file = "found/counterexamples/SURGE-1-1.itf.json"
    assert f"written: {file}" in run.stdout
    again = holdfast("replay", file, "--json", "r.json", cwd=tmp_path)
    assert again.returncode == 1
    assert "  1. init\n  2. " in again.stdout
    assert "     ~ fate[" in again.stdout
    assert "     ! SURGE-1 (queue_is_bounded): it does not hold in this state" in again.stdout
    assert "VIOLATED a path of 3 steps; 1 properties broken: SURGE-1" in again.stdout
    result = json.loads((tmp_path / "r.json").read_text())["result"]
    assert (result["engine"], result["commands"], result["reproduced"]) == (f"model:{BUG}", 3, True)
    assert [(v["invariant"], v["step"]) for v in result["violations"]] == [("SURGE-1", 3)]
    sound = holdfast("replay", file, "--model", "exchange:slice=surge", cwd=tmp_path)
    assert sound.returncode == 1
    assert "VIOLATED step 3 is none of the model's" in sound.stdout
    assert "recorded " in sound.stdout


def test_prove_writes_what_induction_does_not_keep(tmp_path: Path) -> None:
    run = holdfast("prove", "SURGE-1", "--model", BUG, "--out", "found", cwd=tmp_path)
    assert run.returncode == 1
    assert "  1. assumed" in run.stdout
    files = sorted((tmp_path / "found" / "counterexamples").glob("SURGE-1-*.itf.json"))
    assert files
    again = holdfast("replay", str(files[0]), cwd=tmp_path)
    assert again.returncode == 1
    assert "  1. assumed" in again.stdout
    assert "! SURGE-1" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "reference"), "is a trace of a model; expected --model, not --engine"),
        (("--model", "chess"), "trace.itf.json: unknown model 'chess'"),
        (("--model", "spot"), "trace.itf.json: `vars`: found no 'live'"),
    ],
)
def test_what_does_not_fit_a_trace_is_refused(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "trace.itf.json").write_text('{"vars": [], "states": []}')
    run = holdfast("replay", "trace.itf.json", *arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_a_trace_that_records_no_model_needs_one_named(tmp_path: Path) -> None:
    (tmp_path / "trace.itf.json").write_text('{"vars": [], "states": []}')
    run = holdfast("replay", "trace.itf.json", cwd=tmp_path)
    assert run.returncode == 2
    assert "trace.itf.json: the trace does not record its model; name it with --model" in run.stderr


def test_a_model_is_no_option_for_a_counterexample_of_an_engine(tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text('{"schema": "holdfast/counterexample/1"}')
    run = holdfast("replay", "found.json", "--model", "spot", cwd=tmp_path)
    assert run.returncode == 2
    assert "found.json is no ITF trace; expected --engine, not --model" in run.stderr


def test_a_way_to_a_goal_holds_and_one_that_misses_it_does_not(tmp_path: Path) -> None:
    files = written(tmp_path, "exchange:slice=surge")
    assert len(files) >= 3
    assert all(file.parent.name == "goals" for file in files)
    for file in files:
        result, verdict = replayed(file)
        assert (verdict, result.reproduced, result.differences) == (Verdict.HELD, True, ())
    missed, verdict = replayed(edited(files[0], name=files[1].name.removesuffix(".itf.json")))
    assert verdict is Verdict.VIOLATED
    assert [d.kind for d in missed.differences] == ["the goal"]
    unknown, verdict = replayed(edited(files[0], name="nowhere"))
    assert verdict is Verdict.VIOLATED
    assert unknown.differences[0].expected == "model exchange:slice=surge has no such goal"


def test_a_finding_that_does_not_show_is_said(tmp_path: Path) -> None:
    (file,) = written(tmp_path, BUG)[:1]
    result, verdict = replayed(edited(file, name="CONS-1"))
    assert not result.reproduced
    assert verdict is Verdict.VIOLATED
    assert conclusion(result).endswith("1 properties broken: SURGE-1; the recorded finding does not show")


def test_a_lost_way_cannot_be_judged_by_a_path(tmp_path: Path) -> None:
    model = load_model("exchange:slice=custody")
    assert model.responses
    start = TraceState(action="init", state=model.show(model.initial))
    declared = model.responses[0]
    violation = ModelViolation(invariant=declared.invariant, property=declared.name, states=1, trace=(start,))
    shows = Shows(kind="violation", name=violation.invariant, property=violation.property)
    result, verdict = replayed(TraceFolder(tmp_path, model).add(violation.trace, shows))
    assert (verdict, result.reproduced) == (Verdict.INCONCLUSIVE, False)


def test_a_later_run_leaves_no_traces_of_an_earlier_one(tmp_path: Path) -> None:
    first = written(tmp_path, BUG)
    second = written(tmp_path, "exchange:slice=surge")
    assert all(file.exists() for file in second)
    assert not any(file.exists() for file in first if file not in second)


def test_a_file_that_is_too_large_is_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file, *_) = written(tmp_path, BUG)
    assert trace_bytes(file) is not None
    monkeypatch.setattr("holdfast.tracing.FILE_BYTES_MAX", 10)
    assert trace_bytes(file) is None
    assert trace_bytes(tmp_path / "nowhere") is None


def test_an_unknown_recorded_model_is_named_with_the_file(tmp_path: Path) -> None:
    (file, *_) = written(tmp_path, BUG)
    with pytest.raises(HoldfastError, match=r"SURGE-1-1\.itf\.json: unknown model 'chess'"):
        replayed(file, "chess")
