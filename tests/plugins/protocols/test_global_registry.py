"""The global registry end to end: clients announce, expire and come back, all in virtual time."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors
from bb_core.ids import PeerId
from bb_core.node.replaying import replay
from bb_core.steps import AppEvent, FillRejected, OpFailed, PeerBlocked, SendEnvelope, Step
from bb_core.testing import Loopback, Network
from bb_core.wire.address import Address, AddressList, op_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode
from bb_plugins.protocols.global_registry import (
    GlobalRegistry,
    GlobalRegistryClient,
    GlobalRegistryServer,
    shuffled,
)
from bb_plugins.protocols.registry_messages import Announce, Handshake
from tests.support import peer

SECOND = 10**9
SERVER = peer(0)
GV3 = (
    "0a0da5030a00080000000000000001124d0a11e30100000000e40108416e6e6f756e6365"
    "12380a000000000000000008000000000000000701000000000000000100000000000000000000000a000000000000000008"
    "00000000000000073801"
)


class Discovery(bb.Module):
    """Clients announce themselves when they start; the server is asked who is there."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    registry = bb.ProtocolSlot(GlobalRegistry)

    def body(self, g: bb.Graph) -> None:
        with g.place(on="client"):
            up = bb.syscalls.lifecycle(g, phase="start")
        self.registry.announce(g, after=up)
        g.output("ten", self.cohort.sample(g, n=10, after=g.input("sample", bb.types.TRIGGER)))
        g.output("all", self.cohort.current_view(g, after=g.input("view", bb.types.TRIGGER)))


class Pages(bb.Module):
    """The server's own ops, with cookies."""

    registry = bb.ProtocolSlot(GlobalRegistry)

    def body(self, g: bb.Graph) -> None:
        cookie = g.input("cookie", bb.types.BYTES)
        peers, more = self.registry.draw(g, 7, cookie, after=g.input("draw", bb.types.TRIGGER))
        g.output("drawn", peers)
        g.output("draw_on", more)
        peers, more = self.registry.page(g, cookie, limit=7, after=g.input("page", bb.types.TRIGGER))
        g.output("paged", peers)
        g.output("page_on", more)


class Calling(bb.Module):
    """A client that is told when and to whom."""

    registry = bb.ProtocolSlot(GlobalRegistry)

    def body(self, g: bb.Graph) -> None:
        g.output("done", self.registry.announce(g, g.input("server", bb.types.PEER_ID)))
        g.output("again", self.registry.announce(g, after=g.input("go", bb.types.TRIGGER)))


DISCOVERY = bb.Compiler().bind({"cohort": GlobalRegistryServer, "registry": GlobalRegistryClient}).compile(Discovery())
CALLING = bb.Compiler().bind({"registry": GlobalRegistryClient}).compile(Calling())
PAGES = bb.Compiler().bind({"registry": GlobalRegistryServer}).compile(Pages())


def client(number: int, server: PeerId = SERVER) -> bb.Node:
    config = {"registry": {"server": str(server)}}
    node = bb.install(peer(number), [f"/dns/c{number}/tcp/1"], DISCOVERY, ["Discovery@client"], config)
    node.fire_lifecycle("start", 0)
    return node


def server(**config: Any) -> bb.Node:
    return bb.install(SERVER, ["/dns/server/tcp/1"], DISCOVERY, ["Discovery"], {"cohort": config})


def network(clients: int, faults: Network | None = None, seed: int = 0, **config: Any) -> Loopback:
    return Loopback([server(**config), *(client(n) for n in range(1, clients + 1))], faults, seed)


def view(loopback: Loopback, port: str = "view") -> list[PeerId]:
    loopback.invoke(SERVER, "Discovery", {port: bb.TRIGGER})
    loopback.run_to(loopback.now)
    found = [s.step.value for s in loopback.seen if isinstance(s.step, AppEvent)][-1]
    assert isinstance(found, bb.PeerList)
    return list(found)


def failures(loopback: Loopback) -> list[Step]:
    return [s.step for s in loopback.seen if isinstance(s.step, OpFailed | FillRejected)]


def peers(*numbers: int) -> list[PeerId]:
    return [peer(n) for n in numbers]


