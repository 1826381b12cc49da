"""Replicas: the model's standbys, by role, are the exchange's replicas other than the primary.

The exchange lets a replica that is reached catch up at once; the model lets it, one command at a time. So what lags
in the model while there is a primary is kept away from the exchange (cut off, or down) until the model has it catch
up; it is not compared as long. What lacks a command in the model may have got further in the exchange, where the
quorum of a promotion needs it, or less far, where the primary is lost in between: then only its state is compared,
with what the primary showed at the same cut.
"""

from collections.abc import Mapping, Sequence
from random import Random

from holdfast.linking.rules import MISSING, ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.world import World
from holdfast_model.specs.exchange.ledger import Kind
from holdfast_model.specs.exchange.operations import Reach, Replication, Slot, Standby
from holdfast_model.vocabulary import (
    Amount,
    CreditDeposit,
    HealReplica,
    KillReplica,
    PartitionReplica,
    PromoteReplica,
    Reason,
    ReplicaPromoted,
    ReplicaStatus,
    StartReplica,
)
from holdfast_model.vocabulary import Replica as Shown

REACHES = {ReplicaStatus.UP: Reach.UP, ReplicaStatus.PARTITIONED: Reach.CUT_OFF, ReplicaStatus.DOWN: Reach.DOWN}
DISTURBS = 4


class _Standby:
    """A standby as the exchange shows it."""

    def __init__(self, world: World, role: int) -> None:
        self.replica = world.roles[role]
        shown: Shown = next(item for item in world.view.replicas if item.replica == self.replica)
        self.status = shown.status
        self.seq = shown.seq
        logs = world.all_logs()
        self.is_cut_short = any(self.seq < logged.seq <= world.snapshot_seq for logged in logs)
        self.holds = sum(world.snapshot_seq < logged.seq <= self.seq for logged in logs)
        self.lacks_decisions = self.seq < world.view.seq
        self.state_sha256 = shown.state_sha256
        led = [
            (record.seq, event.replica)
            for record in world.records
            for event in record.events
            if isinstance(event, ReplicaPromoted)
        ]
        first = [(0, world.setup.replicas[0]), *led]
        self.leads = any(
            name == self.replica and following is not None and self.seq < following[0]
            for (_, name), following in zip(first, [*first[1:], None], strict=True)
        )

    @property
    def reach(self) -> Reach:
        """Whether it runs and can be reached."""
        return REACHES.get(self.status, Reach.CUT_OFF)


def _length(state: Mapping[str, int], world: World) -> int:
    return sum(state[f"log[{slot}].kind"] != Kind.NONE for slot in world.names(Slot))


def is_current(state: Mapping[str, int], world: World, name: str) -> bool:
    """Whether a standby can be reached and lacks no command, in a state of the model."""
    return (
        state[f"reach[{name}]"] == Reach.UP
        and bool(state[f"loaded[{name}]"])
        and state[f"holds[{name}]"] == _length(state, world)
    )


