"""The compiled part of plans. `Machine` runs steps; `multiplier` is the matrix product."""

from __future__ import annotations

from functools import cache

from bb_plugins.backends.cpu.plans._machine import Call, Machine, ShapeChanged, address_in, convolver, filter_gradient
from bb_plugins.backends.cpu.plans._machine import multiplier as _multiplier

__all__ = ["Call", "Machine", "ShapeChanged", "address_in", "convolver", "filter_gradient", "multiplier"]


@cache
def multiplier() -> int:
    """Return the address of the kernel that multiplies matrices by SciPy's BLAS."""
    from bb_plugins.backends.cpu.blas import sgemm

    return int(_multiplier(sgemm()))
