"""`Krum` and `MultiKrum`: the updates that have the nearest neighbours, so that liars must lie close to the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import ContributionRefused
from bb_plugins.aggregators.reductions import squared_distances, weighted_mean


@bb.concrete("bytesandbrains.Krum")
class Krum(bb.roles.Aggregator):
    """Take the one update that is nearest to its neighbours (Blanchard et al. 2017, section 4).

    The score of an update is the sum of its squared distances to the K - f - 2 updates nearest to it, where f peers may
    lie. The lowest score wins; of equal ones, that of the peer with the smallest id. Weights do not count.

    Shape:
        params (d,) f32 · stats: `peers`, K; `chosen` (m,) i64, the places of those taken, in order of peer id
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """When a round closes, and how many may lie."""

        quorum: int | None = None
        """Close the round as soon as this many are in; None: the whole cohort."""
        minimum: int = 5
        """Fewer than this at the deadline is a missed quorum; at least 2 * liars + 3."""
        liars: int = 1
        """How many of the peers may send anything at all: f in the paper."""

        def __post_init__(self) -> None:
            if self.liars < 0:
                raise ValueError(f"liars is {self.liars}; expected at least 0")
            for name in ("quorum", "minimum"):
                value = getattr(self, name)
                if value is not None and value < least(self.liars):
                    raise ValueError(f"{name} is {value}; expected at least {least(self.liars)}, 2 * liars + 3")

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return what is chosen, of how many, and which they are.

        Raises:
            ContributionRefused: fewer contributions than 2 * liars + 3, of which liars could be the most.
        """
        peers, liars = len(contributions), self.config.liars
        if peers < least(liars):
            raise ContributionRefused(
                f"{peers} updates are too few to choose from while {liars} may lie",
                expected=f"at least {least(liars)}, 2 * liars + 3",
                hint="raise `minimum` or `quorum`, or lower `liars`",
            )
        updates = [c.update for c in contributions]
        chosen = np.sort(np.argsort(scores(squared_distances(updates), liars), kind="stable")[: self.wanted(peers)])
        mean = weighted_mean((updates[i] for i in chosen), [1] * len(chosen))
        return mean, bb.Record(peers=peers, chosen=chosen)

    def wanted(self, peers: int) -> int:
        """Return how many updates of so many are taken."""
        return 1


@bb.concrete("bytesandbrains.MultiKrum")
class MultiKrum(Krum):
    """Take the mean of the updates with the lowest scores (Blanchard et al. 2017, section 6).

    With one it is Krum; with all of them, the plain mean. Between the two it trades safety for speed of convergence.
    """

    @dataclass(frozen=True, slots=True)
    class Config(Krum.Config):
        """Krum's options, and how many updates are taken."""

        keep: int | None = None
        """How many; None: all but the liars, K - f. At most so many are there to take."""

        def __post_init__(self) -> None:
            Krum.Config.__post_init__(self)
            if self.keep is not None and self.keep < 1:
                raise ValueError(f"keep is {self.keep}; expected at least 1")

    def wanted(self, peers: int) -> int:
        """Return how many updates of so many are taken."""
        most, keep = peers - int(self.config.liars), self.config.keep
        return most if keep is None else min(int(keep), most)


def least(liars: int) -> int:
    """Return how many updates are needed while so many may lie: 2f + 2 < K (Blanchard et al. 2017, proposition 2)."""
    return 2 * liars + 3


def scores(distances: npt.NDArray[np.float64], liars: int) -> npt.NDArray[np.float64]:
    """Return each update's sum of the squared distances to the K - f - 2 nearest others.

    Shape:
        distances (K, K), 0 on the diagonal · returns (K,)
    """
    near = len(distances) - liars - 2
    others = np.sort(distances + np.diag(np.full(len(distances), np.inf)), axis=1)
    return np.asarray(others[:, :near].sum(axis=1))
