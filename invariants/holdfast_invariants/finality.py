"""FINAL: what was told stays true."""

from collections.abc import Iterator

from holdfast_invariants.monitor import Found, Monitor, on
from holdfast_invariants.told import ToldOrder
from holdfast_model.findings import Violation
from holdfast_model.vocabulary import (
    Answer,
    Command,
    DepositCredited,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRested,
    Reason,
    Rejected,
    TradeExecuted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)

_DUPLICATES = frozenset({Reason.DUPLICATE_ORDER, Reason.DUPLICATE_DEPOSIT, Reason.DUPLICATE_WITHDRAWAL})


class TerminalStatusIsAbsorbing(Monitor):
    """FINAL-1: an order that is filled or cancelled stays so."""

    invariant = "FINAL-1"

    @on(OrderRested, OrderFilled, OrderCancelled, OrderReduced, OrderAmended)
    def change(self, event: OrderRested | OrderFilled | OrderCancelled | OrderReduced | OrderAmended) -> Found:
        """Nothing may happen to an order that is over."""
        self.checked += 1
        order = self.told.orders.get((event.client, event.order))
        if order is not None and order.status.terminal:
            yield self._broken(order, type(event).__name__)

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> Found:
        """Nor may it trade."""
        for key in ((event.maker_client, event.maker_order), (event.taker_client, event.taker_order)):
            self.checked += 1
            order = self.told.orders.get(key)
            if order is not None and order.status.terminal:
                yield self._broken(order, f"trade {event.trade}")

    def view(self, view: View) -> Found:
        """Nor may it be shown in the book."""
        for shown in view.orders:
            self.checked += 1
            order = self.told.orders.get((shown.client, shown.order))
            if order is not None and order.status.terminal:
                yield self._broken(order, f"it is in the book with {shown.left_lots} lots left")

    def _broken(self, order: ToldOrder, found: str) -> Violation:
        return self.violation(
            f"order {order.client}/{order.order}", found=found, expected=f"nothing: it was told to be {order.status}"
        )


class AcknowledgedIsNeverLost(Monitor):
    """FINAL-2: what was acknowledged is there, as it was acknowledged, and nothing that nobody asked for."""

    invariant = "FINAL-2"

    def before(self, command: Command, answer: Answer) -> Found:
        """A sequence number that was given before is a history that was overwritten."""
        if answer.seq is None:
            return
        self.checked += 1
        if answer.seq <= self.told.seq:
            yield self.violation(
                f"sequence number {answer.seq}",
                found=f"{answer.seq} is given again",
                expected=f"{self.told.seq + 1}: numbers up to {self.told.seq} are acknowledged",
                evidence=[command],
            )

    @on(WithdrawalPaid, WithdrawalRefunded)
    def withdrawal(self, event: WithdrawalPaid | WithdrawalRefunded) -> Found:
        """A withdrawal ends in the asset and amount that were acknowledged."""
        self.checked += 1
        told = self.told.withdrawals.get((event.client, event.withdrawal))
        if told is None or (told.asset, told.amount) != (event.asset, event.amount):
            yield self.violation(
                f"withdrawal {event.client}/{event.withdrawal}",
                found=f"{event.amount} {event.asset}",
                expected=f"{told.amount} {told.asset}, as acknowledged"
                if told
                else "nothing: it was never acknowledged",
                evidence=[event],
            )

    def view(self, view: View) -> Found:
        """Everything told is shown, everything shown was told."""
        self.checked += 1
        if view.seq < self.told.seq and view.journal_sha256 is not None:
            yield self.violation(
                "history", found=f"it ends at {view.seq}", expected=f"{self.told.seq}, the last number acknowledged"
            )
        if view.phase is not self.told.phase:
            yield self.violation("phase", found=str(view.phase), expected=f"{self.told.phase}, as told")
        yield from self._orders(view)
        yield from self._withdrawals(view)

    def _orders(self, view: View) -> Iterator[Violation]:
        shown = {(order.client, order.order): order for order in view.orders}
        for key, told in self.told.resting.items():
            self.checked += 1
            order = shown.pop(key, None)
            if order is None:
                yield self.violation(
                    f"order {'/'.join(key)}",
                    found="it is not in the book",
                    expected=f"{told.left_lots} lots at {told.price_ticks}, as acknowledged",
                )
            elif not self._same(order, told):
                yield self.violation(
                    f"order {'/'.join(key)}",
                    found=f"{order.side} {order.left_lots} of {order.size_lots} lots at {order.price_ticks}",
                    expected=f"{told.side} {told.left_lots} of {told.size_lots} lots at {told.price_ticks}",
                )
        for key, order in shown.items():
            if key not in self.told.orders or not self.told.orders[key].status.terminal:
                yield self.violation(
                    f"order {'/'.join(key)}",
                    found=f"{order.left_lots} lots at {order.price_ticks} are in the book",
                    expected="nothing: it was never acknowledged as resting",
                )

    def _same(self, shown: OpenOrder, told: ToldOrder) -> bool:
        return (shown.market, shown.side, shown.price_ticks, shown.size_lots, shown.left_lots) == (
            told.market,
            told.side,
            told.price_ticks,
            told.size_lots,
            told.left_lots,
        )

    def _withdrawals(self, view: View) -> Iterator[Violation]:
        shown = {(withdrawal.client, withdrawal.withdrawal): withdrawal for withdrawal in view.withdrawals}
        for key in self.told.withdrawals.keys() | shown.keys():
            self.checked += 1
            told, now = self.told.withdrawals.get(key), shown.get(key)
            if (
                told is None
                or now is None
                or (told.asset, told.amount, told.status)
                != (
                    now.asset,
                    now.amount,
                    now.status,
                )
            ):
                yield self.violation(
                    f"withdrawal {'/'.join(key)}",
                    found=f"{now.status}: {now.amount} {now.asset}" if now else "it is not shown",
                    expected=f"{told.status}: {told.amount} {told.asset}" if told else "nothing: it was never told",
                )


