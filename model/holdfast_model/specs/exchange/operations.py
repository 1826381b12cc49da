"""Operations: phases, recovery from snapshot and log, maintenance by procedure, replicas and failover, surge.

**Phases** allow commands by kind, as the table in docs/exchange.md does; they change only by decisions, which an
exchange without a primary or a quorum does not take. **Recovery** logs every command; a crash
loses the live engine, and a restore replays the log on the snapshot through the very code that executed it.
**Maintenance** is announced, entered from cancel-only, may deploy, and like a restore obliges to load barrier and
reconciliation before orders are taken again, also where it was called off. **Replication** adds standbys that follow
the log, lag, are cut off and die; a command is acknowledged only when a quorum has it; a promotion of a standby that
lacks one is refused; epochs fence off a deposed primary.
**Surge** puts a bounded queue in front: cancels first, what does not fit is shed, and clients retry by id.

Abstracted away: the phase and the steps of the procedure are kept beside the log, not in it; auctions; releases other
than by the restart that installs one; time. Standbys are numbered by role: a promoted one swaps its place with the
primary. A standby receives a record and executes it in one step. Of an order that goes through the queue only what it
sets aside is modelled: one unit of USDT of the first account.
"""

from enum import auto
from itertools import pairwise
from typing import Self

from holdfast_model.spec import (
    Bool,
    Condition,
    Enum,
    Enumeration,
    Index,
    Nat,
    Part,
    Response,
    Value,
    action,
    all_of,
    always,
    any_of,
    auxiliary,
    eventually,
    exists,
    forall,
    implies,
    ite,
    made_once,
    negation,
    sometimes,
    step,
    total,
)
from holdfast_model.specs.exchange.ledger import Account, Asset, Command, Engine, Exchange, Kind


class Phase(Enumeration):
    """What the exchange is doing."""

    OPEN = auto()
    POST_ONLY = auto()
    CANCEL_ONLY = auto()
    HALTED = auto()
    MAINTENANCE = auto()


TRADED = (Kind.TRADE, Kind.OPEN_POSITION, Kind.LIQUIDATE)
"""Legal only while the exchange is open."""

PLACED = (Kind.PLACE, Kind.SERVE_ORDER, Kind.TRANSFER)
"""Legal while it is open or post-only."""

TOLD = (
    Kind.MARK,
    Kind.HALT_PRODUCT,
    Kind.RESUME_STAGE,
    Kind.REPORT_BLOCK,
    Kind.REPORT_DEPOSIT,
    Kind.REPORT_PAYMENT,
    Kind.REPORT_REORGANISATION,
)
"""Legal in every phase but maintenance: what the world reports, and what protects."""


def legal(kind: Value, phase: Value) -> Condition:
    """Whether a command of this kind may take effect in this phase.

    In maintenance nothing may; funds and cancels may where it is neither halted nor in maintenance.
    """
    traded, placed, told = (any_of(*(kind == each for each in kinds)) for kinds in (TRADED, PLACED, TOLD))
    is_open = phase == Phase.OPEN
    return any_of(
        is_open,
        all_of(phase == Phase.POST_ONLY, negation(traded)),
        all_of(phase == Phase.CANCEL_ONLY, negation(traded), negation(placed)),
        all_of(phase == Phase.HALTED, told),
    )


class Phased(Exchange):
    """The phases in which a venue trades, or not."""

    phase = Enum(Phase)
    acted_out_of_phase = Bool.ghost()

    def allows(self, kind: Kind) -> Condition:
        """Whether the phase lets a command of this kind take effect, too."""
        return all_of(super().allows(kind), legal(kind, self.phase))

    def submit(self, command: Command) -> None:
        """Remember whether a command took effect in a phase that forbids it."""
        self.acted_out_of_phase = any_of(self.acted_out_of_phase, negation(legal(command.kind, self.phase)))
        super().submit(command)

    @action
    def restrict(self) -> None:
        """Trading stops; cancels and funds go on. Also the first step out of a halt."""
        phases = Phase.OPEN, Phase.POST_ONLY, Phase.HALTED
        self.require(self.decides(), any_of(*(self.phase == each for each in phases)))
        self.phase = Phase.CANCEL_ONLY

    @action
    def admit_orders(self) -> None:
        """Orders that do not trade are taken in."""
        self.require(self.decides(), self.phase == Phase.CANCEL_ONLY)
        self.phase = Phase.POST_ONLY

    @action
    def open(self) -> None:
        """Trading goes on, after post-only."""
        phases = (Phase.POST_ONLY, Phase.CANCEL_ONLY) if self.bug == "open-unprepared" else (Phase.POST_ONLY,)
        self.require(self.decides(), any_of(*(self.phase == each for each in phases)))
        self.phase = Phase.OPEN

    @always("PHASE-1")
    def commands_are_in_phase(self) -> Condition:
        """No command took effect in a phase in which it is not legal."""
        return negation(self.acted_out_of_phase)

    @step("PHASE-2")
    def opens_through_post_only(self, after: Self) -> Condition:
        """Nothing opens that was not post-only before."""
        opened = all_of(self.phase != Phase.OPEN, after.phase == Phase.OPEN)
        return implies(opened, self.phase == Phase.POST_ONLY)


