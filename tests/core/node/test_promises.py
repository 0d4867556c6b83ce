"""What a Node promises of each op, input and peer, shown by real Nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import syscalls as s
from bb_core.errors import IngressFull, NotExported
from bb_core.ids import component_id
from bb_core.steps import (
    AppEvent,
    Backpressure,
    Dropped,
    EnvelopeRejected,
    FillRejected,
    OpFailed,
    PeerBlocked,
    PeerDown,
    PeerHeard,
    PeerSilenced,
    PeerSuspect,
    PeerUp,
    SendEnvelope,
)
from bb_core.wire.address import Address
from bb_core.wire.codec import Envelope, Fill, encode
from tests.support import AVERAGING, Averaging, Everyone, NumpyBackend, peer

SECOND = 10**9


def install(module: bb.Module, bindings: dict[str, Any], target: str, **options: Any) -> bb.Node:
    artefact = bb.Compiler().bind(bindings).compile(module)
    return bb.install(peer(0), [], artefact, [target], options=bb.NodeConfig(**options))


def events(node: bb.Node, now: int) -> list[tuple[str, Any]]:
    return [(e.port, e.value) for e in node.poll(now).steps if isinstance(e, AppEvent)]


class Racing(bb.Module):
    """Takes the first of two inputs, named in either order."""

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32["N"]), g.input("y", bb.f32["N"])
        g.output("first", s.any(g, x, y))


@pytest.mark.parametrize(("names", "first"), [("xy", 1.0), ("yx", 2.0)])
def test_of_two_values_that_are_there_the_one_that_was_written_first_wins(names: str, first: float) -> None:
    node = install(Racing(), {}, "Racing")
    values = {"x": np.float32([1]), "y": np.float32([2])}
    node.invoke("Racing", {n: values[n] for n in names}, 0)
    ((port, value),) = events(node, 0)
    assert (port, value.tolist()) == ("first", [first])


class Twice(bb.Module):
    """One op with two inputs, which may be one value."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32["N"]), g.input("y", bb.f32["N"])
        g.output("sum", self.backend.add(g, x, y))
        g.output("double", self.backend.add(g, x, x))


def test_an_op_of_two_inputs_runs_once() -> None:
    node = install(Twice(), {"backend": NumpyBackend}, "Twice")
    node.invoke("Twice", {"x": np.float32([1]), "y": np.float32([2])}, 0)
    given = events(node, 0)
    assert sorted((port, value.tolist()) for port, value in given) == [("double", [2.0]), ("sum", [3.0])]
    assert node.poll(1).steps == []


def test_a_result_is_the_hosts_and_does_not_grow() -> None:
    node = install(Twice(), {"backend": NumpyBackend}, "Twice")
    before = node.poll(0)
    node.invoke("Twice", {"x": np.float32([1]), "y": np.float32([2])}, 0)
    after = node.poll(0)
    assert before.steps == []
    assert len(after.steps) == 2


def test_a_full_ingress_says_that_it_is_full_and_takes_more_after_a_poll() -> None:
    node = install(Racing(), {}, "Racing", ingress=2)
    for now in (0, 1):
        node.invoke("Racing", {"x": np.float32([1])}, now)
    with pytest.raises(IngressFull, match="2 inputs wait"):
        node.invoke("Racing", {"x": np.float32([1])}, 2)
    assert len(events(node, 2)) == 2
    node.invoke("Racing", {"x": np.float32([1])}, 3)
    assert len(events(node, 3)) == 1


@bb.concrete("tests.Careless")
class Careless(bb.roles.Model):
    """Makes a Later, and then raises, or answers at once."""

    raises = True

    def __init__(self, config: Any) -> None:
        self.told: list[str] = []

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        ctx.later(5 * SECOND, on_cancel=lambda: self.told.append("cancelled"))
        if self.raises:
            raise ValueError("changed its mind")
        return batch


