"""The gate: proofs, exploration, link, machine, volume, scenarios, faults, as fixed amounts of work per profile."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

from msgspec import Struct

from holdfast.counterexamples import Progress, counterexample, rerun, smallest, summary
from holdfast.custody_machine import CustodyMachine
from holdfast.engines import FAILURES_IN_A_ROW_MAX, EngineSource
from holdfast.faulting import representatives, run_faults, verdict_of
from holdfast.fuzzing import counterexamples_of, fuzz
from holdfast.healing import REST_BOUND
from holdfast.linking.checking import LINKED, Linked, Work, check_links
from holdfast.linking.following import why_not_linked
from holdfast.machines import ExchangeMachine, sum_coverage
from holdfast.margin_machine import MarginMachine
from holdfast.operations_machine import OperationsMachine
from holdfast.running import ENGINE_FAILED
from holdfast.scenarios import SCENARIOS, Scenario
from holdfast.setups import (
    CUSTODY_CAPABILITIES,
    CUSTODY_SETUP,
    MARGIN_CAPABILITIES,
    MARGIN_SETUP,
    OPERATIONS_CAPABILITIES,
    OPERATIONS_SETUP,
    SMALL_SETUP,
    WHOLE_SETUP,
    fitted,
    setups_for,
    signing_bounds,
)
from holdfast.sharding import MachineOutcome, MachineWork, run_machines
from holdfast.whole_machine import WholeMachine
from holdfast.witnessing import goals_sought, hunt_for, on_reference
from holdfast.workers import WORKERS, Beside
from holdfast_engine.faults import FAULTS, Fault
from holdfast_invariants.auditor import not_checkable
from holdfast_invariants.catalogue import CATALOGUE
from holdfast_invariants.goals import GOALS
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.checkers.witness import Hunt, Limits
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Bound, Exploration, Proof, Verdict, worst
from holdfast_model.findings import (
    Counterexample,
    FaultsResult,
    GateResult,
    InvariantCoverage,
    LinkCheck,
    NotChecked,
    Run,
    Violation,
)
from holdfast_model.specs import load_model
from holdfast_model.vocabulary import Capability, ComeToRest, Setup, Step

T = TypeVar("T")


class Profile(Struct, frozen=True, kw_only=True):
    """An amount of work: the same on any machine. Commands and examples, never seconds."""

    name: str
    proofs: tuple[str, ...]
    explorations: tuple[str, ...]
    witnessed: tuple[str, ...] | None
    """The models to whose goals the shortest sequences are sought; None is all in which a goal lives."""
    machine_examples: int
    margin_examples: int
    custody_examples: int
    operations_examples: int
    whole_examples: int
    machine_steps: int
    commands: int
    fault_commands: int
    faults_each: int | None
    """How many planted bugs are tried for each invariant, besides one for each incident; None is all there are."""
    link: Work
    links: tuple[Linked, ...] = LINKED


QUICKLY_WITNESSED = (
    "trading",
    "margin",
    "custody",
    "maintenance",
    "replication",
    "surge",
    "maintenance+replication",
    "replication+surge",
)
"""The slices of the exchange whose goals are all reached within a fraction of a second."""

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            proofs=("spot",),
            explorations=("yardstick", "spot"),
            witnessed=tuple(f"exchange:slice={name}" for name in QUICKLY_WITNESSED),
            machine_examples=70,
            margin_examples=45,
            custody_examples=40,
            operations_examples=23,
            whole_examples=11,
            machine_steps=30,
            commands=20_000,
            fault_commands=30_000,
            faults_each=2,
            link=Work(walks=2, walk_steps=20, histories=2, history_moves=25),
        ),
        Profile(
            name="ci",
            proofs=("spot", "yardstick"),
            explorations=("yardstick", "spot"),
            witnessed=None,
            machine_examples=300,
            margin_examples=150,
            custody_examples=175,
            operations_examples=110,
            whole_examples=55,
            machine_steps=50,
            commands=100_000,
            fault_commands=60_000,
            faults_each=None,
            link=Work(walks=6, walk_steps=40, histories=12, history_moves=40),
        ),
        Profile(
            name="nightly",
            proofs=("spot", "yardstick"),
            explorations=("yardstick", "yardstick:log=2", "spot"),
            witnessed=None,
            machine_examples=6_000,
            margin_examples=3_800,
            custody_examples=5_800,
            operations_examples=2_900,
            whole_examples=1_500,
            machine_steps=60,
            commands=2_000_000,
            fault_commands=100_000,
            faults_each=None,
            link=Work(walks=60, walk_steps=60, histories=150, history_moves=60),
        ),
    )
}

Found = Callable[[int, str, Counterexample], object]
"""Is told of each counterexample at once: its number from 0, its invariant, and itself."""


def profile_by_name(name: str) -> Profile:
    """The profile of this name. Raises `HoldfastError` that lists the names there are."""
    if name not in PROFILES:
        raise HoldfastError(f"there is no profile {name!r}; there are: {', '.join(PROFILES)}")
    return PROFILES[name]


class Kept(Protocol):
    """Is told whenever more is finished; what is not to be kept at once is one of many small parts."""

    def __call__(self, *, at_once: bool) -> object:
        """More is finished than before."""


def nobody(*, at_once: bool) -> None:
    """Keep nothing."""
    del at_once


class Gate:
    """One run of the gate. What is done when it is interrupted is kept, so that a report can be written of it."""

    def __init__(
        self,
        source: EngineSource,
        profile: Profile,
        *,
        seed: int,
        progress: Progress,
        found: Found,
        kept: Kept = nobody,
        workers: int = WORKERS,
    ) -> None:
        """`workers`: how many engines may be under test at once. With one, this process runs the machines itself."""
        self._source = source
        self._profile = profile
        self._seed = seed
        self._progress = progress
        self._found = found
        self._kept = kept
        self._finished: set[str] = set()
        self._left_out: set[str] = set()
        self.identity = source.engine().identity
        self.proofs: list[Proof] = []
        self.explorations: list[Exploration] = []
        self.links: list[LinkCheck] = []
        self.hunt = Hunt(Limits(), progress, on_reference)
        self.runs: list[Run] = []
        self.faults: FaultsResult | None = None
        self.skipped: list[NotChecked] = []
        self.counterexamples: list[tuple[str, Counterexample]] = []
        self.timing: dict[str, float] = {}
        self.complete = False
        self._beside: Beside[FaultsResult] | None = None
        self._idle = False
        self._workers = workers
        self._outcomes: Generator[MachineOutcome] | None = None

    def run(self) -> None:
        """Do all of the profile's work; the engine under test comes first, because it is what was asked about.

        The planted bugs, which have nothing to do with it, go on beside, on the other cores; then on all.
        """
        self._progress("faults, beside all else")
        self._beside = Beside(self._run_faults)
        try:
            for name, work in self._parts():
                if name not in self._left_out:
                    work()
                    self._finished.add(name)
                    self._kept(at_once=True)
        finally:
            self._beside.leave()
            if self._outcomes is not None:
                self._outcomes.close()
        self.complete = True

    def _machines(self) -> list[MachineWork]:
        """The machines that the engine's capabilities allow, with what they have to do."""
        profile = self._profile
        capabilities = self.identity.capabilities
        operated = MARGIN_CAPABILITIES | OPERATIONS_CAPABILITIES
        machines: list[tuple[str, type[ExchangeMachine], Setup, int, frozenset[Capability]]] = [
            ("machine", ExchangeMachine, SMALL_SETUP, profile.machine_examples, frozenset()),
            ("margin-machine", MarginMachine, MARGIN_SETUP, profile.margin_examples, MARGIN_CAPABILITIES),
            ("custody-machine", CustodyMachine, CUSTODY_SETUP, profile.custody_examples, CUSTODY_CAPABILITIES),
            ("operations-machine", OperationsMachine, OPERATIONS_SETUP, profile.operations_examples, operated),
            ("whole-machine", WholeMachine, WHOLE_SETUP, profile.whole_examples, operated | CUSTODY_CAPABILITIES),
        ]
        return [
            MachineWork(name, machine, fitted(setup, capabilities), examples)
            for name, machine, setup, examples, needs in machines
            if needs <= capabilities
        ]

    def _parts(self) -> list[tuple[str, Callable[[], None]]]:
        """All parts of the profile in their order, as far as the engine's capabilities allow."""
        return [
            ("generator", self._generator),
            *((work.name, partial(self._machine, work)) for work in self._machines()),
            *((f"scenario {item.name}", partial(self._scenario, item)) for item in SCENARIOS),
            *((f"proof of {model}", partial(self._proof, model)) for model in self._profile.proofs),
            *((f"exploration of {model}", partial(self._exploration, model)) for model in self._profile.explorations),
            ("links of models and the reference", lambda: self._timed("links", self._check_links)),
            ("shortest sequences to goals", lambda: self._timed("witness", self._witness)),
            ("planted bugs", self._await_faults),
        ]

    def unfinished(self) -> tuple[str, ...]:
        """The parts that the run ended before, when it was not let finish."""
        if self.complete:
            return ()
        names = [name for name, _ in self._parts()]
        return tuple(name for name in names if name not in self._finished | self._left_out)

    def _proof(self, model: str) -> None:
        self.proofs.append(self._timed(f"proof:{model}", partial(_prove, model)))

    def _exploration(self, model: str) -> None:
        self.explorations.append(self._timed(f"exploration:{model}", partial(_explore, model)))

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        self._progress(name.replace(":", " "))
        start = monotonic()
        try:
            return work()
        finally:
            self.timing[name] = round(monotonic() - start, 3)

    def _check_links(self) -> None:
        """Let the models and the reference go the same way; of the engine under test this says nothing."""
        for model in dict.fromkeys((*self._profile.proofs, *self._profile.explorations)):
            reason = why_not_linked(load_model(model))
            if reason:
                self.skipped.append(NotChecked(subject=f"the link of {model} and the reference", reason=reason))
        for check, seconds in check_links(self._profile.links, seed=self._seed, work=self._profile.link):
            self.links.append(check)
            if seconds is not None:
                self.timing[f"link:{check.model}"] = round(seconds, 3)

    def _witness(self) -> None:
        sought = goals_sought((), None)
        wanted = self._profile.witnessed
        left = [
            goal for model, goals in sought.items() if wanted is not None and model not in wanted for goal in goals
        ]
        hunt_for(self.hunt, {m: goals for m, goals in sought.items() if wanted is None or m in wanted})
        if left:
            reason = f"profile {self._profile.name} does not look for them: {', '.join(left)}"
            self.skipped.append(NotChecked(subject=f"shortest sequences to {len(left)} goals", reason=reason))

    def _run_faults(self, go_on: Callable[[], None]) -> FaultsResult:
        """Run them in other processes: on half of the cores as long as this one is at something else."""

        def keep(known: FaultsResult) -> None:
            go_on()
            self.faults = known

        def workers() -> int:
            return WORKERS if self._idle else _cores_beside()

        return run_faults(
            self._faults(),
            seed=self._seed,
            commands=self._profile.fault_commands,
            progress=self._progress,
            kept=keep,
            workers=workers,
        )

    def _faults(self) -> tuple[Fault, ...]:
        each = self._profile.faults_each
        return FAULTS if each is None else representatives(each)

    def _await_faults(self) -> None:
        assert self._beside is not None
        self._idle = True
        self.faults = self._beside.result(partial(self._kept, at_once=False))
        self.timing["faults"] = round(self._beside.seconds, 3)
        left = len(FAULTS) - len(self.faults.faults)
        if left:
            each = self._profile.faults_each
            reason = f"profile {self._profile.name} tries {each} of each invariant, one of each incident; ci all"
            self.skipped.append(NotChecked(subject=f"{left} planted bugs", reason=reason))
        self.skipped += [
            NotChecked(subject=f"planted bug {item.fault}", reason=item.reason)
            for item in self.faults.faults
            if item.reason
        ]

    def _run_machines(self, machines: Sequence[MachineWork]) -> Generator[MachineOutcome]:
        """Run them in processes, on the cores that the planted bugs leave; in this one, if there is to be one."""

        def workers() -> int:
            assert self._beside is not None
            return min(self._workers, WORKERS - _cores_beside() if self._beside.goes_on() else WORKERS)

        return run_machines(
            self._source.name,
            machines,
            seed=self._seed,
            steps=self._profile.machine_steps,
            workers=None if self._workers == 1 else workers,
            progress=self._progress,
        )

    def _machine(self, work: MachineWork) -> None:
        """Run one machine, and note what came of it after each shard; meanwhile other cores go on with the next."""
        self._progress(f"run {work.name}")
        self._source.discard()  # the machines have engines of their own, and no more than are allowed
        machines = [work] if self._workers == 1 else self._machines()
        if work == machines[0]:
            self._outcomes = self._run_machines(machines)
        assert self._outcomes is not None
        place = len(self.runs)
        for outcome in self._outcomes:
            self.timing[f"run:{work.name}"] = round(outcome.seconds, 3)
            self.runs[place:] = [self._machine_run(work, outcome)]
            if outcome.over:
                break
            self._kept(at_once=False)
        if work == machines[-1]:
            self._outcomes.close()
        self.skipped += [NotChecked(subject=what, reason=why) for what, why in outcome.lost.items()]
        run = outcome.run
        if run.violations:
            invariant = _gravest(run.shown).invariant
            failed = run.setup or work.setup
            self._add(invariant, failed, smallest(self._source, failed, run.failing, invariant), work.name)

    def _machine_run(self, work: MachineWork, outcome: MachineOutcome) -> Run:
        """What came of a machine so far, as evidence."""
        missing = [f"{what}: {why}" for what, why in outcome.lost.items()]
        if not outcome.over:
            missing.append(f"{outcome.examples} of {work.examples} examples are done")
        unknown = Verdict.INCONCLUSIVE if missing else Verdict.HELD
        run = outcome.run
        return Run(
            kind="machine",
            name=work.name,
            sentence="The models' ways to their goals, then what Hypothesis draws: commands, operations, bursts.",
            verdict=Verdict.VIOLATED if run.violations else unknown,
            bounds=(
                Bound(name="examples", value=str(work.examples)),
                Bound(name="steps for each example at most", value=str(self._profile.machine_steps)),
                Bound(name="seed", value=str(self._seed)),
                REST_BOUND,
                *signing_bounds(work.setup),
            ),
            sequences=run.sequences,
            commands=run.commands,
            goals=dict(sorted(run.goals.items())),
            coverage=tuple(run.checked.values()),
            violations=run.violations,
            reason="" if run.violations else "; ".join(missing),
        )

    def _generator(self) -> None:
        """Run the seeded generator; an engine that does not bear it is not given to the machines."""
        outcome = self._timed(
            "run:generator", lambda: fuzz(self._source, seed=self._seed, commands=self._profile.commands)
        )
        self.runs.append(
            outcome.run(
                kind="generator",
                name="generator",
                sentence="Seeded sequences of trading and funds, mixed with maintenance, kills, failover and bursts.",
                bounds=(
                    Bound(name="commands", value=str(self._profile.commands)),
                    Bound(name="seed", value=str(self._seed)),
                    REST_BOUND,
                    *signing_bounds(*setups_for(self.identity.capabilities)),
                ),
            )
        )
        for invariant, found in counterexamples_of(self._source, outcome, seed=self._seed, progress=self._progress):
            self._keep(invariant, found)
        if outcome.gave_up:
            self._left_out.update(work.name for work in self._machines())
            self.skipped.append(
                NotChecked(
                    subject="the machines, and the rest of the generator's commands",
                    reason=f"the engine failed in {FAILURES_IN_A_ROW_MAX} sequences in a row",
                )
            )

    def _scenario(self, scenario: Scenario) -> None:
        missing = scenario.needs - self.identity.capabilities
        if missing:
            reason = f"the engine does not declare {', '.join(sorted(missing))}"
            self.skipped.append(NotChecked(subject=f"scenario {scenario.name}", reason=reason))
            return
        steps = (*scenario.steps(scenario.setup), ComeToRest())
        runner = self._timed(f"run:{scenario.name}", lambda: rerun(self._source, scenario.setup, steps))
        self.runs.append(
            Run(
                kind="scenario",
                name=scenario.name,
                sentence=scenario.sentence,
                verdict=Verdict.VIOLATED if runner.violations else Verdict.HELD,
                bounds=(Bound(name="steps", value=str(len(steps))), REST_BOUND, *signing_bounds(scenario.setup)),
                sequences=1,
                commands=runner.commands,
                goals=dict(sorted(runner.goals.items())),
                coverage=runner.coverage(),
                violations=tuple(runner.violations),
            )
        )
        if runner.violations:
            invariant = _gravest(runner.violations).invariant
            small = smallest(self._source, scenario.setup, steps, invariant)
            self._add(invariant, scenario.setup, small, f"scenario {scenario.name}")

    def _add(self, invariant: str, setup: Setup, steps: tuple[Step, ...], origin: str) -> None:
        found = counterexample(self._source, setup, steps, origin=f"{origin}, seed {self._seed}", invariant=invariant)
        self._keep(invariant, found)

    def _keep(self, invariant: str, found: Counterexample) -> None:
        self.counterexamples.append((invariant, found))
        self._found(len(self.counterexamples) - 1, invariant, found)
        self._kept(at_once=True)

    def coverage(self) -> tuple[InvariantCoverage, ...]:
        """Checks and violations of each invariant over all runs on the engine under test."""
        total: dict[str, InvariantCoverage] = {}
        for run in self.runs:
            total = sum_coverage(total, run.coverage)
        ids = [*(invariant.id for invariant in CATALOGUE), ENGINE_FAILED]
        return tuple(total[identifier] for identifier in ids if identifier in total)

    def reached(self) -> dict[str, int]:
        """How often each goal that the engine's capabilities allow was reached, over all runs."""
        counts: Counter[str] = Counter()
        for run in self.runs:
            counts.update(run.goals)
        return {goal.id: counts[goal.id] for goal in GOALS if goal.needs <= self.identity.capabilities}

    def not_checked(self) -> tuple[NotChecked, ...]:
        """All that a reader might take for checked and was not."""
        silent = not_checkable(self.identity.capabilities)
        known = {item.subject for item in silent}
        unexercised = tuple(
            NotChecked(subject=item.id, reason="nothing of what it speaks of happened: it was never exercised")
            for item in self.coverage()
            if not item.checked and item.id not in known
        )
        vacuous = tuple(
            NotChecked(subject=f"goal {goal}", reason="it was never reached, so the run is vacuous for it")
            for goal, count in self.reached().items()
            if not count
        )
        rest = (NotChecked(subject=name, reason="the run ended before it was finished") for name in self.unfinished())
        return (*silent, *unexercised, *vacuous, *self.skipped, *rest)

    def verdict(self) -> Verdict:
        """The verdict of the whole: of all parts, of the reach of the goals, and of whether it was let finish."""
        parts = [
            *(proof.verdict for proof in self.proofs),
            *(exploration.verdict for exploration in self.explorations),
            *(link.verdict for link in self.links),
            *(run.verdict for run in self.runs),
        ]
        if self.hunt.found:
            parts.append(self.hunt.verdict())
        if self.faults is not None:
            parts.append(verdict_of(self.faults))
        if not self.complete or any(not count for count in self.reached().values()):
            parts.append(Verdict.INCONCLUSIVE)
        checkable = {item.subject for item in not_checkable(self.identity.capabilities)}
        if any(not item.checked and item.id not in checkable for item in self.coverage()):
            parts.append(Verdict.INCONCLUSIVE)
        return worst(parts)

    def result(self, files: dict[int, str], witness_files: Sequence[str] = ()) -> GateResult:
        """The evidence; `files` names the file of each counterexample by its position.

        `witness_files` names that of each sequence to a goal, in the order of the hunt.
        """
        return GateResult(
            profile=self._profile.name,
            engine=self._source.name,
            engine_version=f"{self.identity.engine} {self.identity.version}",
            seed=self._seed,
            proofs=tuple(self.proofs),
            explorations=tuple(self.explorations),
            links=tuple(self.links),
            runs=tuple(self.runs),
            faults=self.faults,
            invariants=self.coverage(),
            reached=self.reached(),
            not_checked=self.not_checked(),
            counterexamples=tuple(
                summary(found, file=files[position], invariant=invariant)
                for position, (invariant, found) in enumerate(self.counterexamples)
            ),
            witnesses=self.hunt.result(witness_files) if self.hunt.found else None,
            unfinished=self.unfinished(),
        )


def _cores_beside() -> int:
    """How many cores the planted bugs have while there is something else to do."""
    return max(1, WORKERS // 2)


def _prove(model: str) -> Proof:
    return prove(load_model(model))


def _explore(model: str) -> Exploration:
    return explore(load_model(model))


def _gravest(violations: tuple[Violation, ...] | list[Violation]) -> Violation:
    """The violation to show: what was lost comes before how it shows elsewhere; an engine's failure comes last."""
    order = {"FINAL-2": 0, "CONS-1": 1, ENGINE_FAILED: 9}
    return min(violations, key=lambda violation: (order.get(violation.invariant, 5), violation.step))
