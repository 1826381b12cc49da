"""The wheel: only the packages, installed outside the checkout with nothing but what it declares."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "holdfast",
    "holdfast_adapters",
    "holdfast_engine",
    "holdfast_invariants",
    "holdfast_model",
    "holdfast_reports",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(folder),
            str(ROOT),
        ],
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name or "tests" in name]
    assert "holdfast_adapters/nodejs_order_book/shim.mjs" in names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment with nothing in it but the wheel and what it declares."""
    tmp_path = tmp_path_factory.mktemp("installed")
    pins = re.findall(
        r"^([a-z0-9-]+==[^\s;\\]+(?: ; [^\\]+)?)", (ROOT / "locks" / "dev.txt").read_text(), re.MULTILINE
    )
    (tmp_path / "pins.txt").write_text("\n".join(pins))
    uv = [sys.executable, "-m", "uv"]
    venv = tmp_path / "venv"
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True, cwd=tmp_path)
    python = venv / "bin" / "python"
    install = [
        *uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "-c",
        str(tmp_path / "pins.txt"),
        str(wheel),
    ]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode and "holdfast" not in done.stderr:
        pytest.skip(f"the dependencies cannot be fetched here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return venv


def run(venv: Path, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """The installed command, in a folder that is no checkout."""
    return subprocess.run(
        [str(venv / "bin" / "holdfast"), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_commands_run_from_the_wheel_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    assert run(installed, "--version", cwd=tmp_path).stdout.startswith("holdfast 0.")
    for arguments in (
        ("fuzz", "--commands", "400"),
        ("explore", "--model", "exchange:slice=maintenance"),
        ("prove", "--model", "exchange:slice=trading"),
        ("witness", "no-quorum"),
        ("faults", "stale-snapshot-restore", "--commands", "4000"),
        ("report", "holdfast-report"),
    ):
        done = run(installed, *arguments, cwd=tmp_path)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    where = subprocess.run(
        [str(installed / "bin" / "python"), "-c", "import holdfast; print(holdfast.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(installed) in where.stdout


@pytest.mark.deep
def test_a_smoke_gate_runs_from_the_wheel_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    gate = run(installed, "gate", "--json", "gate.json", cwd=tmp_path)
    assert gate.returncode == 0, gate.stdout + gate.stderr
    assert json.loads((tmp_path / "gate.json").read_text())["verdict"] == "held"
