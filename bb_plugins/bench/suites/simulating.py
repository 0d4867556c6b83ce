"""The simulator: rounds in which nobody computes, and the events of gossip.

The peer is Flower's simulation (Ray), where there is one: `BB_FLOWER_PYTHON` names an interpreter that has it, such as
that of an environment of its own into which `pip install "flwr[simulation]"` has put it, or it is installed beside us.
It begins in seconds and takes seconds for a round of 1000 clients, so that a few rounds are measured once, right before
ours; its first, slowest round is left out.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from itertools import cycle
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import pytest

import bb_core as bb
from bb_plugins.bench import flower_rounds
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
    python = _flower()
    told = cycle(_flower_ns(python, clients)) if python else None
    peer = None if told is None else ("Flower's simulation", lambda: next(told))
    row(f"no-op round, {clients} clients", lambda: _round_ns(clients), peer=peer, timed=True, rounds=5)


def test_flower_is_there() -> None:
    """Say why the peer is missing, if it is."""
    if not _flower():
        pytest.skip('flwr is not installed; BB_FLOWER_PYTHON may name an interpreter that has it: "flwr[simulation]"')


def _flower() -> str:
    """The interpreter that has Flower; empty without one."""
    return os.environ.get("BB_FLOWER_PYTHON") or (sys.executable if importlib.util.find_spec("flwr") else "")


def _flower_ns(python: str, clients: int) -> list[float]:
    """Nanoseconds of Flower's rounds, but the first."""
    script, rounds = Path(flower_rounds.__file__), 4 if clients >= 1000 else 8
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [python, str(script), str(clients), str(rounds)],
            cwd=scratch,
            env=free | {"RAY_TMPDIR": scratch},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        pytest.skip(f"Flower's simulation failed: {done.stderr[-300:]}")
    took: list[float] = json.loads(done.stdout.splitlines()[-1])
    return [seconds * 1e9 for seconds in took[1:]]


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
