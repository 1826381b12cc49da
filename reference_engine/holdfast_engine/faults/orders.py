"""Faults of what orders wait for and promise: triggers, links, time, bands, auctions, cancels of many."""

from msgspec.structs import replace

from holdfast_engine.auction import Uncross, uncross_price
from holdfast_engine.book import Book
from holdfast_engine.exchange import Parts
from holdfast_engine.faults.fault import Fault, UncheckedVenue
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    CancelAll,
    CancelReason,
    Capability,
    ClientId,
    Event,
    Market,
    MarketId,
    OrderCancelled,
    OrderRested,
    Phase,
    PlaceOrder,
    PriceTicks,
    Side,
    Trigger,
    TriggerWhen,
)
from holdfast_model.vocabulary.phases import may_follow


class _TriggersEarly(Venue):
    def trigger_level(self, trigger: Trigger) -> PriceTicks:
        sooner = -1 if trigger.when is TriggerWhen.AT_OR_ABOVE else 1
        return PriceTicks(trigger.price_ticks + sooner)


class _ForgetsStopsAtRestore(Venue):
    def rearm(self, order: Order) -> None:
        if order.status is not OrderStatus.WAITING:
            super().rearm(order)


class _ForgetsExpiryAtRestore(Venue):
    def rearm(self, order: Order) -> None:
        if order.status is OrderStatus.WAITING:
            self.arm(order)


class _ForgetsExpiryInMaintenance(Venue):
    def enter(self, phase: Phase) -> None:
        self._ending = self.phase is Phase.MAINTENANCE
        super().enter(phase)
        self._ending = False

    def expired(self) -> list[Order]:
        return [] if getattr(self, "_ending", False) else super().expired()


class _ExecutesBothOfAPair(Venue):
    def linked(self, order: Order) -> Order | None:  # noqa: ARG002 - the fault
        return None


class _LetsReduceOnlyIncrease(Venue):
    def reducible(self, order: PlaceOrder | Order) -> int:
        return order.size_lots


class _KnowsNoBand(Venue):
    def within_band(self, market: Market, price: PriceTicks) -> bool:  # noqa: ARG002 - the fault
        return True


class _ProtectsNoMarketOrder(Venue):
    def protected(self, order: PlaceOrder | Order) -> PriceTicks | None:  # noqa: ARG002 - the fault
        return None


class _OpensWithoutAnAuction(Venue):
    def may_enter(self, phase: Phase) -> bool:
        return may_follow(self.phase, phase, auctions=False) and self.uncrossing_allows(phase)


class _OpensWithoutUncrossing(UncheckedVenue):
    def end_auction(self) -> None:
        """The orders that gathered stay where they are."""


class _OpensWithACrossedBook(UncheckedVenue):
    def uncrossing_allows(self, phase: Phase) -> bool:  # noqa: ARG002 - the fault
        return True


class _UncrossesAtTheBestBid(Venue):
    def uncross_at(self, market: MarketId) -> Uncross | None:
        bids, asks = (self.books[market].lots_by_price(side) for side in (Side.BUY, Side.SELL))
        return uncross_price(bids, asks, max(bids, default=None))


class _UncrossesTheNewestFirst(Venue):
    def uncross_queue(self, book: Book, side: Side) -> list[Order]:
        newest_first = sorted(super().uncross_queue(book, side), key=lambda order: -order.accepted)
        return sorted(newest_first, key=lambda order: order.price_ticks or 0, reverse=side is Side.BUY)


class _OmitsACancel(Venue):
    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, OrderCancelled) and event.reason is CancelReason.SELF_TRADE:
            self._events.remove(event)


class _TellsTheWholeSize(Venue):
    def emit(self, event: Event) -> None:
        if isinstance(event, OrderRested):
            event = replace(event, left_lots=self.orders[event.client, event.order].size_lots)
        super().emit(event)


class _CancelsAllButOne(Venue):
    def cancelled_together(self, command: CancelAll) -> list[Order]:
        return super().cancelled_together(command)[:-1]


class _IgnoresDisconnects(Venue):
    def cancelled_by_disconnect(self, client: ClientId) -> list[Order]:  # noqa: ARG002 - the fault
        return []