class Slot(Index, prefix="l", counted="commands in the log"):
    """A place in the command log."""


class Recovery(Exchange):
    """Snapshot, log, crash and restore."""

    up = Bool.starting(1)
    snapshot_taken = Part(Engine)
    log = Part(Command).per(Slot)
    just_restored = Bool.ghost()
    """Whether the last thing that happened to the engine was a restore."""

    def counts(self) -> dict[type[Index], int]:
        """The sorts, and how many commands fit in the log between two snapshots."""
        return {**super().counts(), Slot: self.parameters["log"]}

    def operating(self) -> Condition:
        """Whether there is a live engine that acts."""
        return self.up

    def length(self) -> Value:
        """How many commands the log has."""
        return total(ite(self.log[slot].kind == Kind.NONE, 0, 1) for slot in Slot)

    def submit(self, command: Command) -> None:
        """Append the command to the log, which must have room, and then execute it."""
        self.require(exists(self.log[slot].kind == Kind.NONE for slot in Slot))
        full: Condition = True
        for slot in Slot:
            empty = self.log[slot].kind == Kind.NONE
            with self.when(full, empty):
                self.log[slot] = command
            full = all_of(full, negation(empty))
        self.just_restored = False
        super().submit(command)

    @made_once
    def replayed(self, *, times: int = 1) -> Engine:
        """The engine that the snapshot and the log together describe."""
        engine = self.snapshot_taken.copy()
        for _ in range(times):
            for slot in Slot:
                engine.execute(self.log[slot])
        return engine

    @made_once
    def standing(self) -> Engine:
        """The engine that clients rely on: the live one, or while there is none the one that a restore owes them."""
        engine = self.replayed()
        with self.when(self.up):
            engine.assign(self.live)
        return engine

    def replicas_agree(self) -> Condition:
        """Whether every copy of the engine is there and shows what snapshot and log describe."""
        return self.live.equals(self.replayed())

    @action
    def snapshot(self) -> None:
        """The live engine becomes the snapshot, and the log starts again."""
        self.require(self.up, self.log[0].kind != Kind.NONE)
        self.snapshot_taken = self.live
        self.just_restored = False
        self.clear_log()

    def clear_log(self) -> None:
        """Forget the commands since the snapshot."""
        for slot in Slot:
            self.log[slot].reset()

    @action
    def crash(self) -> None:
        """The live engine is lost."""
        self.require(self.up)
        self.fault()
        self.up = False
        self.just_restored = False
        self.live.reset()
        self.lose_memory()

    @action
    def restore(self) -> None:
        """The engine comes back: the snapshot, and on it every command of the log again."""
        self.require(negation(self.up))
        self.up = True
        self.just_restored = True
        if self.bug == "restore":
            self.live = self.snapshot_taken
            self.clear_log()
        else:
            self.live = self.replayed(times=2 if self.bug == "replay-twice" else 1)

    @always("REPL-1", strengthens=True)
    def live_is_the_replay(self) -> Condition:
        """The live engine is what replaying the log on the snapshot gives."""
        return implies(self.up, self.live.equals(self.replayed()))

    @auxiliary("log-has-no-gap")
    def log_has_no_gap(self) -> Condition:
        """The commands of the log stand at its beginning."""
        return forall(
            implies(self.log[slot].kind == Kind.NONE, self.log[after].kind == Kind.NONE)
            for slot, after in pairwise(Slot)
        )

    @eventually("LIVE-1")
    def operation_resumes(self) -> Response:
        """Whatever happened, operation can resume."""
        return Response(whenever=negation(self.operating()), then=self.operating())

    @sometimes("restored-with-a-log")
    def restored_after_commands(self) -> Condition:
        """A restore had commands to replay that the snapshot did not hold."""
        return all_of(self.just_restored, self.log[0].kind != Kind.NONE)


