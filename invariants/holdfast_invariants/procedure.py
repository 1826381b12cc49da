"""PHASE-2, the part of maintenance: no step of the published procedure is skipped, as far as is told."""

from typing import Any

from msgspec import Struct

from holdfast_invariants.monitor import Monitor, on, upon
from holdfast_model.vocabulary import (
    Crash,
    LiquidationStepped,
    LoadConfirmed,
    MaintenanceAnnounced,
    Phase,
    PhaseChanged,
    Reconciled,
    Record,
    ReleaseActivated,
    ReleaseDeployed,
    ReplicaChanged,
    ReplicaId,
    ReplicaPromoted,
    ReplicaStatus,
    Restart,
    RestoreSnapshot,
    Timestamp,
    View,
)

_MAINTENANCE, _OPEN = Phase.MAINTENANCE, Phase.OPEN
_TAKE_ORDERS = frozenset({Phase.POST_ONLY, Phase.AUCTION, _OPEN})
"""The phases in which orders are taken, and those that trade in the end."""


class Due(Struct, frozen=True, kw_only=True):
    """A step that must come before the exchange goes on: since what, and since which step of the history."""

    since: str
    step: int


class StepsOfMaintenance(Monitor):
    """Maintenance is announced; orders are taken again after load barrier and reconciliation, trading opens last.

    Both are owed since maintenance began, since the primary was rebuilt, and since a release was installed or
    activated; whichever phases come next, calling maintenance off among them, only doing them discharges them.
    After a restart or a restore nobody is liquidated before the load barrier. A release is in force only once it was
    activated, and it is activated only where it is installed on every replica: that holds without `Setup.procedure`
    too.
    """

    invariant = "PHASE-2"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._by_procedure = self.told.setup.procedure
        self._announced: Timestamp | None = None
        self._load: Due | None = None
        """Why the load barrier must come before orders are taken."""
        self._barrier: Due | None = None
        """Why the load barrier must come before anybody is liquidated."""
        self._reconciliation: Due | None = None
        self._cautious: Due | None = None
        """Why post-only, or an auction, must come before the open phase."""
        self._unconfirmed: dict[ReplicaId, Due] = {}
        """The replicas that were rebuilt since the load barrier."""
        self._unreconciled: dict[ReplicaId, Due] = {}
        """Those that were since the last reconciliation."""
        self._flight = -1
        """The last step at which a command was in flight: what is told again was decided before it."""

    # What makes steps due -------------------------------------------------------------------------------------------

    def _due(self, since: str) -> Due:
        return Due(since=since, step=self.findings.step)

    def _rebuilt(self, since: str) -> None:
        self._barrier = self._load = self._reconciliation = self._due(since)

    def _rebuilt_one(self, replica: ReplicaId, since: str) -> None:
        self._unconfirmed[replica] = self._unreconciled[replica] = self._due(since)

    @upon(Crash)
    def killed(self, record: Record) -> None:
        """A command in flight may have been decided by now."""
        if isinstance(record.step, Crash) and record.step.in_flight is not None:
            self._flight = self.findings.step

    @upon(Restart, RestoreSnapshot)
    def rebuilt(self, record: Record) -> None:
        """The state in memory is another one."""
        self._rebuilt("the exchange was restarted" if isinstance(record.step, Restart) else "the state was restored")

    @on(ReplicaChanged)
    def started(self, event: ReplicaChanged) -> None:
        """A replica goes on with what it rebuilt; the primary at once, another one when it is promoted."""
        before = self.told.replicas.get(event.replica)
        if before is ReplicaStatus.DOWN and event.status is ReplicaStatus.UP:
            since = f"{event.replica} was started again"
            self._rebuilt_one(event.replica, since)
            if event.replica == self.told.primary:
                self._rebuilt(since)

    @on(ReplicaPromoted)
    def promoted(self, event: ReplicaPromoted) -> None:
        """A primary that was rebuilt before it was promoted is a rebuilt one; what was done since then is done."""
        if (rebuilt := self._unconfirmed.get(event.replica)) is not None:
            self._barrier = self._load = self._due(f"{rebuilt.since} and promoted")
        if (rebuilt := self._unreconciled.get(event.replica)) is not None:
            self._reconciliation = self._due(f"{rebuilt.since} and promoted")

    @on(MaintenanceAnnounced)
    def announced(self, event: MaintenanceAnnounced) -> None:
        """Clients know when maintenance begins."""
        self._announced = event.begins_ms

    @on(ReleaseDeployed)
    def deployed(self, event: ReleaseDeployed) -> None:
        """A replica was rebuilt."""
        self._rebuilt_one(event.replica, f"{event.release} was installed on {event.replica}")
        self._load = self._reconciliation = self._due(f"{event.release} was deployed on {event.replica}")

    # The steps ------------------------------------------------------------------------------------------------------

    @on(LoadConfirmed)
    def confirmed(self, event: LoadConfirmed) -> None:
        """All replicas are up, with the release that is active and the same log."""
        self.checked += 1
        told = self.told
        if not self.told.resending:
            for replica, status in told.replicas.items():
                if status is not ReplicaStatus.UP:
                    self._unready(event, f"{replica} is {status}")
                elif told.installed.get(replica) != told.release:
                    installed = told.installed.get(replica, "nothing")
                    self._unready(event, f"{installed} is installed on {replica}, {told.release} active")
        if event.seq != self.told.seq and not self.told.unknown:
            self._unready(event, f"it is of the cut {event.seq}, not of {self.told.seq}, the one before it")
        self._load, self._barrier = (self._left(due) for due in (self._load, self._barrier))
        if not told.resending:
            self._unconfirmed.clear()

    def _left(self, due: Due | None) -> Due | None:
        """What is still due after the step was taken, which if it is told again was before the kill."""
        return due if due is not None and self._came_later(due) else None

    def _came_later(self, due: Due) -> bool:
        """Whether it is due since something that came after what is being told, again: that was before the kill."""
        return self.told.resending and due.step > self._flight

    def _unready(self, event: LoadConfirmed, found: str) -> None:
        self.report(
            f"load barrier at {event.seq}",
            found=found,
            expected="all replicas are up and have the same log, state and release",
            evidence=[event],
        )

    @on(Reconciled)
    def reconciled(self, event: Reconciled) -> None:  # noqa: ARG002 - that it happened is enough
        """Ledger and custody agree."""
        self.checked += 1
        self._reconciliation = self._left(self._reconciliation)
        if not self.told.resending:
            self._unreconciled.clear()

    @on(ReleaseActivated)
    def activated(self, event: ReleaseActivated) -> None:
        """A release takes effect where every replica has it."""
        self.checked += 1
        told = self.told
        lacking = [
            name for name, installed in told.installed.items() if installed != event.release or name not in told.up
        ]
        if lacking and not self.told.resending:
            self.report(
                f"release {event.release}",
                found=f"it is activated, and {', '.join(lacking)} lacks it or is not up",
                expected="a release takes effect once it is installed on every replica",
                evidence=[event],
            )
        self._load = self._reconciliation = self._due(f"{event.release} was activated")

    def view(self, view: View) -> None:
        """The release in force, and what is installed on each replica, are as was told."""
        shown = {"in force": view.release, **{f"on {item.replica}": item.release for item in view.replicas}}
        told = {
            "in force": self.told.release,
            **{f"on {name}": release for name, release in self.told.installed.items()},
        }
        for where, release in shown.items():
            if release is not None and where in told:
                self.checked += 1
                if release != told[where]:
                    self.report(f"release {where}", found=release, expected=f"{told[where]}, as told")

    # What they must come before -------------------------------------------------------------------------------------

    @on(PhaseChanged)
    def in_order(self, event: PhaseChanged) -> None:
        """No obligatory step was skipped."""
        if not self._by_procedure:
            return
        if event.after is _MAINTENANCE:
            self._begins(event)
        elif event.after in _TAKE_ORDERS:
            self.checked += 1
            self._required(event, self._load, "load barrier")
            if self.told.setup.custody is not None:
                self._required(event, self._reconciliation, "reconciliation")
            if event.after is _OPEN:
                self._required(event, self._cautious, "post-only phase")
            self._cautious = None

    def _begins(self, event: PhaseChanged) -> None:
        self.checked += 1
        now = self.told.triggers.time_ms
        if self._announced is None or self._announced > now:
            what = "it was not announced" if self._announced is None else f"it was announced for {self._announced} ms"
            self.report(
                f"maintenance at {now} ms",
                found=f"it begins, and {what}",
                expected="maintenance is announced, and begins no earlier than announced",
                evidence=[event],
            )
        self._announced = None
        self._load = self._reconciliation = self._cautious = self._due("maintenance began")

    def _required(self, event: PhaseChanged, due: Due | None, what: str) -> None:
        if due is not None and not self._came_later(due):
            self.report(
                f"{what} before {event.after}",
                found=f"{self.told.phase} is left for {event.after} without one since {due.since}",
                expected=f"a {what} comes first",
                evidence=[event],
            )

    @on(LiquidationStepped)
    def liquidated(self, event: LiquidationStepped) -> None:
        """Nobody is liquidated by what was only just loaded."""
        if not self._by_procedure or self.told.resending:
            return
        self.checked += 1
        if self._barrier is not None:
            self.report(
                f"liquidation of {event.client}",
                found=f"it is liquidated without a load barrier since {self._barrier.since}",
                expected="the load is confirmed before anybody is liquidated",
                evidence=[event],
            )