class FillsOnlyGrow(Monitor):
    """FINAL-3: a trade is irrevocable; what is filled only grows and never passes the order's size."""

    invariant = "FINAL-3"

    @on(TradeExecuted)
    def trade(self, event: TradeExecuted) -> Found:
        """A trade has the next number, and both orders have that much left."""
        self.checked += 1
        if event.trade != self.told.trade + 1:
            yield self.violation(
                f"trade {event.trade}",
                found=f"number {event.trade}",
                expected=f"number {self.told.trade + 1}: trades are numbered without gap and for ever",
                evidence=[event],
            )
        for key in ((event.maker_client, event.maker_order), (event.taker_client, event.taker_order)):
            self.checked += 1
            order = self.told.orders.get(key)
            if order is not None and (event.size_lots > order.left_lots or event.size_lots <= 0):
                yield self.violation(
                    f"order {'/'.join(key)}",
                    found=f"{event.size_lots} lots filled in trade {event.trade}",
                    expected=f"between 1 and {order.left_lots}, which is what was left",
                    evidence=[event],
                )

    def view(self, view: View) -> Found:
        """No fill is taken back."""
        for shown in view.orders:
            self.checked += 1
            told = self.told.orders.get((shown.client, shown.order))
            if told is not None and shown.size_lots - shown.left_lots < told.filled_lots - _reduced(told, shown):
                yield self.violation(
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

    @on(OrderAccepted)
    def order(self, event: OrderAccepted) -> Found:
        """An order id is accepted once per client, for ever."""
        self.checked += 1
        if (event.client, event.order) in self.told.orders:
            yield self._again(f"order {event.client}/{event.order}", "accepted", event)

    @on(DepositCredited)
    def deposit(self, event: DepositCredited) -> Found:
        """A chain transaction is credited once."""
        self.checked += 1
        if event.transaction in self.told.deposits:
            yield self._again(f"deposit {event.transaction}", "credited", event)

    @on(WithdrawalRequested)
    def request(self, event: WithdrawalRequested) -> Found:
        """A withdrawal id is taken once per client, for ever."""
        self.checked += 1
        if (event.client, event.withdrawal) in self.told.withdrawals:
            yield self._again(f"withdrawal {event.client}/{event.withdrawal}", "requested", event)

    @on(WithdrawalPaid, WithdrawalRefunded)
    def outcome(self, event: WithdrawalPaid | WithdrawalRefunded) -> Found:
        """A withdrawal has one outcome."""
        self.checked += 1
        told = self.told.withdrawals.get((event.client, event.withdrawal))
        if told is not None and told.status is not WithdrawalStatus.REQUESTED:
            yield self._again(
                f"withdrawal {event.client}/{event.withdrawal}", f"given an outcome after it was {told.status}", event
            )

    @on(Rejected)
    def refusal(self, event: Rejected) -> Found:
        """A refused retry is what the invariant is about: it counts as a check."""
        self.checked += event.reason in _DUPLICATES
        return ()

    def _again(
        self,
        subject: str,
        what: str,
        event: OrderAccepted | DepositCredited | WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded,
    ) -> Violation:
        return self.violation(subject, found=f"{what} a second time", expected="at most once", evidence=[event])
