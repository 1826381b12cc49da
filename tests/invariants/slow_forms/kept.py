"""FINAL-2 and MAINT-1, slowly: what was acknowledged is still there, at any time and after maintenance."""

from typing import get_args

from holdfast_model.vocabulary import (
    AccountRead,
    CancelReason,
    CauseKind,
    EntryPosted,
    Event,
    MarkChanged,
    OperationsEvent,
    OrderCancelled,
    Phase,
    PhaseChanged,
    PriceReported,
    Rejected,
    SetPhase,
    Stage,
    TimeAdvanced,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
)
from slow_forms.book import orders_at
from slow_forms.standing import (
    Named,
    balances_at,
    chains_at,
    deposits_at,
    deposits_in,
    label_of,
    payments_at,
    payments_in,
    positions_at,
    resting_at,
    resting_in,
    stops_at,
    stops_in,
    transfers_at,
    transfers_in,
    withdrawals_at,
    withdrawals_in,
)
from slow_forms.tale import Asked, Done, Moment, Tale, Violations


def _unlike(what: str, shown: Named, told: Named) -> list[str]:
    return [f"{what} {name}" for name in {*shown, *told} if shown.get(name) != told.get(name)]


# FINAL-2 ------------------------------------------------------------------------------------------------------------


def final_2(tale: Tale) -> Violations:
    """What was acknowledged is never lost, changed or brought back: history only grows."""
    last = 0
    for moment in tale.all(Asked):
        seq = moment.what.answer.seq
        if seq is not None:
            if seq <= last:
                yield moment.step, f"sequence number {seq}"
            last = seq
            if moment.what.resent and moment.what.command not in tale.unknown(moment.at):
                yield moment.step, f"journal record {seq}"
    for moment in tale.all(WithdrawalPaid, WithdrawalRefunded):
        event, asked = moment.what, withdrawals_at(tale, moment.at).get(label_of(moment.what), ())
        if asked[:3] != (event.asset, event.amount, event.fee):
            yield moment.step, f"withdrawal {label_of(event)}"
    for moment in tale.all(View):
        for subject in _lost_or_new(tale, moment.at, moment.what):
            yield moment.step, subject


def _lost_or_new(tale: Tale, end: int, view: View) -> list[str]:
    found = ["history"] * (view.seq < tale.seq(end) and view.journal_sha256 is not None)
    found += ["phase"] * (view.phase is not tale.phase(end))
    found += ["time"] * (view.time_ms != tale.time_ms(end))
    over = {"/".join(key) for key, order in orders_at(tale, end).items() if order.state == "over"}
    found += [name for name in _unlike("order", resting_in(view), resting_at(tale, end)) if name[6:] not in over]
    found += _unlike("withdrawal", withdrawals_in(view), withdrawals_at(tale, end))
    shown, told = stops_in(view), stops_at(tale, end)
    found += _unlike("stop", shown, told)
    found += ["waiting stops"] * ({*shown} == {*told} and [*shown] != [*told])
    stages = {name: tale.stage(end, name) for name in {"spot", *(item.product for item in tale.setup.products)}}
    found += _unlike(
        "stage of",
        {item.product: item.stage for item in view.stages if item.stage is not Stage.OPEN},
        {name: stage for name, stage in stages.items() if stage is not Stage.OPEN},
    )
    if tale.setup.margin is not None:
        found += _unlike("position", _positions_in(view), _positions(tale, end))
        found += _unlike("transfer", transfers_in(view), transfers_at(tale, end))
    if tale.setup.custody is not None:
        chains = {
            item.asset: (item.height, item.provider_up, item.deposits_open, item.withdrawals_open)
            for item in view.chains
        }
        found += _unlike("deposit", deposits_in(view), deposits_at(tale, end))
        found += _unlike("payment", payments_in(view), payments_at(tale, end))
        found += _unlike("chain of", chains, chains_at(tale, end))
    return found


def _positions(tale: Tale, end: int) -> Named:
    return {"/".join(key): position for key, position in positions_at(tale, end).items()}


