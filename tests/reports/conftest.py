"""Evidence as a gate leaves it behind: one where everything held, and one of each way in which it may not."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast_model.evidence import (
    WITNESS_SCHEMA,
    ActionCoverage,
    Bound,
    ExitStatus,
    Exploration,
    GoalCoverage,
    Method,
    ModelViolation,
    Obligation,
    ObligationVerdict,
    Proof,
    PropertyCoverage,
    SearchedModel,
    TraceState,
    Verdict,
    Witness,
    WitnessedGoal,
    Witnesses,
)
from holdfast_model.findings import (
    COUNTEREXAMPLE_SCHEMA,
    REPORT_SCHEMA,
    ConditionCheck,
    ContractCheck,
    ContractOutcome,
    ContractsResult,
    Counterexample,
    CounterexampleSummary,
    Difference,
    DiffFinding,
    DiffResult,
    FaultOutcome,
    FaultsResult,
    FaultVerdict,
    FuzzResult,
    GateResult,
    InvariantCoverage,
    LinkCheck,
    LinkDifference,
    NotChecked,
    Report,
    Run,
    StepNarrative,
    Violation,
)
from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    ClientId,
    Crash,
    CreditDeposit,
    Market,
    MarketId,
    OrderId,
    PlaceOrder,
    PriceTicks,
    Restart,
    RestoreSnapshot,
    Setup,
    Side,
    SizeLots,
    TakeSnapshot,
    TransactionId,
)
from holdfast_reports import AnyResult, encode, write_atomically

SENTENCES = {
    "CONS-1": ("Per asset, every entry balances and all accounts sum to zero.", "critical"),
    "CONS-2": ("No account falls below zero beyond its declared credit.", "critical"),
    "FINAL-1": ("An order that was filled, cancelled or refused never becomes open again.", "critical"),
    "FINAL-2": ("What was acknowledged is never lost, changed or brought back.", "critical"),
    "PRIO-1": ("Orders trade in price-time priority, at the resting order's price.", "high"),
    "MAINT-1": ("What a client sees is the same before and after maintenance.", "critical"),
    "SURGE-1": ("Every admitted command is answered once; a refused one has no effect.", "high"),
}


def coverage(*, checked: int = 4_810, **overrides: tuple[int, int]) -> tuple[InvariantCoverage, ...]:
    """All invariants, each checked a little differently; `FINAL_2=(9, 1)` overrides (checked, violations)."""
    rows = []
    for place, (name, (sentence, severity)) in enumerate(SENTENCES.items()):
        count, violations = overrides.get(name.replace("-", "_"), (checked + 131 * place if checked else 0, 0))
        rows.append(
            InvariantCoverage(id=name, sentence=sentence, severity=severity, checked=count, violations=violations)
        )
    return tuple(rows)


def total(*runs: Run) -> tuple[InvariantCoverage, ...]:
    """The checks of all runs, by invariant."""
    rows = []
    for name, (sentence, severity) in SENTENCES.items():
        same = [row for run in runs for row in run.coverage if row.id == name]
        rows.append(
            InvariantCoverage(
                id=name,
                sentence=sentence,
                severity=severity,
                checked=sum(row.checked for row in same),
                violations=sum(row.violations for row in same),
            )
        )
    return tuple(rows)


def reached(*runs: Run) -> dict[str, int]:
    """The goals of all runs."""
    sums: dict[str, int] = {}
    for run in runs:
        for goal, count in run.goals.items():
            sums[goal] = sums.get(goal, 0) + count
    return sums


MACHINE = Run(
    kind="machine",
    name="maintenance",
    sentence="Trading and funds mixed with maintenance, crashes, restores, promotions and bursts.",
    verdict=Verdict.HELD,
    bounds=(Bound(name="clients", value="3"), Bound(name="steps per sequence", value="40")),
    sequences=60,
    commands=2_214,
    goals={"order filled across a crash": 17, "order filled between snapshot and crash": 9, "burst while halted": 31},
    coverage=coverage(),
    violations=(),
)

GENERATOR = Run(
    kind="generator",
    name="surge",
    sentence="Generated order flow in bursts above the capacity of the ingress.",
    verdict=Verdict.HELD,
    bounds=(Bound(name="clients", value="8"), Bound(name="ingress capacity", value="8 commands")),
    sequences=20,
    commands=10_000,
    goals={"burst while halted": 4, "command shed": 812},
    coverage=coverage(checked=20_114),
    violations=(),
)

PROOF = Proof(
    model="spot",
    verdict=Verdict.HELD,
    bounds=(
        Bound(name="accounts", value="2"),
        Bound(name="orders", value="2"),
        Bound(name="amounts", value="unbounded integers"),
    ),
    obligations=tuple(
        Obligation(
            invariant=invariant,
            property=name,
            action=action,
            verdict=ObligationVerdict.PROVED,
            solver="z3 4.14.1",
            auxiliary=auxiliary,
        )
        for invariant, name, auxiliary in (
            ("CONS-1", "accounts_sum_to_zero", False),
            ("FINAL-1", "terminal_status_is_absorbing", False),
            ("FINAL-1", "live_state_is_replay_of_log", True),
        )
        for action in ("init", "place", "trade", "cancel", "snapshot", "crash", "restore")
    ),
)

EXPLORATION = Exploration(
    model="yardstick",
    verdict=Verdict.HELD,
    bounds=(Bound(name="accounts", value="2"), Bound(name="orders", value="3"), Bound(name="log", value="3")),
    distinct=1_482_570,
    generated=3_790_147,
    depth=39,
    complete=True,
    collision_probability=5.96e-08,
    actions=(
        ActionCoverage(action="place", taken=1_204_558),
        ActionCoverage(action="trade", taken=655_020),
        ActionCoverage(action="cancel", taken=930_566),
        ActionCoverage(action="snapshot", taken=500_001),
        ActionCoverage(action="crash", taken=500_001),
        ActionCoverage(action="skip_node", taken=0),
    ),
    properties=(
        PropertyCoverage(invariant="CONS-1", property="accounts_sum_to_zero", states=1_482_570),
        PropertyCoverage(invariant="FINAL-1", property="terminal_status_is_absorbing", states=1_482_570),
    ),
    violations=(),
)

LINK = LinkCheck(
    model="exchange:slice=surge,requests=3",
    verdict=Verdict.HELD,
    bounds=(Bound(name="walks of the model", value="2"), Bound(name="histories of the exchange", value="3")),
    steps=60,
    moves=90,
    actions={"deposit": 22, "send": 38, "serve_cancel": 0},
    passed_over={"the replica caught up at once where the model's standby lags": 4},
)

BROKEN_LINK = msgspec.structs.replace(
    LINK,
    verdict=Verdict.VIOLATED,
    steps=3,
    moves=0,
    actions={"deposit": 1, "send": 2, "serve_cancel": 0},
    origin="walk 2",
    path=("deposit(u1, USDT, amount=1)", "send(q1)", "send(q2)"),
    difference=LinkDifference(
        step=3, action="send(q2)", variable="live.free[u1, USDT]", model="1", engine="<b>0</b>"
    ),
)

FAULTS = FaultsResult(
    bounds=(Bound(name="commands per fault", value="at most 2,000"),),
    faults=(
        FaultOutcome(
            fault="stale-snapshot-restore",
            sentence="A restore takes the snapshot and drops the journal after it.",
            incidents=("backpack-2025-07-03",),
            names=("FINAL-2", "MAINT-1"),
            caught_by=("FINAL-2", "MAINT-1", "FINAL-1"),
            commands=4,
            commands_to_find=61,
            verdict=FaultVerdict.CAUGHT,
        ),
        FaultOutcome(
            fault="queue-priority-lost",
            sentence="A restore rebuilds each price level sorted by order id.",
            incidents=("backpack-2025-07-03", "paradex-2026-01-19"),
            names=("PRIO-1",),
            caught_by=("PRIO-1",),
            commands=7,
            commands_to_find=208,
            verdict=FaultVerdict.CAUGHT,
        ),
        FaultOutcome(
            fault="shed-command-has-effect",
            sentence="A command that was refused at the door is carried out all the same.",
            incidents=("gate-2025-04-23",),
            names=("SURGE-1",),
            caught_by=("SURGE-1", "CONS-2"),
            commands=10,
            commands_to_find=95,
            verdict=FaultVerdict.CAUGHT,
        ),
    ),
    healthy=Run(
        kind="generator",
        name="healthy",
        sentence="The reference without a fault.",
        verdict=Verdict.HELD,
        bounds=(Bound(name="commands", value="2,000"),),
        sequences=50,
        commands=2_000,
        goals={"order filled across a crash": 12},
        coverage=coverage(checked=2_101),
        violations=(),
    ),
)

TIMING = {
    "proof:spot": 2.51,
    "exploration:yardstick": 9.84,
    "run:maintenance": 14.2,
    "run:surge": 11.73,
    "faults": 18.05,
    "total": 56.9,
}

ENVIRONMENT = {
    "holdfast": "0.1.0",
    "commit": "159e321",
    "started": "2026-02-11T09:30:12Z",
    "python": "3.11.9",
    "platform": "Linux x86_64",
    "z3": "4.14.1",
    "numpy": "2.2.4",
}

NOT_CHECKED = (
    NotChecked(subject="Margin, liquidation and deleveraging", reason="the engine declares no margin"),
    NotChecked(subject="Failover to a standby on another machine", reason="the engine runs as one process"),
)

SETUP = Setup(
    assets=(AssetId("SOL"), AssetId("USDT")),
    markets=(
        Market(
            market=MarketId("SOL-USDT"),
            base=AssetId("SOL"),
            quote=AssetId("USDT"),
            lot_amount=Amount(1_000_000),
            tick_amount=Amount(100),
            maker_fee_ppm=1_000,
            taker_fee_ppm=2_000,
        ),
    ),
    clients=(ClientId("alice"), ClientId("bob")),
)

LOST_ORDER = Violation(
    invariant="FINAL-2",
    step=3,
    subject="order alice/1",
    found="order alice/1 is unknown to the exchange",
    expected="order alice/1 resting with 5 lots at 200 ticks, as acknowledged at step 1",
    evidence=('{"type":"order_rested","client":"alice","order":"1"}',),
)

STALE_RESTORE = Counterexample(
    schema=COUNTEREXAMPLE_SCHEMA,
    engine="fault:stale-snapshot-restore",
    origin="machine maintenance",
    setup=SETUP,
    steps=(
        CreditDeposit(
            client=ClientId("alice"),
            asset=AssetId("USDT"),
            amount=Amount(10**18),
            transaction=TransactionId("t1"),
        ),
        TakeSnapshot(),
        PlaceOrder(
            client=ClientId("alice"),
            order=OrderId("1"),
            market=MarketId("SOL-USDT"),
            side=Side.BUY,
            size_lots=SizeLots(5),
            price_ticks=PriceTicks(200),
        ),
        RestoreSnapshot(),
    ),
    commands=4,
    violations=(LOST_ORDER,),
    narrative=(
        StepNarrative(
            step="Credit alice with 1,000,000,000,000,000,000 USDT units (transaction t1)",
            answers=("deposit credited",),
            changes=("alice USDT free: 0 -> 1000000000000000000",),
        ),
        StepNarrative(step="Take a snapshot", answers=("snapshot of journal sequence 1",)),
        StepNarrative(
            step="alice places order 1: buy 5 lots SOL-USDT at 200 ticks, good till cancelled",
            answers=("order accepted", "order rested with 5 lots"),
            changes=(
                "alice USDT free: 1000000000000000000 -> 999999999999899800",
                "alice USDT held: 0 -> 100200",
                "bids at 200: (none) -> alice/1 for 5",
            ),
        ),
        StepNarrative(
            step="Restore the last snapshot",
            changes=(
                "alice USDT free: 999999999999899800 -> 1000000000000000000",
                "alice USDT held: 100200 -> 0",
                "bids at 200: alice/1 for 5 -> (none)",
            ),
            violations=("FINAL-2: order alice/1 is unknown to the exchange, though it was acknowledged",),
        ),
    ),
)

STALE_RESTORE_FILE = "counterexamples/FINAL-2-1.json"

REPRICED = Counterexample(
    schema=COUNTEREXAMPLE_SCHEMA,
    engine="nodejs-order-book",
    origin="diff",
    setup=SETUP,
    steps=(*STALE_RESTORE.steps[:3], Crash(), Restart()),
    commands=5,
    differences=(
        Difference(
            kind="resting-order-lost", step=4, subject="order alice/1", found="absent", expected="5 lots at 200"
        ),
    ),
    narrative=STALE_RESTORE.narrative,
)

REPRICED_FILE = "counterexamples/resting-order-lost-1.json"


WITNESS = Witness(
    schema=WITNESS_SCHEMA,
    goal="restored-with-a-log",
    sentence="A restore had commands to replay that the snapshot did not hold.",
    model="exchange:slice=maintenance",
    method=Method.EXPLORE,
    trace=(
        TraceState(action="init", state={"up": "true"}),
        TraceState(action="crash", state={"up": "false"}),
        TraceState(action="restore", state={"up": "true"}),
    ),
)

REACHED = WitnessedGoal(
    goal=WITNESS.goal,
    sentence=WITNESS.sentence,
    model=WITNESS.model,
    steps=2,
    method=Method.EXPLORE,
    replayed=True,
    actions=("crash", "restore"),
    file="witnesses/restored-with-a-log.json",
)

NOT_REACHED = WitnessedGoal(
    goal="no-quorum",
    sentence="Too few standbys are current to acknowledge anything.",
    model=WITNESS.model,
    steps=0,
    method=None,
    reason="none of the 15,075 states that the model can reach is one",
    not_replayed_because="no sequence was found",
)

OTHERWISE = msgspec.structs.replace(
    REACHED,
    goal="restored-otherwise",
    replayed=False,
    not_replayed_because="its states were others",
    difference="step 2, restore: up is true in the model, <b>false</b> in the exchange",
    file="witnesses/restored-otherwise.json",
)

SEARCHED = SearchedModel(
    model=WITNESS.model,
    bounds=EXPLORATION.bounds,
    distinct=2_049,
    depth=8,
    complete=False,
    stopped_by="every goal is reached",
    violations=(),
)


def witnesses(verdict: Verdict, *goals: WitnessedGoal) -> Witnesses:
    """Sequences to goals."""
    bounds = (Bound(name="sequences for each goal", value="at most 1"),)
    return Witnesses(verdict=verdict, bounds=bounds, goals=goals, searched=(SEARCHED,))


def gate(**changes: object) -> GateResult:
    """The result of a gate in which everything held, with some of its fields changed."""
    fields: dict[str, object] = {
        "profile": "smoke",
        "engine": "reference",
        "engine_version": "0.1.0",
        "seed": 20_250_703,
        "proofs": (PROOF,),
        "explorations": (EXPLORATION,),
        "links": (LINK,),
        "runs": (MACHINE, GENERATOR),
        "faults": FAULTS,
        "not_checked": NOT_CHECKED,
        "counterexamples": (),
        "witnesses": witnesses(Verdict.HELD, REACHED),
    }
    fields |= changes
    runs = fields["runs"]
    assert isinstance(runs, tuple)
    fields.setdefault("invariants", total(*runs))
    fields.setdefault("reached", reached(*runs))
    return GateResult(**fields)  # type: ignore[arg-type]  # the fields are checked by the encoder


def envelope(command: str, verdict: Verdict, result: AnyResult) -> Report[AnyResult]:
    """The report around a result, with the exit status of its verdict."""
    status = {
        Verdict.HELD: ExitStatus.HELD,
        Verdict.VIOLATED: ExitStatus.VIOLATED,
        Verdict.INCONCLUSIVE: ExitStatus.INCONCLUSIVE,
    }[verdict]
    return Report(
        schema=REPORT_SCHEMA,
        command=command,
        verdict=verdict,
        exit_status=int(status),
        result=result,
        timing=TIMING,
        environment=ENVIRONMENT,
    )


def held_gate() -> Report[AnyResult]:
    """A gate in which everything held."""
    return envelope("gate", Verdict.HELD, gate())


def violated_gate() -> Report[AnyResult]:
    """A gate with every kind of red: a counterexample, a refuted obligation, a model's violation, a missed fault."""
    refuted = Obligation(
        invariant="FINAL-1",
        property="terminal_status_is_absorbing",
        action="restore",
        verdict=ObligationVerdict.REFUTED,
        solver="z3 4.14.1",
        arguments={"node": "0"},
        before={"status[o1]": "FILLED", "seen[o1]": "FILLED", "snapshot_status[o1]": "RESTING", "phase": "DOWN"},
        after={"status[o1]": "RESTING", "seen[o1]": "FILLED", "snapshot_status[o1]": "RESTING", "phase": "OPEN"},
    )
    unknown = Obligation(
        invariant="CONS-1",
        property="accounts_sum_to_zero",
        action="trade",
        verdict=ObligationVerdict.UNKNOWN,
        solver="z3 4.14.1",
        reason="the solver gave up after 2,000,000 units of work",
    )
    not_attempted = Obligation(
        invariant="CONS-1",
        property="accounts_sum_to_zero",
        action="restore",
        verdict=ObligationVerdict.NOT_ATTEMPTED,
        solver="z3 4.14.1",
        reason="the guard clock ran out",
    )
    kept = tuple(
        obligation
        for obligation in PROOF.obligations
        if (obligation.property, obligation.action)
        not in {(bad.property, bad.action) for bad in (refuted, unknown, not_attempted)}
    )
    first = {"phase": "OPEN", "free[a1,USDT]": "2", "free[a1,SOL]": "0", "free[a2,SOL]": "1", "status[o1]": "NEW"}
    explored = ModelViolation(
        invariant="CONS-1",
        property="accounts_sum_to_zero",
        states=4,
        trace=(
            TraceState(action="init", state=first),
            TraceState(action="snapshot()", state=first | {"snapshot_taken": "true"}),
            TraceState(action="deposit(a1, USDT)", state=first | {"snapshot_taken": "true", "free[a1,USDT]": "3"}),
            TraceState(action="restore()", state=first | {"snapshot_taken": "true", "free[a1,USDT]": "2"}),
        ),
    )
    broken = Run(
        kind=MACHINE.kind,
        name=MACHINE.name,
        sentence=MACHINE.sentence,
        verdict=Verdict.VIOLATED,
        bounds=MACHINE.bounds,
        sequences=MACHINE.sequences,
        commands=MACHINE.commands,
        goals=MACHINE.goals | {"order filled between snapshot and crash": 0},
        coverage=coverage(FINAL_2=(5_203, 1), SURGE_1=(0, 0)),
        violations=(LOST_ORDER,),
    )
    idle = Run(
        kind="scenario",
        name="failover",
        sentence="A stale standby is promoted while a withdrawal is under way.",
        verdict=Verdict.INCONCLUSIVE,
        bounds=(Bound(name="sequences", value="1"),),
        sequences=1,
        commands=6,
        goals={"promotion of a stale standby": 0},
        coverage=coverage(checked=6, SURGE_1=(0, 0)),
        violations=(),
        reason="vacuous: no standby was ever promoted",
    )
    missed = FaultOutcome(
        fault="rounding-the-wrong-way",
        sentence="A maker fee is rounded down and nobody is given the remainder.",
        incidents=("balancer-2025-11-03",),
        names=("CONS-1",),
        caught_by=(),
        commands=0,
        commands_to_find=2_000,
        verdict=FaultVerdict.MISSED,
    )
    result = gate(
        engine="fault:stale-snapshot-restore",
        proofs=(
            Proof(
                model="spot:bug=restore",
                verdict=Verdict.VIOLATED,
                bounds=PROOF.bounds,
                obligations=(*kept, refuted, unknown, not_attempted),
            ),
        ),
        explorations=(
            Exploration(
                model="yardstick:bug=restore",
                verdict=Verdict.VIOLATED,
                bounds=EXPLORATION.bounds,
                distinct=71_204,
                generated=160_918,
                depth=14,
                complete=False,
                collision_probability=1.4e-10,
                actions=(
                    ActionCoverage(action="place", taken=120_411),
                    ActionCoverage(action="restore", taken=40_506),
                    ActionCoverage(action="skip_node", taken=0),
                ),
                properties=(
                    PropertyCoverage(invariant="CONS-1", property="accounts_sum_to_zero", states=71_204),
                    PropertyCoverage(invariant="SURGE-1", property="refused_has_no_effect", states=0),
                ),
                violations=(explored,),
                deadlocks=7,
                deadlock=explored.trace[:3],
                goals=(
                    GoalCoverage(goal="restored", sentence="The exchange came back.", states=4, trace=explored.trace),
                    GoalCoverage(goal="filled", sentence="An order was filled.", states=0, trace=()),
                ),
                stopped_by="the first violation",
            ),
        ),
        links=(LINK, BROKEN_LINK),
        witnesses=witnesses(Verdict.VIOLATED, REACHED, OTHERWISE),
        runs=(broken, idle),
        faults=FaultsResult(bounds=FAULTS.bounds, faults=(*FAULTS.faults, missed), healthy=FAULTS.healthy),
        not_checked=(
            *NOT_CHECKED,
            NotChecked(subject="SURGE-1", reason="nothing that it speaks of happened in any run"),
        ),
        counterexamples=(
            CounterexampleSummary(
                file=STALE_RESTORE_FILE,
                invariant="FINAL-2",
                commands=4,
                origin=STALE_RESTORE.origin,
                sentence=SENTENCES["FINAL-2"][0],
                found=LOST_ORDER.found,
                expected=LOST_ORDER.expected,
                narrative=STALE_RESTORE.narrative,
            ),
        ),
    )
    return envelope("gate", Verdict.VIOLATED, result)


