"""The states of a search in parts, by their hashes, each of which a process of its own can keep and expand.

Each part expands its own states and sorts their successors by the part that they belong to; then each part adds what
the others have for it, in the order of the parts. There is one part at first, and a fixed number from a certain size
on, so what is found does not depend on how many processes there are. Threads would wait for Python's lock, since a
step is many short calls of numpy (two of them took longer than one): so parts are given to forked processes. These
inherit the generated code; successors go between them through shared memory, and what they found through a pipe.
"""

import mmap
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NoReturn, TypeAlias

import numpy as np

from holdfast_model.checkers.expansion import Expansion, Finding, Program
from holdfast_model.checkers.states import Candidates, Hashes, LimitReachedError, Numbers, States, hashed
from holdfast_model.checkers.vectorise import Flags, Words
from holdfast_model.errors import InconclusiveError

PARTS = 2
"""Into how many parts the states are split: a power of 2. Two processes are what a search can use."""

_STATES_AT_A_TIME = 1 << 16
"""Few enough that what is computed of them stays in the cache."""

_OUTBOX_BYTES_MAX = 1 << 29

_OWNER_SHIFT = np.uint64(20)
"""Which bits of a hash say whose state it is: not those that say where it lies in its part's table."""

Kept: TypeAlias = tuple[tuple[int, ...], int, int]
"""A state's words, its parent and the step that led to it."""

Piece: TypeAlias = tuple[int, int] | None
"""Places in a part, from the first up to the second; None is no place."""

Edges: TypeAlias = tuple[Numbers, Numbers]
"""States and, in the same places, their successors."""


def usable_cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def can_fork() -> bool:
    """Whether a process can be forked here without harm; elsewhere one process does all the work."""
    return sys.platform == "linux"


def owner_of(hashes: Hashes) -> Hashes:
    """The part that each state belongs to."""
    return (hashes >> _OWNER_SHIFT) & np.uint64(PARTS - 1)


class Outbox:
    """Shared memory in which a part leaves successors for the parts that they belong to."""

    def __init__(self, program: Program, piece: int) -> None:
        """`piece` is how many states are expanded at a time at most."""
        # Each state has at most one successor for each step. Pages that nobody touches cost nothing.
        rows = piece * max(1, len(program.instances))
        memory = mmap.mmap(-1, rows * _row_bytes(program))
        wide = np.frombuffer(memory, np.uint64, rows * (program.packing.words + 1)).reshape(-1, rows)
        self._words: Words = [*wide[:-1]]
        self._hashes = wide[-1]
        self._parents, self._steps = np.frombuffer(memory, np.int32, rows * 2, wide.nbytes).reshape(2, rows)

    def put(self, found: Candidates, *, parts: int) -> list[int]:
        """Leave candidates, sorted by their parts; where each part's begin, and the end of all."""
        owners = owner_of(found.hashes)
        bounds = [0]
        for part in range(parts):
            mine = np.flatnonzero(owners == part) if parts > 1 else np.arange(len(owners))
            first, last = bounds[-1], bounds[-1] + len(mine)
            for kept, word in zip(self._words, found.words, strict=True):
                np.take(word, mine, out=kept[first:last], mode="clip")
            np.take(found.hashes, mine, out=self._hashes[first:last], mode="clip")
            np.take(found.parents, mine, out=self._parents[first:last], mode="clip")
            np.take(found.steps, mine, out=self._steps[first:last], mode="clip")
            bounds.append(last)
        return bounds

    def get(self, first: int, last: int) -> Candidates:
        """Candidates in place: they are gone when the box is used again."""
        return Candidates(
            [word[first:last] for word in self._words],
            self._hashes[first:last],
            self._parents[first:last],
            self._steps[first:last],
        )


def _row_bytes(program: Program) -> int:
    return 8 * program.packing.words + 16


