"""Signers: what they refuse, what they keep across crashes, and who notices those that misbehave."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast_engine import frost
from holdfast_engine.frost import InvalidShareError, KeyShare, Scalar
from holdfast_engine.misbehaving_signers import (
    DivertingSigner,
    ForgingSigner,
    NonceReusingSigner,
    SlowSigner,
    UnreachableSigner,
)
from holdfast_engine.signers import (
    FrostKey,
    FrostQuorum,
    Quorum,
    RefusalReason,
    Refused,
    Signer,
    SigningKey,
    StructuralQuorum,
    deal_frost,
    deal_structural,
)
from holdfast_engine.storage import FileStorage, MemoryStorage, Storage
from holdfast_model.vocabulary import Amount, Hex, PaymentIntent, message_of, signature_is_valid

NAMES = ("ann", "ben", "cyd")
INTENT = PaymentIntent(payment="w1", asset="BTC", amount=Amount(5), destination="bc1", tier="hot", fee=Amount(1))
MESSAGE = message_of(INTENT)
OTHER = message_of(replace(INTENT, payment="w2"))
CHANGED = message_of(replace(INTENT, destination="thief"))


class Dealt:
    """A quorum of two of three and its members' keys."""

    def __init__(self, quorum: Quorum, keys: Mapping[str, SigningKey]) -> None:
        self.quorum = quorum
        self.keys = keys

    def signers(self, **classes: type[Signer]) -> dict[str, Signer]:
        """Members with a new store each, of the classes that are given."""
        return {name: classes.get(name, Signer)(name, key, MemoryStorage()) for name, key in self.keys.items()}


DEALS = {
    "frost": Dealt(*deal_frost(NAMES, threshold=2, random_bytes=Random(1).randbytes)),  # noqa: S311 - tests repeat
    "structural": Dealt(*deal_structural(NAMES, threshold=2)),
}


@pytest.fixture(params=list(DEALS))
def dealt(request: pytest.FixtureRequest) -> Dealt:
    """Both kinds of quorum: their signers promise the same."""
    return DEALS[request.param]


def text(answer: Hex | Refused) -> Hex:
    assert isinstance(answer, str), answer
    return answer


def reason(answer: Hex | Refused) -> RefusalReason:
    assert isinstance(answer, Refused), answer
    return answer.reason


def committed(signers: Mapping[str, Signer], message: bytes, *names: str) -> dict[str, Hex]:
    return {name: text(signers[name].commit(message)) for name in names}


def test_two_of_three_sign_an_intent(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, "ann", "cyd")
    shares = {name: text(signers[name].sign(MESSAGE, commitments)) for name in commitments}
    for name, share in shares.items():
        assert dealt.quorum.share_is_valid(name, share, MESSAGE, commitments)
        assert not dealt.quorum.share_is_valid(name, share, OTHER, commitments)
        assert not dealt.quorum.share_is_valid("ben", share, MESSAGE, commitments)
    signature = text(dealt.quorum.aggregate(MESSAGE, commitments, shares))
    assert len(signature) == 128
    if isinstance(dealt.quorum, FrostQuorum):
        assert signature_is_valid(dealt.quorum.group.key, MESSAGE, bytes.fromhex(signature))


def test_what_is_no_intent_is_refused(dealt: Dealt) -> None:
    assert reason(dealt.signers()["ann"].commit(b"give me a signature")) is RefusalReason.NOT_AN_INTENT


def test_a_payment_has_one_intent_for_ever(dealt: Dealt) -> None:
    storage = MemoryStorage()
    signer = Signer("ann", dealt.keys["ann"], storage)
    signer.commit(MESSAGE)
    for signer_now in (signer, Signer("ann", dealt.keys["ann"], storage)):
        for change in (
            CHANGED,
            message_of(replace(INTENT, amount=Amount(6))),
            message_of(replace(INTENT, fee=Amount(2))),
        ):
            assert reason(signer_now.commit(change)) is RefusalReason.INTENT_DIFFERS
        text(signer_now.commit(OTHER))


