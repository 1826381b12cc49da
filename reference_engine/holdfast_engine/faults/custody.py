"""Faults of custody: deposits, payments, signing, tiers, reconciliation, published liabilities."""

from msgspec.structs import replace

from holdfast_engine.core import FREE, HELD
from holdfast_engine.exchange import Parts, Recovery
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.state import Deposit, DepositStatus, OutgoingPayment, VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    NETWORK,
    OUTSIDE,
    Amount,
    AssetId,
    CauseKind,
    ChainReorganised,
    ClientId,
    DepositFinalised,
    DepositSeen,
    Height,
    Hex,
    PaymentBroadcast,
    PaymentSigned,
    PaymentStatus,
    Phase,
    Reason,
    ReportDeposit,
    SignerId,
    SubmitShare,
    TierId,
    TransactionId,
    Withdrawal,
    WithdrawalRefunded,
    WithdrawalStatus,
    message_of,
    structural_signature,
)
from holdfast_model.vocabulary.amounts import Label
from holdfast_model.vocabulary.liabilities import Liability, Tree, build_liabilities

# Deposits -----------------------------------------------------------------------------------------------------------


class _FinalTooEarly(Venue):
    def final(self, asset: AssetId, height: Height) -> bool:
        return self.chains[asset].height >= height


class _KeepsOrphans(Venue):
    def reorganise(self, asset: AssetId, height: Height) -> None:
        self.emit(ChainReorganised(asset=asset, height=height))


class _CreditsWhatComesBack(Venue):
    def finalise(self, deposit: Deposit) -> None:
        super().finalise(replace(deposit, entered=False))

    def _on_deposit_finalised(self, event: DepositFinalised) -> None:
        super()._on_deposit_finalised(event)
        deposit = self.chain_deposits[event.asset, event.transaction]
        self._set_deposit(replace(deposit, status=DepositStatus.FINAL, credited=False))


class _CreditsSomebodyElse(Venue):
    def credit_deposit(self, deposit: Deposit) -> None:
        clients = self.setup.clients
        neighbour = clients[clients.index(deposit.client) - 1]
        super().credit_deposit(replace(deposit, client=neighbour))


class _CreditsAnotherUnit(Venue):
    def _on_deposit_seen(self, event: DepositSeen) -> None:
        super()._on_deposit_seen(replace(event, amount=Amount(event.amount * 100)))


class _TakesReportsTwice(Venue):
    def deposit_known(self, command: ReportDeposit) -> bool:  # noqa: ARG002 - the fault
        return False


class _CreditsWhileSuspended(Venue):
    def finalise(self, deposit: Deposit) -> None:
        super().finalise(deposit)
        here = self.chain_deposits[deposit.asset, deposit.transaction]
        if not here.credited:
            self.credit_deposit(here)


# Payments -----------------------------------------------------------------------------------------------------------


class _KnowsPaymentsByTheirTransaction(Venue):
    def recognised(self, payment: Label, transaction: TransactionId) -> OutgoingPayment | None:
        known = super().recognised(payment, transaction)
        return known if known is not None and known.transaction == transaction else None

    def refundable(self, withdrawal: Withdrawal) -> bool:
        return super().refundable(withdrawal) or withdrawal.status is WithdrawalStatus.BROADCAST


class _RefundsWhatIsSigned(Venue):
    def refundable(self, withdrawal: Withdrawal) -> bool:
        return super().refundable(withdrawal) or withdrawal.status is WithdrawalStatus.SIGNED


class _RefundsAnotherAsset(UncheckedVenue):
    def refund(self, withdrawal: Withdrawal) -> None:
        client, name = withdrawal.client, withdrawal.withdrawal
        other = next(asset for asset in self.setup.assets if asset != withdrawal.asset)
        held = withdrawal.amount + withdrawal.fee
        self.emit(
            WithdrawalRefunded(
                client=client, withdrawal=name, asset=other, amount=withdrawal.amount, fee=withdrawal.fee
            )
        )
        self.post(
            CauseKind.WITHDRAWAL_REFUND,
            f"{client}/{name}",
            [(client, HELD, withdrawal.asset, -held), (client, FREE, other, held)],
        )


