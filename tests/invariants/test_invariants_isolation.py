"""ISOL-1 on histories made by hand: what one product's halt or loss must not do to another."""

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_model.vocabulary import (
    CLEARING,
    FEES,
    INSURANCE,
    OUTSIDE,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    Answer,
    Bucket,
    CancelAll,
    CancelAllOrders,
    CancelOrder,
    CancelReason,
    CauseKind,
    Collateral,
    DisconnectClient,
    EntryPosted,
    Event,
    FundingSettled,
    HaltProduct,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    Margin,
    Market,
    MarkRule,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderRested,
    Perpetual,
    PlaceOrder,
    PositionChanged,
    Posting,
    PriceTicks,
    Product,
    ProductHalted,
    ProductResumed,
    Reason,
    Record,
    Rejected,
    ResumeStage,
    SelfTrade,
    SettleFunding,
    Setup,
    Side,
    SizeLots,
    Stage,
    Step,
    StopTriggered,
    Tier,
    TimeInForce,
    TradeExecuted,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
)

COLLATERAL, FREE, HELD = Bucket.COLLATERAL, Bucket.FREE, Bucket.HELD
RULE = MarkRule(sources=("a",), sources_min=1, age_max_ms=10, band_ppm=100_000)
PERPETUAL = Perpetual(tiers=(Tier(value_floor=Amount(0), initial_ppm=200_000, maintenance_ppm=100_000),))


def market(name: str, **kind: Any) -> Market:  # noqa: ANN401 - fields
    return Market(market=name, base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1), **kind)


SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        market("S"),
        market("P", mark=RULE, perpetual=PERPETUAL, product="linear"),
        market("Q", mark=RULE, perpetual=PERPETUAL, product="quarterly"),
        market("I", mark=RULE, perpetual=PERPETUAL, product="island"),
    ),
    clients=("alice", "bob"),
    products=(Product(product="linear"), Product(product="quarterly"), Product(product="island", isolated=True)),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
)


# Words --------------------------------------------------------------------------------------------------------------


def told(*events: Event, step: Step | None = None) -> Record:
    return Record(step=step or AnnounceMaintenance(begins_ms=0), answers=(Answer(events=events),))


def entry(kind: CauseKind, *lines: tuple[str, Bucket, int]) -> EntryPosted:
    return EntryPosted(
        cause_kind=kind,
        cause="c",
        postings=tuple(
            Posting(account=account, bucket=bucket, asset="USD", amount=Amount(amount))
            for account, bucket, amount in lines
        ),
    )


def order(client: str, name: str, **more: Any) -> PlaceOrder:  # noqa: ANN401 - fields
    plain = PlaceOrder(
        client=client,
        order="o",
        market=name,
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(10),
        time_in_force=TimeInForce.GTC,
    )
    return replace(plain, **more)


def accepted(command: PlaceOrder) -> OrderAccepted:
    return OrderAccepted(
        client=command.client,
        order=command.order,
        market=command.market,
        side=command.side,
        size_lots=command.size_lots,
        price_ticks=command.price_ticks,
        time_in_force=command.time_in_force,
        post_only=command.post_only,
        self_trade=SelfTrade.CANCEL_NEWEST,
        conditions=command.conditions,
    )


def placed(command: PlaceOrder) -> Record:
    rested = OrderRested(
        client=command.client,
        order=command.order,
        price_ticks=PriceTicks(10),
        left_lots=command.size_lots,
    )
    return told(accepted(command), rested, step=command)


def cancelled(reason: CancelReason) -> OrderCancelled:
    return OrderCancelled(client="alice", order="o", left_lots=SizeLots(1), reason=reason)


def trade(name: str) -> TradeExecuted:
    return TradeExecuted(
        trade=1,
        market=name,
        price_ticks=PriceTicks(10),
        size_lots=SizeLots(1),
        taker_side=Side.SELL,
        maker_client="alice",
        maker_order="o",
        taker_client="bob",
        taker_order="o",
        maker_fee=Amount(0),
        taker_fee=Amount(1),
    )


def position(client: str, lots: int, value: int, name: str) -> PositionChanged:
    return PositionChanged(client=client, market=name, position_lots=SizeLots(lots), entry_value=Amount(value))


def halted(product: str, *more: Event) -> Record:
    return told(ProductHalted(product=product, cause="late"), *more, step=HaltProduct(product=product, cause="late"))


def resumed(product: str, stage: Stage, *more: Event) -> Record:
    return told(ProductResumed(product=product, stage=stage), *more, step=ResumeStage(product=product, stage=stage))


