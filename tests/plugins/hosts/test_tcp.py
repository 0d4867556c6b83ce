"""Hosts over real sockets: rounds, garbage, strangers, reconnecting, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest

import bb_core as bb
from bb_core.errors import HandshakeRefused, IdentityRefused, ProgramMismatch, RunFailed, UsageError
from bb_core.steps import SendEnvelope
from bb_plugins.hosts.asyncio import AsyncioHost, HostConfig
from bb_plugins.hosts.asyncio.neighbours import Patience
from bb_plugins.hosts.asyncio.switchboard import LinkConfig, Switchboard
from bb_plugins.transports.handshake import encode_hello
from bb_plugins.transports.interface import Hello
from tests.plugins.hosts.support import QUICK, SECONDS, TCP, a_round, by_loopback, hosts, in_loop, node
from tests.support import peer


@pytest.mark.parametrize("address", [TCP, "/dns/localhost/tcp/0", "/memory/0"])
@pytest.mark.parametrize("clients", [1, 4])
def test_rounds_give_what_they_give_by_loopback(clients: int, address: str) -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(n, clients) for n in range(clients + 1)], address) as made:
            found = [float((await a_round(made[0]))["params"][0]) for _ in range(3)]
            assert found == by_loopback(clients, 3)
            assert made[0].links.counters["opened"] == clients

    test()


def test_answers_go_back_over_the_link_that_brought_the_question() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, client):
            await a_round(own)
            await own.until(lambda: own.links.is_quiet, SECONDS)
            assert client.links.counters["dialed"] == 0
            assert client.links.connected == [peer(0)]

    test()


def test_a_client_that_nobody_can_dial_connects_by_itself() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            client = AsyncioHost(node(1, 1), config=QUICK)
            async with client:
                client.add_peer(peer(0), [await own.listen(TCP)], connect=True)
                own.add_peer(peer(1), peer_class="client")
                await own.until(lambda: own.links.connected == [peer(1)], SECONDS)
                assert (await a_round(own))["params"][0] == 1.0
                assert own.links.counters["dialed"] == 0

    test()


def test_values_larger_than_the_read_buffer_arrive_whole() -> None:
    @in_loop
    async def test() -> None:
        sizes = [0, 1, 65_531, 65_532, 65_533, 70_000, 3_000_000]
        got: list[int] = []
        async with hosts([node(0, 1), node(1, 1)]) as (own, client):
            await a_round(own)
            (link,) = own.links.neighbours[peer(1)].links
            done = asyncio.Event()

            def deliver(frames: list[memoryview | bytes], source: bb.PeerId, dialed: bytes) -> None:
                for frame in frames:
                    raw = bytes(frame)
                    assert raw == bytes([len(got)]) * len(raw)
                    got.append(len(raw))
                if len(got) == len(sizes):
                    done.set()

            client.links._deliver = deliver
            link.send([bytes([n]) * size for n, size in enumerate(sizes)])
            async with asyncio.timeout(SECONDS):
                await done.wait()
        assert got == sizes

    test()


async def talk(address: bb.Address, data: bytes) -> bytes:
    """Send bytes to a port and read until it is closed."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(data)
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def hello(number: int = 1, digest: str | None = None) -> bytes:
    raw = encode_hello(Hello(peer(number), node(0, 1).digest if digest is None else digest))
    return len(raw).to_bytes(4, "big") + raw


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HandshakeRefused),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400), HandshakeRefused),
        (bytes(100), HandshakeRefused),
        ((64).to_bytes(4, "big") + bytes(64), HandshakeRefused),
        ((10).to_bytes(4, "big") + b"bb-hello\x02\x00", HandshakeRefused),
        (hello()[:-10].replace(hello()[:4], (len(hello()) - 14).to_bytes(4, "big")), HandshakeRefused),
        (hello(1, "0" * 32), ProgramMismatch),
        (hello(0), IdentityRefused),
    ],
    ids=["http", "tls", "zeros", "no magic", "version", "cut", "program", "ourselves"],
)
def test_what_is_no_handshake_of_a_peer_is_refused(
    data: bytes, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            await talk(await own.listen(TCP), data)
            await own.until(lambda: own.links.counters[f"refused: {kind.__name__}"] == 1, SECONDS)
            assert own.links.connected == []

    with caplog.at_level(logging.WARNING):
        test()
    assert any(getattr(r, "code", "") == kind.code for r in caplog.records)


def test_a_connection_that_ends_without_a_word_is_counted() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            address = await own.listen(TCP)
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.close()
            await own.until(lambda: own.links.counters["refused: HandshakeRefused"] == 1, SECONDS)

    test()


def test_a_frame_above_the_limit_ends_the_link() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            address = await own.listen(TCP)
            await talk(address, hello() + (2**31).to_bytes(4, "big"))
            await own.until(lambda: own.links.counters["refused: CapExceeded"] == 1, SECONDS)

    test()


def test_both_sides_name_both_programs(caplog: pytest.LogCaptureFixture) -> None:
    digests = {node(0, 1).digest, node(0, 2).digest}
    assert len(digests) == 2

    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 2)]) as made:
            made[0].links.neighbour(peer(1)).is_kept = True
            made[0].links.neighbour(peer(1)).pump()
            for host in made:
                await host.until(lambda h=host: h.links.counters["refused: ProgramMismatch"] >= 1, SECONDS)

    with caplog.at_level(logging.WARNING):
        test()
    told = [r.getMessage() for r in caplog.records if "artefact" in r.getMessage()]
    assert len(told) >= 2
    assert all(digest in text for text in told for digest in digests)


