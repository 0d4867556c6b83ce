"""The BLAS of this process: how many threads it has, and its matrix product for kernels."""

from __future__ import annotations

from functools import cache
from typing import Any

_limited: dict[int, Any] = {}


def limit_blas(threads: int) -> None:
    """Give this process's BLAS so many threads, from now on."""
    if threads not in _limited:
        from threadpoolctl import ThreadpoolController

        _limited.clear()
        _limited[threads] = ThreadpoolController().limit(limits=threads, user_api="blas")


@cache
def sgemm() -> int:
    """Return the address of SciPy's matrix product of float32, which takes its arguments as Fortran does."""
    from scipy.linalg import cython_blas

    from bb_plugins.backends.cpu.plans.machine import address_in

    for threads in list(_limited):  # a library that has just been loaded has its own idea of how many
        _limited.clear()
        limit_blas(threads)
    return int(address_in(cython_blas.__pyx_capi__["sgemm"]))
