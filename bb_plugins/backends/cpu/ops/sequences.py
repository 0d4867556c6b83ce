"""Sequences, which are lists, and optional values, which are None when they are not there."""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, scalar_of


def at(sequence: list[Any], position: Array) -> Any:
    """Give one element."""
    return sequence[int(scalar_of(position, 0))]


def construct(*values: Any) -> list[Any]:
    """Make a sequence."""
    return list(values)


def empty(node: Node) -> Kernel:
    """Make a sequence of nothing."""
    return list


def erase(sequence: list[Any], position: Array | None = None) -> list[Any]:
    """Leave out one element, the last when none is named."""
    found = list(sequence)
    del found[int(scalar_of(position, -1))]
    return found


def insert(sequence: list[Any], value: Any, position: Array | None = None) -> list[Any]:
    """Put in a value, at the end when no place is named."""
    found = list(sequence)
    found.insert(int(scalar_of(position, len(found))), value)
    return found


def length(sequence: list[Any]) -> Array:
    """Say how many elements there are."""
    return np.array(len(sequence), np.int64)


def concat_from(node: Node) -> Kernel:
    """Join the elements along an axis, or along a new one."""
    axis, new = int(node.get("axis", 0)), node.flag("new_axis")
    return lambda sequence: np.stack(sequence, axis) if new else np.concatenate(sequence, axis)


def split_to(node: Node) -> Kernel:
    """Cut along an axis: in single places, in equal lengths of which the last may be shorter, or in given ones."""
    axis, keep = int(node.get("axis", 0)), node.flag("keepdims", default=True)

    def run(x: Array, lengths: Array | None = None) -> list[Any]:
        if lengths is None:
            parts = np.split(x, x.shape[axis], axis)
            return parts if keep else [np.squeeze(p, axis) for p in parts]
        if lengths.ndim == 0:
            return np.split(x, range(int(lengths), x.shape[axis], int(lengths)), axis)
        return np.split(x, np.cumsum(lengths)[:-1], axis)

    return run


def optional(node: Node) -> Kernel:
    """Give what is given, if anything is."""
    return lambda value=None: value


def has_element(value: Any = None) -> Array:
    """Say whether there is a value."""
    return np.array(value is not None)


def get_element(value: Any) -> Any:
    """Give the value that is there.

    Raises:
        ValueError: there is none.
    """
    if value is None:
        raise ValueError("OptionalGetElement of a value that is not there")
    return value
