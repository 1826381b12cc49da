"""Trading: limit orders at any price and size, partial fills, cancels, self-trade prevented.

A trade happens at the older order's price, for the smaller of the two sizes; what the buyer reserved above it is
released. Orders of one account do not trade with each other. Order slots are taken in order of arrival, and each is
used once.

Abstracted away: how the matching order is chosen (any two orders that cross may trade), so price-time priority is not
checked here; fees; order types other than good-till-cancelled limit orders; auctions; amendments.
"""

from enum import auto
from typing import Annotated, Self

from holdfast_model.spec import (
    Bool,
    Condition,
    Enum,
    Enumeration,
    Index,
    Nat,
    Number,
    Part,
    Range,
    Value,
    action,
    all_of,
    always,
    any_of,
    auxiliary,
    implies,
    ite,
    minimum,
    negation,
    sometimes,
    step,
    total,
)
from holdfast_model.specs.exchange.ledger import Account, Asset, Command, Engine, Exchange, Kind, explored


class Order(Index, prefix="o"):
    """A slot for an order; the lower one is the older."""


class Status(Enumeration):
    """The life of an order; FILLED and CANCELLED are terminal."""

    NEW = auto()
    RESTING = auto()
    FILLED = auto()
    CANCELLED = auto()


class Side(Enumeration):
    """Which way an order trades."""

    BUY = auto()
    SELL = auto()


TERMINAL = (Status.FILLED, Status.CANCELLED)

Price = Annotated[Number, Range(1, explored_upto=explored)]
Size = Annotated[Number, Range(1, explored_upto=explored)]


def reserve_asset(side: Value) -> Value:
    """What an order of this side sets aside."""
    return ite(side == Side.BUY, Asset.USDT, Asset.SOL)


def reserve(side: Value, price: Value, size: Value) -> Value:
    """How much of it."""
    return ite(side == Side.BUY, price * size, size)


class OrderCommand(Command):
    """The fields of commands about orders; a size is the command's amount."""

    side = Enum(Side)
    price = Nat.upto(explored)
    order = Enum(Order)
    counter_order = Enum(Order)


class Book(Engine):
    """The orders and what they set aside."""

    status = Enum(Status).per(Order)
    owner = Enum(Account).per(Order)
    side = Enum(Side).per(Order)
    price = Nat.upto(explored).per(Order)
    left = Nat.upto(explored).per(Order)
    placed_next = Nat.upto(lambda spec: spec.parameters["orders"]).starting(0)

    def execute(self, command: Command) -> None:
        """The effect of the commands about orders, and of all others."""
        super().execute(command)
        assert isinstance(command, OrderCommand)
        for kind in self.cases(command.kind, Kind):
            match kind:
                case Kind.PLACE:
                    self.place(command.account, command.side, price=command.price, size=command.amount)
                case Kind.CANCEL:
                    self.cancel(command.order)
                case Kind.TRADE:
                    self.trade(command.order, command.counter_order)
                case _:
                    """Another part's command."""

    def place(self, account: Value, side: Value, *, price: Value, size: Value) -> None:
        """An order takes the next slot, and what it may cost is set aside."""
        asset, amount = reserve_asset(side), reserve(side, price, size)
        self.free[account, asset] -= amount
        self.held[account, asset] += amount
        for order in Order:
            with self.when(self.placed_next == int(order)):
                self.status[order] = Status.RESTING
                self.owner[order] = account
                self.side[order] = side
                self.price[order] = price
                self.left[order] = size
        self.placed_next += 1

    def cancel(self, order: Value) -> None:
        """An order ends, and what it still set aside is released; the size it had left stays on record."""
        owner, asset = self.owner[order], reserve_asset(self.side[order])
        amount = reserve(self.side[order], self.price[order], self.left[order])
        self.held[owner, asset] -= amount
        self.free[owner, Asset.SOL if self.root.bug == "refund" else asset] += amount
        self.status[order] = Status.CANCELLED

    def trade(self, buy: Value, sell: Value) -> None:
        """Two orders trade the smaller size at the older one's price; the buyer gets back what it saved."""
        size = minimum(self.left[buy], self.left[sell])
        price = ite(buy < sell, self.price[buy], self.price[sell])
        buyer, seller = self.owner[buy], self.owner[sell]
        self.held[buyer, Asset.USDT] -= self.price[buy] * size
        self.free[buyer, Asset.USDT] += (self.price[buy] - price) * size
        self.free[buyer, Asset.SOL] += size
        self.held[seller, Asset.SOL] -= size
        self.free[seller, Asset.USDT] += price * size
        for order in (buy, sell):
            if not (self.root.bug == "double-fill" and order is sell):
                self.left[order] -= size
            with self.when(self.left[order] == 0):
                self.status[order] = Status.FILLED

    def reserved(self, account: Account, asset: Asset) -> Value:
        """What the resting orders of an account set aside of an asset, and other parts."""
        return super().reserved(account, asset) + total(
            ite(
                all_of(
                    self.status[order] == Status.RESTING,
                    self.owner[order] == account,
                    reserve_asset(self.side[order]) == asset,
                ),
                reserve(self.side[order], self.price[order], self.left[order]),
                0,
            )
            for order in Order
        )


