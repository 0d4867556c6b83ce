"""What is sent with a receipt, or is too large for one Envelope: it arrives, once, whatever the network does."""

from __future__ import annotations

import resource
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.engine.assembling import IDLE_NS, MOST_EACH
from bb_core.errors import CapExceeded, IllegalValue, NotDelivered, Overfull, PayloadError, RoleError
from bb_core.ids import site_id
from bb_core.steps import AppEvent, Dropped, EnvelopeRejected, FillRejected, OpFailed, SendEnvelope, Undelivered
from bb_core.testing import Loopback, Network
from bb_core.wire.address import site_suffix
from bb_core.wire.chunks import CHUNK, Chunk, cut, encode_chunk
from bb_core.wire.codec import Envelope, Fill, encode
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import TENSOR, encode_value
from tests.support import Everyone, kinds, of_kind, peer

SECOND = 10**9
ROUGH = Network(latency_ns=20_000_000, jitter_ns=10_000_000, loss=0.3, duplicate=0.3, reorder=0.2)
SMALL = bb.NodeConfig(limits=WireLimits(payload_bytes=2048, total_bytes=16_384))


class Passing(bb.Module):
    """The coordinator sends two values to its clients, who give them out, and send the first one back."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def __init__(self, ack: bool = True, deadline: str | None = None) -> None:
        self.ack = ack
        self.deadline = deadline

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32["N"]), g.input("y", bb.f32["M"])
        clients = self.cohort.current_view(g, after=x)
        sent = g.send((x, y), to=clients, ack=self.ack, deadline=self.deadline)
        there_x, there_y = sent
        g.output("x_there", there_x)
        g.output("y_there", there_y)
        if sent.delivered is not None:
            g.output("delivered", sent.delivered)
        back = g.reply(there_x, to=there_x, ack=self.ack, deadline=self.deadline)
        g.output("back", back)


def joined(
    module: bb.Module, clients: int, network: Network | None = None, options: bb.NodeConfig | None = None, seed: int = 0
) -> Loopback:
    name = type(module).__name__
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(module)
    nodes = [bb.install(peer(0), [], artefact, [name], options=options)]
    for number in range(1, clients + 1):
        nodes.append(bb.install(peer(number), [], artefact, [f"{name}@client"], options=options))
        nodes[0].add_peer(peer(number), peer_class="client")
    return Loopback(nodes, network, seed)


def given(loopback: Loopback) -> dict[tuple[bb.PeerId, str], list[Any]]:
    found: dict[tuple[bb.PeerId, str], list[Any]] = {}
    for seen in loopback.seen:
        if isinstance(seen.step, AppEvent):
            found.setdefault((seen.peer, seen.step.port), []).append(seen.step.value)
    return found


def send(loopback: Loopback, sizes: tuple[int, int]) -> tuple[Any, Any]:
    x, y = (np.arange(size, dtype=np.float32) for size in sizes)
    loopback.invoke(peer(0), "Passing", {"x": x, "y": y})
    return x, y


def quiet(loopback: Loopback) -> None:
    loopback.run_until_quiet()
    for node in loopback.nodes.values():
        assert node.stats() | {"peers": 0, "timers": 0, "requests": 0} == dict.fromkeys(node.stats(), 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(3, 4), (3000, 4), (10_000, 5_000), (0, 9000)], ids=str)
def test_values_arrive_once_over_a_network_that_loses_doubles_and_reorders(sizes: tuple[int, int], seed: int) -> None:
    loopback = joined(Passing(), 3, ROUGH, SMALL, seed)
    x, y = send(loopback, sizes)
    quiet(loopback)
    events = given(loopback)
    for number in (1, 2, 3):
        ((got_x,), (got_y,)) = events[peer(number), "x_there"], events[peer(number), "y_there"]
        assert np.array_equal(got_x, x)
        assert np.array_equal(got_y, y)
    assert events[peer(0), "delivered"] == [bb.TRIGGER]
    assert [len(v) for v in events[peer(0), "back"]] == [len(x)] * 3


def test_large_values_go_in_chunks_without_being_asked_to_and_reach_all_peers() -> None:
    loopback = joined(Passing(ack=False), 20, ROUGH, SMALL)
    x, _ = send(loopback, (20_000, 1))
    quiet(loopback)
    assert sum(np.array_equal(v, x) for v in given(loopback)[peer(0), "back"]) == 20


def test_a_lost_envelope_is_sent_again_soon_and_then_seldom() -> None:
    loopback = joined(Passing(deadline="60s"), 1)
    times: list[int] = []

    def lose(source: bb.PeerId, destination: bb.PeerId, data: bytes) -> bytes | None:
        times.append(loopback.now)
        return None

    loopback.intercept(lose)
    send(loopback, (1, 1))
    loopback.run_until_quiet()
    waits = np.diff(times) / SECOND
    assert 1 <= waits[0] <= 1.25  # before there are samples
    assert all(1.4 < later / earlier < 2.7 for earlier, later in pairwise(waits))
    assert loopback.now >= 60 * SECOND


def test_who_never_confirms_is_named_and_what_waits_for_it_fails_at_the_authors_line() -> None:
    loopback = joined(Passing(deadline="5s"), 2)
    del loopback.nodes[peer(2)]
    send(loopback, (1, 1))
    quiet(loopback)
    (undelivered,) = of_kind(loopback.seen, Undelivered)
    assert (undelivered.peer, undelivered.arrived, undelivered.count) == (peer(2), 0, 1)
    (failed,) = of_kind(loopback.seen, OpFailed)
    assert isinstance(failed.error, NotDelivered)
    assert str(peer(2)) in str(failed.error)
    assert str(peer(1)) not in str(failed.error)
    assert "test_deliveries.py" in failed.where
    assert (peer(0), "delivered") not in given(loopback)
    assert (peer(1), "x_there") in given(loopback)


def test_a_node_says_of_whom_it_waits_for_a_receipt() -> None:
    loopback = joined(Passing(), 2)
    node = loopback.nodes[peer(0)]
    send(loopback, (1, 1))
    node.poll(0)
    (waiting,) = node.explain()
    assert waiting.op == "Delivered"
    assert waiting.peers == (peer(1), peer(2))
    assert "receipt" in node.explain_wakeup()


def test_an_answer_is_as_good_as_a_receipt() -> None:
    loopback = joined(Passing(), 1)
    loopback.intercept(lambda source, to, data: None if b"upto" in data and source == peer(1) else data)
    send(loopback, (1, 1))
    loopback.run(lambda: (peer(0), "delivered") in given(loopback))
    assert loopback.now < SECOND  # before anything was sent a second time


class Asking(bb.Module):
    """The coordinator gathers the confirmed answers of its clients, and then takes no more of them."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        clients = self.cohort.current_view(g, after=x)
        there = g.send(x, to=clients)
        back = g.reply(there, to=there, ack=True, deadline="30s")
        g.output("answers", g.gather(back, deadline="30s").senders)


