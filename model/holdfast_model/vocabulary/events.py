"""What an exchange says happened: frozen, past tense, one tagged union. A refusal is an event too: `Rejected`."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.amounts import (
    Amount,
    AssetId,
    ClientId,
    GrantId,
    Label,
    MarketId,
    OrderId,
    PriceTicks,
    ProductId,
    RequestId,
    SizeLots,
    SourceId,
    Timestamp,
    TransactionId,
    WithdrawalId,
    Words,
)
from holdfast_model.vocabulary.commands import Conditions, Phase, SelfTrade, Side, Stage, TimeInForce


class Reason(StrEnum):
    """Why a command was refused. A refused command has no effect."""

    AMOUNT_ABOVE_DEBT = "amount_above_debt"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AUCTION_TAKES_LIMIT_ORDERS = "auction_takes_limit_orders"
    CONDITIONS_CONTRADICT = "conditions_contradict"
    CREDIT_LIMIT = "credit_limit"
    DUPLICATE_DEPOSIT = "duplicate_deposit"
    DUPLICATE_ORDER = "duplicate_order"
    DUPLICATE_REQUEST = "duplicate_request"
    DUPLICATE_WITHDRAWAL = "duplicate_withdrawal"
    EXPIRY_PASSED = "expiry_passed"
    FOK_UNFILLABLE = "fok_unfillable"
    HOUSE_LIMIT = "house_limit"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    MARK_UNAVAILABLE = "mark_unavailable"
    MARKET_ORDER_CANNOT_REST = "market_order_cannot_rest"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    NOTHING_TO_LIQUIDATE = "nothing_to_liquidate"
    NOT_BELOW_MAINTENANCE = "not_below_maintenance"
    ORDER_NOT_OPEN = "order_not_open"
    OTHER_ORDER_NOT_LINKABLE = "other_order_not_linkable"
    OVERLOADED = "overloaded"
    PERIOD_NOT_NEXT = "period_not_next"
    PHASE_FORBIDS = "phase_forbids"
    POOL_EXHAUSTED = "pool_exhausted"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_OUTSIDE_BAND = "price_outside_band"
    PRODUCT_HALTED = "product_halted"
    RATE_OUT_OF_BOUNDS = "rate_out_of_bounds"
    REDUCE_ONLY_WOULD_INCREASE = "reduce_only_would_increase"
    REPORT_AHEAD_OF_TIME = "report_ahead_of_time"
    REPORT_OUTDATED = "report_outdated"
    RESERVED_ID = "reserved_id"
    SIZE_NOT_ABOVE_FILLED = "size_not_above_filled"
    SIZE_NOT_POSITIVE = "size_not_positive"
    STAGE_ILLEGAL = "stage_illegal"
    STANDBY_STALE = "standby_stale"
    TIME_NOT_LATER = "time_not_later"
    TRANSFER_ILLEGAL = "transfer_illegal"
    TRANSITION_ILLEGAL = "transition_illegal"
    TRIGGER_PASSED = "trigger_passed"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_ASSET = "unknown_asset"
    UNKNOWN_CLIENT = "unknown_client"
    UNKNOWN_MARKET = "unknown_market"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_PRODUCT = "unknown_product"
    UNKNOWN_SOURCE = "unknown_source"
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
    EXPIRED = "expired"
    DISCONNECTED = "disconnected"
    ONE_CANCELS_OTHER = "one_cancels_other"
    """The order that it was linked with traded, was triggered or ended."""
    REDUCE_ONLY = "reduce_only"
    """There is no position left for it to reduce."""
    PRICE_PROTECTION = "price_protection"
    """A market order went as far from the best price as its market lets it."""
    POST_ONLY = "post_only"
    """A post-only stop order was triggered and would have traded at once."""
    UNFUNDED = "unfunded"
    """A stop order was triggered and the account could not bear it."""
    LIQUIDATION = "liquidation"
    """The account is being liquidated, and its open orders come first."""


class Bucket(StrEnum):
    """The part of an account that an amount stands in."""

    FREE = "free"
    HELD = "held"
    COLLATERAL = "collateral"
    BORROWED = "borrowed"
    """Debt: minus what a client owes, and what is owed to the lending pool and to rounding."""


class CauseKind(StrEnum):
    """What made money move."""

    ORDER_HOLD = "order_hold"
    ORDER_RELEASE = "order_release"
    TRADE = "trade"
    DEPOSIT = "deposit"
    WITHDRAWAL_HOLD = "withdrawal_hold"
    WITHDRAWAL_PAYMENT = "withdrawal_payment"
    WITHDRAWAL_REFUND = "withdrawal_refund"
    TRANSFER = "transfer"
    BORROW = "borrow"
    REPAY = "repay"
    INTEREST = "interest"
    FUNDING = "funding"
    SETTLEMENT = "settlement"
    """What a position owed is paid out of collateral that came in."""
    DELEVERAGING = "deleveraging"
    INSURANCE = "insurance"
    """The insurance fund covers a deficit."""
    SEIZURE = "seizure"
    """The insurance fund takes collateral over and pays what was owed."""
    HOUSE_FUNDING = "house_funding"
    PROMOTION = "promotion"


FEES = "@fees"
"""House account: fees earned."""
ROUNDING = "@rounding"
"""House account: what rounding up charged above the exact fee."""
INSURANCE = "@insurance"
"""House account: pays what bankrupt accounts cannot."""
PROMOTIONS = "@promotions"
"""House account: what may be granted to clients; it is funded, and each grant is bounded."""
LENDING = "@lending"
"""House account: the pool out of which is lent. Its bucket `borrowed` is what clients owe it."""
CLEARING = "@clearing"
"""House account: the other side of unsettled profit and loss of perpetuals.

