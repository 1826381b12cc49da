"""The ledger that all parts of the exchange share: accounts, balances, commands, and money that comes and goes.

The exchange is written in parts (`trading`, `margin`, `custody`, `operations`). A part adds variables to the engine's
state, fields to its commands, effects to `Engine.execute`, and actions and properties to the spec; a slice of the
exchange is a class made of parts (`slices`). Whatever changes the engine is a command that goes through `submit`, so
that the parts of `operations` can log it, replay it, replicate it and refuse it without knowing what it does.

Abstracted away: fees, rounding (no amount is divided), identities of clients beyond their number, and the house
accounts other than insurance. What a client was told is kept apart from the engine, in ghosts: a crash makes nobody
forget an acknowledgement.
"""

from collections.abc import Mapping
from enum import auto
from typing import Annotated, ClassVar, TypeVar

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
    implies,
    total,
)


class Account(Index, prefix="u"):
    """A client of the exchange."""


class Asset(Enumeration):
    """What is traded and what it is paid with."""

    SOL = auto()
    USDT = auto()

    def __str__(self) -> str:
        return self.name


class Kind(Enumeration):
    """The commands of all parts; NONE marks an empty slot of the log."""

    NONE = auto()
    DEPOSIT = auto()
    WITHDRAW = auto()
    PLACE = auto()
    CANCEL = auto()
    TRADE = auto()
    TRANSFER = auto()
    MARK = auto()
    OPEN_POSITION = auto()
    LIQUIDATE = auto()
    SETTLE = auto()
    INSURE = auto()
    FUND_INSURANCE = auto()
    HALT_PRODUCT = auto()
    RESUME_STAGE = auto()
    REPORT_DEPOSIT = auto()
    REPORT_BLOCK = auto()
    REPORT_REORGANISATION = auto()
    REPORT_PAYMENT = auto()
    SUSPEND_ASSET = auto()
    RESUME_ASSET = auto()
    REQUEST_WITHDRAWAL = auto()
    APPROVE_WITHDRAWAL = auto()
    REFUND_WITHDRAWAL = auto()
    COMMIT_NONCE = auto()
    SUBMIT_SHARE = auto()
    RESTART_SIGNING = auto()
    BROADCAST_PAYMENT = auto()
    SERVE_ORDER = auto()
    SERVE_CANCEL = auto()


def explored(spec: "Exchange") -> int:
    """The limit of amounts, prices and sizes in a search."""
    return spec.amounts


Amount = Annotated[Number, Range(1, explored_upto=explored)]


class Command(Record):
    """What the engine is told to do. Fields that its kind does not use stay at their first values."""

    kind = Enum(Kind)
    account = Enum(Account)
    asset = Enum(Asset)
    amount = Nat.upto(explored)


class Engine(Record):
    """What a snapshot holds and a crash loses. Deterministic: commands alone change it."""

    root: "Exchange"

    free = Nat.upto(explored).per(Account, Asset)
    held = Nat.upto(explored).per(Account, Asset)

    def execute(self, command: Command) -> None:
        """The effect of a command; none for an empty slot. The live engine, replays and standbys run this code."""
        with self.when(command.kind == Kind.DEPOSIT):
            self.free[command.account, command.asset] += command.amount
        with self.when(command.kind == Kind.WITHDRAW):
            self.free[command.account, command.asset] -= command.amount

    def reserved(self, account: Account, asset: Asset) -> Value:
        """What is set aside of an asset, as the things for which it is set aside add up."""
        del account, asset
        return 0

    def house(self, asset: Asset) -> Value:
        """What the house holds of an asset, and clients beside their free and held balances."""
        del asset
        return 0

    def holdings(self, asset: Asset) -> Value:
        """What everybody has of an asset."""
        return total(self.free[account, asset] + self.held[account, asset] for account in Account) + self.house(asset)


CommandType = TypeVar("CommandType", bound=Command)


