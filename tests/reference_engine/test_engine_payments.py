"""Payments out of custody: approved, broadcast, included, final; refunds, sweeps, limits and time locks."""

from collections.abc import Iterable, Iterator

import pytest
from msgspec.structs import replace

from holdfast.setups import CUSTODY_SETUP
from holdfast.signing_parties import SigningParties
from holdfast_engine.state import state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    NETWORK,
    OUTSIDE,
    AdvanceTime,
    Amount,
    ApproveWithdrawal,
    AssetAmount,
    AttestCustody,
    BroadcastPayment,
    Bucket,
    CauseKind,
    ChainReorganised,
    Command,
    EntryPosted,
    Event,
    FundHouse,
    MismatchFound,
    Payment,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentIntent,
    PaymentStatus,
    Phase,
    PhaseChanged,
    Reason,
    RefundWithdrawal,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    RestartSigning,
    SetPhase,
    SetProvider,
    Setup,
    SuspendAsset,
    SweepCompleted,
    SweepFunds,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)

REQUEST = RequestWithdrawal(
    client="alice", withdrawal="w", asset="USD", amount=Amount(3_000), destination="alice's own"
)
APPROVE = ApproveWithdrawal(client="alice", withdrawal="w")
REFUND = RefundWithdrawal(client="alice", withdrawal="w")
BROADCAST = BroadcastPayment(payment="alice/w")
INCLUDED = ReportPayment(payment="alice/w", transaction="t", height=3)
INTENT = PaymentIntent(
    payment="alice/w", asset="USD", amount=Amount(3_000), destination="alice's own", tier="hot", fee=Amount(15)
)
SWEEP = SweepFunds(sweep="s", asset="USD", amount=Amount(4_000), source="hot", target="cold")


class Desk(Venue):
    """A venue, the signers of its tiers beside it, and what each command told."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.parties = SigningParties(setup)
        self.told: list[tuple[Event, ...]] = []

    def apply(self, command: Command) -> tuple[Event, ...]:
        events = super().apply(command)
        self.told.append(events)
        self.parties.hear(events)
        return events


def block(height: int) -> ReportBlock:
    return ReportBlock(asset="USD", height=height)


def funded(setup: Setup) -> Desk:
    """Alice has 20,000 USD of which all is in the first tier; the network account has 60; the chain's height is 3."""
    venue = Desk(setup)
    deposit = ReportDeposit(asset="USD", transaction="d", client="alice", amount=Amount(20_000), height=1)
    house = FundHouse(account=NETWORK, asset="USD", amount=Amount(60), transaction="h")
    done(venue, block(1), deposit, house, block(3))
    return venue


@pytest.fixture
def venue() -> Desk:
    return funded(CUSTODY_SETUP)


def done(venue: Desk, *commands: Command) -> list[Event]:
    """All that commands of which none is refused tell."""
    events = [event for command in commands for event in venue.apply(command)]
    assert not [event for event in events if isinstance(event, Rejected)]
    return events


def refused(venue: Desk, command: Command) -> Reason | None:
    events = venue.apply(command)
    return events[0].reason if isinstance(events[0], Rejected) else None


def sign(venue: Desk, payment: str = "alice/w") -> None:
    """Let a payment that is approved be signed."""
    venue.parties.drive(payment, venue.apply)


def usd(venue: Desk) -> tuple[int, int, int]:
    """Alice's free and held USD, and what the two tiers hold."""
    amount = venue.ledger.amount
    tiers = venue.tier_holds("hot", "USD") + venue.tier_holds("cold", "USD")
    return amount("alice", Bucket.FREE, "USD"), amount("alice", Bucket.HELD, "USD"), tiers


def status(venue: Desk) -> tuple[WithdrawalStatus, PaymentStatus | None]:
    payment = venue.payments.get("alice/w")
    return venue.withdrawals["alice", "w"].status, None if payment is None else payment.status


def kinds(events: Iterable[Event]) -> list[type[Event] | CauseKind]:
    return [event.cause_kind if isinstance(event, EntryPosted) else type(event) for event in events]


# A withdrawal ------------------------------------------------------------------------------------------------------


