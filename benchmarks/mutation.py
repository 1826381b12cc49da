"""Mutation testing: a seeded sample of mutants of the reference exchange, judged by its tests and the smoke gate.

    python benchmarks/mutation.py [--sample 300] [--seed 1] [--out holdfast-report/mutation] [--page docs/mutation.md]

Each mutant is judged in a copy of the tree: first by the tests of its group, then by the smoke gate's scenarios,
generator and machines; the first failure counts. Verdicts are kept in the folder, and an interrupted run goes on from
there. What a verdict depends on is kept with it: the program, and the tests that killed the mutant or all that it
survived. Where that has changed the mutant is judged again, first by what killed it then.

Exit status: 0 enough were killed, and each survivor has its reason; 1 not so; 2 wrong input, such as a reason for
what did not survive; 3 what is not mutated is not green, or not all was judged; 130 interrupted.
"""

import os
import signal
import subprocess
import sys
import tomllib
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha256
from itertools import accumulate, zip_longest
from math import ceil
from pathlib import Path
from queue import Empty, Queue
from shutil import copy2, copytree, ignore_patterns
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

if not __package__:  # run as a script: only this folder is on the path, and not the one that it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.judging import Answer, Job, Trace
from benchmarks.mutants import Mutant, Plan, read_plan, sample_of, tool

from holdfast.console import say
from holdfast.workers import WORKERS
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ExitStatus

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks" / "mutation"
SAMPLE = 300
SEED = 1
KILLED_PERCENT_MIN = 85

STARTING_SECONDS = 5
TRACING_FACTOR = 3
"""How many times what its tests take while they are traced a mutant may take, of processor time."""

UNCHANGED = "unchanged"
NOT_COPIED = {"node_modules", "__pycache__"}

TESTS, GENERATORS, TIME_OUT, SURVIVED = "tests", "generators", "time-out", "survived"
VERDICTS = (TESTS, GENERATORS, TIME_OUT, SURVIVED)
KILLED = {TESTS, GENERATORS, TIME_OUT}


class Judged(Struct, frozen=True, kw_only=True):
    """The verdict on a mutant; "" stands for tests that it survived, with the generators still to come.

    `of` is a hash of what the verdict depends on: as long as that is the same, so is the verdict.
    """

    id: str
    of: str
    verdict: str
    by: str = ""
    seconds: float = 0.0
    survived_generators_of: str = ""
    """The program with which it survived the generators, which need not be asked again when only tests change."""