def inconclusive_gate() -> Report[AnyResult]:
    """A gate in which nothing was violated and every part was left open in its own way."""
    result = gate(
        witnesses=witnesses(Verdict.INCONCLUSIVE, NOT_REACHED),
        proofs=(
            Proof(
                model="spot",
                verdict=Verdict.INCONCLUSIVE,
                bounds=PROOF.bounds,
                obligations=(
                    Obligation(
                        invariant="CONS-1",
                        property="accounts_sum_to_zero",
                        action="trade",
                        verdict=ObligationVerdict.UNKNOWN,
                        solver="z3 4.14.1",
                        reason="incomplete quantifiers",
                    ),
                    Obligation(
                        invariant="CONS-1",
                        property="accounts_sum_to_zero",
                        action="restore",
                        verdict=ObligationVerdict.NOT_ATTEMPTED,
                        solver="z3 4.14.1",
                        reason="the guard clock ran out",
                    ),
                ),
            ),
        ),
        explorations=(
            Exploration(
                model="yardstick",
                verdict=Verdict.INCONCLUSIVE,
                bounds=EXPLORATION.bounds,
                distinct=1_000_000,
                generated=2_310_554,
                depth=22,
                complete=False,
                collision_probability=2.7e-08,
                actions=(ActionCoverage(action="place", taken=2_310_553), ActionCoverage(action="crash", taken=0)),
                properties=(PropertyCoverage(invariant="CONS-1", property="accounts_sum_to_zero", states=1_000_000),),
                violations=(),
                stopped_by="the limit of 1,000,000 states",
            ),
        ),
        links=(
            msgspec.structs.replace(
                LINK, verdict=Verdict.INCONCLUSIVE, steps=0, moves=0, actions=dict.fromkeys(LINK.actions, 0)
            ),
        ),
        runs=(
            Run(
                kind="machine",
                name="maintenance",
                sentence=MACHINE.sentence,
                verdict=Verdict.INCONCLUSIVE,
                bounds=MACHINE.bounds,
                sequences=2,
                commands=9,
                goals={"order filled across a crash": 0},
                coverage=coverage(checked=0),
                violations=(),
                reason="vacuous: no order was filled across a crash",
            ),
        ),
        faults=None,
        not_checked=tuple(
            NotChecked(subject=name, reason="nothing that it speaks of happened in any run") for name in SENTENCES
        ),
    )
    return envelope("gate", Verdict.INCONCLUSIVE, result)


