"""Integer terms as polynomials, so that equal sums become equal terms and what a step leaves alone cancels.

A solver is asked about what remains. Atoms are numbered in the order in which they are met, so that the result is
the same in every run.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

from holdfast_model.spec.terms import Number, Operand, Operator, Term, any_of, choose, rebuild

Polynomial: TypeAlias = dict[tuple[int, ...], int]
"""Coefficients by monomial; a monomial is the sorted numbers of its atoms, the empty one the constant."""


class Polynomials:
    """Normal forms of terms, each computed once."""

    def __init__(self) -> None:
        self._atoms: list[Term] = []
        self._numbers: dict[Term, int] = {}
        self._known: dict[Term, Polynomial] = {}
        self._normal: dict[Term, Operand] = {}

    def atom(self, number: int) -> Term:
        """The term that an atom stands for."""
        return self._atoms[number]

    def of(self, operand: Operand) -> Polynomial:
        """The polynomial of an integer operand."""
        if not isinstance(operand, Term):
            return {(): int(operand)} if int(operand) else {}
        if operand not in self._known:
            self._visit(operand)
        return self._known[operand]

    def normal(self, root: Operand) -> Operand:
        """The operand with each comparison of integers, and each sum, in normal form."""
        if not isinstance(root, Term):
            return root
        if root.sort is int:
            return root if root.operator is Operator.VARIABLE else self.term(self.of(root))
        if root not in self._normal:
            self._visit(root)
        return self._normal[root]

    def _visit(self, root: Term) -> None:
        for term in unvisited(root, self._known, self._normal):
            if term.sort is int:
                self._known[term] = self._made(term)
            else:
                self._normal[term] = self._normalised(term)

    def _made(self, term: Term) -> Polynomial:
        match term.operator:
            case Operator.ADD:
                return added(self.of(term.arguments[0]), self.of(term.arguments[1]), 1)
            case Operator.SUBTRACT:
                return added(self.of(term.arguments[0]), self.of(term.arguments[1]), -1)
            case Operator.MULTIPLY:
                return multiplied(self.of(term.arguments[0]), self.of(term.arguments[1]))
            case Operator.ITE:
                return self._choice(term)
            case _:
                return self._single(term)

    def _single(self, term: Term) -> Polynomial:
        number = self._numbers.get(term)
        if number is None:
            number = self._numbers[term] = len(self._atoms)
            self._atoms.append(term)
        return {(number,): 1}

    def _choice(self, term: Term) -> Polynomial:
        """What both branches share stands outside of the choice between them."""
        condition = self.normal(term.arguments[0])
        then, otherwise = self.of(term.arguments[1]), self.of(term.arguments[2])
        if not isinstance(condition, Term):
            return then if condition else otherwise
        shared = {m: c for m, c in then.items() if otherwise.get(m) == c}
        rest = choose(
            condition,  # type: ignore[arg-type]  # the condition of a choice is a formula
            self.term({m: c for m, c in then.items() if m not in shared}),
            self.term({m: c for m, c in otherwise.items() if m not in shared}),
        )
        if not isinstance(rest, Term):
            return added(shared, self.of(rest), 1)
        if rest.operator is not Operator.ITE:
            return added(shared, self.of(rest), 1)
        return added(shared, self._single(rest), 1)

    def term(self, polynomial: Polynomial) -> Operand:
        """A term with this value."""
        result: Number | int = 0
        for monomial, coefficient in polynomial.items():
            product: Number | int = 1
            for number in monomial:
                product = product * self._atoms[number]  # type: ignore[operator]  # an atom is an integer
            result = result + product if coefficient == 1 else result + coefficient * product
        return result

    def compared(self, operator: Operator, difference: Polynomial) -> Operand:
        """The comparison of `difference` with zero, the negative monomials on the other side."""
        if operator is Operator.EQUAL and difference and next(iter(difference.values())) < 0:
            difference = {m: -c for m, c in difference.items()}
        left: Operand = self.term({m: c for m, c in difference.items() if c > 0})
        right: Operand = self.term({m: -c for m, c in difference.items() if c < 0})
        match operator:
            case Operator.EQUAL:
                return left == right if isinstance(left, Term) else right == left
            case Operator.LESS:
                return left < right  # type: ignore[operator]  # both are integers
            case _:
                assert operator is Operator.AT_MOST
                return left <= right  # type: ignore[operator]  # both are integers

    def _inequality(self, goal: Operand) -> tuple[Term, Polynomial] | None:
        """A comparison of integers that is no equation, and how far its right side is above its left one."""
        if not isinstance(goal, Term) or goal.operator not in (Operator.LESS, Operator.AT_MOST):
            return None
        if not is_comparison_of_integers(goal):
            return None
        return goal, added(self.of(goal.arguments[1]), self.of(goal.arguments[0]), -1)

    def addends(self, goal: Operand) -> list[Term]:
        """The choices that an inequality adds on its greater side, where it adds at least one and something else."""
        found = self._inequality(goal)
        if found is None or len(found[1]) < 2:  # noqa: PLR2004 - one addend and something else
            return []
        atoms = [self._atoms[m[0]] for m, c in found[1].items() if len(m) == 1 and c > 0]
        return [atom for atom in atoms if atom.operator is Operator.ITE]

    def without(self, goal: Operand, addends: list[Term]) -> Operand:
        """The inequality without these addends on its greater side."""
        found = self._inequality(goal)
        assert found is not None
        dropped = {(self._numbers[addend],) for addend in addends}
        rest = {m: -c for m, c in found[1].items() if m not in dropped}
        return self.compared(found[0].operator, rest)

    def _normalised(self, term: Term) -> Operand:
        if is_comparison_of_integers(term):
            return self.compared(term.operator, added(self.of(term.arguments[0]), self.of(term.arguments[1]), -1))
        arguments = tuple(self.normal(a) for a in term.arguments)
        if all(new is old for new, old in zip(arguments, term.arguments, strict=True)):
            return term
        return rebuild(term, arguments)


def is_comparison_of_integers(term: Term) -> bool:
    """Whether a term compares two integers."""
    if term.operator not in (Operator.EQUAL, Operator.LESS, Operator.AT_MOST):
        return False
    return all(not isinstance(a, Term) or a.sort is int for a in term.arguments)


def added(one: Polynomial, other: Polynomial, factor: int) -> Polynomial:
    """`one + factor * other`."""
    result = dict(one)
    for monomial, coefficient in other.items():
        value = result.get(monomial, 0) + factor * coefficient
        if value:
            result[monomial] = value
        else:
            del result[monomial]
    return result


def multiplied(one: Polynomial, other: Polynomial) -> Polynomial:
    """The product."""
    result: Polynomial = {}
    for left, by in one.items():
        result = added(result, {tuple(sorted(left + right)): c for right, c in other.items()}, by)
    return result


def unvisited(
    root: Term, done: Mapping[Term, object], also_done: Mapping[Term, object] = MappingProxyType({})
) -> Iterator[Term]:
    """The terms under `root` that are in neither mapping, arguments before their users.

    A term is expected to be in one of them before the next one is taken.
    """
    stack = [root]
    while stack:
        term = stack[-1]
        if term in done or term in also_done:
            stack.pop()
            continue
        waiting = [a for a in term.arguments[::-1] if isinstance(a, Term) and a not in done and a not in also_done]
        if waiting:
            stack += waiting
        else:
            stack.pop()
            yield term


def conjuncts(condition: Operand) -> list[Operand]:
    """The conditions that together mean `condition`; none for what is plainly true.

    A choice between something and a conjunction is taken apart, too: it is one choice for each conjunct.
    """
    if not isinstance(condition, Term):
        return [] if condition else [False]
    if condition.operator is Operator.AND:
        return [part for argument in condition.arguments for part in conjuncts(argument)]
    if condition.operator is Operator.OR:
        several = [a for a in condition.arguments if isinstance(a, Term) and a.operator is Operator.AND]
        if len(several) == 1:
            others = [a for a in condition.arguments if a is not several[0]]
            return [
                part
                for argument in several[0].arguments
                for part in conjuncts(any_of(*others, argument))  # type: ignore[arg-type]  # all are formulas
            ]
    return [condition]
