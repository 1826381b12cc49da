"""Symmetry: orbits are counted once, exactly; traces stay real; what treats members apart is refused."""

from collections.abc import Callable
from itertools import permutations
from typing import Self

import pytest

from holdfast_model.checkers import symmetry as symmetries
from holdfast_model.checkers.explore import Deadlocks, explore
from holdfast_model.checkers.symmetry import Symmetry
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState, Verdict
from holdfast_model.spec import (
    Bool,
    Condition,
    Enum,
    Enumeration,
    Index,
    Model,
    Nat,
    Part,
    Record,
    Response,
    Spec,
    State,
    action,
    all_of,
    always,
    any_of,
    eventually,
    implies,
    negation,
    sometimes,
    step,
)
from holdfast_model.specs import load_model


def test_the_yardstick_has_half_as_many_states_up_to_the_names_of_accounts() -> None:
    found = explore(load_model("yardstick"), symmetry="accounts")
    assert (found.distinct, found.generated, found.depth) == (741_294, 1_895_122, 39)
    assert found.verdict is Verdict.HELD
    assert ("symmetry", "states that differ only by the names of accounts are counted once") in {
        (bound.name, bound.value) for bound in found.bounds
    }


def orbits(model: Model, rename: Callable[[State, tuple[int, ...]], State], size: int) -> int:
    """How many states of a model differ by more than names, by a plain search with the interpreter."""
    seen = {model.initial}
    frontier = [model.initial]
    while frontier:
        following = []
        for state in frontier:
            for _, after in model.successors(state):
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        frontier = following
    return len({min(rename(state, names) for names in permutations(range(size))) for state in seen})


@pytest.mark.parametrize("accounts", [2, 3])
def test_a_plain_search_with_the_interpreter_has_as_many_orbits(accounts: int) -> None:
    model = load_model(f"exchange:slice=trading,amounts=1,assets=1,orders=2,accounts={accounts}")
    fields = {v.name: position for position, v in enumerate(model.variables)}
    states = [f"live.{kind}[u{{}}, {asset}]" for kind in ("free", "held") for asset in ("SOL", "USDT")]

    def renamed(state: State, names: tuple[int, ...]) -> State:
        """Written for this slice alone, by the names of its variables."""
        result = list(state)
        for account, name in enumerate(names):
            for text in states:
                result[fields[text.format(name + 1)]] = state[fields[text.format(account + 1)]]
        for order in ("o1", "o2"):
            if state[fields[f"live.status[{order}]"]]:
                result[fields[f"live.owner[{order}]"]] = names[state[fields[f"live.owner[{order}]"]]]
        return tuple(result)

    found = explore(model, symmetry="accounts")
    assert found.distinct == orbits(model, renamed, accounts)
    assert found.verdict is explore(model).verdict


@pytest.mark.parametrize(
    ("model", "whole", "reduced"),
    [
        ("exchange:slice=trading", 13_088, 6_546),
        ("exchange:slice=maintenance", None, 7_767),
        ("exchange:slice=custody,accounts=2,signers=2,nonces=1,blocks=2", None, 6_094),
        ("exchange:slice=trading,accounts=3,amounts=1", None, 213),
    ],
)
def test_slices_are_symmetric_in_accounts(model: str, whole: int | None, reduced: int) -> None:
    found = explore(load_model(model), symmetry="accounts")
    assert found.distinct == reduced
    assert found.verdict is Verdict.HELD
    plain = explore(load_model(model))
    assert whole in {None, plain.distinct}
    assert {goal.goal: goal.states for goal in found.goals} == {goal.goal: goal.states for goal in plain.goals}
    assert {a.action for a in found.actions if a.taken} == {a.action for a in plain.actions if a.taken}


def assert_is_real(model: Model, trace: tuple[TraceState, ...]) -> None:
    """Each state of a trace must follow from the one before by a step with the label that the trace gives."""
    state = model.initial
    assert model.show(state) == trace[0].state
    for told in trace[1:]:
        after = {instance.label: after for instance, after in model.successors(state)}
        state = after[told.action]
        assert model.show(state) == told.state


