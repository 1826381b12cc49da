"""An engine as a process: what it may do wrong, and that nothing of it is left afterwards."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.child import Child
from holdfast.engine import EngineFailure
from holdfast.process import ProcessEngine
from holdfast_model.errors import HoldfastError, InconclusiveError
from holdfast_model.vocabulary import (
    Capability,
    CrashPoint,
    CreditDeposit,
    Market,
    PlaceOrder,
    PriceTicks,
    Setup,
    Side,
    SizeLots,
    View,
)
from holdfast_model.vocabulary.amounts import Amount

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="BTC-USD", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice",),
)
ORDER = PlaceOrder(
    client="alice", order="o1", market="BTC-USD", side=Side.BUY, size_lots=SizeLots(1), price_ticks=PriceTicks(1)
)
NOWHERE = CrashPoint.BEFORE_JOURNAL

POLITE = """
import json, os, pathlib, signal, subprocess, sys, time

DATA = pathlib.Path(os.environ["HOLDFAST_DATA_DIR"])
starts = DATA / "starts"
start = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (start + 1))
HELLO = {"type": "hello_reply", "protocol": 1, "engine": "fake", "version": "1", "capabilities": ["limit_orders"]}

def say(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()

def answer(request):
    kind, number = request["type"], request["id"]
    if kind == "hello":
        return {**HELLO, "id": number}
    if kind == "submit":
        answers = [{"events": [{"type": "rejected", "reason": "other"}]} for _ in request["commands"]]
        return {"type": "submit_reply", "id": number, "answers": answers}
    if kind == "observe":
        return {"type": "observe_reply", "id": number, "view": {"seq": 0}}
    return {"type": "done", "id": number}

def on(request):
    "What a script overrides; None says nothing."
    return answer(request)
"""
LOOP = """
for line in sys.stdin:
    request = json.loads(line)
    reply = on(request)
    if reply is not None:
        say(reply)
    if request["type"] == "shutdown":
        break
"""


class Fake:
    """Makes engines out of a few lines of Python that override `on`, and looks for what they leave behind."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self._script = directory / "engine.py"

    def argv(self, body: str) -> list[str]:
        self._script.write_text(POLITE + body + LOOP)
        return [sys.executable, "-S", str(self._script)]

    def engine(self, body: str = "", *, hello_seconds: float = 10, request_seconds: float = 10) -> ProcessEngine:
        return ProcessEngine(
            self.argv(body),
            data_directory=self.data,
            hello_seconds=hello_seconds,
            request_seconds=request_seconds,
        )

    def saved_pid(self, name: str) -> int:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            text = (self.data / name).read_text() if (self.data / name).exists() else ""
            if text:
                return int(text)
            time.sleep(0.01)
        raise AssertionError(f"the engine wrote no {name}")


def gone(pid: int) -> bool:
    """Whether no process of this number runs within a few seconds; one that init has yet to reap is gone."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0


def children() -> set[str]:
    """The processes that this one has started and not reaped, whether or not they still run."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    # Other tests may have left a child behind for good: Python's own tracker of what is shared among processes.
    descriptors, threads, before = open_descriptors(), threading.active_count(), children()
    yield Fake(tmp_path)
    assert open_descriptors() == descriptors, "a descriptor is left open"
    assert threading.active_count() == threads, "a thread is left running"
    assert children() == before, "a child is left, running or unreaped"


def test_polite_engine_is_asked_and_answers(fake: Fake) -> None:
    with fake.engine() as engine:
        assert engine.identity.engine == "fake"
        assert engine.identity.capabilities == {Capability.LIMIT_ORDERS}
        engine.reset(SETUP)
        assert len(engine.submit([ORDER, ORDER])) == 2
        assert engine.observe() == (View(seq=0), ())
        engine.snapshot()
        engine.restore()


def test_killed_engine_is_started_again_on_the_same_data_directory(fake: Fake) -> None:
    body = """
(DATA / f"pid{start}").write_text(str(os.getpid()))
"""
    with fake.engine(body) as engine:
        first = fake.saved_pid("pid0")
        engine.crash(ORDER, NOWHERE)
        assert gone(first)
        with pytest.raises(EngineFailure, match=r"observe .*the engine is not running"):
            engine.observe()
        engine.restart()
        assert fake.saved_pid("pid1") != first
        assert engine.observe()[0] == View(seq=0)
        engine.crash(None, NOWHERE)
        engine.reset(SETUP)
        assert fake.saved_pid("pid2")


def test_command_in_flight_is_written_before_the_kill(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
def on(request):
    if request["type"] == "submit":
        (DATA / "seen").write_text(str(len(request["commands"])))
    return answer(request)
"""
    kill = Child.kill

    def kill_later(child: Child) -> None:
        fake.saved_pid("seen")
        kill(child)

    with fake.engine(body) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Child, "kill", kill_later)
            engine.crash(ORDER, NOWHERE)
        assert (fake.data / "seen").read_text() == "1"
        engine.restart()
        assert engine.observe()[0] == View(seq=0), "the answer that nobody heard is not taken for another's"


BEFORE_HELLO = {
    "exits at once": ("sys.exit(3)", "ended with exit status 3"),
    "is ended by a signal": ("os.kill(os.getpid(), signal.SIGTERM)", "was ended by SIGTERM"),
    "prints rubbish": ("print('Welcome to the engine!', flush=True)", "Welcome to the engine!"),
    "prints rubbish without a line feed": ("print('Loading', end='', flush=True); sys.exit(1)", "'Loading'"),
    "prints bytes that are no text": ("os.write(1, b'\\xff\\xfe\\x00\\n')", "not in the protocol"),
    "prints JSON that is no reply": ("say({'ready': True})", "not in the protocol"),
    "nests without end": ("os.write(1, b'{\"x\":' * 100000 + b'\\n')", "not in the protocol"),
    "answers with another message": ("say({'type': 'done', 'id': 1})", "answered hello with done"),
    "fails": ("say({'type': 'failed', 'id': 1, 'message': 'no licence'})", "no licence"),
    "speaks another protocol": ("say({**HELLO, 'id': 1, 'protocol': 2})", "speaks protocol 2; 1 was expected"),
    "answers another request": ("say({**HELLO, 'id': 7})", "answered request 7; 1 was asked"),
    "claims an unknown capability": ("say({**HELLO, 'id': 1, 'capabilities': ['magic']})", "magic"),
    "closes its output": ("os.close(1); time.sleep(0.1); sys.exit(0)", "ended with exit status 0"),
}


@pytest.mark.parametrize(("body", "words"), BEFORE_HELLO.values(), ids=BEFORE_HELLO)
def test_engine_that_does_not_come_to_hello_is_inconclusive(fake: Fake, body: str, words: str) -> None:
    with pytest.raises(InconclusiveError) as caught:
        fake.engine(body)
    assert words in str(caught.value)
    assert "engine.py" in str(caught.value)


def test_engine_that_hangs_before_hello_is_inconclusive_in_time(fake: Fake) -> None:
    started = time.monotonic()
    with pytest.raises(InconclusiveError, match=r"did not answer within 0\.3 s"):
        fake.engine("time.sleep(60)", hello_seconds=0.3)
    assert time.monotonic() - started < 5


def test_last_words_on_standard_error_are_quoted_and_escaped(fake: Fake) -> None:
    with pytest.raises(InconclusiveError) as caught:
        fake.engine("sys.stderr.write('first\\n' * 1000 + '\\x1b[31mno such table: orders\\n'); sys.exit(1)")
    message = str(caught.value)
    assert "no such table: orders" in message
    assert "\x1b" not in message
    assert len(message) < 2500


@pytest.mark.parametrize(
    "argv",
    [["holdfast-no-such-command"], ["/"], ["/etc/hostname"]],
    ids=["no such file", "a folder", "not a program"],
)
def test_engine_that_cannot_be_started_is_inconclusive(fake: Fake, argv: list[str]) -> None:
    with pytest.raises(InconclusiveError, match="cannot be started"):
        ProcessEngine(argv, data_directory=fake.data)


@pytest.mark.parametrize("argv", [[], [""], ["engine", "a\0b"]], ids=["nothing", "an empty word", "a zero byte"])
def test_command_that_is_none_is_bad_input(fake: Fake, argv: list[str]) -> None:
    with pytest.raises(HoldfastError, match="the command of an engine"):
        ProcessEngine(argv, data_directory=fake.data)


AFTER_HELLO = {
    "dies": ("sys.exit(4)", r"submit \(request 2\): the engine ended with exit status 4"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
    "prints rubbish": ("print('oops', flush=True)", "wrote what is not in the protocol .*'oops'"),
    "answers another request": (
        "say({'type': 'submit_reply', 'id': 1, 'answers': []})",
        "answered request 1; 2 was asked",
    ),
    "answers with another message": (
        "say({'type': 'done', 'id': request['id']})",
        r"answered with done \(request 2\); submit_reply was expected",
    ),
    "answers too little": (
        "say({'type': 'submit_reply', 'id': request['id'], 'answers': []})",
        r"submit \(request 2\): 0 answers to 1 commands",
    ),
    "answers too much": (
        "say({**answer(request), 'answers': answer(request)['answers'] * 2})",
        "2 answers to 1 commands",
    ),
    "fails": ("say({'type': 'failed', 'id': request['id'], 'message': 'disk full'})", "failed: 'disk full'"),
    "closes its output": ("os.close(1); time.sleep(0.1); os._exit(5)", "ended with exit status 5"),
    "gives an amount as a number": (
        """say({**answer(request), 'answers': [{'events': [
        {'type': 'order_rested', 'client': 'a', 'order': 'o', 'price_ticks': 1, 'left_lots': '1'}]}]})""",
        "price_ticks",
    ),
}


@pytest.mark.parametrize(("deed", "words"), AFTER_HELLO.values(), ids=AFTER_HELLO)
def test_engine_that_breaks_the_protocol_later_is_a_finding(fake: Fake, deed: str, words: str) -> None:
    body = f"""
def on(request):
    if request["type"] != "submit":
        return answer(request)
    {deed}
"""
    with fake.engine(body) as engine, pytest.raises(EngineFailure, match=words):
        engine.submit([ORDER])


def test_engine_that_hangs_later_is_a_finding_in_time_and_can_be_reset(fake: Fake) -> None:
    body = """
def on(request):
    if request["type"] == "observe" and start == 0:
        time.sleep(60)
    return answer(request)
"""
    with fake.engine(body, request_seconds=0.3) as engine:
        with pytest.raises(EngineFailure, match=r"observe \(request 2\): the engine did not answer within 0\.3 s"):
            engine.observe()
        engine.reset(SETUP)
        assert engine.observe()[0] == View(seq=0)


def test_line_without_end_is_not_kept_in_memory(fake: Fake) -> None:
    body = """
def on(request):
    if request["type"] == "observe":
        while True:
            os.write(1, b"a" * 1048576)
    return answer(request)
"""
    with fake.engine(body) as engine, pytest.raises(EngineFailure, match="wrote more than 16777216 bytes"):
        engine.observe()


def test_engine_that_does_not_read_is_not_waited_for(fake: Fake) -> None:
    body = """
def on(request):
    if request["type"] == "reset":
        say(answer(request))
        time.sleep(60)
    return answer(request)
"""
    with fake.engine(body, request_seconds=0.5) as engine:
        engine.reset(SETUP)
        with pytest.raises(EngineFailure, match=r"did not take a request within 0\.5 s"):
            engine.submit([ORDER] * 5000)


def test_engine_that_writes_before_it_reads_is_listened_to(fake: Fake) -> None:
    body = """
def on(request):
    reply = answer(request)
    if request["type"] == "submit":
        sys.stdout.write(" " * 1000000)
    return reply
"""
    with fake.engine(body) as engine:
        assert len(engine.submit([ORDER] * 5000)) == 5000


def test_flood_on_standard_error_stops_nobody(fake: Fake) -> None:
    body = """
def on(request):
    sys.stderr.write("noise " * 200000)
    return answer(request)
"""
    with fake.engine(body) as engine:
        for _ in range(5):
            assert engine.observe()[0] == View(seq=0)


def test_another_identity_after_a_restart_is_a_finding(fake: Fake) -> None:
    body = """
if start:
    HELLO["version"] = "2"
"""
    with fake.engine(body) as engine:
        engine.crash(None, NOWHERE)
        with pytest.raises(EngineFailure, match="not the same engine: its version is '2' and was '1'"):
            engine.restart()


def test_restart_that_fails_is_a_finding(fake: Fake) -> None:
    body = """
if start:
    sys.exit("cannot read the journal")
"""
    with fake.engine(body) as engine:
        engine.crash(None, NOWHERE)
        with pytest.raises(
            EngineFailure, match=r"restart: the engine ended with exit status 1.*cannot read the journal"
        ):
            engine.restart()


IGNORING = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
(DATA / "pid").write_text(str(os.getpid()))
"""


def test_engine_that_ignores_signals_and_shutdown_is_gone_after_close(fake: Fake) -> None:
    body = (
        IGNORING
        + """
def on(request):
    if request["type"] == "shutdown":
        say(answer(request))
        time.sleep(60)
    return answer(request)
"""
    )
    engine = fake.engine(body)
    pid = fake.saved_pid("pid")
    engine.close()
    assert gone(pid)
    engine.close()


CHILD = """
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
(DATA / "child").write_text(str(child.pid))
"""


@pytest.mark.parametrize("how", ["close", "crash", "dead leader", "exception", "before hello"])
def test_child_of_the_engine_dies_with_it(fake: Fake, how: str) -> None:
    if how == "before hello":
        with pytest.raises(InconclusiveError):
            fake.engine(CHILD + "sys.exit(1)")
    elif how == "exception":
        with pytest.raises(KeyboardInterrupt), fake.engine(CHILD):
            raise KeyboardInterrupt
    else:
        body = """
def on(request):
    if request["type"] == "observe":
        os._exit(0)
    return answer(request)
"""
        with fake.engine(CHILD + body) as engine:
            if how == "crash":
                engine.crash(None, NOWHERE)
            elif how == "dead leader":
                with pytest.raises(EngineFailure):
                    engine.observe()
    assert gone(fake.saved_pid("child"))


def test_process_that_left_the_group_does_not_keep_us_waiting(fake: Fake) -> None:
    body = """
stray = subprocess.Popen(
    [sys.executable, "-S", "-c", "import time; time.sleep(30)"], stdin=subprocess.DEVNULL, start_new_session=True
)
(DATA / "stray").write_text(str(stray.pid))
"""
    started = time.monotonic()
    with fake.engine(body) as engine:
        engine.crash(None, NOWHERE)
    assert time.monotonic() - started < 5
    os.kill(fake.saved_pid("stray"), signal.SIGKILL)


def test_interrupt_during_hello_leaves_nothing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.child.Child.exchange", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fake.engine(IGNORING)


def test_reference_engine_on_the_wire_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    deposit = CreditDeposit(client="alice", asset="USD", amount=Amount(10), transaction="t1")
    with ProcessEngine([sys.executable, "-m", "holdfast_engine"], data_directory=tmp_path) as engine:
        assert engine.identity.engine == "holdfast-reference"
        engine.reset(SETUP)
        engine.submit([deposit])
        (answer,) = engine.submit([ORDER])
        before, _ = engine.observe()
        assert [order.order for order in before.orders] == ["o1"]
        engine.crash(None, NOWHERE)
        engine.restart()
        after, resent = engine.observe(1)
        assert (after.seq, after.journal_sha256) == (2, answer.journal_sha256)
        assert (after.orders, after.balances, after.replicas) == (before.orders, before.balances, before.replicas)
        assert [(record.seq, record.events) for record in resent] == [(2, answer.events)]
