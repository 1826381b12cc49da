"""Planted faults: each one small class that overrides one seam of the reference exchange.

They exist to prove that the invariants can fail. None is ever active unless asked for by name.
"""

from holdfast_engine.faults import (
    asked,
    cover,
    custody,
    liveness,
    margin,
    money,
    operations,
    orders,
    procedure,
    replicas,
    trading,
)
from holdfast_engine.faults.fault import Fault
from holdfast_model.errors import HoldfastError

FAULTS: tuple[Fault, ...] = (
    *operations.FAULTS,
    *replicas.FAULTS,
    *procedure.FAULTS,
    *money.FAULTS,
    *trading.FAULTS,
    *orders.FAULTS,
    *margin.FAULTS,
    *cover.FAULTS,
    *asked.FAULTS,
    *custody.FAULTS,
    *liveness.FAULTS,
)
_BY_NAME = {fault.name: fault for fault in FAULTS}
assert len(_BY_NAME) == len(FAULTS), "two faults have one name"


def fault_by_name(name: str) -> Fault:
    """The fault of this name. Raises `HoldfastError` that lists the names there are."""
    if name not in _BY_NAME:
        raise HoldfastError(f"there is no fault {name!r}; there are: {', '.join(sorted(_BY_NAME))}")
    return _BY_NAME[name]


__all__ = ["FAULTS", "Fault", "fault_by_name"]
