"""Envelopes between two hosts of one process over loopback TCP, against what asyncio and gRPC do with the same bytes.

The peer is the least that asyncio can do: two `asyncio.Protocol`s, of which one writes back whatever it is given.
It knows no frames, has no queue, and can lose what it likes. Ours is what a host does to a SendEnvelope without its
Node: the queue of a peer, frames, the outcome. gRPC (`grpc.aio`, one stream in both directions) is the other peer,
where it is installed. All are echoes: times are for the way there and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import bb_core as bb
from bb_core.steps import SendEnvelope
from bb_plugins.bench.harness import Measure
from bb_plugins.hosts.asyncio.switchboard import LinkConfig, Switchboard
from bb_plugins.transports.interface import Hello

_LOCAL = "127.0.0.1"
_FAR = 2**62

SIZES = [("empty Envelope, one at a time", 8, 1, 16), ("4 KiB Envelopes", 4096, 256, 1), ("1 MiB values", 2**20, 8, 1)]
"""What a row is called, bytes of a message, how many are under way at once, and how often that is done in a call."""

Echo = Callable[[bytes, int], Any]
"""Given a message and how many: a coroutine that sends so many and waits until they are back."""


class Ours:
    """Two switchboards; the second sends everything back."""

    def __init__(self) -> None:
        self._awaited = 0
        self._done: asyncio.Future[None]
        self._sent = 0
        own, other = bb.PeerId.from_int(1), bb.PeerId.from_int(2)
        self._peer = other
        self._near = self._board(own, self._back)
        self._far = self._board(
            other, lambda frames: self._far.send([SendEnvelope(0, own, (), frame, _FAR) for frame in frames])
        )

    def _board(self, peer: bb.PeerId, take: Callable[[Any], None]) -> Switchboard:
        return Switchboard(
            Hello(peer, "0" * 32),
            bb.WireLimits().total_bytes,
            None,
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
        address = await self._far.listen(bb.Address.parse(f"/ip4/{_LOCAL}/tcp/0"))
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
    """Two Protocols."""

    async def start(self) -> None:
        """Connect them."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(_Back, _LOCAL, 0)
        _, self._client = await loop.create_connection(_Count, *self._server.sockets[0].getsockname())

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
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all sides."""
    made = asyncio.new_event_loop()
    yield made
    made.run_until_complete(asyncio.sleep(0))
    made.close()


def _running(loop: asyncio.AbstractEventLoop, side: Any) -> Iterator[Echo]:
    loop.run_until_complete(side.start())
    yield side.echo
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(side.stop())


@pytest.fixture(scope="module")
def ours(loop: asyncio.AbstractEventLoop) -> Iterator[Echo]:
    """Our echo."""
    yield from _running(loop, Ours())


@pytest.fixture(scope="module")
def bare(loop: asyncio.AbstractEventLoop) -> Iterator[Echo]:
    """The Protocols' echo."""
    yield from _running(loop, Bare())


@pytest.fixture(scope="module")
def grpc_aio(loop: asyncio.AbstractEventLoop) -> Iterator[Echo]:
    """The echo of gRPC."""
    pytest.importorskip("grpc", reason="grpcio is not installed: pip install grpcio")
    yield from _running(loop, Grpc())


def _call(loop: asyncio.AbstractEventLoop, echo: Echo, size: int, count: int, repeat: int) -> Callable[[], None]:
    message = bytes(size)

    async def repeated() -> None:
        for _ in range(repeat):
            await echo(message, count)

    return lambda: loop.run_until_complete(repeated())


@pytest.mark.parametrize(("name", "size", "count", "repeat"), SIZES)
def test_against_a_bare_protocol(
    row: Measure, loop: asyncio.AbstractEventLoop, ours: Echo, bare: Echo, name: str, size: int, count: int, repeat: int
) -> None:
    """The least that asyncio can do."""
    calls = [_call(loop, echo, size, count, repeat) for echo in (ours, bare)]
    row(name, calls[0], peer=("bare asyncio.Protocol", calls[1]), per=count * repeat)


@pytest.mark.parametrize(("name", "size", "count", "repeat"), SIZES)
def test_against_grpc(
    row: Measure,
    loop: asyncio.AbstractEventLoop,
    ours: Echo,
    grpc_aio: Echo,
    name: str,
    size: int,
    count: int,
    repeat: int,
) -> None:
    """What the field uses."""
    calls = [_call(loop, echo, size, count, repeat) for echo in (ours, grpc_aio)]
    row(f"{name} ", calls[0], peer=("grpc.aio stream", calls[1]), per=count * repeat)
