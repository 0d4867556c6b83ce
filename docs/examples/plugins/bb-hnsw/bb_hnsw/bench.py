"""`bb bench hnsw`: the graph beside the exact scan of `FlatIndex`. What is found is held against it too."""

from typing import Any

import numpy as np
import pytest

from bb_core.testing import FakeContext
from bb_hnsw import Hnsw
from bb_plugins.indexes.flat import FlatIndex

COUNT, DIM, K = 20_000, 64, 10


@pytest.fixture(scope="module")
def indexes() -> Any:
    """Both, filled alike; and queries that are near to what is stored."""
    random = np.random.Generator(np.random.Philox(0))
    stored = random.standard_normal((COUNT, DIM)).astype(np.float32)
    near = stored[:100] + random.standard_normal((100, DIM)).astype(np.float32) * np.float32(0.3)
    graph, exact = Hnsw(Hnsw.Config(dim=DIM, background=False)), FlatIndex(FlatIndex.Config(dim=DIM))
    for index in (graph, exact):
        index.add(FakeContext(), stored)
    return graph, exact, near


@pytest.mark.parametrize("queries", [1, 64])
def test_bench_search(row: Any, indexes: Any, queries: int) -> None:
    graph, exact, near = indexes
    query, ctx = near[:queries], FakeContext()
    found, scanned = (index.search(ctx, query, k=K)[0] for index in (graph, exact))
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), scanned.tolist(), strict=True)])
    row(
        f"{queries} of {COUNT:,} x {DIM}, recall {recall:.0%}",
        lambda: graph.search(ctx, query, k=K),
        peer=("FlatIndex", lambda: exact.search(ctx, query, k=K)),
    )
