"""Custody's words: what chains, their provider, signers and operators say, and what the exchange then tells.

A signer and a chain are outside parties: what they have to say arrives as commands, so that the exchange stays
deterministic while the signers' nonces stay random.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from holdfast_model.vocabulary.amounts import (
    Amount,
    AssetId,
    ClientId,
    Identifier,
    Label,
    Sha256,
    Timestamp,
    TransactionId,
    WithdrawalId,
)
from holdfast_model.vocabulary.signing import Hex, PaymentIntent
from holdfast_model.vocabulary.tagged import CommandBase, EventBase

TierId = Identifier
SignerId = Identifier
SweepId = Identifier
"""The idempotency key of `SweepFunds`."""
Height = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""The number of a block of a chain."""

SWEEP_PREFIX = "@sweep/"
"""Payments of sweeps are named so, those of withdrawals `client/withdrawal`."""


class PaymentStatus(StrEnum):
    """Where a payment out of custody stands. PAID and DROPPED are terminal."""

    APPROVED = "approved"
    """Signers may commit to it."""
    SIGNING = "signing"
    """Enough signers have committed; their shares are awaited."""
    SIGNED = "signed"
    """It can no longer be taken back."""
    BROADCAST = "broadcast"
    INCLUDED = "included"
    """It is in a block that is not final yet."""
    PAID = "paid"
    DROPPED = "dropped"
    """Its withdrawal was refunded before it was signed."""


# What chains and their connection provider say --------------------------------------------------------------------


class ReportDeposit(CommandBase, tag="report_deposit", frozen=True, kw_only=True):
    """A deposit of a client is in the block of this height (provider)."""

    asset: AssetId
    transaction: TransactionId
    client: ClientId
    amount: Amount
    height: Height


class ReportBlock(CommandBase, tag="report_block", frozen=True, kw_only=True):
    """The chain of an asset has grown to this height (provider)."""

    asset: AssetId
    height: Height


class ReportReorganisation(CommandBase, tag="report_reorganisation", frozen=True, kw_only=True):
    """The blocks of an asset's chain from this height on are no longer part of it (provider)."""

    asset: AssetId
    height: Height


class ReportPayment(CommandBase, tag="report_payment", frozen=True, kw_only=True):
    """A payment that was broadcast is in the block of this height, perhaps under a changed id (provider)."""

    payment: Label
    transaction: TransactionId
    height: Height


class SetProvider(CommandBase, tag="set_provider", frozen=True, kw_only=True):
    """The connection to an asset's chain is there, or is not (operator)."""

    asset: AssetId
    up: bool


class AttestCustody(CommandBase, tag="attest_custody", frozen=True, kw_only=True):
    """What a tier really holds of an asset was looked up on its chain (operator)."""

    tier: TierId
    asset: AssetId
    amount: Amount


# What signers say -------------------------------------------------------------------------------------------------


class CommitNonce(CommandBase, tag="commit_nonce", frozen=True, kw_only=True):
    """A signer's first message for a payment: its commitment to a nonce never used before (RFC 9591, round one)."""

    payment: Label
    signer: SignerId
    commitment: Hex


class SubmitShare(CommandBase, tag="submit_share", frozen=True, kw_only=True):
    """A signer's second message for a payment: its share of the signature (RFC 9591, round two)."""

    payment: Label
    signer: SignerId
    share: Hex


# What operators do ------------------------------------------------------------------------------------------------


class ApproveWithdrawal(CommandBase, tag="approve_withdrawal", frozen=True, kw_only=True):
    """Policy approves a requested withdrawal: this asset, amount, destination and id, and no other (operator)."""

    client: ClientId
    withdrawal: WithdrawalId


class SweepFunds(CommandBase, tag="sweep_funds", frozen=True, kw_only=True):
    """Move funds from one tier of custody to another (operator)."""

    sweep: SweepId
    asset: AssetId
    amount: Amount
    source: TierId
    target: TierId


