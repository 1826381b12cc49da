"""Each planted fault of margin shows: the faulty venue does what its sentence says, and the healthy one does not.

A case is a sequence, and what is looked at in the end. Alice is mostly long 100 lots bought of bob and carol at 100
with 1,500 in cash: at a mark of 90 a step closes 40 lots, and 85 is the bankruptcy price.
"""

from collections.abc import Callable, Sequence

import pytest
from msgspec import Struct

from holdfast.setups import MARGIN_SETUP
from holdfast_engine.exchange import Exchange
from holdfast_engine.faults import Fault, cover, margin
from holdfast_engine.storage import MemoryStorage
from holdfast_model.vocabulary import (
    INSURANCE,
    LENDING,
    PROMOTIONS,
    ROUNDING,
    SPOT,
    AccrueInterest,
    AdvanceTime,
    AmendOrder,
    Amount,
    Borrow,
    Borrowed,
    Bucket,
    Command,
    CreditDeposit,
    Deleveraged,
    Event,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    Liquidate,
    LiquidationStepped,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    Phase,
    PlaceOrder,
    PriceTicks,
    ProductHalted,
    Repay,
    ReportPrice,
    ResumeStage,
    SetPhase,
    SettleFunding,
    Side,
    SizeLots,
    Stage,
    TradeExecuted,
    TransferMargin,
    TransferStarted,
)

FAULTS = (*margin.FAULTS, *cover.FAULTS)
BUY, SELL = Side.BUY, Side.SELL
FREE, COLLATERAL, BORROWED, HELD = Bucket.FREE, Bucket.COLLATERAL, Bucket.BORROWED, Bucket.HELD
PERP = "BTC-PERP"
STEP = Liquidate(client="alice", product="linear")


class Desk:
    """An exchange with a fault or without, and what it has told."""

    def __init__(self, fault: Fault | None) -> None:
        self.exchange = Exchange(MemoryStorage(), fault.parts if fault is not None else None)
        self.exchange.reset(MARGIN_SETUP)
        self.told: list[Event] = []
        self.time_ms = 0
        self._number = 0
        for client in MARGIN_SETUP.clients:
            for asset in MARGIN_SETUP.assets:
                self.do(CreditDeposit(client=client, asset=asset, amount=Amount(9_000), transaction=self.new()))
        for market in MARGIN_SETUP.markets:
            self.mark(market.market, market.reference_ticks or 0)

    def new(self) -> str:
        """An id that was not used before."""
        self._number += 1
        return f"id-{self._number}"

    def do(self, *commands: Command) -> None:
        """Give commands one by one."""
        for command in commands:
            (answer,) = self.exchange.submit([command])
            self.told += answer.events

    def restore(self) -> None:
        """Take a snapshot, and restore from it."""
        self.exchange.snapshot()
        self.exchange.restore()

    def wait(self, milliseconds: int = 1) -> None:
        """Let time go on."""
        self.time_ms += milliseconds
        self.do(AdvanceTime(time_ms=self.time_ms))

    def report(self, market: str, *prices: int) -> None:
        """Let the first sources of a market report these prices."""
        self.wait()
        for number, price in enumerate(prices, 1):
            report = ReportPrice(
                source=f"s{number}", market=market, price_ticks=PriceTicks(price), time_ms=self.time_ms
            )
            self.do(report)

    def mark(self, market: str, price: int) -> None:
        """Let all sources of a market report one price."""
        self.report(market, price, price, price)

    def transfer(self, client: str, asset: str, amount: int, source: str, target: str) -> TransferMargin:
        """A transfer, not yet asked for."""
        return TransferMargin(
            client=client,
            request=self.new(),
            asset=asset,
            amount=Amount(amount),
            source=source,
            target=target,
        )

    def pledge(self, client: str, amount: int, product: str = "linear", asset: str = "USD") -> None:
        """Collateral for a client."""
        self.do(self.transfer(client, asset, amount, SPOT, product))

    def pay(self, account: str, amount: int, asset: str = "USD") -> None:
        """The owner pays in."""
        self.do(FundHouse(account=account, asset=asset, amount=Amount(amount), transaction=self.new()))

    def order(self, client: str, side: Side, size: int, price: int, market: str = PERP) -> None:
        """A limit order."""
        self.do(
            PlaceOrder(
                client=client,
                order=self.new(),
                market=market,
                side=side,
                size_lots=SizeLots(size),
                price_ticks=PriceTicks(price),
            )
        )

    def trade(self, buyer: str, seller: str, size: int, price: int, market: str = PERP) -> None:
        """A trade, the buyer being the maker."""
        self.order(buyer, BUY, size, price, market)
        self.order(seller, SELL, size, price, market)

    def amount(self, account: str, bucket: Bucket, asset: str = "USD") -> int:
        """A balance."""
        key = (account, bucket, asset)
        balances = self.exchange.view().balances
        return sum(item.amount for item in balances if (item.account, item.bucket, item.asset) == key)

    def lots(self, client: str, market: str = PERP) -> int:
        """A position."""
        positions = self.exchange.view().positions
        return sum(item.position_lots for item in positions if (item.client, item.market) == (client, market))

    def entry(self, client: str, market: str = PERP) -> int:
        """The entry value of a position."""
        positions = self.exchange.view().positions
        return sum(item.entry_value for item in positions if (item.client, item.market) == (client, market))

    def mark_of(self, market: str) -> int | None:
        """A mark."""
        return next(item.mark_ticks for item in self.exchange.view().marks if item.market == market)

    def stages(self) -> list[str]:
        """The stages of the island, the linear product and spot."""
        return [item.stage.value for item in self.exchange.view().stages]

    def count(self, kind: type[Event]) -> int:
        """How many events of a kind were told."""
        return sum(isinstance(event, kind) for event in self.told)


