"""Ops that take away a mean and divide by a deviation, and Dropout."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, element_type, is_narrow, scalar_of


def _wide(x: Array) -> Array:
    return x.astype(np.float32) if is_narrow(x.dtype) else x


def _per_channel(v: Array, rank: int) -> Array:
    return v.reshape(-1, *[1] * (rank - 2))


def batch_normalization(node: Node) -> Kernel:
    """Normalise each channel: by statistics that are given, or by the batch's own, which then move the given ones."""
    epsilon, momentum = float(node.get("epsilon", 1e-5)), float(node.get("momentum", 0.9))
    training = node.flag("training_mode")

    def run(x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Any:
        if not training:
            factor = scale / np.sqrt(variance + variance.dtype.type(epsilon))
            offset = bias - mean * factor
            out = x * _per_channel(factor, x.ndim).astype(x.dtype, copy=False)
            out += _per_channel(offset, x.ndim).astype(x.dtype, copy=False)
            return (out,)
        axes = (0, *range(2, x.ndim))
        wide = _wide(x)
        own_mean, own_variance = wide.mean(axes), wide.var(axes)
        factor = scale / np.sqrt(own_variance + own_variance.dtype.type(epsilon))
        out = (wide - _per_channel(own_mean, x.ndim)) * _per_channel(factor, x.ndim) + _per_channel(bias, x.ndim)
        keep = mean.dtype.type(momentum)
        return (
            out.astype(x.dtype, copy=False),
            (mean * keep + own_mean * (1 - keep)).astype(mean.dtype, copy=False),
            (variance * keep + own_variance * (1 - keep)).astype(variance.dtype, copy=False),
        )

    return run


def _rows(x: Array, axis: int) -> Array:
    """Make a matrix of the axes before one, and those from it on."""
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), int(np.prod(x.shape[axis:], dtype=np.int64)))


def _inverse_root(rows: Array, epsilon: float) -> Array:
    """Return 1 / sqrt(mean square + epsilon) of each row (n, 1), without a matrix of squares."""
    square = np.vecdot(rows, rows)[:, None] / rows.dtype.type(rows.shape[1])
    return np.asarray(1 / np.sqrt(square + rows.dtype.type(epsilon)))


def layer_normalization(node: Node) -> Kernel:
    """Normalise over the axes from one on; gives mean and reciprocal deviation as well."""
    axis, epsilon = int(node.get("axis", -1)), float(node.get("epsilon", 1e-5))
    stash = int(node.get("stash_type", 1))

    def run(x: Array, scale: Array, bias: Array | None = None) -> Any:
        ahead = x.shape[: axis % x.ndim]
        rows = _rows(x.astype(element_type(stash), copy=False), len(ahead))
        mean = rows.mean(1, keepdims=True)
        out = rows - mean
        inverse = _inverse_root(out, epsilon)
        out *= inverse
        out = out.reshape(x.shape).astype(x.dtype, copy=False)
        out *= scale
        if bias is not None:
            out += bias
        lift = (*ahead, *[1] * (x.ndim - len(ahead)))
        return out, mean.reshape(lift), inverse.reshape(lift)

    return run


def rms_normalization(node: Node) -> Kernel:
    """Divide by the root of the mean square over the axes from one on (Zhang and Sennrich 2019)."""
    axis, epsilon = int(node.get("axis", -1)), float(node.get("epsilon", 1e-5))
    stash = int(node.get("stash_type", 1))

    def run(x: Array, scale: Array) -> Array:
        rows = _rows(x.astype(element_type(stash), copy=False), axis % x.ndim)
        out = (rows * _inverse_root(rows, epsilon)).reshape(x.shape).astype(x.dtype, copy=False)
        return np.asarray(out * scale, scale.dtype)

    return run


