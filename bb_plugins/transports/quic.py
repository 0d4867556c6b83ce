"""QUIC: TLS 1.3 over UDP, without a wait for lost packets of others. Needs the extra `[quic]`.

`/udp/N/quic-v1` proves both sides, as TLS over TCP does: by the federation's own authority, and the peer id in the
certificate. One stream in both directions carries frames, each with four bytes of its length before it.

Theory of operation. aioquic does not ask a client for its certificate unless it is told to by a name that it keeps for
itself, and cannot check one that names no host. So this side asks by that name, and checks the chain by itself when the
handshake is over: signed by the authority, good now, of the peer that it names. That the other holds the key has TLS
proved by then. Were the name to change, no certificate would come, and everybody would be refused.

Source: RFC 9000, RFC 9001.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import bb_core as bb
from bb_core.errors import (
    AddressError,
    BBError,
    CapExceeded,
    ConfigError,
    HandshakeRefused,
    IdentityRefused,
    MissingExtra,
)
from bb_plugins.transports.greeting import Greeting, greeted
from bb_plugins.transports.interface import Credentials, Listener, Station
from bb_plugins.transports.tcp import bound
from bb_plugins.transports.tls import peer_in

try:
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.asyncio.server import QuicServer
    from aioquic.quic import events
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection
    from cryptography import x509
except ImportError as error:
    raise MissingExtra("QUIC needs the package aioquic", hint='pip install "bytesandbrains[quic]"') from error

if TYPE_CHECKING:
    from ssl import VerifyMode

DIAL_SECONDS: Final = 10.0
_ALPN: Final = "bb1"
_STREAM: Final = 0
"""The first stream that a client opens in both directions (RFC 9000, section 2.1)."""
_HEAD: Final = 4
_IDLE_SECONDS: Final = 40.0
"""A peer that is gone is missed after this time; a ping is sent in a third of it."""
_WINDOW: Final = 16 * 2**20
"""Bytes that may be under way to this side."""
_REFUSED: Final = 0x62  # of our own protocol; nobody reads it
_FAMILIES: Final = {"ip4": socket.AF_INET, "dns4": socket.AF_INET, "ip6": socket.AF_INET6, "dns6": socket.AF_INET6}


class QuicTransport:
    """Listens and dials at `/ip4|ip6|dns|dns4|dns6/.../udp/N/quic-v1`."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        if credentials is None:
            raise ConfigError(
                "QUIC needs a certificate, its key, and the authority's certificate",
                hint="bb certs init, then bb certs issue NAME",
            )
        self._authority = _authority(credentials)
        self._server, self._client = _configuration(credentials, False), _configuration(credentials, True)

    async def listen(self, address: bb.Address, station: Station) -> Listener:
        """Take connections."""
        (host, port), family = _place(address)
        opened, *others = await bound(host, port, family, socket.SOCK_DGRAM)
        for other in others:  # one socket is enough: a name that has several places is for callers
            other.close()

        def make(connection: QuicConnection, stream_handler: Any = None) -> QuicLink:
            _ask_for_a_certificate(connection)
            return QuicLink(connection, station, self._authority)

        _, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: QuicServer(configuration=self._server, create_protocol=make), sock=opened
        )
        return _QuicListener(server, address)

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> QuicLink:
        """Connect, prove and ask for proof, and shake hands."""
        place, family = await _resolved(address)
        connection = QuicConnection(configuration=self._client)
        _, link = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: QuicLink(connection, station, self._authority, expected, address.to_bytes()),
            family=family,
            local_addr=("0.0.0.0" if family == socket.AF_INET else "::", 0),
        )
        link.connect(place)
        async with asyncio.timeout(DIAL_SECONDS):
            await greeted(link)
        return link


class _QuicListener:
    """A socket at which connections come in; those that stand go on with it, so that it is closed after the last."""

    def __init__(self, server: Any, asked: bb.Address) -> None:
        self._server = server
        port = server._transport.get_extra_info("sockname")[1]
        segments: list[Any] = [s._replace(value=port) if s.code == _UDP else s for s in asked.segments]
        self.address = bb.Address(tuple(segments))

    async def close(self) -> None:
        """Let nobody new in."""
        links = set(self._server._protocols.values())
        self._server._create_protocol = _nobody
        for link in links:
            if not link.is_open:
                link.abort()
        waiting = {asyncio.ensure_future(link.wait_closed()) for link in links}
        if waiting:
            closing = asyncio.get_running_loop().create_task(_close_after(self._server, waiting))
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)
        else:
            self._server.close()


