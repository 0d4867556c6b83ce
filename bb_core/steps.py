"""Steps: all that a Node can ask of its host, or tell it. A closed union of frozen values.

The host matches on the class. `SendEnvelope` is the only one that it must act on; the others are for its information.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from bb_core.errors import BBError, RemoteError
from bb_core.ids import ExecId, PeerId


class SendEnvelope(Struct, frozen=True):
    """Hand these bytes to a peer.

    Attributes:
        id: Number of the Step on its Node; `Node.sent(id, ...)` tells what became of it.
        addresses: Where to reach it, in order of preference; empty when only its id is known.
        deadline: Time in nanoseconds by which it must be handed over.
    """

    id: int
    peer: PeerId
    addresses: tuple[bytes, ...]
    data: bytes
    deadline: int


class AppEvent(Struct, frozen=True):
    """The program gives a value to the host: an output of `target`."""

    target: str
    port: str
    value: Any
    exec_id: ExecId


class OpFailed(Struct, frozen=True):
    """An op failed; its readers never run, the rest of its Frame goes on.

    Attributes:
        role: Role of the Concrete that failed; empty for the framework's own ops.
        where: The author's line.
        error: What the op raised, or what the Concrete failed its Later with; another exception is its `__cause__`.
    """

    target: str
    op: str
    slot: str
    role: str
    where: str
    exec_id: ExecId
    error: BBError


class QuorumMissed(Struct, frozen=True):
    """A collection closed with fewer contributions than its minimum."""

    target: str
    slot: str
    where: str
    exec_id: ExecId
    received: int
    cohort: int
    error: BBError


class EnvelopeRejected(Struct, frozen=True):
    """An Envelope was refused whole."""

    source: PeerId
    error: RemoteError


class FillRejected(Struct, frozen=True):
    """One value of an Envelope was refused; the others landed.

    Attributes:
        index: Which of its fills.
        count: How many it stands for: of one Envelope, the eighth refusal and those after it are one Step.
    """

    source: PeerId
    index: int
    error: RemoteError
    count: int = 1


class Dropped(Struct, frozen=True):
    """Something that a peer has sent was left out: duplicates, or what the Node has no room for.

    Attributes:
        source: Who has sent it. When more than 16,384 peers have sent too much between two polls, what the others have
            sent is counted under the Node's own id, with a reason that says so.
    """

    source: PeerId
    reason: str
    count: int = 1


class WireTimeout(Struct, frozen=True):
    """A request ended at its delivery deadline, and nothing had collected its answers."""

    request: int
    peers: tuple[PeerId, ...]


class Undelivered(Struct, frozen=True):
    """A peer has not confirmed in time what was sent to it again and again.

    Attributes:
        request: Its request's id.
        arrived: How many of its Envelopes the peer has confirmed.
        count: Of how many.
    """

    peer: PeerId
    request: int
    arrived: int
    count: int


class BudgetSpent(Struct, frozen=True):
    """A poll stopped at its budget; poll again with the same time."""

    ops: int


class OpCompleted(Struct, frozen=True):
    """An op has run; given only while an observer asks for it."""

    target: str
    op: str
    exec_id: ExecId


class Deferred(Struct, frozen=True):
    """Work waits for something that the host can bring about."""

    reason: str


class PeerResolveFailed(Struct, frozen=True):
    """A peer of which no address is known could not be reached."""

    peer: PeerId


class PeerSuspect(Struct, frozen=True):
    """A peer has been silent for longer than it usually is."""

    peer: PeerId


class PeerDown(Struct, frozen=True):
    """A peer counts as gone."""

    peer: PeerId


class PeerUp(Struct, frozen=True):
    """A peer that was suspect or down has answered."""

    peer: PeerId


class PeerBlocked(Struct, frozen=True):
    """Envelopes of a blocked peer were refused, or one to it or to a peer that cools down was held back."""

    peer: PeerId
    count: int = 1


class Backpressure(Struct, frozen=True):
    """A peer asked to be sent less, until a time."""

    peer: PeerId
    until: int


class PeerSilenced(Struct, frozen=True):
    """A peer was asked three times to wait and sends on; what it sends is dropped without a Step, at most until a time.

    Attributes:
        until: Nanoseconds; earlier when less than half of what may wait does.
    """

    peer: PeerId
    until: int


class PeerHeard(Struct, frozen=True):
    """A peer that was silenced is heard again."""

    peer: PeerId


class BootstrapCompleted(Struct, frozen=True):
    """A target's bootstrap has ended."""

    target: str


class LifecycleFired(Struct, frozen=True):
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
    | Undelivered
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
    | PeerSilenced
    | PeerHeard
)


class PollResult(Struct, frozen=True, gc=False):
    """What one poll gave.

    Attributes:
        steps: What to do and what has happened, in order of cause.
        next_wakeup: Time at which to poll again; None when only input can wake the Node.
        more: Poll again now, with the same time: the budget was spent.
    """

    steps: list[Step]
    next_wakeup: int | None
    more: bool
