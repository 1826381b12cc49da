"""Accounts of the ledger: the buckets of each, the house's own, and the rest of the world."""

from enum import StrEnum

from holdfast_model.vocabulary.amounts import ClientId, ProductId


class Bucket(StrEnum):
    """The part of an account that an amount stands in."""

    FREE = "free"
    HELD = "held"
    COLLATERAL = "collateral"
    BORROWED = "borrowed"
    """Debt: minus what a client owes, and what is owed to the lending pool and to rounding."""


FEES = "@fees"
"""House account: fees earned."""
ROUNDING = "@rounding"
"""House account: what rounding up charged above the exact fee."""
INSURANCE = "@insurance"
"""House account: pays what bankrupt accounts cannot."""
PROMOTIONS = "@promotions"
"""House account: what may be granted to clients; it is funded, and each grant is bounded."""
LENDING = "@lending"
"""House account: the pool out of which is lent. Its bucket `borrowed` is what clients owe it."""
CLEARING = "@clearing"
"""House account: the other side of unsettled profit and loss of perpetuals.

It alone of the house's may be below zero, because it is always minus the sum of all positions' entry values.
"""
ARRIVING = "@arriving"
"""House account: deposits that are final and not credited yet, because deposits of their asset are suspended."""
NETWORK = "@network"
"""House account: pays the chains' fees of sweeps; it is funded."""
OUTSIDE = "@outside"
"""The rest of the world: the counterparty of deposits and withdrawals, minus what the exchange owes and owns."""
FUNDED_ACCOUNTS = (INSURANCE, PROMOTIONS, LENDING, NETWORK)
"""The house accounts that the owner of the exchange pays into (`FundHouse`)."""

LIQUIDATION_ORDER_PREFIX = "liquidation-"
"""Ids of orders that the exchange places for an account under liquidation; clients cannot use them."""


def margin_account(client: ClientId, product: ProductId, *, isolated: bool) -> str:
    """The ledger account in which the collateral of a client's margin account stands.

    >>> margin_account("alice", "linear", isolated=False), margin_account("alice", "island", isolated=True)
    ('alice', 'alice@island')
    """
    return f"{client}@{product}" if isolated else client
