"""The tables of phases and stages, and what cannot be built as a setup."""

import re
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast_model.vocabulary import (
    LEGAL_COMMANDS,
    LEGAL_TRANSITIONS,
    STAGE_COMMANDS,
    STAGE_TRANSITIONS,
    AccrueInterest,
    ActivateRelease,
    AdvanceTime,
    AmendOrder,
    Amount,
    AnnounceMaintenance,
    ApproveWithdrawal,
    AssetAmount,
    AttestCustody,
    Borrow,
    BroadcastPayment,
    Burst,
    CancelAll,
    CancelAllOrders,
    CancelOrder,
    Collateral,
    Command,
    CommitNonce,
    ConfirmLoad,
    CoverShortfall,
    Crash,
    CreditDeposit,
    DeployRelease,
    DisconnectClient,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    HealReplica,
    KillReplica,
    Liquidate,
    Margin,
    Market,
    MarkRule,
    PartitionReplica,
    PauseReplica,
    PayWithdrawal,
    Perpetual,
    Phase,
    PlaceOrder,
    PriceTicks,
    Product,
    PromoteReplica,
    PublishLiabilities,
    ReadAccount,
    Reconcile,
    RefundWithdrawal,
    Repay,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportPrice,
    ReportReorganisation,
    RequestWithdrawal,
    Restart,
    RestartSigning,
    ResumeReplica,
    ResumeStage,
    SetPhase,
    SetProvider,
    SettleFunding,
    Setup,
    Side,
    SizeLots,
    Stage,
    StartReplica,
    Step,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
    TakeSnapshot,
    Tier,
    TransferMargin,
    command_count,
    commands_of,
    legal,
    margin_account,
    may_follow,
)
from holdfast_model.vocabulary.amounts import IDENTIFIER_PATTERN
from holdfast_model.vocabulary.wire import WireError, decode, encode


def place(*, post_only: bool) -> PlaceOrder:
    return PlaceOrder(
        client="a",
        order="1",
        market="M",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(1),
        post_only=post_only,
    )


ONE = Amount(1)
TAKES, MAKES = place(post_only=False), place(post_only=True)
AMEND = AmendOrder(client="a", order="1", size_lots=SizeLots(1), price_ticks=PriceTicks(1))
CANCEL = CancelOrder(client="a", order="1")
DISCONNECT = DisconnectClient(client="a")
CANCELS = (CANCEL, CancelAll(client="a"), CancelAllOrders(), DISCONNECT)
DEPOSIT = CreditDeposit(client="a", asset="B", amount=ONE, transaction="t")
HOUSE = FundHouse(account="@lending", asset="B", amount=ONE, transaction="t")
FUNDS = (
    DEPOSIT,
    RequestWithdrawal(client="a", withdrawal="w", asset="B", amount=ONE),
    PayWithdrawal(client="a", withdrawal="w"),
    RefundWithdrawal(client="a", withdrawal="w"),
    HOUSE,
    GrantPromotion(client="a", asset="B", amount=ONE, grant="g"),
)
LOANS = (
    TransferMargin(client="a", request="r", asset="B", amount=ONE, source="spot", target="p"),
    Borrow(client="a", request="r", asset="B", amount=ONE),
    Repay(client="a", request="r", asset="B", amount=ONE),
)
LIQUIDATE, FUNDING = Liquidate(client="a", product="p"), SettleFunding(market="M", period=1, rate_ppm=0)
RISK = (AccrueInterest(asset="B", period=1, rate_ppm=1), FUNDING, LIQUIDATE)
OPERATOR = (
    AdvanceTime(time_ms=1),
    ReportPrice(source="s", market="M", price_ticks=PriceTicks(1), time_ms=1),
    HaltProduct(product="p", cause="late"),
    ResumeStage(product="p", stage=Stage.OPEN),
    SetPhase(phase=Phase.OPEN),
    PauseReplica(replica="n2"),
    ResumeReplica(replica="n2"),
    PartitionReplica(replica="n2"),
    HealReplica(replica="n2"),
    KillReplica(replica="n2"),
    StartReplica(replica="n2"),
    PromoteReplica(replica="n2"),
    AnnounceMaintenance(begins_ms=0),
    ConfirmLoad(),
    ReadAccount(client="a"),
    SetProvider(asset="B", up=True),
    SuspendAsset(asset="B", deposits_open=True, withdrawals_open=True),
    Reconcile(),
    PublishLiabilities(asset="B"),
)
CHAIN = (
    ReportDeposit(asset="B", transaction="t", client="a", amount=ONE, height=1),
    ReportBlock(asset="B", height=1),
    ReportReorganisation(asset="B", height=1),
    ReportPayment(payment="a/w", transaction="t", height=1),
    AttestCustody(tier="hot", asset="B", amount=ONE),
    CoverShortfall(asset="B", amount=ONE, transaction="t"),
)
SIGNING = (
    ApproveWithdrawal(client="a", withdrawal="w"),
    SweepFunds(sweep="s", asset="B", amount=ONE, source="hot", target="cold"),
    CommitNonce(payment="a/w", signer="s1", commitment="00"),
    SubmitShare(payment="a/w", signer="s1", share="00"),
    RestartSigning(payment="a/w"),
    BroadcastPayment(payment="a/w"),
)
PAYMENTS = (*FUNDS, *SIGNING)
RELEASES = (DeployRelease(replica="n2", release="r1"), ActivateRelease(release="r1"))
COMMANDS = (
    *(TAKES, MAKES, AMEND, *CANCELS),
    *(*PAYMENTS, *LOANS, *RISK),
    *(*RELEASES, *CHAIN, *OPERATOR),
)


