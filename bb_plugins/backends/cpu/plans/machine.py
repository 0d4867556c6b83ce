"""The compiled part of plans. `Machine` runs steps; `multiplier` is the matrix product."""

from __future__ import annotations

from functools import cache

from bb_plugins.backends.cpu.plans._machine import Call, Machine, ShapeChanged
from bb_plugins.backends.cpu.plans._machine import multiplier as _multiplier
from bb_plugins.backends.cpu.plans._machine import use_blas

__all__ = ["Call", "Machine", "ShapeChanged", "multiplier"]


@cache
def multiplier() -> int:
    """Return the address of the kernel that multiplies matrices by SciPy's BLAS."""
    from scipy.linalg import cython_blas

    use_blas(cython_blas.__pyx_capi__["sgemm"])
    return int(_multiplier())
