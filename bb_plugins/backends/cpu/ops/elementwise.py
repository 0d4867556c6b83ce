"""Ops that make each element of the output of one element of each input, broadcast as numpy does."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Final

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Make, Node, element_type, is_integer, plain, widened

_LARGE: Final = 4096
"""Above so many elements a kernel that must be compiled, or prepared, is worth it."""


def like_input(function: Callable[..., Any]) -> Make:
    """Make a kernel whose output has its first input's elements, whatever numpy promotes to."""
    return plain(lambda x, *rest: np.asarray(function(x, *rest), x.dtype))


def aligned(function: Callable[[Array, Array], Any]) -> Make:
    """Make the kernel of an op on two inputs as until opset 6: the second's axes begin at that of the first, `axis`."""

    def make(node: Node) -> Kernel:
        axis = node.get("axis")

        def run(a: Array, b: Array) -> Array:
            if axis is not None and b.ndim:
                b = b.reshape(*b.shape, *[1] * (a.ndim - int(axis) % a.ndim - b.ndim))
            return np.asarray(function(a, b))

        return run

    return make


def prelu(x: Array, slope: Array) -> Array:
    """X where it is positive, x times a slope of its own elsewhere."""
    return np.asarray(np.maximum(x, 0) + np.minimum(x, 0) * slope, x.dtype)


def prelu_by_channel(x: Array, slope: Array) -> Array:
    """Slopes as until opset 6: one for each channel."""
    return prelu(x, slope.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else slope)


def folded(function: Callable[[Array, Array], Any]) -> Make:
    """Make the kernel of an op on any number of inputs from a function of two."""
    return plain(lambda *parts: np.asarray(reduce(function, parts)))


def mean(*parts: Array) -> Array:
    """Average any number of inputs."""
    return np.asarray(reduce(np.add, parts) / parts[0].dtype.type(len(parts)), parts[0].dtype)


def divide(a: Array, b: Array) -> Array:
    """Divide; ONNX divides integers towards zero, numpy towards minus infinity. By zero gives zero, as numpy does."""
    if not is_integer(a.dtype):
        return np.asarray(np.divide(a, b))
    if not np.all(b):
        with np.errstate(divide="ignore"):
            quotient = np.floor_divide(a, b)
    else:
        quotient = np.floor_divide(a, b)
    if a.dtype.kind == "u":
        return np.asarray(quotient)
    remains = quotient * b != a
    return np.asarray(quotient + (remains & ((a < 0) != (b < 0)) & (b != 0)).astype(a.dtype), a.dtype)


def power(node: Node) -> Kernel:
    """Raise to a power; the output has the base's elements."""

    def run(base: Array, exponent: Array) -> Array:
        with np.errstate(all="ignore"):
            if exponent.dtype == base.dtype and exponent.dtype.kind in "iu" and np.any(exponent < 0):
                return np.power(base.astype(np.float64), exponent).astype(base.dtype)
            return np.asarray(np.power(base, exponent)).astype(base.dtype, copy=False)

    return run


def modulo(node: Node) -> Kernel:
    """Give the remainder: with the sign of the divisor, or, if `fmod`, with that of the dividend."""
    return np.fmod if node.flag("fmod") else np.mod


def bit_shift(node: Node) -> Kernel:
    """Shift bits. A shift by the width or more leaves nothing; one to the right keeps the sign of a signed type."""
    left = node.text("direction", "LEFT") == "LEFT"

    def run(x: Array, by: Array) -> Array:
        width = x.dtype.itemsize * 8
        outside = (by < 0) | (by >= width)
        within = np.where(outside, 0, by).astype(x.dtype)
        if left:
            return np.asarray(np.where(outside, 0, np.left_shift(x, within)), x.dtype)
        return np.asarray(np.where(outside, np.where(x < 0, -1, 0).astype(x.dtype), np.right_shift(x, within)), x.dtype)

    return run


def clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Bound from below and above; the upper bound wins where they cross."""
    if low is not None:
        x = np.maximum(x, low)
    return np.asarray(x if high is None else np.minimum(x, high))


def clip_by_attribute(node: Node) -> Kernel:
    """Bound by attributes, as until opset 10."""
    low, high = node.get("min"), node.get("max")

    def run(x: Array) -> Array:
        return clip(
            x,
            None if low is None else np.asarray(low, x.dtype),
            None if high is None else np.asarray(high, x.dtype),
        )

    return run


def relu(x: Array) -> Array:
    """max(x, 0)."""
    if x.ndim > 1 and x.size > _LARGE:
        return np.asarray(np.maximum(x, np.zeros(x.shape[1:], x.dtype)))  # numpy has no vector loop for a scalar here
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x); where e^-x overflows, that is zero, as it should be."""
    with np.errstate(over="ignore"):
        out = np.asarray(np.exp(-x))
        out += 1
        return np.asarray(np.reciprocal(out, out=out))


def softplus(x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), x.dtype)


def erf(x: Array) -> Array:
    """Gauss's error function."""
    if x.dtype == np.float32 and x.size > _LARGE:
        return compiled("erf", x)
    from scipy import special

    return np.asarray(special.erf(x))


def compiled(name: str, x: Array) -> Array:
    """Run a kernel that numba compiles when it is first needed, once: for it, every input is read-only."""
    from bb_plugins.backends.cpu.kernels import activations

    source, out = np.ascontiguousarray(x).reshape(-1).view(), np.empty(x.shape, x.dtype)
    source.flags.writeable = False
    getattr(activations, name)(source, out.reshape(-1))
    return out


