"""`Crowd`: the Nodes of a simulation. They come up when something reaches them, crash, come back, join and leave."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import bb_core as bb
from bb_core.testing import Loopback, Population
from bb_plugins.hosts.simulator.draws import Draws
from bb_plugins.hosts.simulator.scenario import Scenario, nanoseconds
from bb_plugins.hosts.simulator.world import World

_STREAMS: Final = 2  # those of the World


class Crowd:
    """The peers of a population, as Nodes or not yet.

    Attributes:
        loads: How many were brought up.
        crashes: How often one crashed.
    """

    def __init__(
        self,
        population: Population,
        scenario: Scenario,
        seed: int,
        options: bb.NodeConfig,
        loopback: Loopback,
        world: World,
    ) -> None:
        self._population = population
        self._peers = list(population.peers)
        self._own = [p for p, member in population.peers.items() if not member.peer_class]
        self._scenario = scenario
        self._seed = seed
        self._options = options
        self._loopback = loopback
        self._stopwatch = world.stopwatch
        self._draws = Draws(seed, _STREAMS)
        self._present: set[bb.PeerId] = set()
        self._gone: set[bb.PeerId] = set()
        self._lives: dict[bb.PeerId, int] = {}
        self._kept: dict[bb.PeerId, bytes] = {}
        self._by_itself = {m.target: self._begins_by_itself(p) for p, m in _one_of_each(population).items()}
        self.loads = self.crashes = 0

    # --- who is there -------------------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """How many peers are there, whether or not something has reached them."""
        return len(self._present)

    @property
    def is_driven_by_itself(self) -> bool:
        """Whether the program begins by itself, and takes no Trigger."""
        return self._by_itself[self._population.target] and not self._population.is_triggered

    def drivers(self) -> list[bb.PeerId]:
        """The Nodes on which the program is invoked: those of its own class that are there."""
        found = [peer for peer in self._own if peer in self._present]
        for peer in found:
            self._bring(peer)
        return found

    def fetch(self, peer: bb.PeerId) -> bb.Node | None:
        """Make the Node of a peer that is there, and has none yet."""
        return self._make(peer) if peer in self._present else None

    def gather(self) -> None:
        """Let those come that are there from the beginning, and settle when the others come, crash and go."""
        churn, draws = self._scenario.churn, self._draws
        start = nanoseconds(self._scenario.nodes.start)
        for peer, member in self._population.peers.items():
            is_host = not member.peer_class and not self._population.of_equals
            joins = not is_host and draws.uniform() < churn.join
            begins = int(draws.uniform() * (nanoseconds(churn.join_over) if joins else start))
            if joins or (start and self._by_itself[member.target]):
                self._loopback.at(begins, partial(self._join, peer))
            else:
                self._join(peer)
                begins = 0
            if is_host:
                continue
            if draws.uniform() < churn.leave:
                self._loopback.at(int(draws.uniform() * nanoseconds(churn.leave_over)), partial(self._leave, peer))
            if churn.up is not None and draws.uniform() < churn.share:
                self._crash_after(peer, begins)
                if churn.snapshot_every is not None and churn.restart == "snapshot":
                    self._loopback.at(begins + nanoseconds(churn.snapshot_every), partial(self._keep, peer))

    # --- comings and goings -------------------------------------------------------------------------------------------

    def _join(self, peer: bb.PeerId) -> None:
        if peer in self._gone:
            return
        self._present.add(peer)
        member = self._population.peers[peer]
        if not self._population.of_equals and member.peer_class:
            for host in self._hosts():
                host.add_peer(peer, peer_class=member.peer_class)
        if self._by_itself[member.target]:
            self._bring(peer)

    def _leave(self, peer: bb.PeerId) -> None:
        self._gone.add(peer)
        self._present.discard(peer)
        self._kept.pop(peer, None)
        if peer in self._loopback.nodes:
            self._loopback.remove(peer)
        if not self._population.of_equals:
            for host in self._hosts():
                host.drop_peer(peer)

    def _crash_after(self, peer: bb.PeerId, now: int) -> None:
        up = self._scenario.churn.up
        assert up is not None
        self._loopback.at(now + self._draws.exponential(nanoseconds(up)), partial(self._crash, peer))

    def _crash(self, peer: bb.PeerId) -> None:
        if peer not in self._present:
            return
        churn = self._scenario.churn
        self.crashes += 1
        self._present.discard(peer)
        if peer in self._loopback.nodes:
            node = self._loopback.remove(peer)
            if churn.restart == "snapshot" and churn.snapshot_every is None:
                self._kept[peer] = node.snapshot()
        self._lives[peer] = self._lives.get(peer, 0) + 1
        back = self._loopback.now + self._draws.exponential(nanoseconds(churn.down))
        self._loopback.at(back, partial(self._come_back, peer))

    def _come_back(self, peer: bb.PeerId) -> None:
        if peer in self._gone:
            return
        self._present.add(peer)
        if peer in self._kept or self._by_itself[self._population.peers[peer].target]:
            self._bring(peer)
        self._crash_after(peer, self._loopback.now)

    def _keep(self, peer: bb.PeerId) -> None:
        every = self._scenario.churn.snapshot_every
        if peer in self._gone or every is None:
            return
        if peer in self._loopback.nodes:
            self._kept[peer] = self._loopback.nodes[peer].snapshot()
        self._loopback.at(self._loopback.now + nanoseconds(every), partial(self._keep, peer))

    # --- Nodes --------------------------------------------------------------------------------------------------------

    def _hosts(self) -> list[bb.Node]:
        """The Nodes of the program's own class, which know the peers of the others."""
        return [self._bring(p) for p in self._own]

    def _bring(self, peer: bb.PeerId) -> bb.Node:
        node = self._loopback.nodes.get(peer)
        if node is None:
            node = self._make(peer)
            self._loopback.add(node)
            self._loopback.wake(peer)
        return node

    def _make(self, peer: bb.PeerId) -> bb.Node:
        self.loads += 1
        life = self._lives.get(peer, 0)
        node = self._population.install(peer, replace(self._options, incarnation=life) if life else self._options)
        kept = self._kept.pop(peer, None)
        if kept is not None:
            node.restore(kept, incarnation=life)
            if self._scenario.churn.snapshot_every is not None:
                self._kept[peer] = kept
        elif self._population.of_equals:
            for other in self._view(peer):
                node.add_peer(other)
        elif not self._population.peers[peer].peer_class:
            for other in self._peers:
                member = self._population.peers[other]
                if member.peer_class and other in self._present:
                    node.add_peer(other, peer_class=member.peer_class)
        if self._stopwatch is not None:
            node.observe(self._stopwatch)
        return node

    def _view(self, peer: bb.PeerId) -> list[bb.PeerId]:
        """Whom an equal knows: the same for each of its lives."""
        own, count, wanted = self._population.peers[peer].index, len(self._peers), self._scenario.nodes.view
        if wanted == 0 or wanted >= count - 1:
            return [p for p in self._peers if p != peer]
        draws = Draws(self._seed, _STREAMS + 1 + own)
        chosen = draws.generator.choice(count - 1, size=wanted, replace=False)
        return [self._peers[i + (i >= own)] for i in sorted(chosen.tolist())]

    def _begins_by_itself(self, peer: bb.PeerId) -> bool:
        """Whether a Node of this kind does something at its first poll, or sets a timer."""
        node = self._population.install(peer, self._options)
        found = node.poll(0)
        return bool(found.steps or found.next_wakeup is not None or not node.is_idle)


def _one_of_each(population: Population) -> dict[bb.PeerId, Any]:
    found: dict[str, bb.PeerId] = {}
    for peer, member in population.peers.items():
        found.setdefault(member.target, peer)
    return {peer: population.peers[peer] for peer in found.values()}
