"""Ops that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from bb_core.errors import NotDifferentiable
from bb_plugins.training.rules.table import Grads, rule
from bb_plugins.training.tape import Known, Tape, attributes_of


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    return [t.op("Reshape", grads[0], t.shape(x), like=x), *([None] * (len(node.input) - 1))]


@rule("Transpose")
def _transpose(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x = node.input[0]
    perm = attributes_of(node).get("perm") or list(range(t.rank(x)))[::-1]
    return [t.op("Transpose", grads[0], perm=np.argsort(perm).tolist(), like=x)]


@rule("Expand")
def _expand(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    assert grads[0] is not None
    return [t.sum_to(grads[0], node.output[0], node.input[0]), None]


@rule("Tile")
def _tile(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Fold each axis into (repeats, length), and sum over the repeats."""
    x = node.input[0]
    repeats = t.constants.get(node.input[1])
    if repeats is None:
        raise NotDifferentiable("Tile has a gradient rule for constant repeats only")
    shape, parts = t.shape(x), []
    for axis, count in enumerate(repeats.tolist()):
        length = t.op("Slice", shape, t.ints(axis), t.ints(axis + 1))
        parts += [t.ints(count), length]
    folded = t.op("Reshape", grads[0], t.op("Concat", *parts, axis=0))
    return [t.op("ReduceSum", folded, t.ints(*range(0, 2 * len(repeats), 2)), keepdims=0, like=x), None]


