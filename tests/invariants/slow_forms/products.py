"""ISOL-1, slowly: what a product that is not open lets happen in it, and what no product does to another."""

from holdfast_model.vocabulary import (
    SPOT,
    STAGE_COMMANDS,
    AmendOrder,
    CancelAll,
    CancelAllOrders,
    CancelOrder,
    CancelReason,
    CauseKind,
    Command,
    Deleveraged,
    EntryPosted,
    FundingSettled,
    HaltProduct,
    Liquidate,
    LiquidationStepped,
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
    margin_account,
)
from slow_forms.book import orders_at
from slow_forms.standing import positions_at, transfers_at
from slow_forms.tale import Asked, Done, Moment, Tale, Violations

_OF_ORDERS = (OrderAccepted, OrderRested, OrderAmended, OrderCancelled, OrderReduced, StopArmed, StopTriggered)
_OF_MARKETS = (TradeExecuted, PositionChanged, FundingSettled, Deleveraged)
_OF_THEMSELVES = {
    CancelReason.DISCONNECTED,
    CancelReason.EXPIRED,
    CancelReason.ONE_CANCELS_OTHER,
    CancelReason.REDUCE_ONLY,
}
_OF_A_PRODUCT = {
    CauseKind.TRADE,
    CauseKind.FUNDING,
    CauseKind.DELEVERAGING,
    CauseKind.INSURANCE,
    CauseKind.SEIZURE,
    CauseKind.TRANSFER,
    CauseKind.SETTLEMENT,
}


def isol_1(tale: Tale) -> Violations:
    """The halt or loss of one product changes nothing in another, and what is on its way into it waits."""
    yield from _halts(tale)
    yield from _stages(tale)
    yield from _refusals(tale)
    if tale.setup.margin is not None:
        yield from _transfers(tale)
        if tale.isolated:
            yield from _accounts(tale)


def _product_of(tale: Tale, moment: Moment) -> ProductId | None:
    """The product that an event changes something in; None where it changes nothing in a market."""
    event, products = moment.what, {market.market: market.product for market in tale.setup.markets}
    if isinstance(event, _OF_MARKETS):
        return products.get(event.market, SPOT)
    if not isinstance(event, _OF_ORDERS):
        return None
    for accepted in reversed(tale.before(moment.at + 1, OrderAccepted)):
        if (accepted.client, accepted.order) == (event.client, event.order):
            return products.get(accepted.market, SPOT)
    return None


def _halts(tale: Tale) -> Violations:
    """A halt cancels nothing, moves nothing, triggers nothing; and opening changes nothing but what it opens."""
    for moment in tale.all(Asked):
        command = moment.what.command
        for told in tale.answer(moment):
            event = told.what
            if isinstance(command, HaltProduct):
                own = isinstance(event, ProductHalted) and event.product == command.product
                if not own and not isinstance(event, Rejected):
                    yield moment.step, f"halt of {command.product}"
            elif isinstance(command, ResumeStage):
                product = event.product if isinstance(event, ProductResumed) else _product_of(tale, told)
                if product not in {None, command.product} and not _settles(tale, told):
                    yield moment.step, f"{type(event).__name__} in {product}"
            elif isinstance(command, Liquidate) and command.product in tale.isolated:
                product = _product_of(tale, told)
                if product not in {None, command.product}:
                    yield moment.step, f"{type(event).__name__} in {product}"


def _settles(tale: Tale, moment: Moment) -> bool:
    """Whether what was owed for a position without lots is paid out of collateral that came in."""
    event = moment.what
    if not isinstance(event, PositionChanged) or event.position_lots != 0:
        return False
    lots, _ = positions_at(tale, moment.at).get((event.client, event.market), (0, 0))
    return lots == 0


def _stages(tale: Tale) -> Violations:
    for moment in tale.all(*_OF_ORDERS, *_OF_MARKETS):
        product = _product_of(tale, moment)
        if product is None or moment.asked is None or isinstance(moment.asked.command, HaltProduct):
            continue
        stage = tale.stage(moment.at, product)
        if stage is not Stage.OPEN and not _is_allowed(tale, moment, stage, moment.asked.command):
            yield moment.step, f"{type(moment.what).__name__} in {product}"


