"""What a Node thinks of a peer."""

from __future__ import annotations

from dataclasses import dataclass

from bb_core.engine.engine import Engine
from bb_core.engine.phi import Health
from bb_core.ids import PeerId
from bb_core.wire.address import Address


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What a Node thinks of a peer; a stranger is up, allowed, and nothing is known of it.

    Attributes:
        addresses: Where to reach it, the best first.
        health: Whether it is up, suspect or down.
        is_allowed: False when it is blocked, or not among those that are allowed.
        wished_until: Time in nanoseconds until which it has asked to be sent nothing; 0 when it has not.
        silenced_until: Time until which what it sends is dropped at most; None when it is heard.
        srtt_ns: Smoothed time that its answers take, what it computes included; None before the first.
        rttvar_ns: Mean distance of an answer's time from that.
        answers: How many these are made of.
    """

    addresses: tuple[Address, ...]
    health: Health
    is_allowed: bool
    wished_until: int
    silenced_until: int | None
    srtt_ns: int | None
    rttvar_ns: int | None
    answers: int


def peer_info(engine: Engine, peer: PeerId) -> PeerInfo:
    """Collect what the services of an engine know of a peer."""
    estimate = engine.round_trips.estimate(peer)
    return PeerInfo(
        addresses=tuple(Address.from_bytes(raw) for raw in engine.address_book.addresses(peer, engine.now)),
        health=engine.health.health(peer),
        is_allowed=engine.governor.is_allowed(peer),
        wished_until=engine.governor.wished_until(peer),
        silenced_until=engine.overload.silent_until(peer),
        srtt_ns=None if estimate is None else estimate.srtt,
        rttvar_ns=None if estimate is None else estimate.rttvar,
        answers=0 if estimate is None else estimate.samples,
    )
