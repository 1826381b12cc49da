"""A snapshot: all that the replicated state machine holds, as one canonical value."""

from collections.abc import Mapping
from copy import copy
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from holdfast_engine.order import Order
from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    AssetStatus,
    Balance,
    ClientId,
    Custody,
    GrantId,
    Height,
    Hex,
    Liabilities,
    Mark,
    MarketId,
    PaymentIntent,
    PaymentStatus,
    Phase,
    Position,
    PriceTicks,
    ProductStage,
    ReleaseId,
    ReplicaId,
    RequestId,
    Sha256,
    SignerId,
    SourceId,
    Timestamp,
    TransactionId,
    Transfer,
    Withdrawal,
)
from holdfast_model.vocabulary.amounts import Label
from holdfast_model.vocabulary.wire import canonical


class Report(Struct, frozen=True, kw_only=True, gc=False):
    """The last price that a source reported for a market."""

    market: MarketId
    source: SourceId
    price_ticks: PriceTicks
    time_ms: Timestamp


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """An id that a client used for a transfer, loan or repayment."""

    client: ClientId
    request: RequestId


class Period(Struct, frozen=True, kw_only=True, gc=False):
    """The last period of interest or funding of an asset or market."""

    name: str
    period: int

    @staticmethod
    def of(periods: Mapping[str, int]) -> "tuple[Period, ...]":
        """The periods by name."""
        return tuple(Period(name=name, period=periods[name]) for name in sorted(periods))


class LastTrade(Struct, frozen=True, kw_only=True, gc=False):
    """The price of a market's last trade."""

    market: MarketId
    price_ticks: PriceTicks


class Rescaled(Struct, frozen=True, kw_only=True, gc=False):
    """When a market's tick amount last changed: prices as of that time or earlier were in other ticks."""

    market: MarketId
    time_ms: Timestamp


class DepositStatus(StrEnum):
    """Where a deposit stands on its chain and in the venue."""

    SEEN = "seen"
    FINAL = "final"
    """It is final and waits to be credited, because deposits of its asset are suspended."""
    CREDITED = "credited"
    ORPHANED = "orphaned"


class Deposit(Struct, frozen=True, kw_only=True, gc=False):
    """A deposit that a chain's provider reported.

    What was `entered` in the ledger or `credited` stays so, whatever its chain does afterwards.
    """

    asset: AssetId
    transaction: TransactionId
    client: ClientId
    amount: Amount
    height: Height
    status: DepositStatus = DepositStatus.SEEN
    entered: bool = False
    credited: bool = False


class Arrival(Struct, frozen=True, kw_only=True, gc=False):
    """A deposit that is final and waits to be credited."""

    asset: AssetId
    transaction: TransactionId


class Said(Struct, frozen=True, kw_only=True, gc=False):
    """A signer's commitment or share."""

    signer: SignerId
    said: Hex


class OutgoingPayment(Struct, frozen=True, kw_only=True, gc=False):
    """A payment out of custody: what was approved, how far its current attempt to sign it is, where it is included.

    `signers` are those who are asked for shares. What was once `settled` in the ledger stays so, whatever its chain
    does afterwards.
    """

    intent: PaymentIntent
    not_before_ms: Timestamp
    status: PaymentStatus = PaymentStatus.APPROVED
    attempt: int = 1
    commitments: tuple[Said, ...] = ()
    signers: tuple[SignerId, ...] = ()
    shares: tuple[Said, ...] = ()
    signature: Hex = ""
    transaction: str = ""
    height: Height = 0
    settled: bool = False

    @property
    def cost(self) -> int:
        """What leaves the tier: the amount and the chain's fee."""
        return self.intent.amount + self.intent.fee


class Attributed(Struct, frozen=True, kw_only=True, gc=False):
    """What the entries so far have added to an account in an asset, in all buckets together."""

    account: Label
    asset: AssetId
    amount: Amount


class Gap(Struct, frozen=True, kw_only=True, gc=False):
    """By how much more was found at a place than was expected, as the exchange told it (`MismatchFound`)."""

    place: Label
    asset: AssetId
    amount: Amount


class VenueState(Struct, frozen=True, kw_only=True, gc=False):
    """The venue's state.

    `resting` is in queue order, `waiting` in order of acceptance, `arrivals` as they came, all else sorted by id.
    Equal states are therefore equal bytes.
    """

    seq: int
    epoch: int
    primary: ReplicaId
    release: ReleaseId
    phase: Phase
    time_ms: Timestamp
    trades: int
    accepted: int
    last_trades: tuple[LastTrade, ...]
    balances: tuple[Balance, ...]
    resting: tuple[Order, ...]
    waiting: tuple[Order, ...]
    closed: tuple[Order, ...]
    deposits: tuple[TransactionId, ...]
    withdrawals: tuple[Withdrawal, ...]
    house_payments: tuple[TransactionId, ...]
    grants: tuple[GrantId, ...]
    reports: tuple[Report, ...]
    rescaled: tuple[Rescaled, ...]
    marks: tuple[Mark, ...]
    stages: tuple[ProductStage, ...]
    positions: tuple[Position, ...]
    transfers: tuple[Transfer, ...]
    requests: tuple[Request, ...]
    interest_periods: tuple[Period, ...]
    funding_periods: tuple[Period, ...]
    liquidations: int
    chains: tuple[AssetStatus, ...]
    tiers: tuple[Custody, ...]
    chain_deposits: tuple[Deposit, ...]
    arrivals: tuple[Arrival, ...]
    payments: tuple[OutgoingPayment, ...]
    nonces: tuple[str, ...]
    attributed: tuple[Attributed, ...]
    gaps: tuple[Gap, ...]
    liabilities: tuple[Liabilities, ...]
    announced_ms: Timestamp | None
    maintenance_seq: int
    activated_seq: int
    confirmed_seq: int
    reconciled_seq: int


def own(state: VenueState) -> VenueState:
    """The state with orders of its own, which are all that can change in it."""
    return replace(
        state,
        resting=tuple(map(copy, state.resting)),
        waiting=tuple(map(copy, state.waiting)),
        closed=tuple(map(copy, state.closed)),
    )


def state_sha256(state: VenueState) -> Sha256:
    """The hash by which replicas are compared."""
    return sha256(canonical(state)).hexdigest()
