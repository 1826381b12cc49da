"""Whatever an engine tells, no monitor raises: events left out, twice, out of order, with other names and numbers."""

from enum import Enum
from random import Random
from typing import Any

import pytest
from msgspec.structs import fields, replace

from holdfast.engines import REFERENCE, EngineSource
from holdfast.fuzzing import episode
from holdfast.generating import episode_random
from holdfast.running import Runner
from holdfast.setups import setups_for
from holdfast_invariants.auditor import Auditor
from holdfast_model.vocabulary import Answer, Capability, Event, Record, Setup

SEED = 20250703
EPISODES = 5
TAMPERINGS = 4


def histories(setup: Setup) -> list[list[Record]]:
    """What the healthy engine told, as the auditor was given it."""
    made = []
    with EngineSource(REFERENCE) as engine:
        for number in range(EPISODES):
            runner = episode(engine, setup=setup, seed=SEED, number=number)
            again = Runner(engine.engine(), setup)
            records = [again.do(step) for step in runner.steps]
            made.append([record for record in records if record is not None])
    return made


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


@pytest.mark.parametrize("setup", setups_for(frozenset(Capability)), ids=lambda setup: setup.markets[-1].market)
def test_what_an_engine_tells_wrongly_is_reported_and_nothing_breaks(setup: Setup) -> None:
    found: set[str] = set()
    for number, records in enumerate(histories(setup)):
        for tampering in range(TAMPERINGS):
            random = episode_random(SEED + tampering, number)
            auditor = Auditor(setup)
            for record in records:
                answers = tuple(tampered(answer, random, setup) for answer in record.answers)
                auditor.watch(replace(record, answers=answers))
            found |= {violation.invariant for violation in auditor.violations}
    assert len(found) > 10, "next to nothing was found wrong in what was told wrongly"
