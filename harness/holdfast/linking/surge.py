"""Surge: the queue in front of the exchange, and the clients behind it, are played by the link.

The exchange has what the model's queue is only while commands arrive together: it decides at once what it takes in,
and answers `overloaded` to the rest. So what the model lets wait is not given to the exchange before the model serves
it. Where the model's queue is full, the exchange is given as many cancels of nothing as it has room for together with
the order that is shed: it must answer `overloaded`.
"""

from collections.abc import Sequence
from random import Random

from holdfast.linking.rules import ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.scope import QUEUE_MARKET
from holdfast.linking.world import World
from holdfast_model.specs.exchange.ledger import Kind
from holdfast_model.specs.exchange.operations import Answer, Fate, Replication, Request, Surge
from holdfast_model.vocabulary import (
    Answer as Told,
)
from holdfast_model.vocabulary import (
    Burst,
    CancelOrder,
    Command,
    Crash,
    CrashPoint,
    JournalRecord,
    OrderAccepted,
    Phase,
    PlaceOrder,
    PriceTicks,
    Reason,
    Rejected,
    Side,
    SizeLots,
    View,
)

NOBODYS = "nobodys"
"""An order that nobody ever placed."""
SERVED = {Reason.DUPLICATE_ORDER, Reason.INSUFFICIENT_FUNDS, Reason.UNKNOWN_ORDER, Reason.ORDER_NOT_OPEN}
"""The refusals that are decisions about a request that was served."""
RESENDABLE = (Fate.IDLE, Fate.SHED, Fate.UNHEARD, Fate.REFUSED)


def _refusal(events: Sequence[object]) -> Reason | None:
    return next((event.reason for event in events if isinstance(event, Rejected)), None)


class SurgeLink(Subject):
    """Orders that go through the queue, by their clients' ids."""

    part = Surge
    variables = (
        VariableRule("done", Reading.SHOWN, "journal: an order of this id was accepted"),
        VariableRule("resting", Reading.SHOWN, "view: it is in the book"),
        VariableRule("effects", Reading.SHOWN, "journal: how often an order of this id was accepted"),
        VariableRule("request", Reading.SHOWN, "journal: the order's id (in the log)"),
        VariableRule(
            "fate", Reading.OUTSIDE, "what its client was answered last, if it heard of it", of_engine=False
        ),
        VariableRule("cancelling", Reading.OUTSIDE, "a cancel that the exchange was not given yet", of_engine=False),
    )

    def fields(self, world: World, view: View) -> Values:
        """What the exchange has of each request."""
        accepted = [
            event.order
            for record in world.records_upto(view.seq)
            for event in record.events
            if isinstance(event, OrderAccepted) and event.market == QUEUE_MARKET
        ]
        resting = [order.order for order in view.orders if order.market == QUEUE_MARKET]
        found: Values = {}
        for request in world.names(Request):
            found |= {
                f"done[{request}]": int(request in accepted),
                f"resting[{request}]": resting.count(request),
                f"effects[{request}]": accepted.count(request),
            }
        return found

    def beside(self, world: World) -> Values:
        """What clients know, and what waits."""
        found: Values = {}
        for request in world.names(Request):
            found[f"fate[{request}]"] = world.notes.get(f"fate {request}", int(Fate.IDLE))
            found[f"cancelling[{request}]"] = world.notes.get(f"cancelling {request}", 0)
        return found

    def logged(self, world: World, record: JournalRecord) -> Sequence[Values]:
        """A request that was decided, whether or not it had an effect."""
        command, refusal = record.command, _refusal(record.events)
        requests = world.names(Request)
        if not isinstance(command, PlaceOrder | CancelOrder) or command.order not in requests:
            return ()
        if refusal is not None and refusal not in SERVED:
            return ()
        kind = Kind.SERVE_ORDER if isinstance(command, PlaceOrder) else Kind.SERVE_CANCEL
        return ({"kind": kind, "request": requests.index(command.order)},)

    def forget(self, world: World) -> None:
        """What waited is gone with the primary."""
        for request in world.names(Request):
            if world.notes.get(f"fate {request}") == Fate.QUEUED:
                world.notes[f"fate {request}"] = int(Fate.UNHEARD)
            world.notes[f"cancelling {request}"] = 0

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """Orders and cancels that arrive together; with replicas also one that is in flight when the primary dies."""
        if not world.acts or world.view.phase not in {Phase.OPEN, Phase.POST_ONLY}:
            return ()
        requests = world.names(Request)
        sendable = [
            one for one in requests if world.notes.get(f"fate {one}", 0) in {int(each) for each in RESENDABLE}
        ]
        known = [one for one in requests if world.notes.get(f"fate {one}", 0)]
        orders = [one for one in sendable if random.random() < 0.7]  # noqa: PLR2004 - most of them
        cancels = [one for one in (*known, *orders) if random.random() < 0.4]  # noqa: PLR2004 - fewer
        # No client cancels more than the door has room for: the model does not shed cancels.
        cancels = sorted(set(cancels))[: world.parameter("capacity")]
        commands: list[PlaceOrder | CancelOrder] = [
            *(_order(world, one) for one in orders),
            *(_cancel(world, one) for one in cancels),
        ]

        def arrival(command: PlaceOrder | CancelOrder) -> tuple[int, int]:
            """Orders arrive by number, a cancel first if its order was sent before, or else right behind it."""
            place = requests.index(command.order)
            if isinstance(command, PlaceOrder):
                return place, 0
            return (-1, place) if command.order in known and random.random() < 0.5 else (place, 1)  # noqa: PLR2004 - half

        commands.sort(key=arrival)
        found: list[Move] = []
        if commands:
            arrivals = [
                By(
                    "send" if isinstance(command, PlaceOrder) else "send_cancel",
                    {"request": requests.index(command.order)},
                )
                for command in commands
            ]
            served = (
                By("serve_cancel", any_number=True),
                By("serve_order", {"answer": int(Answer.HEARD)}, any_number=True),
            )
            room = min(len(commands), world.parameter("capacity"))
            found.append(
                Move("burst", lambda world: _burst(world, commands), ((*arrivals, *served),), room, weight=3)
            )
        if sendable and world.has(Replication):
            one = random.choice(sendable)
            point = random.choice((CrashPoint.BEFORE_JOURNAL, CrashPoint.AFTER_JOURNAL))
            crash = Crash(in_flight=_order(world, one), point=point, replica=world.roles[0])
            place = requests.index(one)
            sent, lost = By("send", {"request": place}), {"request": place, "answer": int(Answer.LOST)}
            explained = (sent, By("serve_order", lost, any_number=True), By("crash"))
            found.append(
                Move("crash in flight", lambda world: _crash(world, crash, one), (explained,), 1, weight=0.5)
            )
        return found