# --- 100 clients ------------------------------------------------------------------------------------------------------


def test_a_hundred_clients_announce_expire_and_come_back() -> None:
    loopback = network(100)
    everyone = peers(*range(1, 101))
    loopback.run_to(SECOND)
    assert view(loopback) == everyone
    assert loopback.envelopes == 200  # an announce and a handshake each

    loopback.run_to(600 * SECOND)  # heartbeats keep them there
    assert view(loopback) == everyone
    assert loopback.envelopes == 200 + 200 * 19  # every 30 s and two latencies

    asleep = {n: loopback.remove(peer(n)) for n in range(1, 41)}
    loopback.run_to(loopback.now + 89 * SECOND)
    assert set(peers(*range(41, 101))) <= set(view(loopback))
    loopback.run_to(loopback.now + 2 * SECOND)
    assert view(loopback) == peers(*range(41, 101))
    for _ in range(50):
        drawn = view(loopback, "sample")
        assert len(set(drawn)) == 10
        assert drawn == sorted(drawn)
        assert set(drawn) <= set(everyone[40:])

    for node in asleep.values():  # their heartbeats are overdue
        loopback.add(node)
    loopback.run_to(loopback.now + SECOND)
    assert view(loopback) == everyone
    assert failures(loopback) == []


def test_a_client_counts_until_the_very_end_of_its_time() -> None:
    loopback = network(1)
    loopback.run_to(2 * SECOND)
    loopback.remove(peer(1))
    loopback.run_to(90 * SECOND + 10**6 - 1)  # announced at 0, taken in after one millisecond
    assert view(loopback) == peers(1)
    loopback.run_to(90 * SECOND + 10**6)
    assert view(loopback) == []


def test_clients_stay_through_loss_duplicates_and_disorder() -> None:
    faults = Network(loss=0.3, duplicate=0.2, reorder=0.2, jitter_ns=50 * 10**6)
    loopback = network(100, faults, seed=5)
    seen = []
    for minute in range(3, 13):
        loopback.run_to(minute * 60 * SECOND)
        found = view(loopback)
        assert found == sorted(set(found))
        seen.append(len(found))
    assert min(seen) >= 95  # three of ten are lost, and an unanswered announce is made again
    assert failures(loopback) == []


def test_churn() -> None:
    """Nodes that come and go at random: a sample is always among those that have been heard in the last 90 s."""
    loopback = network(30)
    rng = np.random.default_rng(3)
    gone: dict[int, bb.Node] = {}
    left_at: dict[int, int] = {}
    for step in range(200):
        loopback.run_to((step + 1) * 10 * SECOND)
        number = int(rng.integers(1, 31))
        if number in gone:
            loopback.add(gone.pop(number))
        else:
            gone[number], left_at[number] = loopback.remove(peer(number)), loopback.now
        loopback.run_to(loopback.now + SECOND)
        drawn = view(loopback, "sample")
        assert len(drawn) == len(set(drawn))
        assert SERVER not in drawn
        for n in gone:
            if loopback.now - left_at[n] > 90 * SECOND:
                assert peer(n) not in drawn
        assert {peer(n) for n in range(1, 31) if n not in gone} <= set(view(loopback))
    assert failures(loopback) == []


def test_the_server_restarts_from_a_snapshot_and_the_clients_do_not_notice() -> None:
    loopback = network(20)
    loopback.run_to(95 * SECOND)
    kept = loopback.remove(SERVER).snapshot()
    loopback.run_to(100 * SECOND)
    again = server()
    again.restore(kept)
    loopback.add(again)
    loopback.run_to(101 * SECOND)
    assert view(loopback) == peers(*range(1, 21))
    loopback.run_to(300 * SECOND)
    assert view(loopback) == peers(*range(1, 21))


