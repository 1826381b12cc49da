"""The words of running an exchange: its replicas, its releases, maintenance by procedure, and reads."""

from enum import StrEnum

from msgspec import Struct

from holdfast_model.vocabulary.accounts import Bucket
from holdfast_model.vocabulary.amounts import Amount, AssetId, ClientId, Identifier, MarketId, Sha256, Timestamp
from holdfast_model.vocabulary.tagged import CommandBase, EventBase

ReplicaId = Identifier
ReleaseId = Identifier


class ReplicaStatus(StrEnum):
    """What a replica is able to do. Only one that is UP counts for a quorum."""

    UP = "up"
    PAUSED = "paused"
    """It answers nothing and applies nothing, and still seems to be there: a grey failure."""
    PARTITIONED = "partitioned"
    """Clients reach it, the other replicas do not."""
    DOWN = "down"


# What is done to replicas: none of these is a decision of the exchange, and none is journaled but a promotion -----


class PauseReplica(CommandBase, tag="pause_replica", frozen=True, kw_only=True):
    """A replica stops doing anything, and does not say so (operator)."""

    replica: ReplicaId


class ResumeReplica(CommandBase, tag="resume_replica", frozen=True, kw_only=True):
    """A paused replica goes on, and catches up with what it missed (operator)."""

    replica: ReplicaId


class PartitionReplica(CommandBase, tag="partition_replica", frozen=True, kw_only=True):
    """A replica is cut off from the others, but not from clients (operator)."""

    replica: ReplicaId


class HealReplica(CommandBase, tag="heal_replica", frozen=True, kw_only=True):
    """A replica that was cut off is reached again, and catches up with what it missed (operator)."""

    replica: ReplicaId


class KillReplica(CommandBase, tag="kill_replica", frozen=True, kw_only=True):
    """A replica's process dies; what it had made durable is there when it is started again (operator)."""

    replica: ReplicaId


class StartReplica(CommandBase, tag="start_replica", frozen=True, kw_only=True):
    """A replica is started again from its own log, and catches up with what it missed (operator)."""

    replica: ReplicaId


class PromoteReplica(CommandBase, tag="promote_replica", frozen=True, kw_only=True):
    """Make a replica the primary of a new epoch (operator); refused when it lacks an acknowledged command."""

    replica: ReplicaId


# Releases and maintenance -----------------------------------------------------------------------------------------


class AnnounceMaintenance(CommandBase, tag="announce_maintenance", frozen=True, kw_only=True):
    """Tell clients when maintenance begins (operator)."""

    begins_ms: Timestamp


class DeployRelease(CommandBase, tag="deploy_release", frozen=True, kw_only=True):
    """Stop one replica, install a release on it, and start it from its own log (operator)."""

    replica: ReplicaId
    release: ReleaseId


class ActivateRelease(CommandBase, tag="activate_release", frozen=True, kw_only=True):
    """Let the rules of a release hold from this cut on, on all replicas at once (operator)."""

    release: ReleaseId


class ConfirmLoad(CommandBase, tag="confirm_load", frozen=True, kw_only=True):
    """The load barrier: refused unless all replicas are up and have the same log, state and release (operator)."""


class CancelAllOrders(CommandBase, tag="cancel_all_orders", frozen=True, kw_only=True):
    """Cancel every open order of every client, waiting stops included, in one market or in all (operator)."""

    market: MarketId | None = None


class ReadAccount(CommandBase, tag="read_account", frozen=True, kw_only=True):
    """Ask for a client's balances; a read is not journaled."""

    client: ClientId


ReplicaCommand = (
    PauseReplica | ResumeReplica | PartitionReplica | HealReplica | KillReplica | StartReplica | DeployRelease
)
"""What is done to a replica without a decision of the exchange: answered without a sequence number."""
ProcedureCommand = AnnounceMaintenance | ActivateRelease | ConfirmLoad | CancelAllOrders | PromoteReplica


# What the exchange tells ------------------------------------------------------------------------------------------


class ReplicaChanged(EventBase, tag="replica_changed", frozen=True, kw_only=True):
    """A replica is in another status."""

    replica: ReplicaId
    status: ReplicaStatus


class ReplicaPromoted(EventBase, tag="replica_promoted", frozen=True, kw_only=True):
    """A replica is the primary of a new epoch: the first record of that epoch."""

    replica: ReplicaId
    epoch: int


class MaintenanceAnnounced(EventBase, tag="maintenance_announced", frozen=True, kw_only=True):
    """Clients were told when maintenance begins."""

    begins_ms: Timestamp


class ReleaseDeployed(EventBase, tag="release_deployed", frozen=True, kw_only=True):
    """A release is installed on a replica; the rules in force are still those of the release that is active."""

    replica: ReplicaId
    release: ReleaseId


class ReleaseActivated(EventBase, tag="release_activated", frozen=True, kw_only=True):
    """The rules of a release hold from this cut on."""

    release: ReleaseId


class LoadConfirmed(EventBase, tag="load_confirmed", frozen=True, kw_only=True):
    """All replicas have loaded the same state; `state_sha256` is its hash at `seq`, the cut before this answer."""

    seq: int
    state_sha256: Sha256


class AccountBalance(Struct, frozen=True, kw_only=True, gc=False):
    """The amount in one bucket of the account that was read."""

    bucket: Bucket
    asset: AssetId
    amount: Amount


class AccountRead(EventBase, tag="account_read", frozen=True, kw_only=True):
    """A client's balances at the cut `seq` of the replica that was asked; what is zero is left out."""

    client: ClientId
    replica: ReplicaId
    seq: int
    balances: tuple[AccountBalance, ...]


OperationsEvent = (
    ReplicaChanged
    | ReplicaPromoted
    | MaintenanceAnnounced
    | ReleaseDeployed
    | ReleaseActivated
    | LoadConfirmed
    | AccountRead
)
