"""Trading: the model lets any two orders that cross rest and trade whenever it likes; the exchange trades at once.

So a model's order that would cross another one is placed as a stop order whose trigger is out of reach: it holds the
same, can be cancelled just so, and waits outside the book (`parked`). When the model trades two orders, both are put
where they must be, parked ones by cancelling them and placing what is left of them again, the older one first, and
whatever else would trade is parked. An order of the model is therefore one order of the exchange at a time, under the
id `o1`, then `o1.1`, `o1.2`, ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from holdfast.linking.rules import MISSING, ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.scope import MARKET
from holdfast.linking.world import World, was_refused
from holdfast_model.specs.exchange.ledger import Kind
from holdfast_model.specs.exchange.trading import Order, Status, Trading
from holdfast_model.specs.exchange.trading import Side as ModelSide
from holdfast_model.vocabulary import (
    CancelOrder,
    CancelReason,
    Conditions,
    JournalRecord,
    OpenOrder,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    Phase,
    PlaceOrder,
    PriceTicks,
    Side,
    SizeLots,
    TradeExecuted,
    Trigger,
    TriggerWhen,
    View,
    WaitingStop,
)

OUT_OF_REACH = PriceTicks(1_000_000)
SIDES = {Side.BUY: ModelSide.BUY, Side.SELL: ModelSide.SELL}


@dataclass
class _Told:
    """An order of the model as the exchange told of it last."""

    id: str
    incarnation: int
    client: str
    side: Side
    price: int
    left: int
    status: Status


def slot_of(order: str) -> tuple[str, int]:
    """The model's order that an id stands for, and how often it was placed again."""
    slot, _, incarnation = order.partition(".")
    return slot, int(incarnation or 0)


def _told(world: World, view: View) -> dict[str, _Told]:
    """The orders that were accepted up to a view, as told."""
    found: dict[str, _Told] = {}

    def of(order: str) -> _Told | None:
        known = found.get(slot_of(order)[0])
        return known if known is not None and known.id == order else None

    for record in world.records_upto(view.seq):
        for event in record.events:
            match event:
                case OrderAccepted(market=market, order=order) if market == MARKET:
                    slot, incarnation = slot_of(order)
                    price = event.price_ticks or 0
                    found[slot] = _Told(
                        order, incarnation, event.client, event.side, price, event.size_lots, Status.RESTING
                    )
                case OrderCancelled(order=order):
                    if (known := of(order)) is not None:
                        known.status, known.left = Status.CANCELLED, event.left_lots
                case OrderFilled(order=order):
                    if (known := of(order)) is not None:
                        known.status = Status.FILLED
                case TradeExecuted():
                    for order in (event.maker_order, event.taker_order):
                        if (known := of(order)) is not None:
                            known.left -= event.size_lots
                case _:
                    pass
    return found


def _open(view: View) -> dict[str, list[OpenOrder | WaitingStop]]:
    """The orders that a view shows open, in the book or parked, by the model's order."""
    found: dict[str, list[OpenOrder | WaitingStop]] = {}
    shown: list[OpenOrder | WaitingStop] = [*view.orders, *view.stops]
    for order in shown:
        if order.market == MARKET:
            found.setdefault(slot_of(order.order)[0], []).append(order)
    return found