@pytest.mark.parametrize(
    ("phase", "allowed"),
    [
        (Phase.CLOSED, (*CANCELS, *PAYMENTS, *CHAIN)),
        (Phase.AUCTION, (TAKES, MAKES, *CANCELS, *PAYMENTS, *CHAIN)),
        (Phase.OPEN, (TAKES, MAKES, AMEND, *CANCELS, *PAYMENTS, *LOANS, *RISK, *CHAIN)),
        (Phase.POST_ONLY, (MAKES, AMEND, *CANCELS, *PAYMENTS, *LOANS, *CHAIN)),
        (Phase.CANCEL_ONLY, (*CANCELS, *PAYMENTS, *CHAIN)),
        (Phase.HALTED, (DISCONNECT, DEPOSIT, HOUSE, *CHAIN)),
        (Phase.MAINTENANCE, RELEASES),
    ],
)
def test_each_phase_lets_through_what_its_row_of_the_table_says(phase: Phase, allowed: tuple[Command, ...]) -> None:
    assert [command for command in COMMANDS if legal(phase, command)] == [*allowed, *OPERATOR]


def test_the_tables_speak_of_every_phase_and_stage_and_the_cases_above_of_every_command() -> None:
    assert set(LEGAL_COMMANDS) == set(LEGAL_TRANSITIONS) == set(Phase)
    assert set(STAGE_COMMANDS) == set(Stage)
    assert {type(command) for command in COMMANDS} == set(typing.get_args(Command))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Phase.CLOSED, {Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED}),
        (Phase.AUCTION, {Phase.OPEN, Phase.CLOSED, Phase.CANCEL_ONLY, Phase.HALTED}),
        (Phase.OPEN, {Phase.AUCTION, Phase.CANCEL_ONLY, Phase.HALTED}),
        (Phase.POST_ONLY, {Phase.AUCTION, Phase.OPEN, Phase.CANCEL_ONLY, Phase.HALTED}),
        (Phase.CANCEL_ONLY, {Phase.AUCTION, Phase.MAINTENANCE, Phase.POST_ONLY, Phase.HALTED}),
        (Phase.HALTED, {Phase.CANCEL_ONLY}),
        (Phase.MAINTENANCE, {Phase.POST_ONLY, Phase.CANCEL_ONLY}),
    ],
)
def test_each_phase_is_followed_by_what_its_row_of_the_table_says(before: Phase, after: set[Phase]) -> None:
    assert LEGAL_TRANSITIONS[before] == after
    for phase in Phase:
        assert may_follow(before, phase, auctions=False) == (phase in after)
        opened_without = (before, phase) == (Phase.POST_ONLY, Phase.OPEN)
        assert may_follow(before, phase, auctions=True) == (phase in after and not opened_without)


