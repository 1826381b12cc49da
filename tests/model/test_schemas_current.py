"""The JSON Schemas: current, valid, and true of real messages."""

import json
import subprocess
import sys
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from holdfast_model.errors import HoldfastError
from holdfast_model.findings import COUNTEREXAMPLE_SCHEMA, Counterexample, Violation
from holdfast_model.schemas import main, schemas, text_of, write
from holdfast_model.vocabulary import (
    Answer,
    Burst,
    CancelOrder,
    Crash,
    CreditDeposit,
    History,
    Market,
    PlaceOrder,
    PriceTicks,
    Record,
    Restart,
    Setup,
    Side,
    SizeLots,
    TakeSnapshot,
    View,
)
from holdfast_model.vocabulary.amounts import Amount
from holdfast_model.vocabulary.protocol import Hello, Observe, Request, Reset, Shutdown, Submit
from holdfast_model.vocabulary.wire import WireError, decode, encode

COMMITTED = Path(__file__).parents[2] / "docs" / "schema"
SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="BTC-USD", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice",),
)
DEPOSIT = CreditDeposit(client="alice", asset="USD", amount=Amount(10**20), transaction="t1")
ORDER = PlaceOrder(
    client="alice", order="o1", market="BTC-USD", side=Side.BUY, size_lots=SizeLots(2), price_ticks=PriceTicks(3)
)


def valid(document: Any, file: str, name: str | None = None) -> bool:  # noqa: ANN401 - any JSON
    schema = schemas()[file] if name is None else {"$ref": f"#/$defs/{name}", "$defs": schemas()[file]["$defs"]}
    return jsonschema.Draft202012Validator(schema).is_valid(document)


def answered(requests: Iterable[Request], directory: Path) -> list[Any]:
    """What the reference engine replies, as plain JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast_engine"],
        input=b"".join(encode(request) + b"\n" for request in requests),
        env={"HOLDFAST_DATA_DIR": str(directory)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("file", sorted(schemas()))
def test_committed_schema_is_the_one_that_is_made(file: str) -> None:
    assert (COMMITTED / file).read_text(encoding="utf-8") == text_of(schemas()[file]), (
        "run: python -m holdfast_model.schemas"
    )


@pytest.mark.parametrize("file", sorted(schemas()))
def test_schema_is_itself_valid_and_refers_only_to_what_it_defines(file: str) -> None:
    schema = schemas()[file]
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    referred = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert referred <= set(schema["$defs"])


def test_conversation_with_the_reference_engine_is_valid_line_by_line(tmp_path: Path) -> None:
    requests: list[Request] = [
        Hello(id=1),
        Reset(id=2, setup=SETUP),
        Submit(id=3, commands=(DEPOSIT, ORDER, ORDER, CancelOrder(client="alice", order="o1"))),
        Observe(id=4, since_seq=0),
        Shutdown(id=5),
    ]
    replies = answered(requests, tmp_path)
    assert [reply["id"] for reply in replies] == [1, 2, 3, 4, 5]
    for request, reply in zip(requests, replies, strict=True):
        assert valid(json.loads(encode(request)), "protocol.json", "Request")
        assert valid(reply, "protocol.json", "Reply")
        assert not valid(reply, "protocol.json", "Request")
    assert valid(replies[3]["view"], "vocabulary.json", "View")
    assert replies[3]["resent"]


def test_histories_and_counterexamples_are_valid() -> None:
    steps = (DEPOSIT, Burst(commands=(ORDER,)), TakeSnapshot(), Crash(in_flight=ORDER), Restart())
    history = History(
        setup=SETUP,
        records=tuple(Record(step=step, answers=(Answer(events=(), seq=1),), view=View(seq=1)) for step in steps),
    )
    counterexample = Counterexample(
        schema=COUNTEREXAMPLE_SCHEMA,
        engine="reference",
        origin="test",
        setup=SETUP,
        steps=steps,
        commands=6,
        violations=(Violation(invariant="FINAL-2", step=4, subject="alice/o1", found="gone", expected="open"),),
    )
    for value, name in ((history, "History"), (counterexample, "Counterexample")):
        document = json.loads(encode(value))
        assert valid(document, "vocabulary.json", name)
        assert valid(document, "vocabulary.json")
        document["unheard_of"] = 1
        assert not valid(document, "vocabulary.json", name)


REQUEST: dict[str, Any] = json.loads(encode(Submit(id=1, commands=(ORDER,))))
WRONG: dict[str, tuple[str, Any]] = {
    "an amount as a number": ("size_lots", 2),
    "an amount with a point": ("size_lots", "2.0"),
    "an amount with a leading zero": ("size_lots", "02"),
    "an amount of 39 digits": ("size_lots", "1" * 39),
    "an amount with a line feed": ("size_lots", "2\n"),
    "a name that is empty": ("client", ""),
    "a name with a space": ("client", "a b"),
    "a side that is none": ("side", "hold"),
    "a field that is none": ("colour", "red"),
    "another command": ("type", "steal"),
}


@pytest.mark.parametrize(("field", "value"), WRONG.values(), ids=WRONG)
def test_what_the_decoder_refuses_the_schema_refuses(field: str, value: object) -> None:
    request = deepcopy(REQUEST)
    assert valid(request, "protocol.json")
    request["commands"][0][field] = value
    assert not valid(request, "protocol.json")
    with pytest.raises(WireError):
        decode(json.dumps(request), Request)


def test_schemas_are_written_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "made")]) == 0
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == sorted(schemas())
    assert main(["a", "b"]) == 2
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file")]) == 2
    assert "file: cannot be written to" in capsys.readouterr().err
    with pytest.raises(HoldfastError):
        write(tmp_path / "file" / "below")
