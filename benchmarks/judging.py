"""Judging mutants: a process in a copy of the tree that has everything imported but the engine, and forks for each.

    python -m benchmarks.judging PLAN     in the copy; jobs come and verdicts go as JSON, line by line

A job's module is written into the copy, a child of this process imports the engine anew and runs the tests or the
generators, and the module is put back. The first thing that goes wrong ends the child: it is what killed the mutant.
What a child may take is processor time, so that a busy machine changes no verdict; the clock only guards.
"""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import msgspec
from benchmarks.mutants import read_plan
from msgspec import Struct

if TYPE_CHECKING:
    import pytest

    from holdfast.running import Runner
    from holdfast_model.vocabulary import Record, Step

BYTES_MAX = 6 * 2**30
CLOCK_PER_SECOND = 8
"""Seconds on the clock for each second of processor time, before a child counts as hanging."""

HEARD_BYTES_MAX = 4_000


class Job(Struct, frozen=True, kw_only=True):
    """What to judge: a file of the tree and its new text, by tests (or, without any, by the generators).

    `first` is what killed it the last time, and is tried before everything else.
    """

    path: str
    source: str
    tests: tuple[str, ...]
    seconds: int
    first: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What became of it: killed by what, or out of time, or (neither) nothing was noticed. `seconds` of the clock."""

    killed_by: str = ""
    timed_out: bool = False
    seconds: float = 0.0
    heard: str = ""
    """The end of what the child wrote."""


class KilledError(BaseException):
    """Something went wrong: the child has seen enough. No `Exception`, so that nobody catches it or shrinks it."""


def serve(plan_file: Path) -> None:
    """Judge one job after the other, until there are no more."""
    plan = read_plan(plan_file)
    for name in plan.preloaded:
        import_module(name)
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        answer = _judged(job, plan.generators, plan.deselected)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def _judged(job: Job, generators: str, deselected: tuple[str, ...]) -> Answer:
    """Write the module, let a child look at it, put the module back."""
    path = Path(job.path)
    before = path.read_bytes()
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()  # its time of change and size may be the same
    path.write_text(job.source)
    start = monotonic()
    read, write = os.pipe()
    try:
        child = os.fork()
        if not child:
            _child(job, generators, deselected, write)
        os.close(write)
        with os.fdopen(read, "rb") as told:
            answer = _awaited(child, job, told.fileno())
    finally:
        path.write_bytes(before)
    return msgspec.structs.replace(answer, seconds=round(monotonic() - start, 2))


def _child(job: Job, generators: str, deselected: tuple[str, ...], write: int) -> None:
    """Look at the mutant in this process, which then ends."""
    status, by = 1, ""
    try:
        os.setpgid(0, 0)
        with Path("heard.tmp").open("wb") as heard:
            os.dup2(heard.fileno(), 1)
            os.dup2(heard.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (job.seconds, job.seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES_MAX, BYTES_MAX))
        sys.dont_write_bytecode = True
        try:
            if job.tests:
                by = run_tests(job.tests, deselected, job.first)
            else:
                module, _, function = generators.partition(":")
                getattr(import_module(module), function)(job.first)
        except KilledError as killed:
            by = str(killed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the mutant made it
            by = f"{type(error).__name__}: {error}"
        os.write(write, msgspec.json.encode(Answer(killed_by=by[:300])))
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def _awaited(child: int, job: Job, told: int) -> Answer:
    """What a child said, or how it ended; nothing that it started outlives it."""
    end = monotonic() + job.seconds * CLOCK_PER_SECOND + 60
    with _alarm(end - monotonic()):
        try:
            _, status = os.waitpid(child, 0)
        except TimeoutError:
            status = -1
    _kill_group(child)
    if status < 0:
        os.waitpid(child, 0)
        return Answer(killed_by="the clock", timed_out=True)
    heard = Path("heard.tmp").read_bytes()[-HEARD_BYTES_MAX:].decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        out_of_time = number in {signal.SIGXCPU, signal.SIGKILL}
        by = f"{job.seconds} s of processor time" if out_of_time else signal.Signals(number).name
        return Answer(killed_by=by, timed_out=out_of_time, heard=heard)
    said = os.read(told, 2**16)
    if not said:
        return Answer(killed_by="the process ended without a word", heard=heard)
    return msgspec.structs.replace(msgspec.json.decode(said, type=Answer), heard=heard)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        del number, frame
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class FirstFailure:
    """A plugin of pytest that knows the first thing that failed, and how much ran."""

    def __init__(self) -> None:
        self.name = ""
        self.passed = 0

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        """A test, or what goes before or after it, has run."""
        if report.failed:
            self.name = self.name or report.nodeid
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        """A file was collected."""
        if report.failed:
            self.name = self.name or report.nodeid or "the collection of the tests"


def run_tests(tests: tuple[str, ...], deselected: tuple[str, ...], first: str = "") -> str:
    """The first test that fails, "" where all pass; `first` is run before the others. Raises where none ran."""
    import pytest  # noqa: PLC0415 - the modules to import first are the plan's matter
    from hypothesis import settings  # noqa: PLC0415 - as above

    # Seeded and without shrinking: a verdict is the same each time, and one counterexample is enough.
    kept = [phase for phase in settings.default.phases if phase.name in {"explicit", "generate"}]
    settings.register_profile("mutation", database=None, derandomize=True, deadline=None, phases=kept)
    settings.load_profile("mutation")
    options = ["-q", "-x", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-m", "not slow and not deep"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is preloaded cannot be rewritten any more
    options += ["-k", " and ".join(f"not {name}" for name in deselected)] if deselected else []
    for chosen in ((first,), tests) if first else (tests,):
        seen = FirstFailure()
        status = pytest.main([*options, *chosen], plugins=[seen])
        if chosen == tests and status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED} and not seen.name:
            return f"pytest ended with {status!r}"
        if status is pytest.ExitCode.TESTS_FAILED or seen.name:
            return seen.name
        if chosen == tests and not seen.passed:
            return "no test was run"
    return ""


def smoke_gate(first: str = "") -> None:
    """The smoke gate's scenarios, generator and machines, with its seed and work; `first` is the part to begin with.

    Raises `KilledError` at the first violation of an invariant or failure of the engine, and at the end where the
    gate itself would not be green: a goal was not reached, an invariant was not exercised.
    """
    from holdfast.cli import DEFAULT_SEED  # noqa: PLC0415 - what imports the engine waits for the mutant
    from holdfast.engines import REFERENCE, EngineSource  # noqa: PLC0415 - as above
    from holdfast.gating import Gate, profile_by_name  # noqa: PLC0415 - as above
    from holdfast_invariants.auditor import not_checkable  # noqa: PLC0415 - as above

    _end_at_the_first_violation()
    gate = Gate(
        EngineSource(REFERENCE),
        profile_by_name("smoke"),
        seed=DEFAULT_SEED,
        progress=lambda _: None,
        found=lambda *_: None,
    )
    parts = {
        name: work
        for name, work in gate._parts()  # noqa: SLF001 - the gate's own parts, and no copy of them
        if name == "generator" or name.endswith("machine") or name.startswith("scenario ")
    }
    order = sorted(parts, key=lambda name: (not first.startswith(f"{name}: "), not name.startswith("scenario ")))
    for name in order:
        try:
            parts[name]()
        except KilledError as killed:
            raise KilledError(f"{name}: {killed}") from None
        except Exception as error:
            raise KilledError(f"{name}: {type(error).__name__}: {error}") from error
    unreached = [goal for goal, count in gate.reached().items() if not count]
    silent = {item.subject for item in not_checkable(gate.identity.capabilities)}
    unreached += [item.id for item in gate.coverage() if not item.checked and item.id not in silent]
    if unreached:
        raise KilledError(f"never reached or exercised: {', '.join(unreached)}")


def _end_at_the_first_violation() -> None:
    """Let every runner in this process raise `KilledError` where its engine fails or an invariant is violated."""
    from holdfast.running import Runner  # noqa: PLC0415 - it imports the engine

    do = Runner.do

    def watched(self: "Runner", step: "Step") -> "Record | None":
        try:
            record = do(self, step)
        except Exception as error:
            raise KilledError(f"{type(error).__name__}: {error}") from error
        if self.violations:
            first = self.violations[0]
            raise KilledError(f"{first.invariant}: {first.subject}: {first.found}")
        return record

    Runner.do = watched  # type: ignore[method-assign]  # in a process that ends with this


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
