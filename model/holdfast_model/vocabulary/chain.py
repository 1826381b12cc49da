"""The journal's hash chain: what an auditor recomputes from commands and answers alone.

`sha256(previous head as hex || canonical JSON of {seq, epoch, command, events})`, starting from 64 zeros. An engine
that claims `Capability.JOURNAL` computes the same (docs/protocol.md).
"""

from hashlib import sha256

from msgspec import Struct

from holdfast_model.vocabulary.amounts import Sha256
from holdfast_model.vocabulary.commands import Command
from holdfast_model.vocabulary.events import Event
from holdfast_model.vocabulary.wire import CANONICAL

GENESIS: Sha256 = "0" * 64


class JournalBody(Struct, frozen=True, kw_only=True, gc=False):
    """A journal record before it is sealed with its hash."""

    seq: int
    epoch: int
    command: Command
    events: tuple[Event, ...]


def seal(previous: Sha256, body: JournalBody) -> tuple[bytes, Sha256]:
    """The link of the chain, which is the previous head and the record's JSON, and its hash: the head after it."""
    link = previous.encode("ascii") + CANONICAL.encode(body)
    return link, sha256(link).hexdigest()


def head_after(previous: Sha256, body: JournalBody) -> Sha256:
    """The head after a record, for those who keep no links: `seal(previous, body)[1]`."""
    return sha256(previous.encode("ascii") + CANONICAL.encode(body)).hexdigest()
