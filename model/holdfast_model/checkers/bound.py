"""Bounded model checking: every sequence of up to so many steps from the first state, by a solver, step by step.

One solver keeps the path and gets one step longer at a time. Before each further step it is told what was shown of
the states so far: that they break no property, and that they satisfy no goal that is still sought. Without that it
finds all of it again at each length, and gets nowhere near as deep. So the first sequence found is a shortest one,
among those that break nothing earlier, as in a search (`explore.py`); and after a property is broken the others are
looked at further.

Numbers are mathematical integers. With `exploring` the limits of a search apply, and the sequences are exactly those
that `explore` visits; without, amounts have no bound, and they are those about which `prove` speaks. A path that the
solver finds is never believed: the interpreter takes each of its steps on plain ints and judges the end. Invariants
that are proved for every reachable state may be assumed of each state; the evidence names them.

A query is limited in z3's own units of work, the same on every machine. A property or goal that exceeds them is
`unknown` from that length on; the others go on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from holdfast_model.checkers.obligations import DECLARED_RANGES
from holdfast_model.checkers.smt import Answer, Unrolling
from holdfast_model.errors import HoldfastError, SpecError
from holdfast_model.evidence import (
    Bound,
    Bounded,
    BoundedGoal,
    BoundedOutcome,
    BoundedProperty,
    ObligationVerdict,
    Proof,
    TraceState,
    Verdict,
)
from holdfast_model.spec.language import PropertyDeclaration, PropertyKind
from holdfast_model.spec.model import Instance, Model, State, Step, SymbolicInstance
from holdfast_model.spec.sorts import sized
from holdfast_model.spec.terms import Condition, Number, Term, all_of, negation

STEP_RESOURCES = 60_000_000
"""The limit of one query in z3's resource units, some ten to thirty seconds; a length needs one query or a few."""

Progress = Callable[[int, int], None]
"""Called before each length with (steps of the path, properties and goals that are still open)."""

_Path = list[tuple[Instance, State]]
"""The steps of a replayed path, each with the state behind it."""


@dataclass(slots=True, eq=False)
class _Subject:
    """A property or goal, the conditions under which a path shows something about it, and what was found."""

    declared: PropertyDeclaration | None
    """None: that no number leaves its declared range."""
    end: Condition = False
    """Over a state: the property is broken in it, or the goal is reached."""
    by_step: Sequence[Condition] = ()
    """By transition, over the state before it: the step breaks the property."""
    outcome: BoundedOutcome | None = None
    steps: int = 0
    reason: str = ""
    trace: tuple[TraceState, ...] = ()

    @property
    def is_goal(self) -> bool:
        return self.declared is not None and self.declared.kind is PropertyKind.SOMETIMES


