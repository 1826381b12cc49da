"""A child process that is spoken to in lines: started in its own process group, bounded in its words, really killed.

Nothing that the child writes is trusted: a line has a greatest length, every wait has an end, and what is quoted of
it in a message is cut and escaped.
"""

import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event
from time import monotonic, sleep
from typing import IO
from weakref import WeakSet

from holdfast.engine import HUNG
from holdfast_model.vocabulary.protocol import LINE_BYTES_MAX

ENDING_SECONDS = 2.0
"""How long a child that closed its output may take to end."""
STDERR_BYTES_KEPT = 4096
_READ_BYTES = 65536
_QUOTED_CHARACTERS = 300
_LAST_WORDS_CHARACTERS = 1000
_LAST_WORDS_SECONDS = 0.2
_POLL_SECONDS = 0.005
_LOOK_MILLISECONDS = 100
"""How often a silent child is looked at, whether it lives."""


class ChildTroubleError(Exception):
    """The child did not do as it should; the message is the rest of a sentence that begins with its name."""


_RUNNING: "WeakSet[Child]" = WeakSet()
_NO_MORE = Event()


def kill_children() -> None:
    """Kill the process group of every child that runs, and let none be started: this process is about to end.

    Whoever waits for a child learns that it ended. For a signal's handler: nothing is reaped or closed here.
    """
    _NO_MORE.set()
    for child in tuple(_RUNNING):
        child.kill_group()


class Child:
    """A running process and its pipes. `kill` must be called in the end, whatever happened.

    Raises `ChildTroubleError` when it cannot be started.
    """

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> None:
        if _NO_MORE.is_set():
            raise ChildTroubleError("is not started: who asks for it is about to end")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - running the engine that the user named is the purpose
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise ChildTroubleError(f"cannot be started: {error.strerror or error}") from error
        _RUNNING.add(self)
        try:
            self._connect()
        except BaseException:
            with self._process:
                self._process.kill()
            raise

    def _connect(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input = self._process.stdin.fileno()
        self._output = self._process.stdout.fileno()
        for descriptor in (self._input, self._output):
            os.set_blocking(descriptor, False)
        self._readable = select.poll()
        self._readable.register(self._output, select.POLLIN)
        self._either = select.poll()
        self._either.register(self._output, select.POLLIN)
        self._either.register(self._input, select.POLLOUT)
        self._buffer = bytearray()
        self._tail = _Tail(self._process.stderr)

    def exchange(self, line: bytes, *, seconds: float) -> bytes:
        """The line that the child answers to a line; both without their line feed.

        Raises `ChildTroubleError` when the answer is not there in time, is too long, or cannot come any more.
        """
        deadline = monotonic() + seconds
        self._send(line, deadline, seconds)
        return self._receive(deadline, seconds)

    def post(self, line: bytes, *, seconds: float) -> None:
        """Write a line whose answer nobody waits for; a child that does not take it in time is not waited for."""
        with suppress(ChildTroubleError):
            self._send(line, monotonic() + seconds, seconds)

    def ended(self, *, within: float) -> bool:
        """Whether the child itself ends within so many seconds; it is not reaped."""
        deadline = monotonic() + within
        while not self._has_ended():
            if monotonic() >= deadline:
                return False
            sleep(_POLL_SECONDS)
        return True

    def kill(self) -> None:
        """Kill the whole process group with SIGKILL, reap the child, and close every pipe; may be called again."""
        self.kill_group()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        self._tail.close()

    def kill_group(self) -> None:
        """Kill the whole process group with SIGKILL, if the child was not reaped."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The end of what the child wrote to its standard error, as the end of a sentence; or nothing."""
        said = self._tail.text()
        return f"; the end of its standard error: {quoted(said, last=True)}" if said else ""

    # Writing and reading ------------------------------------------------------------------------------------------

    def _send(self, line: bytes, deadline: float, seconds: float) -> None:
        data = memoryview(line + b"\n")
        while data:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                ready = self._either.poll(_milliseconds(deadline))
                if not ready:
                    raise ChildTroubleError(f"did not take a request within {seconds:g} s") from None
                if any(descriptor == self._output for descriptor, _ in ready):
                    self._fill()
            except OSError as error:
                raise ChildTroubleError(self._ending()) from error

    def _receive(self, deadline: float, seconds: float) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            while not self._readable.poll(min(_LOOK_MILLISECONDS, _milliseconds(deadline))):
                if self._has_ended() and not self._readable.poll(0):
                    raise ChildTroubleError(self._ending())  # a child of its own holds its output open
                if monotonic() >= deadline:
                    raise ChildTroubleError(f"{HUNG} {seconds:g} s")
            self._fill()

    def _fill(self) -> None:
        """Take in what is there; never more than one longest line is kept."""
        try:
            chunk = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            raise ChildTroubleError(self._ending())
        self._buffer += chunk
        if len(self._buffer) > LINE_BYTES_MAX:
            raise ChildTroubleError(
                f"wrote more than {LINE_BYTES_MAX} bytes without an answer in them, beginning with "
                f"{quoted(self._buffer)}"
            )

    # Ending -------------------------------------------------------------------------------------------------------

    def _has_ended(self) -> bool:
        """Whether the child ended. It is not reaped: as long as it is not, nobody else gets its group's number."""
        if hasattr(os, "waitid"):
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, options) is not None
        return self._process.poll() is not None  # macOS before Python 3.13

    def _ending(self) -> str:
        """How it came that nothing more is to be had from the child."""
        if not self.ended(within=ENDING_SECONDS):
            return "closed its output or input, and did not end"
        rest = self._rest()
        self.kill()
        status = self._process.returncode
        how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
        return f"{how}, having written {quoted(rest)}" if rest else how

    def _rest(self) -> bytes:
        """What is left of the child's output: part of a line, or lines that were not asked for."""
        with suppress(OSError):
            while len(self._buffer) < LINE_BYTES_MAX and (chunk := os.read(self._output, _READ_BYTES)):
                self._buffer += chunk
        return bytes(self._buffer)


