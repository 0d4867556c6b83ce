"""Ops that move elements and change none: reshape, join, cut, repeat, pad, and those that say or make a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, element_type, scalar_of


def reshape(node: Node) -> Kernel:
    """Read the elements in another shape: -1 is what is left, 0 the input's own length unless `allowzero`."""
    allow_zero = node.flag("allowzero")

    def run(x: Array, shape: Array) -> Array:
        wanted = [int(d) for d in shape]
        if not allow_zero:
            wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
        return x.reshape(wanted)

    return run


def flatten(node: Node) -> Kernel:
    """Make a matrix of all axes before one, and all from it on."""
    axis = int(node.get("axis", 1))

    def run(x: Array) -> Array:
        at = axis % x.ndim if axis < 0 else axis
        return x.reshape(int(np.prod(x.shape[:at], dtype=np.int64)), int(np.prod(x.shape[at:], dtype=np.int64)))

    return run


def transpose(node: Node) -> Kernel:
    """Put the axes in another order; the elements are written anew."""
    order = node.ints("perm")
    return lambda x: np.array(np.transpose(x, order), order="C")


def _squeezed(x: Array, axes: tuple[int, ...] | None) -> Array:
    if axes is None:
        return x.reshape([d for d in x.shape if d != 1])
    return np.squeeze(x, axes)


def squeeze(node: Node) -> Kernel:
    """Leave out axes of length 1: those that are given, or all."""
    return lambda x, axes=None: _squeezed(x, None if axes is None else tuple(int(a) for a in axes))


def squeeze_by_attribute(node: Node) -> Kernel:
    """Squeeze by an attribute, as until opset 12."""
    axes = node.ints("axes")
    return lambda x: _squeezed(x, axes)


def unsqueeze(node: Node) -> Kernel:
    """Put in axes of length 1."""
    return lambda x, axes: np.expand_dims(x, tuple(int(a) for a in axes.reshape(-1)))


def unsqueeze_by_attribute(node: Node) -> Kernel:
    """Put in axes of length 1 by an attribute, as until opset 12."""
    axes = node.ints("axes") or ()
    return lambda x: np.expand_dims(x, axes)


def concat(node: Node) -> Kernel:
    """Join along an axis."""
    axis = int(node.get("axis", 1))
    return lambda *parts: np.concatenate(parts, axis=axis)


def split(node: Node) -> Kernel:
    """Cut along an axis: in the lengths that are given, or in equal parts of which the last may be shorter."""
    axis, count = int(node.get("axis", 0)), node.get("num_outputs")
    given = node.ints("split")

    def run(x: Array, lengths: Array | None = None) -> tuple[Array, ...]:
        chosen = given if lengths is None else lengths
        if chosen is not None:
            ends = np.cumsum(chosen)[:-1]
        else:
            parts = int(count) if count is not None else len(node.wanted or (True,))
            each = -(-x.shape[axis] // parts)
            ends = np.minimum(np.arange(1, parts) * each, x.shape[axis])
        return tuple(np.split(x, ends, axis))

    return run


def slice_(node: Node) -> Kernel:
    """Cut from each of some axes a range, whose step may be negative; ends past the border are the border."""

    def run(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
        chosen = range(len(starts)) if axes is None else (int(a) for a in axes)
        strides = [1] * len(starts) if steps is None else [int(s) for s in steps]
        return _sliced(x, [int(s) for s in starts], [int(e) for e in ends], list(chosen), strides)

    return run


def slice_by_attribute(node: Node) -> Kernel:
    """Cut by attributes, as until opset 9."""
    starts, ends = node.ints("starts") or (), node.ints("ends") or ()
    axes = node.ints("axes") or tuple(range(len(starts)))
    return lambda x: _sliced(x, list(starts), list(ends), list(axes), [1] * len(starts))


def _sliced(x: Array, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> Array:
    index: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        length = x.shape[axis]
        if step < 0 and end < -length:
            index[axis] = slice(min(start, length - 1) if start >= 0 else start, None, step)
        else:
            index[axis] = slice(start, end, step)
    return x[tuple(index)]


def expand(x: Array, shape: Array) -> Array:
    """Broadcast to a shape, which may itself be broadcast."""
    return np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(d) for d in shape))))


