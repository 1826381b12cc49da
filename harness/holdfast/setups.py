"""The setups that sequences are generated for, and how each is narrowed to what an engine can do."""

import os
from collections.abc import Mapping
from random import Random

from msgspec.structs import replace

from holdfast_engine import frost
from holdfast_engine.frost import RandomBytes
from holdfast_engine.signers import FrostKey, FrostQuorum
from holdfast_model.evidence import Bound
from holdfast_model.vocabulary import (
    Amount,
    AssetAmount,
    Capability,
    ChainRule,
    Collateral,
    CustodyRules,
    Margin,
    Market,
    MarketTick,
    MarkRule,
    Perpetual,
    PriceTicks,
    Product,
    Release,
    Scheme,
    Setup,
    SignerId,
    Tier,
    TierId,
    TierRule,
)

SMALL_SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        Market(
            market="BTC-USD",
            base="BTC",
            quote="USD",
            lot_amount=Amount(10),
            tick_amount=Amount(1),
            maker_fee_ppm=1_000,
            taker_fee_ppm=2_500,
        ),
    ),
    clients=("alice", "bob", "carol"),
    ingress_capacity=4,
)
"""Three clients, one market, fees that leave a remainder, a door for four commands: small, so that things meet."""

_BTC, _ETH = PriceTicks(100), PriceTicks(40)
_RULE = MarkRule(sources=("s1", "s2", "s3"), sources_min=2, age_max_ms=60_000, band_ppm=100_000)
_TIERS = (
    Tier(value_floor=Amount(0), initial_ppm=100_000, maintenance_ppm=50_000),
    Tier(value_floor=Amount(6_000), initial_ppm=200_000, maintenance_ppm=100_000),
)


def _spot(base: str, reference: PriceTicks, *, bounded: bool = False) -> Market:
    return Market(
        market=f"{base}-USD",
        base=base,
        quote="USD",
        lot_amount=Amount(10),
        tick_amount=Amount(1),
        maker_fee_ppm=1_000,
        taker_fee_ppm=2_500,
        band_ppm=200_000 if bounded else 0,
        protection_ppm=30_000 if bounded else 0,
        reference_ticks=reference,
        mark=_RULE,
    )


def _perpetual(market: str, base: str, reference: PriceTicks, product: str, tiers: tuple[Tier, ...]) -> Market:
    return Market(
        market=market,
        base=base,
        quote="USD",
        lot_amount=Amount(1),
        tick_amount=Amount(1),
        maker_fee_ppm=200,
        taker_fee_ppm=500,
        product=product,
        reference_ticks=reference,
        mark=_RULE,
        perpetual=Perpetual(tiers=tiers, liquidation_step_ppm=400_000),
    )


MARGIN_SETUP = Setup(
    assets=("BTC", "ETH", "USD"),
    markets=(
        _spot("BTC", _BTC, bounded=True),
        _spot("ETH", _ETH),
        _perpetual("BTC-PERP", "BTC", _BTC, "linear", _TIERS),
        _perpetual("ETH-PERP", "ETH", _ETH, "linear", _TIERS),
        _perpetual("ETH-ISLE", "ETH", _ETH, "island", (_TIERS[0],)),
    ),
    clients=("alice", "bob", "carol", "dave"),
    ingress_capacity=4,
    products=(Product(product="linear"), Product(product="island", isolated=True)),
    margin=Margin(
        unit="USD",
        collateral=(
            Collateral(asset="USD"),
            Collateral(asset="BTC", haircut_ppm=100_000, market="BTC-USD"),
            Collateral(asset="ETH", haircut_ppm=250_000, market="ETH-USD"),
        ),
        credit=(
            AssetAmount(asset="USD", amount=Amount(2_000)),
            AssetAmount(asset="BTC", amount=Amount(150)),
        ),
    ),
    promotion_max=(AssetAmount(asset="USD", amount=Amount(100)), AssetAmount(asset="BTC", amount=Amount(5))),
)
"""Spot, two perpetuals under cross margin and an isolated one, three prices a mark, loans and promotions."""

