"""SURGE-1: the bounded door, the rate limit, and who goes first."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

from holdfast_invariants.monitor import Monitor, before, on, upon
from holdfast_invariants.told import OrderKey
from holdfast_model.vocabulary import (
    AmendOrder,
    Answer,
    Borrow,
    CancelAll,
    CancelOrder,
    ClientId,
    Command,
    Crash,
    CrashPoint,
    Event,
    Events,
    OperatorCommand,
    PlaceOrder,
    ReadAccount,
    Reason,
    Record,
    Rejected,
    Repay,
    RequestWithdrawal,
    Restart,
    TransferMargin,
    View,
)

_OVERLOADED, _RATE_LIMITED = Reason.OVERLOADED, Reason.RATE_LIMITED
_AT_THE_DOOR = frozenset(
    {
        Reason.OVERLOADED,
        Reason.RATE_LIMITED,
        Reason.NO_PRIMARY,
        Reason.NO_QUORUM,
        Reason.NOT_PRIMARY,
        Reason.UNAVAILABLE,
    }
)
_RATED = (PlaceOrder, AmendOrder, RequestWithdrawal, TransferMargin, Borrow, Repay, ReadAccount)
"""What counts against a client's rate: all that it asks for itself but cancels."""
_WINDOW_MS = 1_000
_RANKS = ("operators", "cancels", "other commands", "new orders", "reads")
_RANK_OF: dict[type, int] = {
    **dict.fromkeys(get_args(OperatorCommand), 0),
    CancelOrder: 1,
    CancelAll: 1,
    PlaceOrder: 3,
    ReadAccount: 4,
}
"""In which order commands that arrive together are taken in; what is not named is of rank 2."""


class _Rate:
    """What a client asked for within a second: at least `certain`, and perhaps what was in flight at a kill."""

    def __init__(self) -> None:
        self.certain = self.perhaps = 0