def test_nodes_that_are_all_restored_again_and_again_do_the_same() -> None:
    faults = Network(loss=0.2, duplicate=0.2, reorder=0.2, jitter_ns=50 * 10**6)
    plain, kept = network(12, faults, seed=9), network(12, faults, seed=9)
    for turn in range(1, 60):
        for loopback in (plain, kept):
            loopback.run_to(turn * 7 * SECOND + turn * 10**6)
            view(loopback, "sample")
        for who, node in kept.nodes.items():
            fresh = (
                server()
                if who == SERVER
                else bb.install(who, [f"/dns/c{int.from_bytes(who.raw[2:])}/tcp/1"], DISCOVERY, ["Discovery@client"])
            )
            fresh.restore(node.snapshot())
            assert fresh.snapshot() == node.snapshot()
            kept.nodes[who] = fresh
    assert repr(kept.seen) == repr(plain.seen)
    assert (kept.envelopes, kept.bytes_on_wire) == (plain.envelopes, plain.bytes_on_wire)


def test_a_server_that_is_away_is_asked_as_often_as_before_and_found_again() -> None:
    loopback = network(1)
    loopback.run_to(SECOND)
    before = loopback.envelopes
    asleep = loopback.remove(SERVER)
    loopback.run_to(3600 * SECOND)
    assert 119 <= loopback.envelopes - before <= 124  # as often as a heartbeat
    loopback.add(asleep)
    loopback.run_to(3631 * SECOND)
    assert view(loopback) == peers(1)


def test_a_fresh_server_knows_nobody_until_the_next_heartbeats() -> None:
    loopback = network(20)
    loopback.run_to(95 * SECOND)
    loopback.remove(SERVER)
    loopback.add(server())
    loopback.run_to(96 * SECOND)
    assert view(loopback) == []
    loopback.run_to(127 * SECOND)
    assert view(loopback) == peers(*range(1, 21))


# --- who is drawn -----------------------------------------------------------------------------------------------------


def test_a_peer_that_is_blocked_is_not_drawn_and_not_heard() -> None:
    loopback = network(5)
    loopback.run_to(SECOND)
    node = loopback.nodes[SERVER]
    node.block(peer(2))
    assert view(loopback) == peers(1, 3, 4, 5)
    assert peer(2) not in view(loopback, "sample")
    loopback.run_to(100 * SECOND)
    assert PeerBlocked(peer(2)) in [s.step for s in loopback.seen]
    node.unblock(peer(2))
    assert view(loopback) == peers(1, 3, 4, 5)  # it was not heard for its time
    loopback.run_to(200 * SECOND)
    assert view(loopback) == peers(1, 2, 3, 4, 5)
    node.allow_only(peers(4, 5))
    assert view(loopback) == peers(4, 5)


def test_the_server_is_not_drawn_when_it_announces_itself_too() -> None:
    both = bb.install(SERVER, [], DISCOVERY, ["Discovery", "Discovery@client"], {"registry": {"server": str(SERVER)}})
    both.fire_lifecycle("start", 0)
    loopback = Loopback([both, client(1)])
    loopback.run_to(SECOND)
    assert view(loopback) == peers(1)
    assert loopback.nodes[SERVER].component("registry").heartbeat_ns == 30 * SECOND


@pytest.mark.parametrize(("draw", "wanted"), [(1, [9, 0, 7]), (2, [8, 0, 4]), (3, [9, 6, 5])])
def test_draws_are_those_of_the_reference(draw: int, wanted: list[int]) -> None:
    assert shuffled(range(10), 3, 42, draw) == wanted


def test_a_draw_takes_everyone_when_there_are_fewer() -> None:
    assert sorted(shuffled(range(4), 9, 7, 1)) == [0, 1, 2, 3]
    assert shuffled([], 3, 0, 1) == []


# --- cookies ----------------------------------------------------------------------------------------------------------


def announce_all(node: bb.Node, numbers: range, now: int) -> None:
    for n in numbers:
        node.receive(announce(peer(n)), now, source=peer(n))
    assert [s for s in node.poll(now).steps if not isinstance(s, SendEnvelope)] == []


def announce(who: PeerId, *addresses: str) -> bytes:
    where = AddressList(map(Address.parse, addresses or (f"/p2p/{who}",)))
    return encode(Envelope(fills=(Fill(op_suffix(0, "Announce"), Announce(who, where).to_bytes()),)))


