"""What an exchange is set up with before the first command: assets, markets, clients, fees, ingress capacity."""

from typing import Annotated

from msgspec import Meta, Struct

from holdfast_model.vocabulary.amounts import Amount, AssetId, ClientId, MarketId

Ppm = Annotated[int, Meta(ge=0, le=1_000_000)]


class Market(Struct, frozen=True, kw_only=True):
    """A spot market. Trading `s` lots at `p` ticks moves `s * lot_amount` of base for `s * p * tick_amount` of quote.

    `maker_fee_ppm` and `taker_fee_ppm` are parts per million of the quote amount, paid in quote by both sides.
    """

    market: MarketId
    base: AssetId
    quote: AssetId
    lot_amount: Amount
    tick_amount: Amount
    maker_fee_ppm: Ppm = 0
    taker_fee_ppm: Ppm = 0


class Setup(Struct, frozen=True, kw_only=True):
    """The whole configuration of an exchange under test. `ingress_capacity` bounds the commands taken in at once."""

    assets: tuple[AssetId, ...]
    markets: tuple[Market, ...]
    clients: tuple[ClientId, ...]
    ingress_capacity: Annotated[int, Meta(ge=1, le=1_000_000)] = 8

    def __post_init__(self) -> None:
        """Refuse a setup that names an asset twice, or a market over assets that it does not have."""
        for name, ids in (("assets", self.assets), ("clients", self.clients)):
            if len(set(ids)) != len(ids):
                raise ValueError(f"{name}: an id stands twice in {', '.join(ids)}")
        if len({market.market for market in self.markets}) != len(self.markets):
            raise ValueError("markets: a market id stands twice")
        for market in self.markets:
            if market.base == market.quote or not {market.base, market.quote} <= set(self.assets):
                raise ValueError(f"market {market.market}: base and quote must be two of {', '.join(self.assets)}")
            if market.lot_amount <= 0 or market.tick_amount <= 0:
                raise ValueError(f"market {market.market}: lot_amount and tick_amount must be positive")
