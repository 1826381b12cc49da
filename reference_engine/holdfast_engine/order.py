"""The state of one order."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary import (
    Amount,
    ClientId,
    Conditions,
    MarketId,
    OrderId,
    PriceTicks,
    SelfTrade,
    Side,
    SizeLots,
    TimeInForce,
)


class OrderStatus(StrEnum):
    """ACCEPTED only while its own command runs; FILLED and CANCELLED are terminal."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"


OPEN_STATUSES = frozenset({OrderStatus.WAITING, OrderStatus.RESTING})


class Order(Struct, kw_only=True, gc=False):
    """An order from its acceptance on, for ever: its id stays used.

    `filled_lots + left_lots` is at most `size_lots`: a cancelled order has nothing left. `fee_numerator` is the sum
    over its trades of quote amount times fee rate in ppm. `accepted` numbers a venue's orders as they were accepted.
    """

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    size_lots: SizeLots
    price_ticks: PriceTicks | None
    time_in_force: TimeInForce
    post_only: bool
    self_trade: SelfTrade
    status: OrderStatus
    filled_lots: SizeLots
    left_lots: SizeLots
    fee_numerator: Amount
    accepted: int
    conditions: Conditions | None = None

    @property
    def key(self) -> tuple[ClientId, OrderId]:
        """The order's identity."""
        return (self.client, self.order)
