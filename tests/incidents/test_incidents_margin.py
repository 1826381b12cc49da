"""Incidents of margin: a halt of one product, a restart with positions, a deficit, funds that are counted twice."""

from collections.abc import Callable, Iterable
from itertools import product as tuples_of

import pytest
from msgspec.structs import replace

from holdfast.engine import Engine
from holdfast.setups import MARGIN_SETUP
from holdfast.stories import Story
from holdfast_engine.accounts import MarginAccount
from holdfast_engine.exchange import Parts, Recovery
from holdfast_engine.state import VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    CLEARING,
    INSURANCE,
    LENDING,
    SPOT,
    AmendOrder,
    Amount,
    AssetId,
    Borrow,
    Bucket,
    Burst,
    CancelOrder,
    CancelReason,
    Conditions,
    Crash,
    CrashPoint,
    Deleveraged,
    DisconnectClient,
    FundHouse,
    FundingSettled,
    HaltProduct,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    Market,
    OrderCancelled,
    Position,
    PriceTicks,
    ProductId,
    PromoteReplica,
    Reason,
    Repay,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SettleFunding,
    Side,
    SizeLots,
    Stage,
    StopTriggered,
    TakeSnapshot,
    TimeInForce,
    TradeExecuted,
    TransferMargin,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

Told = Callable[[Engine], None]
PERP, ETH_PERP, ISLE = "BTC-PERP", "ETH-PERP", "ETH-ISLE"
CLIENTS = ("alice", "bob", "carol", "dave")
CYCLES = tuple(tuples_of(("borrow", "pledge", "take back", "repay"), repeat=3))


def marked(engine: Engine, **pledged: int) -> Story:
    """Four clients with money, collateral as told, and every market with a mark: BTC at 100, ETH at 40."""
    story = Story(MARGIN_SETUP, engine)
    for client in CLIENTS:
        story.deposit(client, USD=20_000, BTC=2_000)
        if pledged.get(client):
            story.pledge(client, "linear", USD=pledged[client])
    everything(story, 100, 40)
    return story


def everything(story: Story, btc: int, eth: int) -> None:
    """All sources report all markets."""
    for market in MARGIN_SETUP.markets:
        story.mark(market.market, btc if market.base == "BTC" else eth)


def fund(story: Story, account: str, amount: int) -> None:
    """The owner pays into a house account."""
    story.do(FundHouse(account=account, asset="USD", amount=Amount(amount), transaction=f"{account[1:]}-{amount}"))


def positions(story: Story) -> dict[tuple[str, str], tuple[int, int]]:
    """Lots and entry value of every position."""
    return {(item.client, item.market): (item.position_lots, item.entry_value) for item in story.view.positions}


def opposed(story: Story, market: str, lots: int, price: int) -> None:
    """Alice buys lots of a perpetual from bob, who sells them short."""
    story.buy("alice", f"long-{market}", lots, price, market)
    story.sell("bob", f"short-{market}", lots, price, market)
    assert positions(story)["alice", market] == (lots, lots * price)
    assert positions(story)["bob", market] == (-lots, -lots * price)


