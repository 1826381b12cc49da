"""CONS-4 for credit, at its edge: what an account just bears is let pass, and a unit more is found if it is taken.

The healthy exchange refuses the unit more, and the slow form finds what the monitor does: so three reckonings that
share no code are compared.
"""

from collections.abc import Callable

import pytest
from msgspec import Struct
from msgspec.structs import replace
from slow_forms.forms import assert_both_find_the_same

from holdfast.setups import MARGIN_SETUP
from holdfast_engine.exchange import Exchange
from holdfast_engine.faults import fault_by_name
from holdfast_engine.storage import MemoryStorage
from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_model.findings import Violation
from holdfast_model.vocabulary import (
    LENDING,
    SPOT,
    AdvanceTime,
    AmendOrder,
    Amount,
    Borrow,
    Command,
    Conditions,
    CreditDeposit,
    FundHouse,
    PlaceOrder,
    PriceTicks,
    Record,
    Rejected,
    ReportPrice,
    Side,
    SizeLots,
    TimeInForce,
    TransferMargin,
    Trigger,
    TriggerBy,
    TriggerWhen,
)

PERP, ISLE = "BTC-PERP", "ETH-ISLE"
BUY, SELL = Side.BUY, Side.SELL


class Watched:
    """An exchange with a fault or without, whose history is watched for CONS-4."""

    def __init__(self, fault: str | None) -> None:
        parts = fault_by_name(fault).parts if fault is not None else None
        self.exchange = Exchange(MemoryStorage(), parts)
        self.exchange.reset(MARGIN_SETUP)
        self.auditor = Auditor(MARGIN_SETUP, catalogue=(invariant_by_id("CONS-4"),))
        self.records: list[Record] = []
        self._number = 0
        self.time_ms = 0
        for client in MARGIN_SETUP.clients:
            for asset in MARGIN_SETUP.assets:
                self.do(CreditDeposit(client=client, asset=asset, amount=Amount(9_000), transaction=self.new()))
        for market in MARGIN_SETUP.markets:
            self.mark(market.market, market.reference_ticks or 0)
        self.do(FundHouse(account=LENDING, asset="USD", amount=Amount(5_000), transaction=self.new()))

    def new(self) -> str:
        self._number += 1
        return f"id-{self._number}"

    def do(self, *commands: Command) -> bool:
        """Whether the last one was taken."""
        taken = True
        for command in commands:
            answers = self.exchange.submit([command])
            self.records.append(Record(step=command, answers=answers))
            self.auditor.watch(self.records[-1])
            taken = not isinstance(answers[0].events[0], Rejected)
        return taken

    def mark(self, market: str, price: int) -> None:
        self.time_ms += 1
        self.do(AdvanceTime(time_ms=self.time_ms))
        for source in ("s1", "s2", "s3"):
            report = ReportPrice(source=source, market=market, price_ticks=PriceTicks(price), time_ms=self.time_ms)
            self.do(report)

    def pledge(self, client: str, amount: int, product: str = "linear", asset: str = "USD") -> None:
        self.do(replace(transferred(amount, SPOT, product, request=self.new(), asset=asset), client=client))

    @property
    def found(self) -> list[Violation]:
        """What the monitor finds, which is what its slow form finds."""
        assert_both_find_the_same(MARGIN_SETUP, self.records, (invariant_by_id("CONS-4"),))
        return list(self.auditor.violations)


def transferred(amount: int, source: str, target: str, *, request: str = "x", asset: str = "USD") -> TransferMargin:
    """Alice's."""
    return TransferMargin(
        client="alice", request=request, asset=asset, amount=Amount(amount), source=source, target=target
    )


def placed(
    name: str, side: Side, size: int, price: int | None, *, market: str = PERP, conditions: Conditions | None = None
) -> PlaceOrder:
    """An order, by `client/order`."""
    client, _, order = name.partition("/")
    return PlaceOrder(
        client=client,
        order=order,
        market=market,
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price) if price is not None else None,
        time_in_force=TimeInForce.GTC if price is not None else TimeInForce.IOC,
        conditions=conditions,
    )


