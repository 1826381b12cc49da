"""Writing results: the envelope, the JSON that `--json` asks for, and the report folder."""

import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import TypeVar

from holdfast.version import __version__
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import EXIT_STATUS_BY_VERDICT, ExitStatus, Verdict, Witness
from holdfast_model.findings import REPORT_SCHEMA, Counterexample, Report
from holdfast_reports import UNFINISHED_FILE, WRITTEN, AnyResult, encode, render, write_atomically

T = TypeVar("T")

KEEP_SECONDS = 2.0
"""How often what is finished is written down where many small parts are."""

_PACKAGES = ("hypothesis", "z3-solver", "numpy", "msgspec", "sortedcontainers")


class Session:
    """One call of a command: what it was called with, and since when."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._known: dict[str, str] = {}
        self._started = datetime.now(UTC)
        self._start = monotonic()

    def report(
        self,
        verdict: Verdict,
        result: T,
        *,
        timing: dict[str, float] | None = None,
        exit_status: ExitStatus | None = None,
    ) -> Report[T]:
        """The result in its envelope."""
        return Report(
            schema=REPORT_SCHEMA,
            command=self.command,
            verdict=verdict,
            exit_status=int(EXIT_STATUS_BY_VERDICT[verdict] if exit_status is None else exit_status),
            result=result,
            timing={**(timing or {}), "total": round(monotonic() - self._start, 3)},
            environment=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        """Looked up once: a report is made after each part of a long run."""
        if not self._known:
            self._known = self._look_up()
        return self._known

    def _look_up(self) -> dict[str, str]:
        return {
            "command_line": " ".join(["holdfast", *sys.argv[1:]]),
            "commit": _commit(),
            "holdfast": __version__,
            "platform": platform.platform(),
            "python": platform.python_version(),
            "started": self._started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **{package: version(package) for package in _PACKAGES},
            **_second_solver(),
        }


def _second_solver() -> dict[str, str]:
    """The version of the solver for second opinions, where that extra is installed."""
    try:
        return {"cvc5": version("cvc5")}
    except PackageNotFoundError:
        return {}


def _commit() -> str:
    """The commit of the folder in which the command runs, "unknown" where it is in no git repository."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if found.returncode:
        return "unknown"
    return found.stdout.strip() + (" with uncommitted changes" if changed.stdout.strip() else "")


def write_json(report: Report[T], target: str) -> None:
    """Write the report where `--json` said: a file, or "-" for standard output."""
    data = encode(report)
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_atomically(Path(target), data)


class Rarely:
    """Says when something that is done after each of many small parts is due: once in `KEEP_SECONDS`."""

    def __init__(self) -> None:
        self._last = monotonic()

    def due(self) -> bool:
        """Whether it is, and then not for a while."""
        due = monotonic() - self._last >= KEEP_SECONDS
        if due:
            self._last = monotonic()
        return due


class Folder:
    """The report folder of one run. Counterexamples are written as they are found, so that a crash loses none.

    What an earlier run left is taken out first: a report lists all that its folder holds, and is of one run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._counts: dict[str, int] = {}
        self._rarely = Rarely()
        try:
            path.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise HoldfastError(f"{path}: cannot be used as the report's folder: {error.strerror}") from error
        earlier = [*(path / "counterexamples").glob("*.json"), *(path / "witnesses").glob("*.json")]
        for old in (*sorted(earlier), *(path / name for name in WRITTEN)):
            old.unlink(missing_ok=True)

    def keep(self, report: Callable[[], Report[AnyResult]], *, at_once: bool = True) -> None:
        """Write down what is finished so far, so that a run which is killed loses no more than what it was at.

        `holdfast report` renders it. Not at once: only where some time has passed since it was written last.
        """
        if self._rarely.due() or at_once:
            write_atomically(self.path / UNFINISHED_FILE, encode(report()))

    def add(self, name: str, counterexample: Counterexample) -> str:
        """Write a counterexample; its file's name relative to the folder."""
        self._counts[name] = self._counts.get(name, 0) + 1
        file = f"counterexamples/{name}-{self._counts[name]}.json"
        write_atomically(self.path / file, encode(counterexample))
        return file

    def add_witness(self, witness: Witness) -> str:
        """Write a sequence to a goal; its file's name relative to the folder."""
        self._counts[witness.goal] = self._counts.get(witness.goal, 0) + 1
        number = self._counts[witness.goal]
        file = f"witnesses/{witness.goal}{'' if number == 1 else f'-{number}'}.json"
        write_atomically(self.path / file, encode(witness))
        return file

    def finish(self, report: Report[AnyResult]) -> tuple[Path, ...]:
        """Write the report in all its forms; what was kept of it until then goes."""
        files = render(report, self.path)
        (self.path / UNFINISHED_FILE).unlink(missing_ok=True)
        return files
