"""Many updates to one, beside what others do with the same.

Peers: Flower's weighted average (`flwr.server.strategy.aggregate.aggregate`, or where Flower is not installed the same
steps written again, as each row says); `np.median` along the stack, for medians and trimmed means alike; and, for the
distances of Krum, the one product `X @ X.T` by BLAS, which leaves out what makes distances of it and which fails where
updates are close. The limit is one read of every update, by BLAS too.

The updates are four layers for Flower, as a small network has them, and one vector for us: views of the same memory.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import cache, reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest

import bb_core as bb
from bb_plugins.aggregators.fedavg import FedAvg
from bb_plugins.aggregators.reductions import coordinate_median, squared_distances, trimmed_mean, weighted_mean
from bb_plugins.backends.cpu.blas import limit_blas
from bb_plugins.bench.harness import Call, Measure

F32 = npt.NDArray[np.float32]
Result = tuple[list[F32], int]
"""What a client of Flower answers: its layers, and how many examples it has."""

_MILLION: Final = 1_000_000
_CUTS: Final = (0.5, 0.25, 0.249, 0.001)  # shares of the parameters in each layer


@cache
def _stack(peers: int, size: int) -> F32:
    """Some updates; those of the last test are forgotten, for they are large."""
    return np.random.Generator(np.random.Philox(0)).standard_normal((peers, size), np.float32)


@pytest.fixture(autouse=True)
def _forget() -> Any:
    limit_blas(1)
    yield
    _stack.cache_clear()


def _read(updates: list[F32]) -> tuple[str, Call]:
    return "read once", lambda: [np.dot(update, update) for update in updates]


# --- means ------------------------------------------------------------------------------------------------------------


def _weighted_average(results: list[Result]) -> list[F32]:
    """Flower's steps: a scaled copy of every layer, a sum of two at a time, a division."""
    whole = sum(count for _, count in results)
    scaled = [[layer * count for layer in layers] for layers, count in results]
    return [reduce(np.add, same) / whole for same in zip(*scaled, strict=True)]


def _flower() -> tuple[str, Callable[[list[Result]], list[F32]]]:
    try:
        from flwr.server.strategy.aggregate import aggregate
    except ImportError:
        return "Flower's steps", _weighted_average
    return "Flower", aggregate


@pytest.mark.parametrize(("peers", "size"), [(10, _MILLION), (100, _MILLION), (10, 10 * _MILLION)])
def test_mean(row: Measure, peers: int, size: int) -> None:
    """FedAvg's sum, of a list and of a stream; and the whole Concrete, which looks for NaN first."""
    updates, weights = list(_stack(peers, size)), list(range(50, 50 + peers))
    ends = np.cumsum([int(share * size) for share in _CUTS[:-1]]).tolist()
    results: list[Result] = [(np.split(u, ends), w) for u, w in zip(updates, weights, strict=True)]
    name, aggregate = _flower()
    flower, limit = (name, lambda: aggregate(results)), _read(updates)
    np.testing.assert_allclose(np.concatenate(aggregate(results)), weighted_mean(updates, weights), atol=1e-5)

    fedavg = FedAvg(FedAvg.Config())
    given = [
        bb.roles.Contribution(bb.PeerId.from_int(n), update, bb.Record(num_samples=weight))
        for n, (update, weight) in enumerate(zip(updates, weights, strict=True))
    ]
    ctx: Any = None  # FedAvg asks nothing of it

    def whole() -> Any:
        for contribution in given:
            fedavg.accept(ctx, contribution)
        return fedavg.combine(ctx, given)

    title = f"mean of {peers} x {size:,}"
    row(title, lambda: weighted_mean(updates, weights), peer=flower, limit=limit)
    row(f"{title}, streamed", lambda: weighted_mean(iter(updates), weights), peer=flower, limit=limit)
    row(f"{title}, with FedAvg's checks", whole, peer=flower, limit=limit)


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peers", "size"), [(10, _MILLION), (32, _MILLION // 4), (100, _MILLION // 10)])
def test_median_and_trimmed_mean(row: Measure, peers: int, size: int) -> None:
    """Each coordinate's order; a tenth is trimmed at each end."""
    stack, trim = _stack(peers, size), peers // 10
    updates = list(stack)
    median, limit = ("np.median", lambda: np.median(stack, axis=0)), _read(updates)
    np.testing.assert_array_equal(coordinate_median(updates), np.median(stack, axis=0))
    row(f"median of {peers} x {size:,}", lambda: coordinate_median(updates), peer=median, limit=limit)
    row(f"trimmed mean of {peers} x {size:,}", lambda: trimmed_mean(updates, trim), peer=median, limit=limit)


# --- distances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peers", [10, 100])
def test_distances(row: Measure, peers: int) -> None:
    """All pairs of updates, as Krum needs them."""
    stack = _stack(peers, _MILLION)
    updates = list(stack)
    gram = ("X @ X.T", lambda: stack @ stack.T)
    row(f"distances of {peers} x {_MILLION:,}", lambda: squared_distances(updates), peer=gram, limit=_read(updates))


# --- memory -----------------------------------------------------------------------------------------------------------

_REDUCTIONS: Final[dict[str, Callable[[list[F32]], Any]]] = {
    "mean": lambda updates: weighted_mean(updates, [1] * len(updates)),
    "median": coordinate_median,
    "distances": squared_distances,
}


@pytest.mark.parametrize("name", _REDUCTIONS)
def test_memory(row: Measure, name: str) -> None:
    """What it takes at most at any time, its result counted, beside a copy of all updates."""
    stack = _stack(100, _MILLION // 10)
    updates = list(stack)
    _REDUCTIONS[name](updates)
    tracemalloc.start()
    try:
        _REDUCTIONS[name](updates)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    row.memory(f"memory of a {name}, 100 x 100,000", peak, peer=("a copy of the stack", stack.nbytes))
