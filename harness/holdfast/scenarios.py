"""Named scenarios: what happened to real exchanges, as sequences that a correct exchange survives."""

from collections.abc import Callable

from msgspec import Struct

from holdfast.setups import SMALL_SETUP
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    AskReplica,
    Burst,
    CancelOrder,
    Capability,
    Command,
    Crash,
    CrashPoint,
    CreditDeposit,
    PauseReplica,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    RefundWithdrawal,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    StartReplica,
    Step,
    TakeSnapshot,
)


class Scenario(Struct, frozen=True, kw_only=True):
    """A sequence with a name; engines without what it `needs` are not put through it, and the report says so."""

    name: str
    sentence: str
    needs: frozenset[Capability]
    steps: Callable[[Setup], tuple[Step, ...]]
    setup: Setup = SMALL_SETUP


def _deposit(client: str, asset: str, amount: int, transaction: str) -> CreditDeposit:
    return CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=transaction)


def _order(
    client: str, order: str, side: Side, size: int, price: int | None, *, post_only: bool = False
) -> PlaceOrder:
    return PlaceOrder(
        client=client,
        order=order,
        market="BTC-USD",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=None if price is None else PriceTicks(price),
        post_only=post_only,
    )


def _funded(setup: Setup) -> tuple[Step, ...]:
    return tuple(
        _deposit(client, asset, 20_000, f"{client}-{asset}") for client in setup.clients for asset in setup.assets
    )


def _phases(*phases: Phase) -> tuple[Step, ...]:
    return tuple(SetPhase(phase=phase) for phase in phases)


def _backpack(setup: Setup) -> tuple[Step, ...]:
    """Orders and a withdrawal after the snapshot, then maintenance with a restore, then a burst."""
    late: list[Command] = [_order("carol", f"c{number}", Side.BUY, 1, 90 + number) for number in range(6)]
    return (
        *_funded(setup),
        _order("alice", "a1", Side.BUY, 5, 100),
        _order("bob", "b1", Side.SELL, 5, 103),
        TakeSnapshot(),
        _order("bob", "b2", Side.SELL, 3, 100),
        CancelOrder(client="bob", order="b1"),
        RequestWithdrawal(client="alice", withdrawal="w1", asset="USD", amount=Amount(1_000)),
        *_phases(Phase.CANCEL_ONLY, Phase.MAINTENANCE),
        RestoreSnapshot(),
        *_phases(Phase.POST_ONLY),
        _order("bob", "b3", Side.SELL, 1, 104, post_only=True),
        *_phases(Phase.OPEN),
        Burst(commands=tuple(late)),
        RefundWithdrawal(client="alice", withdrawal="w1"),
        _order("bob", "b4", Side.SELL, 2, 100),
    )


def _stale_promotion(setup: Setup) -> tuple[Step, ...]:
    """The primary dies while one replica lags; the stale one is to be promoted, then the one that is not."""
    in_flight = _order("carol", "c1", Side.BUY, 1, 99)
    return (
        *_funded(setup),
        PauseReplica(replica="n2"),
        _order("alice", "a1", Side.BUY, 2, 100),
        Crash(in_flight=in_flight, point=CrashPoint.AFTER_JOURNAL, replica="n1"),
        ResumeReplica(replica="n2"),
        _order("bob", "b0", Side.SELL, 2, 100),
        PromoteReplica(replica="n2"),
        PromoteReplica(replica="n3"),
        in_flight,
        _order("bob", "b1", Side.SELL, 2, 100),
        StartReplica(replica="n1"),
        AskReplica(replica="n1", commands=(_order("bob", "b2", Side.SELL, 1, 99), ReadAccount(client="bob"))),
        PromoteReplica(replica="n1"),
        _order("bob", "b2", Side.SELL, 1, 99),
    )


def _overload(setup: Setup) -> tuple[Step, ...]:
    """More orders and cancels at once than there is room for; what was shed is given again."""
    orders = [_order("bob", f"b{number}", Side.SELL, 1, 101 + number % 3) for number in range(6)]
    return (
        *_funded(setup),
        _order("alice", "a1", Side.BUY, 2, 100),
        _order("alice", "a2", Side.BUY, 2, 99),
        Burst(
            commands=(
                *orders,
                CancelOrder(client="alice", order="a1"),
                CancelOrder(client="alice", order="a2"),
            )
        ),
        *orders,
        *orders,
    )


