"""The signers of all tiers of a setup, as whoever makes a sequence drives them: never the exchange itself.

They hear what the exchange tells, and say, in commands, what they have to: a commitment for a payment that was
approved, a share once they are asked for it. Their stores are their own, and no restore of the exchange touches them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeGuard, assert_never

from msgspec import Struct

from holdfast_engine.signers import FrostKey, Refused, Signer, SigningKey, deal_structural
from holdfast_engine.storage import MemoryStorage, Storage
from holdfast_model.vocabulary import (
    Command,
    CommitNonce,
    Event,
    Hex,
    NonceCommitted,
    PaymentApproved,
    PaymentIntent,
    PaymentSigned,
    Rejected,
    Scheme,
    Setup,
    ShareReceived,
    SignerId,
    SigningBegan,
    SigningRestarted,
    SubmitShare,
    TierId,
    WithdrawalRefunded,
    message_of,
)
from holdfast_model.vocabulary.amounts import Label

_HEARD = frozenset(
    {
        PaymentApproved,
        PaymentSigned,
        WithdrawalRefunded,
        NonceCommitted,
        SigningBegan,
        ShareReceived,
        SigningRestarted,
    }
)
"""The events that signers take note of."""


class Signing(Struct, kw_only=True):
    """How far the signing of a payment is, as its signers heard it."""

    intent: PaymentIntent
    commitments: dict[SignerId, Hex]
    attempt: int = 1
    asked: tuple[SignerId, ...] = ()
    shared: dict[SignerId, None] = {}
    over: bool = False


class SigningParties:
    """All signers. `signers` are by tier and name; `signings` the payments that they heard of."""

    def __init__(
        self,
        setup: Setup,
        frost_keys: Mapping[TierId, Mapping[SignerId, FrostKey]] | None = None,
        *,
        storage: Callable[[], Storage] = MemoryStorage,
    ) -> None:
        assert setup.custody is not None
        self.rules = {rule.tier: rule for rule in setup.custody.tiers}
        self.signers: dict[TierId, dict[SignerId, Signer]] = {}
        for rule in setup.custody.tiers:
            keys: Mapping[SignerId, SigningKey]
            if rule.scheme is Scheme.FROST:
                assert frost_keys is not None, f"tier {rule.tier} signs with keys"
                keys = frost_keys[rule.tier]
            else:
                _, keys = deal_structural(rule.signers, threshold=rule.threshold)
            self.signers[rule.tier] = {name: Signer(name, keys[name], storage()) for name in rule.signers}
        self.signings: dict[Label, Signing] = {}
        self._void: set[Hex] = set()
        """The commitments of attempts that were given up, which nobody says again."""

    def hear(self, events: Iterable[Event]) -> None:
        """Take note of what the exchange told; told again, it changes nothing.

        What is told of a payment that was not approved, or of a tier or signer that there is not, is not for them.
        """
        for event in events:
            kind: type = event.__class__
            if kind not in _HEARD:
                continue  # the many
            match event:
                case PaymentApproved(intent=intent) if intent.tier in self.rules:
                    self.signings.setdefault(intent.payment, Signing(intent=intent, commitments={}))
                case PaymentSigned():
                    self._end(event.payment)
                case WithdrawalRefunded():
                    self._end(f"{event.client}/{event.withdrawal}")
                case NonceCommitted() | SigningBegan() | ShareReceived() | SigningRestarted():
                    if event.payment in self.signings:
                        self._hear_of_attempt(self.signings[event.payment], event)
                case _:
                    pass

    def _hear_of_attempt(
        self, signing: Signing, event: NonceCommitted | SigningBegan | ShareReceived | SigningRestarted
    ) -> None:
        if event.attempt < signing.attempt:
            return
        match event:
            case NonceCommitted():
                signing.commitments[event.signer] = event.commitment
            case SigningBegan():
                names = self.rules[signing.intent.tier].signers
                signing.asked = tuple(name for name in event.signers if name in names)
            case ShareReceived():
                signing.shared.setdefault(event.signer)
            case SigningRestarted():
                self._restart(signing, event.attempt)
            case _:
                assert_never(event)

    def _end(self, payment: Label) -> None:
        if payment in self.signings:
            self.signings[payment].over = True

    def _restart(self, signing: Signing, attempt: int) -> None:
        """The commitments of the attempt that was given up are of no use: the exchange takes none of them again."""
        if attempt == signing.attempt:
            return
        message = message_of(signing.intent)
        for signer in self.signers[signing.intent.tier].values():
            signer.give_up(message)
        self._void.update(signing.commitments.values())
        signing.attempt = attempt
        signing.commitments, signing.asked, signing.shared = {}, (), {}

    def commitment(self, payment: Label, signer: SignerId) -> CommitNonce | None:
        """What a signer has to say first; None where it refuses.

        In a recorded sequence others may have said, for its first attempts, what it would say now.
        """
        intent = self.signings[payment].intent
        party, message = self.signers[intent.tier][signer], message_of(intent)
        said = party.commit(message)
        while said in self._void:
            party.give_up(message)
            said = party.commit(message)
        return CommitNonce(payment=payment, signer=signer, commitment=said) if _is_said(said) else None

    def share(self, payment: Label, signer: SignerId) -> SubmitShare | None:
        """What a signer who is asked has to say next; None where it refuses."""
        signing = self.signings[payment]
        said = self.signers[signing.intent.tier][signer].sign(message_of(signing.intent), signing.commitments)
        return SubmitShare(payment=payment, signer=signer, share=said) if _is_said(said) else None

    def next_to_say(self, payment: Label) -> CommitNonce | SubmitShare | None:
        """What is to be said next on a payment, by the first signer, in the tier's order, who has not said it yet."""
        signing = self.signings.get(payment)
        if signing is None or signing.over:
            return None
        if signing.asked:
            name = next((name for name in signing.asked if name not in signing.shared), None)
            return None if name is None else self.share(payment, name)
        names = self.rules[signing.intent.tier].signers
        name = next((name for name in names if name not in signing.commitments), None)
        return None if name is None else self.commitment(payment, name)

    def drive(self, payment: Label, submit: Callable[[Command], Iterable[Event]]) -> None:
        """Let the signers say all that they have to on a payment: two rounds, until it is signed."""
        while (command := self.next_to_say(payment)) is not None:
            told = tuple(submit(command))
            assert not any(isinstance(event, Rejected) for event in told), f"{command} was refused: {told}"
            self.hear(told)


def _is_said(said: Hex | Refused) -> TypeGuard[Hex]:
    return isinstance(said, str)
