"""A Hypothesis machine for margin: positions, marks, loans, funding, halts of products, liquidation step by step."""

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from holdfast.machines import ExchangeMachine, move, needs
from holdfast.setups import MARGIN_SETUP
from holdfast_model.vocabulary import (
    INSURANCE,
    LENDING,
    PROMOTIONS,
    SPOT,
    AccrueInterest,
    AmendOrder,
    Amount,
    Borrow,
    Bucket,
    CancelAll,
    Capability,
    Conditions,
    Crash,
    CrashPoint,
    CreditDeposit,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    Liquidate,
    Market,
    PlaceOrder,
    PriceTicks,
    ProductId,
    Reason,
    Repay,
    ReportPrice,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SettleFunding,
    Setup,
    Side,
    SizeLots,
    Stage,
    TakeSnapshot,
    TransferMargin,
    margin_account,
)

_index = st.integers(0, 2**16)
_percent = st.integers(-35, 50)
_rates = st.integers(-10_000, 10_000)
_mostly = st.sampled_from((True, True, True, False))
_LIQUIDATION_ENDS = (Reason.NOT_BELOW_MAINTENANCE, Reason.NOTHING_TO_LIQUIDATE)


class MarginMachine(ExchangeMachine):
    """Drives an exchange with perpetuals; after every step a view is taken and every invariant checked."""

    setup: ClassVar[Setup] = MARGIN_SETUP

    def __init__(self) -> None:
        super().__init__()
        self._outside = {market.base: market.reference_ticks or 100 for market in self.setup.markets}

    def endow(self) -> None:
        """Prices, little in the house accounts, and collateral for everybody."""
        can = self.runner.capabilities
        if not self.runner.auditor.told.amounts:
            for index in range(len(self.setup.clients)):
                self._fund(index)
        self._quote(*self._outside)
        for account, asset, amount, needed in (
            (INSURANCE, "USD", 150, Capability.LIQUIDATION),
            (LENDING, "USD", 5_000, Capability.BORROWING),
            (LENDING, "BTC", 300, Capability.BORROWING),
            (PROMOTIONS, "USD", 120, Capability.PROMOTIONS),
        ):
            if needed in can:
                self._pay_house(account, asset, amount)
        for client in self.setup.clients:
            self._transfer(client, "USD", 400, SPOT, "linear")

    # What is done, given names and amounts --------------------------------------------------------------------------

    def _client(self, index: int) -> str:
        return self.setup.clients[index % len(self.setup.clients)]

    def _product(self, index: int) -> ProductId:
        names = [SPOT, *(product.product for product in self.setup.products)]
        return names[index % len(names)]

    def _perpetual(self, index: int) -> Market:
        markets = [market for market in self.setup.markets if market.perpetual is not None]
        return markets[index % len(markets)]

    def _move(self, asset: str, percent: int) -> None:
        self._outside[asset] = max(1, self._outside[asset] * (100 + percent) // 100)

    def _quote(self, *assets: str) -> None:
        """All sources report what the outside world's prices are, a moment later."""
        self.do(self.later(1_000))
        for market in self.setup.markets:
            if market.mark is not None and market.base in assets:
                for source in market.mark.sources:
                    self._report(market, source, self._outside[market.base])

    def _report(self, market: Market, source: str, price: int) -> None:
        time = self.runner.known.time_ms
        self.do(ReportPrice(source=source, market=market.market, price_ticks=PriceTicks(price), time_ms=time))

    def _pay_house(self, account: str, asset: str, amount: int) -> None:
        self.do(FundHouse(account=account, asset=asset, amount=Amount(amount), transaction=self._id("h")))

    def _transfer(self, client: str, asset: str, amount: int, source: ProductId, target: ProductId) -> None:
        self.do(
            TransferMargin(
                client=client,
                request=self._id("r"),
                asset=asset,
                amount=Amount(amount),
                source=source,
                target=target,
            )
        )

    def _order_in(self, market: Market, client: str, side: Side, size: int, price: int) -> PlaceOrder:
        return PlaceOrder(
            client=client,
            order=self._id("o"),
            market=market.market,
            side=side,
            size_lots=SizeLots(max(1, size)),
            price_ticks=PriceTicks(max(1, price)),
        )

    def _lots(self, client: str, market: Market) -> int:
        return self.runner.known.positions.get((client, market.market), 0)

    def _held(self, index: int) -> tuple[str, Market] | None:
        """Somebody's position by a drawn number."""
        held = [key for key, lots in self.runner.known.positions.items() if lots]
        if not held:
            return None
        client, name = held[index % len(held)]
        return client, self.runner.auditor.told.markets[name]

    def _liquidate(self, client: str, product: ProductId, times: int) -> None:
        for _ in range(times):
            self.do(Liquidate(client=client, product=product))
            if self.runner.known.refusal in _LIQUIDATION_ENDS:
                return

    # Single commands ------------------------------------------------------------------------------------------------

    @needs(Capability.MARKS)
    @rule(asset=_index, percent=_percent)
    def move_price(self, asset: int, percent: int) -> None:
        """The outside world's price of an asset moves, and all sources say so."""
        names = list(self._outside)
        name = names[asset % len(names)]
        self._move(name, percent)
        self._quote(name)

    @needs(Capability.MARKS)
    @rule(
        market=_index,
        source=_index,
        factor=st.sampled_from((1, 1, 1_000, 0, -1)),
        earlier=st.sampled_from((0, 0, 59_000, -1)),
    )
    def report(self, market: int, source: int, factor: int, earlier: int) -> None:
        """One source reports a price: plain, an outlier, none at all, an old one, one from the future."""
        markets = [item for item in self.setup.markets if item.mark is not None]
        chosen = markets[market % len(markets)]
        assert chosen.mark is not None
        self.do(self.later(500))
        sources = chosen.mark.sources
        self.do(
            ReportPrice(
                source=sources[source % len(sources)],
                market=chosen.market,
                price_ticks=PriceTicks(self._outside[chosen.base] * factor),
                time_ms=max(0, self.runner.known.time_ms - earlier),
            )
        )

    @needs(Capability.MARKS)
    @rule(refresh=st.booleans())
    def prices_grow_old(self, *, refresh: bool) -> None:
        """Time passes until no price counts any more."""
        self.do(self.later(61_000))
        if refresh:
            self._quote(*self._outside)

    @needs(Capability.MARGIN)
    @rule(
        client=_index,
        asset=_index,
        amount=st.sampled_from((1, 300, 5_000)),
        out_of=_index,
        into=_index,
    )
    def transfer(self, client: int, asset: int, amount: int, out_of: int, into: int) -> None:
        """Collateral moves between wallets."""
        name = self.setup.assets[asset % len(self.setup.assets)]
        self._transfer(self._client(client), name, amount, self._product(out_of), self._product(into))

    @needs(Capability.BORROWING)
    @rule(client=_index, asset=st.sampled_from(("USD", "BTC", "ETH")), amount=st.sampled_from((1, 60, 700, 3_000)))
    def borrow(self, client: int, asset: str, amount: int) -> None:
        """A client borrows."""
        self.do(Borrow(client=self._client(client), request=self._id("r"), asset=asset, amount=Amount(amount)))

    @needs(Capability.BORROWING)
    @rule(index=_index, more=st.integers(-1, 1))
    def repay(self, index: int, more: int) -> None:
        """A client pays its debt back, or a unit less or more."""
        debts = [
            (account, asset, -amount)
            for (account, bucket, asset), amount in self.runner.auditor.told.amounts.items()
            if bucket is Bucket.BORROWED and amount < 0 and account in self.setup.clients
        ]
        if debts:
            client, asset, debt = debts[index % len(debts)]
            self.do(Repay(client=client, request=self._id("r"), asset=asset, amount=Amount(debt + more)))

    @needs(Capability.BORROWING)
    @rule(asset=st.sampled_from(("USD", "BTC")), rate=st.sampled_from((0, 1, 10_000, 100_000)))
    def interest(self, asset: str, rate: int) -> None:
        """A period's interest."""
        period = self.runner.known.periods.get(asset, 0) + 1
        self.do(AccrueInterest(asset=asset, period=period, rate_ppm=rate))

    @needs(Capability.MARGIN)
    @rule(market=_index, rate=st.sampled_from((-10_000, -1, 0, 3, 10_000, 10_001)))
    def funding(self, market: int, rate: int) -> None:
        """A period's funding."""
        name = self._perpetual(market).market
        self.do(SettleFunding(market=name, period=self.runner.known.periods.get(name, 0) + 1, rate_ppm=rate))

    @needs(Capability.PROMOTIONS)
    @rule(client=_index, amount=st.sampled_from((1, 100, 101, 620_000)), again=st.booleans())
    def grant(self, *, client: int, amount: int, again: bool) -> None:
        """A promotion, perhaps given twice, perhaps above what may be granted."""
        granted = GrantPromotion(client=self._client(client), asset="USD", amount=Amount(amount), grant=self._id("g"))
        self.do(granted)
        if again:
            self.do(granted)

    # What random choice alone rarely puts together ------------------------------------------------------------------

    @needs(Capability.MARGIN)
    @rule(market=_index, buyer=_index, seller=_index, size=st.integers(1, 40))
    @move
    def open_positions(self, market: int, buyer: int, seller: int, size: int) -> None:
        """Two clients take positions against each other at the mark."""
        self._oppose(self._perpetual(market), buyer, seller, size)

    def _oppose(self, market: Market, buyer: int, seller: int, size: int) -> None:
        clients = self.setup.clients
        long = clients[buyer % len(clients)]
        short = [client for client in clients if client != long][seller % (len(clients) - 1)]
        price = self._outside[market.base]
        for client in (long, short):
            self._transfer(client, "USD", max(1, size * price // 8), SPOT, market.product)
        self.do(self._order_in(market, long, Side.BUY, size, price))
        self.do(self._order_in(market, short, Side.SELL, size, price))

    @needs(Capability.MARGIN)
    @rule(index=_index, beyond=st.integers(0, 3), taker=_index)
    @move
    def reduce(self, index: int, beyond: int, taker: int) -> None:
        """A reduce-only order closes a position and would go beyond it."""
        held = self._held(index)
        if held is None:
            return
        client, market = held
        lots, price = self._lots(client, market), self._outside[market.base]
        side = Side.SELL if lots > 0 else Side.BUY
        order = self._order_in(market, client, side, abs(lots) + beyond, price)
        self.do(
            PlaceOrder(
                client=order.client,
                order=order.order,
                market=order.market,
                side=side,
                size_lots=order.size_lots,
                price_ticks=order.price_ticks,
                conditions=Conditions(reduce_only=True),
            )
        )
        self.do(self._order_in(market, self._client(taker), side.opposite, abs(lots) + beyond, price))

    def _squeezed(self, index: int, size: int, percent: int, *, thin: bool) -> tuple[str, Market] | None:
        """Somebody with a position, opened now where `size` says so, against which the mark has moved."""
        if size:
            self._oppose(self._perpetual(index), index, index // 7, size)
        held = self._held(index)
        if held is None:
            return None
        client, market = held
        if thin and Capability.CANCEL_ALL in self.runner.capabilities:
            for other in self.setup.clients:
                self.do(CancelAll(client=other, market=market.market))
        self._move(market.base, -percent if self._lots(client, market) > 0 else percent)
        self._quote(market.base)
        return client, market

    @needs(Capability.LIQUIDATION)
    @rule(
        index=_index,
        size=st.integers(0, 40),
        percent=st.integers(4, 35),
        offer=st.none() | st.integers(-12, 3),
        buyer=_index,
        times=st.integers(1, 12),
    )
    @move
    def squeeze(self, *, index: int, size: int, percent: int, offer: int | None, buyer: int, times: int) -> None:
        """The mark moves against a position, which is liquidated; in a thin book the other side pays for it."""
        held = self._squeezed(index, size, percent, thin=offer is None)
        if held is None:
            return
        client, market = held
        if offer is not None:
            lots = self._lots(client, market)
            price = self._outside[market.base] * (100 + (offer if lots > 0 else -offer)) // 100
            side = Side.BUY if lots > 0 else Side.SELL
            self.do(self._order_in(market, self._client(buyer), side, abs(lots) // 2, price))
        self._liquidate(client, market.product, times)

    @needs(Capability.LIQUIDATION)
    @rule(client=_index, product=_index, times=st.integers(1, 3))
    def liquidate(self, client: int, product: int, times: int) -> None:
        """A liquidation is asked for, due or not."""
        self._liquidate(self._client(client), self._product(product), times)

    @needs(Capability.LIQUIDATION, Capability.RESTART, Capability.RESEND)
    @rule(index=_index, size=st.integers(0, 40), percent=st.integers(4, 35), point=st.sampled_from(CrashPoint))
    @move
    def crash_in_a_liquidation(self, index: int, size: int, percent: int, point: CrashPoint) -> None:
        """The process is killed in the middle of a step, and the step is asked for again."""
        held = self._squeezed(index, size, percent, thin=False)
        if held is None:
            return
        client, market = held
        step = Liquidate(client=client, product=market.product)
        self.do(Crash(in_flight=step, point=point))
        self.do(Restart())
        self.do(step)
        self.do(RestoreSnapshot())

    @needs(Capability.PRODUCT_HALTS, Capability.MARGIN)
    @rule(
        index=_index,
        size=st.integers(1, 40),
        percent=_percent,
        amount=st.integers(1, 300),
        out=st.booleans(),
        restored=st.booleans(),
    )
    @move
    def halt_while_margin_is_late(
        self, *, index: int, size: int, percent: int, amount: int, out: bool, restored: bool
    ) -> None:
        """A product is halted, its marks move, a transfer into it waits, nobody is liquidated; it opens by stages."""
        market = self._perpetual(index)
        self._oppose(market, index, index // 7, size)
        name, client = market.product, self._client(index)
        self.do(HaltProduct(product=name, cause="margin is late"))
        self.move_all(percent)
        self._transfer(client, "USD", amount, *((name, SPOT) if out else (SPOT, name)))
        if restored and Capability.SNAPSHOT in self.runner.capabilities:
            self.do(TakeSnapshot())
            self.do(RestoreSnapshot())
        if Capability.LIQUIDATION in self.runner.capabilities:
            self.do(Liquidate(client=client, product=name))
        for stage in (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN):
            self.do(ResumeStage(product=name, stage=stage))

    def move_all(self, percent: int) -> None:
        """All prices move."""
        for asset in self._outside:
            self._move(asset, percent)
        self._quote(*self._outside)

    @needs(Capability.BORROWING, Capability.LIQUIDATION)
    @rule(client=_index, percent=st.integers(40, 95), amount=st.integers(500, 900), times=st.integers(1, 12))
    @move
    def default(self, client: int, percent: int, amount: int, times: int) -> None:
        """A loan against bitcoin, whose price falls: collateral is seized, and what is left written off."""
        name = self._client(client)
        self._transfer(name, "BTC", 120, SPOT, "linear")
        self.do(Borrow(client=name, request=self._id("r"), asset="USD", amount=Amount(amount)))
        self._move("BTC", -percent)
        self._quote("BTC")
        self._liquidate(name, SPOT, times)

    def _margined(self, client: str, product: ProductId) -> tuple[str, Bucket]:
        """Where a client's collateral in a product stands."""
        isolated = any(item.product == product and item.isolated for item in self.setup.products)
        return margin_account(client, product, isolated=isolated), Bucket.COLLATERAL

    @needs(Capability.BORROWING, Capability.MARGIN)
    @rule(
        client=_index,
        asset=st.sampled_from(("USD", "BTC")),
        amount=st.sampled_from(("some", "all", "beyond", "beyond all")),
        secured=_mostly,
        rate=st.sampled_from((777, 1, 10_000, 100_000)),
        way=st.none() | _index,
        back=st.integers(-1, 1),
    )
    @move
    def owe(
        self, *, client: int, asset: str, amount: str, secured: bool, rate: int, way: int | None, back: int
    ) -> None:
        """A loan, mostly secured, within the credit or beyond it; it bears interest, and is paid back to the unit."""
        owner, margin = self._client(client), self.setup.margin
        assert margin is not None
        credit = next((item.amount for item in margin.credit if item.asset == asset), Amount(0))
        lent = {"some": max(1, credit // 7), "all": credit, "beyond": credit + 1, "beyond all": 3 * credit}[amount]
        if secured:
            pledge = "BTC" if asset == "USD" else "USD"
            enough = 1 + lent // 4 if asset == "USD" else 25 * lent
            self.do(CreditDeposit(client=owner, asset=pledge, amount=Amount(enough), transaction=self._id("t")))
            self._transfer(owner, pledge, enough, SPOT, "linear")
        self.do(Borrow(client=owner, request=self._id("r"), asset=asset, amount=Amount(lent)))
        for number in range(2):
            period = self.runner.known.periods.get(asset, 0) + 1
            self.do(AccrueInterest(asset=asset, period=period, rate_ppm=rate))
            if way is not None and not number:
                self.rebuild(way)
        debt = -self.runner.auditor.told.amounts.get((owner, Bucket.BORROWED, asset), 0)
        if debt > 0:
            self.do(Repay(client=owner, request=self._id("r"), asset=asset, amount=Amount(debt + back)))

    @needs(Capability.MARGIN)
    @rule(
        market=_index,
        buyer=_index,
        seller=_index,
        size=st.integers(1, 40),
        rates=st.tuples(_rates, _rates),
        way=st.none() | _index,
    )
    @move
    def pay_funding(
        self, *, market: int, buyer: int, seller: int, size: int, rates: tuple[int, int], way: int | None
    ) -> None:
        """Two clients have positions against each other and pay funding, perhaps over a restart."""
        chosen = self._perpetual(market)
        self._oppose(chosen, buyer, seller, size)
        for number, rate in enumerate(rates):
            period = self.runner.known.periods.get(chosen.market, 0) + 1
            self.do(SettleFunding(market=chosen.market, period=period, rate_ppm=rate))
            if way is not None and not number:
                self.rebuild(way)

    @needs(Capability.MARGIN)
    @rule(
        market=_index,
        buyer=_index,
        seller=_index,
        size=st.integers(1, 40),
        asset=st.sampled_from(("USD", "BTC")),
        left=st.integers(0, 3),
    )
    @move
    def strip(self, *, market: int, buyer: int, seller: int, size: int, asset: str, left: int) -> None:
        """A client opens a position and takes its collateral away, all of it or all but little."""
        chosen, client = self._perpetual(market), self._client(buyer)
        if asset != "USD":
            self._transfer(client, asset, 20, SPOT, chosen.product)
        self._oppose(chosen, buyer, seller, size)
        account, bucket = self._margined(client, chosen.product)
        there = self.runner.auditor.told.amounts.get((account, bucket, asset), 0)
        self._transfer(client, asset, max(1, there - left), chosen.product, SPOT)

    @needs(Capability.MARGIN, Capability.AMEND)
    @rule(market=_index, client=_index, side=st.sampled_from(Side), size=st.integers(20, 400))
    @move
    def outgrow(self, market: int, client: int, side: Side, size: int) -> None:
        """An order in a perpetual, small enough for its account, is amended to one that is not; one is placed so."""
        chosen = self._perpetual(market)
        price = self._outside[chosen.base]
        self._transfer(self._client(client), "USD", 30, SPOT, chosen.product)
        order = self._order_in(chosen, self._client(client), side, 1, price)
        self.do(order)
        self.do(
            AmendOrder(
                client=order.client, order=order.order, size_lots=SizeLots(size), price_ticks=PriceTicks(price)
            )
        )
        self.do(self._order_in(chosen, self._client(client), side, size, price))
