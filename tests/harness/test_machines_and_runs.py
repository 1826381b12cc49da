"""The machine, the generator and the scenarios: they find planted faults, and nothing in the healthy engine."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from holdfast.counterexamples import counterexample, read_counterexample, silent, smallest
from holdfast.engine import LocalEngine
from holdfast.engines import EngineSource
from holdfast.faulting import run_faults, verdict_of
from holdfast.fuzzing import Fuzz, fuzz
from holdfast.gating import PROFILES, Gate, Profile
from holdfast.generating import SMALL_SETUP
from holdfast.linking.checking import LINKED, Work
from holdfast.machines import ExchangeMachine, InvariantViolatedError, run_machine
from holdfast.openings import openings_like
from holdfast.running import ENGINE_FAILED, run
from holdfast.scenarios import SCENARIOS, Scenario
from holdfast.sharding import MachineOutcome, MachineWork
from holdfast.workers import Lost
from holdfast_engine.faults import FAULTS, fault_by_name
from holdfast_invariants.catalogue import CATALOGUE
from holdfast_invariants.goals import GOALS
from holdfast_model.evidence import Verdict
from holdfast_model.findings import FaultsResult, FaultVerdict
from holdfast_model.vocabulary import Capability, TakeSnapshot, command_count
from holdfast_reports import encode


def test_the_machine_holds_on_the_healthy_engine_and_reaches_most_goals() -> None:
    with EngineSource("reference") as source:
        outcome = run_machine(source, setup=SMALL_SETUP, seed=1, examples=40, steps=30)
    assert outcome.violations == ()
    assert outcome.sequences >= 40 + len(openings_like(SMALL_SETUP, frozenset(Capability)))
    assert len(outcome.goals) >= 10


@pytest.mark.parametrize(
    ("fault", "invariant"),
    [
        ("stale-snapshot-restore", "FINAL-2"),
        ("order-accepted-while-halted", "PHASE-1"),
        ("shed-command-has-effect", "SURGE-1"),
        ("stale-replica-promoted", "FINAL-2"),
    ],
)
def test_the_machine_finds_a_planted_fault_and_leaves_a_sequence_that_shows_it(fault: str, invariant: str) -> None:
    with EngineSource(f"fault:{fault}") as source:
        outcome = run_machine(source, setup=SMALL_SETUP, seed=1, examples=150, steps=30)
        assert outcome.failing
        assert invariant in {item.invariant for item in outcome.shown}
        assert outcome.setup is not None
        small = smallest(source, outcome.setup, outcome.failing, invariant)
        assert command_count(small) <= 8
        shown = run(source.engine(), outcome.setup, small)
        assert invariant in {item.invariant for item in shown.violations}


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_every_rule_can_be_drawn_in_every_example(data: st.DataObject) -> None:
    rules: Any = ExchangeMachine()._rules_strategy
    flags = data.draw(rules.enabled_rules_strategy)
    assert all(flags.is_enabled(rule.function.__name__) for rule in rules.rules)


def test_the_machine_can_be_used_from_a_test_of_ones_own() -> None:
    class Faulty(ExchangeMachine):
        make_engine = staticmethod(lambda: LocalEngine(parts=fault_by_name("hash-chain-broken").parts))

    with pytest.raises(InvariantViolatedError, match="AUDIT-1"):
        run_state_machine_as_test(
            Faulty, settings=settings(max_examples=20, stateful_step_count=10, database=None, deadline=None)
        )


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    with EngineSource("fault:queue-priority-lost") as source:
        short = fuzz(source, seed=5, commands=100)
        long = fuzz(source, seed=5, commands=1_000)
    assert long.commands > short.commands
    assert short.first.items() <= long.first.items()


def test_another_seed_gives_another_sequence() -> None:
    with EngineSource("reference") as source:
        hashes = {fuzz(source, seed=seed, commands=100).journal_sha256 for seed in (1, 2, 3)}
    assert len(hashes) == 3


def test_the_generator_reaches_every_goal() -> None:
    with EngineSource("reference") as source:
        outcome = fuzz(source, seed=1, commands=PROFILES["smoke"].commands)
    assert outcome.violations == []
    assert {goal.id for goal in GOALS} == set(outcome.goals)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_healthy_engine_survives_every_incident(scenario: Scenario) -> None:
    shown = run(LocalEngine(), scenario.setup, scenario.steps(scenario.setup))
    assert shown.violations == []
    assert shown.commands > 10


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("backpack-2025-07-03", "stale-snapshot-restore"),
        ("backpack-2025-07-03", "maintenance-loses-orders"),
        ("backpack-2025-07-03", "backlog-applied-twice"),
        ("backpack-2025-07-03", "debt-grown-at-restore"),
        ("backpack-2025-07-03", "refund-out-of-custody-in-another-asset"),
        ("restored-in-maintenance", "stale-snapshot-restore"),
        ("provider-outage", "credited-while-suspended"),
        ("failover-of-a-half-signed-withdrawal", "refund-of-signed-payment"),
        ("nasdaq-facebook-2012-05-18", "stale-replica-promoted"),
        ("gate-2025-04-23", "shed-command-has-effect"),
        ("gate-2025-04-23", "cancels-starved"),
        ("poloniex-2014-03-04", "used-ids-forgotten"),
        ("poloniex-2014-03-04", "withdrawal-paid-after-refund"),
        ("kraken-2018-01-11", "maintenance-loses-orders"),
    ],
)
def test_an_incident_is_detected_where_its_fault_is_planted(name: str, fault: str) -> None:
    scenario = next(item for item in SCENARIOS if item.name == name)
    planted = fault_by_name(fault)
    shown = run(LocalEngine(parts=planted.parts), scenario.setup, scenario.steps(scenario.setup))
    assert {item.invariant for item in shown.violations} & set(planted.violates)


def test_a_counterexample_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with EngineSource("fault:fill-forgotten") as source:
        outcome = fuzz(source, seed=1, commands=10_000, stop=lambda outcome: "FINAL-3" in outcome.first)
        number, setup, steps = outcome.first["FINAL-3"]
        small = smallest(source, setup, steps, "FINAL-3")
        made = counterexample(source, setup, small, origin=f"sequence {number}", invariant="FINAL-3")
    path = tmp_path / "found.json"
    path.write_bytes(encode(made))
    assert read_counterexample(path) == made
    assert made.violations[0].invariant == "FINAL-3"
    assert any(step.violations for step in made.narrative)


TINY = Profile(
    name="tiny",
    proofs=(),
    explorations=(),
    witnessed=(),
    machine_examples=1,
    margin_examples=1,
    custody_examples=1,
    operations_examples=1,
    whole_examples=1,
    machine_steps=1,
    commands=1,
    fault_commands=1,
    faults_each=None,
    link=Work(walks=1, walk_steps=3, histories=1, history_moves=3),
    links=LINKED[:1],
)


def gate(engine: str, *, commands: int) -> Gate:
    with EngineSource(engine) as source:
        profile = replace(TINY, commands=commands)
        work = Gate(source, profile, seed=1, progress=silent, found=lambda *_: None)
        work.run()
    return work


def test_the_smoke_profile_tries_two_planted_bugs_of_each_invariant_and_says_how_many_it_leaves() -> None:
    with EngineSource("reference") as source:
        work = Gate(source, PROFILES["smoke"], seed=1, progress=silent, found=lambda *_: None)
    tried = work._faults()
    named = Counter(invariant for fault in tried for invariant in fault.violates)
    there = Counter(invariant for fault in FAULTS for invariant in fault.violates)
    assert all(named[entry.id] >= min(2, there[entry.id]) for entry in CATALOGUE)
    assert {incident for fault in tried for incident in fault.incidents} == {
        incident for fault in FAULTS for incident in fault.incidents
    }


def test_a_gate_that_reaches_too_little_is_inconclusive_and_says_what_is_missing() -> None:
    work = gate("reference", commands=1)
    assert all(run.verdict is Verdict.HELD for run in work.runs)
    assert work.verdict() is Verdict.INCONCLUSIVE
    missing = {goal for goal, count in work.reached().items() if not count}
    assert missing
    assert {f"goal {goal}" for goal in missing} <= {item.subject for item in work.not_checked()}


def test_a_run_in_which_nothing_traded_is_not_green() -> None:
    outcome = Fuzz()
    outcome.add(run(LocalEngine(), SMALL_SETUP, (TakeSnapshot(),)))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "no two orders traded" in outcome.inconclusive


def test_a_planted_fault_that_is_missed_is_never_green() -> None:
    missed = run_faults([fault_by_name("deployment-after-the-barrier")], seed=1, commands=1)
    assert [outcome.verdict for outcome in missed.faults] == [FaultVerdict.MISSED]
    assert verdict_of(missed) is Verdict.INCONCLUSIVE


def test_an_engine_that_keeps_failing_is_given_up_and_violated() -> None:
    script = (
        "import sys, json\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    if request['type'] == 'hello':\n"
        "        print(json.dumps({'type': 'hello_reply', 'id': request['id'], 'protocol': 1, 'engine': 'x',"
        " 'version': '1', 'capabilities': ['limit_orders']}), flush=True)\n"
        "    elif request['type'] == 'reset':\n"
        "        print(json.dumps({'type': 'done', 'id': request['id']}), flush=True)\n"
        "    else:\n"
        "        print('rubbish', flush=True)\n"
    )
    work = gate(f"stdio:{sys.executable} -c {shlex.quote(script)}", commands=500)
    assert work.verdict() is Verdict.VIOLATED
    assert [name for name, _ in work.counterexamples] == [ENGINE_FAILED]
    assert any("failed in 3 sequences in a row" in item.reason for item in work.not_checked())


def test_examples_whose_process_was_lost_are_listed_and_leave_the_run_inconclusive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(engine: str, machines: Sequence[MachineWork], **_: object) -> Iterator[MachineOutcome]:
        assert engine == "reference"
        for work in machines:
            outcome = MachineOutcome()
            outcome.over = True
            if work.name == "margin-machine":
                outcome.lost["examples 1 to 36 of margin-machine"] = "its process hung"
            yield outcome

    monkeypatch.setattr("holdfast.gating.run_machines", lost)
    work = gate("reference", commands=1)
    by_name = {run.name: run for run in work.runs if run.kind == "machine"}
    assert len(by_name) == 5
    assert by_name["margin-machine"].verdict is Verdict.INCONCLUSIVE
    assert by_name["margin-machine"].reason == "examples 1 to 36 of margin-machine: its process hung"
    assert by_name["machine"].verdict is Verdict.HELD
    assert "examples 1 to 36 of margin-machine" in {item.subject for item in work.not_checked()}


def test_the_examples_that_were_done_before_an_interrupt_are_kept_and_conclude_nothing() -> None:
    done: list[str] = []

    def interrupted(text: str) -> None:
        if text == "72 examples of machine":
            raise KeyboardInterrupt
        done.append(text)

    with EngineSource("reference") as source:
        profile = replace(TINY, machine_examples=200)
        work = Gate(source, profile, seed=1, progress=interrupted, found=lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            work.run()
    assert "36 examples of machine" in done
    (run,) = [run for run in work.runs if run.kind == "machine"]
    assert (run.verdict, run.reason) == (Verdict.INCONCLUSIVE, "36 of 200 examples are done")
    assert run.sequences >= 36
    assert "machine" in work.unfinished()


def test_a_planted_bug_whose_process_was_lost_is_named_and_concludes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_lost(
        work: Callable[[str], object], names: list[str], *, guard_seconds: float, workers: int
    ) -> Iterator[object]:
        assert guard_seconds >= 600
        assert workers >= 1
        yield work(names[0])
        yield work(names[1])
        yield Lost("its process hung: it was killed after 600 s")

    monkeypatch.setattr("holdfast.faulting.spread", one_lost)
    known: list[FaultsResult] = []
    faults = [fault_by_name("hash-chain-broken"), fault_by_name("fee-from-nowhere")]
    result = run_faults(faults, seed=1, commands=400, kept=known.append)
    assert [(item.verdict, item.reason) for item in result.faults] == [
        (FaultVerdict.CAUGHT, ""),
        (FaultVerdict.MISSED, "its process hung: it was killed after 600 s"),
    ]
    assert verdict_of(result) is Verdict.INCONCLUSIVE
    assert [item.reason for item in known[0].faults] == ["", "the run ended before it was tried"]
    assert known[-1] == result
