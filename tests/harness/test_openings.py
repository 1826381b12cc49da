"""Openings: each is a way of its model to its goal that the exchange goes, and machines start from it."""

from pathlib import Path

import msgspec
import pytest

from holdfast.engine import LocalEngine
from holdfast.engines import EngineSource
from holdfast.linking.following import path_of
from holdfast.machines import run_machine
from holdfast.openings import Way, collected, openings, openings_for, openings_like, play, ways
from holdfast.setups import AUCTION_SETUP, CUSTODY_SETUP, MARGIN_SETUP, OPERATIONS_SETUP, SMALL_SETUP
from holdfast_engine.faults import fault_by_name
from holdfast_model.errors import HoldfastError
from holdfast_model.specs import goal_models, load_model
from holdfast_model.vocabulary import Capability

ALL = frozenset(Capability)
SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


@pytest.mark.parametrize("way", ways(), ids=lambda way: way.goal)
def test_a_way_is_a_path_of_the_model_that_its_goal_lives_in_and_ends_at_the_goal(way: Way) -> None:
    assert load_model(goal_models()[way.goal]).name == load_model(way.model).name
    model = load_model(way.model)
    goal = next(each for each in model.goals if each.invariant == way.goal)
    states = [model.initial]
    for instance in path_of(model, way.actions):
        after = model.step(instance, states[-1])
        assert after is not None, instance.label
        states.append(after)
    reached = [model.holds(goal, state) for state in states]
    assert reached == [False] * len(way.actions) + [True], "the goal is at the end of it, and nowhere before"


def test_most_goals_have_an_opening_and_the_healthy_exchange_survives_each() -> None:
    assert len(openings()) >= 30
    assert len({opening.goal for opening in openings()}) == len(openings()) <= len(goal_models())
    for opening in openings():
        assert play(LocalEngine(), opening).violations == [], opening.goal


def test_an_engine_gets_what_it_can_do_and_a_setup_what_is_of_its_parts() -> None:
    little = frozenset({Capability.LIMIT_ORDERS, Capability.FUNDS})
    assert {opening.goal for opening in openings_for(little)} >= {"order-cancelled", "order-filled"}
    assert all(opening.setup.custody is None and opening.setup.margin is None for opening in openings_for(little))
    assert openings_for(frozenset()) == ()
    for setup in (SMALL_SETUP, MARGIN_SETUP, OPERATIONS_SETUP, CUSTODY_SETUP):
        found = openings_like(setup, ALL)
        assert found
        assert all((opening.setup.custody is None) == (setup.custody is None) for opening in found)
    assert openings_like(AUCTION_SETUP, ALL) == ()


@pytest.mark.parametrize(
    ("fault", "goal"),
    [
        ("insurance-unpaid", "insurance-paid"),
        ("stale-replica-promoted", "stale-promotion-refused-then-done"),
        ("mismatch-without-halt", "final-deposit-reorganised"),
    ],
)
def test_a_fault_that_chance_takes_long_to_meet_is_on_the_way_to_a_goal(fault: str, goal: str) -> None:
    planted = fault_by_name(fault)
    opening = next(each for each in openings() if each.goal == goal)
    shown = play(LocalEngine(parts=planted.parts), opening)
    assert {item.invariant for item in shown.violations} & set(planted.violates)


def test_a_machine_starts_from_them_and_says_on_which_setup_it_failed() -> None:
    with EngineSource("fault:insurance-unpaid") as source:
        outcome = run_machine(source, setup=MARGIN_SETUP, seed=1, examples=0, steps=1)
    assert {item.invariant for item in outcome.shown} == {"ADL-1"}
    assert outcome.setup in {opening.setup for opening in openings()}
    assert outcome.setup != MARGIN_SETUP


def test_ways_are_collected_from_what_witness_wrote() -> None:
    found = collected([SAMPLE])
    assert {way.goal for way in found} <= {way.goal for way in ways()}
    assert all(way in ways() for way in found)


def test_a_way_that_the_model_does_not_go_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ways()[0]
    wrong = msgspec.structs.replace(first, actions=first.actions[1:])
    monkeypatch.setattr("holdfast.openings.ways", lambda: (wrong,))
    openings.cache_clear()
    with pytest.raises(HoldfastError, match=f"the way to {first.goal} ends at"):
        openings()
    openings.cache_clear()
