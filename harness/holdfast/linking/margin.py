"""Margin: the exchange settles at once and has one insurance fund, which pays before a bankrupt trades.

The model leaves both to later steps of their own (`settle`, `insure`), which change nothing that is compared here: of
an account in a product, its position and its *worth*, which is its collateral less its entry value; where it has no
position left and is worth less than nothing, as if insurance had paid already; and what the insurance has then.

Two accounts of the model trade by an order of one that rests and an order of the other that takes it; an order that
makes a position smaller is reduce-only. A liquidation meets a resting order of the counterparty at the mark.
"""

from collections.abc import Mapping, Sequence
from random import Random

from holdfast.linking.rules import ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.scope import MARK_SOURCE, perpetual_of
from holdfast.linking.world import World, was_refused
from holdfast_model.specs.exchange.custody import Custody
from holdfast_model.specs.exchange.ledger import Account, Kind
from holdfast_model.specs.exchange.margin import UNAVAILABLE, Direction, Margin
from holdfast_model.specs.exchange.margin import Product as ModelProduct
from holdfast_model.specs.exchange.margin import Side as ModelSide
from holdfast_model.specs.exchange.margin import Stage as ModelStage
from holdfast_model.specs.exchange.operations import Recovery
from holdfast_model.vocabulary import (
    INSURANCE,
    SPOT,
    AdvanceTime,
    Amount,
    Bucket,
    CancelOrder,
    Conditions,
    FundHouse,
    HaltProduct,
    JournalRecord,
    Liquidate,
    MarkChanged,
    PayWithdrawal,
    Phase,
    PlaceOrder,
    PriceTicks,
    ReportPrice,
    RequestWithdrawal,
    ResumeStage,
    Side,
    SizeLots,
    Stage,
    TradeExecuted,
    TransferMargin,
    View,
    margin_account,
)

STAGES = {
    Stage.OPEN: ModelStage.OPEN,
    Stage.HALTED: ModelStage.HALTED,
    Stage.CANCEL_ONLY: ModelStage.CANCEL_ONLY,
    Stage.POST_ONLY: ModelStage.POST_ONLY,
}
NEXT = {Stage.HALTED: Stage.CANCEL_ONLY, Stage.CANCEL_ONLY: Stage.POST_ONLY, Stage.POST_ONLY: Stage.OPEN}
UNIT = "USDT"
INSURED = "(insurance, after what it pays at once)"
RARELY = 0.15
SETTLED_BY_ITSELF = (Kind.SETTLE, Kind.INSURE)
"""Steps of the model that are no commands of the exchange."""


def _worth(account: str, product: str) -> str:
    return f"(worth of {account} in {product}, insured)"


