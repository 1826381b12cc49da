"""Liquidation: what the exchange does, step by step, with an account that is below its maintenance margin."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from holdfast_engine.accounts import MarginAccount
from holdfast_engine.arithmetic import (
    bankruptcy_price,
    collateral_to_seize,
    debt_affordable,
    deleveraging_score,
    insured_lots,
    liquidation_lots,
    notional,
    unrealised,
)
from holdfast_engine.book import MatchPlan, Reduction, StepKind
from holdfast_engine.core import COLLATERAL, FREE, Deciders, Evolvers, Fields, Lines, combined
from holdfast_engine.loans import Loans
from holdfast_engine.order import OPEN_STATUSES
from holdfast_engine.perpetuals import Perpetuals
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    CLEARING,
    INSURANCE,
    LIQUIDATION_ORDER_PREFIX,
    Amount,
    AssetId,
    CancelReason,
    CauseKind,
    Collateral,
    Conditions,
    Deleveraged,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    Market,
    MarketId,
    OrderAccepted,
    Position,
    PriceTicks,
    Reason,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
)


class Shortfall(Struct, frozen=True, kw_only=True):
    """An account below its maintenance margin."""

    account: MarginAccount
    product: str
    equity: int
    maintenance: int


class Target(Struct, frozen=True, kw_only=True):
    """The position that a step closes `lots` of, and the price at which closing all of it leaves nothing."""

    market: Market
    position: Position
    lots: SizeLots
    bankruptcy: PriceTicks

    @property
    def side(self) -> Side:
        """The side of an order that closes it."""
        return Side.SELL if self.position.position_lots > 0 else Side.BUY


class Obligation(Struct, frozen=True, kw_only=True):
    """What an account without positions owes: for a position (`market`), or a debt."""

    asset: AssetId
    amount: Amount
    market: MarketId | None = None


class Liquidation(Perpetuals, Loans):
    """One step for each `Liquidate`, the first that applies; each looks at the account anew."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.liquidations = 0

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {Liquidate: cls._decide_liquidation}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            LiquidationStepped: cls._on_liquidation_stepped,
            Deleveraged: cls._unchanged,
        }

    def _decide_liquidation(self, command: Liquidate) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.product not in self.stages:
            return self.refuse(Reason.UNKNOWN_PRODUCT)
        account = self.margin_account(command.client, command.product)
        if not self.can_act(account):
            return self.refuse(Reason.PRODUCT_HALTED)
        equity, maintenance = self.equity(account), self.maintenance(account)
        if equity is None or maintenance is None:
            return self.refuse(Reason.MARK_UNAVAILABLE)
        if not self.liquidatable(equity, maintenance):
            return self.refuse(Reason.NOT_BELOW_MAINTENANCE)
        shortfall = Shortfall(account=account, product=command.product, equity=equity, maintenance=maintenance)
        return self._step(shortfall)

    def liquidatable(self, equity: int, maintenance: int) -> bool:
        """Whether an account may be liquidated: it is below its maintenance margin."""
        return equity < maintenance

    def _step(self, shortfall: Shortfall) -> None:
        account = shortfall.account
        orders = self.open_orders(account)
        target = self._target(shortfall)
        if orders:
            self._tell(shortfall, LiquidationKind.CANCEL_ORDERS)
            for order in orders:
                if order.status in OPEN_STATUSES:
                    self.cancel(order, CancelReason.LIQUIDATION)
        elif target is not None:
            self._close(shortfall, target)
        else:
            self._meet_obligations(shortfall)

    def _tell(
        self, shortfall: Shortfall, kind: LiquidationKind, target: Target | None = None, lots: int | None = None
    ) -> None:
        self.emit(
            LiquidationStepped(
                client=shortfall.account.client,
                product=shortfall.product,
                kind=kind,
                equity=Amount(shortfall.equity),
                maintenance=Amount(shortfall.maintenance),
                market=target.market.market if target is not None else None,
                size_lots=SizeLots(lots) if lots is not None else None,
                bankruptcy_ticks=target.bankruptcy if target is not None else None,
            )
        )

    # Positions ------------------------------------------------------------------------------------------------------

    def _target(self, shortfall: Shortfall) -> Target | None:
        """The position that needs the most maintenance margin, of equals the first market's."""
        account = shortfall.account
        held = [market for market in account.markets if self.position(account.client, market.market).position_lots]
        if not held:
            return None
        market = max(held, key=lambda item: self.maintenance_of(account, item) or 0)
        position = self.position(account.client, market.market)
        mark = self.marks[market.market]
        assert mark is not None
        assert market.perpetual is not None
        return Target(
            market=market,
            position=position,
            lots=self.step_lots(position, step_ppm=market.perpetual.liquidation_step_ppm),
            bankruptcy=self.bankruptcy(market, position, mark, shortfall.equity),
        )

    def step_lots(self, position: Position, *, step_ppm: int) -> SizeLots:
        """How much of a position one step closes."""
        return liquidation_lots(SizeLots(abs(position.position_lots)), step_ppm=step_ppm)

    def bankruptcy(self, market: Market, position: Position, mark: PriceTicks, equity: int) -> PriceTicks:
        """The price at which closing the whole position leaves an equity of nothing; at least one tick."""
        price = bankruptcy_price(
            mark=mark, position=position.position_lots, equity=equity, tick_amount=market.tick_amount
        )
        return PriceTicks(max(1, price))

    def _close(self, shortfall: Shortfall, target: Target) -> None:
        limit = self.liquidation_limit(target)
        if self._plan(target, limit, target.lots).traded:
            self._tell(shortfall, LiquidationKind.REDUCE, target, target.lots)
            return self._order(target, limit, target.lots)
        lots, worst, gap = self.insurable(target)
        if lots:
            self._tell(shortfall, LiquidationKind.INSURE, target, lots)
            self._insure(shortfall.account, target.market, gap)
            return self._order(target, worst, lots)
        self._tell(shortfall, LiquidationKind.DELEVERAGE, target, target.lots)
        return self._deleverage(shortfall.account, target)

    def liquidation_limit(self, target: Target) -> PriceTicks:
        """The worst price at which lots are closed in the book while nobody else pays: the bankruptcy price."""
        return target.bankruptcy

    def _plan(self, target: Target, price: PriceTicks | None, lots: SizeLots) -> MatchPlan:
        book = self.books[target.market.market]
        return book.plan(
            client=target.position.client,
            side=target.side,
            price=price,
            size=lots,
            self_trade=SelfTrade.CANCEL_OLDEST,
            reduction=Reduction(self.reducible, None) if book.reducing else None,
        )

    def _order(self, target: Target, price: PriceTicks, lots: SizeLots) -> None:
        """Close lots in the book, by an immediate-or-cancel order in the account's name."""
        client, identifier = target.position.client, f"{LIQUIDATION_ORDER_PREFIX}{self.liquidations}"
        self.emit(
            OrderAccepted(
                client=client,
                order=identifier,
                market=target.market.market,
                side=target.side,
                size_lots=lots,
                price_ticks=price,
                time_in_force=TimeInForce.IOC,
                post_only=False,
                self_trade=SelfTrade.CANCEL_OLDEST,
                conditions=Conditions(reduce_only=True),
            )
        )
        self.execute(self.orders[client, identifier], self._plan(target, price, lots))

    def insurable(self, target: Target) -> tuple[SizeLots, PriceTicks, int]:
        """How many lots can be closed in the book beyond the bankruptcy price with what the insurance fund has.

        The lots, the worst price among them, and what the fund pays.
        """
        budget = self.ledger.amount(INSURANCE, FREE, target.market.quote)
        lots, worst, paid = 0, target.bankruptcy, 0
        for step in self._plan(target, None, target.lots).steps:
            if step.kind is not StepKind.TRADE or step.maker.price_ticks is None:
                continue
            price = step.maker.price_ticks
            gap = abs(target.bankruptcy - price) * target.market.tick_amount
            bearable = insured_lots(step.lots, gap=Amount(gap), budget=Amount(budget - paid))
            if bearable <= 0:
                break
            lots, worst, paid = lots + bearable, price, paid + bearable * gap
            if bearable < step.lots:
                break
        return SizeLots(lots), worst, paid

    def _insure(self, account: MarginAccount, market: Market, gap: int) -> None:
        self.post(
            CauseKind.INSURANCE,
            f"{account.client}/{market.market}",
            [
                (INSURANCE, FREE, market.quote, -gap),
                (account.name, COLLATERAL, market.quote, gap),
            ],
        )

    def _deleverage(self, account: MarginAccount, target: Target) -> None:
        """Close the lots at the bankruptcy price against the other side, by rank."""
        left: int = target.lots
        for score, counterparty in self.ranking(target):
            if not left:
                break
            lots = min(left, abs(counterparty.position_lots))
            left -= lots
            self.deleverage(account, target, counterparty, lots, score)
        assert not left, "the positions of a contract sum to zero"

    def deleverage(
        self, account: MarginAccount, target: Target, counterparty: Position, lots: int, score: int
    ) -> None:
        """Close lots of the bankrupt account against one counterparty."""
        market, price = target.market, target.bankruptcy
        self.emit(
            Deleveraged(
                market=market.market,
                client=account.client,
                counterparty=counterparty.client,
                size_lots=SizeLots(lots),
                price_ticks=price,
                score=Amount(score),
            )
        )
        signed = -lots if target.side is Side.SELL else lots
        lines: Lines = []
        other = self.margin_account(counterparty.client, market.product)
        for owner, change in ((account, signed), (other, -signed)):
            lines += self.change_position(owner, market, change, price)
        self.post(CauseKind.DELEVERAGING, f"{account.client}/{market.market}", combined(lines))

    def ranking(self, target: Target) -> list[tuple[int, Position]]:
        """The positions on the other side with their scores, in the order in which they are closed."""
        ranked = [
            (self.score(target.market, position), position)
            for (_, market), position in self.positions.items()
            if market == target.market.market and position.position_lots * target.position.position_lots < 0
        ]
        return sorted(ranked, key=lambda item: (-item[0], item[1].client))

    def score(self, market: Market, position: Position) -> int:
        """The rank of a position: profit times leverage; an equity that is unavailable counts as 1."""
        mark = self.marks[market.market]
        assert mark is not None
        lots, tick_amount = position.position_lots, market.tick_amount
        return deleveraging_score(
            unrealised=unrealised(lots, mark=mark, tick_amount=tick_amount, entry_value=position.entry_value),
            entry_value=position.entry_value,
            notional=notional(mark, SizeLots(abs(lots)), tick_amount=tick_amount),
            equity=self.equity(self.margin_account(position.client, market.product)) or 1,
        )

    # Obligations ----------------------------------------------------------------------------------------------------

    def _meet_obligations(self, shortfall: Shortfall) -> None:
        """Take the first obligation for which anything can be had: collateral first, then the insurance fund."""
        obligations = list(self._obligations(shortfall.account))
        if any(self._seize(shortfall, obligation) for obligation in obligations):
            return
        if any(self._write_off(shortfall, obligation) for obligation in obligations):
            return
        self.refuse(Reason.NOTHING_TO_LIQUIDATE)

    def _seize(self, shortfall: Shortfall, obligation: Obligation) -> bool:
        """Meet a step of an obligation out of collateral; whether there was any."""
        account, margin = shortfall.account, self.setup.margin
        assert margin is not None
        due = liquidation_lots(SizeLots(obligation.amount), step_ppm=margin.liquidation_step_ppm)
        own = min(due, self.ledger.amount(account.name, COLLATERAL, obligation.asset))
        if own:
            self._tell(shortfall, LiquidationKind.SEIZE)
            self._meet(account, obligation, own, [(account.name, COLLATERAL, obligation.asset, -own)])
            return True
        fund = self.ledger.amount(INSURANCE, FREE, obligation.asset)
        for item in sorted(account.collateral, key=lambda item: item.asset):
            paid, seized = self.seizable(account, item, obligation, min(due, fund))
            if paid:
                self._tell(shortfall, LiquidationKind.SEIZE)
                self._meet(
                    account,
                    obligation,
                    paid,
                    [
                        (account.name, COLLATERAL, item.asset, -seized),
                        (INSURANCE, FREE, item.asset, seized),
                        (INSURANCE, FREE, obligation.asset, -paid),
                    ],
                )
                return True
        return False

    def _write_off(self, shortfall: Shortfall, obligation: Obligation) -> bool:
        """Have the insurance fund pay what it can of an obligation; whether it could pay any."""
        paid = min(obligation.amount, self.ledger.amount(INSURANCE, FREE, obligation.asset))
        if not paid:
            return False
        self._tell(shortfall, LiquidationKind.WRITE_OFF)
        lines: Lines = [(INSURANCE, FREE, obligation.asset, -paid)]
        self._meet(shortfall.account, obligation, paid, lines, CauseKind.INSURANCE)
        return True

    def _obligations(self, account: MarginAccount) -> Iterable[Obligation]:
        """What is owed for positions, by market, then debts, by asset."""
        for market in account.markets:
            owed = self.position(account.client, market.market).entry_value
            if owed > 0:
                yield Obligation(asset=market.quote, amount=owed, market=market.market)
        for asset in sorted(item.asset for item in account.collateral):
            debt = self.debt(account, asset)
            if debt > 0:
                yield Obligation(asset=asset, amount=debt)

    def seizable(self, account: MarginAccount, item: Collateral, obligation: Obligation, due: int) -> tuple[int, int]:
        """What the insurance fund pays of an obligation for collateral that it takes over, and how much it takes."""
        have = self.ledger.amount(account.name, COLLATERAL, item.asset)
        owed = next(other for other in account.collateral if other.asset == obligation.asset)
        value = self.owed_worth(owed, Amount(due))
        worth = self.worth(item, have)
        assert value is not None
        assert worth is not None
        if not have or not due:
            return 0, 0
        if worth < value:
            return self._affordable(owed, worth), have
        return due, self._needed(item, value)

    def _affordable(self, owed: Collateral, worth: int) -> int:
        """The most of what is owed whose value is no more than this."""
        if owed.market is None:
            return worth
        market, mark = self.markets[owed.market], self.marks[owed.market]
        assert mark is not None
        return debt_affordable(
            Amount(worth), price=mark, tick_amount=market.tick_amount, lot_amount=market.lot_amount
        )

    def _needed(self, item: Collateral, value: int) -> int:
        """The least of a collateral that counts for this value."""
        if item.market is None:
            return value
        market, mark = self.markets[item.market], self.marks[item.market]
        assert mark is not None
        return collateral_to_seize(
            Amount(value),
            price=mark,
            tick_amount=market.tick_amount,
            lot_amount=market.lot_amount,
            haircut_ppm=item.haircut_ppm,
        )

    def _meet(
        self,
        account: MarginAccount,
        obligation: Obligation,
        amount: int,
        payment: Lines,
        kind: CauseKind = CauseKind.SEIZURE,
    ) -> None:
        """Reduce an obligation by what was paid for it."""
        if obligation.market is not None:
            position = self.position(account.client, obligation.market)
            self.tell_position(replace(position, entry_value=Amount(position.entry_value - amount)))
            payment = [*payment, (CLEARING, FREE, obligation.asset, amount)]
        else:
            payment = [*payment, *self.repaid(account.client, obligation.asset, amount)]
        self.post(kind, f"{account.client}/{obligation.market or obligation.asset}", payment)

    def _on_liquidation_stepped(self, event: LiquidationStepped) -> None:  # noqa: ARG002 - steps are counted
        self.liquidations += 1

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"liquidations": None}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.liquidations = state.liquidations
