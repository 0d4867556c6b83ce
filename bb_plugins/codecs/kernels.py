"""What `Int8Affine` does to many numbers. No kernel allocates: what is written is given."""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import kernel, reduction


@kernel
def to_int8(values, block, scales, zeros, codes):
    """Write round(value / scale) + zero, within -128..127; halves go to the even number.

    Args:
        values: (n,) f32.
        block: So many values share a scale and a zero.
        scales: (ceil(n / block),) f32, above 0.
        zeros: The same number, i8.
        codes: (n,) i8.
    """
    for b in range(scales.shape[0]):
        scale, zero = scales[b], np.float32(zeros[b])
        part, out = values[b * block : (b + 1) * block], codes[b * block : (b + 1) * block]
        for i in range(part.shape[0]):
            code = np.rint(part[i] / scale) + zero
            code = min(code, np.float32(127))
            out[i] = np.int8(max(code, np.float32(-128)))


@kernel
def from_int8(codes, block, scales, zeros, values):
    """Write (code - zero) * scale; the arguments are those of `to_int8`."""
    for b in range(scales.shape[0]):
        scale, zero = scales[b], np.float32(zeros[b])
        part, out = codes[b * block : (b + 1) * block], values[b * block : (b + 1) * block]
        for i in range(part.shape[0]):
            out[i] = (np.float32(part[i]) - zero) * scale


@reduction
def int8_error(values, block, scales, zeros, codes):
    """Return the sum of ((code - zero) * scale - value)^2, in f64; the arguments are those of `to_int8`."""
    total = 0.0
    for b in range(scales.shape[0]):
        scale, zero = scales[b], np.float32(zeros[b])
        part, coded = values[b * block : (b + 1) * block], codes[b * block : (b + 1) * block]
        for i in range(part.shape[0]):
            off = np.float64((np.float32(coded[i]) - zero) * scale - part[i])
            total += off * off
    return total
