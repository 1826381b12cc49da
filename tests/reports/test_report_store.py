"""Reports as files: what is written is read back, what is broken is refused by name, nothing is half written."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast_model.errors import HoldfastError
from holdfast_model.findings import Counterexample, GateResult, Report
from holdfast_model.vocabulary import wire
from holdfast_reports import AnyResult, encode, load, render, write_atomically

Reports = dict[str, Callable[[], Report[AnyResult]]]
Folder = Callable[[Report[AnyResult]], Path]


def test_a_report_is_read_back_as_it_was_written(any_report: Report[AnyResult], folder: Folder) -> None:
    out = folder(any_report)
    assert load(out) == any_report
    assert load(out / "report.json") == any_report
    assert type(load(out).result) is type(any_report.result)


def test_the_same_report_gives_the_same_bytes_also_after_it_was_read_back(
    any_report: Report[AnyResult], folder: Folder, tmp_path: Path
) -> None:
    out = folder(any_report)
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert set(first) == {"report.html", "report.json", "junit.xml", "SHA256SUMS"}
    assert render(load(out), tmp_path)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == first


def test_a_counterexample_is_written_with_amounts_as_decimal_strings(reports: Reports, folder: Folder) -> None:
    out = folder(reports["violated gate"]())
    document = json.loads((out / "counterexamples" / "FINAL-2-1.json").read_bytes())
    assert document["steps"][0]["amount"] == str(10**18)
    assert document["setup"]["markets"][0]["lot_amount"] == "1000000"
    found = wire.decode((out / "counterexamples" / "FINAL-2-1.json").read_bytes(), Counterexample)
    assert encode(found) == (out / "counterexamples" / "FINAL-2-1.json").read_bytes()


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _with(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return edit


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(lambda _: b"", "the file is empty", id="empty"),
        pytest.param(lambda _: b" \n\t ", "the file is empty", id="white space"),
        pytest.param(_cut, "not JSON", id="cut short"),
        pytest.param(lambda _: bytes(range(256)), "not JSON", id="binary"),
        pytest.param(lambda _: b"[" * 100_000, "not JSON", id="very deep"),
        pytest.param(lambda _: b"[]", "found a JSON list, expected an object", id="a list"),
        pytest.param(lambda _: b"{}", 'found the schema "None", expected "holdfast/report/1"', id="no schema"),
        pytest.param(
            _with(lambda document: document.update(schema="holdfast/report/9")),
            'found the schema "holdfast/report/9", expected "holdfast/report/1"',
            id="another schema",
        ),
        pytest.param(
            _with(lambda document: document.update(command="rm\x00-rf")),
            'found the command "rm\\x00-rf", expected one of gate',
            id="another command",
        ),
        pytest.param(
            _with(lambda document: document.pop("result")), "missing required field `result`", id="no result"
        ),
        pytest.param(
            _with(lambda document: document.update(verdict="fine")), "Invalid enum value 'fine'", id="another verdict"
        ),
        pytest.param(
            _with(lambda document: document.update(signed_by="nobody")),
            "found the unknown field $.signed_by",
            id="unknown field",
        ),
    ],
)
def test_a_broken_report_is_refused_with_the_file_and_what_was_found(
    damage: Callable[[bytes], bytes], said: str, reports: Reports, folder: Folder
) -> None:
    file = folder(reports["held gate"]()) / "report.json"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(HoldfastError) as refusal:
        load(file.parent)
    assert str(refusal.value).startswith(f"{file}: ")
    assert said in str(refusal.value)


def test_an_unknown_field_deep_in_the_evidence_is_refused_with_its_place(reports: Reports, folder: Folder) -> None:
    file = folder(reports["held gate"]()) / "report.json"
    document = json.loads(file.read_bytes())
    document["result"]["runs"][1]["coverage"][0]["checked_by"] = "hand"
    file.write_text(json.dumps(document))
    with pytest.raises(HoldfastError, match=r"\$\.result\.runs\[1\]\.coverage\[0\]\.checked_by"):
        load(file)


def test_a_missing_report_is_refused_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"report\.json: no such file"):
        load(tmp_path)
    with pytest.raises(HoldfastError, match=r"elsewhere: no such file"):
        load(tmp_path / "elsewhere")


def test_a_full_disk_leaves_the_old_report_and_is_told_by_the_name_of_the_file(
    reports: Reports, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder(reports["held gate"]())
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HoldfastError, match=r"report\.json: cannot be written: No space left on device"):
        render(reports["inconclusive gate"](), out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_file_is_whole_at_every_moment_in_which_its_name_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deep" / "report.json"
    write_atomically(file, b"old")
    real = os.fsync
    seen: list[bytes] = []

    def watched(descriptor: int) -> None:
        seen.append(file.read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(file, b"new" * 100_000)
    assert seen == [b"old", b"new" * 100_000], "before the rename, and when the folder is made durable"
    assert [path.name for path in file.parent.iterdir()] == ["report.json"]


def test_a_folder_that_is_a_file_is_told_by_name(reports: Reports, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(HoldfastError, match=r"out/report\.json: cannot be written"):
        render(reports["held gate"](), tmp_path / "out")


def test_a_lone_surrogate_from_an_engine_is_written_as_its_escape(reports: Reports, folder: Folder) -> None:
    report = reports["held gate"]()
    assert isinstance(report.result, GateResult)
    hostile = msgspec.structs.replace(
        report, result=msgspec.structs.replace(report.result, engine_version="1.0\ud800", reached={"\udc00": 1})
    )
    out = folder(hostile)
    found = load(out).result
    assert isinstance(found, GateResult)
    assert (found.engine_version, found.reached) == ("1.0\\ud800", {"\\udc00": 1})
