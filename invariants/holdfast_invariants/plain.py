"""What is plain: an event that is no more than what follows from what was told, and is believed at once.

Each method looks up what its event speaks of (as `Told` does for all monitors), sees whether it is plain, and if so
believes it and returns true. Where it returns false nothing is believed yet but an entry, and every monitor has its
say. What a method asks for is all that the monitors ask of the event whose methods are marked with `plain`: so each
of its conditions stands for one of theirs, and one too many costs time, and no violation.

These are the many of an exchange that is well; so it is all done in one call, and everything is looked up once.
"""

from collections.abc import Mapping
from itertools import product

from holdfast_invariants.told import (
    NOTHING_BELOW,
    ORDINARILY_CANCELLED,
    Look,
    Place,
    Told,
    ToldOrder,
    ToldStatus,
)
from holdfast_model.vocabulary import (
    FEES,
    LIQUIDATION_ORDER_PREFIX,
    ROUNDING,
    Bucket,
    CauseKind,
    ClientId,
    EntryPosted,
    Market,
    MarketId,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRested,
    Phase,
    PlaceOrder,
    Side,
    SizeLots,
    TimeInForce,
    TradeExecuted,
)

# Until Python 3.12 a member costs ten times as much to look up in its enum as a name of the module.
_ACCEPTED, _RESTING, _FILLED, _CANCELLED = ToldStatus
_OPEN, _GTC, _FREE, _HELD, _BUY = Phase.OPEN, TimeInForce.GTC, Bucket.FREE, Bucket.HELD, Side.BUY
_TRADE = CauseKind.TRADE
_PPM = 1_000_000
_PAIRS_MAX = 10_000
"""How many pairs of clients are kept of which it was worked out where their trades post."""

_TAKER_BASE, _MAKER_BASE, _TAKER_QUOTE, _MAKER_QUOTE, _FEES, _ROUNDING = range(6)
"""The parts of a spot trade's entry: what is free and what is held of a client counts as one."""

Parts = Mapping[Place, int]
"""For each place at which a spot trade between two clients posts, the part of the entry that it belongs to."""


