"""Telling a sequence to a person: what was done, what was answered, what changed in the books."""

from collections.abc import Sequence
from typing import assert_never

from holdfast.engine import Engine
from holdfast.running import Runner
from holdfast_model.findings import StepNarrative, Violation
from holdfast_model.vocabulary import (
    AmendOrder,
    Burst,
    CancelOrder,
    Crash,
    CreditDeposit,
    DepositCredited,
    EntryPosted,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    PauseStandby,
    PayWithdrawal,
    PhaseChanged,
    PlaceOrder,
    PromoteStandby,
    Record,
    RefundWithdrawal,
    Rejected,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeStandby,
    SetPhase,
    Setup,
    StandbyPaused,
    StandbyPromoted,
    StandbyResumed,
    Step,
    TakeSnapshot,
    TradeExecuted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    commands_of,
)


def describe_step(step: Step) -> str:  # noqa: C901, PLR0912 - a table, one line a kind
    """One line that says what is done."""
    match step:
        case PlaceOrder():
            price = "at market" if step.price_ticks is None else f"at {step.price_ticks}"
            extra = [str(step.time_in_force)] * (step.price_ticks is not None) + ["post-only"] * step.post_only
            return (
                f"{step.client} places {step.order}: {step.side} {step.size_lots} {step.market} {price} "
                f"({', '.join([*extra, str(step.self_trade)])})"
            )
        case CancelOrder():
            return f"{step.client} cancels {step.order}"
        case AmendOrder():
            return f"{step.client} amends {step.order} to {step.size_lots} at {step.price_ticks}"
        case CreditDeposit():
            return f"deposit {step.transaction}: {step.amount} {step.asset} for {step.client}"
        case RequestWithdrawal():
            return f"{step.client} requests withdrawal {step.withdrawal}: {step.amount} {step.asset}"
        case PayWithdrawal():
            return f"withdrawal {step.client}/{step.withdrawal} is to be paid"
        case RefundWithdrawal():
            return f"withdrawal {step.client}/{step.withdrawal} is to be refunded"
        case SetPhase():
            return f"phase to {step.phase}"
        case PauseStandby():
            return "the standby is paused"
        case ResumeStandby():
            return "the standby is resumed"
        case PromoteStandby():
            return "the standby is to be promoted"
        case Burst():
            return f"burst of {len(step.commands)}: " + "; ".join(map(describe_step, step.commands))
        case TakeSnapshot():
            return "snapshot taken"
        case RestoreSnapshot():
            return "state restored from snapshot and journal"
        case Crash(in_flight=None):
            return "KILL"
        case Crash():
            assert step.in_flight is not None
            return f"KILL ({step.point}) while: {describe_step(step.in_flight)}"
        case Restart():
            return "restart"
        case _:
            assert_never(step)


def describe_event(event: Event) -> str:  # noqa: C901, PLR0912 - a table, one line a kind
    """One line that says what happened."""
    match event:
        case Rejected():
            return f"refused: {event.reason}" + (f" ({event.detail})" if event.detail else "")
        case EntryPosted():
            lines = ", ".join(
                f"{line.account} {line.bucket} {line.amount:+d} {line.asset}" for line in event.postings
            )
            return f"entry for {event.cause_kind} {event.cause}: {lines}"
        case OrderAccepted():
            return f"{event.client}/{event.order} accepted"
        case OrderRested():
            return f"{event.client}/{event.order} rests: {event.left_lots} at {event.price_ticks}"
        case TradeExecuted():
            return (
                f"trade {event.trade}: {event.taker_client}/{event.taker_order} {event.taker_side}s "
                f"{event.size_lots} at {event.price_ticks} with {event.maker_client}/{event.maker_order}"
            )
        case OrderFilled():
            return f"{event.client}/{event.order} filled"
        case OrderCancelled():
            return f"{event.client}/{event.order} cancelled with {event.left_lots} left ({event.reason})"
        case OrderReduced():
            return f"{event.client}/{event.order} reduced to {event.left_lots} left"
        case OrderAmended():
            place = "keeps its place" if event.priority_kept else "loses its place"
            return f"{event.client}/{event.order} amended: {event.left_lots} left at {event.price_ticks}, {place}"
        case DepositCredited():
            return f"{event.amount} {event.asset} credited to {event.client}"
        case WithdrawalRequested():
            return f"withdrawal {event.client}/{event.withdrawal}: {event.amount} {event.asset} held"
        case WithdrawalPaid():
            return f"withdrawal {event.client}/{event.withdrawal}: {event.amount} {event.asset} paid"
        case WithdrawalRefunded():
            return f"withdrawal {event.client}/{event.withdrawal}: {event.amount} {event.asset} refunded"
        case PhaseChanged():
            return f"phase {event.before} -> {event.after}"
        case StandbyPaused():
            return "standby paused"
        case StandbyResumed():
            return "standby resumed"
        case StandbyPromoted():
            return f"standby promoted, epoch {event.epoch}"
        case _:
            assert_never(event)


def describe_violation(violation: Violation) -> str:
    """One line that says what is wrong."""
    return f"{violation.invariant}: {violation.subject}: {violation.found}; expected {violation.expected}"


def shown(view: View | None) -> dict[str, str]:
    """What a view shows, as names and values."""
    if view is None:
        return {}
    facts = {"phase": str(view.phase)}
    for balance in view.balances:
        facts[f"balance {balance.account} {balance.bucket} {balance.asset}"] = str(balance.amount)
    queues: dict[str, list[str]] = {}
    for order in view.orders:
        level = f"book {order.market} {order.side} {order.price_ticks}"
        queues.setdefault(level, []).append(f"{order.client}/{order.order} {order.left_lots}")
    facts |= {level: ", ".join(queue) for level, queue in queues.items()}
    for withdrawal in view.withdrawals:
        facts[f"withdrawal {withdrawal.client}/{withdrawal.withdrawal}"] = (
            f"{withdrawal.status} {withdrawal.amount} {withdrawal.asset}"
        )
    for custody in view.custody:
        facts[f"custody {custody.tier} {custody.asset}"] = str(custody.amount)
    return facts


def changes(before: View | None, after: View | None) -> tuple[str, ...]:
    """What changed from one view to the next, each as "name: before -> after"."""
    old, new = shown(before), shown(after)
    return tuple(
        f"{name}: {old.get(name, 'nothing')} -> {new.get(name, 'nothing')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not (before is None and name == "phase")
    )


def answers_of(record: Record) -> tuple[str, ...]:
    """The lines of a record's answers."""
    lines: list[str] = []
    for answer in record.answers:
        lines += [describe_event(event) for event in answer.events] or ["no answer"]
    if commands_of(record.step) and not record.answers:
        lines.append("no answer")
    for resent in record.resent:
        lines += [f"told again: {describe_event(event)}" for event in resent.events]
    return tuple(lines)


def narrate(engine: Engine, setup: Setup, steps: Sequence[Step]) -> tuple[Runner, tuple[StepNarrative, ...]]:
    """Run a sequence and tell it step by step."""
    runner = Runner(engine, setup)
    told: list[StepNarrative] = []
    for step in steps:
        before, known = runner.last_view, len(runner.violations)
        record = runner.do(step)
        if record is None:
            told.append(StepNarrative(step=f"(not possible now) {describe_step(step)}"))
            continue
        told.append(
            StepNarrative(
                step=describe_step(step),
                answers=answers_of(record),
                changes=changes(before, record.view) if record.view is not None else (),
                violations=tuple(describe_violation(violation) for violation in runner.violations[known:]),
            )
        )
    return runner, tuple(told)
