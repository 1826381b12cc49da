"""Telling a person what was done to replicas and releases, and in custody, for `narrating`."""

from typing import assert_never

from msgspec import Struct

from holdfast_model.vocabulary import (
    AccountRead,
    ActivateRelease,
    AnnounceMaintenance,
    AskReplica,
    CancelAllOrders,
    ConfirmLoad,
    DeployRelease,
    HealReplica,
    KillReplica,
    LoadConfirmed,
    MaintenanceAnnounced,
    OperationsEvent,
    PartitionReplica,
    PauseReplica,
    ProcedureCommand,
    PromoteReplica,
    ReadAccount,
    ReleaseActivated,
    ReleaseDeployed,
    ReplicaChanged,
    ReplicaCommand,
    ReplicaPromoted,
    ResumeReplica,
    StartReplica,
    View,
)


def describe_operation(step: ReplicaCommand | ProcedureCommand | ReadAccount) -> str:
    """One line that says what is done to replicas, or in maintenance, or is read."""
    match step:
        case PauseReplica():
            return f"{step.replica} is paused"
        case ResumeReplica():
            return f"{step.replica} is resumed"
        case PartitionReplica():
            return f"{step.replica} is cut off from the others"
        case HealReplica():
            return f"{step.replica} is reached again"
        case KillReplica():
            return f"KILL {step.replica}"
        case StartReplica():
            return f"{step.replica} is started"
        case DeployRelease():
            return f"{step.release} is deployed on {step.replica}"
        case PromoteReplica():
            return f"{step.replica} is to be promoted"
        case AnnounceMaintenance():
            return f"maintenance is announced for {step.begins_ms} ms"
        case ActivateRelease():
            return f"{step.release} is to be activated"
        case ConfirmLoad():
            return "the load is to be confirmed"
        case CancelAllOrders():
            return f"all orders of everybody are to be cancelled in {step.market or 'every market'}"
        case ReadAccount():
            return f"{step.client} reads its balances"
        case _:
            assert_never(step)


def describe_asking(step: AskReplica, commands: str) -> str:
    """One line that says which replica is asked for what."""
    return f"{step.replica} alone is asked: {commands}"


def describe_outcome(event: OperationsEvent) -> str:
    """One line that says what became of the replicas, of maintenance, or what was read."""
    match event:
        case ReplicaChanged():
            return f"{event.replica} is {event.status}"
        case ReplicaPromoted():
            return f"{event.replica} promoted, epoch {event.epoch}"
        case MaintenanceAnnounced():
            return f"maintenance announced for {event.begins_ms} ms"
        case ReleaseDeployed():
            return f"{event.release} deployed on {event.replica}"
        case ReleaseActivated():
            return f"{event.release} active"
        case LoadConfirmed():
            return f"load confirmed at {event.seq}"
        case AccountRead():
            balances = ", ".join(f"{item.bucket} {item.amount} {item.asset}" for item in event.balances)
            return f"{event.client} at {event.replica}, cut {event.seq}: {balances or 'nothing'}"
        case _:
            assert_never(event)


def describe_custody(value: Struct) -> str:
    """One line with the name and all fields of a command or event of custody."""
    fields = ", ".join(f"{name} {getattr(value, name)}" for name in value.__struct_fields__)
    return f"{str(value.__struct_config__.tag).replace('_', ' ')}: {fields}"


def shown_of_replicas(view: View) -> dict[str, str]:
    """Who is the primary, which release is active, and how each replica is, as names and values."""
    facts = {"primary": view.primary} if view.primary is not None else {}
    if view.release is not None:
        facts["release"] = view.release
    for item in view.replicas:
        behind = f", {view.seq - item.seq} behind" if item.seq < view.seq else ""
        facts[f"replica {item.replica}"] = f"{item.status}, {item.release or 'release unknown'}{behind}"
    return facts
