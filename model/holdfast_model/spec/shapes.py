"""The state of a model as its spec declares it: records, families over sorts, and cells that hold a value.

A `State` is a flat tuple. What others read is not: a file or another language has `live.free` as one function of
account and asset. A shape says where each cell lies; every format that writes states follows it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from holdfast_model.errors import HoldfastError
from holdfast_model.spec.model import Model
from holdfast_model.spec.sorts import Enumeration, Finite, Index, size_of, sized
from holdfast_model.spec.variables import Variable

Key: TypeAlias = tuple[int, ...]
"""The members of sorts that index a family, in order."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of the state: which, and the variable that it is of."""

    position: int
    variable: Variable


@dataclass(frozen=True, slots=True)
class Family:
    """One shape for each combination of members of some sorts, the last running fastest."""

    sorts: tuple[Finite, ...]
    members: "Mapping[Key, Shape]"


@dataclass(frozen=True, slots=True)
class Fields:
    """Shapes by name: a record, or the whole state."""

    fields: "Mapping[str, Shape]"


Shape: TypeAlias = Cell | Family | Fields


def shape_of(model: Model) -> Fields:
    """The shape of the model's states. HoldfastError where a sort has any number of members."""
    if model.unbounded:
        raise HoldfastError(
            f"model {model.name} has any number of {model.unbounded[0].counted}; expected a number of them"
        )
    entries = [(v.path, Cell(position, v)) for position, v in enumerate(model.variables)]
    shape = _nested(entries)
    assert isinstance(shape, Fields)
    return shape


def cells_of(shape: Shape) -> Iterator[Cell]:
    """All cells of a shape, in the order of the state."""
    match shape:
        case Cell():
            yield shape
        case Family():
            for member in shape.members.values():
                yield from cells_of(member)
        case Fields():
            for field in shape.fields.values():
                yield from cells_of(field)


_Entries: TypeAlias = list[tuple[tuple[tuple[str, Key], ...], Cell]]


def _nested(entries: _Entries) -> Shape:
    """The shape of cells that lie at these paths below it."""
    if len(entries) == 1 and not entries[0][0]:
        return entries[0][1]
    fields: dict[str, dict[Key, _Entries]] = {}
    for path, cell in entries:
        (name, key), *rest = path
        fields.setdefault(name, {}).setdefault(key, []).append((tuple(rest), cell))
    return Fields({name: _indexed(members) for name, members in fields.items()})


def _indexed(members: Mapping[Key, _Entries]) -> Shape:
    if () in members:
        return _nested(members[()])
    key = next(iter(members))
    sorts: list[Finite] = []
    for member in key:
        assert isinstance(member, Index | Enumeration)
        sorts.append(type(member))
    return Family(tuple(sorts), {key: _nested(entries) for key, entries in members.items()})


class Names:
    """The members of a model's finite sorts by the names that traces print."""

    def __init__(self, model: Model) -> None:
        self._sizes = model.spec.sizes
        self._by_name = cache(self._names)

    def _names(self, sort: Finite) -> dict[str, int]:
        with sized(self._sizes):
            return {str(sort(number)): number for number in range(size_of(sort))}

    def of(self, sort: Finite) -> dict[str, int]:
        """Each member's number, by its name."""
        return self._by_name(sort)


def printed_values(model: Model, shown: Mapping[str, str]) -> tuple[int, ...]:
    """The state that evidence shows as variable instance -> printed value. HoldfastError where it is none."""
    names = Names(model)
    values = []
    for variable in model.variables:
        text = shown.get(variable.name)
        if text is None:
            raise HoldfastError(f"a state of model {model.name} without `{variable.name}`; expected every variable")
        values.append(_parsed(variable, text, names))
    return tuple(values)


def _parsed(variable: Variable, text: str, names: Names) -> int:
    """The value that `Variable.printed` shows in this way; a number where it is outside of the sort."""
    sort = variable.sort
    if issubclass(sort, bool) and text in {"true", "false"}:
        return int(text == "true")
    if issubclass(sort, Index | Enumeration) and text in names.of(sort):
        return names.of(sort)[text]
    try:
        return int(text)
    except ValueError:
        raise HoldfastError(f"`{variable.name}` is {text!r}; expected a {sort.__name__}") from None
