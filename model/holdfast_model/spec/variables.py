"""Declarations of variables (`Nat`, `Int`, `Bool`, `Enum`, families, records) and their values in a running spec.

A state is a flat list of cells, one per variable instance. A scope (a spec or a record) is a view of some of them.
The same view works on terms and on plain ints: a conditional write is `choose(condition, new, old)` in both.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import product
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar, overload

from holdfast_model.spec.location import here, refuse
from holdfast_model.spec.sorts import (
    UNBOUNDED,
    Enumeration,
    Finite,
    Index,
    Loop,
    Table,
    is_unbounded,
    members,
    printed,
    size_of,
)
from holdfast_model.spec.terms import (
    Condition,
    Formula,
    Number,
    Operand,
    Term,
    Value,
    all_of,
    any_member,
    at,
    choose,
    everywhere,
    implies,
    sort_of,
    speaks_of_each,
    stored,
)

Kind = TypeVar("Kind", Number, Formula)
RecordType = TypeVar("RecordType", bound="Record")
Narrower_co = TypeVar("Narrower_co", bound="Record", covariant=True)
Member = TypeVar("Member", bound=Index | Enumeration)
Limit: TypeAlias = int | Callable[[Any], int]
Initial: TypeAlias = int | Callable[..., int]
Path: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Where a variable lies: each field from the outermost in, with the members of sorts that index it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One cell of the state: its printed name, sort, range and first value.

    `least` and `greatest` are None where the declaration sets no limit. Finite sorts and bools always have both.
    A `ghost` only records what happened, for properties to speak of: no guard and no other variable depends on it,
    so no engine needs to have it.
    """

    name: str
    sort: type
    least: int | None
    greatest: int | None
    initial: int
    declared_at: str
    ghost: bool = False
    least_is_meant: bool = True
    """Whether `least` holds in every checker, and not only where a search stops."""
    path: Path = ()
    """What `name` prints: `live.free[u1, b]` is the field `free` of `live`, indexed with `u1` and `b`."""

    def printed(self, value: int) -> str:
        """The value as traces show it."""
        return printed(self.sort, value)


@dataclass
class Run:
    """What a running action shares between its scopes: guard, limits of the search, conditions of open `when`s."""

    symbolic: bool
    may_require: bool
    exploring: bool = False
    guard: list[Condition] = field(default_factory=list)
    limits: list[Condition] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    records: dict[tuple[object, ...], tuple[type, list[Operand], object]] = field(default_factory=dict)
    """What the methods under `made_once` made, by what they read; with each entry, what keeps its key unique."""


class Disabled(Exception):  # noqa: N818 - not an error: the action cannot be taken in this state
    """The guard of an interpreted action is false."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields of a scope lie: offset of each, how many cells in all, and the variables in order."""

    offsets: Mapping[str, int]
    variables: tuple[Variable, ...]


class _Field:
    """A declared member of a scope."""

    name: str
    declared_at: str

    def bound(self, name: str) -> Self:
        """A copy of this declaration under a name (one declaration object may serve several fields)."""
        duplicate = copy(self)
        duplicate.name = name
        return duplicate

    def variables(self, scope: "Scope") -> list[Variable]:
        """The cells that this field takes, in order."""
        raise NotImplementedError