class RestartSigning(CommandBase, tag="restart_signing", frozen=True, kw_only=True):
    """Give up an attempt to sign a payment and begin the next one, with new commitments (operator)."""

    payment: Label


class BroadcastPayment(CommandBase, tag="broadcast_payment", frozen=True, kw_only=True):
    """Hand a signed payment to its chain, once its time lock is over (operator)."""

    payment: Label


class SuspendAsset(CommandBase, tag="suspend_asset", frozen=True, kw_only=True):
    """Say whether deposits and withdrawals of an asset are open; trading goes on (operator)."""

    asset: AssetId
    deposits_open: bool
    withdrawals_open: bool


class Reconcile(CommandBase, tag="reconcile", frozen=True, kw_only=True):
    """Compare ledger and custody, per client and per asset, at this cut (operator)."""


class CoverShortfall(CommandBase, tag="cover_shortfall", frozen=True, kw_only=True):
    """The owner pays into the first tier what custody lacks (operator)."""

    asset: AssetId
    amount: Amount
    transaction: TransactionId


class PublishLiabilities(CommandBase, tag="publish_liabilities", frozen=True, kw_only=True):
    """Publish the root of the Merkle sum tree over what all clients are owed of an asset (operator)."""

    asset: AssetId


ChainCommand = ReportDeposit | ReportBlock | ReportReorganisation | ReportPayment | SetProvider | AttestCustody
SignerCommand = CommitNonce | SubmitShare
CustodyCommand = (
    ApproveWithdrawal
    | SweepFunds
    | RestartSigning
    | BroadcastPayment
    | SuspendAsset
    | Reconcile
    | CoverShortfall
    | PublishLiabilities
)


# What the exchange tells ------------------------------------------------------------------------------------------


class DepositSeen(EventBase, tag="deposit_seen", frozen=True, kw_only=True):
    """A deposit is on its chain and not final yet."""

    asset: AssetId
    transaction: TransactionId
    client: ClientId
    amount: Amount
    height: Height


class DepositOrphaned(EventBase, tag="deposit_orphaned", frozen=True, kw_only=True):
    """A deposit's block is no longer part of its chain."""

    asset: AssetId
    transaction: TransactionId


class DepositFinalised(EventBase, tag="deposit_finalised", frozen=True, kw_only=True):
    """A deposit is final; it is credited (`DepositCredited`) at once, or when its asset is no longer suspended."""

    asset: AssetId
    transaction: TransactionId
    client: ClientId
    amount: Amount


class BlockReported(EventBase, tag="block_reported", frozen=True, kw_only=True):
    """An asset's chain has grown."""

    asset: AssetId
    height: Height


class ChainReorganised(EventBase, tag="chain_reorganised", frozen=True, kw_only=True):
    """An asset's chain lost its blocks from this height on."""

    asset: AssetId
    height: Height


class ProviderChanged(EventBase, tag="provider_changed", frozen=True, kw_only=True):
    """The connection to an asset's chain was lost, or is there again."""

    asset: AssetId
    up: bool


class AssetSuspended(EventBase, tag="asset_suspended", frozen=True, kw_only=True):
    """Which movements of an asset in and out of the exchange are open."""

    asset: AssetId
    deposits_open: bool
    withdrawals_open: bool


class PaymentApproved(EventBase, tag="payment_approved", frozen=True, kw_only=True):
    """A payment may be signed; it may not be broadcast before `not_before_ms`, its tier's time lock."""

    intent: PaymentIntent
    not_before_ms: Timestamp


class NonceCommitted(EventBase, tag="nonce_committed", frozen=True, kw_only=True):
    """A signer's commitment was taken in for an attempt, which are numbered from 1 for each payment."""

    payment: Label
    attempt: int
    signer: SignerId
    commitment: Hex


class SigningBegan(EventBase, tag="signing_began", frozen=True, kw_only=True):
    """Enough signers have committed to an attempt; these, in this order, are asked for their shares."""

    payment: Label
    attempt: int
    signers: tuple[SignerId, ...]


