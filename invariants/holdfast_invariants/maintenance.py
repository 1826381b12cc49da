"""MAINT-1: maintenance changes nothing of what clients see."""

from typing import Any, get_args

from holdfast_invariants.monitor import Monitor, on
from holdfast_invariants.told_custody import shown_deposits, shown_payments
from holdfast_invariants.told_triggers import ToldStop
from holdfast_model.vocabulary import (
    AccountRead,
    Answer,
    Bucket,
    CancelReason,
    CauseKind,
    Command,
    EntryPosted,
    MarkChanged,
    OperationsEvent,
    OrderCancelled,
    Phase,
    PhaseChanged,
    PriceReported,
    Rejected,
    SetPhase,
    TimeAdvanced,
    View,
    WaitingStop,
)

_MAINTENANCE = Phase.MAINTENANCE
_WITHOUT_EFFECT = (Rejected, PhaseChanged, TimeAdvanced, PriceReported, MarkChanged, *get_args(OperationsEvent))
_BUCKETS = tuple(Bucket)
_UP = frozenset({CancelReason.EXPIRED, CancelReason.ONE_CANCELS_OTHER})


class MaintenanceChangesNothing(Monitor):
    """MAINT-1: what clients see when maintenance ends is what they saw when it began, at whatever replica they look.

    Checked in each view and each read during maintenance and until the first command after it that has an effect on
    clients.
    """

    invariant = "MAINT-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._watching = False
        self._began_seq = 0

    @on(PhaseChanged)
    def change(self, event: PhaseChanged) -> None:
        """Maintenance begins."""
        if event.after is _MAINTENANCE:
            if not self._watching:
                self.look_at_end(self.effect)
            self._watching, self._began_seq = True, self.told.seq

    def effect(self, command: Command, answer: Answer) -> None:
        """Once maintenance is over, the next command with an effect ends the watch."""
        self._watching = (
            self.told.phase is _MAINTENANCE
            or (isinstance(command, SetPhase) and self._ends(answer))
            or all(isinstance(event, _WITHOUT_EFFECT) for event in answer.events)
        )
        if self._watching:
            self.look_at_end(self.effect)

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

    @on(AccountRead)
    def read(self, event: AccountRead) -> None:
        """A client that reads its balances, at any replica that answers, finds them as they were."""
        if not self._watching or not self._began_seq < event.seq <= self.told.seq or self.told.unknown:
            return
        self.checked += 1
        shown = {(item.bucket, item.asset): int(item.amount) for item in event.balances}
        for bucket in _BUCKETS:
            for asset in self.told.setup.assets:
                found = shown.get((bucket, asset), 0)
                told = self.told.amounts.get((event.client, bucket, asset), 0)
                if found != told:
                    self.report(
                        f"balance {event.client} {bucket} {asset} at {event.replica}",
                        found=f"{found} after maintenance",
                        expected=f"{told}, as before it",
                        evidence=[event],
                    )

    def view(self, view: View) -> None:
        """Orders, stops, balances, positions, transfers, withdrawals, deposits and payments are as told before."""
        if not self._watching:
            return
        self.checked += 1
        margin, custody = self.told.margin, self.told.custody
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
            ("deposit", shown_deposits(view), custody.told_deposits() if custody is not None else {}),
            ("payment", shown_payments(view), custody.told_payments() if custody is not None else {}),
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