class Exchange(Spec):
    """What every slice has: an engine, and the money outside of it."""

    moves_between_clients: ClassVar[bool] = False
    """Whether clients of this part get funds from each other, so that what came in does not say who has it."""

    engine_record: ClassVar[type[Engine]] = Engine
    command_record: ClassVar[type[Command]] = Command

    live = Part(Engine)
    faults = Nat.upto(lambda spec: spec.parameters["faults"]).ghost()
    """How many things went wrong in the world, where a search limits them."""

    def __init__(self, *, bug: str = "", **parameters: int) -> None:
        self.bug = bug
        self.parameters = {**DEFAULTS, **parameters}
        self.amounts = self.parameters["amounts"]
        super().__init__(sizes=self.counts())

    def counts(self) -> dict[type[Index], int]:
        """The sizes of the index sorts that the slice's parts range over."""
        return {Account: self.parameters["accounts"]}

    def scope(self) -> Mapping[str, str]:
        """Where deposits stop, and how many faults there are, in a search."""
        deposited = "both" if self.parameters["assets"] == len(Asset) else "USDT only"
        faults = self.parameters["faults"]
        return {
            "on the exchange, of each asset": f"at most {self.amounts}",
            "assets deposited": deposited,
            "faults": f"at most {faults}" if faults else "as many as there can be",
        }

    def fault(self) -> None:
        """Something goes wrong in the world; a search may limit how often."""
        if self.parameters["faults"]:
            self.explored_where(self.faults < self.parameters["faults"])
            self.faults += 1

    def is_explored(self, asset: Value) -> Condition:
        """Whether a search deposits this asset: both, or only what is paid with."""
        return any_of(self.parameters["assets"] == len(Asset), asset == Asset.USDT)

    def command(self, record: type[CommandType], kind: Kind) -> CommandType:
        """A command to fill in. `record` is the part's own; the command has the fields of the other parts, too."""
        blank = self.fresh(self.command_record)
        assert isinstance(blank, record), "a slice's command has the fields of all its parts"
        blank.kind = kind
        return blank

    def submit(self, command: Command) -> None:
        """The engine executes a command; parts put before it what must come before."""
        self.live.execute(command)

    def operating(self) -> Condition:
        """Whether there is a live engine."""
        return True

    def decides(self) -> Condition:
        """Whether what is decided now takes effect."""
        return self.operating()

    def allows(self, kind: Kind) -> Condition:
        """Whether a command of this kind is legal now."""
        del kind
        return self.operating()

    def lose_memory(self) -> None:
        """What is lost with a primary besides its engine."""

    def standing(self) -> Engine:
        """The engine that clients rely on: the live one, or while there is none the one that they are owed."""
        return self.live.copy()

    def came_in(self, asset: Asset) -> Value:
        """What came in from outside less what went out, as the world outside of the engine has it."""
        del asset
        return 0

    def reconciles(self, asset: Asset) -> Condition:
        """Whether the ledger agrees with what is outside of it, as the venue itself can see."""
        return self.live.holdings(asset) == self.came_in(asset)

    @always("CONS-1")
    def conservation(self, asset: Asset) -> Condition:
        """What everybody has of an asset is what came in from outside less what went out."""
        return implies(self.operating(), self.live.holdings(asset) == self.came_in(asset))

    @always("CONS-2")
    def no_overdraft(self, account: Account, asset: Asset) -> Condition:
        """No balance is below zero, free or held."""
        return all_of(self.live.free[account, asset] >= 0, self.live.held[account, asset] >= 0)

    @auxiliary("standing-conserves")
    def standing_conserves(self, asset: Asset) -> Condition:
        """Conservation, also of the engine that a restore would bring back."""
        return self.standing().holdings(asset) == self.came_in(asset)

    @auxiliary("standing-is-in-range")
    def standing_is_in_range(self) -> Condition:
        """No number below its least value, also in the engine that a restore would bring back."""
        return self.standing().in_range()

    @auxiliary("held-is-the-sum-of-what-it-is-held-for")
    def held_is_reserved(self, account: Account, asset: Asset) -> Condition:
        """What is held is exactly what open orders, withdrawals and requests set aside."""
        engine = self.standing()
        return engine.held[account, asset] == engine.reserved(account, asset)


class Funds(Exchange):
    """Deposits and withdrawals as an operator enters them, where a slice says nothing of chains and custody."""

    outside = Nat.upto(explored).per(Asset)
    """What came in less what went out: the negative balance of the outside world."""

    def came_in(self, asset: Asset) -> Value:
        """What came in less what went out."""
        return self.outside[asset]

    @action
    def deposit(self, account: Account, asset: Asset, amount: Amount) -> None:
        """An amount arrives from outside and is credited."""
        self.require(self.allows(Kind.DEPOSIT))
        self.explored_where(self.outside[asset] + amount <= self.amounts, self.is_explored(asset))
        command = self.command(Command, Kind.DEPOSIT)
        command.account, command.asset, command.amount = account, asset, amount
        self.submit(command)
        self.outside[asset] += amount

    @action
    def withdraw(self, account: Account, asset: Asset, amount: Amount) -> None:
        """A client takes out what it has free."""
        self.require(self.allows(Kind.WITHDRAW))
        if self.bug != "overdraft":
            self.require(self.live.free[account, asset] >= amount)
        command = self.command(Command, Kind.WITHDRAW)
        command.account, command.asset, command.amount = account, asset, amount
        self.submit(command)
        self.outside[asset] -= amount


DEFAULTS = {
    "accounts": 2,
    "amounts": 1,
    "assets": 2,
    "faults": 0,
    "orders": 2,
    "log": 1,
    "deposits": 1,
    "payments": 1,
    "signers": 3,
    "threshold": 2,
    "confirmations": 2,
    "blocks": 3,
    "nonces": 2,
    "standbys": 2,
    "epochs": 2,
    "products": 2,
    "lots": 1,
    "prices": 2,
    "requests": 2,
    "capacity": 1,
}
"""The sizes of a slice where nothing else is said: small enough to visit every state."""
