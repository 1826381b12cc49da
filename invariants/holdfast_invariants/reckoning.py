"""The rulebook's numbers, reckoned anew from what was told (docs/exchange.md: marks, margin accounts, liquidation).

Nothing here is taken from an engine: an invariant that shared its arithmetic would share its mistakes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median_low

from msgspec import Struct

from holdfast_invariants.told import Told, ToldOrder
from holdfast_invariants.told_margin import NO_POSITION, ToldMargin, ToldPosition, ToldReport
from holdfast_model.vocabulary import (
    SPOT,
    AssetId,
    Bucket,
    ClientId,
    Collateral,
    Market,
    MarketId,
    MarkRule,
    PriceTicks,
    ProductId,
    Setup,
    Side,
    SourceId,
    Tier,
    margin_account,
)

PPM = 1_000_000


def rounded_up(numerator: int, denominator: int) -> int:
    """The quotient, rounded towards plus infinity.

    >>> rounded_up(7, 2), rounded_up(-7, 2)
    (4, -3)
    """
    return -(-numerator // denominator)


def fee_to_come(market: Market, value: int, fee_numerator: int) -> int:
    """What trades of this quote amount may add to an order's fee, at the higher rate.

    `fee_numerator` is that of its trades so far, already charged.
    """
    rate_ppm = max(market.maker_fee_ppm, market.taker_fee_ppm)
    return rounded_up(fee_numerator + value * rate_ppm, PPM) - rounded_up(fee_numerator, PPM)


# Marks --------------------------------------------------------------------------------------------------------------


class Reckoned(Struct, frozen=True, kw_only=True):
    """A mark, the sources whose reports were fresh, and those of them that were within the band of their median."""

    mark_ticks: int | None
    fresh: frozenset[SourceId]
    kept: frozenset[SourceId]


def mark_from(rule: MarkRule, reports: Mapping[SourceId, ToldReport], time_ms: int) -> Reckoned:
    """The mark that the reports give at a time, None where there is none.

    >>> rule = MarkRule(sources=("a", "b", "c"), sources_min=2, age_max_ms=5, band_ppm=100_000)
    >>> reports = {"a": ToldReport(100, 7), "b": ToldReport(103, 9), "c": ToldReport(900, 9)}
    >>> mark_from(rule, reports, 10).mark_ticks, mark_from(rule, reports, 13).mark_ticks
    (101, None)
    """
    fresh = {
        source: reports[source].price_ticks
        for source in rule.sources
        if source in reports and time_ms - reports[source].time_ms <= rule.age_max_ms
    }
    kept: dict[SourceId, PriceTicks] = {}
    mark: int | None = None
    if len(fresh) >= rule.sources_min:
        middle = _middle(list(fresh.values()))
        kept = {
            source: price
            for source, price in fresh.items()
            if abs(price - middle) * PPM <= rule.band_ppm * abs(middle)
        }
        if len(kept) >= rule.sources_min:
            middle = _middle(list(kept.values()))
            mark = middle if middle > 0 else None
    return Reckoned(mark_ticks=mark, fresh=frozenset(fresh), kept=frozenset(kept))


def _middle(prices: Sequence[int]) -> int:
    """The median; of an even number the mean of the two in the middle, rounded down."""
    low = median_low(prices)
    high = -median_low([-price for price in prices])
    return (low + high) // 2


# Positions ----------------------------------------------------------------------------------------------------------


def traded(before: ToldPosition, *, lots: int, price: int, tick_amount: int) -> tuple[ToldPosition, int]:
    """A position after signed lots were added at a price, and the profit or loss of the lots that this closed.

    >>> traded(ToldPosition(3, 100), lots=-1, price=40, tick_amount=1)
    (ToldPosition(lots=2, entry=67), 7)
    >>> traded(ToldPosition(-3, -100), lots=4, price=30, tick_amount=1)
    (ToldPosition(lots=1, entry=30), 10)
    """
    after = before.lots + lots
    if before.lots * lots >= 0:
        return ToldPosition(after, before.entry + lots * price * tick_amount), 0
    size = abs(before.lots)
    closed = min(size, abs(lots))
    share = abs(before.entry) * closed // size
    released = share if before.entry > 0 else -share
    value = closed * price * tick_amount
    profit = value - released if before.lots > 0 else -value - released
    opened = after if before.lots * after < 0 else 0
    return ToldPosition(after, before.entry - released + opened * price * tick_amount), profit


def paid(net: int, *, cash: int) -> int:
    """What of a profit, or negative a charge, is paid in cash: no more than is there.

    >>> paid(-5, cash=3), paid(5, cash=0)
    (-3, 5)
    """
    return max(net, -cash)


def funding_due(lots: int, *, mark: int, tick_amount: int, rate_ppm: int) -> int:
    """What a position pays, or negative receives: payments rounded up, receipts down.

    >>> [funding_due(lots, mark=15, tick_amount=1, rate_ppm=100_000) for lots in (1, -1)]
    [2, -1]
    """
    return rounded_up(lots * mark * tick_amount * rate_ppm, PPM)


def margin_of(value: int, tiers: Iterable[Tier], *, initial: bool) -> int:
    """The margin for a value through the tiers, rounded up once.

    >>> tiers = (Tier(value_floor=0, initial_ppm=20_000, maintenance_ppm=10_000),
    ...          Tier(value_floor=1_000, initial_ppm=40_000, maintenance_ppm=20_000))
    >>> [margin_of(value, tiers, initial=False) for value in (1, 1_000, 1_001)]
    [1, 10, 11]
    """
    above = 0
    exact = 0
    for tier in sorted(tiers, key=lambda tier: tier.value_floor, reverse=True):
        rate = tier.initial_ppm if initial else tier.maintenance_ppm
        part = max(0, value - tier.value_floor) - above
        exact += part * rate
        above += part
    return rounded_up(exact, PPM)


def bankruptcy_of(position: ToldPosition, *, mark: int, equity: int, tick_amount: int) -> int:
    """The price at which closing the whole position leaves nothing, in the account's favour; at least one tick.

    >>> [bankruptcy_of(ToldPosition(lots), mark=100, equity=205, tick_amount=1) for lots in (10, -10)]
    [80, 120]
    """
    exact = position.lots * mark * tick_amount - equity
    per_tick = position.lots * tick_amount
    price = rounded_up(exact, per_tick) if per_tick > 0 else exact // per_tick
    return max(1, price)


def score_of(position: ToldPosition, *, mark: int, equity: int, tick_amount: int) -> int:
    """The rank of a position for deleveraging: profit in ppm of the entry value times leverage in ppm.

    A loss is divided by the leverage instead; both are rounded down, and an equity below 1 counts as 1.

    >>> score_of(ToldPosition(1, 100), mark=150, equity=50, tick_amount=1)
    1500000000000
    """
    value = abs(position.lots) * mark * tick_amount
    gain = (position.lots * mark * tick_amount - position.entry) * PPM // max(1, abs(position.entry))
    leverage = value * PPM // max(1, equity)
    return gain * leverage if gain >= 0 else gain * PPM * PPM // max(1, leverage)


def within(price: int, reference: int, *, ppm: int) -> bool:
    """Whether a price is no further than so many ppm from a reference.

    >>> within(105, 100, ppm=50_000), within(94, 100, ppm=50_000)
    (True, False)
    """
    return abs(price - reference) * PPM <= ppm * reference


# Auctions -----------------------------------------------------------------------------------------------------------


class Uncrossed(Struct, frozen=True):
    """How an auction ends: at which price, what trades there, and what buyers want beyond what sellers offer."""

    price_ticks: int | None = None
    volume_lots: int = 0
    imbalance_lots: int = 0


def auction_price(bids: Mapping[int, int], asks: Mapping[int, int], reference: int | None) -> Uncrossed:
    """The end of an auction: the most volume, the least imbalance, the nearest to the reference, the lowest price.

    Between two limit prices demand and supply stay the same, so that of each such stretch of prices one is best.

    >>> auction_price({10: 5}, {6: 5}, 8)
    Uncrossed(price_ticks=8, volume_lots=5, imbalance_lots=0)
    >>> auction_price({10: 5, 9: 5}, {8: 4, 9: 2, 11: 3}, None)
    Uncrossed(price_ticks=9, volume_lots=6, imbalance_lots=4)
    """
    limits = sorted({*bids, *asks})
    demand, supply = sum(bids.values()), 0
    found: list[tuple[tuple[int, int, int, int], Uncrossed]] = []

    def note(low: int, high: int) -> None:
        price = low if reference is None else min(max(low, reference), high)
        volume, imbalance = min(demand, supply), demand - supply
        if low <= high and volume > 0:
            away = 0 if reference is None else abs(price - reference)
            found.append(((-volume, abs(imbalance), away, price), Uncrossed(price, volume, imbalance)))

    for place, limit in enumerate(limits):
        supply += asks.get(limit, 0)
        note(limit, limit)
        demand -= bids.get(limit, 0)
        if place + 1 < len(limits):
            note(limit + 1, limits[place + 1] - 1)
    return min(found)[1] if found else Uncrossed()


# Accounts -----------------------------------------------------------------------------------------------------------


Fills = Sequence[tuple[int, int]]
"""The price and the lots of each trade of an order."""


class Account(Struct, frozen=True, kw_only=True):
    """A client's cross-margin account, or its account in an isolated product.

    `name` is the ledger account of its collateral, `markets` the perpetuals that it bears, by id.
    """

    client: ClientId
    name: str
    isolated: bool
    markets: tuple[Market, ...]
    collateral: tuple[Collateral, ...]


class Accounts:
    """What margin accounts are worth and need, reckoned from what was told."""

    def __init__(self, told: Told) -> None:
        assert told.margin is not None
        self._told = told
        self._margin: ToldMargin = told.margin
        self._setup: Setup = told.setup
        self._isolated = frozenset(product.product for product in told.setup.products if product.isolated)
        self._perpetuals = sorted(market.market for market in told.setup.markets if market.perpetual is not None)

    def account(self, client: ClientId, product: ProductId) -> Account:
        """The account that bears a client's positions in a product; that of `spot` is the cross-margin account."""
        isolated = product in self._isolated
        everything = self._setup.margin.collateral if self._setup.margin is not None else ()
        return Account(
            client=client,
            name=margin_account(client, product, isolated=isolated),
            isolated=isolated,
            markets=tuple(
                market
                for market in map(self._told.markets.__getitem__, self._perpetuals)
                if (market.product == product if isolated else market.product not in self._isolated)
            ),
            collateral=tuple(
                item
                for item in sorted(everything, key=lambda item: item.asset)
                if not isolated or item.asset == self.unit
            ),
        )

    @property
    def unit(self) -> AssetId:
        """The unit of account."""
        return self._setup.margin.unit if self._setup.margin is not None else ""

    def cash(self, account: str, asset: AssetId) -> int:
        """The collateral of a ledger account in one asset."""
        return self._told.amounts.get((account, Bucket.COLLATERAL, asset), 0)

    def debt(self, account: Account, asset: AssetId) -> int:
        """What the account owes of an asset."""
        return 0 if account.isolated else -self._told.amounts.get((account.client, Bucket.BORROWED, asset), 0)

    def held(self, account: Account) -> Iterator[tuple[Market, ToldPosition]]:
        """The account's positions, by market; those without lots for which something is owed included."""
        for market in account.markets:
            position = self._margin.position(account.client, market.market)
            if position != NO_POSITION:
                yield market, position

    def open_orders(self, account: Account) -> list[ToldOrder]:
        """The account's open orders in perpetuals, waiting stops included."""
        names = {market.market for market in account.markets}
        return [order for order in self._told.book.open.get(account.client, {}).values() if order.market in names]

    def closed_products(self, account: Account) -> list[ProductId]:
        """The products in which the account has a position or an open order and that are not open."""
        markets = [market.market for market, _ in self.held(account)]
        markets += [order.market for order in self.open_orders(account)]
        products = {self._told.markets[market].product for market in markets}
        return sorted(product for product in products if not self._told.triggers.is_open(product))

    def engaged(self, account: Account) -> bool:
        """Whether the account has a position, or an open order in a perpetual."""
        return any(True for _ in self.held(account)) or bool(self.open_orders(account))

    def mark(self, market: Market) -> PriceTicks | None:
        """The mark of a market; None while there is none."""
        return self._margin.marks.get(market.market)

    def equity(
        self,
        account: Account,
        *,
        taken: Mapping[AssetId, int] | None = None,
        lent: Mapping[AssetId, int] | None = None,
    ) -> int | None:
        """Collateral less haircuts, minus debts, plus what positions gain; None while a mark is missing.

        `taken` is collateral that is gone, `lent` what is owed more.
        """
        total = 0
        for item in account.collateral:
            has = self.cash(account.name, item.asset) - (taken or {}).get(item.asset, 0)
            owes = self.debt(account, item.asset) + (lent or {}).get(item.asset, 0)
            worth, owed = self.worth(item, has), self.owed(item, owes)
            if worth is None or owed is None:
                return None
            total += worth - owed
        for market, position in self.held(account):
            mark = self._margin.marks.get(market.market)
            if position.lots and mark is None:
                return None
            total += position.lots * (mark or 0) * market.tick_amount - position.entry
        return total

    def worth(self, item: Collateral, amount: int) -> int | None:
        """What collateral counts for: less its haircut, rounded down."""
        return self._priced(item, amount, PPM - item.haircut_ppm, up=False)

    def owed(self, item: Collateral, amount: int) -> int | None:
        """What a debt counts for, rounded up."""
        return self._priced(item, amount, PPM, up=True)

    def _priced(self, item: Collateral, amount: int, ppm: int, *, up: bool) -> int | None:
        if not amount or item.market is None:
            return amount
        mark, market = self._margin.marks.get(item.market), self._told.markets[item.market]
        if mark is None:
            return None
        exact, unit = amount * mark * market.tick_amount * ppm, market.lot_amount * PPM
        return rounded_up(exact, unit) if up else exact // unit

    def maintenance(self, account: Account) -> int | None:
        """The equity that the account must keep; None while a mark is missing."""
        total = 0
        for market, position in self.held(account):
            needed = self.maintenance_of(market, position)
            if needed is None:
                return None
            total += needed
        margin = self._setup.margin
        return self._with_loans(account, total, margin.loan_maintenance_ppm if margin is not None else 0)

    def _with_loans(
        self, account: Account, total: int, rate_ppm: int, lent: Mapping[AssetId, int] | None = None
    ) -> int | None:
        owed = 0
        for item in account.collateral:
            value = self.owed(item, self.debt(account, item.asset) + (lent or {}).get(item.asset, 0))
            if value is None:
                return None
            owed += value
        return total + rounded_up(owed * rate_ppm, PPM)

    def initial(
        self,
        account: Account,
        *,
        added: Mapping[tuple[MarketId, Side], int] | None = None,
        lent: Mapping[AssetId, int] | None = None,
    ) -> int | None:
        """The equity that the account must have to take more risk; None while a mark is missing.

        `added` are lots more in its orders, `lent` what is owed more.
        """
        orders = self.open_orders(account)
        total = self.resting_loss(account)
        for market in account.markets:
            lots = self._margin.position(account.client, market.market).lots
            bought, sold = (
                (added or {}).get((market.market, side), 0)
                + sum(
                    order.left_lots
                    for order in orders
                    if (order.market, order.side) == (market.market, side) and self.counts(order)
                )
                for side in (Side.BUY, Side.SELL)
            )
            worst = max(abs(lots + bought), abs(lots - sold))
            mark = self.mark(market)
            if worst and (mark is None or market.perpetual is None):
                return None
            if worst and mark is not None and market.perpetual is not None:
                total += margin_of(worst * mark * market.tick_amount, market.perpetual.tiers, initial=True)
        margin = self._setup.margin
        return self._with_loans(account, total, margin.loan_initial_ppm if margin is not None else 0, lent)

    def counts(self, order: ToldOrder) -> bool:
        """Whether an open order counts in the initial margin: not a waiting stop, nor one that only reduces."""
        conditions = self._told.triggers.conditions.get(order.key)
        return order.key in self._told.book.where and not (conditions is not None and conditions.reduce_only)

    def resting_loss(self, account: Account) -> int:
        """What the account's resting orders may lose, if all are filled at their limits."""
        return sum(self.loss_of(order, self._told.markets[order.market]) for order in self.open_orders(account))

    def loss_of(self, order: ToldOrder, market: Market) -> int:
        """What a resting order may lose if the rest of it is filled at its limit; nothing while there is no mark."""
        mark = self.mark(market)
        if mark is None or order.price_ticks is None or order.key not in self._told.book.where:
            return 0
        fills = [(order.price_ticks, order.left_lots)]
        return self.loss_at_worst(market, mark, order.side, fills, fee_numerator=order.fee_numerator)

    def loss_at_worst(self, market: Market, mark: int, side: Side, fills: Fills, *, fee_numerator: int = 0) -> int:
        """What an order may lose at once: its fee at the higher rate, and its prices against the mark.

        `fee_numerator` is that of its trades so far, already charged.
        """
        value = sum(price * lots for price, lots in fills) * market.tick_amount
        fair = sum(mark * lots for _, lots in fills) * market.tick_amount
        fee = fee_to_come(market, value, fee_numerator)
        return fee + max(0, value - fair if side is Side.BUY else fair - value)

    def maintenance_of(self, market: Market, position: ToldPosition) -> int | None:
        """What one position adds to the maintenance margin."""
        if not position.lots:
            return 0
        mark = self._margin.marks.get(market.market)
        if mark is None or market.perpetual is None:
            return None
        return margin_of(abs(position.lots) * mark * market.tick_amount, market.perpetual.tiers, initial=False)

    def largest(self, account: Account) -> tuple[Market, ToldPosition] | None:
        """The position that needs the most maintenance margin, of equals the first by market."""
        largest: tuple[Market, ToldPosition] | None = None
        most = -1
        for market, position in self.held(account):
            needed = self.maintenance_of(market, position) or 0
            if position.lots and needed > most:
                largest, most = (market, position), needed
        return largest

    def obligations(self, account: Account) -> Iterator[tuple[AssetId, int, MarketId | None]]:
        """What is owed, in the order in which it is met: for positions without lots, by market; debts, by asset."""
        for market, position in self.held(account):
            if not position.lots and position.entry > 0:
                yield market.quote, position.entry, market.market
        for item in account.collateral:
            debt = self.debt(account, item.asset)
            if debt > 0:
                yield item.asset, debt, None

    def ranking(self, market: Market, *, against: ToldPosition) -> list[tuple[int, ClientId, ToldPosition]]:
        """The positions on the other side, in the order in which they are deleveraged: score, client, position."""
        mark = self._margin.marks.get(market.market) or 0
        ranked = []
        for client, position in self._margin.holders.get(market.market, {}).items():
            if position.lots * against.lots < 0:
                equity = self.equity(self.account(client, market.product))
                score = score_of(
                    position, mark=mark, equity=1 if equity is None else equity, tick_amount=market.tick_amount
                )
                ranked.append((score, client, position))
        return sorted(ranked, key=lambda item: (-item[0], item[1]))


def closing_side(position: ToldPosition) -> Side:
    """The side of an order that closes the position."""
    return Side.SELL if position.lots > 0 else Side.BUY


def is_isolated(account: str) -> bool:
    """Whether a ledger account is that of an isolated product: `client@product`; the house's begin with `@`.

    >>> is_isolated("alice@island"), is_isolated("alice"), is_isolated("@fees")
    (True, False, False)
    """
    return account.find("@") > 0


def product_of(told: Told, market: MarketId) -> ProductId:
    """The product of a market."""
    known = told.markets.get(market)
    return known.product if known is not None else SPOT
