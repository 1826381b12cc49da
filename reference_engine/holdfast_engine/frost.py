"""FROST(Ed25519, SHA-512): threshold signatures in two rounds that verify as ordinary Ed25519 signatures (RFC 9591).

Section numbers below are those of RFC 9591. The arithmetic of the group is libsodium's, that of the scalars Python's,
which takes a time that depends on their values: fit for a reference exchange, not for keys that guard money (7.1).

**What comes from outside is validated once, where it is decoded.** `decode_point` accepts exactly the canonical
encodings of points of the prime-order subgroup but the identity; libsodium's `is_valid_point` checks just that, and
versions before the one that is required here let points through that carry a component of order two
(CVE-2025-69277), while its `add` accepts any point of the curve. `decode_scalar` accepts exactly 0 to L - 1;
libsodium's multiplication ignores the topmost bit of a scalar.

**A nonce is for one session.** Each share that a signer makes with one pair of nonces is a linear equation for the
two nonces and the signer's key share; three of them, over three sessions, give the key share away (7.3). Nothing here
can prevent that: who keeps nonces must (`holdfast_engine.signers`).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha512
from typing import NewType

from msgspec import Struct
from nacl import bindings

from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary.signing import signature_is_valid

Scalar = NewType("Scalar", int)
"""An integer modulo `ORDER`, at least 0 and less than it."""
Point = NewType("Point", bytes)
"""The canonical encoding of a point of the prime-order subgroup."""
RandomBytes = Callable[[int], bytes]

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of the prime-order subgroup (6.1): L."""
ENCODED_BYTES = 32
IDENTITY = Point((1).to_bytes(ENCODED_BYTES, "little"))
CONTEXT = b"FROST-ED25519-SHA512-v1"


class FrostError(HoldfastError):
    """A run of the protocol that must be given up; `signers` are those whose doing it is, where that is known."""

    def __init__(self, message: str, *signers: int) -> None:
        super().__init__(message)
        self.signers = signers


class InvalidPointError(FrostError):
    """Bytes that are no canonical encoding of a point of the prime-order subgroup, or are the identity."""


class InvalidScalarError(FrostError):
    """Bytes that are no canonical encoding of a scalar, or zero where that is not allowed."""


class InvalidShareError(FrostError):
    """Signature shares that do not verify, or a key share that is not on the committed polynomial."""


class DuplicateSignerError(FrostError):
    """One signer that stands in a list twice."""


class UnknownSignerError(FrostError):
    """A signer that is no member of the group, or has no part in the session."""


class TooFewSignersError(FrostError):
    """Fewer signers than the threshold."""


class CommitmentMismatchError(FrostError):
    """A session that has something else in the place of a signer's own commitment."""


class KeyShare(Struct, frozen=True, kw_only=True):
    """A signer's secret: the value of the group's polynomial at the signer's identifier."""

    signer: int
    secret: Scalar


class Group(Struct, frozen=True, kw_only=True):
    """What everybody may know: the committed coefficients, and the public share of each member that follows."""

    polynomial: tuple[Point, ...]
    verification_shares: dict[int, Point]

    @property
    def key(self) -> Point:
        """The public key under which the group's signatures verify."""
        return self.polynomial[0]

    @property
    def threshold(self) -> int:
        """How many members it takes to sign."""
        return len(self.polynomial)


class Nonces(Struct, frozen=True, kw_only=True):
    """The secrets of round one. They are for one session, and then to be forgotten."""

    hiding: Scalar
    binding: Scalar


class Commitment(Struct, frozen=True, kw_only=True):
    """What a signer publishes in round one."""

    signer: int
    hiding: Point
    binding: Point


class Session(Struct, frozen=True, kw_only=True):
    """What the signers of one message agree on once all commitments are known. Made by `begin` alone."""

    group: Group
    message: bytes
    commitments: dict[int, Commitment]
    binding_factors: dict[int, Scalar]
    group_commitment: Point
    challenge: Scalar


# Scalars and points (3.1, 6.1) ------------------------------------------------------------------------------------


def encode_scalar(scalar: Scalar) -> bytes:
    """The 32 bytes of a scalar, little-endian (6.1, SerializeScalar)."""
    assert 0 <= scalar < ORDER
    return scalar.to_bytes(ENCODED_BYTES, "little")