class MarginLink(Subject):
    """Positions, marks, stages, and what accounts are worth."""

    part = Margin
    unlogged = SETTLED_BY_ITSELF
    variables = (
        VariableRule("position", Reading.SHOWN, "view: the lots of the client's position"),
        VariableRule(
            "collateral",
            Reading.TOGETHER,
            "view: collateral less entry value, as if insurance had paid what an account without a position owes",
        ),
        VariableRule("entry", Reading.TOGETHER, "as above"),
        VariableRule(
            "insurance", Reading.TOGETHER, "view: `@insurance`, of all products, after what it pays at once"
        ),
        VariableRule(
            "clearing",
            Reading.NOT_COMPARED,
            "minus the sum of entry values, and so what is not settled yet: the exchange settles at once",
        ),
        VariableRule("mark", Reading.SHOWN, "view: the market's mark, 0 where it is unavailable"),
        VariableRule("stage", Reading.SHOWN, "view: the product's stage"),
        VariableRule("product", Reading.SHOWN, "journal: its product (in the log)"),
        VariableRule("counterparty", Reading.SHOWN, "journal: the seller of a trade (in the log)"),
        VariableRule("agreed_price", Reading.SHOWN, "journal: the price of a trade, or the mark (in the log)"),
        VariableRule("direction", Reading.SHOWN, "journal: into the product, or out of it (in the log)"),
    )

    def fields(self, world: World, view: View) -> Values:
        """What accounts have in products, and how these are."""
        marks = {item.market: item.mark_ticks for item in view.marks}
        stages = {item.product: item.stage for item in view.stages}
        found: Values = {INSURED: world.balance(view, INSURANCE, Bucket.FREE, UNIT)}
        for product in world.names(ModelProduct):
            found[f"mark[{product}]"] = marks[perpetual_of(product)] or UNAVAILABLE
            found[f"stage[{product}]"] = int(STAGES[stages[product]])
            for client in world.clients:
                lots, worth = _held(world, view, client, product)
                found[f"position[{client}, {product}]"] = lots
                found[_worth(client, product)] = worth
        return found

    def together(self, world: World, state: Mapping[str, int]) -> Values:
        """What accounts are worth, and the insurance, in each copy of the engine."""
        found: Values = {}
        for copy in world.copies():
            left = 0
            for product in world.names(ModelProduct):
                insurance = state[f"{copy}.insurance[{product}]"]
                for client in world.clients:
                    worth = worth_in(state, copy, client, product)
                    paid = 0
                    if worth < 0 and not state[f"{copy}.position[{client}, {product}]"]:
                        paid = min(insurance, -worth)
                    insurance -= paid
                    found[f"{copy}.{_worth(client, product)}"] = worth + paid
                left += insurance
            found[f"{copy}.{INSURED}"] = left
        return found

    def logged(self, world: World, record: JournalRecord) -> Sequence[Values]:
        """What is done in products; a trade is logged with the order that takes."""
        if was_refused(record):
            return ()
        products, command = world.names(ModelProduct), record.command
        match command:
            case TransferMargin():
                inwards = command.source == SPOT
                found: Values = {
                    "kind": Kind.TRANSFER,
                    "account": world.clients.index(command.client),
                    "product": products.index(command.target if inwards else command.source),
                    "amount": command.amount,
                    "direction": Direction.TO_PRODUCT if inwards else Direction.FROM_PRODUCT,
                }
                return (found,)
            case ReportPrice():
                changed = [event for event in record.events if isinstance(event, MarkChanged)]
                place = products.index(command.market.removeprefix(perpetual_of("")))
                return tuple(
                    {"kind": Kind.MARK, "product": place, "agreed_price": event.mark_ticks or UNAVAILABLE}
                    for event in changed
                )
            case HaltProduct():
                return ({"kind": Kind.HALT_PRODUCT, "product": products.index(command.product)},)
            case ResumeStage():
                return ({"kind": Kind.RESUME_STAGE, "product": products.index(command.product)},)
            case PlaceOrder() | Liquidate():
                return [_logged_trade(world, command, event) for event in _trades(record)]
            case FundHouse():
                return (_logged_insurance(world, record),)
            case _:
                return ()

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """Transfers, marks, trades of two accounts, liquidations, insurance, halts and stages."""
        return () if world.down else _moves(world, random)


def worth_in(state: Mapping[str, int], copy: str, client: str, product: str) -> int:
    """Collateral less entry value, in a copy of the model's engine."""
    return state[f"{copy}.collateral[{client}, {product}]"] - state[f"{copy}.entry[{client}, {product}]"]


def _held(world: World, view: View, client: str, product: str) -> tuple[int, int]:
    """The lots and the worth of an account in a product."""
    market = perpetual_of(product)
    account = margin_account(client, product, isolated=True)
    collateral = world.balance(view, account, Bucket.COLLATERAL, UNIT)
    position = [item for item in view.positions if (item.client, item.market) == (client, market)]
    if not position:
        return 0, collateral
    return position[0].position_lots, collateral - position[0].entry_value


def _equity(world: World, client: str, product: str) -> int:
    """What an account is worth at the mark."""
    lots, worth = _held(world, world.view, client, product)
    return worth + lots * _mark(world, product)


