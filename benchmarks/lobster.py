"""Real order flow as a test of the reference engine: does it fill the very order that the exchange filled.

`python benchmarks/lobster.py FILE` reads messages in the LOBSTER format (seconds after midnight, type, order id,
size, price x 10,000, direction: 1 buy, -1 sell), turns each into a command, runs the commands through the reference
exchange with every invariant on, and judges each execution of a visible order that the file introduced itself.
`benchmarks/README.md` states how a message becomes a command and how to read what is printed.

Exit status: 0 at least 99 % agree and nothing was violated, 1 not so, 2 wrong input, 3 nothing could be judged.
"""

import re
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec import Struct

from holdfast.console import say, telling, verdict_line
from holdfast.reporting import Session, write_json
from holdfast_engine.exchange import Exchange
from holdfast_engine.storage import MemoryStorage
from holdfast_invariants.auditor import Auditor
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ExitStatus, Verdict
from holdfast_model.findings import InvariantCoverage, Violation
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    CancelOrder,
    Command,
    CreditDeposit,
    Events,
    Market,
    OrderId,
    PlaceOrder,
    PriceTicks,
    Record,
    Rejected,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
    View,
)

AGREEMENT_PERCENT_MIN = 99
VIEW_ROWS = 10_000
"""Rows between two views: a view costs as much as there are orders, and is compared with the file's book in full."""

MARKET = "STOCK-USD"
BUYER, SELLER, TAKER = "buyer", "seller", "taker"
"""Resting bids, resting asks and executions belong to three clients, so that self-trade prevention never acts."""

MAKER = {Side.BUY: BUYER, Side.SELL: SELLER}

_MARKET = Market(
    market=MARKET,
    base="STOCK",
    quote="USD",
    lot_amount=Amount(1),
    tick_amount=Amount(1),
    maker_fee_ppm=13,
    taker_fee_ppm=29,
)
"""A lot is a share and a tick a ten-thousandth of a dollar. The fees are made up: they leave remainders."""

SETUP = Setup(assets=("STOCK", "USD"), markets=(_MARKET,), clients=(BUYER, SELLER, TAKER), replicas=("n1", "n2"))


# Reading ----------------------------------------------------------------------------------------------------------

NEW, REDUCED, DELETED, EXECUTED, HIDDEN = 1, 2, 3, 4, 5

_COLUMNS = ("time", "type", "order id", "size", "price", "direction")
_TIME = re.compile(r"\d{1,6}(\.\d{1,12})?")
_WHOLE = re.compile(r"-?\d{1,12}")


class Message(Struct, frozen=True, kw_only=True):
    """One row of a LOBSTER message file; `row` counts from 1, `side` is the side of the order that is named."""

    row: int
    time: str
    kind: int
    order: int
    size: SizeLots
    price: PriceTicks
    side: Side


