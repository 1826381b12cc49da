"""CUST-4 and CUST-5: what leaves custody is signed by those who must, and no nonce serves twice."""

from typing import Any

from msgspec import Struct

from holdfast_invariants.custody import in_words
from holdfast_invariants.monitor import Monitor, before, on
from holdfast_invariants.told_custody import ToldCustody, ToldPayment, refused
from holdfast_model.vocabulary import (
    Answer,
    CommitNonce,
    PaymentBroadcast,
    PaymentIntent,
    PaymentSigned,
    Scheme,
    ShareReceived,
    SignerId,
    SubmitShare,
    TierRule,
    message_of,
    signature_is_valid,
    structural_commitment_is_valid,
    structural_share,
    structural_signature,
)
from holdfast_model.vocabulary.amounts import Label
from holdfast_model.vocabulary.signing import COUNTER_DIGITS


class _Attempt(Struct, kw_only=True):
    """What signers said in one attempt to sign a payment."""

    number: int
    commitments: dict[SignerId, str]
    shares: dict[SignerId, list[str]]


class NothingLeavesUnsigned(Monitor):
    """CUST-4: what is broadcast is what was approved, and enough of the signers who were asked signed exactly that.

    What signers said is taken from their own commands. Structural shares are recomputed one by one; with FROST the
    signature is verified as ordinary Ed25519 under the tier's group key (RFC 8032).
    """

    invariant = "CUST-4"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._attempts: dict[Label, _Attempt] = {}

    def _attempt(self, custody: ToldCustody, label: Label) -> _Attempt:
        payment = custody.payments.get(label)
        number = payment.attempt if payment is not None else 0
        attempt = self._attempts.get(label)
        if attempt is None or attempt.number != number:
            attempt = self._attempts[label] = _Attempt(number=number, commitments={}, shares={})
        return attempt

    @before(CommitNonce)
    def committed(self, command: CommitNonce, answer: Answer) -> None:
        """A commitment that was taken in, in the signer's own words."""
        custody = self.told.custody
        if custody is not None and not refused(answer):
            self._attempt(custody, command.payment).commitments.setdefault(command.signer, command.commitment)

    @before(SubmitShare)
    def shared(self, command: SubmitShare, answer: Answer) -> None:
        """A share that was taken in, in the signer's own words."""
        custody = self.told.custody
        if custody is not None and not refused(answer):
            self._attempt(custody, command.payment).shares.setdefault(command.signer, []).append(command.share)

    @on(ShareReceived)
    def received(self, event: ShareReceived) -> None:
        """A share that is told of was said by its signer, who was asked for it, and is valid."""
        custody = self.told.custody
        if custody is None:
            return
        self.checked += 1
        payment = custody.payments.get(event.payment)
        if payment is None:
            self._wrong(event.payment, f"a share of {event.signer}", "nothing: it was not approved", event)
            return
        attempt = self._attempt(custody, event.payment)
        if event.signer not in payment.asked:
            self._wrong(
                event.payment,
                f"a share of {event.signer}",
                f"of one of {', '.join(payment.asked)}, who were asked",
                event,
            )
        if event.share not in attempt.shares.get(event.signer, ()):
            self._wrong(event.payment, f"a share of {event.signer}", "only what the signer said", event)
        if self._invalid(custody, payment, attempt, event.signer, event.share):
            self._wrong(event.payment, f"a forged share of {event.signer}", "a refusal", event)

    @on(PaymentSigned)
    def signed(self, event: PaymentSigned) -> None:
        """A payment that is told to be signed is signed over what was approved."""
        custody = self.told.custody
        payment = custody.payments.get(event.payment) if custody is not None else None
        if custody is None or payment is None:
            return
        self._verify(custody, payment, payment.intent, event.signature, event)

    @on(PaymentBroadcast)
    def broadcast(self, event: PaymentBroadcast) -> None:
        """And what is broadcast is exactly that."""
        custody = self.told.custody
        if custody is None:
            return
        payment = custody.payments.get(event.intent.payment)
        if payment is None:
            self.checked += 1
            self._wrong(event.intent.payment, "broadcast", "nothing: it was not approved", event)
            return
        if payment.intent != event.intent:
            self._wrong(
                event.intent.payment, in_words(event.intent), f"{in_words(payment.intent)}, as approved", event
            )
        self._verify(custody, payment, event.intent, event.signature, event)

    def _verify(
        self, custody: ToldCustody, payment: ToldPayment, intent: PaymentIntent, signature: str, event: Struct
    ) -> None:
        self.checked += 1
        tier = custody.tiers.get(payment.intent.tier)
        if tier is None:
            self._wrong(intent.payment, f"tier {payment.intent.tier}", "a tier of custody", event)
            return
        attempt = self._attempt(custody, intent.payment)
        valid = sorted(
            signer
            for signer, shares in attempt.shares.items()
            if signer in payment.asked
            and signer in tier.signers
            and any(not self._invalid(custody, payment, attempt, signer, share) for share in shares)
        )
        if len(valid) < tier.threshold:
            self._wrong(
                intent.payment,
                f"valid shares of {', '.join(valid) or 'nobody'}",
                f"of {tier.threshold} distinct signers of {tier.tier} who were asked",
                event,
            )
        if not self._signature_holds(tier, payment, attempt, intent, signature):
            self._wrong(intent.payment, f"signature {signature}", f"one over {in_words(intent)}", event)

    def _package(self, payment: ToldPayment, attempt: _Attempt) -> dict[SignerId, str]:
        return {signer: attempt.commitments.get(signer, "") for signer in payment.asked}

    def _invalid(
        self, custody: ToldCustody, payment: ToldPayment, attempt: _Attempt, signer: SignerId, share: str
    ) -> bool:
        """Whether a structural share is not what the signer makes of what was approved; FROST's count together."""
        tier = custody.tiers.get(payment.intent.tier)
        if tier is None or tier.scheme is not Scheme.STRUCTURAL:
            return False
        message, package = message_of(payment.intent), self._package(payment, attempt)
        commitment = package.get(signer, "")
        return not structural_commitment_is_valid(
            signer=signer, message=message, commitment=commitment
        ) or share != structural_share(signer=signer, message=message, commitments=package)

    def _signature_holds(
        self, tier: TierRule, payment: ToldPayment, attempt: _Attempt, intent: PaymentIntent, signature: str
    ) -> bool:
        message = message_of(intent)
        if tier.scheme is Scheme.FROST:
            return signature_is_valid(bytes.fromhex(tier.group_key), message, bytes.fromhex(signature))
        package = self._package(payment, attempt)
        shares = {signer: said[0] for signer, said in attempt.shares.items() if signer in package}
        return signature == structural_signature(message=message, commitments=package, shares=shares)

    def _wrong(self, label: Label, found: str, expected: str, evidence: Struct) -> None:
        self.report(f"payment {label}", found=found, expected=expected, evidence=[evidence])


