"""Counterexamples: making the smallest, writing them down, reading them back."""

from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.engines import EngineSource
from holdfast.narrating import narrate
from holdfast.running import ENGINE_SENTENCE, Runner, Views, run, run_until
from holdfast.shrinking import runs_for, shrink
from holdfast_invariants.catalogue import CATALOGUE
from holdfast_model.errors import HoldfastError
from holdfast_model.findings import (
    COUNTEREXAMPLE_SCHEMA,
    Counterexample,
    CounterexampleSummary,
    Difference,
    Violation,
)
from holdfast_model.vocabulary import Setup, Step, command_count
from holdfast_model.vocabulary.wire import WireError, decode

COUNTEREXAMPLE_BYTES_MAX = 64 * 1024 * 1024


def rerun(source: EngineSource, setup: Setup, steps: Sequence[Step]) -> Runner:
    """Run a sequence on an engine from the start; an engine that failed is replaced afterwards."""
    runner = run(source.engine(), setup, steps)
    if runner.failed:
        source.discard()
    return runner


def smallest(source: EngineSource, setup: Setup, steps: tuple[Step, ...], invariant: str) -> tuple[Step, ...]:
    """The smallest sequence found that still violates the invariant on the engine.

    Candidates are run with this invariant alone, and to where it is violated: nothing after that is needed for it. A
    view is what costs most, so that they are taken as seldom as the generator does, where that is enough to see it.
    """

    def violated(views: Views, candidate: tuple[Step, ...]) -> Runner | None:
        runner = run_until(source.engine(), setup, candidate, invariant, views=views)
        if runner.failed:
            source.discard()
        return runner if any(item.invariant == invariant for item in runner.violations) else None

    first = violated(Views.EVERY_STEP, steps)
    if first is None:
        return steps
    found, runs_max = tuple(first.steps), runs_for(first.failure)

    def shrunk(views: Views) -> tuple[Step, ...]:
        def shows(candidate: tuple[Step, ...]) -> bool:
            return violated(views, candidate) is not None

        return shrink(found, shows, runs_max=runs_max, custody=setup.custody)

    if not first.failure and violated(Views.AFTER_OPERATIONS, found) is not None:
        small = shrunk(Views.AFTER_OPERATIONS)
        if violated(Views.EVERY_STEP, small) is not None:
            return small
    return shrunk(Views.EVERY_STEP)


def counterexample(
    source: EngineSource, setup: Setup, steps: tuple[Step, ...], *, origin: str, invariant: str
) -> Counterexample:
    """A sequence with its story, as it is written to a file; the violations of `invariant` come first."""
    runner, narrative = narrate(source.engine(), setup, steps)
    if runner.failed:
        source.discard()
    violations = sorted(runner.violations, key=lambda violation: violation.invariant != invariant)
    return Counterexample(
        schema=COUNTEREXAMPLE_SCHEMA,
        engine=source.name,
        origin=origin,
        setup=setup,
        steps=steps,
        commands=command_count(steps),
        violations=tuple(violations),
        narrative=narrative,
    )


def summary(found: Counterexample, *, file: str, invariant: str) -> CounterexampleSummary:
    """What a report says of a counterexample."""
    sentences = {entry.id: entry.sentence for entry in CATALOGUE}
    first: Violation | Difference = (found.violations or found.differences)[0]
    return CounterexampleSummary(
        file=file,
        invariant=invariant,
        commands=found.commands,
        origin=found.origin,
        sentence=sentences.get(invariant, ENGINE_SENTENCE),
        found=f"{first.subject}: {first.found}",
        expected=first.expected,
        narrative=found.narrative,
    )


def read_counterexample(path: Path) -> Counterexample:
    """A counterexample from its file. Raises `HoldfastError` that says what is wrong with the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HoldfastError(f"{path}: cannot be read: {error.strerror}") from error
    if not data.strip():
        raise HoldfastError(f"{path}: the file is empty; a counterexample ({COUNTEREXAMPLE_SCHEMA}) was expected")
    if len(data) > COUNTEREXAMPLE_BYTES_MAX:
        raise HoldfastError(f"{path}: {len(data)} bytes; at most {COUNTEREXAMPLE_BYTES_MAX} are read")
    try:
        found = decode(data, Counterexample)
    except WireError as error:
        raise HoldfastError(f"{path}: no counterexample ({COUNTEREXAMPLE_SCHEMA}): {error}") from error
    if found.schema != COUNTEREXAMPLE_SCHEMA:
        raise HoldfastError(f"{path}: schema {found.schema!r}; {COUNTEREXAMPLE_SCHEMA!r} was expected")
    if not found.steps:
        raise HoldfastError(f"{path}: a counterexample without steps; at least one was expected")
    return found


Progress = Callable[[str], None]
"""Is told, now and then, what is being done."""


def silent(message: str) -> None:
    """Tell nobody."""
    del message
