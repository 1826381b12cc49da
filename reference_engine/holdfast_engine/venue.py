"""The venue: the replicated state machine of the exchange, put together from its chapters, and its phases.

`apply` decides a command: it emits events, and each event changes the state at once. Nothing else changes the state,
so the events alone rebuild it (`replay`). There is no clock, no randomness and no iteration over sets.
"""

from holdfast_engine.core import Deciders, Evolvers
from holdfast_engine.liabilities import Publishing
from holdfast_engine.maintenance import Maintenance
from holdfast_model.vocabulary import (
    Phase,
    PhaseChanged,
    PromoteReplica,
    Reason,
    ReplicaPromoted,
    SetPhase,
    Setup,
)
from holdfast_model.vocabulary.phases import may_follow


class Venue(Publishing, Maintenance):
    """An exchange's state, changed by commands only. Seams for planted faults are the methods without underscore."""

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        more: Deciders = {SetPhase: cls._decide_phase, PromoteReplica: cls._decide_promotion}
        return super()._deciders(setup) | more

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            PhaseChanged: cls._on_phase_changed,
            ReplicaPromoted: cls._on_replica_promoted,
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

    def missing_step(self, phase: Phase) -> Reason | None:
        """Why a phase may not be entered although it may follow; a mismatch keeps it halted."""
        if self.phase is Phase.HALTED and not self.settled():
            return Reason.NOT_RECONCILED
        return super().missing_step(phase)

    def halt_itself(self) -> None:
        """Halt because ledger and custody differ."""
        if self.phase is not Phase.HALTED:
            self.enter(Phase.HALTED)

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
