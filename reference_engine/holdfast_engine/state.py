"""A snapshot: all that the replicated state machine holds, as one canonical value."""

from collections.abc import Mapping
from hashlib import sha256

from msgspec import Struct

from holdfast_engine.order import Order
from holdfast_model.vocabulary import (
    Balance,
    ClientId,
    GrantId,
    Mark,
    MarketId,
    Phase,
    Position,
    PriceTicks,
    ProductStage,
    ReleaseId,
    ReplicaId,
    RequestId,
    Sha256,
    SourceId,
    Timestamp,
    TransactionId,
    Transfer,
    Withdrawal,
)
from holdfast_model.vocabulary.wire import canonical


class Report(Struct, frozen=True, kw_only=True):
    """The last price that a source reported for a market."""

    market: MarketId
    source: SourceId
    price_ticks: PriceTicks
    time_ms: Timestamp


class Request(Struct, frozen=True, kw_only=True):
    """An id that a client used for a transfer, loan or repayment."""

    client: ClientId
    request: RequestId


class Period(Struct, frozen=True, kw_only=True):
    """The last period of interest or funding of an asset or market."""

    name: str
    period: int

    @staticmethod
    def of(periods: Mapping[str, int]) -> "tuple[Period, ...]":
        """The periods by name."""
        return tuple(Period(name=name, period=periods[name]) for name in sorted(periods))


class LastTrade(Struct, frozen=True, kw_only=True):
    """The price of a market's last trade."""

    market: MarketId
    price_ticks: PriceTicks


class Rescaled(Struct, frozen=True, kw_only=True):
    """When a market's tick amount last changed: prices as of that time or earlier were in other ticks."""

    market: MarketId
    time_ms: Timestamp


class VenueState(Struct, frozen=True, kw_only=True):
    """The venue's state. `resting` is in queue order, `waiting` in order of acceptance, all else sorted by id.

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
    announced_ms: Timestamp | None
    maintenance_seq: int
    activated_seq: int
    confirmed_seq: int
    reconciled_seq: int


def state_sha256(state: VenueState) -> Sha256:
    """The hash by which replicas are compared."""
    return sha256(canonical(state)).hexdigest()
