"""Refusals in the order in which they are decided: each row breaks its rule and every rule after it."""

from copy import deepcopy

import pytest
from msgspec.structs import replace

from holdfast_engine.state import VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    Bucket,
    CancelOrder,
    Command,
    CreditDeposit,
    Market,
    PayWithdrawal,
    Phase,
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
    TimeInForce,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(
            market="M",
            base="BTC",
            quote="USD",
            lot_amount=Amount(1),
            tick_amount=Amount(1),
            maker_fee_ppm=100_000,
            taker_fee_ppm=100_000,
        ),
    ),
    clients=("alice", "bob"),
)


def order(client: str, identifier: str, side: Side, size: int, price: int | None) -> PlaceOrder:
    return PlaceOrder(
        client=client,
        order=identifier,
        market="M",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=None if price is None else PriceTicks(price),
    )


@pytest.fixture
def venue() -> Venue:
    """Alice has little; her order `filled` is filled, `part` is post-only and half filled; bob asks 10 lots at 20."""
    venue = Venue(SETUP)
    for command in (
        CreditDeposit(client="alice", asset="USD", amount=Amount(100), transaction="t1"),
        CreditDeposit(client="bob", asset="BTC", amount=Amount(1000), transaction="t2"),
        order("alice", "filled", Side.BUY, 1, 10),
        order("bob", "s1", Side.SELL, 1, 10),
        replace(order("alice", "part", Side.BUY, 5, 5), post_only=True),
        order("bob", "s2", Side.SELL, 2, 5),
        order("bob", "ask", Side.SELL, 10, 20),
        RequestWithdrawal(client="alice", withdrawal="open", asset="USD", amount=Amount(1)),
        RequestWithdrawal(client="alice", withdrawal="paid", asset="USD", amount=Amount(1)),
        PayWithdrawal(client="alice", withdrawal="paid"),
        RequestWithdrawal(client="alice", withdrawal="refunded", asset="USD", amount=Amount(1)),
        RefundWithdrawal(client="alice", withdrawal="refunded"),
    ):
        assert not isinstance(venue.apply(command)[0], Rejected), command
    return venue


PLACE = PlaceOrder(
    client="nobody",
    order="filled",
    market="NOPE",
    side=Side.BUY,
    size_lots=SizeLots(0),
    price_ticks=PriceTicks(0),
    time_in_force=TimeInForce.FOK,
    post_only=True,
)
AMEND = AmendOrder(client="nobody", order="nope", size_lots=SizeLots(0), price_ticks=PriceTicks(0))
CANCEL = CancelOrder(client="nobody", order="nope")
DEPOSIT = CreditDeposit(client="nobody", asset="EUR", amount=Amount(0), transaction="t1")
REQUEST = RequestWithdrawal(client="nobody", withdrawal="open", asset="EUR", amount=Amount(0))
Repairs = list[tuple[Reason, dict[str, object]]]

SETTLEMENTS: Repairs = [
    (Reason.UNKNOWN_WITHDRAWAL, {"client": "bob"}),
    (Reason.UNKNOWN_WITHDRAWAL, {"client": "alice", "withdrawal": "paid"}),
    (Reason.WITHDRAWAL_NOT_OPEN, {"withdrawal": "refunded"}),
    (Reason.WITHDRAWAL_NOT_OPEN, {"withdrawal": "open"}),
]