def read_messages(path: Path) -> list[Message]:
    """All rows of a file. Raises `HoldfastError` that names file and line where one is not a message."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise HoldfastError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise HoldfastError(f"{path}:{number}: not text; expected a LOBSTER message file") from error
    messages: list[Message] = []
    before = 0.0
    for number, line in enumerate(text.splitlines(), start=1):
        message = _message(line, number, at=f"{path}:{number}")
        if float(message.time) < before:
            raise HoldfastError(f"{path}:{number}: time {message.time} is before the row above; expected time order")
        before = float(message.time)
        messages.append(message)
    if not messages:
        raise HoldfastError(f"{path}: is empty; expected a LOBSTER message file")
    return messages


def _message(line: str, number: int, *, at: str) -> Message:
    cells = line.split(",")
    if len(cells) != len(_COLUMNS):
        raise HoldfastError(f"{at}: {len(cells)} columns; expected {len(_COLUMNS)}: {', '.join(_COLUMNS)}")
    if not _TIME.fullmatch(cells[0]):
        raise HoldfastError(f"{at}: time {cells[0]!r}; expected seconds after midnight")
    for name, cell in zip(_COLUMNS[1:], cells[1:], strict=True):
        if not _WHOLE.fullmatch(cell):
            raise HoldfastError(f"{at}: {name} {cell!r}; expected a whole number of at most 12 digits")
    kind, order, size, price, direction = map(int, cells[1:])
    if kind not in (NEW, REDUCED, DELETED, EXECUTED, HIDDEN):
        raise HoldfastError(f"{at}: type {kind}; expected 1 to 5 (auctions and halts are not converted)")
    for name, value in (("size", size), ("price", price)):
        if value <= 0:
            raise HoldfastError(f"{at}: {name} {value}; expected more than 0")
    if direction not in (1, -1):
        raise HoldfastError(f"{at}: direction {direction}; expected 1 (buy) or -1 (sell)")
    return Message(
        row=number,
        time=cells[0],
        kind=kind,
        order=order,
        size=SizeLots(size),
        price=PriceTicks(price),
        side=Side.BUY if direction == 1 else Side.SELL,
    )


# Evidence ---------------------------------------------------------------------------------------------------------


class Fill(Struct, frozen=True, kw_only=True):
    """What the engine filled: the order as the file numbers it, its price, the lots."""

    order: int
    price: PriceTicks
    size: SizeLots


class Miss(Struct, frozen=True, kw_only=True):
    """An execution at which the engine filled something else than the exchange did.

    `queue_ahead` is how many orders, and `lots_ahead` how many lots, stood before the named order at its price as the
    file tells it. Exchanges number orders as they come: where the named order's number is lower than all of theirs
    (`numbered_before`), it is older than the row that introduces it.
    """

    row: int
    time: str
    order: int
    price: PriceTicks
    size: SizeLots
    filled: tuple[Fill, ...]
    queue_ahead: int
    lots_ahead: int
    numbered_before: bool


class Replayed(Struct, frozen=True, kw_only=True):
    """The result of one file.

    `judged` executions name an order that the file introduced, `hits` of them filled that order, whole and at its
    price, and nothing else. `skipped` counts rows without a command, by what they are. `repairs` are the commands
    that brought the book back after a miss, `refused` the commands that the engine refused, `crossed` the new orders
    that traded on arrival. `books_compared` views were compared with the file's book, `books_different` differed.
    """

    rows: int
    messages: dict[str, int]
    resynchronised: bool
    commands: int
    repairs: int
    refused: int
    crossed: int
    skipped: dict[str, int]
    judged: int
    hits: int
    misses: tuple[Miss, ...]
    books_compared: int
    books_different: int
    coverage: tuple[InvariantCoverage, ...]
    violations: tuple[Violation, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether engine and exchange agree in at least 99 % of what can be judged, and nothing is violated."""
        if self.violations or self.books_different or (self.resynchronised and self.refused):
            return Verdict.VIOLATED
        if not self.judged:
            return Verdict.INCONCLUSIVE
        return Verdict.HELD if 100 * self.hits >= AGREEMENT_PERCENT_MIN * self.judged else Verdict.VIOLATED


# Replaying --------------------------------------------------------------------------------------------------------

_KINDS = {
    NEW: "new orders",
    REDUCED: "partial cancels",
    DELETED: "deletes",
    EXECUTED: "visible executions",
    HIDDEN: "hidden executions",
}


class Known(Struct, kw_only=True):
    """An order that the file introduced: `left` as the file has it, all below as the engine was told.

    `total` counts what is filled; `engine_left` is what rests in the engine; `placed` the id that it has there.
    """

    number: int
    side: Side
    price: PriceTicks
    left: SizeLots
    placed: OrderId
    total: SizeLots
    engine_left: SizeLots
    times_placed: int = 1


Level = tuple[Side, PriceTicks]