class Declaration(_Field, Generic[Kind]):
    """A variable: `Nat`, `Int`, `Bool` or `Enum(sort)`, refined by `upto`, `between`, `starting` and `per`."""

    def __init__(
        self, sort: type, *, least: Limit | None = None, greatest: Limit | None = None, initial: Initial = 0
    ) -> None:
        self.sort = sort
        self.least = least
        self.greatest = greatest
        self.initial = initial
        self.is_ghost = False
        self.least_is_meant = True
        self.name = ""
        self.declared_at = here()

    def _refined(self, **changes: object) -> Self:
        refined = copy(self)
        refined.__dict__.update(declared_at=here(), **changes)
        return refined

    def upto(self, greatest: Limit) -> Self:
        """The same, never above `greatest`: a number or a function of the spec. `explore` reports what leaves it."""
        return self._refined(greatest=greatest)

    def between(self, least: Limit, greatest: Limit) -> Self:
        """The same, never below `least` nor above `greatest`."""
        return self._refined(least=least, greatest=greatest)

    def explored_between(self, least: Limit, greatest: Limit) -> Self:
        """The same, within these limits in a search only: a proof assumes nothing of them."""
        return self._refined(least=least, greatest=greatest, least_is_meant=False)

    def starting(self, initial: Initial) -> Self:
        """The same with another first value: a number, or for a family a function of its indices."""
        return self._refined(initial=initial)

    def ghost(self) -> Self:
        """The same, as a record of what happened: neither a guard nor another variable may depend on it."""
        return self._refined(is_ghost=True)

    def per(self, *sorts: Finite) -> "FamilyDeclaration[Kind]":
        """One such variable for each member of a sort, or each combination of members of several."""
        return FamilyDeclaration(self, sorts)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: "Scope", owner: type) -> Kind: ...
    def __get__(self, instance: "Scope | None", owner: type) -> Self | Operand:
        if instance is None:
            return self
        return instance.read(instance.offset_of(self.name), self.sort)

    def __set__(self, instance: "Scope", value: Kind | int) -> None:
        instance.write(instance.offset_of(self.name), value, sort=self.sort, condition=True)

    def one(self, scope: "Scope", suffix: str, indices: tuple[int, ...]) -> Variable:
        """The variable with these indices."""
        name = f"{self.name}{suffix}"

        def limit(given: Limit | None) -> int | None:
            return given(scope.root) if callable(given) else given

        least, greatest = limit(self.least), limit(self.greatest)
        if issubclass(self.sort, bool):
            least, greatest = 0, 1
        elif is_unbounded(self.sort):
            least = 0
        elif issubclass(self.sort, Index | Enumeration):
            least, greatest = 0, size_of(self.sort) - 1
        initial = self.initial(*indices) if callable(self.initial) else self.initial
        if (least is not None and initial < least) or (greatest is not None and initial > greatest):
            refuse(f"{name} starts at {initial}; expected a value within {least}..{greatest}")
        return Variable(
            name,
            self.sort,
            least,
            greatest,
            int(initial),
            self.declared_at,
            self.is_ghost,
            self.least_is_meant,
            ((self.name, indices),),
        )

    def variables(self, scope: "Scope") -> list[Variable]:
        """The one cell."""
        return [self.one(scope, "", ())]


class FamilyDeclaration(_Field, Generic[Kind]):
    """Variables of one kind, one for each combination of indices."""

    def __init__(self, member: Declaration[Kind], sorts: tuple[Finite, ...]) -> None:
        self.member: Declaration[Kind] = member
        self.sorts = sorts
        self.name = ""
        self.declared_at = here()
        if not sorts:
            refuse("`per` needs at least one sort")

    def starting(self, initial: Initial) -> "FamilyDeclaration[Kind]":
        """The same family with other first values: one number for all, or a function of the indices."""
        return FamilyDeclaration(self.member.starting(initial), self.sorts)

    def ghost(self) -> "FamilyDeclaration[Kind]":
        """The same family as a record of what happened."""
        return FamilyDeclaration(self.member.ghost(), self.sorts)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: "Scope", owner: type) -> "Family[Kind]": ...
    def __get__(self, instance: "Scope | None", owner: type) -> "Self | Family[Kind]":
        if instance is None:
            return self
        return Family(instance, self, instance.offset_of(self.name))

    def __set__(self, instance: "Scope", value: object) -> None:
        refuse(f"`{self.name}` is a family and was assigned as a whole; expected `{self.name}[index] = value`")

    def variables(self, scope: "Scope") -> list[Variable]:
        """All cells, the last index running fastest."""
        member: Declaration[Kind] = self.member.bound(self.name)
        if any(is_unbounded(sort) for sort in self.sorts):
            return self._tables(scope, member)
        return [
            member.one(scope, f"[{', '.join(map(str, indices))}]", indices)
            for indices in product(*(members(sort) for sort in self.sorts))
        ]

    def _tables(self, scope: "Scope", member: Declaration[Kind]) -> list[Variable]:
        """One table for each combination of the other indices, in the places of the cells."""
        if member.sort is not int or sum(is_unbounded(sort) for sort in self.sorts) > 1:
            refuse(f"`{self.name}` is no family of numbers by one unbounded sort")
        found = []
        for indices in product(*([Loop.member(s, 0)] if is_unbounded(s) else members(s) for s in self.sorts)):
            shown = ", ".join("*" if is_unbounded(s) else str(i) for s, i in zip(self.sorts, indices, strict=True))
            cell = member.one(scope, f"[{shown}]", indices)
            found.append(replace(cell, sort=Table))
        return found


