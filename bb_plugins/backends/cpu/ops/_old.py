"""ONNX ops on numpy arrays: one function that makes a callable of an op's attributes, in a table by name.

Each follows its op's text in the ONNX operator reference, opset 21; tests compare it with `onnx.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Kernel = Callable[..., Any]
Attributes = Mapping[str, Any]

_DTYPES: Final = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip


def _plain(function: Kernel) -> Callable[[Attributes], Kernel]:
    """An op without attributes."""
    return lambda attributes: function


def _divide(a: Array, b: Array) -> Array:
    """ONNX divides integers towards zero; numpy towards minus infinity."""
    if np.issubdtype(a.dtype, np.floating):
        return np.asarray(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    remains = quotient * b != a
    return np.asarray(quotient + (remains & ((a < 0) != (b < 0))).astype(a.dtype))


def _relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def _sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), without overflow: e^-|x| is at most 1."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + small), small / (1 + small)), x.dtype)


def _softmax(attributes: Attributes) -> Kernel:
    axis = int(attributes.get("axis", -1))

    def run(x: Array) -> Array:
        powers = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=axis, keepdims=True), x.dtype)

    return run


def _log_softmax(attributes: Attributes) -> Kernel:
    axis = int(attributes.get("axis", -1))

    def run(x: Array) -> Array:
        shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)), x.dtype)

    return run


def _gemm(attributes: Attributes) -> Kernel:
    alpha, beta = float(attributes.get("alpha", 1.0)), float(attributes.get("beta", 1.0))
    turn_a, turn_b = bool(attributes.get("transA", 0)), bool(attributes.get("transB", 0))

    def run(a: Array, b: Array, c: Array | None = None) -> Array:
        product = (a.T if turn_a else a) @ (b.T if turn_b else b)
        scaled = product if alpha == 1 else product * a.dtype.type(alpha)
        return scaled if c is None else np.asarray(scaled + (c if beta == 1 else c * c.dtype.type(beta)))

    return run


def _reduce(function: Callable[..., Any]) -> Callable[[Attributes], Kernel]:
    def make(attributes: Attributes) -> Kernel:
        keep = bool(attributes.get("keepdims", 1))
        noop = bool(attributes.get("noop_with_empty_axes", 0))

        def run(x: Array, axes: Array | None = None) -> Array:
            if axes is None or not axes.size:
                return x if noop else np.asarray(function(x, axis=None, keepdims=keep), x.dtype)
            return np.asarray(function(x, axis=tuple(int(a) for a in axes), keepdims=keep), x.dtype)

        return run

    return make


def _arg_max(attributes: Attributes) -> Kernel:
    axis, keep = int(attributes.get("axis", 0)), bool(attributes.get("keepdims", 1))
    last = bool(attributes.get("select_last_index", 0))

    def run(x: Array) -> Array:
        if last:
            return np.asarray(x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis, keepdims=keep))
        return np.asarray(np.argmax(x, axis, keepdims=keep))

    return run


def _reshape(attributes: Attributes) -> Kernel:
    allow_zero = bool(attributes.get("allowzero", 0))

    def run(x: Array, shape: Array) -> Array:
        wanted = [int(d) for d in shape]
        if not allow_zero:
            wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
        return x.reshape(wanted)

    return run


def _transpose(attributes: Attributes) -> Kernel:
    order = attributes.get("perm")
    return lambda x: np.array(np.transpose(x, order), order="C")


def _cast(attributes: Attributes) -> Kernel:
    dtype = _DTYPES.get(int(attributes["to"]))
    if dtype is None:
        raise ValueError(f"Cast to the ONNX element type {attributes['to']}; known: {sorted(_DTYPES)}")
    return lambda x: np.asarray(x).astype(dtype)


def _concat(attributes: Attributes) -> Kernel:
    axis = int(attributes["axis"])
    return lambda *parts: np.concatenate(parts, axis=axis)


OPS: Final[dict[str, Callable[[Attributes], Kernel]]] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "ArgMax": _arg_max,
    "Cast": _cast,
    "Concat": _concat,
    "Div": _plain(_divide),
    "Equal": _plain(np.equal),
    "Exp": _plain(np.exp),
    "Gemm": _gemm,
    "Greater": _plain(np.greater),
    "Identity": _plain(np.copy),
    "Less": _plain(np.less),
    "Log": _plain(np.log),
    "LogSoftmax": _log_softmax,
    "MatMul": _plain(np.matmul),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "Relu": _plain(_relu),
    "Reshape": _reshape,
    "Sigmoid": _plain(_sigmoid),
    "Softmax": _softmax,
    "Sqrt": _plain(np.sqrt),
    "Sub": _plain(np.subtract),
    "Tanh": _plain(np.tanh),
    "Transpose": _transpose,
    "Where": _plain(np.where),
}