It alone of the house's may be below zero, because it is always minus the sum of all positions' entry values.
"""
OUTSIDE = "@outside"
"""The rest of the world: the counterparty of deposits and withdrawals, minus what the exchange owes and owns."""
FUNDED_ACCOUNTS = (INSURANCE, PROMOTIONS, LENDING)
"""The house accounts that the owner of the exchange pays into (`FundHouse`)."""

LIQUIDATION_ORDER_PREFIX = "liquidation-"
"""Ids of orders that the exchange places for an account under liquidation; clients cannot use them."""


def margin_account(client: ClientId, product: ProductId, *, isolated: bool) -> str:
    """The ledger account in which the collateral of a client's margin account stands.

    >>> margin_account("alice", "linear", isolated=False), margin_account("alice", "island", isolated=True)
    ('alice', 'alice@island')
    """
    return f"{client}@{product}" if isolated else client


class Posting(Struct, frozen=True, kw_only=True, gc=False):
    """One line of an entry: a positive `amount` is added to the account's bucket, a negative one taken out."""

    account: Label
    bucket: Bucket
    asset: AssetId
    amount: Amount


class _Event(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True, gc=False):
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
    conditions: Conditions | None = None


class StopArmed(_Event, tag="stop_armed", frozen=True, kw_only=True):
    """A stop order waits for its trigger, outside the book."""

    client: ClientId
    order: OrderId


class StopTriggered(_Event, tag="stop_triggered", frozen=True, kw_only=True):
    """A stop order became an ordinary one; `price_ticks` is the last trade or the mark that triggered it."""

    client: ClientId
    order: OrderId
    price_ticks: PriceTicks


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


class AuctionUncrossed(_Event, tag="auction_uncrossed", frozen=True, kw_only=True):
    """A market's call auction ended; its trades follow. Without orders that cross there is no price.

    `imbalance_lots` is what buyers wanted at the price beyond what sellers offered; negative: the sellers' surplus.
    """

    market: MarketId
    price_ticks: PriceTicks | None
    volume_lots: SizeLots
    imbalance_lots: SizeLots


class TimeAdvanced(_Event, tag="time_advanced", frozen=True, kw_only=True):
    """The venue's time."""

    time_ms: Timestamp


class ClientDisconnected(_Event, tag="client_disconnected", frozen=True, kw_only=True):
    """A client's session was lost."""

    client: ClientId


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


class HouseFunded(_Event, tag="house_funded", frozen=True, kw_only=True):
    """The owner paid into a house account."""

    account: Label
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class PromotionGranted(_Event, tag="promotion_granted", frozen=True, kw_only=True):
    """A client was granted a reward."""

    client: ClientId
    asset: AssetId
    amount: Amount
    grant: GrantId


class TransferStarted(_Event, tag="transfer_started", frozen=True, kw_only=True):
    """Funds left one wallet of a client for another; until they arrive they are held."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount
    source: ProductId
    target: ProductId


class TransferCompleted(_Event, tag="transfer_completed", frozen=True, kw_only=True):
    """Funds under way arrived."""

    client: ClientId
    request: RequestId


class Borrowed(_Event, tag="borrowed", frozen=True, kw_only=True):
    """A client was lent an asset."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount


