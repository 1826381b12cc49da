"""The bounded search: as deep as the explorer says, never greener than it knows, and never believing the solver."""

from typing import Self

import pytest

from holdfast_model.checkers import bound as bounded_search
from holdfast_model.checkers.bound import bound, bound_open
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.checkers.smt import Answer, PathReply, Unrolling
from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import BoundedOutcome, Verdict
from holdfast_model.spec import Bool, Condition, Int, Model, Nat, Spec, action, always, negation, sometimes, step
from holdfast_model.specs import load_model


@pytest.mark.parametrize(("name", "steps"), [("trading", 5), ("surge", 7)])
def test_the_shortest_sequences_to_goals_are_as_long_as_the_explorers(name: str, steps: int) -> None:
    model = load_model(f"exchange:slice={name}")
    found = bound(model, goals=model.goals, steps_max=20, until_goals=True)
    assert found.verdict is Verdict.HELD
    assert {g.goal: g.steps for g in found.goals} == {g.goal: g.states - 1 for g in explore(model).goals}
    assert {g.outcome for g in found.goals} == {BoundedOutcome.REACHED}
    assert all(len(g.trace) == g.steps + 1 for g in found.goals)
    assert max(g.steps for g in found.goals) == steps


@pytest.mark.parametrize(
    ("name", "steps_max"),
    [
        ("exchange:slice=trading,bug=double-fill", 5),
        ("exchange:slice=trading,bug=refund", 3),
        ("exchange:slice=recovery,bug=replay-twice", 3),
        ("exchange:slice=surge,bug=no-capacity", 4),
        ("exchange:slice=surge,bug=retry-twice", 7),
        ("exchange:slice=replication,bug=no-fence", 4),
        ("exchange:slice=maintenance,bug=barrier-skipped", 4),
    ],
)
def test_a_planted_bug_is_refuted_at_the_depth_at_which_the_explorer_finds_it(name: str, steps_max: int) -> None:
    model = load_model(name)
    explored = {v.property: v.states - 1 for v in explore(model).violations}
    found = bound(model, steps_max=steps_max)
    refuted = {p.property: p for p in found.properties if p.outcome is BoundedOutcome.REFUTED}
    assert {name: p.steps for name, p in refuted.items()} == {n: s for n, s in explored.items() if s <= steps_max}
    assert refuted
    assert found.verdict is Verdict.VIOLATED
    assert all(p.steps == found.steps for p in found.properties if p.outcome is BoundedOutcome.HELD)


def test_what_holds_is_held_within_the_printed_bound_only() -> None:
    model = load_model("exchange:slice=surge")
    found = bound(model, steps_max=5)
    assert found.verdict is Verdict.HELD
    assert found.steps == 5
    assert {p.outcome for p in found.properties} == {BoundedOutcome.HELD}
    assert {p.invariant for p in found.properties} == set(model.invariants)
    assert ("steps", "up to 5") in {(b.name, b.value) for b in found.bounds}
    assert not found.exhausted


def test_a_query_beyond_its_resources_is_unknown_and_not_green() -> None:
    model = load_model("exchange:slice=trading")
    found = bound(model, goals=model.goals, steps_max=4, resources=2_000)
    assert found.verdict is Verdict.INCONCLUSIVE
    unknown = [p for p in found.properties if p.outcome is BoundedOutcome.UNKNOWN]
    assert unknown
    assert {g.outcome for g in found.goals} <= {BoundedOutcome.UNKNOWN, BoundedOutcome.REACHED}
    assert all(p.reason.startswith(f"sequences of {p.steps + 1} steps: ") for p in unknown)
    assert not any(p.outcome is BoundedOutcome.REFUTED for p in found.properties)


def test_a_goal_beyond_the_bound_is_not_reached_and_not_green() -> None:
    model = load_model("exchange:slice=trading")
    found = bound(model, goals=model.goals, steps_max=4, until_goals=True)
    assert {g.goal: g.outcome for g in found.goals} == {
        "order-filled": BoundedOutcome.NOT_REACHED,
        "order-cancelled": BoundedOutcome.REACHED,
    }
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "a goal was not reached")


def test_without_anything_to_look_for_nothing_is_held() -> None:
    class Idle(Spec):
        on = Bool

        @action
        def turn(self) -> None:
            self.on = negation(self.on)

    assert bound(Model(Idle(sizes={})), steps_max=3).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("lie", ["the guard of", "the end of a path"])
