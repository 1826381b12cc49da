"""Faults of restoring, maintenance, surge and the journal."""

from collections.abc import Sequence

from msgspec.structs import replace

from holdfast_engine.book import Book
from holdfast_engine.exchange import Parts, Recovery
from holdfast_engine.faults.fault import Fault, OverwritingJournal, UncheckedVenue
from holdfast_engine.ingress import Admission, Ingress
from holdfast_engine.journal import Journal
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.state import VenueState
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Command,
    EntryPosted,
    Events,
    JournalRecord,
    PayWithdrawal,
    Phase,
    PhaseChanged,
    ReadAccount,
    Sha256,
    Side,
    SizeLots,
    Timestamp,
)
from holdfast_model.vocabulary.chain import GENESIS, JournalBody, seal


class _DropsTheTail(Recovery):
    def tail(self, records: Sequence[JournalRecord], *, after_seq: int) -> Sequence[JournalRecord]:
        return records[after_seq:0]


class _DropsTheLastRecord(Recovery):
    def tail(self, records: Sequence[JournalRecord], *, after_seq: int) -> Sequence[JournalRecord]:
        return super().tail(records, after_seq=after_seq)[:-1]


class _PostsTwice(Recovery):
    def replay(self, venue: Venue, record: JournalRecord) -> None:
        super().replay(venue, record)
        for event in record.events:
            if isinstance(event, EntryPosted):
                venue.ledger.post(event)


class _SortsTheQueue(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, resting=tuple(reversed(snapshot.resting)))


