"""Proofs for any number of accounts: what they prove and refute, what they rest on, and what has no form."""

from typing import Annotated, Self

import pytest

from holdfast_model.checkers import prove as prove_module
from holdfast_model.checkers import sums
from holdfast_model.checkers.prove import prove
from holdfast_model.checkers.sums import LAW_OF_ONE, LAW_OF_PARTS, LAW_OF_SUMS
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Obligation, ObligationVerdict, Proof, Verdict
from holdfast_model.spec import (
    Bool,
    Condition,
    Enum,
    Index,
    Int,
    Model,
    Nat,
    Number,
    Part,
    Range,
    Record,
    Spec,
    Value,
    action,
    all_of,
    always,
    forall,
    implies,
    ite,
    negation,
    step,
    total,
)
from holdfast_model.spec.terms import Operand, Operator, Term, at, summed, summed_over
from holdfast_model.specs import load_model
from holdfast_model.specs.planted import EXCHANGE_BUGS, PlantedBug


def of(proof: Proof, verdict: ObligationVerdict) -> list[Obligation]:
    return [o for o in proof.obligations if o.verdict is verdict]


@pytest.mark.parametrize("model", ["spot", "spot:log=2"])
def test_every_formula_of_spot_is_proved_for_any_number_of_accounts(model: str) -> None:
    proof = prove(load_model(model), any_number_of="accounts")
    assert proof.verdict is Verdict.HELD
    assert {b.name: b.value for b in proof.bounds}["accounts"] == "any number"
    assert {o.invariant for o in proof.obligations if not o.auxiliary} >= {"CONS-1", "CONS-2"}
    laws = [(o.invariant, o.action) for o in proof.obligations if o.invariant.startswith("law-of-")]
    assert laws == [
        (LAW_OF_SUMS, "init"),
        (LAW_OF_SUMS, "one-more-member"),
        (LAW_OF_PARTS, "init"),
        (LAW_OF_PARTS, "one-more-member"),
        (LAW_OF_ONE, "init"),
        (LAW_OF_ONE, "one-more-member"),
    ]


@pytest.mark.parametrize(
    ("bug", "invariant", "at_action"),
    [("overdraft", "CONS-2", "withdraw"), ("refund", "CONS-1", "cancel"), ("replay-twice", "CONS-1", "restore")],
)
def test_a_planted_bug_is_refuted_and_shown_with_few_accounts(bug: str, invariant: str, at_action: str) -> None:
    proof = prove(load_model(f"spot:bug={bug}"), any_number_of="accounts")
    assert proof.verdict is Verdict.VIOLATED
    (shown,) = [o for o in of(proof, ObligationVerdict.REFUTED) if o.invariant == invariant]
    assert shown.action == at_action
    assert shown.reason.startswith("shown with 2 accounts")
    assert shown.before != shown.after


def test_a_wrong_law_of_sums_is_refuted_before_anything_rests_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(table: Operand) -> Operand:
        """The number that was there before is not taken off."""
        if isinstance(table, Term) and table.operator is Operator.STORE:
            inner, _, value = table.arguments
            return forgetful(inner) + value  # type: ignore[operator]  # both are integers
        return summed(table)

    monkeypatch.setattr(sums, "summed", forgetful)
    proof = prove(load_model("spot"), ["CONS-1"], any_number_of="accounts")
    assert proof.verdict is Verdict.VIOLATED
    refuted = {(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)}
    assert (LAW_OF_SUMS, "one-more-member") in refuted


def test_a_wrong_law_of_parts_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sums.parts

    def greedy(table: Operand, indices: list[Operand]) -> list[Condition]:
        twice = [2 * at(table, index) <= summed(table) for index in indices]  # type: ignore[operator]
        return [*right(table, indices), *twice]

    monkeypatch.setattr(sums, "parts", greedy)
    proof = prove(load_model("spot"), ["CONS-1"], any_number_of="accounts")
    assert (LAW_OF_PARTS, "one-more-member") in {
        (o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)
    }


def test_a_wrong_law_of_one_member_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:

    def twice(number: Operand, loop: int) -> Value:
        return 2 * summed_over(number, loop)

    monkeypatch.setattr(sums, "summed_over", twice)
    proof = prove(load_model("spot"), ["CONS-1"], any_number_of="accounts")
    assert (LAW_OF_ONE, "one-more-member") in {(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)}


def test_custody_is_proved_for_any_number_of_accounts() -> None:
    proof = prove(load_model("exchange:slice=custody"), ["CONS-1", "CONS-2", "CUST-1"], any_number_of="accounts")
    assert proof.verdict is Verdict.HELD
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == {"CONS-1", "CONS-2", "CUST-1"}
    assert {o.property for o in proof.obligations if o.invariant == "CUST-1"} == {
        "custody_covers",
        "balance_is_attributed",
        "custody_is_on_the_chain",
    }


