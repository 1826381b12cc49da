"""Traces of models on the command line: written as ITF files, and replayed from them on their model."""

from collections.abc import Sequence
from pathlib import Path

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Exploration, Obligation, ObligationVerdict, TraceState, Verdict
from holdfast_model.findings import Difference, ReplayResult
from holdfast_model.spec import Model
from holdfast_model.specs import load_model
from holdfast_model.traces import (
    ItfTrace,
    Shows,
    follow,
    is_itf,
    model_of,
    narrated,
    read_itf,
    trace_of_refutation,
    write_itf,
)
from holdfast_model.traces.itf import FILE_BYTES_MAX, SUFFIX

VIOLATION, GOAL, REFUTATION = "violation", "goal", "refutation"
"""What a trace shows: a reachable state or step that breaks a property, a goal, an induction step that fails."""


class TraceFolder:
    """The traces of one run below a folder. Those of an earlier run are taken out first."""

    def __init__(self, path: Path, model: Model) -> None:
        self._path = path
        self._model = model
        self._counts: dict[str, int] = {}
        for folder in ("counterexamples", "goals"):
            for old in (path / folder).glob(f"*{SUFFIX}"):
                old.unlink()

    def add(self, trace: Sequence[TraceState], shows: Shows) -> Path:
        """Write a trace; the path of its file."""
        stem = f"goals/{shows.name}"
        if shows.kind != GOAL:
            self._counts[shows.name] = self._counts.get(shows.name, 0) + 1
            stem = f"counterexamples/{shows.name}-{self._counts[shows.name]}"
        file = self._path / f"{stem}{SUFFIX}"
        write_itf(file, self._model, trace, shows)
        return file


def write_exploration(folder: TraceFolder, found: Exploration) -> list[Path]:
    """Write each counterexample of a search, and its way to each goal that was reached."""
    written = [
        folder.add(v.trace, Shows(kind=VIOLATION, name=v.invariant, property=v.property)) for v in found.violations
    ]
    return written + [folder.add(g.trace, Shows(kind=GOAL, name=g.goal)) for g in found.goals if g.trace]


def write_refutations(folder: TraceFolder, model: Model, obligations: Sequence[Obligation]) -> list[Path]:
    """Write each counterexample to induction: a state, the step that does not keep the property, the state after."""
    return [
        folder.add(
            trace_of_refutation(model, item), Shows(kind=REFUTATION, name=item.invariant, property=item.property)
        )
        for item in obligations
        if item.verdict is ObligationVerdict.REFUTED and item.after
    ]


def trace_bytes(file: Path, *, engine: str | None = None, model: str | None = None) -> bytes | None:
    """What an ITF file holds; None where the file is something else, or cannot be read.

    HoldfastError where an option is given that the file has no use for: a trace is of a model, all else of an engine.
    """
    data = _read(file)
    if data is not None and engine is not None:
        raise HoldfastError(f"{file} is a trace of a model; expected --model, not --engine")
    if data is None and model is not None:
        raise HoldfastError(f"{file} is no ITF trace; expected --engine, not --model")
    return data


def _read(file: Path) -> bytes | None:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            return None
        data = file.read_bytes()
    except OSError:
        return None
    return data if is_itf(data) else None


def replay_trace(file: Path, data: bytes, model: str | None) -> tuple[ReplayResult, Verdict]:
    """Follow a trace on the model that it records, or on another.

    Violated where the states are no path of the model, or a property is broken on it. A recorded finding that no
    path can show (the way to a state is lost) is inconclusive.
    """
    name = model_of(data) if model is None else model
    if name is None:
        raise HoldfastError(f"{file}: the trace does not record its model; name it with --model")
    try:
        loaded = load_model(name)
    except HoldfastError as error:
        raise HoldfastError(f"{file}: {error}") from error
    recorded = read_itf(file, data, loaded)
    try:
        followed = follow(loaded, recorded.states, recorded.moves, loop=recorded.loop, assumed=recorded.assumed)
    except HoldfastError as error:
        raise HoldfastError(f"{file}: {error}") from error
    differences = followed.differences or _goal_missed(recorded)
    shows = recorded.shows
    if shows is None or differences:
        reproduced = not differences
    elif shows.kind == GOAL:
        reproduced = True
    else:
        reproduced = any(v.invariant == shows.name for v in followed.violations)
    verdict = Verdict.HELD
    if differences or followed.violations:
        verdict = Verdict.VIOLATED
    elif shows is not None and any(p.invariant == shows.name for p in loaded.responses):
        verdict = Verdict.INCONCLUSIVE
    result = ReplayResult(
        file=str(file),
        engine=f"model:{loaded.name}",
        commands=len(recorded.states) - 1,
        violations=followed.violations,
        differences=differences,
        narrative=narrated(followed.trace, violations=followed.violations, differences=differences),
        reproduced=reproduced,
    )
    return result, verdict


def _goal_missed(recorded: ItfTrace) -> tuple[Difference, ...]:
    """What is wrong with a trace to a goal that its last state does not reach."""
    shows, model = recorded.shows, recorded.model
    if shows is None or shows.kind != GOAL:
        return ()
    last = len(recorded.states) - 1
    goal = next((g for g in model.goals if g.invariant == shows.name), None)
    if goal is not None and model.holds(goal, recorded.states[-1]):
        return ()
    expected = f"model {model.name} has no such goal" if goal is None else goal.sentence
    return (Difference(kind="the goal", step=last, subject=shows.name, found="it is reached", expected=expected),)


def conclusion(result: ReplayResult) -> str:
    """One line that says what the replay of a trace came to."""
    if result.differences:
        first = result.differences[0]
        return f"step {first.step} is none of the model's: {len(result.differences)} differences"
    count = len(result.violations)
    broken = ", ".join(dict.fromkeys(v.invariant for v in result.violations))
    said = f"a path of {result.commands} steps" + (f"; {count} properties broken: {broken}" if count else "")
    return said if result.reproduced else f"{said}; the recorded finding does not show"
