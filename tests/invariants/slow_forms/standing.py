"""What stands at a place, by all that was told before it, and what a view shows of it, by the same names."""

from collections.abc import Mapping
from typing import Any

from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    AssetSuspended,
    BlockReported,
    ChainReorganised,
    DepositCredited,
    DepositFinalised,
    DepositOrphaned,
    DepositSeen,
    EntryPosted,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentSigned,
    PaymentStatus,
    PositionChanged,
    ProviderChanged,
    SigningBegan,
    SigningRestarted,
    SweepCompleted,
    TransferCompleted,
    TransferStarted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from slow_forms.book import orders_at
from slow_forms.tale import Tale

Named = Mapping[str, Any]


def balances_at(tale: Tale, end: int) -> dict[tuple[str, str, str], int]:
    """The sums of all entries; zero is left out."""
    sums: dict[tuple[str, str, str], int] = {}
    for entry in tale.before(end, EntryPosted):
        for posting in entry.postings:
            place = (posting.account, str(posting.bucket), posting.asset)
            sums[place] = sums.get(place, 0) + posting.amount
    return {place: amount for place, amount in sums.items() if amount}


def resting_at(tale: Tale, end: int) -> Named:
    """Orders in the book."""
    return {
        "/".join(key): (order.accepted.market, order.accepted.side, order.size, order.left, order.price)
        for key, order in orders_at(tale, end).items()
        if order.state == "resting"
    }


def resting_in(view: View) -> Named:
    return {
        f"{order.client}/{order.order}": (
            order.market,
            order.side,
            order.size_lots,
            order.left_lots,
            order.price_ticks,
        )
        for order in view.orders
    }


def stops_at(tale: Tale, end: int) -> Named:
    """Stop orders that wait, in the order in which they came."""
    stops = {}
    for key, order in orders_at(tale, end).items():
        told = order.accepted
        if order.state == "waiting" and told.conditions is not None:
            stops["/".join(key)] = (told.market, told.side, order.price, order.size, told.conditions.trigger)
    return stops


def stops_in(view: View) -> Named:
    return {
        f"{stop.client}/{stop.order}": (stop.market, stop.side, stop.price_ticks, stop.size_lots, stop.trigger)
        for stop in view.stops
    }


