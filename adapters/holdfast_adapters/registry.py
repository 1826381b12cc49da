"""The adapters that ship with Holdfast: folders of data with a manifest, a shim, and a lock of the engine's packages.

The engine's packages are installed outside the wheel, from the lock: in the adapter's own folder in a checkout, else
below HOLDFAST_ADAPTERS_DIR or the user's cache, beside a copy of the shim.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Capability, Convention

DIRECTORY_VARIABLE = "HOLDFAST_ADAPTERS_DIR"
"""Environment variable that tells where engines are installed, in place of the user's cache."""

_HERE = Path(__file__).parent
_MANIFEST = "adapter.json"
_SHIM = "shim.mjs"
_FILES = (_MANIFEST, _SHIM, "package.json", "package-lock.json")
_INSTALL_SECONDS = 600
_MESSAGE_CHARACTERS = 500


class Adapter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest. `conventions` are behaviours that the engine documents, with the place; `limits` are told as is.

    `package` is the engine's package, `version` the locked one; `language` says what must be there to run it.
    """

    name: str
    sentence: str
    package: str
    version: str
    language: str
    capabilities: tuple[Capability, ...]
    conventions: tuple[Convention, ...] = ()
    limits: tuple[str, ...] = ()


class _LockedPackage(Struct, frozen=True):
    version: str = ""


class _Lock(Struct, frozen=True):
    """The part of npm's lock that is read here: the version of each package by its place ("" is the adapter)."""

    packages: dict[str, _LockedPackage]


@cache
def _adapters() -> dict[str, tuple[Adapter, Path]]:
    found = {}
    for manifest in sorted(_HERE.glob(f"*/{_MANIFEST}")):
        try:
            adapter = msgspec.json.decode(manifest.read_bytes(), type=Adapter)
        except (OSError, msgspec.DecodeError) as error:
            raise HoldfastError(f"{manifest}: not the manifest of an adapter: {error}") from error
        found[adapter.name] = (adapter, manifest.parent)
    return found


def adapter_names() -> tuple[str, ...]:
    """The names of all adapters, sorted."""
    return tuple(sorted(_adapters()))


def adapter_by_name(name: str) -> Adapter:
    """The adapter's manifest. Raises `HoldfastError` that lists the names there are."""
    return _found(name)[0]


def _found(name: str) -> tuple[Adapter, Path]:
    if name not in _adapters():
        raise HoldfastError(f"there is no adapter {name!r}; there are: {', '.join(adapter_names())}")
    return _adapters()[name]


def home(name: str) -> Path:
    """The folder in which the adapter runs: its own in a checkout, a copy in the user's cache otherwise."""
    source = _found(name)[1]
    chosen = os.environ.get(DIRECTORY_VARIABLE)
    if chosen:
        return Path(chosen).absolute() / name
    if (_HERE.parent.parent / "pyproject.toml").is_file() and os.access(source, os.W_OK):
        return source
    cached = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cached) / "holdfast" / "adapters" / name


def installed(name: str) -> bool:
    """Whether every package of the lock is there, in the locked version."""
    source, target = _found(name)[1], home(name)
    lock = msgspec.json.decode((source / "package-lock.json").read_bytes(), type=_Lock)
    return all(
        _version(target / place / "package.json") == package.version
        for place, package in lock.packages.items()
        if place
    )


def _version(manifest: Path) -> str | None:
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=_LockedPackage).version
    except (OSError, msgspec.DecodeError):
        return None


def install(name: str) -> None:
    """Install the engine's packages from the lock, with their hashes checked and no script of theirs run.

    Raises `HoldfastError` when npm is missing or fails.
    """
    npm = _tool("npm", name)
    target = _copied(name)
    try:
        done = subprocess.run(  # noqa: S603 - npm, with arguments of our own
            [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=target,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HoldfastError(f"npm ci in {target} did not end within {_INSTALL_SECONDS} s") from error
    except OSError as error:
        raise HoldfastError(f"{npm} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = done.stderr.strip()[-_MESSAGE_CHARACTERS:]
        words = "".join(character if character.isprintable() or character == "\n" else "?" for character in last)
        raise HoldfastError(f"npm ci in {target} failed with exit status {done.returncode}: {words}")
    if not installed(name):
        raise HoldfastError(f"npm ci in {target} said that it succeeded, but the locked packages are not there")


def command(name: str) -> list[str]:
    """The command that runs the adapter. Raises `HoldfastError` when node or the engine is not installed."""
    _found(name)
    node = _tool("node", name)
    if not installed(name):
        raise HoldfastError(f"the engine {name} is not installed; run: holdfast engines {name} --install")
    return [node, str(_copied(name) / _SHIM)]


def _copied(name: str) -> Path:
    """The folder in which the adapter runs, with the files of this version of Holdfast in it."""
    source, target = _found(name)[1], home(name)
    if target == source:
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in _FILES:
            content = (source / file).read_bytes()
            copy = target / file
            if not copy.is_file() or copy.read_bytes() != content:
                copy.write_bytes(content)
    except OSError as error:
        raise HoldfastError(
            f"{target}: the adapter {name} cannot be copied there: {error.strerror}; "
            f"set {DIRECTORY_VARIABLE} to a folder that can be written"
        ) from error
    return target


def _tool(tool: str, name: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise HoldfastError(f"the engine {name} needs {tool}, which is not on the PATH; install Node.js 18 or newer")
    return found
