"""The command line as a user meets it: real processes, exit statuses, messages, JSON."""

import json
import os
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]


def holdfast(*arguments: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_help_needs_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    script = (
        "import sys; from holdfast.cli import app\n"
        "heavy = {'z3', 'numpy', 'hypothesis', 'jinja2'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    shown = holdfast("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in (
        "gate",
        "prove",
        "explore",
        "witness",
        "fuzz",
        "faults",
        "replay",
        "diff",
        "engines",
        "invariants",
        "report",
    ):
        assert command in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("gate", "--engine", "nobody"), "there is no engine 'nobody'; there are: reference, fault:NAME"),
        (("gate", "--engine", "fault:nothing"), "there is no fault 'nothing'; there are: acknowledged-before"),
        (("gate", "--profile", "huge"), "there is no profile 'huge'; there are: smoke, ci, nightly"),
        (("explore", "--model", "chess"), "unknown model 'chess'"),
        (("explore", "--model", "yardstick:log=x"), "parameter 'log' of model 'yardstick' is 'x'"),
        (("explore", "--model", "yardstick:bug=x"), "bug"),
        (("prove", "FINAL-99"), "there is no invariant 'FINAL-99'; there are: CONS-1"),
        (("prove", "--accounts", "some"), "--accounts is 'some'; expected a whole number from 1, or any"),
        (("prove", "--orders", "0"), "greater than or equal to 1"),
        (("witness", "no-quorm"), "unknown goal 'no-quorm'; did you mean no-quorum?"),
        (("witness", "xyz", "--model", "yardstick"), "unknown goal 'xyz' of model yardstick; there are: none"),
        (("prove", "--bound", "0"), "greater than or equal to 1"),
        (("faults", "nothing"), "there is no fault 'nothing'"),
        (("diff", "--engine", "stdio:"), "stdio: needs a command"),
        (("diff", "--engine", "stdio:'open"), "No closing quotation"),
        (("fuzz", "--commands", "5", "--seconds", "5"), "exclude each other"),
        (("fuzz", "--commands", "0"), "greater than or equal to 1"),
        (("replay", "nowhere.json"), "nowhere.json: cannot be read"),
        (("report", "nowhere"), "nowhere"),
        (("engines", "nobody"), "there is no adapter 'nobody'"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
)
def test_bad_input_gets_a_clear_message_and_exit_status_2(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    run = holdfast(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert expected in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"   \n", "the file is empty"),
        (b'{"schema":"holdfast/counterexample/1","engi', "truncated"),
        (b"\x00\xff\xfe\x01", "malformed"),
        (b"[]", "no counterexample"),
        (b'{"schema":"holdfast/report/1"}', "no counterexample"),
    ],
)
def test_a_file_that_is_no_counterexample_is_refused_by_name(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "found.json").write_bytes(content)
    run = holdfast("replay", "found.json", cwd=tmp_path)
    assert run.returncode == 2
    assert "found.json" in run.stderr
    assert expected in run.stderr


