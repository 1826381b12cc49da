"""`SHA256SUMS`: the digest of every file of a report, in the form that `sha256sum --check` reads.

It shows that a file changed after the report was written. It is no signature: whoever can edit the report can
write new sums.
"""

import hashlib
import re
from pathlib import Path

from holdfast_model.errors import HoldfastError

SUMS_FILE = "SHA256SUMS"
PATH_CHARACTERS_MAX = 200

_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f\\]+)")
_SAFE_PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*")


def is_safe_path(name: str) -> bool:
    """Whether a name from the evidence is a plain relative path that stays inside the report's folder.

    >>> is_safe_path("counterexamples/FINAL-2-1.json"), is_safe_path("../report.json"), is_safe_path("/etc/passwd")
    (True, False, False)
    """
    return len(name) <= PATH_CHARACTERS_MAX and _SAFE_PATH.fullmatch(name) is not None


def digest(data: bytes) -> str:
    """The SHA-256 of the data, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(folder: Path, name: str) -> str | None:
    """The SHA-256 of a file inside the folder; None where there is none to read, or where it leads outside."""
    if not is_safe_path(name):
        return None
    file = folder / name
    try:
        if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
            return None
        return digest(file.read_bytes())
    except OSError:
        return None


def format_sums(sums: dict[str, str]) -> bytes:
    """The lines of `SHA256SUMS`, sorted by name."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode("utf-8")


def parse_sums(file: Path, data: bytes) -> dict[str, str]:
    """The digest by name of file. Raises `HoldfastError` on a line of another form."""
    sums: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or not is_safe_path(match[2]):
            raise HoldfastError(f"{file}:{number}: expected a SHA-256 in hexadecimal, two spaces and a file name")
        sums[match[2]] = match[1]
    return sums