def _mark(world: World, product: str) -> int:
    marks = {item.market: item.mark_ticks for item in world.view.marks}
    return marks[perpetual_of(product)] or UNAVAILABLE


def _trades(record: JournalRecord) -> list[TradeExecuted]:
    perpetuals = perpetual_of("")
    return [
        event for event in record.events if isinstance(event, TradeExecuted) and event.market.startswith(perpetuals)
    ]


def _logged_trade(world: World, command: PlaceOrder | Liquidate, event: TradeExecuted) -> Values:
    pair = [event.taker_client, event.maker_client]
    buyer, seller = pair if event.taker_side is Side.BUY else pair[::-1]
    found: Values = {
        "kind": Kind.LIQUIDATE if isinstance(command, Liquidate) else Kind.OPEN_POSITION,
        "product": world.names(ModelProduct).index(event.market.removeprefix(perpetual_of(""))),
        "account": world.clients.index(buyer),
        "counterparty": world.clients.index(seller),
        "amount": event.size_lots,
    }
    return found if isinstance(command, Liquidate) else found | {"agreed_price": event.price_ticks}


def _logged_insurance(world: World, record: JournalRecord) -> Values:
    """The withdrawal that paid for it is named in the payment's id."""
    assert isinstance(record.command, FundHouse)
    client, product = record.command.transaction.split("/")[:2]
    return {
        "kind": Kind.FUND_INSURANCE,
        "account": world.clients.index(client),
        "product": world.names(ModelProduct).index(product),
        "amount": record.command.amount,
    }


# The concretisation -----------------------------------------------------------------------------------------------


def _account(world: World, taken: Taken, name: str = "account") -> str:
    return world.clients[taken.arguments[name]]


def _product(world: World, taken: Taken) -> str:
    return world.names(ModelProduct)[taken.arguments["product"]]


def _transfer(world: World, taken: Taken) -> None:
    product, inwards = _product(world, taken), taken.arguments["direction"] == Direction.TO_PRODUCT
    world.do(
        TransferMargin(
            client=_account(world, taken),
            request=world.fresh("m"),
            asset=UNIT,
            amount=Amount(taken.arguments["amount"]),
            source=SPOT if inwards else product,
            target=product if inwards else SPOT,
        )
    )


def _set_mark(world: World, taken: Taken) -> None:
    time_ms = world.view.time_ms + 1
    world.do(
        AdvanceTime(time_ms=time_ms),
        ReportPrice(
            source=MARK_SOURCE,
            market=perpetual_of(_product(world, taken)),
            price_ticks=PriceTicks(taken.arguments["price"]),
            time_ms=time_ms,
        ),
    )


def _order(world: World, client: str, side: Side, product: str, *, price: int, size: int) -> PlaceOrder:
    """An order in a perpetual, reduce-only where it makes the position smaller."""
    lots, _ = _held(world, world.view, client, product)
    signed = size if side is Side.BUY else -size
    return PlaceOrder(
        client=client,
        order=world.fresh("p"),
        market=perpetual_of(product),
        side=side,
        size_lots=SizeLots(size),
        price_ticks=PriceTicks(price),
        conditions=Conditions(reduce_only=True) if abs(lots + signed) < abs(lots) else None,
    )


def _meet(world: World, resting: PlaceOrder, taking: PlaceOrder | Liquidate) -> None:
    """An order rests and is taken; where it is not, it is cancelled, so that nothing is left of it."""
    if not world.are_accepted(resting):
        return
    if not world.are_accepted(taking):
        world.attempt(CancelOrder(client=resting.client, order=resting.order))


def _trade(world: World, taken: Taken) -> None:
    product, price, size = _product(world, taken), taken.arguments["price"], taken.arguments["size"]
    buyer, seller = _account(world, taken, "buyer"), _account(world, taken, "seller")
    _meet(
        world,
        _order(world, buyer, Side.BUY, product, price=price, size=size),
        _order(world, seller, Side.SELL, product, price=price, size=size),
    )


