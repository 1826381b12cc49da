"""A snapshot: all that the replicated state machine holds, as one canonical value."""

from hashlib import sha256

from msgspec import Struct

from holdfast_engine.order import Order
from holdfast_model.vocabulary import Balance, Phase, Sha256, TransactionId, Withdrawal
from holdfast_model.vocabulary.wire import encode


class VenueState(Struct, frozen=True, kw_only=True):
    """The venue's state. `resting` is in queue order, all else sorted by id, so that equal states are equal bytes."""

    seq: int
    epoch: int
    phase: Phase
    trades: int
    balances: tuple[Balance, ...]
    resting: tuple[Order, ...]
    closed: tuple[Order, ...]
    deposits: tuple[TransactionId, ...]
    withdrawals: tuple[Withdrawal, ...]


def state_sha256(state: VenueState) -> Sha256:
    """The hash by which replicas are compared."""
    return sha256(encode(state)).hexdigest()
