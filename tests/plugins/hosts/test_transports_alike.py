"""All transports keep the same promises: what each is held to, whatever its protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bb_core as bb
from bb_core.errors import ConfigError, UsageError
from bb_core.steps import SendEnvelope
from bb_plugins.hosts.asyncio import AsyncioHost
from bb_plugins.hosts.asyncio.switchboard import LinkConfig, Switchboard
from bb_plugins.transports.certificates import credentials_in
from bb_plugins.transports.interface import Credentials, Hello
from bb_plugins.transports.tls import own_peer
from tests.plugins.hosts.support import QUICK, SECONDS, a_round, by_loopback, foreign, in_loop, node
from tests.support import peer

TRANSPORTS = {
    "tcp": "/ip4/127.0.0.1/tcp/0",
    "tcp/tls": "/ip4/127.0.0.1/tcp/0/tls",
    "tcp/ws": "/ip4/127.0.0.1/tcp/0/ws",
    "tcp/tls/ws": "/ip4/127.0.0.1/tcp/0/tls/ws",
    "udp/quic-v1": "/ip4/127.0.0.1/udp/0/quic-v1",
    "memory": "/memory/0",
}
PROVING = ("tcp/tls", "tcp/tls/ws", "udp/quic-v1")
FAR = 2**62


@dataclass(frozen=True)
class Kind:
    """A transport under test, and certificates where it takes them."""

    protocol: str
    folder: Path

    @property
    def address(self) -> str:
        return TRANSPORTS[self.protocol]

    def credentials(self, name: str) -> Credentials | None:
        return credentials_in(self.folder, name) if self.protocol in PROVING else None

    def peer(self, name: str, number: int) -> bb.PeerId:
        credentials = self.credentials(name)
        return peer(number) if credentials is None else own_peer(credentials)

    def host(self, name: str, number: int, clients: int = 1, as_peer: bb.PeerId | None = None) -> AsyncioHost:
        made = node(number, clients, id_=as_peer or self.peer(name, number))
        return AsyncioHost(made, credentials=self.credentials(name), protocols=[self.protocol], config=QUICK)


@pytest.fixture(params=TRANSPORTS)
def kind(request: pytest.FixtureRequest, federation: Path) -> Kind:
    return Kind(request.param, federation)


def test_rounds_give_what_they_give_by_loopback(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        async with kind.host("own", 0, 2) as own, kind.host("one", 1, 2) as one, kind.host("two", 2, 2) as two:
            for client in (one, two):
                own.add_peer(client.node.peer_id, [await client.listen(kind.address)], peer_class="client")
            found = [float((await a_round(own))["params"][0]) for _ in range(3)]
            assert found == by_loopback(2, 3)
            assert own.links.counters["opened"] == 2

    test()


class Ends:
    """Two switchboards and what has come to each."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.came: dict[str, list[bytes]] = {"own": [], "one": []}
        self.outcomes: list[bool] = []
        self.changed = asyncio.Event()
        self.own, self.one = self._board("own", 0), self._board("one", 1)

    def _board(self, name: str, number: int) -> Switchboard:
        def take(frames: Sequence[memoryview | bytes], source: bb.PeerId, dialed: bytes) -> None:
            assert source == self.kind.peer(*(("one", 1) if name == "own" else ("own", 0)))
            self.came[name] += map(bytes, frames)
            self.changed.set()

        return Switchboard(
            Hello(self.kind.peer(name, number), "0" * 32), 8 * 2**20, self.kind.credentials(name),
            [self.kind.protocol], LinkConfig(),
            now=lambda: 0, deliver=take, outcome=self._outcome, changed=self.changed.set,
        )  # fmt: skip

    def _outcome(self, number: int, ok: bool, address: bytes = b"") -> None:
        self.outcomes.append(ok)
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def send(self, frames: Sequence[bytes]) -> None:
        to = self.kind.peer("one", 1)
        self.own.send([SendEnvelope(0, to, (), frame, FAR) for frame in frames])


@asynccontextmanager
async def ends(kind: Kind) -> AsyncIterator[Ends]:
    both = Ends(kind)
    address = await both.one.listen(bb.Address.parse(kind.address))
    both.own.neighbour(kind.peer("one", 1)).addresses = (address.to_bytes(),)
    try:
        yield both
    finally:
        for board in (both.own, both.one):
            await board.shut()
            board.hang_up(at_once=True)
        await both.until(lambda: not both.own.connected and not both.one.connected)


