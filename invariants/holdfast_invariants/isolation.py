"""ISOL-1: the halt or loss of one product changes nothing in another."""

from typing import Any

from holdfast_invariants.flows import ledger_account
from holdfast_invariants.monitor import Monitor, after, before, on, on_entry, once_believed
from holdfast_invariants.reckoning import Accounts, is_isolated, product_of
from holdfast_model.vocabulary import (
    STAGE_COMMANDS,
    AmendOrder,
    Answer,
    CancelAll,
    CancelAllOrders,
    CancelOrder,
    CancelReason,
    CauseKind,
    Command,
    Deleveraged,
    EntryPosted,
    Event,
    FundingSettled,
    HaltProduct,
    Liquidate,
    LiquidationStepped,
    MarketId,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderReduced,
    OrderRested,
    PlaceOrder,
    PositionChanged,
    ProductHalted,
    ProductId,
    ProductResumed,
    Reason,
    Rejected,
    ResumeStage,
    SettleFunding,
    Stage,
    StopArmed,
    StopTriggered,
    TradeExecuted,
    TransferCompleted,
    TransferMargin,
    TransferStarted,
)

_OF_ORDERS = (
    OrderAccepted,
    OrderRested,
    OrderAmended,
    OrderCancelled,
    OrderReduced,
    StopArmed,
    StopTriggered,
)
_OF_MARKETS = (TradeExecuted, PositionChanged, FundingSettled, Deleveraged)
_AT_EVERY_STAGE = frozenset(
    {CancelReason.DISCONNECTED, CancelReason.EXPIRED, CancelReason.ONE_CANCELS_OTHER, CancelReason.REDUCE_ONLY}
)
"""Why orders end whatever their product's stage: clients asked for it, time is up, an auction begins."""
_PLACING = (OrderAccepted, OrderRested, OrderAmended, StopArmed)
_MOVES = frozenset(
    {
        CauseKind.TRADE,
        CauseKind.FUNDING,
        CauseKind.DELEVERAGING,
        CauseKind.INSURANCE,
        CauseKind.SEIZURE,
        CauseKind.TRANSFER,
        CauseKind.SETTLEMENT,
    }
)
"""What moves the collateral of an isolated account."""