def _standardised(x: Array, groups: int, epsilon: float) -> Array:
    """Take the mean away and divide by the deviation, of so many equal parts of each example."""
    wide = _wide(x).reshape(x.shape[0] * groups, int(np.prod(x.shape[1:], dtype=np.int64)) // groups)
    out = wide - wide.mean(1, keepdims=True)
    out *= _inverse_root(out, epsilon)
    return np.asarray(out.reshape(x.shape), x.dtype)


def instance_normalization(node: Node) -> Kernel:
    """Normalise each channel of each example."""
    epsilon = float(node.get("epsilon", 1e-5))

    def run(x: Array, scale: Array, bias: Array) -> Array:
        out = _standardised(x, x.shape[1], epsilon)
        return np.asarray(out * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim))

    return run


def group_normalization(node: Node) -> Kernel:
    """Normalise groups of channels of each example; until opset 20 scale and bias are those of the groups."""
    epsilon, groups = float(node.get("epsilon", 1e-5)), int(node.attributes["num_groups"])

    def run(x: Array, scale: Array, bias: Array) -> Array:
        each = x.shape[1] // scale.shape[0]
        out = _standardised(x, groups, epsilon)
        return np.asarray(
            out * _per_channel(scale.repeat(each), x.ndim) + _per_channel(bias.repeat(each), x.ndim), x.dtype
        )

    return run


def mean_variance_normalization(node: Node) -> Kernel:
    """Take away the mean and divide by the deviation over some axes."""
    axes = node.ints("axes") or (0, 2, 3)

    def run(x: Array) -> Array:
        wide = _wide(x)
        mean = wide.mean(axes, keepdims=True)
        deviation = np.sqrt((wide * wide).mean(axes, keepdims=True) - mean * mean)
        return np.asarray((wide - mean) / (deviation + 1e-9)).astype(x.dtype, copy=False)

    return run


def lrn(node: Node) -> Kernel:
    """Divide by a power of the squares in a stretch of channels (Krizhevsky and others 2012)."""
    alpha, beta, bias = float(node.get("alpha", 1e-4)), float(node.get("beta", 0.75)), float(node.get("bias", 1.0))
    reach = int(node.attributes["size"])

    def run(x: Array) -> Array:
        wide = _wide(x)
        before, after = (reach - 1) // 2, reach // 2
        channels = x.shape[1]
        sums = np.zeros_like(wide)
        squared = np.square(wide)
        for shift in range(-before, after + 1):
            to = slice(max(-shift, 0), channels - max(shift, 0))
            source = slice(max(shift, 0), channels + min(shift, 0))
            if to.start < to.stop:
                sums[:, to] += squared[:, source]
        return np.asarray(wide / (bias + alpha / reach * sums) ** beta).astype(x.dtype, copy=False)

    return run


def lp_normalization(node: Node) -> Kernel:
    """Divide by the p-norm along an axis; what is zero stays zero."""
    axis, p = int(node.get("axis", -1)), int(node.get("p", 2))

    def run(x: Array) -> Array:
        norm = np.sum(np.abs(x) ** p, axis=axis, keepdims=True) ** (1 / p)
        return np.asarray(np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)), x.dtype)

    return run


def generator(seed: float | None, *given: Array | None) -> np.random.RandomState:
    """Return a generator by a seed; without one, by the inputs, so that equal inputs give equal bytes."""
    if seed is None:
        found = 0
        for array in given:
            if array is not None:
                found = zlib.crc32(np.ascontiguousarray(array).tobytes(), found)
        return np.random.RandomState(found)
    return np.random.RandomState(int(seed) & 0xFFFFFFFF)


def dropout(node: Node) -> Kernel:
    """While training, set a share of the elements to zero and scale the others up; give the mask of those that stay."""
    seed = node.get("seed")

    def run(x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
        share = float(scalar_of(ratio, 0.5))
        if share == 0 or not scalar_of(training, False):
            return x.copy(), np.ones(x.shape, np.bool_) if node.wants(1) else None
        keep = generator(seed, x).uniform(0, 1, x.shape) >= share
        return np.asarray(keep * x * x.dtype.type(1 / (1 - share)), x.dtype), keep

    return run


def dropout_by_attribute(node: Node) -> Kernel:
    """Give the input, for these older forms are for inference; the mask has the input's type until opset 9."""
    boolean = node.version >= 10
    return lambda x: (x.copy(), np.ones(x.shape, np.bool_ if boolean else x.dtype) if node.wants(1) else None)