def _paths(start: Phase, *, auctions: bool, without: frozenset[Phase] = frozenset()) -> set[Phase]:
    reached, front = {start}, [start]
    while front:
        before = front.pop()
        for phase in set(Phase) - reached - without:
            if may_follow(before, phase, auctions=auctions):
                reached.add(phase)
                front.append(phase)
    return reached


@pytest.mark.parametrize("start", list(Phase))
@pytest.mark.parametrize("auctions", [False, True])
def test_no_phase_is_a_dead_end(start: Phase, *, auctions: bool) -> None:
    assert _paths(start, auctions=auctions) == set(Phase)


@pytest.mark.parametrize("start", list(Phase))
def test_no_phase_reopens_without_an_auction_or_a_post_only_phase(start: Phase) -> None:
    if start not in (Phase.OPEN, Phase.POST_ONLY, Phase.AUCTION):
        gates = frozenset({Phase.POST_ONLY, Phase.AUCTION})
        assert Phase.OPEN not in _paths(start, auctions=False, without=gates)
    if start not in (Phase.OPEN, Phase.AUCTION):
        assert Phase.OPEN not in _paths(start, auctions=True, without=frozenset({Phase.AUCTION}))


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [
        (Stage.HALTED, ()),
        (Stage.CANCEL_ONLY, CANCELS),
        (Stage.POST_ONLY, (TAKES, MAKES, AMEND, *CANCELS)),
        (Stage.OPEN, (TAKES, MAKES, AMEND, *CANCELS, FUNDING, LIQUIDATE)),
    ],
)
def test_each_stage_lets_through_what_its_row_of_the_table_says(stage: Stage, allowed: tuple[Command, ...]) -> None:
    assert tuple(command for command in COMMANDS if type(command) in STAGE_COMMANDS[stage]) == allowed


def test_a_product_is_opened_one_stage_at_a_time_and_no_stage_is_passed_over() -> None:
    stage, passed = Stage.HALTED, [Stage.HALTED]
    while stage in STAGE_TRANSITIONS:
        stage = STAGE_TRANSITIONS[stage]
        passed.append(stage)
    assert passed == [Stage.HALTED, Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN] == list(Stage)


def test_what_a_stage_allows_the_next_one_allows_as_well() -> None:
    for before, after in STAGE_TRANSITIONS.items():
        assert STAGE_COMMANDS[before] < STAGE_COMMANDS[after] or before is Stage.POST_ONLY
        assert STAGE_COMMANDS[before] <= STAGE_COMMANDS[after]


@given(st.from_regex(IDENTIFIER_PATTERN.replace("$", r"\Z")), st.from_regex(IDENTIFIER_PATTERN.replace("$", r"\Z")))
def test_an_isolated_account_is_no_client_s_and_a_cross_account_is_the_client_s(client: str, product: str) -> None:
    assert margin_account(client, product, isolated=False) == client
    isolated = margin_account(client, product, isolated=True)
    assert isolated.split("@") == [client, product]
    assert re.match(IDENTIFIER_PATTERN, isolated) is None


