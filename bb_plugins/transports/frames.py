"""Frames over a stream: four bytes of length, big-endian, then so many bytes.

Theory of operation. A `BufferedProtocol` lets the event loop read straight into our memory. Small frames arrive in a
buffer of the link and are copied out of it, many from one read. As soon as the length of a frame is known that does not
fit there, it gets a buffer of its own, which the loop then fills: a large frame is never copied. Nothing touches its
memory before its bytes arrive, so a peer that announces much and sends little costs little.

The transport below is told to keep nothing back (its high-water mark is 1 byte): as long as the kernel takes all, the
link is free; otherwise its owner waits for `drained`, and keeps what is to be sent in a queue that it bounds itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import bb_core as bb
from bb_core.errors import BBError, CapExceeded, HandshakeRefused
from bb_plugins.transports.buffers import take
from bb_plugins.transports.greeting import Greeting
from bb_plugins.transports.interface import Station

_CHUNK: Final = 64 * 1024
_GROWN: Final = 256 * 1024
"""Bytes that are read at once, at first, and of a peer that has filled that (asyncio reads 256 KiB at the most)."""
_READ: Final = 2**20
"""Bytes of a large frame that are read at once."""
_HEAD: Final = 4
_LENGTH: Final = struct.Struct(">I").unpack_from
_JOINED: Final = 32 * 1024
"""Frames up to this are joined before they are written: a copy is cheaper than a system call."""
_PIECE: Final = 512 * 1024
"""Of a large frame, so much is written at once: what the kernel does not take is copied by asyncio. Smaller pieces cost
more turns of the event loop: 128 KiB took up to 1.4 of the time over loopback."""
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 40_000}
"""A peer that is gone is missed after 40 seconds (the last in milliseconds)."""


class FrameLink(Greeting, asyncio.BufferedProtocol):
    """One connection over a stream; a `Link` as soon as its handshake is over.

    Args:
        station: The host.
        expected: Whom this side has dialed; None when it was dialed.
        dialed: At which address.
        verify: Says, of a connection that stands, who it is proved to be; None when nothing is proved.
    """

    def __init__(
        self,
        station: Station,
        expected: bb.PeerId | None = None,
        dialed: bytes = b"",
        verify: Callable[[asyncio.BaseTransport], bb.PeerId] | None = None,
    ) -> None:
        super().__init__(station, expected, dialed)
        self._verify = verify
        self._is_closing = False
        self._transport: asyncio.Transport | None = None
        self._chunk = bytearray(_CHUNK)
        self._view = memoryview(self._chunk)
        self._filled = 0
        self._large: memoryview | None = None
        self._large_at = 0
        self._backlog: deque[bytes | memoryview] = deque()

    # --- a Link -------------------------------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> None:
        """Write frames; the small ones in one piece, and the large ones without a copy."""
        pieces: list[bytes] = []
        for frame in frames:
            size = len(frame)
            pieces.append(size.to_bytes(_HEAD, "big"))
            if size <= _JOINED:
                pieces.append(frame)
                continue
            self._write(b"".join(pieces))
            pieces.clear()
            view = memoryview(frame)
            for at in range(0, size, _PIECE):
                self._write(view[at : at + _PIECE])
        if pieces:
            self._write(b"".join(pieces))

    def _write(self, piece: bytes | memoryview) -> None:
        """Write, or keep what the transport would only copy: it takes no more now."""
        if self.is_free and self._transport is not None:
            self._transport.write(piece)
        else:
            self._backlog.append(piece)

    def close(self) -> None:
        """End the connection when all is written."""
        self._is_closing = True
        if self._transport is not None and not self._backlog:
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands: say who we are, without waiting for the other."""
        self._transport = transport = cast("asyncio.Transport", transport)  # a stream; of TLS, only its shape is one
        transport.set_write_buffer_limits(high=1, low=0)
        watch(transport.get_extra_info("socket"))
        hello = self._begin(place(transport))
        try:
            self._verified = self._verify(transport) if self._verify is not None else None
        except BBError as error:
            self._fail(error)
            transport.abort()
            return
        self.send([hello])
        if self._filled:
            self._split()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes go."""
        if self._large is not None:
            return self._large[self._large_at : self._large_at + _READ]
        return self._view[self._filled :] if self._filled else self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Take in bytes that have come."""
        large = self._large
        if large is None:
            self._filled += nbytes
            if self._transport is not None:  # TLS may bring bytes before it tells that it stands
                self._split()
            return
        self._large_at += nbytes
        if self._large_at == len(large):
            self._large = None
            self._station.received(self, [large])

    def pause_writing(self) -> None:
        """The kernel does not take all."""
        self.is_free = False

    def resume_writing(self) -> None:
        """It has now."""
        self.is_free = True
        while self._backlog and self.is_free and self._transport is not None:
            self._transport.write(self._backlog.popleft())
        if self._is_closing:
            self.close()
        if self._is_open and self.is_free:
            self._station.drained(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the host."""
        self._lost("" if exc is None else str(exc), has_stood=self._transport is not None)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _split(self) -> None:
        """Give the whole frames of the chunk to the host, and move what is left to its beginning."""
        view, at, filled = self._view, 0, self._filled
        frames: list[memoryview | bytes] = []
        while filled - at >= _HEAD:
            (size,) = _LENGTH(view, at)
            if size > self._most:
                self._refuse(size)
                break
            start = at + _HEAD
            end = start + size
            if end > filled:
                if size > _CHUNK - _HEAD:
                    self._begin_large(size, start)
                    at = filled
                break
            at = end
            if self._is_open:
                frames.append(bytes(view[start:end]))
            elif not self._greet(bytes(view[start:end])) or self._transport is None or self._transport.is_closing():
                break
        self._keep_from(at)
        if frames:
            self._station.received(self, frames)

    def _keep_from(self, at: int) -> None:
        """Move what is left of the chunk to its beginning; make it larger when small frames have filled it."""
        chunk, left = self._chunk, self._filled - at
        if self._filled == _CHUNK == len(chunk) and self._large is None:
            self._chunk = bytearray(_GROWN)
            self._chunk[:left] = chunk[at:]
            self._view = memoryview(self._chunk)
        elif left and at:
            chunk[:left] = chunk[at : self._filled]
        self._filled = left

    def _begin_large(self, size: int, start: int) -> None:
        """Give a large frame memory of its own, which the event loop fills from now on."""
        large = take(size)
        have = self._filled - start
        large[:have] = self._view[start : self._filled]
        self._large, self._large_at = large, have

    def _refuse(self, size: int) -> None:
        """A frame is too large: what follows cannot be read either."""
        if self._is_open:
            self._error = CapExceeded(
                f"{self.peer} announced a frame of {size} bytes", expected=f"at most {self._most}"
            )
        else:
            self._fail(
                HandshakeRefused(f"a connection began with {bytes(self._chunk[:16])!r}", expected="that of a Node")
            )
        self.abort()


def place(transport: asyncio.BaseTransport) -> str:
    """Say where the other end of a connection is."""
    name = transport.get_extra_info("peername")
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else str(name)


def watch(connection: Any) -> None:
    """Let the kernel find out when the other end is gone without a word: silence is asked about, and ends writes."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
