"""Incidents of prices: two sources that disagree, a negative price, a thin book of one's own, feeds that are gone."""

from collections.abc import Callable, Sequence

import pytest

from holdfast.engine import Engine
from holdfast.setups import MARGIN_SETUP
from holdfast.stories import Story
from holdfast_engine.exchange import Parts
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    INSURANCE,
    SPOT,
    Amount,
    Bucket,
    Deleveraged,
    FundHouse,
    HaltProduct,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    MarkChanged,
    MarketId,
    MarkRule,
    PriceTicks,
    ProductId,
    Reason,
    ResumeStage,
    SettleFunding,
    Side,
    Stage,
    TradeExecuted,
)

Told = Callable[[Engine], None]
PERP, ISLE = "BTC-PERP", "ETH-ISLE"
CLIENTS = ("alice", "bob", "carol", "dave")


def marked(engine: Engine) -> Story:
    """Four clients with money and collateral, and every market with a mark: BTC at 100, ETH at 40."""
    story = Story(MARGIN_SETUP, engine)
    for client in CLIENTS:
        story.deposit(client, USD=20_000, BTC=2_000)
        story.pledge(client, "linear", USD=2_000)
    everything(story, 100, 40)
    return story


def everything(story: Story, btc: int, eth: int) -> None:
    """All sources report all markets."""
    for market in MARGIN_SETUP.markets:
        story.mark(market.market, btc if market.base == "BTC" else eth)


def risk(story: Story, product: str = "linear") -> list[Reason | None]:
    """What the risk process hears when it asks for everybody's liquidation."""
    return [story.refusal(Liquidate(client=client, product=product)) for client in CLIENTS]


def positions(story: Story) -> dict[tuple[str, str], tuple[int, int]]:
    """Lots and entry value of every position."""
    return {(item.client, item.market): (item.position_lots, item.entry_value) for item in story.view.positions}


@pytest.mark.parametrize("wrong", [100_000, 1])
def test_of_two_sources_that_disagree_neither_is_believed(engine: Engine, wrong: int) -> None:
    """deribit-2019-10-31, synthetix-2019-06-25: an outlier was kept; a mean of two feeds, one of them times 1,000."""
    story = marked(engine)
    story.buy("alice", "a1", 50, 100, PERP)
    story.sell("bob", "b1", 50, 100, PERP)
    before = positions(story)
    assert before == {("alice", PERP): (50, 5_000), ("bob", PERP): (-50, -5_000)}
    # Of three sources the one that is wrong is dropped, and the mark does not move at all.
    story.report(PERP, s1=wrong)
    assert story.mark_of(PERP) == 100
    # The others grow too old: one comes back, the wrong one goes on, and now there is no telling which is right.
    story.wait(60_001)
    story.report(PERP, s2=100, s1=wrong)
    assert story.mark_of(PERP) is None
    assert set(risk(story)) == {Reason.MARK_UNAVAILABLE, Reason.NOT_BELOW_MAINTENANCE}
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.MARK_UNAVAILABLE
    assert story.refusal(story.order(Side.BUY, "carol", "c1", 1, 100, PERP)) is Reason.MARK_UNAVAILABLE
    assert story.refusal(SettleFunding(market=PERP, period=1, rate_ppm=100)) is Reason.MARK_UNAVAILABLE
    assert story.refusal(story.transfer("alice", "USD", 1, "linear", SPOT)) is Reason.MARK_UNAVAILABLE
    assert positions(story) == before
    story.report(PERP, s3=101)
    assert story.mark_of(PERP) == 100
    assert [event.sources for event in story.told if isinstance(event, MarkChanged)][-1] == ("s2", "s3")
    assert positions(story) == before


