"""Transfers between the spot wallet and margin accounts: when they are refused, and when they arrive."""

import pytest
from msgspec.structs import replace

from holdfast.stories import Story
from holdfast_model.vocabulary import (
    SPOT,
    Amount,
    Borrow,
    Bucket,
    Crash,
    CrashPoint,
    FundHouse,
    HaltProduct,
    Liquidate,
    Phase,
    Reason,
    Repay,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SetPhase,
    Stage,
    TakeSnapshot,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
)

FREE, HELD, COLLATERAL = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL
STAGES = (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN)


def transfer(  # noqa: PLR0917 - a transfer, as people say it
    client: str, request: str, amount: int, source: str, target: str, asset: str = "USD"
) -> TransferMargin:
    return TransferMargin(
        client=client, request=request, asset=asset, amount=Amount(amount), source=source, target=target
    )


def halt(story: Story, product: str) -> None:
    assert story.refusal(HaltProduct(product=product, cause="margin is late")) is None


def resume(story: Story, product: str) -> list[str]:
    """Open a product; the requests that arrived, in their order."""
    before = len(story.told)
    for stage in STAGES:
        assert story.refusal(ResumeStage(product=product, stage=stage)) is None
    return [event.request for event in story.told[before:] if isinstance(event, TransferCompleted)]


def wallets(story: Story, client: str, asset: str = "USD") -> tuple[int, int, int, int]:
    """What is free, held, in the cross-margin account, and in the isolated one."""
    return (
        story.amount(client, FREE, asset),
        story.amount(client, HELD, asset),
        story.amount(client, COLLATERAL, asset),
        story.amount(f"{client}@island", COLLATERAL, asset),
    )


def long(story: Story, client: str, size: int, market: str = "BTC-PERP", price: int = 100) -> None:
    product = next(item.product for item in story.setup.markets if item.market == market)
    story.pledge("dave", product, USD=2_000)
    story.buy(client, f"buy-{market}", size, price, market)
    story.sell("dave", f"sell-{market}", size, price, market)


def test_a_transfer_between_open_products_arrives_at_once(story: Story) -> None:
    events = story.do(transfer("alice", "in", 300, SPOT, "linear"))
    kinds = [type(event) for event in events]
    assert kinds.index(TransferStarted) < kinds.index(TransferCompleted)
    assert wallets(story, "alice") == (9_700, 0, 300, 0)
    story.do(transfer("alice", "on", 100, "linear", "island"))
    assert wallets(story, "alice") == (9_700, 0, 200, 100)
    story.do(transfer("alice", "out", 60, "island", SPOT), transfer("alice", "out2", 200, "linear", SPOT))
    assert wallets(story, "alice") == (9_960, 0, 0, 40)
    assert not story.view.transfers


