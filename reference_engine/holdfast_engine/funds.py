"""Funds: deposits are credited once, withdrawals are held, then either paid or given back."""

from holdfast_engine.core import FREE, HELD, Core, Deciders, Evolvers, Fields, by_key
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    OUTSIDE,
    Amount,
    AssetId,
    CauseKind,
    ClientId,
    CreditDeposit,
    DepositCredited,
    PayWithdrawal,
    Reason,
    RefundWithdrawal,
    RequestWithdrawal,
    Setup,
    TransactionId,
    Withdrawal,
    WithdrawalId,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.amounts import Label


class Funds(Core):
    """The deposits and withdrawals of all clients."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.deposits: dict[TransactionId, None] = {}
        self.withdrawals: dict[tuple[ClientId, WithdrawalId], Withdrawal] = {}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {
            CreditDeposit: cls._decide_deposit,
            RequestWithdrawal: cls._decide_withdrawal,
            PayWithdrawal: cls._decide_payment,
            RefundWithdrawal: cls._decide_refund,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            DepositCredited: cls._on_deposit_credited,
            WithdrawalRequested: cls._on_withdrawal_requested,
            WithdrawalPaid: cls._on_withdrawal_paid,
            WithdrawalRefunded: cls._on_withdrawal_refunded,
        }

    # Deciding -----------------------------------------------------------------------------------------------------

    def _decide_deposit(self, command: CreditDeposit) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if self.deposit_credited(command.transaction):
            return self.refuse(Reason.DUPLICATE_DEPOSIT)
        self.emit(
            DepositCredited(
                client=command.client,
                asset=command.asset,
                amount=command.amount,
                transaction=command.transaction,
            )
        )
        return self.post(
            CauseKind.DEPOSIT,
            command.transaction,
            [
                (OUTSIDE, FREE, command.asset, -command.amount),
                (command.client, FREE, command.asset, command.amount),
            ],
        )

    def deposit_credited(self, transaction: TransactionId) -> bool:
        """Whether a chain transaction was credited before."""
        return transaction in self.deposits

    def _decide_withdrawal(self, command: RequestWithdrawal) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if self.withdrawal_used(command.client, command.withdrawal):
            return self.refuse(Reason.DUPLICATE_WITHDRAWAL)
        fee = self.withdrawal_fee(command.asset)
        if command.amount + fee > self.withdrawable(command.client, command.asset):
            return self.refuse(Reason.INSUFFICIENT_FUNDS)
        self.emit(
            WithdrawalRequested(
                client=command.client,
                withdrawal=command.withdrawal,
                asset=command.asset,
                amount=command.amount,
                fee=fee,
                destination=command.destination,
            )
        )
        cause = f"{command.client}/{command.withdrawal}"
        held = Amount(command.amount + fee)
        return self.move(CauseKind.WITHDRAWAL_HOLD, cause, command.client, command.asset, held)

    def withdrawal_used(self, client: ClientId, withdrawal: WithdrawalId) -> bool:
        """Whether a client used an id for a withdrawal before."""
        return (client, withdrawal) in self.withdrawals

    def withdrawal_fee(self, asset: AssetId) -> Amount:  # noqa: ARG002 - chains charge fees, and there are none here
        """What a withdrawal costs beyond its amount."""
        return Amount(0)

    def withdrawable(self, client: ClientId, asset: AssetId) -> Amount:
        """How much a client may withdraw: what is free."""
        return self.ledger.amount(client, FREE, asset)

    def _decide_payment(self, command: PayWithdrawal) -> None:
        withdrawal = self.withdrawals.get((command.client, command.withdrawal))
        if withdrawal is None:
            return self.refuse(Reason.UNKNOWN_WITHDRAWAL)
        if not self.payable(withdrawal):
            return self.refuse(Reason.WITHDRAWAL_NOT_OPEN)
        return self.pay(withdrawal)

    def pay(self, withdrawal: Withdrawal) -> None:
        """Pay a withdrawal, and its fee: what was held for it leaves the exchange."""
        self.emit(
            WithdrawalPaid(
                client=withdrawal.client,
                withdrawal=withdrawal.withdrawal,
                asset=withdrawal.asset,
                amount=withdrawal.amount,
                fee=withdrawal.fee,
            )
        )
        held = withdrawal.amount + withdrawal.fee
        self.post(
            CauseKind.WITHDRAWAL_PAYMENT,
            f"{withdrawal.client}/{withdrawal.withdrawal}",
            [
                (withdrawal.client, HELD, withdrawal.asset, -held),
                (OUTSIDE, FREE, withdrawal.asset, held),
            ],
        )

    def payable(self, withdrawal: Withdrawal) -> bool:
        """Whether a withdrawal may be paid: neither paid nor refunded yet."""
        return withdrawal.status is WithdrawalStatus.REQUESTED

    def _decide_refund(self, command: RefundWithdrawal) -> None:
        withdrawal = self.withdrawals.get((command.client, command.withdrawal))
        if withdrawal is None:
            return self.refuse(Reason.UNKNOWN_WITHDRAWAL)
        if not self.refundable(withdrawal):
            return self.refuse(Reason.WITHDRAWAL_NOT_OPEN)
        return self.refund(withdrawal)

    def refundable(self, withdrawal: Withdrawal) -> bool:
        """Whether a withdrawal may be given back: neither paid nor refunded, and with custody not signed."""
        return withdrawal.status in {WithdrawalStatus.REQUESTED, WithdrawalStatus.APPROVED}

    def refund(self, withdrawal: Withdrawal) -> None:
        """Give a withdrawal back: to its owner, in its asset, its amount and what was held for its fee."""
        self.emit(
            WithdrawalRefunded(
                client=withdrawal.client,
                withdrawal=withdrawal.withdrawal,
                asset=withdrawal.asset,
                amount=withdrawal.amount,
                fee=withdrawal.fee,
            )
        )
        held = withdrawal.amount + withdrawal.fee
        self.post(
            CauseKind.WITHDRAWAL_REFUND,
            f"{withdrawal.client}/{withdrawal.withdrawal}",
            [
                (withdrawal.client, HELD, withdrawal.asset, -held),
                (withdrawal.client, FREE, withdrawal.asset, held),
            ],
        )

    # Evolving -----------------------------------------------------------------------------------------------------

    def _on_deposit_credited(self, event: DepositCredited) -> None:
        self.deposits[event.transaction] = None

    def _on_withdrawal_requested(self, event: WithdrawalRequested) -> None:
        self._set_withdrawal(event, WithdrawalStatus.REQUESTED, event.destination)

    def _on_withdrawal_paid(self, event: WithdrawalPaid) -> None:
        self._settle_withdrawal(event, WithdrawalStatus.PAID)

    def _on_withdrawal_refunded(self, event: WithdrawalRefunded) -> None:
        self._settle_withdrawal(event, WithdrawalStatus.REFUNDED)

    def _settle_withdrawal(self, event: WithdrawalPaid | WithdrawalRefunded, status: WithdrawalStatus) -> None:
        requested = self.withdrawals.get((event.client, event.withdrawal))
        self._set_withdrawal(event, status, "" if requested is None else requested.destination)

    def _set_withdrawal(
        self,
        event: WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded,
        status: WithdrawalStatus,
        destination: Label,
    ) -> None:
        self.withdrawals[event.client, event.withdrawal] = Withdrawal(
            client=event.client,
            withdrawal=event.withdrawal,
            asset=event.asset,
            amount=event.amount,
            status=status,
            fee=event.fee,
            destination=destination,
        )

    # Snapshots ----------------------------------------------------------------------------------------------------

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"deposits": sorted, "withdrawals": by_key}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.deposits = dict.fromkeys(state.deposits)
        self.withdrawals = {
            (withdrawal.client, withdrawal.withdrawal): withdrawal for withdrawal in state.withdrawals
        }
