"""Speed, as figures and as ratios to a yardstick that ran in the same run: `make bench`.

The yardsticks (a naive book, a naive search) lie in `../shared/yardsticks`, beside the checkout. Where they are
absent the figures are taken all the same, on the same operations, and the ratios are skipped by name. Books must
trade alike: digests of all trades are compared. `benchmarks/README.md` says how to read what is printed.

Exit status: 0 all digests and counts agree, 1 one differs, 2 wrong input.
"""

import gc
import os
import re
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cached_property
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time
from typing import Protocol, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from nacl.signing import SigningKey

from holdfast.console import say, verdict_line
from holdfast.engines import REFERENCE, EngineSource
from holdfast.fuzzing import Fuzz, fuzz
from holdfast.reporting import Session, write_json
from holdfast.setups import SMALL_SETUP
from holdfast_engine import frost
from holdfast_engine.book import Book, StepKind
from holdfast_engine.exchange import Exchange
from holdfast_engine.journal import LOG, Journal
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.storage import FileStorage, MemoryStorage
from holdfast_engine.venue import Venue
from holdfast_invariants.auditor import Auditor
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ExitStatus, Verdict
from holdfast_model.specs import load_model
from holdfast_model.vocabulary import (
    Amount,
    Answer,
    CancelOrder,
    ChainRule,
    Command,
    CreditDeposit,
    CustodyRules,
    EntryPosted,
    Event,
    Liability,
    Market,
    PlaceOrder,
    PriceTicks,
    Record,
    ReportBlock,
    ReportDeposit,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    TierRule,
    TimeInForce,
    TradeExecuted,
    build_liabilities,
)
from holdfast_model.vocabulary.wire import canonical

YARDSTICKS = Path(__file__).resolve().parents[2] / "shared" / "yardsticks"
SEED = 1
BOOK_OPERATIONS = 100_000
ENGINE_OPERATIONS = 20_000
TRADES_SHA256 = {
    BOOK_OPERATIONS: "07ea4134eb7b04c880f8358affa3a28896b2b555153a94f926ff9e31bc3ea623",
    ENGINE_OPERATIONS: "bafa9afe0dd2f4673b72cc47b9455ac07907614a2443c76495783bf054e47800",
}
"""What `yardsticks/book/run_naive.py` prints for this many operations: compared also where it is absent."""

BLOCK = 500
"""How many commands the exchange alone and the audited one take in turn."""
VOLUME_COMMANDS = 3_000
SYNCED_RECORDS = 1_000
LIVE_ORDERS = 10_000
STATES = 1_482_570
"""Of the yardstick model, as TLC, SPIN and the naive search count them."""

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(
            market="BTC-USD",
            base="BTC",
            quote="USD",
            lot_amount=Amount(10),
            tick_amount=Amount(1),
            maker_fee_ppm=1_000,
            taker_fee_ppm=2_500,
        ),
    ),
    clients=("buyer", "seller"),
    replicas=("n1",),
)
REPLICATED_SETUP = replace(SETUP, replicas=("n1", "n2", "n3"))
"""Bids and asks belong to two clients, so that self-trade prevention never acts."""

CUSTODY_SETUP = replace(
    SETUP,
    custody=CustodyRules(
        tiers=(TierRule(tier="hot", signers=("h1", "h2", "h3"), threshold=2),),
        chains=tuple(ChainRule(asset=asset, confirmations=1) for asset in SETUP.assets),
    ),
)
"""The same market with custody, and so with a reconciliation after every command."""

FROST_SIGNATURES = 50
LIABLE_CLIENTS = 100_000

NAIVE_BOOK = "naive book, operations/s"
RAW_WRITES = "plain writes of the same lines/s"
NAIVE_SEARCH = "naive search, states/s"
NAIVE_SEARCHES = "naive searches/min"
PLAIN_SIGNATURES = "plain Ed25519 signatures/s"
WITHOUT_CUSTODY = "the same commands without custody/s"
PLAIN_HASHES = "plain sha256 of the same leaves/s"


# The flow ---------------------------------------------------------------------------------------------------------

Placing = tuple[int, str, int, int]
"""A limit order: number, "B" or "S", price, size."""

Operation = Placing | int
"""A limit order, or the number of an order to cancel, which may be over already."""