MARKET = Market(market="B-U", base="B", quote="U", lot_amount=Amount(1), tick_amount=Amount(1))
GOOD = Setup(assets=("B", "U"), markets=(MARKET,), clients=("a", "b"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"assets": ("B", "U", "B")}, "assets: an id stands twice in B, U, B"),
        ({"clients": ("a", "a")}, "clients: an id stands twice in a, a"),
        ({"markets": (MARKET, MARKET)}, "markets: an id stands twice in B-U, B-U"),
        ({"assets": ("B", "X")}, "market B-U: base and quote must be two of B, X"),
        ({"assets": ("U", "X")}, "market B-U: base and quote must be two of U, X"),
        ({"markets": (replace(MARKET, quote="B"),)}, "market B-U: base and quote must be two of"),
        (
            {"markets": (replace(MARKET, lot_amount=Amount(0)),)},
            "lot_amount and tick_amount must be positive",
        ),
        (
            {"markets": (replace(MARKET, tick_amount=Amount(-1)),)},
            "lot_amount and tick_amount must be positive",
        ),
    ],
)
def test_a_setup_that_contradicts_itself_cannot_be_built_and_says_why(change: dict[str, object], said: str) -> None:
    assert replace(GOOD) == GOOD
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(GOOD, **change)


RULE = MarkRule(sources=("x", "y"), sources_min=2, age_max_ms=60_000, band_ppm=100_000)
PRICED = replace(MARKET, mark=RULE)
LOW = Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000)
HIGH = Tier(value_floor=Amount(1_000), initial_ppm=200_000, maintenance_ppm=100_000)
PERPETUAL = Perpetual(tiers=(LOW, HIGH))
SWAP = replace(MARKET, market="B-P", product="linear", mark=RULE, perpetual=PERPETUAL)
UNIT = Collateral(asset="U")
OTHER = Collateral(asset="B", haircut_ppm=100_000, market="B-U")
MARGIN = Margin(unit="U", collateral=(UNIT, OTHER), credit=(AssetAmount(asset="B", amount=ONE),))
WHOLE = Setup(
    assets=("B", "U", "V"),
    markets=(PRICED, SWAP),
    clients=("a", "b"),
    products=(Product(product="linear"), Product(product="island", isolated=True)),
    margin=MARGIN,
    promotion_max=(AssetAmount(asset="U", amount=ONE),),
    auctions=True,
)


def tiers(*tiers: Tier) -> dict[str, object]:
    return {"markets": (PRICED, replace(SWAP, perpetual=replace(PERPETUAL, tiers=tiers)))}


def swap(**change: object) -> dict[str, object]:
    return {"markets": (PRICED, replace(SWAP, **change))}


