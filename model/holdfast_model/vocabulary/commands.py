"""What is asked of an exchange: frozen, imperative, one tagged union (the field `type` on the wire)."""

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
from holdfast_model.vocabulary.custody import ChainCommand, CustodyCommand, SignerCommand
from holdfast_model.vocabulary.operations import ProcedureCommand, ReadAccount, ReplicaCommand
from holdfast_model.vocabulary.tagged import CommandBase


class Side(StrEnum):
    """The side of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long an order may live (FIX tag 59: 1, 3, 4, 6)."""

    GTC = "gtc"
    """Good till cancelled: what is not filled at once rests."""
    IOC = "ioc"
    """Immediate or cancel: what is not filled at once is cancelled."""
    FOK = "fok"
    """Fill or kill: all of it at once, or refused."""
    GTT = "gtt"
    """Good till time: as GTC, and cancelled once the venue's time reaches `Conditions.expires_ms`."""


class SelfTrade(StrEnum):
    """What happens when a taker meets an order of its own client; the taker's mode decides."""

    CANCEL_NEWEST = "cancel_newest"
    """What is left of the taker is cancelled."""
    CANCEL_OLDEST = "cancel_oldest"
    """The resting order is cancelled and matching goes on."""
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"
    """Both are reduced by the smaller of the two; one of nothing left is cancelled."""


class Phase(StrEnum):
    """The trading phase of the venue; `holdfast_model.vocabulary.phases` says what is legal in each."""

    CLOSED = "closed"
    AUCTION = "auction"
    OPEN = "open"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"
    MAINTENANCE = "maintenance"


class Stage(StrEnum):
    """How far a product is open again after a protective halt; each stage is followed by the next, or by HALTED."""

    HALTED = "halted"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY = "post_only"
    OPEN = "open"


class TriggerBy(StrEnum):
    """Which price triggers a stop order (FIX tag 1107: 2 last trade; the mark is its settlement kin)."""

    LAST = "last"
    MARK = "mark"


class TriggerWhen(StrEnum):
    """On which side of the trigger price a stop order is triggered (FIX tag 1109)."""

    AT_OR_ABOVE = "at_or_above"
    AT_OR_BELOW = "at_or_below"


class Trigger(Struct, frozen=True, kw_only=True, gc=False):
    """What turns a stop order into an ordinary one: a market order without a limit price, a limit order with one."""

    by: TriggerBy = TriggerBy.LAST
    when: TriggerWhen
    price_ticks: PriceTicks


class Conditions(Struct, frozen=True, kw_only=True, gc=False):
    """What few orders have.

    `one_cancels_other` names an open order of the same client and market: a limit order and a stop order so linked
    end each other. A `reduce_only` order never makes a position larger.
    """

    trigger: Trigger | None = None
    reduce_only: bool = False
    expires_ms: Timestamp | None = None
    one_cancels_other: OrderId | None = None
    cancel_on_disconnect: bool = False


class PlaceOrder(CommandBase, tag="place_order", frozen=True, kw_only=True):
    """Place an order; without a price it is a market order, which never rests."""

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    size_lots: SizeLots
    price_ticks: PriceTicks | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    conditions: Conditions | None = None


class CancelOrder(CommandBase, tag="cancel_order", frozen=True, kw_only=True):
    """Cancel what is left of an open order."""

    client: ClientId
    order: OrderId


class AmendOrder(CommandBase, tag="amend_order", frozen=True, kw_only=True):
    """Change an open order to a new total size (filled part included) and price.

    A smaller size at the same price keeps the place in the queue; anything else loses it.
    """

    client: ClientId
    order: OrderId
    size_lots: SizeLots
    price_ticks: PriceTicks


class CancelAll(CommandBase, tag="cancel_all", frozen=True, kw_only=True):
    """Cancel all open orders of a client, waiting stops included, in one market or in all."""

    client: ClientId
    market: MarketId | None = None


class DisconnectClient(CommandBase, tag="disconnect_client", frozen=True, kw_only=True):
    """A client's session was lost: its orders with `cancel_on_disconnect` are cancelled (operator)."""

    client: ClientId


class AdvanceTime(CommandBase, tag="advance_time", frozen=True, kw_only=True):
    """The time is now `time_ms`: orders expire, prices grow old (operator)."""

    time_ms: Timestamp


