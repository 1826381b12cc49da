"""What survives a crash: named append-only logs and named whole values, in memory or in a directory."""

import os
from pathlib import Path
from typing import Protocol

from holdfast_model.errors import HoldfastError


class Storage(Protocol):
    """Durable storage. What `append` and `write` return from survives the process."""

    def append(self, name: str, line: bytes) -> None:
        """Add a line to a log; `line` has no line feed."""

    def append_torn(self, name: str, line: bytes) -> None:
        """Write only the first half of a line, as a process does that dies while writing."""

    def lines(self, name: str) -> list[bytes]:
        """The whole lines of a log; a torn last line is cut off for good."""

    def write(self, name: str, value: bytes) -> None:
        """Replace a value: after a crash either the old or the new one is there, whole."""

    def read(self, name: str) -> bytes | None:
        """A value; None where none was ever written."""

    def clear(self) -> None:
        """Forget everything."""


class MemoryStorage:
    """Storage for tests and machines: it outlives the exchange object, as a disk outlives a process."""

    def __init__(self) -> None:
        self._logs: dict[str, list[bytes]] = {}
        self._torn: set[str] = set()
        self._values: dict[str, bytes] = {}

    def append(self, name: str, line: bytes) -> None:
        """Add a line to a log."""
        assert name not in self._torn, "a torn line is cut off before more is written"
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = []
        log.append(line)

    def append_torn(self, name: str, line: bytes) -> None:
        """Write only the first half of a line."""
        self.append(name, line[: len(line) // 2])
        self._torn.add(name)

    def lines(self, name: str) -> list[bytes]:
        """The whole lines of a log."""
        if name in self._torn:
            self._logs[name].pop()
            self._torn.discard(name)
        return list(self._logs.get(name, ()))

    def write(self, name: str, value: bytes) -> None:
        """Replace a value."""
        self._values[name] = value

    def read(self, name: str) -> bytes | None:
        """A value, or None."""
        return self._values.get(name)

    def clear(self) -> None:
        """Forget everything."""
        self._logs.clear()
        self._torn.clear()
        self._values.clear()


class FileStorage:
    """Storage in a directory: a log is a file of lines, a value a file replaced by rename; both are synced."""

    def __init__(self, directory: Path, *, sync: bool = True) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HoldfastError(f"{directory}: cannot be used as the data directory: {error.strerror}") from error
        self._directory = directory
        self._sync = sync
        self._open: dict[str, int] = {}

    def append(self, name: str, line: bytes) -> None:
        """Add a line to a log; it is on the disk when this returns."""
        self._write(self._log(name), line + b"\n")

    def append_torn(self, name: str, line: bytes) -> None:
        """Write only the first half of a line."""
        self._write(self._log(name), line[: len(line) // 2])

    def lines(self, name: str) -> list[bytes]:
        """The whole lines of a log; a torn last line is cut off the file."""
        path = self._directory / f"{name}.jsonl"
        if not path.exists():
            return []
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
        return data[:whole].split(b"\n")[:-1]

    def write(self, name: str, value: bytes) -> None:
        """Replace a value atomically."""
        path = self._directory / f"{name}.json"
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self._write(descriptor, value)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        self._sync_directory()

    def read(self, name: str) -> bytes | None:
        """A value, or None."""
        path = self._directory / f"{name}.json"
        return path.read_bytes() if path.exists() else None

    def clear(self) -> None:
        """Remove every log and value."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        for pattern in ("*.jsonl", "*.json", "*.tmp"):
            for path in self._directory.glob(pattern):
                path.unlink()
        self._sync_directory()

    def _log(self, name: str) -> int:
        if name not in self._open:
            path = self._directory / f"{name}.jsonl"
            self._open[name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._sync_directory()
        return self._open[name]

    def _write(self, descriptor: int, data: bytes) -> None:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
        if self._sync:
            os.fsync(descriptor)

    def _sync_directory(self) -> None:
        if not self._sync:
            return
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
