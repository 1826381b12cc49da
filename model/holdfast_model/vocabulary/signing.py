"""What a venue, its signers and an auditor must agree on about signing: the message, its signature, its stand-in.

A quorum of outside signers approves each payment that leaves custody. With cryptography it makes one Ed25519
signature (FROST, RFC 9591), which anybody can verify with the group's public key. Where volume matters a *structural*
quorum stands in: its commitments and shares are hashes that anybody can compute, so that they prove nothing about who
made them, but go the same way, and bind signer, message and commitments just so.

Commitments, shares and signatures are lower-case hexadecimal strings on the wire. Signers have names (`Label`).
"""

from collections.abc import Mapping
from hashlib import sha256, sha512
from typing import Annotated

from msgspec import Meta, Struct

from holdfast_model.vocabulary.amounts import Amount, AssetId, Label
from holdfast_model.vocabulary.wire import WireError, canonical, from_canonical

INTENT_DOMAIN = b"holdfast payment intent 1\n"
"""What every message that approves a payment begins with, so that no other signed bytes can pass for one."""

Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){0,256}$(?!\n)")]
"""Bytes on the wire (a commitment, share, signature or key), in lower-case hexadecimal digits."""

COUNTER_DIGITS = 16


class PaymentIntent(Struct, frozen=True, kw_only=True, gc=False):
    """A payment out of custody, as signers approve it: they sign exactly this or nothing."""

    payment: Label
    """Unique for ever: signers approve one intent per payment."""
    asset: AssetId
    amount: Amount
    """What the destination receives."""
    destination: Label
    tier: Label
    """The tier that pays, and so the group that signs."""
    fee: Amount
    """What the chain takes beyond the amount."""


def message_of(intent: PaymentIntent) -> bytes:
    """The bytes that are signed: a tag, and the canonical JSON of the intent.

    >>> message_of(PaymentIntent(payment="1", asset="BTC", amount=5, destination="x", tier="hot", fee=1))[26:]
    b'{"payment":"1","asset":"BTC","amount":5,"destination":"x","tier":"hot","fee":1}'
    """
    return INTENT_DOMAIN + canonical(intent)


def intent_of(message: bytes) -> PaymentIntent | None:
    """The intent that a message approves; None unless the message is exactly what `message_of` makes of it.

    So a signer knows what it signs, and two messages are two intents: other white space, another order of fields or a
    field more is no message at all.
    """
    if not message.startswith(INTENT_DOMAIN):
        return None
    try:
        intent = from_canonical(message[len(INTENT_DOMAIN) :], PaymentIntent)
    except WireError:
        return None
    return intent if message_of(intent) == message else None


def signature_is_valid(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether it is the ordinary Ed25519 signature of the message under the key (RFC 8032, section 5.1.7).

    libsodium decides: it also refuses keys of small order and scalars that are not canonical, and checks the equation
    without the cofactor, which is the stricter of the two that the RFC allows.
    """
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - the ground floor loads without libsodium
    from nacl.signing import VerifyKey  # noqa: PLC0415 - as above

    if len(key) != 32 or len(signature) != 64:  # noqa: PLR2004 - the lengths of RFC 8032
        return False
    try:
        VerifyKey(key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


# The structural quorum --------------------------------------------------------------------------------------------


def structural_commitment(*, signer: Label, message: bytes, counter: int) -> Hex:
    """The commitment of a structural signer: its counter, 16 digits, and a hash of signer, message and counter.

    The counter is the nonce: a signer counts each of its commitments, and gives a number once.
    """
    assert 0 <= counter < 16**COUNTER_DIGITS
    number = f"{counter:0{COUNTER_DIGITS}x}"
    return number + _digest(b"commitment", signer.encode(), message, number.encode())


def structural_commitment_is_valid(*, signer: Label, message: bytes, commitment: str) -> bool:
    """Whether it is a commitment of this signer over this message, with whatever counter."""
    number, digest = commitment[:COUNTER_DIGITS], commitment[COUNTER_DIGITS:]
    well_formed = len(number) == COUNTER_DIGITS and set(number) <= set("0123456789abcdef")
    return well_formed and digest == _digest(b"commitment", signer.encode(), message, number.encode())


def structural_share(*, signer: Label, message: bytes, commitments: Mapping[Label, Hex]) -> Hex:
    """The share of a structural signer over a message and the commitments of all who sign it, its own among them."""
    return _digest(b"share", signer.encode(), message, *_in_order(commitments))


def structural_signature(*, message: bytes, commitments: Mapping[Label, Hex], shares: Mapping[Label, Hex]) -> Hex:
    """What stands for the signature: 128 digits that bind message, commitments and shares. Nothing proves a quorum.

    Who would know whether a quorum signed must recompute the shares from the commitments that it saw.
    """
    parts = (b"signature", message, *_in_order(commitments), *_in_order(shares))
    return sha512(_framed(*parts)).hexdigest()


def _in_order(strings: Mapping[Label, Hex]) -> list[bytes]:
    return [part.encode() for signer in sorted(strings) for part in (signer, strings[signer])]


def _digest(*parts: bytes) -> Hex:
    return sha256(_framed(*parts)).hexdigest()


def _framed(*parts: bytes) -> bytes:
    """The parts, each behind its length, so that no two lists of parts give the same bytes."""
    return b"holdfast structural 1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
