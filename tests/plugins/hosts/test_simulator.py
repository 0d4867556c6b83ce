"""The simulator: links, Nodes and churn in virtual time, equal for equal seeds."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import UsageError
from bb_core.testing import Member
from bb_plugins.hosts.simulator import (
    Churn,
    Link,
    LinkRule,
    LogNormal,
    Nodes,
    Partition,
    Scenario,
    SimulationResult,
    Uniform,
    Until,
    read_scenario,
    simulate,
)
from bb_plugins.hosts.simulator.scenario import bits_per_second
from bb_plugins.hosts.simulator.world import World
from bb_plugins.recipes.gossip import GossipAveraging
from tests.support import AVERAGING, Averaging, peer

ROOT = Path(__file__).parents[3]
MS, S = 10**6, 10**9
GOSSIP: dict[str, Any] = {
    "peers": "bytesandbrains.ConstantView",
    "average": bb.each("bytesandbrains.GossipMean", lambda number: {"start": float(number)}),
}
ROUGH = Scenario(
    name="rough",
    link=Link(latency=LogNormal("40ms", 0.5), loss=0.05, duplicate=0.02, reorder=0.02, bandwidth="10Mbit/s"),
    nodes=Nodes(start="1s", drift_ppm=100, view=10),
    churn=Churn(up="20s", down="3s", join=0.1, join_over="5s", leave=0.05, leave_over="10s"),
)


def gossip(scenario: Scenario, until: str = "time=30s", nodes: int = 60, seed: int = 7) -> SimulationResult:
    return simulate(GossipAveraging(), bindings=GOSSIP, nodes=nodes, until=until, scenario=scenario, seed=seed)


def averaging(scenario: Scenario, clients: int = 10, until: str = "round=4", n: int = 5) -> SimulationResult:
    return simulate(Averaging(n), bindings=AVERAGING, nodes=clients, until=until, scenario=scenario, seed=1)


def estimates(result: SimulationResult) -> np.ndarray:
    return np.array([node.component("average").estimate[0] for node in result.nodes.values()])


# --- gossip -----------------------------------------------------------------------------------------------------------


def test_gossip_keeps_the_mean_and_converges_when_nothing_is_lost() -> None:
    result = gossip(Scenario(link=Link(latency=Uniform("1ms", "200ms")), nodes=Nodes(start="1s", view=10)))
    found = estimates(result)
    assert found.mean() == pytest.approx(29.5, abs=1e-3)
    assert np.abs(found - 29.5).max() < 0.01
    assert result.lost == 0
    assert set(result.steps) == {"AppEvent"}


def test_reliable_answers_keep_the_mean_although_envelopes_are_lost() -> None:
    lossy = Scenario(link=Link(latency="40ms", loss=0.05), nodes=Nodes(start="1s", view=10))
    surely = GossipAveraging(reliable=True, deadline="30s")
    result = simulate(surely, bindings=GOSSIP, nodes=30, until="time=40s", scenario=lossy, seed=7)
    assert result.lost > 0
    assert estimates(result) == pytest.approx(14.5, abs=0.01)


def test_gossip_converges_under_loss_and_churn() -> None:
    result = gossip(ROUGH, until="time=60s")
    second = result.seconds[-1]
    _, mean, least, greatest = second.values["estimate"]
    assert greatest - least < 1
    assert mean == pytest.approx(29.5, abs=3)
    assert result.crashes > 20
    assert result.lost > 0.04 * result.envelopes
    assert second.live < 60


# --- determinism ------------------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    first, second, other = (json.dumps(gossip(ROUGH, "time=10s", 30, seed).as_json()) for seed in (7, 7, 8))
    assert first == second
    assert first != other


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_a_program_is_invoked_round_by_round() -> None:
    result = averaging(Scenario())
    assert [r.number for r in result.rounds] == [1, 2, 3, 4]
    assert all(r.is_complete for r in result.rounds)
    assert result.envelopes == 4 * 2 * 5
    assert result.rounds[0].ended == pytest.approx(0.002)


def test_a_node_that_nothing_has_reached_is_never_brought_up() -> None:
    result = averaging(Scenario(), clients=500, until="round=2")
    assert result.loads <= 1 + 2 * 5
    assert result.seconds[-1].live == 501


def test_ops_take_virtual_time_and_stragglers_more() -> None:
    ordinary = averaging(Scenario(nodes=Nodes(ops={"TrainEpochs": "2s"})), n=10, until="round=1")
    assert ordinary.rounds[0].ended == pytest.approx(2.002)
    slow = averaging(
        Scenario(nodes=Nodes(ops={"model.TrainEpochs": "2s"}, stragglers=1.0, straggler_factor=3)),
        n=10,
        until="round=1",
    )
    assert slow.rounds[0].ended == pytest.approx(6.002)


def test_a_round_ends_at_its_deadline_when_the_network_is_cut() -> None:
    cut = Scenario(partitions=(Partition(at=0, until="100s", share=1.0, peer_class="client"),))
    result = averaging(cut, until="round=1")
    assert not result.rounds[0].is_complete
    assert result.rounds[0].ended == pytest.approx(10.0)
    assert result.steps["QuorumMissed"] == 1


def test_time_goes_on_when_rounds_fail_at_once() -> None:
    result = averaging(Scenario(churn=Churn(join=1.0, join_over="2h")), until="time=5s")
    assert len(result.rounds) <= 6


@pytest.mark.parametrize(
    ("until", "expected"),
    [("round=3", ("round", 3)), ("time=2m", ("time", 120 * S)), ("accuracy=0.9", ("accuracy", 0.9))],
)
def test_until(until: str, expected: tuple[str, float]) -> None:
    assert Until.parse(until) == Until(*expected)


@pytest.mark.parametrize("until", ["", "round", "round=0", "round=x", "time=5", "=3", "accuracy=nan"])
def test_until_is_refused(until: str) -> None:
    with pytest.raises(UsageError):
        Until.parse(until)


def test_a_value_ends_it() -> None:
    result = simulate(GossipAveraging(), bindings=GOSSIP, nodes=20, until="estimate=10")
    assert result.virtual_s < 10


def test_a_program_that_begins_by_itself_has_no_rounds() -> None:
    with pytest.raises(UsageError, match="begins by itself"):
        gossip(Scenario(), until="round=3")


# --- links ------------------------------------------------------------------------------------------------------------


def world(scenario: Scenario, clients: int = 4) -> World:
    members = {peer(0): Member("M", "", 0)} | {
        peer(n): Member("M@client", "client", n - 1) for n in range(1, clients + 1)
    }
    return World(scenario, members, 3, lambda p: None, lambda p, n: None)


def test_bandwidth_makes_envelopes_leave_one_after_the_other() -> None:
    around = world(Scenario(link=Link(latency="10ms", bandwidth="8Mbit/s")))
    assert [around.delays(peer(0), peer(n), 1000, 0) for n in (1, 2)] == [(11 * MS,), (12 * MS,)]
    assert around.delays(peer(1), peer(0), 1000, 0) == (11 * MS,)
    assert around.delays(peer(0), peer(1), 1000, 5 * S) == (11 * MS,)


def test_links_differ_by_direction() -> None:
    up = LinkRule(source="client", target="", latency="50ms")
    around = world(Scenario(link=Link(latency="5ms"), links=(up,)))
    assert around.delays(peer(1), peer(0), 10, 0) == (50 * MS,)
    assert around.delays(peer(0), peer(1), 10, 0) == (5 * MS,)


def test_shares_are_what_was_asked_for() -> None:
    around = world(Scenario(link=Link(latency=Uniform("1ms", "9ms"), loss=0.1, duplicate=0.2, reorder=0.1, hold="1s")))
    drawn = [around.delays(peer(0), peer(1), 10, 0) for _ in range(20_000)]
    there = [d for d in drawn if d]
    assert 1 - len(there) / len(drawn) == pytest.approx(0.1, abs=0.01)
    assert np.mean([len(d) == 2 for d in there]) == pytest.approx(0.2, abs=0.01)
    assert np.mean([d[0] >= S for d in there]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([d[0] for d in there if d[0] < S]) == pytest.approx(5 * MS, rel=0.02)


def test_a_lognormal_latency_has_its_median() -> None:
    around = world(Scenario(link=Link(latency=LogNormal("40ms", 0.5))))
    drawn = [around.delays(peer(0), peer(1), 10, 0)[0] for _ in range(20_000)]
    assert np.median(drawn) == pytest.approx(40 * MS, rel=0.03)
    assert np.std(np.log(drawn)) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("one_way", [False, True])
def test_a_partition_begins_and_heals(one_way: bool) -> None:
    cut = Partition(at="1s", until="2s", share=1.0, peer_class="client", one_way=one_way)
    around = world(Scenario(partitions=(cut,)))
    (begins, begin), (heals, heal) = around.partitions()
    assert (begins, heals) == (S, 2 * S)
    begin()
    assert around.delays(peer(0), peer(1), 10, S) == ()
    assert bool(around.delays(peer(1), peer(0), 10, S)) == one_way
    assert around.delays(peer(1), peer(2), 10, S) != ()
    heal()
    assert around.delays(peer(0), peer(1), 10, S) != ()


def test_clocks_drift_and_are_read_back_exactly() -> None:
    around = world(Scenario(nodes=Nodes(drift_ppm=500)), clients=30)
    assert len({around.local(peer(n), 1000 * S) for n in range(31)}) > 20
    for n in range(31):
        for when in (1, 7, S, 123_456_789_123):
            at = around.world(peer(n), when)
            assert around.local(peer(n), at) >= when > around.local(peer(n), at - 1)


# --- scenarios --------------------------------------------------------------------------------------------------------

WAN = """
[link]
latency = { kind = "lognormal", median = "40ms", sigma = 0.5 }
bandwidth = "20Mbit/s"
loss = 0.05

