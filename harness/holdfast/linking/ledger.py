"""The ledger: balances, the world outside, and deposits and withdrawals as an operator enters them."""

from collections.abc import Mapping, Sequence
from random import Random

from holdfast.linking.rules import ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.world import World, was_refused
from holdfast_model.specs.exchange.ledger import Account, Asset, Exchange, Funds, Kind
from holdfast_model.vocabulary import (
    ARRIVING,
    CLEARING,
    INSURANCE,
    OUTSIDE,
    Amount,
    Bucket,
    CreditDeposit,
    FundHouse,
    JournalRecord,
    PayWithdrawal,
    RequestWithdrawal,
    View,
)

UNNAMED = "(balances that the model does not have)"
NAMED_ACCOUNTS = (OUTSIDE, ARRIVING, INSURANCE, CLEARING)


class LedgerLink(Subject):
    """Balances of clients, and that nobody has anything but whom some part of the model names."""

    part = Exchange
    variables = (
        VariableRule("free", Reading.SHOWN, "view: the client's balance, bucket `free`"),
        VariableRule("held", Reading.SHOWN, "view: the client's balance, bucket `held`"),
        VariableRule("kind", Reading.SHOWN, "journal since the snapshot: what was decided (in the log)"),
        VariableRule("account", Reading.SHOWN, "journal: the client of the command (in the log)"),
        VariableRule("asset", Reading.SHOWN, "journal: its asset (in the log)"),
        VariableRule("amount", Reading.SHOWN, "journal: its amount or size (in the log)"),
    )

    def fields(self, world: World, view: View) -> Values:
        """Free and held by client and asset, and what is left over."""
        found: Values = {UNNAMED: 0}
        for client in world.clients:
            for asset in Asset:
                found[f"free[{client}, {asset}]"] = world.balance(view, client, Bucket.FREE, asset)
                found[f"held[{client}, {asset}]"] = world.balance(view, client, Bucket.HELD, asset)
        for item in view.balances:
            if item.account in world.clients:
                known = item.bucket in {Bucket.FREE, Bucket.HELD}
            else:
                known = item.account in NAMED_ACCOUNTS or item.bucket is Bucket.COLLATERAL
            found[UNNAMED] += 0 if known else abs(item.amount)
        return found

    def together(self, world: World, state: Mapping[str, int]) -> Values:
        """Nothing is left over, in no copy of the engine."""
        del state
        return {f"{copy}.{UNNAMED}": 0 for copy in world.copies()}


def _deposit(world: World, taken: Taken) -> None:
    arguments = taken.arguments
    world.do(
        CreditDeposit(
            client=world.clients[arguments["account"]],
            asset=str(Asset(arguments["asset"])),
            amount=Amount(arguments["amount"]),
            transaction=world.fresh("t"),
        )
    )


def _withdraw(world: World, taken: Taken) -> None:
    arguments = taken.arguments
    client, withdrawal = world.clients[arguments["account"]], world.fresh("w")
    asset = str(Asset(arguments["asset"]))
    world.do(
        RequestWithdrawal(client=client, withdrawal=withdrawal, asset=asset, amount=Amount(arguments["amount"])),
        PayWithdrawal(client=client, withdrawal=withdrawal),
    )


def _funds_the_house(world: World, withdrawal: str) -> bool:
    """Whether what was withdrawn was paid into a house account: then it is one command of the model with that."""
    return any(
        isinstance(record.command, FundHouse) and record.command.transaction.endswith(f"/{withdrawal}")
        for record in world.records
    )


class FundsLink(Subject):
    """Deposits and withdrawals where a slice says nothing of chains."""

    part = Funds
    variables = (VariableRule("outside", Reading.SHOWN, "view: minus the balance of `@outside`", of_engine=False),)
    actions = (
        ActionRule("deposit", "`CreditDeposit`, each of a transaction of its own", _deposit),
        ActionRule("withdraw", "`RequestWithdrawal`, then `PayWithdrawal` of the same", _withdraw, rarity=6),
    )

    def beside(self, world: World) -> Values:
        """What came in less what went out."""
        return {f"outside[{asset}]": -world.balance(world.view, OUTSIDE, Bucket.FREE, asset) for asset in Asset}

    def logged(self, world: World, record: JournalRecord) -> Sequence[Values]:
        """A deposit; of a withdrawal its payment, with which it leaves."""
        if was_refused(record):
            return ()
        match record.command:
            case CreditDeposit(client=client, asset=asset, amount=amount):
                kind = Kind.DEPOSIT
            case PayWithdrawal(client=client, withdrawal=withdrawal) if not _funds_the_house(world, withdrawal):
                (asked,) = (
                    item.command
                    for item in world.records
                    if isinstance(item.command, RequestWithdrawal) and item.command.withdrawal == withdrawal
                )
                asset, amount, kind = asked.asset, asked.amount, Kind.WITHDRAW
            case _:
                return ()
        return ({"kind": kind, "account": world.clients.index(client), "asset": Asset[asset], "amount": amount},)

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """A deposit of whatever is within the model's amounts; a withdrawal of whatever anybody may ask for."""
        arguments = {
            "account": random.randrange(len(world.names(Account))),
            "asset": random.choice(list(Asset)),
            "amount": random.randint(1, world.parameter("amounts")),
        }
        taken = Taken(arguments, {}, {})
        return (
            Move("deposit", lambda world: _deposit(world, taken), ((By("deposit", arguments),),), 1),
            Move("withdraw", lambda world: _withdraw(world, taken), ((By("withdraw", arguments),),), 1, weight=0.4),
        )
