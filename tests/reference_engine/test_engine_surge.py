"""Surge: limits of rate, who goes first, reads that are shed last of all, storms of cancels and of retries."""

from collections import Counter

import pytest
from msgspec.structs import replace

from holdfast.engine import LocalEngine
from holdfast.running import Runner
from holdfast.setups import AUCTION_SETUP, SMALL_SETUP
from holdfast_engine.exchange import Exchange
from holdfast_engine.ingress import Ingress
from holdfast_engine.storage import MemoryStorage
from holdfast_model.vocabulary import (
    AccountRead,
    AdvanceTime,
    AmendOrder,
    Amount,
    AskReplica,
    Borrow,
    Burst,
    CancelAll,
    CancelAllOrders,
    CancelOrder,
    CancelReason,
    Command,
    Crash,
    CrashPoint,
    CreditDeposit,
    DisconnectClient,
    Event,
    KillReplica,
    OrderAccepted,
    OrderCancelled,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    Reason,
    Record,
    Rejected,
    Repay,
    RequestWithdrawal,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    StartReplica,
    Step,
    TransferMargin,
    WithdrawalPaid,
)

SETUP = replace(SMALL_SETUP, rate_max=2)


def place(order: str, client: str = "alice", side: Side = Side.BUY, price: int = 100) -> PlaceOrder:
    return PlaceOrder(
        client=client,
        order=order,
        market="BTC-USD",
        side=side,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(price),
    )


def funded(setup: Setup) -> tuple[CreditDeposit, ...]:
    return tuple(
        CreditDeposit(client=client, asset=asset, amount=Amount(20_000), transaction=f"{client}-{asset}")
        for client in setup.clients
        for asset in setup.assets
    )


def begun(setup: Setup = SETUP) -> Exchange:
    exchange = Exchange(MemoryStorage())
    exchange.reset(setup)
    for command in funded(setup):
        exchange.submit([command])
    return exchange


def reasons(exchange: Exchange, *commands: Command) -> list[Reason | None]:
    """Why each of some commands, handed over alone, was refused; None where it was not."""
    return [told(exchange.submit([command])[0].events[0]) for command in commands]


def told(event: object) -> Reason | None:
    return event.reason if isinstance(event, Rejected) else None


def together(exchange: Exchange, *commands: Command) -> list[Reason | None]:
    """The same of commands that arrive together."""
    return [told(answer.events[0]) for answer in exchange.submit(commands)]


# Rates --------------------------------------------------------------------------------------------------------------

READ = ReadAccount(client="alice")
ONE = Amount(1)
RATED = (
    place("x"),
    AmendOrder(client="alice", order="x", size_lots=SizeLots(1), price_ticks=PriceTicks(1)),
    RequestWithdrawal(client="alice", withdrawal="w", asset="USD", amount=ONE),
    TransferMargin(client="alice", request="r", asset="USD", amount=ONE, source="spot", target="p"),
    Borrow(client="alice", request="r", asset="USD", amount=ONE),
    Repay(client="alice", request="r", asset="USD", amount=ONE),
    READ,
)
FREE = (
    CancelOrder(client="alice", order="1"),
    CancelAll(client="alice"),
    DisconnectClient(client="alice"),
    CreditDeposit(client="alice", asset="USD", amount=ONE, transaction="t9"),
    PayWithdrawal(client="alice", withdrawal="w"),
    CancelAllOrders(),
    SetPhase(phase=Phase.CANCEL_ONLY),
)


@pytest.mark.parametrize("command", RATED)
def test_what_a_client_asks_is_counted_and_refused_beyond_its_rate(command: Command) -> None:
    exchange = begun()
    assert reasons(exchange, place("1"), place("2")) == [None, None]
    before = exchange.view()
    (answer,) = exchange.submit([command])
    assert (answer.events, answer.seq) == ((Rejected(reason=Reason.RATE_LIMITED),), None)
    assert exchange.view() == before
    assert len(exchange.resend(0)) == before.seq


