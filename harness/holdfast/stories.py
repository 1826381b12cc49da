"""Stories: a sequence told step by step on one engine, every invariant checked after each step.

For scenario tests in pytest, on the reference or on your own engine::

    def test_a_partial_fill_survives_a_restart() -> None:
        story = Story(SMALL_SETUP)
        story.deposit("alice", BTC=1_000)
        story.deposit("bob", USD=10_000)
        story.sell("alice", "a1", 5, 100)
        story.buy("bob", "b1", 2, 100)
        story.do(Crash(), Restart())
        assert story.left("alice", "a1") == 3

A step that breaks an invariant raises `InvariantViolatedError` at that step.

With custody in the setup deposits go over chains, and withdrawals are signed by its signers, who hear what is told::

    story = Story(CUSTODY_SETUP)
    story.deposit("alice", BTC=100)
    story.withdraw("alice", "w1", "BTC", 60)
"""

from typing import TypedDict, Unpack

from holdfast.engine import Engine, LocalEngine
from holdfast.machines import InvariantViolatedError
from holdfast.running import Runner
from holdfast.signing_parties import SigningParties
from holdfast_invariants.told_custody import ToldCustody, ToldPayment
from holdfast_model.vocabulary import (
    SPOT,
    AccountRead,
    AdvanceTime,
    Amount,
    AnnounceMaintenance,
    ApproveWithdrawal,
    AskReplica,
    AssetId,
    BroadcastPayment,
    Bucket,
    Command,
    CommitNonce,
    Conditions,
    ConfirmLoad,
    CreditDeposit,
    DeployRelease,
    Event,
    Events,
    Payment,
    Phase,
    PlaceOrder,
    Position,
    PriceTicks,
    ProductId,
    ReadAccount,
    Reason,
    Reconcile,
    Rejected,
    ReleaseId,
    ReplicaId,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportPrice,
    RequestWithdrawal,
    ResumeStage,
    SelfTrade,
    SetPhase,
    Setup,
    Side,
    SizeLots,
    Stage,
    Step,
    SubmitShare,
    TierId,
    TimeInForce,
    TransferMargin,
    View,
    WithdrawalStatus,
)
from holdfast_model.vocabulary.amounts import Label

PAUSE_MS = 1_000
"""How far time goes on before prices are reported."""


class Terms(TypedDict, total=False):
    """What an order may have beyond side, size and price."""

    time_in_force: TimeInForce
    post_only: bool
    self_trade: SelfTrade
    conditions: Conditions


