"""Signers: outside parties with a durable store of their own, which no restore of the venue touches.

A signer promises three things, across crashes of its own and whatever the venue has forgotten or asks twice:

- It approves one intent per payment, for ever; another amount, destination or fee is another intent.
- A nonce makes one share: over the one intent that it was committed for, and one list of commitments.
- The nonce is burnt durably before the share leaves. A crash in between costs nothing, because the share is stored
  with the burning: asked for the very same package again, the signer returns the very same share. That gives nothing
  away that was not given already, while signing afresh would, and refusing would leave a venue that lost the answer
  (its connection broke, or it was restored) to begin a round anew for no gain. Over any other package it refuses.

So a signer may also answer `commit` for an intent with the commitment that is still open for it, and a restored
venue finds its signers where they are. The promises do not survive a restore of the *signer's* store from an older
copy, nor two signers at once on one store: that is why it has to be its own. Nonces are erased once they are burnt
(RFC 9591, section 5.2).

What a signer is asked and answers are values; names are labels, commitments and shares lower-case hexadecimal.
"""

import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from holdfast_engine import frost
from holdfast_engine.frost import Commitment, FrostError, Group, KeyShare, Nonces, RandomBytes, Session
from holdfast_engine.storage import Storage
from holdfast_model.vocabulary import (
    Hex,
    PaymentIntent,
    Sha256,
    intent_of,
    structural_commitment,
    structural_commitment_is_valid,
    structural_share,
    structural_signature,
)
from holdfast_model.vocabulary.amounts import Label
from holdfast_model.vocabulary.wire import canonical, from_canonical

APPROVED = "approved"
BURNT = "burnt"
NONCES = "nonces"


class RefusalReason(StrEnum):
    """Why a signer gives no commitment or share, or why a quorum makes no signature."""

    NOT_AN_INTENT = "not_an_intent"
    """The message is not the form of a payment's intent."""
    INTENT_DIFFERS = "intent_differs"
    """Another intent was approved for this payment."""
    NOT_COMMITTED = "not_committed"
    """The package does not hold a commitment that this signer made for this intent."""
    NONCE_USED = "nonce_used"
    """The nonce behind the commitment was used for another package."""
    PACKAGE_INVALID = "package_invalid"
    """Commitments or shares are malformed, too few, or from who is no member; `signers` are those at fault."""
    NO_ANSWER = "no_answer"
    """Nothing was heard of the signer. It may have done what it was asked."""


class Refused(Struct, frozen=True, kw_only=True):
    """No commitment, share or signature, and why."""

    reason: RefusalReason
    detail: str = ""
    signers: tuple[Label, ...] = ()


Commitments = Mapping[Label, Hex]
Shares = Mapping[Label, Hex]


# Quorums: what everybody may know ---------------------------------------------------------------------------------


class Quorum(Protocol):
    """The public side of a group of signers: what a venue verifies shares with and makes signatures by."""

    @property
    def names(self) -> tuple[Label, ...]:
        """The members."""

    @property
    def threshold(self) -> int:
        """How many of them it takes."""

    def check(self, message: bytes, commitments: Commitments) -> Refused | None:
        """Why these commitments make no package to sign; None where they do."""

    def share_is_valid(self, name: Label, share: Hex, message: bytes, commitments: Commitments) -> bool:
        """Whether it is the member's share over exactly this package."""

    def aggregate(self, message: bytes, commitments: Commitments, shares: Shares) -> Hex | Refused:
        """The signature, 128 digits; where shares are missing or wrong, a refusal that names whose."""