def test_a_halt_of_one_product_changes_nothing_in_it_and_nothing_elsewhere(engine: Engine) -> None:
    """binance-um-2025-08-29: no order action for 25 minutes; here the same as a protective halt (the margin part)."""
    story = marked(engine, alice=1_500, bob=4_000)
    opposed(story, PERP, 100, 100)
    story.buy("alice", "a2", 3, 90, PERP)
    story.sell("bob", "b2", 5, 110, PERP)
    story.buy("carol", "spot", 4, 99, "BTC-USD")
    orders, held, balances = story.view.orders, positions(story), story.view.balances
    story.do(HaltProduct(product="linear", cause="the calculation of margin is late"))
    # Marks move on, far below what alice can bear, and nobody can act.
    for mark in (97, 93, 89):
        everything(story, mark, 40)
        assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.PRODUCT_HALTED
        assert story.refusal(Liquidate(client="alice", product=SPOT)) is Reason.PRODUCT_HALTED
    assert story.refusal(SettleFunding(market=PERP, period=1, rate_ppm=100)) is Reason.PRODUCT_HALTED
    for command in (
        story.order(Side.BUY, "carol", "c1", 1, 90, PERP),
        CancelOrder(client="alice", order="a2"),
        AmendOrder(client="bob", order="b2", size_lots=SizeLots(1), price_ticks=PriceTicks(110)),
        story.transfer("bob", "USD", 1, "linear", SPOT),
    ):
        assert story.refusal(command) is Reason.PRODUCT_HALTED
    story.do(Crash(), Restart())
    assert (story.view.orders, positions(story), story.view.balances) == (orders, held, balances)
    # Spot and the isolated product go on; a transfer into the halted one is under way until it opens.
    story.sell("dave", "sold", 4, 99, "BTC-USD")
    story.pledge("dave", "island", USD=100)
    assert story.amount("dave@island", Bucket.COLLATERAL, "USD") == 100
    flying = story.transfer("alice", "USD", 1_500, SPOT, "linear")
    assert story.refusal(flying) is None
    assert [item.request for item in story.view.transfers] == [flying.request]
    assert story.refusal(flying) is Reason.DUPLICATE_REQUEST
    collateral = story.amount("alice", Bucket.COLLATERAL, "USD")
    # Resumed stage by stage: first cancels, then orders that do not trade, and only then everything.
    story.do(ResumeStage(product="linear", stage=Stage.CANCEL_ONLY))
    assert story.refusal(ResumeStage(product="linear", stage=Stage.OPEN)) is Reason.STAGE_ILLEGAL
    assert story.refusal(story.order(Side.SELL, "carol", "c2", 1, 90, PERP)) is Reason.PRODUCT_HALTED
    story.do(ResumeStage(product="linear", stage=Stage.POST_ONLY))
    assert story.refusal(story.order(Side.SELL, "carol", "c3", 1, 90, PERP)) is Reason.PRODUCT_HALTED
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.PRODUCT_HALTED
    assert [order for order in story.view.orders if order.market == PERP] == [
        order for order in orders if order.market == PERP
    ]
    story.do(ResumeStage(product="linear", stage=Stage.OPEN))
    assert story.view.transfers == ()
    assert story.amount("alice", Bucket.COLLATERAL, "USD") == collateral + 1_500
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.NOT_BELOW_MAINTENANCE
    assert positions(story) == held
    assert story.happened(OrderCancelled) == 0
    # Everybody acts at once: the door has room for four, and a cancel is not what is left outside.
    rush = [story.order(Side.BUY, "carol", f"rush-{number}", 1, 80, "BTC-USD") for number in range(5)]
    story.do(Burst(commands=(*rush, CancelOrder(client="alice", order="a2"))))
    assert story.happened(OrderCancelled) == 1
    assert story.left("alice", "a2") is None


