"""The governor: who may send to this Node and be sent to, and who is left alone for a while.

Constants: reference behaviour 11.3 (10 ms doubling to 60 s), with jitter from a seeded generator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from bb_core import keys
from bb_core.ids import PeerId

FIRST_NS: Final = 10 * 10**6
LONGEST_NS: Final = 60 * 10**9
MOST: Final = 16_384
"""Peers whose cooldowns are remembered, as many as an address book holds; the oldest goes first."""
GATES: Final = frozenset({keys.GATE_DEDUP, keys.GATE_PEER_HEALTH, keys.GATE_BACKOFF})
"""Gates that this engine enforces; an artefact with another is refused."""


@dataclass(slots=True)
class _Cooldown:
    attempts: int = 0
    until: int = 0
    advised: int = 0
    """Until when the peer itself has asked to be left alone."""


class Governor:
    """Block and allow lists, and cooldowns after failures to reach a peer."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._blocked: set[PeerId] = set()
        self._allowed: frozenset[PeerId] | None = None
        self._cooling: dict[PeerId, _Cooldown] = {}

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is blocked, left out or cooling down, so that there is nothing to ask."""
        return self.allows_everyone and not self._cooling

    @property
    def allows_everyone(self) -> bool:
        """Whether nobody is blocked or left out."""
        return not self._blocked and self._allowed is None

    def block(self, peer: PeerId) -> None:
        """Refuse a peer until it is unblocked."""
        self._blocked.add(peer)

    def unblock(self, peer: PeerId) -> None:
        """Take a block back; of a peer that is not blocked, nothing changes."""
        self._blocked.discard(peer)

    def allow_only(self, peers: Iterable[PeerId] | None) -> None:
        """Refuse all but these; None allows everyone again."""
        self._allowed = None if peers is None else frozenset(peers)

    def sent(self, peer: PeerId, ok: bool, now: int) -> int:
        """Take in whether a peer could be reached. Returns until when it cools down; 0 when it does not.

        The n-th failure in a row costs 10 ms * 2^(n-1), at most 60 s, and up to a quarter more by chance.
        """
        if ok:
            cooling = self._cooling.pop(peer, None)
            if cooling is not None and cooling.advised > now:  # that it can be reached does not take its wish back
                self._cooling[peer] = _Cooldown(advised=cooling.advised)
            return 0
        cooling = self._of(peer)
        cooling.attempts += 1
        wait = min(FIRST_NS << min(cooling.attempts - 1, 40), LONGEST_NS)
        cooling.until = now + wait + self._jitter(peer, cooling.attempts, wait // 4)
        return cooling.until

    def advise(self, peer: PeerId, wait: int, now: int) -> int:
        """Take in that a peer asks to be left alone for so many nanoseconds, at most 60 s. Returns until when."""
        cooling = self._of(peer)
        cooling.advised = now + min(wait, LONGEST_NS)
        return cooling.advised

    def _of(self, peer: PeerId) -> _Cooldown:
        if peer not in self._cooling and len(self._cooling) >= MOST:
            del self._cooling[next(iter(self._cooling))]
        return self._cooling.setdefault(peer, _Cooldown())

    def is_allowed(self, peer: PeerId) -> bool:
        """Say whether this Node deals with a peer at all."""
        return peer not in self._blocked and (self._allowed is None or peer in self._allowed)

    def admits(self, peer: PeerId, gates: frozenset[str], now: int) -> bool:
        """Say whether some gates let what a peer has sent through."""
        if not self.is_allowed(peer):
            return False
        cooling = self._cooling.get(peer) if keys.GATE_BACKOFF in gates else None
        return cooling is None or now >= cooling.until

    def admits_sending(self, peer: PeerId, gates: frozenset[str], now: int) -> bool:
        """Say whether some gates let something to a peer through; what it asked for itself counts too."""
        cooling = self._cooling.get(peer) if keys.GATE_BACKOFF in gates else None
        return self.admits(peer, gates, now) and (cooling is None or now >= cooling.advised)

    def wished_until(self, peer: PeerId) -> int:
        """Return until when a peer has asked to be left alone; 0 when it has not."""
        cooling = self._cooling.get(peer)
        return 0 if cooling is None else cooling.advised

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "seed": self._seed,
            "blocked": [p.raw for p in sorted(self._blocked)],
            "allowed": None if self._allowed is None else [p.raw for p in sorted(self._allowed)],
            "cooling": [[p.raw, c.attempts, c.until, c.advised] for p, c in self._cooling.items()],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._seed = state["seed"]
        self._blocked = {PeerId(raw) for raw in state["blocked"]}
        allowed = state["allowed"]
        self._allowed = None if allowed is None else frozenset(PeerId(raw) for raw in allowed)
        self._cooling = {PeerId(raw): _Cooldown(*numbers) for raw, *numbers in state["cooling"]}

    def _jitter(self, peer: PeerId, attempt: int, most: int) -> int:
        key = f"{self._seed}/{attempt}/".encode() + peer.raw
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % (most + 1)
