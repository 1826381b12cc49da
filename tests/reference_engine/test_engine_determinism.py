"""One sequence of commands has one history: in any process, and however often the state is restored on the way."""

import os
import subprocess
import sys
import typing
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.engine import LocalEngine
from holdfast.generating import Source, episode_random
from holdfast.running import Runner, Views
from holdfast.setups import AUCTION_SETUP, CUSTODY_SETUP, MARGIN_SETUP, OPERATIONS_SETUP, SMALL_SETUP
from holdfast_engine.exchange import Exchange, Parts
from holdfast_engine.faults import operations, orders
from holdfast_engine.journal import LOG, Journal
from holdfast_engine.state import VenueState, state_sha256
from holdfast_engine.storage import MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AccountRead,
    ActivateRelease,
    Command,
    ConfirmLoad,
    Event,
    Events,
    JournalRecord,
    PromoteReplica,
    ReadAccount,
    ReleaseDeployed,
    ReplicaChanged,
    ReplicaCommand,
    Setup,
)
from holdfast_model.vocabulary.wire import canonical, from_canonical

SETUPS = {
    "small": SMALL_SETUP,
    "margin": MARGIN_SETUP,
    "auction": AUCTION_SETUP,
    "operations": OPERATIONS_SETUP,
    "custody": CUSTODY_SETUP,
}
SEED = 20250829
COMMANDS = {"small": 1_000, "margin": 5_000, "auction": 1_000, "operations": 1_500, "custody": 3_000}
"""How many commands are journaled in each setup: more than 10,000 in all."""
NOT_JOURNALED = {*typing.get_args(ReplicaCommand), ReadAccount}
TELLING_OF_THE_UNJOURNALED = {ReplicaChanged, ReleaseDeployed, AccountRead}
EPISODE_STEPS = 500
"""Longer than the episodes of a fuzz, so that more comes together in one state."""
RESTORE_INTERVAL = 100
RUN_STEPS = 1_500


def journals(setup: Setup, commands: int, *, steps: int = EPISODE_STEPS) -> list[MemoryStorage]:
    """What the exchange wrote in episodes of everything that may be done to it, so many commands in all."""
    written: list[MemoryStorage] = []
    count = 0
    while count < commands:
        engine = LocalEngine()
        runner = Runner(engine, setup, views=Views.AFTER_OPERATIONS)
        source = Source(episode_random(SEED, len(written)), setup, engine.identity.capabilities)
        for _ in range(steps):
            runner.do(source.next(runner.auditor.told, runner.known))
        assert runner.violations == []
        written.append(engine._storage)
        count += len(engine._storage.lines(LOG))
    return written


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_engine_determinism import COMMANDS, LOG, SETUPS, journals
for name, commands in COMMANDS.items():
    for storage in journals(SETUPS[name], commands):
        sys.stdout.buffer.write(b"\\n".join([*storage.lines(LOG), b""]))
