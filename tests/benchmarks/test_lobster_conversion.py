from pathlib import Path

import pytest
from benchmarks.lobster import Fill, Message, Replay, Replayed, main, read_messages, replay

from holdfast_invariants.catalogue import CATALOGUE
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Verdict
from holdfast_model.vocabulary import (
    AmendOrder,
    Amount,
    CancelOrder,
    Command,
    CreditDeposit,
    Events,
    OrderAmended,
    PlaceOrder,
    PriceTicks,
    Side,
    SizeLots,
    TimeInForce,
)

REAL = Path(__file__).parents[3] / "shared" / "data" / "AAPL_2012-06-21_message_50.csv"


def written(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "messages.csv"
    path.write_text("".join(f"{34_200 + number},{row}\n" for number, row in enumerate(rows)))
    return path


def filled(order: int, size: int) -> Fill:
    return Fill(order=order, price=PriceTicks(5000), size=SizeLots(size))


class Watched(Replay):
    """A replay that keeps the commands it gave and the answers to them."""

    def __init__(self, path: Path, *, resynchronise: bool = True) -> None:
        super().__init__(path, resynchronise=resynchronise)
        self.done: list[tuple[Command, Events]] = []

    def _do(self, command: Command) -> Events:
        events = super()._do(command)
        if not isinstance(command, CreditDeposit):
            self.done.append((command, events))
        return events


def run(path: Path, *, resynchronise: bool = True) -> tuple[Replayed, list[tuple[Command, Events]]]:
    watched = Watched(path, resynchronise=resynchronise)
    result = watched.run(read_messages(path), funds=Amount(10**12), progress=lambda _: None)
    assert result.violations == ()
    assert result.books_different == 0
    return result, watched.done


def commands(path: Path) -> list[Command]:
    return [command for command, _ in run(path)[1]]


def test_a_row_is_read_as_it_stands(tmp_path: Path) -> None:
    (message,) = read_messages(written(tmp_path, "1,7,30,5000,-1"))
    assert message == Message(
        row=1, time="34200", kind=1, order=7, size=SizeLots(30), price=PriceTicks(5000), side=Side.SELL
    )


def test_a_new_order_is_placed_to_rest_until_cancelled(tmp_path: Path) -> None:
    (command,) = commands(written(tmp_path, "1,7,30,5000,1"))
    assert isinstance(command, PlaceOrder)
    assert (command.order, command.side, command.size_lots, command.price_ticks) == ("7", Side.BUY, 30, 5000)
    assert command.time_in_force is TimeInForce.GTC


def test_a_partial_cancel_amends_the_total_size_and_keeps_priority(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "1,7,30,5000,1",
        "1,8,30,5000,1",
        "4,7,5,5000,1",
        "2,7,10,5000,1",
        "4,7,15,5000,1",
        "4,8,30,5000,1",
    )
    result, done = run(path)
    amend, events = done[3]
    assert amend == AmendOrder(client="buyer", order="7", size_lots=SizeLots(20), price_ticks=PriceTicks(5000))
    (amended,) = events[:1]
    assert isinstance(amended, OrderAmended)
    assert (amended.left_lots, amended.priority_kept) == (15, True)
    assert (result.judged, result.hits, result.refused) == (3, 3, 0)


def test_a_delete_cancels_what_is_left(tmp_path: Path) -> None:
    path = written(tmp_path, "1,7,30,5000,-1", "4,7,10,5000,-1", "3,7,20,5000,-1")
    assert commands(path)[-1] == CancelOrder(client="seller", order="7")


def test_an_execution_is_an_immediate_order_of_the_other_side_by_another_client(tmp_path: Path) -> None:
    _, taker = commands(written(tmp_path, "1,7,30,5000,-1", "4,7,10,5000,-1"))
    assert isinstance(taker, PlaceOrder)
    assert (taker.client, taker.side, taker.size_lots, taker.price_ticks) == ("taker", Side.BUY, 10, 5000)
    assert taker.time_in_force is TimeInForce.IOC


def test_hidden_executions_and_unknown_orders_are_counted_and_give_no_command(tmp_path: Path) -> None:
    path = written(tmp_path, "5,0,30,5000,-1", "2,1,1,5000,1", "3,2,1,5000,1", "4,3,1,5000,1")
    result, done = run(path)
    assert done == []
    assert result.skipped == {
        "hidden executions": 1,
        "partial cancels of unknown orders": 1,
        "deletes of unknown orders": 1,
        "visible executions of unknown orders": 1,
    }
    assert result.judged == 0
    assert result.verdict is Verdict.INCONCLUSIVE


def test_an_execution_that_fills_the_named_order_is_a_hit(tmp_path: Path) -> None:
    result, _ = run(written(tmp_path, "1,7,30,5000,1", "1,8,30,5000,1", "4,7,30,5000,1", "4,8,30,5000,1"))
    assert (result.judged, result.hits, result.misses, result.repairs) == (2, 2, (), 0)
    assert result.verdict is Verdict.HELD


JUMP = ("1,7,30,5000,1", "1,8,30,5000,1", "1,9,30,5000,1", "4,8,10,5000,1")
"""Order 8 is filled although 7 stands before it."""


def test_an_execution_that_fills_another_order_is_a_miss_that_says_which(tmp_path: Path) -> None:
    result, _ = run(written(tmp_path, *JUMP))
    (miss,) = result.misses
    assert (miss.row, miss.time, miss.order, miss.queue_ahead, miss.lots_ahead) == (4, "34203", 8, 1, 30)
    assert miss.filled == (filled(7, 10),)
    assert not miss.numbered_before
    assert result.verdict is Verdict.VIOLATED


def test_after_a_miss_size_and_place_of_every_order_are_as_the_file_says(tmp_path: Path) -> None:
    result, _ = run(written(tmp_path, *JUMP, "4,7,30,5000,1", "4,8,20,5000,1", "4,9,30,5000,1"))
    assert (result.judged, result.hits, result.refused) == (4, 3, 0)
    assert result.repairs == 6


def test_a_named_order_that_is_over_after_a_miss_leaves_the_engine_too(tmp_path: Path) -> None:
    path = written(tmp_path, "1,9,30,5000,1", "1,8,40,5000,1", "4,8,40,5000,1", "4,9,30,5000,1")
    result, _ = run(path)
    (miss,) = result.misses
    assert miss.filled == (filled(9, 30), filled(8, 10))
    assert miss.numbered_before
    assert (result.judged, result.hits, result.refused) == (2, 1, 0)


def test_an_execution_behind_the_best_price_is_a_miss_and_both_prices_are_brought_back(tmp_path: Path) -> None:
    path = written(
        tmp_path, "1,7,30,5001,1", "1,8,30,5000,1", "4,8,30,5000,1", "1,9,5,5000,1", "4,7,30,5001,1", "4,9,5,5000,1"
    )
    result, _ = run(path)
    assert [miss.order for miss in result.misses] == [8]
    assert (result.judged, result.hits, result.refused) == (3, 2, 0)


def test_without_resynchronising_the_wrong_fill_stays(tmp_path: Path) -> None:
    path = written(tmp_path, *JUMP, "4,7,30,5000,1", "4,8,20,5000,1")
    result, _ = run(path, resynchronise=False)
    assert (result.judged, result.hits, result.repairs) == (3, 1, 0)


def test_a_new_order_that_crosses_is_forgotten_with_those_it_met(tmp_path: Path) -> None:
    path = written(tmp_path, "1,7,30,5000,1", "1,8,10,5000,-1", "3,7,30,5000,1", "3,8,10,5000,-1")
    result, _ = run(path)
    assert (result.crossed, result.refused) == (1, 0)
    assert result.skipped == {"deletes of unknown orders": 2}


def test_every_invariant_watches(tmp_path: Path) -> None:
    result, _ = run(written(tmp_path, *JUMP))
    coverage = {entry.id: entry.checked for entry in result.coverage}
    assert set(coverage) == {invariant.id for invariant in CATALOGUE}
    assert all(coverage[name] for name in ("CONS-1", "CONS-3", "FINAL-1", "PRIO-1", "REPL-1", "AUDIT-1"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1,8,30,5000", "5 columns; expected 6"),
        ("x,8,30,5000,1", "type 'x'; expected a whole number"),
        ("1,8,3.5,5000,1", "size '3.5'; expected a whole number"),
        ("6,8,30,5000,1", "type 6; expected 1 to 5"),
        ("1,8,0,5000,1", "size 0; expected more than 0"),
        ("1,8,30,-1,1", "price -1; expected more than 0"),
        ("1,8,30,5000,0", "direction 0; expected 1"),
    ],
)
def test_a_malformed_row_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, says: str
) -> None:
    path = written(tmp_path, "1,7,30,5000,1", row)
    assert main([str(path)]) == 2
    told = capsys.readouterr().err
    assert f"{path}:2: {says}" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1,7,5,5000,1", "order 7 is introduced a second time"),
        ("4,7,31,5000,1", "order 7 loses 31; expected at most 30"),
        ("3,7,20,5000,1", "order 7 is deleted with 20 left; expected 30"),
        ("2,7,30,5000,1", "order 7 is partially cancelled whole"),
        ("4,7,30,5001,1", "order 7 is a buy at 5001; expected a buy at 5000"),
    ],
)
def test_a_row_that_contradicts_those_above_is_told_with_its_line(tmp_path: Path, row: str, says: str) -> None:
    path = written(tmp_path, "1,7,30,5000,1", row)
    with pytest.raises(HoldfastError, match=r"messages\.csv:2: ") as caught:
        replay(path)
    assert says in str(caught.value)


