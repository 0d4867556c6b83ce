"""Ops as steps: which kernel does an op, and with which parameters. What has no row here stays in Python.

Each function writes the steps of an op and says so, or says that it is not for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from bb_plugins.backends.cpu.node import as_axes
from bb_plugins.backends.cpu.ops.convolution import Window, window_of
from bb_plugins.backends.cpu.plans.program import (
    ABSENT,
    FILTER_GRADIENT,
    At,
    Draft,
    Op,
    bits,
    broadcast_strides,
    collapsed,
    contiguous_strides,
)

Lower = Callable[[Draft, Op], bool]


def lower(draft: Draft, op: Op) -> None:
    """Write an op as steps."""
    row = None if op.node.domain else _LOWER.get(op.node.op)
    known = draft.known
    if row is None or not all(known[v].fixed for v in (*op.inputs, *op.outputs)) or not row(draft, op):
        draft.python(op)


# --- views ------------------------------------------------------------------------------------------------------------


def _view(draft: Draft, op: Op) -> bool:
    """Let the output be the same memory."""
    source = op.inputs[0]
    if any(op.outputs[1:]) or draft.root(source) in draft.made_by_python:
        return False
    if draft.known[source].dtype != draft.known[op.outputs[0]].dtype:
        return False
    draft.alias(op.outputs[0], source)
    return True


def _dropout(draft: Draft, op: Op) -> bool:
    trained = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    flag = draft.known[trained].constant if trained else False
    return flag is not None and not bool(np.any(flag)) and _view(draft, op)


# --- moving -----------------------------------------------------------------------------------------------------------


def _copy(draft: Draft, shape: Sequence[int], size: int, source: tuple[At, Sequence[int]],
          out: tuple[At, Sequence[int]]) -> None:  # fmt: skip
    """Copy elements of `size` bytes from one view to another; strides are in elements."""
    from bb_plugins.backends.cpu.kernels.moving import copy_view

    lengths, (read, write) = collapsed(shape, source[1], out[1])
    draft.step(copy_view.address, [len(lengths), size, source[0], out[0], *lengths, *read, *write])


def _itemsize(draft: Draft, *values: int) -> int:
    """Return the bytes of an element that `_copy` can move, or 0."""
    types = {draft.known[v].dtype for v in values}
    (dtype,) = types if len(types) == 1 else (None,)
    return dtype.itemsize if dtype is not None and dtype.kind in "fiub" and dtype.itemsize in (1, 4, 8) else 0


def _transpose(draft: Draft, op: Op) -> bool:
    source, out = op.inputs[0], op.outputs[0]
    shape, size = _shape(draft, source), _itemsize(draft, source, out)
    if not size:
        return False
    perm = op.node.ints("perm") or tuple(reversed(range(len(shape))))
    strides = contiguous_strides(shape)
    onto = [shape[p] for p in perm]
    _copy(draft, onto, size, (draft.at(source), [strides[p] for p in perm]), (draft.at(out), contiguous_strides(onto)))
    return True


def _expand(draft: Draft, op: Op) -> bool:
    source, out = op.inputs[0], op.outputs[0]
    size = _itemsize(draft, source, out)
    if not size:
        return False
    shape = _shape(draft, out)
    strides = broadcast_strides(_shape(draft, source), shape)
    _copy(draft, shape, size, (draft.at(source), strides), (draft.at(out), contiguous_strides(shape)))
    return True


def _concat(draft: Draft, op: Op) -> bool:
    out = op.outputs[0]
    size = _itemsize(draft, *op.inputs, out)
    if not size:
        return False
    whole = _shape(draft, out)
    axis = int(op.node.get("axis", 1)) % len(whole)
    strides, at = contiguous_strides(whole), 0
    for source in op.inputs:
        shape = _shape(draft, source)
        place = draft.at(out, at * strides[axis] * size)
        _copy(draft, shape, size, (draft.at(source), contiguous_strides(shape)), (place, strides))
        at += shape[axis]
    return True


def _slice(draft: Draft, op: Op) -> bool:
    source, out = op.inputs[0], op.outputs[0]
    size = _itemsize(draft, source, out)
    given = [None if v == ABSENT else draft.known[v].constant for v in op.inputs[1:]]
    if not size or op.node.version < 10:
        return False
    starts, _, axes, steps = [*given, None, None][:4]
    assert starts is not None
    shape = _shape(draft, source)
    along = range(len(starts)) if axes is None else [int(a) % len(shape) for a in axes]
    strides, at = contiguous_strides(shape), 0
    read = list(strides)
    for i, axis in enumerate(along):
        step = 1 if steps is None else int(steps[i])
        if step < 1:
            return False
        first = int(starts[i])
        first = min(max(first + shape[axis] if first < 0 else first, 0), shape[axis])
        at += first * strides[axis]
        read[axis] = strides[axis] * step
    onto = _shape(draft, out)
    _copy(draft, onto, size, (draft.at(source, at * size), read), (draft.at(out), contiguous_strides(onto)))
    return True


def _split(draft: Draft, op: Op) -> bool:
    source = op.inputs[0]
    size = _itemsize(draft, source, *[v for v in op.outputs if v])
    if not size or not all(op.outputs) or op.node.version < 13:
        return False
    shape = _shape(draft, source)
    axis = int(op.node.get("axis", 0)) % len(shape)
    strides, at = contiguous_strides(shape), 0
    for out in op.outputs:
        onto = _shape(draft, out)
        place = draft.at(source, at * strides[axis] * size)
        _copy(draft, onto, size, (place, strides), (draft.at(out), contiguous_strides(onto)))
        at += onto[axis]
    return True


def _pad(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.moving import fill

    source, out = op.inputs[0], op.outputs[0]
    if op.node.text("mode", "constant") != "constant" or op.node.version < 11 or not _all_f32(draft, source, out):
        return False
    given = [None if v == ABSENT else draft.known[v].constant for v in op.inputs[1:]]
    pads, value, axes = [*given, None, None][:3]
    if len(op.inputs) > 2 and op.inputs[2] != ABSENT and value is None:
        return False
    assert pads is not None
    shape, whole = _shape(draft, source), _shape(draft, out)
    along = range(len(shape)) if axes is None else [int(a) % len(shape) for a in axes]
    half = len(pads) // 2
    if any(int(p) < 0 for p in pads):
        return False
    strides = contiguous_strides(whole)
    at = sum(int(before) * strides[axis] for before, axis in zip(pads[:half], along, strict=True))
    number = 0.0 if value is None else float(value.reshape(-1)[0])
    draft.step(fill.address, [draft.known[out].size, bits(number), draft.at(out)])
    _copy(draft, shape, 4, (draft.at(source), contiguous_strides(shape)), (draft.at(out, at * 4), strides))
    return True


def _scatter(draft: Draft, op: Op) -> bool:
    """ScatterElements of one axis, adding up."""
    from bb_plugins.backends.cpu.kernels.moving import scatter_add

    source, places, updates = op.inputs
    shape = _shape(draft, source)
    if op.node.text("reduction", "none") != "add" or len(shape) != 1 or not _all_f32(draft, source, updates):
        return False
    if draft.root(places) not in draft.indices:
        return False  # its kernel checks them
    count = draft.known[updates].size
    draft.step(
        scatter_add.address,
        [shape[0], count, draft.at(source), draft.at(places), draft.at(updates), draft.at(op.outputs[0])],
    )
    return True


def _one_hot(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.moving import one_hot

    labels, _, values = op.inputs
    known = draft.known[values]
    out = _shape(draft, op.outputs[0])
    last = int(op.node.get("axis", -1)) in (-1, len(out) - 1)
    if (
        not last
        or known.constant is None
        or not _all_f32(draft, op.outputs[0])
        or draft.known[labels].dtype != np.int64
    ):
        return False
    off, on = (float(v) for v in known.constant)
    rows = draft.known[labels].size
    draft.step(one_hot.address, [rows, out[-1], bits(off), bits(on), draft.at(labels), draft.at(op.outputs[0])])
    return True


# --- reductions and rows ----------------------------------------------------------------------------------------------


def _reduce(kind: str) -> Lower:
    def lower_it(draft: Draft, op: Op) -> bool:
        from bb_plugins.backends.cpu.kernels import folding

        source, out = op.inputs[0], op.outputs[0]
        if not _all_f32(draft, source, out):
            return False
        shape = _shape(draft, source)
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
        shape = _shape(draft, source)
        if op.node.version < 13 or not shape or not _all_f32(draft, source, out):
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
    shape = _shape(draft, scores)
    plain = len(op.inputs) == 2 and op.node.get("ignore_index") is None and reduction in ("mean", "sum")
    if not plain or len(shape) != 2 or not _all_f32(draft, scores) or draft.known[labels].dtype != np.int64:
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
    shape = _shape(draft, source)
    axis = int(op.node.get("axis", -1)) % len(shape)
    n = int(np.prod(shape[axis:], dtype=np.int64))
    rows = draft.known[source].size // n
    fits = draft.known[scale].size == n and (bias == ABSENT or draft.known[bias].size == n)
    if not fits or not _all_f32(draft, *[v for v in (source, scale, bias, *outs) if v]):
        return False
    mean, rest = (v or draft.scratch(rows) for v in outs[1:])
    epsilon = float(op.node.get("epsilon", 1e-5))
    draft.step(
        folding.layer_norm.address,
        [rows, n, bits(epsilon), int(bias != ABSENT), draft.at(source), draft.at(scale), draft.at(bias or scale),
         draft.at(outs[0]), draft.at(mean), draft.at(rest)],
    )  # fmt: skip
    return True


# --- products ---------------------------------------------------------------------------------------------------------


def _product(
    draft: Draft, m: int, n: int, k: int, a: At, b: At, out: At, *,
    turned: tuple[bool, bool] = (False, False), alpha: float = 1.0, beta: float = 0.0, count: int = 1,
    further: tuple[int, int, int] = (0, 0, 0),
) -> None:  # fmt: skip
    from bb_plugins.backends.cpu.plans.machine import multiplier

    draft.step(
        multiplier(),
        [count, int(turned[0]), int(turned[1]), m, n, k, bits(alpha), bits(beta), a, b, out, *further],
    )


def _gemm(draft: Draft, op: Op) -> bool:
    a, b = op.inputs[:2]
    c = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    out = op.outputs[0]
    if not _all_f32(draft, *[v for v in (a, b, c, out) if v]):
        return False
    turned = (op.node.flag("transA"), op.node.flag("transB"))
    alpha, beta = float(op.node.get("alpha", 1.0)), float(op.node.get("beta", 1.0))
    m, n = _shape(draft, out)
    k = _shape(draft, a)[0 if turned[0] else 1]
    if c != ABSENT:
        strides = broadcast_strides(_shape(draft, c), (m, n))
        _copy(draft, (m, n), 4, (draft.at(c), strides), (draft.at(out), [n, 1]))
    _product(
        draft, m, n, k, draft.at(a), draft.at(b), draft.at(out), turned=turned, alpha=alpha,
        beta=beta if c != ABSENT else 0.0,
    )  # fmt: skip
    return True


def _matmul(draft: Draft, op: Op) -> bool:
    a, b = op.inputs
    out = op.outputs[0]
    if not _all_f32(draft, a, b, out):
        return False
    left, right = _shape(draft, a), _shape(draft, b)
    left = (1, *left) if len(left) == 1 else left
    right = (*right, 1) if len(right) == 1 else right
    (m, k), n = left[-2:], right[-1]
    if len(right) == 2:  # one matrix for all rows
        m, left = int(np.prod(left[:-1], dtype=np.int64)), (k,)
        _product(draft, m, n, k, draft.at(a), draft.at(b), draft.at(out))
        return True
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    lengths, (by_a, by_b) = collapsed(
        batch,
        [s * m * k for s in broadcast_strides(left[:-2], batch)],
        [s * k * n for s in broadcast_strides(right[:-2], batch)],
    )
    count = lengths[-1]
    if count == 1:
        by_a, by_b = [0] * len(lengths), [0] * len(lengths)
    for index, outer in enumerate(np.ndindex(*lengths[:-1])):
        first_a = sum(i * s for i, s in zip(outer, by_a[:-1], strict=True)) * 4
        first_b = sum(i * s for i, s in zip(outer, by_b[:-1], strict=True)) * 4
        _product(
            draft, m, n, k, draft.at(a, first_a), draft.at(b, first_b), draft.at(out, index * count * m * n * 4),
            count=count, further=(by_a[-1] * 4, by_b[-1] * 4, m * n * 4),
        )  # fmt: skip
    return True


# --- windows ----------------------------------------------------------------------------------------------------------


_AT_ONCE: Final = 1 << 19
"""Bytes of windows that are laid out together, so that the cache holds them; one line of places at least."""


def _two(lengths: Sequence[int]) -> tuple[int, int]:
    """Write the lengths of one or two axes as two."""
    return (1, int(lengths[0])) if len(lengths) == 1 else (int(lengths[0]), int(lengths[1]))


def _count(lengths: Sequence[int]) -> int:
    return int(np.prod(lengths, dtype=np.int64))


def _flat(window: Window, channels: int, space: Sequence[int]) -> list[int]:
    """A window's parameters, with one axis of space written as two."""
    lack = 2 - len(window.kernel)
    ones, zeros = (1,) * lack, (0,) * lack
    return [
        channels, *ones, *space, *ones, *window.kernel, *ones, *window.strides, *ones, *window.dilations,
        *zeros, *window.before, *ones, *window.out,
    ]  # fmt: skip


