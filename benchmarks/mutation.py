"""Mutation testing: a seeded sample of mutants of the reference exchange, judged by its tests and the smoke gate.

    python benchmarks/mutation.py [--sample 300] [--seed 1] [--out holdfast-report/mutation] [--page docs/mutation.md]

Each mutant is judged in a copy of the tree: first by the tests of its group, then by the smoke gate's scenarios,
generator and machines; the first failure counts. Verdicts are kept in the folder, and an interrupted run goes on from
there; a verdict on another state of the tree is judged again, first by what killed the mutant then.

Exit status: 0 enough were killed, and each survivor has its reason; 1 not so; 2 wrong input, such as a reason for what
did not survive; 3 what is not mutated is not green, or not all was judged; 130 interrupted.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from queue import Empty, Queue
from shutil import copy2, copytree, ignore_patterns
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

if not __package__:  # run as a script: only this folder is on the path, and not the one that it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.judging import Answer, Job
from benchmarks.mutants import Mutant, Plan, Sample, read_plan

from holdfast.console import say
from holdfast_model.errors import HoldfastError

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = 300
SEED = 1
KILLED_PERCENT_MIN = 85

TESTS, GENERATORS, TIME_OUT, SURVIVED = "tests", "generators", "time-out", "survived"
VERDICTS = (TESTS, GENERATORS, TIME_OUT, SURVIVED)


class Judged(Struct, frozen=True, kw_only=True):
    """The verdict on a mutant, and the state of the tree that it is of; "" stands for tests that it survived."""

    id: str
    tree: str
    verdict: str
    by: str = ""
    seconds: float = 0.0


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
        elif mutant.id in verdicts and verdicts[mutant.id].verdict in {TESTS, GENERATORS, TIME_OUT}:
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


class Judge:
    """A copy of the tree, and a process in it that judges one job after the other."""

    def __init__(self, root: Path, plan: Plan, plan_file: Path) -> None:
        self._stack = ExitStack()
        self._copy = Path(self._stack.enter_context(TemporaryDirectory(prefix="holdfast-mutants-")))
        for name in plan.copied:
            source, target = root / name, self._copy / name
            if source.is_dir():
                copytree(source, target, ignore=ignore_patterns("node_modules", "__pycache__", ".venv"))
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
        self._process.wait()
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


class Campaign:
    """One run: the sample, the verdicts so far, and what is left to judge."""

    def __init__(self, root: Path, plan_file: Path, out: Path, *, seed: int, size: int) -> None:
        self.root, self.plan_file = root, plan_file
        self.plan = read_plan(plan_file)
        self.tree = tree_sha256(root, self.plan)
        self.sample = Sample(root, self.plan, seed=seed, size=size)
        out.mkdir(parents=True, exist_ok=True)
        self.verdicts = Verdicts(out / "verdicts.jsonl")
        self.mutants = {mutant.id: mutant for mutant in self.sample.mutants}
        self.seed = seed
        self._waiting: Queue[tuple[Mutant, str]] = Queue()
        self._left = Lock()

    def is_done(self, mutant: Mutant) -> bool:
        """Whether there is a verdict on it, of the tree as it is."""
        judged = self.verdicts.known.get(mutant.id)
        return judged is not None and judged.tree == self.tree and judged.verdict in VERDICTS

    def run(self, chosen: Sequence[Mutant], *, workers: int) -> None:
        """Judge what is not judged yet; all by the tests first, because they are quick."""
        todo = [mutant for mutant in chosen if not self.is_done(mutant)]
        if not todo:
            return
        with ExitStack() as stack:
            judges = [
                stack.enter_context(Judge(self.root, self.plan, self.plan_file))
                for _ in range(min(workers, len(todo)))
            ]
            self._demand_green(judges[0], {mutant.group for mutant in todo})
            for stage in (TESTS, GENERATORS):
                for mutant in todo:
                    if not self.is_done(mutant):
                        self._waiting.put((mutant, stage))
                self._share(judges)

    def _share(self, judges: Sequence[Judge]) -> None:
        """Let the judges work until nothing waits; an interrupt ends them."""
        threads = [Thread(target=self._work, args=(judge,)) for judge in judges]
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

    def _work(self, judge: Judge) -> None:
        while True:
            try:
                mutant, stage = self._waiting.get_nowait()
            except Empty:
                return
            last = self.verdicts.known.get(mutant.id)
            first = last.by if last is not None and last.verdict == stage else ""
            answer = judge.ask(self._job(mutant, stage, first))
            if answer is None:
                return
            self._take(mutant, stage, answer)

    def _job(self, mutant: Mutant, stage: str, first: str = "") -> Job:
        group = self.plan.groups[mutant.group]
        return Job(
            path=self.plan.path(mutant.module),
            source=mutant.source,
            tests=(*group.tests, self.plan.path(mutant.module)) if stage == TESTS else (),
            seconds=self.plan.tests_seconds if stage == TESTS else self.plan.generators_seconds,
            first=first,
        )

    def _take(self, mutant: Mutant, stage: str, answer: Answer) -> None:
        verdict = stage if answer.killed_by else (SURVIVED if stage == GENERATORS else "")
        verdict = TIME_OUT if answer.timed_out else verdict
        by = f"{stage}: {answer.killed_by}" if answer.timed_out else answer.killed_by
        self.verdicts.add(Judged(id=mutant.id, tree=self.tree, verdict=verdict, by=by, seconds=answer.seconds))
        done = sum(map(self.is_done, self.sample.mutants))
        say(f"{done}/{len(self.mutants)} {mutant.id} {mutant.module} {verdict or 'survived the tests'} {by[:90]}")

    def _demand_green(self, judge: Judge, groups: set[str]) -> None:
        """Judge what is not mutated. Raises `NotGreenError` where that is found wrong: no verdict would mean anything."""
        for name in sorted(groups):
            group = self.plan.groups[name]
            unchanged = Mutant(
                group=name,
                module=group.modules[0],
                function="",
                operator="",
                before="",
                after="",
                number=0,
                line=0,
                source=(self.root / self.plan.path(group.modules[0])).read_text(),
            )
            stages = (TESTS, GENERATORS) if name == min(groups) else (TESTS,)
            for stage in stages:
                key = f"unchanged:{name}:{stage}"
                known = self.verdicts.known.get(key)
                if known is not None and known.tree == self.tree:
                    continue
                answer = judge.ask(self._job(unchanged, stage))
                if answer is None or answer.killed_by:
                    found = "no answer" if answer is None else f"{answer.killed_by}\n{answer.heard}"
                    raise NotGreenError(f"{name} without a mutation is not green in the {stage}: {found}")
                self.verdicts.add(Judged(id=key, tree=self.tree, verdict=SURVIVED, seconds=answer.seconds))
                say(f"{name}, not mutated: green in the {stage}, {answer.seconds:g} s")


class NotGreenError(Exception):
    """What is not mutated does not pass: exit status 3."""


def tree_sha256(root: Path, plan: Plan) -> str:
    """A hash over all that a verdict depends on: the program texts that are copied."""
    total = sha256()
    for name in plan.copied:
        files = sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]
        for file in files:
            if "node_modules" not in file.parts:
                total.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return total.hexdigest()
