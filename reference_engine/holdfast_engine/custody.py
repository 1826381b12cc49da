"""The wallets of custody: outside parties, with a durable store of their own, which no restore touches."""

from collections.abc import Sequence

from msgspec import Struct

from holdfast_engine.storage import Storage
from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    Amount,
    AssetId,
    Custody,
    CustodyRules,
    DepositCredited,
    DepositFinalised,
    Event,
    HouseFunded,
    MismatchFound,
    PaymentBroadcast,
    ShortfallCovered,
    SweepCompleted,
    TierId,
    WithdrawalPaid,
)
from holdfast_model.vocabulary.wire import canonical, from_canonical

LOG = "wallet"
HOT = "hot"
"""The one tier of an exchange without custody."""

MOVING = (
    DepositCredited,
    DepositFinalised,
    HouseFunded,
    MismatchFound,
    PaymentBroadcast,
    ShortfallCovered,
    SweepCompleted,
    WithdrawalPaid,
)
"""The events that tell of something that comes into a wallet or leaves it, and out of which one it will."""

_MOVING: frozenset[type] = frozenset(MOVING)


class Movement(Struct, frozen=True, kw_only=True, gc=False):
    """Something that came into a tier's wallet (positive) or left it (negative), once per key."""

    key: str
    asset: AssetId
    amount: Amount
    tier: TierId = HOT


class Wallets:
    """What the exchange really holds on each chain, by tier. Every movement happens once, however often it is told.

    They follow the venue's acknowledged decisions: a final deposit is in the first one, a paid withdrawal has left
    its own. Without custody there is one wallet, and a deposit is final when it is credited.
    """

    def __init__(self, storage: Storage, custody: CustodyRules | None) -> None:
        self._storage = storage
        self._tiers = (HOT,) if custody is None else tuple(rule.tier for rule in custody.tiers)
        self._without_custody = custody is None
        self._payer_of: dict[str, TierId] = {}
        self._moved: dict[str, Movement] = {}
        self._amounts: dict[tuple[TierId, AssetId], int] = {}
        for line in storage.lines(LOG):
            self._apply(from_canonical(line, Movement))

    def follow(self, events: Sequence[Event], *, seq: int) -> None:
        """Carry out the movements that a record's events tell of; those carried out before are skipped."""
        if _MOVING.isdisjoint(map(type, events)):
            return
        for place, event in enumerate(events):
            if event.__class__ in _MOVING:
                self._carry_out(event, f"{seq}/{place}")

    def _carry_out(self, event: Event, told_at: str) -> None:
        first = self._tiers[0]
        match event:
            case DepositCredited() if self._without_custody:
                self._move(f"deposit {event.transaction}", first, event.asset, event.amount)
            case DepositFinalised():
                self._move(f"deposit {event.asset} {event.transaction}", first, event.asset, event.amount)
            case HouseFunded():
                self._move(f"house {event.transaction}", first, event.asset, event.amount)
            case ShortfallCovered():
                self._move(f"cover {event.transaction}", first, event.asset, event.amount)
            case PaymentBroadcast():
                self._payer_of[event.intent.payment] = event.intent.tier
            case WithdrawalPaid():
                key = f"{event.client}/{event.withdrawal}"
                paid = event.amount + event.fee
                self._move(f"withdrawal {key}", self._payer_of.get(key, first), event.asset, -paid)
            case SweepCompleted():
                key = f"{SWEEP_PREFIX}{event.sweep}"
                self._move(f"{key} out", event.source, event.asset, -event.amount - event.fee)
                self._move(f"{key} in", event.target, event.asset, event.amount)
            case MismatchFound():
                if event.place in self._tiers:
                    self._move(f"mismatch {told_at}", event.place, event.asset, event.found - event.expected)
            case _:
                pass

    def custody(self) -> tuple[Custody, ...]:
        """What is in the wallets, by tier and asset; nothing for an asset that a tier has none of."""
        return tuple(
            Custody(tier=tier, asset=asset, amount=Amount(amount))
            for (tier, asset), amount in sorted(self._amounts.items())
            if amount
        )

    def _move(self, key: str, tier: TierId, asset: AssetId, amount: int) -> None:
        if key in self._moved:
            return
        movement = Movement(key=key, asset=asset, amount=Amount(amount), tier=tier)
        self._storage.append(LOG, canonical(movement))
        self._apply(movement)

    def _apply(self, movement: Movement) -> None:
        self._moved[movement.key] = movement
        place = movement.tier, movement.asset
        self._amounts[place] = self._amounts.get(place, 0) + movement.amount
