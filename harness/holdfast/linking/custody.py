"""Custody: the chain, its provider and the signers are played by the link; all that the exchange knows is compared.

The model has one chain for all assets, so that what its provider reports is reported for each asset.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from holdfast.linking.chain import Sent
from holdfast.linking.custody_told import Told, rank, told_of_custody, withdrawal_of
from holdfast.linking.rules import MISSING, ActionRule, By, Move, Reading, Subject, Taken, Values, VariableRule
from holdfast.linking.scope import ASSETS
from holdfast.linking.world import World, was_refused
from holdfast_model.specs.exchange.custody import Custody, DepositStatus, PaymentStatus, Signer, Transaction
from holdfast_model.specs.exchange.custody import Deposit as ModelDeposit
from holdfast_model.specs.exchange.custody import Payment as ModelPayment
from holdfast_model.specs.exchange.ledger import Account, Asset, Kind
from holdfast_model.vocabulary import (
    ARRIVING,
    Amount,
    ApproveWithdrawal,
    BroadcastPayment,
    Bucket,
    Command,
    CommitNonce,
    JournalRecord,
    Phase,
    RefundWithdrawal,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    RestartSigning,
    SetProvider,
    SubmitShare,
    SuspendAsset,
    View,
    WithdrawalStatus,
)
from holdfast_model.vocabulary import PaymentStatus as ShownStatus

LAST_ASSET = ASSETS[-1]
UNDER_WAY = {
    ShownStatus.APPROVED: PaymentStatus.APPROVED,
    ShownStatus.SIGNING: PaymentStatus.SIGNING,
    ShownStatus.SIGNED: PaymentStatus.SIGNED,
    ShownStatus.BROADCAST: PaymentStatus.BROADCAST,
    ShownStatus.INCLUDED: PaymentStatus.INCLUDED,
}
ENDED = {
    WithdrawalStatus.REQUESTED: PaymentStatus.REQUESTED,
    WithdrawalStatus.PAID: PaymentStatus.PAID,
    WithdrawalStatus.REFUNDED: PaymentStatus.REFUNDED,
}
FITTING: dict[PaymentStatus, set[str]] = {
    PaymentStatus.NONE: {"request_withdrawal", "resume_asset"},
    PaymentStatus.REQUESTED: {"approve_withdrawal", "resume_asset"},
    PaymentStatus.APPROVED: {"commit_nonce"},
    PaymentStatus.SIGNING: {"submit_share"},
    PaymentStatus.SIGNED: {"broadcast_payment", "resume_asset"},
    PaymentStatus.BROADCAST: set(),
    PaymentStatus.INCLUDED: set(),
    PaymentStatus.PAID: {"request_withdrawal"},
    PaymentStatus.REFUNDED: {"request_withdrawal"},
}
"""What gets a payment further; everything else is asked for rarely."""
HALTED = "(halted)"
RARELY = 0.15


def _same(values: Sequence[int]) -> int:
    """What all assets have in common, who share one chain in the model."""
    return values[0] if len(set(values)) == 1 else MISSING


class CustodyLink(Subject):
    """Deposits, payments, the chain and the signers."""

    part = Custody
    variables = (
        VariableRule("tip", Reading.SHOWN, "view: the height of the chains, the same for all assets"),
        VariableRule("suspended", Reading.SHOWN, "view: deposits and withdrawals are closed, of all assets"),
        VariableRule("mismatch", Reading.SHOWN, "journal: a `MismatchFound` was told"),
        VariableRule("custody", Reading.SHOWN, "view: what the tier holds; not compared once a mismatch stands"),
        VariableRule("arriving", Reading.SHOWN, "view: the balance of `@arriving`"),
        VariableRule(
            "deposit_status",
            Reading.SHOWN,
            "view: seen or final if it is pending there; else journal: credited, orphaned or unknown",
        ),
        VariableRule("deposit_height", Reading.SHOWN, "journal: where it was last seen"),
        VariableRule("deposit_account", Reading.SHOWN, "journal: as it was last seen"),
        VariableRule("deposit_asset", Reading.SHOWN, "journal: as it was last seen"),
        VariableRule("deposit_amount", Reading.SHOWN, "journal: as it was last seen"),
        VariableRule("arrived", Reading.SHOWN, "journal: it became final"),
        VariableRule("credits", Reading.SHOWN, "journal: how often it was credited"),
        VariableRule(
            "payment_status", Reading.SHOWN, "view: of the payment while it is under way, else of the withdrawal"
        ),
        VariableRule("payment_account", Reading.SHOWN, "view: the withdrawal's client"),
        VariableRule("payment_asset", Reading.SHOWN, "view: the withdrawal's asset"),
        VariableRule("payment_amount", Reading.SHOWN, "view: the withdrawal's amount"),
        VariableRule("payment_height", Reading.SHOWN, "journal: where it is included"),
        VariableRule(
            "commitment", Reading.SHOWN, "journal: the commitment of this attempt, by its rank among the signer's"
        ),
        VariableRule("signed", Reading.SHOWN, "journal: the signer's share of this attempt was received"),
        VariableRule("shares", Reading.SHOWN, "journal: how many shares of this attempt were received"),
        VariableRule("deposit", Reading.SHOWN, "journal: its transaction (in the log)"),
        VariableRule("payment", Reading.SHOWN, "journal: its payment (in the log)"),
        VariableRule("signer", Reading.SHOWN, "journal: its signer (in the log)"),
        VariableRule("height", Reading.SHOWN, "journal: its height (in the log)"),
        VariableRule("nonce", Reading.SHOWN, "journal: its commitment, by rank (in the log)"),
        VariableRule("provider_up", Reading.SHOWN, "view: the provider is up, for all assets", of_engine=False),
        VariableRule("chain_tip", Reading.OUTSIDE, "the chain that the link plays", of_engine=False),
        VariableRule("fork", Reading.OUTSIDE, "the chain: what its provider has not told yet", of_engine=False),
        VariableRule("sent_account", Reading.OUTSIDE, "the chain", of_engine=False),
        VariableRule("sent_asset", Reading.OUTSIDE, "the chain", of_engine=False),
        VariableRule("sent_amount", Reading.OUTSIDE, "the chain", of_engine=False),
        VariableRule("chain_height", Reading.OUTSIDE, "the chain", of_engine=False),
        VariableRule("included_at", Reading.OUTSIDE, "the chain", of_engine=False),
        VariableRule("changed", Reading.OUTSIDE, "the chain", of_engine=False),
        VariableRule("published", Reading.SHOWN, "journal: the payment was broadcast", of_engine=False),
        VariableRule(
            "nonces_made",
            Reading.SHOWN,
            "journal: how many commitments of the signer were taken in; it makes one when it is asked",
            of_engine=False,
        ),
    )

    def fields(self, world: World, view: View) -> Values:
        """What the exchange knows of chains, deposits and payments."""
        told = told_of_custody(world, view.seq)
        found: Values = {
            "tip": _same([chain.height for chain in view.chains]),
            "suspended": _same(
                [
                    MISSING if chain.deposits_open is not chain.withdrawals_open else int(not chain.deposits_open)
                    for chain in view.chains
                ]
            ),
            "mismatch": int(told.mismatch),
        }
        for asset in ASSETS:
            found[f"arriving[{asset}]"] = world.balance(view, ARRIVING, Bucket.FREE, asset)
            if not told.mismatch:
                found[f"custody[{asset}]"] = sum(item.amount for item in view.custody if item.asset == asset)
        for deposit in world.names(ModelDeposit):
            found |= self._deposit(world, view, told, deposit)
        for payment in world.names(ModelPayment):
            found |= self._payment(world, view, told, payment)
        return found

    @staticmethod
    def _deposit(world: World, view: View, told: Told, name: str) -> Values:
        known = told.deposits.get(name)
        values = [int(DepositStatus.UNKNOWN), 0, 0, 0, 0, 0, 0]
        if known is not None:
            place = world.clients.index(known.client), int(Asset[known.asset])
            status = int(known.status)
            pending = [item for item in view.deposits if item.transaction == name]
            if pending:
                status = int(DepositStatus.FINAL if pending[0].final else DepositStatus.SEEN)
            elif known.status in {DepositStatus.SEEN, DepositStatus.FINAL}:
                status = MISSING
            values = [status, known.height, *place, known.amount, int(known.arrived), min(2, known.credits)]
        names = ("status", "height", "account", "asset", "amount")
        found = {f"deposit_{each}[{name}]": value for each, value in zip(names, values[:5], strict=True)}
        return found | {f"arrived[{name}]": values[5], f"credits[{name}]": values[6]}

    @staticmethod
    def _payment(world: World, view: View, told: Told, name: str) -> Values:
        shown = [item for item in view.withdrawals if item.withdrawal == name]
        known = told.payments.get(name)
        status, account, asset, amount = int(PaymentStatus.NONE), 0, 0, 0
        if known is not None:
            status = MISSING
        if shown:
            (item,) = shown
            under_way = [one for one in view.payments if one.intent.payment == f"{item.client}/{name}"]
            if item.status in ENDED:
                status = int(ENDED[item.status])
            elif under_way:
                status = int(UNDER_WAY[under_way[0].status])
            account, asset, amount = world.clients.index(item.client), int(Asset[item.asset]), item.amount
        found: Values = {
            f"payment_status[{name}]": status,
            f"payment_account[{name}]": account,
            f"payment_asset[{name}]": asset,
            f"payment_amount[{name}]": amount,
            f"payment_height[{name}]": 0 if known is None else known.height,
            f"shares[{name}]": 0 if known is None else len(known.shares),
        }
        for signer in world.names(Signer):
            commitment = None if known is None else known.commitments.get(signer)
            found[f"commitment[{name}, {signer}]"] = rank(told, signer, commitment)
            found[f"signed[{name}, {signer}]"] = int(known is not None and signer in known.shares)
        return found

    def beside(self, world: World) -> Values:
        """The chain, and what went out to it."""
        chain, told = world.chain, told_of_custody(world, world.view.seq)
        found: Values = {"chain_tip": chain.tip, "fork": chain.fork}
        if world.has_primary:
            found[HALTED] = int(world.view.phase is Phase.HALTED)
        if not world.down and not world.pending:
            found["provider_up"] = _same([int(item.provider_up) for item in world.view.chains])
        for deposit in world.names(ModelDeposit):
            sent = chain.sent.get(deposit)
            found |= {
                f"sent_account[{deposit}]": 0 if sent is None else world.clients.index(sent.client),
                f"sent_asset[{deposit}]": 0 if sent is None else int(Asset[sent.asset]),
                f"sent_amount[{deposit}]": 0 if sent is None else sent.amount,
                f"chain_height[{deposit}]": chain.deposits.get(deposit, 0),
            }
        for payment in world.names(ModelPayment):
            known = told.payments.get(payment)
            found |= {
                f"published[{payment}]": int(known is not None and known.is_published),
                f"included_at[{payment}]": chain.payments.get(payment, 0),
                f"changed[{payment}]": int(
                    Transaction.CHANGED if chain.changed.get(payment) else Transaction.AS_BROADCAST
                ),
            }
        return found | {f"nonces_made[{name}]": len(told.nonces.get(name, ())) for name in world.names(Signer)}

    def together(self, world: World, state: Mapping[str, int]) -> Values:
        """It halts itself with a mismatch, and for nothing else in the models."""
        del world
        return {HALTED: state["live.mismatch"]}

    def logged(self, world: World, record: JournalRecord) -> Sequence[Values]:
        """What the chain and its payments are told; of what is told for each asset the last."""
        command = record.command
        if was_refused(record):
            return ()
        match command:
            case ReportBlock() | ReportReorganisation() if command.asset == LAST_ASSET:
                is_block = isinstance(command, ReportBlock)
                kind = Kind.REPORT_BLOCK if is_block else Kind.REPORT_REORGANISATION
                return ({"kind": kind, "height": command.height},)
            case SuspendAsset() if command.asset == LAST_ASSET:
                return ({"kind": Kind.RESUME_ASSET if command.deposits_open else Kind.SUSPEND_ASSET},)
            case ReportDeposit():
                found: Values = {
                    "kind": Kind.REPORT_DEPOSIT,
                    "deposit": world.names(ModelDeposit).index(command.transaction),
                    "account": world.clients.index(command.client),
                    "asset": Asset[command.asset],
                    "amount": command.amount,
                    "height": command.height,
                }
                return (found,)
            case RequestWithdrawal():
                found = {
                    "kind": Kind.REQUEST_WITHDRAWAL,
                    "payment": world.names(ModelPayment).index(command.withdrawal),
                    "account": world.clients.index(command.client),
                    "asset": Asset[command.asset],
                    "amount": command.amount,
                }
                return (found,)
            case _:
                return _logged_of_payment(world, command)

    def moves(self, world: World, random: Random) -> Sequence[Move]:
        """What the chain does, what its honest provider tells, and whatever is asked of payments."""
        if world.down:
            return ()
        return (*_moves_of_the_chain(world, random), *_moves_of_payments(world, random))


def _logged_of_payment(world: World, command: Command) -> Sequence[Values]:
    kinds: dict[type, Kind] = {
        ApproveWithdrawal: Kind.APPROVE_WITHDRAWAL,
        RefundWithdrawal: Kind.REFUND_WITHDRAWAL,
        CommitNonce: Kind.COMMIT_NONCE,
        SubmitShare: Kind.SUBMIT_SHARE,
        RestartSigning: Kind.RESTART_SIGNING,
        BroadcastPayment: Kind.BROADCAST_PAYMENT,
        ReportPayment: Kind.REPORT_PAYMENT,
    }
    if type(command) not in kinds:
        return ()
    payments, signers = world.names(ModelPayment), world.names(Signer)
    found: Values = {"kind": kinds[type(command)]}
    match command:
        case ApproveWithdrawal() | RefundWithdrawal():
            found["payment"] = payments.index(command.withdrawal)
        case CommitNonce():
            found["payment"] = payments.index(withdrawal_of(command.payment))
            found["signer"] = signers.index(command.signer)
            found["nonce"] = rank(told_of_custody(world, world.view.seq), command.signer, command.commitment)
        case SubmitShare():
            found["payment"] = payments.index(withdrawal_of(command.payment))
            found["signer"] = signers.index(command.signer)
        case RestartSigning() | BroadcastPayment():
            found["payment"] = payments.index(withdrawal_of(command.payment))
        case ReportPayment():
            found["payment"] = payments.index(withdrawal_of(command.payment))
            found["height"] = command.height
        case _:
            pass
    return (found,)


# The concretisation -----------------------------------------------------------------------------------------------


def _deposit_of(world: World, taken: Taken) -> str:
    return world.names(ModelDeposit)[taken.arguments["deposit"]]


def _payment_of(world: World, taken: Taken) -> str:
    return world.names(ModelPayment)[taken.arguments["payment"]]


def _name_of(world: World, payment: str) -> str:
    """The payment's name: of the client who asked for it."""
    known = told_of_custody(world, world.view.seq).payments.get(payment)
    return f"{world.clients[0] if known is None else known.client}/{payment}"


