"""Deposits, withdrawals and the phases of the venue."""

import pytest
from msgspec.structs import replace

from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    OUTSIDE,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    AuctionUncrossed,
    Bucket,
    CancelOrder,
    Command,
    CreditDeposit,
    DepositCredited,
    EntryPosted,
    Event,
    Market,
    PayWithdrawal,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceTicks,
    Reason,
    RefundWithdrawal,
    Rejected,
    RequestWithdrawal,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice", "bob"),
)
DEPOSIT = CreditDeposit(client="alice", asset="USD", amount=Amount(100), transaction="t")
REQUEST = RequestWithdrawal(client="alice", withdrawal="w", asset="USD", amount=Amount(30))
PAY, REFUND = PayWithdrawal(client="alice", withdrawal="w"), RefundWithdrawal(client="alice", withdrawal="w")
PLACE = PlaceOrder(
    client="alice",
    order="1",
    market="M",
    side=Side.BUY,
    size_lots=SizeLots(7),
    price_ticks=PriceTicks(10),
    post_only=True,
)


@pytest.fixture
def venue() -> Venue:
    """Alice has 100 USD."""
    venue = Venue(SETUP)
    venue.apply(DEPOSIT)
    return venue


def usd(venue: Venue) -> tuple[int, int, int]:
    """Alice's free and held USD, and what came from outside."""
    amount = venue.ledger.amount
    return (
        amount("alice", Bucket.FREE, "USD"),
        amount("alice", Bucket.HELD, "USD"),
        -amount(OUTSIDE, Bucket.FREE, "USD"),
    )


def refused(events: tuple[Event, ...]) -> Reason | None:
    return events[0].reason if isinstance(events[0], Rejected) else None


def test_a_deposit_is_credited_from_outside_once_whoever_is_named_the_second_time(venue: Venue) -> None:
    assert usd(venue) == (100, 0, 100)
    for client, asset, amount in (("alice", "USD", 100), ("bob", "USD", 100), ("alice", "BTC", 1)):
        again = CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction="t")
        assert venue.apply(again) == (Rejected(reason=Reason.DUPLICATE_DEPOSIT),)
    assert usd(venue) == (100, 0, 100)


def test_a_deposit_tells_its_credit_and_then_its_entry() -> None:
    events = Venue(SETUP).apply(DEPOSIT)
    assert [type(event) for event in events] == [DepositCredited, EntryPosted]


@pytest.mark.parametrize(
    ("settled", "told", "left"),
    [(PAY, WithdrawalPaid, (70, 0, 70)), (REFUND, WithdrawalRefunded, (100, 0, 100))],
)
def test_a_withdrawal_holds_its_amount_and_ends_paid_or_refunded_but_never_both(
    venue: Venue, settled: Command, told: type[WithdrawalPaid | WithdrawalRefunded], left: tuple[int, int, int]
) -> None:
    assert isinstance(venue.apply(REQUEST)[0], WithdrawalRequested)
    assert usd(venue) == (70, 30, 100)
    assert venue.apply(settled)[0] == told(client="alice", withdrawal="w", asset="USD", amount=Amount(30))
    assert usd(venue) == left
    for again in (PAY, REFUND):
        assert refused(venue.apply(again)) is Reason.WITHDRAWAL_NOT_OPEN
    assert refused(venue.apply(REQUEST)) is Reason.DUPLICATE_WITHDRAWAL
    assert usd(venue) == left


def test_what_is_held_for_an_order_or_a_withdrawal_cannot_be_withdrawn(venue: Venue) -> None:
    venue.apply(PLACE)
    assert usd(venue) == (30, 70, 100)
    more = RequestWithdrawal(client="alice", withdrawal="more", asset="USD", amount=Amount(31))
    assert refused(venue.apply(more)) is Reason.INSUFFICIENT_FUNDS
    assert refused(venue.apply(REQUEST)) is None
    assert usd(venue) == (0, 100, 100)
    one = RequestWithdrawal(client="alice", withdrawal="one", asset="USD", amount=Amount(1))
    assert refused(venue.apply(one)) is Reason.INSUFFICIENT_FUNDS


def test_one_client_s_withdrawal_is_not_another_s(venue: Venue) -> None:
    venue.apply(REQUEST)
    assert refused(venue.apply(PayWithdrawal(client="bob", withdrawal="w"))) is Reason.UNKNOWN_WITHDRAWAL
    venue.apply(CreditDeposit(client="bob", asset="USD", amount=Amount(9), transaction="t2"))
    same_id = RequestWithdrawal(client="bob", withdrawal="w", asset="USD", amount=Amount(9))
    assert refused(venue.apply(same_id)) is None


# Phases ------------------------------------------------------------------------------------------------------------

