"""What an exchange says happened: frozen, past tense, one tagged union. A refusal is an event too: `Rejected`."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.accounts import Bucket
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
from holdfast_model.vocabulary.custody import CustodyEvent
from holdfast_model.vocabulary.operations import OperationsEvent
from holdfast_model.vocabulary.tagged import EventBase


class Reason(StrEnum):
    """Why a command was refused. A refused command has no effect."""

    ALREADY_SAID = "already_said"
    AMOUNT_ABOVE_DEBT = "amount_above_debt"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    ASSET_SUSPENDED = "asset_suspended"
    AUCTION_TAKES_LIMIT_ORDERS = "auction_takes_limit_orders"
    COMMITMENT_INVALID = "commitment_invalid"
    COMMITMENT_REUSED = "commitment_reused"
    CONDITIONS_CONTRADICT = "conditions_contradict"
    CREDIT_LIMIT = "credit_limit"
    CUSTODY_SHORT = "custody_short"
    DUPLICATE_DEPOSIT = "duplicate_deposit"
    DUPLICATE_ORDER = "duplicate_order"
    DUPLICATE_REQUEST = "duplicate_request"
    DUPLICATE_WITHDRAWAL = "duplicate_withdrawal"
    EXPIRY_PASSED = "expiry_passed"
    FOK_UNFILLABLE = "fok_unfillable"
    HEIGHT_AHEAD = "height_ahead"
    HEIGHT_NOT_HIGHER = "height_not_higher"
    HOUSE_LIMIT = "house_limit"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    MARKET_ORDER_CANNOT_REST = "market_order_cannot_rest"
    MARK_UNAVAILABLE = "mark_unavailable"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    NOTHING_TO_LIQUIDATE = "nothing_to_liquidate"
    NOT_ANNOUNCED = "not_announced"
    NOT_BELOW_MAINTENANCE = "not_below_maintenance"
    NOT_LOADED = "not_loaded"
    NOT_PRIMARY = "not_primary"
    NOT_RECONCILED = "not_reconciled"
    NO_PRIMARY = "no_primary"
    NO_QUORUM = "no_quorum"
    ONLY_BY_CUSTODY = "only_by_custody"
    ORDERS_OPEN = "orders_open"
    ORDER_NOT_OPEN = "order_not_open"
    OTHER_ORDER_NOT_LINKABLE = "other_order_not_linkable"
    OVERLOADED = "overloaded"
    PAYMENT_NOT_OPEN = "payment_not_open"
    PERIOD_NOT_NEXT = "period_not_next"
    PHASE_FORBIDS = "phase_forbids"
    POOL_EXHAUSTED = "pool_exhausted"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_OUTSIDE_BAND = "price_outside_band"
    PRODUCT_HALTED = "product_halted"
    PROVIDER_DOWN = "provider_down"
    RATE_LIMITED = "rate_limited"
    RATE_OUT_OF_BOUNDS = "rate_out_of_bounds"
    REDUCE_ONLY_WOULD_INCREASE = "reduce_only_would_increase"
    RELEASE_DIFFERS = "release_differs"
    REORGANISATION_ILLEGAL = "reorganisation_illegal"
    REPLICAS_DIFFER = "replicas_differ"
    REPLICA_STALE = "replica_stale"
    REPLICA_UNAVAILABLE = "replica_unavailable"
    REPORT_AHEAD_OF_TIME = "report_ahead_of_time"
    REPORT_OUTDATED = "report_outdated"
    RESERVED_ID = "reserved_id"
    SHARE_INVALID = "share_invalid"
    SIGNER_NOT_ASKED = "signer_not_asked"
    SIZE_NOT_ABOVE_FILLED = "size_not_above_filled"
    SIZE_NOT_POSITIVE = "size_not_positive"
    STAGE_ILLEGAL = "stage_illegal"
    TIER_LIMIT = "tier_limit"
    TIME_LOCKED = "time_locked"
    TIME_NOT_LATER = "time_not_later"
    TRANSFER_ILLEGAL = "transfer_illegal"
    TRANSITION_ILLEGAL = "transition_illegal"
    TRIGGER_PASSED = "trigger_passed"
    UNAVAILABLE = "unavailable"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_ASSET = "unknown_asset"
    UNKNOWN_CLIENT = "unknown_client"
    UNKNOWN_MARKET = "unknown_market"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_PAYMENT = "unknown_payment"
    UNKNOWN_PRODUCT = "unknown_product"
    UNKNOWN_RELEASE = "unknown_release"
    UNKNOWN_REPLICA = "unknown_replica"
    UNKNOWN_SIGNER = "unknown_signer"
    UNKNOWN_SOURCE = "unknown_source"
    UNKNOWN_TIER = "unknown_tier"
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
    FORCED = "forced"
    """An operator cancelled every order, of one market or of all."""


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
    ARRIVAL = "arrival"
    """A deposit became final on its chain; it is not credited yet."""
    NETWORK_FEE = "network_fee"
    """A chain's fee for a sweep between tiers."""