def test_an_order_that_is_over_cannot_be_named_again(tmp_path: Path) -> None:
    path = written(tmp_path, "1,7,30,5000,1", "3,7,30,5000,1", "3,7,30,5000,1")
    with pytest.raises(HoldfastError, match=r"messages\.csv:3: order 7 is named after it was over"):
        replay(path)


def test_time_does_not_run_backwards(tmp_path: Path) -> None:
    path = tmp_path / "messages.csv"
    path.write_text("34201,1,7,30,5000,1\n34200.5,1,8,30,5000,1\n")
    with pytest.raises(HoldfastError, match=r"messages\.csv:2: time 34200\.5 is before"):
        read_messages(path)


@pytest.mark.parametrize(("data", "says"), [(b"", "is empty"), (b"34200,1\xff", ":1: not text")])
def test_an_empty_or_binary_file_is_wrong_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, says: str
) -> None:
    path = tmp_path / "messages.csv"
    path.write_bytes(data)
    assert main([str(path)]) == 2
    assert says in capsys.readouterr().err


def test_a_missing_file_is_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere.csv")]) == 2
    assert "nowhere.csv: cannot be read: No such file" in capsys.readouterr().err


def test_the_exit_status_says_whether_enough_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path, "1,7,30,5000,1", "4,7,30,5000,1"))]) == 0
    assert "1 of 1 visible executions" in capsys.readouterr().out
    assert main([str(written(tmp_path, *JUMP))]) == 1
    assert "the exchange filled 8 10 at 5000, the engine 7 10 at 5000" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="shared/data/AAPL_2012-06-21_message_50.csv is not there")
def test_real_order_flow_fills_the_orders_that_the_exchange_filled() -> None:
    result = replay(REAL)
    assert result.rows == 91_997
    assert result.judged == 4_055
    assert 100 * result.hits >= 99 * result.judged
    assert len(result.misses) == result.judged - result.hits
    assert result.violations == ()
    assert (result.books_different, result.refused, result.crossed) == (0, 0, 0)
    assert result.verdict is Verdict.HELD