def _send(world: World, taken: Taken) -> None:
    arguments = taken.arguments
    sent = Sent(world.clients[arguments["account"]], ASSETS[arguments["asset"]], arguments["amount"])
    world.chain.send(_deposit_of(world, taken), sent)


def _set_provider(world: World, *, up: bool) -> None:
    world.chain.provider_up = up
    for asset in ASSETS:
        world.tell(SetProvider(asset=asset, up=up))


def _report_block(world: World, _: Taken) -> None:
    height = min(chain.height for chain in world.view.chains) + 1
    if world.are_accepted(*(ReportBlock(asset=asset, height=height) for asset in ASSETS)):
        world.chain.fork = 0


def _report_deposit(world: World, taken: Taken) -> None:
    deposit = _deposit_of(world, taken)
    sent = world.chain.sent[deposit]
    world.do(
        ReportDeposit(
            asset=sent.asset,
            transaction=deposit,
            client=sent.client,
            amount=Amount(sent.amount),
            height=world.chain.deposits[deposit],
        )
    )


def _report_reorganisation(world: World, _: Taken) -> None:
    if world.are_accepted(*(ReportReorganisation(asset=asset, height=world.chain.fork) for asset in ASSETS)):
        world.chain.fork = 0


def _report_payment(world: World, taken: Taken) -> None:
    payment = _payment_of(world, taken)
    known = told_of_custody(world, world.view.seq).payments[payment]
    transaction = f"{payment}-changed" if world.chain.changed[payment] else known.transaction
    name = _name_of(world, payment)
    world.do(ReportPayment(payment=name, transaction=transaction, height=world.chain.payments[payment]))


