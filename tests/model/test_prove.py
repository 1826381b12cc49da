"""The prover: what it proves, what it refutes and where, and everything that must keep it from being green."""

import random
from typing import Annotated, Self

import pytest

from holdfast_model.checkers.obligations import DECLARED_RANGES
from holdfast_model.checkers.prove import BY_IDENTITY, _Proof, prove
from holdfast_model.checkers.renaming import TermSymmetry
from holdfast_model.checkers.smt import Answer, Smt
from holdfast_model.evidence import Obligation, ObligationVerdict, Proof, Verdict
from holdfast_model.spec import (
    Condition,
    Int,
    Model,
    Nat,
    Number,
    Range,
    Response,
    Spec,
    action,
    all_of,
    always,
    any_of,
    auxiliary,
    eventually,
    step,
)
from holdfast_model.spec.language import PropertyKind
from holdfast_model.spec.sorts import sized
from holdfast_model.spec.terms import Operand, choices_kept_whole, negation, sort_of
from holdfast_model.specs import PlantedBug, list_models, load_model


def of(proof: Proof, verdict: ObligationVerdict) -> list[Obligation]:
    return [o for o in proof.obligations if o.verdict is verdict]


@pytest.mark.parametrize("model", ["spot", "yardstick"])
def test_every_formula_of_a_correct_model_is_proved_for_unbounded_amounts(model: str) -> None:
    loaded = load_model(model)
    proof = prove(loaded)
    assert proof.verdict is Verdict.HELD
    formulas = len(loaded.properties) + 1  # and the declared ranges
    of_steps = sum(p.kind is PropertyKind.STEP for p in loaded.properties)  # which have no base case
    assert len(proof.obligations) == formulas * (1 + len(loaded.actions)) - of_steps
    assert len(of(proof, ObligationVerdict.PROVED)) == len(proof.obligations)
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == set(loaded.invariants)
    assert {b.name: b.value for b in proof.bounds}["numbers in the state"] == "unbounded integers"


@pytest.mark.parametrize("model", ["yardstick:log=2", "spot:log=2", "spot:accounts=3,orders=4"])
def test_larger_models_are_proved_with_nothing_unknown(model: str) -> None:
    assert prove(load_model(model)).verdict is Verdict.HELD


@pytest.mark.slow
@pytest.mark.parametrize("model", ["yardstick:log=2", "spot:orders=3"])
def test_the_cases_of_a_step_together_say_what_its_guard_and_the_properties_say(model: str) -> None:
    loaded = load_model(model)
    smt = Smt(loaded.variables, loaded.spec.sizes)

    def found(*conditions: Operand) -> bool:
        return smt.query(conditions, resources=500_000).answer is Answer.SATISFIABLE

    with sized(loaded.spec.sizes), choices_kept_whole():
        run = _Proof(loaded, (), resources=4_000_000)
        assumed = all_of(*(goal.formula for goal in run.goals if not goal.of_steps))
        for declared in loaded.actions:
            steps = [
                run._staged(instance, step, TermSymmetry.none(run.symmetry.signatures))
                for instance in loaded.symbolic_instances(declared)
                if (step := loaded.stage(declared, instance.arguments)) is not None
            ]
            common = run._common([(each.instance, each.step) for each in steps])
            run._prepared(common, [each.step for each in steps])
            last = steps[-1]
            guard = all_of(last.instance.assumption, last.step.guard)
            cases = [all_of(*case.known.everything()) for case in run._cases(common, last)]
            for case in cases:
                assert not found(case, negation(all_of(assumed, guard))), f"{declared.name}: a case forgets something"
            assert not found(assumed, guard, negation(any_of(*cases))), f"{declared.name}: a case is missing"


