"""The governor: who may send to this Node and be sent to, and who is left alone for a while.

Constants: reference behaviour 11.3 (10 ms doubling to 60 s), with jitter from a seeded generator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from bb_core import keys
from bb_core.ids import PeerId

FIRST_NS: Final = 10 * 10**6
LONGEST_NS: Final = 60 * 10**9
GATES: Final = frozenset({keys.GATE_DEDUP, keys.GATE_PEER_HEALTH, keys.GATE_BACKOFF})
"""Gates that this engine enforces; an artefact with another is refused."""


@dataclass(slots=True)
class _Cooldown:
    attempts: int = 0
    until: int = 0


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
        return not self._blocked and self._allowed is None and not self._cooling

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
            self._cooling.pop(peer, None)
            return 0
        cooling = self._cooling.setdefault(peer, _Cooldown())
        cooling.attempts += 1
        wait = min(FIRST_NS << min(cooling.attempts - 1, 40), LONGEST_NS)
        cooling.until = now + wait + self._jitter(peer, cooling.attempts, wait // 4)
        return cooling.until

    def admits(self, peer: PeerId, gates: frozenset[str], now: int) -> bool:
        """Say whether some gates let a peer through."""
        if keys.GATE_PEER_HEALTH in gates and (
            peer in self._blocked or (self._allowed is not None and peer not in self._allowed)
        ):
            return False
        cooling = self._cooling.get(peer) if keys.GATE_BACKOFF in gates else None
        return cooling is None or now >= cooling.until

    def _jitter(self, peer: PeerId, attempt: int, most: int) -> int:
        key = f"{self._seed}/{attempt}/".encode() + peer.raw
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % (most + 1)
