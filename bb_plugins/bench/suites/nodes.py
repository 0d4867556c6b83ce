"""A federated round in which nobody computes: what N Nodes in one process cost.

The peer is the round as a plain loop over the same Concretes: no Nodes, no Envelopes, nothing to go wrong. The limit is
to copy and decode the round's Envelopes and nothing else. Flower's simulation engine took 204 ms, 320 ms and 10.4 s for
10, 100 and 1000 clients where that was measured; it is not run here.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.engine.program import load_program
from bb_core.testing import Loopback
from bb_core.wire.codec import decode
from bb_core.wire.limits import WireLimits
from bb_plugins.aggregators.reductions import weighted_mean
from bb_plugins.bench.harness import Measure
from bb_plugins.bench.noop import NoopData, NoopModel
from bb_plugins.recipes.federated_averaging import FederatedAveraging

_BINDINGS: dict[str, Any] = {
    "cohort": "bytesandbrains.ConstantView",
    "model": NoopModel,
    "data": NoopData,
    "aggregator": "bytesandbrains.FedAvg",
    "holdout": NoopData,
}


def network(clients: int, on_wire: Callable[[bytes], None] | None = None) -> Callable[[], None]:
    """Bring up a coordinator and its clients; returns what runs one round."""
    artefact = bb.Compiler().bind(_BINDINGS).compile(FederatedAveraging(clients, epochs=1))
    coordinator = bb.install(bb.PeerId.from_int(0), [], artefact, ["FederatedAveraging"])
    nodes = [coordinator]
    for number in range(1, clients + 1):
        peer = bb.PeerId.from_int(number)
        nodes.append(bb.install(peer, [], artefact, ["FederatedAveraging@client"]))
        coordinator.add_peer(peer, peer_class="client")
    loopback = Loopback(nodes)
    if on_wire is not None:
        loopback.intercept(lambda source, peer, data: (on_wire(data), data)[1])

    def one_round() -> None:
        loopback.invoke(coordinator.peer_id, "FederatedAveraging", {"round": bb.TRIGGER})
        loopback.run_until_quiet()
        assert any(type(seen.step).__name__ == "AppEvent" for seen in loopback.seen), loopback.seen[:3]
        loopback.seen.clear()

    return one_round


def plain_loop(clients: int) -> Callable[[], None]:
    """Return the same round as a loop over the models."""
    server, *models = (NoopModel(NoopModel.Config()) for _ in range(clients + 1))
    nothing: Any = None

    def one_round() -> None:
        sent = server.params(nothing)
        updates, weights = [], []
        for model in models:
            model.load_parameters(nothing, sent)
            _, stats = model.train_epochs(nothing, nothing)
            updates.append(model.params(nothing))
            weights.append(stats["num_samples"])
        server.load_parameters(nothing, weighted_mean(updates, weights))

    return one_round


@pytest.mark.parametrize("clients", [10, 100, 1000])
def test_noop_round(row: Measure, clients: int) -> None:
    """A round of Nodes that do nothing."""
    sent: list[bytes] = []
    network(clients, sent.append)()
    limits = WireLimits()

    def copy_and_decode() -> None:
        for data in sent:
            decode(bytes(bytearray(data)), limits)

    row(
        f"no-op round, {clients} Nodes",
        network(clients),
        peer=("plain loop, no wire", plain_loop(clients)),
        limit=("copy and decode its Envelopes", copy_and_decode),
    )


def test_memory_of_an_idle_node(row: Measure) -> None:
    """What one more Node takes."""
    artefact = bb.Compiler().bind(_BINDINGS).compile(FederatedAveraging(1, epochs=1))
    load_program(artefact)  # shared by all Nodes of a process
    kept: list[Any] = [bb.install(bb.PeerId.from_int(10**6), [], artefact, ["FederatedAveraging@client"])]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    count = 200
    kept += [bb.install(bb.PeerId.from_int(n), [], artefact, ["FederatedAveraging@client"]) for n in range(count)]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    parameters = np.zeros(650, np.float32).nbytes
    row.memory("idle Node beyond its parameters", (after - before) / count - parameters, peer=("64 kB", 65536.0))
