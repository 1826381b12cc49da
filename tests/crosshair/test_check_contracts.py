"""`make crosshair` refutes planted bugs, and nothing that it could not check passes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast_engine import arithmetic
from holdfast_reports import verify

CHECK = Path(__file__).with_name("check_contracts.py")
ARITHMETIC = Path(arithmetic.__file__)


class Outcome:
    """What a run of the program told the shell, a person and a machine."""

    def __init__(self, target: Path, out: Path, *options: str) -> None:
        done = subprocess.run(
            [sys.executable, CHECK, target, "--out", out, "--jobs", "1", *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.status = done.returncode
        self.said = done.stdout
        self.out = out
        assert (out / "report.json").is_file(), done.stderr
        self.report: dict[str, Any] = json.loads((out / "report.json").read_bytes())
        self.function: dict[str, Any] = self.report["result"]["functions"][0]


def test_every_function_of_the_arithmetic_has_a_contract() -> None:
    """Without the solver, so that a new function is noticed in the fast loop."""
    spec = importlib.util.spec_from_file_location("check_contracts", CHECK)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    names = list(program.function_names(arithmetic))
    assert {"notional", "mark_price", "_median"} <= set(names)
    assert {name: program.without_contract(getattr(arithmetic, name)) for name in names} == dict.fromkeys(names, "")


# Each row: the function, what is right, and the bug that stands in its place.
BUGS = {
    "off by one": (
        "ceil_div",
        "return -(-numerator // denominator)",
        "return numerator // denominator + 1",
    ),
    "a charge rounded down": (
        "interest_charged",
        "return Amount(ceil_div(debt * rate_ppm, PPM))",
        "return Amount(debt * rate_ppm // PPM)",
    ),
    "income rounded up": (
        "interest_earned",
        "return Amount(debt * rate_ppm // PPM)",
        "return Amount(ceil_div(debt * rate_ppm, PPM))",
    ),
    "collateral rounded up": (
        "collateral_value",
        "return Amount(amount * price * tick_amount * (PPM - haircut_ppm) // (lot_amount * PPM))",
        "return Amount(ceil_div(amount * price * tick_amount * (PPM - haircut_ppm), lot_amount * PPM))",
    ),
    "the haircut after the rounding": (
        "collateral_value",
        "return Amount(amount * price * tick_amount * (PPM - haircut_ppm) // (lot_amount * PPM))",
        "return Amount(amount * price * tick_amount // lot_amount * (PPM - haircut_ppm) // PPM)",
    ),
    "a tier that begins one too late": (
        "tier_of",
        "floors[index + 1] <= value",
        "floors[index + 1] < value",
    ),
    "the rate of the tier on the whole value": (
        "margin_required",
        "numerator += max(0, min(value, ceiling) - floors[index]) * rate",
        "numerator = value * rate if value >= floors[index] else numerator",
    ),
    "a tier that ends one too early": (
        "margin_required",
        "numerator += max(0, min(value, ceiling) - floors[index]) * rate",
        "numerator += max(0, min(value, ceiling - 1) - floors[index]) * rate",
    ),
    "rounding in each tier": (
        "margin_required",
        "numerator += max(0, min(value, ceiling) - floors[index]) * rate",
        "numerator += ceil_div(max(0, min(value, ceiling) - floors[index]) * rate, PPM) * PPM",
    ),
    "the loss of a short as a profit": (
        "realised",
        "return value - released if closed_long else -released - value",
        "return value - released if closed_long else released + value",
    ),
    "an entry that is released away from zero": (
        "released_entry",
        "released = abs(entry_value) * closed // size",
        "released = ceil_div(abs(entry_value) * closed, size)",
    ),
    "the bankruptcy price of a short rounded up": (
        "bankruptcy_price",
        "return mark - distance if position > 0 else mark + distance",
        "return mark - distance if position > 0 else mark + ceil_div(equity, abs(position) * tick_amount)",
    ),
    "maintenance that is added": (
        "liquidation_price",
        "equity=equity - maintenance",
        "equity=equity + maintenance",
    ),
    "a step of a liquidation that closes nothing": (
        "liquidation_lots",
        "return SizeLots(max(1, ceil_div(size * step_ppm, PPM)))",
        "return SizeLots(size * step_ppm // PPM)",
    ),
    "the sign of funding": (
        "funding_payment",
        "return ceil_div(position * mark * tick_amount * rate_ppm, PPM)",
        "return ceil_div(-position * mark * tick_amount * rate_ppm, PPM)",
    ),
    "funding that gives away the remainder": (
        "funding_payment",
        "return ceil_div(position * mark * tick_amount * rate_ppm, PPM)",
        "return position * mark * tick_amount * rate_ppm // PPM",
    ),
    "a share for a weight of zero": (
        "pro_rata",
        "if left > 0 and weight > 0:",
        "if left > 0:",
    ),
    "a mark that one source can move": (
        "mark_price",
        "mark = _median(kept)",
        "mark = sum(kept) // len(kept)",
    ),
    "a low price that is kept": (
        "mark_price",
        "abs(price - middle) * PPM",
        "(price - middle) * PPM",
    ),
    "a leverage rounded up": (
        "deleveraging_score",
        "leverage = notional * PPM // max(1, equity)",
        "leverage = ceil_div(notional * PPM, max(1, equity))",
    ),
    "one source too many asked for": (
        "mark_price",
        "if len(prices) < sources_min:",
        "if len(prices) <= sources_min:",
    ),
    "a negative mark": (
        "mark_price",
        "return PriceTicks(mark) if mark > 0 else None",
        "return PriceTicks(mark)",
    ),
    "the lower one of the two in the middle": (
        "_median",
        "(ordered[half - 1] + ordered[half]) // 2",
        "ordered[half - 1]",
    ),
    "a loss multiplied by the leverage": (
        "deleveraging_score",
        "return profit * leverage if profit >= 0 else profit * PPM * PPM // max(1, leverage)",
        "return profit * leverage",
    ),
    "too little collateral seized": (
        "collateral_to_seize",
        "return Amount(ceil_div(owed * lot_amount * PPM, price * tick_amount * (PPM - haircut_ppm)))",
        "return Amount(owed * lot_amount * PPM // (price * tick_amount * (PPM - haircut_ppm)))",
    ),
    "more of a debt than can be paid": (
        "debt_affordable",
        "return Amount(worth * lot_amount // (price * tick_amount))",
        "return Amount(ceil_div(worth * lot_amount, price * tick_amount))",
    ),
    "a loan's margin rounded down": (
        "loan_margin",
        "assert 0 <= rate_ppm <= PPM\n    return Amount(ceil_div(owed * rate_ppm, PPM))",
        "return Amount(owed * rate_ppm // PPM)",
    ),
    "one lot more than the insurance fund has": (
        "insured_lots",
        "return SizeLots(min(lots, budget // gap)) if gap else lots",
        "return SizeLots(min(lots, ceil_div(budget, gap))) if gap else lots",
    ),
    "a band that is wider by a tick": (
        "price_band",
        "highest = reference * (PPM + band_ppm) // PPM",
        "highest = ceil_div(reference * (PPM + band_ppm), PPM)",
    ),
    "the wrong side of the band": (
        "protected_price",
        "return highest if buying else lowest",
        "return lowest if buying else highest",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_refuted_with_a_call_that_shows_it(bug: str, tmp_path: Path) -> None:
    name, right, wrong = BUGS[bug]
    source = ARITHMETIC.read_text()
    assert source.count(right) == 1, "the line that the bug replaces must stand there once"
    target = tmp_path / "planted.py"
    target.write_text(source.replace(right, wrong))
    found = Outcome(target, tmp_path / "report", "--function", name, "--seconds", "5")
    assert found.status == 1
    assert (found.report["verdict"], found.report["exit_status"]) == ("violated", 1)
    assert (found.function["function"], found.function["outcome"]) == (name, "refuted")
    shown = [condition["counterexample"] for condition in found.function["conditions"]]
    assert any("when calling" in call for call in shown)
    assert f"refuted        {name} " in found.said
    assert verify(found.out) == []


def check(source: str, tmp_path: Path, *options: str) -> Outcome:
    target = tmp_path / "module_under_check.py"
    target.write_text(source)
    return Outcome(target, tmp_path / "report", *options)


def function(*contract: str, body: str = "return number + 1", name: str = "increased") -> str:
    lines = "".join(f"    {line}\n" for line in contract)
    return f'def {name}(number: int) -> int:\n    """One more.\n\n{lines}    """\n    {body}\n'


def test_a_contract_that_is_kept_is_confirmed(tmp_path: Path) -> None:
    found = check(function("post: _ > number"), tmp_path)
    assert found.status == 0
    assert found.report["verdict"] == "held"
    assert found.function["outcome"] == "confirmed"
    assert "HELD 1 function: 1 confirmed" in found.said
    assert verify(found.out) == []


def test_a_precondition_that_nothing_satisfies_is_unreachable_and_fails(tmp_path: Path) -> None:
    found = check(function("pre: number > 3 and number < 4", "post: _ > number"), tmp_path)
    assert found.status == 1
    assert found.report["verdict"] == "violated"
    assert found.function["outcome"] == "unreachable"
    assert "unreachable    increased" in found.said
    assert verify(found.out) == []


@pytest.mark.parametrize(
    ("contract", "reason"),
    [
        (("post: _ > number", ":raises AssertionError: if it likes"), "exceptions are allowed"),
        ((), "there is no postcondition"),
        (("pre: number > 0",), "no postcondition speaks about what is returned"),
        (("post: number == number",), "no postcondition speaks about what is returned"),
        (("post: _ >",), "the contract cannot be read"),
    ],
)
def test_a_function_without_a_contract_fails_by_its_name(
    contract: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    found = check(function(*contract), tmp_path)
    assert found.status == 1
    assert found.report["verdict"] == "violated"
    assert found.function["outcome"] == "no-contract"
    assert reason in found.function["reason"]
    assert "no contract    increased" in found.said
    assert verify(found.out) == []


def test_a_private_function_needs_a_contract_too(tmp_path: Path) -> None:
    found = check(function("post: _ > number") + "\n\n" + function(name="_hidden"), tmp_path)
    assert found.status == 1
    outcomes = {each["function"]: each["outcome"] for each in found.report["result"]["functions"]}
    assert outcomes == {"increased": "confirmed", "_hidden": "no-contract"}


def test_an_assertion_that_fails_is_a_refutation(tmp_path: Path) -> None:
    body = "assert number != 1234\n    return number + 1"
    found = check(function("post: _ > number", body=body), tmp_path)
    assert found.status == 1
    assert found.function["outcome"] == "refuted"
    assert "1234" in found.function["conditions"][0]["counterexample"]


def test_what_could_not_be_confirmed_is_listed_with_its_reason_and_is_not_green(tmp_path: Path) -> None:
    body = "while number > 0:\n        number = number * 3 + 1 if number % 2 else number // 2\n    return number"
    found = check(function("post: _ <= 4", body=body), tmp_path, "--seconds", "1")
    assert found.status == 0
    assert (found.report["verdict"], found.report["exit_status"]) == ("inconclusive", 0)
    assert found.function["outcome"] == "not-confirmed"
    assert "timed out after 1 s" in found.function["conditions"][0]["reason"]
    assert "not confirmed  increased" in found.said
    assert "INCONCLUSIVE 1 function: 1 not confirmed" in found.said
    assert "held" not in (found.out / "junit.xml").read_text().split("Verdict", maxsplit=1)[0]
    assert verify(found.out) == []


@pytest.mark.parametrize(
    "source",
    ["class Money:\n    pass\n", "import functools\n@functools.cache\ndef one() -> int:\n    return 1\n"],
)
def test_what_would_go_unchecked_is_refused(source: str, tmp_path: Path) -> None:
    target = tmp_path / "refused.py"
    target.write_text(source)
    done = subprocess.run(
        [sys.executable, CHECK, target, "--out", tmp_path / "report"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "expected a plain function" in done.stderr