Trade = tuple[str, str, int, int]
"""Taker, maker, price, size."""


def order_flow(count: int, *, seed: int = SEED) -> list[Operation]:
    """The operations that `yardsticks/book/gen.py` writes for this count and seed; fewer are a prefix of more."""
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    middle, number = 10_000, 0
    live: list[int] = []
    flow: list[Operation] = []
    for _ in range(count):
        if live and random.random() < 0.30:  # noqa: PLR2004 - the yardstick's share of cancels
            place = random.randrange(len(live))
            flow.append(live[place])
            live[place] = live[-1]
            live.pop()
            continue
        number += 1
        if random.random() < 0.05:  # noqa: PLR2004 - the yardstick's drift
            middle += random.choice((-1, 1))
        side = random.choice("BS")
        offset = int(random.expovariate(0.15)) - 3
        price = middle - offset if side == "B" else middle + offset
        flow.append((number, side, price, random.randint(1, 100)))
        live.append(number)
        if len(live) > 20_000:  # noqa: PLR2004 - the yardstick's memory
            live = live[10_000:]
    return flow


def digest(trades: Iterable[Trade]) -> str:
    """The digest by which books are compared, as `yardsticks/book/run_naive.py` prints it."""
    return sha256("\n".join(f"{a},{b},{price},{size}" for a, b, price, size in trades).encode()).hexdigest()


def commands_of_flow(flow: Sequence[Operation]) -> list[Command]:
    """The flow as commands to an exchange."""
    owners: dict[int, str] = {}
    commands: list[Command] = []
    for operation in flow:
        if isinstance(operation, int):
            commands.append(CancelOrder(client=owners[operation], order=str(operation)))
            continue
        number, side, price, size = operation
        owners[number] = "buyer" if side == "B" else "seller"
        commands.append(_placing(number, Side.BUY if side == "B" else Side.SELL, price=price, size=size))
    return commands


def _placing(number: int, side: Side, *, price: int, size: int) -> PlaceOrder:
    return PlaceOrder(
        client="buyer" if side is Side.BUY else "seller",
        order=str(number),
        market="BTC-USD",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
    )


def _deposits(setup: Setup = SETUP) -> list[Command]:
    if setup.custody is not None:
        return [
            *(ReportBlock(asset=asset, height=1) for asset in setup.assets),
            *(
                ReportDeposit(
                    asset=asset, transaction=f"{client}-{asset}", client=client, amount=Amount(10**15), height=1
                )
                for client in setup.clients
                for asset in setup.assets
            ),
        ]
    return [
        CreditDeposit(client=client, asset=asset, amount=Amount(10**15), transaction=f"{client}-{asset}")
        for client in SETUP.clients
        for asset in SETUP.assets
    ]


# Subjects: each returns its seconds, of CPU time where nothing waits, and the trades where there are any -----------


class NaiveBook(Protocol):
    """The yardstick's book."""

    trades: list[tuple[int, int, int, int]]

    def new(self, number: int, side: str, price: int, size: int) -> object:
        """Place a limit order."""

    def cancel(self, number: int) -> object:
        """Cancel an order, if it is there."""


def naive_book_class() -> type[NaiveBook] | None:
    """The yardstick's book; None where it is absent."""
    path = YARDSTICKS / "book" / "naive.py"
    spec = spec_from_file_location("naive", path) if path.exists() else None
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("type[NaiveBook]", module.Book)


def run_naive_book(book_class: type[NaiveBook], flow: Sequence[Operation]) -> tuple[float, list[Trade]]:
    """Seconds and trades of the yardstick on a flow."""
    book = book_class()
    gc.collect()
    start = process_time()
    for operation in flow:
        if isinstance(operation, int):
            book.cancel(operation)
        else:
            book.new(*operation)
    seconds = process_time() - start
    return seconds, [(str(taker), str(maker), price, size) for taker, maker, price, size in book.trades]


