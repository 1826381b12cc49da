"""Custody, from both sides: what an exchange has told of it, and what is true on the chains.

What is true is recomputed from the reports that the exchange was given and took in, never from what it made of them:
a deposit is there once, however often it was told; it is final with its chain's confirmations, and not before.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from holdfast_model.vocabulary import (
    OUTSIDE,
    SWEEP_PREFIX,
    Amount,
    Answer,
    AssetId,
    AssetSuspended,
    AttestCustody,
    BlockReported,
    ChainReorganised,
    ClientId,
    Command,
    CoverShortfall,
    CustodyRules,
    DepositCredited,
    DepositFinalised,
    DepositOrphaned,
    DepositSeen,
    EntryPosted,
    FundHouse,
    Height,
    MismatchFound,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentIntent,
    PaymentSigned,
    PaymentStatus,
    ProviderChanged,
    Reason,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    ShortfallCovered,
    SigningBegan,
    SigningRestarted,
    SweepCompleted,
    TierId,
    TierRule,
    Timestamp,
    TransactionId,
    View,
    WithdrawalId,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.amounts import Label

TIER_PREFIX = "@tier/"
"""The destination of a sweep: this, and the tier's name."""

OVER = frozenset({PaymentStatus.PAID, PaymentStatus.DROPPED})
"""The statuses of a payment that is over."""

DepositKey = tuple[AssetId, TransactionId]
WithdrawalKey = tuple[ClientId, WithdrawalId]


class ToldWithdrawal(Struct, kw_only=True):
    """A withdrawal as its owner knows it."""

    asset: AssetId
    amount: Amount
    status: WithdrawalStatus
    fee: Amount = Amount(0)
    destination: Label = ""


_NOT_ITS_PAYMENT = (Reason.UNKNOWN_PAYMENT, Reason.PAYMENT_NOT_OPEN)
"""What an exchange says to the report of a payment that it does not take for one that was broadcast."""


class TrueDeposit(Struct, kw_only=True):
    """A deposit as its chain has it; `height` is None while no block of the chain holds it."""

    client: ClientId
    amount: Amount
    height: Height | None
    counted: bool = False
    """Whether it is final, and so part of what the first tier holds."""


class TruePayment(Struct, kw_only=True):
    """A payment that was handed to its chain, which reports it by its id, whatever its transaction is called."""

    intent: PaymentIntent
    height: Height | None = None
    counted: bool = False


