"""A query written so that two of them are written alike exactly when they differ only by names.

Variables and arguments are numbered in the order met, by sort. Members of an index sort are numbered in the same way
where the query only compares them for equality, for then a permutation of the sort's members changes nothing: a trade
between the first and the second order and one between the third and the seventh are one question. No symmetry of the
spec is assumed; two queries are told to be alike by looking at them.
"""

from collections.abc import Iterable
from typing import TypeAlias

from holdfast_model.spec.sorts import Index
from holdfast_model.spec.terms import Operand, Operator, Term, walk

Written: TypeAlias = tuple[tuple[object, ...], ...]


def written(conditions: Iterable[Operand]) -> Written:
    """The conjunction up to the names of variables and of interchangeable members."""
    roots = list(conditions)
    terms = walk(roots)
    ordered = {
        a.sort
        for t in terms
        if t.operator in (Operator.LESS, Operator.AT_MOST)
        for a in t.arguments
        if isinstance(a, Term)
    }
    numbers: dict[Term, int] = {}
    members: dict[tuple[type, int], int] = {}

    def named(operand: Operand, sort: type) -> object:
        if isinstance(operand, Term):
            return numbers[operand]
        if isinstance(operand, Index):
            sort = type(operand)
        if issubclass(sort, Index) and sort not in ordered:
            return "member", members.setdefault((sort, int(operand)), len(members))
        return "constant", int(operand)

    lines: list[tuple[object, ...]] = []
    for term in terms:
        if term.operator in (Operator.VARIABLE, Operator.ARGUMENT):
            lines.append((term.operator, term.sort))
        elif term.operator is Operator.ITE:
            condition, then, otherwise = term.arguments
            lines.append((term.operator, named(condition, bool), named(then, term.sort), named(otherwise, term.sort)))
        else:
            sort = next((a.sort for a in term.arguments if isinstance(a, Term)), int)
            lines.append((term.operator, *(named(a, sort) for a in term.arguments)))
        numbers[term] = len(numbers)
    lines.append(tuple(named(root, bool) for root in roots))
    return tuple(lines)