class ProductsAreIsolated(Monitor):
    """ISOL-1: while a product is halted only what its stage allows changes in it, and nothing elsewhere.

    The collateral of an isolated account is moved by its own product alone. Transfers into a product that is not open
    wait, and arrive when it opens.
    """

    invariant = "ISOL-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._isolated = frozenset(product.product for product in self.told.setup.products if product.isolated)
        self._accounts = Accounts(self.told) if self.told.margin is not None else None
        self._restricted: set[ProductId] = set()
        """The products that are not open."""
        self._mover: ProductId | None = None
        """The product of the trade, funding, step or transfer that the next entries belong to."""
        if not self._isolated or self.told.margin is None:
            self.idle = frozenset({"moves", "entry"})

    # Stages ---------------------------------------------------------------------------------------------------------

    @once_believed(ProductHalted, ProductResumed)
    def staged(self, event: ProductHalted | ProductResumed) -> None:
        """A product is open, or it is not."""
        if self.told.triggers.is_open(event.product):
            self._restricted.discard(event.product)
        else:
            self._restricted.add(event.product)

    @before(HaltProduct)
    def halt(self, command: HaltProduct, answer: Answer) -> None:
        """A halt cancels nothing, moves nothing and triggers nothing; it is of the product that is named."""
        self.checked += 1
        told = [event for event in answer.events if not isinstance(event, Rejected)]
        more = [event for event in told if not isinstance(event, ProductHalted) or event.product != command.product]
        if more:
            self.report(
                f"halt of {command.product}",
                found=", ".join(type(event).__name__ for event in more),
                expected="nothing else changes by a halt",
                evidence=[command, *more],
            )

    @before(ResumeStage)
    def resume(self, command: ResumeStage, answer: Answer) -> None:
        """What follows when a product opens happens in that product."""
        self.checked += 1
        accepted: dict[tuple[str, str], MarketId] = {}
        for event in answer.events:
            market = self._market(event, accepted)
            product = event.product if isinstance(event, ProductResumed) else None
            if market is not None and not self._settles(event):
                product = product_of(self.told, market)
            if product is not None and product != command.product:
                self.report(
                    f"{type(event).__name__} in {product}",
                    found=f"it is an effect of {command.product} being resumed",
                    expected=f"nothing changes but in {command.product}",
                    evidence=[command, event],
                )

    def _settles(self, event: Event) -> bool:
        """Whether what is owed for a position without lots is paid, out of collateral that comes in."""
        if not isinstance(event, PositionChanged) or self.told.margin is None:
            return False
        return event.position_lots == self.told.margin.position(event.client, event.market).lots == 0

    def _market(self, event: Event, accepted: dict[tuple[str, str], MarketId]) -> MarketId | None:
        """The market that an event changes something in; `accepted` holds the orders that the answer took in."""
        if isinstance(event, _OF_MARKETS):
            return event.market
        if not isinstance(event, _OF_ORDERS):
            return None
        key = (event.client, event.order)
        if isinstance(event, OrderAccepted):
            accepted[key] = event.market
        order = self.told.orders.get(key)
        return order.market if order is not None else accepted.get(key)

    @before(plain=0)
    def restricted(self, command: Command, answer: Answer) -> None:
        """While a product is not open, what is told of it is what its stage allows."""
        if not self._restricted:
            return
        self.checked += 1
        if isinstance(answer.events[0] if answer.events else None, Rejected):
            self._refused(command, answer)
            return
        stages = dict(self.told.triggers.stages)
        accepted: dict[tuple[str, str], MarketId] = {}
        for event in answer.events:
            if isinstance(event, ProductResumed):
                stages[event.product] = event.stage
            market = self._market(event, accepted)
            if market is None:
                continue
            product = product_of(self.told, market)
            stage = stages.get(product, Stage.OPEN)
            if stage is not Stage.OPEN and not self._allowed(event, stage, command):
                self.report(
                    f"{type(event).__name__} in {product}",
                    found=f"{type(event).__name__} in {market} while {product} is at the stage {stage}",
                    expected="nothing but what the stage allows",
                    evidence=[command, event],
                )

    def _allowed(self, event: Event, stage: Stage, command: Command) -> bool:
        if isinstance(event, OrderCancelled):
            return event.reason in _AT_EVERY_STAGE or command.__class__ in STAGE_COMMANDS[stage]
        if isinstance(event, _PLACING):
            careful = not isinstance(event, OrderAccepted) or event.post_only
            return stage is Stage.POST_ONLY and command.__class__ in STAGE_COMMANDS[stage] and careful
        return self._settles(event)

    @on(Rejected)
    def refused(self, event: Rejected) -> None:
        """Nothing is refused for a halt that nobody was told of."""
        command, answer = self.told.command, self.told.answer
        if (
            event.reason is Reason.PRODUCT_HALTED
            and not self._restricted
            and command is not None
            and answer is not None
        ):
            self.checked += 1
            self._refused(command, answer)

    def _refused(self, command: Command, answer: Answer) -> None:
        """A command is refused for a halt only if it is the halt of a product that it needs."""
        if not any(isinstance(event, Rejected) and event.reason is Reason.PRODUCT_HALTED for event in answer.events):
            return
        needed = self._needed(command)
        if not any(self._stops(product, command) for product in needed):
            self.report(
                f"{type(command).__name__} in {', '.join(sorted(needed)) or 'no product'}",
                found=f"it is refused while {', '.join(sorted(self._restricted)) or 'no product'} is not open",
                expected="it is answered as if no other product were halted",
                evidence=[command, *answer.events],
            )

    def _needed(self, command: Command) -> set[ProductId]:
        """The products whose halt concerns a command."""
        if isinstance(command, PlaceOrder | SettleFunding):
            return {product_of(self.told, command.market)}
        if isinstance(command, CancelAll | CancelAllOrders):
            return {product_of(self.told, command.market)} if command.market is not None else set()
        if isinstance(command, AmendOrder | CancelOrder):
            order = self.told.orders.get((command.client, command.order))
            return {product_of(self.told, order.market)} if order is not None else set()
        if isinstance(command, TransferMargin):
            return {command.source}
        if isinstance(command, Liquidate) and self._accounts is not None:
            account = self._accounts.account(command.client, command.product)
            return set(self._accounts.closed_products(account))
        return set()

    def _stops(self, product: ProductId, command: Command) -> bool:
        """Whether the stage of a product forbids a command that concerns it."""
        stage = self.told.triggers.stages.get(product, Stage.OPEN)
        if stage is Stage.OPEN:
            return False
        careful = not isinstance(command, PlaceOrder) or command.post_only
        return not careful or command.__class__ not in STAGE_COMMANDS[stage]

    # Transfers ------------------------------------------------------------------------------------------------------

    @on(TransferCompleted)
    def arrives(self, event: TransferCompleted) -> None:
        """A transfer arrives in a product that is open."""
        transfer = self.told.margin.transfers.get((event.client, event.request)) if self.told.margin else None
        if transfer is None:
            return
        self.checked += 1
        self._mover = transfer.target
        stage = self.told.triggers.stages.get(transfer.target, Stage.OPEN)
        if stage is not Stage.OPEN:
            self.report(
                f"transfer {event.client}/{event.request}",
                found=f"it arrives in {transfer.target} at the stage {stage}",
                expected="it waits, held, until the product is open",
                evidence=[event],
            )

    @after(TransferMargin, ResumeStage)
    def arrived(self, command: TransferMargin | ResumeStage, answer: Answer) -> None:  # noqa: ARG002 - all is told
        """What waits for a product that is open has arrived."""
        if self.told.margin is None:
            return
        self.checked += 1
        for target, waiting in self.told.margin.awaiting.items():
            if waiting and self.told.triggers.is_open(target):
                for client, request in waiting:
                    self.report(
                        f"transfer {client}/{request}",
                        found=f"it waits for {target}, which is open",
                        expected="it arrives when its target opens",
                        evidence=[command],
                    )

    # Isolated accounts ----------------------------------------------------------------------------------------------

    @once_believed(TradeExecuted, FundingSettled, Deleveraged)
    def moves(self, event: TradeExecuted | FundingSettled | Deleveraged) -> None:
        """The entry that follows is of the market's product."""
        self._mover = product_of(self.told, event.market)

    @on(LiquidationStepped)
    def steps(self, event: LiquidationStepped) -> None:
        """The entries that follow are of the account's product, unless a trade tells otherwise."""
        self._mover = event.product

    @on(TransferStarted)
    def leaves(self, event: TransferStarted) -> None:
        """The entry that follows is of the product that the collateral leaves."""
        self._mover = event.source

    @on_entry()
    def entry(self, event: EntryPosted) -> None:
        """An isolated product moves the collateral of its own accounts, and no other product does."""
        own = self._mover if event.cause_kind in _MOVES and self._mover in self._isolated else None
        self.checked += own is not None
        for posting in event.postings:
            account = posting.account
            if account.startswith("@"):
                continue
            client = account.partition("@")[0]
            proper = (
                account == ledger_account(self.told, client, own) if own is not None else not is_isolated(account)
            )
            if not proper and not (own is not None and event.cause_kind is CauseKind.TRANSFER and account == client):
                self.report(
                    f"account {account}",
                    found=f"{posting.amount:+} {posting.asset} for {event.cause_kind} {event.cause}",
                    expected=f"what {own} does concerns its own accounts"
                    if own is not None
                    else "its own product alone moves what is in it",
                    evidence=[event],
                )

    @before(Liquidate)
    def asked(self, command: Liquidate, answer: Answer) -> None:
        """A liquidation in an isolated product tells of no position elsewhere."""
        if command.product not in self._isolated:
            return
        self.checked += 1
        accepted: dict[tuple[str, str], MarketId] = {}
        for event in answer.events:
            market = self._market(event, accepted)
            product = product_of(self.told, market) if market is not None else command.product
            if product != command.product:
                self.report(
                    f"{type(event).__name__} in {product}",
                    found=f"{type(event).__name__} in {market} by a liquidation in {command.product}",
                    expected=f"it touches {command.product} and house accounts alone",
                    evidence=[command, event],
                )
