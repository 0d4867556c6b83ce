"""Memory of large frames is used again when nobody looks at it, and never before."""

from __future__ import annotations

import numpy as np
import pytest

from bb_plugins.transports import buffers
from bb_plugins.transports.buffers import take


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_pool", buffers._Pool())


def place(view: memoryview) -> int:
    return np.frombuffer(view, np.uint8).ctypes.data


def test_memory_is_used_again() -> None:
    first = take(100_000)
    where = place(first)
    assert where % 64 == 0
    assert len(first) == 100_000
    del first
    assert place(take(90_000)) == where


def test_memory_that_somebody_holds_is_left_alone() -> None:
    holders = []
    for hold in (
        lambda v: v,
        lambda v: v[10:20],
        lambda v: v[10:20].cast("H"),
        lambda v: np.frombuffer(v[64:128], np.float32),
        lambda v: np.frombuffer(v, np.uint8)[5:6].reshape(1, 1),
    ):
        holders.append(hold(take(100_000)))
    places = {place(take(100_000)) for _ in range(2)}
    assert len(places) == 1
    assert len(buffers._pool.kept) == len(holders) + 1


def test_what_is_kept_is_bounded() -> None:
    held = [take(10 * 2**20) for _ in range(5)]
    assert buffers._pool.size <= 32 * 2**20
    assert len({place(view) for view in held}) == 5
    take(40 * 2**20)
    assert buffers._pool.size <= 32 * 2**20
