"""The table of incidents is complete, and a planted fault that re-enacts one is seen in a story of it."""

import ast
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import FunctionType

import pytest

from holdfast.engine import Engine, LocalEngine
from holdfast.scenarios import SCENARIOS
from holdfast_engine.faults import FAULTS, Fault
from holdfast_invariants.catalogue import CATALOGUE

FOLDER = Path(__file__).parent
README = (FOLDER / "README.md").read_text()
INCIDENT = re.compile(r"[a-z0-9]+(?:-[a-z]+)*-(?:19|20)\d\d(?:-\d\d(?:-\d\d)?)?")
ROWS = re.findall(r"^\| (\S+) \| (test_\w+\.py) \|$", README, re.MULTILINE)
SCENARIO_LIST = README.partition("Of these are scenarios of the gate too")[2]


def told_by_file() -> set[tuple[str, str]]:
    """Incident and file of every test whose docstring begins with incidents."""
    told = set()
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and text:
                told |= {(incident, path.name) for incident in INCIDENT.findall(text.split(": ")[0])}
    return told


def test_every_incident_that_an_invariant_or_a_fault_names_is_told() -> None:
    named = {incident for invariant in CATALOGUE for incident in invariant.incidents}
    named |= {incident for fault in FAULTS for incident in fault.incidents}
    assert len(named) > 25
    assert named <= {incident for incident, _ in ROWS}


def test_the_table_says_where_each_story_stands() -> None:
    assert len(ROWS) > 40
    assert set(ROWS) == told_by_file()
    assert sorted(ROWS) == ROWS


def test_every_scenario_that_is_an_incident_is_told_and_said_to_be_one() -> None:
    scenarios = {scenario.name for scenario in SCENARIOS if INCIDENT.fullmatch(scenario.name)}
    assert set(INCIDENT.findall(SCENARIO_LIST)) == scenarios
    assert scenarios <= {incident for incident, _ in ROWS}


@cache
def stories() -> dict[str, list[Callable[[Engine], None]]]:
    """The stories of each incident, each told on an engine that is given to it."""
    found: dict[str, list[Callable[[Engine], None]]] = {}
    for path in sorted(FOLDER.glob("test_incidents_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        if path != Path(__file__):
            spec.loader.exec_module(module)
        for test in vars(module).values():
            if isinstance(test, FunctionType) and "engine" in inspect.signature(test).parameters:
                for incident in INCIDENT.findall((test.__doc__ or "").split(": ")[0]):
                    found.setdefault(incident, []).extend(told_with_each_parameter(test))
    return found


def told_with_each_parameter(test: FunctionType) -> Iterator[Callable[[Engine], None]]:
    """A test as calls that need nothing but an engine, one for each of its parameters."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    if not marks:
        yield test
    for mark in marks:
        names, values = mark.args
        for value in values:
            given = {names: value} if isinstance(names, str) else dict(zip(names, value, strict=True))
            yield partial(test, **given)


def sees(story: Callable[[Engine], None], fault: Fault) -> bool:
    """Whether a story does not get to its end on an engine with a fault."""
    try:
        story(LocalEngine(parts=fault.parts))
    except AssertionError:
        return True
    return False


RE_ENACTED = [(fault, incident) for fault in FAULTS for incident in fault.incidents]


@pytest.mark.parametrize(
    ("fault", "incident"), RE_ENACTED, ids=[f"{fault.name}-{incident}" for fault, incident in RE_ENACTED]
)
def test_a_fault_that_re_enacts_an_incident_is_seen_in_a_story_of_it(fault: Fault, incident: str) -> None:
    assert any(sees(story, fault) for story in stories()[incident])
