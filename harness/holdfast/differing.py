"""Differential testing: the same sequence on an engine and on the reference, compared after every step.

What the engine does not declare is neither asked nor compared; a convention that it declares is built into the
reference. Everything else that differs is a finding, shrunk to the smallest sequence that shows it.

Each sequence ends at its first difference, because the two states have parted. So that one frequent difference does
not hide the others, each sequence uses only a random part of the engine's capabilities (swarm testing: Groce and
others, ISSTA 2012), and only a few sequences of a kind are shrunk.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from time import monotonic

from msgspec import Struct

from holdfast.counterexamples import Progress, silent
from holdfast.engine import Engine, Identity, LocalEngine
from holdfast.engines import FAILURES_IN_A_ROW_MAX, EngineSource
from holdfast.generating import Source, episode_random, episode_steps, setups_for
from holdfast.narrating import answers_of, changes, describe_event, describe_step
from holdfast.running import Runner, Views
from holdfast.shrinking import runs_for, shrink
from holdfast_engine.conventions import parts_with
from holdfast_model.evidence import Bound
from holdfast_model.findings import (
    COUNTEREXAMPLE_SCHEMA,
    Counterexample,
    Difference,
    DiffFinding,
    DiffResult,
    NotChecked,
    StepNarrative,
)
from holdfast_model.vocabulary import (
    Answer,
    Capability,
    CreditDeposit,
    EntryPosted,
    OrderAccepted,
    OrderAmended,
    PlaceOrder,
    Reason,
    Record,
    Rejected,
    Setup,
    Step,
    TradeExecuted,
    View,
    command_count,
    commands_of,
)

SHRUNK_PER_SORT = 2
OPTIONAL = (
    Capability.MARKET_ORDERS,
    Capability.IOC,
    Capability.FOK,
    Capability.POST_ONLY,
    Capability.AMEND,
    Capability.CANCEL_ALL,
    Capability.CANCEL_ON_DISCONNECT,
    Capability.STOP_ORDERS,
    Capability.ONE_CANCELS_OTHER,
    Capability.GOOD_TILL_TIME,
    Capability.BORROWING,
    Capability.LIQUIDATION,
    Capability.PRODUCT_HALTS,
    Capability.STP_CANCEL_NEWEST,
    Capability.STP_CANCEL_OLDEST,
    Capability.STP_CANCEL_BOTH,
    Capability.STP_DECREMENT,
    Capability.SNAPSHOT,
    Capability.RESTART,
    Capability.REPLICAS,
    Capability.READS,
)
"""What a sequence may do without; the rest belongs to how an engine is set up."""
KEPT = 0.6
"""The chance of each optional capability to be used in a sequence."""

_TOLD_OTHERWISE = (Rejected, EntryPosted, TradeExecuted, OrderAccepted, OrderAmended)
"""Events that are compared under another name, or not at all."""

ENGINE_FAILED = "engine failed"


class Parted(Struct, frozen=True, kw_only=True):
    """Where and how an engine and the reference parted in one sequence."""

    steps: tuple[Step, ...]
    differences: tuple[Difference, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """A kind of difference, at its smallest, with how many sequences met it."""

    kind: str
    counterexample: Counterexample
    occurrences: int


class Comparison:
    """The reference and an engine under test, compared step by step.

    `compared` counts what was looked at, by name.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.compared: Counter[str] = Counter()
        self.parts = parts_with(
            (convention.convention for convention in identity.conventions),
            funds=Capability.FUNDS in identity.capabilities,
        )

    def reference(self) -> Engine:
        """A reference with the engine's conventions and no capability that the engine has not."""
        engine = LocalEngine(parts=self.parts)
        engine.limit(self.identity.capabilities)
        return engine

    def answers(self, step: Step, ours: Record, theirs: Record, number: int) -> Iterator[Difference]:
        """What differs in the answers to a step."""
        for command, our, their in zip(commands_of(step), ours.answers, theirs.answers, strict=True):
            expected, found = self._facts(our), self._facts(their)
            if found["reason of refusal"] in (None, Reason.OTHER):
                found["reason of refusal"] = expected["reason of refusal"]
            for name in expected:
                self.compared[name] += 1
                if expected[name] != found[name]:
                    yield _difference(name, step, number, describe_step(command), found[name], expected[name])

    def _facts(self, answer: Answer) -> dict[str, object]:
        """What is compared of an answer, by name, the plainest first."""
        can = self.identity.capabilities
        refusal = next((event for event in answer.events if isinstance(event, Rejected)), None)
        trades = [event for event in answer.events if isinstance(event, TradeExecuted)]
        facts: dict[str, object] = {
            "refusal": refusal is not None,
            "reason of refusal": refusal.reason if refusal is not None else None,
            "fills": [describe_event(trade) for trade in trades],
            "outcome": sorted(
                describe_event(event) for event in answer.events if not isinstance(event, _TOLD_OTHERWISE)
            ),
        }
        if Capability.FEES in can:
            facts["fees"] = [(trade.maker_fee, trade.taker_fee) for trade in trades]
        if Capability.AMEND in can:
            facts["amendment"] = [describe_event(event) for event in answer.events if isinstance(event, OrderAmended)]
        if Capability.ENTRIES in can:
            facts["entries"] = [describe_event(event) for event in answer.events if isinstance(event, EntryPosted)]
        if Capability.JOURNAL in can:
            facts["journal"] = (answer.seq, answer.journal_sha256)
        return facts

    def views(self, step: Step, ours: View, theirs: View, number: int) -> Iterator[Difference]:
        """What differs in the views after a step."""
        can = self.identity.capabilities
        facts: list[tuple[str, object, object]] = [("resting orders", _resting(ours), _resting(theirs))]
        if Capability.FUNDS in can:
            facts += [
                ("balances", ours.balances, theirs.balances),
                ("withdrawals", ours.withdrawals, theirs.withdrawals),
                ("custody", ours.custody, theirs.custody),
            ]
        if Capability.PHASES in can:
            facts.append(("phase", ours.phase, theirs.phase))
        facts += self._more(ours, theirs)
        if Capability.JOURNAL in can:
            facts.append(("journal", (ours.seq, ours.journal_sha256), (theirs.seq, theirs.journal_sha256)))
        if Capability.REPLICAS in can:
            facts.append(("replicas", ours.replicas, theirs.replicas))
            facts.append(("primary", (ours.primary, ours.epoch), (theirs.primary, theirs.epoch)))
        if Capability.PROCEDURE in can:
            facts.append(("release", ours.release, theirs.release))
        if Capability.INGRESS in can:
            facts.append(("queue", ours.ingress_depth_max, theirs.ingress_depth_max))
        for name, expected, found in facts:
            self.compared[name] += 1
            if expected != found:
                yield _difference(name, step, number, f"after {describe_step(step)}", found, expected)

    def _more(self, ours: View, theirs: View) -> Iterator[tuple[str, object, object]]:
        """What views show of stops, margin, marks and products, where the engine shows it."""
        can = self.identity.capabilities
        if Capability.STOP_ORDERS in can:
            yield "waiting stops", _waiting(ours), _waiting(theirs)
        if can & {Capability.GOOD_TILL_TIME, Capability.MARKS}:
            yield "time", ours.time_ms, theirs.time_ms
        if Capability.MARKS in can:
            yield "marks", _marks(ours), _marks(theirs)
        if Capability.PRODUCT_HALTS in can:
            yield "stages", _stages(ours), _stages(theirs)
        if Capability.MARGIN in can:
            yield "positions", _positions(ours), _positions(theirs)
            yield "transfers", _transfers(ours), _transfers(theirs)


