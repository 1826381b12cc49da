"""The core of the venue: the ledger, and how a command is decided and an event changes the state.

A chapter of the rules (`trading`, `funds`) is a class that extends `Core` with its part of the state and contributes,
each through `super()`:

- `_deciders`: what decides each of its commands, by class;
- `_evolvers`: what each of its events changes, by class: the only code that changes the state;
- `_fields`, `_parts` and `load`: its fields of `VenueState`, for snapshots.

`venue.Venue` puts the chapters together.
"""

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Self, TypeVar

from holdfast_engine.ledger import Ledger
from holdfast_engine.order import Order
from holdfast_engine.state import VenueState
from holdfast_model.vocabulary import (
    Amount,
    AssetId,
    Bucket,
    CauseKind,
    ClientId,
    Command,
    EntryPosted,
    Event,
    Events,
    Market,
    OrderId,
    Phase,
    Posting,
    Reason,
    Rejected,
    ReleaseId,
    ReplicaId,
    Setup,
    Timestamp,
)
from holdfast_model.vocabulary.phases import legal

FREE, HELD, COLLATERAL, BORROWED = Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL, Bucket.BORROWED

V = TypeVar("V")

Lines = list[tuple[str, Bucket, AssetId, int]]
"""Lines of an entry: account, bucket, asset, and what is added."""

Deciders = dict[type, Callable[[Any, Any], None]]
"""What decides a command, by its class: methods, called with the venue and the command."""

Evolvers = dict[type, Callable[[Any, Any], None]]
"""What an event changes, by its class: methods, called with the venue and the event."""

Fields = dict[str, Callable[[Any], Iterable[object]] | None]
"""Fields of `VenueState`, each of the attribute of its name: as it is (None), or made of a dictionary.

What makes it goes by keys and values alone, whatever their order.
"""

_SETUPS_KNOWN_MAX = 64
"""For how many classes and setups is kept what decides and evolves: venues are made anew after every kill."""


_posting: Callable[..., Posting] = Posting
"""A line of an entry, without a call that only tells a type checker that an integer is an amount."""


def by_key(mapping: dict[Any, V]) -> list[V]:
    """The values of a dictionary in the order of its keys."""
    return [mapping[key] for key in sorted(mapping)]


def combined(lines: Lines) -> Lines:
    """The lines of an entry, with all that goes to one place in one line."""
    totals: dict[tuple[str, Bucket, AssetId], int] = {}
    for account, bucket, asset, amount in lines:
        totals[account, bucket, asset] = totals.get((account, bucket, asset), 0) + amount
    return [(*place, amount) for place, amount in totals.items()]


