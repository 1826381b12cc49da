"""What an exchange is set up with before the first command: assets, markets, products, margin rules, clients."""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from holdfast_model.vocabulary.amounts import Amount, AssetId, ClientId, MarketId, PriceTicks, ProductId, SourceId
from holdfast_model.vocabulary.custody import Hex, SignerId, TierId
from holdfast_model.vocabulary.operations import ReleaseId, ReplicaId

Ppm = Annotated[int, Meta(ge=0, le=1_000_000)]
Count = Annotated[int, Meta(ge=1, le=1_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53 - 1)]

SPOT: ProductId = "spot"
"""The product of every market that names no other, and the wallet in which clients' free and held funds stand."""


class AssetAmount(Struct, frozen=True, kw_only=True):
    """An amount of one asset."""

    asset: AssetId
    amount: Amount


class MarkRule(Struct, frozen=True, kw_only=True):
    """From which prices a market's mark is made, and when there is none.

    A source's last price counts for `age_max_ms` after the time that it reports. Prices further than `band_ppm` from
    the median are dropped; with fewer than `sources_min` left, or a median that is not above zero, the mark is
    UNAVAILABLE: it is never guessed.
    """

    sources: tuple[SourceId, ...]
    sources_min: Count
    age_max_ms: Milliseconds
    band_ppm: Ppm


class Tier(Struct, frozen=True, kw_only=True):
    """A margin tier: the rates for the part of a position's value from `value_floor` up to the next tier's floor."""

    value_floor: Amount
    initial_ppm: Ppm
    maintenance_ppm: Ppm


class Perpetual(Struct, frozen=True, kw_only=True):
    """What makes a market a linear perpetual: tiers of margin, the bound on funding, the step of a liquidation."""

    tiers: tuple[Tier, ...]
    funding_ppm_max: Ppm = 10_000
    liquidation_step_ppm: Ppm = 250_000


class Market(Struct, frozen=True, kw_only=True):
    """A market. Trading `s` lots at `p` ticks moves `s * lot_amount` of base for `s * p * tick_amount` of quote.

    In a perpetual nothing of the base moves: `s` lots are added to a position whose value is reckoned in quote.
    `maker_fee_ppm` and `taker_fee_ppm` are parts per million of the quote amount, paid in quote by both sides.
    A limit price must be within `band_ppm` of the last trade, or before the first one of `reference_ticks`; a market
    order trades no further than `protection_ppm` from the best price that it meets. 0 is no bound.
    """

    market: MarketId
    base: AssetId
    quote: AssetId
    lot_amount: Amount
    tick_amount: Amount
    maker_fee_ppm: Ppm = 0
    taker_fee_ppm: Ppm = 0
    product: ProductId = SPOT
    band_ppm: Ppm = 0
    protection_ppm: Ppm = 0
    reference_ticks: PriceTicks | None = None
    mark: MarkRule | None = None
    perpetual: Perpetual | None = None


class Product(Struct, frozen=True, kw_only=True):
    """A group of perpetuals that is halted and resumed as one.

    The products that are not `isolated` share each client's cross-margin account; an isolated one has its own, in
    which only its own positions and its own collateral count.
    """

    product: ProductId
    isolated: bool = False


class Collateral(Struct, frozen=True, kw_only=True):
    """An asset that counts as collateral, at the mark of a spot market in the unit of account less a haircut.

    The unit of account itself has no `market`.
    """

    asset: AssetId
    haircut_ppm: Ppm = 0
    market: MarketId | None = None


class Margin(Struct, frozen=True, kw_only=True):
    """The rules of margin accounts: the unit of account, what counts as collateral, and how much may be borrowed.

    `credit` bounds each client's debt by asset; an asset that is not named cannot be borrowed. What is owed must be
    covered with `loan_initial_ppm` of its value to borrow, with `loan_maintenance_ppm` to keep; a liquidation repays
    `liquidation_step_ppm` of a debt at a time.
    """

    unit: AssetId
    collateral: tuple[Collateral, ...]
    credit: tuple[AssetAmount, ...] = ()
    loan_initial_ppm: Ppm = 200_000
    loan_maintenance_ppm: Ppm = 100_000
    liquidation_step_ppm: Ppm = 250_000


class Scheme(StrEnum):
    """How a tier of custody signs."""

    FROST = "frost-ed25519-sha512"
    """Threshold signatures after RFC 9591, which verify as ordinary Ed25519 signatures."""
    STRUCTURAL = "structural"
    """A quorum without cryptography, for volume: distinct signers name the very intent (signing.py)."""


