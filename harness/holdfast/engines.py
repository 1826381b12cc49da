"""Which engines can be put under test, by the names that the command line takes."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from holdfast.engine import Engine, LocalEngine
from holdfast.process import ProcessEngine
from holdfast_adapters.registry import adapter_names, command
from holdfast_engine.faults import FAULTS, fault_by_name
from holdfast_model.errors import HoldfastError

FAILURES_IN_A_ROW_MAX = 3
"""An engine that fails in so many sequences in a row is not put through the rest."""

REFERENCE = "reference"
FAULT_PREFIX = "fault:"
STDIO_PREFIX = "stdio:"


class EngineSource:
    """An engine by its name, made when it is first needed, and anew after it failed.

    Raises `HoldfastError` at once when there is no engine of this name. Used as a context manager, so that no
    process and no data directory outlives it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._make = _maker(name)
        self._engine: Engine | None = None
        self._directory: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def engine(self) -> Engine:
        """The engine, started. Raises `InconclusiveError` when it cannot be."""
        if self._engine is None:
            self._directory = TemporaryDirectory(prefix="holdfast-")
            self._engine = self._make(Path(self._directory.name))
        return self._engine

    def discard(self) -> None:
        """End the engine; the next call of `engine` makes a new one."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None


def _maker(name: str) -> Callable[[Path], Engine]:
    if name == REFERENCE:
        return lambda _: LocalEngine()
    if name.startswith(FAULT_PREFIX):
        fault = fault_by_name(name.removeprefix(FAULT_PREFIX))
        return lambda _: LocalEngine(parts=fault.parts)
    if name.startswith(STDIO_PREFIX):
        argv = _split(name.removeprefix(STDIO_PREFIX))
        return lambda directory: ProcessEngine(argv, data_directory=directory)
    if name in adapter_names():
        return lambda directory: ProcessEngine(command(name), data_directory=directory)
    raise HoldfastError(
        f"there is no engine {name!r}; there are: {REFERENCE}, {FAULT_PREFIX}NAME "
        f"({len(FAULTS)} planted faults, listed by `holdfast engines`), {', '.join(adapter_names())}, "
        f"and {STDIO_PREFIX}COMMAND"
    )


def _split(command_line: str) -> list[str]:
    try:
        argv = shlex.split(command_line)
    except ValueError as error:
        raise HoldfastError(f"{STDIO_PREFIX}{command_line}: {error}; a shell's quoting is expected") from error
    if not argv:
        raise HoldfastError(f"{STDIO_PREFIX} needs a command, such as {STDIO_PREFIX}'{sys.executable} -m my_shim'")
    return argv
