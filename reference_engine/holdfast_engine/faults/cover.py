"""Faults of what margin accounts must bear: risk without margin, collateral without haircut, debtors spared."""

from msgspec.structs import replace

from holdfast_engine.book import MatchPlan
from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault
from holdfast_engine.order import Order
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Amount,
    Borrow,
    Capability,
    Collateral,
    PlaceOrder,
    PriceTicks,
    Reason,
    SizeLots,
    TransferMargin,
)

_MARGIN = frozenset({Capability.MARGIN})


class _AsksNoMarginForOrders(Venue):
    def margin_uncovered(self, command: PlaceOrder, plan: MatchPlan) -> Reason | None:  # noqa: ARG002 - the fault
        return None


class _AsksNoMarginForAmendments(Venue):
    def amendment_uncovered(self, order: Order, *, price: PriceTicks, left: SizeLots) -> Reason | None:
        if self.markets[order.market].perpetual is not None:
            return None
        return super().amendment_uncovered(order, price=price, left=left)


class _LetsCollateralGo(Venue):
    def transfer_risk(self, command: TransferMargin) -> Reason | None:  # noqa: ARG002 - the fault
        return None


class _LendsUnsecured(Venue):
    def loan_risk(self, command: Borrow) -> Reason | None:  # noqa: ARG002 - the fault
        return None


class _IgnoresHaircuts(Venue):
    def worth(self, item: Collateral, amount: Amount) -> Amount | None:
        return super().worth(replace(item, haircut_ppm=0), amount)


class _SparesTheBankrupt(Venue):
    def liquidatable(self, equity: int, maintenance: int) -> bool:
        return super().liquidatable(equity, maintenance) and equity > 0


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="order-without-margin",
        sentence="A new order in a perpetual is taken in whatever its account bears.",
        violates=("CONS-4",),
        needs=_MARGIN,
        parts=Parts(venue=_AsksNoMarginForOrders),
    ),
    Fault(
        name="amendment-without-margin",
        sentence="An order in a perpetual is amended to any size, whatever its account bears.",
        violates=("CONS-4",),
        needs=_MARGIN,
        parts=Parts(venue=_AsksNoMarginForAmendments),
    ),
    Fault(
        name="collateral-let-go",
        sentence="Collateral that an account's positions need is transferred out of it.",
        violates=("CONS-4",),
        needs=_MARGIN,
        parts=Parts(venue=_LetsCollateralGo),
    ),
    Fault(
        name="loan-unsecured",
        sentence="A loan is made whatever collateral there is for it.",
        violates=("CONS-4",),
        needs=_MARGIN,
        parts=Parts(venue=_LendsUnsecured),
    ),
    Fault(
        name="haircut-ignored",
        sentence="Collateral counts in full, without its haircut.",
        violates=("LIQ-1",),
        needs=_MARGIN,
        parts=Parts(venue=_IgnoresHaircuts),
    ),
    Fault(
        name="bankrupt-spared",
        sentence="An account that has nothing left is never liquidated.",
        violates=("LIQ-1",),
        needs=_MARGIN,
        parts=Parts(venue=_SparesTheBankrupt),
    ),
)
