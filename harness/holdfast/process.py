"""An engine as a process of its own: started, spoken to over the wire protocol, really killed, started again."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from msgspec import Struct

from holdfast.child import Child, ChildTroubleError, quoted
from holdfast.engine import EngineFailure, Identity
from holdfast_model.errors import HoldfastError, InconclusiveError
from holdfast_model.vocabulary import Answer, Command, CrashPoint, JournalRecord, ReplicaId, Setup, View
from holdfast_model.vocabulary.protocol import (
    DATA_DIRECTORY_VARIABLE,
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
IN_FLIGHT_SECONDS = 0.1

R = TypeVar("R", bound=HelloReply | SubmitReply | ObserveReply | Done)


class ProcessEngine:
    """An engine on the wire protocol (docs/protocol.md), in its own process group, without a shell.

    Raises `HoldfastError` when the command is none, `InconclusiveError` when it cannot be brought to say hello, and
    `EngineFailure` for everything that goes wrong after that. A context manager: on leaving it, however that comes
    about, nothing of the engine is left.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        data_directory: Path,
        hello_seconds: float = HELLO_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        if not argv or not argv[0]:
            raise HoldfastError("the command of an engine is empty")
        if any("\0" in word for word in argv):
            raise HoldfastError(f"the command of an engine has a zero byte in it: {quoted(' '.join(argv))}")
        self._argv = list(argv)
        self._directory = data_directory.absolute()
        self._hello_seconds = hello_seconds
        self._request_seconds = request_seconds
        self._child: Child | None = None
        self._requests = 0
        try:
            self._identity = self._start()
        except ChildTroubleError as trouble:
            words = f"{trouble}{self._last_words()}"
            self._kill()
            raise InconclusiveError(f"no engine: {self._shown()} {words}") from trouble
        except BaseException:
            self._kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def identity(self) -> Identity:
        """Who it is and what it can do."""
        return self._identity

    def reset(self, setup: Setup) -> None:
        """Begin anew; a process that is not running is started first."""
        if self._child is None:
            self.restart()
        self._ask(Reset(id=self._next(), setup=setup), Done)

    def submit(self, commands: Sequence[Command], replica: ReplicaId | None = None) -> tuple[Answer, ...]:
        """Hand over commands that arrive together, maybe to one replica."""
        request = Submit(id=self._next(), commands=tuple(commands), replica=replica)
        answers = self._ask(request, SubmitReply).answers
        if len(answers) != len(commands):
            raise EngineFailure(f"{_named(request)}: {len(answers)} answers to {len(commands)} commands")
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
        if in_flight is not None and self._child is not None:
            request = Submit(id=self._next(), commands=(in_flight,))
            self._child.post(encode(request), seconds=IN_FLIGHT_SECONDS)
        self._kill()

    def restart(self) -> None:
        """Start it again on the same data directory; it must be the same engine."""
        self._kill()
        try:
            identity = self._start()
        except ChildTroubleError as trouble:
            words = f"{trouble}{self._last_words()}"
            self._kill()
            raise EngineFailure(f"restart: the engine {words}") from trouble
        except BaseException:
            self._kill()
            raise
        if identity != self._identity:
            self._kill()
            raise EngineFailure(f"restart: {_changed(self._identity, identity)}")

    def close(self) -> None:
        """Ask it to shut down, and kill what is left of its process group."""
        try:
            if self._child is not None:
                with suppress(ChildTroubleError):
                    self._child.exchange(encode(Shutdown(id=self._next())), seconds=SHUTDOWN_SECONDS)
                    self._child.ended(within=SHUTDOWN_SECONDS)
        finally:
            self._kill()

    # The process --------------------------------------------------------------------------------------------------

    def _shown(self) -> str:
        return quoted(" ".join(self._argv))

    def _start(self) -> Identity:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._child = Child(self._argv, environment={**os.environ, DATA_DIRECTORY_VARIABLE: str(self._directory)})
        match self._exchange(Hello(id=self._next()), seconds=self._hello_seconds):
            case HelloReply(protocol=protocol) as reply if protocol == PROTOCOL_VERSION:
                return Identity(
                    engine=reply.engine,
                    version=reply.version,
                    capabilities=frozenset(reply.capabilities),
                    conventions=reply.conventions,
                )
            case HelloReply(protocol=protocol):
                raise ChildTroubleError(f"speaks protocol {protocol}; {PROTOCOL_VERSION} was expected")
            case Failed(message=message):
                raise ChildTroubleError(f"answered hello with a failure: {quoted(message)}")
            case other:
                raise ChildTroubleError(f"answered hello with {_named(other)}")

    def _kill(self) -> None:
        """Kill the whole process group and reap it; nothing is left open."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _last_words(self) -> str:
        return self._child.last_words() if self._child is not None else ""

    def _next(self) -> int:
        self._requests += 1
        return self._requests

    # Asking -------------------------------------------------------------------------------------------------------

    def _ask(self, request: Request, expected: type[R]) -> R:
        try:
            reply = self._exchange(request, seconds=self._request_seconds)
        except ChildTroubleError as trouble:
            words = f"{trouble}{self._last_words()}"
            self._kill()
            raise EngineFailure(f"{_named(request)}: the engine {words}") from trouble
        if isinstance(reply, Failed):
            raise EngineFailure(f"{_named(request)}: the engine says that it failed: {quoted(reply.message)}")
        if not isinstance(reply, expected):
            raise EngineFailure(f"{_named(request)}: answered with {_named(reply)}; {_tag(expected)} was expected")
        return reply

    def _exchange(self, request: Request, *, seconds: float) -> Reply:
        if self._child is None:
            raise ChildTroubleError("is not running")
        line = self._child.exchange(encode(request), seconds=seconds)
        try:
            reply: Reply = decode(line, Reply)
        except (WireError, RecursionError) as error:
            raise ChildTroubleError(f"wrote what is not in the protocol ({error}): {quoted(line)}") from error
        if reply.id != request.id:
            raise ChildTroubleError(f"answered request {reply.id}; {request.id} was asked")
        return reply


def _tag(message: type[Struct]) -> str:
    return str(message.__struct_config__.tag)


def _named(message: Request | Reply) -> str:
    return f"{_tag(type(message))} (request {message.id})"


def _changed(before: Identity, after: Identity) -> str:
    """What an engine says of itself otherwise than before."""
    told = [
        f"its {field} is {quoted(_said(after, field))} and was {quoted(_said(before, field))}"
        for field in Identity.__struct_fields__
        if getattr(before, field) != getattr(after, field)
    ]
    return f"it is not the same engine: {', '.join(told)}"


def _said(identity: Identity, field: str) -> str:
    value = getattr(identity, field)
    return ", ".join(sorted(map(str, value))) if isinstance(value, frozenset) else str(value)
