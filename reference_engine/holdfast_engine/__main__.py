"""`python -m holdfast_engine [--fault NAME]`: the reference exchange on the wire protocol.

State is kept in the directory that HOLDFAST_DATA_DIR names, or in memory where it names none.
"""

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path

from holdfast_engine.exchange import Exchange
from holdfast_engine.faults import fault_by_name
from holdfast_engine.journal import JournalCorruptError
from holdfast_engine.server import serve
from holdfast_engine.storage import FileStorage, MemoryStorage, Storage
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import ExitStatus
from holdfast_model.vocabulary.protocol import DATA_DIRECTORY_VARIABLE


def main() -> int:
    """Serve until shutdown; the exit status is 0, or 2 when a request or the command line was wrong."""
    parser = argparse.ArgumentParser(prog="python -m holdfast_engine", description=__doc__)
    parser.add_argument("--fault", metavar="NAME", help="run with a planted fault (`holdfast faults` lists them)")
    arguments = parser.parse_args()
    directory = os.environ.get(DATA_DIRECTORY_VARIABLE)
    try:
        parts = fault_by_name(arguments.fault).parts if arguments.fault else None
        storage: Storage = FileStorage(Path(directory)) if directory else MemoryStorage()
        serve(Exchange(storage, parts), sys.stdin.buffer, sys.stdout.buffer, version=version("holdfast"))
    except (HoldfastError, JournalCorruptError) as error:
        sys.stderr.write(f"holdfast_engine: {error}\n")
        return ExitStatus.BAD_INPUT
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitStatus.HELD


if __name__ == "__main__":
    sys.exit(main())
