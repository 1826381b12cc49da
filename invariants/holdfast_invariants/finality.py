"""FINAL: what was told stays true."""

from collections.abc import Mapping
from typing import Any

from holdfast_invariants.monitor import Monitor, before, on
from holdfast_invariants.told import TERMINAL, OrderEvent, ToldOrder
from holdfast_invariants.told_custody import shown_deposits, shown_payments
from holdfast_invariants.told_triggers import ToldStop
from holdfast_model.vocabulary import (
    Answer,
    Borrowed,
    Command,
    DepositCredited,
    Event,
    HouseFunded,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    PaymentApproved,
    PromotionGranted,
    Reason,
    Rejected,
    Repaid,
    ShortfallCovered,
    Stage,
    StopArmed,
    StopTriggered,
    TradeExecuted,
    TransferStarted,
    View,
    WaitingStop,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)

_DUPLICATES = frozenset(
    {
        Reason.DUPLICATE_ORDER,
        Reason.DUPLICATE_DEPOSIT,
        Reason.DUPLICATE_WITHDRAWAL,
        Reason.DUPLICATE_REQUEST,
    }
)
_ENDED = frozenset({WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED})


class TerminalStatusIsAbsorbing(Monitor):
    """FINAL-1: an order that is filled or cancelled stays so."""

    invariant = "FINAL-1"

    @on(OrderRested, OrderFilled, OrderCancelled, OrderReduced, OrderAmended, StopArmed, StopTriggered, plain=1)
    def change(self, event: OrderEvent) -> None:
        """Nothing may happen to an order that is over."""
        self.checked += 1
        order = self.told.order
        if order is not None and order.status in TERMINAL:
            self._broken(order, type(event).__name__)

    @on(TradeExecuted, plain=2)
    def trade(self, event: TradeExecuted) -> None:
        """Nor may it trade."""
        self.checked += 2
        for order in (self.told.maker, self.told.taker):
            if order is not None and order.status in TERMINAL:
                self._broken(order, f"trade {event.trade}")

    def view(self, view: View) -> None:
        """Nor may it be shown in the book, nor among the stops that wait."""
        self.checked += len(view.orders)
        for shown, _, order in self.told.shown:
            if order is not None and order.status in TERMINAL:
                self._broken(order, f"it is in the book with {shown.left_lots} lots left")
        for stop in view.stops:
            self.checked += 1
            order = self.told.orders.get((stop.client, stop.order))
            if order is not None and order.status in TERMINAL:
                self._broken(order, "it waits for its trigger")

    def _broken(self, order: ToldOrder, found: str) -> None:
        self.report(
            f"order {order.client}/{order.order}", found=found, expected=f"nothing: it was told to be {order.status}"
        )


