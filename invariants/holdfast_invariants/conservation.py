"""CONS: money is neither made nor lost, and AUDIT-1: every change of it has its entry."""

from collections import defaultdict
from typing import Any

from holdfast_invariants.monitor import Monitor, before, on, on_entry
from holdfast_invariants.told import Place, ToldOrder
from holdfast_model.vocabulary import (
    CLEARING,
    FEES,
    OUTSIDE,
    ROUNDING,
    Amount,
    Answer,
    AssetId,
    Bucket,
    CauseKind,
    Command,
    EntryPosted,
    PromoteReplica,
    ReplicaPromoted,
    TradeExecuted,
    View,
)
from holdfast_model.vocabulary.chain import JournalBody, head_after

_PPM = 1_000_000
_WITH_DEBT = frozenset(CauseKind) - {
    CauseKind.TRADE,
    CauseKind.ORDER_HOLD,
    CauseKind.ORDER_RELEASE,
    CauseKind.DEPOSIT,
    CauseKind.WITHDRAWAL_HOLD,
    CauseKind.WITHDRAWAL_PAYMENT,
    CauseKind.WITHDRAWAL_REFUND,
}
"""The kinds of entries but for the many for which CONS-4 lets no debt change."""


def _named(place: Place) -> str:
    account, bucket, asset = place
    return f"{account} {bucket} {asset}"


class EntriesBalance(Monitor):
    """CONS-1: each entry sums to zero per asset, and what accounts hold is what custody holds.

    A difference that the exchange found itself, and is halted for, is no violation (CUST-1 says when it is found).
    """

    invariant = "CONS-1"

    @on_entry(plain=1)
    def entry(self, event: EntryPosted) -> None:
        """Sum the postings of one entry."""
        self.checked += 1
        totals: dict[AssetId, int] = {}
        for posting in event.postings:
            asset = posting.asset
            totals[asset] = totals.get(asset, 0) + posting.amount
        for asset, total in totals.items():
            if total:
                self.report(
                    f"entry {event.cause_kind} {event.cause}",
                    found=f"the entry sums to {total} {asset}",
                    expected=f"0 {asset}",
                    evidence=[event],
                )

    def view(self, view: View) -> None:
        """Compare what clients and house hold with custody, asset by asset."""
        owed: dict[AssetId, int] = defaultdict(int)
        for balance in view.balances:
            if balance.account != OUTSIDE:
                owed[balance.asset] += balance.amount
        held: dict[AssetId, int] = defaultdict(int)
        for custody in view.custody:
            held[custody.asset] += custody.amount
        for asset in self.told.setup.assets:
            self.checked += 1
            if owed[asset] != held[asset] and not self._is_found(asset, held[asset] - owed[asset]):
                self.report(
                    f"custody {asset}",
                    found=f"clients and house hold {owed[asset]} {asset}, custody holds {held[asset]}",
                    expected="the same amount",
                )

    def _is_found(self, asset: AssetId, difference: int) -> bool:
        custody = self.told.custody
        found = custody.found.get(asset) if custody is not None else None
        return found is not None and found.difference == difference


class NothingIsOverdrawn(Monitor):
    """CONS-2: no bucket of a client or of the house is below zero, but for what is one by its meaning.

    The outside world owes what the exchange holds; what a client borrowed is below zero, and never above; unsettled
    profit and loss is the other side of all positions, and has its own formula (POS-1).
    """

    invariant = "CONS-2"

    @on_entry(plain=1)
    def entry(self, event: EntryPosted) -> None:
        """Look at the places that an entry takes from."""
        self.checked += 1
        if not self.told.below:
            return
        moved: dict[Place, int] = defaultdict(int)
        for posting in event.postings:
            moved[posting.account, posting.bucket, posting.asset] += posting.amount
        for place in self.told.below:
            after = self.told.amounts[place]
            if moved[place] < 0 and after < 0 and not _may_be_below(place):
                self.report(_named(place), found=f"{after} after this entry", expected="0 or more", evidence=[event])

    @on_entry(*_WITH_DEBT)
    def debts(self, event: EntryPosted) -> None:
        """Look at what clients owe."""
        for posting in event.postings:
            place = (posting.account, posting.bucket, posting.asset)
            if _is_debt(place) and self.told.amounts[place] > 0:
                self.report(
                    _named(place),
                    found=f"{self.told.amounts[place]} after this entry",
                    expected="0 or less: it is what the client owes",
                    evidence=[event],
                )

    def view(self, view: View) -> None:
        """Look at every balance shown."""
        self.checked += len(view.balances)
        for balance in view.balances:
            place = (balance.account, balance.bucket, balance.asset)
            if (balance.amount < 0 and not _may_be_below(place)) or (balance.amount > 0 and _is_debt(place)):
                self.report(
                    _named(place),
                    found=f"{balance.amount} is shown",
                    expected="0 or less: it is what the client owes" if _is_debt(place) else "0 or more",
                    evidence=[balance],
                )


