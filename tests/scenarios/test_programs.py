"""Programs other than the flagship, through every layer: operators, sub-modules, named sends, placement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import steps
from bb_core.testing import Loopback
from tests.support import Everyone, Numbers, NumpyBackend, bring_up, of_kind, one_round, outputs, peer


class Affine(bb.Module):
    """y = a * x + b."""

    backend = bb.BackendSlot()

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        g.output("y", x * self.a + self.b)


class Stack(bb.Module):
    """Two differently configured instances of one class, and a list of them."""

    def __init__(self) -> None:
        self.first = Affine(2.0, 1.0)
        self.rest = [Affine(1.0, 10.0), Affine(-1.0, 0.0)]

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        y = self.first(g, x=x).y
        for layer in self.rest:
            y = layer(g, x=y).y
        g.output("y", y)


def run(module: bb.Module, bindings: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    node = bb.install(peer(0), [], bb.Compiler().bind(bindings).compile(module), [module.name])
    node.invoke(module.name, inputs, 0)
    found = node.poll(0).steps
    assert node.is_idle
    return {s.port: s.value for s in found if isinstance(s, steps.AppEvent)}


def test_sub_modules_keep_their_own_configuration() -> None:
    bindings = {"first.backend": NumpyBackend, "rest_0.backend": NumpyBackend, "rest_1.backend": NumpyBackend}
    given = run(Stack(), bindings, x=np.array([1, 2], np.float32))
    np.testing.assert_array_equal(given["y"], [-13, -15])


def test_the_cpu_backend_runs_operators_by_name() -> None:
    given = run(Affine(3.0, 1.0), {"backend": "bytesandbrains.CpuBackend"}, x=np.array([2], np.float32))
    np.testing.assert_array_equal(given["y"], [7])


class Relay(bb.Module):
    """Sends by name, adds on the other side, and sends back."""

    cohort = bb.PeerSelectorSlot(peer_class="helper")
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        g.net_out("number", self.cohort.current_view(g, after=x), x)
        there = g.lookup_output("number")
        back = g.send(self.backend.add(g, there, there), to=there.sender, name="doubled")
        g.output("y", self.backend.neg(g, back))


def test_a_named_send_goes_there_and_back_to_everyone() -> None:
    artefact = bb.Compiler().bind({"cohort": Everyone, "backend": NumpyBackend}).compile(Relay())
    assert [f.name for f in artefact.functions] == ["Relay", "Relay@helper"]
    nodes = [bb.install(peer(0), [], artefact, ["Relay"])]
    for n in (1, 2):
        nodes.append(bb.install(peer(n), [], artefact, ["Relay@helper"]))
        nodes[0].add_peer(peer(n), peer_class="helper")
    loopback = Loopback(nodes)
    loopback.invoke(peer(0), "Relay", {"x": np.full(1, 4, np.float32)})
    loopback.run_until_quiet()
    assert [float(s.value[0]) for s in of_kind(loopback.seen, steps.AppEvent)] == [-8.0, -8.0]


class Placed(bb.Module):
    """An op without inputs runs where it is placed."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    data = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        start = g.input("round", bb.types.TRIGGER)
        asked = g.send(start, to=self.cohort.sample(g, n=2, after=start))
        with g.place(on="client"):
            batch, _, stats = self.data.next_batch(g, after=asked)
        found = g.send((batch, stats), to=asked.sender)
        g.output("batch", found[0])
        g.output("stats", found[1])


@pytest.mark.filterwarnings("ignore::bb_core.errors.UncollectedAnswer")
def test_a_trigger_crosses_and_placed_ops_run_there() -> None:
    loopback = bring_up(
        Placed(),
        {"cohort": Everyone, "data": Numbers},
        2,
        config_of=lambda n: {"data": {"numbers": (float(n),)}} if n else {},
    )
    one_round(loopback, "Placed")
    batches = sorted(float(s.value[0]) for s in of_kind(loopback.seen, steps.AppEvent) if s.port == "batch")
    assert batches == [1.0, 2.0]
    assert outputs(loopback.seen)["stats"] == bb.Record(num_samples=1, epoch_end=True)


class Shared(bb.Module):
    """One send to many: the Envelope is encoded once."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    data = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        start = g.input("round", bb.types.TRIGGER)
        x = g.send(start, to=self.cohort.current_view(g, after=start))
        g.output("got", x)


def test_equal_bytes_go_to_all() -> None:
    loopback = bring_up(Shared(), {"cohort": Everyone}, 3)
    sent: list[bytes] = []
    loopback.intercept(lambda source, to, data: (sent.append(data), data)[1])
    one_round(loopback, "Shared")
    assert len(sent) == 3
    assert len({id(data) for data in sent}) == 1
    assert [s.peer for s in loopback.seen] == [peer(1), peer(2), peer(3)]
