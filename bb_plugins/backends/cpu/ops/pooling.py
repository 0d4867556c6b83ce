"""Pooling: each window becomes one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Make, Node, is_narrow
from bb_plugins.backends.cpu.ops.convolution import Window, padded, window_of, windows


def _folded(x: Array, window: Window, fill: Any, fold: Callable[..., Any]) -> Array:
    """Fold the windows with a ufunc, one axis after another, and on each one place of the kernel after another."""
    found = padded(x, window, fill)
    for axis, (kernel, stride, step, out) in enumerate(
        zip(window.kernel, window.strides, window.dilations, window.out, strict=True), 2
    ):
        before = (slice(None),) * axis
        places = [found[(*before, slice(i * step, i * step + (out - 1) * stride + 1, stride))] for i in range(kernel)]
        found = np.array(places[0])
        for place in places[1:]:
            fold(found, place, out=found)
    return found


def _least(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def max_pool(node: Node) -> Kernel:
    """Give the largest of each window, and where in the whole input it stands."""
    kernel = node.ints("kernel_shape") or ()
    by_column = node.flag("storage_order")

    def run(x: Array) -> Any:
        window = window_of(node, x.shape[2:], kernel)
        if not node.wants(1):
            return (_folded(x, window, _least(x.dtype), np.maximum),)
        return _with_places(x, window, by_column=by_column)

    return run


def _with_places(x: Array, window: Window, *, by_column: bool) -> tuple[Array, Array]:
    """Give the largest of each window, and its index in x as if that were flat, each image in the order asked for."""
    rank = len(window.kernel)
    steps = [1] * rank
    order = range(rank) if by_column else range(rank - 1, -1, -1)
    size = 1
    for i in order:
        steps[i], size = size, size * x.shape[2 + i]
    view = windows(padded(x, window, _least(x.dtype)), window)
    first: tuple[Any, ...] = (slice(None), slice(None), *[0] * rank)
    best = np.array(view[first])
    offset = np.zeros(best.shape, np.int64)
    for at in np.ndindex(*window.kernel):
        found = view[(slice(None), slice(None), *at)]
        further = sum(a * d * s for a, d, s in zip(at, window.dilations, steps, strict=True)) - offset
        further *= found > best  # to multiply is several times faster than to choose
        offset += further
        np.maximum(best, found, out=best)
    for i in range(rank):
        start = (np.arange(window.out[i]) * window.strides[i] - window.before[i]) * steps[i]
        offset += start.reshape([-1 if a == i else 1 for a in range(rank)])
    offset += np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * rank) * size
    return best, offset


def average_pool(node: Node) -> Kernel:
    """Average each window: of what lies in the input, or with the padding if `count_include_pad`."""
    kernel = node.ints("kernel_shape") or ()
    with_padding = node.flag("count_include_pad")

    def run(x: Array) -> Array:
        window = window_of(node, x.shape[2:], kernel)
        wide = x.astype(np.float32) if is_narrow(x.dtype) else x
        summed = _folded(wide, window, 0, np.add)
        return np.asarray(summed / _counts(x, window, with_padding=with_padding).astype(wide.dtype)).astype(
            x.dtype, copy=False
        )

    return run


def _counts(x: Array, window: Window, *, with_padding: bool) -> Array:
    """Count, for each place of a window, the elements that lie inside: the product over the axes."""
    counts = np.ones(window.out, np.int64)
    for i, length in enumerate(x.shape[2:]):
        low, high = (-window.before[i], length + window.after[i]) if with_padding else (0, length)
        first = np.arange(window.out[i]) * window.strides[i] - window.before[i]
        at = first[:, None] + np.arange(window.kernel[i]) * window.dilations[i]
        along = ((at >= low) & (at < high)).sum(1)
        counts *= along.reshape([-1 if a == i else 1 for a in range(len(window.out))])
    return counts


def lp_pool(node: Node) -> Kernel:
    """Give the p-norm of each window."""
    kernel, p = node.ints("kernel_shape") or (), node.get("p", 2)

    def run(x: Array) -> Array:
        window = window_of(node, x.shape[2:], kernel)
        return np.asarray(_folded(np.abs(x) ** p, window, 0, np.add) ** (1 / p), x.dtype)

    return run


def over_all_space(fold: Callable[[Node, Array, tuple[int, ...]], Any]) -> Make:
    """Make the kernel of a pooling whose window is the whole space."""

    def make(node: Node) -> Kernel:
        return lambda x: np.asarray(fold(node, x, tuple(range(2, x.ndim)))).astype(x.dtype, copy=False)

    return make


def global_average(node: Node, x: Array, axes: tuple[int, ...]) -> Any:
    """Average each channel."""
    return np.mean(x.astype(np.float32) if is_narrow(x.dtype) else x, axis=axes, keepdims=True)


def global_max(node: Node, x: Array, axes: tuple[int, ...]) -> Any:
    """Largest of each channel."""
    return np.max(x, axis=axes, keepdims=True)


def global_lp(node: Node, x: Array, axes: tuple[int, ...]) -> Any:
    """P-norm of each channel."""
    p = node.get("p", 2)
    return np.sum(np.abs(x) ** p, axis=axes, keepdims=True) ** (1 / p)


def max_unpool(node: Node) -> Kernel:
    """Put each element where MaxPool found it, zeros elsewhere."""
    kernel = node.ints("kernel_shape") or ()
    rank = len(kernel)
    strides, pads = node.ints("strides") or (1,) * rank, node.ints("pads") or (0,) * 2 * rank

    def run(x: Array, at: Array, shape: Array | None = None) -> Array:
        space = [
            (n - 1) * s - pads[i] - pads[i + rank] + k
            for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
        ]
        out = np.zeros((*x.shape[:2], *space), x.dtype)
        out.reshape(-1)[at.reshape(-1)] = x.reshape(-1)
        if shape is None:
            return out
        whole = np.zeros([int(d) for d in shape], x.dtype)
        whole[tuple(slice(d) for d in out.shape)] = out
        return whole

    return run
