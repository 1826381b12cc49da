"""Shrinking: the smallest sequence that still shows the same violation.

Delta debugging over the steps (Zeller and Hildebrandt 2002), then over each burst's commands, then smaller numbers.
The predicate runs the candidate from the start each time, so that what comes out replays as it is.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from holdfast.engine import HUNG
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    Burst,
    Crash,
    CreditDeposit,
    PlaceOrder,
    RequestWithdrawal,
    SizeLots,
    Step,
)

Steps = tuple[Step, ...]
RUNS_MAX = 2_000
RUNS_MAX_FAILING = 100
"""For the failure of an engine, each run of which starts a process anew."""
RUNS_MAX_HUNG = 3
"""For an engine that hangs, each run of which waits for it."""


def runs_for(failure: str) -> int:
    """How many candidates may be run for an engine that failed with this message, or "" for one that did not."""
    if not failure:
        return RUNS_MAX
    return RUNS_MAX_HUNG if HUNG in failure else RUNS_MAX_FAILING


class _Budget:
    """Counts the runs of the predicate, so that shrinking ends."""

    def __init__(self, shows: Callable[[Steps], bool], runs_max: int) -> None:
        self._shows = shows
        self._runs_max = runs_max
        self._seen: dict[Steps, bool] = {}

    def shows(self, steps: Steps) -> bool:
        if steps not in self._seen:
            if len(self._seen) >= self._runs_max:
                return False
            self._seen[steps] = self._shows(steps)
        return self._seen[steps]


def shrink(steps: Steps, shows: Callable[[Steps], bool], *, runs_max: int = RUNS_MAX) -> Steps:
    """A sequence of which no single step, command of a burst or smaller number can be taken without losing `shows`.

    At most `runs_max` candidates are run; after that the smallest found so far is returned.
    """
    budget = _Budget(shows, runs_max)
    assert budget.shows(steps), "the sequence to shrink must show what is looked for"
    while True:
        smaller = _fewer_steps(steps, budget)
        for candidates in (_simpler, _smaller_numbers):
            smaller = _first_that_shows(smaller, candidates, budget)
        if smaller == steps:
            return steps
        steps = smaller


def _fewer_steps(steps: Steps, budget: _Budget) -> Steps:
    width = max(1, len(steps) // 2)
    while width:
        start = 0
        while start < len(steps):
            candidate = steps[:start] + steps[start + width :]
            if candidate and budget.shows(candidate):
                steps = candidate
            else:
                start += width
        width //= 2
    return steps


def _first_that_shows(steps: Steps, candidates: Callable[[Steps], Iterator[Steps]], budget: _Budget) -> Steps:
    """Take the first candidate that still shows it, and begin again from there."""
    progress = True
    while progress:
        progress = False
        for candidate in candidates(steps):
            if budget.shows(candidate):
                steps, progress = candidate, True
                break
    return steps


def _with(steps: Steps, position: int, step: Step) -> Steps:
    return (*steps[:position], step, *steps[position + 1 :])


def _simpler(steps: Steps) -> Iterator[Steps]:
    """Bursts with a command less, crashes with nothing in flight."""
    for position, step in enumerate(steps):
        if isinstance(step, Burst):
            for gone in range(len(step.commands)):
                rest = (*step.commands[:gone], *step.commands[gone + 1 :])
                if len(rest) == 1:
                    yield _with(steps, position, rest[0])
                elif rest:
                    yield _with(steps, position, Burst(commands=rest))
        elif isinstance(step, Crash) and step.in_flight is not None:
            yield _with(steps, position, Crash())


def _smaller_numbers(steps: Steps) -> Iterator[Steps]:
    """Sizes of one lot, then of half; deposits and withdrawals likewise."""
    for position, step in enumerate(steps):
        if isinstance(step, PlaceOrder | AmendOrder):
            for size in sorted({1, step.size_lots // 2} - {0, step.size_lots}):
                yield _with(steps, position, replace(step, size_lots=SizeLots(size)))
        elif isinstance(step, CreditDeposit | RequestWithdrawal):
            for amount in sorted({1, step.amount // 2} - {0, step.amount}):
                yield _with(steps, position, replace(step, amount=Amount(amount)))
