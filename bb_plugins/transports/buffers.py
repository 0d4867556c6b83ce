"""Memory for large frames, used again as soon as nobody looks at it any more.

Fresh memory costs a page fault for every 4 KiB, which for a frame of 1 MiB is as dear as to copy it. Whoever holds a
frame, or an array that was decoded in place, holds a reference to its memory: when only the pool is left, it is free.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from sys import getrefcount
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

_KEPT: Final = 32 * 2**20
"""Bytes that are kept for the event loop of a thread."""
_ALIGNED: Final = 64


class _Memory(NamedTuple):
    array: npt.NDArray[np.uint8]
    skip: int
    size: int


def _references(kept: Sequence[_Memory], at: int) -> int:
    """How many look at a memory; asked in one place alone, since what itself counts differs between Pythons."""
    return getrefcount(kept[at].array)


_OURS: Final = _references([_Memory(np.empty(1, np.uint8), 0, 1)], 0)


class _Pool(threading.local):
    def __init__(self) -> None:
        self.kept: list[_Memory] = []
        self.size = 0


_pool = _Pool()


def take(size: int) -> memoryview:
    """Return memory of so many bytes, at an address where tensors can be read in place; its content is anything."""
    kept = _pool.kept
    for at in range(len(kept)):
        if size <= kept[at].size <= 2 * size and _references(kept, at) == _OURS:
            return _view(kept[at], size)
    array = np.empty(size + _ALIGNED, np.uint8)
    memory = _Memory(array, -array.ctypes.data % _ALIGNED, size)
    if size <= _KEPT:
        kept.append(memory)
        _pool.size += size
        while _pool.size > _KEPT:
            _pool.size -= kept.pop(0).size
    return _view(memory, size)


def _view(memory: _Memory, size: int) -> memoryview:
    return memory.array.data[memory.skip : memory.skip + size]
