"""MARK-1, slowly: every mark made again of all reports, whenever a command is done."""

from holdfast_model.vocabulary import (
    MarkChanged,
    Market,
    PriceReported,
    ReleaseActivated,
    ReleaseId,
    Setup,
    TimeAdvanced,
    View,
)
from slow_forms.tale import Done, Tale, Violations


def mark_1(tale: Tale) -> Violations:
    """A price in use is made by its rule of enough fresh reports of known sources, or is UNAVAILABLE."""
    yield from _reports(tale)
    for moment in tale.all(TimeAdvanced):
        if moment.what.time_ms <= tale.time_ms(moment.at):
            yield moment.step, "time"
    marked = [market for market in tale.setup.markets if market.mark is not None]
    for moment in tale.all(MarkChanged):
        for market in marked:
            if market.market == moment.what.market:
                mark, kept, fresh = made(tale, moment.at, market)
                if mark != moment.what.mark_ticks:
                    yield moment.step, f"mark of {market.market}"
                elif mark is not None and not kept <= {*moment.what.sources} <= fresh:
                    yield moment.step, f"sources of the mark of {market.market}"
    for moment in tale.all(Done, View):
        for market in marked:
            mark, _, _ = made(tale, moment.at, market)
            shown = {item.market: item.mark_ticks for item in moment.what.marks} if type(moment.what) is View else {}
            if mark != tale.mark(moment.at, market.market) or mark != shown.get(market.market, mark):
                yield moment.step, f"mark of {market.market}"


def _reports(tale: Tale) -> Violations:
    rules = {market.market: market for market in tale.setup.markets if market.mark is not None}
    for moment in tale.all(PriceReported):
        report: PriceReported = moment.what
        market = rules.get(report.market)
        if market is None or market.mark is None or report.source not in market.mark.sources:
            yield moment.step, f"source {report.source} of {report.market}"
            continue
        valid = tale.between(prices_mean_the_same_since(tale, moment.at, market), moment.at, PriceReported)
        same = [
            other.what for other in valid if (other.what.market, other.what.source) == (market.market, report.source)
        ]
        rescaled = prices_mean_the_same_since(tale, moment.at, market)
        outdated = any(report.time_ms < other.time_ms for other in same[-1:])
        outdated |= rescaled > 0 and report.time_ms <= tale.time_ms(rescaled)
        if outdated or report.time_ms > tale.time_ms(moment.at):
            yield moment.step, f"report of {report.source} for {report.market}"


def made(tale: Tale, end: int, market: Market) -> tuple[int | None, set[str], set[str]]:
    """The mark by its rule, the sources that it is made of, and all that are fresh."""
    rule = market.mark
    assert rule is not None
    start, now = prices_mean_the_same_since(tale, end, market), tale.time_ms(end)
    last = {
        report.what.source: report.what
        for report in tale.between(start, end, PriceReported)
        if report.what.market == market.market and report.what.source in rule.sources
    }
    fresh = {name: report.price_ticks for name, report in last.items() if report.time_ms >= now - rule.age_max_ms}
    if len(fresh) < rule.sources_min:
        return None, set(), {*fresh}
    middle = _median([*fresh.values()])
    kept = {
        name: price for name, price in fresh.items() if abs(price - middle) * 1_000_000 <= rule.band_ppm * abs(middle)
    }
    if len(kept) < rule.sources_min or _median([*kept.values()]) <= 0:
        return None, set(), {*fresh}
    return _median([*kept.values()]), {*kept}, {*fresh}


def _median(prices: list[int]) -> int:
    """The price in the middle; of an even number the mean of two, rounded down."""
    ordered = sorted(prices)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


def prices_mean_the_same_since(tale: Tale, end: int, market: Market) -> int:
    """The place of the last release that made a tick of the market worth another amount."""
    since, before = 0, tale.setup.releases[0].release
    for moment in tale.between(0, end, ReleaseActivated):
        if _tick(tale.setup, market, before) != _tick(tale.setup, market, moment.what.release):
            since = moment.at
        before = moment.what.release
    return since


def _tick(setup: Setup, market: Market, release: ReleaseId) -> int:
    (there,) = (item for item in setup.markets_under(release) if item.market == market.market)
    return there.tick_amount
