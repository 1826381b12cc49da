"""Reconciliation: what differs between ledger and custody is found in the same answer, halts, and can be healed."""

from collections.abc import Callable, Iterable, Sequence

import pytest
from msgspec.structs import replace

from holdfast.setups import CUSTODY_SETUP
from holdfast.signing_parties import SigningParties
from holdfast_engine.custody import Wallets
from holdfast_engine.exchange import Exchange
from holdfast_engine.faults.fault import UncheckedVenue
from holdfast_engine.ledger import Ledger
from holdfast_engine.state import Deposit
from holdfast_engine.storage import MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    INSURANCE,
    NETWORK,
    OUTSIDE,
    Amount,
    AnnounceMaintenance,
    ApproveWithdrawal,
    AttestCustody,
    BroadcastPayment,
    Bucket,
    CauseKind,
    Command,
    CoverShortfall,
    Custody,
    DepositCredited,
    EntryPosted,
    Event,
    FundHouse,
    MismatchFound,
    PaymentBroadcast,
    PaymentIntent,
    Phase,
    PhaseChanged,
    Reason,
    Reconcile,
    Reconciled,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    SetPhase,
    ShortfallCovered,
    SuspendAsset,
    SweepFunds,
    WithdrawalPaid,
)

DEPOSIT = ReportDeposit(asset="USD", transaction="d", client="alice", amount=Amount(1_000), height=1)
FLOW: tuple[Command, ...] = (ReportBlock(asset="USD", height=1), DEPOSIT, ReportBlock(asset="USD", height=2))
HALT = PhaseChanged(before=Phase.OPEN, after=Phase.HALTED)
COVER = CoverShortfall(asset="USD", amount=Amount(400), transaction="c")


def attest(amount: int, tier: str = "hot", asset: str = "USD") -> AttestCustody:
    return AttestCustody(tier=tier, asset=asset, amount=Amount(amount))


def mismatch(found: int, expected: int, place: str = "hot") -> MismatchFound:
    return MismatchFound(place=place, asset="USD", found=Amount(found), expected=Amount(expected))


def done(venue: Venue, *commands: Command) -> list[Event]:
    """All that commands of which none is refused tell."""
    events = [event for command in commands for event in venue.apply(command)]
    assert not [event for event in events if isinstance(event, Rejected)]
    return events


def refused(venue: Venue, command: Command) -> Reason | None:
    events = venue.apply(command)
    return events[0].reason if isinstance(events[0], Rejected) else None


@pytest.fixture
def venue() -> Venue:
    """Alice has 1,000 USD, and the first tier too."""
    venue = Venue(CUSTODY_SETUP)
    done(venue, *FLOW)
    return venue


# Comparing everything ----------------------------------------------------------------------------------------------


def test_what_agrees_is_told_with_the_number_of_balances(venue: Venue) -> None:
    assert done(venue, Reconcile()) == [Reconciled(balances=2)]
    done(venue, FundHouse(account=NETWORK, asset="USD", amount=Amount(5), transaction="h"))
    assert done(venue, Reconcile()) == [Reconciled(balances=3)]
    assert done(venue, attest(1_005)) == [Reconciled(balances=3)]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (attest(-1, tier="warm", asset="ETH"), Reason.UNKNOWN_TIER),
        (attest(-1, asset="ETH"), Reason.UNKNOWN_ASSET),
        (attest(-1), Reason.AMOUNT_NOT_POSITIVE),
    ],
)
def test_an_attestation_is_refused_for_the_first_reason_that_applies(
    venue: Venue, command: Command, reason: Reason
) -> None:
    assert refused(venue, command) is reason


@pytest.mark.parametrize("found", [0, 600, 1_400])
def test_an_attestation_that_differs_is_believed_and_halts_until_it_is_healed(venue: Venue, found: int) -> None:
    assert done(venue, attest(found)) == [mismatch(found, 1_000), HALT]
    assert venue.tier_holds("hot", "USD") == found
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    assert done(venue, Reconcile()) == [mismatch(found, 1_000, OUTSIDE)]
    assert done(venue, attest(1_000)) == [mismatch(1_000, found)]
    assert done(venue, Reconcile()) == [Reconciled(balances=2)]
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is None


def test_what_lies_in_the_wrong_tier_is_told_and_does_not_keep_the_venue_halted(venue: Venue) -> None:
    done(venue, attest(400), attest(600, tier="cold"))
    assert done(venue, Reconcile()) == [Reconciled(balances=2)]
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is None


# Covering a shortfall ----------------------------------------------------------------------------------------------


def test_a_shortfall_is_covered_in_parts_and_never_beyond_what_is_owed(venue: Venue) -> None:
    done(venue, attest(500))
    entries = venue.ledger.balances()
    assert done(venue, COVER) == [ShortfallCovered(asset="USD", amount=Amount(400), transaction="c")]
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    more = replace(COVER, transaction="c2", amount=Amount(101))
    assert refused(venue, more) is Reason.AMOUNT_ABOVE_DEBT
    done(venue, replace(more, amount=Amount(100)), SetPhase(phase=Phase.CANCEL_ONLY))
    assert (venue.tier_holds("hot", "USD"), venue.ledger.balances()) == (1_000, entries)


