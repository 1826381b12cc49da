"""An engine under test, however it is reached: in this process or as a process of its own on the wire protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct

from holdfast.version import __version__
from holdfast_engine.exchange import Exchange, Parts
from holdfast_engine.storage import MemoryStorage
from holdfast_model.vocabulary import (
    Answer,
    Capability,
    Command,
    Convention,
    CrashPoint,
    JournalRecord,
    ReplicaId,
    Setup,
    View,
)

HUNG = "did not answer within"
"""Stands in the message of a failure that was found by waiting, so that it is not looked for over and over."""


class EngineFailure(Exception):  # noqa: N818 - it is a finding about the engine, not an error of ours
    """After its hello the engine died, hung, or said what is not in the protocol, and the harness did not cause it.

    The message says what happened and at which request; it is a finding, exit status 1.
    """


class Identity(Struct, frozen=True, kw_only=True):
    """Who an engine said it is in its hello."""

    engine: str
    version: str
    capabilities: frozenset[Capability]
    conventions: tuple[Convention, ...] = ()


class Engine(Protocol):
    """What the harness can do to an engine. After `crash` only `restart` and `close` are allowed."""

    @property
    def identity(self) -> Identity:
        """Who it is and what it can do."""

    def reset(self, setup: Setup) -> None:
        """Begin anew; also after a crash."""

    def submit(self, commands: Sequence[Command], replica: ReplicaId | None = None) -> tuple[Answer, ...]:
        """Hand over commands that arrive together, maybe to one replica; one answer each, in order."""

    def observe(self, since_seq: int | None = None) -> tuple[View, tuple[JournalRecord, ...]]:
        """The view now, and what was decided after a sequence number, where one is given."""

    def snapshot(self) -> None:
        """Have a snapshot written."""

    def restore(self) -> None:
        """Have the state rebuilt from snapshot and journal."""

    def crash(self, in_flight: Command | None, point: CrashPoint) -> None:
        """Kill the process, with a command in flight whose answer nobody hears."""

    def restart(self) -> None:
        """Start it again where it was."""

    def close(self) -> None:
        """End it; it cannot be used again."""


class LocalEngine:
    """The reference exchange in this process, on storage that outlives its crashes.

    With a fault planted (`parts`), an exception of the exchange is a finding, as the death of a process would be; the
    healthy reference raises none, and one that it raises all the same is a bug of ours.
    """

    def __init__(self, *, name: str = "holdfast-reference", parts: Parts | None = None) -> None:
        self._parts = parts
        self._storage = MemoryStorage()
        self._exchange = Exchange(self._storage, parts)
        self._identity = Identity(engine=name, version=__version__, capabilities=frozenset(Capability))

    @property
    def identity(self) -> Identity:
        """Who it is and what it can do."""
        return self._identity

    def limit(self, capabilities: frozenset[Capability]) -> None:
        """Declare less than it can do, to be compared with an engine that cannot do it."""
        self._identity = Identity(
            engine=self._identity.engine,
            version=self._identity.version,
            capabilities=capabilities,
            conventions=self._identity.conventions,
        )

    def reset(self, setup: Setup) -> None:
        """Begin anew."""
        self._storage = MemoryStorage()
        with self._failing("reset"):
            self._exchange = Exchange(self._storage, self._parts)
            self._exchange.reset(setup)

    def submit(self, commands: Sequence[Command], replica: ReplicaId | None = None) -> tuple[Answer, ...]:
        """Hand over commands that arrive together, maybe to one replica."""
        try:
            return self._exchange.submit(commands, replica)
        except Exception as error:
            if self._parts is None:
                raise
            raise _failure("submit", error) from error

    def observe(self, since_seq: int | None = None) -> tuple[View, tuple[JournalRecord, ...]]:
        """The view now, and what was decided after a sequence number."""
        try:
            return self._exchange.view(), () if since_seq is None else self._exchange.resend(since_seq)
        except Exception as error:
            if self._parts is None:
                raise
            raise _failure("observe", error) from error

    def snapshot(self) -> None:
        """Have a snapshot written."""
        with self._failing("snapshot"):
            self._exchange.snapshot()

    def restore(self) -> None:
        """Have the state rebuilt."""
        with self._failing("restore"):
            self._exchange.restore()

    def crash(self, in_flight: Command | None, point: CrashPoint) -> None:
        """Let the exchange come as far with the command as the point says, and forget all that is not in storage."""
        if in_flight is not None:
            with self._failing("crash"):
                self._exchange.crash(in_flight, point)
        del self._exchange

    def restart(self) -> None:
        """Make the exchange anew on the same storage."""
        with self._failing("restart"):
            self._exchange = Exchange(self._storage, self._parts)

    @contextmanager
    def _failing(self, request: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._parts is None:
                raise
            raise _failure(request, error) from error

    def close(self) -> None:
        """Nothing outlives it."""


def _failure(request: str, error: Exception) -> EngineFailure:
    return EngineFailure(f"{request}: the engine failed with {type(error).__name__}: {error}")
