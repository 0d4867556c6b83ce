"""The duplicate gate: a bounded memory of what has been received, which peers share.

While there is room, a peer may have all of it. When there is none, whoever has more than an equal share forgets its own
oldest arrival for a new one, so that one that sends much makes a Node forget nothing of what others have sent.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

WINDOW: Final = 8192
"""How many arrivals are remembered."""

Key = tuple[bytes, int, int, int]
"""Source, kind, request and site."""


class Seen:
    """Remembers arrivals by (source, kind, request, site)."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._keys: OrderedDict[Key, None] = OrderedDict()
        self._of: dict[bytes, OrderedDict[Key, None]] = {}
        """Those of each source, the oldest first, as in `_keys`."""

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def state(self) -> list[list[Any]]:
        """Return what is remembered, the oldest first, as plain data."""
        return [list(key) for key in self._keys]

    def load(self, state: list[list[Any]]) -> None:
        """Take over a state."""
        self._keys.clear()
        self._of.clear()
        for source, kind, request, site in state:
            self._remember((source, kind, request, site))

    def add(self, key: Key) -> None:
        """Remember an arrival."""
        self._remember(key)
        if len(self._keys) > self._window:
            mine = self._of[key[0]]
            oldest = next(iter(mine if len(mine) * len(self._of) > self._window else self._keys))
            self._forget(oldest)

    def _remember(self, key: Key) -> None:
        self._keys[key] = None
        self._of.setdefault(key[0], OrderedDict())[key] = None

    def _forget(self, key: Key) -> None:
        del self._keys[key]
        of_source = self._of[key[0]]
        del of_source[key]
        if not of_source:
            del self._of[key[0]]
