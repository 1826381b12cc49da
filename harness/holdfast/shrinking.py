"""Shrinking: the smallest sequence that still shows the same violation.

Delta debugging over the steps (Zeller and Hildebrandt 2002), then over each burst's commands, then fewer clients and
markets, then smaller numbers; while it is long, over pairs of steps as well.
The predicate runs the candidate from the start each time, so that what comes out replays as it is.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import replace

from holdfast.engine import HUNG
from holdfast.resigning import with_amount
from holdfast_model.vocabulary import (
    AccrueInterest,
    AdvanceTime,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    AskReplica,
    AttestCustody,
    Borrow,
    Burst,
    Conditions,
    CoverShortfall,
    Crash,
    CrashPoint,
    CreditDeposit,
    CustodyRules,
    FundHouse,
    GrantPromotion,
    PlaceOrder,
    Repay,
    ReportDeposit,
    ReportPrice,
    RequestWithdrawal,
    SettleFunding,
    SizeLots,
    Step,
    SweepFunds,
    TimeInForce,
    TransferMargin,
    TriggerBy,
    commands_of,
)

Steps = tuple[Step, ...]
RUNS_MAX = 2_000
PAIRS_BEYOND = 20
"""How many steps a person still takes in at a glance: beyond, steps that only go together are looked for, too."""
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


def shrink(
    steps: Steps,
    shows: Callable[[Steps], bool],
    *,
    runs_max: int = RUNS_MAX,
    custody: CustodyRules | None = None,
) -> Steps:
    """A sequence of which no step, command of a burst, client, market or larger number can go without losing `shows`.

    At most `runs_max` candidates are run; after that the smallest found so far is returned. By the rules of `custody`
    the signers of a smaller payment sign that one.
    """
    budget = _Budget(shows, runs_max)
    assert budget.shows(steps), "the sequence to shrink must show what is looked for"
    while True:
        smaller = _fewer_steps(steps, budget)
        for candidates in (_simpler, _fewer_names, partial(_smaller_numbers, custody)):
            smaller = _first_that_shows(smaller, candidates, budget)
        if smaller == steps and len(steps) > PAIRS_BEYOND:
            smaller = _first_that_shows(steps, _without_two, budget)
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
    """Take candidates that still show it until none does any more.

    After one that does it goes on in the same place: those before it are tried again last, as most fail again.
    """
    place = 0
    while True:
        those = list(candidates(steps))
        order = (*range(place, len(those)), *range(min(place, len(those))))
        place = next((number for number in order if those[number] and budget.shows(those[number])), -1)
        if place < 0:
            return steps
        steps = those[place]


def _without_two(steps: Steps) -> Iterator[Steps]:
    """Two steps less: neither can be taken alone where the one makes up for the other."""
    for first in range(len(steps)):
        for second in range(first + 1, len(steps)):
            yield (*steps[:first], *steps[first + 1 : second], *steps[second + 1 :])


def _with(steps: Steps, position: int, step: Step) -> Steps:
    return (*steps[:position], step, *steps[position + 1 :])


def _simpler(steps: Steps) -> Iterator[Steps]:
    """Bursts with a command less, crashes with nothing in flight, plainer orders, less time and fewer prices."""
    for position, step in enumerate(steps):
        if isinstance(step, Burst | AskReplica):
            for gone in range(len(step.commands)):
                rest = (*step.commands[:gone], *step.commands[gone + 1 :])
                if len(rest) == 1 and isinstance(step, Burst):
                    yield _with(steps, position, rest[0])
                elif rest:
                    yield _with(steps, position, replace(step, commands=rest))
        elif isinstance(step, Crash) and step.in_flight is not None:
            yield _with(steps, position, replace(step, in_flight=None, point=CrashPoint.BEFORE_JOURNAL))
        elif isinstance(step, PlaceOrder):
            for order in _plainer(step):
                yield _with(steps, position, order)
        elif isinstance(step, AccrueInterest | SettleFunding):
            yield _renumbered(steps[:position] + steps[position + 1 :])
        elif isinstance(step, AdvanceTime):
            yield _sooner(steps[:position] + steps[position + 1 :], position, _step_ms(steps, position))
        elif isinstance(step, ReportPrice):
            yield from _merged(steps, position, step)


def _plainer(order: PlaceOrder) -> Iterator[PlaceOrder]:
    """The order with one condition less; without an expiry it is good till cancelled."""
    conditions = order.conditions
    if conditions is None:
        return
    if conditions.expires_ms is not None or order.time_in_force is TimeInForce.GTT:
        lasting = replace(conditions, expires_ms=None)
        yield replace(order, time_in_force=TimeInForce.GTC, conditions=_or_none(lasting))
    if conditions.trigger is not None:
        yield replace(order, conditions=_or_none(replace(conditions, trigger=None)))
        if conditions.trigger.by is TriggerBy.MARK:
            by_last = replace(conditions.trigger, by=TriggerBy.LAST)
            yield replace(order, conditions=replace(conditions, trigger=by_last))
    if conditions.one_cancels_other is not None:
        yield replace(order, conditions=_or_none(replace(conditions, one_cancels_other=None)))
    if conditions.reduce_only:
        yield replace(order, conditions=_or_none(replace(conditions, reduce_only=False)))
    if conditions.cancel_on_disconnect:
        yield replace(order, conditions=_or_none(replace(conditions, cancel_on_disconnect=False)))


def _or_none(conditions: Conditions) -> Conditions | None:
    return None if conditions == Conditions() else conditions


def _step_ms(steps: Steps, position: int) -> int:
    """By how much the step at this position advances the time, or how far ahead it announces something."""
    step = steps[position]
    assert isinstance(step, AdvanceTime | AnnounceMaintenance)
    until = step.time_ms if isinstance(step, AdvanceTime) else step.begins_ms
    earlier = [item.time_ms for item in steps[:position] if isinstance(item, AdvanceTime)]
    return max(0, until - max(earlier, default=0))


def _sooner(steps: Steps, start: int, milliseconds: int) -> Steps:
    """The steps with all times from `start` on earlier by so much, as far as they were after the time by then."""
    now = max((item.time_ms for item in steps[:start] if isinstance(item, AdvanceTime)), default=0)

    def earlier(time: int) -> int:
        return max(min(time, now), time - milliseconds)

    def moved(step: Step) -> Step:
        match step:
            case AdvanceTime() | ReportPrice():
                return replace(step, time_ms=earlier(step.time_ms))
            case AnnounceMaintenance():
                return replace(step, begins_ms=earlier(step.begins_ms))
            case PlaceOrder(conditions=Conditions(expires_ms=int(expires)) as conditions):
                return replace(step, conditions=replace(conditions, expires_ms=earlier(expires)))
            case _:
                return step

    return (*steps[:start], *map(moved, steps[start:]))


def _merged(steps: Steps, position: int, report: ReportPrice) -> Iterator[Steps]:
    """The report with the price, and with the time, of the one before it in its market."""
    before = [item for item in steps[:position] if isinstance(item, ReportPrice) and item.market == report.market]
    if before and before[-1].price_ticks != report.price_ticks:
        yield _with(steps, position, replace(report, price_ticks=before[-1].price_ticks))


def _renumbered(steps: Steps) -> Steps:
    """The steps with the periods of interest and of funding counted anew, so that none is missing."""
    periods: Counter[tuple[type, str]] = Counter()
    result: list[Step] = []
    for step in steps:
        if isinstance(step, AccrueInterest | SettleFunding):
            name = (type(step), step.asset if isinstance(step, AccrueInterest) else step.market)
            periods[name] += 1
            result.append(replace(step, period=periods[name]))
        else:
            result.append(step)
    return tuple(result)


def _fewer_names(steps: Steps) -> Iterator[Steps]:
    """What one client did done by another that comes before it; what was done in one market done in another."""
    commands = [command for step in steps for command in commands_of(step)]
    for field in ("client", "market"):
        names = dict.fromkeys(name for command in commands if (name := getattr(command, field, None)) is not None)
        for number, gone in enumerate(names):
            for kept in [*names][:number]:
                # A client may be called as something else is that stands in a step, whose name may not change.
                with suppress(ValidationError):
                    yield tuple(_renamed(step, gone, kept) for step in steps)


def _renamed(step: Step, gone: str, kept: str) -> Step:
    """The step with another name in every place of this one, also before the slash of a payment's label."""

    def renamed(value: object) -> object:
        match value:
            case str() if value == gone or value.startswith(f"{gone}/"):
                return kept + value.removeprefix(gone)
            case dict():
                return {key: renamed(item) for key, item in value.items()}
            case list() | tuple():
                return [*map(renamed, value)]
            case _:
                return value

    return convert(renamed(to_builtins(step)), Step)  # type: ignore[no-any-return]  # a union is not a type to mypy


