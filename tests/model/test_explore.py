"""The explorer: exact counts, shortest traces, limits, ranges; and its generated code against the interpreter."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from holdfast_model.checkers.explore import _Search, explore
from holdfast_model.checkers.packing import packing_of
from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import Verdict
from holdfast_model.spec import Condition, Int, Model, Nat, Spec, State, action, always
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
    assert (found.distinct, found.generated, found.depth) == (247_320, 686_733, 25)
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
    }


@pytest.mark.parametrize(
    ("bug", "invariant", "path"),
    [
        ("restore", "CONS-1", ["init", "deposit", "crash", "restore"]),
        ("replay-twice", "CONS-1", ["init", "deposit", "crash", "restore"]),
        ("refund", "CONS-1", ["init", "deposit", "snapshot", "place", "snapshot", "cancel"]),
        ("overdraft", "CONS-2", ["init", "withdraw"]),
        ("place-while-halted", "PHASE-1", ["init", "deposit", "snapshot", "halt", "place"]),
    ],
)
def test_each_planted_bug_of_spot_has_its_shortest_trace(bug: str, invariant: str, path: list[str]) -> None:
    assert actions_of(f"spot:bug={bug}", invariant) == path


def test_auxiliary_invariants_hold_in_every_reachable_state() -> None:
    found = explore(load_model("spot:amounts=1"), auxiliary=True)
    assert found.verdict is Verdict.HELD
    assert found.distinct == 3_603
    assert "live-is-the-replay-of-the-log" in {p.invariant for p in found.properties}


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


def walked(model: Model, *, walks: int, steps: int, seed: int) -> list[State]:
    """States on random walks of the interpreter."""
    chance = random.Random(seed)  # noqa: S311 - a test's walk, not a secret
    states: dict[State, None] = {}
    for _ in range(walks):
        state = model.initial
        for _ in range(steps):
            states[state] = None
            following = [after for _, after in model.successors(state) if not model.outside(after)]
            if not following:
                break
            state = chance.choice(following)
    return list(states)


def assert_code_agrees(model: Model, states: Sequence[State], *, auxiliary: bool) -> int:
    """Compare guards, successors and properties of generated code with the interpreter's; how many successors."""
    properties = [p for p in model.properties if auxiliary or not p.auxiliary]
    search = _Search(model, properties, memory_bytes_max=1 << 30, states_max=None)
    packing = packing_of(model)
    packed = [packing.pack(state) for state in states]
    assert [packing.unpack(words) for words in packed] == list(states)
    words = [np.array(column, np.uint64) for column in zip(*packed, strict=True)]
    columns, guards, formulas = search.code.check(words)
    for declared, formula in zip(properties, formulas, strict=True):
        values = [formula] * len(states) if isinstance(formula, bool) else formula.tolist()
        assert values == [model.holds(declared, state) for state in states]
    compared = 0
    for number, (instance, guard) in enumerate(zip(search.instances, guards, strict=True)):
        enabled = np.full(len(states), guard) if isinstance(guard, bool) else guard
        expected = [model.step(instance, state, exploring=True) for state in states]
        assert enabled.tolist() == [after is not None for after in expected]
        indices = np.flatnonzero(enabled)
        if not indices.size:
            continue
        after_words, left_range = search.code.steps[number](words, columns, indices)
        for row, index in enumerate(indices.tolist()):
            after = expected[index]
            assert after is not None
            outside = bool(left_range is not None and left_range[row])
            assert outside == bool(model.outside(after))
            if not outside:
                assert packing.unpack(tuple(int(word[row]) for word in after_words)) == after
                compared += 1
    return compared


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("yardstick", 250),
        ("yardstick:orders=3,log=2", 250),
        ("yardstick:bug=restore", 250),
        ("spot:amounts=3", 250),
        ("spot:accounts=3,orders=3,log=2,amounts=4", 250),
        ("spot:bug=double-fill", 150),
        ("spot:bug=replay-twice", 100),
        ("spot:bug=overdraft", 150),
    ],
)
def test_generated_code_and_interpreter_agree_on_random_walks(model: str, least: int) -> None:
    loaded = load_model(model)
    states = walked(loaded, walks=2, steps=40, seed=20)
    assert assert_code_agrees(loaded, states, auxiliary=":" not in model) >= least


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
    assert 0 < found.distinct < 247_320
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
    with pytest.raises(HoldfastError, match="symmetry 'accounts' is not available for model yardstick"):
        explore(load_model("yardstick"), symmetry="accounts")


def test_two_searches_give_equal_evidence() -> None:
    assert explore(load_model("spot:bug=restore")) == explore(load_model("spot:bug=restore"))
