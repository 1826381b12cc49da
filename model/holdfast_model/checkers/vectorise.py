"""Numpy code for whole arrays of packed states, generated from the terms of a model's steps and properties.

Three kinds of functions are generated. `check(W)` takes the words of n states (a list of `uint64` arrays of length n)
and returns the columns it unpacked, each step's guard and each property, all as arrays of length n. `step_k(W, C, i)`
takes the same words and columns and the indices of the states in which step k can be taken; it returns the words of
their successors and which of them left a declared range (or None). `judging` and `rewriting` make functions of whole
words alone: the values of formulas, and the words of other states. Columns are the narrowest signed integers that an
interval analysis allows, so nothing can wrap around; what the ranges alone decide is folded away.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast_model.checkers.packing import Packing
from holdfast_model.errors import SpecError
from holdfast_model.spec.model import Step
from holdfast_model.spec.terms import Operand, Operator, Term, walk

Words: TypeAlias = list[npt.NDArray[np.uint64]]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]
Columns: TypeAlias = dict[int, npt.NDArray[Any]]
Check: TypeAlias = Callable[[Words], tuple[Columns, list[Flags | bool], list[Flags | bool]]]
Take: TypeAlias = Callable[[Words, Columns, Indices], tuple[Words, Flags | None]]
Judge: TypeAlias = Callable[[Words], list[Flags | bool]]
Rewrite: TypeAlias = Callable[[Words], Words]
Interval: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Vectorised:
    """The compiled functions of a model and the source they were compiled from."""

    check: Check
    steps: tuple[Take, ...]
    source: str


class _Intervals:
    """The least and greatest value that each term can have, given the declared ranges of the variables."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._known: dict[int, Interval] = {}
        self._terms: list[Term] = []  # keeps the terms alive, whose identities are the keys

    def of(self, value: Operand) -> Interval:
        if not isinstance(value, Term):
            return int(value), int(value)
        if id(value) not in self._known:
            for term in walk([value]):
                if id(term) not in self._known:
                    self._known[id(term)] = self._computed(term)
                    self._terms.append(term)
        return self._known[id(value)]

    def _computed(self, term: Term) -> Interval:
        if term.operator is Operator.VARIABLE:
            assert isinstance(term.payload, int)
            place = self._packing.fields[term.payload]
            return place.least, place.greatest
        parts = [self.of(a) for a in term.arguments]
        match term.operator:
            case Operator.ADD:
                return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
            case Operator.SUBTRACT:
                return parts[0][0] - parts[1][1], parts[0][1] - parts[1][0]
            case Operator.MULTIPLY:
                corners = [a * b for a in parts[0] for b in parts[1]]
                return min(corners), max(corners)
            case Operator.ITE:
                chosen = parts[1:]
                if parts[0][0] == parts[0][1]:
                    chosen = [parts[1] if parts[0][0] else parts[2]]
                return min(p[0] for p in chosen), max(p[1] for p in chosen)
            case Operator.LESS:
                return int(parts[0][1] < parts[1][0]), int(parts[0][0] < parts[1][1])
            case Operator.AT_MOST:
                return int(parts[0][1] <= parts[1][0]), int(parts[0][0] <= parts[1][1])
            case Operator.EQUAL:
                possible = parts[0][0] <= parts[1][1] and parts[1][0] <= parts[0][1]
                return int(possible and parts[0] == parts[1] and parts[0][0] == parts[0][1]), int(possible)
            case Operator.NOT:
                return 1 - parts[0][1], 1 - parts[0][0]
            case Operator.AND:
                return min(p[0] for p in parts), min(p[1] for p in parts)
            case Operator.OR:
                return max(p[0] for p in parts), max(p[1] for p in parts)
            case Operator.ARGUMENT | Operator.AT | Operator.STORE | Operator.EVERYWHERE | Operator.SUM:
                raise SpecError(f"`{term!r}` has no value; exploring needs concrete arguments and sizes")


def _width(interval: Interval) -> int:
    """The bits of the narrowest signed integer that holds an interval."""
    for bits in (8, 16, 32, 64):
        if -(1 << (bits - 1)) <= interval[0] and interval[1] < 1 << (bits - 1):
            return bits
    raise SpecError(
        f"a value between {interval[0]} and {interval[1]} does not fit in 64 bits; declare smaller ranges"
    )


