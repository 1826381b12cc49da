"""Each planted fault of replicas, procedure and rates shows: the faulty exchange does a last step otherwise."""

import pytest
from msgspec.structs import replace

from holdfast_engine.exchange import Exchange, Parts
from holdfast_engine.faults import fault_by_name, procedure, replicas
from holdfast_engine.faults.fault import Fault
from holdfast_engine.storage import MemoryStorage
from holdfast_model.vocabulary import (
    ActivateRelease,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    Answer,
    AskReplica,
    Burst,
    CancelAllOrders,
    CancelOrder,
    ChainRule,
    Collateral,
    Command,
    ConfirmLoad,
    CreditDeposit,
    CustodyRules,
    DeployRelease,
    HealReplica,
    KillReplica,
    Liquidate,
    Margin,
    Market,
    MarketTick,
    MarkRule,
    PartitionReplica,
    PauseReplica,
    Perpetual,
    Phase,
    PlaceOrder,
    PriceTicks,
    Product,
    PromoteReplica,
    ReadAccount,
    Release,
    ReportPrice,
    RestoreSnapshot,
    ResumeReplica,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    StartReplica,
    Step,
    Tier,
    TierRule,
    TransferMargin,
    View,
)

SPOT_MARKET = Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1))
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        SPOT_MARKET,
        replace(
            SPOT_MARKET,
            market="P",
            product="linear",
            mark=MarkRule(sources=("s",), sources_min=1, age_max_ms=1_000, band_ppm=0),
            perpetual=Perpetual(tiers=(Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),)),
        ),
    ),
    clients=("alice", "bob"),
    ingress_capacity=2,
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
    releases=(
        Release(release="r1"),
        Release(release="r2", tick_amounts=(MarketTick(market="M", tick_amount=Amount(2)),)),
    ),
    procedure=True,
    rate_max=6,
)
CUSTODIAL = replace(
    SETUP,
    custody=CustodyRules(
        tiers=(TierRule(tier="hot", signers=("s1",), threshold=1),),
        chains=tuple(ChainRule(asset=asset, confirmations=1) for asset in SETUP.assets),
    ),
)
BUY, SELL = Side.BUY, Side.SELL
READ = ReadAccount(client="alice")


def place(client: str, order: str, side: Side, price: int, *, market: str = "M", size: int = 1) -> PlaceOrder:
    return PlaceOrder(
        client=client,
        order=order,
        market=market,
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
    )


def at(replica: str, *commands: Command) -> AskReplica:
    return AskReplica(replica=replica, commands=commands)


def to(*phases: Phase) -> list[Step]:
    return [SetPhase(phase=phase) for phase in phases]


def price(ticks: int, time_ms: int) -> list[Step]:
    return [
        AdvanceTime(time_ms=time_ms),
        ReportPrice(source="s", market="P", price_ticks=PriceTicks(ticks), time_ms=time_ms),
    ]


A = place("alice", "a", BUY, 90)
MISSED = place("alice", "missed", BUY, 80)
BEGIN: list[Step] = [
    AnnounceMaintenance(begins_ms=0),
    *to(Phase.CANCEL_ONLY, Phase.MAINTENANCE),
]
DEPLOYED: list[Step] = [DeployRelease(replica=name, release="r2") for name in SETUP.replicas]
CUT_OFF: list[Step] = [PartitionReplica(replica="n1"), PromoteReplica(replica="n2")]
LAGGING: list[Step] = [
    A,
    PauseReplica(replica="n2"),
    MISSED,
    KillReplica(replica="n1"),
    ResumeReplica(replica="n2"),
]
ALONE: list[Step] = [KillReplica(replica="n2"), KillReplica(replica="n3")]
POSITIONS: list[Step] = [
    *price(100, 1),
    *(
        TransferMargin(
            client=client, request="in", asset="USD", amount=Amount(amount), source="spot", target="linear"
        )
        for client, amount in (("alice", 100), ("bob", 5_000))
    ),
    place("alice", "long", BUY, 100, market="P", size=9),
    place("bob", "short", SELL, 100, market="P", size=9),
    *price(89, 1_500),
]

