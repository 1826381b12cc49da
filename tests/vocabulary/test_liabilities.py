"""The Merkle sum tree of liabilities: what every client can check, and each known way to cheat."""

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast_model.vocabulary import (
    Amount,
    InclusionProof,
    Liability,
    LiabilityError,
    ProofFlaw,
    build_liabilities,
    prove_liability,
    verify_liability,
)
from holdfast_model.vocabulary.liabilities import STEPS_MAX, TOTAL_MAX, PathStep, Tree, _leaf, _Node, _node, _root
from holdfast_model.vocabulary.wire import encode

KEY = b"a secret of the exchange"


def owed(account: str, amount: int, asset: str = "BTC") -> Liability:
    return Liability(account=account, asset=asset, amount=Amount(amount))


def tree_of(*amounts: int) -> Tree:
    return build_liabilities("BTC", [owed(f"c{i}", amount) for i, amount in enumerate(amounts)], salt_key=KEY)


def proof_of(tree: Tree, account: str) -> InclusionProof:
    proof = prove_liability(tree, account)
    assert proof is not None
    return proof


def checked(tree: Tree, account: str, amount: int) -> ProofFlaw | None:
    return verify_liability(proof_of(tree, account), owed=owed(account, amount), root=tree.root, total=tree.total)


amounts_lists = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 10**36)), min_size=1, max_size=40)


@given(amounts_lists)
@settings(deadline=None)
def test_every_client_finds_itself_in_the_total_whatever_the_order(amounts: list[int]) -> None:
    tree = tree_of(*amounts)
    assert tree.total == sum(amounts)
    for number, amount in enumerate(amounts):
        assert checked(tree, f"c{number}", amount) is None
        assert checked(tree, f"c{number}", amount + 1) is not None
    shuffled = [owed(f"c{i}", amount) for i, amount in reversed(list(enumerate(amounts)))]
    assert build_liabilities("BTC", shuffled, salt_key=KEY).root == tree.root


@given(amounts_lists, st.data())
@settings(deadline=None)
def test_a_changed_balance_changes_the_root(amounts: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(amounts) - 1))
    less = data.draw(st.integers(0, 10**37).filter(lambda amount: amount != amounts[place]))
    changed = [*amounts[:place], less, *amounts[place + 1 :]]
    assert tree_of(*changed).root != tree_of(*amounts).root


def test_nobody_is_owed_anything() -> None:
    tree = tree_of()
    assert tree.total == 0
    assert prove_liability(tree, "c0") is None
    assert tree.root != build_liabilities("ETH", [], salt_key=KEY).root


def test_a_proof_can_be_checked_with_a_json_reader_and_a_hash_function_alone() -> None:
    tree = tree_of(5, 7, 11, 0, 3)
    document = json.loads(encode(proof_of(tree, "c2")))
    total = 11
    digest = sha256(
        b"\0" + bytes.fromhex(document["salt"]) + total.to_bytes(16, "big") + b"\0\0\0\3BTC" + b"\0\0\0\2c2"
    ).digest()
    for step in document["steps"]:
        here = digest + total.to_bytes(16, "big")
        sibling = bytes.fromhex(step["digest"]) + int(step["total"]).to_bytes(16, "big")
        digest = sha256(b"\1" + (sibling + here if step["on_left"] else here + sibling)).digest()
        total += int(step["total"])
    assert total == tree.total == 26
    assert sha256(b"\2" + digest + total.to_bytes(16, "big") + b"BTC").hexdigest() == tree.root


# What no tree is built with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("liabilities", "said"),
    [
        ([owed("a", 1), owed("b", -1)], "b: owed -1, expected at least 0"),
        ([owed("a", 1), owed("b", 1), owed("a", 1)], "a: stands in the list twice"),
        ([owed("a", 1), owed("b", 1, "ETH")], "b: a balance in ETH, expected one in BTC"),
        ([owed("a", TOTAL_MAX + 1)], "a: the total is beyond"),
        ([owed("a", TOTAL_MAX), owed("b", 1)], "b: the total is beyond"),
    ],
)
def test_a_bad_balance_is_refused_and_names_its_account(liabilities: list[Liability], said: str) -> None:
    with pytest.raises(LiabilityError, match=said):
        build_liabilities("BTC", liabilities, salt_key=KEY)


def test_the_largest_total_is_provable() -> None:
    tree = tree_of(TOTAL_MAX - 1, 1)
    assert checked(tree, "c0", TOTAL_MAX - 1) is None


# Cheating ---------------------------------------------------------------------------------------------------------


SALT = bytes(32)
ALICE, BOB = owed("alice", 10), owed("bob", 7)


def leaf(liability: Liability) -> _Node:
    return _leaf(liability, SALT)


def saying(node: bytes, total: int) -> _Node:
    """The node's digest with another sum, as a dishonest exchange would tell it."""
    return _Node(node[:32] + total.to_bytes(16, "big"))


def step(node: bytes, *, on_left: bool = False) -> PathStep:
    return PathStep(digest=node[:32].hex(), total=Amount(int.from_bytes(node[32:], "big")), on_left=on_left)


