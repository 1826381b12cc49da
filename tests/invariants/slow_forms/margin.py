"""Margin accounts, reckoned from what was told: equity, maintenance margin, what is owed, what the book offers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast_model.vocabulary import (
    INSURANCE,
    AssetId,
    Bucket,
    ClientId,
    Collateral,
    Margin,
    Market,
    MarketId,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    ProductId,
    Side,
    TradeExecuted,
    margin_account,
)
from slow_forms.book import Order, OrderKey, orders_at, parties
from slow_forms.standing import positions_at
from slow_forms.tale import Tale

PPM = 1_000_000


def up(value: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-value // by)


@dataclass(frozen=True)
class Risk:
    """What an open order may come to: lots in a market, and at worst these prices."""

    market: MarketId
    side: Side
    lots: int
    fills: Sequence[tuple[int, int]]
    """Prices and lots."""
    charged: int = 0
    """The sum of quote amount times fee rate in ppm of its trades so far."""
    reduces: bool = False


@dataclass(frozen=True)
class Account:
    """One margin account before a place of the tale: the cross-margin account of a client, or an isolated one.

    `taken` is collateral that is thought to be gone, `lent` what is thought to be owed more.
    """

    tale: Tale
    end: int
    client: ClientId
    product: ProductId
    taken: Mapping[AssetId, int] = field(default_factory=dict)
    lent: Mapping[AssetId, int] = field(default_factory=dict)

    @property
    def margin(self) -> Margin:
        assert self.tale.setup.margin is not None
        return self.tale.setup.margin

    @property
    def is_isolated(self) -> bool:
        return self.product in self.tale.isolated

    @property
    def name(self) -> str:
        return margin_account(self.client, self.product, isolated=self.is_isolated)

    @property
    def collateral(self) -> Sequence[Collateral]:
        """An isolated account holds the unit of account only."""
        return [item for item in self.margin.collateral if not self.is_isolated or item.asset == self.margin.unit]

    @property
    def markets(self) -> dict[MarketId, Market]:
        """The perpetuals whose positions stand in it."""
        return {
            name: market
            for name, market in self.tale.markets(self.end).items()
            if market.perpetual is not None
            and (market.product == self.product if self.is_isolated else market.product not in self.tale.isolated)
        }

    def cash(self, asset: AssetId) -> int:
        return self.tale.balance(self.end, self.name, Bucket.COLLATERAL, asset) - self.taken.get(asset, 0)

    def insurance(self, asset: AssetId) -> int:
        return self.tale.balance(self.end, INSURANCE, Bucket.FREE, asset)

    def debt(self, asset: AssetId) -> int:
        borrowed = 0 if self.is_isolated else -self.tale.balance(self.end, self.client, Bucket.BORROWED, asset)
        return borrowed + self.lent.get(asset, 0)

    @property
    def positions(self) -> dict[MarketId, tuple[int, int]]:
        held = positions_at(self.tale, self.end)
        return {name: held[self.client, name] for name in sorted(self.markets) if (self.client, name) in held}

    @property
    def orders(self) -> dict[OrderKey, Order]:
        """Its open orders, waiting stops among them."""
        return {
            key: order
            for key, order in orders_at(self.tale, self.end).items()
            if key[0] == self.client and order.accepted.market in self.markets and order.is_open
        }

    def price(self, item: Collateral) -> tuple[int, int] | None:
        """What so much of an asset is worth, and how much that is; None without a mark."""
        if item.market is None:
            return 1, 1
        market, mark = self.tale.markets(self.end)[item.market], self.tale.mark(self.end, item.market)
        return None if mark is None else (mark * market.tick_amount, market.lot_amount)

    @property
    def is_marked(self) -> bool:
        """Whether every mark is there that it needs."""
        needed = [item for item in self.collateral if self.cash(item.asset) or self.debt(item.asset)]
        held = [name for name, (lots, _) in self.positions.items() if lots]
        return all(self.price(item) is not None for item in needed) and all(
            self.tale.mark(self.end, name) is not None for name in held
        )

    def worth(self, item: Collateral, amount: int) -> int:
        """Collateral at its mark less its haircut, rounded down."""
        price = self.price(item)
        return 0 if price is None else amount * price[0] * (PPM - item.haircut_ppm) // (price[1] * PPM)

    def owed_worth(self, item: Collateral, amount: int) -> int:
        """A debt at its mark, rounded up."""
        price = self.price(item)
        return 0 if price is None else up(amount * price[0], price[1])

    def value(self, market: MarketId) -> int:
        """A position's lots at the mark, with its sign."""
        lots, _ = self.positions.get(market, (0, 0))
        mark = self.tale.mark(self.end, market) if lots else 0
        assert mark is not None
        return lots * mark * self.markets[market].tick_amount

    @property
    def equity(self) -> int | None:
        if not self.is_marked:
            return None
        collateral = sum(self.worth(item, self.cash(item.asset)) for item in self.collateral)
        debts = sum(self.owed_worth(item, self.debt(item.asset)) for item in self.collateral)
        return collateral - debts + sum(self.value(name) - entry for name, (_, entry) in self.positions.items())

    def maintenance_of(self, market: MarketId) -> int:
        """A position's value through the tiers."""
        return self.through_tiers(market, abs(self.value(market)), initial=False)

    def through_tiers(self, market: MarketId, value: int, *, initial: bool) -> int:
        """The margin for a value: each part of it at its tier's rate, rounded up once."""
        perpetual = self.markets[market].perpetual
        assert perpetual is not None
        floors = [tier.value_floor for tier in perpetual.tiers]
        tops = [*floors[1:], max(value, floors[-1])]
        parts = (
            max(0, min(value, top) - tier.value_floor) * (tier.initial_ppm if initial else tier.maintenance_ppm)
            for tier, top in zip(perpetual.tiers, tops, strict=True)
        )
        return up(sum(parts), PPM)

    def for_loans(self, rate_ppm: int) -> int:
        """The margin for its debts."""
        debts = sum(self.owed_worth(item, self.debt(item.asset)) for item in self.collateral)
        return up(debts * rate_ppm, PPM)

    @property
    def maintenance(self) -> int:
        return sum(self.maintenance_of(name) for name in self.positions) + self.for_loans(
            self.margin.loan_maintenance_ppm
        )

    # What new risk needs ------------------------------------------------------------------------------------------

    @property
    def resting(self) -> dict[OrderKey, Risk]:
        """What its orders in the book may come to; stops that wait are not counted."""
        return {key: self.rest_of(key, order) for key, order in self.orders.items() if order.state == "resting"}

    def rest_of(self, key: OrderKey, order: Order) -> Risk:
        """What is left of an order, filled at its limit."""
        assert order.price is not None
        told = order.accepted
        reduces = told.conditions is not None and told.conditions.reduce_only
        return Risk(
            told.market,
            told.side,
            order.left,
            [(order.price, order.left)],
            charged=charged(self.tale, self.end, key),
            reduces=reduces,
        )

    def loss(self, risk: Risk) -> int:
        """What an order may lose: its fee still to come, at the higher rate, and its prices against the mark."""
        market, mark = self.markets[risk.market], self.tale.mark(self.end, risk.market)
        if mark is None:
            return 0
        value = sum(price * lots for price, lots in risk.fills) * market.tick_amount
        fair = sum(mark * lots for _, lots in risk.fills) * market.tick_amount
        return fee_to_come(market, value, risk.charged) + max(
            0, value - fair if risk.side is Side.BUY else fair - value
        )

    def losses(self, orders: Iterable[Risk]) -> int:
        """What open orders may lose."""
        return sum(self.loss(risk) for risk in orders)

    def initial(self, orders: Sequence[Risk]) -> int | None:
        """The initial margin with these orders open, and what they may lose; None where a mark is missing for it."""
        needed = self.losses(orders) + self.for_loans(self.margin.loan_initial_ppm)
        for name, market in self.markets.items():
            held, _ = self.positions.get(name, (0, 0))
            bought, sold = (
                sum(risk.lots for risk in orders if (risk.market, risk.side) == (name, side) and not risk.reduces)
                for side in (Side.BUY, Side.SELL)
            )
            most, mark = max(abs(held + bought), abs(held - sold)), self.tale.mark(self.end, name)
            if most and mark is None:
                return None
            needed += self.through_tiers(name, most * (mark or 0) * market.tick_amount, initial=True)
        return needed

    @property
    def largest(self) -> MarketId | None:
        """The position that needs the most maintenance margin; of equals the first by market."""
        held = [name for name, (lots, _) in self.positions.items() if lots]
        return min(held, key=lambda name: (-self.maintenance_of(name), name), default=None)

    @property
    def obligations(self) -> list[tuple[AssetId, int]]:
        """What is owed for positions without lots, by market, then debts, by asset."""
        owed = [(self.margin.unit, entry) for lots, entry in self.positions.values() if not lots and entry > 0]
        debts = {item.asset: self.debt(item.asset) for item in self.collateral}
        return owed + [(asset, debts[asset]) for asset in sorted(debts) if debts[asset] > 0]

    @property
    def bankruptcy(self) -> int:
        """The price at which closing the largest position leaves no equity, rounded in the account's favour."""
        market, equity = self.largest, self.equity
        assert market is not None
        assert equity is not None
        lots, mark, tick = (
            self.positions[market][0],
            self.tale.mark(self.end, market),
            self.markets[market].tick_amount,
        )
        assert mark is not None
        return mark + up(-equity, lots * tick) if lots > 0 else mark + equity // (-lots * tick)

    @property
    def step_lots(self) -> int:
        """The lots of a step of the largest position."""
        market = self.largest
        assert market is not None
        perpetual = self.markets[market].perpetual
        assert perpetual is not None
        return max(1, up(abs(self.positions[market][0]) * perpetual.liquidation_step_ppm, PPM))

    def offered(self, limit: int | None) -> Iterator[tuple[int, int]]:
        """Prices and lots that an order which closes a step meets in the book within a limit, one after the other."""
        market = self.largest
        assert market is not None
        sells, left = self.positions[market][0] > 0, self.step_lots
        traded: dict[ClientId, int] = {}
        for (client, _), order in queue_at(self.tale, self.end, market, Side.BUY if sells else Side.SELL):
            assert order.rests_at is not None
            if not left or (limit is not None and (order.rests_at < limit if sells else order.rests_at > limit)):
                return
            lots = min(left, order.left)
            if order.accepted.conditions is not None and order.accepted.conditions.reduce_only:
                held, _ = positions_at(self.tale, self.end).get((client, market), (0, 0))
                lots = max(0, min(lots, (-held if sells else held) - traded.get(client, 0)))
            if lots and client != self.client:
                traded[client] = traded.get(client, 0) + lots
                left -= lots
                yield order.rests_at, lots