@pytest.mark.parametrize("command", FREE)
def test_cancelling_and_what_operators_do_is_never_limited(command: Command) -> None:
    exchange = begun()
    reasons(exchange, place("1"), place("2"))
    for _ in range(4):
        assert reasons(exchange, command) != [Reason.RATE_LIMITED]
    assert reasons(exchange, place("3")) != [None], "and it gives nobody more"


def test_each_client_has_its_own_rate_and_it_begins_anew_with_each_second() -> None:
    exchange = begun()
    limited = Reason.RATE_LIMITED
    assert reasons(exchange, place("1"), place("2"), place("3")) == [None, None, limited]
    assert reasons(exchange, place("1", "bob"), AdvanceTime(time_ms=999), place("3")) == [None, None, limited]
    assert reasons(exchange, AdvanceTime(time_ms=1_000), place("3"), place("4"), place("5")) == [
        *(None, None, None, limited)
    ]


def test_a_command_that_is_refused_for_another_reason_counts_as_well() -> None:
    exchange = begun()
    assert reasons(exchange, place("1"), place("1"), place("1")) == [
        *(None, Reason.DUPLICATE_ORDER, Reason.RATE_LIMITED)
    ]


def test_of_commands_that_arrive_together_the_rate_is_looked_at_first_and_in_order_of_arrival() -> None:
    """What is beyond the rate takes nobody's room; what is shed is not counted against its client."""
    exchange = begun(replace(SETUP, ingress_capacity=2))
    limited, overloaded = Reason.RATE_LIMITED, Reason.OVERLOADED
    assert together(exchange, *(place(str(number)) for number in range(3)), place("0", "bob")) == [
        *(None, None, limited, overloaded)
    ]
    exchange.submit([AdvanceTime(time_ms=1_000)])
    cancels = [CancelOrder(client="alice", order=str(number)) for number in range(2)]
    assert together(exchange, place("5"), *cancels) == [overloaded, None, None]
    assert reasons(exchange, place("5"), place("6"), place("7")) == [None, None, limited]


def test_without_a_rate_nothing_is_limited() -> None:
    exchange = begun(SMALL_SETUP)
    assert reasons(exchange, *(place(str(number)) for number in range(50))) == [None] * 50


def test_a_command_beyond_the_rate_is_refused_where_there_is_no_primary_too() -> None:
    exchange = begun()
    exchange.submit([KillReplica(replica="n1")])
    no_primary = Reason.NO_PRIMARY
    assert reasons(exchange, place("1"), place("2"), place("3")) == [no_primary, no_primary, Reason.RATE_LIMITED]


# Ranks --------------------------------------------------------------------------------------------------------------


def test_who_goes_first_is_a_table_in_this_order() -> None:
    ranks: tuple[tuple[Command, ...], ...] = (
        (SetPhase(phase=Phase.HALTED), KillReplica(replica="n1"), CancelAllOrders(), DisconnectClient(client="a")),
        (CancelOrder(client="alice", order="1"), CancelAll(client="alice")),
        (FREE[3], FREE[4], RATED[1], RATED[2], RATED[3], RATED[4]),
        (place("1"),),
        (READ,),
    )
    for rank, commands in enumerate(ranks):
        assert {Ingress(1).rank(command) for command in commands} == {rank}


@pytest.mark.parametrize("replica", [None, "n1", "n2"])
def test_reads_go_last_and_one_that_is_shed_says_so_and_never_zero(replica: str | None) -> None:
    exchange = begun(replace(SMALL_SETUP, ingress_capacity=2))
    reads = [ReadAccount(client=client) for client in ("alice", "bob", "carol")]
    answers = exchange.submit([*reads, CancelAll(client="carol")], replica)
    assert isinstance(answers[0].events[0], AccountRead)
    assert [balance.amount for balance in answers[0].events[0].balances] == [20_000, 20_000]
    shed = (Rejected(reason=Reason.OVERLOADED),)
    assert [answer.events for answer in answers[1:3]] == [shed, shed]
    assert answers[3].events != shed
    assert exchange.view().ingress_depth_max == 2