def test_a_withdrawal_holds_amount_and_fee_and_is_paid_once_its_payment_is_final(venue: Desk) -> None:
    assert kinds(done(venue, REQUEST)) == [WithdrawalRequested, CauseKind.WITHDRAWAL_HOLD]
    assert usd(venue) == (16_985, 3_015, 20_060)
    assert done(venue, APPROVE) == [PaymentApproved(intent=INTENT, not_before_ms=0)]
    assert status(venue) == (WithdrawalStatus.APPROVED, PaymentStatus.APPROVED)
    sign(venue)
    assert status(venue) == (WithdrawalStatus.SIGNED, PaymentStatus.SIGNED)
    (broadcast,) = done(venue, BROADCAST)
    assert isinstance(broadcast, PaymentBroadcast)
    assert (broadcast.intent, broadcast.signature) == (INTENT, venue.payments["alice/w"].signature)
    assert status(venue) == (WithdrawalStatus.BROADCAST, PaymentStatus.BROADCAST)
    assert kinds(done(venue, INCLUDED)) == [PaymentIncluded]
    assert usd(venue) == (16_985, 3_015, 20_060)
    events = done(venue, block(4))
    assert events[1] == WithdrawalPaid(
        client="alice", withdrawal="w", asset="USD", amount=Amount(3_000), fee=Amount(15)
    )
    assert kinds(events[2:]) == [CauseKind.WITHDRAWAL_PAYMENT]
    assert usd(venue) == (16_985, 0, 17_045)
    assert venue.ledger.amount(OUTSIDE, Bucket.FREE, "USD") == -17_045
    assert status(venue) == (WithdrawalStatus.PAID, PaymentStatus.PAID)
    assert venue.payments_under_way() == ()


def test_the_fee_must_be_covered_with_the_amount(venue: Desk) -> None:
    assert refused(venue, replace(REQUEST, amount=Amount(19_986))) is Reason.INSUFFICIENT_FUNDS
    assert refused(venue, replace(REQUEST, amount=Amount(19_985))) is None
    assert usd(venue) == (0, 20_000, 20_060)


def test_two_clients_ids_never_give_one_payment_the_same_name() -> None:
    venue = funded(replace(CUSTODY_SETUP, clients=("alice", "alice/w", "bob")))
    done(venue, ReportDeposit(asset="USD", transaction="e", client="alice/w", amount=Amount(900), height=1))
    done(venue, replace(REQUEST, withdrawal="w/1", amount=Amount(10)))
    other = replace(REQUEST, client="alice/w", withdrawal="1", amount=Amount(10))
    assert refused(venue, other) is Reason.DUPLICATE_WITHDRAWAL
    assert refused(venue, replace(other, withdrawal="2")) is None


def test_an_approval_is_refused_for_the_first_reason_that_applies(venue: Desk) -> None:
    closed = SuspendAsset(asset="USD", deposits_open=True, withdrawals_open=False)
    assert refused(venue, APPROVE) is Reason.UNKNOWN_WITHDRAWAL
    done(venue, REQUEST, REFUND, closed)
    assert refused(venue, APPROVE) is Reason.WITHDRAWAL_NOT_OPEN
    limits = (AssetAmount(asset="USD", amount=Amount(2_000)),)
    assert CUSTODY_SETUP.custody is not None
    tiers = tuple(replace(rule, payment_max=limits) for rule in CUSTODY_SETUP.custody.tiers)
    venue = funded(replace(CUSTODY_SETUP, custody=replace(CUSTODY_SETUP.custody, tiers=tiers)))
    done(venue, REQUEST, closed)
    assert refused(venue, APPROVE) is Reason.ASSET_SUSPENDED
    done(venue, replace(closed, withdrawals_open=True))
    assert refused(venue, APPROVE) is Reason.TIER_LIMIT


@pytest.mark.parametrize(("amount", "tier", "not_before"), [(5_000, "hot", 500), (5_001, "cold", 60_500)])
def test_the_first_tier_whose_limit_allows_the_amount_pays_and_its_time_lock_holds(
    venue: Desk, amount: int, tier: str, not_before: int
) -> None:
    sweep = replace(SWEEP, sweep="up", amount=Amount(5_000))
    for number in range(2):
        swept(venue, replace(sweep, sweep=f"up{number}"), height=4 + 2 * number)
    done(venue, AdvanceTime(time_ms=500), replace(REQUEST, amount=Amount(amount)))
    (approved,) = done(venue, APPROVE)
    assert isinstance(approved, PaymentApproved)
    assert (approved.intent.tier, approved.not_before_ms) == (tier, not_before)


