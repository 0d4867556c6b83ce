"""`Int8Affine`: float32 travels as int8, with a scale and a zero for each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import RoleError
from bb_plugins.codecs.fields import size_of, tensor

_LARGEST: Final = 1e38  # in magnitude: what is decoded is off by half a step at most, and must not become infinite
_SMALLEST: Final = float(np.finfo(np.float32).tiny)  # of a scale: a quotient by it is a number


@bb.concrete("bytesandbrains.Int8Affine")
class Int8Affine(bb.roles.Codec):
    """Round to 256 steps between a block's smallest and largest, zero being one of them (Jacob et al. 2018, eq. 1).

    With the code q, scale S and zero-point Z of its block, value = S (q - Z). A block of its own for each few thousand
    elements keeps one large element from costing all others their precision (Dettmers et al. 2022, section 2.1). The
    error of an element is at most S / 2, and zero stays zero.

    Shape:
        value (...) f32 · encoded: a Record of `codes` (...) i8, `scales` (b,) f32 and `zeros` (b,) i8, for b blocks
    """

    has_state: ClassVar[bool] = False

    @dataclass(frozen=True, slots=True)
    class Config:
        """How fine."""

        block: int = 4096
        """So many elements share a scale and a zero; 5 bytes for each block. Both ends need the same."""

        def __post_init__(self) -> None:
            if self.block < 1:
                raise ValueError(f"block is {self.block}; expected at least 1")

    def encode(self, ctx: bb.Context, value: bb.Tensor) -> tuple[bb.Record, bb.Record]:
        """Compress.

        Raises:
            RoleError: the value is no f32, or holds NaN, infinity or a magnitude above 1e38.
        """
        from bb_plugins.codecs.kernels import int8_error, to_int8

        if value.dtype != np.float32:
            raise RoleError(f"a {value.dtype} tensor cannot be quantised", expected="float32")
        flat, block = np.ascontiguousarray(value).reshape(-1), self.config.block
        flat = flat.view()
        flat.flags.writeable = False
        low, high = _ranges(flat, block)
        if not np.all((low >= -_LARGEST) & (high <= _LARGEST)):
            raise RoleError("a value cannot be quantised", expected=f"finite, and at most {_LARGEST:g} in magnitude")
        scales = np.maximum((high.astype(np.float64) - low) / 255, _SMALLEST).astype(np.float32)
        zeros = np.clip(np.rint(-128 - low.astype(np.float64) / scales), -128, 127).astype(np.int8)
        codes = np.empty(flat.shape, np.int8)
        to_int8(flat, block, scales, zeros, codes)
        error = int8_error(flat, block, scales, zeros, codes)
        encoded = bb.Record(codes=codes.reshape(value.shape), scales=scales, zeros=zeros)
        return encoded, bb.Record(bytes_in=value.nbytes, bytes_out=size_of(encoded), distortion=float(error))

    def decode(self, ctx: bb.Context, encoded: bb.Record) -> bb.Tensor:
        """Undo Encode.

        Raises:
            RoleError: it was never encoded, or with another `block`.
        """
        from bb_plugins.codecs.kernels import from_int8

        codes = tensor(encoded, "codes", np.int8)
        blocks = -(-codes.size // self.config.block)
        scales, zeros = tensor(encoded, "scales", np.float32, 1), tensor(encoded, "zeros", np.int8, 1)
        if not len(scales) == len(zeros) == blocks:
            raise RoleError(
                f"{codes.size} codes have {len(scales)} scales and {len(zeros)} zeros",
                expected=f"{blocks} of each, for blocks of {self.config.block}",
                hint="configure both ends alike",
            )
        if not np.all((scales > 0) & np.isfinite(scales)):
            raise RoleError("a scale is not above 0, or no number", expected="what Encode gives")
        values = np.empty(codes.shape, np.float32)
        from_int8(codes.reshape(-1), self.config.block, scales, zeros, values.reshape(-1))
        return values


def _ranges(flat: npt.NDArray[np.float32], block: int) -> tuple[Any, Any]:
    """Return the smallest and the largest of each block, and of zero."""
    whole = flat.size // block * block
    rows, rest = flat[:whole].reshape(-1, block), flat[whole:]
    low, high = rows.min(axis=1, initial=0), rows.max(axis=1, initial=0)
    if rest.size:
        low, high = np.append(low, rest.min(initial=0)), np.append(high, rest.max(initial=0))
    return low, high
