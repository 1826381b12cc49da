"""What signers would have said of another amount: the rest of a sequence, when shrinking makes a payment smaller.

A structural commitment or share is a function of what is signed, so that it can be made again for another amount; one
that was wrong stays as it was. With FROST only the signers could, so there the words stay, and the smaller sequence
shows what is looked for or not.
"""

from msgspec.structs import replace

from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    Amount,
    CommitNonce,
    CustodyRules,
    PaymentIntent,
    RequestWithdrawal,
    RestartSigning,
    SignerId,
    Step,
    SubmitShare,
    SweepFunds,
    TierRule,
    message_of,
    structural_commitment,
    structural_share,
)
from holdfast_model.vocabulary.signing import COUNTER_DIGITS

Steps = tuple[Step, ...]


def intent_of_step(custody: CustodyRules, step: RequestWithdrawal | SweepFunds) -> PaymentIntent | None:
    """What is signed for a withdrawal or a sweep; None where no tier would pay it."""
    fee = next((chain.fee for chain in custody.chains if chain.asset == step.asset), Amount(0))
    if isinstance(step, SweepFunds):
        return PaymentIntent(
            payment=SWEEP_PREFIX + step.sweep,
            asset=step.asset,
            amount=step.amount,
            destination=f"@tier/{step.target}",
            tier=step.source,
            fee=fee,
        )
    tier = next((rule.tier for rule in custody.tiers if _allows(rule, step)), None)
    if tier is None:
        return None
    return PaymentIntent(
        payment=f"{step.client}/{step.withdrawal}",
        asset=step.asset,
        amount=step.amount,
        destination=step.destination,
        tier=tier,
        fee=fee,
    )


def _allows(rule: TierRule, step: RequestWithdrawal) -> bool:
    return all(step.amount <= item.amount for item in rule.payment_max if item.asset == step.asset)


def with_amount(steps: Steps, position: int, amount: Amount, custody: CustodyRules | None) -> Steps:
    """The steps with another amount at this position, and with what signers say of it afterwards.

    Where another tier pays the new amount, its signers say it, in the place of those of the tier that paid before.
    """
    step = steps[position]
    assert isinstance(step, RequestWithdrawal | SweepFunds)
    changed = replace(step, amount=amount)
    before = intent_of_step(custody, step) if custody is not None else None
    after = intent_of_step(custody, changed) if custody is not None else None
    if custody is None or before is None or after is None:
        return (*steps[:position], changed, *steps[position + 1 :])
    rules = {rule.tier: rule for rule in custody.tiers}
    if before.tier not in rules or after.tier not in rules:
        return (*steps[:position], changed, *steps[position + 1 :])
    attempt = _Attempt(before, after, rules[before.tier], rules[after.tier])
    return (*steps[:position], changed, *map(attempt.said_anew, steps[position + 1 :]))


class _Attempt:
    """The commitments of the attempt at hand, as they were and as they become."""

    def __init__(self, before: PaymentIntent, after: PaymentIntent, old: TierRule, new: TierRule) -> None:
        self._payment = before.payment
        self._before, self._after = message_of(before), message_of(after)
        self._old_rule, self._new_rule = old, new
        self._old: dict[SignerId, str] = {}
        self._new: dict[SignerId, str] = {}
        self._names: dict[SignerId, SignerId] = {}

    def _name(self, signer: SignerId) -> SignerId:
        """Who says it of the new amount: the first to speak is the first of the tier; who is no signer stays."""
        if self._old_rule is self._new_rule or signer not in self._old_rule.signers:
            return signer
        names = self._new_rule.signers
        return self._names.setdefault(signer, names[len(self._names) % len(names)])

    def said_anew(self, step: Step) -> Step:
        """The step as it would have been."""
        match step:
            case RestartSigning(payment=payment) if payment == self._payment:
                self._old, self._new = {}, {}
            case CommitNonce(payment=payment) if payment == self._payment:
                return self._commitment(step)
            case SubmitShare(payment=payment) if payment == self._payment:
                return self._share(step)
            case _:
                pass
        return step

    def _commitment(self, step: CommitNonce) -> CommitNonce:
        number = step.commitment[:COUNTER_DIGITS]
        if len(number) < COUNTER_DIGITS or not set(number) <= set("0123456789abcdef"):
            return step
        counter = int(number, 16)
        if step.commitment != structural_commitment(signer=step.signer, message=self._before, counter=counter):
            return step
        name = self._name(step.signer)
        new = structural_commitment(signer=name, message=self._after, counter=counter)
        if len(self._old) < self._old_rule.threshold:
            self._old.setdefault(step.signer, step.commitment)
        if len(self._new) < self._new_rule.threshold:
            self._new.setdefault(name, new)
        return replace(step, signer=name, commitment=new)

    def _share(self, step: SubmitShare) -> SubmitShare:
        if step.share != structural_share(signer=step.signer, message=self._before, commitments=self._old):
            return step
        name = self._name(step.signer)
        share = structural_share(signer=name, message=self._after, commitments=self._new)
        return replace(step, signer=name, share=share)
