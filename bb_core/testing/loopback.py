"""`Loopback`: N Nodes in one process, joined by a seeded network in virtual time. No threads, no sleep, no clock.

Theory of operation. Events stand in a heap by (time, sequence): an Envelope's arrival, or a Node's wake-up. All that is
due at one time is delivered first; then every Node that got something is polled, in the order in which it got it. What
a poll sends is put into the heap with the network's delay. The Nodes are the very ones that are deployed, and all that
passes between them is encoded bytes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bb_core.errors import UsageError
from bb_core.ids import ExecId, PeerId
from bb_core.node.node import Node
from bb_core.steps import SendEnvelope, Step

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Network:
    """How the network behaves. Each Envelope is drawn for on its own, from one seeded generator."""

    latency_ns: int = _MS
    """Delay of every Envelope, in nanoseconds."""
    jitter_ns: int = 0
    """Up to this much more, evenly drawn."""
    loss: float = 0.0
    """Share that never arrives."""
    duplicate: float = 0.0
    """Share that arrives twice."""
    reorder: float = 0.0
    """Share that is held back by ten latencies, so that later ones overtake it."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"Network.{name} is {getattr(self, name)}", expected="a share between 0 and 1")
        if self.latency_ns < 0 or self.jitter_ns < 0:
            raise UsageError("a delay of the Network is negative", expected="nanoseconds, 0 or more")

    @property
    def is_random(self) -> bool:
        """Whether anything is drawn."""
        return bool(self.jitter_ns or self.loss or self.duplicate or self.reorder)


@dataclass(frozen=True, slots=True)
class Seen:
    """A Step that the host was given, other than a SendEnvelope: when, and by whom."""

    time: int
    peer: PeerId
    step: Step