def paged(node: bb.Node, port: str, now: int, between: Callable[[int], None] = lambda n: None) -> list[PeerId]:
    """Follow the cookies to their end."""
    outputs = {"draw": ("drawn", "draw_on"), "page": ("paged", "page_on")}[port]
    cookie, found = b"", []
    for turn in range(50):
        node.invoke("Pages", {port: bb.TRIGGER, "cookie": cookie}, now)
        given = {s.port: s.value for s in node.poll(now).steps if isinstance(s, AppEvent)}
        found += given[outputs[0]]
        cookie = given[outputs[1]]
        if not cookie:
            return found
        between(turn)
    raise AssertionError("the cookie has no end")


@pytest.mark.parametrize("port", ["draw", "page"])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14, 50])
def test_cookies_go_through_all_once(port: str, count: int) -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    announce_all(node, range(1, count + 1), 0)
    found = paged(node, port, SECOND)
    assert sorted(found) == peers(*range(1, count + 1))
    assert (found == sorted(found)) == (port == "page" or count < 2)


@pytest.mark.parametrize("port", ["draw", "page"])
def test_cookies_stand_who_comes_and_goes(port: str) -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    announce_all(node, range(1, 61, 2), 0)
    announce_all(node, range(1, 31, 2), 50 * SECOND)

    def between(turn: int) -> None:
        if turn == 1:
            announce_all(node, range(2, 61, 2), 95 * SECOND)  # the second half has died since

    found = paged(node, port, 80 * SECOND, between)
    assert len(found) == len(set(found))
    assert set(peers(*range(1, 31, 2))) <= set(found)


def test_a_wrong_cookie_is_the_callers_fault() -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    node.invoke("Pages", {"draw": bb.TRIGGER, "cookie": b"odd"}, 0)
    (step,) = node.poll(0).steps
    assert isinstance(step, OpFailed)
    assert "no" in step.error.message


# --- forged, malformed, too many --------------------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", [(), (f"/dns/x/tcp/1/p2p/{peer(2)}",)])
def test_an_announce_counts_for_the_verified_sender_alone(addresses: tuple[str, ...]) -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    who = peer(1) if addresses else peer(2)
    node.receive(announce(who, *addresses), 0, source=peer(1))
    (step,) = node.poll(0).steps
    assert isinstance(step, OpFailed)
    assert isinstance(step.error, errors.SourceMismatch)
    assert isinstance(step.error, errors.RemoteError)
    assert (step.role, step.op) == ("protocol", "Announce")
    assert str(peer(1)) in step.error.message
    assert str(peer(2)) in step.error.message
    assert paged(node, "page", 0) == []
    assert node.stats()["peers"] == 0


@pytest.mark.parametrize("cut", range(0, 56, 5))
def test_a_malformed_announce_is_refused(cut: int) -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    whole = Announce(peer(7), AddressList([Address.parse(f"/p2p/{peer(7)}")])).to_bytes()
    assert len(whole) == 56
    for payload in (whole[:cut], whole[:cut] + b"\xff" + whole[cut + 1 :]):
        node.receive(encode(Envelope(fills=(Fill(op_suffix(0, "Announce"), payload),))), 0, source=peer(7))
        (step,) = node.poll(0).steps
        assert isinstance(step, OpFailed)
        assert isinstance(step.error, errors.RemoteError)
    assert paged(node, "page", 0) == []


def test_an_announce_without_addresses_or_with_too_many_is_refused() -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    for count in (0, 17):
        where = AddressList([Address.parse(f"/dns/c/tcp/{n}") for n in range(count)])
        data = encode(Envelope(fills=(Fill(op_suffix(0, "Announce"), Announce(peer(7), where).to_bytes()),)))
        node.receive(data, 0, source=peer(7))
        (step,) = node.poll(0).steps
        assert isinstance(step, OpFailed)
        assert isinstance(step.error, errors.PayloadError)


def test_more_clients_than_fit_are_refused_until_some_have_died() -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"], {"registry": {"most": 2}})
    announce_all(node, range(1, 3), 0)
    node.receive(announce(peer(3)), 1, source=peer(3))
    (step,) = node.poll(1).steps
    assert isinstance(step, OpFailed)
    announce_all(node, range(1, 2), 2)
    announce_all(node, range(3, 4), 90 * SECOND)
    assert paged(node, "page", 90 * SECOND) == peers(1, 3)