class TradingLink(Subject):
    """Orders, by the place at which they were accepted."""

    part = Trading
    variables = (
        VariableRule(
            "status",
            Reading.SHOWN,
            "view: resting if it is in the book or waits as a stop; else journal: how it ended",
        ),
        VariableRule("owner", Reading.SHOWN, "view, of an ended order the journal: its client"),
        VariableRule("side", Reading.SHOWN, "as above: its side"),
        VariableRule("price", Reading.SHOWN, "as above: its limit"),
        VariableRule(
            "left", Reading.SHOWN, "view: its lots left; of an ended order the journal: what was left, or nothing"
        ),
        VariableRule("placed_next", Reading.SHOWN, "journal: how many orders were accepted"),
        VariableRule("order", Reading.SHOWN, "journal: the order, of a trade the buyer's (in the log)"),
        VariableRule("counter_order", Reading.SHOWN, "journal: the seller's order of a trade (in the log)"),
    )

    def fields(self, world: World, view: View) -> Values:
        """Each order, as the view shows it where it is open, else as it was told."""
        told, shown = _told(world, view), _open(view)
        found: Values = {"placed_next": len(told)}
        for slot in world.names(Order):
            one = told.get(slot)
            values = (0, 0, 0, 0, int(Status.NEW))
            if one is not None:
                values = (world.clients.index(one.client), SIDES[one.side], one.price, one.left, int(one.status))
            orders = shown.get(slot, [])
            if len(orders) == 1:
                (order,) = orders
                left = order.left_lots if isinstance(order, OpenOrder) else order.size_lots
                price = order.price_ticks or 0
                values = (world.clients.index(order.client), SIDES[order.side], price, left, int(Status.RESTING))
            elif orders or (one is not None and one.status is Status.RESTING):
                values = (*values[:4], MISSING)
            names = ("owner", "side", "price", "left", "status")
            found |= {f"{name}[{slot}]": int(value) for name, value in zip(names, values, strict=True)}
        return found

    def logged(self, world: World, record: JournalRecord) -> Sequence[Values]:
        """An order that is placed, each of its trades, and a cancel; nothing for what is only parked or put back."""
        if was_refused(record):
            return ()
        match record.command:
            case PlaceOrder(market=market) if market == MARKET:
                return self._placed(world, record, record.command)
            case CancelOrder(order=order):
                slot, incarnation = slot_of(order)
                if slot not in world.names(Order) or self._is_put_back(world, slot, incarnation):
                    return ()
                return ({"kind": Kind.CANCEL, "order": world.names(Order).index(slot)},)
            case _:
                return ()

    @staticmethod
    def _is_put_back(world: World, slot: str, incarnation: int) -> bool:
        return any(
            isinstance(record.command, PlaceOrder) and slot_of(record.command.order) == (slot, incarnation + 1)
            for record in world.records
        )

    @staticmethod
    def _placed(world: World, record: JournalRecord, command: PlaceOrder) -> Sequence[Values]:
        slots = world.names(Order)
        found: list[Values] = []
        slot, incarnation = slot_of(command.order)
        if not incarnation:
            found.append(
                {
                    "kind": Kind.PLACE,
                    "account": world.clients.index(command.client),
                    "side": SIDES[command.side],
                    "price": command.price_ticks or 0,
                    "amount": command.size_lots,
                }
            )
        for event in record.events:
            match event:
                case TradeExecuted():
                    pair = [slots.index(slot_of(order)[0]) for order in (event.taker_order, event.maker_order)]
                    buy, sell = pair if event.taker_side is Side.BUY else pair[::-1]
                    found.append({"kind": Kind.TRADE, "order": buy, "counter_order": sell})
                case OrderCancelled(reason=CancelReason.SELF_TRADE):
                    found.append({"kind": Kind.CANCEL, "order": slots.index(slot)})
                case _:
                    pass
        return found

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """Any order, which trades at once with whatever it crosses; a cancel of any order there was."""
        slots = world.names(Order)
        told = _told(world, world.view)
        found: list[Move] = []
        if len(told) < len(slots):
            command = PlaceOrder(
                client=random.choice(world.clients),
                order=slots[len(told)],
                market=MARKET,
                side=random.choice(list(SIDES)),
                size_lots=SizeLots(random.randint(1, world.parameter("amounts"))),
                price_ticks=PriceTicks(random.randint(1, world.parameter("amounts"))),
                post_only=world.view.phase is Phase.POST_ONLY and random.random() < 0.8,  # noqa: PLR2004 - most
            )
            arguments = {
                "account": world.clients.index(command.client),
                "side": int(SIDES[command.side]),
                "price": command.price_ticks or 0,
                "size": command.size_lots,
            }
            trades = By("trade", any_number=True)
            met = sum(order.side is not command.side for order in world.view.orders)
            found.append(
                Move(
                    "place",
                    lambda world: world.attempt(command),
                    ((By("place", arguments), trades), (By("place", arguments), trades, By("cancel"))),
                    1 + met,
                    weight=2,
                )
            )
        if told:
            one = random.choice(sorted(told.values(), key=lambda order: order.id))
            cancel = CancelOrder(client=one.client, order=one.id)
            found.append(
                Move("cancel", lambda world: world.attempt(cancel), ((By("cancel"),),), logged=1, weight=0.6)
            )
        return found


