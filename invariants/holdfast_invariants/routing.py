"""Which methods of which monitors are called for what: worked out once for each set of monitors.

A topic is the class of a command, an event or a step; of entries, which are the many, it is their kind.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from holdfast_invariants.monitor import EVENTS, Handler, Moment, Monitor
from holdfast_model.vocabulary import CauseKind, EntryPosted

Topic = type | CauseKind
Calls = tuple[Handler, ...]
"""What is called for a topic, in order."""

EVENT_TOPICS: tuple[Topic, ...] = (*(cls for cls in EVENTS if cls is not EntryPosted), *CauseKind)

_Method = tuple[int, str, int | None]
"""The place of a monitor, the name of its method, and how many checks a plain one is worth (`Mark.plain`)."""


class Routes:
    """The marked methods of monitors by moment and topic, bound to these monitors."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors
        self._marked = _marked(tuple(map(type, monitors)), tuple(monitor.idle for monitor in monitors))

    def calls(self, moment: Moment, *, plain: bool = False) -> Mapping[Topic, Calls]:
        """What is called for each topic, where anything is: for all of it, or for what is plain."""
        monitors, bound = self._monitors, dict[tuple[int, str], Handler]()
        found: dict[Topic, Calls] = {}
        for topic, methods in self._marked[moment].items():
            calls = []
            for place, name, worth in methods:
                if plain and worth is not None:
                    continue
                handler = bound.get((place, name))
                if handler is None:
                    handler = bound[place, name] = getattr(monitors[place], name)
                calls.append(handler)
            found[topic] = tuple(calls)
        return found

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
