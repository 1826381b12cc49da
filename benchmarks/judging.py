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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from time import monotonic, process_time
from types import CodeType, FrameType
from typing import TYPE_CHECKING

import msgspec
from benchmarks.mutants import Plan, read_plan
from msgspec import Struct

if TYPE_CHECKING:
    import pytest

    from holdfast.running import Runner
    from holdfast_model.vocabulary import Record, Step

BYTES_MAX = 6 * 2**30
CLOCK_PER_SECOND = 8
"""Seconds on the clock for each second of processor time, before a child counts as hanging."""

HEARD_BYTES_MAX = 4_000
QUIETLY = ("-q", "--no-header", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""How pytest is run here; the warning is that it cannot rewrite what is imported already."""

HEARD, TRACED = "heard.tmp", "traced.tmp"
NOT_LOADED = "the tests cannot be loaded"


class Job(Struct, frozen=True, kw_only=True):
    """What to judge: a file of the tree and its new text, by tests (or, without any, by the generators).

    `tests` are files, of which only those `chosen` are run, in that order; `traced` says instead that all are, and
    what they call is told. `first` is what killed it the last time, and is tried before everything else.
    """

    path: str
    source: str
    tests: tuple[str, ...]
    seconds: int
    chosen: tuple[str, ...] = ()
    first: str = ""
    traced: bool = False


class Trace(Struct, frozen=True, kw_only=True):
    """What the tests of a file call: for each test its seconds of processor time, and places in `functions`.

    Functions are named as `module:qualified.name`. "" stands for what is called before any test is, by imports.
    """

    functions: tuple[str, ...] = ()
    tests: dict[str, tuple[float, tuple[int, ...]]] = {}

    def of(self, name: str) -> list[tuple[float, str]]:
        """The tests that call a function, or one within it, with their seconds; all where an import calls it."""
        places = {
            place for place, called in enumerate(self.functions) if called == name or called.startswith(f"{name}.")
        }
        at_import = name.endswith(":") or not places.isdisjoint(self.tests.get("", (0.0, ()))[1])
        return [
            (seconds, test)
            for test, (seconds, called) in self.tests.items()
            if test and (at_import or not places.isdisjoint(called))
        ]


class Answer(Struct, frozen=True, kw_only=True):
    """What became of it: killed by what, or out of time, or (neither) nothing was noticed. `seconds` of the clock."""

    killed_by: str = ""
    timed_out: bool = False
    seconds: float = 0.0
    trace: Trace | None = None
    heard: str = ""
    """The end of what the child wrote."""


class KilledError(BaseException):
    """Something went wrong: the child has seen enough. No `Exception`, so that nobody catches it or shrinks it."""


def serve(plan_file: Path) -> None:
    """Judge one job after the other, until there are no more; who ends this process ends the child that is at one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = read_plan(plan_file)
    for name in plan.preloaded:
        import_module(name)
    _write_bytecode(plan)
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        answer = _judged(job, plan)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def _write_bytecode(plan: Plan) -> None:
    """Let a child import everything and read in all tests, so that those who come after find the bytecode."""
    child = os.fork()
    if not child:
        _be_heard_in_a_file()
        sys.dont_write_bytecode = False
        import pytest  # noqa: PLC0415 - the modules to import first are the plan's matter

        tests = {test for group in plan.groups.values() for test in group.tests}
        pytest.main(["--collect-only", *QUIETLY, *sorted(tests)])
        os._exit(0)
    os.waitpid(child, 0)


def _be_heard_in_a_file() -> None:
    with Path(HEARD).open("wb") as heard:
        os.dup2(heard.fileno(), 1)
        os.dup2(heard.fileno(), 2)


def _judged(job: Job, plan: Plan) -> Answer:
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
            _child(job, plan, write)
        os.close(write)
        with os.fdopen(read, "rb") as told:
            answer = _awaited(child, job, told.fileno())
    finally:
        path.write_bytes(before)
    return msgspec.structs.replace(answer, seconds=round(monotonic() - start, 2))


def _child(job: Job, plan: Plan, write: int) -> None:
    """Look at the mutant in this process, which then ends."""
    status, by = 1, ""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        _be_heard_in_a_file()
        resource.setrlimit(resource.RLIMIT_CPU, (job.seconds, job.seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES_MAX, BYTES_MAX))
        sys.dont_write_bytecode = True
        try:
            if job.traced:
                by = _traced(job, plan)
            elif job.tests:
                by = _run_tests(job, plan)
            else:
                module, _, function = plan.generators.partition(":")
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
    try:
        with suppress(PermissionError, ProcessLookupError):  # it did so itself, or is over
            os.setpgid(child, child)
        with _alarm(end - monotonic()):
            _, status = os.waitpid(child, 0)
    except TimeoutError:
        status = -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    if status < 0:
        os.waitpid(child, 0)
        return Answer(killed_by="the clock", timed_out=True)
    heard = Path(HEARD).read_bytes()[-HEARD_BYTES_MAX:].decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        out_of_time = number in {signal.SIGXCPU, signal.SIGKILL}
        by = f"{job.seconds} s of processor time" if out_of_time else signal.Signals(number).name
        return Answer(killed_by=by, timed_out=out_of_time, heard=heard)
    said = os.read(told, 2**16)
    if not said:
        return Answer(killed_by="the process ended without a word", heard=heard)
    trace = msgspec.json.decode(Path(TRACED).read_bytes(), type=Trace) if job.traced else None
    return msgspec.structs.replace(msgspec.json.decode(said, type=Answer), heard=heard, trace=trace)


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
    """A plugin of pytest that knows the first thing that failed."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        """A test, or what goes before or after it, has run."""
        if report.failed:
            self.name = self.name or report.nodeid

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        """A file was collected."""
        if report.failed:
            self.name = self.name or report.nodeid or "the collection of the tests"


class Chosen:
    """A plugin of pytest that runs only some tests, in a certain order."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self._place = {name: place for place, name in enumerate(chosen)}

    def pytest_collection_modifyitems(self, items: "list[pytest.Item]") -> None:
        """All are collected."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self._place), key=lambda item: self._place[item.nodeid]
        )


class Tracing:
    """A plugin of pytest that notes which functions of a package each test calls, and how long it takes."""

    def __init__(self, package: Path) -> None:
        self._folder = f"{package.resolve()}{os.sep}"
        self._places: dict[str, int] = {}
        self._by_code: dict[CodeType, int | None] = {}
        self._called: set[int] = set()
        self._tests: dict[str, tuple[float, tuple[int, ...]]] = {}
        sys.setprofile(self._note)

    @property
    def trace(self) -> Trace:
        """What was noted."""
        return Trace(functions=tuple(self._places), tests=self._tests)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event != "call":
            return
        code = frame.f_code
        if code not in self._by_code:
            self._by_code[code] = self._place(code)
        place = self._by_code[code]
        if place is not None:
            self._called.add(place)

    def _place(self, code: CodeType) -> int | None:
        if not code.co_filename.startswith(self._folder):
            return None
        parts = [part for part in code.co_qualname.split(".") if not part.startswith("<")]
        name = f"{Path(code.co_filename).stem}:{'.'.join(parts)}"
        return self._places.setdefault(name, len(self._places)) if parts else None

    def _end(self, name: str, seconds: float) -> None:
        self._tests[name] = (round(seconds, 4), tuple(sorted(self._called)))
        self._called.clear()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins, with all that goes before it."""
        del nodeid
        if "" not in self._tests:
            self._end("", 0.0)
        self._start = process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test is over, with all that comes after it."""
        self._end(nodeid, process_time() - self._start)


def _traced(job: Job, plan: Plan) -> str:
    """The first test that fails, "" where all pass or there are none; what they call is in a file then."""
    tracing = Tracing(Path(plan.package))
    try:
        failed = _pytest(job.tests, plan, tracing)
    finally:
        sys.setprofile(None)
    Path(TRACED).write_bytes(msgspec.json.encode(tracing.trace))
    return failed


def _run_tests(job: Job, plan: Plan) -> str:
    """The first of the chosen tests that fails, "" where all pass.

    The one to begin with is run before the others, and the first file by itself: to read in all takes a while.
    """
    if "::" in job.first and (failed := _pytest((job.first,), plan)) not in {"", NOT_LOADED}:
        return failed  # what cannot be loaded may be a test that was renamed since
    for tests in (job.tests[:1], job.tests[1:]):
        if tests and (failed := _pytest(tests, plan, Chosen(job.chosen))):
            return failed
    return ""


def _pytest(tests: tuple[str, ...], plan: Plan, *plugins: object) -> str:
    """The first test that fails, or what else went wrong; "" where all pass, or there are none."""
    import pytest  # noqa: PLC0415 - the modules to import first are the plan's matter
    from hypothesis import Phase, settings  # noqa: PLC0415 - as above

    # Seeded and without shrinking: a verdict is the same each time, and one counterexample is enough.
    kept = (Phase.explicit, Phase.generate)
    settings.register_profile("mutation", database=None, derandomize=True, deadline=None, phases=kept)
    settings.load_profile("mutation")
    options = ["-x", "--tb=short", "-m", "not slow and not deep", *QUIETLY]
    options += ["-k", " and ".join(f"not {name}" for name in plan.deselected)] if plan.deselected else []
    seen = FirstFailure()
    status = pytest.main([*options, *tests], plugins=[seen, *plugins])
    well = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED}
    return seen.name or ("" if status in well else NOT_LOADED)


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
        workers=1,
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
