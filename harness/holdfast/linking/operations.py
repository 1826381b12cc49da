"""Operations on one process: phases, snapshot, crash and restore, and maintenance by procedure.

Where a slice has no replicas, the exchange has three that are always up, and a crash kills the whole process.
"""

from collections.abc import Mapping, Sequence
from random import Random

from holdfast.linking.rules import ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.world import World
from holdfast_model.specs.exchange.custody import Custody
from holdfast_model.specs.exchange.meetings import MaintenanceFailover
from holdfast_model.specs.exchange.operations import Phase as ModelPhase
from holdfast_model.specs.exchange.operations import Phased, Procedure, Recovery, Replication, Standby
from holdfast_model.vocabulary import (
    ActivateRelease,
    AnnounceMaintenance,
    ConfirmLoad,
    DeployRelease,
    KillReplica,
    LoadConfirmed,
    MaintenanceAnnounced,
    Phase,
    PhaseChanged,
    Reconcile,
    Reconciled,
    ReplicaStatus,
    SetPhase,
    StartReplica,
)

PHASES = {
    Phase.OPEN: ModelPhase.OPEN,
    Phase.POST_ONLY: ModelPhase.POST_ONLY,
    Phase.CANCEL_ONLY: ModelPhase.CANCEL_ONLY,
    Phase.HALTED: ModelPhase.HALTED,
    Phase.MAINTENANCE: ModelPhase.MAINTENANCE,
}
PHASE = "phase (halted by a mismatch)"


def has_mismatch(state: Mapping[str, int]) -> bool:
    """Whether ledger and custody differ, in a state of the model: the exchange is then halted for good."""
    return bool(state.get("live.mismatch", 0))


def enter(world: World, phase: Phase) -> None:
    """The venue enters a phase; while a mismatch stands it stays halted."""
    if world.view.phase is Phase.HALTED and world.is_halted_for_good:
        return
    world.do(SetPhase(phase=phase))


class PhasesLink(Subject):
    """The phase."""

    part = Phased
    variables = (
        VariableRule(
            "phase",
            Reading.TOGETHER,
            "view: its phase; halted where a mismatch stands, whatever the model's phase is then",
            of_engine=False,
        ),
    )
    actions = (
        ActionRule("restrict", "`SetPhase` cancel-only", lambda world, _: enter(world, Phase.CANCEL_ONLY), rarity=2),
        ActionRule("admit_orders", "`SetPhase` post-only", lambda world, _: enter(world, Phase.POST_ONLY)),
        ActionRule("open", "`SetPhase` open", lambda world, _: enter(world, Phase.OPEN)),
    )

    def beside(self, world: World) -> Values:
        """The phase as the view shows it; of a process that is down, as it showed it last."""
        if world.is_halted_for_good and not world.has_primary:
            return {}
        return {PHASE: PHASES[world.view.phase]}

    def together(self, world: World, state: Mapping[str, int]) -> Values:
        """The model's phase, but halted while a mismatch stands."""
        del world
        return {PHASE: int(ModelPhase.HALTED) if has_mismatch(state) else state["phase"]}

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """Any phase that is no part of maintenance."""
        phase = random.choice((Phase.OPEN, Phase.POST_ONLY, Phase.CANCEL_ONLY))
        explained = {Phase.OPEN: "open", Phase.POST_ONLY: "admit_orders", Phase.CANCEL_ONLY: "restrict"}[phase]
        if world.view.phase is Phase.MAINTENANCE:
            return ()
        # Where there is no custody the exchange has nothing to reconcile, and asks for no more than the barrier.
        freely = world.has(Procedure) and not world.has(Custody)
        reconciled = (By("reconcile", any_number=True),) if freely else ()
        way = (*reconciled, By(explained))
        return (Move(f"phase {phase}", lambda world: world.attempt(SetPhase(phase=phase)), (way,)),)


def _crash(world: World, _: Taken) -> None:
    if world.has(Replication):
        world.do(KillReplica(replica=world.roles[0]))
    else:
        world.kill()
    world.forget()


def _restore(world: World, _: Taken) -> None:
    if world.has(Replication):
        world.do(StartReplica(replica=world.roles[0]))
        world.look()
        world.notes["rebuilt"] = world.view.seq
    else:
        world.restart()
        world.look()
        world.notes["rebuilt"] = world.view.seq


