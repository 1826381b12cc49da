"""Faults of marks, margin accounts, funding, loans, liquidation, product halts, transfers and house accounts."""

from collections.abc import Iterable, Sequence
from statistics import median_low

from msgspec.structs import replace

from holdfast_engine.accounts import MarginAccount
from holdfast_engine.arithmetic import PPM, interest_earned, mark_price
from holdfast_engine.core import BORROWED, COLLATERAL, FREE, HELD, Lines
from holdfast_engine.exchange import Parts, Recovery
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.liquidation import Obligation, Target
from holdfast_engine.order import Order
from holdfast_engine.state import Report, VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    LENDING,
    ROUNDING,
    SPOT,
    AccrueInterest,
    Amount,
    AssetId,
    Balance,
    Bucket,
    CancelReason,
    Capability,
    CauseKind,
    ClientId,
    Collateral,
    GrantId,
    GrantPromotion,
    HaltProduct,
    Market,
    MarketId,
    MarkRule,
    Phase,
    PhaseChanged,
    Position,
    PriceTicks,
    ProductHalted,
    ProductId,
    RequestId,
    Side,
    SizeLots,
    Stage,
    Transfer,
)

ENDLESS = 10**12
"""More than anybody has."""


# Marks --------------------------------------------------------------------------------------------------------------


class _KeepsOldReports(Venue):
    def counting(self, rule: MarkRule, market: MarketId) -> list[Report]:
        return [self.reports[market, source] for source in rule.sources if (market, source) in self.reports]


class _AveragesPrices(Venue):
    def mark_of(self, rule: MarkRule, prices: Sequence[PriceTicks]) -> PriceTicks | None:
        if len(prices) < rule.sources_min:
            return None
        average = sum(prices) // len(prices)
        return PriceTicks(average) if average > 0 else None


class _BelievesOneSource(Venue):
    def mark_of(self, rule: MarkRule, prices: Sequence[PriceTicks]) -> PriceTicks | None:
        return mark_price(list(prices), band_ppm=rule.band_ppm, sources_min=1)


class _TakesAnyPrice(Venue):
    def mark_of(self, rule: MarkRule, prices: Sequence[PriceTicks]) -> PriceTicks | None:
        mark = super().mark_of(rule, prices)
        if mark is None and len(prices) >= rule.sources_min and median_low(prices) <= 0:
            return median_low(prices)
        return mark


class _QuotesItself(Venue):
    def counting(self, rule: MarkRule, market: MarketId) -> list[Report]:
        reports, last = super().counting(rule, market), self.last_trades.get(market)
        if last is not None:
            reports.append(Report(market=market, source="own-book", price_ticks=last, time_ms=self.time_ms))
        return reports


# Positions and funding ----------------------------------------------------------------------------------------------


class _ReleasesTheTradesValue(Venue):
    def traded(
        self, position: Position, lots: int, price: PriceTicks, *, tick_amount: Amount
    ) -> tuple[Position, int]:
        after, profit = super().traded(position, lots, price, tick_amount=tick_amount)
        if position.position_lots * after.position_lots > 0 and profit:
            return replace(after, entry_value=Amount(after.entry_value - profit)), 0
        return after, profit


class _GivesTheMakerNothing(Venue):
    def settle_trade(
        self, market: Market, price: PriceTicks, size: SizeLots, sides: Iterable[tuple[Order, Amount]]
    ) -> Lines:
        (maker, fee), taker = sides
        account = self.margin_account(maker.client, market.product)
        lines = self.change_position(account, market, 0, price, fee=fee)
        return [*super().settle_trade(market, price, size, [taker]), *lines]


def _flipped(position: Position) -> Position:
    return replace(
        position, position_lots=SizeLots(-position.position_lots), entry_value=Amount(-position.entry_value)
    )


class _FlipsPositionsAtRestore(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, positions=tuple(_flipped(item) for item in snapshot.positions))


class _FlipsPositionsInMaintenance(Venue):
    def _on_phase_changed(self, event: PhaseChanged) -> None:
        super()._on_phase_changed(event)
        if event.before is Phase.MAINTENANCE:
            self.positions = {key: _flipped(item) for key, item in self.positions.items()}


class _PaysFundingToThePayer(Venue):
    def funding(self, position: Position, mark: PriceTicks, market: Market, rate_ppm: int) -> int:
        return super().funding(position, mark, market, -rate_ppm)


