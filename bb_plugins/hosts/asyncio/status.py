"""What a running host says of itself: to `bb node status`, to `bb node explain`, and to whoever scrapes it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

import bb_core as bb
from bb_core.steps import AppEvent, Step
from bb_plugins.hosts.asyncio.host import AsyncioHost
from bb_plugins.hosts.asyncio.neighbours import Neighbour, Traffic
from bb_plugins.hosts.numbers import numbers

_S: Final = 1e9
_MS: Final = 1e6


class PeerStatus(msgspec.Struct, frozen=True):
    """A peer, as a host sees it. Seconds and milliseconds are of the Node's clock."""

    id: str
    connected: bool
    at: str
    """Where its link leads; empty without one."""
    health: str
    sent: int
    sent_bytes: int
    received: int
    received_bytes: int
    waiting: int
    """Envelopes that are to be sent to it and have not been handed over."""
    seen_s: float | None
    """How long ago something came from it; None: never in the life of this process."""
    answer_ms: float | None
    """Smoothed time that its answers take, what it computes included; None before the first."""


class Status(msgspec.Struct, frozen=True):
    """A Node and its process."""

    peer: str
    targets: list[str]
    digest: str
    pid: int
    up_s: float
    resumed: bool
    """Whether it goes on from an earlier life."""
    ready: bool
    """Whether every peer that is to be connected is."""
    failure: str
    """Why the Node has stopped; empty while it runs."""
    listening: list[str]
    rounds_done: int | None
    """None when this process plays no rounds."""
    rounds: int | None
    values: dict[str, float]
    """The latest numbers that the program gave, such as `accuracy`."""
    executions: int
    """Frames that the Node has begun in its life."""
    held: dict[str, int]
    """What the Node holds: `Node.stats`."""
    counters: dict[str, int]
    """The program's own: `Node.counters`."""
    steps: dict[str, int]
    links: dict[str, int]
    """What is counted of links: opened, dialed, refused, and why something was not sent."""
    journal_bytes: int | None
    peers: list[PeerStatus]

    @property
    def sent_bytes(self) -> int:
        """Bytes of Envelopes that were handed over to all peers that are listed."""
        return sum(peer.sent_bytes for peer in self.peers)

    @property
    def received_bytes(self) -> int:
        """Bytes of Envelopes that have come from all peers that are listed."""
        return sum(peer.received_bytes for peer in self.peers)


class Held(msgspec.Struct, frozen=True):
    """One thing that the Node waits for, and what is known of those who have not answered."""

    text: str
    left_s: float | None
    """Until the waiting ends by itself; None when it does not."""
    peers: list[PeerStatus]


class Explanation(msgspec.Struct, frozen=True):
    """Why a Node waits."""

    peer: str
    wakes: str
    """Why it will wake next, in words."""
    waiting: list[Held]


@dataclass(slots=True)
class Progress:
    """How far a process has come.

    Attributes:
        began: When the process began, by the Node's time.
        done: Rounds that are done; None when it plays none.
        rounds: How many it is to play.
        values: The latest numbers that the program gave.
        is_ending: Whether no more rounds are to begin.
    """

    began: int
    done: int | None = None
    rounds: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    is_ending: bool = False

    def take(self, step: Step) -> None:
        """Take a Step in."""
        if isinstance(step, AppEvent):
            self.values.update(numbers(step.port, step.value))


def status_of(host: AsyncioHost, progress: Progress) -> Status:
    """Tell how a host and its Node are."""
    node, links = host.node, host.links
    return Status(
        peer=str(node.peer_id),
        targets=list(node.targets),
        digest=node.digest,
        pid=os.getpid(),
        up_s=round((host.now() - progress.began) / _S, 3),
        resumed=host.is_resumed,
        ready=is_ready(host),
        failure="" if host.failure is None else host.failure.message,
        listening=[str(address) for address in links.listening],
        rounds_done=progress.done,
        rounds=progress.rounds,
        values=dict(progress.values),
        executions=node.executions,
        held=node.stats(),
        counters=node.counters(),
        steps=dict(sorted(host.steps.items())),
        links=dict(sorted(links.counters.items())),
        journal_bytes=host.journal_bytes,
        peers=[_peer(host, peer, neighbour) for peer, neighbour in sorted(links.neighbours.items())],
    )


def is_ready(host: AsyncioHost) -> bool:
    """Whether the Node runs, and every peer that is to be connected is."""
    return host.failure is None and all(n.links for n in host.links.neighbours.values() if n.is_kept)


def explanation_of(host: AsyncioHost) -> Explanation:
    """Tell what the Node waits for, from whom, and what is known of those."""
    now, neighbours = host.now(), host.links.neighbours
    waiting = [
        Held(
            text=str(replace(w, until=None)),
            left_s=None if w.until is None else round((w.until - now) / _S, 3),
            peers=[_peer(host, peer, neighbours.get(peer)) for peer in w.peers],
        )
        for w in host.node.explain()
    ]
    return Explanation(str(host.node.peer_id), host.node.explain_wakeup(), waiting)


def _peer(host: AsyncioHost, peer: bb.PeerId, neighbour: Neighbour | None) -> PeerStatus:
    traffic = Traffic() if neighbour is None else neighbour.traffic
    links = [] if neighbour is None else neighbour.links
    info = host.node.peer(peer)
    return PeerStatus(
        id=str(peer),
        connected=bool(links),
        at=links[-1].seen_at if links else "",
        health=info.health.name.lower(),
        sent=traffic.sent,
        sent_bytes=traffic.sent_bytes,
        received=traffic.received,
        received_bytes=traffic.received_bytes,
        waiting=0 if neighbour is None else neighbour.waiting,
        seen_s=None if traffic.seen is None else round((host.now() - traffic.seen) / _S, 3),
        answer_ms=None if info.srtt_ns is None else round(info.srtt_ns / _MS, 3),
    )