class _Bounded:
    """One run of `bound`."""

    def __init__(
        self,
        model: Model,
        properties: Sequence[PropertyDeclaration],
        goals: Sequence[PropertyDeclaration],
        *,
        exploring: bool,
        ranges_assumed: bool,
        assumed: Sequence[PropertyDeclaration],
        resources: int,
    ) -> None:
        self.model = model
        self.exploring = exploring
        self.instances: list[SymbolicInstance] = []
        transitions: list[Step] = []
        for action in model.actions:
            for instance in model.symbolic_instances(action, exploring=exploring):
                step = model.stage(action, instance.arguments, exploring=exploring)
                if step is not None:
                    self.instances.append(instance)
                    transitions.append(Step(all_of(step.guard, instance.assumption), step.updates))
        self.in_range = self._in_range()
        self.subjects: list[_Subject] = []
        for declared in properties:
            if declared.kind is PropertyKind.STEP:
                formulas = [model.step_formula(declared, step.updates) for step in transitions]
                self.subjects.append(_Subject(declared, by_step=[negation(formula) for formula in formulas]))
            else:
                self.subjects.append(_Subject(declared, end=negation(model.formula(declared))))
        if not ranges_assumed:
            self.subjects.append(_Subject(None, end=negation(self.in_range)))
        self.subjects += [_Subject(goal, end=model.formula(goal)) for goal in goals]
        self.assumed = [model.formula(declared) for declared in assumed]
        self.path = Unrolling(
            model.variables, model.spec.sizes, model.initial_terms(), transitions, resources=resources
        )

    def _in_range(self) -> Condition:
        """That every number is within its range: of a search, or only not below what is meant."""
        limits: list[Condition] = []
        for symbol, variable in zip(self.model.symbols(), self.model.variables, strict=True):
            if variable.sort is int:
                assert isinstance(symbol, Number)
                if variable.least is not None and (self.exploring or variable.least_is_meant):
                    limits.append(symbol >= variable.least)
                if variable.greatest is not None and self.exploring:
                    limits.append(symbol <= variable.greatest)
        return all_of(*limits)

    @property
    def open(self) -> list[_Subject]:
        """The properties and goals about which nothing final is known."""
        return [subject for subject in self.subjects if subject.outcome is None]

    def _is_worth_more(self, *, until_goals: bool) -> bool:
        """Whether longer sequences may show something that is asked for."""
        return any(
            subject.is_goal if until_goals else subject.declared is not None or not self.exploring
            for subject in self.open
        )

    def run(self, steps_max: int, progress: Progress | None, *, until_goals: bool, known_steps: int) -> None:
        """Look at every length up to the greatest, or as long as something is sought."""
        for length in range(steps_max + 1):
            if not self._is_worth_more(until_goals=until_goals):
                break
            if progress is not None:
                progress(length, len(self.open))
            if length:
                self.path.extend()
            for condition in self.assumed:
                self.path.assume(condition)
            if length > known_steps:
                self._settle()
            for subject in self.open:
                subject.steps = length
            self._learn()
        for subject in self.open:
            subject.outcome = BoundedOutcome.NOT_REACHED if subject.is_goal else BoundedOutcome.HELD

    def _settle(self) -> None:
        """Find out about paths of exactly the length that the path has, all shorter ones being known."""
        while self._ask(self.open) is Answer.SATISFIABLE:
            pass

    def _ask(self, subjects: list[_Subject]) -> Answer:
        """One question about all of these; where it is too hard, one about each."""
        steps = [subject.by_step for subject in subjects if subject.by_step and self.path.steps]
        reply = self.path.find([subject.end for subject in subjects], steps)
        if reply.answer is Answer.SATISFIABLE:
            path = self._replayed(reply.path)
            shown = [subject for subject in subjects if self._shows(path, subject)]
            assert shown, "solver and interpreter disagree about the end of a path"
            self._refuse_wrong_range(path, shown)
            for subject in shown:
                subject.outcome = BoundedOutcome.REACHED if subject.is_goal else BoundedOutcome.REFUTED
                subject.steps = len(path)
                subject.trace = self._trace(path)
        elif reply.answer is Answer.UNKNOWN:
            if len(subjects) == 1:
                subjects[0].outcome = BoundedOutcome.UNKNOWN
                subjects[0].reason = f"sequences of {self.path.steps} steps: {reply.reason}"
            else:
                for subject in subjects:
                    self._ask([subject])
        return reply.answer

    def _learn(self) -> None:
        """Assume of the last state and step what was just shown of them; and that sequences end where they break."""
        self.path.assume(self.in_range)
        for subject in self.subjects:
            if subject.by_step:
                if self.path.steps:
                    self.path.assume_of_step([negation(broken) for broken in subject.by_step])
            elif not subject.is_goal or subject.outcome is None:
                self.path.assume(negation(subject.end))

    def _replayed(self, path: Sequence[tuple[int, dict[str, int]]]) -> _Path:
        """The path as the interpreter takes it."""
        state = self.model.initial
        replayed: _Path = []
        for number, numbers in path:
            symbolic = self.instances[number]
            arguments = tuple(
                numbers[parameter.name] if isinstance(value, Term) else int(value)
                for parameter, value in zip(symbolic.action.parameters, symbolic.arguments, strict=True)
            )
            instance = Instance(symbolic.action, arguments)
            after = self.model.step(instance, state, exploring=self.exploring)
            assert after is not None, f"solver and interpreter disagree on the guard of {instance.label}"
            replayed.append((instance, after))
            state = after
        return replayed

    def _shows(self, path: _Path, subject: _Subject) -> bool:
        """Whether the path's end shows what is asked about a subject, as the interpreter judges."""
        state = path[-1][1] if path else self.model.initial
        declared = subject.declared
        if declared is None:
            return self._outside(state)
        if declared.kind is PropertyKind.STEP:
            before = path[-2][1] if len(path) > 1 else self.model.initial
            return bool(path) and not self.model.holds(declared, state, before=before)
        return self.model.holds(declared, state) is subject.is_goal

    def _outside(self, state: State) -> bool:
        """Whether a number has left the range that counts here."""
        return any(
            self.exploring or (variable.least_is_meant and variable.least is not None and value < variable.least)
            for variable, value in self.model.outside(state)
        )

    def _refuse_wrong_range(self, path: _Path, shown: list[_Subject]) -> None:
        """SpecError where a number leaves its range in a search and breaks nothing: then the range is wrong."""
        if not self.exploring or any(subject.declared is not None for subject in shown):
            return
        variable, value = self.model.outside(path[-1][1] if path else self.model.initial)[0]
        raise SpecError(
            f"{variable.declared_at}: `{variable.name}` becomes {value}; expected a value within "
            f"{variable.least}..{variable.greatest} (reached by {' -> '.join(s.action for s in self._trace(path))})"
        )

    def _trace(self, path: _Path) -> tuple[TraceState, ...]:
        return (
            TraceState(action="init", state=self.model.show(self.model.initial)),
            *(TraceState(action=instance.label, state=self.model.show(state)) for instance, state in path),
        )

    def exhausted(self) -> bool | None:
        """Whether there is no path of this length at all; None where that is unknown."""
        answer = self.path.find([True]).answer
        return None if answer is Answer.UNKNOWN else answer is Answer.UNSATISFIABLE