# The concretisation -----------------------------------------------------------------------------------------------


def _crosses(one: OpenOrder | WaitingStop | PlaceOrder, other: OpenOrder | WaitingStop | PlaceOrder) -> bool:
    if one.side is other.side or one.price_ticks is None or other.price_ticks is None:
        return False
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    assert buy.price_ticks is not None
    assert sell.price_ticks is not None
    return buy.price_ticks >= sell.price_ticks


_PARKED = Conditions(trigger=Trigger(when=TriggerWhen.AT_OR_ABOVE, price_ticks=OUT_OF_REACH))


def _place(world: World, taken: Taken) -> None:
    arguments = taken.arguments
    slot = world.names(Order)[len(_told(world, world.view))]
    command = PlaceOrder(
        client=world.clients[arguments["account"]],
        order=slot,
        market=MARKET,
        side=Side.BUY if arguments["side"] == ModelSide.BUY else Side.SELL,
        size_lots=SizeLots(arguments["size"]),
        price_ticks=PriceTicks(arguments["price"]),
        post_only=world.view.phase is Phase.POST_ONLY,
    )
    crossed = any(_crosses(command, order) for orders in _open(world.view).values() for order in orders)
    world.do(_with(command, parked=crossed))


def _with(command: PlaceOrder, *, parked: bool) -> PlaceOrder:
    return PlaceOrder(
        client=command.client,
        order=command.order,
        market=command.market,
        side=command.side,
        size_lots=command.size_lots,
        price_ticks=command.price_ticks,
        post_only=command.post_only,
        conditions=_PARKED if parked else None,
    )


def _put(world: World, order: OpenOrder | WaitingStop, *, parked: bool) -> None:
    """What is left of an order is placed again: in the book, or out of it."""
    slot, incarnation = slot_of(order.order)
    world.do(
        CancelOrder(client=order.client, order=order.order),
        PlaceOrder(
            client=order.client,
            order=f"{slot}.{incarnation + 1}",
            market=MARKET,
            side=order.side,
            size_lots=order.left_lots if isinstance(order, OpenOrder) else order.size_lots,
            price_ticks=order.price_ticks,
            conditions=_PARKED if parked else None,
        ),
    )


def _trade(world: World, taken: Taken) -> None:
    slots = world.names(Order)
    first, second = sorted((taken.arguments["buy"], taken.arguments["sell"]))
    shown = _open(world.view)
    if not all(len(shown.get(slots[place], [])) == 1 for place in (first, second)):
        world.surprises.append("the orders that trade are not both open")
        return
    (older,), (younger,) = shown[slots[first]], shown[slots[second]]
    for slot, (order, *_) in shown.items():
        is_other = slot not in {slots[first], slots[second]} and isinstance(order, OpenOrder)
        if is_other and (_crosses(order, older) or _crosses(order, younger)):
            _put(world, order, parked=True)
    if isinstance(younger, OpenOrder):
        _put(world, younger, parked=True)
        world.look()
        ((younger,),) = (_open(world.view)[slots[second]],)
    if not isinstance(older, OpenOrder):
        _put(world, older, parked=False)
    _put(world, younger, parked=False)


def _cancel(world: World, taken: Taken) -> None:
    slot = world.names(Order)[taken.arguments["order"]]
    told = _told(world, world.view)
    if slot not in told:
        world.surprises.append(f"{slot} was never accepted")
        return
    world.do(CancelOrder(client=told[slot].client, order=told[slot].id))


TradingLink.actions = (
    ActionRule("place", "`PlaceOrder`, in post-only post-only; parked if it crosses an open order", _place),
    ActionRule(
        "trade",
        "`PlaceOrder` of the younger into the older, what is parked of both put back before, what else would trade "
        "parked",
        _trade,
    ),
    ActionRule("cancel", "`CancelOrder`", _cancel, rarity=3),
)