def test_a_negative_price_is_no_mark_and_liquidates_nobody(engine: Engine) -> None:
    """ibkr-2020-04-20: oil was worth less than nothing, and a margin system that could not say so went on."""
    story = marked(engine)
    story.buy("alice", "a1", 50, 100, PERP)
    story.sell("bob", "b1", 50, 100, PERP)
    before, balances = positions(story), story.view.balances
    assert before == {("alice", PERP): (50, 5_000), ("bob", PERP): (-50, -5_000)}
    for price in (-37, 0):
        story.mark(PERP, price)
        assert story.mark_of(PERP) is None
        assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.MARK_UNAVAILABLE
        assert story.refusal(story.order(Side.SELL, "carol", f"c{price}", 1, 1, PERP)) is Reason.MARK_UNAVAILABLE
    assert (positions(story), story.view.balances) == (before, balances)
    story.mark(PERP, 100)
    assert set(risk(story)) == {Reason.NOT_BELOW_MAINTENANCE}


def test_the_venues_own_thin_book_is_no_price_of_anybodys_collateral(engine: Engine) -> None:
    """binance-2025-10-10: collateral was priced on the venue's own thin books, into which liquidations sold."""
    story = marked(engine)
    story.pledge("alice", "linear", BTC=200)
    story.buy("alice", "a1", 120, 100, PERP)
    story.sell("bob", "b1", 120, 100, PERP)
    assert positions(story)["alice", PERP] == (120, 12_000)
    story.buy("carol", "thin", 1, 81, "BTC-USD")
    story.sell("dave", "dump", 1, None, "BTC-USD")
    assert [event.price_ticks for event in story.told if isinstance(event, TradeExecuted)][-1] == 81
    assert story.mark_of("BTC-USD") == 100
    assert set(risk(story)) == {Reason.NOT_BELOW_MAINTENANCE}
    # The perpetual does fall outside. Its liquidation trades below the mark, which stays what the sources say.
    everything(story, 75, 40)
    story.buy("carol", "low", 30, 74, PERP)
    story.buy("dave", "lower", 30, 73, PERP)
    known = story.happened(MarkChanged)
    assert story.refusal(Liquidate(client="alice", product="linear")) is None
    traded = [(event.price_ticks, event.size_lots) for event in story.told if isinstance(event, TradeExecuted)]
    assert traded[-2:] == [(74, 30), (73, 18)]
    assert story.happened(MarkChanged) == known
    assert story.mark_of(PERP) == 75


def test_an_isolated_market_in_which_one_account_holds_a_whole_side_gaps_and_resumes_with_fresh_prices_only(
    engine: Engine,
) -> None:
    """dydx-2025-10-10: the liquidation in an isolated market went wrong, and the prices at the resume were stale."""
    story = marked(engine)
    for client in CLIENTS:
        story.pledge(client, "island", USD=500)
    story.do(FundHouse(account=INSURANCE, asset="USD", amount=Amount(40), transaction="owner-1"))
    story.buy("alice", "whole", 100, 40, ISLE)
    for client in CLIENTS[1:]:
        story.sell(client, f"{client}-short", 34 if client == "bob" else 33, 40, ISLE)
    story.buy("alice", "a1", 10, 100, PERP)
    story.sell("bob", "b1", 10, 100, PERP)
    assert positions(story)["alice", ISLE] == (100, 4_000)
    linear = {key: value for key, value in positions(story).items() if key[1] == PERP}
    collateral = [story.amount(client, Bucket.COLLATERAL, "USD") for client in CLIENTS]
    # The price gaps from 40 to 30: the account is worth nothing at 35 already, and nobody buys above 32.
    story.buy("dave", "gap", 20, 32, ISLE)
    everything(story, 100, 30)
    step = Liquidate(client="alice", product="island")
    while story.position("alice", ISLE) and story.refusal(step) is None:
        assert sum(lots for (_, market), (lots, _) in positions(story).items() if market == ISLE) == 0
    kinds = [event.kind for event in story.told if isinstance(event, LiquidationStepped)]
    assert kinds[0] is LiquidationKind.INSURE
    assert LiquidationKind.DELEVERAGE in kinds
    assert story.happened(Deleveraged)
    # The fee of the last order is what nobody could pay: it stays owed.
    assert positions(story)["alice", ISLE] == (0, 1)
    assert {key: value for key, value in positions(story).items() if key[1] == PERP} == linear
    assert [story.amount(client, Bucket.COLLATERAL, "USD") for client in CLIENTS] == collateral
    # The market is halted, its prices grow old, and it does not open before they are fresh.
    story.do(HaltProduct(product="island", cause="order of operations"))
    story.wait(60_001)
    for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY):
        story.do(ResumeStage(product="island", stage=stage))
    resume = ResumeStage(product="island", stage=Stage.OPEN)
    assert story.refusal(resume) is Reason.MARK_UNAVAILABLE
    story.report(ISLE, s1=30)
    assert story.refusal(resume) is Reason.MARK_UNAVAILABLE
    story.mark(ISLE, 31)
    assert story.refusal(resume) is None


