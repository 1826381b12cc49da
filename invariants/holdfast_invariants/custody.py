"""CUST: custody covers what is owed, and what comes in or goes out of it does so once and within its limits."""

from hashlib import sha256
from typing import Any

from msgspec import Struct

from holdfast_invariants.monitor import Monitor, after, before, on
from holdfast_invariants.told_custody import OVER, TIER_PREFIX, ToldCustody, refused
from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    Amount,
    Answer,
    AssetId,
    Bucket,
    Command,
    DepositCredited,
    DepositFinalised,
    LiabilitiesPublished,
    Liability,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIncluded,
    PaymentIntent,
    PaymentStatus,
    Phase,
    PublishLiabilities,
    ReportBlock,
    SuspendAsset,
    SweepCompleted,
    SweepFunds,
    TierRule,
    View,
    WithdrawalPaid,
    WithdrawalRefunded,
    WithdrawalStatus,
    build_liabilities,
    margin_account,
)
from holdfast_model.vocabulary.amounts import Label

_OWN = (Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL)
_UNSIGNED = frozenset({PaymentStatus.APPROVED, PaymentStatus.SIGNING})
_ENDED = frozenset({WithdrawalStatus.PAID, WithdrawalStatus.REFUNDED})


def in_words(intent: PaymentIntent) -> str:
    """What a payment is to do."""
    return f"{intent.amount} {intent.asset} and {intent.fee} as fee from {intent.tier} to {intent.destination}"


class CustodyCoversWhatIsOwed(Monitor):
    """CUST-1: at every cut custody holds what the ledger owes, by asset; and every balance is the sum of its entries.

    Custody is recomputed from what chains and owners reported. A difference that the exchange tells of itself, and
    halts for with the same answer, is found and no violation: until it is healed the exchange stays halted.
    """

    invariant = "CUST-1"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._agreed: dict[AssetId, tuple[int, int]] = {}
        if self.told.custody is None:
            self.idle = frozenset({"done"})

    @after()
    def done(self, command: Command, answer: Answer) -> None:
        """What custody holds of each asset is what is owed, or the exchange has found the difference and halted."""
        custody = self.told.custody
        assert custody is not None
        if not answer.events:
            return
        for asset, owed in custody.owed.items():
            held = custody.true.totals[asset]
            if self._agreed.get(asset) == (held, owed):
                continue
            self.checked += 1
            if held == owed:
                self._agreed[asset] = (held, owed)
                continue
            self._agreed.pop(asset, None)
            found = custody.is_found(asset)
            if not found or self.told.phase is not Phase.HALTED:
                said = f"it was found, and the phase is {self.told.phase}" if found else "nothing was said of it"
                self.report(
                    f"custody of {asset}",
                    found=f"{held} {asset} are in custody and {owed} are owed; {said}",
                    expected="as much as is owed, or that the exchange finds the difference and halts",
                    evidence=[command],
                )

    def view(self, view: View) -> None:
        """Each tier shows what is true of it, and each account's balance is the sum of the entries told."""
        custody = self.told.custody
        if custody is None:
            return
        tiers = {(item.tier, item.asset): int(item.amount) for item in view.custody}
        true = custody.true.held
        for key in sorted(tiers.keys() | true.keys()):
            self.checked += 1
            if tiers.get(key, 0) != true.get(key, 0):
                self.report(
                    f"tier {key[0]} {key[1]}",
                    found=f"{tiers.get(key, 0)} {key[1]} are shown",
                    expected=f"{true.get(key, 0)}, from what was reported of deposits, payments and owners",
                )
        balances: dict[tuple[str, AssetId], int] = {}
        for balance in view.balances:
            place = (balance.account, balance.asset)
            balances[place] = balances.get(place, 0) + balance.amount
        for place in sorted(balances.keys() | custody.totals.keys()):
            self.checked += 1
            now, total = balances.get(place, 0), custody.totals.get(place, 0)
            found = custody.found.get(place[1])
            if now != total and (found is None or found.place != place[0]):
                self.report(
                    f"balance of {place[0]} {place[1]}",
                    found=f"{now} {place[1]} are shown",
                    expected=f"{total}, the sum of its entries",
                )