def tile(x: Array, repeats: Array) -> Array:
    """Repeat along each axis."""
    return np.tile(x, [int(r) for r in repeats])


def identity(x: Any) -> Any:
    """Give what it is given, as an array of its own."""
    return x.copy() if isinstance(x, np.ndarray) else x


def shape(node: Node) -> Kernel:
    """Say how long the axes are, from one to before another."""
    start, end = int(node.get("start", 0)), node.get("end")
    return lambda x: np.array(x.shape[start : None if end is None else int(end)], np.int64)


def size(x: Array) -> Array:
    """Say how many elements there are."""
    return np.array(x.size, np.int64)


def constant(node: Node) -> Kernel:
    """Give a value that stands in an attribute."""
    found: Any
    if node.get("value") is not None:
        found = node.get("value")
    elif node.get("sparse_value") is not None:
        found = dense(node.get("sparse_value"))
    else:
        found = next(_constant_of(k, v) for k, v in node.attributes.items() if k.startswith("value_"))
    if isinstance(found, np.ndarray):
        found.flags.writeable = False
    return lambda: found


def _constant_of(kind: str, value: Any) -> Array:
    if kind.startswith("value_string"):
        return np.array(value, object)
    return np.array(value, np.float32 if kind.startswith("value_float") else np.int64)


def dense(sparse: Any) -> Array:
    """Write a sparse tensor out."""
    from onnx import numpy_helper

    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    out = np.zeros(tuple(sparse.dims), values.dtype)
    if places.ndim == 2:
        out[tuple(places.T)] = values
    else:
        out.reshape(-1)[places] = values
    return out


def constant_of_shape(node: Node) -> Kernel:
    """Fill a shape with one value, 0.0 when none is given."""
    value = node.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(-1)
    return lambda wanted: np.full([int(d) for d in wanted], fill[0], fill.dtype)


def range_(start: Array, limit: Array, delta: Array) -> Array:
    """Count from start to before limit."""
    first, last, step = (scalar_of(v, 0) for v in (start, limit, delta))
    count = max(int(np.ceil((last - first) / step)), 0)
    with np.errstate(all="ignore"):
        if start.dtype.kind in "iu":
            return np.asarray(first + np.arange(count) * step).astype(start.dtype)
        wide = np.dtype(np.float64 if start.dtype == np.float64 else np.float32)
        steps = np.arange(count).astype(wide) * wide.type(step)
        return np.asarray(wide.type(first) + steps).astype(start.dtype)


def eye_like(node: Node) -> Kernel:
    """Make a matrix of the input's shape with ones on a diagonal."""
    to, k = node.get("dtype"), int(node.get("k", 0))

    def run(x: Array) -> Array:
        return np.eye(x.shape[0], x.shape[1], k, dtype=np.float32 if to is None else None).astype(
            x.dtype if to is None else element_type(to)
        )

    return run


def trilu(node: Node) -> Kernel:
    """Keep the upper or lower triangle of matrices."""
    keep = np.triu if node.flag("upper", default=True) else np.tril
    return lambda x, k=None: np.asarray(keep(x, int(scalar_of(k, 0))))


