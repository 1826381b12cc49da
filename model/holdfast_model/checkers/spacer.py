"""Invariants that z3's Spacer finds by itself on a small instance: suggestions of what a proof is missing.

Spacer looks for a condition that holds at first, that every step keeps and that excludes what breaks a property. On a
spec of some size it seldom ends; on a small one it often finds within a second what its author did not think of. What
it finds is checked here by queries of its own (at first, under each step, and against the property), printed with the
names of the spec's variables, and is a suggestion for an `@auxiliary`: at another size it need not hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import z3

from holdfast_model.checkers.explore import explore
from holdfast_model.checkers.obligations import Goal, goals_of
from holdfast_model.checkers.smt import Smt
from holdfast_model.evidence import Obligation, ObligationVerdict
from holdfast_model.spec.model import Model
from holdfast_model.spec.sorts import Enumeration, Index, sized
from holdfast_model.spec.terms import Term
from holdfast_model.spec.variables import Variable

SECONDS = 20
"""How long Spacer may look."""

STATES_MOST = 1_000_000
"""How many states a search may visit to see whether a property is broken."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Conditions that together are kept by every step of a model and exclude that a property is broken.

    `reason` says why there are none.
    """

    invariant: str
    property: str
    model: str
    conditions: tuple[str, ...] = ()
    reason: str = ""


def suggest(model: Model, goal: Goal, *, seconds: float = SECONDS) -> Suggestion:
    """What Spacer finds for one property of a model at its own sizes, numbers without bound."""

    def nothing(reason: str) -> Suggestion:
        return Suggestion(goal.invariant, goal.name, model.name, reason=reason)

    if goal.of_steps:
        return nothing("a property of steps is not one of states")
    with sized(model.spec.sizes):
        system = _System(model)
        broken = z3.Not(system.smt.expression(goal.formula))
        found = system.invariant(broken, milliseconds=int(seconds * 1000))
        if isinstance(found, str):
            return nothing(found)
        parts = _parts(found)
        if not parts or not system.is_inductive(z3.And(*parts), broken):
            return nothing("what Spacer found is not inductive by itself")
        printed = [_Printed(model.variables, system).of(part) for part in parts]
    return Suggestion(goal.invariant, goal.name, model.name, conditions=_joined(printed))


def suggestions(model: Model, obligations: Sequence[Obligation], *, seconds: float = SECONDS) -> list[Suggestion]:
    """For each property of which an obligation is refuted or unknown: what Spacer finds on this small model.

    Where a search of the model finds the property broken, nothing is missing, and that is the reason given.
    """
    failed = {
        (o.invariant, o.property): None
        for o in obligations
        if o.verdict in {ObligationVerdict.REFUTED, ObligationVerdict.UNKNOWN}
    }
    if not failed:
        return []
    searched = explore(model, auxiliary=True, states_max=STATES_MOST)
    broken = {(v.invariant, v.property): v.states for v in searched.violations}
    goals = {(goal.invariant, goal.name): goal for goal in goals_of_model(model)}
    found = []
    for invariant, name in failed:
        if (invariant, name) in broken:
            reason = f"a search breaks it after {broken[invariant, name]} states, so nothing is missing"
            found.append(Suggestion(invariant, name, model.name, reason=reason))
        elif (invariant, name) in goals:
            found.append(suggest(model, goals[invariant, name], seconds=seconds))
    return found


def goals_of_model(model: Model) -> list[Goal]:
    """The properties that Spacer can be asked about, the declared ranges among them."""
    with sized(model.spec.sizes):
        return goals_of(model, ())[0]


class _System:
    """A model as constrained Horn clauses."""

    def __init__(self, model: Model) -> None:
        self.smt = Smt(model.variables, model.spec.sizes)
        self.symbols: list[Any] = [self.smt.z3_symbol(p) for p in range(len(model.variables))]
        self.steps: list[tuple[list[Any], list[Any]]] = []
        for action in model.actions:
            for instance in model.symbolic_instances(action):
                step = model.stage(action, instance.arguments)
                if step is not None:
                    conditions = [self.smt.expression(c) for c in (instance.assumption, step.guard)]
                    after = [self._value(step.updates.get(p), self.symbols[p]) for p in range(len(self.symbols))]
                    self.steps.append((conditions, after))
        self.first: list[Any] = [
            self._value(value, symbol) for value, symbol in zip(model.initial_terms(), self.symbols, strict=True)
        ]
        self.context = self.symbols[0].ctx

    def _value(self, value: object, symbol: Any) -> Any:  # noqa: ANN401 - z3 has no types
        if value is None:
            return symbol
        assert isinstance(value, Term | int)
        return self.smt.expression(bool(value) if z3.is_bool(symbol) and not isinstance(value, Term) else value)

    def invariant(self, broken: Any, *, milliseconds: int) -> Any:  # noqa: ANN401 - z3 has no types
        """A condition over the symbols, or why there is none."""
        relation = z3.Function("state", *(symbol.sort() for symbol in self.symbols), z3.BoolSort(self.context))
        horn = z3.Fixedpoint(ctx=self.context)
        horn.set("engine", "spacer", "timeout", milliseconds)
        horn.register_relation(relation)
        horn.declare_var(*self.symbols, *self.smt.z3_arguments())
        within = self.smt.z3_within_sorts()
        horn.rule(relation(*self.first))
        for conditions, after in self.steps:
            horn.rule(relation(*after), [relation(*self.symbols), *within, *conditions])
        try:
            answer = horn.query(z3.And(relation(*self.symbols), *within, broken))
        except z3.Z3Exception as error:
            return f"Spacer gave up: {error}"
        if answer == z3.sat:
            return "Spacer found a way to break it from the first state"
        if answer != z3.unsat:
            return f"Spacer did not conclude: {horn.reason_unknown()}"
        return z3.substitute_vars(horn.get_cover_delta(-1, relation), *self.symbols)

    def is_inductive(self, condition: Any, broken: Any) -> bool:  # noqa: ANN401 - z3 has no types
        """Whether it holds at first, every step keeps it, and nothing in it is broken."""
        within = self.smt.z3_within_sorts()

        def impossible(*conditions: Any) -> bool:  # noqa: ANN401 - z3 has no types
            solver = z3.SimpleSolver(ctx=self.context)
            solver.set("rlimit", 10_000_000)
            solver.add(*within, *conditions)
            return bool(solver.check() == z3.unsat)

        def at(values: list[Any]) -> Any:  # noqa: ANN401 - z3 has no types
            return z3.substitute(condition, *zip(self.symbols, values, strict=True))

        return (
            impossible(z3.Not(at(self.first)))
            and impossible(condition, broken)
            and all(impossible(condition, *guard, z3.Not(at(after))) for guard, after in self.steps)
        )


def _parts(condition: Any) -> list[Any]:  # noqa: ANN401 - z3 has no types
    whole = z3.simplify(condition)
    return [part for part in (whole.children() if z3.is_and(whole) else [whole]) if not z3.is_true(part)]


def _joined(texts: list[str]) -> tuple[str, ...]:
    """The conditions, two that say `<=` both ways as one that says `==`."""
    found: dict[str, None] = {}
    for text in texts:
        one, at_most, other = text.partition(" <= ")
        opposite = f"{other} <= {one}"
        if at_most and opposite in found:
            found = {f"{other} == {one}" if each == opposite else each: None for each in found}
        else:
            found[text] = None
    return tuple(found)


class _Printed:
    """z3's expressions as text, with the names of members of sorts."""

    def __init__(self, variables: tuple[Variable, ...], system: _System) -> None:
        self._sorts = {str(symbol): v.sort for symbol, v in zip(system.symbols, variables, strict=True)}

    def of(self, condition: Any) -> str:  # noqa: ANN401 - z3 has no types
        """The text of a condition."""
        children = condition.children()
        if not children:
            text = str(condition.as_long()) if z3.is_int_value(condition) else str(condition.decl().name())
            return text.lower() if z3.is_true(condition) or z3.is_false(condition) else text
        if z3.is_eq(condition):
            return self._equation(*children)
        if (compared := _inequality(condition)) is not None:
            return compared
        written = [self.of(child) for child in children]
        if z3.is_not(condition):
            return f"not ({written[0]})"
        kinds = {
            z3.Z3_OP_AND: " and ",
            z3.Z3_OP_OR: " or ",
            z3.Z3_OP_LE: " <= ",
            z3.Z3_OP_GE: " >= ",
            z3.Z3_OP_LT: " < ",
            z3.Z3_OP_GT: " > ",
            z3.Z3_OP_ADD: " + ",
            z3.Z3_OP_SUB: " - ",
            z3.Z3_OP_MUL: " * ",
        }
        joined = kinds.get(condition.decl().kind())
        if joined is None:
            return f"{condition.decl().name()}({', '.join(written)})"
        nested = [
            f"({w})" if c.children() and not z3.is_not(c) else w for w, c in zip(written, children, strict=True)
        ]
        return joined.join(nested)

    def _equation(self, one: Any, other: Any) -> str:  # noqa: ANN401 - z3 has no types
        for value, subject in ((one, other), (other, one)):
            sort = self._sorts.get(str(subject))
            if z3.is_int_value(value) and sort is not None and issubclass(sort, Index | Enumeration):
                return f"{self.of(subject)} == {sort(value.as_long())}"
        return f"{self.of(one)} == {self.of(other)}"


