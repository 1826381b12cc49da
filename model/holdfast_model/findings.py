"""Evidence of runs on an engine: violations, counterexamples, and the result of each command of the harness.

Like `holdfast_model.evidence`, plain data that depends on neither clock nor machine: what does is kept in the
`timing` and `environment` of the `Report` around a result.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Generic, TypeVar

from msgspec import Struct

from holdfast_model.evidence import Bound, Exploration, Proof, Verdict, Witnesses
from holdfast_model.vocabulary.history import Step
from holdfast_model.vocabulary.setup import Setup


class Violation(Struct, frozen=True, kw_only=True):
    """An invariant did not hold: at which step (0-based), of what, what was found, and what was expected.

    `subject` names the thing (an order, a balance, an entry), so that one defect is reported once and not at every
    later step; `evidence` lists the entries or events involved, as JSON.
    """

    invariant: str
    step: int
    subject: str
    found: str
    expected: str
    evidence: tuple[str, ...] = ()


class Difference(Struct, frozen=True, kw_only=True):
    """The engine under test and the reference disagree at a step."""

    kind: str
    step: int
    subject: str
    found: str
    expected: str


class StepNarrative(Struct, frozen=True, kw_only=True):
    """One step told to a person: what was done, answered, and what changed (each "name: before -> after")."""

    step: str
    answers: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()


COUNTEREXAMPLE_SCHEMA = "holdfast/counterexample/1"


class Counterexample(Struct, frozen=True, kw_only=True):
    """A sequence that shows a violation or a difference; `holdfast replay` runs it again.

    `engine` is the engine that it was found on. `commands` counts the steps, each command of a burst for itself.
    `narrative` is there to be read; a replay makes it anew.
    """

    schema: str
    engine: str
    origin: str
    setup: Setup
    steps: tuple[Step, ...]
    commands: int
    violations: tuple[Violation, ...] = ()
    differences: tuple[Difference, ...] = ()
    narrative: tuple[StepNarrative, ...] = ()


class CounterexampleSummary(Struct, frozen=True, kw_only=True):
    """Where a counterexample was written (relative to the output folder), and what it shows."""

    file: str
    invariant: str
    commands: int
    origin: str
    sentence: str
    found: str
    expected: str
    narrative: tuple[StepNarrative, ...]


class InvariantCoverage(Struct, frozen=True, kw_only=True):
    """How often an invariant was checked in a run, and how often it was violated.

    A check is one event, entry or view of the kind that the invariant speaks of; 0 means that nothing of the
    kind happened, so that nothing is known.
    """

    id: str
    sentence: str
    severity: str
    checked: int
    violations: int


class NotChecked(Struct, frozen=True, kw_only=True):
    """Something that a reader may take for checked and was not, and why."""

    subject: str
    reason: str


class LinkDifference(Struct, frozen=True, kw_only=True):
    """The first step at which a model and an exchange that go the same way differ, and in what.

    `action` is the model's action, or what was done to the exchange; `variable` one of the model's variables, or in
    parentheses or words what is compared besides; `model` and `engine` are its values as they are printed.
    """

    step: int
    action: str
    variable: str
    model: str
    engine: str


class Replay(Struct, frozen=True, kw_only=True):
    """A path of a model that an exchange followed for so many steps, the states compared after each.

    It is matched only if it was followed to its end without a difference. `unsupported` says why a step was not taken
    on the exchange: nothing was then concluded.
    """

    model: str
    matched: bool
    steps: int
    difference: LinkDifference | None = None
    unsupported: str | None = None


class LinkCheck(Struct, frozen=True, kw_only=True):
    """A model and the reference exchange that were made to go the same way, both ways, states compared at each step.

    Walks are random paths of the model, followed by the exchange for `steps` in all; `actions` says how often each
    action was taken in them, and `passed_over` for which reasons the exchange could not take a step, and how often.
    Histories are what is done to the exchange at random, in all `moves`, each explained as a path of the model.
    `path` leads to the `difference`; `origin` says which walk or history it is.
    """

    model: str
    verdict: Verdict
    bounds: tuple[Bound, ...]
    steps: int
    moves: int
    actions: dict[str, int]
    passed_over: dict[str, int] = {}
    origin: str = ""
    path: tuple[str, ...] = ()
    difference: LinkDifference | None = None


class FaultVerdict(StrEnum):
    """`CAUGHT` when every invariant that the fault names fired."""

    CAUGHT = "caught"
    MISSED = "missed"


class FaultOutcome(Struct, frozen=True, kw_only=True):
    """What became of one planted bug: `names` must fire, `caught_by` did.

    `commands` is the size of the smallest counterexample, `commands_to_find` how many ran before the first
    violation. `reason` says why nothing is known of it, where the process that was at it was lost.
    """

    fault: str
    sentence: str
    incidents: tuple[str, ...]
    names: tuple[str, ...]
    caught_by: tuple[str, ...]
    commands: int
    commands_to_find: int
    verdict: FaultVerdict
    reason: str = ""


class Run(Struct, frozen=True, kw_only=True):
    """A run of generated or scripted sequences on an engine, with all invariants on.

    `kind` is "machine" (Hypothesis), "generator" (seeded) or "scenario". `goals` counts what was reached;
    `journal_sha256` is over everything that the engine answered, where it shows a journal.
    """

    kind: str
    name: str
    sentence: str
    verdict: Verdict
    bounds: tuple[Bound, ...]
    sequences: int
    commands: int
    goals: dict[str, int]
    coverage: tuple[InvariantCoverage, ...]
    violations: tuple[Violation, ...]
    reason: str = ""
    """Why the run is inconclusive, where it is."""


class FaultsResult(Struct, frozen=True, kw_only=True):
    """`holdfast faults`: every planted bug, and the healthy engine put through the same work."""

    bounds: tuple[Bound, ...]
    faults: tuple[FaultOutcome, ...]
    healthy: Run


class FuzzResult(Struct, frozen=True, kw_only=True):
    """`holdfast fuzz`."""

    engine: str
    seed: int
    commands: int
    journal_sha256: str
    run: Run
    violations: tuple[Violation, ...]
    counterexamples: tuple[CounterexampleSummary, ...]
    not_checked: tuple[NotChecked, ...]


class DiffFinding(Struct, frozen=True, kw_only=True):
    """One kind of difference, at its smallest: `convention` names the documented behaviour that explains it, or "".

    `occurrences` counts the sequences in which it was met.
    """

    kind: str
    commands: int
    file: str
    convention: str
    occurrences: int
    found: str
    expected: str
    narrative: tuple[StepNarrative, ...] = ()


class DiffResult(Struct, frozen=True, kw_only=True):
    """`holdfast diff`."""

    engine: str
    engine_version: str
    seed: int
    commands: int
    sequences: int
    bounds: tuple[Bound, ...]
    compared: dict[str, int]
    differences: tuple[DiffFinding, ...]
    conventions: tuple[tuple[str, str], ...]
    not_checked: tuple[NotChecked, ...]


class ReplayResult(Struct, frozen=True, kw_only=True):
    """`holdfast replay`."""

    file: str
    engine: str
    commands: int
    violations: tuple[Violation, ...]
    differences: tuple[Difference, ...]
    narrative: tuple[StepNarrative, ...]
    reproduced: bool


class ContractOutcome(StrEnum):
    """What was found out about a contract of a function. Only `CONFIRMED` is green."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not-confirmed"
    REFUTED = "refuted"
    UNREACHABLE = "unreachable"
    """No input was found that satisfies the preconditions, so that nothing was checked."""
    NO_CONTRACT = "no-contract"
    """The function promises nothing that can be checked."""


