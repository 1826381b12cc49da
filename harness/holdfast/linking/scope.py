"""The setup that is as large as a model: its clients, markets, products, signers and replicas, and no fees."""

from holdfast_model.spec.model import Model
from holdfast_model.spec.sorts import sized
from holdfast_model.specs.exchange.custody import Custody, Signer
from holdfast_model.specs.exchange.ledger import Account, Asset, Exchange
from holdfast_model.specs.exchange.margin import Margin, Product
from holdfast_model.specs.exchange.operations import Procedure, Replication, Standby, Surge
from holdfast_model.vocabulary import (
    Amount,
    ChainRule,
    Collateral,
    CustodyRules,
    Market,
    MarkRule,
    Perpetual,
    Release,
    Setup,
    Tier,
    TierRule,
)
from holdfast_model.vocabulary import Margin as MarginRules
from holdfast_model.vocabulary import Product as ProductRule

MARKET = "SOL-USDT"
QUEUE_MARKET = "SOL-USDT/queue"
"""Where the orders stand that come through the queue: they trade with nobody."""
TIER = "hot"
MARK_SOURCE = "source"
ASSETS = tuple(str(asset) for asset in Asset)


def perpetual_of(product: str) -> str:
    """The market of a product."""
    return f"SOL-{product}"


def _market(market: str) -> Market:
    return Market(market=market, base="SOL", quote="USDT", lot_amount=Amount(1), tick_amount=Amount(1))


def _perpetual(product: str) -> Market:
    """A perpetual whose margins are one unit for a position of one lot, to which this rate is rounded up."""
    return Market(
        market=perpetual_of(product),
        base="SOL",
        quote="USDT",
        lot_amount=Amount(1),
        tick_amount=Amount(1),
        product=product,
        mark=MarkRule(sources=(MARK_SOURCE,), sources_min=1, age_max_ms=1_000_000_000, band_ppm=0),
        perpetual=Perpetual(
            tiers=(Tier(value_floor=Amount(0), initial_ppm=1, maintenance_ppm=1),), liquidation_step_ppm=1_000_000
        ),
    )


def setup_of(model: Model) -> Setup:
    """The setup for a slice of the exchange at its sizes."""
    spec = model.spec
    assert isinstance(spec, Exchange), "only slices of the exchange are linked"
    parameters = spec.parameters
    with sized(spec.sizes):
        clients = tuple(str(account) for account in Account)
        products = tuple(str(product) for product in Product) if isinstance(spec, Margin) else ()
        signers = tuple(str(signer) for signer in Signer) if isinstance(spec, Custody) else ()
        standbys = len(Standby) if isinstance(spec, Replication) else 2
    markets = [_market(MARKET)]
    if isinstance(spec, Surge):
        markets.append(_market(QUEUE_MARKET))
    markets += [_perpetual(product) for product in products]
    custody = None
    if isinstance(spec, Custody):
        custody = CustodyRules(
            tiers=(TierRule(tier=TIER, signers=signers, threshold=parameters["threshold"]),),
            chains=tuple(ChainRule(asset=asset, confirmations=parameters["confirmations"]) for asset in ASSETS),
        )
    return Setup(
        assets=ASSETS,
        markets=tuple(markets),
        clients=clients,
        ingress_capacity=parameters["capacity"] if isinstance(spec, Surge) else 8,
        products=tuple(ProductRule(product=product, isolated=True) for product in products),
        margin=MarginRules(unit="USDT", collateral=(Collateral(asset="USDT"),)) if products else None,
        replicas=tuple(f"n{number}" for number in range(1, standbys + 2)),
        releases=(Release(release="r1"), Release(release="r2")),
        procedure=isinstance(spec, Procedure),
        custody=custody,
    )
