"""REPL-1 and FENCE-1: one log, equal states wherever it is applied, and one primary that writes it."""

from typing import Any

from holdfast_invariants.monitor import Monitor, before, on, upon
from holdfast_model.vocabulary import (
    AccountRead,
    Answer,
    AskReplica,
    Command,
    JournalRecord,
    LoadConfirmed,
    PromoteReplica,
    Record,
    Rejected,
    Replica,
    ReplicaId,
    ReplicaPromoted,
    Sha256,
    View,
)


class EqualLogsGiveEqualStates(Monitor):
    """REPL-1: wherever and whenever a log of the same length was applied, the state has the same hash.

    On every replica, whatever release is installed on it, and after every restart, restore, deployment and promotion:
    so snapshot and tail give what the whole log gives. A log has one record of each number.
    """

    invariant = "REPL-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._hashes: dict[int, tuple[Sha256, str, int]] = {}

    def view(self, view: View) -> None:
        """Compare each replica with every replica that was ever seen at the same length."""
        for replica in view.replicas:
            if replica.state_sha256 is not None:
                where = f"{replica.replica} with {replica.release}" if replica.release else replica.replica
                self._compare(replica.seq, replica.state_sha256, where, replica)

    @on(LoadConfirmed)
    def confirmed(self, event: LoadConfirmed) -> None:
        """What the load barrier found equal is what was there before it."""
        self._compare(event.seq, event.state_sha256, "load barrier", event)

    def _compare(self, seq: int, state: Sha256, where: str, evidence: Replica | LoadConfirmed) -> None:
        known = self._hashes.setdefault(seq, (state, where, self.findings.step))
        if known[1:] == (where, self.findings.step):
            return
        self.checked += 1
        if known[0] != state:
            self.report(
                f"state at {seq}",
                found=f"{state} at the {where}",
                expected=f"{known[0]}, as the {known[1]} had it at step {known[2]}",
                evidence=[evidence],
            )

    @before(plain=0)
    def decided(self, command: Command, answer: Answer) -> None:
        """No number is given to a second record."""
        if answer.seq is not None and answer.seq <= self.told.seq:
            self.report(
                f"record {answer.seq}",
                found=f"{type(command).__name__} as record {answer.seq}",
                expected=f"record {self.told.seq + 1}: there is another record of that number",
                evidence=[command],
            )


class OnlyThePrimaryWrites(Monitor):
    """FENCE-1: each epoch has one primary, which alone decides, and only while it reaches more than half of all.

    Epochs rise by one with each promotion, whose record is the first of its epoch and follows all that was
    acknowledged. Clients are heard at every replica, so that two that take themselves for the primary show.
    """

    invariant = "FENCE-1"

    @before(plain=1)
    def decided(self, command: Command, answer: Answer) -> None:
        """What is acknowledged was decided by a primary that could make it durable on more than half of all."""
        if answer.seq is None or self.told.resending:
            return
        self.checked += 1
        told = self.told
        if told.can_decide or command.__class__ is PromoteReplica:
            return
        self.report(
            f"record {answer.seq}",
            found=f"{type(command).__name__} is acknowledged while {told.primary}, the primary, is "
            f"{told.replicas.get(told.primary, 'unknown')} and {len(told.up)} replicas are up",
            expected=f"a refusal: what is acknowledged is durable on {told.setup.quorum} replicas",
            evidence=[command],
        )

    @upon(AskReplica)
    def asked(self, record: Record) -> None:
        """Who is not the primary refuses, or reads; the primary that was asked for more is looked at as always."""
        step = record.step
        assert isinstance(step, AskReplica)
        if step.replica == self.told.primary:
            return
        for command, answer in zip(step.commands, record.answers, strict=True):
            self.checked += 1
            effect = [event for event in answer.events if not isinstance(event, Rejected | AccountRead)]
            if effect or answer.seq is not None:
                self.report(
                    f"replica {step.replica}",
                    found=f"it acknowledges {type(command).__name__}"
                    + (f" as record {answer.seq}" if answer.seq is not None else ""),
                    expected=f"a refusal: {self.told.primary} is the primary of epoch {self.told.epoch}",
                    evidence=[command, *effect],
                )

    @before(PromoteReplica)
    def continues(self, command: PromoteReplica, answer: Answer) -> None:
        """A promotion follows all that was acknowledged."""
        if answer.seq is None:
            return
        self.checked += 1
        if answer.seq <= self.told.seq:
            self.report(
                f"promotion of {command.replica}",
                found=f"its log ended at {answer.seq - 1} when it was promoted",
                expected=f"all up to {self.told.seq}, which was acknowledged",
                evidence=[command],
            )

    @on(ReplicaPromoted)
    def promoted(self, event: ReplicaPromoted) -> None:
        """A replica that is up, not the primary, and with a quorum, is the primary of the next epoch."""
        self.checked += 1
        told = self.told
        if event.epoch != self.told.epoch + 1:
            self._misled(event, f"it begins epoch {event.epoch}", f"epoch {self.told.epoch + 1}: epochs rise by one")
        if event.replica == self.told.primary:
            self._misled(event, "it is the primary already", "another replica")
        if self.told.resending:
            return
        if event.replica not in told.up:
            self._misled(event, f"it is {told.replicas.get(event.replica, 'unknown')}", "a replica that is up")
        elif len(told.up) < told.setup.quorum:
            self._misled(event, f"{len(told.up)} replicas are up", f"at least {told.setup.quorum}, a quorum")

    def _misled(self, event: ReplicaPromoted, found: str, expected: str) -> None:
        self.report(f"promotion of {event.replica}", found=found, expected=expected, evidence=[event])

    def resent(self, record: JournalRecord) -> None:
        """A record is of the epoch in which it was decided; a promotion is the first one of its own."""
        self.checked += 1
        promotions = (event.epoch for event in record.events if isinstance(event, ReplicaPromoted))
        epoch = next(promotions, self.told.epoch)
        if record.epoch != epoch:
            self.report(
                f"record {record.seq}",
                found=f"it is of epoch {record.epoch}",
                expected=f"epoch {epoch}",
                evidence=[record.command],
            )

    def view(self, view: View) -> None:
        """The primary, and its epoch, are those told."""
        self.checked += 1
        if view.epoch != self.told.epoch:
            self.report("epoch", found=str(view.epoch), expected=f"{self.told.epoch}, as told")
        if view.primary is not None and view.primary != self.told.primary:
            self._usurped(view.primary)
        if view.epoch > 1 and view.seq < self.told.seq and view.journal_sha256 is not None:
            self.report(
                f"log of epoch {view.epoch}",
                found=f"it ends at {view.seq}",
                expected=f"{self.told.seq}, the last number acknowledged",
            )

    def _usurped(self, primary: ReplicaId) -> None:
        self.report(
            f"primary of epoch {self.told.epoch}", found=primary, expected=f"{self.told.primary}, as was told"
        )
