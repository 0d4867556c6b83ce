"""What Models have in common: passes over a DataSource, and the check of a flat vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError, UsageError
from bb_plugins.models.metrics import further


def batches_of(
    ctx: bb.Context, data: bb.roles.DataSource, whole: bool = False
) -> Iterator[tuple[bb.Tensor, bb.Tensor]]:
    """Yield the batches of one pass; with `whole`, one that has all, if the data lies in memory."""
    arrays = data.epoch_arrays(ctx)
    if arrays is None:
        yield from data.epoch(ctx)
        return
    batch, labels, size = arrays
    size = max(1, len(batch)) if whole else size
    for start in range(0, len(batch), size):
        yield batch[start : start + size], labels[start : start + size]


def trained_on(
    ctx: bb.Context,
    data: bb.roles.DataSource,
    epochs: int,
    learn: Callable[[bb.Context, bb.Tensor, bb.Tensor], Any],
    *,
    whole: bool = False,
) -> tuple[bb.Tensor, bb.Record]:
    """Learn from each batch of some passes: what TrainEpochs returns, the last pass's mean loss and its examples.

    Args:
        ctx: Of the op.
        data: What to learn from.
        epochs: How many passes.
        learn: Learns from one batch, and returns its mean loss.
        whole: Give a pass as one batch, if it lies in memory.

    Raises:
        RoleError: there are no examples, or the loss is not finite.
    """
    total, count = 0.0, 0
    for _ in range(epochs):
        total, count = 0.0, 0
        for batch, labels in batches_of(ctx, data, whole):
            if len(batch):
                total += float(learn(ctx, batch, labels)) * len(batch)
                count += len(batch)
    if count == 0:
        raise RoleError("the DataSource gave no examples", expected="at least one batch", hint="check its indices")
    return np.asarray(total / count, np.float32), bb.Record(num_samples=count)


def finite(loss: Any) -> Any:
    """Return a loss; refuse one that is no number."""
    if not np.isfinite(loss):
        raise RoleError(
            f"the loss is {float(loss)}", expected="a finite number", hint="lower the learning rate, or clip gradients"
        )
    return loss


def flat_of(vector: bb.Tensor, size: int, what: str) -> bb.Tensor:
    """Return a vector of parameters; refuse one of another layout."""
    if vector.shape != (size,) or vector.dtype != np.float32:
        raise RoleError(
            f"the parameters are a {vector.dtype} of shape {vector.shape}",
            expected=f"float32 of shape ({size},), {what}",
        )
    return vector


def named(target: Any, option: str) -> Any:
    """Return what an option names: an object as it is, or `"module:name"` imported, so that artefacts can carry it.

    Raises:
        ValueError: the text names nothing.
    """
    if not isinstance(target, str):
        return target
    place, colon, name = target.partition(":")
    if not colon:
        raise ValueError(f"{option} is {target!r}; expected an object, or 'module:name'")
    try:
        return getattr(import_module(place), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{option} names {target!r}, which cannot be imported: {error}") from error


def measures(loss_sum: float, prediction: Any, labels: Any, names: Sequence[str] = ()) -> bb.Record:
    """Return what Evaluate gives: sums that add up over batches and peers.

    `loss_sum` and `count`; where labels are classes of what is predicted, `correct`, and what `names` asks for beside
    it; else `square_sum`.

    Shape:
        prediction (b, ..., classes) and labels (b, ...) integers, or both alike
    """
    count = len(prediction)
    if np.issubdtype(labels.dtype, np.integer) and prediction.ndim == labels.ndim + 1:
        hits = prediction.argmax(-1) == labels
        correct = int(np.count_nonzero(hits)) if hits.ndim == 1 else float(hits.mean()) * count
        return bb.Record(
            {"loss_sum": loss_sum, "correct": correct, "count": count, **further(names, prediction, labels)}
        )
    squares = np.mean((prediction.reshape(count, -1) - labels.reshape(count, -1)) ** 2)
    return bb.Record(loss_sum=loss_sum, square_sum=float(squares) * count, count=count)
