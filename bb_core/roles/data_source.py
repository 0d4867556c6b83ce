"""DataSource: where batches come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from bb_core import keys
from bb_core.roles.context import Context
from bb_core.roles.contract import Role, op
from bb_core.values import Record, Tensor


class DataSource(Role):
    """Give batches of examples, in an order that comes from `ctx.rng` alone.

    `stats` of a batch has `num_samples`, and `epoch_end` that is true on the last batch of a pass over the data.

    Shape:
        batch (b, ...) · labels (b,)   b = batch
    """

    role: ClassVar[str] = keys.DATA_SOURCE
    exclusive: ClassVar[bool] = True

    @op("NextBatch", outputs="batch labels stats")
    def next_batch(self, ctx: Context) -> tuple[Tensor, Tensor, Record]:
        """Return the next batch; after the last one of a pass the next pass begins."""
        raise NotImplementedError

    @op("Reset")
    def reset(self, ctx: Context) -> None:
        """Begin a pass over the data anew."""
        raise NotImplementedError

    @op("OnDataLoaded")
    def on_data_loaded(self, ctx: Context) -> None:
        """Answer when the data can be read; a source that must wait answers later."""

    @op("Describe", outputs="description", version=2)
    def describe(self, ctx: Context) -> Record:
        """Return `num_samples` and what else is known: counts by label, shapes."""
        raise NotImplementedError

    def epoch_arrays(self, ctx: Context) -> tuple[Tensor, Tensor, int] | None:
        """Return one pass as a whole, if it is in memory: batches one after another, labels, and the batch size.

        Not an op: a Model's TrainEpochs asks for it first, and takes `epoch` when it is None. Both must give the same.
        """
        return None

    def epoch(self, ctx: Context) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one pass. Not an op: a Model's TrainEpochs calls it. A batch is valid until the next."""
        self.reset(ctx)
        ended = False
        while not ended:
            batch, labels, stats = self.next_batch(ctx)
            ended = bool(stats["epoch_end"])
            yield batch, labels
