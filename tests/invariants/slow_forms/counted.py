"""Nine slow forms that also count what they check, for the spot market alone and without auctions.

They take the whole history as one list (`flat`), and return the subjects of all violations and the number of checks:
`tests/invariants/test_fast_monitors_agree.py` holds both against the monitors.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from holdfast.setups import SMALL_SETUP
from holdfast_invariants.told import OrderKey, Place
from holdfast_model.vocabulary import (
    FEES,
    OUTSIDE,
    ROUNDING,
    Answer,
    CauseKind,
    Command,
    Crash,
    DepositCredited,
    EntryPosted,
    Event,
    HouseFunded,
    Market,
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    Phase,
    PhaseChanged,
    PromoteReplica,
    Record,
    Rejected,
    ReplicaPromoted,
    Restart,
    Side,
    StopArmed,
    StopTriggered,
    TradeExecuted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    commands_of,
)
from holdfast_model.vocabulary.chain import JournalBody
from holdfast_model.vocabulary.wire import canonical

# A history as one list: events in the order in which they were believed, where each command ended, and views -----


class CommandDone:
    """Stands where all events of a command were told."""


@dataclass
class Asked:
    """Stands before the events of a command; `resent` of one that was decided while nobody listened."""

    command: Command
    answer: Answer
    resent: bool = False


@dataclass
class Lost:
    """A command was in flight when the exchange was killed."""

    command: Command


class Settled:
    """From here on everybody knows what became of the commands that were in flight."""


Moment = Event | CommandDone | Asked | Lost | Settled | View
Verdict = tuple[set[str], int]
"""The subjects of all violations, and the number of checks."""


def flat(records: Iterable[Record]) -> list[Moment]:
    moments: list[Moment] = []
    for record in records:
        if isinstance(record.step, Crash) and record.step.in_flight is not None:
            moments.append(Lost(record.step.in_flight))
        for resent in record.resent:
            answer = Answer(events=resent.events, seq=resent.seq, journal_sha256=resent.journal_sha256)
            moments += [Asked(resent.command, answer, resent=True), *resent.events, CommandDone()]
        if isinstance(record.step, Restart) or any(answer.seq is not None for answer in record.answers):
            moments.append(Settled())
        asked = [Asked(*pair) for pair in zip(commands_of(record.step), record.answers, strict=True)]
        decided = [item for item in asked if item.answer.seq is not None]
        refused = [item for item in asked if item.answer.seq is None]
        for item in (*sorted(decided, key=lambda item: item.answer.seq or 0), *refused):
            moments += [item, *item.answer.events, CommandDone()]
        if record.view is not None:
            moments.append(record.view)
    return moments


def unknown_at(past: Sequence[Moment]) -> list[Command]:
    """The commands in flight of which nobody knows what became of them."""
    unknown: list[Command] = []
    for moment in past:
        if isinstance(moment, Lost):
            unknown.append(moment.command)
        elif isinstance(moment, Asked) and moment.resent and moment.command in unknown:
            unknown.remove(moment.command)
        elif isinstance(moment, Settled):
            unknown = []
    return unknown


# What was known of an order, and which orders stood in queues -----------------------------------------------------


@dataclass
class Order:
    market: MarketId
    side: Side
    price: int | None
    size: int
    left: int
    filled: int


def order_at(past: Sequence[Moment], key: OrderKey) -> Order | None:
    order: Order | None = None
    for event in past:
        match event:
            case OrderAccepted() if (event.client, event.order) == key:
                order = Order(event.market, event.side, event.price_ticks, event.size_lots, event.size_lots, 0)
            case TradeExecuted() if order is not None:
                for party in ((event.maker_client, event.maker_order), (event.taker_client, event.taker_order)):
                    if party == key:
                        order.left -= event.size_lots
                        order.filled += event.size_lots
            case OrderReduced() | OrderAmended() if (event.client, event.order) == key and order is not None:
                order.size, order.left = event.size_lots, event.left_lots
                if isinstance(event, OrderAmended):
                    order.price = event.price_ticks
            case OrderCancelled() if (event.client, event.order) == key and order is not None:
                order.left = 0
            case _:
                pass
    return order


def is_over(past: Sequence[Moment], key: OrderKey) -> bool:
    """Whether the last that was told of an order that was accepted is that it is filled or cancelled."""
    accepted = over = False
    for event in past:
        match event:
            case OrderAccepted() if (event.client, event.order) == key:
                accepted, over = True, False
            case OrderFilled() | OrderCancelled() if accepted and (event.client, event.order) == key:
                over = True
            case OrderRested() if accepted and (event.client, event.order) == key:
                over = False
            case OrderAmended() if accepted and (event.client, event.order) == key and not event.priority_kept:
                over = False
            case _:
                pass
    return over


@dataclass
class Resting:
    key: OrderKey
    market: MarketId
    side: Side
    price: int


def queue_at(past: Sequence[Moment]) -> list[Resting]:
    """All resting orders, in the order in which they came to rest."""
    queue: list[Resting] = []
    for position, event in enumerate(past):
        match event:
            case OrderRested():
                key = (event.client, event.order)
                order = order_at(past[:position], key)
                if order is not None and key not in [resting.key for resting in queue]:
                    queue.append(Resting(key, order.market, order.side, event.price_ticks))
            case OrderCancelled() | OrderFilled():
                queue = [resting for resting in queue if resting.key != (event.client, event.order)]
            case OrderAmended() if not event.priority_kept:
                queue = [resting for resting in queue if resting.key != (event.client, event.order)]
            case _:
                pass
    return queue


def best(queue: list[Resting], market: MarketId, side: Side) -> Resting | None:
    there = [resting for resting in queue if (resting.market, resting.side) == (market, side)]
    if not there:
        return None
    price = (max if side is Side.BUY else min)(resting.price for resting in there)
    return next(resting for resting in there if resting.price == price)


# The invariants, written slowly ------------------------------------------------------------------------------------


def places_of(entry: EntryPosted) -> set[Place]:
    return {(posting.account, posting.bucket, posting.asset) for posting in entry.postings}


def added(entries: Iterable[EntryPosted], place: Place) -> int:
    return sum(
        posting.amount
        for entry in entries
        for posting in entry.postings
        if (posting.account, posting.bucket, posting.asset) == place
    )


def cons_1(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for moment in history:
        if isinstance(moment, EntryPosted):
            checked += 1
            for asset in {posting.asset for posting in moment.postings}:
                if sum(posting.amount for posting in moment.postings if posting.asset == asset) != 0:
                    subjects.add(f"entry {moment.cause_kind} {moment.cause}")
        elif isinstance(moment, View):
            for asset in SMALL_SETUP.assets:
                checked += 1
                owed = sum(b.amount for b in moment.balances if b.asset == asset and b.account != OUTSIDE)
                if owed != sum(custody.amount for custody in moment.custody if custody.asset == asset):
                    subjects.add(f"custody {asset}")
    return subjects, checked


def cons_2(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for position, moment in enumerate(history):
        if isinstance(moment, EntryPosted):
            checked += 1
            told = [entry for entry in history[: position + 1] if isinstance(entry, EntryPosted)]
            for place in places_of(moment):
                if place[0] != OUTSIDE and added([moment], place) < 0 and added(told, place) < 0:
                    subjects.add(" ".join(place))
        elif isinstance(moment, View):
            for balance in moment.balances:
                checked += 1
                if balance.amount < 0 and balance.account != OUTSIDE:
                    subjects.add(f"{balance.account} {balance.bucket} {balance.asset}")
    return subjects, checked


def final_3(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for position, moment in enumerate(history):
        past = history[:position]
        if isinstance(moment, TradeExecuted):
            checked += 3
            numbers = [event.trade for event in past if isinstance(event, TradeExecuted)]
            if moment.trade != (numbers[-1] if numbers else 0) + 1:
                subjects.add(f"trade {moment.trade}")
            for key in ((moment.maker_client, moment.maker_order), (moment.taker_client, moment.taker_order)):
                order = order_at(past, key)
                if order is not None and (moment.size_lots <= 0 or moment.size_lots > order.left):
                    subjects.add(f"order {'/'.join(key)}")
        elif isinstance(moment, View):
            for shown in moment.orders:
                checked += 1
                order = order_at(past, (shown.client, shown.order))
                if order is not None:
                    smaller_by = max(0, order.size - shown.size_lots)
                    if shown.size_lots - shown.left_lots < order.filled - smaller_by:
                        subjects.add(f"order {shown.client}/{shown.order}")
    return subjects, checked


def prio_1(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for position, moment in enumerate(history):
        past = history[:position]
        match moment:
            case OrderRested():
                checked += order_at(past, (moment.client, moment.order)) is not None
            case OrderAmended():
                checked += 1
                order = order_at(past, (moment.client, moment.order))
                if order is not None and moment.priority_kept:
                    same_price, smaller = moment.price_ticks == order.price, moment.size_lots <= order.size
                    if not (same_price and smaller):
                        subjects.add(f"order {moment.client}/{moment.order}")
            case TradeExecuted():
                checked += 1
                subjects |= out_of_turn(past, moment)
            case CommandDone() if phase_at(past) in {Phase.OPEN, Phase.POST_ONLY}:
                queue = queue_at(past)
                for market in SMALL_SETUP.markets:
                    bid, ask = best(queue, market.market, Side.BUY), best(queue, market.market, Side.SELL)
                    if bid is not None and ask is not None and bid.price >= ask.price:
                        subjects.add(f"book of {market.market}")
            case View():
                levels = {(shown.market, shown.side, shown.price_ticks) for shown in moment.orders}
                checked += len(levels)
                subjects |= {
                    f"queue of {market} {side} {price}"
                    for market, side, price in levels
                    if not in_order(queue_at(past), moment, (market, side, price))
                }
            case _:
                pass
    return subjects, checked


def phase_at(past: Sequence[Moment]) -> Phase:
    """The phase that was told last: only while orders may trade nobody's book may be crossed."""
    return next((moment.after for moment in reversed(past) if isinstance(moment, PhaseChanged)), Phase.OPEN)


