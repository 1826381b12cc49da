"""What a monitor is: the form of an invariant that watches a history as it happens.

A monitor sees each event just before it is believed (`Told` is the state before it), each view, and each batch of
commands with its answers. It reports violations; it never raises and never prints. Its cost follows what a step
changed; only views, which show everything, cost as much as they show.

Its methods return nothing: one that finds nothing wrong does next to nothing, and one that does calls `report`. They
are marked with what they are called for, by exact class, so that an event costs only those that watch for it.

Most events are *plain*: what looks up once what an event speaks of sees at once that it is no more than what
follows from the state told (a trade with the next number, of two open orders that have so much left, ...). A
method that finds nothing wrong with a plain event says so in its mark, with the number of checks that each of them is
worth, and is called for the others only. `Auditor(thorough=True)` calls every method for every event: a test holds
the two together, on the healthy engine and on planted faults.
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
    CauseKind,
    ComeToRest,
    Command,
    Crash,
    EntryPosted,
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


class Mark(Struct, frozen=True):
    """What a method of a monitor is called for.

    Where `plain` is given it is not called for plain ones, each of which is worth so many checks.
    """

    moment: Moment
    classes: tuple[type, ...]
    plain: int | None = None
    kinds: frozenset[CauseKind] | None = None
    """The kinds of entries that it is called for; None: all."""


def on(*events: type, plain: int | None = None) -> Callable[[H], H]:
    """Mark a method `(event)` of a monitor: it looks at each of these events just before it is believed."""
    assert EntryPosted not in events, "an entry is believed when it is looked up: see `on_entry`"
    return _mark(Mark(Moment.EVENT, events, plain))


def once_believed(*events: type, plain: int | None = None) -> Callable[[H], H]:
    """Mark a method `(event)` of a monitor: it looks at each of these events just after it is believed."""
    return _mark(Mark(Moment.BELIEVED, events, plain))


def on_entry(*kinds: CauseKind, plain: int | None = None) -> Callable[[H], H]:
    """Mark a method `(event)` of a monitor: it looks at entries of these kinds (all, without any), once believed."""
    return _mark(Mark(Moment.BELIEVED, (EntryPosted,), plain, frozenset(kinds) or None))


def before(*commands: type, plain: int | None = None) -> Callable[[H], H]:
    """Mark a method `(command, answer)`: it looks at these commands (all, without any named) before their events.

    An answer is plain that has events and the next number, to a command that the phase allows while all products are
    open and the primary can decide.
    """
    return _mark(Mark(Moment.BEFORE, commands or COMMANDS, plain))


def after(*commands: type) -> Callable[[H], H]:
    """Mark a method `(command, answer)`: it looks at these commands (all, without any named) after their events.

    What only now and then has something to look at after a command is better asked for: see `Monitor.look_at_end`.
    """
    return _mark(Mark(Moment.AFTER, commands or COMMANDS))


def upon(*actions: type) -> Callable[[H], H]:
    """Mark a method `(record)`: it looks at these steps before their answers, once what they resent is believed."""
    return _mark(Mark(Moment.ACTION, actions))


def _mark(mark: Mark) -> Callable[[H], H]:
    def marked(handler: H) -> H:
        handler.marks = (*getattr(handler, "marks", ()), mark)  # type: ignore[attr-defined]  # see Monitor.marked
        return handler

    return marked


class Findings:
    """What all monitors of one history found, and the step at which they look: -1 before the first."""

    def __init__(self) -> None:
        self.step = -1
        self.violations: list[Violation] = []
        self.at_end: list[Handler] = []
        """What is to be called `(command, answer)` once the answer at hand is over."""
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
    """The base of all monitors. `checked` counts what the invariant speaks of and was looked at; 0 shows nothing.

    What was plain is not in it: the auditor counts that (`Auditor.coverage`).
    """

    invariant: ClassVar[str]
    marked: ClassVar[tuple[tuple[str, Mark], ...]] = ()
    """The marked methods of the class by name."""

    def __init__(self, told: Told, conventions: frozenset[str], findings: Findings) -> None:
        self.told = told
        self.conventions = conventions
        self.findings = findings
        self.checked = 0
        self.idle: frozenset[str] = frozenset()
        """The marked methods, `batch` included for commands that came alone, that this setup has no use for."""

    def __init_subclass__(cls, **arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        """Collect the marked methods, once per class."""
        super().__init_subclass__(**arguments)
        methods = ((name, getattr(cls, name)) for name in dir(cls))
        cls.marked = tuple((name, mark) for name, method in methods for mark in getattr(method, "marks", ()))

    def look_at_end(self, look: Handler) -> None:
        """Let `look(command, answer)` be called, once, when the answer at hand is over."""
        self.findings.at_end.append(look)

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
