"""docs/protocol.md: its messages are real, its tables complete, its programs run."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from msgspec import Struct

from holdfast.process import HELLO_SECONDS, REQUEST_SECONDS, SHUTDOWN_SECONDS, ProcessEngine
from holdfast.version import __version__
from holdfast_engine.conventions import CONVENTIONS
from holdfast_model.schemas import schemas
from holdfast_model.vocabulary import (
    LEGAL_COMMANDS,
    LEGAL_TRANSITIONS,
    CancelOrder,
    Capability,
    Command,
    Event,
    Phase,
    Reason,
    Rejected,
    Stage,
)
from holdfast_model.vocabulary.amounts import DECIMAL_DIGITS_MAX
from holdfast_model.vocabulary.chain import JournalBody
from holdfast_model.vocabulary.protocol import LINE_BYTES_MAX, Reply, Request
from holdfast_model.vocabulary.wire import WireError, decode, encode

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def lines(kind: str) -> list[str]:
    """The JSON lines of all blocks of a kind."""
    return [
        line for language, name, text in BLOCKS if (language, name) == ("json", kind) for line in text.splitlines()
    ]


def table(heading: str) -> dict[str, str]:
    """The table of a section: the first column's code to the rest of its row."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w[\w-]*)` \|(.*)\|$", section, re.MULTILINE))


def phases_table() -> dict[str, str]:
    """The table of phases alone; the section has one of stages too, of which some have the same name."""
    section = PAGE.split("## Phases\n")[1].split("| stage |")[0]
    return dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE))


def tags_of(members: Iterable[type]) -> set[str]:
    return {str(member.__struct_config__.tag) for member in members if issubclass(member, Struct)}


def tags(union: object) -> set[str]:
    return tags_of(get_args(union))


ALWAYS_LEGAL = frozenset.intersection(*LEGAL_COMMANDS.values())


def test_conversation_is_what_the_reference_engine_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast_engine"],
        input="".join(f"{line}\n" for line in lines("request")),
        env={"HOLDFAST_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said = [line.replace(f'"version":"{__version__}"', '"version":"0.1.0"') for line in done.stdout.splitlines()]
    assert said == lines("reply")


def test_every_request_and_every_reply_has_an_example() -> None:
    shown = {json.loads(line)["type"] for kind in ("request", "reply", "example") for line in lines(kind)}
    assert tags(Request) | tags(Reply) <= shown


@pytest.mark.parametrize("line", [*lines("request"), *lines("reply"), *lines("example"), *lines("record")])
def test_example_is_decoded_by_the_real_types_and_valid(line: str) -> None:
    for expected in (Request, Reply, Command, Event, JournalBody):
        try:
            value: Struct = decode(line, expected)
        except WireError:
            continue
        assert json.loads(encode(value)) == {**json.loads(line), **json.loads(encode(value))}
        break
    else:
        pytest.fail(f"no message: {line}")
    if expected in (Request, Reply):
        jsonschema.validate(json.loads(line), schemas()["protocol.json"])


def test_tables_name_everything_there_is() -> None:
    assert set(table("Capabilities")) == set(Capability)
    assert set(table("Conventions")) == set(CONVENTIONS)
    assert set(table("Requests")) == tags(Request)
    assert phases_table().keys() == set(Phase)
    for reason in Reason:
        assert f"`{reason}`" in PAGE
    for tag in tags(Command) | tags(Event):
        assert f"`{tag}`" in PAGE, tag


@pytest.mark.parametrize("phase", list(Phase))
def test_phases_are_those_of_the_vocabulary(phase: Phase) -> None:
    allows, followed_by = phases_table()[phase].split("|")
    assert set(re.findall(r"`(\w+)`", allows)) == tags_of(LEGAL_COMMANDS[phase] - ALWAYS_LEGAL)
    assert set(re.findall(r"`(\w+)`", followed_by)) == LEGAL_TRANSITIONS[phase]


def test_what_every_phase_allows_is_said_once() -> None:
    section = PAGE.split("## Phases\n")[1].split("| phase |")[0]
    (said,) = re.findall(r"In every phase there may take effect: (.*?)\. Besides", section, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == tags_of(ALWAYS_LEGAL)


def test_the_stages_are_those_of_the_vocabulary() -> None:
    section = PAGE.split("| stage |")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(Stage)


def test_bounds_are_those_of_the_code() -> None:
    assert f"{LINE_BYTES_MAX:,} bytes" in PAGE
    assert f"| {DECIMAL_DIGITS_MAX} digits |" in PAGE
    assert f"{HELLO_SECONDS:g} seconds for `hello`, {REQUEST_SECONDS:g} for any other reply, " in PAGE
    assert f"reply, {SHUTDOWN_SECONDS:g} for `shutdown`" in PAGE


def test_smallest_shim_is_an_engine_that_refuses_everything(tmp_path: Path) -> None:
    shim = tmp_path / "shim.py"
    shim.write_text(next(text for language, _, text in BLOCKS if language == "python"))
    reset = decode(lines("request")[1], Request)
    with ProcessEngine([sys.executable, str(shim)], data_directory=tmp_path / "data") as engine:
        assert engine.identity.engine == "closed-exchange"
        engine.reset(reset.setup)
        (answer,) = engine.submit([CancelOrder(client="alice", order="o1")])
        assert answer.events == (Rejected(reason=Reason.OTHER, detail="closed for good"),)
        assert engine.observe()[0].orders == ()
        engine.snapshot()


def test_hash_chain_is_recomputed_by_the_program_on_the_page() -> None:
    before, after = re.findall(r"^    ([0-9a-f]{64})$", PAGE, re.MULTILINE)
    (record,) = lines("record")
    program = [text for language, _, text in BLOCKS if language == "python"][1]
    said = subprocess.run(
        [sys.executable, "-c", program, before], input=record + "\n", stdout=subprocess.PIPE, text=True, check=True
    )
    assert said.stdout.strip() == after == sha256(before.encode() + record.encode()).hexdigest()
    replies = [json.loads(line) for line in lines("reply")]
    heads = {answer["seq"]: answer["journal_sha256"] for reply in replies for answer in reply.get("answers", ())}
    assert (heads[6], heads[7]) == (before, after)


def test_links_of_the_table_of_contents_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) == headings
