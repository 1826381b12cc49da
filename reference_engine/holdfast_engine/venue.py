"""The venue: the replicated state machine of the exchange, put together from its chapters, and its phases.

`apply` decides a command: it emits events, and each event changes the state at once. Nothing else changes the state,
so the events alone rebuild it (`replay`). There is no clock, no randomness and no iteration over sets.
"""

from holdfast_engine.core import Deciders, Evolvers
from holdfast_engine.funds import Funds
from holdfast_engine.house import House
from holdfast_engine.maintenance import Maintenance
from holdfast_model.vocabulary import (
    Phase,
    PhaseChanged,
    PromoteReplica,
    Reason,
    ReplicaPromoted,
    SetPhase,
)
from holdfast_model.vocabulary.phases import may_follow


class Venue(Maintenance, Funds, House):
    """An exchange's state, changed by commands only. Seams for planted faults are the methods without underscore."""

    def _deciders(self) -> Deciders:
        more: Deciders = {SetPhase: self._decide_phase, PromoteReplica: self._decide_promotion}
        return super()._deciders() | more

    def _evolvers(self) -> Evolvers:
        return super()._evolvers() | {
            PhaseChanged: self._on_phase_changed,
            ReplicaPromoted: self._on_replica_promoted,
        }

    def _decide_phase(self, command: SetPhase) -> None:
        if not self.may_enter(command.phase):
            return self.refuse(Reason.TRANSITION_ILLEGAL)
        missing = self.missing_step(command.phase)
        if missing is not None:
            return self.refuse(missing)
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

    def _decide_promotion(self, command: PromoteReplica) -> None:
        """The exchange has found the replica fit; it decides its own promotion, as the first record of its epoch."""
        self.emit(ReplicaPromoted(replica=command.replica, epoch=self.epoch + 1))

    def _on_phase_changed(self, event: PhaseChanged) -> None:
        self.phase = event.after
        if event.after is Phase.MAINTENANCE:
            self.begin_maintenance()

    def _on_replica_promoted(self, event: ReplicaPromoted) -> None:
        self.epoch, self.primary = event.epoch, event.replica