def proof(*steps: PathStep) -> InclusionProof:
    return InclusionProof(salt=SALT.hex(), steps=steps)


def test_a_client_that_is_left_out_has_no_proof_and_any_other_s_is_not_its_own() -> None:
    tree = tree_of(5, 7, 11)
    assert prove_liability(tree, "c3") is None
    for account in ("c0", "c1", "c2"):
        for amount in (5, 7, 11):
            borrowed = verify_liability(
                proof_of(tree, account), owed=owed("c3", amount), root=tree.root, total=tree.total
            )
            assert borrowed in {ProofFlaw.TOTAL_DIFFERS, ProofFlaw.ROOT_DIFFERS}


def test_a_total_below_the_ledger_s_is_not_the_total_of_any_proof() -> None:
    tree = tree_of(5, 7, 11)
    short = replace(proof_of(tree, "c0"), steps=proof_of(tree, "c0").steps[:-1])
    for given_proof in (proof_of(tree, "c0"), short):
        flaw = verify_liability(given_proof, owed=owed("c0", 5), root=tree.root, total=Amount(12))
        assert flaw in {ProofFlaw.TOTAL_DIFFERS, ProofFlaw.ROOT_DIFFERS}


def test_a_balance_that_is_smaller_in_the_tree_than_what_is_owed_is_noticed_by_its_owner() -> None:
    assert checked(tree_of(4, 7, 11), "c0", 5) is ProofFlaw.TOTAL_DIFFERS
    tree = tree_of(4, 7, 11)
    honest = proof_of(tree, "c0")
    patched = replace(
        honest, steps=(replace(honest.steps[0], total=Amount(honest.steps[0].total - 1)), *honest.steps[1:])
    )
    flaw = verify_liability(patched, owed=owed("c0", 5), root=tree.root, total=tree.total)
    assert flaw is ProofFlaw.ROOT_DIFFERS


def test_a_negative_balance_that_lowers_the_total_is_refused_by_its_neighbour() -> None:
    """A made-up account that owes the exchange 9 would make 17 look like 8."""
    debtor = PathStep(digest="0" * 64, total=Amount(-9), on_left=False)
    flaw = verify_liability(proof(debtor, step(leaf(BOB))), owed=ALICE, root="0" * 64, total=Amount(8))
    assert flaw is ProofFlaw.SUM_NEGATIVE
    flaw = verify_liability(proof(), owed=owed("debtor", -9), root="0" * 64, total=Amount(-9))
    assert flaw is ProofFlaw.SUM_NEGATIVE


@pytest.mark.parametrize("width", [2**64, 2**128, TOTAL_MAX + 1])
def test_a_sum_that_would_wrap_around_is_refused_or_visible(width: int) -> None:
    """A made-up balance of all but 9 of what the width holds would lower the total by 9, were sums to wrap around."""
    wrapping = PathStep(digest="0" * 64, total=Amount(width - 9), on_left=False)
    flaw = verify_liability(proof(wrapping), owed=ALICE, root="0" * 64, total=Amount(1))
    assert flaw is (ProofFlaw.SUM_TOO_LARGE if width > TOTAL_MAX else ProofFlaw.TOTAL_DIFFERS)


def test_hashing_only_the_sum_would_let_each_child_be_told_another_sum_for_its_sibling() -> None:
    """The original scheme: 10 is published for a debt of 17, and both clients are satisfied."""

    def original(left: bytes, right: bytes, total: int) -> bytes:
        return sha256(total.to_bytes(16, "big") + left[:32] + right[:32]).digest()

    published = original(leaf(ALICE), leaf(BOB), 10)
    for own, told_of_sibling in ((ALICE, 0), (BOB, 3)):
        assert original(leaf(ALICE), leaf(BOB), own.amount + told_of_sibling) == published
    assert ALICE.amount + BOB.amount == 17


@pytest.mark.parametrize("hashed", [(10, 0), (3, 7), (5, 5), (10, 7)])
def test_one_node_cannot_be_opened_with_another_sum_for_each_child(hashed: tuple[int, int]) -> None:
    """Whatever sums a dishonest node covers, the two clients cannot both be told 10."""
    top = _node(saying(leaf(ALICE), hashed[0]), saying(leaf(BOB), hashed[1]))
    flaws = [
        verify_liability(given_proof, owed=client, root=_root("BTC", saying(top, 10)), total=Amount(10))
        for client, given_proof in (
            (ALICE, proof(step(saying(leaf(BOB), 0)))),
            (BOB, proof(step(saying(leaf(ALICE), 3), on_left=True))),
        )
    ]
    assert flaws.count(None) == (1 if hashed in {(10, 0), (3, 7)} else 0)
    assert set(flaws) <= {None, ProofFlaw.ROOT_DIFFERS}


