"""Pure integer arithmetic of the venue. Every division says which way it rounds and who gains the remainder.

Amounts are in an asset's smallest unit, prices in ticks, sizes in lots, rates in millionths (ppm). A `tick_amount` is
the quote amount of one lot at a price of one tick, a `lot_amount` the base amount of one lot, so that an amount of
the base asset is worth `amount * price * tick_amount / lot_amount` of the quote asset. A position is a signed number
of lots, positive when long. What an assertion states is required of every caller.

The `pre:` and `post:` lines are contracts after PEP 316, in which `_` is what is returned; `make crosshair` checks
them over all integers that satisfy `pre:`, and they cost nothing at run time. Where `pre:` is narrower than the
assertions (short lists, rates of at most 100 %), it bounds what is explored, not what may be called.
"""

from itertools import pairwise

from holdfast_model.vocabulary import Amount, PriceTicks, SizeLots

PPM = 1_000_000
_ROUND_UP = PPM - 1


def ceil_div(numerator: int, denominator: int) -> int:
    """The smallest integer that is not below the quotient: whoever is paid the result gains the remainder.

    >>> ceil_div(7, 2), ceil_div(-7, 2), ceil_div(6, 2)
    (4, -3, 3)

    pre: denominator > 0
    post: 0 <= _ * denominator - numerator < denominator
    """
    assert denominator > 0
    return -(-numerator // denominator)


def notional(price: PriceTicks, size: SizeLots, *, tick_amount: Amount) -> Amount:
    """The quote amount that `size` lots cost at `price` ticks: exact, nothing is rounded.

    >>> notional(20, 3, tick_amount=10)
    600

    pre: price >= 0 and size >= 0 and tick_amount >= 0
    post: _ >= 0
    post: (_ == 0) == (price == 0 or size == 0 or tick_amount == 0)
    post: notional(price, size + 1, tick_amount=tick_amount) - _ == price * tick_amount
    """
    return price * size * tick_amount  # type: ignore[return-value]  # an amount


def fee_charged(numerator: int) -> Amount:
    """The fee on an order whose trades sum to `numerator` (quote amount times ppm), rounded up once over the order.

    Rounding once per order and not per trade keeps an order that fills in a hundred pieces from paying a hundred
    remainders. The house gains the remainder, which is posted to its rounding account.

    >>> fee_charged(1), fee_charged(1_000_000), fee_charged(1_000_001)
    (1, 1, 2)

    pre: numerator >= 0
    post: 0 <= _ * PPM - numerator < PPM
    """
    assert numerator >= 0
    return Amount(ceil_div(numerator, PPM))


def fee_earned(numerator: int) -> Amount:
    """The whole part of the exact fee: what is posted to the house's fee account; the rest of the charge is rounding.

    >>> fee_earned(1), fee_earned(1_999_999)
    (0, 1)

    pre: numerator >= 0
    post: 0 <= numerator - _ * PPM < PPM
    post: 0 <= fee_charged(numerator) - _ <= 1
    """
    assert numerator >= 0
    return Amount(numerator // PPM)


def fee_added(numerator: int, more: int) -> Amount:
    """What trades that add `more` to an order's numerator add to its fee, which is rounded up once over the order.

    >>> fee_added(0, 1), fee_added(1, 999_999), fee_added(1, 1_000_000)
    (1, 0, 1)

    pre: numerator >= 0 and more >= 0
    post: _ == fee_charged(numerator + more) - fee_charged(numerator)
    """
    assert numerator >= 0
    assert more >= 0
    # Both charges are written out, and divide what is positive: this is asked several times a trade.
    charged = (numerator + _ROUND_UP) // PPM
    return (numerator + more + _ROUND_UP) // PPM - charged  # type: ignore[return-value]  # an amount


def fee_added_earned(numerator: int, more: int) -> Amount:
    """The part of `fee_added` that is posted to the house's fee account; the rest is rounding.

    >>> fee_added_earned(0, 999_999), fee_added_earned(999_999, 1)
    (0, 1)

    pre: numerator >= 0 and more >= 0
    post: _ == fee_earned(numerator + more) - fee_earned(numerator)
    """
    assert numerator >= 0
    assert more >= 0
    return (numerator + more) // PPM - numerator // PPM  # type: ignore[return-value]  # an amount


def hold_to_buy(
    price: PriceTicks, left: SizeLots, *, tick_amount: Amount, fee_numerator: int, rate_ppm: int
) -> Amount:
    """The quote amount that must be held for what is left of a buy order at its limit price, fees included.

    `fee_numerator` is that of the order's trades so far, already charged. The fee still to come is reckoned at
    `rate_ppm`, which is to be the higher of the two rates, because whether a fill is a maker's or a taker's is not
    known beforehand. No fill at the limit price or better can need more than this; the house gains the remainder of
    the fee, once over the order.

    >>> hold_to_buy(20, 3, tick_amount=10, fee_numerator=0, rate_ppm=1_000)
    601
    >>> hold_to_buy(20, 2, tick_amount=10, fee_numerator=200_000, rate_ppm=1_000)
    400

    pre: price >= 0 and left >= 0 and tick_amount >= 0 and fee_numerator >= 0
    pre: 0 <= rate_ppm <= PPM
    post: _ >= price * left * tick_amount
    post: -PPM < (_ - price * left * tick_amount) * PPM - price * left * tick_amount * rate_ppm < PPM
    post: left == 0 or _ - price * tick_amount >= hold_to_buy(price, left - 1, tick_amount=tick_amount, fee_numerator=fee_numerator + price * tick_amount * rate_ppm, rate_ppm=rate_ppm)
    """  # noqa: E501 - a condition stands on one line
    assert fee_numerator >= 0
    value = price * left * tick_amount
    # As `fee_added` is, written out once more: this is asked most often.
    charged = (fee_numerator + _ROUND_UP) // PPM
    more = (fee_numerator + value * rate_ppm + _ROUND_UP) // PPM - charged
    return value + more  # type: ignore[return-value]  # an amount


def hold_to_sell(left: SizeLots, *, lot_amount: Amount) -> Amount:
    """The base amount that must be held for what is left of a sell order; its fee comes out of the proceeds.

    Exact, nothing is rounded.

    >>> hold_to_sell(3, lot_amount=1_000)
    3000

    pre: left >= 0 and lot_amount >= 0
    post: (_ == 0) == (left == 0 or lot_amount == 0)
    post: hold_to_sell(left + 1, lot_amount=lot_amount) - _ == lot_amount
    """
    return left * lot_amount  # type: ignore[return-value]  # an amount


def collateral_value(
    amount: Amount, *, price: PriceTicks, tick_amount: Amount, lot_amount: Amount, haircut_ppm: int
) -> Amount:
    """The quote amount that an amount of a collateral asset counts for: its value less the haircut, rounded down.

    The client bears the rounding, once, after the haircut: what counts is never more than what is there. Source: the
    "collateral value ratio" of Bybit's and OKX's unified accounts, which is 1 less the haircut.

    >>> collateral_value(150, price=10, tick_amount=1, lot_amount=100, haircut_ppm=50_000)
    14

    pre: amount >= 0 and price >= 0 and tick_amount > 0 and lot_amount > 0
    pre: 0 <= haircut_ppm <= PPM
    post: 0 <= _ * lot_amount <= amount * price * tick_amount
    post: 0 <= amount * price * tick_amount * (PPM - haircut_ppm) - _ * lot_amount * PPM < lot_amount * PPM
    """
    assert amount >= 0
    assert price >= 0
    assert lot_amount > 0
    assert 0 <= haircut_ppm <= PPM
    return Amount(amount * price * tick_amount * (PPM - haircut_ppm) // (lot_amount * PPM))


def debt_value(amount: Amount, *, price: PriceTicks, tick_amount: Amount, lot_amount: Amount) -> Amount:
    """The quote amount that a debt in the base asset counts for, rounded up: the client bears the rounding.

    >>> [debt_value(amount, price=10, tick_amount=1, lot_amount=100) for amount in (150, 151)]
    [15, 16]

    pre: amount >= 0 and price >= 0 and tick_amount > 0 and lot_amount > 0
    post: 0 <= _ * lot_amount - amount * price * tick_amount < lot_amount
    post: _ >= collateral_value(amount, price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=0)
    """
    assert amount >= 0
    assert price >= 0
    assert lot_amount > 0
    return Amount(ceil_div(amount * price * tick_amount, lot_amount))


def debt_affordable(worth: Amount, *, price: PriceTicks, tick_amount: Amount, lot_amount: Amount) -> Amount:
    """The largest amount of a debt in the base asset whose `debt_value` is no more than what is there to pay it.

    Rounded down: whoever takes `worth` over and pays the debt gains the remainder.

    >>> [debt_affordable(worth, price=10, tick_amount=1, lot_amount=25) for worth in (1, 15, 16)]
    [2, 37, 40]

    pre: worth >= 0 and price > 0 and tick_amount > 0 and lot_amount > 0
    post: debt_value(_, price=price, tick_amount=tick_amount, lot_amount=lot_amount) <= worth
    post: debt_value(_ + 1, price=price, tick_amount=tick_amount, lot_amount=lot_amount) > worth
    """
    assert worth >= 0
    assert price > 0
    assert tick_amount > 0
    return Amount(worth * lot_amount // (price * tick_amount))


def loan_margin(owed: Amount, *, rate_ppm: int) -> Amount:
    """The margin that debts of this value require, rounded up once: the client bears the rounding.

    >>> loan_margin(1, rate_ppm=100_000), loan_margin(20, rate_ppm=100_000), loan_margin(21, rate_ppm=100_000)
    (1, 2, 3)

    pre: owed >= 0
    pre: 0 <= rate_ppm <= PPM
    post: 0 <= _ * PPM - owed * rate_ppm < PPM
    """
    assert owed >= 0
    assert 0 <= rate_ppm <= PPM
    return Amount(ceil_div(owed * rate_ppm, PPM))


def interest_charged(debt: Amount, *, rate_ppm: int) -> Amount:
    """The interest that one accrual adds to a debt, rounded up: the house's rounding account gains the remainder.

    >>> interest_charged(1, rate_ppm=1), interest_charged(2_000_000, rate_ppm=1), interest_charged(0, rate_ppm=9)
    (1, 2, 0)

    pre: debt >= 0
    pre: rate_ppm >= 0
    post: 0 <= _ * PPM - debt * rate_ppm < PPM
    """
    assert debt >= 0
    assert rate_ppm >= 0
    return Amount(ceil_div(debt * rate_ppm, PPM))


def interest_earned(debt: Amount, *, rate_ppm: int) -> Amount:
    """The whole part of one accrual's exact interest: what is income; what was charged beyond it is rounding.

    >>> interest_earned(1, rate_ppm=1), interest_earned(2_000_001, rate_ppm=1)
    (0, 2)

    pre: debt >= 0
    pre: rate_ppm >= 0
    post: 0 <= debt * rate_ppm - _ * PPM < PPM
    post: 0 <= interest_charged(debt, rate_ppm=rate_ppm) - _ <= 1
    """
    assert debt >= 0
    assert rate_ppm >= 0
    return Amount(debt * rate_ppm // PPM)


def tier_of(value: Amount, *, floors: list[int]) -> int:
    """The index of the tier that a value falls into: `floors[i] <= value < floors[i + 1]`.

    A value on an edge belongs to the tier that begins there.

    >>> [tier_of(value, floors=[0, 100, 500]) for value in (0, 99, 100, 499, 500, 501)]
    [0, 0, 1, 1, 2, 2]

    pre: value >= 0
    pre: 1 <= len(floors) <= 4
    pre: floors[0] == 0 and _is_rising(floors)
    post: 0 <= _ < len(floors)
    post: floors[_] <= value
    post: _ + 1 == len(floors) or value < floors[_ + 1]
    """
    assert value >= 0
    assert floors[0] == 0
    assert _is_rising(floors)
    index = 0
    while index + 1 < len(floors) and floors[index + 1] <= value:
        index += 1
    return index


def margin_required(value: Amount, *, floors: list[int], rates_ppm: list[int]) -> Amount:
    """The margin that a position's value requires, by progressive tiers, rounded up once: the client bears it.

    Tier `i` takes `rates_ppm[i]` of the part of the value from `floors[i]` to `floors[i + 1]`, so that the margin is
    continuous at the edges and a larger position never needs less. Source: Binance and Bybit state the same function
    as one rate on the whole value less a "maintenance amount" ("maintenance margin deduction") for each tier.

    >>> [margin_required(value, floors=[0, 1_000], rates_ppm=[10_000, 20_000]) for value in (0, 1, 1_000, 1_001)]
    [0, 1, 10, 11]

    pre: value >= 0
    pre: 1 <= len(floors) == len(rates_ppm) <= 3
    pre: floors[0] == 0 and _is_rising(floors)
    pre: 0 <= rates_ppm[0] and rates_ppm == sorted(rates_ppm) and rates_ppm[-1] <= PPM
    post: rates_ppm[0] * value <= _ * PPM < rates_ppm[-1] * value + PPM
    post: 0 <= margin_required(value + 1, floors=floors, rates_ppm=rates_ppm) - _ <= 1
    post: margin_required(value + PPM, floors=floors, rates_ppm=rates_ppm) - _ >= rates_ppm[tier_of(value, floors=floors)]
    post: margin_required(value + PPM, floors=floors, rates_ppm=rates_ppm) - _ <= rates_ppm[tier_of(value + PPM, floors=floors)]
    """  # noqa: E501 - a condition stands on one line
    assert value >= 0
    assert floors[0] == 0
    assert _is_rising(floors)
    assert len(rates_ppm) == len(floors)
    assert rates_ppm[0] >= 0
    assert all(low <= high for low, high in pairwise(rates_ppm))
    numerator = 0
    for index, rate in enumerate(rates_ppm):
        ceiling = floors[index + 1] if index + 1 < len(floors) else value
        numerator += max(0, min(value, ceiling) - floors[index]) * rate
    return Amount(ceil_div(numerator, PPM))


def unrealised(position: int, *, mark: PriceTicks, tick_amount: Amount, entry_value: int) -> int:
    """The profit, or negative the loss, of closing a position at the mark: exact, nothing is rounded.

    `entry_value` is signed as the position is: what was paid for a long, minus what was received for a short.

    >>> unrealised(3, mark=20, tick_amount=10, entry_value=450)
    150
    >>> unrealised(-3, mark=20, tick_amount=10, entry_value=-450)
    -150

    post: unrealised(-position, mark=mark, tick_amount=tick_amount, entry_value=-entry_value) == -_
    post: _ + entry_value == position * unrealised(1, mark=mark, tick_amount=tick_amount, entry_value=0)
    post: _ + entry_value == mark * unrealised(position, mark=1, tick_amount=tick_amount, entry_value=0)
    post: _ + entry_value == tick_amount * unrealised(position, mark=mark, tick_amount=1, entry_value=0)
    post: not (position == mark == tick_amount == 1) or _ == 1 - entry_value
    """
    return position * mark * tick_amount - entry_value


def released_entry(entry_value: int, *, closed: SizeLots, size: SizeLots) -> int:
    """The part of a position's signed entry value that closing `closed` of its `size` lots releases, pro rata.

    Truncated towards zero: the remainder stays with the lots that are left, so that nobody gains it, and closing
    everything releases everything.

    >>> [released_entry(entry_value, closed=1, size=3) for entry_value in (100, -100)]
    [33, -33]
    >>> released_entry(100, closed=3, size=3)
    100

    pre: 0 < closed <= size
    post: closed < size or _ == entry_value
    post: min(entry_value, 0) <= _ <= max(entry_value, 0)
    post: abs(_) * size <= abs(entry_value) * closed < (abs(_) + 1) * size
    """
    assert 0 < closed <= size
    released = abs(entry_value) * closed // size
    return released if entry_value >= 0 else -released


def realised(*, closed_long: bool, value: Amount, released: int) -> int:
    """The profit, or negative the loss, of closing lots for `value`: exact, nothing is rounded.

    `value` is the notional of the closing trade: the proceeds of a long that is sold, the cost of a short that is
    bought back. `released` is what `released_entry` gave for these lots; what an account owes is in the entry value
    too, so that it may have either sign.

    >>> realised(closed_long=True, value=600, released=450)
    150
    >>> realised(closed_long=False, value=600, released=-450)
    -150

    pre: value >= 0
    post: (_ > 0) == ((value > released) if closed_long else (value < -released))
    post: realised(closed_long=closed_long, value=value + 1, released=released) - _ == (1 if closed_long else -1)
    post: realised(closed_long=not closed_long, value=value, released=-released) == -_
    """
    assert value >= 0
    return value - released if closed_long else -released - value


def bankruptcy_price(*, mark: PriceTicks, position: int, equity: int, tick_amount: Amount) -> int:
    """The price in ticks at which closing the whole position leaves an equity of 0, or just above it.

    Rounded up for a long and down for a short: the account keeps the remainder, which goes to the insurance fund when
    the position is taken over. `equity` is the account's at `mark`, and may be negative. The result may be 0 or
    negative where no price is low enough (a long with more equity than it is worth) or high enough; whoever makes an
    order of it clamps it to at least 1.

    >>> bankruptcy_price(mark=100, position=10, equity=205, tick_amount=1)
    80
    >>> bankruptcy_price(mark=100, position=-10, equity=205, tick_amount=1)
    120

    pre: position != 0 and tick_amount > 0
    post: equity + position * (_ - mark) * tick_amount >= 0
    post: equity + position * (_ - mark) * tick_amount < abs(position) * tick_amount
    """
    assert position != 0
    assert tick_amount > 0
    distance = equity // (abs(position) * tick_amount)
    return mark - distance if position > 0 else mark + distance


def liquidation_price(
    *, mark: PriceTicks, position: int, equity: int, tick_amount: Amount, maintenance: Amount
) -> int:
    """The price in ticks at which the equity falls to a maintenance amount, which is held constant.

    Rounded so that at this price the account is still at or above the amount, and one tick further it is below. Like
    `bankruptcy_price`, which is this for an amount of 0, the result may be 0 or negative.

    >>> liquidation_price(mark=100, position=10, equity=205, tick_amount=1, maintenance=50)
    85
    >>> liquidation_price(mark=100, position=-10, equity=205, tick_amount=1, maintenance=50)
    115

    pre: position != 0 and tick_amount > 0 and maintenance >= 0
    post: equity + position * (_ - mark) * tick_amount >= maintenance
    post: equity + position * (_ - mark) * tick_amount < maintenance + abs(position) * tick_amount
    """
    assert maintenance >= 0
    return bankruptcy_price(mark=mark, position=position, equity=equity - maintenance, tick_amount=tick_amount)


def liquidation_lots(size: SizeLots, *, step_ppm: int) -> SizeLots:
    """The lots that one step of a liquidation closes of `size`: the step's share, rounded up, at least 1.

    Rounded up so that a liquidation always ends; nobody gains an amount by it.

    >>> [liquidation_lots(size, step_ppm=250_000) for size in (1, 4, 5, 10)]
    [1, 1, 2, 3]

    pre: size > 0
    pre: 0 <= step_ppm <= PPM
    post: 1 <= _ <= size
    post: _ * PPM >= size * step_ppm
    post: _ == 1 or (_ - 1) * PPM < size * step_ppm
    """
    assert size > 0
    assert 0 <= step_ppm <= PPM
    return SizeLots(max(1, ceil_div(size * step_ppm, PPM)))


def insured_lots(lots: SizeLots, *, gap: Amount, budget: Amount) -> SizeLots:
    """How many of these lots can be closed where each costs the insurance fund `gap`, with what is left in the fund.

    Rounded down: the fund never pays more than it has. Where a lot costs nothing, all of them.

    >>> [insured_lots(5, gap=gap, budget=7) for gap in (0, 1, 2, 7, 8)]
    [5, 5, 3, 1, 0]

    pre: lots >= 0 and gap >= 0 and budget >= 0
    post: 0 <= _ <= lots
    post: _ * gap <= budget
    post: _ == lots or (_ + 1) * gap > budget
    """
    assert gap >= 0
    assert budget >= 0
    return SizeLots(min(lots, budget // gap)) if gap else lots


def funding_payment(position: int, *, mark: PriceTicks, tick_amount: Amount, rate_ppm: int) -> int:
    """The amount that an account pays for one funding, or negative receives: longs pay at a positive rate.

    Rounded up: who pays pays up to one unit more, who receives gets up to one unit less, and the house's rounding
    account gains the difference, so that funding never creates money. Source: the funding of BitMEX, Binance and
    Bybit is position value times funding rate.

    >>> [funding_payment(position, mark=15, tick_amount=1, rate_ppm=100_000) for position in (1, -1, 2, -2)]
    [2, -1, 3, -3]

    pre: mark > 0 and tick_amount > 0
    pre: -PPM <= rate_ppm <= PPM
    post: 0 <= _ * PPM - position * mark * tick_amount * rate_ppm < PPM
    post: 0 <= _ + funding_payment(-position, mark=mark, tick_amount=tick_amount, rate_ppm=rate_ppm) <= 1
    """
    assert mark > 0
    assert -PPM <= rate_ppm <= PPM
    return ceil_div(position * mark * tick_amount * rate_ppm, PPM)


def pro_rata(total: Amount, *, weights: list[int]) -> list[Amount]:
    """Shares of a total by weight, which sum to it exactly: rounded down, then one unit more for the first ones.

    The units that rounding leaves go one each to the first weights that are not zero, in the order given, so that
    the order must be a published one.

    >>> pro_rata(10, weights=[1, 1, 1]), pro_rata(10, weights=[0, 1, 2])
    ([4, 3, 3], [0, 4, 6])

    pre: total >= 0
    pre: 1 <= len(weights) <= 3
    pre: all(weight >= 0 for weight in weights) and any(weights)
    post: all(share == 0 for share, weight in zip(_, weights) if weight == 0)
    post: sum(_) == total
    post: len(_) == len(weights) and all(share >= 0 for share in _)
    post: all(abs(_[i] * sum(weights) - total * weights[i]) <= sum(weights) for i in range(len(weights)))
    post: all(_[i] >= _[i + 1] for i in range(len(weights) - 1) if weights[i] == weights[i + 1])
    """
    assert total >= 0
    assert all(weight >= 0 for weight in weights)
    whole = sum(weights)
    assert whole > 0
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    for index, weight in enumerate(weights):
        if left > 0 and weight > 0:
            shares[index] += 1
            left -= 1
    assert left == 0
    return [Amount(share) for share in shares]


def agreeing(prices: list[int], *, band_ppm: int) -> list[int]:
    """The prices that lie within `band_ppm` of the median of all, in the order given: the others are outliers.

    >>> agreeing([100, 900, 102], band_ppm=50_000), agreeing([100, 200], band_ppm=50_000), agreeing([], band_ppm=0)
    ([100, 102], [], [])

    pre: len(prices) <= 3
    pre: 0 <= band_ppm <= PPM
    post: len(_) <= len(prices) and all(price in prices for price in _)
    post: not (len(prices) == 3 and prices[0] == prices[1]) or _[:2] == prices[:2]
    """
    assert 0 <= band_ppm <= PPM
    if not prices:
        return []
    middle = _median(prices)
    return [price for price in prices if abs(price - middle) * PPM <= band_ppm * abs(middle)]


def mark_price(prices: list[int], *, band_ppm: int, sources_min: int) -> PriceTicks | None:
    """The mark of the fresh prices of several sources, or None where too few agree: unavailable is never a guess.

    It is the median of the prices that lie within `band_ppm` of the median of all; the median of an even number is
    the mean of the two in the middle, rounded down (a mark is no payment: nobody gains). None when fewer than
    `sources_min` prices are there or are left, and when the mark would be 0 or negative. Source: BitMEX's index
    protection rules, which exclude a constituent that deviates from the median by more than a stated share.

    >>> [mark_price(prices, band_ppm=50_000, sources_min=2) for prices in ([100, 102], [100, 103], [100, 102, 900])]
    [101, 101, 101]
    >>> [mark_price(prices, band_ppm=50_000, sources_min=2) for prices in ([100], [100, 200], [-37, -37])]
    [None, None, None]

    pre: len(prices) <= 3
    pre: 0 <= band_ppm <= PPM
    pre: 1 <= sources_min <= 4
    post: not (len(prices) == 3 and prices[0] == prices[1] > 0 and sources_min <= 2) or _ == prices[0]
    post: _ is None or (len(prices) >= sources_min and _ > 0)
    post: len(prices) < sources_min or any(price != prices[0] or price <= 0 for price in prices) or _ == prices[0]
    post: _ is None or min(prices) <= _ <= max(prices)
    post: _ is None or sum(abs(price - _median(prices)) * PPM <= band_ppm * abs(_median(prices)) for price in prices) >= sources_min
    post: mark_price(prices[::-1], band_ppm=band_ppm, sources_min=sources_min) == _
    post: mark_price(prices[1:] + prices[:1], band_ppm=band_ppm, sources_min=sources_min) == _
    """  # noqa: E501 - a condition stands on one line
    assert 0 <= band_ppm <= PPM
    assert sources_min > 0
    if len(prices) < sources_min:
        return None
    kept = agreeing(prices, band_ppm=band_ppm)
    if len(kept) < sources_min:
        return None
    mark = _median(kept)
    return PriceTicks(mark) if mark > 0 else None


def deleveraging_score(*, unrealised: int, entry_value: int, notional: Amount, equity: int) -> int:
    """The rank of a position for auto-deleveraging: the highest is closed first.

    The profit in ppm of the entry value times the leverage in ppm, so that who gained most with least behind it
    comes first; a loss is divided by the leverage instead. Source: BitMEX's priority ranking, with the leverage here
    that of the notional over the equity. Both scores are in ppm squared and rounded down; nobody gains an amount. An
    equity below 1 counts as 1.

    >>> deleveraging_score(unrealised=50, entry_value=100, notional=150, equity=50)
    1500000000000
    >>> deleveraging_score(unrealised=-50, entry_value=-100, notional=150, equity=50)
    -166666666667

    pre: notional > 0
    post: (_ < 0) == (unrealised < 0)
    post: not (abs(entry_value) == notional == equity == 1) or _ == unrealised * PPM * PPM
    post: unrealised < 0 or _ * max(1, abs(entry_value)) * max(1, equity) <= unrealised * notional * PPM * PPM
    post: unrealised >= 0 or notional * PPM < equity or _ * max(1, abs(entry_value)) * notional <= unrealised * max(1, equity) * PPM * PPM
    post: equity > 0 or _ == deleveraging_score(unrealised=unrealised, entry_value=entry_value, notional=notional, equity=1)
    post: _ == deleveraging_score(unrealised=unrealised, entry_value=-entry_value, notional=notional, equity=equity)
    post: _ >= deleveraging_score(unrealised=unrealised - 1, entry_value=entry_value, notional=notional, equity=equity)
    post: _ >= deleveraging_score(unrealised=unrealised, entry_value=entry_value, notional=notional, equity=equity + 1)
    """  # noqa: E501 - a condition stands on one line
    assert notional >= 0
    profit = unrealised * PPM // max(1, abs(entry_value))
    leverage = notional * PPM // max(1, equity)
    return profit * leverage if profit >= 0 else profit * PPM * PPM // max(1, leverage)


def collateral_to_seize(
    owed: Amount, *, price: PriceTicks, tick_amount: Amount, lot_amount: Amount, haircut_ppm: int
) -> Amount:
    """The smallest amount of a collateral asset whose `collateral_value` is at least what is owed.

    Rounded up: the insurance fund, which takes the collateral, gains the remainder and the haircut.

    >>> collateral_to_seize(14, price=10, tick_amount=1, lot_amount=100, haircut_ppm=50_000)
    148
    >>> collateral_value(147, price=10, tick_amount=1, lot_amount=100, haircut_ppm=50_000)
    13

    pre: owed >= 0 and price > 0 and tick_amount > 0 and lot_amount > 0
    pre: 0 <= haircut_ppm < PPM
    post: _ * price * tick_amount * (PPM - haircut_ppm) >= owed * lot_amount * PPM
    post: collateral_value(_, price=price, tick_amount=tick_amount, lot_amount=lot_amount, haircut_ppm=haircut_ppm) >= owed
    post: _ == 0 or (_ - 1) * price * tick_amount * (PPM - haircut_ppm) < owed * lot_amount * PPM
    """  # noqa: E501 - a condition stands on one line
    assert owed >= 0
    assert price > 0
    assert tick_amount > 0
    assert 0 <= haircut_ppm < PPM
    return Amount(ceil_div(owed * lot_amount * PPM, price * tick_amount * (PPM - haircut_ppm)))


def price_band(reference: PriceTicks, *, band_ppm: int) -> tuple[PriceTicks, PriceTicks]:
    """The lowest and the highest price that is allowed around a reference: never wider than the band, at least 1.

    The lowest is rounded up and the highest down; a limit is no payment, so nobody gains an amount.

    >>> price_band(1_000, band_ppm=50_000), price_band(3, band_ppm=500_000), price_band(1, band_ppm=1_000_000)
    ((950, 1050), (2, 4), (1, 2))

    pre: reference > 0
    pre: 0 <= band_ppm <= PPM
    post: 1 <= _[0] <= reference <= _[1]
    post: (reference - _[0]) * PPM <= band_ppm * reference
    post: (_[1] - reference) * PPM <= band_ppm * reference
    post: _[0] == 1 or (reference - _[0] + 1) * PPM > band_ppm * reference
    post: (_[1] - reference + 1) * PPM > band_ppm * reference
    """
    assert reference > 0
    assert 0 <= band_ppm <= PPM
    lowest = ceil_div(reference * (PPM - band_ppm), PPM)
    highest = reference * (PPM + band_ppm) // PPM
    return PriceTicks(max(1, lowest)), PriceTicks(highest)


def protected_price(best: PriceTicks, *, protection_ppm: int, buying: bool) -> PriceTicks:
    """The worst price that a market order may trade at: the highest when buying, the lowest when selling.

    Rounded towards the best price, in favour of the order's owner, and at least 1. Source: the "price protection" of
    market orders that CME documents as protection points.

    >>> [protected_price(1_000, protection_ppm=50_000, buying=buying) for buying in (True, False)]
    [1050, 950]

    pre: best > 0
    pre: 0 <= protection_ppm <= PPM
    post: _ >= best if buying else 1 <= _ <= best
    post: abs(_ - best) * PPM <= protection_ppm * best
    post: _ == 1 or (abs(_ - best) + 1) * PPM > protection_ppm * best
    """
    lowest, highest = price_band(best, band_ppm=protection_ppm)
    return highest if buying else lowest


def _median(prices: list[int]) -> int:
    """The price in the middle, or the mean of the two in the middle rounded down.

    >>> _median([3, 1, 2]), _median([4, 1]), _median([-1, 0])
    (2, 2, -1)

    pre: 1 <= len(prices) <= 4
    post: 2 * sum(price <= _ for price in prices) >= len(prices)
    post: 2 * sum(price >= _ for price in prices) >= len(prices)
    post: len(prices) != 2 or 0 <= sum(prices) - 2 * _ <= 1
    """
    ordered = sorted(prices)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


def _is_rising(values: list[int]) -> bool:
    """Whether every value is greater than the one before it.

    >>> _is_rising([]), _is_rising([0, 1, 3]), _is_rising([0, 0])
    (True, True, False)

    pre: len(values) <= 4
    post: _ == all(values[i] < values[j] for j in range(len(values)) for i in range(j))
    """
    return all(low < high for low, high in pairwise(values))