def test_running_without_assertions_is_refused(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-O", "-m", "holdfast", "invariants"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "without -O" in run.stderr


def test_the_stale_restore_is_refuted_at_the_restore_and_nowhere_else(tmp_path: Path) -> None:
    run = holdfast("prove", "CONS-1", "FINAL-1", "--model", "spot:bug=restore", "--json", "p.json", cwd=tmp_path)
    assert run.returncode == 1
    report = json.loads((tmp_path / "p.json").read_text())
    refuted = [item for item in report["result"]["obligations"] if item["verdict"] == "refuted"]
    assert refuted
    assert {item["action"] for item in refuted} == {"restore"}
    assert all(item["before"] and item["after"] for item in refuted)


def test_conservation_and_finality_are_proved_for_unbounded_amounts(tmp_path: Path) -> None:
    run = holdfast("prove", "CONS-1", "FINAL-1", "--json", "p.json", cwd=tmp_path)
    assert run.returncode == 0
    result = json.loads((tmp_path / "p.json").read_text())["result"]
    assert {item["verdict"] for item in result["obligations"]} == {"proved"}
    assert {"CONS-1", "FINAL-1"} <= {item["invariant"] for item in result["obligations"]}
    assert any("unbounded" in bound["value"] for bound in result["bounds"])


def test_any_number_of_accounts_is_proved_with_a_second_opinion_and_exported(tmp_path: Path) -> None:
    options = ("--accounts", "any", "--second-opinion", "--export", "smt", "--json", "p.json")
    run = holdfast("prove", "CONS-1", "CONS-2", "--model", "spot", *options, cwd=tmp_path)
    assert run.returncode == 0
    report = json.loads((tmp_path / "p.json").read_text())
    assert {"name": "accounts", "value": "any number"} in report["result"]["bounds"]
    assert report["result"]["second_opinion"]["agreed"] == report["result"]["second_opinion"]["asked"]
    assert report["environment"]["cvc5"]
    assert len(list((tmp_path / "smt").glob("*.smt2"))) == report["result"]["second_opinion"]["asked"]


def test_a_refutation_names_its_action_and_shows_what_changes(tmp_path: Path) -> None:
    run = holdfast("prove", "CONS-1", "--model", "exchange:slice=trading,bug=refund", "--suggest", cwd=tmp_path)
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    start = lines.index("refuted: CONS-1 (conservation) under cancel")
    shown = [line.strip() for line in lines[start + 1 :]]
    assert shown[0] == "1. assumed"
    step = next(number for number, line in enumerate(shown) if line.startswith("2. cancel(o"))
    assert any(line.startswith("~ live.free") and " = " in line for line in shown[1:step])
    changes = list(takewhile(lambda line: line.startswith("~ "), shown[step + 1 :]))
    assert any("live.free" in line and " -> " in line for line in changes)
    assert len(changes) < step - 1, "what stays as it was is not told again"
    assert any(
        line.startswith("no suggestion for CONS-1 (conservation): a search breaks it after 4 states")
        for line in lines
    )


def test_a_model_without_a_form_for_any_number_of_accounts_is_not_concluded(tmp_path: Path) -> None:
    run = holdfast("prove", "--model", "yardstick", "--accounts", "any", cwd=tmp_path)
    assert run.returncode == 3
    assert "not-attempted: CONS-1 (conservation) the model has no form over any number of members" in run.stdout


def test_the_yardstick_with_its_bug_has_the_known_shortest_traces(tmp_path: Path) -> None:
    run = holdfast("explore", "--model", "yardstick:bug=restore", "--json", "e.json", cwd=tmp_path)
    assert run.returncode == 1
    violations = json.loads((tmp_path / "e.json").read_text())["result"]["violations"]
    assert {item["invariant"]: item["states"] for item in violations} == {"CONS-1": 4, "FINAL-1": 6, "FINAL-3": 8}
    assert all(len(item["trace"]) == item["states"] for item in violations)


def test_sequences_to_goals_are_written_shown_and_the_same_each_time(tmp_path: Path) -> None:
    schemas = ROOT / "docs" / "schema"
    results = []
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-m", "holdfast", "witness", "no-quorum", "order-filled", "--all", "--json", "w.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert "  2. cut_off(" in run.stdout
        assert "     ~ reach[r1]: up -> cut-off" in run.stdout
        assert "2 of 2 goals reached" in run.stdout
        report = json.loads((tmp_path / "w.json").read_text())
        jsonschema.validate(report, json.loads((schemas / "report.json").read_text()))
        assert {"goal:no-quorum", "goal:order-filled", "witness:exchange:slice=trading"} <= report["timing"].keys()
        results.append(json.dumps(report["result"]))
    assert results[0] == results[1]
    goals = {item["goal"]: item for item in report["result"]["goals"]}
    assert {name: (item["steps"], item["method"], item["replayed"]) for name, item in goals.items()} == {
        "no-quorum": (2, "explore", True),
        "order-filled": (5, "explore", True),
    }
    assert len(goals["order-filled"]["others"]) == 2
    files = {path.name for path in (tmp_path / "holdfast-report" / "witnesses").iterdir()}
    assert files == {f"{name}{number}.json" for name in goals for number in ("", "-2", "-3")}
    witness = json.loads((tmp_path / "holdfast-report" / goals["order-filled"]["file"]).read_text())
    jsonschema.validate(witness, json.loads((schemas / "witness.json").read_text()))
    assert [state["action"] for state in witness["trace"]] == ["init", *goals["order-filled"]["actions"]]
    assert holdfast("report", "holdfast-report", cwd=tmp_path).returncode == 0


def test_a_model_without_goals_has_no_sequences_and_is_not_concluded(tmp_path: Path) -> None:
    run = holdfast("witness", "--model", "yardstick", cwd=tmp_path)
    assert run.returncode == 3
    assert "0 of 0 goals reached" in run.stdout
    assert "Traceback" not in run.stderr


def test_what_breaks_on_the_way_to_a_goal_is_a_violation(tmp_path: Path) -> None:
    run = holdfast("witness", "order-cancelled", "--model", "exchange:slice=trading,bug=overdraft", cwd=tmp_path)
    assert run.returncode == 1
    assert "CONS-2 (no_overdraft) is violated on exchange:slice=trading,bug=overdraft" in run.stdout
    assert holdfast("report", "holdfast-report", cwd=tmp_path).returncode == 1


def test_a_refutation_by_induction_is_shown_from_the_first_state(tmp_path: Path) -> None:
    model = "exchange:slice=surge,bug=no-capacity"
    run = holdfast("prove", "SURGE-1", "--model", model, "--bound", "3", "--json", "p.json", cwd=tmp_path)
    assert run.returncode == 1
    assert "is violated in 3 steps from the first state:" in run.stdout
    report = json.loads((tmp_path / "p.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "docs" / "schema" / "report.json").read_text()))
    bounded = report["result"]["bounded"]
    assert bounded["verdict"] == "violated"
    assert {(item["outcome"], item["steps"]) for item in bounded["properties"]} == {("refuted", 3)}
    assert "ids-are-counted" in bounded["assumed"]
    proved = holdfast("prove", "FINAL-4", "--model", "exchange:slice=surge", "--bound", "3", cwd=tmp_path)
    assert proved.returncode == 0
    assert "bounded search: nothing is left open" in proved.stdout


def test_one_seed_gives_a_byte_identical_result(tmp_path: Path) -> None:
    results = []
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-m", "holdfast", "fuzz", "--commands", "400", "--json", "fuzz.json"],
            cwd=tmp_path,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
        )
        assert run.returncode == 0
        report = json.loads((tmp_path / "fuzz.json").read_text())
        assert report["command"] == "fuzz"
        assert report["verdict"] == "held"
        results.append(json.dumps(report["result"]))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "arguments",
    [("prove", "FINAL-1"), ("explore",), ("faults", "ioc-rests", "--commands", "200"), ("invariants",)],
)
def test_standard_output_holds_nothing_but_the_json_that_was_asked_for(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    run = holdfast(*arguments, "--json", "-", cwd=tmp_path)
    assert run.returncode == 0
    assert json.loads(run.stdout)["command"] == arguments[0]


@pytest.mark.deep
def test_a_gate_on_a_stale_restore_fails_and_its_counterexample_replays(tmp_path: Path) -> None:
    engine = "fault:stale-snapshot-restore"
    run = holdfast("gate", "--engine", engine, "--json", "gate.json", cwd=tmp_path, timeout=300)
    assert run.returncode == 1, run.stderr
    report = json.loads((tmp_path / "gate.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "docs" / "schema" / "report.json").read_text()))
    result = report["result"]
    violations = {item["id"]: item["violations"] for item in result["invariants"]}
    assert violations["FINAL-2"] > 0
    found = [item for item in result["counterexamples"] if item["invariant"] == "FINAL-2"]
    assert found
    assert all(item["commands"] <= 8 for item in found)
    assert {item.name for item in tmp_path.iterdir()} == {"gate.json", "holdfast-report"}
    for suffix in ("report.html", "report.json", "junit.xml"):
        assert (tmp_path / "holdfast-report" / suffix).stat().st_size > 0
    replayed = holdfast("replay", f"holdfast-report/{found[0]['file']}", "--json", "replay.json", cwd=tmp_path)
    assert replayed.returncode == 1
    replay = json.loads((tmp_path / "replay.json").read_text())["result"]
    assert replay["reproduced"]
    assert "FINAL-2" in {item["invariant"] for item in replay["violations"]}
    assert "FINAL-2" in replayed.stdout
    healthy = holdfast("replay", f"holdfast-report/{found[0]['file']}", "--engine", "reference", cwd=tmp_path)
    assert healthy.returncode == 0
    again = holdfast("report", "holdfast-report", cwd=tmp_path)
    assert again.returncode == 1
    assert "agrees with itself" in again.stdout


def test_an_edited_report_is_noticed(tmp_path: Path) -> None:
    holdfast("fuzz", "--commands", "100", cwd=tmp_path)
    path = tmp_path / "holdfast-report" / "report.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    run = holdfast("report", "holdfast-report", cwd=tmp_path)
    assert run.returncode == 1
    assert "contradicts itself" in run.stdout


def test_a_recorded_command_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    recorded = {
        "schema": "holdfast/counterexample/1",
        "engine": f"stdio:touch {marker}",
        "origin": "a test",
        "setup": {"assets": ["A", "B"], "markets": [], "clients": ["alice"], "ingress_capacity": 1},
        "steps": [{"type": "take_snapshot"}],
        "commands": 1,
    }
    (tmp_path / "found.json").write_text(json.dumps(recorded))
    run = holdfast("replay", "found.json", cwd=tmp_path)
    assert run.returncode == 2
    assert "never run" in run.stderr
    assert not marker.exists()


def test_an_interrupted_gate_leaves_a_report_and_exits_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "gate", "--profile", "nightly"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert any("run generator" in line for line in process.stderr), "it never began"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in out
    report = json.loads((tmp_path / "holdfast-report" / "report.json").read_text())
    assert report["exit_status"] == 130
    assert report["verdict"] == "inconclusive"


@pytest.mark.slow
def test_one_smoke_gate_of_the_healthy_engine_holds_and_its_report_agrees_with_itself(tmp_path: Path) -> None:
    run = holdfast("gate", "--json", "gate.json", cwd=tmp_path, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads((tmp_path / "gate.json").read_text())["result"]
    assert all(item["checked"] > 0 for item in result["invariants"])
    assert all(item["violations"] == 0 for item in result["invariants"])
    assert all(count > 0 for count in result["reached"].values())
    assert len(result["witnesses"]["goals"]) >= 25
    assert all(item["method"] and item["steps"] > 0 for item in result["witnesses"]["goals"])
    assert any("shortest sequences to" in item["subject"] for item in result["not_checked"])
    for fault in result["faults"]["faults"]:
        assert set(fault["names"]) <= set(fault["caught_by"]), fault["fault"]
    assert result["faults"]["healthy"]["violations"] == []
    assert "not recorded" not in (tmp_path / "holdfast-report" / "report.html").read_text()
    assert holdfast("report", "holdfast-report", cwd=tmp_path).returncode == 0
