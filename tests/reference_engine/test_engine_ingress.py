"""The bounded door: order of admission, capacity, and what is shed."""

import pytest

from holdfast_engine.exchange import Exchange
from holdfast_engine.ingress import Ingress
from holdfast_engine.storage import MemoryStorage
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    CancelAllOrders,
    CancelOrder,
    Command,
    CreditDeposit,
    Market,
    PauseReplica,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    Reason,
    RefundWithdrawal,
    Rejected,
    RequestWithdrawal,
    SetPhase,
    Setup,
    Side,
    SizeLots,
)

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice",),
    ingress_capacity=3,
)


def place(order: str) -> PlaceOrder:
    return PlaceOrder(
        client="alice",
        order=order,
        market="M",
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(1),
    )


CANCEL = CancelOrder(client="alice", order="0")
AMEND = AmendOrder(client="alice", order="0", size_lots=SizeLots(1), price_ticks=PriceTicks(1))
DEPOSIT = CreditDeposit(client="alice", asset="USD", amount=Amount(100), transaction="t")
REQUEST = RequestWithdrawal(client="alice", withdrawal="w", asset="USD", amount=Amount(1))
PAY, REFUND = PayWithdrawal(client="alice", withdrawal="w"), RefundWithdrawal(client="alice", withdrawal="w")
PAUSE, PROMOTE = PauseReplica(replica="n2"), PromoteReplica(replica="n2")
HALT = SetPhase(phase=Phase.HALTED)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        *((operator, CANCEL) for operator in (HALT, PAUSE, PROMOTE, CancelAllOrders())),
        *((CANCEL, other) for other in (AMEND, DEPOSIT, REQUEST, PAY, REFUND)),
        *((other, place("1")) for other in (AMEND, DEPOSIT, REQUEST, PAY, REFUND)),
    ],
)
def test_operators_go_before_cancels_and_new_orders_go_last(first: Command, then: Command) -> None:
    orders: list[list[Command]] = [[first, then], [then, first]]
    for arriving in orders:
        admission = Ingress(1).admit(arriving)
        assert [arriving[position] for position in admission.admitted] == [first]
        assert [arriving[position] for position in admission.shed] == [then]


def test_equals_stay_in_order_of_arrival() -> None:
    arriving: list[Command] = [place("1"), CANCEL, place("2"), HALT, DEPOSIT, CANCEL, REQUEST, place("3")]
    admission = Ingress(8).admit(arriving)
    assert admission.admitted == (3, 1, 5, 4, 6, 0, 2, 7)
    assert admission.shed == ()


@pytest.mark.parametrize(("capacity", "admitted"), [(1, 1), (4, 4), (5, 5), (6, 5)])
def test_what_is_beyond_capacity_is_shed_and_nothing_is_both_or_neither(capacity: int, admitted: int) -> None:
    ingress = Ingress(capacity)
    admission = ingress.admit([place(str(number)) for number in range(5)])
    assert len(admission.admitted) == ingress.depth_max == admitted
    assert sorted(admission.admitted + admission.shed) == [0, 1, 2, 3, 4]


def test_the_longest_queue_there_ever_was_is_kept() -> None:
    ingress = Ingress(8)
    depths = []
    for count in (2, 5, 1):
        ingress.admit([place(str(number)) for number in range(count)])
        depths.append(ingress.depth_max)
    assert depths == [2, 5, 5]


def test_answers_come_in_the_order_of_the_commands_and_numbers_in_the_order_of_decision() -> None:
    exchange = Exchange(MemoryStorage())
    exchange.reset(SETUP)
    exchange.submit([DEPOSIT])
    exchange.submit([place("0")])
    answers = exchange.submit([place("1"), place("2"), place("3"), CANCEL, place("4")])
    assert [answer.seq for answer in answers] == [4, 5, None, 3, None]
    shed = [answer for answer in answers if answer.seq is None]
    assert {answer.events for answer in shed} == {(Rejected(reason=Reason.OVERLOADED),)}
    assert {answer.journal_sha256 for answer in shed} == {None}


def test_what_is_shed_is_in_neither_book_nor_journal_and_may_be_given_again() -> None:
    exchange = Exchange(MemoryStorage())
    exchange.reset(SETUP)
    exchange.submit([DEPOSIT])
    exchange.submit([place(str(number)) for number in range(5)])
    view = exchange.view()
    assert [order.order for order in view.orders] == ["0", "1", "2"]
    assert (view.seq, view.ingress_depth_max) == (4, 3)
    assert len(exchange.resend(0)) == 4
    (answer,) = exchange.submit([place("3")])
    assert answer.seq == 5
    assert not isinstance(answer.events[0], Rejected)