def test_what_waits_in_a_halted_product_waits_and_everybody_acts_at_once_when_it_opens(engine: Engine) -> None:
    """binance-um-2025-08-29: orders stayed pending for 25 minutes; what was conditional, and the rush afterwards."""
    story = Story(replace(MARGIN_SETUP, rate_max=12), engine)
    for client in CLIENTS:
        story.deposit(client, USD=20_000, BTC=2_000)
    everything(story, 100, 40)
    for client, amount in (("alice", 1_500), ("bob", 4_000), ("carol", 1_000), ("dave", 1_000)):
        story.pledge(client, "linear", USD=amount)
    for client in ("alice", "bob"):
        story.pledge(client, "island", USD=105)
    opposed(story, PERP, 100, 100)
    story.buy("alice", "isolated", 20, 40, ISLE)
    story.sell("bob", "other", 20, 40, ISLE)
    below = Trigger(by=TriggerBy.MARK, when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(95))
    story.sell("alice", "stop", 10, 90, PERP, conditions=Conditions(trigger=below, reduce_only=True))
    story.sell("alice", "reduce", 5, 115, PERP, conditions=Conditions(reduce_only=True))
    expires = Conditions(expires_ms=story.time_ms + 20_000)
    story.buy("carol", "expires", 2, 90, PERP, time_in_force=TimeInForce.GTT, conditions=expires)
    story.buy("dave", "session", 2, 91, PERP, conditions=Conditions(cancel_on_disconnect=True))
    story.buy("carol", "kept", 3, 92, PERP)
    spot = [item for item in story.view.balances if item.account == "dave" and item.bucket is Bucket.FREE]
    story.do(TakeSnapshot(), HaltProduct(product="linear", cause="the calculation of margin is late"))
    # Marks pass the stop and what alice can bear; the primary changes and the state is restored: all of it waits.
    everything(story, 91, 40)
    story.do(PromoteReplica(replica="n2"), RestoreSnapshot())
    for product in ("linear", SPOT):
        assert story.refusal(Liquidate(client="alice", product=product)) is Reason.PRODUCT_HALTED
    assert [stop.order for stop in story.view.stops] == ["stop"]
    # Instructions that were given before are carried out: an order's time is up, a session is lost.
    story.do(DisconnectClient(client="dave"))
    everything(story, 91, 34)
    story.wait(20_000)
    assert {item.order for item in story.view.orders if item.market == PERP} == {"reduce", "kept"}
    assert [item for item in story.view.balances if item.account == "dave" and item.bucket is Bucket.FREE] == spot
    # In the isolated product everybody can act, so that there, and only there, alice is liquidated.
    assert story.refusal(Liquidate(client="alice", product="island")) is None
    assert story.position("alice", PERP) == Position(
        client="alice", market=PERP, position_lots=SizeLots(100), entry_value=Amount(10_000)
    )
    everything(story, 97, 40)
    story.resume("linear")
    assert ([stop.order for stop in story.view.stops], story.happened(StopTriggered)) == (["stop"], 0)
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.NOT_BELOW_MAINTENANCE
    # The rush: who asks too much in one second is told so, cancels are served all the same, and then it is served.
    story.wait()
    rush = [story.order(Side.BUY, "carol", f"rush-{number}", 1, 80, "BTC-USD") for number in range(14)]
    assert [story.refusal(order) for order in rush] == [None] * 12 + [Reason.RATE_LIMITED] * 2
    assert story.refusal(CancelOrder(client="carol", order="kept")) is None
    story.wait()
    assert [story.refusal(order) for order in rush[12:]] == [None, None]
    # The mark passes the stop now, and it is triggered now: it reduces the position and no more.
    story.buy("bob", "bid", 10, 93, PERP)
    story.mark(PERP, 94)
    assert story.happened(StopTriggered) == 1
    assert positions(story)["alice", PERP] == (90, 9_000)


