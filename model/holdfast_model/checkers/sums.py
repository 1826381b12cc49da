"""The laws of sums that a proof about any number of members relies on, proved by induction on that number.

There are three laws: a sum follows a change of its table; where no number is negative none is above the sum; and the
sum of what only one member has is what that member has. The
sum of a table is the sum of its numbers for the first n members, S(n): S(0) is 0, and S(n + 1) is S(n) and the number
for member n. For a table and the same table with another number for one member i it is claimed that S differs by what
that number differs where i is below n, and not at all elsewhere. What is claimed is taken from `terms.summed` itself,
so that the law that is proved is the one that rewrites.
"""

from collections.abc import Callable, Iterable

from holdfast_model.checkers.questions import Question, Questions
from holdfast_model.checkers.smt import SOLVER, Answer
from holdfast_model.evidence import Obligation, ObligationVerdict
from holdfast_model.spec.sorts import Index, Table
from holdfast_model.spec.terms import (
    Condition,
    Number,
    Operand,
    Operator,
    Term,
    all_of,
    any_member,
    argument,
    at,
    each,
    implies,
    ite,
    negation,
    rebuild,
    sort_of,
    stored,
    summed,
    summed_over,
    walk,
)

LAW_OF_SUMS = "law-of-sums"
"""The stable name of the law that the sum of a changed table differs by what was changed."""

LAW_OF_ONE = "law-of-one-member"
"""The stable name of the law that the sum of what only one member has is what that member has."""

LAW_OF_PARTS = "law-of-parts"
"""The stable name of the law that no part is above the sum where none is below zero."""


def laws_of_sums(questions: Questions, sort: type[Index]) -> list[Obligation]:
    """The obligations of each law: that it holds for no member of the sort, and for one more if for some."""
    return [*_law_of_sums(questions, sort), *_law_of_parts(questions, sort), *_law_of_one(questions, sort)]


def parts(table: Operand, indices: Iterable[Operand]) -> list[Condition]:
    """What the law of parts says about a table without negative numbers, at these members."""
    total = _number(summed(table))
    found: list[Condition] = [total >= 0]
    for index in indices:
        number = _number(at(table, index))
        found += [number >= 0, number <= total]
    return found


def _law_of_parts(questions: Questions, sort: type[Index]) -> list[Obligation]:
    table, total = argument("table", Table), argument("sum")
    member, last = argument("member", sort), argument("last", sort)

    def claimed(total: Number | int, below: Callable[[Number], Condition]) -> Condition:
        law = [_with_sum(part, table, total) for part in parts(table, [member])]
        return implies(below(member), all_of(*law))  # type: ignore[arg-type]  # each is a condition

    natural = [_number(at(table, index)) >= 0 for index in (member, last)]
    none = claimed(0, lambda index: index < sort(0))
    some = all_of(claimed(total, lambda index: index < last), total >= 0)
    after = total + _number(at(table, last))
    more = all_of(claimed(after, lambda index: index <= last), after >= 0)
    return [
        _obligation(LAW_OF_PARTS, "init", questions.ask([*natural, negation(none)])),
        _obligation(LAW_OF_PARTS, "one-more-member", questions.ask([*natural, some, negation(more)])),
    ]


def _law_of_sums(questions: Questions, sort: type[Index]) -> list[Obligation]:
    before = argument("table", Table)
    member, last = argument("member", sort), argument("last", sort)
    number = argument("number")
    after = stored(before, member, number)
    sum_before, sum_after = argument("sum before"), argument("sum after")

    def claimed(old: Number | int, new: Number | int, below: Callable[[Number], Condition]) -> Condition:
        law = _with_sum(summed(after), before, old)
        return all_of(implies(below(member), new == law), implies(negation(below(member)), new == old))

    none = claimed(0, 0, lambda index: index < sort(0))
    some = claimed(sum_before, sum_after, lambda index: index < last)
    more = claimed(
        sum_before + _number(at(before, last)),
        sum_after + _number(at(after, last)),
        lambda index: index <= last,
    )
    return [
        _obligation(LAW_OF_SUMS, "init", questions.ask([negation(none)])),
        _obligation(LAW_OF_SUMS, "one-more-member", questions.ask([some, negation(more)])),
    ]