class Case(Struct, frozen=True, kw_only=True):
    """What is done, what is looked at, and what it then is with the fault and without."""

    act: Callable[[Desk], object]
    healthy: object
    faulty: object


def long(desk: Desk, mark: int = 90, *, shorts: Sequence[tuple[str, int, int]] = (("bob", 60, 3_000),)) -> None:
    """Alice's position, of which bob has 60 lots and carol 40, and the mark that moves against her."""
    desk.pledge("alice", 1_505)
    for client, lots, cash in (*shorts, ("carol", 100 - sum(lots for _, lots, _ in shorts), 3_000)):
        desk.pledge(client, cash)
        desk.trade("alice", client, lots, 100)
    surplus = desk.amount("alice", COLLATERAL) - 1_500
    desk.do(desk.transfer("alice", "USD", surplus, "linear", SPOT))
    desk.mark(PERP, mark)


def old_reports(desk: Desk) -> object:
    desk.wait(60_001)
    return desk.mark_of(PERP)


def reported(*prices: int) -> Callable[[Desk], object]:
    def act(desk: Desk) -> object:
        desk.wait(60_001)
        desk.report(PERP, *prices)
        return desk.mark_of(PERP)

    return act


def own_trade(desk: Desk) -> object:
    desk.trade("alice", "bob", 1, 109, "BTC-USD")
    desk.report("BTC-USD", 100, 102)
    desk.wait(59_999)
    return desk.mark_of("BTC-USD")


def closed_in_part(desk: Desk) -> object:
    for client in ("alice", "bob"):
        desk.pledge(client, 2_000)
    desk.trade("alice", "bob", 10, 100)
    desk.trade("bob", "alice", 4, 110)
    return desk.entry("alice"), desk.amount("alice", COLLATERAL)


def opened(desk: Desk) -> object:
    for client in ("alice", "bob"):
        desk.pledge(client, 2_000)
    desk.trade("alice", "bob", 10, 100)
    return desk.lots("alice"), desk.lots("bob"), desk.entry("alice")


def restored(desk: Desk) -> object:
    opened(desk)
    desk.restore()
    return desk.lots("alice"), desk.entry("alice")


def maintained(desk: Desk) -> object:
    opened(desk)
    desk.do(*(SetPhase(phase=phase) for phase in (Phase.CANCEL_ONLY, Phase.MAINTENANCE, Phase.POST_ONLY)))
    return desk.lots("alice"), desk.entry("alice")


def funded(desk: Desk) -> object:
    """Alice, long 15 lots, owes 3 * 1.5; bob and carol get 0.9 and 3.6."""
    for client in ("alice", "bob", "carol"):
        desk.pledge(client, 2_000)
    desk.trade("alice", "bob", 3, 100)
    desk.trade("alice", "carol", 12, 100)
    before = {account: desk.amount(account, COLLATERAL) for account in ("alice", "bob", "carol")}
    rounding = desk.amount(ROUNDING, FREE)
    desk.do(SettleFunding(market=PERP, period=1, rate_ppm=3_000))
    paid = [desk.amount(account, COLLATERAL) - amount for account, amount in before.items()]
    return *paid, desk.amount(ROUNDING, FREE) - rounding


