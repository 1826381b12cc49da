"""The explorer: exact counts, shortest traces, limits, ranges; and its generated code against the interpreter."""

from collections.abc import Callable
from typing import Self

import pytest

from holdfast_model.checkers.explore import Deadlocks, explore
from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import Verdict
from holdfast_model.spec import (
    Bool,
    Condition,
    Int,
    Model,
    Nat,
    Response,
    Spec,
    State,
    action,
    all_of,
    always,
    eventually,
    minimum,
    negation,
    sometimes,
    step,
)
from holdfast_model.specs import load_model


def actions_of(model: str, invariant: str) -> list[str]:
    violation = next(v for v in explore(load_model(model)).violations if v.invariant == invariant)
    assert violation.states == len(violation.trace)
    return [state.action.partition("(")[0] for state in violation.trace]


def test_the_yardstick_has_exactly_the_states_that_other_checkers_count() -> None:
    found = explore(load_model("yardstick"))
    assert (found.distinct, found.generated, found.depth) == (1_482_570, 3_790_147, 39)
    assert found.complete
    assert found.verdict is Verdict.HELD
    assert found.collision_probability == 0
    assert found.deadlocks == 0
    assert {p.invariant for p in found.properties} == {"CONS-1", "CONS-2", "FINAL-1", "FINAL-3"}
    assert {p.states for p in found.properties} == {1_482_570}
    assert sum(a.taken for a in found.actions) == found.generated - 1
    assert all(a.taken for a in found.actions)


@pytest.mark.slow
def test_the_yardstick_with_a_log_of_two_has_the_states_that_plain_python_counts() -> None:
    found = explore(load_model("yardstick:log=2"))
    assert (found.distinct, found.generated, found.depth) == (9_359_052, 25_069_991, 31)
    assert found.verdict is Verdict.HELD


def test_a_restore_that_drops_the_log_is_found_with_shortest_traces() -> None:
    found = explore(load_model("yardstick:bug=restore"))
    assert found.verdict is Verdict.VIOLATED
    assert {v.invariant: v.states for v in found.violations} == {"CONS-1": 4, "FINAL-1": 6, "FINAL-3": 8}
    conservation = found.violations[0]
    assert [state.action for state in conservation.trace][2:] == ["crash", "restore"]
    assert conservation.trace[0].action == "init"
    last = conservation.trace[-1].state
    assert last["mode"] == "halted"
    held = sum(int(value) for name, value in last.items() if name.startswith(("live.free", "live.held")))
    assert held != int(last["outside[B]"]) + int(last["outside[Q]"])
    filled = found.violations[-1].trace
    assert filled[3].action == "place(u1, sell, price=1, size=1)"


def test_spot_holds_and_pins_its_states() -> None:
    found = explore(load_model("spot"))
    assert (found.distinct, found.generated, found.depth) == (741_960, 2_227_761, 28)
    assert found.verdict is Verdict.HELD
    assert all(a.taken for a in found.actions)
    assert {b.name: b.value for b in found.bounds} == {
        "accounts": "2",
        "orders": "2",
        "commands in the log": "1",
        "amount": "1..2",
        "price": "1..2",
        "size": "1..2",
        "on the exchange, of each asset": "at most 2",
        "assets deposited": "both",
        "faults": "as many as there can be",
    }


@pytest.mark.parametrize(
    ("bug", "invariant", "path"),
    [
        ("restore", "CONS-1", ["init", "deposit", "crash", "restore"]),
        ("replay-twice", "CONS-1", ["init", "deposit", "crash", "restore"]),
        ("refund", "CONS-1", ["init", "deposit", "snapshot", "place", "snapshot", "cancel"]),
        ("overdraft", "CONS-2", ["init", "withdraw"]),
        ("place-while-halted", "PHASE-1", ["init", "deposit", "restrict", "snapshot", "place"]),
    ],
)
def test_each_planted_bug_of_spot_has_its_shortest_trace(bug: str, invariant: str, path: list[str]) -> None:
    assert actions_of(f"spot:bug={bug}", invariant) == path


def test_auxiliary_invariants_hold_in_every_reachable_state() -> None:
    found = explore(load_model("spot:amounts=1"), auxiliary=True)
    assert found.verdict is Verdict.HELD
    assert found.distinct == 10_809
    assert "standing-is-as-told" in {p.invariant for p in found.properties}


