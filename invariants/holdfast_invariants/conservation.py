"""CONS: money is neither made nor lost, and AUDIT-1: every change of it has its entry."""

from collections import defaultdict

from holdfast_invariants.monitor import Found, Monitor, on
from holdfast_invariants.told import Place, ToldOrder
from holdfast_model.vocabulary import (
    FEES,
    OUTSIDE,
    ROUNDING,
    Answer,
    AssetId,
    CauseKind,
    Command,
    EntryPosted,
    TradeExecuted,
    View,
)
from holdfast_model.vocabulary.chain import JournalBody, seal

_PPM = 1_000_000


def _named(place: Place) -> str:
    account, bucket, asset = place
    return f"{account} {bucket} {asset}"


class EntriesBalance(Monitor):
    """CONS-1: each entry sums to zero per asset, and what accounts hold is what custody holds."""

    invariant = "CONS-1"

    @on(EntryPosted)
    def entry(self, event: EntryPosted) -> Found:
        """Sum the postings of one entry."""
        self.checked += 1
        totals: dict[AssetId, int] = defaultdict(int)
        for posting in event.postings:
            totals[posting.asset] += posting.amount
        for asset, total in totals.items():
            if total:
                yield self.violation(
                    f"entry {event.cause_kind} {event.cause}",
                    found=f"the entry sums to {total} {asset}",
                    expected=f"0 {asset}",
                    evidence=[event],
                )

    def view(self, view: View) -> Found:
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
            if owed[asset] != held[asset]:
                yield self.violation(
                    f"custody {asset}",
                    found=f"clients and house hold {owed[asset]} {asset}, custody holds {held[asset]}",
                    expected="the same amount",
                )


class NothingIsOverdrawn(Monitor):
    """CONS-2: no bucket of a client or of the house is below zero."""

    invariant = "CONS-2"

    @on(EntryPosted)
    def entry(self, event: EntryPosted) -> Found:
        """Look at the places that an entry takes from."""
        self.checked += 1
        moved: dict[Place, int] = defaultdict(int)
        for posting in event.postings:
            moved[posting.account, posting.bucket, posting.asset] += posting.amount
        for place, amount in moved.items():
            after = self.told.amounts.get(place, 0) + amount
            if amount < 0 and after < 0 and place[0] != OUTSIDE:
                yield self.violation(
                    _named(place), found=f"{after} after this entry", expected="0 or more", evidence=[event]
                )

    def view(self, view: View) -> Found:
        """Look at every balance shown."""
        for balance in view.balances:
            self.checked += 1
            if balance.amount < 0 and balance.account != OUTSIDE:
                yield self.violation(
                    _named((balance.account, balance.bucket, balance.asset)),
                    found=f"{balance.amount} is shown",
                    expected="0 or more",
                    evidence=[balance],
                )


class RemaindersArePosted(Monitor):
    """CONS-3: a fee is rounded up once over its order, and what rounding added is posted to the rounding account."""

    invariant = "CONS-3"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they are
        self._expected: dict[str, tuple[AssetId, int, int]] = {}

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> Found:
        """Reckon both fees anew."""
        market = self.told.markets.get(event.market)
        maker = self.told.orders.get((event.maker_client, event.maker_order))
        taker = self.told.orders.get((event.taker_client, event.taker_order))
        if market is None or maker is None or taker is None:
            return
        value = event.price_ticks * event.size_lots * market.tick_amount
        charged = earned = 0
        for role, order, rate, fee in (
            ("maker", maker, market.maker_fee_ppm, event.maker_fee),
            ("taker", taker, market.taker_fee_ppm, event.taker_fee),
        ):
            self.checked += 1
            due, whole = self._due(order, value * rate)
            charged += due
            earned += whole
            if fee != due:
                yield self.violation(
                    f"{role} fee of trade {event.trade}",
                    found=f"{fee} {market.quote}",
                    expected=f"{due} {market.quote}: the order's fee, rounded up once over all its trades",
                    evidence=[event],
                )
        self._expected[str(event.trade)] = (market.quote, earned, charged - earned)

    @on(EntryPosted)
    def entry(self, event: EntryPosted) -> Found:
        """Look where the fee of a trade went."""
        if event.cause_kind is not CauseKind.TRADE or event.cause not in self._expected:
            return
        asset, earned, rounding = self._expected.pop(event.cause)
        for account, expected in ((FEES, earned), (ROUNDING, rounding)):
            self.checked += 1
            posted = sum(posting.amount for posting in event.postings if posting.account == account)
            if posted != expected:
                yield self.violation(
                    f"{account} of trade {event.cause}",
                    found=f"{posted} {asset} posted",
                    expected=f"{expected} {asset}",
                    evidence=[event],
                )

    def _due(self, order: ToldOrder, numerator: int) -> tuple[int, int]:
        """What a trade adds to an order's fee rounded up, and to its whole part."""
        before, after = order.fee_numerator, order.fee_numerator + numerator
        return -(-after // _PPM) + (-before // _PPM), after // _PPM - before // _PPM


class EveryChangeHasItsEntry(Monitor):
    """AUDIT-1: the hash chain is unbroken, and balances are the sum of the entries that were told."""

    invariant = "AUDIT-1"

    def before(self, command: Command, answer: Answer) -> Found:
        """Recompute the head of the chain from the command and its events alone."""
        if answer.seq is None or answer.journal_sha256 is None:
            return
        self.checked += 1
        body = JournalBody(seq=answer.seq, epoch=self.told.epoch, command=command, events=answer.events)
        _, head = seal(self.told.head, body)
        if answer.journal_sha256 != head:
            yield self.violation(
                f"journal record {answer.seq}",
                found=f"head {answer.journal_sha256}",
                expected=f"head {head}, from the previous head, the command and its events",
                evidence=[body],
            )

    def view(self, view: View) -> Found:
        """Compare every balance shown with the sum of its entries, and the head shown with the last one told."""
        self.checked += 1
        if view.journal_sha256 != self.told.head:
            yield self.violation(
                "journal head", found=f"{view.journal_sha256} is shown", expected=f"{self.told.head}, told last"
            )
        shown = {(balance.account, balance.bucket, balance.asset): int(balance.amount) for balance in view.balances}
        told = self.told.amounts
        for place in told.keys() | shown.keys():
            self.checked += 1
            if shown.get(place, 0) != told.get(place, 0):
                yield self.violation(
                    _named(place),
                    found=f"{shown.get(place, 0)} is shown",
                    expected=f"{told.get(place, 0)}, the sum of all entries told",
                )