class CreditDeposit(CommandBase, tag="credit_deposit", frozen=True, kw_only=True):
    """Credit a deposit that became final on the asset's chain."""

    client: ClientId
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class RequestWithdrawal(CommandBase, tag="request_withdrawal", frozen=True, kw_only=True):
    """Ask for a withdrawal; the amount, and with custody the chain's fee, is held until it is paid or refunded."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount
    destination: Label = ""


class PayWithdrawal(CommandBase, tag="pay_withdrawal", frozen=True, kw_only=True):
    """Pay a requested withdrawal out of the hot wallet."""

    client: ClientId
    withdrawal: WithdrawalId


class RefundWithdrawal(CommandBase, tag="refund_withdrawal", frozen=True, kw_only=True):
    """Give a requested withdrawal back to its owner: the same asset and amount."""

    client: ClientId
    withdrawal: WithdrawalId


class SetPhase(CommandBase, tag="set_phase", frozen=True, kw_only=True):
    """Move the venue to another phase (operator)."""

    phase: Phase


class ReportPrice(CommandBase, tag="report_price", frozen=True, kw_only=True):
    """A source reports a price of a market's underlying, as of `time_ms` (operator)."""

    source: SourceId
    market: MarketId
    price_ticks: PriceTicks
    time_ms: Timestamp


class TransferMargin(CommandBase, tag="transfer_margin", frozen=True, kw_only=True):
    """Move funds of a client between its spot wallet (`spot`) and the margin accounts of its products."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount
    source: ProductId
    target: ProductId


class Borrow(CommandBase, tag="borrow", frozen=True, kw_only=True):
    """Lend a client an asset out of the funded pool, secured by its cross-margin account."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount


class Repay(CommandBase, tag="repay", frozen=True, kw_only=True):
    """Pay back debt out of the client's free balance."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount


class AccrueInterest(CommandBase, tag="accrue_interest", frozen=True, kw_only=True):
    """Add one period's interest to every debt in an asset; periods count up from 1 for each asset (operator)."""

    asset: AssetId
    period: int
    rate_ppm: int


class SettleFunding(CommandBase, tag="settle_funding", frozen=True, kw_only=True):
    """Exchange one period's funding between longs and shorts; periods count up from 1 for each market (operator).

    With a positive rate longs pay shorts, with a negative one shorts pay longs.
    """

    market: MarketId
    period: int
    rate_ppm: int


class Liquidate(CommandBase, tag="liquidate", frozen=True, kw_only=True):
    """Take the next step in the liquidation of a margin account (operator: the risk process)."""

    client: ClientId
    product: ProductId


class HaltProduct(CommandBase, tag="halt_product", frozen=True, kw_only=True):
    """Halt one product for its protection; orders stay, nobody in it is liquidated (operator)."""

    product: ProductId
    cause: Words


class ResumeStage(CommandBase, tag="resume_stage", frozen=True, kw_only=True):
    """Open a halted product one stage further (operator)."""

    product: ProductId
    stage: Stage


class FundHouse(CommandBase, tag="fund_house", frozen=True, kw_only=True):
    """The owner of the exchange pays into one of its house accounts from outside (operator)."""

    account: Label
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class GrantPromotion(CommandBase, tag="grant_promotion", frozen=True, kw_only=True):
    """Pay a client a reward out of the promotions account, within its limit (operator)."""

    client: ClientId
    asset: AssetId
    amount: Amount
    grant: GrantId


TradingCommand = PlaceOrder | CancelOrder | AmendOrder | CancelAll
FundsCommand = CreditDeposit | RequestWithdrawal | PayWithdrawal | RefundWithdrawal
MarginCommand = TransferMargin | Borrow | Repay
RiskCommand = ReportPrice | AccrueInterest | SettleFunding | Liquidate | HaltProduct | ResumeStage
HouseCommand = FundHouse | GrantPromotion
OperatorCommand = (
    SetPhase
    | AdvanceTime
    | DisconnectClient
    | ReportPrice
    | AccrueInterest
    | SettleFunding
    | Liquidate
    | HaltProduct
    | ResumeStage
    | FundHouse
    | GrantPromotion
    | ChainCommand
    | SignerCommand
    | CustodyCommand
    | ReplicaCommand
    | ProcedureCommand
)
Command = (
    PlaceOrder
    | CancelOrder
    | AmendOrder
    | CancelAll
    | DisconnectClient
    | AdvanceTime
    | CreditDeposit
    | RequestWithdrawal
    | PayWithdrawal
    | RefundWithdrawal
    | ReportPrice
    | TransferMargin
    | Borrow
    | Repay
    | AccrueInterest
    | SettleFunding
    | Liquidate
    | HaltProduct
    | ResumeStage
    | FundHouse
    | GrantPromotion
    | SetPhase
    | ChainCommand
    | SignerCommand
    | CustodyCommand
    | ReplicaCommand
    | ProcedureCommand
    | ReadAccount
)