def decode_scalar(data: bytes, *signers: int) -> Scalar:
    """The scalar that the bytes stand for (6.1, DeserializeScalar).

    Raises `InvalidScalarError`, with the signers that sent it, for another length and for anything not below `ORDER`.
    """
    value = int.from_bytes(data, "little")
    if len(data) != ENCODED_BYTES or value >= ORDER:
        raise InvalidScalarError(f"{data.hex()}: expected 32 bytes of an integer below the group's order", *signers)
    return Scalar(value)


def decode_point(data: bytes, *signers: int) -> Point:
    """The point, which is its own encoding (6.1, DeserializeElement).

    Raises `InvalidPointError`, with the signers that sent it, for what is not on the curve, not canonical, of small
    or mixed order, or the identity.
    """
    if len(data) != ENCODED_BYTES or not bindings.crypto_core_ed25519_is_valid_point(data):
        raise InvalidPointError(f"{data.hex()}: expected a point of the prime-order subgroup", *signers)
    return Point(data)


def multiply_base(scalar: Scalar) -> Point:
    """The base point times a scalar (3.1, ScalarBaseMult)."""
    if scalar == 0:  # libsodium refuses what gives the identity
        return IDENTITY
    return Point(bindings.crypto_scalarmult_ed25519_base_noclamp(encode_scalar(scalar)))


def multiply(scalar: Scalar, point: Point) -> Point:
    """A point, which is not the identity, times a scalar (3.1, ScalarMult)."""
    if scalar == 0:  # libsodium refuses what gives the identity
        return IDENTITY
    return Point(bindings.crypto_scalarmult_ed25519_noclamp(encode_scalar(scalar), point))


def total(points: Iterable[Point]) -> Point:
    """The sum of points (3.1)."""
    result = IDENTITY
    for point in points:
        result = Point(bindings.crypto_core_ed25519_add(result, point))
    return result


def random_scalar(random_bytes: RandomBytes) -> Scalar:
    """A scalar from 1 to L - 1, uniform but for a bias below 2**-250 (Appendix D, wide reduction)."""
    return Scalar(1 + int.from_bytes(random_bytes(64), "little") % (ORDER - 1))


def _hash(tag: bytes, data: bytes) -> bytes:
    """H4 with the tag `msg`, H5 with `com` (6.1)."""
    return sha512(CONTEXT + tag + data).digest()


def _hash_to_scalar(tag: bytes, data: bytes) -> Scalar:
    """H1 with the tag `rho`, H3 with `nonce` (6.1)."""
    return Scalar(int.from_bytes(_hash(tag, data), "little") % ORDER)


# Keys (Appendix C) ------------------------------------------------------------------------------------------------


def deal(
    members: Sequence[int], *, threshold: int, random_bytes: RandomBytes = os.urandom
) -> tuple[Group, tuple[KeyShare, ...]]:
    """A new group and its members' key shares, by a dealer who is trusted to forget them (Appendix C)."""
    assert threshold >= 1
    return share_secret([random_scalar(random_bytes) for _ in range(threshold)], members)


def share_secret(coefficients: Sequence[Scalar], members: Sequence[int]) -> tuple[Group, tuple[KeyShare, ...]]:
    """Shamir's sharing of the first coefficient, with Feldman's commitment to all of them (C.1, C.2).

    Raises `DuplicateSignerError`; `InvalidScalarError` for an identifier that is no scalar or is zero, which would be
    given the secret itself, and for a coefficient that is zero; `TooFewSignersError` for too few members.
    """
    _refuse_duplicates(members)
    for member in members:
        if not 0 < member < ORDER:
            raise InvalidScalarError("an identifier is at least 1 and below the group's order", member)
    if not all(0 < coefficient < ORDER for coefficient in coefficients):
        raise InvalidScalarError("a coefficient is at least 1 and below the group's order")
    if len(members) < len(coefficients):
        raise TooFewSignersError(f"{len(members)} members cannot reach a threshold of {len(coefficients)}")
    shares = tuple(KeyShare(signer=member, secret=_evaluate(coefficients, member)) for member in members)
    return derive_group([multiply_base(coefficient) for coefficient in coefficients], members), shares


def derive_group(polynomial: Sequence[Point], members: Sequence[int]) -> Group:
    """The group, with the verification shares that the committed polynomial gives (C.2, derive_group_info).

    Raises `InvalidPointError` where the dealer's commitment holds a point that is none, or gives a member none.
    """
    committed = tuple(decode_point(point) for point in polynomial)
    shares = {member: decode_point(_committed_value(committed, member), member) for member in members}
    return Group(polynomial=committed, verification_shares=shares)


