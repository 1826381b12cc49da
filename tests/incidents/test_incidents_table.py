"""The table of incidents is complete: what invariants and faults name is told, and stands where the table says."""

import ast
import re
from pathlib import Path

from holdfast.scenarios import SCENARIOS
from holdfast_engine.faults import FAULTS
from holdfast_invariants.catalogue import CATALOGUE

FOLDER = Path(__file__).parent
README = (FOLDER / "README.md").read_text()
INCIDENT = re.compile(r"[a-z0-9]+(?:-[a-z]+)*-(?:19|20)\d\d(?:-\d\d(?:-\d\d)?)?")
ROWS = re.findall(r"^\| (\S+) \| (test_\w+\.py) \|$", README, re.MULTILINE)
SCENARIO_LIST, _, OTHERS_LIST = README.partition("Told as a scenario of the gate")[2].partition("Not told here")


def told_by_file() -> set[tuple[str, str]]:
    """Incident and file of every test whose docstring begins with incidents."""
    told = set()
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and text:
                told |= {(incident, path.name) for incident in INCIDENT.findall(text.split(": ")[0])}
    return told


def test_every_incident_that_an_invariant_or_a_fault_names_is_told_or_said_not_to_be() -> None:
    named = {incident for invariant in CATALOGUE for incident in invariant.incidents}
    named |= {incident for fault in FAULTS for incident in fault.incidents}
    scenarios, others = set(INCIDENT.findall(SCENARIO_LIST)), set(INCIDENT.findall(OTHERS_LIST))
    assert len(named) > 15
    assert named <= {incident for incident, _ in ROWS} | scenarios | others


def test_the_table_says_where_each_story_stands() -> None:
    assert len(ROWS) > 25
    assert set(ROWS) == told_by_file()
    assert sorted(ROWS) == ROWS


def test_what_is_said_to_be_a_scenario_is_one() -> None:
    scenarios = set(INCIDENT.findall(SCENARIO_LIST))
    assert scenarios
    assert scenarios <= {scenario.name for scenario in SCENARIOS}


def test_what_is_not_told_is_nowhere_in_the_table() -> None:
    others = set(INCIDENT.findall(OTHERS_LIST))
    assert others
    assert not others & ({incident for incident, _ in ROWS} | {scenario.name for scenario in SCENARIOS})
