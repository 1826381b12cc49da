"""CUST-1, CUST-2 and CUST-3, slowly: custody, deposits and withdrawals against what the chains show."""

from collections.abc import Iterable

from holdfast_model.vocabulary import (
    OUTSIDE,
    SWEEP_PREFIX,
    DepositCredited,
    DepositFinalised,
    EntryPosted,
    MismatchFound,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentSigned,
    Phase,
    PhaseChanged,
    ReportBlock,
    ShortfallCovered,
    SuspendAsset,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalStatus,
)
from slow_forms.chains import REPORTS, accepted, truth_at
from slow_forms.standing import balances_at, chains_at, label_of, withdrawals_at
from slow_forms.tale import Done, Moment, Tale, Violations

# CUST-1 -------------------------------------------------------------------------------------------------------------


def cust_1(tale: Tale) -> Violations:
    """Custody holds what is owed, and balances are the sums of their entries, or the exchange halts."""
    if tale.setup.custody is None:
        return
    for moment in tale.all(Done):
        asked = moment.what.asked
        changes = EntryPosted | MismatchFound | PhaseChanged
        changed = any(isinstance(event, changes) for event in asked.answer.events)
        if asked.answer.events and (changed or isinstance(asked.command, REPORTS)):
            for asset, beyond in _beyond_what_is_owed(tale, moment.at).items():
                halted = tale.phase(moment.at) is Phase.HALTED
                if beyond and not (halted and _difference_told(tale, moment.at, asset) == beyond):
                    yield moment.step, f"custody of {asset}"
    for moment in tale.all(View):
        owned = _by_owner((item.account, item.asset, item.amount) for item in moment.what.balances)
        entered = _by_owner(
            (account, asset, amount) for (account, _, asset), amount in balances_at(tale, moment.at).items()
        )
        for owner, asset in {*owned, *entered}:
            if owned.get((owner, asset), 0) != entered.get((owner, asset), 0):
                yield moment.step, f"balance of {owner} {asset}"
        held = {key: amount for key, amount in truth_at(tale, moment.at).held.items() if amount}
        shown = {(item.tier, item.asset): item.amount for item in moment.what.custody if item.amount}
        for tier, asset in {*held, *shown}:
            if held.get((tier, asset)) != shown.get((tier, asset)):
                yield moment.step, f"tier {tier} {asset}"


def _by_owner(amounts: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for owner, asset, amount in amounts:
        sums[owner, asset] = sums.get((owner, asset), 0) + amount
    return sums


def _beyond_what_is_owed(tale: Tale, end: int) -> dict[str, int]:
    """By asset what custody holds beyond what is owed to all accounts together; below zero for a shortfall."""
    balances, held = balances_at(tale, end), truth_at(tale, end).held
    return {
        asset: sum(amount for (_, kind), amount in held.items() if kind == asset)
        - sum(amount for (account, _, kind), amount in balances.items() if kind == asset and account != OUTSIDE)
        for asset in tale.setup.assets
    }


def _difference_told(tale: Tale, end: int, asset: str) -> int | None:
    """The difference that the exchange told of last, as it stood after that answer, less what was paid in since."""
    difference = None
    for moment in tale.between(0, end, MismatchFound, ShortfallCovered):
        if moment.what.asset != asset:
            continue
        if isinstance(moment.what, MismatchFound):
            answered = moment.at + len(tale.after(moment)) + 1
            difference = _beyond_what_is_owed(tale, answered)[asset]
        elif difference is not None and difference + moment.what.amount <= 0:
            difference += moment.what.amount
    return difference


# CUST-2 -------------------------------------------------------------------------------------------------------------


def cust_2(tale: Tale) -> Violations:
    """A final deposit is credited exactly once: right client, asset and amount, never before finality."""
    if tale.setup.custody is None:
        return
    for moment in tale.all(DepositFinalised, DepositCredited):
        event = moment.what
        name = f"deposit {event.transaction} of {event.asset}"
        chain = truth_at(tale, moment.at).chains.get(event.asset)
        there = None if chain is None else chain.deposits.get(event.transaction)
        if (
            chain is None
            or there is None
            or there[:2] != (event.client, event.amount)
            or not chain.is_final(there[2])
            or (isinstance(event, DepositCredited) and _credited(tale, moment.at, event.asset, event.transaction))
        ):
            yield moment.step, name
    for moment in tale.all(Done):
        command = moment.what.asked.command
        if isinstance(command, ReportBlock | SuspendAsset) and accepted(moment.what.asked):
            chain, (_, _, deposits_open, _) = (
                truth_at(tale, moment.at).chains[command.asset],
                chains_at(tale, moment.at)[command.asset],
            )
            for transaction, (_, _, height) in chain.deposits.items():
                waits = not _credited(tale, moment.at, command.asset, transaction)
                if deposits_open and chain.is_final(height) and waits:
                    yield moment.step, f"deposit {transaction} of {command.asset}"


def _credited(tale: Tale, end: int, asset: str, transaction: str) -> bool:
    return any(
        (event.asset, event.transaction) == (asset, transaction) for event in tale.before(end, DepositCredited)
    )


# CUST-3 -------------------------------------------------------------------------------------------------------------

_OVER = {WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED}


def cust_3(tale: Tale) -> Violations:
    """A withdrawal ends in exactly one of paid or refunded: the same asset, amount and owner, once."""
    if tale.setup.custody is None:
        return
    for moment in tale.all(WithdrawalPaid, WithdrawalRefunded):
        event, label = moment.what, label_of(moment.what)
        asked = withdrawals_at(tale, moment.at).get(label)
        signed = [other for other in tale.before(moment.at, PaymentSigned) if other.payment == label]
        right = asked is not None and asked[:3] == (event.asset, event.amount, event.fee) and asked[4] not in _OVER
        if isinstance(event, WithdrawalRefunded):
            right &= not signed
        elif label not in truth_at(tale, moment.at).paid:
            right = False
        if not right:
            yield moment.step, f"withdrawal {label}"
    for moment in tale.all(PaymentApproved, PaymentBroadcast, PaymentIncluded):
        label = label_of(moment.what)
        times = [other for other in tale.before(moment.at, PaymentBroadcast) if other.intent.payment == label]
        if isinstance(moment.what, PaymentIncluded):
            wrong = not times
        else:
            wrong = not _as_asked(tale, moment) or (isinstance(moment.what, PaymentBroadcast) and bool(times))
        if wrong:
            yield moment.step, f"withdrawal {label}"
    for moment in tale.all(Done):
        if isinstance(moment.what.asked.command, ReportBlock) and accepted(moment.what.asked):
            stand = withdrawals_at(tale, moment.at)
            for label in truth_at(tale, moment.at).paid:
                if label in stand and stand[label][4] is not WithdrawalStatus.PAID:
                    yield moment.step, f"withdrawal {label}"


def _as_asked(tale: Tale, moment: Moment) -> bool:
    """Whether a payment of a withdrawal goes where it was asked to, with the amount and fee that were held."""
    intent = moment.what.intent
    if intent.payment.startswith(SWEEP_PREFIX):
        return True
    asked = withdrawals_at(tale, moment.at).get(intent.payment)
    right = (intent.asset, intent.amount, intent.fee, intent.destination)
    return asked is not None and asked[:4] == right and asked[4] not in _OVER
