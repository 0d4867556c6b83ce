"""Quantised tensors, and products of them: integers are multiplied by BLAS in float64, where they are exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, element_type, is_integer
from bb_plugins.backends.cpu.ops.convolution import convolve, window_of


def _spread(v: Array, x: Array, axis: int, block: int) -> Array:
    """Give scales or zero points the shape of what they scale: one for all, one for each place of an axis or block."""
    if v.size == 1:
        return v.reshape(())
    if block:
        return v.repeat(block, axis).take(np.arange(x.shape[axis]), axis)
    return v.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])


def _bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    bits = int(dtype.name.lstrip("uint"))  # ml_dtypes' types of less than a byte
    return (0, 2**bits - 1) if dtype.name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def saturated(x: Array, zero: Any, dtype: np.dtype[Any]) -> Array:
    """Round to the nearest, even of two, add the zero point, and keep what the type can say. x is overwritten."""
    low, high = _bounds(dtype)
    out = np.asarray(x)
    np.rint(out, out=out)
    if np.any(zero):
        out += zero
    np.clip(out, low, high, out=out)
    return np.asarray(out.astype(dtype if dtype.kind in "iu" else np.int8)).astype(dtype, copy=False)


def quantize(node: Node) -> Kernel:
    """round(x / scale) + zero point, saturated."""
    axis, block = int(node.get("axis", 1)), int(node.get("block_size", 0))
    saturate, precision = node.flag("saturate", default=True), int(node.get("precision", 0))
    to = int(node.get("output_dtype", 0))

    def run(x: Array, scale: Array, zero: Array | None = None) -> Array:
        dtype = zero.dtype if zero is not None else element_type(to) if to else np.dtype(np.uint8)
        by = _spread(scale, x, axis, block)
        if precision:
            wide = element_type(precision)
            x, by = x.astype(wide), by.astype(wide)
        divided = np.asarray(x / by)
        shift: Any = 0 if zero is None else _spread(zero, x, axis, block).astype(np.float32)
        if is_integer(dtype):
            return saturated(divided.astype(np.float32, copy=False), shift, dtype)
        if dtype.name.startswith("float8"):
            from bb_plugins.backends.cpu.ops.elementwise import convert

            return convert(divided, dtype, saturate=saturate)
        return np.asarray(divided + shift).astype(dtype)

    return run


def dequantize(node: Node) -> Kernel:
    """(x - zero point) scale."""
    axis, block, to = int(node.get("axis", 1)), int(node.get("block_size", 0)), int(node.get("output_dtype", 0))

    def run(x: Array, scale: Array, zero: Array | None = None) -> Array:
        shifted = x.astype(np.float32)
        if zero is not None:
            shifted -= _spread(zero, x, axis, block).astype(np.float32)
        wide = scale.dtype if scale.dtype.itemsize > 4 else np.dtype(np.float32)
        out = shifted.astype(wide, copy=False) * _spread(scale, x, axis, block).astype(wide, copy=False)
        return out.astype(element_type(to) if to else scale.dtype, copy=False)

    return run


def dynamic_quantize(x: Array) -> tuple[Array, Array, Array]:
    """Quantise to bytes by the range of what is there, zero included."""
    low, high = min(float(x.min(initial=0)), 0.0), max(float(x.max(initial=0)), 0.0)
    scale = np.float32(np.float32(high - low) / np.float32(255)) or np.float32(1)
    zero = np.uint8(np.clip(np.rint(np.float32(-low) / scale), 0, 255))
    return saturated(x / scale, np.float32(zero), np.dtype(np.uint8)), np.asarray(scale), np.asarray(zero)


def _exact(count: int) -> Any:
    """Return the narrowest float in which a sum of so many products of bytes, less their zero points, is exact."""
    return np.float32 if count * 255 * 255 < 2**24 else np.float64


def _shifted(x: Array, zero: Array | None, kind: Any, axis: int | None = None) -> Array:
    """Take the zero point away, in floats of a type that BLAS multiplies."""
    wide = x.astype(kind)
    if zero is not None and zero.size == 1:
        wide -= zero.reshape(()).astype(kind)
    elif zero is not None:
        shape = [-1 if a == axis else 1 for a in range(x.ndim)] if axis is not None and zero.ndim == 1 else zero.shape
        wide -= zero.astype(kind).reshape(shape)
    return np.asarray(wide)


def matmul_integer(a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
    """Multiply matrices of bytes into 32-bit integers; zero points may be those of rows of a, of columns of b."""
    kind = _exact(a.shape[-1])
    product = np.matmul(_shifted(a, a_zero, kind, max(a.ndim - 2, 0)), _shifted(b, b_zero, kind, b.ndim - 1))
    return np.asarray(product).astype(np.int32)


def q_linear_matmul(
    a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, y_scale: Array, y_zero: Array
) -> Array:
    """Multiply quantised matrices and quantise the product."""
    product = matmul_integer(a, b, a_zero, b_zero)
    left = a_scale.reshape(-1, 1) if a_scale.size > 1 and a_scale.ndim == 1 else a_scale
    return saturated(product * (left * b_scale / y_scale).astype(np.float32), y_zero.astype(np.float32), y_zero.dtype)


def conv_integer(node: Node) -> Kernel:
    """Convolve bytes into 32-bit integers; the border is the zero point."""
    groups = int(node.get("group", 1))

    def run(x: Array, weight: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
        window = window_of(node, x.shape[2:], weight.shape[2:])
        kind = _exact(int(np.prod(weight.shape[1:])))
        found = convolve(_shifted(x, x_zero, kind), _shifted(weight, w_zero, kind, 0), window, groups)
        return found.astype(np.int32)

    return run


def q_linear_conv(node: Node) -> Kernel:
    """Convolve quantised images, add a bias of 32-bit integers, and quantise; a filter may have a scale of its own."""
    groups = int(node.get("group", 1))

    def run(
        x: Array, x_scale: Array, x_zero: Array, weight: Array, w_scale: Array, w_zero: Array, y_scale: Array,
        y_zero: Array, bias: Array | None = None,
    ) -> Array:  # fmt: skip
        window = window_of(node, x.shape[2:], weight.shape[2:])
        summed = convolve(_shifted(x, x_zero, np.float64), _shifted(weight, w_zero, np.float64, 0), window, groups)
        lift = [-1, *[1] * (x.ndim - 2)]
        if bias is not None:
            summed += bias.reshape(lift)
        factor = np.asarray(x_scale * w_scale / y_scale, np.float32)
        return saturated(
            summed * (factor.reshape(lift) if factor.size > 1 else factor.reshape(())),
            y_zero.astype(np.float32).reshape(()),
            y_zero.dtype,
        )

    return run