class Trading(Exchange):
    """Clients place, cancel and trade orders, and are told of it."""

    engine_record = Book
    command_record = OrderCommand
    moves_between_clients = True
    live = Part(Book)
    told_status = Enum(Status).per(Order).ghost()
    told_left = Nat.upto(explored).per(Order).ghost()
    traded_with_oneself = Bool.ghost()

    def counts(self) -> dict[type[Index], int]:
        """The sorts, and how many orders can be placed in all."""
        return {**super().counts(), Order: self.parameters["orders"]}

    def orders(self) -> Book:
        """The standing engine, as a book."""
        engine = self.standing()
        assert isinstance(engine, Book)
        return engine

    @action
    def place(self, account: Account, side: Side, price: Price, size: Size) -> None:
        """A client places a limit order that it can pay for, and is told that it rests."""
        live = self.live
        self.require(
            self.operating() if self.bug == "place-while-halted" else self.allows(Kind.PLACE),
            live.placed_next < self.parameters["orders"],
            live.free[account, reserve_asset(side)] >= reserve(side, price, size),
        )
        for order in Order:
            with self.when(live.placed_next == int(order)):
                self.told_status[order] = Status.RESTING
                self.told_left[order] = size
        command = self.command(OrderCommand, Kind.PLACE)
        command.account, command.side, command.price, command.amount = account, side, price, size
        self.submit(command)

    @action
    def trade(self, buy: Order, sell: Order) -> None:
        """Two resting orders of different accounts that cross trade, and both clients are told."""
        live = self.live
        self.require(
            self.allows(Kind.TRADE),
            buy != sell,
            live.status[buy] == Status.RESTING,
            live.status[sell] == Status.RESTING,
            live.side[buy] == Side.BUY,
            live.side[sell] == Side.SELL,
            live.price[buy] >= live.price[sell],
        )
        if self.bug != "self-trade":
            self.require(live.owner[buy] != live.owner[sell])
        self.traded_with_oneself = any_of(self.traded_with_oneself, live.owner[buy] == live.owner[sell])
        size = minimum(self.told_left[buy], self.told_left[sell])
        for order in (buy, sell):
            self.told_left[order] -= size
            with self.when(self.told_left[order] == 0):
                self.told_status[order] = Status.FILLED
        command = self.command(OrderCommand, Kind.TRADE)
        command.order, command.counter_order = buy, sell
        self.submit(command)

    @action
    def cancel(self, order: Order) -> None:
        """A client cancels what is left of a resting order, also while trading is closed, and is told so."""
        resting: Condition = self.live.status[order] == Status.RESTING
        if self.bug == "cancel-filled":
            resting = any_of(resting, self.live.status[order] == Status.FILLED)
        self.require(self.allows(Kind.CANCEL), resting)
        with self.when(self.told_status[order] == Status.RESTING):
            self.told_status[order] = Status.CANCELLED
        command = self.command(OrderCommand, Kind.CANCEL)
        command.order = order
        self.submit(command)

    @always("FINAL-1")
    def terminal_status_is_absorbing(self, order: Order) -> Condition:
        """An order that its client was told is filled or cancelled stays so."""
        ended = any_of(*(self.told_status[order] == status for status in TERMINAL))
        return implies(all_of(self.operating(), ended), self.live.status[order] == self.told_status[order])

    @always("FINAL-2")
    def acknowledged_is_kept(self, order: Order) -> Condition:
        """An order is as its client was last told: nothing acknowledged is lost, changed or brought back."""
        live = self.live
        return implies(
            self.operating(),
            all_of(live.status[order] == self.told_status[order], live.left[order] == self.told_left[order]),
        )

    @step("FINAL-1")
    def no_order_comes_back(self, after: Self, order: Order) -> Condition:
        """No step takes an order out of a terminal status, in the engine that clients rely on."""
        one, other = self.orders(), after.orders()
        return all_of(*(implies(one.status[order] == end, other.status[order] == end) for end in TERMINAL))

    @step("FINAL-3")
    def fills_only_grow(self, after: Self, order: Order) -> Condition:
        """What is left of an order never grows again, and never falls below zero."""
        one, other = self.orders(), after.orders()
        placed = one.status[order] != Status.NEW
        return implies(placed, all_of(other.left[order] >= 0, other.left[order] <= one.left[order]))

    @always("FINAL-3")
    def fills_are_as_told(self, order: Order) -> Condition:
        """Of no order is more left than its client was told."""
        left = self.live.left[order]
        return implies(self.operating(), all_of(left >= 0, left <= self.told_left[order]))

    @always("PRIO-2")
    def nobody_trades_with_oneself(self) -> Condition:
        """No trade has had the same client on both sides."""
        return negation(self.traded_with_oneself)

    @auxiliary("standing-is-as-told")
    def standing_is_as_told(self, order: Order) -> Condition:
        """Each order is as its client was told, also in the engine that a restore would bring back."""
        engine = self.orders()
        return all_of(
            engine.status[order] == self.told_status[order],
            engine.left[order] == self.told_left[order],
            implies(
                engine.status[order] == Status.RESTING, all_of(engine.left[order] >= 1, engine.price[order] >= 1)
            ),
        )

    @auxiliary("slots-are-taken-in-order")
    def slots_in_order(self, order: Order) -> Condition:
        """Exactly the orders before the next slot exist."""
        engine = self.orders()
        return (engine.status[order] == Status.NEW) == (engine.placed_next <= int(order))

    @sometimes("order-filled")
    def order_filled(self, order: Order) -> Condition:
        """An order is filled."""
        return self.live.status[order] == Status.FILLED

    @sometimes("order-cancelled")
    def order_cancelled(self, order: Order) -> Condition:
        """An order is cancelled."""
        return self.live.status[order] == Status.CANCELLED
