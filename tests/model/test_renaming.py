"""Obligations that differ only by names: when the prover may take one for another, and when it must not."""

from typing import Annotated

import pytest

from holdfast_model.checkers import prove as proving
from holdfast_model.checkers.prove import prove
from holdfast_model.checkers.renaming import Signatures, TermSymmetry, renaming
from holdfast_model.evidence import ObligationVerdict, Proof, Verdict
from holdfast_model.spec import (
    Condition,
    Index,
    Int,
    Model,
    Nat,
    Number,
    Range,
    Spec,
    action,
    all_of,
    always,
    implies,
    ite,
    total,
)
from holdfast_model.spec.sorts import sized
from holdfast_model.spec.terms import any_of, argument
from holdfast_model.specs import load_model


class Saver(Index, prefix="s"):
    """Whoever saves."""


class Slot(Index, prefix="t"):
    """A place in a row that is filled from the first one on."""


Sum = Annotated[Number, Range(1)]


class Bank(Spec):
    """Savings beside one total."""

    saved = Nat.per(Saver)
    vault = Int
    special = -1

    def __init__(self) -> None:
        super().__init__(sizes={Saver: 5})

    @action
    def save(self, saver: Saver, amount: Sum) -> None:
        """Money comes in."""
        self.saved[saver] += amount
        if saver != self.special:
            self.vault += amount

    @action
    def pass_on(self, giver: Saver, taker: Saver, amount: Sum) -> None:
        """Money moves."""
        self.require(giver != taker, self.saved[giver] >= amount)
        self.saved[giver] -= amount
        self.saved[taker] += amount

    @always("CONS-1")
    def vault_is_all(self) -> Condition:
        """The vault has what all have saved."""
        return total(self.saved[saver] for saver in Saver) == self.vault


def refuted(proof: Proof) -> set[tuple[str, str]]:
    return {(o.invariant, o.action) for o in proof.obligations if o.verdict is ObligationVerdict.REFUTED}


def stands_for(proof: Proof) -> str:
    return {bound.name: bound.value for bound in proof.bounds}.get("steps", "")


def test_one_saver_stands_for_all_and_the_bounds_say_so() -> None:
    proof = prove(Model(Bank()))
    assert proof.verdict is Verdict.HELD
    assert stands_for(proof).startswith("2 stand for 25;")


@pytest.mark.parametrize("special", range(5))
def test_a_step_that_is_wrong_for_one_member_only_is_found_whichever_it_is(special: int) -> None:
    class Forgetful(Bank):
        """One saver's money is not counted."""

    Forgetful.special = special
    proof = prove(Model(Forgetful()))
    assert refuted(proof) == {("CONS-1", "save")}
    (shown,) = [o for o in proof.obligations if o.verdict is ObligationVerdict.REFUTED]
    assert shown.arguments["saver"] == f"s{special + 1}"


@pytest.mark.parametrize("favoured", range(5))
def test_a_property_that_names_one_member_is_kept_apart(favoured: int) -> None:
    class Favouring(Bank):
        """Nobody may have more than one of the savers."""

        @always("CONS-2")
        def favourite_has_most(self) -> Condition:
            """One of the savers has at least as much as every other one."""
            return all_of(*(self.saved[saver] <= self.saved[Saver(favoured)] for saver in Saver))

    assert refuted(prove(Model(Favouring()), ["CONS-2"])) == {("CONS-2", "save"), ("CONS-2", "pass_on")}


class Row(Spec):
    """Slots that are taken in order; two of them can be exchanged for the worth of the older one."""

    worth = Nat.per(Slot)
    next_free = Nat
    given = Nat
    wrong_at: tuple[tuple[int, int], ...] = ()
    wrong_if_older = False

    def __init__(self) -> None:
        super().__init__(sizes={Slot: 6})

    @action
    def take(self, amount: Sum) -> None:
        """The next slot is taken."""
        self.require(self.next_free < 6)
        for slot in Slot:
            with self.when(self.next_free == int(slot)):
                self.worth[slot] = amount
        self.next_free += 1
        self.given += amount

    @action
    def exchange(self, one: Slot, other: Slot) -> None:
        """Two slots are exchanged, and only they."""
        self.require(one != other, self.worth[one] > 0, self.worth[other] > 0)
        older = ite(one < other, self.worth[one], self.worth[other])
        newer = ite(one < other, self.worth[other], self.worth[one])
        lost = any_of(
            *(all_of(one == Slot(this), other == Slot(that)) for this, that in self.wrong_at),
            all_of(one < other, self.wrong_if_older),
        )
        self.worth[one] = ite(lost, newer + 1, newer)
        self.worth[other] = older

    @always("CONS-1")
    def nothing_is_lost(self) -> Condition:
        """All slots together are worth what was given for them."""
        return total(self.worth[slot] for slot in Slot) == self.given

    @always("CONS-2")
    def taken_in_order(self, slot: Slot) -> Condition:
        """Exactly the slots before the next free one are worth something."""
        return (self.worth[slot] == 0) == (self.next_free <= int(slot))


