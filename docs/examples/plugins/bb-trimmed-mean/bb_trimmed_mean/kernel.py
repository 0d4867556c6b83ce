"""The kernel. numba is imported with this file, so this file is imported when the first round is averaged."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, error_model="numpy")
def trimmed_mean(updates, trim, out):
    """Write the mean of each column without its `trim` largest and `trim` smallest to `out`.

    Args:
        updates: (peers, d) f32; 2 * trim < peers. It is put in order, as far as is needed.
        trim: How many are dropped at each end.
        out: (d,) f32.
    """
    peers, width = updates.shape
    for start in range(0, width, 1024):  # so many columns of all peers stay in the cache
        end = min(width, start + 1024)
        for done in range(trim):
            for row in range(done, peers - 1 - done):  # the largest sinks to the end
                _exchange(updates[row, start:end], updates[row + 1, start:end])
            for row in range(peers - 2 - done, done, -1):  # and the smallest rises to the front
                _exchange(updates[row - 1, start:end], updates[row, start:end])
        scale = np.float32(1 / (peers - 2 * trim))
        part = out[start:end]
        part[:] = 0
        for row in range(trim, peers - trim):
            kept = updates[row, start:end]
            for i in range(part.shape[0]):
                part[i] += scale * kept[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _exchange(low, high):
    """Give `low` the smaller of each pair of elements, and `high` the larger."""
    for i in range(low.shape[0]):
        a, b = low[i], high[i]
        low[i] = min(a, b)
        high[i] = max(b, a)
