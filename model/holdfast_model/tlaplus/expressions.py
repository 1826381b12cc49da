"""Terms as TLA+ expressions.

Terms share: one that is used twice, or is long, gets a name in a LET. A read of a family at an index that is itself
a term is staged as a chain of choices, one for each member; where a term is exactly the chain that such a read makes,
it is written as the read: `live.free[account, asset]`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from holdfast_model.spec.model import Model
from holdfast_model.spec.shapes import Cell, Family, Fields, Key, Shape
from holdfast_model.spec.sorts import Enumeration, Finite, Index
from holdfast_model.spec.terms import Condition, Operand, Operator, Term, all_of, argument, choose, variable
from holdfast_model.spec.variables import Variable

LENGTH_MAX = 100
"""The length of an expression beyond which it gets a name."""

_INFIX = {
    Operator.ADD: "+",
    Operator.SUBTRACT: "-",
    Operator.MULTIPLY: "*",
    Operator.LESS: "<",
    Operator.AT_MOST: "<=",
    Operator.EQUAL: "=",
    Operator.AND: "/\\",
    Operator.OR: "\\/",
}

CHOOSING = frozenset({Operator.AND, Operator.OR, Operator.ITE})
"""What TLC may take apart into several ways to take a step, where it stands as a conjunct of an action."""


def constant(sort: type, value: int) -> str:
    """A constant of a sort: members of finite sorts are strings.

    >>> constant(int, -2)
    '(-2)'
    >>> constant(bool, 1)
    'TRUE'
    """
    if issubclass(sort, bool):
        return "TRUE" if value else "FALSE"
    if issubclass(sort, Index | Enumeration):
        return f'"{sort(value)}"'
    return str(int(value)) if value >= 0 else f"({int(value)})"


def indices(sorts: Iterable[Finite], key: Key) -> str:
    """The members of a key as they stand between brackets."""
    return ", ".join(constant(sort, member) for sort, member in zip(sorts, key, strict=True))


def place(v: Variable, *, after: bool = False) -> str:
    """A variable instance as the module reads it; with `after`, in the state after the step."""
    text = ""
    for number, (name, key) in enumerate(v.path):
        text += f".{name}" if number else name + ("'" if after else "")
        if key:
            members = ", ".join(f'"{member}"' for member in key)
            text += f"[{members}]"
    return text


def after_name(v: Variable) -> str:
    """The argument that stands for a variable's value after a step in the terms of a property of steps."""
    return f"after {v.name}"


@dataclass(frozen=True, slots=True)
class Leaves:
    """A family of single values, and where it lies below its variable: the text before the brackets."""

    place: str
    family: Family

    def cells(self) -> dict[Key, Cell]:
        """The cells by key."""
        return {key: member for key, member in self.family.members.items() if isinstance(member, Cell)}


def leaves_of(shape: Shape, text: str = "") -> list[Leaves]:
    """The families of single values in a shape; `text` is where the shape itself lies."""
    match shape:
        case Cell():
            return []
        case Family(sorts, members):
            if all(isinstance(member, Cell) for member in members.values()):
                return [Leaves(text, shape)]
            return [
                found
                for key, member in members.items()
                for found in leaves_of(member, f"{text}[{indices(sorts, key)}]")
            ]
        case Fields(fields):
            return [found for name, f in fields.items() for found in leaves_of(f, f"{text}.{name}" if text else name)]