class _ForgetsUsedIds(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(snapshot, closed=())


class _ReopensFilledOrders(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        reopened = tuple(
            replace(order, status=OrderStatus.RESTING, filled_lots=SizeLots(0), left_lots=order.size_lots)
            for order in snapshot.closed
            if order.status is OrderStatus.FILLED and order.price_ticks is not None
        )
        keys = {order.key for order in reopened}
        return replace(
            snapshot,
            resting=snapshot.resting + reopened,
            closed=tuple(order for order in snapshot.closed if order.key not in keys),
        )


class _ForgetsFills(Recovery):
    def snapshot(self, snapshot: VenueState) -> VenueState:
        return replace(
            snapshot,
            resting=tuple(
                replace(order, filled_lots=SizeLots(0), left_lots=order.size_lots) for order in snapshot.resting
            ),
        )


class _PaysInMaintenance(Venue):
    def phase_allows(self, command: Command) -> bool:
        return (self.phase is Phase.MAINTENANCE and isinstance(command, PayWithdrawal)) or super().phase_allows(
            command
        )


class _LosesAnOrderInMaintenance(Venue):
    def _on_phase_changed(self, event: PhaseChanged) -> None:
        super()._on_phase_changed(event)
        if event.after is Phase.MAINTENANCE:
            for book in self.books.values():
                self._lose_first(book)

    def _lose_first(self, book: Book) -> None:
        for side in Side:
            order: Order | None = next(book.orders(side), None)
            if order is not None:
                self._leave_book(order)
                order.status = OrderStatus.CANCELLED
                order.left_lots = SizeLots(0)


class _TakesInWhatItSheds(Ingress):
    def admit(self, commands: Sequence[Command], time_ms: Timestamp = 0) -> Admission:
        admission = super().admit(commands, time_ms)
        return Admission((*admission.admitted, *admission.shed), admission.shed, admission.limited)


class _TakesInEverything(Ingress):
    def within(self, ranked: list[int]) -> list[int]:
        return ranked


class _ServesInOrderOfArrival(Ingress):
    def rank(self, command: Command) -> int:  # noqa: ARG002 - the fault
        return 0


class _ShedsSilently(Ingress):
    def refusal(self, command: Command) -> Events:  # noqa: ARG002 - the fault
        return ()


class _ServesReadsFirst(Ingress):
    def rank(self, command: Command) -> int:
        return 0 if isinstance(command, ReadAccount) else super().rank(command)


class _ForgetsItsWindow(Ingress):
    def within_rate(self, command: Command, time_ms: Timestamp) -> bool:
        self._asked = dict.fromkeys(self._asked, 0)
        return super().within_rate(command, time_ms)


class _NeverBeginsAWindow(Ingress):
    def within_rate(self, command: Command, time_ms: Timestamp) -> bool:  # noqa: ARG002 - the fault
        return super().within_rate(command, 0)


class _ForgetsThePreviousHash(Journal):
    def seal(self, body: JournalBody) -> tuple[bytes, Sha256]:
        return seal(GENESIS, body)


FAULTS = (
    Fault(
        name="stale-snapshot-restore",
        sentence="A restore loads the snapshot and drops the journal after it.",
        violates=("FINAL-2", "AUDIT-1"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=UncheckedVenue, recovery=_DropsTheTail, journal=OverwritingJournal),
    ),
    Fault(
        name="last-record-lost",
        sentence="A restore loses the last acknowledged command.",
        violates=("FINAL-2",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=UncheckedVenue, recovery=_DropsTheLastRecord, journal=OverwritingJournal),
    ),
    Fault(
        name="tail-replayed-twice",
        sentence="A restore posts the entries after the snapshot twice.",
        # REPL-1 comes first where the tail moves no money: snapshot and tail are not what full replay gives.
        violates=("AUDIT-1", "CONS-1", "REPL-1"),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=UncheckedVenue, recovery=_PostsTwice),
    ),
    Fault(
        name="queue-priority-lost",
        sentence="A restore turns the queues of the book round.",
        violates=("PRIO-1", "REPL-1"),
        parts=Parts(recovery=_SortsTheQueue),
    ),
    Fault(
        name="used-ids-forgotten",
        sentence="After a restore the ids of closed orders are free again, so that a retry is executed again.",
        # REPL-1 comes first where a hash of the state is shown: the ids in use are part of it.
        violates=("FINAL-4", "REPL-1"),
        incidents=("poloniex-2014-03-04",),
        parts=Parts(venue=UncheckedVenue, recovery=_ForgetsUsedIds),
    ),
    Fault(
        name="filled-order-reopened",
        sentence="A restore brings filled orders back into the book.",
        violates=("FINAL-1",),
        incidents=("backpack-2025-07-03",),
        parts=Parts(venue=UncheckedVenue, recovery=_ReopensFilledOrders),
    ),
    Fault(
        name="fill-forgotten",
        sentence="A restore brings partly filled orders back at their full size.",
        violates=("FINAL-3",),
        incidents=("backpack-2025-07-03", "paradex-2026-01-19"),
        parts=Parts(venue=UncheckedVenue, recovery=_ForgetsFills),
    ),
    Fault(
        name="withdrawal-paid-in-maintenance",
        sentence="Withdrawals are paid during maintenance.",
        violates=("PHASE-1",),
        parts=Parts(venue=_PaysInMaintenance),
    ),
    Fault(
        name="maintenance-loses-orders",
        sentence="Orders disappear in maintenance, and nobody is told.",
        violates=("MAINT-1", "FINAL-2"),
        incidents=("backpack-2025-07-03", "kraken-2018-01-11"),
        parts=Parts(venue=_LosesAnOrderInMaintenance),
    ),
    Fault(
        name="shed-command-has-effect",
        sentence="A command that was refused for lack of room is carried out all the same.",
        violates=("SURGE-1",),
        incidents=("gate-2025-04-23",),
        parts=Parts(ingress=_TakesInWhatItSheds),
    ),
    Fault(
        name="ingress-unbounded",
        sentence="The queue at the door grows beyond its capacity.",
        violates=("SURGE-1",),
        parts=Parts(ingress=_TakesInEverything),
    ),
    Fault(
        name="cancels-starved",
        sentence="Under load cancels wait behind new orders, and are shed with them.",
        violates=("SURGE-1",),
        incidents=("binance-um-2025-08-29",),
        parts=Parts(ingress=_ServesInOrderOfArrival),
    ),
    Fault(
        name="reads-served-first",
        sentence="Under load reads are taken in before new orders, which are shed for them.",
        violates=("SURGE-1",),
        parts=Parts(ingress=_ServesReadsFirst),
    ),
    Fault(
        name="rate-limit-forgets",
        sentence="The rate limit forgets what a client asked before, and never limits anybody.",
        violates=("SURGE-1",),
        parts=Parts(ingress=_ForgetsItsWindow),
    ),
    Fault(
        name="rate-limit-never-resets",
        sentence="What counts against a client's rate counts for ever, until nothing is taken from it any more.",
        violates=("SURGE-1",),
        incidents=("binance-um-2025-08-29",),
        parts=Parts(ingress=_NeverBeginsAWindow),
    ),
    Fault(
        name="shed-silently",
        sentence="A command for which there is no room is never answered.",
        violates=("SURGE-1",),
        incidents=("gate-2025-04-23",),
        parts=Parts(ingress=_ShedsSilently),
    ),
    Fault(
        name="hash-chain-broken",
        sentence="Journal records are hashed one by one and not as a chain, so that one can be taken out unseen.",
        violates=("AUDIT-1",),
        parts=Parts(journal=_ForgetsThePreviousHash),
    ),
)
