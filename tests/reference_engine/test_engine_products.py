"""Products: what a protective halt stops and what it leaves alone, and how a product is opened stage by stage."""

import pytest

from holdfast.stories import Story
from holdfast_model.vocabulary import (
    SPOT,
    AmendOrder,
    CancelAll,
    CancelOrder,
    CancelReason,
    Command,
    Conditions,
    Crash,
    DisconnectClient,
    HaltProduct,
    Liquidate,
    OrderCancelled,
    Phase,
    PriceTicks,
    ProductHalted,
    ProductResumed,
    Reason,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SetPhase,
    SettleFunding,
    Side,
    SizeLots,
    Stage,
    TakeSnapshot,
    TimeInForce,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

PERP = "BTC-PERP"
STAGES = (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN)


def halt(story: Story, product: str = "linear") -> None:
    assert story.refusal(HaltProduct(product=product, cause="margin is late")) is None


def to(story: Story, stage: Stage, product: str = "linear") -> Reason | None:
    return story.refusal(ResumeStage(product=product, stage=stage))


def at(story: Story, stage: Stage, product: str = "linear") -> None:
    """Halt a product and open it as far as this stage."""
    halt(story, product)
    for after in STAGES:
        if story_stage(story, product) is stage:
            return
        assert to(story, after, product) is None


def story_stage(story: Story, product: str = "linear") -> Stage:
    return next(item.stage for item in story.view.stages if item.product == product)


def amend(client: str, order: str, size: int, price: int) -> AmendOrder:
    return AmendOrder(client=client, order=order, size_lots=SizeLots(size), price_ticks=PriceTicks(price))


def cancelled(story: Story, begun: int) -> list[tuple[str, CancelReason]]:
    return [(event.order, event.reason) for event in story.told[begun:] if isinstance(event, OrderCancelled)]


@pytest.fixture(autouse=True)
def orders(story: Story) -> None:
    """Alice has orders in every product; dave offers 10 lots at 110 in the perpetual."""
    for client in ("alice", "dave"):
        story.pledge(client, "linear", USD=2_000)
        story.pledge(client, "island", USD=500)
    story.buy("alice", "linear", 10, 100, PERP)
    story.buy("alice", "other", 10, 99, PERP)
    story.buy("alice", "island", 10, 40, "ETH-ISLE")
    story.buy("alice", "spot", 1, 100, "BTC-USD")
    story.sell("dave", "offer", 10, 110, PERP)


# Stages -------------------------------------------------------------------------------------------------------------


def test_a_product_is_halted_and_opened_one_stage_at_a_time(story: Story) -> None:
    assert isinstance(story.do(HaltProduct(product="linear", cause="late"))[0], ProductHalted)
    seen = [story_stage(story)]
    for stage in STAGES:
        assert isinstance(story.do(ResumeStage(product="linear", stage=stage))[0], ProductResumed)
        seen.append(story_stage(story))
    assert seen == list(Stage)


@pytest.mark.parametrize("stage", list(Stage))
def test_only_the_next_stage_may_follow_or_a_halt(story: Story, stage: Stage) -> None:
    if stage is not Stage.OPEN:
        at(story, stage)
    following = dict(zip(list(Stage)[:-1], STAGES, strict=True)).get(stage)
    for other in Stage:
        if other is not following:
            assert to(story, other) is Reason.STAGE_ILLEGAL
    again = story.refusal(HaltProduct(product="linear", cause="again"))
    assert again is (Reason.STAGE_ILLEGAL if stage is Stage.HALTED else None)


def test_a_product_that_nobody_knows_is_neither_halted_nor_opened(story: Story) -> None:
    assert story.refusal(HaltProduct(product="moon", cause="late")) is Reason.UNKNOWN_PRODUCT
    assert to(story, Stage.CANCEL_ONLY, "moon") is Reason.UNKNOWN_PRODUCT


def test_a_product_is_not_opened_as_long_as_one_of_its_perpetuals_has_no_mark(story: Story) -> None:
    at(story, Stage.POST_ONLY)
    story.wait(60_001)
    assert to(story, Stage.OPEN) is Reason.MARK_UNAVAILABLE
    story.mark(PERP, 100)
    assert to(story, Stage.OPEN) is Reason.MARK_UNAVAILABLE
    story.mark("ETH-PERP", 40)
    assert to(story, Stage.OPEN) is None


def test_spot_needs_no_mark_to_be_opened(story: Story) -> None:
    at(story, Stage.POST_ONLY, SPOT)
    story.wait(60_001)
    assert to(story, Stage.OPEN, SPOT) is None


def test_the_stages_are_those_of_before_after_a_restore(story: Story) -> None:
    at(story, Stage.CANCEL_ONLY)
    story.do(TakeSnapshot())
    halt(story, "island")
    story.do(RestoreSnapshot(), Crash(), Restart())
    assert [story_stage(story, name) for name in ("linear", "island", SPOT)] == [
        Stage.CANCEL_ONLY,
        Stage.HALTED,
        Stage.OPEN,
    ]


# What a stage allows ------------------------------------------------------------------------------------------------

HALTED = Reason.PRODUCT_HALTED
WHAT_STAGES_ALLOW: list[tuple[Stage, dict[str, Reason | None]]] = [
    (
        Stage.HALTED,
        {"limit": HALTED, "post-only": HALTED, "amend": HALTED, "cancel": HALTED, "cancel all": HALTED},
    ),
    (
        Stage.CANCEL_ONLY,
        {"limit": HALTED, "post-only": HALTED, "amend": HALTED, "cancel": None, "cancel all": None},
    ),
    (
        Stage.POST_ONLY,
        {"limit": HALTED, "post-only": None, "amend": None, "cancel": None, "cancel all": None},
    ),
    (Stage.OPEN, {"limit": None, "post-only": None, "amend": None, "cancel": None, "cancel all": None}),
]


@pytest.mark.parametrize(("stage", "answers"), WHAT_STAGES_ALLOW, ids=[str(stage) for stage, _ in WHAT_STAGES_ALLOW])
def test_a_stage_allows_what_it_says(story: Story, stage: Stage, answers: dict[str, Reason | None]) -> None:
    at(story, stage)
    commands: dict[str, Command] = {
        "limit": story.order(Side.BUY, "alice", "x", 1, 100, PERP),
        "post-only": story.order(Side.BUY, "alice", "y", 1, 100, PERP, post_only=True),
        "amend": amend("alice", "linear", 9, 98),
        "cancel": CancelOrder(client="alice", order="linear"),
        "cancel all": CancelAll(client="alice", market=PERP),
    }
    assert {name: story.refusal(command) for name, command in commands.items()} == answers


def test_in_the_post_only_stage_nothing_trades(story: Story) -> None:
    at(story, Stage.POST_ONLY)
    crossing = story.order(Side.BUY, "alice", "x", 1, 110, PERP, post_only=True)
    assert story.refusal(crossing) is Reason.POST_ONLY_WOULD_TAKE
    assert story.refusal(amend("alice", "linear", 10, 110)) is Reason.POST_ONLY_WOULD_TAKE
    assert story.refusal(amend("alice", "linear", 10, 109)) is None


@pytest.mark.parametrize("stage", list(Stage)[:-1])
def test_funding_and_liquidation_wait_until_a_product_is_open(story: Story, stage: Stage) -> None:
    at(story, stage)
    assert story.refusal(SettleFunding(market=PERP, period=1, rate_ppm=1)) is Reason.PRODUCT_HALTED
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.PRODUCT_HALTED


def test_the_size_of_an_order_is_looked_at_after_the_stage_and_its_market_before(story: Story) -> None:
    halt(story)
    assert story.refusal(story.order(Side.BUY, "alice", "x", 0, 100, PERP)) is Reason.PRODUCT_HALTED
    assert story.refusal(story.order(Side.BUY, "alice", "x", 0, 100, "NOPE")) is Reason.UNKNOWN_MARKET
    assert story.refusal(CancelOrder(client="alice", order="nope")) is Reason.UNKNOWN_ORDER
    assert story.refusal(amend("alice", "linear", 0, 100)) is Reason.SIZE_NOT_POSITIVE


# What a halt leaves alone -------------------------------------------------------------------------------------------


def test_a_halt_changes_nothing_but_the_stage(story: Story) -> None:
    before = story.view
    events = story.do(HaltProduct(product="linear", cause="late"))
    after = story.view
    assert [type(event) for event in events] == [ProductHalted]
    assert (after.orders, after.balances, after.positions) == (before.orders, before.balances, before.positions)
    for stage in STAGES:
        story.do(ResumeStage(product="linear", stage=stage))
    assert (story.view.orders, story.view.stages) == (before.orders, before.stages)


def test_the_halt_of_one_product_leaves_the_others_open(story: Story) -> None:
    """binance-um-2025-08-29: spot goes on while the margined futures are halted."""
    halt(story)
    assert story.refusal(story.order(Side.SELL, "dave", "s", 1, 100, "BTC-USD")) is None
    assert story.left("alice", "spot") is None
    assert story.refusal(story.order(Side.SELL, "dave", "i", 10, 40, "ETH-ISLE")) is None
    assert story.position("alice", "ETH-ISLE") is not None
    assert story.refusal(SettleFunding(market="ETH-ISLE", period=1, rate_ppm=1)) is None
    assert story.refusal(Liquidate(client="alice", product="island")) is Reason.NOT_BELOW_MAINTENANCE
    assert story.refusal(CancelAll(client="alice", market=PERP)) is Reason.PRODUCT_HALTED
    assert story.refusal(CancelAll(client="alice")) is Reason.NOTHING_TO_CANCEL


def test_cancelling_everywhere_passes_over_the_product_that_is_halted(story: Story) -> None:
    halt(story)
    begun = len(story.told)
    story.do(CancelAll(client="alice"))
    assert [name for name, _ in cancelled(story, begun)] == ["island", "spot"]
    assert story.left("alice", "linear") == 10


@pytest.mark.parametrize("stage", list(Stage))
def test_a_lost_session_and_a_time_that_is_up_cancel_orders_at_every_stage(story: Story, stage: Stage) -> None:
    gone = Conditions(cancel_on_disconnect=True)
    timed = Conditions(expires_ms=story.time_ms + 500)
    story.buy("alice", "gone", 1, 90, PERP, conditions=gone)
    story.buy("alice", "timed", 1, 90, PERP, time_in_force=TimeInForce.GTT, conditions=timed)
    if stage is not Stage.OPEN:
        at(story, stage)
    begun = len(story.told)
    story.do(DisconnectClient(client="alice"))
    story.wait(500)
    assert cancelled(story, begun) == [("gone", CancelReason.DISCONNECTED), ("timed", CancelReason.EXPIRED)]


def test_a_price_that_comes_back_during_a_halt_triggers_nothing_and_one_that_stays_does(story: Story) -> None:
    for name, price in (("near", 105), ("far", 120)):
        trigger = Trigger(by=TriggerBy.MARK, when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(price))
        story.buy("alice", name, 1, 90, PERP, conditions=Conditions(trigger=trigger))
    halt(story)
    story.mark(PERP, 125)
    story.mark(PERP, 106)
    assert [stop.order for stop in story.view.stops] == ["near", "far"]
    for stage in STAGES:
        story.do(ResumeStage(product="linear", stage=stage))
    assert [stop.order for stop in story.view.stops] == ["far"]
    assert story.left("alice", "near") == 1


def test_a_product_stays_halted_through_a_halt_of_the_whole_venue(story: Story) -> None:
    halt(story)
    story.do(SetPhase(phase=Phase.HALTED))
    assert to(story, Stage.CANCEL_ONLY) is None
    story.do(*(SetPhase(phase=phase) for phase in (Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN)))
    assert story_stage(story) is Stage.CANCEL_ONLY
    assert story.refusal(story.order(Side.BUY, "alice", "x", 1, 90, PERP)) is Reason.PRODUCT_HALTED