def _difference(  # noqa: PLR0917 - called from two places, always with all
    name: str, step: Step, number: int, subject: str, found: object, expected: object
) -> Difference:
    """A difference; only the items that differ are told. Its kind says what differs, after what sort of step."""
    if (
        isinstance(found, list | tuple)
        and isinstance(expected, list | tuple)
        and sorted(map(str, found)) != sorted(map(str, expected))
    ):
        found, expected = (
            [item for item in found if item not in expected],
            [item for item in expected if item not in found],
        )
    return Difference(
        kind=f"{name} after {type(step).__name__}",
        step=number,
        subject=subject,
        found=_text(found),
        expected=_text(expected),
    )


def _resting(view: View) -> list[str]:
    """The book in queue order, as a reader needs it."""
    return [
        f"{order.market} {order.side} {order.client}/{order.order}: {order.left_lots} left at {order.price_ticks}"
        for order in view.orders
    ]


def _waiting(view: View) -> list[str]:
    """The waiting stops in the order in which they came."""
    return [
        f"{stop.market} {stop.side} {stop.client}/{stop.order}: {stop.size_lots} at {stop.price_ticks} once "
        f"{stop.trigger.by} is {stop.trigger.when} {stop.trigger.price_ticks}"
        for stop in view.stops
    ]


def _positions(view: View) -> list[str]:
    return [
        f"{item.client} {item.market}: {item.position_lots:+d} for {item.entry_value:+d}" for item in view.positions
    ]


def _transfers(view: View) -> list[str]:
    return [
        f"{item.client}/{item.request}: {item.amount} {item.asset} from {item.source} to {item.target}"
        for item in view.transfers
    ]