class ConditionCheck(Struct, frozen=True, kw_only=True):
    """One postcondition, as it stands in the source; on `REFUTED`, `counterexample` is a call that breaks it.

    `reason` says why on `NOT_CONFIRMED` and `UNREACHABLE`.
    """

    condition: str
    outcome: ContractOutcome
    reason: str = ""
    counterexample: str = ""


class ContractCheck(Struct, frozen=True, kw_only=True):
    """One function and all its postconditions under its preconditions; its outcome is the worst of theirs."""

    function: str
    outcome: ContractOutcome
    preconditions: tuple[str, ...] = ()
    conditions: tuple[ConditionCheck, ...] = ()
    reason: str = ""
    """Why there is no contract, where there is none."""


def worst_outcome(outcomes: Iterable[ContractOutcome]) -> ContractOutcome:
    """The outcome of a whole from those of its parts; where there are none, there is no contract.

    >>> worst_outcome([ContractOutcome.CONFIRMED, ContractOutcome.NOT_CONFIRMED]).value
    'not-confirmed'
    """
    found = set(outcomes)
    order = (
        ContractOutcome.REFUTED,
        ContractOutcome.UNREACHABLE,
        ContractOutcome.NO_CONTRACT,
        ContractOutcome.NOT_CONFIRMED,
        ContractOutcome.CONFIRMED,
    )
    return next((outcome for outcome in order if outcome in found), ContractOutcome.NO_CONTRACT)


