"""Chains and deposits: what an asset's provider reports, until a deposit is final and credited once.

A chain is an outside party, and its provider reports in commands. What is final on it changes what the tiers of
custody hold and what the ledger holds, in one answer. A reorganisation that undoes something final changes the tiers
alone, because the chain is right: the exchange says so (`MismatchFound`) and halts itself.
"""

from collections.abc import Callable, Iterable
from typing import Any, Self

from msgspec.structs import replace

from holdfast_engine.core import FREE, Deciders, Evolvers, Fields, by_key
from holdfast_engine.funds import Funds
from holdfast_engine.house import House
from holdfast_engine.state import Arrival, Deposit, DepositStatus, VenueState
from holdfast_model.vocabulary import (
    ARRIVING,
    OUTSIDE,
    Amount,
    ApproveWithdrawal,
    AssetId,
    AssetStatus,
    AssetSuspended,
    AttestCustody,
    BlockReported,
    BroadcastPayment,
    CauseKind,
    ChainReorganised,
    ChainRule,
    Command,
    CommitNonce,
    CoverShortfall,
    CreditDeposit,
    Custody,
    DepositCredited,
    DepositFinalised,
    DepositOrphaned,
    DepositSeen,
    Height,
    HouseFunded,
    MismatchFound,
    PayWithdrawal,
    PendingDeposit,
    ProviderChanged,
    PublishLiabilities,
    Reason,
    Reconcile,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RestartSigning,
    SetProvider,
    Setup,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
    TierId,
    TransactionId,
)

DepositKey = tuple[AssetId, TransactionId]
"""What a deposit is known by, for ever."""

CUSTODY_COMMANDS: tuple[type, ...] = (
    ApproveWithdrawal,
    AttestCustody,
    BroadcastPayment,
    CommitNonce,
    CoverShortfall,
    PublishLiabilities,
    Reconcile,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RestartSigning,
    SetProvider,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
)
"""What is refused where there is no custody, as `CreditDeposit` and `PayWithdrawal` are where there is."""