class Family(Generic[Kind]):
    """A family in a running spec: `free[account, asset]`, where an index may itself be a variable's value."""

    __slots__ = ("_by", "_declaration", "_offset", "_scope", "_sizes")

    def __init__(self, scope: "Scope", declaration: FamilyDeclaration[Kind], offset: int) -> None:
        self._scope = scope
        self._declaration: FamilyDeclaration[Kind] = declaration
        self._offset = offset
        self._sizes = [1 if is_unbounded(sort) else size_of(sort) for sort in declaration.sorts]
        self._by = next((place for place, sort in enumerate(declaration.sorts) if is_unbounded(sort)), None)

    def _places(self, key: object) -> Iterator[tuple[Condition, int]]:
        """Each cell that `key` may mean, with the condition under which it does."""
        indices = key if isinstance(key, tuple) else (key,)
        sorts = self._declaration.sorts
        name = self._declaration.name
        if len(indices) != len(sorts):
            refuse(
                f"`{name}` has {len(sorts)} indices ({', '.join(s.__name__ for s in sorts)}); found {len(indices)}"
            )
        ways: list[list[tuple[Condition, int]]] = []
        for index, sort, size in zip(indices, sorts, self._sizes, strict=True):
            if isinstance(index, Term):
                if index.sort is not sort:
                    refuse(f"`{name}` is indexed with a {index.sort.__name__}; expected a {sort.__name__}")
                if is_unbounded(sort):
                    ways.append([(True, 0)])
                    continue
                ways.append([(index == member, int(member)) for member in members(sort)])
            elif isinstance(index, int):
                if isinstance(index, Index | Enumeration) and type(index) is not sort:
                    refuse(f"`{name}` is indexed with a {type(index).__name__}; expected a {sort.__name__}")
                if not 0 <= index < size:
                    refuse(f"`{name}` has no index {int(index)}; expected a {sort.__name__} (0..{size - 1})")
                ways.append([(True, int(index))])
            else:
                refuse(f"`{name}` is indexed with {index!r}; expected a {sort.__name__}")
        for way in product(*ways):
            position = 0
            for (_, index), size in zip(way, self._sizes, strict=True):
                position = position * size + index
            condition = all_of(*(condition for condition, _ in way))
            if condition is not False:
                yield condition, self._offset + position

    def _index(self, key: object) -> Operand:
        """Which member of the unbounded sort a key names."""
        assert self._by is not None
        index: Operand = key[self._by] if isinstance(key, tuple) else key  # type: ignore[assignment]  # checked before
        return index

    def __getitem__(self, key: object) -> Kind:
        sort = self._declaration.member.sort if self._by is None else Table
        value: Operand | None = None
        for condition, position in self._places(key):
            cell = self._scope.read(position, sort)
            value = cell if value is None else choose(condition, cell, value)
        assert value is not None
        if self._by is not None:
            value = at(value, self._index(key))
        return value  # type: ignore[return-value]  # a plain int stands in for a term when interpreting

    def __setitem__(self, key: object, value: Kind | int) -> None:
        for condition, position in self._places(key):
            if self._by is None:
                self._scope.write(position, value, sort=self._declaration.member.sort, condition=condition)
            else:
                self._scope.write_at(position, self._index(key), value, condition=condition)

    def equals(self, other: Self, *fixed: Operand) -> Condition:
        """True when everything is as in the same family of another record: `one.held.equals(other.held, asset)`.

        Of the sorts of the family, those that `fixed` has an index of are held to it. Families over an unbounded
        sort are compared whole, which no loop over its members can do.
        """
        mine, theirs = self._declaration, other._declaration
        if mine is not theirs:
            refuse(f"`{mine.name}` is compared with `{theirs.name}`; expected the same family of another record")
        given = {sort_of(index): index for index in fixed}
        if unknown := [sort.__name__ for sort in given if sort not in mine.sorts]:
            refuse(f"`{mine.name}` is held to a {unknown[0]}; it is by {', '.join(s.__name__ for s in mine.sorts)}")
        keys = product(
            *(
                [given[sort]] if sort in given else [sort(0)] if is_unbounded(sort) else members(sort)
                for sort in mine.sorts
            )
        )
        cell = mine.member.sort if self._by is None else Table
        return all_of(
            *(
                implies(condition, self._scope.read(one, cell) == other._scope.read(another, cell))
                for key in keys
                for (condition, one), (_, another) in zip(self._places(key), other._places(key), strict=True)
            )
        )


