"""Reductions, softmax and its kin, losses and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bb_plugins.backends.cpu.node import as_axes
from bb_plugins.backends.cpu.plans.lowered.common import Lower, all_f32, shape_of
from bb_plugins.backends.cpu.plans.program import (
    ABSENT,
    Draft,
    Op,
    bits,
)


def _reduce(kind: str) -> Lower:
    def lower_it(draft: Draft, op: Op) -> bool:
        from bb_plugins.backends.cpu.kernels import folding

        source, out = op.inputs[0], op.outputs[0]
        if not all_f32(draft, source, out):
            return False
        shape = shape_of(draft, source)
        axes = _axes_of(draft, op, len(shape))
        if axes is None:
            return False
        kernel = folding.fold_max if kind == "max" else folding.fold_sum
        count = int(np.prod([shape[a] for a in axes], dtype=np.int64))
        runs = _runs(axes)
        at, lengths = source, list(shape)
        for i, (first, behind) in enumerate(reversed(runs)):
            before, n, after = (
                int(np.prod(part, dtype=np.int64))
                for part in (lengths[:first], lengths[first:behind], lengths[behind:])
            )
            last = i == len(runs) - 1
            to = out if last else draft.scratch(before * after)
            factor = 1 / count if last and kind == "mean" else 1.0
            draft.step(kernel.address, [before, n, after, bits(factor), draft.at(at), draft.at(to)])
            lengths[first:behind] = [1] * (behind - first)
            at = to
        return True

    return lower_it


def _axes_of(draft: Draft, op: Op, rank: int) -> tuple[int, ...] | None:
    """The axes that a reduction folds; None if that is not for a kernel."""
    axes = op.node.ints("axes")
    if len(op.inputs) > 1 and op.inputs[1] != ABSENT:
        axes = tuple(int(a) for a in draft.known[op.inputs[1]].constant)
    if not axes and op.node.flag("noop_with_empty_axes"):
        return None
    return as_axes(axes, rank) if axes else tuple(range(rank)) or None


def _runs(axes: Sequence[int]) -> list[tuple[int, int]]:
    """Join axes that are neighbours."""
    runs: list[tuple[int, int]] = []
    for axis in axes:
        if runs and runs[-1][1] == axis:
            runs[-1] = (runs[-1][0], axis + 1)
        else:
            runs.append((axis, axis + 1))
    return runs


def _rows(kind: str) -> Lower:
    """Softmax and its logarithm, along the last axis."""

    def lower_it(draft: Draft, op: Op) -> bool:
        from bb_plugins.backends.cpu.kernels import folding

        source, out = op.inputs[0], op.outputs[0]
        shape = shape_of(draft, source)
        if op.node.version < 13 or not shape or not all_f32(draft, source, out):
            return False
        axis = int(op.node.get("axis", -1)) % len(shape)
        if any(n != 1 for n in shape[axis + 1 :]):
            return False
        kernel = folding.softmax if kind == "softmax" else folding.log_softmax
        n = shape[axis]
        draft.step(kernel.address, [draft.known[source].size // n, n, draft.at(source), draft.at(out)])
        return True

    return lower_it


def _cross_entropy(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels import folding

    scores, labels = op.inputs[:2]
    reduction = op.node.text("reduction", "mean")
    shape = shape_of(draft, scores)
    plain = len(op.inputs) == 2 and op.node.get("ignore_index") is None and reduction in ("mean", "sum")
    if not plain or len(shape) != 2 or not all_f32(draft, scores) or draft.known[labels].dtype != np.int64:
        return False
    logs = op.outputs[1] if len(op.outputs) > 1 and op.outputs[1] else draft.scratch(shape[0] * shape[1])
    factor = 1 / shape[0] if reduction == "mean" else 1.0
    draft.step(folding.log_softmax.address, [*shape, draft.at(scores), draft.at(logs)])
    draft.step(
        folding.picked_loss.address, [*shape, bits(factor), draft.at(logs), draft.at(labels), draft.at(op.outputs[0])]
    )
    return True


def _layer_norm(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels import folding

    source, scale = op.inputs[:2]
    bias = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    outs = [*op.outputs, 0, 0][:3]
    shape = shape_of(draft, source)
    axis = int(op.node.get("axis", -1)) % len(shape)
    n = int(np.prod(shape[axis:], dtype=np.int64))
    rows = draft.known[source].size // n
    fits = draft.known[scale].size == n and (bias == ABSENT or draft.known[bias].size == n)
    if not fits or not all_f32(draft, *[v for v in (source, scale, bias, *outs) if v]):
        return False
    mean, rest = (v or draft.scratch(rows) for v in outs[1:])
    epsilon = float(op.node.get("epsilon", 1e-5))
    draft.step(
        folding.layer_norm.address,
        [rows, n, bits(epsilon), int(bias != ABSENT), draft.at(source), draft.at(scale), draft.at(bias or scale),
         draft.at(outs[0]), draft.at(mean), draft.at(rest)],
    )  # fmt: skip
    return True


FOLDING: Final[dict[str, Lower]] = {
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _rows("log_softmax"),
    "Softmax": _rows("softmax"),
    "SoftmaxCrossEntropyLoss": _cross_entropy,
}
