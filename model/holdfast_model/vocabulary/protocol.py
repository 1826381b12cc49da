"""The wire protocol, version 1: JSON Lines over an engine's standard input and output (docs/protocol.md).

A request carries a number, and its reply the same number. Requests are answered in order.
"""

from typing import Annotated

from msgspec import Meta, Struct

from holdfast_model.vocabulary.capabilities import Capability, Convention
from holdfast_model.vocabulary.commands import Command
from holdfast_model.vocabulary.history import Answer, JournalRecord
from holdfast_model.vocabulary.operations import ReplicaId
from holdfast_model.vocabulary.setup import Setup
from holdfast_model.vocabulary.views import View

PROTOCOL_VERSION = 1
LINE_BYTES_MAX = 16 * 1024 * 1024
DATA_DIRECTORY_VARIABLE = "HOLDFAST_DATA_DIR"
"""Environment variable that tells the engine where to keep what must survive it."""

_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class _Message(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    id: _Count


class Hello(_Message, tag="hello", frozen=True, kw_only=True):
    """The first request: who are you, and what can you do? An engine with state in its data directory recovers it."""

    protocol: int = PROTOCOL_VERSION


class Reset(_Message, tag="reset", frozen=True, kw_only=True):
    """Forget everything, on disk too, and begin with this setup."""

    setup: Setup


class Submit(_Message, tag="submit", frozen=True, kw_only=True):
    """Commands that arrive together; one command alone is the usual case. With a `replica` they are handed to it."""

    commands: tuple[Command, ...]
    replica: ReplicaId | None = None


class Observe(_Message, tag="observe", frozen=True, kw_only=True):
    """Show a view; with `since_seq`, tell also what was decided after that number."""

    since_seq: _Count | None = None


class Snapshot(_Message, tag="snapshot", frozen=True, kw_only=True):
    """Write a snapshot of the state to the data directory."""


class Restore(_Message, tag="restore", frozen=True, kw_only=True):
    """Rebuild the state from the last snapshot and the journal after it."""


class Shutdown(_Message, tag="shutdown", frozen=True, kw_only=True):
    """Answer and exit with status 0."""


Request = Hello | Reset | Submit | Observe | Snapshot | Restore | Shutdown


class HelloReply(_Message, tag="hello_reply", frozen=True, kw_only=True):
    """Who the engine is, what it can do, and which of its documented behaviours differ from the reference's."""

    protocol: int
    engine: Annotated[str, Meta(max_length=100)]
    version: Annotated[str, Meta(max_length=100)]
    capabilities: tuple[Capability, ...]
    conventions: tuple[Convention, ...] = ()


class SubmitReply(_Message, tag="submit_reply", frozen=True, kw_only=True):
    """One answer for each command, in the order in which the commands were given."""

    answers: tuple[Answer, ...]


class ObserveReply(_Message, tag="observe_reply", frozen=True, kw_only=True):
    """The view, and with `since_seq` all records after it."""

    view: View
    resent: tuple[JournalRecord, ...] = ()


class Done(_Message, tag="done", frozen=True, kw_only=True):
    """The answer to reset, snapshot, restore and shutdown."""


class Failed(_Message, tag="failed", frozen=True, kw_only=True):
    """The request could not be carried out; for a person to read. The harness reports it as a finding."""

    message: Annotated[str, Meta(max_length=4096)]


Reply = HelloReply | SubmitReply | ObserveReply | Done | Failed