def test_a_path_of_the_solver_is_never_believed(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    model = load_model("exchange:slice=surge")
    transitions = bounded_search._Bounded(
        model, [], [], exploring=True, ranges_assumed=False, assumed=[], resources=1
    ).instances
    name = "serve_order" if lie == "the guard of" else "send"
    number = next(n for n, each in enumerate(transitions) if each.action.name == name)

    def lying(self: Unrolling, *_: object) -> PathReply:
        found = Answer.SATISFIABLE if self.steps else Answer.UNSATISFIABLE
        return PathReply(found, ((number, {}),), "")

    monkeypatch.setattr(Unrolling, "find", lying)
    with pytest.raises(AssertionError, match=f"solver and interpreter disagree (on|about) {lie}"):
        bound(model, goals=model.goals, steps_max=1)


class Counter(Spec):
    """Counts by two up to a limit, and says that it never shows an odd number."""

    count = Nat.upto(9)
    stopped = Bool

    @action
    def add(self) -> None:
        """Two more."""
        self.require(self.count < 8, negation(self.stopped))
        self.count += 2

    @action
    def stop(self) -> None:
        """No more."""
        self.require(self.count == 4, negation(self.stopped))
        self.stopped = True

    @always("CONS-1")
    def never_nine(self) -> Condition:
        """It is never nine: true, and no state alone says why."""
        return self.count != 9

    @step("FINAL-3")
    def only_grows(self, after: Self) -> Condition:
        """It never shrinks."""
        return self.count <= after.count

    @sometimes("stopped-at-four")
    def stopped_at_four(self) -> Condition:
        """It stopped at four."""
        return self.stopped

    @sometimes("odd")
    def odd(self) -> Condition:
        """It is odd, which never happens."""
        return self.count == 3


def test_sequences_that_all_end_are_exhausted() -> None:
    model = Model(Counter(sizes={}))
    found = bound(model, steps_max=7)
    assert (found.verdict, found.exhausted) == (Verdict.HELD, True)
    found = bound(model, goals=model.goals, steps_max=3)
    assert not found.exhausted
    assert {g.goal: (g.outcome, g.steps) for g in found.goals} == {
        "stopped-at-four": (BoundedOutcome.REACHED, 3),
        "odd": (BoundedOutcome.NOT_REACHED, 3),
    }


def test_a_broken_step_is_refuted_with_the_step_that_breaks_it() -> None:
    class Resetting(Counter):
        @action
        def reset(self) -> None:
            self.require(self.count == 6)
            self.count = 1

    model = Model(Resetting(sizes={}))
    found = bound(model, steps_max=4)
    (broken,) = [p for p in found.properties if p.outcome is BoundedOutcome.REFUTED]
    assert (broken.invariant, broken.steps) == ("FINAL-3", 4)
    assert [state.action for state in broken.trace] == ["init", "add", "add", "add", "reset"]
    assert {v.property: v.states for v in explore(model).violations} == {"only_grows": 5}


def test_a_number_that_leaves_its_range_and_breaks_nothing_is_an_error_as_in_a_search() -> None:
    class Growing(Spec):
        size = Nat.upto(2)

        @action
        def grow(self) -> None:
            self.size += 1

        @always("CONS-1")
        def anything(self) -> Condition:
            """It is not below zero."""
            return self.size >= 0

    model = Model(Growing(sizes={}))
    message = r"`size` becomes 3; expected a value within 0\.\.2 \(reached by init -> grow -> grow -> grow\)"
    with pytest.raises(SpecError, match=message):
        bound(model, steps_max=5)
    assert bound(model, steps_max=5, exploring=False).verdict is Verdict.HELD


def test_over_unbounded_integers_a_number_below_zero_is_refuted() -> None:
    class Draining(Spec):
        left = Int
        taken = Nat.starting(2)

        @action
        def take(self) -> None:
            self.taken -= 1

        @always("CONS-2")
        def anything(self) -> Condition:
            """Something that holds."""
            return self.left == 0

    found = bound(Model(Draining(sizes={})), steps_max=5, exploring=False)
    assert {p.invariant: (p.outcome, p.steps) for p in found.properties} == {
        "CONS-2": (BoundedOutcome.HELD, 5),
        "declared-ranges": (BoundedOutcome.REFUTED, 3),
    }


def test_a_model_of_any_size_needs_a_size() -> None:
    with pytest.raises(HoldfastError, match="any number of accounts; a bounded search needs a number of them"):
        bound(load_model("exchange:slice=trading").with_any_number_of("accounts"), steps_max=1)


def test_what_induction_refutes_from_a_state_out_of_reach_no_sequence_shows() -> None:
    model = Model(Counter(sizes={}))
    proof = prove(model)
    assert proof.verdict is Verdict.VIOLATED
    found = bound_open(model, proof, steps_max=6)
    assert found is not None
    assert [(p.invariant, p.outcome) for p in found.properties] == [("CONS-1", BoundedOutcome.HELD)]
    assert found.assumed == ("declared-ranges",)


def test_what_induction_refutes_is_shown_from_the_first_state_over_unbounded_integers() -> None:
    model = load_model("exchange:slice=trading,bug=double-fill")
    proof = prove(model)
    found = bound_open(model, proof, steps_max=5)
    assert found is not None
    refuted = {p.invariant: p for p in found.properties if p.outcome is BoundedOutcome.REFUTED}
    assert {"FINAL-1", "FINAL-2", "FINAL-3"} <= refuted.keys()
    assert refuted["FINAL-3"].trace[-1].action.startswith("trade(")
    assert {"CONS-1", "CONS-2", "slots-are-taken-in-order", "declared-ranges"} <= set(found.assumed)


def test_a_proof_that_leaves_nothing_open_needs_no_bounded_search() -> None:
    model = load_model("exchange:slice=surge")
    assert bound_open(model, prove(model), steps_max=3) is None
