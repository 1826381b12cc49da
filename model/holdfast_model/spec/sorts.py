"""The sorts that a spec ranges over: index sorts, whose size each model chooses, and enumerations."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

from holdfast_model.spec.location import refuse

UNBOUNDED = 0
"""The size of an index sort that has any number of members: a proof can leave it open, a search cannot."""

_sizes: ContextVar[Mapping[type, int]] = ContextVar("sizes")

IndexMember = TypeVar("IndexMember", bound="Index")


class _IndexMeta(type):
    """Makes `for account in Account` and `len(Account)` speak of the model that is running."""

    def __iter__(cls: type[IndexMember]) -> Iterator[IndexMember]:  # type: ignore[misc]  # as enum.EnumMeta does
        if is_unbounded(cls):
            return Loop(cls)
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


class Table(int):
    """The sort of a family of numbers over an unbounded sort: one value that has a number for each member."""


def is_unbounded(sort: type) -> bool:
    """Whether a sort has any number of members in the model that is running."""
    return _sizes.get({}).get(sort) == UNBOUNDED


class Loop(Iterator[Any]):
    """A loop over an unbounded sort. It gives one member that stands for all, and only a sum can make sense of it."""

    member: ClassVar[Callable[[type, int], Any]]
    """The member that stands for all of a sort, by the number of its loop; the terms set it."""
    started: ClassVar[int] = 0
    unsummed: ClassVar[set[int]] = set()
    """The loops that no sum has made sense of yet."""

    def __init__(self, sort: type) -> None:
        Loop.started += 1
        Loop.unsummed.add(Loop.started)
        self.number = Loop.started
        self._left = [Loop.member(sort, self.number)]

    def __next__(self) -> Any:  # noqa: ANN401 - a member of the sort
        if not self._left:
            raise StopIteration
        return self._left.pop()

    @classmethod
    def restart(cls) -> None:
        """Number the loops of an action or a property from the beginning."""
        cls.started = 0
        cls.unsummed = set()


def size_of(sort: Finite) -> int:
    """How many members a sort has in the model that is running."""
    if issubclass(sort, Enumeration):
        return len(sort.__members__)
    size = _sizes.get({}).get(sort)
    if size == UNBOUNDED:
        refuse(f"index sort {sort.__name__} has any number of members here; this needs it to have a size")
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
