"""Round trips: how long peers take to answer, and so when an answer is due.

The estimator is that of RFC 6298 (Jacobson 1988), on whole nanoseconds, with shifts where the RFC has fractions:

| RFC 6298 | here                                                 | gain                            |
|----------|------------------------------------------------------|---------------------------------|
| R'       | `elapsed`, from the request to a peer's answer       |                                 |
| SRTT     | `srtt`, a mean that forgets                          | alpha 1/8; over all peers 1/64  |
| RTTVAR   | `rttvar`, the mean distance from it                  | beta 1/4; over all peers 1/32   |
| RTO      | `budget`: `srtt + 4 * rttvar`                        |                                 |

A round trip here is what the asker waits for, so it holds the time that the peer computes. It says when an answer is
usual; it is no reason to give up on one that its author lets wait longer.

A budget comes from the first of these that is warm, which is after three samples: the peer, all peers together, the
caller's default. Whoever asks a peer for the first time so expects of it what is usual here.

Karn's rule: after a request was sent twice nobody knows which of the two was answered, so such a sample does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from bb_core.ids import PeerId

MOST: Final = 16_384
"""Peers with an estimate of their own, as many as an address book holds; the longest without a sample goes first."""
WARM: Final = 3
"""Samples before an estimate is believed."""
ALPHA: Final = 3
BETA: Final = 2
EVERYONE_ALPHA: Final = 6
EVERYONE_BETA: Final = 5
"""Gains, as shifts: 3 is 1/8. Over all peers they are slower, as one peer shall not set what is usual."""
DEVIATIONS: Final = 4  # RFC 6298, K


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of round trips.

    Attributes:
        srtt: Smoothed round-trip time in nanoseconds.
        rttvar: Mean distance of a sample from it, in nanoseconds.
        samples: How many it is made of.
    """

    srtt: int
    rttvar: int
    samples: int

    @property
    def is_warm(self) -> bool:
        """Whether it is made of enough samples to be believed."""
        return self.samples >= WARM

    @property
    def budget(self) -> int:
        """Nanoseconds within which an answer is usual."""
        return self.srtt + DEVIATIONS * self.rttvar


class RoundTrips:
    """Estimates for each peer, and one over all.

    Args:
        most: Peers to keep an estimate of.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._peers: dict[bytes, Estimate] = {}  # by when each was last sampled, the longest ago first
        self._everyone: Estimate | None = None

    def __len__(self) -> int:
        """Of how many peers there is an estimate."""
        return len(self._peers)

    def sample(self, peer: PeerId, elapsed: int, *, retried: bool = False) -> None:
        """Take in that a peer has answered. A request to several peers gives one sample for each that answers.

        Args:
            peer: Who has answered.
            elapsed: Nanoseconds from the request to this peer's first answer.
            retried: Whether the request was sent to this peer more than once; then nothing can be learnt from it.
        """
        if retried:
            return
        self._peers[peer.raw] = _after(self._peers.pop(peer.raw, None), elapsed, ALPHA, BETA)
        self._everyone = _after(self._everyone, elapsed, EVERYONE_ALPHA, EVERYONE_BETA)
        if len(self._peers) > self._most:
            del self._peers[next(iter(self._peers))]

    def estimate(self, peer: PeerId | None = None) -> Estimate | None:
        """Return what is known of a peer, or over all peers; None before the first sample. Nothing changes."""
        return self._everyone if peer is None else self._peers.get(peer.raw)

    def budget(self, peer: PeerId, default: int) -> int:
        """Return the nanoseconds within which an answer of a peer is usual; `default` while nothing is warm."""
        for estimate in (self._peers.get(peer.raw), self._everyone):
            if estimate is not None and estimate.is_warm:
                return estimate.budget
        return default

    # --- as it was ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all estimates as plain data."""
        return {
            "everyone": _plain(self._everyone),
            "peers": [[raw, *_plain(estimate)] for raw, estimate in self._peers.items()],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._everyone = _estimate(state["everyone"])
        self._peers = {raw: Estimate(*numbers) for raw, *numbers in state["peers"]}


def _after(before: Estimate | None, sample: int, alpha: int, beta: int) -> Estimate:
    """Return an estimate with one more sample. The distance is that from the mean before (RFC 6298, 2.3)."""
    if before is None:
        return Estimate(sample, sample >> 1, 1)
    srtt, rttvar = before.srtt, before.rttvar
    return Estimate(
        srtt - (srtt >> alpha) + (sample >> alpha),
        rttvar - (rttvar >> beta) + (abs(sample - srtt) >> beta),
        before.samples + 1,
    )


def _plain(estimate: Estimate | None) -> list[int]:
    return [] if estimate is None else [estimate.srtt, estimate.rttvar, estimate.samples]


def _estimate(numbers: Iterable[int]) -> Estimate | None:
    found = list(numbers)
    return Estimate(*found) if found else None
