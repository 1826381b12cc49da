"""docs/traces.md: its commands run and print what the page shows, and its module and counts are real."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast_model.checkers.explore import explore
from holdfast_model.specs import load_model
from holdfast_model.tlaplus import export
from holdfast_model.traces import itf

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    commands = blocks("console")
    assert len(commands) == 3
    for block in commands:
        command, *lines = block.splitlines()
        assert command.startswith("$ holdfast ")
        run = subprocess.run(
            [sys.executable, "-m", *command.split()[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = iter(run.stdout.splitlines())
        for line in lines:
            assert any(shown.startswith(line) for shown in printed), (line, run.stdout)


def test_the_action_is_that_of_the_module(tmp_path: Path) -> None:
    (action,) = blocks("tla")
    assert action in export(load_model("exchange:slice=trading"), tmp_path).module


@pytest.mark.parametrize("name", re.findall(r"^\| `(exchange:[^`]+)` \| ", PAGE, re.MULTILINE))
def test_the_counts_are_those_of_a_search(name: str) -> None:
    found = explore(load_model(name))
    assert f"| `{name}` | {found.distinct:,} | {found.generated:,} | {found.depth} |" in PAGE


def test_the_limits_are_those_of_the_reader() -> None:
    assert f"At most {itf.FILE_BYTES_MAX >> 20} MiB, {itf.STATES_MAX:,} states" in PAGE
    assert f"integers of {itf.DIGITS_MAX:,} digits" in PAGE
