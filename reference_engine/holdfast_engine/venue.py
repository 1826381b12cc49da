"""The venue: the replicated state machine of the exchange.

`apply` decides a command: it emits events, and each event changes the state at once (`_evolve`). Nothing else changes
the state, so the events alone rebuild it (`replay`). There is no clock, no randomness and no iteration over sets.

Refusals are decided in the order in which the checks stand in each `_decide_…` method; `docs/exchange.md` states it.
"""

from collections.abc import Callable, Iterable
from typing import Any, assert_never

from holdfast_engine.arithmetic import fee_charged, fee_earned, hold_to_buy, hold_to_sell, notional
from holdfast_engine.book import Book, MatchPlan, MatchStep, StepKind
from holdfast_engine.ledger import Ledger
from holdfast_engine.order import Order, OrderStatus
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    FEES,
    OUTSIDE,
    ROUNDING,
    AmendOrder,
    Amount,
    AssetId,
    Bucket,
    CancelOrder,
    CancelReason,
    CauseKind,
    ClientId,
    Command,
    CreditDeposit,
    DepositCredited,
    EntryPosted,
    Event,
    Events,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
    OrderId,
    OrderReduced,
    OrderRested,
    PauseStandby,
    PayWithdrawal,
    Phase,
    PhaseChanged,
    PlaceOrder,
    Posting,
    PriceTicks,
    PromoteStandby,
    Reason,
    RefundWithdrawal,
    Rejected,
    RequestWithdrawal,
    ResumeStandby,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    StandbyPaused,
    StandbyPromoted,
    StandbyResumed,
    TimeInForce,
    TradeExecuted,
    TransactionId,
    Withdrawal,
    WithdrawalId,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.phases import LEGAL_TRANSITIONS, legal

FREE, HELD = Bucket.FREE, Bucket.HELD


