"""What aggregation that withstands liars needs: coordinates in order of size, and distances between updates.

All take a block of the updates' columns, (K, width or more) f32: one row for each of K peers.
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import kernel, reduction

_PART = 512  # columns that are sorted together: K rows of 2 KiB stay in the L2 cache up to some hundred peers


@kernel
def sort_columns(block, width, comparators):
    """Put the first `width` columns in order of size by a network of comparators, (n, 2) pairs of rows."""
    for start in range(0, width, _PART):
        end = min(width, start + _PART)
        for c in range(comparators.shape[0]):
            _exchange(block[comparators[c, 0], start:end], block[comparators[c, 1], start:end])


@kernel
def _exchange(low, high):
    """Let `low` have the smaller of each pair of elements, and `high` the other."""
    for i in range(low.shape[0]):
        a, b = low[i], high[i]
        swap = b < a
        low[i] = b if swap else a
        high[i] = a if swap else b


@kernel
def mean_of_rows(block, low, high, out):
    """Write the mean of the rows low..high-1 to `out` (width,); each is scaled and then added, so no sum overflows."""
    scale = np.float32(1 / (high - low))
    first = block[low]
    for i in range(out.shape[0]):
        out[i] = scale * first[i]
    for row in range(low + 1, high):
        more = block[row]
        for i in range(out.shape[0]):
            out[i] += scale * more[i]


@reduction
def add_squared_distances(block, width, total):
    """Add what `width` columns give to the squared distances of each two rows; their number is a multiple of four.

    `total` (K, K) f64 is right above its diagonal. Sixteen pairs at a time, for then each element that is loaded is
    used four times. The differences themselves are squared: of two vectors that are close, |a|^2 + |b|^2 - 2ab would be
    all rounding error.
    """
    for i in range(0, block.shape[0], 4):
        for j in range(i, block.shape[0], 4):
            _add_sixteen(
                block[i, :width],
                block[i + 1, :width],
                block[i + 2, :width],
                block[i + 3, :width],
                block[j, :width],
                block[j + 1, :width],
                block[j + 2, :width],
                block[j + 3, :width],
                total[i : i + 4, j : j + 4],
            )


@reduction
def _add_sixteen(a0, a1, a2, a3, b0, b1, b2, b3, total):
    """The squared distances of four rows from four; the sums have names of their own so that registers hold them."""
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = np.float32(0)
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = np.float32(0)
    for i in range(a0.shape[0]):
        x0, x1, x2, x3 = a0[i], a1[i], a2[i], a3[i]
        y0, y1, y2, y3 = b0[i], b1[i], b2[i], b3[i]
        s00 += (x0 - y0) * (x0 - y0)
        s01 += (x0 - y1) * (x0 - y1)
        s02 += (x0 - y2) * (x0 - y2)
        s03 += (x0 - y3) * (x0 - y3)
        s10 += (x1 - y0) * (x1 - y0)
        s11 += (x1 - y1) * (x1 - y1)
        s12 += (x1 - y2) * (x1 - y2)
        s13 += (x1 - y3) * (x1 - y3)
        s20 += (x2 - y0) * (x2 - y0)
        s21 += (x2 - y1) * (x2 - y1)
        s22 += (x2 - y2) * (x2 - y2)
        s23 += (x2 - y3) * (x2 - y3)
        s30 += (x3 - y0) * (x3 - y0)
        s31 += (x3 - y1) * (x3 - y1)
        s32 += (x3 - y2) * (x3 - y2)
        s33 += (x3 - y3) * (x3 - y3)
    sums = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
    for row in range(4):
        for column in range(4):
            total[row, column] += sums[row][column]