def bound(
    model: Model,
    properties: Iterable[PropertyDeclaration] | None = None,
    goals: Iterable[PropertyDeclaration] = (),
    *,
    steps_max: int,
    exploring: bool = True,
    assumed: Iterable[PropertyDeclaration] = (),
    ranges_assumed: bool = False,
    until_goals: bool = False,
    known_steps: int = -1,
    resources: int = STEP_RESOURCES,
    progress: Progress | None = None,
) -> Bounded:
    """What every sequence of up to `steps_max` steps shows about properties (all but auxiliary ones) and goals.

    `exploring`: with the limits of a search, or over unbounded integers. `assumed` are properties of states that are
    proved, for every reachable state, elsewhere; `ranges_assumed` says the same of the declared ranges. `until_goals`
    ends with the last goal, and the properties are then known for as many steps. Lengths up to `known_steps` are not
    looked at: a search has shown that they break and reach nothing. `resources` limits each query in z3's units.

    HoldfastError where the model has any number of members of a sort, or, when exploring, an argument without a
    finite range; SpecError where a number leaves its range in a search and breaks no property.
    """
    if model.unbounded:
        counted = model.unbounded[0].counted
        raise HoldfastError(
            f"model {model.name} has any number of {counted}; a bounded search needs a number of them"
        )
    wanted = [p for p in model.properties if not p.auxiliary] if properties is None else list(properties)
    relied_on = list(assumed)
    assert all(p.kind is PropertyKind.ALWAYS for p in relied_on), "what is assumed speaks of states"
    with sized(model.spec.sizes):
        run = _Bounded(
            model,
            wanted,
            list(goals),
            exploring=exploring,
            ranges_assumed=ranges_assumed and not exploring,
            assumed=relied_on,
            resources=resources,
        )
        run.run(steps_max, progress, until_goals=until_goals, known_steps=known_steps)
        exhausted = run.exhausted() if any(_is_open_ended(s) for s in run.subjects) else False
    shown = [s for s in run.subjects if s.declared is not None or not exploring]
    verdict, reason = _verdict(shown, exhausted)
    return Bounded(
        model=model.name,
        verdict=verdict,
        bounds=(*model.bounds(explored=exploring), Bound(name="steps", value=f"up to {steps_max}")),
        steps=run.path.steps,
        properties=tuple(_property(s) for s in shown if not s.is_goal),
        goals=tuple(_goal(s) for s in shown if s.is_goal),
        assumed=tuple(dict.fromkeys(p.invariant for p in relied_on)) + ((DECLARED_RANGES,) if ranges_assumed else ()),
        exhausted=bool(exhausted),
        reason=reason,
    )


