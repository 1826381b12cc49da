"""What a person sees: progress on a terminal, plain lines elsewhere, and verdicts that do not need colour."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.markup import escape

from holdfast_model.evidence import Verdict
from holdfast_model.findings import StepNarrative

_STYLES = {Verdict.HELD: "bold green", Verdict.VIOLATED: "bold red", Verdict.INCONCLUSIVE: "bold yellow"}

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


class Teller:
    """Is told what is being done. On a terminal the last line changes; elsewhere each new kind of work is a line."""

    def __init__(self) -> None:
        self._status = err.status("") if err.is_terminal else None
        self._said = ""

    def __call__(self, message: str) -> None:
        """Say what is being done now."""
        if self._status is not None:
            self._status.update(escape(message))
            return
        kind = message.split(" ", maxsplit=1)[0]
        if kind != self._said and not kind.isdigit():
            self._said = kind
            err.print(f"... {escape(message)}")

    def start(self) -> None:
        """Begin to show."""
        if self._status is not None:
            self._status.start()

    def stop(self) -> None:
        """Show nothing more."""
        if self._status is not None:
            self._status.stop()


@contextmanager
def telling() -> Iterator[Teller]:
    """Progress for as long as the block runs."""
    teller = Teller()
    teller.start()
    try:
        yield teller
    finally:
        teller.stop()


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Within the block an interrupt only asks to stop; the function says whether one came. A second interrupts."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def clear_standard_output() -> None:
    """Print to standard error from now on, because standard output is to hold a document and nothing else."""
    out.stderr = True


def say(text: str = "") -> None:
    """Print a line to standard output."""
    out.print(escape(text))


def verdict_line(verdict: Verdict, text: str) -> None:
    """Print a verdict: the word itself, then what it is about."""
    out.print(f"[{_STYLES[verdict]}]{verdict.upper()}[/] {escape(text)}")


def say_steps(narrative: Iterable[StepNarrative]) -> None:
    """Print a sequence step by step."""
    for number, step in enumerate(narrative, start=1):
        say(f"{number:3}. {step.step}")
        for answer in step.answers:
            say(f"       {answer}")
        for change in step.changes:
            say(f"     ~ {change}")
        for violation in step.violations:
            say(f"     ! {violation}")
