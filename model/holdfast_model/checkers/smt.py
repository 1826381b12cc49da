"""Speaks to z3: terms in, answers and values out. z3 has no types, so `Any` stays in here and in `spacer`.

Numbers are mathematical integers, never bit-vectors: those wrap around and make an induction lie. A member of a
finite sort is an integer within 0..n-1. Resources are limited in z3's own deterministic units instead of seconds, and
every query has a fresh solver with fixed seeds, so that an answer is the same on every machine. Only an unrolled path
(`Unrolling`) keeps its solver from one query to the next.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NewType

import z3

from holdfast_model.spec.model import Step
from holdfast_model.spec.sorts import UNBOUNDED, Enumeration, Index, Table
from holdfast_model.spec.terms import Operand, Operator, Term, walk
from holdfast_model.spec.variables import Variable

Expression = NewType("Expression", object)
"""A z3 expression, opaque outside of this module."""


class Answer(StrEnum):
    """What the solver said about a conjunction."""

    SATISFIABLE = "satisfiable"
    UNSATISFIABLE = "unsatisfiable"
    UNKNOWN = "unknown"


SOLVER = "z3"
"""The solver, as evidence names it; its version belongs to the environment."""


_FUNCTIONS: Mapping[Operator, Callable[..., Any]] = {
    Operator.ADD: operator.add,
    Operator.SUBTRACT: operator.sub,
    Operator.MULTIPLY: operator.mul,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.EQUAL: operator.eq,
    Operator.NOT: z3.Not,
    Operator.AND: z3.And,
    Operator.OR: z3.Or,
    Operator.ITE: z3.If,
    Operator.AT: z3.Select,
    Operator.STORE: z3.Store,
}


class Smt:
    """A z3 context for one model: translates terms, each once, and answers queries about them."""

    def __init__(self, variables: Sequence[Variable], sizes: Mapping[type, int]) -> None:
        self._context: Any = z3.Context()
        self._sizes = sizes
        self._translated: dict[int, Any] = {}
        self._terms: list[Term] = []  # keeps the terms alive, whose identities are the keys
        self._symbols: dict[int | str, Any] = {}
        self._within_sorts: list[Any] = []
        self._integers: Any = z3.IntSort(self._context)
        self._tables: Any = z3.ArraySort(self._integers, self._integers)
        self._sum: Any = z3.Function("sum", self._tables, self._integers)
        for position, variable in enumerate(variables):
            self._symbols[position] = self._declared(variable.name, variable.sort)

    def _declared(self, name: str, sort: type) -> Any:  # noqa: ANN401 - z3 has no types
        if issubclass(sort, bool):
            return z3.Bool(name, self._context)
        if issubclass(sort, Table):
            return z3.Const(name, self._tables)
        symbol = z3.Int(name, self._context)
        if issubclass(sort, Index | Enumeration):
            size = len(sort.__members__) if issubclass(sort, Enumeration) else self._sizes[sort]
            self._within_sorts.append(symbol >= 0)
            if size != UNBOUNDED:
                self._within_sorts.append(symbol < size)
        return symbol

    def _constant(self, value: int, *, is_bool: bool) -> Any:  # noqa: ANN401 - z3 has no types
        return z3.BoolVal(bool(value), self._context) if is_bool else z3.IntVal(int(value), self._context)

    def expression(self, operand: Operand) -> Expression:
        """The operand in z3's form."""
        if not isinstance(operand, Term):
            return Expression(self._constant(operand, is_bool=isinstance(operand, bool)))
        if id(operand) not in self._translated:
            for term in walk([operand]):
                if id(term) not in self._translated:
                    self._translated[id(term)] = self._made(term)
                    self._terms.append(term)
        return Expression(self._translated[id(operand)])

    def _made(self, term: Term) -> Any:  # noqa: ANN401 - z3 has no types
        parts: list[Any] = [self.expression(a) for a in term.arguments]
        match term.operator:
            case Operator.VARIABLE:
                return self._symbols[term.payload]
            case Operator.ARGUMENT:
                return self._argument(term)
            case Operator.EVERYWHERE:
                return z3.K(self._integers, parts[0])
            case Operator.SUM:
                return self._sum(parts[0])
            case _:
                return _FUNCTIONS[term.operator](*parts)

    def _argument(self, term: Term) -> Any:  # noqa: ANN401 - z3 has no types
        if term.payload not in self._symbols:
            self._symbols[term.payload] = self._declared(f"argument {term.payload}", term.sort)
        return self._symbols[term.payload]

    def z3_symbol(self, key: int | str) -> Any:  # noqa: ANN401 - z3 has no types
        """A variable by its position, or an argument by its name, once it has been translated; for `spacer`."""
        return self._symbols[key]

    def z3_arguments(self) -> list[Any]:
        """The arguments of actions that have been translated; for `spacer`."""
        return [symbol for key, symbol in self._symbols.items() if isinstance(key, str)]

    def z3_within_sorts(self) -> list[Any]:
        """That each member of a finite sort is one; for `spacer`."""
        return list(self._within_sorts)

    def query(self, conditions: Sequence[Operand], *, resources: int) -> "Reply":
        """Whether some state and arguments satisfy all conditions, within this many of z3's resource units."""
        solver: Any = z3.SimpleSolver(ctx=self._context)
        solver.set("rlimit", resources)
        solver.set("random_seed", 0)
        expressions = [self.expression(c) for c in conditions]
        solver.add(*self._within_sorts)
        solver.add(*expressions)
        answer = solver.check()
        if answer == z3.sat:
            return Reply(Answer.SATISFIABLE, self._values(solver.model()), "")
        if answer == z3.unsat:
            return Reply(Answer.UNSATISFIABLE, {}, "")
        return Reply(Answer.UNKNOWN, {}, str(solver.reason_unknown()))

    def _values(self, model: Any) -> dict[int | str, int]:  # noqa: ANN401 - z3 has no types
        values: dict[int | str, int] = {}
        for key, symbol in self._symbols.items():
            if z3.is_array(symbol):
                continue
            value = model.eval(symbol, model_completion=True)
            values[key] = int(z3.is_true(value)) if z3.is_bool(value) else value.as_long()
        return values


