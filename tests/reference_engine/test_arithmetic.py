"""The arithmetic at its edges, and the rules that tie its functions together.

Each property runs twice: on integers that Hypothesis draws, and on symbolic ones whose paths CrossHair explores.
"""

import ast
import math
from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from holdfast_engine import arithmetic
from holdfast_engine.arithmetic import (
    PPM,
    bankruptcy_price,
    ceil_div,
    collateral_to_seize,
    collateral_value,
    debt_affordable,
    debt_value,
    deleveraging_score,
    fee_charged,
    fee_earned,
    funding_payment,
    hold_to_buy,
    hold_to_sell,
    insured_lots,
    interest_charged,
    interest_earned,
    liquidation_lots,
    liquidation_price,
    loan_margin,
    margin_required,
    mark_price,
    notional,
    price_band,
    pro_rata,
    protected_price,
    realised,
    released_entry,
    tier_of,
    unrealised,
)
from holdfast_model.vocabulary import Amount, PriceTicks, SizeLots

QUIET = settings(database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
BACKENDS = {
    "hypothesis": settings(QUIET, max_examples=100),
    "crosshair": settings(QUIET, backend="crosshair", max_examples=5),
}


def on_both_backends(**drawn: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[[str], None]]:
    """A property of drawn values as a test for each backend."""

    def decorate(check: Callable[..., None]) -> Callable[[str], None]:
        @pytest.mark.parametrize("backend", BACKENDS)
        def test(backend: str) -> None:
            BACKENDS[backend](given(**drawn)(check))()

        return test

    return decorate


AMOUNTS = st.integers(0, 10**30).map(Amount)
SIGNED = st.integers(-(10**30), 10**30)
POSITIVE = st.integers(1, 10**12)
PRICES = POSITIVE.map(PriceTicks)
SIZES = POSITIVE.map(SizeLots)
UNITS = st.integers(1, 10**9).map(Amount)
RATES = st.integers(0, PPM)
POSITIONS = st.one_of(st.integers(-(10**12), -1), POSITIVE)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Floors from 0, and as many rates that do not fall."""
    steps = draw(st.lists(st.integers(1, 10**9), max_size=3))
    rates = draw(st.lists(RATES, min_size=len(steps) + 1, max_size=len(steps) + 1))
    return [sum(steps[:index]) for index in range(len(steps) + 1)], sorted(rates)


# Edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(0, 1, 0), (0, 7, 0), (1, 7, 1), (6, 7, 1), (7, 7, 1), (8, 7, 2), (-1, 7, 0), (-7, 7, -1), (-8, 7, -1)],
)
def test_a_quotient_is_rounded_up_whatever_its_sign(numerator: int, denominator: int, expected: int) -> None:
    assert ceil_div(numerator, denominator) == expected


@pytest.mark.parametrize(
    ("numerator", "charged", "earned"),
    [(0, 0, 0), (1, 1, 0), (PPM - 1, 1, 0), (PPM, 1, 1), (PPM + 1, 2, 1), (2 * PPM, 2, 2)],
)
def test_a_fee_is_charged_up_and_earned_down(numerator: int, charged: int, earned: int) -> None:
    assert (fee_charged(numerator), fee_earned(numerator)) == (charged, earned)
    assert (interest_charged(Amount(numerator), rate_ppm=1), interest_earned(Amount(numerator), rate_ppm=1)) == (
        charged,
        earned,
    )


def test_nothing_costs_needs_and_yields_nothing() -> None:
    nothing, lots, unit, price = Amount(0), SizeLots(0), Amount(10), PriceTicks(5)
    assert notional(price, lots, tick_amount=unit) == 0
    assert hold_to_buy(price, lots, tick_amount=unit, fee_numerator=1, rate_ppm=PPM) == 0
    assert hold_to_sell(lots, lot_amount=unit) == 0
    assert collateral_value(nothing, price=price, tick_amount=unit, lot_amount=unit, haircut_ppm=0) == 0
    assert debt_value(nothing, price=price, tick_amount=unit, lot_amount=unit) == 0
    assert collateral_to_seize(nothing, price=price, tick_amount=unit, lot_amount=unit, haircut_ppm=0) == 0
    assert margin_required(nothing, floors=[0, 9], rates_ppm=[1, 2]) == 0
    assert funding_payment(0, mark=price, tick_amount=unit, rate_ppm=PPM) == 0
    assert funding_payment(7, mark=price, tick_amount=unit, rate_ppm=0) == 0
    assert pro_rata(nothing, weights=[0, 3]) == [0, 0]


def test_a_whole_haircut_leaves_nothing() -> None:
    assert (
        collateral_value(
            Amount(10**18), price=PriceTicks(9), tick_amount=Amount(9), lot_amount=Amount(1), haircut_ppm=PPM
        )
        == 0
    )


@pytest.mark.parametrize(
    ("value", "tier", "margin"),
    # 1 % to 1,000; 2 % to 5,000; 10 % beyond.
    [
        (0, 0, 0),
        (1, 0, 1),
        (999, 0, 10),
        (1_000, 1, 10),
        (1_001, 1, 11),
        (4_999, 1, 90),
        (5_000, 2, 90),
        (5_010, 2, 91),
    ],
)
def test_a_tier_begins_at_its_floor_and_the_margin_does_not_jump(value: int, tier: int, margin: int) -> None:
    floors = [0, 1_000, 5_000]
    assert tier_of(Amount(value), floors=floors) == tier
    assert margin_required(Amount(value), floors=floors, rates_ppm=[10_000, 20_000, 100_000]) == margin


@pytest.mark.parametrize(
    ("position", "mark", "entry_value", "profit"),
    [
        (3, 20, 450, 150),
        (3, 10, 450, -150),
        (-3, 20, -450, -150),
        (-3, 10, -450, 150),
        (0, 20, 0, 0),
        (3, 15, 450, 0),
    ],
)
def test_a_long_gains_when_the_mark_rises_and_a_short_when_it_falls(
    position: int, mark: int, entry_value: int, profit: int
) -> None:
    assert unrealised(position, mark=PriceTicks(mark), tick_amount=Amount(10), entry_value=entry_value) == profit
    value = Amount(abs(position) * mark * 10)
    assert realised(closed_long=position >= 0, value=value, released=entry_value) == profit


@pytest.mark.parametrize(
    ("entry_value", "closed", "size", "released"),
    [
        (100, 1, 3, 33),
        (100, 2, 3, 66),
        (100, 3, 3, 100),
        (-100, 1, 3, -33),
        (-100, 3, 3, -100),
        (0, 1, 1, 0),
        (2, 1, 3, 0),
    ],
)
def test_closing_releases_entry_pro_rata_towards_zero(
    entry_value: int, closed: int, size: int, released: int
) -> None:
    assert released_entry(entry_value, closed=SizeLots(closed), size=SizeLots(size)) == released


@pytest.mark.parametrize(
    ("position", "equity", "bankrupt_at", "liquidated_at"),
    [
        (10, 200, 80, 85),
        (10, 201, 80, 85),  # a long's price is rounded up
        (10, 199, 81, 86),
        (-10, 200, 120, 115),
        (-10, 201, 120, 115),  # a short's price is rounded down
        (-10, 199, 119, 114),
        (10, 0, 100, 105),
        (10, -1, 101, 106),
        (-10, -1, 99, 94),
        (10, 1_000, 0, 5),
        (10, 1_001, 0, 5),
        (10, 1_500, -50, -45),  # worth more than the position: no price is low enough
    ],
)
def test_the_price_at_which_nothing_is_left_favours_the_account(
    position: int, equity: int, bankrupt_at: int, liquidated_at: int
) -> None:
    mark, tick = PriceTicks(100), Amount(1)
    assert bankruptcy_price(mark=mark, position=position, equity=equity, tick_amount=tick) == bankrupt_at
    found = liquidation_price(mark=mark, position=position, equity=equity, tick_amount=tick, maintenance=Amount(50))
    assert found == liquidated_at


@pytest.mark.parametrize(
    ("size", "step_ppm", "lots"),
    [
        (1, 0, 1),
        (1, 1, 1),
        (1, PPM, 1),
        (10, 0, 1),
        (10, 100_000, 1),
        (10, 100_001, 2),
        (10, 999_999, 10),
        (10, PPM, 10),
    ],
)
def test_a_step_of_a_liquidation_closes_at_least_one_lot(size: int, step_ppm: int, lots: int) -> None:
    assert liquidation_lots(SizeLots(size), step_ppm=step_ppm) == lots


@pytest.mark.parametrize(
    ("position", "rate_ppm", "paid"),
    [(1, 1, 1), (-1, 1, 0), (1, -1, 0), (-1, -1, 1), (PPM, 1, 1), (-PPM, 1, -1), (PPM + 1, 1, 2), (-PPM - 1, 1, -1)],
)
def test_longs_pay_at_a_positive_rate_and_nobody_receives_more_than_is_due(
    position: int, rate_ppm: int, paid: int
) -> None:
    assert funding_payment(position, mark=PriceTicks(1), tick_amount=Amount(1), rate_ppm=rate_ppm) == paid


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (10, [1], [10]),
        (10, [1, 1, 1], [4, 3, 3]),
        (11, [1, 1, 1], [4, 4, 3]),
        (1, [0, 0, 5], [0, 0, 1]),
        (2, [0, 1, 0, 1, 1], [0, 1, 0, 1, 0]),
        (7, [2, 1], [5, 2]),
    ],
)
def test_what_rounding_leaves_goes_to_the_first_that_have_a_weight(
    total: int, weights: list[int], shares: list[int]
) -> None:
    assert pro_rata(Amount(total), weights=weights) == shares


@pytest.mark.parametrize(
    ("prices", "mark"),
    [
        ([], None),
        ([100], None),  # too few
        ([100, 100], 100),
        ([100, 103], 101),  # the mean, rounded down
        ([100, 106], None),  # both are further than 2 % from the middle
        ([100, 101, 900], 100),  # the last is left out, and the mean of the others rounded down
        ([100, 102, 102], 102),
        ([98, 100, 102], 100),  # on the edge of the band
        ([97, 100, 103], None),  # only the middle is left
        ([0, 0, 0], None),
        ([-37, -37, -38], None),  # of the wrong sign
    ],
)
def test_a_mark_is_the_median_of_those_that_agree_or_nothing(prices: list[int], mark: int | None) -> None:
    assert mark_price(prices, band_ppm=20_000, sources_min=2) == mark


def test_a_band_of_nothing_keeps_only_what_is_exactly_the_median() -> None:
    assert mark_price([5, 5, 6], band_ppm=0, sources_min=2) == 5
    assert mark_price([5, 5, 6], band_ppm=0, sources_min=3) is None


@pytest.mark.parametrize(
    ("reference", "band_ppm", "lowest", "highest"),
    [
        (1_000, 0, 1_000, 1_000),
        (1_000, 50_000, 950, 1_050),
        (3, 500_000, 2, 4),
        (1, PPM, 1, 2),
        (1, 1, 1, 1),
        (99, 10_000, 99, 99),
    ],
)
def test_a_band_is_never_wider_than_its_rate_and_begins_at_one(
    reference: int, band_ppm: int, lowest: int, highest: int
) -> None:
    assert price_band(PriceTicks(reference), band_ppm=band_ppm) == (lowest, highest)
    assert protected_price(PriceTicks(reference), protection_ppm=band_ppm, buying=True) == highest
    assert protected_price(PriceTicks(reference), protection_ppm=band_ppm, buying=False) == lowest


def test_the_first_to_be_deleveraged_gained_most_with_least_behind_it() -> None:
    def score(profit: int, equity: int) -> int:
        return deleveraging_score(unrealised=profit, entry_value=-1_000, notional=Amount(1_000), equity=equity)

    ranked = [
        score(500, 0),
        score(500, 10),
        score(500, 100),
        score(100, 100),
        score(0, 5),
        score(-100, 10),
        score(-100, 100),
    ]
    assert all(higher > lower for higher, lower in pairwise(ranked))
    assert score(500, -7) == score(500, 1)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: ceil_div(1, 0),
        lambda: ceil_div(1, -1),
        lambda: fee_charged(-1),
        lambda: tier_of(Amount(-1), floors=[0]),
        lambda: tier_of(Amount(1), floors=[1, 2]),
        lambda: tier_of(Amount(1), floors=[0, 2, 2]),
        lambda: margin_required(Amount(1), floors=[0, 2], rates_ppm=[1]),
        lambda: margin_required(Amount(1), floors=[0, 2], rates_ppm=[2, 1]),
        lambda: released_entry(1, closed=SizeLots(2), size=SizeLots(1)),
        lambda: released_entry(1, closed=SizeLots(0), size=SizeLots(1)),
        lambda: realised(closed_long=True, value=Amount(-1), released=0),
        lambda: bankruptcy_price(mark=PriceTicks(1), position=0, equity=1, tick_amount=Amount(1)),
        lambda: funding_payment(1, mark=PriceTicks(0), tick_amount=Amount(1), rate_ppm=1),
        lambda: funding_payment(1, mark=PriceTicks(1), tick_amount=Amount(1), rate_ppm=PPM + 1),
        lambda: pro_rata(Amount(1), weights=[0, 0]),
        lambda: pro_rata(Amount(1), weights=[2, -1]),
        lambda: mark_price([1], band_ppm=1, sources_min=0),
        lambda: collateral_to_seize(
            Amount(1), price=PriceTicks(1), tick_amount=Amount(1), lot_amount=Amount(1), haircut_ppm=PPM
        ),
        lambda: price_band(PriceTicks(0), band_ppm=1),
    ],
)
def test_what_has_no_meaning_is_a_bug_of_the_caller(refused: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        refused()


# Properties -------------------------------------------------------------------------------------------------------


@on_both_backends(one=AMOUNTS, other=AMOUNTS)
def test_a_fee_over_the_whole_order_is_never_more_than_over_its_trades(one: int, other: int) -> None:
    assert fee_charged(one + other) <= fee_charged(one) + fee_charged(other) <= fee_charged(one + other) + 1
    assert fee_earned(one) + fee_earned(other) <= fee_earned(one + other)


@on_both_backends(debt=AMOUNTS, rate_ppm=RATES)
def test_what_is_charged_and_not_earned_is_a_remainder_of_less_than_one_unit(debt: Amount, rate_ppm: int) -> None:
    remainder = interest_charged(debt, rate_ppm=rate_ppm) - interest_earned(debt, rate_ppm=rate_ppm)
    assert remainder == (debt * rate_ppm % PPM > 0)


@on_both_backends(
    limit=PRICES,
    maker_ppm=RATES,
    taker_ppm=RATES,
    fills=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6), st.booleans()), min_size=1, max_size=2),
)
def test_what_is_held_for_a_buy_covers_every_way_to_fill_it(
    limit: PriceTicks, maker_ppm: int, taker_ppm: int, fills: list[tuple[int, int, bool]]
) -> None:
    def hold(lots: int, fee_numerator: int) -> int:
        return hold_to_buy(
            limit,
            SizeLots(lots),
            tick_amount=Amount(1),
            fee_numerator=fee_numerator,
            rate_ppm=max(maker_ppm, taker_ppm),
        )

    left = sum(lots for _, lots, _ in fills)
    held, paid, numerator = hold(left, 0), 0, 0
    for better, lots, is_maker in fills:
        value = notional(PriceTicks(max(0, limit - better)), SizeLots(lots), tick_amount=Amount(1))
        numerator += value * (maker_ppm if is_maker else taker_ppm)
        paid += value
        left -= lots
        assert paid + fee_charged(numerator) + hold(left, numerator) <= held


@on_both_backends(one=AMOUNTS, other=AMOUNTS, price=PRICES, tick_amount=UNITS, lot_amount=UNITS, haircut_ppm=RATES)
def test_parts_of_a_balance_count_for_no_more_than_the_whole(
    *, one: Amount, other: Amount, price: PriceTicks, tick_amount: Amount, lot_amount: Amount, haircut_ppm: int
) -> None:
    def value(amount: int) -> int:
        return collateral_value(
            Amount(amount), price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=haircut_ppm
        )

    assert value(one) + value(other) <= value(one + other) <= value(one) + value(other) + 1


@on_both_backends(amount=AMOUNTS, price=PRICES, tick_amount=UNITS, lot_amount=UNITS, haircut_ppm=RATES)
def test_borrowing_what_one_has_never_adds_value(
    amount: Amount, price: PriceTicks, tick_amount: Amount, lot_amount: Amount, haircut_ppm: int
) -> None:
    owed = debt_value(amount, price=price, tick_amount=tick_amount, lot_amount=lot_amount)
    counted = collateral_value(
        amount, price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=haircut_ppm
    )
    assert counted <= owed


@on_both_backends(worth=AMOUNTS, price=PRICES, tick_amount=UNITS, lot_amount=UNITS)
def test_what_can_be_paid_of_a_debt_is_the_most_that_is_covered(
    worth: Amount, price: PriceTicks, tick_amount: Amount, lot_amount: Amount
) -> None:
    paid = debt_affordable(worth, price=price, tick_amount=tick_amount, lot_amount=lot_amount)

    def value(amount: int) -> int:
        return debt_value(Amount(amount), price=price, tick_amount=tick_amount, lot_amount=lot_amount)

    assert value(paid) <= worth < value(paid + 1)


@settings(QUIET)
@given(lots=st.integers(0, 1_000), gap=st.integers(0, 1_000), budget=st.integers(0, 1_000_000))
def test_the_insurance_fund_pays_for_as_many_lots_as_it_can(lots: SizeLots, gap: Amount, budget: Amount) -> None:
    paid_for = insured_lots(lots, gap=gap, budget=budget)
    assert paid_for == max(number for number in range(lots + 1) if number * gap <= budget)


@settings(QUIET)
@given(owed=AMOUNTS, rate_ppm=RATES)
def test_the_margin_of_a_loan_is_the_exact_one_rounded_up(owed: Amount, rate_ppm: int) -> None:
    assert loan_margin(owed, rate_ppm=rate_ppm) == math.ceil(owed * Fraction(rate_ppm, PPM))


@on_both_backends(
    owed=AMOUNTS, price=PRICES, tick_amount=UNITS, lot_amount=UNITS, haircut_ppm=st.integers(0, PPM - 1)
)
def test_what_is_seized_is_the_least_that_covers_what_is_owed(
    owed: Amount, price: PriceTicks, tick_amount: Amount, lot_amount: Amount, haircut_ppm: int
) -> None:
    seized = collateral_to_seize(
        owed, price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=haircut_ppm
    )

    def value(amount: int) -> int:
        return collateral_value(
            Amount(amount), price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=haircut_ppm
        )

    assert value(seized) >= owed
    assert seized == 0 or value(seized - 1) < owed


@on_both_backends(value=AMOUNTS, drawn=tiers())
def test_tiers_give_the_rate_on_the_whole_less_a_maintenance_amount(
    value: Amount, drawn: tuple[list[int], list[int]]
) -> None:
    """Binance's form of the same function: https://www.binance.com/en/support/faq/360033162192."""
    floors, rates = drawn
    tier = tier_of(value, floors=floors)
    amount = sum(floors[index] * (rates[index] - rates[index - 1]) for index in range(1, tier + 1))
    assert margin_required(value, floors=floors, rates_ppm=rates) == -((amount - value * rates[tier]) // PPM)


@on_both_backends(value=AMOUNTS, drawn=tiers())
def test_a_tier_is_found_as_by_bisection(value: Amount, drawn: tuple[list[int], list[int]]) -> None:
    floors, _ = drawn
    assert tier_of(value, floors=floors) == bisect_right(floors, value) - 1


@on_both_backends(one=AMOUNTS, other=AMOUNTS, drawn=tiers())
def test_two_positions_never_need_more_margin_than_one_of_their_size(
    one: Amount, other: Amount, drawn: tuple[list[int], list[int]]
) -> None:
    floors, rates = drawn

    def margin(value: int) -> int:
        return margin_required(Amount(value), floors=floors, rates_ppm=rates)

    assert margin(one) + margin(other) <= margin(one + other) + 1
    assert margin(one) <= margin(one + other)


@on_both_backends(
    is_long=st.booleans(),
    entry_value=SIGNED,
    closings=st.lists(st.tuples(st.integers(1, 10**6), AMOUNTS), min_size=1, max_size=3),
)
def test_closing_in_parts_realises_the_whole_profit_and_leaves_no_entry(
    *, is_long: bool, entry_value: int, closings: list[tuple[int, Amount]]
) -> None:
    left, entry, profit = sum(lots for lots, _ in closings), entry_value, 0
    for lots, value in closings:
        released = released_entry(entry, closed=SizeLots(lots), size=SizeLots(left))
        profit += realised(closed_long=is_long, value=value, released=released)
        entry -= released
        left -= lots
    paid_or_received = sum(value for _, value in closings)
    assert entry == 0
    assert profit == (paid_or_received - entry_value if is_long else -entry_value - paid_or_received)


@on_both_backends(mark=PRICES, position=POSITIONS, equity=SIGNED, tick_amount=UNITS)
def test_at_the_bankruptcy_price_less_than_one_tick_is_left(
    mark: PriceTicks, position: int, equity: int, tick_amount: Amount
) -> None:
    price = bankruptcy_price(mark=mark, position=position, equity=equity, tick_amount=tick_amount)
    left = equity + unrealised(
        position, mark=PriceTicks(price), tick_amount=tick_amount, entry_value=position * mark * tick_amount
    )
    assert 0 <= left < abs(position) * tick_amount


@on_both_backends(mark=PRICES, position=POSITIONS, equity=SIGNED, tick_amount=UNITS, maintenance=AMOUNTS)
def test_one_tick_beyond_the_liquidation_price_is_below_the_maintenance(
    mark: PriceTicks, position: int, equity: int, tick_amount: Amount, maintenance: Amount
) -> None:
    price = liquidation_price(
        mark=mark, position=position, equity=equity, tick_amount=tick_amount, maintenance=maintenance
    )
    beyond = price - 1 if position > 0 else price + 1
    assert equity + position * (price - mark) * tick_amount >= maintenance
    assert equity + position * (beyond - mark) * tick_amount < maintenance


@on_both_backends(size=st.integers(1, 40), step_ppm=RATES)
def test_a_liquidation_in_steps_ends(size: int, step_ppm: int) -> None:
    steps = 0
    while size:
        size -= liquidation_lots(SizeLots(size), step_ppm=step_ppm)
        steps += 1
        assert size >= 0
        assert steps <= 40


@on_both_backends(
    positions=st.lists(st.integers(-(10**12), 10**12), max_size=4),
    mark=PRICES,
    tick_amount=UNITS,
    rate_ppm=st.integers(-PPM, PPM),
)
def test_funding_never_creates_money(
    positions: list[int], mark: PriceTicks, tick_amount: Amount, rate_ppm: int
) -> None:
    everyone = [*positions, -sum(positions)]
    paid = sum(
        funding_payment(position, mark=mark, tick_amount=tick_amount, rate_ppm=rate_ppm) for position in everyone
    )
    assert 0 <= paid < len(everyone)


@on_both_backends(total=AMOUNTS, weights=st.lists(st.integers(0, 10**12), min_size=1, max_size=3))
def test_shares_sum_to_the_total_and_differ_from_the_exact_ones_by_at_most_one_unit(
    total: Amount, weights: list[int]
) -> None:
    assume(any(weights))
    shares = pro_rata(total, weights=weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - total * weight) <= sum(weights)
        assert weight or not share


@on_both_backends(
    honest=PRICES,
    liars=st.lists(st.integers(-(10**12), 10**12), max_size=2),
    band_ppm=RATES,
    place=st.integers(0, 2),
)
def test_fewer_than_half_of_the_sources_cannot_move_the_mark(
    honest: PriceTicks, liars: list[int], band_ppm: int, place: int
) -> None:
    sources = [honest] * (len(liars) + 1)
    prices = [*sources[:place], *liars, *sources[place:]]
    assert mark_price(prices, band_ppm=band_ppm, sources_min=len(sources)) == honest


@on_both_backends(
    prices=st.lists(st.integers(-50, 10**12), max_size=3), band_ppm=RATES, sources_min=st.integers(1, 4)
)
def test_the_order_of_the_sources_does_not_matter(prices: list[int], band_ppm: int, sources_min: int) -> None:
    found = mark_price(prices, band_ppm=band_ppm, sources_min=sources_min)
    assert found == mark_price(sorted(prices), band_ppm=band_ppm, sources_min=sources_min)
    assert found is None or (found > 0 and min(prices) <= found <= max(prices))


@on_both_backends(reference=PRICES, band_ppm=RATES, price=PRICES)
def test_a_price_is_in_the_band_exactly_when_it_deviates_by_no_more_than_its_rate(
    reference: PriceTicks, band_ppm: int, price: PriceTicks
) -> None:
    lowest, highest = price_band(reference, band_ppm=band_ppm)
    assert (lowest <= price <= highest) == (abs(price - reference) * PPM <= band_ppm * reference)


@on_both_backends(profit=SIGNED, more=st.integers(0, 10**30), entry_value=POSITIONS, notional=UNITS, equity=SIGNED)
def test_who_gained_more_is_never_ranked_lower(
    profit: int, more: int, entry_value: int, notional: Amount, equity: int
) -> None:
    low = deleveraging_score(unrealised=profit, entry_value=entry_value, notional=notional, equity=equity)
    high = deleveraging_score(unrealised=profit + more, entry_value=entry_value, notional=notional, equity=equity)
    assert low <= high
    assert (low < 0) == (profit < 0)


def test_the_symbolic_backend_finds_what_chance_does_not() -> None:
    """So that a backend that quietly did nothing would not pass for one that explored."""

    def check(debt: Amount) -> None:
        assert interest_charged(debt, rate_ppm=250_000) != 123_456_789

    BACKENDS["hypothesis"](given(debt=AMOUNTS)(check))()
    with pytest.raises(AssertionError):
        BACKENDS["crosshair"](given(debt=AMOUNTS)(check))()


# Exact values, by rational arithmetic -----------------------------------------------------------------------------


@settings(QUIET)
@given(amount=AMOUNTS, price=PRICES, tick_amount=UNITS, lot_amount=UNITS, haircut_ppm=RATES)
def test_values_are_the_exact_ones_rounded_once(
    amount: Amount, price: PriceTicks, tick_amount: Amount, lot_amount: Amount, haircut_ppm: int
) -> None:
    exact = Fraction(amount, lot_amount) * price * tick_amount
    counted = collateral_value(
        amount, price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=haircut_ppm
    )
    assert counted == math.floor(exact * (1 - Fraction(haircut_ppm, PPM)))
    assert debt_value(amount, price=price, tick_amount=tick_amount, lot_amount=lot_amount) == math.ceil(exact)


@settings(QUIET)
@given(position=POSITIONS, mark=PRICES, tick_amount=UNITS, rate_ppm=st.integers(-PPM, PPM), equity=SIGNED)
def test_payments_and_prices_are_the_exact_ones_rounded_once(
    position: int, mark: PriceTicks, tick_amount: Amount, rate_ppm: int, equity: int
) -> None:
    due = position * mark * tick_amount * Fraction(rate_ppm, PPM)
    assert funding_payment(position, mark=mark, tick_amount=tick_amount, rate_ppm=rate_ppm) == math.ceil(due)
    exact = mark - Fraction(equity, position * tick_amount)
    expected = math.ceil(exact) if position > 0 else math.floor(exact)
    assert bankruptcy_price(mark=mark, position=position, equity=equity, tick_amount=tick_amount) == expected


def test_the_rules_divide_nowhere_but_in_the_arithmetic() -> None:
    """So that every rounding has a contract, and says who gains the remainder."""
    folder = Path(arithmetic.__file__).parent
    dividing = {
        path.stem
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.FloorDiv | ast.Div | ast.Mod)
    }
    assert dividing == {
        "arithmetic",
        "frost",  # scalars of a group, and no money
        "ingress",  # the second that a time is in
        "journal",  # text that is put into a pattern
        "quorums",  # scalars of a group
        "storage",  # half a line, and paths
    }
