"""Random draws. With a `seed` they depend on it alone; without one on the inputs: equal inputs give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Make, Node, element_type
from bb_plugins.backends.cpu.ops.normalisation import generator

Draw = Callable[[Node, Any, Sequence[int]], Any]
"""Takes an op, a generator and a shape."""


def normal(node: Node, source: np.random.RandomState, shape: Sequence[int]) -> Any:
    """Draw from a normal distribution."""
    return source.standard_normal(shape) * float(node.get("scale", 1.0)) + float(node.get("mean", 0.0))


def uniform(node: Node, source: np.random.RandomState, shape: Sequence[int]) -> Any:
    """Draw from a stretch."""
    low, high = float(node.get("low", 0.0)), float(node.get("high", 1.0))
    return source.random_sample(shape) * (high - low) + low


def of_shape(draw: Draw) -> Make:
    """Make the kernel of a draw whose shape is an attribute."""

    def make(node: Node) -> Kernel:
        shape, to = node.ints("shape") or (), int(node.get("dtype", 1))
        return lambda: np.asarray(draw(node, generator(node.get("seed")), shape)).astype(element_type(to))

    return make


def like(draw: Draw) -> Make:
    """Make the kernel of a draw whose shape is that of an input."""

    def make(node: Node) -> Kernel:
        to = node.get("dtype")

        def run(x: Array) -> Array:
            dtype = x.dtype if to is None else element_type(to)
            return np.asarray(draw(node, generator(node.get("seed"), x), x.shape)).astype(dtype)

        return run

    return make


def bernoulli(node: Node) -> Kernel:
    """Draw one or zero, by probabilities that are the input."""
    to = node.get("dtype")

    def run(x: Array) -> Array:
        drawn = generator(node.get("seed"), x).random_sample(x.shape) < x
        return np.asarray(drawn).astype(x.dtype if to is None else element_type(to))

    return run


def multinomial(node: Node) -> Kernel:
    """Draw classes, by log-probabilities (n, classes) that need not be normalised."""
    count, to = int(node.get("sample_size", 1)), int(node.get("dtype", 6))

    def run(x: Array) -> Array:
        weights = np.exp(x.astype(np.float64) - x.max(1, keepdims=True)).cumsum(1)
        drawn = generator(node.get("seed"), x).random_sample((x.shape[0], count)) * weights[:, -1:]
        return np.asarray((drawn[:, :, None] >= weights[:, None]).sum(2)).astype(element_type(to))

    return run
