"""Suggestions of auxiliary invariants: found where one is missing, inductive, and never more than suggestions."""

from typing import Annotated, Any

import pytest

from holdfast_model.checkers import spacer
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.checkers.spacer import suggestions
from holdfast_model.evidence import Verdict
from holdfast_model.spec import Condition, Index, Model, Nat, Number, Range, Spec, action, always, auxiliary, total
from holdfast_model.specs import load_model


class Account(Index, prefix="u"):
    """Whose money it is."""


Amount = Annotated[Number, Range(1, explored_upto=2)]


class Totalled(Spec):
    """A bank that keeps a running total of what is set aside; without the reason why the total is covered."""

    free = Nat.upto(3).per(Account)
    aside = Nat.upto(3).per(Account)
    aside_total = Nat.upto(3)
    outside = Nat.upto(3)

    def __init__(self, *, release_twice: bool = False) -> None:
        super().__init__(sizes={Account: 2})
        self.release_twice = release_twice

    @action
    def deposit(self, account: Account, amount: Amount) -> None:
        """Money arrives."""
        self.explored_where(self.outside + amount <= 3)
        self.free[account] += amount
        self.outside += amount

    @action
    def set_aside(self, account: Account, amount: Amount) -> None:
        """A client sets aside what it has free."""
        self.require(self.free[account] >= amount)
        self.free[account] -= amount
        self.aside[account] += amount
        self.aside_total += amount

    @action
    def release(self, account: Account) -> None:
        """A client gets back all that it set aside."""
        self.aside_total -= self.aside[account]
        self.free[account] += self.aside[account] * (2 if self.release_twice else 1)
        self.aside[account] = 0

    @always("CONS-1")
    def conservation(self) -> Condition:
        """What all have is what came in."""
        return total(self.free[a] + self.aside[a] for a in Account) == self.outside

    @always("CONS-4")
    def total_is_covered(self) -> Condition:
        """No more is set aside than came in."""
        return self.aside_total <= self.outside


class Explained(Totalled):
    """The same bank, with the reason."""

    @auxiliary("running-total-is-the-sum")
    def running_total_is_the_sum(self) -> Condition:
        """The running total is the sum of what clients set aside."""
        return self.aside_total == total(self.aside[account] for account in Account)


def test_with_its_auxiliary_invariant_it_is_proved_and_nothing_is_suggested() -> None:
    proof = prove(Model(Explained()))
    assert proof.verdict is Verdict.HELD
    assert suggestions(Model(Explained()), proof.obligations) == []


def test_without_it_something_inductive_is_suggested_in_the_names_of_the_spec() -> None:
    model = Model(Totalled())
    assert explore(model).verdict is Verdict.HELD
    proof = prove(model)
    assert proof.verdict is Verdict.VIOLATED
    found = {each.invariant: each for each in suggestions(model, proof.obligations)}
    assert set(found) == {"CONS-4", "declared-ranges"}
    assert "free[u1] + free[u2] + aside_total <= outside" in found["CONS-4"].conditions
    assert proof == prove(model), "a suggestion changes no verdict"


def test_what_is_suggested_makes_the_proof_when_it_is_written_down() -> None:
    class Suggested(Totalled):
        """The same bank, with what was suggested for both properties."""

        @auxiliary("suggested")
        def suggested(self) -> Condition:
            """What Spacer found."""
            everybody = total(self.free[account] for account in Account)
            return everybody + self.aside_total <= self.outside

        @auxiliary("suggested-for-ranges")
        def suggested_for_ranges(self) -> Condition:
            """What Spacer found for the ranges."""
            return total(self.aside[account] for account in Account) <= self.aside_total

    found = suggestions(Model(Totalled()), prove(Model(Totalled())).obligations)
    printed = {condition for each in found for condition in each.conditions}
    assert {
        "free[u1] + free[u2] + aside_total <= outside",
        "aside[u1] + aside[u2] <= aside_total",
    } <= printed
    assert prove(Model(Suggested())).verdict is Verdict.HELD


def test_where_a_search_finds_the_property_broken_nothing_is_suggested() -> None:
    model = Model(Totalled(release_twice=True))
    found = suggestions(model, prove(model, ["CONS-1"]).obligations)
    assert ("CONS-1", ()) in [(each.invariant, each.conditions) for each in found]
    (conservation,) = [each for each in found if each.invariant == "CONS-1"]
    assert conservation.reason.startswith("a search breaks it after")


def test_what_is_not_inductive_is_not_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(condition: Any) -> list[Any]:  # noqa: ANN401 - z3 has no types
        parts = whole(condition)
        return parts[: len(parts) // 2]

    whole = spacer._parts
    monkeypatch.setattr(spacer, "_parts", halved)
    model = Model(Totalled())
    for each in suggestions(model, prove(model).obligations):
        assert not each.conditions
        assert each.reason == "what Spacer found is not inductive by itself"


def test_a_search_without_end_is_given_up_and_said_so() -> None:
    model = load_model("spot")
    (goal,) = [g for g in spacer.goals_of_model(model) if g.name == "no_overdraft"]
    found = spacer.suggest(model, goal, seconds=0.2)
    assert not found.conditions
    assert found.reason.startswith("Spacer")