def differing_diff() -> Report[AnyResult]:
    """A comparison with one finding and one difference that a convention explains."""
    result = DiffResult(
        engine="nodejs-order-book",
        engine_version="10.1.1",
        seed=20_250_703,
        commands=20_000,
        sequences=400,
        bounds=(Bound(name="clients", value="4"), Bound(name="orders per sequence", value="50")),
        compared={"fills": 9_118, "resting orders": 61_440, "left after cancel": 2_212, "balances": 0},
        differences=(
            DiffFinding(
                kind="market-remainder-rests",
                commands=3,
                file="",
                convention="market-order-remainder",
                occurrences=41,
                found="2 lots left over",
                expected="2 lots cancelled",
            ),
            DiffFinding(
                kind="resting-order-lost",
                commands=5,
                file=REPRICED_FILE,
                convention="",
                occurrences=12,
                found="order alice/1 absent after restart",
                expected="order alice/1 resting, 5 lots at 200 ticks",
                narrative=REPRICED.narrative,
            ),
        ),
        conventions=(("market-order-remainder", "README.md, section Market orders"),),
        not_checked=(NotChecked(subject="Balances", reason="the engine holds no funds"),),
    )
    return envelope("diff", Verdict.VIOLATED, result)


def violated_fuzz() -> Report[AnyResult]:
    """A fuzz run that found one violation."""
    violated = violated_gate().result
    assert isinstance(violated, GateResult)
    run = violated.runs[0]
    result = FuzzResult(
        engine="fault:stale-snapshot-restore",
        seed=7,
        commands=run.commands,
        journal_sha256="0" * 64,
        run=run,
        violations=run.violations,
        counterexamples=violated.counterexamples,
        not_checked=violated.not_checked,
    )
    return envelope("fuzz", Verdict.VIOLATED, result)


