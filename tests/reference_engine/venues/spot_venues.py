"""Venues with a spot market, without a journal: what is given to one, and what it says.

The tests of orders, stops, time, bands and auctions share it; their folder joins the path in `conftest.py`.
"""

from msgspec.structs import replace

from holdfast_engine.state import VenueState, state_sha256
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import (
    Amount,
    CancelReason,
    Command,
    CreditDeposit,
    Events,
    OrderCancelled,
    PlaceOrder,
    PriceTicks,
    Reason,
    Rejected,
    Setup,
    Side,
    SizeLots,
    TradeExecuted,
)
from holdfast_model.vocabulary.wire import decode, encode


def place(client: str, order: str, side: Side, size: int, price: int | None, **more: object) -> PlaceOrder:
    plain = PlaceOrder(
        client=client,
        order=order,
        market="M",
        side=side,
        size_lots=SizeLots(size),
        price_ticks=None if price is None else PriceTicks(price),
    )
    return replace(plain, **more)


def accepted(venue: Venue, *commands: Command) -> Events:
    """What happened at the last of the commands, none of which may be refused."""
    events: Events = ()
    for command in commands:
        events = venue.apply(command)
        assert not any(isinstance(event, Rejected) for event in events), (command, events)
    return events


def refused(events: Events) -> Reason | None:
    return events[0].reason if events and isinstance(events[0], Rejected) else None


def cancelled(events: Events) -> list[tuple[str, CancelReason]]:
    return [(event.order, event.reason) for event in events if isinstance(event, OrderCancelled)]


def traded(events: Events) -> list[tuple[str, str, int, int]]:
    return [
        (event.maker_order, event.taker_order, event.size_lots, event.price_ticks)
        for event in events
        if isinstance(event, TradeExecuted)
    ]


def funded(setup: Setup, amount: int = 10_000) -> Venue:
    """A venue in which every client has this much of each asset."""
    venue = Venue(setup)
    for client in setup.clients:
        for asset in setup.assets:
            accepted(
                venue,
                CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=f"{client}{asset}"),
            )
    return venue


def restored(venue: Venue) -> Venue:
    """The venue as a snapshot brings it back."""
    again = Venue(venue.setup)
    again.load(decode(encode(venue.state()), VenueState))
    assert state_sha256(again.state()) == state_sha256(venue.state())
    return again