def test_a_cover_is_refused_for_the_first_reason_that_applies(venue: Venue) -> None:
    assert refused(venue, COVER) is Reason.AMOUNT_ABOVE_DEBT
    done(venue, attest(0), COVER)
    wrong = replace(COVER, asset="ETH", amount=Amount(0))
    assert refused(venue, wrong) is Reason.UNKNOWN_ASSET
    wrong = replace(wrong, asset="USD")
    assert refused(venue, wrong) is Reason.AMOUNT_NOT_POSITIVE
    wrong = replace(wrong, amount=Amount(10_000))
    assert refused(venue, wrong) is Reason.DUPLICATE_DEPOSIT
    assert refused(venue, replace(wrong, transaction="c2")) is Reason.AMOUNT_ABOVE_DEBT
    house = FundHouse(account=INSURANCE, asset="USD", amount=Amount(1), transaction="c")
    assert refused(venue, house) is Reason.DUPLICATE_DEPOSIT


def test_deposits_and_payments_go_on_while_a_mismatch_stands_and_are_no_new_one(venue: Venue) -> None:
    done(venue, attest(400), ReportBlock(asset="USD", height=3))
    events = done(venue, replace(DEPOSIT, transaction="e", height=2))
    assert DepositCredited in map(type, events)
    assert MismatchFound not in map(type, events)
    assert venue.gap("USD") == -600


# Mistakes of the exchange -----------------------------------------------------------------------------------------


class CreditsDouble(UncheckedVenue):
    """It credits a deposit with twice its amount, from nowhere."""

    def credit_deposit(self, deposit: Deposit) -> None:
        super().credit_deposit(deposit)
        outside = [(OUTSIDE, Bucket.FREE, deposit.asset, -deposit.amount)]
        self.post(CauseKind.DEPOSIT, "x", [*outside, (deposit.client, Bucket.FREE, deposit.asset, deposit.amount)])


class CreditsWithoutEntry(UncheckedVenue):
    """It adds to a balance what no entry tells."""

    def credit_deposit(self, deposit: Deposit) -> None:
        super().credit_deposit(deposit)
        self.ledger._amounts[deposit.client, Bucket.HELD, deposit.asset] = 7


class ForgetsTheWallet(Venue):
    """It enters a deposit and does not note that the tier has it."""

    def _move_custody(self, tier: str, asset: str, amount: int) -> None:
        """Nothing moves."""


