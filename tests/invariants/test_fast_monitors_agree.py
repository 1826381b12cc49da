"""The auditor against the same invariants written slowly: over the whole history, with nothing remembered.

Each of the slow forms below goes back to the first event for everything that it asks. They are held against the
monitors on seeded histories of engines, healthy and with planted faults, and on the same histories tampered with.
"""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from slow_forms.counted import SLOW, Verdict, flat

from holdfast.engine import LocalEngine
from holdfast.generating import EPISODE_STEPS, SMALL_SETUP, Source, episode_random
from holdfast.running import Runner, Views
from holdfast_engine.faults import fault_by_name
from holdfast_invariants.auditor import Auditor
from holdfast_model.vocabulary import (
    Amount,
    Answer,
    Capability,
    EntryPosted,
    Event,
    OrderAmended,
    OrderRested,
    Posting,
    Record,
    SizeLots,
    TakeSnapshot,
    TradeExecuted,
)

SEED = 20250703
EPISODES = 8
FAULTS = (
    "",
    "hold-released-twice",
    "fee-from-nowhere",
    "filled-order-reopened",
    "queue-priority-lost",
    "tail-replayed-twice",
    "stale-snapshot-restore",
    "fill-reported-twice",
)


# Histories ---------------------------------------------------------------------------------------------------------


def history_of(fault: str, number: int) -> list[Record]:
    """A seeded history as the auditor was given it; without auctions, which the slow forms do not know."""
    parts = fault_by_name(fault).parts if fault else None
    runner = Runner(LocalEngine(parts=parts), SMALL_SETUP, views=Views.AFTER_OPERATIONS)
    source = Source(episode_random(SEED, number), SMALL_SETUP, runner.capabilities - {Capability.AUCTION})
    records = [runner.do(source.next(runner.auditor.told)) for _ in range(EPISODE_STEPS)]
    return [record for record in records if record is not None]


def tampered(records: list[Record], random: Random) -> list[Record]:
    """The history with some events left out, told twice, told in another order or with other numbers in them."""
    return [
        replace(record, answers=tuple(_tampered_answer(answer, random) for answer in record.answers))
        for record in records
    ]


def _tampered_answer(answer: Answer, random: Random) -> Answer:
    events = list(answer.events)
    if not events or random.random() < 0.7:
        return answer
    place = random.randrange(len(events))
    match random.choice(("left out", "twice", "another order", "another number")):
        case "left out":
            del events[place]
        case "twice":
            events.insert(random.randrange(len(events) + 1), events[place])
        case "another order":
            random.shuffle(events)
        case _:
            events[place] = _altered(events[place], random)
    return replace(answer, events=tuple(events))


def _altered(event: Event, random: Random) -> Event:
    change: dict[str, Any] = {}
    match event:
        case EntryPosted(postings=postings):
            other: Posting = random.choice(postings)
            amount = Amount(other.amount + random.choice((-20_000, -1, 0, 1)))
            change["postings"] = (*postings, replace(other, amount=amount))
        case TradeExecuted():
            change["size_lots"] = SizeLots(event.size_lots + random.choice((-9, 1, 9)))
            change["price_ticks"] = event.price_ticks + random.choice((-1, 0, 1))
            change["trade"] = event.trade + random.choice((0, 0, 1))
        case OrderRested() | OrderAmended():
            change["price_ticks"] = event.price_ticks + random.choice((-3, 3))
        case _:
            pass
    return replace(event, **change)


def fast(records: list[Record]) -> dict[str, Verdict]:
    auditor = Auditor(SMALL_SETUP)
    for record in records:
        auditor.watch(record)
    return {
        coverage.id: (
            {found.subject for found in auditor.violations if found.invariant == coverage.id},
            coverage.checked,
        )
        for coverage in auditor.coverage()
    }


HISTORIES = [(fault, number, tampering) for fault in FAULTS for number in range(EPISODES) for tampering in (0, 1)]


@pytest.fixture(scope="module")
def histories() -> dict[tuple[str, int, int], list[Record]]:
    made: dict[tuple[str, int, int], list[Record]] = {}
    for fault, number, tampering in HISTORIES:
        records = made[fault, number, 0] if tampering else history_of(fault, number)
        made[fault, number, tampering] = tampered(records, episode_random(SEED + 1, number)) if tampering else records
    return made


@pytest.mark.parametrize("invariant", SLOW)
def test_a_monitor_finds_and_counts_what_its_slow_form_does(
    histories: dict[tuple[str, int, int], list[Record]], invariant: str
) -> None:
    violated, checked = dict.fromkeys((0, 1), 0), 0
    for (fault, number, tampering), records in histories.items():
        found = fast(records)[invariant]
        assert found == SLOW[invariant](flat(records)), f"{fault or 'healthy'} {number} {tampering} of seed {SEED}"
        checked += found[1]
        assert fault or tampering or not found[0], "the healthy engine breaks nothing"
        violated[tampering] += bool(found[0])
    assert checked > 0
    assert min(violated.values()) > 0, "neither the faults nor the tampering broke it: nothing was compared"


def test_a_view_alone_is_looked_at_as_one_in_a_record_is(
    histories: dict[tuple[str, int, int], list[Record]],
) -> None:
    records = histories["", 0, 0]
    inside, apart = Auditor(SMALL_SETUP), Auditor(SMALL_SETUP)
    for record in records:
        inside.watch(record)
        apart.watch(replace(record, view=None))
        if record.view is not None:
            apart.look(record.view)
    assert apart.coverage() == inside.coverage()


def test_what_watch_returns_is_what_is_new() -> None:
    auditor = Auditor(SMALL_SETUP)
    returned = []
    for record in tampered(history_of("", 1), episode_random(SEED + 2, 0)):
        returned += auditor.watch(record)
    assert returned == auditor.violations
    assert returned
    assert len({(found.invariant, found.subject) for found in returned}) == len(returned)
    assert [found.step for found in returned] == sorted(found.step for found in returned)
    assert auditor.watch(Record(step=TakeSnapshot())) == []
