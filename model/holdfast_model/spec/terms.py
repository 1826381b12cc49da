"""Terms: what an action's text becomes when it runs on symbols. The one form that every checker starts from.

Terms are hash-consed (equal terms are one object), so sharing is visible to the code generator, and a property
that an action does not touch is recognised by identity. Constants are plain ints and bools. Every operation
folds constants and applies a few local rules; none of them depends on anything but its arguments. On plain ints
the functions here (`ite`, `minimum`, `implies`, ...) compute the value: that is how a spec is interpreted.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from holdfast_model.spec.location import refuse
from holdfast_model.spec.sorts import Enumeration, Index, Loop, Table


class Operator(Enum):
    """What a term does with its arguments."""

    VARIABLE = auto()
    """A variable of the state before the step; `payload` is its position."""
    ARGUMENT = auto()
    """A number that the action chooses; `payload` is its name."""
    ADD = auto()
    SUBTRACT = auto()
    MULTIPLY = auto()
    LESS = auto()
    AT_MOST = auto()
    EQUAL = auto()
    NOT = auto()
    AND = auto()
    OR = auto()
    ITE = auto()
    AT = auto()
    """The number that a table has for a member."""
    STORE = auto()
    """A table with another number for one member."""
    EVERYWHERE = auto()
    """The table with one number for all members."""
    SUM = auto()
    """The sum of a table."""


class Term:
    """A node: operator, arguments (terms or constants), sort (`int`, `bool` or a finite sort)."""

    __slots__ = ("__weakref__", "arguments", "operator", "payload", "sort")

    operator: Final[Operator]
    arguments: Final["tuple[Operand, ...]"]
    payload: Final[int | str]
    sort: Final[type]

    def __init__(self, operator: Operator, arguments: "tuple[Operand, ...]", payload: int | str, sort: type) -> None:
        self.operator = operator
        self.arguments = arguments
        self.payload = payload
        self.sort = sort

    __hash__ = object.__hash__

    def __bool__(self) -> bool:  # noqa: PLE0304 - only raises
        refuse(
            "a symbolic value was used as a Python truth value (if, and, or, not, in, a chained comparison); "
            "expected `self.when(condition)`, `ite`, `all_of`, `any_of` or `negation`"
        )

    def __index__(self) -> int:  # noqa: PLE0305 - only raises
        refuse("a symbolic value was used as a Python integer; loop over the sort and compare with `self.when`")

    def __repr__(self) -> str:
        if self.operator is Operator.VARIABLE or self.operator is Operator.ARGUMENT:
            return f"${self.payload}"
        return f"{self.operator.name.lower()}({', '.join(map(repr, self.arguments))})"

    def __eq__(self, other: object) -> "Formula":  # type: ignore[override]  # equality of terms is a term
        return _equal(self, _operand(other))

    def __ne__(self, other: object) -> "Formula":  # type: ignore[override]  # as above
        return _formula(negation(_equal(self, _operand(other))))


class Formula(Term):
    """A symbolic truth value. In an interpreted spec a plain bool stands in its place."""

    __slots__ = ()

    __hash__ = Term.__hash__

    def __and__(self, other: "Condition") -> "Formula":
        return _formula(all_of(self, other))

    def __or__(self, other: "Condition") -> "Formula":
        return _formula(any_of(self, other))

    __rand__ = __and__
    __ror__ = __or__


class Number(Term):
    """A symbolic integer or member of a finite sort. In an interpreted spec a plain int stands in its place."""

    __slots__ = ()

    __hash__ = Term.__hash__

    def __add__(self, other: "Number | int") -> "Number":
        return _number(_arithmetic(Operator.ADD, self, other))

    def __radd__(self, other: "Number | int") -> "Number":
        return _number(_arithmetic(Operator.ADD, other, self))

    def __sub__(self, other: "Number | int") -> "Number":
        return _number(_arithmetic(Operator.SUBTRACT, self, other))

    def __rsub__(self, other: "Number | int") -> "Number":
        return _number(_arithmetic(Operator.SUBTRACT, other, self))

    def __mul__(self, other: "Number | int") -> "Number":
        return _number(_arithmetic(Operator.MULTIPLY, self, other))

    def __rmul__(self, other: "Number | int") -> "Number":
        return _number(_arithmetic(Operator.MULTIPLY, other, self))

    def __neg__(self) -> "Number":
        return _number(_arithmetic(Operator.SUBTRACT, 0, self))

    def __lt__(self, other: "Number | int") -> Formula:
        return _formula(_ordered(Operator.LESS, self, other))

    def __le__(self, other: "Number | int") -> Formula:
        return _formula(_ordered(Operator.AT_MOST, self, other))

    def __gt__(self, other: "Number | int") -> Formula:
        return _formula(_ordered(Operator.LESS, other, self))

    def __ge__(self, other: "Number | int") -> Formula:
        return _formula(_ordered(Operator.AT_MOST, other, self))

    def __floordiv__(self, other: object) -> "Number":
        refuse("division is not part of the language; state the quotient and the remainder with a multiplication")

    __truediv__ = __mod__ = __pow__ = __floordiv__


Operand: TypeAlias = Term | int
Condition: TypeAlias = Formula | bool
Value: TypeAlias = Number | int

_interned: "WeakValueDictionary[tuple[object, ...], Term]" = WeakValueDictionary()


def _make(operator: Operator, arguments: tuple[Operand, ...], sort: type, payload: int | str = "") -> Term:
    # The identity of an argument is a safe key: while the entry lives its term lives, and with it the arguments.
    key = (operator, payload, sort, *((id(a),) if isinstance(a, Term) else (int(a), "c") for a in arguments))
    term = _interned.get(key)
    if term is None:
        term = (Formula if sort is bool else Number)(operator, arguments, payload, sort)
        _interned[key] = term
    return term


def variable(position: int, sort: type) -> Term:
    """The value, before the step, of the variable at this position of the state."""
    return _make(Operator.VARIABLE, (), sort, position)


def argument(name: str, sort: type = int) -> Number:
    """An argument of an action, an integer if nothing else is said."""
    return _number(_make(Operator.ARGUMENT, (), sort, name))


def any_member(sort: type, number: int = 1) -> Operand:
    """The member of an unbounded sort for which a property is stated: what holds for it holds for all."""
    return argument(f"any {sort.__name__} {number}", sort)


_kept_whole: ContextVar[bool] = ContextVar("kept_whole", default=False)


@contextmanager
def choices_kept_whole() -> Iterator[None]:
    """Within this context a comparison of a choice with a constant is not drawn into the choice.

    A prover that knows what a choice comes down to then finds it again wherever it is compared.
    """
    token = _kept_whole.set(True)
    try:
        yield
    finally:
        _kept_whole.reset(token)


def sort_of(value: Operand) -> type:
    """The sort of a term or constant: `int`, `bool`, or the finite sort that it is a member of."""
    if isinstance(value, Term):
        return value.sort
    if isinstance(value, bool | Enumeration | Index):
        return type(value)
    return int


def same(one: Operand, other: Operand) -> bool:
    """Whether two values are the same term or the same constant."""
    if isinstance(one, Term) or isinstance(other, Term):
        return one is other
    return one == other


def _operand(value: object) -> Operand:
    if not isinstance(value, Term | int):
        refuse(f"found {value!r}; expected a number, a truth value or a member of a sort")
    return value


# A result may fold to a constant although the static type says "term": in a spec the two are used alike.
def _number(value: Operand) -> Number:
    return value  # type: ignore[return-value]  # see above


def _formula(value: Operand) -> Formula:
    return value  # type: ignore[return-value]  # see above


def _arithmetic(operator: Operator, one: Operand, other: Operand) -> Operand:
    for value in (one, other):
        if sort_of(_operand(value)) is bool or (isinstance(value, Term) and value.sort is not int):
            refuse(f"arithmetic on a value of sort {sort_of(value).__name__}; expected a number")
    if not isinstance(one, Term) and not isinstance(other, Term):
        match operator:
            case Operator.ADD:
                return int(one) + int(other)
            case Operator.SUBTRACT:
                return int(one) - int(other)
            case _:
                return int(one) * int(other)
    if not isinstance(other, Term) and int(other) == 0:
        return 0 if operator is Operator.MULTIPLY else one
    if operator is Operator.ADD and not isinstance(one, Term) and int(one) == 0:
        return other
    if operator is Operator.SUBTRACT and one is other:
        return 0
    if operator is Operator.MULTIPLY:
        for constant, term in ((one, other), (other, one)):
            if not isinstance(constant, Term) and int(constant) in {0, 1}:
                return term if int(constant) else 0
    return _make(operator, (one, other), int)


def _comparable(one: Operand, other: Operand) -> None:
    left, right = sort_of(one), sort_of(other)
    if left is not right:
        refuse(f"a {left.__name__} is compared with a {right.__name__}; expected two values of one sort")


def _ordered(operator: Operator, one: Operand, other: Operand) -> Operand:
    _comparable(_operand(one), _operand(other))
    if not isinstance(one, Term) and not isinstance(other, Term):
        return one < other if operator is Operator.LESS else one <= other
    if one is other:
        return operator is Operator.AT_MOST
    return _make(operator, (one, other), bool)


def _equal(one: Operand, other: Operand) -> Formula:
    _comparable(one, other)
    if not isinstance(other, Term) and not isinstance(one, Term):
        return _formula(int(one) == int(other))
    if one is other:
        return _formula(True)  # noqa: FBT003 - a constant of the term language
    if not isinstance(one, Term):
        one, other = other, one
    assert isinstance(one, Term)
    if one.sort is bool and not isinstance(other, Term):
        return _formula(one if other else negation(_formula(one)))
    if one.operator is Operator.ITE and not isinstance(other, Term) and not _kept_whole.get():
        condition, then, otherwise = one.arguments
        if not isinstance(then, Term) or not isinstance(otherwise, Term):
            assert isinstance(condition, Formula)
            return _formula(_ite(condition, _equal(then, other), _equal(otherwise, other)))
    return _formula(_make(Operator.EQUAL, (one, other), bool))


def negation(condition: Condition) -> Condition:
    """Not `condition`."""
    if not isinstance(condition, Term):
        return not condition
    if condition.operator is Operator.NOT:
        return _formula(condition.arguments[0])
    if condition.operator is Operator.LESS:
        return _formula(_make(Operator.AT_MOST, condition.arguments[::-1], bool))
    if condition.operator is Operator.AT_MOST:
        return _formula(_make(Operator.LESS, condition.arguments[::-1], bool))
    return _formula(_make(Operator.NOT, (condition,), bool))


def all_of(*conditions: Condition) -> Condition:
    """True when every condition is; true when there is none."""
    return _junction(Operator.AND, conditions)


def any_of(*conditions: Condition) -> Condition:
    """True when at least one condition is."""
    return _junction(Operator.OR, conditions)


def _junction(operator: Operator, conditions: Iterable[Condition]) -> Condition:
    absorbing = operator is Operator.OR
    parts: dict[int, Formula] = {}
    pinned: dict[int, int] = {}
    pending = list(conditions)[::-1]
    while pending:
        part = pending.pop()
        if not isinstance(part, Term):
            if not isinstance(part, bool):
                refuse(f"found {part!r}; expected a condition")
            if part is absorbing:
                return absorbing
            continue
        if part.sort is not bool:
            refuse(f"found a value of sort {part.sort.__name__}; expected a condition")
        if part.operator is operator:
            pending.extend(_formula(argument) for argument in part.arguments[::-1])
            continue
        opposite = negation(part)
        if isinstance(opposite, Term) and id(opposite) in parts:
            return absorbing
        if operator is Operator.AND and part.operator is Operator.EQUAL:
            subject, value = part.arguments
            if not isinstance(value, Term) and pinned.setdefault(id(subject), int(value)) != int(value):
                return False
        parts[id(part)] = part
    if not parts:
        return not absorbing
    if len(parts) == 1:
        return next(iter(parts.values()))
    return _formula(_make(operator, tuple(parts.values()), bool))


def implies(condition: Condition, consequence: Condition) -> Condition:
    """`consequence`, wherever `condition` is true."""
    return any_of(negation(condition), consequence)


def ite(condition: Condition, then: Value, otherwise: Value) -> Number:
    """`then` where `condition` is true, else `otherwise`; of one sort. Both are always evaluated.

    >>> ite(1 < 2, 10, 20)
    10
    """
    return _number(choose(condition, then, otherwise))


def choose(condition: Condition, then: Operand, otherwise: Operand) -> Operand:
    """As `ite`, for values whose sort is not known statically."""
    if not isinstance(condition, Term):
        return then if condition else otherwise
    if same(then, otherwise):
        return then
    left, right = sort_of(then), sort_of(otherwise)
    if left is not right:
        refuse(f"`ite` between a {left.__name__} and a {right.__name__}; expected two values of one sort")
    return _ite(condition, then, otherwise)


def _ite(condition: Formula, then: Operand, otherwise: Operand) -> Operand:
    if condition.operator is Operator.NOT:
        inner = condition.arguments[0]
        assert isinstance(inner, Formula)
        condition, then, otherwise = inner, otherwise, then
    if isinstance(then, Term) and then.operator is Operator.ITE and then.arguments[0] is condition:
        then = then.arguments[1]
    if isinstance(otherwise, Term) and otherwise.operator is Operator.ITE:
        if otherwise.arguments[0] is condition:
            otherwise = otherwise.arguments[2]
        elif same(otherwise.arguments[1], then):
            either = any_of(condition, _formula(otherwise.arguments[0]))
            return choose(either, then, otherwise.arguments[2])
    if same(then, otherwise):
        return then
    sort = sort_of(then)
    if sort is bool:
        if not isinstance(then, Term):
            return (
                any_of(condition, _formula(otherwise)) if then else all_of(negation(condition), _formula(otherwise))
            )
        if not isinstance(otherwise, Term):
            return any_of(negation(condition), _formula(then)) if otherwise else all_of(condition, _formula(then))
    return _make(Operator.ITE, (condition, then, otherwise), sort)


def minimum(one: Value, other: Value) -> Number:
    """The smaller of two numbers.

    >>> minimum(3, 2)
    2
    """
    return ite(one <= other, one, other)


def maximum(one: Value, other: Value) -> Number:
    """The larger of two numbers."""
    return ite(one <= other, other, one)


def forall(conditions: Iterable[Condition]) -> Condition:
    """True when all are: `forall(self.free[account] >= 0 for account in Account)`."""
    return all_of(*conditions)


def exists(conditions: Iterable[Condition]) -> Condition:
    """True when at least one is."""
    return any_of(*conditions)


def total(numbers: Iterable[Value]) -> Number:
    """The sum of numbers: `total(self.free[account] for account in Account)`."""
    result: Value = 0
    started = Loop.started
    frame = getattr(numbers, "gi_frame", None)
    outermost = frame.f_locals.get(".0") if frame is not None else None
    mine = {outermost.number} if isinstance(outermost, Loop) else set()
    for number in numbers:
        # Of an unbounded sort one member stands for all. A loop around the sum is not the sum's own.
        loops = mine | {n for n in Loop.unsummed if n > started}
        if len(loops) > 1:
            refuse("a sum over two sorts that have any number of members")
        addend: Value = number
        for loop in loops:
            addend = _summed_over(number, loop)
        result = result + addend
        mine = loops
    Loop.unsummed -= mine
    return _number(result)


def at(table: Operand, index: Operand) -> Operand:
    """The number that a table has for a member.

    For the member that stands for all it stays with the table, so that a sum can find the table again.
    """
    if isinstance(table, Term) and not _is_each(index, None):
        match table.operator:
            case Operator.STORE:
                inner, changed, value = table.arguments
                equal = changed == index if isinstance(changed, Term) else index == changed
                return choose(_formula(equal), value, at(inner, index))
            case Operator.ITE:
                condition, then, otherwise = table.arguments
                return choose(_formula(condition), at(then, index), at(otherwise, index))
            case Operator.EVERYWHERE:
                return table.arguments[0]
            case _:
                pass
    return _make(Operator.AT, (table, index), int)


def stored(table: Operand, index: Operand, value: Operand) -> Operand:
    """The table with another number for one member."""
    if same(value, at(table, index)):
        return table
    return _make(Operator.STORE, (table, index, value), Table)


def everywhere(value: Operand) -> Operand:
    """The table that has one number for every member."""
    return _make(Operator.EVERYWHERE, (value,), Table)


def summed(table: Operand) -> Operand:
    """The sum of a table; with another number for one member it differs by what that number differs.

    The prover proves this law by induction on the number of members before it relies on it.
    """
    if isinstance(table, Term):
        match table.operator:
            case Operator.STORE:
                inner, index, value = table.arguments
                less = _arithmetic(Operator.SUBTRACT, summed(inner), at(inner, index))
                return _arithmetic(Operator.ADD, less, value)
            case Operator.ITE:
                condition, then, otherwise = table.arguments
                return choose(_formula(condition), summed(then), summed(otherwise))
            case Operator.EVERYWHERE:
                if not same(table.arguments[0], 0):
                    refuse("the sum over any number of members of a number other than 0 is no number")
                return 0
            case _:
                pass
    return _make(Operator.SUM, (table,), int)


def each(sort: type, loop: int) -> Number:
    """The member that stands for all of an unbounded sort in a loop over it."""
    return argument(f"each {sort.__name__} {loop}", sort)


Loop.member = each


def speaks_of_each(operand: Operand, loop: int | None = None) -> bool:
    """Whether an operand depends on a member that stands for all: that of one loop, or of any."""
    return any(_is_each(term, loop) for term in walk([operand]))


def _is_each(operand: Operand, loop: int | None) -> bool:
    if not isinstance(operand, Term) or operand.operator is not Operator.ARGUMENT:
        return False
    name = str(operand.payload)
    start = f"each {operand.sort.__name__} "
    return name.startswith(start) and (loop is None or name == f"{start}{loop}")


def _summed_over(number: Operand, loop: int) -> Value:
    """The sum of a number over all members of a loop: of tables alone, added or multiplied by constants."""
    if isinstance(number, Term):
        if number.operator is Operator.AT and _is_each(number.arguments[1], loop):
            if not speaks_of_each(number.arguments[0], loop):
                return _number(summed(number.arguments[0]))
        elif number.operator in (Operator.ADD, Operator.SUBTRACT):
            one, other = (_summed_over(argument, loop) for argument in number.arguments)
            return _number(_arithmetic(number.operator, one, other))
        elif number.operator is Operator.MULTIPLY and not speaks_of_each(number.arguments[0], loop):
            factor, summand = number.arguments
            return _number(_arithmetic(Operator.MULTIPLY, factor, _summed_over(summand, loop)))
        elif number.operator is Operator.ITE and not speaks_of_each(number.arguments[0], loop):
            condition, then, otherwise = number.arguments
            return ite(_formula(condition), _summed_over(then, loop), _summed_over(otherwise, loop))
        elif (of_one := _of_one_member(number, loop)) is not None:
            return of_one
    if not isinstance(number, Term) and number == 0:
        return 0
    return refuse(f"a sum over any number of members of something other than their balances: {str(number)[:80]}")


def _of_one_member(number: Term, loop: int) -> Value | None:
    """The sum of a number that is 0 for all members but the one that a value names: that number.

    The prover proves this law, too, before it relies on it.
    """
    if number.operator is not Operator.ITE or number.arguments[2] != 0 or isinstance(number.arguments[2], Term):
        return None
    condition, then, _ = number.arguments
    assert isinstance(condition, Term)
    parts = condition.arguments if condition.operator is Operator.AND else (condition,)
    about = [part for part in parts if speaks_of_each(part, loop)]
    if len(about) != 1 or speaks_of_each(then, loop):
        return None
    (names,) = about
    if not isinstance(names, Term) or names.operator is not Operator.EQUAL:
        return None
    named = [argument for argument in names.arguments if not _is_each(argument, loop)]
    if len(named) != 1 or speaks_of_each(named[0], loop):
        return None
    rest = [_formula(part) for part in parts if part is not names]
    return ite(all_of(*rest), _number(then), 0)


def summed_over(number: Operand, loop: int) -> Value:
    """The sum of a number over all members of a loop, as `total` makes it."""
    return _summed_over(number, loop)


def walk(roots: Iterable[Operand]) -> list[Term]:
    """All terms under `roots`, each once, arguments before their users."""
    done: dict[int, Term] = {}
    stack: list[tuple[Term, bool]] = [(root, False) for root in roots if isinstance(root, Term)][::-1]
    while stack:
        term, expanded = stack.pop()
        if id(term) in done:
            continue
        if expanded:
            done[id(term)] = term
            continue
        stack.append((term, True))
        stack.extend((a, False) for a in term.arguments[::-1] if isinstance(a, Term) and id(a) not in done)
    return list(done.values())


def substitute(root: Operand, values: "dict[int, Operand]", *, memo: "dict[int, Operand]") -> Operand:
    """`root` with the variable at position p replaced by `values[p]`; `memo` shares work between calls."""
    if not isinstance(root, Term):
        return root
    stack = [root]
    while stack:
        term = stack[-1]
        if id(term) in memo:
            stack.pop()
            continue
        waiting = [a for a in term.arguments[::-1] if isinstance(a, Term) and id(a) not in memo]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if term.operator is Operator.VARIABLE:
            assert isinstance(term.payload, int)
            memo[id(term)] = values.get(term.payload, term)
            continue
        arguments = tuple(memo[id(a)] if isinstance(a, Term) else a for a in term.arguments)
        changed = any(new is not old for new, old in zip(arguments, term.arguments, strict=True))
        memo[id(term)] = rebuild(term, arguments) if changed else term
    return memo[id(root)]


def rebuild(term: Term, arguments: tuple[Operand, ...]) -> Operand:
    """The term's operation applied to other arguments, folded again."""
    match term.operator:
        case Operator.VARIABLE | Operator.ARGUMENT:
            return term
        case Operator.ADD | Operator.SUBTRACT | Operator.MULTIPLY:
            return _arithmetic(term.operator, *arguments)
        case Operator.AT:
            return at(*arguments)
        case Operator.STORE:
            return stored(*arguments)
        case Operator.EVERYWHERE:
            return everywhere(arguments[0])
        case Operator.SUM:
            return summed(arguments[0])
        case Operator.LESS | Operator.AT_MOST:
            return _ordered(term.operator, *arguments)
        case Operator.EQUAL:
            return _equal(*arguments)
        case Operator.NOT:
            return negation(_formula(arguments[0]))
        case Operator.AND | Operator.OR:
            return _junction(term.operator, [_formula(a) for a in arguments])
        case Operator.ITE:
            return choose(_formula(arguments[0]), arguments[1], arguments[2])