class EveryCommandIsAnsweredOnce(Monitor):
    """SURGE-1: every command is answered once, refused ones have no effect, the queue and each client's rate bounded.

    Of commands that arrive together operators go first, then cancels, all else, new orders, and reads; what is shed
    goes last. Nothing is shed while there is room, and nobody is limited before its rate is used up: the count is
    reckoned from the commands and the venue's time alone. A door that was started again begins to count anew.
    """

    invariant = "SURGE-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._shed: set[OrderKey] = set()
        self._refused_since_view = 0
        self._rate_max = self.told.setup.rate_max
        self._window = 0
        self._rates: dict[ClientId, _Rate] = {}
        self._unsettled: Counter[ClientId] = Counter()
        """What was asked for while nobody knew whether the time had been advanced by a command in flight."""
        self._looked_at = -1
        """The last step whose commands were looked at together."""
        if not self._rate_max:
            self.idle = frozenset({"batch"})

    @before(plain=1)
    def answered(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - that there is an answer
        """Each command that is answered is one that the invariant speaks of."""
        if not self.told.resending:
            self.checked += 1

    @on(Rejected)
    def refused(self, event: Rejected) -> None:
        """A command that came alone is looked at where it is refused at the door, or not only refused."""
        command, answer = self.told.command, self.told.answer
        assert command is not None
        assert answer is not None
        if self._looked_at == self.findings.step or self.told.resending:
            return
        if len(answer.events) > 1 or event.reason in _AT_THE_DOOR:
            self.batch((command,), (answer,))

    def batch(self, commands: Sequence[Command], answers: Sequence[Answer]) -> None:
        """Look at commands that arrived together."""
        self._looked_at = self.findings.step
        if self._rate_max:
            self._limits(commands, answers)
        if len(answers) == 1 and _is_ordinary(answers[0].events):
            return
        for position, (command, answer) in enumerate(zip(commands, answers, strict=True)):
            self._answered(position, command, answer)
        pairs = list(zip(commands, answers, strict=True))
        self._door(
            [pair for pair in pairs if not _is_shed(pair[1])],
            [command for command, answer in pairs if _is_shed(answer)],
        )
        self._refused_since_view += sum(_is_at_the_door(answer) for answer in answers)
        self._shed.update(
            (command.client, command.order)
            for command, answer in pairs
            if isinstance(command, PlaceOrder) and _is_at_the_door(answer)
        )

    def _answered(self, position: int, command: Command, answer: Answer) -> None:
        """Each command has one answer, and a refused one no effect."""
        if not answer.events:
            self.report(
                f"{type(command).__name__} {position}",
                found="no answer",
                expected="one answer to each command",
                evidence=[command],
            )
        elif len(answer.events) > 1 and any(isinstance(event, Rejected) for event in answer.events):
            self.report(
                f"{type(command).__name__} {position}",
                found=f"a refusal with {len(answer.events) - 1} more events",
                expected="a refused command has no effect",
                evidence=[command, *answer.events],
            )

    # Admission ------------------------------------------------------------------------------------------------------

    def _door(self, admitted: list[tuple[Command, Answer]], shed: list[Command]) -> None:
        """Who goes first is taken in first, no more than there is room for, and nobody is shed needlessly."""
        capacity = self.told.setup.ingress_capacity
        inside = [(command, answer) for command, answer in admitted if not _is_limited(answer)]
        if len(inside) > capacity:
            self.report(
                "ingress",
                found=f"{len(inside)} commands taken in at once",
                expected=f"at most {capacity}, its capacity",
            )
        if shed and len(inside) < capacity:
            self.report(
                "shedding",
                found=f"{len(shed)} commands are shed and {len(inside)} taken in",
                expected=f"{capacity} are taken in before one is shed",
                evidence=shed,
            )
        ranks = [_rank(command) for command, _ in inside]
        starved = [command for command in shed if ranks and _rank(command) < max(ranks)]
        if starved:
            first, last = _RANKS[min(map(_rank, starved))], _RANKS[max(ranks)]
            self.report(
                first,
                found=f"{len(starved)} commands were shed while {last} were taken in",
                expected=f"{first} before {last}",
                evidence=starved,
            )
        decided = sorted(
            ((answer.seq, command) for command, answer in inside if answer.seq is not None), key=lambda pair: pair[0]
        )
        for (_, earlier), (_, later) in pairwise(decided):
            if _rank(earlier) > _rank(later):
                self.report(
                    _RANKS[_rank(later)],
                    found=f"{type(later).__name__} was decided after {type(earlier).__name__}",
                    expected=f"{_RANKS[_rank(later)]} before {_RANKS[_rank(earlier)]}",
                    evidence=[earlier, later],
                )

    # Rates ----------------------------------------------------------------------------------------------------------

    def _rate(self, client: ClientId) -> _Rate:
        """What a client has asked for in this second."""
        window = self.told.triggers.time_ms // _WINDOW_MS
        if window != self._window:
            self._window = window
            self._rates.clear()
            for known, count in self._unsettled.items():
                self._rates.setdefault(known, _Rate()).perhaps = count
            self._unsettled.clear()
        return self._rates.setdefault(client, _Rate())

    def _limits(self, commands: Sequence[Command], answers: Sequence[Answer]) -> None:
        """The rate limit is neither too strict nor too lax; what is shed does not count."""
        given_back: list[_Rate] = []
        for command, answer in zip(commands, answers, strict=True):
            if not isinstance(command, _RATED):
                if _is_limited(answer):
                    self._misjudged(command, "it is limited", "cancels and operators are not limited")
                continue
            client = command.client
            if self.told.unknown:
                self._rate(client).perhaps += 1
                self._unsettled[client] += 1
                continue
            rate = self._rate(client)
            self.checked += 1
            if not _is_limited(answer):
                if rate.certain >= self._rate_max:
                    self._misjudged(
                        command, f"command {rate.certain + 1} of {client} in a second is taken in", self._bound()
                    )
                rate.certain += 1
                if _is_shed(answer):
                    given_back.append(rate)
            elif rate.certain + rate.perhaps < self._rate_max:
                self._misjudged(
                    command, f"command {rate.certain + 1} of {client} in a second is limited", self._bound()
                )
        for rate in given_back:
            rate.certain -= 1

    def _bound(self) -> str:
        return f"{self._rate_max} are taken in a second, and no more"

    def _misjudged(self, command: Command, found: str, expected: str) -> None:
        self.report(f"rate at {self._window} s", found=found, expected=expected, evidence=[command])

    @upon(Crash)
    def in_flight(self, record: Record) -> None:
        """A command in flight to a replica that died may have come through the door."""
        step = record.step
        assert isinstance(step, Crash)
        command = step.in_flight
        if self._rate_max and step.point is CrashPoint.AFTER_JOURNAL and isinstance(command, _RATED):
            self._rate(command.client).perhaps += 1

    @upon(Restart)
    def restarted(self, record: Record) -> None:  # noqa: ARG002 - that it happened is enough
        """A new process knows nothing of what was asked before."""
        self._rates.clear()

    # Effects --------------------------------------------------------------------------------------------------------

    def view(self, view: View) -> None:
        """Nothing that was refused at the door is in the book, and no more was decided than was answered."""
        self.checked += 1
        if self._shed:
            self._resting()
        if self._refused_since_view and view.seq > self.told.seq and not self.told.unknown:
            self.report(
                "refused commands",
                found=f"{view.seq} commands were decided",
                expected=f"{self.told.seq}: {self._refused_since_view} were refused at the door",
            )
        self._refused_since_view = 0
        if view.ingress_depth_max > self.told.setup.ingress_capacity:
            self.report(
                "ingress",
                found=f"a queue of {view.ingress_depth_max}",
                expected=f"at most {self.told.setup.ingress_capacity}, its capacity",
            )

    def _resting(self) -> None:
        for shown, key, told in self.told.shown:
            if told is None and key in self._shed:
                self.report(
                    f"order {'/'.join(key)}", found="it rests", expected="nothing: it was refused", evidence=[shown]
                )


def _rank(command: Command) -> int:
    return _RANK_OF.get(command.__class__, 2)


def _is_ordinary(events: Events) -> bool:
    """Whether nothing is to be said of a single command's answer: it was carried out, or refused in its turn."""
    if len(events) > 1:
        for event in events:  # noqa: SIM110 - `all` with a generator takes three times as long
            if event.__class__ is Rejected:
                return False
        return True
    return bool(events) and not _refuses(events[0])


def _refuses(event: Event) -> bool:
    return isinstance(event, Rejected) and event.reason in _AT_THE_DOOR


def _is_at_the_door(answer: Answer) -> bool:
    """Whether a command was refused before anybody decided it."""
    return not answer.events or (answer.seq is None and any(map(_refuses, answer.events)))


def _refused_for(answer: Answer, reason: Reason) -> bool:
    return any(isinstance(event, Rejected) and event.reason is reason for event in answer.events)


def _is_limited(answer: Answer) -> bool:
    return _refused_for(answer, _RATE_LIMITED)


def _is_shed(answer: Answer) -> bool:
    return not answer.events or _refused_for(answer, _OVERLOADED)
