"""READ-1: a read is exact at its cut, or it is refused."""

from collections.abc import Mapping
from typing import Any

from holdfast_invariants.monitor import Monitor, before, on, upon
from holdfast_model.vocabulary import (
    AccountRead,
    Answer,
    AskReplica,
    AssetId,
    Bucket,
    Burst,
    ClientId,
    EntryPosted,
    ReadAccount,
    Record,
    ReplicaId,
    View,
)

Balances = Mapping[tuple[Bucket, AssetId], int]


class ReadsAreExact(Monitor):
    """READ-1: the balances that are read are those that were told up to the cut which the read names.

    The primary's cut is the last one; that of another replica may lie behind it, and never behind one that it had
    before. What was posted since the slowest replica's cut is kept, so that a read there is compared exactly.
    """

    invariant = "READ-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._reached: dict[ReplicaId, int] = {}
        """The furthest cut at which each replica was seen."""
        self._asked: tuple[int, ReplicaId] = (-1, "")
        """The last replica to which commands were handed, and at which step."""
        self._began = (-1, 0)
        """The last step of several commands, and the cut before it: a read among them is of that cut or later."""

    @upon(Burst, AskReplica)
    def among(self, record: Record) -> None:  # noqa: ARG002 - that it is one
        """Several commands may arrive together."""
        self._began = (self.findings.step, self.told.seq)

    @upon(AskReplica)
    def handed(self, record: Record) -> None:
        """The next commands go to one replica."""
        assert isinstance(record.step, AskReplica)
        self._asked = (self.findings.step, record.step.replica)

    def view(self, view: View) -> None:
        """How far each replica has come."""
        for replica in view.replicas:
            self._reached[replica.replica] = max(replica.seq, self._reached.get(replica.replica, 0))

    @before(ReadAccount)
    def asked(self, command: ReadAccount, answer: Answer) -> None:
        """The answer is of the client and the replica that were asked for, and no decision."""
        self.checked += 1
        for event in answer.events:
            if isinstance(event, AccountRead) and event.client != command.client:
                self._wrong(event, f"the balances of {event.client}", f"those of {command.client}, or a refusal")
        if answer.seq is not None:
            self.report(
                f"read of {command.client}",
                found=f"it is record {answer.seq}",
                expected="a read decides nothing",
                evidence=[command],
            )

    @on(AccountRead)
    def read(self, event: AccountRead) -> None:
        """The balances are those of the cut; nothing is missing, and nothing is zero that is not."""
        step, replica = self._asked
        asked = replica if step == self.findings.step else self.told.primary
        if event.replica != asked:
            self._wrong(event, f"it is answered by {event.replica}", f"by {asked}, which was asked")
        told = self.told
        if event.replica not in told.up:
            status = told.replicas.get(event.replica, "unknown")
            self._wrong(event, f"{event.replica} is {status}", "a refusal: only a replica that is up reads")
        if event.seq > self.told.seq:
            if not self.told.unknown:
                self._wrong(event, f"it is of the cut {event.seq}", f"at most {self.told.seq}, the last one")
            return
        step, began = self._began
        cut = began if step == self.findings.step else told.seq
        least = cut if event.replica == told.primary else self._reached.get(event.replica, 0)
        if event.seq < least:
            self._wrong(
                event, f"it is of the cut {event.seq}", f"{least} or later, which {event.replica} had reached"
            )
            return
        self._reached[event.replica] = event.seq
        self._compare(event)

    def _compare(self, event: AccountRead) -> None:
        shown = {(item.bucket, item.asset): int(item.amount) for item in event.balances}
        expected = self._at(event.client, event.seq)
        self.checked += 1
        for place in sorted(shown.keys() | expected.keys()):
            found, exact = shown.get(place, 0), expected.get(place, 0)
            if found != exact:
                self.report(
                    f"{event.client} {' '.join(place)} at {event.replica}",
                    found=f"{found} at the cut {event.seq}",
                    expected=f"{exact}, or a refusal",
                    evidence=[event],
                )

    def _at(self, client: ClientId, cut: int) -> Balances:
        """A client's balances at a cut: those of now without what was posted since. Costs as much as that is."""
        amounts = self.told.amounts
        balances = {
            (bucket, asset): amounts.get((client, bucket, asset), 0)
            for bucket in Bucket
            for asset in self.told.setup.assets
        }
        for seq, events in reversed(self.told.recent):
            if seq <= cut:
                break
            for posting in (item for event in events if isinstance(event, EntryPosted) for item in event.postings):
                if posting.account == client and (posting.bucket, posting.asset) in balances:
                    balances[posting.bucket, posting.asset] -= posting.amount
        return balances

    def _wrong(self, event: AccountRead, found: str, expected: str) -> None:
        self.report(f"read of {event.client} at {event.replica}", found=found, expected=expected, evidence=[event])
