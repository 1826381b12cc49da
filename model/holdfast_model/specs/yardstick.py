"""The yardstick: the small exchange on which model checkers are compared, as in its TLA+ and Promela versions.

Two accounts, two assets, limit orders that reserve on place, a snapshot and a command log, crash, restore, halt and
resume. Amounts are as small as they can be, so that every state can be visited: with two orders and a log of one
command 1,482,570 distinct states, 3,790,147 generated, depth 39; with a log of two 9,359,053 distinct. The state of
the engine is kept three times: live, in the snapshot, and as what replaying the log on the snapshot would give.
"""

from enum import auto
from itertools import pairwise
from typing import Annotated

from holdfast_model.spec import (
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
    forall,
    implies,
    ite,
    made_once,
    minimum,
    negation,
    total,
)

PRICE_MAX = SIZE_MAX = 2


class Account(Index, prefix="u"):
    """A client of the exchange."""


class Order(Index, prefix="o"):
    """A slot for an order; slots are taken in order, so the lower one is the older."""


class Slot(Index, prefix="l", counted="commands in the log"):
    """A place in the command log."""


class Asset(Enumeration):
    """What is traded (B) and what it is paid with (Q)."""

    B = auto()
    Q = auto()

    def __str__(self) -> str:
        return self.name


class Mode(Enumeration):
    """What the exchange is doing."""

    UP = auto()
    HALTED = auto()
    DOWN = auto()


class Status(Enumeration):
    """The life of an order; FILLED and CANCELLED are terminal."""

    NONE = auto()
    OPEN = auto()
    FILLED = auto()
    CANCELLED = auto()


class Seen(Enumeration):
    """The terminal status that a client was told of, if any."""

    NONE = auto()
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
    MATCH = auto()


INITIAL = {Asset.B: 1, Asset.Q: 2}
"""What each account holds at first."""

CAP = {Asset.B: 3, Asset.Q: 5}
"""The most that may be on the exchange, in all accounts together."""

FIRST_ACCOUNT, FIRST_ORDER = Account(0), Order(0)
"""What an entry of the log shows in a field that its kind does not use."""

Price = Annotated[Number, Range(1, PRICE_MAX)]
Size = Annotated[Number, Range(1, SIZE_MAX)]


TERMINAL = ((Seen.FILLED, Status.FILLED), (Seen.CANCELLED, Status.CANCELLED))
"""What a client is told when an order ends, and the status it ended with."""


def reserve_asset(side: Value) -> Value:
    """What an order of this side sets aside."""
    return ite(side == Side.BUY, Asset.Q, Asset.B)


def reserve(side: Value, price: Value, size: Value) -> Value:
    """How much of it."""
    return ite(side == Side.BUY, price * size, size)


class Command(Record):
    """An entry of the log. Fields that its kind does not use stay at their first values."""

    kind = Enum(Kind)
    account = Enum(Account)
    asset = Enum(Asset)
    side = Enum(Side)
    price = Nat.upto(PRICE_MAX)
    size = Nat.upto(SIZE_MAX)
    order = Enum(Order)
    counter_order = Enum(Order)