class DepositsAreCreditedOnce(Monitor):
    """CUST-2: a deposit is credited when its chain has made it final, and not before; once, and as it was made."""

    invariant = "CUST-2"

    @on(DepositFinalised, DepositCredited)
    def credited(self, event: DepositFinalised | DepositCredited) -> None:
        """What is called final, or credited, is final on its chain: this client's, this much, and only once."""
        custody = self.told.custody
        if custody is None:
            return
        self.checked += 1
        key = (event.asset, event.transaction)
        true = custody.true.deposits.get(key)
        what = "credited" if isinstance(event, DepositCredited) else "called final"
        if what == "credited" and key in custody.credited:
            self._wrong(event, "credited a second time", "once, whatever its chain goes through")
        elif true is None:
            self._wrong(event, what, "nothing: no such deposit was reported")
        elif not custody.true.final(event.asset, true.height):
            tip, needed = custody.true.tips[event.asset], custody.true.confirmations[event.asset]
            where = "in no block" if true.height is None else f"in block {true.height} of {tip}"
            self._wrong(event, f"{what} while it is {where}", f"not before it has {needed} confirmations")
        elif (true.client, true.amount) != (event.client, event.amount):
            self._wrong(event, f"{event.amount} to {event.client}", f"{true.amount} to {true.client}, as reported")

    def _wrong(self, event: DepositFinalised | DepositCredited, found: str, expected: str) -> None:
        self.report(f"deposit {event.transaction} of {event.asset}", found=found, expected=expected, evidence=[event])

    @after(ReportBlock, SuspendAsset)
    def due(self, command: ReportBlock | SuspendAsset, answer: Answer) -> None:
        """Nothing that is final waits while deposits of its asset are open; a shorter chain confirms less."""
        custody = self.told.custody
        if custody is None or refused(answer) or command.asset not in custody.chains:
            return
        if not custody.chains[command.asset].deposits_open:
            return
        for transaction, deposit in custody.true.uncredited[command.asset].items():
            self.checked += 1
            final = custody.true.final(command.asset, deposit.height)
            if final and (command.asset, transaction) not in custody.credited:
                self.report(
                    f"deposit {transaction} of {command.asset}",
                    found="it is final, and was not credited",
                    expected=f"{deposit.amount} {command.asset} to {deposit.client}, with this answer",
                    evidence=[command],
                )


