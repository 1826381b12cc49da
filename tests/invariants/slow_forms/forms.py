"""Which slow form belongs to which entry of the catalogue, and what it finds."""

from collections.abc import Callable, Mapping, Sequence

from holdfast_invariants.auditor import Auditor
from holdfast_invariants.monitor import Invariant
from holdfast_model.vocabulary import History, Record, Setup
from slow_forms.causes import cons_4
from slow_forms.contracts import pos_2
from slow_forms.custody import cust_1, cust_2, cust_3
from slow_forms.door import surge_1
from slow_forms.kept import final_2, maint_1
from slow_forms.liquidations import adl_1, liq_1
from slow_forms.logs import fence_1, read_1, repl_1
from slow_forms.marks import mark_1
from slow_forms.phases import phase_1, phase_2
from slow_forms.positions import pos_1
from slow_forms.products import isol_1
from slow_forms.promises import prio_2
from slow_forms.rest import live_1
from slow_forms.signing import cust_4, cust_5, cust_6
from slow_forms.tale import Tale, Violations

SLOW_FORMS: Mapping[str, Callable[[Tale], Violations]] = {
    "CONS-4": cons_4,
    "FINAL-2": final_2,
    "MAINT-1": maint_1,
    "CUST-1": cust_1,
    "CUST-2": cust_2,
    "CUST-3": cust_3,
    "CUST-4": cust_4,
    "CUST-5": cust_5,
    "CUST-6": cust_6,
    "LIVE-1": live_1,
    "ISOL-1": isol_1,
    "SURGE-1": surge_1,
    "PRIO-2": prio_2,
    "POS-1": pos_1,
    "LIQ-1": liq_1,
    "ADL-1": adl_1,
    "POS-2": pos_2,
    "MARK-1": mark_1,
    "REPL-1": repl_1,
    "PHASE-1": phase_1,
    "PHASE-2": phase_2,
    "READ-1": read_1,
    "FENCE-1": fence_1,
}


def assert_both_find_the_same(setup: Setup, records: Sequence[Record], catalogue: Sequence[Invariant]) -> None:
    """Hold each of these monitors against its slow form on one history, by subject and first step."""
    auditor = Auditor(setup, catalogue=catalogue)
    for record in records:
        auditor.watch(record)
    tale = Tale(History(setup=setup, records=tuple(records)))
    for entry in catalogue:
        found = {item.subject: item.step for item in auditor.violations if item.invariant == entry.id}
        assert found_slowly(tale, entry.id) == found, entry.id


def found_slowly(tale: Tale, invariant: str) -> dict[str, int]:
    """By subject the first step at which the slow form finds something."""
    found: dict[str, int] = {}
    for step, subject in SLOW_FORMS[invariant](tale):
        found[subject] = min(step, found.get(subject, step))
    return found
