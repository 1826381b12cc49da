import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench
from holdfast_engine.journal import LOG
from holdfast_model.vocabulary import build_liabilities

GENERATOR = Path(__file__).parents[3] / "shared" / "yardsticks" / "book" / "gen.py"

FLOW_SHA256 = "fe67e4a6230a963310d483b4c229b166892dd54ad3603bfdbc06e34107d2929c"
"""What the naive book prints for 2,000 operations of seed 1."""


@pytest.mark.skipif(not GENERATOR.exists(), reason="shared/yardsticks/book/gen.py is not there")
def test_the_flow_is_the_yardsticks(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(GENERATOR), "2000", "1"], cwd=tmp_path, check=True)
    written = (tmp_path / "ops_2000.txt").read_text().splitlines()
    ours = [
        f"C {operation}" if isinstance(operation, int) else " ".join(map(str, ("N", *operation)))
        for operation in bench.order_flow(2_000)
    ]
    assert ours == written


def test_a_shorter_flow_is_a_prefix_of_a_longer_one() -> None:
    assert bench.order_flow(500) == bench.order_flow(2_000)[:500]


def test_the_naive_book_trades_as_pinned() -> None:
    naive = bench.naive_book_class()
    if naive is None:
        pytest.skip("shared/yardsticks/book/naive.py is not there")
    assert bench.digest(bench.run_naive_book(naive, bench.order_flow(2_000))[1]) == FLOW_SHA256


def test_the_book_alone_trades_as_the_naive_book() -> None:
    assert bench.digest(bench.run_book(bench.order_flow(2_000))[1]) == FLOW_SHA256


@pytest.mark.parametrize("audited", [False, True])
def test_the_exchange_trades_as_the_naive_book(audited: bool) -> None:  # noqa: FBT001 - a parameter
    commands = bench.commands_of_flow(bench.order_flow(2_000))
    _, answers, _ = bench.run_engine(commands, audited=audited)
    assert bench.digest(bench.trades_of(answers)) == FLOW_SHA256


def test_the_audited_exchange_is_measured_in_turn_with_the_exchange_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ENGINE_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: FLOW_SHA256})
    result = bench.run(only="monitors", repetitions=1, tell=lambda _: None)
    (figure,) = result.figures
    assert result.disagreements == ()
    assert figure.beside == "engine"
    assert figure.beside_ratio is not None
    assert 0 < figure.beside_ratio < 1
    assert "x engine in turn" in bench.told(figure)


@pytest.mark.parametrize("name", ["volume", "volume-spot"])
def test_volume_is_that_of_whole_episodes_without_violations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "VOLUME_COMMANDS", 600)
    monkeypatch.setattr(bench, "BOOK_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: FLOW_SHA256})
    result = bench.run(only=name, repetitions=1, tell=lambda _: None)
    assert result.disagreements == ()
    assert [figure.name for figure in result.figures] == [name]


def test_a_violation_in_the_volume_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "VOLUME_COMMANDS", 200)
    monkeypatch.setattr(bench, "BOOK_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: FLOW_SHA256})
    monkeypatch.setattr(bench, "REFERENCE", "fault:fee-from-nowhere")
    assert bench.run(only="volume-spot", repetitions=1, tell=lambda _: None).disagreements


def test_records_made_again_are_sealed_into_the_exchanges_journal() -> None:
    commands = bench.commands_of_flow(bench.order_flow(2_000))
    _, answers, journal = bench.run_engine(commands)
    _, again = bench.run_records(commands, answers)
    assert again.lines(LOG) == journal.lines(LOG)
    assert len(again.lines(LOG)) > 2_000


def test_records_that_make_another_journal_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ENGINE_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: FLOW_SHA256})
    run = bench.run_records
    monkeypatch.setattr(bench, "run_records", lambda commands, answers: run(commands[:-1], answers[:-1]))
    result = bench.run(only="records", repetitions=1, tell=lambda _: None)
    assert result.disagreements == ("records: another journal than the exchange's; expected the same bytes",)


def test_a_wrong_digest_is_told_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "BOOK_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: "0" * 64})
    assert bench.main(["--only", "book", "--repetitions", "1"]) == 1
    assert "differs: book: trades of 2000 operations" in capsys.readouterr().out


def test_without_yardsticks_the_ratio_is_skipped_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "YARDSTICKS", tmp_path)
    monkeypatch.setattr(bench, "BOOK_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: FLOW_SHA256})
    assert bench.main(["--only", "book", "--repetitions", "2"]) == 0
    assert "skipped: yardsticks/book/naive.py is absent" in capsys.readouterr().out


def test_an_unknown_measurement_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--only", "nothing"]) == 2
    assert "unknown measurement 'nothing'; expected one of book, engine" in capsys.readouterr().err


def test_the_ratio_is_the_median_of_the_ratios_of_each_repetition() -> None:
    figure = bench._figure("x", "x", rates=[10.0, 30.0, 20.0], unit="x/s", yardstick="y", against=[10.0, 10.0, 40.0])
    assert (figure.value, figure.low, figure.high, figure.ratio) == (20.0, 10.0, 30.0, 1.0)


@pytest.mark.parametrize("name", ["frost", "reconciliation", "liabilities"])
def test_custody_is_measured_against_yardsticks_that_are_always_there(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "YARDSTICKS", tmp_path)
    monkeypatch.setattr(bench, "FROST_SIGNATURES", 2)
    monkeypatch.setattr(bench, "LIABLE_CLIENTS", 100)
    monkeypatch.setattr(bench, "ENGINE_OPERATIONS", 2_000)
    monkeypatch.setattr(bench, "TRADES_SHA256", {2_000: FLOW_SHA256})
    result = bench.run(only=name, repetitions=1, tell=lambda _: None)
    (figure,) = result.figures
    assert result.disagreements == ()
    assert figure.value > 0
    assert figure.ratio is not None


def test_a_tree_with_another_total_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LIABLE_CLIENTS", 10)
    build = build_liabilities
    monkeypatch.setattr(bench, "build_liabilities", lambda asset, owed, **key: build(asset, list(owed)[1:], **key))
    result = bench.run(only="liabilities", repetitions=1, tell=lambda _: None)
    assert result.disagreements == ("liabilities: a total of 54; expected 55",)
