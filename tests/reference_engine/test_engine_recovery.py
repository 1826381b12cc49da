"""Crash, restore, wallets: what was acknowledged is there afterwards, exactly."""

from collections import Counter
from collections.abc import Callable

import pytest
from msgspec import Struct
from msgspec.structs import replace

from holdfast.engine import LocalEngine
from holdfast.engines import REFERENCE, EngineSource
from holdfast.fuzzing import episode
from holdfast.generating import SMALL_SETUP, Source, episode_random
from holdfast.running import Runner
from holdfast.setups import CUSTODY_SETUP, setups_for
from holdfast_engine.custody import LOG as WALLET_LOG
from holdfast_engine.custody import Wallets
from holdfast_engine.exchange import Exchange
from holdfast_engine.journal import LOG as JOURNAL_LOG
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.state import Arrival, VenueState, state_sha256
from holdfast_engine.storage import MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Amount,
    Burst,
    Capability,
    Command,
    Crash,
    CrashPoint,
    CreditDeposit,
    Custody,
    Event,
    PayWithdrawal,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    Reason,
    RefundWithdrawal,
    Rejected,
    RequestWithdrawal,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    Step,
    TakeSnapshot,
    TimeInForce,
    Transfer,
    View,
    commands_of,
)
from holdfast_model.vocabulary.wire import canonical, from_canonical

DEPOSIT = CreditDeposit(client="alice", asset="USD", amount=Amount(20_000), transaction="t1")
PLACE = PlaceOrder(
    client="alice",
    order="1",
    market="BTC-USD",
    side=Side.BUY,
    size_lots=SizeLots(5),
    price_ticks=PriceTicks(100),
)
LATER = replace(PLACE, order="2")
REQUEST = RequestWithdrawal(client="alice", withdrawal="w", asset="USD", amount=Amount(500))
PAY = PayWithdrawal(client="alice", withdrawal="w")
CASES: dict[str, Callable[[Exchange], None]] = {
    "without a snapshot": lambda _: None,
    "with a snapshot": Exchange.snapshot,
}


@pytest.fixture
def storage() -> MemoryStorage:
    """The disk, which outlives every exchange."""
    return MemoryStorage()


@pytest.fixture
def exchange(storage: MemoryStorage) -> Exchange:
    """An exchange in which alice has 20,000 USD and one open order."""
    exchange = Exchange(storage)
    exchange.reset(SMALL_SETUP)
    ask(exchange, DEPOSIT, PLACE)
    return exchange


def ask(exchange: Exchange, *commands: Command) -> tuple[Event, ...]:
    """The events of the last of some commands, each handed over alone."""
    events: tuple[Event, ...] = ()
    for command in commands:
        (answer,) = exchange.submit([command])
        events = answer.events
    return events


def without_depth(view: View) -> View:
    """The depth of the queue is not part of the state."""
    return replace(view, ingress_depth_max=0)


def names(view: View) -> list[str]:
    return [order.order for order in view.orders]


@pytest.mark.parametrize("saved", list(CASES))
@pytest.mark.parametrize(
    ("point", "orders"),
    [
        (CrashPoint.BEFORE_JOURNAL, ["1"]),
        (CrashPoint.TORN_JOURNAL, ["1"]),
        (CrashPoint.AFTER_JOURNAL, ["1", "2"]),
    ],
)
def test_a_command_in_flight_took_effect_exactly_where_it_was_durable(
    storage: MemoryStorage, exchange: Exchange, saved: str, point: CrashPoint, orders: list[str]
) -> None:
    CASES[saved](exchange)
    before = exchange.view()
    exchange.crash(LATER, point)
    again = Exchange(storage)
    assert names(again.view()) == orders
    assert [record.command for record in again.resend(before.seq)] == ([LATER] if "2" in orders else [])
    assert (without_depth(again.view()) == without_depth(before)) is ("2" not in orders)
    (answer,) = again.submit([LATER])
    assert (answer.events == (Rejected(reason=Reason.DUPLICATE_ORDER),)) is ("2" in orders)
    assert answer.seq == before.seq + len(orders)