class RecoveryLink(Subject):
    """Snapshot, crash and restore."""

    part = Recovery
    variables = (
        VariableRule(
            "up", Reading.SHOWN, "the process runs and its primary acts: the link killed neither", of_engine=False
        ),
        VariableRule(
            "snapshot_taken",
            Reading.SHOWN,
            "view at the cut of the last snapshot (before the first: of the beginning)",
            of_engine=False,
        ),
        VariableRule("log", Reading.SHOWN, "journal since the cut of the last snapshot", of_engine=False),
    )
    actions = (
        ActionRule("snapshot", "`TakeSnapshot`", lambda world, _: world.take_snapshot()),
        ActionRule("crash", "`Crash`; with replicas `KillReplica` of the primary", _crash, rarity=4),
        ActionRule("restore", "`Restart`; with replicas `StartReplica` of the primary", _restore),
    )

    def beside(self, world: World) -> Values:
        """Whether the process runs."""
        return {} if world.has(Replication) else {"up": int(not world.down)}

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """A crash; a snapshot where the log has something; a restart, which is all that a dead process can do."""
        if world.has(Replication):
            return ()
        if world.down:
            return (Move("restart", lambda world: _restore(world, NOTHING), ((By("restore"),),)),)
        found = (
            [Move("crash", lambda world: _crash(world, NOTHING), ((By("crash"),),))]
            if random.random() < CRASHES
            else []
        )
        return (*found, *snapshot_moves(world))


CRASHES = 0.5
HALTED = "the exchange is halted by a mismatch, and does not go into maintenance"
NOTHING = Taken({}, {}, {})


def snapshot_moves(world: World) -> Sequence[Move]:
    """A snapshot, where the model can take one."""
    return (Move("snapshot", lambda world: world.take_snapshot(), ((By("snapshot"),),)),) if world.logs() else ()


# Maintenance ------------------------------------------------------------------------------------------------------


def _since(world: World, *kinds: type) -> int:
    """The number of the last record that tells of one of these; 0 where none does."""
    return max(
        (record.seq for record in world.records if any(isinstance(e, kinds) for e in record.events)), default=0
    )


def _maintenance_began(world: World) -> int:
    return max(
        (
            record.seq
            for record in world.records
            for event in record.events
            if isinstance(event, PhaseChanged) and event.after is Phase.MAINTENANCE
        ),
        default=-1,
    )


def _is_done(world: World, kind: type) -> bool:
    """Whether a step of the procedure was told since maintenance began and since the primary was rebuilt, if ever."""
    due = max(_maintenance_began(world), world.notes.get("rebuilt", -1))
    return due < 0 or _since(world, kind) > due


def _deploy(world: World, _: Taken) -> None:
    """All replicas that are up get the other release and it is activated, where all are up; else the same again."""
    if world.has(Replication):
        is_rebuilt = world.are_accepted(DeployRelease(replica=world.roles[0], release="r1"))
    else:
        release = "r2" if world.view.release == "r1" else "r1"
        installed = [DeployRelease(replica=replica, release=release) for replica in world.setup.replicas]
        is_rebuilt = world.are_accepted(*installed)
        world.do(ActivateRelease(release=release))
    if is_rebuilt:
        world.look()
        world.notes["rebuilt"] = world.view.seq


def _why_not_deployed(world: World, _: Taken) -> str:
    return HALTED if world.is_halted_for_good else ""


def _reconcile(world: World, _: Taken) -> None:
    if world.has(Custody):
        world.do(Reconcile())


def _confirm_load(world: World, _: Taken) -> None:
    world.do(ConfirmLoad())


def _announce(world: World, _: Taken) -> None:
    world.do(AnnounceMaintenance(begins_ms=world.view.time_ms))