class Procedure(Phased, Recovery):
    """Maintenance by procedure: announced, then deploy, load barrier, reconciliation, post-only."""

    announced = Bool
    load_confirmed = Bool.starting(1)
    reconciled = Bool.starting(1)
    barrier_due = Bool.ghost()
    """Whether the engine was loaded anew, or maintenance began, and nobody has compared it with its log since."""
    reconciliation_due = Bool.ghost()
    deployed_with_log = Bool.ghost()
    crashed_in_maintenance = Bool.ghost()
    aborted = Bool.ghost()

    def _loaded_anew(self, *, noticed: bool = True) -> None:
        if noticed:
            self.load_confirmed = self.reconciled = False
        self.barrier_due = True
        self.reconciliation_due = True

    @action
    def announce(self) -> None:
        """Maintenance is announced; one announcement serves one maintenance."""
        self.require(self.decides(), negation(self.announced), self.phase != Phase.MAINTENANCE)
        self.announced = True

    @action
    def begin_maintenance(self) -> None:
        """Trading has stopped and maintenance was announced: it begins."""
        self.require(self.decides(), self.phase == Phase.CANCEL_ONLY, self.announced)
        self.phase = Phase.MAINTENANCE
        self.announced = False
        self.deployed_with_log = self.crashed_in_maintenance = self.aborted = False
        self.load_confirmed = self.reconciled = False
        self.barrier_due = self.reconciliation_due = True

    @action
    def deploy(self) -> None:
        """The engine restarts with a new release: from the snapshot, and on it every command of the log."""
        self.require(self.up, self.phase == Phase.MAINTENANCE)
        self.deployed_with_log = self.log[0].kind != Kind.NONE
        if self.bug == "deploy-drops-log":
            self.live = self.snapshot_taken
            self.clear_log()
        else:
            self.live = self.replayed()
        self._loaded_anew()

    @action
    def crash(self) -> None:
        """The live engine is lost."""
        super().crash()
        self.crashed_in_maintenance = any_of(self.crashed_in_maintenance, self.phase == Phase.MAINTENANCE)

    @action
    def restore(self) -> None:
        """The engine comes back, in the phase in which it was, and is not confirmed to be loaded."""
        super().restore()
        self._loaded_anew()

    def is_to_confirm(self) -> Condition:
        """Whether confirming the load would change anything."""
        return negation(self.load_confirmed)

    @action
    def confirm_load(self) -> None:
        """The load barrier: every replica shows the same, and it is what snapshot and log describe."""
        self.require(self.up, self.is_to_confirm(), self.replicas_agree())
        self.load_confirmed = True
        self.barrier_due = False

    @action
    def reconcile(self) -> None:
        """The ledger is compared with what is outside of it, after the load barrier."""
        self.require(
            self.decides(),
            self.load_confirmed,
            negation(self.reconciled),
            forall(self.reconciles(asset) for asset in Asset),
        )
        self.reconciled = True
        self.reconciliation_due = False

    @action
    def end_maintenance(self) -> None:
        """Maintenance ends: post-only, once the load is confirmed and the ledger reconciled."""
        self.require(self.decides(), self.phase == Phase.MAINTENANCE)
        if self.bug != "barrier-skipped":
            self.require(self.load_confirmed, self.reconciled)
        self.phase = Phase.POST_ONLY

    @action
    def admit_orders(self) -> None:
        """Orders that do not trade are taken in, once nothing is owed: not for a maintenance that was called off."""
        super().admit_orders()
        if self.bug != "barrier-forgiven":
            self.require(self.load_confirmed, self.reconciled)

    @action
    def open(self) -> None:
        """Trading goes on, after post-only, once nothing is owed: not for a restore on the way."""
        super().open()
        if self.bug != "opened-unloaded":
            self.require(self.load_confirmed, self.reconciled)

    @action
    def abort_maintenance(self) -> None:
        """Maintenance is called off: back to cancel-only. What it obliges to stays owed."""
        self.require(self.decides(), self.phase == Phase.MAINTENANCE)
        self.phase = Phase.CANCEL_ONLY
        self.aborted = True

    @step("PHASE-2")
    def barrier_before_orders(self, after: Self) -> Condition:
        """No phase that takes orders is entered, from wherever, while the load barrier or reconciliation is due."""
        entered = any_of(
            *(all_of(self.phase != phase, after.phase == phase) for phase in (Phase.POST_ONLY, Phase.OPEN))
        )
        return implies(entered, negation(any_of(self.barrier_due, self.reconciliation_due)))

    @step("MAINT-1")
    def nothing_changes_in_maintenance(self, after: Self) -> Condition:
        """No step in, into or out of maintenance changes anything that a client sees."""
        concerned = any_of(self.phase == Phase.MAINTENANCE, after.phase == Phase.MAINTENANCE)
        return implies(concerned, self.standing().equals(after.standing()))

    @always("PHASE-2", strengthens=True)
    def due_is_not_confirmed(self) -> Condition:
        """A load or a reconciliation that is due does not count as confirmed."""
        return all_of(
            negation(all_of(self.load_confirmed, self.barrier_due)),
            negation(all_of(self.reconciled, self.reconciliation_due)),
        )

    @sometimes("maintenance-completed-with-funds")
    def completed_with_funds(self) -> Condition:
        """Maintenance with a deployment was completed while clients had funds, and it is post-only."""
        funds = any_of(*(self.live.free[account, asset] > 0 for account in Account for asset in Asset))
        completed = all_of(self.load_confirmed, self.deployed_with_log, negation(self.aborted))
        return all_of(funds, self.phase == Phase.POST_ONLY, completed)

    @sometimes("deployment-replayed-a-log")
    def deployment_with_log(self) -> Condition:
        """A deployment replayed commands that the snapshot did not hold, and maintenance has ended."""
        return all_of(self.deployed_with_log, self.phase == Phase.POST_ONLY)

    @sometimes("crash-in-maintenance")
    def crash_in_maintenance(self) -> Condition:
        """The engine crashed in maintenance, and it is open again."""
        return all_of(self.crashed_in_maintenance, self.phase == Phase.OPEN, self.up)

    @sometimes("maintenance-aborted")
    def maintenance_aborted(self) -> Condition:
        """Maintenance was called off, and it is open again."""
        return all_of(self.aborted, self.phase == Phase.OPEN)

    @eventually("LIVE-1")
    def maintenance_ends(self) -> Response:
        """Whatever happens in maintenance, it can end in trading."""
        return Response(whenever=self.phase == Phase.MAINTENANCE, then=all_of(self.phase == Phase.OPEN, self.up))