class Forwarding(bb.Module):
    """One op of a Model."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("y", self.model.forward(g, g.input("x", bb.f32["N"])))


@pytest.mark.parametrize("raises", [True, False])
def test_a_later_that_its_op_has_not_returned_is_closed_and_leaves_no_timer(raises: bool) -> None:
    node = install(Forwarding(), {"model": Careless}, "Forwarding")
    model: Any = node.component("model")
    model.raises = raises
    node.invoke("Forwarding", {"x": np.float32([1])}, 0)
    result = node.poll(0)
    assert [type(step) for step in result.steps] == [OpFailed if raises else AppEvent]
    assert model.told == ["cancelled"]
    assert result.next_wakeup is None
    assert node.poll(10 * SECOND).steps == []


def coordinator(clients: int = 2) -> tuple[bb.Node, dict[bb.PeerId, bb.Node]]:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    node = bb.install(peer(0), [], artefact, ["Averaging"])
    found = {peer(n): bb.install(peer(n), [], artefact, ["Averaging@client"]) for n in range(1, clients + 1)}
    for client in found:
        node.add_peer(client, peer_class="client")
    return node, found


def play(node: bb.Node, clients: dict[bb.PeerId, bb.Node], now: int, *, silent: bb.PeerId | None = None) -> list[Any]:
    """One round, in which clients answer after a second; returns the coordinator's Steps."""
    node.invoke("Averaging", {"round": bb.TRIGGER}, now)
    steps = list(node.poll(now).steps)
    for sent in [step for step in steps if isinstance(step, SendEnvelope) and step.peer != silent]:
        clients[sent.peer].receive(sent.data, now, source=node.peer_id)
        for back in clients[sent.peer].poll(now).steps:
            if isinstance(back, SendEnvelope):
                node.receive(back.data, now + SECOND, source=sent.peer)
    return [*steps, *node.poll(now + SECOND).steps]


def test_a_peer_that_falls_silent_becomes_suspect_then_down_and_is_up_when_it_is_heard_again() -> None:
    node, clients = coordinator()
    now = 0
    for _ in range(6):
        steps = play(node, clients, now)
        assert not [step for step in steps if isinstance(step, PeerSuspect | PeerDown)]
        now += 5 * SECOND
    judged: list[Any] = []
    for _ in range(8):  # each is given up at its deadline, ten seconds after it began
        steps = play(node, clients, now, silent=peer(2))
        now += SECOND
        while (wakeup := node.poll(now).next_wakeup) is not None:
            assert node.explain_wakeup()
            now = wakeup
            steps += node.poll(now).steps
        judged += [step for step in steps if isinstance(step, PeerSuspect | PeerDown | PeerUp)]
        now += SECOND
    assert judged == [PeerSuspect(peer(2)), PeerDown(peer(2))]
    steps = play(node, clients, now)
    assert [step.peer for step in steps if isinstance(step, PeerUp)] == [peer(2)]


AGGREGATE = encode(
    Envelope(
        fills=[
            Fill(
                Address.parse(f"/component/{component_id('aggregator')}/op/Aggregate").to_bytes(),
                b"",
                trigger_only=True,
            ),
        ]
    )
)


def test_a_blocked_peer_reaches_neither_data_nor_control() -> None:
    node, clients = coordinator()
    node.block(peer(1))
    steps = play(node, clients, 0)
    assert not [step for step in steps if isinstance(step, SendEnvelope) and step.peer == peer(1)]
    node.receive(AGGREGATE, 1, source=peer(1))
    assert [step for step in node.poll(1).steps if isinstance(step, PeerBlocked)] == [PeerBlocked(peer(1))]


def test_an_op_of_a_component_cannot_be_called_from_outside() -> None:
    node, clients = coordinator()
    node.receive(AGGREGATE, 1, source=peer(1))
    (step,) = node.poll(1).steps
    assert isinstance(step, FillRejected)
    assert isinstance(step.error, NotExported)
    assert node.is_idle
    assert not [step for step in play(node, clients, 2) if isinstance(step, OpFailed | EnvelopeRejected)]


