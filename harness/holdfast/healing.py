"""Healing: what everybody does so that an exchange comes to rest, round after round (`ComeToRest`).

Providers, replicas and products are there again, signers are honest, chains confirm, and trading is opened by the
procedure; operators carry out what was asked for, and clients ask again where they were turned away. What is done
follows from what was told alone, without chance, and only what an engine declares that it can do is asked of it.
"""

from collections.abc import Iterator, Mapping

from holdfast.drawing import TIME_NEEDS
from holdfast.known import Known
from holdfast.operating import CURES, owed_steps
from holdfast_invariants.rest import REST_ROUNDS, restless
from holdfast_invariants.told import Told
from holdfast_invariants.told_custody import OVER, ToldCustody, ToldPayment
from holdfast_invariants.told_owed import BY_CLIENTS
from holdfast_model.evidence import Bound
from holdfast_model.vocabulary import (
    STAGE_TRANSITIONS,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    ApproveWithdrawal,
    AssetId,
    AttestCustody,
    BroadcastPayment,
    Capability,
    ConfirmLoad,
    CoverShortfall,
    DeployRelease,
    Market,
    PaymentStatus,
    PayWithdrawal,
    Phase,
    PriceTicks,
    ProductId,
    PromoteReplica,
    Reason,
    RefundWithdrawal,
    ReportBlock,
    ReportPayment,
    ReportPrice,
    RestartSigning,
    ResumeStage,
    SetPhase,
    SetProvider,
    Setup,
    Stage,
    Step,
    SuspendAsset,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.amounts import Label

Moves = Iterator[Step]
REST_BOUND = Bound(name="rounds of healing until all must be at rest", value=str(REST_ROUNDS))
"""What a run that ends with `ComeToRest` says of it."""

_PHASES_MAX = 8
"""How many phases are passed through at most on the way to the open one."""
_TURNS_MAX = 14
"""How often signers speak on a payment in one round."""
_PAUSE_MS = 1_000
"""After so long nobody's rate counts against them any more, and prices are newer than those before."""
_UNSIGNED = (PaymentStatus.APPROVED, PaymentStatus.SIGNING)
_OWED = frozenset({Reason.NOT_LOADED, Reason.NOT_RECONCILED})
_FOLLOWED_BY: Mapping[Phase, Phase] = {
    Phase.HALTED: Phase.CANCEL_ONLY,
    Phase.MAINTENANCE: Phase.POST_ONLY,
    Phase.CANCEL_ONLY: Phase.POST_ONLY,
    Phase.POST_ONLY: Phase.OPEN,
    Phase.AUCTION: Phase.OPEN,
    Phase.CLOSED: Phase.AUCTION,
}
"""The way to the open phase, where no auction must come before."""


class Healing:
    """The steps of one healing, each to be taken before the next is asked for. `name` is unlike any other's."""

    def __init__(
        self, told: Told, known: Known, setup: Setup, capabilities: frozenset[Capability], *, name: Label
    ) -> None:
        self._told = told
        self._known = known
        self._setup = setup
        self._capabilities = capabilities
        self._name = name
        self._number = 0

    def steps(self) -> Moves:
        """Round after round, until nothing is pending or the rounds are over."""
        in_flight = [command for command in self._told.unknown if isinstance(command, BY_CLIENTS)]
        for _ in range(REST_ROUNDS):
            if not in_flight and next(restless(self._told), None) is None:
                return
            yield from self._replicas()
            if self._capabilities & TIME_NEEDS:
                yield self._later(_PAUSE_MS)
            yield from self._products()
            if self._told.custody is not None and self._can(Capability.CUSTODY):
                yield from self._providers(self._told.custody)
                yield from self._release()
                yield from self._open()
                yield from self._chains(self._told.custody)
                yield from self._withdrawals()
                yield from self._payments(self._told.custody)
                yield from self._differences(self._told.custody)
            else:
                yield from self._release()
                yield from self._open()
                yield from self._withdrawals()
            yield from self._open()
            yield from self._barrier()
            yield from in_flight
            in_flight = []
            yield from [command for command, _ in self._told.owed.away.values()]

    def to_trade(self) -> Moves:
        """What operators alone do so that clients can trade: replicas, products, the phase, and what these need."""
        yield from self._replicas()
        yield from self._products()
        yield from self._open()
        if self._told.phase is not Phase.OPEN:
            yield from self._release()
            yield from self._open()

    def _can(self, *capabilities: Capability) -> bool:
        return self._capabilities.issuperset(capabilities)

    def _later(self, milliseconds: int) -> AdvanceTime:
        return AdvanceTime(time_ms=self._known.time_ms + milliseconds)

    def _id(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"

    # Operators ------------------------------------------------------------------------------------------------------

    def _replicas(self) -> Moves:
        """Every replica is up, the primary first; where that does not help, another one is promoted."""
        told = self._told
        others = [name for name in self._setup.replicas if name != told.primary]
        for name in (told.primary, *others):
            status = told.replicas.get(name)
            if status in CURES:
                yield CURES[status](replica=name)
        for name in others:
            if not told.can_decide:
                yield PromoteReplica(replica=name)

    def _products(self) -> Moves:
        """Every product is open, stage by stage, with the marks that it needs."""
        for product, at_first in list(self._told.triggers.stages.items()):
            stage: Stage | None = STAGE_TRANSITIONS.get(at_first)
            while stage is not None:
                if stage is Stage.OPEN:
                    yield from self._marks(product)
                yield ResumeStage(product=product, stage=stage)
                if self._told.triggers.stages[product] is not stage:
                    break
                stage = STAGE_TRANSITIONS.get(stage)

    def _marks(self, product: ProductId) -> Moves:
        """Every source reports a price of each market of a product that has no mark, the same as the others."""
        margin = self._told.margin
        for market in self._told.markets.values():
            if margin is None or market.product != product or margin.marks.get(market.market, 0) is not None:
                continue
            for source in market.mark.sources if market.mark is not None else ():
                yield ReportPrice(
                    source=source,
                    market=market.market,
                    price_ticks=self._price(market),
                    time_ms=self._known.time_ms,
                )

    def _price(self, market: Market) -> PriceTicks:
        """What a market's sources said last, as far as it can be a price; else what it was made with."""
        said = [] if self._told.margin is None else [*self._told.margin.reports.get(market.market, {}).values()]
        prices = sorted(report.price_ticks for report in said if report.price_ticks > 0)
        return prices[len(prices) // 2] if prices else market.reference_ticks or PriceTicks(100)

    def _release(self) -> Moves:
        """Where a replica has another release installed than the active one, there is maintenance once more."""
        told = self._told
        skewed = any(release != told.release for release in told.installed.values())
        if not skewed or not self._can(Capability.PROCEDURE, Capability.PHASES) or told.phase is Phase.MAINTENANCE:
            return
        yield from self._open()
        yield SetPhase(phase=Phase.CANCEL_ONLY)
        yield AnnounceMaintenance(begins_ms=self._known.time_ms)
        yield SetPhase(phase=Phase.MAINTENANCE)

    def _open(self) -> Moves:
        """One phase after the other until trading is open, with the steps that the procedure asks for."""
        told = self._told
        for _ in range(_PHASES_MAX):
            before = told.phase
            if before is Phase.OPEN or not self._can(Capability.PHASES):
                return
            if before is Phase.HALTED and told.custody is not None:
                yield from self._differences(told.custody)
            elif before is Phase.MAINTENANCE and self._can(Capability.PROCEDURE):
                yield from self._leave_maintenance()
            yield SetPhase(phase=self._following(before))
            if told.phase is before and self._known.refusal in _OWED:
                yield from owed_steps(custody=told.custody is not None)
                yield SetPhase(phase=self._following(before))
            if told.phase is before:
                return

    def _following(self, phase: Phase) -> Phase:
        """The next phase; a book that is crossed, or a venue that opens by auction, needs one."""
        crossed = any(self._told.book.crossed(market) for market in self._told.markets)
        if phase is Phase.MAINTENANCE and crossed:
            return Phase.CANCEL_ONLY
        if phase in {Phase.CANCEL_ONLY, Phase.POST_ONLY} and (crossed or self._setup.auctions):
            return Phase.AUCTION
        return _FOLLOWED_BY[phase]

    def _leave_maintenance(self) -> Moves:
        for replica, release in self._told.installed.items():
            if release != self._told.release:
                yield DeployRelease(replica=replica, release=self._told.release)
        yield from owed_steps(custody=self._told.custody is not None)

    def _barrier(self) -> Moves:
        if self._told.owed.barrier and self._can(Capability.PROCEDURE):
            yield ConfirmLoad()

    def _differences(self, custody: ToldCustody) -> Moves:
        """What custody lacks is paid in; what it has too much was looked up wrongly."""
        for asset in custody.chains:
            difference = custody.difference(asset)
            if difference < 0:
                yield CoverShortfall(asset=asset, amount=Amount(-difference), transaction=self._id())
            elif difference > 0:
                held = {tier: custody.true.held.get((tier, asset), 0) for tier in custody.tiers}
                tier = max(held, key=lambda name: held[name])
                yield AttestCustody(tier=tier, asset=asset, amount=Amount(max(0, held[tier] - difference)))

    # Chains ---------------------------------------------------------------------------------------------------------

    def _providers(self, custody: ToldCustody) -> Moves:
        for asset, chain in custody.chains.items():
            if not chain.provider_up:
                yield SetProvider(asset=asset, up=True)

    def _chains(self, custody: ToldCustody) -> Moves:
        """Nothing is suspended; deposits that could not be told are told; what is in a block becomes final."""
        for asset, chain in custody.chains.items():
            if not (chain.deposits_open and chain.withdrawals_open):
                yield SuspendAsset(asset=asset, deposits_open=True, withdrawals_open=True)
        for report in [report for report in self._told.owed.unheard.values() if report.asset in custody.chains]:
            if custody.chains[report.asset].height < report.height:
                yield ReportBlock(asset=report.asset, height=report.height)
            yield report
        for asset in custody.chains:
            if any(of == asset for of, _ in custody.pending) or custody.true.uncredited[asset]:
                yield self._confirmed(custody, asset)

    def _confirmed(self, custody: ToldCustody, asset: AssetId) -> ReportBlock:
        height = custody.chains[asset].height + custody.true.confirmations[asset]
        return ReportBlock(asset=asset, height=height)

    def _withdrawals(self) -> Moves:
        """What was requested is approved, or paid where nobody approves; what cannot be is refunded."""
        if not self._can(Capability.FUNDS):
            return
        for (client, name), item in list(self._told.withdrawals.items()):
            if item.status is not WithdrawalStatus.REQUESTED:
                continue
            if self._told.custody is not None:
                yield ApproveWithdrawal(client=client, withdrawal=name)
            else:
                yield PayWithdrawal(client=client, withdrawal=name)
            if self._told.withdrawals[client, name].status is WithdrawalStatus.REQUESTED:
                yield RefundWithdrawal(client=client, withdrawal=name)

    def _payments(self, custody: ToldCustody) -> Moves:
        """Every payment is signed, broadcast, included and final; a halt on the way is ended."""
        for label, payment in list(custody.payments.items()):
            asset = payment.intent.asset
            if payment.status in OVER or asset not in custody.chains:
                continue
            yield from self._open()
            yield from self._sign(label, payment)
            if payment.status is PaymentStatus.SIGNED:
                if payment.not_before_ms > self._known.time_ms:
                    yield AdvanceTime(time_ms=payment.not_before_ms)
                yield BroadcastPayment(payment=label)
            if payment.status is PaymentStatus.BROADCAST:
                height = custody.chains[asset].height + 1
                yield ReportBlock(asset=asset, height=height)
                yield ReportPayment(payment=label, transaction=payment.transaction or label, height=height)
            if payment.status is PaymentStatus.INCLUDED:
                yield self._confirmed(custody, asset)

    def _sign(self, label: Label, payment: ToldPayment) -> Moves:
        """The signers say all that they have to, honestly; where nobody has anything to say, signing begins again."""
        parties = self._known.parties
        for _ in range(_TURNS_MAX):
            if payment.status not in _UNSIGNED or parties is None:
                return
            yield parties.next_to_say(label) or RestartSigning(payment=label)