class Engine(Record):
    """What a snapshot holds and a crash loses: balances and orders. Deterministic: commands alone change it."""

    free = Nat.upto(max(CAP.values())).per(Account, Asset).starting(lambda _, asset: INITIAL[asset])
    held = Nat.upto(max(CAP.values())).per(Account, Asset)
    status = Enum(Status).per(Order)
    owner = Enum(Account).per(Order)
    side = Enum(Side).per(Order)
    price = Nat.upto(PRICE_MAX).per(Order)
    left = Nat.upto(SIZE_MAX).per(Order)
    placed_next = Nat.upto(lambda spec: spec.orders + 1).starting(1)

    def wipe(self) -> None:
        """Lose everything: what is left is not an engine that ever ran."""
        self.reset()
        self.placed_next = 0
        for account in Account:
            for asset in Asset:
                self.free[account, asset] = 0

    def deposit(self, account: Value, asset: Value) -> None:
        """One unit comes in."""
        self.free[account, asset] += 1

    def withdraw(self, account: Value, asset: Value) -> None:
        """One unit goes out."""
        self.free[account, asset] -= 1

    def place(self, account: Value, side: Value, *, price: Value, size: Value) -> None:
        """An order takes the next slot, and what it may cost is set aside."""
        asset, amount = reserve_asset(side), reserve(side, price, size)
        self.free[account, asset] -= amount
        self.held[account, asset] += amount
        for order in Order:
            with self.when(self.placed_next == order + 1):
                self.status[order] = Status.OPEN
                self.owner[order] = account
                self.side[order] = side
                self.price[order] = price
                self.left[order] = size
        self.placed_next += 1

    def cancel(self, order: Value) -> None:
        """An order ends, and what it still set aside is released."""
        owner, asset = self.owner[order], reserve_asset(self.side[order])
        amount = reserve(self.side[order], self.price[order], self.left[order])
        self.free[owner, asset] += amount
        self.held[owner, asset] -= amount
        self.status[order] = Status.CANCELLED
        self.left[order] = 0

    def match(self, buy: Value, sell: Value) -> None:
        """Two orders trade the smaller size at the older one's price; the buyer gets back what it saved."""
        size = minimum(self.left[buy], self.left[sell])
        price = ite(buy < sell, self.price[buy], self.price[sell])
        buyer, seller = self.owner[buy], self.owner[sell]
        self.held[buyer, Asset.Q] -= self.price[buy] * size
        self.free[buyer, Asset.Q] += (self.price[buy] - price) * size
        self.free[buyer, Asset.B] += size
        self.held[seller, Asset.B] -= size
        self.free[seller, Asset.Q] += price * size
        for order in (buy, sell):
            self.left[order] -= size
            with self.when(self.left[order] == 0):
                self.status[order] = Status.FILLED

    def execute(self, command: Command) -> None:
        """The effect of an entry of the log; none for an empty slot."""
        with self.when(command.kind == Kind.DEPOSIT):
            self.deposit(command.account, command.asset)
        with self.when(command.kind == Kind.WITHDRAW):
            self.withdraw(command.account, command.asset)
        with self.when(command.kind == Kind.PLACE):
            self.place(command.account, command.side, price=command.price, size=command.size)
        with self.when(command.kind == Kind.CANCEL):
            self.cancel(command.order)
        with self.when(command.kind == Kind.MATCH):
            self.match(command.order, command.counter_order)

    def reserved(self, account: Account, asset: Asset) -> Value:
        """What the open orders of an account set aside of an asset."""
        return total(
            ite(
                all_of(
                    self.status[order] == Status.OPEN,
                    self.owner[order] == account,
                    reserve_asset(self.side[order]) == asset,
                ),
                reserve(self.side[order], self.price[order], self.left[order]),
                0,
            )
            for order in Order
        )


