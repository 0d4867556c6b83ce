"""How kernels are compiled. The flags stand here and nowhere else.

A kernel is compiled when it is first called, and kept on disk for the next process (numba's cache, keyed by CPU and
versions). `nogil` lets a host run other Nodes meanwhile; divisions follow numpy (no exception inside a kernel).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])

REDUCTION_FLAGS: Final = frozenset({"reassoc", "contract", "nsz"})
"""What a reduction may do: add in lanes, and multiply and add in one rounding. NaN and infinity keep their meaning."""


def kernel(function: F) -> F:
    """Compile for one thread, without fast-math: equal inputs give equal bytes."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def reduction(function: F) -> F:
    """Compile a sum over many elements, for one thread, in the order that the CPU's vectors suggest.

    Equal inputs give equal bytes on CPUs with vectors of equal width, as in BLAS.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=set(REDUCTION_FLAGS))(function))