def test_the_search_reports_each_level() -> None:
    levels: list[tuple[int, int, int]] = []
    found = explore(load_model("spot:accounts=1,orders=1"), progress=lambda *level: levels.append(level))
    assert levels[0] == (1, 7, 7)  # four deposits, a crash, a halt, and the first state
    assert levels[-1] == (found.depth, found.distinct, found.generated)
    assert [level for level, _, _ in levels] == list(range(1, found.depth + 1))


@pytest.mark.parametrize("model", ["spot:accounts=1,orders=1,amounts=1", "spot:orders=1,amounts=1"])
def test_a_plain_search_with_the_interpreter_counts_the_same(model: str) -> None:
    loaded = load_model(model)
    found = explore(loaded)
    assert interpreted_levels(loaded, levels_max=100)[-1] == (found.depth, found.distinct, found.generated)


def test_the_first_levels_of_the_yardstick_are_the_interpreters() -> None:
    loaded = load_model("yardstick:orders=1")
    levels: list[tuple[int, int, int]] = []
    explore(loaded, progress=lambda *level: levels.append(level))
    assert interpreted_levels(loaded, levels_max=5) == levels[:5]


def interpreted_levels(model: Model, *, levels_max: int) -> list[tuple[int, int, int]]:
    """(level, distinct, generated) after each level of a breadth-first search that only interprets."""
    seen = {model.initial}
    frontier = [model.initial]
    generated = 1
    levels: list[tuple[int, int, int]] = []
    while frontier and len(levels) < levels_max:
        following: list[State] = []
        for state in frontier:
            for _, after in model.successors(state):
                generated += 1
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        frontier = following
        levels.append((len(levels) + 1, len(seen), generated))
    return levels


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("yardstick", 150),
        ("yardstick:orders=3,log=2", 200),
        ("yardstick:bug=restore", 200),
        ("spot:amounts=3", 200),
        ("spot:accounts=3,orders=3,log=2,amounts=4", 250),
        ("spot:bug=double-fill", 100),
        ("spot:bug=replay-twice", 60),
        ("spot:bug=overdraft", 100),
    ],
)
def test_generated_code_and_interpreter_agree_on_random_walks(
    model: str, least: int, compare_on_walks: Callable[..., int]
) -> None:
    assert compare_on_walks(load_model(model), auxiliary=":" not in model) >= least


class Counter(Spec):
    """Goes up by two; what it may hold and where it must stop are parameters."""

    value = Nat.upto(lambda spec: spec.holds)
    never = Int.between(-300, 40_000)

    def __init__(self, *, holds: int, stops: int) -> None:
        super().__init__(sizes={})
        self.holds = holds
        self.stops = stops

    @action
    def advance(self) -> None:
        """Two more."""
        self.require(self.value < self.stops)
        self.value += 2
        self.never = self.never + 100 * self.value - 50

    @action
    def sleep(self) -> None:
        """Something that never happens."""
        self.require(self.value == 1)

    @always("CONS-1")
    def is_below_ten(self) -> Condition:
        """The value is less than 10."""
        return self.value < 10


def test_a_deadlock_and_an_action_that_is_never_enabled_are_counted() -> None:
    found = explore(Model(Counter(holds=20, stops=8)))
    assert (found.distinct, found.generated, found.depth, found.deadlocks) == (5, 5, 5, 1)
    assert {a.action: a.taken for a in found.actions} == {"advance": 4, "sleep": 0}
    assert found.verdict is Verdict.HELD


def test_a_deadlock_is_a_violation_where_it_is_asked_for() -> None:
    found = explore(Model(Counter(holds=20, stops=8)), deadlocks=Deadlocks.VIOLATION)
    assert found.verdict is Verdict.VIOLATED
    (violation,) = found.violations
    assert (violation.invariant, violation.property) == ("DEADLOCK", "may_end")
    assert [s.state["value"] for s in violation.trace] == ["0", "2", "4", "6", "8"]
    assert violation.trace == found.deadlock


class Ending(Counter):
    """May rest at 8 and nowhere else."""

    def may_end(self) -> Condition:
        return self.value == 8


