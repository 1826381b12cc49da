"""What was told of the replicas: who is primary, who is up, and what is installed where."""

from holdfast_model.vocabulary import (
    Crash,
    ReleaseDeployed,
    ReleaseId,
    ReplicaChanged,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    Restart,
)
from slow_forms.tale import Acted, Tale


def primary_at(tale: Tale, end: int) -> ReplicaId:
    """The primary: whoever was promoted last, and before that the first of the setup."""
    promoted = tale.last(end, ReplicaPromoted)
    return tale.setup.replicas[0] if promoted is None else promoted.replica


def epoch_at(tale: Tale, end: int) -> int:
    """The epoch, which begins with a promotion."""
    promoted = tale.last(end, ReplicaPromoted)
    return 1 if promoted is None else promoted.epoch


def status_at(tale: Tale, end: int, replica: ReplicaId) -> ReplicaStatus:
    """What a replica is able to do; a restart brings all of them up."""
    status = ReplicaStatus.UP
    for moment in tale.between(0, end, ReplicaChanged, Acted):
        if isinstance(moment.what, ReplicaChanged):
            if moment.what.replica == replica:
                status = moment.what.status
        elif isinstance(moment.what.record.step, Restart):
            status = ReplicaStatus.UP
        elif isinstance(moment.what.record.step, Crash) and moment.what.record.step.replica == replica:
            status = ReplicaStatus.DOWN
    return status


def up_at(tale: Tale, end: int) -> list[ReplicaId]:
    """The replicas that count for a quorum."""
    return [replica for replica in tale.setup.replicas if status_at(tale, end, replica) is ReplicaStatus.UP]


def installed_at(tale: Tale, end: int, replica: ReplicaId) -> ReleaseId:
    """The release that was installed last on a replica."""
    deployed = [event.release for event in tale.before(end, ReleaseDeployed) if event.replica == replica]
    return deployed[-1] if deployed else tale.setup.releases[0].release