def _suspend(world: World, *, is_open: bool) -> None:
    world.do(*(SuspendAsset(asset=asset, deposits_open=is_open, withdrawals_open=is_open) for asset in ASSETS))


def _request(world: World, taken: Taken) -> None:
    arguments = taken.arguments
    client = world.clients[arguments["account"]]
    world.do(
        RequestWithdrawal(
            client=client,
            withdrawal=_payment_of(world, taken),
            asset=ASSETS[arguments["asset"]],
            amount=Amount(arguments["amount"]),
            destination=f"{client}-elsewhere",
        )
    )


def _approve(world: World, taken: Taken) -> None:
    client, _, withdrawal = _name_of(world, _payment_of(world, taken)).partition("/")
    world.do(ApproveWithdrawal(client=client, withdrawal=withdrawal))


def _refund(world: World, taken: Taken) -> None:
    client, _, withdrawal = _name_of(world, _payment_of(world, taken)).partition("/")
    world.do(RefundWithdrawal(client=client, withdrawal=withdrawal))


def _say(world: World, taken: Taken, *, share: bool) -> None:
    """A signer says what it has to say: a commitment, or a share."""
    parties, payment = world.runner.known.parties, _name_of(world, _payment_of(world, taken))
    signer = world.names(Signer)[taken.arguments["signer"]]
    assert parties is not None, "the setup has custody"
    if payment not in parties.signings:
        world.surprises.append(f"{payment} was not approved")
        return
    said = parties.share(payment, signer) if share else parties.commitment(payment, signer)
    if said is None:
        world.surprises.append(f"signer {signer} refuses")
    else:
        world.do(said)