class TierRule(Struct, frozen=True, kw_only=True):
    """A tier of custody: who signs for it, and its limits.

    `threshold` of the `signers` sign a payment; with FROST `group_key` and one of `verifying_shares` for each signer
    are what signatures and shares are checked with, in hexadecimal digits. A payment out of the tier waits `delay_ms`
    from its approval on. `payment_max` bounds each payment by asset; `balance_max` bounds what a sweep may bring the
    tier to. What is not named has no bound.
    """

    tier: TierId
    signers: tuple[SignerId, ...]
    threshold: Count
    scheme: Scheme = Scheme.STRUCTURAL
    group_key: Hex = ""
    verifying_shares: tuple[Hex, ...] = ()
    delay_ms: Milliseconds = 0
    payment_max: tuple[AssetAmount, ...] = ()
    balance_max: tuple[AssetAmount, ...] = ()


class ChainRule(Struct, frozen=True, kw_only=True):
    """An asset's chain: a transaction is final in a block with this many confirmations (1: the block itself).

    `fee` is what a payment costs on it.
    """

    asset: AssetId
    confirmations: Count
    fee: Amount = Amount(0)


class CustodyRules(Struct, frozen=True, kw_only=True):
    """Custody: its tiers, the first of which takes deposits in, and one chain for each asset.

    A withdrawal is paid out of the first tier whose `payment_max` allows it.
    """

    tiers: tuple[TierRule, ...]
    chains: tuple[ChainRule, ...]


class Release(Struct, frozen=True, kw_only=True):
    """A release of the exchange's code and configuration; `tick_amounts` are the prices' scales that it changes."""

    release: ReleaseId
    tick_amounts: tuple["MarketTick", ...] = ()


class MarketTick(Struct, frozen=True, kw_only=True):
    """A market's tick amount in a release."""

    market: MarketId
    tick_amount: Amount