def test_a_restart_keeps_positions_and_funding_and_liquidates_nobody(engine: Engine) -> None:
    """paradex-2026-01-19: a restart with a partial load zeroed the funding, and liquidations followed."""
    story = marked(engine, alice=850, bob=4_000)
    opposed(story, PERP, 70, 100)
    story.buy("carol", "c1", 5, 99, "BTC-USD")
    story.sell("dave", "d1", 2, 99, "BTC-USD")
    for period in (1, 2):
        story.do(SettleFunding(market=PERP, period=period, rate_ppm=2_000))
    third = SettleFunding(market=PERP, period=3, rate_ppm=2_000)
    story.do(third, TakeSnapshot())
    story.pledge("carol", "linear", USD=10)
    before = story.view
    fourth = replace(third, period=4)
    for point in (CrashPoint.BEFORE_JOURNAL, CrashPoint.TORN_JOURNAL):
        story.do(Crash(in_flight=fourth, point=point), Restart(), RestoreSnapshot())
        after = story.view
        assert (after.positions, after.balances, after.marks) == (before.positions, before.balances, before.marks)
        for client in CLIENTS:
            assert story.refusal(Liquidate(client=client, product="linear")) is Reason.NOT_BELOW_MAINTENANCE
        for period in (1, 2, 3, 5):
            assert story.refusal(replace(third, period=period)) is Reason.PERIOD_NOT_NEXT
    story.do(Crash(in_flight=fourth, point=CrashPoint.AFTER_JOURNAL), Restart())
    assert story.refusal(fourth) is Reason.PERIOD_NOT_NEXT
    assert story.refusal(replace(third, period=5)) is None
    assert story.happened(FundingSettled) == 4
    assert story.happened(LiquidationStepped) == 0
    # A load takes its time, and its first marks may be anything: nobody is liquidated before the product is open.
    story.do(HaltProduct(product="linear", cause="positions are being loaded"))
    story.mark(PERP, 80)
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.PRODUCT_HALTED
    story.mark(PERP, 100)
    for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN):
        story.do(ResumeStage(product="linear", stage=stage))
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.NOT_BELOW_MAINTENANCE
    # What is left of the order that was filled in part is three lots, and not its whole size again.
    story.sell("dave", "d2", 5, 99, "BTC-USD")
    assert story.left("dave", "d2") == 2


def test_a_deficit_beyond_the_insurance_is_deleveraged_and_stays_in_its_product(engine: Engine) -> None:
    """hyperliquid-jelly-2025-03-26: the liquidator shared collateral, so that deleveraging did not start."""
    story = marked(engine)
    fund(story, INSURANCE, 5)
    for client in CLIENTS:
        story.pledge(client, "island", USD=300)
        story.pledge(client, "linear", USD=1_000)
    cross = [story.amount(client, Bucket.COLLATERAL, "USD") for client in CLIENTS]
    # A client cannot pump its own market: what meets an order of its own does not trade.
    story.buy("alice", "pump", 2, 41, ISLE)
    told = story.sell("alice", "dump", 2, 41, ISLE)
    assert not [event for event in told if isinstance(event, TradeExecuted)]
    assert positions(story) == {}
    story.do(CancelOrder(client="alice", order="pump"))
    story.sell("alice", "short", 70, 40, ISLE)
    story.buy("bob", "b1", 50, 40, ISLE)
    story.buy("carol", "c1", 20, 40, ISLE)
    assert positions(story)["alice", ISLE] == (-70, -2_800)
    # Pumped from outside to 60, far beyond the price at which the short is bankrupt; all that is offered is two lots.
    everything(story, 100, 60)
    story.sell("dave", "offer", 2, 46, ISLE)
    step = Liquidate(client="alice", product="island")
    while story.refusal(step) is None:
        assert sum(lots for (_, market), (lots, _) in positions(story).items() if market == ISLE) == 0
    steps = [event for event in story.told if isinstance(event, LiquidationStepped)]
    assert [event.kind for event in steps[:2]] == [LiquidationKind.INSURE, LiquidationKind.DELEVERAGE]
    assert story.amount(INSURANCE, Bucket.FREE, "USD") < 2
    assert "alice" not in {client for client, _ in positions(story)}
    closed = [event for event in story.told if isinstance(event, Deleveraged)]
    assert sum(event.size_lots for event in closed) == 68
    assert {event.counterparty for event in closed} == {"bob", "carol"}
    # Everybody's other account is what it was, and nobody set another price than the bankruptcy price.
    assert [story.amount(client, Bucket.COLLATERAL, "USD") for client in CLIENTS] == cross
    assert {event.price_ticks for event in closed} <= {event.bankruptcy_ticks for event in steps}
    assert story.amount(CLEARING, Bucket.FREE, "USD") == -sum(entry for _, entry in positions(story).values())


