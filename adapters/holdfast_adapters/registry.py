"""The adapters that ship with Holdfast: folders of data with a manifest, a shim, and a lock of the engine's packages.

The engine's packages are installed outside the wheel, from the lock: in the adapter's own folder in a checkout, else
below HOLDFAST_ADAPTERS_DIR or the user's cache.
"""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Capability, Convention

_HERE = Path(__file__).parent
_MANIFEST = "adapter.json"
_FILES = ("shim.mjs", "package.json", "package-lock.json")
_INSTALL_SECONDS = 600
_MESSAGE_CHARACTERS = 500


class Adapter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest. `conventions` are behaviours that the engine documents, with the place; `limits` are told as is."""

    name: str
    sentence: str
    package: str
    version: str
    capabilities: tuple[Capability, ...]
    conventions: tuple[Convention, ...]
    limits: tuple[str, ...] = ()


def _load() -> dict[str, tuple[Adapter, Path]]:
    found = {}
    for manifest in sorted(_HERE.glob(f"*/{_MANIFEST}")):
        adapter = msgspec.json.decode(manifest.read_bytes(), type=Adapter)
        found[adapter.name] = (adapter, manifest.parent)
    return found


_ADAPTERS = _load()


def adapter_names() -> tuple[str, ...]:
    """The names of all adapters, sorted."""
    return tuple(sorted(_ADAPTERS))


def adapter_by_name(name: str) -> Adapter:
    """The adapter's manifest. Raises `HoldfastError` that lists the names there are."""
    return _found(name)[0]


def _found(name: str) -> tuple[Adapter, Path]:
    if name not in _ADAPTERS:
        raise HoldfastError(f"there is no adapter {name!r}; there are: {', '.join(adapter_names())}")
    return _ADAPTERS[name]


def home(name: str) -> Path:
    """The folder in which the adapter runs: its own in a checkout, a copy in the user's cache otherwise."""
    source = _found(name)[1]
    chosen = os.environ.get("HOLDFAST_ADAPTERS_DIR")
    if chosen:
        return Path(chosen) / name
    if (_HERE.parent.parent / "pyproject.toml").is_file() and os.access(source, os.W_OK):
        return source
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "holdfast" / "adapters" / name


def installed(name: str) -> bool:
    """Whether the engine's packages are there, in the locked version."""
    adapter = adapter_by_name(name)
    package = home(name) / "node_modules" / adapter.package / "package.json"
    try:
        return bool(msgspec.json.decode(package.read_bytes()).get("version") == adapter.version)
    except (OSError, msgspec.DecodeError):
        return False


def install(name: str) -> None:
    """Install the engine's packages from the lock, without running any script of theirs.

    Raises `HoldfastError` when npm is missing or fails.
    """
    source = _found(name)[1]
    npm = _tool("npm", name)
    target = home(name)
    if target != source:
        target.mkdir(parents=True, exist_ok=True)
        for file in _FILES:
            shutil.copyfile(source / file, target / file)
    done = subprocess.run(  # noqa: S603 - npm, with arguments of our own
        [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=target,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise HoldfastError(f"npm ci in {target} failed: {done.stderr.strip()[-_MESSAGE_CHARACTERS:]}")


def command(name: str) -> list[str]:
    """The command that runs the adapter. Raises `HoldfastError` when node or the engine is not installed."""
    node = _tool("node", name)
    if not installed(name):
        raise HoldfastError(f"the engine {name} is not installed; run: holdfast engines {name} --install")
    return [node, str(home(name) / "shim.mjs")]


def _tool(tool: str, name: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise HoldfastError(f"the engine {name} needs {tool}, which is not on the PATH")
    return found