SEQUENCES: dict[str, list[Step]] = {
    "split-brain": [*CUT_OFF, at("n1", A)],
    "deposed-primary-acknowledges": [PromoteReplica(replica="n2"), at("n1", A)],
    "stale-replica-promoted": [*LAGGING, PromoteReplica(replica="n2")],
    "acknowledged-before-the-quorum": [*ALONE, A],
    "cut-off-primary-decides": [PartitionReplica(replica="n1"), A],
    "promoted-without-a-quorum": [KillReplica(replica="n1"), KillReplica(replica="n2"), PromoteReplica(replica="n3")],
    "epoch-not-raised": [PromoteReplica(replica="n2")],
    "retry-executed-after-failover": [A, CancelOrder(client="alice", order="a"), PromoteReplica(replica="n2"), A],
    "old-release-skips-cancels": [
        A,
        *BEGIN,
        DeployRelease(replica="n2", release="r2"),
        *to(Phase.CANCEL_ONLY),
        CancelOrder(client="alice", order="a"),
    ],
    "catch-up-skips-the-gap": [PauseReplica(replica="n2"), A, MISSED, ResumeReplica(replica="n2")],
    "unavailable-read-as-zero": [RestoreSnapshot(), READ],
    "cut-off-replica-read": [PartitionReplica(replica="n2"), at("n2", READ)],
    "read-omits-what-is-held": [A, READ],
    "lagging-read-stamped-as-current": [*LAGGING, at("n2", READ)],
    "read-zero-under-load": [Burst(commands=(A, MISSED, READ))],
    "maintenance-not-announced": to(Phase.CANCEL_ONLY, Phase.MAINTENANCE),
    "announcement-serves-twice": [*BEGIN, *to(Phase.CANCEL_ONLY, Phase.MAINTENANCE)],
    "load-barrier-ignored": [*POSITIONS, RestoreSnapshot(), Liquidate(client="alice", product="linear")],
    "maintenance-left-unconfirmed": [*BEGIN, *to(Phase.POST_ONLY)],
    "maintenance-left-unreconciled": [*BEGIN, ConfirmLoad(), *to(Phase.POST_ONLY)],
    "barrier-forgiven-by-an-abort": [*BEGIN, DEPLOYED[0], *to(Phase.CANCEL_ONLY, Phase.POST_ONLY)],
    "barrier-forgiven-by-a-promotion": [
        *BEGIN,
        ConfirmLoad(),
        KillReplica(replica="n2"),
        StartReplica(replica="n2"),
        PromoteReplica(replica="n2"),
        *to(Phase.POST_ONLY),
    ],
    "deployment-after-the-barrier": [
        *BEGIN,
        ConfirmLoad(),
        DeployRelease(replica="n2", release="r1"),
        *to(Phase.POST_ONLY),
    ],
    "post-only-skipped": [*BEGIN, ConfirmLoad(), *to(Phase.OPEN)],
    "node-skipped-in-deployment": [*BEGIN, *DEPLOYED[1:], ActivateRelease(release="r2")],
    "release-in-force-before-activation": [
        A,
        *BEGIN,
        DEPLOYED[0],
        *to(Phase.CANCEL_ONLY),
        CancelOrder(client="alice", order="a"),
    ],
    "release-activated-over-open-orders": [A, *BEGIN, *DEPLOYED, ActivateRelease(release="r2")],
    "forced-cancel-leaves-holds": [A, CancelAllOrders()],
    "forced-cancel-releases-twice": [A, CancelAllOrders()],
    "reads-served-first": [Burst(commands=(A, MISSED, READ))],
    "rate-limit-forgets": [*[READ] * SETUP.rate_max, READ],
    "rate-limit-never-resets": [*[READ] * SETUP.rate_max, AdvanceTime(time_ms=1_000), READ],
}
SETUPS = {"maintenance-left-unreconciled": CUSTODIAL}
"""The setups of the faults that do not show on the common one."""
ON_A_FOLLOWER = {"catch-up-skips-the-gap", "old-release-skips-cancels"}
"""The faults that only a view of the replicas shows."""
FAULTS = (
    *replicas.FAULTS,
    *procedure.FAULTS,
    *map(fault_by_name, ("reads-served-first", "rate-limit-forgets", "rate-limit-never-resets")),
)


def run(parts: Parts, steps: list[Step], setup: Setup = SETUP) -> list[tuple[tuple[Answer, ...], View]]:
    """What an exchange with funded clients answers to each step, and shows after it."""
    exchange = Exchange(MemoryStorage(), parts)
    exchange.reset(setup)
    for client in setup.clients:
        for asset in setup.assets:
            exchange.submit(
                [CreditDeposit(client=client, asset=asset, amount=Amount(9_999), transaction=f"{client}{asset}")]
            )
    done: list[tuple[tuple[Answer, ...], View]] = []
    for step in steps:
        answers: tuple[Answer, ...] = ()
        match step:
            case RestoreSnapshot():
                exchange.restore()
            case AskReplica() | Burst():
                replica = step.replica if isinstance(step, AskReplica) else None
                answers = exchange.submit(step.commands, replica)
            case _:
                assert isinstance(step, Command)
                answers = exchange.submit([step])
        done.append((answers, exchange.view()))
    return done


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_does_the_last_step_of_its_sequence_otherwise(fault: Fault) -> None:
    setup = SETUPS.get(fault.name, SETUP)
    healthy, faulty = (run(parts, SEQUENCES[fault.name], setup) for parts in (Parts(), fault.parts))
    assert [answers for answers, _ in faulty[:-1]] == [answers for answers, _ in healthy[:-1]]
    (answers, view), (otherwise, shown) = healthy[-1], faulty[-1]
    assert (answers == otherwise) == (fault.name in ON_A_FOLLOWER)
    assert (answers, view) != (otherwise, shown)


def test_what_a_lone_primary_acknowledged_is_lost_by_a_failover() -> None:
    steps: list[Step] = [
        *ALONE,
        A,
        KillReplica(replica="n1"),
        *(StartReplica(replica=name) for name in ("n2", "n3")),
        PromoteReplica(replica="n2"),
    ]
    parts = fault_by_name("acknowledged-before-the-quorum").parts
    done = run(parts, steps)
    assert [order.order for order in done[2][1].orders] == ["a"]
    assert done[-1][1].orders == ()


def test_two_primaries_decide_on_in_two_ways() -> None:
    steps = [*CUT_OFF, at("n1", A), MISSED, HealReplica(replica="n1")]
    view = run(fault_by_name("split-brain").parts, steps)[-1][1]
    assert len({replica.state_sha256 for replica in view.replicas if replica.seq == view.seq}) > 1
