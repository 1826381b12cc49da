"""CONS-4: no command moves more than its cause allows."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from holdfast_invariants.cover import NewRiskIsBorne
from holdfast_invariants.flows import (
    BORROWED,
    FREE,
    HELD,
    Moved,
    Payment,
    as_of_trade,
    is_of_spot_trade,
    moved,
    of_interest,
    of_payment,
    of_settled,
    of_sweep,
    of_trade,
    of_transfer,
    settled_by_deleveraging,
    settled_by_funding,
    to_hold,
)
from holdfast_invariants.monitor import on, on_entry
from holdfast_model.vocabulary import (
    CLEARING,
    INSURANCE,
    LENDING,
    LIQUIDATION_ORDER_PREFIX,
    PROMOTIONS,
    ROUNDING,
    SWEEP_PREFIX,
    AmendOrder,
    Answer,
    AssetId,
    Borrow,
    Borrowed,
    Bucket,
    CauseKind,
    Command,
    CreditDeposit,
    Deleveraged,
    DepositCredited,
    DepositFinalised,
    EntryPosted,
    FundHouse,
    FundingSettled,
    GrantPromotion,
    HouseFunded,
    InterestAccrued,
    LiquidationStepped,
    Market,
    OrderAccepted,
    OrderAmended,
    PaymentApproved,
    PlaceOrder,
    PromotionGranted,
    Repaid,
    Repay,
    RequestWithdrawal,
    SweepCompleted,
    TradeExecuted,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalRequested,
    WithdrawalStatus,
)

_GRANTED: Mapping[Any, type] = {
    CreditDeposit: DepositCredited,
    RequestWithdrawal: WithdrawalRequested,
    FundHouse: HouseFunded,
    GrantPromotion: PromotionGranted,
    TransferMargin: TransferStarted,
    Borrow: Borrowed,
    Repay: Repaid,
    PlaceOrder: OrderAccepted,
    AmendOrder: OrderAmended,
}
"""What each command may bring about: the event says the same in all that the command says."""

_CAUSED = tuple(event for event in _GRANTED.values() if event is not OrderAccepted)
_CAUSE: dict[type, tuple[type, Callable[[Any], tuple[Any, ...]]]] = {
    event: (command, attrgetter(*command.__struct_fields__)) for command, event in _GRANTED.items()
}
"""What each effect is caused by, and what is equal in the two."""
_TRADE = CauseKind.TRADE
_MARGIN = frozenset({CauseKind.SETTLEMENT, CauseKind.INSURANCE, CauseKind.SEIZURE})
_ENDED = frozenset({WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED})
_HOLDS = frozenset({CauseKind.ORDER_HOLD, CauseKind.ORDER_RELEASE})


def _text(total: Moved) -> str:
    lines = (f"{account} {bucket} {asset} {amount:+}" for (account, bucket, asset), amount in sorted(total.items()))
    return ", ".join(lines) or "nothing"


class CausesBoundEffects(NewRiskIsBorne):
    """CONS-4: what else an answer tells explains each of its entries; credit and grants are within the pools.

    Margin accounts bear what they take on (`NewRiskIsBorne`).
    """

    invariant = "CONS-4"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._explained: dict[CauseKind, list[Moved]] = defaultdict(list)
        self._posted: dict[CauseKind, list[EntryPosted]] = defaultdict(list)
        self._trade: tuple[TradeExecuted, Market] | None = None
        """A spot trade that was just told: its entry, which comes next, is compared with it at once."""
        self._awaits_end = False
        self._stepped: Answer | None = None
        """The last answer that told of a step of a liquidation."""
        self._effective: Answer | None = None
        self._effects = 0
        """The last answer that told of an effect of those that a command may have one of, and how many it told of."""
        self._promotion_max = {item.asset: item.amount for item in self.told.setup.promotion_max}
        margin = self.told.setup.margin
        self._credit = {item.asset: item.amount for item in margin.credit} if margin is not None else {}

    @on(*_CAUSED)
    def effect(self, event: Any) -> None:  # noqa: ANN401 - any of several events
        """What a command brings about is what it asked for, in all that it says, once."""
        self.checked += 1
        if event.__class__ is DepositCredited and self.told.custody is not None:
            return
        cause, essence = _CAUSE[event.__class__]
        command = self.told.command
        self._effect(event, is_asked=command.__class__ is cause and essence(command) == essence(event))

    @on(OrderAccepted, plain=1)
    def accepted(self, event: OrderAccepted) -> None:
        """So it is with an order, but for those of a liquidation."""
        self.checked += 1
        if event.order.startswith(LIQUIDATION_ORDER_PREFIX):
            return
        command = self.told.command
        is_asked = (
            command.__class__ is PlaceOrder
            and command.order == event.order
            and command.client == event.client
            and command.size_lots == event.size_lots
            and command.price_ticks == event.price_ticks
            and command.side is event.side
            and command.market == event.market
            and command.time_in_force is event.time_in_force
            and command.post_only is event.post_only
            and command.self_trade is event.self_trade
            and command.conditions == event.conditions
        )
        self._effect(event, is_asked=is_asked)

    def _effect(self, event: Any, *, is_asked: bool) -> None:  # noqa: ANN401 - any of several events
        answer = self.told.answer
        if self._effective is not answer:
            self._effective, self._effects = answer, int(self.told.effect_of is answer)
        self._effects += 1
        if not is_asked or self._effects > 1:
            self._unasked(self.told.command, event)

    def _unasked(self, command: Command | None, event: Any) -> None:  # noqa: ANN401 - any of several events
        cause, essence = _CAUSE[event.__class__]
        asked = given = ""
        if command.__class__ is cause and self._effects == 1:
            asked, given = (" ".join(map(str, essence(item))) for item in (command, event))
        self.report(
            f"{type(event).__name__} of {type(command).__name__}",
            found=given or f"{type(event).__name__} as effect number {self._effects}",
            expected=asked or "nothing that the command does not ask for",
            evidence=[event] if command is None else [command, event],
        )

    @on(
        DepositFinalised,
        DepositCredited,
        WithdrawalRequested,
        WithdrawalPaid,
        WithdrawalRefunded,
        HouseFunded,
        PromotionGranted,
        Borrowed,
        Repaid,
    )
    def payment(self, event: Payment) -> None:
        """An amount that is to be moved, and that is within its limit."""
        custody = self.told.custody
        if isinstance(event, DepositFinalised) and custody and (event.asset, event.transaction) in custody.entered:
            return
        kind, expected = of_payment(self.told, event)
        self._explain(kind, expected)
        if isinstance(event, PromotionGranted):
            self._within(event, PROMOTIONS, self._promotion_max.get(event.asset, 0), "a grant")
        elif isinstance(event, Borrowed):
            owed = -self.told.amounts.get((event.client, BORROWED, event.asset), 0)
            self._within(event, LENDING, self._credit.get(event.asset, 0) - owed, "more credit")

    def _within(self, event: PromotionGranted | Borrowed, pool: str, most: int, what: str) -> None:
        self.checked += 1
        there = self.told.amounts.get((pool, FREE, event.asset), 0)
        if event.amount > min(most, there):
            self.report(
                f"{type(event).__name__} to {event.client}",
                found=f"{event.amount} {event.asset}",
                expected=f"at most {most} for {what}, and {there} are in {pool}",
                evidence=[event],
            )

    def view(self, view: View) -> None:  # noqa: ARG002 - what was told is looked at; FINAL-2 compares it with the view
        """What a client has held is what its open orders, and its withdrawals and transfers under way, need."""
        held = {
            (account, asset): amount
            for (account, bucket, asset), amount in self.told.amounts.items()
            if bucket is HELD and amount and not account.startswith("@")
        }
        needed = self._needed()
        for account, asset in sorted(held.keys() | needed.keys()):
            self.checked += 1
            found, expected = held.get((account, asset), 0), needed.get((account, asset), 0)
            if found != expected:
                self.report(
                    f"held of {account} {asset}",
                    found=f"{found} {asset} are held",
                    expected=f"{expected}, what its open orders, withdrawals and transfers need",
                )

    def _needed(self) -> Mapping[tuple[str, AssetId], int]:
        """What is to be held of each client and asset."""
        told, needed = self.told, defaultdict[tuple[str, AssetId], int](int)
        for client, orders in told.book.open.items():
            for order in orders.values():
                market = told.markets.get(order.market)
                if market is not None and market.perpetual is None and order.price_ticks is not None:
                    asset, amount = to_hold(market, order)
                    needed[client, asset] += amount
        for (client, _), item in told.withdrawals.items():
            if item.status not in _ENDED:
                needed[client, item.asset] += item.amount + item.fee
        if told.margin is not None:
            for (client, _), transfer in told.margin.transfers.items():
                needed[client, transfer.asset] += transfer.amount
        return needed

    @on(TransferStarted, TransferCompleted)
    def transfer(self, event: TransferStarted | TransferCompleted) -> None:
        """Collateral that leaves or arrives."""
        expected = of_transfer(self.told, event) if self.told.margin is not None else None
        if expected is not None:
            self._explain(CauseKind.TRANSFER, expected)

    @on(PaymentApproved, SweepCompleted)
    def sweep(self, event: PaymentApproved | SweepCompleted) -> None:
        """The fee of a sweep, which the house pays; a withdrawal's was held when it was requested."""
        if isinstance(event, SweepCompleted) or event.intent.payment.startswith(SWEEP_PREFIX):
            self._explain(CauseKind.NETWORK_FEE, of_sweep(self.told, event))

    @on(TradeExecuted, plain=0)
    def trade(self, event: TradeExecuted) -> None:
        """What a trade moves: price times size, lots, and fees."""
        market = self.told.market
        if market is None:
            return
        self._busy()
        if market.perpetual is None and not self._explained and self._trade is None:
            self._trade = (event, market)
            return
        self._not_followed()
        self._explain(_TRADE, of_trade(self.told, market, event))

    @on(FundingSettled)
    def funding(self, event: FundingSettled) -> None:
        """What a funding moves, the remainder to rounding."""
        market = self.told.markets.get(event.market)
        if market is not None and self.told.margin is not None:
            sides = settled_by_funding(self.told, market, event)
            self._explain(CauseKind.FUNDING, of_settled(market, sides, charges_to=ROUNDING))

    @on(Deleveraged)
    def deleveraged(self, event: Deleveraged) -> None:
        """What a deleveraging moves."""
        market = self.told.markets.get(event.market)
        if market is not None and self.told.margin is not None:
            sides = settled_by_deleveraging(self.told, market, event)
            self._explain(CauseKind.DELEVERAGING, of_settled(market, sides, charges_to=ROUNDING))

    @on(InterestAccrued)
    def interest(self, event: InterestAccrued) -> None:
        """What a period's interest adds to all debts."""
        self._explain(CauseKind.INTEREST, of_interest(self.told, event))

    @on(LiquidationStepped)
    def stepped(self, event: LiquidationStepped) -> None:  # noqa: ARG002 - that there was one
        """A liquidation may move what is in its account and in the insurance fund."""
        self._stepped = self.told.answer

    def _busy(self) -> None:
        """There is something to compare when the command at hand is done."""
        if not self._awaits_end:
            self._awaits_end = True
            self.look_at_end(self.done)

    def _explain(self, kind: CauseKind, expected: Moved) -> None:
        self._busy()
        self._explained[kind].append(expected)

    def _not_followed(self) -> None:
        """The trade that was just told is compared with its entry when the command is done, like all else."""
        if self._trade is not None:
            event, market = self._trade
            self._trade = None
            self._explain(_TRADE, of_trade(self.told, market, event))

    @on_entry(_TRADE, plain=1)
    def traded(self, event: EntryPosted) -> None:
        """The entry of a trade: mostly of the spot trade that was just told."""
        trade = self._trade
        if trade is not None and not self._posted and is_of_spot_trade(event.postings, *trade):
            self.checked += 1
            self._trade = None
            return
        self._not_followed()
        self.entry(event)

    @on_entry(*(frozenset(CauseKind) - _HOLDS - _MARGIN - {_TRADE}))
    def entry(self, event: EntryPosted) -> None:
        """An entry that is to be explained."""
        self._busy()
        self._posted[event.cause_kind].append(event)

    @on_entry(*_HOLDS, plain=1)
    def held(self, event: EntryPosted) -> None:
        """What is held or released stays with one client, in one asset, and is no more than was there."""
        self.checked += 1
        places = {(posting.account, posting.asset) for posting in event.postings}
        buckets = {posting.bucket for posting in event.postings}
        if len(places) > 1 or not buckets <= {FREE, Bucket.HELD} or sum(item.amount for item in event.postings) != 0:
            self._unexplained(event, "one amount between free and held of one client")

    @on_entry(*_MARGIN)
    def obligation(self, event: EntryPosted) -> None:
        """What is paid for an account moves between it, the insurance fund, and those to whom it is owed."""
        self.checked += 1
        if event.cause_kind is not CauseKind.SETTLEMENT and self._stepped is not self.told.answer:
            self._unexplained(event, "a step of a liquidation")
        others = {item.account for item in event.postings} - {INSURANCE, CLEARING, LENDING, ROUNDING}
        if len({account.partition("@")[0] for account in others}) > 1:
            self._unexplained(event, "one account that is liquidated")

    def done(self, command: Command, answer: Answer) -> None:  # noqa: ARG002 - all is in what was told
        """Entries and what explains them are the same, one by one."""
        self._awaits_end = False
        self._not_followed()
        if not self._posted and not self._explained:
            return
        for kind in sorted(self._posted.keys() | self._explained.keys()):
            explained = [total for total in self._explained.get(kind, ()) if total]
            self._compared(kind, self._posted.get(kind, []), explained)
        self._posted.clear()
        self._explained.clear()

    def _compared(self, kind: CauseKind, entries: list[EntryPosted], explained: list[Moved]) -> None:
        posted = [(_total(kind, entry), entry) for entry in entries]
        if kind is CauseKind.INTEREST and entries:
            lines = ((*place, amount) for total, _ in posted for place, amount in total.items())
            posted = [(moved(*lines), entries[0])]
        for now, expected in zip_longest(posted, explained):
            self.checked += 1
            if now is None:
                self.report(f"{kind} without an entry", found="no entry", expected=_text(expected), evidence=[])
            elif now[0] != expected:
                self.report(
                    f"entry {kind} {now[1].cause}",
                    found=_text(now[0]),
                    expected=_text(expected)
                    if expected is not None
                    else "no entry: nothing else that was told explains it",
                    evidence=[now[1]],
                )

    def _unexplained(self, event: EntryPosted, expected: str) -> None:
        self.report(
            f"entry {event.cause_kind} {event.cause}",
            found=_text(_total(event.cause_kind, event)),
            expected=expected,
            evidence=[event],
        )


def _total(kind: CauseKind, entry: EntryPosted) -> Moved:
    if kind is _TRADE:
        return as_of_trade(entry.postings)
    return moved(*((item.account, item.bucket, item.asset, item.amount) for item in entry.postings))
