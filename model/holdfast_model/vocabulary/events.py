"""What an exchange says happened: frozen, past tense, one tagged union. A refusal is an event too: `Rejected`."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.amounts import (
    Amount,
    AssetId,
    ClientId,
    Label,
    MarketId,
    OrderId,
    PriceTicks,
    SizeLots,
    TransactionId,
    WithdrawalId,
    Words,
)
from holdfast_model.vocabulary.commands import Phase, SelfTrade, Side, TimeInForce


class Reason(StrEnum):
    """Why a command was refused. A refused command has no effect."""

    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    DUPLICATE_DEPOSIT = "duplicate_deposit"
    DUPLICATE_ORDER = "duplicate_order"
    DUPLICATE_WITHDRAWAL = "duplicate_withdrawal"
    FOK_UNFILLABLE = "fok_unfillable"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    MARKET_ORDER_CANNOT_REST = "market_order_cannot_rest"
    ORDER_NOT_OPEN = "order_not_open"
    OVERLOADED = "overloaded"
    PHASE_FORBIDS = "phase_forbids"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    PRICE_NOT_POSITIVE = "price_not_positive"
    SIZE_NOT_ABOVE_FILLED = "size_not_above_filled"
    SIZE_NOT_POSITIVE = "size_not_positive"
    STANDBY_STALE = "standby_stale"
    TRANSITION_ILLEGAL = "transition_illegal"
    UNKNOWN_ASSET = "unknown_asset"
    UNKNOWN_CLIENT = "unknown_client"
    UNKNOWN_MARKET = "unknown_market"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_WITHDRAWAL = "unknown_withdrawal"
    WITHDRAWAL_NOT_OPEN = "withdrawal_not_open"
    OTHER = "other"
    """An engine under test refused for a reason that has no name here; `Rejected.detail` has its words."""


class CancelReason(StrEnum):
    """Why an order was cancelled."""

    REQUESTED = "requested"
    IOC_REMAINDER = "ioc_remainder"
    MARKET_REMAINDER = "market_remainder"
    SELF_TRADE = "self_trade"


class Bucket(StrEnum):
    """The part of an account that an amount stands in."""

    FREE = "free"
    HELD = "held"


class CauseKind(StrEnum):
    """What made money move."""

    ORDER_HOLD = "order_hold"
    ORDER_RELEASE = "order_release"
    TRADE = "trade"
    DEPOSIT = "deposit"
    WITHDRAWAL_HOLD = "withdrawal_hold"
    WITHDRAWAL_PAYMENT = "withdrawal_payment"
    WITHDRAWAL_REFUND = "withdrawal_refund"


FEES = "@fees"
"""House account: fees earned."""
ROUNDING = "@rounding"
"""House account: what rounding up charged above the exact fee."""
OUTSIDE = "@outside"
"""The rest of the world: the counterparty of deposits and withdrawals, the only account that may be negative."""


class Posting(Struct, frozen=True, kw_only=True):
    """One line of an entry: a positive `amount` is added to the account's bucket, a negative one taken out."""

    account: Label
    bucket: Bucket
    asset: AssetId
    amount: Amount


class _Event(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    pass


class Rejected(_Event, tag="rejected", frozen=True, kw_only=True):
    """The command was refused and had no effect."""

    reason: Reason
    detail: Words = ""


class EntryPosted(_Event, tag="entry_posted", frozen=True, kw_only=True):
    """Money moved: postings that sum to zero per asset (double entry, Pacioli 1494), with the cause named.

    `cause` is the id of the order ("client/order"), trade, deposit or withdrawal ("client/withdrawal").
    """

    cause_kind: CauseKind
    cause: Label
    postings: tuple[Posting, ...]


class OrderAccepted(_Event, tag="order_accepted", frozen=True, kw_only=True):
    """An order was taken in; its id is used up."""

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    size_lots: SizeLots
    price_ticks: PriceTicks | None
    time_in_force: TimeInForce
    post_only: bool
    self_trade: SelfTrade


class OrderRested(_Event, tag="order_rested", frozen=True, kw_only=True):
    """An order joined the queue of its price, at the back."""

    client: ClientId
    order: OrderId
    price_ticks: PriceTicks
    left_lots: SizeLots


class TradeExecuted(_Event, tag="trade_executed", frozen=True, kw_only=True):
    """Two orders traded, at the resting (maker) order's price. Trade numbers rise by one from 1 per exchange.

    Fees are in quote units; each is what this trade added to the order's fee, which is rounded up over the order.
    """

    trade: int
    market: MarketId
    price_ticks: PriceTicks
    size_lots: SizeLots
    taker_side: Side
    maker_client: ClientId
    maker_order: OrderId
    taker_client: ClientId
    taker_order: OrderId
    maker_fee: Amount
    taker_fee: Amount


class OrderFilled(_Event, tag="order_filled", frozen=True, kw_only=True):
    """An order is filled: terminal."""

    client: ClientId
    order: OrderId


class OrderCancelled(_Event, tag="order_cancelled", frozen=True, kw_only=True):
    """What was left of an order is cancelled: terminal."""

    client: ClientId
    order: OrderId
    left_lots: SizeLots
    reason: CancelReason


class OrderReduced(_Event, tag="order_reduced", frozen=True, kw_only=True):
    """Self-trade prevention took lots off an order, which keeps its place in the queue."""

    client: ClientId
    order: OrderId
    size_lots: SizeLots
    left_lots: SizeLots


class OrderAmended(_Event, tag="order_amended", frozen=True, kw_only=True):
    """An open order has a new size and price. Without `priority_kept` it left the queue (it may rest again)."""

    client: ClientId
    order: OrderId
    size_lots: SizeLots
    price_ticks: PriceTicks
    left_lots: SizeLots
    priority_kept: bool


class DepositCredited(_Event, tag="deposit_credited", frozen=True, kw_only=True):
    """A deposit was credited to a client's free balance."""

    client: ClientId
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class WithdrawalRequested(_Event, tag="withdrawal_requested", frozen=True, kw_only=True):
    """A withdrawal's amount is held."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount


class WithdrawalPaid(_Event, tag="withdrawal_paid", frozen=True, kw_only=True):
    """A withdrawal left the hot wallet: terminal."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount


class WithdrawalRefunded(_Event, tag="withdrawal_refunded", frozen=True, kw_only=True):
    """A withdrawal's amount is free again: terminal."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount


class PhaseChanged(_Event, tag="phase_changed", frozen=True, kw_only=True):
    """The venue is in another phase."""

    before: Phase
    after: Phase


class StandbyPaused(_Event, tag="standby_paused", frozen=True, kw_only=True):
    """The standby is fed no longer."""


class StandbyResumed(_Event, tag="standby_resumed", frozen=True, kw_only=True):
    """The standby has all that is acknowledged, and is fed again."""


class StandbyPromoted(_Event, tag="standby_promoted", frozen=True, kw_only=True):
    """The standby is the primary of a new epoch."""

    epoch: int


Event = (
    Rejected
    | EntryPosted
    | OrderAccepted
    | OrderRested
    | TradeExecuted
    | OrderFilled
    | OrderCancelled
    | OrderReduced
    | OrderAmended
    | DepositCredited
    | WithdrawalRequested
    | WithdrawalPaid
    | WithdrawalRefunded
    | PhaseChanged
    | StandbyPaused
    | StandbyResumed
    | StandbyPromoted
)
Events = tuple[Event, ...]
