"""What one Node sends is what another is given: which values, how often, for whom, and whenever that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.steps import AppEvent, Dropped, FillRejected, OpFailed, SendEnvelope
from bb_core.values import Composite, RequestId
from bb_core.wire.address import Address, AddressList, site_suffix
from bb_core.wire.codec import Envelope, Fill, decode, encode
from bb_core.wire.limits import WireLimits
from tests.support import AVERAGING, Averaging, Everyone, Weight, peer

SECOND = 10**9
ONE = np.ones(1, np.float32)


def pair(
    module: bb.Module, bindings: Mapping[str, Any], *, clients: int = 1, **options: Any
) -> tuple[bb.Node, dict[bb.PeerId, bb.Node]]:
    """A Node of the Module's own class, and its clients."""
    artefact = bb.Compiler().bind(bindings).compile(module)
    node = bb.install(peer(0), [], artefact, [module.name], options=bb.NodeConfig(**options))
    found = {}
    for n in range(1, clients + 1):
        found[peer(n)] = bb.install(peer(n), [], artefact, [f"{module.name}@client"])
        node.add_peer(peer(n), peer_class="client")
    return node, found


def sent(steps: list[Any]) -> list[SendEnvelope]:
    return [step for step in steps if isinstance(step, SendEnvelope)]


def exchange(node: bb.Node, clients: Mapping[bb.PeerId, bb.Node], steps: list[Any], now: int) -> list[Any]:
    """Hand to the clients what a Node has sent them, and to it what they answer; returns all Steps of both sides."""
    found = list(steps)
    for step in sent(steps):
        client = clients[step.peer]
        client.receive(step.data, now, source=node.peer_id)
        there = client.poll(now).steps
        found += there
        for back in sent(there):
            node.receive(back.data, now, source=client.peer_id)
    return [*found, *node.poll(now).steps]


# --- which values -----------------------------------------------------------------------------------------------------

t = bb.types
DOOR = Address.parse(f"/p2p/{peer(7)}")
VALUES: list[tuple[Any, Any]] = [
    (bb.f32["N"], np.arange(3, dtype=np.float32)),
    (bb.f64["N", "M"], np.ones((2, 3))),
    (t.f16["N"], np.ones(3, np.float16)),
    (bb.i64[()], np.asarray(-5, np.int64)),
    (t.u64[()], np.asarray(2**64 - 1, np.uint64)),
    (t.bool_["N"], np.array([True, False])),
    (t.u8["N"], np.zeros(0, np.uint8)),
    (t.TRIGGER, bb.TRIGGER),
    (t.BYTES, b"\x00 bytes"),
    (t.RECORD, bb.Record(loss=0.5, name="x", history=np.arange(2))),
    (t.PEER_ID, peer(5)),
    (t.PEER_LIST, bb.PeerList([peer(5), peer(3)])),
    (t.REQUEST_ID, RequestId(9)),
    (t.ADDRESS, DOOR),
    (t.ADDRESS_LIST, AddressList([DOOR, DOOR])),
    (t.COMPOSITE, Composite([ONE, bb.TRIGGER, bb.Record(n=1)])),
]


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, bb.Record):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, Composite) else bool(a == b)


class Parcel(bb.Module):
    """Sends one value of a type, and some more beside it."""

    peers = bb.PeerSelectorSlot(peer_class="client")

    def __init__(self, type_: Any) -> None:
        self.type_ = type_

    def body(self, g: bb.Graph) -> None:
        value, go = g.input("value", self.type_), g.input("go", bb.types.TRIGGER)
        there, mark = g.send((value, g.constant(ONE)), to=self.peers.current_view(g, after=go), after=go)
        g.output("there", there)
        g.output("mark", mark)


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=[str(type_) for type_, _ in VALUES])
def test_a_value_of_any_type_arrives_as_what_it_was(type_: Any, value: Any) -> None:
    node, clients = pair(Parcel(type_), {"peers": Everyone})
    node.invoke("Parcel", {"value": value, "go": bb.TRIGGER}, 0)
    found = exchange(node, clients, node.poll(0).steps, 0)
    given = {step.port: step.value for step in found if isinstance(step, AppEvent)}
    assert given.keys() == {"there", "mark"}
    assert same(given["there"], value)


def test_an_envelope_holds_the_values_that_were_sent_and_not_for_whom_or_after_what() -> None:
    node, _ = pair(Parcel(bb.f32[1]), {"peers": Everyone}, clients=3)
    node.invoke("Parcel", {"value": ONE * 2, "go": bb.TRIGGER}, 0)
    found = sent(node.poll(0).steps)
    assert [step.peer for step in found] == [peer(1), peer(2), peer(3)]
    for step in found:
        fills = decode(step.data, WireLimits()).fills
        assert len(fills) == 2
        assert not any(fill.trigger_only for fill in fills)
        assert len({fill.dest_suffix for fill in fills}) == 2


