"""A history as a slow form reads it: one list of moments, and questions that go back over it from the beginning.

Nothing is kept between two questions. Each answer is looked for among all that was told before a moment, so that what
a form says follows from the list alone.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from holdfast_model.vocabulary import (
    Answer,
    AskReplica,
    AssetId,
    Bucket,
    Burst,
    ComeToRest,
    Command,
    Crash,
    EntryPosted,
    History,
    MarkChanged,
    Market,
    MarketId,
    Phase,
    PhaseChanged,
    PriceTicks,
    ProductHalted,
    ProductId,
    ProductResumed,
    Record,
    ReleaseActivated,
    ReleaseId,
    ReplicaCommand,
    ReplicaId,
    Restart,
    RestoreSnapshot,
    Stage,
    TakeSnapshot,
    TimeAdvanced,
    commands_of,
)

ACTIONS = (Burst, AskReplica, TakeSnapshot, RestoreSnapshot, Crash, Restart, ComeToRest)
Found = tuple[int, str]
"""A violation: the step at which it is seen, and the name of what is wrong."""
Violations = Iterator[Found]
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """Stands before the events of a command; `resent` of one that was decided while nobody listened."""

    command: Command
    answer: Answer
    resent: bool = False
    replica: ReplicaId | None = None
    """The replica that was asked; None where it was not named."""
    epoch: int | None = None
    """The epoch that a record names that was resent."""


@dataclass(frozen=True)
class Done:
    """Stands where all events of a command were told."""

    asked: Asked


@dataclass(frozen=True)
class Acted:
    """Stands where a step is taken that is no single command, once what it resent is known."""

    record: Record


@dataclass(frozen=True)
class Arrived:
    """Stands before everything that arrived together."""

    commands: tuple[Command, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Lost:
    """A command was in flight when the exchange, or a replica, was killed."""

    command: Command


class Settled:
    """From here on everybody knows what became of the commands that were in flight."""


@dataclass(frozen=True)
class Moment:
    """One thing that was asked, told or shown: where it stands in the list, at which step, and what it was."""

    at: int
    step: int
    what: Any
    asked: Asked | None = None
    """The command whose answer tells it; None for what is no event."""


class Tale:
    """All moments of a history, in the order in which they were believed.

    What was resent comes before the answers of a step. Of commands that came together what was done to replicas comes
    first, then what was decided, by its number, then what was refused. A view is last.
    """

    def __init__(self, history: History) -> None:
        self.setup = history.setup
        self.moments: list[Moment] = []
        self._where: dict[type, list[int]] = defaultdict(list)
        step = -1
        for record, inside in within(history.records):
            step += not inside
            self._take(record, step)

    def _take(self, record: Record, step: int) -> None:
        replica = record.step.replica if isinstance(record.step, AskReplica) else None
        pairs = zip(commands_of(record.step), record.answers, strict=False)
        asked = [Asked(command, answer, replica=replica) for command, answer in pairs]
        if isinstance(record.step, Crash) and record.step.in_flight is not None:
            self._put(step, Lost(record.step.in_flight))
        for resent in record.resent:
            answer = Answer(events=resent.events, seq=resent.seq, journal_sha256=resent.journal_sha256)
            self._tell(step, Asked(resent.command, answer, resent=True, epoch=resent.epoch))
        if isinstance(record.step, Restart) or any(item.answer.seq is not None for item in asked):
            self._put(step, Settled())
        if isinstance(record.step, ACTIONS):
            self._put(step, Acted(record))
        if asked:
            self._put(step, Arrived(commands_of(record.step), record.answers))
        asked.sort(key=_turn)
        for item in asked:
            self._tell(step, item)
        if record.view is not None:
            self._put(step, record.view)

    def _tell(self, step: int, asked: Asked) -> None:
        self._put(step, asked)
        for event in asked.answer.events:
            self._put(step, event, asked)
        self._put(step, Done(asked))

    def _put(self, step: int, what: object, asked: Asked | None = None) -> None:
        self._where[type(what)].append(len(self.moments))
        self.moments.append(Moment(len(self.moments), step, what, asked))

    def all(self, *kinds: type) -> list[Moment]:
        """All moments of these kinds, in order."""
        return self.between(0, len(self.moments), *kinds)

    def between(self, start: int, end: int, *kinds: type) -> list[Moment]:
        """All moments of these kinds from one place on and before another, in order."""
        places: list[int] = []
        for kind in kinds:
            there = self._where.get(kind, [])
            places += there[bisect_left(there, start) : bisect_left(there, end)]
        return [self.moments[place] for place in (places if len(kinds) == 1 else sorted(places))]

    def before(self, end: int, kind: type[T]) -> list[T]:
        """All of a kind that there was before a place, in order."""
        return [moment.what for moment in self.between(0, end, kind)]

    def after(self, moment: Moment) -> list[Moment]:
        """The events that the same answer tells after this one."""
        events = []
        for later in self.moments[moment.at + 1 :]:
            if later.asked is not moment.asked:
                break
            events.append(later)
        return events

    def answer(self, moment: Moment) -> list[Moment]:
        """The events of an `Asked` or before a `Done`."""
        start, end = moment.at, moment.at
        if isinstance(moment.what, Done):
            while not isinstance(self.moments[start].what, Asked):
                start -= 1
        else:
            while not isinstance(self.moments[end].what, Done):
                end += 1
        return self.moments[start + 1 : end]

    def began(self, moment: Moment) -> int:
        """The place of the first event of the answer that tells this one."""
        at = moment.at
        while self.moments[at - 1].asked is moment.asked:
            at -= 1
        return at

    def last(self, end: int, kind: type[T]) -> T | None:
        """The last of a kind before a place."""
        there = self._where.get(kind, [])
        place = bisect_left(there, end)
        return self.moments[there[place - 1]].what if place else None

    def happened_at(self, moment: Moment) -> int:
        """The place of a moment; for what was in flight that of the kill, before which it was decided."""
        asked = moment.what.asked if isinstance(moment.what, Done) else moment.asked
        resent = asked is not None and asked.resent
        return self.between(0, moment.at, Lost)[-1].at if resent else moment.at

    # What follows from all that was told before a place ---------------------------------------------------------

    def phase(self, end: int) -> Phase:
        """The phase of the venue."""
        changed = self.last(end, PhaseChanged)
        if changed is not None:
            return changed.after
        return Phase.CLOSED if self.setup.auctions else Phase.OPEN

    def stage(self, end: int, product: ProductId) -> Stage:
        """How far a product is open."""
        stage = Stage.OPEN
        for moment in self.between(0, end, ProductHalted, ProductResumed):
            if moment.what.product == product:
                stage = Stage.HALTED if isinstance(moment.what, ProductHalted) else moment.what.stage
        return stage

    def time_ms(self, end: int) -> int:
        """The venue's time."""
        advanced = self.last(end, TimeAdvanced)
        return 0 if advanced is None else advanced.time_ms

    def release(self, end: int) -> ReleaseId:
        """The release whose rules are in force."""
        activated = self.last(end, ReleaseActivated)
        return self.setup.releases[0].release if activated is None else activated.release

    def markets(self, end: int) -> dict[MarketId, Market]:
        """The markets under the release in force."""
        return {market.market: market for market in self.setup.markets_under(self.release(end))}

    def mark(self, end: int, market: MarketId) -> PriceTicks | None:
        """The mark of a market as it was told."""
        told = [changed.mark_ticks for changed in self.before(end, MarkChanged) if changed.market == market]
        return told[-1] if told else None

    def seq(self, end: int) -> int:
        """The number of the last command that was decided."""
        numbers = [moment.what.asked.answer.seq for moment in self.between(0, end, Done)]
        return next((number for number in reversed(numbers) if number is not None), 0)

    def unknown(self, end: int) -> list[Command]:
        """The commands in flight of which nobody knows what became of them."""
        unknown: list[Command] = []
        if not self.between(0, end, Lost):
            return unknown
        for moment in self.between(0, end, Lost, Asked, Settled):
            if isinstance(moment.what, Lost):
                unknown.append(moment.what.command)
            elif isinstance(moment.what, Settled):
                unknown = []
            elif moment.what.resent and moment.what.command in unknown:
                unknown.remove(moment.what.command)
        return unknown

    def balance(self, end: int, account: str, bucket: Bucket, asset: AssetId) -> int:
        """The sum of all that was entered there."""
        return sum(
            posting.amount
            for entry in self.before(end, EntryPosted)
            for posting in entry.postings
            if (posting.account, posting.bucket, posting.asset) == (account, bucket, asset)
        )

    @cached_property
    def isolated(self) -> frozenset[ProductId]:
        """The products with accounts of their own."""
        return frozenset(product.product for product in self.setup.products if product.isolated)


def _turn(asked: Asked) -> tuple[bool, bool, int]:
    seq = asked.answer.seq
    return (not isinstance(asked.command, ReplicaCommand), seq is None, seq or 0)


def within(records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
    """The records, and whether each still belongs to the step before it.

    What is done to come to rest stands between two `ComeToRest`, and belongs to one step with them.
    """
    resting = False
    for record in records:
        yield record, resting
        resting ^= isinstance(record.step, ComeToRest)