class _When:
    """The `with` block in which updates happen only where a condition holds."""

    __slots__ = ("_condition", "_run")

    def __init__(self, run: Run, condition: Condition) -> None:
        self._run = run
        self._condition = condition

    def __enter__(self) -> None:
        self._run.conditions.append(self._condition)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run.conditions.pop()


class Scope:
    """A view of consecutive cells of a state, with the declared fields as attributes."""

    _fields: "ClassVar[Mapping[str, _Field]]" = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        fields: dict[str, _Field] = {}
        for base in cls.__mro__[:0:-1]:
            fields.update({name: value for name, value in vars(base).items() if isinstance(value, _Field)})
        for name, value in list(vars(cls).items()):
            if isinstance(value, _Field):
                fields[name] = value.bound(name)
                setattr(cls, name, fields[name])
        cls._fields = fields

    def _attach(self, *, run: Run, cells: list[Operand], base: int, root: "Scope") -> None:
        self.__dict__.update(_run=run, _cells=cells, _base=base, root=root)

    @property
    def layouts(self) -> dict[type, Layout]:
        """The layouts computed so far, by scope class; the root scope keeps them."""
        known: dict[type, Layout] = self.root.__dict__.setdefault("_layouts", {})
        return known

    root: "Scope"

    def layout(self) -> Layout:
        """Where this scope's fields lie, in the order declared."""
        cls = type(self)
        known = self.layouts.get(cls)
        if known is None:
            offsets: dict[str, int] = {}
            variables: list[Variable] = []
            for name, declared in self._fields.items():
                offsets[name] = len(variables)
                variables.extend(declared.variables(self))
            known = self.layouts[cls] = Layout(offsets, tuple(variables))
        return known

    def offset_of(self, name: str) -> int:
        """The position of a field's first cell."""
        if "_cells" not in self.__dict__:
            refuse(f"`{name}` was read outside of a running model")
        return int(self.__dict__["_base"]) + self.layout().offsets[name]

    def read(self, position: int, sort: type) -> Operand:
        """The value of a cell."""
        value: Operand = self.__dict__["_cells"][position]
        return bool(value) if sort is bool and not isinstance(value, Term) else value

    def write(self, position: int, value: object, *, sort: type, condition: Condition) -> None:
        """Change a cell where `condition` and those of the enclosing `when`s hold."""
        run: Run = self.__dict__["_run"]
        if not isinstance(value, Term | int):
            refuse(f"found {value!r}; expected a {sort.__name__}")
        if run.symbolic and sort_of(value) is not sort:
            name = self._name_of(position)
            refuse(f"`{name}` is assigned a {sort_of(value).__name__}; expected a {sort.__name__}")
        cells: list[Operand] = self.__dict__["_cells"]
        cells[position] = choose(all_of(condition, *run.conditions), value, cells[position])

    def write_at(self, position: int, index: Operand, value: object, *, condition: Condition) -> None:
        """Change the number that a table has for a member, where the conditions hold."""
        run: Run = self.__dict__["_run"]
        if not isinstance(value, Term | int) or sort_of(value) is not int:
            refuse(f"found {value!r}; expected a number")
        if speaks_of_each(index):
            refuse(f"`{self._name_of(position)}` is written for every member of an unbounded sort in a loop")
        cells: list[Operand] = self.__dict__["_cells"]
        before = at(cells[position], index)
        new = choose(all_of(condition, *run.conditions), value, before)
        cells[position] = stored(cells[position], index, new)

    def when(self, *conditions: Condition) -> _When:
        """Within `with self.when(condition):` updates happen only where all conditions hold.

        The block itself always runs, so that both outcomes are seen; what it reads is the value so far.
        """
        return _When(self.__dict__["_run"], all_of(*conditions))

    def cases(self, value: Value, sort: type[Member]) -> Iterator[Member]:
        """Each member that `value` may be; within the loop, updates happen only where it is that one.

        As `for member in sort: with self.when(value == member)`, without the members that it cannot be.
        """
        for number in members(sort):  # type: ignore[arg-type]  # one of the two kinds of sorts
            condition = value == number
            if condition is not False:
                with self.when(condition):
                    yield sort(number)

    def fresh(self, record: "type[RecordType]") -> "RecordType":
        """A detached record with its first values: for building a command, or computing what would be."""
        blank = _detached(record, self.root)
        cells: list[Operand] = [first_value(v) for v in blank.layout().variables]
        run: Run = self.__dict__["_run"]
        blank._attach(run=run, cells=cells, base=0, root=self.root)  # noqa: SLF001 - a record is a scope, too
        return blank

    def _name_of(self, position: int) -> str:
        return self.layout().variables[position - int(self.__dict__["_base"])].name

    def __setattr__(self, name: str, value: object) -> None:
        if "_cells" in self.__dict__ and name not in self._fields:
            refuse(f"`{name}` is not a variable of {type(self).__name__}; declared: {', '.join(self._fields)}")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - only raises
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(f"`{name}` is not a variable of {type(self).__name__}; declared: {', '.join(self._fields)}")


