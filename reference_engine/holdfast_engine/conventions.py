"""Documented behaviours of other exchanges that legitimately differ from the reference's.

An adapter declares a convention with the place in its engine's documentation; a comparison then runs the reference
with the convention built in. Each is one small class, as a fault is, but for the opposite purpose.
"""

from collections.abc import Iterable

from holdfast_engine.exchange import Parts
from holdfast_engine.order import Order
from holdfast_engine.venue import Venue
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import AmendOrder, ClientId


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


CONVENTIONS: dict[str, type[Venue]] = {
    "amend-loses-priority": _AmendLosesPriority,
    "amend-resets-self-trade-prevention": _AmendResetsSelfTradePrevention,
}


def parts_with(conventions: Iterable[str]) -> Parts:
    """The reference with these conventions built in. Raises `HoldfastError` on a name that is none."""
    names = sorted(set(conventions))
    unknown = [name for name in names if name not in CONVENTIONS]
    if unknown:
        raise HoldfastError(
            f"the engine declares the convention {unknown[0]!r}; there are: {', '.join(sorted(CONVENTIONS))}"
        )
    if not names:
        return Parts()
    return Parts(venue=type("ConventionalVenue", tuple(CONVENTIONS[name] for name in names), {}))
