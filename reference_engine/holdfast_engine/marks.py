"""Marks: from the prices that outside sources report, one price for each market, or none."""

from collections.abc import Sequence

from holdfast_engine.arithmetic import agreeing, mark_price
from holdfast_engine.core import Core, Deciders, Evolvers, Fields, by_key
from holdfast_engine.state import Report, Rescaled, VenueState
from holdfast_model.vocabulary import (
    Mark,
    MarkChanged,
    MarketId,
    MarkRule,
    PriceReported,
    PriceTicks,
    Reason,
    ReportPrice,
    Setup,
    SourceId,
    Timestamp,
)


class Marks(Core):
    """The reported prices and the marks made of them. The venue's own trades are never a source."""

    __slots__ = ("marks", "reports")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.reports: dict[tuple[MarketId, SourceId], Report] = {}
        self.rescaled: dict[MarketId, Timestamp] = {}
        self.marks: dict[MarketId, PriceTicks | None] = {
            market.market: None for market in self.setup.markets if market.mark is not None
        }

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {ReportPrice: cls._decide_report}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {PriceReported: cls._on_price_reported, MarkChanged: cls._on_mark_changed}

    def _decide_report(self, command: ReportPrice) -> None:
        market = self.markets.get(command.market)
        if market is None or market.mark is None:
            return self.refuse(Reason.UNKNOWN_MARKET)
        if command.source not in market.mark.sources:
            return self.refuse(Reason.UNKNOWN_SOURCE)
        if command.time_ms > self.time_ms:
            return self.refuse(Reason.REPORT_AHEAD_OF_TIME)
        known = self.reports.get((command.market, command.source))
        if (known is not None and command.time_ms <= known.time_ms) or self.in_other_ticks(command):
            return self.refuse(Reason.REPORT_OUTDATED)
        self.emit(
            PriceReported(
                source=command.source,
                market=command.market,
                price_ticks=command.price_ticks,
                time_ms=command.time_ms,
            )
        )
        return self.make_mark(command.market)

    def in_other_ticks(self, command: ReportPrice) -> bool:
        """Whether a price is as of a time when the market's ticks were worth another amount."""
        return bool(self.rescaled) and command.time_ms <= self.rescaled.get(command.market, -1)

    def make_marks(self) -> None:
        """Make every market's mark anew, because reports grow old with time."""
        for market in sorted(self.marks):
            self.make_mark(market)

    def make_mark(self, market: MarketId) -> None:
        """Make one market's mark anew, and tell it if it is another one."""
        rule = self.markets[market].mark
        assert rule is not None
        reports = self.counting(rule, market)
        prices = [report.price_ticks for report in reports]
        mark = self.mark_of(rule, prices)
        if mark != self.marks[market]:
            kept = agreeing(list[int](prices), band_ppm=rule.band_ppm) if mark is not None else []
            sources = tuple(report.source for report in reports if report.price_ticks in kept)
            self.emit(MarkChanged(market=market, mark_ticks=mark, sources=sources))

    def counting(self, rule: MarkRule, market: MarketId) -> list[Report]:
        """The reports that are fresh, in the order of the rule's sources."""
        reports = [self.reports[market, source] for source in rule.sources if (market, source) in self.reports]
        return [report for report in reports if self.time_ms - report.time_ms <= rule.age_max_ms]

    def mark_of(self, rule: MarkRule, prices: Sequence[PriceTicks]) -> PriceTicks | None:
        """The mark of these prices, None where it is unavailable."""
        return mark_price(list(prices), band_ppm=rule.band_ppm, sources_min=rule.sources_min)

    def _on_price_reported(self, event: PriceReported) -> None:
        self.reports[event.market, event.source] = Report(
            market=event.market, source=event.source, price_ticks=event.price_ticks, time_ms=event.time_ms
        )

    def forget_prices(self, market: MarketId) -> None:
        """A market's ticks are worth another amount from now on: nothing that was said in them counts any more."""
        self.rescaled[market] = self.time_ms
        self.reports = {key: report for key, report in self.reports.items() if report.market != market}

    def _on_mark_changed(self, event: MarkChanged) -> None:
        self.marks[event.market] = event.mark_ticks

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"reports": by_key, "rescaled": _rescaled, "marks": _marks}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.reports = {(report.market, report.source): report for report in state.reports}
        self.rescaled = {item.market: item.time_ms for item in state.rescaled}
        self.marks = {mark.market: mark.mark_ticks for mark in state.marks}


def _rescaled(times: dict[MarketId, Timestamp]) -> list[Rescaled]:
    return [Rescaled(market=market, time_ms=times[market]) for market in sorted(times)]


def _marks(marks: dict[MarketId, PriceTicks | None]) -> list[Mark]:
    return [Mark(market=market, mark_ticks=marks[market]) for market in sorted(marks)]