def test_somebody_else_at_a_peers_address_is_refused() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 2), node(1, 2)]) as (own, client):
            address = await client.listen(TCP)
            own.add_peer(peer(2), [address], connect=True)
            await own.until(lambda: own.links.counters["refused: IdentityRefused"] >= 1, SECONDS)
            assert peer(2) not in own.links.connected

    test()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_peer_that_comes_late_is_tried_again_until_it_is_there() -> None:
    @in_loop
    async def test() -> None:
        address = f"/ip4/127.0.0.1/tcp/{free_port()}"
        async with hosts([node(0, 1)]) as (own,):
            own.add_peer(peer(1), [address], peer_class="client")
            running = asyncio.create_task(a_round(own))
            while own.links.counters["dial failed"] < 2:
                await asyncio.sleep(0)
            client = AsyncioHost(node(1, 1), config=QUICK)
            async with client:
                await client.listen(address)
                assert (await running)["params"][0] == 1.0

    test()


def test_a_peer_that_is_started_anew_is_found_again() -> None:
    @in_loop
    async def test() -> None:
        address = f"/ip4/127.0.0.1/tcp/{free_port()}"
        async with hosts([node(0, 1)]) as (own,):
            own.add_peer(peer(1), [address], peer_class="client")
            for incarnation in range(3):
                client = AsyncioHost(node(1, 1, bb.NodeConfig(incarnation=incarnation)), config=QUICK)
                async with client:
                    await client.listen(address)
                    await a_round(own)
                    assert own.links.connected == [peer(1)]
                    await client.close(at_once=incarnation == 1)
                await own.until(lambda: own.links.connected == [], SECONDS)

    test()


def test_a_link_that_breaks_in_the_middle_loses_nothing_that_waits() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, _client):
            await a_round(own)
            neighbour = own.links.neighbours[peer(1)]
            running = asyncio.create_task(a_round(own))
            while neighbour.is_quiet and not running.done():
                neighbour.links[-1].abort()  # before what the round sends is written
                await asyncio.sleep(0)
                break
            assert (await running)["params"][0] == 2.0

    test()


def test_without_an_address_the_node_is_told_at_once() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            own.add_peer(peer(1), peer_class="client")
            exec_id = own.invoke("Averaging", {"round": bb.TRIGGER})
            await own.until(lambda: own.steps["PeerResolveFailed"] == 1, SECONDS)
            own.node.cancel(exec_id, own.now())

    test()


def test_what_finds_no_room_has_failed() -> None:
    @in_loop
    async def test() -> None:
        config = HostConfig(links=LinkConfig(queue_frames=1))
        async with hosts([node(0, 1)], config=config) as (own,):
            own.add_peer(peer(1), [f"/ip4/127.0.0.1/tcp/{free_port()}"], peer_class="client")
            for _ in range(3):
                own.invoke("Averaging", {"round": bb.TRIGGER})
            await own.until(lambda: own.links.counters["send: no room"] >= 1, SECONDS)

    test()


