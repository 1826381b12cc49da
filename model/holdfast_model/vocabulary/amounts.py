"""Units and identities. Money is `int`; no float touches it.

On the wire and in files every type of `DECIMAL_STRINGS` is a decimal string of an integer, because JSON numbers
above 2**53 do not survive every language (ECMA-262; RFC 8259 section 6).
"""

from typing import Annotated, NewType

from msgspec import Meta

Amount = NewType("Amount", int)
"""An amount of an asset in its smallest unit (satoshi, wei, micro-dollar)."""

PriceTicks = NewType("PriceTicks", int)
"""A price in ticks of its market: quote units per lot, divided by `Market.tick_amount`."""

SizeLots = NewType("SizeLots", int)
"""An order or trade size in lots of its market; a lot is `Market.lot_amount` units of the base asset."""

DECIMAL_STRINGS = (Amount, PriceTicks, SizeLots)

DECIMAL_DIGITS_MAX = 38
"""Longest decimal accepted from outside: 38 digits fit every 128-bit integer."""

# `$` alone would let a line feed through at the end: Python's regular expressions match it before a last one.
IDENTIFIER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$(?!\n)"

Identifier = Annotated[str, Meta(pattern=IDENTIFIER_PATTERN)]
ClientId = Identifier
OrderId = Identifier
"""Chosen by the client, unique per client for ever: the idempotency key of `PlaceOrder`."""
MarketId = Identifier
AssetId = Identifier
ProductId = Identifier
SourceId = Identifier
"""An outside party that reports prices."""
RequestId = Identifier
"""Chosen by the client, unique per client for ever: the idempotency key of transfers, loans and repayments."""
GrantId = Identifier
"""The idempotency key of `GrantPromotion`."""
WithdrawalId = Identifier
"""Chosen by the client, unique per client for ever: the idempotency key of `RequestWithdrawal`."""
TransactionId = Identifier
"""A transaction on the asset's chain: the idempotency key of `CreditDeposit`."""

Timestamp = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Milliseconds since 1970-01-01 UTC. Time arrives in commands; the venue has no clock."""

Label = Annotated[str, Meta(max_length=200)]
"""A name that an exchange gives to something of its own: an account, a cause, a replica."""
Words = Annotated[str, Meta(max_length=1000)]
"""Words of an exchange, for a person to read."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
