"""Sums over peers."""

from __future__ import annotations

from bb_plugins.backends.cpu.kernels._jit import kernel


@kernel
def add_scaled(total, update, scale):
    """Add `scale * update` to `total`, both (d,)."""
    for i in range(total.shape[0]):
        total[i] += scale * update[i]


@kernel
def add_four_scaled(total, scales, first, second, third, fourth):
    """Add four updates (d,) by their scales (4,) in one pass over `total`; the same bytes as by `add_scaled`."""
    a, b, c, d = scales[0], scales[1], scales[2], scales[3]
    for i in range(total.shape[0]):
        total[i] = (((total[i] + a * first[i]) + b * second[i]) + c * third[i]) + d * fourth[i]
