"""Drawing prices, margin, loans and liquidations: single commands, and moves that chance rarely puts together.

A move is a generator of steps: each is drawn in view of what was answered to the one before it.
"""

from msgspec.structs import replace

from holdfast.drawing import Funds, Moves
from holdfast_model.vocabulary import (
    INSURANCE,
    LENDING,
    PROMOTIONS,
    SPOT,
    STAGE_TRANSITIONS,
    AccrueInterest,
    Amount,
    AssetId,
    Borrow,
    Bucket,
    CancelAll,
    Capability,
    ClientId,
    Command,
    Conditions,
    ConfirmLoad,
    Crash,
    CrashPoint,
    FundHouse,
    GrantPromotion,
    HaltProduct,
    Liquidate,
    Market,
    MarketId,
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
    Side,
    SizeLots,
    Stage,
    TakeSnapshot,
    TimeInForce,
    TransferMargin,
    Trigger,
    TriggerBy,
    TriggerWhen,
    margin_account,
)

_PPM = 1_000_000
_LIQUIDATION_ENDS = (Reason.NOT_BELOW_MAINTENANCE, Reason.NOTHING_TO_LIQUIDATE, Reason.MARK_UNAVAILABLE)
_POSITION_LOTS_MAX = 300


class Prices(Funds):
    """What outside sources report."""

    def marked(self, asset: AssetId | None = None) -> list[Market]:
        """The markets with a mark, of one base asset or of all."""
        return [market for market in self.setup.markets if market.mark is not None and asset in (None, market.base)]

    def report(self) -> ReportPrice | None:
        """One price of one source, now and then an outlier, no price at all, or one of a wrong time."""
        markets = self.marked()
        return self._report(self.one(markets), steady=False) if markets else None

    def _report(self, market: Market, source: str | None = None, *, steady: bool) -> ReportPrice:
        assert market.mark is not None
        chosen = self.one(market.mark.sources) if source is None else source
        price, time = self.walk(market.base), self.known.time_ms
        if not steady:
            price = round(price * self.random.uniform(0.97, 1.03))
            odd = self.random.random()
            if odd < 0.04:  # noqa: PLR2004 - a weight
                price *= 1_000
            elif odd < 0.08:  # noqa: PLR2004 - a weight
                price = self.one((0, -price))
            elif odd < 0.13:  # noqa: PLR2004 - a weight
                time = max(0, time + self.one((1_000, -70_000, -70_000, -30_000)))
            elif odd < 0.14:  # noqa: PLR2004 - a weight
                chosen = "s9"
        return ReportPrice(source=chosen, market=market.market, price_ticks=PriceTicks(price), time_ms=time)

    def quote(self, *assets: AssetId, steady: bool = False) -> Moves:
        """All sources report the markets of these assets, a moment later; some are silent unless it is `steady`."""
        yield self.later(self.one((1, 100, 1_000, 2_000)))
        for asset in assets:
            for market in self.marked(asset):
                assert market.mark is not None
                for source in market.mark.sources:
                    if steady or not self.chance(0.15):
                        yield self._report(market, source, steady=steady)

    def tick(self) -> Moves:
        """The outside world's price of an asset moves, and its sources say so."""
        market = self.one(self.marked())
        self.move(market.base, self.random.uniform(0.96, 1.04))
        if self.chance(0.3):
            yield from self.quote(market.base)
            return
        assert market.mark is not None
        yield self.later(self.one((1, 100, 1_000, 2_000)))
        for source in market.mark.sources:
            if self.chance(0.8):
                yield self._report(market, source, steady=False)

    def fresh(self) -> Moves:
        """Marks of everything, where one is missing."""
        missing = [market.base for market in self.marked() if self.known.marks.get(market.market) is None]
        if missing:
            yield from self.quote(*dict.fromkeys(missing), steady=True)

    def flicker(self) -> Moves:
        """Time passes until every price is too old, and the sources come back one by one."""
        yield self.later(61_000)
        yield self.place()
        asset = self.one([market.base for market in self.marked()])
        yield from self.quote(asset, steady=self.chance(0.5))

    def collapse(self) -> Moves:
        """All sources of a market say that it is worth nothing, or less (ibkr-2020-04-20), and then a price again."""
        market = self.one(self.marked())
        assert market.mark is not None
        yield self.later(1_000)
        for source in market.mark.sources:
            report = self._report(market, source, steady=True)
            yield replace(report, price_ticks=self.one((PriceTicks(0), PriceTicks(-report.price_ticks))))
        yield self.place()
        yield from self.quote(market.base, steady=True)