def _liquidate(world: World, taken: Taken) -> None:
    product, is_long = _product(world, taken), taken.arguments["side"] == ModelSide.LONG
    client, counterparty = _account(world, taken), _account(world, taken, "counterparty")
    side = Side.BUY if is_long else Side.SELL
    resting = _order(world, counterparty, side, product, price=_mark(world, product), size=1)
    _meet(world, resting, Liquidate(client=client, product=product))


def _fund_insurance(world: World, taken: Taken) -> None:
    client, withdrawal, amount = _account(world, taken), world.fresh("w"), Amount(taken.arguments["amount"])
    if world.are_accepted(
        RequestWithdrawal(client=client, withdrawal=withdrawal, asset=UNIT, amount=amount),
        PayWithdrawal(client=client, withdrawal=withdrawal),
    ):
        transaction = f"{client}/{_product(world, taken)}/{withdrawal}"
        world.do(FundHouse(account=INSURANCE, asset=UNIT, amount=amount, transaction=transaction))


def _halt(world: World, taken: Taken) -> None:
    world.do(HaltProduct(product=_product(world, taken), cause="the model"))


def _resume(world: World, taken: Taken) -> None:
    product = _product(world, taken)
    stages = {item.product: item.stage for item in world.view.stages}
    world.do(ResumeStage(product=product, stage=NEXT.get(stages[product], Stage.OPEN)))


# What the exchange cannot do --------------------------------------------------------------------------------------

OWES = "an account owes what the exchange's insurance has paid already"
SETTLED = "the exchange has settled a loss that the model's account has not paid yet"
DELEVERAGED = "of what insurance has, others owe already, so that the exchange deleverages, which is not modelled"
OVER_THE_CHAIN = "with custody a client's payment to the house goes over the chain"


def _owes(world: World, taken: Taken, *names: str) -> str:
    product = _product(world, taken)
    for name in names:
        client = _account(world, taken, name)
        is_flat = not taken.before[f"live.position[{client}, {product}]"]
        if is_flat and worth_in(taken.before, "live", client, product) < 0:
            return OWES
    return ""


def _why_not_transferred(world: World, taken: Taken) -> str:
    if taken.arguments["direction"] == Direction.TO_PRODUCT:
        return _owes(world, taken, "account")
    account = margin_account(_account(world, taken), _product(world, taken), isolated=True)
    has = world.balance(world.view, account, Bucket.COLLATERAL, UNIT)
    return "" if has >= taken.arguments["amount"] else SETTLED


def _why_not_liquidated(world: World, taken: Taken) -> str:
    product = _product(world, taken)
    owed = sum(
        max(0, -worth_in(taken.before, "live", client, product))
        for client in world.clients
        if not taken.before[f"live.position[{client}, {product}]"]
    )
    lacking = max(0, -_equity(world, _account(world, taken), product))
    if lacking and lacking > taken.before[f"live.insurance[{product}]"] - owed:
        return DELEVERAGED
    return _owes(world, taken, "counterparty")


MarginLink.actions = (
    ActionRule(
        "transfer",
        "`TransferMargin` between `spot` and the product",
        _transfer,
        is_linked=_why_not_transferred,
    ),
    ActionRule(
        "set_mark", "`AdvanceTime` and `ReportPrice` of the one source; 0 makes no mark", _set_mark, rarity=1.5
    ),
    ActionRule(
        "trade_position",
        "`PlaceOrder` of the buyer, which rests, and of the seller, which takes it",
        _trade,
        is_linked=lambda world, taken: _owes(world, taken, "buyer", "seller"),
    ),
    ActionRule(
        "liquidate",
        "`PlaceOrder` of the counterparty at the mark, then `Liquidate`, whose insurance pays at once",
        _liquidate,
        is_linked=_why_not_liquidated,
    ),
    ActionRule("settle", "nothing: the exchange settles at once", None),
    ActionRule("insure", "nothing: the insurance paid with the liquidation", None),
    ActionRule(
        "fund_insurance",
        "`RequestWithdrawal` and `PayWithdrawal` of the client, then `FundHouse` by the owner",
        _fund_insurance,
        is_linked=lambda world, _: OVER_THE_CHAIN if world.has(Custody) else "",
        rarity=2,
    ),
    ActionRule(
        "halt_product",
        "`HaltProduct`",
        _halt,
        rarity=4,
    ),
    ActionRule("resume_stage", "`ResumeStage` to the next stage", _resume),
)