def test_what_is_asked_for_is_proved_with_all_that_it_assumes() -> None:
    proof = prove(load_model("spot:orders=3"), ["CONS-1", "FINAL-1"])
    assert proof.verdict is Verdict.HELD
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == {"CONS-1", "FINAL-1"}
    assert {o.invariant for o in proof.obligations if o.auxiliary} == {
        "REPL-1",
        "held-is-the-sum-of-what-it-is-held-for",
        "standing-conserves",
        "standing-is-in-range",
        "standing-is-as-told",
        "slots-are-taken-in-order",
        "log-has-no-gap",
        DECLARED_RANGES,
    }
    assert {b.name: b.value for b in proof.bounds} == {
        "accounts": "2",
        "orders": "3",
        "commands in the log": "1",
        "amount": "integers from 1",
        "price": "integers from 1",
        "size": "integers from 1",
        "numbers in the state": "unbounded integers",
        "steps": "19 stand for 27; each other one was compared with one of them and is the same under other names",
    }


PLANTED = [(entry.name, bug) for entry in list_models() for bug in entry.bugs if not entry.parts]


@pytest.mark.parametrize(("model", "bug"), PLANTED, ids=[f"{m}-{b.name}" for m, b in PLANTED])
def test_each_planted_bug_is_refuted_at_its_action_only(model: str, bug: PlantedBug) -> None:
    loaded = load_model(f"{model}:bug={bug.name}")
    proof = prove(loaded)
    assert proof.verdict is Verdict.VIOLATED
    refuted = of(proof, ObligationVerdict.REFUTED)
    assert {o.action for o in refuted} == {bug.action}
    assert set(bug.breaks) <= {o.invariant for o in refuted}
    for obligation in refuted:
        assert obligation.before.keys() == obligation.after.keys() == {v.name for v in loaded.variables}
        assert obligation.before != obligation.after
        action_taken = next(a for a in loaded.actions if a.name == bug.action)
        assert list(obligation.arguments) == [p.name for p in action_taken.parameters]


def test_terms_mean_to_the_solver_what_the_interpreter_computes() -> None:
    model = load_model("spot:log=2")
    smt = Smt(model.variables, model.spec.sizes)
    chance = random.Random(4)  # noqa: S311 - a test's walk, not a secret
    state = model.initial
    symbols = model.symbols()
    for _ in range(25):
        pinned: list[Operand] = []
        for symbol, value in zip(symbols, state, strict=True):
            sort = sort_of(symbol)
            pinned.append(symbol == (value if sort is int else sort(value)))
        choices = list(model.instances())
        chance.shuffle(choices)
        taken = 0
        for instance in choices[:12]:
            after = model.step(instance, state, exploring=True)
            step = model.stage(instance.action, instance.arguments, exploring=True)
            enabled = step is not None and smt.query([*pinned, step.guard], resources=10_000_000)
            assert (after is not None) == bool(enabled and enabled.answer is Answer.SATISFIABLE)
            if after is None or step is None or taken:
                continue
            taken += 1
            wrong: list[Condition] = []
            for position, new in step.updates.items():
                sort = model.variables[position].sort
                value = after[position] if sort is int else sort(after[position])
                wrong.append(new == value)
            differs = negation(all_of(*wrong))
            assert smt.query([*pinned, differs], resources=10_000_000).answer is Answer.UNSATISFIABLE
        state = chance.choice([after for _, after in model.successors(state)])


Any_ = Annotated[Number, Range()]


class Till(Spec):
    """A till with a ledger beside it."""

    cash = Int
    booked = Int
    opened = Nat.upto(1)

    def __init__(self) -> None:
        super().__init__(sizes={})

    @action
    def take(self, amount: Any_) -> None:
        """Cash comes in and is booked."""
        self.require(amount > 0)
        self.cash += amount
        self.booked += amount

    @action
    def look(self) -> None:
        """Nothing changes but the drawer."""
        self.opened = 1

    @always("CONS-2")
    def cash_is_not_negative(self) -> Condition:
        """No cash below zero."""
        return self.cash >= 0


