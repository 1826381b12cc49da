"""Stories: a sequence told step by step on one engine, every invariant checked after each step.

For scenario tests in pytest, on the reference or on your own engine::

    def test_a_partial_fill_survives_a_restart() -> None:
        story = Story(SMALL_SETUP)
        story.deposit("alice", BTC=1_000)
        story.deposit("bob", USD=10_000)
        story.sell("alice", "a1", 5, 100)
        story.buy("bob", "b1", 2, 100)
        story.do(Crash(), Restart())
        assert story.left("alice", "a1") == 3

A step that breaks an invariant raises `InvariantViolatedError` at that step.
"""

from typing import TypedDict, Unpack

from holdfast.engine import Engine, LocalEngine
from holdfast.machines import InvariantViolatedError
from holdfast.running import Runner
from holdfast_model.vocabulary import (
    SPOT,
    AdvanceTime,
    Amount,
    Bucket,
    Conditions,
    CreditDeposit,
    Event,
    Events,
    PlaceOrder,
    Position,
    PriceTicks,
    ProductId,
    Reason,
    Rejected,
    ReportPrice,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    Step,
    TimeInForce,
    TransferMargin,
    View,
)

PAUSE_MS = 1_000
"""How far time goes on before prices are reported."""


class Terms(TypedDict, total=False):
    """What an order may have beyond side, size and price."""

    time_in_force: TimeInForce
    post_only: bool
    self_trade: SelfTrade
    conditions: Conditions


class Story:
    """One engine, reset to a setup, and what is done to it."""

    def __init__(self, setup: Setup, engine: Engine | None = None) -> None:
        self.setup = setup
        self.runner = Runner(engine or LocalEngine(), setup)
        self.time_ms = 0
        self.told: list[Event] = []
        self._number = 0

    def do(self, *steps: Step) -> Events:
        """Take steps; the events of the last. Raises `InvariantViolatedError` at the first that breaks something."""
        events: Events = ()
        for step in steps:
            known = len(self.runner.violations)
            record = self.runner.do(step)
            assert record is not None, f"{step} cannot be taken now"
            if self.runner.violations[known:]:
                raise InvariantViolatedError(self.runner.violations[known:])
            events = tuple(event for answer in record.answers for event in answer.events)
            self.told.extend(events)
        return events

    def refusal(self, step: Step) -> Reason | None:
        """Take a step; the reason for which it was refused, None when it was not."""
        return next((event.reason for event in self.do(step) if isinstance(event, Rejected)), None)

    # What clients and operators do ----------------------------------------------------------------------------------

    def deposit(self, client: str, **amounts: int) -> None:
        """Deposits of a client, by asset."""
        for asset, amount in amounts.items():
            self.do(CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=self._id("deposit")))

    def pledge(self, client: str, product: ProductId, **amounts: int) -> None:
        """Transfers of a client from its spot wallet to the margin account of a product, by asset."""
        for asset, amount in amounts.items():
            self.do(self.transfer(client, asset, amount, SPOT, product))

    def transfer(self, client: str, asset: str, amount: int, source: ProductId, target: ProductId) -> TransferMargin:
        """A transfer, not yet asked for."""
        return TransferMargin(
            client=client,
            request=self._id("transfer"),
            asset=asset,
            amount=Amount(amount),
            source=source,
            target=target,
        )

    def buy(
        self, client: str, order: str, size: int, price: int | None, market: str | None = None, **terms: Unpack[Terms]
    ) -> Events:
        """A buy order."""
        return self.do(self.order(Side.BUY, client, order, size, price, market, **terms))

    def sell(
        self, client: str, order: str, size: int, price: int | None, market: str | None = None, **terms: Unpack[Terms]
    ) -> Events:
        """A sell order."""
        return self.do(self.order(Side.SELL, client, order, size, price, market, **terms))

    def order(  # noqa: PLR0917 - an order, as people say it
        self,
        side: Side,
        client: str,
        order: str,
        size: int,
        price: int | None,
        market: str | None = None,
        **terms: Unpack[Terms],
    ) -> PlaceOrder:
        """An order, not yet placed; in the first market unless another one is named."""
        return PlaceOrder(
            client=client,
            order=order,
            market=market or self.setup.markets[0].market,
            side=side,
            size_lots=SizeLots(size),
            price_ticks=None if price is None else PriceTicks(price),
            **terms,
        )

    def wait(self, milliseconds: int = PAUSE_MS) -> Events:
        """Let time go on."""
        self.time_ms += milliseconds
        return self.do(AdvanceTime(time_ms=self.time_ms))

    def report(self, market: str, **prices: int) -> Events:
        """Let time go on a little, and sources report their prices of a market; the events of the last report."""
        self.wait()
        return self.do(
            *(
                ReportPrice(source=source, market=market, price_ticks=PriceTicks(price), time_ms=self.time_ms)
                for source, price in prices.items()
            )
        )

    def mark(self, market: str, price: int) -> Events:
        """Let all sources of a market report one price."""
        rule = next(item.mark for item in self.setup.markets if item.market == market)
        assert rule is not None, f"{market} has no mark"
        return self.report(market, **dict.fromkeys(rule.sources, price))

    # What is there --------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """What the exchange shows now."""
        view, _ = self.runner.engine.observe()
        return view

    def amount(self, account: str, bucket: Bucket, asset: str) -> int:
        """A balance."""
        return sum(
            item.amount
            for item in self.view.balances
            if (item.account, item.bucket, item.asset) == (account, bucket, asset)
        )

    def position(self, client: str, market: str) -> Position | None:
        """A position, None where there is none."""
        found = [item for item in self.view.positions if (item.client, item.market) == (client, market)]
        return found[0] if found else None

    def left(self, client: str, order: str) -> int | None:
        """What is left of an order in the book, None where it is not in it."""
        found = [item.left_lots for item in self.view.orders if (item.client, item.order) == (client, order)]
        return found[0] if found else None

    def mark_of(self, market: str) -> int | None:
        """A market's mark, None while it is unavailable."""
        return next(item.mark_ticks for item in self.view.marks if item.market == market)

    def happened(self, kind: type[Event]) -> int:
        """How many events of a kind were told so far."""
        return sum(isinstance(event, kind) for event in self.told)

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"