def test_a_commitment_that_is_open_is_given_again_and_one_that_is_burnt_is_not(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, "ann", "ben")
    assert committed(signers, MESSAGE, "ann", "ben") == commitments
    signers["ann"].sign(MESSAGE, commitments)
    again = committed(signers, MESSAGE, "ann", "ben")
    assert again["ann"] != commitments["ann"]
    assert again["ben"] == commitments["ben"]


def test_the_same_package_gives_the_same_share_and_any_other_none(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, *NAMES)
    share = text(signers["ann"].sign(MESSAGE, commitments))
    assert signers["ann"].sign(MESSAGE, dict(reversed(commitments.items()))) == share
    fewer = {name: commitments[name] for name in ("ann", "ben")}
    assert reason(signers["ann"].sign(MESSAGE, fewer)) is RefusalReason.NONCE_USED
    signers["ann"].commit(OTHER)
    assert reason(signers["ann"].sign(OTHER, commitments)) is RefusalReason.NONCE_USED


def test_a_commitment_is_for_its_intent(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, "ann", "ben")
    others = committed(signers, OTHER, "ann", "ben")
    for message in (OTHER, CHANGED, b""):
        assert reason(signers["ann"].sign(message, commitments)) is RefusalReason.NOT_COMMITTED
    assert reason(signers["ann"].sign(MESSAGE, others)) is RefusalReason.NOT_COMMITTED
    text(signers["ann"].sign(MESSAGE, commitments))
    text(signers["ann"].sign(OTHER, others))


def test_a_signer_answers_for_its_own_commitments_alone(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, "ann", "ben")
    assert reason(signers["cyd"].sign(MESSAGE, commitments)) is RefusalReason.NOT_COMMITTED
    stolen = commitments | {"cyd": commitments["ann"]}
    assert reason(signers["cyd"].sign(MESSAGE, stolen)) is RefusalReason.NOT_COMMITTED


def test_a_bad_package_is_refused_and_burns_nothing(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, "ann", "ben")
    own = commitments["ann"]
    bad: list[tuple[dict[str, Hex], tuple[str, ...]]] = [
        ({"ann": own}, ()),
        (commitments | {"ben": own[:-1]}, ("ben",)),
        (commitments | {"ben": "00" * 64}, ("ben",)),
        (commitments | {"ben": commitments["ben"].upper()}, ("ben",)),
        (commitments | {"ben": commitments["ben"] + " "}, ("ben",)),
        (commitments | {"ben": ""}, ("ben",)),
    ]
    for package, guilty in bad:
        refused = signers["ann"].sign(MESSAGE, package)
        assert isinstance(refused, Refused)
        assert (refused.reason, refused.signers) == (RefusalReason.PACKAGE_INVALID, guilty)
        assert dealt.quorum.check(MESSAGE, package) == refused
    stranger = signers["ann"].sign(MESSAGE, commitments | {"eve": commitments["ben"]})
    assert reason(stranger) is RefusalReason.PACKAGE_INVALID
    text(signers["ann"].sign(MESSAGE, commitments))


def test_a_quorum_names_whose_share_is_missing_malformed_or_wrong(dealt: Dealt) -> None:
    signers = dealt.signers()
    commitments = committed(signers, MESSAGE, "ann", "ben")
    shares = {name: text(signers[name].sign(MESSAGE, commitments)) for name in commitments}

    def guilty(given: Mapping[str, Hex]) -> tuple[str, ...]:
        refused = dealt.quorum.aggregate(MESSAGE, commitments, given)
        assert isinstance(refused, Refused)
        assert refused.reason is RefusalReason.PACKAGE_INVALID
        return refused.signers

    assert guilty({"ann": shares["ann"]}) == ("ben",)
    assert guilty(shares | {"ben": shares["ann"]}) == ("ben",)
    assert guilty(shares | {"ben": shares["ben"].upper()}) == ("ben",)
    assert guilty(shares | {"ben": "ff" * 32}) == ("ben",)
    assert guilty(shares | {"ben": ""}) == ("ben",)
    assert guilty(shares | {"cyd": shares["ben"]}) == ("cyd",)
    assert not dealt.quorum.share_is_valid("ben", "ff" * 32, MESSAGE, commitments)
    assert not dealt.quorum.share_is_valid("eve", shares["ben"], MESSAGE, commitments)