def test_a_tier_does_not_promise_the_same_funds_to_two_payments(venue: Desk) -> None:
    for number in range(4):
        request = replace(REQUEST, withdrawal=f"w{number}", amount=Amount(4_900))
        assert refused(venue, request) is None
        refusal = refused(venue, replace(APPROVE, withdrawal=f"w{number}"))
        assert refusal is None
    done(venue, FundHouse(account="@insurance", asset="USD", amount=Amount(3_000), transaction="h2"))
    tight = replace(SWEEP, amount=Amount(3_386))
    assert venue.unpromised("hot", "USD") == 3_400
    assert refused(venue, tight) is Reason.CUSTODY_SHORT
    assert refused(venue, replace(tight, amount=Amount(3_385))) is None
    assert venue.unpromised("hot", "USD") == 0
    done(venue, RefundWithdrawal(client="alice", withdrawal="w0"))
    assert venue.unpromised("hot", "USD") == 4_915


def test_a_withdrawal_that_its_tier_cannot_cover_is_not_approved(venue: Desk) -> None:
    for number in range(3):
        swept(venue, replace(SWEEP, sweep=f"up{number}", amount=Amount(5_000)), height=4 + 2 * number)
    done(venue, replace(REQUEST, amount=Amount(5_000)), replace(REQUEST, withdrawal="v", amount=Amount(5_000)))
    done(venue, APPROVE)
    assert refused(venue, replace(APPROVE, withdrawal="v")) is Reason.CUSTODY_SHORT


def steps(venue: Desk) -> Iterator[None]:
    """A withdrawal, stopped after each step that changes its status."""
    done(venue, REQUEST)
    yield
    done(venue, APPROVE)
    yield
    sign(venue)
    yield
    done(venue, BROADCAST)
    yield
    done(venue, INCLUDED)
    yield
    done(venue, block(4))
    yield


@pytest.mark.parametrize("taken", range(1, 7))
def test_a_withdrawal_can_be_refunded_until_it_is_signed_and_then_only_be_paid(venue: Desk, taken: int) -> None:
    for _ in zip(range(taken), steps(venue), strict=False):
        pass
    refundable = taken <= 2
    before = usd(venue)
    assert refused(venue, REFUND) is (None if refundable else Reason.WITHDRAWAL_NOT_OPEN)
    if not refundable:
        assert usd(venue) == before
        return
    assert usd(venue) == (20_000, 0, 20_060)
    dropped = PaymentStatus.DROPPED if taken == 2 else None
    assert status(venue) == (WithdrawalStatus.REFUNDED, dropped)
    for over in (REFUND, APPROVE):
        assert refused(venue, over) is Reason.WITHDRAWAL_NOT_OPEN
    if dropped:
        later: tuple[Command, ...] = (RestartSigning(payment="alice/w"), BROADCAST, INCLUDED)
        for command in later:
            assert refused(venue, command) is Reason.PAYMENT_NOT_OPEN


def test_a_refund_tells_the_fee_that_is_free_again(venue: Desk) -> None:
    done(venue, REQUEST, APPROVE)
    assert done(venue, REFUND)[0] == WithdrawalRefunded(
        client="alice", withdrawal="w", asset="USD", amount=Amount(3_000), fee=Amount(15)
    )


@pytest.mark.parametrize("taken", range(1, 7))
def test_what_is_shown_of_a_payment_is_what_it_was_approved_as(venue: Desk, taken: int) -> None:
    for _ in zip(range(taken), steps(venue), strict=False):
        pass
    statuses = [PaymentStatus.APPROVED, PaymentStatus.SIGNED, PaymentStatus.BROADCAST, PaymentStatus.INCLUDED]
    shown = [Payment(intent=INTENT, status=item, attempt=1, not_before_ms=0) for item in statuses]
    assert list(venue.payments_under_way()) == (shown[taken - 2 : taken - 1] if taken > 1 else [])


# Broadcast ---------------------------------------------------------------------------------------------------------