class Replay:
    """A file on its way through the exchange: what the file's book holds, and what the engine does with the commands.

    The file's book is kept from the rows alone and never looks at the engine.
    """

    def __init__(self, path: Path, *, resynchronise: bool = True) -> None:
        self._path = path
        self._resynchronise = resynchronise
        self._exchange = Exchange(MemoryStorage())
        self._exchange.reset(SETUP)
        self._auditor = Auditor(SETUP)
        self._known: dict[int, Known] = {}
        self._introduced: dict[int, Known] = {}
        self._levels: dict[Level, dict[int, Known]] = {}
        self._by_placed: dict[OrderId, Known] = {}
        self._messages: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._commands = self._repairs = self._refused = self._crossed = 0
        self._judged = self._hits = 0
        self._misses: list[Miss] = []
        self._books_compared = self._books_different = 0

    def run(self, messages: Iterable[Message], *, funds: Amount, progress: Callable[[str], None]) -> Replayed:
        """The result of all rows. `funds` is what each client is given of each asset before the first."""
        for client in SETUP.clients:
            for asset in SETUP.assets:
                self._do(CreditDeposit(client=client, asset=asset, amount=funds, transaction=f"{client}-{asset}"))
        rows = 0
        for message in messages:
            rows += 1
            self._messages[_KINDS[message.kind]] += 1
            self._take(message)
            if not rows % VIEW_ROWS:
                self._look()
                progress(f"replaying: row {rows:,}, {self._hits:,} of {self._judged:,} executions agree")
        self._look()
        return Replayed(
            rows=rows,
            messages=dict(self._messages),
            resynchronised=self._resynchronise,
            commands=self._commands,
            repairs=self._repairs,
            refused=self._refused,
            crossed=self._crossed,
            skipped=dict(sorted(self._skipped.items())),
            judged=self._judged,
            hits=self._hits,
            misses=tuple(self._misses),
            books_compared=self._books_compared,
            books_different=self._books_different,
            coverage=self._auditor.coverage(),
            violations=tuple(self._auditor.violations),
        )

    def _take(self, message: Message) -> None:
        if message.kind == HIDDEN:
            self._skipped["hidden executions"] += 1
            return
        known = self._known.get(message.order)
        if message.kind == NEW:
            if message.order in self._introduced:
                raise self._contradiction(message, "is introduced a second time", "an id that is new")
            self._introduce(message)
            return
        if known is None and message.order in self._introduced:
            raise self._contradiction(message, "is named after it was over", "an order with something left")
        if known is None:
            self._skipped[f"{_KINDS[message.kind]} of unknown orders"] += 1
            return
        self._agree(message, known)
        if message.kind == REDUCED:
            self._reduce(message, known)
        elif message.kind == DELETED:
            self._delete(known)
        else:
            self._execute(message, known)

    def _contradiction(self, message: Message, found: str, expected: str) -> HoldfastError:
        return HoldfastError(f"{self._path}:{message.row}: order {message.order} {found}; expected {expected}")

    def _agree(self, message: Message, known: Known) -> None:
        """Refuse a row that contradicts those above it."""
        if (message.side, message.price) != (known.side, known.price):
            raise self._contradiction(
                message, f"is a {message.side} at {message.price}", f"a {known.side} at {known.price}, as introduced"
            )
        if message.size > known.left:
            raise self._contradiction(message, f"loses {message.size}", f"at most {known.left}, what it has left")
        if message.kind == DELETED and message.size != known.left:
            raise self._contradiction(message, f"is deleted with {message.size} left", str(known.left))
        if message.kind == REDUCED and message.size == known.left:
            raise self._contradiction(message, "is partially cancelled whole", f"less than {known.left}, or a delete")

    # Messages to commands -----------------------------------------------------------------------------------------

    def _introduce(self, message: Message) -> None:
        known = Known(
            number=message.order,
            side=message.side,
            price=message.price,
            left=message.size,
            placed=str(message.order),
            total=message.size,
            engine_left=message.size,
        )
        self._known[message.order] = self._introduced[message.order] = known
        self._levels.setdefault((known.side, known.price), {})[known.number] = known
        fills = self._place(known)
        if fills:
            self._crossed += 1
            if self._resynchronise:
                self._forget({known.number: known, **{fill.order: self._known[fill.order] for fill in fills}})

    def _reduce(self, message: Message, known: Known) -> None:
        known.left = SizeLots(known.left - message.size)
        known.total = SizeLots(known.total - message.size)
        known.engine_left = SizeLots(known.engine_left - message.size)
        self._do(
            AmendOrder(client=MAKER[known.side], order=known.placed, size_lots=known.total, price_ticks=known.price)
        )

    def _delete(self, known: Known) -> None:
        self._leave(known)
        self._cancel(known)

    def _execute(self, message: Message, known: Known) -> None:
        ahead = self._ahead(known)
        fills = self._fills(
            self._do(
                PlaceOrder(
                    client=TAKER,
                    order=f"row-{message.row}",
                    market=MARKET,
                    side=known.side.opposite,
                    size_lots=message.size,
                    price_ticks=message.price,
                    time_in_force=TimeInForce.IOC,
                )
            )
        )
        self._judged += 1
        known.left = SizeLots(known.left - message.size)
        if not known.left:
            self._leave(known)
        if fills == (Fill(order=message.order, price=message.price, size=message.size),):
            self._hits += 1
            return
        self._misses.append(
            Miss(
                row=message.row,
                time=message.time,
                order=message.order,
                price=message.price,
                size=message.size,
                filled=fills,
                queue_ahead=len(ahead),
                lots_ahead=sum(ahead.values()),
                numbered_before=bool(ahead) and message.order < min(ahead),
            )
        )
        if self._resynchronise:
            self._repair(known, fills)

    def _ahead(self, known: Known) -> dict[int, int]:
        """The lots of each order that stands before this one, as the file has it."""
        ahead = {}
        for number, other in self._levels[known.side, known.price].items():
            if other is known:
                break
            ahead[number] = int(other.left)
        return ahead

    # Bringing the book back ---------------------------------------------------------------------------------------

    def _repair(self, named: Known, fills: tuple[Fill, ...]) -> None:
        """Bring the engine's book to what the file says, with ordinary commands.

        An order that was wrongly filled cannot be filled back, and a new one joins the back of its queue. So at each
        price that a wrong fill touched every order is cancelled, and what the file says is left of each is placed
        again, in the file's order, under a new id.
        """
        before = self._commands
        touched = [named, *(self._introduced[fill.order] for fill in fills)]
        for level in dict.fromkeys((known.side, known.price) for known in touched):
            queue = list(self._levels.get(level, {}).values())
            for known in (*(item for item in (named,) if item not in queue), *queue):
                if (known.side, known.price) == level:
                    self._cancel(known)
            for known in queue:
                known.times_placed += 1
                known.placed = f"{known.number}.{known.times_placed}"
                known.total = known.engine_left = known.left
                crossed = self._place(known)
                assert not crossed, "the file's book does not cross itself: orders that cross are forgotten"
        self._repairs += self._commands - before

    def _forget(self, crossing: dict[int, Known]) -> None:
        """Take orders that met on arrival out of both books: the file shows a crossed book, which no engine keeps."""
        before = self._commands
        for known in crossing.values():
            self._leave(known)
            del self._introduced[known.number]
            self._cancel(known)
        self._repairs += self._commands - before

    def _leave(self, known: Known) -> None:
        """Take an order out of the file's book."""
        del self._known[known.number]
        level = (known.side, known.price)
        del self._levels[level][known.number]
        if not self._levels[level]:
            del self._levels[level]

    # The engine ---------------------------------------------------------------------------------------------------

    def _place(self, known: Known) -> tuple[Fill, ...]:
        self._by_placed[known.placed] = known
        return self._fills(
            self._do(
                PlaceOrder(
                    client=MAKER[known.side],
                    order=known.placed,
                    market=MARKET,
                    side=known.side,
                    size_lots=known.total,
                    price_ticks=known.price,
                )
            )
        )

    def _cancel(self, known: Known) -> None:
        if known.engine_left > 0 or not self._resynchronise:
            self._do(CancelOrder(client=MAKER[known.side], order=known.placed))
            known.engine_left = SizeLots(0)

    def _do(self, command: Command) -> Events:
        """Hand one command to the exchange and its answer to the auditor."""
        (answer,) = self._exchange.submit((command,))
        self._auditor.watch(Record(step=command, answers=(answer,)))
        self._commands += 1
        self._refused += isinstance(answer.events[0], Rejected)
        return answer.events

    def _fills(self, events: Events) -> tuple[Fill, ...]:
        fills = []
        for event in events:
            if isinstance(event, TradeExecuted):
                for order in (event.maker_order, event.taker_order):
                    if (known := self._by_placed.get(order)) is not None:
                        known.engine_left = SizeLots(known.engine_left - event.size_lots)
                maker = self._by_placed[event.maker_order]
                fills.append(Fill(order=maker.number, price=event.price_ticks, size=event.size_lots))
        return tuple(fills)

    def _look(self) -> None:
        """Give the auditor a view, and compare its queues with the file's."""
        view = self._exchange.view()
        self._auditor.look(view)
        if self._resynchronise:
            self._books_compared += 1
            self._books_different += list(_shown(view)) != list(self._book())

    def _book(self) -> Iterator[tuple[OrderId, PriceTicks, SizeLots]]:
        for side in (Side.BUY, Side.SELL):
            prices = sorted((price for at, price in self._levels if at is side), reverse=side is Side.BUY)
            for price in prices:
                for known in self._levels[side, price].values():
                    yield known.placed, known.price, known.left