AUCTION_SETUP = Setup(
    assets=("BTC", "ETH", "USD"),
    markets=tuple(replace(_spot(base, price), mark=None) for base, price in (("BTC", _BTC), ("ETH", _ETH))),
    clients=("alice", "bob", "carol"),
    ingress_capacity=6,
    auctions=True,
)
"""Two spot markets that open and close through a call auction."""

CUSTODY_SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(replace(_spot("BTC", _BTC), mark=None),),
    clients=("alice", "bob", "carol"),
    ingress_capacity=6,
    procedure=True,
    replicas=("n1", "n2", "n3"),
    custody=CustodyRules(
        tiers=(
            TierRule(
                tier="hot",
                signers=("h1", "h2", "h3"),
                threshold=2,
                payment_max=(
                    AssetAmount(asset="BTC", amount=Amount(500)),
                    AssetAmount(asset="USD", amount=Amount(5_000)),
                ),
                balance_max=(
                    AssetAmount(asset="BTC", amount=Amount(4_000)),
                    AssetAmount(asset="USD", amount=Amount(40_000)),
                ),
            ),
            TierRule(
                tier="cold",
                signers=("c1", "c2", "c3", "c4", "c5"),
                threshold=3,
                delay_ms=60_000,
                payment_max=(
                    AssetAmount(asset="BTC", amount=Amount(5_000)),
                    AssetAmount(asset="USD", amount=Amount(50_000)),
                ),
            ),
        ),
        chains=(
            ChainRule(asset="BTC", confirmations=3, fee=Amount(2)),
            ChainRule(asset="USD", confirmations=2, fee=Amount(15)),
        ),
    ),
)
"""A hot and a cold tier that sign structurally, two chains with fees, maintenance by procedure."""

TEST_KEY_SEED = 9591
"""The seed of the FROST keys of `CUSTODY_FROST_SETUP`. Whoever can read this can sign: they guard nothing."""


def _dealt(rule: TierRule) -> tuple[frost.Group, tuple[frost.KeyShare, ...]]:
    """A tier's test keys."""
    random = Random(f"{TEST_KEY_SEED} {rule.tier}")  # noqa: S311 - test keys must be the same in every run
    members = range(1, len(rule.signers) + 1)
    return frost.deal(members, threshold=rule.threshold, random_bytes=random.randbytes)


def _with_frost(rule: TierRule) -> TierRule:
    group, _ = _dealt(rule)
    return replace(
        rule,
        scheme=Scheme.FROST,
        group_key=group.key.hex(),
        verifying_shares=tuple(share.hex() for share in group.verification_shares.values()),
    )


def frost_test_keys(
    custody: CustodyRules, *, random_bytes: RandomBytes = os.urandom
) -> Mapping[TierId, Mapping[SignerId, FrostKey]]:
    """The test keys of the FROST tiers of `CUSTODY_FROST_SETUP`, by tier and signer."""
    keys: dict[TierId, dict[SignerId, FrostKey]] = {}
    for rule in custody.tiers:
        if rule.scheme is Scheme.FROST:
            group, shares = _dealt(rule)
            quorum = FrostQuorum(group, rule.signers)
            made = (FrostKey(share, quorum, random_bytes=random_bytes) for share in shares)
            keys[rule.tier] = dict(zip(rule.signers, made, strict=True))
    return keys


_RULES = CUSTODY_SETUP.custody
assert _RULES is not None
CUSTODY_FROST_SETUP = replace(
    CUSTODY_SETUP, custody=replace(_RULES, tiers=tuple(_with_frost(rule) for rule in _RULES.tiers))
)
"""The same with FROST, with test keys that are dealt from a fixed seed."""

WHOLE_SETUP = replace(
    MARGIN_SETUP,
    ingress_capacity=6,
    releases=(
        Release(release="r1"),
        Release(release="r2", tick_amounts=(MarketTick(market="ETH-USD", tick_amount=Amount(2)),)),
    ),
    procedure=True,
    rate_max=20,
    custody=replace(_RULES, chains=(*_RULES.chains, ChainRule(asset="ETH", confirmations=4, fee=Amount(1)))),
)
"""Margin and custody in one, with two releases, maintenance by procedure and a limit of rate."""

