"""LIQ and ADL: who is liquidated, how far, and who bears what a bankrupt account cannot."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct

from holdfast_invariants.flows import COLLATERAL, FREE, Moved, moved
from holdfast_invariants.monitor import Monitor, after, before, on
from holdfast_invariants.reckoning import PPM, Account, Accounts, bankruptcy_of, closing_side, rounded_up
from holdfast_invariants.told import OrderKey, Told
from holdfast_invariants.told_margin import ToldPosition
from holdfast_model.vocabulary import (
    INSURANCE,
    LIQUIDATION_ORDER_PREFIX,
    Answer,
    AssetId,
    CauseKind,
    ClientId,
    Collateral,
    Deleveraged,
    EntryPosted,
    Events,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    Market,
    OrderAccepted,
    OrderCancelled,
    Phase,
    Reason,
    Rejected,
    Side,
    TimeInForce,
    TradeExecuted,
)

_CANCEL, _REDUCE, _INSURE, _DELEVERAGE, _SEIZE, _WRITE_OFF = LiquidationKind
_IN_BOOK = frozenset({_REDUCE, _INSURE})
_CLOSES = frozenset({_REDUCE, _INSURE, _DELEVERAGE})
_BEYOND = frozenset({_INSURE, _DELEVERAGE})
_PAYS = frozenset({CauseKind.INSURANCE, CauseKind.SEIZURE})
_SPARES = frozenset(
    {Reason.NOT_BELOW_MAINTENANCE, Reason.NOTHING_TO_LIQUIDATE, Reason.MARK_UNAVAILABLE, Reason.PRODUCT_HALTED}
)
"""The refusals of a liquidation that say something of the account, which can be looked at."""


class Closing(Struct, frozen=True, kw_only=True):
    """A position of which a step closes a part: the lots of a step, and the price at which nothing would be left."""

    market: Market
    position: ToldPosition
    lots: int
    bankruptcy: int


class Due(Struct, frozen=True, kw_only=True):
    """The step that is due by the rulebook.

    `lots` are closed, of which `fills` in the book; `paid` is what the step moves out of and into the account's
    collateral and the insurance fund, besides what trades and deleveraging settle.
    """

    kind: LiquidationKind
    orders: tuple[OrderKey, ...] = ()
    closing: Closing | None = None
    lots: int = 0
    fills: tuple[tuple[int, int], ...] = ()
    paid: Moved = {}


class Steps:
    """Which step of a liquidation is due, reckoned from what was told before it."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.accounts = Accounts(told)

    def due(self, account: Account, equity: int) -> Due | None:
        """The first step that applies to an account of this equity; None where nothing is left to do."""
        orders = self.accounts.open_orders(account)
        if orders:
            return Due(kind=_CANCEL, orders=tuple(order.key for order in orders))
        largest = self.accounts.largest(account)
        if largest is not None:
            return self._close(account, *largest, equity)
        owed = list(self.accounts.obligations(account))
        return next(chain(self._seizures(account, owed), self._writings_off(owed)), None)

    def _close(self, account: Account, market: Market, position: ToldPosition, equity: int) -> Due:
        mark = self.told.margin.marks.get(market.market) if self.told.margin is not None else None
        assert mark is not None, "the equity is known"
        assert market.perpetual is not None
        closing = Closing(
            market=market,
            position=position,
            lots=_share(abs(position.lots), market.perpetual.liquidation_step_ppm),
            bankruptcy=bankruptcy_of(position, mark=mark, equity=equity, tick_amount=market.tick_amount),
        )
        fills = tuple(self._in_book(account.client, closing, closing.bankruptcy))
        if fills:
            return Due(kind=_REDUCE, closing=closing, lots=closing.lots, fills=fills)
        return self._insure(account, closing) or Due(kind=_DELEVERAGE, closing=closing, lots=closing.lots)

    def _insure(self, account: Account, closing: Closing) -> Due | None:
        """As much as the fund can pay for: at each price beyond the bankruptcy price, the difference."""
        fund = there = self.told.amounts.get((INSURANCE, FREE, closing.market.quote), 0)
        fills = []
        for price, lots in self._in_book(account.client, closing, None):
            gap = abs(price - closing.bankruptcy) * closing.market.tick_amount
            assert gap, "what is offered at the bankruptcy price was not passed over"
            bought = min(lots, fund // gap)
            if bought <= 0:
                break
            fills.append((price, bought))
            fund -= bought * gap
            if bought < lots:
                break
        if not fills:
            return None
        return Due(
            kind=_INSURE,
            closing=closing,
            lots=sum(lots for _, lots in fills),
            fills=tuple(fills),
            paid=_lines(account, (closing.market.quote, there - fund), (closing.market.quote, fund - there)),
        )

    def _in_book(self, client: ClientId, closing: Closing, limit: int | None) -> Iterator[tuple[int, int]]:
        """What an order that closes the lots meets in the book within a limit, in the order in which it does."""
        side = closing_side(closing.position)
        book = self.told.book.markets.get(closing.market.market)
        left, traded = closing.lots, dict[ClientId, int]()
        for order in book.side(side.opposite).orders() if book is not None else ():
            price = self.told.book.where[order.key][1]
            if not left or (limit is not None and (price < limit if side is Side.SELL else price > limit)):
                return
            if order.client == client:
                continue
            lots = min(left, order.left_lots)
            conditions = self.told.triggers.conditions.get(order.key)
            if conditions is not None and conditions.reduce_only and self.told.margin is not None:
                held = self.told.margin.position(order.client, order.market).lots
                reducible = held if order.side is Side.SELL else -held
                lots = max(0, min(lots, reducible - traded.get(order.client, 0)))
            if lots:
                traded[order.client] = traded.get(order.client, 0) + lots
                left -= lots
                yield price, lots

    def _seizures(self, account: Account, owed: Iterable[tuple[AssetId, int, Any]]) -> Iterator[Due]:
        """For each obligation, what a step of it would take of the collateral, if anything."""
        margin = self.told.setup.margin
        assert margin is not None
        for asset, amount, _ in owed:
            step = _share(amount, margin.liquidation_step_ppm)
            own = min(step, self.accounts.cash(account.name, asset))
            if own > 0:
                yield Due(kind=_SEIZE, paid=_lines(account, (asset, -own)))
                continue
            step = min(step, self.told.amounts.get((INSURANCE, FREE, asset), 0))
            for item in account.collateral:
                paid, taken = self._exchanged(account, item, asset, step)
                if paid > 0:
                    yield Due(
                        kind=_SEIZE, paid=_lines(account, (item.asset, -taken), (item.asset, taken), (asset, -paid))
                    )
                    break

    def _exchanged(self, account: Account, item: Collateral, asset: AssetId, most: int) -> tuple[int, int]:
        """What the fund pays of an asset that is owed, and takes of a collateral for it: never for more than that."""
        has = self.accounts.cash(account.name, item.asset)
        if has <= 0 or most <= 0:
            return 0, 0
        owed = next(other for other in account.collateral if other.asset == asset)
        worth, value = self.accounts.worth(item, has), self.accounts.owed(owed, most)
        assert worth is not None, "the equity is known"
        assert value is not None, "the equity is known"
        if worth < value:
            one = self._price(owed)
            return worth * one[1] // one[0], has
        price, per = self._price(item)
        return most, rounded_up(value * per * PPM, price * (PPM - item.haircut_ppm))

    def _price(self, item: Collateral) -> tuple[int, int]:
        """What so much of an asset is worth, and how much that is."""
        if item.market is None:
            return 1, 1
        mark = self.told.margin.marks[item.market] if self.told.margin is not None else None
        assert mark is not None, "the equity is known"
        market = self.told.markets[item.market]
        return mark * market.tick_amount, market.lot_amount

    def _writings_off(self, owed: Iterable[tuple[AssetId, int, Any]]) -> Iterator[Due]:
        """For each obligation, what the fund can pay of it, if anything."""
        for asset, amount, _ in owed:
            paid = min(amount, self.told.amounts.get((INSURANCE, FREE, asset), 0))
            if paid > 0:
                yield Due(kind=_WRITE_OFF, paid=moved((INSURANCE, FREE, asset, -paid)))

    def counterparties(self, due: Due) -> list[tuple[ClientId, int, int]]:
        """Against whom a deleveraging closes its lots: client, lots, score."""
        assert due.closing is not None
        left, found = due.lots, []
        for score, client, position in self.accounts.ranking(due.closing.market, against=due.closing.position):
            if not left:
                break
            lots = min(left, abs(position.lots))
            left -= lots
            found.append((client, lots, score))
        return found


def _share(amount: int, step_ppm: int) -> int:
    """What one step takes: its share, rounded up, at least 1."""
    return max(1, rounded_up(amount * step_ppm, PPM))


def _lines(account: Account, taken: tuple[AssetId, int], *fund: tuple[AssetId, int]) -> Moved:
    return moved((account.name, COLLATERAL, *taken), *((INSURANCE, FREE, *line) for line in fund))


def _paid(account: Account, events: Events) -> Moved:
    """What entries of the insurance fund and of seizures move of the account's collateral and of the fund."""
    watched = {(account.name, COLLATERAL), (INSURANCE, FREE)}
    return moved(
        *(
            (posting.account, posting.bucket, posting.asset, posting.amount)
            for event in events
            if isinstance(event, EntryPosted) and event.cause_kind in _PAYS
            for posting in event.postings
            if (posting.account, posting.bucket) in watched
        )
    )


def _text(paid: Moved) -> str:
    lines = (f"{account} {asset} {amount:+}" for (account, _, asset), amount in sorted(paid.items()))
    return ", ".join(lines) or "nothing"


def _closes(due: Due) -> str:
    if due.closing is None:
        return due.kind
    at = f" from {due.closing.bankruptcy}" if due.kind is not _DELEVERAGE else f" at {due.closing.bankruptcy}"
    return f"{due.kind} {due.lots} lots of {due.closing.market.market}{at}"


class _Liquidations(Monitor):
    """What both have in common: they look at each step with the state that was told before it."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self.steps = Steps(self.told) if self.told.margin is not None else None
        self._asked = False

    @before(Liquidate)
    def asked(self, command: Liquidate, answer: Answer) -> None:
        """Look at the step that a command to liquidate brought about."""
        self._asked = True
        stepped = [event for event in answer.events if isinstance(event, LiquidationStepped)]
        if self.steps is None:
            return
        if not stepped:
            self.refused(command, answer)
            return
        self.checked += 1
        account = self.steps.accounts.account(command.client, command.product)
        equity = self.steps.accounts.equity(account)
        due = self.steps.due(account, equity) if equity is not None else None
        self.look(account, stepped, due, answer.events)

    def look(self, account: Account, stepped: Sequence[LiquidationStepped], due: Due | None, events: Events) -> None:
        """Look at the steps of an account, at the one that was due, and at all that was answered."""
        raise NotImplementedError

    def refused(self, command: Liquidate, answer: Answer) -> None:
        """Look at a command to liquidate that brought no step about."""

    @after(Liquidate)
    def answered(self, command: Liquidate, answer: Answer) -> None:  # noqa: ARG002 - the answer is over
        """From now on nobody is being liquidated."""
        self._asked = False


class LiquidatedOnlyAsNeeded(_Liquidations):
    """LIQ-1: only below maintenance at marks that there are, while the owner can act, and no further than needed.

    No further: one step, of the right size, of the right position, in the published order, at no worse than the
    bankruptcy price; a step in the book takes what is there, and a seizure what a step of the obligation costs.
    """

    invariant = "LIQ-1"

    @on(LiquidationStepped)
    def unasked(self, event: LiquidationStepped) -> None:
        """A step is the answer to a command to take one."""
        if not self._asked:
            self._wrong(event, "step", found=f"a step {event.kind}", expected="a command to liquidate")

    def refused(self, command: Liquidate, answer: Answer) -> None:
        """Nobody who is below maintenance is spared: a step that is due is not refused for the account's sake."""
        refusals = [event for event in answer.events if isinstance(event, Rejected) and event.reason in _SPARES]
        if self.steps is None or not refusals:
            return
        accounts = self.steps.accounts
        account = accounts.account(command.client, command.product)
        equity, maintenance = accounts.equity(account), accounts.maintenance(account)
        self.checked += 1
        if equity is None or maintenance is None or equity >= maintenance:
            return
        due = self.steps.due(account, equity)
        if due is not None and not accounts.closed_products(account) and self.told.phase is Phase.OPEN:
            self.report(
                f"liquidation of {command.client} in {command.product}",
                found=f"refused: {refusals[0].reason}",
                expected=f"{_closes(due)}: equity {equity} is below the maintenance margin {maintenance}",
                evidence=[command],
            )

    def _wrong(self, event: LiquidationStepped, what: str, *, found: str, expected: str) -> None:
        self.report(
            f"{what} of the liquidation of {event.client} in {event.product}",
            found=found,
            expected=expected,
            evidence=[event],
        )

    def look(self, account: Account, stepped: Sequence[LiquidationStepped], due: Due | None, events: Events) -> None:
        """The account may be liquidated, and the step is the one that is due."""
        event = stepped[0]
        if len(stepped) > 1:
            self._wrong(event, "steps", found=f"{len(stepped)} steps at once", expected="one step for each command")
        self._allowed(account, event)
        if due is None:
            if self.steps is not None and self.steps.accounts.equity(account) is not None:
                self._wrong(event, "step", found=event.kind, expected="no step: nothing is left to do")
            return
        self._in_order(event, due)
        if event.kind is not due.kind:
            return
        if due.kind is _CANCEL:
            self._cancelled(event, due, events)
        elif due.kind in _IN_BOOK:
            self._closed(event, due, events)
        elif due.kind is _SEIZE and _paid(account, events) != due.paid:
            self._wrong(event, "seizure", found=_text(_paid(account, events)), expected=_text(due.paid))

    def _allowed(self, account: Account, event: LiquidationStepped) -> None:
        assert self.steps is not None
        accounts = self.steps.accounts
        equity, maintenance = accounts.equity(account), accounts.maintenance(account)
        if equity is None or maintenance is None:
            self._wrong(event, "mark", found="a mark that it needs is UNAVAILABLE", expected="no liquidation without")
        elif equity >= maintenance:
            self._wrong(
                event,
                "equity",
                found=f"equity {equity}, maintenance margin {maintenance}",
                expected="equity below the maintenance margin",
            )
        elif (event.equity, event.maintenance) != (equity, maintenance):
            self._wrong(
                event,
                "numbers",
                found=f"equity {event.equity}, maintenance margin {event.maintenance}",
                expected=f"equity {equity}, maintenance margin {maintenance}",
            )
        closed = accounts.closed_products(account)
        if closed or self.told.phase is not Phase.OPEN:
            where = ", ".join(f"{name} is not open" for name in closed) or f"the venue is in {self.told.phase}"
            self._wrong(event, "owner", found=where, expected="its owner can act wherever it is engaged")

    def _in_order(self, event: LiquidationStepped, due: Due) -> None:
        """The kind of the step, its position, its size and its price. Who pays beyond that price, ADL-1 says."""
        if event.kind is not due.kind and not {event.kind, due.kind} <= _BEYOND:
            self._wrong(event, "step", found=event.kind, expected=f"{_closes(due)}: the first that applies")
            return
        closing = due.closing
        if closing is None:
            return
        if event.market != closing.market.market:
            self._wrong(
                event,
                "position",
                found=str(event.market),
                expected=f"{closing.market.market}, which needs the most maintenance margin",
            )
            return
        if event.bankruptcy_ticks != closing.bankruptcy:
            self._wrong(
                event, "bankruptcy price", found=str(event.bankruptcy_ticks), expected=str(closing.bankruptcy)
            )
        size = event.size_lots or 0
        if size > closing.lots or size <= 0 or (event.kind is not _INSURE and size != closing.lots):
            self._wrong(
                event,
                "size",
                found=f"{size} lots",
                expected=f"{closing.lots} of {abs(closing.position.lots)} lots are a step",
            )

    def _cancelled(self, event: LiquidationStepped, due: Due, events: Events) -> None:
        cancelled = {(item.client, item.order) for item in events if isinstance(item, OrderCancelled)}
        if cancelled != set(due.orders):
            self._wrong(
                event,
                "orders",
                found=f"cancelled: {_names(cancelled)}",
                expected=f"cancelled: {_names(due.orders)}, all open orders of the account",
            )

    def _closed(self, event: LiquidationStepped, due: Due, events: Events) -> None:
        """The lots are closed by one immediate order within the bankruptcy price, or as far as the fund pays."""
        assert due.closing is not None
        limit = due.closing.bankruptcy if due.kind is _REDUCE else due.fills[-1][0]
        asked = (due.closing.market.market, closing_side(due.closing.position), due.lots, limit, TimeInForce.IOC)
        orders = [
            item
            for item in events
            if isinstance(item, OrderAccepted)
            and item.client == event.client
            and item.order.startswith(LIQUIDATION_ORDER_PREFIX)
        ]
        given = [
            (item.market, item.side, item.size_lots, item.price_ticks, item.time_in_force)
            for item in orders
            if item.conditions is not None and item.conditions.reduce_only
        ]
        if given != [asked] or len(orders) != 1:
            self._wrong(
                event,
                "order",
                found=" and ".join(" ".join(map(str, item)) for item in given) or "no such order",
                expected=f"{' '.join(map(str, asked))}, reduce-only",
            )
        keys = {item.order for item in orders}
        fills = [
            (int(item.price_ticks), int(item.size_lots))
            for item in events
            if isinstance(item, TradeExecuted) and item.taker_client == event.client and item.taker_order in keys
        ]
        if fills != list(due.fills):
            self._wrong(event, "trades", found=_fills(fills), expected=_fills(due.fills))


def _names(keys: Iterable[OrderKey]) -> str:
    return ", ".join("/".join(key) for key in sorted(keys)) or "none"


def _fills(fills: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{lots} at {price}" for price, lots in fills) or "none"


class DeficitsAreCoveredInOrder(_Liquidations):
    """ADL-1: the fund pays first, exactly; then the other side is deleveraged, by score, and equals by client id.

    Nothing is deleveraged that the book could take at the bankruptcy price, or that the fund could pay for.
    """

    invariant = "ADL-1"

    @on(Deleveraged)
    def unasked(self, event: Deleveraged) -> None:
        """A deleveraging is part of a step of a liquidation."""
        if not self._asked:
            self.report(
                f"deleveraging of {event.counterparty} in {event.market}",
                found=f"{event.size_lots} lots are closed against {event.client}",
                expected="a step of a liquidation",
                evidence=[event],
            )

    def look(self, account: Account, stepped: Sequence[LiquidationStepped], due: Due | None, events: Events) -> None:
        """The step beyond the bankruptcy price is the one that is due, and each bears what it says."""
        event = stepped[0]
        name = f"{event.client} in {event.product}"
        if due is None:
            return
        if event.kind in _BEYOND and event.kind is not due.kind:
            self.report(
                f"deficit of {name}",
                found=f"{event.kind} {event.size_lots} lots of {event.market}",
                expected=f"{_closes(due)}, in the book {_fills(due.fills)}",
                evidence=[event],
            )
        if event.kind is not due.kind:
            return
        if due.kind is not _SEIZE and _paid(account, events) != due.paid:
            self.report(
                f"payment for {name}",
                found=_text(_paid(account, events)),
                expected=_text(due.paid),
                evidence=[event],
            )
        told = [item for item in events if isinstance(item, Deleveraged)]
        if due.kind is _DELEVERAGE or told:
            self._deleveraged(name, event, due, told)

    def _deleveraged(self, name: str, event: LiquidationStepped, due: Due, told: Sequence[Deleveraged]) -> None:
        """The lots are closed against the highest scores first, at the bankruptcy price."""
        assert self.steps is not None
        expected = []
        if due.kind is _DELEVERAGE and due.closing is not None:
            expected = [
                f"{client} {lots} lots of {due.closing.market.market} at {due.closing.bankruptcy}, score {score}"
                for client, lots, score in self.steps.counterparties(due)
            ]
        found = [
            f"{item.counterparty} {item.size_lots} lots of {item.market} at {item.price_ticks}, score {item.score}"
            for item in told
        ]
        self.checked += len(expected)
        if found != expected or any(item.client != event.client for item in told):
            self.report(
                f"deleveraging for {name}",
                found="; ".join(found) or "nobody",
                expected="; ".join(expected) or "nobody",
                evidence=[event, *told],
            )
