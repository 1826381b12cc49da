"""`holdfast explore` as a user meets it: what it says, its options, its exit statuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def explored(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast", "explore", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_says_what_was_taken_which_goals_were_reached_and_within_what(tmp_path: Path) -> None:
    run = explored("--model", "exchange:slice=trading", "--symmetry", "accounts", cwd=tmp_path)
    assert run.returncode == 0
    assert "  goal order-filled: reached in 5 steps: init -> deposit(" in run.stdout
    assert "  taken: deposit " in run.stdout
    assert "never enabled" not in run.stdout
    assert "  within: symmetry: states that differ only by the names of accounts are counted once" in run.stdout
    assert "6,546 distinct states, 34,695 generated, depth 12; probability that a state was missed: 0" in run.stdout
    assert run.stdout.endswith("HELD exchange:slice=trading\n")
    assert list(tmp_path.iterdir()) == []


def test_it_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    script = (
        "import sys; from holdfast.cli import app\n"
        "try: app(['explore', '--model', 'exchange:slice=surge'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'z3', 'hypothesis', 'jinja2', 'holdfast_reports'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_it_says_which_goals_were_not_reached_and_which_actions_were_never_enabled(tmp_path: Path) -> None:
    run = explored("--model", "exchange:slice=trading,amounts=1,assets=1,accounts=1", cwd=tmp_path)
    assert run.returncode == 3
    assert "  goal order-filled: not reached" in run.stdout
    assert "  never enabled: trade" in run.stdout


def test_deadlocks_are_told_and_judged_when_asked_for(tmp_path: Path) -> None:
    model = "exchange:slice=custody,signers=2,nonces=1,faults=2"
    run = explored("--model", model, cwd=tmp_path)
    assert run.returncode == 0
    assert " states no action can be taken; a shortest way to one, " in run.stdout
    assert "not judged: the spec does not say where it may end" in run.stdout
    judged = explored("--model", model, "--deadlocks", "violation", "--json", "e.json", cwd=tmp_path)
    assert judged.returncode == 1
    assert "DEADLOCK (may_end) is violated in " in judged.stdout
    assert "not judged" not in judged.stdout
    result = json.loads((tmp_path / "e.json").read_text())["result"]
    assert result["violations"][0]["trace"] == result["deadlock"]
    assert result["deadlocks"] > 0


def test_a_memory_limit_ends_with_what_was_covered(tmp_path: Path) -> None:
    run = explored("--model", "yardstick", "--memory", "16", "--json", "e.json", cwd=tmp_path)
    assert run.returncode == 3
    assert "  covered: every state within " in run.stdout
    assert run.stdout.endswith("INCONCLUSIVE yardstick: stopped by memory limit of 16777216 bytes\n")
    report = json.loads((tmp_path / "e.json").read_text())
    assert (report["verdict"], report["exit_status"]) == ("inconclusive", 3)
    assert 50_000 < report["result"]["distinct"] < 1_482_570


def test_an_interrupt_ends_with_what_is_known(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "holdfast", "explore", "--model", "yardstick:orders=4,log=3", "--json", "e.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as run:
        assert run.stderr is not None
        run.stderr.readline()  # a first level is done
        time.sleep(1)
        run.send_signal(signal.SIGINT)
        said, complaint = run.communicate(timeout=120)
    assert run.returncode == 130, complaint
    assert said.endswith("INCONCLUSIVE yardstick:orders=4,log=3: interrupted\n")
    assert "  covered: every state within " in said
    report = json.loads((tmp_path / "e.json").read_text())
    assert (report["verdict"], report["exit_status"]) == ("inconclusive", 130)
    assert report["result"]["distinct"] > 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--deadlocks", "maybe"), "--deadlocks is 'maybe'; expected one of: declared, violation, report"),
        (("--symmetry", "clients"), "symmetry 'clients' is not available for model spot; expected one of: accounts"),
        (("--symmetry", "orders"), "model spot is not symmetric in orders"),
        (("--memory", "0"), "--memory"),
        (("--workers", "3"), "--workers"),
    ],
)
def test_wrong_options_are_told_with_what_was_expected(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    run = explored(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_with_named_invariants_the_search_ends_when_each_is_violated(tmp_path: Path) -> None:
    run = explored("FINAL-3", "CONS-1", "--model", "yardstick:bug=restore", "--json", "e.json", cwd=tmp_path)
    assert run.returncode == 1
    assert "CONS-1 (conservation) is violated in 4 states:" in run.stdout
    assert "FINAL-3 (fill_finality) is violated in 8 states:" in run.stdout
    assert run.stdout.endswith("stopped by what was looked for: FINAL-3, CONS-1 violated\n")
    result = json.loads((tmp_path / "e.json").read_text())["result"]
    assert {each["invariant"] for each in result["violations"]} == {"CONS-1", "FINAL-1", "FINAL-3"}
    assert result["distinct"] < 100_000
    first = explored("CONS-1", "--model", "yardstick:bug=restore", cwd=tmp_path)
    assert "depth 4;" in first.stdout


def test_a_named_invariant_that_holds_has_all_states_visited_and_what_breaks_another_is_told(tmp_path: Path) -> None:
    run = explored("CONS-2", "--model", "spot:bug=restore", cwd=tmp_path)
    assert run.returncode == 1
    assert "CONS-2 " not in run.stdout
    assert "CONS-1 (conservation) is violated in " in run.stdout
    assert run.stdout.endswith("VIOLATED spot:bug=restore\n")


def test_an_invariant_that_the_model_has_nothing_for_is_wrong_input(tmp_path: Path) -> None:
    run = explored("CONS-1", "POS-2", "--model", "yardstick", cwd=tmp_path)
    assert run.returncode == 2
    assert "yardstick has no property for POS-2; it has: CONS-1, CONS-2, FINAL-1, FINAL-3" in run.stderr
