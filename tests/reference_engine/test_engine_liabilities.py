"""Liabilities: the published tree holds what every client is owed, and a client who is cheated notices."""

import pytest
from msgspec.structs import replace

from holdfast.setups import CUSTODY_SETUP, MARGIN_SETUP
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    Bucket,
    CauseKind,
    ChainRule,
    ClientId,
    Command,
    CustodyRules,
    Event,
    FundHouse,
    InclusionProof,
    Liabilities,
    LiabilitiesPublished,
    Liability,
    PlaceOrder,
    PriceTicks,
    ProofFlaw,
    PublishLiabilities,
    Reason,
    Rejected,
    ReportBlock,
    ReportDeposit,
    RequestWithdrawal,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    TierRule,
    TransferMargin,
    prove_liability,
    verify_liability,
)
from holdfast_model.vocabulary.commands import Phase

PUBLISH = PublishLiabilities(asset="USD")


def done(venue: Venue, *commands: Command) -> list[Event]:
    """All that commands of which none is refused tell."""
    events = [event for command in commands for event in venue.apply(command)]
    assert not [event for event in events if isinstance(event, Rejected)]
    return events


def deposited(venue: Venue, **amounts: int) -> Venue:
    """The venue, with a final deposit of USD for each client named."""
    done(venue, ReportBlock(asset="USD", height=1))
    for client, amount in amounts.items():
        done(
            venue,
            ReportDeposit(asset="USD", transaction=client, client=client, amount=Amount(amount), height=1),
        )
    done(venue, ReportBlock(asset="USD", height=3))
    return venue


@pytest.fixture
def venue() -> Venue:
    """Alice has 1,000 USD and Bob 500, Carol nothing."""
    return deposited(Venue(CUSTODY_SETUP), alice=1_000, bob=500)


def published(venue: Venue) -> LiabilitiesPublished:
    (event,) = done(venue, PUBLISH)
    assert isinstance(event, LiabilitiesPublished)
    return event


def proof(venue: Venue, client: ClientId, *, asset: AssetId = "USD") -> InclusionProof:
    """The client's proof out of the tree that the next publication would publish."""
    found = prove_liability(venue.liabilities_tree(asset), client)
    assert found is not None
    return found


def owed(client: ClientId, amount: int) -> Liability:
    return Liability(account=client, asset="USD", amount=Amount(amount))


def test_every_client_finds_what_it_is_owed_in_the_published_total(venue: Venue) -> None:
    proofs = {client: proof(venue, client) for client in venue.setup.clients}
    told = published(venue)
    assert (told.asset, told.total, told.accounts) == ("USD", 1_500, 3)
    for client, amount in (("alice", 1_000), ("bob", 500), ("carol", 0)):
        assert verify_liability(proofs[client], owed=owed(client, amount), root=told.root, total=told.total) is None
    wrong = verify_liability(proofs["bob"], owed=owed("bob", 501), root=told.root, total=told.total)
    assert wrong is ProofFlaw.TOTAL_DIFFERS
    others = verify_liability(proofs["alice"], owed=owed("carol", 1_000), root=told.root, total=told.total)
    assert others is ProofFlaw.ROOT_DIFFERS


def test_what_is_held_for_an_order_or_a_withdrawal_is_owed_and_house_money_is_not(venue: Venue) -> None:
    order = PlaceOrder(
        client="alice",
        order="1",
        market="BTC-USD",
        side=Side.BUY,
        size_lots=SizeLots(3),
        price_ticks=PriceTicks(90),
    )
    request = RequestWithdrawal(client="bob", withdrawal="w", asset="USD", amount=Amount(100), destination="x")
    house = FundHouse(account="@insurance", asset="USD", amount=Amount(7_000), transaction="h")
    done(venue, order, request, house)
    assert venue.ledger.amount("alice", Bucket.HELD, "USD") > 0
    assert [venue.owed_to(client, "USD") for client in ("alice", "bob")] == [1_000, 500]
    assert published(venue).total == 1_500


def margined() -> Setup:
    """The setup with margin accounts, one of them isolated, and with custody."""
    rules = CustodyRules(
        tiers=(TierRule(tier="hot", signers=("h1",), threshold=1),),
        chains=tuple(ChainRule(asset=asset, confirmations=1) for asset in MARGIN_SETUP.assets),
    )
    return replace(MARGIN_SETUP, custody=rules)


def test_collateral_is_owed_in_isolated_accounts_too_and_a_debt_is_not_taken_off() -> None:
    venue = deposited(Venue(margined()), alice=1_000, bob=500)
    for request, target, amount in (("r1", "linear", 200), ("r2", "island", 300)):
        done(
            venue,
            TransferMargin(
                client="alice", request=request, asset="USD", amount=Amount(amount), source="spot", target=target
            ),
        )
    assert venue.ledger.amount("alice@island", Bucket.COLLATERAL, "USD") == 300
    assert venue.owed_to("alice", "USD") == 1_000
    done(venue, FundHouse(account="@lending", asset="USD", amount=Amount(50), transaction="h"))
    venue.post(
        CauseKind.BORROW,
        "alice/b",
        [
            ("@lending", Bucket.FREE, "USD", -50),
            ("alice", Bucket.FREE, "USD", 50),
            ("alice", Bucket.BORROWED, "USD", -50),
            ("@lending", Bucket.BORROWED, "USD", 50),
        ],
    )
    assert venue.owed_to("alice", "USD") == 1_050


class Omits(Venue):
    """It leaves the largest client out of what it publishes."""

    def owed_to(self, client: ClientId, asset: AssetId) -> Amount:
        return Amount(0) if client == "alice" else super().owed_to(client, asset)


class Understates(Venue):
    """It says of each client that it is owed half."""

    def owed_to(self, client: ClientId, asset: AssetId) -> Amount:
        return Amount(super().owed_to(client, asset) // 2)


@pytest.mark.parametrize("cheat", [Omits, Understates])
def test_a_client_that_is_left_out_or_in_with_less_has_no_valid_proof(cheat: type[Venue]) -> None:
    venue = deposited(cheat(CUSTODY_SETUP), alice=1_000, bob=500)
    shown = proof(venue, "alice")
    told = published(venue)
    assert told.total < 1_500
    assert verify_liability(shown, owed=owed("alice", 1_000), root=told.root, total=told.total) is not None


def test_a_publication_stays_shown_with_its_cut_while_the_ledger_goes_on(venue: Venue) -> None:
    told = published(venue)
    shown = Liabilities(asset="USD", root=told.root, total=told.total, seq=venue.seq)
    done(venue, ReportDeposit(asset="USD", transaction="late", client="carol", amount=Amount(9), height=1))
    assert venue.state().liabilities == (shown,)
    replayed = Venue(CUSTODY_SETUP)
    replayed.load(venue.state())
    assert replayed.state() == venue.state()
    again = published(venue)
    assert (again.total, venue.state().liabilities[0].seq) == (1_509, venue.seq)


def test_two_publications_of_the_same_balances_have_different_salts(venue: Venue) -> None:
    first = proof(venue, "alice")
    root = published(venue).root
    second = proof(venue, "alice")
    assert first.salt != second.salt
    assert published(venue).root != root


def test_liabilities_are_published_in_every_phase_and_of_known_assets_only(venue: Venue) -> None:
    (unknown,) = venue.apply(PublishLiabilities(asset="ETH"))
    assert unknown == Rejected(reason=Reason.UNKNOWN_ASSET)
    done(venue, SetPhase(phase=Phase.HALTED))
    assert published(venue).total == 1_500
