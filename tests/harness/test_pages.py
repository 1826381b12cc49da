"""The pages say what the code does, and what the package does."""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from holdfast.catalogue_page import page
from holdfast_adapters.registry import home, installed
from holdfast_engine.faults import FAULTS
from holdfast_invariants.catalogue import CATALOGUE
from holdfast_model.evidence import Verdict
from holdfast_model.vocabulary import (
    LEGAL_TRANSITIONS,
    CancelReason,
    Conditions,
    Margin,
    Market,
    MarkRule,
    Perpetual,
    Phase,
    Reason,
    Setup,
    TierRule,
)
from holdfast_reports import load, verify

DOCS = Path(__file__).parents[2] / "docs"
ENGINE = "nodejs-order-book"


def test_the_rules_name_each_phase_with_those_that_may_follow() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| [^|]+ \| ([a-z, -]+) \|$", (DOCS / "exchange.md").read_text(), re.MULTILINE)
    told = {
        Phase(phase.replace("-", "_")): {Phase(name.strip().replace("-", "_")) for name in names.split(",")}
        for phase, names in rows[1:]
    }
    assert told == {phase: set(after) for phase, after in LEGAL_TRANSITIONS.items()}


def test_the_page_of_invariants_is_the_one_that_is_made() -> None:
    made = page() + "\n"
    assert (DOCS / "invariants.md").read_text() == made, "run: make docs"
    for invariant in CATALOGUE:
        assert f"\n## {invariant.id}\n\n{invariant.sentence}\n" in made
    assert all(f"`{fault.name}`: {fault.sentence}" in made for fault in FAULTS)
    assert "formula of each state in the model yardstick (" in made


def test_every_reason_that_the_rules_name_is_one() -> None:
    page = (DOCS / "exchange.md").read_text()
    named = {word for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page) if "/" not in word}
    assert named
    fields = {
        field.name
        for struct in (Setup, Market, MarkRule, Margin, Perpetual, Conditions, TierRule)
        for field in msgspec.structs.fields(struct)
    }
    assert named - fields <= {str(reason) for reason in (*Reason, *CancelReason)}


@pytest.mark.skipif(shutil.which("node") is None or not installed(ENGINE), reason=f"{ENGINE} is not installed")
def test_the_package_alone_prints_what_the_findings_say() -> None:
    page = (DOCS / "findings.md").read_text()
    scripts = re.findall(r"```js\n(.*?)```\n\nprints\n\n((?:    [^\n]*\n)+)", page, re.DOTALL)
    assert len(scripts) == 6
    for script, printed in scripts:
        done = subprocess.run(
            ["node", "--input-type=module", "-e", f"import {{ OrderBook }} from 'nodejs-order-book'\n{script}"],
            cwd=home(ENGINE),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "".join(line[4:] + "\n" for line in printed.splitlines())


def test_the_committed_sample_is_a_whole_green_report() -> None:
    sample = DOCS.parent / "reports" / "sample"
    assert verify(sample) == []
    assert load(sample).verdict is Verdict.HELD
