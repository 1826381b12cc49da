"""What was done to an exchange and what it answered: steps, answers, records, histories."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.amounts import Sha256
from holdfast_model.vocabulary.commands import Command
from holdfast_model.vocabulary.events import Event
from holdfast_model.vocabulary.operations import ReplicaId
from holdfast_model.vocabulary.setup import Setup
from holdfast_model.vocabulary.views import View


class CrashPoint(StrEnum):
    """How far a command in flight had come when the process died; only an engine in our own process can be told."""

    BEFORE_JOURNAL = "before_journal"
    TORN_JOURNAL = "torn_journal"
    """Half of its journal record was written."""
    AFTER_JOURNAL = "after_journal"
    """It was durable, but the client was never told."""


class _Action(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    pass


class Burst(_Action, tag="burst", frozen=True, kw_only=True):
    """Commands that all arrive before the first of them is taken in."""

    commands: tuple[Command, ...]


class AskReplica(_Action, tag="ask_replica", frozen=True, kw_only=True):
    """Hand commands to one replica, whether it is the primary or not."""

    replica: ReplicaId
    commands: tuple[Command, ...]


class TakeSnapshot(_Action, tag="take_snapshot", frozen=True, kw_only=True):
    """Write a snapshot of the state."""


class RestoreSnapshot(_Action, tag="restore_snapshot", frozen=True, kw_only=True):
    """Throw the state in memory away and rebuild it from the last snapshot and the whole journal after it."""


class Crash(_Action, tag="crash", frozen=True, kw_only=True):
    """Kill the process (SIGKILL), optionally with a command in flight, whose outcome nobody is told.

    With a `replica` only that replica dies: the exchange goes on, and another one can be promoted.
    """

    in_flight: Command | None = None
    point: CrashPoint = CrashPoint.BEFORE_JOURNAL
    replica: ReplicaId | None = None


class Restart(_Action, tag="restart", frozen=True, kw_only=True):
    """Start the process again on the same data directory."""


class ComeToRest(_Action, tag="come_to_rest", frozen=True, kw_only=True):
    """Heal whatever is broken, and let operators, signers, chains and clients do what is theirs, round after round.

    What is to be done follows from what the exchange tells, so that this is one step wherever it stands. An exchange
    that is down is started first. Once nothing is pending, or the rounds are over, all must be at rest (LIVE-1).
    """


Step = Command | Burst | AskReplica | TakeSnapshot | RestoreSnapshot | Crash | Restart | ComeToRest
"""One step of a sequence: a command, or something done to the process that runs the exchange."""


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """What the exchange answered to one command.

    `seq` is the command's number in the journal, None when it was refused at the door, or was no decision of the
    exchange (a read, something done to a replica), and then not journaled; `journal_sha256` is the head of the hash
    chain after it. An empty `events` is no answer at all.
    """

    events: tuple[Event, ...]
    seq: int | None = None
    journal_sha256: Sha256 | None = None


class JournalRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One command that was decided, with its events and the hash chain's head after it."""

    seq: int
    epoch: int
    command: Command
    events: tuple[Event, ...]
    journal_sha256: Sha256


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """One step of a history: the answers in the order in which its commands were given.

    `answers` is empty for a command in flight at a crash: its outcome is unknown. `resent` holds what the exchange,
    once asked again, said was decided meanwhile. `view` is there where one was taken.
    """

    step: Step
    answers: tuple[Answer, ...] = ()
    resent: tuple[JournalRecord, ...] = ()
    view: View | None = None


class History(Struct, frozen=True, kw_only=True, gc=False):
    """A setup and all that was done and answered after it, crashes and restarts included."""

    setup: Setup
    records: tuple[Record, ...]


def commands_of(step: Step) -> tuple[Command, ...]:
    """The commands that a step hands to the exchange and that it must answer, in order of arrival."""
    if isinstance(step, Burst | AskReplica):
        return step.commands
    return () if isinstance(step, TakeSnapshot | RestoreSnapshot | Crash | Restart | ComeToRest) else (step,)


def command_count(steps: tuple[Step, ...]) -> int:
    """How many commands and actions a sequence has; a burst counts each of its commands, a crash its command too."""
    return sum(
        len(step.commands)
        if isinstance(step, Burst | AskReplica)
        else 2
        if isinstance(step, Crash) and step.in_flight
        else 1
        for step in steps
    )