def _conv(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.windows import image_columns
    from bb_plugins.backends.cpu.plans.machine import convolver, multiplier

    x, weight = op.inputs[:2]
    bias = op.inputs[2] if len(op.inputs) > 2 else ABSENT
    out = op.outputs[0]
    shape, filters = _shape(draft, x), _shape(draft, weight)
    if len(shape) not in (3, 4) or not _all_f32(draft, *[v for v in (x, weight, bias, out) if v]):
        return False
    groups = int(op.node.get("group", 1))
    n, channels, *space = shape
    m, inner = filters[0] // groups, channels // groups
    window = window_of(op.node, space, tuple(filters[2:]))
    height, width = _two(window.out)
    deep = inner * _count(window.kernel)
    inside = not any(window.before) and all(s == 1 for s in window.strides)
    plain = inside and all(k == 1 for k in window.kernel) and tuple(window.out) == tuple(space)
    lines = min(height, max(1, _AT_ONCE // (4 * deep * width)))
    columns = draft.scratch(1 if plain else deep * lines * width)
    if bias != ABSENT:
        whole = (n, filters[0], height * width)
        _copy(draft, whole, 4, (draft.at(bias), [0, 1, 0]), (draft.at(out), contiguous_strides(whole)))
    multiplier()
    draft.step(
        convolver(),
        [n, groups, m, deep, height, width, lines, 0 if plain else image_columns.address,
         bits(1.0 if bias != ABSENT else 0.0), inner * _count(space) * 4, draft.at(x), draft.at(weight), draft.at(out),
         draft.at(columns), *_flat(window, inner, space)],
    )  # fmt: skip
    return True


def _filter_gradient(draft: Draft, op: Op) -> bool:
    """The gradient by a convolution's filters; see `rewriting`."""
    from bb_plugins.backends.cpu.kernels.windows import image_columns
    from bb_plugins.backends.cpu.plans.machine import filter_gradient, multiplier

    x, grad = op.inputs
    out = op.outputs[0]
    shape, found, filters = _shape(draft, x), _shape(draft, grad), _shape(draft, out)
    if len(shape) not in (3, 4) or not _all_f32(draft, x, grad, out):
        return False
    n, channels, *space = shape
    before = op.node.get("before")
    window = Window(
        tuple(filters[2:]), op.node.get("strides"), op.node.get("dilations"), before, before, tuple(found[2:])
    )
    deep, m, places = channels * _count(window.kernel), filters[0], _count(window.out)
    columns, turned, found_turned = (draft.scratch(k) for k in (deep * places, n * m * places, deep * m))
    # Both are turned around, so that no factor of the product is: OpenBLAS is slow where the second one is.
    _copy(draft, (n, places, m), 4, (draft.at(grad), [m * places, 1, places]), (draft.at(turned), [m * places, m, 1]))
    multiplier()
    draft.step(
        filter_gradient(),
        [n, m, deep, *_two(window.out), image_columns.address, channels * _count(space) * 4, draft.at(x),
         draft.at(turned), draft.at(found_turned), draft.at(columns), *_flat(window, channels, space)],
    )  # fmt: skip
    _copy(draft, (m, deep), 4, (draft.at(found_turned), [1, m]), (draft.at(out), [deep, 1]))
    return True


def _conv_transpose(draft: Draft, op: Op) -> bool:
    """Put products back where a convolution would have taken them from."""
    from bb_plugins.backends.cpu.kernels.windows import add_columns

    x, weight = op.inputs[:2]
    out = op.outputs[0]
    shape, filters, whole = _shape(draft, x), _shape(draft, weight), _shape(draft, out)
    plain = len(op.inputs) == 2 and int(op.node.get("group", 1)) == 1
    if not plain or len(shape) not in (3, 4) or not _all_f32(draft, x, weight, out):
        return False
    pads = op.node.ints("pads")
    rank = len(shape) - 2
    if op.node.text("auto_pad", "NOTSET") != "NOTSET" or op.node.ints("output_shape"):
        return False
    before = (pads or (0,) * 2 * rank)[:rank]
    window = Window(
        tuple(filters[2:]), op.node.ints("strides") or (1,) * rank, op.node.ints("dilations") or (1,) * rank,
        tuple(before), tuple(before), tuple(shape[2:]),
    )  # fmt: skip
    n, channels = shape[:2]
    m, places = filters[1], int(np.prod(shape[2:], dtype=np.int64))
    deep = m * int(np.prod(window.kernel, dtype=np.int64))
    columns = draft.scratch(deep * places)
    flat = _flat(window, m, whole[2:])
    image = m * int(np.prod(whole[2:], dtype=np.int64))
    for i in range(n):
        _product(
            draft, deep, places, channels, draft.at(weight), draft.at(x, i * channels * places * 4), draft.at(columns),
            turned=(True, False),
        )  # fmt: skip
        draft.step(add_columns.address, [*flat, draft.at(columns), draft.at(out, i * image * 4)])
    return True


def _max_pool(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.windows import max_pool

    x, out = op.inputs[0], op.outputs[0]
    shape = _shape(draft, x)
    if len(shape) not in (3, 4) or op.node.flag("storage_order") or not _all_f32(draft, x, out):
        return False
    places = op.outputs[1] if len(op.outputs) > 1 else ABSENT
    window = window_of(op.node, shape[2:], op.node.ints("kernel_shape") or ())
    flat = _flat(window, shape[1], shape[2:])
    draft.step(
        max_pool.address,
        [*flat, shape[0], int(places != ABSENT), draft.at(x), draft.at(out), draft.at(places or out)],
    )
    draft.indices.add(places)
    return True


def _average_pool(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.windows import average_pool

    x, out = op.inputs[0], op.outputs[0]
    shape = _shape(draft, x)
    if len(shape) not in (3, 4) or not _all_f32(draft, x, out):
        return False
    window = window_of(op.node, shape[2:], op.node.ints("kernel_shape") or ())
    behind = (0,) * (2 - len(window.after)) + tuple(window.after)
    flat = _flat(window, shape[1], shape[2:])
    padding = int(op.node.flag("count_include_pad"))
    draft.step(average_pool.address, [*flat, shape[0], padding, *behind, draft.at(x), draft.at(out)])
    return True


def _global_average(draft: Draft, op: Op) -> bool:
    from bb_plugins.backends.cpu.kernels.folding import fold_sum

    x, out = op.inputs[0], op.outputs[0]
    shape = _shape(draft, x)
    if len(shape) < 3 or not _all_f32(draft, x, out):
        return False
    n = int(np.prod(shape[2:], dtype=np.int64))
    draft.step(fold_sum.address, [shape[0] * shape[1], n, 1, bits(1 / n), draft.at(x), draft.at(out)])
    return True


def _shape(draft: Draft, value: int) -> tuple[int, ...]:
    shape = draft.known[value].shape
    assert shape is not None
    return shape


def _all_f32(draft: Draft, *values: int) -> bool:
    return all(draft.known[v].is_f32() for v in values)


_LOWER: Final[dict[str, Lower]] = {
    "Dropout": _dropout, "Flatten": _view, "Identity": _view, "Reshape": _view, "Squeeze": _view, "Unsqueeze": _view,
    "Concat": _concat, "Expand": _expand, "OneHot": _one_hot, "Pad": _pad, "ScatterElements": _scatter,
    "Slice": _slice, "Split": _split, "Transpose": _transpose,
    "ReduceMax": _reduce("max"), "ReduceMean": _reduce("mean"), "ReduceSum": _reduce("sum"),
    "LayerNormalization": _layer_norm, "LogSoftmax": _rows("log_softmax"), "Softmax": _rows("softmax"),
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "Gemm": _gemm, "MatMul": _matmul,
    "AveragePool": _average_pool, "Conv": _conv, FILTER_GRADIENT: _filter_gradient, "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average, "MaxPool": _max_pool,
}  # fmt: skip