class Edge(Struct, frozen=True, kw_only=True):
    """What was before, and a command by how much it asks for; `largest` is what a healthy account just bears."""

    fault: str
    before: Callable[[Watched], None]
    command: Callable[[int], Command]
    subject: str


def nothing_but_cash(world: Watched) -> None:
    world.pledge("alice", 1_000)


def offered(world: Watched) -> None:
    """Sells that cost more and more, for a market order to meet."""
    world.pledge("alice", 1_000)
    world.pledge("bob", 9_000)
    world.do(*(placed(f"bob/b{price}", SELL, 20, price) for price in range(100, 110)))


def resting(world: Watched) -> None:
    world.pledge("alice", 1_000)
    world.do(
        placed("alice/r", BUY, 3, 99),
        placed("alice/o", BUY, 2, 98),
        placed("alice/s", SELL, 7, 104),
        placed("alice/w", BUY, 5, 109, conditions=_stop(108)),
    )


def holding(world: Watched) -> None:
    """Long 10 and 30 in the product, and what rests besides; the loan needs margin too."""
    world.pledge("alice", 2_000)
    world.pledge("alice", 30, asset="BTC")
    world.pledge("bob", 9_000)
    world.do(placed("bob/b", SELL, 10, 100), placed("alice/a", BUY, 10, 100))
    world.do(placed("bob/c", SELL, 30, 40, market="ETH-PERP"), placed("alice/d", BUY, 30, 40, market="ETH-PERP"))
    world.do(placed("alice/e", BUY, 9, 103), Borrow(client="alice", request="l", asset="USD", amount=Amount(100)))
    world.mark(PERP, 97)


def dear(world: Watched) -> None:
    """A bid that may lose 40 at once, and its fee."""
    world.pledge("alice", 1_000)
    world.do(placed("alice/r", BUY, 5, 108))


def indebted(world: Watched) -> None:
    """No position and no order, but a loan."""
    world.pledge("alice", 1_000)
    world.do(Borrow(client="alice", request="l", asset="USD", amount=Amount(500)))


def isolated(world: Watched) -> None:
    world.pledge("alice", 500, "island")
    world.pledge("bob", 900, "island")
    world.do(placed("bob/b", SELL, 10, 40, market=ISLE), placed("alice/a", BUY, 10, 40, market=ISLE))


def falling(world: Watched) -> None:
    """Long 50 at 100, where the mark is 84 now, and 2 more are bid for at 103."""
    world.pledge("alice", 1_000)
    world.pledge("bob", 9_000)
    world.do(placed("bob/b", SELL, 50, 100), placed("alice/a", BUY, 50, 100), placed("alice/r", BUY, 2, 103))
    world.mark(PERP, 84)


def _stop(price: int) -> Conditions:
    return Conditions(trigger=Trigger(by=TriggerBy.LAST, when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(price)))


