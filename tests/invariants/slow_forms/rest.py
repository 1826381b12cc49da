"""LIVE-1, slowly: once everybody has done what is theirs, nothing is pending that was ever told of."""

from holdfast_model.vocabulary import (
    OUTSIDE,
    SWEEP_PREFIX,
    AmendOrder,
    Borrow,
    CancelAll,
    CancelOrder,
    ClientId,
    ComeToRest,
    DepositCredited,
    LoadConfirmed,
    Phase,
    PlaceOrder,
    ReadAccount,
    Reason,
    Rejected,
    ReleaseDeployed,
    Repay,
    ReplicaStatus,
    ReportDeposit,
    RequestWithdrawal,
    Stage,
    TransferMargin,
    WithdrawalStatus,
)
from slow_forms.book import orders_at
from slow_forms.chains import truth_at
from slow_forms.phases import last_time, was_rebuilt
from slow_forms.replicas import installed_at, status_at
from slow_forms.standing import balances_at, chains_at, deposits_at, payments_at, transfers_at, withdrawals_at
from slow_forms.tale import Acted, Asked, Tale, Violations

_TURNED_AWAY = {
    Reason.OVERLOADED,
    Reason.RATE_LIMITED,
    Reason.NO_PRIMARY,
    Reason.NO_QUORUM,
    Reason.NOT_PRIMARY,
}
_OF_CLIENTS = (
    PlaceOrder,
    AmendOrder,
    CancelOrder,
    CancelAll,
    RequestWithdrawal,
    TransferMargin,
    Borrow,
    Repay,
    ReadAccount,
)


def live_1(tale: Tale) -> Violations:
    """Once faults heal, every order, withdrawal and deposit comes to rest within a bound."""
    rests = [moment for moment in tale.all(Acted) if isinstance(moment.what.record.step, ComeToRest)]
    for healed in rests[1::2]:
        for subject in (
            *_of_operations(tale, healed.at),
            *_of_clients(tale, healed.at),
            *(_of_custody(tale, healed.at) if tale.setup.custody is not None else ()),
        ):
            yield healed.step, subject


def _of_operations(tale: Tale, end: int) -> list[str]:
    pending = ["trading"] * (tale.phase(end) is not Phase.OPEN)
    for replica in tale.setup.replicas:
        up = status_at(tale, end, replica) is ReplicaStatus.UP
        if not up or installed_at(tale, end, replica) != tale.release(end):
            pending.append(f"replica {replica}")
    if tale.setup.procedure:
        deployed = tale.between(last_time(tale, end, LoadConfirmed), end, ReleaseDeployed)
        pending += ["load barrier"] * (bool(deployed) or was_rebuilt(tale, end, LoadConfirmed))
    products = ["spot", *(product.product for product in tale.setup.products)]
    return pending + [f"product {name}" for name in products if tale.stage(end, name) is not Stage.OPEN]


def _of_clients(tale: Tale, end: int) -> list[str]:
    last: dict[ClientId, bool] = {}
    for moment in tale.between(0, end, Asked):
        if isinstance(moment.what.command, _OF_CLIENTS) and moment.what.answer.events:
            first = moment.what.answer.events[0]
            last[moment.what.command.client] = isinstance(first, Rejected) and first.reason in _TURNED_AWAY
    pending = [f"commands of {client}" for client, turned_away in last.items() if turned_away]
    pending += [f"order {'/'.join(key)}" for key, item in orders_at(tale, end).items() if item.state == "taken in"]
    over = {WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED}
    pending += [f"withdrawal {label}" for label, item in withdrawals_at(tale, end).items() if item[4] not in over]
    return pending + [f"transfer {name}" for name in transfers_at(tale, end)]


def _of_custody(tale: Tale, end: int) -> list[str]:
    truth, balances = truth_at(tale, end), balances_at(tale, end)
    pending = [f"chain of {asset}" for asset, chain in chains_at(tale, end).items() if not all(chain[1:])]
    for asset, chain in truth.chains.items():
        held = sum(amount for (_, kind), amount in truth.held.items() if kind == asset)
        owed = sum(amount for (owner, _, kind), amount in balances.items() if kind == asset and owner != OUTSIDE)
        pending += [f"custody of {asset}"] * (held != owed)
        credited = {event.transaction for event in tale.before(end, DepositCredited) if event.asset == asset}
        waiting = {name for name in chain.deposits if (asset, name) in truth.in_custody} - credited
        pending += [f"deposit {asset}/{transaction}" for transaction in waiting]
    pending += [f"deposit {name}" for name in deposits_at(tale, end)]
    pending += [f"deposit {name}" for name in _unheard(tale, end)]
    for label in payments_at(tale, end):
        kind = "sweep" if label.startswith(SWEEP_PREFIX) else "payment of withdrawal"
        pending.append(f"{kind} {label.removeprefix(SWEEP_PREFIX)}")
    return pending


def _unheard(tale: Tale, end: int) -> list[str]:
    """Deposits that were last reported while nothing could be heard of their chain."""
    unheard: dict[str, bool] = {}
    for moment in tale.between(0, end, Asked):
        command, events = moment.what.command, moment.what.answer.events
        if isinstance(command, ReportDeposit) and events:
            reason = events[0].reason if isinstance(events[0], Rejected) else None
            if reason not in _TURNED_AWAY:
                unheard[f"{command.asset}/{command.transaction}"] = reason is Reason.PROVIDER_DOWN
    return [name for name, is_unheard in unheard.items() if is_unheard]
