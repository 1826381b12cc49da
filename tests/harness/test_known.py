"""What a generator knows is what was answered, in the order in which it was decided."""

import pytest

from holdfast.known import Known
from holdfast.setups import MARGIN_SETUP
from holdfast_model.vocabulary import (
    AdvanceTime,
    Amount,
    Answer,
    Burst,
    CancelReason,
    Conditions,
    Event,
    FundingSettled,
    InterestAccrued,
    JournalRecord,
    MarkChanged,
    OrderAccepted,
    OrderCancelled,
    PositionChanged,
    PriceTicks,
    ProductHalted,
    ProductResumed,
    Reason,
    Record,
    Rejected,
    Restart,
    SelfTrade,
    Side,
    SizeLots,
    Stage,
    StopArmed,
    StopTriggered,
    TimeAdvanced,
    TimeInForce,
    Trigger,
    TriggerWhen,
)

STOP = OrderAccepted(
    client="alice",
    order="o1",
    market="BTC-USD",
    side=Side.BUY,
    size_lots=SizeLots(1),
    price_ticks=None,
    time_in_force=TimeInForce.GTC,
    post_only=False,
    self_trade=SelfTrade.CANCEL_NEWEST,
    conditions=Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=PriceTicks(9))),
)
ARMED = StopArmed(client="alice", order="o1")
STEP = AdvanceTime(time_ms=1)


def known(*answers: tuple[Event, ...]) -> Known:
    result = Known(MARGIN_SETUP)
    for events in answers:
        result.hear(Record(step=STEP, answers=(Answer(events=events, seq=1),)))
    return result


def test_at_first_everything_is_open_and_nothing_is_known() -> None:
    first = known()
    assert first.stages == {"spot": Stage.OPEN, "linear": Stage.OPEN, "island": Stage.OPEN}
    assert (first.marks, first.positions, first.stops, first.periods, first.refusal) == ({}, {}, {}, {}, None)


def test_prices_positions_stages_periods_and_time_are_the_last_that_were_told() -> None:
    told = known(
        (TimeAdvanced(time_ms=5), MarkChanged(market="BTC-USD", mark_ticks=PriceTicks(9), sources=("s1",))),
        (MarkChanged(market="BTC-USD", mark_ticks=None, sources=()),),
        (PositionChanged(client="bob", market="BTC-PERP", position_lots=SizeLots(-3), entry_value=Amount(-300)),),
        (ProductHalted(product="linear", cause=""), ProductResumed(product="linear", stage=Stage.CANCEL_ONLY)),
        (FundingSettled(market="BTC-PERP", period=4, rate_ppm=1, mark_ticks=PriceTicks(1)),),
        (InterestAccrued(asset="USD", period=2, rate_ppm=1),),
    )
    assert told.time_ms == 5
    assert told.marks == {"BTC-USD": None}
    assert told.positions == {("bob", "BTC-PERP"): -3}
    assert told.stages["linear"] is Stage.CANCEL_ONLY
    assert told.periods == {"BTC-PERP": 4, "USD": 2}


@pytest.mark.parametrize(
    "end",
    [
        StopTriggered(client="alice", order="o1", price_ticks=PriceTicks(9)),
        OrderCancelled(client="alice", order="o1", left_lots=SizeLots(1), reason=CancelReason.REQUESTED),
    ],
)
def test_a_stop_waits_until_it_is_triggered_or_cancelled(end: Event) -> None:
    assert known((STOP, ARMED)).stops == {("alice", "o1"): STOP}
    assert known((STOP, ARMED), (end,)).stops == {}


def test_the_last_refusal_is_that_of_the_command_that_was_decided_last() -> None:
    answers = (
        Answer(events=(TimeAdvanced(time_ms=9),), seq=8),
        Answer(events=(Rejected(reason=Reason.TIME_NOT_LATER),), seq=7),
    )
    burst = Burst(commands=(STEP, STEP))

    def last_refusal(*records: Record) -> Reason | None:
        told = Known(MARGIN_SETUP)
        for record in records:
            told.hear(record)
        return told.refusal

    refused = Record(step=burst, answers=answers[1:] * 2)
    assert last_refusal(Record(step=burst, answers=answers)) is None
    assert last_refusal(refused) is Reason.TIME_NOT_LATER
    assert last_refusal(refused, Record(step=STEP, answers=(Answer(events=()),))) is None


def test_what_is_told_again_after_a_restart_is_heard() -> None:
    told = Known(MARGIN_SETUP)
    resent = JournalRecord(seq=1, epoch=1, command=STEP, events=(TimeAdvanced(time_ms=1),), journal_sha256="0" * 64)
    told.hear(Record(step=Restart(), resent=(resent,)))
    assert told.time_ms == 1