@pytest.mark.parametrize("ttl", [29 * SECOND, 301 * SECOND, 0, -1])
def test_a_time_outside_the_limits_does_not_compile(ttl: int) -> None:
    with pytest.raises(errors.ConfigError, match="ttl_ns"):
        bb.Compiler().bind({"registry": bb.use(GlobalRegistryServer, ttl_ns=ttl)}).compile(Pages())


def test_a_handshake_of_another_peer_is_refused() -> None:
    node = bb.install(peer(7), [], CALLING, ["Calling"])
    shake = Handshake(90 * SECOND, 30 * SECOND, AddressList()).to_bytes()
    data = encode(Envelope(fills=(Fill(op_suffix(1, "Handshake"), shake),)))
    for now in (0, 1):
        node.receive(data, now, source=peer(2))
        (step,) = node.poll(now).steps
        assert isinstance(step, OpFailed)
        assert isinstance(step.error, errors.SourceMismatch)
        node.invoke("Calling", {"server": peer(1)}, now)
        node.poll(now)
    assert node.component("registry").heartbeat_ns == 0


@pytest.mark.parametrize(("ttl", "beat", "wanted"), [(1, 1, 10), (2**64 - 1, 2**64 - 1, 150), (90, 30, 30)])
def test_a_server_cannot_make_a_client_hurry_or_sleep(ttl: int, beat: int, wanted: int) -> None:
    node = bb.install(peer(7), [], CALLING, ["Calling"])
    node.invoke("Calling", {"server": peer(1)}, 0)
    node.poll(0)
    scale = SECOND if ttl == 90 else 1
    shake = Handshake(ttl * scale, beat * scale, AddressList()).to_bytes()
    node.receive(encode(Envelope(fills=(Fill(op_suffix(1, "Handshake"), shake),))), 0, source=peer(1))
    assert node.poll(0).next_wakeup == wanted * SECOND


# --- the address book -------------------------------------------------------------------------------------------------


def test_addresses_are_kept_as_long_as_a_client_is_there_and_what_the_host_said_for_ever() -> None:
    node = bb.install(SERVER, [], PAGES, ["Pages"])
    node.add_peer(peer(1), ["/dns/host/tcp/1"])
    for n in (1, 2):
        node.receive(announce(peer(n), f"/dns/c{n}/tcp/1", f"/p2p/{peer(n)}"), 0, source=peer(n))
    sent = [s for s in node.poll(0).steps if isinstance(s, SendEnvelope)]
    assert [list(map(str, map(Address.from_bytes, s.addresses))) for s in sent] == [
        ["/dns/host/tcp/1", "/dns/c1/tcp/1"],
        ["/dns/c2/tcp/1"],
    ]
    node.receive(announce(peer(2), "/dns/moved/tcp/1"), 1, source=peer(2))
    (step,) = node.poll(1).steps
    assert isinstance(step, SendEnvelope)
    assert step.addresses == (Address.parse("/dns/moved/tcp/1").to_bytes(),)
    assert node.stats()["peers"] == 2
    assert paged(node, "page", 100 * SECOND) == []
    assert node.stats()["peers"] == 1


# --- byte for byte ----------------------------------------------------------------------------------------------------


def test_the_messages_are_those_of_the_reference() -> None:
    hello = Announce(peer(7), AddressList([Address.parse(f"/p2p/{peer(7)}")]))
    assert hello.to_bytes().hex() == (
        "0a000000000000000008000000000000000701000000000000000100000000000000000000000a0000000000000000080000000000000007"
    )
    shake = Handshake(90 * SECOND, 30 * SECOND, AddressList([Address.parse(f"/p2p/{peer(1)}")]))
    assert shake.to_bytes().hex() == (
        "00046bf41400000000ac23fc0600000001000000000000000100000000000000000000000a0000000000000000080000000000000001"
    )
    assert Announce.from_bytes(memoryview(hello.to_bytes())) == hello
    assert Handshake.from_bytes(memoryview(shake.to_bytes())) == shake


