"""Traces of a model: as ITF files, as paths that the interpreter follows, and as text."""

from holdfast_model.traces.following import Followed, follow
from holdfast_model.traces.itf import ItfTrace, Shows, is_itf, model_of, read_itf, write_itf
from holdfast_model.traces.moves import Move, trace_of_refutation
from holdfast_model.traces.narrating import narrated

__all__ = [
    "Followed",
    "ItfTrace",
    "Move",
    "Shows",
    "follow",
    "is_itf",
    "model_of",
    "narrated",
    "read_itf",
    "trace_of_refutation",
    "write_itf",
]
