"""All states that a search has found, numbered in breadth-first order, and the table that finds a state's number.

States are kept as packed words, and a candidate is compared with the whole state that it may equal: two states are
never taken for one.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from holdfast_model.checkers.vectorise import Indices, Words

Numbers = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]
Scalar = TypeVar("Scalar", bound=np.generic)

STATES_MAX = 1 << 30
"""State numbers are 32 bits wide, also where they say in which of two parts a state lies."""

_REINSERTED_STATES = 1 << 16
"""Reinserted at a time, so that the working arrays stay in the cache."""


class LimitReachedError(Exception):
    """The search must stop cleanly; the message says which limit."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Successors that may be new: words, hashes, and the numbers of their parents and of the steps taken."""

    words: Words
    hashes: Hashes
    parents: Numbers
    steps: Numbers


def hashed(words: Words) -> Hashes:
    """A 64-bit hash of each state; the table uses its highest bits."""
    mixed = words[0] * np.uint64(0x9E3779B97F4A7C15)
    for number, word in enumerate(words[1:], start=1):
        mixed ^= mixed >> np.uint64(29)
        mixed += word * np.uint64((0xBF58476D1CE4E5B9 + 0x632BE59BD9B4E01A * number) % (1 << 64) | 1)
        mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    return mixed


class States:
    """States by number, the number of each one's first parent and of the step that led to it."""

    def __init__(self, words: int, *, memory_bytes_max: int) -> None:
        self.count = 0
        self.words: Words = [np.empty(1 << 12, np.uint64) for _ in range(words)]
        self.parent = np.empty(1 << 12, np.int32)
        self.via = np.empty(1 << 12, np.int32)
        self.kept_besides = 0
        """Bytes that the search keeps elsewhere; they count towards the limit, too."""
        self._table = np.full(1 << 14, -1, np.int32)
        self._memory_bytes_max = memory_bytes_max

    @staticmethod
    def _slots(hashes: Hashes, table: Numbers) -> npt.NDArray[np.int64]:
        return (hashes >> np.uint64(64 - (len(table) - 1).bit_length())).view(np.int64)

    def _room_for(self, more: int) -> None:
        """Make room for this many further states, within the memory limit."""
        needed = self.count + more
        if needed > STATES_MAX:
            raise LimitReachedError(f"limit of {STATES_MAX} states in one part")
        capacity, table = len(self.parent), len(self._table)
        while capacity < needed:
            capacity += capacity // 2
        while table < 2 * needed:
            table *= 2
        kept = capacity * (8 * len(self.words) + 8) + 4 * table + self.kept_besides
        copied = 8 * len(self.parent) if capacity > len(self.parent) else 0
        if kept + copied > self._memory_bytes_max:
            raise LimitReachedError(f"memory limit of {self._memory_bytes_max} bytes")
        if capacity > len(self.parent):
            self.words = [_grown(word, capacity, used=self.count) for word in self.words]
            self.parent = _grown(self.parent, capacity, used=self.count)
            self.via = _grown(self.via, capacity, used=self.count)
        if table > len(self._table):
            larger = np.full(table, -1, np.int32)
            self._reinsert_all(larger)
            self._table = larger

    def _reinsert(self, table: Numbers, words: Words, numbers: Numbers) -> None:
        slots = self._slots(hashed(words), table)
        mask = len(table) - 1
        while numbers.size:
            free = table.take(slots) < 0
            table[slots[free]] = numbers[free]
            lost = table.take(slots) != numbers
            numbers = numbers[lost]
            slots = (slots[lost] + 1) & mask

    def load(self, words: Words, parent: Numbers, via: Numbers) -> None:
        """Take over different states, in their order, where there are none yet. Raises at a limit."""
        assert not self.count
        self._room_for(len(parent))
        self.count = len(parent)
        for kept, word in zip(self.words, words, strict=True):
            kept[: self.count] = word
        self.parent[: self.count], self.via[: self.count] = parent, via
        self._table.fill(-1)
        self._reinsert_all(self._table)

    def _reinsert_all(self, table: Numbers) -> None:
        for start in range(0, self.count, _REINSERTED_STATES):
            stop = min(start + _REINSERTED_STATES, self.count)
            self._reinsert(table, [word[start:stop] for word in self.words], np.arange(start, stop, dtype=np.int32))

    def add(self, candidates: Candidates) -> Numbers:
        """The number of each of these states; a new one gets one, and keeps one parent. Raises at a limit."""
        words, size = candidates.words, len(candidates.parents)
        numbers = np.empty(size, np.int32)
        self._room_for(size)
        table = self._table
        slots = self._slots(candidates.hashes, table)
        mask = len(table) - 1
        pending: Indices = np.arange(size)
        while pending.size:
            found = table.take(slots)
            free = found < 0
            if free.any():
                contenders, places = pending[free], slots[free]
                table[places] = -2 - contenders.astype(np.int32)
                won = table.take(places) == -2 - contenders.astype(np.int32)
                winners = contenders[won]
                first, last = self.count, self.count + len(winners)
                for kept, word in zip(self.words, words, strict=True):
                    kept[first:last] = word.take(winners)
                self.parent[first:last] = candidates.parents.take(winners)
                self.via[first:last] = candidates.steps.take(winners)
                table[places[won]] = np.arange(first, last, dtype=np.int32)
                self.count = last
                found = table.take(slots)
            differs = self.words[0].take(found) != words[0].take(pending)
            for kept, word in zip(self.words[1:], words[1:], strict=True):
                differs |= kept.take(found) != word.take(pending)
            numbers[pending] = found
            pending = pending[differs]
            slots = (slots[differs] + 1) & mask
        return numbers


def _grown(old: npt.NDArray[Scalar], capacity: int, *, used: int) -> npt.NDArray[Scalar]:
    new = np.empty(capacity, old.dtype)
    new[:used] = old[:used]
    return new
