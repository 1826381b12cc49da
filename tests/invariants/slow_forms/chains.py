"""What is true on the chains and in custody, by what was reported to the exchange, whatever it made of that."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast_model.vocabulary import (
    AttestCustody,
    ClientId,
    CoverShortfall,
    FundHouse,
    PaymentBroadcast,
    PaymentIntent,
    Reason,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
)
from slow_forms.tale import Asked, Moment, Tale

REPORTS = (ReportDeposit, ReportBlock, ReportReorganisation, ReportPayment, AttestCustody, FundHouse, CoverShortfall)


@dataclass
class Chain:
    """What is in which block of a chain. What was final stays so until its block is lost."""

    tip: int = 0
    confirmations: int = 1
    deposits: dict[str, tuple[ClientId, int, int]] = field(default_factory=dict)
    """Client, amount and height by transaction."""
    payments: dict[str, int] = field(default_factory=dict)
    """Height by payment."""

    def is_final(self, height: int) -> bool:
        return self.tip - height + 1 >= self.confirmations


@dataclass
class Truth:
    """All chains, and what each tier holds."""

    chains: dict[str, Chain]
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    in_custody: dict[tuple[str, str], int] = field(default_factory=dict)
    """Amounts of the deposits that have reached custody, by asset and transaction."""
    paid: set[str] = field(default_factory=set)
    """Payments that have left custody."""

    def add(self, tier: str, asset: str, amount: int) -> None:
        self.held[tier, asset] = self.held.get((tier, asset), 0) + amount


def accepted(asked: Asked) -> bool:
    """Whether a command was answered and not refused."""
    return bool(asked.answer.events) and not any(isinstance(event, Rejected) for event in asked.answer.events)


def truth_at(tale: Tale, end: int) -> Truth:
    """All that was reported before a place, taken together."""
    custody = tale.setup.custody
    assert custody is not None
    truth = Truth({rule.asset: Chain(confirmations=rule.confirmations) for rule in custody.chains})
    first = custody.tiers[0].tier
    for moment in tale.between(0, end, Asked):
        command = moment.what.command
        if not isinstance(command, REPORTS) or not (accepted(moment.what) or _is_true(tale, moment)):
            continue
        match command:
            case FundHouse() | CoverShortfall():
                truth.add(first, command.asset, command.amount)
            case AttestCustody():
                truth.held[command.tier, command.asset] = command.amount
            case ReportPayment():
                intents = intents_at(tale, moment.at)
                if command.payment in intents:
                    chain = truth.chains[intents[command.payment].asset]
                    if command.height <= chain.tip:
                        chain.payments.setdefault(command.payment, command.height)
            case ReportDeposit():
                deposits = truth.chains[command.asset].deposits
                deposits[command.transaction] = (command.client, command.amount, command.height)
            case ReportBlock():
                truth.chains[command.asset].tip = command.height
            case ReportReorganisation():
                chain = truth.chains[command.asset]
                chain.tip = command.height - 1
                chain.deposits = {name: item for name, item in chain.deposits.items() if item[2] < command.height}
                chain.payments = {name: height for name, height in chain.payments.items() if height < command.height}
        _settle(truth, intents_at(tale, moment.at), first)
    return truth


def _is_true(tale: Tale, moment: Moment) -> bool:
    """Whether what was refused is so all the same: a payment that was broadcast is on its chain."""
    command = moment.what.command
    if not isinstance(command, ReportPayment) or command.payment not in intents_at(tale, moment.at):
        return False
    reasons = {event.reason for event in moment.what.answer.events if isinstance(event, Rejected)}
    return bool(reasons & {Reason.UNKNOWN_PAYMENT, Reason.PAYMENT_NOT_OPEN})


def intents_at(tale: Tale, end: int) -> Mapping[str, PaymentIntent]:
    """What was broadcast, by payment."""
    return {event.intent.payment: event.intent for event in tale.before(end, PaymentBroadcast)}


def _settle(truth: Truth, intents: Mapping[str, PaymentIntent], first: str) -> None:
    """Move what became final, and back what is on no chain any more."""
    for asset, chain in truth.chains.items():
        for transaction, (_, amount, height) in chain.deposits.items():
            if chain.is_final(height) and (asset, transaction) not in truth.in_custody:
                truth.in_custody[asset, transaction] = amount
                truth.add(first, asset, amount)
        for payment, height in chain.payments.items():
            if chain.is_final(height) and payment not in truth.paid:
                truth.paid.add(payment)
                _pay(truth, intents[payment], 1)
    for asset, transaction in [*truth.in_custody]:
        if transaction not in truth.chains[asset].deposits:
            truth.add(first, asset, -truth.in_custody.pop((asset, transaction)))
    for payment in [name for name in truth.paid if name not in truth.chains[intents[name].asset].payments]:
        truth.paid.discard(payment)
        _pay(truth, intents[payment], -1)


def _pay(truth: Truth, intent: PaymentIntent, times: int) -> None:
    truth.add(intent.tier, intent.asset, -times * (intent.amount + intent.fee))
    if intent.destination.startswith("@tier/"):
        truth.add(intent.destination.removeprefix("@tier/"), intent.asset, times * intent.amount)
