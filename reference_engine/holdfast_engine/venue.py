"""The venue: the replicated state machine of the exchange, put together from its chapters, and its phases.

`apply` decides a command: it emits events, and each event changes the state at once. Nothing else changes the state,
so the events alone rebuild it (`replay`). There is no clock, no randomness and no iteration over sets.
"""

from holdfast_engine.auction import Auction
from holdfast_engine.core import Deciders, Evolvers
from holdfast_engine.funds import Funds
from holdfast_engine.house import House
from holdfast_engine.liquidation import Liquidation
from holdfast_model.vocabulary import (
    PauseStandby,
    Phase,
    PhaseChanged,
    PromoteStandby,
    Reason,
    ResumeStandby,
    SetPhase,
    StandbyPaused,
    StandbyPromoted,
    StandbyResumed,
)
from holdfast_model.vocabulary.phases import may_follow


class Venue(Liquidation, Auction, Funds, House):
    """An exchange's state, changed by commands only. Seams for planted faults are the methods without underscore."""

    def _deciders(self) -> Deciders:
        return super()._deciders() | {
            SetPhase: self._decide_phase,
            PauseStandby: self._decide_pause,
            ResumeStandby: self._decide_resume,
            PromoteStandby: self._decide_promote,
        }

    def _evolvers(self) -> Evolvers:
        return super()._evolvers() | {
            PhaseChanged: self._on_phase_changed,
            StandbyPaused: self._unchanged,
            StandbyResumed: self._unchanged,
            StandbyPromoted: self._on_standby_promoted,
        }

    def _decide_phase(self, command: SetPhase) -> None:
        if not self.may_enter(command.phase):
            return self.refuse(Reason.TRANSITION_ILLEGAL)
        return self.enter(command.phase)

    def may_enter(self, phase: Phase) -> bool:
        """Whether a phase may follow the one that the venue is in, as its books are."""
        return may_follow(self.phase, phase, auctions=self.setup.auctions) and self.uncrossing_allows(phase)

    def enter(self, phase: Phase) -> None:
        """Change the phase, with all that belongs to it: what an auction does, and what waited during maintenance."""
        before = self.phase
        if before is Phase.AUCTION and phase in {Phase.OPEN, Phase.CLOSED}:
            self.end_auction()
        self.emit(PhaseChanged(before=before, after=phase))
        if phase is Phase.AUCTION:
            self.begin_auction()
        if before is Phase.MAINTENANCE:
            self.expire()

    def _decide_pause(self, command: PauseStandby) -> None:  # noqa: ARG002 - there is nothing to look at
        self.emit(StandbyPaused())

    def _decide_resume(self, command: ResumeStandby) -> None:  # noqa: ARG002 - there is nothing to look at
        self.emit(StandbyResumed())

    def _decide_promote(self, command: PromoteStandby) -> None:  # noqa: ARG002 - there is nothing to look at
        self.emit(StandbyPromoted(epoch=self.epoch + 1))

    def _on_phase_changed(self, event: PhaseChanged) -> None:
        self.phase = event.after

    def _on_standby_promoted(self, event: StandbyPromoted) -> None:
        self.epoch = event.epoch
