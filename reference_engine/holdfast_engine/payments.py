"""Payments out of custody: approved, signed by a quorum of outside signers, broadcast, included, final.

What is approved is an intent, and signers sign exactly that. What they say arrives in commands, and the venue only
checks it, so that it stays deterministic while their nonces stay random. Until a payment is signed its withdrawal can
be refunded; from then on it can only be paid.
"""

from hashlib import sha256

from msgspec.structs import replace

from holdfast_engine.chains import Chains
from holdfast_engine.core import FREE, HELD, Deciders, Evolvers, Fields, by_key
from holdfast_engine.quorums import Verifier, verifier_of
from holdfast_engine.state import OutgoingPayment, Said, VenueState
from holdfast_model.vocabulary import (
    NETWORK,
    OUTSIDE,
    SWEEP_PREFIX,
    Amount,
    ApproveWithdrawal,
    AssetId,
    BroadcastPayment,
    CauseKind,
    ChainReorganised,
    ClientId,
    CommitNonce,
    Height,
    Hex,
    MismatchFound,
    NonceCommitted,
    Payment,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentIntent,
    PaymentSigned,
    PaymentStatus,
    Reason,
    ReportPayment,
    RestartSigning,
    Setup,
    ShareReceived,
    SignerId,
    SigningBegan,
    SigningRestarted,
    SubmitShare,
    SweepCompleted,
    SweepFunds,
    TierId,
    TierRule,
    Timestamp,
    TransactionId,
    Withdrawal,
    WithdrawalId,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
    message_of,
)
from holdfast_model.vocabulary.amounts import Label

TIER_PREFIX = "@tier/"
"""Destinations of sweeps are named so."""

_OVER = frozenset({PaymentStatus.PAID, PaymentStatus.DROPPED})
_SHOWN_AS = {
    PaymentStatus.SIGNED: WithdrawalStatus.SIGNED,
    PaymentStatus.BROADCAST: WithdrawalStatus.BROADCAST,
    PaymentStatus.INCLUDED: WithdrawalStatus.BROADCAST,
}


