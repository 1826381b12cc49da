"""Linear perpetuals: how trades change positions, what is settled in cash, and funding."""

from collections.abc import Iterable

from msgspec.structs import replace

from holdfast_engine.accounts import Accounts, Fills, MarginAccount
from holdfast_engine.arithmetic import PPM, funding_payment, notional, realised, released_entry
from holdfast_engine.book import MatchPlan
from holdfast_engine.core import COLLATERAL, FREE, Deciders, Evolvers, Fields, Lines, combined
from holdfast_engine.order import Order
from holdfast_engine.state import Period, VenueState
from holdfast_model.vocabulary import (
    CLEARING,
    ROUNDING,
    Amount,
    CauseKind,
    ClientId,
    FundingSettled,
    Market,
    MarketId,
    PlaceOrder,
    Position,
    PositionChanged,
    PriceTicks,
    Reason,
    SettleFunding,
    Setup,
    Side,
    SizeLots,
    Stage,
)


class Perpetuals(Accounts):
    """Positions and funding. Whatever is gained or lost is settled against `@clearing`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.funding_periods: dict[MarketId, int] = {market.market: 0 for market in self._perpetuals}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {SettleFunding: cls._decide_funding}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {FundingSettled: cls._on_funding_settled}

    # Orders ---------------------------------------------------------------------------------------------------------

    def margin_uncovered(self, command: PlaceOrder, plan: MatchPlan) -> Reason | None:
        """Why the account in which the position would be does not bear a new order, if it does not."""
        market, limit = self.markets[command.market], command.price_ticks
        fills = [(limit, command.size_lots)] if limit is not None else plan.fills
        reduces = command.conditions is not None and command.conditions.reduce_only
        return self._uncovered(command.client, market, command.side, fills, None if reduces else command.size_lots)

    def amendment_uncovered(self, order: Order, *, price: PriceTicks, left: SizeLots) -> Reason | None:
        """Why an order is not covered at a new price with this much left, if it is not; less of it always is."""
        market = self.markets[order.market]
        if market.perpetual is None:
            return super().amendment_uncovered(order, price=price, left=left)
        if price == order.price_ticks and left <= order.left_lots:
            return None
        added = left - order.left_lots if self.counts_for_margin(order) else None
        return self._uncovered(order.client, market, order.side, [(price, left)], added, instead_of=order)

    def _uncovered(
        self,
        client: ClientId,
        market: Market,
        side: Side,
        fills: Fills,
        added: int | None,
        *,
        instead_of: Order | None = None,
    ) -> Reason | None:
        """Why a margin account does not bear an order that may trade so; one of which nothing is `added` reduces."""
        account, mark = self.margin_account(client, market.product), self.marks[market.market]
        if mark is None:
            return Reason.MARK_UNAVAILABLE
        charged = instead_of.fee_numerator if instead_of is not None else 0
        loss = self.loss_at_worst(market, mark, side, fills, fee_numerator=charged)
        if instead_of is not None:
            loss -= self.loss_of(instead_of, market)
        if added is not None:
            return self.risk_refusal(account, loss=loss, added={(market.market, side): added})
        equity = self.equity(account)
        if equity is None:
            return Reason.MARK_UNAVAILABLE
        resting = sum(self.resting_loss(account, item) for item in account.markets)
        return None if self.suffices(equity - loss, resting) else Reason.INSUFFICIENT_MARGIN

    def reducible(self, order: PlaceOrder | Order) -> int:
        """The lots of the owner's position that an order could close."""
        lots = self.position(order.client, order.market).position_lots
        return max(0, -lots if order.side is Side.BUY else lots)

    # Positions ------------------------------------------------------------------------------------------------------

    def settle_trade(
        self, market: Market, price: PriceTicks, size: SizeLots, sides: Iterable[tuple[Order, Amount]]
    ) -> Lines:
        """Change the positions of a trade's two orders, each with its fee; the lines of its entry but for fees."""
        lines: Lines = []
        for order, fee in sides:
            lots = size if order.side is Side.BUY else -size
            account = self.margin_account(order.client, market.product)
            lines += self.change_position(account, market, lots, price, fee=fee)
        return combined(lines)

    def change_position(
        self, account: MarginAccount, market: Market, lots: int, price: PriceTicks, *, fee: int = 0
    ) -> Lines:
        """Add signed lots to a position at a price, and settle what closing earns or loses, and a fee, in cash.

        What cash there is not for stays owed in the entry value; `@clearing` fronts it.
        """
        before = self.position(account.client, market.market)
        after, profit = self.traded(before, lots, price, tick_amount=market.tick_amount)
        return self.settle(account, market, after, profit - fee, fronted=fee)

    def traded(
        self, position: Position, lots: int, price: PriceTicks, *, tick_amount: Amount
    ) -> tuple[Position, int]:
        """A position after signed lots were added at a price, and the profit of what that closed."""
        held, entry, profit, opened = position.position_lots, position.entry_value, 0, lots
        if held * lots < 0:
            closed = SizeLots(min(abs(held), abs(lots)))
            released = released_entry(entry, closed=closed, size=SizeLots(abs(held)))
            value = notional(price, closed, tick_amount=tick_amount)
            profit = realised(closed_long=held > 0, value=value, released=released)
            entry = Amount(entry - released)
            opened = lots + closed if lots < 0 else lots - closed
        entry = Amount(entry + opened * price * tick_amount)
        return replace(position, position_lots=SizeLots(held + lots), entry_value=entry), profit

    def settle(self, account: MarginAccount, market: Market, after: Position, net: int, *, fronted: int) -> Lines:
        """Tell a new position and pay a net amount in cash as far as there is cash; the lines of the entry.

        `fronted` is the part of the payment that others get in the same entry (a fee): `@clearing` gets the rest.
        """
        cash = self.ledger.amount(account.name, COLLATERAL, market.quote)
        paid = max(net, -cash)
        position = replace(after, entry_value=Amount(after.entry_value + paid - net))
        self.tell_position(position)
        return [
            (account.name, COLLATERAL, market.quote, paid),
            (CLEARING, FREE, market.quote, -paid - fronted),
        ]

    def tell_position(self, position: Position) -> None:
        """Let a position be what it now is, and tell it if it is another one."""
        if position == self.position(position.client, position.market):
            return
        self.emit(
            PositionChanged(
                client=position.client,
                market=position.market,
                position_lots=position.position_lots,
                entry_value=position.entry_value,
            )
        )

    def settle_owed(self, account: MarginAccount) -> None:
        """Pay what is owed for positions without lots out of the cash that is there, market by market."""
        for market in account.markets:
            position = self.positions.get((account.client, market.market))
            if position is None or position.position_lots:
                continue
            cash = self.ledger.amount(account.name, COLLATERAL, market.quote)
            paid = min(cash, position.entry_value)
            if paid > 0:
                left = replace(position, entry_value=Amount(position.entry_value - paid))
                lines = self.settle(account, market, left, -paid, fronted=0)
                self.post(CauseKind.SETTLEMENT, f"{account.client}/{market.market}", lines)

    # Funding --------------------------------------------------------------------------------------------------------

    def _decide_funding(self, command: SettleFunding) -> None:
        market = self.markets.get(command.market)
        if market is None or market.perpetual is None:
            return self.refuse(Reason.UNKNOWN_MARKET)
        if self.stages[market.product] is not Stage.OPEN:
            return self.refuse(Reason.PRODUCT_HALTED)
        if abs(command.rate_ppm) > min(market.perpetual.funding_ppm_max, PPM):
            return self.refuse(Reason.RATE_OUT_OF_BOUNDS)
        if command.period != self.funding_periods[command.market] + 1:
            return self.refuse(Reason.PERIOD_NOT_NEXT)
        mark = self.marks[command.market]
        if mark is None:
            return self.refuse(Reason.MARK_UNAVAILABLE)
        self.emit(
            FundingSettled(market=command.market, period=command.period, rate_ppm=command.rate_ppm, mark_ticks=mark)
        )
        return self._pay_funding(market, mark, command.period, command.rate_ppm)

    def _pay_funding(self, market: Market, mark: PriceTicks, period: int, rate_ppm: int) -> None:
        lines: Lines = []
        remainder = 0
        for client, name in sorted(self.positions):
            position = self.positions[client, name]
            if name != market.market or not position.position_lots:
                continue
            payment = self.funding(position, mark, market, rate_ppm)
            if payment:
                remainder += payment
                account = self.margin_account(client, market.product)
                lines += self.settle(account, market, position, -payment, fronted=payment)
        lines += self.funding_remainder(market, remainder)
        self.post(CauseKind.FUNDING, f"{market.market}/{period}", combined(lines))

    def funding(self, position: Position, mark: PriceTicks, market: Market, rate_ppm: int) -> int:
        """What a position pays, or negative receives: payments rounded up, receipts down."""
        return funding_payment(position.position_lots, mark=mark, tick_amount=market.tick_amount, rate_ppm=rate_ppm)

    def funding_remainder(self, market: Market, remainder: int) -> Lines:
        """Where the difference between payments and receipts goes: to the house's rounding account."""
        return [(ROUNDING, FREE, market.quote, remainder)]

    def _on_funding_settled(self, event: FundingSettled) -> None:
        self.funding_periods[event.market] = event.period

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"funding_periods": Period.of}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.funding_periods = {item.name: item.period for item in state.funding_periods}
