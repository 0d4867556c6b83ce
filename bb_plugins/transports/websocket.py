"""WebSocket, for networks that let only HTTP through: each frame is a binary message. Needs the extra `[websocket]`.

`/tcp/N/ws` is without protection, as TCP is; `/tcp/N/tls/ws` proves both sides by the same certificates as TLS does.
The protocol is that of the package `websockets`, without its input and output: bytes in, events and bytes out. Messages
are not compressed, for parameters hardly can be.

Source: RFC 6455.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import bb_core as bb
from bb_core.errors import BBError, CapExceeded, HandshakeRefused, MissingExtra
from bb_plugins.transports.frames import place, watch
from bb_plugins.transports.greeting import Greeting, greeted
from bb_plugins.transports.interface import Credentials, Listener, Station
from bb_plugins.transports.tcp import BACKLOG, DIAL_SECONDS, TcpListener, place_of
from bb_plugins.transports.tls import TlsListener, client_context, listen_with_tls, peer_of, refusal, server_context

PATH: Final = "/bb"
"""Where a proxy in front of a Node finds it."""
_SUBPROTOCOL: Final = "bb1"


class WebSocketTransport:
    """Listens and dials at `/ip4|ip6|dns|dns4|dns6/.../tcp/N/ws`: a peer is who it claims to be."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        """Keep nothing: there is no proof here.

        Raises:
            MissingExtra: `websockets` is not installed.
        """
        _websockets()

    async def listen(self, address: bb.Address, station: Station) -> Listener:
        """Take connections."""
        host, port, family = place_of(address)
        server = await asyncio.get_running_loop().create_server(
            lambda: WebSocketLink(station), host, port, family=family, backlog=BACKLOG
        )
        return TcpListener(server, address)

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> WebSocketLink:
        """Connect and shake hands."""
        return await _dial(address, station, expected, None)


class SecureWebSocketTransport:
    """Listens and dials at `/ip4|ip6|dns|dns4|dns6/.../tcp/N/tls/ws`: a peer is who its certificate says."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        _websockets()
        self._server, self._client = server_context(credentials), client_context(credentials)

    async def listen(self, address: bb.Address, station: Station) -> TlsListener:
        """Take connections."""
        return await listen_with_tls(address, self._server, station, lambda: WebSocketLink(station, verify=peer_of))

    async def dial(self, address: bb.Address, station: Station, expected: bb.PeerId) -> WebSocketLink:
        """Connect, prove and ask for proof, and shake hands."""
        try:
            return await _dial(address, station, expected, self._client)
        except ssl.SSLError as error:
            refused = refusal(error)
            station.refused(str(address), refused)
            raise refused from error


async def _dial(
    address: bb.Address, station: Station, expected: bb.PeerId, context: ssl.SSLContext | None
) -> WebSocketLink:
    host, port, family = place_of(address)
    name = f"[{host}]" if ":" in host else host
    uri = f"{'ws' if context is None else 'wss'}://{name}:{port}{PATH}"
    verify = None if context is None else peer_of
    async with asyncio.timeout(DIAL_SECONDS):
        _, link = await asyncio.get_running_loop().create_connection(
            lambda: WebSocketLink(station, expected, address.to_bytes(), verify, uri),
            host,
            port,
            family=family,
            ssl=context,
            server_hostname=None if context is None else "",
        )
    await greeted(link)
    return link


