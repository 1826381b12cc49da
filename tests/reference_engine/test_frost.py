"""FROST(Ed25519, SHA-512): the vectors of RFC 9591, and what must be refused."""

import itertools
from collections.abc import Iterator, Mapping
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nacl import bindings
from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as NaclRuntimeError
from nacl.exceptions import TypeError as NaclTypeError
from nacl.signing import VerifyKey

from holdfast_engine import frost
from holdfast_engine.frost import (
    IDENTITY,
    ORDER,
    Commitment,
    CommitmentMismatchError,
    DuplicateSignerError,
    Group,
    InvalidPointError,
    InvalidScalarError,
    InvalidShareError,
    KeyShare,
    Nonces,
    Point,
    Scalar,
    Session,
    TooFewSignersError,
    UnknownSignerError,
)

# RFC 9591, Appendix E.1: FROST(Ed25519, SHA-512), two of three.
GROUP_SECRET = "7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304"  # noqa: S105 - published
GROUP_KEY = "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673"
MESSAGE = bytes.fromhex("74657374")
COEFFICIENT = "178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204"
SHARES = {
    1: "929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509",
    2: "a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d",
    3: "d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02",
}
RANDOMNESS = {
    1: (
        "0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec",
        "69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501",
    ),
    3: (
        "86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f",
        "13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775",
    ),
}
NONCES = {
    1: (
        "812d6104142944d5a55924de6d49940956206909f2acaeedecda2b726e630407",
        "b1110165fc2334149750b28dd813a39244f315cff14d4e89e6142f262ed83301",
    ),
    3: (
        "c256de65476204095ebdc01bd11dc10e57b36bc96284595b8215222374f99c0e",
        "243d71944d929063bc51205714ae3c2218bd3451d0214dfb5aeec2a90c35180d",
    ),
}
COMMITMENTS = {
    1: (
        "b5aa8ab305882a6fc69cbee9327e5a45e54c08af61ae77cb8207be3d2ce13de3",
        "67e98ab55aa310c3120418e5050c9cf76cf387cb20ac9e4b6fdb6f82a469f932",
    ),
    3: (
        "cfbdb165bd8aad6eb79deb8d287bcc0ab6658ae57fdcc98ed12c0669e90aec91",
        "7487bc41a6e712eea2f2af24681b58b1cf1da278ea11fe4e8b78398965f13552",
    ),
}
BINDING_FACTOR_PREFIX = (
    "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673"
    "504df914fa965023fb75c25ded4bb260f417de6d32e5c442c6ba313791cc9a49"
    "48d6273e8d3511f93348ea7a708a9b862bc73ba2a79cfdfe07729a193751cbc9"
    "73af46d8ac3440e518d4ce440a0e7d4ad5f62ca8940f32de6d8dc00fc12c660b"
    "817d587d82f856d277ce6473cae6d2f5763f7da2e8b4d799a3f3e725d4522ec7"
)
BINDING_FACTORS = {
    1: "f2cb9d7dd9beff688da6fcc83fa89046b3479417f47f55600b106760eb3b5603",
    3: "b087686bf35a13f3dc78e780a34b0fe8a77fef1b9938c563f5573d71d8d7890f",
}
SIGNATURE_SHARES = {
    1: "001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603",
    3: "bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007",
}
SIGNATURE = (
    "36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbe"
    "bd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b"
)

FIELD = 2**255 - 19
ORDER_TWO = (FIELD - 1).to_bytes(32, "little")
ORDER_FOUR = bytes(32)
ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
BASE = frost.multiply_base(Scalar(1))


def scalar(text: str) -> Scalar:
    return frost.decode_scalar(bytes.fromhex(text))


def random_bytes(seed: int) -> frost.RandomBytes:
    return Random(seed).randbytes  # noqa: S311 - a test repeats itself


def vector_group() -> tuple[Group, tuple[KeyShare, ...]]:
    return frost.share_secret([scalar(GROUP_SECRET), scalar(COEFFICIENT)], [1, 2, 3])


def vector_nonces(signer: int) -> Nonces:
    hiding, binding = NONCES[signer]
    return Nonces(hiding=scalar(hiding), binding=scalar(binding))


def vector_session() -> Session:
    commitments = [
        frost.decode_commitment(bytes.fromhex("".join(COMMITMENTS[signer])), signer=signer) for signer in (1, 3)
    ]
    return frost.begin(vector_group()[0], MESSAGE, commitments)


