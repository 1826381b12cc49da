"""What a monitor is: the form of an invariant that watches a history as it happens.

A monitor sees each event just before it is believed (`Told` is the state before it), each view, and each batch of
commands with its answers. It reports violations; it never raises and never prints. Its cost follows what a step
changed; only views, which show everything, cost as much as they show.

Its methods return nothing: one that finds nothing wrong does next to nothing, and one that does calls `report`. They
are marked with what they are called for, by exact class, so that an event costs only those that watch for it.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum, StrEnum, auto
from typing import Any, ClassVar, TypeVar, get_args

from msgspec import Struct

from holdfast_invariants.told import Told
from holdfast_model.findings import Violation
from holdfast_model.vocabulary import (
    Answer,
    AskReplica,
    Burst,
    Capability,
    ComeToRest,
    Command,
    Crash,
    Event,
    JournalRecord,
    Restart,
    RestoreSnapshot,
    TakeSnapshot,
    View,
)
from holdfast_model.vocabulary.wire import encode

COMMANDS: tuple[type, ...] = get_args(Command)
EVENTS: tuple[type, ...] = get_args(Event)
ACTIONS: tuple[type, ...] = (Burst, AskReplica, TakeSnapshot, RestoreSnapshot, Crash, Restart, ComeToRest)
"""The steps that are no command."""

Handler = Callable[..., None]
H = TypeVar("H", bound=Handler)


class Moment(Enum):
    """When a marked method of a monitor is called."""

    BEFORE = auto()
    EVENT = auto()
    BELIEVED = auto()
    AFTER = auto()
    ACTION = auto()


def on(*events: type) -> Callable[[H], H]:
    """Mark a method `(event)` of a monitor: it looks at each of these events just before it is believed."""
    return _mark(Moment.EVENT, events)


def once_believed(*events: type) -> Callable[[H], H]:
    """Mark a method `(event)` of a monitor: it looks at each of these events just after it is believed."""
    return _mark(Moment.BELIEVED, events)


def before(*commands: type) -> Callable[[H], H]:
    """Mark a method `(command, answer)`: it looks at these commands (all, without any named) before their events."""
    return _mark(Moment.BEFORE, commands or COMMANDS)


def after(*commands: type) -> Callable[[H], H]:
    """Mark a method `(command, answer)`: it looks at these commands (all, without any named) after their events."""
    return _mark(Moment.AFTER, commands or COMMANDS)


def upon(*actions: type) -> Callable[[H], H]:
    """Mark a method `(record)`: it looks at these steps before their answers, once what they resent is believed."""
    return _mark(Moment.ACTION, actions)


def _mark(moment: Moment, classes: tuple[type, ...]) -> Callable[[H], H]:
    def mark(handler: H) -> H:
        handler.mark = (moment, classes)  # type: ignore[attr-defined]  # read by Monitor.__init_subclass__
        return handler

    return mark


class Findings:
    """What all monitors of one history found, and the step at which they look: -1 before the first."""

    def __init__(self) -> None:
        self.step = -1
        self.violations: list[Violation] = []
        self._reported: set[tuple[str, str]] = set()

    def add(
        self, invariant: str, subject: str, *, found: str, expected: str, evidence: Iterable[Struct] = ()
    ) -> None:
        """Note a violation at the current step, unless its subject was reported before."""
        if (invariant, subject) in self._reported:
            return
        self._reported.add((invariant, subject))
        self.violations.append(
            Violation(
                invariant=invariant,
                step=self.step,
                subject=subject,
                found=found,
                expected=expected,
                evidence=tuple(encode(item).decode("ascii") for item in evidence),
            )
        )


class Monitor:
    """The base of all monitors. `checked` counts what the invariant speaks of and was looked at; 0 shows nothing."""

    invariant: ClassVar[str]
    marked: ClassVar[tuple[tuple[str, Moment, tuple[type, ...]], ...]] = ()
    """The marked methods of the class: name, moment, classes that it is called for."""

    def __init__(self, told: Told, conventions: frozenset[str], findings: Findings) -> None:
        self.told = told
        self.conventions = conventions
        self.findings = findings
        self.checked = 0

    def __init_subclass__(cls, **arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        """Collect the marked methods, once per class."""
        super().__init_subclass__(**arguments)
        methods = ((name, getattr(cls, name)) for name in dir(cls))
        cls.marked = tuple((name, *method.mark) for name, method in methods if hasattr(method, "mark"))

    def batch(self, commands: Sequence[Command], answers: Sequence[Answer]) -> None:
        """Look at commands that arrived together, and their answers, before any is believed."""

    def resent(self, record: JournalRecord) -> None:
        """Look at something that was decided while nobody listened, before it is believed."""

    def view(self, view: View) -> None:
        """Look at a view, when all that was answered before is believed."""

    def report(self, subject: str, *, found: str, expected: str, evidence: Iterable[Struct] = ()) -> None:
        """Report a violation of this monitor's invariant at the current step; one subject is reported once."""
        self.findings.add(self.invariant, subject, found=found, expected=expected, evidence=evidence)


class Kind(StrEnum):
    """Whether an invariant must hold always, in the end, or at least once (which keeps the others honest)."""

    ALWAYS = "always"
    EVENTUALLY = "eventually"
    SOMETIMES = "sometimes"


class Severity(StrEnum):
    """What a violation means for clients."""

    CRITICAL = "critical"
    """Money or orders of clients are wrong."""
    HIGH = "high"
    """Clients are treated unfairly, or evidence is missing."""


class Invariant(Struct, frozen=True, kw_only=True):
    """An entry of the catalogue. `needs` is what an engine must be able to show for the monitor to say anything.

    The planted faults that it must catch name it in `Fault.violates`; a test holds the two together.
    """

    id: str
    kind: Kind
    sentence: str
    severity: Severity
    incidents: tuple[str, ...]
    needs: frozenset[Capability]
    monitor: type[Monitor]