def piece_of(program: Program, states_max: int) -> int:
    """How many states can be expanded at a time, at most so many, so that all their successors have room."""
    return max(1, min(states_max, _OUTBOX_BYTES_MAX // (_row_bytes(program) * max(1, len(program.instances)))))


class Part:
    """A part of the states. A state's number comes from its place in its part, and the part: place * parts + part."""

    def __init__(
        self,
        part: int,
        parts: int,
        program: Program,
        outboxes: Sequence[Outbox],
        *,
        memory_bytes_max: int,
        keeps_edges: bool,
    ) -> None:
        self._part = part
        self._parts = parts
        self._program = program
        self._outboxes = outboxes
        self._memory_bytes_max = memory_bytes_max
        self._states = States(program.packing.words, memory_bytes_max=memory_bytes_max // parts)
        self._keeps_edges = keeps_edges
        self._edges: list[Edges] = []
        self._left: list[Edges] = []
        """The steps that may still matter to the question that is being asked of the edges."""

    def _words(self, start: int, stop: int) -> Words:
        return [word[start:stop] for word in self._states.words]

    def expand(self, start: int, stop: int) -> tuple[Expansion, list[int]]:
        """What is to know of the states in these places; their successors are left in the outbox, within bounds."""
        expansion = self._program.expand(self._words(start, stop), start)
        found = expansion.candidates
        bounds = [0] * (self._parts + 1)
        if found is not None:
            numbered = replace(found, parents=self._numbers(found.parents))
            bounds = self._outboxes[self._part].put(numbered, parts=self._parts)
        return self._numbered(expansion), bounds

    def check(self, start: int, stop: int) -> Expansion:
        """What the properties and goals say of the states in these places; they are not expanded."""
        return self._numbered(self._program.checked(self._words(start, stop), start))

    def _numbers(self, places: Numbers) -> Numbers:
        return places * np.int32(self._parts) + np.int32(self._part)

    def _numbered(self, expansion: Expansion) -> Expansion:
        def number(place: int) -> int:
            return place * self._parts + self._part

        findings: list[Finding] = [replace(finding, state=number(finding.state)) for finding in expansion.findings]
        stuck = expansion.stuck_first
        return replace(
            expansion, findings=findings, stuck_first=None if stuck is None else number(stuck), candidates=None
        )

    def add(self, bounds: Sequence[Sequence[int]]) -> tuple[int, bool]:
        """Add what the parts left for this one, in their order; how many states there are, and if all were added."""
        for box, ends in zip(self._outboxes[: self._parts], bounds, strict=True):
            first, last = ends[self._part], ends[self._part + 1]
            for start in range(first, last, _STATES_AT_A_TIME):
                found = box.get(start, min(start + _STATES_AT_A_TIME, last))
                try:
                    places = self._states.add(found)
                except LimitReachedError:
                    return self._states.count, False
                if self._keeps_edges:
                    self._edges.append((found.parents.copy(), self._numbers(places)))
                    self._states.kept_besides += 2 * places.nbytes
        return self._states.count, True

    def add_first(self, candidates: Candidates) -> int:
        """Add the first state; how many states there are."""
        self._states.add(candidates)
        return self._states.count

    def split(self) -> tuple[list["Part"], Numbers]:
        """The states in several parts, in their order, and the new number of each. Raises at a limit."""
        assert self._parts == 1
        count = self._states.count
        words = self._words(0, count)
        owners = owner_of(hashed(words))
        numbers = np.empty(count, np.int32)
        for part in range(PARTS):
            mine = np.flatnonzero(owners == part)
            numbers[mine] = np.arange(len(mine)) * PARTS + part
        parent = self._states.parent[:count]
        parents = np.where(parent < 0, parent, numbers[parent])
        made = []
        for part in range(PARTS):
            other = Part(
                part,
                PARTS,
                self._program,
                self._outboxes,
                memory_bytes_max=self._memory_bytes_max,
                keeps_edges=self._keeps_edges,
            )
            mine = np.flatnonzero(owners == part)
            other._states.load([word[mine] for word in words], parents[mine], self._states.via[mine])
            for sources, targets in self._edges:
                here = owners[targets] == part
                other._edges.append((numbers[sources[here]], numbers[targets[here]]))
                other._states.kept_besides += 2 * other._edges[-1][0].nbytes
            made.append(other)
        return made, numbers

    def kept(self, place: int) -> Kept:
        """What is kept of a state."""
        words = tuple(int(word[place]) for word in self._states.words)
        return words, int(self._states.parent[place]), int(self._states.via[place])

    def responses(self, which: int) -> list[Flags]:
        """The conditions of an eventuality in all states."""
        return self._program.responses(which, self._words(0, self._states.count))

    def names_matter(self, which: int) -> int | None:
        """The first state in which a condition of an eventuality depends on names."""
        for start in range(0, self._states.count, _STATES_AT_A_TIME):
            words = self._words(start, min(start + _STATES_AT_A_TIME, self._states.count))
            judged = self._program.responses(which, words)
            for renamed in self._program.renamed(words):
                for one, other in zip(judged, self._program.responses(which, renamed), strict=True):
                    apart = np.flatnonzero(one != other)
                    if apart.size:
                        return (start + int(apart[0])) * self._parts + self._part
        return None

    def reach_back(self, reaches: Flags, begins: bool) -> Flags:  # noqa: FBT001 - called by name across a pipe
        """These states and all from which a step into this part leads to one of them, again and again.

        `begins` says that another question is asked than in the call before.
        """
        if begins:
            self._left = self._edges
        reaches = reaches.copy()
        count = -1
        while count != (count := int(np.count_nonzero(reaches))):
            left = []
            for sources, targets in self._left[::-1]:
                leads = reaches[targets]
                reaches[sources[leads]] = True
                open_sources, open_targets = sources[~leads], targets[~leads]
                still = ~reaches[open_sources]
                left.append((open_sources[still], open_targets[still]))
            self._left = left[::-1]
        return reaches


class RemotePart:
    """A part that another process keeps. What it is asked to do at the same time as others is begun, then awaited."""

    def __init__(self, part: Part, others: Sequence["RemotePart"]) -> None:
        """The process is forked here and takes over the part as it is."""
        self._pipe, theirs = Pipe()
        with warnings.catch_warnings():
            # Python warns of forking beside threads. This child calls numpy and its pipe, and leaves at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = os.fork()
        if self._process == 0:
            for pipe in (self._pipe, *(other.pipe for other in others)):
                pipe.close()
            _serve(part, theirs)
        theirs.close()

    @property
    def pipe(self) -> Connection:
        """The near end of the pipe between the two processes."""
        return self._pipe

    def begin(self, call: str, *arguments: object) -> None:
        """Begin a call of one of the part's methods."""
        with suppress(ConnectionError):  # `end` tells of it
            self._pipe.send((call, arguments))

    def end(self) -> object:
        """The result of the call that was begun."""
        try:
            result: object = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise InconclusiveError(
                "a process of the search ended unexpectedly; perhaps it was killed for want of memory"
            ) from error
        assert not isinstance(result, _Failed), result
        return result

    def dismiss(self) -> None:
        """End the process, whatever it does."""
        self._pipe.close()
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._process, 0)


class _Failed(str):
    """What went wrong in another process by a bug of ours."""

    __slots__ = ()


def _serve(part: Part, pipe: Connection) -> NoReturn:
    """Do what is asked of a part until the search is gone."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            call, arguments = pipe.recv()
            try:
                result = getattr(part, call)(*arguments)
            except Exception as error:  # noqa: BLE001 - a bug of ours, told to the process that can tell it
                result = _Failed(f"{type(error).__name__} in another process of the search: {error}")
            pipe.send(result)
    finally:
        os._exit(0)


class Parts:
    """All parts, some of them with other processes."""

    def __init__(self, program: Program, *, piece: int, memory_bytes_max: int, keeps_edges: bool) -> None:
        """`piece` is how many states of a part are expanded at a time at most."""
        outboxes = [Outbox(program, piece) for _ in range(PARTS)]
        self._parts: list[Part | RemotePart] = [
            Part(0, 1, program, outboxes, memory_bytes_max=memory_bytes_max, keeps_edges=keeps_edges)
        ]
        self.counts = [0]

    def dismiss(self) -> None:
        """End the other processes."""
        for part in self._remote():
            part.dismiss()

    def _remote(self) -> list[RemotePart]:
        return [part for part in self._parts if isinstance(part, RemotePart)]

    def split(self, workers: int) -> Numbers | None:
        """Split the states into parts for at most so many processes; the new number of each, None if they are.

        Raises at a limit.
        """
        first = self._parts[0]
        if len(self._parts) > 1 or isinstance(first, RemotePart):
            return None
        parts, numbers = first.split()
        self._parts = [*parts]
        self.counts = [int(np.count_nonzero(numbers % PARTS == part)) for part in range(PARTS)]
        self._spread(workers)
        return numbers

    def _spread(self, workers: int) -> None:
        for number, part in enumerate(self._parts):
            if 0 < number < workers and isinstance(part, Part) and can_fork():
                self._parts[number] = RemotePart(part, self._remote())

    def _each(self, call: str, arguments: Callable[[int], tuple[object, ...] | None]) -> list[object]:
        """The results of a method of all parts, at the same time where they are with other processes.

        `arguments` says with what each part is called; None is not at all.
        """
        given = [arguments(number) for number in range(len(self._parts))]
        for part, values in zip(self._parts, given, strict=True):
            if isinstance(part, RemotePart) and values is not None:
                part.begin(call, *values)
        results: list[object] = []
        for part, values in zip(self._parts, given, strict=True):
            if values is None:
                results.append(None)
            else:
                results.append(part.end() if isinstance(part, RemotePart) else getattr(part, call)(*values))
        return results

    def add_first(self, candidates: Candidates) -> None:
        """Add the first state."""
        self.counts = self._each("add_first", lambda _: (candidates,))  # type: ignore[assignment]  # what it returns

    def expand(self, pieces: Sequence[Piece]) -> tuple[list[Expansion], list[list[int]]]:
        """Expand some states of each part; what is to know of them, and where in the outboxes successors lie."""
        results: list[tuple[Expansion, list[int]] | None]
        results = self._each("expand", lambda number: pieces[number])  # type: ignore[assignment]  # what it returns
        nothing = [0] * (len(self._parts) + 1)
        return [r[0] for r in results if r is not None], [nothing if r is None else r[1] for r in results]

    def add(self, bounds: list[list[int]]) -> bool:
        """Add what was left in the outboxes; whether there was memory for all of it."""
        results: list[tuple[int, bool]]
        results = self._each("add", lambda _: (bounds,))  # type: ignore[assignment]  # what it returns
        self.counts = [count for count, _ in results]
        return all(added for _, added in results)

    def cut(self, counts: list[int]) -> None:
        """Look at no more than the first states of each part from now on; nothing is added afterwards."""
        self.counts = counts

    def check(self, pieces: Sequence[Piece]) -> list[Expansion]:
        """What the properties and goals say of some states of each part."""
        results: list[Expansion | None]
        results = self._each("check", lambda number: pieces[number])  # type: ignore[assignment]  # what it returns
        return [result for result in results if result is not None]

    def kept(self, number: int) -> Kept:
        """What is kept of a state."""
        place, part = divmod(number, len(self._parts))
        return self._each("kept", lambda n: (place,) if n == part else None)[part]  # type: ignore[return-value]  # what it returns

    def responses(self, which: int) -> list[Flags]:
        """The conditions of an eventuality by number of state; False where there is no such state."""
        results: list[list[Flags]] = self._each("responses", lambda _: (which,))  # type: ignore[assignment]  # what it returns
        parts = len(self._parts)
        values = [np.zeros(parts * max(self.counts), np.bool_) for _ in results[0]]
        for part, judged in enumerate(results):
            for value, found in zip(values, judged, strict=True):
                value[part : parts * len(found) : parts] = found
        return values

    def names_matter(self, which: int) -> int | None:
        """A state in which a condition of an eventuality depends on names."""
        results: list[int | None] = self._each("names_matter", lambda _: (which,))  # type: ignore[assignment]  # what it returns
        return next((number for number in results if number is not None), None)

    def reach_back(self, reaches: Flags) -> Flags:
        """These states and all from which steps lead to one of them."""
        count = -1
        while count != (now := int(np.count_nonzero(reaches))):
            question = (reaches, count < 0)
            results: list[Flags] = self._each("reach_back", lambda _, question=question: question)  # type: ignore[assignment,misc]  # what it returns
            count, reaches = now, np.logical_or.reduce(results)
        return reaches
