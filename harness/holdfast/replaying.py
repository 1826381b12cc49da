"""Replaying a counterexample."""

from collections.abc import Callable
from pathlib import Path

from holdfast.counterexamples import read_counterexample
from holdfast.differing import Comparison, compare
from holdfast.engines import STDIO_PREFIX, EngineSource
from holdfast.narrating import narrate
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Verdict
from holdfast_model.findings import Difference, ReplayResult, StepNarrative, Violation


def replay(
    file: Path, engine: str | None, open_engine: Callable[[str], EngineSource]
) -> tuple[ReplayResult, Verdict]:
    """Run a counterexample on the engine that it records, or on another.

    A recorded `stdio:` command is never run: a file must not choose what is executed. Violated when anything is
    wrong, held when nothing is.
    """
    recorded = read_counterexample(file)
    name = engine
    if name is None:
        if recorded.engine.startswith(STDIO_PREFIX):
            raise HoldfastError(
                f"{file}: it was found on {recorded.engine!r}, and a recorded command is never run; name the engine "
                f"with --engine"
            )
        name = recorded.engine
    violations: tuple[Violation, ...] = ()
    differences: tuple[Difference, ...] = ()
    narrative: tuple[StepNarrative, ...]
    with open_engine(name) as source:
        if recorded.differences:
            pair = compare(source, Comparison(source.engine().identity), recorded.setup, recorded.steps)
            differences, narrative = tuple(pair.differences), tuple(pair.narrative)
            reproduced = {item.kind for item in recorded.differences} <= {item.kind for item in differences}
        else:
            runner, narrative = narrate(source.engine(), recorded.setup, recorded.steps)
            violations = tuple(runner.violations)
            reproduced = {item.invariant for item in recorded.violations} <= {item.invariant for item in violations}
    result = ReplayResult(
        file=str(file),
        engine=name,
        commands=recorded.commands,
        violations=violations,
        differences=differences,
        narrative=narrative,
        reproduced=reproduced,
    )
    return result, Verdict.VIOLATED if violations or differences else Verdict.HELD