class Chains:
    """What is true on all chains, as far as the exchange was told of it and did not refuse to hear it."""

    def __init__(self, custody: CustodyRules) -> None:
        self.first = custody.tiers[0].tier
        self.confirmations = {chain.asset: chain.confirmations for chain in custody.chains}
        self.tips: dict[AssetId, Height] = dict.fromkeys(self.confirmations, 0)
        self.deposits: dict[DepositKey, TrueDeposit] = {}
        self.payments: dict[Label, TruePayment] = {}
        self.awaited: dict[AssetId, dict[TransactionId, TrueDeposit]] = {asset: {} for asset in self.confirmations}
        """Deposits in a block that are not counted yet, by asset."""
        self.included: dict[AssetId, dict[Label, TruePayment]] = {asset: {} for asset in self.confirmations}
        """Payments in a block that are not counted yet, by asset."""
        self.held: dict[tuple[TierId, AssetId], int] = {}
        """What each tier holds."""
        self.totals: dict[AssetId, int] = dict.fromkeys(self.confirmations, 0)
        self.uncredited: dict[AssetId, dict[TransactionId, TrueDeposit]] = {asset: {} for asset in self.confirmations}
        """Counted deposits that nobody was told to be credited, by asset."""
        self.unsettled: dict[AssetId, dict[Label, TruePayment]] = {asset: {} for asset in self.confirmations}
        """Counted payments that nobody was told to be paid, by asset."""

    def hearers(self) -> Mapping[type, Callable[[Any, Answer], None]]:
        """What hears each command that reports something, before its answer is looked at."""
        return {
            ReportDeposit: self._on_deposit,
            ReportBlock: self._on_block,
            ReportReorganisation: self._on_reorganisation,
            ReportPayment: self._on_payment,
            AttestCustody: self._on_attestation,
            CoverShortfall: self._on_paid_in,
            FundHouse: self._on_paid_in,
        }

    def final(self, asset: AssetId, height: Height | None) -> bool:
        """Whether what is in the block of this height has as many confirmations as its chain asks for."""
        if height is None or asset not in self.tips:
            return False
        return self.tips[asset] - height + 1 >= self.confirmations[asset]

    def broadcast(self, event: PaymentBroadcast) -> None:
        """A payment is with its chain from now on."""
        if event.intent.asset in self.tips:
            self.payments.setdefault(event.intent.payment, TruePayment(intent=event.intent))

    def _move(self, tier: TierId, asset: AssetId, amount: int) -> None:
        if asset not in self.totals:
            return
        self.held[tier, asset] = self.held.get((tier, asset), 0) + amount
        self.totals[asset] += amount

    def _on_deposit(self, command: ReportDeposit, answer: Answer) -> None:
        if refused(answer) or command.asset not in self.tips:
            return
        key = (command.asset, command.transaction)
        known = self.deposits.get(key)
        if known is not None and known.height is not None:
            return
        deposit = TrueDeposit(client=command.client, amount=command.amount, height=command.height)
        self.deposits[key] = self.awaited[command.asset][command.transaction] = deposit
        if any(isinstance(event, DepositFinalised) for event in answer.events):
            self._count(command.asset)

    def _on_block(self, command: ReportBlock, answer: Answer) -> None:
        if refused(answer) or command.asset not in self.tips:
            return
        self.tips[command.asset] = max(self.tips[command.asset], command.height)
        self._count(command.asset)

    def _count(self, asset: AssetId) -> None:
        """What has become final is in the tiers, or has left them: with the next block, or when it is told before."""
        for transaction, deposit in [*self.awaited[asset].items()]:
            if self.final(asset, deposit.height):
                deposit.counted = True
                self._move(self.first, asset, deposit.amount)
                self.uncredited[asset][transaction] = self.awaited[asset].pop(transaction)
        for label, payment in [*self.included[asset].items()]:
            if self.final(asset, payment.height):
                payment.counted = True
                self._settle(payment.intent, 1)
                self.unsettled[asset][label] = self.included[asset].pop(label)

    def _settle(self, intent: PaymentIntent, sign: int) -> None:
        self._move(intent.tier, intent.asset, -sign * (intent.amount + intent.fee))
        if intent.destination.startswith(TIER_PREFIX) and intent.payment.startswith(SWEEP_PREFIX):
            self._move(intent.destination.removeprefix(TIER_PREFIX), intent.asset, sign * intent.amount)

    def _on_reorganisation(self, command: ReportReorganisation, answer: Answer) -> None:
        asset = command.asset
        if refused(answer) or asset not in self.tips:
            return
        self.tips[asset] = min(self.tips[asset], command.height - 1)
        for (of, transaction), deposit in self.deposits.items():
            if of == asset and deposit.height is not None and deposit.height >= command.height:
                self.awaited[asset].pop(transaction, None)
                self.uncredited[asset].pop(transaction, None)
                if deposit.counted:
                    self._move(self.first, asset, -deposit.amount)
                deposit.height, deposit.counted = None, False
        for label, payment in self.payments.items():
            if payment.intent.asset == asset and payment.height is not None and payment.height >= command.height:
                self.included[asset].pop(label, None)
                self.unsettled[asset].pop(label, None)
                if payment.counted:
                    self._settle(payment.intent, -1)
                payment.height, payment.counted = None, False

    def _on_payment(self, command: ReportPayment, answer: Answer) -> None:
        """A payment that was broadcast is in its block, also where the exchange says that it is not open."""
        payment = self.payments.get(command.payment)
        if payment is None or payment.height is not None or command.height > self.tips[payment.intent.asset]:
            return
        if refused(answer) and not any(Rejected(reason=reason) in answer.events for reason in _NOT_ITS_PAYMENT):
            return
        payment.height = command.height
        self.included[payment.intent.asset][command.payment] = payment
        # One that was settled before a reorganisation undid it is told by what its tier is found to hold.
        if any(isinstance(event, WithdrawalPaid | SweepCompleted | MismatchFound) for event in answer.events):
            self._count(payment.intent.asset)

    def _on_attestation(self, command: AttestCustody, answer: Answer) -> None:
        if not refused(answer):
            self._move(command.tier, command.asset, command.amount - self.held.get((command.tier, command.asset), 0))

    def _on_paid_in(self, command: CoverShortfall | FundHouse, answer: Answer) -> None:
        if not refused(answer):
            self._move(self.first, command.asset, command.amount)