class ReplicationLink(Subject):
    """Standbys, epochs, and whether the primary is there."""

    part = Replication
    variables = (
        VariableRule("epoch", Reading.SHOWN, "view: its epoch", of_engine=False),
        VariableRule("isolated", Reading.SHOWN, "view: the primary is cut off", of_engine=False),
        VariableRule(
            "reach", Reading.SHOWN, "view: the replica's status; not compared while it is kept away", of_engine=False
        ),
        VariableRule(
            "loaded",
            Reading.SHOWN,
            "view: it runs, and its log reaches the snapshot; not while it is kept away, or lacks some",
            of_engine=False,
        ),
        VariableRule(
            "holds",
            Reading.SHOWN,
            "view and journal: commands since the snapshot, up to its number; not while kept away or lacking some",
            of_engine=False,
        ),
        VariableRule(
            "cut_short",
            Reading.SHOWN,
            "view and journal: its number is before a command that is in the "
            "snapshot; not while it is kept away, or lacks some",
            of_engine=False,
        ),
        VariableRule(
            "replica",
            Reading.SHOWN,
            "view: its state's hash is what the primary showed at the same cut, whose fields are taken; not while it "
            "is not loaded, kept away, or lacks some",
            of_engine=False,
        ),
        VariableRule(
            "leads",
            Reading.NOT_COMPARED,
            "what a replica takes itself for is not shown; where it tries to write, that it is refused is compared",
            of_engine=False,
        ),
        VariableRule(
            "knows",
            Reading.NOT_COMPARED,
            "a replica hears of a promotion with its record, in the model with the next command",
            of_engine=False,
        ),
    )

    def beside(self, world: World) -> Values:
        """The epoch, the primary, and each standby as far as it can be compared."""
        primary = next(item.status for item in world.view.replicas if item.replica == world.roles[0])
        found: Values = {
            "epoch": world.view.epoch,
            "up": int(primary is ReplicaStatus.UP),
            "isolated": int(primary in {ReplicaStatus.PARTITIONED, ReplicaStatus.PAUSED}),
        }
        for role, name in enumerate(world.names(Standby), start=1):
            found |= self._standby(world, _Standby(world, role), name)
        return found

    @staticmethod
    def _standby(world: World, standby: _Standby, name: str) -> Values:
        if world.notes.get(f"away {standby.replica}"):
            return {} if standby.status is not ReplicaStatus.UP else {f"reach[{name}]": MISSING}
        state = world.followed
        found: Values = {f"reach[{name}]": int(standby.reach)}
        is_running = standby.status is not ReplicaStatus.DOWN
        is_loaded = is_running and not standby.is_cut_short
        is_shown = is_running and world.is_as_shown(standby.seq, standby.state_sha256)
        found |= {f"holds[{name}]": 0 if standby.is_cut_short else standby.holds}
        found |= {f"cut_short[{name}]": int(standby.is_cut_short), f"loaded[{name}]": int(is_loaded)}
        if is_running and not is_shown:
            return found | {f"loaded[{name}]": MISSING}
        if state is not None and not _is_told_as_far(state, world, name, found):
            return {f"reach[{name}]": int(standby.reach)}
        if state is not None and is_loaded and not state[f"loaded[{name}]"]:
            del found[f"loaded[{name}]"]
        elif is_loaded:
            fields = world.fields_at(standby.seq)
            found |= {f"replica[{name}].{field}": value for field, value in fields.items()}
        return found

    def settle(self, world: World, after: Values) -> None:
        """Bring each replica to where the model has its standby; what lags while there is a primary is kept away."""
        there = any(
            item.replica == world.roles[0] and item.status is ReplicaStatus.UP for item in world.view.replicas
        )
        for role, name in enumerate(world.names(Standby), start=1):
            standby = _Standby(world, role)
            reach = Reach(after[f"reach[{name}]"])
            may_return = not there or is_current(after, world, name) or not standby.lacks_decisions
            _bring(world, standby, reach, may_return=may_return)
            world.look()

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """What is done to replicas, one after the other: cut off, heal, kill, start, promote; and a snapshot."""
        return _moves(world, random)


def _is_told_as_far(state: Mapping[str, int], world: World, name: str, found: Values) -> bool:
    """Whether a replica must have got as far as the model's standby: that lacks nothing, or they do not differ.

    What lacks something in the model may have it in the exchange, or lack more: there it catches up all at once.
    """
    if not state[f"cut_short[{name}]"] and state[f"holds[{name}]"] == _length(state, world):
        return True
    return all(found[each] == state[each] for each in (f"holds[{name}]", f"cut_short[{name}]"))


