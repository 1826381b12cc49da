"""The link: every variable and action has its rule, paths go both ways, and what differs is shown at its first step."""

import doctest
from pathlib import Path

import pytest

from holdfast.engine import LocalEngine
from holdfast.linking.accepting import History
from holdfast.linking.checking import LINKED, Work, check_link, check_links
from holdfast.linking.documenting import tables
from holdfast.linking.following import Follower, follow, path_of, replay_on_reference, why_not_linked
from holdfast.linking.rules import Reading, VariableRule
from holdfast.linking.subjects import rule_of, subjects_of
from holdfast_model.checkers.explore import explore
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import TraceState, Verdict
from holdfast_model.spec import Model
from holdfast_model.specs import load_model
from holdfast_model.specs.exchange import SLICES

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
    for action in a_slice(name).actions:
        assert rule_of(a_slice(name), action.name).action == action.name


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
    assert {load_model(name).name.partition("slice=")[2].partition(",")[0] for name in LINKED} - {""} == set(
        SLICES
    ) - {"trading+phases+recovery"}
    assert any(type(load_model(name).spec) is type(a_slice("trading+phases+recovery").spec) for name in LINKED)


@pytest.mark.parametrize("name", LINKED)
def test_model_and_reference_go_the_same_way(name: str) -> None:
    check = check_link(load_model(name), seed=7, work=LITTLE)
    assert check.difference is None
    assert check.verdict is Verdict.HELD
    assert check.steps == sum(check.actions.values())
    assert (check.steps >= 15, check.moves >= 20) == (True, True)


def test_a_check_is_the_same_for_one_seed_on_any_number_of_cores() -> None:
    work = Work(walks=1, walk_steps=8, histories=1, history_moves=8)
    together = check_links(LINKED[:2], seed=3, work=work)
    assert together == [check_link(load_model(name), seed=3, work=work) for name in LINKED[:2]]
    assert together != check_links(LINKED[:2], seed=4, work=work)


def test_a_check_without_work_concludes_nothing() -> None:
    nothing = Work(walks=0, walk_steps=0, histories=0, history_moves=0)
    assert check_link(a_slice("surge"), seed=1, work=nothing).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", ["trading", "maintenance", "replication", "surge"])
def test_shortest_paths_to_goals_pass_on_the_reference(name: str) -> None:
    goals = explore(a_slice(name)).goals
    assert goals
    for goal in goals:
        replay = replay_on_reference(f"exchange:slice={name}", goal.trace)
        assert (replay.matched, replay.difference, replay.unsupported) == (True, None, None), goal.goal
        assert replay.steps == goal.states - 1


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (
            "margin",
            "deposit(u1, USDT, amount=1)|deposit(u2, USDT, amount=2)|transfer(u1, p1, amount=1, to-product)|"
            "transfer(u2, p1, amount=2, to-product)|set_mark(p1, price=3)|trade_position(u1, u2, p1, price=3, size=1)|"
            "set_mark(p1, price=2)|liquidate(u1, u2, p1, long)|settle(u1, p1)|settle(u2, p1)|"
            "transfer(u2, p1, amount=3, from-product)",
        ),
        (
            "custody",
            "send_deposit(d1, u1, USDT, amount=1)|report_block|report_deposit(d1)|mine|report_block|"
            "request_withdrawal(w1, u1, USDT, amount=1)|approve_withdrawal(w1)|commit_nonce(w1, s1)|"
            "commit_nonce(w1, s3)|restart_signing(w1)|commit_nonce(w1, s1)|commit_nonce(w1, s2)|submit_share(w1, s2)|"
            "submit_share(w1, s1)|broadcast_payment(w1)|include_payment(w1, changed)|report_payment(w1)|"
            "replace_blocks(height=2)|report_reorganisation",
        ),
        (
            "replication+surge",
            "deposit(u1, USDT, amount=1)|snapshot|send(q1)|serve_order(q1, lost)|isolate|promote(r2)|send(q1)|snapshot|"
            "serve_order(q1, heard)|reconnect(r2)|deposed_write(r2)|stop(r1)|start(r1)|load(r1)|catch_up(r1)",
        ),
    ],
)
def test_longer_paths_that_matter_pass_on_the_reference(name: str, path: str) -> None:
    model = a_slice(name)
    assert follow(model, path_of(model, path.split("|"))).difference is None