def test_a_node_cannot_pass_for_a_leaf_nor_a_leaf_for_the_top() -> None:
    children = leaf(ALICE) + leaf(BOB)
    top = _node(leaf(ALICE), leaf(BOB))
    assert top == sha256(b"\1" + children).digest() + (17).to_bytes(16, "big")
    assert top[:32] not in {sha256(children).digest(), sha256(b"\0" + children).digest()}
    fields = SALT + (10).to_bytes(16, "big") + b"\0\0\0\3BTC" + b"\0\0\0\5alice"
    assert leaf(ALICE) == sha256(b"\0" + fields).digest() + (10).to_bytes(16, "big")
    assert _root("BTC", top) == sha256(b"\2" + top + b"BTC").hexdigest()


def test_fields_of_a_leaf_cannot_be_shifted_into_each_other() -> None:
    leaves = [owed("ab", 1, "c"), owed("b", 1, "ca"), owed("", 1, "cab"), owed("cab", 1, "")]
    assert len({_leaf(liability, SALT) for liability in leaves}) == len(leaves)


def test_two_clients_with_one_balance_cannot_be_shown_one_leaf() -> None:
    tree = tree_of(5, 5)
    twin = verify_liability(proof_of(tree, "c0"), owed=owed("c1", 5), root=tree.root, total=tree.total)
    assert twin is ProofFlaw.ROOT_DIFFERS


def test_an_odd_leaf_is_counted_once() -> None:
    """Pairing it with itself would give a list that repeats its end the same root (CVE-2012-2459)."""
    tree = tree_of(1, 1, 1)
    assert tree.total == 3
    assert sorted(len(proof_of(tree, account).steps) for account in tree.leaves) == [1, 2, 2]
    first, second, third = tree.levels[0]
    assert tree.root == _root("BTC", _node(_node(first, second), third))
    assert tree.root != _root("BTC", _node(_node(first, second), _node(third, third)))


def test_a_root_is_for_its_asset() -> None:
    tree = tree_of(5)
    flaw = verify_liability(proof_of(tree, "c0"), owed=owed("c0", 5, "ETH"), root=tree.root, total=tree.total)
    assert flaw is ProofFlaw.ROOT_DIFFERS


@pytest.mark.parametrize(
    "spoil",
    [
        lambda honest: replace(honest, salt=honest.salt.upper()),
        lambda honest: replace(honest, salt=honest.salt[:-2]),
        lambda honest: replace(honest, salt=""),
        lambda honest: replace(honest, salt=honest.salt + "\n"),
        lambda honest: replace(honest, steps=(replace(honest.steps[0], digest="xy" * 32), *honest.steps[1:])),
        lambda honest: replace(honest, steps=honest.steps * (STEPS_MAX + 1)),
    ],
)
def test_a_malformed_proof_is_refused(spoil: Callable[[InclusionProof], InclusionProof]) -> None:
    tree = tree_of(10, 7, 3)
    honest = proof_of(tree, "c0")
    assert verify_liability(honest, owed=owed("c0", 10), root=tree.root, total=tree.total) is None
    flaw = verify_liability(spoil(honest), owed=owed("c0", 10), root=tree.root, total=tree.total)
    assert flaw is ProofFlaw.MALFORMED


def test_every_part_of_a_proof_matters() -> None:
    tree = tree_of(10, 7, 3, 2)
    honest = proof_of(tree, "c0")
    first, second = honest.steps
    zero = "0" * 64
    for spoilt in (
        replace(honest, salt=zero),
        replace(honest, steps=(second, first)),
        replace(honest, steps=(replace(first, on_left=not first.on_left), second)),
        replace(honest, steps=(first, replace(second, on_left=not second.on_left))),
        replace(honest, steps=(replace(first, digest=zero), second)),
        replace(
            honest,
            steps=(
                replace(first, total=Amount(first.total + 1)),
                replace(second, total=Amount(second.total - 1)),
            ),
        ),
    ):
        flaw = verify_liability(spoilt, owed=owed("c0", 10), root=tree.root, total=tree.total)
        assert flaw is ProofFlaw.ROOT_DIFFERS, spoilt


# What is hidden ---------------------------------------------------------------------------------------------------


def test_a_neighbour_s_leaf_cannot_be_guessed_without_the_salt_key() -> None:
    tree = tree_of(5, 7)
    neighbour = proof_of(tree, "c0").steps[0]
    assert neighbour.total == 7
    own_salt = bytes.fromhex(proof_of(tree, "c0").salt)
    assert _leaf(owed("c1", 7), own_salt)[:32].hex() != neighbour.digest
    salt = bytes.fromhex(proof_of(tree, "c1").salt)
    assert _leaf(owed("c1", 7), salt)[:32].hex() == neighbour.digest
    other = build_liabilities("BTC", [owed("c0", 5), owed("c1", 7)], salt_key=b"another")
    assert other.root != tree.root
    assert other.total == tree.total


def test_leaves_stand_in_the_order_of_their_digests_which_is_not_that_of_names() -> None:
    tree = tree_of(*range(50))
    digests = [node[:32] for node in tree.levels[0]]
    assert all(left < right for left, right in pairwise(digests))
    assert list(tree.leaves) != sorted(tree.leaves)
