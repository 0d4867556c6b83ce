"""Requests: which answers this Node still waits for, and from whom.

A request lives until what collects it closes it. One that nothing collects lives until its delivery deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from bb_core.engine.dispatch import Frame
from bb_core.engine.timers import Timer, Timers
from bb_core.errors import UnexpectedResponse
from bb_core.ids import PeerId

REQUEST: Final = 1  # an Envelope that begins something
RESPONSE: Final = 2  # one that answers a request

_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: successive ids are spread over the whole range


@dataclass(slots=True)
class Request:
    """One open request."""

    number: int
    peers: frozenset[PeerId]
    frame: Frame
    timer: Timer | None = None


class Requests:
    """The open requests of one Node."""

    def __init__(self, peer_id: PeerId, incarnation: int, timers: Timers) -> None:
        salt = blake2b(peer_id.raw + incarnation.to_bytes(8, "big"), digest_size=8).digest()
        self._salt = int.from_bytes(salt, "big")
        self._count = 0
        self._timers = timers
        self._open: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, peers: Iterable[PeerId], frame: Frame) -> Request:
        """Mint an id (64 bits, never zero, salted by the Node's incarnation) for a request to some peers."""
        number = 0
        while number == 0 or number in self._open:
            self._count += 1
            number = (self._salt + self._count * _ODD) & _MASK
        request = Request(number, frozenset(peers), frame)
        self._open[number] = request
        frame.requests.append(number)
        return request

    def close(self, number: int) -> None:
        """Accept no further answer to a request."""
        request = self._open.pop(number, None)
        if request is not None:
            if request.timer is not None:
                self._timers.cancel(request.timer)
            if number in request.frame.requests:
                request.frame.requests.remove(number)

    def refuse(self, number: int, source: PeerId) -> UnexpectedResponse | None:
        """Say why an answer is not expected; None when it is."""
        request = self._open.get(number)
        if request is None:
            return UnexpectedResponse(
                "a response belongs to no open request", hint="its collection has closed, or it was never asked for"
            )
        if source not in request.peers:
            return UnexpectedResponse(f"{source} answered a request that was sent to others")
        return None

    def find(self, number: int) -> Request | None:
        """Return an open request."""
        return self._open.get(number)
