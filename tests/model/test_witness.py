"""Shortest sequences to goals: by the search or the solver, never shorter elsewhere, and none where there is none."""

from collections.abc import Sequence

import pytest

from holdfast_model.checkers.avoiding import Avoiding
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.witness import Hunt, Limits, names_of
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Method, TraceState, Verdict, Witness, WitnessedGoal
from holdfast_model.spec import Condition, Model, Nat, Spec, action, always, sometimes
from holdfast_model.specs import goal_models, load_model

COMBINED = {
    "maintenance": ("crash-in-maintenance", "maintenance-aborted", "failover-in-maintenance"),
    "failover": ("failover-with-a-log", "stale-promotion-refused-then-done", "failover-in-maintenance"),
    "surge": ("order-shed-for-a-cancel", "shed-order-retried-across-a-failover"),
    "dependency outage": ("deposit-orphaned-while-the-provider-was-down", "provider-down-in-maintenance"),
    "custody across failover": ("failover-during-a-partly-signed-withdrawal", "failover-while-the-provider-was-down"),
}


def hunted(model: Model, goals: Sequence[str] = (), limits: Limits | None = None) -> Hunt:
    hunt = Hunt(limits or Limits(), lambda _: None)
    hunt.run(model, goals or [goal.invariant for goal in model.goals])
    return hunt


def by_name(hunt: Hunt) -> dict[str, WitnessedGoal]:
    return {goal.goal: goal for goal in hunt.result().goals}


def follows(model: Model, trace: Sequence[TraceState]) -> bool:
    """Whether the interpreter can take the steps of a trace."""
    state = model.initial
    labels = {instance.label: instance for instance in model.instances()}
    for shown in trace[1:]:
        after = model.step(labels[shown.action], state, exploring=True)
        if after is None or model.show(after) != shown.state:
            return False
        state = after
    return True


def test_there_are_goals_for_every_trouble_and_each_has_its_sentence() -> None:
    homes = goal_models()
    assert len(homes) >= 25
    assert {goal for goals in COMBINED.values() for goal in goals} <= homes.keys()
    for model in set(homes.values()):
        for goal in load_model(model).goals:
            assert goal.sentence.endswith(".")


@pytest.mark.parametrize("name", ["trading", "maintenance", "replication", "surge", "maintenance+replication"])
def test_a_search_that_ends_with_the_last_goal_finds_the_same_steps_as_a_whole_one(name: str) -> None:
    model = load_model(f"exchange:slice={name}")
    hunt = hunted(model)
    whole = explore(model)
    found = by_name(hunt)
    assert {goal: each.steps for goal, each in found.items()} == {g.goal: g.states - 1 for g in whole.goals}
    assert {each.method for each in found.values()} == {Method.EXPLORE}
    (searched,) = hunt.result().searched
    assert searched.stopped_by == "every goal is reached"
    assert searched.distinct < whole.distinct
    assert hunt.verdict() is Verdict.HELD
    assert all(follows(model, witness.trace) for witness in hunt.witnesses())


def test_where_the_search_meets_its_limit_the_solver_finds_what_the_search_would_have() -> None:
    model = load_model("exchange:slice=surge")
    whole = by_name(hunted(model))
    limited = hunted(model, limits=Limits(states_max=300))
    found = by_name(limited)
    assert {goal: each.steps for goal, each in found.items()} == {goal: each.steps for goal, each in whole.items()}
    assert found["shed-then-accepted"].method is Method.BOUND
    assert limited.verdict() is Verdict.HELD
    assert all(follows(model, witness.trace) for witness in limited.witnesses())


def test_a_goal_beyond_both_limits_is_inconclusive_and_says_how_far_was_looked() -> None:
    found = hunted(load_model("exchange:slice=surge"), ["shed-then-accepted"], Limits(states_max=50, steps_max=5))
    (goal,) = found.result().goals
    assert (goal.method, goal.steps, goal.actions) == (None, 0, ())
    assert goal.reason == ("the search stopped by limit of 50 states, and no sequence of up to 5 steps reaches it")
    assert found.verdict() is Verdict.INCONCLUSIVE


def test_a_solver_without_resources_leaves_a_goal_unknown() -> None:
    limits = Limits(states_max=50, steps_max=7, resources=1)
    found = hunted(load_model("exchange:slice=surge"), ["shed-then-accepted"], limits)
    (goal,) = found.result().goals
    assert goal.method is None
    assert "; sequences of " in goal.reason
    assert found.verdict() is Verdict.INCONCLUSIVE


class Walk(Spec):
    """Counts up by one or two."""

    at = Nat.upto(6)

    @action
    def one(self) -> None:
        """One more."""
        self.require(self.at < 6)
        self.at += 1

    @action
    def two(self) -> None:
        """Two more."""
        self.require(self.at < 5)
        self.at += 2

    @always("CONS-1")
    def in_bounds(self) -> Condition:
        """It stays within its bounds."""
        return self.at <= 6

    @sometimes("at-four")
    def at_four(self) -> Condition:
        """It is four."""
        return self.at == 4

    @sometimes("at-seven")
    def at_seven(self) -> Condition:
        """It is seven, which nothing reaches."""
        return self.at == 7


def test_an_unreachable_goal_is_inconclusive_and_named() -> None:
    found = hunted(Model(Walk(sizes={})))
    goals = by_name(found)
    assert goals["at-four"].method is Method.EXPLORE
    assert goals["at-seven"].method is None
    assert goals["at-seven"].reason == "none of the 7 states that the model can reach is one"
    assert found.verdict() is Verdict.INCONCLUSIVE


def test_nothing_sought_is_inconclusive() -> None:
    assert Hunt(Limits(), lambda _: None).verdict() is Verdict.INCONCLUSIVE