def refused(step: Step) -> Record:
    return told(Rejected(reason=Reason.PRODUCT_HALTED), step=step)


def transfer(source: str, target: str) -> TransferMargin:
    return TransferMargin(client="alice", request="r", asset="USD", amount=Amount(5), source=source, target=target)


def started(command: TransferMargin, account: str = "alice", bucket: Bucket = FREE) -> tuple[Event, ...]:
    return (
        TransferStarted(
            client="alice",
            request="r",
            asset="USD",
            amount=Amount(5),
            source=command.source,
            target=command.target,
        ),
        entry(CauseKind.TRANSFER, (account, bucket, -5), ("alice", HELD, 5)),
    )


def arrived(account: str = "alice") -> tuple[Event, ...]:
    return (
        TransferCompleted(client="alice", request="r"),
        entry(CauseKind.TRANSFER, ("alice", HELD, -5), (account, COLLATERAL, 5)),
    )


def stepped(product: str) -> LiquidationStepped:
    return LiquidationStepped(
        client="alice", product=product, kind=LiquidationKind.SEIZE, equity=Amount(0), maintenance=Amount(1)
    )


HALTED, CANCEL_ONLY, POST_ONLY, OPEN = Stage.HALTED, Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN
IN_P, IN_Q, IN_I = (placed(order("alice", name)) for name in "PQI")
CAREFUL = [halted("linear"), resumed("linear", CANCEL_ONLY), resumed("linear", POST_ONLY)]
INTO, OUT = transfer("spot", "linear"), transfer("linear", "spot")
FUNDING = FundingSettled(market="P", period=1, rate_ppm=1, mark_ticks=PriceTicks(10))
SETTLE = SettleFunding(market="P", period=1, rate_ppm=1)
AMENDED = OrderAmended(
    client="alice",
    order="o",
    size_lots=SizeLots(1),
    price_ticks=PriceTicks(10),
    left_lots=SizeLots(1),
    priority_kept=True,
)
AMEND = AmendOrder(client="alice", order="o", size_lots=SizeLots(1), price_ticks=PriceTicks(10))
ISLAND_TRADE = entry(CauseKind.TRADE, ("bob@island", COLLATERAL, -1), (FEES, FREE, 1))
LIQUIDATE = Liquidate(client="alice", product="island")

HOLDING = {
    "another product trades on": [halted("linear"), IN_Q, told(trade("Q"))],
    "a session is lost, time is up": [
        IN_P,
        halted("linear"),
        told(cancelled(CancelReason.DISCONNECTED), step=DisconnectClient(client="alice")),
    ],
    "a stage lets orders be cancelled": [
        IN_P,
        halted("linear"),
        resumed("linear", CANCEL_ONLY),
        told(cancelled(CancelReason.REQUESTED), step=CancelOrder(client="alice", order="o")),
    ],
    "a stage takes careful orders": [
        *CAREFUL,
        placed(order("alice", "P", post_only=True)),
        told(AMENDED, step=AMEND),
    ],
    "what waited for the opening happens in it": [
        IN_P,
        *CAREFUL,
        resumed("linear", OPEN, StopTriggered(client="alice", order="o", price_ticks=PriceTicks(10)), trade("P")),
    ],
    "a transfer waits and arrives": [
        halted("linear"),
        told(*started(INTO), step=INTO),
        resumed("linear", CANCEL_ONLY),
        resumed("linear", POST_ONLY),
        resumed("linear", OPEN, *arrived()),
    ],
    "a transfer out of an isolated account": [
        told(
            *started(transfer("island", "linear"), "alice@island", COLLATERAL),
            *arrived(),
            step=transfer("island", "linear"),
        )
    ],
    "refusals for the halt": [
        IN_P,
        halted("linear"),
        refused(order("alice", "P", order="n")),
        refused(CancelAll(client="alice", market="P")),
        refused(CancelAllOrders(market="P")),
        refused(AMEND),
        refused(CancelOrder(client="alice", order="o")),
        refused(OUT),
        refused(SETTLE),
        refused(Liquidate(client="alice", product="spot")),
        resumed("linear", CANCEL_ONLY),
        resumed("linear", POST_ONLY),
        refused(order("alice", "P", order="n")),
    ],
    "trades in an isolated product": [IN_I, told(trade("I"), ISLAND_TRADE)],
    "what is owed is paid out of collateral for another product": [
        told(position("alice", 0, 3, "P")),
        halted("linear"),
        told(
            *started(transfer("spot", "quarterly")),
            *arrived(),
            position("alice", 0, 0, "P"),
            entry(CauseKind.SETTLEMENT, ("alice", COLLATERAL, -3), (CLEARING, FREE, 3)),
            step=transfer("spot", "quarterly"),
        ),
    ],
    "a liquidation of an isolated account": [
        told(
            stepped("island"),
            entry(CauseKind.SEIZURE, ("alice@island", COLLATERAL, -1), (CLEARING, FREE, 1)),
            step=LIQUIDATE,
        )
    ],
}