class Story:
    """One engine, reset to a setup, and what is done to it."""

    def __init__(self, setup: Setup, engine: Engine | None = None) -> None:
        self.setup = setup
        self.runner = Runner(engine or LocalEngine(), setup)
        self.time_ms = 0
        self.told: list[Event] = []
        self._number = 0

    def do(self, *steps: Step) -> Events:
        """Take steps; the events of the last. Raises `InvariantViolatedError` at the first that breaks something."""
        events: Events = ()
        for step in steps:
            known = len(self.runner.violations)
            record = self.runner.do(step)
            assert record is not None, f"{step} cannot be taken now"
            if self.runner.violations[known:]:
                raise InvariantViolatedError(self.runner.violations[known:])
            events = tuple(event for answer in record.answers for event in answer.events)
            self.told.extend(events)
        return events

    def refusal(self, step: Step) -> Reason | None:
        """Take a step; the reason for which it was refused, None when it was not."""
        return next((event.reason for event in self.do(step) if isinstance(event, Rejected)), None)

    # What clients and operators do ----------------------------------------------------------------------------------

    def deposit(self, client: str, **amounts: int) -> None:
        """Deposits of a client, by asset; with custody each is in a block of its own, and mined until it is final."""
        for asset, amount in amounts.items():
            if self.setup.custody is None:
                transaction = self._id("deposit")
                self.do(CreditDeposit(client=client, asset=asset, amount=Amount(amount), transaction=transaction))
            else:
                self.mine(asset)
                self.do(self.arrival(client, asset, amount))
                self.mine(asset, self._custody.true.confirmations[asset] - 1)

    def pledge(self, client: str, product: ProductId, **amounts: int) -> None:
        """Transfers of a client from its spot wallet to the margin account of a product, by asset."""
        for asset, amount in amounts.items():
            self.do(self.transfer(client, asset, amount, SPOT, product))

    def transfer(self, client: str, asset: str, amount: int, source: ProductId, target: ProductId) -> TransferMargin:
        """A transfer, not yet asked for."""
        return TransferMargin(
            client=client,
            request=self._id("transfer"),
            asset=asset,
            amount=Amount(amount),
            source=source,
            target=target,
        )

    def buy(
        self, client: str, order: str, size: int, price: int | None, market: str | None = None, **terms: Unpack[Terms]
    ) -> Events:
        """A buy order."""
        return self.do(self.order(Side.BUY, client, order, size, price, market, **terms))

    def sell(
        self, client: str, order: str, size: int, price: int | None, market: str | None = None, **terms: Unpack[Terms]
    ) -> Events:
        """A sell order."""
        return self.do(self.order(Side.SELL, client, order, size, price, market, **terms))

    def order(  # noqa: PLR0917 - an order, as people say it
        self,
        side: Side,
        client: str,
        order: str,
        size: int,
        price: int | None,
        market: str | None = None,
        **terms: Unpack[Terms],
    ) -> PlaceOrder:
        """An order, not yet placed; in the first market unless another one is named."""
        return PlaceOrder(
            client=client,
            order=order,
            market=market or self.setup.markets[0].market,
            side=side,
            size_lots=SizeLots(size),
            price_ticks=None if price is None else PriceTicks(price),
            **terms,
        )

    def wait(self, milliseconds: int = PAUSE_MS) -> Events:
        """Let time go on."""
        self.time_ms += milliseconds
        return self.do(AdvanceTime(time_ms=self.time_ms))

    def report(self, market: str, **prices: int) -> Events:
        """Let time go on a little, and sources report their prices of a market; the events of the last report."""
        self.wait()
        return self.do(
            *(
                ReportPrice(source=source, market=market, price_ticks=PriceTicks(price), time_ms=self.time_ms)
                for source, price in prices.items()
            )
        )

    def mark(self, market: str, price: int) -> Events:
        """Let all sources of a market report one price."""
        rule = next(item.mark for item in self.setup.markets if item.market == market)
        assert rule is not None, f"{market} has no mark"
        return self.report(market, **dict.fromkeys(rule.sources, price))

    # Custody: chains and signers ------------------------------------------------------------------------------------

    def mine(self, asset: AssetId, blocks: int = 1) -> Events:
        """An asset's chain grows."""
        return self.do(ReportBlock(asset=asset, height=self._tip(asset) + blocks))

    def arrival(self, client: str, asset: AssetId, amount: int) -> ReportDeposit:
        """The report of a deposit in the last block of an asset's chain, not yet told."""
        return ReportDeposit(
            asset=asset,
            transaction=self._id("deposit"),
            client=client,
            amount=Amount(amount),
            height=self._tip(asset),
        )

    def approve(self, client: str, withdrawal: str, asset: AssetId, amount: int) -> Label:
        """A withdrawal is asked for and approved; the name of its payment."""
        destination = f"{client}-elsewhere"
        self.do(
            RequestWithdrawal(
                client=client, withdrawal=withdrawal, asset=asset, amount=Amount(amount), destination=destination
            ),
            ApproveWithdrawal(client=client, withdrawal=withdrawal),
        )
        return f"{client}/{withdrawal}"

    def sign(self, payment: Label, words: int | None = None) -> None:
        """The signers say what they have to say next on a payment: all of it, or so many commitments and shares."""
        while words != 0 and self._parties.next_to_say(payment) is not None:
            self.do(self.word(payment))
            words = None if words is None else words - 1

    def word(self, payment: Label) -> CommitNonce | SubmitShare:
        """What a signer has to say next on a payment, not yet said; the same each time that it is asked for."""
        command = self._parties.next_to_say(payment)
        assert command is not None, f"nobody has anything to say on {payment}"
        return command

    def broadcast(self, payment: Label) -> None:
        """A payment is broadcast as soon as its time lock is over."""
        not_before_ms = self._approved(payment).not_before_ms
        if not_before_ms > self.time_ms:
            self.wait(not_before_ms - self.time_ms)
        self.do(BroadcastPayment(payment=payment))

    def include(self, payment: Label, transaction: str = "as-broadcast") -> None:
        """A payment that was broadcast is in the next block of its chain, which grows until it is final."""
        asset = self._approved(payment).intent.asset
        self.mine(asset)
        self.do(ReportPayment(payment=payment, transaction=transaction, height=self._tip(asset)))
        if self._custody.true.confirmations[asset] > 1:
            self.mine(asset, self._custody.true.confirmations[asset] - 1)

    def withdraw(self, client: str, withdrawal: str, asset: AssetId, amount: int) -> Label:
        """A whole withdrawal, from the request to the payment in a final block."""
        payment = self.approve(client, withdrawal, asset, amount)
        self.sign(payment)
        self.broadcast(payment)
        self.include(payment)
        return payment

    # Operations -----------------------------------------------------------------------------------------------------

    def phases(self, *phases: Phase) -> Events:
        """The venue goes through phases."""
        return self.do(*(SetPhase(phase=phase) for phase in phases))

    def maintain(self) -> None:
        """Maintenance is announced, and begun over cancel-only."""
        self.wait()
        self.do(AnnounceMaintenance(begins_ms=self.time_ms))
        if self.view.phase is not Phase.CANCEL_ONLY:
            self.phases(Phase.CANCEL_ONLY)
        self.phases(Phase.MAINTENANCE)

    def reopen(self) -> None:
        """Maintenance is left by its procedure: load barrier, reconciliation, post-only, open."""
        self.do(ConfirmLoad())
        if self.setup.custody is not None:
            self.do(Reconcile())
        self.phases(Phase.POST_ONLY, Phase.OPEN)

    def deploy(self, release: ReleaseId, *replicas: ReplicaId) -> None:
        """A release is installed node by node, on all or on those named."""
        self.do(*(DeployRelease(replica=replica, release=release) for replica in replicas or self.setup.replicas))

    def resume(self, product: ProductId) -> Events:
        """A halted product is opened stage by stage."""
        stages = (Stage.CANCEL_ONLY, Stage.POST_ONLY, Stage.OPEN)
        return self.do(*(ResumeStage(product=product, stage=stage) for stage in stages))

    def read(self, client: str, replica: ReplicaId | None = None) -> AccountRead | Reason:
        """A client's balances as the primary or the named replica tells them, or why it does not."""
        command = ReadAccount(client=client)
        told = self.do(command if replica is None else AskReplica(replica=replica, commands=(command,)))
        assert len(told) == 1, f"{len(told)} answers to one read"
        assert isinstance(told[0], AccountRead | Rejected), told
        return told[0] if isinstance(told[0], AccountRead) else told[0].reason

    def ask(self, replica: ReplicaId, *commands: Command) -> Reason | None:
        """Hand commands to one replica; why it refused the first that it did, None when it did not."""
        told = self.do(AskReplica(replica=replica, commands=commands))
        return next((event.reason for event in told if isinstance(event, Rejected)), None)

    # What is there --------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """What the exchange shows now."""
        view, _ = self.runner.engine.observe()
        return view

    def amount(self, account: str, bucket: Bucket, asset: str) -> int:
        """A balance."""
        return sum(
            item.amount
            for item in self.view.balances
            if (item.account, item.bucket, item.asset) == (account, bucket, asset)
        )

    def position(self, client: str, market: str) -> Position | None:
        """A position, None where there is none."""
        found = [item for item in self.view.positions if (item.client, item.market) == (client, market)]
        return found[0] if found else None

    def left(self, client: str, order: str) -> int | None:
        """What is left of an order in the book, None where it is not in it."""
        found = [item.left_lots for item in self.view.orders if (item.client, item.order) == (client, order)]
        return found[0] if found else None

    def mark_of(self, market: str) -> int | None:
        """A market's mark, None while it is unavailable."""
        return next(item.mark_ticks for item in self.view.marks if item.market == market)

    def payment(self, payment: Label) -> Payment | None:
        """A payment under way, None where it is not."""
        return next((item for item in self.view.payments if item.intent.payment == payment), None)

    def withdrawal(self, client: str, withdrawal: str) -> WithdrawalStatus | None:
        """Where a withdrawal stands, None where there is none."""
        found = [
            item.status for item in self.view.withdrawals if (item.client, item.withdrawal) == (client, withdrawal)
        ]
        return found[0] if found else None

    def held_by(self, tier: TierId, asset: AssetId) -> int:
        """What a tier of custody holds of an asset."""
        return sum(item.amount for item in self.view.custody if (item.tier, item.asset) == (tier, asset))

    def happened(self, kind: type[Event]) -> int:
        """How many events of a kind were told so far."""
        return sum(isinstance(event, kind) for event in self.told)

    @property
    def _custody(self) -> ToldCustody:
        custody = self.runner.auditor.told.custody
        assert custody is not None, "the setup has no custody"
        return custody

    @property
    def _parties(self) -> SigningParties:
        parties = self.runner.known.parties
        assert parties is not None, "the setup has no custody"
        return parties

    def _approved(self, payment: Label) -> ToldPayment:
        assert payment in self._custody.payments, f"{payment} was not approved"
        return self._custody.payments[payment]

    def _tip(self, asset: AssetId) -> int:
        return self._custody.chains[asset].height

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"
