"""MARK: a price in use is one that the rule makes of reports that are known and fresh, or there is none."""

from typing import Any

from holdfast_invariants.monitor import Monitor, on
from holdfast_invariants.reckoning import Reckoned, mark_from
from holdfast_model.vocabulary import (
    Answer,
    Command,
    MarkChanged,
    MarketId,
    PriceReported,
    PriceTicks,
    ReleaseActivated,
    TimeAdvanced,
    View,
)


def _shown(mark: int | None) -> str:
    return "UNAVAILABLE" if mark is None else str(mark)


class MarksFollowTheRule(Monitor):
    """MARK-1: each mark is made by the rule of its market, of reports that are fresh, or is UNAVAILABLE."""

    invariant = "MARK-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._touched: set[MarketId] = set()

    def _reckoned(self, market: MarketId) -> Reckoned | None:
        margin = self.told.margin
        rule = margin.marked.get(market) if margin is not None else None
        if margin is None or rule is None:
            return None
        return mark_from(rule, margin.reports.get(market, {}), self.told.triggers.time_ms)

    @on(PriceReported)
    def reported(self, event: PriceReported) -> None:
        """A report comes from a source of the market, and neither from the future nor from before the last one."""
        self.checked += 1
        margin = self.told.margin
        rule = margin.marked.get(event.market) if margin is not None else None
        if margin is None or rule is None or event.source not in rule.sources:
            self.report(
                f"source {event.source} of {event.market}",
                found=f"its price {event.price_ticks} is taken note of",
                expected="prices of the market's sources only",
                evidence=[event],
            )
            return
        self._touch(event.market)
        now, last = self.told.triggers.time_ms, margin.reports[event.market].get(event.source)
        least = max(last.time_ms if last is not None else 0, margin.rescaled_ms.get(event.market, -1) + 1)
        if not least <= event.time_ms <= now:
            self.report(
                f"report of {event.source} for {event.market}",
                found=f"as of {event.time_ms}",
                expected=f"between {least}, its last report or the last change of ticks, and {now}, the time",
                evidence=[event],
            )

    @on(TimeAdvanced)
    def time(self, event: TimeAdvanced) -> None:
        """Reports grow old: all marks are to be looked at; and time only moves on."""
        self.checked += 1
        if self.told.margin is not None:
            self._touch(*self.told.margin.marked)
        if event.time_ms <= self.told.triggers.time_ms:
            self.report(
                "time",
                found=f"{event.time_ms} after {self.told.triggers.time_ms}",
                expected="a later time",
                evidence=[event],
            )

    @on(ReleaseActivated)
    def rescaled(self, event: ReleaseActivated) -> None:  # noqa: ARG002 - whatever it changes
        """Prices reported in ticks of another amount no longer count: all marks are to be looked at."""
        if self.told.margin is not None:
            self._touch(*self.told.margin.marked)

    @on(MarkChanged)
    def changed(self, event: MarkChanged) -> None:
        """A mark told is the rule's, and was made of sources that are fresh, all those in the band among them."""
        self.checked += 1
        reckoned = self._reckoned(event.market)
        if reckoned is None or event.mark_ticks != reckoned.mark_ticks:
            self._wrong(event.market, event.mark_ticks, reckoned, "")
        elif event.mark_ticks is not None and not reckoned.kept <= frozenset(event.sources) <= reckoned.fresh:
            self.report(
                f"sources of the mark of {event.market}",
                found=", ".join(event.sources) or "none",
                expected=", ".join(sorted(reckoned.kept)),
                evidence=[event],
            )

    def _touch(self, *markets: MarketId) -> None:
        if not self._touched:
            self.look_at_end(self.done)
        self._touched.update(markets)

    def done(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all is in what was told
        """A mark that a report or the time made another one was told to be another one."""
        assert self.told.margin is not None
        for market in sorted(self._touched):
            self.checked += 1
            reckoned, mark = self._reckoned(market), self.told.margin.marks.get(market)
            if reckoned is not None and mark != reckoned.mark_ticks:
                self._wrong(market, mark, reckoned, " is still in use")
        self._touched.clear()

    def view(self, view: View) -> None:
        """The mark shown is the mark told."""
        if self.told.margin is None:
            return
        shown = {item.market: item.mark_ticks for item in view.marks}
        for market, mark in self.told.margin.marks.items():
            self.checked += 1
            if shown.get(market) != mark:
                self.report(
                    f"mark of {market}",
                    found=f"{_shown(shown.get(market))} is shown",
                    expected=f"{_shown(mark)}, as told",
                )

    def _wrong(self, market: MarketId, mark: PriceTicks | None, reckoned: Reckoned | None, more: str) -> None:
        expected = "no mark: the market has no rule for one"
        if reckoned is not None:
            expected = (
                f"{_shown(reckoned.mark_ticks)}: fresh are {', '.join(sorted(reckoned.fresh)) or 'none'}, "
                f"in the band {', '.join(sorted(reckoned.kept)) or 'none'}"
            )
        self.report(f"mark of {market}", found=f"{_shown(mark)}{more}", expected=expected)