def buying_power_is(story: Story, most: int) -> bool:
    """Whether alice may buy this many lots of the perpetual at the mark, and not one more."""
    over = story.order(Side.BUY, "alice", f"over-{story.view.seq}", most + 1, 100, PERP)
    if story.refusal(over) is not Reason.INSUFFICIENT_MARGIN:
        return False
    exact = replace(over, order=f"most-{story.view.seq}", size_lots=SizeLots(most))
    if story.refusal(exact) is not None:
        return False
    story.do(CancelOrder(client="alice", order=exact.order))
    return True


@pytest.mark.parametrize("cycle", CYCLES)
def test_no_cycle_of_borrowing_pledging_and_taking_back_raises_what_can_be_bought(
    engine: Engine, cycle: Iterable[str]
) -> None:
    """robinhood-2019-11: what was sold a call on was counted as cash again, and the cycle began anew."""
    story = Story(MARGIN_SETUP, engine)
    story.deposit("alice", USD=1_000)
    fund(story, LENDING, 5_000)
    everything(story, 100, 40)
    story.pledge("alice", "linear", USD=1_000)
    # 600 of the 1,000 carry the first tier, the rest and the fee the second: 79 lots.
    most = 79
    assert buying_power_is(story, most)
    for number in range(3):
        for what in cycle:
            for amount in (1_500, 400):
                story.do(cycle_step(story, what, amount, f"{what.split()[0]}-{number}-{story.view.seq}"))
        worth = sum(
            story.amount("alice", bucket, "USD")
            for bucket in (Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED)
        )
        assert worth == 1_000
        over = story.order(Side.BUY, "alice", f"over-{number}", most + 1, 100, PERP)
        assert story.refusal(over) is Reason.INSUFFICIENT_MARGIN
    # When all is given back the power is what it was: nothing was lost either.
    while debt := -story.amount("alice", Bucket.BORROWED, "USD"):
        repaid = min(debt, story.amount("alice", Bucket.FREE, "USD"))
        if repaid:
            story.do(Repay(client="alice", request=f"last-{debt}", asset="USD", amount=Amount(repaid)))
        else:
            assert story.refusal(story.transfer("alice", "USD", min(debt, 400), "linear", SPOT)) is None
    if story.amount("alice", Bucket.FREE, "USD"):
        story.pledge("alice", "linear", USD=story.amount("alice", Bucket.FREE, "USD"))
    assert buying_power_is(story, most)


def cycle_step(story: Story, what: str, amount: int, request: str) -> Borrow | Repay | TransferMargin:
    """One step of a cycle of alice's."""
    match what:
        case "borrow":
            return Borrow(client="alice", request=request, asset="USD", amount=Amount(amount))
        case "repay":
            return Repay(client="alice", request=request, asset="USD", amount=Amount(amount))
        case "pledge":
            return story.transfer("alice", "USD", amount, SPOT, "linear")
        case _:
            return story.transfer("alice", "USD", amount, "linear", SPOT)


