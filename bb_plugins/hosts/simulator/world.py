"""`World`: links, clocks and speeds of a scenario, as what surrounds the Nodes of a Loopback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any, NamedTuple

import bb_core as bb
from bb_core.errors import BBError
from bb_core.steps import Step
from bb_core.testing import Member, Surroundings
from bb_plugins.hosts.simulator.draws import Drawer, Draws, drawer
from bb_plugins.hosts.simulator.scenario import Link, Nodes, Partition, Scenario, bits_per_second, nanoseconds

_PARTS = 10**6
_S = 10**9


class _Road(NamedTuple):
    """A Link, ready to be used."""

    latency: Drawer
    ns_per_byte: float
    loss: float
    duplicate: float
    reorder: float
    hold: int

    @classmethod
    def of(cls, link: Link) -> _Road:
        per_byte = 0.0 if link.bandwidth is None else 8 * _S / bits_per_second(link.bandwidth)
        hold = nanoseconds(link.hold)
        return cls(drawer(link.latency), per_byte, link.loss, link.duplicate, link.reorder, hold)


class World(Surroundings):
    """What surrounds the Nodes.

    Args:
        scenario: What it is like.
        members: All peers that there may ever be.
        seed: Of all draws.
        fetch: Brings up the Node of a peer to which something came; None if there is none.
        after: Is told each Node that was polled.
    """

    def __init__(
        self,
        scenario: Scenario,
        members: Mapping[bb.PeerId, Member],
        seed: int,
        fetch: Callable[[bb.PeerId], bb.Node | None],
        after: Callable[[bb.PeerId, bb.Node], None],
    ) -> None:
        self._scenario = scenario
        self._members = members
        self._draws = Draws(seed, 0)
        self._roads: dict[tuple[str, str], _Road] = {}
        self._leaves: dict[bb.PeerId, int] = {}
        self._cuts: list[tuple[frozenset[bb.PeerId], bool]] = []
        self._fetch = fetch
        self._after = after
        fixed = Draws(seed, 1)
        self._slowness = {peer: _slowness(scenario.nodes, fixed) for peer in members} if scenario.nodes.ops else {}
        drift = scenario.nodes.drift_ppm
        self._ppm = {peer: round(drift * (2 * fixed.uniform() - 1)) for peer in members} if drift else {}
        self._far = [_far_side(p, members, fixed) for p in scenario.partitions]
        self.stopwatch = Stopwatch(scenario.nodes, self._draws) if scenario.nodes.ops else None
        """Observes every Node, if ops take time."""

    # --- links --------------------------------------------------------------------------------------------------------

    def delays(self, source: bb.PeerId, peer: bb.PeerId, size: int, now: int) -> Sequence[int]:
        """Draw when an Envelope arrives."""
        if peer not in self._members or (self._cuts and self._is_cut(source, peer)):
            return ()
        road, draws = self._road(source, peer), self._draws
        delay = 0
        if road.ns_per_byte:
            left = max(now, self._leaves.get(source, 0)) + int(size * road.ns_per_byte)
            self._leaves[source] = left
            delay = left - now
        if road.loss and draws.uniform() < road.loss:
            return ()
        arrives = delay + road.latency(draws)
        if road.reorder and draws.uniform() < road.reorder:
            arrives += road.hold
        if road.duplicate and draws.uniform() < road.duplicate:
            return (arrives, delay + road.latency(draws))
        return (arrives,)

    def _road(self, source: bb.PeerId, peer: bb.PeerId) -> _Road:
        pair = (self._members[source].peer_class, self._members[peer].peer_class)
        road = self._roads.get(pair)
        if road is None:
            fits = (r for r in self._scenario.links if r.source in (None, pair[0]) and r.target in (None, pair[1]))
            road = self._roads[pair] = _Road.of(next(fits, self._scenario.link))
        return road

    # --- partitions ---------------------------------------------------------------------------------------------------

    def partitions(self) -> list[tuple[int, Callable[[], None]]]:
        """What is to be done when, so that partitions begin and heal."""
        found: list[tuple[int, Callable[[], None]]] = []
        for partition, far in zip(self._scenario.partitions, self._far, strict=True):
            cut = (far, partition.one_way)
            found.append((nanoseconds(partition.at), lambda cut=cut: self._cuts.append(cut)))  # type: ignore[misc]
            found.append((nanoseconds(partition.until), lambda cut=cut: self._cuts.remove(cut)))  # type: ignore[misc]
        return found

    def _is_cut(self, source: bb.PeerId, peer: bb.PeerId) -> bool:
        return any((source in far) != (peer in far) and not (one_way and source in far) for far, one_way in self._cuts)

    # --- Nodes --------------------------------------------------------------------------------------------------------

    def local(self, peer: bb.PeerId, now: int) -> int:
        """What a Node's clock shows."""
        ppm = self._ppm.get(peer)
        return now + now * ppm // _PARTS if ppm else now

    def world(self, peer: bb.PeerId, when: int) -> int:
        """When a Node's clock will show a time."""
        ppm = self._ppm.get(peer)
        if not ppm:
            return when
        now = when * _PARTS // (_PARTS + ppm)
        while self.local(peer, now) < when:
            now += 1
        return now

    def polled(self, peer: bb.PeerId, node: bb.Node) -> int:
        """How long the ops of the last poll take on this Node."""
        self._after(peer, node)
        if self.stopwatch is None or not self.stopwatch.elapsed:
            return 0
        took = round(self.stopwatch.elapsed * self._slowness[peer])
        self.stopwatch.elapsed = 0
        return took

    def absent(self, peer: bb.PeerId) -> bb.Node | None:
        """Bring up a Node to which something came."""
        return self._fetch(peer)


class Stopwatch:
    """Observes the Nodes, and adds up how long their ops take on one of ordinary speed."""

    wants_steps = False

    def __init__(self, nodes: Nodes, draws: Draws) -> None:
        self._costs = {name: drawer(cost) for name, cost in nodes.ops.items()}
        self._draws = draws
        self.elapsed = 0

    def op_began(self, run: bb.OpRun, inputs: tuple[Any, ...]) -> None:
        """Add what an op takes."""
        cost = self._costs.get(run.op) or self._costs.get(f"{run.slot}.{run.op}")
        if cost is not None:
            self.elapsed += cost(self._draws)

    def op_ended(self, run: bb.OpRun, outputs: Any) -> None:
        """Nothing: it was added when the op began."""

    def op_failed(self, run: bb.OpRun, error: BBError) -> None:
        """Nothing: one that fails takes as long."""

    def polled(self, now: int, steps: list[Step]) -> None:
        """Nothing: the World asks."""


def _slowness(nodes: Nodes, draws: Draws) -> float:
    straggles = draws.uniform() < nodes.stragglers
    return exp(nodes.spread * draws.normal()) * (nodes.straggler_factor if straggles else 1.0)


def _far_side(partition: Partition, members: Mapping[bb.PeerId, Member], draws: Draws) -> frozenset[bb.PeerId]:
    wanted = partition.peer_class
    return frozenset(
        peer
        for peer, member in members.items()
        if draws.uniform() < partition.share and wanted in (None, member.peer_class)
    )