def run_book(flow: Sequence[Operation]) -> tuple[float, list[Trade]]:
    """Seconds and trades of the reference engine's book alone: planning, matching, resting, cancelling."""
    book = Book()
    live: dict[int, Order] = {}
    trades: list[tuple[int, int, int, int]] = []
    # Looked up once, as the engine does: the yardstick has no enums.
    buy, sell, gtc, newest = Side.BUY, Side.SELL, TimeInForce.GTC, SelfTrade.CANCEL_NEWEST
    resting, trade, lots, ticks = OrderStatus.RESTING, StepKind.TRADE, SizeLots, PriceTicks
    operations = [
        operation
        if isinstance(operation, int)
        else (operation[0], buy if operation[1] == "B" else sell, ticks(operation[2]), lots(operation[3]))
        for operation in flow
    ]
    gc.collect()
    start = process_time()
    for operation in operations:
        if isinstance(operation, int):
            cancelled = live.pop(operation, None)
            if cancelled is not None:
                book.remove(cancelled)
            continue
        number, side, price, size = operation
        plan = book.plan(client=None, side=side, price=price, size=size, self_trade=newest)
        for step in plan.steps:
            assert step.kind is trade
            maker = step.maker
            trades.append((number, maker.accepted, maker.price_ticks or 0, step.lots))
            maker.left_lots = lots(maker.left_lots - step.lots)
            if not maker.left_lots:
                book.remove(maker)
                del live[maker.accepted]
        if plan.left:
            order = Order(
                client="client",
                order="order",
                accepted=number,
                market="BTC-USD",
                side=side,
                size_lots=size,
                price_ticks=price,
                time_in_force=gtc,
                post_only=False,
                self_trade=newest,
                status=resting,
                filled_lots=lots(size - plan.left),
                left_lots=plan.left,
                fee_numerator=Amount(0),
            )
            live[number] = order
            book.add(order)
    seconds = process_time() - start
    return seconds, [(str(taker), str(maker), price, size) for taker, maker, price, size in trades]


class EngineRun:
    """The exchange (ledger, book, journal in memory, wallet, followers) on a flow, audited or not, block by block."""

    def __init__(self, *, audited: bool = False, setup: Setup = SETUP) -> None:
        self.storage = MemoryStorage()
        self.answers: list[Answer] = []
        self.seconds = 0.0
        self._exchange = Exchange(self.storage)
        self._exchange.reset(setup)
        self._auditor = Auditor(setup)
        self._audited = audited
        for command in _deposits(setup):
            self._auditor.watch(Record(step=command, answers=self._exchange.submit((command,))))

    def take(self, commands: Sequence[Command]) -> None:
        """Answer commands, which are added to the time it took."""
        exchange, auditor, answers, audited = self._exchange, self._auditor, self.answers, self._audited
        start = process_time()
        for command in commands:
            answer = exchange.submit((command,))
            answers += answer
            if audited:
                auditor.watch(Record(step=command, answers=answer))
        self.seconds += process_time() - start

    def end(self) -> None:
        """Take a view where it is audited; no invariant may be violated."""
        start = process_time()
        if self._audited:
            self._auditor.look(self._exchange.view())
        self.seconds += process_time() - start
        assert not self._auditor.violations, self._auditor.violations[0]


def run_engine(
    commands: Sequence[Command], *, audited: bool = False, setup: Setup = SETUP
) -> tuple[float, list[Answer], MemoryStorage]:
    """Seconds, answers and storage of the exchange."""
    run = EngineRun(audited=audited, setup=setup)
    gc.collect()
    run.take(commands)
    run.end()
    return run.seconds, run.answers, run.storage


def run_in_turn(commands: Sequence[Command]) -> tuple[EngineRun, EngineRun]:
    """The exchange alone and audited, in turn for a block of commands each, so that both see the same machine."""
    alone, audited = EngineRun(), EngineRun(audited=True)
    gc.collect()
    for start in range(0, len(commands), BLOCK):
        block = commands[start : start + BLOCK]
        alone.take(block)
        audited.take(block)
    audited.end()
    return alone, audited


def run_volume(commands: int, *, setups: Sequence[Setup] = ()) -> tuple[float, Fuzz]:
    """Seconds and outcome of seeded episodes on the reference exchange, with all invariants, like `holdfast fuzz`."""
    with EngineSource(REFERENCE) as source:
        source.engine()
        gc.collect()
        start = process_time()
        outcome = fuzz(source, seed=SEED, commands=commands, setups=setups)
        return process_time() - start, outcome


