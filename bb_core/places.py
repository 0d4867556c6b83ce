"""Places in an author's code, and how they are shown: `mypkg/programs.py:31:24-55`, with the line and a caret under it.

A place is text, so that it can stand in an artefact: the file relative to its package, the line, and the columns of the
call (from 1, the last one excluded). Which file on this machine that is, `remember` keeps for as long as the process
lives; of a place from elsewhere only the text is shown.
"""

from __future__ import annotations

import linecache
import re
from typing import Final
from unicodedata import east_asian_width

_PLACE: Final = re.compile(
    r"^(?P<file>[^\s:]+):(?P<line>\d+)(?::(?P<first>\d+)-(?P<last>\d+))?(?P<rest>.*)$", re.DOTALL
)
_WIDE: Final = 110  # columns of a shown line; longer ones are cut around the caret

_files: dict[str, str] = {}


def remember(relative: str, file: str) -> None:
    """Keep which file of this machine a relative one is."""
    _files[relative] = file


def short(place: str) -> str:
    """Write a place without its last column: `mypkg/programs.py:31:24`."""
    found = _PLACE.match(place)
    if found is None or found["first"] is None:
        return place
    return f"{found['file']}:{found['line']}:{found['first']}{found['rest']}"


def excerpt(place: str) -> list[str]:
    """Show a place's line with a caret under its columns; nothing when the file is not there."""
    found = _PLACE.match(place)
    if found is None or found["file"] not in _files:
        return []
    number = int(found["line"])
    text = linecache.getline(_files[found["file"]], number).rstrip("\n")
    if not text.strip():
        return []
    first = int(found["first"] or 0)
    last = int(found["last"] or 0)
    if not first:
        first, last = len(text) - len(text.lstrip()) + 1, len(text) + 1
    last = min(max(last, first + 1), len(text) + 1)
    before, under = text[: first - 1], text[first - 1 : last - 1]
    text, skipped = text.replace("\t", " "), 0
    if _columns(text) > _WIDE:
        skipped = max(0, min(first - 1 - _WIDE // 4, len(text) - _WIDE))
        text = ("…" if skipped else "") + text[skipped + bool(skipped) : skipped + _WIDE] + "…"
    pad = _columns(before[skipped:])
    caret = "^" * max(1, min(_columns(under), _WIDE - pad + 1))
    margin = " " * len(str(number))
    return [f" {margin} |", f" {number} | {text}", f" {margin} | {' ' * pad}{caret}"]


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)
