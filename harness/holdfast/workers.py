"""Sharing work among processes, one for each core: what a process costs that dies is its own item, and no other.

Results come in the order of the items, whoever made them, so that what is done with them does not depend on how many
cores there are.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Callable[[T], R], items: Sequence[T], *, workers: int = WORKERS) -> Iterator[R | None]:
    """The result for each item, in order; None for one whose process died of it, twice.

    `work` and the items are sent to the processes, so that both must be known by their names there. With one worker,
    or one item, the work is done in this process. An exception of `work` is raised here.
    """
    if workers < 2 or len(items) < 2:  # noqa: PLR2004 - there is nobody to share with, or nothing to share
        yield from map(work, items)
        return
    pool, waits = _pool(workers), True
    try:
        futures = [pool.submit(work, item) for item in items]
        for place, item in enumerate(items):
            try:
                yield futures[place].result()
            except BrokenProcessPool:
                # Whoever was at work when a process died is lost with it: this item is tried alone, the rest anew.
                yield _alone(work, item)
                pool.shutdown(cancel_futures=True)
                pool = _pool(workers)
                futures = _again(pool, work, items, futures, place)
    except KeyboardInterrupt:
        waits = False  # for what is still at work
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)


def _again(
    pool: ProcessPoolExecutor, work: Callable[[T], R], items: Sequence[T], futures: list[Future[R]], place: int
) -> list[Future[R]]:
    """The futures, with those after this place that have no result given to a new pool."""
    return [
        future
        if position <= place or (future.done() and future.exception() is None)
        else pool.submit(work, items[position])
        for position, future in enumerate(futures)
    ]


def _alone(work: Callable[[T], R], item: T) -> R | None:
    pool = _pool(1)
    try:
        return pool.submit(work, item).result()
    except BrokenProcessPool:
        return None
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fresh interpreter each: a fork would take the solvers' threads and locks along.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
