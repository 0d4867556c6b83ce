"""When an op of a Frame runs and how often, which values it sees, and how long those are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import syscalls as s
from bb_core.steps import AppEvent, BootstrapCompleted, BudgetSpent, OpFailed, SendEnvelope
from tests.support import AVERAGING, Averaging, Itself, NumpyBackend, Weight, peer

SECOND = 10**9
ONE = np.ones(1, np.float32)


def install(module: bb.Module, bindings: Mapping[str, Any], *targets: str, **options: Any) -> bb.Node:
    artefact = bb.Compiler().bind(bindings).compile(module)
    return bb.install(peer(0), [], artefact, targets or [module.name], options=bb.NodeConfig(**options))


def told(steps: list[Any]) -> list[tuple[int, str, float]]:
    """The AppEvents: Frame, port and the sum of the value."""
    return [(int(e.exec_id), e.port, float(np.sum(e.value))) for e in steps if isinstance(e, AppEvent)]


# --- ops without inputs -----------------------------------------------------------------------------------------------


class Asked(bb.Module):
    """One op without inputs, read by three entries: an invoke, a tick, and what an Envelope brings."""

    peers = bb.PeerSelectorSlot()
    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        params = self.model.params(g)
        x = g.input("x", bb.f32[1])
        g.output("invoked", s.gate(g, params, after=x))
        g.output("unasked", g.input("y", bb.f32[1]))
        g.output("ticked", s.gate(g, params, after=s.interval(g, period="1s")))
        g.output("received", s.gate(g, params, after=g.send(x, to=self.peers.sample(g, n=1, after=x))))


def test_an_op_without_inputs_runs_once_in_each_frame_that_reads_it_and_in_no_other() -> None:
    node = install(Asked(), {"peers": Itself, "model": bb.use(Weight, start=5.0)})
    node.poll(0)
    log = node.component("model").log
    assert log == []
    node.invoke("Asked", {"y": ONE}, 0)
    assert told(node.poll(0).steps) == [(1, "unasked", 1.0)]
    assert log == []
    node.invoke("Asked", {"x": ONE}, 0)
    steps = node.poll(0).steps
    assert told(steps) == [(2, "invoked", 5.0)]
    assert log == ["params"]
    (sent,) = [step for step in steps if isinstance(step, SendEnvelope)]
    node.receive(sent.data, 0, source=peer(0))
    assert told(node.poll(0).steps) == [(3, "received", 5.0)]
    assert told(node.poll(SECOND).steps) == [(4, "ticked", 5.0)]
    assert log == ["params"] * 3


# --- how often an op runs ---------------------------------------------------------------------------------------------


@bb.concrete("tests.Adding")
class Adding(bb.roles.Index):
    """Counts how often it is asked for the sum of two values."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.asked = 0

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        assert ids is not None
        self.asked += 1
        return vectors + ids


class Sum(bb.Module):
    """One op of two inputs, in a function of its own."""

    index = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        g.output("sum", self.index.add(g, g.input("a"), g.input("b")))


class Sums(bb.Module):
    """One op of two inputs in each way in which both can come."""

    peers = bb.PeerSelectorSlot()
    invoked = bb.IndexSlot()
    same = bb.IndexSlot()
    unbundled = bb.IndexSlot()
    received = bb.IndexSlot()

    def __init__(self) -> None:
        self.child = Sum()

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x"), g.input("y")
        first, second = g.unbundle(g.bundle(x, y), bb.types.ANY, bb.types.ANY)
        there, too = g.send((x, y), to=self.peers.sample(g, n=1, after=x))
        g.output("invoked", self.invoked.add(g, x, y))
        g.output("same", self.same.add(g, x, x))
        g.output("unbundled", self.unbundled.add(g, first, second))
        g.output("received", self.received.add(g, there, too))
        g.output("child", self.child(g, a=x, b=y).sum)


