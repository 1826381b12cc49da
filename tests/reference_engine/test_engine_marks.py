"""Marks: what reported prices make of them, and when there is none."""

from collections.abc import Callable

import pytest

from holdfast.stories import Story
from holdfast_model.vocabulary import (
    AdvanceTime,
    Command,
    Events,
    MarkChanged,
    PriceReported,
    PriceTicks,
    Reason,
    ReportPrice,
    RestoreSnapshot,
    TakeSnapshot,
    TradeExecuted,
)

MARKET = "BTC-USD"
NO_MARK = (MARKET, None, ())


def marks(events: Events) -> list[tuple[str, int | None, tuple[str, ...]]]:
    return [(event.market, event.mark_ticks, event.sources) for event in events if isinstance(event, MarkChanged)]


def at(story: Story, source: str, price: int, time_ms: int, market: str = MARKET) -> ReportPrice:
    assert time_ms <= story.time_ms
    return ReportPrice(source=source, market=market, price_ticks=PriceTicks(price), time_ms=time_ms)


def silence(story: Story) -> None:
    """Let every report of the beginning grow old."""
    story.wait(60_001)
    assert story.mark_of(MARKET) is None


# Bands are 10 % of the median of all fresh prices; two of the three sources must agree.
@pytest.mark.parametrize(
    ("prices", "mark", "sources"),
    [
        ((100, 102, 104), 102, ("s1", "s2", "s3")),
        ((100, 103), 101, ("s1", "s2")),
        ((100, 102, 900), 101, ("s1", "s2")),
        ((100, 110, 121), 110, ("s1", "s2", "s3")),
        ((100, 110, 122), 105, ("s1", "s2")),
        ((-37, 100, 101), 100, ("s2", "s3")),
        ((0, 100, 101), 100, ("s2", "s3")),
        ((100,), None, ()),
        ((100, 130), None, ()),
        ((1, 1_000, 100_000), None, ()),
        ((0, 0, 0), None, ()),
        ((-37, -37, -37), None, ()),
    ],
)
def test_a_mark_is_the_median_of_the_prices_in_band_or_there_is_none(
    story: Story, prices: tuple[int, ...], mark: int | None, sources: tuple[str, ...]
) -> None:
    silence(story)
    story.report(MARKET, **{f"s{number}": price for number, price in enumerate(prices, 1)})
    assert story.mark_of(MARKET) == mark
    told = [change for change in marks(tuple(story.told)) if change[0] == MARKET]
    assert told[-1] == (MARKET, mark, sources)


def test_a_source_that_moves_away_takes_the_mark_with_it_only_when_another_follows(story: Story) -> None:
    story.wait()
    assert marks(story.do(at(story, "s1", 300, story.time_ms))) == []
    assert story.mark_of(MARKET) == 100
    assert marks(story.do(at(story, "s2", 300, story.time_ms))) == [(MARKET, 300, ("s1", "s2"))]


def test_a_mark_that_stays_the_same_is_not_told_again(story: Story) -> None:
    story.wait()
    events = story.do(at(story, "s1", 100, story.time_ms))
    assert [type(event) for event in events] == [PriceReported]


def test_each_market_has_its_own_mark(story: Story) -> None:
    story.mark("BTC-PERP", 120)
    assert [story.mark_of(market) for market in ("BTC-USD", "BTC-PERP", "ETH-PERP")] == [100, 120, 40]


def test_a_report_counts_until_it_is_older_than_the_market_allows(story: Story) -> None:
    silence(story)
    begun = story.time_ms
    story.do(at(story, "s1", 100, begun), at(story, "s2", 103, begun - 1_000))
    assert story.mark_of(MARKET) == 101
    assert marks(story.wait(59_000)) == []
    assert marks(story.wait(1)) == [NO_MARK]
    assert story.time_ms == begun - 1_000 + 60_001


def test_time_alone_makes_another_mark_of_the_reports_that_are_left(story: Story) -> None:
    silence(story)
    begun = story.time_ms
    story.do(at(story, "s1", 90, begun - 30_000), at(story, "s2", 98, begun), at(story, "s3", 100, begun))
    assert story.mark_of(MARKET) == 98
    assert marks(story.wait(30_001)) == [(MARKET, 99, ("s2", "s3"))]


def test_a_report_that_is_old_already_is_taken_note_of_and_does_not_count(story: Story) -> None:
    silence(story)
    late = story.time_ms - 60_001
    assert story.refusal(at(story, "s1", 100, story.time_ms)) is None
    story.wait(100_000)
    story.do(at(story, "s2", 100, story.time_ms))
    assert story.refusal(at(story, "s3", 100, late)) is None
    assert story.mark_of(MARKET) is None


def test_the_venues_own_trades_are_never_a_source(story: Story) -> None:
    story.sell("alice", "a", 5, 115, MARKET)
    assert any(isinstance(event, TradeExecuted) for event in story.buy("bob", "b", 5, 115, MARKET))
    assert story.mark_of(MARKET) == 100
    silence(story)
    story.sell("alice", "c", 5, 115, MARKET)
    story.buy("bob", "d", 5, 115, MARKET)
    assert story.mark_of(MARKET) is None


def test_reports_are_refused_in_this_order(
    story: Story,
    first_broken_rule_is_the_reason: Callable[[Story, Command, list[tuple[Reason, dict[str, object]]]], None],
) -> None:
    now = story.time_ms
    story.do(AdvanceTime(time_ms=now + 10))
    story.do(ReportPrice(source="s1", market=MARKET, price_ticks=PriceTicks(100), time_ms=now + 5))
    first_broken_rule_is_the_reason(
        story,
        ReportPrice(source="s9", market="NOPE", price_ticks=PriceTicks(0), time_ms=now + 11),
        [
            (Reason.UNKNOWN_MARKET, {"market": MARKET}),
            (Reason.UNKNOWN_SOURCE, {"source": "s1"}),
            (Reason.REPORT_AHEAD_OF_TIME, {"time_ms": now + 5}),
            (Reason.REPORT_OUTDATED, {"time_ms": now + 6}),
        ],
    )
    story.time_ms = now + 10


def test_reports_and_marks_are_those_of_before_after_a_restore(story: Story) -> None:
    story.wait()
    story.do(at(story, "s1", 104, story.time_ms), TakeSnapshot(), at(story, "s2", 106, story.time_ms))
    story.do(RestoreSnapshot())
    assert story.mark_of(MARKET) == 104
    assert (MARKET, 105, ("s1", "s2")) in marks(story.wait(59_999))
