"""`ArrayDataSource`: examples that are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import bb_core as bb


@bb.concrete("bytesandbrains.ArrayDataSource")
class ArrayDataSource(bb.roles.DataSource):
    """Give batches of arrays, in a new order in each pass; the arrays are shared, not copied.

    The last batch of a pass is short when the examples do not fill it.

    Shape:
        inputs (n, ...) · labels (n,) · indices (m,), this peer's rows of both
    """

    @dataclass(frozen=True, slots=True, eq=False)
    class Config:
        """Which examples, and how they are given."""

        inputs: np.ndarray
        """All examples, (n, ...)."""
        labels: np.ndarray
        """Their labels, (n,)."""
        indices: np.ndarray | None = None
        """Rows that are this peer's; None: all."""
        batch_size: int = 32
        """Examples in a batch."""
        shuffle: bool = True
        """Draw a new order for each pass, from the Node's random numbers."""

        def __post_init__(self) -> None:
            if len(self.inputs) != len(self.labels):
                raise ValueError(f"there are {len(self.inputs)} inputs and {len(self.labels)} labels")
            if self.batch_size < 1:
                raise ValueError(f"batch_size is {self.batch_size}; expected at least 1")
            rows = self.indices
            if rows is None:
                return
            if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
                raise ValueError(f"indices is {rows.dtype} of shape {rows.shape}; expected integers of shape (m,)")
            if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.inputs)):
                raise ValueError(f"indices go from {rows.min()} to {rows.max()}; expected 0 to {len(self.inputs) - 1}")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        rows = config.indices
        self._rows = np.arange(len(config.inputs)) if rows is None else np.asarray(rows, np.int64)
        self._order: np.ndarray | None = None
        self._at = 0

    def snapshot(self) -> bb.State:
        """Return how far the present pass is; the examples come from the configuration."""
        return {"order": self._order, "at": self._at}

    def restore(self, state: bb.State) -> None:
        """Go on with that pass."""
        self._order, self._at = state["order"], state["at"]

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        """Return the next batch; after the last one of a pass the next pass begins."""
        if not len(self._rows):
            raise ValueError("this peer has no examples; expected at least one in `indices`")
        if self._order is None:
            self._order, self._at = self._draw(ctx), 0
        rows = self._order[self._at : self._at + self.config.batch_size]
        self._at += len(rows)
        is_last = self._at == len(self._order)
        if is_last:
            self._order = None
        config = self.config
        return config.inputs[rows], config.labels[rows], bb.Record(num_samples=len(rows), epoch_end=is_last)

    def epoch_arrays(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, int]:
        """Return one pass: a copy of this peer's examples in a new order."""
        order = self._draw(ctx)
        return self.config.inputs[order], self.config.labels[order], self.config.batch_size

    def epoch(self, ctx: bb.Context) -> Iterator[tuple[bb.Tensor, bb.Tensor]]:
        """Yield the batches of one pass: views of one copy in the pass's order."""
        inputs, labels, size = self.epoch_arrays(ctx)
        for start in range(0, len(inputs), size):
            yield inputs[start : start + size], labels[start : start + size]

    def reset(self, ctx: bb.Context) -> None:
        """Begin a pass over the data anew."""
        self._order = None

    def describe(self, ctx: bb.Context) -> bb.Record:
        """Return `num_samples`, `shape` of an example, and `labels` with the `counts` of each."""
        labels, counts = np.unique(self.config.labels[self._rows], return_counts=True)
        shape = np.asarray(self.config.inputs.shape[1:], np.int64)
        return bb.Record(num_samples=len(self._rows), shape=shape, labels=labels, counts=counts)

    def _draw(self, ctx: bb.Context) -> np.ndarray:
        return self._rows[ctx.rng.permutation(len(self._rows))] if self.config.shuffle else self._rows
