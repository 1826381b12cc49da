"""Drawing custody: what chains, providers, signers and operators do, mostly sensible, sometimes wrong on purpose.

The chains, the provider and the signers are parties of their own: they go by what the exchange told them, and no
restore of the exchange takes anything from them.
"""

from collections.abc import Callable

from msgspec.structs import replace

from holdfast.drawing import Moves
from holdfast.operating import Operating
from holdfast_invariants.told_custody import ToldCustody, ToldPayment
from holdfast_model.vocabulary import (
    NETWORK,
    SWEEP_PREFIX,
    Amount,
    ApproveWithdrawal,
    AssetAmount,
    AssetId,
    AttestCustody,
    BroadcastPayment,
    Bucket,
    Capability,
    ClientId,
    Command,
    CommitNonce,
    CoverShortfall,
    Crash,
    CrashPoint,
    FundHouse,
    PaymentStatus,
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
    Scheme,
    SetProvider,
    SubmitShare,
    SuspendAsset,
    SweepFunds,
    TakeSnapshot,
    TierId,
    WithdrawalStatus,
    message_of,
    structural_commitment,
)
from holdfast_model.vocabulary.amounts import Label

_TURNS_MAX = 14
"""How often signers speak in one move, restarts and refusals included."""
_UNSIGNED = (PaymentStatus.APPROVED, PaymentStatus.SIGNING)
_UNDER_WAY = frozenset(PaymentStatus) - {PaymentStatus.PAID, PaymentStatus.DROPPED}