_Amounts = (
    CreditDeposit | TransferMargin | Borrow | Repay | FundHouse | GrantPromotion | AttestCustody | CoverShortfall
)


def _smaller_numbers(custody: CustodyRules | None, steps: Steps) -> Iterator[Steps]:
    """Sizes of one lot, then of half; amounts, rates and steps of time likewise."""
    for position, step in enumerate(steps):
        if isinstance(step, PlaceOrder | AmendOrder):
            for size in _smaller(step.size_lots):
                yield _with(steps, position, replace(step, size_lots=SizeLots(size)))
        elif isinstance(step, _Amounts):
            for amount in _smaller(step.amount):
                yield _with(steps, position, replace(step, amount=Amount(amount)))
        elif isinstance(step, RequestWithdrawal | SweepFunds):
            for amount in _smaller(step.amount):
                yield with_amount(steps, position, Amount(amount), custody)
        elif isinstance(step, ReportDeposit):
            for amount in _smaller(step.amount):
                yield _reported(steps, step, Amount(amount))
        elif isinstance(step, AccrueInterest | SettleFunding):
            for rate in _smaller(step.rate_ppm):
                yield _with(steps, position, replace(step, rate_ppm=rate))
        elif isinstance(step, AdvanceTime | AnnounceMaintenance):
            whole = _step_ms(steps, position)
            for milliseconds in _smaller(whole):
                yield _sooner(steps, position, whole - milliseconds)


def _reported(steps: Steps, report: ReportDeposit, amount: Amount) -> Steps:
    """The steps with another amount wherever a deposit is reported with this one."""

    def changed(step: Step) -> Step:
        same = isinstance(step, ReportDeposit) and (step.asset, step.transaction, step.amount) == (
            report.asset,
            report.transaction,
            report.amount,
        )
        return replace(step, amount=amount) if same else step

    return tuple(map(changed, steps))


def _smaller(number: int) -> list[int]:
    """One, and half of it, where that is less; of a number below zero the same with its sign."""
    sign = 1 if number > 0 else -1
    return [sign * size for size in sorted({1, abs(number) // 2} - {0, abs(number)}) if size < abs(number)]