@pytest.mark.parametrize("point", list(CrashPoint))
def test_a_payment_in_flight_leaves_the_wallet_exactly_when_it_is_in_the_journal(
    storage: MemoryStorage, exchange: Exchange, point: CrashPoint
) -> None:
    ask(exchange, REQUEST)
    exchange.crash(PAY, point)
    paid = point is CrashPoint.AFTER_JOURNAL
    for _ in range(3):
        view = Exchange(storage).view()
        assert view.custody == (Custody(tier="hot", asset="USD", amount=Amount(19_500 if paid else 20_000)),)
        assert view.withdrawals[0].status == ("paid" if paid else "requested")


def test_the_wallet_moves_each_deposit_and_payment_once_however_often_it_is_told(storage: MemoryStorage) -> None:
    exchange = Exchange(storage)
    exchange.reset(SMALL_SETUP)
    events = [
        event
        for command in (DEPOSIT, REQUEST, PAY, replace(REQUEST, withdrawal="r"))
        for event in ask(exchange, command)
    ]
    events += ask(exchange, RefundWithdrawal(client="alice", withdrawal="r"))
    lines = storage.lines(WALLET_LOG)
    assert len(lines) == 2
    for _ in range(2):
        exchange.restore()
        wallet = Wallets(storage, None)
        wallet.follow(events, seq=1)
        assert wallet.custody() == exchange.view().custody
        assert wallet.custody() == (Custody(tier="hot", asset="USD", amount=Amount(19_500)),)
    assert storage.lines(WALLET_LOG) == lines


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("snapshots", [0, 1, 7])
def test_a_restore_or_a_restart_at_every_step_changes_nothing(seed: int, snapshots: int) -> None:
    """`snapshots` is how many steps lie between two of them; 0: there is none."""
    storage = MemoryStorage()
    exchange = Exchange(storage)
    exchange.reset(SMALL_SETUP)
    for number, command in enumerate(commands(seed)):
        exchange.submit([command])
        if snapshots and number % snapshots == 0:
            exchange.snapshot()
        before = exchange.view()
        again = Exchange(storage).view()
        assert without_depth(again) == replace(without_depth(before), replicas=again.replicas)
        exchange.restore()
        assert exchange.view() == before


def commands(seed: int) -> list[Command]:
    """Commands of a seeded sequence, bursts taken apart."""
    found: list[Command] = []
    for step in steps(seed, 60):
        found += commands_of(step)
    return found


def steps(seed: int, count: int) -> list[Step]:
    """Steps of a seeded sequence, as the healthy exchange leads to them."""
    runner = Runner(LocalEngine(), SMALL_SETUP)
    source = Source(episode_random(seed, 0), SMALL_SETUP, runner.capabilities)
    for _ in range(count):
        runner.do(source.next(runner.auditor.told))
    assert runner.violations == []
    return runner.steps


def test_the_sequences_used_here_have_bursts_crashes_and_snapshots() -> None:
    kinds = {type(step) for seed in range(4) for step in steps(seed, 60)}
    assert kinds >= {Burst, Crash, TakeSnapshot, PlaceOrder, PromoteReplica}


def test_a_restore_without_a_snapshot_replays_the_whole_journal(storage: MemoryStorage, exchange: Exchange) -> None:
    before = exchange.view()
    exchange.restore()
    assert exchange.view() == before
    assert len(storage.lines(JOURNAL_LOG)) == before.seq == 2


def test_resend_tells_exactly_what_was_decided_after_a_number(exchange: Exchange) -> None:
    answers = [exchange.submit([command])[0] for command in (LATER, REQUEST)]
    assert exchange.resend(4) == ()
    assert [(record.seq, record.events, record.journal_sha256) for record in exchange.resend(2)] == [
        (answer.seq, answer.events, answer.journal_sha256) for answer in answers
    ]
    assert [record.command for record in exchange.resend(0)] == [DEPOSIT, PLACE, LATER, REQUEST]


@pytest.mark.parametrize("number", range(len(setups_for(frozenset(Capability)))))
def test_a_field_of_the_state_that_did_not_change_is_listed_as_it_would_be_anew(number: int) -> None:
    setup = setups_for(frozenset(Capability))[number]
    engine = LocalEngine()
    runner = Runner(engine, setup)
    source = Source(episode_random(20250703, number), setup, runner.capabilities - {Capability.RESTART})
    for _ in range(60):
        runner.do(source.next(runner.auditor.told, runner.known))
        venue = engine._exchange._primary
        kept = canonical(venue.state())
        venue._listed.clear()
        assert canonical(venue.state()) == kept