def _is_debt(place: Place) -> bool:
    """Whether a place is what a client owes: an isolated account owes nothing."""
    account, bucket, _ = place
    return bucket is Bucket.BORROWED and "@" not in account


def _may_be_below(place: Place) -> bool:
    """Whether a place is below zero by its meaning."""
    account, bucket, _ = place
    return account == OUTSIDE or (account == CLEARING and bucket is Bucket.FREE) or _is_debt(place)


class RemaindersArePosted(Monitor):
    """CONS-3: a fee is rounded up once over its order, and what rounding added is posted to the rounding account."""

    invariant = "CONS-3"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._expected: dict[str, tuple[AssetId, int, int]] = {}

    @on(TradeExecuted, plain=2)
    def trade(self, event: TradeExecuted) -> None:
        """Reckon both fees anew."""
        told = self.told
        market, maker, taker = told.market, told.maker, told.taker
        if market is None or maker is None or taker is None:
            return
        self.checked += 2
        value = event.price_ticks * event.size_lots * market.tick_amount
        maker_due, maker_whole = _due(maker, value * market.maker_fee_ppm)
        taker_due, taker_whole = _due(taker, value * market.taker_fee_ppm)
        if event.maker_fee != maker_due:
            self._wrong("maker", event.maker_fee, maker_due, event)
        if event.taker_fee != taker_due:
            self._wrong("taker", event.taker_fee, taker_due, event)
        earned = maker_whole + taker_whole
        self._expected[str(event.trade)] = (market.quote, earned, maker_due + taker_due - earned)

    def _wrong(self, role: str, fee: Amount, due: int, event: TradeExecuted) -> None:
        quote = self.told.markets[event.market].quote
        self.report(
            f"{role} fee of trade {event.trade}",
            found=f"{fee} {quote}",
            expected=f"{due} {quote}: the order's fee, rounded up once over all its trades",
            evidence=[event],
        )

    @on_entry(CauseKind.TRADE, plain=2)
    def entry(self, event: EntryPosted) -> None:
        """Look where the fee of a trade went."""
        expected = self._expected.pop(event.cause, None)
        if expected is None:
            return
        self.checked += 2
        asset, earned, remainder = expected
        fees = rounding = 0
        for posting in event.postings:
            if posting.account == FEES:
                fees += posting.amount
            elif posting.account == ROUNDING:
                rounding += posting.amount
        if fees != earned or rounding != remainder:
            self._misposted(event, asset, ((FEES, fees, earned), (ROUNDING, rounding, remainder)))

    def _misposted(self, event: EntryPosted, asset: AssetId, accounts: tuple[tuple[str, int, int], ...]) -> None:
        for account, posted, expected in accounts:
            if posted != expected:
                self.report(
                    f"{account} of trade {event.cause}",
                    found=f"{posted} {asset} posted",
                    expected=f"{expected} {asset}",
                    evidence=[event],
                )


def _due(order: ToldOrder, numerator: int) -> tuple[int, int]:
    """What a trade adds to an order's fee rounded up, and to its whole part."""
    before = order.fee_numerator
    whole, rest = divmod(before + numerator, _PPM)
    due = whole + (rest > 0)
    if before:
        whole_before, rest_before = divmod(before, _PPM)
        return due - whole_before - (rest_before > 0), whole - whole_before
    return due, whole


class EveryChangeHasItsEntry(Monitor):
    """AUDIT-1: the hash chain is unbroken, and balances are the sum of the entries that were told."""

    invariant = "AUDIT-1"

    @before()
    def chained(self, command: Command, answer: Answer) -> None:
        """Recompute the head of the chain from the command and its events alone."""
        seq, told = answer.seq, answer.journal_sha256
        if seq is None or told is None:
            return
        self.checked += 1
        epoch = self.told.epoch
        if command.__class__ is PromoteReplica:
            epoch = next((event.epoch for event in answer.events if isinstance(event, ReplicaPromoted)), epoch)
        head = head_after(self.told.head, seq, epoch, command, answer.events)
        if told != head:
            body = JournalBody(seq=seq, epoch=epoch, command=command, events=answer.events)
            self.report(
                f"journal record {seq}",
                found=f"head {told}",
                expected=f"head {head}, from the previous head, the command and its events",
                evidence=[body],
            )

    def view(self, view: View) -> None:
        """Compare every balance shown with the sum of its entries, and the head shown with the last one told."""
        self.checked += 1
        if view.journal_sha256 != self.told.head:
            self.report(
                "journal head", found=f"{view.journal_sha256} is shown", expected=f"{self.told.head}, told last"
            )
        shown = {(balance.account, balance.bucket, balance.asset): int(balance.amount) for balance in view.balances}
        told = self.told.amounts
        places = told | shown
        self.checked += len(places)
        for place in places:
            if shown.get(place, 0) != told.get(place, 0):
                self.report(
                    _named(place),
                    found=f"{shown.get(place, 0)} is shown",
                    expected=f"{told.get(place, 0)}, the sum of all entries told",
                )