class Standby(Index, prefix="r"):
    """A replica other than the primary, by role."""


class Reach(Enumeration):
    """Whether a standby runs and can be reached."""

    UP = auto()
    CUT_OFF = auto()
    DOWN = auto()


class Replication(Recovery):
    """Standbys that follow the log, promotion, and epochs that fence off a deposed primary."""

    epoch = Nat.upto(lambda spec: spec.parameters["epochs"]).starting(1)
    isolated = Bool
    """The primary runs, and cannot be reached."""
    reach = Enum(Reach).per(Standby)
    loaded = Bool.per(Standby).starting(1)
    holds = Nat.upto(lambda spec: spec.parameters["log"]).per(Standby)
    """How many commands of the log a standby has in its own, which its death does not lose."""
    cut_short = Bool.per(Standby)
    """Whether its own log lacks commands that are in the snapshot only, so that it must be given that."""
    replica = Part(Engine).per(Standby)
    leads = Bool.per(Standby)
    """Whether it was the primary and has not heard that it no longer is."""
    knows = Nat.upto(lambda spec: spec.parameters["epochs"]).per(Standby).starting(1)
    """The last epoch that it has heard of."""
    record_epoch = Nat.upto(lambda spec: spec.parameters["epochs"]).per(Slot).ghost()
    """The epoch of the primary that wrote a record."""
    refused = Bool.per(Standby).ghost()
    promoted_after_refusal = Bool.ghost()
    failed_over = Bool.ghost()
    """Whether the last thing that happened to the engine was a promotion in the place of a lost primary."""
    fenced = Bool.ghost()
    """Whether a deposed primary was refused since the last command."""

    def counts(self) -> dict[type[Index], int]:
        """The sorts, and how many standbys there are."""
        return {**super().counts(), Standby: self.parameters["standbys"]}

    def current(self, standby: Standby) -> Condition:
        """Whether a standby can be reached and lacks no command."""
        return all_of(self.reach[standby] == Reach.UP, self.loaded[standby], self.holds[standby] == self.length())

    def quorum(self, standbys: Value) -> Condition:
        """Whether a primary and this many standbys are more than half of all replicas."""
        return 2 * (1 + standbys) > 1 + self.parameters["standbys"]

    def decides(self) -> Condition:
        """Whether a quorum would have it, too."""
        current = total(ite(self.current(standby), 1, 0) for standby in Standby)
        return all_of(super().decides(), self.quorum(current))

    def submit(self, command: Command) -> None:
        """The command is on a quorum before it is acknowledged: every current standby gets and executes it."""
        current = {standby: self.current(standby) for standby in Standby}
        self.require(self.decides())
        self._write(self.epoch)
        self.fenced = self.failed_over = self.promoted_after_refusal = False
        for standby, is_current in current.items():
            with self.when(is_current):
                self.holds[standby] += 1
                self._hear(standby)
                self.replica[standby].execute(command)
        super().submit(command)

    def _write(self, epoch: Value) -> None:
        """Remember the epoch of whoever writes the next record."""
        length = self.length()
        for slot in Slot:
            with self.when(length == int(slot)):
                self.record_epoch[slot] = epoch

    @action
    def snapshot(self) -> None:
        """The log starts again; a standby that lacked some of it must be given the snapshot."""
        lacks = {standby: self.holds[standby] != self.length() for standby in Standby}
        super().snapshot()
        for slot in Slot:
            self.record_epoch[slot] = 0
        for standby in Standby:
            with self.when(lacks[standby]):
                self.cut_short[standby] = True
                self._forget(standby)
            self.holds[standby] = 0

    def _forget(self, standby: Standby) -> None:
        """A standby's memory is gone; its log is not."""
        self.loaded[standby] = False
        self.replica[standby].reset()

    @action
    def cut_off(self, standby: Standby) -> None:
        """A standby can no longer be reached."""
        self.require(self.reach[standby] == Reach.UP)
        self.fault()
        self.reach[standby] = Reach.CUT_OFF

    @action
    def reconnect(self, standby: Standby) -> None:
        """A standby can be reached again; it has not caught up yet."""
        self.require(self.reach[standby] == Reach.CUT_OFF)
        self.reach[standby] = Reach.UP

    @action
    def stop(self, standby: Standby) -> None:
        """A standby dies, and with it its memory; what it had in its log is there when it is started again."""
        self.require(self.reach[standby] != Reach.DOWN)
        self.fault()
        self.reach[standby] = Reach.DOWN
        self.leads[standby] = False
        self._forget(standby)

    @action
    def start(self, standby: Standby) -> None:
        """A dead standby runs again, with nothing loaded."""
        self.require(self.reach[standby] == Reach.DOWN)
        self.reach[standby] = Reach.UP

    @action
    def load(self, standby: Standby) -> None:
        """A standby loads the snapshot and its own log after it; one that is cut short is given it by the primary."""
        self.require(
            self.reach[standby] == Reach.UP,
            negation(self.loaded[standby]),
            any_of(negation(self.cut_short[standby]), self.up),
        )
        self.replica[standby] = self.snapshot_taken
        for slot in Slot:
            with self.when(self.holds[standby] > int(slot)):
                self.replica[standby].execute(self.log[slot])
        self.loaded[standby] = True
        with self.when(self.up):
            self._hear(standby)
        self.cut_short[standby] = False

    @action
    def catch_up(self, standby: Standby) -> None:
        """A standby is told by the primary, and executes, the next command of the log that it lacks."""
        self.require(
            self.up,
            self.reach[standby] == Reach.UP,
            self.loaded[standby],
            self.holds[standby] < self.length(),
        )
        for slot in Slot:
            with self.when(self.holds[standby] == int(slot)):
                self.replica[standby].execute(self.log[slot])
        if self.bug != "record-repeated":
            self.holds[standby] += 1
        self._hear(standby)

    def _hear(self, standby: Standby) -> None:
        """A standby hears from the primary, and with it of the epoch."""
        self.leads[standby] = False
        self.knows[standby] = self.epoch

    @action
    def isolate(self) -> None:
        """The primary runs, and can no longer be reached."""
        self.require(self.up)
        self.fault()
        self.up = False
        self.isolated = True
        self.lose_memory()

    @action
    def rejoin(self) -> None:
        """The primary can be reached again before anybody was promoted."""
        self.require(self.isolated)
        self.up = True
        self.isolated = False

    @action
    def restore(self) -> None:
        """A primary that died comes back before anybody was promoted."""
        self.require(negation(self.isolated))
        super().restore()

    @action
    def promote(self, standby: Standby) -> None:
        """A standby that lacks no command becomes the primary of the next epoch; the old one takes its place."""
        others = total(ite(self.reach[other] == Reach.UP, 1, 0) for other in Standby if other != standby)
        self.require(self.reach[standby] == Reach.UP, self.loaded[standby], self.quorum(others + ite(self.up, 1, 0)))
        if self.bug == "promote-stale":
            for slot in Slot:
                with self.when(self.holds[standby] <= int(slot)):
                    self.log[slot].reset()
                    self.record_epoch[slot] = 0
        else:
            self.require(self.holds[standby] == self.length())
        self.explored_where(self.epoch < self.parameters["epochs"])
        self.failed_over = negation(self.up)
        self.promoted_after_refusal = self.refused[standby]
        for each in Standby:
            self.refused[each] = False
        runs = any_of(self.up, self.isolated)
        promoted, old = self.replica[standby].copy(), self.live.copy()
        self.live = promoted
        self.replica[standby] = old
        self.reach[standby] = ite(self.up, Reach.UP, ite(self.isolated, Reach.CUT_OFF, Reach.DOWN))
        self.loaded[standby] = runs
        self.holds[standby] = self.length()
        self.leads[standby] = self.isolated
        self.knows[standby] = self.epoch
        if self.bug != "epoch-kept":
            self.epoch += 1
        with self.when(self.up):
            self._hear(standby)
        self.up = True
        self.isolated = False
        self.lose_memory()

    @action
    def refuse_promotion(self, standby: Standby) -> None:
        """A standby that lacks an acknowledged command is not promoted."""
        self.require(
            negation(self.up),
            self.reach[standby] == Reach.UP,
            any_of(self.cut_short[standby], self.holds[standby] < self.length()),
        )
        self.refused[standby] = True

    @action
    def deposed_write(self, standby: Standby) -> None:
        """A deposed primary that can be reached again tries to write: it is refused, and hears of the epoch."""
        self.require(self.reach[standby] == Reach.UP, self.leads[standby])
        if self.bug == "no-fence":
            self.require(self.length() < self.parameters["log"])
            self._write(self.knows[standby])
            command = self.command(Command, Kind.DEPOSIT)
            command.amount = 1
            length = self.length()
            for slot in Slot:
                with self.when(length == int(slot)):
                    self.log[slot] = command
        self.fenced = True
        self._hear(standby)

    def replicas_agree(self) -> Condition:
        """Whether every standby is current, too, and shows what the primary shows."""
        return all_of(
            super().replicas_agree(),
            *(all_of(self.current(each), self.replica[each].equals(self.live)) for each in Standby),
        )

    @always("REPL-1", strengthens=True)
    def standby_is_the_replay(self, standby: Standby) -> Condition:
        """A loaded standby is what replaying its part of the log on the snapshot gives."""
        engine = self.snapshot_taken.copy()
        same = [engine.equals(self.replica[standby])]
        for slot in Slot:
            engine.execute(self.log[slot])
            same.append(engine.equals(self.replica[standby]))
        return all_of(
            *(
                implies(all_of(self.loaded[standby], self.holds[standby] == count), is_same)
                for count, is_same in enumerate(same)
            )
        )

    @always("FENCE-1")
    def one_primary_each_epoch(self, standby: Standby) -> Condition:
        """A replica that still takes itself for the primary is of an earlier epoch, and of each there is one."""
        return implies(
            self.leads[standby],
            all_of(
                self.knows[standby] < self.epoch,
                *(
                    negation(all_of(self.leads[other], self.knows[other] == self.knows[standby]))
                    for other in Standby
                    if other != standby
                ),
            ),
        )

    @step("FENCE-1")
    def a_deposed_primary_writes_nothing(self, after: Self, slot: Slot) -> Condition:
        """Every record is written by the primary of the current epoch."""
        written = all_of(self.record_epoch[slot] == 0, after.record_epoch[slot] != 0)
        return implies(written, after.record_epoch[slot] == self.epoch)

    @auxiliary("replayed-prefixes-are-in-range")
    def prefixes_are_in_range(self) -> Condition:
        """No number is below its least value after any part of the log: what a standby that lags has."""
        engine = self.snapshot_taken.copy()
        found = [engine.in_range()]
        for slot in Slot:
            engine.execute(self.log[slot])
            found.append(engine.in_range())
        return all_of(*found)

    @auxiliary("isolated-is-the-replay")
    def isolated_is_the_replay(self) -> Condition:
        """A primary that is cut off runs, does not act, and is what the log says."""
        return implies(self.isolated, all_of(negation(self.up), self.live.equals(self.replayed())))

    @auxiliary("standbys-are-sound")
    def standbys_are_sound(self, standby: Standby) -> Condition:
        """A standby has no more than the log, nothing of it if it is cut short, and knows of no later epoch."""
        return all_of(
            self.holds[standby] <= self.length(),
            implies(self.cut_short[standby], all_of(negation(self.loaded[standby]), self.holds[standby] == 0)),
            implies(self.reach[standby] == Reach.DOWN, negation(any_of(self.loaded[standby], self.leads[standby]))),
            self.knows[standby] <= self.epoch,
        )

    @auxiliary("records-have-epochs")
    def records_have_epochs(self, slot: Slot) -> Condition:
        """Exactly the records of the log have an epoch, and none is later than the current one."""
        written = self.log[slot].kind != Kind.NONE
        return all_of(
            written == (self.record_epoch[slot] != 0), self.record_epoch[slot] <= self.epoch, self.epoch >= 1
        )

    @sometimes("failover-with-a-log")
    def failover_with_log(self) -> Condition:
        """A standby took over from a primary that was gone, with commands that no snapshot held."""
        return all_of(self.failed_over, self.log[0].kind != Kind.NONE)

    @sometimes("stale-promotion-refused-then-done", meant_for=lambda spec: spec.parameters["faults"] != 1)
    def refused_then_promoted(self) -> Condition:
        """A standby was refused as stale, caught up, and was promoted."""
        return self.promoted_after_refusal

    @sometimes("deposed-primary-fenced")
    def deposed_is_fenced(self) -> Condition:
        """A deposed primary came back, tried to write, and was refused."""
        return self.fenced

    @sometimes("no-quorum", meant_for=lambda spec: spec.parameters["faults"] != 1)
    def no_quorum(self) -> Condition:
        """The primary runs, and too few standbys are current to acknowledge anything."""
        return all_of(self.up, *(negation(self.current(standby)) for standby in Standby))


