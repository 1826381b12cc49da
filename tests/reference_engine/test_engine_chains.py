"""Deposits on chains: seen, final, credited once; reorganisations, a provider that is down, suspension."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from holdfast.setups import CUSTODY_SETUP, SMALL_SETUP
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    ARRIVING,
    NETWORK,
    OUTSIDE,
    Amount,
    ApproveWithdrawal,
    AssetSuspended,
    AttestCustody,
    BlockReported,
    BroadcastPayment,
    Bucket,
    CauseKind,
    ChainReorganised,
    Command,
    CommitNonce,
    CoverShortfall,
    CreditDeposit,
    DepositCredited,
    DepositFinalised,
    DepositOrphaned,
    DepositSeen,
    EntryPosted,
    Event,
    FundHouse,
    MismatchFound,
    PayWithdrawal,
    PendingDeposit,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceTicks,
    ProviderChanged,
    PublishLiabilities,
    Reason,
    Reconcile,
    Rejected,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RestartSigning,
    SetPhase,
    SetProvider,
    Side,
    SizeLots,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
)

SEEN = ReportDeposit(asset="USD", transaction="d", client="alice", amount=Amount(1_000), height=1)
SUSPEND = SuspendAsset(asset="USD", deposits_open=False, withdrawals_open=False)
RESUME = SuspendAsset(asset="USD", deposits_open=True, withdrawals_open=True)


def block(height: int, asset: str = "USD") -> ReportBlock:
    return ReportBlock(asset=asset, height=height)


def reorganised(height: int, asset: str = "USD") -> ReportReorganisation:
    return ReportReorganisation(asset=asset, height=height)


@pytest.fixture
def venue() -> Venue:
    """The chain of USD, on which two confirmations are final, is at height 1."""
    venue = Venue(CUSTODY_SETUP)
    venue.apply(block(1))
    return venue


def done(venue: Venue, *commands: Command) -> list[Event]:
    """All that commands of which none is refused tell."""
    events = [event for command in commands for event in venue.apply(command)]
    assert not [event for event in events if isinstance(event, Rejected)]
    return events


def refused(venue: Venue, command: Command) -> Reason | None:
    events = venue.apply(command)
    return events[0].reason if isinstance(events[0], Rejected) else None


def free(venue: Venue, account: str, asset: str = "USD") -> int:
    return venue.ledger.amount(account, Bucket.FREE, asset)


def kinds(events: Iterable[Event]) -> list[type[Event] | CauseKind]:
    return [event.cause_kind if isinstance(event, EntryPosted) else type(event) for event in events]


# One deposit -------------------------------------------------------------------------------------------------------


def test_a_deposit_is_seen_then_final_and_credited_in_one_answer(venue: Venue) -> None:
    assert kinds(done(venue, SEEN)) == [DepositSeen]
    assert (free(venue, "alice"), venue.tier_holds("hot", "USD")) == (0, 0)
    assert venue.pending_deposits() == (
        PendingDeposit(asset="USD", transaction="d", client="alice", amount=Amount(1_000), height=1, final=False),
    )
    events = done(venue, block(2))
    assert kinds(events) == [
        BlockReported,
        DepositFinalised,
        CauseKind.ARRIVAL,
        DepositCredited,
        CauseKind.DEPOSIT,
    ]
    assert (free(venue, "alice"), free(venue, ARRIVING), free(venue, OUTSIDE)) == (1_000, 0, -1_000)
    assert venue.tier_holds("hot", "USD") == 1_000
    assert venue.pending_deposits() == ()
    assert kinds(done(venue, block(3))) == [BlockReported]


@pytest.mark.parametrize(("asset", "confirmations"), [("USD", 2), ("BTC", 3)])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_deposit_is_final_with_exactly_its_chain_s_confirmations(
    venue: Venue, asset: str, confirmations: int, depth: int
) -> None:
    done(venue, block(7, asset), replace(SEEN, asset=asset, height=7))
    done(venue, *(block(height, asset) for height in range(8, 7 + depth)))
    assert (free(venue, "alice", asset) == 1_000) is (depth >= confirmations)


def test_a_deposit_that_is_reported_late_is_final_at_once(venue: Venue) -> None:
    done(venue, block(2))
    assert kinds(done(venue, SEEN))[:2] == [DepositSeen, DepositFinalised]
    assert free(venue, "alice") == 1_000


def test_blocks_may_be_skipped_and_what_they_make_final_is_credited_lowest_block_first(venue: Venue) -> None:
    done(venue, block(3), replace(SEEN, transaction="b", height=3), replace(SEEN, transaction="z", height=3))
    done(venue, reorganised(3), block(9), replace(SEEN, transaction="y", height=9))
    done(venue, replace(SEEN, transaction="c", height=9), replace(SEEN, transaction="b", height=9))
    events = done(venue, block(20))
    assert [event.transaction for event in events if isinstance(event, DepositCredited)] == ["b", "c", "y"]


def test_a_deposit_report_is_refused_for_the_first_reason_that_applies(venue: Venue) -> None:
    done(venue, SEEN)
    wrong = replace(SEEN, asset="ETH", client="mallory", amount=Amount(0), height=5)
    done(venue, SetProvider(asset="USD", up=False))
    assert refused(venue, wrong) is Reason.UNKNOWN_ASSET
    wrong = replace(wrong, asset="USD")
    assert refused(venue, wrong) is Reason.PROVIDER_DOWN
    done(venue, SetProvider(asset="USD", up=True))
    assert refused(venue, wrong) is Reason.UNKNOWN_CLIENT
    wrong = replace(wrong, client="bob")
    assert refused(venue, wrong) is Reason.AMOUNT_NOT_POSITIVE
    wrong = replace(wrong, amount=Amount(5))
    assert refused(venue, wrong) is Reason.HEIGHT_AHEAD
    assert refused(venue, replace(wrong, height=1)) is Reason.DUPLICATE_DEPOSIT
    assert refused(venue, replace(wrong, height=1, transaction="e")) is None


@pytest.mark.parametrize("before", [(), (SUSPEND, block(2)), (block(2),)], ids=["seen", "final", "credited"])
def test_a_deposit_that_is_reported_again_is_not_taken_in_again(venue: Venue, before: tuple[Command, ...]) -> None:
    done(venue, SEEN, *before)
    state = venue.state()
    assert refused(venue, SEEN) is Reason.DUPLICATE_DEPOSIT
    assert refused(venue, replace(SEEN, client="bob", amount=Amount(9))) is Reason.DUPLICATE_DEPOSIT
    assert venue.state() == replace(state, seq=state.seq + 2)


def test_the_same_transaction_on_another_asset_s_chain_is_another_deposit(venue: Venue) -> None:
    done(venue, block(1, "BTC"), SEEN, replace(SEEN, asset="BTC", amount=Amount(7)), block(2), block(3, "BTC"))
    assert (free(venue, "alice"), free(venue, "alice", "BTC")) == (1_000, 7)


# Chains ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [0, 1])
def test_a_block_must_be_higher_than_the_last(venue: Venue, height: int) -> None:
    assert refused(venue, block(height)) is Reason.HEIGHT_NOT_HIGHER


@pytest.mark.parametrize("height", [0, 2])
def test_a_chain_cannot_lose_blocks_that_it_has_not_got(venue: Venue, height: int) -> None:
    assert refused(venue, reorganised(height)) is Reason.REORGANISATION_ILLEGAL


@pytest.mark.parametrize(
    "command",
    [block(1, "ETH"), reorganised(1, "ETH"), SetProvider(asset="ETH", up=True), replace(SUSPEND, asset="ETH")],
)
def test_an_asset_that_there_is_not_has_no_chain(venue: Venue, command: Command) -> None:
    assert refused(venue, command) is Reason.UNKNOWN_ASSET


def test_a_reorganisation_before_finality_orphans_what_it_loses_and_nothing_else(venue: Venue) -> None:
    later = replace(SEEN, transaction="e", height=2)
    done(venue, SEEN, SUSPEND, block(2), later)
    done(venue, RESUME)
    assert done(venue, reorganised(2)) == [
        ChainReorganised(asset="USD", height=2),
        DepositOrphaned(asset="USD", transaction="e"),
    ]
    assert venue.phase is Phase.OPEN
    assert venue.chains["USD"].height == 1
    done(venue, block(5))
    assert free(venue, "alice") == 1_000
    assert venue.pending_deposits() == ()


def test_an_orphaned_deposit_may_come_back_as_another_one_and_is_credited_as_that(venue: Venue) -> None:
    done(venue, SEEN, reorganised(1), block(2), replace(SEEN, client="bob", amount=Amount(900), height=2), block(3))
    assert (free(venue, "alice"), free(venue, "bob")) == (0, 900)


def test_a_reorganisation_that_undoes_a_credit_is_found_and_halts_and_the_ledger_stays(venue: Venue) -> None:
    done(venue, SEEN, block(2))
    assert done(venue, reorganised(1)) == [
        ChainReorganised(asset="USD", height=1),
        DepositOrphaned(asset="USD", transaction="d"),
        MismatchFound(place="hot", asset="USD", found=Amount(0), expected=Amount(1_000)),
        PhaseChanged(before=Phase.OPEN, after=Phase.HALTED),
    ]
    assert (free(venue, "alice"), venue.tier_holds("hot", "USD")) == (1_000, 0)
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is Reason.NOT_RECONCILED


def test_a_credited_deposit_that_comes_back_heals_the_mismatch_and_is_not_credited_again(venue: Venue) -> None:
    done(venue, SEEN, block(2), reorganised(1), block(1))
    for other in (replace(SEEN, client="bob"), replace(SEEN, amount=Amount(5))):
        assert refused(venue, other) is Reason.DUPLICATE_DEPOSIT
    events = done(venue, SEEN, block(2))
    assert kinds(events) == [DepositSeen, BlockReported, DepositFinalised, MismatchFound]
    assert (free(venue, "alice"), venue.tier_holds("hot", "USD")) == (1_000, 1_000)
    assert refused(venue, SetPhase(phase=Phase.CANCEL_ONLY)) is None
    assert refused(venue, SEEN) is Reason.DUPLICATE_DEPOSIT


def test_a_deposit_that_comes_back_and_is_lost_again_before_it_is_final_changes_nothing_more(venue: Venue) -> None:
    done(venue, SEEN, block(2), reorganised(1), block(1), SEEN)
    assert kinds(done(venue, reorganised(1))) == [ChainReorganised, DepositOrphaned]
    assert venue.gap("USD") == -1_000


def test_a_provider_that_is_down_reports_nothing_and_tells_its_backlog_afterwards(venue: Venue) -> None:
    backlog: list[Command] = [SEEN, block(2), replace(SEEN, transaction="e", height=2), block(3)]
    assert done(venue, SetProvider(asset="USD", up=False)) == [ProviderChanged(asset="USD", up=False)]
    for command in (*backlog, reorganised(1)):
        assert refused(venue, command) is Reason.PROVIDER_DOWN
    done(venue, block(1, "BTC"), SetProvider(asset="USD", up=True), *backlog)
    assert free(venue, "alice") == 2_000


# Suspension --------------------------------------------------------------------------------------------------------


def test_a_suspended_asset_s_deposits_arrive_and_are_credited_when_it_is_resumed_in_the_order_of_finality(
    venue: Venue,
) -> None:
    done(venue, SUSPEND, replace(SEEN, transaction="z"), block(2), replace(SEEN, transaction="a", height=2))
    assert kinds(done(venue, block(3))) == [BlockReported, DepositFinalised, CauseKind.ARRIVAL]
    assert (free(venue, "alice"), free(venue, ARRIVING)) == (0, 2_000)
    assert [(item.transaction, item.final) for item in venue.pending_deposits()] == [("a", True), ("z", True)]
    events = done(venue, RESUME)
    assert events[0] == AssetSuspended(asset="USD", deposits_open=True, withdrawals_open=True)
    assert [event.transaction for event in events if isinstance(event, DepositCredited)] == ["z", "a"]
    assert (free(venue, "alice"), free(venue, ARRIVING)) == (2_000, 0)


def test_a_final_deposit_that_is_lost_while_suspended_is_credited_only_when_it_is_back(venue: Venue) -> None:
    done(venue, SUSPEND, SEEN, block(2), reorganised(1), RESUME)
    assert (free(venue, "alice"), free(venue, ARRIVING)) == (0, 1_000)
    done(venue, block(1), SEEN)
    assert kinds(done(venue, block(2))) == [
        BlockReported,
        DepositFinalised,
        MismatchFound,
        DepositCredited,
        CauseKind.DEPOSIT,
    ]
    assert (free(venue, "alice"), free(venue, ARRIVING), venue.gap("USD")) == (1_000, 0, 0)


def test_what_arrived_is_not_credited_while_a_shorter_chain_leaves_it_with_too_few_confirmations(
    venue: Venue,
) -> None:
    done(venue, SUSPEND, SEEN, block(2), reorganised(2), RESUME)
    assert venue.phase is Phase.OPEN
    assert (free(venue, "alice"), free(venue, ARRIVING)) == (0, 1_000)
    assert kinds(done(venue, block(2))) == [BlockReported, DepositCredited, CauseKind.DEPOSIT]


def test_the_suspension_of_one_asset_leaves_trading_and_the_other_asset_alone(venue: Venue) -> None:
    done(venue, SEEN, block(2), SUSPEND, block(1, "BTC"), replace(SEEN, asset="BTC", client="bob"), block(3, "BTC"))
    assert free(venue, "bob", "BTC") == 1_000
    for client, side in (("alice", Side.BUY), ("bob", Side.SELL)):
        order = PlaceOrder(
            client=client,
            order="1",
            market="BTC-USD",
            side=side,
            size_lots=SizeLots(1),
            price_ticks=PriceTicks(90),
        )
        assert refused(venue, order) is None
    assert free(venue, "alice", "BTC") == 10


# What is outside ---------------------------------------------------------------------------------------------------


def test_with_custody_deposits_and_withdrawals_go_by_custody_only(venue: Venue) -> None:
    deposit = CreditDeposit(client="alice", asset="USD", amount=Amount(5), transaction="t")
    for command in (deposit, PayWithdrawal(client="alice", withdrawal="w")):
        assert refused(venue, command) is Reason.ONLY_BY_CUSTODY


def test_without_custody_its_commands_are_refused() -> None:
    venue = Venue(SMALL_SETUP)
    for command in (
        SEEN,
        block(1),
        reorganised(1),
        ReportPayment(payment="p", transaction="t", height=1),
        SetProvider(asset="USD", up=True),
        AttestCustody(tier="hot", asset="USD", amount=Amount(0)),
        CommitNonce(payment="p", signer="h1", commitment=""),
        SubmitShare(payment="p", signer="h1", share=""),
        ApproveWithdrawal(client="alice", withdrawal="w"),
        SweepFunds(sweep="s", asset="USD", amount=Amount(1), source="hot", target="cold"),
        RestartSigning(payment="p"),
        BroadcastPayment(payment="p"),
        SUSPEND,
        Reconcile(),
        CoverShortfall(asset="USD", amount=Amount(1), transaction="c"),
        PublishLiabilities(asset="USD"),
    ):
        assert refused(venue, command) is Reason.ONLY_BY_CUSTODY


def test_what_the_owner_pays_into_house_accounts_is_in_the_first_tier(venue: Venue) -> None:
    done(venue, FundHouse(account=NETWORK, asset="USD", amount=Amount(40), transaction="h"))
    assert (free(venue, NETWORK), venue.tier_holds("hot", "USD"), venue.gap("USD")) == (40, 40, 0)