class WebSocketLink(Greeting, asyncio.Protocol):
    """One connection; a `Link` as soon as its handshake is over.

    Args:
        station: The host.
        expected: Whom this side has dialed; None when it was dialed.
        dialed: At which address.
        verify: Says, of a connection that stands, who it is proved to be; None when nothing is proved.
        uri: What this side has dialed; empty when it was dialed.
    """

    def __init__(
        self,
        station: Station,
        expected: bb.PeerId | None = None,
        dialed: bytes = b"",
        verify: Callable[[asyncio.BaseTransport], bb.PeerId] | None = None,
        uri: str = "",
    ) -> None:
        super().__init__(station, expected, dialed)
        self._verify = verify
        self._uri = uri
        self._transport: asyncio.Transport | None = None
        self._is_closing = False
        self._hello = b""
        self._backlog: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._ws: Any = _client(uri, station.max_frame) if uri else _server(station.max_frame)

    # --- a Link -------------------------------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> None:
        """Send each frame as a message."""
        for frame in frames:
            if self.is_free:
                self._write(frame)
            else:
                self._backlog.append(frame)

    def _write(self, frame: bytes) -> None:
        """Write a message; when the other side has said goodbye, it is lost, as on a connection that breaks."""
        if self._ws.state.name == "OPEN":
            self._ws.send_binary(frame)
            self._flush()

    def close(self) -> None:
        """End the connection when all is written."""
        self._is_closing = True
        if self._transport is not None and not self._backlog and not self._transport.is_closing():
            if self._ws.state.name == "OPEN":
                self._ws.send_close(1000)
                self._flush()
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket, or wait to be asked."""
        self._transport = transport = cast("asyncio.Transport", transport)  # a stream; of TLS, only its shape is one
        transport.set_write_buffer_limits(high=1, low=0)
        watch(transport.get_extra_info("socket"))
        self._hello = self._begin(place(transport))
        try:
            self._verified = self._verify(transport) if self._verify is not None else None
        except BBError as error:
            self._fail(error)
            transport.abort()
            return
        if self._uri:
            self._ws.send_request(self._ws.connect())
            self._flush()

    def data_received(self, data: bytes) -> None:
        """Take in bytes that have come."""
        self._ws.receive_data(data)
        self._take_events()

    def eof_received(self) -> None:
        """The other side writes no more."""
        self._ws.receive_eof()
        self._take_events()

    def pause_writing(self) -> None:
        """The kernel does not take all."""
        self.is_free = False

    def resume_writing(self) -> None:
        """It has now."""
        self.is_free = True
        while self._backlog and self.is_free:
            self._write(self._backlog.popleft())
        if self._is_closing:
            self.close()
        if self._is_open and self.is_free:
            self._station.drained(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the host."""
        self._lost("" if exc is None else str(exc), has_stood=self._transport is not None)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take_events(self) -> None:
        frames: list[memoryview | bytes] = []
        for event in self._ws.events_received():
            if self._transport is None or self._transport.is_closing():
                break
            kind = type(event).__name__
            if kind == "Request":
                self._accept(event)
            elif kind == "Response":
                self._accepted()
            else:
                self._take_frame(event, frames)
        self._flush()
        self._look_for_errors()
        if frames and self._is_open:
            self._station.received(self, frames)

    def _accept(self, request: Any) -> None:
        response = self._ws.accept(request)
        self._ws.send_response(response)
        self._flush()
        if response.status_code != _SWITCHING:
            self._refuse(f"a connection asked for {request.path!r} and got {response.status_code}")
        elif request.path != PATH:
            self._refuse(f"a connection asked for {request.path!r}")
        else:
            self.send([self._hello])

    def _accepted(self) -> None:
        if self._ws.handshake_exc is None:
            self.send([self._hello])

    def _take_frame(self, frame: Any, frames: list[memoryview | bytes]) -> None:
        """Put a message together: ours are whole, but a proxy may cut them."""
        if frame.opcode not in _DATA:
            return
        self._parts.append(frame.data)
        self._parts_size += len(frame.data)
        if not frame.fin or self._parts_size > max(self._most, 0):
            if self._parts_size > self._most:
                self._refuse_size(self._parts_size)
            return
        message = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._parts_size = [], 0
        if self._is_open:
            frames.append(bytes(message))
        else:
            self._greet(bytes(message))

    def _look_for_errors(self) -> None:
        """The protocol has failed: the other end talks something else, or announces too much."""
        failed = self._ws.handshake_exc or self._ws.parser_exc
        if failed is None or self._transport is None or self._transport.is_closing():
            return
        if type(failed).__name__ == "PayloadTooBig":
            self._refuse_size(None)
        elif self._is_open:
            if not isinstance(failed, EOFError):
                self._error = HandshakeRefused(f"{self.peer} talks no WebSocket: {failed}")
            self.abort()
        else:
            self._refuse(f"a connection is no WebSocket: {failed}")

    def _refuse_size(self, size: int | None) -> None:
        told = "more than is taken" if size is None else f"{size} bytes"
        if self._is_open:
            self._error = CapExceeded(f"{self.peer} sent a message of {told}", expected=f"at most {self._most}")
            self.abort()
        else:
            self._refuse(f"a connection began with a message of {told}")

    def _refuse(self, text: str) -> None:
        self._fail(HandshakeRefused(text, expected="a WebSocket of a Node"))
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        transport = self._transport
        for data in self._ws.data_to_send():
            if transport is not None and not transport.is_closing():
                if data:
                    transport.write(data)
                elif transport.can_write_eof():
                    transport.write_eof()


_SWITCHING: Final = 101
_DATA: Final = frozenset((0, 2))
"""Continuation and binary."""


def _server(max_frame: int) -> Any:
    from websockets.server import ServerProtocol
    from websockets.typing import Subprotocol

    return ServerProtocol(subprotocols=[Subprotocol(_SUBPROTOCOL)], max_size=max_frame)


def _client(uri: str, max_frame: int) -> Any:
    from websockets.client import ClientProtocol
    from websockets.typing import Subprotocol
    from websockets.uri import parse_uri

    return ClientProtocol(parse_uri(uri), subprotocols=[Subprotocol(_SUBPROTOCOL)], max_size=max_frame)


def _websockets() -> None:
    try:
        import websockets.server  # noqa: F401  # whether it is there
    except ImportError as error:
        raise MissingExtra(
            "WebSocket needs the package websockets", hint='pip install "bytesandbrains[websocket]"'
        ) from error
