"""LIVE-1 on hand-made histories: what an exchange owes of which no state tells."""

from msgspec.structs import replace

from holdfast.setups import SMALL_SETUP
from holdfast_invariants.auditor import Auditor
from holdfast_invariants.catalogue import invariant_by_id
from holdfast_model.vocabulary import (
    Answer,
    ComeToRest,
    Command,
    Conditions,
    ConfirmLoad,
    Crash,
    Event,
    LoadConfirmed,
    OrderAccepted,
    PlaceOrder,
    PriceTicks,
    PromoteReplica,
    Record,
    ReplicaChanged,
    ReplicaPromoted,
    ReplicaStatus,
    SelfTrade,
    Side,
    SizeLots,
    StartReplica,
    StopArmed,
    TimeInForce,
    Trigger,
    TriggerWhen,
)

SETUP = replace(SMALL_SETUP, procedure=True)
STARTED_AND_PROMOTED = [
    Record(step=Crash(replica="n2")),
    Record(
        step=StartReplica(replica="n2"),
        answers=(Answer(events=(ReplicaChanged(replica="n2", status=ReplicaStatus.UP),)),),
    ),
    Record(
        step=PromoteReplica(replica="n2"),
        answers=(Answer(events=(ReplicaPromoted(replica="n2", epoch=2),), seq=1),),
    ),
]
STOP = OrderAccepted(
    client="alice",
    order="o",
    market="BTC-USD",
    side=Side.SELL,
    size_lots=SizeLots(1),
    price_ticks=None,
    time_in_force=TimeInForce.GTC,
    post_only=False,
    self_trade=SelfTrade.CANCEL_NEWEST,
    conditions=Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_BELOW, price_ticks=PriceTicks(90))),
)


def told(step: Command, *events: Event, seq: int) -> Record:
    return Record(step=step, answers=(Answer(events=events, seq=seq),))


def restless(*records: Record) -> list[str]:
    auditor = Auditor(SETUP, catalogue=(invariant_by_id("LIVE-1"),))
    for record in records:
        assert auditor.watch(record) == []
    auditor.begin_rest()
    return [violation.subject for violation in auditor.watch_within(Record(step=ComeToRest()))]


def test_the_load_barrier_is_owed_after_who_was_started_again_is_promoted() -> None:
    assert restless(*STARTED_AND_PROMOTED) == ["load barrier"]


def test_it_is_not_owed_once_the_load_is_confirmed() -> None:
    confirmed = told(ConfirmLoad(), LoadConfirmed(seq=1, state_sha256="a" * 64), seq=2)
    assert restless(*STARTED_AND_PROMOTED, confirmed) == []


def test_a_follower_that_was_started_again_owes_nothing() -> None:
    assert restless(*STARTED_AND_PROMOTED[:2]) == []


def test_a_stop_is_at_rest_once_it_is_told_to_wait() -> None:
    place = PlaceOrder(
        client="alice", order="o", market="BTC-USD", side=Side.SELL, size_lots=SizeLots(1), conditions=STOP.conditions
    )
    assert restless(told(place, STOP, seq=1)) == ["order alice/o"]
    assert restless(told(place, STOP, StopArmed(client="alice", order="o"), seq=1)) == []
