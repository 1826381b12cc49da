"""Every slice of the exchange: searched whole, walked, proved; and each planted bug refuted and found."""

from collections.abc import Callable

import pytest

from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.prove import prove
from holdfast_model.evidence import ObligationVerdict, Verdict
from holdfast_model.specs import PlantedBug, list_models, load_model
from holdfast_model.specs.exchange import SLICES

EXCHANGE = next(entry for entry in list_models() if entry.name == "exchange")

SEARCHED = {
    "trading": (13_088, 69_353, 12),
    "margin": (2_790_905, 32_443_123, 35),
    "custody": (1_720_916, 9_382_030, 40),
    "maintenance": (15_075, 52_315, 22),
    "replication": (77_890, 458_387, 30),
    "surge": (5_242, 21_895, 20),
    "trading+phases+recovery": (741_960, 2_227_761, 28),
    "trading+maintenance": (548_479, 1_902_179, 38),
    "trading+replication": (138_829, 354_629, 27),
    "margin+maintenance": (2_163_090, 7_741_821, 55),
    "custody+recovery": (531_709, 1_565_920, 51),
    "custody+maintenance": (1_396_169, 6_183_450, 51),
    "custody+replication": (611_352, 2_054_293, 42),
    "maintenance+replication": (337_406, 1_290_631, 28),
    "replication+surge": (715_022, 2_937_057, 29),
}
"""Distinct states, generated states and depth of each slice."""

TOO_SMALL_FOR = {
    "trading+replication": {"refuse_promotion"},  # one fault makes no standby stale while the primary is gone
    "margin+maintenance": {"insure"},  # with prices up to 2 no loss exceeds the collateral
}
"""Actions that a slice is searched at too small a size for; a smaller slice takes them."""

LONG_SEARCHES = {
    "trading+phases+recovery",
    "trading+maintenance",
    "margin+maintenance",
    "custody+recovery",
    "custody+maintenance",
    "custody+replication",
}
LONG_PROOFS = {"trading+replication", "custody+recovery", "custody+maintenance", "custody+replication"}


def slices(long: set[str]) -> list[object]:
    return [pytest.param(name, marks=[pytest.mark.deep] if name in long else []) for name in SLICES]


@pytest.mark.parametrize("name", slices(LONG_SEARCHES))
def test_a_slice_holds_everywhere_and_pins_its_states(name: str) -> None:
    found = explore(load_model(f"exchange:slice={name}"))
    assert (found.distinct, found.generated, found.depth) == SEARCHED[name]
    assert found.complete
    assert found.verdict is Verdict.HELD
    assert {a.action for a in found.actions if not a.taken} == TOO_SMALL_FOR.get(name, set())
    assert all(goal.states == len(goal.trace) > 1 for goal in found.goals)


@pytest.mark.parametrize("name", slices(LONG_PROOFS))
def test_every_formula_of_a_slice_is_proved_for_unbounded_integers(name: str) -> None:
    model = load_model(f"exchange:slice={name}")
    proof = prove(model)
    assert proof.verdict is Verdict.HELD
    assert {o.invariant for o in proof.obligations if not o.auxiliary} == set(model.invariants)
    assert {b.value for b in proof.bounds if b.name == "numbers in the state"} == {"unbounded integers"}


@pytest.mark.parametrize(
    "name",
    ["trading", "margin", "maintenance", "replication", "surge", pytest.param("custody", marks=pytest.mark.slow)],
)
def test_each_invariant_is_proved_alone_with_what_strengthens_it(name: str) -> None:
    model = load_model(f"exchange:slice={name}")
    for invariant in model.invariants:
        proof = prove(model, [invariant])
        assert proof.verdict is Verdict.HELD
        assert {o.invariant for o in proof.obligations if not o.auxiliary} == {invariant}


@pytest.mark.parametrize("name", SLICES)
def test_generated_code_and_interpreter_agree_on_a_slice(name: str, compare_on_walks: Callable[..., int]) -> None:
    assert compare_on_walks(load_model(f"exchange:slice={name}"), auxiliary=True, steps=30) >= 100


@pytest.mark.deep
def test_generated_code_and_interpreter_agree_on_the_whole_exchange(compare_on_walks: Callable[..., int]) -> None:
    model = load_model("exchange:slice=all,accounts=1,orders=1,products=1,requests=1,signers=2")
    assert compare_on_walks(model, auxiliary=False, walks=1, steps=10) >= 100


def test_every_goal_is_reached_in_some_slice() -> None:
    goals = {goal.invariant for goal in load_model("exchange:slice=all,amounts=3,prices=3").goals}
    assert goals == {goal.invariant for name in SLICES for goal in load_model(f"exchange:slice={name}").goals}


def bugs(long: set[str]) -> list[object]:
    return [
        pytest.param(bug, id=bug.name, marks=[pytest.mark.deep] if bug.slice in long else []) for bug in EXCHANGE.bugs
    ]


@pytest.mark.parametrize("bug", bugs({"custody+recovery", "margin+maintenance"}))
def test_a_planted_bug_is_refuted_at_its_action_only(bug: PlantedBug) -> None:
    model = load_model(f"exchange:slice={bug.slice},bug={bug.name}")
    proof = prove(model)
    assert proof.verdict is Verdict.VIOLATED
    refuted = [o for o in proof.obligations if o.verdict is ObligationVerdict.REFUTED]
    assert {o.action for o in refuted} == {bug.action}
    assert set(bug.breaks) <= {o.invariant for o in refuted}


@pytest.mark.parametrize("bug", bugs({"margin", "margin+maintenance", "custody", "custody+recovery"}))
def test_a_planted_bug_is_found_by_its_action(bug: PlantedBug) -> None:
    found = explore(load_model(f"exchange:slice={bug.slice},bug={bug.name}"), states_max=3_000_000)
    by_invariant = {v.invariant: v for v in found.violations}
    assert set(bug.breaks) <= by_invariant.keys()
    for invariant in bug.breaks:
        trace = by_invariant[invariant].trace
        assert bug.action in {state.action.partition("(")[0] for state in trace}