FEW = ("reorganisation-unnoticed", "refund-of-another-asset", "promote-stale", "halt-spreads")
"""Two of custody, one that needs the sums of equal tables, one that compares tables; the others are deep."""


@pytest.mark.parametrize(
    "bug", [pytest.param(b, id=b.name, marks=() if b.name in FEW else pytest.mark.deep) for b in EXCHANGE_BUGS]
)
def test_a_planted_bug_of_the_exchange_is_refuted_for_any_number_of_accounts(bug: PlantedBug) -> None:
    proof = prove(load_model(f"exchange:slice={bug.slice},bug={bug.name}"), any_number_of="accounts")
    assert proof.verdict is Verdict.VIOLATED
    assert set(bug.breaks) <= {o.invariant for o in of(proof, ObligationVerdict.REFUTED)}


class Saver(Index, prefix="s"):
    """Whoever saves."""


Sum = Annotated[Number, Range(1)]


class Bank(Spec):
    """Savings beside one total."""

    saved = Nat.per(Saver)
    vault = Int

    def __init__(self) -> None:
        super().__init__(sizes={Saver: 2})

    @action
    def save(self, saver: Saver, amount: Sum) -> None:
        """Money comes in."""
        self.saved[saver] += amount
        self.vault += amount

    @action
    def pass_on(self, giver: Saver, taker: Saver, amount: Sum) -> None:
        """Money moves, perhaps to the same saver."""
        self.require(self.saved[giver] >= amount)
        self.saved[giver] -= amount
        self.saved[taker] += amount

    @always("CONS-1")
    def vault_is_all(self) -> Condition:
        """The vault has what all have saved."""
        return total(self.saved[saver] for saver in Saver) == self.vault


def test_two_indices_that_may_be_the_same_member_are_both_thought_of() -> None:
    assert prove(Model(Bank()), any_number_of="savers").verdict is Verdict.HELD


def test_one_index_that_is_overwritten_by_the_other_is_refuted() -> None:
    class Overwriting(Bank):
        @action
        def pass_on(self, giver: Saver, taker: Saver, amount: Sum) -> None:
            """What the taker has is read before the giver pays: a gift to oneself makes money."""
            self.require(self.saved[giver] >= amount)
            had = self.saved[taker]
            self.saved[giver] -= amount
            self.saved[taker] = had + amount

    proof = prove(Model(Overwriting()), any_number_of="savers")
    assert [(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)] == [("CONS-1", "pass_on")]


class Growing(Bank):
    """Savings that nothing makes less."""

    @action
    def pass_on(self, giver: Saver, taker: Saver, amount: Sum) -> None:
        """A gift of the house: the giver keeps what it has."""
        self.require(self.saved[giver] >= amount)
        self.saved[taker] += amount
        self.vault += amount

    @step("FINAL-3")
    def savings_only_grow(self, after: Self, saver: Saver) -> Condition:
        """Nobody has less after a step."""
        return self.saved[saver] <= after.saved[saver]


def test_a_property_of_steps_is_proved_for_any_number_of_members() -> None:
    proof = prove(Model(Growing()), ["FINAL-3"], any_number_of="savers")
    assert proof.verdict is Verdict.HELD
    assert {o.action: o.solver for o in proof.obligations if o.invariant == "FINAL-3"} == {
        "save": "z3",
        "pass_on": "z3",
    }


def test_a_property_of_steps_is_refuted_for_any_number_of_members_at_the_step_that_breaks_it() -> None:
    class Paying(Growing):
        @action
        def pay_out(self, saver: Saver, amount: Sum) -> None:
            """Somebody has less after this."""
            self.require(self.saved[saver] >= amount)
            self.saved[saver] -= amount
            self.vault -= amount

    proof = prove(Model(Paying()), ["FINAL-3"], any_number_of="savers")
    (shown,) = of(proof, ObligationVerdict.REFUTED)
    assert (shown.invariant, shown.action) == ("FINAL-3", "pay_out")
    assert shown.reason.startswith("shown with 2 savers")


class Pot(Record):
    saved = Nat.per(Saver)


def test_the_ranges_of_a_record_are_those_of_its_tables_too() -> None:
    class Pots(Spec):
        pot = Part(Pot)

        def __init__(self) -> None:
            super().__init__(sizes={Saver: 2})

        @action
        def take(self, saver: Saver, amount: Sum) -> None:
            """Taken without a look at what is there."""
            self.pot.saved[saver] -= amount

        @always("CONS-2")
        def in_range(self) -> Condition:
            """No number below its least."""
            return self.pot.in_range()

    proof = prove(Model(Pots()), ["CONS-2"], any_number_of="savers")
    assert ("CONS-2", "take") in {(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)}


