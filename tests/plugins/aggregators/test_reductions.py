"""The reductions against their oracles in f64, what memory they take, and that their bytes are always the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bb_core.errors import ContributionRefused
from bb_plugins.aggregators import reductions
from bb_plugins.aggregators.reductions import (
    coordinate_median,
    network,
    squared_distances,
    trimmed_mean,
    weighted_mean,
)
from tests.oracles import aggregation as oracle
from tests.plugins.aggregators.rounds import updates

ROOT = Path(__file__).parents[3]
ULP = 2.0**-24  # half of the distance of 1 to the next f32


def largest(many: list[np.ndarray]) -> float:
    return max((float(np.abs(u).max()) for u in many if u.size), default=0.0)


# --- right ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 10, 33])
def test_a_list_and_a_stream_give_the_same_bytes(count: int) -> None:
    many, weights = updates(count, 1000), list(range(1, count + 1))
    streamed = weighted_mean(iter(many), weights)
    assert streamed.tobytes() == weighted_mean(many, weights).tobytes()
    one_by_one = np.zeros(1000, np.float32)
    for update, weight in zip(many, weights, strict=True):
        one_by_one += np.float32(weight / sum(weights)) * update
    assert streamed.tobytes() == one_by_one.tobytes()


@pytest.mark.parametrize(("updates_given", "weights"), [(3, 4), (5, 4), (9, 8), (8, 9)])
def test_as_many_weights_as_updates(updates_given: int, weights: int) -> None:
    with pytest.raises(ValueError, match=r"weights|zip"):
        weighted_mean(updates(updates_given), [1] * weights)


@pytest.mark.parametrize("odd", [np.ones(1), np.ones(99), np.ones(101), np.ones((10, 10))])
@pytest.mark.parametrize("place", [0, 2, 5])
@pytest.mark.parametrize("name", ["mean", "median", "trimmed", "distances"])
def test_an_update_of_another_shape_is_refused(name: str, place: int, odd: np.ndarray) -> None:
    """It can come before the round has begun, when there is nothing to compare it with."""
    many = updates(6)
    many[place] = odd.astype(np.float32)
    with pytest.raises(ContributionRefused, match="of shape"):
        REDUCTIONS[name](many)


@given(st.integers(1, 70), st.integers(0, 1000), st.floats(0, 0.49))
@settings(deadline=None)
def test_medians_and_trimmed_means_agree_with_numpy(count: int, seed: int, trim: float) -> None:
    many, dropped = updates(count, 37, seed), int(trim * count)
    found = trimmed_mean(many, dropped)
    assert np.abs(found - oracle.trimmed_mean(many, dropped)).max() <= (count + 1) * ULP * largest(many)
    np.testing.assert_array_equal(coordinate_median(many), oracle.median(many).astype(np.float32))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 2**15 + 1])
@pytest.mark.parametrize("count", [1, 2, 10, 130])
def test_every_column_of_every_block_is_done(count: int, size: int) -> None:
    many = updates(count, size)
    np.testing.assert_array_equal(coordinate_median(many), oracle.median(many).astype(np.float32))
    np.testing.assert_allclose(squared_distances(many), oracle.squared_distances(many), rtol=1e-5)


def test_above_the_networks_it_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    many = updates(20, 1000)
    by_network = trimmed_mean(many, 3)
    monkeypatch.setattr(reductions, "_NETWORK_ROWS", 19)
    assert trimmed_mean(many, 3).tobytes() == by_network.tobytes()


@pytest.mark.parametrize("count", [9, 10])
def test_the_order_of_updates_does_not_matter(count: int) -> None:
    many = updates(count, 1000)
    assert trimmed_mean(many, 2).tobytes() == trimmed_mean(many[::-1], 2).tobytes()
    np.testing.assert_array_equal(squared_distances(many), squared_distances(many[::-1])[::-1, ::-1])


@pytest.mark.parametrize("rows", range(1, 14))
def test_a_pruned_network_puts_what_is_kept_in_order(rows: int) -> None:
    for trim in {0, 1, (rows - 1) // 2} - ({1} if rows < 3 else set()):
        assert oracle.sorts(network(rows, trim), rows, range(trim, rows - trim))


def test_ties_and_extremes() -> None:
    many = [np.array(u, np.float32) for u in ([1, 3e38, -3e38, 0], [1, 3e38, 3e38, -0.0], [1, 3e38, 3e38, 5])]
    np.testing.assert_array_equal(trimmed_mean(many[:2], 0), np.array([1, 3e38, 0, 0], np.float32))
    np.testing.assert_array_equal(coordinate_median(many), np.array([1, 3e38, 3e38, 0], np.float32))
    assert np.isfinite(trimmed_mean(many, 0)).all()


@pytest.mark.parametrize("reduce", [coordinate_median, lambda many: weighted_mean(many, [1] * 10), squared_distances])
def test_other_types_and_layouts_are_the_same_numbers(reduce: Callable[[list[np.ndarray]], np.ndarray]) -> None:
    plain = [u.astype(np.float16).astype(np.float32) for u in updates(10, 60)]
    plain = [u.reshape(6, 10) for u in plain]
    unaligned = np.frombuffer(b"." + b"".join(u.tobytes() for u in plain), np.uint8)[1:].view(np.float32)
    for other in (
        [u.astype(np.float64) for u in plain],
        [u.astype(np.float16) for u in plain],
        [np.asfortranarray(u) for u in plain],
        [np.repeat(u, 2, axis=1)[:, ::2] for u in plain],
        list(unaligned.reshape(10, 6, 10)),
    ):
        np.testing.assert_array_equal(reduce(other), reduce(plain))


@pytest.mark.parametrize("count", [5, 8, 30])
@pytest.mark.parametrize("apart", [1e-3, 1e-5])
def test_close_updates_do_not_suffer_from_cancellation(count: int, apart: float) -> None:
    """Late in training all updates are almost alike. A Gram product in f32 then has no correct digit left."""
    start, size = np.float32(100), 5000
    many = [start + np.float32(apart) * u for u in updates(count, size)]
    exact = oracle.squared_distances(many)
    np.testing.assert_allclose(squared_distances(many), exact, rtol=1e-5)
    stack = np.stack(many)
    gram = stack @ stack.T
    naive = np.diag(gram)[:, None] + np.diag(gram) - 2 * gram
    off = ~np.eye(count, dtype=bool) & (exact > 0)
    assert np.median(np.abs(naive - exact)[off] / exact[off]) > 0.1  # what is avoided


def test_distances_are_a_metrics() -> None:
    many = updates(7, 3000)
    many[3] = many[5].copy()
    found = squared_distances(many)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 0).all()
    assert found[3, 5] == 0
    assert (found >= 0).all()


# --- in how much memory -----------------------------------------------------------------------------------------------

REDUCTIONS: dict[str, Callable[[list[np.ndarray]], Any]] = {
    "mean": lambda many: weighted_mean(many, [1] * len(many)),
    "median": coordinate_median,
    "trimmed": lambda many: trimmed_mean(many, 2),
    "distances": squared_distances,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_temporary_has_the_size_of_the_stack(name: str, dtype: Any) -> None:
    many = [u.astype(dtype) for u in updates(40, 300_000)]
    REDUCTIONS[name](many[:5])  # compiled, or loaded
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        result = REDUCTIONS[name](many)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    one = 4 * many[0].size
    assert peak - result.nbytes <= reductions._BLOCK_BYTES + (4 * one if dtype is not np.float32 else 0) + 2**17
    assert peak < 40 * one / 4


def test_a_stream_holds_four_updates_at_most() -> None:
    alive = most = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            if self.base is None:
                alive -= 1

    def stream() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for _ in range(21):
            made = Counted(50, np.float32)
            made[:] = 1
            alive += 1
            most = max(most, alive)
            yield made
            del made

    np.testing.assert_allclose(weighted_mean(stream(), [1] * 21), 1, rtol=1e-6)
    assert alive == 0
    assert most <= 5  # the four of a group, and the one that is being made


# --- always the same --------------------------------------------------------------------------------------------------

SCRIPT = """
import hashlib, sys
from tests.plugins.aggregators.rounds import updates
from tests.plugins.aggregators.test_reductions import digest
print(digest())
"""


def digest() -> str:
    many = updates(23, 70_001, seed=3)
    return hashlib.sha256(b"".join(np.asarray(r(many)).tobytes() for r in REDUCTIONS.values())).hexdigest()


def test_concurrent_calls_give_the_same_bytes() -> None:
    alone = digest()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: digest(), range(8))) == {alone}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_processes_with_any_number_of_threads_give_the_same_bytes(threads: str) -> None:
    pools = dict.fromkeys(("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), threads)
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=os.environ | pools, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == digest()
