"""TCP without protection, for tests and closed networks: a peer is who it claims to be.

Nothing is encrypted, and nobody proves anything: whoever reaches the port can take any peer's name. Use TLS wherever
that would matter.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final

import bb_core as bb
from bb_core.errors import AddressError
from bb_plugins.transports.frames import FrameLink
from bb_plugins.transports.greeting import greeted
from bb_plugins.transports.interface import Credentials, Listener, Station

DIAL_SECONDS: Final = 10.0
BACKLOG: Final = 512
_FAMILIES: Final = {"ip4": socket.AF_INET, "dns4": socket.AF_INET, "ip6": socket.AF_INET6, "dns6": socket.AF_INET6}


class TcpTransport:
    """Listens and dials at `/ip4|ip6|dns|dns4|dns6/.../tcp/N`."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        """Keep nothing: there is no proof here."""

    async def listen(self, address: bb.Address, station: Station) -> Listener:
        """Take connections."""
        host, port, family = place_of(address)
        server = await asyncio.get_running_loop().create_server(
            lambda: FrameLink(station), host, port, family=family, backlog=BACKLOG
        )
        return TcpListener(server, address)

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> FrameLink:
        """Connect and shake hands."""
        host, port, family = place_of(address)
        async with asyncio.timeout(DIAL_SECONDS):
            _, link = await asyncio.get_running_loop().create_connection(
                lambda: FrameLink(station, expected, address.to_bytes()), host, port, family=family
            )
        await greeted(link)
        return link


class TcpListener:
    """A listening socket."""

    def __init__(self, server: asyncio.Server, asked: bb.Address) -> None:
        self._server = server
        self.address = with_port(asked, server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the socket."""
        self._server.close()
        with suppress(TimeoutError):  # since Python 3.12 it also waits for the links, which live on
            async with asyncio.timeout(0):
                await self._server.wait_closed()


async def bound(host: str, port: int, family: int, kind: int = socket.SOCK_STREAM) -> list[socket.socket]:
    """Open sockets at all addresses of a host, at one port; streams listen already.

    Raises:
        OSError: it cannot be listened there.
    """
    loop, found = asyncio.get_running_loop(), []
    places = await loop.getaddrinfo(host, port, family=family, type=kind, flags=socket.AI_PASSIVE)
    try:
        for at_family, at_kind, protocol, _, place in dict.fromkeys(places):
            found.append(made := socket.socket(at_family, at_kind, protocol))
            made.setblocking(False)
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if at_family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((place[0], found[0].getsockname()[1], *place[2:]) if len(found) > 1 else place)
            if kind == socket.SOCK_STREAM:
                made.listen(BACKLOG)
    except BaseException:
        for made in found:
            made.close()
        raise
    return found


def place_of(address: bb.Address) -> tuple[str, int, int]:
    """Return the host, the port and the socket family of an address.

    Raises:
        AddressError: it names no host or no port.
    """
    host, port = address.host, address.port
    if host is None or port is None:
        raise AddressError(f"{address} cannot be reached by TCP", expected="such as /ip4/10.0.0.7/tcp/4001")
    return host, port, _FAMILIES.get(address.protocols[0], socket.AF_UNSPEC)


def with_port(address: bb.Address, port: int) -> bb.Address:
    """Return an address with the port that the system has chosen."""
    segments: list[Any] = [s._replace(value=port) if s.code == _TCP else s for s in address.segments]
    return bb.Address(tuple(segments))


_TCP: Final = bb.Address.parse("/tcp/1").segments[0].code
