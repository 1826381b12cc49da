"""What an exchange has told of margin: positions, marks and the reports behind them, transfers, periods."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    Borrowed,
    ClientId,
    FundingSettled,
    InterestAccrued,
    MarkChanged,
    MarketId,
    PositionChanged,
    PriceReported,
    PriceTicks,
    ProductId,
    Repaid,
    RequestId,
    Setup,
    SourceId,
    Timestamp,
    TransferCompleted,
    TransferStarted,
)

PositionKey = tuple[ClientId, MarketId]
RequestKey = tuple[ClientId, RequestId]


class ToldPosition(Struct, frozen=True):
    """Lots, above zero for a long one, and what they cost, with the sign of the lots."""

    lots: int = 0
    entry: int = 0


NO_POSITION = ToldPosition()


class ToldReport(Struct, frozen=True):
    """What a source reported last, and as of when."""

    price_ticks: PriceTicks
    time_ms: Timestamp


class ToldTransfer(Struct, frozen=True, kw_only=True):
    """A transfer, from where and to where."""

    asset: AssetId
    amount: Amount
    source: ProductId
    target: ProductId


class ToldMargin:
    """Folded from events, at a cost that does not depend on how much there is. Debts are in the ledger's amounts."""

    def __init__(self, setup: Setup) -> None:
        self.marked = {market.market: market.mark for market in setup.markets if market.mark is not None}
        self.marks: dict[MarketId, PriceTicks | None] = dict.fromkeys(self.marked)
        self.rescaled_ms: dict[MarketId, int] = {}
        """When a market's ticks came to be worth another amount: what was reported as of then or before is void."""
        self.reports: dict[MarketId, dict[SourceId, ToldReport]] = {market: {} for market in self.marked}
        self.positions: dict[PositionKey, ToldPosition] = {}
        self.holders: dict[MarketId, dict[ClientId, ToldPosition]] = {
            market.market: {} for market in setup.markets if market.perpetual is not None
        }
        """The positions of each perpetual by client: those of no lots for which something is owed included."""
        self.lots: dict[MarketId, int] = {}
        """The sum of all positions by market."""
        self.entries = 0
        """The sum of all entry values."""
        self.transfers: dict[RequestKey, ToldTransfer] = {}
        self.awaiting: dict[ProductId, dict[RequestKey, ToldTransfer]] = {}
        """The transfers under way by target."""
        self.requests: set[RequestKey] = set()
        self.funding_periods: dict[MarketId, int] = {}
        self.interest_periods: dict[AssetId, int] = {}

    def appliers(self) -> Mapping[type, Callable[[Any], None]]:
        """What folds each event."""
        return {
            PositionChanged: self._on_position,
            PriceReported: self._on_report,
            MarkChanged: self._on_mark,
            TransferStarted: self._on_transfer,
            TransferCompleted: self._on_arrival,
            Borrowed: self._on_request,
            Repaid: self._on_request,
            FundingSettled: self._on_funding,
            InterestAccrued: self._on_interest,
        }

    def position(self, client: ClientId, market: MarketId) -> ToldPosition:
        """A client's position as told; nothing where there is none."""
        return self.positions.get((client, market), NO_POSITION)

    def _on_position(self, event: PositionChanged) -> None:
        key = (event.client, event.market)
        before = self.positions.get(key, NO_POSITION)
        after = ToldPosition(event.position_lots, event.entry_value)
        self.lots[event.market] = self.lots.get(event.market, 0) + after.lots - before.lots
        self.entries += after.entry - before.entry
        holders = self.holders.setdefault(event.market, {})
        if after == NO_POSITION:
            self.positions.pop(key, None)
            holders.pop(event.client, None)
        else:
            self.positions[key] = holders[event.client] = after

    def _on_report(self, event: PriceReported) -> None:
        reports = self.reports.setdefault(event.market, {})
        reports[event.source] = ToldReport(event.price_ticks, event.time_ms)

    def _on_mark(self, event: MarkChanged) -> None:
        self.marks[event.market] = event.mark_ticks

    def _on_transfer(self, event: TransferStarted) -> None:
        key = (event.client, event.request)
        self.requests.add(key)
        transfer = ToldTransfer(asset=event.asset, amount=event.amount, source=event.source, target=event.target)
        self.transfers[key] = self.awaiting.setdefault(event.target, {})[key] = transfer

    def _on_arrival(self, event: TransferCompleted) -> None:
        key = (event.client, event.request)
        transfer = self.transfers.pop(key, None)
        if transfer is not None:
            self.awaiting[transfer.target].pop(key, None)

    def _on_request(self, event: Borrowed | Repaid) -> None:
        self.requests.add((event.client, event.request))

    def _on_funding(self, event: FundingSettled) -> None:
        self.funding_periods[event.market] = event.period

    def _on_interest(self, event: InterestAccrued) -> None:
        self.interest_periods[event.asset] = event.period
