"""The shim of nodejs-order-book, with the real package: what it tells, what it keeps, and that it hides nothing."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine import EngineFailure
from holdfast.process import ProcessEngine
from holdfast_adapters.registry import (
    DIRECTORY_VARIABLE,
    adapter_by_name,
    command,
    home,
    install,
    installed,
)
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import (
    AmendOrder,
    CancelOrder,
    Command,
    CrashPoint,
    CreditDeposit,
    Event,
    Market,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    PlaceOrder,
    PriceTicks,
    Rejected,
    SelfTrade,
    Setup,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
)
from holdfast_model.vocabulary.amounts import Amount

NAME = "nodejs-order-book"
BUY, SELL = Side.BUY, Side.SELL
NEWEST, OLDEST, BOTH = SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH
SETUP = Setup(
    assets=("BTC", "ETH", "USD"),
    markets=tuple(
        Market(market=f"{base}-USD", base=base, quote="USD", lot_amount=Amount(1), tick_amount=Amount(1))
        for base in ("ETH", "BTC")
    ),
    clients=("alice", "bob", "carol"),
)


@pytest.fixture(scope="session")
def argv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The shim's command, with the package as it is installed, or else installed from the lock for this session."""
    if shutil.which("node") is None:
        pytest.skip("node is not on the PATH")
    with pytest.MonkeyPatch.context() as patch:
        if not installed(NAME):
            patch.setenv(DIRECTORY_VARIABLE, str(tmp_path_factory.mktemp("engines")))
            try:
                install(NAME)
            except HoldfastError as error:
                pytest.skip(f"{NAME} cannot be installed: {error}")
        yield command(NAME)


class Shim:
    """The shim under test, in short words."""

    def __init__(self, engine: ProcessEngine) -> None:
        self.engine = engine
        engine.reset(SETUP)

    def do(self, asked: Command) -> list[str]:
        """What is told of one command, each event in a few words."""
        (answer,) = self.engine.submit([asked])
        assert (answer.seq, answer.journal_sha256) == (None, None)
        return [told(event) for event in answer.events]

    def place(
        self,
        who: str,
        side: Side,
        size: int,
        price: int | None,
        *,
        tif: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        stp: SelfTrade = NEWEST,
        market: str = "BTC-USD",
    ) -> list[str]:
        """Place an order under an id such as alice/1."""
        client, _, order = who.partition("/")
        return self.do(
            PlaceOrder(
                client=client,
                order=order,
                market=market,
                side=side,
                size_lots=SizeLots(size),
                price_ticks=None if price is None else PriceTicks(price),
                time_in_force=tif,
                post_only=post_only,
                self_trade=stp,
            )
        )

    def cancel(self, who: str) -> list[str]:
        client, _, order = who.partition("/")
        return self.do(CancelOrder(client=client, order=order))

    def amend(self, who: str, size: int, price: int) -> list[str]:
        client, _, order = who.partition("/")
        return self.do(
            AmendOrder(client=client, order=order, size_lots=SizeLots(size), price_ticks=PriceTicks(price))
        )

    def book(self) -> list[str]:
        """All open orders in queue order."""
        view, resent = self.engine.observe()
        assert resent == ()
        return [
            f"{order.market} {order.side} {order.client}/{order.order} {order.left_lots} of {order.size_lots} "
            f"at {order.price_ticks}"
            for order in view.orders
        ]

    def kill(self) -> None:
        self.engine.crash(None, CrashPoint.BEFORE_JOURNAL)
        self.engine.restart()


def told(event: Event) -> str:
    match event:
        case OrderAccepted():
            return f"accepted {event.client}/{event.order}"
        case OrderRested():
            return f"rests {event.client}/{event.order} {event.left_lots} at {event.price_ticks}"
        case OrderFilled():
            return f"filled {event.client}/{event.order}"
        case OrderCancelled():
            return f"cancelled {event.client}/{event.order} {event.left_lots} {event.reason}"
        case OrderAmended():
            assert not event.priority_kept
            return (
                f"amended {event.client}/{event.order} {event.left_lots} of {event.size_lots} at {event.price_ticks}"
            )
        case TradeExecuted():
            assert (event.maker_fee, event.taker_fee) == (0, 0)
            taker, maker = f"{event.taker_client}/{event.taker_order}", f"{event.maker_client}/{event.maker_order}"
            return f"trade {event.trade}: {taker} {event.size_lots} at {event.price_ticks} with {maker}"
        case Rejected():
            return f"refused {event.reason}"
        case _:
            raise AssertionError(event)


