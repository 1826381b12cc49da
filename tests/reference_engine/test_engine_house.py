"""House accounts: what the owner pays in, and promotions, which are bounded and paid out of what is there."""

from collections.abc import Callable

from holdfast.stories import Story
from holdfast_model.vocabulary import (
    Amount,
    Bucket,
    CauseKind,
    Command,
    Crash,
    CrashPoint,
    EntryPosted,
    FundHouse,
    GrantPromotion,
    HouseFunded,
    Phase,
    PromotionGranted,
    Reason,
    Restart,
    RestoreSnapshot,
    SetPhase,
    TakeSnapshot,
)

FREE = Bucket.FREE
Check = Callable[[Story, Command, list[tuple[Reason, dict[str, object]]]], None]


def pay(transaction: str, amount: int, asset: str = "USD", account: str = "@promotions") -> FundHouse:
    return FundHouse(account=account, asset=asset, amount=Amount(amount), transaction=transaction)


def grant(client: str, identifier: str, amount: int, asset: str = "USD") -> GrantPromotion:
    return GrantPromotion(client=client, asset=asset, amount=Amount(amount), grant=identifier)


def test_the_owner_pays_into_a_house_account_from_outside(story: Story) -> None:
    outside = story.amount("@outside", FREE, "USD")
    for account in ("@insurance", "@promotions", "@lending"):
        events = story.do(pay(f"to-{account[1:]}", 70, account=account))
        assert [type(event) for event in events] == [HouseFunded, EntryPosted]
        assert story.amount(account, FREE, "USD") == 70
    assert story.amount("@outside", FREE, "USD") == outside - 210


def test_payments_of_the_owner_are_refused_in_this_order(
    story: Story, first_broken_rule_is_the_reason: Check
) -> None:
    story.do(pay("used", 1))
    first_broken_rule_is_the_reason(
        story,
        pay("used", 0, "DOGE", "@fees"),
        [
            (Reason.UNKNOWN_ACCOUNT, {"account": "alice"}),
            (Reason.UNKNOWN_ACCOUNT, {"account": "@insurance"}),
            (Reason.UNKNOWN_ASSET, {"asset": "USD"}),
            (Reason.AMOUNT_NOT_POSITIVE, {"amount": 5}),
            (Reason.DUPLICATE_DEPOSIT, {"transaction": "new"}),
        ],
    )


def test_a_promotion_comes_out_of_the_promotions_account(story: Story) -> None:
    story.do(pay("p", 150))
    events = story.do(grant("alice", "g", 100))
    assert isinstance(events[0], PromotionGranted)
    assert isinstance(events[1], EntryPosted)
    assert events[1].cause_kind is CauseKind.PROMOTION
    assert (story.amount("@promotions", FREE, "USD"), story.amount("alice", FREE, "USD")) == (50, 10_100)


def test_promotions_are_refused_in_this_order(story: Story, first_broken_rule_is_the_reason: Check) -> None:
    story.do(pay("p", 100), grant("alice", "used", 1))
    first_broken_rule_is_the_reason(
        story,
        grant("nobody", "used", 0, "DOGE"),
        [
            (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
            (Reason.UNKNOWN_ASSET, {"asset": "ETH"}),
            (Reason.AMOUNT_NOT_POSITIVE, {"amount": 101}),
            (Reason.DUPLICATE_REQUEST, {"grant": "new"}),
            (Reason.HOUSE_LIMIT, {"asset": "USD"}),
            (Reason.HOUSE_LIMIT, {"amount": 100}),
            (Reason.INSUFFICIENT_FUNDS, {"amount": 99}),
        ],
    )


def test_620_000_won_entered_as_bitcoin_are_beyond_the_limit(story: Story) -> None:
    """bithumb-2026-02-06: what is granted is bounded by asset, whatever the account holds."""
    story.do(pay("p", 700_000, "BTC"))
    assert story.refusal(grant("alice", "g", 620_000, "BTC")) is Reason.HOUSE_LIMIT
    assert story.refusal(grant("alice", "g", 5, "BTC")) is None


def test_no_house_account_has_money_that_nobody_paid_in(story: Story) -> None:
    assert story.refusal(grant("alice", "g", 1)) is Reason.INSUFFICIENT_FUNDS
    story.do(pay("p", 1, account="@insurance"))
    assert story.refusal(grant("alice", "g", 1)) is Reason.INSUFFICIENT_FUNDS


def test_payments_and_grants_are_made_once_through_crashes_and_restores(story: Story) -> None:
    story.do(TakeSnapshot(), pay("p", 100), RestoreSnapshot())
    assert story.refusal(pay("p", 100)) is Reason.DUPLICATE_DEPOSIT
    story.do(Crash(in_flight=grant("alice", "g", 40), point=CrashPoint.AFTER_JOURNAL), Restart())
    assert story.refusal(grant("alice", "g", 40)) is Reason.DUPLICATE_REQUEST
    assert story.refusal(grant("bob", "g", 40)) is Reason.DUPLICATE_REQUEST
    assert story.amount("@promotions", FREE, "USD") == 60


def test_while_the_venue_is_halted_the_owner_pays_in_and_nobody_is_granted_anything(story: Story) -> None:
    story.do(SetPhase(phase=Phase.HALTED))
    assert story.refusal(pay("p", 100)) is None
    assert story.refusal(grant("alice", "g", 1)) is Reason.PHASE_FORBIDS
