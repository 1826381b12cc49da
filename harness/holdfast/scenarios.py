"""Named scenarios: what happened to real exchanges, as sequences that a correct exchange survives.

Those with custody are first told as stories on the reference, because what signers say depends on what they hear.
An engine under test is put through the steps that come of it.
"""

from collections.abc import Callable

from msgspec import Struct

from holdfast.setups import (
    CUSTODY_CAPABILITIES,
    CUSTODY_FROST_SETUP,
    CUSTODY_SETUP,
    MARGIN_CAPABILITIES,
    SMALL_SETUP,
    WHOLE_SETUP,
)
from holdfast.stories import Story
from holdfast_model.vocabulary import (
    LENDING,
    SPOT,
    AccrueInterest,
    ActivateRelease,
    AmendOrder,
    Amount,
    AskReplica,
    Borrow,
    BroadcastPayment,
    Burst,
    CancelOrder,
    Capability,
    Command,
    Conditions,
    ConfirmLoad,
    Crash,
    CrashPoint,
    CreditDeposit,
    FundHouse,
    HaltProduct,
    HealReplica,
    PartitionReplica,
    PauseReplica,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    Reconcile,
    RefundWithdrawal,
    Repay,
    ReportDeposit,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeReplica,
    SetPhase,
    SetProvider,
    Setup,
    Side,
    SizeLots,
    StartReplica,
    Step,
    SuspendAsset,
    TakeSnapshot,
    Trigger,
    TriggerWhen,
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


def _told(tell: Callable[[Story], None]) -> Callable[[Setup], tuple[Step, ...]]:
    """The steps of a story."""

    def steps(setup: Setup) -> tuple[Step, ...]:
        story = Story(setup)
        tell(story)
        return tuple(story.runner.steps)

    return steps


# Backpack, in three acts: what clients had, what was done to it, and what they find --------------------------------


def backpack_before(story: Story) -> None:
    """What clients have: positions, a debt, orders, a transfer under way, a withdrawal that one of two signed.

    The snapshot is older than the last fills and cancels, the share, and a deposit that is not final yet.
    """
    story.do(FundHouse(account=LENDING, asset="USD", amount=Amount(2_000), transaction="owner-1"))
    for client in story.setup.clients:
        story.deposit(client, BTC=500, USD=5_000)
    for market in story.setup.markets:
        story.mark(market.market, 100 if market.base == "BTC" else 40)
    for client in ("alice", "bob"):
        story.pledge(client, "linear", USD=1_000)
    story.buy("alice", "long", 20, 100, "BTC-PERP")
    story.sell("bob", "short", 20, 100, "BTC-PERP")
    story.do(
        Borrow(client="bob", request="loan", asset="USD", amount=Amount(500)),
        AccrueInterest(asset="USD", period=1, rate_ppm=5_000),
    )
    story.buy("alice", "a1", 5, 99)
    story.sell("carol", "c1", 2, 99)
    story.buy("alice", "a2", 2, 98)
    for number, price in enumerate((104, 105, 106), start=2):
        story.sell("carol", f"c{number}", 2, price)
    below = Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(96))
    story.sell("dave", "stop", 1, 95, conditions=Conditions(trigger=below))
    story.do(
        HaltProduct(product="island", cause="its prices are thin"),
        story.transfer("dave", "USD", 100, SPOT, "island"),
        RequestWithdrawal(client="carol", withdrawal="w2", asset="USD", amount=Amount(300)),
    )
    payment = story.approve("alice", "w1", "BTC", 104)
    story.sign(payment, 1)
    story.do(TakeSnapshot())
    story.sign(payment, 2)
    story.sell("bob", "b1", 2, 99)
    story.do(CancelOrder(client="alice", order="a2"))
    story.buy("alice", "a3", 4, 97)
    story.mine("BTC")
    story.do(story.arrival("bob", "BTC", 70))