def held_faults() -> Report[AnyResult]:
    """A faults run in which every fault was caught."""
    return envelope("faults", Verdict.HELD, FAULTS)


CONFIRMED = ContractCheck(
    function="ceil_div",
    outcome=ContractOutcome.CONFIRMED,
    preconditions=("denominator > 0",),
    conditions=(
        ConditionCheck(condition="_ * denominator >= numerator", outcome=ContractOutcome.CONFIRMED),
        ConditionCheck(condition="(_ - 1) * denominator < numerator", outcome=ContractOutcome.CONFIRMED),
    ),
)

NOT_CONFIRMED = ContractCheck(
    function="mark_price",
    outcome=ContractOutcome.NOT_CONFIRMED,
    conditions=(
        ConditionCheck(
            condition="_ is None or _ > 0",
            outcome=ContractOutcome.NOT_CONFIRMED,
            reason="timed out after 10 s of processor time, without a counterexample",
        ),
    ),
)


def contracts(verdict: Verdict, *checks: ContractCheck) -> Report[AnyResult]:
    """What CrossHair found about these functions; where it gave up on one, nobody is stopped."""
    result = ContractsResult(
        module="holdfast_engine.arithmetic",
        solver="CrossHair 0.0.113 on z3 4.14.1",
        bounds=(Bound(name="seconds of processor time for each postcondition", value="10"),),
        functions=checks,
    )
    report = envelope("crosshair", verdict, result)
    return msgspec.structs.replace(report, exit_status=int(verdict is Verdict.VIOLATED))


