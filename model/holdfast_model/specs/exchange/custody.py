"""Custody: deposits and withdrawals over a chain, and signing by a quorum of outside parties.

A deposit is seen, final and credited once; a reorganisation orphans what was only seen. A withdrawal is requested,
approved, committed to and signed by `threshold` distinct signers, broadcast, included under whatever transaction id,
and paid; or it is refunded. The chain and the signers are outside of the venue: no crash and no restore changes them.
The engine knows the chain only by reports, and none arrives while the provider is down.

Abstracted away: one chain for all assets; one tier, so neither limits nor time locks nor sweeps; fees; what follows a
mismatch (the venue stays halted); the cryptography (a nonce is the number of times that a signer has made one, shares
are valid, and a signer stores one outstanding nonce, which a new one replaces). Amendments of an approved payment do
not exist, so the intent is the amount, asset and owner as requested. Attempts are not numbered: giving up one that
nobody has begun is a command like any other, and changes nothing but the log.
"""

from collections.abc import Iterable
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
    Response,
    Value,
    action,
    all_of,
    always,
    any_of,
    auxiliary,
    eventually,
    implies,
    ite,
    negation,
    sometimes,
    step,
    total,
)
from holdfast_model.specs.exchange.ledger import Account, Amount, Asset, Command, Engine, Exchange, Kind, explored


class Deposit(Index, prefix="d"):
    """A transaction of somebody to the venue."""


class Payment(Index, prefix="w"):
    """A withdrawal, and the payment that it becomes."""


class Signer(Index, prefix="s"):
    """An outside party with a share of the key and a durable store of its own."""


class DepositStatus(Enumeration):
    """What the venue knows of a deposit."""

    UNKNOWN = auto()
    SEEN = auto()
    FINAL = auto()
    CREDITED = auto()
    ORPHANED = auto()


class PaymentStatus(Enumeration):
    """The life of a withdrawal; PAID and REFUNDED are terminal."""

    NONE = auto()
    REQUESTED = auto()
    APPROVED = auto()
    SIGNING = auto()
    SIGNED = auto()
    BROADCAST = auto()
    INCLUDED = auto()
    PAID = auto()
    REFUNDED = auto()


class Transaction(Enumeration):
    """Whether a payment is included under the id that it was broadcast with."""

    AS_BROADCAST = auto()
    CHANGED = auto()


REFUNDABLE = (PaymentStatus.REQUESTED, PaymentStatus.APPROVED, PaymentStatus.SIGNING)
SENT = (PaymentStatus.BROADCAST, PaymentStatus.INCLUDED, PaymentStatus.PAID)
PENDING = (*REFUNDABLE, PaymentStatus.SIGNED, PaymentStatus.BROADCAST, PaymentStatus.INCLUDED)


def blocks(spec: "Custody") -> int:
    """The height at which the search stops to mine."""
    return spec.parameters["blocks"]


def nonces(spec: "Custody") -> int:
    """How many nonces a signer makes in a search."""
    return spec.parameters["nonces"]


Height = Annotated[Number, Range(1, explored_upto=blocks)]


def among(value: Value, members: Iterable[Enumeration]) -> Condition:
    """Whether the value is one of these members."""
    return any_of(*(value == member for member in members))


class ChainCommand(Command):
    """The fields of commands about chains and payments."""

    deposit = Enum(Deposit)
    payment = Enum(Payment)
    signer = Enum(Signer)
    height = Nat.upto(blocks)
    nonce = Nat.upto(nonces)


