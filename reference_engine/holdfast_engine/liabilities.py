"""Liabilities: what all clients are owed of an asset, published as the root of a Merkle sum tree."""

from hashlib import sha256

from holdfast_engine.core import COLLATERAL, FREE, HELD, Deciders, Evolvers, Fields, by_key
from holdfast_engine.reconciliation import Reconciliation
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    ClientId,
    Liabilities,
    LiabilitiesPublished,
    PublishLiabilities,
    Reason,
    Setup,
    margin_account,
)
from holdfast_model.vocabulary.liabilities import Liability, Tree, build_liabilities

_BUCKETS = (FREE, HELD, COLLATERAL)


class Publishing(Reconciliation):
    """What was published last of each asset."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.liabilities: dict[AssetId, Liabilities] = {}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        if setup.custody is None:
            return super()._deciders(setup)
        return super()._deciders(setup) | {PublishLiabilities: cls._decide_publication}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {LiabilitiesPublished: cls._on_liabilities_published}

    def _decide_publication(self, command: PublishLiabilities) -> None:
        if command.asset not in self.assets:
            return self.refuse(Reason.UNKNOWN_ASSET)
        return self.publish(command.asset)

    def publish(self, asset: AssetId) -> None:
        """Publish root and total of what all clients are owed of an asset."""
        tree = self.liabilities_tree(asset)
        self.emit(LiabilitiesPublished(asset=asset, root=tree.root, total=tree.total, accounts=len(tree.leaves)))

    def liabilities_tree(self, asset: AssetId) -> Tree:
        """The tree over all clients' totals of an asset, those who are owed nothing among them."""
        liabilities = (
            Liability(account=client, asset=asset, amount=self.owed_to(client, asset))
            for client in self.setup.clients
        )
        return build_liabilities(asset, liabilities, salt_key=self.salt_key(asset))

    def owed_to(self, client: ClientId, asset: AssetId) -> Amount:
        """What a client is owed of an asset: free, held and collateral, also in isolated products; never below zero.

        Debts are not taken off, because what is lent is owed to whoever holds it now.
        """
        isolated = [product.product for product in self.setup.products if product.isolated]
        accounts = [client, *(margin_account(client, product, isolated=True) for product in isolated)]
        total = sum(self.ledger.amount(account, bucket, asset) for account in accounts for bucket in _BUCKETS)
        return Amount(max(total, 0))

    def salt_key(self, asset: AssetId) -> bytes:
        """The key of the leaves' salts, another one for each publication.

        It can be computed by anybody, so that a monitor can build the tree again. An exchange with real clients takes
        a secret one.
        """
        return sha256(f"holdfast liabilities {asset} {self.seq + 1}".encode()).digest()

    def _on_liabilities_published(self, event: LiabilitiesPublished) -> None:
        self.liabilities[event.asset] = Liabilities(
            asset=event.asset, root=event.root, total=event.total, seq=self.seq + 1
        )

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"liabilities": by_key}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.liabilities = {item.asset: item for item in state.liabilities}