class FrostQuorum:
    """A quorum whose signature is an Ed25519 signature under the group's key."""

    def __init__(self, group: Group, names: Sequence[Label]) -> None:
        assert len(set(names)) == len(names)
        assert list(group.verification_shares) == list(range(1, len(names) + 1))
        self.group = group
        self.names = tuple(names)
        self.identifiers = {name: identifier for identifier, name in enumerate(names, start=1)}

    @property
    def threshold(self) -> int:
        """How many members it takes."""
        return self.group.threshold

    def session(self, message: bytes, commitments: Commitments) -> Session:
        """The package as FROST's session. Raises `FrostError` where it is none."""
        return frost.begin(self.group, message, [self._commitment(name, text) for name, text in commitments.items()])

    def check(self, message: bytes, commitments: Commitments) -> Refused | None:
        """Why these commitments make no package to sign; None where they do."""
        try:
            self.session(message, commitments)
        except FrostError as error:
            return self._refused(error)
        return None

    def share_is_valid(self, name: Label, share: Hex, message: bytes, commitments: Commitments) -> bool:
        """Whether it is the member's share over exactly this package."""
        try:
            session = self.session(message, commitments)
            identifier = self._identifier(name)
            return frost.share_is_valid(
                session, identifier, frost.decode_scalar(_bytes(share, identifier), identifier)
            )
        except FrostError:
            return False

    def aggregate(self, message: bytes, commitments: Commitments, shares: Shares) -> Hex | Refused:
        """The Ed25519 signature; where shares are missing or wrong, a refusal that names whose."""
        try:
            session = self.session(message, commitments)
            decoded = {}
            for name, share in shares.items():
                identifier = self._identifier(name)
                decoded[identifier] = frost.decode_scalar(_bytes(share, identifier), identifier)
            return frost.aggregate(session, decoded).hex()
        except FrostError as error:
            return self._refused(error)

    def _commitment(self, name: Label, text: Hex) -> Commitment:
        identifier = self._identifier(name)
        return frost.decode_commitment(_bytes(text, identifier), signer=identifier)

    def _identifier(self, name: Label) -> int:
        if name not in self.identifiers:
            raise frost.UnknownSignerError(f"{name} is no member of the group")
        return self.identifiers[name]

    def _refused(self, error: FrostError) -> Refused:
        guilty = tuple(self.names[identifier - 1] for identifier in error.signers)
        return Refused(reason=RefusalReason.PACKAGE_INVALID, detail=str(error), signers=guilty)


_HEX = re.compile(r"([0-9a-f]{2})*")


def _bytes(text: str, signer: int) -> bytes:
    """The bytes of lower-case hexadecimal, and of nothing else: `bytes.fromhex` also takes capitals and blanks."""
    if not _HEX.fullmatch(text):
        raise FrostError("expected lower-case hexadecimal", signer)
    return bytes.fromhex(text)


class StructuralQuorum:
    """A quorum without cryptography: everybody can compute its shares, and everybody can recompute them."""

    def __init__(self, names: Sequence[Label], *, threshold: int) -> None:
        assert len(set(names)) == len(names) >= threshold >= 1
        self.names = tuple(names)
        self.threshold = threshold

    def check(self, message: bytes, commitments: Commitments) -> Refused | None:
        """Why these commitments make no package to sign; None where they do."""
        strangers = tuple(name for name in commitments if name not in self.names)
        if strangers:
            return _invalid("no members of the group", strangers)
        if len(commitments) < self.threshold:
            return _invalid(f"{len(commitments)} signers are fewer than the threshold of {self.threshold}")
        wrong = tuple(
            name
            for name, commitment in commitments.items()
            if not structural_commitment_is_valid(signer=name, message=message, commitment=commitment)
        )
        return _invalid("commitments that are not over this message", wrong) if wrong else None

    def share_is_valid(self, name: Label, share: Hex, message: bytes, commitments: Commitments) -> bool:
        """Whether it is the member's share over exactly this package."""
        if name not in commitments or self.check(message, commitments) is not None:
            return False
        return share == structural_share(signer=name, message=message, commitments=commitments)

    def aggregate(self, message: bytes, commitments: Commitments, shares: Shares) -> Hex | Refused:
        """What stands for the signature; where shares are missing or wrong, a refusal that names whose."""
        refused = self.check(message, commitments)
        if refused is not None:
            return refused
        missing = tuple(name for name in commitments if name not in shares)
        if missing:
            return _invalid("committed and gave no share", missing)
        wrong = tuple(
            name for name, share in shares.items() if not self.share_is_valid(name, share, message, commitments)
        )
        if wrong:
            return _invalid("shares that do not verify", wrong)
        return structural_signature(message=message, commitments=commitments, shares=shares)


def _invalid(detail: str, signers: tuple[Label, ...] = ()) -> Refused:
    return Refused(reason=RefusalReason.PACKAGE_INVALID, detail=detail, signers=signers)


# Keys: what one signer alone knows --------------------------------------------------------------------------------


class SigningKey(Protocol):
    """A member's secret, and how it makes nonces, commitments and shares. It keeps no state."""

    @property
    def quorum(self) -> Quorum:
        """The group that it belongs to."""

    def draw(self, number: int) -> Hex:
        """A new nonce, the signer's `number`-th."""

    def commitment(self, nonce: Hex, message: bytes) -> Hex:
        """What is published of the nonce for a message."""

    def share(self, nonce: Hex, message: bytes, commitments: Commitments) -> Hex:
        """The share over a package that passed the quorum's `check` and holds the nonce's commitment."""


