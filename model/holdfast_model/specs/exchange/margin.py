"""Margin: perpetuals in two products, marks, liquidation, insurance, and protective halts with staged resume.

Each product has one perpetual, and each account has, for each product, collateral in USDT and a position; products
share nothing, so each is isolated from the others. A trade opens or closes positions at any price and adds its value
to the entry values. A mark is a price or UNAVAILABLE (0). An account below its maintenance margin is liquidated one
lot at a time, at the mark, while its owner could act: the product is open. What an account cannot pay is paid out of
insurance, and nobody is liquidated for whom insurance does not suffice. A profit is paid when losses have paid for
it. A halt stops one product; it resumes one stage at a time.

Abstracted away: cross margin over several products, borrowing, haircuts, funding, deleveraging (what the exchange
does where insurance does not suffice); that insurance pays before a bankrupt trades, and not after it; tiers (the
margins are `INITIAL` and `MAINTENANCE` per lot); the order book (two accounts agree on price and size); how a mark is
made of reports; at which price a liquidation finds its other side.
"""

from enum import auto
from typing import Annotated, Self

from holdfast_model.spec import (
    Bool,
    Condition,
    Enum,
    Enumeration,
    Index,
    Int,
    Nat,
    Number,
    Part,
    Range,
    Response,
    Value,
    action,
    all_of,
    always,
    any_of,
    eventually,
    exists,
    implies,
    ite,
    maximum,
    minimum,
    negation,
    sometimes,
    step,
    total,
)
from holdfast_model.specs.exchange.ledger import Account, Amount, Asset, Command, Engine, Exchange, Kind, explored


class Product(Index, prefix="p"):
    """A product with one perpetual market, isolated from the others."""


class Stage(Enumeration):
    """What a product lets its traders do, from all to nothing and back one stage at a time."""

    OPEN = auto()
    HALTED = auto()
    CANCEL_ONLY = auto()
    POST_ONLY = auto()


INITIAL, MAINTENANCE = 1, 1
"""The margins of one lot."""

UNAVAILABLE = 0

RESUMES = {Stage.HALTED: Stage.CANCEL_ONLY, Stage.CANCEL_ONLY: Stage.POST_ONLY, Stage.POST_ONLY: Stage.OPEN}


def lots(spec: "Margin") -> int:
    """The largest position of a search."""
    return spec.parameters["lots"]


def prices(spec: "Margin") -> int:
    """The highest price of a search."""
    return spec.parameters["prices"]


def value_max(spec: "Margin") -> int:
    """The largest entry value of a search."""
    return spec.parameters["prices"] * spec.parameters["lots"] * 2


Price = Annotated[Number, Range(1, explored_upto=prices)]
Mark = Annotated[Number, Range(0, explored_upto=prices)]
Lots = Annotated[Number, Range(1, explored_upto=1)]


class Side(Enumeration):
    """The sign of a position."""

    LONG = auto()
    SHORT = auto()


class Direction(Enumeration):
    """Which way margin is transferred."""

    TO_PRODUCT = auto()
    FROM_PRODUCT = auto()


class MarginCommand(Command):
    """The fields of commands about margin; lots are the command's amount."""

    product = Enum(Product)
    counterparty = Enum(Account)
    agreed_price = Nat.upto(prices)
    """What a trade or a report of a mark names."""
    direction = Enum(Direction)


def size_of(position: Value) -> Value:
    """The lots of a position, whatever its sign."""
    return maximum(position, -position)