def test_an_op_of_two_inputs_runs_once_however_both_of_them_come() -> None:
    slots = ("invoked", "same", "unbundled", "received", "child.index")
    node = install(Sums(), {"peers": Itself, **dict.fromkeys(slots, Adding)})
    node.invoke("Sums", {"x": ONE, "y": ONE * 2}, 0)
    steps = node.poll(0).steps
    (sent,) = [step for step in steps if isinstance(step, SendEnvelope)]
    node.receive(sent.data, 0, source=peer(0))
    given = told([*steps, *node.poll(0).steps])
    assert sorted((port, value) for _, port, value in given) == [
        ("child", 3.0),
        ("invoked", 3.0),
        ("received", 3.0),
        ("same", 2.0),
        ("unbundled", 3.0),
    ]
    assert [node.component(slot).asked for slot in slots] == [1] * 5


class Noting(bb.Module):
    """Has an input, and gives nothing back."""

    def body(self, g: bb.Graph) -> None:
        s.record(g, g.input("value", bb.f32[1]), name="noted")


class Prepared(bb.Module):
    """A bootstrap whose ops wait, and a body that calls a child without outputs."""

    model = bb.ModelSlot()

    def __init__(self) -> None:
        self.child = Noting()

    def bootstrap(self, g: bb.Graph) -> None:
        waited = s.sleep(g, g.constant(ONE * 4), duration="1s")
        self.model.load_parameters(g, waited)
        self.model.apply_delta(g, waited)

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        self.child(g, value=s.sleep(g, x, duration="2s"))
        g.output("y", self.model.params(g, after=x))


@pytest.mark.parametrize("budget", [1, 100])
def test_ops_of_children_and_bootstraps_wait_for_their_values_and_run_once(budget: int) -> None:
    node = install(Prepared(), {"model": Weight}, op_budget=budget)
    node.invoke("Prepared", {"x": ONE}, 0)
    seen: list[Any] = []
    for now in (0, SECOND, 2 * SECOND):
        more = True
        while more:
            result = node.poll(now)
            more = result.more
            seen += result.steps
    assert node.component("model").log == ["load 4", "add 4", "params"]
    assert [value.tolist() for value in node.records("noted")] == [[1.0]]
    assert [step for step in seen if isinstance(step, BootstrapCompleted)] == [BootstrapCompleted("Prepared")]
    assert [(port, value) for _, port, value in told(seen)] == [("y", 8.0)]
    assert not [step for step in seen if isinstance(step, OpFailed)]
    assert node.is_idle


# --- whose values an op sees ------------------------------------------------------------------------------------------


class Doubling(bb.Module):
    """y = 2 x, some time later."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        slept = s.sleep(g, x, duration="1s")
        g.output("y", self.backend.add(g, slept, x))


class Quadrupling(bb.Module):
    """A child in a child."""

    def __init__(self) -> None:
        self.first, self.second = Doubling(), Doubling()

    def body(self, g: bb.Graph) -> None:
        g.output("y", self.second(g, x=self.first(g, x=g.input("x", bb.f32["N"])).y).y)


class Outer(bb.Module):
    """Calls the same child twice, on two values whose names its own body has too."""

    backend = bb.BackendSlot()

    def __init__(self) -> None:
        self.child = Quadrupling()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        y = self.child(g, x=x).y
        g.output("once", y)
        g.output("twice", self.child(g, x=self.backend.add(g, y, x)).y)


def test_children_of_children_in_frames_at_once_keep_their_values_apart() -> None:
    slots = ("backend", "child.first.backend", "child.second.backend")
    node = install(Outer(), dict.fromkeys(slots, NumpyBackend))
    for number in range(1, 6):
        node.invoke("Outer", {"x": ONE * number}, 0)
    given = []
    for second in range(5):
        given += told(node.poll(second * SECOND).steps)
    assert sorted(given) == [
        (n, port, value) for n in range(1, 6) for port, value in (("once", 4.0 * n), ("twice", 20.0 * n))
    ]
    assert node.stats()["values"] == 0


class Both(bb.Module):
    """One constant, and one name, on both sides of a Send."""

    peers = bb.PeerSelectorSlot(peer_class="client")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, ten = g.input("x", bb.f32[1]), g.constant(ONE * 10)
        asked = g.send(self.backend.neg(g, x), to=self.peers.sample(g, n=1, after=x), name="x")
        g.output("there", self.backend.add(g, asked, ten))
        g.output("here", self.backend.add(g, x, ten))


@pytest.mark.parametrize("targets", [("Both", "Both@client"), ("Both@client", "Both")])
def test_two_targets_of_one_node_do_not_see_each_others_values(targets: tuple[str, ...]) -> None:
    node = install(Both(), {"peers": Itself, "backend": NumpyBackend}, *targets)
    for number in (1, 2):
        node.invoke("Both", {"x": ONE * number}, 0)
    steps = node.poll(0).steps
    for sent in [step for step in steps if isinstance(step, SendEnvelope)]:
        node.receive(sent.data, 0, source=peer(0))
    node.invoke("Both", {"x": ONE * 3}, 0)
    given = told([*steps, *node.poll(0).steps])
    assert sorted((port, value) for _, port, value in given) == [
        ("here", 11.0),
        ("here", 12.0),
        ("here", 13.0),
        ("there", 8.0),
        ("there", 9.0),
    ]


# --- how long values are kept -----------------------------------------------------------------------------------------


class Chain(bb.Module):
    """Twenty ops, each of which reads what the one before gives."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        value = g.input("x", bb.f32["N"])
        for _ in range(20):
            value = self.backend.neg(g, value)
        g.output("y", value)