def _positions_in(view: View) -> Named:
    return {f"{item.client}/{item.market}": (item.position_lots, item.entry_value) for item in view.positions}


# MAINT-1 ------------------------------------------------------------------------------------------------------------


def maint_1(tale: Tale) -> Violations:
    """What a client sees after maintenance, at any replica, is what it saw before.

    Nothing is changed in maintenance but what is told: so what is shown is what stood when it began, from then on
    until the first command after it that changes something by itself.
    """
    for moment in tale.all(View, AccountRead):
        began = _in_question_since(tale, moment.at)
        if began is None:
            continue
        if isinstance(moment.what, View):
            for subject in _changed(tale, moment.at, moment.what):
                yield moment.step, subject
        elif tale.seq(began) < moment.what.seq <= tale.seq(moment.at) and not tale.unknown(moment.at):
            for place in _read_wrongly(tale, moment):
                yield moment.step, f"balance {moment.what.client} {place} at {moment.what.replica}"


def _in_question_since(tale: Tale, end: int) -> int | None:
    """Where maintenance began, if nothing has had an effect since it was over."""
    began = [moment for moment in tale.between(0, end, PhaseChanged) if moment.what.after is Phase.MAINTENANCE]
    if not began:
        return None
    for done in tale.between(began[-1].at, end, Done):
        asked = done.what.asked
        inside = tale.phase(done.at) is Phase.MAINTENANCE
        ending = isinstance(asked.command, SetPhase) and _only_ends(asked.answer.events)
        if not (inside or ending or all(isinstance(event, _WITHOUT_EFFECT) for event in asked.answer.events)):
            return None
    return began[-1].at


_WITHOUT_EFFECT = (Rejected, PhaseChanged, TimeAdvanced, PriceReported, MarkChanged, *get_args(OperationsEvent))


def _only_ends(events: tuple[Event, ...]) -> bool:
    """Whether maintenance ends, and with it nothing but orders whose time was up in it, and those linked to them."""
    return any(isinstance(event, PhaseChanged) and event.before is Phase.MAINTENANCE for event in events) and all(
        isinstance(event, PhaseChanged)
        or (
            isinstance(event, OrderCancelled)
            and event.reason in {CancelReason.EXPIRED, CancelReason.ONE_CANCELS_OTHER}
        )
        or (isinstance(event, EntryPosted) and event.cause_kind is CauseKind.ORDER_RELEASE)
        for event in events
    )


def _changed(tale: Tale, end: int, view: View) -> list[str]:
    balances = {f"{item.account} {item.bucket} {item.asset}": item.amount for item in view.balances}
    told = {" ".join(place): amount for place, amount in balances_at(tale, end).items()}
    found = [*_unlike("balance", balances, told)]
    found += _unlike("order", _left(resting_in(view)), _left(resting_at(tale, end)))
    found += _unlike(
        "withdrawal",
        {name: item[4] for name, item in withdrawals_in(view).items()},
        {name: item[4] for name, item in withdrawals_at(tale, end).items()},
    )
    found += _unlike("stop", stops_in(view), stops_at(tale, end))
    found += _unlike("position", _positions_in(view), _positions(tale, end))
    found += _unlike("transfer", transfers_in(view), transfers_at(tale, end))
    if tale.setup.custody is not None:
        found += _unlike("deposit", deposits_in(view), deposits_at(tale, end))
        found += _unlike("payment", payments_in(view), payments_at(tale, end))
    return found


def _left(orders: Named) -> Named:
    return {name: order[3:] for name, order in orders.items()}


def _read_wrongly(tale: Tale, moment: Moment) -> list[str]:
    read: AccountRead = moment.what
    shown = {(str(item.bucket), item.asset): item.amount for item in read.balances}
    told = {place[1:]: amount for place, amount in balances_at(tale, moment.at).items() if place[0] == read.client}
    return [" ".join(place) for place in {*shown, *told} if shown.get(place, 0) != told.get(place, 0)]
