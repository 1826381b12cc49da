"""Maintenance by procedure, releases, the load barrier, and cancelling everything."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from holdfast.engine import LocalEngine
from holdfast.running import Runner
from holdfast.setups import MARGIN_SETUP, SMALL_SETUP
from holdfast.stories import Story
from holdfast_engine.exchange import Exchange
from holdfast_engine.storage import MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    SPOT,
    ActivateRelease,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    CancelAllOrders,
    CancelOrder,
    CancelReason,
    ChainRule,
    Command,
    Conditions,
    ConfirmLoad,
    Crash,
    CreditDeposit,
    CustodyRules,
    DeployRelease,
    EntryPosted,
    Event,
    HaltProduct,
    KillReplica,
    Liquidate,
    LoadConfirmed,
    MaintenanceAnnounced,
    MarkChanged,
    MarketTick,
    OrderCancelled,
    PartitionReplica,
    PauseReplica,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    ReadAccount,
    Reason,
    Reconcile,
    Reconciled,
    Rejected,
    Release,
    ReleaseActivated,
    ReportPrice,
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
    TierRule,
    TradeExecuted,
    TransferMargin,
    Trigger,
    TriggerWhen,
)

RELEASES = (
    Release(release="r1"),
    Release(release="r2", tick_amounts=(MarketTick(market="BTC-USD", tick_amount=Amount(2)),)),
    Release(release="r3"),
)
SETUP = replace(SMALL_SETUP, releases=RELEASES, procedure=True)
LAX = replace(SETUP, procedure=False)
CUSTODY = replace(
    SETUP,
    custody=CustodyRules(
        tiers=(TierRule(tier="hot", signers=("s1",), threshold=1),),
        chains=tuple(ChainRule(asset=asset, confirmations=1) for asset in SETUP.assets),
    ),
)
NAMES = SETUP.replicas
ANNOUNCE = AnnounceMaintenance(begins_ms=0)
CANCEL_ONLY, MAINTENANCE, POST_ONLY, OPEN = (
    SetPhase(phase=Phase.CANCEL_ONLY),
    SetPhase(phase=Phase.MAINTENANCE),
    SetPhase(phase=Phase.POST_ONLY),
    SetPhase(phase=Phase.OPEN),
)
IN = (ANNOUNCE, CANCEL_ONLY, MAINTENANCE)
OUT = (ConfirmLoad(), POST_ONLY, OPEN)


def begun(setup: Setup = SETUP, storage: MemoryStorage | None = None) -> Exchange:
    """An exchange in which everybody has money."""
    exchange = Exchange(storage or MemoryStorage())
    exchange.reset(setup)
    return exchange


def funded(setup: Setup = SETUP) -> tuple[CreditDeposit, ...]:
    return tuple(
        CreditDeposit(client=client, asset=asset, amount=Amount(20_000), transaction=f"{client}-{asset}")
        for client in setup.clients
        for asset in setup.assets
    )


def place(client: str, order: str, side: Side, size: int, price: int) -> PlaceOrder:
    return PlaceOrder(
        client=client,
        order=order,
        market="BTC-USD",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
    )


def ask(exchange: Exchange, *commands: Command) -> tuple[Event, ...]:
    """The events of the last of some commands, each handed over alone."""
    events: tuple[Event, ...] = ()
    for command in commands:
        (answer,) = exchange.submit([command])
        events = answer.events
    return events


def reason(events: tuple[Event, ...]) -> Reason | None:
    return events[0].reason if isinstance(events[0], Rejected) else None


def deployed(release: str, names: Sequence[str] = NAMES) -> tuple[DeployRelease, ...]:
    return tuple(DeployRelease(replica=name, release=release) for name in names)


# The procedure ------------------------------------------------------------------------------------------------------


def test_the_whole_procedure_is_gone_through() -> None:
    runner = Runner(LocalEngine(), SETUP)
    steps: tuple[Step, ...] = (
        *funded(),
        place("alice", "a", Side.BUY, 2, 99),
        AnnounceMaintenance(begins_ms=500),
        AdvanceTime(time_ms=500),
        CANCEL_ONLY,
        MAINTENANCE,
        TakeSnapshot(),
        *deployed("r3"),
        ActivateRelease(release="r3"),
        RestoreSnapshot(),
        *OUT,
        place("bob", "b", Side.SELL, 2, 99),
    )
    runner.run(steps)
    assert runner.violations == []
    assert (runner.auditor.told.phase, runner.auditor.told.trade) == (Phase.OPEN, 1)


def test_a_load_that_was_confirmed_just_before_the_maintenance_does_not_count_after_it() -> None:
    exchange = begun()
    ask(exchange, ANNOUNCE, CANCEL_ONLY, ConfirmLoad(), MAINTENANCE)
    assert reason(ask(exchange, POST_ONLY)) is Reason.NOT_LOADED
    assert reason(ask(exchange, ConfirmLoad(), POST_ONLY)) is None


def test_a_primary_that_is_rebuilt_before_anything_was_decided_is_confirmed_too() -> None:
    storage = MemoryStorage()
    begun(CUSTODY, storage)
    exchange = Exchange(storage)
    ask(exchange, CANCEL_ONLY)
    assert reason(ask(exchange, POST_ONLY)) is Reason.NOT_LOADED
    assert reason(ask(exchange, ConfirmLoad(), POST_ONLY)) is Reason.NOT_RECONCILED
    assert reason(ask(exchange, Reconcile(), POST_ONLY)) is None


@pytest.mark.parametrize(
    ("done", "refused"),
    [
        ((CANCEL_ONLY,), Reason.NOT_ANNOUNCED),
        ((AnnounceMaintenance(begins_ms=1), CANCEL_ONLY), Reason.NOT_ANNOUNCED),
        ((*IN, CANCEL_ONLY), Reason.NOT_ANNOUNCED),
        ((ANNOUNCE,), Reason.TRANSITION_ILLEGAL),
        ((AnnounceMaintenance(begins_ms=1), AdvanceTime(time_ms=1), CANCEL_ONLY), None),
        ((*IN, CANCEL_ONLY, ANNOUNCE), None),
    ],
)
def test_maintenance_begins_once_it_was_announced_and_each_announcement_serves_one(
    done: tuple[Command, ...], refused: Reason | None
) -> None:
    exchange = begun()
    ask(exchange, *done)
    assert reason(ask(exchange, MAINTENANCE)) is refused


def test_an_announcement_is_not_for_the_past() -> None:
    exchange = begun()
    ask(exchange, AdvanceTime(time_ms=10))
    assert ask(exchange, AnnounceMaintenance(begins_ms=9)) == (Rejected(reason=Reason.TIME_NOT_LATER),)
    assert ask(exchange, AnnounceMaintenance(begins_ms=10)) == (MaintenanceAnnounced(begins_ms=10),)


@pytest.mark.parametrize(
    ("after", "refused"),
    [
        ((), Reason.NOT_LOADED),
        ((ConfirmLoad(),), None),
        ((ConfirmLoad(), RestoreSnapshot()), Reason.NOT_LOADED),
        ((ConfirmLoad(), Crash(), Restart()), Reason.NOT_LOADED),
        ((ConfirmLoad(), *deployed("r3", NAMES[:1])), Reason.NOT_LOADED),
        ((ConfirmLoad(), *deployed("r3", NAMES[1:2])), Reason.NOT_LOADED),
        ((*deployed("r3"), ConfirmLoad(), ActivateRelease(release="r3")), Reason.NOT_LOADED),
        ((ConfirmLoad(), ActivateRelease(release="r1")), Reason.NOT_LOADED),
        ((*deployed("r3"), ActivateRelease(release="r3"), ConfirmLoad()), None),
        ((ConfirmLoad(), KillReplica(replica="n1"), StartReplica(replica="n1")), Reason.NOT_LOADED),
        ((ConfirmLoad(), KillReplica(replica="n2"), StartReplica(replica="n2")), None),
        ((ConfirmLoad(), PromoteReplica(replica="n2")), None),
        ((ConfirmLoad(), KillReplica(replica="n1"), PromoteReplica(replica="n2")), None),
        ((RestoreSnapshot(), Crash(), Restart(), ConfirmLoad()), None),
    ],
)
def test_maintenance_is_left_once_the_load_was_confirmed_after_everything_that_needs_it(
    after: tuple[Step, ...], refused: Reason | None
) -> None:
    runner = Runner(LocalEngine(), SETUP)
    runner.run([*funded(), *IN, *after])
    record = runner.do(POST_ONLY)
    assert record is not None
    assert reason(record.answers[0].events) is refused
    assert runner.violations == []


ABORTED: tuple[Step, ...] = (CANCEL_ONLY,)
OVER_A_HALT: tuple[Step, ...] = (SetPhase(phase=Phase.HALTED), CANCEL_ONLY)
KILLED: tuple[Step, ...] = (Crash(), Restart())
FAILED_OVER: tuple[Step, ...] = (KillReplica(replica="n1"), PromoteReplica(replica="n2"), StartReplica(replica="n1"))
REBUILT_HEIR: tuple[Step, ...] = (
    KillReplica(replica="n2"),
    StartReplica(replica="n2"),
    PromoteReplica(replica="n2"),
)

OWING: dict[str, tuple[Step, ...]] = {
    "nothing was done": (*IN, *ABORTED),
    "a snapshot was taken": (*IN, TakeSnapshot(), *ABORTED),
    "a snapshot was taken and loaded": (*IN, ConfirmLoad(), TakeSnapshot(), RestoreSnapshot(), *ABORTED),
    "the state was restored": (*IN, ConfirmLoad(), RestoreSnapshot(), *ABORTED),
    "one node was deployed": (*IN, ConfirmLoad(), *deployed("r1", NAMES[2:]), *ABORTED),
    "a release was activated": (*IN, *deployed("r3"), ConfirmLoad(), ActivateRelease(release="r3"), *ABORTED),
    "the state was restored, over a halt": (*IN, ConfirmLoad(), RestoreSnapshot(), *OVER_A_HALT),
    "restored, then a failover": (*IN, ConfirmLoad(), RestoreSnapshot(), *FAILED_OVER, *ABORTED),
    "deployed, then a failover": (*IN, ConfirmLoad(), *deployed("r1", NAMES[2:]), *FAILED_OVER, *ABORTED),
    "deployed, then killed": (*IN, ConfirmLoad(), *deployed("r1", NAMES[2:]), *KILLED, *ABORTED),
    "called off, then killed": (*IN, *ABORTED, *KILLED),
    "called off, then restored from a snapshot": (*IN, *ABORTED, TakeSnapshot(), RestoreSnapshot()),
    "called off, restored and killed": (*IN, RestoreSnapshot(), *ABORTED, TakeSnapshot(), *KILLED),
    "a rebuilt replica was promoted": (*IN, ConfirmLoad(), *REBUILT_HEIR, *ABORTED),
    "a deployed replica was promoted": (*IN, *deployed("r1", ["n2"]), PromoteReplica(replica="n2"), *ABORTED),
    "called off twice": (*IN, RestoreSnapshot(), *ABORTED, ANNOUNCE, MAINTENANCE, *ABORTED),
    "restored without maintenance": (CANCEL_ONLY, RestoreSnapshot()),
    "killed without maintenance": (CANCEL_ONLY, *KILLED),
}


@pytest.mark.parametrize("setup", [SETUP, CUSTODY], ids=["no custody", "custody"])
@pytest.mark.parametrize("done", OWING.values(), ids=OWING)
def test_what_maintenance_obliges_to_is_owed_until_it_was_done(done: tuple[Step, ...], setup: Setup) -> None:
    """Whichever phases come next, calling maintenance off among them, and whatever is rebuilt on the way."""
    runner = Runner(LocalEngine(), setup)
    runner.run(done)
    assert runner.auditor.told.phase is Phase.CANCEL_ONLY
    entering = (POST_ONLY, SetPhase(phase=Phase.AUCTION))
    assert [answered(runner, step) for step in entering] == [Reason.NOT_LOADED] * 2
    assert answered(runner, ConfirmLoad()) is None
    if setup is CUSTODY:
        assert [answered(runner, step) for step in entering] == [Reason.NOT_RECONCILED] * 2
        assert answered(runner, Reconcile()) is None
    assert [answered(runner, step) for step in (POST_ONLY, OPEN)] == [None, None]
    assert runner.violations == []


def answered(runner: Runner, step: Step) -> Reason | None:
    """Why a step was refused; None: it was not."""
    record = runner.do(step)
    assert record is not None
    return reason(record.answers[0].events)


def test_with_nodes_in_different_states_an_aborted_maintenance_does_not_reopen() -> None:
    """Backpack, 2025-07-03: a release on one node of three. The way out is another maintenance that mends it."""
    runner = Runner(LocalEngine(), SETUP)
    runner.run([*IN, *deployed("r2", NAMES[2:]), CANCEL_ONLY])
    steps = (POST_ONLY, ConfirmLoad(), POST_ONLY)
    assert [answered(runner, step) for step in steps] == [
        Reason.NOT_LOADED,
        Reason.REPLICAS_DIFFER,
        Reason.NOT_LOADED,
    ]
    runner.run([ANNOUNCE, MAINTENANCE, *deployed("r1", NAMES[2:]), *OUT])
    assert (runner.auditor.told.phase, runner.violations) == (Phase.OPEN, [])


def test_what_was_rebuilt_in_the_post_only_phase_is_confirmed_before_trading_opens() -> None:
    runner = Runner(LocalEngine(), SETUP)
    runner.run([*IN, ConfirmLoad(), POST_ONLY, RestoreSnapshot()])
    assert [answered(runner, step) for step in (OPEN, ConfirmLoad(), OPEN)] == [Reason.NOT_LOADED, None, None]
    assert runner.violations == []


def test_a_replica_that_never_lost_its_memory_owes_nothing_when_it_is_promoted() -> None:
    runner = Runner(LocalEngine(), SETUP)
    runner.run([*IN, ConfirmLoad(), KillReplica(replica="n1"), PromoteReplica(replica="n2")])
    assert [answered(runner, step) for step in (POST_ONLY, OPEN)] == [None, None]
    runner.run([StartReplica(replica="n1"), PromoteReplica(replica="n1"), CANCEL_ONLY])
    assert answered(runner, POST_ONLY) is Reason.NOT_LOADED, "the old primary comes back from its log"
    assert runner.violations == []


def test_confirming_before_maintenance_does_not_serve_it() -> None:
    exchange = begun()
    assert reason(ask(exchange, ConfirmLoad(), *IN, POST_ONLY)) is Reason.NOT_LOADED


def test_with_custody_maintenance_is_left_once_it_was_reconciled_after_the_load() -> None:
    exchange = begun(CUSTODY)
    assert reason(ask(exchange, *IN, POST_ONLY)) is Reason.NOT_LOADED
    assert reason(ask(exchange, ConfirmLoad(), POST_ONLY)) is Reason.NOT_RECONCILED
    venue = exchange._primary
    venue.emit(Reconciled(balances=0))
    assert reason(ask(exchange, POST_ONLY)) is None


def test_maintenance_is_aborted_at_any_time_and_tried_again() -> None:
    exchange = begun()
    ask(exchange, *funded(), place("alice", "a", Side.BUY, 2, 99))
    before = exchange.view()
    assert ask(exchange, *IN, CANCEL_ONLY) == (PhaseChanged(before=Phase.MAINTENANCE, after=Phase.CANCEL_ONLY),)
    ask(exchange, *IN[:1], MAINTENANCE, *deployed("r3", NAMES[:2]), CANCEL_ONLY)
    ask(exchange, ANNOUNCE, MAINTENANCE, *deployed("r3"), ActivateRelease(release="r3"), *OUT)
    view = exchange.view()
    assert (view.phase, view.release) == (Phase.OPEN, "r3")
    assert (view.orders, view.balances) == (before.orders, before.balances)


def test_without_a_procedure_nothing_of_it_is_asked_for() -> None:
    exchange = begun(LAX)
    assert reason(ask(exchange, CANCEL_ONLY, MAINTENANCE)) is None
    exchange.restore()
    assert reason(ask(exchange, POST_ONLY)) is None
    assert reason(ask(exchange, ReadAccount(client="alice"))) is None


# The load barrier ---------------------------------------------------------------------------------------------------


def test_a_load_is_confirmed_with_the_state_that_all_replicas_have() -> None:
    exchange = begun()
    ask(exchange, *funded())
    view = exchange.view()
    (event,) = ask(exchange, ConfirmLoad())
    assert event == LoadConfirmed(seq=view.seq, state_sha256=view.replicas[0].state_sha256 or "")


@pytest.mark.parametrize(
    "trouble",
    [
        (PauseReplica(replica="n2"),),
        (PartitionReplica(replica="n3"),),
        (KillReplica(replica="n3"),),
        (CANCEL_ONLY, ANNOUNCE, MAINTENANCE, *deployed("r3", NAMES[2:])),
        (CANCEL_ONLY, ANNOUNCE, MAINTENANCE, *deployed("r3")),
    ],
)
def test_a_load_is_not_confirmed_unless_every_replica_is_there_with_the_active_release(
    trouble: tuple[Command, ...],
) -> None:
    exchange = begun()
    ask(exchange, *trouble)
    assert ask(exchange, ConfirmLoad()) == (Rejected(reason=Reason.REPLICAS_DIFFER),)
    view = exchange.view()
    assert view.seq == len(exchange.resend(0)), "it is a decision, and in the journal"


def test_a_load_is_not_confirmed_where_one_state_differs() -> None:
    exchange = begun()
    ask(exchange, *funded())
    venue = exchange._cluster.replicas["n3"].venue
    assert venue is not None
    venue.accepted += 1
    assert ask(exchange, ConfirmLoad()) == (Rejected(reason=Reason.REPLICAS_DIFFER),)
    ask(exchange, KillReplica(replica="n3"), StartReplica(replica="n3"))
    assert isinstance(ask(exchange, ConfirmLoad())[0], LoadConfirmed)


MARGIN = replace(MARGIN_SETUP, procedure=True)
LIQUIDATION = Liquidate(client="alice", product="linear")


@pytest.mark.parametrize(
    ("rebuilt", "loaded"),
    [
        ((), True),
        ((RestoreSnapshot(),), False),
        ((Crash(), Restart()), False),
        ((KillReplica(replica="n1"), StartReplica(replica="n1")), False),
        ((KillReplica(replica="n2"), StartReplica(replica="n2")), True),
        ((RestoreSnapshot(), PromoteReplica(replica="n2")), False),
        ((RestoreSnapshot(), ConfirmLoad()), True),
        ((RestoreSnapshot(), ConfirmLoad(), Crash(), Restart()), False),
    ],
)
def test_nobody_is_liquidated_or_told_a_balance_from_a_state_whose_load_was_not_confirmed(
    rebuilt: tuple[Step, ...], *, loaded: bool
) -> None:
    """Paradex, 2026-01-19: liquidations ran on prices that a migration had loaded wrongly."""
    runner = Runner(LocalEngine(), MARGIN)
    runner.run([*funded(MARGIN), *rebuilt])
    answers = [runner.do(step) for step in (LIQUIDATION, ReadAccount(client="alice"))]
    liquidation, read = (reason(record.answers[0].events) for record in answers if record is not None)
    assert (liquidation is not Reason.NOT_LOADED) is loaded
    assert (read is None) is loaded
    assert loaded or read is Reason.UNAVAILABLE
    assert runner.violations == []


# Releases -----------------------------------------------------------------------------------------------------------


def test_the_refusals_of_an_activation_come_in_their_order() -> None:
    exchange = begun()
    activate = ActivateRelease(release="r9")
    ask(exchange, *funded(), place("alice", "a", Side.BUY, 2, 99))
    assert reason(ask(exchange, activate)) is Reason.PHASE_FORBIDS
    ask(exchange, *IN, *deployed("r2", NAMES[:2]))
    assert reason(ask(exchange, activate)) is Reason.UNKNOWN_RELEASE
    activate = ActivateRelease(release="r2")
    assert reason(ask(exchange, activate)) is Reason.RELEASE_DIFFERS
    ask(exchange, *deployed("r2", NAMES[2:]), PauseReplica(replica="n3"))
    assert reason(ask(exchange, activate)) is Reason.RELEASE_DIFFERS
    ask(exchange, ResumeReplica(replica="n3"))
    assert reason(ask(exchange, activate)) is Reason.ORDERS_OPEN
    ask(exchange, CANCEL_ONLY, CancelOrder(client="alice", order="a"), ANNOUNCE, MAINTENANCE)
    assert ask(exchange, activate) == (ReleaseActivated(release="r2"),)


def test_a_waiting_stop_stands_in_ticks_too() -> None:
    exchange = begun(LAX)
    trigger = Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(110))
    stop = replace(place("alice", "a", Side.BUY, 1, 111), conditions=Conditions(trigger=trigger))
    ask(exchange, *funded(), stop, CANCEL_ONLY, MAINTENANCE, *deployed("r2"))
    assert reason(ask(exchange, ActivateRelease(release="r2"))) is Reason.ORDERS_OPEN


def test_what_is_owed_for_a_closed_position_stands_in_ticks_until_it_is_paid(
    story: Story, venue_of: Callable[[Story], Venue]
) -> None:
    assert not venue_of(story).priced("BTC-PERP")
    story.pledge("alice", "linear", BTC=100)  # which is no cash
    story.pledge("bob", "linear", USD=1_000)
    story.sell("bob", "b1", 10, 100, "BTC-PERP")
    story.buy("alice", "a1", 10, 100, "BTC-PERP")
    story.buy("bob", "b2", 10, 90, "BTC-PERP")
    story.sell("alice", "a2", 10, 90, "BTC-PERP")
    assert venue_of(story).position("alice", "BTC-PERP").position_lots == 0
    assert venue_of(story).priced("BTC-PERP")
    story.do(story.transfer("alice", "USD", 200, SPOT, "linear"))
    assert not venue_of(story).priced("BTC-PERP")


def trade_value(exchange: Exchange, number: int, price: int) -> int:
    """What a trade of one lot costs its buyer, less the fees."""
    ask(exchange, place("alice", f"a{number}", Side.SELL, 1, price))
    events = ask(exchange, place("bob", f"b{number}", Side.BUY, 1, price))
    (trade,) = (event for event in events if isinstance(event, TradeExecuted))
    paid = [
        posting.amount
        for event in events
        if isinstance(event, EntryPosted) and event.cause == str(trade.trade)
        for posting in event.postings
        if (posting.account, posting.asset) == ("alice", "USD")
    ]
    return sum(paid) + trade.maker_fee


@pytest.mark.parametrize("first", NAMES)
def test_while_releases_differ_between_replicas_nothing_is_priced_by_what_is_merely_installed(first: str) -> None:
    """Knight, 2012: one of eight servers ran other code. Here the log says which rules hold, on every replica."""
    exchange = begun(LAX)
    ask(exchange, *funded())
    assert trade_value(exchange, 1, 100) == 100
    ask(exchange, CANCEL_ONLY, MAINTENANCE, *deployed("r2", [first]), CANCEL_ONLY, POST_ONLY, OPEN)
    assert trade_value(exchange, 2, 100) == 100, "skew: installed on one replica, active on none"
    ask(exchange, CANCEL_ONLY, MAINTENANCE, *deployed("r2"), CANCEL_ONLY, POST_ONLY, OPEN)
    assert trade_value(exchange, 3, 100) == 100, "installed everywhere, not activated"
    ask(exchange, CANCEL_ONLY, MAINTENANCE, ActivateRelease(release="r2"), POST_ONLY, OPEN)
    assert trade_value(exchange, 4, 50) == 100, "half as many ticks of twice the amount"
    assert len({replica.state_sha256 for replica in exchange.view().replicas}) == 1
    ask(exchange, KillReplica(replica="n1"), PromoteReplica(replica="n2"), StartReplica(replica="n1"))
    assert trade_value(exchange, 5, 50) == 100
    exchange.restore()
    assert trade_value(exchange, 6, 50) == 100
    assert len({replica.state_sha256 for replica in exchange.view().replicas}) == 1


def test_a_replica_with_another_release_than_the_active_one_is_not_promoted() -> None:
    exchange = begun(LAX)
    ask(exchange, CANCEL_ONLY, MAINTENANCE, *deployed("r2", ["n2"]))
    assert reason(ask(exchange, PromoteReplica(replica="n2"))) is Reason.RELEASE_DIFFERS
    assert reason(ask(exchange, PromoteReplica(replica="n3"))) is None


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("code", [False, True])
def test_code_is_rolled_back_and_state_is_and_both_are(*, code: bool, state: bool) -> None:
    runner = Runner(LocalEngine(), SETUP)
    runner.run([*funded(), *IN, TakeSnapshot(), *deployed("r2"), ActivateRelease(release="r2")])
    before = runner.last_view
    assert before is not None
    if state:
        runner.do(RestoreSnapshot())
    if code:
        runner.run([*deployed("r1"), ActivateRelease(release="r1")])
    runner.run(OUT)
    assert runner.violations == []
    after = runner.last_view
    assert after is not None
    assert (after.phase, after.release) == (Phase.OPEN, "r1" if code else "r2")
    assert after.balances == before.balances, "a rollback of state is snapshot plus full tail: nothing is lost"
    runner.run([place("alice", "a", Side.SELL, 1, 100), place("bob", "b", Side.BUY, 1, 100)])
    assert runner.violations == [], "and everybody reckons with the ticks of the release that is active"


def test_prices_in_other_ticks_are_forgotten_not_converted() -> None:
    """The last trade, the reference, the reports and the mark were said in ticks of another amount."""
    markets = MARGIN_SETUP.markets
    assert markets[0].market == "BTC-USD"
    setup = replace(MARGIN_SETUP, releases=RELEASES)
    exchange = begun(setup)
    ask(exchange, *funded(setup), AdvanceTime(time_ms=1_000))
    reports = [
        ReportPrice(source=source, market="BTC-USD", price_ticks=PriceTicks(100), time_ms=1_000)
        for source in ("s1", "s2", "s3")
    ]
    ask(exchange, *reports, place("alice", "a", Side.SELL, 1, 100), place("bob", "b", Side.BUY, 1, 100))
    assert exchange.view().marks[1].market == "BTC-USD"
    assert exchange.view().marks[1].mark_ticks == 100
    ask(exchange, CANCEL_ONLY, MAINTENANCE, *deployed("r2"))
    assert ask(exchange, ActivateRelease(release="r2")) == (
        ReleaseActivated(release="r2"),
        MarkChanged(market="BTC-USD", mark_ticks=None, sources=()),
    )
    ask(exchange, POST_ONLY, OPEN)
    assert reason(ask(exchange, replace(reports[0], price_ticks=PriceTicks(50)))) is Reason.REPORT_OUTDATED
    assert reason(ask(exchange, place("alice", "c", Side.SELL, 1, 9_999))) is None, "no last trade, no band"
    ask(exchange, AdvanceTime(time_ms=1_001))
    assert reason(ask(exchange, replace(reports[0], time_ms=1_000))) is Reason.REPORT_OUTDATED
    assert reason(ask(exchange, replace(reports[0], time_ms=1_001))) is None
    view = exchange.view()
    exchange.restore()
    assert exchange.view() == view


def test_what_was_said_of_a_market_whose_ticks_stay_counts_however_old_it_is() -> None:
    setup = replace(MARGIN_SETUP, releases=RELEASES)
    exchange = begun(setup)
    ask(exchange, *funded(setup), AdvanceTime(time_ms=1_000), CANCEL_ONLY, MAINTENANCE, *deployed("r2"))
    ask(exchange, ActivateRelease(release="r2"), POST_ONLY, OPEN)
    report = ReportPrice(source="s1", market="BTC-PERP", price_ticks=PriceTicks(100), time_ms=0)
    assert reason(ask(exchange, replace(report, market="BTC-USD"))) is Reason.REPORT_OUTDATED
    assert reason(ask(exchange, report)) is None


def test_a_release_that_changes_no_tick_keeps_orders_marks_and_prices() -> None:
    exchange = begun(LAX)
    ask(exchange, *funded(), place("alice", "a", Side.BUY, 2, 99), CANCEL_ONLY, MAINTENANCE, *deployed("r3"))
    before = exchange.view()
    assert ask(exchange, ActivateRelease(release="r3")) == (ReleaseActivated(release="r3"),)
    assert exchange.view().orders == before.orders


# Cancelling everything ----------------------------------------------------------------------------------------------


def test_the_refusals_of_cancelling_everything_come_in_their_order() -> None:
    exchange = begun(MARGIN_SETUP)
    everything = CancelAllOrders(market="nowhere")
    ask(exchange, SetPhase(phase=Phase.HALTED))
    assert reason(ask(exchange, everything)) is Reason.PHASE_FORBIDS
    ask(exchange, CANCEL_ONLY, POST_ONLY, OPEN, HaltProduct(product="linear", cause="late"))
    assert reason(ask(exchange, everything)) is Reason.UNKNOWN_MARKET
    assert reason(ask(exchange, CancelAllOrders(market="BTC-PERP"))) is Reason.PRODUCT_HALTED
    assert reason(ask(exchange, CancelAllOrders(market="BTC-USD"))) is Reason.NOTHING_TO_CANCEL
    assert reason(ask(exchange, CancelAllOrders())) is Reason.NOTHING_TO_CANCEL


@pytest.mark.parametrize("market", [None, "BTC-USD", "ETH-USD"])
def test_cancelling_everything_releases_every_hold_exactly(market: str | None) -> None:
    runner = Runner(LocalEngine(), MARGIN_SETUP)
    runner.run(funded(MARGIN_SETUP))
    before = runner.last_view
    trigger = Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(110))
    stop = replace(place("carol", "stop", Side.BUY, 3, 111), conditions=Conditions(trigger=trigger))
    orders = [
        place("alice", "a", Side.BUY, 7, 93),
        place("bob", "b", Side.SELL, 3, 107),
        replace(place("alice", "e", Side.BUY, 5, 37), market="ETH-USD"),
        stop,
    ]
    runner.run(orders)
    record = runner.do(CancelAllOrders(market=market))
    assert record is not None
    cancelled = [event for event in record.answers[0].events if isinstance(event, OrderCancelled)]
    assert {event.reason for event in cancelled} == {CancelReason.FORCED}
    expected = [order.order for order in orders if market in (None, order.market)]
    assert [event.order for event in cancelled] == expected, "in the order in which they were accepted"
    if market is not None:
        runner.do(CancelAllOrders())
    assert before is not None
    assert runner.last_view is not None
    assert runner.last_view.balances == before.balances
    assert (runner.last_view.orders, runner.last_view.stops) == ((), ())
    assert runner.violations == []


def test_cancelling_everything_passes_over_what_stands_in_a_halted_product_and_over_nothing_else(
    story: Story,
) -> None:
    story.pledge("alice", "linear", USD=1_000)
    story.buy("alice", "linear", 1, 99, "BTC-PERP")
    story.buy("alice", "spot", 1, 99)
    story.do(HaltProduct(product="linear", cause="late"))
    events = story.do(CancelAllOrders())
    assert [event.order for event in events if isinstance(event, OrderCancelled)] == ["spot"]


def test_the_journal_alone_says_what_is_announced_confirmed_and_active() -> None:
    """After each step, a replica that is rebuilt from the log has the state of the one that decided."""
    storage = MemoryStorage()
    exchange = begun(SETUP, storage)
    activated: tuple[Command, ...] = (*deployed("r2"), ActivateRelease(release="r2"))
    commands: tuple[Command, ...] = (*funded(), *IN, *activated, *OUT, AnnounceMaintenance(begins_ms=9))
    for command in commands:
        ask(exchange, command)
        ask(exchange, KillReplica(replica="n3"), StartReplica(replica="n3"))
        hashes = [replica.state_sha256 for replica in exchange.view().replicas]
        assert all(a == b for a, b in pairwise(hashes))


def test_a_stop_that_an_old_price_would_have_triggered_waits_for_a_new_one() -> None:
    runner = Runner(LocalEngine(), LAX)
    trigger = Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(60))
    stop = replace(place("carol", "s", Side.BUY, 1, 61), conditions=Conditions(trigger=trigger))
    runner.run([*funded(), place("alice", "a", Side.SELL, 1, 100), place("bob", "b", Side.BUY, 1, 100)])
    runner.run([CANCEL_ONLY, MAINTENANCE, *deployed("r2"), ActivateRelease(release="r2"), POST_ONLY, OPEN])
    assert "BTC-USD" not in runner.auditor.told.triggers.last, "nor does anybody who checks believe in the old price"
    runner.run([stop, CancelOrder(client="alice", order="none")])
    assert ("carol", "s") in runner.auditor.told.triggers.stops
    runner.run([place("alice", "c", Side.SELL, 2, 60), place("bob", "d", Side.BUY, 1, 60)])
    assert runner.auditor.told.trade == 3, "the new trade triggers it, and it trades"
    assert runner.violations == []


def test_margin_accounts_are_worth_what_the_active_release_says() -> None:
    """An account that was looked at before an activation is not valued by the ticks of then."""
    doubled = Release(release="r2", tick_amounts=(MarketTick(market="BTC-PERP", tick_amount=Amount(2)),))
    setup = replace(MARGIN_SETUP, releases=(Release(release="r1"), doubled))
    runner = Runner(LocalEngine(), setup)
    runner.run([*funded(setup), *(transferred(client) for client in ("alice", "bob"))])
    runner.run([CANCEL_ONLY, MAINTENANCE, *deployed("r2"), CANCEL_ONLY, POST_ONLY, OPEN])
    runner.run([AdvanceTime(time_ms=1_000), *reported("BTC-PERP", 100, 1_000), LIQUIDATION])
    perpetual = replace(place("alice", "a", Side.BUY, 60, 50), market="BTC-PERP")
    runner.run([CANCEL_ONLY, MAINTENANCE, ActivateRelease(release="r2"), POST_ONLY, OPEN])
    runner.run([AdvanceTime(time_ms=2_000), *reported("BTC-PERP", 50, 2_000), perpetual])
    runner.do(replace(perpetual, client="bob", order="b", side=Side.SELL))
    assert runner.auditor.told.margin is not None
    assert runner.auditor.told.margin.position("alice", "BTC-PERP").entry == 60 * 50 * 2
    record = runner.do(LIQUIDATION)
    assert record is not None
    assert reason(record.answers[0].events) is Reason.NOT_BELOW_MAINTENANCE
    assert runner.violations == []


def transferred(client: str) -> TransferMargin:
    return TransferMargin(
        client=client, request="r", asset="USD", amount=Amount(1_000), source="spot", target="linear"
    )


def reported(market: str, price: int, time_ms: int) -> tuple[ReportPrice, ...]:
    return tuple(
        ReportPrice(source=source, market=market, price_ticks=PriceTicks(price), time_ms=time_ms)
        for source in ("s1", "s2", "s3")
    )