def _bring(world: World, standby: _Standby, reach: Reach, *, may_return: bool) -> None:
    """Do to a replica what brings it where the model has it."""
    replica, status = standby.replica, standby.status
    away = f"away {replica}"
    match reach:
        case Reach.DOWN:
            if status is not ReplicaStatus.DOWN:
                world.do(KillReplica(replica=replica))
            world.notes[away] = 0
        case Reach.CUT_OFF:
            if status is ReplicaStatus.UP:
                world.do(PartitionReplica(replica=replica))
            # One that is down lags in the model after its start, and was cut off there: it stays away.
            world.notes[away] = int(status is ReplicaStatus.DOWN)
        case _:
            if status is ReplicaStatus.UP:
                world.notes[away] = 0
            elif may_return:
                is_down = status is ReplicaStatus.DOWN
                world.do(StartReplica(replica=replica) if is_down else HealReplica(replica=replica))
                world.notes[away] = 0
            else:
                world.notes[away] = 1


def keep_lagging_away(world: World, after: Values, *, but: int = 0) -> None:
    """Before there is a primary again: cut off what would catch up at once and does not in the model.

    Not so many that the exchange would lack a quorum.
    """
    up = [item.replica for item in world.view.replicas if item.status is ReplicaStatus.UP]
    spare = len(up) - world.setup.quorum + (world.roles[0] not in up and not but)
    for role, name in enumerate(world.names(Standby), start=1):
        standby = _Standby(world, role)
        if role == but or standby.status is not ReplicaStatus.UP or not standby.lacks_decisions:
            continue
        if not is_current(after, world, name) and spare > 0:
            world.do(PartitionReplica(replica=standby.replica))
            world.notes[f"away {standby.replica}"] = 1
            spare -= 1


def _isolate(world: World, _: Taken) -> None:
    world.do(PartitionReplica(replica=world.roles[0]))
    world.forget()


def _rejoin(world: World, taken: Taken) -> None:
    keep_lagging_away(world, taken.after)
    world.do(HealReplica(replica=world.roles[0]))


def _role(taken: Taken) -> int:
    return taken.arguments["standby"] + 1


def _promote(world: World, taken: Taken) -> None:
    role = _role(taken)
    keep_lagging_away(world, taken.after, but=role)
    if world.are_accepted(PromoteReplica(replica=world.roles[role])):
        swap(world, role)


def swap(world: World, role: int) -> None:
    """A standby and the primary change their roles; what waited at the primary is gone.

    One that was rebuilt since the load was confirmed last is a primary that was.
    """
    world.look()
    if world.was_reloaded(world.roles[role]):
        world.notes["rebuilt"] = world.view.seq
    world.roles[0], world.roles[role] = world.roles[role], world.roles[0]
    world.forget()


def _why_not_promoted(world: World, taken: Taken) -> str:
    standby = _Standby(world, _role(taken))
    if standby.status is not ReplicaStatus.UP or not standby.lacks_decisions:
        return ""
    return "the standby lacks a decision that the model keeps beside its log, and so the exchange refuses it"


def _why_not_refused(world: World, taken: Taken) -> str:
    standby = _Standby(world, _role(taken))
    if standby.status is not ReplicaStatus.UP or standby.lacks_decisions:
        return ""
    return "the replica caught up at once where the model's standby lags"


def _refuse(world: World, taken: Taken) -> None:
    world.refuse(PromoteReplica(replica=world.roles[_role(taken)]), Reason.REPLICA_STALE, Reason.NO_QUORUM)


def _deposed_write(world: World, taken: Taken) -> None:
    command = CreditDeposit(client=world.clients[0], asset="USDT", amount=Amount(1), transaction=world.fresh("t"))
    world.refuse(command, Reason.NOT_PRIMARY, replica=world.roles[_role(taken)])


