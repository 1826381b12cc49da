"""The journal: every decided command with its events, chained by hash, durable before it is acknowledged."""

from holdfast_engine.storage import Storage
from holdfast_model.vocabulary import Command, Events, JournalRecord, Sha256
from holdfast_model.vocabulary.chain import GENESIS, JournalBody, seal
from holdfast_model.vocabulary.wire import WireError, decode

LOG = "journal"


class JournalCorruptError(Exception):
    """The journal on disk is not one unbroken chain; an exchange must not start from it."""


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

    def chain(self, records: list[JournalRecord], record: JournalRecord) -> None:
        """Add a record that was read to those before it; its number must be the next."""
        if record.seq != len(records) + 1:
            raise JournalCorruptError(f"journal record {len(records) + 1}: has sequence number {record.seq}")
        records.append(record)

    def load(self) -> list[JournalRecord]:
        """All records, with `head` set to the last one's hash. Complexity: the whole journal.

        Raises `JournalCorruptError` where a record cannot be read or the sequence has a gap. The hashes are
        recomputed by auditors (AUDIT-1), not at each start.
        """
        records: list[JournalRecord] = []
        for number, line in enumerate(self._storage.lines(LOG), start=1):
            try:
                record = decode(line, JournalRecord)
            except WireError as error:
                raise JournalCorruptError(f"journal record {number}: {error}") from error
            self.chain(records, record)
        self.head = records[-1].journal_sha256 if records else GENESIS
        return records