def test_while_the_risk_systems_prices_are_gone_no_new_risk_is_taken(engine: Engine) -> None:
    """nse-2021-02-24: the risk system was down while matching was up; what needs it must then be refused."""
    story = marked(engine)
    story.buy("alice", "a1", 50, 100, PERP)
    story.sell("bob", "b1", 50, 100, PERP)
    story.buy("carol", "c1", 5, 99, PERP)
    story.wait(60_001)
    assert {mark.mark_ticks for mark in story.view.marks} == {None}
    assert story.refusal(story.order(Side.BUY, "carol", "c2", 1, 100, PERP)) is Reason.MARK_UNAVAILABLE
    assert story.refusal(Liquidate(client="alice", product="linear")) is Reason.MARK_UNAVAILABLE
    # What needs no mark goes on: spot trading, and going out of what rests.
    story.buy("carol", "spot", 1, 100, "BTC-USD")
    story.sell("dave", "sold", 1, 100, "BTC-USD")
    assert [event.market for event in story.told if isinstance(event, TradeExecuted)] == [PERP, "BTC-USD"]
    assert story.left("carol", "c1") == 5


class _TakesTheMean(Venue):
    def mark_of(self, rule: MarkRule, prices: Sequence[PriceTicks]) -> PriceTicks | None:  # noqa: ARG002 - the fault
        return PriceTicks(sum(prices) // len(prices)) if prices and min(prices) > 0 else None


class _KeepsTheLastMark(Venue):
    def make_mark(self, market: MarketId) -> None:
        before = self.marks[market]
        super().make_mark(market)
        if self.marks[market] is None and before is not None:
            self.emit(MarkChanged(market=market, mark_ticks=before, sources=()))


class _KnowsNoSign(Venue):
    def mark_of(self, rule: MarkRule, prices: Sequence[PriceTicks]) -> PriceTicks | None:
        return super().mark_of(rule, [PriceTicks(abs(price) or 1) for price in prices])


class _TakesItsOwnTradesForPrices(Venue):
    def _on_trade_executed(self, event: TradeExecuted) -> None:
        super()._on_trade_executed(event)
        self.marks[event.market] = event.price_ticks


class _ResumesWithoutMarks(Venue):
    def marked(self, product: ProductId) -> bool:  # noqa: ARG002 - the fault
        return True


@pytest.mark.parametrize(
    ("venue", "told"),
    [
        (_TakesTheMean, lambda engine: test_of_two_sources_that_disagree_neither_is_believed(engine, 100_000)),
        (_KeepsTheLastMark, lambda engine: test_of_two_sources_that_disagree_neither_is_believed(engine, 1)),
        (_KeepsTheLastMark, test_while_the_risk_systems_prices_are_gone_no_new_risk_is_taken),
        (_KnowsNoSign, test_a_negative_price_is_no_mark_and_liquidates_nobody),
        (_TakesItsOwnTradesForPrices, test_the_venues_own_thin_book_is_no_price_of_anybodys_collateral),
        (
            _ResumesWithoutMarks,
            test_an_isolated_market_in_which_one_account_holds_a_whole_side_gaps_and_resumes_with_fresh_prices_only,
        ),
    ],
)
def test_with_a_wrong_mark_the_story_does_not_get_to_its_end(
    venue: type[Venue], told: Told, told_in_vain: Callable[[Parts, Told], None]
) -> None:
    told_in_vain(Parts(venue=venue), told)
