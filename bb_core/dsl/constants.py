"""Constants by value: from what an author writes to the tensor that stands in the program."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from bb_core import types as t
from bb_core.dsl.source import caller_line
from bb_core.errors import TypeMismatch
from bb_core.types import Type

Literal = bool | int | float | np.ndarray | np.generic
"""What stands for a constant where a value is expected."""

_ELEM_BY_DTYPE: Final = {
    np.dtype(d).str: e
    for d, e in (
        ("f4", 1), ("u1", 2), ("i1", 3), ("u2", 4), ("i2", 5), ("i4", 6), ("i8", 7), ("?", 9), ("f2", 10), ("f8", 11),
        ("u4", 12), ("u8", 13),
    )
}  # fmt: skip
_DTYPE_BY_ELEM: Final = {elem: np.dtype(text) for text, elem in _ELEM_BY_DTYPE.items()}


def constant_array(value: Any, like: Type | None = None) -> tuple[np.ndarray[Any, Any], Type]:
    """Return a constant's elements and type.

    A number takes the element type of `like`, what it is used with, when that is known and can hold it; otherwise a
    Python float becomes f32, an int i64, a bool bool.
    """
    array = _as_array(value, like)
    elem = _ELEM_BY_DTYPE.get(array.dtype.str)
    if elem is None or elem not in t.BY_ELEM:
        raise TypeMismatch(
            f"a constant cannot have elements of type {array.dtype}",
            where=caller_line(),
            expected="numbers or booleans: an array, a number, or a list of them",
        )
    return array, t.BY_ELEM[elem][array.shape]


def _as_array(value: Any, like: Type | None) -> np.ndarray[Any, Any]:
    dtype = _DTYPE_BY_ELEM.get(like.elem) if like is not None else None
    if isinstance(value, bool):
        return np.asarray(value)
    if isinstance(value, int):
        return np.asarray(value, dtype if dtype is not None and _holds(dtype, value) else np.int64)
    if isinstance(value, float):
        return np.asarray(value, dtype if dtype is not None and dtype.kind == "f" else np.float32)
    return np.asarray(value, order="C")


def _holds(dtype: np.dtype[Any], value: int) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind == "b":
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max)