def _is_open_ended(subject: _Subject) -> bool:
    """Whether what is known of a subject is that no sequence so far shows anything."""
    return subject.outcome in (BoundedOutcome.HELD, BoundedOutcome.NOT_REACHED)


def _verdict(subjects: Sequence[_Subject], exhausted: bool | None) -> tuple[Verdict, str]:  # noqa: FBT001
    """The verdict, and why it is inconclusive where it is."""
    outcomes = {subject.outcome for subject in subjects}
    if BoundedOutcome.REFUTED in outcomes:
        return Verdict.VIOLATED, ""
    if BoundedOutcome.UNKNOWN in outcomes:
        return Verdict.INCONCLUSIVE, "a query exceeded its resources"
    if BoundedOutcome.NOT_REACHED in outcomes:
        return Verdict.INCONCLUSIVE, "a goal was not reached"
    if exhausted is None:
        return Verdict.INCONCLUSIVE, "it is unknown whether any sequence has so many steps"
    if not outcomes:
        return Verdict.INCONCLUSIVE, "there was nothing to look for"
    return Verdict.HELD, ""


def _property(subject: _Subject) -> BoundedProperty:
    assert subject.outcome is not None
    declared = subject.declared
    return BoundedProperty(
        invariant=DECLARED_RANGES if declared is None else declared.invariant,
        property="declared_ranges" if declared is None else declared.name,
        outcome=subject.outcome,
        steps=subject.steps,
        reason=subject.reason,
        trace=subject.trace,
    )


def _goal(subject: _Subject) -> BoundedGoal:
    assert subject.outcome is not None
    assert subject.declared is not None
    return BoundedGoal(
        goal=subject.declared.invariant,
        sentence=subject.declared.sentence,
        outcome=subject.outcome,
        steps=subject.steps,
        reason=subject.reason,
        trace=subject.trace,
    )


def bound_open(
    model: Model,
    proof: Proof,
    *,
    steps_max: int,
    resources: int = STEP_RESOURCES,
    progress: Progress | None = None,
) -> Bounded | None:
    """What sequences of up to `steps_max` steps show about all that a proof left open; None where it left nothing.

    A refutation by induction starts in any state that satisfies the properties, reachable or not. This looks for one
    that starts in the first state. What the proof did show is assumed: each of its properties is either proved, so
    that a step from states that satisfy all of them satisfies it again, or looked at here, length by length.
    """
    verdicts: dict[str, set[ObligationVerdict]] = {}
    for obligation in proof.obligations:
        verdicts.setdefault(obligation.property, set()).add(obligation.verdict)
    proved = {name for name, found in verdicts.items() if found == {ObligationVerdict.PROVED}}
    left = [p for p in model.properties if p.name in verdicts and p.name not in proved]
    ranges_assumed = "declared_ranges" in proved
    if not left and ranges_assumed:
        return None
    assumed = [p for p in model.properties if p.name in proved and p.kind is PropertyKind.ALWAYS]
    return bound(
        model,
        left,
        steps_max=steps_max,
        exploring=False,
        assumed=assumed,
        ranges_assumed=ranges_assumed,
        resources=resources,
        progress=progress,
    )
