"""Where in the author's code an op was recorded."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import CodeType, FrameType

from bb_core import places

_OURS = ("bb_core.dsl", "bb_core.roles", "bb_core.ops")
_positions: dict[CodeType, list[tuple[int | None, int | None, int | None, int | None]]] = {}
_known: dict[tuple[CodeType, int, str, str], str] = {}
"""Two code objects of equal content are equal, wherever they stand; so the file is part of the key."""


def caller_line() -> str:
    """Return the place of the nearest call from outside the recorder: `file:line:first-last`.

    The file is written relative to its package's root (`mypkg/programs.py`), so that the same program carries the same
    places on every machine. The columns are those of the call.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    if frame is None:
        return "unknown:0"
    code = frame.f_code
    key = (code, frame.f_lasti, code.co_filename, frame.f_globals.get("__name__", "__main__"))
    place = _known.get(key)
    if place is None:
        place = _known[key] = _place(frame, key[3])
    return place


def _place(frame: FrameType, module: str) -> str:
    code = frame.f_code
    file = PurePath(code.co_filename).name
    if "." in module:
        file = "/".join([*module.split(".")[:-1], file])
    places.remember(file, code.co_filename)
    spans = _positions.get(code)
    if spans is None:
        spans = _positions[code] = list(code.co_positions())
    line, last_line, first, last = spans[frame.f_lasti // 2]
    if line is None or first is None or last is None:
        return f"{file}:{frame.f_lineno}"
    end = last + 1 if last_line == line else 10**4  # a call over several lines is shown to the end of its first
    return f"{file}:{line}:{first + 1}-{end}"