class Core:
    """The state that every chapter shares, changed by events only. Seams for planted faults have no underscore."""

    # CPython is quick at the methods of an instance only while at most thirty attributes are in its dictionary, and
    # all chapters together have more. Those of this chapter, and from `Marks` to `Accounts`, are therefore slots. Of
    # several chapters that extend the same one only one can have some: so those of `Maintenance` and `Funds`, and one
    # of `Payments`, stand here with this chapter's own.
    __slots__ = (
        "__dict__",
        "_decider_of",
        "_events",
        "_evolver_of",
        "_listed",
        "activated_seq",
        "announced_ms",
        "assets",
        "clients",
        "confirmed_seq",
        "custody",
        "deposits",
        "epoch",
        "ledger",
        "maintenance_seq",
        "markets",
        "phase",
        "primary",
        "reconciled_seq",
        "release",
        "rescaled",
        "seq",
        "setup",
        "surroundings",
        "time_ms",
        "waiting",
        "withdrawal_of",
        "withdrawals",
    )

    ledger_class: type[Ledger] = Ledger
    reconciling = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.release: ReleaseId = setup.releases[0].release
        self.markets = {market.market: market for market in setup.markets_under(self.release)}
        self.clients = frozenset(setup.clients)
        self.assets = frozenset(setup.assets)
        self.seq = 0
        self.epoch = 1
        self.primary: ReplicaId = setup.replicas[0]
        self.phase = Phase.CLOSED if setup.auctions else Phase.OPEN
        self.time_ms: Timestamp = 0
        self.waiting: dict[tuple[ClientId, OrderId], Order] = {}
        self.ledger = self.ledger_class()
        self._events: list[Event] = []
        self._listed: dict[str, tuple[dict[Any, Any], tuple[Any, ...]]] = {}
        self._decider_of, self._evolver_of = self._methods(setup)

    @classmethod
    def _deciders(cls, setup: Setup) -> Deciders:  # noqa: ARG003 - some chapters decide less without custody
        """What decides each command of this chapter; a further chapter adds its own to what `super()` returns."""
        return {}

    @classmethod
    def _evolvers(cls, setup: Setup) -> Evolvers:  # noqa: ARG003 - as with what decides
        """What each event of this chapter changes; a further chapter adds its own to what `super()` returns."""
        return {Rejected: cls._unchanged, EntryPosted: cls._post}

    @classmethod
    @lru_cache(_SETUPS_KNOWN_MAX)
    def _methods(cls, setup: Setup) -> tuple[Deciders, Evolvers]:
        """What decides and what evolves in all venues of one class and setup; nobody changes it."""
        return cls._deciders(setup), cls._evolvers(setup)

    # Deciding -----------------------------------------------------------------------------------------------------

    def apply(self, command: Command) -> Events:
        """Decide one command and change the state accordingly; the events tell all that changed."""
        self._events = []
        if self.phase_allows(command):
            self._decider_of[command.__class__](self, command)
            if self.waiting:
                self.follow_up()
            if self.reconciling:
                self.reconcile()
        else:
            self.refuse(Reason.PHASE_FORBIDS)
        self.seq += 1
        return tuple(self._events)

    def replay(self, events: Iterable[Event]) -> None:
        """Change the state by the events of one command that was decided before, here or on another replica."""
        for event in events:
            self._evolver_of[event.__class__](self, event)
        self.seq += 1

    def phase_allows(self, command: Command) -> bool:
        """Whether the phase lets the command take effect."""
        return legal(self.phase, command)

    def follow_up(self) -> None:
        """What follows a command's own work while stop orders wait (see the chapter on triggers)."""

    def reconcile(self) -> None:
        """What follows a command where there is custody (see the chapter on reconciliation)."""

    def emit(self, event: Event) -> None:
        """Let something have happened: tell it, and change the state by it."""
        self._events.append(event)
        self._evolver_of[event.__class__](self, event)

    def refuse(self, reason: Reason) -> None:
        """Refuse the command; nothing else may have been emitted for it."""
        assert not self._events, "a refused command has no effect"
        self.emit(Rejected(reason=reason))

    def covers(self, client: ClientId, asset: AssetId, amount: Amount) -> bool:
        """Whether a client's free balance covers an amount."""
        return amount <= self.ledger.amount(client, FREE, asset)

    def post(self, kind: CauseKind, cause: str, postings: Iterable[tuple[str, Bucket, AssetId, int]]) -> None:
        """Post an entry; lines of nothing are left out, and so is an entry of nothing."""
        lines = [
            _posting(account=account, bucket=bucket, asset=asset, amount=amount)
            for account, bucket, asset, amount in postings
            if amount
        ]
        if lines:
            self.emit(EntryPosted(cause_kind=kind, cause=cause, postings=tuple(lines)))

    def move(self, kind: CauseKind, cause: str, account: str, asset: AssetId, amount: int) -> None:
        """Post an entry that moves an amount of an account from free to held, or back where it is negative."""
        if amount:
            lines = (
                _posting(account=account, bucket=FREE, asset=asset, amount=-amount),
                _posting(account=account, bucket=HELD, asset=asset, amount=amount),
            )
            self.emit(EntryPosted(cause_kind=kind, cause=cause, postings=lines))

    # Evolving -----------------------------------------------------------------------------------------------------

    def rescale(self, markets: Iterable[Market]) -> None:
        """Let the markets be these: the same ones, with the tick amounts of the release that is active."""
        self.markets.update((market.market, market) for market in markets)

    def _post(self, event: EntryPosted) -> None:
        self.ledger.post(event)

    def _unchanged(self, event: Event) -> None:
        """Some events change nothing in the replicated state."""

    # Snapshots ----------------------------------------------------------------------------------------------------

    def state(self) -> VenueState:
        """All that the state machine holds, in canonical order: equal states give equal values, on any replica."""
        parts, listed = self._parts(), self._listed
        for field, make in self._all_fields().items():
            value = getattr(self, field)
            if make is not None and value:
                known = listed.get(field)
                if known is None or known[0] != value:  # mostly the very same values are in both
                    known = listed[field] = (dict(value), tuple(make(value)))
                value = known[1]
            parts[field] = value if make is None else value or ()
        return VenueState(**parts)

    def equals(self, other: Self) -> bool:
        """Whether another venue surely has an equal state: it holds equal values, which are compared as they are.

        Where it says no, the states may be equal all the same: an amount of nothing is in a ledger or is not.
        """
        held = self._held()
        return bool(held(self) == held(other)) and self.ledger.equals(other.ledger)

    @classmethod
    def _fields(cls) -> Fields:
        """The chapter's fields of the state that are attributes; a further chapter adds its own to `super()`'s."""
        return dict.fromkeys(("seq", "epoch", "primary", "release", "phase", "time_ms"))

    @classmethod
    @cache
    def _all_fields(cls) -> Fields:
        return cls._fields()

    @classmethod
    @cache
    def _held(cls) -> "Callable[[Core], tuple[object, ...]]":
        """All attributes that are fields of the state."""
        return attrgetter(*cls._fields())

    def _parts(self) -> dict[str, Any]:
        """The chapter's other fields, which `equals` also compares; a further chapter adds its own, in place."""
        return {"balances": self.ledger.balances()}

    def load(self, state: VenueState) -> None:
        """Replace the state by a snapshot's; a further chapter loads its own part after `super()`'s."""
        self.seq, self.epoch, self.phase, self.time_ms = state.seq, state.epoch, state.phase, state.time_ms
        self.primary, self.release = state.primary, state.release
        self.rescale(self.setup.markets_under(state.release))
        self.ledger.load(state.balances)
