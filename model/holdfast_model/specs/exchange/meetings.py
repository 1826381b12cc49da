"""What only two parts together can show: goals and properties for slices that have both."""

from typing import Self

from holdfast_model.spec import (
    Bool,
    Condition,
    Nat,
    action,
    all_of,
    any_of,
    implies,
    negation,
    sometimes,
    step,
)
from holdfast_model.specs.exchange.custody import (
    Custody,
    Deposit,
    DepositStatus,
    Payment,
    PaymentStatus,
    Signer,
    Wallet,
)
from holdfast_model.specs.exchange.ledger import Account, Exchange, Kind
from holdfast_model.specs.exchange.margin import Margin, Product
from holdfast_model.specs.exchange.operations import (
    Answer,
    Fate,
    Phase,
    Procedure,
    Recovery,
    Replication,
    Request,
    Slot,
    Standby,
    Surge,
)
from holdfast_model.specs.exchange.trading import Order, Status, Trading


class TradingRecovered(Trading, Recovery):
    """Orders across crashes."""

    def _logged(self, kind: Kind) -> Condition:
        """Whether the engine came back from a log with a command of this kind in it."""
        return all_of(self.just_restored, any_of(*(self.log[slot].kind == kind for slot in Slot)))

    @sometimes("filled-between-snapshot-and-crash")
    def filled_between_snapshot_and_crash(self, order: Order) -> Condition:
        """An order was filled between snapshot and crash, and the engine came back."""
        return all_of(self._logged(Kind.TRADE), self.live.status[order] == Status.FILLED)

    @sometimes("cancelled-between-snapshot-and-crash")
    def cancelled_between_snapshot_and_crash(self, order: Order) -> Condition:
        """An order was cancelled between snapshot and crash, and the engine came back."""
        return all_of(self._logged(Kind.CANCEL), self.live.status[order] == Status.CANCELLED)


class TradingMaintained(Trading, Procedure):
    """Orders across maintenance."""

    @sometimes("order-rests-through-maintenance")
    def order_rests_through_maintenance(self, order: Order) -> Condition:
        """An order that was placed before maintenance rests after a deployment that is confirmed and reconciled."""
        return all_of(may_end_after_deployment(self), self.told_status[order] == Status.RESTING)


class SurgeFailover(Surge, Replication):
    """Requests across failovers."""

    shed_in = Nat.upto(lambda spec: spec.parameters["epochs"]).per(Request).ghost()
    """The epoch in which a request was shed last."""
    unheard_in = Nat.upto(lambda spec: spec.parameters["epochs"]).per(Request).ghost()
    """The epoch in which a request was served last without its client hearing of it."""

    @action
    def send(self, request: Request) -> None:
        """A client sends its order, or sends it again: it waits, or is shed where the queue is full."""
        super().send(request)
        with self.when(self.fate[request] == Fate.SHED):
            self.shed_in[request] = self.epoch

    @action
    def serve_order(self, request: Request, answer: Answer) -> None:
        """A waiting order is decided, when no cancel waits; its client hears so, or loses its connection first."""
        super().serve_order(request, answer)
        if answer == Answer.LOST:
            self.unheard_in[request] = self.epoch
        else:
            # What the primary that shed it or served it unheard then settles itself is no retry across a failover.
            for kept in self.shed_in, self.unheard_in:
                with self.when(kept[request] == self.epoch):
                    kept[request] = 0

    @sometimes("shed-order-retried-across-a-failover")
    def shed_then_accepted_after_failover(self, request: Request) -> Condition:
        """An order that one primary shed was sent again and accepted by the next."""
        return all_of(
            self.shed_in[request] != 0, self.fate[request] == Fate.ACCEPTED, self.epoch > self.shed_in[request]
        )

    @sometimes("unheard-order-retried-across-a-failover")
    def unheard_then_accepted_after_failover(self, request: Request) -> Condition:
        """An order that one primary accepted unheard was sent again, and the next told of the one effect."""
        return all_of(
            self.unheard_in[request] != 0,
            self.fate[request] == Fate.ACCEPTED,
            self.epoch > self.unheard_in[request],
        )


class MaintenanceFailover(Procedure, Replication):
    """Maintenance with standbys."""

    failover_in_maintenance = Bool.ghost()
    reloaded = Bool.per(Standby)
    """Whether a standby was started since the load barrier, and so is rebuilt from snapshot and log."""

    @action
    def start(self, standby: Standby) -> None:
        """A dead standby runs again, and what it will load nobody has compared with anything."""
        super().start(standby)
        self.reloaded[standby] = True

    @action
    def stop(self, standby: Standby) -> None:
        """A standby dies, and with it its memory."""
        super().stop(standby)
        self.reloaded[standby] = False

    def is_to_confirm(self) -> Condition:
        """Whether confirming the load would change anything: also where only a standby was rebuilt."""
        return any_of(super().is_to_confirm(), *(self.reloaded[standby] for standby in Standby))

    @action
    def confirm_load(self) -> None:
        """The load barrier: every replica shows the same, and it is what snapshot and log describe."""
        super().confirm_load()
        for standby in Standby:
            self.reloaded[standby] = False

    @action
    def promote(self, standby: Standby) -> None:
        """A standby that lacks no command becomes the primary of the next epoch; the old one takes its place.

        One that was rebuilt owes the load barrier; what is owed for the primary before it stays owed.
        """
        gone = negation(self.up)
        super().promote(standby)
        with self.when(self.reloaded[standby]):
            self._loaded_anew(noticed=self.bug != "promotion-confirms")
        self.reloaded[standby] = False
        self.failover_in_maintenance = any_of(
            self.failover_in_maintenance, all_of(gone, self.phase == Phase.MAINTENANCE)
        )

    @sometimes("failover-in-maintenance")
    def failed_over_in_maintenance(self) -> Condition:
        """The primary was lost in maintenance, a standby took over, and maintenance ended."""
        return all_of(self.failover_in_maintenance, self.phase == Phase.OPEN)


