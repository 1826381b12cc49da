"""Proof of liabilities: a Merkle sum tree per asset, whose root the exchange publishes with the total that it owes.

Each client gets a path from its own balance to the root, and checks it alone with a hash function:
`verify_liability`. Whoever is left out, or is in with less than it is owed, has no valid path; and every client
that checks has been counted in the total that everybody sees. So an exchange that owes more than it says has to
hope that none of the clients it cheats looks (Maxwell and Todd, 2013).

**What is hashed.** SHA-256, with a first byte that tells a leaf (0), a node (1) and the root (2) apart, so that no
node can be passed off as a leaf. A node covers the digests *and both sums* of its children. The original scheme
hashed only their sum, so that one node could be opened to each child with another sum for its sibling, and the
total came out too low (Hu, Zhang and Guo, "Breaking the binding", 2018). Every sum on a path must be at least 0 and
at most `TOTAL_MAX`: a negative balance would hide a debt to others, and a sum beyond the bound could wrap around
where integers have a width. A node without a sibling goes up as it is, and is not paired with itself.

**What is hidden.** A leaf is salted, and leaves stand in the order of their digests: to whoever does not have the
salt key a path tells nothing of who the others are, and a client's place nothing of its name. It does tell the sums
on it: the balance of one other client, and so on upwards, and roughly how many clients there are. Hiding these too
takes commitments with range proofs (Chalkias and others' DAPOL, 2020, and DAPOL+, 2021). An auditor who has the
salt key can build the tree from the ledger.

**What it does not show.** That the exchange *has* what it owes (that is custody's side), that an account's name
stands for one person alone, and that clients look.
"""

import hmac
import re
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from typing import NewType

from msgspec import Struct

from holdfast_model.errors import HoldfastError
from holdfast_model.vocabulary.amounts import DECIMAL_DIGITS_MAX, Amount, AssetId, Label, Sha256

TOTAL_MAX = 10**DECIMAL_DIGITS_MAX - 1
"""The largest balance and the largest sum: what the wire can carry, and what 16 bytes can hold."""
STEPS_MAX = 64
"""The longest path: no exchange has 2**64 accounts."""

_DIGEST_BYTES = 32
_AMOUNT_BYTES = 16
_LEAF, _NODE, _ROOT = b"\0", b"\1", b"\2"
_HEX = re.compile(r"[0-9a-f]{64}")

_Node = NewType("_Node", bytes)
"""A digest and the sum below it, 16 bytes: just what the node above covers."""


class LiabilityError(HoldfastError):
    """A balance that no tree can be built with; the message names the account."""


class Liability(Struct, frozen=True, kw_only=True, gc=False):
    """What an exchange owes one account in one asset."""

    account: Label
    asset: AssetId
    amount: Amount


class PathStep(Struct, frozen=True, kw_only=True, gc=False):
    """A sibling on the way up: its digest, its sum, and whether it stands on the left."""

    digest: Sha256
    total: Amount
    on_left: bool


class InclusionProof(Struct, frozen=True, kw_only=True):
    """What a client needs besides what it knows itself: its leaf's salt, and the siblings from the leaf up."""

    salt: Sha256
    steps: tuple[PathStep, ...]


class ProofFlaw(StrEnum):
    """Why a proof shows nothing."""

    MALFORMED = "malformed"
    """A digest or salt is not 64 lower-case hexadecimal digits, or the path is longer than `STEPS_MAX`."""
    SUM_NEGATIVE = "sum_negative"
    SUM_TOO_LARGE = "sum_too_large"
    TOTAL_DIFFERS = "total_differs"
    """The sums do not add up to the published total."""
    ROOT_DIFFERS = "root_differs"
    """The digests do not lead to the published root: this balance is not in the tree, or not as it is owed."""


class Tree:
    """All liabilities in an asset. `asset`, `total` and `root` are published; the rest stays with the exchange."""

    def __init__(self, asset: AssetId, levels: list[list[_Node]], leaves: dict[Label, tuple[int, bytes]]) -> None:
        top = levels[-1][0] if levels[-1] else _Node(sha256().digest() + bytes(_AMOUNT_BYTES))
        self.asset = asset
        self.levels = levels
        self.leaves = leaves
        self.total = Amount(_sum_of(top))
        self.root: Sha256 = _root(asset, top)