def test_transfers_are_refused_in_this_order(story: Story) -> None:
    story.do(transfer("alice", "used", 41, SPOT, "island"))
    long(story, "alice", 10, "ETH-ISLE", 40)  # needs 40, and the fee was 1
    halt(story, "island")
    story.wait(60_001)
    command = transfer("nobody", "used", 0, "moon", "sun", "DOGE")
    repairs: list[tuple[Reason, dict[str, object]]] = [
        (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
        (Reason.UNKNOWN_ASSET, {"asset": "ETH"}),
        (Reason.AMOUNT_NOT_POSITIVE, {"amount": 41}),
        (Reason.UNKNOWN_PRODUCT, {"source": "island"}),
        (Reason.UNKNOWN_PRODUCT, {"target": "island"}),
        (Reason.TRANSFER_ILLEGAL, {"target": "linear", "asset": "USD"}),
        (Reason.DUPLICATE_REQUEST, {"request": "new"}),
    ]
    for reason, repair in repairs:
        assert story.refusal(command) is reason
        command = replace(command, **repair)
    assert story.refusal(command) is Reason.PRODUCT_HALTED
    story.mark("ETH-ISLE", 40)
    resume(story, "island")
    story.wait(60_001)
    assert story.refusal(command) is Reason.INSUFFICIENT_FUNDS
    command = replace(command, amount=Amount(1))
    assert story.refusal(command) is Reason.MARK_UNAVAILABLE
    story.mark("ETH-ISLE", 40)
    assert story.refusal(command) is Reason.INSUFFICIENT_MARGIN
    story.mark("ETH-ISLE", 41)
    assert story.refusal(command) is None  # 40 and a profit of 10, of which 41 are needed


@pytest.mark.parametrize(
    ("asset", "source", "target"),
    [
        ("USD", SPOT, SPOT),
        ("USD", "linear", "linear"),
        ("USD", "island", "island"),
        ("BTC", SPOT, "island"),
        ("BTC", "linear", "island"),
    ],
)
def test_a_transfer_to_where_it_comes_from_or_of_what_does_not_count_there_is_illegal(
    story: Story, asset: str, source: str, target: str
) -> None:
    story.pledge("alice", "linear", USD=10, BTC=10)
    story.pledge("alice", "island", USD=10)
    assert story.refusal(transfer("alice", "x", 1, source, target, asset)) is Reason.TRANSFER_ILLEGAL
    assert story.refusal(transfer("alice", "x", 1, "linear", SPOT, "BTC")) is None


def test_an_id_is_used_up_for_transfers_loans_and_repayments_of_one_client_alike(story: Story) -> None:
    story.do(FundHouse(account="@lending", asset="USD", amount=Amount(500), transaction="pool"))
    story.pledge("alice", "linear", USD=1_000)
    story.do(transfer("alice", "a", 1, SPOT, "linear"))
    borrow = Borrow(client="alice", request="a", asset="USD", amount=Amount(10))
    repay = Repay(client="alice", request="b", asset="USD", amount=Amount(10))
    assert story.refusal(borrow) is Reason.DUPLICATE_REQUEST
    assert story.refusal(replace(borrow, request="b")) is None
    assert story.refusal(repay) is Reason.DUPLICATE_REQUEST
    assert story.refusal(transfer("alice", "b", 1, SPOT, "linear")) is Reason.DUPLICATE_REQUEST
    assert story.refusal(transfer("bob", "a", 1, SPOT, "linear")) is None


def test_collateral_leaves_an_account_down_to_its_initial_margin_with_open_orders_and_no_further(
    story: Story,
) -> None:
    story.pledge("alice", "linear", USD=1_500)
    long(story, "alice", 50)  # the fee was 1; 500 are needed
    story.buy("alice", "more", 30, 100, "BTC-PERP")  # 500 more are needed, and a fee of 2 may be lost
    assert story.refusal(transfer("alice", "x", 498, "linear", SPOT)) is Reason.INSUFFICIENT_MARGIN
    assert story.refusal(transfer("alice", "x", 497, "linear", SPOT)) is None


def test_an_account_without_positions_orders_and_debts_needs_no_mark(story: Story) -> None:
    story.pledge("alice", "linear", USD=100, BTC=10)
    story.wait(60_001)
    assert story.refusal(transfer("alice", "x", 10, "linear", SPOT, "BTC")) is None


@pytest.mark.parametrize("engagement", ["order", "debt"])
def test_an_open_order_or_a_debt_is_enough_to_need_a_mark(story: Story, engagement: str) -> None:
    story.do(FundHouse(account="@lending", asset="BTC", amount=Amount(100), transaction="pool"))
    story.pledge("alice", "linear", USD=1_000)
    if engagement == "order":
        story.buy("alice", "o", 1, 100, "BTC-PERP")
    else:
        story.do(Borrow(client="alice", request="loan", asset="BTC", amount=Amount(1)))
    story.wait(60_001)
    assert story.refusal(transfer("alice", "x", 1, "linear", SPOT)) is Reason.MARK_UNAVAILABLE


# Halted products ----------------------------------------------------------------------------------------------------


def test_a_transfer_into_a_halted_product_is_held_and_arrives_when_it_is_open_and_not_before(story: Story) -> None:
    halt(story, "linear")
    story.do(
        transfer("bob", "z", 20, SPOT, "linear"),
        transfer("alice", "b", 300, SPOT, "linear"),
        transfer("alice", "a", 5, SPOT, "linear"),
        transfer("alice", "c", 7, SPOT, "island"),
    )
    assert wallets(story, "alice") == (9_688, 305, 0, 7)
    assert [(item.client, item.request) for item in story.view.transfers] == [
        ("alice", "a"),
        ("alice", "b"),
        ("bob", "z"),
    ]
    for stage in STAGES[:2]:
        story.do(ResumeStage(product="linear", stage=stage))
        assert wallets(story, "alice") == (9_688, 305, 0, 7)
    events = story.do(ResumeStage(product="linear", stage=Stage.OPEN))
    assert [event.request for event in events if isinstance(event, TransferCompleted)] == ["z", "b", "a"]
    assert wallets(story, "alice") == (9_688, 0, 305, 7)
    assert not story.view.transfers
    halt(story, "linear")
    assert resume(story, "linear") == []


def test_a_transfer_out_of_a_halted_product_is_refused_and_one_into_halted_spot_waits(story: Story) -> None:
    story.pledge("alice", "linear", USD=100)
    halt(story, "linear")
    assert story.refusal(transfer("alice", "x", 10, "linear", SPOT)) is Reason.PRODUCT_HALTED
    resume(story, "linear")
    halt(story, SPOT)
    assert story.refusal(transfer("alice", "x", 10, SPOT, "linear")) is Reason.PRODUCT_HALTED
    assert story.refusal(transfer("alice", "x", 10, "linear", SPOT)) is None
    assert wallets(story, "alice") == (9_900, 10, 90, 0)
    assert resume(story, SPOT) == ["x"]
    assert wallets(story, "alice") == (9_910, 0, 90, 0)


def test_what_is_held_for_a_transfer_counts_in_no_account_and_stays_through_a_restore(story: Story) -> None:
    story.pledge("alice", "linear", USD=402)
    long(story, "alice", 40)
    halt(story, "linear")
    story.do(transfer("alice", "x", 200, SPOT, "linear"), TakeSnapshot())
    story.mark("BTC-PERP", 92)  # 81 are left, and 184 are needed
    story.do(RestoreSnapshot(), Crash(point=CrashPoint.BEFORE_JOURNAL), Restart())
    assert [item.request for item in story.view.transfers] == ["x"]
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.PRODUCT_HALTED
    assert resume(story, "linear") == ["x"]
    assert wallets(story, "alice") == (9_398, 0, 601, 0)
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.NOT_BELOW_MAINTENANCE


def test_a_transfer_whose_answer_was_lost_in_a_crash_is_made_once(story: Story) -> None:
    halt(story, "linear")
    request = transfer("alice", "x", 200, SPOT, "linear")
    story.do(Crash(in_flight=request, point=CrashPoint.AFTER_JOURNAL), Restart())
    assert story.refusal(request) is Reason.DUPLICATE_REQUEST
    assert resume(story, "linear") == ["x"]
    assert wallets(story, "alice") == (9_800, 0, 200, 0)


def test_transfers_are_made_in_an_open_or_post_only_venue(story: Story) -> None:
    story.do(SetPhase(phase=Phase.CANCEL_ONLY))
    assert story.refusal(transfer("alice", "x", 1, SPOT, "linear")) is Reason.PHASE_FORBIDS
    story.do(SetPhase(phase=Phase.POST_ONLY))
    assert story.refusal(transfer("alice", "x", 1, SPOT, "linear")) is None