class Request(Index, prefix="q"):
    """An order that a client sends, under an id of its own."""


class Fate(Enumeration):
    """What the client knows of its request."""

    IDLE = auto()
    QUEUED = auto()
    ACCEPTED = auto()
    REFUSED = auto()
    SHED = auto()
    UNHEARD = auto()


class Answer(Enumeration):
    """Whether the client gets the answer, or loses its connection first."""

    HEARD = auto()
    LOST = auto()


CLIENT = Account(0)
"""Whose orders go through the queue."""


class RequestCommand(Command):
    """The field of commands that come out of the queue."""

    request = Enum(Request)


class Intake(Engine):
    """The orders that came through the queue, by id."""

    done = Bool.per(Request)
    """The ids that are used up."""
    resting = Bool.per(Request)
    effects = Nat.upto(2).per(Request)
    """How often a request took effect."""

    def execute(self, command: Command) -> None:
        """An order of a new id sets aside one unit, if there is one; a cancel releases it. Other parts' commands."""
        super().execute(command)
        assert isinstance(command, RequestCommand)
        for kind in self.cases(command.kind, Kind):
            match kind:
                case Kind.SERVE_ORDER:
                    for request in self.cases(command.request, Request):
                        self.take(request)
                case Kind.SERVE_CANCEL:
                    for request in self.cases(command.request, Request):
                        with self.when(self.resting[request]):
                            self.held[CLIENT, Asset.USDT] -= 1
                            self.free[CLIENT, Asset.USDT] += 1
                            self.resting[request] = False
                case _:
                    """Another part's command."""

    def take(self, request: Request) -> None:
        """An order takes effect, unless its id is used up or there is nothing to pay for it with."""
        fresh: Condition = True if self.root.bug == "retry-twice" else negation(self.done[request])
        with self.when(fresh, self.free[CLIENT, Asset.USDT] >= 1):
            self.free[CLIENT, Asset.USDT] -= 1
            self.held[CLIENT, Asset.USDT] += 1
            self.effects[request] += 1
            self.done[request] = True
            self.resting[request] = True

    def reserved(self, account: Account, asset: Asset) -> Value:
        """One unit for each resting order, and what other parts set aside."""
        resting = total(ite(self.resting[request], 1, 0) for request in Request)
        return super().reserved(account, asset) + ite(all_of(account == CLIENT, asset == Asset.USDT), resting, 0)