def test_an_interrupted_hunt_is_inconclusive_and_keeps_what_it_found() -> None:
    limits = Limits(sequences=3)
    said: list[str] = []

    def interrupt(message: str) -> None:
        said.append(message)
        if message.startswith("witness: another sequence"):
            raise KeyboardInterrupt

    hunt = Hunt(limits, interrupt)
    with pytest.raises(KeyboardInterrupt):
        hunt.run(Model(Walk(sizes={})), ["at-four"])
    hunt.interrupted = True
    assert hunt.verdict() is Verdict.INCONCLUSIVE
    assert [goal.steps for goal in hunt.result().goals] == [2]
    assert said[0] == "witness: searching Walk for 1 goals"


def test_a_goal_that_a_model_has_not_is_refused() -> None:
    with pytest.raises(HoldfastError, match="has no goal 'at-five'; it has: at-four, at-seven"):
        hunted(Model(Walk(sizes={})), ["at-five"])


def test_further_sequences_differ_by_names_and_begin_with_none_before() -> None:
    found = hunted(Model(Walk(sizes={})), ["at-four"], Limits(sequences=9))
    names = [names_of(witness.trace) for witness in found.witnesses()]
    assert names[0] == ("two", "two")
    assert sorted(names[1:4]) == [("one", "one", "two"), ("one", "two", "one"), ("two", "one", "one")]
    assert names[4:] == [("one", "one", "one", "one")]
    assert [len(other.actions) for other in by_name(found)["at-four"].others] == [3, 3, 3, 4]
    assert [set(state.state) for state in found.witnesses()[1].trace] == [{"at"}] * 4


def test_generated_code_and_interpreter_agree_on_a_model_that_avoids_sequences() -> None:
    model = load_model("exchange:slice=trading")
    goal = next(g for g in model.goals if g.invariant == "order-cancelled")
    avoiding = Avoiding(model, goal, [("deposit", "place", "cancel")])
    found = explore(avoiding, until_goals=True)
    assert found.goals[0].states == 5
    names = names_of(found.goals[0].trace)
    assert names != ("deposit", "place", "cancel")
    assert names[:3] != ("deposit", "place", "cancel")


def test_what_breaks_on_the_way_to_a_goal_is_a_violation() -> None:
    found = hunted(load_model("exchange:slice=trading,bug=overdraft"), ["order-filled"])
    assert found.verdict() is Verdict.VIOLATED
    assert {v.invariant for searched in found.result().searched for v in searched.violations} == {"CONS-2"}


def test_the_same_hunt_gives_the_same_evidence_and_times_each_goal() -> None:
    model = load_model("exchange:slice=surge")
    one, other = hunted(model), hunted(model)
    assert one.result() == other.result()
    assert {f"goal:{goal.invariant}" for goal in model.goals} <= one.timing.keys()
    assert not any(goal.replayed for goal in one.result().goals)
    assert {goal.not_replayed_because for goal in one.result().goals} == {
        "only the interpreter of the specification took its steps"
    }


@pytest.fixture(scope="module")
def every_goal() -> Hunt:
    """All goals of the exchange, each looked for where it lives."""
    hunt = Hunt(Limits(), lambda _: None)
    homes = goal_models()
    for model in dict.fromkeys(homes.values()):
        hunt.run(load_model(model), [goal for goal, home in homes.items() if home == model])
    return hunt


@pytest.mark.slow
def test_every_goal_of_the_exchange_is_reached(every_goal: Hunt) -> None:
    assert every_goal.verdict() is Verdict.HELD
    assert {goal.goal for goal in every_goal.result().goals} == goal_models().keys()


SHOWN = {
    "maintenance-completed-with-funds": ("deposit", "begin_maintenance", "deploy", "end_maintenance"),
    "crash-in-maintenance": ("begin_maintenance", "crash", "restore", "open"),
    "failover-in-maintenance": ("begin_maintenance", "promote", "open"),
    "shed-order-retried-across-a-failover": ("send", "promote", "send", "serve_order"),
    "unheard-order-retried-across-a-failover": ("serve_order", "promote", "send", "serve_order"),
}
SHOWN_BY_LONGER_SEARCHES = {
    "order-rests-through-maintenance": ("place", "begin_maintenance", "deploy", "reconcile"),
    "failover-while-the-provider-was-down": ("report_deposit", "lose_provider", "promote"),
    "failover-during-a-partly-signed-withdrawal": ("submit_share", "promote"),
    "restored-during-a-partly-signed-withdrawal": ("submit_share", "crash", "restore"),
    "liquidated-after-a-restart": ("crash", "restore", "liquidate"),
    "partly-signed-through-maintenance": ("submit_share", "begin_maintenance", "deploy", "reconcile"),
}
"""By goal, the actions that its sentence speaks of, in their order."""


def takes_in_order(witness: Witness, actions: Sequence[str]) -> bool:
    names = iter(names_of(witness.trace))
    return all(action in names for action in actions)


@pytest.mark.parametrize("goal", SHOWN)
def test_each_sequence_shows_what_the_goals_sentence_says(goal: str) -> None:
    hunt = hunted(load_model(goal_models()[goal]), [goal], Limits(sequences=3))
    assert len(hunt.witnesses()) == 3
    assert all(takes_in_order(witness, SHOWN[goal]) for witness in hunt.witnesses())


@pytest.mark.slow
@pytest.mark.parametrize("goal", SHOWN_BY_LONGER_SEARCHES)
def test_each_sequence_of_a_longer_search_shows_what_the_goals_sentence_says(goal: str, every_goal: Hunt) -> None:
    (witness,) = [each for each in every_goal.witnesses() if each.goal == goal]
    assert takes_in_order(witness, SHOWN_BY_LONGER_SEARCHES[goal])