def test_a_value_is_let_go_of_when_its_last_reader_has_run() -> None:
    node = install(Chain(), {"backend": NumpyBackend}, op_budget=1)
    node.invoke("Chain", {"x": ONE}, 0)
    held = []
    while node.poll(0).more:
        held.append(node.stats()["values"])
    assert held == [1] * 20


# --- how the work is cut ----------------------------------------------------------------------------------------------


def a_round(budget: int) -> tuple[list[Any], list[bytes]]:
    """The Steps of a coordinator in one round, and what its clients send, when each poll runs so many ops."""
    artefact = bb.Compiler().bind(AVERAGING).compile(Averaging())
    options = bb.NodeConfig(op_budget=budget)
    node = bb.install(peer(0), [], artefact, ["Averaging"], options=options)
    clients = {peer(n): bb.install(peer(n), [], artefact, ["Averaging@client"], options=options) for n in (1, 2, 3)}

    def polled(each: bb.Node) -> list[Any]:
        found: list[Any] = []
        while True:
            result = each.poll(0)
            found += [step for step in result.steps if not isinstance(step, BudgetSpent)]
            if not result.more:
                return found

    for client in clients:
        node.add_peer(client, peer_class="client")
    node.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    steps, answers = polled(node), []
    for sent in [step for step in steps if isinstance(step, SendEnvelope)]:
        clients[sent.peer].receive(sent.data, 0, source=node.peer_id)
        answers += [(sent.peer, back.data) for back in polled(clients[sent.peer])]
    for source, data in answers:
        node.receive(data, 0, source=source)
    return [*steps, *polled(node)], [data for _, data in answers]


def test_a_budget_of_one_op_gives_the_same_steps_and_bytes_as_a_large_one() -> None:
    few, many = a_round(1), a_round(1000)
    assert repr(few) == repr(many)
    assert [type(step).__name__ for step in few[0]] == ["SendEnvelope"] * 3 + ["AppEvent"] * 2


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_a_budget_does_not_change_whose_turn_it_is(budget: int) -> None:
    found = []
    for most in (budget, 1000):
        node = install(Both(), {"peers": Itself, "backend": NumpyBackend}, "Both", "Both@client", op_budget=most)
        steps: list[Any] = []
        for round_ in range(3):
            for number in range(3):
                node.invoke("Both", {"x": ONE * number}, 0)
            for sent in [step for step in steps[-20:] if isinstance(step, SendEnvelope)]:
                node.receive(sent.data, round_, source=peer(0))
            more = True
            while more:
                result = node.poll(round_)
                more = result.more
                steps += [step for step in result.steps if not isinstance(step, BudgetSpent)]
        found.append(repr(steps))
    assert found[0] == found[1]