class Positions(Engine):
    """Collateral, positions, marks and stages."""

    root: "Margin"

    collateral = Nat.upto(explored).per(Account, Product)
    position = Int.explored_between(lambda spec: -lots(spec), lots).per(Account, Product)
    entry = Int.explored_between(lambda spec: -value_max(spec), value_max).per(Account, Product)
    """What the lots of a position were bought for less what they were sold for, and what is owed of earlier ones."""
    clearing = Nat.upto(value_max).per(Product)
    """What losers have paid and winners have not got yet: minus the sum of the entry values."""
    insurance = Nat.upto(explored).per(Product)
    mark = Nat.upto(prices).per(Product)
    stage = Enum(Stage).per(Product)

    def execute(self, command: Command) -> None:
        """The effect of the commands about margin, and of all others."""
        super().execute(command)
        assert isinstance(command, MarginCommand)
        for kind in self.cases(command.kind, Kind):
            if kind in MARGIN:
                for product in self.cases(command.product, Product):
                    self.act(kind, product, command)

    def act(self, kind: Kind, product: Product, command: MarginCommand) -> None:
        """The effect of a command about a product."""
        match kind:
            case Kind.TRANSFER:
                signed = ite(command.direction == Direction.TO_PRODUCT, command.amount, -command.amount)
                self.free[command.account, Asset.USDT] -= signed
                self.collateral[command.account, product] += signed
            case Kind.MARK:
                self.mark[product] = command.agreed_price
            case Kind.OPEN_POSITION:
                self.exchange(
                    product, command, price=command.agreed_price, is_one_sided=self.root.bug == "one-sided-fill"
                )
            case Kind.LIQUIDATE:
                self.exchange(product, command, price=self.mark[product])
            case Kind.SETTLE:
                self.settle(command.account, product)
            case Kind.INSURE:
                self.insure(command.account, product)
            case Kind.FUND_INSURANCE:
                self.free[command.account, Asset.USDT] -= command.amount
                self.insurance[product] += command.amount
            case Kind.HALT_PRODUCT:
                for each in Product:
                    if each == product or self.root.bug == "halt-spreads":
                        self.stage[each] = Stage.HALTED
            case _:
                for stage in self.cases(self.stage[product], Stage):
                    self.stage[product] = RESUMES.get(stage, stage)

    def exchange(self, product: Product, command: MarginCommand, *, price: Value, is_one_sided: bool = False) -> None:
        """The account buys lots from its counterparty at a price."""
        value = price * command.amount
        self.position[command.account, product] += command.amount
        self.entry[command.account, product] += value
        if not is_one_sided:
            self.position[command.counterparty, product] -= command.amount
        self.entry[command.counterparty, product] -= value

    def settle(self, account: Value, product: Product) -> None:
        """An account without a position gets its profit, or pays its loss as far as its collateral goes."""
        owed = self.entry[account, product]
        paid = owed if self.root.bug == "settled-on-credit" else minimum(self.collateral[account, product], owed)
        self.collateral[account, product] -= paid
        self.clearing[product] += paid
        self.entry[account, product] -= paid

    def insure(self, account: Value, product: Product) -> None:
        """Insurance pays what an account without collateral owes, as far as it goes."""
        payer = Product(len(Product) - 1) if self.root.bug == "insurance-of-another-product" else product
        paid = minimum(self.insurance[payer], self.entry[account, product])
        self.insurance[payer] -= paid
        self.clearing[product] += paid
        self.entry[account, product] -= paid

    def equity(self, account: Value, product: Product) -> Value:
        """Collateral and position at the mark, less its entry value."""
        position = self.position[account, product]
        return self.collateral[account, product] + position * self.mark[product] - self.entry[account, product]

    def is_below_maintenance(self, account: Value, product: Product) -> Condition:
        """Whether an account's equity in a product is below its maintenance margin."""
        needed = size_of(self.position[account, product]) * MAINTENANCE
        return self.equity(account, product) < needed

    def is_covered(self, account: Value, product: Product) -> Condition:
        """Whether insurance covers what an account lacks at the mark."""
        return self.equity(account, product) + self.insurance[product] >= 0

    def may_take(self, account: Value, product: Product, *, lots: Value, value: Value) -> Condition:
        """Whether an account may buy lots for a value.

        Its equity, less what the trade loses against the mark, must bear the larger of its position before and after;
        where the trade only makes the position smaller, it must bear the loss. What the trade earns does not count.
        """
        before, after = self.position[account, product], self.position[account, product] + lots
        left = self.equity(account, product) - maximum(0, value - lots * self.mark[product])
        falls = all_of(size_of(after) < size_of(before), left >= 0)
        return any_of(falls, left >= maximum(size_of(before), size_of(after)) * INITIAL)

    def house(self, asset: Asset) -> Value:
        """Collateral, insurance and what is in clearing, and what other parts hold."""
        others = super().house(asset)
        if asset != Asset.USDT:
            return others
        posted = total(self.collateral[account, product] for account in Account for product in Product)
        return others + posted + total(self.insurance[product] + self.clearing[product] for product in Product)

    def product_equals(self, other: "Positions", product: Product) -> Condition:
        """Whether everything of a product is as in another state."""
        return all_of(
            self.mark[product] == other.mark[product],
            self.stage[product] == other.stage[product],
            self.insurance[product] == other.insurance[product],
            self.clearing[product] == other.clearing[product],
            self.collateral.equals(other.collateral, product),
            self.position.equals(other.position, product),
            self.entry.equals(other.entry, product),
        )


