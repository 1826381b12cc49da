"""Goals: what must have happened in a run for its green to mean anything (the `sometimes` entries)."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from holdfast_invariants.told import Told
from holdfast_invariants.told_margin import PositionKey
from holdfast_model.vocabulary import (
    AccountRead,
    Answer,
    AskReplica,
    AuctionUncrossed,
    Burst,
    CancelReason,
    Capability,
    CauseKind,
    Command,
    Crash,
    Deleveraged,
    DepositCredited,
    DepositOrphaned,
    DepositSeen,
    EntryPosted,
    Event,
    JournalRecord,
    LiabilitiesPublished,
    Liquidate,
    LiquidationKind,
    LiquidationStepped,
    MarkChanged,
    MismatchFound,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentSigned,
    PaymentStatus,
    Phase,
    PhaseChanged,
    PositionChanged,
    ProductResumed,
    PromotionGranted,
    ReadAccount,
    Reason,
    Record,
    Rejected,
    ReleaseActivated,
    Repaid,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    ReportBlock,
    ReportDeposit,
    ReportReorganisation,
    Restart,
    RestoreSnapshot,
    SetPhase,
    ShortfallCovered,
    SigningRestarted,
    Stage,
    StopTriggered,
    SuspendAsset,
    SweepCompleted,
    TradeExecuted,
    TransferCompleted,
    TransferStarted,
    WithdrawalPaid,
    WithdrawalRefunded,
    commands_of,
)

_MARGIN = frozenset({Capability.FUNDS, Capability.MARKS, Capability.MARGIN})
_LOANS = _MARGIN | {Capability.BORROWING, Capability.ENTRIES}
_CUSTODY = frozenset({Capability.CUSTODY})
_PROCEDURE = frozenset({Capability.PROCEDURE, Capability.REPLICAS, Capability.PHASES})
_NOTED: frozenset[type] = frozenset({PositionChanged, ShortfallCovered, MismatchFound, PhaseChanged})
"""The events that `Progress` takes note of."""
_LIQUIDATION = _MARGIN | {Capability.LIQUIDATION}


class Progress:
    """What goals ask about a history: what the exchange told (the auditor's `told`), and what was done to it."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.resting_at_restart: set[tuple[str, str]] = set()
        self.lots: dict[PositionKey, int] = {}
        """The positions before the step at hand."""
        self.unheard: set[Command] = set()
        """Deposits that were refused because their provider was down."""
        self.covered = False
        """Whether a shortfall was covered since the exchange last halted."""
        self.primary, self.release = told.primary, told.release
        """Who was the primary, and which release was active, before the step at hand."""
        self.deposed: set[ReplicaId] = set()
        self.in_flight = False
        """Whether a command was in flight at a kill before the step at hand, and nobody knows what became of it."""
        self.aborted = False
        """Whether the last maintenance was called off."""

    def note(self, record: Record) -> None:
        """Remember a step after its goals were looked at."""
        if isinstance(record.step, Restart | RestoreSnapshot):
            self.resting_at_restart = set(self.told.resting)
        if isinstance(record.step, ReportDeposit) and _refused(Reason.PROVIDER_DOWN)(self, record):
            self.unheard.add(record.step)
        said: tuple[Answer | JournalRecord, ...] = (*record.answers, *record.resent)
        for item in said:
            for event in item.events:
                if event.__class__ in _NOTED:
                    self._note(event)
        told = self.told
        if told.primary != self.primary:
            self.deposed.add(self.primary)
            self.deposed.discard(told.primary)
        self.primary, self.release = told.primary, told.release
        self.in_flight = bool(told.unknown)

    def _note(self, event: Event) -> None:
        if isinstance(event, PositionChanged):
            self.lots[event.client, event.market] = event.position_lots
        elif isinstance(event, ShortfallCovered | MismatchFound):
            self.covered = isinstance(event, ShortfallCovered)
        elif isinstance(event, PhaseChanged) and event.before is Phase.MAINTENANCE:
            self.aborted = event.after is Phase.CANCEL_ONLY


Reached = Callable[[Progress, Record], bool]
Topic = type | Reason | CancelReason | CauseKind
_TOLD_APART = frozenset({Rejected, OrderCancelled, EntryPosted})


def _happened(progress: Progress, record: Record) -> bool:  # noqa: ARG001 - that it happened is enough
    return True


class Goal(Struct, frozen=True, kw_only=True):
    """Something that must be reached at least once, by engines that have what it `needs`.

    `reached` is asked after steps of which one of the topics in `by` is the class of the step or of an event in its
    answers, or tells apart such an event: why it refused or cancelled, of which kind an entry is.
    """

    id: str
    sentence: str
    needs: frozenset[Capability] = frozenset({Capability.LIMIT_ORDERS})
    by: tuple[Topic, ...]
    reached: Reached = _happened


class Watch:
    """The goals that an engine of these capabilities can reach, by what they are reached by."""

    def __init__(self, capabilities: frozenset[Capability]) -> None:
        self._by: dict[Topic, list[Goal]] = {}
        for goal in GOALS:
            if goal.needs <= capabilities:
                for topic in goal.by:
                    self._by.setdefault(topic, []).append(goal)

    def reached(self, progress: Progress, record: Record) -> list[str]:
        """The ids of the goals that a step reached. Costs what the step told, and not what goals there are."""
        topics: set[Topic] = {record.step.__class__}
        for answer in record.answers:
            for event in answer.events:
                cls = event.__class__
                topics.add(cls)
                if cls in _TOLD_APART:
                    topics.add(event.cause_kind if isinstance(event, EntryPosted) else event.reason)  # type: ignore[union-attr]  # the others have one
        by = self._by
        goals = {goal.id: goal for topic in topics if topic in by for goal in by[topic]}
        return [goal.id for goal in goals.values() if goal.reached(progress, record)]


def _events(record: Record) -> list[Event]:
    return [event for answer in record.answers for event in answer.events]


def _refused(reason: Reason, step: type = object) -> Reached:
    def reached(progress: Progress, record: Record) -> bool:  # noqa: ARG001 - the record says it
        refusals = (event for event in _events(record) if isinstance(event, Rejected))
        return isinstance(record.step, step) and any(event.reason is reason for event in refusals)

    return reached


def _ended(reason: CancelReason) -> Reached:
    return lambda _, record: any(
        event.reason is reason for event in _events(record) if isinstance(event, OrderCancelled)
    )


def _entered(kind: CauseKind) -> Reached:
    return lambda _, record: any(
        event.cause_kind is kind for event in _events(record) if isinstance(event, EntryPosted)
    )


def _traded(progress: Progress, record: Record) -> Iterator[tuple[int, int]]:
    """The positions before and after each change that a trade made."""
    lots: dict[PositionKey, int] = {}
    trade = False
    for event in _events(record):
        if isinstance(event, TradeExecuted | Deleveraged):
            trade = isinstance(event, TradeExecuted)
        elif isinstance(event, PositionChanged):
            key = (event.client, event.market)
            before = lots.get(key, progress.lots.get(key, 0))
            lots[key] = event.position_lots
            if trade:
                yield before, event.position_lots


def _filled_across_a_restart(progress: Progress, record: Record) -> bool:
    return any(
        isinstance(event, OrderFilled) and (event.client, event.order) in progress.resting_at_restart
        for event in _events(record)
    )


def _maintenance_ended(progress: Progress, record: Record) -> bool:
    ended = (isinstance(event, PhaseChanged) and event.before is Phase.MAINTENANCE for event in _events(record))
    return any(ended) and bool(progress.told.resting)


def _left_maintenance(progress: Progress, record: Record) -> bool:
    return progress.told.setup.procedure and any(
        event.before is Phase.MAINTENANCE and event.after is Phase.POST_ONLY
        for event in _events(record)
        if isinstance(event, PhaseChanged)
    )


def _tried_again(progress: Progress, record: Record) -> bool:
    begun = any(isinstance(event, PhaseChanged) and event.after is Phase.MAINTENANCE for event in _events(record))
    return begun and progress.aborted


def _released(progress: Progress, record: Record, *, back: bool) -> bool:
    first = progress.told.setup.releases[0].release
    return any(
        event.release != progress.release and back == (event.release == first)
        for event in _events(record)
        if isinstance(event, ReleaseActivated)
    )


def _deposed_asked(progress: Progress, record: Record) -> bool:
    step = record.step
    if not isinstance(step, AskReplica) or step.replica not in progress.deposed:
        return False
    return any(isinstance(event, Rejected) and event.reason is Reason.NOT_PRIMARY for event in _events(record))


def _refused_one(kind: type, reason: Reason) -> Reached:
    """Whether a command of a kind was refused for a reason, alone or among others."""

    def reached(progress: Progress, record: Record) -> bool:  # noqa: ARG001 - the record says it
        return any(
            isinstance(command, kind) and isinstance(event, Rejected) and event.reason is reason
            for command, answer in zip(commands_of(record.step), record.answers, strict=False)
            for event in answer.events
        )

    return reached


def _transfer_waited(progress: Progress, record: Record) -> bool:  # noqa: ARG001 - the record says it
    started = {(event.client, event.request) for event in _events(record) if isinstance(event, TransferStarted)}
    return any(
        (event.client, event.request) not in started
        for event in _events(record)
        if isinstance(event, TransferCompleted)
    )


def _included(*, changed: bool) -> Reached:
    """Whether a payment was included under another id than it was broadcast with, or under the same."""

    def reached(progress: Progress, record: Record) -> bool:
        payments = progress.told.custody.payments if progress.told.custody is not None else {}
        return any(
            event.payment in payments and (payments[event.payment].transaction != event.transaction) is changed
            for event in _events(record)
            if isinstance(event, PaymentIncluded)
        )

    return reached


def _leaves(record: Record, phase: Phase) -> bool:
    return any(isinstance(event, PhaseChanged) and event.before is phase for event in _events(record))


def _step(kind: LiquidationKind, sentence: str, needs: frozenset[Capability] = _LIQUIDATION) -> Goal:
    return Goal(
        id=f"liquidation-{kind.replace('_', '-')}",
        sentence=sentence,
        needs=needs,
        by=(LiquidationStepped,),
        reached=lambda _, record: any(
            event.kind is kind for event in _events(record) if isinstance(event, LiquidationStepped)
        ),
    )


GOALS: tuple[Goal, ...] = (
    Goal(
        id="traded",
        sentence="Two orders traded.",
        by=(TradeExecuted,),
    ),
    Goal(
        id="filled-in-part",
        sentence="An order was filled in part and rests.",
        by=(TradeExecuted,),
        reached=lambda progress, _: any(order.filled_lots for order in progress.told.resting.values()),
    ),
    Goal(
        id="cancelled",
        sentence="An order was cancelled.",
        by=(OrderCancelled,),
    ),
    Goal(
        id="amended",
        sentence="An order was amended.",
        needs=frozenset({Capability.AMEND}),
        by=(OrderAmended,),
    ),
    Goal(
        id="filled-across-a-restart",
        sentence="An order that rested when the exchange was restarted or restored was filled afterwards.",
        needs=frozenset({Capability.RESTART}),
        by=(OrderFilled,),
        reached=_filled_across_a_restart,
    ),
    Goal(
        id="retry-refused",
        sentence="A command given a second time was refused.",
        by=(Reason.DUPLICATE_ORDER,),
        reached=_refused(Reason.DUPLICATE_ORDER),
    ),
    Goal(
        id="killed-in-flight",
        sentence="The exchange was killed with a command in flight.",
        needs=frozenset({Capability.RESTART, Capability.RESEND}),
        by=(Crash,),
        reached=lambda _, record: isinstance(record.step, Crash) and record.step.in_flight is not None,
    ),
    Goal(
        id="outcome-learnt-later",
        sentence="A client learnt after a restart that its command had been carried out.",
        needs=frozenset({Capability.RESTART, Capability.RESEND}),
        by=(Restart,),
        reached=lambda _, record: bool(record.resent),
    ),
    Goal(
        id="maintenance-with-open-orders",
        sentence="Maintenance began while orders were open, and ended.",
        needs=frozenset({Capability.PHASES}),
        by=(PhaseChanged,),
        reached=_maintenance_ended,
    ),
    Goal(
        id="replica-promoted",
        sentence="Another replica was promoted.",
        needs=frozenset({Capability.REPLICAS}),
        by=(ReplicaPromoted,),
    ),
    Goal(
        id="stale-promotion-refused",
        sentence="The promotion of a replica that lagged behind was refused.",
        needs=frozenset({Capability.REPLICAS}),
        by=(Reason.REPLICA_STALE,),
        reached=_refused(Reason.REPLICA_STALE),
    ),
    Goal(
        id="promoted-after-a-kill",
        sentence="Another replica was promoted after the primary was killed.",
        needs=frozenset({Capability.REPLICAS}),
        by=(ReplicaPromoted,),
        reached=lambda progress, _: progress.told.replicas.get(progress.primary) is ReplicaStatus.DOWN,
    ),
    Goal(
        id="no-quorum",
        sentence="A command was refused because too few replicas were up.",
        needs=frozenset({Capability.REPLICAS}),
        by=(Reason.NO_QUORUM,),
        reached=_refused(Reason.NO_QUORUM),
    ),
    Goal(
        id="deposed-primary-asked",
        sentence="A replica that had been the primary was asked for a decision, and refused.",
        needs=frozenset({Capability.REPLICAS}),
        by=(AskReplica,),
        reached=_deposed_asked,
    ),
    Goal(
        id="in-flight-survived-a-failover",
        sentence="A command in flight when the primary died was carried out, as its client learnt after a promotion.",
        needs=frozenset({Capability.REPLICAS, Capability.RESEND}),
        by=(ReplicaPromoted,),
        reached=lambda _, record: bool(record.resent),
    ),
    Goal(
        id="in-flight-lost-with-the-primary",
        sentence="A command in flight when the primary died was never carried out.",
        needs=frozenset({Capability.REPLICAS, Capability.RESEND}),
        by=(ReplicaPromoted,),
        reached=lambda progress, record: progress.in_flight and not record.resent,
    ),
    Goal(
        id="read-at-a-lagging-replica",
        sentence="Balances were read at a replica that lacked the last decisions.",
        needs=frozenset({Capability.REPLICAS, Capability.READS}),
        by=(AccountRead,),
        reached=lambda progress, record: any(
            event.seq < progress.told.seq for event in _events(record) if isinstance(event, AccountRead)
        ),
    ),
    Goal(
        id="read-shed",
        sentence="Under load a read was refused for lack of room.",
        needs=frozenset({Capability.INGRESS, Capability.READS}),
        by=(Reason.OVERLOADED,),
        reached=_refused_one(ReadAccount, Reason.OVERLOADED),
    ),
    Goal(
        id="rate-limited",
        sentence="A client was refused because it had asked for too much within a second.",
        needs=frozenset({Capability.RATE_LIMITS}),
        by=(Reason.RATE_LIMITED,),
        reached=_refused(Reason.RATE_LIMITED),
    ),
    Goal(
        id="maintenance-by-procedure",
        sentence="Maintenance by the procedure was left for post-only, all its steps taken.",
        needs=_PROCEDURE,
        by=(PhaseChanged,),
        reached=_left_maintenance,
    ),
    Goal(
        id="maintenance-tried-again",
        sentence="Maintenance was called off, and begun again.",
        needs=_PROCEDURE,
        by=(PhaseChanged,),
        reached=_tried_again,
    ),
    Goal(
        id="skipped-barrier-refused",
        sentence="Maintenance was to be left without the load barrier, which was refused.",
        needs=_PROCEDURE,
        by=(Reason.NOT_LOADED,),
        reached=_refused(Reason.NOT_LOADED, SetPhase),
    ),
    Goal(
        id="liquidation-before-the-barrier-refused",
        sentence="A liquidation was refused because the state had been rebuilt and the load was not confirmed.",
        needs=_PROCEDURE | {Capability.LIQUIDATION},
        by=(Reason.NOT_LOADED,),
        reached=_refused(Reason.NOT_LOADED, Liquidate),
    ),
    Goal(
        id="release-activated",
        sentence="A release was activated.",
        needs=_PROCEDURE,
        by=(ReleaseActivated,),
        reached=lambda progress, record: _released(progress, record, back=False),
    ),
    Goal(
        id="release-rolled-back",
        sentence="A release was rolled back to the first one.",
        needs=_PROCEDURE,
        by=(ReleaseActivated,),
        reached=lambda progress, record: _released(progress, record, back=True),
    ),
    Goal(
        id="cancelled-by-force",
        sentence="An operator cancelled the orders of everybody.",
        needs=_PROCEDURE,
        by=(CancelReason.FORCED,),
        reached=_ended(CancelReason.FORCED),
    ),
    Goal(
        id="shed",
        sentence="Under load a command was refused for lack of room.",
        needs=frozenset({Capability.INGRESS}),
        by=(Reason.OVERLOADED,),
        reached=_refused(Reason.OVERLOADED, Burst),
    ),
    Goal(
        id="withdrawal-paid",
        sentence="A withdrawal was paid.",
        needs=frozenset({Capability.FUNDS}),
        by=(WithdrawalPaid,),
    ),
    Goal(
        id="withdrawal-refunded",
        sentence="A withdrawal was refunded.",
        needs=frozenset({Capability.FUNDS}),
        by=(WithdrawalRefunded,),
    ),
    Goal(
        id="refused-by-phase",
        sentence="A command was refused because of the phase.",
        needs=frozenset({Capability.PHASES}),
        by=(Reason.PHASE_FORBIDS,),
        reached=_refused(Reason.PHASE_FORBIDS),
    ),
    Goal(
        id="stop-triggered",
        sentence="A stop order was triggered.",
        needs=frozenset({Capability.STOP_ORDERS}),
        by=(StopTriggered,),
    ),
    Goal(
        id="one-cancelled-other",
        sentence="An order ended because the one that it was linked with traded, was triggered or ended.",
        needs=frozenset({Capability.STOP_ORDERS, Capability.ONE_CANCELS_OTHER}),
        by=(CancelReason.ONE_CANCELS_OTHER,),
        reached=_ended(CancelReason.ONE_CANCELS_OTHER),
    ),
    Goal(
        id="order-expired",
        sentence="An order was cancelled because its time was up.",
        needs=frozenset({Capability.GOOD_TILL_TIME}),
        by=(CancelReason.EXPIRED,),
        reached=_ended(CancelReason.EXPIRED),
    ),
    Goal(
        id="cancelled-with-its-session",
        sentence="An order was cancelled because its client's session was lost.",
        needs=frozenset({Capability.CANCEL_ON_DISCONNECT}),
        by=(CancelReason.DISCONNECTED,),
        reached=_ended(CancelReason.DISCONNECTED),
    ),
    Goal(
        id="auction-uncrossed",
        sentence="An auction ended with trades.",
        needs=frozenset({Capability.AUCTION, Capability.PHASES}),
        by=(AuctionUncrossed,),
        reached=lambda _, record: any(
            event.volume_lots > 0 for event in _events(record) if isinstance(event, AuctionUncrossed)
        ),
    ),
    Goal(
        id="position-opened",
        sentence="A trade opened a position.",
        needs=_MARGIN,
        by=(PositionChanged,),
        reached=lambda progress, record: any(after and not before for before, after in _traded(progress, record)),
    ),
    Goal(
        id="position-closed",
        sentence="A trade closed a position.",
        needs=_MARGIN,
        by=(PositionChanged,),
        reached=lambda progress, record: any(before and not after for before, after in _traded(progress, record)),
    ),
    Goal(
        id="position-flipped",
        sentence="A trade made a short position of a long one, or a long one of a short one.",
        needs=_MARGIN,
        by=(PositionChanged,),
        reached=lambda progress, record: any(before * after < 0 for before, after in _traded(progress, record)),
    ),
    Goal(
        id="reduced-to-nothing",
        sentence="A reduce-only order was cancelled because nothing was left for it to reduce.",
        needs=_MARGIN,
        by=(CancelReason.REDUCE_ONLY,),
        reached=_ended(CancelReason.REDUCE_ONLY),
    ),
    Goal(
        id="mark-unavailable",
        sentence="A mark that was there became UNAVAILABLE.",
        needs=_MARGIN,
        by=(MarkChanged,),
        reached=lambda _, record: any(
            event.mark_ticks is None for event in _events(record) if isinstance(event, MarkChanged)
        ),
    ),
    _step(LiquidationKind.CANCEL_ORDERS, "A liquidation cancelled the account's open orders."),
    _step(LiquidationKind.REDUCE, "A liquidation closed a part of a position in the book."),
    _step(LiquidationKind.INSURE, "A liquidation closed a part of a position beyond the bankruptcy price, insured."),
    _step(LiquidationKind.DELEVERAGE, "A liquidation closed a part of a position against the other side's."),
    _step(LiquidationKind.SEIZE, "A liquidation met what was owed out of collateral.", _LIQUIDATION | _LOANS),
    _step(LiquidationKind.WRITE_OFF, "The insurance fund paid what an account could not.", _LIQUIDATION | _LOANS),
    Goal(
        id="liquidation-waited",
        sentence="A liquidation was refused because a product of the account was not open.",
        needs=_LIQUIDATION | {Capability.PRODUCT_HALTS},
        by=(Reason.PRODUCT_HALTED,),
        reached=_refused(Reason.PRODUCT_HALTED, Liquidate),
    ),
    Goal(
        id="funding-paid",
        sentence="Funding was paid between positions.",
        needs=_MARGIN | {Capability.ENTRIES},
        by=(CauseKind.FUNDING,),
        reached=_entered(CauseKind.FUNDING),
    ),
    Goal(
        id="interest-accrued",
        sentence="Interest was added to a debt.",
        needs=_LOANS,
        by=(CauseKind.INTEREST,),
        reached=_entered(CauseKind.INTEREST),
    ),
    Goal(
        id="loan-repaid",
        sentence="A client repaid a loan.",
        needs=_LOANS,
        by=(Repaid,),
    ),
    Goal(
        id="product-resumed",
        sentence="A product that was halted went through all stages until it was open.",
        needs=frozenset({Capability.PRODUCT_HALTS}),
        by=(ProductResumed,),
        reached=lambda _, record: any(
            event.stage is Stage.OPEN for event in _events(record) if isinstance(event, ProductResumed)
        ),
    ),
    Goal(
        id="transfer-waited",
        sentence="A transfer into a product that was not open waited, and arrived when it opened.",
        needs=_MARGIN | {Capability.PRODUCT_HALTS},
        by=(TransferCompleted,),
        reached=_transfer_waited,
    ),
    Goal(
        id="promotion-granted",
        sentence="A client was granted a promotion.",
        needs=_MARGIN | {Capability.PROMOTIONS},
        by=(PromotionGranted,),
    ),
    Goal(
        id="deposit-credited",
        sentence="A deposit was seen, became final, and was credited.",
        needs=_CUSTODY,
        by=(DepositCredited,),
        reached=lambda _, record: isinstance(record.step, ReportBlock),
    ),
    Goal(
        id="deposit-orphaned",
        sentence="A reorganisation took a deposit off its chain before it was final.",
        needs=_CUSTODY,
        by=(DepositOrphaned,),
        reached=lambda _, record: not any(isinstance(event, MismatchFound) for event in _events(record)),
    ),
    Goal(
        id="deposit-credited-after-suspension",
        sentence="A deposit became final while deposits were suspended, and was credited when they were open again.",
        needs=_CUSTODY,
        by=(DepositCredited,),
        reached=lambda _, record: isinstance(record.step, SuspendAsset),
    ),
    Goal(
        id="backlog-after-outage",
        sentence="A deposit that could not be told while the provider was down was told afterwards.",
        needs=_CUSTODY,
        by=(DepositSeen,),
        reached=lambda progress, record: isinstance(record.step, ReportDeposit) and record.step in progress.unheard,
    ),
    Goal(
        id="payment-signed",
        sentence="Enough signers signed a payment.",
        needs=_CUSTODY,
        by=(PaymentSigned,),
    ),
    Goal(
        id="payment-broadcast",
        sentence="A signed payment was handed to its chain.",
        needs=_CUSTODY,
        by=(PaymentBroadcast,),
    ),
    Goal(
        id="payment-included",
        sentence="A payment was included under the transaction id that it was broadcast with.",
        needs=_CUSTODY,
        by=(PaymentIncluded,),
        reached=_included(changed=False),
    ),
    Goal(
        id="transaction-id-changed",
        sentence="A payment was included under another transaction id.",
        needs=_CUSTODY,
        by=(PaymentIncluded,),
        reached=_included(changed=True),
    ),
    Goal(
        id="payment-final",
        sentence="A withdrawal was paid when its chain had made its payment final.",
        needs=_CUSTODY,
        by=(WithdrawalPaid,),
        reached=lambda _, record: isinstance(record.step, ReportBlock),
    ),
    Goal(
        id="refunded-while-signing",
        sentence="A withdrawal was refunded after its payment was approved and before it was signed.",
        needs=_CUSTODY,
        by=(WithdrawalRefunded,),
        reached=lambda progress, record: any(
            progress.told.custody is not None
            and f"{event.client}/{event.withdrawal}" in progress.told.custody.payments
            for event in _events(record)
            if isinstance(event, WithdrawalRefunded)
        ),
    ),
    Goal(
        id="share-refused",
        sentence="A share that was not valid was refused.",
        needs=_CUSTODY,
        by=(Reason.SHARE_INVALID,),
        reached=_refused(Reason.SHARE_INVALID),
    ),
    Goal(
        id="commitment-reuse-refused",
        sentence="A nonce that was committed to before was refused.",
        needs=_CUSTODY,
        by=(Reason.COMMITMENT_REUSED,),
        reached=_refused(Reason.COMMITMENT_REUSED),
    ),
    Goal(
        id="signing-restarted",
        sentence="An attempt to sign was given up after signers had committed.",
        needs=_CUSTODY,
        by=(SigningRestarted,),
    ),
    Goal(
        id="killed-while-signing",
        sentence="The exchange, or a replica of it, was killed while shares were awaited.",
        needs=_CUSTODY | {Capability.RESTART},
        by=(Crash,),
        reached=lambda progress, _: (
            progress.told.custody is not None
            and any(item.status is PaymentStatus.SIGNING for item in progress.told.custody.payments.values())
        ),
    ),
    Goal(
        id="mismatch-detected",
        sentence="The exchange found that ledger and custody differ, and halted.",
        needs=_CUSTODY,
        by=(MismatchFound,),
        reached=lambda progress, _: progress.told.phase is Phase.HALTED,
    ),
    Goal(
        id="deep-reorganisation-detected",
        sentence="A reorganisation undid something final, and the exchange found the difference.",
        needs=_CUSTODY,
        by=(MismatchFound,),
        reached=lambda _, record: isinstance(record.step, ReportReorganisation),
    ),
    Goal(
        id="mismatch-healed",
        sentence="What custody lacked was paid in, and the exchange was opened again.",
        needs=_CUSTODY | {Capability.PHASES},
        by=(PhaseChanged,),
        reached=lambda progress, record: progress.covered and _leaves(record, Phase.HALTED),
    ),
    Goal(
        id="sweep-completed",
        sentence="Funds were moved from one tier of custody to another.",
        needs=_CUSTODY,
        by=(SweepCompleted,),
    ),
    Goal(
        id="time-lock-refused",
        sentence="A payment was refused to be broadcast before its time lock was over.",
        needs=_CUSTODY,
        by=(Reason.TIME_LOCKED,),
        reached=_refused(Reason.TIME_LOCKED),
    ),
    Goal(
        id="tier-limit-refused",
        sentence="A payment or a sweep was refused because of a tier's limit.",
        needs=_CUSTODY,
        by=(Reason.TIER_LIMIT,),
        reached=_refused(Reason.TIER_LIMIT),
    ),
    Goal(
        id="liabilities-published",
        sentence="Liabilities were published.",
        needs=_CUSTODY,
        by=(LiabilitiesPublished,),
    ),
)