[[links]]
from = "client"
to = ""
latency = "80ms"

[[partitions]]
at = "20s"
until = "30s"

[nodes]
ops = { TrainEpochs = { kind = "uniform", low = "1s", high = "2s" } }

[churn]
up = "60s"
"""


def test_a_scenario_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "wan.toml"
    path.write_text(WAN, encoding="utf-8")
    found = read_scenario(path)
    assert found == Scenario(
        name="wan",
        link=Link(latency=LogNormal("40ms", 0.5), bandwidth="20Mbit/s", loss=0.05),
        links=(LinkRule(source="client", target="", latency="80ms"),),
        partitions=(Partition(at="20s", until="30s"),),
        nodes=Nodes(ops={"TrainEpochs": Uniform("1s", "2s")}),
        churn=Churn(up="60s"),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("loss = 0.05", "loss = 1.5", ("a share between 0 and 1", "link")),
        ("loss = 0.05", "lost = 0.05", ("lost", "link")),
        ('"40ms"', '"40"', ("not a duration", "link.latency")),
        ('"lognormal"', '"normal"', ("normal", "link.latency.kind")),
        ('"20Mbit/s"', '"20MB"', ("not a bandwidth", "link")),
        ('until = "30s"', 'until = "3s"', ("before it begins", "partitions[0]")),
        ('up = "60s"', "up = 1.5", ("float", "churn.up")),
        ("[churn]", "[chrun]", ("chrun", "top level")),
        ("[churn]", "[churn", ("no TOML",)),
        ("[nodes]", "[nodes]\nstraggler_factor = nan", ("straggler_factor", "nodes")),
    ],
)
def test_a_wrong_scenario_is_refused_with_its_place(tmp_path: Path, old: str, new: str, told: tuple[str, ...]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WAN.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_scenario(path)
    for text in told:
        assert text in str(caught.value)


def test_a_scenario_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_scenario(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("text", "bits"), [("20Mbit/s", 20_000_000), ("1.5kbit/s", 1500), (9600, 9600), ("2Gbit/s", 2 * 10**9)]
)
def test_bandwidths(text: Any, bits: int) -> None:
    assert bits_per_second(text) == bits


# --- churn ------------------------------------------------------------------------------------------------------------


def test_a_node_comes_back_as_it_was_or_knowing_nothing() -> None:
    quiet = Link(latency="1ms", loss=1.0)
    for restart, expected in (("snapshot", range(30)), ("fresh", range(30))):
        result = gossip(Scenario(link=quiet, churn=Churn(up="5s", down="1s", restart=restart)), nodes=30)
        assert result.crashes > 30
        assert result.loads > 30
        assert sorted(estimates(result)) == [n for n in expected if peer(n) in result.nodes]


def test_what_a_late_snapshot_does_not_hold_is_lost() -> None:
    churn = Churn(up="20s", down="1s", share=0.5, snapshot_every="5s")
    result = gossip(Scenario(link=Link(latency="10ms"), churn=churn), until="time=20s", nodes=40)
    assert result.crashes > 5
    assert np.ptp(estimates(result)) < 30


def test_the_host_of_a_program_does_not_crash() -> None:
    churn = Churn(up="1s", down="1s")
    result = averaging(Scenario(link=Link(latency="100ms"), churn=churn), until="time=60s")
    assert peer(0) in result.nodes
    assert result.crashes > 50
    assert sum(r.is_complete for r in result.rounds) > 3


LARGE = """
import resource, warnings
import numpy as np
import bb_core as bb
from bb_plugins.hosts.simulator import simulate
from bb_plugins.recipes.federated_averaging import FederatedAveraging

