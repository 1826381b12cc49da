"""MARK-1 on histories made by hand: what the reports make of a mark, and what they do not."""

import pytest

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.marks import MarksFollowTheRule
from holdfast_invariants.monitor import Invariant, Kind, Severity
from holdfast_model.vocabulary import (
    AdvanceTime,
    Amount,
    Answer,
    Event,
    Mark,
    MarkChanged,
    Market,
    MarketTick,
    MarkRule,
    PriceReported,
    PriceTicks,
    Record,
    Release,
    ReleaseActivated,
    Setup,
    TakeSnapshot,
    TimeAdvanced,
    View,
)

RULE = MarkRule(sources=("a", "b", "c"), sources_min=2, age_max_ms=10, band_ppm=100_000)
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1), mark=RULE),
        Market(market="N", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),
    ),
    clients=("alice",),
    releases=(
        Release(release="r1"),
        Release(release="r2", tick_amounts=(MarketTick(market="M", tick_amount=Amount(2)),)),
    ),
)
MARK_1 = Invariant(
    id="MARK-1",
    kind=Kind.ALWAYS,
    sentence="",
    severity=Severity.CRITICAL,
    incidents=(),
    needs=frozenset(),
    monitor=MarksFollowTheRule,
)


def told(*events: Event) -> Record:
    return Record(step=AdvanceTime(time_ms=0), answers=(Answer(events=events),))


def reported(source: str, price: int, time_ms: int = 0, market: str = "M") -> PriceReported:
    return PriceReported(source=source, market=market, price_ticks=PriceTicks(price), time_ms=time_ms)


def mark(price: int | None, *sources: str) -> MarkChanged:
    return MarkChanged(market="M", mark_ticks=None if price is None else PriceTicks(price), sources=sources)


def time(time_ms: int) -> TimeAdvanced:
    return TimeAdvanced(time_ms=time_ms)


def seen(price: int | None) -> Record:
    shown = Mark(market="M", mark_ticks=None if price is None else PriceTicks(price))
    return Record(step=TakeSnapshot(), view=View(seq=0, marks=(shown,)))


MARKED = [told(reported("a", 100)), told(reported("b", 103), mark(101, "a", "b"))]
THREE = [*MARKED, told(time(5)), told(reported("c", 900, 5))]

HOLDING = {
    "two sources agree": [*MARKED, seen(101)],
    "an outlier is dropped and the mark stays": [*THREE, seen(101)],
    "the outlier may be among the sources that were looked at": [
        *MARKED,
        told(time(5)),
        told(reported("a", 105, 5), mark(104, "a", "b")),
        told(reported("c", 900, 5)),
    ],
    "reports are as fresh as may be, then too old": [*MARKED, told(time(10)), told(time(11), mark(None)), seen(None)],
    "an outlier of two leaves one, which is too few": [*MARKED, told(reported("b", 300), mark(None))],
    "prices below zero": [told(reported("a", -37)), told(reported("b", -37)), seen(None)],
    "a mark is back with fresh reports": [
        *MARKED,
        told(time(11), mark(None)),
        told(reported("a", 90, 11)),
        told(reported("c", 91, 11), mark(90, "a", "c")),
    ],
}


@pytest.mark.parametrize("name", HOLDING)
def test_nothing_is_reported_where_nothing_is_wrong(name: str) -> None:
    auditor = Auditor(SETUP, catalogue=(MARK_1,))
    for record in HOLDING[name]:
        assert auditor.watch(record) == []
    assert auditor.coverage()[0].checked > 0


@pytest.mark.parametrize(
    ("good", "bad", "subject", "found"),
    [
        pytest.param(MARKED[:1], told(mark(100, "a")), "mark of M", "100", id="one source is too few"),
        pytest.param(
            MARKED[:1],
            told(reported("b", 100_000), mark(50_050, "a", "b")),
            "mark of M",
            "50050",
            id="the mean of two feeds, one of them a thousandfold",
        ),
        pytest.param(
            [*MARKED, told(time(5))],
            told(reported("c", 900, 5), mark(103, "a", "b", "c")),
            "mark of M",
            "103",
            id="an outlier is kept",
        ),
        pytest.param(MARKED, told(time(11)), "mark of M", "101 is still in use", id="old reports stay in use"),
        pytest.param(
            MARKED, told(reported("b", 105)), "mark of M", "101 is still in use", id="a report has no effect"
        ),
        pytest.param(
            [told(reported("a", -37))],
            told(reported("b", -37), mark(-37, "a", "b")),
            "mark of M",
            "-37",
            id="a mark below zero",
        ),
        pytest.param(
            MARKED,
            told(time(11), mark(None), mark(101, "a", "b")),
            "mark of M",
            "101",
            id="the last mark is used for want of another",
        ),
        pytest.param(
            THREE,
            told(time(6), reported("a", 101, 6), mark(102, "b", "c")),
            "sources of the mark of M",
            "b, c",
            id="sources that did not make it",
        ),
        pytest.param(MARKED, told(reported("x", 100)), "source x of M", "its price", id="nobody knows the source"),
        pytest.param([], told(reported("a", 100, 0, "N")), "source a of N", "its price", id="the market has no rule"),
        pytest.param([], told(reported("a", 100, 1)), "report of a for M", "as of 1", id="a report from the future"),
        pytest.param(
            [told(time(5)), told(reported("a", 100, 5))],
            told(reported("a", 100, 4)),
            "report of a for M",
            "as of 4",
            id="a report overtakes its successor",
        ),
        pytest.param(
            [told(time(5)), told(ReleaseActivated(release="r2"))],
            told(reported("a", 100, 5)),
            "report of a for M",
            "as of 5",
            id="a report in the ticks of the release before",
        ),
        pytest.param([told(time(5))], told(time(4)), "time", "4 after 5", id="time steps back"),
        pytest.param([*MARKED, seen(101)], seen(102), "mark of M", "102 is shown", id="another mark is shown"),
        pytest.param(
            MARKED,
            Record(step=TakeSnapshot(), view=View(seq=0)),
            "mark of M",
            "UNAVAILABLE is shown",
            id="it is lost",
        ),
    ],
)
def test_a_violation_is_reported_at_the_step_that_causes_it(
    good: list[Record], bad: Record, subject: str, found: str
) -> None:
    auditor = Auditor(SETUP, catalogue=(MARK_1,))
    for record in good:
        assert auditor.watch(record) == []
    new = auditor.watch(bad)
    about = [violation for violation in new if violation.subject == subject]
    assert [(violation.invariant, violation.step) for violation in about] == [("MARK-1", len(good))], new
    assert about[0].found.startswith(found)
