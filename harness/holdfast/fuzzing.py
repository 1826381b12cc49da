"""Volume: seeded sequences on one engine, without Hypothesis, and the counterexamples of what they find."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from time import monotonic

from holdfast.counterexamples import Progress, counterexample, silent, smallest
from holdfast.engines import FAILURES_IN_A_ROW_MAX, EngineSource
from holdfast.generating import Source, episode_random, episode_steps, setups_for
from holdfast.machines import sum_coverage
from holdfast.running import Runner, Views
from holdfast_model.evidence import Bound, Verdict
from holdfast_model.findings import Counterexample, InvariantCoverage, Run, Violation
from holdfast_model.vocabulary import ComeToRest, Setup, Step
from holdfast_model.vocabulary.wire import encode


class Fuzz:
    """The outcome of a run of episodes.

    `first` holds, by invariant, the first episode that violated it: its number, its setup, its steps.
    """

    def __init__(self) -> None:
        self.episodes = 0
        self.commands = 0
        self.goals: Counter[str] = Counter()
        self.coverage: dict[str, InvariantCoverage] = {}
        self.violations: list[Violation] = []
        self.first: dict[str, tuple[int, Setup, tuple[Step, ...]]] = {}
        self.commands_to_find: dict[str, int] = {}
        self.failed_in_a_row = 0
        self.interrupted = False
        self._digest = sha256()

    def add(self, runner: Runner) -> None:
        """Count one episode."""
        self.episodes += 1
        self.failed_in_a_row = self.failed_in_a_row + 1 if runner.failed else 0
        for violation in runner.violations:
            if violation.invariant not in self.first:
                self.first[violation.invariant] = (self.episodes - 1, runner.setup, tuple(runner.steps))
                self.commands_to_find[violation.invariant] = self.commands + violation.step + 1
                self.violations.append(violation)
        self.commands += runner.commands
        self.goals.update(runner.goals)
        self.coverage = sum_coverage(self.coverage, runner.coverage())
        self._digest.update(runner.auditor.told.head.encode("ascii"))
        if runner.last_view is not None:
            self._digest.update(encode(runner.last_view))

    @property
    def gave_up(self) -> bool:
        """Whether the engine failed so often that the rest was not run."""
        return self.failed_in_a_row >= FAILURES_IN_A_ROW_MAX

    @property
    def journal_sha256(self) -> str:
        """A hash over what the engine told and showed in every episode."""
        return self._digest.hexdigest()

    @property
    def verdict(self) -> Verdict:
        """Violated, or held, or nothing concluded."""
        if self.violations:
            return Verdict.VIOLATED
        return Verdict.INCONCLUSIVE if self.inconclusive else Verdict.HELD

    @property
    def inconclusive(self) -> str:
        """Why nothing is concluded from a run without violations; "" where something is."""
        if self.interrupted:
            return "it was interrupted"
        return "" if self.goals["traded"] else "no two orders traded, so that most invariants were not exercised"

    def run(self, *, kind: str, name: str, sentence: str, bounds: tuple[Bound, ...]) -> Run:
        """The outcome as evidence."""
        return Run(
            kind=kind,
            name=name,
            sentence=sentence,
            verdict=self.verdict,
            bounds=bounds,
            sequences=self.episodes,
            commands=self.commands,
            goals=dict(sorted(self.goals.items())),
            coverage=tuple(self.coverage.values()),
            violations=tuple(self.violations),
            reason="" if self.violations else self.inconclusive,
        )


def _not_watched(runner: Runner) -> None:
    del runner


def episode(
    source: EngineSource,
    *,
    setup: Setup,
    seed: int,
    number: int,
    watch: Callable[[Runner], None] = _not_watched,
) -> Runner:
    """One episode: the steps depend on seed, number, setup, and what the engine tells; last all must come to rest.

    `watch` is called after each step, and may end the episode by raising.
    """
    runner = Runner(source.engine(), setup, views=Views.AFTER_OPERATIONS)
    draw = Source(episode_random(seed, number), setup, runner.capabilities)
    for _ in range(episode_steps(setup)):
        if runner.failed:
            break
        runner.do(draw.next(runner.auditor.told, runner.known))
        watch(runner)
    runner.do(ComeToRest())
    runner.finish()
    watch(runner)
    if runner.failed:
        source.discard()
    return runner


def fuzz(
    source: EngineSource,
    *,
    seed: int,
    commands: int | None = None,
    seconds: float | None = None,
    setups: Sequence[Setup] = (),
    stop: Callable[[Fuzz], bool] = lambda _: False,
    progress: Progress = silent,
    into: Fuzz | None = None,
) -> Fuzz:
    """Run episodes until so many commands were run, or so much time has passed; whole episodes, at least one.

    The episodes take turns in `setups`, by their number; without any, in all that the engine can be reset to. What is
    done is added to `into`, so that a caller who is interrupted still has it.
    """
    outcome = Fuzz() if into is None else into
    turns = tuple(setups) or setups_for(source.engine().identity.capabilities)
    end = None if seconds is None else monotonic() + seconds
    while True:
        number = outcome.episodes
        outcome.add(episode(source, setup=turns[number % len(turns)], seed=seed, number=number))
        progress(f"{outcome.commands} commands in {outcome.episodes} sequences")
        done = outcome.commands >= commands if commands is not None else end is None or monotonic() >= end
        if done or stop(outcome) or outcome.gave_up:
            return outcome


def counterexamples_of(
    source: EngineSource, outcome: Fuzz, *, seed: int, progress: Progress = silent
) -> list[tuple[str, Counterexample]]:
    """For each invariant that was violated, the first sequence that showed it, at its smallest."""
    found = []
    for invariant, (number, setup, steps) in sorted(outcome.first.items()):
        progress(f"shrinking a counterexample to {invariant}")
        small = smallest(source, setup, steps, invariant)
        origin = f"generator, seed {seed}, sequence {number}"
        found.append((invariant, counterexample(source, setup, small, origin=origin, invariant=invariant)))
    return found
