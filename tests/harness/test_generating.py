"""Generated sequences: the same on any machine, of every kind, and never of what an engine cannot do."""

import json
import os
import subprocess
import sys
import typing
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from holdfast.engine import LocalEngine
from holdfast.generating import Source, episode_random, episode_steps
from holdfast.running import Runner, Views
from holdfast.setups import (
    AUCTION_SETUP,
    CUSTODY_FROST_SETUP,
    CUSTODY_SETUP,
    MARGIN_SETUP,
    OPERATIONS_SETUP,
    SMALL_SETUP,
    fitted,
    setups_for,
)
from holdfast_model.vocabulary import (
    AccountRead,
    AccrueInterest,
    AdvanceTime,
    Borrow,
    CancelAll,
    Capability,
    ChainCommand,
    Command,
    Crash,
    CustodyCommand,
    CustodyEvent,
    DisconnectClient,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    LoadConfirmed,
    MaintenanceAnnounced,
    PaymentSigned,
    Phase,
    PhaseChanged,
    PlaceOrder,
    Reason,
    Record,
    Rejected,
    ReleaseActivated,
    Repay,
    ReportPrice,
    ResumeStage,
    SetPhase,
    SettleFunding,
    Setup,
    SignerCommand,
    Step,
    TimeInForce,
    TransferMargin,
    TriggerBy,
    commands_of,
)

EVERYTHING = frozenset(Capability)
OF_THE_PROCEDURE = (
    Reason.NOT_ANNOUNCED,
    Reason.NOT_LOADED,
    Reason.ORDERS_OPEN,
    Reason.RELEASE_DIFFERS,
    Reason.REPLICAS_DIFFER,
    Reason.RATE_LIMITED,
    Reason.NOT_PRIMARY,
    Reason.NO_PRIMARY,
    Reason.NO_QUORUM,
    Reason.REPLICA_STALE,
    Reason.UNAVAILABLE,
)
OF_CUSTODY = (
    Reason.ALREADY_SAID,
    Reason.AMOUNT_ABOVE_DEBT,
    Reason.ASSET_SUSPENDED,
    Reason.COMMITMENT_INVALID,
    Reason.COMMITMENT_REUSED,
    Reason.CUSTODY_SHORT,
    Reason.DUPLICATE_DEPOSIT,
    Reason.HEIGHT_AHEAD,
    Reason.HEIGHT_NOT_HIGHER,
    Reason.NOT_RECONCILED,
    Reason.ONLY_BY_CUSTODY,
    Reason.PAYMENT_NOT_OPEN,
    Reason.PROVIDER_DOWN,
    Reason.REORGANISATION_ILLEGAL,
    Reason.SHARE_INVALID,
    Reason.SIGNER_NOT_ASKED,
    Reason.TIER_LIMIT,
    Reason.TIME_LOCKED,
    Reason.TRANSFER_ILLEGAL,
    Reason.UNKNOWN_PAYMENT,
    Reason.UNKNOWN_SIGNER,
    Reason.UNKNOWN_TIER,
)
SETUPS = {
    "small": SMALL_SETUP,
    "margin": MARGIN_SETUP,
    "auction": AUCTION_SETUP,
    "operations": OPERATIONS_SETUP,
    "custody": CUSTODY_SETUP,
}
MANIFEST = Path(__file__).parents[2] / "adapters" / "holdfast_adapters" / "nodejs_order_book" / "adapter.json"
PLAIN = frozenset(Capability(name) for name in json.loads(MANIFEST.read_text())["capabilities"])
C = Capability


def drawn(setup: Setup, capabilities: frozenset[Capability], episodes: int, seed: int = 1) -> Iterator[Record]:
    """The steps of so many episodes on the reference, with their answers."""
    for number in range(episodes):
        engine = LocalEngine()
        engine.limit(capabilities)
        runner = Runner(engine, setup, views=Views.AFTER_OPERATIONS)
        source = Source(episode_random(seed, number), setup, capabilities)
        for _ in range(episode_steps(setup)):
            step = source.next(runner.auditor.told, runner.known)
            yield runner.do(step) or Record(step=step)


def given(step: Step) -> tuple[Command, ...]:
    """The commands of a step, one in flight included."""
    if isinstance(step, Crash) and step.in_flight is not None:
        return (step.in_flight,)
    return commands_of(step)


@cache
def some(name: str) -> tuple[Record, ...]:
    """Twenty-five episodes of a setup, drawn once for all tests."""
    return tuple(drawn(SETUPS[name], EVERYTHING, 25))


def commands(name: str) -> list[Command]:
    return [command for record in some(name) for command in given(record.step)]