def test_dealing_gives_the_vector_s_group_key_and_key_shares() -> None:
    group, shares = vector_group()
    assert group.key.hex() == GROUP_KEY
    assert group.threshold == 2
    assert {share.signer: frost.encode_scalar(share.secret).hex() for share in shares} == SHARES
    assert group.verification_shares == {share.signer: frost.multiply_base(share.secret) for share in shares}


@pytest.mark.parametrize("signer", [1, 3])
def test_round_one_gives_the_vector_s_nonces_and_commitments(signer: int) -> None:
    randomness = iter(RANDOMNESS[signer])

    def drawn(size: int) -> bytes:
        assert size == 32
        return bytes.fromhex(next(randomness))

    nonces = frost.commit(KeyShare(signer=signer, secret=scalar(SHARES[signer])), random_bytes=drawn)
    assert nonces == vector_nonces(signer)
    commitment = frost.commitment_to(nonces, signer=signer)
    assert (commitment.hiding.hex(), commitment.binding.hex()) == COMMITMENTS[signer]


def test_binding_factors_are_the_vector_s_and_so_is_what_they_are_hashed_from() -> None:
    session = vector_session()
    prefix = frost.binding_prefix(session.group, MESSAGE, session.commitments)
    assert prefix.hex() == BINDING_FACTOR_PREFIX
    factors = {signer: frost.encode_scalar(factor).hex() for signer, factor in session.binding_factors.items()}
    assert factors == BINDING_FACTORS


@pytest.mark.parametrize("signer", [1, 3])
def test_round_two_gives_the_vector_s_signature_shares(signer: int) -> None:
    share = KeyShare(signer=signer, secret=scalar(SHARES[signer]))
    signed = frost.sign(vector_session(), share, vector_nonces(signer))
    assert frost.encode_scalar(signed).hex() == SIGNATURE_SHARES[signer]
    assert frost.share_is_valid(vector_session(), signer, signed)


def test_aggregation_gives_the_vector_s_signature() -> None:
    shares = {signer: scalar(share) for signer, share in SIGNATURE_SHARES.items()}
    assert frost.aggregate(vector_session(), shares).hex() == SIGNATURE


# Any group --------------------------------------------------------------------------------------------------------


class Run:
    """A group of members, and one session of some of them, ready to be aggregated."""

    def __init__(self, members: list[int], *, threshold: int, signers: list[int], message: bytes, seed: int) -> None:
        draw = random_bytes(seed)
        self.group, shares = frost.deal(members, threshold=threshold, random_bytes=draw)
        self.keys = {share.signer: share for share in shares}
        self.nonces = {signer: frost.commit(self.keys[signer], random_bytes=draw) for signer in signers}
        self.session = self.session_over(message)

    def commitments(self) -> list[Commitment]:
        return [frost.commitment_to(nonces, signer=signer) for signer, nonces in self.nonces.items()]

    def session_over(self, message: bytes) -> Session:
        return frost.begin(self.group, message, self.commitments())

    def shares(self, session: Session) -> dict[int, Scalar]:
        return {signer: frost.sign(session, self.keys[signer], nonces) for signer, nonces in self.nonces.items()}


def two_of_three(message: bytes = b"pay") -> Run:
    return Run([1, 2, 3], threshold=2, signers=[1, 3], message=message, seed=1)


