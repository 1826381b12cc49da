"""The whole exchange as a spec, in parts that a slice puts together."""

from holdfast_model.specs.exchange.slices import PARTS, make_slice, part_names

__all__ = ["PARTS", "make_slice", "part_names"]