class AcknowledgedIsNeverLost(Monitor):
    """FINAL-2: what was acknowledged is there, as it was acknowledged, and nothing that nobody asked for."""

    invariant = "FINAL-2"

    @before(plain=1)
    def numbered(self, command: Command, answer: Answer) -> None:
        """A sequence number that was given before is a history that was overwritten."""
        seq = answer.seq
        if seq is None:
            return
        self.checked += 1
        if seq <= self.told.seq:
            self.report(
                f"sequence number {seq}",
                found=f"{seq} is given again",
                expected=f"{self.told.seq + 1}: numbers up to {self.told.seq} are acknowledged",
                evidence=[command],
            )

    @on(WithdrawalPaid, WithdrawalRefunded)
    def ended(self, event: WithdrawalPaid | WithdrawalRefunded) -> None:
        """A withdrawal ends in the asset and amount that were acknowledged."""
        self.checked += 1
        told = self.told.withdrawal
        if told is None or (told.asset, told.amount, told.fee) != (event.asset, event.amount, event.fee):
            self.report(
                f"withdrawal {event.client}/{event.withdrawal}",
                found=f"{event.amount} {event.asset}" + _fee(event.fee),
                expected=f"{told.amount} {told.asset}{_fee(told.fee)}, as acknowledged"
                if told
                else "nothing: it was never acknowledged",
                evidence=[event],
            )

    def view(self, view: View) -> None:
        """Everything told is shown, everything shown was told."""
        self.checked += 1
        if view.seq < self.told.seq and view.journal_sha256 is not None:
            self.report(
                "history", found=f"it ends at {view.seq}", expected=f"{self.told.seq}, the last number acknowledged"
            )
        if view.phase is not self.told.phase:
            self.report("phase", found=str(view.phase), expected=f"{self.told.phase}, as told")
        if view.time_ms != self.told.triggers.time_ms:
            self.report("time", found=str(view.time_ms), expected=f"{self.told.triggers.time_ms}, as told")
        self._orders()
        self._withdrawals(view)
        self._waiting(view)
        self._accounts(view)
        self._custody(view)

    def _orders(self) -> None:
        self.checked += len(self.told.resting)
        if self.told.levels_as_told is not None:
            return
        shown = {key: order for order, key, _ in self.told.shown}
        for key, told in self.told.resting.items():
            order = shown.pop(key, None)
            if order is None:
                self.report(
                    f"order {'/'.join(key)}",
                    found="it is not in the book",
                    expected=f"{told.left_lots} lots at {told.price_ticks}, as acknowledged",
                )
            elif not _same(order, told):
                self.report(
                    f"order {'/'.join(key)}",
                    found=f"{order.side} {order.left_lots} of {order.size_lots} lots at {order.price_ticks}",
                    expected=f"{told.side} {told.left_lots} of {told.size_lots} lots at {told.price_ticks}",
                )
        for key, order in shown.items():
            if key not in self.told.orders or not self.told.orders[key].status.terminal:
                self.report(
                    f"order {'/'.join(key)}",
                    found=f"{order.left_lots} lots at {order.price_ticks} are in the book",
                    expected="nothing: it was never acknowledged as resting",
                )

    def _waiting(self, view: View) -> None:
        """Stops wait in the order in which they were taken in; products are as far open as was told."""
        stops = self.told.triggers.stops
        self._same_named(
            "stop",
            {f"{item.client}/{item.order}": _stop(item) for item in view.stops},
            {"/".join(key): _stop(item) for key, item in stops.items()},
        )
        shown = [(item.client, item.order) for item in view.stops]
        if {*shown} == {*stops} and shown != [*stops]:
            self.report(
                "waiting stops",
                found=", ".join("/".join(key) for key in shown),
                expected=", ".join("/".join(key) for key in stops),
            )
        self._same_named(
            "stage of",
            {item.product: str(item.stage) for item in view.stages if item.stage is not Stage.OPEN},
            {name: str(stage) for name, stage in self.told.triggers.stages.items() if stage is not Stage.OPEN},
        )

    def _accounts(self, view: View) -> None:
        """Positions, and transfers under way."""
        margin = self.told.margin
        if margin is None:
            return
        self._same_named(
            "position",
            {
                f"{item.client}/{item.market}": f"{item.position_lots} lots for {item.entry_value}"
                for item in view.positions
            },
            {"/".join(key): f"{item.lots} lots for {item.entry}" for key, item in margin.positions.items()},
        )
        self._same_named(
            "transfer",
            {
                f"{item.client}/{item.request}": f"{item.amount} {item.asset} from {item.source} to {item.target}"
                for item in view.transfers
            },
            {
                "/".join(key): f"{item.amount} {item.asset} from {item.source} to {item.target}"
                for key, item in margin.transfers.items()
            },
        )

    def _custody(self, view: View) -> None:
        """Deposits that are not credited, payments under way, and how far each chain has come."""
        custody = self.told.custody
        if custody is None:
            return
        self._same_named("deposit", shown_deposits(view), custody.told_deposits())
        self._same_named("payment", shown_payments(view), custody.told_payments())
        self._same_named(
            "chain of",
            {
                item.asset: f"{item.height} {item.provider_up} {item.deposits_open} {item.withdrawals_open}"
                for item in view.chains
            },
            {
                asset: f"{item.height} {item.provider_up} {item.deposits_open} {item.withdrawals_open}"
                for asset, item in custody.chains.items()
            },
        )

    def _same_named(self, what: str, shown: Mapping[str, str], told: Mapping[str, str]) -> None:
        self.checked += len(told)
        if shown == told:
            return
        for name in sorted(shown.keys() | told.keys()):
            if shown.get(name) != told.get(name):
                self.report(
                    f"{what} {name}",
                    found=shown.get(name, "it is not shown"),
                    expected=f"{told[name]}, as acknowledged"
                    if name in told
                    else "nothing: it was never acknowledged",
                )

    def _withdrawals(self, view: View) -> None:
        shown = {(withdrawal.client, withdrawal.withdrawal): withdrawal for withdrawal in view.withdrawals}
        for key in {**self.told.withdrawals, **shown}:
            self.checked += 1
            told, now = self.told.withdrawals.get(key), shown.get(key)
            if (
                told is None
                or now is None
                or (told.asset, told.amount, told.status, told.fee, told.destination)
                != (
                    now.asset,
                    now.amount,
                    now.status,
                    now.fee,
                    now.destination,
                )
            ):
                self.report(
                    f"withdrawal {'/'.join(key)}",
                    found=f"{now.status}: {now.amount} {now.asset}" if now else "it is not shown",
                    expected=f"{told.status}: {told.amount} {told.asset}" if told else "nothing: it was never told",
                )


def _fee(fee: int) -> str:
    return f" and {fee} as fee" if fee else ""


def _stop(stop: WaitingStop | ToldStop) -> str:
    limit = "market" if stop.price_ticks is None else stop.price_ticks
    trigger = stop.trigger
    return f"{stop.side} {stop.size_lots} lots at {limit}, {trigger.by} {trigger.when} {trigger.price_ticks}"


def _same(shown: OpenOrder, told: ToldOrder) -> bool:
    return (
        shown.left_lots == told.left_lots
        and shown.size_lots == told.size_lots
        and shown.price_ticks == told.price_ticks
        and shown.side is told.side
        and shown.market == told.market
    )


