"""POS-2, slowly: for each long lot there is a short one, and funding takes as much as it gives."""

from holdfast_model.vocabulary import (
    FundingSettled,
    PositionChanged,
    View,
)
from slow_forms.tale import Done, Tale, Violations


def pos_2(tale: Tale) -> Violations:
    """In every contract all positions sum to zero, and so does what funding moves between them."""
    contracts = [market.market for market in tale.setup.markets if market.perpetual is not None]
    for moment in tale.all(Done):
        if any(isinstance(event.what, PositionChanged) for event in tale.answer(moment)):
            for contract in contracts:
                last = {
                    item.client: item for item in tale.before(moment.at, PositionChanged) if item.market == contract
                }
                if sum(item.position_lots for item in last.values()) != 0:
                    yield moment.step, f"contract {contract}"
    for moment in tale.all(View):
        for contract in contracts:
            if sum(item.position_lots for item in moment.what.positions if item.market == contract) != 0:
                yield moment.step, f"contract {contract}"
    yield from _funding(tale)


def _funding(tale: Tale) -> Violations:
    markets = {market.market: market for market in tale.setup.markets}
    for moment in tale.all(FundingSettled):
        funding: FundingSettled = moment.what
        name = f"funding {funding.market}/{funding.period}"
        market = markets.get(funding.market)
        if market is None or market.perpetual is None:
            continue
        periods = [other.period for other in tale.before(moment.at, FundingSettled) if other.market == funding.market]
        if abs(funding.rate_ppm) > market.perpetual.funding_ppm_max:
            yield moment.step, f"rate of {name}"
        if funding.period != (periods[-1] if periods else 0) + 1:
            yield moment.step, f"period of {name}"
        if funding.mark_ticks != tale.mark(moment.at, funding.market):
            yield moment.step, f"mark of {name}"
