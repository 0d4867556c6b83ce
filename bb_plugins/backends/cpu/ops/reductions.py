"""Ops that fold axes away, and those that go along one: sums, extremes, Softmax, running sums, TopK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Make, Node, is_narrow

Fold = Callable[[Array, tuple[int, ...], bool], Any]
"""Takes an array, axes, and whether they stay with length 1."""


def reducing(fold: Fold, *, lone: Callable[[Array], Any] | None = None) -> Callable[[bool], Make]:
    """Give makers of a reduction, by whether its axes are an input.

    With `noop_with_empty_axes` and no axes each element is a sum of itself: `lone` says what becomes of it then.
    """

    def by(axes_are_input: bool) -> Make:
        def make(node: Node) -> Kernel:
            keep, noop = node.flag("keepdims", default=True), node.flag("noop_with_empty_axes")
            given = None if axes_are_input else node.ints("axes")

            def run(x: Array, axes: Array | None = None) -> Array:
                chosen = tuple(int(a) for a in axes) if axes is not None else given
                if not chosen:
                    if noop:
                        return x if lone is None else np.asarray(lone(x), x.dtype)
                    chosen = tuple(range(x.ndim))
                return _folded(fold, x, chosen, keep)

            return run

        return make

    return by


def _folded(fold: Fold, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    if is_narrow(x.dtype):
        return np.asarray(fold(x.astype(np.float32), axes, keep)).astype(x.dtype)
    return np.asarray(fold(x, axes, keep)).astype(x.dtype, copy=False)


def total(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Sum."""
    return np.sum(x, axis=axes, keepdims=keep)