@pytest.mark.parametrize(
    ("stops", "deadlocks", "stuck", "verdict"),
    [
        (8, Deadlocks.DECLARED, 0, Verdict.HELD),
        (8, Deadlocks.VIOLATION, 0, Verdict.HELD),
        (6, Deadlocks.DECLARED, 1, Verdict.VIOLATED),
        (6, Deadlocks.VIOLATION, 1, Verdict.VIOLATED),
        (6, Deadlocks.REPORT, 1, Verdict.HELD),
    ],
)
def test_an_end_that_the_spec_declares_is_no_deadlock(
    stops: int, deadlocks: Deadlocks, stuck: int, verdict: Verdict
) -> None:
    found = explore(Model(Ending(holds=20, stops=stops)), deadlocks=deadlocks)
    assert (found.deadlocks, found.verdict) == (stuck, verdict)
    assert len(found.deadlock) == (4 if stuck else 0)
    judged = {row.invariant for row in found.properties}
    assert judged == ({"CONS-1"} if deadlocks is Deadlocks.REPORT else {"CONS-1", "DEADLOCK"})


class Pit(Spec):
    """Breaks its property at once, and has no step left somewhat later."""

    value = Nat.upto(3)
    spoilt = Bool

    def __init__(self) -> None:
        super().__init__(sizes={})

    @action
    def spoil(self) -> None:
        """Now it is broken."""
        self.require(self.value == 0)
        self.spoilt = True

    @action
    def climb(self) -> None:
        """One more, up to three."""
        self.require(self.value < 3)
        self.value += 1

    @always("CONS-1")
    def is_not_spoilt(self) -> Condition:
        """It is not broken."""
        return negation(self.spoilt)


def test_the_search_goes_on_for_a_deadlock_when_all_else_is_broken() -> None:
    found = explore(Model(Pit()), deadlocks=Deadlocks.VIOLATION)
    assert {v.invariant: v.states for v in found.violations} == {"CONS-1": 2, "DEADLOCK": 4}
    assert explore(Model(Pit())).stopped_by == "every property is violated"


def test_a_state_that_breaks_a_property_is_reported_and_not_expanded() -> None:
    found = explore(Model(Counter(holds=20, stops=18)))
    assert found.verdict is Verdict.VIOLATED
    assert found.distinct == 6
    assert [s.state["value"] for s in found.violations[0].trace] == ["0", "2", "4", "6", "8", "10"]


def test_a_value_that_leaves_its_range_and_breaks_a_property_is_that_violation() -> None:
    found = explore(Model(Counter(holds=9, stops=18)))
    assert [s.state["value"] for s in found.violations[0].trace] == ["0", "2", "4", "6", "8", "10"]
    assert found.distinct == 5


def test_a_value_that_leaves_its_range_otherwise_is_refused_with_line_and_path() -> None:
    with pytest.raises(
        SpecError,
        match=r"test_explore\.py:\d+: `value` becomes 6 in step advance; expected a value within 0\.\.5 "
        r"\(reached by init -> advance -> advance -> advance\)",
    ):
        explore(Model(Counter(holds=5, stops=8)))


def test_a_variable_without_a_range_cannot_be_explored() -> None:
    class Unbounded(Spec):
        value = Nat

        def __init__(self) -> None:
            super().__init__(sizes={})

        @action
        def advance(self) -> None:
            """One more."""
            self.value += 1

    with pytest.raises(HoldfastError, match=r"`value` has no finite range; to explore Unbounded it needs one"):
        explore(Model(Unbounded()))


def test_a_limit_of_states_stops_cleanly_and_concludes_nothing() -> None:
    found = explore(load_model("spot"), states_max=10_000)
    assert found.distinct == 10_000
    assert {p.states for p in found.properties} == {10_000}
    assert not found.complete
    assert found.stopped_by == "limit of 10000 states"
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_limit_of_memory_stops_cleanly_and_concludes_nothing() -> None:
    found = explore(load_model("spot"), memory_bytes_max=1_000_000)
    assert 0 < found.distinct < 741_960
    assert not found.complete
    assert found.stopped_by == "memory limit of 1000000 bytes"
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_violation_found_before_a_limit_still_counts() -> None:
    found = explore(load_model("yardstick:bug=restore"), states_max=10_000)
    assert found.verdict is Verdict.VIOLATED
    assert not found.complete


def test_without_a_property_nothing_is_concluded() -> None:
    class Silent(Spec):
        value = Nat.upto(2)

        def __init__(self) -> None:
            super().__init__(sizes={})

        @action
        def advance(self) -> None:
            """One more, up to two."""
            self.require(self.value < 2)
            self.value += 1

    found = explore(Model(Silent()))
    assert found.complete
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_symmetry_that_a_model_does_not_have_is_refused() -> None:
    with pytest.raises(
        HoldfastError, match="symmetry 'clients' is not available for model yardstick; expected one of: acc"
    ):
        explore(load_model("yardstick"), symmetry="clients")


