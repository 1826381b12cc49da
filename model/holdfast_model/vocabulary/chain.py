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
_LATELY_MAX = 64
_Encoded = tuple[tuple[Event, ...], Command, int, int, bytes]
_lately: dict[int, _Encoded] = {}
"""The JSON of the last records by the identity of their events, and what else is in it.

Who looks at an exchange in the same process looks at the very values that the exchange sealed: they are frozen, so
that their JSON is the same. That of equal values which are not the same is made anew.
"""


class JournalBody(Struct, frozen=True, kw_only=True, gc=False):
    """A journal record before it is sealed with its hash."""

    seq: int
    epoch: int
    command: Command
    events: tuple[Event, ...]


def seal(previous: Sha256, body: JournalBody) -> tuple[bytes, Sha256]:
    """The link of the chain, which is the previous head and the record's JSON, and its hash: the head after it."""
    link = previous.encode("ascii") + _encoded(body)
    return link, sha256(link).hexdigest()


def head_after(previous: Sha256, seq: int, epoch: int, command: Command, events: tuple[Event, ...]) -> Sha256:
    """The head after a record, for those who keep no links: `seal(previous, body)[1]`."""
    known = _lately.get(id(events))
    # What is kept there keeps its identity: no other events can have it meanwhile.
    if known is not None and known[0] is events and known[1] is command and known[2] == seq and known[3] == epoch:
        encoded = known[4]
    else:
        encoded = _encoded(JournalBody(seq=seq, epoch=epoch, command=command, events=events))
    return sha256(previous.encode("ascii") + encoded).hexdigest()


def _encoded(body: JournalBody) -> bytes:
    """The canonical JSON of a record."""
    if len(_lately) >= _LATELY_MAX:
        _lately.clear()
    encoded = CANONICAL.encode(body)
    _lately[id(body.events)] = (body.events, body.command, body.seq, body.epoch, encoded)
    return encoded
