"""The CpuBackend's training kernels, beside the same written in numpy.

The limits: a step's matrix products alone, by the same BLAS; for a sum over peers, one read of all that is summed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bb_plugins.aggregators.reductions import weighted_mean
from bb_plugins.backends.cpu.backend import limit_blas, primitive
from bb_plugins.bench.harness import Measure
from bb_plugins.models.mlp import MLP, plan_of, with_room

F32 = npt.NDArray[np.float32]

_BATCH = 32
_RATE = np.float32(0.1)


def _random() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(0))


def _numpy_step(params: list[F32], x: F32, labels: npt.NDArray[np.int64]) -> Callable[[], None]:
    """Write the same step as one would in numpy, f32, temporaries where they come."""
    w1, b1, w2, b2 = params
    rows = np.arange(len(x))

    def run() -> None:
        hidden = np.maximum(x @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        powers = np.exp(logits - logits.max(1, keepdims=True))
        delta = powers / powers.sum(1, keepdims=True)
        delta[rows, labels] -= 1
        delta /= len(x)
        before = (delta @ w2.T) * (hidden > 0)
        w2[:] -= _RATE * (hidden.T @ delta)
        b2[:] -= _RATE * delta.sum(0)
        w1[:] -= _RATE * (x.T @ before)
        b1[:] -= _RATE * before.sum(0)

    return run


def _products(x: F32) -> Callable[[], None]:
    """Do the five matrix products of a step, and nothing else."""
    hidden, logits = np.zeros((_BATCH, 128), np.float32), np.zeros((_BATCH, 10), np.float32)
    w1, w2 = np.zeros((64, 128), np.float32), np.zeros((128, 10), np.float32)
    out = [np.empty(s, np.float32) for s in ((_BATCH, 128), (_BATCH, 10), (_BATCH, 128), (128, 10), (64, 128))]

    def run() -> None:
        np.dot(x, w1, out[0])
        np.dot(hidden, w2, out[1])
        np.dot(logits, w2.T, out[2])
        np.dot(hidden.T, logits, out[3])
        np.dot(x.T, hidden, out[4])

    return run


def test_training_step(row: Measure) -> None:
    """One SGD step of the demo's network on a batch of 32."""
    limit_blas(1)
    config = MLP.Config()
    plan = with_room(plan_of(config, 0), _BATCH)
    x = _random().random((_BATCH, 64), np.float32)
    labels = _random().integers(0, 10, _BATCH)
    flat = plan.params.copy()
    parts = [flat[:8192].reshape(64, 128), flat[8192:8320], flat[8320:9600].reshape(128, 10), flat[9600:]]
    train = primitive("mlp_train")
    row(
        "SGD step, 64-128-10, batch 32",
        lambda: train(plan, x, labels, _BATCH),
        peer=("numpy", _numpy_step(parts, x, labels)),
        limit=("its matrix products", _products(x)),
    )


@pytest.mark.parametrize(("peers", "size"), [(20, 9610), (10, 1_000_000)])
def test_weighted_mean(row: Measure, peers: int, size: int) -> None:
    """A FedAvg round's sum."""
    updates: list[Any] = [_random().random(size, np.float32) for _ in range(peers)]
    weights = list(range(1, peers + 1))
    total = sum(weights)

    def by_numpy() -> F32:
        summed = np.zeros(size, np.float32)
        for update, weight in zip(updates, weights, strict=True):
            summed += np.float32(weight / total) * update
        return summed

    row(
        f"weighted mean of {peers} x {size:,}",
        lambda: weighted_mean(updates, weights),
        peer=("numpy", by_numpy),
        limit=("read once", lambda: [update.max() for update in updates]),
    )