class Venue:
    """An exchange's state, changed by commands only. Seams for planted faults are the methods without underscore."""

    book_class: type[Book] = Book
    ledger_class: type[Ledger] = Ledger

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.markets = {market.market: market for market in setup.markets}
        self.clients = frozenset(setup.clients)
        self.assets = frozenset(setup.assets)
        self.seq = 0
        self.epoch = 1
        self.phase = Phase.OPEN
        self.trades = 0
        self.ledger = self.ledger_class()
        self.books = {market: self.book_class() for market in self.markets}
        self.orders: dict[tuple[ClientId, OrderId], Order] = {}
        self.deposits: dict[TransactionId, None] = {}
        self.withdrawals: dict[tuple[ClientId, WithdrawalId], Withdrawal] = {}
        self._events: list[Event] = []
        self._evolvers: dict[type, Callable[[Any], None]] = {
            Rejected: self._unchanged,
            EntryPosted: self._on_entry_posted,
            OrderAccepted: self._on_order_accepted,
            OrderRested: self._on_order_rested,
            TradeExecuted: self._on_trade_executed,
            OrderFilled: self._on_order_filled,
            OrderCancelled: self._on_order_cancelled,
            OrderReduced: self._on_order_reduced,
            OrderAmended: self._on_order_amended,
            DepositCredited: self._on_deposit_credited,
            WithdrawalRequested: self._on_withdrawal_requested,
            WithdrawalPaid: self._on_withdrawal_paid,
            WithdrawalRefunded: self._on_withdrawal_refunded,
            PhaseChanged: self._on_phase_changed,
            StandbyPaused: self._unchanged,
            StandbyResumed: self._unchanged,
            StandbyPromoted: self._on_standby_promoted,
        }

    # Deciding -----------------------------------------------------------------------------------------------------

    def apply(self, command: Command) -> Events:
        """Decide one command and change the state accordingly; the events tell all that changed."""
        self._events = []
        if self.phase_allows(command):
            self._decide(command)
        else:
            self.refuse(Reason.PHASE_FORBIDS)
        self.seq += 1
        return tuple(self._events)

    def replay(self, events: Iterable[Event]) -> None:
        """Change the state by the events of one command that was decided before, here or on another replica."""
        for event in events:
            self._evolve(event)
        self.seq += 1

    def phase_allows(self, command: Command) -> bool:
        """Whether the phase lets the command take effect."""
        return legal(self.phase, command)

    def emit(self, event: Event) -> None:
        """Let something have happened: tell it, and change the state by it."""
        self._events.append(event)
        self._evolve(event)

    def refuse(self, reason: Reason) -> None:
        """Refuse the command; nothing else may have been emitted for it."""
        assert not self._events, "a refused command has no effect"
        self.emit(Rejected(reason=reason))

    def _decide(self, command: Command) -> None:
        match command:
            case PlaceOrder():
                self._decide_place(command)
            case CancelOrder():
                self._decide_cancel(command)
            case AmendOrder():
                self._decide_amend(command)
            case CreditDeposit():
                self._decide_deposit(command)
            case RequestWithdrawal():
                self._decide_withdrawal(command)
            case PayWithdrawal():
                self._decide_payment(command)
            case RefundWithdrawal():
                self._decide_refund(command)
            case SetPhase():
                self._decide_phase(command)
            case PauseStandby():
                self.emit(StandbyPaused())
            case ResumeStandby():
                self.emit(StandbyResumed())
            case PromoteStandby():
                self.emit(StandbyPromoted(epoch=self.epoch + 1))
            case _:
                assert_never(command)

    # Orders -------------------------------------------------------------------------------------------------------

    def _decide_place(self, command: PlaceOrder) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.market not in self.markets:
            return self.refuse(Reason.UNKNOWN_MARKET)
        if command.size_lots <= 0:
            return self.refuse(Reason.SIZE_NOT_POSITIVE)
        if command.price_ticks is not None and command.price_ticks <= 0:
            return self.refuse(Reason.PRICE_NOT_POSITIVE)
        if command.price_ticks is None and command.post_only:
            return self.refuse(Reason.MARKET_ORDER_CANNOT_REST)
        if self.order_id_used(command.client, command.order):
            return self.refuse(Reason.DUPLICATE_ORDER)
        book = self.books[command.market]
        if command.post_only and self.takes(book, command.side, command.price_ticks):
            return self.refuse(Reason.POST_ONLY_WOULD_TAKE)
        plan = book.plan(
            client=command.client,
            side=command.side,
            price=command.price_ticks,
            size=command.size_lots,
            self_trade=command.self_trade,
        )
        if command.time_in_force is TimeInForce.FOK and not self.fillable(plan, command.size_lots):
            return self.refuse(Reason.FOK_UNFILLABLE)
        if not self.funded(command, plan):
            return self.refuse(Reason.INSUFFICIENT_FUNDS)
        self.emit(
            OrderAccepted(
                client=command.client,
                order=command.order,
                market=command.market,
                side=command.side,
                size_lots=command.size_lots,
                price_ticks=command.price_ticks,
                time_in_force=command.time_in_force,
                post_only=command.post_only,
                self_trade=command.self_trade,
            )
        )
        order = self.orders[command.client, command.order]
        self._move_hold(order, Amount(0), CauseKind.ORDER_HOLD)
        self._execute(order, plan)
        return None

    def _decide_cancel(self, command: CancelOrder) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        order = self.orders.get((command.client, command.order))
        if order is None:
            return self.refuse(Reason.UNKNOWN_ORDER)
        if not self.cancellable(order):
            return self.refuse(Reason.ORDER_NOT_OPEN)
        return self.cancel(order, CancelReason.REQUESTED)

    def _decide_amend(self, command: AmendOrder) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.size_lots <= 0:
            return self.refuse(Reason.SIZE_NOT_POSITIVE)
        if command.price_ticks <= 0:
            return self.refuse(Reason.PRICE_NOT_POSITIVE)
        order = self.orders.get((command.client, command.order))
        if order is None:
            return self.refuse(Reason.UNKNOWN_ORDER)
        if order.status is not OrderStatus.RESTING:
            return self.refuse(Reason.ORDER_NOT_OPEN)
        left = SizeLots(command.size_lots - order.filled_lots)
        if left <= 0:
            return self.refuse(Reason.SIZE_NOT_ABOVE_FILLED)
        book = self.books[order.market]
        never_takes = order.post_only or self.phase is Phase.POST_ONLY
        if never_takes and self.takes(book, order.side, command.price_ticks):
            return self.refuse(Reason.POST_ONLY_WOULD_TAKE)
        before = self.hold(order)
        wanted = self.hold_for(order, price=command.price_ticks, left=left)
        if not self.covers(order.client, self._hold_asset(order), Amount(wanted - before)):
            return self.refuse(Reason.INSUFFICIENT_FUNDS)
        kept = self.keeps_priority(order, command)
        self.emit(
            OrderAmended(
                client=order.client,
                order=order.order,
                size_lots=command.size_lots,
                price_ticks=command.price_ticks,
                left_lots=left,
                priority_kept=kept,
            )
        )
        self._move_hold(order, before, CauseKind.ORDER_HOLD)
        if kept:
            return None
        plan = book.plan(
            client=self.amended_taker(order),
            side=order.side,
            price=order.price_ticks,
            size=order.left_lots,
            self_trade=order.self_trade,
        )
        return self._execute(order, plan)

    def _execute(self, taker: Order, plan: MatchPlan) -> None:
        """Carry out what a taker meets, then let what is left of it rest or be cancelled."""
        for step in plan.steps:
            match step.kind:
                case StepKind.TRADE:
                    self.trade(taker, step)
                case StepKind.CANCEL_MAKER:
                    self.cancel(step.maker, CancelReason.SELF_TRADE)
                case StepKind.DECREMENT:
                    self._decrement(step.maker, step.lots)
                    self._decrement(taker, step.lots)
                case _:
                    assert_never(step.kind)
        if taker.status in (OrderStatus.FILLED, OrderStatus.CANCELLED):
            return
        if plan.taker_cancelled:
            self.cancel(taker, CancelReason.SELF_TRADE)
        elif self.rests(taker):
            assert taker.price_ticks is not None
            self.emit(
                OrderRested(
                    client=taker.client,
                    order=taker.order,
                    price_ticks=taker.price_ticks,
                    left_lots=taker.left_lots,
                )
            )
        elif taker.price_ticks is None:
            self.cancel(taker, CancelReason.MARKET_REMAINDER)
        else:
            self.cancel(taker, CancelReason.IOC_REMAINDER)

    def trade(self, taker: Order, step: MatchStep) -> None:
        """Trade with a resting order at its price: the trade, its entry, and the end of an order that is filled."""
        maker, size = step.maker, step.lots
        market = self.markets[taker.market]
        price = self.trade_price(maker, taker)
        value = notional(price, size, tick_amount=market.tick_amount)
        before = {order.key: (self.hold(order), order.fee_numerator) for order in (maker, taker)}
        maker_fee = self.fee(maker, value, market.maker_fee_ppm)
        taker_fee = self.fee(taker, value, market.taker_fee_ppm)
        self.emit(
            TradeExecuted(
                trade=self.trades + 1,
                market=market.market,
                price_ticks=price,
                size_lots=size,
                taker_side=taker.side,
                maker_client=maker.client,
                maker_order=maker.order,
                taker_client=taker.client,
                taker_order=taker.order,
                maker_fee=maker_fee,
                taker_fee=taker_fee,
            )
        )
        base = size * market.lot_amount
        earned = 0
        postings: list[tuple[str, Bucket, AssetId, int]] = []
        for order, fee in ((maker, maker_fee), (taker, taker_fee)):
            hold_before, numerator_before = before[order.key]
            released = hold_before - self.hold(order)
            earned += fee_earned(order.fee_numerator) - fee_earned(numerator_before)
            if order.side is Side.BUY:
                postings += [
                    (order.client, HELD, market.quote, -released),
                    (order.client, FREE, market.quote, released - value - fee),
                    (order.client, FREE, market.base, base),
                ]
            else:
                postings += [
                    (order.client, HELD, market.base, -released),
                    (order.client, FREE, market.base, released - base),
                    (order.client, FREE, market.quote, value - fee),
                ]
        postings += self.fee_postings(market.quote, charged=maker_fee + taker_fee, earned=earned)
        self.post(CauseKind.TRADE, str(self.trades), postings)
        for order in (maker, taker):
            if not order.left_lots:
                self.emit(OrderFilled(client=order.client, order=order.order))

    def cancel(self, order: Order, reason: CancelReason) -> None:
        """Cancel what is left of an order and release exactly what is held for it."""
        before = self.hold(order)
        self.emit(OrderCancelled(client=order.client, order=order.order, left_lots=order.left_lots, reason=reason))
        self._move_hold(order, before, CauseKind.ORDER_RELEASE)

    def _decrement(self, order: Order, lots: SizeLots) -> None:
        if order.left_lots == lots:
            return self.cancel(order, CancelReason.SELF_TRADE)
        before = self.hold(order)
        self.emit(
            OrderReduced(
                client=order.client,
                order=order.order,
                size_lots=SizeLots(order.size_lots - lots),
                left_lots=SizeLots(order.left_lots - lots),
            )
        )
        return self._move_hold(order, before, CauseKind.ORDER_RELEASE)

    # Rules of orders, each a seam -----------------------------------------------------------------------------------

    def order_id_used(self, client: ClientId, order: OrderId) -> bool:
        """Whether the client ever had an order of this id accepted."""
        return (client, order) in self.orders

    def takes(self, book: Book, side: Side, price: PriceTicks | None) -> bool:
        """Whether an order would trade at once, as far as post-only is concerned."""
        return book.crosses(side, price)

    def fillable(self, plan: MatchPlan, size: SizeLots) -> bool:
        """Whether a fill-or-kill order would trade whole."""
        return plan.traded == size

    def rests(self, order: Order) -> bool:
        """Whether what is left of an order stays in the book."""
        return order.price_ticks is not None and order.time_in_force is TimeInForce.GTC

    def cancellable(self, order: Order) -> bool:
        """Whether an order can be cancelled: only a resting one."""
        return order.status is OrderStatus.RESTING

    def keeps_priority(self, order: Order, command: AmendOrder) -> bool:
        """Whether an amended order keeps its place: only at the same price, and not for more."""
        return command.price_ticks == order.price_ticks and command.size_lots <= order.size_lots

    def amended_taker(self, order: Order) -> ClientId | None:
        """Whose orders an amended order must not trade with when it crosses: its own client's."""
        return order.client

    def trade_price(self, maker: Order, taker: Order) -> PriceTicks:  # noqa: ARG002 - a seam: a fault looks at the taker
        """The price of a trade: the resting order's."""
        assert maker.price_ticks is not None
        return maker.price_ticks

    def fee(self, order: Order, value: Amount, rate_ppm: int) -> Amount:
        """What a trade of this quote amount adds to the order's fee, which is rounded up over the whole order."""
        return Amount(fee_charged(order.fee_numerator + value * rate_ppm) - fee_charged(order.fee_numerator))

    def fee_postings(self, asset: AssetId, *, charged: int, earned: int) -> list[tuple[str, Bucket, AssetId, int]]:
        """Where a fee goes: its whole part to the house's fees, what rounding up added to its rounding account."""
        return [(FEES, FREE, asset, earned), (ROUNDING, FREE, asset, charged - earned)]

    def hold(self, order: Order) -> Amount:
        """What must be held for an order as it stands; nothing for a market order, which pays from what is free."""
        if order.price_ticks is None:
            return Amount(0)
        return self.hold_for(order, price=order.price_ticks, left=order.left_lots)

    def hold_for(self, order: Order, *, price: PriceTicks, left: SizeLots) -> Amount:
        """What must be held for an order of this price with this much left."""
        market = self.markets[order.market]
        if order.side is Side.SELL:
            return hold_to_sell(market, left)
        return hold_to_buy(market, price, left, fee_numerator=order.fee_numerator)

    def funded(self, command: PlaceOrder, plan: MatchPlan) -> bool:
        """Whether the free balance covers what an order may cost: limit and fee, or for a market buy its plan."""
        market = self.markets[command.market]
        if command.side is Side.SELL:
            return self.covers(command.client, market.base, hold_to_sell(market, command.size_lots))
        if command.price_ticks is not None:
            need = hold_to_buy(market, command.price_ticks, command.size_lots, fee_numerator=0)
        else:
            value = sum(
                notional(step.maker.price_ticks or PriceTicks(0), step.lots, tick_amount=market.tick_amount)
                for step in plan.steps
                if step.kind is StepKind.TRADE
            )
            need = Amount(value + fee_charged(value * market.taker_fee_ppm))
        return self.covers(command.client, market.quote, need)

    def covers(self, client: ClientId, asset: AssetId, amount: Amount) -> bool:
        """Whether a client's free balance covers an amount."""
        return amount <= self.ledger.amount(client, FREE, asset)

    def _hold_asset(self, order: Order) -> AssetId:
        market = self.markets[order.market]
        return market.quote if order.side is Side.BUY else market.base

    def _move_hold(self, order: Order, before: Amount, kind: CauseKind) -> None:
        """Move between free and held what the order's hold changed by."""
        more = self.hold(order) - before
        asset = self._hold_asset(order)
        cause = f"{order.client}/{order.order}"
        self.post(kind, cause, [(order.client, FREE, asset, -more), (order.client, HELD, asset, more)])

    def post(self, kind: CauseKind, cause: str, postings: Iterable[tuple[str, Bucket, AssetId, int]]) -> None:
        """Post an entry; lines of nothing are left out, and so is an entry of nothing."""
        lines = tuple(
            Posting(account=account, bucket=bucket, asset=asset, amount=Amount(amount))
            for account, bucket, asset, amount in postings
            if amount
        )
        if lines:
            self.emit(EntryPosted(cause_kind=kind, cause=cause, postings=lines))

    # Funds --------------------------------------------------------------------------------------------------------

    def _decide_deposit(self, command: CreditDeposit) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if self.deposit_credited(command.transaction):
            return self.refuse(Reason.DUPLICATE_DEPOSIT)
        self.emit(
            DepositCredited(
                client=command.client,
                asset=command.asset,
                amount=command.amount,
                transaction=command.transaction,
            )
        )
        return self.post(
            CauseKind.DEPOSIT,
            command.transaction,
            [
                (OUTSIDE, FREE, command.asset, -command.amount),
                (command.client, FREE, command.asset, command.amount),
            ],
        )

    def deposit_credited(self, transaction: TransactionId) -> bool:
        """Whether a chain transaction was credited before."""
        return transaction in self.deposits

    def _decide_withdrawal(self, command: RequestWithdrawal) -> None:
        if command.client not in self.clients:
            return self.refuse(Reason.UNKNOWN_CLIENT)
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if (command.client, command.withdrawal) in self.withdrawals:
            return self.refuse(Reason.DUPLICATE_WITHDRAWAL)
        if command.amount > self.withdrawable(command.client, command.asset):
            return self.refuse(Reason.INSUFFICIENT_FUNDS)
        self.emit(
            WithdrawalRequested(
                client=command.client,
                withdrawal=command.withdrawal,
                asset=command.asset,
                amount=command.amount,
            )
        )
        return self.post(
            CauseKind.WITHDRAWAL_HOLD,
            f"{command.client}/{command.withdrawal}",
            [
                (command.client, FREE, command.asset, -command.amount),
                (command.client, HELD, command.asset, command.amount),
            ],
        )

    def withdrawable(self, client: ClientId, asset: AssetId) -> Amount:
        """How much a client may withdraw: what is free."""
        return self.ledger.amount(client, FREE, asset)

    def _decide_payment(self, command: PayWithdrawal) -> None:
        withdrawal = self.withdrawals.get((command.client, command.withdrawal))
        if withdrawal is None:
            return self.refuse(Reason.UNKNOWN_WITHDRAWAL)
        if not self.payable(withdrawal):
            return self.refuse(Reason.WITHDRAWAL_NOT_OPEN)
        self.emit(
            WithdrawalPaid(
                client=withdrawal.client,
                withdrawal=withdrawal.withdrawal,
                asset=withdrawal.asset,
                amount=withdrawal.amount,
            )
        )
        return self.post(
            CauseKind.WITHDRAWAL_PAYMENT,
            f"{withdrawal.client}/{withdrawal.withdrawal}",
            [
                (withdrawal.client, HELD, withdrawal.asset, -withdrawal.amount),
                (OUTSIDE, FREE, withdrawal.asset, withdrawal.amount),
            ],
        )

    def payable(self, withdrawal: Withdrawal) -> bool:
        """Whether a withdrawal may be paid: neither paid nor refunded yet."""
        return withdrawal.status is WithdrawalStatus.REQUESTED

    def _decide_refund(self, command: RefundWithdrawal) -> None:
        withdrawal = self.withdrawals.get((command.client, command.withdrawal))
        if withdrawal is None:
            return self.refuse(Reason.UNKNOWN_WITHDRAWAL)
        if withdrawal.status is not WithdrawalStatus.REQUESTED:
            return self.refuse(Reason.WITHDRAWAL_NOT_OPEN)
        return self.refund(withdrawal)

    def refund(self, withdrawal: Withdrawal) -> None:
        """Give a withdrawal back: to its owner, in its asset, its amount."""
        self.emit(
            WithdrawalRefunded(
                client=withdrawal.client,
                withdrawal=withdrawal.withdrawal,
                asset=withdrawal.asset,
                amount=withdrawal.amount,
            )
        )
        self.post(
            CauseKind.WITHDRAWAL_REFUND,
            f"{withdrawal.client}/{withdrawal.withdrawal}",
            [
                (withdrawal.client, HELD, withdrawal.asset, -withdrawal.amount),
                (withdrawal.client, FREE, withdrawal.asset, withdrawal.amount),
            ],
        )

    # Operations ---------------------------------------------------------------------------------------------------

    def _decide_phase(self, command: SetPhase) -> None:
        if command.phase not in LEGAL_TRANSITIONS[self.phase]:
            return self.refuse(Reason.TRANSITION_ILLEGAL)
        return self.enter(command.phase)

    def enter(self, phase: Phase) -> None:
        """Change the phase; orders and balances stay as they are."""
        self.emit(PhaseChanged(before=self.phase, after=phase))

    # Evolving: the only code that changes the state ----------------------------------------------------------------

    def _evolve(self, event: Event) -> None:
        self._evolvers[event.__class__](event)

    def _unchanged(self, event: Event) -> None:
        """Some events change nothing in the replicated state."""

    def _on_entry_posted(self, event: EntryPosted) -> None:
        self.ledger.post(event)

    def _on_order_accepted(self, event: OrderAccepted) -> None:
        self.orders[event.client, event.order] = Order(
            client=event.client,
            order=event.order,
            market=event.market,
            side=event.side,
            size_lots=event.size_lots,
            price_ticks=event.price_ticks,
            time_in_force=event.time_in_force,
            post_only=event.post_only,
            self_trade=event.self_trade,
            status=OrderStatus.ACCEPTED,
            filled_lots=SizeLots(0),
            left_lots=event.size_lots,
            fee_numerator=Amount(0),
        )

    def _on_order_rested(self, event: OrderRested) -> None:
        order = self.orders[event.client, event.order]
        order.status = OrderStatus.RESTING
        self.books[order.market].add(order)

    def _on_trade_executed(self, event: TradeExecuted) -> None:
        self.trades = event.trade
        market = self.markets[event.market]
        value = notional(event.price_ticks, event.size_lots, tick_amount=market.tick_amount)
        for key, rate in (
            ((event.maker_client, event.maker_order), market.maker_fee_ppm),
            ((event.taker_client, event.taker_order), market.taker_fee_ppm),
        ):
            order = self.orders[key]
            order.filled_lots = SizeLots(order.filled_lots + event.size_lots)
            order.left_lots = SizeLots(order.left_lots - event.size_lots)
            order.fee_numerator = Amount(order.fee_numerator + value * rate)

    def _on_order_filled(self, event: OrderFilled) -> None:
        order = self.orders[event.client, event.order]
        self._leave_book(order)
        order.status = OrderStatus.FILLED

    def _on_order_cancelled(self, event: OrderCancelled) -> None:
        order = self.orders[event.client, event.order]
        self._leave_book(order)
        order.status = OrderStatus.CANCELLED
        order.left_lots = SizeLots(0)

    def _on_order_reduced(self, event: OrderReduced) -> None:
        order = self.orders[event.client, event.order]
        order.size_lots, order.left_lots = event.size_lots, event.left_lots

    def _on_order_amended(self, event: OrderAmended) -> None:
        order = self.orders[event.client, event.order]
        if not event.priority_kept:
            self._leave_book(order)
            order.status = OrderStatus.ACCEPTED
        order.size_lots, order.left_lots = event.size_lots, event.left_lots
        order.price_ticks = event.price_ticks

    def _leave_book(self, order: Order) -> None:
        if order.status is OrderStatus.RESTING:
            self.books[order.market].remove(order)

    def _on_deposit_credited(self, event: DepositCredited) -> None:
        self.deposits[event.transaction] = None

    def _on_withdrawal_requested(self, event: WithdrawalRequested) -> None:
        self._set_withdrawal(event, WithdrawalStatus.REQUESTED)

    def _on_withdrawal_paid(self, event: WithdrawalPaid) -> None:
        self._set_withdrawal(event, WithdrawalStatus.PAID)

    def _on_withdrawal_refunded(self, event: WithdrawalRefunded) -> None:
        self._set_withdrawal(event, WithdrawalStatus.REFUNDED)

    def _set_withdrawal(
        self, event: WithdrawalRequested | WithdrawalPaid | WithdrawalRefunded, status: WithdrawalStatus
    ) -> None:
        self.withdrawals[event.client, event.withdrawal] = Withdrawal(
            client=event.client,
            withdrawal=event.withdrawal,
            asset=event.asset,
            amount=event.amount,
            status=status,
        )

    def _on_phase_changed(self, event: PhaseChanged) -> None:
        self.phase = event.after

    def _on_standby_promoted(self, event: StandbyPromoted) -> None:
        self.epoch = event.epoch

    # Snapshots ----------------------------------------------------------------------------------------------------

    def state(self) -> VenueState:
        """All that the state machine holds, in canonical order: equal states give equal values, on any replica."""
        return VenueState(
            seq=self.seq,
            epoch=self.epoch,
            phase=self.phase,
            trades=self.trades,
            balances=self.ledger.balances(),
            resting=tuple(
                order
                for market in sorted(self.books)
                for side in (Side.BUY, Side.SELL)
                for order in self.books[market].orders(side)
            ),
            closed=tuple(
                self.orders[key] for key in sorted(self.orders) if self.orders[key].status is not OrderStatus.RESTING
            ),
            deposits=tuple(sorted(self.deposits)),
            withdrawals=tuple(self.withdrawals[key] for key in sorted(self.withdrawals)),
        )

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        self.seq, self.epoch, self.phase, self.trades = state.seq, state.epoch, state.phase, state.trades
        self.ledger.load(state.balances)
        self.books = {market: self.book_class() for market in self.markets}
        self.orders = {}
        for order in state.resting:
            self.orders[order.key] = order
            self.books[order.market].add(order)
        for order in state.closed:
            self.orders[order.key] = order
        self.deposits = dict.fromkeys(state.deposits)
        self.withdrawals = {
            (withdrawal.client, withdrawal.withdrawal): withdrawal for withdrawal in state.withdrawals
        }
