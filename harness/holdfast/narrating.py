"""Telling a sequence to a person: what was done, what was answered, what changed in the books."""

from collections.abc import Sequence

from holdfast.engine import Engine
from holdfast.narrating_operations import (
    describe_asking,
    describe_custody,
    describe_operation,
    describe_outcome,
    shown_of_replicas,
)
from holdfast.running import Runner
from holdfast_model.findings import StepNarrative, Violation
from holdfast_model.vocabulary import (
    AccrueInterest,
    AdvanceTime,
    AmendOrder,
    AskReplica,
    AuctionUncrossed,
    Borrow,
    Borrowed,
    Burst,
    CancelAll,
    CancelOrder,
    ChainCommand,
    ClientDisconnected,
    ComeToRest,
    Conditions,
    Crash,
    CreditDeposit,
    CustodyCommand,
    CustodyEvent,
    Deleveraged,
    DepositCredited,
    DisconnectClient,
    EntryPosted,
    Event,
    FundHouse,
    FundingSettled,
    GrantPromotion,
    HaltProduct,
    HouseFunded,
    InterestAccrued,
    Liquidate,
    LiquidationStepped,
    MarkChanged,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    PayWithdrawal,
    PhaseChanged,
    PlaceOrder,
    PositionChanged,
    PriceReported,
    ProductHalted,
    ProductResumed,
    PromotionGranted,
    Record,
    RefundWithdrawal,
    Rejected,
    Repaid,
    Repay,
    ReportPrice,
    RequestWithdrawal,
    Restart,
    RestoreSnapshot,
    ResumeStage,
    SetPhase,
    SettleFunding,
    Setup,
    SignerCommand,
    Step,
    StopArmed,
    StopTriggered,
    TakeSnapshot,
    TimeAdvanced,
    TradeExecuted,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    commands_of,
)


def describe_conditions(conditions: Conditions | None) -> list[str]:
    """The conditions of an order, in words."""
    if conditions is None:
        return []
    words = ["reduce-only"] * conditions.reduce_only + ["cancel on disconnect"] * conditions.cancel_on_disconnect
    if conditions.trigger is not None:
        trigger = conditions.trigger
        words.append(f"once {trigger.by} is {trigger.when.replace('_', ' ')} {trigger.price_ticks}")
    if conditions.expires_ms is not None:
        words.append(f"until {conditions.expires_ms} ms")
    if conditions.one_cancels_other is not None:
        words.append(f"or {conditions.one_cancels_other}")
    return words