def _inequality(condition: Any) -> str | None:  # noqa: ANN401 - z3 has no types
    """A linear inequality as `... <= ...`, without negative numbers if possible; None for anything else."""
    negated = z3.is_not(condition)
    inner = condition.children()[0] if negated else condition
    if not (z3.is_le(inner) or z3.is_ge(inner) or z3.is_lt(inner) or z3.is_gt(inner)):
        return None
    one, other = inner.children()
    less = z3.is_le(inner) or z3.is_lt(inner)
    strict = z3.is_lt(inner) or z3.is_gt(inner)
    # `one - other <= 0`, or the other way round; what is strict, or is so by negation, is so by 1.
    sign = 1 if less != negated else -1
    sums: dict[str, int] = {}
    for side, factor in ((one, sign), (other, -sign)):
        if not _add(side, factor, sums):
            return None
    constant = sums.pop("", 0) + (1 if strict != negated else 0)
    left = [(name, c) for name, c in sums.items() if c > 0]
    right = [(name, -c) for name, c in sums.items() if c < 0]
    return f"{_sum(left, max(constant, 0))} <= {_sum(right, max(-constant, 0))}"


def _add(expression: Any, factor: int, sums: dict[str, int]) -> bool:  # noqa: ANN401 - z3 has no types
    """Add a linear expression to sums by name, the constant under no name; whether it is linear."""
    if z3.is_int_value(expression):
        sums[""] = sums.get("", 0) + factor * expression.as_long()
        return True
    if z3.is_add(expression):
        return all(_add(child, factor, sums) for child in expression.children())
    if z3.is_mul(expression):
        number, *rest = expression.children()
        return z3.is_int_value(number) and len(rest) == 1 and _add(rest[0], factor * number.as_long(), sums)
    if expression.children():
        return False
    name = str(expression.decl().name())
    sums[name] = sums.get(name, 0) + factor
    return True


def _sum(addends: list[tuple[str, int]], constant: int) -> str:
    written = [name if factor == 1 else f"{factor} * {name}" for name, factor in addends if factor]
    return " + ".join([*written, str(constant)] if constant or not written else written)
