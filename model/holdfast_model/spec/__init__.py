"""The spec language: an action is written once, as Python, and runs on symbols and on plain ints alike."""

from holdfast_model.spec.language import Range, Response, Spec, action, always, auxiliary, eventually, sometimes, step
from holdfast_model.spec.model import Instance, Model, State
from holdfast_model.spec.sorts import Enumeration, Index
from holdfast_model.spec.terms import (
    Condition,
    Formula,
    Number,
    Value,
    all_of,
    any_of,
    exists,
    forall,
    implies,
    ite,
    maximum,
    minimum,
    negation,
    total,
)
from holdfast_model.spec.variables import Bool, Enum, Int, Nat, Part, Record

__all__ = [
    "Bool",
    "Condition",
    "Enum",
    "Enumeration",
    "Formula",
    "Index",
    "Instance",
    "Int",
    "Model",
    "Nat",
    "Number",
    "Part",
    "Range",
    "Record",
    "Response",
    "Spec",
    "State",
    "Value",
    "action",
    "all_of",
    "always",
    "any_of",
    "auxiliary",
    "eventually",
    "exists",
    "forall",
    "implies",
    "ite",
    "maximum",
    "minimum",
    "negation",
    "sometimes",
    "step",
    "total",
]
