"""Each planted fault of orders shows: the faulty venue answers a short sequence otherwise than the healthy one."""

import pytest
from msgspec.structs import replace
from spot_venues import place

from holdfast_engine.faults import asked, orders
from holdfast_engine.faults.fault import Fault
from holdfast_engine.state import VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    AdvanceTime,
    AmendOrder,
    Amount,
    CancelAll,
    Collateral,
    Command,
    Conditions,
    CreditDeposit,
    DisconnectClient,
    Events,
    Margin,
    Market,
    MarkRule,
    Perpetual,
    Phase,
    PriceTicks,
    Product,
    ReportPrice,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Tier,
    TimeInForce,
    TransferMargin,
    Trigger,
    TriggerWhen,
)
from holdfast_model.vocabulary.wire import decode, encode

MARKET = Market(
    market="M",
    base="BTC",
    quote="USD",
    lot_amount=Amount(1),
    tick_amount=Amount(1),
    band_ppm=200_000,
    protection_ppm=10_000,
    reference_ticks=PriceTicks(100),
)
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        MARKET,
        replace(MARKET, market="F", maker_fee_ppm=1_000, taker_fee_ppm=1_000),
        replace(
            MARKET,
            market="P",
            product="linear",
            mark=MarkRule(sources=("s",), sources_min=1, age_max_ms=1_000, band_ppm=0),
            perpetual=Perpetual(tiers=(Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),)),
        ),
    ),
    clients=("alice", "bob"),
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
    auctions=True,
)
FAULTS = (*orders.FAULTS, *asked.FAULTS)
BUY, SELL = Side.BUY, Side.SELL
RESTORE = None
"""A step of a sequence: a snapshot is taken, and the venue restored from it."""
Step = Command | None


def to(*phases: Phase) -> list[Step]:
    return [SetPhase(phase=phase) for phase in phases]


OPEN = to(Phase.AUCTION, Phase.OPEN)
UP = Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(105))
STOP = place("alice", "stop", BUY, 1, 90, conditions=Conditions(trigger=UP))
GTT = place("alice", "x", BUY, 1, 90, time_in_force=TimeInForce.GTT, conditions=Conditions(expires_ms=10))
REDUCE = place("alice", "r", SELL, 9, 100, market="P", conditions=Conditions(reduce_only=True))


def amend(size: int, price: int) -> AmendOrder:
    return AmendOrder(client="alice", order="x", size_lots=SizeLots(size), price_ticks=PriceTicks(price))


def trade_at(price: int, *, market: str = "M") -> list[Step]:
    return [
        place("bob", f"s{price}", SELL, 1, price, market=market),
        place("alice", f"b{price}", BUY, 1, price, market=market),
    ]