def test_who_sends_too_much_is_asked_to_wait_then_not_heard_and_heard_again_when_there_is_room() -> None:
    _, clients = coordinator()
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    node = bb.install(peer(0), [], artefact, ["Averaging"], options=bb.NodeConfig(ingress=8))
    asked: list[bytes] = []
    for second, heard in ((0, 7), (1, 7), (3, 6)):  # a notice asks for a second, the next for two; then comes silence
        for _ in range(5):
            node.receive(b"rubbish", second * SECOND, source=peer(2))
        node.receive(b"rubbish", second * SECOND, source=peer(1))
        node.receive(b"more", second * SECOND, source=peer(1))
        steps = node.poll(second * SECOND).steps
        asked += [step.data for step in steps if isinstance(step, SendEnvelope) and step.peer == peer(1)]
        assert len([step for step in steps if isinstance(step, EnvelopeRejected)]) == heard
        told = [step for step in steps if isinstance(step, PeerSilenced | PeerHeard)]
        assert told == ([] if second < 3 else [PeerSilenced(peer(1), 33 * SECOND), PeerHeard(peer(1))])
    assert len(asked) == 3
    clients[peer(1)].receive(asked[0], 0, source=node.peer_id)
    assert clients[peer(1)].poll(0).steps == [Backpressure(node.peer_id, SECOND)]
    node.receive(b"rubbish", 4 * SECOND, source=peer(1))
    assert [type(step) for step in node.poll(4 * SECOND).steps] == [EnvelopeRejected]


class Parked(bb.Module):
    """Clients hold what they were sent for a long time."""

    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        received = g.send(x, to=self.cohort.current_view(g, after=x))
        g.output("late", s.sleep(g, received, duration="1h"))


def test_a_node_says_what_it_thinks_of_a_peer() -> None:
    node, clients = coordinator()
    stranger = node.peer(peer(9))
    assert (stranger.addresses, stranger.health.value, stranger.is_allowed) == ((), "up", True)
    assert (stranger.srtt_ns, stranger.answers) == (None, 0)
    play(node, clients, 0)
    node.add_peer(peer(1), ["/memory/1"])
    node.block(peer(1))
    known = node.peer(peer(1))
    assert known.addresses == (Address.parse("/memory/1"),)
    assert (known.is_allowed, known.srtt_ns, known.answers) == (False, SECOND, 1)


def test_a_silence_ends_by_itself_and_the_node_wakes_for_it() -> None:
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Parked())
    options = bb.NodeConfig(ingress=1000, ingress_bytes=1000)
    node = bb.install(peer(0), [], artefact, ["Parked", "Parked@client"], options=options)
    sender = bb.install(peer(1), [], artefact, ["Parked"])
    sender.add_peer(peer(0), peer_class="client")
    sender.invoke("Parked", {"x": np.zeros(150, np.float32)}, 0)
    (envelope,) = [s.data for s in sender.poll(0).steps if isinstance(s, SendEnvelope)]
    node.receive(envelope, 0, source=peer(1))
    node.poll(0)
    assert node.stats()["charged_bytes"] > 600  # its Frame waits for a long time, and holds the bytes
    for second in (0, 1, 3):
        node.receive(bytes(200), second * SECOND, source=peer(1))
        result = node.poll(second * SECOND)
    assert PeerSilenced(peer(1), 33 * SECOND) in result.steps
    assert result.next_wakeup == 33 * SECOND
    assert "silenced" in node.explain_wakeup()
    node.restore(node.snapshot())
    node.receive(bytes(200), 4 * SECOND, source=peer(1))
    assert node.poll(4 * SECOND).steps == []
    assert node.poll(33 * SECOND).steps == [PeerHeard(peer(1))]


def test_what_finds_no_room_is_counted_for_each_peer_and_holds_nothing() -> None:
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    node = bb.install(peer(0), [], artefact, ["Averaging"], options=bb.NodeConfig(ingress=2))
    for _ in range(1000):
        node.receive(b"rubbish", 0, source=peer(1))
        node.receive(b"rubbish", 0, source=peer(2))
    assert node.stats()["ingress"] < 10
    dropped = {step.source: step.count for step in node.poll(0).steps if isinstance(step, Dropped)}
    assert dropped == {peer(1): 999, peer(2): 999}
    assert node.poll(0).steps == []


@pytest.mark.slow
def test_ten_thousand_rounds_leave_nothing_behind() -> None:
    node, clients = coordinator()
    for number in range(10_000):
        steps = play(node, clients, number * 5 * SECOND)
        assert len([step for step in steps if isinstance(step, AppEvent)]) >= 1
    for each in (node, *clients.values()):
        assert each.stats() | {"peers": 0} == dict.fromkeys(each.stats(), 0)
