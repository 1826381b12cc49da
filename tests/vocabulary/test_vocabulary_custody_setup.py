"""A setup whose custody contradicts itself cannot be built; the message names the place."""

import pytest
from msgspec.structs import replace

from holdfast_model.vocabulary import Amount, AssetAmount, ChainRule, CustodyRules, Scheme, Setup, TierRule

HOT = TierRule(tier="hot", signers=("h1", "h2", "h3"), threshold=2)
COLD = TierRule(tier="cold", signers=("c1",), threshold=1)
CHAINS = (ChainRule(asset="BTC", confirmations=3), ChainRule(asset="USD", confirmations=1))
GOOD = Setup(
    assets=("BTC", "USD"),
    markets=(),
    clients=("alice", "bob"),
    custody=CustodyRules(tiers=(HOT, COLD), chains=CHAINS),
)
KEY = "00" * 32


def custody(*tiers: TierRule, chains: tuple[ChainRule, ...] = CHAINS) -> CustodyRules:
    return CustodyRules(tiers=tiers, chains=chains)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (custody(), "custody: there must be at least one tier"),
        (custody(HOT, HOT), "custody: a tier stands twice in hot, hot"),
        (custody(replace(HOT, tier="bob")), "custody: a tier must not have the name of a client"),
        (custody(HOT, chains=CHAINS[:1]), "custody: chains must be one for each of BTC, USD"),
        (custody(HOT, chains=(*CHAINS, CHAINS[0])), "custody: chains must be one for each of BTC, USD"),
        (
            custody(HOT, chains=(CHAINS[0], replace(CHAINS[1], fee=Amount(-1)))),
            "custody: chain of USD: fee must not be below zero",
        ),
        (custody(replace(HOT, signers=("h1", "h1"))), "custody: tier hot: a signer stands twice"),
        (custody(replace(HOT, threshold=4)), "custody: tier hot: threshold must be at most 3, all signers"),
        (custody(replace(HOT, group_key=KEY)), "custody: tier hot: group_key is there with FROST only"),
        (custody(replace(HOT, scheme=Scheme.FROST)), "custody: tier hot: group_key is there with FROST only"),
        (
            custody(replace(HOT, scheme=Scheme.FROST, group_key=KEY, verifying_shares=(KEY,))),
            "custody: tier hot: verifying_shares are one for each signer with FROST, else none",
        ),
        (
            custody(replace(HOT, payment_max=(AssetAmount(asset="ETH", amount=Amount(1)),))),
            "custody: tier hot: ETH: an asset and a limit expected",
        ),
        (
            custody(replace(HOT, balance_max=(AssetAmount(asset="USD", amount=Amount(-1)),))),
            "custody: tier hot: USD: an asset and a limit expected",
        ),
    ],
)
def test_custody_that_contradicts_itself_is_refused_with_its_place(rules: CustodyRules, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(GOOD, custody=rules)