# Where model and exchange differed once, and docs/exchange.md decided ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "then"),
    [
        (
            "custody",
            "send_deposit(d1, u1, USDT, amount=1)|report_block|report_deposit(d1)|mine|report_block|"
            "request_withdrawal(w1, u1, USDT, amount=1)|suspend_asset",
            "approve_withdrawal(w1)",
        ),
        (
            "replication",
            "cut_off(r1)|deposit(u1, USDT, amount=1)|crash|reconnect(r1)",
            "catch_up(r1)",
        ),
        (
            "margin",
            "deposit(u2, USDT, amount=3)|transfer(u2, p1, amount=3, to-product)|set_mark(p1, price=3)",
            "trade_position(u1, u2, p1, price=1, size=1)",
        ),
        (
            "margin",
            "deposit(u1, USDT, amount=1)|deposit(u2, USDT, amount=2)|transfer(u1, p1, amount=1, to-product)|"
            "transfer(u2, p1, amount=2, to-product)|set_mark(p1, price=3)|trade_position(u1, u2, p1, price=3, size=1)|"
            "set_mark(p1, price=1)",
            "liquidate(u1, u2, p1, long)",
        ),
    ],
    ids=["approved-while-suspended", "caught-up-without-a-primary", "margin-out-of-the-trade", "beyond-insurance"],
)
def test_the_model_takes_no_step_that_the_exchange_refuses(name: str, path: str, then: str) -> None:
    model = a_slice(name)
    steps = path_of(model, path.split("|"))
    assert follow(model, steps).matched
    with pytest.raises(HoldfastError, match="cannot be taken"):
        follow(model, [*steps, *path_of(model, [then])])


def test_what_a_shorter_chain_no_longer_confirms_is_not_credited_when_deposits_are_opened() -> None:
    model = a_slice("custody")
    path = path_of(
        model,
        "send_deposit(d1, u1, USDT, amount=1)|report_block|report_deposit(d1)|mine|suspend_asset|report_block|"
        "replace_blocks(height=2)|report_reorganisation|resume_asset|mine|report_block".split("|"),
    )
    assert follow(model, path).matched


def test_a_replica_that_died_has_what_was_in_its_log_also_without_a_primary() -> None:
    model = a_slice("replication")
    path = path_of(
        model, ["deposit(u1, USDT, amount=1)", "stop(r1)", "start(r1)", "crash", "load(r1)", "promote(r1)"]
    )
    assert follow(model, path).matched


# What a difference looks like ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bug", "path", "variable"),
    [
        ("trading,bug=refund", "deposit(u1, USDT, amount=1)|place(u1, buy, price=1, size=1)|cancel(o1)", "live.free[u1, SOL]"),
        ("maintenance,bug=deploy-drops-log",
         "deposit(u1, SOL, amount=1)|restrict|announce|begin_maintenance|deploy", "live.free[u1, SOL]"),
        ("surge,bug=shed-executes",
         "deposit(u1, USDT, amount=1)|send(q1)|send_cancel(q1)|send(q2)", "live.free[u1, USDT]"),
    ],
)  # fmt: skip
def test_a_planted_bug_of_the_spec_is_seen_at_its_step(bug: str, path: str, variable: str) -> None:
    model = a_slice(bug)
    steps = path_of(model, path.split("|"))
    difference = follow(model, steps).difference
    assert difference is not None
    assert (difference.step, difference.action, difference.variable) == (len(steps), steps[-1].label, variable)
    assert difference.model != difference.engine


def test_a_history_that_no_path_of_the_model_explains_is_told_with_the_nearest_state() -> None:
    history = History(a_slice("trading"), LocalEngine(), "seed")
    history.states = {
        history.model.step(path_of(history.model, ["deposit(u1, SOL, amount=1)"])[0], history.model.initial) or ()
    }
    history.go_on()
    assert history.difference is not None
    assert (history.difference.step, history.difference.variable) == (1, "live.free[u1, SOL]")


# Bad input -----------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_linked_is_not_followed_and_says_why() -> None:
    replay = replay_on_reference("yardstick", [TraceState(action="init", state={})])
    assert (replay.matched, replay.unsupported) == (False, "model yardstick is no slice of the exchange")
    assert "expected lots=1" in why_not_linked(load_model("exchange:slice=margin,lots=2"))


def test_a_trace_that_is_none_of_the_model_is_refused() -> None:
    states = [TraceState(action=action, state={}) for action in ("init", "deposit(u1, SOL, amount=9)")]
    with pytest.raises(HoldfastError, match=r"step 1 is 'deposit\(u1, SOL, amount=9\)'; expected an action of model"):
        replay_on_reference("exchange:slice=trading", states)


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_its_examples_answer() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert (result.failed, result.attempted >= 9) == (0, True)


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert PAGE.read_text().partition("own rules.\n\n")[2].rstrip("\n") == tables()
