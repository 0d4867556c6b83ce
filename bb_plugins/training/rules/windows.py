"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx

from bb_core.errors import NotDifferentiable
from bb_plugins.training.rules.linear import ones
from bb_plugins.training.rules.table import Grads, rule, saves
from bb_plugins.training.rules.windows_of import Windows, windows_of
from bb_plugins.training.tape import Known, Tape, attributes_of

saves("MaxPool", 2)


@rule("MaxPool")
def _max_pool(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Each largest element gets the gradient of its window; where it lies is the op's second output."""
    if attributes_of(node).get("storage_order", 0):
        raise NotDifferentiable("MaxPool has a gradient rule for storage_order 0 only")
    x, where = node.input[0], node.output[1]
    size = t.op("ReduceProd", t.shape(x), keepdims=1)
    nothing = t.op("Expand", t.number(0, x), size)
    flat = t.op("Reshape", where, t.ints(-1))
    spread = t.op("ScatterElements", nothing, flat, t.op("Reshape", grads[0], t.ints(-1)), axis=0, reduction="add")
    return [t.op("Reshape", spread, t.shape(x), like=x)]


@rule("AveragePool")
def _average_pool(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, y = node.input[0], node.output[0]
    windows = windows_of(t, node)
    space = range(2, t.rank(x))
    inside = t.lengths(x, space, "the gradient of AveragePool")
    outside = t.lengths(y, space, "the gradient of AveragePool")
    padded = bool(attributes_of(node).get("count_include_pad", 0))
    divisor = t.constant(_counts(windows, inside, outside, padded), t.dtype(x))
    share = t.op("Div", grads[0], divisor, like=y)
    flat = t.op("Reshape", share, t.ints(-1, 1, *outside))
    reach = [
        stride * (out - 1) + (size - 1) * dilation + 1 - sum(pad)
        for stride, out, size, dilation, pad in zip(
            windows.strides, outside, windows.sizes, windows.dilations, windows.pads, strict=True
        )
    ]
    spread = t.op(
        "ConvTranspose", flat, ones(t, x, windows.sizes), strides=windows.strides, dilations=windows.dilations,
        pads=windows.flat_pads, output_padding=[full - have for full, have in zip(inside, reach, strict=True)],
    )  # fmt: skip
    return [t.op("Reshape", spread, t.shape(x), like=x)]


def _counts(windows: Windows, inside: Sequence[int], outside: Sequence[int], padded: bool) -> np.ndarray:
    """How many elements each window averages: all of its places, or those inside the picture."""
    if padded:
        return np.full((1, 1, *outside), prod(windows.sizes))
    counts = np.ones((1, 1), np.int64)
    for axis, (size, stride, dilation, (before, _), length, out) in enumerate(
        zip(windows.sizes, windows.strides, windows.dilations, windows.pads, inside, outside, strict=True)
    ):
        places = np.arange(out)[:, None] * stride - before + np.arange(size) * dilation
        line = ((places >= 0) & (places < length)).sum(1)
        counts = counts[..., None] * line.reshape((1,) * (2 + axis) + (-1,))
    return counts


@rule("GlobalAveragePool")
def _global_average_pool(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    count = prod(t.lengths(x, range(2, t.rank(x)), "the gradient of GlobalAveragePool"))
    share = t.op("Mul", grads[0], t.number(1 / count, x))
    return [t.op("Expand", share, t.shape(x), like=x)]


@rule("GlobalMaxPool")
def _global_max_pool(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, y = node.input[0], node.output[0]
    hit = t.op("Cast", t.op("Equal", x, y), to=t.known[x].elem, like=x)
    t.known.setdefault(y, Known(t.known[x].elem, None))
    count = t.op("ReduceSum", hit, t.ints(*range(2, t.rank(x))), keepdims=1)
    return [t.op("Mul", t.op("Div", grads[0], count), hit, like=x)]
