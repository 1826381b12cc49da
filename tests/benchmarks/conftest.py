"""The benchmarks are scripts of the checkout, not part of the package: their folder's parent joins the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