class MaintenanceLink(Subject):
    """The procedure of maintenance."""

    part = Procedure
    variables = (
        VariableRule("announced", Reading.SHOWN, "journal: announced since maintenance last began", of_engine=False),
        VariableRule(
            "load_confirmed",
            Reading.SHOWN,
            "journal: confirmed since maintenance last began and the primary was last rebuilt",
            of_engine=False,
        ),
        VariableRule(
            "reconciled",
            Reading.SHOWN,
            "journal: reconciled since then; without custody the exchange has nothing to reconcile: not compared",
            of_engine=False,
        ),
    )
    actions = (
        ActionRule("announce", "`AnnounceMaintenance` for now", _announce),
        ActionRule("begin_maintenance", "`SetPhase` maintenance", lambda world, _: enter(world, Phase.MAINTENANCE)),
        ActionRule(
            "deploy",
            "`DeployRelease` of the other release on each replica, then `ActivateRelease`; with replicas of "
            "the model's own the same release on the primary again",
            _deploy,
            is_linked=_why_not_deployed,
        ),
        ActionRule("confirm_load", "`ConfirmLoad`", _confirm_load),
        ActionRule("reconcile", "`Reconcile`; nothing where there is no custody", _reconcile),
        ActionRule("end_maintenance", "`SetPhase` post-only", lambda world, _: enter(world, Phase.POST_ONLY)),
        ActionRule(
            "abort_maintenance", "`SetPhase` cancel-only", lambda world, _: enter(world, Phase.CANCEL_ONLY), rarity=2
        ),
    )

    def beside(self, world: World) -> Values:
        """What of the procedure is done, unless a mismatch stands."""
        if world.is_halted_for_good:
            return {}
        found = {
            "announced": int(_since(world, MaintenanceAnnounced) > max(0, _maintenance_began(world))),
            "load_confirmed": int(_is_done(world, LoadConfirmed)),
        }
        return found | ({"reconciled": int(_is_done(world, Reconciled))} if world.has(Custody) else {})

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """The steps of the procedure, in any order; without custody there is nothing to reconcile.

        The exchange also counts a reconciliation before the load barrier, even where that is due of a standby alone,
        and takes the announcement of the next maintenance in this one; the model does not, so that neither is done.
        """
        if world.down:
            return ()
        steps: list[Move] = [
            Move("confirm the load", lambda world: world.attempt(ConfirmLoad()), ((By("confirm_load"),),)),
            Move(
                "phase maintenance",
                lambda world: world.attempt(SetPhase(phase=Phase.MAINTENANCE)),
                ((By("begin_maintenance"),),),
            ),
        ]
        reloaded = any(world.was_reloaded(replica) for replica in world.roles[1:])
        if world.has(Custody) and _is_done(world, LoadConfirmed) and not reloaded:
            steps.append(Move("reconcile", lambda world: world.attempt(Reconcile()), ((By("reconcile"),),)))
        if world.view.phase is Phase.MAINTENANCE:
            reconciled = () if world.has(Custody) else (By("reconcile", any_number=True),)
            steps += [
                Move(
                    "phase post-only",
                    lambda world: world.attempt(SetPhase(phase=Phase.POST_ONLY)),
                    ((*reconciled, By("end_maintenance")),),
                ),
                Move(
                    "phase cancel-only",
                    lambda world: world.attempt(SetPhase(phase=Phase.CANCEL_ONLY)),
                    ((By("abort_maintenance"),),),
                ),
                Move("deploy", lambda world: _deploy(world, NOTHING), ((By("deploy"),),)),
            ]
        else:
            steps.append(Move("announce", lambda world: _announce(world, NOTHING), ((By("announce"),),)))
        return (random.choice(steps), random.choice(steps))


class RebuiltLink(Subject):
    """Standbys that were rebuilt since the load barrier."""

    part = MaintenanceFailover
    variables = (
        VariableRule(
            "reloaded",
            Reading.TOGETHER,
            "commands and journal: it was started since the load was last confirmed, or the load barrier is due "
            "anyway; not compared while it is down or kept away",
            of_engine=False,
        ),
    )

    def beside(self, world: World) -> Values:
        """Whether each standby would owe the load barrier as a primary, unless a mismatch stands."""
        if world.is_halted_for_good:
            return {}
        due = not _is_done(world, LoadConfirmed)
        running = {item.replica for item in world.view.replicas if item.status is not ReplicaStatus.DOWN}
        standbys = zip(world.names(Standby), world.roles[1:], strict=True)
        return {
            owing(name): int(due or world.was_reloaded(replica))
            for name, replica in standbys
            if replica in running and not world.notes.get(f"away {replica}")
        }

    def together(self, world: World, state: Mapping[str, int]) -> Values:
        """The same of the model's standbys."""
        due = not state["load_confirmed"]
        return {owing(name): int(due or state[f"reloaded[{name}]"]) for name in world.names(Standby)}


def owing(standby: str) -> str:
    """What is compared of a standby and of the load barrier together, by name."""
    return f"reloaded[{standby}] (or due anyway)"