def run_records(commands: Sequence[Command], answers: Sequence[Answer]) -> tuple[float, MemoryStorage]:
    """Seconds and storage for that part of an exchange's work which no decision needs.

    The events of known answers are made again, applied to a venue, sealed into its journal and answered.
    """
    storage = MemoryStorage()
    journal, venue = Journal(storage), Venue(SETUP)
    for command in _deposits():
        events = venue.apply(command)
        journal.append(seq=venue.seq, epoch=venue.epoch, command=command, events=events)
    answered: list[Answer] = []
    gc.collect()
    start = perf_counter()
    for command, answer in zip(commands, answers, strict=True):
        events = tuple([_made_again(event) for event in answer.events])
        venue.replay(events)
        journal.append(seq=venue.seq, epoch=venue.epoch, command=command, events=events)
        answered.append(Answer(events=events, seq=venue.seq, journal_sha256=journal.head))
    return perf_counter() - start, storage


def _made_again(event: Event) -> Event:
    """An equal event with lines of its own: what it costs at least to tell it."""
    if event.__class__ is EntryPosted:
        return replace(event, postings=tuple([copy(posting) for posting in event.postings]))
    return copy(event)


def run_frost(count: int, *, signers: int, threshold: int) -> float:
    """Seconds for signatures of a FROST group: both rounds of each signer, the aggregation, its verification."""
    group, shares = frost.deal(range(1, signers + 1), threshold=threshold)
    start = perf_counter()
    for number in range(count):
        nonces = {share.signer: frost.commit(share) for share in shares[:threshold]}
        commitments = [frost.commitment_to(pair, signer=signer) for signer, pair in nonces.items()]
        session = frost.begin(group, number.to_bytes(8, "big"), commitments)
        signed = {share.signer: frost.sign(session, share, nonces[share.signer]) for share in shares[:threshold]}
        frost.aggregate(session, signed)
    return perf_counter() - start


def run_plain_signing(count: int) -> float:
    """Seconds for as many signatures of one Ed25519 key."""
    key = SigningKey.generate()
    start = perf_counter()
    for number in range(count):
        key.sign(number.to_bytes(8, "big"))
    return perf_counter() - start


def trades_of(answers: Iterable[Answer]) -> list[Trade]:
    """The trades that an exchange told of."""
    return [
        (event.taker_order, event.maker_order, event.price_ticks, event.size_lots)
        for answer in answers
        for event in answer.events
        if isinstance(event, TradeExecuted)
    ]


# Figures ----------------------------------------------------------------------------------------------------------


class Figure(Struct, frozen=True, kw_only=True):
    """A measured rate: the median, lowest and highest of its repetitions, and the median ratio to its yardstick.

    A ratio above 1 is faster than the yardstick; without one, `ratio_skipped` says why. `beside` is another
    measurement that ran in turn with it, and `beside_ratio` the median ratio to that.
    """

    name: str
    what: str
    unit: str
    value: float
    low: float
    high: float
    repetitions: int
    yardstick: str = ""
    ratio: float | None = None
    ratio_skipped: str = ""
    beside: str = ""
    beside_ratio: float | None = None


class Benchmarks(Struct, frozen=True, kw_only=True):
    """The result of a run; `disagreements` tells of digests and counts that are not the yardstick's."""

    figures: tuple[Figure, ...]
    disagreements: tuple[str, ...]
    skipped: tuple[str, ...]


def _figure(
    name: str, what: str, *, rates: Sequence[float], unit: str, yardstick: str, against: Sequence[float] | str
) -> Figure:
    """A figure from its repetitions and those of its yardstick, which ran in turn, or why there are none."""
    ratios = None if isinstance(against, str) else [a / b for a, b in zip(rates, against, strict=True)]
    return Figure(
        name=name,
        what=what,
        unit=unit,
        value=round(median(rates), 1),
        low=round(min(rates), 1),
        high=round(max(rates), 1),
        repetitions=len(rates),
        yardstick=yardstick,
        ratio=None if ratios is None else round(median(ratios), 4),
        ratio_skipped=against if isinstance(against, str) else "",
    )


