"""The hot wallet: an outside party. It keeps its own durable store, which no restore of the venue touches."""

from collections.abc import Iterable

from msgspec import Struct

from holdfast_engine.storage import Storage
from holdfast_model.vocabulary import Amount, AssetId, Custody, DepositCredited, Event, HouseFunded, WithdrawalPaid
from holdfast_model.vocabulary.wire import canonical, from_canonical

LOG = "wallet"

MOVING = (DepositCredited, HouseFunded, WithdrawalPaid)
"""The events that tell of something that comes into the wallet or leaves it."""

_MOVING: frozenset[type] = frozenset(MOVING)


class Movement(Struct, frozen=True, kw_only=True):
    """Something that came into the wallet (positive) or left it (negative), once per key."""

    key: str
    asset: AssetId
    amount: Amount


class HotWallet:
    """What the exchange really holds on each chain. Every movement has a key, and happens once however often told.

    It follows the venue's acknowledged decisions: a final deposit is in it, a paid withdrawal has left it.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._moved: dict[str, Movement] = {}
        self._amounts: dict[AssetId, int] = {}
        for line in storage.lines(LOG):
            self._apply(from_canonical(line, Movement))

    def follow(self, events: Iterable[Event]) -> None:
        """Carry out the movements that events tell of; those carried out before are skipped."""
        for event in events:
            if event.__class__ in _MOVING:
                self._carry_out(event)

    def _carry_out(self, event: Event) -> None:
        match event:
            case DepositCredited():
                self._move(f"deposit {event.transaction}", event.asset, event.amount)
            case HouseFunded():
                self._move(f"house {event.transaction}", event.asset, event.amount)
            case WithdrawalPaid():
                self._move(f"withdrawal {event.client}/{event.withdrawal}", event.asset, Amount(-event.amount))
            case _:
                pass

    def custody(self) -> tuple[Custody, ...]:
        """What is in the wallet, by asset; nothing for an asset it has none of."""
        return tuple(
            Custody(tier="hot", asset=asset, amount=Amount(amount))
            for asset, amount in sorted(self._amounts.items())
            if amount
        )

    def _move(self, key: str, asset: AssetId, amount: Amount) -> None:
        if key in self._moved:
            return
        movement = Movement(key=key, asset=asset, amount=amount)
        self._storage.append(LOG, canonical(movement))
        self._apply(movement)

    def _apply(self, movement: Movement) -> None:
        self._moved[movement.key] = movement
        self._amounts[movement.asset] = self._amounts.get(movement.asset, 0) + movement.amount
