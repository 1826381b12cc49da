"""What is known in one case of a proof, and what a formula comes down to there.

Facts become rewriting rules: a variable that is pinned becomes its value, one of two equal variables the other, a
term that a variable equals that variable, and a condition that is known true or false. Terms are hash-consed, so a
rule is found by identity; that is how "the live engine is the replay of the log" turns a replay into the live engine
without a solver. Rewriting never decides anything that the facts do not entail, so what is left can be asked in its
place.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Self

from holdfast_model.checkers.polynomials import (
    Polynomial,
    Polynomials,
    added,
    conjuncts,
    is_comparison_of_integers,
    multiplied,
    unvisited,
)
from holdfast_model.spec.sorts import Enumeration, Index, is_unbounded, size_of
from holdfast_model.spec.terms import Formula, Operand, Operator, Term, any_of, negation, rebuild

_NOTHING: frozenset[int | str] = frozenset()


class Supports:
    """Which variables and arguments a term speaks of, each term looked at once."""

    def __init__(self) -> None:
        self._known: dict[Term, frozenset[int | str]] = {}

    def of(self, operand: Operand) -> frozenset[int | str]:
        """Positions of variables and names of arguments."""
        if not isinstance(operand, Term):
            return frozenset()
        if operand not in self._known:
            for term in unvisited(operand, self._known):
                if term.operator in (Operator.VARIABLE, Operator.ARGUMENT):
                    self._known[term] = frozenset([term.payload])
                    continue
                parts = [self._known[a] for a in term.arguments if isinstance(a, Term)]
                largest = max(parts, key=len, default=_NOTHING)
                # Most terms speak of what one argument speaks of: they share its set.
                alone = all(part <= largest for part in parts)
                self._known[term] = largest if alone else largest.union(*parts)
        return self._known[operand]


class Knowledge:
    """The facts of a case, rewritten by each other until nothing changes.

    `contradictory` says that they exclude each other plainly, so that there is no such case.
    """

    def __init__(
        self,
        polynomials: Polynomials,
        supports: Supports,
        learned: Iterable[Operand] = (),
        *,
        rules: Mapping[Term, Operand] = MappingProxyType({}),
        excluded: Mapping[Term, frozenset[int]] = MappingProxyType({}),
        facts: Sequence[Term] = (),
        definitions: Sequence[Term] = (),
        contradictory: bool = False,
    ) -> None:
        self._polynomials = polynomials
        self._supports = supports
        self._rules = dict(rules)
        self._memo: dict[Term, Operand] = {}
        self._excluded = dict(excluded)
        self._equations: dict[Term, Polynomial] | None = None
        self._pivots: dict[int, Polynomial] = {}
        self._speaking: dict[int | str, list[int]] | None = None
        self.facts = list(facts)
        self.definitions = list(definitions)
        self.contradictory = contradictory
        self._learn(learned)

    def and_also(self, facts: Iterable[Operand]) -> Self:
        """What is known where these facts hold as well."""
        return type(self)(
            self._polynomials,
            self._supports,
            facts,
            rules=self._rules,
            excluded=self._excluded,
            facts=self.facts,
            definitions=self.definitions,
            contradictory=self.contradictory,
        )

    def _learn(self, facts: Iterable[Operand]) -> None:
        news = [part for fact in facts for part in conjuncts(fact)]
        while news and not self.contradictory:
            touched: set[int | str] = set()
            for fact in news:
                for part in conjuncts(self._rewritten_inside(fact)):
                    for again in conjuncts(self._rewritten_inside(part)):
                        touched |= self._take(again)
            self._memo = {}
            kept: list[Term] = []
            news = []
            for fact in self.facts:
                if touched.isdisjoint(self._supports.of(fact)):
                    kept.append(fact)
                    continue
                changed = self._rewritten_inside(fact)
                if changed is fact:
                    kept.append(fact)
                else:
                    news += conjuncts(changed)
            self.facts = list(dict.fromkeys(kept))

    def _take(self, fact: Operand) -> frozenset[int | str]:
        """Make rules of a fact; the variables about which something new is known."""
        if not isinstance(fact, Term):
            self.contradictory |= not fact
            return frozenset()
        support = self._supports.of(fact)
        if fact.operator is Operator.VARIABLE:
            self._define(fact, True, fact)  # noqa: FBT003 - a constant of the term language
        elif fact.operator is Operator.NOT:
            self._take_negation(fact)
        elif fact.operator is Operator.EQUAL:
            self._take_equation(fact)
        else:
            self._hold(fact)
        return support

    def _define(self, variable: Term, value: Operand, fact: Term) -> None:
        self._rules[variable] = value
        self._memo = {}
        self.definitions.append(fact)

    def _hold(self, fact: Term) -> None:
        self.facts.append(fact)
        self._rules[fact] = True
        opposite = negation(fact)  # type: ignore[arg-type]  # a fact is a formula
        if isinstance(opposite, Term):
            self._rules[opposite] = False

    def _take_negation(self, fact: Term) -> None:
        inner = fact.arguments[0]
        assert isinstance(inner, Term)
        if inner.operator is Operator.VARIABLE:
            self._define(inner, False, fact)  # noqa: FBT003 - a constant of the term language
            return
        self._hold(fact)
        if inner.operator is Operator.EQUAL:
            variable, value = inner.arguments
            if is_variable(variable) and not isinstance(value, Term):
                assert isinstance(variable, Term)
                excluded = self._excluded.get(variable, frozenset()) | {int(value)}
                self._excluded[variable] = excluded
                finite = issubclass(variable.sort, Index | Enumeration) and not is_unbounded(variable.sort)
                if finite and len(excluded) == size_of(variable.sort) - 1:
                    (left,) = set(range(size_of(variable.sort))) - excluded
                    # The exclusions stay known as facts; the definition follows from them and the sort.
                    self._rules[variable] = variable.sort(left)
                    self._memo = {}
                    pinned = variable == variable.sort(left)
                    self.definitions.append(pinned)

    def _take_equation(self, fact: Term) -> None:
        one, other = fact.arguments
        if is_variable(one) and (not isinstance(other, Term) or is_variable(other)):
            assert isinstance(one, Term)
            if isinstance(other, Term) and position(other) > position(one):
                one, other = other, one
            assert isinstance(one, Term)
            self._define(one, other, fact)
            return
        self._hold(fact)
        if is_variable(other):
            one, other = other, one
        if is_variable(one) and isinstance(other, Term):
            self._rules[other] = one

    def entails(self, condition: Operand) -> bool:
        """Whether the condition is one of the facts, or comes down to true by them."""
        return self.rewritten(condition) is True

    def naming(self, names: Mapping[Term, Operand]) -> Self:
        """What is known where these terms have names; what the terms are is forgotten.

        What follows from it follows from what is known, but not the other way round.
        """
        return type(self)(self._polynomials, self._supports, [*self.definitions, *self.facts], rules=names)

    def rewritten(self, operand: Operand) -> Operand:
        """What an operand over the state before the step comes down to."""
        return self._rewritten(operand, {}, self._memo)

    def after(self, operand: Operand, values: Mapping[int, Operand], memo: dict[Term, Operand]) -> Operand:
        """What an operand over the state after the step comes down to, whose variables have these values.

        The values are rewritten. `memo` shares work between calls with the same values.
        """
        return self._rewritten(operand, values, memo)

    def _rewritten(self, operand: Operand, values: Mapping[int, Operand], memo: dict[Term, Operand]) -> Operand:
        if not isinstance(operand, Term):
            return operand
        for term in unvisited(operand, memo):
            if term.operator is Operator.VARIABLE:
                assert isinstance(term.payload, int)
                new = values.get(term.payload, term)
            else:
                new = _rebuilt(term, memo)
            memo[term] = self._ruled(new)
        return memo[operand]

    def _ruled(self, operand: Operand) -> Operand:
        while isinstance(operand, Term) and operand in self._rules:
            operand = self._rules[operand]
        return operand

    def _rewritten_inside(self, fact: Operand) -> Operand:
        """A fact rewritten by all rules but those that it gave rise to itself."""
        if not isinstance(fact, Term) or fact.operator in (Operator.VARIABLE, Operator.ARGUMENT):
            return self.rewritten(fact)
        inner = fact.arguments[0]
        if fact.operator is Operator.NOT and isinstance(inner, Term) and inner.arguments:
            arguments = tuple(self.rewritten(a) for a in inner.arguments)
            return negation(rebuild(inner, arguments))  # type: ignore[arg-type]  # a formula stays one
        if fact.operator is Operator.EQUAL:
            # Of an equation that says what a term is, the term itself is not replaced by what it is.
            arguments = tuple(
                rebuild(a, tuple(self.rewritten(b) for b in a.arguments))
                if isinstance(a, Term) and a.arguments
                else self.rewritten(a)
                for a in fact.arguments
            )
            return rebuild(fact, arguments)
        return rebuild(fact, tuple(self.rewritten(a) for a in fact.arguments))

    def everything(self) -> list[Formula]:
        """All that is known, as conditions that together mean what was learned."""
        found = [*self.definitions, *self.facts]
        assert all(isinstance(fact, Formula) for fact in found)
        return found  # type: ignore[return-value]  # see above

    def within(self, support: frozenset[int | str]) -> list[Operand]:
        """The facts that speak of nothing else."""
        if self._speaking is None:
            self._speaking = {}
            for number, fact in enumerate(self.facts):
                for name in self._supports.of(fact):
                    self._speaking.setdefault(name, []).append(number)
        near = {number for name in support for number in self._speaking.get(name, ())}
        return [self.facts[n] for n in sorted(near) if self._supports.of(self.facts[n]) <= support]

    def _solve(self) -> None:
        """Turn the linear equations among the facts into values of one of their variables each."""
        if self._equations is None:
            self._equations = {}
            for fact in self.facts:
                if fact.operator is Operator.EQUAL and is_comparison_of_integers(fact):
                    one, other = fact.arguments
                    self._equations[fact] = added(self._polynomials.of(one), self._polynomials.of(other), -1)
                    self._pivot(self._equations[fact])

    def _pivot(self, equation: Polynomial) -> None:
        equation = self._eliminated(equation)
        candidates = [
            (variable.payload, monomial[0])
            for monomial, coefficient in equation.items()
            if len(monomial) == 1
            and abs(coefficient) == 1
            and isinstance(variable := _variable_or_its_sum(self._polynomials.atom(monomial[0])), Term)
        ]
        if not candidates:
            return
        pivot = max(candidates)[1]
        sign = -equation[(pivot,)]
        self._pivots[pivot] = multiplied({(): sign}, {m: c for m, c in equation.items() if m != (pivot,)})

    def _eliminated(self, polynomial: Polynomial) -> Polynomial:
        while True:
            found = next((m for m in polynomial if len(m) == 1 and m[0] in self._pivots), None)
            if found is None:
                return polynomial
            factor = polynomial[found]
            without = {m: c for m, c in polynomial.items() if m != found}
            polynomial = added(without, self._pivots[found[0]], factor)

    def reduced(self, goal: Operand) -> Operand:
        """A rewritten goal with its sums in normal form, and what the equations among the facts fix replaced."""
        if not isinstance(goal, Term):
            return goal
        if is_comparison_of_integers(goal):
            one, other = goal.arguments
            difference = added(self._polynomials.of(one), self._polynomials.of(other), -1)
            if any(len(m) == 1 for m in difference):
                self._solve()
                difference = self._eliminated(difference)
            return self._ruled(self._polynomials.compared(goal.operator, difference))
        if goal.operator is Operator.OR:
            return any_of(*(self.reduced(a) for a in goal.arguments))  # type: ignore[arg-type]  # formulas
        return goal


def simplified(operand: Operand, memo: dict[Term, Operand]) -> Operand:
    """The operand with each choice's condition known in its branches, as conditional updates leave it out.

    Writing at an index that is itself a value, and reading there again, nests the same choice in its own branch.
    """
    if not isinstance(operand, Term):
        return operand
    for term in unvisited(operand, memo):
        new = _rebuilt(term, memo)
        if isinstance(new, Term) and new.operator is Operator.ITE:
            condition, then, otherwise = new.arguments
            assert isinstance(condition, Term)
            known: dict[Term, Operand] = {}
            for part in conjuncts(condition):
                assert isinstance(part, Term)
                known |= _implied(part)
            excluded: dict[Term, Operand] = {condition: False}
            new = rebuild(new, (condition, _replaced(then, known), _replaced(otherwise, excluded)))
        memo[term] = new
    return memo[operand]


def _implied(fact: Term) -> dict[Term, Operand]:
    """What a condition says about itself, and about what it pins."""
    inner = fact.arguments[0] if fact.arguments else fact
    if fact.operator is Operator.NOT:
        assert isinstance(inner, Term)
        return {fact: True, inner: False}
    if fact.operator is Operator.EQUAL and isinstance(inner, Term) and not isinstance(fact.arguments[1], Term):
        return {fact: True, inner: fact.arguments[1]}
    return {fact: True}


def _replaced(operand: Operand, known: dict[Term, Operand]) -> Operand:
    if not isinstance(operand, Term):
        return operand
    memo = dict(known)
    for term in unvisited(operand, memo):
        memo[term] = _rebuilt(term, memo)
    return memo[operand]


def _rebuilt(term: Term, memo: Mapping[Term, Operand]) -> Operand:
    arguments = tuple([memo[a] if isinstance(a, Term) else a for a in term.arguments])
    for new, old in zip(arguments, term.arguments, strict=True):
        if new is not old:
            return rebuild(term, arguments)
    return term


def is_variable(operand: Operand) -> bool:
    """Whether an operand is a variable of the state."""
    return isinstance(operand, Term) and operand.operator is Operator.VARIABLE


def _variable_or_its_sum(atom: Term) -> Operand | None:
    """The variable that an atom is, or of which it is the sum."""
    variable = atom.arguments[0] if atom.operator is Operator.SUM else atom
    return variable if is_variable(variable) else None


def position(operand: Operand) -> int:
    """The position of a variable in the state."""
    assert isinstance(operand, Term)
    assert isinstance(operand.payload, int)
    return operand.payload
