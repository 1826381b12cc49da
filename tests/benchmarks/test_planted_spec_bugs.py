"""The table of planted spec bugs: it has a row for each, and a bug that is not there is not reported as found."""

import pytest
from benchmarks.planted_spec_bugs import NOT_FOUND, TABLE, planted, rows_of, shown_in, table

from holdfast_model.specs import load_model


def test_the_table_has_a_row_for_each_planted_bug_and_formula_and_no_other() -> None:
    expected = {(invariant, model) for model, _, _, breaks in planted() for invariant in breaks}
    assert shown_in(TABLE.read_text(encoding="utf-8")) == expected


def test_each_formula_of_a_spec_has_a_planted_bug() -> None:
    formulas = {i for m in ("exchange:slice=all", "yardstick") for i in load_model(m).invariants}
    assert formulas <= {invariant for _, _, _, breaks in planted() for invariant in breaks}


def test_every_row_of_the_table_says_how_it_was_found() -> None:
    assert NOT_FOUND not in TABLE.read_text(encoding="utf-8")


def test_a_planted_bug_is_found_and_the_same_row_without_it_is_not() -> None:
    (bug,) = [bug for bug in planted() if bug[0] == "exchange:slice=trading,bug=refund"]
    (row,) = rows_of(bug)
    assert row.found
    assert row.explore.partition(",")[0] == "4 states"
    assert row.prove.startswith("`cancel`, ")
    (healthy,) = rows_of(("exchange:slice=trading", bug[1], bug[2], bug[3]))
    assert not healthy.found
    assert (healthy.explore, healthy.prove) == (NOT_FOUND, NOT_FOUND)


def test_a_refutation_at_another_action_than_the_planted_one_does_not_count() -> None:
    (row,) = rows_of(("exchange:slice=trading,bug=refund", "", "place", ("CONS-1",)))
    assert row.prove == NOT_FOUND


@pytest.mark.deep
def test_a_bounded_search_reaches_what_is_near_and_says_how_far_it_looked_for_the_rest() -> None:
    near, far = "exchange:slice=trading,bug=refund", "yardstick:bug=restore"
    for name, invariant, said in ((near, "CONS-1", "4 states, "), (far, "FINAL-3", "8 states, ")):
        (bug,) = [bug for bug in planted() if bug[0] == name]
        (row,) = [row for row in rows_of(bug) if row.invariant == invariant]
        assert row.bound.startswith(said)
        assert f"| {row.bound} |" in table([row])