def verify_key_share(group: Group, share: KeyShare) -> None:
    """Return when the share lies on the polynomial that the dealer committed to (C.2, vss_verify).

    Raises `InvalidShareError`: a member that got it must not take part.
    """
    if multiply_base(share.secret) != _committed_value(group.polynomial, share.signer):
        raise InvalidShareError("the key share is not on the committed polynomial", share.signer)


def _evaluate(coefficients: Sequence[Scalar], at: int) -> Scalar:
    """The polynomial's value, by Horner's method (C.1.1, polynomial_evaluate)."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * at + coefficient) % ORDER
    return Scalar(value)


def _committed_value(polynomial: Sequence[Point], at: int) -> Point:
    """The polynomial's value times the base point, computed from the commitment to it (C.2)."""
    powers = (Scalar(pow(at, exponent, ORDER)) for exponent in range(len(polynomial)))
    return total(multiply(power, point) for power, point in zip(powers, polynomial, strict=True))


def interpolating_value(signers: Iterable[int], signer: int) -> Scalar:
    """The Lagrange coefficient at zero of one signer among distinct ones (4.2, derive_interpolating_value)."""
    numerator = denominator = 1
    for other in signers:
        if other != signer:
            numerator = numerator * other % ORDER
            denominator = denominator * (other - signer) % ORDER
    return Scalar(numerator * pow(denominator, -1, ORDER) % ORDER)


def _refuse_duplicates(signers: Sequence[int]) -> None:
    duplicates = sorted(signer for signer in set(signers) if signers.count(signer) > 1)
    if duplicates:
        raise DuplicateSignerError(f"signers {duplicates} stand in the list more than once", *duplicates)


# Round one (4.1, 5.1) ---------------------------------------------------------------------------------------------


def generate_nonce(share: KeyShare, *, random_bytes: RandomBytes = os.urandom) -> Scalar:
    """A nonce of 32 fresh random bytes hashed with the key share, against a bad generator (4.1, nonce_generate)."""
    return _hash_to_scalar(b"nonce", random_bytes(32) + encode_scalar(share.secret))


def commit(share: KeyShare, *, random_bytes: RandomBytes = os.urandom) -> Nonces:
    """A new pair of nonces (5.1, commit); what is to be published of it is `commitment_to`."""
    return Nonces(
        hiding=generate_nonce(share, random_bytes=random_bytes),
        binding=generate_nonce(share, random_bytes=random_bytes),
    )


def commitment_to(nonces: Nonces, *, signer: int) -> Commitment:
    """What a signer publishes of its nonces (5.1, commit)."""
    return Commitment(signer=signer, hiding=multiply_base(nonces.hiding), binding=multiply_base(nonces.binding))


def encode_commitment(commitment: Commitment) -> bytes:
    """The 64 bytes of a commitment: the hiding one, then the binding one."""
    return commitment.hiding + commitment.binding


def decode_commitment(data: bytes, *, signer: int) -> Commitment:
    """The commitment of a signer, its points validated. Raises `InvalidPointError`, which names the signer."""
    return Commitment(
        signer=signer,
        hiding=decode_point(data[:ENCODED_BYTES], signer),
        binding=decode_point(data[ENCODED_BYTES:], signer),
    )


# Round two (4.3 to 4.6, 5.2) --------------------------------------------------------------------------------------


def begin(group: Group, message: bytes, commitments: Sequence[Commitment]) -> Session:
    """The session of those who committed, in whatever order they did (5.2).

    Raises `DuplicateSignerError`, `UnknownSignerError` for who is no member, `TooFewSignersError`, and
    `InvalidPointError` for a point that is none, in that order.
    """
    signers = sorted(commitment.signer for commitment in commitments)
    _refuse_duplicates(signers)
    strangers = [signer for signer in signers if signer not in group.verification_shares]
    if strangers:
        raise UnknownSignerError(f"signers {strangers} are no members of the group", *strangers)
    if len(signers) < group.threshold:
        raise TooFewSignersError(f"{len(signers)} signers are fewer than the threshold of {group.threshold}")
    for commitment in commitments:
        decode_point(commitment.hiding, commitment.signer)
        decode_point(commitment.binding, commitment.signer)
    in_order = {item.signer: item for item in sorted(commitments, key=lambda item: item.signer)}
    factors = binding_factors(group, message, in_order)
    group_commitment = total(
        part for signer, item in in_order.items() for part in (item.hiding, multiply(factors[signer], item.binding))
    )
    if group_commitment == IDENTITY:
        raise InvalidPointError("the commitments sum to the identity", *signers)
    return Session(
        group=group,
        message=message,
        commitments=in_order,
        binding_factors=factors,
        group_commitment=group_commitment,
        challenge=_challenge(group_commitment, group.key, message),
    )