def charged(tale: Tale, end: int, key: OrderKey) -> int:
    """The exact fee of an order's trades so far, in millionths."""
    exact = 0
    for moment in tale.between(0, end, TradeExecuted):
        trade = moment.what
        if key in parties(trade):
            market = tale.markets(moment.at)[trade.market]
            rate_ppm = market.maker_fee_ppm if key == parties(trade)[0] else market.taker_fee_ppm
            exact += trade.price_ticks * trade.size_lots * market.tick_amount * rate_ppm
    return exact


def fee_to_come(market: Market, value: int, exact: int) -> int:
    """What trades of a quote amount add at the higher rate to a fee that is rounded up once over its order."""
    more = value * max(market.maker_fee_ppm, market.taker_fee_ppm)
    return up(exact + more, PPM) - up(exact, PPM)


def queue_at(tale: Tale, end: int, market: MarketId, side: Side) -> list[tuple[OrderKey, Order]]:
    """One side of a book: best price first, then whoever came to rest first."""
    places: dict[OrderKey, int] = {}
    for moment in tale.between(0, end, OrderRested, OrderCancelled, OrderFilled):
        key = (moment.what.client, moment.what.order)
        if isinstance(moment.what, OrderRested):
            places[key] = moment.at
    there = [
        (key, order)
        for key, order in orders_at(tale, end).items()
        if (order.accepted.market, order.accepted.side, order.state) == (market, side, "resting")
    ]
    sign = -1 if side is Side.BUY else 1
    return sorted(there, key=lambda item: (sign * (item[1].rests_at or 0), places[item[0]]))
