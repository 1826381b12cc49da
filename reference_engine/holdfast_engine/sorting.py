"""Sorted keys of a dictionary that only ever gains some: what snapshots and views list again and again."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=tuple[Any, ...])


class SortedKeys(Generic[K]):
    """The keys of one dictionary in order. To ask again costs nothing, or what sorting in the new ones does."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[K] = []

    def of(self, mapping: Mapping[K, object]) -> list[K]:
        """The keys of a dictionary, always the same one, out of which none is ever taken.

        >>> keys, amounts = SortedKeys(), {("b",): 1}
        >>> keys.of(amounts)
        [('b',)]
        >>> amounts["a",] = 2
        >>> keys.of(amounts)
        [('a',), ('b',)]
        """
        keys = self._keys
        if len(keys) != len(mapping):
            keys.extend(islice(mapping, len(keys), None))
            keys.sort()
        return keys