def binding_factors(group: Group, message: bytes, commitments: Mapping[int, Commitment]) -> dict[int, Scalar]:
    """The factor that binds each signer's share to this message and these commitments (4.3, 4.4)."""
    prefix = binding_prefix(group, message, commitments)
    return {signer: _hash_to_scalar(b"rho", prefix + encode_scalar(Scalar(signer))) for signer in commitments}


def binding_prefix(group: Group, message: bytes, commitments: Mapping[int, Commitment]) -> bytes:
    """What all binding factors are hashed from; the commitments stand in the order of the signers (4.3, 4.4)."""
    assert list(commitments) == sorted(commitments)
    encoded = b"".join(encode_scalar(Scalar(item.signer)) + encode_commitment(item) for item in commitments.values())
    return group.key + _hash(b"msg", message) + _hash(b"com", encoded)


def _challenge(group_commitment: Point, key: Point, message: bytes) -> Scalar:
    """The challenge of RFC 8032, which has no tag (4.6; 6.1, H2)."""
    return Scalar(int.from_bytes(sha512(group_commitment + key + message).digest(), "little") % ORDER)


def sign(session: Session, share: KeyShare, nonces: Nonces) -> Scalar:
    """The signer's share of the signature (5.2, sign). The nonces must never be used again.

    Raises `UnknownSignerError` where the signer has no part in the session, `CommitmentMismatchError` where the
    session holds another commitment than that to these nonces.
    """
    own = _of_session(session, share.signer)
    if own != commitment_to(nonces, signer=share.signer):
        raise CommitmentMismatchError("the session holds another commitment than this signer's", share.signer)
    weight = interpolating_value(session.commitments, share.signer)
    binding = nonces.binding * session.binding_factors[share.signer]
    return Scalar((nonces.hiding + binding + weight * share.secret * session.challenge) % ORDER)


# Aggregation (5.3, 5.4) -------------------------------------------------------------------------------------------


def share_is_valid(session: Session, signer: int, share: Scalar) -> bool:
    """Whether the share is the signer's over this session's message and commitments (5.3, verify_signature_share).

    Raises `UnknownSignerError` where the signer has no part in the session.
    """
    own = _of_session(session, signer)
    weight = Scalar(interpolating_value(session.commitments, signer) * session.challenge % ORDER)
    expected = (
        own.hiding,
        multiply(session.binding_factors[signer], own.binding),
        multiply(weight, session.group.verification_shares[signer]),
    )
    return multiply_base(share) == total(expected)


def aggregate(session: Session, shares: Mapping[int, Scalar]) -> bytes:
    """The 64 bytes of the group's Ed25519 signature over the message, verified (5.3, aggregate; Appendix A).

    Raises `UnknownSignerError` for a share of who has no part in the session, `TooFewSignersError` where one that has
    gave no share, and `InvalidShareError` with all signers whose shares do not verify (5.4).
    """
    for signer in shares:
        _of_session(session, signer)
    missing = [signer for signer in session.commitments if signer not in shares]
    if missing:
        raise TooFewSignersError(f"signers {missing} committed and gave no share", *missing)
    response = Scalar(sum(shares.values()) % ORDER)
    signature = session.group_commitment + encode_scalar(response)
    if signature_is_valid(session.group.key, session.message, signature):
        return signature
    guilty = [signer for signer, share in sorted(shares.items()) if not share_is_valid(session, signer, share)]
    assert guilty, "valid shares make a valid signature"
    raise InvalidShareError(f"the shares of signers {guilty} do not verify", *guilty)


def _of_session(session: Session, signer: int) -> Commitment:
    if signer not in session.commitments:
        raise UnknownSignerError(f"signer {signer} has no part in the session", signer)
    return session.commitments[signer]
