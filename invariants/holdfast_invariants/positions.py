"""POS: positions are what trades made of them, and for every long lot there is a short one."""

from typing import Any

from holdfast_invariants.flows import (
    Settled,
    ledger_account,
    settled_by_deleveraging,
    settled_by_funding,
    settled_by_trade,
)
from holdfast_invariants.monitor import Monitor, after, on
from holdfast_invariants.told_margin import NO_POSITION, PositionKey, ToldPosition
from holdfast_model.vocabulary import (
    CLEARING,
    Answer,
    Bucket,
    Command,
    Deleveraged,
    EntryPosted,
    FundingSettled,
    MarketId,
    PositionChanged,
    TradeExecuted,
    TransferCompleted,
    View,
)


def _named(key: PositionKey) -> str:
    return f"position {'/'.join(key)}"


def _shown(position: ToldPosition) -> str:
    return f"{position.lots} lots for {position.entry}"


class PositionsAreRecomputable(Monitor):
    """POS-1: positions and entry values follow from trades, funding and deleveraging; only trades flip a direction.

    A trade adds its signed value for what it opens and releases entry value pro rata for what it closes; what the
    account cannot pay stays in the entry value, and `@clearing` is minus the sum of all.
    """

    invariant = "POS-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._expected: dict[PositionKey, ToldPosition] = {}
        self._traded: set[PositionKey] = set()
        self._arrived: list[tuple[str, str]] = []
        if self.told.margin is None:
            self.idle = frozenset({"trade", "done"})

    @on(TradeExecuted, plain=0)
    def trade(self, event: TradeExecuted) -> None:
        """What a trade in a perpetual makes of both positions."""
        market = self.told.market
        if market is not None and market.perpetual is not None:
            self._expect(event.market, settled_by_trade(self.told, market, event))
            self._traded |= {(event.maker_client, event.market), (event.taker_client, event.market)}

    @on(Deleveraged)
    def deleveraged(self, event: Deleveraged) -> None:
        """What a deleveraging makes of both positions."""
        market = self.told.markets.get(event.market)
        if self.told.margin is not None and market is not None:
            self._expect(event.market, settled_by_deleveraging(self.told, market, event))

    @on(FundingSettled)
    def funding(self, event: FundingSettled) -> None:
        """What funding leaves in the entry value: what could not be paid."""
        market = self.told.markets.get(event.market)
        if self.told.margin is not None and market is not None:
            self._expect(event.market, settled_by_funding(self.told, market, event))

    def _expect(self, market: MarketId, sides: list[Settled]) -> None:
        for side in sides:
            if side.after != side.before or (side.client, market) in self._expected:
                self._expected[side.client, market] = side.after

    @on(PositionChanged)
    def changed(self, event: PositionChanged) -> None:
        """A position told is the one that what happened makes of the one before."""
        assert self.told.margin is not None
        self.checked += 1
        key = (event.client, event.market)
        before = self.told.margin.position(*key)
        now = ToldPosition(event.position_lots, event.entry_value)
        if before.lots * now.lots < 0 and key not in self._traded:
            self.report(
                f"direction of {_named(key)}",
                found=f"from {before.lots} to {now.lots} lots",
                expected="a direction flips only by trades of the client's own orders",
                evidence=[event],
            )
        expected = self._expected.pop(key, None)
        if expected is None:
            # What is owed for a position without lots may be paid: how much, the formula of `@clearing` says.
            if before.lots == now.lots == 0 and 0 <= now.entry < before.entry:
                return
            expected = before
        if now != expected:
            self.report(
                _named(key),
                found=_shown(now),
                expected=f"{_shown(expected)}, from {_shown(before)} and what was told since",
                evidence=[event],
            )

    @on(TransferCompleted)
    def arrived(self, event: TransferCompleted) -> None:
        """Collateral came in, out of which what is owed is paid first."""
        transfer = self.told.margin.transfers.get((event.client, event.request)) if self.told.margin else None
        if transfer is not None and any(item.product == transfer.target for item in self.told.setup.products):
            self._arrived.append((event.client, ledger_account(self.told, event.client, transfer.target)))

    @after()
    def done(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all is in what was told
        """Every change that had to be told was told, and `@clearing` is minus the sum of all entry values."""
        margin = self.told.margin
        assert margin is not None
        for key, expected in self._expected.items():
            self.checked += 1
            now = margin.position(*key)
            if now != expected:
                self.report(_named(key), found=_shown(now), expected=_shown(expected))
        self._expected.clear()
        self._traded.clear()
        self._cleared(answer)
        self._settled()

    def _cleared(self, answer: Answer) -> None:
        margin = self.told.margin
        assert margin is not None
        if self.told.setup.margin is None or not any(
            event.__class__ is PositionChanged or event.__class__ is EntryPosted for event in answer.events
        ):
            return
        self.checked += 1
        unit = self.told.setup.margin.unit
        clearing = self.told.amounts.get((CLEARING, Bucket.FREE, unit), 0)
        if clearing != -margin.entries:
            self.report(
                CLEARING, found=f"{clearing} {unit}", expected=f"{-margin.entries}, minus the sum of all entry values"
            )

    def _settled(self) -> None:
        margin, unit = self.told.margin, self.told.setup.margin.unit if self.told.setup.margin else ""
        arrived, self._arrived = self._arrived, []
        for client, account in arrived:
            assert margin is not None
            cash = self.told.amounts.get((account, Bucket.COLLATERAL, unit), 0)
            for market in self.told.markets.values():
                position = margin.position(client, market.market)
                if position.lots or position.entry <= 0 or cash <= 0:
                    continue
                if ledger_account(self.told, client, market.product) == account:
                    self.report(
                        f"what {client} owes for {market.market}",
                        found=f"{position.entry} {unit} while {cash} {unit} are in {account}",
                        expected="what is owed is paid first out of collateral that comes in",
                    )

    def view(self, view: View) -> None:
        """Every position shown is the one told, and `@clearing` shown is minus the sum of the entry values shown."""
        if self.told.margin is None:
            return
        shown = {
            (item.client, item.market): ToldPosition(item.position_lots, item.entry_value) for item in view.positions
        }
        for key in sorted(shown.keys() | self.told.margin.positions.keys()):
            self.checked += 1
            now, told = shown.get(key, NO_POSITION), self.told.margin.position(*key)
            if now != told:
                self.report(_named(key), found=f"{_shown(now)} are shown", expected=f"{_shown(told)}, as told")
        entries = sum(position.entry for position in shown.values())
        clearing = sum(
            balance.amount
            for balance in view.balances
            if (balance.account, balance.bucket) == (CLEARING, Bucket.FREE)
        )
        self.checked += 1
        if clearing != -entries:
            self.report(
                f"{CLEARING} shown",
                found=str(clearing),
                expected=f"{-entries}, minus the sum of all entry values shown",
            )


class PositionsSumToZero(Monitor):
    """POS-2: per contract all positions sum to zero, and so does each funding, at the mark and the rate told."""

    invariant = "POS-2"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._touched: set[MarketId] = set()

    @on(PositionChanged)
    def changed(self, event: PositionChanged) -> None:
        """A contract to look at when the command is done."""
        if not self._touched:
            self.look_at_end(self.done)
        self._touched.add(event.market)

    @on(FundingSettled)
    def funding(self, event: FundingSettled) -> None:
        """A funding is the next period's, at the mark in use, and within the bound of its rate."""
        market = self.told.markets.get(event.market)
        if self.told.margin is None or market is None or market.perpetual is None:
            return
        self.checked += 1
        period = self.told.margin.funding_periods.get(event.market, 0) + 1
        mark = self.told.margin.marks.get(event.market)
        bound = market.perpetual.funding_ppm_max
        for what, found, expected in (
            ("period", event.period, f"{period}, the next one" if event.period != period else ""),
            ("mark", event.mark_ticks, f"{mark}, the mark in use" if event.mark_ticks != mark else ""),
            ("rate", event.rate_ppm, f"at most {bound} ppm either way" if abs(event.rate_ppm) > bound else ""),
        ):
            if expected:
                self.report(
                    f"{what} of funding {event.market}/{event.period}",
                    found=str(found),
                    expected=expected,
                    evidence=[event],
                )

    def done(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all is in what was told
        """Long and short lots are equal when a command is done."""
        assert self.told.margin is not None
        for market in sorted(self._touched):
            self.checked += 1
            lots = self.told.margin.lots.get(market, 0)
            if lots:
                self.report(
                    f"contract {market}",
                    found=f"all positions sum to {lots} lots",
                    expected="for each long lot a short one",
                )
        self._touched.clear()

    def view(self, view: View) -> None:
        """So they are in what is shown."""
        lots: dict[MarketId, int] = {}
        for item in view.positions:
            lots[item.market] = lots.get(item.market, 0) + item.position_lots
        for market, total in lots.items():
            self.checked += 1
            if total:
                self.report(
                    f"contract {market}",
                    found=f"the positions shown sum to {total} lots",
                    expected="for each long lot a short one",
                )
