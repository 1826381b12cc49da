"""What a monitor is: the form of an invariant that watches a history as it happens.

A monitor sees each event just before it is believed (`Told` is the state before it), each view, and each batch of
commands with its answers. It returns violations; it never raises and never prints. Its cost follows what a step
changed; only views, which show everything, cost as much as they show.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from msgspec import Struct

from holdfast_invariants.told import Told
from holdfast_model.findings import Violation
from holdfast_model.vocabulary import Answer, Capability, Command, Event, View
from holdfast_model.vocabulary.wire import encode

Found = Iterable[Violation]
Handler = Callable[[Any, Any], Found]
H = TypeVar("H", bound=Handler)


def on(*events: type) -> Callable[[H], H]:
    """Mark a method of a monitor as the handler of these events."""

    def mark(handler: H) -> H:
        handler.watched = events  # type: ignore[attr-defined]  # a mark for Monitor.handlers
        return handler

    return mark


class Monitor:
    """The base of all monitors. `checked` counts what the invariant speaks of and was looked at; 0 shows nothing."""

    invariant: ClassVar[str]

    def __init__(self, told: Told, conventions: frozenset[str]) -> None:
        self.told = told
        self.conventions = conventions
        self.checked = 0
        self.step = 0

    def handlers(self) -> Mapping[type, Callable[[Event], Found]]:
        """The methods marked with `on`, by event."""
        return {
            watched: getattr(self, name)
            for name in dir(type(self))
            for watched in getattr(getattr(type(self), name), "watched", ())
        }

    def before(self, command: Command, answer: Answer) -> Found:  # noqa: ARG002 - for subclasses
        """Look at a command and its whole answer before any of its events."""
        return ()

    def after(self, command: Command, answer: Answer) -> Found:  # noqa: ARG002 - for subclasses
        """Look at a command when all its events are believed."""
        return ()

    def batch(self, commands: Sequence[Command], answers: Sequence[Answer]) -> Found:  # noqa: ARG002 - for subclasses
        """Look at commands that arrived together, and their answers, before any is believed."""
        return ()

    def view(self, view: View) -> Found:  # noqa: ARG002 - for subclasses
        """Look at a view, when all that was answered before is believed."""
        return ()

    def violation(self, subject: str, *, found: str, expected: str, evidence: Iterable[Struct] = ()) -> Violation:
        """A violation of this monitor's invariant at the current step."""
        return Violation(
            invariant=self.invariant,
            step=self.step,
            subject=subject,
            found=found,
            expected=expected,
            evidence=tuple(encode(item).decode("ascii") for item in evidence),
        )


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
