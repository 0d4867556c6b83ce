"""`FedAdagrad`, `FedAdam` and `FedYogi`: federated averaging with an adaptive optimizer on the server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_plugins.aggregators.fedavg import FedAvg

F32 = npt.NDArray[np.float32]


class _FedOpt(FedAvg):
    """What the three share (Reddi et al. 2021, Algorithm 2); they differ in the second moment.

    With the last result x, the peers' mean and d = mean - x: m = beta1 m + (1 - beta1) d, v as the class has it,
    x = x + learning_rate m / (sqrt(v) + tau). m begins at 0 and v at tau^2. The first round has no last result, and
    returns the mean.
    """

    @dataclass(frozen=True, slots=True)
    class Config(FedAvg.Config):
        """FedAvg's options, and those of the server's optimizer."""

        learning_rate: float = 0.03
        """How far a step goes, about in each coordinate; above 0."""
        beta1: float = 0.9
        """Share of the last first moment that is kept."""
        beta2: float = 0.99
        """Share of the last second moment that is kept."""
        tau: float = 1e-3
        """How adaptive it is: the smaller, the more; above 0."""

        def __post_init__(self) -> None:
            FedAvg.Config.__post_init__(self)
            for name in ("learning_rate", "tau"):
                if not 0 < getattr(self, name) < float("inf"):
                    raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")
            for name in ("beta1", "beta2"):
                if not 0 <= getattr(self, name) < 1:
                    raise ValueError(f"{name} is {getattr(self, name)}; expected 0 <= {name} < 1")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._last: F32 | None = None
        self._first: F32 = np.zeros(0, np.float32)
        self._second: F32 = np.zeros(0, np.float32)

    def snapshot(self) -> bb.State:
        """Return the contributions, and the server's parameters and moments."""
        moments = {"first": self._first.copy(), "second": self._second.copy()}
        return {**super().snapshot(), "last": None if self._last is None else self._last.copy(), **moments}

    def restore(self, state: bb.State) -> None:
        """Take them over."""
        super().restore(state)
        self._last = None if state["last"] is None else np.array(state["last"])
        self._first, self._second = np.array(state["first"]), np.array(state["second"])

    def combine(self, ctx: bb.Context, contributions: list[bb.roles.Contribution]) -> tuple[bb.Tensor, bb.Record]:
        """Return the server's next parameters."""
        mean, stats = super().combine(ctx, contributions)
        config = self.config
        if self._last is None or self._last.shape != mean.shape:
            self._last = np.array(mean, np.float32)
            self._first = np.zeros_like(self._last)
            self._second = np.full_like(self._last, config.tau**2)
            return mean, stats
        step = mean - self._last
        self._first *= np.float32(config.beta1)
        self._first += np.float32(1 - config.beta1) * step
        self._move_second(step * step)
        self._last += np.float32(config.learning_rate) * self._first / (np.sqrt(self._second) + np.float32(config.tau))
        return self._last.copy(), stats

    def _move_second(self, squares: F32) -> None:
        raise NotImplementedError


@bb.concrete("bytesandbrains.FedAdagrad")
class FedAdagrad(_FedOpt):
    """FedAvg with Adagrad on the server (Reddi et al. 2021, Algorithm 2): v = v + d^2."""

    def _move_second(self, squares: F32) -> None:
        self._second += squares


@bb.concrete("bytesandbrains.FedAdam")
class FedAdam(_FedOpt):
    """FedAvg with Adam on the server (Reddi et al. 2021, Algorithm 2): v = beta2 v + (1 - beta2) d^2."""

    def _move_second(self, squares: F32) -> None:
        self._second *= np.float32(self.config.beta2)
        self._second += np.float32(1 - self.config.beta2) * squares


@bb.concrete("bytesandbrains.FedYogi")
class FedYogi(_FedOpt):
    """FedAvg with Yogi on the server (Reddi et al. 2021, Algorithm 2): v = v - (1 - beta2) d^2 sign(v - d^2)."""

    def _move_second(self, squares: F32) -> None:
        self._second -= np.float32(1 - self.config.beta2) * squares * np.sign(self._second - squares)
