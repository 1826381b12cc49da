"""A Hypothesis machine for custody: chains that reorganise, payments that signers sign, tiers, and healing."""

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec.structs import replace

from holdfast.machines import ExchangeMachine, move, needs
from holdfast.setups import CUSTODY_SETUP
from holdfast_invariants.told_custody import ToldCustody
from holdfast_model.vocabulary import (
    NETWORK,
    SWEEP_PREFIX,
    Amount,
    AnnounceMaintenance,
    ApproveWithdrawal,
    AssetId,
    AttestCustody,
    BroadcastPayment,
    Capability,
    CommitNonce,
    ConfirmLoad,
    CoverShortfall,
    Crash,
    CrashPoint,
    FundHouse,
    PaymentStatus,
    Phase,
    PublishLiabilities,
    Reconcile,
    RefundWithdrawal,
    ReportBlock,
    ReportDeposit,
    ReportPayment,
    ReportReorganisation,
    RequestWithdrawal,
    Restart,
    RestartSigning,
    RestoreSnapshot,
    SetPhase,
    SetProvider,
    Setup,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
    TakeSnapshot,
)
from holdfast_model.vocabulary.amounts import Label

_index = st.integers(0, 2**16)
_amounts = st.sampled_from((1, 40, 480, 530))
_UNSIGNED = (PaymentStatus.APPROVED, PaymentStatus.SIGNING)
_TURNS_MAX = 20