class Bench:
    """The measurements, each with its yardstick taken in turn with it."""

    def __init__(self, repetitions: int) -> None:
        self._repetitions = repetitions
        self._naive = naive_book_class()
        self._scratch = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
        self.disagreements: list[str] = []
        self.skipped: list[str] = []
        if self._naive is None:
            self.skipped.append(f"{NAIVE_BOOK}: yardsticks/book/naive.py is absent")

    @property
    def measurements(self) -> dict[str, Callable[[], Figure]]:
        """What can be measured, by name, in the order in which it is."""
        return {
            "book": self.book,
            "engine": lambda: self._engine("engine"),
            "records": self.records,
            "replication": lambda: self._engine("replication", setup=REPLICATED_SETUP),
            "monitors": self.monitors,
            "volume": self.volume,
            "volume-spot": lambda: self.volume(spot=True),
            "journal-sync": lambda: self._journal(sync=True),
            "journal": lambda: self._journal(sync=False),
            "snapshot": self.snapshot,
            "restore": self.restore,
            "frost": self.frost,
            "reconciliation": self.reconciliation,
            "liabilities": self.liabilities,
            "explore": self.explore,
            "prove-yardstick": lambda: self._prove("yardstick"),
            "prove-spot": lambda: self._prove("spot"),
        }

    @cached_property
    def flow(self) -> list[Operation]:
        """The operations of the largest measurement; the others take a prefix."""
        return order_flow(BOOK_OPERATIONS)

    def _yardstick(self, flow: Sequence[Operation], rates: list[float]) -> None:
        """Time the naive book once, where it is there."""
        if self._naive is not None:
            seconds, trades = run_naive_book(self._naive, flow)
            rates.append(len(flow) / seconds)
            self._compare("naive book", trades, len(flow))

    def _against(self, rates: list[float]) -> list[float] | str:
        return rates or "yardsticks/book/naive.py is absent"

    def _compare(self, name: str, trades: Iterable[Trade], operations: int) -> None:
        found, expected = digest(trades), TRADES_SHA256[operations]
        if found != expected:
            self.disagreements.append(f"{name}: trades of {operations} operations {found}; expected {expected}")

    def book(self) -> Figure:
        """The book alone."""
        rates: list[float] = []
        naive: list[float] = []
        for _ in range(self._repetitions):
            self._yardstick(self.flow, naive)
            seconds, trades = run_book(self.flow)
            rates.append(len(self.flow) / seconds)
            self._compare("book", trades, len(self.flow))
        what = f"{BOOK_OPERATIONS:,} operations on the book alone"
        return _figure(
            "book", what, rates=rates, unit="operations/s", yardstick=NAIVE_BOOK, against=self._against(naive)
        )

    def _engine(self, name: str, *, setup: Setup = SETUP) -> Figure:
        flow = self.flow[:ENGINE_OPERATIONS]
        commands = commands_of_flow(flow)
        rates: list[float] = []
        naive: list[float] = []
        for _ in range(self._repetitions):
            self._yardstick(flow, naive)
            seconds, answers, _ = run_engine(commands, setup=setup)
            rates.append(len(flow) / seconds)
            self._compare(name, trades_of(answers), len(flow))
        what = f"{ENGINE_OPERATIONS:,} commands: ledger, book, journal in memory"
        followers = len(setup.replicas) - 1
        what += f", {followers} followers fed" if followers else ""
        return _figure(name, what, rates=rates, unit="commands/s", yardstick=NAIVE_BOOK, against=self._against(naive))

    def monitors(self) -> Figure:
        """The exchange with every monitor and a view, in turn with the exchange alone."""
        flow = self.flow[:ENGINE_OPERATIONS]
        commands = commands_of_flow(flow)
        rates: list[float] = []
        naive: list[float] = []
        ratios: list[float] = []
        for _ in range(self._repetitions):
            self._yardstick(flow, naive)
            alone, audited = run_in_turn(commands)
            rates.append(len(flow) / audited.seconds)
            ratios.append(alone.seconds / audited.seconds)
            self._compare("monitors", trades_of(audited.answers), len(flow))
        what = f"{ENGINE_OPERATIONS:,} commands: ledger, book, journal in memory, all monitors and a view"
        figure = _figure(
            "monitors", what, rates=rates, unit="commands/s", yardstick=NAIVE_BOOK, against=self._against(naive)
        )
        return replace(figure, beside="engine", beside_ratio=round(median(ratios), 4))

    def volume(self, *, spot: bool = False) -> Figure:
        """Seeded episodes with every invariant on: all setups in turn, or spot trading alone."""
        rates: list[float] = []
        naive: list[float] = []
        for _ in range(self._repetitions):
            self._yardstick(self.flow, naive)
            seconds, outcome = run_volume(VOLUME_COMMANDS, setups=(SMALL_SETUP,) if spot else ())
            rates.append(outcome.commands / seconds)
            if outcome.violations:
                self.disagreements.append(f"volume: {outcome.violations[0].invariant} is violated")
        what = f"{VOLUME_COMMANDS:,} commands of `holdfast fuzz`, all invariants, views, kills, restores: "
        what += "spot" if spot else "spot, margin, auctions, operations, custody"
        name = "volume-spot" if spot else "volume"
        return _figure(name, what, rates=rates, unit="commands/s", yardstick=NAIVE_BOOK, against=self._against(naive))

    def records(self) -> Figure:
        """What no decision of the exchange needs: the engine cannot be faster than this."""
        flow = self.flow[:ENGINE_OPERATIONS]
        commands = commands_of_flow(flow)
        _, answers, journal = run_engine(commands)
        rates: list[float] = []
        naive: list[float] = []
        for _ in range(self._repetitions):
            self._yardstick(flow, naive)
            seconds, again = run_records(commands, answers)
            rates.append(len(flow) / seconds)
            if again.lines(LOG) != journal.lines(LOG):
                self.disagreements.append("records: another journal than the exchange's; expected the same bytes")
        what = f"{ENGINE_OPERATIONS:,} known answers: events made, applied, sealed; nothing decided"
        return _figure(
            "records", what, rates=rates, unit="records/s", yardstick=NAIVE_BOOK, against=self._against(naive)
        )

    def _journal(self, *, sync: bool) -> Figure:
        count = SYNCED_RECORDS if sync else ENGINE_OPERATIONS
        commands = commands_of_flow(self.flow[:count])
        _, answers, storage = run_engine(commands)
        lines = [line + b"\n" for line in storage.lines(LOG)][-count:]
        rates: list[float] = []
        raw: list[float] = []
        for _ in range(self._repetitions):
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                raw.append(count / _write_lines(Path(folder) / "raw", lines, sync=sync))
                journal = Journal(FileStorage(Path(folder) / "data", sync=sync))
                gc.collect()
                start = perf_counter()
                for seq, (command, answer) in enumerate(zip(commands, answers, strict=True), start=1):
                    journal.append(seq=seq, epoch=1, command=command, events=answer.events)
                rates.append(count / (perf_counter() - start))
        return _figure(
            "journal-sync" if sync else "journal",
            f"{count:,} records sealed and appended to a file, {'each synced' if sync else 'not synced'}",
            rates=rates,
            unit="records/s",
            yardstick=RAW_WRITES,
            against=raw,
        )

    def _live_exchange(self, folder: Path) -> Exchange:
        """An exchange on files with many live orders and nothing else."""
        exchange = Exchange(FileStorage(folder, sync=False))
        exchange.reset(SETUP)
        for command in _deposits():
            exchange.submit((command,))
        for number in range(1, LIVE_ORDERS + 1):
            side = Side.BUY if number % 2 else Side.SELL
            price = 10_000 + (-1 if side is Side.BUY else 1) * (1 + number % 500)
            exchange.submit((_placing(number, side, price=price, size=1 + number % 100),))
        return exchange

    def snapshot(self) -> Figure:
        """A snapshot of many live orders to a file."""
        rates: list[float] = []
        naive: list[float] = []
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            exchange = self._live_exchange(Path(folder))
            for _ in range(self._repetitions):
                self._yardstick(self.flow, naive)
                gc.collect()
                start = perf_counter()
                exchange.snapshot()
                rates.append(LIVE_ORDERS / (perf_counter() - start))
        what = f"{LIVE_ORDERS:,} live orders to a file"
        return _figure(
            "snapshot", what, rates=rates, unit="orders/s", yardstick=NAIVE_BOOK, against=self._against(naive)
        )

    def restore(self) -> Figure:
        """A start from a snapshot of many live orders, with an empty tail."""
        rates: list[float] = []
        naive: list[float] = []
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            exchange = self._live_exchange(Path(folder))
            exchange.snapshot()
            before = exchange.view()
            for _ in range(self._repetitions):
                self._yardstick(self.flow, naive)
                gc.collect()
                start = perf_counter()
                restored = Exchange(FileStorage(Path(folder), sync=False))
                rates.append(LIVE_ORDERS / (perf_counter() - start))
            after = restored.view()
            if (before.orders, before.balances) != (after.orders, after.balances):
                self.disagreements.append("restore: the book or the balances differ from those before")
        what = f"{LIVE_ORDERS:,} live orders from snapshot and journal, one replica"
        return _figure(
            "restore", what, rates=rates, unit="orders/s", yardstick=NAIVE_BOOK, against=self._against(naive)
        )

    def frost(self) -> Figure:
        """Threshold signatures of two of three."""
        rates: list[float] = []
        plain: list[float] = []
        for _ in range(self._repetitions):
            plain.append(FROST_SIGNATURES / run_plain_signing(FROST_SIGNATURES))
            rates.append(FROST_SIGNATURES / run_frost(FROST_SIGNATURES, signers=3, threshold=2))
        what = f"{FROST_SIGNATURES} signatures of 2 of 3: two rounds, aggregation, verification"
        return _figure("frost", what, rates=rates, unit="signatures/s", yardstick=PLAIN_SIGNATURES, against=plain)

    def reconciliation(self) -> Figure:
        """What custody costs where it has nothing to do but to compare."""
        flow = self.flow[:ENGINE_OPERATIONS]
        commands = commands_of_flow(flow)
        rates: list[float] = []
        without: list[float] = []
        for _ in range(self._repetitions):
            for setup, into in ((SETUP, without), (CUSTODY_SETUP, rates)):
                seconds, answers, _ = run_engine(commands, setup=setup)
                into.append(len(flow) / seconds)
                self._compare("reconciliation", trades_of(answers), len(flow))
        what = f"{ENGINE_OPERATIONS:,} commands, each reconciled with custody"
        return _figure(
            "reconciliation", what, rates=rates, unit="commands/s", yardstick=WITHOUT_CUSTODY, against=without
        )

    def liabilities(self) -> Figure:
        """The Merkle sum tree over many clients."""
        owed = [
            Liability(account=f"client{number}", asset="USD", amount=Amount(number + 1))
            for number in range(LIABLE_CLIENTS)
        ]
        leaves = [canonical(item) for item in owed]
        rates: list[float] = []
        plain: list[float] = []
        for _ in range(self._repetitions):
            gc.collect()
            start = perf_counter()
            for leaf in leaves:
                sha256(leaf).digest()
            plain.append(LIABLE_CLIENTS / (perf_counter() - start))
            gc.collect()
            start = perf_counter()
            tree = build_liabilities("USD", owed, salt_key=b"benchmark")
            rates.append(LIABLE_CLIENTS / (perf_counter() - start))
        expected = LIABLE_CLIENTS * (LIABLE_CLIENTS + 1) // 2
        if tree.total != expected:
            self.disagreements.append(f"liabilities: a total of {tree.total}; expected {expected}")
        what = f"the tree of {LIABLE_CLIENTS:,} clients"
        return _figure("liabilities", what, rates=rates, unit="clients/s", yardstick=PLAIN_HASHES, against=plain)

    @cached_property
    def naive_search(self) -> float | None:
        """Seconds of the naive search of the yardstick model, which runs once; None where it is absent."""
        path = YARDSTICKS / "exchange" / "naive_bfs.py"
        if not path.exists():
            self.skipped.append(f"{NAIVE_SEARCH}: yardsticks/exchange/naive_bfs.py is absent")
            return None
        said = subprocess.run([sys.executable, str(path), "2", "1", "ok"], capture_output=True, text=True, check=True)
        found = re.search(r"distinct=(\d+) .*wall=([\d.]+)s", said.stdout)
        assert found is not None, said.stdout
        self._count("naive search", int(found[1]))
        return float(found[2])

    def _count(self, name: str, states: int) -> None:
        if states != STATES:
            self.disagreements.append(f"{name}: {states} states of the yardstick model; expected {STATES}")

    def explore(self) -> Figure:
        """The search of the yardstick model."""
        naive = self.naive_search
        rates: list[float] = []
        for _ in range(self._repetitions):
            gc.collect()
            start = perf_counter()
            found = explore(load_model("yardstick"))
            rates.append(found.distinct / (perf_counter() - start))
            self._count("explore", found.distinct)
        return _figure(
            "explore",
            f"model yardstick: {STATES:,} states",
            rates=rates,
            unit="states/s",
            yardstick=NAIVE_SEARCH,
            against="yardsticks/exchange/naive_bfs.py is absent" if naive is None else [STATES / naive] * len(rates),
        )

    def _prove(self, model: str) -> Figure:
        """The proof of all invariants of a model; its yardstick only says how fast the machine is."""
        naive = self.naive_search
        rates: list[float] = []
        for _ in range(self._repetitions):
            gc.collect()
            start = perf_counter()
            proof = prove(load_model(model))
            rates.append(60 / (perf_counter() - start))
            if proof.verdict is not Verdict.HELD:
                self.disagreements.append(f"prove {model}: {proof.verdict}; expected {Verdict.HELD}")
        return _figure(
            f"prove-{model}",
            f"all invariants of model {model}: {len(proof.obligations)} obligations",
            rates=rates,
            unit="proofs/min",
            yardstick=NAIVE_SEARCHES,
            against="yardsticks/exchange/naive_bfs.py is absent" if naive is None else [60 / naive] * len(rates),
        )

    def close(self) -> None:
        """Remove what was written."""
        self._scratch.rmdir()