@pytest.mark.parametrize("size", [1, 4096])
def test_an_answer_is_confirmed_again_although_its_request_has_closed(size: int) -> None:
    loopback = joined(Asking(), 1, options=SMALL)
    told: list[bool] = []

    def lose_until_closed(source: bb.PeerId, destination: bb.PeerId, data: bytes) -> bytes | None:
        if source == peer(0) and b"upto" in data:
            told.append((peer(0), "answers") in given(loopback))
            return data if told[-1] else None
        return data

    loopback.intercept(lose_until_closed)
    loopback.invoke(peer(0), "Asking", {"x": np.zeros(size, np.float32)})
    quiet(loopback)
    assert {*told} == {True, False}
    assert loopback.now < 10 * SECOND
    assert not {"Undelivered", "EnvelopeRejected"} & set(kinds(loopback.seen))
    assert {step.reason for step in of_kind(loopback.seen, Dropped)} == {"duplicate"}


def test_nothing_more_goes_to_a_peer_that_is_blocked() -> None:
    loopback = joined(Passing(), 1)
    node = loopback.nodes[peer(0)]
    send(loopback, (1, 1))
    node.poll(0)
    node.block(peer(1))
    result = node.poll(2 * SECOND)
    assert [type(step) for step in result.steps] == [Undelivered, OpFailed]
    assert node.is_idle


@pytest.mark.parametrize("every", [1, 3])
def test_both_nodes_go_on_from_snapshots_taken_in_the_middle(every: int) -> None:
    plain, restored = (joined(Passing(), 2, ROUGH, SMALL, 7) for _ in range(2))
    for loopback in (plain, restored):
        send(loopback, (4000, 2000))
    quiet(plain)
    count = 0

    def restore() -> bool:
        nonlocal count
        count += 1
        if count % every == 0:
            for node in restored.nodes.values():
                node.restore(node.snapshot())
        return False

    restored.run(restore)
    assert [(s.time, s.peer, kinds([s])) for s in restored.seen] == [(s.time, s.peer, kinds([s])) for s in plain.seen]
    assert restored.bytes_on_wire == plain.bytes_on_wire