class CustodyMachine(ExchangeMachine):
    """Drives an exchange with custody; after every step a view is taken and every invariant checked.

    The signers are parties of their own (`Known.parties`): they say what they have to when a rule lets them.
    """

    setup: ClassVar[Setup] = CUSTODY_SETUP

    # What is done, given names and amounts --------------------------------------------------------------------------

    @property
    def _custody(self) -> ToldCustody:
        custody = self.runner.auditor.told.custody
        assert custody is not None
        return custody

    def _asset(self, index: int) -> AssetId:
        return self.setup.assets[index % len(self.setup.assets)]

    def _client(self, index: int) -> str:
        return self.setup.clients[index % len(self.setup.clients)]

    def _tier(self, index: int) -> str:
        names = list(self._custody.tiers)
        return names[index % len(names)]

    def _tip(self, asset: AssetId) -> int:
        return self._custody.chains[asset].height

    def _mine(self, asset: AssetId, blocks: int = 1) -> None:
        self.do(ReportBlock(asset=asset, height=self._tip(asset) + blocks))

    def _reported(self, client: str, asset: AssetId, amount: int) -> ReportDeposit:
        return ReportDeposit(
            asset=asset, transaction=self._id("d"), client=client, amount=Amount(amount), height=self._tip(asset)
        )

    def _fund(self, client: int) -> None:
        """A client gets enough of everything to trade and to withdraw, block by block."""
        for asset in self.setup.assets:
            self._mine(asset)
            self.do(self._reported(self._client(client), asset, 1_000))
            self._mine(asset, self._custody.true.confirmations[asset])

    def endow(self) -> None:
        """The house can pay for sweeps."""
        for asset in self.setup.assets:
            self.do(FundHouse(account=NETWORK, asset=asset, amount=Amount(60), transaction=self._id("h")))

    def _payment(self, index: int, *statuses: PaymentStatus) -> Label | None:
        """A payment by a drawn number, of those that stand so."""
        labels = [label for label, item in self._custody.payments.items() if item.status in statuses]
        return labels[index % len(labels)] if labels else None

    def _unsigned(self, index: int) -> Label:
        """A payment that is not signed; where there is none, one that is approved now."""
        label = self._payment(index, *_UNSIGNED)
        if label is not None:
            return label
        return self._request(self._client(index), self._asset(index // 3), 1 + index % 400, approve=True)

    def _with_status(self, index: int, status: PaymentStatus) -> Label | None:
        """A payment that stands so; where there is none, one that is taken there."""
        label = self._payment(index, status)
        if label is not None:
            return label
        label = self._payment(index, PaymentStatus.SIGNED) or self._unsigned(index)
        self._sign(label)
        if status is PaymentStatus.BROADCAST and self._stands(label, PaymentStatus.SIGNED):
            self._broadcast(label, early=False)
        return label if self._stands(label, status) else None

    def _stands(self, label: Label, status: PaymentStatus) -> bool:
        payment = self._custody.payments.get(label)
        return payment is not None and payment.status is status

    def _said(self, label: Label) -> CommitNonce | SubmitShare | None:
        parties = self.runner.known.parties
        return parties.next_to_say(label) if parties is not None else None

    def _sign(self, label: Label, turns: int = _TURNS_MAX) -> None:
        """The signers say all that they have to, or so much of it."""
        for _ in range(turns):
            payment = self._custody.payments.get(label)
            said = self._said(label) if payment is not None and payment.status in _UNSIGNED else None
            if said is None:
                return
            self.do(said)

    def _broadcast(self, label: Label, *, early: bool) -> None:
        payment = self._custody.payments[label]
        if early or payment.not_before_ms <= self.runner.known.time_ms:
            self.do(BroadcastPayment(payment=label))
        if payment.not_before_ms > self.runner.known.time_ms:
            self.do(self.later(payment.not_before_ms - self.runner.known.time_ms))
            self.do(BroadcastPayment(payment=label))

    def _include(self, label: Label, *, changed: bool) -> None:
        payment = self._custody.payments[label]
        asset = payment.intent.asset
        self._mine(asset)
        name = self._id("x") if changed else payment.transaction
        self.do(ReportPayment(payment=label, transaction=name or "x", height=self._tip(asset)))

    # Chains ---------------------------------------------------------------------------------------------------------

    @needs(Capability.CUSTODY)
    @rule(asset=_index, blocks=st.integers(0, 4))
    def mine(self, asset: int, blocks: int) -> None:
        """Blocks, or none."""
        self._mine(self._asset(asset), blocks)

    @needs(Capability.CUSTODY)
    @rule(client=_index, asset=_index, amount=_amounts, again=st.booleans())
    def deposit(self, client: int, asset: int, amount: int, *, again: bool = False) -> None:
        """A deposit is in the last block, perhaps told twice."""
        name = self._asset(asset)
        self._mine(name)
        deposit = self._reported(self._client(client), name, amount)
        self.do(deposit)
        if again:
            self.do(deposit)

    @needs(Capability.CUSTODY)
    @rule(asset=_index, amount=_amounts, confirmed=st.integers(0, 3), back=st.booleans(), healed=st.booleans())
    @move
    def reorganise(self, *, asset: int, amount: int, confirmed: int, back: bool, healed: bool) -> None:
        """A chain loses a deposit, final or not, and all above it; it comes back in another block, or does not."""
        name = self._asset(asset)
        self._mine(name)
        deposit = self._reported(self._client(asset), name, amount)
        self.do(deposit)
        if confirmed:
            self._mine(name, confirmed)
        self.do(ReportReorganisation(asset=name, height=max(1, deposit.height)))
        self._mine(name)
        for (of, transaction), lost in list(self._custody.true.deposits.items()):
            if back and of == name and lost.height is None:
                self.do(
                    ReportDeposit(
                        asset=name,
                        transaction=transaction,
                        client=lost.client,
                        amount=lost.amount,
                        height=self._tip(name),
                    )
                )
        self._mine(name, confirmed + 1)
        if healed:
            self._heal(0)

    @needs(Capability.CUSTODY)
    @rule(client=_index, asset=_index, amount=_amounts, blocks=st.integers(0, 1))
    @move
    def come_back(self, client: int, asset: int, amount: int, blocks: int) -> None:
        """A final deposit is lost to a reorganisation, found again in a later block, and final once more."""
        name = self._asset(asset)
        self._mine(name)
        deposit = self._reported(self._client(client), name, amount)
        self.do(deposit)
        self._mine(name, self._custody.true.confirmations[name])
        self.do(ReportReorganisation(asset=name, height=max(1, deposit.height)))
        self._mine(name, 1 + blocks)
        self.do(replace(deposit, height=self._tip(name)))
        self._mine(name, self._custody.true.confirmations[name] + 1)
        self._heal(0)

    @needs(Capability.CUSTODY)
    @rule(asset=_index, client=_index, amount=_amounts)
    @move
    def outage(self, asset: int, client: int, amount: int) -> None:
        """The provider is down; what it could not tell it tells when it is there again."""
        name = self._asset(asset)
        deposit = self._reported(self._client(client), name, amount)
        block = ReportBlock(asset=name, height=self._tip(name) + self._custody.true.confirmations[name])
        self.do(SetProvider(asset=name, up=False))
        self.do(deposit)
        self.do(SetProvider(asset=name, up=True))
        for command in (deposit, block, deposit):
            self.do(command)

    @needs(Capability.CUSTODY)
    @rule(asset=_index, deposits=st.booleans(), withdrawals=st.booleans(), amount=_amounts)
    @move
    def suspend(self, *, asset: int, deposits: bool, withdrawals: bool, amount: int) -> None:
        """Deposits and withdrawals of an asset are closed; some happen meanwhile; they are open again."""
        name = self._asset(asset)
        self.do(SuspendAsset(asset=name, deposits_open=deposits, withdrawals_open=withdrawals))
        self._mine(name)
        self.do(self._reported(self._client(asset), name, amount))
        self._mine(name, self._custody.true.confirmations[name])
        label = self._payment(asset, PaymentStatus.SIGNED)
        if label is not None:
            self.do(BroadcastPayment(payment=label))
        self.do(SuspendAsset(asset=name, deposits_open=True, withdrawals_open=True))

    # Payments -------------------------------------------------------------------------------------------------------

    @needs(Capability.CUSTODY)
    @rule(client=_index, asset=_index, amount=_amounts, approve=st.booleans())
    def request(self, *, client: int, asset: int, amount: int, approve: bool) -> None:
        """A withdrawal is requested, and approved."""
        self._request(self._client(client), self._asset(asset), amount, approve=approve)

    def _request(self, owner: str, asset: AssetId, amount: int, *, approve: bool) -> Label:
        name = self._id("w")
        self.do(
            RequestWithdrawal(client=owner, withdrawal=name, asset=asset, amount=Amount(amount), destination="home")
        )
        if approve:
            self.do(ApproveWithdrawal(client=owner, withdrawal=name))
        return f"{owner}/{name}"

    @needs(Capability.CUSTODY)
    @rule(asset=_index, amount=st.sampled_from((1, 300, 500, 3_000)), out_of=_index, into=_index)
    def move_between_tiers(self, asset: int, amount: int, out_of: int, into: int) -> None:
        """A sweep is approved."""
        self._sweep(self._asset(asset), amount, self._tier(out_of), self._tier(into))

    def _sweep(self, asset: AssetId, amount: int, source: str, target: str) -> Label:
        name = self._id("s")
        self.do(SweepFunds(sweep=name, asset=asset, amount=Amount(amount), source=source, target=target))
        return SWEEP_PREFIX + name

    # What random choice rarely puts together ------------------------------------------------------------------------

    def _arrive(self, client: int, asset: AssetId, amount: int) -> None:
        """A deposit is in a block, and final."""
        self._mine(asset)
        self.do(self._reported(self._client(client), asset, amount))
        self._mine(asset, self._custody.true.confirmations[asset])

    def _stock_cold(self, client: int) -> AssetId:
        """The second tier has something of the first asset: it came in, and was swept there."""
        asset, (hot, cold) = self.setup.assets[0], list(self._custody.tiers)[:2]
        for _ in range(2):
            self._arrive(client, asset, 600)
            label = self._sweep(asset, 500, hot, cold)
            self._sign(label)
            if self._stands(label, PaymentStatus.SIGNED):
                self._broadcast(label, early=False)
            if self._stands(label, PaymentStatus.BROADCAST):
                self._include(label, changed=False)
                self._mine(asset, self._custody.true.confirmations[asset])
        return asset

    @needs(Capability.CUSTODY)
    @rule(client=_index)
    @move
    def pay_out_of_cold_storage(self, client: int) -> None:
        """A withdrawal beyond the first tier's limit is signed for the second tier, and broadcast too early."""
        asset = self._stock_cold(client)
        label = self._request(self._client(client), asset, 550, approve=True)
        self._sign(label)
        if self._stands(label, PaymentStatus.SIGNED):
            self._broadcast(label, early=True)

    @needs(Capability.CUSTODY)
    @rule(client=_index)
    @move
    def fill_the_first_tier(self, client: int) -> None:
        """So much comes in that a sweep back from the second tier would bring the first beyond what it may hold."""
        asset = self._stock_cold(client)
        hot, cold = list(self._custody.tiers)[:2]
        most = max((item.amount for item in self._custody.tiers[hot].balance_max if item.asset == asset), default=0)
        room = most - self._custody.true.held.get((hot, asset), 0)
        if room > 0:
            self._arrive(client, asset, room)
        self._sweep(asset, 300, cold, hot)

    @needs(Capability.CUSTODY)
    @rule(client=_index)
    @move
    def promise_all(self, client: int) -> None:
        """Sweeps are approved until the first tier has nothing left to promise."""
        asset, (hot, cold) = self.setup.assets[0], list(self._custody.tiers)[:2]
        self._arrive(client, asset, 100)
        for _ in range(1 + self._custody.true.held.get((hot, asset), 0) // 500):
            self._sweep(asset, 490, hot, cold)

    @needs(Capability.CUSTODY)
    @rule(client=_index)
    @move
    def share_twice(self, client: int) -> None:
        """A signer gives its share twice, and nobody else theirs."""
        asset = self._asset(client)
        self._arrive(client, asset, 100)
        label = self._request(self._client(client), asset, 50, approve=True)
        self._sign(label, turns=2)
        said = self._said(label)
        if isinstance(said, SubmitShare):
            self.do(said)
            self.do(said)

    @needs(Capability.CUSTODY)
    @rule(client=_index, turns=st.integers(2, 5))
    @move
    def forge_a_share(self, client: int, turns: int) -> None:
        """A share is forged, be it the first or the last that a payment needs."""
        asset = self._asset(client)
        self._arrive(client, asset, 100)
        label = self._request(self._client(client), asset, 50, approve=True)
        self._sign(label, turns=turns)
        said = self._said(label)
        if isinstance(said, SubmitShare):
            self.do(replace(said, share="ab" * (len(said.share) // 2)))

    @needs(Capability.CUSTODY)
    @rule(index=_index)
    def say(self, index: int) -> None:
        """A signer says what it has to."""
        said = self._said(self._unsigned(index))
        if said is not None:
            self.do(said)

    @needs(Capability.CUSTODY)
    @rule(
        index=_index,
        spoken=st.sampled_from((0, 1, 2, 2, 3)),
        what=st.sampled_from(("forged", "another", "twice", "again", "restart")),
    )
    @move
    def misbehave(self, index: int, spoken: int, what: str) -> None:
        """After others, a signer says something forged, in another's name, twice, or with a nonce of before."""
        label = self._unsigned(index)
        self._sign(label, turns=spoken)
        said = self._said(label)
        if said is None:
            return
        match what, said:
            case "forged", SubmitShare():
                self.do(SubmitShare(payment=label, signer=said.signer, share="ab" * (len(said.share) // 2)))
            case "forged", CommitNonce():
                self.do(CommitNonce(payment=label, signer=said.signer, commitment="ab" * 40))
            case "another", SubmitShare():
                self.do(SubmitShare(payment=label, signer="mallory", share=said.share))
            case "twice", _:
                self.do(said)
                self.do(said)
            case "again", _:
                old = [item for item in self.runner.known.commitments if item.payment == label]
                self.do(RestartSigning(payment=label))
                for item in old[-1:]:
                    self.do(item)
            case _:
                self.do(RestartSigning(payment=label))

    @needs(Capability.CUSTODY)
    @rule(index=_index)
    def sign(self, index: int) -> None:
        """A payment is signed."""
        self._sign(self._unsigned(index))

    @needs(Capability.CUSTODY)
    @rule(index=_index, early=st.booleans(), include=st.booleans(), changed=st.booleans())
    def broadcast(self, *, index: int, early: bool, include: bool, changed: bool) -> None:
        """A signed payment is broadcast, too early perhaps, and included, perhaps under another id."""
        label = self._with_status(index, PaymentStatus.SIGNED)
        if label is None:
            return
        self._broadcast(label, early=early)
        if include:
            self._include(label, changed=changed)

    @needs(Capability.CUSTODY)
    @rule(index=_index, changed=st.booleans(), refund=st.booleans(), blocks=st.integers(0, 4))
    def include(self, *, index: int, changed: bool, refund: bool, blocks: int) -> None:
        """A payment that was broadcast is included, its withdrawal asked back, and the chain goes on."""
        label = self._with_status(index, PaymentStatus.BROADCAST)
        if label is None:
            return
        self._include(label, changed=changed)
        if refund:
            self._refund(label)
        self._mine(self._custody.payments[label].intent.asset, blocks)

    @needs(Capability.CUSTODY)
    @rule(index=_index)
    def refund_payment(self, index: int) -> None:
        """A withdrawal is asked back, wherever its payment stands."""
        label = self._payment(index, *PaymentStatus)
        if label is not None:
            self._refund(label)

    def _refund(self, label: Label) -> None:
        key = self._custody.withdrawal_of.get(label)
        if key is not None:
            self.do(RefundWithdrawal(client=key[0], withdrawal=key[1]))

    @needs(Capability.CUSTODY)
    @rule(client=_index, asset=_index, amount=_amounts, sweep=st.booleans(), changed=st.booleans())
    @move
    def pay(self, *, client: int, asset: int, amount: int, sweep: bool, changed: bool) -> None:
        """A payment from beginning to end: what random choice alone rarely puts together."""
        name = self._asset(asset)
        if sweep:
            label = self._sweep(name, amount, self._tier(client), self._tier(client + 1))
        else:
            label = self._request(self._client(client), name, amount, approve=True)
        self._sign(label)
        payment = self._custody.payments.get(label)
        if payment is None or payment.status is not PaymentStatus.SIGNED:
            return
        self._broadcast(label, early=False)
        self._include(label, changed=changed)
        self._mine(name, self._custody.true.confirmations[name])

    @needs(Capability.CUSTODY, Capability.RESTART, Capability.RESEND)
    @rule(index=_index, point=st.sampled_from(CrashPoint), flying=st.booleans())
    @move
    def killed_while_signing(self, *, index: int, point: CrashPoint, flying: bool) -> None:
        """The exchange dies while a signer speaks; signing goes on after the restart."""
        label = self._unsigned(index)
        said = self._said(label)
        if said is None:
            return
        self.do(Crash(in_flight=said if flying else None, point=point))
        self.do(Restart())
        self._sign(label)

    @needs(Capability.CUSTODY, Capability.SNAPSHOT)
    @rule(index=_index)
    @move
    def restored_while_signing(self, index: int) -> None:
        """The exchange is restored while it is signing, and signing begins again with what was said before."""
        label = self._unsigned(index)
        said = self._said(label)
        if said is not None:
            self.do(said)
        old = [item for item in self.runner.known.commitments if item.payment == label]
        self.do(TakeSnapshot())
        self.do(RestoreSnapshot())
        self.do(RestartSigning(payment=label))
        for item in old[-1:]:
            self.do(item)
        self._sign(label)

    # Operators ------------------------------------------------------------------------------------------------------

    @needs(Capability.CUSTODY, Capability.PHASES)
    @rule(tier=_index, asset=_index, off=st.sampled_from((0, -7, 3)), more=st.sampled_from((0, 0, 1)))
    def attest(self, tier: int, asset: int, off: int, more: int) -> None:
        """What a tier holds is looked up: what was thought, or something else, which is then made good."""
        name, of = self._tier(tier), self._asset(asset)
        held = self._custody.true.held.get((name, of), 0)
        self.do(AttestCustody(tier=name, asset=of, amount=Amount(max(0, held + off))))
        self._heal(more)

    def _heal(self, more: int) -> None:
        """What custody lacks is paid in, what it has too much is looked up again, and the exchange opens."""
        for asset in self.setup.assets:
            difference = self._custody.difference(asset)
            if difference < 0:
                amount = Amount(more - difference)
                self.do(CoverShortfall(asset=asset, amount=amount, transaction=self._id("c")))
            elif difference > 0:
                held = {tier: self._custody.true.held.get((tier, asset), 0) for tier in self._custody.tiers}
                tier = max(held, key=lambda name: held[name])
                self.do(AttestCustody(tier=tier, asset=asset, amount=Amount(max(0, held[tier] - difference))))
        if self.runner.auditor.told.phase is Phase.HALTED:
            self.reopen()

    @needs(Capability.CUSTODY, Capability.PHASES)
    @rule()
    def heal(self) -> None:
        """Whatever differs is made good."""
        self._heal(0)

    @needs(Capability.CUSTODY)
    @rule(asset=_index, everything=st.booleans())
    def publish(self, *, asset: int, everything: bool) -> None:
        """Liabilities are published, and everything is reconciled."""
        if everything:
            self.do(Reconcile())
        self.do(PublishLiabilities(asset=self._asset(asset)))

    @needs(Capability.CUSTODY, Capability.PROCEDURE, Capability.PHASES)
    @rule(
        confirmed=st.sampled_from((True, True, False)),
        reconciled=st.booleans(),
        aborted=st.booleans(),
        restored=st.booleans(),
    )
    @move
    def maintain(self, *, confirmed: bool, reconciled: bool, aborted: bool, restored: bool) -> None:
        """Maintenance by the procedure, or with a step left out, or called off; then what is owed is done."""
        self.do(SetPhase(phase=Phase.CANCEL_ONLY))
        self.do(AnnounceMaintenance(begins_ms=self.runner.known.time_ms))
        self.do(SetPhase(phase=Phase.MAINTENANCE))
        if restored and Capability.SNAPSHOT in self.runner.capabilities:
            self.do(RestoreSnapshot())
        if confirmed:
            self.do(ConfirmLoad())
        if reconciled:
            self.do(Reconcile())
        if aborted:
            self.do(SetPhase(phase=Phase.CANCEL_ONLY))
        for phase in (Phase.POST_ONLY, Phase.OPEN):
            self.do(SetPhase(phase=phase))
        self.reopen()