class _Tail:
    """Reads a stream to its end in a thread, so that its writer never waits, and keeps the last of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._text = b""
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._drain, name="standard error of an engine", daemon=True)
        self._thread.start()

    def text(self) -> bytes:
        """What was kept, once the stream is at its end or there was time for its last words to arrive."""
        if not self._stream.closed:
            self._thread.join(_LAST_WORDS_SECONDS)
            self._text = bytes(self._kept)
        return self._text

    def close(self) -> None:
        """Stop reading and close the stream, also when a process that got away still holds its other end."""
        if self._stream.closed:
            return
        self.text()
        os.write(self._stop, b"\0")
        self._thread.join()
        self._stream.close()
        os.close(self._stop)
        os.close(self._stopped)

    def _drain(self) -> None:
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        poll.register(self._stopped, select.POLLIN)
        while not any(descriptor == self._stopped for descriptor, _ in poll.poll()):
            chunk = os.read(self._stream.fileno(), _READ_BYTES)
            if not chunk:
                return
            self._kept += chunk
            del self._kept[:-STDERR_BYTES_KEPT]


def _milliseconds(deadline: float) -> int:
    return max(0, int((deadline - monotonic()) * 1000) + 1)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def quoted(data: bytes | bytearray | str, *, last: bool = False) -> str:
    r"""Untrusted text for a message as an ASCII literal: cut to its beginning or end, nothing in it moves a cursor.

    >>> quoted(b"\x1b[2Jgone")
    "'\\x1b[2Jgone'"
    """
    cut = data[-_LAST_WORDS_CHARACTERS:] if last else data[:_QUOTED_CHARACTERS]
    text = cut if isinstance(cut, str) else bytes(cut).decode("utf-8", "replace")
    if len(cut) == len(data):
        return ascii(text)
    unit = "characters" if isinstance(data, str) else "bytes"
    return f"{text!a} (of {len(data)} {unit})"