@dataclass
class Vocabulary:
    """What the terms of a model are written with: variables, the families that they lie in, names of arguments."""

    model: Model
    shape: Fields
    ranks: Mapping[type, str]
    """By finite sort: the function from its members to their numbers, where members are compared by order."""
    arguments: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leaves = {
            cell.position: (found, key) for found in leaves_of(self.shape) for key, cell in found.cells().items()
        }
        self._after = {after_name(v): position for position, v in enumerate(self.model.variables)}

    def cell(self, term: Operand) -> tuple[int, bool] | None:
        """Which variable a term is the value of, and whether after the step."""
        if isinstance(term, Term):
            if term.operator is Operator.VARIABLE:
                return int(term.payload), False
            if term.operator is Operator.ARGUMENT and term.payload in self._after:
                return self._after[str(term.payload)], True
        return None

    def value(self, position: int, *, after: bool) -> Operand:
        """The term that `cell` recognises."""
        v = self.model.variables[position]
        return argument(after_name(v), v.sort) if after else variable(position, v.sort)

    def read(self, term: Term) -> "Read | None":
        """The read of a family that a chain of choices is, if it is exactly one."""
        if term.operator is not Operator.ITE:
            return None
        condition, then, _ = term.arguments
        found = self.cell(then)
        if found is None or found[0] not in self.leaves:
            return None
        position, after = found
        leaves, key = self.leaves[position]
        parts = equalities(condition)
        if parts is None:
            return None
        sorts = leaves.family.sorts
        for places in combinations(range(len(sorts)), len(parts)):
            chosen: list[Operand] = list(key)
            for at, part in zip(places, parts, strict=True):
                chosen[at] = part
            if all(part.sort is sorts[at] for at, part in zip(places, parts, strict=True)):
                read = Read(leaves, tuple(chosen), after)
                if self.staged(read) is term:
                    return read
        return None

    def staged(self, read: "Read") -> Operand:
        """The term that a read of a family is staged to."""
        value: Operand | None = None
        for key, cell in read.leaves.cells().items():
            condition = matches(read, key)
            if condition is not False:
                term = self.value(cell.position, after=read.after)
                value = term if value is None else choose(condition, term, value)
        assert value is not None
        return value


@dataclass(frozen=True, slots=True)
class Read:
    """A family at an index: constants and terms, one for each of its sorts."""

    leaves: Leaves
    index: tuple[Operand, ...]
    after: bool = False


def matches(read: Read, key: Key) -> Condition:
    """When the index of a read is a key of its family."""
    parts: list[Condition] = []
    for given, sort, member in zip(read.index, read.leaves.family.sorts, key, strict=True):
        parts.append(given == sort(member) if isinstance(given, Term) else int(given) == int(member))
    return all_of(*parts)


def equalities(condition: Operand) -> list[Term] | None:
    """The terms that a conjunction compares with constants; None where it says anything else."""
    found = []
    for part in conjuncts(condition):
        if not isinstance(part, Term) or part.operator is not Operator.EQUAL or isinstance(part.arguments[1], Term):
            return None
        assert isinstance(part.arguments[0], Term)
        found.append(part.arguments[0])
    return found


def conjuncts(condition: Operand) -> tuple[Operand, ...]:
    """The parts of a conjunction; one that is none is its own part."""
    if isinstance(condition, Term) and condition.operator is Operator.AND:
        return condition.arguments
    return (condition,)


