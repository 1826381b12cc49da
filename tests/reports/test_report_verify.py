"""`verify` is silent on evidence as it was written and notices every way in which it was made to look better."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast_model.errors import HoldfastError
from holdfast_model.findings import Report
from holdfast_reports import AnyResult, load, render, verify

Reports = dict[str, Callable[[], Report[AnyResult]]]
Folder = Callable[[Report[AnyResult]], Path]
Document = dict[str, Any]


def test_evidence_as_it_was_written_has_no_inconsistency(any_report: Report[AnyResult], folder: Folder) -> None:
    assert verify(folder(any_report)) == []


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"report\.json: no such file"):
        verify(tmp_path)


def forge(out: Path, edit: Callable[[Document], object]) -> list[str]:
    """Edit `report.json`, write every other file and digest anew as a careful forger would, and verify."""
    file = out / "report.json"
    document = json.loads(file.read_bytes())
    edit(document)
    file.write_text(json.dumps(document))
    render(load(out), out)
    return verify(out)


def _set(*path: str | int, to: object) -> Callable[[Document], None]:
    def edit(document: Document) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return edit


def _both(*edits: Callable[[Document], object]) -> Callable[[Document], None]:
    def edit(document: Document) -> None:
        for each in edits:
            each(document)

    return edit


R = "result"
UNREACHED = {"goal": "filled", "sentence": "An order was filled.", "states": 0, "trace": []}


@pytest.mark.parametrize(
    ("kind", "edit", "noticed"),
    [
        # The verdict of the whole.
        ("violated gate", _set("verdict", to="held"), 'the verdict "held" is recorded, the parts support "violated"'),
        ("inconclusive gate", _set("verdict", to="held"), 'the parts support "inconclusive"'),
        ("violated gate", _set("verdict", to="inconclusive"), 'the verdict "inconclusive" is recorded, but a part'),
        ("held gate", _set("verdict", to="violated"), 'the verdict "violated" is recorded, but no part shows'),
        (
            "held gate",
            _both(_set("verdict", to="inconclusive"), _set("exit_status", to=3)),
            "nothing says what was left",
        ),
        ("diff", _both(_set("verdict", to="held"), _set("exit_status", to=0)), 'the parts support "violated"'),
        ("violated gate", _set("exit_status", to=0), 'the exit status is 0, the verdict "violated" has 1'),
        ("held gate", _set("exit_status", to=130), 'the exit status is 130, the verdict "held" has 0'),
        # Proofs.
        ("violated gate", _set(R, "proofs", 0, "verdict", to="held"), 'spot:bug=restore: the verdict "held"'),
        ("inconclusive gate", _set(R, "proofs", 0, "verdict", to="held"), 'model spot: the verdict "held"'),
        ("held gate", _set(R, "proofs", 0, "obligations", to=[]), 'model spot: the verdict "held"'),
        ("held gate", _set(R, "proofs", 0, "obligations", 3, "verdict", to="unknown"), "unknown, but no reason"),
        ("held gate", _set(R, "proofs", 0, "obligations", 3, "verdict", to="refuted"), "refuted, but no state"),
        ("violated gate", _set(R, "proofs", 0, "obligations", 18, "verdict", to="proved"), "proved, but states"),
        ("held gate", _set(R, "proofs", 0, "verdict", to="violated"), "violated, but no obligation is refuted"),
        ("held gate", _set(R, "proofs", 0, "verdict", to="inconclusive"), "inconclusive, but every obligation"),
        # Explorations.
        ("inconclusive gate", _set(R, "explorations", 0, "verdict", to="held"), 'yardstick: the verdict "held"'),
        ("inconclusive gate", _set(R, "explorations", 0, "complete", to=True), "complete, but stopped by the limit"),
        ("held gate", _set(R, "explorations", 0, "complete", to=False), "nothing says what stopped it"),
        ("violated gate", _set(R, "explorations", 0, "violations", to=[]), "violated, but no violation is recorded"),
        (
            "violated gate",
            _set(R, "explorations", 0, "violations", 0, "states", to=3),
            "says 3 states, its trace has 4",
        ),
        ("violated gate", _set(R, "explorations", 0, "violations", 0, "trace", 0, "action", to="x"), 'with "init"'),
        ("held gate", _set(R, "explorations", 0, "distinct", to=4_000_000), "4000000 distinct states out of 3790147"),
        ("held gate", _set(R, "explorations", 0, "properties", 0, "states", to=2_000_000), "evaluated in 2000000 of"),
        ("held gate", _set(R, "explorations", 0, "properties", 0, "states", to=0), 'yardstick: the verdict "held"'),
        ("violated gate", _set(R, "explorations", 0, "goals", 0, "states", to=3), "goal restored: says 3 states"),
        ("violated gate", _set(R, "explorations", 0, "deadlocks", to=0), "no state without a step, but a way to one"),
        ("held gate", _set(R, "explorations", 0, "goals", to=[UNREACHED]), "held, but goal filled was not reached"),
        ("held gate", _set(R, "explorations", 0, "collision_probability", to=1.5), "collision probability is 1.5"),
        # Links.
        ("held gate", _set(R, "links", 0, "steps", to=61), "61 steps, but its actions were taken 60 times"),
        ("held gate", _set(R, "links", 0, "moves", to=-1), "moves is -1"),
        (
            "held gate",
            _both(_set(R, "links", 0, "steps", to=0), _set(R, "links", 0, "moves", to=0)),
            'the verdict "held"',
        ),
        ("violated gate", _set(R, "links", 1, "verdict", to="held"), 'exchange: the verdict "held"'),
        ("violated gate", _set(R, "links", 1, "difference", to=None), "violated, but no difference is recorded"),
        ("violated gate", _set(R, "links", 1, "path", to=[]), "differs at step 3, but its path has 0"),
        # Runs.
        ("violated gate", _set(R, "runs", 0, "verdict", to="held"), 'Run maintenance: the verdict "held"'),
        ("violated gate", _set(R, "runs", 0, "violations", to=[]), "1 violations are counted, none is recorded"),
        ("violated gate", _set(R, "runs", 0, "coverage", 3, "violations", to=0), "0 violations are counted, 1 are"),
        ("violated gate", _set(R, "runs", 1, "reason", to=""), "Run failover: inconclusive, but no reason"),
        ("held gate", _set(R, "runs", 0, "commands", to=0), 'Run maintenance: the verdict "held"'),
        ("held gate", _set(R, "runs", 0, "sequences", to=-1), "sequences is -1"),
        # Sums.
        ("held gate", _set(R, "invariants", 0, "checked", to=10**9), "CONS-1: 1000000000 checks and 0 violations"),
        ("violated gate", _set(R, "invariants", 3, "violations", to=0), "FINAL-2: 5602 checks and 0 violations"),
        ("violated gate", lambda d: d[R]["invariants"].pop(3), "FINAL-2 was checked in a run, but is not among"),
        ("violated gate", lambda d: d[R]["not_checked"].pop(), "SURGE-1 was checked 0 times, and nothing under"),
        ("held gate", _set(R, "reached", "burst while halted", to=99), "goal burst while halted: 99 is counted"),
        ("held gate", _set("timing", "faults", to=-1.0), "the time of faults is -1.0 s"),
        # Planted faults.
        ("held gate", _set(R, "faults", "faults", 0, "caught_by", to=["MAINT-1"]), "but FINAL-2 did not fire"),
        ("violated gate", _set(R, "faults", "faults", 3, "verdict", to="caught"), "but CONS-1 did not fire"),
        ("held gate", _set(R, "faults", "faults", 0, "verdict", to="missed"), "recorded as missed, but every"),
        ("held gate", _set(R, "faults", "faults", 0, "names", to=[]), "names no invariant"),
        (
            "faults",
            _set(R, "healthy", "commands", to=0),
            'The healthy engine among the planted faults: the verdict "held"',
        ),
        # Comparison.
        ("diff", _set(R, "differences", 1, "convention", to="made-up"), "made-up, which the engine does not declare"),
        ("diff", _set(R, "differences", 1, "occurrences", to=0), "met in 0 of 400 sequences"),
        ("diff", _set(R, "differences", 1, "kind", to="harmless"), "shows no difference of the kind harmless"),
        # Fuzz.
        ("fuzz", _set(R, "violations", to=[]), "the violations of the result are not those of its run"),
        ("fuzz", _set(R, "commands", to=10**6), "the result says 1000000 commands, its run 2214"),
        # Contracts.
        ("inconclusive contracts", _set("verdict", to="held"), 'the parts support "inconclusive"'),
        ("inconclusive contracts", _set("exit_status", to=3), 'the verdict "inconclusive" has 0'),
        (
            "inconclusive contracts",
            _set(R, "functions", 1, "outcome", to="confirmed"),
            'its postconditions support "not-confirmed"',
        ),
        (
            "inconclusive contracts",
            _set(R, "functions", 1, "conditions", 0, "reason", to=""),
            "mark_price: not-confirmed, but no reason",
        ),
        ("held contracts", _set(R, "functions", to=[]), 'the parts support "inconclusive"'),
        ("held contracts", _set(R, "functions", 0, "conditions", to=[]), 'its postconditions support "no-contract"'),
        (
            "violated contracts",
            _set(R, "functions", 2, "conditions", 0, "counterexample", to=""),
            "funding_payment: refuted, but no counterexample",
        ),
        (
            "violated contracts",
            _set(R, "functions", 4, "reason", to=""),
            "_median: without a contract, but no reason",
        ),
        (
            "violated contracts",
            lambda d: d[R]["functions"].append(d[R]["functions"][0]),
            "ceil_div is listed 2 times",
        ),
        # Sequences to goals.
        ("inconclusive witness", _set(R, "verdict", to="held"), 'Shortest sequences to goals: the verdict "held"'),
        ("held gate", _set(R, "witnesses", "goals", to=[]), 'Shortest sequences to goals: the verdict "held"'),
        ("held gate", _set(R, "witnesses", "goals", 0, "method", to=None), "not reached, but steps are recorded"),
        ("inconclusive witness", _set(R, "goals", 1, "reason", to=""), "no-quorum: not reached, but no reason"),
        ("held witness", _set(R, "goals", 0, "replayed", to=False), "not replayed on the engine, but no reason"),
        ("held witness", _set(R, "goals", 0, "steps", to=1), "says 1 steps, 2 are recorded"),
        (
            "held witness",
            _set(R, "goals", 0, "actions", to=["crash", "promote"]),
            "takes other steps than the report",
        ),
        ("held witness", _set(R, "goals", 0, "model", to="spot"), "the report says restored-with-a-log of spot"),
        ("held witness", _set(R, "goals", 0, "file", to="../w.json"), "the sequence to the goal restored-with-a-log"),
        (
            "held witness",
            _set(R, "goals", 0, "others", to=[{"actions": ["crash"], "file": ""}]),
            "a further sequence is shorter",
        ),
        ("held witness", lambda d: d[R]["goals"].append(d[R]["goals"][0]), "restored-with-a-log is listed 2 times"),
        # Counterexamples.
        (
            "violated gate",
            _set(R, "counterexamples", to=[]),
            "FINAL-2-1.json is there, but the report does not list it",
        ),
        ("violated gate", _set(R, "counterexamples", 0, "commands", to=2), "has 4 commands, says 4, and the report"),
        ("violated gate", _set(R, "counterexamples", 0, "invariant", to="PRIO-1"), "shows no violation of PRIO-1"),
        ("violated gate", _set(R, "counterexamples", 0, "file", to="../../etc/passwd"), "not a plain path"),
        ("violated gate", _set(R, "engine", to="reference"), 'the report is about "reference"'),
    ],
)
def test_a_forged_report_is_noticed_even_with_fresh_digests(
    kind: str, edit: Callable[[Document], object], noticed: str, reports: Reports, folder: Folder
) -> None:
    problems = forge(folder(reports[kind]()), edit)
    assert any(noticed in problem for problem in problems), problems


def _write(data: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "noticed"),
    [
        (
            "report.html",
            lambda file: file.write_text(file.read_text().replace("violated", "held")),
            "not what is rendered",
        ),
        (
            "junit.xml",
            lambda file: file.write_text(file.read_text().replace("failure", "skipped")),
            "not what is rendered",
        ),
        ("report.json", lambda file: file.write_bytes(file.read_bytes() + b"\n"), "not what is rendered"),
        ("junit.xml", Path.unlink, "no such file"),
        ("SHA256SUMS", Path.unlink, "no such file"),
        ("SHA256SUMS", _write(b"rubbish\n"), "expected a SHA-256"),
        ("SHA256SUMS", _write(b"0" * 64 + b"  ../secret\n"), "expected a SHA-256"),
        ("SHA256SUMS", _write(b"0" * 64 + b"  report.json\n"), "changed after the report was written"),
        ("counterexamples/FINAL-2-1.json", Path.unlink, "listed in the report, but not there"),
        ("counterexamples/FINAL-2-1.json", _write(b"{"), "not a counterexample"),
        ("counterexamples/FINAL-2-1.json", _write(b""), "not a counterexample"),
        ("counterexamples/FINAL-2-1.json", _write(b"[" * 100_000), "not a counterexample"),
        (
            "counterexamples/FINAL-2-1.json",
            lambda file: file.write_bytes(file.read_bytes().replace(b'"200"', b'"201"')),
            "changed after the report was written",
        ),
    ],
)
def test_a_file_that_changed_afterwards_is_noticed(
    name: str, damage: Callable[[Path], object], noticed: str, reports: Reports, folder: Folder
) -> None:
    out = folder(reports["violated gate"]())
    damage(out / name)
    problems = verify(out)
    assert any(name in problem and noticed in problem for problem in problems), problems


def test_a_counterexample_that_leads_out_of_the_folder_is_not_followed(
    reports: Reports, folder: Folder, tmp_path: Path
) -> None:
    out = folder(reports["violated gate"]())
    file = out / "counterexamples" / "FINAL-2-1.json"
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere.json"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert any("listed in the report, but not there" in problem for problem in verify(out))


def test_the_digests_are_in_the_form_that_sha256sum_reads(reports: Reports, folder: Folder) -> None:
    out = folder(reports["violated gate"]())
    lines = (out / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == [
        "counterexamples/FINAL-2-1.json",
        "junit.xml",
        "report.html",
        "report.json",
        "witnesses/restored-otherwise.json",
        "witnesses/restored-with-a-log.json",
    ]
    for line in lines:
        recorded, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == recorded
