"""Running a sequence on an engine: each step done, its answers and views taken, every invariant checked."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from itertools import chain
from typing import get_args

from holdfast.engine import Engine, EngineFailure
from holdfast.healing import Healing
from holdfast.known import Known
from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import CATALOGUE
from holdfast_invariants.goals import Progress, Watch
from holdfast_invariants.monitor import Invariant, Severity
from holdfast_model.findings import InvariantCoverage, Violation
from holdfast_model.vocabulary import (
    Answer,
    AskReplica,
    Burst,
    Capability,
    ComeToRest,
    Crash,
    CrashPoint,
    JournalRecord,
    KillReplica,
    ProcedureCommand,
    Record,
    ReplicaCommand,
    ReplicaId,
    Restart,
    RestoreSnapshot,
    SetPhase,
    Setup,
    Step,
    TakeSnapshot,
    View,
    commands_of,
)

ENGINE_FAILED = "ENGINE"
"""Stands in a violation's `invariant` where the engine itself failed: it died, hung, or broke the protocol."""

ENGINE_SENTENCE = "The engine answers every request, in the form that the protocol asks for."

VIEW_INTERVAL = 25

_OPERATIONS = (
    TakeSnapshot,
    RestoreSnapshot,
    SetPhase,
    Burst,
    AskReplica,
    Crash,
    ComeToRest,
    *get_args(ReplicaCommand),
    *get_args(ProcedureCommand),
)


class Views(Enum):
    """When views are taken."""

    EVERY_STEP = auto()
    AFTER_OPERATIONS = auto()
    """After everything that is done to the exchange itself, and else every `VIEW_INTERVAL` steps."""