def _retry_storm(setup: Setup) -> tuple[Step, ...]:
    """Killed with orders in flight at each point of the write; every client gives its command again, twice."""
    closed = _order("carol", "c1", Side.BUY, 1, 95)
    steps: list[Step] = [
        *_funded(setup),
        _order("bob", "b1", Side.SELL, 9, 100),
        closed,
        CancelOrder(client="carol", order="c1"),
        TakeSnapshot(),
    ]
    for number, point in enumerate(CrashPoint):
        order = _order("alice", f"a{number}", Side.BUY, 2, 100)
        steps += [Crash(in_flight=order, point=point), Restart(), order, order, closed]
    withdrawal = RequestWithdrawal(client="alice", withdrawal="w1", asset="BTC", amount=Amount(30))
    pay = PayWithdrawal(client="alice", withdrawal="w1")
    return (
        *steps,
        withdrawal,
        withdrawal,
        Crash(in_flight=pay, point=CrashPoint.AFTER_JOURNAL),
        Restart(),
        pay,
        RefundWithdrawal(client="alice", withdrawal="w1"),
        RequestWithdrawal(client="bob", withdrawal="w1", asset="USD", amount=Amount(50)),
        RefundWithdrawal(client="bob", withdrawal="w1"),
        PayWithdrawal(client="bob", withdrawal="w1"),
        RefundWithdrawal(client="bob", withdrawal="w1"),
    )


def _flash_crash(setup: Setup) -> tuple[Step, ...]:
    """A big market order eats the whole side of the book, and its trades stand: the negative control."""
    return (
        *_funded(setup),
        *(_order("alice", f"a{price}", Side.BUY, 3, price) for price in (100, 99, 97, 40, 1)),
        _order("bob", "big", Side.SELL, 20, None),
        _order("carol", "c1", Side.BUY, 1, 2),
        TakeSnapshot(),
        Crash(),
        Restart(),
        _order("bob", "b2", Side.SELL, 1, 1),
    )


def _aborted_maintenance(setup: Setup) -> tuple[Step, ...]:
    """Maintenance is begun, aborted and begun again, with a kill in the middle."""
    return (
        *_funded(setup),
        _order("alice", "a1", Side.BUY, 4, 99),
        _order("bob", "b1", Side.SELL, 4, 102),
        *_phases(Phase.CANCEL_ONLY, Phase.MAINTENANCE, Phase.CANCEL_ONLY, Phase.MAINTENANCE),
        TakeSnapshot(),
        Crash(),
        Restart(),
        RestoreSnapshot(),
        _order("carol", "c1", Side.BUY, 1, 102),
        *_phases(Phase.POST_ONLY),
        AmendOrder(client="alice", order="a1", size_lots=SizeLots(2), price_ticks=PriceTicks(99)),
        *_phases(Phase.OPEN),
        _order("carol", "c2", Side.BUY, 1, 102),
    )


_ALL_FUNDS = frozenset({Capability.LIMIT_ORDERS, Capability.FUNDS})

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="backpack-2025-07-03",
        sentence="Trades, cancels and a withdrawal after the snapshot; maintenance with a restore; a burst after it.",
        needs=_ALL_FUNDS | {Capability.PHASES, Capability.SNAPSHOT, Capability.INGRESS},
        steps=_backpack,
    ),
    Scenario(
        name="nasdaq-facebook-2012-05-18",
        sentence="The primary dies; a stale replica is to be promoted, then a complete one, then the old one.",
        needs=_ALL_FUNDS | {Capability.REPLICAS, Capability.RESEND, Capability.READS},
        steps=_stale_promotion,
    ),
    Scenario(
        name="gate-2025-04-23",
        sentence="More arrives at once than there is room for; what was shed is given again, twice.",
        needs=_ALL_FUNDS | {Capability.INGRESS},
        steps=_overload,
    ),
    Scenario(
        name="poloniex-2014-03-04",
        sentence="Kills with commands in flight, and a storm of retries of orders and withdrawals.",
        needs=_ALL_FUNDS | {Capability.RESTART, Capability.RESEND},
        steps=_retry_storm,
    ),
    Scenario(
        name="kraken-2018-01-11",
        sentence="Maintenance aborted and begun again, with a kill in the middle.",
        needs=_ALL_FUNDS | {Capability.PHASES, Capability.SNAPSHOT, Capability.RESTART, Capability.AMEND},
        steps=_aborted_maintenance,
    ),
    Scenario(
        name="gdax-2017-06-21",
        sentence="A market order empties the book down to a price of 1; the trades stand. A negative control.",
        needs=_ALL_FUNDS | {Capability.MARKET_ORDERS, Capability.SNAPSHOT, Capability.RESTART},
        steps=_flash_crash,
    ),
)
