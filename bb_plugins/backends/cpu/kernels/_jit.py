"""How kernels are compiled. The flags stand here and nowhere else.

A kernel is compiled when it is first called, and kept on disk for the next process (numba's cache, keyed by CPU and
versions). `nogil` lets a host run other Nodes meanwhile; divisions follow numpy (no exception inside a kernel).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile for one thread, without fast-math: equal inputs give equal bytes."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
