"""The link: each variable and action has its rule, paths go both ways, the first difference is shown."""

import doctest
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.engine import LocalEngine
from holdfast.linking.accepting import History
from holdfast.linking.checking import LINKED, Linked, Work, check_link, check_links
from holdfast.linking.documenting import tables
from holdfast.linking.following import Follower, follow, path_of, replay_on_reference, why_not_linked
from holdfast.linking.rules import Reading, VariableRule
from holdfast.linking.subjects import rule_of, subjects_of
from holdfast.witnessing import hunt_for, on_reference
from holdfast_engine.faults import fault_by_name
from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.witness import Hunt, Limits
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState, Verdict
from holdfast_model.findings import Replay
from holdfast_model.spec import Model
from holdfast_model.spec.model import Instance
from holdfast_model.specs import load_model
from holdfast_model.specs.exchange import SLICES
from holdfast_model.vocabulary import JournalRecord, NonceCommitted, SigningRestarted

PAGE = Path(__file__).parents[2] / "docs" / "linking.md"
SLICE_NAMES = (*SLICES, "all")
LITTLE = Work(walks=1, walk_steps=20, histories=2, history_moves=20)


def a_slice(name: str) -> Model:
    return load_model(f"exchange:slice={name}")


def rules_of(model: Model) -> dict[str, list[VariableRule]]:
    found: dict[str, list[VariableRule]] = {}
    for subject in subjects_of(model):
        for rule in subject.variables:
            found.setdefault(rule.name, []).append(rule)
    return found


def base(name: str) -> str:
    """A variable's own name, without the record that it is a field of, and without its index."""
    for record in ("live.", "snapshot_taken."):
        name = name.removeprefix(record)
    if name.startswith(("log[", "replica[")):
        name = name.partition("].")[2]
    return name.partition("[")[0]


@pytest.mark.parametrize("name", SLICE_NAMES)
def test_each_variable_that_is_no_ghost_has_one_rule(name: str) -> None:
    model = a_slice(name)
    rules = rules_of(model)
    assert all(len(found) == 1 for found in rules.values())
    assert {base(variable.name) for variable in model.abstraction} <= rules.keys()


def test_no_rule_is_left_of_a_variable_that_there_is_not() -> None:
    model = a_slice("all")
    alone = {"outside", "amount"}  # of the part that stands in for custody, and of its commands
    whole = {"snapshot_taken", "log", "replica"}  # named after the record and not after its fields
    assert rules_of(model).keys() - {base(variable.name) for variable in model.variables} <= alone | whole


@pytest.mark.parametrize("name", SLICE_NAMES)
def test_each_action_has_a_rule(name: str) -> None:
    model = a_slice(name)
    assert all(rule_of(model, action.name).action == action.name for action in model.actions)


@pytest.mark.parametrize("name", SLICE_NAMES)
def test_what_is_said_to_be_shown_is_compared_and_nothing_else(name: str) -> None:
    model = a_slice(name)
    follower = Follower(model, LocalEngine())
    rules = rules_of(model)
    compared = {Reading.SHOWN, Reading.OUTSIDE}
    expected = {v.name for v in model.abstraction if rules[base(v.name)][0].reading in compared}
    without_custody = {"reconciled"} if "custody" not in name and name != "all" else set()
    observed = {each for each in follower.world.abstract() if "(" not in each}
    assert observed == expected - without_custody


def test_all_slices_that_are_explored_are_linked() -> None:
    linked = {type(load_model(each.model).spec) for each in LINKED}
    assert linked == {type(a_slice(name).spec) for name in SLICE_NAMES}


@pytest.mark.parametrize("linked", LINKED, ids=[each.model for each in LINKED])
def test_model_and_reference_go_the_same_way(linked: Linked) -> None:
    check = check_link(linked, seed=7, work=LITTLE)
    assert check.difference is None
    assert check.verdict is Verdict.HELD
    assert check.steps == sum(check.actions.values())
    assert check.steps == LITTLE.walks * LITTLE.walk_steps
    assert check.moves >= LITTLE.histories * LITTLE.history_moves