def test_traces_under_symmetry_are_real_and_as_short_as_without() -> None:
    model = load_model("yardstick:bug=restore")
    found = explore(model, symmetry="accounts")
    assert {v.invariant: v.states for v in found.violations} == {"CONS-1": 4, "FINAL-1": 6, "FINAL-3": 8}
    for violation in found.violations:
        assert_is_real(model, violation.trace)


def test_goals_under_symmetry_are_reached_by_real_traces_with_three_accounts() -> None:
    model = load_model("exchange:slice=trading,accounts=3,amounts=2")
    found = explore(model, symmetry="accounts", states_max=20_000)
    reached = [goal for goal in found.goals if goal.states]
    assert reached
    for goal in reached:
        assert_is_real(model, goal.trace)


class Player(Index, prefix="p"):
    """Somebody at the table."""


class Stage(Enumeration):
    """Whether somebody holds the ball."""

    FREE = 0
    HELD = 1
    THROWN = 2


class Ball(Record):
    """A ball, and who holds it; of a free ball nobody is the holder."""

    stage = Enum(Stage)
    holder = Enum(Player)


class Game(Spec):
    """Players take a ball, throw it, and drop it; `favours` singles one of them out."""

    ball = Part(Ball)
    took = Nat.upto(2).per(Player)
    over = Bool

    def __init__(self, *, players: int = 3, favours: str = "") -> None:
        super().__init__(sizes={Player: players})
        self.favours = favours

    @action
    def take(self, player: Player) -> None:
        """A player takes the ball."""
        self.require(self.ball.stage == Stage.FREE, self.took[player] < 2)
        if self.favours == "guard":
            self.require(negation(all_of(player == Player(1), self.took[Player(0)] == 1)))
        self.ball.stage = Stage.HELD
        self.ball.holder = player
        self.took[player] += 2 if self.favours == "update" and player == Player(1) else 1

    @action
    def drop(self, player: Player) -> None:
        """The holder drops the ball."""
        self.require(self.ball.stage == Stage.HELD, self.ball.holder == player)
        self.ball.reset()

    @action
    def throw(self) -> None:
        """The ball is thrown; who threw it is remembered."""
        self.require(self.ball.stage == Stage.HELD)
        self.ball.stage = Stage.THROWN

    @action
    def end(self) -> None:
        """A thrown ball ends the game."""
        self.require(self.ball.stage == Stage.THROWN, negation(self.over))
        self.over = True
        self.ball.reset()

    @always("CONS-1")
    def few_turns(self, player: Player) -> Condition:
        """Nobody takes it too often."""
        if self.favours == "property" and player == Player(1):
            return self.took[player] <= 1
        return self.took[player] <= 2

    @step("FINAL-3")
    def turns_only_grow(self, after: Self, player: Player) -> Condition:
        """No turn is undone."""
        if self.favours == "step" and player == Player(1):
            return implies(self.took[player] == 1, after.took[player] == 1)
        return after.took[player] >= self.took[player]

    @sometimes("taken")
    def taken(self) -> Condition:
        """Somebody has the ball."""
        if self.favours == "goal":
            return all_of(self.ball.stage == Stage.HELD, self.ball.holder == Player(1))
        return self.ball.stage == Stage.HELD

    @eventually("LIVE-1")
    def comes_free(self) -> Response:
        """A ball that is held can come free."""
        held: Condition = self.ball.stage == Stage.HELD
        if self.favours == "eventuality":
            held = all_of(held, self.ball.holder == Player(1))
        return Response(whenever=held, then=self.ball.stage == Stage.FREE)


def by_names(state: State, names: tuple[int, ...]) -> State:
    """The game under other names: stage, holder, a number for each player, and whether it is over."""
    stage, holder, *took, over = state
    renamed = [took[names.index(player)] for player in range(len(names))]
    return (stage, names[holder] if stage else holder, *renamed, over)


@pytest.mark.parametrize("players", [1, 2, 3, 4])
def test_a_game_is_counted_up_to_the_names_of_its_players(players: int) -> None:
    model = Model(Game(players=players))
    found = explore(model, symmetry="players", deadlocks=Deadlocks.REPORT)
    assert found.distinct == orbits(model, by_names, players)
    assert found.verdict is Verdict.HELD
    assert bool(found.deadlocks) == bool(explore(model).deadlocks)