def test_a_broadcast_is_refused_for_the_first_reason_that_applies(venue: Desk) -> None:
    assert refused(venue, BROADCAST) is Reason.UNKNOWN_PAYMENT
    for number in range(2):
        swept(venue, replace(SWEEP, sweep=f"up{number}", amount=Amount(5_000)), height=4 + 2 * number)
    done(venue, replace(REQUEST, amount=Amount(9_000)), APPROVE)
    done(venue, SuspendAsset(asset="USD", deposits_open=True, withdrawals_open=False))
    done(venue, SetProvider(asset="USD", up=False))
    assert refused(venue, BROADCAST) is Reason.PAYMENT_NOT_OPEN
    sign(venue)
    assert refused(venue, BROADCAST) is Reason.ASSET_SUSPENDED
    done(venue, SuspendAsset(asset="USD", deposits_open=False, withdrawals_open=True), AdvanceTime(time_ms=59_999))
    assert refused(venue, BROADCAST) is Reason.TIME_LOCKED
    done(venue, AdvanceTime(time_ms=60_000))
    assert refused(venue, BROADCAST) is Reason.PROVIDER_DOWN
    done(venue, SetProvider(asset="USD", up=True), BROADCAST)
    assert refused(venue, BROADCAST) is Reason.PAYMENT_NOT_OPEN


# Inclusion ---------------------------------------------------------------------------------------------------------


def broadcast(venue: Desk) -> None:
    done(venue, REQUEST, APPROVE)
    sign(venue)
    done(venue, BROADCAST)


def test_an_inclusion_is_refused_for_the_first_reason_that_applies(venue: Desk) -> None:
    assert refused(venue, INCLUDED) is Reason.UNKNOWN_PAYMENT
    done(venue, REQUEST, APPROVE, SetProvider(asset="USD", up=False))
    wrong = replace(INCLUDED, height=9)
    assert refused(venue, wrong) is Reason.PROVIDER_DOWN
    done(venue, SetProvider(asset="USD", up=True))
    assert refused(venue, wrong) is Reason.PAYMENT_NOT_OPEN
    sign(venue)
    done(venue, BROADCAST)
    assert refused(venue, wrong) is Reason.HEIGHT_AHEAD
    assert refused(venue, INCLUDED) is None
    assert refused(venue, INCLUDED) is Reason.PAYMENT_NOT_OPEN


def test_a_payment_under_a_changed_transaction_id_is_recognised_and_not_paid_twice(venue: Desk) -> None:
    broadcast(venue)
    told = venue.payments["alice/w"].transaction
    done(venue, replace(INCLUDED, transaction="malleated"))
    assert venue.payments["alice/w"].transaction == "malleated" != told
    done(venue, block(4))
    after = usd(venue)
    for transaction in (told, "malleated"):
        assert refused(venue, replace(INCLUDED, transaction=transaction)) is Reason.PAYMENT_NOT_OPEN
    for command in (REFUND, APPROVE):
        assert refused(venue, command) is Reason.WITHDRAWAL_NOT_OPEN
    assert refused(venue, BROADCAST) is Reason.PAYMENT_NOT_OPEN
    done(venue, block(9))
    assert usd(venue) == after == (16_985, 0, 17_045)


def test_a_payment_that_is_reported_late_is_final_at_once(venue: Desk) -> None:
    broadcast(venue)
    done(venue, block(8))
    assert kinds(done(venue, INCLUDED)) == [PaymentIncluded, WithdrawalPaid, CauseKind.WITHDRAWAL_PAYMENT]


def test_a_reorganisation_before_finality_leaves_the_payment_to_be_included_again(venue: Desk) -> None:
    broadcast(venue)
    done(venue, INCLUDED)
    assert done(venue, ReportReorganisation(asset="USD", height=3)) == [ChainReorganised(asset="USD", height=3)]
    assert status(venue) == (WithdrawalStatus.BROADCAST, PaymentStatus.BROADCAST)
    assert kinds(done(venue, block(9))) == [type(block_reported(9))]
    done(venue, replace(INCLUDED, height=9, transaction="u"))
    assert kinds(done(venue, block(10)))[1] is WithdrawalPaid
    assert usd(venue) == (16_985, 0, 17_045)


def block_reported(height: int) -> Event:
    return Venue(CUSTODY_SETUP).apply(block(height))[0]


