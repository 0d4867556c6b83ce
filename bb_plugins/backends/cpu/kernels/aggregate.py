"""Sums over peers."""

from __future__ import annotations

from bb_plugins.backends.cpu.kernels._jit import kernel


@kernel
def add_scaled(total, update, scale):
    """Add `scale * update` to `total`, both (d,)."""
    for i in range(total.shape[0]):
        total[i] += scale * update[i]
