"""How long it takes to find each planted fault: a plain Hypothesis machine, Holdfast's machines, its generator.

Every finder looks for one fault at a time, from a fixed seed, until an invariant that the fault names is violated, or
a bound is reached; then the fault was not found, which is told as such and never as a number. The bound on commands
decides and is the same on every machine; the one on CPU time only guards. `benchmarks/README.md` says more.

Exit status: 0 measured, 2 wrong input, 3 nothing is known of a fault because the process that looked for it died.
"""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from statistics import median_low
from time import process_time

import msgspec
from hypothesis.errors import Flaky
from msgspec import Struct

if not __package__:  # run as a script: only this folder is on the path, and not the one that it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.plain_custody_machine import PlainCustodyMachine
from benchmarks.plain_machine import PlainMachine

from holdfast.console import say
from holdfast.custody_machine import CustodyMachine
from holdfast.engines import FAULT_PREFIX, EngineSource
from holdfast.faulting import needs_of, turns
from holdfast.fuzzing import episode
from holdfast.machines import ExchangeMachine, run_examples
from holdfast.margin_machine import MarginMachine
from holdfast.openings import openings_like, play
from holdfast.operations_machine import OperationsMachine
from holdfast.reporting import Session, write_json
from holdfast.running import Runner
from holdfast.setups import AUCTION_SETUP, SMALL_SETUP, setups_for
from holdfast.whole_machine import WholeMachine
from holdfast.workers import WORKERS, Lost, spread
from holdfast_engine.faults import (
    FAULTS,
    Fault,
    cover,
    custody,
    fault_by_name,
    liveness,
    margin,
    operations,
    procedure,
    replicas,
)
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ExitStatus, Verdict
from holdfast_model.vocabulary import Capability, ComeToRest, Setup, Step
from holdfast_reports import write_atomically

SEED = 1
COMMANDS = 5_000
SECONDS = 20.0
STEPS = 50
"""Of an example of a machine, plain or not."""
_EXAMPLES_MAX = 1_000_000
"""More than any bound lets through: the bounds end a run, not the number of examples."""
PLAIN, MACHINE, GENERATOR = FINDERS = ("plain", "machine", "generator")
COMMANDS_BOUND, SECONDS_BOUND = "commands", "CPU time"
NOT_FOUND = "-"


class Bounds(Struct, frozen=True, kw_only=True):
    """When a finder gives a fault up: after so many commands, or so many seconds of CPU time."""

    commands: int = COMMANDS
    seconds: float = SECONDS


class Search(Struct, frozen=True, kw_only=True):
    """What came of one finder's search for one fault.

    `commands` and `cpu_seconds` lead to the first violation of an invariant that the fault names, which is
    `invariant`; all three are None where it was not found. `given_up_by` then names the bound that was reached.
    """

    finder: str
    commands: int | None
    cpu_seconds: float | None
    invariant: str | None
    given_up_by: str | None


