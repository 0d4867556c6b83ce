"""The kernel against which memory-bound ones are held. It stands alone, for numba is imported with it."""

from __future__ import annotations

from typing import Any

from bb_plugins.backends.cpu.kernels._jit import kernel


@kernel
def triad(a: Any, b: Any, c: Any, factor: Any) -> None:
    """Write b + factor * c to a, as STREAM's triad does."""
    for i in range(a.shape[0]):
        a[i] = b[i] + factor * c[i]