class Record(Scope):
    """Variables that belong together and can be copied and compared as one: an engine's state, a command."""

    def copy(self) -> Self:
        """A detached copy: changing it does not change the state. For computing what would be."""
        base, cells = self._extent()
        scratch = object.__new__(type(self))
        scratch._attach(run=self.__dict__["_run"], cells=cells, base=0, root=self.root)
        del base
        return scratch

    def _extent(self) -> tuple[int, list[Operand]]:
        base = int(self.__dict__["_base"])
        return base, self.__dict__["_cells"][base : base + len(self.layout().variables)]

    def assign(self, other: "Record") -> None:
        """Make every field equal to that of `other`, a record of the same kind."""
        if type(other) is not type(self):
            refuse(f"a {type(self).__name__} is assigned a {type(other).__name__}")
        _, values = other._extent()  # noqa: SLF001 - of the same class, as checked
        base, _ = self._extent()
        for offset, (variable, value) in enumerate(zip(self.layout().variables, values, strict=True)):
            self.write(base + offset, value, sort=variable.sort, condition=True)

    def reset(self) -> None:
        """Give every field its first value again."""
        base, _ = self._extent()
        for offset, variable in enumerate(self.layout().variables):
            self.write(base + offset, first_value(variable), sort=variable.sort, condition=True)

    def in_range(self) -> Condition:
        """True when no number is below the least value that it is declared with."""
        _, cells = self._extent()
        anyone = [any_member(sort) for sort, size in self.root.sizes.items() if size == UNBOUNDED]
        return all_of(
            *(
                (at(cell, anyone[0]) if variable.sort is Table else cell) >= variable.least  # type: ignore[operator]  # a variable of these sorts is a Number
                for cell, variable in zip(cells, self.layout().variables, strict=True)
                if variable.sort in (int, Table) and variable.least is not None and variable.least_is_meant
            )
        )

    def equals(self, other: Self) -> Condition:
        """True when every field equals that of `other`."""
        _, mine = self._extent()
        _, theirs = other._extent()
        return all_of(*(one == another for one, another in zip(mine, theirs, strict=True)))


def first_value(variable: Variable) -> Operand:
    """The initial value, as a member of its sort."""
    if variable.sort is Table:
        return everywhere(variable.initial)
    if issubclass(variable.sort, bool | Index | Enumeration):
        return variable.sort(variable.initial)
    return variable.initial


def made_once(method: Callable[..., RecordType]) -> Callable[..., RecordType]:
    """A method without effects that makes a detached record of the state alone, such as the replay of a log.

    It runs once for each state that it is asked about in one run, however many formulas ask. Its arguments are
    plain values.
    """

    @wraps(method)
    def remembered(self: Scope, **arguments: object) -> RecordType:
        run: Run = self.__dict__["_run"]
        cells: list[Operand] = self.__dict__["_cells"]
        read = [*cells, *run.conditions]
        key = (
            method.__qualname__,
            self.__dict__["_base"],
            *sorted(arguments.items()),
            *(("term", id(each)) if isinstance(each, Term) else int(each) for each in read),
        )
        kept = run.records.get(key)
        if kept is None:
            made = method(self, **arguments)
            assert made.__dict__["_base"] == 0, "a detached record"
            run.records[key] = type(made), list(made.__dict__["_cells"]), read
            return made
        again: RecordType = object.__new__(kept[0])
        again._attach(run=run, cells=list(kept[1]), base=0, root=self.root)  # noqa: SLF001 - a record is a scope, too
        return again

    return remembered