class Surge(Exchange):
    """A bounded queue in front of the engine: cancels first, what does not fit is shed, retries by id."""

    engine_record = Intake
    command_record = RequestCommand
    live = Part(Intake)
    fate = Enum(Fate).per(Request)
    cancelling = Bool.per(Request)
    perhaps_done = Bool.per(Request).ghost()
    """Whether the request was ever served."""
    was_shed = Bool.per(Request).ghost()
    was_unheard = Bool.per(Request).ghost()

    def counts(self) -> dict[type[Index], int]:
        """The sorts, and how many orders clients send."""
        return {**super().counts(), Request: self.parameters["requests"]}

    def intake(self) -> Intake:
        """The standing engine, as an intake."""
        engine = self.standing()
        assert isinstance(engine, Intake)
        return engine

    def queued(self) -> Value:
        """How many requests wait."""
        return total(
            ite(self.fate[request] == Fate.QUEUED, 1, 0) + ite(self.cancelling[request], 1, 0) for request in Request
        )

    def lose_memory(self) -> None:
        """What waits is gone, and its clients hear nothing."""
        super().lose_memory()
        for request in Request:
            with self.when(self.fate[request] == Fate.QUEUED):
                self.fate[request] = Fate.UNHEARD
            self.cancelling[request] = False

    @action
    def send(self, request: Request) -> None:
        """A client sends its order, or sends it again: it waits, or is shed where the queue is full."""
        resendable = (Fate.IDLE, Fate.SHED, Fate.UNHEARD, Fate.REFUSED)
        self.require(self.operating(), any_of(*(self.fate[request] == each for each in resendable)))
        room = self.queued() < self.parameters["capacity"]
        if self.bug == "no-capacity":
            room = True
        self.was_shed[request] = any_of(self.was_shed[request], negation(room))
        self.fate[request] = ite(room, Fate.QUEUED, Fate.SHED)
        if self.bug == "shed-executes":
            with self.when(negation(room)):
                self.live.take(request)

    @action
    def send_cancel(self, request: Request) -> None:
        """A client cancels its order: it waits; where the queue is full the newest waiting order is shed for it."""
        self.require(self.operating(), self.fate[request] != Fate.IDLE, negation(self.cancelling[request]))
        room = self.queued() < self.parameters["capacity"]
        self.require(any_of(room, *(self.fate[each] == Fate.QUEUED for each in Request)))
        full = negation(room)
        for each in list(Request)[::-1]:
            waits = self.fate[each] == Fate.QUEUED
            with self.when(full, waits):
                self.fate[each] = Fate.SHED
                self.was_shed[each] = True
            full = all_of(full, negation(waits))
        self.cancelling[request] = True

    @action
    def serve_order(self, request: Request, answer: Answer) -> None:
        """A waiting order is decided, when no cancel waits; its client hears so, or loses its connection first."""
        self.require(self.allows(Kind.SERVE_ORDER), self.fate[request] == Fate.QUEUED)
        if self.bug != "orders-first":
            self.require(*(negation(self.cancelling[each]) for each in Request))
        command = self.command(RequestCommand, Kind.SERVE_ORDER)
        command.request = request
        self.submit(command)
        self.perhaps_done[request] = True
        if answer == Answer.HEARD:
            self.fate[request] = ite(self.live.done[request], Fate.ACCEPTED, Fate.REFUSED)
        else:
            self.fate[request] = Fate.UNHEARD
            self.was_unheard[request] = True

    @action
    def serve_cancel(self, request: Request) -> None:
        """A waiting cancel is decided."""
        self.require(self.allows(Kind.SERVE_CANCEL), self.cancelling[request])
        command = self.command(RequestCommand, Kind.SERVE_CANCEL)
        command.request = request
        self.submit(command)
        self.cancelling[request] = False

    @always("FINAL-4")
    def retried_takes_effect_once(self, request: Request) -> Condition:
        """However often an order is sent, it takes effect at most once."""
        return self.intake().effects[request] <= 1

    @always("SURGE-1")
    def queue_is_bounded(self) -> Condition:
        """No more waits than the queue has room for."""
        return self.queued() <= self.parameters["capacity"]

    @always("SURGE-1")
    def refused_has_no_effect(self, request: Request) -> Condition:
        """What was never served has had no effect; what was accepted has had exactly one."""
        effects = self.intake().effects[request]
        return all_of(
            implies(negation(self.perhaps_done[request]), effects == 0),
            implies(self.fate[request] == Fate.ACCEPTED, effects == 1),
        )

    @step("SURGE-1")
    def cancels_come_first(self, after: Self, request: Request) -> Condition:
        """No order takes effect while a cancel waits."""
        took_effect = self.intake().effects[request] < after.intake().effects[request]
        return implies(took_effect, negation(any_of(*(self.cancelling[each] for each in Request))))

    @auxiliary("ids-are-counted")
    def ids_are_counted(self, request: Request) -> Condition:
        """An id is used up exactly when its order took effect; only such an order rests."""
        engine = self.intake()
        return all_of(
            engine.effects[request] == ite(engine.done[request], 1, 0),
            implies(engine.resting[request], engine.done[request]),
            implies(self.fate[request] == Fate.IDLE, negation(self.cancelling[request])),
        )

    @sometimes("shed-then-accepted")
    def shed_then_accepted(self, request: Request) -> Condition:
        """An order that was shed was sent again and accepted."""
        return all_of(self.was_shed[request], self.fate[request] == Fate.ACCEPTED)

    @sometimes("unheard-then-accepted")
    def unheard_then_accepted(self, request: Request) -> Condition:
        """An order whose answer was lost was sent again, and its client was told of the one effect."""
        return all_of(self.was_unheard[request], self.fate[request] == Fate.ACCEPTED)

    @sometimes("order-shed-for-a-cancel")
    def shed_for_cancel(self) -> Condition:
        """A waiting order was shed to make room for a cancel."""
        return exists(
            all_of(self.fate[one] == Fate.SHED, self.cancelling[other], self.live.resting[other])
            for one in Request
            for other in Request
        )