class _Function:
    """The lines of one generated function. Each term is computed once, under a name."""

    def __init__(self, intervals: _Intervals, packing: Packing, *, gathered: frozenset[int] | None) -> None:
        """`gathered`: the columns that exist already and are indexed by `i`; None where words are whole."""
        self._intervals = intervals
        self._packing = packing
        self._gathered = gathered
        self._names: dict[int, str] = {}
        self._terms: list[Term] = []
        self.lines: list[str] = []
        self.unpacked: list[int] = []

    def word(self, word: int) -> str:
        """The name of a word of the states at hand."""
        name = f"w{word}"
        if self._gathered is None:
            return name
        line = f"{name} = W[{word}].take(i)"
        if line not in self.lines:
            self.lines.append(line)
        return name

    def value(self, operand: Operand) -> str:
        """An expression for the operand: a literal or the name of an array."""
        least, greatest = self._intervals.of(operand)
        if least == greatest:
            is_bool = isinstance(operand, bool) or (isinstance(operand, Term) and operand.sort is bool)
            return str(bool(least)) if is_bool else str(least)
        assert isinstance(operand, Term)
        for term in self._needed(operand):
            if id(term) not in self._names:
                name = f"t{len(self._names)}"
                self.lines.append(f"{name} = {self._expression(term)}")
                self._names[id(term)] = name
                self._terms.append(term)
        return self._names[id(operand)]

    def _decided(self, operand: Operand) -> bool:
        least, greatest = self._intervals.of(operand)
        return least == greatest

    def _needed(self, root: Term) -> list[Term]:
        """The undecided terms under a root that it really reads, arguments first."""
        order: list[Term] = []
        done: set[int] = set()
        stack: list[tuple[Term, bool]] = [(root, False)]
        while stack:
            term, expanded = stack.pop()
            if id(term) in done or id(term) in self._names:
                continue
            if expanded:
                done.add(id(term))
                order.append(term)
                continue
            stack.append((term, True))
            stack.extend((a, False) for a in self._read(term)[::-1] if isinstance(a, Term) and not self._decided(a))
        return order

    def _read(self, term: Term) -> tuple[Operand, ...]:
        if term.operator is Operator.ITE and self._decided(term.arguments[0]):
            return (term.arguments[1] if self._intervals.of(term.arguments[0])[0] else term.arguments[2],)
        return term.arguments

    def _wide(self, operand: Operand, width: int) -> str:
        """The operand as an array at least `width` bits wide, or a literal."""
        text = self.value(operand)
        if isinstance(operand, Term) and not self._decided(operand) and _width(self._intervals.of(operand)) < width:
            return f"{text}.astype(int{width})"
        return text

    def _expression(self, term: Term) -> str:
        a = term.arguments
        match term.operator:
            case Operator.VARIABLE:
                assert isinstance(term.payload, int)
                return self._column(term.payload, is_bool=term.sort is bool)
            case Operator.ADD | Operator.SUBTRACT | Operator.MULTIPLY:
                sign = {Operator.ADD: "+", Operator.SUBTRACT: "-", Operator.MULTIPLY: "*"}[term.operator]
                spans = [self._intervals.of(term), *(self._intervals.of(x) for x in a)]
                width = _width((min(s[0] for s in spans), max(s[1] for s in spans)))
                return f"{self._wide(a[0], width)} {sign} {self._wide(a[1], width)}"
            case Operator.LESS:
                return f"{self.value(a[0])} < {self.value(a[1])}"
            case Operator.AT_MOST:
                return f"{self.value(a[0])} <= {self.value(a[1])}"
            case Operator.EQUAL:
                return f"{self.value(a[0])} == {self.value(a[1])}"
            case Operator.NOT:
                return f"~{self.value(a[0])}"
            case Operator.AND | Operator.OR:
                sign = " & " if term.operator is Operator.AND else " | "
                return sign.join(self.value(x) for x in a if not self._decided(x))
            case Operator.ITE:
                read = self._read(term)
                if len(read) == 1:
                    return self.value(read[0])
                if term.sort is bool:
                    return f"where({', '.join(self.value(x) for x in a)})"
                width = _width(self._intervals.of(term))
                arms = [f"int{width}({self.value(x)})" if self._decided(x) else self.value(x) for x in a[1:]]
                return f"where({self.value(a[0])}, {arms[0]}, {arms[1]})"
            case Operator.ARGUMENT | Operator.AT | Operator.STORE | Operator.EVERYWHERE | Operator.SUM:
                raise AssertionError("the interval analysis refuses arguments and tables")

    def _column(self, position: int, *, is_bool: bool) -> str:
        if self._gathered is not None and position in self._gathered:
            return f"C[{position}].take(i)"
        self.unpacked.append(position)
        place = self._packing.fields[position]
        text = f"({self.word(place.word)} >> u({place.shift})) & u({(1 << place.bits) - 1})"
        if is_bool:
            return f"({text}).astype(bool)"
        width = max(_width((place.least, place.greatest)), _width((0, place.greatest - place.least)))
        text = f"({text}).astype(int{width})"
        return text if place.least == 0 else f"{text} + int{width}({place.least})"