class ShareReceived(EventBase, tag="share_received", frozen=True, kw_only=True):
    """A signer's share was valid."""

    payment: Label
    attempt: int
    signer: SignerId
    share: Hex


class SigningRestarted(EventBase, tag="signing_restarted", frozen=True, kw_only=True):
    """An attempt was given up; `attempt` is the number of the next one."""

    payment: Label
    attempt: int


class PaymentSigned(EventBase, tag="payment_signed", frozen=True, kw_only=True):
    """A payment is signed, and can no longer be taken back."""

    payment: Label
    signature: Hex


class PaymentBroadcast(EventBase, tag="payment_broadcast", frozen=True, kw_only=True):
    """A payment was handed to its chain: what was signed, and the transaction id that it had then."""

    intent: PaymentIntent
    signature: Hex
    transaction: TransactionId


class PaymentIncluded(EventBase, tag="payment_included", frozen=True, kw_only=True):
    """A payment is in a block, under this transaction id."""

    payment: Label
    transaction: TransactionId
    height: Height


class SweepCompleted(EventBase, tag="sweep_completed", frozen=True, kw_only=True):
    """A sweep is final: its amount is in the target tier, its fee is spent."""

    sweep: SweepId
    asset: AssetId
    amount: Amount
    fee: Amount
    source: TierId
    target: TierId


class MismatchFound(EventBase, tag="mismatch_found", frozen=True, kw_only=True):
    """Ledger and custody differ at this cut; the exchange halts itself with the same answer.

    `place` is a tier, which from now on is reckoned to hold what was found; or an account whose balance is not the
    sum of its entries; or `@outside`: the tiers together hold what was found, and what came from outside is expected.
    """

    place: Label
    asset: AssetId
    found: Amount
    expected: Amount


class Reconciled(EventBase, tag="reconciled", frozen=True, kw_only=True):
    """Ledger and custody agree at this cut, for this many balances."""

    balances: int


class ShortfallCovered(EventBase, tag="shortfall_covered", frozen=True, kw_only=True):
    """The owner paid into custody what it lacked."""

    asset: AssetId
    amount: Amount
    transaction: TransactionId


class LiabilitiesPublished(EventBase, tag="liabilities_published", frozen=True, kw_only=True):
    """The root and the total of the Merkle sum tree over what all clients are owed of an asset."""

    asset: AssetId
    root: Sha256
    total: Amount
    accounts: int


CustodyEvent = (
    DepositSeen
    | DepositOrphaned
    | DepositFinalised
    | BlockReported
    | ChainReorganised
    | ProviderChanged
    | AssetSuspended
    | PaymentApproved
    | NonceCommitted
    | SigningBegan
    | ShareReceived
    | SigningRestarted
    | PaymentSigned
    | PaymentBroadcast
    | PaymentIncluded
    | SweepCompleted
    | MismatchFound
    | Reconciled
    | ShortfallCovered
    | LiabilitiesPublished
)


# What a view shows ------------------------------------------------------------------------------------------------


class PendingDeposit(Struct, frozen=True, kw_only=True, gc=False):
    """A deposit that is on its chain and not credited; it is `final` while deposits of its asset are suspended."""

    asset: AssetId
    transaction: TransactionId
    client: ClientId
    amount: Amount
    height: Height
    final: bool


class Payment(Struct, frozen=True, kw_only=True, gc=False):
    """A payment that is under way, and where it stands."""

    intent: PaymentIntent
    status: PaymentStatus
    attempt: int
    not_before_ms: Timestamp


class AssetStatus(Struct, frozen=True, kw_only=True, gc=False):
    """How far an asset's chain has come, whether it can be reached, and which movements are open."""

    asset: AssetId
    height: Height
    provider_up: bool
    deposits_open: bool
    withdrawals_open: bool


class Liabilities(Struct, frozen=True, kw_only=True, gc=False):
    """What was published last of an asset, and at which cut."""

    asset: AssetId
    root: Sha256
    total: Amount
    seq: int