def test_addresses_of_transports_that_were_not_allowed_are_left_alone() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)], protocols=["memory"]) as (own,):
            with pytest.raises(UsageError, match="does not use /tcp"):
                await own.listen(TCP)
            own.add_peer(peer(1), ["/ip4/127.0.0.1/tcp/9"], peer_class="client")
            exec_id = own.invoke("Averaging", {"round": bb.TRIGGER})
            await own.until(lambda: own.links.counters["send: no address"] == 1, SECONDS)
            own.node.cancel(exec_id, own.now())
            assert own.links.counters["dialed"] == 0

    test()


def test_a_round_that_gives_nothing_says_why() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1)]) as (own,):
            with pytest.raises(RunFailed):
                await a_round(own)

    test()


def test_drain_waits_for_what_is_open() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, _):
            running = asyncio.create_task(a_round(own))
            await asyncio.sleep(0)
            assert await own.drain()
            assert running.done() or (await running)
            own.node.invoke("Averaging", {"round": bb.TRIGGER}, own.now())

    test()


def test_a_connection_after_the_most_is_closed_again() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)], config=HostConfig(links=LinkConfig(links=1))) as (own, client):
            await a_round(own)
            address = await client.listen(TCP)
            await talk(address, hello(2))
            await client.until(lambda: client.links.counters["refused: too many links"] == 1, SECONDS)
            assert client.links.connected == [peer(0)]

    test()


def test_who_is_turned_away_at_once_does_not_knock_without_end() -> None:
    @in_loop
    async def test() -> None:
        patient = HostConfig(links=LinkConfig(patience=Patience(first=0.1, most=30.0)))
        async with (
            hosts([node(0, 1), node(1, 1)], config=HostConfig(links=LinkConfig(links=1))) as (own, client),
            AsyncioHost(node(1, 1, id_=peer(2)), config=patient) as third,
        ):
            await a_round(own)
            third.add_peer(client.node.peer_id, [await client.listen(TCP)], connect=True)
            await third.until(lambda: third.links.counters["closed"] == 4, SECONDS)
            assert third.links.counters["dialed"] == 4
            assert third.now() >= 0.35e9  # half of 0.1, 0.2 and 0.4 at least

    test()


def test_an_envelope_is_dropped_at_its_deadline_behind_one_that_has_more_time() -> None:
    @in_loop
    async def test() -> None:
        told: list[int] = []
        done = asyncio.Event()

        def outcome(number: int, ok: bool, address: bytes = b"") -> None:
            assert not ok
            told.append(number)
            done.set()

        began = time.monotonic_ns()
        board = Switchboard(
            Hello(peer(0), "x"), 1000, None, None, LinkConfig(),
            now=lambda: time.monotonic_ns() - began, deliver=lambda *_: None, outcome=outcome, changed=lambda: None,
        )  # fmt: skip
        nowhere = (bb.Address.parse(f"/ip4/127.0.0.1/tcp/{free_port()}").to_bytes(),)
        for number, deadline in ((1, 3600 * 10**9), (2, 10**8)):
            board.send([SendEnvelope(number, peer(1), nowhere, b"data", deadline)])
        async with asyncio.timeout(SECONDS):
            await done.wait()
        assert told == [2]
        board.hang_up(at_once=True)

    test()


def test_what_cannot_be_listened_at_or_connected_to_is_refused_at_once() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, client):
            address = await client.listen(TCP)
            with pytest.raises(UsageError, match="cannot listen at"):
                await own.listen(address)
            with pytest.raises(UsageError, match="does not use /tcp/tls"):
                own.add_peer(peer(3), ["/ip4/127.0.0.1/tcp/9/tls"], connect=True)

    test()


def test_two_that_dial_each_other_at_once_both_talk() -> None:
    @in_loop
    async def test() -> None:
        async with hosts([node(0, 1), node(1, 1)]) as (own, client):
            client.add_peer(peer(0), [await own.listen(TCP)], connect=True)
            own.links.neighbour(peer(1)).is_kept = True
            own.links.neighbour(peer(1)).pump()
            for host in (own, client):
                await host.until(lambda h=host: bool(h.links.connected), SECONDS)
            for _ in range(3):
                await a_round(own)

    test()