class Keeping(Operating):
    """Single commands of custody, and moves that take a deposit or a payment from its beginning to its end."""

    @property
    def keeps(self) -> bool:
        """Whether there is custody to speak of."""
        return self.setup.custody is not None and self.can(Capability.CUSTODY)

    @property
    def custody(self) -> ToldCustody:
        """What was told of custody."""
        assert self.told.custody is not None
        return self.told.custody

    def asset(self) -> AssetId:
        """Any asset."""
        return self.one(self.setup.assets)

    # Chains ---------------------------------------------------------------------------------------------------------

    def tip(self, asset: AssetId) -> int:
        """How high an asset's chain is, as was told."""
        return self.custody.chains[asset].height

    def mine(self, asset: AssetId | None = None, blocks: int = 1) -> ReportBlock:
        """A block, or so many at once."""
        asset = self.asset() if asset is None else asset
        return ReportBlock(asset=asset, height=self.tip(asset) + blocks)

    def on_chain(self, client: ClientId, asset: AssetId, amount: int, *, depth: int = 0) -> ReportDeposit:
        """A new deposit, in the last block or so far below it."""
        return ReportDeposit(
            asset=asset,
            transaction=self.number("d"),
            client=client,
            amount=Amount(amount),
            height=max(0, self.tip(asset) - depth),
        )

    def endow(self, most: int) -> Moves:
        """Everybody has so much of everything, or what the first tier has room for; another tier has something."""
        assert self.setup.custody is not None
        first = self.setup.custody.tiers[0]
        for chain in self.setup.custody.chains:
            room = self._limits(first.balance_max, chain.asset)
            amount = min([most, *(part * 3 // 4 // len(self.setup.clients) for part in room)])
            yield self.mine(chain.asset)
            for client in self.setup.clients:
                yield self.on_chain(client, chain.asset, amount)
            yield self.mine(chain.asset, chain.confirmations)
            yield self.pay_network(chain.asset)
        for _ in range(self.one((0, 1, 2, 3))):
            yield from self.shift(first.tier)

    def pay_network(self, asset: AssetId) -> FundHouse:
        """The owner pays for the fees of sweeps."""
        return FundHouse(account=NETWORK, asset=asset, amount=Amount(100), transaction=self.number("h"))

    def block(self) -> Command:
        """A block, or one that is none."""
        asset = self.asset()
        return self.mine(asset, 0) if self.chance(0.05) else self.mine(asset, self.one((1, 1, 1, 2)))

    def arrive(self) -> Moves:
        """A deposit becomes final block by block, perhaps over a reorganisation, perhaps while it is told again."""
        asset, client = self.asset(), self.client()
        if self.tip(asset) == 0:
            yield self.mine(asset)
        deposit = self.on_chain(client, asset, self.random.randint(1, 600), depth=self.one((0, 0, 0, 1, 5)))
        yield deposit
        for _ in range(self.custody.true.confirmations[asset] + 1):
            if self.chance(0.15):
                yield from self._reorganised(deposit)
            if self.chance(0.15):
                yield deposit
            yield self.mine(asset)
        if self.chance(0.12):
            yield from self._reorganised(deposit)
        elif self.chance(0.2):
            yield replace(deposit, amount=Amount(deposit.amount + 1), height=self.tip(asset))

    def _reorganised(self, deposit: ReportDeposit) -> Moves:
        """The block of a deposit is lost; mostly it is in another one soon, with the same or another amount."""
        asset = deposit.asset
        lowest = max(1, min(deposit.height, self.tip(asset)))
        yield ReportReorganisation(asset=asset, height=lowest)
        if self.chance(0.8):
            yield self.mine(asset)
            again = replace(deposit, height=self.tip(asset))
            yield replace(again, amount=Amount(again.amount + 5)) if self.chance(0.1) else again
            if self.chance(0.5):
                yield self.mine(asset, self.custody.true.confirmations[asset])

    def reorganise(self) -> Moves:
        """A chain loses its last blocks: mostly few, now and then so many that something final is undone."""
        asset = self.asset()
        depth = self.one((1, 1, 1, 1, 2, self.custody.true.confirmations[asset] + 2, 0))
        yield ReportReorganisation(asset=asset, height=max(0, self.tip(asset) + 1 - depth))
        yield self.mine(asset, self.random.randint(1, 2))
        for (of, transaction), deposit in list(self.custody.true.deposits.items())[-6:]:
            if of == asset and deposit.height is None and self.chance(0.7):
                yield ReportDeposit(
                    asset=asset,
                    transaction=transaction,
                    client=deposit.client,
                    amount=deposit.amount,
                    height=self.tip(asset),
                )

    def outage(self) -> Moves:
        """The connection to a chain is lost; what happens meanwhile is refused, and told once it is there again."""
        asset = self.asset()
        yield SetProvider(asset=asset, up=False)
        backlog: list[Command] = []
        height = self.tip(asset)
        for _ in range(self.random.randint(1, 4)):
            height += 1
            backlog.append(ReportBlock(asset=asset, height=height))
            if self.chance(0.7):
                deposit = self.on_chain(self.client(), asset, self.random.randint(1, 300))
                backlog.append(replace(deposit, height=height))
        told = list(self.custody.pending)
        for key in told[:1]:
            pending = self.custody.pending[key]
            if key[0] == asset:
                backlog.append(
                    ReportDeposit(
                        asset=asset,
                        transaction=key[1],
                        client=pending.client,
                        amount=pending.amount,
                        height=pending.height,
                    )
                )
        for command in backlog:
            if self.chance(0.5):
                yield command
        yield SetProvider(asset=asset, up=True)
        for command in backlog:
            yield command
            if self.chance(0.1):
                yield command
        yield self.mine(asset, self.custody.true.confirmations[asset])

    def suspend(self) -> Moves:
        """Deposits or withdrawals of an asset are closed for a while, in which some become final."""
        asset = self.asset()
        deposits, withdrawals = self.one(((False, False), (False, True), (True, False)))
        yield SuspendAsset(asset=asset, deposits_open=deposits, withdrawals_open=withdrawals)
        if self.chance(0.7):
            if self.tip(asset) == 0:
                yield self.mine(asset)
            yield self.on_chain(self.client(), asset, self.random.randint(1, 300))
            yield self.mine(asset, self.custody.true.confirmations[asset])
        if self.chance(0.5):
            yield from self.pay_on()
        if not withdrawals and self.chance(0.7):
            request = self._request(asset, self.random.randint(1, 60))
            yield request
            yield ApproveWithdrawal(client=request.client, withdrawal=request.withdrawal)
        yield SuspendAsset(asset=asset, deposits_open=True, withdrawals_open=True)

    # Withdrawals ----------------------------------------------------------------------------------------------------

    def withdraw(self) -> Moves:
        """A withdrawal from its request to its end, whatever that is."""
        assert self.setup.custody is not None
        asset = self.asset()
        limits = self._limits(self.setup.custody.tiers[0].payment_max, asset)
        about = self.one((60, 200, *limits, *(limit + 50 for limit in limits)))
        request = self._request(asset, max(1, about + self.random.randint(-50, 20)))
        client, name = request.client, request.withdrawal
        yield request
        told = self.told.withdrawals.get((client, name))
        if told is None or told.status is not WithdrawalStatus.REQUESTED:
            return
        if self.chance(0.05):
            yield RefundWithdrawal(client=client, withdrawal=name)
        yield ApproveWithdrawal(client=client, withdrawal=name)
        yield from self.carry_out(f"{client}/{name}")

    def _request(self, asset: AssetId, amount: int) -> RequestWithdrawal:
        client, name = self.client(), self.number("w")
        return RequestWithdrawal(
            client=client, withdrawal=name, asset=asset, amount=Amount(amount), destination=f"{client}-{asset}"
        )

    def approve(self) -> ApproveWithdrawal | None:
        """An approval, mostly of what waits for one."""
        told = self.told.withdrawals
        waiting = [key for key, item in told.items() if item.status is WithdrawalStatus.REQUESTED]
        keys = waiting if waiting and self.chance(0.8) else list(told)
        if not keys:
            return None
        client, name = self.one(keys)
        return ApproveWithdrawal(client=client, withdrawal=name)

    def shift(self, source: TierId | None = None) -> Moves:
        """Funds are moved between tiers: within the limits mostly, now and then as much as there is, or twice.

        The target is sometimes full by then.
        """
        assert self.setup.custody is not None
        tiers = [tier.tier for tier in self.setup.custody.tiers]
        source = self.one(tiers) if source is None else source
        target = tiers[tiers.index(source) - 1] if self.chance(0.95) else source
        held = self.custody.true.held
        stocked = [asset for asset in self.setup.assets if held.get((source, asset), 0) > self.custody.fees[asset]]
        asset = self.one(stocked) if stocked else self.asset()
        there = held.get((source, asset), 0) - self.custody.fees[asset]
        limit = min([there, *self._limits(self.custody.tiers[source].payment_max, asset)])
        amount = there if self.chance(0.15) else self.one((limit, limit // 2, limit // 5))
        if self.amount(NETWORK, Bucket.FREE, asset) < 2 * self.custody.fees[asset]:
            yield self.pay_network(asset)
        if target == tiers[0] and self.chance(0.2):
            yield from self._fill(asset)
        first = SweepFunds(
            sweep=self.number("s"), asset=asset, amount=Amount(max(1, amount)), source=source, target=target
        )
        yield first
        if self.chance(0.25):
            yield replace(first, sweep=self.number("s"), amount=Amount(max(1, there)))
        yield from self.carry_out(SWEEP_PREFIX + first.sweep)

    def _limits(self, amounts: tuple[AssetAmount, ...], asset: AssetId) -> list[int]:
        return [item.amount for item in amounts if item.asset == asset]

    def _fill(self, asset: AssetId) -> Moves:
        """So much is deposited that the first tier may hardly hold more."""
        assert self.setup.custody is not None
        first = self.setup.custody.tiers[0]
        for most in self._limits(first.balance_max, asset):
            room = most - self.custody.true.held.get((first.tier, asset), 0)
            if room > 0:
                yield self.mine(asset)
                yield self.on_chain(self.client(), asset, room)
                yield self.mine(asset, self.custody.true.confirmations[asset])

    def pay_on(self) -> Moves:
        """Any payment is taken further."""
        under_way = [label for label, item in self.custody.payments.items() if item.status in _UNDER_WAY]
        if under_way:
            yield from self.carry_out(self.one(under_way))

    def carry_out(self, label: Label) -> Moves:
        """A payment is signed, broadcast, included, and final in the end; it may be refunded or left on the way."""
        yield from self.sign(label)
        if self.chance(0.2):
            yield from self._refund(label)
        payment = self.custody.payments.get(label)
        if payment is None or payment.status not in _UNDER_WAY or self.chance(0.1):
            return
        if payment.status is PaymentStatus.SIGNED:
            yield from self._hand_over(label, payment)
        if payment.status is PaymentStatus.BROADCAST:
            yield from self._include(label, payment)
        if payment.status is PaymentStatus.INCLUDED and self.chance(0.9):
            yield self.mine(payment.intent.asset, self.custody.true.confirmations[payment.intent.asset])
        if self.chance(0.12):
            yield from self._refund(label)

    def _hand_over(self, label: Label, payment: ToldPayment) -> Moves:
        """A signed payment is broadcast: too early first, if there is a lock."""
        if self.chance(0.1):
            yield from self._interrupt(BroadcastPayment(payment=label))
        wait = payment.not_before_ms - self.known.time_ms
        if wait > 0:
            if self.chance(0.8):
                yield BroadcastPayment(payment=label)
            if self.chance(0.3):
                yield self.later(max(1, wait - 1))
                yield BroadcastPayment(payment=label)
            yield self.later(max(1, payment.not_before_ms - self.known.time_ms))
        yield BroadcastPayment(payment=label)
        if self.chance(0.1):
            yield BroadcastPayment(payment=label)

    def _include(self, label: Label, payment: ToldPayment) -> Moves:
        """A payment that was broadcast is in a block, perhaps under another id, perhaps in another block later."""
        asset = payment.intent.asset
        if self.chance(0.15):
            yield from self._refund(label)
        name = payment.transaction if self.chance(0.6) else self.number("x")
        yield self.mine(asset)
        included = ReportPayment(payment=label, transaction=name, height=self.tip(asset))
        yield included
        if name != payment.transaction and self.chance(0.4):
            yield from self._refund(label)
        if name != payment.transaction and self.chance(0.4):
            yield BroadcastPayment(payment=label)
        if self.chance(0.15):
            yield ReportReorganisation(asset=asset, height=max(1, self.tip(asset)))
            yield self.mine(asset)
            yield replace(included, transaction=self.number("x"), height=self.tip(asset))
        if self.chance(0.1):
            yield included

    def _refund(self, label: Label) -> Moves:
        key = self.custody.withdrawal_of.get(label)
        if key is not None:
            yield RefundWithdrawal(client=key[0], withdrawal=key[1])

    # Signers --------------------------------------------------------------------------------------------------------

    def sign(self, label: Label) -> Moves:
        """Signers commit and give their shares in any order, mostly as they should."""
        for _ in range(_TURNS_MAX):
            payment = self.custody.payments.get(label)
            if payment is None or payment.status not in _UNSIGNED:
                return
            said = self._said(label, payment)
            if said is None:
                yield RestartSigning(payment=label)
                continue
            if self.chance(0.18):
                yield from self._misbehave(label, payment, said)
            elif self.chance(0.06):
                yield from self._interrupt(said)
            elif self.chance(0.02):
                return
            else:
                yield said

    def _said(self, label: Label, payment: ToldPayment) -> CommitNonce | SubmitShare | None:
        """What one of the signers whose turn it may be says, as it should; None where nobody has anything to say."""
        parties = self.known.parties
        signing = parties.signings.get(label) if parties is not None else None
        if parties is None or signing is None:
            return None
        if payment.status is PaymentStatus.SIGNING:
            asked = [name for name in signing.asked if name not in signing.shared]
            return parties.share(label, self.one(asked)) if asked else None
        names = [name for name in parties.rules[signing.intent.tier].signers if name not in signing.commitments]
        return parties.commitment(label, self.one(names)) if names else None

    def _misbehave(self, label: Label, payment: ToldPayment, said: CommitNonce | SubmitShare) -> Moves:
        """A signer, or who pretends to be one, says something wrong, late or twice; then signing goes on."""
        kinds: list[Callable[[], Moves]] = [
            lambda: self._forge(said),
            lambda: self._forge(said),
            lambda: self._by_another(payment, said),
            lambda: self._twice(said),
            lambda: self._twice(said),
            lambda: self._again(label, payment, said),
            lambda: self._again(label, payment, said),
            lambda: self._begin_again(label, said),
            lambda: self._refund(label),
        ]
        yield from self.one(kinds)()

    def _forge(self, said: CommitNonce | SubmitShare) -> Moves:
        """Another string of the same length, or of no length that there is."""
        text = said.share if isinstance(said, SubmitShare) else said.commitment
        flipped = (
            ("1" if text[-1] != "1" else "2") + text[1:] if self.chance(0.5) else text[:-1] + "0f"[text[-1] == "0"]
        )
        text = flipped if self.chance(0.8) else text[:-2]
        yield replace(said, share=text) if isinstance(said, SubmitShare) else replace(said, commitment=text)

    def _by_another(self, payment: ToldPayment, said: CommitNonce | SubmitShare) -> Moves:
        """What one signer has to say, in the name of another, of who is no signer, or for a payment that is none."""
        signers = self.custody.tiers[payment.intent.tier].signers
        yield self.one(
            (
                replace(said, signer=self.one(signers)),
                replace(said, signer="mallory"),
                replace(said, payment=f"{self.client()}/none"),
            )
        )

    def _twice(self, said: CommitNonce | SubmitShare) -> Moves:
        yield said
        yield said

    def _again(self, label: Label, payment: ToldPayment, said: CommitNonce | SubmitShare) -> Moves:
        """A nonce that was committed to before is to serve again: in the next attempt, or for another payment.

        Perhaps the exchange is restored in between, which must not make it forget.
        """
        commitments = [item for item in self.known.commitments if item.payment == label]
        if not commitments:
            yield said
            return
        old = self.one(commitments)
        if self.can(Capability.SNAPSHOT) and self.chance(0.7):
            yield TakeSnapshot()
            yield RestoreSnapshot()
        if payment.status in _UNSIGNED:
            yield RestartSigning(payment=label)
        yield old
        others = [
            item
            for other, item in self.custody.payments.items()
            if other != label and item.status is PaymentStatus.APPROVED and item.intent.tier == payment.intent.tier
        ]
        if others and self.custody.tiers[payment.intent.tier].scheme is Scheme.STRUCTURAL:
            intent = self.one(others).intent
            counter = int(old.commitment[:16], 16)
            reused = structural_commitment(signer=old.signer, message=message_of(intent), counter=counter)
            yield CommitNonce(payment=intent.payment, signer=old.signer, commitment=reused)

    def _begin_again(self, label: Label, said: CommitNonce | SubmitShare) -> Moves:
        """An attempt is given up, and what belongs to it comes late."""
        yield RestartSigning(payment=label)
        yield said

    def _interrupt(self, step: Command) -> Moves:
        """The exchange is killed, restored or fails over in the middle of it."""
        kinds = ["nothing"]
        kinds += ["kill", "kill"] * self.can(Capability.RESTART)
        kinds += ["restore"] * self.can(Capability.SNAPSHOT)
        kinds += ["failover"] * self.can(Capability.REPLICAS)
        match self.one(kinds):
            case "kill":
                flying = step if self.can(Capability.RESEND) and self.chance(0.7) else None
                yield Crash(in_flight=flying, point=self.one(list(CrashPoint)))
                yield Restart()
            case "restore":
                if self.chance(0.5):
                    yield TakeSnapshot()
                yield RestoreSnapshot()
            case "failover":
                yield from self.fail_over()
            case _:
                yield step

    # Operators ------------------------------------------------------------------------------------------------------

    def attest(self) -> AttestCustody:
        """What a tier holds is looked up: as it was thought, mostly; now and then it is less, or more."""
        assert self.setup.custody is not None
        tier, asset = self.one(self.setup.custody.tiers).tier, self.asset()
        held = self.custody.true.held.get((tier, asset), 0)
        off = 0 if self.chance(0.6) else self.one((-40, -1, 1, 25))
        return AttestCustody(tier=tier, asset=asset, amount=Amount(max(0, held + off)))

    def publish(self) -> PublishLiabilities:
        """The liabilities in an asset are published."""
        return PublishLiabilities(asset=self.asset())

    def reconcile(self) -> Reconcile:
        """Everything is compared."""
        return Reconcile()

    def heal(self) -> Moves:
        """Each difference that halted the exchange is made good: paid in, or the chain was looked up wrongly."""
        for asset in self.setup.assets:
            difference = self.custody.difference(asset)
            if difference < 0:
                if self.chance(0.15):
                    yield self._cover(asset, 1 - difference)
                if self.chance(0.2):
                    yield self._cover(asset, -(difference // 2))
                yield self._cover(asset, -self.custody.difference(asset))
            elif difference > 0:
                tier = max(self.custody.tiers, key=lambda name: self.custody.true.held.get((name, asset), 0))
                held = self.custody.true.held.get((tier, asset), 0)
                yield AttestCustody(tier=tier, asset=asset, amount=Amount(max(0, held - difference)))

    def _cover(self, asset: AssetId, amount: int) -> CoverShortfall:
        return CoverShortfall(asset=asset, amount=Amount(amount), transaction=self.number("c"))

    def wrong_in_custody(self) -> Command:
        """A command that is refused for how it is written."""
        asset, client = self.asset(), self.client()
        wrong: tuple[Command, ...] = (
            replace(self.on_chain(client, asset, 5), height=self.tip(asset) + 3),
            replace(self.on_chain(client, asset, 5), client="mallory"),
            self.on_chain(client, asset, self.one((0, -5))),
            ReportBlock(asset="DOGE", height=1),
            ReportPayment(payment=f"{client}/none", transaction="x", height=0),
            ReportReorganisation(asset=asset, height=self.tip(asset) + 2),
            ApproveWithdrawal(client=client, withdrawal="w-none"),
            RestartSigning(payment=f"{client}/none"),
            BroadcastPayment(payment=f"{client}/none"),
            AttestCustody(tier="warm", asset=asset, amount=Amount(1)),
            SweepFunds(sweep=self.number("s"), asset=asset, amount=Amount(1), source="hot", target="warm"),
            self._cover(asset, 5),
            PublishLiabilities(asset="DOGE"),
        )
        return self.one(wrong)

    def custody_in_flight(self) -> Command:
        """A command of custody whose outcome nobody will be told."""
        for label, payment in self.custody.payments.items():
            if payment.status in _UNSIGNED and self.chance(0.5):
                said = self._said(label, payment)
                if said is not None:
                    return said
            if payment.status is PaymentStatus.SIGNED and self.chance(0.5):
                return BroadcastPayment(payment=label)
        return self.block() if self.chance(0.5) else self.on_chain(self.client(), self.asset(), 7)
