"""LIVE-1: once everything is healed, every order, withdrawal and deposit comes to rest within a bound.

What is not at rest is said in one place, from what the exchange has told: whoever heals goes by it, and the monitor
demands that nothing of it is left.
"""

from collections.abc import Iterator

from holdfast_invariants.monitor import Monitor, upon
from holdfast_invariants.told import Told, ToldStatus
from holdfast_invariants.told_custody import OVER, ToldCustody
from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    ComeToRest,
    Phase,
    Record,
    ReplicaStatus,
    Stage,
    WithdrawalStatus,
)

REST_ROUNDS = 3
"""How often everybody does all that is theirs once everything is healed: the bound within which all comes to rest."""

_ENDED = frozenset({WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED})
Pending = tuple[str, str]
"""What is not at rest, and how it is."""


def restless(told: Told) -> Iterator[Pending]:
    """What is not at rest, by what was told so far: a subject, and how it is. Costs as much as there ever was."""
    yield from _restless_operations(told)
    for client, (_, reason) in told.owed.away.items():
        yield f"commands of {client}", f"the last one was turned away: {reason}"
    for order in told.orders.values():
        if order.status is ToldStatus.ACCEPTED and order.key not in told.triggers.stops:
            yield f"order {order.client}/{order.order}", "it is accepted, and neither rests, waits nor is over"
    for (client, withdrawal), item in told.withdrawals.items():
        if item.status not in _ENDED:
            yield f"withdrawal {client}/{withdrawal}", f"it is {item.status}"
    if told.margin is not None:
        for (client, request), transfer in told.margin.transfers.items():
            yield f"transfer {client}/{request}", f"it is on its way from {transfer.source} to {transfer.target}"
    if told.custody is not None:
        yield from _restless_in_custody(told, told.custody)


def _restless_operations(told: Told) -> Iterator[Pending]:
    if told.phase is not Phase.OPEN:
        yield "trading", f"the phase is {told.phase}"
    for replica, status in told.replicas.items():
        installed = told.installed.get(replica)
        if status is not ReplicaStatus.UP:
            yield f"replica {replica}", f"it is {status}"
        elif installed != told.release:
            yield f"replica {replica}", f"{installed} is installed, {told.release} active"
    if told.owed.barrier:
        yield "load barrier", f"it is owed since {told.owed.barrier}"
    for product, stage in told.triggers.stages.items():
        if stage is not Stage.OPEN:
            yield f"product {product}", f"it is at the stage {stage}"


def _restless_in_custody(told: Told, custody: ToldCustody) -> Iterator[Pending]:
    for asset, chain in custody.chains.items():
        if not chain.provider_up:
            yield f"chain of {asset}", "its provider is down"
        if not (chain.deposits_open and chain.withdrawals_open):
            yield f"chain of {asset}", "deposits or withdrawals are suspended"
        if custody.difference(asset):
            yield f"custody of {asset}", f"it differs from what is owed by {custody.difference(asset)}"
    for asset, transaction in told.owed.unheard:
        yield f"deposit {asset}/{transaction}", "it could not be told, as the provider was down"
    for (asset, transaction), deposit in custody.pending.items():
        yield f"deposit {asset}/{transaction}", "it is final" if deposit.final else "it is seen, and not final"
    for asset, uncredited in custody.true.uncredited.items():
        for transaction in uncredited:
            if (asset, transaction) not in custody.pending and (asset, transaction) not in custody.credited:
                yield f"deposit {asset}/{transaction}", "it is final on its chain, and not credited"
    for label, payment in custody.payments.items():
        if payment.status not in OVER:
            kind = "sweep" if label.startswith(SWEEP_PREFIX) else "payment of withdrawal"
            yield f"{kind} {label.removeprefix(SWEEP_PREFIX)}", f"it is {payment.status}"


class EverythingComesToRest(Monitor):
    """LIVE-1: after the rounds of healing (`ComeToRest`) nothing that was told of is pending.

    `checked` counts what was pending when healing began, and so had to come to rest.
    """

    invariant = "LIVE-1"

    @upon(ComeToRest)
    def demanded(self, record: Record) -> None:  # noqa: ARG002 - that it happened is enough
        """Nothing is pending any more."""
        at_first = self.told.owed.at_first
        self.checked += len(at_first)
        for subject, how in restless(self.told):
            before = f"; when healing began: {at_first[subject]}" if at_first.get(subject, how) != how else ""
            self.report(
                subject,
                found=f"{how}{before}",
                expected=f"it comes to rest within {REST_ROUNDS} rounds once everything is healed",
            )
