"""REPL, PHASE, MAINT, SURGE: what holds while the exchange is being operated."""

from collections.abc import Sequence
from typing import Any

from holdfast_invariants.monitor import Found, Monitor, on
from holdfast_invariants.told import OrderKey
from holdfast_model.vocabulary import (
    LEGAL_TRANSITIONS,
    Answer,
    CancelOrder,
    Command,
    Phase,
    PhaseChanged,
    PlaceOrder,
    Reason,
    Rejected,
    Sha256,
    TradeExecuted,
    View,
    legal,
)


class EqualLogsGiveEqualStates(Monitor):
    """REPL-1: wherever and whenever a log of the same length was applied, the state has the same hash."""

    invariant = "REPL-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._hashes: dict[int, tuple[Sha256, str, int]] = {}

    def view(self, view: View) -> Found:
        """Compare each replica with every replica that was ever seen at the same length."""
        for replica in view.replicas:
            known = self._hashes.setdefault(replica.seq, (replica.state_sha256, replica.replica, self.step))
            if known[1:] == (replica.replica, self.step):
                continue
            self.checked += 1
            if known[0] != replica.state_sha256:
                yield self.violation(
                    f"state at {replica.seq}",
                    found=f"{replica.state_sha256} at the {replica.replica}",
                    expected=f"{known[0]}, as the {known[1]} had it at step {known[2]}",
                    evidence=[replica],
                )


class OnlyLegalCommandsTakeEffect(Monitor):
    """PHASE-1: a command that the phase forbids is refused."""

    invariant = "PHASE-1"

    def before(self, command: Command, answer: Answer) -> Found:
        """Nothing but a refusal is answered to a command that the phase forbids."""
        if not answer.events:
            return
        self.checked += 1
        effect = [event for event in answer.events if not isinstance(event, Rejected)]
        if effect and not legal(self.told.phase, command):
            yield self.violation(
                f"{type(command).__name__} in {self.told.phase}",
                found=", ".join(type(event).__name__ for event in effect),
                expected="a refusal",
                evidence=[command],
            )

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> Found:
        """Nothing trades but in the open phase."""
        if self.told.phase is not Phase.OPEN:
            yield self.violation(
                f"trade in {self.told.phase}",
                found=f"trade {event.trade}",
                expected="no trade outside the open phase",
                evidence=[event],
            )

    @on(PhaseChanged)
    def change(self, event: PhaseChanged) -> Found:
        """A phase follows one that it may follow."""
        self.checked += 1
        if event.before is not self.told.phase or event.after not in LEGAL_TRANSITIONS[event.before]:
            yield self.violation(
                f"phase {event.before} to {event.after}",
                found=f"from {event.before} to {event.after}",
                expected=f"from {self.told.phase} to one of {', '.join(sorted(LEGAL_TRANSITIONS[self.told.phase]))}",
                evidence=[event],
            )


class MaintenanceChangesNothing(Monitor):
    """MAINT-1: what clients see when maintenance ends is what they saw when it began.

    Checked in each view during maintenance and until the first command after it that has an effect on clients.
    """

    invariant = "MAINT-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._watching = False

    @on(PhaseChanged)
    def change(self, event: PhaseChanged) -> Found:
        """Maintenance begins."""
        if event.after is Phase.MAINTENANCE:
            self._watching = True
        return ()

    def after(self, command: Command, answer: Answer) -> Found:  # noqa: ARG002 - only the events matter
        """Once maintenance is over, the next command with an effect ends the watch."""
        effect = any(not isinstance(event, Rejected | PhaseChanged) for event in answer.events)
        if effect and self.told.phase is not Phase.MAINTENANCE:
            self._watching = False
        return ()

    def view(self, view: View) -> Found:
        """Orders, balances and withdrawals are as they were told before."""
        if not self._watching:
            return
        self.checked += 1
        for what, shown, told in (
            (
                "order",
                {
                    f"{order.client}/{order.order}": f"{order.left_lots} lots at {order.price_ticks}"
                    for order in view.orders
                },
                {
                    "/".join(key): f"{order.left_lots} lots at {order.price_ticks}"
                    for key, order in self.told.resting.items()
                },
            ),
            (
                "balance",
                {
                    f"{balance.account} {balance.bucket} {balance.asset}": str(balance.amount)
                    for balance in view.balances
                },
                {" ".join(place): str(amount) for place, amount in self.told.amounts.items() if amount},
            ),
            (
                "withdrawal",
                {f"{item.client}/{item.withdrawal}": str(item.status) for item in view.withdrawals},
                {"/".join(key): str(item.status) for key, item in self.told.withdrawals.items()},
            ),
        ):
            for name in sorted(shown.keys() | told.keys()):
                if shown.get(name) != told.get(name):
                    yield self.violation(
                        f"{what} {name}",
                        found=f"{shown.get(name, 'nothing')} after maintenance",
                        expected=f"{told.get(name, 'nothing')}, as before it",
                    )