def test_a_use_that_the_sample_did_not_show_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast_model.checkers.explore.SAMPLED_STATES", 2)
    learnt: list[State] = []
    extend = Symmetry.extend

    def counted(self: Symmetry, state: State) -> None:
        learnt.append(state)
        extend(self, state)

    monkeypatch.setattr(Symmetry, "extend", counted)
    model = Model(Game(players=3))
    assert explore(model, symmetry="players").distinct == orbits(model, by_names, 3)
    assert {state[0] for state in learnt} == {Stage.HELD, Stage.THROWN}


@pytest.mark.parametrize(
    ("favours", "reason"),
    [
        ("guard", r"only one of take\(p\d\) and take\(p\d\) is enabled"),
        ("update", r"take\(p\d\) and take\(p\d\) lead to different states"),
        ("property", "`few_turns` is true under some names and false under others"),
        ("step", r"a property allows only one of take\(p\d\) and take\(p\d\)"),
        ("goal", "`taken` is true under some names and false under others"),
        ("eventuality", "`comes_free` speaks of single players, as no symmetry allows"),
    ],
)
def test_a_spec_that_singles_a_member_out_is_refused_with_the_way_to_where_it_does(favours: str, reason: str) -> None:
    with pytest.raises(
        HoldfastError, match=rf"Game is not symmetric in players: {reason} \(in the state reached by init"
    ):
        explore(Model(Game(favours=favours)), symmetry="players")


def test_a_first_state_that_singles_a_member_out_is_refused() -> None:
    class Begun(Game):
        took = Nat.upto(2).per(Player).starting(lambda player: int(player == 0))

    with pytest.raises(HoldfastError, match=r"`took\[p1\]` is 1 at first; expected the same for all players"):
        explore(Model(Begun()), symmetry="players")


def test_a_member_that_is_always_named_is_refused() -> None:
    class Led(Spec):
        leader = Enum(Player)

        def __init__(self) -> None:
            super().__init__(sizes={Player: 2})

        @action
        def elect(self, player: Player) -> None:
            """Another leads."""
            self.leader = player

        @always("CONS-1")
        def led(self) -> Condition:
            """Somebody leads."""
            return any_of(*(self.leader == player for player in Player))

    with pytest.raises(HoldfastError, match="nothing beside `leader` tells when it is more than its first value"):
        explore(Model(Led()), symmetry="players")


def test_a_value_that_leaves_its_range_is_a_violation_under_symmetry_too() -> None:
    class Greedy(Game):
        @action
        def take(self, player: Player) -> None:
            """A player takes the ball, as often as it likes."""
            self.require(self.ball.stage == Stage.FREE)
            self.ball.stage = Stage.HELD
            self.ball.holder = player
            self.took[player] += 1

    model = Model(Greedy(players=3))
    found = explore(model, symmetry="players")
    plain = explore(model)
    assert {v.invariant: v.states for v in found.violations} == {v.invariant: v.states for v in plain.violations}
    assert [v.invariant for v in found.violations] == ["CONS-1"]
    assert_is_real(model, found.violations[0].trace)


def test_surge_serves_one_client_and_is_refused() -> None:
    with pytest.raises(HoldfastError, match=r"not symmetric in accounts: serve_order\(q1, heard\)"):
        explore(load_model("exchange:slice=surge,accounts=2"), symmetry="accounts")


def test_orders_are_no_symmetry_because_the_older_one_has_the_price() -> None:
    with pytest.raises(HoldfastError, match="not symmetric in orders"):
        explore(load_model("yardstick"), symmetry="orders")


def test_too_many_members_are_refused() -> None:
    with pytest.raises(HoldfastError, match=r"symmetry of 5 players .* expected at most 4"):
        explore(Model(Game(players=5)), symmetry="players")


def test_without_the_check_a_favoured_player_would_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is what refuses: with all renamings but none of the comparisons the count would be wrong."""
    assert symmetries.MEMBERS_MAX == 4
    model = Model(Game(players=2, favours="guard"))
    monkeypatch.setattr("holdfast_model.checkers.expansion._Turned.compare_states", lambda *_: None)
    monkeypatch.setattr("holdfast_model.checkers.expansion._Turned.compare", lambda *_: None)
    wrong = explore(model, symmetry="players").distinct
    assert wrong != orbits(model, by_names, 2)
