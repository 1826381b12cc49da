"""A spot exchange: limit orders at any price and size, partial fills, maintenance, snapshot, crash and restore.

Amounts, prices and sizes are integers without limit. A trade happens at the older order's price, for the smaller of
the two sizes; what the buyer reserved above it is released. Orders of one account do not trade with each other. There
are no fees. Order slots are taken in order of arrival, and each is used once.

What clients were told is kept apart from the engine (`told_status`, `told_left`, `outside`): a crash does not make
anybody forget an acknowledgement. The engine's state is live, and again in the snapshot; a restore replays the log of
commands on the snapshot through the very code that executed them.

Left out: how the matching order is chosen (any two orders that cross may trade), so price-time priority is not
checked here; the number of orders and of commands between two snapshots is bounded by the model's parameters.
"""

from collections.abc import Mapping
from enum import auto
from itertools import pairwise
from typing import Annotated

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
    Record,
    Spec,
    Value,
    action,
    all_of,
    always,
    any_of,
    auxiliary,
    exists,
    forall,
    implies,
    ite,
    minimum,
    negation,
    total,
)


class Account(Index, prefix="u"):
    """A client of the exchange."""


class Order(Index, prefix="o"):
    """A slot for an order; the lower one is the older."""


class Slot(Index, prefix="l", counted="commands in the log"):
    """A place in the command log."""


class Asset(Enumeration):
    """What is traded and what it is paid with."""

    SOL = auto()
    USDT = auto()

    def __str__(self) -> str:
        return self.name


class Phase(Enumeration):
    """What the exchange is doing."""

    OPEN = auto()
    HALTED = auto()
    DOWN = auto()


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


class Kind(Enumeration):
    """The commands of the log; NONE marks an empty slot."""

    NONE = auto()
    DEPOSIT = auto()
    WITHDRAW = auto()
    PLACE = auto()
    CANCEL = auto()
    TRADE = auto()


TERMINAL = (Status.FILLED, Status.CANCELLED)

TRADING = (Kind.PLACE, Kind.TRADE)
"""The commands that are legal only while the exchange is open; the others are legal while it is halted, too."""


def explored(spec: "Spot") -> int:
    """The limit of amounts, prices and sizes in a search."""
    return spec.amounts


Amount = Annotated[Number, Range(1, explored_upto=explored)]
Price = Annotated[Number, Range(1, explored_upto=explored)]
Size = Annotated[Number, Range(1, explored_upto=explored)]


def reserve_asset(side: Value) -> Value:
    """What an order of this side sets aside."""
    return ite(side == Side.BUY, Asset.USDT, Asset.SOL)


def reserve(side: Value, price: Value, size: Value) -> Value:
    """How much of it."""
    return ite(side == Side.BUY, price * size, size)


class Command(Record):
    """An entry of the log. Fields that its kind does not use stay at their first values."""

    kind = Enum(Kind)
    account = Enum(Account)
    asset = Enum(Asset)
    side = Enum(Side)
    amount = Nat.upto(explored)
    price = Nat.upto(explored)
    order = Enum(Order)
    counter_order = Enum(Order)