def test_equal_seeds_give_equal_bytes() -> None:
    runs = []
    for _ in range(2):
        loopback = joined(Passing(), 3, ROUGH, SMALL, 3)
        sent: list[bytes] = []
        loopback.intercept(lambda source, to, data, sent=sent: sent.append(data) or data)  # type: ignore[func-returns-value]
        send(loopback, (5000, 5))
        quiet(loopback)
        runs.append(sent)
    assert runs[0] == runs[1]


def test_a_value_that_is_larger_than_any_may_be_is_refused_where_it_is_sent() -> None:
    options = bb.NodeConfig(limits=SMALL.limits, max_value_bytes=10_000)
    loopback = joined(Passing(), 1, options=options)
    send(loopback, (50_000, 1))
    quiet(loopback)
    (failed,) = of_kind(loopback.seen, OpFailed)
    assert isinstance(failed.error, RoleError)
    assert "max_value_bytes" in str(failed.error)


def test_a_deadline_needs_a_receipt_and_some_time() -> None:
    class Wrong(bb.Module):
        def __init__(self, **options: Any) -> None:
            self.options = options

        def body(self, g: bb.Graph) -> None:
            g.send(g.input("x", bb.f32[1]), to=g.input("to", bb.types.PEER_ID), **self.options)

    for options in ({"deadline": "1s"}, {"ack": True, "deadline": 0}):
        with pytest.raises(IllegalValue, match="test_deliveries"):
            bb.Compiler().compile(Wrong(**options))


# --- chunks of strangers ----------------------------------------------------------------------------------------------

X, Y = (site_id("Passing@client", port) for port in ("x", "x/y"))


def client(**options: Any) -> bb.Node:
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Passing())
    return bb.install(peer(1), [], artefact, ["Passing@client"], options=bb.NodeConfig(**options))


def chunk(
    index: int, count: int, offset: int, total: int, data: bytes, *, site: int = X, request: int = 5, **other: Any
) -> bytes:
    payload = encode_chunk(Chunk(index, count, offset, total, other.get("type_hash", TENSOR.type_hash), data))
    return encode(Envelope(fills=(Fill(site_suffix(site), payload, False, CHUNK.type_hash),), kind=1, request=request))


def refusals(node: bb.Node, *envelopes: bytes, now: int = 0, source: int = 9) -> list[Exception]:
    for data in envelopes:
        node.receive(data, now, source=peer(source))
    return [s.error for s in node.poll(now).steps if isinstance(s, FillRejected | EnvelopeRejected)]


def test_the_sites_of_the_program_are_those_that_the_tests_below_send_to() -> None:
    assert refusals(client(), chunk(0, 2, 0, 10, b"12345"), chunk(0, 2, 0, 10, b"12345", site=Y, request=6)) == []


IMPOSSIBLE = {
    "index outside": chunk(2, 2, 0, 10, b"1"),
    "no chunks": chunk(0, 0, 0, 10, b"1"),
    "too many": chunk(0, 1 << 17, 0, 10, b"1"),
    "beyond the end": chunk(0, 2, 8, 10, b"123"),
    "other type": chunk(0, 2, 0, 10, b"1", type_hash=encode_value(peer(1))[0]),
    "unknown type": chunk(0, 2, 0, 10, b"1", type_hash=1),
    "no request": chunk(0, 2, 0, 10, b"1", request=0),
    "rubbish": encode(Envelope(fills=(Fill(site_suffix(X), b"\xff", False, CHUNK.type_hash),), kind=1, request=5)),
}


