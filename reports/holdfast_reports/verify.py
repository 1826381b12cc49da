"""Looks at recorded evidence again: what follows from it must be what the report says.

Three questions, in this order. Do the files belong together (digests, and each file equal to what is rendered from
`report.json`)? Does each part's verdict follow from its own evidence? Do the sums and the verdict of the whole follow
from the parts? A clean answer does not show that the evidence is true, only that it does not contradict itself.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import (
    EXIT_STATUS_BY_VERDICT,
    WITNESS_SCHEMA,
    ExitStatus,
    Exploration,
    ObligationVerdict,
    Proof,
    Verdict,
    Witness,
    WitnessedGoal,
    Witnesses,
    worst,
)
from holdfast_model.findings import (
    COUNTEREXAMPLE_SCHEMA,
    ContractCheck,
    ContractOutcome,
    ContractsResult,
    Counterexample,
    DiffResult,
    FaultsResult,
    FaultVerdict,
    FuzzResult,
    GateResult,
    LinkCheck,
    Report,
    Run,
    worst_outcome,
)
from holdfast_model.vocabulary import wire
from holdfast_model.vocabulary.history import command_count
from holdfast_reports.dossier import Dossier, Part, derived_verdict, dossier, run_verdict
from holdfast_reports.store import REPORT_FILE, AnyResult, load, read_bytes
from holdfast_reports.sums import SUMS_FILE, digest_of, is_safe_path, parse_sums
from holdfast_reports.text import visible
from holdfast_reports.write import rendered

COUNTEREXAMPLE_FOLDER = "counterexamples"
WITNESS_FOLDER = "witnesses"


def verify(folder: Path) -> list[str]:
    """The inconsistencies of the report in a folder, each as a sentence; empty where there is none.

    Raises `HoldfastError` where there is no report to look at: see `holdfast_reports.load`.
    """
    report = load(folder)
    evidence = dossier(report)
    problems = [
        *_files(folder, report),
        *_counterexamples(folder, evidence),
        *_witness_files(folder, evidence),
        *_whole(evidence),
        *(problem for part in evidence.parts for problem in _part(part)),
        *_sums_of_runs(report),
        *_timing(report),
    ]
    return [visible(problem, limit=1_000) for problem in dict.fromkeys(problems)]


# Files ------------------------------------------------------------------------------------------------------------


def _files(folder: Path, report: Report[AnyResult]) -> Iterator[str]:
    """Each file is what is rendered from `report.json`, and has the digest that `SHA256SUMS` says."""
    expected = rendered(report, folder)
    for name, data in expected.items():
        try:
            found = read_bytes(folder / name)
        except HoldfastError as error:
            yield str(error)
            continue
        if found != data and name != SUMS_FILE:
            yield f"{name} is not what is rendered from {REPORT_FILE}: one was edited, or another version wrote it"
    there = {name for name in dossier(report).files if digest_of(folder, name) is not None}
    yield from _digests(folder, set(expected) - {SUMS_FILE} | there)


def _digests(folder: Path, names: set[str]) -> Iterator[str]:
    file = folder / SUMS_FILE
    if not file.is_file():
        return
    try:
        sums = parse_sums(file, read_bytes(file))
    except HoldfastError as error:
        yield str(error)
        return
    for name, recorded in sums.items():
        found = digest_of(folder, name)
        if found is None:
            yield f"{name} has a digest in {SUMS_FILE}, but is not there"
        elif found != recorded:
            yield f"{name} changed after the report was written: its SHA-256 is {found}, {SUMS_FILE} says {recorded}"
    for name in sorted(names - set(sums)):
        yield f"{name} has no digest in {SUMS_FILE}"


def _counterexample_files(folder: Path) -> list[Path]:
    return sorted((folder / COUNTEREXAMPLE_FOLDER).glob("*.json"))


def _counterexamples(folder: Path, evidence: Dossier) -> Iterator[str]:
    """Every file that the evidence names is there and shows what it says, and no other lies beside them."""
    named = set(evidence.files)
    for path in sorted((folder / COUNTEREXAMPLE_FOLDER).glob("*.json")):
        if f"{COUNTEREXAMPLE_FOLDER}/{path.name}" not in named:
            yield f"{COUNTEREXAMPLE_FOLDER}/{path.name} is there, but the report does not list it"
    for summary in evidence.counterexamples:
        found, problem = _counterexample(folder, summary.file)
        if found is None:
            yield f"{summary.file or summary.invariant}: {problem}"
            continue
        yield from _origin(summary.file, found, engine=evidence.engine, commands=summary.commands)
        if summary.invariant not in {violation.invariant for violation in found.violations}:
            yield f"{summary.file}: shows no violation of {summary.invariant}"
    for difference in evidence.diff[1].differences if evidence.diff else ():
        if not difference.file and difference.convention:
            continue
        found, problem = _counterexample(folder, difference.file)
        if found is None:
            yield f"{difference.file or difference.kind}: {problem}"
            continue
        yield from _origin(difference.file, found, engine=evidence.engine, commands=difference.commands)
        if difference.kind not in {each.kind for each in found.differences}:
            yield f"{difference.file}: shows no difference of the kind {difference.kind}"


def _witness_files(folder: Path, evidence: Dossier) -> Iterator[str]:
    """Every sequence to a goal is in its file, and no other lies beside them."""
    named = set(evidence.files)
    for path in sorted((folder / WITNESS_FOLDER).glob("*.json")):
        if f"{WITNESS_FOLDER}/{path.name}" not in named:
            yield f"{WITNESS_FOLDER}/{path.name} is there, but the report does not list it"
    for goal in evidence.witnesses[1].goals if evidence.witnesses else ():
        shown = [(goal.file, goal.actions), *((other.file, other.actions) for other in goal.others)]
        for file, actions in shown if goal.method is not None else ():
            yield from _witness_file(folder, goal, file, actions)


def _witness_file(folder: Path, goal: WitnessedGoal, file: str, actions: tuple[str, ...]) -> Iterator[str]:
    if not is_safe_path(file) or digest_of(folder, file) is None:
        yield f"{file or goal.goal}: the sequence to the goal {goal.goal} is not there"
        return
    try:
        found = msgspec.json.decode(read_bytes(folder / file), type=Witness)
    except (HoldfastError, msgspec.DecodeError, RecursionError) as error:
        yield f"{file}: not a sequence to a goal: {error}"
        return
    if found.schema != WITNESS_SCHEMA:
        yield f'{file}: found the schema "{found.schema}", expected "{WITNESS_SCHEMA}"'
    if (found.goal, found.model) != (goal.goal, goal.model):
        yield f"{file}: is about {found.goal} of {found.model}, the report says {goal.goal} of {goal.model}"
    if tuple(state.action for state in found.trace) != ("init", *actions):
        yield f"{file}: takes other steps than the report says"


def _counterexample(folder: Path, name: str) -> tuple[Counterexample | None, str]:
    """The counterexample in a file that the evidence names or, where there is none, why."""
    if not is_safe_path(name):
        return None, "its counterexample is not a plain path inside the report's folder"
    if digest_of(folder, name) is None:
        return None, "listed in the report, but not there"
    try:
        return wire.decode(read_bytes(folder / name), Counterexample), ""
    except (HoldfastError, RecursionError) as error:
        return None, f"not a counterexample: {error}"


def _origin(name: str, found: Counterexample, *, engine: str, commands: int) -> Iterator[str]:
    if found.schema != COUNTEREXAMPLE_SCHEMA:
        yield f'{name}: found the schema "{found.schema}", expected "{COUNTEREXAMPLE_SCHEMA}"'
    if found.engine != engine:
        yield f'{name}: found on the engine "{found.engine}", the report is about "{engine}"'
    counted = command_count(found.steps)
    if not counted == found.commands == commands:
        yield f"{name}: has {counted} commands, says {found.commands}, and the report says {commands}"


# Parts ------------------------------------------------------------------------------------------------------------


def _part(part: Part) -> Iterator[str]:
    match part.evidence:
        case Proof() as proof:
            yield from _verdict(part.title, proof.verdict, part.verdict)
            yield from _proof(part.title, proof)
        case Exploration() as exploration:
            yield from _verdict(part.title, exploration.verdict, part.verdict)
            yield from _exploration(part.title, exploration)
        case LinkCheck() as link:
            yield from _verdict(part.title, link.verdict, part.verdict)
            yield from _link(part.title, link)
        case Witnesses() as witnesses:
            yield from _verdict(part.title, witnesses.verdict, part.verdict)
            yield from _witnesses(part.title, witnesses)
        case Run() as run:
            yield from _verdict(part.title, run.verdict, part.verdict)
            yield from _run(part.title, run)
        case FaultsResult() as faults:
            yield from _faults(faults)
        case DiffResult() as diff:
            yield from _diff(diff)
        case ContractsResult() as contracts:
            yield from _contracts(part.title, contracts)


def _verdict(title: str, recorded: Verdict, supported: Verdict) -> Iterator[str]:
    if recorded is not supported:
        yield f'{title}: the verdict "{recorded}" is recorded, its evidence supports "{supported}"'


def _negative(title: str, **counts: int) -> Iterator[str]:
    for name, count in counts.items():
        if count < 0:
            yield f"{title}: {name} is {count}, which counts nothing"


def _twice(title: str, what: str, names: Iterable[object]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{title}: the {what} {name} is listed {count} times"


def _proof(title: str, proof: Proof) -> Iterator[str]:
    verdicts = {obligation.verdict for obligation in proof.obligations}
    shown = proof.bounded is not None and proof.bounded.verdict is Verdict.VIOLATED
    if proof.verdict is Verdict.VIOLATED and ObligationVerdict.REFUTED not in verdicts and not shown:
        yield f"{title}: violated, but no obligation is refuted"
    if proof.verdict is Verdict.INCONCLUSIVE and verdicts == {ObligationVerdict.PROVED}:
        yield f"{title}: inconclusive, but every obligation is proved"
    for obligation in proof.obligations:
        name = f"{title}, {obligation.property} under {obligation.action}"
        open_ended = obligation.verdict in (ObligationVerdict.UNKNOWN, ObligationVerdict.NOT_ATTEMPTED)
        if open_ended and not obligation.reason:
            yield f"{name}: {obligation.verdict}, but no reason is given"
        if obligation.verdict is ObligationVerdict.REFUTED and not obligation.after:
            yield f"{name}: refuted, but no state shows it"
        if obligation.verdict is ObligationVerdict.PROVED and (obligation.before or obligation.after):
            yield f"{name}: proved, but states of a counterexample are recorded"


def _exploration(title: str, exploration: Exploration) -> Iterator[str]:
    yield from _negative(
        title, deadlocks=exploration.deadlocks, depth=exploration.depth, distinct=exploration.distinct
    )
    if exploration.verdict is Verdict.VIOLATED and not exploration.violations:
        yield f"{title}: violated, but no violation is recorded"
    if exploration.complete and exploration.stopped_by:
        yield f"{title}: complete, but stopped by {exploration.stopped_by}"
    if not exploration.complete and not exploration.stopped_by:
        yield f"{title}: not complete, but nothing says what stopped it"
    yield from _exploration_counts(title, exploration)
    known = {row.property for row in exploration.properties}
    for violation in exploration.violations:
        name = f"{title}, violation of {violation.property}"
        if violation.states != len(violation.trace):
            yield f"{name}: says {violation.states} states, its trace has {len(violation.trace)}"
        if violation.trace and violation.trace[0].action != "init":
            yield f'{name}: its trace starts with "{violation.trace[0].action}", not with "init"'
        if violation.property not in known:
            yield f"{name}: the property is not among those evaluated"


def _exploration_counts(title: str, exploration: Exploration) -> Iterator[str]:
    distinct, generated = exploration.distinct, exploration.generated
    if distinct > generated:
        yield f"{title}: {distinct} distinct states out of {generated} generated"
    if exploration.depth > distinct:
        yield f"{title}: {exploration.depth} levels with {distinct} states"
    if not 0 <= exploration.collision_probability <= 1:
        yield f"{title}: the collision probability is {exploration.collision_probability}"
    for row in exploration.properties:
        if not 0 <= row.states <= distinct:
            yield f"{title}: {row.property} was evaluated in {row.states} of {distinct} states"
    for goal in exploration.goals:
        if goal.states != len(goal.trace):
            yield f"{title}, goal {goal.goal}: says {goal.states} states, its trace has {len(goal.trace)}"
        if exploration.verdict is Verdict.HELD and not goal.states:
            yield f"{title}: held, but goal {goal.goal} was not reached"
    if exploration.deadlock and not exploration.deadlocks:
        yield f"{title}: no state without a step, but a way to one"
    for action in exploration.actions:
        if not 0 <= action.taken <= generated:
            yield f"{title}: {action.action} was taken {action.taken} times for {generated} generated states"


def _link(title: str, link: LinkCheck) -> Iterator[str]:
    yield from _negative(title, steps=link.steps, moves=link.moves)
    if sum(link.actions.values()) != link.steps:
        yield f"{title}: {link.steps} steps, but its actions were taken {sum(link.actions.values())} times"
    if link.verdict is Verdict.VIOLATED and link.difference is None:
        yield f"{title}: violated, but no difference is recorded"
    if link.difference is not None and (link.difference.step != len(link.path) or not link.origin):
        yield f"{title}: differs at step {link.difference.step}, but its path has {len(link.path)}"


def _witnesses(title: str, witnesses: Witnesses) -> Iterator[str]:
    yield from _twice(title, "goal", [goal.goal for goal in witnesses.goals])
    for goal in witnesses.goals:
        name = f"{title}, {goal.goal}"
        if goal.steps != len(goal.actions):
            yield f"{name}: says {goal.steps} steps, {len(goal.actions)} are recorded"
        if goal.method is None and (goal.steps or goal.replayed):
            yield f"{name}: not reached, but steps are recorded"
        if goal.replayed and goal.difference:
            yield f"{name}: replayed on the engine, but a difference is recorded"
        if goal.method is None and not goal.reason:
            yield f"{name}: not reached, but no reason is given"
        if not goal.replayed and not goal.not_replayed_because:
            yield f"{name}: not replayed on the engine, but no reason is given"
        if any(len(other.actions) < goal.steps for other in goal.others):
            yield f"{name}: a further sequence is shorter than the shortest"


def _run(title: str, run: Run) -> Iterator[str]:
    yield from _negative(title, sequences=run.sequences, commands=run.commands)
    found = Counter(violation.invariant for violation in run.violations)
    counted = {row.id: row.violations for row in run.coverage}
    if run.verdict is Verdict.VIOLATED and not found and not any(counted.values()):
        yield f"{title}: violated, but no violation is recorded"
    if run.verdict is Verdict.INCONCLUSIVE and not run.reason:
        yield f"{title}: inconclusive, but no reason is given"
    yield from _twice(title, "invariant", [row.id for row in run.coverage])
    for row in run.coverage:
        yield from _negative(f"{title}, {row.id}", checked=row.checked, violations=row.violations)
        if row.violations and not row.checked:
            yield f"{title}, {row.id}: {row.violations} violations in 0 checks"
        if found[row.id] > row.violations:
            yield f"{title}, {row.id}: {row.violations} violations are counted, {found[row.id]} are recorded"
        if row.violations and not found[row.id]:
            yield f"{title}, {row.id}: {row.violations} violations are counted, none is recorded"
    for name in found.keys() - counted.keys():
        yield f"{title}: {name} is violated, but not among the invariants that were checked"
    for goal, count in run.goals.items():
        yield from _negative(f"{title}, goal {goal}", count=count)


def _faults(faults: FaultsResult) -> Iterator[str]:
    yield from _twice("Planted faults", "fault", [fault.fault for fault in faults.faults])
    for fault in faults.faults:
        name = f"Planted fault {fault.fault}"
        caught = set(fault.names) <= set(fault.caught_by)
        if not fault.names:
            yield f"{name}: names no invariant that must catch it"
        if fault.verdict is FaultVerdict.CAUGHT and not caught:
            missing = ", ".join(sorted(set(fault.names) - set(fault.caught_by)))
            yield f"{name}: recorded as caught, but {missing} did not fire"
        if fault.verdict is FaultVerdict.MISSED and caught:
            yield f"{name}: recorded as missed, but every invariant that it names fired"
        yield from _negative(name, commands=fault.commands, commands_to_find=fault.commands_to_find)
        if fault.caught_by and not (fault.commands and fault.commands_to_find):
            yield f"{name}: caught by {', '.join(fault.caught_by)} with no command"
    healthy = "The healthy engine among the planted faults"
    yield from _verdict(healthy, faults.healthy.verdict, run_verdict(faults.healthy))
    yield from _run(healthy, faults.healthy)


def _diff(diff: DiffResult) -> Iterator[str]:
    title = "Comparison with the reference"
    declared = {name for name, _ in diff.conventions}
    yield from _negative(title, sequences=diff.sequences, commands=diff.commands)
    for subject, count in diff.compared.items():
        yield from _negative(f"{title}, {subject}", compared=count)
    if any(diff.compared.values()) and not diff.commands:
        yield f"{title}: something was compared, but no command was given"
    for difference in diff.differences:
        name = f"{title}, {difference.kind}"
        if difference.convention and difference.convention not in declared:
            yield f"{name}: explained by the convention {difference.convention}, which the engine does not declare"
        if not 1 <= difference.occurrences <= max(diff.sequences, 1):
            yield f"{name}: met in {difference.occurrences} of {diff.sequences} sequences"
        if difference.commands < 1:
            yield f"{name}: shown by {difference.commands} commands"


def _contracts(title: str, contracts: ContractsResult) -> Iterator[str]:
    yield from _twice(title, "function", [check.function for check in contracts.functions])
    for check in contracts.functions:
        yield from _contract(f"{title}, {check.function}", check)


def _contract(name: str, check: ContractCheck) -> Iterator[str]:
    supported = worst_outcome(condition.outcome for condition in check.conditions)
    if check.outcome is not supported:
        yield f'{name}: the outcome "{check.outcome}" is recorded, its postconditions support "{supported}"'
    if check.outcome is ContractOutcome.NO_CONTRACT and not check.reason:
        yield f"{name}: without a contract, but no reason is given"
    for condition in check.conditions:
        refuted = condition.outcome is ContractOutcome.REFUTED
        if refuted is not bool(condition.counterexample):
            yield f"{name}: {condition.outcome}, but {'no' if refuted else 'a'} counterexample is recorded"
        is_open = condition.outcome in (ContractOutcome.NOT_CONFIRMED, ContractOutcome.UNREACHABLE)
        if is_open and not condition.reason:
            yield f"{name}: {condition.outcome}, but no reason is given"


# The whole --------------------------------------------------------------------------------------------------------


def _whole(evidence: Dossier) -> Iterator[str]:
    """The verdict follows from the parts, and the exit status from the verdict."""
    report = evidence.report
    derived = [derived_verdict(part.evidence) for part in evidence.parts]
    parts = worst([_supported(part) for part in evidence.parts])
    missed = evidence.faults is not None and any(
        fault.verdict is FaultVerdict.MISSED for fault in evidence.faults[1].faults
    )
    if report.verdict is Verdict.HELD and parts is not Verdict.HELD:
        yield f'the verdict "held" is recorded, the parts support "{parts}"'
    if report.verdict is Verdict.INCONCLUSIVE and parts is Verdict.VIOLATED:
        yield 'the verdict "inconclusive" is recorded, but a part is violated'
    if report.verdict is Verdict.VIOLATED and Verdict.VIOLATED not in derived and not missed:
        yield 'the verdict "violated" is recorded, but no part shows a violation'
    if report.verdict is Verdict.INCONCLUSIVE and parts is Verdict.HELD and not _is_open_somewhere(evidence):
        yield 'the verdict "inconclusive" is recorded, but nothing says what was left open'
    stopped = (ExitStatus.BUG, ExitStatus.INTERRUPTED)
    expected = EXIT_STATUS_BY_VERDICT[report.verdict]
    if evidence.contracts and report.verdict is Verdict.INCONCLUSIVE:
        # A solver that gives up on a function is listed by name and stops nobody.
        expected = ExitStatus.HELD
    if report.exit_status != expected and not (report.verdict is not Verdict.HELD and report.exit_status in stopped):
        yield f'the exit status is {report.exit_status}, the verdict "{report.verdict}" has {int(expected)}'


def _supported(part: Part) -> Verdict:
    """The verdict of a part from its evidence alone; planted faults and a comparison record none of their own."""
    if isinstance(part.evidence, FaultsResult | DiffResult | ContractsResult):
        return derived_verdict(part.evidence)
    return part.verdict


def _is_open_somewhere(evidence: Dossier) -> bool:
    """Whether something beside the parts' verdicts says why the whole is inconclusive."""
    unexercised = any(not row.checked for row in evidence.invariants)
    unreached = any(not count for _, count in evidence.reached)
    result = evidence.report.result
    unfinished = isinstance(result, GateResult) and bool(result.unfinished)
    return unfinished or unexercised or unreached or evidence.report.exit_status != ExitStatus.INCONCLUSIVE


