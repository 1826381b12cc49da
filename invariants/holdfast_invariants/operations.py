"""REPL, PHASE, MAINT, SURGE: what holds while the exchange is being operated."""

from collections.abc import Sequence
from typing import Any, get_args

from holdfast_invariants.monitor import Monitor, after, before, on
from holdfast_invariants.told import OrderKey
from holdfast_invariants.told_triggers import ToldStop
from holdfast_model.vocabulary import (
    LEGAL_COMMANDS,
    Answer,
    CancelOrder,
    CancelReason,
    CauseKind,
    Command,
    EntryPosted,
    Event,
    Events,
    MarkChanged,
    OperationsEvent,
    OrderCancelled,
    Phase,
    PhaseChanged,
    PlaceOrder,
    PriceReported,
    Reason,
    Rejected,
    SetPhase,
    Sha256,
    TimeAdvanced,
    TradeExecuted,
    View,
    WaitingStop,
    legal,
    may_follow,
)

_OPEN, _MAINTENANCE, _OVERLOADED = Phase.OPEN, Phase.MAINTENANCE, Reason.OVERLOADED
_AUCTION = Phase.AUCTION
_UNCROSSED_FOR = frozenset({Phase.OPEN, Phase.CLOSED})
_LEGAL_WHEN_OPEN = LEGAL_COMMANDS[Phase.OPEN]


class EqualLogsGiveEqualStates(Monitor):
    """REPL-1: wherever and whenever a log of the same length was applied, the state has the same hash."""

    invariant = "REPL-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._hashes: dict[int, tuple[Sha256, str, int]] = {}

    def view(self, view: View) -> None:
        """Compare each replica with every replica that was ever seen at the same length."""
        for replica in view.replicas:
            if replica.state_sha256 is None:
                continue
            known = self._hashes.setdefault(replica.seq, (replica.state_sha256, replica.replica, self.findings.step))
            if known[1:] == (replica.replica, self.findings.step):
                continue
            self.checked += 1
            if known[0] != replica.state_sha256:
                self.report(
                    f"state at {replica.seq}",
                    found=f"{replica.state_sha256} at the {replica.replica}",
                    expected=f"{known[0]}, as the {known[1]} had it at step {known[2]}",
                    evidence=[replica],
                )


class OnlyLegalCommandsTakeEffect(Monitor):
    """PHASE-1: a command that the phase forbids is refused."""

    invariant = "PHASE-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._uncrossing = False

    @before(SetPhase)
    def ends_auction(self, command: SetPhase, answer: Answer) -> None:  # noqa: ARG002 - only the events matter
        """What an auction gathered trades in the answer that opens or closes trading."""
        self._uncrossing = any(
            isinstance(event, PhaseChanged) and event.before is _AUCTION and event.after in _UNCROSSED_FOR
            for event in answer.events
        )

    @before()
    def legal(self, command: Command, answer: Answer) -> None:
        """Nothing but a refusal is answered to a command that the phase forbids."""
        if not answer.events:
            return
        self.checked += 1
        if self.told.phase is _OPEN and command.__class__ in _LEGAL_WHEN_OPEN:
            return
        effect = [event for event in answer.events if not isinstance(event, Rejected)]
        if effect and not legal(self.told.phase, command):
            self.report(
                f"{type(command).__name__} in {self.told.phase}",
                found=", ".join(type(event).__name__ for event in effect),
                expected="a refusal",
                evidence=[command],
            )

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> None:
        """Nothing trades but in the open phase, and where an auction ends."""
        if self.told.phase is not _OPEN and not self._uncrossing:
            self.report(
                f"trade in {self.told.phase}",
                found=f"trade {event.trade}",
                expected="no trade outside the open phase",
                evidence=[event],
            )

    @after(SetPhase)
    def ended(self, command: SetPhase, answer: Answer) -> None:  # noqa: ARG002 - the auction is over
        """From now on only the phase matters."""
        self._uncrossing = False

    @on(PhaseChanged)
    def change(self, event: PhaseChanged) -> None:
        """A phase follows one that it may follow."""
        self.checked += 1
        phase, auctions = self.told.phase, self.told.setup.auctions
        if event.before is not phase or not may_follow(phase, event.after, auctions=auctions):
            allowed = ", ".join(sorted(after for after in Phase if may_follow(phase, after, auctions=auctions)))
            self.report(
                f"phase {event.before} to {event.after}",
                found=f"from {event.before} to {event.after}",
                expected=f"from {phase} to one of {allowed}",
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
    def change(self, event: PhaseChanged) -> None:
        """Maintenance begins."""
        if event.after is _MAINTENANCE:
            self._watching = True

    @after()
    def effect(self, command: Command, answer: Answer) -> None:
        """Once maintenance is over, the next command with an effect ends the watch."""
        if not self._watching or self.told.phase is _MAINTENANCE:
            return
        if isinstance(command, SetPhase) and self._ends(answer):
            return
        if not all(isinstance(event, _WITHOUT_EFFECT) for event in answer.events):
            self._watching = False

    def _ends(self, answer: Answer) -> bool:
        """Whether maintenance ends with this answer, and with it only the orders whose time was up meanwhile."""
        return any(
            isinstance(event, PhaseChanged) and event.before is _MAINTENANCE for event in answer.events
        ) and all(
            isinstance(event, PhaseChanged)
            or (isinstance(event, OrderCancelled) and event.reason in _UP)
            or (isinstance(event, EntryPosted) and event.cause_kind is CauseKind.ORDER_RELEASE)
            for event in answer.events
        )

    def view(self, view: View) -> None:
        """Orders, stops, balances, positions, transfers and withdrawals are as they were told before."""
        if not self._watching:
            return
        self.checked += 1
        margin = self.told.margin
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
            (
                "stop",
                {f"{item.client}/{item.order}": _stop(item) for item in view.stops},
                {"/".join(key): _stop(item) for key, item in self.told.triggers.stops.items()},
            ),
            (
                "position",
                {
                    f"{item.client}/{item.market}": f"{item.position_lots} lots for {item.entry_value}"
                    for item in view.positions
                },
                {
                    "/".join(key): f"{item.lots} lots for {item.entry}"
                    for key, item in (margin.positions.items() if margin is not None else ())
                },
            ),
            (
                "transfer",
                {f"{item.client}/{item.request}": f"{item.amount} {item.asset}" for item in view.transfers},
                {
                    "/".join(key): f"{item.amount} {item.asset}"
                    for key, item in (margin.transfers.items() if margin is not None else ())
                },
            ),
        ):
            for name in sorted(shown.keys() | told.keys()):
                if shown.get(name) != told.get(name):
                    self.report(
                        f"{what} {name}",
                        found=f"{shown.get(name, 'nothing')} after maintenance",
                        expected=f"{told.get(name, 'nothing')}, as before it",
                    )


