"""Exact nearest neighbours, beside what others do with the same vectors.

Peers: faiss's `IndexFlatL2` and `IndexFlatIP` and usearch's exact search, on one thread, each where it is installed;
and numpy's one product with `argpartition`, which for `l2` is |b|^2 - 2ab and fails where vectors are close. The limit
of one query is one read of all vectors, by BLAS; of many, the product of all queries with all vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest

from bb_core.testing import FakeContext
from bb_plugins.backends.cpu.blas import limit_blas
from bb_plugins.bench.harness import Call, Measure
from bb_plugins.indexes.flat import FlatIndex

F32 = npt.NDArray[np.float32]

_K: Final = 10
_SIZES: Final = ((100_000, 32), (100_000, 128), (20_000, 768))
_CTX: Final = FakeContext()


@cache
def _vectors(count: int, dim: int, seed: int) -> F32:
    return np.random.Generator(np.random.Philox(seed)).standard_normal((count, dim), np.float32)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    limit_blas(1)
    yield
    _vectors.cache_clear()


def _index(stored: F32, metric: str) -> FlatIndex:
    index = FlatIndex(FlatIndex.Config(metric=metric))
    index.add(_CTX, stored)
    return index


def _numpy(stored: F32, query: F32, metric: str) -> Callable[[], Any]:
    lengths = np.einsum("ij,ij->i", stored, stored)

    def search() -> Any:
        scores = query @ stored.T
        scores = lengths - 2 * scores if metric == "l2" else -scores
        near = np.argpartition(scores, _K, axis=1)[:, :_K]
        return np.take_along_axis(near, np.argsort(np.take_along_axis(scores, near, 1), axis=1), 1)

    return search


def _faiss(stored: F32, query: F32, metric: str) -> Callable[[], Any]:
    faiss: Any = pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    faiss.omp_set_num_threads(1)
    index = (faiss.IndexFlatL2 if metric == "l2" else faiss.IndexFlatIP)(stored.shape[1])
    index.add(stored)
    return lambda: index.search(query, _K)[1]


def _usearch(stored: F32, query: F32, metric: str) -> Callable[[], Any]:
    library: Any = pytest.importorskip("usearch.index", reason="usearch is not installed: pip install usearch")
    kind = {"l2": library.MetricKind.L2sq, "inner_product": library.MetricKind.IP}[metric]
    return lambda: library.search(stored, query, _K, kind, exact=True, threads=1).keys


_PEERS: Final = {"numpy": _numpy, "faiss": _faiss, "usearch": _usearch}


def _limit(stored: F32, query: F32) -> tuple[str, Call]:
    if len(query) == 1:
        return "read once", lambda: stored @ query[0]
    return "Q @ X.T", lambda: query @ stored.T


@pytest.mark.parametrize("peer", _PEERS)
@pytest.mark.parametrize("metric", ["l2", "inner_product"])
@pytest.mark.parametrize("queries", [1, 64])
@pytest.mark.parametrize(("count", "dim"), _SIZES)
def test_search(row: Measure, count: int, dim: int, queries: int, metric: str, peer: str) -> None:
    """The ten nearest of one query, and of 64 at once."""
    stored, query = _vectors(count, dim, 0), _vectors(queries, dim, 1)
    theirs = _PEERS[peer](stored, query, metric)
    index = _index(stored, metric)
    found, _ = index.search(_CTX, query, k=_K)
    assert np.mean(np.asarray(theirs()).reshape(queries, _K) == found) > 0.99  # but for ties and their rounding
    row(
        f"{metric}: {queries} of {count:,} x {dim}",
        lambda: index.search(_CTX, query, k=_K),
        peer=(peer, theirs),
        limit=_limit(stored, query),
    )


def _scan(random: np.random.Generator, shape: Any, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    count, dim, queries = shape
    index = _index(random.standard_normal((count, dim), dtype), "l2")
    return index, random.standard_normal((queries, dim), dtype)


def test_rate(kernel_benchmark: Any) -> None:
    """The scan over sizes: of one query by what it reads, of 64 by its three operations for each element."""

    def search(index: FlatIndex, query: F32) -> Any:
        return index.search(_CTX, query, k=_K)[1]

    def plainly(index: FlatIndex, query: F32) -> Any:
        stored = index.snapshot()["vectors"].astype(np.float64)
        far = np.stack([((stored - row) ** 2).sum(axis=1) for row in query])
        return np.sort(np.partition(far, _K, axis=1)[:, :_K], axis=1)

    sizes = ((1_000, 128), (100_000, 32), (100_000, 128), (20_000, 768))
    kernel_benchmark(
        "scan",
        search,
        make=_scan,
        shapes=[(*size, 1) for size in sizes],
        bytes_moved=lambda args: 4.0 * int(args[0].size(_CTX)) * args[1].shape[1],
        oracle=plainly,
    )
    kernel_benchmark(
        "scan",
        search,
        make=_scan,
        shapes=[(*size, 64) for size in sizes],
        flops=lambda args: 3.0 * int(args[0].size(_CTX)) * args[1].size,
        oracle=plainly,
    )


def test_add_and_remove(row: Measure) -> None:
    """A thousand vectors come and go among a hundred thousand."""
    stored, more = _vectors(100_000, 128, 0), _vectors(1000, 128, 1)
    index, ids = _index(stored, "l2"), np.arange(10**6, 10**6 + 1000)
    kept: list[Any] = [np.zeros((128_000, 128), np.float32), np.arange(100_000)]
    kept[0][:100_000] = stored

    def ours() -> None:
        index.add(_CTX, more, ids)
        index.remove(_CTX, ids)

    def by_numpy() -> None:
        kept[0] = np.concatenate([stored, more])
        kept[1] = np.concatenate([kept[1], ids])
        left = ~np.isin(kept[1], ids)
        kept[0], kept[1] = kept[0][left], kept[1][left]

    row(
        "add and remove 1,000 among 100,000 x 128",
        ours,
        peer=("numpy's concatenate and mask", by_numpy),
        limit=("copy them", more.copy),
    )


def test_memory(row: Measure) -> None:
    """What is kept for each vector, beside the vector itself."""
    index = _index(_vectors(100_000, 128, 0), "l2")
    held = sum(array.nbytes for array in vars(index).values() if isinstance(array, np.ndarray))
    row.memory("memory of 100,000 x 128", held, peer=("the vectors", 100_000 * 128 * 4))