class Part(_Field, Generic[Narrower_co]):
    """A record as a field of a scope: `live = Part(Engine)`. A subclass may declare it with a narrower record."""

    def __init__(self, record: type[Narrower_co]) -> None:
        self.record = record
        self.name = ""
        self.declared_at = here()

    def per(self, sort: Finite) -> "PartFamily[Narrower_co]":
        """One such record for each member of a sort."""
        return PartFamily(self.record, sort)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Scope, owner: type) -> Narrower_co: ...
    def __get__(self, instance: Scope | None, owner: type) -> Self | Narrower_co:
        if instance is None:
            return self
        return _view(self.record, instance, instance.offset_of(self.name))

    def __set__(self, instance: Scope, value: Record) -> None:
        _view(self.record, instance, instance.offset_of(self.name)).assign(value)

    def variables(self, scope: Scope) -> list[Variable]:
        """The record's cells, their names behind this field's."""
        return _record_variables(self.record, scope, within=(self.name, ()))


class PartFamily(_Field, Generic[Narrower_co]):
    """A record for each member of a sort; the index must be a concrete member (loop over the sort)."""

    def __init__(self, record: type[Narrower_co], sort: Finite) -> None:
        self.record = record
        self.sort = sort
        self.name = ""
        self.declared_at = here()

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Scope, owner: type) -> "Parts[Narrower_co]": ...
    def __get__(self, instance: Scope | None, owner: type) -> "Self | Parts[Narrower_co]":
        return self if instance is None else Parts(self, instance)

    def __set__(self, instance: Scope, value: object) -> None:
        refuse(f"`{self.name}` is a family of records; expected `{self.name}[index] = ...`")

    def variables(self, scope: Scope) -> list[Variable]:
        """The cells of all records."""
        return [
            variable
            for member in members(self.sort)
            for variable in _record_variables(self.record, scope, within=(self.name, (member,)))
        ]


class Parts(Generic[Narrower_co]):
    """The records of a family in a running spec."""

    __slots__ = ("_declaration", "_scope")

    def __init__(self, declaration: PartFamily[Narrower_co], scope: Scope) -> None:
        self._declaration = declaration
        self._scope = scope

    def __getitem__(self, index: Operand) -> Narrower_co:
        sort, name = self._declaration.sort, self._declaration.name
        if not isinstance(index, int) or (isinstance(index, Index | Enumeration) and type(index) is not sort):
            refuse(f"`{name}` is indexed with {index!r}; expected a concrete {sort.__name__} (loop over the sort)")
        if not 0 <= index < size_of(sort):
            refuse(f"`{name}` has no index {int(index)}; expected a {sort.__name__} (0..{size_of(sort) - 1})")
        size = len(_detached(self._declaration.record, self._scope.root).layout().variables)
        return _view(self._declaration.record, self._scope, self._scope.offset_of(name) + int(index) * size)

    def __setitem__(self, index: Operand, value: Record) -> None:
        self[index].assign(value)


def _detached(record: type[RecordType], root: Scope) -> RecordType:
    view = object.__new__(record)
    view.__dict__["root"] = root
    return view


def _view(record: type[RecordType], scope: Scope, base: int) -> RecordType:
    view = object.__new__(record)
    view._attach(run=scope.__dict__["_run"], cells=scope.__dict__["_cells"], base=base, root=scope.root)
    return view


def _record_variables(record: type[Record], scope: Scope, *, within: tuple[str, tuple[int, ...]]) -> list[Variable]:
    field_name, members_of = within
    prefix = f"{field_name}[{', '.join(map(str, members_of))}]." if members_of else f"{field_name}."
    return [
        replace(v, name=prefix + v.name, path=(within, *v.path))
        for v in _detached(record, scope.root).layout().variables
    ]


def Enum(sort: Finite) -> Declaration[Number]:  # noqa: N802 - declares a variable, beside Nat, Int and Bool
    """A variable that holds one member of a finite sort; the first one unless `starting` says otherwise."""
    return Declaration(sort)


Nat: Declaration[Number] = Declaration(int, least=0)
Int: Declaration[Number] = Declaration(int)
Bool: Declaration[Formula] = Declaration(bool)