class Runner:
    """One history in the making: an engine, reset to a setup, and the auditor that watches it.

    After the engine failed, or while it is down, steps that it could not take are skipped.
    """

    def __init__(
        self,
        engine: Engine,
        setup: Setup,
        *,
        views: Views = Views.EVERY_STEP,
        catalogue: Sequence[Invariant] = CATALOGUE,
    ) -> None:
        self.engine = engine
        self.setup = setup
        self.capabilities = engine.identity.capabilities
        self.auditor = Auditor(
            setup,
            capabilities=self.capabilities,
            conventions=frozenset(convention.convention for convention in engine.identity.conventions),
            catalogue=catalogue,
        )
        self.progress = Progress(self.auditor.told)
        self.known = Known(setup)
        self.goals: Counter[str] = Counter()
        self._watch = Watch(self.capabilities)
        self.steps: list[Step] = []
        self.commands = 0
        self.down = False
        self.failed = False
        self.failure = ""
        self.last_view: View | None = None
        self._views = views
        self._since_view = 0
        self.healed: list[Record] = []
        """What was done in the last `ComeToRest`."""
        self._guard(lambda: engine.reset(setup))

    @property
    def violations(self) -> list[Violation]:
        """All violations so far."""
        return self.auditor.violations

    def coverage(self) -> tuple[InvariantCoverage, ...]:
        """How often each invariant was checked, and last, in how many steps the engine itself was relied on."""
        return (
            *self.auditor.coverage(),
            InvariantCoverage(
                id=ENGINE_FAILED,
                sentence=ENGINE_SENTENCE,
                severity=Severity.CRITICAL,
                checked=len(self.steps) + 1,
                violations=int(self.failed),
            ),
        )

    def can(self, step: Step) -> bool:
        """Whether the step can be taken now: a killed engine can only be started again, and only a killed one."""
        return not self.failed and (isinstance(step, ComeToRest) or self.down == isinstance(step, Restart))

    def do(self, step: Step) -> Record | None:
        """Take a step, with everything checked; None where it could not be taken."""
        if not self.can(step):
            return None
        self.steps.append(step)
        if isinstance(step, ComeToRest):
            return self._come_to_rest(step)
        return self._do(step, self.auditor.watch)

    def _do(self, step: Step, watch: Callable[[Record], object]) -> Record:
        self.commands += max(1, len(commands_of(step)))
        record = Record(step=step)

        def take() -> None:
            nonlocal record
            record = self._take(step)

        failure = self._guard(take)
        watch(record)
        self.known.hear(record)
        if failure is not None:
            self.auditor.violations.append(failure)
            return record
        self.goals.update(self._watch.reached(self.progress, record))
        self.progress.note(record)
        if record.view is not None:
            self.last_view = record.view
        return record

    def _come_to_rest(self, step: ComeToRest) -> Record:
        """Heal, each step of it watched as any other, and demand that all is at rest; `healed` has what was done."""
        self.healed = []
        self.auditor.begin_rest()
        healing = Healing(self.auditor.told, self.known, self.setup, self.capabilities, name=f"rest{len(self.steps)}")
        for part in chain((Restart(),) if self.down else (), healing.steps()):
            self.healed.append(self._do(part, self.auditor.watch_within))
            if self.failed:
                return self.healed[-1]
        return self._do(step, self.auditor.watch_within)

    def run(self, steps: Iterable[Step]) -> "Runner":
        """Take all steps that can be taken."""
        for step in steps:
            self.do(step)
        return self

    def finish(self) -> None:
        """Take a last view, so that the last steps are looked at too.

        A history may end with the engine down, or with a command in flight of which nobody has heard yet.
        """
        if self.down or self.failed or self.auditor.unsettled or not self._since_view:
            return
        self._since_view = 0
        view: View | None = None

        def look() -> None:
            nonlocal view
            view, _ = self.engine.observe()

        failure = self._guard(look)
        if failure is not None:
            self.auditor.violations.append(failure)
        elif view is not None:
            self.last_view = view
            self.auditor.look(view)

    def _guard(self, act: Callable[[], None]) -> Violation | None:
        """Do something with the engine; its failure is a finding, and the end of the history."""
        try:
            act()
        except EngineFailure as failure:
            self.failed = True
            self.failure = str(failure)
            return Violation(
                invariant=ENGINE_FAILED,
                step=max(0, len(self.steps) - 1),
                subject="engine",
                found=str(failure),
                expected="an answer to every request",
            )
        return None

    def _take(self, step: Step) -> Record:
        answers: tuple[Answer, ...] = ()
        resent: tuple[JournalRecord, ...] = ()
        view: View | None = None
        match step:
            case TakeSnapshot():
                self.engine.snapshot()
            case RestoreSnapshot():
                self.engine.restore()
            case Crash(replica=replica) if replica is not None:
                self._kill(replica, step)
            case Crash(in_flight=in_flight, point=point):
                self.down = True
                self.engine.crash(in_flight, point)
            case Restart():
                self.engine.restart()
                self.down = False
                since = self.auditor.told.seq if Capability.RESEND in self.capabilities else None
                view, resent = self.engine.observe(since)
            case ComeToRest():
                pass
            case AskReplica(replica=replica, commands=commands):
                answers = self.engine.submit(commands, replica)
            case _:
                answers = self.engine.submit(commands_of(step))
        decided = [answer.seq for answer in answers if answer.seq is not None]
        unsettled = self.auditor.unsettled or (isinstance(step, Crash) and step.in_flight is not None)
        if unsettled and decided:
            resent = self._asked_again(min(decided))
            unsettled = False
        if view is None and not self.down and not unsettled and self.auditor.looks_at_views and self._due(step):
            view, _ = self.engine.observe()
        return Record(step=step, answers=answers, resent=resent, view=view)

    def _kill(self, replica: ReplicaId, crash: Crash) -> None:
        """Kill one replica; a command in flight was replicated before, or was not, and nobody hears of it."""
        if crash.in_flight is not None and crash.point is CrashPoint.AFTER_JOURNAL:
            self.engine.submit((crash.in_flight,))
        self.engine.submit((KillReplica(replica=replica),))

    def _asked_again(self, first: int) -> tuple[JournalRecord, ...]:
        """What was decided since the last answer that was heard, up to the first of the answers at hand."""
        _, records = self.engine.observe(self.auditor.told.seq)
        return tuple(record for record in records if record.seq < first)

    def _due(self, step: Step) -> bool:
        self._since_view += 1
        operation = isinstance(step, _OPERATIONS)
        if self._views is Views.EVERY_STEP or operation or self._since_view >= VIEW_INTERVAL:
            self._since_view = 0
            return True
        return False


def run(engine: Engine, setup: Setup, steps: Sequence[Step]) -> Runner:
    """Run a whole sequence on an engine from the start, with a view after every step."""
    return Runner(engine, setup).run(steps)


def run_until(
    engine: Engine, setup: Setup, steps: Sequence[Step], invariant: str, *, views: Views = Views.EVERY_STEP
) -> Runner:
    """Run a sequence as `run` does, with one invariant checked, and no further than to where it is violated.

    Where views are not taken after every step, a last one is taken at the end.
    """
    runner = Runner(engine, setup, views=views, catalogue=[entry for entry in CATALOGUE if entry.id == invariant])
    for step in steps:
        runner.do(step)
        if any(violation.invariant == invariant for violation in runner.violations):
            return runner
    runner.finish()
    return runner
