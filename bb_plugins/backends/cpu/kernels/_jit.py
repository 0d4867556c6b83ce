"""How kernels are compiled. The flags stand here and nowhere else.

A kernel is compiled when it is first called, and kept on disk for the next process (numba's cache, keyed by CPU and
versions). A run stands still meanwhile, so each compilation is logged and noted in `COMPILED`; `bb warmup` does them
beforehand. `nogil` lets a host run other Nodes meanwhile; divisions follow numpy (no exception inside a kernel).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
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


class Native:
    """A kernel that a plan calls by its address, without Python. It is compiled when it is first asked for.

    Args:
        function: Takes int64 only, and returns nothing.
        words: How many it takes.
    """

    def __init__(self, function: Callable[..., None], words: int) -> None:
        self._function, self._words = function, words
        self.__doc__, self.__name__ = function.__doc__, function.__name__

    @cached_property
    def address(self) -> int:
        """Where its machine code stands. It stays there while this object lives."""
        signature = numba.void(*[numba.int64] * self._words)
        began = perf_counter()
        kept = Path(self._function.__code__.co_filename).is_absolute()
        self._compiled = numba.cfunc(signature, cache=kept, error_model="numpy")(self._function)
        if not self._compiled.cache_hits:
            _note(self.__name__, perf_counter() - began)
        return int(cast(Any, self._compiled).address)

    @property
    def cache(self) -> str:
        """Where it is kept on disk."""
        return str(self.address and cast(Any, self._compiled)._cache.cache_path)


def native(function: Callable[[Any, Any], None]) -> Native:
    """Make a kernel of a plan: it takes the addresses of its parameters and of the plan's table of buffers."""
    return Native(function, 2)


def loop(function: Callable[[Any, Any, Any, Any, Any], None]) -> Native:
    """Make a loop over the elements of a tile: addresses of its output and three inputs, and how many there are."""
    return Native(function, 5)


def inlined(function: F) -> F:
    """Compile as a part of each kernel that calls it, so that a loop around the call can become vector code.

    It may multiply and add in one rounding, as CPUs of one kind all do.
    """
    return cast(F, numba.njit(nogil=True, error_model="numpy", forceinline=True, fastmath={"contract"})(function))


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
            _note(function.__name__, seconds)


def _note(name: str, seconds: float) -> None:
    COMPILED.append((name, seconds))
    _LOG.info("compiled %s in %.2f s; `bb warmup` does so before a run", name, seconds)


_LOG: Final = logging.getLogger(__name__)
event.register("numba:compile", _Compilations())