class NoncesAreUsedOnce(Monitor):
    """CUST-5: no commitment to a nonce is ever taken in twice, and none serves for two shares.

    Shares of several attempts over one nonce give the signer's key share away (RFC 9591, section 7.3).
    """

    invariant = "CUST-5"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*arguments)
        self._taken: dict[str, Label] = {}
        self._latest: dict[tuple[Label, SignerId], str] = {}
        self._shared: dict[str, Label] = {}

    @before(CommitNonce)
    def committed(self, command: CommitNonce, answer: Answer) -> None:
        """A nonce that was committed to once is refused for ever, for its payment and for any other."""
        custody = self.told.custody
        if custody is None:
            return
        self.checked += 1
        if refused(answer):
            return
        payment = custody.payments.get(command.payment)
        tier = custody.tiers.get(payment.intent.tier) if payment is not None else None
        for nonce in _nonces(command, frost=tier is not None and tier.scheme is Scheme.FROST):
            self._once(self._taken, nonce, command, "taken in")
        self._latest[command.payment, command.signer] = command.commitment

    @before(SubmitShare)
    def shared(self, command: SubmitShare, answer: Answer) -> None:
        """A share goes with a commitment that no share went with before."""
        if self.told.custody is None:
            return
        self.checked += 1
        commitment = self._latest.get((command.payment, command.signer))
        if not refused(answer) and commitment is not None:
            self._once(self._shared, commitment, command, "used for a share")

    def _once(self, known: dict[str, Label], nonce: str, command: CommitNonce | SubmitShare, what: str) -> None:
        first = known.get(nonce)
        if first is None:
            known[nonce] = command.payment
            return
        self.report(
            f"nonce {nonce}",
            found=f"{what} again, for payment {command.payment}",
            expected=f"a refusal: it was {what} for payment {first}",
            evidence=[command],
        )


def _nonces(command: CommitNonce, *, frost: bool) -> tuple[str, ...]:
    """What a commitment binds its signer to: two points with FROST, its counter in a structural quorum."""
    said = command.commitment
    if frost:
        return (said[: len(said) // 2], said[len(said) // 2 :])
    return (f"{command.signer} {said[:COUNTER_DIGITS]}",)
