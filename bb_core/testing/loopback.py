"""`Loopback`: N Nodes in one process, joined by a seeded network in virtual time. No threads, no sleep, no clock.

Theory of operation. Events stand in a heap by (time, sequence): an Envelope's arrival, a Node's wake-up, or something
that the host does. All that is due at one time is done first; then every Node that got something is polled, in the
order in which it got it. What a poll sends is put into the heap with the delay that the surroundings say. The Nodes are
the very ones that are deployed, and all that passes between them is encoded bytes.

What surrounds the Nodes is a `Surroundings`: how long an Envelope takes and whether it arrives, how a Node's clock
goes, how long a poll keeps it busy. A `Network` is the one of the tests; the simulator's has links, clocks and speeds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bb_core.errors import UsageError
from bb_core.ids import ExecId, PeerId
from bb_core.node.node import Node
from bb_core.steps import SendEnvelope, Step

_MS = 1_000_000


class Surroundings:
    """What surrounds the Nodes. This one is ideal: no delay, no loss, right clocks, and computing takes no time.

    Times are nanoseconds: of the world, and where `peer` stands beside them and it is said, of that Node's clock.
    """

    def delays(self, source: PeerId, peer: PeerId, size: int, now: int) -> Sequence[int]:
        """After how long an Envelope of so many bytes arrives: once, several times, or never."""
        return (0,)

    def local(self, peer: PeerId, now: int) -> int:
        """What a Node's clock shows."""
        return now

    def world(self, peer: PeerId, when: int) -> int:
        """When a Node's clock will show `when`, or a later time for the first time."""
        return when

    def polled(self, peer: PeerId, node: Node) -> int:
        """How long the poll that has just ended keeps a Node busy: it sends then, and is not polled before."""
        return 0

    def absent(self, peer: PeerId) -> Node | None:
        """Bring up a Node to which something came, and which is not there; None: it is lost."""
        return None


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