class ContractsResult(Struct, frozen=True, kw_only=True):
    """`make crosshair`: every function of a module against its contract."""

    module: str
    solver: str
    bounds: tuple[Bound, ...]
    functions: tuple[ContractCheck, ...]
    not_checked: tuple[NotChecked, ...] = ()


class GateResult(Struct, frozen=True, kw_only=True):
    """`holdfast gate`: all its parts, and the sums that a reader asks for first.

    `reached` counts the goals over all runs; `invariants` the checks over all runs; `not_checked` says what a
    reader might take for checked; `unfinished` names the parts that the run ended before, when it was not let finish.
    """

    profile: str
    engine: str
    engine_version: str
    seed: int
    proofs: tuple[Proof, ...]
    explorations: tuple[Exploration, ...]
    runs: tuple[Run, ...]
    faults: FaultsResult | None
    invariants: tuple[InvariantCoverage, ...]
    reached: dict[str, int]
    not_checked: tuple[NotChecked, ...]
    counterexamples: tuple[CounterexampleSummary, ...]
    links: tuple[LinkCheck, ...] = ()
    witnesses: Witnesses | None = None
    unfinished: tuple[str, ...] = ()


ResultT_co = TypeVar("ResultT_co", covariant=True)

REPORT_SCHEMA = "holdfast/report/1"


class Report(Struct, Generic[ResultT_co], frozen=True, kw_only=True):
    """The envelope that every command writes with `--json`, and the gate as `report.json`.

    All that depends on the clock or the machine is in `timing` (seconds by part) and `environment` (versions, commit,
    platform); `result` is byte-identical for one seed.
    """

    schema: str
    command: str
    verdict: Verdict
    exit_status: int
    result: ResultT_co
    timing: dict[str, float]
    environment: dict[str, str]


AnyReport = Report[Any]

__all__ = [
    "COUNTEREXAMPLE_SCHEMA",
    "REPORT_SCHEMA",
    "AnyReport",
    "ConditionCheck",
    "ContractCheck",
    "ContractOutcome",
    "ContractsResult",
    "Counterexample",
    "CounterexampleSummary",
    "DiffFinding",
    "DiffResult",
    "Difference",
    "FaultOutcome",
    "FaultVerdict",
    "FaultsResult",
    "FuzzResult",
    "GateResult",
    "InvariantCoverage",
    "LinkCheck",
    "LinkDifference",
    "NotChecked",
    "Replay",
    "ReplayResult",
    "Report",
    "Run",
    "StepNarrative",
    "Violation",
    "worst_outcome",
]
