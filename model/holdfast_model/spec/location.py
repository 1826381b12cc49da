"""Where in a spec something was written: every SpecError starts with it."""

import os
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from holdfast_model.errors import SpecError

_LANGUAGE = f"{Path(__file__).parent}{os.sep}"


def _belongs_to_a_spec(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith((_LANGUAGE, "<"))


def here() -> str:
    """The "file:line" of the innermost running line that is not part of the language itself."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the running frames
    while frame is not None and not _belongs_to_a_spec(frame):
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def of_traceback(traceback: TracebackType | None) -> str:
    """The "file:line" of the innermost line of a traceback that is not part of the language itself."""
    place = "an unknown place"
    while traceback is not None:
        if _belongs_to_a_spec(traceback.tb_frame):
            place = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def refuse(message: str) -> NoReturn:
    """Raise a SpecError about the line of the spec that is running now."""
    raise SpecError(f"{here()}: {message}")