class CustodyRecovered(Custody, Recovery):
    """Deposits and withdrawals across crashes; the signers' stores are not the venue's."""

    @action
    def restore(self) -> None:
        """The engine comes back: the snapshot, and on it every command of the log again."""
        super().restore()
        if self.bug == "signers-restored":
            for signer in Signer:
                self.nonces_made[signer] = 0

    @sometimes("restored-during-a-partly-signed-withdrawal")
    def restored_while_partly_signed(self, payment: Payment) -> Condition:
        """The engine crashed when a withdrawal was partly signed, came back, and knows of the share."""
        return all_of(self.just_restored, partly_signed(self.live, payment))


class CustodyFailover(CustodyRecovered, Replication):
    """Deposits and withdrawals across failovers."""

    @action
    def lose_provider(self) -> None:
        """The connection provider is down; a failover before that was not one while it was down."""
        super().lose_provider()
        self.failed_over = False

    @sometimes("failover-during-a-partly-signed-withdrawal")
    def failed_over_while_partly_signed(self, payment: Payment) -> Condition:
        """A standby took over when a withdrawal was partly signed, and knows of the share."""
        return all_of(self.failed_over, partly_signed(self.live, payment))

    @sometimes("failover-while-the-provider-was-down")
    def failed_over_while_down(self, deposit: Deposit) -> Condition:
        """A standby took over while the provider was down, and knows of a deposit that is not final."""
        return all_of(
            self.failed_over,
            negation(self.provider_up),
            self.live.deposit_status[deposit] == DepositStatus.SEEN,
        )


class CustodyMaintained(CustodyRecovered, Procedure):
    """Deposits and withdrawals across maintenance."""

    @sometimes("partly-signed-through-maintenance")
    def partly_signed_through_maintenance(self, payment: Payment) -> Condition:
        """A withdrawal partly signed before maintenance is so after a deployment that is confirmed and reconciled."""
        return all_of(may_end_after_deployment(self), partly_signed(self.live, payment))

    @sometimes("provider-down-in-maintenance")
    def provider_down_in_maintenance(self, deposit: Deposit) -> Condition:
        """In maintenance, while the provider was down, a deposit that the venue had seen was orphaned."""
        return all_of(
            self.phase == Phase.MAINTENANCE,
            negation(self.provider_up),
            self.orphaned_unseen[deposit],
            self.live.deposit_status[deposit] == DepositStatus.SEEN,
        )


def may_end_after_deployment(spec: Procedure) -> Condition:
    """Whether maintenance, in which nothing that a client sees can change, has deployed and may end."""
    return all_of(
        spec.deployed_with_log, spec.phase == Phase.MAINTENANCE, spec.up, spec.load_confirmed, spec.reconciled
    )


def partly_signed(wallet: Wallet, payment: Payment) -> Condition:
    """Whether a payment has a share and not yet all."""
    return all_of(wallet.payment_status[payment] == PaymentStatus.SIGNING, wallet.shares[payment] >= 1)


class MarginMaintained(Margin, Procedure):
    """Liquidations after a restart wait for the load barrier."""

    def can_liquidate(self) -> Condition:
        """Whether the load is confirmed, too."""
        return all_of(super().can_liquidate(), self.load_confirmed)

    @step("PHASE-2")
    def barrier_before_liquidations(self, after: Self, account: Account) -> Condition:
        """Nobody is liquidated while the load barrier is due."""
        one, other = self.positions(), after.positions()
        moved = any_of(*(one.position[account, product] != other.position[account, product] for product in Product))
        return implies(all_of(after.liquidated_last, moved), negation(self.barrier_due))

    @sometimes("liquidated-after-a-restart")
    def liquidated_after_restart(self) -> Condition:
        """Somebody was liquidated out of a state that a restart brought back."""
        logged = any_of(*(self.log[slot].kind == Kind.LIQUIDATE for slot in Slot))
        since_restart = all_of(self.liquidated_last, logged, negation(self.just_restored))
        return all_of(since_restart, negation(self.reconciled), self.phase == Phase.OPEN)


MEETINGS: dict[frozenset[str], type[Exchange]] = {
    frozenset({"trading", "recovery"}): TradingRecovered,
    frozenset({"trading", "maintenance"}): TradingMaintained,
    frozenset({"surge", "replication"}): SurgeFailover,
    frozenset({"custody", "recovery"}): CustodyRecovered,
    frozenset({"custody", "replication"}): CustodyFailover,
    frozenset({"custody", "maintenance"}): CustodyMaintained,
    frozenset({"margin", "maintenance"}): MarginMaintained,
    frozenset({"maintenance", "replication"}): MaintenanceFailover,
}
"""By the parts that meet."""
