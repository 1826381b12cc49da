"""Maintenance by procedure and releases: what is announced, activated and confirmed before trading goes on.

What a step of the procedure leaves behind is the number of its record (-1: it never was), so that the log alone says
which steps were taken since which others; what they oblige to is owed until it is done, in whatever phase. What is
done to the processes (a restart, a restore, an installed release) is in no log: the deciding replica asks its
`Surroundings`, and what it decides is in the log.
"""

from typing import Protocol

from holdfast_engine.auction import Auction
from holdfast_engine.core import Deciders, Evolvers, Fields
from holdfast_engine.liquidation import Liquidation
from holdfast_engine.order import Order
from holdfast_engine.state import VenueState, state_sha256
from holdfast_model.vocabulary import (
    ActivateRelease,
    AnnounceMaintenance,
    CancelAllOrders,
    CancelReason,
    ConfirmLoad,
    Liquidate,
    LoadConfirmed,
    MaintenanceAnnounced,
    MarketId,
    Phase,
    Reason,
    Reconciled,
    ReleaseActivated,
    ReleaseId,
    Setup,
    Sha256,
)

_TAKE_ORDERS = frozenset({Phase.POST_ONLY, Phase.AUCTION, Phase.OPEN})
"""The phases in which orders are taken, and those that trade in the end."""


class Surroundings(Protocol):
    """What the deciding replica knows of the processes: `rebuilt_seq` and `deployed_seq` are lengths of the log.

    They say how long it was when the primary was last rebuilt, if only before it was promoted, and when a release was
    last installed; -1: never.
    """

    rebuilt_seq: int
    deployed_seq: int

    def agreed_state(self) -> Sha256 | None:
        """The state's hash if all replicas are up and have the same log, state and active release; else None."""

    def installed(self, release: ReleaseId) -> bool:
        """Whether all replicas are up and have the release installed."""


class Alone:
    """The surroundings of a venue that is no replica of an exchange: it agrees with itself."""

    rebuilt_seq = -1
    deployed_seq = -1

    def __init__(self, venue: "Maintenance") -> None:
        self._venue = venue

    def agreed_state(self) -> Sha256 | None:
        """The venue's own state's hash."""
        return state_sha256(self._venue.state())

    def installed(self, release: ReleaseId) -> bool:  # noqa: ARG002 - there is nothing to install it on
        """Every release is."""
        return True


