"""The world of a link: an engine, set up as small as the model, what it has shown, and what is outside of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engine import Engine, EngineFailure
from holdfast.linking.chain import Chain
from holdfast.linking.rules import MISSING, Subject, Values
from holdfast.linking.scope import setup_of
from holdfast.running import Runner
from holdfast_model.spec import Enumeration, Index
from holdfast_model.spec.model import Model, State
from holdfast_model.spec.sorts import sized
from holdfast_model.specs.exchange.ledger import Account
from holdfast_model.specs.exchange.operations import Recovery, Replication, Slot, Standby
from holdfast_model.vocabulary import (
    AskReplica,
    Bucket,
    Command,
    Crash,
    DeployRelease,
    Event,
    JournalRecord,
    LoadConfirmed,
    MismatchFound,
    Reason,
    Rejected,
    ReplicaId,
    ReplicaStatus,
    Restart,
    StartReplica,
    Step,
    TakeSnapshot,
    View,
)


@dataclass(frozen=True, slots=True)
class Logged:
    """What a record of the journal is in the model's log."""

    seq: int
    fields: Values


class World:
    """An engine and everything around it, at the sizes of a model. What it is told and what it asks for is kept."""

    def __init__(self, model: Model, engine: Engine, subjects: Sequence[Subject]) -> None:
        self.model = model
        self.subjects = subjects
        self.setup = setup_of(model)
        self.engine = engine
        self.clients = self.names(Account)
        self.runner = Runner(engine, self.setup, catalogue=())
        self.surprises: list[str] = []
        """Answers that were not the ones expected since the last look."""
        self.roles: list[ReplicaId] = list(self.setup.replicas)
        """The replicas by role: the primary, then the standbys in the model's order."""
        self.chain = Chain()
        self.snapshot_seq = 0
        self.followed: Values | None = None
        """The state of the model that the exchange follows, where it follows one."""
        self.pending: list[Command] = []
        """What the world outside told while nothing acted; it is given as soon as something does."""
        self.notes: dict[str, int] = {}
        """What subjects remember of what is outside of the exchange."""
        self._fields: dict[int, Values] = {}
        self._hashes: dict[int, str] = {}
        self.records: tuple[JournalRecord, ...] = ()
        self._names = [variable.name for variable in model.variables]
        self._steps_seen = -1
        self.look()
        self.snapshot_fields = self.fields_at(0)

    # Asking ---------------------------------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether the whole process was killed."""
        return self.runner.down

    @property
    def acts(self) -> bool:
        """Whether the exchange decides what it is asked: its primary is there and reaches enough others."""
        if self.down:
            return False
        up = [item.replica for item in self.view.replicas if item.status is ReplicaStatus.UP]
        return self.roles[0] in up and len(up) >= self.setup.quorum

    @property
    def has_primary(self) -> bool:
        """Whether the primary runs, reached or not; while it does not, a model knows of no mismatch."""
        return not self.down and any(
            item.replica == self.roles[0] and item.status is not ReplicaStatus.DOWN for item in self.view.replicas
        )

    def tell(self, command: Command) -> None:
        """The world outside tells something: now, or as soon as the exchange acts."""
        if self.acts and not self.pending:
            self.do(command)
        else:
            self.pending.append(command)

    @property
    def failure(self) -> str:
        """How the engine failed; empty while it did not."""
        return self.runner.failure

    @property
    def is_halted_for_good(self) -> bool:
        """Whether a mismatch between ledger and custody was told: what follows it is not modelled."""
        return any(isinstance(event, MismatchFound) for record in self.records for event in record.events)

    def has(self, part: type) -> bool:
        """Whether the model has a part."""
        return isinstance(self.model.spec, part)

    def names(self, sort: type[Index] | type[Enumeration]) -> list[str]:
        """The members of a sort as they are printed."""
        if issubclass(sort, Enumeration):
            return [str(member) for member in sort]
        with sized(self.model.spec.sizes):
            return [str(member) for member in sort]

    def parameter(self, name: str) -> int:
        """A size of the model."""
        return int(self.model.spec.__dict__["parameters"][name])

    def named(self, state: State) -> Values:
        """A state of the model by the names of its variables."""
        return dict(zip(self._names, state, strict=True))

    @staticmethod
    def balance(view: View, account: str, bucket: Bucket, asset: object) -> int:
        """A balance, 0 where none is shown."""
        wanted = account, bucket, str(asset)
        return sum(item.amount for item in view.balances if (item.account, item.bucket, item.asset) == wanted)

    def records_upto(self, seq: int) -> tuple[JournalRecord, ...]:
        """The journal up to a number."""
        return tuple(record for record in self.records if record.seq <= seq)

    def logs(self) -> list[Logged]:
        """The commands of the model's log: what the journal has since the snapshot, as each part reads it."""
        return [logged for logged in self.all_logs() if logged.seq > self.snapshot_seq]

    def all_logs(self) -> list[Logged]:
        """The journal from its beginning, as each part reads it."""
        found: list[Logged] = []
        for record in self.records:
            for subject in self.subjects:
                found.extend(Logged(record.seq, fields) for fields in subject.logged(self, record))
        return found

    # Doing ----------------------------------------------------------------------------------------------------------

    def step(self, step: Step) -> tuple[Event, ...]:
        """Take a step, whatever is answered."""
        record = self.runner.do(step)
        if record is None:
            return ()
        events = tuple(event for answer in record.answers for event in answer.events)
        if isinstance(step, StartReplica | DeployRelease) and not any(isinstance(e, Rejected) for e in events):
            self.notes[f"reloaded {step.replica}"] = self.runner.auditor.told.seq
        return events

    def was_reloaded(self, replica: ReplicaId) -> bool:
        """Whether a replica was started, or a release was deployed on it, since the load was last confirmed."""
        confirmed = [r.seq for r in self.records for event in r.events if isinstance(event, LoadConfirmed)]
        return self.notes.get(f"reloaded {replica}", -1) >= max(confirmed, default=0)

    def attempt(self, *steps: Step) -> None:
        """Take steps, whatever is answered."""
        for step in steps:
            self.step(step)

    def fresh(self, kind: str) -> str:
        """An id that was not used before."""
        self.notes[kind] = self.notes.get(kind, 0) + 1
        return f"{kind}{self.notes[kind]}"

    def do(self, *steps: Step) -> tuple[Event, ...]:
        """Take steps that must not be refused; the events of the last."""
        events: tuple[Event, ...] = ()
        for step in steps:
            events = self.step(step)
            refused = [event.reason for event in events if isinstance(event, Rejected)]
            if refused and not self.failure:
                self.surprises.append(f"{type(step).__name__} is refused: {', '.join(refused)}")
        return events

    def are_accepted(self, *steps: Step) -> bool:
        """Take steps that must not be refused; whether none was."""
        known = len(self.surprises)
        self.do(*steps)
        return len(self.surprises) == known and not self.failure

    def refuse(self, command: Command, *reasons: Reason, replica: ReplicaId | None = None) -> None:
        """Give a command that must be refused for one of these reasons."""
        step: Step = command if replica is None else AskReplica(replica=replica, commands=(command,))
        events = self.step(step)
        found = [event.reason for event in events if isinstance(event, Rejected)]
        if not self.failure and (len(found) != 1 or found[0] not in reasons):
            self.surprises.append(
                f"{type(command).__name__} is {'refused: ' + found[0] if found else 'not refused'}; "
                f"expected: {' or '.join(reasons)}"
            )

    def settle(self, after: Values) -> None:
        """Let each part do what the exchange and the world outside still owe the model's state after a step."""
        self.look()
        self.followed = after
        for subject in self.subjects:
            subject.settle(self, after)
        self.look()
        if self.pending and self.acts:
            self.do(*self.pending)
            self.pending = []

    def take_snapshot(self) -> None:
        """A snapshot is written; what is shown then is what is in it."""
        self.do(TakeSnapshot())
        self.look()
        self.snapshot_seq = self.view.seq
        self.snapshot_fields = self.fields_at(self.view.seq)

    def forget(self) -> None:
        """The primary is gone, and with it what is not the engine's."""
        for subject in self.subjects:
            subject.forget(self)

    def kill(self) -> None:
        """The whole process dies."""
        self.do(Crash())

    def restart(self) -> None:
        """It is started again on what it had made durable."""
        self.do(Restart())

    # Looking --------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take in what the exchange shows: its view, and its journal from the beginning."""
        if self.down or self.runner.failed or self._steps_seen == len(self.runner.steps):
            return
        self._steps_seen = len(self.runner.steps)
        try:
            self.view, self.records = self.engine.observe(0)
        except EngineFailure as failure:
            self.runner.failed, self.runner.failure = True, str(failure)
            return
        seq = self.view.seq
        self._fields[seq] = self._read(self.view)
        # Without a primary that shows itself, the view is that of a replica which has all that was acknowledged.
        hashes = {item.replica: item.state_sha256 for item in self.view.replicas if item.seq == seq}
        shown = hashes.get(self.view.primary or "") or next((each for each in hashes.values() if each), None)
        if shown is not None:
            self._hashes[seq] = shown

    def _read(self, view: View) -> Values:
        found: Values = {}
        for subject in self.subjects:
            found |= subject.fields(self, view)
        return found

    def fields_at(self, seq: int) -> Values:
        """The fields of the engine's record as they were shown at a cut; missing where nobody looked."""
        known = self._fields.get(seq)
        return known if known is not None else dict.fromkeys(self._fields[0], MISSING)

    def is_as_shown(self, seq: int, sha256: str | None) -> bool:
        """Whether a replica's state is what the primary showed at the same cut, by its hash."""
        return sha256 is not None and self._hashes.get(seq) == sha256

    def abstract(self) -> Values:
        """The model's variables as the exchange and the world around it show them now: the abstraction."""
        found: Values = {}
        for subject in self.subjects:
            found |= subject.beside(self)
        if found.get("up", 1) or found.get("isolated", 0):
            found |= {f"live.{name}": value for name, value in self.fields_at(self.view.seq).items()}
        if self.has(Recovery):
            found |= {f"snapshot_taken.{name}": value for name, value in self.snapshot_fields.items()}
            found |= self._log()
        return found

    def _log(self) -> Values:
        logs, slots = self.logs(), self.names(Slot)
        found: Values = {name: 0 for name in self._names if name.startswith("log[")}
        for slot, logged in zip(slots, logs, strict=False):
            found |= {f"log[{slot}].{name}": value for name, value in logged.fields.items()}
        found["(commands beyond the log)"] = max(0, len(logs) - len(slots))
        return found

    def _without_unlogged(self, state: Values) -> Values:
        """The state with only those commands in the log that are commands of the exchange."""
        unlogged = {kind for subject in self.subjects for kind in subject.unlogged}
        if not unlogged or not self.has(Recovery):
            return state
        slots = self.names(Slot)
        names = [
            name.removeprefix(f"log[{slots[0]}].") for name in self._names if name.startswith(f"log[{slots[0]}].")
        ]
        kept = [slot for slot in slots if state[f"log[{slot}].kind"] not in unlogged]
        found = state | {f"log[{slot}].{name}": 0 for slot in slots for name in names}
        for slot, source in zip(slots, kept, strict=False):
            found |= {f"log[{slot}].{name}": state[f"log[{source}].{name}"] for name in names}
        return found

    def copies(self) -> list[str]:
        """The copies of the engine's record in a state of the model."""
        found = ["live"]
        if self.has(Recovery):
            found.append("snapshot_taken")
        if self.has(Replication):
            found += [f"replica[{name}]" for name in self.names(Standby)]
        return found

    def expected(self, state: State, observed: Values) -> Values:
        """What a model state says of all that was observed."""
        named = self._without_unlogged(self.named(state))
        together: Values = {"(commands beyond the log)": 0}
        for subject in self.subjects:
            together |= subject.together(self, named)
        missing = [name for name in observed if name not in named and name not in together]
        assert not missing, f"observed and not in the model: {missing}"
        return {name: together.get(name, named.get(name, MISSING)) for name in observed}


def was_refused(record: JournalRecord) -> bool:
    """Whether a record is of a command that had no effect."""
    return any(isinstance(event, Rejected) for event in record.events)
