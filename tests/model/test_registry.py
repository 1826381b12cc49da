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
        ("sport", "unknown model 'sport'; expected one of: spot, yardstick"),
        ("", "unknown model ''; expected one of: spot, yardstick"),
        ("spot:", "model 'spot' has no parameter ''; expected PARAMETER=VALUE with one of: accounts, orders, log"),
        ("spot:users=2", "has no parameter 'users'"),
        ("spot:accounts", "expected PARAMETER=VALUE with one of: accounts, orders, log, amounts, bug"),
        ("spot:accounts=two", "parameter 'accounts' of model 'spot' is 'two'; expected a whole number within 1..16"),
        ("spot:accounts=0", "expected a whole number within 1..16"),
        ("spot:accounts=17", "expected a whole number within 1..16"),
        ("spot:accounts=٣", "expected a whole number within 1..16"),
        ("spot:accounts=99999999999999999999", "expected a whole number within 1..16"),
        ("spot:log=1,log=2", "gives parameter 'log' twice"),
        ("yardstick:bug=refund", "model 'yardstick' has no bug 'refund'; expected one of: restore"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text: str, message: str) -> None:
    with pytest.raises(HoldfastError, match=re.escape(message)):
        load_model(text)


def test_the_list_says_what_each_model_has() -> None:
    by_name = {entry.name: entry for entry in list_models()}
    assert by_name["yardstick"].invariants == ("CONS-1", "CONS-2", "FINAL-1", "FINAL-3")
    assert by_name["spot"].invariants == ("CONS-1", "CONS-2", "FINAL-1", "FINAL-2", "FINAL-3", "PHASE-1")
    for entry in by_name.values():
        assert entry.sentence.endswith(".")
        model = load_model(entry.name)
        assert model.invariants == entry.invariants
        actions = {action.name for action in model.actions}
        for bug in entry.bugs:
            assert bug.action in actions
            assert set(bug.breaks) <= set(entry.invariants)
        for parameter in entry.parameters:
            assert parameter.least <= parameter.default <= parameter.greatest


def test_every_formula_has_a_planted_bug_that_breaks_it() -> None:
    for entry in list_models():
        broken = {invariant for bug in entry.bugs for invariant in bug.breaks}
        assert broken | {"CONS-2"} >= set(entry.invariants)
    spot = next(entry for entry in list_models() if entry.name == "spot")
    assert {invariant for bug in spot.bugs for invariant in bug.breaks} == set(spot.invariants)


def test_the_registry_loads_neither_the_solver_nor_numpy() -> None:
    code = (
        "import sys; from holdfast_model.specs import load_model, list_models; load_model('spot'); "
        "print(sorted({'z3', 'numpy', 'hypothesis'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