def test_a_read_that_arrives_with_an_order_shows_it() -> None:
    """A read is exact at its cut, and its cut is after everything that was taken in before it."""
    exchange = begun(SMALL_SETUP)
    read, placed = exchange.submit([READ, place("1")])
    assert isinstance(read.events[0], AccountRead)
    assert read.events[0].seq == placed.seq
    assert {balance.bucket for balance in read.events[0].balances} == {"free", "held"}


# Storms -------------------------------------------------------------------------------------------------------------


def test_a_storm_of_cancels_in_an_auction_cancels_each_order_once_and_none_behind_an_order() -> None:
    runner = Runner(LocalEngine(), replace(AUCTION_SETUP, ingress_capacity=8))
    runner.run([*funded(AUCTION_SETUP), SetPhase(phase=Phase.AUCTION)])
    sides = (Side.BUY, Side.SELL)
    orders = [
        place(f"o{number}", ("alice", "bob")[number % 2], sides[number % 2], 100 - number % 2) for number in range(12)
    ]
    runner.run(orders)
    cancels = [CancelOrder(client=order.client, order=order.order) for order in orders[:8]]
    fresh = [place(f"late{number}", "carol") for number in range(4)]
    storm = [command for pair in zip(fresh, cancels[:4], strict=True) for command in pair] + cancels[4:]
    record = runner.do(Burst(commands=(*storm, *cancels[:4])))
    assert record is not None
    outcomes = Counter(
        (type(command), told(answer.events[0]))
        for command, answer in zip((*storm, *cancels[:4]), record.answers, strict=True)
    )
    assert outcomes == {
        (CancelOrder, None): 8,
        (CancelOrder, Reason.OVERLOADED): 4,
        (PlaceOrder, Reason.OVERLOADED): 4,
    }
    cancelled = [event for answer in record.answers for event in answer.events if isinstance(event, OrderCancelled)]
    assert {event.reason for event in cancelled} == {CancelReason.REQUESTED}
    again = runner.do(Burst(commands=tuple(cancels)))
    assert again is not None
    assert {told(answer.events[0]) for answer in again.answers} == {Reason.ORDER_NOT_OPEN}
    uncrossed = runner.do(SetPhase(phase=Phase.OPEN))
    assert uncrossed is not None
    assert runner.auditor.told.trade == 2, "what was not cancelled trades"
    assert runner.violations == []


@pytest.mark.parametrize("point", list(CrashPoint))
def test_in_a_storm_of_retries_across_a_failover_each_command_takes_effect_once(point: CrashPoint) -> None:
    runner = Runner(LocalEngine(), SMALL_SETUP)
    order, request = place("1"), RequestWithdrawal(client="bob", withdrawal="w", asset="USD", amount=Amount(500))
    pay = PayWithdrawal(client="bob", withdrawal="w")
    steps: list[Step] = [*funded(SMALL_SETUP)]
    for command in (order, request, pay):
        first, heir = ("n1", "n2") if command is not request else ("n2", "n1")
        retry = Burst(commands=(command, command, command))
        steps += [
            Crash(in_flight=command, point=point, replica=first),
            retry,
            PromoteReplica(replica=heir),
            retry,
            AskReplica(replica="n3", commands=(command, command)),
            command,
            StartReplica(replica=first),
            command,
        ]
    records = [runner.do(step) for step in steps]
    assert runner.violations == []
    events = [event for record in records if record is not None for event in everything(record)]
    assert sum(isinstance(event, OrderAccepted) for event in events) == 1
    assert sum(isinstance(event, WithdrawalPaid) for event in events) == 1
    assert runner.last_view is not None
    assert [order.order for order in runner.last_view.orders] == ["1"]
    assert [item.status for item in runner.last_view.withdrawals] == ["paid"]


def everything(record: Record) -> list[Event]:
    """The events of a step's answers, and of what was told again before them."""
    told_again = [event for resent in record.resent for event in resent.events]
    return told_again + [event for answer in record.answers for event in answer.events]
