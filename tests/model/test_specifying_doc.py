"""The worked example of docs/specifying.md runs, and prints what the page shows."""

import contextlib
import io
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "specifying.md"


def test_the_worked_example_prints_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    program = "".join(text for kind, text in blocks if kind == "python")
    shown = "".join(text for kind, text in blocks if kind == "text")
    assert program.count("print(") == 22
    module = ModuleType("worked_example")
    monkeypatch.setitem(sys.modules, "worked_example", module)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, str(PAGE), "exec"), module.__dict__)  # noqa: S102 - the page of this repository
    assert printed.getvalue() == shown