# Each row: the refusal, and what is then put right; what is put right later is wrong until then.
ORDER_OF_REFUSALS: list[tuple[Command, Repairs]] = [
    (
        PLACE,
        [
            (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
            (Reason.UNKNOWN_MARKET, {"market": "M"}),
            (Reason.SIZE_NOT_POSITIVE, {"size_lots": 1000}),
            (Reason.PRICE_NOT_POSITIVE, {"price_ticks": None}),
            (Reason.MARKET_ORDER_CANNOT_REST, {"price_ticks": 20}),
            (Reason.DUPLICATE_ORDER, {"order": "new"}),
            (Reason.POST_ONLY_WOULD_TAKE, {"post_only": False}),
            (Reason.FOK_UNFILLABLE, {"time_in_force": TimeInForce.GTC}),
            (Reason.INSUFFICIENT_FUNDS, {"size_lots": 1}),
        ],
    ),
    (
        AMEND,
        [
            (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
            (Reason.SIZE_NOT_POSITIVE, {"size_lots": 2}),
            (Reason.PRICE_NOT_POSITIVE, {"price_ticks": 1000}),
            (Reason.UNKNOWN_ORDER, {"order": "filled"}),
            (Reason.ORDER_NOT_OPEN, {"order": "part"}),
            (Reason.SIZE_NOT_ABOVE_FILLED, {"size_lots": 1000}),
            (Reason.POST_ONLY_WOULD_TAKE, {"price_ticks": 19}),
            (Reason.INSUFFICIENT_FUNDS, {"size_lots": 3}),
        ],
    ),
    (
        CANCEL,
        [
            (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
            (Reason.UNKNOWN_ORDER, {"order": "filled"}),
            (Reason.ORDER_NOT_OPEN, {"order": "part"}),
        ],
    ),
    (
        DEPOSIT,
        [
            (Reason.UNKNOWN_CLIENT, {"client": "bob"}),
            (Reason.UNKNOWN_ASSET, {"asset": "BTC"}),
            (Reason.AMOUNT_NOT_POSITIVE, {"amount": 1}),
            (Reason.DUPLICATE_DEPOSIT, {"transaction": "t3"}),
        ],
    ),
    (
        REQUEST,
        [
            (Reason.UNKNOWN_CLIENT, {"client": "alice"}),
            (Reason.UNKNOWN_ASSET, {"asset": "USD"}),
            (Reason.AMOUNT_NOT_POSITIVE, {"amount": 1000}),
            (Reason.DUPLICATE_WITHDRAWAL, {"withdrawal": "new"}),
            (Reason.INSUFFICIENT_FUNDS, {"amount": 1}),
        ],
    ),
    (PayWithdrawal(client="nobody", withdrawal="open"), SETTLEMENTS),
    (RefundWithdrawal(client="nobody", withdrawal="open"), SETTLEMENTS),
    (SetPhase(phase=Phase.MAINTENANCE), [(Reason.TRANSITION_ILLEGAL, {"phase": Phase.CANCEL_ONLY})]),
]
ROWS = [
    pytest.param(
        replace(command, **{name: value for _, repair in repairs[:row] for name, value in repair.items()}),
        reason,
        id=f"{type(command).__name__} {row + 1} {reason}",
    )
    for command, repairs in ORDER_OF_REFUSALS
    for row, (reason, _) in enumerate(repairs)
]
GOOD = [
    pytest.param(
        replace(command, **{name: value for _, repair in repairs for name, value in repair.items()}),
        id=type(command).__name__,
    )
    for command, repairs in ORDER_OF_REFUSALS
]


def frozen(venue: Venue) -> VenueState:
    return deepcopy(venue.state())


@pytest.mark.parametrize(("command", "reason"), ROWS)
def test_the_first_broken_rule_is_the_reason_and_nothing_has_an_effect(
    venue: Venue, command: Command, reason: Reason
) -> None:
    before = frozen(venue)
    assert venue.apply(command) == (Rejected(reason=reason),)
    assert frozen(venue) == replace(before, seq=before.seq + 1)


@pytest.mark.parametrize("command", GOOD)
def test_a_command_that_breaks_none_of_the_rules_takes_effect(venue: Venue, command: Command) -> None:
    before = frozen(venue)
    assert not any(isinstance(event, Rejected) for event in venue.apply(command))
    assert frozen(venue) != replace(before, seq=before.seq + 1)


@pytest.mark.parametrize("command", [PLACE, AMEND, CANCEL, DEPOSIT, REQUEST])
def test_the_phase_comes_before_every_other_rule(venue: Venue, command: Command) -> None:
    venue.apply(SetPhase(phase=Phase.CANCEL_ONLY))
    venue.apply(SetPhase(phase=Phase.MAINTENANCE))
    assert venue.apply(command) == (Rejected(reason=Reason.PHASE_FORBIDS),)


@pytest.mark.parametrize("price", [20, None])
def test_an_order_is_refused_by_one_unit_of_what_it_may_cost_with_its_fee(venue: Venue, price: int | None) -> None:
    free = venue.ledger.amount("alice", Bucket.FREE, "USD")
    cost = 20 + 2
    top_up = CreditDeposit(client="alice", asset="USD", amount=Amount(10 * cost - free - 1), transaction="t9")
    venue.apply(top_up)
    command = order("alice", "x", Side.BUY, 10, price)
    assert venue.apply(command) == (Rejected(reason=Reason.INSUFFICIENT_FUNDS),)
    venue.apply(replace(top_up, amount=Amount(1), transaction="t10"))
    assert not isinstance(venue.apply(command)[0], Rejected)
    assert venue.ledger.amount("alice", Bucket.FREE, "USD") == 0
