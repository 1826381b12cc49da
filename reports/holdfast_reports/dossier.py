"""What every kind of result has in common for a reader: its parts, what each did, and the verdict of each.

A part is never shown greener than its own evidence: where the recorded verdict and the evidence disagree, the worse
of the two counts. `holdfast_reports.verify` reports the disagreement itself.
"""

from dataclasses import dataclass
from typing import assert_never

from holdfast_model.evidence import Exploration, ObligationVerdict, Proof, Verdict, Witnesses, worst
from holdfast_model.findings import (
    ContractOutcome,
    ContractsResult,
    CounterexampleSummary,
    DiffFinding,
    DiffResult,
    FaultsResult,
    FaultVerdict,
    FuzzResult,
    GateResult,
    InvariantCoverage,
    LinkCheck,
    NotChecked,
    Report,
    Run,
    worst_outcome,
)
from holdfast_reports.store import AnyResult

PartEvidence = Proof | Exploration | LinkCheck | Witnesses | Run | FaultsResult | DiffResult | ContractsResult

VERDICT_BY_OUTCOME = {
    ContractOutcome.CONFIRMED: Verdict.HELD,
    ContractOutcome.NOT_CONFIRMED: Verdict.INCONCLUSIVE,
    ContractOutcome.REFUTED: Verdict.VIOLATED,
    ContractOutcome.UNREACHABLE: Verdict.VIOLATED,
    ContractOutcome.NO_CONTRACT: Verdict.VIOLATED,
}
"""A function that promises nothing, or nothing that can be called, is as red as one that breaks its promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the work: `anchor` is unique in a report, `key` is its name in the report's timing."""

    anchor: str
    key: str
    title: str
    verdict: Verdict
    recorded: Verdict
    work: str
    seconds: float | None
    evidence: PartEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """A report laid out in parts, alike for every command. What a command does not have is empty."""

    report: Report[AnyResult]
    verdict: Verdict
    parts: tuple[Part, ...]
    engine: str = ""
    engine_version: str = ""
    profile: str = ""
    seed: int | None = None
    invariants: tuple[InvariantCoverage, ...] = ()
    reached: tuple[tuple[str, int], ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    counterexamples: tuple[CounterexampleSummary, ...] = ()

    @property
    def proofs(self) -> tuple[tuple[Part, Proof], ...]:
        """The proofs, each with its part."""
        return tuple((part, part.evidence) for part in self.parts if isinstance(part.evidence, Proof))

    @property
    def explorations(self) -> tuple[tuple[Part, Exploration], ...]:
        """The explorations, each with its part."""
        return tuple((part, part.evidence) for part in self.parts if isinstance(part.evidence, Exploration))

    @property
    def links(self) -> tuple[tuple[Part, LinkCheck], ...]:
        """The checks of models and the reference exchange against each other, each with its part."""
        return tuple((part, part.evidence) for part in self.parts if isinstance(part.evidence, LinkCheck))

    @property
    def witnesses(self) -> tuple[Part, Witnesses] | None:
        """The shortest sequences to the models' goals, with their part."""
        return next(((part, part.evidence) for part in self.parts if isinstance(part.evidence, Witnesses)), None)

    @property
    def runs(self) -> tuple[tuple[Part, Run], ...]:
        """The runs, each with its part; the healthy engine's run among the faults stands with these."""
        return tuple((part, part.evidence) for part in self.parts if isinstance(part.evidence, Run))

    @property
    def faults(self) -> tuple[Part, FaultsResult] | None:
        """The planted faults, with their part."""
        return next(((part, part.evidence) for part in self.parts if isinstance(part.evidence, FaultsResult)), None)

    @property
    def diff(self) -> tuple[Part, DiffResult] | None:
        """The comparison with the reference, with its part."""
        return next(((part, part.evidence) for part in self.parts if isinstance(part.evidence, DiffResult)), None)

    @property
    def contracts(self) -> tuple[Part, ContractsResult] | None:
        """The contracts of functions, with their part."""
        return next(
            ((part, part.evidence) for part in self.parts if isinstance(part.evidence, ContractsResult)), None
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files of counterexamples and sequences that the evidence names, relative to the report's folder."""
        differences = self.diff[1].differences if self.diff else ()
        named = [summary.file for summary in self.counterexamples] + [difference.file for difference in differences]
        goals = self.witnesses[1].goals if self.witnesses else ()
        named += [file for goal in goals for file in (goal.file, *(other.file for other in goal.others))]
        return tuple(dict.fromkeys(file for file in named if file))


def dossier(report: Report[AnyResult]) -> Dossier:
    """The report laid out in parts."""
    match report.result:
        case GateResult() as gate:
            parts = [_part(report, proof, index) for index, proof in enumerate(gate.proofs, 1)]
            parts += [_part(report, exploration, index) for index, exploration in enumerate(gate.explorations, 1)]
            parts += [_part(report, link, index) for index, link in enumerate(gate.links, 1)]
            parts += [_part(report, gate.witnesses, 1)] if gate.witnesses else []
            parts += [_part(report, run, index) for index, run in enumerate(gate.runs, 1)]
            parts += [_part(report, gate.faults, 1)] if gate.faults else []
            return Dossier(
                report=report,
                verdict=_whole(report, parts),
                parts=tuple(parts),
                engine=gate.engine,
                engine_version=gate.engine_version,
                profile=gate.profile,
                seed=gate.seed,
                invariants=gate.invariants,
                reached=tuple(gate.reached.items()),
                not_checked=gate.not_checked,
                counterexamples=gate.counterexamples,
            )
        case DiffResult() as diff:
            part = _part(report, diff, 1)
            return Dossier(
                report=report,
                verdict=_whole(report, [part]),
                parts=(part,),
                engine=diff.engine,
                engine_version=diff.engine_version,
                seed=diff.seed,
                not_checked=diff.not_checked,
            )
        case FuzzResult() as fuzz:
            part = _part(report, fuzz.run, 1)
            return Dossier(
                report=report,
                verdict=_whole(report, [part]),
                parts=(part,),
                engine=fuzz.engine,
                seed=fuzz.seed,
                invariants=fuzz.run.coverage,
                reached=tuple(fuzz.run.goals.items()),
                not_checked=fuzz.not_checked,
                counterexamples=fuzz.counterexamples,
            )
        case FaultsResult() as faults:
            part = _part(report, faults, 1)
            return Dossier(
                report=report,
                verdict=_whole(report, [part]),
                parts=(part,),
                engine="reference",
                invariants=faults.healthy.coverage,
                reached=tuple(faults.healthy.goals.items()),
            )
        case ContractsResult() as contracts:
            part = _part(report, contracts, 1)
            return Dossier(
                report=report, verdict=_whole(report, [part]), parts=(part,), not_checked=contracts.not_checked
            )
        case Proof() | Exploration() | Witnesses() as check:
            part = _part(report, check, 1)
            return Dossier(report=report, verdict=_whole(report, [part]), parts=(part,))
        case _:
            assert_never(report.result)


def derived_verdict(evidence: PartEvidence) -> Verdict:
    """What the evidence of a part itself supports, whatever verdict is recorded with it.

    A run may know of a reason to be inconclusive that its numbers do not show; nothing may be held that they deny.
    """
    match evidence:
        case Proof() | Exploration() | LinkCheck() | Witnesses():
            return _of_models(evidence)
        case Run():
            if evidence.violations or any(coverage.violations for coverage in evidence.coverage):
                return Verdict.VIOLATED
            if not evidence.sequences or not evidence.commands or not any(row.checked for row in evidence.coverage):
                return Verdict.INCONCLUSIVE
            return Verdict.HELD
        case FaultsResult():
            caught = evidence.faults and all(fault.verdict is FaultVerdict.CAUGHT for fault in evidence.faults)
            return worst([run_verdict(evidence.healthy), Verdict.HELD if caught else Verdict.INCONCLUSIVE])
        case DiffResult():
            if unexplained(evidence):
                return Verdict.VIOLATED
            return Verdict.HELD if any(evidence.compared.values()) else Verdict.INCONCLUSIVE
        case ContractsResult(functions=functions):
            outcomes = [worst_outcome(condition.outcome for condition in each.conditions) for each in functions]
            outcomes += [each.outcome for each in functions]
            return worst([VERDICT_BY_OUTCOME[outcome] for outcome in outcomes])
        case _:
            assert_never(evidence)


def _of_models(evidence: Proof | Exploration | LinkCheck | Witnesses) -> Verdict:
    match evidence:
        case Proof(obligations=obligations, bounded=bounded):
            found = {obligation.verdict for obligation in obligations}
            if ObligationVerdict.REFUTED in found or (bounded and bounded.verdict is Verdict.VIOLATED):
                return Verdict.VIOLATED
            return Verdict.HELD if found == {ObligationVerdict.PROVED} else Verdict.INCONCLUSIVE
        case Exploration():
            if evidence.violations:
                return Verdict.VIOLATED
            exercised = evidence.properties and all(coverage.states > 0 for coverage in evidence.properties)
            return Verdict.HELD if evidence.complete and exercised else Verdict.INCONCLUSIVE
        case LinkCheck():
            if evidence.difference is not None:
                return Verdict.VIOLATED
            return Verdict.HELD if evidence.steps or evidence.moves else Verdict.INCONCLUSIVE
        case Witnesses():
            if any(searched.violations for searched in evidence.searched) or any(
                g.difference for g in evidence.goals
            ):
                return Verdict.VIOLATED
            reached = evidence.goals and all(goal.method is not None for goal in evidence.goals)
            return Verdict.HELD if reached else Verdict.INCONCLUSIVE


def run_verdict(run: Run) -> Verdict:
    """The recorded verdict of a run or, where its evidence supports less, that."""
    return worst([run.verdict, derived_verdict(run)])


def unexplained(diff: DiffResult) -> tuple[DiffFinding, ...]:
    """The differences that no declared convention explains: the findings."""
    return tuple(difference for difference in diff.differences if not difference.convention)


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "sequence"), counted(1200, "sequence"), counted(0, "property", "properties")
    ('1 sequence', '1,200 sequences', '0 properties')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _part(report: Report[AnyResult], evidence: PartEvidence, index: int) -> Part:
    kind, name, title, work = _described(evidence)
    records_none = FaultsResult | DiffResult | ContractsResult
    recorded = report.verdict if isinstance(evidence, records_none) else evidence.verdict
    if isinstance(evidence, FaultsResult) and isinstance(report.result, GateResult):
        recorded = derived_verdict(evidence)
    key = f"{kind}:{name}" if name else kind
    timing = report.timing
    return Part(
        anchor=f"{kind}-{index}",
        key=key,
        title=title,
        verdict=worst([recorded, derived_verdict(evidence)]),
        recorded=recorded,
        work=work,
        seconds=timing.get(key, timing.get("total") if not isinstance(report.result, GateResult) else None),
        evidence=evidence,
    )


def _described(evidence: PartEvidence) -> tuple[str, str, str, str]:
    """The kind of a part, its name among its kind, its title and the work it did."""
    match evidence:
        case Proof(model=model, obligations=obligations):
            proved = sum(obligation.verdict is ObligationVerdict.PROVED for obligation in obligations)
            work = f"{proved:,} of {counted(len(obligations), 'obligation')} proved"
            return "proof", model, f"Proof on the model {model}", work
        case Exploration(model=model):
            ended = "all of them" if evidence.complete else f"stopped by {evidence.stopped_by or 'a limit'}"
            work = f"{counted(evidence.distinct, 'distinct state')}, {ended}"
            return "exploration", model, f"Exploration of the model {model}", work
        case LinkCheck(model=model):
            work = f"{counted(evidence.steps, 'step')} one way, {counted(evidence.moves, 'move')} the other"
            return "link", model, f"Link of the model {model} and the reference exchange", work
        case Witnesses(goals=goals):
            found = sum(goal.method is not None for goal in goals)
            return "witness", "", "Shortest sequences to goals", f"{found:,} of {counted(len(goals), 'goal')} reached"
        case Run(name=name):
            work = f"{counted(evidence.commands, 'command')} in {counted(evidence.sequences, 'sequence')}"
            return "run", name, f"Run {name}", work
        case FaultsResult(faults=faults):
            caught = sum(fault.verdict is FaultVerdict.CAUGHT for fault in faults)
            return "faults", "", "Planted faults", f"{caught:,} of {counted(len(faults), 'planted fault')} caught"
        case DiffResult():
            work = f"{counted(evidence.commands, 'command')} in {counted(evidence.sequences, 'sequence')}"
            return "diff", "", "Comparison with the reference", work
        case ContractsResult(module=module, functions=functions):
            confirmed = sum(each.outcome is ContractOutcome.CONFIRMED for each in functions)
            work = f"{confirmed:,} of {counted(len(functions), 'function')} confirmed"
            return "contracts", "", f"Contracts of {module}", work
        case _:
            assert_never(evidence)


def _whole(report: Report[AnyResult], parts: list[Part]) -> Verdict:
    return worst([report.verdict, *(part.verdict for part in parts)])