_closing: Final[set[asyncio.Task[None]]] = set()


async def _close_after(server: Any, waiting: set[Any]) -> None:
    await asyncio.wait(waiting)
    server.close()


def _nobody(connection: QuicConnection, stream_handler: Any = None) -> QuicConnectionProtocol:
    """Stand in for a link to somebody who comes when the door is closed."""
    protocol = QuicConnectionProtocol(connection)
    asyncio.get_running_loop().call_soon(protocol.close, _REFUSED)
    return protocol


class QuicLink(Greeting, QuicConnectionProtocol):
    """One connection; a `Link` as soon as its handshake is over."""

    def __init__(
        self,
        connection: QuicConnection,
        station: Station,
        authority: x509.Certificate,
        expected: bb.PeerId | None = None,
        dialed: bytes = b"",
    ) -> None:
        QuicConnectionProtocol.__init__(self, connection)
        Greeting.__init__(self, station, expected, dialed)
        self._authority = authority
        self._is_ending = False
        self._backlog: deque[bytes] = deque()
        self._received = bytearray()
        self._has_stood = False
        self._keeping: asyncio.TimerHandle | None = None

    # --- a Link -------------------------------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames, each behind its length."""
        for frame in frames:
            self._backlog.append(len(frame).to_bytes(_HEAD, "big") + bytes(frame))
        self._push()
        self.is_free = not self._backlog and self._sender_is_empty

    @property
    def is_open(self) -> bool:
        """Whether its handshake is over, and it has not ended."""
        return self._is_open

    def _push(self) -> None:
        """Give the connection one frame after another, each when it has sent the last."""
        while self._backlog and self._sender_is_empty:
            self._quic.send_stream_data(_STREAM, self._backlog.popleft())
            self.transmit()

    @property
    def _sender_is_empty(self) -> bool:
        stream = self._quic._streams.get(_STREAM)
        return stream is None or bool(stream.sender.buffer_is_empty)

    def close(self, error_code: int = 0, reason_phrase: str = "") -> None:
        """End the connection when all is sent."""
        self._is_ending = True
        if self._backlog or not self._sender_is_empty:
            return
        QuicConnectionProtocol.close(self, error_code, reason_phrase)

    def abort(self) -> None:
        """End it at once."""
        self._backlog.clear()
        QuicConnectionProtocol.close(self, _REFUSED)
        if self._expected is not None:  # the socket is this connection's own: nobody waits for the other's goodbye
            self._end("")

    # --- what aioquic calls -------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Take in a datagram, then go on with what waits for room."""
        super().datagram_received(data, addr)
        self._go_on()

    def _handle_timer(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        super()._handle_timer()
        self._go_on()

    def _go_on(self) -> None:
        if self.is_free or not self._is_open:
            return
        self._push()
        if not self._backlog and self._sender_is_empty:
            self.is_free = True
            if self._is_ending:
                self.close()
            self._station.drained(self)

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """Do what an event asks for."""
        if isinstance(event, events.HandshakeCompleted):
            self._stands()
        elif isinstance(event, events.StreamDataReceived) and event.stream_id == _STREAM:
            self._received += event.data
            self._split()
        elif isinstance(event, events.ConnectionTerminated):
            self._ended(event)

    def _stands(self) -> None:
        self._has_stood = True
        hello = self._begin("{} port {}".format(*self._quic._network_paths[0].addr[:2]))
        try:
            self._verified = _proved(self._quic, self._authority)
        except BBError as error:
            self._fail(error)
            self.abort()
            return
        self._keep_alive()
        if self._expected is not None:
            self.send([hello])
        else:
            self._reply = hello

    def _split(self) -> None:
        """Give whole frames to the host."""
        data, at, frames = self._received, 0, []
        while len(data) - at >= _HEAD:
            size = int.from_bytes(data[at : at + _HEAD], "big")
            if size > self._most:
                self._refuse(size)
                return
            end = at + _HEAD + size
            if end > len(data):
                break
            frame = bytes(memoryview(data)[at + _HEAD : end])
            at = end
            if self._is_open:
                frames.append(frame)
            elif not self._answer(frame):
                return
        del data[:at]
        if frames:
            self._station.received(self, frames)

    def _answer(self, raw: bytes) -> bool:
        """Take in the other's handshake; a side that was called speaks after it."""
        if self._verified is None:
            return False
        if self._expected is None:
            self.send([self._reply])
        return self._greet(raw)

    def _refuse(self, size: int) -> None:
        if self._is_open:
            self._error = CapExceeded(
                f"{self.peer} announced a frame of {size} bytes", expected=f"at most {self._most}"
            )
        else:
            self._fail(HandshakeRefused("a connection began with no handshake", expected="that of a Node"))
        self.abort()

    def _ended(self, event: events.ConnectionTerminated) -> None:
        if not self._has_stood:
            self._fail(_why(event))
        self._end(event.reason_phrase)

    def _end(self, reason: str) -> None:
        for timer in (self._keeping, self._timer):
            if timer is not None:
                timer.cancel()
        self._lost(reason)
        if self._expected is not None and self._transport is not None:
            self._transport.close()

    def _keep_alive(self) -> None:
        """Ask from time to time whether the other is there, so that silence ends the connection."""
        self._keeping = asyncio.get_running_loop().call_later(_IDLE_SECONDS / 3, self._keep_alive)
        if self._has_stood and self._is_open:
            self._quic.send_ping(0)
            self.transmit()


def _why(event: events.ConnectionTerminated) -> HandshakeRefused:
    return HandshakeRefused(f"a connection could not be secured: {event.reason_phrase or hex(event.error_code)}")


def _configuration(credentials: Credentials, is_client: bool) -> QuicConfiguration:
    made = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[_ALPN],
        idle_timeout=_IDLE_SECONDS,
        verify_mode=_NOT_BY_HOST,
        max_data=_WINDOW,
        max_stream_data=_WINDOW,
    )
    try:
        made.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate or its key cannot be read: {error}",
            where=f"{credentials.certificate}, {credentials.key}",
        ) from error
    return made


