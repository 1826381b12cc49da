"""An engine as a process of its own: started, spoken to over the wire protocol, really killed, started again."""

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TypeVar

from holdfast.engine import EngineFailure, Identity
from holdfast_model.errors import InconclusiveError
from holdfast_model.vocabulary import Answer, Command, CrashPoint, JournalRecord, Setup, View
from holdfast_model.vocabulary.protocol import (
    DATA_DIRECTORY_VARIABLE,
    LINE_BYTES_MAX,
    PROTOCOL_VERSION,
    Done,
    Failed,
    Hello,
    HelloReply,
    Observe,
    ObserveReply,
    Reply,
    Request,
    Reset,
    Restore,
    Shutdown,
    Snapshot,
    Submit,
    SubmitReply,
)
from holdfast_model.vocabulary.wire import WireError, decode, encode

HELLO_SECONDS = 30.0
REQUEST_SECONDS = 20.0
SHUTDOWN_SECONDS = 2.0
_STDERR_BYTES_KEPT = 4_096
_READ_BYTES = 65_536
_QUOTED = 300

R = TypeVar("R", bound=HelloReply | SubmitReply | ObserveReply | Done)


class _Trouble(Exception):  # noqa: N818 - it becomes a finding or an inconclusive run, as the case may be
    """The process did not answer as it should; the message says what it did."""