def test_what_does_not_depend_on_the_order_is_shown_of_few_steps() -> None:
    proof = prove(Model(Row()))
    assert proof.verdict is Verdict.HELD
    proved, _, rest = stands_for(proof).partition(" stand for ")
    assert rest.startswith("31;")
    assert int(proved) <= 5


@pytest.mark.parametrize("wrong_at", [(1, 3), (5, 0), (2, 1)])
def test_an_exchange_that_is_wrong_for_two_slots_only_is_found(wrong_at: tuple[int, int]) -> None:
    class Wrong(Row):
        """An exchange of two slots makes money."""

    Wrong.wrong_at = (wrong_at,)
    assert ("CONS-1", "exchange") in refuted(prove(Model(Wrong())))


def test_an_exchange_that_is_wrong_in_one_order_only_is_found() -> None:
    class Wrong(Row):
        """An exchange with a newer slot makes money."""

    Wrong.wrong_if_older = True
    assert ("CONS-1", "exchange") in refuted(prove(Model(Wrong())))


def test_what_depends_on_the_order_is_not_taken_for_granted() -> None:
    class Rising(Row):
        """A row in which the worth never falls is one thing before an exchange, and another after it."""

        @always("FINAL-3")
        def worth_rises(self) -> Condition:
            """No slot is worth more than a later one that is taken."""
            return all_of(
                *(
                    implies(self.worth[later] > 0, self.worth[slot] <= self.worth[later])
                    for slot in Slot
                    for later in Slot
                    if slot < later
                )
            )

    assert ("FINAL-3", "take") in refuted(prove(Model(Rising())))


@pytest.mark.parametrize(
    "model",
    [
        "spot:accounts=3,orders=4",
        "spot:accounts=3,orders=4,bug=refund",
        "exchange:slice=margin,accounts=4,bug=one-sided-fill",
    ],
)
def test_the_verdicts_are_those_that_are_found_without_looking_for_symmetry(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_symmetry = prove(load_model(model))
    monkeypatch.setattr(proving, "OPAQUE_FEWEST", 1_000)
    monkeypatch.setattr(
        TermSymmetry, "of", classmethod(lambda cls, variables, sizes, _: cls.none(Signatures(variables, sizes)))
    )
    without = prove(load_model(model))
    assert stands_for(with_symmetry)
    assert not stands_for(without)
    assert [(o.invariant, o.property, o.action, o.verdict) for o in with_symmetry.obligations] == [
        (o.invariant, o.property, o.action, o.verdict) for o in without.obligations
    ]


def test_a_signature_is_of_the_meaning_up_to_order_and_no_further() -> None:
    model = Model(Bank())
    with sized(model.spec.sizes):
        signatures = Signatures(model.variables, model.spec.sizes)
        first, second, third = [symbol for symbol in model.symbols() if isinstance(symbol, Number)][:3]
        amount = argument("amount")
        assert signatures.of(first + (second - third)) == signatures.of((second + first) - third)
        assert signatures.of(first - second) != signatures.of(second - first)
        assert signatures.of(all_of(first < second, third == amount)) == signatures.of(
            all_of(amount == third, first < second)
        )
        assert signatures.of(first < second) != signatures.of(second < first)
        assert signatures.of(first < second) != signatures.of(first <= second)
        swap = renaming({Saver: (1, 0, 2, 3, 4)})
        assert signatures.of(first - second, swap) == signatures.of(second - first)
        assert signatures.of(first - third, swap) == signatures.of(second - third)
