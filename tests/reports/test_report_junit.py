"""JUnit XML: nothing that was not shown to hold passes, and CI tools can read it."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast_model.evidence import Proof, Verdict
from holdfast_model.findings import GateResult, Report, Run
from holdfast_reports import AnyResult

Reports = dict[str, Callable[[], Report[AnyResult]]]
Folder = Callable[[Report[AnyResult]], Path]

PASSED = "passed"


def parsed(out: Path) -> ET.Element:
    return ET.fromstring((out / "junit.xml").read_bytes())  # noqa: S314 - written by ourselves a moment ago


def outcomes(root: ET.Element) -> dict[tuple[str, str], str]:
    """The outcome of each test by suite and name."""
    return {
        (suite.get("name", ""), case.get("name", "")): next((child.tag for child in case), PASSED)
        for suite in root
        for case in suite
    }


def reason(root: ET.Element, name: str) -> str:
    (case,) = [case for case in root.iter("testcase") if case.get("name") == name]
    return case[0].get("message", "")


def test_the_document_has_the_form_that_jenkins_and_gitlab_read(
    any_report: Report[AnyResult], folder: Folder
) -> None:
    root = parsed(folder(any_report))
    assert root.tag == "testsuites"
    assert {suite.tag for suite in root} == {"testsuite"}
    for suite in root:
        assert {"name", "tests", "failures", "errors", "skipped"} <= set(suite.keys())
        assert {case.tag for case in suite} == {"testcase"}
        for case in suite:
            assert case.get("name")
            assert case.get("classname")
            assert [child.tag for child in case] in ([], ["failure"], ["error"], ["skipped"])
            assert all(child.get("message") and child.get("type") for child in case)
        counted = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")}
        assert int(suite.get("tests", "")) == len(suite)
        assert int(suite.get("failures", "")) == counted["failure"]
        assert int(suite.get("errors", "")) == counted["error"]
        assert int(suite.get("skipped", "")) == counted["skipped"]
    for name in ("tests", "failures", "errors"):
        assert int(root.get(name, "")) == sum(int(suite.get(name, "")) for suite in root)


def test_ci_is_green_exactly_when_the_report_held(any_report: Report[AnyResult], folder: Folder) -> None:
    found = set(outcomes(parsed(folder(any_report))).values())
    assert (found <= {PASSED, "skipped"}) is (any_report.verdict is Verdict.HELD)
    assert ("failure" in found) is (any_report.verdict is Verdict.VIOLATED)


def test_each_kind_of_evidence_has_its_outcome(reports: Reports, folder: Folder) -> None:
    found = outcomes(parsed(folder(reports["violated gate"]())))
    proof, explored, run = (
        "Proof on the model spot:bug=restore",
        "Exploration of the model yardstick:bug=restore",
        "Run",
    )
    assert {
        "proved": found[proof, "FINAL-1 terminal_status_is_absorbing: kept by trade"],
        "refuted": found[proof, "FINAL-1 terminal_status_is_absorbing: kept by restore"],
        "unknown": found[proof, "CONS-1 accounts_sum_to_zero: kept by trade"],
        "not attempted": found[proof, "CONS-1 accounts_sum_to_zero: kept by restore"],
        "model violation": found[explored, "CONS-1 accounts_sum_to_zero"],
        "vacuous property": found[explored, "SURGE-1 refused_has_no_effect"],
        "action never enabled": found[explored, "action skip_node is taken"],
        "goal of a model": found[explored, "goal restored is reached"],
        "goal of a model not reached": found[explored, "goal filled is reached"],
        "violated": found[
            f"{run} maintenance", "FINAL-2 What was acknowledged is never lost, changed or brought back."
        ],
        "not exercised": found[
            f"{run} maintenance", "SURGE-1 Every admitted command is answered once; a refused one has no effect."
        ],
        "inconclusive run": found[f"{run} failover", "the run concludes"],
        "goal not reached": found[f"{run} failover", "goal promotion of a stale standby is reached"],
        "fault caught": found["Planted faults", "stale-snapshot-restore is caught"],
        "fault missed": found["Planted faults", "rounding-the-wrong-way is caught"],
        "whole": found["Verdict", "holdfast gate: everything held"],
    } == {
        "proved": PASSED,
        "refuted": "failure",
        "unknown": "error",
        "not attempted": "error",
        "model violation": "failure",
        "vacuous property": "error",
        "action never enabled": "skipped",
        "goal of a model": PASSED,
        "goal of a model not reached": "error",
        "violated": "failure",
        "not exercised": "skipped",
        "inconclusive run": "error",
        "goal not reached": "skipped",
        "fault caught": PASSED,
        "fault missed": "failure",
        "whole": "failure",
    }


def test_a_test_that_does_not_pass_says_why(reports: Reports, folder: Folder) -> None:
    root = parsed(folder(reports["violated gate"]()))
    assert "status[o1]: FILLED -> RESTING" in reason(root, "FINAL-1 terminal_status_is_absorbing: kept by restore")
    assert "2,000,000 units of work" in reason(root, "CONS-1 accounts_sum_to_zero: kept by trade")
    assert "init, snapshot(), deposit(a1, USDT), restore()" in reason(root, "CONS-1 accounts_sum_to_zero")
    assert "no standby was ever promoted" in reason(root, "the run concludes")
    assert "not caught by CONS-1" in reason(root, "rounding-the-wrong-way is caught")


def test_an_explained_difference_is_skipped_and_a_finding_fails(reports: Reports, folder: Folder) -> None:
    found = outcomes(parsed(folder(reports["diff"]())))
    suite = "Comparison with the reference"
    assert found[suite, "difference market-remainder-rests"] == "skipped"
    assert found[suite, "difference resting-order-lost"] == "failure"
    assert found[suite, "balances compared"] == "skipped"
    assert found[suite, "fills compared"] == PASSED


def _held_with(report: Report[AnyResult], **changes: object) -> Report[AnyResult]:
    assert isinstance(report.result, GateResult)
    return msgspec.structs.replace(report, result=msgspec.structs.replace(report.result, **changes))


def test_a_verdict_that_its_evidence_denies_does_not_pass(reports: Reports, folder: Folder) -> None:
    report = reports["held gate"]()
    assert isinstance(report.result, GateResult)
    empty = Proof(model="empty", verdict=Verdict.HELD, bounds=(), obligations=())
    idle = Run(
        kind="machine",
        name="idle",
        sentence="Nothing.",
        verdict=Verdict.HELD,
        bounds=(),
        sequences=0,
        commands=0,
        goals={},
        coverage=(),
        violations=(),
    )
    found = outcomes(parsed(folder(_held_with(report, proofs=(empty,), runs=(idle,)))))
    assert found["Proof on the model empty", "obligations"] == "error"
    assert found["Proof on the model empty", "the recorded verdict agrees with the evidence"] == "failure"
    assert found["Run idle", "the run concludes"] == "error"
    assert found["Verdict", "holdfast gate: everything held"] == "error"


@pytest.mark.parametrize(
    "text", ["\x00\x08\x1b[31m", "\ufffe\uffff", "]]><failure/>", '"><skipped/>', "\ud800", "x" * 10**6]
)
def test_hostile_text_stays_text_in_well_formed_xml(text: str, reports: Reports, folder: Folder) -> None:
    report = reports["violated gate"]()
    assert isinstance(report.result, GateResult)
    run = msgspec.structs.replace(report.result.runs[1], name=text, reason=text)
    out = folder(_held_with(report, runs=(run,)))
    root = parsed(out)
    assert {element.tag for element in root.iter()} <= {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "error",
        "skipped",
    }
    assert (out / "junit.xml").stat().st_size < 100_000


def test_a_link_that_differs_fails_and_says_where(reports: Reports, folder: Folder) -> None:
    root = parsed(folder(reports["violated gate"]()))
    suites = [suite for suite in root if suite.get("name", "").startswith("Link of the model")]
    found = [(case.get("name"), case[0].tag if len(case) else PASSED) for suite in suites for case in suite]
    assert found[0] == ("states are the same after each step", PASSED)
    assert found[4] == ("states are the same after each step", "failure")
    assert found[3] == found[7] == ("action serve_cancel is taken", "skipped")
    message = suites[1][0][0].get("message", "")
    assert "walk 2, step 3, send(q2): live.free[u1, USDT] is 1 in the model" in message