class EntersNoArrival(UncheckedVenue):
    """It credits out of nothing what it did not enter."""

    def post(self, kind: CauseKind, cause: str, postings: Iterable[tuple[str, Bucket, str, int]]) -> None:
        if kind is not CauseKind.ARRIVAL:
            super().post(kind, cause, postings)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (EntersNoArrival, mismatch(1_000, 0, OUTSIDE)),
        (CreditsDouble, mismatch(1_000, 2_000, OUTSIDE)),
        (CreditsWithoutEntry, mismatch(1_007, 1_000, "alice")),
        (ForgetsTheWallet, mismatch(0, 1_000, OUTSIDE)),
    ],
)
def test_a_mistake_is_found_in_the_answer_that_makes_it_and_keeps_the_venue_halted(
    wrong: Callable[..., Venue], told: MismatchFound
) -> None:
    venue = wrong(CUSTODY_SETUP)
    events = done(venue, *FLOW)
    assert events[-2:] == [told, HALT]
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED
    assert done(venue, Reconcile()) == [told]
    loaded = wrong(CUSTODY_SETUP)
    loaded.load(venue.state())
    if told.place == OUTSIDE:
        assert refused(loaded, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED


def test_a_mistake_in_an_account_that_nothing_moves_is_found_by_comparing_everything(venue: Venue) -> None:
    venue.ledger._amounts["bob", Bucket.FREE, "BTC"] = 3
    done(venue, ReportBlock(asset="USD", height=9))
    assert venue.phase is Phase.OPEN
    drift = MismatchFound(place="bob", asset="BTC", found=Amount(3), expected=Amount(0))
    assert done(venue, Reconcile()) == [drift, HALT]
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED


class CountingLedger(Ledger):
    """A ledger that counts the accounts that are compared."""

    looked = 0

    def total(self, account: str, asset: str) -> int:
        self.looked += 1
        return super().total(account, asset)


class Counts(Venue):
    """A venue with such a ledger."""

    ledger: CountingLedger
    ledger_class = CountingLedger


def test_what_is_compared_follows_the_answer_and_not_the_number_of_accounts() -> None:
    counts = []
    for others in (0, 500):
        clients = ("alice", *(f"client{number}" for number in range(others)))
        venue = Counts(replace(CUSTODY_SETUP, clients=clients))
        done(venue, ReportBlock(asset="USD", height=1))
        for number in range(others):
            done(venue, replace(DEPOSIT, transaction=f"o{number}", client=f"client{number}"))
        done(venue, ReportBlock(asset="USD", height=2))
        venue.ledger.looked = 0
        done(venue, replace(DEPOSIT, height=1))
        counts.append(venue.ledger.looked)
    assert counts[0] == counts[1] > 0


# Phases ------------------------------------------------------------------------------------------------------------


def test_a_mismatch_that_is_found_in_maintenance_halts_from_there() -> None:
    venue = Venue(replace(CUSTODY_SETUP, procedure=False))
    done(venue, *FLOW, *(SetPhase(phase=phase) for phase in (Phase.CANCEL_ONLY, Phase.MAINTENANCE)))
    assert refused(venue, attest(0)) is Reason.PHASE_FORBIDS
    resume = SuspendAsset(asset="USD", deposits_open=True, withdrawals_open=True)
    assert refused(venue, resume) is Reason.PHASE_FORBIDS
    venue.tiers["hot", "USD"] = 900
    venue.tier_totals["USD"] = 900
    halt = PhaseChanged(before=Phase.MAINTENANCE, after=Phase.HALTED)
    assert done(venue, Reconcile()) == [mismatch(900, 1_000, OUTSIDE), halt]


def test_a_procedure_is_left_only_over_a_reconciliation(venue: Venue) -> None:
    done(venue, AnnounceMaintenance(begins_ms=0))
    done(venue, SetPhase(phase=Phase.CANCEL_ONLY), SetPhase(phase=Phase.MAINTENANCE))
    assert refused(venue, SetPhase(phase=Phase.POST_ONLY)) is Reason.NOT_LOADED
    assert done(venue, Reconcile()) == [Reconciled(balances=2)]


# Wallets -----------------------------------------------------------------------------------------------------------


def test_the_wallets_show_what_the_tiers_hold_after_every_step_and_every_restart() -> None:
    storage = MemoryStorage()
    exchange = Exchange(storage)
    exchange.reset(CUSTODY_SETUP)
    parties = SigningParties(CUSTODY_SETUP)

    def submit(command: Command) -> tuple[Event, ...]:
        (answer,) = exchange.submit([command])
        assert not isinstance(answer.events[0], Rejected), (command, answer)
        parties.hear(answer.events)
        return answer.events

    def shown(tier: str) -> int:
        return sum(item.amount for item in exchange.view().custody if (item.tier, item.asset) == (tier, "USD"))

    def pay(payment: str, height: int) -> Sequence[Command]:
        parties.drive(payment, submit)
        return (
            BroadcastPayment(payment=payment),
            ReportBlock(asset="USD", height=height),
            ReportPayment(payment=payment, transaction=f"t{height}", height=height),
            ReportBlock(asset="USD", height=height + 1),
        )

    for command in (
        *FLOW,
        FundHouse(account=NETWORK, asset="USD", amount=Amount(60), transaction="h"),
        RequestWithdrawal(client="alice", withdrawal="w", asset="USD", amount=Amount(200), destination="x"),
        ApproveWithdrawal(client="alice", withdrawal="w"),
        SweepFunds(sweep="s", asset="USD", amount=Amount(300), source="hot", target="cold"),
    ):
        submit(command)
    for payment, height in (("alice/w", 3), ("@sweep/s", 5)):
        for command in pay(payment, height):
            submit(command)
    assert (shown("hot"), shown("cold")) == (1_060 - 215 - 315, 300)
    submit(ReportReorganisation(asset="USD", height=5))
    assert (shown("hot"), shown("cold")) == (845, 0)
    for command in (
        ReportBlock(asset="USD", height=6),
        ReportPayment(payment="@sweep/s", transaction="again", height=5),
        attest(500),
        replace(COVER, amount=Amount(30)),
    ):
        submit(command)
    expected = (
        Custody(tier="cold", asset="USD", amount=Amount(300)),
        Custody(tier="hot", asset="USD", amount=Amount(530)),
    )
    assert exchange.view().custody == expected
    exchange.snapshot()
    for _ in range(2):
        exchange.restore()
        assert exchange.view().custody == expected
    assert Exchange(storage).view().custody == expected


def test_a_payment_leaves_the_wallet_of_the_tier_that_signed_it() -> None:
    custody = CUSTODY_SETUP.custody
    wallets = Wallets(MemoryStorage(), custody)
    intent = PaymentIntent(
        payment="alice/w", asset="USD", amount=Amount(200), destination="x", tier="cold", fee=Amount(15)
    )
    paid = WithdrawalPaid(client="alice", withdrawal="w", asset="USD", amount=Amount(200), fee=Amount(15))
    for _ in range(2):
        wallets.follow([PaymentBroadcast(intent=intent, signature="", transaction="t"), paid], seq=1)
    assert wallets.custody() == (Custody(tier="cold", asset="USD", amount=Amount(-215)),)


def test_entries_of_a_venue_with_custody_balance_against_the_outside(venue: Venue) -> None:
    events = done(venue, replace(DEPOSIT, transaction="e"))
    for event in events:
        if isinstance(event, EntryPosted):
            assert sum(posting.amount for posting in event.postings) == 0