class Audited(Till):
    @always("CONS-1")
    def cash_is_booked(self) -> Condition:
        """All cash is booked."""
        return self.cash == self.booked


def test_a_property_that_a_step_leaves_alone_needs_no_solver() -> None:
    proof = prove(Model(Audited()))
    assert proof.verdict is Verdict.HELD
    assert {o.invariant: o.solver for o in proof.obligations if o.action == "look"} == {
        "CONS-2": BY_IDENTITY,
        "CONS-1": BY_IDENTITY,
        DECLARED_RANGES: BY_IDENTITY,
    }


def test_an_action_that_can_never_be_taken_proves_nothing() -> None:
    class Locked(Audited):
        @action
        def refund(self) -> None:
            """Only a till that owes cash refunds, and none does."""
            self.require(self.cash < 0)
            self.booked += 1

    proof = prove(Model(Locked()))
    assert proof.verdict is Verdict.INCONCLUSIVE
    refused = of(proof, ObligationVerdict.NOT_ATTEMPTED)
    assert {o.action for o in refused} == {"refund"}
    assert len(refused) == 3
    assert all(o.reason.startswith("vacuous") for o in refused)


def test_a_guard_that_is_plainly_false_is_vacuous_too() -> None:
    class Locked(Audited):
        @action
        def refund(self) -> None:
            """Never."""
            self.require(self.opened == 1, self.opened == 0)

    assert prove(Model(Locked())).verdict is Verdict.INCONCLUSIVE


def test_contradictory_invariants_do_not_prove_everything() -> None:
    class Contradictory(Audited):
        @auxiliary("nonsense")
        def nonsense(self) -> Condition:
            """What no state satisfies, so that anything would follow from it."""
            return all_of(self.cash > self.booked, self.opened == 0)

    proof = prove(Model(Contradictory()))
    assert proof.verdict is Verdict.VIOLATED
    assert [(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)] == [("nonsense", "init")]
    assert {o.verdict for o in proof.obligations if o.action != "init"} == {ObligationVerdict.NOT_ATTEMPTED}


def test_an_auxiliary_invariant_that_does_not_hold_keeps_the_run_from_holding() -> None:
    class Hopeful(Audited):
        @auxiliary("cash-is-small")
        def cash_is_small(self) -> Condition:
            """Assumed, and not so."""
            return self.cash <= 100

    proof = prove(Model(Hopeful()), ["CONS-1"])
    assert proof.verdict is Verdict.VIOLATED
    (refuted,) = of(proof, ObligationVerdict.REFUTED)
    assert (refuted.invariant, refuted.action, refuted.auxiliary) == ("cash-is-small", "take", True)
    assert int(refuted.before["cash"]) <= 100 < int(refuted.after["cash"])
    assert int(refuted.after["cash"]) == int(refuted.before["cash"]) + int(refuted.arguments["amount"])


def test_a_declared_least_value_is_proved_and_not_assumed() -> None:
    class Draining(Audited):
        @action
        def close(self) -> None:
            """One less, whatever there is."""
            self.opened -= 1

    proof = prove(Model(Draining()))
    assert proof.verdict is Verdict.VIOLATED
    assert [(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)] == [(DECLARED_RANGES, "close")]


def test_an_invariant_without_a_formula_is_not_attempted() -> None:
    proof = prove(Model(Audited()), ["CONS-1", "CUST-1"])
    (missing,) = of(proof, ObligationVerdict.NOT_ATTEMPTED)
    assert missing.invariant == "CUST-1"
    assert missing.reason == "model Audited has no formula for it"
    assert proof.verdict is Verdict.INCONCLUSIVE


def test_auxiliary_invariants_alone_conclude_nothing() -> None:
    assert prove(Model(Audited()), ["CUST-1"]).verdict is Verdict.INCONCLUSIVE


class Meter(Till):
    @step("FINAL-3")
    def books_only_grow(self, after: Self) -> Condition:
        """What is booked never shrinks."""
        return self.booked <= after.booked

    @eventually("LIVE-1")
    def can_have_cash(self) -> Response:
        """There can be cash."""
        return Response(whenever=self.cash == 0, then=self.cash > 0)


