"""The catalogue: every invariant, once. Ids never change their meaning; a new meaning gets a new id."""

from holdfast_invariants.causes import CausesBoundEffects
from holdfast_invariants.conservation import (
    EntriesBalance,
    EveryChangeHasItsEntry,
    NothingIsOverdrawn,
    RemaindersArePosted,
)
from holdfast_invariants.custody import (
    CustodyCoversWhatIsOwed,
    DepositsAreCreditedOnce,
    LimitsHold,
    WithdrawalsEndOnce,
)
from holdfast_invariants.feed import FeedGivesTheBook
from holdfast_invariants.finality import (
    AcknowledgedIsNeverLost,
    FillsOnlyGrow,
    RetriesTakeEffectOnce,
    TerminalStatusIsAbsorbing,
)
from holdfast_invariants.isolation import ProductsAreIsolated
from holdfast_invariants.legality import OnlyLegalCommandsTakeEffect
from holdfast_invariants.liquidation import DeficitsAreCoveredInOrder, LiquidatedOnlyAsNeeded
from holdfast_invariants.maintenance import MaintenanceChangesNothing
from holdfast_invariants.marks import MarksFollowTheRule
from holdfast_invariants.monitor import Invariant, Kind, Severity
from holdfast_invariants.obligations import ObligatorySteps
from holdfast_invariants.positions import PositionsAreRecomputable, PositionsSumToZero
from holdfast_invariants.priority import PriceTimePriority
from holdfast_invariants.promises import OrderTypesKeepTheirPromise
from holdfast_invariants.reads import ReadsAreExact
from holdfast_invariants.replication import EqualLogsGiveEqualStates, OnlyThePrimaryWrites
from holdfast_invariants.rest import EverythingComesToRest
from holdfast_invariants.signatures import NoncesAreUsedOnce, NothingLeavesUnsigned
from holdfast_invariants.surge import EveryCommandIsAnsweredOnce
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Capability

_CUSTODY = frozenset({Capability.CUSTODY, Capability.FUNDS, Capability.ENTRIES})

