"""Induction over unbounded integers: one query for each action and property, from any state that satisfies them all.

The base case is that each property holds at first ("init"). The step is that each action keeps each property, from
every state, reachable or not, in which all properties of the run hold. A property alone is seldom inductive, so every
auxiliary invariant of the model joins each run, and with them that no `Nat` is below zero (`declared-ranges`). All
that is assumed is proved in the same run: if one obligation is not proved, the verdict is not "held".

A property of steps has no base case and is never assumed: its obligation is that each step, from such a state,
satisfies it. Goals and eventualities speak of what can be reached, which induction does not decide.

A property that a step leaves as it is, term for term, needs no solver. Each refutation is checked by interpreting
the step on plain ints. An action whose guard no state can satisfy would keep everything for no reason: its
obligations are not attempted, and the run is inconclusive.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast_model.checkers.smt import SOLVER, Answer, Reply, Smt
from holdfast_model.evidence import Obligation, ObligationVerdict, Proof, Verdict
from holdfast_model.spec.language import ActionDeclaration, PropertyDeclaration, PropertyKind, Range
from holdfast_model.spec.model import Instance, Model, Step, SymbolicInstance, printed_arguments
from holdfast_model.spec.terms import Condition, Operand, Term, all_of, negation, substitute

QUERY_RESOURCES = 40_000_000
"""The limit of one query in z3's resource units: some ten seconds, where most queries need milliseconds."""

BY_IDENTITY = "identity of terms"
"""Named as the solver of an obligation in which the property after the step is the one before it."""

DECLARED_RANGES = "declared-ranges"
"""The stable name of the auxiliary invariant that every model has: no number is below its declared least value."""

Progress = Callable[[int, int, str], None]
"""Called before each action with (actions done, actions in all, the action's name)."""


@dataclass(frozen=True, slots=True)
class _Goal:
    """A property to prove: its formula over the state's variables, and how to judge it on plain ints.

    It is auxiliary where it was not asked for and only strengthens the proof of what was.
    A property of steps has no formula before the step is known.
    """

    invariant: str
    name: str
    auxiliary: bool
    formula: Condition
    declared: PropertyDeclaration | None

    @property
    def of_steps(self) -> bool:
        return self.declared is not None and self.declared.kind is PropertyKind.STEP


@dataclass(slots=True)
class _Case:
    """An action with concrete finite arguments, staged."""

    instance: SymbolicInstance
    step: Step
    memo: dict[int, Operand]

    @property
    def conditions(self) -> list[Operand]:
        return [self.instance.assumption, self.step.guard]


def _goals(model: Model, invariants: Sequence[str]) -> list[_Goal]:
    wanted = set(invariants) or set(model.invariants)
    goals = [
        _Goal(
            p.invariant,
            p.name,
            p.invariant not in wanted,
            p.kind is PropertyKind.STEP or model.formula(p),
            p,
        )
        for p in model.properties
        if p.strengthens or p.invariant in wanted
    ]
    limits: list[Condition] = []
    for symbol, variable in zip(model.symbols(), model.variables, strict=True):
        if variable.sort is int and variable.least is not None and variable.least_is_meant:
            assert isinstance(symbol, Term)
            limits.append(negation(_below(symbol, variable.least)))
    return [*goals, _Goal(DECLARED_RANGES, "declared_ranges", auxiliary=True, formula=all_of(*limits), declared=None)]


def _below(symbol: Term, least: int) -> Condition:
    return symbol < least  # type: ignore[operator]  # a variable of sort int is a Number