def test_a_property_of_steps_is_proved_for_each_action_and_has_no_base_case() -> None:
    proof = prove(Model(Meter()), ["FINAL-3"])
    assert proof.verdict is Verdict.HELD
    assert {o.action: o.solver for o in proof.obligations if o.invariant == "FINAL-3"} == {
        "take": "z3",
        "look": BY_IDENTITY,
    }


def test_what_is_shown_of_the_state_before_a_step_is_not_taken_for_the_state_after_it() -> None:
    class Spent(Spec):
        purse = Int

        @action
        def spend(self, amount: Annotated[Number, Range(1)]) -> None:
            """Money goes out, whether it is there or not."""
            self.purse -= amount

        @step("FINAL-3")
        def had_something(self, after: Self) -> Condition:
            """Of the state before a step this is the very term that the next property is of the state after it."""
            del after
            return self.purse >= 0

        @always("CONS-2")
        def has_something(self) -> Condition:
            """Nothing is spent that is not there."""
            return self.purse >= 0

    proof = prove(Model(Spent(sizes={})))
    assert [(o.invariant, o.verdict) for o in proof.obligations if o.action == "spend" and not o.auxiliary] == [
        ("FINAL-3", ObligationVerdict.PROVED),
        ("CONS-2", ObligationVerdict.REFUTED),
    ]


def test_a_property_of_steps_is_refuted_at_its_action_with_both_states() -> None:
    class Corrected(Meter):
        @action
        def correct(self, amount: Any_) -> None:
            """What is booked is made to be anything."""
            self.booked = amount

    proof = prove(Model(Corrected()), ["FINAL-3"])
    assert proof.verdict is Verdict.VIOLATED
    (refuted,) = of(proof, ObligationVerdict.REFUTED)
    assert (refuted.invariant, refuted.action) == ("FINAL-3", "correct")
    assert int(refuted.after["booked"]) < int(refuted.before["booked"])


def test_an_eventuality_is_not_attempted_and_says_why() -> None:
    proof = prove(Model(Meter()), ["FINAL-3", "LIVE-1"])
    (missing,) = of(proof, ObligationVerdict.NOT_ATTEMPTED)
    assert (missing.invariant, missing.reason) == (
        "LIVE-1",
        "what can be reached is decided by a search, not by induction",
    )
    assert proof.verdict is Verdict.INCONCLUSIVE


def test_limits_of_a_search_are_not_assumed() -> None:
    class Tilted(Till):
        level = Int.explored_between(-1, 1)

        @action
        def tilt(self) -> None:
            """One less."""
            self.level -= 1

    assert prove(Model(Tilted())).verdict is Verdict.HELD


def test_a_query_without_resources_is_unknown_and_not_green() -> None:
    proof = prove(load_model("spot"), ["CONS-1"], resources=1)
    assert proof.verdict is Verdict.INCONCLUSIVE
    assert not of(proof, ObligationVerdict.REFUTED)
    assert of(proof, ObligationVerdict.NOT_ATTEMPTED)


def test_two_proofs_give_equal_evidence() -> None:
    assert prove(load_model("yardstick:bug=restore")) == prove(load_model("yardstick:bug=restore"))


def test_integers_do_not_wrap_around() -> None:
    class Doubling(Till):
        @action
        def double(self) -> None:
            """Twice as much, without end."""
            self.cash = 2 * self.cash
            self.booked = 2 * self.booked

    proof = prove(Model(Doubling()))
    assert proof.verdict is Verdict.HELD


def test_the_prover_tells_which_action_it_is_at() -> None:
    told: list[tuple[int, int, str]] = []
    prove(Model(Audited()), progress=lambda *at: told.append(at))
    assert told == [(0, 2, "take"), (1, 2, "look")]
