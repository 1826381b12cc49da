"""The venue is laid out so that CPython is quick at its methods."""

from holdfast_engine.venue import Venue
from holdfast_model.vocabulary import Setup

INLINE_ATTRIBUTES_MAX = 30
"""As many attributes does CPython 3.11 keep beside an instance; with one more its method calls get slow."""


def test_the_chapters_together_have_no_more_attributes_than_are_kept_inline() -> None:
    """The attributes of most chapters are slots: see `Core`."""
    venue = Venue(Setup(assets=("BTC",), markets=(), clients=("alice",)))
    assert len(vars(venue)) <= INLINE_ATTRIBUTES_MAX