def test_a_check_is_the_same_for_one_seed_on_any_number_of_cores() -> None:
    work = Work(walks=1, walk_steps=8, histories=1, history_moves=8)
    together = [check for check, _ in check_links(LINKED[:2], seed=3, work=work)]
    assert together == [check_link(each, seed=3, work=work) for each in LINKED[:2]]
    assert together[0] != check_link(LINKED[0], seed=4, work=work)


def test_a_check_without_work_concludes_nothing() -> None:
    nothing = Work(walks=0, walk_steps=0, histories=0, history_moves=0)
    assert check_link(LINKED[0], seed=1, work=nothing).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", ["trading", "maintenance", "replication", "surge"])
def test_shortest_paths_to_goals_pass_on_the_reference(name: str) -> None:
    goals = explore(a_slice(name)).goals
    assert goals
    for goal in goals:
        replay = replay_on_reference(f"exchange:slice={name}", goal.trace)
        assert (replay.matched, replay.difference, replay.unsupported) == (True, None, None), goal.goal
        assert replay.steps == goal.states - 1


POSITION = (
    "deposit(u1, USDT, amount=1); deposit(u2, USDT, amount=2); transfer(u1, p1, amount=1, to-product); "
    "transfer(u2, p1, amount=2, to-product); set_mark(p1, price=3); trade_position(u1, u2, p1, price=3, size=1); "
)
CREDITED = (
    "send_deposit(d1, u1, USDT, amount=1); report_block; report_deposit(d1); mine; report_block; "
    "request_withdrawal(w1, u1, USDT, amount=1); "
)
LONGER = {
    "margin": POSITION + "set_mark(p1, price=2); liquidate(u1, u2, p1, long); settle(u1, p1); settle(u2, p1); "
    "transfer(u2, p1, amount=3, from-product)",
    "custody": CREDITED + "approve_withdrawal(w1); commit_nonce(w1, s1); commit_nonce(w1, s3); restart_signing(w1); "
    "commit_nonce(w1, s1); commit_nonce(w1, s2); submit_share(w1, s2); submit_share(w1, s1); broadcast_payment(w1); "
    "include_payment(w1, changed); report_payment(w1); replace_blocks(height=2); report_reorganisation",
    "replication+surge": "deposit(u1, USDT, amount=1); snapshot; send(q1); serve_order(q1, lost); isolate; "
    "promote(r2); send(q1); snapshot; serve_order(q1, heard); reconnect(r2); deposed_write(r2); stop(r1); start(r1); "
    "load(r1)",
}
REFUSED = {
    "an approval while suspended": ("custody", CREDITED + "suspend_asset", "approve_withdrawal(w1)"),
    "catching up without a primary": (
        "replication",
        "cut_off(r1); deposit(u1, USDT, amount=1); crash; reconnect(r1)",
        "catch_up(r1)",
    ),
    "a trade that would be its own margin": (
        "margin",
        "deposit(u2, USDT, amount=3); transfer(u2, p1, amount=3, to-product); set_mark(p1, price=3)",
        "trade_position(u1, u2, p1, price=1, size=1)",
    ),
    "a liquidation beyond insurance": ("margin", POSITION + "set_mark(p1, price=1)", "liquidate(u1, u2, p1, long)"),
    "a phase while it is down": ("maintenance", "restrict; crash", "admit_orders"),
    "a phase without a quorum": ("maintenance+replication", "cut_off(r1); cut_off(r2)", "restrict"),
    "an announcement without a quorum": ("maintenance+replication", "cut_off(r1); cut_off(r2)", "announce"),
}
"""What the model could once do and the exchange refuses, as docs/exchange.md says."""
ALIKE = {
    "custody": "send_deposit(d1, u1, USDT, amount=1); report_block; report_deposit(d1); mine; suspend_asset; "
    "report_block; replace_blocks(height=2); report_reorganisation; resume_asset; mine; report_block",
    "custody+recovery,log=4": CREDITED
    + "snapshot; approve_withdrawal(w1); restart_signing(w1); commit_nonce(w1, s1); restart_signing(w1); crash; "
    "restore; snapshot; restart_signing(w1); commit_nonce(w1, s2); commit_nonce(w1, s1); crash; restore; "
    "submit_share(w1, s1); snapshot; submit_share(w1, s2); broadcast_payment(w1)",
    "replication": "deposit(u1, USDT, amount=1); stop(r1); start(r1); crash; load(r1); promote(r1)",
    "maintenance+replication": "cut_off(r1); deposit(u1, USDT, amount=1); snapshot; reconnect(r1); load(r1); "
    "promote(r1)",
    "maintenance+replication,log=2": "deposit(u1, USDT, amount=1); stop(r1); start(r1); load(r1); confirm_load; "
    "promote(r1); restrict; admit_orders; open",
}
"""What the model once did otherwise: credit what a shorter chain does not confirm; give up no attempt that nobody has
begun; forget a dead replica's log; ask for the load barrier where the new primary was cut off, and never died;
confirm no load again for a standby that was rebuilt."""


