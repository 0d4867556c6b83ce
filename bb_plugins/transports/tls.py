"""TLS 1.3 over TCP, with proof on both sides: a peer is who its certificate says.

A federation has an authority of its own (`bb certs init`); no other is believed, those of the operating system neither.
A Node's certificate carries its peer id, which is that of the certificate's own key: `bb:peer:<base58>` among the
alternative names. Names of hosts play no part.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import bb_core as bb
from bb_core.errors import AddressError, BBError, ConfigError, HandshakeRefused, IdentityRefused
from bb_plugins.transports.frames import FrameLink
from bb_plugins.transports.greeting import HANDSHAKE_SECONDS, greeted
from bb_plugins.transports.interface import Credentials, Listener, Station
from bb_plugins.transports.tcp import DIAL_SECONDS, bound, place_of, with_port

_log = logging.getLogger(__name__)

PEER_URI: Final = "bb:peer:"
_GREETED_AT_ONCE: Final = 256
"""Handshakes that may be open: each costs memory and the time of the CPU."""
_PAUSE_SECONDS: Final = 1.0
_ED25519_KEY: Final = bytes.fromhex("302a300506032b6570032100")
"""Before the 32 bytes of the key, in a certificate. Source: RFC 8410, section 10.1."""


class TlsTransport:
    """Listens and dials at `/ip4|ip6|dns|dns4|dns6/.../tcp/N/tls`."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._server = server_context(credentials)
        self._client = client_context(credentials)

    async def listen(self, address: bb.Address, station: Station) -> Listener:
        """Take connections."""
        return await listen_with_tls(address, self._server, station, lambda: FrameLink(station, verify=peer_of))

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> FrameLink:
        """Connect, prove and ask for proof, and shake hands."""
        host, port, family = place_of(address)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                _, link = await asyncio.get_running_loop().create_connection(
                    lambda: FrameLink(station, expected, address.to_bytes(), peer_of),
                    host,
                    port,
                    family=family,
                    ssl=self._client,
                    server_hostname="",
                )
        except ssl.SSLError as error:
            refused = refusal(error)
            station.refused(str(address), refused)
            raise refused from error
        await greeted(link)
        return link


async def listen_with_tls(
    address: bb.Address, context: ssl.SSLContext, station: Station, make: Callable[[], Any]
) -> TlsListener:
    """Take connections, secure them, and make a link for each."""
    host, port, family = place_of(address)
    sockets = await bound(host, port, family)
    return TlsListener(sockets, with_port(address, sockets[0].getsockname()[1]), context, station, make)


class TlsListener:
    """Listening sockets, and the handshakes of those who have come in.

    It accepts by itself: a server of asyncio does not tell why a handshake has failed.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        address: bb.Address,
        context: ssl.SSLContext,
        station: Station,
        make: Callable[[], Any],
    ) -> None:
        self.address = address
        self._sockets = sockets
        self._context = context
        self._station = station
        self._make = make
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(each), name=f"accept at {address}") for each in sockets]
        self._greeting: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close the sockets."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for each in self._sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, name = await loop.sock_accept(listening)
            except OSError as error:  # too many open files, or a caller that has gone again
                _log.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._greeting) >= _GREETED_AT_ONCE:
                connection.close()
                self._station.refused(f"{name[0]} port {name[1]}", HandshakeRefused("too many handshakes at once"))
                continue
            task = loop.create_task(self._greet(connection, f"{name[0]} port {name[1]}"))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    async def _greet(self, connection: socket.socket, seen_at: str) -> None:
        link = self._make()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: link,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (ssl.SSLError, OSError) as error:
            link.ready.cancel()
            self._station.refused(seen_at, refusal(error))


def server_context(credentials: Credentials | None) -> ssl.SSLContext:
    """Return what a Node that is called asks and shows.

    Raises:
        ConfigError: there are no credentials, or a file cannot be read.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.num_tickets = 0  # every connection proves its identity anew
    return context


def client_context(credentials: Credentials | None) -> ssl.SSLContext:
    """Return what a Node that calls asks and shows.

    Raises:
        ConfigError: there are no credentials, or a file cannot be read.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials)


def _context(purpose: int, credentials: Credentials | None) -> ssl.SSLContext:
    if credentials is None:
        raise ConfigError(
            "TLS needs a certificate, its key, and the authority's certificate",
            hint="bb certs init, then bb certs issue NAME",
        )
    context = ssl.SSLContext(purpose)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the peer id is the name
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=credentials.authority)
        context.load_cert_chain(credentials.certificate, credentials.key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"the certificate, its key or the authority cannot be read: {error}",
            where=f"{credentials.certificate}, {credentials.key}, {credentials.authority}",
        ) from error
    return context


def refusal(error: Exception) -> HandshakeRefused:
    """Say why TLS did not come to stand."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return IdentityRefused(f"a peer's certificate is refused: {error.verify_message}")
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return IdentityRefused("a peer has shown no certificate")
    return HandshakeRefused(f"a connection could not be secured: {error}")


def peer_of(transport: asyncio.BaseTransport) -> bb.PeerId:
    """Return who a connection's other end is proved to be.

    Raises:
        IdentityRefused: its certificate names no peer, or one that is not of its key.
    """
    secured = transport.get_extra_info("ssl_object")
    names = secured.getpeercert().get("subjectAltName", ())
    return peer_in([value for kind, value in names if kind == "URI"], secured.getpeercert(binary_form=True))


def peer_in(uris: list[str], certificate: bytes) -> bb.PeerId:
    """Return the peer that a certificate names.

    Args:
        uris: Among its alternative names.
        certificate: In DER form.

    Raises:
        IdentityRefused: it names none, or another than its key's.
    """
    found = [uri.removeprefix(PEER_URI) for uri in uris if uri.startswith(PEER_URI)]
    try:
        (peer,) = map(bb.PeerId.parse, found)
    except (AddressError, ValueError) as error:
        raise IdentityRefused(
            f"a certificate of the authority names {len(found)} peers", expected=f"one, as {PEER_URI}<peer id>"
        ) from error
    if peer != key_of(certificate):
        raise IdentityRefused(f"a certificate names the peer {peer}, and is of another key")
    return peer


def key_of(certificate: bytes) -> bb.PeerId:
    """Return the peer id of a certificate's key.

    Args:
        certificate: In DER form.

    Raises:
        IdentityRefused: its key is not Ed25519.
    """
    _, found, rest = certificate.partition(_ED25519_KEY)
    if not found or len(rest) < 32:
        raise IdentityRefused("a certificate's key is of another kind", expected="Ed25519")
    return bb.PeerId.from_ed25519(rest[:32])


def own_peer(credentials: Credentials) -> bb.PeerId:
    """Return who the holder of credentials is.

    Raises:
        ConfigError: the file is no certificate of a peer.
    """
    try:
        pem = credentials.certificate.read_text(encoding="ascii")
        return key_of(ssl.PEM_cert_to_DER_cert(pem))
    except (OSError, ValueError, BBError) as error:
        raise ConfigError(f"{credentials.certificate} is no certificate of a Node: {error}") from error
