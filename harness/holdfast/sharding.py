"""The examples of several machines, shared among processes in shards of a fixed size.

What a shard does depends on nothing but itself, and what comes of it is taken up in the order of the examples: so the
outcome is the same for any number of processes.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from time import monotonic

from holdfast.counterexamples import Progress
from holdfast.engines import EngineSource
from holdfast.machines import TOGETHER, ExchangeMachine, MachineRun, run_machine
from holdfast.workers import UNWANTED, Lost, spread
from holdfast_model.vocabulary import Setup

SHARD_EXAMPLES = 4 * TOGETHER
"""Enough that starting an engine does not count, few enough that all processes end at about the same time."""

STEP_SECONDS_MAX = 1
"""How long a step may take on average, healing at an example's end included, before a shard counts as hanging."""

OTHER_SECONDS_MAX = 900.0
"""How long all else in a shard may take: the openings, and Hypothesis's shrinking, which gives up after 300 s."""


@dataclass(frozen=True, slots=True)
class MachineWork:
    """A machine, the setup that it runs on, and how many examples it gets."""

    name: str
    machine: type[ExchangeMachine]
    setup: Setup
    examples: int


@dataclass(frozen=True, slots=True)
class _Shard:
    """Consecutive examples of a machine's, from `first`, on the engine of this name."""

    work: MachineWork
    engine: str
    seed: int
    first: int
    steps: int

    @property
    def end(self) -> int:
        """The number of the example behind the last one."""
        return min(self.first + SHARD_EXAMPLES, self.work.examples)


class MachineOutcome:
    """What came of a machine's shards so far. `lost` says of which examples nothing is known, and why."""

    def __init__(self) -> None:
        self.run = MachineRun()
        self.seconds = 0.0
        """How long its shards took, summed up over the processes."""
        self.examples = 0
        """How many examples there were in the shards so far, lost ones included."""
        self.lost: dict[str, str] = {}
        self.over = False
        """Whether nothing more comes: all shards are done, or one found a violation."""


def run_machines(
    engine: str,
    machines: Sequence[MachineWork],
    *,
    seed: int,
    steps: int,
    workers: Callable[[], int] | None,
    progress: Progress,
) -> Generator[MachineOutcome]:
    """The outcome of one machine after the other, each again whenever one of its shards is done, until it is over.

    A shard whose process dies or hangs is lost, and no other. Closing the iterator ends the processes. Without
    `workers` this process does it all.
    """
    shards = [
        _Shard(work, engine, seed, first, steps)
        for work in machines
        for first in range(0, max(1, work.examples), SHARD_EXAMPLES)
    ]
    outcomes = {work.name: MachineOutcome() for work in machines}

    def still_wanted(shard: _Shard) -> bool:
        return not outcomes[shard.work.name].over

    guard = OTHER_SECONDS_MAX + SHARD_EXAMPLES * steps * STEP_SECONDS_MAX
    results = (
        (_run(shard) if still_wanted(shard) else UNWANTED for shard in shards)
        if workers is None
        else spread(_run, shards, guard_seconds=guard, workers=workers, wanted=still_wanted)
    )
    try:
        for shard, done in zip(shards, results, strict=True):
            outcome = outcomes[shard.work.name]
            if outcome.over:
                continue
            outcome.examples = shard.end
            if isinstance(done, Lost):
                outcome.lost[f"examples {shard.first + 1} to {outcome.examples} of {shard.work.name}"] = done.how
            else:
                part, seconds = done
                outcome.run.add_run(part)
                outcome.seconds += seconds
            outcome.over = shard.end >= shard.work.examples or bool(outcome.run.violations)
            progress(f"{outcome.examples} examples of {shard.work.name}")
            yield outcome
    finally:
        results.close()


def _run(shard: _Shard) -> tuple[MachineRun, float]:
    start = monotonic()
    with EngineSource(shard.engine) as source:
        outcome = run_machine(
            source,
            setup=shard.work.setup,
            seed=shard.seed,
            first=shard.first,
            examples=shard.end - shard.first,
            steps=shard.steps,
            machine=shard.work.machine,
        )
    return outcome, monotonic() - start
