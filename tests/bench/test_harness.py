"""What the harness makes of what it measures."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from bb_plugins.bench import harness
from bb_plugins.bench.harness import Measure, Row, slope


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that moves only when what is measured moves it."""
    now = [0]
    monkeypatch.setattr(harness, "perf_counter_ns", lambda: now[0])
    monkeypatch.setattr(harness, "process_time_ns", lambda: now[0])
    return now


def work(clock: list[int], nanoseconds: int) -> Any:
    def run() -> None:
        clock[0] += nanoseconds

    return run


def test_a_slope_leaves_fixed_costs_out(clock: list[int]) -> None:
    tell = slope(work(clock, 5000 + 1000 * 20), work(clock, 5000 + 100 * 20), 900)
    assert tell() == 20.0


def test_told_times_are_rows_like_others(clock: list[int]) -> None:
    rows: list[Row] = []
    ours, peer = (slope(work(clock, 100 * each), work(clock, 10 * each), 90) for each in (30, 10))
    row = Measure(None, rows, 5)("op", ours, peer=("theirs", peer), timed=True)
    assert (row.ours_ns, row.peer_ns, row.ratio, row.spread) == (30.0, 10.0, 3.0, 0.0)
    assert rows == [row]


def test_no_side_pays_for_collecting_garbage() -> None:
    seen: list[bool] = []

    def tell() -> int:
        seen.append(gc.isenabled())
        return 1

    Measure(None, [], 2)("op", tell, peer=("theirs", tell), limit=("least", tell), timed=True)
    assert gc.isenabled()
    assert not any(seen[3:])  # the first three are warm-up