@pytest.mark.parametrize("name", HOLDING)
def test_nothing_is_reported_where_products_leave_each_other_alone(name: str) -> None:
    auditor = Auditor(SETUP, catalogue=(invariant_by_id("ISOL-1"),))
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert auditor.coverage()[0].checked > 0


class Case(Struct, frozen=True, kw_only=True):
    good: list[Record]
    bad: Record
    subject: str
    found: str
    expected: str


NEW = order("alice", "P", order="n")
CASES = {
    "a halt cancels orders": Case(
        good=[IN_P],
        bad=halted("linear", cancelled(CancelReason.REQUESTED)),
        subject="halt of linear",
        found="OrderCancelled",
        expected="nothing else changes by a halt",
    ),
    "an order is refused for a halt that nobody was told of": Case(
        good=[],
        bad=refused(order("alice", "P", order="n")),
        subject="PlaceOrder in linear",
        found="it is refused while no product is not open",
        expected="as if no other product were halted",
    ),
    "a halt is one of another product": Case(
        good=[],
        bad=told(ProductHalted(product="linear", cause="late"), step=HaltProduct(product="quarterly", cause="late")),
        subject="halt of quarterly",
        found="ProductHalted",
        expected="nothing else changes",
    ),
    "an order is taken in": Case(
        good=[halted("linear")],
        bad=placed(NEW),
        subject="OrderAccepted in linear",
        found="OrderAccepted in P while linear is at the stage halted",
        expected="what the stage allows",
    ),
    "an order that may take is taken in": Case(
        good=CAREFUL,
        bad=placed(NEW),
        subject="OrderAccepted in linear",
        found="at the stage post_only",
        expected="what the stage allows",
    ),
    "an order is cancelled": Case(
        good=[IN_P, halted("linear")],
        bad=told(cancelled(CancelReason.REQUESTED), step=CancelOrder(client="alice", order="o")),
        subject="OrderCancelled in linear",
        found="at the stage halted",
        expected="what the stage allows",
    ),
    "an order is amended": Case(
        good=[IN_P, halted("linear"), resumed("linear", CANCEL_ONLY)],
        bad=told(AMENDED, step=AMEND),
        subject="OrderAmended in linear",
        found="at the stage cancel_only",
        expected="what the stage allows",
    ),
    "it trades": Case(
        good=[IN_P, *CAREFUL],
        bad=told(trade("P")),
        subject="TradeExecuted in linear",
        found="at the stage post_only",
        expected="what the stage allows",
    ),
    "a stop is triggered": Case(
        good=[IN_P, halted("linear")],
        bad=told(StopTriggered(client="alice", order="o", price_ticks=PriceTicks(10))),
        subject="StopTriggered in linear",
        found="at the stage halted",
        expected="what the stage allows",
    ),
    "a position changes": Case(
        good=[told(position("alice", 1, 3, "P")), halted("linear")],
        bad=told(position("alice", 0, 3, "P")),
        subject="PositionChanged in linear",
        found="at the stage halted",
        expected="what the stage allows",
    ),
    "funding is settled": Case(
        good=[halted("linear")],
        bad=told(FUNDING, step=SETTLE),
        subject="FundingSettled in linear",
        found="at the stage halted",
        expected="what the stage allows",
    ),
    "an order elsewhere is refused": Case(
        good=[halted("linear")],
        bad=refused(order("alice", "Q")),
        subject="PlaceOrder in quarterly",
        found="refused while linear is not open",
        expected="as if no other product were halted",
    ),
    "a cancel elsewhere is refused": Case(
        good=[IN_Q, halted("linear")],
        bad=refused(CancelOrder(client="alice", order="o")),
        subject="CancelOrder in quarterly",
        found="refused while linear is not open",
        expected="as if no other product were halted",
    ),
    "a cancel of everything is refused": Case(
        good=[halted("linear")],
        bad=refused(CancelAll(client="alice")),
        subject="CancelAll in no product",
        found="refused while linear is not open",
        expected="as if no other product were halted",
    ),
    "a cancel of everybody's is refused": Case(
        good=[halted("linear")],
        bad=refused(CancelAllOrders()),
        subject="CancelAllOrders in no product",
        found="refused while linear is not open",
        expected="as if no other product were halted",
    ),
    "what the stage allows is refused": Case(
        good=[IN_P, *CAREFUL],
        bad=refused(order("alice", "P", order="n", post_only=True)),
        subject="PlaceOrder in linear",
        found="refused",
        expected="as if",
    ),
    "a transfer into it is refused": Case(
        good=[halted("linear")],
        bad=refused(INTO),
        subject="TransferMargin in spot",
        found="refused",
        expected="as if",
    ),
    "a liquidation elsewhere is refused": Case(
        good=[IN_Q, halted("linear")],
        bad=refused(Liquidate(client="alice", product="quarterly")),
        subject="Liquidate in no product",
        found="refused",
        expected="as if",
    ),
    "opening one product changes another": Case(
        good=[IN_Q, *CAREFUL],
        bad=resumed("linear", OPEN, StopTriggered(client="alice", order="o", price_ticks=PriceTicks(10))),
        subject="StopTriggered in quarterly",
        found="linear being resumed",
        expected="nothing changes but in linear",
    ),
    "opening one product opens another": Case(
        good=[halted("quarterly"), *CAREFUL],
        bad=resumed("linear", OPEN, ProductResumed(product="quarterly", stage=CANCEL_ONLY)),
        subject="ProductResumed in quarterly",
        found="linear being resumed",
        expected="nothing changes but in linear",
    ),
    "a transfer arrives in a product that is halted": Case(
        good=[halted("linear")],
        bad=told(*started(INTO), *arrived(), step=INTO),
        subject="transfer alice/r",
        found="arrives in linear at the stage halted",
        expected="waits, held",
    ),
    "a transfer does not arrive": Case(
        good=[halted("linear"), told(*started(INTO), step=INTO), *CAREFUL[1:]],
        bad=resumed("linear", OPEN),
        subject="transfer alice/r",
        found="waits for linear, which is open",
        expected="arrives when its target opens",
    ),
    "a trade elsewhere is paid out of an isolated account": Case(
        good=[],
        bad=told(trade("P"), entry(CauseKind.TRADE, ("bob@island", COLLATERAL, -1), (FEES, FREE, 1))),
        subject="account bob@island",
        found="-1 USD for trade c",
        expected="its own product alone",
    ),
    "a trade in an isolated product is paid out of another account": Case(
        good=[],
        bad=told(trade("I"), entry(CauseKind.TRADE, ("bob", COLLATERAL, -1), (FEES, FREE, 1))),
        subject="account bob",
        found="-1 USD for trade c",
        expected="what island does concerns its own accounts",
    ),
    "a deposit goes into an isolated account": Case(
        good=[told(trade("I"), ISLAND_TRADE)],
        bad=told(entry(CauseKind.DEPOSIT, (OUTSIDE, FREE, -1), ("bob@island", COLLATERAL, 1))),
        subject="account bob@island",
        found="+1 USD for deposit c",
        expected="its own product alone",
    ),
    "the loss of an isolated account is borne by the others": Case(
        good=[],
        bad=told(
            stepped("island"),
            entry(CauseKind.SEIZURE, ("alice", COLLATERAL, -1), (CLEARING, FREE, 1)),
            step=LIQUIDATE,
        ),
        subject="account alice",
        found="-1 USD for seizure c",
        expected="what island does concerns its own accounts",
    ),
    "the loss elsewhere is borne by an isolated account": Case(
        good=[],
        bad=told(
            stepped("linear"),
            entry(CauseKind.INSURANCE, ("alice@island", COLLATERAL, -1), (INSURANCE, FREE, 1)),
            step=Liquidate(client="alice", product="linear"),
        ),
        subject="account alice@island",
        found="-1 USD for insurance c",
        expected="its own product alone",
    ),
    "a liquidation of an isolated account cancels orders elsewhere": Case(
        good=[IN_P],
        bad=told(stepped("island"), cancelled(CancelReason.LIQUIDATION), step=LIQUIDATE),
        subject="OrderCancelled in linear",
        found="by a liquidation in island",
        expected="island and house accounts alone",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_product_does_to_another_is_reported_where_it_happens(name: str) -> None:
    case = CASES[name]
    auditor = Auditor(SETUP, catalogue=(invariant_by_id("ISOL-1"),))
    for record in case.good:
        assert auditor.watch(record) == []
    violations = auditor.watch(case.bad)
    assert case.subject in [violation.subject for violation in violations]
    violation = next(violation for violation in violations if violation.subject == case.subject)
    assert (violation.invariant, violation.step) == ("ISOL-1", len(case.good))
    assert case.found in violation.found
    assert case.expected in violation.expected
    assert violation.evidence