class WithdrawalsEndOnce(Monitor):
    """CUST-3: a withdrawal is paid or refunded, one of the two, once: the same asset, amount and owner."""

    invariant = "CUST-3"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._sent: dict[Label, str] = {}

    @on(WithdrawalPaid, WithdrawalRefunded)
    def ended(self, event: WithdrawalPaid | WithdrawalRefunded) -> None:
        """It has not ended before, ends as it was requested, and its payment stands where it can end so."""
        custody, told = self.told.custody, self.told.withdrawal
        if custody is None:
            return
        self.checked += 1
        what = "paid" if isinstance(event, WithdrawalPaid) else "refunded"
        label = f"{event.client}/{event.withdrawal}"
        if told is None:
            self._wrong(label, what, "nothing: nobody requested it", event)
            return
        if told.status in _ENDED:
            self._wrong(label, what, f"nothing: it was {told.status}", event)
        if (told.asset, told.amount, told.fee) != (event.asset, event.amount, event.fee):
            self._wrong(
                label,
                f"{what} with {event.amount} {event.asset} and {event.fee} as fee",
                f"{told.amount} {told.asset} and {told.fee}, as requested",
                event,
            )
        payment = custody.payments.get(label)
        if isinstance(event, WithdrawalPaid):
            true = custody.true.payments.get(label)
            if true is None or not custody.true.final(event.asset, true.height):
                where = "was never broadcast" if true is None else f"is in block {true.height}"
                self._wrong(label, f"paid while its payment {where}", "that its chain has made it final", event)
        elif payment is not None and payment.status not in _UNSIGNED:
            self._wrong(
                label, f"refunded while its payment is {payment.status}", "that it is paid: it was signed", event
            )

    @on(PaymentApproved, PaymentBroadcast)
    def approved(self, event: PaymentApproved | PaymentBroadcast) -> None:
        """What is approved and broadcast for a withdrawal is what its owner requested, and is broadcast once."""
        custody, intent = self.told.custody, event.intent
        if custody is None:
            return
        self.checked += 1
        if isinstance(event, PaymentBroadcast):
            before = self._sent.setdefault(intent.payment, event.transaction)
            known = custody.true.payments.get(intent.payment)
            if known is not None:
                self._wrong(intent.payment, f"broadcast again as {event.transaction}", f"once: it is {before}", event)
        if intent.payment.startswith(SWEEP_PREFIX):
            return
        key = custody.withdrawal_of.get(intent.payment)
        told = self.told.withdrawals.get(key) if key is not None else None
        if told is None or told.status in _ENDED:
            self._wrong(
                intent.payment, in_words(intent), "nothing: there is no withdrawal to be paid under this name", event
            )
        elif (told.asset, told.amount, told.fee, told.destination) != (
            intent.asset,
            intent.amount,
            intent.fee,
            intent.destination,
        ):
            expected = f"{told.amount} {told.asset} and {told.fee} as fee to {told.destination}, as requested"
            self._wrong(intent.payment, in_words(intent), expected, event)

    @on(PaymentIncluded)
    def included(self, event: PaymentIncluded) -> None:
        """A payment in a block, whatever its transaction is now called, was broadcast before."""
        custody = self.told.custody
        if custody is None:
            return
        self.checked += 1
        if event.payment not in custody.true.payments:
            self._wrong(event.payment, f"included as {event.transaction}", "nothing: it was not broadcast", event)

    @after(ReportBlock)
    def due(self, command: ReportBlock, answer: Answer) -> None:
        """A withdrawal whose payment has become final is told to be paid with the same answer."""
        custody = self.told.custody
        if custody is None or refused(answer) or command.asset not in custody.chains:
            return
        for label in custody.true.unsettled[command.asset]:
            self.checked += 1
            key = custody.withdrawal_of.get(label)
            told = self.told.withdrawals.get(key) if key is not None else None
            if told is not None and told.status is not WithdrawalStatus.PAID:
                self._wrong(label, f"it is {told.status}, and its payment is final", "that it is paid", command)

    def _wrong(self, label: Label, found: str, expected: str, evidence: Struct) -> None:
        self.report(f"withdrawal {label}", found=found, expected=expected, evidence=[evidence])


