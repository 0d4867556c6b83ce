"""`TrimmedMean`: each coordinate's mean without its extremes."""

from dataclasses import dataclass

import numpy as np

import bb_core as bb


@bb.concrete("bb_trimmed_mean.TrimmedMean")
class TrimmedMean(bb.roles.Aggregator):
    """Average each coordinate after dropping its largest and smallest values (Yin et al. 2018, definition 2).

    Shape:
        params (d,) f32 · stats: `peers`, how many updates came in, and `dropped`, how many at each end
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """When a round closes, and what is dropped."""

        quorum: int | None = None
        """Close the round as soon as this many are in; None: the whole cohort."""
        minimum: int = 1
        """Fewer than this at the deadline is a missed quorum."""
        trim: float = 0.1
        """Share dropped at each end, rounded down to whole peers; 0 <= trim < 0.5."""

        def __post_init__(self) -> None:
            if not 0 <= self.trim < 0.5:
                raise ValueError(f"trim is {self.trim}; expected 0 <= trim < 0.5")

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the trimmed mean of what was contributed, in order of peer id."""
        from bb_trimmed_mean.kernel import trimmed_mean

        updates = np.array([c.update for c in contributions], np.float32)  # a copy: the kernel puts it in order
        shape = updates.shape[1:]
        mean, dropped = np.empty(shape, np.float32), int(self.config.trim * len(updates))
        trimmed_mean(updates.reshape(len(updates), -1), dropped, mean.reshape(-1))
        return mean, bb.Record(peers=len(updates), dropped=dropped)
