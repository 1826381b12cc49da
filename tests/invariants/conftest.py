"""The slow forms of the invariants are a package of the tests: their folder joins the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