class Setup(Struct, frozen=True, kw_only=True):
    """The whole configuration of an exchange under test. `ingress_capacity` bounds the commands taken in at once.

    `promotion_max` bounds each grant of a promotion by asset; what is not named cannot be granted. With `auctions`,
    trading opens and closes through a call auction only. The first of the `replicas` is the first primary; what is
    acknowledged is durable on more than half of them. The first of the `releases` is active from the start. With
    `procedure`, maintenance is announced, and left only over the load barrier, a reconciliation and post-only.
    `rate_max` bounds the commands of each client, cancels apart, in one second of the venue's time; 0 is no bound.
    With `custody`, deposits and withdrawals go over chains and signers.
    """

    assets: tuple[AssetId, ...]
    markets: tuple[Market, ...]
    clients: tuple[ClientId, ...]
    ingress_capacity: Annotated[int, Meta(ge=1, le=1_000_000)] = 8
    products: tuple[Product, ...] = ()
    margin: Margin | None = None
    promotion_max: tuple[AssetAmount, ...] = ()
    auctions: bool = False
    replicas: tuple[ReplicaId, ...] = ("n1", "n2", "n3")
    releases: tuple[Release, ...] = (Release(release="r1"),)
    procedure: bool = False
    rate_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    custody: CustodyRules | None = None

    def __post_init__(self) -> None:
        """Refuse a setup that contradicts itself; the message names the place."""
        for name, ids in (
            ("assets", self.assets),
            ("clients", self.clients),
            ("markets", tuple(market.market for market in self.markets)),
            ("products", (SPOT, *(product.product for product in self.products))),
            ("promotion_max", tuple(item.asset for item in self.promotion_max)),
            ("replicas", self.replicas),
            ("releases", tuple(release.release for release in self.releases)),
        ):
            _require(len(set(ids)) == len(ids), name, f"an id stands twice in {', '.join(ids)}")
        for market in self.markets:
            self._check_market(market, f"market {market.market}")
        for item in self.promotion_max:
            _require(item.asset in self.assets, "promotion_max", f"{item.asset} is no asset")
        _require(bool(self.replicas), "replicas", "there must be at least one")
        _require(bool(self.releases), "releases", "there must be at least one")
        for release in self.releases:
            self._check_release(release)
        if self.margin is not None:
            self._check_margin(self.margin)
        if self.custody is not None:
            self._check_custody(self.custody)

    @property
    def quorum(self) -> int:
        """How many replicas must have made a command durable before it is acknowledged: more than half."""
        return len(self.replicas) // 2 + 1

    def markets_under(self, release: ReleaseId) -> tuple[Market, ...]:
        """The markets as they are while a release is active.

        `reference_ticks` counts the market's own tick amount, and so does not hold under another one.
        """
        (active,) = (item for item in self.releases if item.release == release)
        amounts = {item.market: item.tick_amount for item in active.tick_amounts}
        return tuple(
            market
            if amounts.get(market.market, market.tick_amount) == market.tick_amount
            else replace(market, tick_amount=amounts[market.market], reference_ticks=None)
            for market in self.markets
        )

    def _check_market(self, market: Market, where: str) -> None:
        _require(
            market.base != market.quote and {market.base, market.quote} <= set(self.assets),
            where,
            f"base and quote must be two of {', '.join(self.assets)}",
        )
        _require(
            market.lot_amount > 0 and market.tick_amount > 0, where, "lot_amount and tick_amount must be positive"
        )
        _require(
            market.reference_ticks is None or market.reference_ticks > 0, where, "reference_ticks must be positive"
        )
        if market.mark is not None:
            sources = market.mark.sources
            _require(len(set(sources)) == len(sources), where, f"a source stands twice in {', '.join(sources)}")
            _require(
                len(sources) >= market.mark.sources_min,
                where,
                f"sources_min must be at most {len(sources)}, all sources",
            )
        if market.perpetual is None:
            _require(market.product == SPOT, where, f"a spot market is of the product {SPOT}, not {market.product}")
            return
        products = [product.product for product in self.products]
        _require(market.product in products, where, f"product {market.product} must be one of {', '.join(products)}")
        _require(market.mark is not None, where, "a perpetual needs a mark rule")
        _require(
            self.margin is not None and market.quote == self.margin.unit,
            where,
            "a perpetual is quoted in the unit of account of `margin`",
        )
        tiers = market.perpetual.tiers
        floors = [tier.value_floor for tier in tiers]
        _require(bool(floors) and floors[0] == 0, where, "the first tier's value_floor must be 0")
        _require(all(a < b for a, b in pairwise(floors)), where, "value_floor must rise by tier")
        for a, b in pairwise(tiers):
            _require(
                a.initial_ppm <= b.initial_ppm and a.maintenance_ppm <= b.maintenance_ppm,
                where,
                "rates must not fall by tier",
            )
        for tier in tiers:
            _require(
                0 < tier.maintenance_ppm <= tier.initial_ppm,
                where,
                "maintenance_ppm must be above 0, at most initial_ppm",
            )

    def _check_margin(self, margin: Margin) -> None:
        markets = {market.market: market for market in self.markets}
        assets = [item.asset for item in margin.collateral]
        _require(len(set(assets)) == len(assets), "margin", f"an asset stands twice in {', '.join(assets)}")
        _require(margin.unit in assets, "margin", f"the unit of account {margin.unit} must itself be collateral")
        for item in margin.collateral:
            where = f"margin: collateral {item.asset}"
            _require(item.asset in self.assets, where, "it is no asset")
            if item.asset == margin.unit:
                _require(item.market is None and not item.haircut_ppm, where, "the unit has no market and no haircut")
                continue
            market = markets.get(item.market or "")
            _require(
                market is not None
                and market.mark is not None
                and (market.base, market.quote, market.perpetual) == (item.asset, margin.unit, None),
                where,
                f"market must be a spot market {item.asset} against {margin.unit} with a mark rule",
            )
        for credit in margin.credit:
            _require(credit.asset in assets, f"margin: credit {credit.asset}", "only collateral can be borrowed")
        _require(
            margin.loan_maintenance_ppm <= margin.loan_initial_ppm,
            "margin",
            "loan_maintenance_ppm must be at most loan_initial_ppm",
        )

    def _check_release(self, release: Release) -> None:
        where = f"release {release.release}"
        markets = [market.market for market in self.markets]
        for item in release.tick_amounts:
            _require(item.market in markets, where, f"{item.market} is no market")
            _require(item.tick_amount > 0, where, "tick_amount must be positive")

    def _check_custody(self, custody: CustodyRules) -> None:
        tiers = [tier.tier for tier in custody.tiers]
        chains = [chain.asset for chain in custody.chains]
        _require(bool(tiers), "custody", "there must be at least one tier")
        _require(len(set(tiers)) == len(tiers), "custody", f"a tier stands twice in {', '.join(tiers)}")
        _require(
            sorted(chains) == sorted(self.assets),
            "custody",
            f"chains must be one for each of {', '.join(self.assets)}",
        )
        for chain in custody.chains:
            _require(chain.fee >= 0, f"custody: chain of {chain.asset}", "fee must not be below zero")
        for tier in custody.tiers:
            self._check_tier(tier, f"custody: tier {tier.tier}")

    def _check_tier(self, tier: TierRule, where: str) -> None:
        _require(len(set(tier.signers)) == len(tier.signers), where, "a signer stands twice")
        _require(
            tier.threshold <= len(tier.signers), where, f"threshold must be at most {len(tier.signers)}, all signers"
        )
        frost = tier.scheme is Scheme.FROST
        _require(bool(tier.group_key) is frost, where, "group_key is there with FROST only")
        _require(
            len(tier.verifying_shares) == (len(tier.signers) if frost else 0),
            where,
            "verifying_shares are one for each signer with FROST, else none",
        )
        for item in (*tier.payment_max, *tier.balance_max):
            _require(
                item.asset in self.assets and item.amount >= 0, where, f"{item.asset}: an asset and a limit expected"
            )


def _require(condition: bool, where: str, what: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not condition:
        raise ValueError(f"{where}: {what}")
