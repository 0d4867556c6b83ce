"""Losses, and the steps of optimizers in `ai.onnx.preview.training`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Make, Node, scalar_of, widened
from bb_plugins.backends.cpu.ops.reductions import log_softmax


def _likelihood(node: Node) -> Callable[[Array, Array, Array | None], Array]:
    """Make the loss of log-probabilities (n, c, *) by labels (n, *): weighted by class, one label ignored, reduced."""
    reduction, ignored = node.text("reduction", "mean"), node.get("ignore_index")

    def run(scores: Array, labels: Array, weight: Array | None) -> Array:
        places = labels.astype(np.int64)
        kept = None if ignored is None else places != int(ignored)
        safe = places if kept is None else np.where(kept, places, 0)
        loss = -np.take_along_axis(scores, np.expand_dims(safe, 1), 1)[:, 0]
        shares = np.ones(places.shape, scores.dtype) if weight is None else weight[safe].astype(scores.dtype)
        if kept is not None:
            shares = shares * kept
        loss = loss * shares if weight is not None or kept is not None else loss
        if reduction == "none":
            return np.asarray(loss)
        with np.errstate(invalid="ignore"):
            return np.asarray(loss.sum() / shares.sum() if reduction == "mean" else loss.sum())

    return run


def negative_log_likelihood(node: Node) -> Kernel:
    """Loss of log-probabilities."""
    loss = _likelihood(node)
    return widened(lambda scores, labels, weight=None: loss(scores, labels, weight))


def softmax_cross_entropy(node: Node) -> Kernel:
    """Loss of scores, and the log-probabilities that it is taken of."""
    loss = _likelihood(node)

    def run(scores: Array, labels: Array, weight: Array | None = None) -> tuple[Array, Array]:
        wide = scores.astype(np.float32) if scores.dtype.itemsize < 4 else scores
        logs = log_softmax(wide, 1)
        return loss(logs, labels, weight).astype(scores.dtype), logs.astype(scores.dtype, copy=False)

    return run


def optimizer(states: int, make_step: Callable[[Node], Callable[..., Sequence[Array]]]) -> Make:
    """Make the kernel of an optimizer: it takes rate and count, then the tensors, their gradients, the states."""

    def make(node: Node) -> Kernel:
        step = make_step(node)

        def run(rate: Array, count: Array, *given: Array) -> tuple[Any, ...]:
            n = len(given) // (2 + states)
            groups = [given[i * n : (i + 1) * n] for i in range(2 + states)]
            found = [step(scalar_of(rate, 0.0), int(scalar_of(count, 0)), *one) for one in zip(*groups, strict=True)]
            return tuple(np.asarray(v, given[0].dtype) for group in zip(*found, strict=True) for v in group)

        return run

    return make


def adagrad(node: Node) -> Callable[..., Sequence[Array]]:
    """Divide by the root of all squares so far (Duchi and others 2011)."""
    decay, epsilon = float(node.get("decay_factor", 0.0)), float(node.get("epsilon", 1e-6))
    norm = float(node.get("norm_coefficient", 0.0))

    def step(rate: float, count: int, x: Array, grad: Array, squares: Array) -> Sequence[Array]:
        grad = norm * x + grad
        squares = squares + grad * grad
        return x - rate / (1 + count * decay) * grad / (np.sqrt(squares) + epsilon), squares

    return step


def adam(node: Node) -> Callable[..., Sequence[Array]]:
    """Moments of first and second order, corrected for their start at zero (Kingma and Ba 2015)."""
    alpha, beta, epsilon = (
        float(node.get("alpha", 0.9)),
        float(node.get("beta", 0.999)),
        float(node.get("epsilon", 1e-6)),
    )
    before, after = float(node.get("norm_coefficient", 0.0)), float(node.get("norm_coefficient_post", 0.0))

    def step(rate: float, count: int, x: Array, grad: Array, first: Array, second: Array) -> Sequence[Array]:
        grad = before * x + grad
        first, second = alpha * first + (1 - alpha) * grad, beta * second + (1 - beta) * (grad * grad)
        if count > 0:
            rate = rate * np.sqrt(1 - beta**count) / (1 - alpha**count)
        return (1 - after) * (x - rate * first / (np.sqrt(second) + epsilon)), first, second

    return step


def momentum(node: Node) -> Callable[..., Sequence[Array]]:
    """Step along a velocity (Polyak 1964), or ahead of it (Nesterov 1983)."""
    alpha, beta, norm = (float(node.get(n, 0.0)) for n in ("alpha", "beta", "norm_coefficient"))
    ahead = node.text("mode", "standard") == "nesterov"

    def step(rate: float, count: int, x: Array, grad: Array, velocity: Array) -> Sequence[Array]:
        grad = norm * x + grad
        velocity = alpha * velocity + (beta if count > 0 else 1) * grad
        return x - rate * (grad + alpha * velocity if ahead else velocity), velocity

    return step