def violated_contracts() -> Report[AnyResult]:
    """Every way in which a contract can fail, beside one that is kept and one that is open."""
    refuted = ContractCheck(
        function="funding_payment",
        outcome=ContractOutcome.REFUTED,
        conditions=(
            ConditionCheck(
                condition="_ >= 0",
                outcome=ContractOutcome.REFUTED,
                counterexample="false when calling funding_payment(-1, mark=1) (which returns -1)",
            ),
        ),
    )
    unreachable = ContractCheck(
        function="tier_of",
        outcome=ContractOutcome.UNREACHABLE,
        preconditions=("value < 0 < value",),
        conditions=(
            ConditionCheck(
                condition="_ >= 0", outcome=ContractOutcome.UNREACHABLE, reason="Unable to meet precondition."
            ),
        ),
    )
    silent = ContractCheck(
        function="_median", outcome=ContractOutcome.NO_CONTRACT, reason="there is no postcondition"
    )
    return contracts(Verdict.VIOLATED, CONFIRMED, NOT_CONFIRMED, refuted, unreachable, silent)


REPORTS: dict[str, Callable[[], Report[AnyResult]]] = {
    "held gate": held_gate,
    "violated gate": violated_gate,
    "inconclusive gate": inconclusive_gate,
    "diff": differing_diff,
    "fuzz": violated_fuzz,
    "faults": held_faults,
    "prove": lambda: envelope("prove", Verdict.HELD, PROOF),
    "explore": lambda: envelope("explore", Verdict.HELD, EXPLORATION),
    "held witness": lambda: envelope("witness", Verdict.HELD, witnesses(Verdict.HELD, REACHED)),
    "inconclusive witness": lambda: envelope(
        "witness", Verdict.INCONCLUSIVE, witnesses(Verdict.INCONCLUSIVE, REACHED, NOT_REACHED)
    ),
    "held contracts": lambda: contracts(Verdict.HELD, CONFIRMED),
    "violated contracts": violated_contracts,
    "inconclusive contracts": lambda: contracts(Verdict.INCONCLUSIVE, CONFIRMED, NOT_CONFIRMED),
}