class Reply:
    """An answer, the satisfying values (by position of a variable or name of an argument), or why it is unknown."""

    __slots__ = ("answer", "reason", "values")

    def __init__(self, answer: Answer, values: dict[int | str, int], reason: str) -> None:
        self.answer = answer
        self.values = values
        self.reason = reason


class Unrolling(Smt):
    """A path of a model in one solver that only grows: the first state, a step, the next state, and so on.

    Each step takes one of the transitions; numbers among their arguments are the solver's to choose. What is assumed
    stays assumed, so what was shown of one length is known at every greater one.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        sizes: Mapping[type, int],
        initial: Sequence[Operand],
        transitions: Sequence[Step],
        *,
        resources: int,
    ) -> None:
        super().__init__(variables, sizes)
        self.steps = 0
        self._count = len(initial)
        self._solver: Any = z3.SimpleSolver(ctx=self._context)
        self._solver.set("rlimit", resources)
        self._solver.set("random_seed", 0)
        self._before: list[Any] = [self._symbols[position] for position in range(self._count)]
        self._after = [self._alike(symbol, "'") for symbol in self._before]
        self._taken: list[Any] = [
            z3.Bool(f"transition {number}", self._context) for number in range(len(transitions))
        ]
        self._step: Any = z3.And(*self._relation(transitions))
        self._arguments = {name: symbol for name, symbol in self._symbols.items() if isinstance(name, str)}
        self._states = [[self._alike(symbol, " 0") for symbol in self._before]]
        self._chosen: list[list[Any]] = []
        self._given: list[dict[str, Any]] = []
        first = zip(self._states[0], initial, strict=True)
        self._solver.add(*(symbol == self.expression(value) for symbol, value in first))

    @staticmethod
    def _alike(symbol: Any, suffix: str) -> Any:  # noqa: ANN401 - z3 has no types
        return z3.Const(f"{symbol.decl().name()}{suffix}", symbol.sort())

    def _relation(self, transitions: Sequence[Step]) -> list[Any]:
        """What a step is: exactly one transition, its guard, what it changes, and that nothing else changes."""
        conditions: list[Any] = [z3.Or(*self._taken), z3.AtMost(*self._taken, 1)]
        changing: list[list[Any]] = [[] for _ in range(self._count)]
        for taken, transition in zip(self._taken, transitions, strict=True):
            conditions.append(z3.Implies(taken, self.expression(transition.guard)))
            for position, new in transition.updates.items():
                conditions.append(z3.Implies(taken, self._after[position] == self.expression(new)))
                changing[position].append(taken)
        for before, after, by in zip(self._before, self._after, changing, strict=True):
            conditions.append(z3.Or(*by, after == before))
        return conditions

    def extend(self) -> None:
        """Make the path one step longer."""
        before, number = self._states[-1], self.steps
        after = [self._alike(symbol, f" {number + 1}") for symbol in self._before]
        chosen = [self._alike(symbol, f" {number}") for symbol in self._taken]
        given = {name: self._alike(symbol, f" {number}") for name, symbol in self._arguments.items()}
        pairs = [
            *zip(self._before, before, strict=True),
            *zip(self._after, after, strict=True),
            *zip(self._taken, chosen, strict=True),
            *((self._arguments[name], symbol) for name, symbol in given.items()),
        ]
        self._solver.add(z3.substitute(self._step, *pairs))
        self._states.append(after)
        self._chosen.append(chosen)
        self._given.append(given)
        self.steps += 1

    def _of_state(self, condition: Operand, state: int) -> Any:  # noqa: ANN401 - z3 has no types
        pairs = zip(self._before, self._states[state], strict=True)
        return z3.substitute(self.expression(condition), *pairs)

    def _of_steps(self, conditions: Sequence[Operand]) -> list[Any]:
        """For each transition, that it is the last one taken and that its condition over the state before holds."""
        return [
            z3.And(taken, self._of_state(condition, -2))
            for taken, condition in zip(self._chosen[-1], conditions, strict=True)
            if condition is not False
        ]

    def assume(self, condition: Operand) -> None:
        """From now on the condition holds in the last state of the path."""
        self._solver.add(self._of_state(condition, -1))

    def assume_of_step(self, conditions: Sequence[Operand]) -> None:
        """From now on the last step satisfies the condition of its transition, over the state before the step."""
        for taken, condition in zip(self._chosen[-1], conditions, strict=True):
            if condition is not True:
                self._solver.add(z3.Implies(taken, self._of_state(condition, -2)))

    def find(self, ends: Sequence[Operand], steps: Sequence[Sequence[Operand]] = ()) -> "PathReply":
        """A path that ends as one of these conditions says, or with such a step (conditions by transition)."""
        wanted = [self._of_state(end, -1) for end in ends if end is not False]
        wanted += [of_step for step in steps for of_step in self._of_steps(step)]
        if not wanted:
            return PathReply(Answer.UNSATISFIABLE, (), "")
        self._solver.push()
        try:
            self._solver.add(z3.Or(*wanted))
            answer = self._solver.check()
            if answer == z3.sat:
                return PathReply(Answer.SATISFIABLE, self._path(self._solver.model()), "")
            if answer == z3.unsat:
                return PathReply(Answer.UNSATISFIABLE, (), "")
            return PathReply(Answer.UNKNOWN, (), str(self._solver.reason_unknown()))
        finally:
            self._solver.pop()

    def _path(self, model: Any) -> tuple[tuple[int, dict[str, int]], ...]:  # noqa: ANN401 - z3 has no types
        path = []
        for chosen, given in zip(self._chosen, self._given, strict=True):
            number = next(n for n, symbol in enumerate(chosen) if z3.is_true(model.eval(symbol)))
            path.append((number, {n: model.eval(s, model_completion=True).as_long() for n, s in given.items()}))
        return tuple(path)


class PathReply:
    """An answer about paths, and for a path that was found, which transition each step takes, with its numbers."""

    __slots__ = ("answer", "path", "reason")

    def __init__(self, answer: Answer, path: tuple[tuple[int, dict[str, int]], ...], reason: str) -> None:
        self.answer = answer
        self.path = path
        self.reason = reason
