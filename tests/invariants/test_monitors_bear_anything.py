"""Whatever an engine tells, no monitor raises: events left out, twice, out of order, with other names and numbers.

And what an auditor takes for plain, and therefore shows to few monitors, hides nothing: one that shows everything to
all finds the same, and counts the same.
"""

from enum import Enum
from itertools import product
from random import Random
from typing import Any

import pytest
from msgspec.structs import fields, replace

from holdfast.engine import LocalEngine
from holdfast.generating import EPISODE_STEPS, SMALL_SETUP, Source, episode_random
from holdfast.running import ENGINE_FAILED, Runner, Views
from holdfast.setups import setups_for
from holdfast_engine.faults import fault_by_name
from holdfast_invariants.auditor import Auditor
from holdfast_model.vocabulary import Answer, Capability, Event, Record, Setup

SEED = 20250703
EPISODES = 5
TAMPERINGS = 4


_CONDITIONS = frozenset(
    {
        Capability.STOP_ORDERS,
        Capability.ONE_CANCELS_OTHER,
        Capability.GOOD_TILL_TIME,
        Capability.CANCEL_ON_DISCONNECT,
        Capability.MARGIN,
    }
)
"""Once an order has conditions, hardly an event of an order is plain."""
_OPERATIONS = frozenset({Capability.PHASES, Capability.RESTART, Capability.SNAPSHOT, Capability.REPLICAS})
SOURCES = [
    *((setup, frozenset[Capability]()) for setup in setups_for(frozenset(Capability))),
    (SMALL_SETUP, _CONDITIONS),
    (SMALL_SETUP, _CONDITIONS | _OPERATIONS),
]
"""Setups, each with what is not done in it."""
FAULTS = (
    "",
    "hold-released-twice",
    "fee-from-nowhere",
    "rounding-remainder-kept",
    "order-without-funds",
    "fill-reported-twice",
    "trade-through",
    "takers-price",
    "ioc-rests",
    "post-only-takes",
    "self-trade-allowed",
    "feed-omits-a-cancel",
    "feed-tells-the-wrong-size",
    "order-accepted-while-halted",
    "shed-command-has-effect",
    "last-record-lost",
)


def history(
    setup: Setup, number: int, *, fault: str = "", without: frozenset[Capability] = frozenset(), every: bool = True
) -> tuple[Runner, list[Record]]:
    """What an engine told, as the auditor was given it, with a view after every step or as fuzzing takes them."""
    engine = LocalEngine(parts=fault_by_name(fault).parts if fault else None)
    runner = Runner(engine, setup, views=Views.EVERY_STEP if every else Views.AFTER_OPERATIONS)
    source = Source(episode_random(SEED, number), setup, runner.capabilities - without)
    records = [runner.do(source.next(runner.auditor.told, runner.known)) for _ in range(EPISODE_STEPS)]
    return runner, [record for record in records if record is not None]


def tampered(answer: Answer, random: Random, setup: Setup) -> Answer:
    """An answer in which something may be otherwise."""
    events = list(answer.events)
    if not events or random.random() < 0.7:
        return answer
    place = random.randrange(len(events))
    match random.choice(("left out", "twice", "another order", "otherwise", "otherwise", "otherwise")):
        case "left out":
            del events[place]
        case "twice":
            events.insert(random.randrange(len(events) + 1), events[place])
        case "another order":
            random.shuffle(events)
        case _:
            events[place] = otherwise(events[place], random, setup)
    return replace(answer, events=tuple(events))


def otherwise(event: Event, random: Random, setup: Setup) -> Event:
    """The event with another value in one field, of the same type."""
    names = [field.name for field in fields(event)]
    if not names:
        return event
    name = random.choice(names)
    value: Any = getattr(event, name)
    change: Any = value
    if isinstance(value, bool):
        change = not value
    elif isinstance(value, Enum):
        change = random.choice(list(type(value)))
    elif isinstance(value, int):
        change = value + random.choice((-1_000_000, -value, -1, 1, 1_000))
    elif isinstance(value, str):
        markets = [market.market for market in setup.markets]
        change = random.choice((*setup.clients, *setup.assets, *markets, "spot", "linear", "island", "nobody"))
    elif isinstance(value, tuple):
        change = value[:-1]
    else:
        change = None if name.endswith("_ticks") or name == "conditions" else value
    return replace(event, **{name: change})


@pytest.mark.parametrize(("setup", "without"), SOURCES)
def test_what_an_engine_tells_wrongly_is_reported_and_nothing_breaks(
    setup: Setup, without: frozenset[Capability]
) -> None:
    found: set[str] = set()
    for number in range(EPISODES):
        _, records = history(setup, number, without=without)
        for tampering in range(TAMPERINGS):
            random = episode_random(SEED + tampering, number)
            auditor, thorough = Auditor(setup), Auditor(setup, thorough=True)
            for record in records:
                answers = tuple(tampered(answer, random, setup) for answer in record.answers)
                for watching in (auditor, thorough):
                    watching.watch(replace(record, answers=answers))
            assert looked_at(auditor) == looked_at(thorough), "what was taken for plain was not"
            found |= {violation.invariant for violation in auditor.violations}
    assert len(found) > 10, "next to nothing was found wrong in what was told wrongly"


def looked_at(auditor: Auditor) -> tuple[object, ...]:
    """All that an auditor found, and how often each invariant was checked."""
    found = [violation for violation in auditor.violations if violation.invariant != ENGINE_FAILED]
    return sorted(map(str, found)), auditor.coverage()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_taken_for_plain_hides_no_fault(fault: str) -> None:
    violated = 0
    for number, (setup, without) in product((0, 1), SOURCES):
        runner, records = history(setup, number, fault=fault, without=without, every=False)
        thorough = Auditor(setup, capabilities=runner.capabilities, thorough=True)
        for record in records:
            thorough.watch(record)
        assert looked_at(runner.auditor) == looked_at(thorough)
        violated += bool(runner.violations)
    assert bool(violated) is bool(fault), "nothing was compared, or the healthy engine breaks something"


def test_plain_events_are_taken_for_plain() -> None:
    """The comparison above would be of nothing where no event, or every event, were plain."""
    _, records = history(SMALL_SETUP, 0, without=_CONDITIONS | _OPERATIONS)
    plain, everything = 0, 0
    auditor, thorough = Auditor(SMALL_SETUP), Auditor(SMALL_SETUP, thorough=True)
    for record in records:
        auditor.watch(record)
        thorough.watch(record)
    plain = sum(auditor.plain_events().values())
    everything = sum(len(answer.events) for record in records for answer in record.answers)
    assert everything / 2 < plain < everything
    assert not thorough.plain_events()