@pytest.mark.parametrize("data", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_chunk_that_cannot_be_is_refused_and_holds_nothing(data: bytes) -> None:
    node = client()
    (error,) = refusals(node, data)
    assert isinstance(error, PayloadError)
    assert node.stats()["assembled_bytes"] == 0


@pytest.mark.parametrize("other", [{"count": 3}, {"total": 11}, {"type_hash": encode_value(bb.Record())[0]}])
def test_a_chunk_that_does_not_fit_to_the_first_is_refused_and_the_value_can_still_come(other: dict[str, int]) -> None:
    node = client()
    first = {"index": 0, "count": 2, "offset": 0, "total": 10, "data": b"12345"}
    (error,) = refusals(node, chunk(**first), chunk(**{**first, "index": 1, "offset": 5, **other}))  # type: ignore[arg-type]
    assert isinstance(error, PayloadError)


def test_chunks_that_overlap_give_no_value() -> None:
    node = client()
    errors = refusals(node, chunk(0, 2, 0, 8, b"1234"), chunk(1, 2, 2, 8, b"1234"))
    assert [type(error).__name__ for error in errors] == ["IncompleteEdge"]  # the edge has two values
    both = [chunk(0, 3, 0, 8, b"1234"), chunk(1, 3, 2, 8, b"1234567"[:6]), chunk(2, 3, 0, 0, b"", site=Y)]
    (error,) = refusals(node, *both)
    assert isinstance(error, PayloadError)
    assert node.stats()["assembled_bytes"] == 0


def test_a_declared_length_takes_no_more_than_the_budget_and_never_more_than_a_value_may_have() -> None:
    node = client(max_value_bytes=10**6, ingress_bytes=2 * 10**6)
    (too_large,) = refusals(node, chunk(0, 2, 0, 2 * 10**6, b"1"))
    assert isinstance(too_large, CapExceeded)
    envelopes = [chunk(0, 2, 0, 10**6, b"1", request=n) for n in range(1, 5)]
    for source, refused in ((9, 3), (8, 3), (7, 4)):  # one peer gets half
        assert [type(error) for error in refusals(node, *envelopes, source=source)] == [Overfull] * refused
    assert node.stats()["assembled_bytes"] <= 2.2 * 10**6
    assert refusals(node, now=2 * IDLE_NS) == []
    assert node.stats()["assembled_bytes"] == 0  # nothing came for them


def test_one_peer_can_have_only_so_many_values_under_way() -> None:
    node = client()
    errors = refusals(node, *(chunk(0, 2, 0, 10, b"1", request=n) for n in range(1, MOST_EACH + 3)))
    assert [type(error) for error in errors] == [Overfull] * 2
    assert refusals(node, chunk(0, 2, 0, 10, b"1"), source=8) == []


def test_what_is_abandoned_is_dropped_with_a_step_and_a_later_chunk_begins_anew() -> None:
    node = client()
    refusals(node, chunk(0, 2, 0, 10, b"12345"))
    result = node.poll(IDLE_NS)
    assert [s for s in result.steps if isinstance(s, Dropped)] == [Dropped(peer(9), "abandoned", 1)]
    assert node.stats()["timers"] == 0


def test_a_receipt_says_which_chunks_are_there() -> None:
    node = client()
    refusals(node, chunk(0, 9, 0, 90, b"0"), chunk(3, 9, 30, 90, b"0"))
    node.receive(chunk(5, 9, 50, 90, b"0"), 0, source=peer(9))
    (sent,) = [s for s in node.poll(0).steps if isinstance(s, SendEnvelope)]
    assert b"upto" in sent.data
    assert bytes([0b0001_0100]) in sent.data  # 1 + 2 and 1 + 4


def test_cut_takes_from_several_buffers() -> None:
    parts = [memoryview(b"abc"), memoryview(b""), memoryview(b"defg")]
    whole = b"abcdefg"
    for start in range(8):
        for stop in range(start, 8):
            assert b"".join(cut(parts, start, stop)) == whole[start:stop]


# --- size -------------------------------------------------------------------------------------------------------------


class Handing(bb.Module):
    """The coordinator hands one value to a client."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        g.output("there", g.send(x, to=self.cohort.current_view(g, after=x), ack=True))


def hand_over(count: int, options: bb.NodeConfig) -> tuple[int, int]:
    """Let so many numbers cross. Returns by how many bytes this process has grown, and the virtual time that took."""
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Handing())
    nodes = [
        bb.install(peer(n), [], artefact, [t], options=options) for n, t in enumerate(("Handing", "Handing@client"))
    ]
    nodes[0].add_peer(peer(1), peer_class="client")
    loopback = Loopback(nodes, Network(latency_ns=20_000_000, loss=0.2, duplicate=0.2))
    x = np.arange(count, dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loopback.invoke(peer(0), "Handing", {"x": x})
    loopback.run_until_quiet()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    (there,) = given(loopback)[peer(1), "there"]
    assert all(np.array_equal(there[i : i + 2**20], x[i : i + 2**20]) for i in range(0, count, 2**20))
    assert there.shape == x.shape
    return 1024 * grown, loopback.now


GIBIBYTE = """
import bb_core as bb
from tests.core.node.test_deliveries import hand_over
print(*hand_over(2**28, bb.NodeConfig(max_value_bytes=2**30)))
"""


@pytest.mark.slow
def test_a_gibibyte_crosses_a_lossy_network_in_the_memory_of_the_value_and_the_budget() -> None:
    run = subprocess.run([sys.executable, "-c", GIBIBYTE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    grown, took = map(int, run.stdout.split())
    assert grown < 2**30 + bb.NodeConfig().ingress_bytes
    assert took < 600 * SECOND
