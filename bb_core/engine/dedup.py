"""The duplicate gate: a bounded memory of what has been received."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

WINDOW: Final = 8192
"""How many arrivals are remembered; the oldest is forgotten first."""


class Seen:
    """Remembers arrivals by (source, kind, request, site)."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._keys: OrderedDict[tuple[bytes, int, int, int], None] = OrderedDict()

    def __contains__(self, key: tuple[bytes, int, int, int]) -> bool:
        return key in self._keys

    def state(self) -> list[list[Any]]:
        """Return what is remembered, the oldest first, as plain data."""
        return [list(key) for key in self._keys]

    def load(self, state: list[list[Any]]) -> None:
        """Take over a state."""
        self._keys = OrderedDict(((source, kind, request, site), None) for source, kind, request, site in state)

    def add(self, key: tuple[bytes, int, int, int]) -> None:
        """Remember an arrival."""
        self._keys[key] = None
        if len(self._keys) > self._window:
            self._keys.popitem(last=False)