class ProcessEngine:
    """An engine on the wire protocol (docs/protocol.md), in its own process group, without a shell.

    Raises `InconclusiveError` when it cannot be brought to say hello, `EngineFailure` for everything after that. Use
    `close`, or nothing of it is guaranteed to be gone.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        data_directory: Path,
        hello_seconds: float = HELLO_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._argv = list(argv)
        self._directory = data_directory
        self._hello_seconds = hello_seconds
        self._request_seconds = request_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = 0
        try:
            self._identity = self._start()
        except _Trouble as trouble:
            self._kill()
            raise InconclusiveError(f"{self._shown()}: {trouble} before it said hello") from trouble

    @property
    def identity(self) -> Identity:
        """Who it is and what it can do."""
        return self._identity

    def reset(self, setup: Setup) -> None:
        """Begin anew; a process that is not running is started first."""
        if self._process is None:
            self.restart()
        self._ask(Reset(id=self._next(), setup=setup), Done)

    def submit(self, commands: Sequence[Command]) -> tuple[Answer, ...]:
        """Hand over commands that arrive together."""
        answers = self._ask(Submit(id=self._next(), commands=tuple(commands)), SubmitReply).answers
        if len(answers) != len(commands):
            raise EngineFailure(f"submit: {len(answers)} answers to {len(commands)} commands")
        return answers

    def observe(self, since_seq: int | None = None) -> tuple[View, tuple[JournalRecord, ...]]:
        """The view now, and what was decided after a sequence number."""
        reply = self._ask(Observe(id=self._next(), since_seq=since_seq), ObserveReply)
        return reply.view, reply.resent

    def snapshot(self) -> None:
        """Have a snapshot written."""
        self._ask(Snapshot(id=self._next()), Done)

    def restore(self) -> None:
        """Have the state rebuilt."""
        self._ask(Restore(id=self._next()), Done)

    def crash(self, in_flight: Command | None, point: CrashPoint) -> None:
        """Kill the process group with SIGKILL, right after a command was written to it; it dies where it is."""
        del point
        if in_flight is not None:
            with suppress(OSError, _Trouble):
                self._write(Submit(id=self._next(), commands=(in_flight,)))
        self._kill()

    def restart(self) -> None:
        """Start it again on the same data directory; it must be the same engine."""
        try:
            identity = self._start()
        except _Trouble as trouble:
            self._kill()
            raise EngineFailure(f"restart: the engine {trouble}") from trouble
        if identity != self._identity:
            raise EngineFailure(f"restart: it says that it is {identity}; {self._identity} was expected")

    def close(self) -> None:
        """Ask it to shut down, and kill what is left of its process group."""
        if self._process is not None and self._process.poll() is None:
            with suppress(OSError, _Trouble):
                self._exchange(Shutdown(id=self._next()), seconds=SHUTDOWN_SECONDS)
                self._process.wait(SHUTDOWN_SECONDS)
        self._kill()

    # The process --------------------------------------------------------------------------------------------------

    def _shown(self) -> str:
        return _quoted(" ".join(self._argv))

    def _start(self) -> Identity:
        self._buffer = bytearray()
        self._stderr = bytearray()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - running the engine that the user named is the purpose
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, DATA_DIRECTORY_VARIABLE: str(self._directory)},
            )
        except (OSError, ValueError) as error:
            self._process = None
            raise _Trouble(f"cannot be started: {error}") from error
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._drain = threading.Thread(target=self._keep_stderr, args=(self._process, self._stderr), daemon=True)
        self._drain.start()
        reply = self._exchange(Hello(id=self._next()), seconds=self._hello_seconds)
        match reply:
            case HelloReply(protocol=protocol) if protocol == PROTOCOL_VERSION:
                return Identity(
                    engine=reply.engine,
                    version=reply.version,
                    capabilities=frozenset(reply.capabilities),
                    conventions=reply.conventions,
                )
            case HelloReply(protocol=protocol):
                raise _Trouble(f"speaks protocol {protocol}; {PROTOCOL_VERSION} was expected")
            case _:
                raise _Trouble(f"answered hello with {_quoted(str(reply))}")

    @staticmethod
    def _keep_stderr(process: subprocess.Popen[bytes], kept: bytearray) -> None:
        """Read standard error to its end, so that the engine never waits for us, and keep the last of it."""
        assert process.stderr is not None
        with suppress(OSError, ValueError):
            while chunk := process.stderr.read(_READ_BYTES):
                kept += chunk
                del kept[:-_STDERR_BYTES_KEPT]

    def _kill(self) -> None:
        """Kill the whole process group and reap it; nothing is left open."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._drain.join(timeout=SHUTDOWN_SECONDS)
        if process.stderr is not None and not self._drain.is_alive():
            process.stderr.close()

    def _next(self) -> int:
        self._requests += 1
        return self._requests

    # Asking -------------------------------------------------------------------------------------------------------

    def _ask(self, request: Request, expected: type[R]) -> R:
        name = type(request).__name__.lower()
        try:
            reply = self._exchange(request, seconds=self._request_seconds)
        except _Trouble as trouble:
            self._kill()
            raise EngineFailure(f"{name}: the engine {trouble}") from trouble
        if isinstance(reply, Failed):
            raise EngineFailure(f"{name}: the engine says that it failed: {_quoted(reply.message)}")
        if not isinstance(reply, expected):
            raise EngineFailure(f"{name}: answered with {type(reply).__name__}; {expected.__name__} was expected")
        return reply

    def _write(self, request: Request) -> None:
        if self._process is None:
            raise _Trouble("is not running")
        assert self._process.stdin is not None
        data = memoryview(encode(request) + b"\n")
        try:
            while data:
                written = self._process.stdin.write(data)
                data = data[written or 0 :]
        except OSError as error:
            raise _Trouble(f"takes no more input{self._last_words()}") from error

    def _exchange(self, request: Request, *, seconds: float) -> Reply:
        self._write(request)
        line = self._read_line(monotonic() + seconds, seconds)
        try:
            reply: Reply = decode(line, Reply)
        except WireError as error:
            raise _Trouble(f"answered what is not in the protocol: {error}: {_quoted_bytes(line)}") from error
        if reply.id != request.id:
            raise _Trouble(f"answered request {reply.id}; {request.id} was asked")
        return reply

    def _read_line(self, deadline: float, seconds: float) -> bytes:
        """One line, without its end; no more than `LINE_BYTES_MAX` bytes are ever kept."""
        assert self._process is not None
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            searched = 0
            while True:
                end = self._buffer.find(b"\n", searched)
                if end >= 0:
                    line = bytes(self._buffer[:end])
                    del self._buffer[: end + 1]
                    return line
                searched = len(self._buffer)
                if searched > LINE_BYTES_MAX:
                    raise _Trouble(f"wrote a line of more than {LINE_BYTES_MAX} bytes")
                if not selector.select(max(0.0, deadline - monotonic())):
                    raise _Trouble(f"did not answer within {seconds:g} s{self._last_words()}")
                chunk = stdout.read(_READ_BYTES)
                if chunk == b"":
                    raise _Trouble(f"ended{self._ending()}{self._last_words()}")
                self._buffer += chunk or b""

    def _ending(self) -> str:
        """How the process ended, in words."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(SHUTDOWN_SECONDS)
            return f" by signal {-status}" if status < 0 else f" with exit status {status}"
        return " its output"

    def _last_words(self) -> str:
        self._drain.join(timeout=0.2)
        return f"; its last words: {_quoted_bytes(bytes(self._stderr[-_QUOTED:]))}" if self._stderr else ""


def _quoted(text: str) -> str:
    """Untrusted text for a message: bounded, and nothing in it moves a cursor."""
    cut = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}... ({len(text)} characters)"
    return cut.encode("unicode_escape").decode("ascii")


def _quoted_bytes(data: bytes) -> str:
    cut = data[:_QUOTED]
    return ascii(cut.decode("utf-8", "replace")) + (f"... ({len(data)} bytes)" if len(cut) < len(data) else "")