def _marks(view: View) -> list[str]:
    return [f"{mark.market}: {'none' if mark.mark_ticks is None else mark.mark_ticks}" for mark in view.marks]


def _stages(view: View) -> list[str]:
    return [f"{item.product}: {item.stage}" for item in view.stages]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "refused" if value else "accepted"
    if isinstance(value, list | tuple):
        return (
            "; ".join(
                " ".join(str(part) for part in item) if isinstance(item, tuple) else str(item) for item in value
            )
            or "nothing"
        )
    return str(value)


class Pair:
    """One sequence on both; `told` is what the reference told."""

    def __init__(self, comparison: Comparison, engine: Engine, setup: Setup) -> None:
        self.setup = setup
        self._comparison = comparison
        self._engine = engine
        self.ours = Runner(comparison.reference(), setup)
        self.steps: list[Step] = []
        self.differences: list[Difference] = []
        self.narrative: list[StepNarrative] = []
        self.failed = False
        self._theirs = Runner(engine, setup, views=Views.EVERY_STEP)
        self._failure()

    def do(self, step: Step) -> None:
        """Take a step on both and compare."""
        if not self.ours.can(step):
            return
        before = self._theirs.last_view
        number = len(self.steps)
        self.steps.append(step)
        ours, theirs = self.ours.do(step), self._theirs.do(step)
        assert ours is not None
        if not self._failure() and theirs is not None:
            self.differences += self._comparison.answers(step, ours, theirs, number)
            if ours.view is not None and theirs.view is not None and not self.differences:
                self.differences += self._comparison.views(step, ours.view, theirs.view, number)
        self.narrative.append(
            StepNarrative(
                step=describe_step(step),
                answers=answers_of(theirs) if theirs is not None else (),
                changes=changes(before, theirs.view) if theirs is not None and theirs.view is not None else (),
                violations=tuple(
                    f"{item.kind}: {item.found}; the reference: {item.expected}" for item in self.differences
                ),
            )
        )

    def _failure(self) -> bool:
        """Whether the engine failed, which is a difference: the reference did not."""
        if self._theirs.failed and not self.failed:
            self.failed = True
            failure = self._theirs.failure
            self.differences.append(
                Difference(
                    kind=ENGINE_FAILED,
                    step=max(0, len(self.steps) - 1),
                    subject=describe_step(self.steps[-1]) if self.steps else "reset",
                    found=failure,
                    expected="an answer",
                )
            )
        return self.failed


def compare(source: EngineSource, comparison: Comparison, setup: Setup, steps: Sequence[Step]) -> Pair:
    """Run a sequence on both up to the first difference."""
    pair = Pair(comparison, source.engine(), setup)
    for step in steps:
        if pair.differences:
            break
        pair.do(step)
    if pair.failed:
        source.discard()
    return pair


