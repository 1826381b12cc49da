"""PHASE-2: what must happen before an exchange, or a product of it, goes on does happen."""

from typing import Any

from holdfast_invariants.monitor import on
from holdfast_invariants.procedure import StepsOfMaintenance
from holdfast_invariants.told_triggers import ToldTriggers
from holdfast_model.vocabulary import (
    STAGE_TRANSITIONS,
    Answer,
    AuctionUncrossed,
    Command,
    MarketId,
    Phase,
    PhaseChanged,
    ProductResumed,
    Stage,
)

_AUCTION, _OPEN = Phase.AUCTION, Phase.OPEN
_UNCROSSED_FOR = frozenset({Phase.OPEN, Phase.CLOSED})
_NEVER_CROSSED = frozenset({Phase.OPEN, Phase.POST_ONLY})


class ObligatorySteps(StepsOfMaintenance):
    """PHASE-2: trading opens through its auction, auctions are uncrossed, products open stage by stage.

    And maintenance goes by its procedure (`procedure`).

    Each obligation is a method of its own that looks at a change of phase or stage just before it is believed.
    """

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._uncrossed: set[MarketId] = set()
        """The markets that were uncrossed in the answer at hand."""

    @on(AuctionUncrossed)
    def uncrossed(self, event: AuctionUncrossed) -> None:
        """A market is uncrossed once, where an auction ends."""
        self.checked += 1
        if self.told.phase is not _AUCTION or event.market in self._uncrossed:
            again = "for the second time" if event.market in self._uncrossed else f"in {self.told.phase}"
            self.report(
                f"uncrossing of {event.market}",
                found=f"{event.market} is uncrossed {again}",
                expected="once for each market, where an auction ends",
                evidence=[event],
            )
        if not self._uncrossed:
            self.look_at_end(self.done)
        self._uncrossed.add(event.market)

    @on(PhaseChanged)
    def through_an_auction(self, event: PhaseChanged) -> None:
        """Where the setup says so, trading opens out of an auction only."""
        self.checked += 1
        if self.told.setup.auctions and event.after is _OPEN and self.told.phase is not _AUCTION:
            self.report(
                f"opening from {self.told.phase}",
                found=f"trading opens from {self.told.phase}",
                expected="trading opens through an auction",
                evidence=[event],
            )

    @on(PhaseChanged)
    def auction_ends(self, event: PhaseChanged) -> None:
        """An auction that is not called off ends with a price, or none, for each market; no book is crossed then."""
        if self.told.phase is not _AUCTION or event.after not in _UNCROSSED_FOR:
            return
        for market in self.told.markets.values():
            self.checked += 1
            name = market.market
            if name not in self._uncrossed:
                self._skipped(event, f"auction of {name}", f"the auction ends and {name} is not uncrossed")
            elif self.told.book.crossed(name):
                self._skipped(event, f"auction of {name}", f"the book of {name} is crossed after its auction")

    @on(AuctionUncrossed)
    def while_it_can_trade(self, event: AuctionUncrossed) -> None:
        """A crossed book is not uncrossed while its product may not trade."""
        market = self.told.markets.get(event.market)
        if market is None or self.told.triggers.is_open(market.product) or not self.told.book.crossed(event.market):
            return
        stage = self.told.triggers.stages[market.product]
        self.report(
            f"uncrossing of {event.market}",
            found=f"{event.market} is uncrossed while {market.product} is at the stage {stage}",
            expected="an auction is not ended while a product with a crossed book is not open",
            evidence=[event],
        )

    @on(PhaseChanged)
    def not_crossed(self, event: PhaseChanged) -> None:
        """After an auction was called off, books that are crossed wait for the next one."""
        if self.told.phase is _AUCTION or event.after not in _NEVER_CROSSED:
            return
        for market in self.told.markets:
            self.checked += 1
            if self.told.book.crossed(market):
                self._skipped(
                    event, f"book of {market}", f"from {self.told.phase} to {event.after} with a crossed book"
                )

    def _skipped(self, event: PhaseChanged, subject: str, found: str) -> None:
        self.report(
            subject, found=found, expected="orders that cross are uncrossed by an auction first", evidence=[event]
        )

    @on(ProductResumed)
    def resumed(self, event: ProductResumed) -> None:
        """A product opens one stage after the other, and the last only with all the marks that it needs."""
        self.checked += 1
        triggers: ToldTriggers = self.told.triggers
        before = triggers.stages.get(event.product, Stage.OPEN)
        following = STAGE_TRANSITIONS.get(before)
        if event.stage is not following:
            self.report(
                f"stage of {event.product}",
                found=f"from {before} to {event.stage}",
                expected=f"{following} after {before}" if following is not None else "it is open already",
                evidence=[event],
            )
        if event.stage is not Stage.OPEN or self.told.margin is None:
            return
        for market in self.told.markets.values():
            if market.product == event.product and market.perpetual is not None:
                self.checked += 1
                if self.told.margin.marks.get(market.market) is None:
                    self.report(
                        f"mark of {market.market}",
                        found=f"{event.product} opens while the mark is UNAVAILABLE",
                        expected="a product opens once there are marks for all its perpetuals",
                        evidence=[event],
                    )

    def done(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - the answer is over
        """What was uncrossed belongs to one answer."""
        self._uncrossed.clear()
