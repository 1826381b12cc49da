"""JUnit XML for CI: a test suite per part, so that the tools a team already has show the evidence.

Nothing that was not shown to hold passes. What contradicts an expectation is a `failure`; what should have been
concluded and was not is an `error`, because a CI that only counts tests must not turn green on it; what a part
leaves to others by design, such as an invariant that a run gave no occasion to check, is `skipped`. The last suite
holds one test, the verdict of the whole: it passes only if everything held.

The output is valid against the schema that Jenkins' xUnit plugin uses (junit-10.xsd), which GitLab's reader accepts.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from holdfast_model.evidence import Exploration, ObligationVerdict, Proof, Verdict, Witnesses
from holdfast_model.findings import (
    ContractCheck,
    ContractsResult,
    DiffResult,
    FaultsResult,
    FaultVerdict,
    LinkCheck,
    Run,
)
from holdfast_reports.dossier import VERDICT_BY_OUTCOME, Dossier, Part, derived_verdict
from holdfast_reports.text import visible

MESSAGE_CHARACTERS_MAX = 2_000


class Outcome(StrEnum):
    """What a CI shows for a test. The values are the names of JUnit's elements; a pass has none."""

    PASSED = ""
    FAILED = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


OUTCOME_BY_VERDICT = {
    Verdict.HELD: Outcome.PASSED,
    Verdict.VIOLATED: Outcome.FAILED,
    Verdict.INCONCLUSIVE: Outcome.ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test: `reason` says why it did not pass."""

    name: str
    outcome: Outcome
    reason: str = ""


def junit(dossier: Dossier) -> bytes:
    """The report as JUnit XML, in UTF-8."""
    suites = [(part.title, part.seconds, tuple(_cases(part))) for part in dossier.parts]
    suites.append(("Verdict", None, (_whole(dossier),)))
    root = ET.Element("testsuites", name=_attribute(f"holdfast {dossier.report.command}"))
    for title, seconds, cases in suites:
        suite = ET.SubElement(root, "testsuite", _counts(cases) | {"name": _attribute(title)})
        suite.set("skipped", str(sum(case.outcome is Outcome.SKIPPED for case in cases)))
        if seconds is not None and seconds >= 0:
            suite.set("time", f"{seconds:.3f}")
        for case in cases:
            _append(suite, f"holdfast.{title}", case)
    for name, value in _counts(tuple(case for _, _, cases in suites for case in cases)).items():
        root.set(name, value)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _append(suite: ET.Element, classname: str, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", name=_attribute(case.name), classname=_attribute(classname))
    if case.outcome is not Outcome.PASSED:
        message = visible(case.reason or "no reason was recorded", limit=MESSAGE_CHARACTERS_MAX)
        ET.SubElement(element, case.outcome.value, type=case.outcome.value, message=message)


def _counts(cases: tuple[Case, ...]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.outcome is Outcome.FAILED for case in cases)),
        "errors": str(sum(case.outcome is Outcome.ERROR for case in cases)),
    }


def _attribute(text: str) -> str:
    return visible(text, limit=300)


def _whole(dossier: Dossier) -> Case:
    worst = [f"{part.title}: {part.verdict}" for part in dossier.parts if part.verdict is not Verdict.HELD]
    reason = "; ".join(worst) or f"the recorded verdict is {dossier.report.verdict}"
    name = f"holdfast {dossier.report.command}: everything held"
    return Case(name=name, outcome=OUTCOME_BY_VERDICT[dossier.verdict], reason=reason)


def _cases(part: Part) -> Iterator[Case]:
    match part.evidence:
        case Proof() as proof:
            yield from _proof_cases(proof)
        case Exploration() as exploration:
            yield from _exploration_cases(exploration)
        case LinkCheck() as link:
            yield from _link_cases(link)
        case Witnesses() as witnesses:
            yield from _witness_cases(witnesses)
        case Run() as run:
            yield from _run_cases(run)
        case FaultsResult() as faults:
            yield from _faults_cases(faults)
        case DiffResult() as diff:
            yield from _diff_cases(diff)
        case ContractsResult() as contracts:
            yield from _contract_cases(contracts)
        case _:
            assert_never(part.evidence)
    if part.verdict is not part.recorded:
        yield Case(
            name="the recorded verdict agrees with the evidence",
            outcome=Outcome.FAILED,
            reason=f'the verdict "{part.recorded}" is recorded, the evidence supports "{part.verdict}"',
        )


def _proof_cases(proof: Proof) -> Iterator[Case]:
    outcomes = {
        ObligationVerdict.PROVED: Outcome.PASSED,
        ObligationVerdict.REFUTED: Outcome.FAILED,
        ObligationVerdict.UNKNOWN: Outcome.ERROR,
        ObligationVerdict.NOT_ATTEMPTED: Outcome.ERROR,
    }
    for obligation in proof.obligations:
        changes = [
            f"{name}: {obligation.before.get(name, 'absent')} -> {value}"
            for name, value in obligation.after.items()
            if obligation.before.get(name) != value
        ]
        reason = f"{obligation.verdict} by {obligation.solver}: {obligation.reason or ', '.join(changes)}"
        name = f"{obligation.invariant} {obligation.property}: kept by {obligation.action}"
        yield Case(name=name, outcome=outcomes[obligation.verdict], reason=reason)
    if not proof.obligations:
        yield Case(name="obligations", outcome=Outcome.ERROR, reason="there was nothing to prove")


def _exploration_cases(exploration: Exploration) -> Iterator[Case]:
    violated = {(violation.invariant, violation.property): violation for violation in exploration.violations}
    properties = [(row.invariant, row.property, row.states) for row in exploration.properties]
    listed = {(invariant, name) for invariant, name, _ in properties}
    properties += [(*key, 0) for key in violated if key not in listed]
    for invariant, name, states in properties:
        case = Case(name=f"{invariant} {name}", outcome=Outcome.PASSED)
        if violation := violated.get((invariant, name)):
            actions = ", ".join(state.action for state in violation.trace)
            reason = f"violated after {violation.states} states: {actions}"
            case = Case(name=case.name, outcome=Outcome.FAILED, reason=reason)
        elif not states:
            case = Case(name=case.name, outcome=Outcome.ERROR, reason="vacuous: evaluated in no state")
        elif not exploration.complete:
            reason = f"not all states were seen: stopped by {exploration.stopped_by or 'a limit'}"
            case = Case(name=case.name, outcome=Outcome.ERROR, reason=reason)
        yield case
    if not properties:
        yield Case(name="properties", outcome=Outcome.ERROR, reason="no property was evaluated")
    for goal in exploration.goals:
        yield Case(
            name=f"goal {goal.goal} is reached",
            outcome=Outcome.PASSED if goal.states else Outcome.ERROR,
            reason="not reached in any explored state",
        )
    for action in exploration.actions:
        yield Case(
            name=f"action {action.action} is taken",
            outcome=Outcome.PASSED if action.taken else Outcome.SKIPPED,
            reason="never enabled in any explored state",
        )


def _link_cases(link: LinkCheck) -> Iterator[Case]:
    name = "states are the same after each step"
    if link.difference is not None:
        found = link.difference
        reason = (
            f"{link.origin}, step {found.step}, {found.action}: {found.variable} is {found.model} in the model and "
            f"{found.engine} in the exchange"
        )
        yield Case(name=name, outcome=Outcome.FAILED, reason=reason)
    elif link.verdict is Verdict.HELD:
        yield Case(name=name, outcome=Outcome.PASSED)
    else:
        yield Case(name=name, outcome=Outcome.ERROR, reason="nothing was compared")
    for action, taken in link.actions.items():
        yield Case(
            name=f"action {action} is taken",
            outcome=Outcome.PASSED if taken else Outcome.SKIPPED,
            reason="never taken in any walk",
        )


def _witness_cases(witnesses: Witnesses) -> Iterator[Case]:
    for goal in witnesses.goals:
        yield Case(
            name=f"goal {goal.goal} of the model is reached",
            outcome=Outcome.PASSED if goal.method is not None else Outcome.ERROR,
            reason=f"not reached on {goal.model}: {goal.reason}",
        )
        if goal.method is not None:
            went = Outcome.FAILED if goal.difference else Outcome.PASSED if goal.replayed else Outcome.SKIPPED
            reason = goal.difference or goal.not_replayed_because
            yield Case(name=f"goal {goal.goal} goes the same way on the reference", outcome=went, reason=reason)
    for searched in witnesses.searched:
        for violation in searched.violations:
            actions = ", ".join(state.action for state in violation.trace)
            name = f"{violation.invariant} {violation.property} on {searched.model}"
            reason = f"violated after {violation.states} states: {actions}"
            yield Case(name=name, outcome=Outcome.FAILED, reason=reason)
    if not witnesses.goals:
        yield Case(name="goals", outcome=Outcome.ERROR, reason="no goal was sought")


def _run_cases(run: Run) -> Iterator[Case]:
    listed = {row.id for row in run.coverage}
    for row in run.coverage:
        first = next((violation for violation in run.violations if violation.invariant == row.id), None)
        case = Case(name=f"{row.id} {row.sentence}", outcome=Outcome.PASSED)
        if first:
            reason = f"{first.subject} at step {first.step + 1}: found {first.found}, expected {first.expected}"
            case = Case(name=case.name, outcome=Outcome.FAILED, reason=reason)
        elif row.violations:
            case = Case(name=case.name, outcome=Outcome.FAILED, reason=f"violated {row.violations} times")
        elif not row.checked:
            case = Case(
                name=case.name, outcome=Outcome.SKIPPED, reason="not exercised: nothing that it speaks of happened"
            )
        yield case
    for violation in run.violations:
        if violation.invariant not in listed:
            reason = f"{violation.subject}: found {violation.found}, expected {violation.expected}"
            yield Case(name=violation.invariant, outcome=Outcome.FAILED, reason=reason)
    for goal, count in run.goals.items():
        outcome = Outcome.PASSED if count else Outcome.SKIPPED
        yield Case(name=f"goal {goal} is reached", outcome=outcome, reason="not reached in this run")
    if Verdict.INCONCLUSIVE in (run.verdict, derived_verdict(run)):
        yield Case(name="the run concludes", outcome=Outcome.ERROR, reason=run.reason or "nothing was exercised")


def _faults_cases(faults: FaultsResult) -> Iterator[Case]:
    for fault in faults.faults:
        missing = ", ".join(name for name in fault.names if name not in fault.caught_by) or "none recorded"
        yield Case(
            name=f"{fault.fault} is caught",
            outcome=Outcome.PASSED if fault.verdict is FaultVerdict.CAUGHT else Outcome.FAILED,
            reason=f"not caught by {missing} within {fault.commands_to_find} commands: {fault.sentence}",
        )
    if not faults.faults:
        yield Case(name="planted faults", outcome=Outcome.ERROR, reason="no fault was planted")
    for case in _run_cases(faults.healthy):
        yield Case(name=f"healthy engine: {case.name}", outcome=case.outcome, reason=case.reason)


def _diff_cases(diff: DiffResult) -> Iterator[Case]:
    for difference in diff.differences:
        found = f"found {difference.found}, expected {difference.expected}"
        reason = f"convention {difference.convention}: {found}" if difference.convention else found
        yield Case(
            name=f"difference {difference.kind}",
            outcome=Outcome.SKIPPED if difference.convention else Outcome.FAILED,
            reason=reason,
        )
    for subject, count in diff.compared.items():
        outcome = Outcome.PASSED if count else Outcome.SKIPPED
        yield Case(name=f"{subject} compared", outcome=outcome, reason="never compared: it did not occur")
    if not any(diff.compared.values()):
        yield Case(name="comparison", outcome=Outcome.ERROR, reason="nothing was compared")


def _contract_cases(contracts: ContractsResult) -> Iterator[Case]:
    for check in contracts.functions:
        outcome = OUTCOME_BY_VERDICT[VERDICT_BY_OUTCOME[check.outcome]]
        yield Case(name=f"{check.function} keeps its contract", outcome=outcome, reason=_contract_reason(check))
    if not contracts.functions:
        yield Case(name="contracts", outcome=Outcome.ERROR, reason="there was no function to check")


def _contract_reason(check: ContractCheck) -> str:
    open_ones = [
        f"{condition.condition}: {condition.counterexample or condition.reason}"
        for condition in check.conditions
        if condition.outcome is check.outcome
    ]
    return f"{check.outcome}: {check.reason or '; '.join(open_ones)}"
