"""The page and the JUnit file of contracts: only what was confirmed is green."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast_model.findings import Report
from holdfast_reports import AnyResult

Reports = dict[str, Callable[[], Report[AnyResult]]]
Folder = Callable[[Report[AnyResult]], Path]


def text_of(page: str) -> str:
    """The words of the page, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_every_function_stands_on_the_page_with_its_outcome(reports: Reports, folder: Folder) -> None:
    page = (folder(reports["violated contracts"]()) / "report.html").read_text()
    words = text_of(page)
    for function, outcome in (
        ("ceil_div", "✓ confirmed"),
        ("mark_price", "? not confirmed"),
        ("funding_payment", "✗ refuted"),
        ("tier_of", "✗ unreachable"),
        ("_median", "✗ no contract"),
    ):
        assert f"{function} {outcome}" in words
    assert "funding_payment(-1, mark=1) (which returns -1)" in words
    assert "timed out after 10 s of processor time" in words
    assert "At least one check failed: refuted: funding_payment; unreachable: tier_of; no contract: _median." in words
    held = page.count('class="badge held"')
    assert held == 3, "the function, and its two postconditions"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("held contracts", {"ceil_div": "", "whole": ""}),
        ("inconclusive contracts", {"ceil_div": "", "mark_price": "error", "whole": "error"}),
        (
            "violated contracts",
            {
                "ceil_div": "",
                "mark_price": "error",
                "funding_payment": "failure",
                "tier_of": "failure",
                "_median": "failure",
                "whole": "failure",
            },
        ),
    ],
)
def test_ci_passes_only_the_functions_that_were_confirmed(
    kind: str, expected: dict[str, str], reports: Reports, folder: Folder
) -> None:
    root = ET.fromstring((folder(reports[kind]()) / "junit.xml").read_bytes())  # noqa: S314 - written a moment ago
    found = {
        (case.get("name") or "").removesuffix(" keeps its contract"): next((child.tag for child in case), "")
        for case in root.iter("testcase")
    }
    found["whole"] = found.pop("holdfast crosshair: everything held")
    assert found == expected