def describe_step(step: Step) -> str:  # noqa: C901, PLR0912 - a table, one line a kind
    """One line that says what is done."""
    match step:
        case PlaceOrder():
            price = "at market" if step.price_ticks is None else f"at {step.price_ticks}"
            extra = [str(step.time_in_force)] * (step.price_ticks is not None) + ["post-only"] * step.post_only
            extra += describe_conditions(step.conditions)
            return (
                f"{step.client} places {step.order}: {step.side} {step.size_lots} {step.market} {price} "
                f"({', '.join([*extra, str(step.self_trade)])})"
            )
        case CancelOrder():
            return f"{step.client} cancels {step.order}"
        case AmendOrder():
            return f"{step.client} amends {step.order} to {step.size_lots} at {step.price_ticks}"
        case CancelAll():
            return f"{step.client} cancels all in {step.market or 'every market'}"
        case DisconnectClient():
            return f"{step.client} is disconnected"
        case AdvanceTime():
            return f"the time is {step.time_ms} ms"
        case ReportPrice():
            return f"{step.source} reports {step.market} at {step.price_ticks} as of {step.time_ms} ms"
        case TransferMargin():
            return (
                f"{step.client} transfers {step.amount} {step.asset}, {step.source} to {step.target} ({step.request})"
            )
        case Borrow():
            return f"{step.client} borrows {step.amount} {step.asset} ({step.request})"
        case Repay():
            return f"{step.client} repays {step.amount} {step.asset} ({step.request})"
        case AccrueInterest():
            return f"interest on {step.asset}, period {step.period}, at {step.rate_ppm} ppm"
        case SettleFunding():
            return f"funding of {step.market}, period {step.period}, at {step.rate_ppm} ppm"
        case Liquidate():
            return f"{step.client} is to be liquidated in {step.product}"
        case HaltProduct():
            return f"{step.product} is halted: {step.cause}"
        case ResumeStage():
            return f"{step.product} resumes to {step.stage}"
        case FundHouse():
            return f"{step.amount} {step.asset} paid into {step.account}"
        case GrantPromotion():
            return f"{step.client} is granted {step.amount} {step.asset} ({step.grant})"
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
        case Burst():
            return f"burst of {len(step.commands)}: " + "; ".join(map(describe_step, step.commands))
        case TakeSnapshot():
            return "snapshot taken"
        case RestoreSnapshot():
            return "state restored from snapshot and journal"
        case AskReplica():
            return describe_asking(step, "; ".join(map(describe_step, step.commands)))
        case Crash():
            killed = "KILL" if step.replica is None else f"KILL {step.replica}"
            flying = "" if step.in_flight is None else f" ({step.point}) while: {describe_step(step.in_flight)}"
            return killed + flying
        case Restart():
            return "restart"
        case ComeToRest():
            return "everything is healed, and everybody does what is theirs until all is at rest"
        case _ if isinstance(step, ChainCommand | SignerCommand | CustodyCommand):
            return describe_custody(step)
        case _:
            return describe_operation(step)


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
        case StopArmed():
            return f"{event.client}/{event.order} waits for its trigger"
        case StopTriggered():
            return f"{event.client}/{event.order} triggered at {event.price_ticks}"
        case AuctionUncrossed(price_ticks=None):
            return f"auction of {event.market} uncrossed: no bid meets an ask"
        case AuctionUncrossed():
            return (
                f"auction of {event.market} uncrossed: {event.volume_lots} lots at {event.price_ticks}, "
                f"imbalance {event.imbalance_lots:+d}"
            )
        case TimeAdvanced():
            return f"time {event.time_ms} ms"
        case ClientDisconnected():
            return f"{event.client} disconnected"
        case HouseFunded():
            return f"{event.amount} {event.asset} paid into {event.account}"
        case PromotionGranted():
            return f"{event.client} granted {event.amount} {event.asset} ({event.grant})"
        case TransferStarted():
            return (
                f"transfer {event.client}/{event.request}: {event.amount} {event.asset} "
                f"from {event.source} to {event.target}"
            )
        case TransferCompleted():
            return f"transfer {event.client}/{event.request} arrived"
        case Borrowed():
            return f"{event.client} borrowed {event.amount} {event.asset} ({event.request})"
        case Repaid():
            return f"{event.client} repaid {event.amount} {event.asset} ({event.request})"
        case InterestAccrued():
            return f"interest on {event.asset}, period {event.period}, at {event.rate_ppm} ppm"
        case PriceReported():
            return f"{event.source}: {event.market} at {event.price_ticks} as of {event.time_ms} ms"
        case MarkChanged():
            mark = "unavailable" if event.mark_ticks is None else f"{event.mark_ticks} ({', '.join(event.sources)})"
            return f"mark of {event.market}: {mark}"
        case PositionChanged():
            return f"position of {event.client} in {event.market}: {event.position_lots:+d} for {event.entry_value}"
        case FundingSettled():
            return f"funding of {event.market}, period {event.period}: {event.rate_ppm} ppm at {event.mark_ticks}"
        case LiquidationStepped():
            what = f"{event.size_lots} of {event.market} to {event.bankruptcy_ticks} " if event.market else ""
            return (
                f"liquidation of {event.client} in {event.product}: {event.kind} {what}"
                f"(equity {event.equity}, maintenance {event.maintenance})"
            )
        case Deleveraged():
            return (
                f"{event.size_lots} of {event.market} of {event.client} closed against {event.counterparty} "
                f"at {event.price_ticks} (score {event.score})"
            )
        case ProductHalted():
            return f"{event.product} halted: {event.cause}"
        case ProductResumed():
            return f"{event.product} resumed to {event.stage}"
        case PhaseChanged():
            return f"phase {event.before} -> {event.after}"
        case _ if isinstance(event, CustodyEvent):
            return describe_custody(event)
        case _:
            return describe_outcome(event)


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
    return facts | _shown_of_custody(view) | _shown_of_margin(view) | shown_of_replicas(view)