class Plain:
    """Sees what is plain, and believes it: what `Told.apply` would do, once all monitors had looked in vain."""

    __slots__ = ("_amounts", "_followed", "_orders", "_parts", "_told")

    def __init__(self, told: Told) -> None:
        self._told = told
        self._orders, self._amounts = told.orders, told.amounts
        self._followed: EntryPosted | None = None
        """The entry of the plain trade at hand, which was believed with it."""
        self._parts: dict[tuple[MarketId, ClientId, ClientId], Parts] = {}

    def looks(self) -> Mapping[type | CauseKind, Look]:
        """What sees whether events of these classes, and entries of these kinds, are plain, and believes those."""
        return {
            OrderAccepted: self._accepted,
            OrderRested: self._rested,
            OrderFilled: self._filled,
            OrderCancelled: self._cancelled,
            TradeExecuted: self._traded,
            CauseKind.TRADE: self._trade_posted,
        }

    def _accepted(self, event: OrderAccepted) -> bool:
        """The first event of an answer, the first order of its name, as the command asks for it (CONS-4, FINAL-4).

        It has a price and no conditions, in a market without a band (PRIO-2).
        """
        told, client, name = self._told, event.client, event.order
        told.key = key = (client, name)
        told.order = self._orders.get(key)
        command, answer, market, price = told.command, told.answer, told.markets.get(event.market), event.price_ticks
        if (
            told.order is not None
            or market is None
            or price is None
            or event.conditions is not None
            or command.__class__ is not PlaceOrder
            or command.conditions is not None
            or market.band_ppm
            or command.order != name
            or command.client != client
            or command.size_lots != event.size_lots
            or command.price_ticks != price
            or command.side is not event.side
            or command.market != event.market
            or command.time_in_force is not event.time_in_force
            or command.post_only is not event.post_only
            or command.self_trade is not event.self_trade
            or name.startswith(LIQUIDATION_ORDER_PREFIX)
            or answer is None
            or answer.events[0] is not event
        ):
            return False
        told.effect_of = answer
        told.believe_accepted(event)
        return True

    def _rested(self, event: OrderRested) -> bool:
        """What was accepted to rest at a price, without conditions, rests with what is left of it (PRIO-2, SEQ-1).

        It does not cross the other side of its book (PRIO-1), and is not over (FINAL-1).
        """
        told = self._told
        told.key = key = (event.client, event.order)
        told.order = order = self._orders.get(key)
        if (
            order is None
            or order.status is not _ACCEPTED
            or order.left_lots != event.left_lots
            or order.time_in_force is not _GTC
            or order.price_ticks is None
            or order.conditional
        ):
            return False
        book, price = told.book.markets.get(order.market), event.price_ticks
        if book is None:
            return False
        if order.side is _BUY:
            best = book.asks.best()
            if best is not None and price >= best:
                return False
        else:
            best = book.bids.best()
            if best is not None and price <= best:
                return False
        order.status = _RESTING
        told.resting[key] = order
        told.book.join(order, price)
        return True

    def _filled(self, event: OrderFilled) -> bool:
        """An open order without conditions of which nothing is left (FINAL-1, SEQ-1, PRIO-2)."""
        told = self._told
        told.key = key = (event.client, event.order)
        told.order = order = self._orders.get(key)
        if order is None or order.left_lots or order.conditional:
            return False
        status = order.status
        if status is _FILLED or status is _CANCELLED:
            return False
        order.status = _FILLED
        told.resting.pop(key, None)
        told.book.leave(key)
        return True

    def _cancelled(self, event: OrderCancelled) -> bool:
        """An open order without conditions, with what is left of it (FINAL-1, SEQ-1, PRIO-2)."""
        told = self._told
        told.key = key = (event.client, event.order)
        told.order = order = self._orders.get(key)
        if (
            order is None
            or order.left_lots != event.left_lots
            or order.conditional
            or event.reason not in ORDINARILY_CANCELLED
        ):
            return False
        status = order.status
        if status is _FILLED or status is _CANCELLED:
            return False
        order.left_lots = SizeLots(0)
        order.status = _CANCELLED
        told.resting.pop(key, None)
        told.book.leave(key)
        return True

    def _traded(self, event: TradeExecuted) -> bool:
        """The next spot trade, in the open phase, of a resting order and one that just came, and then its entry.

        The two have enough left (FINAL-3), and neither has conditions (PRIO-2). The maker is first in turn, the price
        its own and within the taker's limit (PRIO-1). Of two clients, and the taker may take (PRIO-2). The fees are
        those owed (CONS-3). It comes while all that its answer told was plain, and no stop waits that it may trigger.
        """
        told, orders, size = self._told, self._orders, event.size_lots
        maker_key = (event.maker_client, event.maker_order)
        told.maker = maker = orders.get(maker_key)
        told.taker = taker = orders.get((event.taker_client, event.taker_order))
        told.market = market = told.markets.get(event.market)
        if (
            maker is None
            or taker is None
            or market is None
            or not told.plain_so_far
            or event.trade != told.trade + 1
            or maker.status is not _RESTING
            or taker.status is not _ACCEPTED
            or not 0 < size <= maker.left_lots
            or size > taker.left_lots
            or taker.price_ticks is None
            or taker.post_only
            or maker.conditional
            or taker.conditional
            or event.maker_client == event.taker_client
            or market.perpetual is not None
            or told.phase is not _OPEN
            or told.triggers.stops
            or not self._is_in_turn(event, maker_key, taker)
        ):
            return False
        value = event.price_ticks * size * market.tick_amount
        maker_fees, taker_fees = maker.fee_numerator, taker.fee_numerator
        maker_after = maker_fees + value * market.maker_fee_ppm
        taker_after = taker_fees + value * market.taker_fee_ppm
        # Rounded up once over all trades of an order: what is charged now is the difference that this one makes.
        if event.maker_fee != -(-maker_after // _PPM) + -maker_fees // _PPM:
            return False
        if event.taker_fee != -(-taker_after // _PPM) + -taker_fees // _PPM:
            return False
        earned = maker_after // _PPM - maker_fees // _PPM + taker_after // _PPM - taker_fees // _PPM
        if not self._is_followed(event, market, value=value, earned=earned):
            return False
        told.trade = event.trade
        told.triggers.last[event.market] = event.price_ticks
        maker.left_lots -= size  # type: ignore[assignment]  # a size less a size is a size
        taker.left_lots -= size  # type: ignore[assignment]  # and so on
        maker.filled_lots += size  # type: ignore[assignment]
        taker.filled_lots += size  # type: ignore[assignment]
        maker.fee_numerator, taker.fee_numerator = maker_after, taker_after
        return True

    def _is_in_turn(self, event: TradeExecuted, maker_key: tuple[str, str], taker: ToldOrder) -> bool:
        """Whether the maker is first at the best price, which is the trade's, and within the taker's limit."""
        told, price, limit = self._told, event.price_ticks, taker.price_ticks
        book = told.book.markets.get(event.market)
        if book is None or told.book.uncrossing is not None or taker.side is not event.taker_side:
            return False
        assert limit is not None
        if taker.side is _BUY:
            queues = book.asks
            if price > limit:
                return False
        else:
            queues = book.bids
            if price < limit:
                return False
        return queues.best() == price and next(iter(queues.levels[price])) == maker_key

    def _is_followed(self, event: TradeExecuted, market: Market, *, value: int, earned: int) -> bool:
        """Whether the trade's entry comes next, as CONS-1 to CONS-4 expect it; if so it is believed."""
        told, amounts = self._told, self._amounts
        assert told.answer is not None
        still = told.to_come.__length_hint__()
        entry = told.answer.events[-still] if still else None
        if entry.__class__ is not EntryPosted or entry.cause_kind is not _TRADE or entry.cause != str(event.trade):
            return False
        pair = (event.market, event.maker_client, event.taker_client)
        parts = self._parts.get(pair) or self._parts_of(market, pair)
        moved, afters = [0, 0, 0, 0, 0, 0], {}
        postings = entry.postings
        try:
            for posting in postings:
                place, amount = (posting.account, posting.bucket, posting.asset), posting.amount
                moved[parts[place]] += amount
                afters[place] = after = amounts[place] + amount
                if after < 0:
                    return False
        except KeyError:
            return False
        lots, maker_fee, taker_fee = event.size_lots * market.lot_amount, event.maker_fee, event.taker_fee
        if event.taker_side is not _BUY:
            lots, value = -lots, -value
        fees = maker_fee + taker_fee
        if len(afters) != len(postings) or moved != [
            lots,
            -lots,
            -value - taker_fee,
            value - maker_fee,
            earned,
            fees - earned,
        ]:
            return False
        amounts.update(afters)
        self._followed = entry
        return True

    def _parts_of(self, market: Market, pair: tuple[MarketId, ClientId, ClientId]) -> Parts:
        """Where trades of two clients post; nowhere, if places of two parts are one."""
        _, maker, taker = pair
        of_clients = {_TAKER_BASE: (taker, market.base), _MAKER_BASE: (maker, market.base)}
        of_clients |= {_TAKER_QUOTE: (taker, market.quote), _MAKER_QUOTE: (maker, market.quote)}
        places = [
            ((account, bucket, asset), part)
            for (part, (account, asset)), bucket in product(of_clients.items(), (_FREE, _HELD))
        ]
        places += [((FEES, _FREE, market.quote), _FEES), ((ROUNDING, _FREE, market.quote), _ROUNDING)]
        parts = dict(places)
        if len(self._parts) >= _PAIRS_MAX:
            self._parts.clear()
        self._parts[pair] = parts = parts if len(parts) == len(places) else {}
        return parts

    def _trade_posted(self, event: EntryPosted) -> bool:
        """The entry that was seen to follow a plain trade, and believed with it."""
        told = self._told
        if event is self._followed:
            self._followed = None
            told.below = NOTHING_BELOW
            return True
        told.believe_entry(event)
        return False
