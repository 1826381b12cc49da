"""The JSON Schemas of vocabulary, protocol and reports: `python -m holdfast_model.schemas [DIRECTORY]`.

They are made from the types that decode the real messages, so that the two cannot disagree. The committed copies
stand in `docs/schema`, and a test holds them to what this module makes.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ExitStatus, Exploration, Proof, Witness, Witnesses
from holdfast_model.findings import (
    ContractsResult,
    Counterexample,
    DiffResult,
    FaultsResult,
    FuzzResult,
    GateResult,
    ReplayResult,
    Report,
)
from holdfast_model.vocabulary import Command, Event, History, Setup, Step, View
from holdfast_model.vocabulary.protocol import Reply, Request
from holdfast_model.vocabulary.wire import schema

DIRECTORY = Path("docs/schema")

_ROOTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "vocabulary.json": (
        "Holdfast's vocabulary: a command, an event, a step, a setup, a view, a history, or a counterexample",
        {
            "Command": Command,
            "Event": Event,
            "Step": Step,
            "Setup": Setup,
            "View": View,
            "History": History,
            "Counterexample": Counterexample,
        },
    ),
    "witness.json": ("A sequence of a model that reaches a goal", {"Witness": Witness}),
    "protocol.json": (
        "Holdfast's wire protocol, version 1: one line, a request or a reply",
        {"Request": Request, "Reply": Reply},
    ),
    "report.json": (
        "What a holdfast command writes with --json, and a report folder's report.json",
        {
            "Gate": Report[GateResult],
            "Prove": Report[Proof],
            "Explore": Report[Exploration],
            "Witness": Report[Witnesses],
            "Fuzz": Report[FuzzResult],
            "Faults": Report[FaultsResult],
            "Diff": Report[DiffResult],
            "Replay": Report[ReplayResult],
            "Crosshair": Report[ContractsResult],
        },
    ),
}


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by file name; a document is valid against one when it is one of the things in its title."""
    made = {}
    for file, (title, roots) in _ROOTS.items():
        definitions = schema(roots, title=title)
        made[file] = {
            "$schema": definitions["$schema"],
            "title": title,
            "anyOf": [{"$ref": f"#/$defs/{name}"} for name in roots],
            "$defs": definitions["$defs"],
        }
    return made


def text_of(document: Mapping[str, Any]) -> str:
    """The text of a schema as it stands in its file."""
    return json.dumps(document, indent=2) + "\n"


def write(directory: Path) -> None:
    """Write every schema to the folder. Raises `HoldfastError` when it cannot be written to."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, document in schemas().items():
            (directory / file).write_text(text_of(document), encoding="utf-8")
    except OSError as error:
        raise HoldfastError(f"{directory}: cannot be written to: {error.strerror}") from error


def main(arguments: list[str]) -> int:
    """Write the schemas to the folder that is named, or to docs/schema below the working directory."""
    if len(arguments) > 1:
        sys.stderr.write("usage: python -m holdfast_model.schemas [DIRECTORY]\n")
        return ExitStatus.BAD_INPUT
    try:
        write(Path(arguments[0]) if arguments else DIRECTORY)
    except HoldfastError as error:
        sys.stderr.write(f"holdfast_model.schemas: {error}\n")
        return ExitStatus.BAD_INPUT
    return ExitStatus.HELD


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
