"""Reports as files: the one JSON form, reading it back strictly, and writing that never leaves half a file."""

import contextlib
import os
import secrets
import typing
from pathlib import Path
from typing import Any

import msgspec

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Exploration, Proof, Witness, Witnesses
from holdfast_model.findings import (
    REPORT_SCHEMA,
    AnyReport,
    ContractsResult,
    Counterexample,
    DiffResult,
    FaultsResult,
    FuzzResult,
    GateResult,
    Report,
)
from holdfast_model.vocabulary import wire
from holdfast_reports.text import storable, visible

REPORT_FILE = "report.json"
REPORT_BYTES_MAX = 256 * 1024 * 1024

AnyResult = GateResult | DiffResult | FuzzResult | FaultsResult | Proof | Exploration | Witnesses | ContractsResult
"""The results that have a page. A report says by its `command` which one it holds."""

RESULT_BY_COMMAND: dict[str, type[AnyResult]] = {
    "gate": GateResult,
    "diff": DiffResult,
    "fuzz": FuzzResult,
    "faults": FaultsResult,
    "prove": Proof,
    "explore": Exploration,
    "witness": Witnesses,
    "crosshair": ContractsResult,
}


def encode(value: AnyReport | Counterexample | Witness) -> bytes:
    """The JSON that Holdfast writes for a report, a counterexample or a sequence to a goal.

    It is indented, with fields in their declared order. The setup and the steps of a counterexample have the form of
    the wire, with amounts as decimal strings. Equal values whose dictionaries have one order give equal bytes. Text
    that UTF-8 cannot hold (a lone surrogate) is written as its escape.
    """
    if isinstance(value, Counterexample):
        return msgspec.json.format(wire.encode(value), indent=2) + b"\n"
    plain = value if isinstance(value, Witness) else writable(value)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def writable(report: AnyReport) -> AnyReport:
    """The report itself or, where it holds text that UTF-8 cannot hold, an equal one with that text escaped."""
    try:
        msgspec.json.encode(report)
    except UnicodeEncodeError:
        escaped: AnyReport = msgspec.convert(_escaped(msgspec.to_builtins(report)), _type_for(report.command))
        return escaped
    return report


def load(path: Path) -> Report[AnyResult]:
    """The report in a `report.json`, or in the folder that holds one.

    Raises `HoldfastError`, which names the file, what was found and what was expected, for a file that is missing,
    unreadable, empty, too large, not JSON, cut short, of another schema, or with a field missing, unknown or of
    another form.
    """
    file = path / REPORT_FILE if path.is_dir() else path
    data = read_bytes(file)
    envelope = _envelope(file, data)
    command = envelope.get("command")
    expected = _type_for(command) if isinstance(command, str) and command in RESULT_BY_COMMAND else None
    if expected is None:
        known = ", ".join(RESULT_BY_COMMAND)
        raise HoldfastError(f'{file}: found the command "{visible(str(command), limit=80)}", expected one of {known}')
    try:
        report = typing.cast("Report[AnyResult]", msgspec.json.decode(data, type=expected))
    except msgspec.DecodeError as error:
        raise HoldfastError(f"{file}: not the report of `holdfast {command}`: {error}") from error
    unknown = _unknown_field(envelope, msgspec.to_builtins(report), "$")
    if unknown:
        raise HoldfastError(f"{file}: found the unknown field {unknown}, expected only the fields of {REPORT_SCHEMA}")
    return report


def read_bytes(file: Path) -> bytes:
    """The content of a file of evidence; `HoldfastError` where it is missing, unreadable, empty or too large."""
    try:
        size = file.stat().st_size
        if size > REPORT_BYTES_MAX:
            raise HoldfastError(f"{file}: found {size:,} bytes, expected at most {REPORT_BYTES_MAX:,}")
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise HoldfastError(f"{file}: no such file, expected a report written by `holdfast`") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HoldfastError(f"{file}: cannot be read: {reason}") from error
    if not data.strip():
        raise HoldfastError(f"{file}: the file is empty, expected the JSON of {REPORT_SCHEMA}")
    return data


def write_atomically(file: Path, data: bytes) -> None:
    """Write a file whole or not at all: a reader, or a run that is killed, finds the old content or the new.

    The folder is made where it is missing. Raises `HoldfastError`, which names the file, where it cannot be written
    (a full disk, say); what stood there before then still stands.
    """
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        _sync_folder(file.parent)
    except OSError as error:
        raise HoldfastError(f"{file}: cannot be written: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable; a file system that cannot sync a folder is not an error."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _type_for(command: str) -> Any:  # noqa: ANN401 - a generic alias has no type of its own
    result: Any = RESULT_BY_COMMAND[command]
    return Report[result]


def _envelope(file: Path, data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HoldfastError(f"{file}: not JSON ({error}), expected the JSON of {REPORT_SCHEMA}") from error
    if not isinstance(document, dict):
        raise HoldfastError(f"{file}: found a JSON {type(document).__name__}, expected an object of {REPORT_SCHEMA}")
    if document.get("schema") != REPORT_SCHEMA:
        found = visible(str(document.get("schema")), limit=80)
        raise HoldfastError(f'{file}: found the schema "{found}", expected "{REPORT_SCHEMA}"')
    return document


def _unknown_field(found: Any, known: Any, place: str) -> str:  # noqa: ANN401 - any JSON value
    """Where the first field stands that was read and is not part of the form, or ""."""
    if isinstance(found, dict) and isinstance(known, dict):
        for key, value in found.items():
            here = f"{place}.{visible(key, limit=80)}"
            deeper = _unknown_field(value, known[key], here) if key in known else here
            if deeper:
                return deeper
    elif isinstance(found, list) and isinstance(known, list | tuple):
        for index, (item, known_item) in enumerate(zip(found, known, strict=True)):
            deeper = _unknown_field(item, known_item, f"{place}[{index}]")
            if deeper:
                return deeper
    return ""


def _escaped(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(key): _escaped(item) for key, item in value.items()}
        case list() | tuple():
            return [_escaped(item) for item in value]
        case _:
            return value