def loaded(setup: Setup, state: VenueState) -> Venue:
    """A venue of this state, which shares nothing with another one."""
    venue = Venue(setup)
    venue.load(from_canonical(canonical(state), VenueState))
    return venue


def test_venues_are_equal_where_their_states_are_and_differ_where_one_field_does() -> None:
    tried: set[str] = set()
    for number, setup in enumerate(setups_for(frozenset(Capability))):
        engine = LocalEngine()
        runner = Runner(engine, setup)
        source = Source(episode_random(20250703, number), setup, runner.capabilities - {Capability.RESTART})
        before = engine._exchange._primary.state()
        for _ in range(160):
            runner.do(source.next(runner.auditor.told, runner.known))
            state = from_canonical(canonical(engine._exchange._primary.state()), VenueState)
            now = loaded(setup, state)
            assert now.equals(loaded(setup, state))
            for field in VenueState.__struct_fields__:
                if getattr(before, field) != getattr(state, field):
                    other = loaded(setup, replace(state, **{field: getattr(before, field)}))
                    if other.state() != now.state():  # what a load makes of other fields is not tried
                        assert not now.equals(other), field
                        assert not other.equals(now), field
                        tried.add(field)
            before = state
    assert tried == set(VenueState.__struct_fields__) - {"arrivals", "transfers"}


IN_A_QUEUE = tuple(
    Order(
        client="alice",
        order=name,
        market="BTC-USD",
        side=Side.BUY,
        size_lots=SizeLots(2),
        price_ticks=PriceTicks(100),
        time_in_force=TimeInForce.GTC,
        post_only=False,
        self_trade=SelfTrade.CANCEL_NEWEST,
        status=OrderStatus.RESTING,
        filled_lots=SizeLots(0),
        left_lots=SizeLots(2),
        fee_numerator=Amount(0),
        accepted=number,
    )
    for number, name in enumerate(("1", "2"), start=1)
)
LINES: dict[str, tuple[Struct, ...]] = {
    "arrivals": tuple(Arrival(asset="BTC", transaction=name) for name in ("t1", "t2")),
    "transfers": tuple(
        Transfer(client="alice", request=name, asset="BTC", amount=Amount(1), source="spot", target="linear")
        for name in ("1", "2")
    ),
    "resting": IN_A_QUEUE,
    "waiting": IN_A_QUEUE,
}
"""What the state has in an order that is not that of its ids."""


@pytest.mark.parametrize("field", LINES)
def test_venues_are_equal_only_where_what_stands_in_a_line_does_so_in_the_same_order(field: str) -> None:
    state, line = Venue(CUSTODY_SETUP).state(), LINES[field]
    now = loaded(CUSTODY_SETUP, replace(state, **{field: line}))
    assert now.equals(loaded(CUSTODY_SETUP, replace(state, **{field: line})))
    for other in (line[::-1], line[:1], line[1:]):
        assert not now.equals(loaded(CUSTODY_SETUP, replace(state, **{field: other})))


def test_replicas_that_are_equal_to_the_primary_have_the_hash_of_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    equal_before, said = Venue.equals, Counter[bool]()

    def equals(venue: Venue, other: Venue) -> bool:
        equal = equal_before(venue, other)
        same = state_sha256(venue.state()) == state_sha256(other.state())
        assert same or not equal
        said[equal] += 1
        return equal

    monkeypatch.setattr(Venue, "equals", equals)
    with EngineSource(REFERENCE) as source:
        for number, setup in enumerate(setups_for(frozenset(Capability))):
            assert not episode(source, setup=setup, seed=20250703, number=number).violations
    assert said[True] > 100
    assert said[False] > 10


def test_replicas_rebuilt_from_one_snapshot_share_no_order() -> None:
    exchange = Exchange(MemoryStorage())
    exchange.reset(replace(SMALL_SETUP, replicas=("n1", "n2", "n3")))
    for command in (DEPOSIT, PLACE):
        exchange.submit((command,))
    exchange.snapshot()
    exchange.restore()
    venues = [replica.venue for replica in exchange._cluster.replicas.values()]
    orders = [venue.orders["alice", "1"] for venue in venues if venue is not None]
    assert len({id(order) for order in orders}) == len(orders) == 3
