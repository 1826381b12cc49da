"""Proofs of all formulas in a few slices: what the slices have together, and what the joined proof says."""

from pathlib import Path

import pytest

from holdfast_model.checkers import formulas
from holdfast_model.checkers.formulas import prove_formulas, slices_with, small_of
from holdfast_model.evidence import ObligationVerdict, Verdict
from holdfast_model.specs import FORMULA_SLICES, load_model


def test_the_slices_have_every_formula_of_the_whole_exchange() -> None:
    whole = load_model("exchange:slice=all")
    parts = [load_model(name) for name in FORMULA_SLICES]
    assert {p.name for p in whole.properties} == {p.name for part in parts for p in part.properties}
    assert set(whole.invariants) == {each for part in parts for each in part.invariants}


def test_an_invariant_is_proved_in_every_slice_that_has_a_formula_for_it() -> None:
    assert slices_with(["CONS-1"]) == list(FORMULA_SLICES)
    assert slices_with(["CUST-1"]) == ["exchange:slice=custody+recovery,signers=3"]
    assert slices_with(["FINAL-1", "FENCE-1"]) == [
        "exchange:slice=trading+maintenance",
        "exchange:slice=replication+surge,requests=2",
    ]
    assert slices_with([]) == list(FORMULA_SLICES)
    assert small_of("exchange:slice=custody+recovery,accounts=10,signers=3") == FORMULA_SLICES[1]


def test_an_invariant_that_no_slice_has_is_not_attempted() -> None:
    proof = prove_formulas(["SEQ-1"])
    assert proof.verdict is Verdict.INCONCLUSIVE
    (missing,) = [o for o in proof.obligations if o.invariant == "SEQ-1"]
    assert missing.verdict is ObligationVerdict.NOT_ATTEMPTED


def test_several_slices_make_one_proof_that_names_them(tmp_path: Path) -> None:
    proof = prove_formulas(["FENCE-1", "LIQ-1"], sizes={"accounts": 3}, export=tmp_path)
    assert proof.verdict is Verdict.HELD
    models = {o.model for o in proof.obligations}
    assert models == {
        "exchange:slice=margin+maintenance,accounts=3,products=2",
        "exchange:slice=replication+surge,accounts=3,requests=2",
    }
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == {"FENCE-1", "LIQ-1"}
    assert {bound.name: bound.value for bound in proof.bounds}["accounts"] == "3"
    assert {folder.name for folder in tmp_path.iterdir()} == {"margin-maintenance", "replication-surge"}
    assert (tmp_path / "margin-maintenance" / "manifest.json").is_file()


def test_one_slice_that_does_not_hold_keeps_the_whole_from_holding(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = ("exchange:slice=margin,bug=one-sided-fill", "exchange:slice=trading")
    monkeypatch.setattr(formulas, "FORMULA_SLICES", planted)
    proof = prove_formulas(["POS-2", "PRIO-2"])
    assert proof.verdict is Verdict.VIOLATED
    refuted = {(o.invariant, o.action, o.model) for o in proof.obligations if o.verdict is ObligationVerdict.REFUTED}
    assert refuted == {("POS-2", "trade_position", planted[0])}


@pytest.mark.deep
def test_every_formula_is_proved_for_many_accounts_and_orders() -> None:
    proof = prove_formulas(sizes={"accounts": 6, "orders": 12})
    assert proof.verdict is Verdict.HELD
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == set(
        load_model("exchange:slice=all").invariants
    )


@pytest.mark.slow
def test_every_formula_is_proved_for_any_number_of_accounts() -> None:
    proof = prove_formulas(any_number_of="accounts")
    assert proof.verdict is Verdict.HELD
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == set(
        load_model("exchange:slice=all").invariants
    )
    assert {bound.name: bound.value for bound in proof.bounds}["accounts"] == "any number"