def _shown_of_custody(view: View) -> dict[str, str]:
    """What a view shows of chains, of deposits and payments under way, and of what was published."""
    facts = {}
    for chain in view.chains:
        closed = [
            what
            for what, is_open in (
                ("provider down", chain.provider_up),
                ("deposits closed", chain.deposits_open),
                ("withdrawals closed", chain.withdrawals_open),
            )
            if not is_open
        ]
        facts[f"chain {chain.asset}"] = ", ".join([f"block {chain.height}", *closed])
    for deposit in view.deposits:
        final = ", final" if deposit.final else ""
        facts[f"deposit {deposit.asset} {deposit.transaction}"] = (
            f"{deposit.amount} for {deposit.client} in block {deposit.height}{final}"
        )
    for payment in view.payments:
        intent = payment.intent
        facts[f"payment {intent.payment}"] = (
            f"{payment.status}, attempt {payment.attempt}: {intent.amount} {intent.asset} "
            f"from {intent.tier} to {intent.destination}"
        )
    for item in view.liabilities:
        facts[f"liabilities {item.asset}"] = f"{item.total} under {item.root} at {item.seq}"
    return facts


def _shown_of_margin(view: View) -> dict[str, str]:
    """What a view shows of stops, positions, marks, products and transfers."""
    facts = {"time": f"{view.time_ms} ms"} if view.time_ms else {}
    for stop in view.stops:
        trigger = stop.trigger
        facts[f"stop {stop.client}/{stop.order}"] = (
            f"{stop.side} {stop.size_lots} {stop.market} once {trigger.by} is {trigger.when.replace('_', ' ')} "
            f"{trigger.price_ticks}"
        )
    for position in view.positions:
        facts[f"position {position.client} {position.market}"] = (
            f"{position.position_lots:+d} for {position.entry_value:+d}"
        )
    for mark in view.marks:
        facts[f"mark {mark.market}"] = "unavailable" if mark.mark_ticks is None else str(mark.mark_ticks)
    for item in view.stages:
        facts[f"stage {item.product}"] = str(item.stage)
    for transfer in view.transfers:
        facts[f"transfer {transfer.client}/{transfer.request}"] = (
            f"{transfer.amount} {transfer.asset} from {transfer.source} to {transfer.target}"
        )
    return facts


_AS_AT_FIRST = ("phase", "mark", "stage", "chain", "primary", "release", "replica")
"""What stands in every view; in a first one it is no change."""


def changes(before: View | None, after: View | None) -> tuple[str, ...]:
    """What changed from one view to the next, each as "name: before -> after"."""
    old, new = shown(before), shown(after)
    return tuple(
        f"{name}: {old.get(name, 'nothing')} -> {new.get(name, 'nothing')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not (before is None and name.split(" ")[0] in _AS_AT_FIRST)
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


def healing_of(runner: Runner, record: Record) -> tuple[str, ...]:
    """What was done so that all comes to rest, a line for each step and the lines of its answers."""
    if not isinstance(record.step, ComeToRest):
        return ()
    return tuple(line for part in runner.healed for line in (f"> {describe_step(part.step)}", *answers_of(part)))


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
                answers=(*healing_of(runner, record), *answers_of(record)),
                changes=changes(before, record.view) if record.view is not None else (),
                violations=tuple(describe_violation(violation) for violation in runner.violations[known:]),
            )
        )
    return runner, tuple(told)
