"""Sharing work among processes, one for each core: what a process costs that dies or hangs is its item, and no other.

Results come in the order of the items, whoever made them, so that what is done with them does not depend on how many
cores there are. Each process has one item at a time, so that it is known what it was at when it died.
"""

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Event, Thread
from time import monotonic, sleep
from traceback import format_exc
from types import FrameType
from typing import Generic, TypeVar

from msgspec import Struct

from holdfast.child import kill_children

T = TypeVar("T")
R = TypeVar("R")

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TRIES_MAX = 2
"""How many processes may die at one item: the first may have died of something else."""

ENDING_SECONDS_MAX = 2
"""How long a process may take to end, its engines' folders included, once it is asked to."""

# A fresh interpreter each: a fork would take the solvers' threads and locks along.
_CONTEXT = get_context("spawn")


class Beside(Generic[R]):
    """Work that a thread begins at once, and that mostly waits for other processes, while this one does other things.

    It is asked to end when it is left before it ended, as by an interrupt: `work` is given what raises then.
    """

    def __init__(self, work: Callable[[Callable[[], None]], R]) -> None:
        self._left = Event()
        self._outcome: tuple[R | None, BaseException | None] | None = None
        self.seconds = 0.0
        """How long it took, once it has ended."""

        def run() -> None:
            start = monotonic()
            try:
                self._outcome = (work(self._go_on), None)
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
                self._outcome = (None, error)
            self.seconds = monotonic() - start

        self._thread = Thread(target=run, daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        """Nothing, or `InterruptedError` where nobody waits for the result any more."""
        if self._left.is_set():
            raise InterruptedError

    def goes_on(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def leave(self) -> None:
        """Let it end at its next step."""
        self._left.set()

    def result(self, meanwhile: Callable[[], object]) -> R:
        """What came of it; until it ends `meanwhile` is called every second. Raises what it raised."""
        while self._thread.is_alive():
            self._thread.join(1)
            meanwhile()
        assert self._outcome is not None
        result, error = self._outcome
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # where there is no error there is a result


class Lost(Struct, frozen=True):
    """Stands for the result of an item whose process was lost; `how` says what became of it."""

    how: str


UNWANTED = Lost("it was not wanted any more")


class _Worker(Generic[T]):
    """A process, and the item that it is at since when; None: it waits for one."""

    def __init__(self, work: Callable[[T], object]) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(work, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.place: int | None = None
        self.since = 0.0

    def give(self, place: int, item: T) -> None:
        """Let it begin an item; that it died before that is noticed as if it had been at it."""
        self.place, self.since = place, monotonic()
        with suppress(OSError):
            self.connection.send(item)

    def ask_to_end(self) -> None:
        """Let the process end as by an interrupt: it waits for work, or nobody waits for it."""
        self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the process that was asked to end has put its things away; kill it where that takes too long."""
        self.process.join(max(0.0, deadline - monotonic()))
        self.process.kill()
        self.process.join()
        self.connection.close()


def _end(workers: Sequence[_Worker[T]]) -> None:
    """End them, all within the same time."""
    for worker in workers:
        worker.ask_to_end()
    deadline = monotonic() + ENDING_SECONDS_MAX
    for worker in workers:
        worker.end(deadline)


def _always(item: object) -> bool:
    del item
    return True


def spread(
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    guard_seconds: float,
    workers: Callable[[], int] | int = WORKERS,
    wanted: Callable[[T], bool] = _always,
) -> Generator[R | Lost]:
    """The result for each item, in order, or what became of the process that was to make it.

    A process that is at one item for longer than `guard_seconds` hangs, and is killed. One that dies is tried once
    more. `work` and the items are sent to the processes, so that both must be known by their names there. A single
    item is done in this process, without a guard. An exception of `work` is raised here. How many `workers` there may
    be is asked again whenever one of them has answered: there may be more, not fewer. An item that is not `wanted`
    any more is lost, whatever came of it.
    """
    if len(items) == 1:
        yield work(items[0])
        return
    waiting = deque(range(len(items)))
    tries = [0] * len(items)
    results: dict[int, tuple[R | None, BaseException | None] | Lost] = {}
    crew: list[_Worker[T]] = []

    def give() -> None:
        most = workers() if callable(workers) else workers
        _give(crew, work, items, waiting, results, most=most, wanted=wanted)

    try:
        for place in range(len(items)):
            give()
            while place not in results:
                _collect(crew, guard_seconds, results)
                for worker in [worker for worker in crew if not worker.process.is_alive()]:
                    _bury(worker, tries, waiting, results)
                    crew.remove(worker)
                if place not in results:
                    give()
            found = results.pop(place)
            yield _result(found) if wanted(items[place]) else UNWANTED
    finally:
        _end(crew)


def _give(
    crew: list[_Worker[T]],
    work: Callable[[T], object],
    items: Sequence[T],
    waiting: deque[int],
    results: "dict[int, tuple[R | None, BaseException | None] | Lost]",
    *,
    most: int,
    wanted: Callable[[T], bool],
) -> None:
    """Let each process that is at nothing begin an item, and start others, up to so many.

    What is not wanted any more is not begun, and ended where it was.
    """
    in_vain = [worker for worker in crew if worker.place is not None and not wanted(items[worker.place])]
    for worker in in_vain:
        assert worker.place is not None
        results[worker.place] = UNWANTED
        crew.remove(worker)
    _end(in_vain)
    idle = [worker for worker in crew if worker.place is None]
    while waiting and (idle or len(crew) < max(1, most)):
        place = waiting.popleft()
        if not wanted(items[place]):
            results[place] = UNWANTED
            continue
        if not idle:
            crew.append(_Worker(work))
            idle.append(crew[-1])
        idle.pop().give(place, items[place])


def _collect(
    crew: list[_Worker[T]], guard_seconds: float, results: "dict[int, tuple[R | None, BaseException | None] | Lost]"
) -> None:
    """Wait until a process answers, dies, or is longer at its item than it may be; take in what was answered."""
    busy = [worker for worker in crew if worker.place is not None]
    left = min((worker.since + guard_seconds - monotonic() for worker in busy), default=0.0)
    ready = wait(
        [*(worker.connection for worker in busy), *(worker.process.sentinel for worker in busy)], max(0, left)
    )
    for worker in busy:
        assert worker.place is not None
        if worker.connection in ready:
            try:
                answer = worker.connection.recv()
            except (EOFError, ConnectionError):
                worker.process.join()  # it died
                continue
            if answer is None:
                worker.since = monotonic()
            else:
                results[worker.place], worker.place = answer, None
        elif monotonic() - worker.since > guard_seconds:
            results[worker.place] = Lost(f"its process hung: it was killed after {guard_seconds:g} s")
            worker.place = None
            _end([worker])


def _bury(
    worker: _Worker[T],
    tries: list[int],
    waiting: deque[int],
    results: "dict[int, tuple[R | None, BaseException | None] | Lost]",
) -> None:
    """Take leave of a process that died; what it was at is tried once more."""
    place, status = worker.place, worker.process.exitcode
    worker.connection.close()
    if place is None:
        return
    tries[place] += 1
    if tries[place] < TRIES_MAX:
        waiting.appendleft(place)
    else:
        results[place] = Lost(f"its process died, {_how(status)}, {TRIES_MAX} times over")


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"of {signal.Signals(-status).name}"
    return f"with exit status {status}"


def _result(found: "tuple[R | None, BaseException | None] | Lost") -> R | Lost:
    if isinstance(found, Lost):
        return found
    result, error = found
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # where there is no error there is a result


def _serve(work: Callable[[T], object], connection: Connection) -> None:
    """What a process does: an item, an answer, until nobody asks any more. Interrupts are the parent's matter.

    First it says that it is there, with None: how long it takes to start counts against no item. Where it is told to
    end, what it is at ends as by an interrupt, and its engines at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)
    Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        connection.send(None)
        while True:
            answer = _answer(work, connection.recv())
            connection.send(answer)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
    except (EOFError, OSError):  # nobody is there any more
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _told_to_end(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what is put away then is not to be interrupted
    kill_children()
    signal.default_int_handler(number, frame)


def _answer(work: Callable[[T], object], item: T) -> tuple[object, BaseException | None]:
    """What comes of an item: a result or an exception, either of which can be sent."""
    try:
        result = work(item)
        pickle.dumps(result)
    except Exception as error:  # noqa: BLE001 - it is raised in the parent
        trace = f"in a worker process:\n{format_exc()}"
        error.add_note(trace)
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - what was dumped a moment ago
        except Exception:  # noqa: BLE001 - whatever an exception of others does when it is copied
            return None, RuntimeError(trace)
        return None, error
    return result, None


def _end_with_the_parent() -> None:
    """A parent that was killed asks for nothing any more, and its workers would go on to the end of their items."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(ENDING_SECONDS_MAX)
    os._exit(1)