def along(model: Model, path: str) -> list[Instance]:
    return path_of(model, path.split("; "))


@pytest.mark.parametrize("name", LONGER)
def test_longer_paths_that_matter_pass_on_the_reference(name: str) -> None:
    assert follow(a_slice(name), along(a_slice(name), LONGER[name])).difference is None


@pytest.mark.parametrize("case", REFUSED)
def test_the_model_takes_no_step_that_the_exchange_refuses(case: str) -> None:
    name, path, then = REFUSED[case]
    model = a_slice(name)
    assert follow(model, along(model, path)).matched
    with pytest.raises(HoldfastError, match="cannot be taken"):
        follow(model, along(model, f"{path}; {then}"))


@pytest.mark.parametrize("name", ALIKE)
def test_where_model_and_exchange_differed_once_they_are_alike(name: str) -> None:
    assert follow(a_slice(name), along(a_slice(name), ALIKE[name])).matched


def given_up_before_begun(records: Sequence[JournalRecord]) -> int:
    """How many attempts to sign the one payment were given up before anybody had begun them."""
    count, begun = 0, False
    for event in (event for record in records for event in record.events):
        if isinstance(event, SigningRestarted):
            count += not begun
        if isinstance(event, SigningRestarted | NonceCommitted):
            begun = isinstance(event, NonceCommitted)
    return count


def test_histories_give_up_attempts_that_nobody_has_begun_and_the_model_does_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.linking.custody.RARELY", 1.0)
    model = a_slice("custody+recovery,log=4,blocks=5")
    approved = along(model, f"{CREDITED}snapshot; approve_withdrawal(w1)")
    given_up = 0
    for number in range(40):
        history = History(model, LocalEngine(), f"attempts {number}", approved)
        for _ in range(4):
            if history.is_over or history.go_on() is None:
                break
        assert history.difference is None
        given_up += given_up_before_begun(history.world.records)
    assert given_up >= 3


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("exchange:slice=margin,products=1", 32),
        ("exchange:slice=margin,products=1", 98),
        ("exchange:slice=margin+maintenance,amounts=3,faults=0,log=4,prices=3", 78),
    ],
)
def test_what_the_exchange_settles_at_once_is_explained_before_the_next_move(name: str, number: int) -> None:
    """Insurance that paid is not there any more, who won can take it out, and the model's log has room for all."""
    (linked,) = (linked for linked in LINKED if load_model(linked.model).name == load_model(name).name)
    model = load_model(linked.model)
    path = () if number % 2 else path_of(model, linked.path)
    history = History(model, LocalEngine(), f"1 {model.name} history {number}", path)
    for _ in range(60):
        history.go_on()
    assert history.difference is None
    assert len(history.moves) > 60