class Engine(Record):
    """What a snapshot holds and a crash loses: balances and orders. Commands alone change it."""

    root: "Spot"

    free = Nat.upto(explored).per(Account, Asset)
    held = Nat.upto(explored).per(Account, Asset)
    status = Enum(Status).per(Order)
    owner = Enum(Account).per(Order)
    side = Enum(Side).per(Order)
    price = Nat.upto(explored).per(Order)
    left = Nat.upto(explored).per(Order)
    placed_next = Nat.upto(lambda spec: spec.orders).starting(0)

    def execute(self, command: Command) -> None:
        """The effect of a command; none for an empty slot. Both the live engine and the replay come through here."""
        with self.when(command.kind == Kind.DEPOSIT):
            self.free[command.account, command.asset] += command.amount
        with self.when(command.kind == Kind.WITHDRAW):
            self.free[command.account, command.asset] -= command.amount
        with self.when(command.kind == Kind.PLACE):
            self.place(command.account, command.side, price=command.price, size=command.amount)
        with self.when(command.kind == Kind.CANCEL):
            self.cancel(command.order)
        with self.when(command.kind == Kind.TRADE):
            self.trade(command.order, command.counter_order)

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
        """What the resting orders of an account set aside of an asset."""
        return total(
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

    def holdings(self, asset: Asset) -> Value:
        """What all accounts have of an asset, held or free."""
        return total(self.free[account, asset] + self.held[account, asset] for account in Account)


class Spot(Spec):
    """A spot exchange with unbounded amounts, partial fills, maintenance, snapshot, crash and restore."""

    phase = Enum(Phase)
    live = Part(Engine)
    outside = Nat.upto(explored).per(Asset)
    told_status = Enum(Status).per(Order)
    told_left = Nat.upto(explored).per(Order)
    acted_out_of_phase = Bool
    snapshot_taken = Part(Engine)
    log = Part(Command).per(Slot)

    def __init__(self, *, accounts: int = 2, orders: int = 2, log: int = 1, amounts: int = 2, bug: str = "") -> None:
        super().__init__(sizes={Account: accounts, Order: orders, Slot: log})
        self.orders = orders
        self.amounts = amounts
        self.bug = bug

    def scope(self) -> Mapping[str, str]:
        """Deposits stop where the exchange would hold more of an asset."""
        return {"on the exchange, of each asset": f"at most {self.amounts}"}

    def replayed(self, *, times: int = 1) -> Engine:
        """The engine that the snapshot and the log together describe."""
        engine = self.snapshot_taken.copy()
        for _ in range(times):
            for slot in Slot:
                engine.execute(self.log[slot])
        return engine

    def command(self, kind: Kind) -> Command:
        """A command to fill in."""
        command = self.log[0].copy()
        command.reset()
        command.kind = kind
        return command

    def submit(self, command: Command) -> None:
        """Append a command to the log, which must have room, and execute it."""
        self.require(exists(self.log[slot].kind == Kind.NONE for slot in Slot))
        is_trading = any_of(*(command.kind == kind for kind in TRADING))
        legal = all_of(self.phase != Phase.DOWN, implies(is_trading, self.phase == Phase.OPEN))
        self.acted_out_of_phase = any_of(self.acted_out_of_phase, negation(legal))
        full: Condition = True
        for slot in Slot:
            empty = self.log[slot].kind == Kind.NONE
            with self.when(full, empty):
                self.log[slot] = command
            full = all_of(full, negation(empty))
        self.live.execute(command)

    @action
    def deposit(self, account: Account, asset: Asset, amount: Amount) -> None:
        """An amount arrives from outside and is credited."""
        self.require(self.phase != Phase.DOWN)
        self.explored_where(self.outside[asset] + amount <= self.amounts)
        command = self.command(Kind.DEPOSIT)
        command.account, command.asset, command.amount = account, asset, amount
        self.submit(command)
        self.outside[asset] += amount

    @action
    def withdraw(self, account: Account, asset: Asset, amount: Amount) -> None:
        """A client takes out what it has free."""
        self.require(self.phase != Phase.DOWN)
        if self.bug != "overdraft":
            self.require(self.live.free[account, asset] >= amount)
        command = self.command(Kind.WITHDRAW)
        command.account, command.asset, command.amount = account, asset, amount
        self.submit(command)
        self.outside[asset] -= amount

    @action
    def place(self, account: Account, side: Side, price: Price, size: Size) -> None:
        """A client places a limit order that it can pay for, and is told that it rests."""
        live = self.live
        self.require(
            self.phase != Phase.DOWN if self.bug == "place-while-halted" else self.phase == Phase.OPEN,
            live.placed_next < self.orders,
            live.free[account, reserve_asset(side)] >= reserve(side, price, size),
        )
        for order in Order:
            with self.when(live.placed_next == int(order)):
                self.told_status[order] = Status.RESTING
                self.told_left[order] = size
        command = self.command(Kind.PLACE)
        command.account, command.side, command.price, command.amount = account, side, price, size
        self.submit(command)

    @action
    def trade(self, buy: Order, sell: Order) -> None:
        """Two resting orders of different accounts that cross trade, and both clients are told."""
        live = self.live
        self.require(
            self.phase == Phase.OPEN,
            buy != sell,
            live.status[buy] == Status.RESTING,
            live.status[sell] == Status.RESTING,
            live.side[buy] == Side.BUY,
            live.side[sell] == Side.SELL,
            live.price[buy] >= live.price[sell],
            live.owner[buy] != live.owner[sell],
        )
        size = minimum(self.told_left[buy], self.told_left[sell])
        for order in (buy, sell):
            self.told_left[order] -= size
            with self.when(self.told_left[order] == 0):
                self.told_status[order] = Status.FILLED
        command = self.command(Kind.TRADE)
        command.order, command.counter_order = buy, sell
        self.submit(command)

    @action
    def cancel(self, order: Order) -> None:
        """A client cancels what is left of a resting order, also while trading is halted, and is told so."""
        resting: Condition = self.live.status[order] == Status.RESTING
        if self.bug == "cancel-filled":
            resting = any_of(resting, self.live.status[order] == Status.FILLED)
        self.require(self.phase != Phase.DOWN, resting)
        with self.when(self.told_status[order] == Status.RESTING):
            self.told_status[order] = Status.CANCELLED
        command = self.command(Kind.CANCEL)
        command.order = order
        self.submit(command)

    @action
    def snapshot(self) -> None:
        """The live engine becomes the snapshot, and the log starts again."""
        self.require(self.phase != Phase.DOWN, self.log[0].kind != Kind.NONE)
        self.snapshot_taken = self.live
        self.clear_log()

    def clear_log(self) -> None:
        """Forget the commands since the snapshot."""
        for slot in Slot:
            self.log[slot].reset()

    @action
    def crash(self) -> None:
        """The live engine is lost."""
        self.require(self.phase != Phase.DOWN)
        self.phase = Phase.DOWN
        self.live.reset()

    @action
    def restore(self) -> None:
        """The engine comes back, halted: the snapshot, and on it every command of the log again."""
        self.require(self.phase == Phase.DOWN)
        self.phase = Phase.HALTED
        if self.bug == "restore":
            self.live = self.snapshot_taken
            self.clear_log()
        else:
            self.live = self.replayed(times=2 if self.bug == "replay-twice" else 1)

    @action
    def halt(self) -> None:
        """Trading stops; deposits, withdrawals and cancels stay possible."""
        self.require(self.phase == Phase.OPEN)
        self.phase = Phase.HALTED

    @action
    def resume(self) -> None:
        """Trading goes on."""
        self.require(self.phase == Phase.HALTED)
        self.phase = Phase.OPEN

    @always("CONS-1")
    def conservation(self, asset: Asset) -> Condition:
        """What all accounts hold of an asset, free or held, is what came in from outside less what went out."""
        return implies(self.phase != Phase.DOWN, self.live.holdings(asset) == self.outside[asset])

    @always("CONS-2")
    def no_overdraft(self, account: Account, asset: Asset) -> Condition:
        """No balance is below zero, free or held."""
        return all_of(self.live.free[account, asset] >= 0, self.live.held[account, asset] >= 0)

    @always("FINAL-1")
    def terminal_status_is_absorbing(self, order: Order) -> Condition:
        """An order that its client was told is filled or cancelled stays so."""
        ended = any_of(*(self.told_status[order] == status for status in TERMINAL))
        return implies(all_of(self.phase != Phase.DOWN, ended), self.live.status[order] == self.told_status[order])

    @always("FINAL-2")
    def acknowledged_is_kept(self, order: Order) -> Condition:
        """An order is as its client was last told: nothing acknowledged is lost, changed or brought back."""
        live = self.live
        return implies(
            self.phase != Phase.DOWN,
            all_of(live.status[order] == self.told_status[order], live.left[order] == self.told_left[order]),
        )

    @always("FINAL-3")
    def fills_are_irrevocable(self, order: Order) -> Condition:
        """What is left of an order never grows again, and never falls below zero."""
        left = self.live.left[order]
        return implies(self.phase != Phase.DOWN, all_of(left >= 0, left <= self.told_left[order]))

    @always("PHASE-1")
    def commands_are_in_phase(self) -> Condition:
        """No command took effect in a phase in which it is not legal."""
        return negation(self.acted_out_of_phase)

    def standing(self) -> Engine:
        """The engine that clients rely on: the live one, or while down the one that a restore owes them."""
        engine = self.replayed()
        with engine.when(self.phase != Phase.DOWN):
            engine.assign(self.live)
        return engine

    @auxiliary("live-is-the-replay-of-the-log")
    def live_is_replay(self) -> Condition:
        """The live engine is what replaying the log on the snapshot gives."""
        return implies(self.phase != Phase.DOWN, self.live.equals(self.replayed()))

    @auxiliary("held-is-the-sum-over-open-orders")
    def held_is_reserved(self, account: Account, asset: Asset) -> Condition:
        """What is held is exactly what resting orders set aside."""
        engine = self.standing()
        return engine.held[account, asset] == engine.reserved(account, asset)

    @auxiliary("standing-conserves")
    def standing_conserves(self, asset: Asset) -> Condition:
        """Conservation, also of the engine that a restore would bring back."""
        return self.standing().holdings(asset) == self.outside[asset]

    @auxiliary("standing-free-is-not-negative")
    def standing_free_is_not_negative(self, account: Account, asset: Asset) -> Condition:
        """No overdraft, also in the engine that a restore would bring back."""
        return self.standing().free[account, asset] >= 0

    @auxiliary("standing-is-as-told")
    def standing_is_as_told(self, order: Order) -> Condition:
        """Each order is as its client was told, also in the engine that a restore would bring back."""
        engine = self.standing()
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
        engine = self.standing()
        return (engine.status[order] == Status.NEW) == (engine.placed_next <= int(order))

    @auxiliary("log-has-no-gap")
    def log_has_no_gap(self) -> Condition:
        """The commands of the log stand at its beginning."""
        return forall(
            implies(self.log[slot].kind == Kind.NONE, self.log[after].kind == Kind.NONE)
            for slot, after in pairwise(Slot)
        )
