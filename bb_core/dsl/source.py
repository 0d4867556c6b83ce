"""Where in the author's code an op was recorded."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import FrameType

_OURS = ("bb_core.dsl", "bb_core.roles", "bb_core.ops")


def caller_line() -> str:
    """Return `file:line` of the nearest call from outside the recorder.

    The file is written relative to its package's root (`mypkg/programs.py:12`), so that the same program carries the
    same lines on every machine.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    if frame is None:
        return "unknown:0"
    module = frame.f_globals.get("__name__", "__main__")
    file = PurePath(frame.f_code.co_filename).name
    if "." in module:
        file = "/".join([*module.split(".")[:-1], file])
    return f"{file}:{frame.f_lineno}"
