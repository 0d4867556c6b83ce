"""`CoordinateMedian` and `TrimmedMean`: each coordinate without its extremes, so that a few liars move it little."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import bb_core as bb
from bb_plugins.aggregators.reductions import coordinate_median, trimmed_mean


@bb.concrete("bytesandbrains.CoordinateMedian")
class CoordinateMedian(bb.roles.Aggregator):
    """Take each coordinate's median (Yin et al. 2018, definition 1); of an even number the mean of the middle two.

    All peers count alike, for a weight is what a liar would lie about. It withstands liars who are less than half.

    Shape:
        params (d,) f32 · stats: `peers`, K
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """When a round closes."""

        quorum: int | None = None
        """Close the round as soon as this many are in; None: the whole cohort."""
        minimum: int = 1
        """Fewer than this at the deadline is a missed quorum."""

        def __post_init__(self) -> None:
            for name in ("quorum", "minimum"):
                value = getattr(self, name)
                if value is not None and value < 1:
                    raise ValueError(f"{name} is {value}; expected at least 1")

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the medians, and over how many peers they were taken."""
        return coordinate_median([c.update for c in contributions]), bb.Record(peers=len(contributions))


@bb.concrete("bytesandbrains.TrimmedMean")
class TrimmedMean(bb.roles.Aggregator):
    """Drop each coordinate's largest and smallest, and take the mean of the others (Yin et al. 2018, definition 2).

    All peers count alike, for a weight is what a liar would lie about. It withstands as many liars as it drops at one
    end. The rounding error of an element is at most K * 2^-24 of the largest magnitude that is kept.

    Shape:
        params (d,) f32 · stats: `peers`, K, and `dropped`, how many at each end
    """

    @dataclass(frozen=True, slots=True)
    class Config(CoordinateMedian.Config):
        """When a round closes, and what is dropped."""

        trim: float = 0.1
        """Share of the peers that is dropped at each end, rounded up to whole peers; 0 <= trim < 0.5."""

        def __post_init__(self) -> None:
            CoordinateMedian.Config.__post_init__(self)
            if not 0 <= self.trim < 0.5:
                raise ValueError(f"trim is {self.trim}; expected 0 <= trim < 0.5")

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the means, over how many peers they were taken, and how many were left out at each end."""
        dropped = dropped_of(len(contributions), self.config.trim)
        mean = trimmed_mean([c.update for c in contributions], dropped)
        return mean, bb.Record(peers=len(contributions), dropped=dropped)


def dropped_of(peers: int, trim: float) -> int:
    """Return how many a share of the peers is: rounded up, so that a share above 0 drops someone, and leaving one."""
    return min(ceil(round(trim * peers, 9)), (peers - 1) // 2)
