"""Concretes that do nothing, so that what is measured is the framework alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bb_core as bb

_LOSS = np.zeros((), np.float32)
_STATS = bb.Record(num_samples=1)


@bb.concrete("bytesandbrains.bench.NoopModel")
class NoopModel(bb.roles.Model):
    """Hold a vector and never train it."""

    @dataclass(frozen=True, slots=True)
    class Config:
        """How long the vector is."""

        size: int = 650
        """As many as a 64-10 softmax regression has."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._params = np.zeros(config.size, np.float32)

    def snapshot(self) -> bb.State:
        """Return the vector."""
        return {"params": self._params.copy()}

    def restore(self, state: bb.State) -> None:
        """Take it over."""
        np.copyto(self._params, state["params"])

    def params(self, ctx: bb.Context) -> bb.Tensor:
        """Return a copy of the vector."""
        return self._params.copy()

    def load_parameters(self, ctx: bb.Context, params: bb.Tensor) -> None:
        """Copy a vector in."""
        np.copyto(self._params, params)

    def train_epochs(
        self, ctx: bb.Context, data: bb.roles.DataSource, *, epochs: int = 1
    ) -> tuple[bb.Tensor, bb.Record]:
        """Do nothing."""
        return _LOSS, _STATS

    def evaluate(self, ctx: bb.Context, batch: bb.Tensor, labels: bb.Tensor) -> bb.Record:
        """Do nothing."""
        return _STATS

    def parameters(self) -> bb.Tensor:
        """Return a copy of the vector."""
        return self._params.copy()


@bb.concrete("bytesandbrains.bench.NoopData")
class NoopData(bb.roles.DataSource):
    """One empty batch."""

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        """Return the empty batch."""
        return _LOSS, _LOSS, _STATS