def margin(**change: object) -> dict[str, object]:
    return {"margin": replace(MARGIN, **change)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"products": (*WHOLE.products, Product(product="linear"))}, "products: an id stands twice in spot, linear"),
        ({"products": (*WHOLE.products, Product(product="spot"))}, "products: an id stands twice in spot, linear"),
        ({"promotion_max": WHOLE.promotion_max * 2}, "promotion_max: an id stands twice in U, U"),
        ({"promotion_max": (AssetAmount(asset="X", amount=ONE),)}, "promotion_max: X is no asset"),
        (
            {"markets": (replace(PRICED, reference_ticks=PriceTicks(0)),)},
            "reference_ticks must be positive",
        ),
        (swap(mark=replace(RULE, sources=("x", "x"))), "market B-P: a source stands twice in x, x"),
        (swap(mark=replace(RULE, sources_min=3)), "market B-P: sources_min must be at most 2, all sources"),
        (
            {"markets": (replace(PRICED, product="linear"),)},
            "a spot market is of the product spot, not",
        ),
        (swap(product="moon"), "market B-P: product moon must be one of linear, island"),
        (swap(product="spot"), "market B-P: product spot must be one of linear, island"),
        (swap(mark=None), "market B-P: a perpetual needs a mark rule"),
        ({"margin": None}, "market B-P: a perpetual is quoted in the unit of account of `margin`"),
        (swap(quote="V"), "market B-P: a perpetual is quoted in the unit of account of `margin`"),
        (tiers(), "market B-P: the first tier's value_floor must be 0"),
        (tiers(HIGH), "market B-P: the first tier's value_floor must be 0"),
        (tiers(LOW, replace(HIGH, value_floor=Amount(0))), "market B-P: value_floor must rise by tier"),
        (tiers(replace(LOW, initial_ppm=300_000), HIGH), "market B-P: rates must not fall by tier"),
        (tiers(LOW, replace(HIGH, maintenance_ppm=40_000)), "market B-P: rates must not fall by tier"),
        (tiers(replace(LOW, maintenance_ppm=0)), "maintenance_ppm must be above 0, at most initial_ppm"),
        (tiers(replace(LOW, maintenance_ppm=100_001)), "maintenance_ppm must be above 0, at most initial_ppm"),
        (margin(collateral=(UNIT, OTHER, OTHER)), "margin: an asset stands twice in U, B, B"),
        (margin(collateral=(OTHER,)), "margin: the unit of account U must itself be collateral"),
        (margin(collateral=(UNIT, replace(OTHER, asset="X"))), "margin: collateral X: it is no asset"),
        (
            margin(collateral=(replace(UNIT, haircut_ppm=1), OTHER)),
            "margin: collateral U: the unit has no market and no haircut",
        ),
        (
            margin(collateral=(replace(UNIT, market="B-U"), OTHER)),
            "margin: collateral U: the unit has no market and no haircut",
        ),
        *(
            (
                margin(collateral=(UNIT, replace(OTHER, **wrong))),
                f"margin: collateral {wrong.get('asset', 'B')}: market must be a spot market",
            )
            for wrong in ({"market": None}, {"market": "X-U"}, {"market": "B-P"}, {"asset": "V"})
        ),
        (
            {"markets": (MARKET, SWAP)},
            "margin: collateral B: market must be a spot market B against U with a mark rule",
        ),
        (
            margin(credit=(AssetAmount(asset="V", amount=ONE),)),
            "margin: credit V: only collateral can be borrowed",
        ),
        (
            margin(loan_maintenance_ppm=200_001),
            "margin: loan_maintenance_ppm must be at most loan_initial_ppm",
        ),
    ],
)
def test_a_setup_with_margin_that_contradicts_itself_cannot_be_built(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(WHOLE, **change)


def test_a_setup_with_margin_is_read_back_as_it_was_written() -> None:
    assert decode(encode(WHOLE), Setup) == WHOLE


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"clients":["a","b"]', '"clients":["a","a"]', "clients: an id stands twice"),
        ('"ingress_capacity":8', '"ingress_capacity":0', "ingress_capacity"),
        ('"ingress_capacity":8', '"ingress_capacity":1000001', "ingress_capacity"),
        ('"maker_fee_ppm":0', '"maker_fee_ppm":-1', "maker_fee_ppm"),
        ('"taker_fee_ppm":0', '"taker_fee_ppm":1000001', "taker_fee_ppm"),
        ('"clients":["a","b"]', '"clients":["@fees"]', "clients"),
    ],
)
def test_a_setup_from_outside_is_held_to_the_same_rules(old: str, new: str, said: str) -> None:
    text = encode(GOOD).decode()
    assert decode(text, Setup) == GOOD
    assert old in text
    with pytest.raises(WireError, match=said):
        decode(text.replace(old, new), Setup)


@pytest.mark.parametrize(
    ("step", "handed_over", "counted"),
    [
        (CANCEL, (CANCEL,), 1),
        (Burst(commands=(CANCEL, TAKES)), (CANCEL, TAKES), 2),
        (TakeSnapshot(), (), 1),
        (Crash(), (), 1),
        (Crash(in_flight=CANCEL), (), 2),
        (Restart(), (), 1),
    ],
)
def test_a_step_hands_over_its_commands_and_counts_for_as_many(
    step: Step, handed_over: tuple[Command, ...], counted: int
) -> None:
    assert commands_of(step) == handed_over
    assert command_count((step,)) == counted
    assert command_count((step, CANCEL)) == counted + 1
