"""Finding models by name, and what importing the registry costs."""

import re
import subprocess
import sys

import pytest

from holdfast_model.errors import HoldfastError
from holdfast_model.specs import list_models, load_model


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("spot", "spot"),
        ("spot:accounts=2", "spot"),
        ("spot:log=2,accounts=3", "spot:accounts=3,log=2"),
        ("yardstick:bug=restore,log=2", "yardstick:log=2,bug=restore"),
        ("exchange:slice=recovery+trading+phases,amounts=2", "exchange"),
        ("exchange:amounts=1", "exchange:amounts=1"),
        ("exchange:faults=2,slice=surge+replication,requests=2", "exchange:slice=replication+surge,requests=2"),
        ("exchange:slice=surge+trading+margin+custody+phases+recovery+maintenance+replication", "exchange:slice=all"),
    ],
)
def test_a_name_is_normalised_and_loads_again(text: str, name: str) -> None:
    model = load_model(text)
    assert model.name == name
    assert load_model(model.name).variables == model.variables


def test_parameters_reach_the_model() -> None:
    names = [v.name for v in load_model("spot:accounts=3,orders=1,log=2").variables]
    assert "live.free[u3, SOL]" in names
    assert "live.free[u4, SOL]" not in names
    assert "told_status[o1]" in names
    assert "told_status[o2]" not in names
    assert "log[l2].kind" in names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sport", "unknown model 'sport'; expected one of: spot, exchange, yardstick"),
        ("", "unknown model ''; expected one of: spot, exchange, yardstick"),
        ("spot:", "model 'spot' has no parameter ''; expected PARAMETER=VALUE with one of: accounts, orders, log"),
        ("spot:users=2", "has no parameter 'users'"),
        ("spot:accounts", "expected PARAMETER=VALUE with one of: accounts, orders, log, amounts, bug"),
        ("spot:accounts=two", "parameter 'accounts' of model 'spot' is 'two'; expected a whole number within 1..64"),
        ("spot:accounts=0", "expected a whole number within 1..64"),
        ("spot:accounts=65", "expected a whole number within 1..64"),
        ("spot:accounts=٣", "expected a whole number within 1..64"),
        ("spot:accounts=99999999999999999999", "expected a whole number within 1..64"),
        ("spot:log=1,log=2", "gives parameter 'log' twice"),
        (
            "exchange:slice=trading+spot",
            "slice 'trading+spot' has no part 'spot'; expected some of: trading, margin,",
        ),
        ("exchange:slice=surge,bug=refund", "model 'exchange' has no bug 'refund'; expected one of: no-capacity"),
        ("spot:slice=trading", "model 'spot' has no parameter 'slice'"),
        ("exchange:faults=17", "expected a whole number within 0..16"),
        ("yardstick:bug=refund", "model 'yardstick' has no bug 'refund'; expected one of: restore"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text: str, message: str) -> None:
    with pytest.raises(HoldfastError, match=re.escape(message)):
        load_model(text)


def test_the_list_says_what_each_model_has() -> None:
    by_name = {entry.name: entry for entry in list_models()}
    assert by_name["yardstick"].invariants == ("CONS-1", "CONS-2", "FINAL-1", "FINAL-3")
    assert set(by_name["exchange"].invariants) == {
        *("CONS-1", "CONS-2", "CUST-1", "CUST-2", "CUST-3", "CUST-4", "CUST-5", "FENCE-1", "FINAL-1", "FINAL-2"),
        *("FINAL-3", "FINAL-4", "ISOL-1", "LIQ-1", "MAINT-1", "PHASE-1", "PHASE-2", "POS-2", "PRIO-2", "REPL-1"),
        "SURGE-1",
    }
    for entry in by_name.values():
        assert entry.sentence.endswith(".")
        model = load_model(f"{entry.name}:slice=all" if entry.parts else entry.name)
        assert model.invariants == entry.invariants
        for bug in entry.bugs:
            planted = (
                f"{entry.name}:slice={bug.slice},bug={bug.name}" if entry.parts else f"{entry.name}:bug={bug.name}"
            )
            assert bug.action in {action.name for action in load_model(planted).actions}
            assert set(bug.breaks) <= set(entry.invariants)
            assert bug.sentence.endswith(".")
        for parameter in entry.parameters:
            assert parameter.least <= parameter.default <= parameter.greatest


def test_every_formula_has_a_planted_bug_that_breaks_it() -> None:
    for entry in list_models():
        broken = {invariant for bug in entry.bugs for invariant in bug.breaks}
        assert broken | ({"CONS-2"} if entry.name == "yardstick" else set()) >= set(entry.invariants)


def test_a_slice_has_the_actions_and_variables_of_its_parts_only() -> None:
    model = load_model("exchange:slice=custody+replication")
    names = {action.name for action in model.actions}
    assert {"mine", "submit_share", "promote", "snapshot"} <= names
    assert not {"place", "deposit", "announce", "send", "liquidate"} & names
    assert "replica[r1].commitment[w1, s1]" in {v.name for v in model.variables}


def test_ghosts_are_no_part_of_the_abstraction() -> None:
    model = load_model("spot")
    ghosts = {v.name for v in model.variables} - {v.name for v in model.abstraction}
    assert "told_status[o1]" in ghosts
    assert "just_restored" in ghosts
    assert not any(name.startswith(("live.", "log[", "snapshot_taken.", "phase", "outside")) for name in ghosts)


def test_the_exchange_has_goals_with_sentences() -> None:
    goals = load_model("exchange:slice=all").goals
    assert len({goal.invariant for goal in goals}) == len(goals) >= 25
    assert all(goal.sentence.endswith(".") for goal in goals)


def test_the_registry_loads_neither_the_solver_nor_numpy() -> None:
    code = (
        "import sys; from holdfast_model.specs import load_model, list_models; load_model('spot'); "
        "print(sorted({'z3', 'numpy', 'hypothesis'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
