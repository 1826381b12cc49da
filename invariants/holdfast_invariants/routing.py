"""Which methods of which monitors are called for what: worked out once for each set of monitors.

A topic is the class of a command, an event or a step; of entries, which are the many, it is their kind.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeVar

from holdfast_invariants.monitor import Handler, Moment, Monitor
from holdfast_model.vocabulary import CauseKind, EntryPosted

Topic = type | CauseKind
Calls = tuple[Handler, ...]
"""What is called for a topic, in order."""

_Method = tuple[int, str, int | None]
"""The place of a monitor, the name of its method, and how many checks a plain one is worth (`Mark.plain`)."""


R = TypeVar("R")


class OnDemand(dict[Topic, R]):
    """What there is for each topic, made when it is first asked for: most histories tell of few topics."""

    def __init__(self, make: Callable[[Topic], R]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, topic: Topic) -> R:
        made = self[topic] = self._make(topic)
        return made


class Routes:
    """The marked methods of monitors by moment and topic, bound to these monitors."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors
        self._marked = _marked(tuple(map(type, monitors)), tuple(monitor.idle for monitor in monitors))

    def calls(self, moment: Moment, topic: Topic, *, plain: bool = False) -> Calls:
        """What is called for a topic: for all of it, or for what is plain."""
        return tuple(
            getattr(self._monitors[place], name)
            for place, name, worth in self._marked[moment].get(topic, ())
            if not (plain and worth is not None)
        )

    def worth(self, topic: Topic, *moments: Moment) -> list[tuple[str, int]]:
        """How many checks of which invariants something plain of a topic is worth."""
        return [
            (self._monitors[place].invariant, worth)
            for moment in moments
            for place, _, worth in self._marked[moment].get(topic, ())
            if worth
        ]


@cache
def _marked(
    monitors: tuple[type[Monitor], ...], idle: tuple[frozenset[str], ...]
) -> Mapping[Moment, Mapping[Topic, Sequence[_Method]]]:
    marked: dict[Moment, dict[Topic, list[_Method]]] = {moment: defaultdict(list) for moment in Moment}
    for place, (monitor, unused) in enumerate(zip(monitors, idle, strict=True)):
        for name, mark in monitor.marked:
            if name not in unused:
                for cls in mark.classes:
                    topics: tuple[Topic, ...] = tuple(mark.kinds or CauseKind) if cls is EntryPosted else (cls,)
                    for topic in topics:
                        marked[mark.moment][topic].append((place, name, mark.plain))
    return marked