CATALOGUE: tuple[Invariant, ...] = (
    Invariant(
        id="CONS-1",
        kind=Kind.ALWAYS,
        sentence="Every ledger entry sums to zero per asset, and clients and house together hold what custody holds.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03", "coinbase-precision-2021-11-19", "coinbase-api-2022-02-11"),
        needs=frozenset({Capability.FUNDS, Capability.ENTRIES}),
        monitor=EntriesBalance,
    ),
    Invariant(
        id="CONS-2",
        kind=Kind.ALWAYS,
        sentence="No account of a client or of the house is ever below zero.",
        severity=Severity.CRITICAL,
        incidents=("bithumb-2026-02-06", "poloniex-2014-03-04", "flexcoin-2014-03-02", "bitgrail-2018"),
        needs=frozenset({Capability.FUNDS, Capability.ENTRIES}),
        monitor=NothingIsOverdrawn,
    ),
    Invariant(
        id="CONS-3",
        kind=Kind.ALWAYS,
        sentence="Every fee is rounded up once over its order, and the remainder is posted to the rounding account.",
        severity=Severity.CRITICAL,
        incidents=("balancer-2025-11-03",),
        needs=frozenset({Capability.FEES, Capability.ENTRIES}),
        monitor=RemaindersArePosted,
    ),
    Invariant(
        id="CONS-4",
        kind=Kind.ALWAYS,
        sentence="No command moves more than its cause allows, lends what is not there, or adds risk without margin.",
        severity=Severity.CRITICAL,
        incidents=("bithumb-2026-02-06", "knight-2012-08-01"),
        needs=frozenset({Capability.FUNDS, Capability.ENTRIES}),
        monitor=CausesBoundEffects,
    ),
    Invariant(
        id="CUST-1",
        kind=Kind.ALWAYS,
        sentence="Custody holds what is owed, and balances are the sums of their entries, or the exchange halts.",
        severity=Severity.CRITICAL,
        incidents=("bithumb-2026-02-06", "etc-2019-01", "bitgrail-2018"),
        needs=_CUSTODY,
        monitor=CustodyCoversWhatIsOwed,
    ),
    Invariant(
        id="CUST-2",
        kind=Kind.ALWAYS,
        sentence="A final deposit is credited exactly once: right client, asset and amount, never before finality.",
        severity=Severity.CRITICAL,
        incidents=("kraken-deposit-2024-06", "etc-2019-01"),
        needs=_CUSTODY,
        monitor=DepositsAreCreditedOnce,
    ),
    Invariant(
        id="CUST-3",
        kind=Kind.ALWAYS,
        sentence="A withdrawal ends in exactly one of paid or refunded: the same asset, amount and owner, once.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03", "mtgox-2014", "poloniex-2014-03-04", "flexcoin-2014-03-02"),
        needs=_CUSTODY,
        monitor=WithdrawalsEndOnce,
    ),
    Invariant(
        id="CUST-4",
        kind=Kind.ALWAYS,
        sentence="Nothing is broadcast without enough valid shares of distinct signers over what was approved.",
        severity=Severity.CRITICAL,
        incidents=("mtgox-2014",),
        needs=_CUSTODY,
        monitor=NothingLeavesUnsigned,
    ),
    Invariant(
        id="CUST-5",
        kind=Kind.ALWAYS,
        sentence="No signing nonce is used twice: not across payments, attempts, restores or failovers.",
        severity=Severity.CRITICAL,
        incidents=(),
        needs=_CUSTODY,
        monitor=NoncesAreUsedOnce,
    ),
    Invariant(
        id="CUST-6",
        kind=Kind.ALWAYS,
        sentence="Tier limits, time locks and suspensions hold, and published liabilities are those of the ledger.",
        severity=Severity.CRITICAL,
        incidents=("bitgrail-2018",),
        needs=_CUSTODY,
        monitor=LimitsHold,
    ),
    Invariant(
        id="FINAL-1",
        kind=Kind.ALWAYS,
        sentence="An order that was filled, cancelled or refused never becomes open again.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03",),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=TerminalStatusIsAbsorbing,
    ),
    Invariant(
        id="FINAL-2",
        kind=Kind.ALWAYS,
        sentence="What was acknowledged is never lost, changed or brought back: history only grows.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03", "nasdaq-facebook-2012-05-18", "paradex-2026-01-19"),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=AcknowledgedIsNeverLost,
    ),
    Invariant(
        id="FINAL-3",
        kind=Kind.ALWAYS,
        sentence="A trade is irrevocable: what is filled only grows and never passes the order's size.",
        severity=Severity.CRITICAL,
        incidents=("nyse-2023-01-24", "euronext-2020-10-19", "okex-2018-03-30", "quoine-2017-04-19"),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=FillsOnlyGrow,
    ),
    Invariant(
        id="FINAL-4",
        kind=Kind.ALWAYS,
        sentence="A command that is given again takes effect at most once.",
        severity=Severity.CRITICAL,
        incidents=("poloniex-2014-03-04", "mtgox-2014"),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=RetriesTakeEffectOnce,
    ),
    Invariant(
        id="PRIO-1",
        kind=Kind.ALWAYS,
        sentence="The oldest order at the best price trades, at its or the auction's price; no book stays crossed.",
        severity=Severity.HIGH,
        incidents=(),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=PriceTimePriority,
    ),
    Invariant(
        id="PRIO-2",
        kind=Kind.ALWAYS,
        sentence="IOC never rests, FOK fills all or nothing, post-only never takes, reduce-only never increases, "
        "stops are triggered at their price and at once, linked orders cancel each other, orders end with their time "
        "or session, prices stay within their bounds, and nobody trades with itself.",
        severity=Severity.HIGH,
        incidents=("hyperliquid-jelly-2025-03-26",),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=OrderTypesKeepTheirPromise,
    ),
    Invariant(
        id="SEQ-1",
        kind=Kind.ALWAYS,
        sentence="Sequence numbers rise without a gap, and the book rebuilt from the public feed is the book.",
        severity=Severity.HIGH,
        incidents=("asx-2020-11-16", "eurex-2013-08-26"),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=FeedGivesTheBook,
    ),
    Invariant(
        id="POS-1",
        kind=Kind.ALWAYS,
        sentence="Every position follows from the trades, funding and liquidations told, and flips only by trades.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03", "paradex-2026-01-19", "robinhood-2019-11"),
        needs=frozenset({Capability.MARGIN, Capability.ENTRIES}),
        monitor=PositionsAreRecomputable,
    ),
    Invariant(
        id="POS-2",
        kind=Kind.ALWAYS,
        sentence="In every contract all positions sum to zero, and so does what funding moves between them.",
        severity=Severity.CRITICAL,
        incidents=("paradex-2026-01-19",),
        needs=frozenset({Capability.MARGIN}),
        monitor=PositionsSumToZero,
    ),
    Invariant(
        id="MARK-1",
        kind=Kind.ALWAYS,
        sentence="A price in use is made by its rule of enough fresh reports of known sources, or is UNAVAILABLE.",
        severity=Severity.CRITICAL,
        incidents=(
            "binance-2025-10-10",
            "deribit-2019-10-31",
            "synthetix-2019-06-25",
            "ibkr-2020-04-20",
            "dydx-2025-10-10",
        ),
        needs=frozenset({Capability.MARKS}),
        monitor=MarksFollowTheRule,
    ),
    Invariant(
        id="LIQ-1",
        kind=Kind.ALWAYS,
        sentence="Nobody is liquidated above maintenance, without a mark, while unable to act, or more than needed.",
        severity=Severity.CRITICAL,
        incidents=("binance-um-2025-08-29", "binance-2025-10-10", "paradex-2026-01-19", "nse-2021-02-24"),
        needs=frozenset({Capability.LIQUIDATION, Capability.ENTRIES}),
        monitor=LiquidatedOnlyAsNeeded,
    ),
    Invariant(
        id="ADL-1",
        kind=Kind.ALWAYS,
        sentence="Insurance, then deleveraging in the published order, cover exactly what an account cannot pay.",
        severity=Severity.CRITICAL,
        incidents=("hyperliquid-jelly-2025-03-26",),
        needs=frozenset({Capability.LIQUIDATION, Capability.ENTRIES}),
        monitor=DeficitsAreCoveredInOrder,
    ),
    Invariant(
        id="ISOL-1",
        kind=Kind.ALWAYS,
        sentence="The halt or loss of one product changes nothing in another, and what is on its way into it waits.",
        severity=Severity.CRITICAL,
        incidents=("binance-um-2025-08-29", "hyperliquid-jelly-2025-03-26"),
        needs=frozenset({Capability.MARGIN, Capability.PRODUCT_HALTS, Capability.ENTRIES}),
        monitor=ProductsAreIsolated,
    ),
    Invariant(
        id="REPL-1",
        kind=Kind.ALWAYS,
        sentence="Equal logs give equal states: on every replica, after every restart, restore and promotion.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03", "coinbase-precision-2021-11-19", "knight-2012-08-01"),
        needs=frozenset({Capability.JOURNAL}),
        monitor=EqualLogsGiveEqualStates,
    ),
    Invariant(
        id="PHASE-1",
        kind=Kind.ALWAYS,
        sentence="Only commands that are legal in the phase take effect.",
        severity=Severity.HIGH,
        incidents=("nyse-2023-01-24", "nasdaq-facebook-2012-05-18"),
        needs=frozenset({Capability.PHASES}),
        monitor=OnlyLegalCommandsTakeEffect,
    ),
    Invariant(
        id="PHASE-2",
        kind=Kind.ALWAYS,
        sentence="No obligatory step is skipped: announcement, load barrier, reconciliation and post-only around "
        "maintenance, the load barrier before liquidations, auctions before trading, stages of halted products.",
        severity=Severity.HIGH,
        incidents=("nyse-2023-01-24", "euronext-2020-10-19", "paradex-2026-01-19", "backpack-2025-07-03"),
        needs=frozenset({Capability.PHASES}),
        monitor=ObligatorySteps,
    ),
    Invariant(
        id="MAINT-1",
        kind=Kind.ALWAYS,
        sentence="What a client sees after maintenance, at any replica, is what it saw before.",
        severity=Severity.CRITICAL,
        incidents=("backpack-2025-07-03",),
        needs=frozenset({Capability.PHASES, Capability.FUNDS}),
        monitor=MaintenanceChangesNothing,
    ),
    Invariant(
        id="SURGE-1",
        kind=Kind.ALWAYS,
        sentence="Every command is answered once, refused ones have no effect, queues and rates are bounded exactly, "
        "cancels go before new orders and reads last.",
        severity=Severity.HIGH,
        incidents=("gate-2025-04-23", "binance-um-2025-08-29"),
        needs=frozenset({Capability.INGRESS}),
        monitor=EveryCommandIsAnsweredOnce,
    ),
    Invariant(
        id="READ-1",
        kind=Kind.ALWAYS,
        sentence="A read of balances is exact at the cut that it names, or it is refused.",
        severity=Severity.HIGH,
        incidents=("gate-2025-04-23", "backpack-2025-07-03"),
        needs=frozenset({Capability.READS, Capability.ENTRIES, Capability.JOURNAL}),
        monitor=ReadsAreExact,
    ),
    Invariant(
        id="FENCE-1",
        kind=Kind.ALWAYS,
        sentence="Each epoch has one primary with a quorum, which alone decides and lacks nothing acknowledged.",
        severity=Severity.CRITICAL,
        incidents=("nasdaq-facebook-2012-05-18",),
        needs=frozenset({Capability.REPLICAS, Capability.JOURNAL}),
        monitor=OnlyThePrimaryWrites,
    ),
    Invariant(
        id="LIVE-1",
        kind=Kind.EVENTUALLY,
        sentence="Once faults heal, every order, withdrawal and deposit comes to rest within a bound.",
        severity=Severity.CRITICAL,
        incidents=("nasdaq-facebook-2012-05-18", "tse-2020-10-01"),
        needs=frozenset({Capability.LIMIT_ORDERS}),
        monitor=EverythingComesToRest,
    ),
    Invariant(
        id="AUDIT-1",
        kind=Kind.ALWAYS,
        sentence="The journal's hash chain is unbroken, and every balance is the sum of its entries.",
        severity=Severity.HIGH,
        incidents=("backpack-2025-07-03",),
        needs=frozenset({Capability.JOURNAL, Capability.ENTRIES}),
        monitor=EveryChangeHasItsEntry,
    ),
)

_BY_ID = {invariant.id: invariant for invariant in CATALOGUE}
assert len(_BY_ID) == len(CATALOGUE), "two invariants have one id"


def invariant_by_id(identifier: str) -> Invariant:
    """The entry with this id. Raises `HoldfastError` that lists the ids there are."""
    if identifier not in _BY_ID:
        raise HoldfastError(f"there is no invariant {identifier!r}; there are: {', '.join(_BY_ID)}")
    return _BY_ID[identifier]