def gelu(node: Node) -> Kernel:
    """X times the normal distribution's integral up to x: exact, or by Hendrycks and Gimpel's tanh (2016)."""
    if node.text("approximate", "none") == "tanh":

        def by_tanh(x: Array) -> Any:
            return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))  # sqrt(2 / pi)

        return widened(by_tanh)

    def exact(x: Array) -> Any:
        if x.dtype == np.float32 and x.size > _LARGE:
            return compiled("gelu", x)
        return 0.5 * x * (1 + erf(x * x.dtype.type(0.7071067811865476)))  # 1 / sqrt(2)

    return widened(exact)


def of_alpha(default: float, function: Callable[[Array, Any], Any]) -> Make:
    """Make the kernel of an op with the attribute `alpha`, a number of the input's type."""

    def make(node: Node) -> Kernel:
        alpha = float(node.get("alpha", default))
        return lambda x: np.asarray(function(x, x.dtype.type(alpha)), x.dtype)

    return make


def leaky(x: Array, alpha: Any) -> Any:
    """X where it is positive, alpha x elsewhere. Choosing by `where` is many times slower."""
    if 0 <= alpha <= 1:
        return np.maximum(x, x * alpha)
    return np.maximum(x, 0) + alpha * np.minimum(x, 0)


def elu(x: Array, alpha: Any) -> Any:
    """X where it is positive, alpha (e^x - 1) elsewhere."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


def celu(x: Array, alpha: Any) -> Any:
    """Elu whose slope is continuous for every alpha."""
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def selu(node: Node) -> Kernel:
    """Scale an Elu, by Klambauer and others' constants (2017) unless attributes say otherwise."""
    alpha = float(node.get("alpha", 1.67326319217681884765625))
    gamma = float(node.get("gamma", 1.05070102214813232421875))

    def run(x: Array) -> Array:
        kind = x.dtype.type
        return np.asarray(kind(gamma) * elu(x, kind(alpha)), x.dtype)

    return run


def hard_sigmoid(node: Node) -> Kernel:
    """max(0, min(1, alpha x + beta))."""
    alpha, beta = float(node.get("alpha", 0.2)), float(node.get("beta", 0.5))
    return lambda x: np.asarray(np.clip(x.dtype.type(alpha) * x + x.dtype.type(beta), 0, 1), x.dtype)


def hard_swish(x: Array) -> Any:
    """X times the HardSigmoid of slope 1/6."""
    return x * np.clip(x * x.dtype.type(1 / 6) + x.dtype.type(0.5), 0, 1)


def swish(x: Array, alpha: Any) -> Any:
    """X sigmoid(alpha x)."""
    return x * sigmoid(x * alpha)


def shrink(node: Node) -> Kernel:
    """Move what is further than lambd from zero by bias towards it; the rest becomes zero."""
    bias, threshold = float(node.get("bias", 0.0)), float(node.get("lambd", 0.5))

    def run(x: Array) -> Array:
        return np.asarray(np.where(x < -threshold, x + bias, np.where(x > threshold, x - bias, 0)), x.dtype)

    return run


def is_inf(node: Node) -> Kernel:
    """Say which elements are infinite, of the signs that are asked for."""
    negative, positive = node.flag("detect_negative", default=True), node.flag("detect_positive", default=True)

    def run(x: Array) -> Array:
        found = np.isinf(x)
        if not negative:
            found = found & (x > 0)
        if not positive:
            found = found & (x < 0)
        return np.asarray(found)

    return run


def equal(a: Array, b: Array) -> Array:
    """Compare; texts too."""
    return np.asarray(np.equal(a, b), np.bool_)


def cast(node: Node) -> Kernel:
    """Change the type of the elements."""
    to = int(node.attributes["to"])
    saturate, rounding = node.flag("saturate", default=True), node.text("round_mode", "up")
    return lambda x: convert(x, element_type(to), saturate=saturate, rounding=rounding)


def cast_like(node: Node) -> Kernel:
    """Give the elements the type of another input's."""
    saturate, rounding = node.flag("saturate", default=True), node.text("round_mode", "up")
    return lambda x, like: convert(x, like.dtype, saturate=saturate, rounding=rounding)


def convert(x: Array, dtype: np.dtype[Any], *, saturate: bool = True, rounding: str = "up") -> Array:
    """Change the type of elements. A float8 that would overflow becomes the largest of its type if `saturate`."""
    if dtype.kind in "OUT":
        return x.astype(np.str_).astype(object)
    if x.dtype.kind in "OU" and dtype.kind in "iub":
        return x.astype(np.float64).astype(dtype)
    with np.errstate(all="ignore"):
        if dtype.name == "float8_e8m0fnu":
            from onnx import numpy_helper

            return np.asarray(numpy_helper.to_float8e8m0(x, saturate, rounding)).astype(dtype)
        if saturate and dtype.name.startswith("float8"):
            from onnx import numpy_helper

            return np.asarray(numpy_helper.saturate_cast(x, dtype))
        return x.astype(dtype)


def bit_cast(node: Node) -> Kernel:
    """Read the same bits as another type."""
    to = int(node.attributes["to"])
    return lambda x: np.ascontiguousarray(x).reshape(x.shape).view(element_type(to))