def _is_allowed(tale: Tale, moment: Moment, stage: Stage, command: Command) -> bool:
    event = moment.what
    by_command = type(command) in STAGE_COMMANDS[stage]
    if isinstance(event, OrderCancelled):
        return event.reason in _OF_THEMSELVES or by_command
    if isinstance(event, OrderAccepted | OrderRested | OrderAmended | StopArmed):
        careful = not isinstance(event, OrderAccepted) or event.post_only
        return stage is Stage.POST_ONLY and by_command and careful
    return _settles(tale, moment)


# Refusals -----------------------------------------------------------------------------------------------------------


def _refusals(tale: Tale) -> Violations:
    for moment in tale.all(Asked):
        command, events = moment.what.command, moment.what.answer.events
        if any(isinstance(event, Rejected) and event.reason is Reason.PRODUCT_HALTED for event in events):
            needed = _needed(tale, moment.at, command)
            stages = {product: tale.stage(moment.at, product) for product in needed}
            careful = not isinstance(command, PlaceOrder) or command.post_only
            if not any(
                stage is not Stage.OPEN and not (careful and type(command) in STAGE_COMMANDS[stage])
                for stage in stages.values()
            ):
                yield moment.step, f"{type(command).__name__} in {', '.join(sorted(needed)) or 'no product'}"


def _needed(tale: Tale, end: int, command: Command) -> set[ProductId]:
    """The products that a command has to do with."""
    products = {market.market: market.product for market in tale.setup.markets}
    match command:
        case PlaceOrder() | SettleFunding():
            return {products.get(command.market, SPOT)}
        case CancelAll() | CancelAllOrders():
            return set() if command.market is None else {products.get(command.market, SPOT)}
        case AmendOrder() | CancelOrder():
            order = orders_at(tale, end).get((command.client, command.order))
            return set() if order is None else {products.get(order.accepted.market, SPOT)}
        case TransferMargin():
            return {command.source}
        case Liquidate():
            engaged = {products[market] for client, market in positions_at(tale, end) if client == command.client}
            engaged |= {
                products[order.accepted.market]
                for (client, _), order in orders_at(tale, end).items()
                if client == command.client and order.state == "resting"
            }
            own = {command.product} if command.product in tale.isolated else engaged - tale.isolated - {SPOT}
            return {product for product in engaged & own if tale.stage(end, product) is not Stage.OPEN}
        case _:
            return set()


# Transfers, and isolated accounts -----------------------------------------------------------------------------------


def _transfers(tale: Tale) -> Violations:
    for moment in tale.all(TransferCompleted):
        name = f"{moment.what.client}/{moment.what.request}"
        under_way = transfers_at(tale, moment.at).get(name)
        if under_way is not None and tale.stage(moment.at, under_way[3]) is not Stage.OPEN:
            yield moment.step, f"transfer {name}"
    for moment in tale.all(Done):
        if isinstance(moment.what.asked.command, TransferMargin | ResumeStage):
            for name, (_, _, _, target) in transfers_at(tale, moment.at).items():
                if tale.stage(moment.at, target) is Stage.OPEN:
                    yield moment.step, f"transfer {name}"


def _accounts(tale: Tale) -> Violations:
    """The collateral of an isolated account is moved by its own product, which moves no other's."""
    for moment in tale.all(EntryPosted):
        own = _moves(tale, moment) if moment.what.cause_kind in _OF_A_PRODUCT else None
        for account in {posting.account for posting in moment.what.postings if posting.account[0] != "@"}:
            client, _, isolated = account.partition("@")
            if own in tale.isolated:
                transferred = moment.what.cause_kind is CauseKind.TRANSFER and account == client
                proper = transferred or account == margin_account(client, own, isolated=True)
            else:
                proper = not isolated
            if not proper:
                yield moment.step, f"account {account}"


def _moves(tale: Tale, moment: Moment) -> ProductId:
    """The product of what was told last that moves collateral."""
    kinds = (TradeExecuted, FundingSettled, Deleveraged, LiquidationStepped, TransferStarted, TransferCompleted)
    before = tale.between(0, moment.at, *kinds)
    products = {market.market: market.product for market in tale.setup.markets}
    match before[-1].what if before else None:
        case TradeExecuted() | FundingSettled() | Deleveraged() as event:
            return products.get(event.market, SPOT)
        case LiquidationStepped() as event:
            return event.product
        case TransferStarted() as event:
            return event.source
        case TransferCompleted() as event:
            under_way = transfers_at(tale, before[-1].at).get(f"{event.client}/{event.request}")
            return SPOT if under_way is None else str(under_way[3])
        case _:
            return SPOT