class _BroadcastsAgain(Venue):
    def _on_payment_broadcast(self, event: PaymentBroadcast) -> None:
        super()._on_payment_broadcast(event)
        payment = self.payments[event.intent.payment]
        self._put(replace(payment, status=PaymentStatus.SIGNED))


class _OverdrawsForWithdrawals(UncheckedVenue):
    def withdrawable(self, client: ClientId, asset: AssetId) -> Amount:
        return Amount(super().withdrawable(client, asset) + 1_000)


# Signing ------------------------------------------------------------------------------------------------------------


class _SignsAnyway(Venue):
    def sign(self, payment: OutgoingPayment) -> None:
        commitments: dict[SignerId, Hex] = {item.signer: item.said for item in payment.commitments}
        shares: dict[SignerId, Hex] = {item.signer: item.said for item in payment.shares}
        signature = structural_signature(message=message_of(payment.intent), commitments=commitments, shares=shares)
        self.emit(PaymentSigned(payment=payment.intent.payment, signature=signature))


class _SignsWithAShareTooFew(_SignsAnyway):
    def enough_shares(self, payment: OutgoingPayment) -> bool:
        return len(payment.shares) == len(payment.signers) - 1


class _CountsASignerTwice(_SignsAnyway):
    def _share_refusal(self, payment: OutgoingPayment, command: SubmitShare) -> Reason | None:
        reason = super()._share_refusal(payment, command)
        return None if reason is Reason.ALREADY_SAID else reason


class _TakesForgedShares(_SignsAnyway):
    def share_valid(self, payment: OutgoingPayment, signer: SignerId, share: Hex) -> bool:  # noqa: ARG002 - the fault
        return True


class _BroadcastsAnotherIntent(Venue):
    def broadcast(self, payment: OutgoingPayment) -> None:
        changed = replace(payment.intent, destination="mallory")
        super().broadcast(replace(payment, intent=changed))


class _TakesNoncesAgain(Venue):
    def commitment_used(self, tier: TierId, signer: SignerId, commitment: Hex) -> bool:  # noqa: ARG002 - the fault
        return False


class _ForgetsNonces(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, nonces=())


# Tiers --------------------------------------------------------------------------------------------------------------


class _IgnoresTimeLocks(Venue):
    def lock_over(self, payment: OutgoingPayment) -> bool:  # noqa: ARG002 - the fault
        return True


class _IgnoresTierLimits(Venue):
    def payment_allowed(self, tier: TierId, asset: AssetId, amount: Amount) -> bool:  # noqa: ARG002 - the fault
        return True


class _OverfillsTiers(Venue):
    def balance_allowed(self, tier: TierId, asset: AssetId, amount: Amount) -> bool:  # noqa: ARG002 - the fault
        return True


class _PromisesTwice(Venue):
    def unpromised(self, tier: TierId, asset: AssetId) -> int:
        return self.tier_holds(tier, asset)


# Reconciliation and what is published -------------------------------------------------------------------------------


class _NoticesNothing(Venue):
    def correct(self, tier: TierId, asset: AssetId, reckoned: Amount, more: Amount) -> None:
        """The chain is right, and nobody looks: an attestation is answered as one that agrees."""
        del tier, asset, reckoned, more
        if not self._events:
            self.reconcile_everything()


class _GoesOnTrading(Venue):
    def halt_itself(self) -> None:
        """Nothing is halted."""


class _HaltsAfterMaintenance(Venue):
    def enter(self, phase: Phase) -> None:
        before = self.phase
        super().enter(phase)
        if phase is Phase.MAINTENANCE:
            for asset in self.setup.assets:
                self._take_back(asset, self.ledger.amount(NETWORK, FREE, asset))
        if before is Phase.MAINTENANCE and not self.settled():
            self.halt_itself()

    def _take_back(self, asset: AssetId, paid_in: Amount) -> None:
        lines = [(NETWORK, FREE, asset, -paid_in), (OUTSIDE, FREE, asset, paid_in)]
        self.post(CauseKind.HOUSE_FUNDING, f"{asset}/{self.seq}", lines)

    def halt_itself(self) -> None:
        if self.phase is not Phase.MAINTENANCE:
            super().halt_itself()