class Chains(Funds, House):
    """The chain of each asset, the deposits on it, and what the tiers of custody hold."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.custody = self.setup.custody
        rules = self.custody
        self._rules: dict[AssetId, ChainRule] = {} if rules is None else {rule.asset: rule for rule in rules.chains}
        self.tiers: dict[tuple[TierId, AssetId], int] = {}
        self.tier_totals: dict[AssetId, int] = {}
        self.chains: dict[AssetId, AssetStatus] = {
            asset: AssetStatus(asset=asset, height=0, provider_up=True, deposits_open=True, withdrawals_open=True)
            for asset in sorted(self._rules)
        }
        self.chain_deposits: dict[DepositKey, Deposit] = {}
        self.arrivals: dict[DepositKey, None] = {}
        self._unsettled: dict[AssetId, dict[TransactionId, None]] = {asset: {} for asset in self._rules}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        if setup.custody is None:
            return super()._deciders(setup) | dict.fromkeys(CUSTODY_COMMANDS, cls._only_by_custody)
        return super()._deciders(setup) | {
            CreditDeposit: cls._only_by_custody,
            PayWithdrawal: cls._only_by_custody,
            ReportDeposit: cls._decide_deposit_report,
            ReportBlock: cls._decide_block,
            ReportReorganisation: cls._decide_reorganisation,
            SetProvider: cls._decide_provider,
            SuspendAsset: cls._decide_suspension,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        evolvers = super()._evolvers(setup)
        if setup.custody is None:
            return evolvers
        return evolvers | {
            HouseFunded: cls._on_tier_funded,
            DepositCredited: cls._on_chain_deposit_credited,
            DepositSeen: cls._on_deposit_seen,
            DepositOrphaned: cls._on_deposit_orphaned,
            DepositFinalised: cls._on_deposit_finalised,
            BlockReported: cls._on_block_reported,
            ChainReorganised: cls._on_chain_reorganised,
            ProviderChanged: cls._on_provider_changed,
            AssetSuspended: cls._on_asset_suspended,
            MismatchFound: cls._on_mismatch_found,
        }

    def _only_by_custody(self, command: Command) -> None:  # noqa: ARG002 - whatever it is
        self.refuse(Reason.ONLY_BY_CUSTODY)

    # What there is --------------------------------------------------------------------------------------------------

    @property
    def first_tier(self) -> TierId:
        """The tier that takes deposits in."""
        assert self.custody is not None
        return self.custody.tiers[0].tier

    def tier_holds(self, tier: TierId, asset: AssetId) -> Amount:
        """What a tier holds, as far as the exchange was told."""
        return Amount(self.tiers.get((tier, asset), 0))

    def final(self, asset: AssetId, height: Height) -> bool:
        """Whether what is in the block of this height is final."""
        return self.chains[asset].height - height + 1 >= self._rules[asset].confirmations

    def deposit_known(self, command: ReportDeposit) -> bool:
        """Whether a deposit was reported before. One that was orphaned comes back, once entered as what it was."""
        known = self.chain_deposits.get((command.asset, command.transaction))
        if known is None:
            return False
        if known.status is not DepositStatus.ORPHANED:
            return True
        return known.entered and (known.client, known.amount) != (command.client, command.amount)

    # Deciding -----------------------------------------------------------------------------------------------------

    def _provider_refusal(self, asset: AssetId) -> Reason | None:
        """Why nothing can be heard of an asset's chain."""
        if asset not in self.chains:
            return Reason.UNKNOWN_ASSET
        return None if self.chains[asset].provider_up else Reason.PROVIDER_DOWN

    def _decide_deposit_report(self, command: ReportDeposit) -> None:
        reason = self._provider_refusal(command.asset) or self._deposit_refusal(command)
        if reason is not None:
            return self.refuse(reason)
        self.emit(
            DepositSeen(
                asset=command.asset,
                transaction=command.transaction,
                client=command.client,
                amount=command.amount,
                height=command.height,
            )
        )
        return self.settle_chain(command.asset)

    def _deposit_refusal(self, command: ReportDeposit) -> Reason | None:
        if command.client not in self.clients:
            return Reason.UNKNOWN_CLIENT
        if command.amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE
        if command.height > self.chains[command.asset].height:
            return Reason.HEIGHT_AHEAD
        return Reason.DUPLICATE_DEPOSIT if self.deposit_known(command) else None

    def _decide_block(self, command: ReportBlock) -> None:
        reason = self._provider_refusal(command.asset)
        if reason is not None:
            return self.refuse(reason)
        if command.height <= self.chains[command.asset].height:
            return self.refuse(Reason.HEIGHT_NOT_HIGHER)
        self.emit(BlockReported(asset=command.asset, height=command.height))
        return self.settle_chain(command.asset)

    def settle_chain(self, asset: AssetId) -> None:
        """Draw the consequences of what is final on a chain by now, lowest block first."""
        for deposit in self._deposits_that(
            self._unsettled[asset], asset, lambda item: self.final(asset, item.height)
        ):
            self.finalise(deposit)
        self.credit_arrivals(asset)

    def credit_arrivals(self, asset: AssetId) -> None:
        """Credit what arrived and is final still (a shorter chain confirms less), if deposits are open."""
        if not self.arrivals or not self.chains[asset].deposits_open:
            return
        for key in [key for key in self.arrivals if key[0] == asset]:
            deposit = self.chain_deposits[key]
            if self.final(asset, deposit.height):
                self.credit_deposit(deposit)

    def _deposits_that(
        self, transactions: Iterable[TransactionId], asset: AssetId, holds: Callable[[Deposit], bool]
    ) -> list[Deposit]:
        """The deposits of which something holds, by height and transaction."""
        deposits = [self.chain_deposits[asset, transaction] for transaction in transactions]
        chosen = [deposit for deposit in deposits if holds(deposit)]
        return sorted(chosen, key=lambda deposit: (deposit.height, deposit.transaction))

    def finalise(self, deposit: Deposit) -> None:
        """Take in a deposit that is final: it arrives.

        One that was entered before a reorganisation undid it is in the ledger already: only the tier gets it back.
        """
        asset, transaction = deposit.asset, deposit.transaction
        before = self.tier_holds(self.first_tier, asset)
        self.emit(
            DepositFinalised(asset=asset, transaction=transaction, client=deposit.client, amount=deposit.amount)
        )
        if deposit.entered:
            self.correct(self.first_tier, asset, before, deposit.amount)
        else:
            self.post(
                CauseKind.ARRIVAL,
                transaction,
                [(OUTSIDE, FREE, asset, -deposit.amount), (ARRIVING, FREE, asset, deposit.amount)],
            )

    def credit_deposit(self, deposit: Deposit) -> None:
        """Credit a deposit that arrived to the client that it is for."""
        self.emit(
            DepositCredited(
                client=deposit.client,
                asset=deposit.asset,
                amount=deposit.amount,
                transaction=deposit.transaction,
            )
        )
        self.post(
            CauseKind.DEPOSIT,
            deposit.transaction,
            [
                (ARRIVING, FREE, deposit.asset, -deposit.amount),
                (deposit.client, FREE, deposit.asset, deposit.amount),
            ],
        )

    def _decide_reorganisation(self, command: ReportReorganisation) -> None:
        reason = self._provider_refusal(command.asset)
        if reason is not None:
            return self.refuse(reason)
        if not 1 <= command.height <= self.chains[command.asset].height:
            return self.refuse(Reason.REORGANISATION_ILLEGAL)
        return self.reorganise(command.asset, command.height)

    def reorganise(self, asset: AssetId, height: Height) -> None:
        """Undo what a chain lost; what was final among it is missing in custody, which halts the exchange."""
        transactions = [transaction for of, transaction in self.chain_deposits if of == asset]
        lost = self._deposits_that(
            transactions,
            asset,
            lambda item: item.height >= height and item.status is not DepositStatus.ORPHANED,
        )
        self.emit(ChainReorganised(asset=asset, height=height))
        for deposit in lost:
            self.emit(DepositOrphaned(asset=asset, transaction=deposit.transaction))
        for deposit in lost:
            if deposit.status is not DepositStatus.SEEN:
                reckoned = self.tier_holds(self.first_tier, asset)
                self.correct(self.first_tier, asset, reckoned, Amount(-deposit.amount))

    def correct(self, tier: TierId, asset: AssetId, reckoned: Amount, more: Amount) -> None:
        """Let a tier hold what its chain shows of it, which the ledger knows nothing of, and halt."""
        self.emit(MismatchFound(place=tier, asset=asset, found=Amount(reckoned + more), expected=reckoned))
        self.halt_itself()

    def halt_itself(self) -> None:
        """Halt because ledger and custody differ (see the venue)."""

    def _decide_provider(self, command: SetProvider) -> None:
        if command.asset not in self.chains:
            return self.refuse(Reason.UNKNOWN_ASSET)
        return self.emit(ProviderChanged(asset=command.asset, up=command.up))

    def _decide_suspension(self, command: SuspendAsset) -> None:
        if command.asset not in self.chains:
            return self.refuse(Reason.UNKNOWN_ASSET)
        self.emit(
            AssetSuspended(
                asset=command.asset,
                deposits_open=command.deposits_open,
                withdrawals_open=command.withdrawals_open,
            )
        )
        return self.credit_arrivals(command.asset)

    # Evolving -----------------------------------------------------------------------------------------------------

    def _move_custody(self, tier: TierId, asset: AssetId, amount: int) -> None:
        """Add to what a tier holds."""
        self.tiers[tier, asset] = self.tiers.get((tier, asset), 0) + amount
        self.tier_totals[asset] = self.tier_totals.get(asset, 0) + amount

    def _on_tier_funded(self, event: HouseFunded) -> None:
        """What the owner pays in goes to the first tier."""
        self._on_house_funded(event)
        self._move_custody(self.first_tier, event.asset, event.amount)

    def _on_deposit_seen(self, event: DepositSeen) -> None:
        key = event.asset, event.transaction
        known = self.chain_deposits.get(key)
        back = known is not None and known.status is DepositStatus.ORPHANED
        self._set_deposit(
            Deposit(
                asset=event.asset,
                transaction=event.transaction,
                client=event.client,
                amount=event.amount,
                height=event.height,
                entered=back and known is not None and known.entered,
                credited=back and known is not None and known.credited,
            )
        )

    def _on_deposit_orphaned(self, event: DepositOrphaned) -> None:
        self._set_deposit(replace(self.chain_deposits[event.asset, event.transaction], status=DepositStatus.ORPHANED))

    def _on_deposit_finalised(self, event: DepositFinalised) -> None:
        deposit = self.chain_deposits[event.asset, event.transaction]
        if not deposit.entered:
            self._move_custody(self.first_tier, event.asset, event.amount)
        status = DepositStatus.CREDITED if deposit.credited else DepositStatus.FINAL
        self._set_deposit(replace(deposit, status=status, entered=True))

    def _on_chain_deposit_credited(self, event: DepositCredited) -> None:
        deposit = self.chain_deposits[event.asset, event.transaction]
        self._set_deposit(replace(deposit, status=DepositStatus.CREDITED, credited=True))

    def _set_deposit(self, deposit: Deposit) -> None:
        key = deposit.asset, deposit.transaction
        self.chain_deposits[key] = deposit
        if deposit.status is DepositStatus.SEEN:
            self._unsettled[deposit.asset][deposit.transaction] = None
        else:
            self._unsettled[deposit.asset].pop(deposit.transaction, None)
        if deposit.status is DepositStatus.FINAL:
            self.arrivals[key] = None
        else:
            self.arrivals.pop(key, None)

    def _on_block_reported(self, event: BlockReported) -> None:
        self.chains[event.asset] = replace(self.chains[event.asset], height=event.height)

    def _on_chain_reorganised(self, event: ChainReorganised) -> None:
        self.chains[event.asset] = replace(self.chains[event.asset], height=event.height - 1)

    def _on_provider_changed(self, event: ProviderChanged) -> None:
        self.chains[event.asset] = replace(self.chains[event.asset], provider_up=event.up)

    def _on_asset_suspended(self, event: AssetSuspended) -> None:
        self.chains[event.asset] = replace(
            self.chains[event.asset], deposits_open=event.deposits_open, withdrawals_open=event.withdrawals_open
        )

    def _on_mismatch_found(self, event: MismatchFound) -> None:
        """A tier holds what was found; a mismatch elsewhere changes nothing that is held."""
        assert self.custody is not None
        if any(tier.tier == event.place for tier in self.custody.tiers):
            self._move_custody(event.place, event.asset, event.found - event.expected)

    # Snapshots ----------------------------------------------------------------------------------------------------

    def pending_deposits(self) -> tuple[PendingDeposit, ...]:
        """The deposits that are on their chain and not credited, for a view."""
        return tuple(
            PendingDeposit(
                asset=deposit.asset,
                transaction=deposit.transaction,
                client=deposit.client,
                amount=deposit.amount,
                height=deposit.height,
                final=deposit.status is DepositStatus.FINAL,
            )
            for _, deposit in sorted(self.chain_deposits.items())
            if deposit.status in {DepositStatus.SEEN, DepositStatus.FINAL}
        )

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"chains": by_key, "tiers": _tiers, "chain_deposits": by_key}

    def equals(self, other: Self) -> bool:
        """Arrivals are equal, and in the same order."""
        return super().equals(other) and list(self.arrivals) == list(other.arrivals)

    def _parts(self) -> dict[str, Any]:
        parts = super()._parts()
        parts |= {
            "arrivals": tuple(Arrival(asset=asset, transaction=name) for asset, name in self.arrivals),
        }
        return parts

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.chains = {status.asset: status for status in state.chains}
        self.tiers, self.tier_totals = {}, {}
        for custody in state.tiers:
            self._move_custody(custody.tier, custody.asset, custody.amount)
        self.chain_deposits, self.arrivals = {}, {}
        self._unsettled = {asset: {} for asset in self._rules}
        for deposit in state.chain_deposits:
            self._set_deposit(deposit)
        self.arrivals = dict.fromkeys((arrival.asset, arrival.transaction) for arrival in state.arrivals)


def _tiers(tiers: dict[tuple[TierId, AssetId], int]) -> list[Custody]:
    return [
        Custody(tier=tier, asset=asset, amount=Amount(amount))
        for (tier, asset), amount in sorted(tiers.items())
        if amount
    ]