class _Faults(Surroundings):
    """A Network, and its seeded generator."""

    def __init__(self, network: Network, seed: int) -> None:
        self._network = network
        self._random = np.random.Generator(np.random.Philox(seed))

    def delays(self, source: PeerId, peer: PeerId, size: int, now: int) -> Sequence[int]:
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
        network: How the network behaves, or all that surrounds the Nodes; by default one millisecond of latency and no
            fault.
        seed: Of a Network's draws.
        tell: Is given each Step but SendEnvelopes as it comes, with its time; by default they are kept in `seen`.

    Attributes:
        now: Virtual time in nanoseconds.
        seen: All Steps but SendEnvelopes, in order. Clear it when it grows too long for you.
        envelopes: How many Envelopes were sent.
        bytes_on_wire: Their bytes.
        lost: How many Envelopes did not arrive: lost on the way, or at a Node that was not there.
        polls: How often a Node was polled.
    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        network: Network | Surroundings | None = None,
        seed: int = 0,
        tell: Callable[[int, PeerId, Step], None] | None = None,
    ) -> None:
        self.now = 0
        self.nodes: dict[PeerId, Node] = {}
        self.seen: list[Seen] = []
        self.envelopes = self.bytes_on_wire = self.lost = self.polls = 0
        self._tell = tell or self._keep
        self._around = network if isinstance(network, Surroundings) else _Faults(network or Network(), seed)
        self._heap: list[tuple[int, int, PeerId | None, PeerId | None, Any]] = []
        self._sequence = 0
        self._in_flight = 0
        self._due: deque[PeerId] = deque()
        self._is_due: set[PeerId] = set()
        self._working: set[PeerId] = set()
        self._occupied: dict[PeerId, int] = {}
        self._wakeups: dict[PeerId, int] = {}
        self._unpolled: dict[PeerId, None] = {}  # in the order in which they came
        self._intercept: Callable[[PeerId, PeerId, bytes], bytes | None] | None = None
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        """Join a Node."""
        if node.peer_id in self.nodes:
            raise UsageError(f"a Node of the id {node.peer_id} is there already")
        self.nodes[node.peer_id] = node
        self._unpolled[node.peer_id] = None

    def remove(self, peer: PeerId) -> Node:
        """Take a Node away, as if it had crashed: what is under way to it is lost unless another of its id is there."""
        for held in (self._working, self._is_due):
            held.discard(peer)
        for known in (self._wakeups, self._occupied, self._unpolled):
            known.pop(peer, None)
        return self.nodes.pop(peer)

    def invoke(self, peer: PeerId, target: str, inputs: Mapping[str, Any]) -> ExecId:
        """Invoke a target on a Node, at the present time."""
        exec_id = self.nodes[peer].invoke(target, inputs, self._around.local(peer, self.now))
        self.wake(peer)
        return exec_id

    def deliver(self, peer: PeerId, source: PeerId, data: bytes) -> None:
        """Hand bytes to a Node now, as if `source` had sent them."""
        self.nodes[peer].receive(data, self._around.local(peer, self.now), source=source)
        self.wake(peer)

    def wake(self, peer: PeerId) -> None:
        """Poll a Node as soon as time goes on: at present, or when it is no longer busy."""
        if peer in self._is_due:
            return
        self._is_due.add(peer)
        free = self._occupied.get(peer, 0)
        if free > self.now:
            self._push(free, None, None, lambda: self._free(peer))
        else:
            self._due.append(peer)

    def at(self, when: int, do: Callable[[], object]) -> None:
        """Do something at a time, before the Nodes that have something to do then are polled."""
        self._push(max(when, self.now), None, None, do)

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
            if not (self._in_flight or self._working) or not self._advance():
                return False
        raise UsageError(
            f"the Nodes were not quiet after {max_events} events", hint="do two of them answer each other?"
        )

    def run_to(self, when: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Go on to a time, whatever is under way then; or until `until()`, and return whether it became true.

        A Node that was never polled is, at first.
        """
        for peer in self._unpolled:
            self.wake(peer)
        while True:
            self._poll_due()
            if until():
                return True
            if not self._heap or self._heap[0][0] > when:
                self.now = max(self.now, when)
                return False
            self._advance()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _keep(self, now: int, peer: PeerId, step: Step) -> None:
        self.seen.append(Seen(now, peer, step))

    def _free(self, peer: PeerId) -> None:
        """A Node that was busy can be polled; unless it went away, or went away and came back, meanwhile."""
        if peer in self._is_due:
            self._is_due.discard(peer)
            self.wake(peer)

    def _poll_due(self) -> None:
        while self._due:
            peer = self._due.popleft()
            node = self.nodes.get(peer)
            if peer not in self._is_due or node is None:
                continue
            self._is_due.discard(peer)
            self._poll(peer, node)

    def _poll(self, peer: PeerId, node: Node) -> None:
        around = self._around
        result = node.poll(around.local(peer, self.now))
        self.polls += 1
        self._unpolled.pop(peer, None)
        leaves = self.now
        took = around.polled(peer, node)
        if took:
            leaves = self._occupied[peer] = self.now + took
        for step in result.steps:
            if isinstance(step, SendEnvelope):
                self._send(peer, step, leaves)
            else:
                self._tell(leaves, peer, step)
        if result.more:
            self.wake(peer)
        (self._working.discard if node.is_idle else self._working.add)(peer)
        when = result.next_wakeup
        if when is not None:
            when = around.world(peer, when)
            if self._wakeups.get(peer, -1) != when:
                self._wakeups[peer] = when
                self._push(when, peer, None, b"")

    def _advance(self) -> bool:
        """Go to the next event and do all that is due then. Returns False when there is none."""
        heap = self._heap
        if not heap:
            return False
        self.now = max(self.now, heap[0][0])
        while heap and heap[0][0] <= self.now:
            when, _, peer, source, data = heapq.heappop(heap)
            if peer is None:
                data()
            elif source is not None:
                self._arrive(peer, source, data)
            elif self._wakeups.get(peer) == when:
                del self._wakeups[peer]
                self.wake(peer)
        return True

    def _arrive(self, peer: PeerId, source: PeerId, data: bytes) -> None:
        self._in_flight -= 1
        node = self.nodes.get(peer)
        if node is None:
            node = self._around.absent(peer)
            if node is None:
                self.lost += 1
                return
            self.add(node)
        node.receive(data, self._around.local(peer, self.now), source=source)
        self.wake(peer)

    def _send(self, source: PeerId, step: SendEnvelope, leaves: int) -> None:
        self.envelopes += 1
        self.bytes_on_wire += len(step.data)
        data: bytes | None = step.data
        if self._intercept is not None:
            data = self._intercept(source, step.peer, step.data)
        delays = () if data is None else self._around.delays(source, step.peer, len(data), leaves)
        if not delays:
            self.lost += 1
        for delay in delays:
            self._in_flight += 1
            self._push(leaves + delay, step.peer, source, data)

    def _push(self, when: int, peer: PeerId | None, source: PeerId | None, data: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, peer, source, data))
