"""Loans: out of what is in the pool, secured by the cross-margin account, with interest that nobody loses."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from holdfast.stories import Story
from holdfast_model.vocabulary import (
    AccrueInterest,
    Amount,
    Borrow,
    Borrowed,
    Bucket,
    CauseKind,
    Command,
    Crash,
    CrashPoint,
    EntryPosted,
    Events,
    FundHouse,
    InterestAccrued,
    Reason,
    Repay,
    Restart,
    RestoreSnapshot,
    TakeSnapshot,
)

FREE, BORROWED = Bucket.FREE, Bucket.BORROWED
Check = Callable[[Story, Command, list[tuple[Reason, dict[str, object]]]], None]


@pytest.fixture(autouse=True)
def pool(story: Story) -> None:
    """3,000 USD and 200 BTC to lend; at most 2,000 USD and 150 BTC to one client."""
    for asset, amount in (("USD", 3_000), ("BTC", 200)):
        story.do(FundHouse(account="@lending", asset=asset, amount=Amount(amount), transaction=f"pool-{asset}"))


def borrow(client: str, request: str, amount: int, asset: str = "USD") -> Borrow:
    return Borrow(client=client, request=request, asset=asset, amount=Amount(amount))


def repay(client: str, request: str, amount: int, asset: str = "USD") -> Repay:
    return Repay(client=client, request=request, asset=asset, amount=Amount(amount))


def interest(period: int, rate: int, asset: str = "USD") -> AccrueInterest:
    return AccrueInterest(asset=asset, period=period, rate_ppm=rate)


def entries(events: Events, kind: CauseKind) -> list[dict[tuple[str, Bucket], int]]:
    return [
        {(line.account, line.bucket): line.amount for line in event.postings}
        for event in events
        if isinstance(event, EntryPosted) and event.cause_kind is kind
    ]


def owed(story: Story, client: str, asset: str = "USD") -> int:
    return -story.amount(client, BORROWED, asset)


# Borrowing ----------------------------------------------------------------------------------------------------------


def test_a_loan_comes_out_of_the_pool_into_the_spot_wallet_and_is_owed(story: Story) -> None:
    story.pledge("alice", "linear", USD=1_000)
    events = story.do(borrow("alice", "loan", 500))
    assert isinstance(events[0], Borrowed)
    assert entries(events, CauseKind.BORROW) == [
        {
            ("@lending", FREE): -500,
            ("alice", FREE): 500,
            ("alice", BORROWED): -500,
            ("@lending", BORROWED): 500,
        }
    ]
    assert (story.amount("alice", FREE, "USD"), owed(story, "alice")) == (9_500, 500)


# What is owed must be covered, and a fifth of it besides; a BTC unit of debt counts for 10, one of collateral for 9.
@pytest.mark.parametrize(
    ("asset", "amount", "needed"), [("USD", 1_000, 1_200), ("USD", 1_001, 1_202), ("BTC", 50, 600)]
)
def test_a_loan_is_refused_by_one_unit_of_the_collateral_that_it_needs(
    story: Story, asset: str, amount: int, needed: int
) -> None:
    story.pledge("alice", "linear", USD=needed - 1)
    assert story.refusal(borrow("alice", "x", amount, asset)) is Reason.INSUFFICIENT_MARGIN
    story.pledge("alice", "linear", USD=1)
    assert story.refusal(borrow("alice", "x", amount, asset)) is None


def test_collateral_in_an_isolated_account_secures_no_loan(story: Story) -> None:
    story.pledge("alice", "island", USD=5_000)
    assert story.refusal(borrow("alice", "x", 1)) is Reason.INSUFFICIENT_MARGIN


def test_loans_are_refused_in_this_order(story: Story) -> None:
    story.pledge("bob", "linear", USD=5_000)
    story.do(borrow("bob", "most", 1_500))
    story.pledge("alice", "linear", USD=1_200, BTC=1)
    story.do(borrow("alice", "used", 10), repay("alice", "back", 10))
    story.wait(60_001)
    command = borrow("nobody", "used", 0, "DOGE")
    for reason, repair in (
        (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
        (Reason.UNKNOWN_ASSET, {"asset": "ETH"}),
        (Reason.AMOUNT_NOT_POSITIVE, {"amount": 2_001}),
        (Reason.DUPLICATE_REQUEST, {"request": "new"}),
        (Reason.CREDIT_LIMIT, {"asset": "USD"}),
        (Reason.CREDIT_LIMIT, {"amount": 1_501}),
        (Reason.POOL_EXHAUSTED, {"amount": 1_500}),
    ):
        assert story.refusal(command) is reason
        command = replace(command, **repair)
    assert story.refusal(command) is Reason.MARK_UNAVAILABLE
    story.mark("BTC-USD", 100)
    assert story.refusal(command) is Reason.INSUFFICIENT_MARGIN
    assert story.refusal(replace(command, amount=Amount(1_000))) is None


def test_interest_counts_against_the_credit_and_a_repayment_makes_room(story: Story) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.do(borrow("alice", "a", 1_990), interest(1, 4_000))
    assert owed(story, "alice") == 1_998  # 7.96, rounded up
    assert story.refusal(borrow("alice", "b", 3)) is Reason.CREDIT_LIMIT
    assert story.refusal(borrow("alice", "b", 2)) is None
    story.do(repay("alice", "c", 100))
    assert story.refusal(borrow("alice", "d", 101)) is Reason.CREDIT_LIMIT
    assert story.refusal(borrow("alice", "d", 100)) is None


# Interest -----------------------------------------------------------------------------------------------------------


def test_interest_is_rounded_up_and_its_whole_part_is_owed_to_the_pool_the_rest_to_rounding(story: Story) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.pledge("bob", "linear", USD=5_000)
    story.pledge("carol", "linear", USD=5_000)
    story.do(borrow("bob", "x", 155), borrow("alice", "x", 1_500), borrow("carol", "x", 1))
    events = story.do(interest(1, 10_000))
    assert isinstance(events[0], InterestAccrued)
    assert entries(events, CauseKind.INTEREST) == [
        {("alice", BORROWED): -15, ("@lending", BORROWED): 15},
        {("bob", BORROWED): -2, ("@lending", BORROWED): 1, ("@rounding", BORROWED): 1},
        {("carol", BORROWED): -1, ("@rounding", BORROWED): 1},
    ]
    assert [owed(story, client) for client in ("alice", "bob", "carol", "dave")] == [1_515, 157, 2, 0]


def test_interest_is_charged_on_interest_and_once_a_period(story: Story) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.do(borrow("alice", "x", 1_000), interest(1, 100_000), interest(2, 100_000))
    assert owed(story, "alice") == 1_210
    assert story.refusal(interest(2, 100_000)) is Reason.PERIOD_NOT_NEXT
    assert owed(story, "alice") == 1_210


def test_interest_is_refused_in_this_order(story: Story, first_broken_rule_is_the_reason: Check) -> None:
    first_broken_rule_is_the_reason(
        story,
        interest(2, 1_000_001, "ETH"),
        [
            (Reason.UNKNOWN_ASSET, {"asset": "USD"}),
            (Reason.RATE_OUT_OF_BOUNDS, {"rate_ppm": -1}),
            (Reason.RATE_OUT_OF_BOUNDS, {"rate_ppm": 1_000_000}),
            (Reason.PERIOD_NOT_NEXT, {"period": 0}),
            (Reason.PERIOD_NOT_NEXT, {"period": 1}),
        ],
    )


def test_each_asset_has_periods_of_its_own(story: Story) -> None:
    story.do(interest(1, 5), interest(2, 5))
    assert story.refusal(interest(2, 5, "BTC")) is Reason.PERIOD_NOT_NEXT
    assert story.refusal(interest(1, 5, "BTC")) is None


def test_a_debt_is_the_same_after_a_restore_and_an_interest_whose_answer_was_lost_is_charged_once(
    story: Story,
) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.do(borrow("alice", "x", 1_000), TakeSnapshot(), interest(1, 10_000), RestoreSnapshot())
    assert owed(story, "alice") == 1_010
    story.do(Crash(in_flight=interest(2, 10_000), point=CrashPoint.AFTER_JOURNAL), Restart())
    assert owed(story, "alice") == 1_021
    assert story.refusal(interest(2, 10_000)) is Reason.PERIOD_NOT_NEXT
    assert story.refusal(borrow("alice", "x", 1)) is Reason.DUPLICATE_REQUEST


# Repaying -----------------------------------------------------------------------------------------------------------


def test_a_repayment_goes_to_the_pool_first_and_then_to_rounding(story: Story) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.do(borrow("alice", "x", 155), interest(1, 10_000))
    events = story.do(repay("alice", "y", 156))
    assert entries(events, CauseKind.REPAY) == [
        {
            ("alice", FREE): -156,
            ("alice", BORROWED): 156,
            ("@lending", FREE): 156,
            ("@lending", BORROWED): -156,
        }
    ]
    events = story.do(repay("alice", "z", 1))
    assert entries(events, CauseKind.REPAY) == [
        {
            ("alice", FREE): -1,
            ("alice", BORROWED): 1,
            ("@rounding", FREE): 1,
            ("@rounding", BORROWED): -1,
        }
    ]
    assert owed(story, "alice") == 0
    assert story.amount("@lending", FREE, "USD") == 3_001


def test_repayments_are_refused_in_this_order(story: Story, first_broken_rule_is_the_reason: Check) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.do(borrow("alice", "used", 2_000))
    story.do(story.transfer("alice", "USD", 6_999, "spot", "linear"))
    first_broken_rule_is_the_reason(
        story,
        repay("nobody", "used", 0, "DOGE"),
        [
            (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
            (Reason.UNKNOWN_ASSET, {"asset": "ETH"}),
            (Reason.AMOUNT_NOT_POSITIVE, {"amount": 2_001}),
            (Reason.DUPLICATE_REQUEST, {"request": "new"}),
            (Reason.AMOUNT_ABOVE_DEBT, {"asset": "USD"}),
            (Reason.AMOUNT_ABOVE_DEBT, {"amount": 2_000}),
            (Reason.INSUFFICIENT_FUNDS, {"amount": 1}),
        ],
    )


def test_what_was_repaid_can_be_lent_again(story: Story) -> None:
    story.pledge("alice", "linear", USD=5_000)
    story.pledge("bob", "linear", USD=5_000)
    story.do(borrow("alice", "x", 2_000), borrow("bob", "x", 1_000))
    assert story.refusal(borrow("bob", "y", 1)) is Reason.POOL_EXHAUSTED
    story.do(repay("alice", "y", 1))
    assert story.refusal(borrow("bob", "y", 1)) is None
