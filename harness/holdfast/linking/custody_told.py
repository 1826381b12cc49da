"""What the exchange has told of custody: deposits, payments, and who signed, folded from its journal."""

from dataclasses import dataclass, field

from holdfast.linking.scope import ASSETS
from holdfast.linking.world import World
from holdfast_model.specs.exchange.custody import DepositStatus
from holdfast_model.vocabulary import (
    ChainReorganised,
    DepositCredited,
    DepositFinalised,
    DepositOrphaned,
    DepositSeen,
    MismatchFound,
    NonceCommitted,
    PaymentBroadcast,
    PaymentIncluded,
    ShareReceived,
    SigningRestarted,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
)


@dataclass
class ToldDeposit:
    """A deposit as the exchange told of it."""

    status: DepositStatus
    height: int
    client: str
    asset: str
    amount: int
    arrived: bool = False
    credits: int = 0


@dataclass
class ToldPayment:
    """A payment as the exchange told of it: where it is included, and the present attempt to sign it."""

    client: str
    height: int = 0
    is_paid: bool = False
    is_published: bool = False
    transaction: str = ""
    commitments: dict[str, str] = field(default_factory=dict)
    shares: list[str] = field(default_factory=list)


@dataclass
class Told:
    """All that was told of custody."""

    deposits: dict[str, ToldDeposit] = field(default_factory=dict)
    payments: dict[str, ToldPayment] = field(default_factory=dict)
    """By the withdrawal's id."""
    nonces: dict[str, list[str]] = field(default_factory=dict)
    """The commitments of each signer that were taken in, in order."""
    mismatch: bool = False


def told_of_custody(world: World, seq: int) -> Told:
    """What was told of custody up to a cut."""
    told = Told()
    for record in world.records_upto(seq):
        for event in record.events:
            _hear_of_deposit(told, event)
            _hear_of_payment(told, event)
    return told


def _hear_of_deposit(told: Told, event: object) -> None:
    match event:
        case DepositSeen():
            before = told.deposits.get(event.transaction)
            told.deposits[event.transaction] = ToldDeposit(
                DepositStatus.SEEN,
                event.height,
                event.client,
                event.asset,
                event.amount,
                before is not None and before.arrived,
                0 if before is None else before.credits,
            )
        case DepositOrphaned():
            told.deposits[event.transaction].status = DepositStatus.ORPHANED
        case DepositFinalised():
            told.deposits[event.transaction].status = DepositStatus.FINAL
            told.deposits[event.transaction].arrived = True
        case DepositCredited():
            told.deposits[event.transaction].status = DepositStatus.CREDITED
            told.deposits[event.transaction].credits += 1
        case MismatchFound():
            told.mismatch = True
        case _:
            pass


def _hear_of_payment(told: Told, event: object) -> None:
    match event:
        case WithdrawalRequested():
            told.payments[event.withdrawal] = ToldPayment(event.client)
        case NonceCommitted():
            told.payments[withdrawal_of(event.payment)].commitments[event.signer] = event.commitment
            told.nonces.setdefault(event.signer, []).append(event.commitment)
        case ShareReceived():
            told.payments[withdrawal_of(event.payment)].shares.append(event.signer)
        case SigningRestarted():
            _drop_attempt(told.payments[withdrawal_of(event.payment)])
        case WithdrawalRefunded():
            _drop_attempt(told.payments[event.withdrawal])
        case PaymentBroadcast():
            payment = told.payments[withdrawal_of(event.intent.payment)]
            payment.is_published, payment.transaction = True, event.transaction
        case PaymentIncluded():
            told.payments[withdrawal_of(event.payment)].height = event.height
        case WithdrawalPaid():
            told.payments[event.withdrawal].is_paid = True
        case ChainReorganised(asset=asset, height=height) if asset == ASSETS[-1]:
            for payment in told.payments.values():
                if not payment.is_paid and payment.height >= height:
                    payment.height = 0
        case _:
            pass


def withdrawal_of(payment: str) -> str:
    """The withdrawal's id in a payment's name."""
    return payment.partition("/")[2]


def _drop_attempt(payment: ToldPayment) -> None:
    payment.commitments, payment.shares = {}, []


def rank(told: Told, signer: str, commitment: str | None) -> int:
    """Which of a signer's commitments it is, from 1; 0 is none."""
    return 0 if commitment is None else told.nonces[signer].index(commitment) + 1
