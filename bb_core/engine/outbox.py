"""What has been handed to the host to send, until the host says what became of it."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from bb_core.ids import PeerId

MOST: Final = 10_000
"""How many Envelopes without an outcome are remembered; a host may never tell one."""


class Handed(Struct, frozen=True):
    """One Envelope that the host was given.

    Attributes:
        request: The request that it carries; 0 for an answer.
        address: Where it was to go first; empty when only the peer's id was known.
    """

    peer: PeerId
    request: int
    address: bytes


class Outbox:
    """Envelopes by the id of their Step."""

    def __init__(self) -> None:
        self._count = 0
        self._handed: dict[int, Handed] = {}
        self._oldest = 1  # no id below it is remembered

    def add(self, handed: Handed) -> int:
        """Take in an Envelope and give it an id."""
        number = self._count = self._count + 1
        self._handed[number] = handed
        if len(self._handed) > MOST:
            self._drop_oldest()
        return number

    def _drop_oldest(self) -> None:
        """Forget one. Ids only grow, so none is looked at twice; a dict's first key would be sought from its start."""
        while self._handed.pop(self._oldest, None) is None:
            self._oldest += 1
        self._oldest += 1

    def take(self, number: int) -> Handed | None:
        """Return what an id stands for, once; None when its outcome is known already or it is long ago."""
        return self._handed.pop(number, None)

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "count": self._count,
            "handed": [[n, h.peer.raw, h.request.to_bytes(8, "big"), h.address] for n, h in self._handed.items()],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._count = state["count"]
        for number, peer, request, address in state["handed"]:
            self._handed[number] = Handed(PeerId(peer), int.from_bytes(request, "big"), address)
        self._oldest = next(iter(self._handed), self._count + 1)
