"""PHASE-1: the phase rules are kept."""

from typing import Any

from holdfast_invariants.monitor import Monitor, after, before, on
from holdfast_model.vocabulary import (
    LEGAL_COMMANDS,
    Answer,
    Command,
    Phase,
    PhaseChanged,
    Rejected,
    SetPhase,
    TradeExecuted,
    legal,
    may_follow,
)

_OPEN, _AUCTION = Phase.OPEN, Phase.AUCTION
_UNCROSSED_FOR = frozenset({Phase.OPEN, Phase.CLOSED})
_LEGAL_WHEN_OPEN = LEGAL_COMMANDS[Phase.OPEN]


class OnlyLegalCommandsTakeEffect(Monitor):
    """PHASE-1: a command that the phase forbids is refused."""

    invariant = "PHASE-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._uncrossing = False

    @before(SetPhase)
    def ends_auction(self, command: SetPhase, answer: Answer) -> None:  # noqa: ARG002 - only the events matter
        """What an auction gathered trades in the answer that opens or closes trading."""
        self._uncrossing = any(
            isinstance(event, PhaseChanged) and event.before is _AUCTION and event.after in _UNCROSSED_FOR
            for event in answer.events
        )

    @before(plain=1)
    def legal(self, command: Command, answer: Answer) -> None:
        """Nothing but a refusal is answered to a command that the phase forbids."""
        if not answer.events:
            return
        self.checked += 1
        if self.told.phase is _OPEN and command.__class__ in _LEGAL_WHEN_OPEN:
            return
        effect = [event for event in answer.events if not isinstance(event, Rejected)]
        if effect and not legal(self.told.phase, command):
            self.report(
                f"{type(command).__name__} in {self.told.phase}",
                found=", ".join(type(event).__name__ for event in effect),
                expected="a refusal",
                evidence=[command],
            )

    @on(TradeExecuted, plain=0)
    def trade(self, event: TradeExecuted) -> None:
        """Nothing trades but in the open phase, and where an auction ends."""
        if self.told.phase is not _OPEN and not self._uncrossing:
            self.report(
                f"trade in {self.told.phase}",
                found=f"trade {event.trade}",
                expected="no trade outside the open phase",
                evidence=[event],
            )

    @after(SetPhase)
    def ended(self, command: SetPhase, answer: Answer) -> None:  # noqa: ARG002 - the auction is over
        """From now on only the phase matters."""
        self._uncrossing = False

    @on(PhaseChanged)
    def change(self, event: PhaseChanged) -> None:
        """A phase follows one that it may follow."""
        self.checked += 1
        phase, auctions = self.told.phase, self.told.setup.auctions
        if event.before is not phase or not may_follow(phase, event.after, auctions=auctions):
            allowed = ", ".join(sorted(after for after in Phase if may_follow(phase, after, auctions=auctions)))
            self.report(
                f"phase {event.before} to {event.after}",
                found=f"from {event.before} to {event.after}",
                expected=f"from {phase} to one of {allowed}",
                evidence=[event],
            )
