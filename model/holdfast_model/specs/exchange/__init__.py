"""The whole exchange as a spec, in parts that a slice puts together."""

from holdfast_model.specs.exchange.ledger import DEFAULTS
from holdfast_model.specs.exchange.slices import (
    PARTS,
    SLICES,
    make_slice,
    part_names,
    parts_present,
    sizes_of,
    slice_class,
    slice_name,
)

__all__ = [
    "DEFAULTS",
    "PARTS",
    "SLICES",
    "make_slice",
    "part_names",
    "parts_present",
    "sizes_of",
    "slice_class",
    "slice_name",
]
