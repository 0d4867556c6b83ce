"""Steps: all that a Node can ask of its host, or tell it. A closed union of frozen values.

The host matches on the class. `SendEnvelope` is the only one that it must act on; the others are for its information.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bb_core.errors import BBError, RemoteError
from bb_core.ids import ExecId, PeerId


@dataclass(frozen=True, slots=True)
class SendEnvelope:
    """Hand these bytes to a peer.

    Attributes:
        addresses: Where to reach it, in order of preference; empty when only its id is known.
        deadline: Time in nanoseconds by which it must be handed over.
    """

    peer: PeerId
    addresses: tuple[bytes, ...]
    data: bytes
    deadline: int


@dataclass(frozen=True, slots=True)
class AppEvent:
    """The program gives a value to the host: an output of `target`."""

    target: str
    port: str
    value: Any
    exec_id: ExecId


@dataclass(frozen=True, slots=True)
class OpFailed:
    """An op failed; its readers never run, the rest of its Frame goes on."""

    target: str
    op: str
    slot: str
    where: str
    exec_id: ExecId
    error: BBError


@dataclass(frozen=True, slots=True)
class QuorumMissed:
    """A collection closed with fewer contributions than its minimum."""

    target: str
    slot: str
    where: str
    exec_id: ExecId
    received: int
    cohort: int
    error: BBError


@dataclass(frozen=True, slots=True)
class EnvelopeRejected:
    """An Envelope was refused whole."""

    source: PeerId
    error: RemoteError


@dataclass(frozen=True, slots=True)
class FillRejected:
    """One value of an Envelope was refused; the others landed."""

    source: PeerId
    index: int
    error: RemoteError


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something was left out on purpose: a duplicate."""

    source: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class WireTimeout:
    """A request ended at its delivery deadline, and nothing had collected its answers."""

    request: int
    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """A poll stopped at its budget; poll again with the same time."""

    ops: int


@dataclass(frozen=True, slots=True)
class OpCompleted:
    """An op has run; given only while an observer asks for it."""

    target: str
    op: str
    exec_id: ExecId


@dataclass(frozen=True, slots=True)
class Deferred:
    """Work waits for something that the host can bring about."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerResolveFailed:
    """A peer has no known address."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerSuspect:
    """A peer has been silent for longer than it usually is."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A peer counts as gone."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A peer that was suspect or down has answered."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerBlocked:
    """An Envelope of a blocked peer was refused."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Backpressure:
    """A peer asked to be sent less, until a time."""

    peer: PeerId
    until: int


@dataclass(frozen=True, slots=True)
class BootstrapCompleted:
    """A target's bootstrap has ended."""

    target: str


@dataclass(frozen=True, slots=True)
class LifecycleFired:
    """A lifecycle phase has begun."""

    phase: str


Step = (
    SendEnvelope
    | AppEvent
    | OpFailed
    | QuorumMissed
    | EnvelopeRejected
    | FillRejected
    | Dropped
    | WireTimeout
    | BudgetSpent
    | OpCompleted
    | Deferred
    | PeerResolveFailed
    | PeerSuspect
    | PeerDown
    | PeerUp
    | PeerBlocked
    | Backpressure
    | BootstrapCompleted
    | LifecycleFired
)
