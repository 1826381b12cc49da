"""Faults of ledger, fees, deposits and withdrawals."""

from holdfast_engine.arithmetic import fee_earned
from holdfast_engine.book import MatchPlan
from holdfast_engine.core import FREE, HELD
from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.order import Order
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    FEES,
    OUTSIDE,
    Amount,
    AssetId,
    Bucket,
    CancelReason,
    CauseKind,
    ClientId,
    OrderCancelled,
    PlaceOrder,
    TransactionId,
    Withdrawal,
    WithdrawalRefunded,
    WithdrawalStatus,
)

Lines = list[tuple[str, Bucket, AssetId, int]]


class _RefundsAnotherAsset(Venue):
    def refund(self, withdrawal: Withdrawal) -> None:
        other = next(asset for asset in self.setup.assets if asset != withdrawal.asset)
        self.emit(
            WithdrawalRefunded(
                client=withdrawal.client,
                withdrawal=withdrawal.withdrawal,
                asset=other,
                amount=withdrawal.amount,
            )
        )
        self.post(
            CauseKind.WITHDRAWAL_REFUND,
            f"{withdrawal.client}/{withdrawal.withdrawal}",
            [
                (withdrawal.client, HELD, withdrawal.asset, -withdrawal.amount),
                (OUTSIDE, FREE, withdrawal.asset, withdrawal.amount),
                (OUTSIDE, FREE, other, -withdrawal.amount),
                (withdrawal.client, FREE, other, withdrawal.amount),
            ],
        )


class _RoundsFeesDown(Venue):
    def fee(self, order: Order, value: Amount, rate_ppm: int) -> Amount:
        numerator = order.fee_numerator
        return Amount(fee_earned(numerator + value * rate_ppm) - fee_earned(numerator))


class _KeepsTheRemainder(Venue):
    def fee_postings(self, asset: AssetId, *, charged: int, earned: int) -> Lines:  # noqa: ARG002 - the fault
        return [(FEES, FREE, asset, charged)]


class _CreditsFeesFromNowhere(UncheckedVenue):
    def fee_postings(self, asset: AssetId, *, charged: int, earned: int) -> Lines:
        return [*super().fee_postings(asset, charged=charged, earned=earned), (FEES, FREE, asset, 1)]


class _ChecksNoFunds(UncheckedVenue):
    def funded(self, command: PlaceOrder, plan: MatchPlan) -> bool:  # noqa: ARG002 - the fault
        return True


class _WithdrawsWhatIsHeld(UncheckedVenue):
    def withdrawable(self, client: ClientId, asset: AssetId) -> Amount:
        return Amount(self.ledger.amount(client, FREE, asset) + self.ledger.amount(client, HELD, asset))


class _ReleasesTwice(UncheckedVenue):
    def cancel(self, order: Order, reason: CancelReason) -> None:
        before = self.hold(order)
        super().cancel(order, reason)
        self._move_hold(order, before, CauseKind.ORDER_RELEASE)


class _PaysWithoutEntry(Venue):
    def _on_order_cancelled(self, event: OrderCancelled) -> None:
        super()._on_order_cancelled(event)
        asset = self.setup.assets[0]
        self.ledger._amounts[event.client, FREE, asset] = self.ledger.amount(event.client, FREE, asset) + 1  # noqa: SLF001 - the fault


class _CreditsDepositsAgain(Venue):
    def deposit_credited(self, transaction: TransactionId) -> bool:  # noqa: ARG002 - the fault
        return False


class _PaysWhatWasRefunded(UncheckedVenue):
    def payable(self, withdrawal: Withdrawal) -> bool:
        return withdrawal.status is not WithdrawalStatus.PAID


FAULTS = (
    Fault(
        name="refund-in-another-asset",
        sentence="A refunded withdrawal comes back as another asset, booked against the outside world.",
        violates=("CONS-1", "FINAL-2"),
        incidents=("backpack-2025-07-03", "coinbase-api-2022-02-11"),
        parts=Parts(venue=_RefundsAnotherAsset),
    ),
    Fault(
        name="fee-rounded-down",
        sentence="Fees are rounded in the client's favour.",
        violates=("CONS-3",),
        incidents=("balancer-2025-11-03",),
        parts=Parts(venue=_RoundsFeesDown),
    ),
    Fault(
        name="rounding-remainder-kept",
        sentence="What rounding up charges is booked as fee instead of rounding.",
        violates=("CONS-3",),
        parts=Parts(venue=_KeepsTheRemainder),
    ),
    Fault(
        name="fee-from-nowhere",
        sentence="The fee account is credited one unit more than the clients are charged.",
        violates=("CONS-1",),
        incidents=("coinbase-precision-2021-11-19",),
        parts=Parts(venue=_CreditsFeesFromNowhere),
    ),
    Fault(
        name="order-without-funds",
        sentence="Orders are taken in without a look at the client's balance.",
        violates=("CONS-2",),
        incidents=("bitgrail-2018", "coinbase-api-2022-02-11"),
        parts=Parts(venue=_ChecksNoFunds),
    ),
    Fault(
        name="held-funds-withdrawn",
        sentence="A withdrawal may take what is held for an order.",
        violates=("CONS-2",),
        incidents=("flexcoin-2014-03-02", "poloniex-2014-03-04"),
        parts=Parts(venue=_WithdrawsWhatIsHeld),
    ),
    Fault(
        name="hold-released-twice",
        sentence="Cancelling an order releases its hold twice.",
        violates=("CONS-2",),
        parts=Parts(venue=_ReleasesTwice),
    ),
    Fault(
        name="balance-without-entry",
        sentence="Cancelling an order adds a unit to the client's balance, and no entry tells why.",
        violates=("AUDIT-1",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=_PaysWithoutEntry),
    ),
    Fault(
        name="deposit-credited-twice",
        sentence="A chain transaction that is told twice is credited twice.",
        violates=("FINAL-4", "CONS-1"),
        incidents=("mtgox-2014",),
        parts=Parts(venue=_CreditsDepositsAgain),
    ),
    Fault(
        name="withdrawal-paid-after-refund",
        sentence="A withdrawal that was refunded can still be paid.",
        violates=("FINAL-4", "CONS-2"),
        incidents=("mtgox-2014",),
        parts=Parts(venue=_PaysWhatWasRefunded),
    ),
)
