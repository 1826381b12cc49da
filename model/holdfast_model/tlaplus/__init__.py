"""Models as TLA+ modules that TLC accepts."""

from holdfast_model.tlaplus.module import Exported, export, tlc_command

__all__ = ["Exported", "export", "tlc_command"]