class _RoundsFundingDown(UncheckedVenue):
    def funding(self, position: Position, mark: PriceTicks, market: Market, rate_ppm: int) -> int:
        return position.position_lots * mark * market.tick_amount * rate_ppm // PPM


class _DropsTheRemainderOfFunding(UncheckedVenue):
    def funding_remainder(self, market: Market, remainder: int) -> Lines:  # noqa: ARG002 - the fault
        return []


class _ForgetsFundingPeriods(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        begun = tuple(replace(item, period=0) for item in snapshot.funding_periods)
        return replace(snapshot, funding_periods=begun)


# Loans and house accounts -------------------------------------------------------------------------------------------


class _RoundsInterestDown(Venue):
    def interest(self, debt: Amount, rate_ppm: int) -> Amount:
        return interest_earned(debt, rate_ppm=rate_ppm)


class _ChargesInterestTwice(Venue):
    def charge(self, client: ClientId, command: AccrueInterest) -> None:
        super().charge(client, command)
        super().charge(client, command)


class _GrowsDebtsAtRestore(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        def grown(balance: Balance) -> Balance:
            owed = balance.bucket is Bucket.BORROWED and (
                not balance.account.startswith("@") or balance.account == LENDING
            )
            return replace(balance, amount=Amount(balance.amount * 3)) if owed else balance

        return replace(snapshot, balances=tuple(grown(balance) for balance in snapshot.balances))


class _RepaysRounding(UncheckedVenue):
    def repaid(self, client: ClientId, asset: AssetId, amount: int) -> Lines:
        return [
            (client, BORROWED, asset, amount),
            (ROUNDING, FREE, asset, amount),
            (ROUNDING, BORROWED, asset, -amount),
        ]


class _LendsWhatItHasNot(UncheckedVenue):
    def pool(self, asset: AssetId) -> int:  # noqa: ARG002 - the fault
        return ENDLESS


class _LendsWithoutLimit(Venue):
    def credit(self, asset: AssetId) -> int:  # noqa: ARG002 - the fault
        return ENDLESS


class _GrantsWithoutLimit(UncheckedVenue):
    def grant_max(self, asset: AssetId) -> int:  # noqa: ARG002 - the fault
        return ENDLESS

    def house_covers(self, command: GrantPromotion) -> bool:  # noqa: ARG002 - the fault
        return True


class _GrantsAgain(Venue):
    def granted(self, grant: GrantId) -> bool:  # noqa: ARG002 - the fault
        return False


# Liquidation --------------------------------------------------------------------------------------------------------


class _LiquidatesTheSolvent(Venue):
    def liquidatable(self, equity: int, maintenance: int) -> bool:
        return equity < 5 * maintenance


class _LiquidatesTheHelpless(Venue):
    def can_act(self, account: MarginAccount) -> bool:  # noqa: ARG002 - the fault
        return True


class _LiquidatesAllAtOnce(Venue):
    def step_lots(self, position: Position, *, step_ppm: int) -> SizeLots:  # noqa: ARG002 - the fault
        return SizeLots(abs(position.position_lots))


class _LiquidatesAtAnyPrice(Venue):
    def liquidation_limit(self, target: Target) -> PriceTicks:
        return PriceTicks(1 if target.side is Side.SELL else ENDLESS)


class _SeizesAllThereIs(Venue):
    def seizable(self, account: MarginAccount, item: Collateral, obligation: Obligation, due: int) -> tuple[int, int]:
        paid, _ = super().seizable(account, item, obligation, due)
        return paid, self.ledger.amount(account.name, COLLATERAL, item.asset)


class _InsuresWithoutPaying(Venue):
    def insurable(self, target: Target) -> tuple[SizeLots, PriceTicks, int]:
        lots, worst, _ = super().insurable(target)
        return lots, worst, 0


class _InsuresNobody(Venue):
    def insurable(self, target: Target) -> tuple[SizeLots, PriceTicks, int]:
        return SizeLots(0), target.bankruptcy, 0


class _InsuresTwice(UncheckedVenue):
    def insurable(self, target: Target) -> tuple[SizeLots, PriceTicks, int]:
        lots, worst, paid = super().insurable(target)
        return lots, worst, 2 * paid


class _DeleveragesById(Venue):
    def ranking(self, target: Target) -> list[tuple[int, Position]]:
        return sorted(super().ranking(target), key=lambda item: item[1].client)


class _DeleveragesLosersFirst(Venue):
    def ranking(self, target: Target) -> list[tuple[int, Position]]:
        return sorted(super().ranking(target), key=lambda item: (item[0], item[1].client))


class _DeleveragesAtTheMark(Venue):
    def deleverage(
        self, account: MarginAccount, target: Target, counterparty: Position, lots: int, score: int
    ) -> None:
        mark = self.marks[target.market.market]
        assert mark is not None
        super().deleverage(account, replace(target, bankruptcy=mark), counterparty, lots, score)


# Products and transfers ---------------------------------------------------------------------------------------------


class _CancelsOrdersAtAHalt(Venue):
    def halt(self, command: HaltProduct) -> None:
        super().halt(command)
        orders = [order for order in self.orders_of() if self.markets[order.market].product == command.product]
        self.cancel_each(orders, CancelReason.REQUESTED)


class _HaltsEverything(Venue):
    def halt(self, command: HaltProduct) -> None:
        super().halt(command)
        for product, stage in self.stages.items():
            if stage is not Stage.HALTED:
                self.emit(ProductHalted(product=product, cause=command.cause))


class _SkipsStages(Venue):
    def stage_follows(self, before: Stage, after: Stage) -> bool:
        return before is not Stage.OPEN and after is not Stage.HALTED and before is not after


class _OpensWithoutAMark(Venue):
    def marked(self, product: ProductId) -> bool:  # noqa: ARG002 - the fault
        return True


class _SharesIsolatedLosses(Venue):
    def settle(self, account: MarginAccount, market: Market, after: Position, net: int, *, fronted: int) -> Lines:
        shared = self.margin_account(account.client, SPOT)
        if net < 0 and self.ledger.amount(shared.name, COLLATERAL, market.quote) >= -net:
            account = shared
        return super().settle(account, market, after, net, fronted=fronted)


class _LetsTransfersIntoAHalt(Venue):
    def arrives(self, target: ProductId) -> bool:  # noqa: ARG002 - the fault
        return True


class _LosesTransfersAtRestore(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, transfers=())


class _CreditsTransfersTwice(UncheckedVenue):
    def complete(self, transfer: Transfer) -> None:
        super().complete(transfer)
        account, bucket = self._wallet(transfer.client, transfer.target)
        again: Lines = [
            (transfer.client, HELD, transfer.asset, -transfer.amount),
            (account, bucket, transfer.asset, transfer.amount),
        ]
        self.post(CauseKind.TRANSFER, f"{transfer.client}/{transfer.request}", again)


class _TransfersAgain(Venue):
    def request_used(self, client: ClientId, request: RequestId) -> bool:  # noqa: ARG002 - the fault
        return False


FAULTS = (
    Fault(
        name="mark-of-old-reports",
        sentence="A mark is made of the last report of each source, however old it is.",
        violates=("MARK-1",),
        incidents=("dydx-2025-10-10",),
        parts=Parts(venue=_KeepsOldReports),
    ),
    Fault(
        name="mark-averaged",
        sentence="A mark is the average of all prices, so that one outlier moves it.",
        violates=("MARK-1",),
        incidents=("synthetix-2019-06-25", "deribit-2019-10-31"),
        parts=Parts(venue=_AveragesPrices),
    ),
    Fault(
        name="mark-of-one-source",
        sentence="A mark is made although too few sources agree.",
        violates=("MARK-1",),
        incidents=("deribit-2019-10-31",),
        parts=Parts(venue=_BelievesOneSource),
    ),
    Fault(
        name="mark-not-positive",
        sentence="Prices at or below zero make a mark.",
        violates=("MARK-1",),
        incidents=("ibkr-2020-04-20",),
        parts=Parts(venue=_TakesAnyPrice),
    ),
    Fault(
        name="own-trades-in-the-mark",
        sentence="The venue's own last trade is one more source of the mark.",
        violates=("MARK-1",),
        incidents=("binance-2025-10-10",),
        parts=Parts(venue=_QuotesItself),
    ),
    Fault(
        name="entry-value-not-pro-rata",
        sentence="Closing a part of a position releases the trade's value, so that profit stays in what is left.",
        violates=("POS-1",),
        parts=Parts(venue=_ReleasesTheTradesValue),
    ),
    Fault(
        name="makers-position-unchanged",
        sentence="A trade in a perpetual changes the taker's position only.",
        violates=("POS-1", "POS-2"),
        parts=Parts(venue=_GivesTheMakerNothing),
    ),
    Fault(
        name="positions-flipped-at-restore",
        sentence="After a restore from a snapshot all positions have the opposite sign.",
        violates=("POS-1", "REPL-1"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(recovery=_FlipsPositionsAtRestore),
    ),
    Fault(
        name="positions-flipped-in-maintenance",
        sentence="When maintenance is over all positions have the opposite sign.",
        violates=("POS-1", "MAINT-1"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=_FlipsPositionsInMaintenance),
    ),
    Fault(
        name="funding-to-the-payer",
        sentence="Funding is paid by those who are to receive it.",
        violates=("CONS-4",),
        parts=Parts(venue=_PaysFundingToThePayer),
    ),
    Fault(
        name="funding-rounded-down",
        sentence="Funding is rounded in the clients' favour, and the rounding account pays the difference.",
        violates=("CONS-4",),
        incidents=("balancer-2025-11-03",),
        parts=Parts(venue=_RoundsFundingDown),
    ),
    Fault(
        name="funding-remainder-dropped",
        sentence="What rounding leaves of a funding is posted nowhere.",
        violates=("CONS-1", "CONS-4"),
        parts=Parts(venue=_DropsTheRemainderOfFunding),
    ),
    Fault(
        name="funding-periods-zeroed",
        sentence="After a restore from a snapshot the periods of funding begin anew.",
        violates=("REPL-1",),
        incidents=("paradex-2026-01-19",),
        parts=Parts(recovery=_ForgetsFundingPeriods),
    ),
    Fault(
        name="interest-rounded-down",
        sentence="Interest is rounded in the debtors' favour.",
        violates=("CONS-4",),
        incidents=("balancer-2025-11-03",),
        parts=Parts(venue=_RoundsInterestDown),
    ),
    Fault(
        name="interest-charged-twice",
        sentence="A period's interest is added to a debt twice.",
        violates=("CONS-4",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=_ChargesInterestTwice),
    ),
    Fault(
        name="debt-grown-at-restore",
        sentence="After a restore from a snapshot debts are three times what they were; all still sums to zero.",
        violates=("AUDIT-1", "REPL-1"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(recovery=_GrowsDebtsAtRestore),
    ),
    Fault(
        name="repayment-past-the-pool",
        sentence="A repayment is all booked to rounding, and the pool is owed as much as before.",
        violates=("CONS-4", "CONS-2"),
        needs=frozenset({Capability.MARGIN}),
        parts=Parts(venue=_RepaysRounding),
    ),
    Fault(
        name="loan-beyond-the-pool",
        sentence="More is lent than there is in the pool.",
        violates=("CONS-2", "CONS-4"),
        parts=Parts(venue=_LendsWhatItHasNot),
    ),
    Fault(
        name="loan-beyond-the-credit",
        sentence="A client is lent more than its credit.",
        violates=("CONS-4",),
        parts=Parts(venue=_LendsWithoutLimit),
    ),
    Fault(
        name="promotion-without-limit",
        sentence="Promotions are granted whatever their amount, and whatever there is to grant.",
        violates=("CONS-4", "CONS-2"),
        incidents=("bithumb-2026-02-06",),
        parts=Parts(venue=_GrantsWithoutLimit),
    ),
    Fault(
        name="promotion-granted-twice",
        sentence="A promotion that is given again is granted again.",
        violates=("FINAL-4",),
        parts=Parts(venue=_GrantsAgain),
    ),
    Fault(
        name="liquidated-above-maintenance",
        sentence="Accounts are liquidated below five times their maintenance margin.",
        violates=("LIQ-1",),
        parts=Parts(venue=_LiquidatesTheSolvent),
    ),
    Fault(
        name="liquidated-while-halted",
        sentence="Accounts are liquidated while a product that they are engaged in is halted.",
        violates=("LIQ-1",),
        incidents=("binance-um-2025-08-29", "paradex-2026-01-19"),
        parts=Parts(venue=_LiquidatesTheHelpless),
    ),
    Fault(
        name="liquidated-all-at-once",
        sentence="A step of a liquidation closes the whole position.",
        violates=("LIQ-1",),
        parts=Parts(venue=_LiquidatesAllAtOnce),
    ),
    Fault(
        name="liquidated-at-any-price",
        sentence="A liquidation sells into the book at any price, and nobody pays for what is beyond bankruptcy.",
        violates=("LIQ-1",),
        incidents=("binance-2025-10-10",),
        parts=Parts(venue=_LiquidatesAtAnyPrice),
    ),
    Fault(
        name="collateral-seized-whole",
        sentence="All there is of a collateral asset is seized for a step of what is owed.",
        violates=("LIQ-1",),
        parts=Parts(venue=_SeizesAllThereIs),
    ),
    Fault(
        name="insurance-unpaid",
        sentence="Lots are closed beyond the bankruptcy price, and the insurance fund does not pay the difference.",
        violates=("ADL-1",),
        parts=Parts(venue=_InsuresWithoutPaying),
    ),
    Fault(
        name="insurance-passed-over",
        sentence="The other side is deleveraged although the insurance fund could pay.",
        violates=("ADL-1",),
        incidents=("hyperliquid-jelly-2025-03-26",),
        parts=Parts(venue=_InsuresNobody),
    ),
    Fault(
        name="insurance-pays-twice",
        sentence="The insurance fund pays twice what a liquidation lacks.",
        violates=("ADL-1",),
        parts=Parts(venue=_InsuresTwice),
    ),
    Fault(
        name="deleveraged-by-id",
        sentence="The other side is deleveraged by client id, whatever the scores.",
        violates=("ADL-1",),
        parts=Parts(venue=_DeleveragesById),
    ),
    Fault(
        name="deleveraged-losers-first",
        sentence="The lowest score is deleveraged first.",
        violates=("ADL-1",),
        parts=Parts(venue=_DeleveragesLosersFirst),
    ),
    Fault(
        name="deleveraged-at-another-price",
        sentence="Deleveraging settles at the mark instead of the bankruptcy price.",
        violates=("ADL-1",),
        incidents=("hyperliquid-jelly-2025-03-26",),
        parts=Parts(venue=_DeleveragesAtTheMark),
    ),
    Fault(
        name="halt-cancels-orders",
        sentence="A halt of a product cancels the orders in it.",
        violates=("ISOL-1",),
        incidents=("kraken-2018-01-11", "binance-um-2025-08-29"),
        parts=Parts(venue=_CancelsOrdersAtAHalt),
    ),
    Fault(
        name="halt-spreads",
        sentence="A halt of one product halts the others.",
        violates=("ISOL-1",),
        incidents=("binance-um-2025-08-29",),
        parts=Parts(venue=_HaltsEverything),
    ),
    Fault(
        name="stage-skipped",
        sentence="A halted product is opened without the stages in between.",
        violates=("PHASE-2",),
        incidents=("binance-um-2025-08-29",),
        parts=Parts(venue=_SkipsStages),
    ),
    Fault(
        name="product-opened-without-a-mark",
        sentence="A product opens although a perpetual of it has no mark.",
        violates=("PHASE-2",),
        incidents=("dydx-2025-10-10",),
        parts=Parts(venue=_OpensWithoutAMark),
    ),
    Fault(
        name="isolated-loss-shared",
        sentence="What an isolated product loses is paid out of the cross-margin account.",
        violates=("ISOL-1", "CONS-4"),
        incidents=("hyperliquid-jelly-2025-03-26",),
        parts=Parts(venue=_SharesIsolatedLosses),
    ),
    Fault(
        name="transfer-into-a-halt",
        sentence="A transfer into a halted product arrives at once.",
        violates=("ISOL-1",),
        parts=Parts(venue=_LetsTransfersIntoAHalt),
    ),
    Fault(
        name="transfer-lost-at-restore",
        sentence="After a restore from a snapshot what was on its way into a halted product never arrives.",
        violates=("FINAL-2", "REPL-1"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(recovery=_LosesTransfersAtRestore),
    ),
    Fault(
        name="transfer-credited-twice",
        sentence="A transfer that arrives is credited twice.",
        violates=("CONS-2", "CONS-4"),
        parts=Parts(venue=_CreditsTransfersTwice),
    ),
    Fault(
        name="request-made-again",
        sentence="A transfer or loan that is asked for again is made again.",
        violates=("FINAL-4",),
        incidents=("poloniex-2014-03-04",),
        parts=Parts(venue=_TransfersAgain),
    ),
)