class Repaid(_Event, tag="repaid", frozen=True, kw_only=True):
    """A client paid debt back."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount


class InterestAccrued(_Event, tag="interest_accrued", frozen=True, kw_only=True):
    """A period's interest was added to every debt in an asset; one entry for each client follows."""

    asset: AssetId
    period: int
    rate_ppm: int


class PriceReported(_Event, tag="price_reported", frozen=True, kw_only=True):
    """A source's price was taken note of."""

    source: SourceId
    market: MarketId
    price_ticks: PriceTicks
    time_ms: Timestamp


class MarkChanged(_Event, tag="mark_changed", frozen=True, kw_only=True):
    """A market's mark is another one, made from these sources; None is UNAVAILABLE."""

    market: MarketId
    mark_ticks: PriceTicks | None
    sources: tuple[SourceId, ...]


class PositionChanged(_Event, tag="position_changed", frozen=True, kw_only=True):
    """A client's position in a perpetual, after the trade, payment or deleveraging that this answer tells of.

    `position_lots` is above zero for a long one. `entry_value` is what the open lots cost, in quote, with the sign of
    the position; what the account could not pay in cash is added to it.
    """

    client: ClientId
    market: MarketId
    position_lots: SizeLots
    entry_value: Amount


class FundingSettled(_Event, tag="funding_settled", frozen=True, kw_only=True):
    """A period's funding was exchanged at the mark; one entry for all accounts follows."""

    market: MarketId
    period: int
    rate_ppm: int
    mark_ticks: PriceTicks


class LiquidationKind(StrEnum):
    """What a step of a liquidation does; the first that applies is taken."""

    CANCEL_ORDERS = "cancel_orders"
    REDUCE = "reduce"
    """A part of the largest position is closed in the book, at the bankruptcy price or better."""
    INSURE = "insure"
    """It is closed in the book beyond the bankruptcy price, and the insurance fund pays the difference."""
    DELEVERAGE = "deleverage"
    """It is closed at the bankruptcy price against the profitable side, by rank."""
    SEIZE = "seize"
    """Nothing but debt is left: collateral is taken over by the insurance fund, which pays the debt."""
    WRITE_OFF = "write_off"
    """Nothing but debt and no collateral is left: the insurance fund pays it."""


class LiquidationStepped(_Event, tag="liquidation_stepped", frozen=True, kw_only=True):
    """A step in the liquidation of a margin account whose equity was below its maintenance margin.

    `market`, `size_lots` and `bankruptcy_ticks` are those of the position that the step closes a part of.
    """

    client: ClientId
    product: ProductId
    kind: LiquidationKind
    equity: Amount
    maintenance: Amount
    market: MarketId | None = None
    size_lots: SizeLots | None = None
    bankruptcy_ticks: PriceTicks | None = None


class Deleveraged(_Event, tag="deleveraged", frozen=True, kw_only=True):
    """A part of a bankrupt account's position was closed against a counterparty's, without an order of either.

    `score` is the counterparty's rank when it was chosen: the highest first, equals by client id.
    """

    market: MarketId
    client: ClientId
    counterparty: ClientId
    size_lots: SizeLots
    price_ticks: PriceTicks
    score: Amount


class ProductHalted(_Event, tag="product_halted", frozen=True, kw_only=True):
    """A product is halted for its protection."""

    product: ProductId
    cause: Words


class ProductResumed(_Event, tag="product_resumed", frozen=True, kw_only=True):
    """A halted product is one stage further open."""

    product: ProductId
    stage: Stage


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
    | StopArmed
    | StopTriggered
    | OrderRested
    | TradeExecuted
    | OrderFilled
    | OrderCancelled
    | OrderReduced
    | OrderAmended
    | AuctionUncrossed
    | TimeAdvanced
    | ClientDisconnected
    | DepositCredited
    | WithdrawalRequested
    | WithdrawalPaid
    | WithdrawalRefunded
    | HouseFunded
    | PromotionGranted
    | TransferStarted
    | TransferCompleted
    | Borrowed
    | Repaid
    | InterestAccrued
    | PriceReported
    | MarkChanged
    | PositionChanged
    | FundingSettled
    | LiquidationStepped
    | Deleveraged
    | ProductHalted
    | ProductResumed
    | PhaseChanged
    | StandbyPaused
    | StandbyResumed
    | StandbyPromoted
)
Events = tuple[Event, ...]