def test_where_a_value_goes_does_not_depend_on_what_else_its_receiver_hosts_or_has_done() -> None:
    node, _ = pair(Parcel(bb.f32[1]), {"peers": Everyone})
    artefact = bb.Compiler().bind({"peers": Everyone}).compile(Parcel(bb.f32[1]))
    given = []
    for targets, before in ((["Parcel@client"], 0), (["Parcel@client", "Parcel"], 0), (["Parcel", "Parcel@client"], 3)):
        other = bb.install(peer(1), [], artefact, targets)
        other.add_peer(peer(2), peer_class="client")
        for _ in range(before):
            other.invoke("Parcel", {"value": ONE, "go": bb.TRIGGER}, 0)
        other.poll(0)
        node.invoke("Parcel", {"value": ONE * 2, "go": bb.TRIGGER}, 0)
        (envelope,) = sent(node.poll(0).steps)
        other.receive(envelope.data, 0, source=peer(0))
        given.append([(e.target, e.port, e.value.tolist()) for e in other.poll(0).steps if isinstance(e, AppEvent)])
    assert given == [[("Parcel@client", "there", [2.0]), ("Parcel@client", "mark", [1.0])]] * 3


# --- how often --------------------------------------------------------------------------------------------------------


def test_equal_updates_of_two_peers_both_count_and_so_do_those_of_the_next_round() -> None:
    node, clients = pair(Averaging(), AVERAGING, clients=2)
    for number in range(1, 30):
        node.invoke("Averaging", {"round": bb.TRIGGER}, number)
        found = exchange(node, clients, node.poll(number).steps, number)
        assert [step.value for step in found if isinstance(step, AppEvent) and step.port == "training"] == [
            bb.Record(peers=2)
        ]
        for client in clients.values():  # what it sends in the next round is byte for byte what it sent in this one
            client.component("model").value[:] = 0
        node.component("model").value[:] = 0
        assert not [step for step in found if isinstance(step, Dropped | OpFailed | FillRejected)]


class Ticking(bb.Module):
    """Sends a Trigger, which has no content at all."""

    peers = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        there = g.send(go, to=self.peers.current_view(g, after=go))
        bb.syscalls.metric(g, there, name="heard")
        g.output("there", there)


def test_each_of_many_triggers_arrives_once_and_a_copy_of_one_not_at_all() -> None:
    node, clients = pair(Ticking(), {"peers": Everyone})
    client = clients[peer(1)]
    for number in range(100):
        node.invoke("Ticking", {"go": bb.TRIGGER}, number)
        (envelope,) = sent(node.poll(number).steps)
        for _ in range(2):
            client.receive(envelope.data, number, source=peer(0))
        assert [type(step) for step in client.poll(number).steps] == [Dropped, AppEvent]
    assert client.counters() == {"heard": 100}


# --- whenever that is -------------------------------------------------------------------------------------------------


def shifted(step: Any, by: int) -> Any:
    if isinstance(step, SendEnvelope):
        return (step.id, step.peer, step.data, step.deadline - by)
    return repr(step)


def a_missed_round(begin: int) -> list[Any]:
    """A round of which one answer is lost, and a request that nobody collects, from some time on."""
    node, clients = pair(Averaging(), AVERAGING, clients=2)
    node.invoke("Averaging", {"round": bb.TRIGGER}, begin)
    steps = node.poll(begin).steps
    found = [shifted(step, begin) for step in steps]
    (first, _) = sent(steps)
    clients[first.peer].receive(first.data, begin + SECOND, source=peer(0))
    (back,) = sent(clients[first.peer].poll(begin + SECOND).steps)
    found.append(shifted(back, begin))
    node.receive(back.data, begin + SECOND, source=first.peer)
    when = begin + SECOND
    while True:
        result = node.poll(when)
        found += [shifted(step, begin) for step in result.steps]
        if result.next_wakeup is None:
            return found
        when = result.next_wakeup
        found.append(when - begin)


@pytest.mark.parametrize("begin", [10**8 + 1, 1_700_000_000 * SECOND, 2**62])
def test_deadlines_count_from_when_they_are_set_not_from_when_the_clock_began(begin: int) -> None:
    assert a_missed_round(begin) == a_missed_round(0)
    assert len([step for step in a_missed_round(begin) if "AppEvent" in str(step)]) == 2