@pytest.fixture
def shim(argv: list[str], tmp_path: Path) -> Iterator[Shim]:
    with ProcessEngine(argv, data_directory=tmp_path) as engine:
        yield Shim(engine)


def bare(script: str) -> list[Any]:
    """What a script prints, as JSON lines, that uses nothing but the package."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", "import { OrderBook } from 'nodejs-order-book'\n" + script],
        cwd=home(NAME),
        stdout=subprocess.PIPE,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


# What it is ---------------------------------------------------------------------------------------------------------


def test_shim_says_what_the_manifest_says(shim: Shim) -> None:
    adapter, identity = adapter_by_name(NAME), shim.engine.identity
    assert (identity.engine, identity.version) == (adapter.name, adapter.version)
    assert identity.capabilities == set(adapter.capabilities)
    assert identity.conventions == adapter.conventions


def test_conventions_quote_the_documentation(argv: list[str]) -> None:
    del argv
    readme = plain((home(NAME) / "node_modules" / NAME / "README.md").read_text())
    for convention in adapter_by_name(NAME).conventions:
        for quotation in re.findall(r'"([^"]+)"', convention.where):
            for part in quotation.split(" [...] "):
                assert plain(part) in readme


def plain(text: str) -> str:
    """Markdown without its marks, on one line."""
    return " ".join(re.sub(r"[*`#]", "", text).split())


# What it tells ------------------------------------------------------------------------------------------------------


def test_taker_meets_the_best_price_first_and_the_oldest_first(shim: Shim) -> None:
    assert shim.place("bob/1", SELL, 5, 101) == ["accepted bob/1", "rests bob/1 5 at 101"]
    shim.place("bob/2", SELL, 2, 100)
    shim.place("carol/1", SELL, 4, 100)
    assert shim.place("alice/1", BUY, 5, 101) == [
        "accepted alice/1",
        "trade 1: alice/1 2 at 100 with bob/2",
        "filled bob/2",
        "trade 2: alice/1 3 at 100 with carol/1",
        "filled alice/1",
    ]
    assert shim.place("alice/2", BUY, 7, 101) == [
        "accepted alice/2",
        "trade 3: alice/2 1 at 100 with carol/1",
        "filled carol/1",
        "trade 4: alice/2 5 at 101 with bob/1",
        "filled bob/1",
        "rests alice/2 1 at 101",
    ]
    assert shim.book() == ["BTC-USD buy alice/2 1 of 7 at 101"]


def test_view_is_in_queue_order(shim: Shim) -> None:
    for who, side, price, market in (
        ("alice/1", SELL, 11, "ETH-USD"),
        ("alice/2", BUY, 9, "BTC-USD"),
        ("alice/3", BUY, 10, "BTC-USD"),
        ("bob/1", SELL, 12, "BTC-USD"),
        ("bob/2", SELL, 11, "BTC-USD"),
        ("bob/3", BUY, 10, "BTC-USD"),
    ):
        shim.place(who, side, 1, price, market=market)
    assert [line.split()[2] for line in shim.book()] == ["alice/3", "bob/3", "alice/2", "bob/2", "bob/1", "alice/1"]


def test_what_does_not_rest_is_cancelled_with_its_reason(shim: Shim) -> None:
    shim.place("bob/1", SELL, 2, 100)
    assert shim.place("alice/1", BUY, 3, 100, tif=TimeInForce.IOC)[-1] == "cancelled alice/1 1 ioc_remainder"
    assert shim.place("alice/2", BUY, 3, None) == ["accepted alice/2", "cancelled alice/2 3 market_remainder"]
    shim.place("bob/2", SELL, 2, 100)
    assert shim.place("alice/3", BUY, 2, None, tif=TimeInForce.IOC)[-1] == "filled alice/3"
    assert shim.book() == []


def test_refusals_by_the_package_and_by_the_shim(shim: Shim) -> None:
    shim.place("bob/1", SELL, 2, 100)
    assert shim.place("alice/1", BUY, 3, 100, tif=TimeInForce.FOK) == ["refused fok_unfillable"]
    assert shim.place("alice/1", BUY, 1, 100, post_only=True) == ["refused post_only_would_take"]
    assert shim.place("alice/1", BUY, 0, 100) == ["refused size_not_positive"]
    assert shim.place("alice/1", BUY, -1, None) == ["refused size_not_positive"]
    assert shim.place("alice/1", BUY, 1, 0) == ["refused price_not_positive"]
    assert shim.place("alice/1", BUY, 1, None, post_only=True) == ["refused market_order_cannot_rest"]
    assert shim.place("alice/1", BUY, 1, None, tif=TimeInForce.FOK) == ["refused other"]
    assert shim.place("mallory/1", BUY, 1, 100) == ["refused unknown_client"]
    assert shim.place("alice/1", BUY, 1, 100, market="XRP-USD") == ["refused unknown_market"]
    assert shim.place("alice/1", BUY, 1, 100, stp=SelfTrade.DECREMENT) == ["refused other"]
    assert shim.cancel("alice/1") == ["refused unknown_order"]
    assert shim.cancel("alice/constructor") == ["refused unknown_order"]
    assert shim.cancel("mallory/1") == ["refused unknown_client"]
    assert shim.amend("alice/1", 1, 1) == ["refused unknown_order"]
    assert shim.do(CreditDeposit(client="alice", asset="USD", amount=Amount(1), transaction="t")) == ["refused other"]
    assert shim.book() == ["BTC-USD sell bob/1 2 of 2 at 100"]
    assert shim.place("alice/1", BUY, 1, 99)[0] == "accepted alice/1", "a refused id is not used up"


def test_ids_are_used_once_by_each_client_for_ever(shim: Shim) -> None:
    shim.place("bob/1", SELL, 2, 100)
    assert shim.place("alice/1", BUY, 2, 100)[-1] == "filled alice/1"
    shim.place("alice/2", BUY, 2, 90)
    shim.cancel("alice/2")
    for _ in range(2):
        for who in ("bob/1", "alice/1", "alice/2"):
            assert shim.place(who, BUY, 1, 50) == ["refused duplicate_order"]
            assert shim.cancel(who) == ["refused order_not_open"]
            assert shim.amend(who, 9, 50) == ["refused order_not_open"]
        shim.kill()


def test_client_and_order_names_cannot_be_mixed_up(shim: Shim) -> None:
    shim.engine.reset(Setup(assets=SETUP.assets, markets=SETUP.markets, clients=("a", "a/b", "constructor")))
    shim.place("constructor/constructor", BUY, 1, 3)
    for client, order in (("a", "b/c"), ("a/b", "c")):
        asked = PlaceOrder(
            client=client, order=order, market="BTC-USD", side=BUY, size_lots=SizeLots(1), price_ticks=PriceTicks(1)
        )
        assert shim.do(asked)[0] == f"accepted {client}/{order}"
    view, _ = shim.engine.observe()
    assert [(order.client, order.order) for order in view.orders] == [
        ("constructor", "constructor"),
        ("a", "b/c"),
        ("a/b", "c"),
    ]


def test_amended_size_is_the_total_and_the_order_goes_to_the_back(shim: Shim) -> None:
    shim.place("bob/1", SELL, 10, 100)
    shim.place("carol/1", SELL, 1, 100)
    shim.place("alice/1", BUY, 4, 100)
    assert shim.amend("bob/1", 4, 100) == ["refused size_not_above_filled"]
    assert shim.amend("bob/1", 0, 100) == ["refused size_not_positive"]
    assert shim.amend("bob/1", 9, 0) == ["refused price_not_positive"]
    assert shim.amend("bob/1", 9, 100) == ["amended bob/1 5 of 9 at 100", "rests bob/1 5 at 100"]
    assert shim.book() == ["BTC-USD sell carol/1 1 of 1 at 100", "BTC-USD sell bob/1 5 of 9 at 100"]
    shim.place("alice/2", BUY, 3, 99)
    assert shim.amend("bob/1", 12, 99) == [
        "amended bob/1 8 of 12 at 99",
        "trade 2: bob/1 3 at 99 with alice/2",
        "filled alice/2",
        "rests bob/1 5 at 99",
    ]
    shim.kill()
    assert shim.amend("bob/1", 8, 98) == ["amended bob/1 1 of 8 at 98", "rests bob/1 1 at 98"]


def test_self_trade_expiries_are_told_with_the_fills(shim: Shim) -> None:
    shim.place("alice/1", SELL, 1, 100)
    shim.place("bob/1", SELL, 1, 100)
    shim.place("alice/2", SELL, 1, 101)
    shim.place("bob/2", SELL, 1, 102)
    assert shim.place("alice/3", BUY, 5, 102, stp=OLDEST) == [
        "accepted alice/3",
        "cancelled alice/1 1 self_trade",
        "trade 1: alice/3 1 at 100 with bob/1",
        "filled bob/1",
        "cancelled alice/2 1 self_trade",
        "trade 2: alice/3 1 at 102 with bob/2",
        "filled bob/2",
        "rests alice/3 3 at 102",
    ]
    shim.place("bob/3", SELL, 4, 102)
    assert shim.place("bob/4", BUY, 2, 102, stp=BOTH) == [
        "accepted bob/4",
        "cancelled bob/3 1 self_trade",
        "cancelled bob/4 2 self_trade",
    ]
    assert shim.book() == []


def test_numbers_that_javascript_cannot_hold_are_refused(shim: Shim) -> None:
    largest = 2**53 - 1
    assert shim.place("alice/1", BUY, largest, largest)[-1] == f"rests alice/1 {largest} at {largest}"
    for size, price in ((2**53, 1), (1, 2**53), (10**30, 1)):
        assert shim.place("alice/2", BUY, size, price) == ["refused other"]
        assert shim.amend("alice/1", size, price) == ["refused other"]
    assert shim.book() == [f"BTC-USD buy alice/1 {largest} of {largest} at {largest}"]


def test_commands_that_arrive_together_are_answered_in_order(shim: Shim) -> None:
    order = PlaceOrder(
        client="alice", order="1", market="BTC-USD", side=BUY, size_lots=SizeLots(1), price_ticks=PriceTicks(1)
    )
    answers = shim.engine.submit([order, CancelOrder(client="alice", order="1"), order])
    assert [told(answer.events[0]) for answer in answers] == [
        "accepted alice/1",
        "cancelled alice/1 1 requested",
        "refused duplicate_order",
    ]


# What it keeps ------------------------------------------------------------------------------------------------------


def busy(shim: Shim) -> list[str]:
    """A book with some past, none of it of a kind that the package is known to lose."""
    shim.place("bob/1", SELL, 10, 101)
    shim.place("carol/1", SELL, 3, 101)
    shim.place("alice/1", BUY, 4, 101)
    shim.place("carol/2", BUY, 5, 99)
    shim.place("carol/3", BUY, 5, 98, market="ETH-USD")
    shim.amend("carol/1", 2, 101)
    shim.cancel("carol/2")
    return shim.book()


@pytest.mark.parametrize("snapshots", ["never", "before", "between"])
def test_what_was_acknowledged_survives_a_kill(shim: Shim, snapshots: str) -> None:
    if snapshots == "before":
        shim.engine.snapshot()
    before = busy(shim)
    if snapshots == "between":
        shim.engine.snapshot()
        shim.place("alice/9", BUY, 1, 97)
        shim.place("alice/8", BUY, 2, None)
        before = shim.book()
    assert before[0].startswith("BTC-USD buy" if snapshots == "between" else "BTC-USD sell bob/1 6 of 10")
    for _ in range(3):
        shim.kill()
        assert shim.book() == before
    shim.engine.restore()
    assert shim.book() == before
    trade = 2 + (snapshots == "between")
    assert shim.place("alice/7", BUY, 1, 101)[1].startswith(f"trade {trade}: alice/7 1 at 101 with bob/1")


def test_acknowledged_command_is_in_the_journal_and_a_torn_line_is_not(shim: Shim, tmp_path: Path) -> None:
    before = busy(shim)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 7
    assert all(line.endswith(b"\n") for line in lines)
    shim.engine.crash(None, CrashPoint.BEFORE_JOURNAL)
    with journal.open("ab") as file:
        file.write(lines[0][: len(lines[0]) // 2])
    shim.engine.restart()
    assert shim.book() == before
    assert journal.read_bytes() == b"".join(lines)
    shim.place("alice/9", BUY, 1, 97)
    after = shim.book()
    shim.kill()
    assert shim.book() == after != before


def test_refused_commands_leave_no_trace(shim: Shim, tmp_path: Path) -> None:
    shim.cancel("alice/1")
    shim.place("alice/1", BUY, 0, 1)
    assert not (tmp_path / "journal.jsonl").exists()


def test_reset_forgets_everything(shim: Shim) -> None:
    busy(shim)
    shim.engine.snapshot()
    shim.engine.reset(SETUP)
    assert shim.book() == []
    shim.kill()
    assert shim.book() == []
    assert shim.place("bob/1", SELL, 1, 1)[0] == "accepted bob/1"


def test_journal_that_is_damaged_is_told(shim: Shim, tmp_path: Path) -> None:
    busy(shim)
    shim.engine.crash(None, CrashPoint.BEFORE_JOURNAL)
    (tmp_path / "journal.jsonl").write_text("{}garbage\n")
    with pytest.raises(
        EngineFailure, match=r"restart: the engine answered hello with a failure: .*journal\.jsonl line 1"
    ):
        shim.engine.restart()


@pytest.mark.parametrize(
    ("line", "words"),
    [(b"rubbish\n", "not JSON"), (b"a" * (17 * 1024 * 1024), "more than 16777216 bytes")],
    ids=["rubbish", "an endless line"],
)
def test_request_that_is_none_ends_the_shim(argv: list[str], tmp_path: Path, line: bytes, words: str) -> None:
    done = subprocess.run(
        argv,
        input=line,
        env={**os.environ, "HOLDFAST_DATA_DIR": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()


def test_shim_needs_a_data_directory_and_ends_with_its_input(argv: list[str], tmp_path: Path) -> None:
    without = {key: value for key, value in os.environ.items() if key != "HOLDFAST_DATA_DIR"}
    done = subprocess.run(argv, input=b"", env=without, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"HOLDFAST_DATA_DIR" in done.stderr
    hello = b'{"type":"hello","id":1,"protocol":2}\n{"type":"observe","id":2}\n'
    done = subprocess.run(
        argv, input=hello, env={**without, "HOLDFAST_DATA_DIR": str(tmp_path)}, capture_output=True, check=True
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(reply["type"], reply["id"]) for reply in replies] == [("failed", 1), ("failed", 2)]


# What it does not hide: each defect with the shim, and with the package alone ---------------------------------------


def test_package_defect_order_that_expired_with_its_taker_comes_back(shim: Shim) -> None:
    shim.place("alice/1", BUY, 5, 100)
    assert shim.place("alice/2", SELL, 3, 90, stp=BOTH)[1] == "cancelled alice/1 5 self_trade"
    assert shim.book() == []
    shim.kill()
    assert shim.book() == ["BTC-USD buy alice/1 5 of 5 at 100"]
    live, restored = bare("""
        const book = new OrderBook({ enableJournaling: true })
        const first = book.limit({ id: 'a', side: 'buy', size: 5, price: 100, accountId: 'x' })
        const stp = { accountId: 'x', stpMode: 'EXPIRE_BOTH' }
        const second = book.limit({ id: 'b', side: 'sell', size: 3, price: 90, ...stp })
        const journal = [first, second].filter(({ log }) => log).map(({ log }) => log)
        console.log(JSON.stringify(book.depth()))
        console.log(JSON.stringify(new OrderBook({ journal, enableJournaling: true }).depth()))
    """)
    assert (live, restored) == ([[], []], [[], [[100, 5]]])


def test_package_defect_fills_before_a_self_trade_are_undone_by_a_restart(shim: Shim) -> None:
    shim.place("bob/1", SELL, 5, 100)
    shim.place("alice/1", SELL, 5, 101)
    assert "filled bob/1" in shim.place("alice/2", BUY, 8, 101, stp=NEWEST)
    assert shim.book() == ["BTC-USD sell alice/1 5 of 5 at 101"]
    shim.kill()
    assert shim.book() == ["BTC-USD sell bob/1 5 of 5 at 100", "BTC-USD sell alice/1 5 of 5 at 101"]
    filled, again = bare("""
        const book = new OrderBook({ enableJournaling: true })
        const journal = []
        const place = (order) => {
            const result = book.limit(order)
            if (result.log) journal.push(result.log)
            return result.done.map(({ id }) => id)
        }
        const stp = { accountId: 'alice', stpMode: 'EXPIRE_TAKER' }
        place({ id: 'm1', side: 'sell', size: 5, price: 100, accountId: 'bob' })
        place({ id: 'm2', side: 'sell', size: 5, price: 101, accountId: 'alice' })
        console.log(JSON.stringify(place({ id: 't', side: 'buy', size: 8, price: 101, ...stp })))
        const restored = new OrderBook({ journal, enableJournaling: true })
        console.log(JSON.stringify(restored.order('m1').size))
    """)
    assert (filled, again) == (["m1"], 5)


def test_package_defect_fill_or_kill_order_rests(shim: Shim) -> None:
    shim.place("bob/1", SELL, 5, 100)
    shim.place("alice/1", SELL, 5, 100)
    assert shim.place("alice/2", BUY, 10, 100, tif=TimeInForce.FOK, stp=OLDEST)[-1] == "rests alice/2 5 at 100"
    assert shim.book() == ["BTC-USD buy alice/2 5 of 10 at 100"]
    (resting,) = bare("""
        const book = new OrderBook()
        const stp = { accountId: 'alice', stpMode: 'EXPIRE_MAKER' }
        book.limit({ id: 'm1', side: 'sell', size: 5, price: 100, accountId: 'bob' })
        book.limit({ id: 'm2', side: 'sell', size: 5, price: 100, accountId: 'alice' })
        book.limit({ id: 'f', side: 'buy', size: 10, price: 100, timeInForce: 'FOK', ...stp })
        console.log(JSON.stringify(book.order('f')))
    """)
    assert (resting["size"], resting["timeInForce"]) == (5, "FOK")


def test_package_defect_refused_amendment_destroys_a_post_only_order(shim: Shim) -> None:
    shim.place("bob/1", SELL, 5, 105)
    shim.place("alice/1", BUY, 5, 100, post_only=True)
    assert shim.amend("alice/1", 5, 105) == ["refused post_only_would_take"]
    assert shim.book() == ["BTC-USD sell bob/1 5 of 5 at 105"]
    assert shim.cancel("alice/1") == ["refused order_not_open"]
    code, depth = bare("""
        const book = new OrderBook()
        book.limit({ id: 'ask', side: 'sell', size: 5, price: 105 })
        book.limit({ id: 'p', side: 'buy', size: 5, price: 100, postOnly: true })
        console.log(JSON.stringify(book.modify('p', { price: 105 }).err.code))
        console.log(JSON.stringify(book.depth()))
    """)
    assert (code, depth) == (1107, [[[105, 5]], []])


def test_package_defect_amended_order_is_traded_with_by_its_own_client(shim: Shim) -> None:
    shim.place("alice/1", SELL, 5, 100)
    shim.amend("alice/1", 6, 100)
    assert shim.place("alice/2", BUY, 6, 100)[1] == "trade 1: alice/2 6 at 100 with alice/1"
    before, after = bare("""
        const book = new OrderBook()
        book.limit({ id: 'm', side: 'sell', size: 5, price: 100, accountId: 'alice' })
        console.log(JSON.stringify(book.order('m')))
        book.modify('m', { size: 6 })
        console.log(JSON.stringify(book.order('m')))
    """)
    assert before["accountId"] == "alice"
    assert "accountId" not in after


def test_package_defect_what_is_left_at_a_self_trade_is_told_wrong(shim: Shim) -> None:
    shim.place("bob/1", SELL, 5, 100)
    shim.place("alice/1", SELL, 5, 100)
    answer = shim.place("alice/2", BUY, 8, 100)
    assert answer[1] == "trade 1: alice/2 5 at 100 with bob/1"
    assert answer[-1] == "cancelled alice/2 8 self_trade", "3 were left"
    (left,) = bare("""
        const book = new OrderBook()
        const stp = { accountId: 'alice', stpMode: 'EXPIRE_TAKER' }
        book.limit({ id: 'm1', side: 'sell', size: 5, price: 100, accountId: 'bob' })
        book.limit({ id: 'm2', side: 'sell', size: 5, price: 100, accountId: 'alice' })
        console.log(book.limit({ id: 't', side: 'buy', size: 8, price: 100, ...stp }).quantityLeft)
    """)
    assert left == 8
