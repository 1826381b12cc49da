"""Questions as SMT-LIB 2 files: two solvers read them and say what is expected, and the manifest is complete."""

import json
from pathlib import Path

import pytest
import z3

from holdfast_model.checkers.prove import BY_IDENTITY, prove
from holdfast_model.checkers.second_opinion import answer_by_cvc5
from holdfast_model.checkers.smtlib import STATUS
from holdfast_model.errors import HoldfastError
from holdfast_model.specs import load_model


def answer_by_z3(text: str) -> str:
    solver = z3.Solver(ctx=z3.Context())
    solver.from_string(text)
    return str(solver.check())


@pytest.mark.parametrize(
    ("model", "any_number_of"),
    [("yardstick", ""), ("spot:bug=replay-twice", ""), ("spot", "accounts")],
)
def test_both_solvers_read_each_file_and_say_what_the_manifest_expects(
    model: str, any_number_of: str, tmp_path: Path
) -> None:
    proof = prove(load_model(model), any_number_of=any_number_of, export=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert len(manifest["questions"]) == len(list(tmp_path.glob("*.smt2"))) > 50
    for question in manifest["questions"]:
        text = (tmp_path / question["file"]).read_text()
        assert f"(set-info :status {question['expected']})" in text
        assert answer_by_z3(text) == question["expected"], question["file"]
        unprompted = text.replace(f"(set-info :status {question['expected']})", "")
        assert STATUS[answer_by_cvc5(unprompted)] == question["expected"], question["file"]
    assert [(o["invariant"], o["action"], o["verdict"]) for o in manifest["obligations"]] == [
        (o.invariant, o.action, o.verdict) for o in proof.obligations
    ]


def test_an_obligation_that_a_solver_settled_has_files_and_the_others_none(tmp_path: Path) -> None:
    prove(load_model("yardstick"), export=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    files = {question["file"] for question in manifest["questions"]}
    for obligation in manifest["obligations"]:
        assert set(obligation["files"]) <= files
        assert bool(obligation["files"]) == (obligation["settled_by"] not in (BY_IDENTITY, "evaluation"))


def test_two_exports_are_the_same_files_and_the_first_one_leaves_nothing_behind(tmp_path: Path) -> None:
    prove(load_model("spot"), export=tmp_path)
    prove(load_model("yardstick"), export=tmp_path)
    prove(load_model("yardstick"), export=tmp_path / "again")
    first = {file.name: file.read_bytes() for file in tmp_path.glob("*.*")}
    second = {file.name: file.read_bytes() for file in (tmp_path / "again").glob("*.*")}
    assert first == second


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HoldfastError, match="cannot be written"):
        prove(load_model("yardstick"), export=tmp_path / "file")