# What a difference looks like ---------------------------------------------------------------------------------------


SPEC_BUGS = {
    "trading,bug=refund": (
        "deposit(u1, USDT, amount=1); place(u1, buy, price=1, size=1); cancel(o1)",
        "live.free[u1, SOL]",
    ),
    "maintenance,bug=deploy-drops-log": (
        "deposit(u1, SOL, amount=1); restrict; announce; begin_maintenance; deploy",
        "live.free[u1, SOL]",
    ),
    "surge,bug=shed-executes": (
        "deposit(u1, USDT, amount=1); send(q1); send_cancel(q1); send(q2)",
        "live.free[u1, USDT]",
    ),
}


@pytest.mark.parametrize("bug", SPEC_BUGS)
def test_a_planted_bug_of_the_spec_is_seen_at_its_step(bug: str) -> None:
    path, variable = SPEC_BUGS[bug]
    steps = along(a_slice(bug), path)
    difference = follow(a_slice(bug), steps).difference
    assert difference is not None
    assert (difference.step, difference.action) == (len(steps), steps[-1].label)
    assert difference.model != difference.engine
    assert difference.variable == variable


def test_a_history_that_no_path_of_the_model_explains_is_told_with_the_nearest_state() -> None:
    model = a_slice("trading")
    history = History(model, LocalEngine(), "seed")
    elsewhere = model.step(along(model, "deposit(u1, SOL, amount=2)")[0], model.initial)
    assert elsewhere is not None
    history.states = {elsewhere}
    move = history.go_on()
    assert move is not None
    difference = history.difference
    assert difference is not None
    assert (difference.step, difference.action) == (1, move.name)
    assert int(difference.model) == int(difference.engine) + 2


# Bad input ----------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_linked_is_not_followed_and_says_why() -> None:
    replay = replay_on_reference("yardstick", [TraceState(action="init", state={})])
    assert (replay.matched, replay.unsupported) == (False, "model yardstick is no slice of the exchange")
    assert "expected lots=1" in why_not_linked(load_model("exchange:slice=margin,lots=2"))


def test_a_trace_that_is_none_of_the_model_is_refused() -> None:
    states = [TraceState(action=action, state={}) for action in ("init", "deposit(u1, SOL, amount=9)")]
    with pytest.raises(HoldfastError, match=r"step 1 is 'deposit\(u1, SOL, amount=9\)'; expected an action of model"):
        replay_on_reference("exchange:slice=trading", states)


# The page -----------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_its_examples_answer() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (result.failed, result.attempted >= 9) == (0, True)


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert PAGE.read_text().partition("own rules.\n\n")[2].rstrip("\n") == tables()


def test_a_sequence_to_a_goal_that_the_exchange_takes_otherwise_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def replay(model: str, trace: Sequence[TraceState]) -> Replay:
        loaded, faulty = load_model(model), LocalEngine(parts=fault_by_name("fee-from-nowhere").parts)
        return follow(loaded, path_of(loaded, [state.action for state in trace[1:]]), faulty)

    hunt = Hunt(Limits(), lambda _: None, on_reference)
    hunt_for(hunt, {"exchange:slice=trading": ["order-filled"]})
    assert hunt.verdict() is Verdict.HELD
    assert hunt.result().goals[0].replayed
    monkeypatch.setattr("holdfast.witnessing.replay_on_reference", replay)
    hunt = Hunt(Limits(), lambda _: None, on_reference)
    hunt_for(hunt, {"exchange:slice=trading": ["order-filled"]})
    assert hunt.verdict() is Verdict.VIOLATED
    (goal,) = hunt.result().goals
    assert not goal.replayed
    assert goal.difference.startswith("step ")