class EveryCommandIsAnsweredOnce(Monitor):
    """SURGE-1: every command is answered once, refused ones have no effect, queues are bounded, cancels go first."""

    invariant = "SURGE-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._shed: set[OrderKey] = set()
        self._shed_since_view = 0

    def batch(self, commands: Sequence[Command], answers: Sequence[Answer]) -> Found:
        """Look at commands that arrived together."""
        for position, (command, answer) in enumerate(zip(commands, answers, strict=True)):
            self.checked += 1
            if not answer.events:
                yield self.violation(
                    f"{type(command).__name__} {position}",
                    found="no answer",
                    expected="one answer to each command",
                    evidence=[command],
                )
            elif any(isinstance(event, Rejected) for event in answer.events) and len(answer.events) > 1:
                yield self.violation(
                    f"{type(command).__name__} {position}",
                    found=f"a refusal with {len(answer.events) - 1} more events",
                    expected="a refused command has no effect",
                    evidence=[command, *answer.events],
                )
        shed = [command for command, answer in zip(commands, answers, strict=True) if _is_shed(answer)]
        admitted = [command for command, answer in zip(commands, answers, strict=True) if not _is_shed(answer)]
        self._shed_since_view += len(shed)
        self._shed.update((command.client, command.order) for command in shed if isinstance(command, PlaceOrder))
        if len(admitted) > self.told.setup.ingress_capacity:
            yield self.violation(
                "ingress",
                found=f"{len(admitted)} commands taken in at once",
                expected=f"at most {self.told.setup.ingress_capacity}, its capacity",
            )
        starved = [command for command in shed if isinstance(command, CancelOrder)]
        if starved and any(isinstance(command, PlaceOrder) for command in admitted):
            yield self.violation(
                "cancels",
                found=f"{len(starved)} cancels were shed while new orders were taken in",
                expected="cancels before new orders",
                evidence=starved,
            )

    def view(self, view: View) -> Found:
        """Nothing that was shed is in the book, and no more was decided than was answered."""
        self.checked += 1
        for shown in view.orders:
            key = (shown.client, shown.order)
            if key in self._shed and key not in self.told.orders:
                yield self.violation(
                    f"order {'/'.join(key)}", found="it rests", expected="nothing: it was refused", evidence=[shown]
                )
        if self._shed_since_view and view.seq > self.told.seq and not self.told.unknown:
            yield self.violation(
                "shed commands",
                found=f"{view.seq} commands were decided",
                expected=f"{self.told.seq}: {self._shed_since_view} were refused at the door",
            )
        self._shed_since_view = 0
        if view.ingress_depth_max > self.told.setup.ingress_capacity:
            yield self.violation(
                "ingress",
                found=f"a queue of {view.ingress_depth_max}",
                expected=f"at most {self.told.setup.ingress_capacity}, its capacity",
            )


def _is_shed(answer: Answer) -> bool:
    return not answer.events or any(
        isinstance(event, Rejected) and event.reason is Reason.OVERLOADED for event in answer.events
    )