def funded_again(desk: Desk) -> object:
    opened(desk)
    for _ in range(2):
        desk.do(SettleFunding(market=PERP, period=1, rate_ppm=10_000))
        desk.restore()
    return 1_999 - desk.amount("alice", COLLATERAL)


def charged(desk: Desk) -> object:
    desk.pay(LENDING, 1_000)
    desk.pledge("alice", 1_000)
    desk.do(Borrow(client="alice", request="x", asset="USD", amount=Amount(155)))
    desk.do(AccrueInterest(asset="USD", period=1, rate_ppm=10_000))
    return -desk.amount("alice", BORROWED)


def repaid(desk: Desk) -> object:
    """The pool is owed 156 and rounding 1."""
    charged(desk)
    desk.do(Repay(client="alice", request="y", asset="USD", amount=Amount(100)))
    return -desk.amount("alice", BORROWED), desk.amount(LENDING, BORROWED), desk.amount(ROUNDING, BORROWED)


def debt_restored(desk: Desk) -> object:
    charged(desk)
    desk.restore()
    return -desk.amount("alice", BORROWED), desk.amount(LENDING, BORROWED)


def lent(amount: int, pool: int) -> Callable[[Desk], object]:
    def act(desk: Desk) -> object:
        desk.pay(LENDING, pool)
        desk.pledge("alice", 9_000)
        desk.do(Borrow(client="alice", request="x", asset="USD", amount=Amount(amount)))
        return -desk.amount("alice", BORROWED), desk.amount(LENDING, FREE)

    return act


def granted(amount: int, times: int) -> Callable[[Desk], object]:
    def act(desk: Desk) -> object:
        desk.pay(PROMOTIONS, 100)
        grant = GrantPromotion(client="alice", asset="USD", amount=Amount(amount), grant="g")
        desk.do(*([grant] * times))
        return desk.amount("alice", FREE) - 9_000

    return act


def solvent(desk: Desk) -> object:
    """500 and more are left where 620 must be kept: at 95 it is 1,000 of 650."""
    long(desk, mark=95)
    desk.do(STEP)
    return desk.count(LiquidationStepped)


def helpless(desk: Desk) -> object:
    long(desk)
    desk.do(HaltProduct(product="linear", cause="late"), STEP)
    return desk.count(LiquidationStepped)


def reduced(desk: Desk) -> object:
    long(desk)
    desk.order("bob", BUY, 100, 86)
    desk.do(STEP)
    return desk.lots("alice")


def at_any_price(desk: Desk) -> object:
    long(desk)
    desk.order("bob", BUY, 100, 50)
    desk.do(STEP)
    return [event.price_ticks for event in desk.told if isinstance(event, TradeExecuted) and event.price_ticks < 100]


def seized(desk: Desk) -> object:
    desk.pay(LENDING, 2_000)
    desk.pay(INSURANCE, 600)
    desk.pledge("alice", 150, asset="BTC")
    desk.do(Borrow(client="alice", request="x", asset="USD", amount=Amount(1_000)))
    desk.mark("BTC-USD", 75)
    desk.do(STEP)
    return desk.amount("alice", COLLATERAL, "BTC"), -desk.amount("alice", BORROWED)


def insured(desk: Desk) -> object:
    """40 lots are wanted at 84, a tick beyond the bankruptcy price."""
    long(desk)
    desk.pay(INSURANCE, 1_000)
    desk.order("bob", BUY, 40, 84)
    desk.do(STEP)
    return desk.lots("alice"), desk.amount(INSURANCE, FREE), desk.count(Deleveraged)


def deleveraged(*shorts: tuple[str, int, int]) -> Callable[[Desk], object]:
    def act(desk: Desk) -> object:
        long(desk, shorts=shorts)
        desk.do(STEP)
        found = [event for event in desk.told if isinstance(event, Deleveraged)]
        return [(event.counterparty, event.size_lots, event.price_ticks) for event in found]

    return act


def halted(desk: Desk) -> object:
    desk.pledge("alice", 1_000)
    desk.order("alice", BUY, 1, 90)
    desk.do(HaltProduct(product="linear", cause="late"))
    return desk.count(OrderCancelled), desk.count(ProductHalted), desk.stages()


def opened_at_once(desk: Desk) -> object:
    desk.do(HaltProduct(product="linear", cause="late"), ResumeStage(product="linear", stage=Stage.OPEN))
    return desk.stages()[1]


def opened_without_a_mark(desk: Desk) -> object:
    desk.do(HaltProduct(product="linear", cause="late"))
    desk.wait(60_001)
    desk.do(
        *(ResumeStage(product="linear", stage=stage) for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN))
    )
    return desk.stages()[1]


