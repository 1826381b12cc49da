"""The auditor: feeds a history to the monitors, step by step, and collects what they find."""

from collections.abc import Sequence
from typing import Any

from holdfast_invariants.catalogue import CATALOGUE
from holdfast_invariants.monitor import ACTIONS, COMMANDS, EVENTS, Findings, Handler, Invariant, Moment, Monitor
from holdfast_invariants.rest import restless
from holdfast_invariants.told import Told
from holdfast_model.findings import InvariantCoverage, NotChecked, Violation
from holdfast_model.vocabulary import (
    Answer,
    Capability,
    Command,
    Crash,
    JournalRecord,
    Record,
    ReplicaCommand,
    Restart,
    RestoreSnapshot,
    Setup,
    View,
    commands_of,
)

Calls = dict[type, tuple[Handler, ...]]
"""What is called for a command or an event, by its class, in order."""


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
        self._findings = Findings()
        self.violations = self._findings.violations
        self._invariants = tuple(catalogue)
        self._resends = Capability.RESEND in capabilities
        self._monitors: list[Monitor] = [
            invariant.monitor(self.told, conventions, self._findings)
            for invariant in self._invariants
            if invariant.needs <= capabilities
        ]
        looks = self._calls(Moment.BEFORE, COMMANDS)
        self._before = {cls: (*self.told.hearers(cls), *looks[cls]) for cls in COMMANDS}
        self._on = self._event_calls()
        looks = self._calls(Moment.AFTER, COMMANDS)
        self._after = {cls: (*self.told.closers(cls), *looks[cls]) for cls in COMMANDS}
        self._upon = self._calls(Moment.ACTION, ACTIONS)
        self._batch = [monitor.batch for monitor in self._monitors if type(monitor).batch is not Monitor.batch]
        self._resent_to = [monitor.resent for monitor in self._monitors if type(monitor).resent is not Monitor.resent]
        self._views = [monitor.view for monitor in self._monitors if type(monitor).view is not Monitor.view]

    @property
    def looks_at_views(self) -> bool:
        """Whether any of its monitors has something to see in a view."""
        return bool(self._views)

    def _calls(self, moment: Moment, classes: tuple[type, ...]) -> Calls:
        """The monitors' methods for a moment."""
        calls: dict[type, list[Handler]] = {cls: [] for cls in classes}
        for monitor in self._monitors:
            for name, marked, watched in monitor.marked:
                if marked is moment:
                    handler = getattr(monitor, name)
                    for cls in watched:
                        calls[cls].append(handler)
        return {cls: tuple(found) for cls, found in calls.items()}

    def _event_calls(self) -> Calls:
        """All that is done with an event: it is looked up, looked at, believed, and looked at again."""
        told, at, again = self.told, self._calls(Moment.EVENT, EVENTS), self._calls(Moment.BELIEVED, EVENTS)
        return {cls: (*told.lookups(cls), *at[cls], *told.beliefs(cls), *again[cls]) for cls in EVENTS}

    def watch(self, record: Record) -> list[Violation]:
        """Take the next step of the history; the violations that are new with it."""
        known = len(self.violations)
        self._findings.step += 1
        step: Any = record.step
        kind, answers = step.__class__, record.answers
        if len(answers) == 1 and kind in self._before and not record.resent and not self.told.unknown:
            for batch in self._batch:
                batch((step,), answers)
            self._answer(step, answers[0])
        else:
            self._unusual(record)
        if record.view is not None:
            self.look(record.view)
        return self.violations[known:]

    def begin_rest(self) -> None:
        """Everything is being healed from here on: what is pending now is what has to come to rest."""
        self._findings.step += 1
        self.told.owed.at_first = dict(restless(self.told))

    def watch_within(self, record: Record) -> list[Violation]:
        """Take a record that belongs to the step at hand."""
        self._findings.step -= 1
        return self.watch(record)

    def _unusual(self, record: Record) -> None:
        """Take a step that is not just one command and its answer.

        What was decided while nobody listened comes before the answers of this step. After a restart, or with the
        first decision after a replica died, everybody knows what became of the commands that were in flight.
        """
        step = record.step
        if isinstance(step, Crash):
            self.told.killed(step.replica)
            if step.in_flight is not None:
                self.told.unknown.append(step.in_flight)
        for resent in record.resent:
            self._resent(resent)
        if self._resends and (isinstance(step, Restart) or any(answer.seq is not None for answer in record.answers)):
            self.told.unknown.clear()
        if isinstance(step, Restart | RestoreSnapshot):
            self.told.owed.rebuilt("the last restart" if isinstance(step, Restart) else "the last restore")
        for look in self._upon.get(step.__class__, ()):
            look(record)
        if record.answers:
            self._together(commands_of(step), record.answers)

    @property
    def unsettled(self) -> bool:
        """Whether there are commands of which nobody knows yet what became of them, and the exchange can tell."""
        return self._resends and bool(self.told.unknown)

    def look(self, view: View) -> list[Violation]:
        """Take a view at the current step; the violations that are new with it."""
        known = len(self.violations)
        self.told.look_up_view(view)
        for look in self._views:
            look(view)
        return self.violations[known:]

    def _together(self, commands: Sequence[Command], answers: Sequence[Answer]) -> None:
        """Take commands that arrived together in the order in which they were decided, those refused last.

        What was done to replicas comes first: operators go before everybody else.
        """
        pairs = list(zip(commands, answers, strict=True))
        for batch in self._batch:
            batch(commands, answers)
        pairs.sort(key=lambda pair: (not isinstance(pair[0], ReplicaCommand), pair[1].seq is None, pair[1].seq or 0))
        for command, answer in pairs:
            self._answer(command, answer)

    def _answer(self, command: Command, answer: Answer) -> None:
        kind, calls, told = command.__class__, self._on, self.told
        told.command = command
        for look in self._before[kind]:
            look(command, answer)
        for event in answer.events:
            for call in calls[event.__class__]:
                call(event)
        if answer.seq is not None:
            told.seq = answer.seq
        if answer.journal_sha256 is not None:
            told.head = answer.journal_sha256
        for look in self._after[kind]:
            look(command, answer)

    def _resent(self, record: JournalRecord) -> None:
        """Hear of something decided while nobody listened: it must be a command whose outcome was unknown."""
        if record.command in self.told.unknown:
            self.told.unknown.remove(record.command)
        elif self._resends:
            self._findings.add(
                "FINAL-2",
                f"journal record {record.seq}",
                found=f"{type(record.command).__name__} is in the history",
                expected="only commands that were given, once each",
            )
        self.told.resending = True
        for look in self._resent_to:
            look(record)
        self._answer(
            record.command,
            Answer(events=record.events, seq=record.seq, journal_sha256=record.journal_sha256),
        )
        self.told.resending = False

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