def test_two_searches_give_equal_evidence() -> None:
    assert explore(load_model("spot:bug=restore")) == explore(load_model("spot:bug=restore"))


class Lamp(Spec):
    """A lamp that goes on and off, counts, and once broken stays dark."""

    on = Bool
    broken = Bool
    switched = Nat.upto(3)

    def __init__(self, *, breaks: bool = False, skips: bool = False) -> None:
        super().__init__(sizes={})
        self.breaks = breaks
        self.skips = skips

    @action
    def switch(self) -> None:
        """On if it was off, off if it was on."""
        self.require(negation(self.broken))
        self.on = negation(self.on)
        self.switched = minimum(self.switched + (2 if self.skips else 1), 3)

    @action
    def drop(self) -> None:
        """It falls."""
        self.require(negation(self.broken))
        self.on = False
        if self.breaks:
            self.broken = True

    @step("FINAL-3")
    def counts_by_one(self, after: Self) -> Condition:
        """No step counts more than one."""
        return after.switched <= self.switched + 1

    @sometimes("lit-twice")
    def lit_twice(self) -> Condition:
        """It is on for the second time."""
        return all_of(self.on, self.switched >= 3)

    @eventually("LIVE-1")
    def can_be_lit(self) -> Response:
        """It can always be lit again."""
        return Response(whenever=negation(self.on), then=self.on)


def test_goals_steps_and_eventualities_hold() -> None:
    found = explore(Model(Lamp()))
    assert found.verdict is Verdict.HELD
    (goal,) = found.goals
    assert (goal.goal, goal.states, goal.sentence) == ("lit-twice", 4, "It is on for the second time.")
    assert [state.action for state in goal.trace] == ["init", "switch", "switch", "switch"]
    assert {(p.invariant, p.states) for p in found.properties} == {("FINAL-3", 7), ("LIVE-1", 7)}


def test_a_step_that_breaks_a_property_of_steps_is_reported_with_both_states() -> None:
    found = explore(Model(Lamp(skips=True)))
    assert found.verdict is Verdict.VIOLATED
    (violation,) = found.violations
    assert (violation.invariant, violation.property) == ("FINAL-3", "counts_by_one")
    assert [state.state["switched"] for state in violation.trace] == ["0", "2"]
    assert found.distinct == 1


def test_an_end_that_is_out_of_reach_is_reported_with_the_way_to_where_it_is() -> None:
    found = explore(Model(Lamp(breaks=True)))
    assert found.verdict is Verdict.VIOLATED
    (violation,) = found.violations
    assert violation.invariant == "LIVE-1"
    assert [state.action for state in violation.trace] == ["init", "drop"]


def test_an_eventuality_is_not_decided_when_the_search_stops_early() -> None:
    found = explore(Model(Lamp(breaks=True)), states_max=2)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found.violations


def test_a_goal_that_is_never_reached_leaves_the_verdict_open() -> None:
    class Dark(Lamp):
        @sometimes("lit-while-broken")
        def lit_while_broken(self) -> Condition:
            """It is broken and on."""
            return all_of(self.broken, self.on)

    found = explore(Model(Dark()))
    assert found.complete
    assert not found.violations
    assert {goal.goal: goal.states for goal in found.goals} == {"lit-twice": 4, "lit-while-broken": 0}
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_goal_is_left_to_models_that_are_large_enough_for_it() -> None:
    class Dim(Lamp):
        @sometimes("broken", meant_for=lambda spec: spec.breaks)
        def is_broken(self) -> Condition:
            """It is broken."""
            return self.broken

    assert [goal.goal for goal in explore(Model(Dim())).goals] == ["lit-twice"]
    assert [goal.goal for goal in explore(Model(Dim(breaks=True))).goals] == ["lit-twice", "broken"]


def test_what_a_broken_step_leads_to_is_judged_and_not_expanded() -> None:
    class Counted(Lamp):
        @always("CONS-1")
        def counts_little(self) -> Condition:
            """It counts less than two."""
            return self.switched <= 1

    found = explore(Model(Counted(skips=True)))
    assert {v.invariant: v.states for v in found.violations} == {"FINAL-3": 2, "CONS-1": 2}
