"""Documented behaviours of other exchanges that legitimately differ from the reference's.

An adapter declares a convention with the place in its engine's documentation; a comparison then runs the reference
with the convention built in. Each is one small class, as a fault is, but for the opposite purpose.
"""

from collections.abc import Iterable

from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import UncheckedVenue
from holdfast_engine.order import Order
from holdfast_engine.venue import Venue
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import AmendOrder, Amount, AssetId, ClientId


class _AmendLosesPriority(Venue):
    """Every amended order goes to the back of the queue."""

    def keeps_priority(self, order: Order, command: AmendOrder) -> bool:
        del order, command
        return False


class _AmendResetsSelfTradePrevention(Venue):
    """An amended order that crosses may trade with its own client's orders."""

    def amended_taker(self, order: Order) -> ClientId | None:
        del order
        return None


class _KeepsNoAccounts(UncheckedVenue):
    """An engine without balances lets everybody trade."""

    def covers(self, client: ClientId, asset: AssetId, amount: Amount) -> bool:
        del client, asset, amount
        return True


CONVENTIONS: dict[str, type[Venue]] = {
    "amend-loses-priority": _AmendLosesPriority,
    "amend-resets-self-trade-prevention": _AmendResetsSelfTradePrevention,
}


def parts_with(conventions: Iterable[str], *, funds: bool) -> Parts:
    """The reference with these conventions built in, and without `funds` for an engine that has no balances.

    Raises `HoldfastError` on a convention that there is not.
    """
    names = sorted(set(conventions))
    unknown = [name for name in names if name not in CONVENTIONS]
    if unknown:
        raise HoldfastError(
            f"the engine declares the convention {unknown[0]!r}; there are: {', '.join(sorted(CONVENTIONS))}"
        )
    bases = [CONVENTIONS[name] for name in names] + ([] if funds else [_KeepsNoAccounts])
    return Parts(venue=type("ConventionalVenue", tuple(bases), {})) if bases else Parts()
