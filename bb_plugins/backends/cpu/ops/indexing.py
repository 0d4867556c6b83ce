"""Ops that read and write at places which are values: Gather and Scatter in their forms, OneHot, NonZero, Compress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, scalar_of

_AT: Final[dict[str, Callable[[Array, Any, Array], None]]] = {
    "none": lambda out, at, updates: out.__setitem__(at, updates),
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}
"""How an update meets what is there; places that come twice count twice."""


def gather(node: Node) -> Kernel:
    """Take along an axis at places, which may count from the end."""
    axis = int(node.get("axis", 0))
    return lambda x, at: np.take(x, at, axis)


def _within(x: Array, at: Array, axis: int) -> tuple[Any, ...]:
    """Index by which `at` is meant along one axis and each element's own place along the others."""
    places: list[Array] = list(np.ogrid[tuple(slice(d) for d in at.shape)])
    places[axis] = np.where(at < 0, at + x.shape[axis], at)
    return tuple(places)


def gather_elements(node: Node) -> Kernel:
    """Take, for each element, along an axis at a place of its own."""
    axis = int(node.get("axis", 0))
    return lambda x, at: x[_within(x, at, axis % x.ndim)]


def scatter_elements(node: Node) -> Kernel:
    """Write, for each update, along an axis at a place of its own."""
    axis, put = int(node.get("axis", 0)), _AT[node.text("reduction", "none")]

    def run(x: Array, at: Array, updates: Array) -> Array:
        out = x.copy()
        put(out, _within(x, at, axis % x.ndim), updates)
        return out

    return run


def gather_nd(node: Node) -> Kernel:
    """Take slices at places that are the last axis of an input; the first axes may be those of a batch."""
    batch = int(node.get("batch_dims", 0))

    def run(x: Array, at: Array) -> Array:
        rows = tuple(
            np.arange(d).reshape([d if a == i else 1 for a in range(at.ndim - 1)])
            for i, d in enumerate(x.shape[:batch])
        )
        return np.asarray(x[(*rows, *np.moveaxis(at, -1, 0))])

    return run


def scatter_nd(node: Node) -> Kernel:
    """Write slices at places that are the last axis of an input."""
    put = _AT[node.text("reduction", "none")]

    def run(x: Array, at: Array, updates: Array) -> Array:
        out = x.copy()
        put(out, tuple(np.moveaxis(at, -1, 0)), updates)
        return out

    return run


def one_hot(node: Node) -> Kernel:
    """Write one value at each index along a new axis and another elsewhere; indices outside leave the other alone."""
    axis = int(node.get("axis", -1))

    def run(at: Array, depth: Array, values: Array) -> Array:
        count = int(scalar_of(depth, 0))
        where = np.expand_dims(at, axis if axis >= 0 else at.ndim + 1 + axis)
        shape = [1] * (at.ndim + 1)
        shape[axis] = count
        inside = (where >= -count) & (where < count)
        hit = (np.mod(where, count) == np.arange(count).reshape(shape)) & inside
        return np.asarray(np.where(hit, values[1], values[0]), values.dtype)

    return run


def non_zero(x: Array) -> Array:
    """Say where the elements are that are not zero, one column for each."""
    return np.asarray(np.nonzero(np.atleast_1d(x)), np.int64).reshape(x.ndim, -1)


def compress(node: Node) -> Kernel:
    """Keep what a list of booleans, which may be shorter, says: along an axis, or of all elements."""
    axis = node.get("axis")
    return lambda x, keep: np.compress(keep, x, None if axis is None else int(axis))


def tensor_scatter(node: Node) -> Kernel:
    """Write a stretch of an axis, from a place of each row's own; past the end it may go on at the beginning."""
    axis, circular = int(node.get("axis", -2)), node.text("mode", "linear") == "circular"

    def run(past: Array, update: Array, starts: Array | None = None) -> Array:
        out = past.copy()
        moved, new = np.moveaxis(out, axis, 1), np.moveaxis(update, axis, 1)
        for row in range(out.shape[0]):
            at = np.arange(new.shape[1]) + (0 if starts is None else int(starts[row]))
            moved[row, at % moved.shape[1] if circular else at] = new[row]
        return out

    return run
