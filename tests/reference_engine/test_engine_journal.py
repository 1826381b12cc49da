"""Journal and storage: what is written survives, what is torn is cut off, what is broken is refused."""

from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast_engine.exchange import Exchange
from holdfast_engine.journal import LOG, Journal, JournalCorruptError
from holdfast_engine.storage import FileStorage, MemoryStorage, Storage
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import (
    Amount,
    CancelOrder,
    CreditDeposit,
    DepositCredited,
    Market,
    Reason,
    Rejected,
    Setup,
)
from holdfast_model.vocabulary.chain import GENESIS

SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(Market(market="M", base="BTC", quote="USD", lot_amount=Amount(1), tick_amount=Amount(1)),),
    clients=("alice",),
)
COMMAND = CancelOrder(client="alice", order="1")
EVENTS = (Rejected(reason=Reason.UNKNOWN_ORDER),)


@pytest.fixture(params=["memory", "files"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Both kinds of storage: they promise the same."""
    return MemoryStorage() if request.param == "memory" else FileStorage(tmp_path / "data", sync=False)


def written(storage: Storage, count: int) -> Journal:
    journal = Journal(storage)
    for seq in range(1, count + 1):
        journal.append(seq=seq, epoch=1, command=COMMAND, events=EVENTS)
    return journal


def test_what_was_appended_is_loaded_in_order_and_the_head_goes_on(storage: Storage) -> None:
    journal = written(storage, 3)
    again = Journal(storage)
    assert [record.seq for record in again.load()] == [1, 2, 3]
    assert again.head == journal.head != GENESIS
    again.append(seq=4, epoch=1, command=COMMAND, events=EVENTS)
    journal.append(seq=4, epoch=1, command=COMMAND, events=EVENTS)
    assert again.head == journal.head


def test_an_empty_journal_begins_at_genesis(storage: Storage) -> None:
    journal = Journal(storage)
    assert list(journal.load()) == []
    assert journal.head == GENESIS


def test_a_torn_last_line_is_cut_off_for_good_and_its_number_is_given_again(storage: Storage) -> None:
    head = written(storage, 2).head
    torn = Journal(storage)
    torn.load()
    torn.append_torn(seq=3, epoch=1, command=COMMAND, events=EVENTS)
    journal = Journal(storage)
    assert [record.seq for record in journal.load()] == [1, 2]
    assert journal.head == head
    journal.append(seq=3, epoch=1, command=COMMAND, events=())
    assert [(record.seq, record.events) for record in Journal(storage).load()][1:] == [(2, EVENTS), (3, ())]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: [lines[0], lines[2]], "journal record 2: has sequence number 3"),
        (lambda lines: lines[1:], "journal record 1: has sequence number 2"),
        (lambda lines: [lines[0], lines[0]], "journal record 2: has sequence number 1"),
        (lambda lines: [lines[0], lines[1][:20], lines[2]], "journal record 2: "),
        (lambda lines: [lines[0], b"", lines[2]], "journal record 2: "),
        (lambda lines: [b"\xff\x00", lines[1]], "journal record 1: "),
        (
            lambda lines: [lines[0], lines[1].replace(b"alice", b"malice"), lines[2]],
            "journal record 3: does not cont",
        ),
        (lambda lines: [lines[0], b"1" + lines[1][1:], lines[2]], "journal record 2: does not continue"),
        (lambda lines: [*lines[:2], lines[2].replace(b"}", b"")], "journal record 3: "),
    ],
    ids=[
        "gap",
        "beginning lost",
        "twice",
        "torn in the middle",
        "empty line",
        "binary",
        "changed",
        "head changed",
        "last one broken",
    ],
)
def test_a_journal_that_is_not_one_unbroken_sequence_is_refused_with_the_record(
    storage: Storage, spoil: object, said: str
) -> None:
    assert callable(spoil)
    written(storage, 3)
    lines = spoil(storage.lines(LOG))
    storage.clear()
    for line in lines:
        storage.append(LOG, line)
    with pytest.raises(JournalCorruptError, match=said):
        Journal(storage).load()


def test_a_line_is_the_hash_of_the_line_before_it_and_the_record(storage: Storage) -> None:
    journal = written(storage, 3)
    lines = storage.lines(LOG)
    heads = [GENESIS, *(sha256(line).hexdigest() for line in lines)]
    assert [line[:64].decode() for line in lines] == heads[:-1]
    assert [record.journal_sha256 for record in Journal(storage).load()] == heads[1:]
    assert journal.head == heads[-1]


def test_records_are_found_by_what_they_tell_of_and_not_by_what_they_quote(storage: Storage) -> None:
    journal = written(storage, 1)
    deposit = DepositCredited(client="alice", asset="USD", amount=Amount(5), transaction="t")
    quote = Rejected(reason=Reason.OTHER, detail='{"type":"deposit_credited"}')
    for seq, events in ((2, (quote,)), (3, (deposit,)), (4, EVENTS)):
        journal.append(seq=seq, epoch=1, command=COMMAND, events=events)
    records = Journal(storage).load()
    assert [record.seq for record in records.telling_of(DepositCredited)] == [3]
    assert [record.seq for record in records.telling_of(DepositCredited, Rejected)] == [1, 2, 3, 4]
    assert [record.seq for record in records[2:]] == [3, 4]
    assert records[-1].events == EVENTS
    assert len(records) == 4


def test_an_exchange_does_not_start_on_a_broken_journal(storage: Storage) -> None:
    exchange = Exchange(storage)
    exchange.reset(SETUP)
    exchange.submit([COMMAND])
    storage.append(LOG, b"{}")
    with pytest.raises(JournalCorruptError, match="journal record 2"):
        Exchange(storage)


def test_a_value_is_replaced_and_everything_can_be_forgotten(storage: Storage) -> None:
    assert storage.read("snapshot") is None
    storage.write("snapshot", b"old, and longer")
    storage.write("snapshot", b"new")
    storage.append("log", b"1")
    assert storage.read("snapshot") == b"new"
    storage.clear()
    assert storage.read("snapshot") is None
    assert storage.lines("log") == []
    storage.append("log", b"2")
    assert storage.lines("log") == [b"2"]


def test_files_survive_the_object_that_wrote_them(tmp_path: Path) -> None:
    first = FileStorage(tmp_path)
    first.append("log", b"1")
    first.append("log", b"2")
    first.write("value", b"v")
    second = FileStorage(tmp_path)
    assert (second.lines("log"), second.read("value")) == ([b"1", b"2"], b"v")
    second.append("log", b"3")
    assert FileStorage(tmp_path).lines("log") == [b"1", b"2", b"3"]


def test_a_torn_line_is_cut_off_the_file_itself(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path, sync=False)
    storage.append("log", b"whole")
    storage.append_torn("log", b"0123456789")
    assert (tmp_path / "log.jsonl").read_bytes() == b"whole\n01234"
    assert FileStorage(tmp_path).lines("log") == [b"whole"]
    assert (tmp_path / "log.jsonl").read_bytes() == b"whole\n"


def test_a_value_half_written_when_the_process_died_leaves_the_old_one(tmp_path: Path) -> None:
    FileStorage(tmp_path, sync=False).write("value", b"old")
    (tmp_path / "value.tmp").write_bytes(b"ne")
    assert FileStorage(tmp_path).read("value") == b"old"


def test_each_line_and_each_value_is_synced_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[dict[str, bytes]] = []
    monkeypatch.setattr(
        "holdfast_engine.storage.os.fsync",
        lambda _: synced.append({path.name: path.read_bytes() for path in tmp_path.iterdir()}),
    )
    storage = FileStorage(tmp_path)
    storage.append("log", b"1")
    assert synced[-1] == {"log.jsonl": b"1\n"}
    count = len(synced)
    storage.append("log", b"2")
    assert synced[count:] == [{"log.jsonl": b"1\n2\n"}]
    storage.write("value", b"v")
    assert {"log.jsonl": b"1\n2\n", "value.tmp": b"v"} in synced, "the value is synced before the rename"
    assert synced[-1] == {"log.jsonl": b"1\n2\n", "value.json": b"v"}, "and the directory after it"


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HoldfastError, match="cannot be used as the data directory"):
        FileStorage(tmp_path / "file")


def test_an_exchange_on_files_is_the_same_one_after_a_restart(tmp_path: Path) -> None:
    exchange = Exchange(FileStorage(tmp_path, sync=False))
    assert not exchange.started
    exchange.reset(SETUP)
    exchange.submit([CreditDeposit(client="alice", asset="USD", amount=Amount(5), transaction="t")])
    exchange.snapshot()
    exchange.submit([COMMAND])
    again = Exchange(FileStorage(tmp_path, sync=False))
    assert again.started
    assert again.view() == replace(exchange.view(), ingress_depth_max=0)
    again.reset(SETUP)
    assert again.view().seq == 0
    assert again.view().balances == ()
    assert again.view().custody == ()
    assert again.view().journal_sha256 == GENESIS