PROGRAM = """
import sys
from hashlib import sha256
sys.path.insert(0, sys.argv[1])
from test_generating import SETUPS, EVERYTHING, drawn
from holdfast_model.vocabulary.wire import encode
digest = sha256()
for setup in SETUPS.values():
    for record in drawn(setup, EVERYTHING, 3, seed=7):
        digest.update(encode(record))
print(digest.hexdigest())
"""


def test_one_seed_gives_one_sequence_whatever_the_order_of_hashes() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert len(digests) == 1


def test_every_command_is_drawn() -> None:
    met = Counter(type(command) for name in SETUPS for command in commands(name))
    assert {kind for kind in typing.get_args(Command) if met[kind] < 5} == set()


def test_what_speaks_of_custody_is_drawn_where_there_is_some_only() -> None:
    custody = set(typing.get_args(ChainCommand | SignerCommand | CustodyCommand))
    for name in ("small", "margin"):
        assert not custody & {type(command) for command in commands(name)}
    without = EVERYTHING - {C.CUSTODY}
    met = {type(command) for record in drawn(CUSTODY_SETUP, without, 5) for command in given(record.step)}
    assert not custody & met


def test_custody_is_asked_for_what_it_refuses_in_every_way() -> None:
    events = [event for record in some("custody") for answer in record.answers for event in answer.events]
    reasons = Counter(event.reason for event in events if isinstance(event, Rejected))
    assert {reason: reasons[reason] for reason in OF_CUSTODY if not reasons[reason]} == {}
    done = Counter(type(event) for event in events)
    assert {kind: done[kind] for kind in typing.get_args(CustodyEvent) if not done[kind]} == {}


def test_custody_is_drawn_with_the_scheme_of_its_tiers() -> None:
    records = list(drawn(CUSTODY_FROST_SETUP, EVERYTHING, 1))
    told = [event for record in records for answer in record.answers for event in answer.events]
    signed = [event for event in told if isinstance(event, PaymentSigned)]
    assert signed
    assert not any(isinstance(event, Rejected) and event.reason is Reason.OTHER for event in told)


def test_what_a_procedure_asks_for_is_done_and_left_out() -> None:
    events = [event for record in some("operations") for answer in record.answers for event in answer.events]
    reasons = Counter(event.reason for event in events if isinstance(event, Rejected))
    assert min(reasons[reason] for reason in OF_THE_PROCEDURE) > 0
    done = Counter(type(event) for event in events)
    assert min(done[kind] for kind in (MaintenanceAnnounced, ReleaseActivated, LoadConfirmed, AccountRead)) > 0
    assert any(isinstance(event, PhaseChanged) and event.before is Phase.MAINTENANCE for event in events)


def test_every_condition_of_an_order_is_drawn_in_the_setup_with_margin() -> None:
    orders = [command for command in commands("margin") if isinstance(command, PlaceOrder)]
    conditions = [order.conditions for order in orders if order.conditions is not None]
    triggers = [item.trigger for item in conditions if item.trigger is not None]
    assert {trigger.by for trigger in triggers} == set(TriggerBy)
    assert len({trigger.when for trigger in triggers}) == 2
    assert any(item.reduce_only for item in conditions)
    assert any(item.one_cancels_other for item in conditions)
    assert any(item.cancel_on_disconnect for item in conditions)
    assert {order.time_in_force for order in orders} == set(TimeInForce)
    assert any(order.conditions is None for order in orders)


def test_ids_that_were_given_are_given_again() -> None:
    for kind in (PlaceOrder, TransferMargin, Borrow, GrantPromotion, FundHouse):
        times = Counter(command for command in commands("margin") if isinstance(command, kind))
        assert max(times.values()) > 1, kind


def test_liquidations_come_as_far_as_each_of_their_steps() -> None:
    steps = [
        event.kind
        for record in some("margin")
        for answer in record.answers
        for event in answer.events
        if isinstance(event, LiquidationStepped)
    ]
    assert set(steps) == set(LiquidationKind)


def test_phases_of_auctions_are_drawn_for_engines_that_know_them_only() -> None:
    def phases(capabilities: frozenset[Capability]) -> set[Phase]:
        records = drawn(SMALL_SETUP, capabilities, 25)
        return {record.step.phase for record in records if isinstance(record.step, SetPhase)}

    assert Phase.AUCTION in phases(EVERYTHING)
    assert phases(EVERYTHING - {C.AUCTION}) == {
        Phase.OPEN,
        Phase.POST_ONLY,
        Phase.CANCEL_ONLY,
        Phase.HALTED,
        Phase.MAINTENANCE,
    }


