"""How often each peer may send: a token bucket for each, as the time at which it will be full again.

A bucket has room for as many tokens as a peer may send Envelopes in a second, and fills in a second. Kept of it is one
number, when it is full: each Envelope puts that off by its share of a second, and one that would put it more than a
second ahead of now is not admitted (the generic cell rate algorithm, ITU-T I.371, Annex A). A peer whose bucket is full
is not remembered, so a peer costs nothing a second after its last Envelope.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from bb_core.ids import PeerId

SECOND: Final = 10**9
MOST: Final = 16_384
"""Peers to remember, as many as an address book holds; whose last admission is longest ago goes first."""


class Rates:
    """When the bucket of each peer is full. Times are nanoseconds and never go back.

    Args:
        most: Peers to remember.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._full: OrderedDict[bytes, int] = OrderedDict()  # by when each was last admitted, the longest ago first

    def __len__(self) -> int:
        """How many peers are remembered."""
        return len(self._full)

    def admits(self, peer: PeerId, rate: int, now: int) -> bool:
        """Say whether a peer may send one more Envelope, and count it if so.

        Args:
            peer: Who sends it.
            rate: Envelopes of one peer in a second, at least 1.
            now: The time in nanoseconds.
        """
        share = -(-SECOND // rate)
        full = max(self._full.get(peer.raw, 0), now) + share
        if full > now + share * rate:
            return False
        self._full[peer.raw] = full
        self._full.move_to_end(peer.raw)
        self._forget(now)
        return True

    def _forget(self, now: int) -> None:
        """Forget the two oldest if their buckets are full, so that nobody is kept for long; and one of too many."""
        for _ in range(2):
            raw, full = next(iter(self._full.items()))
            if full <= now or len(self._full) > self._most:
                del self._full[raw]

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> list[list[Any]]:
        """Return whose bucket is full when, as plain data."""
        return [[raw, full] for raw, full in self._full.items()]

    def load(self, state: list[list[Any]]) -> None:
        """Take over a state."""
        self._full = OrderedDict((raw, full) for raw, full in state)
