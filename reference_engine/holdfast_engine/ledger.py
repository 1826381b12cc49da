"""Double entry. Money moves only through entries whose postings sum to zero per asset, each with its cause."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from holdfast_engine.sorting import SortedKeys
from holdfast_model.vocabulary import CLEARING, OUTSIDE, Amount, AssetId, Balance, Bucket, EntryPosted

_FREE, _HELD, _COLLATERAL, _BORROWED = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED

_balance: Callable[..., Balance] = Balance
"""A balance, without a call that only tells a type checker that an integer is an amount."""

Place = tuple[str, Bucket, AssetId]
"""Where an amount stands: account, bucket, asset."""


def may_be_negative(place: Place) -> bool:
    """Whether an amount may be below zero: the rest of the world, unsettled profit and loss, and clients' debts."""
    account, bucket, _ = place
    return account in {OUTSIDE, CLEARING} or (bucket is Bucket.BORROWED and not account.startswith("@"))


class Ledger:
    """All balances of the exchange. Nothing but `post` changes them.

    Accounts are clients, their accounts in isolated products (`client@product`), the house's (`@fees`, …), and
    `@outside`, the rest of the world: minus what the exchange owes and owns. Only what `may_be_negative` says is.
    """

    def __init__(self) -> None:
        self._amounts: dict[Place, int] = {}
        self._places: SortedKeys[Place] = SortedKeys()
        self._listed: tuple[dict[Place, int], tuple[Balance, ...]] = ({}, ())
        """The amounts as they were when they were listed last, and their list."""

    def amount(self, account: str, bucket: Bucket, asset: AssetId) -> Amount:
        """The amount at one place; 0 where nothing was ever posted."""
        return self._amounts.get((account, bucket, asset), 0)  # type: ignore[return-value]  # an amount

    def total(self, account: str, asset: AssetId) -> int:
        """What stands in all buckets of an account together."""
        get = self._amounts.get
        return (
            get((account, _FREE, asset), 0)
            + get((account, _HELD, asset), 0)
            + get((account, _COLLATERAL, asset), 0)
            + get((account, _BORROWED, asset), 0)
        )

    def post(self, entry: EntryPosted) -> None:
        """Apply an entry; one that may be wrong is looked at closely. Complexity: its number of postings."""
        amounts = self._amounts
        if len(entry.postings) == 2:  # noqa: PLR2004 - most entries move an amount from one place to another
            one, other = entry.postings
            place, opposite = (one.account, one.bucket, one.asset), (other.account, other.bucket, other.asset)
            amounts[place] = after = amounts.get(place, 0) + one.amount
            amounts[opposite] = there = amounts.get(opposite, 0) + other.amount
            if after < 0 or there < 0 or one.amount != -other.amount or one.asset != other.asset:
                self.check(entry)
            return
        below_zero = False
        first, in_first = "", 0
        others: dict[AssetId, int] = {}
        for posting in entry.postings:
            asset, added = posting.asset, posting.amount
            place = (posting.account, posting.bucket, asset)
            try:
                after = amounts[place] + added
            except KeyError:
                after = added
            amounts[place] = after
            if after < 0:
                below_zero = True
            if asset == first:
                in_first += added
            elif first:
                others[asset] = others.get(asset, 0) + added
            else:
                first, in_first = asset, added
        if below_zero or in_first or (others and any(others.values())):
            self.check(entry)

    def check(self, entry: EntryPosted) -> None:
        """Assert that an entry that was applied balances and overdrew nobody: else it is a bug of the exchange."""
        totals: dict[AssetId, int] = defaultdict(int)
        for posting in entry.postings:
            totals[posting.asset] += posting.amount
            place = (posting.account, posting.bucket, posting.asset)
            assert self._amounts[place] >= 0 or may_be_negative(place), f"overdraft at {place}"
        assert not any(totals.values()), f"unbalanced entry for {entry.cause}"

    def balances(self) -> tuple[Balance, ...]:
        """Every balance that is not zero, sorted by account, bucket and asset. To ask again costs a comparison."""
        amounts = self._amounts
        if self._listed[0] != amounts:
            balances = [
                _balance(account=place[0], bucket=place[1], asset=place[2], amount=amount)
                for place in self._places.of(amounts)
                if (amount := amounts[place])
            ]
            self._listed = (dict(amounts), tuple(balances))
        return self._listed[1]

    def equals(self, other: "Ledger") -> bool:
        """Whether there surely are the same balances; an amount of nothing that is only in one says no."""
        return self._amounts == other._amounts  # noqa: SLF001 - of its own class

    def load(self, balances: Iterable[Balance]) -> None:
        """Replace everything by what a snapshot holds."""
        self._places = SortedKeys()
        self._amounts = {
            (balance.account, balance.bucket, balance.asset): int(balance.amount) for balance in balances
        }
