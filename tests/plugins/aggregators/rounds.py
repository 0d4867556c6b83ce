"""Rounds of an Aggregator without a Node."""

from __future__ import annotations

from typing import Any

import numpy as np

import bb_core as bb
from tests.plugins.fake_context import FakeContext


def updates(count: int, size: int = 100, seed: int = 0) -> list[np.ndarray]:
    random = np.random.Generator(np.random.Philox(seed))
    return [random.standard_normal(size).astype(np.float32) for _ in range(count)]


def aggregated(
    aggregator: Any, given: list[np.ndarray], weights: list[Any] | None = None
) -> tuple[np.ndarray, bb.Record]:
    """One round of contributions by peers 0.., which come in some other order than that of the list."""
    ctx = FakeContext()
    ctx.request, ctx.is_response, ctx.requests = 7, True, (7,)
    cohort = bb.PeerList(bb.PeerId.from_int(n) for n in range(len(given)))
    for number in np.random.Generator(np.random.Philox(5)).permutation(len(given)):
        ctx.source = cohort[number]
        stats = bb.Record() if weights is None else bb.Record(num_samples=weights[number])
        aggregator.contribute(ctx, given[number], stats)
    aggregator.collect(ctx, cohort)
    assert ctx.closed == [7]
    found: tuple[np.ndarray, bb.Record] = aggregator.aggregate(ctx)
    return found
