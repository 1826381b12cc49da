"""The adapters' registry: manifests, locks, installation, and what is said when something is missing."""

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import holdfast_adapters
from holdfast_adapters import registry
from holdfast_adapters.registry import Adapter, adapter_by_name, adapter_names, command, home, install, installed
from holdfast_engine.conventions import CONVENTIONS
from holdfast_model.errors import HoldfastError

NAME = "nodejs-order-book"
FOLDERS = [manifest.parent for manifest in sorted(Path(holdfast_adapters.__file__).parent.glob("*/adapter.json"))]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Engines are installed below this folder, and nothing is yet."""
    folder = tmp_path / "engines"
    monkeypatch.setenv(registry.DIRECTORY_VARIABLE, str(folder))
    return folder


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH, empty."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def tool(folder: Path, name: str, body: str = "exit 0") -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def locked(folder: Path) -> Mapping[str, Any]:
    """The packages of a lock, without the adapter itself."""
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    return {place: package for place, package in packages.items() if place}


def put_packages(target: Path, folder: Path) -> None:
    """Have the locked versions there, as npm would, with nothing in them."""
    for place, package in locked(folder).items():
        (target / place).mkdir(parents=True)
        (target / place / "package.json").write_text(json.dumps({"version": package["version"]}))


def source(name: str) -> Path:
    return next(folder for folder in FOLDERS if json.loads((folder / "adapter.json").read_text())["name"] == name)


def test_every_folder_with_a_manifest_is_an_adapter() -> None:
    assert len(FOLDERS) == len(adapter_names())
    assert adapter_names() == tuple(sorted(adapter_names()))
    assert NAME in adapter_names()


def test_unknown_adapter_is_told_with_those_there_are() -> None:
    for ask in (adapter_by_name, install, command, installed, home):
        with pytest.raises(HoldfastError, match=f"there is no adapter 'nasdaq'; there are: .*{NAME}"):
            ask("nasdaq")


@pytest.mark.parametrize("name", adapter_names())
def test_manifest_is_complete_and_its_conventions_are_known(name: str) -> None:
    adapter = adapter_by_name(name)
    assert isinstance(adapter, Adapter)
    assert all((adapter.sentence, adapter.package, adapter.version, adapter.language, adapter.capabilities))
    assert len(set(adapter.capabilities)) == len(adapter.capabilities)
    for convention in adapter.conventions:
        assert convention.convention in CONVENTIONS
        assert adapter.version in convention.where, "documentation is of a version"
        assert '"' in convention.where, "documentation is quoted"


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_lock_pins_every_package_by_hash_and_names_no_address(folder: Path) -> None:
    manifest = json.loads((folder / "adapter.json").read_text())
    wanted = json.loads((folder / "package.json").read_text())
    packages = locked(folder)
    assert wanted["dependencies"] == {manifest["package"]: manifest["version"]}
    assert packages[f"node_modules/{manifest['package']}"]["version"] == manifest["version"]
    for package in packages.values():
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package["integrity"])
        assert "resolved" not in package
        assert "hasInstallScript" not in package
    assert not re.search(r"https?:|git\+|://|file:", (folder / "package-lock.json").read_text())


def test_folder_of_a_checkout_is_where_the_shim_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(registry.DIRECTORY_VARIABLE, raising=False)
    assert home(NAME) == source(NAME)


def test_installed_package_runs_its_shims_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(registry.DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setattr(registry, "_HERE", tmp_path / "site-packages" / "holdfast_adapters")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home(NAME) == tmp_path / "cache" / "holdfast" / "adapters" / NAME
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert home(NAME) == tmp_path / "me" / ".cache" / "holdfast" / "adapters" / NAME


def test_engine_that_is_not_installed_is_told_with_the_remedy(elsewhere: Path, tools: Path) -> None:
    tool(tools, "node")
    assert not installed(NAME)
    with pytest.raises(HoldfastError, match=f"{NAME} is not installed; run: holdfast engines {NAME} --install"):
        command(NAME)
    assert not elsewhere.exists(), "asking makes nothing"


def test_missing_tools_are_told_by_name(elsewhere: Path, tools: Path) -> None:
    del elsewhere, tools
    with pytest.raises(HoldfastError, match="needs npm, which is not on the PATH"):
        install(NAME)
    with pytest.raises(HoldfastError, match="needs node, which is not on the PATH"):
        command(NAME)


def test_installation_is_from_the_lock_without_scripts(elsewhere: Path, tools: Path, tmp_path: Path) -> None:
    tool(tools, "node")
    put_packages(tmp_path / "made", source(NAME))
    copy = f"/bin/cp -r {tmp_path / 'made'}/node_modules ."
    tool(tools, "npm", f'echo "$@" > {tmp_path / "arguments"}; {copy}')
    install(NAME)
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[0] == "ci"
    assert {"--ignore-scripts", "--omit=dev"} <= set(arguments)
    assert installed(NAME)
    assert command(NAME) == [str(tools / "node"), str(elsewhere / NAME / "shim.mjs")]
    for file in ("shim.mjs", "adapter.json", "package.json", "package-lock.json"):
        assert (elsewhere / NAME / file).read_bytes() == (source(NAME) / file).read_bytes()


def test_failed_installation_is_told_with_npms_last_words(elsewhere: Path, tools: Path) -> None:
    tool(tools, "npm", "printf 'npm error \\033[31mno network\\n' >&2; exit 7")
    with pytest.raises(HoldfastError) as caught:
        install(NAME)
    assert re.search(r"npm ci in .* failed with exit status 7: npm error .*no network", str(caught.value))
    assert "\x1b" not in str(caught.value)
    assert not installed(NAME)
    assert elsewhere.exists()


def test_installation_that_installs_nothing_is_not_believed(elsewhere: Path, tools: Path) -> None:
    del elsewhere
    tool(tools, "npm")
    with pytest.raises(HoldfastError, match="said that it succeeded"):
        install(NAME)


def test_npm_that_cannot_be_run_is_told(elsewhere: Path, tools: Path) -> None:
    del elsewhere
    (tools / "npm").write_text("#!/no/such/interpreter\n")
    (tools / "npm").chmod(0o755)
    with pytest.raises(HoldfastError, match="npm cannot be run"):
        install(NAME)


def test_another_version_of_any_package_is_not_installed(elsewhere: Path) -> None:
    put_packages(elsewhere / NAME, source(NAME))
    assert installed(NAME)
    for place in locked(source(NAME)):
        manifest = elsewhere / NAME / place / "package.json"
        before = manifest.read_text()
        for text in ('{"version":"0.0.1"}', "{}", "not json", ""):
            manifest.write_text(text)
            assert not installed(NAME)
        manifest.write_text(before)
    assert installed(NAME)


def test_copied_shim_follows_this_version_of_holdfast(elsewhere: Path, tools: Path) -> None:
    tool(tools, "node")
    put_packages(elsewhere / NAME, source(NAME))
    shim = Path(command(NAME)[1])
    shim.write_text("// of an older Holdfast")
    command(NAME)
    assert shim.read_bytes() == (source(NAME) / "shim.mjs").read_bytes()


def test_folder_that_cannot_be_written_to_is_told(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools, "npm")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(registry.DIRECTORY_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(HoldfastError, match=f"cannot be copied there.*set {registry.DIRECTORY_VARIABLE}"):
        install(NAME)


def test_manifest_that_is_none_is_told_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "adapter.json").write_text('{"name": "bad"}')
    monkeypatch.setattr(registry, "_HERE", tmp_path)
    registry._adapters.cache_clear()
    try:
        with pytest.raises(
            HoldfastError, match=re.escape(f"bad{os.sep}adapter.json: not the manifest of an adapter")
        ):
            adapter_names()
    finally:
        registry._adapters.cache_clear()