class Wallet(Engine):
    """What the venue knows of deposits, payments and the chain."""

    root: "Custody"

    tip = Nat.upto(blocks)
    suspended = Bool
    mismatch = Bool
    """What was final is not: the venue has found it, and stays halted."""
    custody = Nat.upto(explored).per(Asset)
    """What the venue holds on the chain, as far as it is final and reported."""
    arriving = Nat.upto(explored).per(Asset)
    """What the ledger has of deposits that are not credited yet."""
    deposit_status = Enum(DepositStatus).per(Deposit)
    deposit_height = Nat.upto(blocks).per(Deposit)
    deposit_account = Enum(Account).per(Deposit)
    deposit_asset = Enum(Asset).per(Deposit)
    deposit_amount = Nat.upto(explored).per(Deposit)
    arrived = Bool.per(Deposit)
    """Whether the ledger has an entry for its arrival."""
    credits = Nat.upto(2).per(Deposit)
    """How often a deposit was credited."""
    payment_status = Enum(PaymentStatus).per(Payment)
    payment_account = Enum(Account).per(Payment)
    payment_asset = Enum(Asset).per(Payment)
    payment_amount = Nat.upto(explored).per(Payment)
    payment_height = Nat.upto(blocks).per(Payment)
    commitment = Nat.upto(nonces).per(Payment, Signer)
    """The nonce that a signer has committed to in the present attempt; 0 is none."""
    signed = Bool.per(Payment, Signer)
    shares = Nat.upto(lambda spec: spec.parameters["threshold"]).per(Payment)
    """The shares that were counted in the present attempt."""

    def execute(self, command: Command) -> None:
        """The effect of the commands about chains and payments, and of all others."""
        super().execute(command)
        assert isinstance(command, ChainCommand)
        for kind in self.cases(command.kind, Kind):
            match kind:
                case Kind.REPORT_DEPOSIT:
                    for deposit in self.cases(command.deposit, Deposit):
                        self.see(deposit, command)
                case Kind.REPORT_BLOCK:
                    self.tip = command.height
                    self.finalise()
                case Kind.REPORT_REORGANISATION:
                    self.reorganise(command.height)
                case Kind.SUSPEND_ASSET:
                    self.suspended = True
                case Kind.RESUME_ASSET:
                    self.suspended = False
                    self.finalise()
                case Kind.REPORT_PAYMENT:
                    for payment in self.cases(command.payment, Payment):
                        self.payment_status[payment] = PaymentStatus.INCLUDED
                        self.payment_height[payment] = command.height
                    self.finalise()
                case _:
                    for payment in self.cases(command.payment, Payment):
                        self.pay(kind, payment, command)

    def pay(self, kind: Kind, payment: Payment, command: "ChainCommand") -> None:
        """The effect of a command about one payment; none for another part's command."""
        match kind:
            case Kind.REQUEST_WITHDRAWAL:
                self.payment_status[payment] = PaymentStatus.REQUESTED
                self.payment_account[payment] = command.account
                self.payment_asset[payment] = command.asset
                self.payment_amount[payment] = command.amount
                self.free[command.account, command.asset] -= command.amount
                self.held[command.account, command.asset] += command.amount
            case Kind.APPROVE_WITHDRAWAL:
                self.payment_status[payment] = PaymentStatus.APPROVED
            case Kind.REFUND_WITHDRAWAL:
                self.refund(payment)
            case Kind.COMMIT_NONCE:
                for signer in self.cases(command.signer, Signer):
                    self.commitment[payment, signer] = command.nonce
                asked = total(ite(self.commitment[payment, signer] == 0, 0, 1) for signer in Signer)
                with self.when(asked == self.root.parameters["threshold"]):
                    self.payment_status[payment] = PaymentStatus.SIGNING
            case Kind.SUBMIT_SHARE:
                for signer in self.cases(command.signer, Signer):
                    self.signed[payment, signer] = True
                self.shares[payment] += 1
                needed = self.root.parameters["threshold"] - (1 if self.root.bug == "quorum-short" else 0)
                with self.when(self.shares[payment] >= needed):
                    self.payment_status[payment] = PaymentStatus.SIGNED
            case Kind.RESTART_SIGNING:
                self.payment_status[payment] = PaymentStatus.APPROVED
                self.drop_attempt(payment)
            case Kind.BROADCAST_PAYMENT:
                self.payment_status[payment] = PaymentStatus.BROADCAST
            case _:
                """Another part's command."""

    def drop_attempt(self, payment: Payment) -> None:
        """The commitments and shares of an attempt are void."""
        for signer in Signer:
            self.commitment[payment, signer] = 0
            self.signed[payment, signer] = False
        self.shares[payment] = 0

    def refund(self, payment: Payment) -> None:
        """What a withdrawal held goes back to its owner."""
        owner, asset, amount = (
            self.payment_account[payment],
            self.payment_asset[payment],
            self.payment_amount[payment],
        )
        self.held[owner, asset] -= amount
        self.free[owner, Asset.SOL if self.root.bug == "refund-of-another-asset" else asset] += amount
        self.payment_status[payment] = PaymentStatus.REFUNDED
        self.drop_attempt(payment)

    def see(self, deposit: Deposit, command: "ChainCommand") -> None:
        """A deposit is seen; it is final at once where its block is deep enough already."""
        self.deposit_status[deposit] = DepositStatus.SEEN
        self.deposit_height[deposit] = command.height
        self.deposit_account[deposit] = command.account
        self.deposit_asset[deposit] = command.asset
        self.deposit_amount[deposit] = command.amount
        if self.root.bug == "credit-when-seen":
            self.credit(deposit)
        self.finalise()

    def deep(self, height: Value) -> Condition:
        """Whether a block at this height has the confirmations that make it final."""
        return self.tip + 1 >= height + self.root.parameters["confirmations"]

    def finalise(self) -> None:
        """What has become final is final: deposits arrive and are credited unless suspended, payments are paid."""
        for deposit in Deposit:
            final = all_of(
                self.deposit_status[deposit] == DepositStatus.SEEN, self.deep(self.deposit_height[deposit])
            )
            with self.when(final):
                self.deposit_status[deposit] = DepositStatus.FINAL
                self.custody[self.deposit_asset[deposit]] += self.deposit_amount[deposit]
                with self.when(negation(self.arrived[deposit])):
                    self.arriving[self.deposit_asset[deposit]] += self.deposit_amount[deposit]
                    self.arrived[deposit] = True
            waits = all_of(
                self.deposit_status[deposit] == DepositStatus.FINAL, self.deep(self.deposit_height[deposit])
            )
            with self.when(waits, negation(self.suspended)):
                self.credit(deposit)
        for payment in Payment:
            paid = all_of(
                self.payment_status[payment] == PaymentStatus.INCLUDED, self.deep(self.payment_height[payment])
            )
            owner, asset = self.payment_account[payment], self.payment_asset[payment]
            with self.when(paid):
                self.payment_status[payment] = PaymentStatus.PAID
                self.held[owner, asset] -= self.payment_amount[payment]
                self.custody[asset] -= self.payment_amount[payment]

    def credit(self, deposit: Deposit) -> None:
        """A deposit is credited to its client."""
        self.deposit_status[deposit] = DepositStatus.CREDITED
        self.arriving[self.deposit_asset[deposit]] -= self.deposit_amount[deposit]
        self.free[self.deposit_account[deposit], self.deposit_asset[deposit]] += self.deposit_amount[deposit]
        self.credits[deposit] += 1

    def reorganise(self, height: Value) -> None:
        """The blocks from this height on are gone: what was only seen in them is orphaned, payments are not included.

        Where something final is gone, the books are wrong, and the venue says so and stops.
        """
        for deposit in Deposit:
            gone = self.deposit_height[deposit] >= height
            with self.when(gone, self.deposit_status[deposit] == DepositStatus.SEEN):
                self.deposit_status[deposit] = DepositStatus.ORPHANED
            final = among(self.deposit_status[deposit], (DepositStatus.FINAL, DepositStatus.CREDITED))
            with self.when(gone, final):
                self.deposit_status[deposit] = DepositStatus.ORPHANED
                if self.root.bug != "reorganisation-unnoticed":
                    self.mismatch = True
        for payment in Payment:
            gone = self.payment_height[payment] >= height
            with self.when(gone, self.payment_status[payment] == PaymentStatus.INCLUDED):
                self.payment_status[payment] = PaymentStatus.BROADCAST
                self.payment_height[payment] = 0
            with self.when(gone, self.payment_status[payment] == PaymentStatus.PAID):
                self.mismatch = True
        self.tip = height - 1

    def house(self, asset: Asset) -> Value:
        """What is arriving, and what other parts hold."""
        return super().house(asset) + self.arriving[asset]

    def reserved(self, account: Account, asset: Asset) -> Value:
        """What the withdrawals of an account hold that are neither paid nor refunded, and other parts."""
        return super().reserved(account, asset) + total(
            ite(
                all_of(
                    among(self.payment_status[payment], PENDING),
                    self.payment_account[payment] == account,
                    self.payment_asset[payment] == asset,
                ),
                self.payment_amount[payment],
                0,
            )
            for payment in Payment
        )


