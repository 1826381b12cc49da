"""The journal: every decided command with its events, chained by hash, durable before it is acknowledged.

A line is a link of the chain: the hash of the line before it (64 zeros for the first), then the record as JSON. So
any line that was changed, lost or put in is seen at the next start, without a record being decoded.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from hashlib import sha256
from typing import overload

from holdfast_engine.storage import Storage
from holdfast_model.vocabulary import Command, Events, JournalRecord, Sha256
from holdfast_model.vocabulary.chain import GENESIS, JournalBody, seal
from holdfast_model.vocabulary.wire import WireError, from_canonical

LOG = "journal"

_HEAD_LENGTH = len(GENESIS)
_BEGINNING = re.compile(rb'[0-9a-f]{64}{"seq":([0-9]{1,19}),')
_LINES_KNOWN_MAX = 2_000
"""Of how many lines is known what they say: a journal is read again after every kill, and most of it is as it was."""


class JournalCorruptError(Exception):
    """The journal on disk is not one unbroken chain; an exchange must not start from it."""


class Records(Sequence[JournalRecord]):
    """Journal records, decoded when they are asked for: a restart from a snapshot needs the last few of many."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, place: int) -> JournalRecord: ...
    @overload
    def __getitem__(self, place: slice) -> "Records": ...
    def __getitem__(self, place: int | slice) -> "JournalRecord | Records":
        """A record, or without decoding anything a part of them."""
        if isinstance(place, slice):
            return Records(self._lines[place])
        return _record(self._lines[place])

    def __iter__(self) -> Iterator[JournalRecord]:
        return map(_record, self._lines)

    def telling_of(self, *events: type) -> Iterator[JournalRecord]:
        """The records that tell of an event of these classes."""
        tags = _tags(events)
        return (_record(line) for line in self._lines if _tells(line, tags))


@cache
def _tags(events: tuple[type, ...]) -> tuple[bytes, ...]:
    """What is in a line that tells of such an event, and in no other: a quote within a string is escaped."""
    return tuple(b'{"type":"%b"' % event.__struct_config__.tag.encode() for event in events)  # type: ignore[attr-defined]  # they are structs


@lru_cache(_LINES_KNOWN_MAX)
def _tells(line: bytes, tags: tuple[bytes, ...]) -> bool:
    return any(tag in line for tag in tags)


@lru_cache(_LINES_KNOWN_MAX)
def _link(line: bytes) -> tuple[bytes, int, bytes] | None:
    """Which head a line continues, the number of its record, and the head after it; None: it is no record."""
    beginning = _BEGINNING.match(line)
    if beginning is None:
        return None
    return line[:_HEAD_LENGTH], int(beginning[1]), sha256(line).hexdigest().encode("ascii")


@lru_cache(_LINES_KNOWN_MAX)
def _record(line: bytes) -> JournalRecord:
    body = from_canonical(memoryview(line)[_HEAD_LENGTH:], JournalBody)
    return JournalRecord(
        seq=body.seq,
        epoch=body.epoch,
        command=body.command,
        events=body.events,
        journal_sha256=sha256(line).hexdigest(),
    )


class Journal:
    """An append-only log of records. `head` is the hash after the last one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.head: Sha256 = GENESIS

    def append(self, *, seq: int, epoch: int, command: Command, events: Events) -> None:
        """Write a record; when this returns, it is durable."""
        line, self.head = self.seal(JournalBody(seq=seq, epoch=epoch, command=command, events=events))
        self._storage.append(LOG, line)

    def append_torn(self, *, seq: int, epoch: int, command: Command, events: Events) -> None:
        """Write half a record, as a process does that dies in the middle."""
        line, _ = self.seal(JournalBody(seq=seq, epoch=epoch, command=command, events=events))
        self._storage.append_torn(LOG, line)

    def seal(self, body: JournalBody) -> tuple[bytes, Sha256]:
        """The line of a record and the head after it."""
        return seal(self.head, body)

    def chain(self, lines: list[bytes], line: bytes, *, seq: int) -> None:
        """Add a line that was read to those before it; its record's number must be the next."""
        if seq != len(lines) + 1:
            raise JournalCorruptError(f"journal record {len(lines) + 1}: has sequence number {seq}")
        lines.append(line)

    def load(self) -> Records:
        """All records, with `head` set to the last one's hash. Complexity: the whole journal is hashed, none decoded.

        Raises `JournalCorruptError` where a line is no record, is not what the next one was chained to, or the
        sequence has a gap.
        """
        lines: list[bytes] = []
        head = GENESIS.encode("ascii")
        for number, line in enumerate(self._storage.lines(LOG), start=1):
            link = _link(line)
            if link is None:
                raise JournalCorruptError(f"journal record {number}: is no record")
            before, seq, after = link
            self.chain(lines, line, seq=seq)
            if before != head:
                raise JournalCorruptError(f"journal record {number}: does not continue the record before it")
            head = after
        if lines:
            self._check_last(lines[-1], number=len(lines))
        self.head = head.decode("ascii")
        return Records(lines)

    def _check_last(self, line: bytes, *, number: int) -> None:
        """No line continues the last one, so that its hash proves nothing yet."""
        try:
            _record(line)
        except WireError as error:
            raise JournalCorruptError(f"journal record {number}: {error}") from error