def _law_of_one(questions: Questions, sort: type[Index]) -> list[Obligation]:
    """S(n) is what the one member has if it is below n, and 0 if it is not."""
    owner, last = argument("owner", sort), argument("last", sort)
    number, total = argument("number"), argument("sum")
    member = each(sort, 0)
    law = summed_over(ite(owner == member, number, 0), 0)

    def claimed(total: Number | int, below: Callable[[Number], Condition]) -> Condition:
        return all_of(implies(below(owner), total == law), implies(negation(below(owner)), total == 0))

    none = claimed(0, lambda index: index < sort(0))
    some = claimed(total, lambda index: index < last)
    more = claimed(total + ite(owner == last, number, 0), lambda index: index <= last)
    return [
        _obligation(LAW_OF_ONE, "init", questions.ask([negation(none)])),
        _obligation(LAW_OF_ONE, "one-more-member", questions.ask([some, negation(more)])),
    ]


def instances(fact: Operand, members: Iterable[Operand], sort: type[Index]) -> list[Condition]:
    """What a fact that holds for any member says of these; nothing if it speaks of two, or of none."""
    anyone = any_member(sort)
    names = {t for t in walk([fact]) if t.operator is Operator.ARGUMENT and t.sort is sort}
    if names != {anyone}:
        return []
    return [_replaced(fact, anyone, member) for member in members]  # type: ignore[misc]  # a fact is a condition


def sums_of_equals(fact: Operand) -> list[Condition]:
    """That tables which a fact compares have one sum if they are equal.

    It needs no law of its own, but the solver must be told: of a changed table it sees no sum, since that of
    another stands in its place.
    """
    compared = (t for t in walk([fact]) if t.operator is Operator.EQUAL and sort_of(t.arguments[0]) is Table)
    return [implies(t, _number(summed(t.arguments[0])) == summed(t.arguments[1])) for t in compared]  # type: ignore[arg-type]


def _number(operand: Operand) -> Number:
    return operand  # type: ignore[return-value]  # a number of a table is an integer


def _with_sum(operand: Operand, table: Operand, total: Number | int) -> Operand:
    """The operand with the sum of a table replaced."""
    return _replaced(operand, summed(table), total)


def _replaced(operand: Operand, old: Operand, new: Operand) -> Operand:
    """The operand with another term in the place of one."""
    memo: dict[Term, Operand] = {}
    for term in walk([operand]):
        if term is old:
            memo[term] = new
        elif term.arguments:
            memo[term] = rebuild(term, tuple(memo[a] if isinstance(a, Term) else a for a in term.arguments))
        else:
            memo[term] = term
    return memo[operand] if isinstance(operand, Term) else operand


def _obligation(law: str, action: str, question: Question) -> Obligation:
    verdicts = {
        Answer.UNSATISFIABLE: ObligationVerdict.PROVED,
        Answer.SATISFIABLE: ObligationVerdict.REFUTED,
        Answer.UNKNOWN: ObligationVerdict.UNKNOWN,
    }
    question.decides[law, law.replace("-", "_"), action] = None
    shown = {"sum": "by the law"}, {"sum": "another"}
    refuted = question.answer is Answer.SATISFIABLE
    return Obligation(
        invariant=law,
        property=law.replace("-", "_"),
        action=action,
        verdict=verdicts[question.answer],
        solver=SOLVER,
        auxiliary=True,
        reason="" if question.answer is Answer.UNSATISFIABLE else "the law of sums was not proved",
        before=shown[0] if refuted else {},
        after=shown[1] if refuted else {},
    )