def test_a_key_share_that_was_not_committed_to_makes_no_key() -> None:
    group, shares = frost.deal([1, 2], threshold=2)
    with pytest.raises(InvalidShareError):
        FrostKey(KeyShare(signer=1, secret=Scalar(shares[0].secret ^ 1)), FrostQuorum(group, ("ann", "ben")))


# Crashes ----------------------------------------------------------------------------------------------------------


class DiedError(Exception):
    """The process ended here."""


class DyingStorage(MemoryStorage):
    """A store whose process dies at one of its writes: before it, in the middle, or right after it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.dies: tuple[int, str] | None = None

    def append(self, name: str, line: bytes) -> None:
        """Add a line, or die."""
        self._act(lambda: super(DyingStorage, self).append(name, line), lambda: self.append_torn(name, line))

    def append_torn(self, name: str, line: bytes) -> None:
        """Write half a line."""
        MemoryStorage.append(self, name, line[: len(line) // 2])
        self._torn.add(name)

    def write(self, name: str, value: bytes) -> None:
        """Replace a value, or die; a value is never torn."""
        self._act(lambda: super(DyingStorage, self).write(name, value), lambda: None)

    def _act(self, whole: Callable[[], None], torn: Callable[[], None]) -> None:
        self.writes += 1
        if self.dies is None or self.dies[0] != self.writes:
            whole()
            return
        when = self.dies[1]
        {"before": lambda: None, "torn": torn, "after": whole}[when]()
        raise DiedError


class Watched:
    """A signer that is started again whenever it dies, and all that left it."""

    def __init__(self, key: SigningKey, storage: Storage) -> None:
        self.key = key
        self.storage = storage
        self.left: dict[Hex, set[Hex]] = {}
        self.signer = Signer("ann", key, storage)
        self.deaths = 0

    def commit(self, message: bytes) -> Hex | Refused:
        return self._asked(lambda: self.signer.commit(message))

    def sign(self, message: bytes, commitments: Mapping[str, Hex]) -> Hex | Refused:
        answer = self._asked(lambda: self.signer.sign(message, commitments))
        if isinstance(answer, str):
            self.left.setdefault(commitments["ann"], set()).add(answer)
        return answer

    def _asked(self, ask: Callable[[], Hex | Refused]) -> Hex | Refused:
        try:
            return ask()
        except DiedError:
            self.deaths += 1
            self.signer = Signer("ann", self.key, self.storage)
            return ask()


def rounds(watched: Watched, partner: Signer) -> Iterator[tuple[Hex, Hex]]:
    """Two rounds over one intent and one over another; each package is asked for twice, and a variation after it."""
    for message in (MESSAGE, MESSAGE, OTHER):
        own = text(watched.commit(message))
        commitments = {"ann": own, "ben": text(partner.commit(message))}
        share = text(watched.sign(message, commitments))
        assert watched.sign(message, commitments) == share
        partner.sign(message, commitments)
        varied = commitments | {"ben": text(partner.commit(message))}
        assert varied != commitments
        assert reason(watched.sign(message, varied)) is RefusalReason.NONCE_USED
        yield own, share


@pytest.mark.parametrize("when", ["before", "torn", "after"])
def test_a_crash_at_any_write_never_lets_a_nonce_be_used_twice(dealt: Dealt, when: str) -> None:
    healthy = Watched(dealt.keys["ann"], DyingStorage())
    list(rounds(healthy, Signer("ben", dealt.keys["ben"], MemoryStorage())))
    assert isinstance(healthy.storage, DyingStorage)
    assert healthy.storage.writes == 11
    for number in range(1, 12):
        storage = DyingStorage()
        storage.dies = (number, when)
        watched = Watched(dealt.keys["ann"], storage)
        made = list(rounds(watched, Signer("ben", dealt.keys["ben"], MemoryStorage())))
        assert watched.deaths == 1
        assert len({own for own, _ in made}) == 3
        assert watched.left == {own: {share} for own, share in made}


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from([MESSAGE, CHANGED, OTHER]),
        st.sampled_from([("ben",), ("cyd",), ("ben", "cyd")]),
        st.one_of(st.none(), st.tuples(st.integers(1, 4), st.sampled_from(["before", "torn", "after"]))),
    ),
    max_size=12,
)


@given(OPERATIONS, st.sampled_from(["frost", "structural"]))
@settings(max_examples=100, deadline=None)
def test_whatever_is_asked_and_whenever_it_dies_a_nonce_makes_one_share_and_a_payment_has_one_intent(
    operations: list[tuple[bytes, tuple[str, ...], tuple[int, str] | None]], kind: str
) -> None:
    dealt = DEALS[kind]
    storage = DyingStorage()
    watched = Watched(dealt.keys["ann"], storage)
    partners = dealt.signers()
    ever: list[Hex] = []
    signed: set[bytes] = set()
    for message, names, death in operations:
        storage.dies = death and (storage.writes + death[0], death[1])
        answer = watched.commit(message)
        if isinstance(answer, str) and answer not in ever:
            ever.append(answer)
        for own in ever:
            commitments = {"ann": own} | {name: text(partners[name].commit(message)) for name in names}
            share = watched.sign(message, commitments)
            if isinstance(share, str):
                assert dealt.quorum.share_is_valid("ann", share, message, commitments)
                signed.add(message)
        partners = dealt.signers()
    assert all(len(shares) == 1 for shares in watched.left.values())
    assert not {MESSAGE, CHANGED} <= signed


def test_a_share_whose_answer_was_lost_in_a_crash_is_the_only_one_that_its_nonce_ever_makes(dealt: Dealt) -> None:
    """The crash falls after the nonce was burnt and before the share left: nobody but the store knows the share."""
    storage = DyingStorage()
    signer = Signer("ann", dealt.keys["ann"], storage)
    partners = dealt.signers()
    commitments = {"ann": text(signer.commit(MESSAGE)), "ben": text(partners["ben"].commit(MESSAGE))}
    storage.dies = (storage.writes + 1, "after")
    with pytest.raises(DiedError):
        signer.sign(MESSAGE, commitments)
    again = Signer("ann", dealt.keys["ann"], storage)
    varied = {"ann": commitments["ann"], "cyd": text(partners["cyd"].commit(MESSAGE))}
    assert reason(again.sign(MESSAGE, varied)) is RefusalReason.NONCE_USED
    assert dealt.quorum.share_is_valid("ann", text(again.sign(MESSAGE, commitments)), MESSAGE, commitments)


def test_burnt_nonces_are_erased_also_when_the_crash_came_before_the_erasure(dealt: Dealt) -> None:
    storage = DyingStorage()
    signer = Signer("ann", dealt.keys["ann"], storage)
    commitments = {
        "ann": text(signer.commit(MESSAGE)),
        "ben": text(Signer("ben", dealt.keys["ben"], MemoryStorage()).commit(MESSAGE)),
    }
    assert commitments["ann"].encode() in (storage.read("nonces") or b"")
    storage.dies = (storage.writes + 2, "before")
    with pytest.raises(DiedError):
        signer.sign(MESSAGE, commitments)
    assert commitments["ann"].encode() in (storage.read("nonces") or b"")
    Signer("ann", dealt.keys["ann"], storage)
    assert storage.read("nonces") == b'{"drawn":1,"open":[]}'


def test_a_signer_goes_on_from_files(dealt: Dealt, tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "ann", sync=False)
    signers = dealt.signers() | {"ann": Signer("ann", dealt.keys["ann"], storage)}
    commitments = committed(signers, MESSAGE, "ann", "ben")
    again = Signer("ann", dealt.keys["ann"], FileStorage(tmp_path / "ann", sync=False))
    assert again.commit(MESSAGE) == commitments["ann"]
    share = text(again.sign(MESSAGE, commitments))
    last = Signer("ann", dealt.keys["ann"], FileStorage(tmp_path / "ann", sync=False))
    assert last.sign(MESSAGE, commitments) == share
    assert last.commit(MESSAGE) != commitments["ann"]


# Misbehaving ones -------------------------------------------------------------------------------------------------


def test_an_unreachable_signer_leaves_the_others_a_quorum(dealt: Dealt) -> None:
    signers = dealt.signers(ann=UnreachableSigner)
    assert reason(signers["ann"].commit(MESSAGE)) is RefusalReason.NO_ANSWER
    assert reason(signers["ann"].sign(MESSAGE, {})) is RefusalReason.NO_ANSWER
    commitments = committed(signers, MESSAGE, "ben", "cyd")
    shares = {name: text(signers[name].sign(MESSAGE, commitments)) for name in commitments}
    text(dealt.quorum.aggregate(MESSAGE, commitments, shares))


def test_a_slow_signer_answers_when_it_was_asked_before(dealt: Dealt) -> None:
    signers = dealt.signers()
    slow = SlowSigner("ann", dealt.keys["ann"], MemoryStorage(), delay=2)
    answers = [slow.commit(MESSAGE) for _ in range(4)]
    assert [reason(answer) for answer in answers[:2]] == [RefusalReason.NO_ANSWER] * 2
    assert text(answers[2]) == text(answers[3])
    commitments = {"ann": text(answers[2])} | committed(signers, MESSAGE, "ben")
    late = [slow.sign(MESSAGE, commitments) for _ in range(3)]
    assert [reason(answer) for answer in late[:2]] == [RefusalReason.NO_ANSWER] * 2
    assert dealt.quorum.share_is_valid("ann", text(late[2]), MESSAGE, commitments)


@pytest.mark.parametrize("liar", [ForgingSigner, DivertingSigner])
def test_a_lying_signer_is_named_and_makes_no_signature(dealt: Dealt, liar: type[Signer]) -> None:
    signers = dealt.signers(ann=liar)
    commitments = committed(signers, MESSAGE, *NAMES)
    shares = {name: text(signers[name].sign(MESSAGE, commitments)) for name in commitments}
    assert not dealt.quorum.share_is_valid("ann", shares["ann"], MESSAGE, commitments)
    refused = dealt.quorum.aggregate(MESSAGE, commitments, shares)
    assert isinstance(refused, Refused)
    assert refused.signers == ("ann",)
    honest = committed(signers, MESSAGE, "ben", "cyd")
    text(
        dealt.quorum.aggregate(MESSAGE, honest, {name: text(signers[name].sign(MESSAGE, honest)) for name in honest})
    )


def test_a_signer_that_uses_its_nonce_again_shows_it_in_its_commitments(dealt: Dealt) -> None:
    signers = dealt.signers(ann=NonceReusingSigner)
    seen = set()
    for number in range(3):
        message = message_of(replace(INTENT, payment=f"w{number}"))
        commitments = committed(signers, message, "ann", "ben")
        shares = {name: text(signers[name].sign(message, commitments)) for name in commitments}
        text(dealt.quorum.aggregate(message, commitments, shares))
        structural = isinstance(dealt.quorum, StructuralQuorum)
        seen.add(commitments["ann"][:16] if structural else commitments["ann"])
    assert len(seen) == 1


def test_a_signer_that_uses_its_nonce_again_also_does_so_for_one_intent(dealt: Dealt) -> None:
    signers = dealt.signers(ann=NonceReusingSigner)
    commitments = committed(signers, MESSAGE, *NAMES)
    shares = {
        text(signers["ann"].sign(MESSAGE, {name: commitments[name] for name in names}))
        for names in (("ann", "ben"), ("ann", "cyd"), NAMES)
    }
    assert len(shares) == 3
