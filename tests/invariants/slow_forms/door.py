"""SURGE-1, slowly: who is let in at the door, in which order, and what becomes of the others."""

from itertools import pairwise
from typing import get_args

from holdfast_model.vocabulary import (
    AmendOrder,
    Answer,
    Borrow,
    CancelAll,
    CancelOrder,
    Command,
    Crash,
    CrashPoint,
    OperatorCommand,
    OrderAccepted,
    PlaceOrder,
    ReadAccount,
    Reason,
    Rejected,
    Repay,
    RequestWithdrawal,
    Restart,
    TimeAdvanced,
    TransferMargin,
    View,
)
from slow_forms.tale import Acted, Arrived, Moment, Tale, Violations

_RATED = (PlaceOrder, AmendOrder, RequestWithdrawal, TransferMargin, Borrow, Repay, ReadAccount)
_AT_THE_DOOR = {
    Reason.OVERLOADED,
    Reason.RATE_LIMITED,
    Reason.NO_PRIMARY,
    Reason.NO_QUORUM,
    Reason.NOT_PRIMARY,
    Reason.UNAVAILABLE,
}
_FIRST_TO_LAST = ("operators", "cancels", "other commands", "new orders", "reads")


def surge_1(tale: Tale) -> Violations:
    """Every command is answered once, refused ones have no effect, and the door is as wide as it is."""
    for moment in tale.all(Arrived):
        for place, (command, answer) in enumerate(zip(moment.what.commands, moment.what.answers, strict=True)):
            refused = any(isinstance(event, Rejected) for event in answer.events)
            if not answer.events or (refused and len(answer.events) > 1):
                yield moment.step, f"{type(command).__name__} {place}"
        for subject in _taken_in(tale, moment.what):
            yield moment.step, subject
        if tale.setup.rate_max:
            yield from _rates(tale, moment)
    yield from _effects(tale)


def _why(answer: Answer) -> set[Reason]:
    return {event.reason for event in answer.events if isinstance(event, Rejected)}


def _is_shed(answer: Answer) -> bool:
    return not answer.events or Reason.OVERLOADED in _why(answer)


def _is_at_the_door(answer: Answer) -> bool:
    return not answer.events or (answer.seq is None and bool(_why(answer) & _AT_THE_DOOR))


def _turn(command: Command) -> int:
    if isinstance(command, get_args(OperatorCommand)):
        return 0
    if isinstance(command, CancelOrder | CancelAll):
        return 1
    return 3 if isinstance(command, PlaceOrder) else 4 if isinstance(command, ReadAccount) else 2


def _taken_in(tale: Tale, arrived: Arrived) -> list[str]:
    pairs = [*zip(arrived.commands, arrived.answers, strict=True)]
    shed = [command for command, answer in pairs if _is_shed(answer)]
    inside = [
        (command, answer)
        for command, answer in pairs
        if not _is_shed(answer) and Reason.RATE_LIMITED not in _why(answer)
    ]
    capacity, last = tale.setup.ingress_capacity, max((_turn(command) for command, _ in inside), default=0)
    wrong = ["ingress"] * (len(inside) > capacity)
    wrong += ["shedding"] * (bool(shed) and len(inside) < capacity)
    starved = [_turn(command) for command in shed if _turn(command) < last]
    wrong += [_FIRST_TO_LAST[min(starved)]] if starved else []
    decided = sorted((answer.seq, _turn(command)) for command, answer in inside if answer.seq is not None)
    return wrong + [_FIRST_TO_LAST[later] for (_, earlier), (_, later) in pairwise(decided) if earlier > later]


# Rates --------------------------------------------------------------------------------------------------------------


def _rates(tale: Tale, moment: Moment) -> Violations:
    """Nobody is limited before so many of its commands were taken in in this second, and everybody then."""
    second = tale.time_ms(moment.at) // 1_000
    unknown = bool(tale.unknown(moment.at))
    here: list[Command] = []
    for command, answer in zip(moment.what.commands, moment.what.answers, strict=True):
        limited = Reason.RATE_LIMITED in _why(answer)
        if not isinstance(command, _RATED):
            wrong = limited
        elif unknown:
            continue
        else:
            certain = len(_counted(tale, moment.at, command.client))
            certain += sum(other.client == command.client for other in here if isinstance(other, _RATED))
            if limited:
                wrong = certain + _perhaps(tale, moment.at, command.client) < tale.setup.rate_max
            else:
                wrong = certain >= tale.setup.rate_max
                here.append(command)
        if wrong:
            yield moment.step, f"rate at {second} s"


def _second_began(tale: Tale, end: int) -> int:
    """Where the venue's time came to be in this second, or the door was opened anew."""
    began = 0
    for moment in tale.between(0, end, TimeAdvanced):
        if tale.time_ms(moment.at) // 1_000 != moment.what.time_ms // 1_000:
            began = moment.at
    return max(began, _opened(tale, end))


def _opened(tale: Tale, end: int) -> int:
    restarts = [moment.at for moment in tale.between(0, end, Acted) if isinstance(moment.what.record.step, Restart)]
    return restarts[-1] if restarts else 0


def _counted(tale: Tale, end: int, client: str) -> list[Command]:
    """What a client asked for in this second, and was neither limited nor shed, while all was known."""
    return [
        command
        for moment in tale.between(_second_began(tale, end), end, Arrived)
        if not tale.unknown(moment.at)
        for command, answer in zip(moment.what.commands, moment.what.answers, strict=True)
        if isinstance(command, _RATED) and command.client == client
        if Reason.RATE_LIMITED not in _why(answer) and not _is_shed(answer)
    ]


def _perhaps(tale: Tale, end: int, client: str) -> int:
    """How many more may have counted: what was in flight, or asked while nobody knew whether the time had moved."""
    asked = 0
    for moment in tale.between(_opened(tale, end), end, Arrived, Acted):
        if isinstance(moment.what, Arrived):
            if tale.unknown(moment.at):
                asked += sum(isinstance(item, _RATED) and item.client == client for item in moment.what.commands)
        elif moment.at >= _second_began(tale, end):
            step = moment.what.record.step
            if isinstance(step, Crash) and step.point is CrashPoint.AFTER_JOURNAL:
                asked += isinstance(step.in_flight, _RATED) and step.in_flight.client == client
    return asked


# Effects ------------------------------------------------------------------------------------------------------------


def _effects(tale: Tale) -> Violations:
    """Nothing that was refused at the door is in the book, and no more was decided than was answered."""
    looked = 0
    for moment in tale.all(View):
        view: View = moment.what
        refused = [
            command
            for other in tale.between(0, moment.at, Arrived)
            for command, answer in zip(other.what.commands, other.what.answers, strict=True)
            if _is_at_the_door(answer)
        ]
        since = [
            answer
            for other in tale.between(looked, moment.at, Arrived)
            for answer in other.what.answers
            if _is_at_the_door(answer)
        ]
        looked = moment.at
        if since and view.seq > tale.seq(moment.at) and not tale.unknown(moment.at):
            yield moment.step, "refused commands"
        if view.ingress_depth_max > tale.setup.ingress_capacity:
            yield moment.step, "ingress"
        accepted = {(event.client, event.order) for event in tale.before(moment.at, OrderAccepted)}
        turned_away = {(order.client, order.order) for order in refused if isinstance(order, PlaceOrder)} - accepted
        for order in view.orders:
            if (order.client, order.order) in turned_away:
                yield moment.step, f"order {order.client}/{order.order}"
