"""What is asked of an exchange: frozen, imperative, one tagged union (the field `type` on the wire)."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.amounts import (
    Amount,
    AssetId,
    ClientId,
    MarketId,
    OrderId,
    PriceTicks,
    SizeLots,
    TransactionId,
    WithdrawalId,
)


class Side(StrEnum):
    """The side of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long an order may live (FIX tag 59: 1, 3, 4)."""

    GTC = "gtc"
    """Good till cancelled: what is not filled at once rests."""
    IOC = "ioc"
    """Immediate or cancel: what is not filled at once is cancelled."""
    FOK = "fok"
    """Fill or kill: all of it at once, or refused."""


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

    OPEN = "open"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"
    MAINTENANCE = "maintenance"


class _Command(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    pass


class PlaceOrder(_Command, tag="place_order", frozen=True, kw_only=True):
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


class CancelOrder(_Command, tag="cancel_order", frozen=True, kw_only=True):
    """Cancel what is left of an open order."""

    client: ClientId
    order: OrderId


class AmendOrder(_Command, tag="amend_order", frozen=True, kw_only=True):
    """Change an open order to a new total size (filled part included) and price.

    A smaller size at the same price keeps the place in the queue; anything else loses it.
    """

    client: ClientId
    order: OrderId
    size_lots: SizeLots
    price_ticks: PriceTicks


class CreditDeposit(_Command, tag="credit_deposit", frozen=True, kw_only=True):
    """Credit a deposit that became final on the asset's chain."""

    client: ClientId
    asset: AssetId
    amount: Amount
    transaction: TransactionId


class RequestWithdrawal(_Command, tag="request_withdrawal", frozen=True, kw_only=True):
    """Ask for a withdrawal; the amount is held until it is paid or refunded."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount


class PayWithdrawal(_Command, tag="pay_withdrawal", frozen=True, kw_only=True):
    """Pay a requested withdrawal out of the hot wallet."""

    client: ClientId
    withdrawal: WithdrawalId


class RefundWithdrawal(_Command, tag="refund_withdrawal", frozen=True, kw_only=True):
    """Give a requested withdrawal back to its owner: the same asset and amount."""

    client: ClientId
    withdrawal: WithdrawalId


class SetPhase(_Command, tag="set_phase", frozen=True, kw_only=True):
    """Move the venue to another phase (operator)."""

    phase: Phase


class PauseStandby(_Command, tag="pause_standby", frozen=True, kw_only=True):
    """Stop feeding the standby, so that it lags (operator)."""


class ResumeStandby(_Command, tag="resume_standby", frozen=True, kw_only=True):
    """Feed the standby again, with all that it missed (operator)."""


class PromoteStandby(_Command, tag="promote_standby", frozen=True, kw_only=True):
    """Make the standby the primary (operator); refused when it lacks an acknowledged command."""


TradingCommand = PlaceOrder | CancelOrder | AmendOrder
FundsCommand = CreditDeposit | RequestWithdrawal | PayWithdrawal | RefundWithdrawal
StandbyCommand = PauseStandby | ResumeStandby | PromoteStandby
OperatorCommand = SetPhase | PauseStandby | ResumeStandby | PromoteStandby
Command = (
    PlaceOrder
    | CancelOrder
    | AmendOrder
    | CreditDeposit
    | RequestWithdrawal
    | PayWithdrawal
    | RefundWithdrawal
    | SetPhase
    | PauseStandby
    | ResumeStandby
    | PromoteStandby
)