def pad(node: Node) -> Kernel:
    """Add a border: of one value, of the edge, mirrored, or from the other side. A negative width cuts."""
    mode = node.text("mode", "constant")

    def run(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Array:
        fill = None if value is None or not value.size else value.reshape(-1)[0]
        return _padded(x, [int(p) for p in pads], fill, None if axes is None else [int(a) for a in axes], mode)

    return run


def pad_by_attribute(node: Node) -> Kernel:
    """Pad by attributes, as until opset 10."""
    mode, value = node.text("mode", "constant"), float(node.get("value", 0.0))
    pads = list(node.ints("pads") or node.ints("paddings") or ())
    return lambda x: _padded(x, pads, value, None, mode)


def _padded(x: Array, pads: list[int], fill: Any, axes: list[int] | None, mode: str) -> Array:
    chosen = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
    widths = [(0, 0)] * x.ndim
    cut: list[slice] = [slice(None)] * x.ndim
    for i, axis in enumerate(chosen):
        before, after = pads[i], pads[i + len(chosen)]
        cut[axis] = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
        widths[axis] = (max(before, 0), max(after, 0))
    kept = x[tuple(cut)]
    if mode == "constant":
        return np.pad(kept, widths, constant_values=x.dtype.type(0) if fill is None else fill)
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    return np.pad(kept, widths, mode=modes[mode])  # type: ignore[call-overload, no-any-return]


def depth_to_space(node: Node) -> Kernel:
    """Spread channels over blocks of space."""
    block, by_column = int(node.attributes["blocksize"]), node.text("mode", "DCR") == "CRD"

    def run(x: Array) -> Array:
        n, c, h, w = x.shape
        if by_column:
            cut = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            cut = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        return cut.reshape(n, c // block**2, h * block, w * block)

    return run


def space_to_depth(node: Node) -> Kernel:
    """Gather blocks of space into channels."""
    block, by_column = int(node.attributes["blocksize"]), node.text("mode", "DCR") == "CRD"

    def run(x: Array) -> Array:
        n, c, h, w = x.shape
        cut = x.reshape(n, c, h // block, block, w // block, block)
        turned = cut.transpose(0, 1, 3, 5, 2, 4) if by_column else cut.transpose(0, 3, 5, 1, 2, 4)
        return turned.reshape(n, c * block**2, h // block, w // block)

    return run


def center_crop_pad(node: Node) -> Kernel:
    """Cut or pad the axes around their middle to given lengths."""
    axes = node.ints("axes")

    def run(x: Array, wanted: Array) -> Array:
        chosen = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
        for axis, length in zip(chosen, (int(d) for d in wanted), strict=True):
            have = x.shape[axis]
            if have > length:
                first = (have - length) // 2
                x = x.take(np.arange(first, first + length), axis)
            elif have < length:
                before = (length - have) // 2
                widths = [(before, length - have - before) if a == axis else (0, 0) for a in range(x.ndim)]
                x = np.pad(x, widths)
        return x

    return run


def reverse_sequence(node: Node) -> Kernel:
    """Turn round the first so many entries of each sequence of a batch."""
    batch, time = int(node.get("batch_axis", 1)), int(node.get("time_axis", 0))

    def run(x: Array, lengths: Array) -> Array:
        out = x.copy()
        moved, source = np.moveaxis(out, (batch, time), (0, 1)), np.moveaxis(x, (batch, time), (0, 1))
        for row, length in enumerate(lengths):
            moved[row, :length] = source[row, :length][::-1]
        return out

    return run


def unique(node: Node) -> Kernel:
    """Give each value once, its first place, which of them each element is, and how often it comes."""
    axis, in_order = node.get("axis"), node.flag("sorted", default=True)

    def run(x: Array) -> tuple[Array, ...]:
        found, first, inverse, counts = np.unique(
            x, return_index=True, return_inverse=True, return_counts=True, axis=None if axis is None else int(axis)
        )
        inverse = inverse.reshape(-1)
        if not in_order:
            order = np.argsort(first, kind="stable")
            rank = np.argsort(order)
            along = 0 if axis is None else int(axis)
            found, first, counts, inverse = found.take(order, along), first[order], counts[order], rank[inverse]
        return found, *(np.asarray(v, np.int64) for v in (first, inverse, counts))

    return run