def backpack_maintenance(story: Story) -> None:
    """Maintenance by procedure and all that goes wrong: a node skipped, a node cut off, an old snapshot, no provider.

    It is aborted once, with the nodes in different states, and ends in the post-only phase.
    """
    story.maintain()
    story.deploy("r2", "n1", "n2")
    story.do(ActivateRelease(release="r2"), ConfirmLoad())
    story.phases(Phase.CANCEL_ONLY)
    story.do(PartitionReplica(replica="n3"))
    for number in (2, 3):
        story.do(CancelOrder(client="carol", order=f"c{number}"))
    story.do(HealReplica(replica="n3"), SetProvider(asset="BTC", up=False))
    story.maintain()
    story.deploy("r2", "n3")
    story.do(ActivateRelease(release="r2"), RestoreSnapshot())
    story.phases(Phase.POST_ONLY)
    story.do(ConfirmLoad())
    story.phases(Phase.POST_ONLY)
    story.do(Reconcile())
    story.phases(Phase.POST_ONLY)


def backpack_after(story: Story) -> None:
    """Clients are back: post-only, a burst, reads through two nodes, the backlog, and what was under way."""
    story.buy("carol", "taker", 1, 106)
    story.sell("bob", "b2", 1, 105, post_only=True)
    story.phases(Phase.OPEN)
    story.mark("ETH-USD", 20)
    rush = [story.order(Side.BUY, "carol", f"rush-{number}", 1, 90) for number in range(6)]
    reads = [ReadAccount(client=client) for client in ("alice", "bob")]
    story.do(Burst(commands=(*reads, *rush, CancelOrder(client="alice", order="a3"))))
    # One node lags while the primary is silent: each tells what was so at its own cut.
    story.do(PauseReplica(replica="n2"))
    story.buy("bob", "b3", 1, 91)
    story.buy("bob", "b4", 1, 92)
    story.do(PauseReplica(replica="n1"), ResumeReplica(replica="n2"))
    for replica in ("n2", "n3"):
        story.ask(replica, ReadAccount(client="bob"))
    story.do(ResumeReplica(replica="n1"))
    story.sell("carol", "c5", 2, 92)
    # The withdrawal is signed by the second signer, and waits for the provider, who then tells its backlog.
    payment = "alice/w1"
    story.sign(payment)
    story.do(BroadcastPayment(payment=payment))
    seen = [step for step in story.runner.steps if isinstance(step, ReportDeposit) and step.client == "bob"][-1]
    story.do(seen, SetProvider(asset="BTC", up=True), seen)
    story.mine("BTC", 3)
    story.do(seen)
    story.broadcast(payment)
    story.include(payment)
    story.resume("island")
    story.do(RefundWithdrawal(client="carol", withdrawal="w2"))
    for amount in (504, 503):
        story.do(Repay(client="bob", request=f"back-{amount}", asset="USD", amount=Amount(amount)))
    story.sell("alice", "close", 20, 100, "BTC-PERP")
    story.buy("bob", "cover", 20, 100, "BTC-PERP")


def _backpack(story: Story) -> None:
    backpack_before(story)
    backpack_maintenance(story)
    backpack_after(story)


def _provider_outage(story: Story) -> None:
    """The provider of one chain is down: the other chain and trading go on, and the backlog is believed once."""
    story.deposit("alice", BTC=200, USD=2_000)
    story.deposit("bob", BTC=200)
    payment = story.approve("alice", "w1", "BTC", 60)
    story.sign(payment)
    story.mine("BTC")
    seen = story.arrival("bob", "BTC", 40)
    story.do(seen, SetProvider(asset="BTC", up=False))
    story.do(seen, BroadcastPayment(payment=payment))
    story.mine("BTC")
    story.withdraw("alice", "w2", "USD", 300)
    story.sell("bob", "b1", 3, 100)
    story.buy("alice", "a1", 2, 100)
    story.do(
        SuspendAsset(asset="BTC", deposits_open=False, withdrawals_open=False), Crash(), Restart(), ConfirmLoad()
    )
    story.do(SetProvider(asset="BTC", up=True), seen)
    story.mine("BTC", 4)
    story.do(seen, BroadcastPayment(payment=payment))
    story.do(SuspendAsset(asset="BTC", deposits_open=True, withdrawals_open=True), seen)
    story.broadcast(payment)
    story.include(payment)
    story.do(Reconcile())