MARGIN = (
    Kind.TRANSFER,
    Kind.MARK,
    Kind.OPEN_POSITION,
    Kind.LIQUIDATE,
    Kind.SETTLE,
    Kind.INSURE,
    Kind.FUND_INSURANCE,
    Kind.HALT_PRODUCT,
    Kind.RESUME_STAGE,
)


class Margin(Exchange):
    """Clients trade perpetuals; the venue marks, liquidates, insures, halts and resumes."""

    engine_record = Positions
    command_record = MarginCommand
    moves_between_clients = True
    live = Part(Positions)
    liquidated_wrongly = Bool.ghost()
    """Whether anybody was liquidated who should not have been."""
    liquidated_last = Bool.ghost()
    """Whether the last margin command was a liquidation."""
    insured_last = Bool.ghost()

    def counts(self) -> dict[type[Index], int]:
        """The sorts, and how many products there are."""
        return {**super().counts(), Product: self.parameters["products"]}

    def scope(self) -> dict[str, str]:
        """The limits of positions and values in a search."""
        return {
            **super().scope(),
            "lots of a position": f"at most {lots(self)}",
        }

    def positions(self) -> Positions:
        """The standing engine, with its positions."""
        engine = self.standing()
        assert isinstance(engine, Positions)
        return engine

    def concerning(self, kind: Kind, product: Product, account: Value | None = None) -> MarginCommand:
        """A command to fill in."""
        command = self.command(MarginCommand, kind)
        command.product = product
        if account is not None:
            command.account = account
        self.liquidated_last = kind == Kind.LIQUIDATE
        self.insured_last = False
        return command

    def can_liquidate(self) -> Condition:
        """Whether the venue has all that a liquidation needs besides the account's own state."""
        return self.operating()

    @action
    def transfer(self, account: Account, product: Product, amount: Amount, direction: Direction) -> None:
        """Margin moves between the wallet and a product, out of it only as far as it is not needed."""
        live = self.live
        self.require(self.allows(Kind.TRANSFER), live.stage[product] == Stage.OPEN)
        if direction == Direction.TO_PRODUCT:
            self.require(live.free[account, Asset.USDT] >= amount)
        else:
            flat = live.position[account, product] == 0
            self.require(
                live.collateral[account, product] >= amount,
                any_of(flat, live.mark[product] != UNAVAILABLE),
                live.equity(account, product) - amount >= size_of(live.position[account, product]) * INITIAL,
            )
        command = self.concerning(Kind.TRANSFER, product, account)
        command.amount = amount
        command.direction = direction
        self.submit(command)

    @action
    def set_mark(self, product: Product, price: Mark) -> None:
        """A product has a new mark, or none."""
        self.require(self.allows(Kind.MARK), self.live.mark[product] != price)
        command = self.concerning(Kind.MARK, product)
        command.agreed_price = price
        self.submit(command)

    @action
    def trade_position(self, buyer: Account, seller: Account, product: Product, price: Price, size: Lots) -> None:
        """Two accounts trade lots at a price: positions open, close or flip, as far as margin allows."""
        live = self.live
        self.require(
            self.allows(Kind.OPEN_POSITION),
            buyer != seller,
            live.stage[product] == Stage.OPEN,
            live.mark[product] != UNAVAILABLE,
            live.may_take(buyer, product, lots=size, value=price * size),
            live.may_take(seller, product, lots=-size, value=-(price * size)),
        )
        self._explored(buyer, seller, product, size, price * size)
        command = self.concerning(Kind.OPEN_POSITION, product, buyer)
        command.counterparty, command.amount, command.agreed_price = seller, size, price
        self.submit(command)

    def _explored(self, buyer: Value, seller: Value, product: Product, size: Value, value: Value) -> None:
        """A search stops at the largest position and entry value."""
        live = self.live
        self.explored_where(
            live.position[buyer, product] + size <= lots(self),
            live.position[seller, product] - size >= -lots(self),
            live.entry[buyer, product] + value <= value_max(self),
            live.entry[seller, product] - value >= -value_max(self),
        )

    @action
    def liquidate(self, account: Account, counterparty: Account, product: Product, side: Side) -> None:
        """One lot of an account below its maintenance margin is closed at the mark, while its owner could act."""
        live = self.live
        is_long = side == Side.LONG
        position, mark = live.position[account, product], live.mark[product]
        is_below = live.is_below_maintenance(account, product)
        may_act = live.stage[product] == Stage.OPEN
        self.require(
            self.allows(Kind.LIQUIDATE),
            self.can_liquidate() if self.bug != "liquidated-unloaded" else True,
            account != counterparty,
            position > 0 if is_long else position < 0,
            may_act if self.bug != "liquidated-in-a-halt" else True,
            mark != UNAVAILABLE if self.bug != "liquidated-without-a-mark" else True,
            is_below if self.bug != "liquidated-above-maintenance" else True,
            live.is_covered(account, product),
            live.may_take(counterparty, product, lots=1 if is_long else -1, value=mark if is_long else -mark),
        )
        buyer, seller = (counterparty, account) if is_long else (account, counterparty)
        self._explored(buyer, seller, product, 1, mark)
        justified = all_of(is_below, may_act, mark != UNAVAILABLE)
        self.liquidated_wrongly = any_of(self.liquidated_wrongly, negation(justified))
        command = self.concerning(Kind.LIQUIDATE, product, buyer)
        command.counterparty, command.amount = seller, 1
        self.submit(command)

    @action
    def settle(self, account: Account, product: Product) -> None:
        """An account without a position pays what it can of its loss, or is paid its profit out of such payments."""
        live = self.live
        owed = live.entry[account, product]
        paid_for = all_of(owed < 0, live.clearing[product] + owed >= 0)
        payable = any_of(paid_for, all_of(owed > 0, live.collateral[account, product] > 0))
        self.require(self.allows(Kind.SETTLE), live.position[account, product] == 0, payable)
        self.submit(self.concerning(Kind.SETTLE, product, account))

    @action
    def insure(self, account: Account, product: Product) -> None:
        """Insurance pays for an account that has neither a position nor collateral left."""
        live = self.live
        self.require(
            self.allows(Kind.INSURE),
            live.position[account, product] == 0,
            live.collateral[account, product] == 0,
            live.entry[account, product] > 0,
            live.insurance[product] > 0,
        )
        command = self.concerning(Kind.INSURE, product, account)
        self.insured_last = True
        self.submit(command)

    @action
    def fund_insurance(self, account: Account, product: Product, amount: Amount) -> None:
        """Whoever backs a product's insurance pays into it."""
        self.require(self.allows(Kind.FUND_INSURANCE), self.live.free[account, Asset.USDT] >= amount)
        command = self.concerning(Kind.FUND_INSURANCE, product, account)
        command.amount = amount
        self.submit(command)

    @action
    def halt_product(self, product: Product) -> None:
        """A product is halted: orders and positions stay, nothing is liquidated."""
        self.require(self.allows(Kind.HALT_PRODUCT), self.live.stage[product] != Stage.HALTED)
        self.submit(self.concerning(Kind.HALT_PRODUCT, product))

    @action
    def resume_stage(self, product: Product) -> None:
        """A halted product goes on by one stage; opening it needs a mark."""
        stage = self.live.stage[product]
        self.require(
            self.allows(Kind.RESUME_STAGE),
            stage != Stage.OPEN,
            any_of(stage != Stage.POST_ONLY, self.live.mark[product] != UNAVAILABLE),
        )
        self.submit(self.concerning(Kind.RESUME_STAGE, product))

    @always("POS-2")
    def positions_sum_to_zero(self, product: Product) -> Condition:
        """The positions of a product sum to zero, and so do their entry values with what was settled of them."""
        engine = self.positions()
        return all_of(
            total(engine.position[account, product] for account in Account) == 0,
            total(engine.entry[account, product] for account in Account) + engine.clearing[product] == 0,
        )

    @always("CONS-2")
    def collateral_is_not_negative(self, account: Account, product: Product) -> Condition:
        """Neither collateral nor insurance is below zero."""
        live = self.live
        return all_of(live.collateral[account, product] >= 0, live.insurance[product] >= 0)

    @always("LIQ-1")
    def liquidations_are_justified(self) -> Condition:
        """Whoever was liquidated was below maintenance at an available mark, and could act."""
        return negation(self.liquidated_wrongly)

    @step("LIQ-1")
    def nobody_moves_while_halted(self, after: Self, account: Account, product: Product) -> Condition:
        """No position changes while its product is not open."""
        one, other = self.positions(), after.positions()
        return implies(
            one.stage[product] != Stage.OPEN, one.position[account, product] == other.position[account, product]
        )

    @step("ISOL-1")
    def products_are_isolated(self, after: Self) -> Condition:
        """A step that changes anything of one product changes nothing of another."""
        one, other = self.positions(), after.positions()
        kept = [one.product_equals(other, product) for product in Product]
        return all_of(*(any_of(kept[first], kept[second]) for second in range(len(kept)) for first in range(second)))

    @sometimes("liquidated")
    def somebody_is_liquidated(self) -> Condition:
        """Somebody was liquidated."""
        return self.liquidated_last

    @sometimes("below-maintenance-in-a-halt")
    def below_maintenance_in_a_halt(self, account: Account, product: Product) -> Condition:
        """In a halt an account is below its maintenance margin at the mark, and nobody liquidates it."""
        live = self.live
        return all_of(
            live.stage[product] == Stage.HALTED,
            live.mark[product] != UNAVAILABLE,
            live.position[account, product] != 0,
            live.is_below_maintenance(account, product),
        )

    @sometimes("insurance-paid", meant_for=lambda spec: min(spec.amounts, prices(spec)) > INITIAL + 1)
    def insurance_paid(self) -> Condition:
        """Insurance paid for an account that had nothing left."""
        return self.insured_last

    @sometimes("one-product-halted-the-other-trades", meant_for=lambda spec: spec.parameters["products"] > 1)
    def one_halted_the_other_trades(self) -> Condition:
        """One product is halted with a client's collateral in it, and in the other the client has a position."""
        live = self.live
        first = Account(0)
        return exists(
            all_of(
                live.stage[halted] == Stage.HALTED,
                live.collateral[first, halted] > 0,
                live.stage[other] == Stage.OPEN,
                live.position[first, other] != 0,
            )
            for halted in Product
            for other in Product
            if halted != other
        )

    @eventually("LIVE-1")
    def a_halt_can_end(self, product: Product) -> Response:
        """A halted product can always be opened again."""
        return Response(
            whenever=all_of(self.operating(), self.live.stage[product] != Stage.OPEN),
            then=self.live.stage[product] == Stage.OPEN,
        )