def lost_in_the_island(desk: Desk) -> object:
    """Alice loses 50 in the island, and pays two fees of 1."""
    for product in ("linear", "island"):
        for client in ("alice", "bob"):
            desk.pledge(client, 1_000, product)
    desk.trade("alice", "bob", 10, 40, "ETH-ISLE")
    desk.trade("bob", "alice", 10, 35, "ETH-ISLE")
    return desk.amount("alice", COLLATERAL), desk.amount("alice@island", COLLATERAL)


def transferred_into_a_halt(desk: Desk) -> object:
    desk.do(HaltProduct(product="linear", cause="late"))
    desk.pledge("alice", 100)
    return desk.amount("alice", HELD), desk.amount("alice", COLLATERAL)


def transferred_through_a_restore(desk: Desk) -> object:
    transferred_into_a_halt(desk)
    desk.restore()
    desk.do(*(ResumeStage(product="linear", stage=stage) for stage in list(Stage)[1:]))
    return desk.amount("alice", HELD), desk.amount("alice", COLLATERAL)


def transferred(times: int) -> Callable[[Desk], object]:
    def act(desk: Desk) -> object:
        transfer = desk.transfer("alice", "USD", 100, SPOT, "linear")
        desk.do(*([transfer] * times))
        return desk.amount("alice", COLLATERAL)

    return act


def leveraged(desk: Desk) -> object:
    """20 lots at 100 take 100 of margin and 1 of fee, of which a pledge of 90 has too little."""
    desk.pledge("alice", 90)
    desk.order("alice", BUY, 20, 100)
    return desk.count(OrderAccepted)


def amended(desk: Desk) -> object:
    """One lot is borne, ninety are not."""
    desk.pledge("alice", 90)
    order = PlaceOrder(
        client="alice", order="x", market=PERP, side=BUY, size_lots=SizeLots(1), price_ticks=PriceTicks(100)
    )
    larger = AmendOrder(client="alice", order="x", size_lots=SizeLots(90), price_ticks=PriceTicks(100))
    desk.do(order, larger)
    return desk.count(OrderAmended)


def taken_out(desk: Desk) -> object:
    """A position of 10 lots at 100 needs some of the 2,000 that are there."""
    opened(desk)
    before = desk.count(TransferStarted)
    desk.do(desk.transfer("alice", "USD", desk.amount("alice", COLLATERAL), "linear", SPOT))
    return desk.count(TransferStarted) - before


def unsecured(desk: Desk) -> object:
    desk.pay(LENDING, 1_000)
    desk.do(Borrow(client="alice", request="x", asset="USD", amount=Amount(500)))
    return desk.count(Borrowed)


def secured_in_full(desk: Desk) -> object:
    """100 units of BTC are worth 1,000 at their mark, count for 900, and bear a loan of 750 at most."""
    desk.pay(LENDING, 2_000)
    desk.pledge("alice", 100, asset="BTC")
    desk.do(Borrow(client="alice", request="x", asset="USD", amount=Amount(800)))
    return desk.count(Borrowed)


def bankrupt(desk: Desk) -> object:
    """At 80 the account has lost more than it had."""
    long(desk, mark=80)
    desk.do(STEP)
    return desk.count(LiquidationStepped)