def product(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Multiply."""
    return np.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)


def average(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Mean; of integers, rounded towards zero."""
    with np.errstate(all="ignore"):
        return np.mean(x, axis=axes, keepdims=keep)


def length1(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Sum of absolute values."""
    return np.sum(np.abs(x), axis=axes, keepdims=keep)


def squares(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Sum of squares."""
    return np.sum(x * x, axis=axes, keepdims=keep)


def length2(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Root of the sum of squares."""
    return np.sqrt(squares(x, axes, keep))


def log_sum(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Logarithm of the sum."""
    with np.errstate(divide="ignore"):
        return np.log(total(x, axes, keep))


def log_sum_exp(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Logarithm of the sum of exponentials, taken out of the largest so that nothing overflows."""
    if x.dtype.kind in "iu":
        x = x.astype(np.float64)
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(divide="ignore"):
        found = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return found if keep else np.squeeze(found, axes)


def highest(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Largest; of nothing, the least that the type has."""
    return (
        np.max(x, axis=axes, keepdims=keep, initial=_end(x.dtype, lowest=True))
        if not x.size
        else np.max(x, axis=axes, keepdims=keep)
    )


def lowest(x: Array, axes: tuple[int, ...], keep: bool) -> Any:
    """Smallest; of nothing, the largest that the type has."""
    return (
        np.min(x, axis=axes, keepdims=keep, initial=_end(x.dtype, lowest=False))
        if not x.size
        else np.min(x, axis=axes, keepdims=keep)
    )


def _end(dtype: np.dtype[Any], *, lowest: bool) -> Any:
    if dtype.kind == "b":
        return not lowest
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max
    return -np.inf if lowest else np.inf


def arg_extreme(find: Callable[..., Any]) -> Make:
    """Make ArgMax or ArgMin: the place of the extreme along an axis, the first or the last of equal ones."""

    def make(node: Node) -> Kernel:
        axis, keep = int(node.get("axis", 0)), node.flag("keepdims", default=True)
        last = node.flag("select_last_index")

        def run(x: Array) -> Array:
            if last:
                return np.asarray(x.shape[axis] - 1 - find(np.flip(x, axis), axis, keepdims=keep), np.int64)
            return np.asarray(find(x, axis, keepdims=keep), np.int64)

        return run

    return make


def _along(x: Array, axis: int) -> tuple[Array, int]:
    """Before opset 13 a softmax went over all axes from one on, as if they were one."""
    at = axis % x.ndim if x.ndim else 0
    return x.reshape(int(np.prod(x.shape[:at], dtype=np.int64)), -1), 1


def normalising(function: Callable[[Array, int], Array]) -> tuple[Make, Make]:
    """Make Softmax and its like: along one axis, and the older form over all axes from one on."""

    def make(node: Node) -> Kernel:
        axis = int(node.get("axis", -1))
        return lambda x: function(x, axis)

    def make_flat(node: Node) -> Kernel:
        axis = int(node.get("axis", 1))

        def run(x: Array) -> Array:
            flat, along = _along(x, axis)
            return function(flat, along).reshape(x.shape)

        return run

    return make, make_flat


def softmax(x: Array, axis: int) -> Array:
    """e^x over their sum."""
    powers = np.asarray(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def log_softmax(x: Array, axis: int) -> Array:
    """Logarithm of the softmax, without taking it."""
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)), x.dtype)


def hardmax(x: Array, axis: int) -> Array:
    """1 at the first largest, 0 elsewhere."""
    out = np.zeros_like(x)
    np.put_along_axis(out, np.expand_dims(x.argmax(axis=axis), axis), 1, axis=axis)
    return out


def running(accumulate: Callable[..., Any], start: int) -> Make:
    """Make CumSum or CumProd: each element with all before it, or, if `exclusive`, all before it alone."""

    def make(node: Node) -> Kernel:
        exclusive, reverse = node.flag("exclusive"), node.flag("reverse")

        def run(x: Array, axis: Array) -> Array:
            at = int(axis.reshape(-1)[0]) % x.ndim
            turned = np.flip(x, at) if reverse else x
            found = np.asarray(accumulate(turned, axis=at, dtype=x.dtype))
            if exclusive:
                first = np.full_like(found.take([0], at), start)
                found = np.concatenate([first, found.take(np.arange(x.shape[at] - 1), at)], at)
            return np.ascontiguousarray(np.flip(found, at)) if reverse else found

        return run

    return make


def top_k(node: Node) -> Kernel:
    """Give the k largest or smallest along an axis, in order, and where they stood; the earlier of equal ones first."""
    axis, largest, k_attribute = int(node.get("axis", -1)), node.flag("largest", default=True), node.get("k")

    def run(x: Array, k: Array | None = None) -> tuple[Array, Array]:
        count = int(k.reshape(-1)[0]) if k is not None else int(k_attribute)
        keys = np.moveaxis(x.astype(np.float32) if is_narrow(x.dtype) else x, axis, -1)
        chosen = _few(keys, count, largest=largest) if 0 < 8 * count < keys.shape[-1] else None
        if chosen is None:
            chosen = _in_order(keys, largest=largest)[..., :count]
        chosen = np.ascontiguousarray(np.moveaxis(chosen, -1, axis))
        return np.take_along_axis(x, chosen, axis), np.asarray(chosen, np.int64)

    return run


def _in_order(keys: Array, *, largest: bool) -> Array:
    """Sort the last axis; the earlier of equal ones comes first."""
    if not largest:
        return np.argsort(keys, axis=-1, kind="stable")
    backwards = np.argsort(keys[..., ::-1], axis=-1, kind="stable")
    return np.asarray(keys.shape[-1] - 1 - backwards[..., ::-1])


def _few(keys: Array, count: int, *, largest: bool) -> Array | None:
    """Find the first few without sorting the rest; None if equal ones, of which the earlier count, make it doubtful."""
    length = keys.shape[-1]
    edge = length - count if largest else count - 1
    parted = np.argpartition(keys, edge, axis=-1)
    chosen = np.sort(parted[..., edge:] if largest else parted[..., :count], axis=-1)
    found = np.take_along_axis(keys, chosen, -1)
    last = found.min(-1, keepdims=True) if largest else found.max(-1, keepdims=True)
    if ((keys == last).sum(-1) != (found == last).sum(-1)).any() or np.isnan(np.sum(found)):
        return None
    return np.take_along_axis(chosen, _in_order(found, largest=largest), -1)
