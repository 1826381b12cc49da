"""Reconciliation: ledger and custody are compared at every cut, and a mismatch halts the exchange by itself.

Two things are kept apart from what they are compared with: what the tiers hold, and what the entries so far
have added to each account. After each command only what its entries moved is compared, so that the cost follows the
answer; `Reconcile` compares everything.
"""

from collections.abc import Callable, Iterator

from holdfast_engine.core import FREE, Deciders, Evolvers, Fields
from holdfast_engine.payments import Payments
from holdfast_engine.state import Attributed, Gap, VenueState
from holdfast_model.vocabulary import (
    OUTSIDE,
    Amount,
    AssetId,
    AttestCustody,
    CoverShortfall,
    DepositFinalised,
    EntryPosted,
    HouseFunded,
    MismatchFound,
    Reason,
    Reconcile,
    Reconciled,
    Setup,
    ShortfallCovered,
    SweepCompleted,
    WithdrawalPaid,
)

MOVING = (DepositFinalised, HouseFunded, WithdrawalPaid, SweepCompleted)
"""The events that change what custody holds together with an entry, each once."""

Placed = tuple[str, AssetId]
"""An account or tier, and an asset."""

_attributed: Callable[..., Attributed] = Attributed
"""What was attributed, without a call that only tells a type checker that an integer is an amount."""