@given(st.data(), st.binary(max_size=80), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_quorum_signs_as_one_ordinary_ed25519_key(data: st.DataObject, message: bytes, seed: int) -> None:
    identifiers = st.one_of(st.integers(1, 20), st.integers(1, ORDER - 1))
    members = data.draw(st.lists(identifiers, min_size=1, max_size=6, unique=True))
    threshold = data.draw(st.integers(1, len(members)))
    some = data.draw(st.permutations(members))
    signers = some[: data.draw(st.integers(threshold, len(members)))]
    run = Run(members, threshold=threshold, signers=signers, message=message, seed=seed)
    for key in run.keys.values():
        frost.verify_key_share(run.group, key)
    shares = run.shares(run.session)
    assert all(frost.share_is_valid(run.session, signer, share) for signer, share in shares.items())
    signature = frost.aggregate(run.session, shares)
    VerifyKey(run.group.key).verify(message, signature)
    with pytest.raises(BadSignatureError):
        VerifyKey(run.group.key).verify(message + b".", signature)


def test_signers_agree_on_the_session_whatever_order_they_hear_the_commitments_in() -> None:
    run = Run([5, 9, 2], threshold=2, signers=[9, 2, 5], message=b"pay", seed=3)
    sessions = {order: frost.begin(run.group, b"pay", order) for order in itertools.permutations(run.commitments())}
    assert all(session == run.session for session in sessions.values())


def interpolated(shares: Mapping[int, Scalar]) -> Scalar:
    """The value at zero of the polynomial of least degree through the shares."""
    return Scalar(sum(share * frost.interpolating_value(shares, signer) for signer, share in shares.items()) % ORDER)


def test_a_threshold_of_key_shares_is_the_key_and_one_less_is_not() -> None:
    run = Run([1, 2, 3, 4], threshold=3, signers=[1, 2, 3], message=b"", seed=5)
    secrets = {signer: key.secret for signer, key in run.keys.items()}
    for size, opens in ((2, False), (3, True), (4, True)):
        for chosen in itertools.combinations(secrets, size):
            secret = interpolated({signer: secrets[signer] for signer in chosen})
            assert (frost.multiply_base(secret) == run.group.key) is opens


# Refused ----------------------------------------------------------------------------------------------------------


def test_a_forged_share_is_refused_and_names_its_signer() -> None:
    run = two_of_three()
    shares = run.shares(run.session)
    shares[3] = Scalar((shares[3] + 1) % ORDER)
    assert not frost.share_is_valid(run.session, 3, shares[3])
    with pytest.raises(InvalidShareError) as refused:
        frost.aggregate(run.session, shares)
    assert refused.value.signers == (3,)


def test_all_forgers_are_named() -> None:
    run = two_of_three()
    with pytest.raises(InvalidShareError) as refused:
        frost.aggregate(run.session, {1: Scalar(0), 3: Scalar(1)})
    assert refused.value.signers == (1, 3)


def test_a_share_over_another_message_is_refused() -> None:
    run = two_of_three()
    shares = run.shares(run.session)
    shares[1] = frost.sign(run.session_over(b"pay the thief"), run.keys[1], run.nonces[1])
    with pytest.raises(InvalidShareError) as refused:
        frost.aggregate(run.session, shares)
    assert refused.value.signers == (1,)


def test_a_share_with_another_member_s_key_is_refused() -> None:
    run = two_of_three()
    shares = run.shares(run.session)
    shares[1] = frost.sign(run.session, replace(run.keys[2], signer=1), run.nonces[1])
    with pytest.raises(InvalidShareError) as refused:
        frost.aggregate(run.session, shares)
    assert refused.value.signers == (1,)


def test_fewer_signers_than_the_threshold_cannot_begin() -> None:
    run = two_of_three()
    with pytest.raises(TooFewSignersError):
        frost.begin(run.group, b"pay", run.commitments()[:1])


def test_fewer_signers_than_the_threshold_make_no_signature_even_where_nobody_checks() -> None:
    run = two_of_three()
    careless = replace(run.group, polynomial=run.group.polynomial[:1])
    session = frost.begin(careless, b"pay", run.commitments()[:1])
    share = frost.sign(session, run.keys[1], run.nonces[1])
    with pytest.raises(BadSignatureError):
        VerifyKey(run.group.key).verify(b"pay", session.group_commitment + frost.encode_scalar(share))


def test_a_share_that_never_came_is_named() -> None:
    run = two_of_three()
    shares = run.shares(run.session)
    del shares[3]
    with pytest.raises(TooFewSignersError) as refused:
        frost.aggregate(run.session, shares)
    assert refused.value.signers == (3,)


def test_a_signer_that_stands_in_the_list_twice_is_refused() -> None:
    run = two_of_three()
    with pytest.raises(DuplicateSignerError) as refused:
        frost.begin(run.group, b"pay", [*run.commitments(), run.commitments()[0]])
    assert refused.value.signers == (1,)
    with pytest.raises(DuplicateSignerError):
        frost.deal([1, 2, 1], threshold=2)


def test_a_stranger_is_refused_in_each_round() -> None:
    run = two_of_three()
    stranger = replace(run.commitments()[0], signer=7)
    with pytest.raises(UnknownSignerError) as refused:
        frost.begin(run.group, b"pay", [*run.commitments(), stranger])
    assert refused.value.signers == (7,)
    with pytest.raises(UnknownSignerError):
        frost.sign(run.session, run.keys[2], run.nonces[1])
    with pytest.raises(UnknownSignerError):
        frost.share_is_valid(run.session, 2, Scalar(1))
    with pytest.raises(UnknownSignerError):
        frost.aggregate(run.session, run.shares(run.session) | {2: Scalar(0)})


def test_a_signer_does_not_sign_where_its_own_commitment_was_exchanged() -> None:
    run = two_of_three()
    theirs = replace(run.commitments()[1], signer=1)
    session = frost.begin(run.group, b"pay", [theirs, run.commitments()[1]])
    with pytest.raises(CommitmentMismatchError) as refused:
        frost.sign(session, run.keys[1], run.nonces[1])
    assert refused.value.signers == (1,)


def negated(point: bytes) -> bytes:
    return point[:-1] + bytes([point[-1] ^ 0x80])


def bad_points() -> Iterator[tuple[str, bytes]]:
    yield "identity", IDENTITY
    yield "order two", ORDER_TWO
    yield "order four", ORDER_FOUR
    yield "order eight", ORDER_EIGHT
    for name, torsion in (("two", ORDER_TWO), ("four", ORDER_FOUR), ("eight", ORDER_EIGHT)):
        yield f"mixed with order {name}", bindings.crypto_core_ed25519_add(BASE, torsion)
    yield "identity with the sign set", negated(IDENTITY)
    yield "identity beyond the field", (FIELD + 1).to_bytes(32, "little")
    yield "order four beyond the field", FIELD.to_bytes(32, "little")
    yield "the largest y", (2**255 - 1).to_bytes(32, "little")
    yield "off the curve", (2).to_bytes(32, "little")
    yield "short", BASE[:-1]
    yield "long", BASE + b"\0"
    yield "empty", b""


@pytest.mark.parametrize(("name", "point"), list(bad_points()))
def test_a_bad_point_is_refused_wherever_it_comes_in(name: str, point: bytes) -> None:
    run = two_of_three()
    with pytest.raises(InvalidPointError, match="prime-order subgroup"):
        frost.decode_point(point)
    for bad in (
        replace(run.commitments()[1], hiding=Point(point)),
        replace(run.commitments()[1], binding=Point(point)),
    ):
        with pytest.raises(InvalidPointError) as refused:
            frost.begin(run.group, b"pay", [run.commitments()[0], bad])
        assert refused.value.signers == (3,), name
        with pytest.raises(InvalidPointError) as refused:
            frost.decode_commitment(frost.encode_commitment(bad), signer=3)
        assert refused.value.signers == (3,), name
    with pytest.raises(InvalidPointError):
        frost.derive_group([Point(point), BASE], [1, 2])


def non_canonical(point: bytes) -> bytes:
    """The same point with y + p in place of y, where that fits."""
    return (int.from_bytes(point, "little") + FIELD).to_bytes(32, "little")


def test_adding_alone_would_accept_what_is_refused() -> None:
    """The reason for `decode_point`: the bad points above are no straw men."""
    refused = set()
    for name, point in bad_points():
        try:
            bindings.crypto_core_ed25519_add(BASE, point)
        except (NaclRuntimeError, NaclTypeError):
            refused.add(name)
    assert refused == {"off the curve", "short", "long", "empty"}
    assert bindings.crypto_core_ed25519_add(BASE, non_canonical(IDENTITY)) == BASE


def test_commitments_that_cancel_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Binding factors are hashes of the commitments, so that nobody finds such commitments: the factor is forced."""
    group, _ = frost.deal([1], threshold=1, random_bytes=random_bytes(1))
    monkeypatch.setattr(frost, "binding_factors", lambda *_: {1: Scalar(1)})
    cancelling = Commitment(signer=1, hiding=BASE, binding=Point(negated(BASE)))
    with pytest.raises(InvalidPointError, match="sum to the identity"):
        frost.begin(group, b"pay", [cancelling])


def test_a_factor_of_zero_gives_the_identity_where_libsodium_gives_an_error() -> None:
    assert frost.multiply(Scalar(0), BASE) == frost.multiply_base(Scalar(0)) == frost.total([]) == IDENTITY


@pytest.mark.parametrize(
    "data",
    [
        ORDER.to_bytes(32, "little"),
        (ORDER + 1).to_bytes(32, "little"),
        (2**255 + 1).to_bytes(32, "little"),
        b"\xff" * 32,
        bytes(31),
        bytes(33),
        b"",
    ],
)
def test_a_scalar_that_is_not_canonical_is_refused_and_names_who_sent_it(data: bytes) -> None:
    with pytest.raises(InvalidScalarError) as refused:
        frost.decode_scalar(data, 7)
    assert refused.value.signers == (7,)


def test_multiplying_alone_would_accept_a_scalar_that_is_not_canonical() -> None:
    """The reason for `decode_scalar`: libsodium ignores the topmost bit."""
    assert bindings.crypto_scalarmult_ed25519_base_noclamp((2**255 + 5).to_bytes(32, "little")) == (
        frost.multiply_base(Scalar(5))
    )


@given(st.integers(0, ORDER - 1))
def test_a_scalar_is_read_back(value: int) -> None:
    assert frost.decode_scalar(frost.encode_scalar(Scalar(value))) == value


@pytest.mark.parametrize("identifier", [0, -1, ORDER, ORDER + 1])
def test_an_identifier_that_would_be_given_the_secret_or_is_no_scalar_is_refused(identifier: int) -> None:
    with pytest.raises(InvalidScalarError):
        frost.deal([1, identifier], threshold=2)


def test_a_threshold_above_the_number_of_members_is_refused() -> None:
    with pytest.raises(TooFewSignersError):
        frost.deal([1, 2], threshold=3)


@pytest.mark.parametrize("coefficient", [0, ORDER])
def test_a_coefficient_that_commits_to_nothing_is_refused(coefficient: int) -> None:
    with pytest.raises(InvalidScalarError):
        frost.share_secret([Scalar(1), Scalar(coefficient)], [1, 2])


def test_a_key_share_that_the_dealer_did_not_commit_to_is_refused() -> None:
    run = two_of_three()
    frost.verify_key_share(run.group, run.keys[1])
    with pytest.raises(InvalidShareError) as refused:
        frost.verify_key_share(run.group, replace(run.keys[1], secret=Scalar(run.keys[1].secret + 1)))
    assert refused.value.signers == (1,)


# Why a nonce is used once -----------------------------------------------------------------------------------------


def leaked_secret(sessions: list[Session], shares: list[Scalar], *, signer: int) -> int:
    """A signer's key share, from three of its signature shares with the same nonces.

    Each is hiding + binding * factor + secret * weight, where factor and weight are public: subtracting the first
    from the others leaves two equations for the binding nonce and the secret, which Cramer's rule solves.
    """
    factors = [session.binding_factors[signer] for session in sessions]
    weights = [frost.interpolating_value(session.commitments, signer) * session.challenge for session in sessions]
    (share_1, share_2), (factor_1, factor_2), (weight_1, weight_2) = (
        (second - first, third - first) for first, second, third in (shares, factors, weights)
    )
    determinant = factor_1 * weight_2 - factor_2 * weight_1
    return (factor_1 * share_2 - factor_2 * share_1) * pow(determinant, -1, ORDER) % ORDER


def test_nonces_used_again_give_the_key_share_away() -> None:
    run = two_of_three()
    sessions = [run.session_over(message) for message in (b"pay 1", b"pay 2", b"pay 3")]
    shares = [run.shares(session)[1] for session in sessions]
    assert leaked_secret(sessions, shares, signer=1) == run.keys[1].secret


def test_the_same_message_with_other_partners_is_another_session_and_leaks_as_well() -> None:
    run = Run([1, 2, 3, 4], threshold=2, signers=[1, 2, 3, 4], message=b"pay", seed=8)
    own, *others = run.commitments()
    sessions = [frost.begin(run.group, b"pay", [own, other]) for other in others]
    shares = [frost.sign(session, run.keys[1], run.nonces[1]) for session in sessions]
    assert leaked_secret(sessions, shares, signer=1) == run.keys[1].secret


def test_fresh_nonces_give_nothing_away() -> None:
    runs = [two_of_three()] * 2 + [Run([1, 2, 3], threshold=2, signers=[1, 3], message=b"pay", seed=1)]
    runs[2].nonces = {signer: frost.commit(runs[2].keys[signer], random_bytes=random_bytes(9)) for signer in (1, 3)}
    sessions = [run.session_over(message) for run, message in zip(runs, (b"pay 1", b"pay 2", b"pay 3"), strict=True)]
    shares = [run.shares(session)[1] for run, session in zip(runs, sessions, strict=True)]
    assert leaked_secret(sessions, shares, signer=1) != runs[0].keys[1].secret


@pytest.mark.parametrize("drawn", [0, 1, ORDER - 2, ORDER - 1, ORDER, 2 * ORDER - 2, 2**512 - 1])
def test_whatever_bytes_are_drawn_a_random_scalar_is_from_one_to_the_order_less_one(drawn: int) -> None:
    assert 1 <= frost.random_scalar(lambda size: drawn.to_bytes(size, "little")) <= ORDER - 1