class Maintenance(Liquidation, Auction):
    """The obligatory steps of maintenance, the release in force, and cancelling everything."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.announced_ms: int | None = None
        self.maintenance_seq = self.activated_seq = -1
        self.confirmed_seq = self.reconciled_seq = 0
        self.surroundings: Surroundings = Alone(self)

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:
        return super()._deciders(setup) | {
            AnnounceMaintenance: cls._decide_announcement,
            CancelAllOrders: cls._decide_cancel_all_orders,
            ActivateRelease: cls._decide_activation,
            ConfirmLoad: cls._decide_load,
        }

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:
        return super()._evolvers(setup) | {
            MaintenanceAnnounced: cls._on_maintenance_announced,
            ReleaseActivated: cls._on_release_activated,
            LoadConfirmed: cls._on_load_confirmed,
            Reconciled: cls._on_reconciled,
        }

    # Deciding -----------------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the load was confirmed since the primary was last rebuilt; without a procedure nobody asks."""
        return not self.setup.procedure or self.confirmed_seq > self.surroundings.rebuilt_seq

    def _decide_announcement(self, command: AnnounceMaintenance) -> None:
        if command.begins_ms < self.time_ms:
            return self.refuse(Reason.TIME_NOT_LATER)
        return self.emit(MaintenanceAnnounced(begins_ms=command.begins_ms))

    def missing_step(self, phase: Phase) -> Reason | None:
        """Why a phase may not be entered although it may follow: the first obligatory step that is missing."""
        if not self.setup.procedure:
            return None
        if phase is Phase.MAINTENANCE and not self.announced():
            return Reason.NOT_ANNOUNCED
        return self.owed_step() if phase in _TAKE_ORDERS else None

    def owed_step(self) -> Reason | None:
        """The first of what maintenance, a rebuilt primary or a release still oblige to before orders are taken.

        It does not matter through which phases the venue has come since: only doing it discharges it.
        """
        since = max(
            self.maintenance_seq,
            self.activated_seq,
            self.surroundings.rebuilt_seq,
            self.surroundings.deployed_seq,
        )
        if self.confirmed_seq <= since:
            return Reason.NOT_LOADED
        if self.setup.custody is not None and self.reconciled_seq <= since:
            return Reason.NOT_RECONCILED
        return None

    def announced(self) -> bool:
        """Whether a maintenance was announced for now or earlier, and has not begun."""
        return self.announced_ms is not None and self.announced_ms <= self.time_ms

    def _decide_liquidation(self, command: Liquidate) -> None:
        if not self.loaded:
            return self.refuse(Reason.NOT_LOADED)
        return super()._decide_liquidation(command)

    def _decide_load(self, command: ConfirmLoad) -> None:  # noqa: ARG002 - there is nothing to look at
        state = self.surroundings.agreed_state()
        if state is None:
            return self.refuse(Reason.REPLICAS_DIFFER)
        return self.emit(LoadConfirmed(seq=self.seq, state_sha256=state))

    def _decide_activation(self, command: ActivateRelease) -> None:
        if all(release.release != command.release for release in self.setup.releases):
            return self.refuse(Reason.UNKNOWN_RELEASE)
        if not self.surroundings.installed(command.release):
            return self.refuse(Reason.RELEASE_DIFFERS)
        rescaled = self.rescaled_by(command.release)
        if any(self.priced(market) for market in rescaled):
            return self.refuse(Reason.ORDERS_OPEN)
        self.emit(ReleaseActivated(release=command.release))
        for market in rescaled:
            if market in self.marks:
                self.make_mark(market)
        return None

    def rescaled_by(self, release: ReleaseId) -> list[MarketId]:
        """The markets whose tick amount a release changes, by id."""
        return sorted(
            market.market
            for market in self.setup.markets_under(release)
            if market.tick_amount != self.markets[market.market].tick_amount
        )

    def priced(self, market: MarketId) -> bool:
        """Whether something stands in the ticks of a market: an open order, a waiting stop, or a position."""
        return any(order.market == market for order in self.orders_of()) or any(
            position.market == market and (position.position_lots or position.entry_value)
            for position in self.positions.values()
        )

    def _decide_cancel_all_orders(self, command: CancelAllOrders) -> None:
        if command.market is not None:
            if command.market not in self.markets:
                return self.refuse(Reason.UNKNOWN_MARKET)
            if self.restricted and not self.stage_allows(command.market, command):
                return self.refuse(Reason.PRODUCT_HALTED)
        orders = self.cancelled_by_force(command)
        return self.cancel_each(orders, CancelReason.FORCED) if orders else self.refuse(Reason.NOTHING_TO_CANCEL)

    def cancelled_by_force(self, command: CancelAllOrders) -> list[Order]:
        """The open orders of everybody that are cancelled at once, in the order in which they were accepted."""
        return [
            order
            for order in self.orders_of()
            if (command.market is None or order.market == command.market)
            and (not self.restricted or self.stage_allows(order.market, command))
        ]

    # Evolving -----------------------------------------------------------------------------------------------------

    def begin_maintenance(self) -> None:
        """Maintenance began: its announcement is used up, and its obligatory steps are all still to be taken."""
        self.announced_ms = None
        self.maintenance_seq = self.seq + 1

    def _on_maintenance_announced(self, event: MaintenanceAnnounced) -> None:
        self.announced_ms = event.begins_ms

    def _on_load_confirmed(self, event: LoadConfirmed) -> None:  # noqa: ARG002 - only when it was confirmed counts
        self.confirmed_seq = self.seq + 1

    def _on_reconciled(self, event: Reconciled) -> None:  # noqa: ARG002 - only when it was reconciled counts
        self.reconciled_seq = self.seq + 1

    def _on_release_activated(self, event: ReleaseActivated) -> None:
        """A price in ticks of another amount means nothing any more: it is forgotten, not converted."""
        rescaled = self.rescaled_by(event.release)
        self.release = event.release
        self.rescale(self.setup.markets_under(event.release))
        self.activated_seq = self.seq + 1
        for market in rescaled:
            self.forget_prices(market)

    # Snapshots ----------------------------------------------------------------------------------------------------

    @classmethod
    def _fields(cls) -> Fields:
        return super()._fields() | dict.fromkeys(
            ("announced_ms", "maintenance_seq", "activated_seq", "confirmed_seq", "reconciled_seq")
        )

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's."""
        super().load(state)
        self.announced_ms = state.announced_ms
        self.maintenance_seq, self.activated_seq = state.maintenance_seq, state.activated_seq
        self.confirmed_seq, self.reconciled_seq = state.confirmed_seq, state.reconciled_seq
