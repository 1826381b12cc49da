"""Pure integer arithmetic of the venue. Every division says which way it rounds and who gains the remainder."""

from holdfast_model.vocabulary import Amount, Market, PriceTicks, SizeLots

PPM = 1_000_000


def notional(price: PriceTicks, size: SizeLots, *, tick_amount: Amount) -> Amount:
    """The quote amount that `size` lots cost at `price` ticks: exact, nothing is rounded.

    >>> notional(PriceTicks(20), SizeLots(3), tick_amount=Amount(10))
    600
    """
    return Amount(price * size * tick_amount)


def fee_charged(numerator: int) -> Amount:
    """The fee on an order whose trades sum to `numerator` (quote amount times ppm), rounded up once over the order.

    Rounding once per order and not per trade keeps an order that fills in a hundred pieces from paying a hundred
    remainders. The house gains the remainder, which is posted to its rounding account.

    >>> fee_charged(1), fee_charged(1_000_000), fee_charged(1_000_001)
    (1, 1, 2)
    """
    assert numerator >= 0
    return Amount(-(-numerator // PPM))


def fee_earned(numerator: int) -> Amount:
    """The whole part of the exact fee: what is posted to the house's fee account; the rest of the charge is rounding.

    >>> fee_earned(1), fee_earned(1_999_999)
    (0, 1)
    """
    assert numerator >= 0
    return Amount(numerator // PPM)


def hold_to_buy(market: Market, price: PriceTicks, left: SizeLots, *, fee_numerator: int) -> Amount:
    """The quote amount that must be held for what is left of a buy order at its limit price, fees included.

    `fee_numerator` is that of the order's trades so far, already charged. The fee still to come is reckoned at the
    higher of the two rates, because whether a fill is a maker's or a taker's is not known beforehand. No fill at the
    limit price or better can need more than this.
    """
    value = notional(price, left, tick_amount=market.tick_amount)
    rate = max(market.maker_fee_ppm, market.taker_fee_ppm)
    return Amount(value + fee_charged(fee_numerator + value * rate) - fee_charged(fee_numerator))


def hold_to_sell(market: Market, left: SizeLots) -> Amount:
    """The base amount that must be held for what is left of a sell order; its fee comes out of the proceeds."""
    return Amount(left * market.lot_amount)
