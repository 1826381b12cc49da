"""What an exchange has told of its replicas: what each is able to do, and which release is installed on it."""

from collections.abc import Callable, Mapping
from typing import Any

from holdfast_model.vocabulary import (
    Crash,
    ReleaseDeployed,
    ReleaseId,
    ReplicaChanged,
    ReplicaId,
    ReplicaStatus,
    Restart,
    Setup,
    Step,
)

_UP = ReplicaStatus.UP


class ToldOperations:
    """Folded from events, and from what was done to the processes without an answer (`take`)."""

    def __init__(self, setup: Setup) -> None:
        self.quorum = setup.quorum
        self.statuses: dict[ReplicaId, ReplicaStatus] = dict.fromkeys(setup.replicas, _UP)
        self.installed: dict[ReplicaId, ReleaseId] = dict.fromkeys(setup.replicas, setup.releases[0].release)
        self.up = frozenset(setup.replicas)
        """The replicas that are up."""

    def appliers(self) -> Mapping[type, Callable[[Any], None]]:
        """What folds each event."""
        return {ReplicaChanged: self._on_changed, ReleaseDeployed: self._on_deployed}

    def take(self, step: Step) -> None:
        """Take note of a kill or a restart, to which nothing is answered."""
        if isinstance(step, Crash) and step.replica in self.statuses:
            self._set(step.replica, ReplicaStatus.DOWN)
        elif isinstance(step, Restart):
            for replica in self.statuses:
                self._set(replica, _UP)

    @property
    def complete(self) -> bool:
        """Whether every replica is up."""
        return len(self.up) == len(self.statuses)

    def decides(self, primary: ReplicaId) -> bool:
        """Whether a replica can decide as the primary: it is up, and reaches more than half of all."""
        return primary in self.up and len(self.up) >= self.quorum

    def _on_changed(self, event: ReplicaChanged) -> None:
        self._set(event.replica, event.status)

    def _on_deployed(self, event: ReleaseDeployed) -> None:
        self.installed[event.replica] = event.release

    def _set(self, replica: ReplicaId, status: ReplicaStatus) -> None:
        self.statuses[replica] = status
        self.up = frozenset(name for name, known in self.statuses.items() if known is _UP)
