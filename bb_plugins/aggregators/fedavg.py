"""`FedAvg`: the mean of the peers' parameters, weighted by how much data they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import bb_core as bb
from bb_core.errors import ContributionRefused
from bb_plugins.aggregators.reductions import weighted_mean

_LARGEST: Final = 2**53  # up to it every whole number is a float


@bb.concrete("bytesandbrains.FedAvg")
class FedAvg(bb.roles.Aggregator):
    """Average with weights n_k / n (McMahan et al. 2017, Algorithm 1), summed in f32 in order of peer id.

    The rounding error of an element is at most K * 2^-24 of the largest update's magnitude, for K peers.

    Shape:
        params (d,) f32 · stats: `num_samples`, the sum of the weights, and `peers`, K
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """When a round closes, and what weighs."""

        quorum: int | None = None
        """Close the round as soon as this many are in; None: the whole cohort."""
        minimum: int = 1
        """Fewer than this at the deadline is a missed quorum."""
        weight: str = "num_samples"
        """Field of the stats by which an update is weighted; empty: all alike."""

        def __post_init__(self) -> None:
            for name in ("quorum", "minimum"):
                value = getattr(self, name)
                if value is not None and value < 1:
                    raise ValueError(f"{name} is {value}; expected at least 1")

    def accept(self, ctx: bb.Context, contribution: bb.roles.Contribution) -> None:
        """Refuse what the base refuses, and a weight that is missing, not above zero, or too large to be added."""
        super().accept(ctx, contribution)
        name = self.config.weight
        if name:
            given = contribution.stats.get(name)
            if not isinstance(given, int | float) or not 0 < given <= _LARGEST:
                raise ContributionRefused(
                    f"an update from {contribution.source} has {given!r} as {name!r}",
                    expected="a number above 0, and at most 2**53, in its stats",
                    hint="send the stats that train_epochs gives, or configure FedAvg(weight='')",
                )

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the weighted mean, and over how much it was taken."""
        weights = [self.weight_of(c) for c in contributions]
        mean = weighted_mean([c.update for c in contributions], weights)
        return mean, bb.Record(num_samples=sum(weights), peers=len(contributions))

    def weight_of(self, contribution: bb.roles.Contribution) -> Any:
        """Return the weight of an update; a number above 0."""
        return contribution.stats[self.config.weight] if self.config.weight else 1