class _LeavesAClientOut(Venue):
    def liabilities_tree(self, asset: AssetId) -> Tree:
        liabilities = (
            Liability(account=client, asset=asset, amount=self.owed_to(client, asset))
            for client in self.setup.clients[1:]
        )
        return build_liabilities(asset, liabilities, salt_key=self.salt_key(asset))


class _PublishesWhatIsFree(Venue):
    def owed_to(self, client: ClientId, asset: AssetId) -> Amount:
        return self.ledger.amount(client, FREE, asset)


FAULTS = (
    Fault(
        name="final-too-early",
        sentence="A transaction counts as final as soon as it is in a block.",
        violates=("CUST-1", "CUST-2", "CUST-3"),
        incidents=("kraken-deposit-2024-06",),
        parts=Parts(venue=_FinalTooEarly),
    ),
    Fault(
        name="orphaned-deposit-kept",
        sentence="A deposit stays where a reorganisation has taken it off its chain.",
        violates=("CUST-1", "CUST-2"),
        incidents=("etc-2019-01",),
        parts=Parts(venue=_KeepsOrphans),
    ),
    Fault(
        name="deposit-credited-again-after-reorganisation",
        sentence="A deposit that was undone after it was credited, and is final again, is credited again.",
        violates=("CUST-2", "FINAL-4"),
        incidents=("etc-2019-01",),
        parts=Parts(venue=_CreditsWhatComesBack),
    ),
    Fault(
        name="deposit-credited-to-another",
        sentence="A final deposit is credited to another client.",
        violates=("CUST-2",),
        parts=Parts(venue=_CreditsSomebodyElse),
    ),
    Fault(
        name="deposit-in-another-unit",
        sentence="A final deposit is entered as a hundred times its amount.",
        # FINAL-2 comes first: from when it is seen, the deposit is shown with another amount than was acknowledged.
        violates=("CUST-1", "CUST-2", "FINAL-2"),
        incidents=("bithumb-2026-02-06", "coinbase-precision-2021-11-19"),
        parts=Parts(venue=_CreditsAnotherUnit),
    ),
    Fault(
        name="backlog-applied-twice",
        sentence="A deposit that the provider tells again, after an outage say, is taken in again.",
        violates=("CUST-1", "CUST-2", "FINAL-4"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=_TakesReportsTwice),
    ),
    Fault(
        name="credited-while-suspended",
        sentence="Deposits are credited while their asset is suspended.",
        violates=("CUST-6",),
        parts=Parts(venue=_CreditsWhileSuspended),
    ),
    Fault(
        name="payment-known-by-transaction-id",
        sentence="A payment whose transaction id changed is not recognised, and its withdrawal can be refunded.",
        violates=("CUST-1", "CUST-3"),
        incidents=("mtgox-2014",),
        parts=Parts(venue=_KnowsPaymentsByTheirTransaction),
    ),
    Fault(
        name="refund-of-signed-payment",
        sentence="A withdrawal can still be refunded when its payment is signed.",
        violates=("CUST-3",),
        incidents=("mtgox-2014",),
        parts=Parts(venue=_RefundsWhatIsSigned),
    ),
    Fault(
        name="refund-out-of-custody-in-another-asset",
        sentence="A refunded withdrawal comes back as another asset, and no account pays for it.",
        violates=("CONS-1", "CUST-1", "CUST-3"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=_RefundsAnotherAsset),
    ),
    Fault(
        name="payment-broadcast-again",
        sentence="A payment can be broadcast any number of times.",
        # FINAL-2 comes first: a payment whose broadcast was acknowledged is shown as one that was not broadcast.
        violates=("CUST-3", "FINAL-2"),
        incidents=("poloniex-2014-03-04", "flexcoin-2014-03-02"),
        parts=Parts(venue=_BroadcastsAgain),
    ),
    Fault(
        name="negative-balance-accepted",
        sentence="A withdrawal may take more than there is, and a balance below zero counts as balanced.",
        violates=("CONS-2",),
        incidents=("bitgrail-2018",),
        parts=Parts(venue=_OverdrawsForWithdrawals),
    ),
    Fault(
        name="share-too-few",
        sentence="A payment counts as signed with one share less than its tier asks for.",
        violates=("CUST-4",),
        parts=Parts(venue=_SignsWithAShareTooFew),
    ),
    Fault(
        name="signer-counted-twice",
        sentence="Two shares of one signer count as those of two.",
        violates=("CUST-4", "CUST-5"),
        parts=Parts(venue=_CountsASignerTwice),
    ),
    Fault(
        name="forged-share-accepted",
        sentence="A share is taken in whatever it says.",
        violates=("CUST-4",),
        parts=Parts(venue=_TakesForgedShares),
    ),
    Fault(
        name="intent-changed-after-approval",
        sentence="What is broadcast goes to another destination than what was approved and signed.",
        violates=("CUST-3", "CUST-4"),
        parts=Parts(venue=_BroadcastsAnotherIntent),
    ),
    Fault(
        name="nonce-taken-again",
        sentence="A signer's commitment to a nonce is taken in again.",
        violates=("CUST-5",),
        parts=Parts(venue=_TakesNoncesAgain),
    ),
    Fault(
        name="nonces-forgotten-by-restore",
        sentence="A restore forgets which nonces signers have committed to.",
        violates=("CUST-5", "REPL-1"),
        parts=Parts(recovery=_ForgetsNonces),
    ),
    Fault(
        name="time-lock-ignored",
        sentence="A payment is broadcast before its tier's time lock is over.",
        violates=("CUST-6",),
        parts=Parts(venue=_IgnoresTimeLocks),
    ),
    Fault(
        name="tier-limit-ignored",
        sentence="A payment out of a tier may be of any size.",
        violates=("CUST-6",),
        parts=Parts(venue=_IgnoresTierLimits),
    ),
    Fault(
        name="tier-overfilled",
        sentence="A sweep may bring a tier beyond what it may hold.",
        violates=("CUST-6",),
        parts=Parts(venue=_OverfillsTiers),
    ),
    Fault(
        name="tier-promised-twice",
        sentence="What a tier has promised to one payment it promises to the next one too.",
        violates=("CUST-6",),
        incidents=("poloniex-2014-03-04",),
        parts=Parts(venue=_PromisesTwice),
    ),
    Fault(
        name="mismatch-unnoticed",
        sentence="What a reorganisation undid, or an attestation found, changes nothing that is reckoned with.",
        violates=("CUST-1",),
        incidents=("etc-2019-01", "bitgrail-2018"),
        parts=Parts(venue=_NoticesNothing),
    ),
    Fault(
        name="mismatch-without-halt",
        sentence="A difference between ledger and custody is told, and trading goes on.",
        violates=("CUST-1",),
        parts=Parts(venue=_GoesOnTrading),
    ),
    Fault(
        name="mismatch-muted-in-maintenance",
        sentence="What the house takes out of the ledger alone in maintenance halts nothing until that is over.",
        violates=("CUST-1", "CONS-4"),
        parts=Parts(venue=_HaltsAfterMaintenance),
    ),
    Fault(
        name="client-left-out-of-tree",
        sentence="The tree of liabilities leaves a client out.",
        violates=("CUST-6",),
        parts=Parts(venue=_LeavesAClientOut),
    ),
    Fault(
        name="held-left-out-of-tree",
        sentence="The tree of liabilities counts only what is free.",
        violates=("CUST-6",),
        incidents=("bithumb-2026-02-06",),
        parts=Parts(venue=_PublishesWhatIsFree),
    ),
)
