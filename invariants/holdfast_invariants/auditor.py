"""The auditor: feeds a history to the monitors, step by step, and collects what they find."""

from collections.abc import Callable, Sequence

from holdfast_invariants.catalogue import CATALOGUE
from holdfast_invariants.monitor import Found, Invariant, Monitor
from holdfast_invariants.told import Told
from holdfast_model.findings import InvariantCoverage, NotChecked, Violation
from holdfast_model.vocabulary import (
    Answer,
    Capability,
    Command,
    Crash,
    Event,
    JournalRecord,
    Record,
    Restart,
    Setup,
    View,
    commands_of,
)


class Auditor:
    """Watches one history. Checking goes on after a violation; one subject is reported once per invariant."""

    def __init__(
        self,
        setup: Setup,
        *,
        capabilities: frozenset[Capability] = frozenset(Capability),
        conventions: frozenset[str] = frozenset(),
        catalogue: Sequence[Invariant] = CATALOGUE,
    ) -> None:
        self.told = Told(setup)
        self._invariants = tuple(catalogue)
        self._capabilities = capabilities
        self._monitors: list[Monitor] = [
            invariant.monitor(self.told, conventions)
            for invariant in self._invariants
            if invariant.needs <= capabilities
        ]
        self._handlers: dict[type, list[Callable[[Event], Found]]] = {}
        for monitor in self._monitors:
            for event, handler in monitor.handlers().items():
                self._handlers.setdefault(event, []).append(handler)
        self._before = [monitor for monitor in self._monitors if type(monitor).before is not Monitor.before]
        self._after = [monitor for monitor in self._monitors if type(monitor).after is not Monitor.after]
        self._batch = [monitor for monitor in self._monitors if type(monitor).batch is not Monitor.batch]
        self._reported: set[tuple[str, str]] = set()
        self._step = -1
        self.violations: list[Violation] = []

    def watch(self, record: Record) -> list[Violation]:
        """Take the next step of the history; the violations that are new with it."""
        self._step += 1
        for monitor in self._monitors:
            monitor.step = self._step
        new: list[Violation] = []
        commands = commands_of(record.step)
        if record.answers:
            for monitor in self._batch:
                self._add(new, monitor.batch(commands, record.answers))
            pairs = list(zip(commands, record.answers, strict=True))
            pairs.sort(key=lambda pair: (pair[1].seq is None, pair[1].seq or 0))
            for command, answer in pairs:
                self._answer(new, command, answer)
        if isinstance(record.step, Crash) and record.step.in_flight is not None:
            self.told.unknown.append(record.step.in_flight)
        for resent in record.resent:
            self._resent(new, resent)
        if isinstance(record.step, Restart) and Capability.RESEND in self._capabilities:
            self.told.unknown.clear()
        self.violations += new
        return new + self.look(record.view) if record.view is not None else new

    def look(self, view: View) -> list[Violation]:
        """Take a view at the current step; the violations that are new with it."""
        new: list[Violation] = []
        for monitor in self._monitors:
            self._add(new, monitor.view(view))
        self.violations += new
        return new

    def _answer(self, new: list[Violation], command: Command, answer: Answer) -> None:
        for monitor in self._before:
            self._add(new, monitor.before(command, answer))
        for event in answer.events:
            for handler in self._handlers.get(event.__class__, ()):
                self._add(new, handler(event))
            self.told.apply(event)
        if answer.seq is not None:
            self.told.seq = answer.seq
        if answer.journal_sha256 is not None:
            self.told.head = answer.journal_sha256
        for monitor in self._after:
            self._add(new, monitor.after(command, answer))

    def _resent(self, new: list[Violation], record: JournalRecord) -> None:
        """Hear of something decided while nobody listened: it must be a command whose outcome was unknown."""
        if record.command in self.told.unknown:
            self.told.unknown.remove(record.command)
        elif Capability.RESEND in self._capabilities:
            self._add(
                new,
                [
                    Violation(
                        invariant="FINAL-2",
                        step=self._step,
                        subject=f"journal record {record.seq}",
                        found=f"{type(record.command).__name__} is in the history",
                        expected="only commands that were given, once each",
                    )
                ],
            )
        self._answer(
            new,
            record.command,
            Answer(events=record.events, seq=record.seq, journal_sha256=record.journal_sha256),
        )

    def _add(self, new: list[Violation], found: Found) -> None:
        for violation in found:
            key = (violation.invariant, violation.subject)
            if key not in self._reported:
                self._reported.add(key)
                new.append(violation)

    def coverage(self) -> tuple[InvariantCoverage, ...]:
        """How often each invariant was checked, and how often it was violated; those not checkable have 0 checks."""
        checked = {monitor.invariant: monitor.checked for monitor in self._monitors}
        return tuple(
            InvariantCoverage(
                id=invariant.id,
                sentence=invariant.sentence,
                severity=invariant.severity,
                checked=checked.get(invariant.id, 0),
                violations=sum(violation.invariant == invariant.id for violation in self.violations),
            )
            for invariant in self._invariants
        )


def not_checkable(
    capabilities: frozenset[Capability], catalogue: Sequence[Invariant] = CATALOGUE
) -> tuple[NotChecked, ...]:
    """The invariants that an engine of these capabilities cannot be checked for, and why."""
    return tuple(
        NotChecked(
            subject=invariant.id,
            reason=f"the engine does not declare {', '.join(sorted(invariant.needs - capabilities))}",
        )
        for invariant in catalogue
        if not invariant.needs <= capabilities
    )
