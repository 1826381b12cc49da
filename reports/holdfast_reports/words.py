"""The sentences of a report that depend on its verdict: what was checked, what that means and what it does not.

The wording is "evidence that may support": a report never says that anything complies with a rule.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from holdfast_model.evidence import Exploration, ObligationVerdict, Proof, Verdict, Witnesses
from holdfast_model.findings import (
    ContractOutcome,
    ContractsResult,
    DiffResult,
    FaultOutcome,
    FaultsResult,
    FaultVerdict,
    FuzzResult,
    GateResult,
)
from holdfast_reports.dossier import Dossier, counted, unexplained

COMMAND_LINE = "command_line"
"""The key of a report's environment that holds the command line as it was given."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a verdict says, and what nobody should read into it."""

    says: tuple[str, ...]
    does_not_say: tuple[str, ...]


def title(dossier: Dossier) -> str:
    """The heading of the report: what was put to the test."""
    engine = " ".join(word for word in (dossier.engine, dossier.engine_version) if word)
    match dossier.report.result:
        case GateResult():
            return f"Exchange invariants on {engine}"
        case FuzzResult():
            return f"Exchange invariants on {engine}, under generated load"
        case DiffResult():
            return f"{engine} compared with the reference"
        case FaultsResult():
            return "Planted faults against the invariants"
        case Proof(model=model):
            return f"Proof on the model {model}"
        case Exploration(model=model):
            return f"Exploration of the model {model}"
        case Witnesses():
            return "Shortest sequences to the models' goals"
        case ContractsResult(module=module):
            return f"Contracts of {module}"
        case _:
            assert_never(dossier.report.result)


def sentence(dossier: Dossier) -> str:
    """The verdict and the work behind it, in one or two sentences."""
    return f"{_outcome(dossier)} {_work(dossier)}"


def _outcome(dossier: Dossier) -> str:
    match dossier.verdict:
        case Verdict.HELD:
            if dossier.diff:
                return (
                    "Wherever they were compared, the engine and the reference agreed, or a convention says why not."
                )
            return "Everything that was checked held, within the bounds stated beside each part."
        case Verdict.INCONCLUSIVE:
            open_parts = [part.title for part in dossier.parts if part.verdict is Verdict.INCONCLUSIVE]
            which = f": {_listed(open_parts)}" if open_parts else ""
            return (
                f"Nothing was violated, but not everything could be concluded{which}. This does not count as a pass."
            )
        case Verdict.VIOLATED:
            return _violated(dossier)
        case _:
            assert_never(dossier.verdict)


def _violated(dossier: Dossier) -> str:
    if dossier.diff:
        found = unexplained(dossier.diff[1])
        return f"The engine and the reference differ: {counted(len(found), 'finding')} that no convention explains."
    runs = [run for _, run in dossier.runs] + ([dossier.faults[1].healthy] if dossier.faults else [])
    ids = [violation.invariant for run in runs for violation in run.violations]
    ids += [row.id for run in runs for row in run.coverage if row.violations]
    ids += [row.id for row in dossier.invariants if row.violations]
    ids += [summary.invariant for summary in dossier.counterexamples]
    engine = list(dict.fromkeys(ids))
    models = [violation.invariant for _, exploration in dossier.explorations for violation in exploration.violations]
    searched = dossier.witnesses[1].searched if dossier.witnesses else ()
    models += [violation.invariant for each in searched for violation in each.violations]
    models += [
        obligation.invariant
        for _, proof in dossier.proofs
        for obligation in proof.obligations
        if obligation.verdict is ObligationVerdict.REFUTED
    ]
    where = [f"{_invariants(engine)} violated on the engine"] if engine else []
    where += [f"{_invariants(list(dict.fromkeys(models)))} broken on a model"] if models else []
    differing = sum(link.difference is not None for _, link in dossier.links)
    if differing:
        where.append(f"the reference exchange and {counted(differing, 'model')} differ")
    if dossier.contracts:
        failing = (ContractOutcome.REFUTED, ContractOutcome.UNREACHABLE, ContractOutcome.NO_CONTRACT)
        for outcome in failing:
            names = [check.function for check in dossier.contracts[1].functions if check.outcome is outcome]
            where += [f"{outcome.replace('-', ' ')}: {_listed(names)}"] if names else []
    missed = _missed(dossier)
    where += [f"{counted(missed, 'planted fault')} {'was' if missed == 1 else 'were'} missed"] if missed else []
    return f"At least one check failed: {'; '.join(where) or 'the recorded verdict says so'}."


def _invariants(ids: list[str]) -> str:
    return f"{_listed(ids)} {'was' if len(ids) == 1 else 'were'}"