@pytest.mark.parametrize(
    ("without", "never"),
    [
        ({C.CANCEL_ALL}, (CancelAll,)),
        ({C.CANCEL_ON_DISCONNECT}, (DisconnectClient,)),
        ({C.BORROWING}, (Borrow, Repay, AccrueInterest)),
        ({C.LIQUIDATION}, (Liquidate,)),
        ({C.PRODUCT_HALTS}, (HaltProduct, ResumeStage)),
        ({C.PROMOTIONS}, (GrantPromotion,)),
        ({C.PROMOTIONS, C.BORROWING, C.LIQUIDATION}, (FundHouse,)),
        ({C.PHASES}, (SetPhase,)),
    ],
)
def test_what_an_engine_cannot_do_is_not_drawn(without: set[Capability], never: tuple[type, ...]) -> None:
    capabilities = EVERYTHING - without
    setup = fitted(MARGIN_SETUP, capabilities)
    met = {type(command) for record in drawn(setup, capabilities, 8) for command in given(record.step)}
    assert not met & set(never)
    assert {PlaceOrder, TransferMargin, ReportPrice, SettleFunding} <= met


@pytest.mark.parametrize(
    ("without", "never"),
    [
        (C.STOP_ORDERS, "trigger"),
        (C.ONE_CANCELS_OTHER, "one_cancels_other"),
        (C.GOOD_TILL_TIME, "expires_ms"),
        (C.CANCEL_ON_DISCONNECT, "cancel_on_disconnect"),
    ],
)
def test_a_condition_that_an_engine_does_not_know_is_not_drawn(without: Capability, never: str) -> None:
    capabilities = EVERYTHING - {without}
    orders = [
        command
        for record in drawn(MARGIN_SETUP, capabilities, 8)
        for command in given(record.step)
        if isinstance(command, PlaceOrder)
    ]
    assert any(order.conditions for order in orders)
    assert not any(getattr(order.conditions, never) for order in orders if order.conditions is not None)


def test_an_engine_that_knows_plain_orders_only_sees_plain_orders_only() -> None:
    assert setups_for(PLAIN) == (SMALL_SETUP,)
    records = list(drawn(SMALL_SETUP, PLAIN, 10))
    met = {type(command).__name__ for record in records for command in given(record.step)}
    assert met == {"PlaceOrder", "CancelOrder", "AmendOrder"}
    orders = [command for record in records for command in given(record.step) if isinstance(command, PlaceOrder)]
    assert all(order.conditions is None for order in orders)
    assert {order.time_in_force for order in orders} == {TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}


def test_the_time_is_told_to_engines_that_need_it_only() -> None:
    without = EVERYTHING - {C.GOOD_TILL_TIME, C.MARKS}
    for capabilities in (without, without | {C.GOOD_TILL_TIME}):
        met = {type(command) for record in drawn(SMALL_SETUP, capabilities, 8) for command in given(record.step)}
        assert (AdvanceTime in met) == (C.GOOD_TILL_TIME in capabilities)


def test_the_setups_are_those_that_the_engine_can_be_reset_to() -> None:
    assert setups_for(EVERYTHING) == (SMALL_SETUP, MARGIN_SETUP, AUCTION_SETUP, OPERATIONS_SETUP, CUSTODY_SETUP)
    plain = setups_for(EVERYTHING - {C.MARGIN})
    assert plain[:2] == (SMALL_SETUP, AUCTION_SETUP)
    assert (plain[2].procedure, plain[2].margin, len(plain[2].markets)) == (True, None, 1)
    assert plain[3] == CUSTODY_SETUP
    slow = setups_for(EVERYTHING - {C.RATE_LIMITS, C.CUSTODY})[-1]
    assert (slow.procedure, slow.rate_max) == (True, 0)
    assert len(setups_for(EVERYTHING - {C.REPLICAS})) == 4
    assert setups_for(EVERYTHING - {C.AUCTION, C.MARKS, C.PROCEDURE, C.CUSTODY}) == (SMALL_SETUP,)
    assert not setups_for(EVERYTHING - {C.PROCEDURE})[-1].procedure


def test_a_setup_is_fitted_to_what_the_engine_can_do() -> None:
    bare = fitted(MARGIN_SETUP, EVERYTHING - {C.PRICE_BANDS, C.BORROWING, C.PROMOTIONS})
    assert not any(market.band_ppm or market.protection_ppm for market in bare.markets)
    assert bare.margin is not None
    assert (bare.margin.credit, bare.promotion_max) == ((), ())
    assert any(market.band_ppm and market.protection_ppm for market in MARGIN_SETUP.markets)
    assert fitted(MARGIN_SETUP, EVERYTHING) == MARGIN_SETUP
