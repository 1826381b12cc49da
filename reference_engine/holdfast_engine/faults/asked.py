"""Faults of what an order asks for and what is held for it: taken in otherwise, amended otherwise, held wrongly."""

from msgspec.structs import replace

from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.order import Order
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import AmendOrder, Amount, CauseKind, PlaceOrder, PriceTicks, SizeLots


class _ForgetsPostOnly(Venue):
    def _accept(self, command: PlaceOrder) -> Order:
        return super()._accept(replace(command, post_only=False))


class _AmendsWhatIsLeft(Venue):
    def _decide_amend(self, command: AmendOrder) -> None:
        order = self.orders.get((command.client, command.order))
        filled = order.filled_lots if order is not None else 0
        super()._decide_amend(replace(command, size_lots=SizeLots(command.size_lots + filled)))


class _AmendsWithoutRelease(Venue):
    def _move_hold(self, order: Order, before: Amount, kind: CauseKind) -> None:
        if kind is CauseKind.ORDER_RELEASE or self.hold(order) > before:
            super()._move_hold(order, before, kind)


class _RoundsHoldsAnew(UncheckedVenue):
    def hold_for(self, order: PlaceOrder | Order, price: PriceTicks, left: SizeLots, fee_numerator: int) -> Amount:  # noqa: ARG002 - the fault
        return super().hold_for(order, price, left, fee_numerator=0)


FAULTS = (
    Fault(
        name="post-only-forgotten",
        sentence="Post-only is looked at when an order comes in and not kept with it: once amended, the order takes.",
        violates=("CONS-4",),
        parts=Parts(venue=_ForgetsPostOnly),
    ),
    Fault(
        name="amendment-of-what-is-left",
        sentence="The size that an amendment asks for is taken for what is left, on top of what has traded.",
        violates=("CONS-4",),
        parts=Parts(venue=_AmendsWhatIsLeft),
    ),
    Fault(
        name="amendment-releases-nothing",
        sentence="An order amended to need less goes on holding as much, and the rest is held beyond its end.",
        violates=("CONS-4",),
        parts=Parts(venue=_AmendsWithoutRelease),
    ),
    Fault(
        name="hold-rounded-anew",
        sentence="What is held for the rest of an order is rounded as if it had paid no fee yet.",
        violates=("CONS-4",),
        parts=Parts(venue=_RoundsHoldsAnew),
    ),
)