_NOT_BY_HOST: Final[VerifyMode] = ssl.CERT_NONE
"""aioquic looks for the name of a host, which our certificates do not have; `_proved` checks them instead."""


def _authority(credentials: Credentials) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(credentials.authority.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"the authority cannot be read: {error}", where=str(credentials.authority)) from error


def _ask_for_a_certificate(connection: QuicConnection) -> None:
    """Let a server ask its client who it is: its TLS is made with the first packet."""
    before: Callable[..., None] = connection._initialize

    def initialize(*arguments: Any, **named: Any) -> None:
        before(*arguments, **named)
        connection.tls._request_client_certificate = True

    connection._initialize = initialize  # type: ignore[method-assign]  # see above


def _proved(connection: QuicConnection, authority: x509.Certificate) -> bb.PeerId:
    """Return who the other end of a connection is proved to be.

    Raises:
        IdentityRefused: it has shown no certificate, one of another authority, one that is not good now, or one that
            names no peer or another than its key's.
    """
    shown: x509.Certificate | None = connection.tls._peer_certificate
    if shown is None:
        raise IdentityRefused("a peer has shown no certificate")
    now = dt.datetime.now(dt.UTC)
    try:
        shown.verify_directly_issued_by(authority)
    except Exception as error:  # of several kinds, and all say the same
        raise IdentityRefused(
            "a peer's certificate is refused: its issuer is not this federation's authority"
        ) from error
    for certificate in (authority, shown):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise IdentityRefused("a peer's certificate is refused: it has expired, or is not good yet")
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise IdentityRefused("a certificate of the authority names no peer") from None
    from cryptography.hazmat.primitives.serialization import Encoding

    return peer_in(names.get_values_for_type(x509.UniformResourceIdentifier), shown.public_bytes(Encoding.DER))


def _place(address: bb.Address) -> tuple[tuple[str, int], int]:
    host, port = address.host, address.port
    if host is None or port is None:
        raise AddressError(f"{address} cannot be reached by QUIC", expected="such as /ip4/10.0.0.7/udp/4001/quic-v1")
    return (host, port), _FAMILIES.get(address.protocols[0], socket.AF_UNSPEC)


async def _resolved(address: bb.Address) -> tuple[Any, int]:
    (host, port), family = _place(address)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    return found[0][4], int(found[0][0])


_UDP: Final = bb.Address.parse("/udp/1").segments[0].code