def test_what_is_encumbered_cannot_be_used_again(engine: Engine) -> None:
    """robinhood-2019-11: collateral of a position, and what is held for an order, are nobody's second time."""
    story = marked(engine, alice=500, bob=3_000)
    opposed(story, PERP, 45, 100)
    assert story.refusal(story.transfer("alice", "USD", 100, "linear", SPOT)) is Reason.INSUFFICIENT_MARGIN
    fund(story, LENDING, 5_000)
    loan = Borrow(client="alice", request="loan", asset="USD", amount=Amount(500))
    assert story.refusal(loan) is Reason.INSUFFICIENT_MARGIN
    free = story.amount("alice", Bucket.FREE, "BTC")
    story.sell("alice", "a2", free // 10, 110, "BTC-USD")
    assert story.amount("alice", Bucket.FREE, "BTC") == 0
    assert story.refusal(story.transfer("alice", "BTC", 1, SPOT, "linear")) is Reason.INSUFFICIENT_FUNDS
    withdrawal = RequestWithdrawal(client="alice", withdrawal="w1", asset="BTC", amount=Amount(1))
    assert story.refusal(withdrawal) is Reason.INSUFFICIENT_FUNDS
    assert story.refusal(story.order(Side.SELL, "alice", "a3", 1, 110, "BTC-USD")) is Reason.INSUFFICIENT_FUNDS


class _LiquidatesInAHalt(Venue):
    def can_act(self, account: MarginAccount) -> bool:  # noqa: ARG002 - the fault
        return True


class _CancelsOrdersInAHalt(Venue):
    def halt(self, command: HaltProduct) -> None:
        super().halt(command)
        halted = [order for order in self.orders_of() if self.markets[order.market].product == command.product]
        self.cancel_each(halted, CancelReason.REQUESTED)


class _TransfersIntoAHalt(Venue):
    def arrives(self, target: ProductId) -> bool:  # noqa: ARG002 - the fault
        return True


class _LosesFundingPeriods(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, funding_periods=tuple(replace(item, period=0) for item in snapshot.funding_periods))


class _LosesPositions(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, positions=())


class _SharesCollateral(Venue):
    """The liquidated account is thought to have what its owner has in its other account."""

    def bankruptcy(self, market: Market, position: Position, mark: PriceTicks, equity: int) -> PriceTicks:
        other = self.ledger.amount(position.client, Bucket.COLLATERAL, "USD")
        return super().bankruptcy(market, position, mark, equity + other)


class _CountsLoansTwice(Venue):
    def debt(self, account: MarginAccount, asset: AssetId) -> Amount:  # noqa: ARG002 - the fault
        return Amount(0)


class _LetsCollateralGo(Venue):
    def transfer_risk(self, command: TransferMargin) -> Reason | None:  # noqa: ARG002 - the fault
        return None


def borrowed_and_pledged(engine: Engine) -> None:
    """The cycle that would go on without end if a loan counted as wealth."""
    test_no_cycle_of_borrowing_pledging_and_taking_back_raises_what_can_be_bought(
        engine, ("borrow", "pledge", "pledge")
    )


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (Parts(venue=_LiquidatesInAHalt), test_a_halt_of_one_product_changes_nothing_in_it_and_nothing_elsewhere),
        (Parts(venue=_CancelsOrdersInAHalt), test_a_halt_of_one_product_changes_nothing_in_it_and_nothing_elsewhere),
        (
            Parts(venue=_TransfersIntoAHalt),
            test_a_halt_of_one_product_changes_nothing_in_it_and_nothing_elsewhere,
        ),
        (Parts(recovery=_LosesFundingPeriods), test_a_restart_keeps_positions_and_funding_and_liquidates_nobody),
        (Parts(recovery=_LosesPositions), test_a_restart_keeps_positions_and_funding_and_liquidates_nobody),
        (Parts(venue=_SharesCollateral), test_a_deficit_beyond_the_insurance_is_deleveraged_and_stays_in_its_product),
        (Parts(venue=_CountsLoansTwice), borrowed_and_pledged),
        (Parts(venue=_LetsCollateralGo), test_what_is_encumbered_cannot_be_used_again),
    ],
)
def test_with_wrong_margin_the_story_does_not_get_to_its_end(
    parts: Parts, told: Told, told_in_vain: Callable[[Parts, Told], None]
) -> None:
    told_in_vain(parts, told)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("self-trade-allowed", test_a_deficit_beyond_the_insurance_is_deleveraged_and_stays_in_its_product),
        ("fill-forgotten", test_a_restart_keeps_positions_and_funding_and_liquidates_nobody),
        ("tail-replayed-twice", test_a_restart_keeps_positions_and_funding_and_liquidates_nobody),
    ],
)
def test_a_planted_fault_in_a_story_of_margin_is_caught_by_an_invariant(
    fault: str, told: Told, violated: Callable[[str, Told], None]
) -> None:
    violated(fault, told)
