"""What a planted fault is."""

from msgspec import Struct

from holdfast_engine.exchange import Parts
from holdfast_engine.journal import Journal
from holdfast_engine.ledger import Ledger
from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import Capability, EntryPosted


class Fault(Struct, frozen=True, kw_only=True):
    """A planted bug: the reference exchange with one part replaced.

    `sentence` says what goes wrong; `violates` are the ids of the invariants that must catch it; `incidents` the
    real ones that it re-enacts (none: a class of bug, not one incident). `needs` is what a setup must have for it to
    show at all, besides what these invariants speak of.
    """

    name: str
    sentence: str
    violates: tuple[str, ...]
    incidents: tuple[str, ...] = ()
    needs: frozenset[Capability] = frozenset()
    parts: Parts


class UncheckedLedger(Ledger):
    """A ledger that posts whatever it is given, so that a fault shows in the books and not as a crash."""

    def check(self, entry: EntryPosted) -> None:
        """Nothing is checked."""


class UncheckedVenue(Venue):
    """A venue whose ledger checks nothing."""

    ledger_class = UncheckedLedger


class OverwritingJournal(Journal):
    """A journal in which a record replaces those from its number on, as after a rollback that nobody wrote down."""

    def chain(self, lines: list[bytes], line: bytes, *, seq: int) -> None:
        """Drop the records that the new one overwrites."""
        del lines[seq - 1 :]
        lines.append(line)