def _with_payment(command: Callable[..., Command]) -> Callable[[World, Taken], None]:
    """What gives a command about the payment."""

    def act(world: World, taken: Taken) -> None:
        world.do(command(payment=_name_of(world, _payment_of(world, taken))))

    return act


CustodyLink.actions = (
    ActionRule("mine", "the chain grows", lambda world, _: world.chain.mine()),
    ActionRule("send_deposit", "the chain takes it in", _send),
    ActionRule(
        "include_deposit",
        "the chain takes it in again",
        lambda world, taken: world.chain.include_deposit(_deposit_of(world, taken)),
    ),
    ActionRule(
        "include_payment",
        "the chain takes it in",
        lambda world, taken: world.chain.include_payment(
            _payment_of(world, taken), changed=taken.arguments["identity"] == Transaction.CHANGED
        ),
    ),
    ActionRule(
        "replace_blocks",
        "the chain loses its last blocks",
        lambda world, taken: world.chain.replace(taken.arguments["height"]),
        rarity=8,
    ),
    ActionRule(
        "lose_provider",
        "`SetProvider` down, for each asset, as soon as the exchange acts",
        lambda world, _: _set_provider(world, up=False),
        rarity=8,
    ),
    ActionRule(
        "regain_provider",
        "`SetProvider` up, for each asset, as soon as the exchange acts",
        lambda world, _: _set_provider(world, up=True),
    ),
    ActionRule("report_block", "`ReportBlock` of the next height, for each asset", _report_block),
    ActionRule("report_deposit", "`ReportDeposit`", _report_deposit),
    ActionRule(
        "report_reorganisation", "`ReportReorganisation` from the fork on, for each asset", _report_reorganisation
    ),
    ActionRule("report_payment", "`ReportPayment`, under the broadcast or another transaction id", _report_payment),
    ActionRule(
        "suspend_asset",
        "`SuspendAsset` both ways, for each asset",
        lambda world, _: _suspend(world, is_open=False),
        rarity=8,
    ),
    ActionRule(
        "resume_asset", "`SuspendAsset` neither way, for each asset", lambda world, _: _suspend(world, is_open=True)
    ),
    ActionRule("request_withdrawal", "`RequestWithdrawal`", _request),
    ActionRule("approve_withdrawal", "`ApproveWithdrawal`", _approve),
    ActionRule("refund_withdrawal", "`RefundWithdrawal`", _refund, rarity=8),
    ActionRule(
        "commit_nonce",
        "`CommitNonce` with what the signer says",
        lambda world, taken: _say(world, taken, share=False),
    ),
    ActionRule(
        "submit_share", "`SubmitShare` with what the signer says", lambda world, taken: _say(world, taken, share=True)
    ),
    ActionRule("restart_signing", "`RestartSigning`", _with_payment(RestartSigning), rarity=4),
    ActionRule("broadcast_payment", "`BroadcastPayment`", _with_payment(BroadcastPayment)),
)


