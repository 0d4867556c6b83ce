"""What all connections have in common: a handshake with a deadline, and one word to the host of how it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import bb_core as bb
from bb_core.errors import BBError, HandshakeRefused
from bb_plugins.transports.handshake import LARGEST, check_hello, decode_hello, encode_hello
from bb_plugins.transports.interface import Station

HANDSHAKE_SECONDS: Final = 10.0
"""How long a connection may take to say who it is (nginx: `client_header_timeout` 60; ours is one frame)."""


class Greeting:
    """The part of a `Link` that shakes hands. A kind of connection calls `_begin`, `_greet` and `_lost`.

    Args:
        station: The host.
        expected: Whom this side has dialed; None when it was dialed.
        dialed: At which address.
    """

    def __init__(self, station: Station, expected: bb.PeerId | None = None, dialed: bytes = b"") -> None:
        self.peer: bb.PeerId
        self.dialed = dialed
        self.seen_at = ""
        self.is_free = True
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the handshake is over, or has failed."""
        self._station = station
        self._expected = expected
        self._verified: bb.PeerId | None = None
        self._is_open = False
        self._error: BBError | None = None
        self._most = LARGEST  # until the handshake is over
        self._deadline: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """End the connection at once."""
        raise NotImplementedError

    def _begin(self, seen_at: str) -> bytes:
        """A connection stands: return what is said first, and let the other's handshake not take for ever."""
        self.seen_at = seen_at
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._too_late)
        return encode_hello(self._station.hello)

    def _greet(self, raw: bytes) -> bool:
        """Take in the other side's handshake; returns whether it is welcome."""
        try:
            hello = decode_hello(raw)
            check_hello(hello, self._station.hello, self._verified, self._expected)
        except BBError as error:
            self._fail(error)
            self.abort()
            return False
        self._cancel_deadline()
        self.peer, self._most, self._is_open = hello.peer, self._station.max_frame, True
        if not self.ready.done():
            self.ready.set_result(None)
        self._station.opened(self)
        return self._is_open

    def _lost(self, reason: str, *, has_stood: bool = True) -> None:
        """A connection is gone."""
        self._cancel_deadline()
        was_open, self._is_open, self.is_free = self._is_open, False, False
        if was_open:
            self._station.closed(self, self._error)
        elif not has_stood:  # who made it knows why
            self.ready.cancel()
        elif not self.ready.done():
            self._fail(HandshakeRefused(f"the connection ended before its handshake{reason and ': '}{reason}"))

    def _too_late(self) -> None:
        self._fail(HandshakeRefused(f"a connection has not said within {HANDSHAKE_SECONDS:g} s who it is"))
        self.abort()

    def _fail(self, error: BBError) -> None:
        if self.ready.done():
            return
        self._station.refused(self.seen_at, error)
        if self._expected is None:
            self.ready.cancel()
        else:
            self.ready.set_exception(error)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # --- a Link, whose sending is the kind's own ----------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection when all is sent."""
        raise NotImplementedError


async def greeted(link: Greeting) -> None:
    """Wait until a link's handshake is over, and give it up when nobody waits any more."""
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await link.ready
    except BaseException:
        link.abort()
        raise