OPERATIONS_SETUP = Setup(
    assets=("BTC", "USD"),
    markets=(
        replace(_spot("BTC", _BTC), mark=MarkRule(sources=("s1",), sources_min=1, age_max_ms=60_000, band_ppm=0)),
        _perpetual("BTC-PERP", "BTC", _BTC, "linear", (_TIERS[0],)),
    ),
    clients=("alice", "bob", "carol"),
    ingress_capacity=4,
    products=(Product(product="linear"),),
    margin=Margin(unit="USD", collateral=(Collateral(asset="USD"),)),
    replicas=("n1", "n2", "n3"),
    releases=(
        Release(release="r1"),
        Release(release="r2", tick_amounts=(MarketTick(market="BTC-USD", tick_amount=Amount(3)),)),
    ),
    procedure=True,
    rate_max=12,
)
"""Three replicas, maintenance by procedure, a release that changes a tick amount, a rate limit, and one perpetual."""

MARGIN_CAPABILITIES = frozenset({Capability.FUNDS, Capability.MARKS, Capability.MARGIN})
"""What an engine needs to be reset to `MARGIN_SETUP`."""
CUSTODY_CAPABILITIES = frozenset({Capability.FUNDS, Capability.CUSTODY})
"""What an engine needs to be reset to `CUSTODY_SETUP`."""
OPERATIONS_CAPABILITIES = frozenset({Capability.REPLICAS, Capability.PROCEDURE, Capability.PHASES})
"""What an engine needs to be reset to `OPERATIONS_SETUP`."""
_AUCTION = frozenset({Capability.AUCTION, Capability.PHASES})


def setups_for(capabilities: frozenset[Capability]) -> tuple[Setup, ...]:
    """The setups that an engine of these capabilities can be reset to; the episodes of a run take turns in them."""
    setups = [SMALL_SETUP]
    if capabilities >= MARGIN_CAPABILITIES:
        setups.append(fitted(MARGIN_SETUP, capabilities))
    if capabilities >= _AUCTION:
        setups.append(fitted(AUCTION_SETUP, capabilities))
    if capabilities >= OPERATIONS_CAPABILITIES:
        setups.append(fitted(OPERATIONS_SETUP, capabilities))
    if capabilities >= CUSTODY_CAPABILITIES:
        setups.append(fitted(CUSTODY_SETUP, capabilities))
    return tuple(setups)


def fitted(setup: Setup, capabilities: frozenset[Capability]) -> Setup:
    """The setup without what an engine cannot do: margin, bands, loans, promotions, rates, the procedure."""
    if not capabilities >= MARGIN_CAPABILITIES and setup.margin is not None:
        markets = tuple(replace(market, mark=None) for market in setup.markets if market.perpetual is None)
        setup = replace(setup, markets=markets, products=(), margin=None)
    if Capability.PRICE_BANDS not in capabilities:
        markets = tuple(replace(market, band_ppm=0, protection_ppm=0) for market in setup.markets)
        setup = replace(setup, markets=markets)
    if Capability.BORROWING not in capabilities and setup.margin is not None:
        setup = replace(setup, margin=replace(setup.margin, credit=()))
    if Capability.PROMOTIONS not in capabilities:
        setup = replace(setup, promotion_max=())
    if Capability.RATE_LIMITS not in capabilities:
        setup = replace(setup, rate_max=0)
    if Capability.PROCEDURE not in capabilities:
        setup = replace(setup, procedure=False)
    return setup


def signing_bounds(*setups: Setup) -> tuple[Bound, ...]:
    """How custody signs in these setups, for whoever reads a report: a structural quorum proves no signature."""
    tiers = [tier for setup in setups if setup.custody is not None for tier in setup.custody.tiers]
    schemes = dict.fromkeys(tier.scheme for tier in tiers)
    return (Bound(name="custody signs by", value=", ".join(map(_SIGNED_BY.__getitem__, schemes))),) if schemes else ()


_SIGNED_BY = {
    Scheme.FROST: "FROST(Ed25519, SHA-512), with test keys",
    Scheme.STRUCTURAL: "a structural quorum, without cryptography",
}