# Where three were short, dave's 40 lots with little behind them come first, and bob's 30 before carol's by id alone.
BY_RANK = deleveraged(("bob", 30, 3_000), ("dave", 40, 900))
HALTED = ["open", "halted", "open"]
CASES = {
    "mark-of-old-reports": Case(act=old_reports, healthy=None, faulty=100),
    "mark-averaged": Case(act=reported(100, 102, 100_000), healthy=101, faulty=33_400),
    "mark-of-one-source": Case(act=reported(100), healthy=None, faulty=100),
    "mark-not-positive": Case(act=reported(-37, -37, -37), healthy=None, faulty=-37),
    "own-trades-in-the-mark": Case(act=own_trade, healthy=101, faulty=102),
    "entry-value-not-pro-rata": Case(act=closed_in_part, healthy=(600, 2_000 + 40 - 2), faulty=(600 - 40, 2_000 - 2)),
    "makers-position-unchanged": Case(act=opened, healthy=(10, -10, 1_000), faulty=(0, -10, 0)),
    "positions-flipped-at-restore": Case(act=restored, healthy=(10, 1_000), faulty=(-10, -1_000)),
    "positions-flipped-in-maintenance": Case(act=maintained, healthy=(10, 1_000), faulty=(-10, -1_000)),
    "funding-to-the-payer": Case(act=funded, healthy=(-5, 0, 3, 2), faulty=(4, -1, -4, 1)),
    "funding-rounded-down": Case(act=funded, healthy=(-5, 0, 3, 2), faulty=(-4, 1, 4, -1)),
    "funding-remainder-dropped": Case(act=funded, healthy=(-5, 0, 3, 2), faulty=(-5, 0, 3, 0)),
    "funding-periods-zeroed": Case(act=funded_again, healthy=10, faulty=20),
    "interest-rounded-down": Case(act=charged, healthy=157, faulty=156),
    "interest-charged-twice": Case(act=charged, healthy=157, faulty=159),
    "debt-grown-at-restore": Case(act=debt_restored, healthy=(157, 156), faulty=(471, 468)),
    "repayment-past-the-pool": Case(act=repaid, healthy=(57, 56, 1), faulty=(57, 156, -99)),
    "loan-beyond-the-pool": Case(act=lent(1_500, 1_000), healthy=(0, 1_000), faulty=(1_500, -500)),
    "loan-beyond-the-credit": Case(act=lent(2_001, 5_000), healthy=(0, 5_000), faulty=(2_001, 2_999)),
    "promotion-without-limit": Case(act=granted(620_000, 1), healthy=0, faulty=620_000),
    "promotion-granted-twice": Case(act=granted(40, 2), healthy=40, faulty=80),
    "liquidated-above-maintenance": Case(act=solvent, healthy=0, faulty=1),
    "liquidated-while-halted": Case(act=helpless, healthy=0, faulty=1),
    "liquidated-all-at-once": Case(act=reduced, healthy=60, faulty=0),
    "liquidated-at-any-price": Case(act=at_any_price, healthy=[], faulty=[50]),
    "collateral-seized-whole": Case(act=seized, healthy=(112, 750), faulty=(0, 750)),
    "insurance-unpaid": Case(act=insured, healthy=(60, 960, 0), faulty=(60, 1_000, 0)),
    "insurance-passed-over": Case(act=insured, healthy=(60, 960, 0), faulty=(60, 1_000, 1)),
    "insurance-pays-twice": Case(act=insured, healthy=(60, 960, 0), faulty=(60, 920, 0)),
    "deleveraged-by-id": Case(act=BY_RANK, healthy=[("dave", 40, 85)], faulty=[("bob", 30, 85), ("carol", 10, 85)]),
    "deleveraged-losers-first": Case(
        act=BY_RANK, healthy=[("dave", 40, 85)], faulty=[("bob", 30, 85), ("carol", 10, 85)]
    ),
    "deleveraged-at-another-price": Case(act=BY_RANK, healthy=[("dave", 40, 85)], faulty=[("dave", 40, 90)]),
    "order-without-margin": Case(act=leveraged, healthy=0, faulty=1),
    "amendment-without-margin": Case(act=amended, healthy=0, faulty=1),
    "collateral-let-go": Case(act=taken_out, healthy=0, faulty=1),
    "loan-unsecured": Case(act=unsecured, healthy=0, faulty=1),
    "haircut-ignored": Case(act=secured_in_full, healthy=0, faulty=1),
    "bankrupt-spared": Case(act=bankrupt, healthy=1, faulty=0),
    "halt-cancels-orders": Case(act=halted, healthy=(0, 1, HALTED), faulty=(1, 1, HALTED)),
    "halt-spreads": Case(act=halted, healthy=(0, 1, HALTED), faulty=(0, 3, ["halted"] * 3)),
    "stage-skipped": Case(act=opened_at_once, healthy="halted", faulty="open"),
    "product-opened-without-a-mark": Case(act=opened_without_a_mark, healthy="post_only", faulty="open"),
    "isolated-loss-shared": Case(act=lost_in_the_island, healthy=(1_000, 948), faulty=(948, 1_000)),
    "transfer-into-a-halt": Case(act=transferred_into_a_halt, healthy=(100, 0), faulty=(0, 100)),
    "transfer-lost-at-restore": Case(act=transferred_through_a_restore, healthy=(0, 100), faulty=(100, 0)),
    "transfer-credited-twice": Case(act=transferred(1), healthy=100, faulty=200),
    "request-made-again": Case(act=transferred(2), healthy=100, faulty=200),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_does_what_its_sentence_says_and_the_healthy_exchange_does_not(fault: Fault) -> None:
    case = CASES[fault.name]
    assert case.act(Desk(None)) == case.healthy
    assert case.act(Desk(fault)) == case.faulty
