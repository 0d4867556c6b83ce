"""The simulator: rounds in which nobody computes, and the events of gossip.

The peer is Flower's simulation, if it can be imported; it rarely can. What it took where it was measured (flwr 1.41,
Ray, two cores, no-op clients of 1,000 parameters, steady rounds) is told as a reason why its rows are skipped, and is
no ratio: that was another day, and perhaps another machine.
"""

from __future__ import annotations

import gc
import importlib.util
import tracemalloc
from time import perf_counter_ns
from typing import Any, Final

import pytest

import bb_core as bb
from bb_plugins.bench.harness import Measure
from bb_plugins.bench.noop import NoopData, NoopModel
from bb_plugins.hosts.simulator import Nodes, Scenario, simulate
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from bb_plugins.recipes.gossip import GossipAveraging

_BINDINGS: Final[dict[str, Any]] = {
    "cohort": "bytesandbrains.ConstantView",
    "model": bb.use(NoopModel, size=1000),
    "data": NoopData,
    "aggregator": "bytesandbrains.FedAvg",
    "holdout": NoopData,
}
_GOSSIP: Final[dict[str, Any]] = {
    "peers": "bytesandbrains.ConstantView",
    "average": bb.each("bytesandbrains.GossipMean", lambda number: {"start": float(number)}),
}
_RECORDED: Final = {10: "0.204 s", 100: "0.32 to 0.53 s", 1000: "10.4 to 12.0 s"}


def _round_ns(clients: int) -> float:
    """Nanoseconds of one steady round: what five more take."""
    took = []
    for rounds in (2, 7):
        began = perf_counter_ns()
        simulate(FederatedAveraging(clients, epochs=1), bindings=_BINDINGS, nodes=clients, until=f"round={rounds}")
        took.append(perf_counter_ns() - began)
    return max(took[1] - took[0], 1) / 5


@pytest.mark.parametrize("clients", [10, 100, 1000])
def test_noop_round(row: Measure, clients: int) -> None:
    """A round of a cohort of all clients."""
    row(f"no-op round, {clients} clients", lambda: _round_ns(clients), timed=True, rounds=3)


@pytest.mark.parametrize("clients", [10, 100, 1000])
def test_flower(clients: int) -> None:
    """What Flower took, where it was measured."""
    is_there = importlib.util.find_spec("flwr") is not None
    why = "flwr is installed, but is not run here" if is_there else "flwr is not installed"
    pytest.skip(f"{why}; recorded for its simulation with {clients} clients: {_RECORDED[clients]} a round")


def test_gossip(row: Measure) -> None:
    """A poll or an Envelope, in a network of equals."""

    def one_event() -> float:
        result = simulate(GossipAveraging(), bindings=_GOSSIP, nodes=200, until="time=10s", scenario=_SPREAD)
        return result.wall_s * 1e9 / result.events

    row("gossip of 200 Nodes, per poll or Envelope", one_event, timed=True, rounds=3)


def test_memory_of_an_idle_equal(row: Measure) -> None:
    """What one more Node that knows twenty others takes, with all that the simulator has for it."""
    held = []
    for nodes in (100, 400):
        gc.collect()
        tracemalloc.start()
        result = simulate(GossipAveraging(), bindings=_GOSSIP, nodes=nodes, until="time=1ms")
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del result
    row.memory("idle equal that knows 20 others", (held[1] - held[0]) / 300, peer=("64 kB", 65536.0))


_SPREAD: Final = Scenario(nodes=Nodes(start="1s"))
