"""The reference exchange on the wire protocol: in this process, and as a process that is killed and started again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import pytest

from holdfast.engine import LocalEngine
from holdfast.generating import SMALL_SETUP, Source, episode_random
from holdfast.running import Runner
from holdfast_engine.exchange import Exchange
from holdfast_engine.journal import LOG
from holdfast_engine.server import serve
from holdfast_engine.storage import MemoryStorage
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Capability, commands_of
from holdfast_model.vocabulary.protocol import LINE_BYTES_MAX, Reply, Submit
from holdfast_model.vocabulary.wire import decode, encode

SETUP = json.loads(encode(SMALL_SETUP))
RESET = {"id": 1, "type": "reset", "setup": SETUP}
DEPOSIT = {
    "type": "credit_deposit",
    "client": "alice",
    "asset": "USD",
    "amount": "20000",
    "transaction": "t1",
}
PLACE = {
    "type": "place_order",
    "client": "alice",
    "order": "1",
    "market": "BTC-USD",
    "side": "buy",
    "size_lots": "5",
    "price_ticks": "100",
}
Json = dict[str, Any]


def submit(identifier: int, *commands: Json) -> Json:
    return {"id": identifier, "type": "submit", "commands": list(commands)}


def lines_of(*requests: Json) -> list[bytes]:
    return [json.dumps(request).encode() + b"\n" for request in requests]


def served(*requests: Json, exchange: Exchange | None = None) -> list[Json]:
    """The replies to some requests, as they stand on the wire."""
    replies = BytesIO()
    serve(exchange or Exchange(MemoryStorage()), lines_of(*requests), replies, version="1.2.3")
    lines = replies.getvalue().splitlines()
    for line in lines:
        assert encode(decode(line, Reply)) == line
    return [json.loads(line) for line in lines]


def test_hello_says_who_it_is_and_that_it_can_do_everything() -> None:
    (reply,) = served({"id": 7, "type": "hello", "protocol": 1})
    assert reply == {
        "type": "hello_reply",
        "id": 7,
        "protocol": 1,
        "engine": "holdfast-reference",
        "version": "1.2.3",
        "capabilities": [capability.value for capability in Capability],
        "conventions": [],
    }


def test_another_version_of_the_protocol_is_refused_but_the_engine_goes_on() -> None:
    refused, hello = served({"id": 1, "type": "hello", "protocol": 2}, {"id": 2, "type": "hello"})
    assert refused == {"type": "failed", "id": 1, "message": "protocol 2 asked, 1 spoken"}
    assert hello["type"] == "hello_reply"


@pytest.mark.parametrize(
    "request_",
    [submit(5, DEPOSIT), {"id": 5, "type": "observe"}, {"id": 5, "type": "snapshot"}, {"id": 5, "type": "restore"}],
    ids=lambda request: request["type"],
)
def test_what_needs_a_setup_fails_before_the_first_reset_and_works_after_it(request_: Json) -> None:
    before, done, after = served(request_, RESET, request_)
    assert before == {"type": "failed", "id": 5, "message": "reset comes first: there is no setup yet"}
    assert done == {"type": "done", "id": 1}
    assert after["type"] in ("submit_reply", "observe_reply", "done")
    assert after["id"] == 5


def test_a_submission_is_answered_command_by_command_and_observed() -> None:
    _, submitted, observed = served(RESET, submit(2, DEPOSIT, PLACE), {"id": 3, "type": "observe", "since_seq": 1})
    first, second = submitted["answers"]
    assert (first["seq"], second["seq"]) == (1, 2)
    assert [event["type"] for event in first["events"]] == ["deposit_credited", "entry_posted"]
    assert [event["type"] for event in second["events"]] == ["order_accepted", "entry_posted", "order_rested"]
    assert observed["view"]["seq"] == 2
    assert observed["view"]["journal_sha256"] == second["journal_sha256"]
    assert observed["view"]["orders"][0]["left_lots"] == "5"
    (resent,) = observed["resent"]
    assert (resent["seq"], resent["command"]["order"]) == (2, "1")
    assert resent["events"] == second["events"]


def test_snapshot_and_restore_leave_the_view_as_it_was() -> None:
    observe = {"id": 9, "type": "observe"}
    *_, before, _, after = served(
        RESET,
        submit(2, DEPOSIT),
        {"id": 3, "type": "snapshot"},
        submit(4, PLACE),
        observe,
        {"id": 5, "type": "restore"},
        observe,
    )
    assert before["view"]["seq"] == 2
    assert after == before


def test_a_second_reset_forgets_everything() -> None:
    *_, observed = served(RESET, submit(2, DEPOSIT, PLACE), RESET, {"id": 3, "type": "observe", "since_seq": 0})
    assert (observed["view"]["seq"], observed["view"]["balances"], observed["resent"]) == (0, [], [])


def test_shutdown_is_answered_and_ends_it() -> None:
    assert served({"id": 1, "type": "shutdown"}, {"id": 2, "type": "hello"}) == [{"type": "done", "id": 1}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense\n", "request line 2: .*malformed"),
        (b"\n", "request line 2: "),
        (b"\xff\xfe\n", "request line 2: "),
        (b'{"id":1,"type":"dance"}\n', "request line 2: .*dance"),
        (b'{"type":"hello"}\n', "request line 2: .*id"),
        (b'{"id":-1,"type":"hello"}\n', "request line 2: .*id"),
        (b'{"id":1,"type":"observe","since_seq":-1}\n', "request line 2: .*since_seq"),
        (b'{"id":1,"type":"submit","commands":[{"type":"crash"}]}\n', "request line 2: .*crash"),
        (b" " * (LINE_BYTES_MAX + 1), f"request line 2: {LINE_BYTES_MAX + 1} bytes, at most {LINE_BYTES_MAX}"),
    ],
    ids=["no json", "empty", "binary", "unknown type", "no id", "id", "since_seq", "no command", "too long"],
)
def test_a_line_that_is_no_request_is_an_error_that_names_the_line(line: bytes, said: str) -> None:
    replies = BytesIO()
    with pytest.raises(HoldfastError, match=said):
        serve(Exchange(MemoryStorage()), [*lines_of(RESET), line], replies, version="1")
    assert len(replies.getvalue().splitlines()) == 1, "what came before is answered"


def test_a_journal_found_broken_is_a_failure_that_is_told() -> None:
    storage = MemoryStorage()
    exchange = Exchange(storage)
    served(RESET, submit(2, DEPOSIT), exchange=exchange)
    storage.append(LOG, b"{}")
    for request in ({"id": 3, "type": "restore"}, {"id": 3, "type": "observe", "since_seq": 0}):
        (reply,) = served(request, exchange=exchange)
        assert (reply["type"], reply["id"]) == ("failed", 3)
        assert reply["message"].startswith("journal record 2: ")


# As a process ------------------------------------------------------------------------------------------------------


class Process:
    """`python -m holdfast_engine` on a data directory."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "holdfast_engine", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"HOLDFAST_DATA_DIR": str(directory)} | environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=20)

    def send(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def ask(self, request: Json | bytes) -> Json:
        self.send(request if isinstance(request, bytes) else lines_of(request)[0])
        assert self._process.stdout
        reply: Json = json.loads(self._process.stdout.readline())
        return reply

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(timeout=20) == -signal.SIGKILL

    def end(self) -> tuple[int, str]:
        """The exit status and what stands on standard error, after the end of input."""
        _, errors = self._process.communicate(timeout=20)
        return self._process.returncode, errors.decode()


OBSERVE: Json = {"id": 9, "type": "observe", "since_seq": 0}


def test_what_was_acknowledged_survives_sigkill_on_the_same_data_directory(tmp_path: Path) -> None:
    with Process(tmp_path) as engine:
        engine.ask(RESET)
        engine.ask(submit(2, DEPOSIT, PLACE))
        engine.ask({"id": 3, "type": "snapshot"})
        engine.ask(submit(4, PLACE | {"order": "2"}))
        before = engine.ask(OBSERVE)
        engine.kill()
    with (tmp_path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"seq":4,"epo')
    for _ in range(2):
        with Process(tmp_path) as engine:
            after = engine.ask(OBSERVE)
            assert after == before | {"view": before["view"] | {"ingress_depth_max": 0}}
            engine.kill()
    assert [order["order"] for order in before["view"]["orders"]] == ["1", "2"]
    with Process(tmp_path) as engine:
        (answer,) = engine.ask(submit(5, PLACE))["answers"]
        assert answer["events"] == [{"type": "rejected", "reason": "duplicate_order", "detail": ""}]
        assert answer["seq"] == 4


def test_without_a_data_directory_nothing_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with Process(tmp_path, HOLDFAST_DATA_DIR="") as engine:
            assert engine.ask(OBSERVE)["type"] == "failed"
            engine.ask(RESET)
            assert engine.ask({"id": 2, "type": "shutdown"}) == {"type": "done", "id": 2}
            assert engine.end() == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_input_ends_it_with_0(tmp_path: Path) -> None:
    with Process(tmp_path) as engine:
        assert engine.ask({"id": 1, "type": "hello"})["engine"] == "holdfast-reference"
        assert engine.end() == (0, "")


def test_a_bad_line_ends_it_with_2_and_one_line_that_says_which(tmp_path: Path) -> None:
    with Process(tmp_path) as engine:
        engine.ask(RESET)
        engine.send(b"nonsense\n")
        status, errors = engine.end()
    assert status == 2
    assert errors.startswith("holdfast_engine: request line 2: ")
    assert errors.count("\n") == 1


def test_a_journal_with_a_gap_ends_it_with_2_and_names_the_record(tmp_path: Path) -> None:
    with Process(tmp_path) as engine:
        engine.ask(RESET)
        engine.ask(submit(2, DEPOSIT, PLACE))
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().split(b"\n")[1] + b"\n")
    with Process(tmp_path) as engine:
        assert engine.end() == (2, "holdfast_engine: journal record 1: has sequence number 2\n")


@pytest.mark.parametrize("name", ["snapshot.json", "setup.json", "wallet.jsonl"])
def test_a_broken_file_of_the_data_directory_ends_it_with_2_and_no_traceback(tmp_path: Path, name: str) -> None:
    with Process(tmp_path) as engine:
        engine.ask(RESET)
        engine.ask(submit(2, DEPOSIT))
        engine.ask({"id": 3, "type": "snapshot"})
    (tmp_path / name).write_bytes(b'{"broken":\n')
    with Process(tmp_path) as engine:
        status, errors = engine.end()
    assert status == 2
    assert errors.startswith("holdfast_engine: ")
    assert errors.count("\n") == 1


def test_a_file_as_data_directory_ends_it_with_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with Process(tmp_path / "file") as engine:
        status, errors = engine.end()
    assert status == 2
    assert "cannot be used as the data directory" in errors
    assert "Traceback" not in errors


def test_an_unknown_fault_ends_it_with_2_and_lists_those_there_are(tmp_path: Path) -> None:
    with Process(tmp_path, "--fault", "gremlin") as engine:
        status, errors = engine.end()
    assert status == 2
    assert errors.startswith("holdfast_engine: there is no fault 'gremlin'; there are: ")
    assert "stale-snapshot-restore" in errors
    assert "Traceback" not in errors


def test_a_planted_fault_is_active_only_where_it_was_asked_for(tmp_path: Path) -> None:
    def orders_after_restore(*arguments: str) -> list[str]:
        with Process(tmp_path, *arguments) as engine:
            engine.ask(RESET)
            engine.ask(submit(2, DEPOSIT, PLACE))
            engine.ask({"id": 3, "type": "restore"})
            return [order["order"] for order in engine.ask(OBSERVE)["view"]["orders"]]

    assert orders_after_restore() == ["1"]
    assert orders_after_restore("--fault", "stale-snapshot-restore") == []


# Determinism -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conversation() -> list[bytes]:
    """Submissions of a seeded sequence, with snapshots between them."""
    runner = Runner(LocalEngine(), SMALL_SETUP)
    source = Source(episode_random(7, 0), SMALL_SETUP, runner.capabilities)
    for _ in range(150):
        runner.do(source.next(runner.auditor.told))
    lines = lines_of(RESET)
    for number, step in enumerate(runner.steps):
        if commands_of(step):
            lines.append(encode(Submit(id=number, commands=commands_of(step))) + b"\n")
        if number % 40 == 39:
            lines += lines_of({"id": number, "type": "snapshot"})
    return lines


def files(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.iterdir()):
        yield path.name, path.read_bytes()


def test_the_same_commands_give_the_same_bytes_whatever_the_hash_seed(
    tmp_path: Path, conversation: list[bytes]
) -> None:
    found = []
    for seed in ("0", "1", "4242"):
        directory = tmp_path / seed
        with Process(directory, PYTHONHASHSEED=seed) as engine:
            replies = [engine.ask(line) for line in conversation]
            replies.append(engine.ask(OBSERVE))
        found.append((replies, dict(files(directory))))
    assert found[0] == found[1] == found[2]
    kept = set(found[0][1]) - {"installed.json"}  # which is there once a release was deployed
    assert kept == {"journal.jsonl", "setup.json", "snapshot.json", "wallet.jsonl"}
    assert found[0][1]["journal.jsonl"].count(b"\n") > 100
