"""Imports run one way, and the ground floor is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "holdfast_model": "model",
    "holdfast_invariants": "invariants",
    "holdfast_engine": "reference_engine",
    "holdfast_reports": "reports",
    "holdfast_adapters": "adapters",
    "holdfast": "harness",
}
MAY_IMPORT = {
    "holdfast_model": set[str](),
    "holdfast_invariants": {"holdfast_model"},
    "holdfast_engine": {"holdfast_model"},
    "holdfast_reports": {"holdfast_model"},
    "holdfast_adapters": {"holdfast_model"},
    "holdfast": {"holdfast_model", "holdfast_invariants", "holdfast_engine", "holdfast_reports", "holdfast_adapters"},
}


def imported_by(source: str) -> set[str]:
    """The top-level packages that a module's source imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("a relative import" if node.level else (node.module or "").split(".")[0])
    return found


def test_the_scan_sees_an_import_in_a_function_and_behind_a_condition() -> None:
    source = "def late():\n    import a.b\nif late:\n    from c.d import e\nfrom . import f"
    assert imported_by(source) == {"a", "c", "a relative import"}


@pytest.mark.parametrize("package", list(FOLDERS))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    modules = sorted(
        path for path in (ROOT / FOLDERS[package] / package).rglob("*.py") if "node_modules" not in path.parts
    )
    assert modules
    ours = set(FOLDERS) | {"a relative import", "tests", "benchmarks"}
    allowed = MAY_IMPORT[package] | {package}
    wrong = {
        str(path.relative_to(ROOT)): sorted(beyond)
        for path in modules
        if (beyond := imported_by(path.read_text("utf-8")) & ours - allowed)
    }
    assert wrong == {}


HEAVY = ("z3", "numpy", "hypothesis", "sortedcontainers", "jinja2", "rich", "typer", "nacl")


def loaded_by(module: str) -> list[str]:
    """What a fresh process has loaded of the heavy packages once it has imported the module."""
    program = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


@pytest.mark.parametrize(
    "module",
    [
        "holdfast_model.vocabulary",
        "holdfast_model.vocabulary.wire",
        "holdfast_model.vocabulary.chain",
        "holdfast_model.vocabulary.protocol",
        "holdfast_model.vocabulary.signing",
        "holdfast_model.evidence",
        "holdfast_model.findings",
    ],
)
def test_the_ground_floor_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(module) == []


def test_the_probe_sees_what_is_heavy() -> None:
    assert loaded_by("sortedcontainers") == ["sortedcontainers"]
