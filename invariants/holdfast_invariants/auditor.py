"""The auditor: feeds a history to the monitors, step by step, and collects what they find."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from holdfast_invariants.catalogue import CATALOGUE
from holdfast_invariants.monitor import (
    COMMANDS,
    Findings,
    Invariant,
    Moment,
    Monitor,
)
from holdfast_invariants.plain import Plain
from holdfast_invariants.rest import restless
from holdfast_invariants.routing import Calls, OnDemand, Routes, Topic
from holdfast_invariants.told import Look, Told
from holdfast_model.findings import InvariantCoverage, NotChecked, Violation
from holdfast_model.vocabulary import (
    Answer,
    Capability,
    Command,
    Crash,
    EntryPosted,
    JournalRecord,
    Record,
    ReplicaCommand,
    Restart,
    RestoreSnapshot,
    Setup,
    View,
    commands_of,
)

_COMMANDS = frozenset(COMMANDS)


class Course:
    """All that is done with events of one class, or with entries of one kind: what is called for them, in order.

    `look` finds what the event speaks of, and whether it is plain; then follow the calls for plain ones, which are
    counted, or all.
    """

    __slots__ = ("look", "plain", "plainly", "wholly")

    def __init__(self, look: Look, *, plainly: Calls, wholly: Calls) -> None:
        self.look = look
        self.plainly, self.wholly = plainly, wholly
        self.plain = 0


class Asking:
    """What is called for answers to commands of one class: before their events and after. Plain ones are counted."""

    __slots__ = ("after", "plain", "plainly", "wholly")

    def __init__(self, *, plainly: Calls, wholly: Calls, after: Calls) -> None:
        self.plainly, self.wholly, self.after = plainly, wholly, after
        self.plain = 0


def _never_plain(look_up: Look) -> Look:
    """The same lookup, for an auditor that takes no event for a plain one."""

    def look(event: Any) -> bool:  # noqa: ANN401 - whatever is looked up
        look_up(event)
        return False

    return look


class Auditor:
    """Watches one history. Checking goes on after a violation; one subject is reported once per invariant.

    A `thorough` one takes nothing for plain (see `monitor`): it finds the same, and takes twice as long.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        capabilities: frozenset[Capability] = frozenset(Capability),
        conventions: frozenset[str] = frozenset(),
        catalogue: Sequence[Invariant] = CATALOGUE,
        thorough: bool = False,
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
        self._thorough = thorough
        told, self._routes = self.told, Routes(self._monitors)
        self._plain_looks = Plain(told).looks()
        calls = self._routes.calls
        self._asked = OnDemand(self._asking)
        self._on = OnDemand(self._course)
        self._upon = OnDemand(lambda cls: calls(Moment.ACTION, cls))
        batches = [monitor for monitor in self._monitors if type(monitor).batch is not Monitor.batch]
        self._batch = [monitor.batch for monitor in batches]
        self._alone = [monitor.batch for monitor in batches if thorough or "batch" not in monitor.idle]
        self._resent_to = [monitor.resent for monitor in self._monitors if type(monitor).resent is not Monitor.resent]
        self._views = [monitor.view for monitor in self._monitors if type(monitor).view is not Monitor.view]

    @property
    def looks_at_views(self) -> bool:
        """Whether any of its monitors has something to see in a view."""
        return bool(self._views)

    def _asking(self, command: Topic) -> Asking:
        """What is called before and after the events of an answer to commands of one class."""
        assert isinstance(command, type), "entries have no answer of their own"
        told, calls = self.told, self._routes.calls
        return Asking(
            plainly=(*told.hearers(command), *calls(Moment.BEFORE, command, plain=True)),
            wholly=(*told.hearers(command), *calls(Moment.BEFORE, command)),
            after=(*told.closers(command), *calls(Moment.AFTER, command)),
        )

    def _course(self, topic: Topic) -> Course:
        """An event is looked up, looked at, believed, and looked at again.

        A plain one is believed at once: where a monitor looks at all events before that, none is taken for plain.
        """
        told, calls = self.told, self._routes.calls
        look = told.look_up(topic)
        wholly = (*calls(Moment.EVENT, topic), *told.beliefs(topic), *calls(Moment.BELIEVED, topic))
        if self._thorough or calls(Moment.EVENT, topic, plain=True):
            return Course(_never_plain(look), plainly=(), wholly=wholly)
        plainly = (*told.further_beliefs(topic), *calls(Moment.BELIEVED, topic, plain=True))
        return Course(self._plain_looks.get(topic, look), plainly=plainly, wholly=wholly)

    def watch(self, record: Record) -> list[Violation]:
        """Take the next step of the history; the violations that are new with it."""
        violations = self.violations
        known = len(violations)
        self._findings.step += 1
        step: Any = record.step
        kind, answers = record.step.__class__, record.answers
        if len(answers) == 1 and kind in _COMMANDS and not record.resent and not self.told.unknown:
            (answer,) = answers
            for batch in self._alone if answer.events else self._batch:
                batch((step,), answers)
            self._answer(step, answer)
        else:
            self._unusual(record)
        if record.view is not None:
            self.look(record.view)
        return violations[known:]

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
        for look in self._upon[step.__class__]:
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
        self.told.look_up_view(view, plain=not self._thorough)
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
        told, findings, courses = self.told, self._findings, self._on
        kind, seq = command.__class__, answer.seq
        events: tuple[Any, ...] = answer.events
        told.command, told.answer, told.plain_so_far = command, answer, True
        asking = self._asked[kind]
        if seq == told.seq + 1 and events and kind in told.ordinary and not (told.resending or self._thorough):
            asking.plain += 1
            looks = asking.plainly
        else:
            looks = asking.wholly
        for look in looks:
            look(command, answer)
        told.to_come = to_come = iter(events)
        for event in to_come:
            cls = event.__class__
            course = courses[cls if cls is not EntryPosted else event.cause_kind]
            if course.look(event):
                course.plain += 1
                calls = course.plainly
            else:
                told.plain_so_far = False
                calls = course.wholly
            for call in calls:
                call(event)
        told.recent.append((told.seq if seq is None else seq, events))
        if seq is not None:
            told.seq = seq
        if answer.journal_sha256 is not None:
            told.head = answer.journal_sha256
        for look in asking.after:
            look(command, answer)
        if findings.at_end:
            asked, findings.at_end = findings.at_end, []
            for look in asked:
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

    def plain_events(self) -> Counter[str]:
        """How many events were plain, by the name of their class; of entries by kind."""
        return +Counter(
            {
                topic.__name__ if isinstance(topic, type) else str(topic): course.plain
                for topic, course in self._on.items()
            }
        )

    def _plain_checks(self) -> Counter[str]:
        """The checks that were plain, by invariant."""
        worth_of = self._routes.worth
        counted = [(worth_of(cls, Moment.BEFORE), asking.plain) for cls, asking in self._asked.items()]
        counted += [
            (worth_of(topic, Moment.EVENT, Moment.BELIEVED), course.plain)
            for topic, course in self._on.items()
            if course.plain
        ]
        checks: Counter[str] = Counter()
        for worths, times in counted:
            for invariant, worth in worths:
                checks[invariant] += times * worth
        return checks

    def coverage(self) -> tuple[InvariantCoverage, ...]:
        """How often each invariant was checked, and how often it was violated; those not checkable have 0 checks."""
        plain = self._plain_checks()
        checked = {monitor.invariant: monitor.checked + plain[monitor.invariant] for monitor in self._monitors}
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