SEQUENCES: dict[str, list[Step]] = {
    "stop-triggered-early": [*OPEN, STOP, *trade_at(104)],
    "stop-forgotten-at-restore": [*OPEN, STOP, RESTORE, *trade_at(105)],
    "good-till-time-outlives-restart": [*OPEN, GTT, RESTORE, AdvanceTime(time_ms=10)],
    "good-till-time-outlives-maintenance": [
        *OPEN,
        GTT,
        *to(Phase.CANCEL_ONLY, Phase.MAINTENANCE),
        AdvanceTime(time_ms=10),
        *to(Phase.POST_ONLY),
    ],
    "one-cancels-other-executes-both": [
        *OPEN,
        place("alice", "a", SELL, 1, 100),
        replace(STOP, conditions=Conditions(trigger=UP, one_cancels_other="a")),
        place("bob", "b", BUY, 1, 100),
    ],
    "reduce-only-flips-position": [
        *OPEN,
        AdvanceTime(time_ms=1),
        ReportPrice(source="s", market="P", price_ticks=PriceTicks(100), time_ms=1),
        *trade_at(100, market="P"),
        place("bob", "bid", BUY, 5, 100, market="P"),
        REDUCE,
    ],
    "price-band-ignored": [*OPEN, place("alice", "x", BUY, 1, 79)],
    "market-order-unprotected": [
        *OPEN,
        place("bob", "s", SELL, 1, 100),
        place("bob", "t", SELL, 1, 102),
        place("alice", "x", BUY, 2, None),
    ],
    "auction-skipped-at-open": to(Phase.CANCEL_ONLY, Phase.POST_ONLY, Phase.OPEN),
    "auction-never-uncrossed": [*to(Phase.AUCTION), *trade_at(100), *to(Phase.OPEN)],
    "opened-with-a-crossed-book": [
        *to(Phase.AUCTION),
        *trade_at(100),
        *to(Phase.CANCEL_ONLY, Phase.POST_ONLY),
    ],
    "uncrossed-at-the-wrong-price": [
        *to(Phase.AUCTION),
        place("alice", "b", BUY, 1, 110),
        place("bob", "s", SELL, 1, 90),
        *to(Phase.OPEN),
    ],
    "uncrossed-newest-first": [
        *to(Phase.AUCTION),
        place("alice", "b", BUY, 1, 100),
        place("alice", "c", BUY, 1, 100),
        place("bob", "s", SELL, 1, 100),
        *to(Phase.OPEN),
    ],
    "feed-omits-a-cancel": [
        *OPEN,
        place("alice", "b", BUY, 1, 100),
        place("alice", "s", SELL, 1, 100, self_trade=SelfTrade.CANCEL_OLDEST),
    ],
    "feed-tells-the-wrong-size": [*OPEN, place("bob", "s", SELL, 1, 100), place("alice", "b", BUY, 3, 100)],
    "cancel-all-misses-one": [*OPEN, place("alice", "b", BUY, 1, 100), CancelAll(client="alice")],
    "disconnect-ignored": [
        *OPEN,
        place("alice", "b", BUY, 1, 100, conditions=Conditions(cancel_on_disconnect=True)),
        DisconnectClient(client="alice"),
    ],
    "post-only-forgotten": [*OPEN, place("alice", "x", BUY, 1, 100, post_only=True)],
    "amendment-of-what-is-left": [
        *OPEN,
        place("alice", "x", BUY, 5, 100),
        place("bob", "s", SELL, 2, 100),
        amend(4, 100),
    ],
    "amendment-releases-nothing": [*OPEN, place("alice", "x", BUY, 5, 100), amend(3, 90)],
    "hold-rounded-anew": [
        *OPEN,
        place("alice", "x", BUY, 5, 100, market="F"),
        place("bob", "s", SELL, 2, 100, market="F"),
    ],
}


def run(venue_class: type[Venue], steps: list[Step]) -> list[Events]:
    """What a venue with funded clients answers to each step."""
    venue = venue_class(SETUP)
    answers: list[Events] = []
    for client in SETUP.clients:
        for asset in SETUP.assets:
            venue.apply(
                CreditDeposit(client=client, asset=asset, amount=Amount(9_999), transaction=f"{client}{asset}")
            )
    to_margin = [
        TransferMargin(client=client, request="in", asset="USD", amount=Amount(5_000), source="spot", target="linear")
        for client in SETUP.clients
    ]
    opened = False
    for step in steps:
        if step is None:
            again = venue_class(SETUP)
            again.load(decode(encode(venue.state()), VenueState))
            venue = again
            continue
        answers.append(venue.apply(step))
        if venue.phase is Phase.OPEN and not opened:
            opened = True
            for command in to_margin:
                venue.apply(command)
    return answers


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_answers_the_last_step_of_its_sequence_otherwise(fault: Fault) -> None:
    healthy, faulty = run(Venue, SEQUENCES[fault.name]), run(fault.parts.venue, SEQUENCES[fault.name])
    assert faulty[:-1] == healthy[:-1]
    assert faulty[-1] != healthy[-1]