class Diff:
    """A run of sequences on an engine and the reference, and what differed."""

    def __init__(self, source: EngineSource, *, seed: int, setups: Sequence[Setup] = ()) -> None:
        self._source = source
        self._seed = seed
        self.identity = source.engine().identity
        self._setups = tuple(setups) or setups_for(self.identity.capabilities)
        self.comparison = Comparison(self.identity)
        self.commands = 0
        self.sequences = 0
        self._met: Counter[tuple[str, ...]] = Counter()
        self._shrunk: Counter[str] = Counter()
        self._findings: dict[tuple[str, ...], Finding] = {}
        self._failed_in_a_row = 0

    def run(self, *, commands: int | None = None, seconds: float | None = None, progress: Progress = silent) -> None:
        """Compare until so many commands were run or so much time has passed; at least one sequence."""
        end = None if seconds is None else monotonic() + seconds
        while True:
            self._sequence(progress)
            progress(
                f"{self.commands} commands in {self.sequences} sequences, {len(self._findings)} kinds of difference"
            )
            done = self.commands >= commands if commands is not None else end is None or monotonic() >= end
            if done or self._failed_in_a_row >= FAILURES_IN_A_ROW_MAX:
                return

    def _sequence(self, progress: Progress) -> None:
        random = episode_random(self._seed, self.sequences)
        used = self.identity.capabilities - {
            Capability.RESEND,
            *(item for item in OPTIONAL if random.random() > KEPT),
        }
        setup = self._setups[self.sequences % len(self._setups)]
        draw = Source(random, setup, used)
        pair = Pair(self.comparison, self._source.engine(), setup)
        for _ in range(episode_steps(setup)):
            if pair.differences:
                break
            pair.do(draw.next(pair.ours.auditor.told, pair.ours.known))
        self._failed_in_a_row = self._failed_in_a_row + 1 if pair.failed else 0
        if pair.failed:
            self._source.discard()
        self.sequences += 1
        self.commands += pair.ours.commands
        if pair.differences:
            self._difference(pair, progress)

    def _difference(self, pair: Pair, progress: Progress) -> None:
        """Keep a difference: shrunk when it is among the first of its sort, else counted with them."""
        met = (pair.differences[0].kind, _feature(pair.steps[-1] if pair.steps else None))
        self._met[met] += 1
        if self._met[met] > SHRUNK_PER_SORT:
            alike = next((key for key in self._findings if key[:2] == met), None)
            if alike is not None:
                self._findings[alike] = _again(self._findings[alike])
                return
        kind = pair.differences[0].kind
        progress(f"shrinking: {kind}")

        def shows(candidate: tuple[Step, ...]) -> bool:
            found = compare(self._source, self.comparison, pair.setup, candidate).differences
            return bool(found) and found[0].kind == kind

        steps = tuple(pair.steps)
        if shows(steps):
            steps = shrink(steps, shows, runs_max=runs_for(pair.differences[0].found if pair.failed else ""))
        small = compare(self._source, self.comparison, pair.setup, steps)
        if not small.differences:
            small = pair  # it does not show again: told as it was met
        key = (kind, _feature(small.steps[-1] if small.steps else None), *_operations(small.steps))
        if key in self._findings:
            self._findings[key] = _again(self._findings[key])
            return
        self._findings[key] = Finding(
            kind=kind,
            occurrences=1,
            counterexample=Counterexample(
                schema=COUNTEREXAMPLE_SCHEMA,
                engine=self._source.name,
                origin=f"diff, seed {self._seed}, sequence {self.sequences - 1}",
                setup=pair.setup,
                steps=tuple(small.steps),
                commands=command_count(tuple(small.steps)),
                differences=tuple(small.differences),
                narrative=tuple(small.narrative),
            ),
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The kinds of difference, the most frequent first."""
        return tuple(sorted(self._findings.values(), key=lambda finding: (-finding.occurrences, finding.kind)))

    def result(self, files: dict[int, str]) -> DiffResult:
        """The evidence; `files` names the file of each finding by its position."""
        return DiffResult(
            engine=self._source.name,
            engine_version=f"{self.identity.engine} {self.identity.version}",
            seed=self._seed,
            commands=self.commands,
            sequences=self.sequences,
            bounds=(
                Bound(name="commands", value=str(self.commands)),
                Bound(name="steps for each sequence at most", value=str(max(map(episode_steps, self._setups)))),
                Bound(name="seed", value=str(self._seed)),
            ),
            compared=dict(sorted(self.comparison.compared.items())),
            differences=tuple(
                DiffFinding(
                    kind=finding.kind,
                    commands=finding.counterexample.commands,
                    file=files[position],
                    convention="",
                    occurrences=finding.occurrences,
                    found=finding.counterexample.differences[0].found,
                    expected=finding.counterexample.differences[0].expected,
                    narrative=finding.counterexample.narrative,
                )
                for position, finding in enumerate(self.findings)
            ),
            conventions=tuple((item.convention, item.where) for item in self.identity.conventions),
            not_checked=self.not_compared,
        )

    @property
    def not_compared(self) -> tuple[NotChecked, ...]:
        """What the engine does not declare, and so was not asked or compared."""
        undeclared = tuple(
            NotChecked(subject=str(capability), reason="the engine does not declare it")
            for capability in Capability
            if capability not in self.identity.capabilities
        )
        in_flight = NotChecked(
            subject="a kill with a command in flight",
            reason="where a real process dies is chance, so that no seed repeats it; `holdfast gate` does it",
        )
        given_up = NotChecked(
            subject="the rest of the commands",
            reason=f"the engine failed in {FAILURES_IN_A_ROW_MAX} sequences in a row",
        )
        gave_up = self._failed_in_a_row >= FAILURES_IN_A_ROW_MAX
        return (*undeclared, in_flight, *([given_up] if gave_up else []))


def _again(finding: Finding) -> Finding:
    return Finding(kind=finding.kind, counterexample=finding.counterexample, occurrences=finding.occurrences + 1)


def _feature(step: Step | None) -> str:
    """The sort of the step at which two states part, without names and numbers."""
    if isinstance(step, PlaceOrder):
        life = "market" if step.price_ticks is None else str(step.time_in_force)
        return f"{life} post-only" if step.post_only else life
    return type(step).__name__


def _operations(steps: Sequence[Step]) -> tuple[str, ...]:
    """What else than plain orders a sequence has: it tells one cause from another."""
    return tuple(sorted({type(step).__name__ for step in steps if not isinstance(step, PlaceOrder | CreditDeposit)}))