def _half_signed_failover(story: Story) -> None:
    """The primary dies while the second of two shares is in flight, decided or not; each withdrawal ends once."""
    story.deposit("alice", BTC=400)
    for number, point in enumerate(CrashPoint):
        payment = story.approve("alice", f"w{number}", "BTC", 60)
        story.sign(payment, 3)
        share = story.word(payment)
        primary, heir = ("n1", "n2") if number % 2 == 0 else ("n2", "n1")
        story.do(Crash(in_flight=share, point=point, replica=primary), PromoteReplica(replica=heir), share)
        story.do(
            StartReplica(replica=primary),
            AskReplica(replica=primary, commands=(RefundWithdrawal(client="alice", withdrawal=f"w{number}"),)),
            RefundWithdrawal(client="alice", withdrawal=f"w{number}"),
        )
        story.broadcast(payment)
        story.do(BroadcastPayment(payment=payment))
        story.include(payment, f"changed-{number}")
    story.do(ConfirmLoad(), Reconcile())


def _restored_in_maintenance(setup: Setup) -> tuple[Step, ...]:
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
        sentence=(
            "Positions, a debt, orders and a half-signed withdrawal; maintenance with a node skipped, an old "
            "snapshot and no provider; a burst, a backlog, and reads through two nodes."
        ),
        needs=_ALL_FUNDS
        | MARGIN_CAPABILITIES
        | CUSTODY_CAPABILITIES
        | {
            Capability.BORROWING,
            Capability.INGRESS,
            Capability.POST_ONLY,
            Capability.PRICE_BANDS,
            Capability.PROCEDURE,
            Capability.PRODUCT_HALTS,
            Capability.PROMOTIONS,
            Capability.RATE_LIMITS,
            Capability.READS,
            Capability.REPLICAS,
            Capability.PHASES,
            Capability.SNAPSHOT,
            Capability.STOP_ORDERS,
        },
        setup=WHOLE_SETUP,
        steps=_told(_backpack),
    ),
    Scenario(
        name="restored-in-maintenance",
        sentence="Trades, cancels and a withdrawal after the snapshot; maintenance with a restore; a burst after it.",
        needs=_ALL_FUNDS | {Capability.PHASES, Capability.SNAPSHOT, Capability.INGRESS},
        steps=_restored_in_maintenance,
    ),
    Scenario(
        name="provider-outage",
        sentence="A chain's provider is down, through a kill; its backlog is told, more than once.",
        needs=_ALL_FUNDS | CUSTODY_CAPABILITIES | {Capability.PROCEDURE, Capability.REPLICAS, Capability.RESTART},
        setup=CUSTODY_SETUP,
        steps=_told(_provider_outage),
    ),
    Scenario(
        name="failover-of-a-half-signed-withdrawal",
        sentence="The primary dies with the last share of a withdrawal in flight, once at each point of the write.",
        needs=_ALL_FUNDS
        | CUSTODY_CAPABILITIES
        | {Capability.PROCEDURE, Capability.REPLICAS, Capability.RESTART, Capability.RESEND},
        setup=CUSTODY_SETUP,
        steps=_told(_half_signed_failover),
    ),
    Scenario(
        name="failover-of-a-half-signed-withdrawal-frost",
        sentence="The same, signed with FROST(Ed25519, SHA-512); its nonces are new ones each time.",
        needs=_ALL_FUNDS
        | CUSTODY_CAPABILITIES
        | {Capability.PROCEDURE, Capability.REPLICAS, Capability.RESTART, Capability.RESEND},
        setup=CUSTODY_FROST_SETUP,
        steps=_told(_half_signed_failover),
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
