"""The page of the catalogue: `python -m holdfast.catalogue_page [FILE]` writes `docs/invariants.md` again."""

import sys
from pathlib import Path

from holdfast.listing import InvariantEntry, catalogue_entries
from holdfast_engine.faults import fault_by_name
from holdfast_reports import write_atomically

PAGE = Path("docs/invariants.md")

_HEAD = """# The invariants

What must be true of an exchange, each entry once. This page is made from the catalogue by `make docs`, and a test
keeps it current; `holdfast invariants` prints the same.

An *always* invariant is demanded at every step of every history; an *eventually* invariant once everything was
healed and everybody has done what is theirs, within a stated number of rounds. *Critical* means that money or
orders of clients are wrong, *high* that clients are treated unfairly or that evidence is missing. Each has a
monitor, which watches what an exchange tells and shows to the outside, and in some models a formula that is proved
or searched. What an engine must declare for the monitor to say anything stands under *needs*. The planted faults
are bugs in the reference exchange that the monitor must catch, which `holdfast faults` shows.
"""


def page() -> str:
    """The whole page: a table of all invariants, then a section for each."""
    entries = catalogue_entries([])
    rows = [
        f"| [{entry.id}](#{entry.id.lower()}) | {entry.kind} | {entry.severity} | {entry.sentence} |"
        for entry in entries
    ]
    table = "\n".join(["| id | kind | severity | statement |", "|---|---|---|---|", *rows])
    return "\n".join([_HEAD, table, *map(_section, entries)])


def _row(entry: InvariantEntry) -> str:
    return f"| [{entry.id}](#{entry.id.lower()}) | {entry.kind} | {entry.severity} | {entry.sentence} |"


def _section(entry: InvariantEntry) -> str:
    lines = [
        f"\n## {entry.id}\n",
        f"{entry.sentence}\n",
        f"- kind: {entry.kind}; severity: {entry.severity}",
        f"- forms: {'; '.join(entry.forms)}",
        f"- needs: {', '.join(entry.needs)}",
        f"- incidents: {', '.join(entry.incidents) or 'none on record'}",
        "- planted faults that it must catch:",
        *(f"  - `{name}`: {fault_by_name(name).sentence}" for name in entry.faults),
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Write the page."""
    (file,) = arguments or [str(PAGE)]
    write_atomically(Path(file), (page() + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