# The moves --------------------------------------------------------------------------------------------------------


def _moves_of_the_chain(world: World, random: Random) -> list[Move]:
    chain = world.chain
    can_confirm = chain.tip + world.parameter("confirmations") <= world.parameter("blocks") + 1
    found: list[Move] = []

    if chain.tip < world.parameter("blocks"):
        found.append(_offer("mine", {}))
    for number, deposit in enumerate(world.names(ModelDeposit)):
        if deposit not in chain.sent and can_confirm and chain.tip:
            arguments = {
                "deposit": number,
                "account": random.randrange(len(world.names(Account))),
                "asset": random.randrange(len(ASSETS)) if world.parameter("assets") == len(ASSETS) else Asset.USDT,
                "amount": random.randint(1, world.parameter("amounts")),
            }
            found.append(_offer("send_deposit", {**arguments, "asset": int(arguments["asset"])}))
        elif deposit in chain.sent and not chain.deposits[deposit] and can_confirm and chain.tip:
            found.append(_offer("include_deposit", {"deposit": number}))
    told = told_of_custody(world, world.view.seq)
    for number, payment in enumerate(world.names(ModelPayment)):
        known = told.payments.get(payment)
        if known is not None and known.is_published and not chain.payments.get(payment) and can_confirm and chain.tip:
            found.append(_offer("include_payment", {"payment": number, "identity": random.randrange(2)}))
    if chain.tip and random.random() < RARELY:
        found.append(_offer("replace_blocks", {"height": random.randint(1, chain.tip)}))
    if random.random() < (RARELY if chain.provider_up else 1):
        found.append(_offer("lose_provider" if chain.provider_up else "regain_provider", {}))
    return found + _moves_of_the_provider(world)


