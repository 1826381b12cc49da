"""Histories to compare on: healthy ones, those of planted faults, and healthy ones with one thing corrupted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from msgspec.structs import asdict, replace

from holdfast.engine import LocalEngine
from holdfast.generating import Source, episode_random, episode_steps
from holdfast.running import Runner, Views
from holdfast.setups import (
    AUCTION_SETUP,
    CUSTODY_SETUP,
    MARGIN_SETUP,
    OPERATIONS_SETUP,
    SMALL_SETUP,
    WHOLE_SETUP,
)
from holdfast_engine.faults import fault_by_name
from holdfast_invariants.auditor import Auditor
from holdfast_model.vocabulary import ComeToRest, EntryPosted, Event, History, OrderAccepted, Record, Setup
from slow_forms.hints import HINTS
from slow_forms.tale import Tale, within

SEED = 20250703
SETUPS: Mapping[str, Setup] = {
    "spot": SMALL_SETUP,
    "margin": MARGIN_SETUP,
    "auction": AUCTION_SETUP,
    "operations": OPERATIONS_SETUP,
    "custody": CUSTODY_SETUP,
    "everything": WHOLE_SETUP,
}
_EPISODES_MAX = 25
_STEPS_AFTER = 3
"""How many steps of a faulty history follow the first violation of what it must violate."""

Findings = dict[str, dict[str, int]]
"""By invariant and subject the step at which it was found."""


@dataclass
class Case:
    """A history, and what the monitors say of it."""

    name: str
    history: History
    fault: str = ""

    @cached_property
    def tale(self) -> Tale:
        return Tale(self.history)

    @cached_property
    def auditor(self) -> Auditor:
        auditor = Auditor(self.history.setup)
        for record, inside in within(self.history.records):
            if inside:
                auditor.watch_within(record)
            elif isinstance(record.step, ComeToRest):
                auditor.begin_rest()
            else:
                auditor.watch(record)
        return auditor

    @cached_property
    def found(self) -> Findings:
        found: Findings = {}
        for violation in self.auditor.violations:
            found.setdefault(violation.invariant, {}).setdefault(violation.subject, violation.step)
        return found

    @cached_property
    def checked(self) -> dict[str, int]:
        return {coverage.id: coverage.checked for coverage in self.auditor.coverage()}


def episode(workload: str, number: int, *, fault: str = "", wanted: frozenset[str] = frozenset()) -> Case:
    """A seeded history, which ends with all being healed; one of a fault ends soon after all that is wanted fired."""
    setup = SETUPS[workload]
    runner = Runner(
        LocalEngine(parts=fault_by_name(fault).parts if fault else None), setup, views=Views.AFTER_OPERATIONS
    )
    source = Source(episode_random(SEED, number), setup, runner.capabilities)
    records: list[Record] = []
    steps_after = 0
    for _ in range(episode_steps(setup)):
        record = runner.do(source.next(runner.auditor.told, runner.known))
        records += [] if record is None else [record]
        if wanted and wanted <= {violation.invariant for violation in runner.violations}:
            steps_after += 1
        if steps_after > _STEPS_AFTER or runner.failed:
            break
    else:
        last = runner.do(ComeToRest())
        records += [Record(step=ComeToRest()), *runner.healed] + ([] if last is None else [last])
    name = f"{fault or 'healthy'} {workload} {number} of seed {SEED}"
    return Case(name, History(setup=setup, records=tuple(records)), fault)


def faulty(fault: str) -> list[Case]:
    """Histories of a planted fault in which everything fires that it must violate, as few as were found."""
    missing = frozenset(fault_by_name(fault).violates)
    turns = [(workload, number) for number in range(_EPISODES_MAX) for workload in SETUPS]
    cases = []
    for workload, number in (*HINTS.get(fault, ()), *turns):
        case = episode(workload, number, fault=fault, wanted=missing)
        if missing & case.found.keys():
            cases.append(case)
            missing -= case.found.keys()
        if not missing:
            return cases
    raise AssertionError(f"{fault}: {', '.join(sorted(missing))} does not fire in {len(turns)} episodes")


# Corruptions --------------------------------------------------------------------------------------------------------


def corrupted(case: Case, random: Random, times: int) -> Iterator[Case]:
    """The history, so many times, each time with one event left out, told twice, moved or altered.

    All classes of events that it tells of have the same chance, however often they are told. No acceptance of an
    order is told twice: nothing follows from it but that FINAL-4 is violated.
    """
    spots: dict[type, list[tuple[int, int, int]]] = {}
    for number, record in enumerate(case.history.records):
        for place, answer in enumerate(record.answers):
            for index, event in enumerate(answer.events):
                spots.setdefault(type(event), []).append((number, place, index))
    kinds = [*spots]
    for _ in range(times):
        kind = random.choice(kinds)
        spot = random.choice(spots[kind])
        hows = ("left out", "told twice", "moved", "altered", "altered")
        how = random.choice(hows if kind is not OrderAccepted else hows[2:])
        yield Case(
            f"{case.name}, {kind.__name__} of record {spot[0]} {how}", _corrupt(case.history, spot, how, random)
        )


def _corrupt(history: History, spot: tuple[int, int, int], how: str, random: Random) -> History:
    number, place, index = spot
    record = history.records[number]
    events = [*record.answers[place].events]
    match how:
        case "left out":
            del events[index]
        case "told twice":
            events.insert(random.randrange(len(events) + 1), events[index])
        case "moved":
            events.insert(random.randrange(len(events)), events.pop(index))
        case _:
            events[index] = _altered(events[index], random)
    answers = [*record.answers]
    answers[place] = replace(answers[place], events=tuple(events))
    records = [*history.records]
    records[number] = replace(record, answers=tuple(answers))
    return replace(history, records=tuple(records))


def _altered(event: Event, random: Random) -> Event:
    """The event with another number in it, or another amount in one of its postings."""
    if isinstance(event, EntryPosted):
        postings = [*event.postings]
        place = random.randrange(len(postings))
        amount = postings[place].amount + random.choice((-20_000, -1, 1, 7))
        postings[place] = replace(postings[place], amount=amount)
        return replace(event, postings=tuple(postings))
    numbers = [name for name, value in asdict(event).items() if type(value) is int]
    if not numbers:
        return event
    name = random.choice(numbers)
    changed: dict[str, Any] = {name: max(0, getattr(event, name) + random.choice((-5, -1, 1, 3)))}
    return replace(event, **changed)
