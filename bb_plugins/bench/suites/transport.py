"""Envelopes between two hosts of one process over loopback TCP, against what asyncio and gRPC do with the same bytes.

The peer is the least that asyncio can do: two `asyncio.Protocol`s, of which one writes back whatever it is given.
It knows no frames, has no queue, and can lose what it likes. It is measured over TCP and TLS, in asyncio's event loop
and in uvloop, where that is installed. Ours is what a host does to a SendEnvelope without its Node: the queue of a
peer, frames, the outcome. gRPC (`grpc.aio`, one stream in both directions) is the other peer, where it is installed.
All are echoes: times are for the way there and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import bb_core as bb
from bb_core.steps import SendEnvelope
from bb_plugins.bench.harness import Measure
from bb_plugins.hosts.asyncio.switchboard import LinkConfig, Switchboard
from bb_plugins.transports.certificates import credentials_in, issue, make_authority
from bb_plugins.transports.interface import Credentials, Hello
from bb_plugins.transports.tls import client_context, own_peer, server_context

_LOCAL = "127.0.0.1"
_FAR = 2**62

SIZES = [("empty Envelope, one at a time", 8, 1, 16), ("4 KiB Envelopes", 4096, 256, 1), ("1 MiB values", 2**20, 8, 1)]
"""What a row is called, bytes of a message, how many are under way at once, and how often that is done in a call."""

Echo = Callable[[bytes, int], Any]
"""Given a message and how many: a coroutine that sends so many and waits until they are back."""


class Ours:
    """Two switchboards; the second sends everything back.

    Args:
        credentials: Of both, for TLS; None: over TCP.
    """

    def __init__(self, credentials: tuple[Credentials, Credentials] | None = None) -> None:
        self._awaited = 0
        self._done: asyncio.Future[None]
        self._sent = 0
        own, other = (
            (bb.PeerId.from_int(1), bb.PeerId.from_int(2)) if credentials is None else map(own_peer, credentials)
        )
        self._peer = other
        self._suffix = "" if credentials is None else "/tls"
        near, far = credentials or (None, None)
        self._near = self._board(own, near, self._back)
        self._far = self._board(
            other, far, lambda frames: self._far.send([SendEnvelope(0, own, (), frame, _FAR) for frame in frames])
        )

    def _board(self, peer: bb.PeerId, credentials: Credentials | None, take: Callable[[Any], None]) -> Switchboard:
        return Switchboard(
            Hello(peer, "0" * 32),
            bb.WireLimits().total_bytes,
            credentials,
            None,
            LinkConfig(),
            now=lambda: 0,
            deliver=lambda frames, source, dialed: take(frames),
            outcome=self._outcome,
            changed=lambda: None,
        )

    def _outcome(self, step_id: int, ok: bool, address: bytes = b"") -> None:
        assert ok
        self._sent += 1

    def _back(self, frames: Any) -> None:
        self._awaited -= len(frames)
        if not self._awaited:
            self._done.set_result(None)

    async def start(self) -> None:
        """Connect the two."""
        address = await self._far.listen(bb.Address.parse(f"/ip4/{_LOCAL}/tcp/0{self._suffix}"))
        self._near.neighbour(self._peer).addresses = (address.to_bytes(),)
        await self.echo(b"hello", 1)

    async def echo(self, message: bytes, count: int) -> None:
        """Send messages and wait until they are back."""
        self._awaited, self._done = count, asyncio.get_running_loop().create_future()
        self._near.send([SendEnvelope(0, self._peer, (), message, _FAR) for _ in range(count)])
        await self._done

    async def stop(self) -> None:
        """Hang up."""
        await self._far.shut()
        for board in (self._near, self._far):
            board.hang_up(at_once=True)


class _Back(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class _Count(asyncio.Protocol):
    awaited = 0
    done: asyncio.Future[None]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.awaited -= len(data)
        if not self.awaited:
            self.done.set_result(None)


class Bare:
    """Two Protocols.

    Args:
        credentials: Of both, for TLS; None: over TCP.
    """

    def __init__(self, credentials: tuple[Credentials, Credentials] | None = None) -> None:
        self._server_ssl = self._client_ssl = None
        if credentials is not None:
            self._client_ssl = client_context(credentials[0])
            self._server_ssl = server_context(credentials[1])

    async def start(self) -> None:
        """Connect them."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(_Back, _LOCAL, 0, ssl=self._server_ssl)
        _, self._client = await loop.create_connection(
            _Count,
            *self._server.sockets[0].getsockname(),
            ssl=self._client_ssl,
            server_hostname=None if self._client_ssl is None else "",
        )

    async def echo(self, message: bytes, count: int) -> None:
        """Send messages and wait until as many bytes are back."""
        client = self._client
        client.awaited, client.done = len(message) * count, asyncio.get_running_loop().create_future()
        for _ in range(count):
            client.transport.write(message)
        await client.done

    async def stop(self) -> None:
        """Close them."""
        self._client.transport.abort()
        self._server.close()