class Risk(Prices):
    """Margin accounts, loans, funding, house money, products, liquidation."""

    @property
    def perpetuals(self) -> list[Market]:
        """The perpetuals of the setup."""
        return [market for market in self.setup.markets if market.perpetual is not None]

    @property
    def unit(self) -> AssetId:
        """The unit of account."""
        assert self.setup.margin is not None
        return self.setup.margin.unit

    def products(self) -> list[ProductId]:
        """All products, spot first."""
        return [SPOT, *(product.product for product in self.setup.products)]

    def wallet(self, client: ClientId, product: ProductId) -> tuple[str, Bucket]:
        """Where a client's funds in a product stand."""
        if product == SPOT:
            return client, Bucket.FREE
        isolated = any(item.product == product and item.isolated for item in self.setup.products)
        return margin_account(client, product, isolated=isolated), Bucket.COLLATERAL

    # Single commands ----------------------------------------------------------------------------------------------

    def transfer(self) -> TransferMargin:
        """A transfer between wallets: a part, all there is, or more; sometimes to where it may not go."""
        source, target = self.random.sample(self.products(), 2)
        assert self.setup.margin is not None
        asset = self.unit if self.chance(0.6) else self.one(self.setup.margin.collateral).asset
        client = self.client()
        there = self.amount(*self.wallet(client, source), asset)
        amount = self.one((self.random.randint(1, 500), max(1, there), max(1, there // 2), there + 1))
        return self._transfer(client, asset, amount, source, target)

    def _transfer(
        self, client: ClientId, asset: AssetId, amount: int, source: ProductId, target: ProductId
    ) -> TransferMargin:
        return TransferMargin(
            client=client,
            request=self.number("r"),
            asset=asset,
            amount=Amount(amount),
            source=source,
            target=target,
        )

    def debt(self, client: ClientId, asset: AssetId) -> int:
        """What a client owes."""
        return -self.amount(client, Bucket.BORROWED, asset)

    def borrow(self) -> Moves:
        """A loan, well secured or not, mostly of what there is to lend, often beyond the credit."""
        assert self.setup.margin is not None
        client, credit = self.client(), self.one(self.setup.margin.credit)
        asset = self.one(self.setup.assets) if self.chance(0.05) else credit.asset
        room, pool = credit.amount - self.debt(client, credit.asset), self.amount(LENDING, Bucket.FREE, asset)
        beyond = max(1, room + 1)
        amount = self.one((self.random.randint(1, 50), max(1, credit.amount // 3), beyond, beyond))
        secured = self.chance(0.5)
        if pool < room and self.chance(0.4):
            amount = pool + 1
        elif secured or self.chance(0.5):
            yield self.pay_house(LENDING, credit.asset, min(amount, beyond))
        if secured or self.chance(0.4):
            yield from self.fresh()
        if secured:
            product = next(product.product for product in self.setup.products if not product.isolated)
            yield from self._provide(client, product, 4 * self._worth(asset, amount) // 3)
        yield Borrow(client=client, request=self.number("r"), asset=asset, amount=Amount(amount))

    def _worth(self, asset: AssetId, amount: int) -> int:
        """What an amount is worth at the outside world's price."""
        assert self.setup.margin is not None
        name = next((item.market for item in self.setup.margin.collateral if item.asset == asset), None)
        if name is None:
            return amount
        market = self.told.markets[name]
        return amount * self.walk(asset) * market.tick_amount // market.lot_amount

    def repay(self) -> Repay | None:
        """A repayment of a debt: a part, all of it, or more."""
        assert self.setup.margin is not None
        owing = [
            (client, credit.asset)
            for client in self.setup.clients
            for credit in self.setup.margin.credit
            if self.debt(client, credit.asset)
        ]
        if not owing:
            return None
        client, asset = self.one(owing)
        debt = self.debt(client, asset)
        amount = self.one((1, max(1, debt // 3), debt, debt + 1))
        return Repay(client=client, request=self.number("r"), asset=asset, amount=Amount(amount))

    def _period(self, name: str) -> int:
        return self.known.periods.get(name, 0) + (1 if self.chance(0.9) else self.one((0, 2)))

    def interest(self) -> AccrueInterest:
        """A period's interest, mostly where somebody owes it."""
        assert self.setup.margin is not None
        assets = [credit.asset for credit in self.setup.margin.credit]
        owed = [asset for asset in assets if any(self.debt(client, asset) for client in self.setup.clients)]
        asset = self.one(owed if owed and self.chance(0.85) else assets)
        rate = self.one((0, 1, 777, 10_000, 100_000)) if self.chance(0.97) else self.one((-1, _PPM + 1))
        return AccrueInterest(asset=asset, period=self._period(asset), rate_ppm=rate)

    def funding(self) -> SettleFunding:
        """A period's funding, mostly where somebody pays it."""
        held = {key[1] for key, lots in self.known.positions.items() if lots}
        paying = [market for market in self.perpetuals if market.market in held]
        market = self.one(paying if paying and self.chance(0.85) else self.perpetuals)
        assert market.perpetual is not None
        bound = market.perpetual.funding_ppm_max
        rate = self.random.randint(-bound, bound) if self.chance(0.95) else self.one((-bound - 1, bound + 1))
        return SettleFunding(market=market.market, period=self._period(market.market), rate_ppm=rate)

    def pay_house(self, account: str | None = None, asset: AssetId | None = None, amount: int = 0) -> FundHouse:
        """The owner pays in, sometimes into an account that nobody pays into."""
        if account is None:
            account = self.one((INSURANCE, PROMOTIONS, LENDING)) if self.chance(0.95) else "@fees"
        return FundHouse(
            account=account,
            asset=asset or self.one(self.setup.assets),
            amount=Amount(amount or self.random.randint(1, 300)),
            transaction=self.number("h"),
        )

    def grant(self) -> Moves:
        """A promotion, sometimes above what may be granted: won taken for bitcoin; sometimes given twice."""
        limits = {item.asset: item.amount for item in self.setup.promotion_max}
        asset = self.unit if self.chance(0.6) else self.one(self.setup.assets)
        limit = limits.get(asset, Amount(5))
        amount = self.one((1, max(1, limit // 5), limit, self.random.randint(1, limit), limit + 1, 1_000 * limit))
        grant = GrantPromotion(client=self.client(), asset=asset, amount=Amount(amount), grant=self.number("g"))
        yield grant
        if self.chance(0.5):
            yield grant

    def liquidate(self) -> Liquidate:
        """A step of a liquidation that is mostly not due."""
        return Liquidate(client=self.client(), product=self.one(self.products()))

    def wrong(self) -> Command:
        """A command that is refused for how it is written."""
        if self.setup.margin is None or not self.can(Capability.MARGIN) or self.chance(0.4):
            return super().wrong()
        plain = self.transfer()
        wrong: list[Command] = [
            replace(plain, amount=Amount(self.one((0, -5)))),
            replace(plain, asset="DOGE"),
            replace(plain, client="mallory"),
            replace(plain, **{self.one(("source", "target")): "moon"}),
            replace(plain, target=plain.source),
            SettleFunding(market="NO-WHERE", period=1, rate_ppm=1),
        ]
        if self.can(Capability.LIQUIDATION):
            wrong += [Liquidate(client=self.client(), product="moon"), Liquidate(client="mallory", product=SPOT)]
        if self.can(Capability.BORROWING):
            wrong += [
                Borrow(client=plain.client, request=plain.request, asset=self.unit, amount=Amount(-1)),
                Repay(client=plain.client, request=plain.request, asset="DOGE", amount=Amount(1)),
                AccrueInterest(asset="DOGE", period=1, rate_ppm=1),
            ]
        return self.one(wrong)

    # Moves --------------------------------------------------------------------------------------------------------

    def prelude(self) -> Moves:
        """Prices, house accounts with little in them, and collateral."""
        if self.tells_time:
            yield self.later(100_000)
        if self.can(Capability.MARKS):
            yield from self.quote(*dict.fromkeys(market.base for market in self.marked()), steady=True)
        if self.can(Capability.LIQUIDATION):
            yield self.pay_house(INSURANCE, self.unit, self.one((1, 100, 400, 2_000)))
        if self.can(Capability.BORROWING):
            yield self.pay_house(LENDING, self.unit, self.one((600, 4_000, 8_000)))
            yield self.pay_house(LENDING, "BTC", self.one((50, 400, 600)))
        if self.can(Capability.PROMOTIONS):
            yield self.pay_house(PROMOTIONS, self.unit, self.one((50, 300)))
        for client in self.setup.clients:
            for product in self.products()[1:]:
                if self.chance(0.5):
                    yield self._transfer(client, self.unit, self.random.randint(100, 2_000), SPOT, product)

    def limit(self, client: ClientId, market: Market, side: Side, size: int, price: int) -> PlaceOrder:
        """A limit order, good till cancelled, of at least a lot at a tick or more."""
        return PlaceOrder(
            client=client,
            order=self.number("o"),
            market=market.market,
            side=side,
            size_lots=SizeLots(max(1, size)),
            price_ticks=PriceTicks(max(1, price)),
            time_in_force=TimeInForce.GTC,
        )

    def _provide(self, client: ClientId, product: ProductId, wanted: int) -> Moves:
        """Collateral for a client, with a deposit first if need be."""
        lacking = wanted - self.amount(*self.wallet(client, product), self.unit)
        if lacking <= 0:
            return
        if self.amount(client, Bucket.FREE, self.unit) < lacking:
            yield self.deposit(client, self.unit, lacking)
        yield self._transfer(client, self.unit, lacking, SPOT, product)

    def lots(self, client: ClientId, market: MarketId) -> int:
        """A client's position."""
        return self.known.positions.get((client, market), 0)

    def oppose(self, market: Market, victim: ClientId, others: list[ClientId]) -> Moves:
        """Positions against each other: the victim's with hardly enough collateral, the others' with plenty."""
        yield from self.fresh()
        mark = self.known.marks.get(market.market)
        if not mark or market.perpetual is None:  # a wrong engine may say that it is worth nothing
            return
        rate = market.perpetual.tiers[0].initial_ppm
        value = mark * market.tick_amount
        have = self.amount(*self.wallet(victim, market.product), self.unit)
        size = max(self.random.randint(8, 40), min(_POSITION_LOTS_MAX, have * _PPM // (value * rate)))
        needed = size * value * rate // _PPM
        yield from self._provide(victim, market.product, round(needed * self.random.uniform(1.05, 1.4)))
        for other in others:
            yield from self._provide(other, market.product, round(needed * self.random.uniform(0.6, 3)))
        side = self.one((Side.BUY, Side.SELL))
        if self.lots(victim, market.market):
            side = Side.BUY if self.lots(victim, market.market) > 0 else Side.SELL
        yield self.limit(victim, market, side, size, mark)
        for other in others:
            yield self.limit(other, market, side.opposite, -(-size // len(others)), mark)
        if self.chance(0.3):
            yield self.funding()

    def squeeze(self) -> Moves:
        """Opposing positions; the mark moves against one; it is liquidated step by step until it is over.

        With a thin book the insurance fund pays, and then the other side is deleveraged. On the way the engine may
        be killed, restored or halted.
        """
        market = self.one(self.perpetuals)
        clients = self.random.sample(self.setup.clients, min(len(self.setup.clients), self.one((2, 3, 3))))
        victim, others = clients[0], clients[1:]
        yield from self.oppose(market, victim, others)
        long = self.lots(victim, market.market) > 0
        if not self.lots(victim, market.market):
            return
        if self.can(Capability.CANCEL_ALL) and self.chance(0.6):
            for client in self.setup.clients:
                yield CancelAll(client=client, market=market.market)
        if self.chance(0.4):
            yield self.limit(victim, market, self.one((Side.BUY, Side.SELL)), 1, self.walk(market.base))
        if self.can(Capability.STOP_ORDERS, Capability.MARKS) and self.chance(0.4):
            yield self._stop_out(victim, market, long=long)
        fall = self.random.uniform(0.04, self.one((0.12, 0.3)))
        self.move(market.base, 1 - fall if long else 1 + fall)
        yield from self.quote(market.base, steady=True)
        if self.can(Capability.LIQUIDATION):
            if self.can(Capability.PRODUCT_HALTS) and self.chance(0.2):
                yield HaltProduct(product=market.product, cause="margin is late")
                yield Liquidate(client=victim, product=market.product)
                yield from self.resume()
            yield from self.wind_up(victim, market.product, others, market)
        if self.chance(0.5):
            yield self.deposit(victim, self.unit, 200)
            yield self._transfer(victim, self.unit, self.random.randint(1, 200), SPOT, market.product)

    def _stop_out(self, client: ClientId, market: Market, *, long: bool) -> PlaceOrder:
        """A stop that ends a position once the mark has moved against it."""
        mark = self.known.marks.get(market.market) or self.walk(market.base)
        order = self.limit(
            client, market, Side.SELL if long else Side.BUY, abs(self.lots(client, market.market)), mark
        )
        when = TriggerWhen.AT_OR_BELOW if long else TriggerWhen.AT_OR_ABOVE
        beyond = PriceTicks(max(1, mark - 2 if long else mark + 2))
        trigger = Trigger(by=TriggerBy.MARK, when=when, price_ticks=beyond)
        return replace(order, conditions=Conditions(trigger=trigger, reduce_only=self.chance(0.5)))

    def wind_up(self, victim: ClientId, product: ProductId, others: list[ClientId], market: Market | None) -> Moves:
        """One step of a liquidation after the other, with what may come in between; loans take more of them."""
        for _ in range(self.random.randint(2, 16) if market is not None else self.random.randint(8, 40)):
            if market is not None and self.chance(0.5):
                yield self._offer(victim, others, market)
            if self.chance(0.2):
                yield from self._disturb(Liquidate(client=victim, product=product), product)
            yield Liquidate(client=victim, product=product)
            if self.known.refusal is Reason.NOT_LOADED:
                yield ConfirmLoad()
            if self.known.refusal in _LIQUIDATION_ENDS:
                return

    def _offer(self, victim: ClientId, others: list[ClientId], market: Market) -> PlaceOrder:
        """An order that a liquidation could trade with: at the price, or so far from it that somebody must pay."""
        held = self.lots(victim, market.market)
        side = Side.BUY if held > 0 else Side.SELL
        away = self.random.uniform(-0.02, 0.15) * (-1 if held > 0 else 1)
        size = self.random.randint(1, max(1, abs(held) // 2))
        return self.limit(self.one(others), market, side, size, round(self.walk(market.base) * (1 + away)))

    def _disturb(self, step: Liquidate, product: ProductId) -> Moves:
        """A kill in the middle of a step, a restore, a halt of the product, or a price that is gone."""
        disturbances = ["nothing"]
        disturbances += ["kill", "kill"] * self.can(Capability.RESTART)
        disturbances += ["restore"] * self.can(Capability.SNAPSHOT)
        disturbances += ["halt", "halt"] * self.can(Capability.PRODUCT_HALTS)
        disturbances += ["stale"] * self.tells_time
        match self.one(disturbances):
            case "kill":
                flying = step if self.can(Capability.RESEND) and self.chance(0.7) else None
                yield Crash(in_flight=flying, point=self.one(list(CrashPoint)))
                yield Restart()
            case "restore":
                if self.chance(0.5):
                    yield TakeSnapshot()
                yield RestoreSnapshot()
            case "halt":
                yield HaltProduct(product=product, cause="margin is late")
                yield step
                yield from self.resume()
            case "stale":
                yield self.later(61_000)
                yield step
                yield from self.fresh()
            case _:
                pass

    def default(self) -> Moves:
        """A debt that its collateral no longer covers: seized asset by asset, then written off."""
        assert self.setup.margin is not None
        pledged, lent = self.one((("BTC", self.unit), (self.unit, "BTC")))
        product = next(product.product for product in self.setup.products if not product.isolated)
        client = self.client()
        yield from self.fresh()
        yield self.deposit(client, pledged, 2_600 if pledged == self.unit else 260)
        yield self._transfer(client, pledged, 1_300 if pledged == self.unit else 130, SPOT, product)
        amount = self.random.randint(600, 950)
        if lent != self.unit:
            amount //= 10
        if self.chance(0.7):
            yield self.pay_house(LENDING, lent, amount)
        yield Borrow(client=client, request=self.number("r"), asset=lent, amount=Amount(amount))
        if self.chance(0.5):
            yield self.interest()
        if self.chance(0.7):
            yield self.pay_house(INSURANCE, lent, self.random.randint(1, 2 * amount))
        factor = self.random.uniform(0.2, 0.8)
        self.move("BTC", factor if pledged == "BTC" else 1 / factor)
        yield from self.quote("BTC", steady=True)
        yield from self.fresh()
        if self.can(Capability.LIQUIDATION):
            yield from self.wind_up(client, self.one((SPOT, product)), [], None)

    def protect(self) -> Moves:
        """A product is halted, its marks move, a transfer into it waits, and it opens again stage by stage."""
        product = self.one(self.products())
        yield HaltProduct(product=product, cause="margin is late")
        clients = [client for client, _ in self.known.positions] or list(self.setup.clients)
        for _ in range(self.random.randint(1, 6)):
            yield from self._while_halted(product, self.one(clients))
        yield from self.resume()

    def _while_halted(self, product: ProductId, client: ClientId) -> Moves:
        assert self.can(Capability.PRODUCT_HALTS)
        markets = [market for market in self.setup.markets if market.product == product]
        asset = self.one([market.base for market in markets])
        happenings = ["place", "cancel", "resume"]
        happenings += ["silence"] * self.tells_time
        happenings += ["transfer", "transfer", "withdraw"] * (self.setup.margin is not None)
        happenings += ["liquidate"] * (self.setup.margin is not None and self.can(Capability.LIQUIDATION))
        happenings += ["move"] * bool(self.marked(asset))
        match self.one(happenings):
            case "place":
                yield self.place(self.one(markets))
            case "cancel":
                yield self.cancel() or self.place(self.one(markets))
            case "resume":
                yield ResumeStage(product=product, stage=self.one(list(Stage)))
            case "silence":
                yield self.later(61_000)
            case "transfer":
                yield self._transfer(client, self.unit, self.random.randint(1, 300), SPOT, product)
                if self.can(Capability.SNAPSHOT) and self.chance(0.6):
                    yield TakeSnapshot()
                    yield RestoreSnapshot()
            case "withdraw":
                yield self._transfer(client, self.unit, self.random.randint(1, 300), product, SPOT)
            case "liquidate":
                yield Liquidate(client=client, product=product)
            case _:
                self.move(asset, self.random.uniform(0.8, 1.2))
                yield from self.quote(asset)

    def resume(self) -> Moves:
        """Every product that is not open is opened, one stage at a time."""
        for product, stage in list(self.known.stages.items()):
            after: Stage | None = STAGE_TRANSITIONS.get(stage)
            while after is not None:
                if after is Stage.OPEN:
                    if self.tells_time and self.chance(0.2):
                        yield self.later(61_000)
                        yield ResumeStage(product=product, stage=after)
                    yield from self.fresh()
                elif self.chance(0.3):
                    yield self.place()
                yield ResumeStage(product=product, stage=after)
                if self.known.stages[product] is not after:
                    break
                after = STAGE_TRANSITIONS.get(after)

    def close_out(self) -> Moves:
        """Somebody closes a position in the book, by a reduce-only order or by one that may make it the opposite.

        Where nobody has a position, two clients first open one against each other.
        """
        if not any(self.known.positions.values()):
            first, second = self.random.sample(self.setup.clients, 2)
            yield from self.oppose(self.one(self.perpetuals), first, [second])
        held = [(key, lots) for key, lots in self.known.positions.items() if lots]
        if not held:
            return
        (client, name), lots = self.one(held)
        market = self.told.markets[name]
        side, size, price = Side.SELL if lots > 0 else Side.BUY, abs(lots), self.walk(market.base)
        yield from self.fresh()
        if self.chance(0.8):
            other = self.one([other for other in self.setup.clients if other != client])
            if self.chance(0.7):
                for party in (client, other):
                    yield from self._provide(party, market.product, size * price * market.tick_amount // 2)
            yield self.limit(other, market, side.opposite, self.one((size // 2, size, 2 * size, 2 * size)), price)
        if self.chance(0.6):
            order = self.limit(client, market, side, size + self.random.randint(0, 9), price)
            yield replace(order, conditions=Conditions(reduce_only=True))
        else:
            yield self.limit(client, market, side, 2 * size, price)