def _write_lines(path: Path, lines: Sequence[bytes], *, sync: bool) -> float:
    """The seconds that the operating system alone takes to append these lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    gc.collect()
    start = perf_counter()
    for line in lines:
        os.write(descriptor, line)
        if sync:
            os.fsync(descriptor)
    seconds = perf_counter() - start
    os.close(descriptor)
    return seconds


# The command ------------------------------------------------------------------------------------------------------


def told(figure: Figure) -> str:
    """The line that is printed for a figure."""
    ratio = f"skipped: {figure.ratio_skipped}" if figure.ratio is None else f"{figure.ratio:.3f} x {figure.yardstick}"
    rate = f"{figure.value:10,.0f} {figure.unit:13} ({figure.low:,.0f} to {figure.high:,.0f})"
    if figure.beside_ratio is not None:
        ratio += f", {figure.beside_ratio:.3f} x {figure.beside} in turn"
    return f"{figure.name:16}{rate}  {ratio}; {figure.what}"


def run(*, only: str | None, repetitions: int, tell: Callable[[str], None]) -> Benchmarks:
    """All measurements, or the one that is named."""
    bench = Bench(repetitions)
    figures = []
    try:
        if only is not None and only not in bench.measurements:
            raise HoldfastError(f"unknown measurement {only!r}; expected one of {', '.join(bench.measurements)}")
        for name, measure in bench.measurements.items():
            if only in (None, name):
                figures.append(measure())
                tell(told(figures[-1]))
    finally:
        bench.close()
    return Benchmarks(
        figures=tuple(figures),
        disagreements=tuple(bench.disagreements),
        skipped=tuple(bench.skipped),
    )


def _arguments() -> ArgumentParser:
    parser = ArgumentParser(description="Measure Holdfast, as ratios to yardsticks that run in the same run.")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON to FILE (- is standard output)")
    parser.add_argument("--only", metavar="NAME", help="one measurement: book, engine, monitors, ...")
    parser.add_argument("--repetitions", metavar="N", type=_positive, default=5, help="how often each is run (5)")
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"{text!r}; expected a whole number above 0")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = _arguments().parse_args(arguments)
    session = Session("bench")

    def tell(line: str) -> None:
        if options.json != "-":
            say(line)

    try:
        result = run(only=options.only, repetitions=options.repetitions, tell=tell)
        verdict = Verdict.VIOLATED if result.disagreements else Verdict.HELD
        report = session.report(verdict, result)
        environment = report.environment | {"command_line": " ".join(["benchmarks/bench.py", *sys.argv[1:]])}
        if options.json is not None:
            write_json(msgspec.structs.replace(report, environment=environment), options.json)
    except HoldfastError as error:
        sys.stderr.write(f"bench: {error}\n")
        return int(ExitStatus.BAD_INPUT)
    for line in result.skipped:
        tell(f"skipped: {line}")
    for line in result.disagreements:
        tell(f"differs: {line}")
    if options.json != "-":
        verdict_line(verdict, "what can be compared with a yardstick gives the same results")
    return report.exit_status


if __name__ == "__main__":
    sys.exit(main())
