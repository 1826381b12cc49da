"""What is signed, and what stands for signatures where volume matters."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from nacl.signing import SigningKey

from holdfast_model.vocabulary import (
    Amount,
    PaymentIntent,
    intent_of,
    message_of,
    signature_is_valid,
    structural_commitment,
    structural_commitment_is_valid,
    structural_share,
    structural_signature,
)
from holdfast_model.vocabulary.signing import INTENT_DOMAIN

INTENT = PaymentIntent(payment="w1", asset="BTC", amount=Amount(10**30), destination="bc1", tier="hot", fee=Amount(3))
MESSAGE = message_of(INTENT)


def test_a_message_is_its_tag_and_the_canonical_json_of_the_intent() -> None:
    assert MESSAGE == (
        b"holdfast payment intent 1\n"
        b'{"payment":"w1","asset":"BTC","amount":1000000000000000000000000000000,'
        b'"destination":"bc1","tier":"hot","fee":3}'
    )
    assert intent_of(MESSAGE) == INTENT


texts = st.text(max_size=20)
intents = st.builds(
    PaymentIntent,
    payment=texts,
    asset=st.sampled_from(["BTC", "USD"]),
    amount=st.integers(0, 10**38),
    destination=texts,
    tier=texts,
    fee=st.integers(0, 10**38),
)


@given(intents, intents)
def test_two_intents_have_one_message_only_if_they_are_one(one: PaymentIntent, other: PaymentIntent) -> None:
    assert intent_of(message_of(one)) == one
    assert (message_of(one) == message_of(other)) is (one == other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: message[len(INTENT_DOMAIN) :],
        lambda message: message + b" ",
        lambda message: message.replace(b'"fee":3', b'"fee": 3'),
        lambda message: message.replace(b'"fee":3', b'"fee":3,"more":1'),
        lambda message: message.replace(b'"fee":3', b'"fee":"3"'),
        lambda message: message.replace(b'"fee":3', b'"fee":3,"fee":3'),
        lambda message: message[:-1],
        lambda message: b"\xff" + message,
        lambda _: b"",
    ],
)
def test_what_is_not_exactly_a_message_approves_nothing(spoil: Callable[[bytes], bytes]) -> None:
    assert spoil(MESSAGE) != MESSAGE
    assert intent_of(spoil(MESSAGE)) is None


def test_a_signature_is_valid_for_its_key_and_message_alone() -> None:
    key = SigningKey(bytes(range(32)))
    public, signature = bytes(key.verify_key), key.sign(MESSAGE).signature
    assert signature_is_valid(public, MESSAGE, signature)
    other = bytes(SigningKey(bytes(32)).verify_key)
    assert not signature_is_valid(other, MESSAGE, signature)
    assert not signature_is_valid(public, MESSAGE + b".", signature)
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little")
    assert not signature_is_valid(public, MESSAGE, signature[:32] + (scalar ^ 1).to_bytes(32, "little"))
    assert not signature_is_valid(public, MESSAGE, signature[:32] + (scalar + order).to_bytes(32, "little"))
    assert not signature_is_valid(public, MESSAGE, signature[:-1])
    assert not signature_is_valid(public[:-1], MESSAGE, signature)
    assert not signature_is_valid(b"", MESSAGE, b"")


def test_libsodium_is_loaded_by_the_first_verification() -> None:
    program = (
        "import sys; from holdfast_model.vocabulary import signature_is_valid; before = 'nacl' in sys.modules;"
        "signature_is_valid(bytes(32), b'', bytes(64)); print(before, 'nacl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]


def test_a_key_of_small_order_signs_nothing() -> None:
    identity = (1).to_bytes(32, "little")
    assert not signature_is_valid(identity, MESSAGE, identity + bytes(32))


# The structural quorum --------------------------------------------------------------------------------------------

OTHER = message_of(replace(INTENT, destination="bc2"))
COMMITMENTS = {
    signer: structural_commitment(signer=signer, message=MESSAGE, counter=counter)
    for counter, signer in enumerate(("s1", "s2"))
}
SHARES = {signer: structural_share(signer=signer, message=MESSAGE, commitments=COMMITMENTS) for signer in COMMITMENTS}


def test_structural_strings_are_the_published_ones() -> None:
    """Another engine computes the same: a change of these is a change of the wire."""
    assert COMMITMENTS["s1"] == "000000000000000014a003b35cafb61d689d49fb35f93a5c2708fbf99e4d1c3e283a245789d38f8d"
    assert SHARES["s1"] == "5a5089e8fd86b3d1382d79b4b2342e33b835b302e67067d2edc347fc22e25a3a"
    assert structural_signature(message=MESSAGE, commitments=COMMITMENTS, shares=SHARES) == (
        "d4bc45c732eb088ab0948d35605f469b516b85ecedafd9d6f3aab30acd82a1d2"
        "8058b7fa708c18ee6037e0379c767751300b7ff8b9937945436d7f8da974d448"
    )


def test_a_structural_commitment_is_its_signer_s_over_its_message() -> None:
    commitment = COMMITMENTS["s2"]
    assert structural_commitment_is_valid(signer="s2", message=MESSAGE, commitment=commitment)
    assert not structural_commitment_is_valid(signer="s1", message=MESSAGE, commitment=commitment)
    assert not structural_commitment_is_valid(signer="s2", message=OTHER, commitment=commitment)
    for spoilt in (
        "1" + commitment[1:],
        commitment[:-1] + "x",
        commitment[:-1],
        commitment + "0",
        commitment.upper(),
        "",
    ):
        assert not structural_commitment_is_valid(signer="s2", message=MESSAGE, commitment=spoilt), spoilt


def test_each_counter_gives_another_commitment() -> None:
    made = {structural_commitment(signer="s1", message=MESSAGE, counter=counter) for counter in range(100)}
    assert len(made) == 100


def test_a_structural_share_binds_signer_message_and_all_commitments() -> None:
    fresh = COMMITMENTS | {"s2": structural_commitment(signer="s2", message=MESSAGE, counter=9)}
    others = {
        structural_share(signer="s2", message=MESSAGE, commitments=COMMITMENTS),
        structural_share(signer="s1", message=OTHER, commitments=COMMITMENTS),
        structural_share(signer="s1", message=MESSAGE, commitments=fresh),
        structural_share(signer="s1", message=MESSAGE, commitments=COMMITMENTS | {"s3": COMMITMENTS["s1"]}),
    }
    assert len(others) == 4
    assert SHARES["s1"] not in others
    reordered = dict(reversed(COMMITMENTS.items()))
    assert structural_share(signer="s1", message=MESSAGE, commitments=reordered) == SHARES["s1"]


def test_a_structural_signature_binds_message_commitments_and_shares() -> None:
    signed = structural_signature(message=MESSAGE, commitments=COMMITMENTS, shares=SHARES)
    others = {
        structural_signature(message=OTHER, commitments=COMMITMENTS, shares=SHARES),
        structural_signature(message=MESSAGE, commitments=SHARES, shares=COMMITMENTS),
        structural_signature(message=MESSAGE, commitments=COMMITMENTS, shares={"s1": SHARES["s1"]}),
        structural_signature(message=MESSAGE, commitments={}, shares=SHARES | COMMITMENTS),
    }
    assert len(others) == 4
    assert signed not in others
    assert len(signed) == 128