# The moves --------------------------------------------------------------------------------------------------------


def _moves(world: World, random: Random) -> Sequence[Move]:
    place = random.randrange(len(world.names(ModelProduct)))
    product = world.names(ModelProduct)[place]
    accounts = random.sample(range(len(world.names(Account))), 2)
    amount = random.randint(1, world.parameter("amounts"))
    price = random.randint(1, world.parameter("prices"))
    settled, insured = By("settle", any_number=True), By("insure", any_number=True)
    found: list[Move] = []

    def offer(action: str, arguments: Mapping[str, int], *, weight: float = 1, known: Sequence[str] = ()) -> None:
        (rule,) = (rule for rule in MarginLink.actions if rule.action == action)
        act, taken = rule.act, Taken(arguments, {}, {})
        assert act is not None
        shown = {name: value for name, value in arguments.items() if not known or name in known}
        # The log has room for what both are settled, and what insurance pays, before it, too.
        logged = 4 if world.has(Recovery) else 0
        # The exchange settled, and let insurance pay, with the trade before it.
        explained = (
            (By(action, shown),),
            (settled, By(action, shown)),
            (settled, insured, settled, By(action, shown)),
        )
        found.append(Move(action, lambda world: act(world, taken), explained, logged, weight))

    stages = {item.product: item.stage for item in world.view.stages}
    is_open = stages[product] is Stage.OPEN
    one, other = accounts
    if is_open:
        for direction in Direction:
            arguments = {"account": one, "product": place, "amount": amount, "direction": int(direction)}
            offer("transfer", arguments, weight=2 if direction is Direction.TO_PRODUCT else 0.5)
    has_mark = _mark(world, product) != UNAVAILABLE
    mark = random.randint(0 if random.random() < RARELY else 1, world.parameter("prices"))
    if mark != _mark(world, product) and world.view.phase is not Phase.MAINTENANCE:
        offer("set_mark", {"product": place, "price": mark}, weight=1 if has_mark else 4)
    bought, sold = (_held(world, world.view, world.clients[each], product)[0] for each in accounts)
    if bought < 1 and sold > -1:
        offer(
            "trade_position", {"buyer": one, "seller": other, "product": place, "price": price, "size": 1}, weight=3
        )
    client = world.clients[one]
    lots, _ = _held(world, world.view, client, product)
    lacking = max(0, -_equity(world, client, product))
    covered = lacking == 0 or (
        world.balance(world.view, INSURANCE, Bucket.FREE, UNIT) >= lacking and len(world.names(ModelProduct)) == 1
    )
    if lots and covered and has_mark:
        side = ModelSide.LONG if lots > 0 else ModelSide.SHORT
        arguments = {"account": one, "counterparty": other, "product": place, "side": int(side)}
        offer("liquidate", arguments, weight=3)
    if not world.has(Custody):
        offer("fund_insurance", {"account": one, "product": place, "amount": amount}, weight=0.5)
    if stages[product] is not Stage.HALTED and world.view.phase is not Phase.MAINTENANCE:
        offer("halt_product", {"product": place}, weight=0.2)
    if stages[product] is not Stage.OPEN and world.view.phase is not Phase.MAINTENANCE:
        offer("resume_stage", {"product": place}, weight=2)
    return found
