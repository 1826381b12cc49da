"""On which engine a story is told: each test takes the healthy one, and with a planted fault it must not pass."""

from collections.abc import Callable

import pytest

from holdfast.engine import Engine, LocalEngine
from holdfast.machines import InvariantViolatedError
from holdfast_engine.exchange import Parts
from holdfast_engine.faults import fault_by_name
from holdfast_invariants.catalogue import CATALOGUE

Told = Callable[[Engine], None]


@pytest.fixture
def engine() -> Engine:
    """The healthy reference."""
    return LocalEngine()


@pytest.fixture
def violated() -> Callable[[str, Told], None]:
    """Checks that a story on an engine with a planted fault ends where it breaks an invariant of the catalogue."""

    def check(name: str, told: Told) -> None:
        with pytest.raises(InvariantViolatedError) as caught:
            told(LocalEngine(parts=fault_by_name(name).parts))
        assert {violation.invariant for violation in caught.value.violations} <= {entry.id for entry in CATALOGUE}

    return check


@pytest.fixture
def told_in_vain() -> Callable[[Parts, Told], None]:
    """Checks that a story on an engine with other parts does not get to its end: it or an invariant sees them."""

    def check(parts: Parts, told: Told) -> None:
        with pytest.raises(AssertionError):
            told(LocalEngine(parts=parts))

    return check
