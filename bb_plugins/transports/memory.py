"""Links within one process, for tests and for several Nodes in one program: nothing is copied or framed.

`/memory/7` is door 7 of the event loop that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

import bb_core as bb
from bb_core.errors import AddressError, BBError
from bb_plugins.transports.handshake import check_hello
from bb_plugins.transports.interface import Credentials, Listener, Station

_HIGH: Final = 4 * 2**20
"""Bytes that may be under way on one link before it is not free."""

_doors: MutableMapping[Any, dict[int, Station]] = WeakKeyDictionary()


def _open_doors() -> dict[int, Station]:
    return _doors.setdefault(asyncio.get_running_loop(), {})


class MemoryTransport:
    """Listens and dials at `/memory/N`; 0 is any free door."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        """Keep nothing: who shares our memory can claim what it likes."""

    async def listen(self, address: bb.Address, station: Station) -> Listener:
        """Open a door."""
        doors, number = _open_doors(), _number(address)
        number = number or next(n for n in count(1) if n not in doors)
        if number in doors:
            raise OSError(f"the door {address} is open already")
        doors[number] = station
        return _Door(number)

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> MemoryLink:
        """Go through a door."""
        other = _open_doors().get(_number(address))
        if other is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        try:
            check_hello(other.hello, station.hello, None, expected)
            check_hello(station.hello, other.hello, None, None)
        except BBError as error:
            station.refused(str(address), error)
            other.refused("memory", error)
            raise
        ours, theirs = MemoryLink(station, other.hello.peer, address.to_bytes()), MemoryLink(other, station.hello.peer)
        ours.other, theirs.other = theirs, ours
        other.opened(theirs)
        station.opened(ours)
        return ours


class _Door:
    def __init__(self, number: int) -> None:
        self._number = number
        self.address = bb.Address.parse(f"/memory/{number}")

    async def close(self) -> None:
        _open_doors().pop(self._number, None)


class MemoryLink:
    """One side of a connection; frames arrive at the other in the next turn of the event loop."""

    def __init__(self, station: Station, peer: bb.PeerId, dialed: bytes = b"") -> None:
        self.peer = peer
        self.dialed = dialed
        self.seen_at = "memory"
        self.is_free = True
        self.other: MemoryLink
        self._station = station
        self._under_way = 0
        self._is_open = True

    def send(self, frames: Sequence[bytes]) -> None:
        """Hand frames to the other side."""
        self._under_way += sum(map(len, frames))
        self.is_free = self._under_way <= _HIGH
        asyncio.get_running_loop().call_soon(self._arrive, list(frames))

    def _arrive(self, frames: list[bytes]) -> None:
        other = self.other
        if other._is_open:
            other._station.received(other, frames)
        self._under_way -= sum(map(len, frames))
        if not self.is_free and self._is_open and self._under_way <= _HIGH:
            self.is_free = True
            self._station.drained(self)

    def close(self) -> None:
        """End the connection after what is under way."""
        asyncio.get_running_loop().call_soon(self.abort)

    def abort(self) -> None:
        """End it at once."""
        for side in (self, self.other):
            if side._is_open:
                side._is_open = side.is_free = False
                side._station.closed(side, None)


def _number(address: bb.Address) -> int:
    if address.protocols[:1] != ("memory",):
        raise AddressError(f"{address} is no door in memory", expected="such as /memory/7")
    value: int = address.segments[0].value
    return value
