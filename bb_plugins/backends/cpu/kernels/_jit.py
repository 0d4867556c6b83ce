"""How kernels are compiled. The flags stand here and nowhere else.

A kernel is compiled when it is first called, and kept on disk for the next process (numba's cache, keyed by CPU and
versions). A run stands still meanwhile, so each compilation is logged and noted in `COMPILED`; `bb warmup` does them
beforehand. `nogil` lets a host run other Nodes meanwhile; divisions follow numpy (no exception inside a kernel).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import event

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


COMPILED: Final[list[tuple[str, float]]] = []
"""What this process has compiled and not found on disk: (kernel, seconds, those that it calls included)."""


class _Compilations(event.Listener):
    """Notes what is compiled, when it has been; numba compiles one at a time, what a kernel calls within it."""

    def __init__(self) -> None:
        self._began: list[float] = []

    def on_start(self, event: Any) -> None:
        """A compilation begins."""
        self._began.append(perf_counter())

    def on_end(self, event: Any) -> None:
        """The one that began last has ended."""
        if not self._began:
            return  # it began before anyone listened
        seconds, function = perf_counter() - self._began.pop(), event.data["dispatcher"].py_func
        if function.__module__.startswith("bb_plugins."):
            COMPILED.append((function.__name__, seconds))
            _LOG.info("compiled %s in %.2f s; `bb warmup` does so before a run", function.__name__, seconds)


_LOG: Final = logging.getLogger(__name__)
event.register("numba:compile", _Compilations())