class Yardstick(Spec):
    """A small exchange with snapshot, log, crash and restore, on which model checkers are compared."""

    mode = Enum(Mode)
    live = Part(Engine)
    outside = Nat.upto(max(CAP.values())).per(Asset).starting(lambda asset: len(Account) * INITIAL[asset])
    seen = Enum(Seen).per(Order)
    snapshot_taken = Part(Engine)
    log = Part(Command).per(Slot)

    def __init__(self, *, orders: int = 2, log: int = 1, bug: str = "") -> None:
        super().__init__(sizes={Account: 2, Order: orders, Slot: log})
        self.orders = orders
        self.bug = bug

    @made_once
    def replayed(self) -> Engine:
        """The engine that the snapshot and the log together describe."""
        engine = self.snapshot_taken.copy()
        for slot in Slot:
            engine.execute(self.log[slot])
        return engine

    def journal(
        self,
        kind: Kind,
        *,
        account: Value = FIRST_ACCOUNT,
        asset: Value = Asset.B,
        side: Value = Side.BUY,
        price: Value = 0,
        size: Value = 0,
        order: Value = FIRST_ORDER,
        counter_order: Value = FIRST_ORDER,
    ) -> None:
        """Append a command to the log, which must have room, and tell clients which orders are over."""
        self.require(exists_empty(self))
        pending: Condition = True
        for slot in Slot:
            entry = self.log[slot]
            empty = entry.kind == Kind.NONE
            with self.when(pending, empty):
                entry.account, entry.asset, entry.side = account, asset, side
                entry.price, entry.size = price, size
                entry.order, entry.counter_order = order, counter_order
                entry.kind = kind
            pending = all_of(pending, negation(empty))
        for each in Order:
            with self.when(self.live.status[each] == Status.FILLED):
                self.seen[each] = Seen.FILLED
            with self.when(self.live.status[each] == Status.CANCELLED):
                self.seen[each] = Seen.CANCELLED

    @action
    def deposit(self, account: Account, asset: Asset) -> None:
        """A unit arrives from outside, up to the cap."""
        self.require(self.mode == Mode.UP, self.outside[asset] < CAP[asset])
        self.live.deposit(account, asset)
        self.journal(Kind.DEPOSIT, account=account, asset=asset)
        self.outside[asset] += 1

    @action
    def withdraw(self, account: Account, asset: Asset) -> None:
        """A free unit leaves."""
        self.require(self.mode == Mode.UP, self.live.free[account, asset] > 0)
        self.live.withdraw(account, asset)
        self.journal(Kind.WITHDRAW, account=account, asset=asset)
        self.outside[asset] -= 1

    @action
    def place(self, account: Account, side: Side, price: Price, size: Size) -> None:
        """A client places a limit order that it can pay for."""
        self.require(
            self.mode == Mode.UP,
            self.live.placed_next <= self.orders,
            self.live.free[account, reserve_asset(side)] >= reserve(side, price, size),
        )
        self.live.place(account, side, price=price, size=size)
        self.journal(Kind.PLACE, account=account, side=side, price=price, size=size)

    @action
    def match(self, buy: Order, sell: Order) -> None:
        """Two open orders that cross trade."""
        live = self.live
        self.require(
            self.mode == Mode.UP,
            live.status[buy] == Status.OPEN,
            live.status[sell] == Status.OPEN,
            live.side[buy] == Side.BUY,
            live.side[sell] == Side.SELL,
            live.price[buy] >= live.price[sell],
        )
        live.match(buy, sell)
        self.journal(Kind.MATCH, order=buy, counter_order=sell)

    @action
    def cancel(self, order: Order) -> None:
        """A client cancels an open order, also while trading is halted."""
        self.require(self.mode != Mode.DOWN, self.live.status[order] == Status.OPEN)
        self.live.cancel(order)
        self.journal(Kind.CANCEL, order=order)

    @action
    def snapshot(self) -> None:
        """The live engine becomes the snapshot, and the log starts again."""
        self.require(self.mode != Mode.DOWN, self.log[0].kind != Kind.NONE)
        self.snapshot_taken = self.live
        self.clear_log()

    def clear_log(self) -> None:
        """Forget the commands since the snapshot."""
        for slot in Slot:
            self.log[slot].reset()

    @action
    def crash(self) -> None:
        """The live engine is lost."""
        self.require(self.mode != Mode.DOWN)
        self.mode = Mode.DOWN
        self.live.wipe()

    @action
    def restore(self) -> None:
        """The engine comes back, halted: the snapshot and the whole log on top (with `bug=restore` without it)."""
        self.require(self.mode == Mode.DOWN)
        self.mode = Mode.HALTED
        if self.bug == "restore":
            self.live = self.snapshot_taken
            self.clear_log()
        else:
            self.live = self.replayed()

    @action
    def halt(self) -> None:
        """Trading stops; cancelling stays possible."""
        self.require(self.mode == Mode.UP)
        self.mode = Mode.HALTED

    @action
    def resume(self) -> None:
        """Trading goes on."""
        self.require(self.mode == Mode.HALTED)
        self.mode = Mode.UP

    @always("CONS-1")
    def conservation(self, asset: Asset) -> Condition:
        """What all accounts hold of an asset is what came in from outside."""
        return implies(self.mode != Mode.DOWN, holdings(self.live, asset) == self.outside[asset])

    @always("CONS-2")
    def non_negative(self, account: Account, asset: Asset) -> Condition:
        """No balance is below zero."""
        return all_of(self.live.free[account, asset] >= 0, self.live.held[account, asset] >= 0)

    @always("FINAL-1")
    def finality(self, order: Order) -> Condition:
        """A status that a client saw as terminal never changes."""
        return implies(
            self.mode != Mode.DOWN,
            all_of(
                *(implies(self.seen[order] == told, self.live.status[order] == meant) for told, meant in TERMINAL)
            ),
        )

    @always("FINAL-3")
    def fill_finality(self, order: Order) -> Condition:
        """An order that a client saw filled stays filled."""
        return implies(
            all_of(self.mode != Mode.DOWN, self.seen[order] == Seen.FILLED), self.live.status[order] == Status.FILLED
        )

    @made_once
    def standing(self) -> Engine:
        """The engine that clients rely on: the live one, or while down the one that a restore owes them."""
        engine = self.replayed()
        with engine.when(self.mode != Mode.DOWN):
            engine.assign(self.live)
        return engine

    @auxiliary("live-is-the-replay-of-the-log")
    def live_is_replay(self) -> Condition:
        """The live engine is what replaying the log on the snapshot gives."""
        return implies(self.mode != Mode.DOWN, self.live.equals(self.replayed()))

    @auxiliary("held-is-the-sum-over-open-orders")
    def held_is_reserved(self, account: Account, asset: Asset) -> Condition:
        """What is held is exactly what open orders set aside."""
        engine = self.standing()
        return engine.held[account, asset] == engine.reserved(account, asset)

    @auxiliary("standing-conserves")
    def standing_conserves(self, asset: Asset) -> Condition:
        """Conservation, also of the engine that a restore would bring back."""
        return holdings(self.standing(), asset) == self.outside[asset]

    @auxiliary("standing-non-negative")
    def standing_non_negative(self, account: Account, asset: Asset) -> Condition:
        """No balance below zero, also in the engine that a restore would bring back."""
        return self.standing().free[account, asset] >= 0

    @auxiliary("seen-is-the-terminal-status")
    def seen_is_terminal_status(self, order: Order) -> Condition:
        """What clients were told is the status that the standing engine has, if that one is terminal."""
        status = self.standing().status[order]
        return all_of(*((self.seen[order] == told) == (status == meant) for told, meant in TERMINAL))

    @auxiliary("slots-are-taken-in-order")
    def slots_in_order(self, order: Order) -> Condition:
        """Exactly the orders before the next slot exist."""
        engine = self.standing()
        return all_of(
            (engine.status[order] == Status.NONE) == (engine.placed_next <= order + 1),
            any_of(engine.status[order] == Status.OPEN, engine.left[order] == 0),
            engine.placed_next >= 1,
        )

    @auxiliary("log-has-no-gap")
    def log_has_no_gap(self) -> Condition:
        """The commands of the log stand at its beginning."""
        return forall(
            implies(self.log[slot].kind == Kind.NONE, self.log[after].kind == Kind.NONE)
            for slot, after in pairwise(Slot)
        )


def exists_empty(spec: Yardstick) -> Condition:
    """The log has room for a command."""
    return any_of(*(spec.log[slot].kind == Kind.NONE for slot in Slot))


def holdings(engine: Engine, asset: Asset) -> Value:
    """What all accounts of an engine have of an asset, held or free."""
    return total(engine.free[account, asset] + engine.held[account, asset] for account in Account)