@pytest.mark.parametrize("addresses", [[], [f"/p2p/{peer(7)}"]])
def test_the_announce_is_the_golden_envelope(addresses: list[str]) -> None:
    node = bb.install(peer(7), addresses, CALLING, ["Calling"])
    node.invoke("Calling", {"server": peer(1)}, 0)
    sent = [s for s in node.poll(0).steps if isinstance(s, SendEnvelope)]
    assert [(s.peer, s.data.hex()) for s in sent] == [(peer(1), GV3)]


def test_the_golden_envelope_is_answered_with_a_handshake() -> None:
    node = bb.install(peer(1), [f"/p2p/{peer(1)}"], PAGES, ["Pages"])
    node.receive(bytes.fromhex(GV3), 0, source=peer(7))
    (sent,) = node.poll(0).steps
    assert isinstance(sent, SendEnvelope)
    envelope = decode(sent.data)
    assert sent.peer == peer(7)
    assert envelope.dest_peer_addresses == (Address.parse(f"/p2p/{peer(7)}").to_bytes(),)
    (fill,) = envelope.fills
    assert str(Address.from_bytes(fill.dest_suffix)) == "/component/1/op/Handshake"
    assert (fill.type_hash, fill.trigger_only, envelope.request, envelope.src_peer) == (0, False, 0, b"")
    assert not envelope.has_correlation
    assert Handshake.from_bytes(memoryview(fill.payload)).ttl_ns == 90 * SECOND


def test_later_announces_say_how_long_they_count() -> None:
    loopback = network(1)
    sent: list[int] = []
    loopback.intercept(lambda source, to, data: sent.append(decode(data).remaining_deadline_ns) or data)
    loopback.run_to(31 * SECOND)
    assert sent == [0, 0, 90 * SECOND, 0]


# --- the client -------------------------------------------------------------------------------------------------------


def test_an_announce_before_its_time_sends_nothing_but_another_server_is_told() -> None:
    pair = [bb.install(peer(n), [], PAGES, ["Pages"]) for n in (1, 2)]
    node = bb.install(peer(7), [], CALLING, ["Calling"])
    loopback = Loopback([node, *pair])
    for server_peer, count in ((1, 2), (1, 2), (2, 4)):
        loopback.invoke(peer(7), "Calling", {"server": peer(server_peer)})
        loopback.run_until_quiet()
        assert loopback.envelopes == count
    loopback.run_to(31 * SECOND)
    assert loopback.envelopes == 6


def test_a_client_without_a_server_says_so() -> None:
    node = bb.install(peer(7), [], CALLING, ["Calling"])
    node.invoke("Calling", {"go": bb.TRIGGER}, 0)
    (step,) = node.poll(0).steps
    assert isinstance(step, OpFailed)
    assert "to which server" in step.error.message
    with pytest.raises(errors.ConfigError):
        bb.Compiler().bind({"registry": bb.use(GlobalRegistryClient, server="nonsense")}).compile(Calling())


def test_a_client_goes_on_from_a_snapshot_with_its_heartbeat() -> None:
    loopback = network(1)
    loopback.run_to(10 * SECOND)
    first = loopback.nodes[peer(1)]
    second = client(1)
    second.restore(first.snapshot())
    assert second.snapshot() == first.snapshot()
    for now in (20 * SECOND, 30 * SECOND + 2 * 10**6, 60 * SECOND):
        assert repr(second.poll(now)) == repr(first.poll(now))
    assert second.explain_wakeup().startswith("timer 'heartbeat' of registry")


def test_the_server_is_replayed() -> None:
    log = io.BytesIO()
    loopback = network(10)
    loopback.nodes[SERVER].record(log.write)
    loopback.run_to(40 * SECOND)
    view(loopback, "sample")
    found = replay(log.getvalue(), server)
    assert found.divergence is None
    assert found.steps >= 21


def test_it_is_found_by_name() -> None:
    names = {"cohort": "bytesandbrains.GlobalRegistryServer", "registry": "bytesandbrains.GlobalRegistryClient"}
    assert bb.Compiler().bind(names).compile(Discovery()).functions == DISCOVERY.functions
