"""`Float16`: float32 travels as float16."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError

_LARGEST: Final = float(np.finfo(np.float16).max)
_PART: Final = 2**16  # elements at a time, so that what is between stays in the cache


@bb.concrete("bytesandbrains.Float16")
class Float16(bb.roles.Codec):
    """Round each element to the nearest IEEE 754 binary16: eleven significant bits, half of the bytes.

    The error of an element is at most 2^-11 of its magnitude, or 2^-25 where that is below 2^-14.

    Shape:
        value (...) f32 · encoded (...) f16, alike
    """

    has_state: ClassVar[bool] = False

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[bb.Tensor, bb.Record]:
        """Compress.

        Raises:
            RoleError: the value is no f32, or holds NaN, infinity or a magnitude above 65504.
        """
        if value.dtype != np.float32:
            raise RoleError(f"a {value.dtype} tensor cannot be halved", expected="float32")
        flat = np.ascontiguousarray(value).reshape(-1)
        half, error = np.empty(flat.shape, np.float16), 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, flat.size, _PART):
                part, into = flat[start : start + _PART], half[start : start + _PART]
                into[:] = part
                off = into.astype(np.float32) - part  # exact: the two share their leading bits
                error += float(np.dot(off, off))
        if not np.isfinite(error):
            raise RoleError("a value cannot be halved", expected=f"finite, and at most {_LARGEST:g} in magnitude")
        return half.reshape(value.shape), bb.Record(bytes_in=value.nbytes, bytes_out=half.nbytes, distortion=error)

    def decode(self, ctx: bb.Context, encoded: Any) -> bb.Tensor:
        """Undo Encode.

        Raises:
            RoleError: it was never encoded.
        """
        if not isinstance(encoded, np.ndarray) or encoded.dtype != np.float16:
            what = encoded.dtype if isinstance(encoded, np.ndarray) else type(encoded).__name__
            raise RoleError(f"a {what} was never encoded", expected="a float16 tensor")
        return encoded.astype(np.float32)
