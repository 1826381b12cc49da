"""The sorts that a spec ranges over: index sorts, whose size each model chooses, and enumerations."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any, Self, TypeAlias, TypeVar

from holdfast_model.spec.location import refuse

_sizes: ContextVar[Mapping[type, int]] = ContextVar("sizes")

IndexMember = TypeVar("IndexMember", bound="Index")


class _IndexMeta(type):
    """Makes `for account in Account` and `len(Account)` speak of the model that is running."""

    def __iter__(cls: type[IndexMember]) -> Iterator[IndexMember]:  # type: ignore[misc]  # as enum.EnumMeta does
        return (cls(number) for number in range(size_of(cls)))

    def __len__(cls: type[IndexMember]) -> int:  # type: ignore[misc]  # as above
        return size_of(cls)

    def __bool__(cls) -> bool:
        return True


class Index(int, metaclass=_IndexMeta):
    """A member of an index sort such as `Account`: a number from 0, printed from 1 behind the sort's prefix.

    A spec says `class Account(Index, prefix="u")`; a model says how many there are (evidence prints this number
    as "accounts", or under the name given as `counted`). Iterating over the sort
    works only inside an action, a property or an initial value, because only there is the size known.

    >>> class Account(Index, prefix="u"):
    ...     pass
    >>> str(Account(0))
    'u1'
    """

    prefix = "i"
    counted = "members"

    def __init_subclass__(cls, *, prefix: str = "i", counted: str = "") -> None:
        cls.prefix = prefix
        cls.counted = counted or f"{cls.__name__.lower()}s"

    def __str__(self) -> str:
        return f"{self.prefix}{int(self) + 1}"

    __repr__ = __str__


class Enumeration(IntEnum):
    """A finite sort whose members have names, numbered from 0 in the order written (`auto()`)."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> int:
        del name, start, last_values
        return count

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    __repr__ = __str__

    @classmethod
    def at(cls, number: int) -> Self:
        """The member with this number."""
        return cls(number)


Finite: TypeAlias = type[Index] | type[Enumeration]


def size_of(sort: Finite) -> int:
    """How many members a sort has in the model that is running."""
    if issubclass(sort, Enumeration):
        return len(sort.__members__)
    size = _sizes.get({}).get(sort)
    if size is None:
        refuse(f"index sort {sort.__name__} has no size here; the spec's `sizes` must give it one")
    return size


def members(sort: Finite) -> list[int]:
    """All members of a sort, in order, each knowing its sort."""
    return [sort(number) for number in range(size_of(sort))]


def printed(sort: type, value: int) -> str:
    """A value as traces and messages show it: the member's name, `true` or `false`, or the decimal number."""
    if issubclass(sort, bool):
        return "true" if value else "false"
    if issubclass(sort, Index | Enumeration):
        return str(sort(value))
    return str(int(value))


@contextmanager
def sized(sizes: Mapping[type, int]) -> Iterator[None]:
    """Within this context index sorts have these sizes."""
    token = _sizes.set(sizes)
    try:
        yield
    finally:
        _sizes.reset(token)