class Loopback:
    """Joins Nodes.

    Args:
        nodes: The Nodes; more can be added.
        network: How the network behaves; by default one millisecond of latency and no fault.
        seed: Of the network's draws.

    Attributes:
        now: Virtual time in nanoseconds.
        seen: All Steps but SendEnvelopes, in order. Clear it when it grows too long for you.
        envelopes: How many Envelopes were sent.
        bytes_on_wire: Their bytes.
    """

    def __init__(self, nodes: Iterable[Node] = (), network: Network | None = None, seed: int = 0) -> None:
        self.now = 0
        self.nodes: dict[PeerId, Node] = {}
        self.seen: list[Seen] = []
        self.envelopes = 0
        self.bytes_on_wire = 0
        self._network = network or Network()
        self._random = np.random.Generator(np.random.Philox(seed))
        self._heap: list[tuple[int, int, PeerId, PeerId | None, bytes]] = []
        self._sequence = 0
        self._in_flight = 0
        self._due: deque[PeerId] = deque()
        self._is_due: set[PeerId] = set()
        self._busy: set[PeerId] = set()
        self._begun: set[PeerId] = set()
        self._wakeups: dict[PeerId, int] = {}
        self._intercept: Callable[[PeerId, PeerId, bytes], bytes | None] | None = None
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        """Join a Node."""
        if node.peer_id in self.nodes:
            raise UsageError(f"a Node of the id {node.peer_id} is there already")
        self.nodes[node.peer_id] = node

    def remove(self, peer: PeerId) -> Node:
        """Take a Node away and return it; what is under way to it is lost. It, or a new one, may be added again."""
        self._is_due.discard(peer)
        self._busy.discard(peer)
        self._begun.discard(peer)
        self._wakeups.pop(peer, None)
        self._due = deque(p for p in self._due if p != peer)
        return self.nodes.pop(peer)

    def invoke(self, peer: PeerId, target: str, inputs: Mapping[str, Any]) -> ExecId:
        """Invoke a target on a Node, at the present time."""
        exec_id = self.nodes[peer].invoke(target, inputs, self.now)
        self._mark(peer)
        return exec_id

    def deliver(self, peer: PeerId, source: PeerId, data: bytes) -> None:
        """Hand bytes to a Node now, as if `source` had sent them."""
        self.nodes[peer].receive(data, self.now, source=source)
        self._mark(peer)

    def intercept(self, change: Callable[[PeerId, PeerId, bytes], bytes | None] | None) -> None:
        """Let `change(source, destination, data)` replace what is sent; None from it loses the Envelope."""
        self._intercept = change

    def run_until_quiet(self, max_events: int = 10_000_000) -> None:
        """Go on until nothing is under way and no Node has an open Frame.

        Raises:
            UsageError: that has not come about within `max_events` events.
        """
        self.run(lambda: False, max_events)

    def run(self, until: Callable[[], bool], max_events: int = 10_000_000) -> bool:
        """Go on until `until()` is true after some event, or all is quiet. Returns whether it became true."""
        for _ in range(max_events):
            self._poll_due()
            if until():
                return True
            if not self._advance():
                return False
        raise UsageError(
            f"the Nodes were not quiet after {max_events} events", hint="do two of them answer each other?"
        )

    def run_to(self, time: int) -> None:
        """Go on until a time in nanoseconds, whatever is under way then. A Node that was never polled is, at first."""
        for peer in self.nodes:
            if peer not in self._begun:
                self._mark(peer)
        self._poll_due()
        while self._heap and self._heap[0][0] <= time:
            self._next()
            self._poll_due()
        self.now = max(self.now, time)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _mark(self, peer: PeerId) -> None:
        if peer not in self._is_due:
            self._is_due.add(peer)
            self._due.append(peer)

    def _poll_due(self) -> None:
        while self._due:
            peer = self._due.popleft()
            self._is_due.discard(peer)
            self._begun.add(peer)
            node = self.nodes[peer]
            result = node.poll(self.now)
            for step in result.steps:
                if isinstance(step, SendEnvelope):
                    self._send(peer, step)
                else:
                    self.seen.append(Seen(self.now, peer, step))
            if result.more:
                self._mark(peer)
            (self._busy.discard if node.is_idle else self._busy.add)(peer)
            self._schedule_wakeup(peer, result.next_wakeup)

    def _schedule_wakeup(self, peer: PeerId, when: int | None) -> None:
        if when is None or self._wakeups.get(peer, -1) == when:
            return
        self._wakeups[peer] = when
        self._push(when, peer, None, b"")

    def _advance(self) -> bool:
        """Go to the next event. Returns False when all is quiet."""
        if not self._heap or not (self._in_flight or self._busy):
            return False
        self._next()
        return True

    def _next(self) -> None:
        """Go to the next event and deliver all that is due then."""
        self.now = max(self.now, self._heap[0][0])
        while self._heap and self._heap[0][0] <= self.now:
            when, _, peer, source, data = heapq.heappop(self._heap)
            if source is None:
                if self._wakeups.get(peer) == when:
                    del self._wakeups[peer]
                    self._mark(peer)
                continue
            self._in_flight -= 1
            if peer in self.nodes:
                self.nodes[peer].receive(data, self.now, source=source)
                self._mark(peer)

    def _send(self, source: PeerId, step: SendEnvelope) -> None:
        self.envelopes += 1
        self.bytes_on_wire += len(step.data)
        data: bytes | None = step.data
        if self._intercept is not None:
            data = self._intercept(source, step.peer, step.data)
        if data is None or step.peer not in self.nodes:
            return
        for delay in self._delays():
            self._in_flight += 1
            self._push(self.now + delay, step.peer, source, data)

    def _delays(self) -> tuple[int, ...]:
        network = self._network
        if not network.is_random:
            return (network.latency_ns,)
        lost, doubled, held, more = self._random.random(4)
        if lost < network.loss:
            return ()
        delay = network.latency_ns + int(more * network.jitter_ns)
        if held < network.reorder:
            delay += 10 * network.latency_ns
        return (delay, delay + network.latency_ns) if doubled < network.duplicate else (delay,)

    def _push(self, when: int, peer: PeerId, source: PeerId | None, data: bytes) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, peer, source, data))