class Posting(Struct, frozen=True, kw_only=True, gc=False):
    """One line of an entry: a positive `amount` is added to the account's bucket, a negative one taken out."""

    account: Label
    bucket: Bucket
    asset: AssetId
    amount: Amount


class Rejected(EventBase, tag="rejected", frozen=True, kw_only=True):
    """The command was refused and had no effect."""

    reason: Reason
    detail: Words = ""


class EntryPosted(EventBase, tag="entry_posted", frozen=True, kw_only=True):
    """Money moved: postings that sum to zero per asset (double entry, Pacioli 1494), with the cause named.

    `cause` is the id of the order ("client/order"), trade, deposit or withdrawal ("client/withdrawal").
    """

    cause_kind: CauseKind
    cause: Label
    postings: tuple[Posting, ...]


class OrderAccepted(EventBase, tag="order_accepted", frozen=True, kw_only=True):
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


class StopArmed(EventBase, tag="stop_armed", frozen=True, kw_only=True):
    """A stop order waits for its trigger, outside the book."""

    client: ClientId
    order: OrderId


class StopTriggered(EventBase, tag="stop_triggered", frozen=True, kw_only=True):
    """A stop order became an ordinary one; `price_ticks` is the last trade or the mark that triggered it."""

    client: ClientId
    order: OrderId
    price_ticks: PriceTicks


class OrderRested(EventBase, tag="order_rested", frozen=True, kw_only=True):
    """An order joined the queue of its price, at the back."""

    client: ClientId
    order: OrderId
    price_ticks: PriceTicks
    left_lots: SizeLots


class TradeExecuted(EventBase, tag="trade_executed", frozen=True, kw_only=True):
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


class OrderFilled(EventBase, tag="order_filled", frozen=True, kw_only=True):
    """An order is filled: terminal."""

    client: ClientId
    order: OrderId


class OrderCancelled(EventBase, tag="order_cancelled", frozen=True, kw_only=True):
    """What was left of an order is cancelled: terminal."""

    client: ClientId
    order: OrderId
    left_lots: SizeLots
    reason: CancelReason


class OrderReduced(EventBase, tag="order_reduced", frozen=True, kw_only=True):
    """Self-trade prevention took lots off an order, which keeps its place in the queue."""

    client: ClientId
    order: OrderId
    size_lots: SizeLots
    left_lots: SizeLots


class OrderAmended(EventBase, tag="order_amended", frozen=True, kw_only=True):
    """An open order has a new size and price. Without `priority_kept` it left the queue (it may rest again)."""

    client: ClientId
    order: OrderId
    size_lots: SizeLots
    price_ticks: PriceTicks
    left_lots: SizeLots
    priority_kept: bool


class AuctionUncrossed(EventBase, tag="auction_uncrossed", frozen=True, kw_only=True):
    """A market's call auction ended; its trades follow. Without orders that cross there is no price.

    `imbalance_lots` is what buyers wanted at the price beyond what sellers offered; negative: the sellers' surplus.
    """

    market: MarketId
    price_ticks: PriceTicks | None
    volume_lots: SizeLots
    imbalance_lots: SizeLots


class TimeAdvanced(EventBase, tag="time_advanced", frozen=True, kw_only=True):
    """The venue's time."""

    time_ms: Timestamp


class ClientDisconnected(EventBase, tag="client_disconnected", frozen=True, kw_only=True):
    """A client's session was lost."""

    client: ClientId


