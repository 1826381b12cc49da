"""The phase table, and what cannot be built as a setup."""

import re
import typing
from collections.abc import Mapping

import msgspec
import pytest

from holdfast_model.vocabulary import (
    LEGAL_COMMANDS,
    LEGAL_TRANSITIONS,
    AmendOrder,
    Amount,
    Burst,
    CancelOrder,
    Command,
    Crash,
    CreditDeposit,
    Market,
    PauseStandby,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteStandby,
    RefundWithdrawal,
    RequestWithdrawal,
    Restart,
    ResumeStandby,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Step,
    TakeSnapshot,
    command_count,
    commands_of,
    legal,
)
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


TAKES, MAKES = place(post_only=False), place(post_only=True)
CANCEL = CancelOrder(client="a", order="1")
AMEND = AmendOrder(client="a", order="1", size_lots=SizeLots(1), price_ticks=PriceTicks(1))
DEPOSIT = CreditDeposit(client="a", asset="B", amount=Amount(1), transaction="t")
REQUEST = RequestWithdrawal(client="a", withdrawal="w", asset="B", amount=Amount(1))
PAY, REFUND = PayWithdrawal(client="a", withdrawal="w"), RefundWithdrawal(client="a", withdrawal="w")
OPERATOR = (SetPhase(phase=Phase.OPEN), PauseStandby(), ResumeStandby(), PromoteStandby())
COMMANDS = (TAKES, MAKES, CANCEL, AMEND, DEPOSIT, REQUEST, PAY, REFUND, *OPERATOR)


@pytest.mark.parametrize(
    ("phase", "allowed"),
    [
        (Phase.OPEN, (TAKES, MAKES, CANCEL, AMEND, DEPOSIT, REQUEST, PAY, REFUND)),
        (Phase.POST_ONLY, (MAKES, CANCEL, AMEND, DEPOSIT, REQUEST, PAY, REFUND)),
        (Phase.CANCEL_ONLY, (CANCEL, DEPOSIT, REQUEST, PAY, REFUND)),
        (Phase.HALTED, (DEPOSIT,)),
        (Phase.MAINTENANCE, ()),
    ],
)
def test_each_phase_lets_through_what_its_row_of_the_table_says(phase: Phase, allowed: tuple[Command, ...]) -> None:
    assert [command for command in COMMANDS if legal(phase, command)] == [*allowed, *OPERATOR]


def test_the_table_speaks_of_every_phase_and_the_cases_above_of_every_command() -> None:
    assert set(LEGAL_COMMANDS) == set(LEGAL_TRANSITIONS) == set(Phase)
    assert {type(command) for command in COMMANDS} == set(typing.get_args(Command))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Phase.OPEN, {Phase.CANCEL_ONLY, Phase.HALTED}),
        (Phase.POST_ONLY, {Phase.OPEN, Phase.CANCEL_ONLY, Phase.HALTED}),
        (Phase.CANCEL_ONLY, {Phase.MAINTENANCE, Phase.POST_ONLY, Phase.HALTED}),
        (Phase.HALTED, {Phase.CANCEL_ONLY}),
        (Phase.MAINTENANCE, {Phase.POST_ONLY, Phase.CANCEL_ONLY}),
    ],
)
def test_each_phase_is_followed_by_what_its_row_of_the_table_says(before: Phase, after: set[Phase]) -> None:
    assert LEGAL_TRANSITIONS[before] == after


def _paths(table: Mapping[Phase, frozenset[Phase]], start: Phase) -> set[Phase]:
    reached, front = {start}, [start]
    while front:
        for phase in table[front.pop()] - reached:
            reached.add(phase)
            front.append(phase)
    return reached


@pytest.mark.parametrize("start", list(Phase))
def test_no_phase_is_a_dead_end_and_none_reopens_without_a_post_only_phase(start: Phase) -> None:
    assert _paths(LEGAL_TRANSITIONS, start) == set(Phase)
    without = {before: after - {Phase.POST_ONLY} for before, after in LEGAL_TRANSITIONS.items()}
    if start not in (Phase.OPEN, Phase.POST_ONLY):
        assert Phase.OPEN not in _paths(without, start)


MARKET = Market(market="B-U", base="B", quote="U", lot_amount=Amount(1), tick_amount=Amount(1))
GOOD = Setup(assets=("B", "U"), markets=(MARKET,), clients=("a", "b"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"assets": ("B", "U", "B")}, "assets: an id stands twice in B, U, B"),
        ({"clients": ("a", "a")}, "clients: an id stands twice in a, a"),
        ({"markets": (MARKET, MARKET)}, "markets: a market id stands twice"),
        ({"assets": ("B", "X")}, "market B-U: base and quote must be two of B, X"),
        ({"assets": ("U", "X")}, "market B-U: base and quote must be two of U, X"),
        ({"markets": (msgspec.structs.replace(MARKET, quote="B"),)}, "market B-U: base and quote must be two of"),
        (
            {"markets": (msgspec.structs.replace(MARKET, lot_amount=Amount(0)),)},
            "lot_amount and tick_amount must be positive",
        ),
        (
            {"markets": (msgspec.structs.replace(MARKET, tick_amount=Amount(-1)),)},
            "lot_amount and tick_amount must be positive",
        ),
    ],
)
def test_a_setup_that_contradicts_itself_cannot_be_built_and_says_why(change: dict[str, object], said: str) -> None:
    assert msgspec.structs.replace(GOOD) == GOOD
    with pytest.raises(ValueError, match=re.escape(said)):
        msgspec.structs.replace(GOOD, **change)


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
