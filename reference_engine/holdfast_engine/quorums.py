"""How a venue checks what the signers of a tier say: with the tier's public keys, or structurally."""

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from holdfast_engine import frost
from holdfast_engine.frost import ENCODED_BYTES, ORDER, Group, Point, Scalar
from holdfast_engine.signers import FrostQuorum, Quorum, StructuralQuorum
from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary import Hex, Scheme, SignerId, TierRule, structural_commitment_is_valid
from holdfast_model.vocabulary.signing import COUNTER_DIGITS


class Verifier(Protocol):
    """What a venue must know of a scheme besides its quorum."""

    @property
    def quorum(self) -> Quorum:
        """Who signs, and what shares and signatures are checked with."""

    def commitment_is_valid(self, signer: SignerId, message: bytes, commitment: Hex) -> bool:
        """Whether a member's commitment has its scheme's form."""

    def nonces(self, signer: SignerId, commitment: Hex) -> tuple[str, ...]:
        """Names of the nonces behind a valid commitment, none of which may ever be seen again."""


class FrostVerifier:
    """A tier that signs with FROST. Raises `HoldfastError` where its setup's keys are not those of one group."""

    def __init__(self, rule: TierRule) -> None:
        self.quorum = FrostQuorum(group_of(rule), rule.signers)

    def commitment_is_valid(self, signer: SignerId, message: bytes, commitment: Hex) -> bool:  # noqa: ARG002 - it is the same for every message
        """Whether it is a pair of two different points of the group."""
        try:
            data = bytes.fromhex(commitment)
            item = frost.decode_commitment(data, signer=self.quorum.identifiers[signer])
        except (frost.FrostError, ValueError):
            return False
        return data.hex() == commitment and item.hiding != item.binding

    def nonces(self, signer: SignerId, commitment: Hex) -> tuple[str, ...]:  # noqa: ARG002 - a nonce is nobody's twice
        """Both points: a nonce that was used is not used again, also not in the other place of the pair."""
        middle = 2 * ENCODED_BYTES
        return commitment[:middle], commitment[middle:]


class StructuralVerifier:
    """A tier that signs structurally, which proves nothing about who signed."""

    def __init__(self, rule: TierRule) -> None:
        self.quorum = StructuralQuorum(rule.signers, threshold=rule.threshold)

    def commitment_is_valid(self, signer: SignerId, message: bytes, commitment: Hex) -> bool:
        """Whether it is the signer's over this message."""
        return structural_commitment_is_valid(signer=signer, message=message, commitment=commitment)

    def nonces(self, signer: SignerId, commitment: Hex) -> tuple[str, ...]:
        """The signer's counter, of which each value is given once."""
        return (f"{signer} {commitment[:COUNTER_DIGITS]}",)


@cache
def verifier_of(rule: TierRule) -> Verifier:
    """The verifier of a tier's scheme. It has no state, so that all venues of a setup share it."""
    return FrostVerifier(rule) if rule.scheme is Scheme.FROST else StructuralVerifier(rule)


def group_of(rule: TierRule) -> Group:
    """The FROST group whose key and verifying shares a tier's rule names.

    The shares are points of a polynomial of degree `threshold - 1` in the exponent (RFC 9591, C.2); the first
    of them determine it. Raises `HoldfastError` where the group's key or another member's share is not on it.
    """
    where = f"custody: tier {rule.tier}"
    try:
        key = frost.decode_point(bytes.fromhex(rule.group_key))
        shares = {
            member: frost.decode_point(bytes.fromhex(share), member)
            for member, share in enumerate(rule.verifying_shares, start=1)
        }
        polynomial = _interpolated({member: shares[member] for member in range(1, rule.threshold + 1)})
        group = frost.derive_group(polynomial, list(shares))
    except (frost.FrostError, ValueError) as error:
        raise HoldfastError(f"{where}: {error}; expected the keys of a FROST group") from error
    if group.key != key:
        raise HoldfastError(f"{where}: group_key is not the one that the verifying shares belong to")
    wrong = [
        rule.signers[member - 1] for member, share in shares.items() if group.verification_shares[member] != share
    ]
    if wrong:
        raise HoldfastError(f"{where}: verifying_shares of {', '.join(wrong)} do not belong to the group")
    return group


def _interpolated(shares: Mapping[int, Point]) -> tuple[Point, ...]:
    """The committed polynomial through these points, lowest coefficient first (Lagrange, in the exponent)."""
    bases = {member: _basis(list(shares), member) for member in shares}
    return tuple(
        frost.total(frost.multiply(bases[member][power], share) for member, share in shares.items())
        for power in range(len(shares))
    )


def _basis(members: list[int], member: int) -> list[Scalar]:
    """The coefficients of the polynomial that is one at a member and zero at the others, lowest first."""
    coefficients, denominator = [1], 1
    for other in members:
        if other != member:
            raised, scaled = [0, *coefficients], [-other * value for value in [*coefficients, 0]]
            coefficients = [a + b for a, b in zip(raised, scaled, strict=True)]
            denominator = denominator * (member - other) % ORDER
    inverse = pow(denominator, -1, ORDER)
    return [Scalar(value * inverse % ORDER) for value in coefficients]