"""


HASH_SEEDS = ("0", "249")
"""Under these the sets of clients and of assets are iterated in opposite orders."""


def run(hash_seed: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process of its own, whose hashes begin with this seed."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
    )


def outputs(program: str, *arguments: str) -> list[bytes]:
    """What a program writes under each of the seeds."""
    processes = [run(seed, program, *arguments) for seed in HASH_SEEDS]
    written = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return written


@cache
def written() -> list[bytes]:
    """All journals, line by line, as each process writes them."""
    return outputs(PROGRAM, str(Path(__file__).parent))


def records_in(lines: list[bytes]) -> list[JournalRecord]:
    """The records of journals that were written one after the other."""
    found: list[JournalRecord] = []
    storage = MemoryStorage()
    for line in lines:
        if line.startswith(b"0" * 64):
            found += Journal(storage).load()
            storage.clear()
        storage.append(LOG, line)
    return [*found, *Journal(storage).load()]


@pytest.mark.parametrize("ids", [MARGIN_SETUP.clients, MARGIN_SETUP.assets], ids=["clients", "assets"])
def test_an_order_that_came_from_a_set_would_differ_between_the_processes(ids: tuple[str, ...]) -> None:
    first, second = (text.decode().split() for text in outputs("import sys; print(*set(sys.argv[1:]))", *ids))
    assert sorted(first) == sorted(ids)
    assert first == second[::-1]


@pytest.mark.slow
def test_processes_with_other_hashes_write_the_same_journals_of_ten_thousand_commands() -> None:
    first, second = (text.splitlines() for text in written())
    assert len(first) == len(second) >= 10_000
    assert [number for number, lines in enumerate(zip(first, second, strict=True)) if lines[0] != lines[1]][:1] == []


@pytest.mark.slow
def test_among_the_ten_thousand_are_all_commands_and_all_events() -> None:
    records = records_in(written()[0].splitlines())
    commands = Counter(type(record.command) for record in records)
    events = Counter(type(event) for record in records for event in record.events)
    assert {kind for kind in typing.get_args(Command) if commands[kind] < 3} == NOT_JOURNALED
    assert {kind for kind in typing.get_args(Event) if not events[kind]} == TELLING_OF_THE_UNJOURNALED


class FreshVenue:
    """A state machine that is thrown away and made anew from its own state, through the bytes of a snapshot."""

    def __init__(self, setup: Setup, parts: Parts) -> None:
        self._setup, self._kind = setup, parts.venue
        self.venue = self._kind(setup)

    def apply(self, command: Command) -> Events:
        return self.venue.apply(command)

    def restore(self) -> None:
        state = from_canonical(canonical(self.venue.state()), VenueState)
        self.venue = self._kind(self._setup)
        self.venue.load(state)


class RestoredExchange:
    """The running exchange, restored from its last snapshot and the journal after it, and then from a new one."""

    def __init__(self, setup: Setup, parts: Parts) -> None:
        self._exchange = Exchange(MemoryStorage(), parts)
        self._exchange.reset(setup)

    @property
    def venue(self) -> Venue:
        return self._exchange._primary

    def apply(self, command: Command) -> Events:
        (answer,) = self._exchange.submit((command,))
        return answer.events

    def restore(self) -> None:
        self._exchange.restore()
        self._exchange.snapshot()
        self._exchange.restore()


_ASKS_REPLICAS = (PromoteReplica, ActivateRelease, ConfirmLoad)


@cache
def commands_of_one_run(name: str) -> tuple[Command, ...]:
    """What clients and operators asked in one long episode, but for what asks the replicas."""
    storage, *_ = journals(SETUPS[name], 1, steps=RUN_STEPS)
    commands = (record.command for record in Journal(storage).load())
    return tuple(command for command in commands if not isinstance(command, _ASKS_REPLICAS))


def compare(name: str, kind: type[FreshVenue | RestoredExchange], parts: Parts) -> int:
    """Compare a run that is restored again and again with the healthy one that never was; how often it was."""
    # What the door turns away, and whether the load was confirmed, depends on restarts, and is no part of the state.
    setup = replace(SETUPS[name], rate_max=0, procedure=False)
    never, restored = Venue(setup), kind(setup, parts)
    restores = 0
    for number, command in enumerate(commands_of_one_run(name), start=1):
        assert restored.apply(command) == never.apply(command), f"{name}: command {number} of seed {SEED}"
        if number % RESTORE_INTERVAL == 0:
            restored.restore()
            restores += 1
    assert restored.venue.state() == never.state()
    assert state_sha256(restored.venue.state()) == state_sha256(never.state())
    return restores


@pytest.mark.parametrize("kind", [FreshVenue, RestoredExchange])
@pytest.mark.parametrize("name", SETUPS)
def test_a_run_that_is_restored_every_hundred_commands_is_the_run_that_never_was(
    name: str, kind: type[FreshVenue | RestoredExchange]
) -> None:
    assert compare(name, kind, Parts()) >= 10


def compare_in_each_setup(kind: type[FreshVenue | RestoredExchange], parts: Parts) -> None:
    """Compare runs in all setups, one after the other."""
    for name in SETUPS:
        compare(name, kind, parts)


FORGETTING = {fault.name: fault.parts for fault in (*operations.FAULTS, *orders.FAULTS)}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("stop-forgotten-at-restore", FreshVenue),
        ("good-till-time-outlives-restart", FreshVenue),
        ("stop-forgotten-at-restore", RestoredExchange),
        ("used-ids-forgotten", RestoredExchange),
        ("queue-priority-lost", RestoredExchange),
        ("tail-replayed-twice", RestoredExchange),
    ],
)
def test_what_a_restore_forgets_is_a_difference_in_one_of_the_setups(
    fault: str, kind: type[FreshVenue | RestoredExchange]
) -> None:
    with pytest.raises(AssertionError):
        compare_in_each_setup(kind, FORGETTING[fault])