# --- for whom ---------------------------------------------------------------------------------------------------------


class Holding(bb.Module):
    """A round of its child, whose Aggregator knows who has sent what although it is a child's."""

    model = bb.ModelSlot()

    def __init__(self) -> None:
        self.child = Averaging(n=3)

    def body(self, g: bb.Graph) -> None:
        out = self.child(g, round=g.input("round", bb.types.TRIGGER))
        self.model.load_parameters(g, out.params)
        g.output("params", self.model.params(g, after=out.training))


def test_a_round_inside_a_child_knows_its_sources_and_goes_on_in_the_frame_that_began_it() -> None:
    node, clients = pair(Holding(), {"model": Weight, **{f"child.{k}": v for k, v in AVERAGING.items()}}, clients=3)
    exec_id = node.invoke("Holding", {"round": bb.TRIGGER}, 0)
    for n, client in enumerate(clients.values(), 1):
        client.component("child.data").config = replace(client.component("child.data").config, numbers=(float(n),))
    found = exchange(node, clients, node.poll(0).steps, 0)
    assert [(e.exec_id, e.port, e.value.tolist()) for e in found if isinstance(e, AppEvent)] == [
        (exec_id, "params", [2.0])
    ]
    assert node.is_idle


class WithItsOwn(bb.Module):
    """A round to which the coordinator itself contributes."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()

    def body(self, g: bb.Graph) -> None:
        start = g.input("round", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=3, after=start)
        asked = g.send(self.model.params(g, after=start), to=clients)
        loaded = self.model.load_parameters(g, asked)
        loss, stats = self.model.train_epochs(g, self.data, after=loaded)
        update, told = g.send((self.model.params(g, after=loss), stats), to=asked.sender)
        self.aggregator.contribute(g, update, told)
        mine = self.aggregator.contribute(g, g.constant(ONE * 9), g.input("stats", bb.types.RECORD))
        done = self.aggregator.collect(g, clients, deadline="10s", after=[asked.request, mine])
        params, total = self.aggregator.aggregate(g, after=done)
        g.output("params", params)
        g.output("total", total)


def test_a_node_contributes_to_its_own_round() -> None:
    node, clients = pair(WithItsOwn(), AVERAGING, clients=2)
    node.invoke("WithItsOwn", {"round": bb.TRIGGER, "stats": bb.Record(num_samples=1)}, 0)
    found = exchange(node, clients, node.poll(0).steps, 0)
    given = {step.port: step.value for step in found if isinstance(step, AppEvent)}
    assert given["total"] == bb.Record(peers=3)
    np.testing.assert_allclose(given["params"], [(9 + 1 + 1) / 3], rtol=1e-6)


# --- what is learnt of those who answer -------------------------------------------------------------------------------


def test_each_answer_teaches_how_long_its_peer_takes() -> None:
    node, clients = pair(Averaging(), AVERAGING, clients=2)
    for number in range(4):
        now = number * SECOND
        node.invoke("Averaging", {"round": bb.TRIGGER}, now)
        for step in sent(node.poll(now).steps):
            clients[step.peer].receive(step.data, now, source=peer(0))
            (back,) = sent(clients[step.peer].poll(now).steps)
            node.receive(back.data, now + 1000, source=step.peer)
        node.poll(now + 1000)
    estimates = [node._engine.round_trips.estimate(source) for source in clients]
    assert [(e.srtt, e.samples) for e in estimates if e is not None] == [(1000, 4)] * 2


CLAIMS = 100


def test_a_peer_cannot_make_a_node_keep_ever_more_addresses_and_is_forgotten_whole() -> None:
    node, _ = pair(Ticking(), {"peers": Everyone})
    stranger = Fill(site_suffix(1), b"", trigger_only=True)
    for n in range(CLAIMS):
        addresses = tuple(Address.parse(f"/p2p/{peer(100 + n + i)}").to_bytes() for i in range(8))
        envelope = Envelope(fills=[stranger], src_peer=peer(1).raw, src_peer_addresses=addresses)
        node.receive(encode(envelope), n, source=peer(1))
        assert [type(step) for step in node.poll(n).steps] == [FillRejected]
    node.invoke("Ticking", {"go": bb.TRIGGER}, CLAIMS)
    (step,) = sent(node.poll(CLAIMS).steps)
    assert 1 <= len(step.addresses) <= 16
    node.drop_peer(peer(1))
    assert node.stats()["peers"] == 0
    node.add_peer(peer(1), peer_class="client")
    node.invoke("Ticking", {"go": bb.TRIGGER}, CLAIMS)
    (step,) = sent(node.poll(CLAIMS).steps)
    assert step.addresses == ()