class Grpc:
    """One stream of messages in both directions."""

    async def start(self) -> None:
        """Connect."""
        import grpc

        async def back(messages: Any, context: Any) -> Any:
            async for message in messages:
                yield message

        large = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._server = grpc.aio.server(options=large)
        handler = grpc.stream_stream_rpc_method_handler(back)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", {"Echo": handler}),))
        port = self._server.add_insecure_port(f"{_LOCAL}:0")
        await self._server.start()
        self._channel = grpc.aio.insecure_channel(f"{_LOCAL}:{port}", options=large)
        self._call = self._channel.stream_stream("/bench/Echo")()

    async def echo(self, message: bytes, count: int) -> None:
        """Send messages and wait until they are back."""

        async def write() -> None:
            for _ in range(count):
                await self._call.write(message)

        writing = asyncio.ensure_future(write())
        for _ in range(count):
            await self._call.read()
        await writing

    async def stop(self) -> None:
        """Close it."""
        self._call.cancel()
        await self._channel.close()
        await self._server.stop(None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Credentials, Credentials]:
    """Those of two Nodes."""
    pytest.importorskip("cryptography", reason='TLS needs cryptography: pip install "bytesandbrains[tls]"')
    folder = tmp_path_factory.mktemp("certs")
    make_authority(folder)
    for name in ("near", "far"):
        issue(folder, name)
    return credentials_in(folder, "near"), credentials_in(folder, "far")


@contextmanager
def _running(make: Callable[[], Any], new_loop: Callable[[], Any]) -> Iterator[tuple[Any, Echo]]:
    """Start one side in an event loop of its own; gives the loop and the echo."""
    loop = new_loop()
    asyncio.set_event_loop(loop)  # grpc.aio takes the thread's
    side = make()
    loop.run_until_complete(side.start())
    yield loop, side.echo
    asyncio.set_event_loop(loop)
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(side.stop())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    asyncio.set_event_loop(None)


def _call(running: tuple[Any, Echo], size: int, count: int, repeat: int) -> Callable[[], None]:
    loop, echo = running
    message = bytes(size)

    async def repeated() -> None:
        for _ in range(repeat):
            await echo(message, count)

    return lambda: loop.run_until_complete(repeated())


def _measure(row: Measure, sides: tuple[Any, Any], peer: str, suffix: str, new_loop: Callable[[], Any]) -> None:
    """Measure all sizes of ours against one peer."""
    with _running(sides[0], new_loop) as ours, _running(sides[1], new_loop) as other:
        for name, size, count, repeat in SIZES:
            calls = [_call(side, size, count, repeat) for side in (ours, other)]
            row(f"{name}{suffix}", calls[0], peer=(peer, calls[1]), per=count * repeat)


def test_against_a_bare_protocol(row: Measure) -> None:
    """The least that asyncio can do."""
    _measure(row, (Ours, Bare), "bare asyncio.Protocol", "", asyncio.new_event_loop)


def test_over_tls(row: Measure, certificates: tuple[Credentials, Credentials]) -> None:
    """The same with TLS 1.3 on both sides."""
    sides = (lambda: Ours(certificates), lambda: Bare(certificates))
    _measure(row, sides, "bare asyncio.Protocol, TLS", ", TLS", asyncio.new_event_loop)


def test_in_uvloop(row: Measure) -> None:
    """The same in another event loop."""
    uvloop = pytest.importorskip("uvloop", reason='uvloop is not installed: pip install "bytesandbrains[uvloop]"')
    _measure(row, (Ours, Bare), "bare asyncio.Protocol, uvloop", ", uvloop", uvloop.new_event_loop)


def test_over_tls_in_uvloop(row: Measure, certificates: tuple[Credentials, Credentials]) -> None:
    """TLS in the other event loop."""
    uvloop = pytest.importorskip("uvloop", reason='uvloop is not installed: pip install "bytesandbrains[uvloop]"')
    sides = (lambda: Ours(certificates), lambda: Bare(certificates))
    _measure(row, sides, "bare asyncio.Protocol, TLS, uvloop", ", TLS, uvloop", uvloop.new_event_loop)


def test_against_grpc(row: Measure) -> None:
    """What the field uses."""
    pytest.importorskip("grpc", reason="grpcio is not installed: pip install grpcio")
    _measure(row, (Ours, Grpc), "grpc.aio stream", " ", asyncio.new_event_loop)
