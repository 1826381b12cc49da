"""CONS-4 for credit: a margin account that takes more risk has its initial margin, at marks that there are."""

from collections.abc import Mapping
from typing import Any

from holdfast_invariants.monitor import Monitor, before
from holdfast_invariants.reckoning import Account, Accounts, Fills
from holdfast_invariants.told_margin import ToldMargin
from holdfast_model.vocabulary import (
    SPOT,
    AmendOrder,
    Answer,
    AssetId,
    Borrow,
    Borrowed,
    Command,
    Market,
    MarketId,
    OrderAccepted,
    OrderAmended,
    PlaceOrder,
    Side,
    TradeExecuted,
    TransferMargin,
    TransferStarted,
)


class NewRiskIsBorne(Monitor):
    """New orders and amendments in perpetuals, transfers out of margin accounts, loans: each leaves enough equity.

    What a triggered stop takes on is not looked at: orders that end with it come first in the same answer.
    """

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        margin: ToldMargin | None = self.told.margin
        self._accounts = Accounts(self.told) if margin is not None and self.told.setup.margin is not None else None
        if self._accounts is None:
            self.idle = frozenset({"placed", "amended", "transferred", "borrowed"})

    @before(PlaceOrder)
    def placed(self, command: PlaceOrder, answer: Answer) -> None:
        """An order that is taken in is borne at its limit, or at its fills where it has none."""
        accounts = self._accounts
        if accounts is None or not answer.events or answer.events[0].__class__ is not OrderAccepted:
            return
        market = self.told.markets.get(command.market)
        if market is None or market.perpetual is None:
            return
        fills: Fills = [
            (event.price_ticks, event.size_lots)
            for event in answer.events
            if isinstance(event, TradeExecuted)
            and (event.taker_client, event.taker_order) == (command.client, command.order)
        ]
        if command.price_ticks is not None:
            fills = [(command.price_ticks, command.size_lots)]
        elif command.conditions is not None and command.conditions.trigger is not None:
            fills = []
        account = accounts.account(command.client, market.product)
        mark = accounts.mark(market)
        loss = None if mark is None else accounts.loss_at_worst(market, mark, command.side, fills)
        reduces = command.conditions is not None and command.conditions.reduce_only
        added = None if reduces else {(market.market, command.side): command.size_lots}
        self._order(command, account, market, loss, added)

    @before(AmendOrder)
    def amended(self, command: AmendOrder, answer: Answer) -> None:
        """An amended order is borne as a new one in its place would be, unless it only became smaller."""
        accounts = self._accounts
        if accounts is None or not answer.events or answer.events[0].__class__ is not OrderAmended:
            return
        order = self.told.orders.get((command.client, command.order))
        market = None if order is None else self.told.markets.get(order.market)
        if order is None or market is None or market.perpetual is None:
            return
        left = command.size_lots - order.filled_lots
        if command.price_ticks == order.price_ticks and left <= order.left_lots:
            return
        account, mark = accounts.account(command.client, market.product), accounts.mark(market)
        loss = None
        if mark is not None:
            fills = [(command.price_ticks, left)]
            loss = accounts.loss_at_worst(market, mark, order.side, fills, fee_numerator=order.fee_numerator)
            loss -= accounts.loss_of(order, market)
        added = {(market.market, order.side): left - order.left_lots} if accounts.counts(order) else None
        self._order(command, account, market, loss, added)

    def _order(
        self,
        command: PlaceOrder | AmendOrder,
        account: Account,
        market: Market,
        loss: int | None,
        added: Mapping[tuple[MarketId, Side], int] | None,
    ) -> None:
        """One of which nothing is added only reduces, and need not leave the initial margin."""
        accounts = self._accounts
        assert accounts is not None
        subject = f"order {command.client}/{command.order} in {market.market}"
        equity = accounts.equity(account)
        if equity is None or loss is None:
            return self._bears(subject, command, None, None)
        needed = accounts.resting_loss(account) if added is None else accounts.initial(account, added=added)
        return self._bears(subject, command, equity - loss, needed)

    @before(TransferMargin)
    def transferred(self, command: TransferMargin, answer: Answer) -> None:
        """What stays in an account that has positions, open orders or debts bears its initial margin."""
        accounts = self._accounts
        if accounts is None or not answer.events or answer.events[0].__class__ is not TransferStarted:
            return
        if command.source == SPOT:
            return
        account = accounts.account(command.client, command.source)
        owes = any(accounts.debt(account, item.asset) for item in account.collateral)
        if owes or accounts.engaged(account):
            subject, taken = f"transfer {command.client}/{command.request}", {command.asset: command.amount}
            self._more(subject, command, account, taken=taken)

    @before(Borrow)
    def borrowed(self, command: Borrow, answer: Answer) -> None:
        """A loan is borne by the cross-margin account."""
        accounts = self._accounts
        if accounts is None or not answer.events or answer.events[0].__class__ is not Borrowed:
            return
        account = accounts.account(command.client, SPOT)
        self._more(f"loan {command.client}/{command.request}", command, account, lent={command.asset: command.amount})

    def _more(
        self,
        subject: str,
        command: Command,
        account: Account,
        *,
        taken: Mapping[AssetId, int] | None = None,
        lent: Mapping[AssetId, int] | None = None,
    ) -> None:
        accounts = self._accounts
        assert accounts is not None
        equity = accounts.equity(account, taken=taken, lent=lent)
        self._bears(subject, command, equity, accounts.initial(account, lent=lent))

    def _bears(self, subject: str, command: Command, equity: int | None, needed: int | None) -> None:
        self.checked += 1
        if equity is None or needed is None:
            self.report(
                f"margin for {subject}",
                found="it was taken although a mark that it needs is UNAVAILABLE",
                expected="no new risk without",
                evidence=[command],
            )
        elif equity < needed:
            self.report(
                f"margin for {subject}",
                found=f"equity {equity} is left, at its worst",
                expected=f"at least {needed}, the margin that the account then needs",
                evidence=[command],
            )
