"""`FedAvgM`: federated averaging with momentum on the server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bb_core as bb
from bb_plugins.aggregators.fedavg import FedAvg


@bb.concrete("bytesandbrains.FedAvgM")
class FedAvgM(FedAvg):
    """Average as FedAvg, then move on by momentum (Hsu, Qi & Brown 2019, section 4.2).

    With the last result w and the peers' mean m: v = momentum * v + (w - m), w = w - learning_rate * v. The first round
    has no last result, and returns the mean.
    """

    @dataclass(frozen=True, slots=True)
    class Config(FedAvg.Config):
        """FedAvg's options, and those of the server's optimizer."""

        momentum: float = 0.9
        """Share of the last step that goes into this one; 0 <= momentum < 1."""
        learning_rate: float = 1.0
        """How far a step goes; above 0."""

        def __post_init__(self) -> None:
            FedAvg.Config.__post_init__(self)
            if not 0 <= self.momentum < 1:
                raise ValueError(f"momentum is {self.momentum}; expected 0 <= momentum < 1")
            if not 0 < self.learning_rate < float("inf"):
                raise ValueError(f"learning_rate is {self.learning_rate}; expected a number above 0")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._last: bb.Tensor | None = None
        self._velocity: bb.Tensor | None = None

    def snapshot(self) -> bb.State:
        """Return the contributions, and the server's parameters and velocity."""
        return {**super().snapshot(), "last": self._last, "velocity": self._velocity}

    def restore(self, state: bb.State) -> None:
        """Take them over."""
        super().restore(state)
        self._last, self._velocity = state["last"], state["velocity"]

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the server's next parameters."""
        mean, stats = super().combine(ctx, contributions)
        if self._last is None or self._velocity is None:
            self._last, self._velocity = mean, np.zeros_like(mean)
            return mean.copy(), stats
        rate, momentum = np.float32(self.config.learning_rate), np.float32(self.config.momentum)
        self._velocity = momentum * self._velocity + (self._last - mean)
        self._last = self._last - rate * self._velocity
        return self._last.copy(), stats
