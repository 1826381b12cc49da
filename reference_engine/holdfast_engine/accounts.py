"""Margin accounts: what a client has in them, what it needs, and how collateral comes in and goes out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from msgspec import Struct

from holdfast_engine.arithmetic import (
    collateral_value,
    debt_value,
    fee_charged,
    loan_margin,
    margin_required,
    notional,
    unrealised,
)
from holdfast_engine.core import BORROWED, COLLATERAL, FREE, HELD, Deciders, Evolvers, Fields, by_key
from holdfast_engine.order import OPEN_STATUSES, Order, OrderStatus
from holdfast_engine.state import Request, VenueState
from holdfast_engine.trading import Trading
from holdfast_model.vocabulary import (
    SPOT,
    Amount,
    AssetId,
    Bucket,
    CauseKind,
    ClientId,
    Collateral,
    Market,
    MarketId,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    Position,
    PositionChanged,
    PriceTicks,
    ProductId,
    Reason,
    RequestId,
    Setup,
    Side,
    SizeLots,
    Stage,
    StopArmed,
    Transfer,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
    margin_account,
)

NOTHING: Mapping[AssetId, int] = {}
AddedLots = Mapping[tuple[MarketId, Side], int]
NO_LOTS: AddedLots = {}
Fills = Sequence[tuple[PriceTicks, SizeLots]]
"""The price and lots of each trade of an order."""


class MarginAccount(Struct, frozen=True, kw_only=True):
    """A client's cross-margin account, or its account in an isolated product.

    `name` is the ledger account of its collateral; `markets` are the perpetuals whose positions it bears, by id.
    """

    client: ClientId
    name: str
    isolated: bool
    markets: tuple[Market, ...]
    collateral: tuple[Collateral, ...]


class Accounts(Trading):
    """Collateral, positions and transfers under way, and what they are worth at the marks."""

    __slots__ = ("_accounts", "_isolated", "_perpetuals", "positions", "requests", "transfers", "working")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.positions: dict[tuple[ClientId, MarketId], Position] = {}
        self.transfers: dict[tuple[ClientId, RequestId], Transfer] = {}
        self.requests: dict[tuple[ClientId, RequestId], None] = {}
        self.working: dict[tuple[ClientId, MarketId], dict[tuple[ClientId, str], Order]] = {}
        self._isolated = frozenset(product.product for product in self.setup.products if product.isolated)
        self._perpetuals = sorted(
            (market for market in self.markets.values() if market.perpetual is not None), key=lambda item: item.market
        )
        self._accounts: dict[tuple[ClientId, ProductId], MarginAccount] = {}

    def rescale(self, markets: Iterable[Market]) -> None:
        """Let the markets be these, in the margin accounts too."""
        super().rescale(markets)
        self._perpetuals = [self.markets[market.market] for market in self._perpetuals]
        self._accounts.clear()

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {TransferMargin: cls._decide_transfer}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        evolvers = super()._evolvers(setup)
        if any(market.perpetual is not None for market in setup.markets):
            for event in (OrderRested, StopArmed, OrderAmended, OrderFilled, OrderCancelled):
                if event in evolvers:
                    evolvers[event] = _tracking(evolvers[event])
        return evolvers | {
            PositionChanged: cls._on_position_changed,
            TransferStarted: cls._on_transfer_started,
            TransferCompleted: cls._on_transfer_completed,
        }

    def note_working(self, order: Order) -> None:
        """Note whether an order is open in a perpetual."""
        if self.markets[order.market].perpetual is None:
            return
        working = self.working.setdefault((order.client, order.market), {})
        if order.status in OPEN_STATUSES:
            working[order.key] = order
        else:
            working.pop(order.key, None)

    # What there is --------------------------------------------------------------------------------------------------

    def margin_account(self, client: ClientId, product: ProductId) -> MarginAccount:
        """The account that bears a client's positions in a product: the isolated one, or the cross-margin one."""
        isolated = product in self._isolated
        key = (client, product if isolated else SPOT)
        account = self._accounts.get(key)
        if account is None:
            margin = self.setup.margin
            everything = margin.collateral if margin is not None else ()
            account = self._accounts[key] = MarginAccount(
                client=client,
                name=margin_account(client, product, isolated=isolated),
                isolated=isolated,
                markets=tuple(
                    market
                    for market in self._perpetuals
                    if (market.product == product if isolated else market.product not in self._isolated)
                ),
                collateral=tuple(item for item in everything if not isolated or item.asset == self.unit),
            )
        return account

    @property
    def unit(self) -> AssetId:
        """The unit of account, in which margin is reckoned and perpetuals are settled."""
        assert self.setup.margin is not None
        return self.setup.margin.unit

    def position(self, client: ClientId, market: MarketId) -> Position:
        """A client's position; one of nothing where there is none."""
        known = self.positions.get((client, market))
        return known or Position(client=client, market=market, position_lots=SizeLots(0), entry_value=Amount(0))

    def open_orders(self, account: MarginAccount) -> list[Order]:
        """The open orders of an account in perpetuals, waiting stops included, in the order of acceptance."""
        books = [self.working.get((account.client, market.market), {}) for market in account.markets]
        return sorted((order for orders in books for order in orders.values()), key=lambda order: order.accepted)

    def debt(self, account: MarginAccount, asset: AssetId) -> Amount:
        """What the account owes of an asset."""
        return Amount(0 if account.isolated else -self.ledger.amount(account.client, BORROWED, asset))

    def can_act(self, account: MarginAccount) -> bool:
        """Whether the owner can do something about it: every product that it is engaged in is open."""
        return all(
            self.stages[market.product] is Stage.OPEN for market in account.markets if self._engaged(account, market)
        )

    def _engaged(self, account: MarginAccount, market: Market) -> bool:
        key = (account.client, market.market)
        return key in self.positions or bool(self.working.get(key))

    # What it is worth -----------------------------------------------------------------------------------------------

    def equity(
        self, account: MarginAccount, *, taken: Mapping[AssetId, int] = NOTHING, lent: Mapping[AssetId, int] = NOTHING
    ) -> int | None:
        """Collateral less haircuts, minus debts, plus unrealised profit; None while a mark that it needs is missing.

        `taken` is collateral that is thought to be gone already, `lent` what is thought to be owed already.
        """
        total = 0
        for item in account.collateral:
            amount = self.ledger.amount(account.name, COLLATERAL, item.asset) - taken.get(item.asset, 0)
            debt = self.debt(account, item.asset) + lent.get(item.asset, 0)
            worth, owed = self.worth(item, Amount(amount)), self.owed_worth(item, Amount(debt))
            if worth is None or owed is None:
                return None
            total += worth - owed
        for market in account.markets:
            position = self.positions.get((account.client, market.market))
            if position is None:
                continue
            mark = self.marks[market.market]
            if mark is None and position.position_lots:
                return None
            total += unrealised(
                position.position_lots,
                mark=mark or PriceTicks(1),
                tick_amount=market.tick_amount,
                entry_value=position.entry_value,
            )
        return total

    def worth(self, item: Collateral, amount: Amount) -> Amount | None:
        """What an amount of collateral counts for; None while its mark is missing."""
        if not amount or item.market is None:
            return amount
        mark = self.marks[item.market]
        if mark is None:
            return None
        market = self.markets[item.market]
        return collateral_value(
            amount,
            price=mark,
            tick_amount=market.tick_amount,
            lot_amount=market.lot_amount,
            haircut_ppm=item.haircut_ppm,
        )

    def owed_worth(self, item: Collateral, amount: Amount) -> Amount | None:
        """What a debt counts for; None while its mark is missing."""
        if not amount or item.market is None:
            return amount
        mark = self.marks[item.market]
        if mark is None:
            return None
        market = self.markets[item.market]
        return debt_value(amount, price=mark, tick_amount=market.tick_amount, lot_amount=market.lot_amount)

    def maintenance(self, account: MarginAccount) -> int | None:
        """The equity that the account must keep; None while a mark that it needs is missing."""
        total = 0
        for market in account.markets:
            needed = self.maintenance_of(account, market)
            if needed is None:
                return None
            total += needed
        margin = self.setup.margin
        return self._with_loans(account, total, margin.loan_maintenance_ppm if margin is not None else 0)

    def maintenance_of(self, account: MarginAccount, market: Market) -> int | None:
        """What one position adds to the maintenance margin."""
        lots = self.position(account.client, market.market).position_lots
        return self._required(market, abs(lots), initial=False)

    def initial(
        self, account: MarginAccount, *, added: AddedLots = NO_LOTS, lent: Mapping[AssetId, int] = NOTHING
    ) -> int | None:
        """The equity that it must have to take more risk, with lots `added` to its orders, and `lent` more."""
        total = 0
        for market in account.markets:
            needed = self._required(market, self.lots_at_worst(account, market, added), initial=True)
            if needed is None:
                return None
            total += needed + self.resting_loss(account, market)
        margin = self.setup.margin
        return self._with_loans(account, total, margin.loan_initial_ppm if margin is not None else 0, lent)

    def lots_at_worst(self, account: MarginAccount, market: Market, added: AddedLots) -> int:
        """The size of the position if all open buys, or all open sells, were filled."""
        position = self.position(account.client, market.market).position_lots
        bought, sold = (
            added.get((market.market, side), 0)
            + sum(
                order.left_lots
                for order in self.working.get((account.client, market.market), {}).values()
                if order.side is side and self.counts_for_margin(order)
            )
            for side in (Side.BUY, Side.SELL)
        )
        return max(abs(position + bought), abs(position - sold))

    def resting_loss(self, account: MarginAccount, market: Market) -> int:
        """What an account's resting orders in a market may lose, if all are filled at their limits."""
        orders = self.working.get((account.client, market.market))
        if not orders:
            return 0
        return sum(self.loss_of(order, market) for order in orders.values() if order.status is OrderStatus.RESTING)

    def loss_of(self, order: Order, market: Market) -> int:
        """What an order may lose if what is left of it is filled at its limit; nothing while there is no mark."""
        mark = self.marks[market.market]
        if mark is None or order.price_ticks is None:
            return 0
        fills = [(order.price_ticks, order.left_lots)]
        return self.loss_at_worst(market, mark, order.side, fills, fee_numerator=order.fee_numerator)

    def loss_at_worst(
        self, market: Market, mark: PriceTicks, side: Side, fills: Fills, *, fee_numerator: int = 0
    ) -> int:
        """What an order may lose at once: its fee at the higher rate, and its prices against the mark.

        `fee_numerator` is that of the order's trades so far, already charged.
        """
        value = sum(notional(price, lots, tick_amount=market.tick_amount) for price, lots in fills)
        fair = sum(notional(mark, lots, tick_amount=market.tick_amount) for _, lots in fills)
        rate_ppm = max(market.maker_fee_ppm, market.taker_fee_ppm)
        fee = fee_charged(fee_numerator + value * rate_ppm) - fee_charged(fee_numerator)
        return fee + max(0, value - fair if side is Side.BUY else fair - value)

    def counts_for_margin(self, order: Order) -> bool:
        """Whether an open order is counted in the initial margin: not a waiting stop, nor one that only reduces."""
        only_reduces = order.conditions is not None and order.conditions.reduce_only
        return order.status is OrderStatus.RESTING and not only_reduces

    def _required(self, market: Market, lots: int, *, initial: bool) -> int | None:
        if not lots:
            return 0
        mark = self.marks[market.market]
        if mark is None:
            return None
        assert market.perpetual is not None
        tiers = market.perpetual.tiers
        return margin_required(
            notional(mark, SizeLots(lots), tick_amount=market.tick_amount),
            floors=[tier.value_floor for tier in tiers],
            rates_ppm=[tier.initial_ppm if initial else tier.maintenance_ppm for tier in tiers],
        )

    def _with_loans(
        self, account: MarginAccount, total: int, rate_ppm: int, lent: Mapping[AssetId, int] = NOTHING
    ) -> int | None:
        owed = 0
        for item in account.collateral:
            worth = self.owed_worth(item, Amount(self.debt(account, item.asset) + lent.get(item.asset, 0)))
            if worth is None:
                return None
            owed += worth
        return total + loan_margin(Amount(owed), rate_ppm=rate_ppm)

    def risk_refusal(
        self,
        account: MarginAccount,
        *,
        taken: Mapping[AssetId, int] = NOTHING,
        lent: Mapping[AssetId, int] = NOTHING,
        loss: int = 0,
        added: AddedLots = NO_LOTS,
    ) -> Reason | None:
        """Why an account may not take more risk, if it may not: its equity afterwards is below its initial margin."""
        equity = self.equity(account, taken=taken, lent=lent)
        initial = self.initial(account, added=added, lent=lent)
        if equity is None or initial is None:
            return Reason.MARK_UNAVAILABLE
        return None if self.suffices(equity - loss, initial) else Reason.INSUFFICIENT_MARGIN

    def suffices(self, equity: int, initial: int) -> bool:
        """Whether an equity bears an initial margin."""
        return equity >= initial

    # Transfers ------------------------------------------------------------------------------------------------------

    def _decide_transfer(self, command: TransferMargin) -> None:
        reason = self._transfer_refusal(command)
        if reason is not None:
            return self.refuse(reason)
        self.emit(
            TransferStarted(
                client=command.client,
                request=command.request,
                asset=command.asset,
                amount=command.amount,
                source=command.source,
                target=command.target,
            )
        )
        account, bucket = self._wallet(command.client, command.source)
        self._post_transfer(
            command.client,
            command.request,
            [
                (account, bucket, command.asset, -command.amount),
                (command.client, HELD, command.asset, command.amount),
            ],
        )
        if self.arrives(command.target):
            self.complete(self.transfers[command.client, command.request])
        return None

    def _transfer_refusal(self, command: TransferMargin) -> Reason | None:
        if command.client not in self.clients:
            return Reason.UNKNOWN_CLIENT
        if command.asset not in self.assets:
            return Reason.UNKNOWN_ASSET
        if command.amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE
        if command.source not in self.stages or command.target not in self.stages:
            return Reason.UNKNOWN_PRODUCT
        wallets = [self._wallet(command.client, product) for product in (command.source, command.target)]
        if wallets[0] == wallets[1] or not self._counts(command.asset, command.target):
            return Reason.TRANSFER_ILLEGAL
        if self.request_used(command.client, command.request):
            return Reason.DUPLICATE_REQUEST
        if self.stages[command.source] is not Stage.OPEN:
            return Reason.PRODUCT_HALTED
        if command.amount > self.ledger.amount(*wallets[0], command.asset):
            return Reason.INSUFFICIENT_FUNDS
        return self.transfer_risk(command)

    def transfer_risk(self, command: TransferMargin) -> Reason | None:
        """Why collateral may not leave a margin account, if it may not: what is left must bear its initial margin."""
        if command.source == SPOT:
            return None
        account = self.margin_account(command.client, command.source)
        engaged = any(self._engaged(account, market) for market in account.markets)
        if not engaged and not any(self.debt(account, item.asset) for item in account.collateral):
            return None
        return self.risk_refusal(account, taken={command.asset: command.amount})

    def request_used(self, client: ClientId, request: RequestId) -> bool:
        """Whether a client used this id for a transfer, loan or repayment before."""
        return (client, request) in self.requests

    def arrives(self, target: ProductId) -> bool:
        """Whether a transfer reaches its target now: it is open."""
        return self.stages[target] is Stage.OPEN

    def complete(self, transfer: Transfer) -> None:
        """Let a transfer arrive, and what the account still owes for positions be paid out of it."""
        account, bucket = self._wallet(transfer.client, transfer.target)
        self.emit(TransferCompleted(client=transfer.client, request=transfer.request))
        self._post_transfer(
            transfer.client,
            transfer.request,
            [
                (transfer.client, HELD, transfer.asset, -transfer.amount),
                (account, bucket, transfer.asset, transfer.amount),
            ],
        )
        if transfer.target != SPOT:
            self.settle_owed(self.margin_account(transfer.client, transfer.target))

    def settle_owed(self, account: MarginAccount) -> None:
        """Pay what is owed for positions that are closed: see the chapter on perpetuals."""

    def on_product_open(self, product: ProductId) -> None:
        """Transfers that waited for the product arrive, in the order in which they were started."""
        super().on_product_open(product)
        for transfer in [item for item in self.transfers.values() if item.target == product]:
            self.complete(transfer)

    def _post_transfer(
        self, client: ClientId, request: RequestId, lines: Iterable[tuple[str, Bucket, AssetId, int]]
    ) -> None:
        self.post(CauseKind.TRANSFER, f"{client}/{request}", lines)

    def _wallet(self, client: ClientId, product: ProductId) -> tuple[str, Bucket]:
        if product == SPOT:
            return client, FREE
        return margin_account(client, product, isolated=product in self._isolated), COLLATERAL

    def _counts(self, asset: AssetId, product: ProductId) -> bool:
        """Whether an asset may go into a product's account."""
        if product == SPOT:
            return True
        margin = self.setup.margin
        if margin is None:
            return False
        if product in self._isolated:
            return asset == margin.unit
        return any(item.asset == asset for item in margin.collateral)

    def _on_position_changed(self, event: PositionChanged) -> None:
        key = (event.client, event.market)
        if not event.position_lots and not event.entry_value:
            self.positions.pop(key, None)
            return
        self.positions[key] = Position(
            client=event.client,
            market=event.market,
            position_lots=event.position_lots,
            entry_value=event.entry_value,
        )

    def _on_transfer_started(self, event: TransferStarted) -> None:
        key = (event.client, event.request)
        self.requests[key] = None
        self.transfers[key] = Transfer(
            client=event.client,
            request=event.request,
            asset=event.asset,
            amount=event.amount,
            source=event.source,
            target=event.target,
        )

    def _on_transfer_completed(self, event: TransferCompleted) -> None:
        del self.transfers[event.client, event.request]

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"positions": by_key, "requests": _requests}

    def equals(self, other: Self) -> bool:
        """Transfers are equal, and in the same order."""
        return super().equals(other) and list(self.transfers.items()) == list(other.transfers.items())

    def _parts(self) -> dict[str, Any]:
        parts = super()._parts()
        parts |= {
            "transfers": tuple(self.transfers.values()),
        }
        return parts

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.positions = {(item.client, item.market): item for item in state.positions}
        self.transfers = {(item.client, item.request): item for item in state.transfers}
        self.requests = {(item.client, item.request): None for item in state.requests}
        self.working = {}
        for order in self.orders.values():
            self.note_working(order)


def _requests(requests: dict[tuple[ClientId, RequestId], None]) -> list[Request]:
    return [Request(client=client, request=request) for client, request in sorted(requests)]


def _tracking(evolve: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """The evolver of an event that opens or ends an order, and then notes which orders are open in perpetuals."""

    def evolve_and_note(venue: Accounts, event: Any) -> None:  # noqa: ANN401 - any of several events
        evolve(venue, event)
        venue.note_working(venue.orders[event.client, event.order])

    return evolve_and_note