EDGES = {
    "a first order": Edge(
        fault="order-without-margin",
        before=nothing_but_cash,
        command=lambda size: placed("alice/x", BUY, size, 101),
        subject="margin for order alice/x in BTC-PERP",
    ),
    "a market order, at its fills": Edge(
        fault="order-without-margin",
        before=offered,
        command=lambda size: placed("alice/x", BUY, size, None),
        subject="margin for order alice/x in BTC-PERP",
    ),
    "an order besides others": Edge(
        fault="order-without-margin",
        before=resting,
        command=lambda size: placed("alice/x", BUY, size, 100),
        subject="margin for order alice/x in BTC-PERP",
    ),
    "an order on the other side": Edge(
        fault="order-without-margin",
        before=holding,
        command=lambda size: placed("alice/x", SELL, size, 96),
        subject="margin for order alice/x in BTC-PERP",
    ),
    "a stop": Edge(
        fault="order-without-margin",
        before=resting,
        command=lambda size: placed("alice/x", BUY, size, 109, conditions=_stop(108)),
        subject="margin for order alice/x in BTC-PERP",
    ),
    "an order that only reduces, besides another": Edge(
        fault="order-without-margin",
        before=falling,
        command=lambda size: placed("alice/x", SELL, size, 83, conditions=Conditions(reduce_only=True)),
        subject="margin for order alice/x in BTC-PERP",
    ),
    "an order in the isolated product": Edge(
        fault="order-without-margin",
        before=isolated,
        command=lambda size: placed("alice/x", BUY, size, 40, market=ISLE),
        subject="margin for order alice/x in ETH-ISLE",
    ),
    "a larger size": Edge(
        fault="amendment-without-margin",
        before=resting,
        command=lambda size: AmendOrder(
            client="alice", order="r", size_lots=SizeLots(size), price_ticks=PriceTicks(99)
        ),
        subject="margin for order alice/r in BTC-PERP",
    ),
    "a worse price": Edge(
        fault="amendment-without-margin",
        before=resting,
        command=lambda size: AmendOrder(
            client="alice", order="o", size_lots=SizeLots(size), price_ticks=PriceTicks(103)
        ),
        subject="margin for order alice/o in BTC-PERP",
    ),
    "a larger size of an order that may lose much": Edge(
        fault="amendment-without-margin",
        before=dear,
        command=lambda size: AmendOrder(
            client="alice", order="r", size_lots=SizeLots(size), price_ticks=PriceTicks(108)
        ),
        subject="margin for order alice/r in BTC-PERP",
    ),
    "cash goes that a loan needs": Edge(
        fault="collateral-let-go",
        before=indebted,
        command=lambda amount: transferred(amount, "linear", SPOT),
        subject="margin for transfer alice/x",
    ),
    "cash goes": Edge(
        fault="collateral-let-go",
        before=holding,
        command=lambda amount: transferred(amount, "linear", SPOT),
        subject="margin for transfer alice/x",
    ),
    "cash of the isolated product goes": Edge(
        fault="collateral-let-go",
        before=isolated,
        command=lambda amount: transferred(amount, "island", SPOT),
        subject="margin for transfer alice/x",
    ),
    "a loan": Edge(
        fault="loan-unsecured",
        before=holding,
        command=lambda amount: Borrow(client="alice", request="x", asset="USD", amount=Amount(amount)),
        subject="margin for loan alice/x",
    ),
}


def taken(edge: Edge, amount: int, *, fault: str | None) -> tuple[bool, list[Violation]]:
    world = Watched(fault)
    edge.before(world)
    assert not world.found
    return world.do(edge.command(amount)), world.found


def largest(edge: Edge) -> int:
    """The most that the healthy exchange takes."""
    low, high = 1, 5_000
    assert taken(edge, low, fault=None)[0]
    assert not taken(edge, high, fault=None)[0]
    while high - low > 1:
        middle = (low + high) // 2
        if taken(edge, middle, fault=None)[0]:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize("name", EDGES)
def test_what_is_just_borne_is_let_pass_and_a_unit_more_is_found(name: str) -> None:
    edge = EDGES[name]
    most = largest(edge)
    assert taken(edge, most, fault=edge.fault) == (True, [])
    accepted, (violation,) = taken(edge, most + 1, fault=edge.fault)
    assert accepted
    assert (violation.invariant, violation.subject) == ("CONS-4", edge.subject)
    assert "is left, at its worst" in violation.found


def test_an_order_that_only_reduces_must_bear_what_it_may_lose_but_not_the_margin() -> None:
    """Long 50 from 100 at a mark of 82, alice has some 70 left of 1,000, where 50 lots need 205."""
    world = Watched(None)
    world.pledge("alice", 1_000)
    world.pledge("bob", 9_000)
    world.do(placed("bob/b", SELL, 50, 100), placed("alice/a", BUY, 50, 100))
    world.mark(PERP, 82)
    assert not world.do(placed("alice/y", BUY, 1, 82))
    assert world.do(placed("alice/x", SELL, 5, 82, conditions=Conditions(reduce_only=True)))
    assert world.found == []


def test_new_risk_without_a_mark_is_found() -> None:
    world = Watched("order-without-margin")
    world.pledge("alice", 1_000)
    world.time_ms += 60_001
    world.do(AdvanceTime(time_ms=world.time_ms))
    assert world.do(placed("alice/x", BUY, 1, 100))
    assert "UNAVAILABLE" in world.found[0].found