class DepositCredited(EventBase, tag="deposit_credited", frozen=True, kw_only=True):
    """A deposit was credited to a client's free balance."""

    client: ClientId
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class WithdrawalRequested(EventBase, tag="withdrawal_requested", frozen=True, kw_only=True):
    """A withdrawal's amount is held, with custody also its chain's `fee`."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount
    fee: Amount = Amount(0)
    destination: Label = ""


class WithdrawalPaid(EventBase, tag="withdrawal_paid", frozen=True, kw_only=True):
    """A withdrawal left custody, and its chain's `fee` with it: terminal."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount
    fee: Amount = Amount(0)


class WithdrawalRefunded(EventBase, tag="withdrawal_refunded", frozen=True, kw_only=True):
    """A withdrawal's amount is free again, and what was held for its `fee`: terminal."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount
    fee: Amount = Amount(0)


class HouseFunded(EventBase, tag="house_funded", frozen=True, kw_only=True):
    """The owner paid into a house account."""

    account: Label
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class PromotionGranted(EventBase, tag="promotion_granted", frozen=True, kw_only=True):
    """A client was granted a reward."""

    client: ClientId
    asset: AssetId
    amount: Amount
    grant: GrantId


class TransferStarted(EventBase, tag="transfer_started", frozen=True, kw_only=True):
    """Funds left one wallet of a client for another; until they arrive they are held."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount
    source: ProductId
    target: ProductId


class TransferCompleted(EventBase, tag="transfer_completed", frozen=True, kw_only=True):
    """Funds under way arrived."""

    client: ClientId
    request: RequestId


class Borrowed(EventBase, tag="borrowed", frozen=True, kw_only=True):
    """A client was lent an asset."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount


class Repaid(EventBase, tag="repaid", frozen=True, kw_only=True):
    """A client paid debt back."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount


class InterestAccrued(EventBase, tag="interest_accrued", frozen=True, kw_only=True):
    """A period's interest was added to every debt in an asset; one entry for each client follows."""

    asset: AssetId
    period: int
    rate_ppm: int


class PriceReported(EventBase, tag="price_reported", frozen=True, kw_only=True):
    """A source's price was taken note of."""

    source: SourceId
    market: MarketId
    price_ticks: PriceTicks
    time_ms: Timestamp


class MarkChanged(EventBase, tag="mark_changed", frozen=True, kw_only=True):
    """A market's mark is another one, made from these sources; None is UNAVAILABLE."""

    market: MarketId
    mark_ticks: PriceTicks | None
    sources: tuple[SourceId, ...]


class PositionChanged(EventBase, tag="position_changed", frozen=True, kw_only=True):
    """A client's position in a perpetual, after the trade, payment or deleveraging that this answer tells of.

    `position_lots` is above zero for a long one. `entry_value` is what the open lots cost, in quote, with the sign of
    the position; what the account could not pay in cash is added to it.
    """

    client: ClientId
    market: MarketId
    position_lots: SizeLots
    entry_value: Amount


class FundingSettled(EventBase, tag="funding_settled", frozen=True, kw_only=True):
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


class LiquidationStepped(EventBase, tag="liquidation_stepped", frozen=True, kw_only=True):
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


class Deleveraged(EventBase, tag="deleveraged", frozen=True, kw_only=True):
    """A part of a bankrupt account's position was closed against a counterparty's, without an order of either.

    `score` is the counterparty's rank when it was chosen: the highest first, equals by client id.
    """

    market: MarketId
    client: ClientId
    counterparty: ClientId
    size_lots: SizeLots
    price_ticks: PriceTicks
    score: Amount


class ProductHalted(EventBase, tag="product_halted", frozen=True, kw_only=True):
    """A product is halted for its protection."""

    product: ProductId
    cause: Words


class ProductResumed(EventBase, tag="product_resumed", frozen=True, kw_only=True):
    """A halted product is one stage further open."""

    product: ProductId
    stage: Stage


class PhaseChanged(EventBase, tag="phase_changed", frozen=True, kw_only=True):
    """The venue is in another phase."""

    before: Phase
    after: Phase


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
    | CustodyEvent
    | OperationsEvent
)
Events = tuple[Event, ...]
