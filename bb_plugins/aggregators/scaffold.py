"""`Scaffold`: averages parameters and control variates, each by its own rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bb_core as bb
from bb_core.errors import ContributionRefused
from bb_plugins.aggregators.fedavg import FedAvg
from bb_plugins.training.control_variates import VARIATES


@bb.concrete("bytesandbrains.Scaffold")
class Scaffold(FedAvg):
    """Average as SCAFFOLD does (Karimireddy et al. 2020, Algorithm 1), for a GraphModel with `control_variates`.

    An update is the parameters of a peer, then c + (its new variate - its old one). With the share s of all clients
    that took part: x = x + learning_rate (mean of x_k - x), c = c + s (mean of what was sent - c). The first round has
    no last result, and takes the means.

    Shape:
        params (2d,) f32 · stats: as FedAvg, and `control_variates`, which GraphModel's have
    """

    @dataclass(frozen=True, slots=True)
    class Config(FedAvg.Config):
        """FedAvg's options, and how many clients there are."""

        clients: int | None = None
        """How many there are in all, of whom each round's cohort is a part; None: every one takes part."""
        learning_rate: float = 1.0
        """How far the server goes towards the mean; above 0."""

        def __post_init__(self) -> None:
            FedAvg.Config.__post_init__(self)
            if self.clients is not None and self.clients < 1:
                raise ValueError(f"clients is {self.clients}; expected at least 1")
            if not 0 < self.learning_rate < float("inf"):
                raise ValueError(f"learning_rate is {self.learning_rate}; expected a number above 0")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._last: bb.Tensor | None = None

    def snapshot(self) -> bb.State:
        """Return the contributions, and the server's parameters and variate."""
        return {**super().snapshot(), "last": self._last}

    def restore(self, state: bb.State) -> None:
        """Take them over."""
        super().restore(state)
        self._last = state["last"]

    def accept(self, ctx: bb.Context, contribution: bb.roles.Contribution) -> None:
        """Refuse what FedAvg refuses, and what is no pair of two equal lengths."""
        super().accept(ctx, contribution)
        if not contribution.stats.get(VARIATES) or contribution.update.ndim != 1 or contribution.update.size % 2:
            raise ContributionRefused(
                f"an update of shape {contribution.update.shape} has no control variate",
                expected="(2d,), parameters and a control variate",
                hint="configure the Model with control_variates=True",
            )

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the server's next parameters and variate."""
        mean, stats = super().combine(ctx, contributions)
        if self._last is not None and self._last.shape == mean.shape:
            size = mean.size // 2
            share = len(contributions) / (self.config.clients or len(contributions))
            rates = np.repeat(np.array([self.config.learning_rate, min(1.0, share)], np.float32), size)
            mean = self._last + rates * (mean - self._last)
        self._last = mean
        return mean.copy(), stats
