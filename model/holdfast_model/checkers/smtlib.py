"""Questions as SMT-LIB 2 text, which every solver reads: no solver's own exporter is trusted with it.

Written from the terms and not from z3's expressions, so that another solver's answer also checks the translation to
z3. Only linear and non-linear integer arithmetic, choices and equality are used; a member of a finite sort is an
integer within its limits. Tables, where there is any number of members, are arrays; one that has the same number
everywhere is a constant array, for which cvc5 wants the option `--arrays-exp`, as the script then says.
"""

from collections.abc import Mapping, Sequence

from holdfast_model.checkers.smt import Answer
from holdfast_model.spec.sorts import UNBOUNDED, Enumeration, Index, Table
from holdfast_model.spec.terms import Operand, Operator, Term, walk
from holdfast_model.spec.variables import Variable

STATUS = {Answer.SATISFIABLE: "sat", Answer.UNSATISFIABLE: "unsat", Answer.UNKNOWN: "unknown"}
"""What a solver prints for each answer."""

_FUNCTIONS = {
    Operator.ADD: "+",
    Operator.SUBTRACT: "-",
    Operator.MULTIPLY: "*",
    Operator.LESS: "<",
    Operator.AT_MOST: "<=",
    Operator.EQUAL: "=",
    Operator.NOT: "not",
    Operator.AND: "and",
    Operator.OR: "or",
    Operator.ITE: "ite",
    Operator.AT: "select",
    Operator.STORE: "store",
    Operator.EVERYWHERE: "(as const (Array Int Int))",
    Operator.SUM: "sum",
}


def script(
    conditions: Sequence[Operand],
    *,
    variables: Sequence[Variable],
    sizes: Mapping[type, int],
    expected: Answer | None,
    comments: Sequence[str] = (),
) -> str:
    """The text of a question: whether something satisfies all conditions. `comments` stand at its head.

    Without `expected` no answer is suggested: a solver that is told one may refuse to contradict it.
    """
    lines = [f"; {comment}" for comment in comments]
    if expected is not None:
        lines.append(f"(set-info :status {STATUS[expected]})")
    lines.append("(set-logic ALL)")
    if any(term.operator is Operator.EVERYWHERE for term in walk(conditions)):
        lines.insert(0, "; cvc5 reads this with --arrays-exp: it has a constant array")
    if any(term.operator is Operator.SUM for term in walk(conditions)):
        lines.append("(declare-fun sum ((Array Int Int)) Int)")
    names: dict[Term, str] = {}
    uses = _uses(conditions)
    for term in walk(conditions):
        match term.operator:
            case Operator.VARIABLE | Operator.ARGUMENT:
                name = variables[term.payload].name if isinstance(term.payload, int) else f"argument {term.payload}"
                names[term] = f"|{name}|"
                lines.append(f"(declare-const {names[term]} {_sort(term.sort)})")
                if issubclass(term.sort, Enumeration | Index):
                    lines.append(f"(assert (<= 0 {names[term]}))")
                    size = len(term.sort.__members__) if issubclass(term.sort, Enumeration) else sizes[term.sort]
                    if size != UNBOUNDED:
                        lines.append(f"(assert (< {names[term]} {size}))")
            case _:
                written = f"({_FUNCTIONS[term.operator]} {' '.join(_written(a, names) for a in term.arguments)})"
                if uses[term] > 1:
                    names[term] = f"|shared {len(names)}|"
                    lines.append(f"(define-fun {names[term]} () {_sort(term.sort)} {written})")
                else:
                    names[term] = written
    lines += [f"(assert {_written(condition, names)})" for condition in conditions]
    return "\n".join([*lines, "(check-sat)", ""])


def _uses(conditions: Sequence[Operand]) -> dict[Term, int]:
    """How often each term is written."""
    uses: dict[Term, int] = dict.fromkeys(walk(conditions), 0)
    for term in list(uses):
        for argument in term.arguments:
            if isinstance(argument, Term):
                uses[argument] += 1
    for condition in conditions:
        if isinstance(condition, Term):
            uses[condition] += 1
    return uses


def _sort(sort: type) -> str:
    if issubclass(sort, Table):
        return "(Array Int Int)"
    return "Bool" if issubclass(sort, bool) else "Int"


def _written(operand: Operand, names: Mapping[Term, str]) -> str:
    if isinstance(operand, Term):
        return names[operand]
    if isinstance(operand, bool):
        return "true" if operand else "false"
    return str(int(operand)) if operand >= 0 else f"(- {-int(operand)})"