def out_of_turn(past: Sequence[Moment], trade: TradeExecuted) -> set[str]:
    subjects = set()
    queue, maker = queue_at(past), (trade.maker_client, trade.maker_order)
    head = best(queue, trade.market, trade.taker_side.opposite)
    if head is None or head.key != maker:
        subjects.add(f"trade {trade.trade}")
    if [resting for resting in queue if resting.key == maker and resting.price != trade.price_ticks]:
        subjects.add(f"price of trade {trade.trade}")
    taker = order_at(past, (trade.taker_client, trade.taker_order))
    if taker is not None and taker.price is not None:
        worse = trade.price_ticks > taker.price if taker.side is Side.BUY else trade.price_ticks < taker.price
        if worse:
            subjects.add(f"price of trade {trade.trade} for its taker")
    return subjects


def in_order(queue: list[Resting], view: View, level: tuple[MarketId, Side, int]) -> bool:
    shown = [(o.client, o.order) for o in view.orders if (o.market, o.side, o.price_ticks) == level]
    came = [resting.key for resting in queue if (resting.market, resting.side, resting.price) == level]
    return [key for key in shown if key in came] == [key for key in came if key in shown]


def charged(value: int, rate_ppm: int, past: Sequence[Moment], key: OrderKey) -> tuple[int, int]:
    """What a trade adds to an order's fee rounded up over all its trades, and to that rounded down."""
    before = 0
    for event in past:
        match event:
            case OrderAccepted() if (event.client, event.order) == key:
                before = 0
            case TradeExecuted():
                market = market_of(event)
                worth = event.price_ticks * event.size_lots * market.tick_amount
                if (event.maker_client, event.maker_order) == key:
                    before += worth * market.maker_fee_ppm
                if (event.taker_client, event.taker_order) == key:
                    before += worth * market.taker_fee_ppm
            case _:
                pass
    after = before + value * rate_ppm
    up = -(-after // 1_000_000) + (-before // 1_000_000)
    return up, after // 1_000_000 - before // 1_000_000


def market_of(trade: TradeExecuted) -> Market:
    (market,) = (market for market in SMALL_SETUP.markets if market.market == trade.market)
    return market


def parties(trade: TradeExecuted) -> list[OrderKey]:
    return [(trade.maker_client, trade.maker_order), (trade.taker_client, trade.taker_order)]


def cons_3(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    awaited: dict[str, tuple[int, int]] = {}
    for position, moment in enumerate(history):
        past = history[:position]
        if isinstance(moment, TradeExecuted) and all(order_at(past, key) for key in parties(moment)):
            checked += 2
            maker, taker = parties(moment)
            market = market_of(moment)
            value = moment.price_ticks * moment.size_lots * market.tick_amount
            maker_up, maker_down = charged(value, market.maker_fee_ppm, past, maker)
            taker_up, taker_down = charged(value, market.taker_fee_ppm, past, taker)
            if moment.maker_fee != maker_up:
                subjects.add(f"maker fee of trade {moment.trade}")
            if moment.taker_fee != taker_up:
                subjects.add(f"taker fee of trade {moment.trade}")
            earned = maker_down + taker_down
            awaited[str(moment.trade)] = (earned, maker_up + taker_up - earned)
        elif isinstance(moment, EntryPosted) and moment.cause_kind is CauseKind.TRADE and moment.cause in awaited:
            checked += 2
            for account, due in zip((FEES, ROUNDING), awaited.pop(moment.cause), strict=True):
                if sum(posting.amount for posting in moment.postings if posting.account == account) != due:
                    subjects.add(f"{account} of trade {moment.cause}")
    return subjects, checked


def final_1(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for position, moment in enumerate(history):
        keys: list[OrderKey] = []
        match moment:
            case OrderRested() | OrderFilled() | OrderCancelled() | OrderReduced():
                keys = [(moment.client, moment.order)]
            case OrderAmended() | StopArmed() | StopTriggered():
                keys = [(moment.client, moment.order)]
            case TradeExecuted():
                keys = parties(moment)
            case View():
                keys = [(shown.client, shown.order) for shown in moment.orders]
                keys += [(stop.client, stop.order) for stop in moment.stops]
            case _:
                pass
        checked += len(keys)
        subjects |= {f"order {'/'.join(key)}" for key in keys if is_over(history[:position], key)}
    return subjects, checked


def final_4(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for position, moment in enumerate(history):
        past = history[:position]
        match moment:
            case OrderAccepted():
                checked += 1
                if [e for e in past if isinstance(e, OrderAccepted) and named(e) == named(moment)]:
                    subjects.add(f"order {named(moment)}")
            case DepositCredited():
                checked += 1
                if [e for e in past if isinstance(e, DepositCredited) and e.transaction == moment.transaction]:
                    subjects.add(f"deposit {moment.transaction}")
            case WithdrawalRequested() | WithdrawalPaid() | WithdrawalRefunded():
                checked += 1
                last = [e for e in past if isinstance(e, WITHDRAWAL) and named(e) == named(moment)][-1:]
                asked_again = last and isinstance(moment, WithdrawalRequested)
                ended_again = last and not isinstance(last[0], WithdrawalRequested)
                if asked_again or (ended_again and not isinstance(moment, WithdrawalRequested)):
                    subjects.add(f"withdrawal {named(moment)}")
            case HouseFunded():
                checked += 1
                if [e for e in past if isinstance(e, HouseFunded) and e.transaction == moment.transaction]:
                    subjects.add(f"house funding {moment.transaction}")
            case Rejected():
                checked += moment.reason.value.startswith("duplicate_")
            case _:
                pass
    return subjects, checked


WITHDRAWAL = (WithdrawalRequested, WithdrawalPaid, WithdrawalRefunded)


def named(event: OrderAccepted | WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded) -> str:
    return f"{event.client}/{event.order if isinstance(event, OrderAccepted) else event.withdrawal}"


def seq_1(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    for position, moment in enumerate(history):
        past = history[:position]
        unknown = unknown_at(history[: position + 1])
        match moment:
            case Asked() if moment.answer.seq is not None:
                checked += 1
                last = ([0] + [m.answer.seq for m in past if isinstance(m, Asked) and m.answer.seq is not None])[-1]
                if not last < moment.answer.seq <= last + 1 + len(unknown):
                    subjects.add(f"sequence number {moment.answer.seq}")
            case TradeExecuted():
                checked += 1
                last = ([0] + [m.trade for m in past if isinstance(m, TradeExecuted)])[-1]
                if moment.trade != last + 1 and not unknown:
                    subjects.add(f"trade number {moment.trade}")
            case OrderRested() | OrderCancelled() | OrderFilled() | OrderReduced() | OrderAmended():
                key = (moment.client, moment.order)
                order = order_at(past, key)
                if order is None or is_over(past, key):
                    continue
                checked += 1
                left = 0 if isinstance(moment, OrderFilled) else moment.left_lots
                due = (
                    moment.size_lots - order.filled if isinstance(moment, OrderReduced | OrderAmended) else order.left
                )
                if left != due:
                    subjects.add(f"order {moment.client}/{moment.order}")
            case View():
                for market in SMALL_SETUP.markets:
                    for side in Side:
                        checked += 1
                        if side_shown(moment, market.market, side) != side_fed(past, market.market, side):
                            subjects.add(f"book of {market.market} {side}")
            case _:
                pass
    return subjects, checked


def side_shown(view: View, market: MarketId, side: Side) -> list[tuple[OrderKey, int, int]]:
    return [
        ((shown.client, shown.order), shown.left_lots, shown.price_ticks)
        for shown in view.orders
        if (shown.market, shown.side) == (market, side)
    ]


def side_fed(past: Sequence[Moment], market: MarketId, side: Side) -> list[tuple[OrderKey, int, int]]:
    there = [resting for resting in queue_at(past) if (resting.market, resting.side) == (market, side)]
    there.sort(key=lambda resting: -resting.price if side is Side.BUY else resting.price)
    orders = [(resting.key, order_at(past, resting.key)) for resting in there]
    return [(key, order.left, order.price or 0) for key, order in orders if order is not None]


def audit_1(history: list[Moment]) -> Verdict:
    subjects, checked = set(), 0
    head = "0" * 64
    for position, moment in enumerate(history):
        if isinstance(moment, Asked) and moment.answer.seq is not None and moment.answer.journal_sha256 is not None:
            checked += 1
            answer = moment.answer
            told = (*history[:position], *(answer.events if isinstance(moment.command, PromoteReplica) else ()))
            epoch = ([1] + [event.epoch for event in told if isinstance(event, ReplicaPromoted)])[-1]
            body = JournalBody(seq=answer.seq or 0, epoch=epoch, command=moment.command, events=answer.events)
            if moment.answer.journal_sha256 != sha256(head.encode() + canonical(body)).hexdigest():
                subjects.add(f"journal record {moment.answer.seq}")
            head = moment.answer.journal_sha256
        elif isinstance(moment, View):
            entries = [entry for entry in history[:position] if isinstance(entry, EntryPosted)]
            shown = {(item.account, item.bucket, item.asset): item.amount for item in moment.balances}
            places = {place for entry in entries for place in places_of(entry)} | {*shown}
            checked += 1 + len(places)
            if moment.journal_sha256 != head:
                subjects.add("journal head")
            subjects |= {" ".join(place) for place in places if shown.get(place, 0) != added(entries, place)}
    return subjects, checked


SLOW: dict[str, Callable[[list[Moment]], Verdict]] = {
    "AUDIT-1": audit_1,
    "CONS-1": cons_1,
    "CONS-2": cons_2,
    "CONS-3": cons_3,
    "FINAL-1": final_1,
    "FINAL-3": final_3,
    "FINAL-4": final_4,
    "PRIO-1": prio_1,
    "SEQ-1": seq_1,
}
