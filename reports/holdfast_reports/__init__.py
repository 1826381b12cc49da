"""Renders evidence: a page for people, JUnit XML for CI, JSON for machines, and checks recorded evidence again.

A report knows only the evidence that it renders, never the engines or the invariants that made it.
"""

from holdfast_reports.store import AnyResult, encode, load, write_atomically
from holdfast_reports.verify import verify
from holdfast_reports.write import UNFINISHED_FILE, WRITTEN, render

__all__ = ["UNFINISHED_FILE", "WRITTEN", "AnyResult", "encode", "load", "render", "verify", "write_atomically"]