class _Proof:
    """One run of `prove`."""

    def __init__(self, model: Model, invariants: Sequence[str], *, resources: int) -> None:
        self.model = model
        self.goals = _goals(model, invariants)
        self.assumed: list[Operand] = [goal.formula for goal in self.goals]
        self.smt = Smt(model.variables, model.spec.sizes)
        self.resources = resources
        self.obligations: list[Obligation] = []

    def _record(self, goal: _Goal, action: str, verdict: ObligationVerdict, **details: object) -> None:
        self.obligations.append(
            Obligation(
                invariant=goal.invariant,
                property=goal.name,
                action=action,
                verdict=verdict,
                auxiliary=goal.auxiliary,
                **{"solver": SOLVER, **details},  # type: ignore[arg-type]  # the struct's own fields
            )
        )

    def base(self) -> None:
        """Prove that the first state satisfies every property."""
        initial = self.model.initial_terms()
        memo: dict[int, Operand] = {}
        for goal in self.goals:
            if goal.of_steps:
                continue
            at_first = substitute(goal.formula, dict(enumerate(initial)), memo=memo)
            assert isinstance(at_first, bool), "a formula over constants folds to a constant"
            if at_first:
                self._record(goal, "init", ObligationVerdict.PROVED, solver="evaluation")
            else:
                shown = self.model.show(self.model.initial)
                self._record(goal, "init", ObligationVerdict.REFUTED, solver="evaluation", before=shown, after=shown)

    def action(self, action: ActionDeclaration) -> None:
        """Prove that one action keeps every property."""
        cases: list[_Case] = []
        for instance in self.model.symbolic_instances(action):
            step = self.model.stage(action, instance.arguments)
            if step is not None:
                cases.append(_Case(instance, step, {}))
        reason = self._vacuous(cases)
        for goal in self.goals:
            if reason:
                self._record(goal, action.name, ObligationVerdict.NOT_ATTEMPTED, reason=reason)
            else:
                self._keeps(action, cases, goal)

    def _vacuous(self, cases: list[_Case]) -> str:
        """Why the action might never be taken; empty when some state satisfies the properties and its guard."""
        unknown = ""
        for case in cases:
            reply = self.smt.query([*self.assumed, *case.conditions], resources=self.resources)
            if reply.answer is Answer.SATISFIABLE:
                return ""
            if reply.answer is Answer.UNKNOWN:
                unknown = reply.reason
        if unknown:
            return f"no state was found in which the properties and the action's guard hold: {unknown}"
        return "vacuous: in no state do the properties and the action's guard hold together"

    def _keeps(self, action: ActionDeclaration, cases: list[_Case], goal: _Goal) -> None:
        unknown = ""
        asked = False
        for case in cases:
            if goal.of_steps:
                assert goal.declared is not None
                after: Operand = self.model.step_formula(goal.declared, case.step.updates)
            else:
                after = substitute(goal.formula, dict(case.step.updates), memo=case.memo)
            if after is True or (after is goal.formula and not goal.of_steps):
                continue
            asked = True
            assert isinstance(after, bool | Term)
            broken = negation(after)  # type: ignore[arg-type]  # a formula stays a formula
            reply = self.smt.query([*self.assumed, *case.conditions, broken], resources=self.resources)
            if reply.answer is Answer.SATISFIABLE:
                self._refuted(action, case, goal, reply)
                return
            if reply.answer is Answer.UNKNOWN and not unknown:
                unknown = f"{_label(case.instance)}: {reply.reason}"
        if unknown:
            self._record(goal, action.name, ObligationVerdict.UNKNOWN, reason=unknown)
        else:
            self._record(goal, action.name, ObligationVerdict.PROVED, solver=SOLVER if asked else BY_IDENTITY)

    def _refuted(self, action: ActionDeclaration, case: _Case, goal: _Goal, reply: Reply) -> None:
        before = tuple(reply.values[position] for position in range(len(self.model.variables)))
        arguments = tuple(
            reply.values[p.name] if isinstance(p.domain, Range) else int(value)
            for p, value in zip(action.parameters, case.instance.arguments, strict=True)
        )
        after = self.model.step(Instance(action, arguments), before)
        assert after is not None, "solver and interpreter disagree on a guard"
        for other in self.goals:
            judged = None if other.of_steps else other.declared
            assert judged is None or self.model.holds(judged, before), "a refutation starts outside"
        if goal.declared is not None:
            holds = self.model.holds(goal.declared, after, before=before)
            assert not holds, "solver and interpreter disagree on a property"
        printed = printed_arguments(action, arguments)
        self._record(
            goal,
            action.name,
            ObligationVerdict.REFUTED,
            arguments={p.name: t.removeprefix(f"{p.name}=") for p, t in zip(action.parameters, printed, strict=True)},
            before=self.model.show(before),
            after=self.model.show(after),
        )

    def missing(self, invariants: Sequence[str]) -> None:
        """Report each wanted invariant that the model has no formula for."""
        searched = {p.invariant for p in self.model.responses}
        for invariant in dict.fromkeys(invariants):
            if invariant not in self.model.invariants:
                self.obligations.append(
                    Obligation(
                        invariant=invariant,
                        property="",
                        action="",
                        verdict=ObligationVerdict.NOT_ATTEMPTED,
                        solver="",
                        reason="what can be reached is decided by a search, not by induction"
                        if invariant in searched
                        else f"model {self.model.name} has no formula for it",
                    )
                )

    def verdict(self) -> Verdict:
        """Held only if everything, auxiliary invariants included, was proved and something was asked for."""
        verdicts = {o.verdict for o in self.obligations}
        if ObligationVerdict.REFUTED in verdicts:
            return Verdict.VIOLATED
        main = any(not o.auxiliary for o in self.obligations)
        return Verdict.HELD if main and verdicts == {ObligationVerdict.PROVED} else Verdict.INCONCLUSIVE


def _label(instance: SymbolicInstance) -> str:
    finite = [
        str(value)
        for parameter, value in zip(instance.action.parameters, instance.arguments, strict=True)
        if not isinstance(parameter.domain, Range)
    ]
    return f"{instance.action.name}({', '.join(finite)})" if finite else instance.action.name


def prove(
    model: Model,
    invariants: Sequence[str] = (),
    *,
    progress: Progress | None = None,
    resources: int = QUERY_RESOURCES,
) -> Proof:
    """The obligations that together show these invariants (all of the model's, if none is named) for every sequence.

    Auxiliary invariants are proved in the same run. An invariant without a formula in this model is reported as not
    attempted. `resources` limits each query in z3's units; what exceeds it is `unknown`, which is never green.
    """
    run = _Proof(model, invariants, resources=resources)
    run.missing(invariants)
    run.base()
    for done, action in enumerate(model.actions):
        if progress is not None:
            progress(done, len(model.actions), action.name)
        run.action(action)
    return Proof(
        model=model.name,
        verdict=run.verdict(),
        bounds=model.bounds(explored=False),
        obligations=tuple(run.obligations),
    )