class FrostKey:
    """A key share of a FROST group. Raises `frost.InvalidShareError` where it is not what the dealer committed to."""

    def __init__(self, share: KeyShare, quorum: FrostQuorum, *, random_bytes: RandomBytes = os.urandom) -> None:
        frost.verify_key_share(quorum.group, share)
        self.quorum = quorum
        self._share = share
        self._random_bytes = random_bytes

    def draw(self, _number: int) -> Hex:
        """A new pair of nonces."""
        nonces = frost.commit(self._share, random_bytes=self._random_bytes)
        return (frost.encode_scalar(nonces.hiding) + frost.encode_scalar(nonces.binding)).hex()

    def commitment(self, nonce: Hex, _message: bytes) -> Hex:
        """The commitment to the nonces, which is the same whatever they will be used for."""
        return frost.encode_commitment(frost.commitment_to(self._nonces(nonce), signer=self._share.signer)).hex()

    def share(self, nonce: Hex, message: bytes, commitments: Commitments) -> Hex:
        """The share of the Ed25519 signature."""
        session = self.quorum.session(message, commitments)
        return frost.encode_scalar(frost.sign(session, self._share, self._nonces(nonce))).hex()

    def _nonces(self, nonce: Hex) -> Nonces:
        data = bytes.fromhex(nonce)
        hiding, binding = data[: frost.ENCODED_BYTES], data[frost.ENCODED_BYTES :]
        return Nonces(hiding=frost.decode_scalar(hiding), binding=frost.decode_scalar(binding))


class StructuralKey:
    """The place of a member in a structural quorum: a name and no secret. A nonce is the signer's counter."""

    def __init__(self, name: Label, quorum: StructuralQuorum) -> None:
        assert name in quorum.names
        self.quorum = quorum
        self._name = name

    def draw(self, number: int) -> Hex:
        """The counter itself."""
        return f"{number:016x}"

    def commitment(self, nonce: Hex, message: bytes) -> Hex:
        """The commitment that everybody can recompute."""
        return structural_commitment(signer=self._name, message=message, counter=int(nonce, 16))

    def share(self, _nonce: Hex, message: bytes, commitments: Commitments) -> Hex:
        """The share that everybody can recompute."""
        return structural_share(signer=self._name, message=message, commitments=commitments)


def deal_frost(
    names: Sequence[Label], *, threshold: int, random_bytes: RandomBytes = os.urandom
) -> tuple[FrostQuorum, dict[Label, FrostKey]]:
    """A new FROST group of named members, by a trusted dealer (RFC 9591, Appendix C)."""
    group, shares = frost.deal(range(1, len(names) + 1), threshold=threshold, random_bytes=random_bytes)
    quorum = FrostQuorum(group, names)
    keys = (FrostKey(share, quorum, random_bytes=random_bytes) for share in shares)
    return quorum, dict(zip(names, keys, strict=True))


def deal_structural(names: Sequence[Label], *, threshold: int) -> tuple[StructuralQuorum, dict[Label, StructuralKey]]:
    """A structural group of named members."""
    quorum = StructuralQuorum(names, threshold=threshold)
    return quorum, {name: StructuralKey(name, quorum) for name in names}


# Signers ----------------------------------------------------------------------------------------------------------


class Approved(Struct, frozen=True, kw_only=True):
    """The signer's decision to sign this intent, and no other, for this payment."""

    payment: Label
    message: Sha256


class Burnt(Struct, frozen=True, kw_only=True):
    """The end of a nonce: the one package that it was used for, and the share."""

    commitment: Hex
    package: Sha256
    share: Hex


class OpenNonce(Struct, frozen=True, kw_only=True):
    """A nonce that no share was made with, and the intent that it is for."""

    nonce: Hex
    commitment: Hex
    message: Sha256


class NonceStore(Struct, frozen=True, kw_only=True):
    """All open nonces, and how many were ever drawn. It is replaced as a whole, so that burnt ones are gone."""

    drawn: int = 0
    open: tuple[OpenNonce, ...] = ()


class Package(Struct, frozen=True, kw_only=True):
    """What a share is over, in one form: the commitments in the order of their names."""

    message: Sha256
    commitments: tuple[tuple[Label, Hex], ...]