class Hunt(Struct, frozen=True, kw_only=True):
    """One fault and what each finder made of it; `machine` is the one of Holdfast's that was chosen."""

    fault: str
    violates: tuple[str, ...]
    machine: str
    searches: tuple[Search, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """One finder over all faults.

    `commands_median` is over all faults, those that were not found counted as longer than any other: None where
    that is what lies in the middle. `commands_median_common` is over those that all finders found.
    """

    finder: str
    found: int
    faults: int
    commands_median: int | None
    cpu_seconds_median: float | None
    commands_median_common: int | None
    cpu_seconds_median_common: float | None


class TimesToBug(Struct, frozen=True, kw_only=True):
    """The whole measurement. `lost` names the faults of which nothing is known because a process died."""

    seed: int
    bounds: Bounds
    steps: int
    hunts: tuple[Hunt, ...]
    summaries: tuple[Summary, ...]
    common: int
    lost: tuple[str, ...]


class Kept(Struct, frozen=True, kw_only=True):
    """A line of the file in which a long run keeps what is done, so that it can be gone on with."""

    seed: int
    bounds: Bounds
    hunt: Hunt


class SearchOver(BaseException):
    """The search has ended: found, or given up."""


class Meter:
    """Counts one search's commands and CPU time over all its sequences, and ends it by `SearchOver`."""

    def __init__(self, finder: str, named: frozenset[str], bounds: Bounds) -> None:
        self._finder = finder
        self._named = named
        self._bounds = bounds
        self._start = process_time()
        self._runner: Runner | None = None
        self._before = 0
        self._seen = 0
        self.result: Search | None = None

    def look(self, runner: Runner) -> None:
        """Look at what the last step brought; another runner is the next sequence. Raises `SearchOver`."""
        if runner is not self._runner:
            self._before += 0 if self._runner is None else self._runner.commands
            self._runner, self._seen = runner, 0
        commands, seconds = self._before + runner.commands, process_time() - self._start
        new = [violation.invariant for violation in runner.violations[self._seen :]]
        self._seen = len(runner.violations)
        found = next((invariant for invariant in new if invariant in self._named), None)
        if found is not None:
            self.result = Search(
                finder=self._finder, commands=commands, cpu_seconds=seconds, invariant=found, given_up_by=None
            )
        elif commands >= self._bounds.commands or seconds >= self._bounds.seconds:
            bound = COMMANDS_BOUND if commands >= self._bounds.commands else SECONDS_BOUND
            self.result = Search(
                finder=self._finder, commands=None, cpu_seconds=None, invariant=None, given_up_by=bound
            )
        if self.result is not None:
            raise SearchOver


# Who looks where ----------------------------------------------------------------------------------------------------

Machine = type[ExchangeMachine]

_SHOWS_IN: Mapping[str, tuple[Machine, Setup]] = {
    "reduce-only-flips-position": (MarginMachine, MarginMachine.setup),
    "auction-skipped-at-open": (ExchangeMachine, AUCTION_SETUP),
}
"""Faults of orders that no machine can find where there is nothing but spot orders, and that declare no need."""
_OPERATED = (*operations.FAULTS, *replicas.FAULTS, *procedure.FAULTS)


def _setups(fault: Fault) -> tuple[Setup, ...]:
    """What the generator takes turns in, as `fuzz` does: all setups where none has all that the fault speaks of."""
    can = frozenset(Capability)
    return turns(fault, can) or setups_for(can)


def machine_for(fault: Fault) -> tuple[Machine, Setup]:
    """The machine of the part that a fault is in, or that it needs, with its setup; what hangs may hang anywhere."""
    if fault.name in _SHOWS_IN:
        return _SHOWS_IN[fault.name]
    hangs, needs = fault in liveness.FAULTS, needs_of(fault)
    if fault in custody.FAULTS or Capability.CUSTODY in fault.needs or (hangs and Capability.CUSTODY in needs):
        machine: Machine = CustodyMachine
    elif fault in _OPERATED or (hangs and Capability.PROCEDURE in needs):
        machine = OperationsMachine
    elif fault in margin.FAULTS or fault in cover.FAULTS or (hangs and Capability.MARGIN in needs):
        machine = MarginMachine
    elif hangs:
        machine = WholeMachine
    else:
        setup = _setups(fault)[0]
        if setup in (SMALL_SETUP, AUCTION_SETUP):
            return ExchangeMachine, setup
        machine = next(
            machine for machine in (MarginMachine, OperationsMachine, CustodyMachine) if machine.setup == setup
        )
    return machine, machine.setup


def _plain(setup: Setup) -> type[PlainMachine]:
    return PlainMachine if setup.custody is None else PlainCustodyMachine


def _search_by_machine(
    machine: type[ExchangeMachine | PlainMachine], source: EngineSource, setup: Setup, seed: int, meter: Meter
) -> None:
    """Run a machine's examples until the meter ends it."""

    class Subject(machine):  # type: ignore[misc,valid-type]  # the class is chosen at run time
        make_engine = staticmethod(source.engine)

        @property
        def up(self) -> bool:
            """Whether there are rules to run: after the engine has failed, steps are skipped to the example's end."""
            return bool(self.runner.failed or not self.runner.down)

        def take(self, step: Step) -> None:
            """Let the exchange take a step. What the fault does not name ends nothing, as in the generator."""
            self.runner.do(step)
            meter.look(self.runner)

        def teardown(self) -> None:
            if meter.result is not None:
                return
            self.do(ComeToRest())
            if self.runner.failed:
                source.discard()

    Subject.setup = setup
    try:
        run_examples(Subject, seed=seed, examples=_EXAMPLES_MAX, steps=STEPS)
    except Flaky:
        # An example that begins as an earlier one did, and that a bound cuts short, seems flaky to Hypothesis.
        if meter.result is None:
            raise


def _search_from_openings(
    machine: type[ExchangeMachine], source: EngineSource, setup: Setup, seed: int, meter: Meter
) -> None:
    """Go the models' ways to their goals, and then run a machine's examples, as `run_machine` does."""
    for opening in openings_like(setup, source.engine().identity.capabilities):
        if play(source.engine(), opening, meter.look).failed:
            source.discard()
    _search_by_machine(machine, source, setup, seed, meter)


def _search_by_generator(source: EngineSource, setups: Sequence[Setup], seed: int, meter: Meter) -> None:
    """Run the generator's episodes until the meter ends it."""
    for number in count():
        episode(source, setup=setups[number % len(setups)], seed=seed, number=number, watch=meter.look)


def _search(finder: str, fault: Fault, bounds: Bounds, search: Callable[[EngineSource, Meter], None]) -> Search:
    meter = Meter(finder, frozenset(fault.violates), bounds)
    with EngineSource(FAULT_PREFIX + fault.name) as source, suppress(SearchOver):
        search(source, meter)
    assert meter.result is not None, "only a bound or a find ends a search"
    return meter.result


def hunt(name: str, *, seed: int, bounds: Bounds) -> Hunt:
    """One fault, looked for by each finder in turn."""
    fault = fault_by_name(name)
    machine, setup = machine_for(fault)
    setups = _setups(fault)
    searches: dict[str, Callable[[EngineSource, Meter], None]] = {
        PLAIN: lambda source, meter: _search_by_machine(_plain(setup), source, setup, seed, meter),
        MACHINE: lambda source, meter: _search_from_openings(machine, source, setup, seed, meter),
        GENERATOR: lambda source, meter: _search_by_generator(source, setups, seed, meter),
    }
    return Hunt(
        fault=fault.name,
        violates=fault.violates,
        machine=machine.__name__,
        searches=tuple(_search(finder, fault, bounds, search) for finder, search in searches.items()),
    )


# What came of it ----------------------------------------------------------------------------------------------------


def _median(values: Sequence[float | None]) -> float | None:
    """The lower median, None being longer than anything; None where that lies in the middle, or there is nothing."""
    if not values:
        return None
    middle = median_low([inf if value is None else value for value in values])
    return None if middle == inf else middle


def summaries_of(hunts: Sequence[Hunt]) -> tuple[tuple[Summary, ...], int]:
    """Each finder over all faults, and how many faults all finders found."""
    common = [hunt for hunt in hunts if all(search.commands is not None for search in hunt.searches)]
    summaries = []
    for place, finder in enumerate(FINDERS):
        all_of = [hunt.searches[place] for hunt in hunts]
        shared = [hunt.searches[place] for hunt in common]
        assert all(search.finder == finder for search in all_of)
        summaries.append(
            Summary(
                finder=finder,
                found=sum(search.commands is not None for search in all_of),
                faults=len(all_of),
                commands_median=_whole(_median([search.commands for search in all_of])),
                cpu_seconds_median=_median([search.cpu_seconds for search in all_of]),
                commands_median_common=_whole(_median([search.commands for search in shared])),
                cpu_seconds_median_common=_median([search.cpu_seconds for search in shared]),
            )
        )
    return tuple(summaries), len(common)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


GUARD_SECONDS = 600.0
_GUARDS_PER_BOUND = 30
"""A process that is at one fault for longer hangs: on a busy machine its finders need many times their CPU time."""


def measure(
    faults: Sequence[Fault],
    *,
    seed: int,
    bounds: Bounds,
    workers: int,
    tell: Callable[[str], None],
    keep: Path | None = None,
) -> TimesToBug:
    """Look for all of these faults; `tell` hears of each as it is done.

    With `keep`, each is also written to this file, and what is there of the same seed and bounds is taken from it.
    """
    kept = {} if keep is None else _kept(keep, seed, bounds)
    wanted = [fault.name for fault in faults if fault.name not in kept]
    guard = GUARD_SECONDS + _GUARDS_PER_BOUND * bounds.seconds
    done = spread(partial(hunt, seed=seed, bounds=bounds), wanted, guard_seconds=guard, workers=workers)
    for number, (name, result) in enumerate(zip(wanted, done, strict=True), start=1):
        if isinstance(result, Lost):
            tell(f"{number:3}/{len(wanted)} {name}: {result.how}")
            continue
        kept[name] = result
        tell(f"{number:3}/{len(wanted)} {name}: " + ", ".join(map(_told, result.searches)))
        if keep is not None:
            with keep.open("ab") as file:
                file.write(msgspec.json.encode(Kept(seed=seed, bounds=bounds, hunt=result)) + b"\n")
    hunts = [kept[fault.name] for fault in faults if fault.name in kept]
    summaries, common = summaries_of(hunts)
    return TimesToBug(
        seed=seed,
        bounds=bounds,
        steps=STEPS,
        hunts=tuple(hunts),
        summaries=summaries,
        common=common,
        lost=tuple(fault.name for fault in faults if fault.name not in kept),
    )


def _kept(path: Path, seed: int, bounds: Bounds) -> dict[str, Hunt]:
    """What a file has of this seed and these bounds. Raises `HoldfastError` where a line is none of ours."""
    found = {}
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            item = msgspec.json.decode(line, type=Kept)
        except msgspec.MsgspecError as error:
            raise HoldfastError(f"{path}:{number}: {error}; expected a line that --keep wrote") from error
        if (item.seed, item.bounds) == (seed, bounds):
            found[item.hunt.fault] = item.hunt
    return found


def _told(search: Search) -> str:
    if search.commands is None:
        return f"{search.finder} gave up ({search.given_up_by})"
    return f"{search.finder} {search.commands:,} commands ({search.cpu_seconds:.2f} s)"


# The page -----------------------------------------------------------------------------------------------------------

_HEAD = """# Time to bug

How many commands, and how many seconds of CPU time, it takes until a planted fault shows: until an invariant that the
fault names is violated for the first time. Made by `make time-to-bug`; not edited by hand.

- **plain**: the Hypothesis machine that a user writes first (`benchmarks/plain_machine.py`): a rule for each kind of
  command, each argument drawn alone from a small domain, ids in bundles, money and prices from the start, signers
  that their own software drives. It looks at nothing that the exchange tells.
- **machine**: one of Holdfast's machines, that of the part in which the fault is, as `run_machine` runs it: first the
  models' shortest ways to their goals (`holdfast.openings`), then rules that put together what chance rarely does.
  Plain runs on the same setup. Both get their examples nine at a time, which is to plain's advantage too.
- **generator**: `holdfast fuzz` on the setups in which the fault can show, in turns, as `holdfast faults` runs it.

All three check every invariant after every step, let everything come to rest after each example or sequence (which
counts), and go on when something else is violated. Hypothesis shrinks nothing here. Both machines take a view after
every step, the generator after operations and every 25 steps: what only a view shows, it sees later.
"""


def page(result: TimesToBug) -> str:
    """The result as Markdown."""
    bounds = result.bounds
    guarded = sum(search.given_up_by == SECONDS_BOUND for hunt in result.hunts for search in hunt.searches)
    ended = f"{guarded} search ended" if guarded == 1 else f"{guarded} searches ended"
    common = result.common
    lines = [
        _HEAD,
        f"**Bounds.** Seed {result.seed}, one run for each fault and finder, examples of {result.steps} steps.",
        f"A search gives up after {bounds.commands:,} commands, or {bounds.seconds:g} s of CPU time ({ended} so);",
        "`-` says that it did not find the fault within that, and no more. Commands are the same in every run of one",
        "version; seconds are of one machine, and only compare the columns.",
        "",
        f"| finder | found | median commands | median s | median commands of {common} found by all | median s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {item.finder} | {item.found} of {item.faults} | {_commands(item.commands_median)} "
        f"| {_seconds(item.cpu_seconds_median)} | {_commands(item.commands_median_common)} "
        f"| {_seconds(item.cpu_seconds_median_common)} |"
        for item in result.summaries
    ]
    lines += [
        "",
        "A median over all faults counts those that were not found as longer than any other; it is `-` where that",
        "lies in the middle.",
        "",
        "Commands, and seconds of CPU time in brackets:",
        "",
        "| fault | machine's name | plain | machine | generator |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {hunt.fault} | {hunt.machine} | " + " | ".join(map(_cell, hunt.searches)) + " |" for hunt in result.hunts
    ]
    lines += [f"\nNothing is known of {name}: the process that looked for it died." for name in result.lost]
    return "\n".join(lines) + "\n"


def _commands(value: int | None) -> str:
    return NOT_FOUND if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return NOT_FOUND if value is None else f"{value:.2f}"


def _cell(search: Search) -> str:
    if search.commands is None:
        return NOT_FOUND
    return f"{_commands(search.commands)} ({_seconds(search.cpu_seconds)})"


# The command --------------------------------------------------------------------------------------------------------


def _arguments() -> ArgumentParser:
    parser = ArgumentParser(description="Measure how long each planted fault takes to find, by three finders.")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON to FILE (- is standard output)")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write the table as Markdown to FILE")
    parser.add_argument("--keep", metavar="FILE", type=Path, help="keep what is done in FILE, and go on from there")
    parser.add_argument("--only", metavar="NAME", action="append", help="one fault; may be given several times")
    parser.add_argument("--limit", metavar="N", type=_positive, help="the first so many faults")
    parser.add_argument("--commands", metavar="N", type=_positive, default=COMMANDS, help=f"bound ({COMMANDS})")
    parser.add_argument("--seconds", metavar="N", type=_positive, default=SECONDS, help=f"of CPU time ({SECONDS:g})")
    parser.add_argument("--seed", metavar="N", type=_positive, default=SEED, help=f"({SEED})")
    parser.add_argument("--workers", metavar="N", type=_positive, default=min(2, WORKERS), help="processes (2)")
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"{text!r}; expected a whole number above 0")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = _arguments().parse_args(arguments)
    session = Session("time-to-bug")

    def tell(line: str) -> None:
        if options.json != "-":
            say(line)

    try:
        faults = [fault_by_name(name) for name in options.only] if options.only else list(FAULTS)
        result = measure(
            faults[: options.limit],
            seed=options.seed,
            bounds=Bounds(commands=options.commands, seconds=options.seconds),
            workers=options.workers,
            tell=tell,
            keep=options.keep,
        )
        verdict = Verdict.INCONCLUSIVE if result.lost else Verdict.HELD
        report = session.report(verdict, result)
        environment = report.environment | {"command_line": " ".join(["benchmarks/time_to_bug.py", *sys.argv[1:]])}
        if options.json is not None:
            write_json(msgspec.structs.replace(report, environment=environment), options.json)
        if options.page is not None:
            write_atomically(options.page, page(result).encode())
    except HoldfastError as error:
        sys.stderr.write(f"time_to_bug: {error}\n")
        return int(ExitStatus.BAD_INPUT)
    for item in result.summaries:
        tell(
            f"{item.finder}: found {item.found} of {item.faults}; median {_commands(item.commands_median)} commands, "
            f"{_seconds(item.cpu_seconds_median)} s; of the {result.common} that all found "
            f"{_commands(item.commands_median_common)} commands, {_seconds(item.cpu_seconds_median_common)} s"
        )
    return report.exit_status


if __name__ == "__main__":
    sys.exit(main())
