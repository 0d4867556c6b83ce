"""What the harness makes of what it measures."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from bb_core.errors import RunFailed, UsageError
from bb_plugins.bench import harness, rates
from bb_plugins.bench.harness import Measure, Row, slope
from bb_plugins.bench.rates import KernelBenchmark
from bb_plugins.bench.triad import triad


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


# --- kernels ----------------------------------------------------------------------------------------------------------


def pairs(random: np.random.Generator, shape: Any, dtype: Any) -> tuple[Any, ...]:
    return random.standard_normal(shape).astype(dtype), np.empty(shape, dtype)


def twice(x: Any, out: Any) -> None:
    np.multiply(x, 2, out)


def moved(arguments: tuple[Any, ...]) -> float:
    return float(sum(a.nbytes for a in arguments))


def swept(kernel: Any = twice, **options: Any) -> list[Row]:
    rows: list[Row] = []
    given: dict[str, Any] = {"make": pairs, "shapes": [(10,), (3, 4)], "bytes_moved": moved}
    KernelBenchmark(Measure(None, rows, 2))("twice", kernel, **given | options)
    return rows


def test_each_shape_and_type_is_a_row_with_its_rate(clock: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes 100 ns; the limit moves ten times the bytes in 500, so it would take 50 for the same."""

    def limit(count: float, dtype: Any) -> Any:
        return "limit", work(clock, 500), 10 * count

    def kernel(x: Any, out: Any) -> None:
        work(clock, 100)()
        twice(x, out)

    monkeypatch.setattr(rates, "_triad", limit)
    rows = swept(kernel, dtypes=["float32", "float64"], oracle=lambda x, out: x * 2)
    assert [row.name for row in rows] == [
        "twice 10 float32",
        "twice 3 x 4 float32",
        "twice 10 float64",
        "twice 3 x 4 float64",
    ]
    assert [row.rate for row in rows] == [0.8, 0.96, 1.6, 1.92]
    assert {(row.unit, row.limit, row.limit_ratio) for row in rows} == {("GB/s", "limit", 2.0)}
    assert [row.limit_rate for row in rows] == [2 * (row.rate or 0) for row in rows]


def test_a_kernel_that_is_wrong_is_not_measured() -> None:
    with pytest.raises(RunFailed, match=r"twice 10 float32 is off by 1(.|\n)*at most 1e-05"):
        swept(oracle=lambda x, out: x * 2 + 1)
    with pytest.raises(RunFailed, match="shape"):
        swept(oracle=lambda x, out: x[:1])


def test_it_is_held_against_memory_or_arithmetic() -> None:
    for options in ({"flops": moved}, {"bytes_moved": None}):
        with pytest.raises(UsageError, match="one of `bytes_moved` and `flops`"):
            swept(**options)
    (row, _) = swept(bytes_moved=None, flops=lambda arguments: float(arguments[0].size))
    assert (row.unit, row.limit) == ("GFLOP/s", "BLAS")


def test_the_triad_is_a_triad() -> None:
    out, b, c = (np.full(5, fill, np.float32) for fill in (0, 1, 2))
    triad(out, b, c, np.float32(3))
    assert out.tolist() == [7] * 5