def _shown(view: View) -> Iterator[tuple[OrderId, PriceTicks, SizeLots]]:
    for order in view.orders:
        yield order.order, order.price_ticks, order.left_lots


def replay(path: Path, *, resynchronise: bool = True, progress: Callable[[str], None] = lambda _: None) -> Replayed:
    """The result of running a LOBSTER file through the reference exchange with every invariant on."""
    messages = read_messages(path)
    funds = Amount(3 * sum(message.size * message.price for message in messages))
    return Replay(path, resynchronise=resynchronise).run(messages, funds=funds, progress=progress)


# The command ------------------------------------------------------------------------------------------------------


def _told(result: Replayed, seconds: float) -> Iterator[str]:
    """What is printed."""
    yield f"{result.rows:,} rows: {_counted(result.messages)}"
    yield f"without a command: {_counted(result.skipped)}"
    yield (
        f"{result.commands:,} commands in {seconds:.1f} s ({result.commands / seconds:,.0f}/s, invariants on); "
        f"{result.refused:,} refused, {result.crossed:,} new orders crossed, {result.repairs:,} to resynchronise"
    )
    if result.resynchronised:
        yield f"book compared with the file's {result.books_compared} times, {result.books_different} different"
    checks = sum(coverage.checked for coverage in result.coverage)
    yield f"{checks:,} checks of {len(result.coverage)} invariants, {len(result.violations)} violated"
    for violation in result.violations:
        yield f"  {violation.invariant}: {violation.subject}: {violation.found}; expected {violation.expected}"
    for number, miss in enumerate(result.misses):
        if not number:
            yield "executions that filled another order (prices in ten-thousandths):"
        filled = ", ".join(f"{fill.order} {fill.size} at {fill.price}" for fill in miss.filled) or "nothing"
        older = "; by its number it is older than they are" if miss.numbered_before else ""
        yield (
            f"  row {miss.row}, {miss.time} s: the exchange filled {miss.order} {miss.size} at {miss.price}, the "
            f"engine {filled}; orders before it: {miss.queue_ahead} with {miss.lots_ahead} lots{older}"
        )
    if result.misses:
        older_count = sum(miss.numbered_before for miss in result.misses)
        yield f"{older_count} of these {len(result.misses)} name an order that by its number is older than its row"
    if result.judged:
        yield (
            f"{result.hits:,} of {result.judged:,} visible executions that can be judged filled the very order "
            f"at the same price: {100 * result.hits / result.judged:.2f} %"
        )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _arguments() -> ArgumentParser:
    parser = ArgumentParser(description="Run LOBSTER messages through the reference engine, with every invariant on.")
    parser.add_argument("file", metavar="FILE", type=Path, help="messages in the LOBSTER format")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON to FILE (- is standard output)")
    parser.add_argument("--no-resync", action="store_true", help="leave the book as it is after a miss")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = _arguments().parse_args(arguments)
    session = Session("lobster")
    try:
        start = perf_counter()
        with telling() as progress:
            result = replay(options.file, resynchronise=not options.no_resync, progress=progress)
        seconds = perf_counter() - start
        report = session.report(result.verdict, result, timing={"replay": round(seconds, 3)})
        environment = report.environment | {"command_line": " ".join(["benchmarks/lobster.py", *sys.argv[1:]])}
        if options.json is not None:
            write_json(msgspec.structs.replace(report, environment=environment), options.json)
    except HoldfastError as error:
        sys.stderr.write(f"lobster: {error}\n")
        return int(ExitStatus.BAD_INPUT)
    if options.json != "-":
        for line in _told(result, seconds):
            say(line)
        verdict_line(result.verdict, str(options.file))
    return report.exit_status


if __name__ == "__main__":
    sys.exit(main())
