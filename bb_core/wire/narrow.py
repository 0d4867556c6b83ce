"""Element types of ONNX that numpy does not have: bfloat16, float8, and those of two, four and six bits.

The package ml_dtypes gives numpy dtypes for them, an element in each byte (bfloat16: two). It is imported when the
first such tensor is met. On the wire, elements below eight bits stand bit by bit one after another, the first in the
lowest bits of the first byte; what is left of the last byte is zero when it is written, and not looked at when read.

Source: onnx/onnx.proto, TensorProto.raw_data; onnx.numpy_helper, which the tests compare with.
"""

from __future__ import annotations

from functools import cache
from math import lcm
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
"""Elements below eight bits, each in the low bits of a byte of its own."""

_NAMES: Final = {
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
    27: "float6_e2m3fn",
    28: "float6_e3m2fn",
}
"""ONNX element type -> name in ml_dtypes."""

BITS: Final = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}
"""ONNX element type -> bits of an element, of those that share bytes."""


@cache
def dtypes() -> dict[int, np.dtype[Any]]:
    """ONNX element type -> dtype in memory."""
    import ml_dtypes

    return {elem: np.dtype(getattr(ml_dtypes, name)) for elem, name in _NAMES.items()}


@cache
def _elems() -> dict[np.dtype[Any], int]:
    return {dtype: elem for elem, dtype in dtypes().items()}


def elem_of(dtype: np.dtype[Any]) -> int | None:
    """Return the ONNX element type of a dtype; None when it is none of these."""
    return _elems().get(dtype) if dtype.type.__module__ == "ml_dtypes" else None


def _groups(bits: int, count: int) -> tuple[int, int, int]:
    """How many groups that begin and end with a byte, how many elements in each, and how many bytes."""
    whole = lcm(bits, 8)
    per = whole // bits
    return -(-count // per), per, whole // 8


def pack(codes: Codes, bits: int) -> Codes:
    """Return the bytes of elements of so many bits."""
    groups, per, width = _groups(bits, codes.size)
    padded = np.zeros(groups * per, np.uint8)
    padded[: codes.size] = codes
    padded &= (1 << bits) - 1
    words = np.zeros(groups, "<u4" if width > 1 else np.uint8)
    for place, column in enumerate(padded.reshape(groups, per).T):
        words |= column.astype(words.dtype, copy=False) << words.dtype.type(bits * place)
    packed = words.view(np.uint8).reshape(groups, words.itemsize)[:, :width]
    return np.ascontiguousarray(packed).reshape(-1)[: packed_size(bits, codes.size)]


def unpack(packed: Codes, bits: int, out: Codes) -> None:
    """Write the elements in bytes of just their number to `out`."""
    groups, per, width = _groups(bits, out.size)
    if width > 1:
        block = np.zeros(groups * width, np.uint8)
        block[: packed.size] = packed
        wide = np.zeros((groups, 4), np.uint8)
        wide[:, :width] = block.reshape(groups, width)
        words: npt.NDArray[Any] = wide.view("<u4").reshape(-1)
    else:
        words = packed
    mask = words.dtype.type((1 << bits) - 1)
    for place in range(per):
        column = out[place::per]
        column[:] = (words >> words.dtype.type(bits * place) & mask)[: column.size]


def packed_size(bits: int, count: int) -> int:
    """How many bytes so many elements take."""
    return (bits * count + 7) // 8