def _listed(names: list[str], *, limit: int = 8) -> str:
    """Names in a row.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def _missed(dossier: Dossier) -> int:
    """How many planted faults were tried and not seen: of one whose process was lost nothing is known."""
    faults = dossier.faults[1].faults if dossier.faults else ()
    return sum(fault.verdict is FaultVerdict.MISSED and not fault.reason for fault in faults)


def _caught(faults: Iterable[FaultOutcome]) -> int:
    return sum(fault.verdict is FaultVerdict.CAUGHT for fault in faults)


def _work(dossier: Dossier) -> str:
    pieces: list[str] = []
    if dossier.diff:
        diff = dossier.diff[1]
        pieces.append(
            f"{counted(diff.commands, 'command')} in {counted(diff.sequences, 'sequence')} were given to both"
        )
    if dossier.proofs:
        obligations = [obligation for _, proof in dossier.proofs for obligation in proof.obligations]
        proved = sum(obligation.verdict is ObligationVerdict.PROVED for obligation in obligations)
        pieces.append(f"{proved:,} of {counted(len(obligations), 'proof obligation')} were proved")
    if dossier.explorations:
        states = sum(exploration.distinct for _, exploration in dossier.explorations)
        pieces.append(f"{counted(states, 'distinct model state')} were visited")
    if dossier.links:
        steps = sum(link.steps + link.moves for _, link in dossier.links)
        pieces.append(f"models and the reference exchange went {counted(steps, 'step')} together")
    if dossier.witnesses:
        goals = dossier.witnesses[1].goals
        reached = sum(goal.method is not None for goal in goals)
        pieces.append(f"{reached:,} of {len(goals):,} goals of the models were reached")
    if dossier.runs:
        commands = sum(run.commands for _, run in dossier.runs)
        sequences = sum(run.sequences for _, run in dossier.runs)
        pieces.append(f"{counted(commands, 'command')} were run in {counted(sequences, 'sequence')}")
    if dossier.faults:
        faults = dossier.faults[1].faults
        pieces.append(f"{_caught(faults):,} of {counted(len(faults), 'planted fault')} were caught")
    if dossier.contracts:
        pieces.append(f"the contracts of {dossier.contracts[0].work}")
    return f"In all, {_listed(pieces)}." if pieces else "No part was run."


def meaning(dossier: Dossier) -> Meaning:
    """What the verdict says and does not say, for this kind of report."""
    limits = [
        "Proofs and explorations speak about models of an exchange, not about the code of an engine."
        if dossier.proofs or dossier.explorations or dossier.witnesses
        else "",
        "Links are samples, of the reference exchange and not of another engine." if dossier.links else "",
        "Runs are samples of all sequences that an exchange can meet; what they did not try, they do not show."
        if dossier.runs or dossier.diff
        else "",
        "A contract speaks about one function and the inputs that its preconditions admit, not about its callers."
        if dossier.contracts
        else "",
        "It does not cover what stands under “What was not checked”, or other versions and configurations.",
        "The report is evidence that may support an assessment. It is not a certificate.",
    ]
    match dossier.verdict:
        case Verdict.HELD:
            says, first = _held_says(dossier), "It does not say that the engine is free of defects."
        case Verdict.VIOLATED:
            says = _violated_says(dossier)
            first = (
                "It does not say how often the same would happen in production, or that it has ever happened there."
            )
        case Verdict.INCONCLUSIVE:
            says = (
                "No check was contradicted.",
                "Something that should have been concluded was not: the summary shows which part, its section why.",
            )
            first = "It is evidence neither that the invariants hold nor that they do not. Treat it as not passed."
        case _:
            assert_never(dossier.verdict)
    return Meaning(says=says, does_not_say=tuple(line for line in (first, *limits) if line))


def _violated_says(dossier: Dossier) -> tuple[str, ...]:
    shown = "it is shown step by step below and can be run again" if dossier.files else "it is shown below"
    if dossier.diff:
        return (
            f"The engine does something that the reference does not and no declared convention explains; {shown}.",
            "Which of the two is right is for a reader to judge by the engine's documentation.",
        )
    others = "Parts that held keep their meaning within their bounds." if len(dossier.parts) > 1 else ""
    return tuple(line for line in (f"At least one check found a contradiction; {shown}.", others) if line)


def _held_says(dossier: Dossier) -> tuple[str, ...]:
    lines = [
        "In every sequence that was run, after every step, each invariant that was exercised held."
        if dossier.runs
        else "",
        "Every proof obligation was proved." if dossier.proofs else "",
        "Every state that the explored models can reach within their bounds was visited, and none broke a property."
        if dossier.explorations
        else "",
        "Wherever models and the reference exchange were made to go the same way, their states were the same."
        if dossier.links
        else "",
        "Every goal of the models that was sought is reached, by a sequence than which none is shorter."
        if dossier.witnesses
        else "",
        "Every planted fault was caught, so the checks do see the defects that they are there for."
        if dossier.faults
        else "",
        "For every input that satisfies a function's preconditions, the solver found its postconditions to hold."
        if dossier.contracts
        else "",
        "Wherever the engine and the reference were compared, they agreed or differed as a declared convention says."
        if dossier.diff
        else "",
    ]
    return tuple(line for line in lines if line)


def reproduction(dossier: Dossier) -> str:
    """The command line that does the same work again."""
    given = dossier.report.environment.get(COMMAND_LINE, "")
    if given:
        return given
    words = ["holdfast", dossier.report.command]
    match dossier.report.result:
        case GateResult(profile=profile, engine=engine, seed=seed):
            words += ["--profile", profile, "--engine", engine, "--seed", str(seed)]
        case (
            FuzzResult(engine=engine, commands=commands, seed=seed)
            | DiffResult(engine=engine, commands=commands, seed=seed)
        ):
            words += ["--engine", engine, "--commands", str(commands), "--seed", str(seed)]
        case FaultsResult():
            pass
        case Proof(model=model, obligations=obligations):
            claims = (obligation.invariant for obligation in obligations if not obligation.auxiliary)
            words += [*dict.fromkeys(claims), "--model", model]
        case Exploration(model=model):
            words += ["--model", model]
        case Witnesses(goals=goals):
            words += [goal.goal for goal in goals]
        case ContractsResult():
            words = ["make", "crosshair"]
        case _:
            assert_never(dossier.report.result)
    return shlex.join(words)
