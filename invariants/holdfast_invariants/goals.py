"""Goals: what must have happened in a run for its green to mean anything (the `sometimes` entries)."""

from collections.abc import Callable

from msgspec import Struct

from holdfast_invariants.told import Told
from holdfast_model.vocabulary import (
    Burst,
    Capability,
    Crash,
    Event,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    Phase,
    PhaseChanged,
    Reason,
    Record,
    Rejected,
    ReplicaPromoted,
    Restart,
    RestoreSnapshot,
    TradeExecuted,
    WithdrawalPaid,
    WithdrawalRefunded,
)


class Goal(Struct, frozen=True, kw_only=True):
    """Something that must be reached at least once, by engines that have what it `needs`."""

    id: str
    sentence: str
    needs: frozenset[Capability] = frozenset({Capability.LIMIT_ORDERS})
    reached: Callable[["Progress", Record], bool]


class Progress:
    """What goals ask about a history: what the exchange told (the auditor's `told`), and what was done to it."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.restarted = False
        self.resting_at_restart: set[tuple[str, str]] = set()

    def note(self, record: Record) -> None:
        """Remember a step after its goals were looked at."""
        if isinstance(record.step, Restart | RestoreSnapshot):
            self.restarted = True
            self.resting_at_restart = set(self.told.resting)


def _has(record: Record, *events: type) -> bool:
    return any(isinstance(event, events) for event in _events(record))


def _events(record: Record) -> list[Event]:
    return [event for answer in record.answers for event in answer.events]


def _refused(record: Record, reason: Reason) -> bool:
    return any(isinstance(event, Rejected) and event.reason is reason for event in _events(record))


GOALS: tuple[Goal, ...] = (
    Goal(
        id="traded",
        sentence="Two orders traded.",
        reached=lambda _, record: _has(record, TradeExecuted),
    ),
    Goal(
        id="filled-in-part",
        sentence="An order was filled in part and rests.",
        reached=lambda progress, record: (
            _has(record, TradeExecuted) and any(order.filled_lots for order in progress.told.resting.values())
        ),
    ),
    Goal(
        id="cancelled",
        sentence="An order was cancelled.",
        reached=lambda _, record: _has(record, OrderCancelled),
    ),
    Goal(
        id="amended",
        sentence="An order was amended.",
        needs=frozenset({Capability.AMEND}),
        reached=lambda _, record: _has(record, OrderAmended),
    ),
    Goal(
        id="filled-across-a-restart",
        sentence="An order that rested when the exchange was restarted or restored was filled afterwards.",
        needs=frozenset({Capability.RESTART}),
        reached=lambda progress, record: any(
            isinstance(event, OrderFilled) and (event.client, event.order) in progress.resting_at_restart
            for event in _events(record)
        ),
    ),
    Goal(
        id="retry-refused",
        sentence="A command given a second time was refused.",
        reached=lambda _, record: _refused(record, Reason.DUPLICATE_ORDER),
    ),
    Goal(
        id="killed-in-flight",
        sentence="The exchange was killed with a command in flight.",
        needs=frozenset({Capability.RESTART, Capability.RESEND}),
        reached=lambda _, record: isinstance(record.step, Crash) and record.step.in_flight is not None,
    ),
    Goal(
        id="outcome-learnt-later",
        sentence="A client learnt after a restart that its command had been carried out.",
        needs=frozenset({Capability.RESTART, Capability.RESEND}),
        reached=lambda _, record: bool(record.resent),
    ),
    Goal(
        id="maintenance-with-open-orders",
        sentence="Maintenance began while orders were open, and ended.",
        needs=frozenset({Capability.PHASES}),
        reached=lambda progress, record: (
            any(isinstance(event, PhaseChanged) and event.before is Phase.MAINTENANCE for event in _events(record))
            and bool(progress.told.resting)
        ),
    ),
    Goal(
        id="replica-promoted",
        sentence="Another replica was promoted.",
        needs=frozenset({Capability.REPLICAS}),
        reached=lambda _, record: _has(record, ReplicaPromoted),
    ),
    Goal(
        id="stale-promotion-refused",
        sentence="The promotion of a replica that lagged behind was refused.",
        needs=frozenset({Capability.REPLICAS}),
        reached=lambda _, record: _refused(record, Reason.REPLICA_STALE),
    ),
    Goal(
        id="shed",
        sentence="Under load a command was refused for lack of room.",
        needs=frozenset({Capability.INGRESS}),
        reached=lambda _, record: isinstance(record.step, Burst) and _refused(record, Reason.OVERLOADED),
    ),
    Goal(
        id="withdrawal-paid",
        sentence="A withdrawal was paid.",
        needs=frozenset({Capability.FUNDS}),
        reached=lambda _, record: _has(record, WithdrawalPaid),
    ),
    Goal(
        id="withdrawal-refunded",
        sentence="A withdrawal was refunded.",
        needs=frozenset({Capability.FUNDS}),
        reached=lambda _, record: _has(record, WithdrawalRefunded),
    ),
    Goal(
        id="refused-by-phase",
        sentence="A command was refused because of the phase.",
        needs=frozenset({Capability.PHASES}),
        reached=lambda _, record: _refused(record, Reason.PHASE_FORBIDS),
    ),
)