def test_a_payment_that_was_paid_and_is_lost_halts_and_is_not_paid_again_when_it_is_back(venue: Desk) -> None:
    broadcast(venue)
    done(venue, INCLUDED, block(4))
    assert done(venue, ReportReorganisation(asset="USD", height=3))[1:] == [
        MismatchFound(place="hot", asset="USD", found=Amount(20_060), expected=Amount(17_045)),
        PhaseChanged(before=Phase.OPEN, after=Phase.HALTED),
    ]
    assert status(venue) == (WithdrawalStatus.PAID, PaymentStatus.BROADCAST)
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    done(venue, block(3), INCLUDED)
    assert status(venue) == (WithdrawalStatus.PAID, PaymentStatus.INCLUDED)
    assert done(venue, block(4))[1:] == [
        MismatchFound(place="hot", asset="USD", found=Amount(17_045), expected=Amount(20_060))
    ]
    assert status(venue) == (WithdrawalStatus.PAID, PaymentStatus.PAID)
    assert usd(venue) == (16_985, 0, 17_045)
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is None


def test_of_two_payments_that_were_lost_each_is_paid_again_when_it_is_final_again(venue: Desk) -> None:
    broadcast(venue)
    done(venue, replace(REQUEST, withdrawal="v"), replace(APPROVE, withdrawal="v"))
    sign(venue, "alice/v")
    other = replace(INCLUDED, payment="alice/v")
    done(venue, BroadcastPayment(payment="alice/v"), INCLUDED, other, block(4))
    done(venue, ReportReorganisation(asset="USD", height=3), block(4), INCLUDED, replace(other, height=4))
    done(venue, block(5), ReportReorganisation(asset="USD", height=5))
    assert [venue.payments[name].status for name in ("alice/w", "alice/v")] == [PaymentStatus.PAID] * 2
    done(venue, ReportReorganisation(asset="USD", height=3), block(3), INCLUDED, block(4), replace(other, height=4))
    done(venue, AttestCustody(tier="cold", asset="USD", amount=Amount(5)))
    assert [venue.payments[name].status for name in ("alice/w", "alice/v")] == [
        PaymentStatus.PAID,
        PaymentStatus.INCLUDED,
    ]
    assert venue.gap("USD") == 3_015 + 5
    done(venue, block(5))
    assert venue.gap("USD") == 5


# Sweeps ------------------------------------------------------------------------------------------------------------


def swept(venue: Desk, sweep: SweepFunds, *, height: int) -> list[Event]:
    """Carry a sweep out; the events of its last block."""
    payment = f"@sweep/{sweep.sweep}"
    done(venue, sweep)
    sign(venue, payment)
    done(venue, BroadcastPayment(payment=payment), block(height))
    done(venue, ReportPayment(payment=payment, transaction=f"t{height}", height=height))
    return done(venue, block(height + 1))


def test_a_sweep_moves_funds_between_tiers_and_the_network_account_pays_its_fee(venue: Desk) -> None:
    events = done(venue, SWEEP)
    intent = PaymentIntent(
        payment="@sweep/s", asset="USD", amount=Amount(4_000), destination="@tier/cold", tier="hot", fee=Amount(15)
    )
    assert events[0] == PaymentApproved(intent=intent, not_before_ms=0)
    assert kinds(events[1:]) == [CauseKind.NETWORK_FEE]
    assert venue.ledger.amount(NETWORK, Bucket.HELD, "USD") == 15
    events = swept(venue, replace(SWEEP, sweep="s2"), height=4)
    assert events[1] == SweepCompleted(
        sweep="s2", asset="USD", amount=Amount(4_000), fee=Amount(15), source="hot", target="cold"
    )
    assert kinds(events[2:]) == [CauseKind.NETWORK_FEE]
    assert (venue.tier_holds("hot", "USD"), venue.tier_holds("cold", "USD")) == (16_045, 4_000)
    assert [venue.ledger.amount(NETWORK, bucket, "USD") for bucket in (Bucket.FREE, Bucket.HELD)] == [30, 15]
    assert venue.gap("USD") == 0