@rule("Concat")
def _concat(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    axis = attributes_of(node)["axis"] % t.rank(node.input[0])
    lengths = [t.op("Gather", t.shape(x), t.ints(axis)) for x in node.input]
    if len(node.input) == 1:
        return [grads[0]]
    sizes = t.op("Concat", *lengths, axis=0)
    parts = t.ops("Split", len(node.input), grads[0], sizes, axis=axis)
    for part, x in zip(parts, node.input, strict=True):
        t.known[part] = t.known[x]
    return list(parts)


@rule("Split")
def _split(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    axis = attributes_of(node).get("axis", 0)
    filled = [g if g is not None else t.zeros(y) for g, y in zip(grads, node.output, strict=True)]
    return [t.op("Concat", *filled, axis=axis, like=node.input[0]), *([None] * (len(node.input) - 1))]


@rule("Slice")
def _slice(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Put each axis back: the places that were taken are those that the same slice takes of 0, 1, 2, ..."""
    x = node.input[0]
    starts, ends, axes, steps = (list(node.input[1:]) + [""] * 4)[:4]
    rank = t.rank(x)
    known = t.constants.get(axes) if axes else None
    begins = t.constants.get(starts)
    if (axes and known is None) or (not axes and begins is None):
        raise NotDifferentiable("Slice has a gradient rule for constant axes only")
    where = [int(a) % rank for a in known] if known is not None else list(range(len(begins)))  # type: ignore[arg-type]
    grad = grads[0]
    assert grad is not None
    for place, axis in enumerate(where):
        pick = t.ints(place)
        one = [None if not v else t.op("Gather", v, pick) for v in (starts, ends)]
        step = t.op("Gather", steps, pick) if steps else None
        length = t.op("Gather", t.shape(x), t.constant(axis, np.int64))
        every = t.op("Range", t.constant(0, np.int64), length, t.constant(1, np.int64))
        taken = t.op("Slice", every, one[0], one[1], t.ints(0), step)
        grad = _put(t, grad, taken, length, axis, rank)
    t.known[grad] = t.known[x]
    return [grad, *([None] * (len(node.input) - 1))]


def _put(t: Tape, grad: str, places: str, length: str, axis: int, rank: int) -> str:
    """Spread a gradient along one axis to so many places, zero where nothing goes."""
    shape = t.op("Shape", grad)
    parts = []
    if axis:
        parts.append(t.op("Slice", shape, t.ints(0), t.ints(axis)))
    parts.append(t.op("Reshape", length, t.ints(1)))
    if axis < rank - 1:
        parts.append(t.op("Slice", shape, t.ints(axis + 1), t.ints(rank)))
    full = t.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
    dtype = t.dtype(grad) if grad in t.known else None
    zero = t.constant(0, dtype) if dtype is not None else t.op("CastLike", t.constant(0, np.float32), grad)
    nothing = t.op("Expand", zero, full)
    line = t.op("Reshape", places, t.ints(*[1] * axis, -1, *[1] * (rank - axis - 1)))
    found = t.op("ScatterElements", nothing, t.op("Expand", line, shape), grad, axis=axis, reduction="add")
    if grad in t.known:
        t.known[found] = Known(t.known[grad].elem, (None,) * rank)
    return found


@rule("Pad")
def _pad(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Cut off what was added, and add zeros where it was cut. Other modes give to what they copy, without a rule."""
    x = node.input[0]
    if attributes_of(node).get("mode", "constant") != "constant":
        raise NotDifferentiable("Pad has a gradient rule for constant padding only")
    rank = t.rank(x)
    axes = t.constants.get(node.input[3]) if len(node.input) > 3 and node.input[3] else np.arange(rank)
    if axes is None:
        raise NotDifferentiable("Pad has a gradient rule for constant axes only")
    where = [int(a) % rank for a in axes]
    pads = node.input[1]
    known = t.constants.get(pads)
    may_cut = known is None or bool((known < 0).any())  # where the op has cut off, there is no gradient
    added = t.op("Max", pads, t.ints(0)) if may_cut else pads
    starts = t.op("Slice", added, t.ints(0), t.ints(len(where)))
    lengths = t.op("Gather", t.shape(x), t.ints(*where))
    if not may_cut:
        back = t.op("Slice", grads[0], starts, t.op("Add", starts, lengths), t.ints(*where), like=x)
    else:
        ends = t.op("Slice", added, t.ints(len(where)), t.ints(2 * len(where)))
        stops = t.op("Sub", t.op("Gather", t.op("Shape", node.output[0]), t.ints(*where)), ends)
        inside = t.op("Slice", grads[0], starts, stops, t.ints(*where))
        back = t.op("Pad", inside, t.op("Max", t.op("Neg", pads), t.ints(0)), None, t.ints(*where), like=x)
    return [back, *([None] * (len(node.input) - 1))]


@rule("Gather")
def _gather(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    """Add each slice to where it came from: the rows of an embedding get what all their uses have got."""
    x, places = node.input
    rank = t.rank(x)
    axis = attributes_of(node).get("axis", 0) % rank
    shape = t.shape(x)
    flat = t.op("Reshape", places, t.ints(-1))
    parts = []
    if axis:
        parts.append(t.op("Slice", shape, t.ints(0), t.ints(axis)))
    parts.append(t.ints(-1))
    if axis < rank - 1:
        parts.append(t.op("Slice", shape, t.ints(axis + 1), t.ints(rank)))
    grad = t.op("Reshape", grads[0], t.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0])
    if axis == 0:
        rows = t.op("Unsqueeze", flat, t.ints(1))
        return [t.op("ScatterND", t.zeros(x), rows, grad, reduction="add", like=x), None]
    line = t.op("Reshape", flat, t.ints(*[1] * axis, -1, *[1] * (rank - axis - 1)))
    spread = t.op("Expand", line, t.op("Shape", grad))
    return [t.op("ScatterElements", t.zeros(x), spread, grad, axis=axis, reduction="add", like=x), None]


@rule("GatherElements")
def _gather_elements(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, places = node.input
    axis = attributes_of(node).get("axis", 0)
    return [t.op("ScatterElements", t.zeros(x), places, grads[0], axis=axis, reduction="add", like=x), None]


@rule("GatherND")
def _gather_nd(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, places = node.input
    if attributes_of(node).get("batch_dims", 0):
        raise NotDifferentiable("GatherND has a gradient rule without batch_dims only")
    return [t.op("ScatterND", t.zeros(x), places, grads[0], reduction="add", like=x), None]


@rule("ScatterElements")
def _scatter_elements(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, places, updates = node.input
    given = attributes_of(node)
    axis, reduction = given.get("axis", 0), given.get("reduction", "none")
    right = t.op("GatherElements", grads[0], places, axis=axis, like=updates)
    if reduction == "add":
        return [grads[0], None, right]
    if reduction != "none":
        raise NotDifferentiable(f"ScatterElements has no gradient rule for reduction={reduction}")
    left = t.op("ScatterElements", grads[0], places, t.zeros(updates), axis=axis, like=x)
    return [left, None, right]


@rule("ScatterND")
def _scatter_nd(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    x, places, updates = node.input
    reduction = attributes_of(node).get("reduction", "none")
    right = t.op("GatherND", grads[0], places, like=updates)
    if reduction == "add":
        return [grads[0], None, right]
    if reduction != "none":
        raise NotDifferentiable(f"ScatterND has no gradient rule for reduction={reduction}")
    return [t.op("ScatterND", grads[0], places, t.zeros(updates), like=x), None, right]


@rule("Trilu")
def _trilu(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    offset = node.input[1] if len(node.input) > 1 and node.input[1] else None
    back = t.op("Trilu", grads[0], offset, upper=attributes_of(node).get("upper", 1), like=node.input[0])
    return [back, *([None] * (len(node.input) - 1))]


@rule("DepthToSpace", "SpaceToDepth")
def _depth(t: Tape, node: onnx.NodeProto, grads: Grads) -> Sequence[str | None]:
    given = attributes_of(node)
    if given.get("mode", "DCR") != "DCR":
        raise NotDifferentiable("DepthToSpace has a gradient rule for mode=DCR only")
    other = "SpaceToDepth" if node.op_type == "DepthToSpace" else "DepthToSpace"
    return [t.op(other, grads[0], blocksize=given["blocksize"], like=node.input[0])]