def positions_at(tale: Tale, end: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Lots and entry value of each position as it was told last; what is closed and settled is gone."""
    last = {(told.client, told.market): told for told in tale.before(end, PositionChanged)}
    return {
        key: (told.position_lots, told.entry_value)
        for key, told in last.items()
        if told.position_lots or told.entry_value
    }


def transfers_at(tale: Tale, end: int) -> Named:
    """Transfers on their way."""
    transfers: dict[str, Any] = {}
    for moment in tale.between(0, end, TransferStarted, TransferCompleted):
        event = moment.what
        if isinstance(event, TransferStarted):
            transfers[f"{event.client}/{event.request}"] = (event.amount, event.asset, event.source, event.target)
        else:
            transfers.pop(f"{event.client}/{event.request}", None)
    return transfers


def transfers_in(view: View) -> Named:
    return {
        f"{item.client}/{item.request}": (item.amount, item.asset, item.source, item.target)
        for item in view.transfers
    }


# Custody ------------------------------------------------------------------------------------------------------------


def withdrawals_at(tale: Tale, end: int) -> dict[str, tuple[Any, ...]]:
    """All withdrawals ever asked for: asset, amount, fee, destination, and how each stands."""
    steps: dict[type, WithdrawalStatus] = {
        PaymentApproved: WithdrawalStatus.APPROVED,
        PaymentSigned: WithdrawalStatus.SIGNED,
        PaymentBroadcast: WithdrawalStatus.BROADCAST,
        WithdrawalPaid: WithdrawalStatus.PAID,
        WithdrawalRefunded: WithdrawalStatus.REFUNDED,
    }
    withdrawals: dict[str, tuple[Any, ...]] = {}
    for moment in tale.between(0, end, WithdrawalRequested, *steps):
        event = moment.what
        if isinstance(event, WithdrawalRequested):
            label = f"{event.client}/{event.withdrawal}"
            asked = (event.asset, event.amount, event.fee, event.destination)
            withdrawals[label] = (*asked, WithdrawalStatus.REQUESTED)
        elif label_of(event) in withdrawals:
            withdrawals[label_of(event)] = (*withdrawals[label_of(event)][:4], steps[type(event)])
    return withdrawals


def withdrawals_in(view: View) -> Named:
    return {
        f"{item.client}/{item.withdrawal}": (item.asset, item.amount, item.fee, item.destination, item.status)
        for item in view.withdrawals
    }


def label_of(event: Any) -> str:  # noqa: ANN401 - any event of a payment, a withdrawal or a sweep
    """The name of the payment that an event speaks of."""
    if isinstance(event, WithdrawalPaid | WithdrawalRefunded | WithdrawalRequested):
        return f"{event.client}/{event.withdrawal}"
    if isinstance(event, SweepCompleted):
        return SWEEP_PREFIX + event.sweep
    if isinstance(event, PaymentApproved | PaymentBroadcast):
        return event.intent.payment
    return str(event.payment)


_OF_PAYMENTS = (
    PaymentApproved,
    SigningBegan,
    SigningRestarted,
    PaymentSigned,
    PaymentBroadcast,
    PaymentIncluded,
    ChainReorganised,
    WithdrawalPaid,
    WithdrawalRefunded,
    SweepCompleted,
)


def payments_at(tale: Tale, end: int) -> dict[str, tuple[Any, ...]]:
    """Payments under way: intent, how each stands, the attempt, the time before which it waits."""
    payments: dict[str, tuple[Any, ...]] = {}
    heights: dict[str, int] = {}
    for moment in tale.between(0, end, *_OF_PAYMENTS):
        event = moment.what
        if isinstance(event, ChainReorganised):
            for label, (intent, status, attempt, before) in payments.items():
                undone = intent.asset == event.asset and status is PaymentStatus.INCLUDED
                if undone and heights[label] >= event.height:
                    payments[label] = (intent, PaymentStatus.BROADCAST, attempt, before)
            continue
        label = label_of(event)
        if isinstance(event, PaymentApproved):
            payments[label] = (event.intent, PaymentStatus.APPROVED, 1, event.not_before_ms)
        elif isinstance(event, WithdrawalPaid | WithdrawalRefunded | SweepCompleted):
            payments.pop(label, None)
        elif label in payments:
            intent, status, attempt, before = payments[label]
            match event:
                case SigningBegan():
                    status, attempt = PaymentStatus.SIGNING, event.attempt
                case SigningRestarted():
                    status, attempt = PaymentStatus.APPROVED, event.attempt
                case PaymentSigned():
                    status = PaymentStatus.SIGNED
                case PaymentBroadcast():
                    status = PaymentStatus.BROADCAST
                case _:
                    status, heights[label] = PaymentStatus.INCLUDED, event.height
            payments[label] = (intent, status, attempt, before)
    return payments


def payments_in(view: View) -> Named:
    return {
        item.intent.payment: (item.intent, item.status, item.attempt, item.not_before_ms) for item in view.payments
    }


def deposits_at(tale: Tale, end: int) -> dict[str, tuple[Any, ...]]:
    """Deposits that are on their chain and not credited: client, amount, height, whether final."""
    deposits: dict[str, tuple[Any, ...]] = {}
    credited: set[str] = set()
    for moment in tale.between(0, end, DepositSeen, DepositOrphaned, DepositFinalised, DepositCredited):
        event = moment.what
        name = f"{event.asset}/{event.transaction}"
        if isinstance(event, DepositSeen):
            deposits[name] = (event.client, event.amount, event.height, False)
        elif isinstance(event, DepositFinalised):
            if name in deposits:
                deposits[name] = (*deposits[name][:3], True)
            if name in credited:  # It was undone after it was credited, and is there again.
                deposits.pop(name, None)
        else:
            deposits.pop(name, None)
            credited |= {name} if isinstance(event, DepositCredited) else set()
    return deposits


def deposits_in(view: View) -> Named:
    return {
        f"{item.asset}/{item.transaction}": (item.client, item.amount, item.height, item.final)
        for item in view.deposits
    }


def chains_at(tale: Tale, end: int) -> dict[str, tuple[int, bool, bool, bool]]:
    """How high each chain is, whether it can be reached, and whether deposits and withdrawals are open."""
    chains = dict.fromkeys(tale.setup.assets, (0, True, True, True))
    for moment in tale.between(0, end, BlockReported, ChainReorganised, ProviderChanged, AssetSuspended):
        event = moment.what
        height, up, deposits, withdrawals = chains.get(event.asset, (0, True, True, True))
        match event:
            case BlockReported():
                height = event.height
            case ChainReorganised():
                height = event.height - 1
            case ProviderChanged():
                up = event.up
            case _:
                deposits, withdrawals = event.deposits_open, event.withdrawals_open
        chains[event.asset] = (height, up, deposits, withdrawals)
    return chains