def test_a_sweep_is_refused_for_the_first_reason_that_applies(venue: Desk) -> None:
    done(venue, SWEEP)
    wrong = replace(SWEEP, asset="ETH", source="warm", target="warm", amount=Amount(-1))
    assert refused(venue, wrong) is Reason.UNKNOWN_ASSET
    wrong = replace(wrong, asset="USD")
    assert refused(venue, wrong) is Reason.UNKNOWN_TIER
    wrong = replace(wrong, source="hot")
    assert refused(venue, wrong) is Reason.UNKNOWN_TIER
    wrong = replace(wrong, target="hot")
    assert refused(venue, wrong) is Reason.TRANSFER_ILLEGAL
    wrong = replace(wrong, target="cold")
    assert refused(venue, wrong) is Reason.AMOUNT_NOT_POSITIVE
    wrong = replace(wrong, amount=Amount(5_001))
    assert refused(venue, wrong) is Reason.DUPLICATE_REQUEST
    wrong = replace(wrong, sweep="s2")
    assert refused(venue, wrong) is Reason.TIER_LIMIT
    done(venue, *(replace(SWEEP, sweep=f"more{number}", amount=Amount(5_000)) for number in range(3)))
    wrong = replace(wrong, amount=Amount(2_000))
    assert refused(venue, wrong) is Reason.CUSTODY_SHORT
    assert refused(venue, replace(wrong, amount=Amount(500))) is Reason.INSUFFICIENT_FUNDS


def test_a_sweep_brings_its_target_to_its_limit_and_no_further_with_those_under_way(venue: Desk) -> None:
    assert venue.custody is not None
    hot, cold = venue.custody.tiers
    limited = replace(cold, balance_max=(AssetAmount(asset="USD", amount=Amount(7_000)),))
    venue = funded(replace(CUSTODY_SETUP, custody=replace(venue.custody, tiers=(hot, limited))))
    swept(venue, replace(SWEEP, sweep="a", amount=Amount(2_000)), height=4)
    done(venue, replace(SWEEP, sweep="b", amount=Amount(4_000)))
    assert refused(venue, replace(SWEEP, sweep="c", amount=Amount(1_001))) is Reason.TIER_LIMIT
    assert refused(venue, replace(SWEEP, sweep="c", amount=Amount(1_000))) is None


def test_a_sweep_that_was_final_and_is_lost_is_undone_in_both_tiers(venue: Desk) -> None:
    swept(venue, SWEEP, height=4)
    mismatches = [
        event
        for event in done(venue, ReportReorganisation(asset="USD", height=4))
        if isinstance(event, MismatchFound)
    ]
    assert [(item.place, item.found, item.expected) for item in mismatches] == [
        ("hot", 20_060, 16_045),
        ("cold", 0, 4_000),
    ]
    done(venue, block(4), ReportPayment(payment="@sweep/s", transaction="t", height=4), block(5))
    assert (venue.tier_holds("hot", "USD"), venue.tier_holds("cold", "USD"), venue.gap("USD")) == (16_045, 4_000, 0)


# The state ---------------------------------------------------------------------------------------------------------


def test_the_events_alone_and_every_snapshot_rebuild_all_that_custody_knows() -> None:
    venue = Desk(CUSTODY_SETUP)
    deposit = ReportDeposit(asset="USD", transaction="d", client="alice", amount=Amount(20_000), height=1)
    done(venue, block(1), deposit, block(3))
    done(venue, FundHouse(account=NETWORK, asset="USD", amount=Amount(60), transaction="h"))
    swept(venue, SWEEP, height=4)
    for _ in steps_from(venue, height=6):
        pass
    suspended = SuspendAsset(asset="USD", deposits_open=False, withdrawals_open=True)
    done(venue, suspended, replace(deposit, transaction="z", height=6), block(8))
    done(venue, replace(deposit, transaction="e", height=7))
    assert len(venue.arrivals) == 2
    done(venue, replace(SWEEP, sweep="open"), ReportReorganisation(asset="USD", height=4))
    replayed, loaded = Venue(CUSTODY_SETUP), Venue(CUSTODY_SETUP)
    for events in venue.told:
        replayed.replay(events)
        loaded.load(replayed.state())
        assert loaded.state() == replayed.state()
        for rebuilt in (replayed, loaded):
            assert rebuilt.unpromised("hot", "USD") == rebuilt.tier_holds("hot", "USD") - sum(
                payment.cost
                for payment in rebuilt.payments.values()
                if payment.status not in {PaymentStatus.PAID, PaymentStatus.DROPPED} and payment.intent.tier == "hot"
            )
    assert state_sha256(replayed.state()) == state_sha256(venue.state())
    assert len(venue.told) > 25


def steps_from(venue: Desk, *, height: int) -> Iterator[None]:
    """A withdrawal that is included in the block of a height and paid with the next."""
    broadcast(venue)
    done(venue, block(height), replace(INCLUDED, height=height))
    yield
    done(venue, block(height + 1))