x = np.random.default_rng(0).standard_normal((4000, 784)).astype(np.float32)
y = np.arange(4000) % 10
bindings = {
    "cohort": "bytesandbrains.ConstantView",
    "aggregator": "bytesandbrains.FedAvg",
    "model": bb.use("bytesandbrains.MLP", layers=(784, 200, 200, 10)),
    "compute": "bytesandbrains.CpuBackend",
    "data": bb.each(
        "bytesandbrains.ArrayDataSource", lambda n: dict(inputs=x, labels=y, indices=np.arange(4 * n, 4 * n + 4))
    ),
    "holdout": bb.use("bytesandbrains.ArrayDataSource", inputs=x[:100], labels=y[:100], batch_size=100),
}
found = simulate(FederatedAveraging(100, epochs=1), bindings=bindings, nodes=1000, until="round=30", seed=3)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak, found.loads, sum(r.is_complete for r in found.rounds))
"""


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    wan = Scenario(
        link=Link(latency=LogNormal("40ms", 0.5), loss=0.05),
        nodes=Nodes(start="10s"),
        churn=Churn(up="60s", down="5s", share=0.5),
    )
    result = simulate(
        GossipAveraging(period="10s"), bindings=GOSSIP, nodes=10_000, until="time=100s", scenario=wan, seed=7
    )
    assert result.virtual_s == 100
    assert result.crashes > 5000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = f"{result.events:,} events, {result.events_per_second:,.0f} per second, peak {peak:,.0f} MB"
    with capsys.disabled():
        sys.stdout.write(f"\n{told}\n")


@pytest.mark.slow
def test_a_thousand_nodes_that_hold_a_large_model() -> None:
    """In a process of its own, so that its peak is its own."""
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    peak, loads, complete = map(float, done.stdout.split())
    assert loads > 900
    assert complete == 30
    assert peak < 2 * 1024


def test_an_idle_node_is_small() -> None:
    held = []
    for nodes in (20, 120):
        gc.collect()
        tracemalloc.start()
        result = gossip(Scenario(), until="time=1ms", nodes=nodes)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(result.nodes) == nodes
    assert (held[1] - held[0]) / 100 < 64 * 1024
