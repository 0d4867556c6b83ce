"""What an asyncio host and a transport promise each other.

A transport makes *links*: two-way pipes for whole frames, each with a handshake that says who is at the other end. It
is registered by the hook `bb_register_transports` for the protocols of its addresses, and is made with the host's
`Credentials`. All calls are made in the thread of one event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import bb_core as bb
from bb_core.errors import BBError


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files that prove who a Node is, and the authority that it believes."""

    certificate: Path
    key: Path
    authority: Path


class Link(Protocol):
    """A connection to one peer, after its handshake.

    Attributes:
        peer: Who is at the other end, as far as the transport can know.
        dialed: The address at which this side has reached it; empty on the side that was reached.
        seen_at: For people: where the other end is.
        is_free: Whether all frames have left this process, so that `send` is welcome.
    """

    peer: bb.PeerId
    dialed: bytes
    seen_at: str
    is_free: bool

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames, in order. When `is_free` is then false, wait for `Station.drained`."""

    def close(self) -> None:
        """Send what was given, then end the connection."""

    def abort(self) -> None:
        """End it at once."""


class Station(Protocol):
    """The host's side of all links.

    Attributes:
        hello: What this side says of itself in the handshake.
        max_frame: Bytes of the largest frame that is taken.
    """

    hello: Hello
    max_frame: int

    def opened(self, link: Link) -> None:
        """A handshake is over."""

    def received(self, link: Link, frames: Sequence[memoryview | bytes]) -> None:
        """Frames have come, in this order; nobody changes their memory afterwards."""

    def drained(self, link: Link) -> None:
        """The link is free again."""

    def closed(self, link: Link, error: BBError | None) -> None:
        """A link that was opened is gone; the error says what the peer did wrong."""

    def refused(self, seen_at: str, error: BBError) -> None:
        """A connection was closed before its handshake was over."""


class Listener(Protocol):
    """An open door."""

    address: bb.Address

    async def close(self) -> None:
        """Close the door; links stay."""


class Transport(Protocol):
    """Makes links. Its class is called with `Credentials`, or with None when the host has none."""

    async def listen(self, address: bb.Address, station: Station) -> Listener:
        """Take connections at an address. Port 0 is any free one; `Listener.address` has the real one."""

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> Link:
        """Connect, shake hands and return the link, of which the station has been told.

        Raises:
            OSError, TimeoutError: nobody is there.
            HandshakeRefused: somebody else is there.
        """


@dataclass(frozen=True, slots=True)
class Hello:
    """What each side says first.

    Attributes:
        peer: Who it is.
        digest: Of its artefact, as hexadecimal text.
    """

    peer: bb.PeerId
    digest: str
