"""The second solver: that it agrees, that a wrong answer of the first one is noticed, and what it leaves open."""

import sys

import pytest

from holdfast_model.checkers import second_opinion
from holdfast_model.checkers.prove import prove
from holdfast_model.checkers.second_opinion import Asked, answer_by_cvc5, opinion_on
from holdfast_model.checkers.smt import Answer, Reply, Smt
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Verdict
from holdfast_model.specs import load_model


@pytest.mark.parametrize("model", ["yardstick", "yardstick:bug=restore", "spot"])
def test_cvc5_agrees_with_all_that_z3_says(model: str) -> None:
    proof = prove(load_model(model), second_opinion=True)
    assert proof.second_opinion is not None
    assert proof.second_opinion.solver == "cvc5"
    assert proof.second_opinion.agreed == proof.second_opinion.asked > 50
    assert proof.second_opinion.not_concluded == ()


def test_a_solver_that_calls_everything_impossible_is_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Smt.query

    def careless(self: Smt, conditions: list[object], *, resources: int) -> Reply:
        reply = asked(self, conditions, resources=resources)  # type: ignore[arg-type]  # operands
        return Reply(Answer.UNSATISFIABLE, {}, "") if reply.answer is Answer.SATISFIABLE else reply

    monkeypatch.setattr(Smt, "query", careless)
    assert prove(load_model("yardstick:bug=restore")).verdict is not Verdict.VIOLATED
    with pytest.raises(AssertionError, match="z3 says unsatisfiable, cvc5 says satisfiable"):
        prove(load_model("yardstick:bug=restore"), second_opinion=True)


def test_what_cvc5_cannot_conclude_is_listed_and_is_no_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "QUESTION_RESOURCES", 1)
    proof = prove(load_model("yardstick"), second_opinion=True)
    assert proof.verdict is Verdict.HELD
    opinion = proof.second_opinion
    assert opinion is not None
    assert opinion.agreed < opinion.asked
    asked_about = {(o.invariant, o.property, o.action) for o in proof.obligations} | {
        ("", "", o.action) for o in proof.obligations
    }
    assert opinion.not_concluded
    assert {(o.invariant, o.property, o.action) for o in opinion.not_concluded} <= asked_about
    assert {o.reason for o in opinion.not_concluded} == {"no answer within 1 units"}


def test_no_more_is_asked_than_the_limit_of_a_proof_allows_and_the_rest_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(second_opinion, "PROOF_RESOURCES", 1)
    proof = prove(load_model("yardstick"), second_opinion=True)
    assert proof.verdict is Verdict.HELD
    opinion = proof.second_opinion
    assert opinion is not None
    assert opinion.agreed == 1  # the shortest question; nothing is left for another one
    assert {o.reason for o in opinion.not_concluded} == {"not asked: 1 units were spent on shorter questions"}
    assert any(bound.value == "short ones first, until 1 of its units of work are spent" for bound in opinion.bounds)
    proved = {(o.invariant, o.property, o.action) for o in proof.obligations if o.solver == "z3"}
    assert len({(o.invariant, o.property, o.action) for o in opinion.not_concluded} & proved) > len(proved) / 2


def asked(count: int) -> list[Asked]:
    """Questions of growing length, every third of which is too hard for a hundred units."""
    hard = "(assert (and (> x 2) (> y 2) (> z 2) (= (+ (* x x x) (* y y y)) (* z z z))))"
    declared = "(set-logic ALL)(declare-const x Int)(declare-const y Int)(declare-const z Int)"
    return [
        Asked(
            f"{declared}{hard if n % 3 == 0 else f'(assert (> x {n} y x))'}(check-sat)",
            answer,
            ((f"I{n}", "p", "a"),),
        )
        for n, answer in enumerate([Answer.UNSATISFIABLE] * count)
    ]


def test_the_opinion_is_the_same_for_any_number_of_processes() -> None:
    alone, together = (
        opinion_on(asked(40), workers=workers, question_resources=5_000, proof_resources=60_000) for workers in (1, 2)
    )
    assert alone == together
    assert 0 < alone.agreed < alone.asked
    assert len({o.reason for o in alone.not_concluded}) == 2


def test_a_contradiction_in_another_process_is_one() -> None:
    (first, *others) = asked(4)[1:]
    wrong = Asked(first.text, Answer.SATISFIABLE, first.decides)
    with pytest.raises(AssertionError, match="z3 says satisfiable, cvc5 says unsatisfiable: \\('I1', 'p', 'a'\\)"):
        opinion_on([wrong, *others], workers=2)


def test_the_limit_of_resources_is_deterministic() -> None:
    hard = (
        "(set-logic ALL)(declare-const x Int)(declare-const y Int)(declare-const z Int)"
        "(assert (and (> x 2) (> y 2) (> z 2) (= (+ (* x x x) (* y y y)) (* z z z))))(check-sat)"
    )
    assert answer_by_cvc5(hard, resources=20_000) is Answer.UNKNOWN


def test_without_cvc5_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvc5", None)
    with pytest.raises(HoldfastError, match=r"holdfast\[second-opinion\]"):
        prove(load_model("yardstick"), second_opinion=True)