def _order(world: World, request: str) -> PlaceOrder:
    """An order that sets one unit aside."""
    return PlaceOrder(
        client=world.clients[0],
        order=request,
        market=QUEUE_MARKET,
        side=Side.BUY,
        size_lots=SizeLots(1),
        price_ticks=PriceTicks(1),
        post_only=world.view.phase is Phase.POST_ONLY,
    )


def _cancel(world: World, request: str) -> CancelOrder:
    return CancelOrder(client=world.clients[0], order=request)


def _hear(world: World, request: str, events: Sequence[object]) -> None:
    """A client hears what became of its order; that its id is used up tells it that the first one counts."""
    refusal = _refusal(events)
    fates = {None: Fate.ACCEPTED, Reason.DUPLICATE_ORDER: Fate.ACCEPTED, Reason.OVERLOADED: Fate.SHED}
    fate = fates.get(refusal, Fate.REFUSED) if events else Fate.UNHEARD
    if fate is Fate.REFUSED and refusal is not Reason.INSUFFICIENT_FUNDS:
        world.surprises.append(f"{request} is refused: {refusal}")
    world.notes[f"fate {request}"] = int(fate)


def _burst(world: World, commands: Sequence[Command]) -> None:
    answers = _answers(world, commands)
    for command, answer in zip(commands, answers, strict=False):
        if isinstance(command, PlaceOrder):
            _hear(world, command.order, answer.events)


def _answers(world: World, commands: Sequence[Command]) -> Sequence[Told]:
    record = world.runner.do(Burst(commands=tuple(commands)))
    return () if record is None else record.answers


def _crash(world: World, crash: Crash, request: str) -> None:
    world.attempt(crash)
    world.notes[f"fate {request}"] = int(Fate.UNHEARD)
    SurgeLink().forget(world)


def _shed(world: World, request: str) -> None:
    """The door is full: an order for which there is no room is answered so, and has no effect."""
    full: list[Command] = [_cancel(world, NOBODYS)] * world.parameter("capacity")
    answers = _answers(world, [*full, _order(world, request)])
    if not world.failure and (not answers or _refusal(answers[-1].events) is not Reason.OVERLOADED):
        world.surprises.append(f"{request} is not refused as overloaded")
    world.notes[f"fate {request}"] = int(Fate.SHED)


def _request(world: World, taken: Taken) -> str:
    return world.names(Request)[taken.arguments["request"]]


def _queued(world: World) -> int:
    names = world.names(Request)
    waiting = sum(world.notes.get(f"fate {name}") == Fate.QUEUED for name in names)
    return waiting + sum(world.notes.get(f"cancelling {name}", 0) for name in names)


def _send(world: World, taken: Taken) -> None:
    request = _request(world, taken)
    if _queued(world) < world.parameter("capacity"):
        world.notes[f"fate {request}"] = int(Fate.QUEUED)
    else:
        _shed(world, request)


def _send_cancel(world: World, taken: Taken) -> None:
    if _queued(world) >= world.parameter("capacity"):
        waiting = [one for one in world.names(Request) if world.notes.get(f"fate {one}") == Fate.QUEUED]
        _shed(world, waiting[-1])
    world.notes[f"cancelling {_request(world, taken)}"] = 1


def _serve_order(world: World, taken: Taken) -> None:
    request = _request(world, taken)
    events = world.step(_order(world, request))
    _hear(world, request, events)
    if taken.arguments["answer"] == Answer.LOST:
        world.notes[f"fate {request}"] = int(Fate.UNHEARD)


def _serve_cancel(world: World, taken: Taken) -> None:
    request = _request(world, taken)
    refusal = _refusal(world.step(_cancel(world, request)))
    if refusal is not None and refusal not in SERVED:
        world.surprises.append(f"the cancel of {request} is refused: {refusal}")
    world.notes[f"cancelling {request}"] = 0


SurgeLink.actions = (
    ActionRule(
        "send",
        "nothing where it waits; where the queue is full `Burst` behind cancels of nothing: `overloaded`",
        _send,
    ),
    ActionRule(
        "send_cancel", "nothing, but for the waiting order that is shed for it, as above", _send_cancel, rarity=2
    ),
    ActionRule(
        "serve_order", "`PlaceOrder` to buy one lot at one tick; the client hears the answer or not", _serve_order
    ),
    ActionRule("serve_cancel", "`CancelOrder`", _serve_cancel),
)