class Payments(Chains):
    """The payments out of custody, and which nonces signers have committed to."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.payments: dict[Label, OutgoingPayment] = {}
        self.nonces: dict[str, None] = {}
        self.withdrawal_of: dict[Label, tuple[ClientId, WithdrawalId]] = {}
        tiers = () if self.custody is None else self.custody.tiers
        self.tier_rules: dict[TierId, TierRule] = {rule.tier: rule for rule in tiers}
        self._payment_max = {(rule.tier, item.asset): item.amount for rule in tiers for item in rule.payment_max}
        self._balance_max = {(rule.tier, item.asset): item.amount for rule in tiers for item in rule.balance_max}
        self._verifiers: dict[TierId, Verifier] = {rule.tier: verifier_of(rule) for rule in tiers}
        self._promised: dict[tuple[TierId, AssetId], int] = {}
        self._coming: dict[tuple[TierId, AssetId], int] = {}
        self._included: dict[AssetId, dict[Label, None]] = {asset: {} for asset in self._rules}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        if setup.custody is None:
            return super()._deciders(setup)
        return super()._deciders(setup) | {
            ApproveWithdrawal: cls._decide_approval,
            SweepFunds: cls._decide_sweep,
            CommitNonce: cls._decide_commitment,
            SubmitShare: cls._decide_share,
            RestartSigning: cls._decide_signing_restart,
            BroadcastPayment: cls._decide_broadcast,
            ReportPayment: cls._decide_payment_report,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        if setup.custody is None:
            return super()._evolvers(setup)
        return super()._evolvers(setup) | {
            PaymentApproved: cls._on_payment_approved,
            NonceCommitted: cls._on_nonce_committed,
            SigningBegan: cls._on_signing_began,
            ShareReceived: cls._on_share_received,
            SigningRestarted: cls._on_signing_restarted,
            PaymentSigned: cls._on_payment_signed,
            PaymentBroadcast: cls._on_payment_broadcast,
            PaymentIncluded: cls._on_payment_included,
            SweepCompleted: cls._on_sweep_completed,
        }

    # Withdrawals, as custody has them -------------------------------------------------------------------------------

    def withdrawal_used(self, client: ClientId, withdrawal: WithdrawalId) -> bool:
        """Whether the id was used, or gives the name of another client's payment: ids may hold the sign between."""
        return super().withdrawal_used(client, withdrawal) or f"{client}/{withdrawal}" in self.withdrawal_of

    def withdrawal_fee(self, asset: AssetId) -> Amount:
        """What the asset's chain takes for a payment."""
        return self._rules[asset].fee if asset in self._rules else Amount(0)

    # Approving ----------------------------------------------------------------------------------------------------

    def unpromised(self, tier: TierId, asset: AssetId) -> int:
        """What a tier holds and has not promised to payments under way."""
        return self.tier_holds(tier, asset) - self._promised.get((tier, asset), 0)

    def payment_allowed(self, tier: TierId, asset: AssetId, amount: Amount) -> bool:
        """Whether one payment out of a tier may be so large."""
        return amount <= self._payment_max.get((tier, asset), amount)

    def balance_allowed(self, tier: TierId, asset: AssetId, amount: Amount) -> bool:
        """Whether a sweep may bring so much more to a tier, beside those under way."""
        after = self.tier_holds(tier, asset) + self._coming.get((tier, asset), 0) + amount
        return after <= self._balance_max.get((tier, asset), after)

    def not_before_ms(self, tier: TierId) -> Timestamp:
        """When a payment out of a tier that is approved now may be broadcast: its time lock."""
        return self.time_ms + self.tier_rules[tier].delay_ms

    def paying_tier(self, withdrawal: Withdrawal) -> TierId | None:
        """The first tier whose limit allows a withdrawal."""
        for tier in self.tier_rules:
            if self.payment_allowed(tier, withdrawal.asset, withdrawal.amount):
                return tier
        return None

    def _decide_approval(self, command: ApproveWithdrawal) -> None:
        withdrawal = self.withdrawals.get((command.client, command.withdrawal))
        if withdrawal is None:
            return self.refuse(Reason.UNKNOWN_WITHDRAWAL)
        if withdrawal.status is not WithdrawalStatus.REQUESTED:
            return self.refuse(Reason.WITHDRAWAL_NOT_OPEN)
        if not self.chains[withdrawal.asset].withdrawals_open:
            return self.refuse(Reason.ASSET_SUSPENDED)
        tier = self.paying_tier(withdrawal)
        if tier is None:
            return self.refuse(Reason.TIER_LIMIT)
        if withdrawal.amount + withdrawal.fee > self.unpromised(tier, withdrawal.asset):
            return self.refuse(Reason.CUSTODY_SHORT)
        return self.approve(withdrawal, tier)

    def approve(self, withdrawal: Withdrawal, tier: TierId) -> None:
        """Approve what was requested: this asset, amount and destination, and no other."""
        intent = PaymentIntent(
            payment=f"{withdrawal.client}/{withdrawal.withdrawal}",
            asset=withdrawal.asset,
            amount=withdrawal.amount,
            destination=withdrawal.destination,
            tier=tier,
            fee=withdrawal.fee,
        )
        self.emit(PaymentApproved(intent=intent, not_before_ms=self.not_before_ms(tier)))

    def _decide_sweep(self, command: SweepFunds) -> None:
        reason = self._sweep_refusal(command) or self._sweep_limit(command)
        if reason is not None:
            return self.refuse(reason)
        intent = PaymentIntent(
            payment=f"{SWEEP_PREFIX}{command.sweep}",
            asset=command.asset,
            amount=command.amount,
            destination=f"{TIER_PREFIX}{command.target}",
            tier=command.source,
            fee=self._rules[command.asset].fee,
        )
        self.emit(PaymentApproved(intent=intent, not_before_ms=self.not_before_ms(command.source)))
        return self.post(
            CauseKind.NETWORK_FEE,
            intent.payment,
            [(NETWORK, FREE, intent.asset, -intent.fee), (NETWORK, HELD, intent.asset, intent.fee)],
        )

    def _sweep_refusal(self, command: SweepFunds) -> Reason | None:
        if command.asset not in self.chains:
            return Reason.UNKNOWN_ASSET
        if command.source not in self.tier_rules or command.target not in self.tier_rules:
            return Reason.UNKNOWN_TIER
        if command.source == command.target:
            return Reason.TRANSFER_ILLEGAL
        if command.amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE
        return Reason.DUPLICATE_REQUEST if f"{SWEEP_PREFIX}{command.sweep}" in self.payments else None

    def _sweep_limit(self, command: SweepFunds) -> Reason | None:
        asset, fee = command.asset, self._rules[command.asset].fee
        if not self.payment_allowed(command.source, asset, command.amount):
            return Reason.TIER_LIMIT
        if not self.balance_allowed(command.target, asset, command.amount):
            return Reason.TIER_LIMIT
        if command.amount + fee > self.unpromised(command.source, asset):
            return Reason.CUSTODY_SHORT
        return None if fee <= self.ledger.amount(NETWORK, FREE, asset) else Reason.INSUFFICIENT_FUNDS

    # Signing ------------------------------------------------------------------------------------------------------

    def _decide_commitment(self, command: CommitNonce) -> None:
        payment = self.payments.get(command.payment)
        if payment is None:
            return self.refuse(Reason.UNKNOWN_PAYMENT)
        reason = self._commitment_refusal(payment, command)
        if reason is not None:
            return self.refuse(reason)
        self.emit(
            NonceCommitted(
                payment=command.payment,
                attempt=payment.attempt,
                signer=command.signer,
                commitment=command.commitment,
            )
        )
        signers = tuple(item.signer for item in self.payments[command.payment].commitments)
        if len(signers) == self.tier_rules[payment.intent.tier].threshold:
            self.emit(SigningBegan(payment=command.payment, attempt=payment.attempt, signers=signers))
        return None

    def _commitment_refusal(self, payment: OutgoingPayment, command: CommitNonce) -> Reason | None:
        if payment.status is not PaymentStatus.APPROVED:
            return Reason.PAYMENT_NOT_OPEN
        if command.signer not in self.tier_rules[payment.intent.tier].signers:
            return Reason.UNKNOWN_SIGNER
        if any(item.signer == command.signer for item in payment.commitments):
            return Reason.ALREADY_SAID
        if not self.commitment_valid(payment, command.signer, command.commitment):
            return Reason.COMMITMENT_INVALID
        if self.commitment_used(payment.intent.tier, command.signer, command.commitment):
            return Reason.COMMITMENT_REUSED
        return None

    def commitment_valid(self, payment: OutgoingPayment, signer: SignerId, commitment: Hex) -> bool:
        """Whether a commitment has its scheme's form."""
        verifier = self._verifiers[payment.intent.tier]
        return verifier.commitment_is_valid(signer, message_of(payment.intent), commitment)

    def commitment_used(self, tier: TierId, signer: SignerId, commitment: Hex) -> bool:
        """Whether a nonce behind a commitment was ever committed to before, in whatever payment."""
        return any(nonce in self.nonces for nonce in self._verifiers[tier].nonces(signer, commitment))

    def _decide_share(self, command: SubmitShare) -> None:
        payment = self.payments.get(command.payment)
        if payment is None:
            return self.refuse(Reason.UNKNOWN_PAYMENT)
        reason = self._share_refusal(payment, command)
        if reason is not None:
            return self.refuse(reason)
        self.emit(
            ShareReceived(
                payment=command.payment, attempt=payment.attempt, signer=command.signer, share=command.share
            )
        )
        signing = self.payments[command.payment]
        if self.enough_shares(signing):
            self.sign(signing)
        return None

    def _share_refusal(self, payment: OutgoingPayment, command: SubmitShare) -> Reason | None:
        if payment.status is not PaymentStatus.SIGNING:
            return Reason.PAYMENT_NOT_OPEN
        if command.signer not in payment.signers:
            return Reason.SIGNER_NOT_ASKED
        if any(item.signer == command.signer for item in payment.shares):
            return Reason.ALREADY_SAID
        return None if self.share_valid(payment, command.signer, command.share) else Reason.SHARE_INVALID

    def share_valid(self, payment: OutgoingPayment, signer: SignerId, share: Hex) -> bool:
        """Whether a share is the signer's over the approved intent and the commitments of this attempt."""
        return self._verifiers[payment.intent.tier].quorum.share_is_valid(
            signer, share, message_of(payment.intent), _said(payment.commitments)
        )

    def enough_shares(self, payment: OutgoingPayment) -> bool:
        """Whether all who were asked for a share have given it."""
        return len(payment.shares) == len(payment.signers)

    def sign(self, payment: OutgoingPayment) -> None:
        """Make the signature out of the shares, which were checked one by one."""
        signature = self._verifiers[payment.intent.tier].quorum.aggregate(
            message_of(payment.intent), _said(payment.commitments), _said(payment.shares)
        )
        assert isinstance(signature, str), signature
        self.emit(PaymentSigned(payment=payment.intent.payment, signature=signature))

    def _decide_signing_restart(self, command: RestartSigning) -> None:
        payment = self.payments.get(command.payment)
        if payment is None:
            return self.refuse(Reason.UNKNOWN_PAYMENT)
        if payment.status not in {PaymentStatus.APPROVED, PaymentStatus.SIGNING}:
            return self.refuse(Reason.PAYMENT_NOT_OPEN)
        return self.emit(SigningRestarted(payment=command.payment, attempt=payment.attempt + 1))

    # Paying -------------------------------------------------------------------------------------------------------

    def _decide_broadcast(self, command: BroadcastPayment) -> None:
        payment = self.payments.get(command.payment)
        if payment is None:
            return self.refuse(Reason.UNKNOWN_PAYMENT)
        if payment.status is not PaymentStatus.SIGNED:
            return self.refuse(Reason.PAYMENT_NOT_OPEN)
        chain = self.chains[payment.intent.asset]
        if not chain.withdrawals_open:
            return self.refuse(Reason.ASSET_SUSPENDED)
        if not self.lock_over(payment):
            return self.refuse(Reason.TIME_LOCKED)
        if not chain.provider_up:
            return self.refuse(Reason.PROVIDER_DOWN)
        return self.broadcast(payment)

    def lock_over(self, payment: OutgoingPayment) -> bool:
        """Whether the time lock of a payment's tier is over."""
        return self.time_ms >= payment.not_before_ms

    def broadcast(self, payment: OutgoingPayment) -> None:
        """Hand what was signed to its chain; its transaction id is derived from signature and intent."""
        signed = bytes.fromhex(payment.signature) + message_of(payment.intent)
        self.emit(
            PaymentBroadcast(
                intent=payment.intent, signature=payment.signature, transaction=sha256(signed).hexdigest()
            )
        )

    def _decide_payment_report(self, command: ReportPayment) -> None:
        payment = self.recognised(command.payment, command.transaction)
        if payment is None:
            return self.refuse(Reason.UNKNOWN_PAYMENT)
        asset = payment.intent.asset
        if not self.chains[asset].provider_up:
            return self.refuse(Reason.PROVIDER_DOWN)
        if payment.status is not PaymentStatus.BROADCAST:
            return self.refuse(Reason.PAYMENT_NOT_OPEN)
        if command.height > self.chains[asset].height:
            return self.refuse(Reason.HEIGHT_AHEAD)
        self.emit(PaymentIncluded(payment=command.payment, transaction=command.transaction, height=command.height))
        return self.settle_chain(asset)

    def recognised(self, payment: Label, transaction: TransactionId) -> OutgoingPayment | None:  # noqa: ARG002 - it may have changed on the way
        """The payment that a chain included: known by what it pays, whatever its transaction id is now."""
        return self.payments.get(payment)

    def settle_chain(self, asset: AssetId) -> None:
        """Draw the consequences of what is final on a chain by now: deposits, then payments.

        Which payments these are is looked up first: a mismatch that a deposit brings is what lets those that were
        settled before be paid, and nobody would correct their tiers.
        """
        included = [self.payments[payment] for payment in self._included[asset]]
        final = [payment for payment in included if self.final(asset, payment.height)]
        super().settle_chain(asset)
        for payment in sorted(final, key=lambda item: (item.height, item.intent.payment)):
            self.settle_payment(payment)

    def settle_payment(self, payment: OutgoingPayment) -> None:
        """Settle a payment that is final: once, and then never again.

        One that was settled before a reorganisation undid it is in the ledger already: only the tiers lose it again.
        """
        intent = payment.intent
        if payment.settled:
            for tier, amount in self.moved_by(payment):
                self.correct(tier, intent.asset, self.tier_holds(tier, intent.asset), Amount(amount))
        elif intent.payment in self.withdrawal_of:
            self.pay(self.withdrawals[self.withdrawal_of[intent.payment]])
        else:
            self.complete_sweep(intent)

    def complete_sweep(self, intent: PaymentIntent) -> None:
        """Let a sweep that is final have moved its amount, and spend its fee."""
        self.emit(
            SweepCompleted(
                sweep=intent.payment.removeprefix(SWEEP_PREFIX),
                asset=intent.asset,
                amount=intent.amount,
                fee=intent.fee,
                source=intent.tier,
                target=intent.destination.removeprefix(TIER_PREFIX),
            )
        )
        self.post(
            CauseKind.NETWORK_FEE,
            intent.payment,
            [(NETWORK, HELD, intent.asset, -intent.fee), (OUTSIDE, FREE, intent.asset, intent.fee)],
        )

    def moved_by(self, payment: OutgoingPayment) -> list[tuple[TierId, int]]:
        """What a final payment adds to tiers."""
        intent = payment.intent
        moved = [(intent.tier, -payment.cost)]
        if intent.payment not in self.withdrawal_of:
            moved.append((intent.destination.removeprefix(TIER_PREFIX), intent.amount))
        return moved

    def reorganise(self, asset: AssetId, height: Height) -> None:
        """Undo what a chain lost: payments are with it again, and what was settled is back in its tier."""
        undone = [
            payment
            for _, payment in sorted(self.payments.items())
            if payment.status is PaymentStatus.PAID and payment.intent.asset == asset and payment.height >= height
        ]
        super().reorganise(asset, height)
        for payment in undone:
            for tier, amount in self.moved_by(payment):
                self.correct(tier, asset, self.tier_holds(tier, asset), Amount(-amount))

    # Evolving -----------------------------------------------------------------------------------------------------

    def _put(self, payment: OutgoingPayment) -> None:
        """Keep a payment, and with it what tiers have promised and expect, and what a withdrawal is shown as."""
        name, asset = payment.intent.payment, payment.intent.asset
        before = self.payments.get(name)
        self._reckon(payment, (payment.status not in _OVER) - (before is not None and before.status not in _OVER))
        self.payments[name] = payment
        if payment.status is PaymentStatus.INCLUDED:
            self._included[asset][name] = None
        else:
            self._included[asset].pop(name, None)
        key = self.withdrawal_of.get(name)
        if key is None or payment.status in _OVER or payment.settled:
            return
        self.withdrawals[key] = replace(
            self.withdrawals[key], status=_SHOWN_AS.get(payment.status, WithdrawalStatus.APPROVED)
        )

    def _reckon(self, payment: OutgoingPayment, sign: int) -> None:
        intent = payment.intent
        place = intent.tier, intent.asset
        self._promised[place] = self._promised.get(place, 0) + sign * payment.cost
        if intent.payment not in self.withdrawal_of:
            there = intent.destination.removeprefix(TIER_PREFIX), intent.asset
            self._coming[there] = self._coming.get(there, 0) + sign * intent.amount

    def _on_withdrawal_requested(self, event: WithdrawalRequested) -> None:
        super()._on_withdrawal_requested(event)
        if self.custody is not None:
            self.withdrawal_of[f"{event.client}/{event.withdrawal}"] = event.client, event.withdrawal

    def _on_withdrawal_paid(self, event: WithdrawalPaid) -> None:
        super()._on_withdrawal_paid(event)
        if self.custody is not None:
            payment = self.payments[f"{event.client}/{event.withdrawal}"]
            self._put(replace(payment, status=PaymentStatus.PAID, settled=True))
            self._move_custody(payment.intent.tier, event.asset, -event.amount - event.fee)

    def _on_withdrawal_refunded(self, event: WithdrawalRefunded) -> None:
        super()._on_withdrawal_refunded(event)
        payment = self.payments.get(f"{event.client}/{event.withdrawal}")
        if payment is not None:
            self._put(replace(payment, status=PaymentStatus.DROPPED))

    def _on_payment_approved(self, event: PaymentApproved) -> None:
        self._put(OutgoingPayment(intent=event.intent, not_before_ms=event.not_before_ms))

    def _on_nonce_committed(self, event: NonceCommitted) -> None:
        payment = self.payments[event.payment]
        for nonce in self._verifiers[payment.intent.tier].nonces(event.signer, event.commitment):
            self.nonces[nonce] = None
        said = Said(signer=event.signer, said=event.commitment)
        self._put(replace(payment, commitments=(*payment.commitments, said)))

    def _on_signing_began(self, event: SigningBegan) -> None:
        self._put(replace(self.payments[event.payment], status=PaymentStatus.SIGNING, signers=event.signers))

    def _on_share_received(self, event: ShareReceived) -> None:
        payment = self.payments[event.payment]
        self._put(replace(payment, shares=(*payment.shares, Said(signer=event.signer, said=event.share))))

    def _on_signing_restarted(self, event: SigningRestarted) -> None:
        payment = self.payments[event.payment]
        self._put(
            replace(
                payment,
                status=PaymentStatus.APPROVED,
                attempt=event.attempt,
                commitments=(),
                signers=(),
                shares=(),
            )
        )

    def _on_payment_signed(self, event: PaymentSigned) -> None:
        payment = self.payments[event.payment]
        self._put(replace(payment, status=PaymentStatus.SIGNED, signature=event.signature))

    def _on_payment_broadcast(self, event: PaymentBroadcast) -> None:
        payment = self.payments[event.intent.payment]
        self._put(replace(payment, status=PaymentStatus.BROADCAST, transaction=event.transaction))

    def _on_payment_included(self, event: PaymentIncluded) -> None:
        self._put(
            replace(
                self.payments[event.payment],
                status=PaymentStatus.INCLUDED,
                transaction=event.transaction,
                height=event.height,
            )
        )

    def _on_sweep_completed(self, event: SweepCompleted) -> None:
        payment = self.payments[f"{SWEEP_PREFIX}{event.sweep}"]
        self._put(replace(payment, status=PaymentStatus.PAID, settled=True))
        self._move_custody(event.source, event.asset, -event.amount - event.fee)
        self._move_custody(event.target, event.asset, event.amount)

    def _on_chain_reorganised(self, event: ChainReorganised) -> None:
        super()._on_chain_reorganised(event)
        for payment in list(self.payments.values()):
            on_chain = payment.status in {PaymentStatus.INCLUDED, PaymentStatus.PAID}
            if on_chain and payment.intent.asset == event.asset and payment.height >= event.height:
                self._put(replace(payment, status=PaymentStatus.BROADCAST))

    def _on_mismatch_found(self, event: MismatchFound) -> None:
        """Also lets payments be paid that were settled before and are final again: nothing else tells of them."""
        super()._on_mismatch_found(event)
        for name in list(self._included[event.asset]):
            payment = self.payments[name]
            if payment.settled and self.final(event.asset, payment.height):
                self._put(replace(payment, status=PaymentStatus.PAID))

    # Snapshots ----------------------------------------------------------------------------------------------------

    def payments_under_way(self) -> tuple[Payment, ...]:
        """The payments that are neither paid nor dropped, for a view."""
        return tuple(
            Payment(
                intent=payment.intent,
                status=payment.status,
                attempt=payment.attempt,
                not_before_ms=payment.not_before_ms,
            )
            for _, payment in sorted(self.payments.items())
            if payment.status not in _OVER
        )

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"payments": by_key, "nonces": sorted}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.withdrawal_of = {}
        if self.custody is not None:
            self.withdrawal_of = {f"{client}/{name}": (client, name) for client, name in self.withdrawals}
        self.payments, self._promised, self._coming = {}, {}, {}
        self._included = {asset: {} for asset in self._rules}
        for payment in state.payments:
            self._put(payment)
        self.nonces = dict.fromkeys(state.nonces)


def _said(items: tuple[Said, ...]) -> dict[SignerId, Hex]:
    return {item.signer: item.said for item in items}
