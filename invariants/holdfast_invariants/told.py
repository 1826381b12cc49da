"""What an exchange has told the outside so far: the record that every invariant is checked against.

It is folded from acknowledged events alone, one event at a time, at a cost that does not depend on how much there is.
"""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    Bucket,
    ClientId,
    Command,
    DepositCredited,
    EntryPosted,
    Event,
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderId,
    OrderReduced,
    OrderRested,
    Phase,
    PhaseChanged,
    PriceTicks,
    Setup,
    Sha256,
    Side,
    SizeLots,
    StandbyPromoted,
    TimeInForce,
    TradeExecuted,
    TransactionId,
    WithdrawalId,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.chain import GENESIS

OrderKey = tuple[ClientId, OrderId]
WithdrawalKey = tuple[ClientId, WithdrawalId]
Place = tuple[str, Bucket, AssetId]


class ToldStatus(StrEnum):
    """What clients believe of an order."""

    ACCEPTED = "accepted"
    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the order is over."""
        return self in (ToldStatus.FILLED, ToldStatus.CANCELLED)


class ToldOrder(Struct, kw_only=True):
    """An order as its owner knows it."""

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    price_ticks: PriceTicks | None
    size_lots: SizeLots
    left_lots: SizeLots
    filled_lots: SizeLots
    time_in_force: TimeInForce
    post_only: bool
    status: ToldStatus
    amended: bool = False
    fee_numerator: int = 0
    """Sum over its trades of quote amount times fee rate in ppm."""


class ToldWithdrawal(Struct, kw_only=True):
    """A withdrawal as its owner knows it."""

    asset: AssetId
    amount: Amount
    status: WithdrawalStatus


class Told:
    """Everything acknowledged so far. `unknown` holds commands whose outcome nobody was told."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.markets = {market.market: market for market in setup.markets}
        self.orders: dict[OrderKey, ToldOrder] = {}
        self.resting: dict[OrderKey, ToldOrder] = {}
        self.amounts: dict[Place, int] = {}
        self.deposits: set[TransactionId] = set()
        self.withdrawals: dict[WithdrawalKey, ToldWithdrawal] = {}
        self.phase = Phase.OPEN
        self.epoch = 1
        self.seq = 0
        self.trade = 0
        self.head: Sha256 = GENESIS
        self.unknown: list[Command] = []

    def apply(self, event: Event) -> None:
        """Believe one event."""
        match event:
            case EntryPosted(postings=postings):
                for posting in postings:
                    place = (posting.account, posting.bucket, posting.asset)
                    self.amounts[place] = self.amounts.get(place, 0) + posting.amount
            case OrderAccepted():
                self.orders[event.client, event.order] = ToldOrder(
                    client=event.client,
                    order=event.order,
                    market=event.market,
                    side=event.side,
                    price_ticks=event.price_ticks,
                    size_lots=event.size_lots,
                    left_lots=event.size_lots,
                    filled_lots=SizeLots(0),
                    time_in_force=event.time_in_force,
                    post_only=event.post_only,
                    status=ToldStatus.ACCEPTED,
                )
            case TradeExecuted():
                self._trade(event)
            case OrderRested() | OrderFilled() | OrderCancelled() | OrderReduced() | OrderAmended():
                order = self.orders.get((event.client, event.order))
                if order is not None:
                    self._change(order, event)
            case DepositCredited(transaction=transaction):
                self.deposits.add(transaction)
            case WithdrawalRequested() | WithdrawalPaid() | WithdrawalRefunded():
                self._withdrawal(event)
            case PhaseChanged(after=after):
                self.phase = after
            case StandbyPromoted(epoch=epoch):
                self.epoch = epoch
            case _:
                pass

    def _trade(self, event: TradeExecuted) -> None:
        self.trade = event.trade
        market = self.markets.get(event.market)
        if market is None:
            return
        value = event.price_ticks * event.size_lots * market.tick_amount
        for key, rate in (
            ((event.maker_client, event.maker_order), market.maker_fee_ppm),
            ((event.taker_client, event.taker_order), market.taker_fee_ppm),
        ):
            order = self.orders.get(key)
            if order is not None:
                order.left_lots = SizeLots(order.left_lots - event.size_lots)
                order.filled_lots = SizeLots(order.filled_lots + event.size_lots)
                order.fee_numerator += value * rate

    def _change(
        self, order: ToldOrder, event: OrderRested | OrderFilled | OrderCancelled | OrderReduced | OrderAmended
    ) -> None:
        key = (order.client, order.order)
        match event:
            case OrderRested():
                order.status = ToldStatus.RESTING
                self.resting[key] = order
            case OrderFilled():
                order.status = ToldStatus.FILLED
                self.resting.pop(key, None)
            case OrderCancelled():
                order.status = ToldStatus.CANCELLED
                order.left_lots = SizeLots(0)
                self.resting.pop(key, None)
            case OrderReduced():
                order.size_lots, order.left_lots = event.size_lots, event.left_lots
            case OrderAmended():
                order.size_lots, order.left_lots = event.size_lots, event.left_lots
                order.price_ticks, order.amended = event.price_ticks, True
                if not event.priority_kept:
                    order.status = ToldStatus.ACCEPTED
                    self.resting.pop(key, None)

    def _withdrawal(self, event: WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded) -> None:
        key = (event.client, event.withdrawal)
        known = self.withdrawals.get(key)
        if isinstance(event, WithdrawalRequested) or known is None:
            known = self.withdrawals[key] = ToldWithdrawal(
                asset=event.asset, amount=event.amount, status=WithdrawalStatus.REQUESTED
            )
        if isinstance(event, WithdrawalPaid):
            known.status = WithdrawalStatus.PAID
        elif isinstance(event, WithdrawalRefunded):
            known.status = WithdrawalStatus.REFUNDED
