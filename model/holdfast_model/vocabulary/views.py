"""What an exchange shows at a declared cut (a journal sequence number)."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.accounts import Bucket
from holdfast_model.vocabulary.amounts import (
    Amount,
    AssetId,
    ClientId,
    Label,
    MarketId,
    OrderId,
    PriceTicks,
    ProductId,
    RequestId,
    Sha256,
    SizeLots,
    Timestamp,
    WithdrawalId,
)
from holdfast_model.vocabulary.commands import Phase, Side, Stage, Trigger
from holdfast_model.vocabulary.custody import AssetStatus, Liabilities, Payment, PendingDeposit
from holdfast_model.vocabulary.operations import ReleaseId, ReplicaId, ReplicaStatus


class WithdrawalStatus(StrEnum):
    """Where a withdrawal stands; PAID and REFUNDED are terminal and exclude each other.

    Without custody a requested withdrawal is paid or refunded; with it, one that is SIGNED can only be paid.
    """

    REQUESTED = "requested"
    APPROVED = "approved"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    PAID = "paid"
    REFUNDED = "refunded"


class Balance(Struct, frozen=True, kw_only=True, gc=False):
    """The amount in one bucket of one account. Zero balances are left out of a view."""

    account: Label
    bucket: Bucket
    asset: AssetId
    amount: Amount


class OpenOrder(Struct, frozen=True, kw_only=True, gc=False):
    """An order in the book."""

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    price_ticks: PriceTicks
    size_lots: SizeLots
    left_lots: SizeLots


class WaitingStop(Struct, frozen=True, kw_only=True, gc=False):
    """A stop order that waits for its trigger."""

    client: ClientId
    order: OrderId
    market: MarketId
    side: Side
    price_ticks: PriceTicks | None
    size_lots: SizeLots
    trigger: Trigger


class Position(Struct, frozen=True, kw_only=True, gc=False):
    """A client's position in a perpetual; `entry_value` is what its lots cost, with the sign of the position.

    A position of no lots is shown while something is still owed for it.
    """

    client: ClientId
    market: MarketId
    position_lots: SizeLots
    entry_value: Amount


class Mark(Struct, frozen=True, kw_only=True, gc=False):
    """A market's mark; None is UNAVAILABLE."""

    market: MarketId
    mark_ticks: PriceTicks | None


class ProductStage(Struct, frozen=True, kw_only=True, gc=False):
    """How far a product is open."""

    product: ProductId
    stage: Stage


class Transfer(Struct, frozen=True, kw_only=True, gc=False):
    """A transfer that is under way."""

    client: ClientId
    request: RequestId
    asset: AssetId
    amount: Amount
    source: ProductId
    target: ProductId


class Withdrawal(Struct, frozen=True, kw_only=True, gc=False):
    """A withdrawal and where it stands."""

    client: ClientId
    withdrawal: WithdrawalId
    asset: AssetId
    amount: Amount
    status: WithdrawalStatus
    fee: Amount = Amount(0)
    destination: Label = ""


class Custody(Struct, frozen=True, kw_only=True, gc=False):
    """What a wallet really holds of an asset, as its chain shows it."""

    tier: Label
    asset: AssetId
    amount: Amount


class Replica(Struct, frozen=True, kw_only=True, gc=False):
    """A replica and how far it has come; `state_sha256` is over all that the replicated state machine holds.

    One that is down or paused shows no state, and `seq` is how far its log was when it was last heard of.
    """

    replica: ReplicaId
    seq: int
    state_sha256: Sha256 | None
    status: ReplicaStatus = ReplicaStatus.UP
    release: ReleaseId | None = None


class View(Struct, frozen=True, kw_only=True, gc=False):
    """The exchange at one cut.

    `seq` is the number of the last command in the journal (0 before the first). Orders stand in queue order: by
    market, bids before asks, best price first, oldest first. Waiting stops stand in the order in which they came, all
    else is sorted by its ids. What an engine has no capability for is empty, and is not checked.
    """

    seq: int
    phase: Phase = Phase.OPEN
    epoch: int = 1
    orders: tuple[OpenOrder, ...] = ()
    balances: tuple[Balance, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    custody: tuple[Custody, ...] = ()
    replicas: tuple[Replica, ...] = ()
    journal_sha256: Sha256 | None = None
    ingress_depth_max: int = 0
    time_ms: Timestamp = 0
    stops: tuple[WaitingStop, ...] = ()
    positions: tuple[Position, ...] = ()
    marks: tuple[Mark, ...] = ()
    stages: tuple[ProductStage, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    primary: ReplicaId | None = None
    release: ReleaseId | None = None
    deposits: tuple[PendingDeposit, ...] = ()
    payments: tuple[Payment, ...] = ()
    chains: tuple[AssetStatus, ...] = ()
    liabilities: tuple[Liabilities, ...] = ()