def _stop(stop: WaitingStop | ToldStop) -> str:
    return f"{stop.side} {stop.size_lots} lots at {stop.trigger.by} {stop.trigger.when} {stop.trigger.price_ticks}"


_WITHOUT_EFFECT = (Rejected, PhaseChanged, TimeAdvanced, PriceReported, MarkChanged, *get_args(OperationsEvent))
_UP = frozenset({CancelReason.EXPIRED, CancelReason.ONE_CANCELS_OTHER})


class EveryCommandIsAnsweredOnce(Monitor):
    """SURGE-1: every command is answered once, refused ones have no effect, queues are bounded, cancels go first."""

    invariant = "SURGE-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._shed: set[OrderKey] = set()
        self._shed_since_view = 0

    def batch(self, commands: Sequence[Command], answers: Sequence[Answer]) -> None:
        """Look at commands that arrived together."""
        self.checked += len(commands)
        if len(answers) == 1 and _is_ordinary(answers[0].events):
            return
        for position, (command, answer) in enumerate(zip(commands, answers, strict=True)):
            self._answered(position, command, answer)
        shed = [command for command, answer in zip(commands, answers, strict=True) if _is_shed(answer)]
        admitted = [command for command, answer in zip(commands, answers, strict=True) if not _is_shed(answer)]
        self._shed_since_view += len(shed)
        self._shed.update((command.client, command.order) for command in shed if isinstance(command, PlaceOrder))
        if len(admitted) > self.told.setup.ingress_capacity:
            self.report(
                "ingress",
                found=f"{len(admitted)} commands taken in at once",
                expected=f"at most {self.told.setup.ingress_capacity}, its capacity",
            )
        starved = [command for command in shed if isinstance(command, CancelOrder)]
        if starved and any(isinstance(command, PlaceOrder) for command in admitted):
            self.report(
                "cancels",
                found=f"{len(starved)} cancels were shed while new orders were taken in",
                expected="cancels before new orders",
                evidence=starved,
            )

    def _answered(self, position: int, command: Command, answer: Answer) -> None:
        """Each command has one answer, and a refused one no effect."""
        if not answer.events:
            self.report(
                f"{type(command).__name__} {position}",
                found="no answer",
                expected="one answer to each command",
                evidence=[command],
            )
        elif len(answer.events) > 1 and any(isinstance(event, Rejected) for event in answer.events):
            self.report(
                f"{type(command).__name__} {position}",
                found=f"a refusal with {len(answer.events) - 1} more events",
                expected="a refused command has no effect",
                evidence=[command, *answer.events],
            )

    def view(self, view: View) -> None:
        """Nothing that was shed is in the book, and no more was decided than was answered."""
        self.checked += 1
        if self._shed:
            self._resting()
        if self._shed_since_view and view.seq > self.told.seq and not self.told.unknown:
            self.report(
                "shed commands",
                found=f"{view.seq} commands were decided",
                expected=f"{self.told.seq}: {self._shed_since_view} were refused at the door",
            )
        self._shed_since_view = 0
        if view.ingress_depth_max > self.told.setup.ingress_capacity:
            self.report(
                "ingress",
                found=f"a queue of {view.ingress_depth_max}",
                expected=f"at most {self.told.setup.ingress_capacity}, its capacity",
            )

    def _resting(self) -> None:
        for shown, key, told in self.told.shown:
            if told is None and key in self._shed:
                self.report(
                    f"order {'/'.join(key)}", found="it rests", expected="nothing: it was refused", evidence=[shown]
                )


def _is_ordinary(events: Events) -> bool:
    """Whether nothing is to be said of a single command's answer: it was carried out, or refused in its turn."""
    if len(events) > 1:
        for event in events:  # noqa: SIM110 - `all` with a generator takes three times as long
            if event.__class__ is Rejected:
                return False
        return True
    return bool(events) and not _is_overload(events[0])


def _is_overload(event: Event) -> bool:
    return isinstance(event, Rejected) and event.reason is _OVERLOADED


def _is_shed(answer: Answer) -> bool:
    return not answer.events or any(_is_overload(event) for event in answer.events)
