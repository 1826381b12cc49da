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
    """ACCEPTED only while it is being matched; WAITING for its trigger; FILLED and CANCELLED are terminal."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"


OPEN_STATUSES = frozenset({OrderStatus.WAITING, OrderStatus.RESTING})


class Order(Struct, kw_only=True, gc=False):
    """An order from its acceptance on, for ever: its id stays used.

    `filled_lots + left_lots` is at most `size_lots`: a cancelled order has nothing left. `fee_numerator` is the sum
    over its trades of quote amount times fee rate in ppm. `accepted` numbers the orders of the venue in the order in
    which they were accepted. `other` is the id of the order that it is linked with as one-cancels-other.
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
    other: OrderId | None = None

    @property
    def key(self) -> tuple[ClientId, OrderId]:
        """The order's identity."""
        return (self.client, self.order)

    @property
    def reduce_only(self) -> bool:
        """Whether it may only make its owner's position smaller."""
        return self.conditions is not None and self.conditions.reduce_only