class FillsOnlyGrow(Monitor):
    """FINAL-3: a trade is irrevocable; what is filled only grows and never passes the order's size."""

    invariant = "FINAL-3"

    @on(TradeExecuted, plain=3)
    def trade(self, event: TradeExecuted) -> None:
        """A trade has the next number, and both orders have that much left."""
        told = self.told
        self.checked += 3
        if event.trade != told.trade + 1:
            self.report(
                f"trade {event.trade}",
                found=f"number {event.trade}",
                expected=f"number {told.trade + 1}: trades are numbered without gap and for ever",
                evidence=[event],
            )
        for order in (told.maker, told.taker):
            if order is not None and not 0 < event.size_lots <= order.left_lots:
                self.report(
                    f"order {'/'.join(order.key)}",
                    found=f"{event.size_lots} lots filled in trade {event.trade}",
                    expected=f"between 1 and {order.left_lots}, which is what was left",
                    evidence=[event],
                )

    def view(self, view: View) -> None:
        """No fill is taken back."""
        self.checked += len(view.orders)
        for shown, _, told in self.told.shown:
            if told is not None and shown.size_lots - shown.left_lots < told.filled_lots - _reduced(told, shown):
                self.report(
                    f"order {shown.client}/{shown.order}",
                    found=f"{shown.size_lots - shown.left_lots} lots are shown as filled",
                    expected=f"{told.filled_lots} lots, as told in trades",
                    evidence=[shown],
                )


def _reduced(told: ToldOrder, shown: OpenOrder) -> int:
    """The lots by which the size shown differs from the size told (which FINAL-2 reports)."""
    return max(0, told.size_lots - shown.size_lots)


class RetriesTakeEffectOnce(Monitor):
    """FINAL-4: a command that is given again under the same id takes effect at most once."""

    invariant = "FINAL-4"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._paid_in: set[str] = set()
        self._granted: set[str] = set()
        self._covered: set[str] = set()

    @on(OrderAccepted, plain=1)
    def order(self, event: OrderAccepted) -> None:
        """An order id is accepted once per client, for ever."""
        self.checked += 1
        if self.told.order is not None:
            self._again(f"order {event.client}/{event.order}", "accepted", event)

    @on(DepositCredited)
    def deposit(self, event: DepositCredited) -> None:
        """A chain transaction is credited once."""
        self.checked += 1
        if self.told.deposit_key(event) in self.told.deposits:
            self._again(f"deposit {event.transaction}", "credited", event)

    @on(WithdrawalRequested)
    def request(self, event: WithdrawalRequested) -> None:
        """A withdrawal id is taken once per client, for ever."""
        self.checked += 1
        if self.told.withdrawal is not None:
            self._again(f"withdrawal {event.client}/{event.withdrawal}", "requested", event)

    @on(WithdrawalPaid, WithdrawalRefunded)
    def outcome(self, event: WithdrawalPaid | WithdrawalRefunded) -> None:
        """A withdrawal has one outcome."""
        self.checked += 1
        told = self.told.withdrawal
        if told is not None and told.status in _ENDED:
            self._again(
                f"withdrawal {event.client}/{event.withdrawal}", f"given an outcome after it was {told.status}", event
            )

    @on(TransferStarted, Borrowed, Repaid)
    def moved(self, event: TransferStarted | Borrowed | Repaid) -> None:
        """An id of a transfer, loan or repayment is used once per client, for ever."""
        self.checked += 1
        if self.told.margin is not None and (event.client, event.request) in self.told.margin.requests:
            self._again(f"request {event.client}/{event.request}", "carried out", event)

    @on(HouseFunded)
    def funded(self, event: HouseFunded) -> None:
        """A transaction of the owner is taken once."""
        self.checked += 1
        if event.transaction in self._paid_in:
            self._again(f"house funding {event.transaction}", "credited", event)
        self._paid_in.add(event.transaction)

    @on(PromotionGranted)
    def granted(self, event: PromotionGranted) -> None:
        """A promotion is granted once."""
        self.checked += 1
        if event.grant in self._granted:
            self._again(f"grant {event.grant}", "granted", event)
        self._granted.add(event.grant)

    @on(PaymentApproved)
    def approved(self, event: PaymentApproved) -> None:
        """A withdrawal is approved once, and so is a sweep."""
        self.checked += 1
        if self.told.custody is not None and event.intent.payment in self.told.custody.payments:
            self._again(f"payment {event.intent.payment}", "approved", event)

    @on(ShortfallCovered)
    def covered(self, event: ShortfallCovered) -> None:
        """A transaction that covers a shortfall is taken once."""
        self.checked += 1
        if event.transaction in self._covered:
            self._again(f"cover {event.transaction}", "taken", event)
        self._covered.add(event.transaction)

    @on(Rejected)
    def refusal(self, event: Rejected) -> None:
        """A refused retry is what the invariant is about: it counts as a check."""
        if event.reason in _DUPLICATES:
            self.checked += 1

    def _again(self, subject: str, what: str, event: Event) -> None:
        self.report(subject, found=f"{what} a second time", expected="at most once", evidence=[event])