def _sums_of_runs(report: Report[AnyResult]) -> Iterator[str]:
    """What the whole counts is what its runs count."""
    match report.result:
        case GateResult() as gate:
            yield from _gate_sums(gate)
            yield from _fit_of_counterexamples(gate, {row.id: row.violations for row in gate.invariants})
        case FuzzResult() as fuzz:
            if Counter(fuzz.violations) != Counter(fuzz.run.violations):
                yield "the violations of the result are not those of its run"
            if fuzz.commands != fuzz.run.commands:
                yield f"the result says {fuzz.commands} commands, its run {fuzz.run.commands}"
            yield from _fit_of_counterexamples(fuzz, {row.id: row.violations for row in fuzz.run.coverage})
        case DiffResult() | FaultsResult() | Proof() | Exploration() | Witnesses() | ContractsResult():
            pass


def _gate_sums(gate: GateResult) -> Iterator[str]:
    """The invariants' and goals' counts are the sums over the runs, with or without the healthy engine's run."""
    healthy = (gate.faults.healthy,) if gate.faults else ()
    sums = [_sum(gate.runs), _sum((*gate.runs, *healthy))]
    yield from _twice("the invariants", "invariant", [row.id for row in gate.invariants])
    for row in gate.invariants:
        found = {(checked[row.id], violations[row.id]) for checked, violations, _ in sums}
        if (row.checked, row.violations) not in found:
            checked, violations, _ = sums[0]
            yield (
                f"{row.id}: {row.checked} checks and {row.violations} violations are counted, "
                f"the runs have {checked[row.id]} and {violations[row.id]}"
            )
        if not row.checked and not any(row.id in item.subject for item in gate.not_checked):
            yield f"{row.id} was checked 0 times, and nothing under what was not checked says so"
    for name in sorted(set(sums[0][0]) - {row.id for row in gate.invariants}):
        yield f"{name} was checked in a run, but is not among the invariants"
    for goal in sorted({*gate.reached, *sums[0][2]}):
        counts = {goals[goal] for _, _, goals in sums}
        if gate.reached.get(goal, 0) not in counts:
            yield f"goal {goal}: {gate.reached.get(goal, 0)} is counted, the runs have {sums[0][2][goal]}"


def _sum(runs: tuple[Run, ...]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Checks and violations by invariant, and goals, over all runs."""
    checked: Counter[str] = Counter()
    violations: Counter[str] = Counter()
    goals: Counter[str] = Counter()
    for run in runs:
        for row in run.coverage:
            checked[row.id] += row.checked
            violations[row.id] += row.violations
        for goal, count in run.goals.items():
            goals[goal] += count
    return checked, violations, goals


def _fit_of_counterexamples(result: GateResult | FuzzResult, violations: dict[str, int]) -> Iterator[str]:
    for summary in result.counterexamples:
        if not violations.get(summary.invariant, 0):
            yield f"{summary.file} shows a violation of {summary.invariant}, but none is counted"


def _timing(report: Report[AnyResult]) -> Iterator[str]:
    for name, seconds in report.timing.items():
        if not math.isfinite(seconds) or seconds < 0:
            yield f"the time of {name} is {seconds} s"