ROUTES = {
    Phase.OPEN: [],
    Phase.CANCEL_ONLY: [Phase.CANCEL_ONLY],
    Phase.POST_ONLY: [Phase.CANCEL_ONLY, Phase.POST_ONLY],
    Phase.HALTED: [Phase.HALTED],
    Phase.MAINTENANCE: [Phase.CANCEL_ONLY, Phase.MAINTENANCE],
    Phase.AUCTION: [Phase.AUCTION],
    Phase.CLOSED: [Phase.AUCTION, Phase.CLOSED],
}
NEXT = {
    Phase.CLOSED: {Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED},
    Phase.AUCTION: {Phase.OPEN, Phase.CLOSED, Phase.CANCEL_ONLY, Phase.HALTED},
    Phase.OPEN: {Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED},
    Phase.POST_ONLY: {Phase.AUCTION, Phase.OPEN, Phase.CANCEL_ONLY, Phase.HALTED},
    Phase.CANCEL_ONLY: {Phase.AUCTION, Phase.MAINTENANCE, Phase.POST_ONLY, Phase.HALTED},
    Phase.HALTED: {Phase.CANCEL_ONLY},
    Phase.MAINTENANCE: {Phase.POST_ONLY, Phase.CANCEL_ONLY, Phase.HALTED},
}


def enter(venue: Venue, phase: Phase) -> None:
    for step in ROUTES[phase]:
        assert isinstance(venue.apply(SetPhase(phase=step))[-1], PhaseChanged)


@pytest.mark.parametrize("before", list(Phase))
@pytest.mark.parametrize("after", list(Phase))
def test_the_phase_changes_only_as_published(venue: Venue, before: Phase, after: Phase) -> None:
    enter(venue, before)
    events = venue.apply(SetPhase(phase=after))
    if after in NEXT[before]:
        uncrossed = before is Phase.AUCTION and after in {Phase.OPEN, Phase.CLOSED}
        nothing = AuctionUncrossed(market="M", price_ticks=None, volume_lots=SizeLots(0), imbalance_lots=SizeLots(0))
        assert events == ((nothing,) if uncrossed else ()) + (PhaseChanged(before=before, after=after),)
        assert venue.phase is after
    else:
        assert events == (Rejected(reason=Reason.TRANSITION_ILLEGAL),)
        assert venue.phase is before


ALLOWED = {
    Phase.OPEN: {"takes", "makes", "cancel", "amend", "deposit", "request", "pay", "operator"},
    Phase.POST_ONLY: {"makes", "cancel", "amend", "deposit", "request", "pay", "operator"},
    Phase.CANCEL_ONLY: {"cancel", "deposit", "request", "pay", "operator"},
    Phase.HALTED: {"deposit", "operator"},
    Phase.MAINTENANCE: {"operator"},
    Phase.AUCTION: {"takes", "cancel", "deposit", "request", "pay", "operator"},
    Phase.CLOSED: {"cancel", "deposit", "request", "pay", "operator"},
}
TRIED: dict[str, Command] = {
    "takes": PlaceOrder(
        client="alice",
        order="2",
        market="M",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(1),
    ),
    "makes": PlaceOrder(
        client="alice",
        order="2",
        market="M",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(1),
        post_only=True,
    ),
    "cancel": CancelOrder(client="alice", order="1"),
    "amend": AmendOrder(client="alice", order="1", size_lots=SizeLots(1), price_ticks=PriceTicks(1)),
    "deposit": CreditDeposit(client="bob", asset="USD", amount=Amount(1), transaction="t9"),
    "request": RequestWithdrawal(client="alice", withdrawal="v", asset="USD", amount=Amount(1)),
    "pay": PayWithdrawal(client="alice", withdrawal="w"),
    "operator": AnnounceMaintenance(begins_ms=0),
}


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("tried", list(TRIED))
def test_what_a_phase_forbids_is_refused_and_what_it_allows_takes_effect(
    venue: Venue, phase: Phase, tried: str
) -> None:
    for command in (
        PlaceOrder(
            client="alice",
            order="1",
            market="M",
            side=Side.BUY,
            size_lots=SizeLots(1),
            price_ticks=PriceTicks(2),
        ),
        REQUEST,
    ):
        assert refused(venue.apply(command)) is None
    enter(venue, phase)
    forbids = (
        Reason.AUCTION_TAKES_LIMIT_ORDERS if (phase, tried) == (Phase.AUCTION, "makes") else Reason.PHASE_FORBIDS
    )
    assert refused(venue.apply(TRIED[tried])) is (None if tried in ALLOWED[phase] else forbids)


def test_a_change_of_phase_leaves_orders_balances_and_withdrawals_as_they_are(venue: Venue) -> None:
    venue.apply(PLACE)
    venue.apply(REQUEST)
    before = venue.state()
    enter(venue, Phase.MAINTENANCE)
    for phase in (Phase.POST_ONLY, Phase.OPEN):
        venue.apply(SetPhase(phase=phase))
    after = venue.state()
    assert after.phase is Phase.OPEN
    assert after.seq == before.seq + 4
    assert (after.balances, after.resting, after.withdrawals) == (before.balances, before.resting, before.withdrawals)


@pytest.mark.parametrize("end", [PAY, REFUND])
def test_a_withdrawal_that_is_over_still_says_where_it_was_to_go(venue: Venue, end: Command) -> None:
    venue.apply(replace(REQUEST, destination="home"))
    venue.apply(end)
    assert [withdrawal.destination for withdrawal in venue.state().withdrawals] == ["home"]