class LimitsHold(Monitor):
    """CUST-6: tiers keep their limits and time locks, suspensions hold, and what is published is what is owed.

    Limits and locks are recomputed from the setup, the requests and the time told, the tree from the entries told.
    """

    invariant = "CUST-6"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._sweeps: dict[Label, SweepFunds] = {}
        self._not_before: dict[Label, int] = {}
        self._published: dict[AssetId, tuple[LiabilitiesPublished, int]] = {}

    @before(SweepFunds)
    def asked(self, command: SweepFunds, answer: Answer) -> None:
        """A sweep that is asked for."""
        if not refused(answer):
            self._sweeps.setdefault(SWEEP_PREFIX + command.sweep, command)

    @on(PaymentApproved)
    def approved(self, event: PaymentApproved) -> None:
        """A payment is out of the tier that it belongs to, within its limit and what is there, and is locked."""
        custody, intent = self.told.custody, event.intent
        if custody is None:
            return
        self.checked += 1
        tier = custody.tiers.get(intent.tier)
        if tier is None:
            self._wrong(f"tier of {intent.payment}", f"out of {intent.tier}", "out of a tier of custody", event)
            return
        if not _allows(tier, intent):
            self._wrong(
                f"limit of {intent.payment}", in_words(intent), f"no more than the limit of {tier.tier}", event
            )
        self._is_there(custody, intent, event)
        ready = self.told.triggers.time_ms + tier.delay_ms
        self._not_before[intent.payment] = ready
        if event.not_before_ms != ready:
            self._wrong(
                f"lock of {intent.payment}",
                f"not before {event.not_before_ms} ms",
                f"not before {ready} ms: the delay of {tier.tier} from now on",
                event,
            )
        if intent.payment.startswith(SWEEP_PREFIX):
            self._sweep(custody, intent, event)
            return
        first = next((item.tier for item in custody.tiers.values() if _allows(item, intent)), intent.tier)
        if intent.tier != first:
            self._wrong(
                f"tier of {intent.payment}", f"out of {intent.tier}", f"out of {first}, which allows it", event
            )
        self._open(custody, intent, event)

    def _is_there(self, custody: ToldCustody, intent: PaymentIntent, event: Struct) -> None:
        promised = sum(
            payment.intent.amount + payment.intent.fee
            for payment in custody.payments.values()
            if (payment.intent.tier, payment.intent.asset) == (intent.tier, intent.asset)
            and payment.status not in OVER
        )
        there = custody.true.held.get((intent.tier, intent.asset), 0) - promised
        if intent.amount + intent.fee > there:
            self._wrong(
                f"funds of {intent.payment}", in_words(intent), f"no more than the {there} not promised", event
            )

    def _sweep(self, custody: ToldCustody, intent: PaymentIntent, event: Struct) -> None:
        command = self._sweeps.get(intent.payment)
        if command is None:
            self._wrong(f"sweep {intent.payment}", in_words(intent), "nothing: no such sweep was asked for", event)
            return
        asked = PaymentIntent(
            payment=intent.payment,
            asset=command.asset,
            amount=command.amount,
            destination=TIER_PREFIX + command.target,
            tier=command.source,
            fee=custody.fees[command.asset],
        )
        if intent != asked:
            self._wrong(f"sweep {intent.payment}", in_words(intent), f"{in_words(asked)}, as asked for", event)
        target = custody.tiers.get(command.target)
        most = {item.asset: item.amount for item in target.balance_max} if target is not None else {}
        coming = sum(
            payment.intent.amount
            for payment in custody.payments.values()
            if (payment.intent.destination, payment.intent.asset) == (asked.destination, intent.asset)
            and payment.status not in OVER
        )
        after = custody.true.held.get((command.target, command.asset), 0) + coming + intent.amount
        if intent.asset in most and after > most[intent.asset]:
            self._wrong(
                f"limit of {intent.payment}",
                f"it brings {command.target} to {after} {intent.asset}",
                f"at most {most[intent.asset]}",
                event,
            )

    def _open(self, custody: ToldCustody, intent: PaymentIntent, event: Struct) -> None:
        if intent.asset in custody.chains and not custody.chains[intent.asset].withdrawals_open:
            self._wrong(
                f"asset of {intent.payment}",
                in_words(intent),
                f"nothing: withdrawals of {intent.asset} are suspended",
                event,
            )

    @on(PaymentBroadcast)
    def broadcast(self, event: PaymentBroadcast) -> None:
        """A payment is broadcast once its time lock is over, and while withdrawals of its asset are open."""
        custody, intent = self.told.custody, event.intent
        if custody is None:
            return
        self.checked += 1
        now, ready = self.told.triggers.time_ms, self._not_before.get(intent.payment, 0)
        if now < ready:
            self._wrong(
                f"lock of {intent.payment}", f"broadcast at {now} ms", f"not before {ready} ms: it is locked", event
            )
        if not intent.payment.startswith(SWEEP_PREFIX):
            self._open(custody, intent, event)

    @on(DepositCredited)
    def credited(self, event: DepositCredited) -> None:
        """Nothing is credited while deposits of its asset are suspended."""
        custody = self.told.custody
        if custody is None or event.asset not in custody.chains:
            return
        self.checked += 1
        if not custody.chains[event.asset].deposits_open:
            self._wrong(
                f"asset of {event.transaction}", "credited", f"later: deposits of {event.asset} are suspended", event
            )

    @on(SweepCompleted)
    def swept(self, event: SweepCompleted) -> None:
        """A sweep is complete when its payment is final, and moved what was asked for."""
        custody, label = self.told.custody, SWEEP_PREFIX + event.sweep
        if custody is None:
            return
        self.checked += 1
        true, command = custody.true.payments.get(label), self._sweeps.get(label)
        if true is None or not custody.true.final(event.asset, true.height):
            self._wrong(f"sweep {label}", "completed", "later: its chain has not made it final", event)
        if command is not None and (command.asset, command.amount, command.source, command.target) != (
            event.asset,
            event.amount,
            event.source,
            event.target,
        ):
            self._wrong(
                f"sweep {label}",
                f"{event.amount} {event.asset} from {event.source} to {event.target}",
                f"{command.amount} {command.asset} from {command.source} to {command.target}, as asked for",
                event,
            )

    @after(PublishLiabilities)
    def published(self, command: PublishLiabilities, answer: Answer) -> None:
        """Root and total are those of the tree over what the entries told so far owe each client.

        Its leaves are salted with asset and number of the publication, which everybody knows (docs/exchange.md).
        """
        custody = self.told.custody
        if custody is None or refused(answer):
            return
        for event in answer.events:
            if not isinstance(event, LiabilitiesPublished):
                continue
            self.checked += 1
            self._published[event.asset] = (event, answer.seq or 0)
            owed = self._owed(event.asset)
            salt_key = sha256(f"holdfast liabilities {event.asset} {answer.seq or 0}".encode()).digest()
            tree = build_liabilities(event.asset, owed, salt_key=salt_key)
            if (event.root, event.total, event.accounts) != (tree.root, tree.total, len(owed)):
                self.report(
                    f"liabilities in {command.asset}",
                    found=f"{event.total} of {event.accounts} clients under {event.root}",
                    expected=f"{tree.total} of {len(owed)} clients under {tree.root}, from the entries told",
                    evidence=[event],
                )

    def _owed(self, asset: AssetId) -> list[Liability]:
        """What each client is owed: all that is its, in every account; debts are not set against it."""
        setup, amounts = self.told.setup, self.told.amounts
        isolated = [product.product for product in setup.products if product.isolated]
        return [
            Liability(
                account=client,
                asset=asset,
                amount=Amount(
                    max(
                        0,
                        sum(
                            amounts.get((account, bucket, asset), 0)
                            for account in (
                                client,
                                *(margin_account(client, name, isolated=True) for name in isolated),
                            )
                            for bucket in _OWN
                        ),
                    )
                ),
            )
            for client in setup.clients
        ]

    def view(self, view: View) -> None:
        """What is shown as published was published last."""
        custody = self.told.custody
        if custody is None:
            return
        shown = {item.asset: (item.root, item.total, item.seq) for item in view.liabilities}
        told = {asset: (event.root, event.total, seq) for asset, (event, seq) in self._published.items()}
        for asset in sorted(shown.keys() | told.keys()):
            self.checked += 1
            if shown.get(asset) != told.get(asset):
                self.report(
                    f"liabilities shown in {asset}",
                    found=str(shown.get(asset, "nothing")),
                    expected=str(told.get(asset, "nothing")),
                )

    def _wrong(self, subject: str, found: str, expected: str, evidence: Struct) -> None:
        self.report(subject, found=found, expected=expected, evidence=[evidence])


def _allows(tier: TierRule, intent: PaymentIntent) -> bool:
    """Whether a payment is within the tier's limit."""
    return all(intent.amount <= item.amount for item in tier.payment_max if item.asset == intent.asset)