class Reason(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a mutant is the same program, written by hand; it names the mutant by all but its line's number."""

    module: str
    function: str
    operator: str
    before: str
    after: str
    number: int = 0
    reason: str

    @property
    def key(self) -> tuple[str, str, str, str, str, int]:
        """What its mutant is named by."""
        return (self.module, self.function, self.operator, self.before, self.after, self.number)


class Reasons(Struct, frozen=True, forbid_unknown_fields=True):
    """The file of reasons."""

    equivalent: tuple[Reason, ...] = ()


def read_reasons(path: Path) -> tuple[Reason, ...]:
    """The reasons in a file. Raises `HoldfastError`, also where one says nothing."""
    try:
        reasons = msgspec.convert(tomllib.loads(path.read_text()), Reasons).equivalent
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise HoldfastError(f"{path}: {error}; reasons why mutants are equivalent are expected") from error
    for reason in reasons:
        if not reason.reason.strip():
            raise HoldfastError(f"{path}: the reason for {_named(reason)} is empty")
    return reasons


def _named(item: Reason | Mutant) -> str:
    return f"{item.module}: {item.function}: {item.operator}: {item.before!r} -> {item.after!r}"


def stale(reasons: Iterable[Reason], mutants: Sequence[Mutant], verdicts: Mapping[str, Judged]) -> list[str]:
    """What is wrong with the reasons: no such mutant is in the sample any more, or it was killed."""
    known = {mutant.key: mutant for mutant in mutants}
    found = []
    for reason in reasons:
        mutant = known.get(reason.key)
        if mutant is None:
            found.append(f"there is no such mutant in the sample: {_named(reason)}")
        elif mutant.id in verdicts and verdicts[mutant.id].verdict in KILLED:
            judged = verdicts[mutant.id]
            found.append(f"it is not equivalent, {judged.verdict} ({judged.by}) killed it: {_named(reason)}")
    return found


class Verdicts:
    """The verdicts in a file of lines; what is added is on the disk before anything else happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self.known: dict[str, Judged] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                with suppress(msgspec.DecodeError):  # the last line of a run that was killed
                    judged = msgspec.json.decode(line, type=Judged)
                    self.known[judged.id] = judged

    def add(self, judged: Judged) -> None:
        """One more, or another one."""
        with self._lock, self._path.open("ab") as file:
            file.write(msgspec.json.encode(judged) + b"\n")
            self.known[judged.id] = judged


class Traced(Struct, frozen=True, kw_only=True):
    """The trace of a file of tests, and the hash of what it depends on."""

    test: str
    of: str
    trace: Trace


class Traces:
    """Traces in a file of lines, as `Verdicts` are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._known: dict[str, Traced] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                with suppress(msgspec.DecodeError):
                    traced = msgspec.json.decode(line, type=Traced)
                    self._known[traced.test] = traced

    def get(self, test: str, of: str) -> Trace | None:
        """What a file of tests calls, as it and the program are now."""
        traced = self._known.get(test)
        return traced.trace if traced is not None and traced.of == of else None

    def add(self, test: str, of: str, trace: Trace) -> None:
        """One more, or another one."""
        traced = Traced(test=test, of=of, trace=trace)
        with self._lock, self._path.open("ab") as file:
            file.write(msgspec.json.encode(traced) + b"\n")
            self._known[test] = traced


class Judge:
    """A copy of the tree, and a process in it that judges one job after the other."""

    def __init__(self, root: Path, plan: Plan, plan_file: Path) -> None:
        self._stack = ExitStack()
        self._copy = Path(self._stack.enter_context(TemporaryDirectory(prefix="holdfast-mutants-")))
        for name in plan.copied:
            source, target = root / name, self._copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                copytree(source, target, ignore=ignore_patterns(*NOT_COPIED))
            else:
                copy2(source, target)
        (self._copy / "plan.toml").write_bytes(plan_file.read_bytes())
        roots = [str(self._copy / name) for name in plan.source_roots]
        self._process = subprocess.Popen(
            [sys.executable, ROOT / "benchmarks" / "judging.py", "plan.toml"],
            cwd=self._copy,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([*roots, str(ROOT)]), "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt is the driver's matter
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        with self._process:  # waits for it, and closes its pipes
            self._stack.close()

    def end(self) -> None:
        """End the process; who waits for it learns that it is gone."""
        self._process.terminate()

    def ask(self, job: Job) -> Answer | None:
        """The answer to one job; None where the process was ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(job) + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        return msgspec.json.decode(line, type=Answer) if line else None


class State:
    """Hashes of the tree as it is: of the program and what all tests share, and of that with some of the tests."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self._root = root
        self._known: dict[tuple[tuple[str, ...], int], str] = {}
        self._shared = sha256(repr((plan.preloaded, plan.generators, plan.deselected)).encode())
        tests = {test for group in plan.groups.values() for test in group.tests}
        for name in plan.copied:
            for file in sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]:
                relative = str(file.relative_to(root))
                is_test = relative in tests or (file.name.startswith("test_") and file.suffix == ".py")
                if file.is_file() and not is_test and not NOT_COPIED.intersection(file.parts):
                    self._shared.update(f"{relative}\0".encode() + file.read_bytes())

    def sha256_with(self, tests: Iterable[str], *, budget: int = 0) -> str:
        """The hash of what a verdict of these files of tests depends on, and of how many of them were run."""
        wanted = (tuple(tests), budget)
        if wanted not in self._known:
            total = self._shared.copy()
            for test in wanted[0]:
                total.update(f"{test}\0".encode() + (self._root / test).read_bytes())
            total.update(f"{budget}".encode())
            self._known[wanted] = total.hexdigest()
        return self._known[wanted]


class NotGreenError(Exception):
    """What is not mutated does not pass: exit status 3."""


class Campaign:
    """One run: the sample, the verdicts so far, and what is left to judge."""

    def __init__(self, root: Path, plan_file: Path, out: Path, *, seed: int, size: int) -> None:
        self.root, self.plan_file = root, plan_file
        self.plan = read_plan(plan_file)
        self.state = State(root, self.plan)
        out.mkdir(parents=True, exist_ok=True)
        self.sample = sample_of(root, self.plan, seed=seed, size=size, kept=out / "sample.json")
        self.verdicts = Verdicts(out / "verdicts.jsonl")
        self.traces = Traces(out / "traces.jsonl")
        self.mutants = {mutant.id: mutant for mutant in self.sample.mutants}
        self.seed = seed

    def is_done(self, mutant: Mutant) -> bool:
        """Whether there is a verdict on it, of the tree as it is."""
        judged = self.verdicts.known.get(mutant.id)
        return judged is not None and judged.verdict in VERDICTS and judged.of == self._depends(judged, mutant.group)

    def has_passed_tests(self, mutant: Mutant) -> bool:
        """Whether it survived the tests of the tree as it is, and waits for the generators."""
        judged = self.verdicts.known.get(mutant.id)
        return judged is not None and not judged.verdict and judged.of == self._depends(judged, mutant.group)

    def _depends(self, judged: Judged, group: str) -> str:
        """A hash of what such a verdict depends on, as it is now: who is killed needs only the one that killed it."""
        if judged.verdict == TESTS and "::" in judged.by:
            return self.state.sha256_with((judged.by.partition("::")[0],))
        if judged.verdict == GENERATORS:
            return self.state.sha256_with(())
        return self.state.sha256_with(self.plan.groups[group].tests, budget=self.plan.traced_seconds)

    def run(self, chosen: Sequence[Mutant], *, workers: int, stages: Sequence[str] = (TESTS, GENERATORS)) -> None:
        """Judge what is not judged yet; all by the tests first, because they are quick."""
        todo = [mutant for mutant in chosen if not self.is_done(mutant)]
        if not todo:
            return
        with ExitStack() as stack:
            judges = [
                stack.enter_context(Judge(self.root, self.plan, self.plan_file))
                for _ in range(min(workers, len(todo)))
            ]
            self._trace(judges, sorted({test for mutant in todo for test in self._tests(mutant.group)}))
            for stage in stages:
                if stage == GENERATORS and not all(map(self.is_done, todo)):
                    self._demand_green(judges[0], todo[0])
                self._share(
                    judges,
                    [
                        partial(self._judge, mutant=mutant, stage=stage)
                        for mutant in todo
                        if not self.is_done(mutant) and not (stage == TESTS and self.has_passed_tests(mutant))
                    ],
                )

    def _share(self, judges: Sequence[Judge], work: Iterable[Callable[[Judge], bool]]) -> None:
        """Let the judges do all of the work; an interrupt, or work that says False, ends them."""
        waiting: Queue[Callable[[Judge], bool]] = Queue()
        for piece in work:
            waiting.put(piece)
        threads = [Thread(target=_drain, args=(judge, waiting)) for judge in judges]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            for judge in judges:
                judge.end()
            for thread in threads:
                thread.join()
            raise

    def _tests(self, group: str) -> tuple[str, ...]:
        """The files of tests of a group, the examples in its modules included."""
        chosen = self.plan.groups[group]
        return (*chosen.tests, *map(self.plan.path, chosen.modules))

    def _trace(self, judges: Sequence[Judge], tests: Sequence[str]) -> None:
        """Learn what each test calls. Raises `NotGreenError` where one fails unmutated, or there is none."""
        wrong: list[str] = []
        self._share(
            judges,
            [
                partial(self._trace_one, test=test, wrong=wrong)
                for test in tests
                if self.traces.get(test, self.state.sha256_with((test,))) is None
            ],
        )
        if wrong:
            raise NotGreenError("without a mutation these are not green:\n" + "\n".join(wrong))
        if not any(self._trace_of(test).tests for test in tests):
            raise NotGreenError(f"there is no test in {', '.join(tests)}")

    def _trace_one(self, judge: Judge, *, test: str, wrong: list[str]) -> bool:
        any_module = self.plan.path(next(iter(self.plan.groups.values())).modules[0])
        source = (self.root / any_module).read_text()
        seconds = TRACING_FACTOR * self.plan.tests_seconds
        answer = judge.ask(Job(path=any_module, source=source, tests=(test,), seconds=seconds, traced=True))
        if answer is None:
            return False
        if answer.killed_by or answer.trace is None:
            wrong.append(f"{test}: {answer.killed_by}\n{answer.heard}")
        else:
            self.traces.add(test, self.state.sha256_with((test,)), answer.trace)
            say(f"{test}: green, {len(answer.trace.tests)} tests traced")
        return True

    def _trace_of(self, test: str) -> Trace:
        trace = self.traces.get(test, self.state.sha256_with((test,)))
        assert trace is not None
        return trace

    def _judge(self, judge: Judge, *, mutant: Mutant, stage: str) -> bool:
        last = self.verdicts.known.get(mutant.id)
        first = last.by if last is not None and last.verdict == stage else ""
        job = self._by_tests(mutant, first) if stage == TESTS else self._by_generators(mutant, first)
        nobody_calls_it = stage == TESTS and not job.tests
        answer = Answer() if nobody_calls_it else judge.ask(job)
        if answer is not None:
            self._take(mutant, stage, answer)
        return answer is not None

    def _by_tests(self, mutant: Mutant, first: str) -> Job:
        """Judge by the tests that call the mutated function, as many as the plan has time for.

        All of the files that bear the module's name come first. Then all take turns, so that each has its say, and
        each begins with its quickest test.
        """
        name = f"{mutant.module}:{mutant.function}"
        calling = {test: sorted(self._trace_of(test).of(name)) for test in self._tests(mutant.group)}
        own = [pair for test, pairs in calling.items() if mutant.module in Path(test).stem for pair in pairs]
        turns = [pair for turn in zip_longest(*calling.values()) for pair in turn if pair is not None]
        found = list(dict.fromkeys((*own, *turns)))
        sums = accumulate((*(0.0 for _ in own), *(seconds for seconds, _ in found[len(own) :])))
        wanted = [pair for pair, sum_ in zip(found, sums, strict=True) if sum_ <= self.plan.traced_seconds]
        chosen = tuple(test for _, test in wanted)
        files = Counter(test.partition("::")[0] for test in chosen)
        needed = STARTING_SECONDS + TRACING_FACTOR * ceil(sum(seconds for seconds, _ in wanted))
        return Job(
            path=self.plan.path(mutant.module),
            source=mutant.source,
            tests=tuple(test for test, _ in files.most_common()),
            seconds=min(self.plan.tests_seconds, needed),
            chosen=chosen,
            first=first,
        )

    def _by_generators(self, mutant: Mutant, first: str = "") -> Job:
        seconds = self.plan.generators_seconds
        path = self.plan.path(mutant.module)
        return Job(path=path, source=mutant.source, tests=(), seconds=seconds, first=first)

    def _take(self, mutant: Mutant, stage: str, answer: Answer) -> None:
        last = self.verdicts.known.get(mutant.id)
        program = self.state.sha256_with(())
        survived = program if stage == GENERATORS else ("" if last is None else last.survived_generators_of)
        verdict = SURVIVED if survived == program else ""
        by = answer.killed_by
        if answer.timed_out:
            verdict, by = TIME_OUT, f"{stage}: {by}"
        elif by:
            verdict = stage
        if verdict in KILLED:
            survived = ""
        judged = Judged(
            id=mutant.id, of="", verdict=verdict, by=by, seconds=answer.seconds, survived_generators_of=survived
        )
        self.verdicts.add(replace(judged, of=self._depends(judged, mutant.group)))
        done = sum(map(self.is_done, self.sample.mutants))
        say(f"{done}/{len(self.mutants)} {mutant.id} {mutant.module} {verdict or 'survived the tests'} {by[:90]}")

    def _demand_green(self, judge: Judge, any_mutant: Mutant) -> None:
        """Raises `NotGreenError` where the generators do not hold without a mutation."""
        program = self.state.sha256_with(())
        known = self.verdicts.known.get(UNCHANGED)
        if known is not None and known.of == program:
            return
        source = (self.root / self.plan.path(any_mutant.module)).read_text()
        answer = judge.ask(self._by_generators(replace(any_mutant, source=source)))
        if answer is None or answer.killed_by:
            found = "no answer" if answer is None else f"{answer.killed_by}\n{answer.heard}"
            raise NotGreenError(f"without a mutation the generators are not green: {found}")
        self.verdicts.add(Judged(id=UNCHANGED, of=program, verdict=SURVIVED, seconds=answer.seconds))
        say(f"the generators: green without a mutation, {answer.seconds:g} s")


def _drain(judge: Judge, waiting: "Queue[Callable[[Judge], bool]]") -> None:
    """Let one judge work until nothing waits."""
    with suppress(Empty):
        while waiting.get_nowait()(judge):
            pass


class Line(Struct, frozen=True, kw_only=True):
    """A mutant with what became of it; `verdict` is "" where it was not judged to the end."""

    id: str
    group: str
    module: str
    function: str
    operator: str
    line: int
    before: str
    after: str
    verdict: str
    by: str
    reason: str


class Result(Struct, frozen=True, kw_only=True):
    """What `mutation.json` holds."""

    tool: str
    seed: int
    killed_percent: float
    places: dict[str, int]
    possible: dict[str, int]
    left_out: dict[str, int]
    mutants: tuple[Line, ...]

    @property
    def unexplained(self) -> list[Line]:
        """The survivors that have no reason."""
        return [line for line in self.mutants if line.verdict == SURVIVED and not line.reason]

    @property
    def unjudged(self) -> list[Line]:
        """What was not judged to the end."""
        return [line for line in self.mutants if not line.verdict]


def result_of(campaign: Campaign, reasons: Iterable[Reason]) -> Result:
    """What is known, also of a run that was interrupted; verdicts on another state of the tree are not."""
    why = {reason.key: " ".join(reason.reason.split()) for reason in reasons}
    lines = []
    for mutant in campaign.sample.mutants:
        judged = campaign.verdicts.known[mutant.id] if campaign.is_done(mutant) else None
        lines.append(
            Line(
                id=mutant.id,
                group=mutant.group,
                module=mutant.module,
                function=mutant.function,
                operator=mutant.operator,
                line=mutant.line,
                before=mutant.before,
                after=mutant.after,
                verdict="" if judged is None else judged.verdict,
                by="" if judged is None else judged.by,
                reason=why.get(mutant.key, ""),
            )
        )
    return Result(
        tool=tool(),
        seed=campaign.seed,
        killed_percent=_percent(lines),
        places=campaign.sample.places,
        possible=campaign.sample.possible,
        left_out=campaign.sample.left_out,
        mutants=tuple(lines),
    )


def _percent(lines: Sequence[Line]) -> float:
    """How many of them were killed, in percent of all, rounded down to a tenth."""
    killed = sum(line.verdict in KILLED for line in lines)
    return killed * 1_000 // len(lines) / 10 if lines else 0.0


def table(result: Result) -> list[str]:
    """The sums by module, as a table of Markdown."""
    lines = [
        "| modules | mutants | by tests | by generators | by time-out | survived | of these equivalent | killed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (*dict.fromkeys(line.group for line in result.mutants), "all"):
        chosen = [line for line in result.mutants if name in {line.group, "all"}]
        sums = [sum(line.verdict == verdict for line in chosen) for verdict in VERDICTS]
        same = sum(bool(line.reason) and line.verdict == SURVIVED for line in chosen)
        lines.append(f"| {name} | {len(chosen)} | {' | '.join(map(str, sums))} | {same} | {_percent(chosen):g} % |")
    return lines


PAGE = """# Mutation testing: what the tests and the generators notice

`make mutation` changes the reference exchange in small ways, one at a time, and asks whether anything notices. This
page is its output; it is not part of `make test`, because it takes an hour or more.

- **The mutants** are made by {tool}, a public tool that knows nothing of this project: another comparison, a
  condition turned round, a number off by one, a loop that is not run. Seed {seed} draws {size} of them, as many for
  each group of modules: places first, and of each place one mutant, so that no place counts twice.
- **The judges**, the first failure counts: the tests of the group of modules that call the mutated function, those
  named after the module and then the quickest of each file, as many as take {traced} s while traced
  (`benchmarks/mutation/plan.toml` lists the files, and what is too slow to be among them); then the smoke gate's
  scenarios, generator and machines, with its seed, its work and every invariant. A goal that is never reached counts
  too, as it does in the gate. What takes more than {tests} s of processor time in the tests, or {generators} s in the
  generators, is killed by time-out.
- **What survives** is told below, with the reason why it is the same program. A survivor without one makes the exit
  status 1, and so does a score below {least} %. The score is what was killed of all: equivalent mutants count as not
  killed.

## By module

{unjudged}{table}

{modules}

## Survivors

{survivors}

## What is not mutated

Of all mutations that the tool has for these modules, {possible} at {places} places can be drawn. Left out are:

{left_out}
"""


def page_of(result: Result, plan: Plan) -> str:
    """`docs/mutation.md`."""
    modules = (f"- **{name}**: {', '.join(group.modules)}" for name, group in plan.groups.items())
    return PAGE.format(
        tool=result.tool,
        size=len(result.mutants),
        seed=result.seed,
        least=KILLED_PERCENT_MIN,
        traced=plan.traced_seconds,
        tests=plan.tests_seconds,
        generators=plan.generators_seconds,
        unjudged=_unjudged(result),
        table="\n".join(table(result)),
        modules="\n".join(modules),
        survivors="\n".join(_survivors(result)) or "None.",
        possible=f"{sum(result.possible.values()):,}",
        places=f"{sum(result.places.values()):,}",
        left_out="\n".join(f"- {number:,}: {why}" for why, number in result.left_out.items()),
    )


def _unjudged(result: Result) -> str:
    """What a page of an unfinished run says first."""
    if not result.unjudged:
        return ""
    names = ", ".join(f"`{line.module}:{line.function}`" for line in result.unjudged)
    return f"**Not judged to the end, and counted as not killed: {len(result.unjudged)} of them.** In {names}.\n\n"


def _survivors(result: Result) -> Iterator[str]:
    for line in result.mutants:
        if line.verdict == SURVIVED:
            yield f"- `{line.module}`, `{line.function or 'at the top'}`, {line.operator}:"
            yield f"  `{line.before}` became `{line.after}`."
            yield f"  {line.reason or '**No reason and no test.**'}"


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no judge and no copy outlives it
    options = _options(arguments)
    try:
        reasons = read_reasons(options.reasons)
        campaign = Campaign(options.root, options.plan, options.out, seed=options.seed, size=options.sample)
        _refuse_stale(reasons, campaign)
        chosen = [mutant for mutant in campaign.sample.mutants if not options.only or mutant.id in options.only]
        status = ExitStatus.HELD
        try:
            campaign.run(
                chosen, workers=options.workers, stages=(TESTS,) if options.tests_only else (TESTS, GENERATORS)
            )
        except KeyboardInterrupt:
            status = ExitStatus.INTERRUPTED
        _refuse_stale(reasons, campaign)
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return ExitStatus.BAD_INPUT
    except NotGreenError as error:
        sys.stderr.write(f"{error}\n")
        return ExitStatus.INCONCLUSIVE
    result = result_of(campaign, reasons)
    (options.out / "mutation.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    for line in (*table(result), *_survivors(result)):
        say(line)
    status = status or status_of(result)
    if options.page and status is not ExitStatus.INTERRUPTED:
        options.page.write_text(page_of(result, campaign.plan))
    return status


def status_of(result: Result) -> ExitStatus:
    """The exit status of a result, which is said too."""
    say(f"{result.killed_percent:g} % killed; at least {KILLED_PERCENT_MIN} % are expected")
    if result.unjudged:
        say(f"{len(result.unjudged)} of {len(result.mutants)} were not judged to the end")
        return ExitStatus.INCONCLUSIVE
    if result.unexplained:
        say(f"{len(result.unexplained)} survived without a reason")
    enough = result.killed_percent >= KILLED_PERCENT_MIN
    return ExitStatus.HELD if enough and not result.unexplained else ExitStatus.VIOLATED


def _refuse_stale(reasons: Sequence[Reason], campaign: Campaign) -> None:
    verdicts = {
        mutant.id: campaign.verdicts.known[mutant.id] for mutant in filter(campaign.is_done, campaign.sample.mutants)
    }
    wrong = stale(reasons, campaign.sample.mutants, verdicts)
    if wrong:
        raise HoldfastError("reasons that are stale:\n" + "\n".join(wrong))


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=SAMPLE, help="how many mutants are drawn")
    parser.add_argument("--seed", type=int, default=SEED, help="draws the sample")
    parser.add_argument("--workers", type=int, default=WORKERS, help="how many are judged at a time")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="judge only this; may be repeated")
    parser.add_argument(
        "--tests-only", action="store_true", help="leave out the generators: no verdict on what survives"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("holdfast-report/mutation"), help="verdicts and mutation.json"
    )
    parser.add_argument("--page", type=Path, help="write the page too")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to mutate")
    parser.add_argument("--plan", type=Path, default=HERE / "plan.toml", help="what is mutated, and what judges it")
    parser.add_argument("--reasons", type=Path, default=HERE / "equivalent.toml", help="why survivors are equivalent")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
