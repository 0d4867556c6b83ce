"""Which names authors may give, and under which ops are recorded."""

from __future__ import annotations

import re
from typing import Final

from bb_core.dsl.source import caller_line
from bb_core.errors import ReservedName

_CHARACTERS: Final = frozenset(".@#/|: ")
_WORDS: Final = frozenset({"invoke", "bootstrap"})
"""Names of entries, which an edge of that name would hide."""


def check_name(kind: str, name: str) -> None:
    """Refuse a name that target names, paths, entries or site ids could not carry."""
    article = "an" if kind[0] in "aeiou" else "a"
    if not name or _CHARACTERS & set(name):
        raise ReservedName(
            f"{name!r} cannot name {article} {kind}",
            where=caller_line(),
            expected="text without . @ # / | : and blanks",
        )
    if kind == "edge" and name in _WORDS:
        raise ReservedName(
            f"{name!r} cannot name an edge: it names an entry of every program",
            where=caller_line(),
            hint=f"call it {name}_value, or leave name= out",
        )


def snake(name: str) -> str:
    """Write an op's name as a Python function is named: `TopK` -> `top_k`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace(".", "_").lower()