def _moves_of_the_provider(world: World) -> list[Move]:
    """What an honest provider tells: a reorganisation before anything else, and nothing that is not on its chain."""
    chain, height = world.chain, min(item.height for item in world.view.chains)
    if chain.fork and chain.fork <= height:
        return [_offer("report_reorganisation", {}, logged=1)]
    found = [_offer("report_block", {}, logged=1)] if height < chain.tip else []
    for number, deposit in enumerate(world.names(ModelDeposit)):
        if chain.deposits.get(deposit):
            found.append(_offer("report_deposit", {"deposit": number}, logged=1))
    for number, payment in enumerate(world.names(ModelPayment)):
        if chain.payments.get(payment):
            found.append(_offer("report_payment", {"payment": number}, logged=1))
    return found


def _offer(action: str, arguments: Mapping[str, int], *, logged: int = 0) -> Move:
    """What carries out an action, whose explanation it is."""
    (rule,) = (rule for rule in CustodyLink.actions if rule.action == action)
    act, taken = rule.act, Taken(arguments, {}, {})
    assert act is not None
    said = action in {"commit_nonce", "submit_share", "resume_asset"}
    explained = ((By(action, arguments),),)
    return Move(action, lambda world: act(world, taken), explained, logged, weight=4 if said else 1)


def _moves_of_payments(world: World, random: Random) -> Sequence[Move]:
    told = told_of_custody(world, world.view.seq)
    parties = world.runner.known.parties
    assert parties is not None, "the setup has custody"
    payment = random.randrange(len(world.names(ModelPayment)))
    signer = random.randrange(len(world.names(Signer)))
    name = world.names(ModelPayment)[payment]
    is_open = all(chain.deposits_open for chain in world.view.chains)
    arguments: dict[str, dict[str, int]] = {"suspend_asset" if is_open else "resume_asset": {}}
    if name not in told.payments:
        arguments["request_withdrawal"] = {
            "payment": payment,
            "account": random.randrange(len(world.names(Account))),
            "asset": random.randrange(len(ASSETS)),
            "amount": random.randint(1, world.parameter("amounts")),
        }
    for action in ("approve_withdrawal", "refund_withdrawal", "restart_signing", "broadcast_payment"):
        arguments[action] = {"payment": payment}
    signing = parties.signings.get(_name_of(world, name))
    if signing is not None and not signing.over:
        said = "submit_share" if world.names(Signer)[signer] in signing.asked else "commit_nonce"
        if said == "submit_share" or not signing.asked:
            arguments[said] = {"payment": payment, "signer": signer}
    status = PaymentStatus(max(0, world.fields_at(world.view.seq)[f"payment_status[{name}]"]))
    return [
        _offer(action, each, logged=1)
        for action, each in arguments.items()
        if action in FITTING[status] or random.random() < RARELY
    ]