FAULTS = (
    Fault(
        name="stop-triggered-early",
        sentence="A stop order is triggered one tick before its price is reached.",
        violates=("PRIO-2",),
        parts=Parts(venue=_TriggersEarly),
    ),
    Fault(
        name="stop-forgotten-at-restore",
        sentence="After a restore from a snapshot the stop orders that wait in it are never triggered.",
        violates=("PRIO-2",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=_ForgetsStopsAtRestore),
    ),
    Fault(
        name="good-till-time-outlives-restart",
        sentence="After a restore from a snapshot orders trade on past their time.",
        violates=("PRIO-2",),
        parts=Parts(venue=_ForgetsExpiryAtRestore),
    ),
    Fault(
        name="good-till-time-outlives-maintenance",
        sentence="Orders whose time was up during maintenance are still there after it.",
        violates=("PRIO-2",),
        parts=Parts(venue=_ForgetsExpiryInMaintenance),
    ),
    Fault(
        name="one-cancels-other-executes-both",
        sentence="Of two linked orders one trades and the other stays.",
        violates=("PRIO-2",),
        parts=Parts(venue=_ExecutesBothOfAPair),
    ),
    Fault(
        name="reduce-only-flips-position",
        sentence="A reduce-only order trades on after there is nothing left to reduce.",
        violates=("PRIO-2",),
        parts=Parts(venue=_LetsReduceOnlyIncrease),
    ),
    Fault(
        name="price-band-ignored",
        sentence="A limit price far from the last trade is taken in.",
        violates=("PRIO-2",),
        needs=frozenset({Capability.PRICE_BANDS}),
        parts=Parts(venue=_KnowsNoBand),
    ),
    Fault(
        name="market-order-unprotected",
        sentence="A market order trades at any price.",
        violates=("PRIO-2",),
        incidents=("gdax-2017-06-21",),
        needs=frozenset({Capability.PRICE_BANDS}),
        parts=Parts(venue=_ProtectsNoMarketOrder),
    ),
    Fault(
        name="auction-skipped-at-open",
        sentence="Trading opens without the auction that it opens through.",
        violates=("PHASE-2",),
        incidents=("nyse-2023-01-24",),
        parts=Parts(venue=_OpensWithoutAnAuction),
    ),
    Fault(
        name="auction-never-uncrossed",
        sentence="An auction ends without being uncrossed.",
        violates=("PHASE-2", "PRIO-1"),
        incidents=("euronext-2020-10-19",),
        parts=Parts(venue=_OpensWithoutUncrossing),
    ),
    Fault(
        name="opened-with-a-crossed-book",
        sentence="After an auction was called off the venue goes on with a crossed book.",
        violates=("PHASE-2",),
        parts=Parts(venue=_OpensWithACrossedBook),
    ),
    Fault(
        name="uncrossed-at-the-wrong-price",
        sentence="Of the prices with the most volume an auction ends at the one nearest to the best bid.",
        violates=("PRIO-1",),
        parts=Parts(venue=_UncrossesAtTheBestBid),
    ),
    Fault(
        name="uncrossed-newest-first",
        sentence="Of the orders at one price an auction serves the newest first.",
        violates=("PRIO-1",),
        parts=Parts(venue=_UncrossesTheNewestFirst),
    ),
    Fault(
        name="feed-omits-a-cancel",
        sentence="An order that self-trade prevention cancels leaves the book without a word.",
        violates=("SEQ-1",),
        parts=Parts(venue=_OmitsACancel),
    ),
    Fault(
        name="feed-tells-the-wrong-size",
        sentence="The feed tells the whole size of an order that comes to rest after a part of it traded.",
        violates=("SEQ-1",),
        incidents=("asx-2020-11-16",),
        parts=Parts(venue=_TellsTheWholeSize),
    ),
    Fault(
        name="cancel-all-misses-one",
        sentence="Of all orders of a client that are to be cancelled the last one stays.",
        violates=("PRIO-2",),
        parts=Parts(venue=_CancelsAllButOne),
    ),
    Fault(
        name="disconnect-ignored",
        sentence="The orders of a client whose session is lost stay although it asked for their cancellation.",
        violates=("PRIO-2",),
        parts=Parts(venue=_IgnoresDisconnects),
    ),
)