class Custody(Exchange):
    """The chain, the provider, the signers, and the venue's commands about them."""

    engine_record = Wallet
    command_record = ChainCommand
    live = Part(Wallet)
    provider_up = Bool.starting(1)
    chain_tip = Nat.upto(blocks).starting(1)
    fork = Nat.upto(blocks)
    """The lowest block that was replaced since the provider last told of one; 0 is none."""
    sent_account = Enum(Account).per(Deposit)
    sent_asset = Enum(Asset).per(Deposit)
    sent_amount = Nat.upto(explored).per(Deposit)
    """What a client sent; 0 is nothing yet."""
    chain_height = Nat.upto(blocks).per(Deposit)
    """The block that a deposit is in; 0 is none."""
    published = Bool.per(Payment)
    """Whether the network has got the payment."""
    included_at = Nat.upto(blocks).per(Payment)
    changed = Enum(Transaction).per(Payment)
    nonces_made = Nat.upto(nonces).per(Signer)
    """How many nonces a signer's own store has made; it signs with the last one only."""
    signed_last = Nat.upto(nonces).per(Signer).ghost()
    """The last nonce that a signer has signed with."""
    asked_account = Enum(Account).per(Payment).ghost()
    asked_asset = Enum(Asset).per(Payment).ghost()
    asked_amount = Nat.upto(explored).per(Payment).ghost()
    told_final = Bool.per(Deposit).ghost()
    told_paid = Bool.per(Payment).ghost()
    told_refunded = Bool.per(Payment).ghost()
    orphaned_unseen = Bool.per(Deposit).ghost()
    """Whether the last block of a deposit was replaced while the provider was down."""

    def counts(self) -> dict[type[Index], int]:
        """The sorts, and how many deposits, payments and signers there are."""
        return {
            **super().counts(),
            Deposit: self.parameters["deposits"],
            Payment: self.parameters["payments"],
            Signer: self.parameters["signers"],
        }

    def scope(self) -> dict[str, str]:
        """How high the chain grows, and how many nonces signers make, in a search."""
        return {
            **super().scope(),
            "blocks": f"at most {self.parameters['blocks']}",
            "nonces of each signer": f"at most {self.parameters['nonces']}",
        }

    def wallet(self) -> Wallet:
        """The standing engine, as a wallet."""
        engine = self.standing()
        assert isinstance(engine, Wallet)
        return engine

    def allows(self, kind: Kind) -> Condition:
        """Whether no mismatch stands, too."""
        return all_of(super().allows(kind), negation(self.live.mismatch))

    def reports(self, kind: Kind) -> Condition:
        """Whether the provider reports, and has nothing to report before this."""
        pending = all_of(self.fork != 0, self.fork <= self.live.tip)
        return all_of(
            self.allows(kind),
            self.provider_up,
            pending if kind == Kind.REPORT_REORGANISATION else negation(pending),
        )

    def about(self, kind: Kind, *, payment: Payment | None = None, deposit: Deposit | None = None) -> ChainCommand:
        """A command to fill in."""
        command = self.command(ChainCommand, kind)
        if payment is not None:
            command.payment = payment
        if deposit is not None:
            command.deposit = deposit
        return command

    def submit(self, command: Command) -> None:
        """The engine executes a command, and clients are told what became of their deposits and withdrawals."""
        super().submit(command)
        for deposit in Deposit:
            final = among(self.live.deposit_status[deposit], (DepositStatus.FINAL, DepositStatus.CREDITED))
            self.told_final[deposit] = any_of(self.told_final[deposit], final)
        for payment in Payment:
            status = self.live.payment_status[payment]
            self.told_paid[payment] = any_of(self.told_paid[payment], status == PaymentStatus.PAID)
            self.told_refunded[payment] = any_of(self.told_refunded[payment], status == PaymentStatus.REFUNDED)

    def came_in(self, asset: Asset) -> Value:
        """The deposits that are final, less the withdrawals that are paid."""
        return total(self.attributed(account, asset) for account in Account) + total(
            ite(
                all_of(
                    self.told_final[deposit],
                    self.wallet().credits[deposit] == 0,
                    self.sent_asset[deposit] == asset,
                ),
                self.sent_amount[deposit],
                0,
            )
            for deposit in Deposit
        )

    def attributed(self, account: Account, asset: Asset) -> Value:
        """What a client's deposits brought less what its withdrawals took, as it was told."""
        brought = total(
            ite(
                all_of(
                    self.told_final[deposit],
                    self.wallet().credits[deposit] > 0,
                    self.sent_account[deposit] == account,
                    self.sent_asset[deposit] == asset,
                ),
                self.sent_amount[deposit],
                0,
            )
            for deposit in Deposit
        )
        took = total(
            ite(
                all_of(
                    self.told_paid[payment],
                    self.asked_account[payment] == account,
                    self.asked_asset[payment] == asset,
                ),
                self.asked_amount[payment],
                0,
            )
            for payment in Payment
        )
        return brought - took

    def reconciles(self, asset: Asset) -> Condition:
        """Whether custody is what the ledger owes."""
        return self.live.custody[asset] == self.live.holdings(asset)

    def can_become_final(self) -> Condition:
        """Whether a search mines enough blocks to confirm what is in the newest one."""
        return self.chain_tip + self.parameters["confirmations"] <= self.parameters["blocks"] + 1

    @action
    def mine(self) -> None:
        """The chain grows."""
        self.explored_where(self.chain_tip < self.parameters["blocks"])
        self.chain_tip += 1

    @action
    def send_deposit(self, deposit: Deposit, account: Account, asset: Asset, amount: Amount) -> None:
        """A client sends funds to the venue, in the newest block."""
        self.require(self.sent_amount[deposit] == 0, self.chain_tip >= 1)
        sent = total(self.sent_amount[each] for each in Deposit)
        self.explored_where(sent + amount <= self.amounts, self.is_explored(asset), self.can_become_final())
        self.sent_account[deposit], self.sent_asset[deposit] = account, asset
        self.sent_amount[deposit] = amount
        self.chain_height[deposit] = self.chain_tip

    @action
    def include_deposit(self, deposit: Deposit) -> None:
        """A deposit whose block was replaced is in the newest block."""
        self.require(self.sent_amount[deposit] > 0, self.chain_height[deposit] == 0, self.chain_tip >= 1)
        self.explored_where(self.can_become_final())
        self.chain_height[deposit] = self.chain_tip
        self.orphaned_unseen[deposit] = False

    @action
    def include_payment(self, payment: Payment, identity: Transaction) -> None:
        """A payment is in the newest block, perhaps under another transaction id than it was broadcast with."""
        self.require(self.published[payment], self.included_at[payment] == 0, self.chain_tip >= 1)
        self.explored_where(self.can_become_final())
        self.included_at[payment] = self.chain_tip
        self.changed[payment] = identity

    @action
    def replace_blocks(self, height: Height) -> None:
        """The chain reorganises: the blocks from this height on are replaced by none."""
        self.require(height <= self.chain_tip)
        self.fault()
        for deposit in Deposit:
            with self.when(self.chain_height[deposit] >= height):
                self.chain_height[deposit] = 0
                self.orphaned_unseen[deposit] = negation(self.provider_up)
        for payment in Payment:
            with self.when(self.included_at[payment] >= height):
                self.included_at[payment] = 0
        with self.when(any_of(self.fork == 0, self.fork > height)):
            self.fork = height
        self.chain_tip = height - 1

    @action
    def lose_provider(self) -> None:
        """The connection provider is down."""
        self.require(self.provider_up)
        self.fault()
        self.provider_up = False

    @action
    def regain_provider(self) -> None:
        """The connection provider is up again, and tells what it knows."""
        self.require(negation(self.provider_up))
        self.provider_up = True

    @action
    def report_block(self) -> None:
        """The provider tells of the next block."""
        self.require(self.reports(Kind.REPORT_BLOCK), self.live.tip < self.chain_tip)
        self.fork = 0
        command = self.about(Kind.REPORT_BLOCK)
        command.height = self.live.tip + 1
        self.submit(command)

    @action
    def report_deposit(self, deposit: Deposit) -> None:
        """The provider tells of a deposit in a block that the venue knows of."""
        known = [DepositStatus.UNKNOWN, DepositStatus.ORPHANED]
        if self.bug == "report-counted-twice":
            known.append(DepositStatus.CREDITED)
        self.require(
            self.reports(Kind.REPORT_DEPOSIT),
            self.chain_height[deposit] >= 1,
            self.chain_height[deposit] <= self.live.tip,
            among(self.live.deposit_status[deposit], known),
        )
        command = self.about(Kind.REPORT_DEPOSIT, deposit=deposit)
        command.account, command.asset = self.sent_account[deposit], self.sent_asset[deposit]
        command.amount = self.sent_amount[deposit]
        command.height = self.chain_height[deposit]
        self.submit(command)

    @action
    def report_reorganisation(self) -> None:
        """The provider tells that blocks which the venue knows of were replaced."""
        self.require(self.reports(Kind.REPORT_REORGANISATION))
        command = self.about(Kind.REPORT_REORGANISATION)
        command.height = self.fork
        self.submit(command)
        self.fork = 0

    @action
    def report_payment(self, payment: Payment) -> None:
        """The provider tells that a payment is included: by the payment's id, whatever that of the transaction."""
        self.require(
            self.reports(Kind.REPORT_PAYMENT),
            self.included_at[payment] >= 1,
            self.included_at[payment] <= self.live.tip,
            self.live.payment_status[payment] == PaymentStatus.BROADCAST,
        )
        command = self.about(Kind.REPORT_PAYMENT, payment=payment)
        command.height = self.included_at[payment]
        self.submit(command)

    @action
    def suspend_asset(self) -> None:
        """Deposits are not credited and payments not broadcast for now."""
        self.require(self.allows(Kind.SUSPEND_ASSET), negation(self.live.suspended))
        self.submit(self.about(Kind.SUSPEND_ASSET))

    @action
    def resume_asset(self) -> None:
        """Deposits and payments go on; what became final meanwhile is credited."""
        self.require(self.allows(Kind.RESUME_ASSET), self.live.suspended)
        self.submit(self.about(Kind.RESUME_ASSET))

    @action
    def request_withdrawal(self, payment: Payment, account: Account, asset: Asset, amount: Amount) -> None:
        """A client asks for what it has free, under an id that is used up by it."""
        self.require(
            self.allows(Kind.REQUEST_WITHDRAWAL),
            self.live.payment_status[payment] == PaymentStatus.NONE,
            self.live.free[account, asset] >= amount,
        )
        self.asked_account[payment], self.asked_asset[payment] = account, asset
        self.asked_amount[payment] = amount
        command = self.about(Kind.REQUEST_WITHDRAWAL, payment=payment)
        command.account, command.asset, command.amount = account, asset, amount
        self.submit(command)

    @action
    def approve_withdrawal(self, payment: Payment) -> None:
        """A withdrawal is approved, as it was asked for, while its asset is not suspended."""
        self.require(negation(self.live.suspended))
        self.decide(Kind.APPROVE_WITHDRAWAL, payment, PaymentStatus.REQUESTED)

    def decide(self, kind: Kind, payment: Payment, *statuses: PaymentStatus) -> None:
        """The engine executes a command about a payment that has one of these statuses."""
        self.require(self.allows(kind), among(self.live.payment_status[payment], statuses))
        self.submit(self.about(kind, payment=payment))

    @action
    def refund_withdrawal(self, payment: Payment) -> None:
        """A withdrawal that nobody can broadcast is refunded."""
        refundable = among(self.live.payment_status[payment], REFUNDABLE)
        if self.bug == "refund-of-unrecognised":
            unrecognised = all_of(
                self.live.payment_status[payment] == PaymentStatus.BROADCAST,
                self.changed[payment] == Transaction.CHANGED,
            )
            refundable = any_of(refundable, unrecognised)
        self.require(self.allows(Kind.REFUND_WITHDRAWAL), refundable)
        self.submit(self.about(Kind.REFUND_WITHDRAWAL, payment=payment))

    @action
    def commit_nonce(self, payment: Payment, signer: Signer) -> None:
        """A signer makes a nonce for the present attempt and commits to it."""
        self.require(
            self.allows(Kind.COMMIT_NONCE),
            self.live.payment_status[payment] == PaymentStatus.APPROVED,
            self.live.commitment[payment, signer] == 0,
        )
        self.explored_where(self.nonces_made[signer] < self.parameters["nonces"])
        if self.bug == "nonce-kept":
            self.nonces_made[signer] = ite(self.nonces_made[signer] == 0, 1, self.nonces_made[signer])
        else:
            self.nonces_made[signer] += 1
        command = self.about(Kind.COMMIT_NONCE, payment=payment)
        command.signer, command.nonce = signer, self.nonces_made[signer]
        self.submit(command)

    @action
    def submit_share(self, payment: Payment, signer: Signer) -> None:
        """A signer that was asked signs with its last nonce, once."""
        asked = self.live.commitment[payment, signer]
        self.require(
            self.allows(Kind.SUBMIT_SHARE),
            self.live.payment_status[payment] == PaymentStatus.SIGNING,
            asked != 0,
            asked == self.nonces_made[signer],
        )
        if self.bug != "share-counted-twice":
            self.require(negation(self.live.signed[payment, signer]))
        self.signed_last[signer] = asked
        command = self.about(Kind.SUBMIT_SHARE, payment=payment)
        command.signer = signer
        self.submit(command)

    @action
    def restart_signing(self, payment: Payment) -> None:
        """The attempt is given up, begun or not: its commitments and shares are void."""
        self.decide(Kind.RESTART_SIGNING, payment, PaymentStatus.APPROVED, PaymentStatus.SIGNING)

    @action
    def broadcast_payment(self, payment: Payment) -> None:
        """A signed payment goes to the network."""
        self.require(self.provider_up, negation(self.live.suspended))
        self.decide(Kind.BROADCAST_PAYMENT, payment, PaymentStatus.SIGNED)
        self.published[payment] = True

    @always("CUST-1")
    def custody_covers(self, asset: Asset) -> Condition:
        """Custody is exactly what the ledger owes."""
        return implies(self.operating(), self.live.custody[asset] == self.live.holdings(asset))

    @always("CUST-1")
    def balance_is_attributed(self, account: Account, asset: Asset) -> Condition:
        """What a client has is what its final deposits brought less what its paid withdrawals took."""
        if self.moves_between_clients:
            return True
        live = self.live
        return implies(
            self.operating(),
            live.free[account, asset] + live.held[account, asset] == self.attributed(account, asset),
        )

    def on_the_chain(self, engine: Wallet, deposit: Deposit) -> Condition:
        """Whether a deposit is in the block in which the venue has seen it."""
        height = self.chain_height[deposit]
        return all_of(height != 0, height == engine.deposit_height[deposit])

    @always("CUST-1")
    def custody_is_on_the_chain(self, deposit: Deposit) -> Condition:
        """What was final is on the chain, unless a mismatch was found or there is something yet to report."""
        engine = self.wallet()
        told = any_of(self.fork == 0, self.fork > engine.tip)
        return implies(
            all_of(told, negation(engine.mismatch), engine.arrived[deposit]), self.on_the_chain(engine, deposit)
        )

    @always("CUST-2", strengthens=True)
    def credited_at_most_once(self, deposit: Deposit) -> Condition:
        """No deposit is credited twice, and one that is credited is as it was sent."""
        engine = self.wallet()
        known = engine.deposit_status[deposit] != DepositStatus.UNKNOWN
        return all_of(
            engine.credits[deposit] <= 1,
            implies(
                known,
                all_of(
                    engine.deposit_account[deposit] == self.sent_account[deposit],
                    engine.deposit_asset[deposit] == self.sent_asset[deposit],
                    engine.deposit_amount[deposit] == self.sent_amount[deposit],
                ),
            ),
        )

    @step("CUST-2")
    def credited_when_final(self, after: Self, deposit: Deposit) -> Condition:
        """No step credits a deposit, or makes it final, that does not have its confirmations."""
        one, other = self.wallet(), after.wallet()
        credited = one.credits[deposit] < other.credits[deposit]
        arrived = all_of(negation(one.arrived[deposit]), other.arrived[deposit])
        deep = other.deep(other.deposit_height[deposit])
        return all_of(implies(credited, all_of(other.arrived[deposit], deep)), implies(arrived, deep))

    @always("CUST-3")
    def paid_or_refunded(self, payment: Payment) -> Condition:
        """No withdrawal is both paid and refunded, and none that is refunded can still be paid by the network."""
        return negation(all_of(self.told_refunded[payment], any_of(self.told_paid[payment], self.published[payment])))

    @step("CUST-3")
    def refund_is_what_was_asked(self, after: Self, payment: Payment) -> Condition:
        """A refund gives the owner the amount of the asset that was asked for."""
        one, other = self.wallet(), after.wallet()
        refunded = all_of(
            one.payment_status[payment] != PaymentStatus.REFUNDED,
            other.payment_status[payment] == PaymentStatus.REFUNDED,
        )
        owner, asset = self.asked_account[payment], self.asked_asset[payment]
        return implies(refunded, other.free[owner, asset] == one.free[owner, asset] + self.asked_amount[payment])

    @always("CUST-4", strengthens=True)
    def signed_by_a_quorum(self, payment: Payment) -> Condition:
        """What is signed or has gone to the network was signed by enough distinct signers, as it was asked for."""
        engine = self.wallet()
        distinct = total(ite(engine.signed[payment, signer], 1, 0) for signer in Signer)
        gone = any_of(among(engine.payment_status[payment], (PaymentStatus.SIGNED, *SENT)), self.published[payment])
        return all_of(
            implies(gone, distinct >= self.parameters["threshold"]),
            implies(
                engine.payment_status[payment] != PaymentStatus.NONE,
                all_of(
                    engine.payment_account[payment] == self.asked_account[payment],
                    engine.payment_asset[payment] == self.asked_asset[payment],
                    engine.payment_amount[payment] == self.asked_amount[payment],
                ),
            ),
        )

    @always("CUST-5")
    def nonce_is_new(self, payment: Payment, signer: Signer) -> Condition:
        """Nothing that a signer can still sign has a nonce that it has signed with."""
        engine = self.wallet()
        nonce = engine.commitment[payment, signer]
        signable = all_of(nonce != 0, nonce == self.nonces_made[signer], negation(engine.signed[payment, signer]))
        return implies(signable, nonce > self.signed_last[signer])

    @always("CUST-5")
    def store_forgets_nothing(self, signer: Signer) -> Condition:
        """A signer's store knows of every nonce that it has signed with."""
        return self.signed_last[signer] <= self.nonces_made[signer]

    @auxiliary("commitments-are-sound")
    def commitments_are_sound(self, payment: Payment, signer: Signer) -> Condition:
        """Commitments are of nonces that were made, no two of the same, and only those are signed with."""
        engine = self.wallet()
        nonce = engine.commitment[payment, signer]
        return all_of(
            nonce <= self.nonces_made[signer],
            implies(engine.signed[payment, signer], nonce != 0),
            *(
                implies(nonce != 0, nonce != engine.commitment[other, signer])
                for other in Payment
                if other != payment
            ),
        )

    @auxiliary("shares-are-counted")
    def shares_are_counted(self, payment: Payment) -> Condition:
        """The shares that were counted are those of distinct signers, while an attempt goes on."""
        engine = self.wallet()
        status = engine.payment_status[payment]
        distinct = total(ite(engine.signed[payment, signer], 1, 0) for signer in Signer)
        started = among(status, (PaymentStatus.SIGNING, PaymentStatus.SIGNED, *SENT))
        return all_of(
            engine.shares[payment] == distinct,
            implies(negation(started), distinct == 0),
            self.published[payment] == among(status, SENT),
            implies(self.included_at[payment] != 0, self.published[payment]),
            self.told_paid[payment] == (status == PaymentStatus.PAID),
            self.told_refunded[payment] == (status == PaymentStatus.REFUNDED),
        )

    @auxiliary("deposits-are-sound")
    def deposits_are_sound(self, deposit: Deposit) -> Condition:
        """What the venue knows of a deposit fits together and is no more than there is."""
        engine = self.wallet()
        status, height = engine.deposit_status[deposit], engine.deposit_height[deposit]
        final = among(status, (DepositStatus.FINAL, DepositStatus.CREDITED))
        counted = all_of(negation(engine.mismatch), any_of(status == DepositStatus.SEEN, final))
        return all_of(
            engine.arrived[deposit] == self.told_final[deposit],
            implies(final, engine.arrived[deposit]),
            implies(engine.arrived[deposit], status != DepositStatus.UNKNOWN),
            implies(engine.credits[deposit] > 0, engine.arrived[deposit]),
            implies(status == DepositStatus.CREDITED, engine.credits[deposit] == 1),
            implies(status == DepositStatus.FINAL, engine.credits[deposit] == 0),
            implies(all_of(negation(engine.mismatch), engine.arrived[deposit]), final),
            implies(self.chain_height[deposit] != 0, self.sent_amount[deposit] >= 1),
            implies(status != DepositStatus.UNKNOWN, self.sent_amount[deposit] >= 1),
            implies(counted, all_of(height >= 1, height <= engine.tip)),
            implies(
                all_of(counted, any_of(self.fork == 0, height < self.fork)), self.chain_height[deposit] == height
            ),
            self.chain_height[deposit] <= self.chain_tip,
        )

    @auxiliary("arriving-is-the-sum")
    def arriving_is_the_sum(self, asset: Asset) -> Condition:
        """What is arriving is what has arrived and is not credited."""
        engine = self.wallet()
        return engine.arriving[asset] == total(
            ite(
                all_of(engine.arrived[deposit], engine.credits[deposit] == 0, engine.deposit_asset[deposit] == asset),
                engine.deposit_amount[deposit],
                0,
            )
            for deposit in Deposit
        )

    @auxiliary("standing-custody-covers")
    def standing_custody_covers(self, asset: Asset) -> Condition:
        """Custody is what the ledger owes, also in the engine that a restore would bring back."""
        engine = self.wallet()
        return engine.custody[asset] == engine.holdings(asset)

    @auxiliary("standing-balance-is-attributed")
    def standing_balance_is_attributed(self, account: Account, asset: Asset) -> Condition:
        """Balances are attributed, also in the engine that a restore would bring back."""
        if self.moves_between_clients:
            return True
        engine = self.wallet()
        return engine.free[account, asset] + engine.held[account, asset] == self.attributed(account, asset)

    @sometimes("withdrawal-paid-under-a-changed-id")
    def paid_under_changed_id(self, payment: Payment) -> Condition:
        """A withdrawal was included under another transaction id than it was broadcast with, and is paid."""
        return all_of(
            self.live.payment_status[payment] == PaymentStatus.PAID, self.changed[payment] == Transaction.CHANGED
        )

    @sometimes("withdrawal-refunded-while-partly-signed")
    def refunded_with_nonces_used(self, payment: Payment) -> Condition:
        """A withdrawal is refunded although a signer had signed it."""
        return all_of(
            self.live.payment_status[payment] == PaymentStatus.REFUNDED,
            any_of(*(self.signed_last[signer] != 0 for signer in Signer)),
        )

    @sometimes("deposit-orphaned-while-the-provider-was-down")
    def orphaned_while_down(self, deposit: Deposit) -> Condition:
        """A deposit was orphaned while the provider was down, and the venue learnt of it when it was up again."""
        return all_of(self.orphaned_unseen[deposit], self.live.deposit_status[deposit] == DepositStatus.ORPHANED)

    @sometimes("deposit-final-while-suspended")
    def final_while_suspended(self, deposit: Deposit) -> Condition:
        """A deposit is final and waits for its asset to be resumed."""
        return all_of(self.live.suspended, self.live.deposit_status[deposit] == DepositStatus.FINAL)

    @sometimes("final-deposit-reorganised")
    def mismatch_found(self) -> Condition:
        """Something final was undone by a reorganisation, and the venue found it and stopped."""
        return self.live.mismatch

    @sometimes("payment-included-again")
    def included_again(self, payment: Payment) -> Condition:
        """The block of a payment was replaced, and the payment waits to be included again."""
        return all_of(
            self.live.payment_status[payment] == PaymentStatus.BROADCAST,
            self.changed[payment] == Transaction.CHANGED,
            self.included_at[payment] == 0,
            self.fork == 0,
        )

    @eventually("LIVE-1")
    def withdrawal_comes_to_rest(self, payment: Payment) -> Response:
        """A withdrawal can always still be paid or refunded, unless something final was undone.

        It says so of the states from which a search mines enough blocks to confirm a payment.
        """
        live = self.live
        kept = all_of(
            *(
                implies(
                    live.arrived[each],
                    all_of(
                        self.on_the_chain(live, each), any_of(self.fork == 0, live.deposit_height[each] < self.fork)
                    ),
                )
                for each in Deposit
            )
        )
        return Response(
            whenever=all_of(self.operating(), kept, negation(live.mismatch), self.can_become_final()),
            then=among(
                self.live.payment_status[payment],
                (PaymentStatus.NONE, PaymentStatus.PAID, PaymentStatus.REFUNDED),
            ),
        )