def build_liabilities(asset: AssetId, liabilities: Iterable[Liability], *, salt_key: bytes) -> Tree:
    """The tree of the liabilities in one asset, the same in whatever order they come.

    The salt key is the exchange's secret, another one for each publication: with one that is known, or that was used
    before, the leaves can be guessed or followed. Raises `LiabilityError` for another asset, a negative balance, an
    account that is there twice, and a balance or total beyond `TOTAL_MAX`, and names the account.

    Complexity: two hashes for each leaf and one for each node.
    """
    salts: dict[Label, bytes] = {}
    nodes: list[tuple[_Node, Label]] = []
    total = 0
    for liability in liabilities:
        account = liability.account
        if liability.asset != asset:
            raise LiabilityError(f"{account}: a balance in {liability.asset}, expected one in {asset}")
        if account in salts:
            raise LiabilityError(f"{account}: stands in the list twice")
        if liability.amount < 0:
            raise LiabilityError(f"{account}: owed {liability.amount}, expected at least 0")
        total += liability.amount
        if total > TOTAL_MAX:
            raise LiabilityError(f"{account}: the total is beyond {TOTAL_MAX} with what it is owed")
        salts[account] = salt = hmac.digest(salt_key, account.encode(), "sha256")
        nodes.append((_leaf(liability, salt), account))
    nodes.sort()
    level = [node for node, _ in nodes]
    levels = [level]
    while len(level) > 1:
        level = _level_above(level)
        levels.append(level)
    return Tree(asset, levels, {account: (place, salts[account]) for place, (_, account) in enumerate(nodes)})


def prove_liability(tree: Tree, account: Label) -> InclusionProof | None:
    """The account's proof; None for an account that the tree leaves out."""
    if account not in tree.leaves:
        return None
    place, salt = tree.leaves[account]
    steps = []
    for level in tree.levels[:-1]:
        sibling = place ^ 1
        if sibling < len(level):
            node = level[sibling]
            digest = node[:_DIGEST_BYTES].hex()
            steps.append(PathStep(digest=digest, total=Amount(_sum_of(node)), on_left=sibling < place))
        place //= 2
    return InclusionProof(salt=salt.hex(), steps=tuple(steps))


def verify_liability(proof: InclusionProof, *, owed: Liability, root: Sha256, total: Amount) -> ProofFlaw | None:
    """Why the proof does not show that what the client is owed is part of the published total; None where it does.

    `owed` is what the client itself knows, not what it was sent. Everything is checked before it is hashed, and the
    sums before the digests.
    """
    digests = (proof.salt, *(step.digest for step in proof.steps))
    if len(proof.steps) > STEPS_MAX or not all(map(_HEX.fullmatch, digests)):
        return ProofFlaw.MALFORMED
    amounts = (owed.amount, *(step.total for step in proof.steps))
    if min(amounts) < 0:
        return ProofFlaw.SUM_NEGATIVE
    if sum(amounts) > TOTAL_MAX:
        return ProofFlaw.SUM_TOO_LARGE
    if sum(amounts) != total:
        return ProofFlaw.TOTAL_DIFFERS
    here = _leaf(owed, bytes.fromhex(proof.salt))
    for step in proof.steps:
        sibling = _Node(bytes.fromhex(step.digest) + _encoded(step.total))
        here = _node(sibling, here) if step.on_left else _node(here, sibling)
    return None if _root(owed.asset, here) == root else ProofFlaw.ROOT_DIFFERS


def _encoded(amount: int) -> bytes:
    return amount.to_bytes(_AMOUNT_BYTES, "big")


def _sum_of(node: _Node) -> int:
    return int.from_bytes(node[_DIGEST_BYTES:], "big")


def _leaf(liability: Liability, salt: bytes) -> _Node:
    """A leaf covers the salt, the amount, and asset and account, each of the two behind its length."""
    amount, asset, account = _encoded(liability.amount), liability.asset.encode(), liability.account.encode()
    lengths = len(asset).to_bytes(4, "big"), len(account).to_bytes(4, "big")
    return _Node(sha256(b"".join((_LEAF, salt, amount, lengths[0], asset, lengths[1], account))).digest() + amount)


def _node(left: _Node, right: _Node) -> _Node:
    """A node covers the digest and the sum of either child."""
    return _Node(sha256(_NODE + left + right).digest() + _encoded(_sum_of(left) + _sum_of(right)))


def _level_above(level: list[_Node]) -> list[_Node]:
    """The nodes over neighbouring pairs; one that is left over goes up as it is."""
    above = list(map(_node, level[::2], level[1::2]))
    return [*above, level[-1]] if len(level) % 2 else above


def _root(asset: AssetId, top: _Node) -> Sha256:
    """The published digest covers the top, its sum and the asset."""
    return sha256(_ROOT + top + asset.encode()).hexdigest()