def test_frames_of_all_sizes_arrive_whole_and_in_order(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        sizes = [0, 1, 125, 126, 65_531, 65_532, 65_535, 65_536, 300_000, 3_000_000, 5]
        frames = [bytes([n]) * size for n, size in enumerate(sizes)]
        async with ends(kind) as both:
            both.send(frames)
            await both.until(lambda: len(both.came["one"]) == len(frames))
            assert both.came["one"] == frames
            await both.until(lambda: both.outcomes == [True] * len(frames))

    test()


def test_more_than_a_link_takes_at_once_waits_and_goes_on(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        frames = [bytes([n]) * 700_000 for n in range(9)]
        async with ends(kind) as both:
            both.send(frames)
            await both.until(lambda: len(both.came["one"]) == len(frames))
            await both.until(lambda: len(both.outcomes) == len(frames))
            assert both.came["one"] == frames
            assert both.own.is_quiet

    test()


def test_answers_go_back_over_the_same_link(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        async with ends(kind) as both:
            both.send([b"question"])
            await both.until(lambda: both.came["one"] == [b"question"])
            both.one.send([SendEnvelope(0, kind.peer("own", 0), (), b"answer" * 50_000, FAR)])
            await both.until(lambda: both.came["own"] == [b"answer" * 50_000])
            assert both.one.counters["dialed"] == 0

    test()


@pytest.mark.parametrize("at_once", [False, True])
def test_both_sides_are_told_of_the_end(kind: Kind, at_once: bool) -> None:
    @in_loop
    async def test() -> None:
        async with ends(kind) as both:
            both.send([b"x"])
            await both.until(lambda: both.came["one"] == [b"x"])
            both.own.hang_up(at_once=at_once)
            await both.until(lambda: both.own.counters["closed"] == both.one.counters["closed"] == 1)

    test()


def test_another_program_is_refused_on_both_sides(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        async with kind.host("own", 0, 1) as own, kind.host("one", 1, 2) as one:
            own.add_peer(one.node.peer_id, [await one.listen(kind.address)], connect=True)
            for host in (own, one):
                await host.until(lambda h=host: h.links.counters["refused: ProgramMismatch"] >= 1, SECONDS)
            assert own.links.connected == []

    test()


def test_somebody_else_at_a_peers_address_is_refused(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        async with kind.host("own", 0) as own, kind.host("one", 1) as one:
            own.add_peer(kind.peer("two", 2), [await one.listen(kind.address)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert own.links.connected == []

    test()


def test_nobody_at_an_address_is_tried_again(kind: Kind) -> None:
    if kind.protocol == "udp/quic-v1":
        pytest.skip("over UDP nobody says that there is nobody: a try ends after its time, and that is 10 s")

    @in_loop
    async def test() -> None:
        async with kind.host("own", 0) as own, kind.host("one", 1) as one:
            address = await one.listen(kind.address)
            await one.links.shut()
            own.add_peer(one.node.peer_id, [address], connect=True)
            while own.links.counters["dial failed"] < 2:
                await asyncio.sleep(0)
            await one.listen(address)
            await own.until(lambda: own.links.connected == [one.node.peer_id], SECONDS)

    test()


def test_a_door_cannot_be_opened_twice(kind: Kind) -> None:
    @in_loop
    async def test() -> None:
        async with kind.host("own", 0) as own, kind.host("one", 1) as one:
            address = await one.listen(kind.address)
            with pytest.raises(UsageError, match="cannot listen at"):
                await own.listen(address)
            assert one.links.listening == [address]

    test()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(2000) + b"\r\n\r\n", bytes(range(256)) * 8]
)
@pytest.mark.parametrize("protocol", ["tcp", "tcp/tls", "tcp/ws", "tcp/tls/ws"])
def test_rubbish_is_refused_and_counted(federation: Path, protocol: str, data: bytes) -> None:
    kind = Kind(protocol, federation)

    @in_loop
    async def test() -> None:
        async with kind.host("own", 0) as own:
            address = await own.listen(kind.address)
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(data)
            try:
                await own.until(lambda: own.links.counters["refused: HandshakeRefused"] == 1, SECONDS)
            finally:
                writer.close()
            assert own.links.connected == []

    test()


def test_datagrams_of_rubbish_do_no_harm(federation: Path) -> None:
    kind = Kind("udp/quic-v1", federation)

    @in_loop
    async def test() -> None:
        async with kind.host("own", 0, 1) as own, kind.host("one", 1, 1) as one:
            address = await one.listen(kind.address)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for data in (
                    b"",
                    b"x",
                    bytes(1200),
                    b"\xc0\x00\x00\x00\x01" + bytes(range(200)) * 6,
                    b"GET / HTTP/1.1",
                ):
                    stranger.sendto(data, ("127.0.0.1", address.port))
            own.add_peer(one.node.peer_id, [address], peer_class="client")
            assert float((await a_round(own))["params"][0]) == 1.0

    test()


@pytest.mark.parametrize("bad", ["expired", "foreign"])
@pytest.mark.parametrize("dials", ["good", "bad"])
@pytest.mark.parametrize("protocol", PROVING)
def test_bad_certificates_are_refused(
    federation: Path,
    strangers: Path,
    protocol: str,
    bad: str,
    dials: str,
) -> None:
    theirs = foreign(federation, strangers) if bad == "foreign" else credentials_in(federation, "expired")
    kind = Kind(protocol, federation)

    @in_loop
    async def test() -> None:
        made = node(1, 1, id_=own_peer(theirs))
        async with (
            kind.host("own", 0) as own,
            AsyncioHost(made, credentials=theirs, protocols=[protocol], config=QUICK) as other,
        ):
            caller, called = (own, other) if dials == "good" else (other, own)
            caller.add_peer(called.node.peer_id, [await called.listen(kind.address)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert own.links.connected == []

    test()


@pytest.mark.parametrize("protocol", PROVING)
def test_a_member_cannot_take_another_members_name(federation: Path, protocol: str) -> None:
    kind = Kind(protocol, federation)

    @in_loop
    async def test() -> None:
        liar = kind.host("one", 1, as_peer=kind.peer("two", 2))
        async with kind.host("own", 0) as own, liar:
            liar.add_peer(own.node.peer_id, [await own.listen(kind.address)], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert own.links.connected == []

    test()


@pytest.mark.parametrize("protocol", PROVING)
def test_what_proves_needs_certificates(protocol: str) -> None:
    with pytest.raises(ConfigError, match="needs a certificate"):
        AsyncioHost(node(0, 1), protocols=[protocol])
