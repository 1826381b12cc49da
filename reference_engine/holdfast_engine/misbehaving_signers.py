"""Signers that do not do what they should: for scenarios, and for tests of who must notice. Each overrides one seam.

They work in either kind of quorum. A venue cannot prevent them; it must not be harmed by them as long as those who
behave reach the threshold.
"""

from msgspec.structs import replace

from holdfast_engine.signers import Burnt, Commitments, RefusalReason, Refused, Signer, SigningKey
from holdfast_engine.storage import Storage
from holdfast_model.vocabulary import Hex, intent_of, message_of
from holdfast_model.vocabulary.amounts import Label


class UnreachableSigner(Signer):
    """It never answers, and does nothing."""

    def commit(self, message: bytes) -> Hex | Refused:  # noqa: ARG002 - it does not even hear it
        """Nothing."""
        return Refused(reason=RefusalReason.NO_ANSWER)

    def sign(self, message: bytes, commitments: Commitments) -> Hex | Refused:  # noqa: ARG002 - as above
        """Nothing."""
        return Refused(reason=RefusalReason.NO_ANSWER)


class SlowSigner(Signer):
    """It does at once what it is asked, but its answer is heard only when the same was asked `delay` times before."""

    def __init__(self, name: Label, key: SigningKey, storage: Storage, *, delay: int = 1) -> None:
        super().__init__(name, key, storage)
        self._delay = delay
        self._asked: dict[object, int] = {}

    def commit(self, message: bytes) -> Hex | Refused:
        """The commitment, late."""
        return self._late(message, super().commit(message))

    def sign(self, message: bytes, commitments: Commitments) -> Hex | Refused:
        """The share, late."""
        return self._late((message, tuple(sorted(commitments.items()))), super().sign(message, commitments))

    def _late(self, question: object, answer: Hex | Refused) -> Hex | Refused:
        before = self._asked.get(question, 0)
        self._asked[question] = before + 1
        return answer if before >= self._delay else Refused(reason=RefusalReason.NO_ANSWER)


class ForgingSigner(Signer):
    """Its shares have the right form and are wrong by one bit."""

    def share(self, nonce: Hex, message: bytes, commitments: Commitments) -> Hex:
        """The share with the lowest bit of its first byte flipped."""
        honest = super().share(nonce, message, commitments)
        return f"{int(honest[:2], 16) ^ 1:02x}{honest[2:]}"


class DivertingSigner(Signer):
    """Its shares are over the same payment to another destination."""

    def share(self, nonce: Hex, message: bytes, commitments: Commitments) -> Hex:
        """The share over the intent that it would rather have."""
        intent = intent_of(message)
        assert intent is not None, "a signer commits to intents alone"
        return super().share(nonce, message_of(replace(intent, destination="elsewhere")), commitments)


class NonceReusingSigner(Signer):
    """It draws one nonce, and uses it for everything: after three packages a FROST signer's key share is public."""

    _only: Hex | None = None

    def draw(self, number: int) -> Hex:
        """The first nonce, again and again."""
        if self._only is None:
            self._only = super().draw(number)
        return self._only

    def burnt(self, commitment: Hex) -> Burnt | None:  # noqa: ARG002 - it does not look
        """Nothing was ever burnt."""
        return None

    def erase_burnt(self) -> None:
        """It forgets nothing."""