class Writer:
    """Writes some terms that belong together, and the LET definitions that they share."""

    def __init__(self, words: Vocabulary, roots: Sequence[Operand]) -> None:
        self._words = words
        self.definitions: list[tuple[str, str]] = []
        self._named: set[int] = set()
        self._texts: dict[int, str] = {}
        self._reads: dict[int, Read | None] = {}
        self._kept: list[Term] = []
        uses: dict[int, int] = {}
        for term in self._ordered(roots, uses):
            text = self._text(term, None)
            shared = uses[id(term)] > 1 or len(text) > LENGTH_MAX
            if shared and not self._is_plain(term):
                name = f"t{len(self.definitions) + 1}"
                self.definitions.append((name, text))
                self._named.add(id(term))
                text = name
            self._texts[id(term)] = text

    def _ordered(self, roots: Sequence[Operand], uses: dict[int, int]) -> list[Term]:
        """All terms that are written, each once and before its users; counts how often each is used."""
        done: dict[int, Term] = {}
        stack: list[tuple[Term, bool]] = []
        for root in roots:
            if isinstance(root, Term):
                uses[id(root)] = uses.get(id(root), 0) + 1
                stack.insert(0, (root, False))
        while stack:
            term, expanded = stack.pop()
            if id(term) in done:
                continue
            parts = self._parts(term)
            if expanded:
                done[id(term)] = term
                continue
            stack.append((term, True))
            for part in parts[::-1]:
                uses[id(part)] = uses.get(id(part), 0) + 1
                if id(part) not in done:
                    stack.append((part, False))
        return list(done.values())

    def _parts(self, term: Term) -> list[Term]:
        """The terms that a term is written with."""
        if id(term) not in self._reads:
            self._reads[id(term)] = self._words.read(term)
            self._kept.append(term)
        read = self._reads[id(term)]
        return [a for a in (term.arguments if read is None else read.index) if isinstance(a, Term)]

    def _is_plain(self, term: Term) -> bool:
        """Whether a term is so short that no name is shorter."""
        return (
            self._words.cell(term) is not None
            or term.operator is Operator.ARGUMENT
            or self._reads.get(id(term)) is not None
            or (term.operator is Operator.EQUAL and not isinstance(term.arguments[1], Term))
        )

    def text(self, operand: Operand, sort: type = bool, *, old: Operand | None = None) -> str:
        """The expression of an operand among those given; `old` is written as `@`."""
        if not isinstance(operand, Term):
            return constant(sort, operand)
        if old is not None and operand is old:
            return "@"
        if old is None or id(operand) in self._named:
            return self._texts[id(operand)]
        return self._text(operand, old)

    def _text(self, term: Term, old: Operand | None) -> str:
        """How a term is written over the texts of its parts."""
        cell = self._words.cell(term)
        if cell is not None:
            return place(self._words.model.variables[cell[0]], after=cell[1])
        if term.operator is Operator.ARGUMENT:
            return self._words.arguments[str(term.payload)]
        read = self._reads[id(term)]
        if read is not None:
            given = ", ".join(
                self.text(index, sort, old=old)
                for index, sort in zip(read.index, read.leaves.family.sorts, strict=True)
            )
            return f"{primed(read.leaves.place) if read.after else read.leaves.place}[{given}]"
        return self._operation(term, old)

    def _operation(self, term: Term, old: Operand | None) -> str:
        arguments = term.arguments
        match term.operator:
            case Operator.NOT:
                inner = arguments[0]
                if isinstance(inner, Term) and inner.operator is Operator.EQUAL and self._is_inline(inner):
                    return f"({self._infix('#', inner, old)})"
                return f"~{self.text(inner, old=old)}"
            case Operator.ITE:
                condition, then, otherwise = arguments
                return (
                    f"(IF {self.text(condition, old=old)} THEN {self.text(then, term.sort, old=old)} "
                    f"ELSE {self.text(otherwise, term.sort, old=old)})"
                )
            case Operator.OR if (implication := self._implication(arguments, old)) is not None:
                return implication
            case Operator.LESS | Operator.AT_MOST if self._compared(term) is not int:
                rank = self._words.ranks[self._compared(term)]
                one, other = (f"{rank}[{self.text(a, self._compared(term), old=old)}]" for a in arguments)
                return f"({one} {_INFIX[term.operator]} {other})"
            case _:
                return f"({self._infix(_INFIX[term.operator], term, old)})"

    def _infix(self, symbol: str, term: Term, old: Operand | None) -> str:
        sort = self._compared(term)
        return f" {symbol} ".join(self.text(a, sort, old=old) for a in term.arguments)

    def _implication(self, parts: Sequence[Operand], old: Operand | None) -> str | None:
        """A disjunction with negated parts as the implication that it is."""
        negated = [p for p in parts if isinstance(p, Term) and p.operator is Operator.NOT and self._is_inline(p)]
        others = [p for p in parts if not any(p is n for n in negated)]
        if not negated or not others:
            return None
        premise = joined("/\\", [self.text(n.arguments[0], old=old) for n in negated])
        conclusion = joined("\\/", [self.text(o, old=old) for o in others])
        return f"({premise} => {conclusion})"

    def _is_inline(self, term: Term) -> bool:
        """Whether a term has no name of its own."""
        return id(term) not in self._named

    @staticmethod
    def _compared(term: Term) -> type:
        """The sort of an operation's arguments."""
        return next((a.sort for a in term.arguments if isinstance(a, Term)), int)


def primed(text: str) -> str:
    """A place in the state after the step: the prime stands behind the variable's name."""
    for at, letter in enumerate(text):
        if letter in ".[":
            return f"{text[:at]}'{text[at:]}"
    return f"{text}'"


def bare(text: str) -> str:
    """The expression without the parentheses around the whole of it, for a place that bounds it anyway.

    >>> bare("(a + (b * c))"), bare("(a) + (b)")
    ('a + (b * c)', '(a) + (b)')
    """
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[1:-1] if at == len(text) - 1 and letter == ")" else text
    return text


def joined(symbol: str, parts: Sequence[str]) -> str:
    """A conjunction or disjunction of these texts, one that stands for itself where it is alone."""
    return parts[0] if len(parts) == 1 else f"({f' {symbol} '.join(parts)})"