def write_counterexamples(report: Report[AnyResult], out: Path) -> None:
    """Write the counterexamples that the report names, as the command does before it renders."""
    if isinstance(report.result, GateResult | FuzzResult) and report.result.counterexamples:
        write_atomically(out / STALE_RESTORE_FILE, encode(STALE_RESTORE))
    sought = report.result.witnesses if isinstance(report.result, GateResult) else report.result
    for goal in sought.goals if isinstance(sought, Witnesses) else ():
        if goal.file in {REACHED.file, OTHERWISE.file}:
            write_atomically(out / goal.file, encode(msgspec.structs.replace(WITNESS, goal=goal.goal)))
    if isinstance(report.result, DiffResult):
        write_atomically(out / REPRICED_FILE, encode(REPRICED))


@pytest.fixture(params=sorted(REPORTS))
def any_report(request: pytest.FixtureRequest) -> Report[AnyResult]:
    """Each kind of report in turn."""
    return REPORTS[request.param]()


@pytest.fixture
def reports() -> dict[str, Callable[[], Report[AnyResult]]]:
    """The reports by name, made when asked for."""
    return REPORTS


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Report[AnyResult]], Path]:
    """A function that writes a report with its counterexamples and returns the folder."""
    from holdfast_reports import render  # noqa: PLC0415 - so that a broken page fails tests, not the collection

    def write(report: Report[AnyResult]) -> Path:
        write_counterexamples(report, tmp_path)
        render(report, tmp_path)
        return tmp_path

    return write
