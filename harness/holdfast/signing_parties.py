"""The signers of all tiers of a setup, as whoever makes a sequence drives them: never the exchange itself.

They hear what the exchange tells, and say, in commands, what they have to: a commitment for a payment that was
approved, a share once they are asked for it. Their stores are their own, and no restore of the exchange touches them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeGuard

from msgspec import Struct

from holdfast_engine.signers import FrostKey, Refused, Signer, SigningKey, deal_structural
from holdfast_engine.storage import MemoryStorage, Storage
from holdfast_model.vocabulary import (
    CommitNonce,
    Event,
    Hex,
    NonceCommitted,
    PaymentApproved,
    PaymentIntent,
    PaymentSigned,
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


class Signing(Struct, kw_only=True):
    """How far the signing of a payment is, as its signers heard it."""

    intent: PaymentIntent
    commitments: dict[SignerId, Hex]
    asked: tuple[SignerId, ...] = ()
    shared: tuple[SignerId, ...] = ()


class SigningParties:
    """All signers. `signers` are by tier and name; `signings` the payments that they have something to say on."""

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

    def hear(self, events: Iterable[Event]) -> None:
        """Take note of what the exchange told; told again, it changes nothing."""
        for event in events:
            match event:
                case PaymentApproved(intent=intent):
                    self.signings.setdefault(intent.payment, Signing(intent=intent, commitments={}))
                case NonceCommitted():
                    self.signings[event.payment].commitments[event.signer] = event.commitment
                case SigningBegan():
                    self.signings[event.payment].asked = event.signers
                case ShareReceived():
                    signing = self.signings[event.payment]
                    signing.shared = (*(name for name in signing.shared if name != event.signer), event.signer)
                case SigningRestarted():
                    self._restart(self.signings[event.payment])
                case PaymentSigned():
                    self.signings.pop(event.payment, None)
                case WithdrawalRefunded():
                    self.signings.pop(f"{event.client}/{event.withdrawal}", None)
                case _:
                    pass

    def _restart(self, signing: Signing) -> None:
        """The commitments of the attempt that was given up are of no use: the exchange takes none of them again."""
        message = message_of(signing.intent)
        for name in signing.commitments:
            self.signers[signing.intent.tier][name].give_up(message)
        signing.commitments, signing.asked, signing.shared = {}, (), ()

    def commitment(self, payment: Label, signer: SignerId) -> CommitNonce | None:
        """What a signer has to say first; None where it refuses."""
        intent = self.signings[payment].intent
        said = self.signers[intent.tier][signer].commit(message_of(intent))
        return CommitNonce(payment=payment, signer=signer, commitment=said) if _is_said(said) else None

    def share(self, payment: Label, signer: SignerId) -> SubmitShare | None:
        """What a signer who is asked has to say next; None where it refuses."""
        signing = self.signings[payment]
        said = self.signers[signing.intent.tier][signer].sign(message_of(signing.intent), signing.commitments)
        return SubmitShare(payment=payment, signer=signer, share=said) if _is_said(said) else None

    def next_to_say(self, payment: Label) -> CommitNonce | SubmitShare | None:
        """What is to be said next on a payment, by the first signer, in the tier's order, who has not said it yet."""
        signing = self.signings.get(payment)
        if signing is None:
            return None
        if signing.asked:
            return self.share(payment, next(name for name in signing.asked if name not in signing.shared))
        names = self.rules[signing.intent.tier].signers
        return self.commitment(payment, next(name for name in names if name not in signing.commitments))


def _is_said(said: Hex | Refused) -> TypeGuard[Hex]:
    return isinstance(said, str)
