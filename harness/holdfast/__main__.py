"""Entry point of the `holdfast` command: turns what can go wrong into its exit status."""

import os
import sys
import traceback
from pathlib import Path

import typer

from holdfast.cli import app
from holdfast_model.errors import HoldfastError, InconclusiveError
from holdfast_model.evidence import ExitStatus


def main() -> None:
    """Run the command line and exit with its status; never a traceback but for a bug of ours."""
    sys.exit(_status())


def _status() -> int:
    if not __debug__:
        return _wrong(
            "holdfast states its own correctness in assertions; run Python without -O", ExitStatus.BAD_INPUT
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache / "holdfast" / "hypothesis"))
    try:
        app()
    except HoldfastError as error:
        return _wrong(str(error), ExitStatus.BAD_INPUT)
    except InconclusiveError as error:
        return _wrong(str(error), ExitStatus.INCONCLUSIVE)
    except (KeyboardInterrupt, typer.Abort):
        return _wrong("interrupted", ExitStatus.INTERRUPTED)
    except BrokenPipeError:
        return ExitStatus.INTERRUPTED
    except SystemExit as status:
        return status.code if isinstance(status.code, int) else ExitStatus.HELD
    except Exception:  # noqa: BLE001 - the last resort: a bug of ours, told as one
        traceback.print_exc()
        return _wrong("this is a bug of holdfast; please report it with the lines above", ExitStatus.BUG)
    return ExitStatus.HELD


def _wrong(message: str, status: ExitStatus) -> int:
    sys.stderr.write(f"holdfast: {message}\n")
    return status


if __name__ == "__main__":
    main()