class Reconciliation(Payments):
    """What is compared, and which differences the exchange has told of."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if self.custody is not None:
            self.reconciling = True
        self.attributed: dict[Placed, int] = {}
        self.gaps: dict[Placed, int] = {}

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        if setup.custody is None:
            return super()._deciders(setup)
        return super()._deciders(setup) | {
            Reconcile: cls._decide_reconciliation,
            AttestCustody: cls._decide_attestation,
            CoverShortfall: cls._decide_cover,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        if setup.custody is None:
            return super()._evolvers(setup)
        return super()._evolvers(setup) | {
            EntryPosted: cls._on_entry_posted,
            ShortfallCovered: cls._on_shortfall_covered,
        }

    # What differs -------------------------------------------------------------------------------------------------

    def owed(self, asset: AssetId) -> int:
        """What custody must hold of an asset: what came from outside and did not go back."""
        return -self.ledger.amount(OUTSIDE, FREE, asset)

    def gap(self, asset: AssetId) -> int:
        """By how much the tiers together hold more than they must."""
        return self.tier_totals.get(asset, 0) - self.owed(asset)

    def drift(self, place: Placed) -> int:
        """By how much an account's balance is more than the sum of its entries; the outside's is a gap instead."""
        account, asset = place
        if account == OUTSIDE:
            return 0
        return self.ledger.total(account, asset) - self.attributed.get(place, 0)

    def settled(self) -> bool:
        """Whether no mismatch that was told of still stands."""
        return not any(self.gap(asset) for asset in self._rules) and not any(self.drift(place) for place in self.gaps)

    # Deciding -----------------------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Compare what this command's entries and custody's events have moved; tell of what differs, and halt."""
        moved: dict[Placed, None] = {}
        for event in self._events:
            if isinstance(event, EntryPosted):
                for posting in event.postings:
                    moved[posting.account, posting.asset] = None
            elif isinstance(event, MOVING):
                moved[OUTSIDE, event.asset] = None
        attributed, total = self.attributed, self.ledger.total
        new = []
        for place in moved:
            account, asset = place
            if account == OUTSIDE:
                if self._is_new(place, self.gap(asset)):
                    new.append(self._gap_found(asset))
            elif total(account, asset) != attributed.get(place, 0) and self._is_new(place, self.drift(place)):
                new.append(self._drift_found(place))
        self._tell_of(new)

    def _is_new(self, place: Placed, found: int) -> bool:
        return bool(found) and found != self.gaps.get(place, 0)

    def _gap_found(self, asset: AssetId) -> MismatchFound:
        held = Amount(self.tier_totals.get(asset, 0))
        return MismatchFound(place=OUTSIDE, asset=asset, found=held, expected=Amount(self.owed(asset)))

    def _drift_found(self, place: Placed) -> MismatchFound:
        account, asset = place
        sum_of_entries = self.attributed.get(place, 0)
        return MismatchFound(
            place=account,
            asset=asset,
            found=Amount(sum_of_entries + self.drift(place)),
            expected=Amount(sum_of_entries),
        )

    def _tell_of(self, mismatches: list[MismatchFound]) -> None:
        for mismatch in mismatches:
            self.emit(mismatch)
        if mismatches:
            self.halt_itself()

    def _decide_reconciliation(self, command: Reconcile) -> None:  # noqa: ARG002 - it is of everything
        self.reconcile_everything()

    def reconcile_everything(self) -> None:
        """Compare every tier and every account with what it must be."""
        places = list(self._places())
        mismatches = [self._gap_found(asset) for asset in self._rules if self.gap(asset)]
        mismatches += [self._drift_found(place) for place in places if self.drift(place)]
        if mismatches:
            return self._tell_of(mismatches)
        return self.emit(Reconciled(balances=len(places)))

    def _places(self) -> Iterator[Placed]:
        """Every account and asset that has a balance, or should have one."""
        found = {(balance.account, balance.asset) for balance in self.ledger.balances()}
        return iter(sorted(found.union(place for place, amount in self.attributed.items() if amount)))

    def _decide_attestation(self, command: AttestCustody) -> None:
        if command.tier not in self.tier_rules:
            return self.refuse(Reason.UNKNOWN_TIER)
        if command.asset not in self._rules:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount < 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        reckoned = self.tier_holds(command.tier, command.asset)
        if command.amount == reckoned:
            return self.reconcile_everything()
        return self.correct(command.tier, command.asset, reckoned, Amount(command.amount - reckoned))

    def _decide_cover(self, command: CoverShortfall) -> None:
        if command.asset not in self._rules:
            return self.refuse(Reason.UNKNOWN_ASSET)
        if command.amount <= 0:
            return self.refuse(Reason.AMOUNT_NOT_POSITIVE)
        if command.transaction in self.house_payments:
            return self.refuse(Reason.DUPLICATE_DEPOSIT)
        if command.amount > -self.gap(command.asset):
            return self.refuse(Reason.AMOUNT_ABOVE_DEBT)
        return self.emit(
            ShortfallCovered(asset=command.asset, amount=command.amount, transaction=command.transaction)
        )

    # Evolving -----------------------------------------------------------------------------------------------------

    def _on_entry_posted(self, event: EntryPosted) -> None:
        self.ledger.post(event)
        attributed = self.attributed
        for posting in event.postings:
            place = posting.account, posting.asset
            attributed[place] = attributed.get(place, 0) + posting.amount

    def _on_mismatch_found(self, event: MismatchFound) -> None:
        super()._on_mismatch_found(event)
        if event.place in self.tier_rules:
            self._set_gap((OUTSIDE, event.asset), self.gap(event.asset))
        else:
            self._set_gap((event.place, event.asset), event.found - event.expected)

    def _on_shortfall_covered(self, event: ShortfallCovered) -> None:
        self.house_payments[event.transaction] = None
        self._move_custody(self.first_tier, event.asset, event.amount)
        self._set_gap((OUTSIDE, event.asset), self.gap(event.asset))

    def _set_gap(self, place: Placed, gap: int) -> None:
        self.gaps[place] = gap
        if not gap:
            del self.gaps[place]

    # Snapshots ----------------------------------------------------------------------------------------------------

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | {"attributed": _attributions, "gaps": _gaps}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.attributed = {(item.account, item.asset): item.amount for item in state.attributed}
        self.gaps = {(item.place, item.asset): item.amount for item in state.gaps}


def _attributions(amounts: dict[Placed, int]) -> list[Attributed]:
    return [
        _attributed(account=place[0], asset=place[1], amount=amount)
        for place in sorted(amounts)
        if (amount := amounts[place])
    ]


def _gaps(gaps: dict[Placed, int]) -> list[Gap]:
    return [Gap(place=place, asset=asset, amount=Amount(amount)) for (place, asset), amount in sorted(gaps.items())]
