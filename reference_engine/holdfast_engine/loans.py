"""Loans: out of a funded pool, secured by the cross-margin account, with interest."""

from holdfast_engine.accounts import Accounts
from holdfast_engine.arithmetic import PPM, interest_charged, interest_earned
from holdfast_engine.core import BORROWED, FREE, Deciders, Evolvers, Fields, Lines
from holdfast_engine.state import Period, VenueState
from holdfast_model.vocabulary import (
    LENDING,
    ROUNDING,
    SPOT,
    AccrueInterest,
    Amount,
    AssetId,
    Borrow,
    Borrowed,
    CauseKind,
    ClientId,
    InterestAccrued,
    Reason,
    Repaid,
    Repay,
    Setup,
)


class Loans(Accounts):
    """Borrowing, repaying, interest. A debt is what a client's bucket `borrowed` is below zero."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        credit = self.setup.margin.credit if self.setup.margin is not None else ()
        self._credit = {item.asset: item.amount for item in credit}
        self.interest_periods: dict[AssetId, int] = dict.fromkeys(self._credit, 0)

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {
            Borrow: cls._decide_borrow,
            Repay: cls._decide_repay,
            AccrueInterest: cls._decide_interest,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            Borrowed: cls._on_request,
            Repaid: cls._on_request,
            InterestAccrued: cls._on_interest_accrued,
        }

    def owes(self, client: ClientId, asset: AssetId) -> Amount:
        """A client's debt in an asset."""
        return Amount(-self.ledger.amount(client, BORROWED, asset))

    def _loan_refusal(self, command: Borrow | Repay) -> Reason | None:
        if command.client not in self.clients:
            return Reason.UNKNOWN_CLIENT
        if command.asset not in self.assets:
            return Reason.UNKNOWN_ASSET
        if command.amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE
        if self.request_used(command.client, command.request):
            return Reason.DUPLICATE_REQUEST
        return None

    def _decide_borrow(self, command: Borrow) -> None:
        reason = self._loan_refusal(command) or self._credit_refusal(command)
        if reason is not None:
            return self.refuse(reason)
        self.emit(
            Borrowed(client=command.client, request=command.request, asset=command.asset, amount=command.amount)
        )
        return self.post(
            CauseKind.BORROW,
            f"{command.client}/{command.request}",
            [
                (LENDING, FREE, command.asset, -command.amount),
                (command.client, FREE, command.asset, command.amount),
                (command.client, BORROWED, command.asset, -command.amount),
                (LENDING, BORROWED, command.asset, command.amount),
            ],
        )

    def _credit_refusal(self, command: Borrow) -> Reason | None:
        if self.owes(command.client, command.asset) + command.amount > self.credit(command.asset):
            return Reason.CREDIT_LIMIT
        if command.amount > self.pool(command.asset):
            return Reason.POOL_EXHAUSTED
        return self.loan_risk(command)

    def credit(self, asset: AssetId) -> int:
        """The most that a client may owe of an asset by borrowing."""
        return self._credit.get(asset, 0)

    def pool(self, asset: AssetId) -> int:
        """What there is to lend."""
        return self.ledger.amount(LENDING, FREE, asset)

    def loan_risk(self, command: Borrow) -> Reason | None:
        """Why the cross-margin account does not bear a loan, if it does not."""
        account = self.margin_account(command.client, SPOT)
        return self.risk_refusal(account, lent={command.asset: command.amount})

    def _decide_repay(self, command: Repay) -> None:
        reason = self._loan_refusal(command)
        if reason is None and command.amount > self.owes(command.client, command.asset):
            reason = Reason.AMOUNT_ABOVE_DEBT
        if reason is None and command.amount > self.ledger.amount(command.client, FREE, command.asset):
            reason = Reason.INSUFFICIENT_FUNDS
        if reason is not None:
            return self.refuse(reason)
        self.emit(Repaid(client=command.client, request=command.request, asset=command.asset, amount=command.amount))
        return self.post(
            CauseKind.REPAY,
            f"{command.client}/{command.request}",
            [
                (command.client, FREE, command.asset, -command.amount),
                *self.repaid(command.client, command.asset, command.amount),
            ],
        )

    def repaid(self, client: ClientId, asset: AssetId, amount: int) -> Lines:
        """The lines by which money that was paid in reduces a debt: the pool's claim first, then rounding's."""
        to_pool = min(amount, self.ledger.amount(LENDING, BORROWED, asset))
        lines: Lines = [(client, BORROWED, asset, amount)]
        for account, share in ((LENDING, to_pool), (ROUNDING, amount - to_pool)):
            lines += [(account, FREE, asset, share), (account, BORROWED, asset, -share)]
        return lines

    def _decide_interest(self, command: AccrueInterest) -> None:
        if command.asset not in self.interest_periods:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if not 0 <= command.rate_ppm <= PPM:
            return self.refuse(Reason.RATE_OUT_OF_BOUNDS)
        if command.period != self.interest_periods[command.asset] + 1:
            return self.refuse(Reason.PERIOD_NOT_NEXT)
        self.emit(InterestAccrued(asset=command.asset, period=command.period, rate_ppm=command.rate_ppm))
        for client in sorted(self.clients):
            self.charge(client, command)
        return None

    def charge(self, client: ClientId, command: AccrueInterest) -> None:
        """Add a period's interest to one client's debt."""
        asset, debt = command.asset, self.owes(client, command.asset)
        charged = self.interest(debt, command.rate_ppm)
        earned = interest_earned(debt, rate_ppm=command.rate_ppm)
        self.post(
            CauseKind.INTEREST,
            f"{client}/{asset}/{command.period}",
            [
                (client, BORROWED, asset, -charged),
                (LENDING, BORROWED, asset, earned),
                (ROUNDING, BORROWED, asset, charged - earned),
            ],
        )

    def interest(self, debt: Amount, rate_ppm: int) -> Amount:
        """One period's interest on a debt, rounded up."""
        return interest_charged(debt, rate_ppm=rate_ppm)

    def _on_request(self, event: Borrowed | Repaid) -> None:
        self.requests[event.client, event.request] = None

    def _on_interest_accrued(self, event: InterestAccrued) -> None:
        self.interest_periods[event.asset] = event.period

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"interest_periods": Period.of}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.interest_periods = {item.name: item.period for item in state.interest_periods}