ReplicationLink.actions = (
    ActionRule("cut_off", "`PartitionReplica`", None, rarity=DISTURBS),
    ActionRule("reconnect", "`HealReplica`, at once or when it has caught up", None),
    ActionRule("stop", "`KillReplica`", None, rarity=DISTURBS),
    ActionRule("start", "`StartReplica`, at once or when it has caught up", None),
    ActionRule("load", "nothing, or what of `reconnect` and `start` waited for it", None),
    ActionRule("catch_up", "nothing, or what of `reconnect` and `start` waited for it", None),
    ActionRule("isolate", "`PartitionReplica` of the primary", _isolate, rarity=DISTURBS),
    ActionRule("rejoin", "`HealReplica` of the primary", _rejoin),
    ActionRule("promote", "`PromoteReplica`", _promote, is_linked=_why_not_promoted),
    ActionRule(
        "refuse_promotion",
        "`PromoteReplica`, which must be refused as `replica_stale`",
        _refuse,
        is_linked=_why_not_refused,
    ),
    ActionRule(
        "deposed_write",
        "`CreditDeposit` at the replica that was the primary, which must be refused as `not_primary`",
        _deposed_write,
    ),
)


# The moves --------------------------------------------------------------------------------------------------------


def _moves(world: World, random: Random) -> Sequence[Move]:
    role = random.randrange(1, len(world.roles))
    standby, at = _Standby(world, role), {"standby": role - 1}
    replica, primary = standby.replica, world.roles[0]
    caught_up = (By("load", any_number=True), By("catch_up", any_number=True))
    found: list[Move] = []

    def offer(name: str, command: object, *explained: By, weight: float = 1) -> None:
        found.append(Move(name, lambda world: world.attempt(command), (explained,), weight=weight))  # type: ignore[arg-type]  # a command

    match standby.status:
        case ReplicaStatus.UP:
            offer("cut off", PartitionReplica(replica=replica), By("cut_off", at), weight=0.4)
            offer("kill", KillReplica(replica=replica), By("stop", at), weight=0.4)
        case ReplicaStatus.PARTITIONED:
            offer("heal", HealReplica(replica=replica), By("reconnect", at), *caught_up)
            offer("kill", KillReplica(replica=replica), By("stop", at), weight=0.2)
            if standby.leads:
                write = CreditDeposit(client=world.clients[0], asset="USDT", amount=Amount(1), transaction="deposed")
                found.append(Move("write deposed", lambda world: _ask(world, replica, write)))
        case _:
            offer("start", StartReplica(replica=replica), By("start", at), *caught_up)
    found.append(
        Move(
            "promote",
            lambda world: _try_to_promote(world, role),
            ((By("promote", at), *caught_up), (By("refuse_promotion", at),)),
        )
    )
    status = next(item.status for item in world.view.replicas if item.replica == primary)
    if status is ReplicaStatus.UP:
        found.append(
            Move(
                "kill the primary",
                lambda world: _lose(world, KillReplica(replica=primary)),
                ((By("crash"),),),
                weight=0.4,
            )
        )
        found.append(
            Move(
                "cut off the primary",
                lambda world: _lose(world, PartitionReplica(replica=primary)),
                ((By("isolate"),),),
                weight=0.4,
            )
        )
        if world.logs():
            found.append(Move("snapshot", lambda world: world.take_snapshot(), ((By("snapshot"),),)))
    elif status is ReplicaStatus.PARTITIONED:
        offer("heal the primary", HealReplica(replica=primary), By("rejoin"), *caught_up)
    else:
        found.append(Move("start the primary", lambda world: _start(world, primary), ((By("restore"), *caught_up),)))
    return found


def _ask(world: World, replica: str, command: CreditDeposit) -> None:
    world.refuse(command, Reason.NOT_PRIMARY, replica=replica)


def _lose(world: World, command: KillReplica | PartitionReplica) -> None:
    world.attempt(command)
    world.forget()


def _start(world: World, primary: str) -> None:
    world.attempt(StartReplica(replica=primary))
    world.look()
    world.notes["rebuilt"] = world.view.seq


def _try_to_promote(world: World, role: int) -> None:
    known = len(world.surprises)
    world.do(PromoteReplica(replica=world.roles[role]))
    if len(world.surprises) == known and not world.failure:
        swap(world, role)
