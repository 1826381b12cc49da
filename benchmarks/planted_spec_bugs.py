"""Writes `docs/planted-spec-bugs.md`: for each formula a mistake planted in the spec, and what each checker said.

Each planted bug runs in the slice that it is declared with, at that slice's sizes, in each checker: `explore` (a
shortest path to a broken formula), `prove` (the step that does not keep it) and `bound` (whether a sequence of a few
steps, over unbounded integers, breaks what the proof left open). Times are the processor's, of the process and its
children, so that they depend little on what else the machine does; they are one run's, and only their sizes mean
something.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from holdfast_model.checkers.bound import bound_open
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.evidence import BoundedOutcome, ObligationVerdict, Proof
from holdfast_model.spec import Model
from holdfast_model.specs import list_models, load_model

TABLE = Path(__file__).parents[1] / "docs" / "planted-spec-bugs.md"
STATES_MOST = 3_000_000
BOUND_STEPS = 12
"""How many steps `bound` looks ahead: longer sequences are `explore`'s."""
BOUND_RESOURCES = 16_000_000
"""What each of its queries may use, in z3's units."""

T = TypeVar("T")
NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True)
class Row:
    """A planted bug, one formula that it must break, and what each checker said about that formula."""

    invariant: str
    model: str
    sentence: str
    explore: str
    prove: str
    bound: str

    @property
    def found(self) -> bool:
        """Whether both checkers that decide it found it."""
        return NOT_FOUND not in (self.explore, self.prove)


def planted() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Every planted bug: the model with it, its sentence, its action and the formulas that it must break."""
    found = []
    for entry in list_models():
        if entry.name == "spot":
            continue  # its bugs are those of the exchange
        for bug in entry.bugs:
            where = f"slice={bug.slice}," if bug.slice else ""
            found.append((f"{entry.name}:{where}bug={bug.name}", bug.sentence, bug.action, bug.breaks))
    return found


def seconds(work: Callable[[], T]) -> tuple[T, str]:
    """What some work returns, and the processor's time that it took."""
    before = sum(os.times()[:4])
    found = work()
    return found, f"{sum(os.times()[:4]) - before:.1f} s"


def rows_of(bug: tuple[str, str, str, tuple[str, ...]]) -> list[Row]:
    """The rows of one planted bug: one for each formula that it must break."""
    name, sentence, action, breaks = bug
    model = load_model(name)
    searched, search_time = seconds(lambda: explore(model, states_max=STATES_MOST))
    paths = {v.invariant: v for v in searched.violations}
    proof, proof_time = seconds(lambda: prove(model))
    refuted: dict[str, list[str]] = {}
    for obligation in proof.obligations:
        if obligation.verdict is ObligationVerdict.REFUTED:
            refuted.setdefault(obligation.invariant, []).append(obligation.action)
    bounded = _bounded(model, proof)
    rows = []
    for invariant in breaks:
        path = paths.get(invariant)
        by_action = path is not None and any(s.action.partition("(")[0] == action for s in path.trace)
        rows.append(
            Row(
                invariant,
                name,
                sentence,
                f"{path.states} states, {search_time}" if path is not None and by_action else NOT_FOUND,
                f"`{action}`, {proof_time}" if set(refuted.get(invariant, ())) == {action} else NOT_FOUND,
                bounded.get(invariant, ""),
            )
        )
    return rows


def _bounded(model: Model, proof: Proof) -> dict[str, str]:
    """What `bound` says of what the proof left open, by invariant."""
    found, time = seconds(lambda: bound_open(model, proof, steps_max=BOUND_STEPS, resources=BOUND_RESOURCES))
    said: dict[str, str] = {}
    for each in found.properties if found is not None else ():
        if each.outcome is BoundedOutcome.REFUTED:
            said[each.invariant] = f"{each.steps + 1} states, {time}"
        elif each.outcome is BoundedOutcome.UNKNOWN:
            said.setdefault(each.invariant, f"unknown after {each.steps} steps, {time}")
        else:
            said.setdefault(each.invariant, f"none in {each.steps} steps, {time}")
    return said


def table(rows: Sequence[Row]) -> str:
    """The document."""
    head = ["formula", "planted bug", "what it does", "`explore`: a shortest path", "`prove`: refuted at"]
    head.append(f"`bound`, up to {BOUND_STEPS} steps")
    lines = [
        "# Planted spec bugs",
        "",
        "For each formula of a spec a mistake that breaks it, and what each checker reported about that formula.",
        "Written by `benchmarks/planted_spec_bugs.py` from real runs; a time is the processor's, for the whole model",
        "and all its formulas. A path counts its states, the first one too, and has the planted action in it; a",
        "refutation is at the planted action and at no other. All can be seen again with",
        "`holdfast explore --model MODEL` and `holdfast prove --model MODEL --bound N`.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in sorted(rows, key=lambda row: (row.invariant, row.model)):
        cells = [row.invariant, f"`{row.model}`", row.sentence, row.explore, row.prove, row.bound]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def shown_in(text: str) -> set[tuple[str, str]]:
    """The formulas and models that a table has rows for."""
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "`" in line]
    return {(row[0].removeprefix("| "), row[1].strip("`")) for row in cells if row[0] != "| formula"}


def _rows(processes: int, kept: Path | None) -> Iterator[list[Row]]:
    """The rows of each planted bug; those that an interrupted run has left in `kept` are not made again."""
    done: dict[str, list[Row]] = {}
    if kept is not None and kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            rows = [Row(**row) for row in json.loads(line)]
            done[rows[0].model] = rows
    waiting = [bug for bug in planted() if bug[0] not in done]
    yield from done.values()
    with ProcessPoolExecutor(processes) as pool:
        for rows in pool.map(rows_of, waiting):
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([asdict(row) for row in rows]) + "\n")
            print(f"{rows[0].model}: {'found' if all(row.found for row in rows) else NOT_FOUND}", flush=True)
            yield rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: every planted bug is found by every checker that decides it; 1: one is not."""
    parser = argparse.ArgumentParser(description="Write docs/planted-spec-bugs.md from real runs.")
    parser.add_argument("--processes", type=int, default=2, help="How many planted bugs are looked for at a time.")
    parser.add_argument("--keep", type=Path, help="A file for finished rows, with which a run can be continued.")
    parser.add_argument("--out", type=Path, default=TABLE, help="The document.")
    given = parser.parse_args(arguments)
    rows = [row for some in _rows(given.processes, given.keep) for row in some]
    given.out.write_text(table(rows), encoding="utf-8")
    return 0 if all(row.found for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
