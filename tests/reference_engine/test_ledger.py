"""The ledger by itself: entries balance per asset and overdraw nobody who has no credit, however many postings."""

import pytest

from holdfast_engine.ledger import Ledger, may_be_negative
from holdfast_model.vocabulary import CLEARING, OUTSIDE, Amount, Bucket, CauseKind, EntryPosted, Posting

FREE, HELD, COLLATERAL, BORROWED = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED

Line = tuple[str, Bucket, str, int]


def entry(*lines: Line) -> EntryPosted:
    """An entry with these postings."""
    return EntryPosted(
        cause_kind=CauseKind.DEPOSIT,
        cause="t",
        postings=tuple(Posting(account=a, bucket=b, asset=c, amount=Amount(d)) for a, b, c, d in lines),
    )


@pytest.fixture
def ledger() -> Ledger:
    """Alice has 100 USD."""
    funded = Ledger()
    funded.post(entry((OUTSIDE, FREE, "USD", -100), ("alice", FREE, "USD", 100)))
    return funded


@pytest.mark.parametrize(
    "lines",
    [
        [("alice", FREE, "USD", -10), ("bob", FREE, "USD", 11)],
        [("alice", FREE, "USD", -10), ("bob", FREE, "BTC", 10)],
        [("alice", FREE, "USD", -10), ("bob", FREE, "USD", 6), ("@fees", FREE, "USD", 5)],
        [("alice", FREE, "USD", -10), ("bob", FREE, "USD", 10), ("bob", FREE, "BTC", 1)],
        [("alice", FREE, "USD", -1), ("bob", FREE, "BTC", 1), ("bob", FREE, "USD", 1), ("bob", HELD, "BTC", 1)],
        [("alice", FREE, "USD", 5)],
    ],
)
def test_an_entry_that_does_not_balance_in_each_asset_is_a_bug(ledger: Ledger, lines: list[Line]) -> None:
    with pytest.raises(AssertionError, match="unbalanced entry"):
        ledger.post(entry(*lines))


@pytest.mark.parametrize(
    "lines",
    [
        [("alice", FREE, "USD", -101), ("bob", FREE, "USD", 101)],
        [("bob", FREE, "USD", 101), ("alice", FREE, "USD", -101)],
        [("bob", FREE, "USD", 100), ("alice", FREE, "USD", -101), ("@fees", FREE, "USD", 1)],
        [("alice", HELD, "USD", -1), ("bob", FREE, "USD", 1)],
        [("@insurance", BORROWED, "USD", -1), ("@insurance", FREE, "USD", 1)],
    ],
)
def test_an_entry_that_overdraws_an_account_is_a_bug_wherever_the_posting_stands(
    ledger: Ledger, lines: list[Line]
) -> None:
    with pytest.raises(AssertionError, match="overdraft at"):
        ledger.post(entry(*lines))


def test_the_last_unit_may_be_moved(ledger: Ledger) -> None:
    ledger.post(entry(("alice", FREE, "USD", -100), ("alice", HELD, "USD", 100)))
    assert ledger.amount("alice", FREE, "USD") == 0
    assert ledger.amount("alice", HELD, "USD") == 100


def test_below_zero_are_only_the_outside_unsettled_profit_and_loss_and_clients_debts() -> None:
    assert may_be_negative((OUTSIDE, FREE, "USD"))
    assert may_be_negative((CLEARING, FREE, "USD"))
    assert may_be_negative(("alice", BORROWED, "USD"))
    assert not may_be_negative(("@lending", BORROWED, "USD"))
    assert not may_be_negative(("alice", FREE, "USD"))


def test_a_total_is_over_all_buckets_of_an_account_debts_included(ledger: Ledger) -> None:
    ledger.post(entry(("alice", FREE, "USD", -60), ("alice", HELD, "USD", 40), ("alice", COLLATERAL, "USD", 20)))
    ledger.post(entry(("alice", BORROWED, "USD", -7), ("alice", FREE, "USD", 7)))
    assert ledger.total("alice", "USD") == 100
    assert ledger.total("bob", "USD") == 0


def test_balances_are_in_order_and_leave_out_what_is_zero(ledger: Ledger) -> None:
    ledger.post(entry(("alice", FREE, "USD", -100), ("alice", HELD, "USD", 90), ("@fees", FREE, "USD", 10)))
    assert [(item.account, item.bucket, item.asset, item.amount) for item in ledger.balances()] == [
        ("@fees", FREE, "USD", 10),
        (OUTSIDE, FREE, "USD", -100),
        ("alice", HELD, "USD", 90),
    ]


def test_a_ledger_that_is_loaded_has_what_the_snapshot_holds_and_nothing_else(ledger: Ledger) -> None:
    shown = ledger.balances()
    other = Ledger()
    other.post(entry((OUTSIDE, FREE, "BTC", -5), ("carol", FREE, "BTC", 5)))
    other.load(shown)
    assert other.balances() == shown