class Mirrored(Spec):
    """Savings that may be one deposit behind their copy, from which they catch up."""

    pot = Part(Pot)
    copy = Part(Pot)
    behind = Bool
    emptied = Bool
    owner = Enum(Saver)
    owed = Nat
    vault = Int

    def __init__(self) -> None:
        super().__init__(sizes={Saver: 2})

    @action
    def save(self, saver: Saver, amount: Sum) -> None:
        """Money comes in, of which only the copy knows."""
        self.require(negation(self.behind))
        self.copy.saved[saver] += amount
        self.vault += amount
        self.owner, self.owed = saver, amount
        self.behind = True
        self.emptied = False

    @action
    def catch_up(self) -> None:
        """The copy takes the place of what is behind."""
        self.pot = self.copy
        self.behind = False

    @action
    def empty(self) -> None:
        """All is paid out."""
        self.pot.reset()
        self.copy.reset()
        self.vault = 0
        self.behind = False
        self.emptied = True

    @always("CONS-1")
    def vault_is_all(self) -> Condition:
        """The vault has what all have saved, and what is not known of yet."""
        return total(self.pot.saved[saver] for saver in Saver) + ite(self.behind, self.owed, 0) == self.vault

    @always("REPL-1")
    def copy_is_the_pot(self) -> Condition:
        """The copy is the pot with what it lacks; nothing, where all was paid out."""
        caught_up = self.pot.copy()
        with self.when(self.behind):
            caught_up.saved[self.owner] += self.owed
        return all_of(caught_up.equals(self.copy), implies(self.emptied, self.copy.equals(self.fresh(Pot))))


def test_equal_tables_have_equal_sums_and_empty_ones_none() -> None:
    proof = prove(Model(Mirrored()), any_number_of="savers", second_opinion=True)
    assert proof.verdict is Verdict.HELD
    assert proof.second_opinion is not None
    assert proof.second_opinion.agreed == proof.second_opinion.asked > 0


def test_the_sums_of_equal_tables_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove_module, "sums_of_equals", lambda _: [])
    assert prove(Model(Mirrored()), any_number_of="savers").verdict is Verdict.INCONCLUSIVE


def test_what_forgets_that_it_is_behind_is_refuted() -> None:
    class Forgetful(Mirrored):
        @action
        def catch_up(self) -> None:
            """Nothing is copied."""
            self.behind = False

    proof = prove(Model(Forgetful()), any_number_of="savers")
    assert ("CONS-1", "catch_up") in {(o.invariant, o.action) for o in of(proof, ObligationVerdict.REFUTED)}


def test_what_is_no_sum_of_balances_is_not_attempted_and_says_why() -> None:
    class Counted(Bank):
        @always("CONS-2")
        def few_are_rich(self) -> Condition:
            """A count is no sum of balances."""
            return total(ite(self.saved[saver] > 9, 1, 0) for saver in Saver) >= 0

        @always("CONS-4")
        def all_have_something(self) -> Condition:
            """A loop that is no sum has no member to stand for."""
            return forall(self.saved[saver] >= 0 for saver in Saver)

        @always("POS-1")
        def twice(self) -> Condition:
            """A sum inside a loop over the same sort is not the loop's sum."""
            parts = [total(self.saved[saver] for _ in range(2)) >= 0 for saver in Saver]
            return all_of(*parts)

    proof = prove(Model(Counted()), any_number_of="savers")
    assert proof.verdict is Verdict.INCONCLUSIVE
    left_out = of(proof, ObligationVerdict.NOT_ATTEMPTED)
    assert [o.invariant for o in left_out] == ["CONS-2", "CONS-4", "POS-1"]
    assert all(o.reason.startswith("it has no form over any number of members: ") for o in left_out)
    assert {o.verdict for o in proof.obligations if o.invariant == "CONS-1"} == {ObligationVerdict.PROVED}


def test_an_action_that_loops_over_all_members_is_not_attempted() -> None:
    class Closing(Bank):
        @action
        def close(self) -> None:
            """All is paid out, one after the other."""
            for saver in Saver:
                self.saved[saver] = 0
            self.vault = 0

    proof = prove(Model(Closing()), any_number_of="savers")
    assert {o.action for o in of(proof, ObligationVerdict.NOT_ATTEMPTED)} == {"close"}
    assert proof.verdict is Verdict.INCONCLUSIVE


def test_a_model_that_needs_the_number_of_members_is_not_attempted_at_all() -> None:
    proof = prove(load_model("yardstick"), any_number_of="accounts")
    assert proof.verdict is Verdict.INCONCLUSIVE
    assert {o.verdict for o in proof.obligations} == {ObligationVerdict.NOT_ATTEMPTED}


def test_a_sort_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(HoldfastError, match="counted as 'accounts'"):
        prove(Model(Bank()), any_number_of="accounts")