def _step_lines(step: Step, intervals: _Intervals, packing: Packing, *, columns: frozenset[int] | None) -> list[str]:
    """The body of `step_k`: new words from old ones (gathered where there are columns), changed as the step says."""
    function = _Function(intervals, packing, gathered=columns)
    if columns is None:
        function.lines.append(_unpacked_words(packing))
    constants = [0] * packing.words
    cleared = [0] * packing.words
    shifted: dict[tuple[int, int, int], int] = {}
    computed: list[list[str]] = [[] for _ in range(packing.words)]
    checks: list[str] = []
    for position, new in step.updates.items():
        place = packing.fields[position]
        cleared[place.word] |= place.mask
        least, greatest = intervals.of(new)
        if isinstance(new, Term) and new.operator is Operator.VARIABLE:
            assert isinstance(new.payload, int)
            source = packing.fields[new.payload]
            if (source.least, source.greatest) == (place.least, place.greatest):
                key = (place.word, source.word, place.shift - source.shift)
                shifted[key] = shifted.get(key, 0) | source.mask
                continue
        text = function.value(new)
        if least == greatest and place.least <= least <= place.greatest:
            constants[place.word] |= (least - place.least) << place.shift
            continue
        if least == greatest:  # always out of range
            text = f"full(len(i), {least})"
        if least < place.least:
            checks.append(f"({text} < {place.least})")
        if greatest > place.greatest:
            checks.append(f"({text} > {place.greatest})")
        biased = text if place.least == 0 else f"({text} - int64({place.least}))"
        computed[place.word].append(f"({biased}.astype(uint64) << u({place.shift}))")
    words: list[str] = []
    for word in range(packing.words):
        old = function.word(word)
        if not cleared[word]:
            words.append(old)
            continue
        kept = (1 << 64) - 1 - cleared[word]
        parts = [f"({old} & u({kept}))"]
        for (target, source_word, shift), mask in shifted.items():
            if target == word:
                moved = f"({function.word(source_word)} & u({mask}))"
                direction = "<<" if shift > 0 else ">>"
                parts.append(f"({moved} {direction} u({abs(shift)}))" if shift else moved)
        parts += computed[word]
        parts += [f"u({constants[word]})"] if constants[word] else []
        words.append(" | ".join(parts))
    bad = " | ".join(checks) or "None"
    return [*function.lines, f"return [{', '.join(words)}], {bad}"]


def vectorise(steps: Sequence[Step], properties: Iterable[Operand], packing: Packing) -> Vectorised:
    """Compiled functions for these steps and properties of a model with this packing."""
    intervals = _Intervals(packing)
    check = _Function(intervals, packing, gathered=None)
    check.lines.append(_unpacked_words(packing))
    guards = [check.value(step.guard) for step in steps]
    formulas = [check.value(formula) for formula in properties]
    columns = frozenset(check.unpacked)
    named = ", ".join(f"{p}: {check.value(_variable_of(check, p))}" for p in check.unpacked)
    check.lines.append(f"return {{{named}}}, [{', '.join(guards)}], [{', '.join(formulas)}]")
    functions = [("check(W)", check.lines)]
    functions += [
        (f"step_{number}(W, C, i)", _step_lines(step, intervals, packing, columns=columns))
        for number, step in enumerate(steps)
    ]
    source = _source(functions)
    names = _compiled(source)
    return Vectorised(names["check"], tuple(names[f"step_{n}"] for n in range(len(steps))), source)


def judging(formulas: Sequence[Operand], packing: Packing) -> Judge:
    """A compiled function from the words of n states to the values of these formulas in them."""
    function = _Function(_Intervals(packing), packing, gathered=None)
    function.lines.append(_unpacked_words(packing))
    values = [function.value(formula) for formula in formulas]
    function.lines.append(f"return [{', '.join(values)}]")
    judge: Judge = _compiled(_source([("judge(W)", function.lines)]))["judge"]
    return judge


def rewriting(step: Step, packing: Packing) -> Rewrite:
    """A compiled function from the words of n states to those of the states after a step that all of them take.

    The step keeps every variable within its range.
    """
    lines = _step_lines(step, _Intervals(packing), packing, columns=None)
    assert lines[-1].endswith(", None"), "a step that can leave a range is no rewriting"
    rewrite: Callable[[Words], tuple[Words, None]] = _compiled(_source([("rewrite(W)", lines)]))["rewrite"]
    return lambda words: rewrite(words)[0]


def _unpacked_words(packing: Packing) -> str:
    return f"{', '.join(f'w{word}' for word in range(packing.words))}, = W"


def _source(functions: list[tuple[str, list[str]]]) -> str:
    return "\n\n".join(f"def {head}:\n" + "\n".join(f"    {line}" for line in lines) for head, lines in functions)


def _compiled(source: str) -> dict[str, Any]:
    """The functions of generated source."""
    names: dict[str, Any] = {
        "u": np.uint64,
        "where": np.where,
        "full": np.full,
        **{kind: getattr(np, kind) for kind in ("int8", "int16", "int32", "int64", "uint64")},
    }
    # The source is made only from terms (operators, numbers, names of this module), never from text of a spec.
    exec(compile(source, "<generated by holdfast_model.checkers.vectorise>", "exec"), names)  # noqa: S102 - see above
    return names


def _variable_of(function: _Function, position: int) -> Term:
    for term in function._terms:  # noqa: SLF001 - one module
        if term.operator is Operator.VARIABLE and term.payload == position:
            return term
    raise AssertionError(f"column {position} was unpacked without a term")