def refused(answer: Answer) -> bool:
    """Whether a command had no effect: it was refused, or not answered at all."""
    return not answer.events or answer.events[0].__class__ is Rejected


class ToldDeposit(Struct, kw_only=True):
    """A deposit that was told of and is not credited."""

    client: ClientId
    amount: Amount
    height: Height
    final: bool = False


class ToldPayment(Struct, kw_only=True):
    """A payment, and where it stands."""

    intent: PaymentIntent
    status: PaymentStatus
    not_before_ms: Timestamp
    attempt: int = 1
    asked: tuple[Label, ...] = ()
    transaction: TransactionId = ""
    height: Height | None = None
    settled: bool = False
    """Whether it was told to be paid, which a reorganisation may have undone on its chain."""


class ToldChain(Struct, kw_only=True):
    """An asset's chain, its provider, and which movements are open."""

    height: Height = 0
    provider_up: bool = True
    deposits_open: bool = True
    withdrawals_open: bool = True


class Mismatch(NamedTuple):
    """A difference that the exchange told of: where, and what custody held beyond what was owed."""

    place: Label
    difference: int


class ToldCustody:
    """Folded from events, at a cost that does not depend on how much there is, but for reorganisations."""

    def __init__(self, custody: CustodyRules, withdrawals: Mapping[WithdrawalKey, ToldWithdrawal]) -> None:
        self._withdrawals = withdrawals
        self.withdrawal_of: dict[Label, WithdrawalKey] = {}
        """The withdrawals by the name of the payment that each would have."""
        self.tiers: dict[TierId, TierRule] = {tier.tier: tier for tier in custody.tiers}
        self.fees = {chain.asset: chain.fee for chain in custody.chains}
        self.true = Chains(custody)
        self.chains: dict[AssetId, ToldChain] = {chain.asset: ToldChain() for chain in custody.chains}
        self.pending: dict[DepositKey, ToldDeposit] = {}
        self.credited: set[DepositKey] = set()
        self.entered: set[DepositKey] = set()
        """The deposits that were final once, and so have their entry, whatever becomes of them."""
        self.payments: dict[Label, ToldPayment] = {}
        self.owed: dict[AssetId, int] = dict.fromkeys(self.fees, 0)
        """What all accounts but the outside world's hold."""
        self.totals: dict[tuple[str, AssetId], int] = {}
        """What each account holds, all buckets together."""
        self.found: dict[AssetId, Mismatch] = {}
        """The difference that the exchange found itself of each asset, the last one, healed or not."""
        self._news: dict[AssetId, Label] = {}

    def appliers(self) -> Mapping[type, Callable[[Any], None]]:
        """What folds each event."""
        return {
            EntryPosted: self._on_entry,
            DepositSeen: self._on_seen,
            DepositOrphaned: self._on_orphaned,
            DepositFinalised: self._on_finalised,
            DepositCredited: self._on_credited,
            BlockReported: self._on_block,
            ChainReorganised: self._on_reorganised,
            ProviderChanged: self._on_provider,
            AssetSuspended: self._on_suspended,
            PaymentApproved: self._on_approved,
            SigningBegan: self._on_signing,
            SigningRestarted: self._on_restarted,
            PaymentSigned: self._on_signed,
            PaymentBroadcast: self._on_broadcast,
            PaymentIncluded: self._on_included,
            WithdrawalRequested: self._on_requested,
            WithdrawalPaid: self._on_paid,
            WithdrawalRefunded: self._on_refunded,
            SweepCompleted: self._on_swept,
            MismatchFound: self._on_mismatch,
            ShortfallCovered: self._on_covered,
        }

    def difference(self, asset: AssetId) -> int:
        """What custody truly holds of an asset beyond what is owed."""
        return self.true.totals[asset] - self.owed[asset]

    def is_found(self, asset: AssetId) -> bool:
        """Whether the difference that there is was found by the exchange."""
        found = self.found.get(asset)
        return found is not None and found.difference == self.difference(asset)

    def told_deposits(self) -> dict[str, str]:
        """Deposits that are not credited, as names and words."""
        return {
            f"{asset}/{transaction}": _deposit(item.client, item.amount, item.height, final=item.final)
            for (asset, transaction), item in self.pending.items()
        }

    def told_payments(self) -> dict[str, str]:
        """Payments under way, as names and words."""
        return {
            label: _payment(item.intent, item.status, item.attempt, item.not_before_ms)
            for label, item in self.payments.items()
            if item.status not in OVER
        }

    def _on_entry(self, event: EntryPosted) -> None:
        for posting in event.postings:
            asset, amount, key = posting.asset, posting.amount, (posting.account, posting.asset)
            self.totals[key] = self.totals.get(key, 0) + amount
            if posting.account != OUTSIDE and asset in self.owed:
                self.owed[asset] += amount

    def _on_seen(self, event: DepositSeen) -> None:
        deposit = ToldDeposit(client=event.client, amount=event.amount, height=event.height)
        self.pending[event.asset, event.transaction] = deposit

    def _on_orphaned(self, event: DepositOrphaned) -> None:
        self.pending.pop((event.asset, event.transaction), None)

    def _on_finalised(self, event: DepositFinalised) -> None:
        key = (event.asset, event.transaction)
        self.entered.add(key)
        if key in self.credited:
            self.pending.pop(key, None)
        elif key in self.pending:
            self.pending[key].final = True

    def _on_credited(self, event: DepositCredited) -> None:
        self.pending.pop((event.asset, event.transaction), None)
        self.credited.add((event.asset, event.transaction))
        self.true.uncredited.get(event.asset, {}).pop(event.transaction, None)

    def _chain(self, asset: AssetId) -> ToldChain:
        """What was told of a chain; what is told of one that there is not is not kept."""
        return self.chains.get(asset) or ToldChain()

    def _on_block(self, event: BlockReported) -> None:
        self._chain(event.asset).height = event.height

    def _on_reorganised(self, event: ChainReorganised) -> None:
        self._chain(event.asset).height = event.height - 1
        for payment in self.payments.values():
            if payment.intent.asset == event.asset and payment.height is not None and payment.height >= event.height:
                payment.status, payment.height = PaymentStatus.BROADCAST, None

    def _on_provider(self, event: ProviderChanged) -> None:
        self._chain(event.asset).provider_up = event.up

    def _on_suspended(self, event: AssetSuspended) -> None:
        chain = self._chain(event.asset)
        chain.deposits_open, chain.withdrawals_open = event.deposits_open, event.withdrawals_open

    def _on_approved(self, event: PaymentApproved) -> None:
        self.payments[event.intent.payment] = ToldPayment(
            intent=event.intent, status=PaymentStatus.APPROVED, not_before_ms=event.not_before_ms
        )
        self._stands(event.intent.payment, WithdrawalStatus.APPROVED)

    def _on_signing(self, event: SigningBegan) -> None:
        payment = self.payments.get(event.payment)
        if payment is not None:
            payment.status, payment.attempt, payment.asked = PaymentStatus.SIGNING, event.attempt, event.signers

    def _on_restarted(self, event: SigningRestarted) -> None:
        payment = self.payments.get(event.payment)
        if payment is not None:
            payment.status, payment.attempt, payment.asked = PaymentStatus.APPROVED, event.attempt, ()

    def _on_signed(self, event: PaymentSigned) -> None:
        payment = self.payments.get(event.payment)
        if payment is not None:
            payment.status = PaymentStatus.SIGNED
            self._stands(event.payment, WithdrawalStatus.SIGNED)

    def _on_broadcast(self, event: PaymentBroadcast) -> None:
        self.true.broadcast(event)
        payment = self.payments.get(event.intent.payment)
        if payment is not None:
            payment.status, payment.transaction = PaymentStatus.BROADCAST, event.transaction
            self._stands(event.intent.payment, WithdrawalStatus.BROADCAST)

    def _on_included(self, event: PaymentIncluded) -> None:
        payment = self.payments.get(event.payment)
        if payment is not None:
            payment.status, payment.height = PaymentStatus.INCLUDED, event.height

    def _on_requested(self, event: WithdrawalRequested) -> None:
        self.withdrawal_of[f"{event.client}/{event.withdrawal}"] = (event.client, event.withdrawal)

    def _on_paid(self, event: WithdrawalPaid) -> None:
        self._ended(f"{event.client}/{event.withdrawal}", PaymentStatus.PAID)

    def _on_refunded(self, event: WithdrawalRefunded) -> None:
        self._ended(f"{event.client}/{event.withdrawal}", PaymentStatus.DROPPED)

    def _on_swept(self, event: SweepCompleted) -> None:
        self._ended(SWEEP_PREFIX + event.sweep, PaymentStatus.PAID)

    def _ended(self, label: Label, status: PaymentStatus) -> None:
        payment = self.payments.get(label)
        if payment is not None:
            payment.status = status
            payment.settled = status is PaymentStatus.PAID
            self.true.unsettled.get(payment.intent.asset, {}).pop(label, None)

    def _stands(self, label: Label, status: WithdrawalStatus) -> None:
        """A withdrawal stands where its payment does."""
        key = self.withdrawal_of.get(label)
        if key is not None and key in self._withdrawals:
            self._withdrawals[key].status = status

    def _on_mismatch(self, event: MismatchFound) -> None:
        if event.asset not in self.owed:
            return
        self._news[event.asset] = event.place
        for payment in self.payments.values():
            if payment.settled and payment.intent.asset == event.asset and self._is_final(payment):
                payment.status = PaymentStatus.PAID

    def _is_final(self, payment: ToldPayment) -> bool:
        """Whether a payment is included, and final by what was told of its chain."""
        asset = payment.intent.asset
        if payment.height is None or asset not in self.chains:
            return False
        return self.chains[asset].height - payment.height + 1 >= self.true.confirmations[asset]

    def _on_covered(self, event: ShortfallCovered) -> None:
        """What is paid in makes a shortfall that was found smaller, and no surplus of it."""
        found = self.found.get(event.asset)
        if found is not None and found.difference + event.amount <= 0:
            self.found[event.asset] = Mismatch(found.place, found.difference + event.amount)

    def close(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - it is called as a monitor's methods are
        """At the end of each answer: a difference that it tells of is found as it then stands."""
        for asset, place in self._news.items():
            self.found[asset] = Mismatch(place, self.difference(asset))
        self._news.clear()


def shown_deposits(view: View) -> dict[str, str]:
    """The deposits that a view shows, in the words of `ToldCustody.told_deposits`."""
    return {
        f"{item.asset}/{item.transaction}": _deposit(item.client, item.amount, item.height, final=item.final)
        for item in view.deposits
    }


def shown_payments(view: View) -> dict[str, str]:
    """The payments that a view shows, in the words of `ToldCustody.told_payments`."""
    return {
        item.intent.payment: _payment(item.intent, item.status, item.attempt, item.not_before_ms)
        for item in view.payments
    }


def _deposit(client: ClientId, amount: Amount, height: Height, *, final: bool) -> str:
    return f"{amount} for {client} in block {height}, {'final' if final else 'not final'}"


def _payment(intent: PaymentIntent, status: PaymentStatus, attempt: int, not_before_ms: Timestamp) -> str:
    return (
        f"{status}, attempt {attempt}, not before {not_before_ms} ms: {intent.amount} {intent.asset} "
        f"and {intent.fee} as fee from {intent.tier} to {intent.destination}"
    )