class Signer:
    """One member of a quorum, with its store. A signer that is made on the store of an earlier one is that signer.

    Its methods without underscore besides `commit`, `sign` and `give_up` are the seams at which a bad one differs.
    """

    def __init__(self, name: Label, key: SigningKey, storage: Storage) -> None:
        assert name in key.quorum.names
        self.name = name
        self.key = key
        self._storage = storage
        approved = (from_canonical(line, Approved) for line in storage.lines(APPROVED))
        self._approved = {record.payment: record.message for record in approved}
        burnt = (from_canonical(line, Burnt) for line in storage.lines(BURNT))
        self._burnt = {record.commitment: record for record in burnt}
        stored = storage.read(NONCES)
        self._nonces = NonceStore() if stored is None else from_canonical(stored, NonceStore)
        self.erase_burnt()

    def commit(self, message: bytes) -> Hex | Refused:
        """A commitment for the intent, which is hereby approved: the one that is open for it, or else a new one.

        Refused as NOT_AN_INTENT or INTENT_DIFFERS, in that order.
        """
        intent = intent_of(message)
        if intent is None:
            return Refused(reason=RefusalReason.NOT_AN_INTENT)
        if not self.approves(intent, _sha256(message)):
            return Refused(reason=RefusalReason.INTENT_DIFFERS, detail=intent.payment)
        for item in self._nonces.open:
            if item.message == _sha256(message):
                return item.commitment
        if intent.payment not in self._approved:
            self._storage.append(APPROVED, canonical(Approved(payment=intent.payment, message=_sha256(message))))
            self._approved[intent.payment] = _sha256(message)
        nonce = self.draw(self._nonces.drawn)
        fresh = OpenNonce(nonce=nonce, commitment=self.key.commitment(nonce, message), message=_sha256(message))
        self._keep(NonceStore(drawn=self._nonces.drawn + 1, open=(*self._nonces.open, fresh)))
        return fresh.commitment

    def give_up(self, message: bytes) -> None:
        """Forget the nonces that are open for an intent, so that the next commitment for it is a new one.

        A venue that began another attempt takes no commitment of an earlier one again.
        """
        left = tuple(item for item in self._nonces.open if item.message != _sha256(message))
        if len(left) < len(self._nonces.open):
            self._keep(replace(self._nonces, open=left))

    def sign(self, message: bytes, commitments: Commitments) -> Hex | Refused:
        """The share over the package: the stored one where it was made before.

        Refused as NOT_COMMITTED where the package does not name this signer, NONCE_USED, NOT_COMMITTED, or
        PACKAGE_INVALID, in that order; what is refused burns nothing.
        """
        own = commitments.get(self.name)
        if own is None:
            return Refused(reason=RefusalReason.NOT_COMMITTED)
        package = _digest(message, commitments)
        burnt = self.burnt(own)
        if burnt is not None:
            return burnt.share if burnt.package == package else Refused(reason=RefusalReason.NONCE_USED)
        item = self._open(own, message)
        if item is None:
            return Refused(reason=RefusalReason.NOT_COMMITTED)
        refused = self.key.quorum.check(message, commitments)
        if refused is not None:
            return refused
        record = Burnt(commitment=own, package=package, share=self.share(item.nonce, message, commitments))
        self._storage.append(BURNT, canonical(record))
        self._burnt[own] = record
        self.erase_burnt()
        return record.share

    def approves(self, intent: PaymentIntent, message: Sha256) -> bool:
        """Whether the signer would sign the intent, whose message has this hash."""
        return self._approved.get(intent.payment, message) == message

    def draw(self, number: int) -> Hex:
        """A nonce that was never drawn before."""
        return self.key.draw(number)

    def burnt(self, commitment: Hex) -> Burnt | None:
        """What the nonce behind the commitment was used for."""
        return self._burnt.get(commitment)

    def share(self, nonce: Hex, message: bytes, commitments: Commitments) -> Hex:
        """The share over exactly this package."""
        return self.key.share(nonce, message, commitments)

    def erase_burnt(self) -> None:
        """Forget the nonces that were used."""
        left = tuple(item for item in self._nonces.open if item.commitment not in self._burnt)
        if len(left) < len(self._nonces.open):
            self._keep(replace(self._nonces, open=left))

    def _open(self, commitment: Hex, message: bytes) -> OpenNonce | None:
        for item in self._nonces.open:
            if item.commitment == commitment and item.message == _sha256(message):
                return item
        return None

    def _keep(self, nonces: NonceStore) -> None:
        self._storage.write(NONCES, canonical(nonces))
        self._nonces = nonces


def _sha256(message: bytes) -> Sha256:
    return sha256(message).hexdigest()


def _digest(message: bytes, commitments: Commitments) -> Sha256:
    package = Package(message=_sha256(message), commitments=tuple(sorted(commitments.items())))
    return _sha256(canonical(package))
