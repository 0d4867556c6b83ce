"""Federated averaging as a plain loop: no engine, no Envelopes, no Concretes.

`plain_rounds` takes the same kernels as the Concretes, and so must give equal bytes. `numpy_rounds` takes none, and
must agree as far as rounding lets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from bb_core.ids import PeerId
from bb_plugins.backends.cpu.backend import primitive

PROGRAM, EDGE = "FederatedAveraging@client", "model.params"
Train = Callable[[np.ndarray, np.ndarray, np.ndarray, Any], None]


def plain_rounds(inputs: np.ndarray, labels: np.ndarray, shares: Sequence[np.ndarray], experiment: Any) -> np.ndarray:
    """Train with the kernels; returns the parameters after the last round."""
    return _rounds(inputs, labels, shares, experiment, _train_with_kernels, primitive("add_scaled"))


def numpy_rounds(inputs: np.ndarray, labels: np.ndarray, shares: Sequence[np.ndarray], experiment: Any) -> np.ndarray:
    """Train with numpy alone, in f64."""

    def add_scaled(total: np.ndarray, update: np.ndarray, scale: Any) -> None:
        total += scale * update

    return _rounds(inputs, labels, shares, experiment, _train_with_numpy, add_scaled)


def _rounds(
    inputs: np.ndarray, labels: np.ndarray, shares: Sequence[np.ndarray], experiment: Any, train: Train, add_scaled: Any
) -> np.ndarray:
    params = first_params((64, 128, 10), experiment.seed)
    for number in range(1, experiment.rounds + 1):
        updates = []
        for client, rows in enumerate(shares, 1):
            random = generator(experiment.seed, client, "model", number)
            mine = params.copy()
            for _ in range(experiment.epochs):
                order = rows[random.permutation(len(rows))]
                train(mine, inputs[order], labels[order], experiment)
            mine.flags.writeable = False
            updates.append(mine)
        total = np.zeros_like(params)
        whole = sum(len(rows) for rows in shares)
        for update, rows in zip(updates, shares, strict=True):
            add_scaled(total, update, np.float32(len(rows) / whole))
        params = total
    return params


def first_params(layers: tuple[int, ...], seed: int) -> np.ndarray:
    """Uniform in +-1/sqrt(n_in), layer by layer."""
    random = np.random.Generator(np.random.Philox(seed))
    parts = []
    for n_in, n_out in pairwise(layers):
        parts.append(random.uniform(-1 / np.sqrt(n_in), 1 / np.sqrt(n_in), (n_in + 1) * n_out))
    return np.concatenate(parts).astype(np.float32)


def generator(seed: int, client: int, slot: str, number: int) -> np.random.Generator:
    """A client's random numbers in one round, as the design states them: keyed by seed, peer, slot and what began the
    Frame, which is the request that the coordinator (peer 0) has sent."""
    salt = int.from_bytes(blake2b(PeerId.from_int(0).raw + bytes(8), digest_size=8).digest(), "big")
    request = (salt + number * 0x9E3779B97F4A7C15) % 2**64
    began = PeerId.from_int(0).raw + b"\x01" + b"\0" + f"{PROGRAM}/{EDGE}".encode() + b"\0" + request.to_bytes(8, "big")
    parts = [str(seed).encode(), PeerId.from_int(client).raw, slot.encode(), blake2b(began, digest_size=16).digest()]
    key = blake2b(b"".join(len(p).to_bytes(8, "big") + p for p in parts), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))


def _train_with_kernels(params: np.ndarray, x: np.ndarray, labels: np.ndarray, experiment: Any) -> None:
    sizes, size = np.array([64, 128, 10]), experiment.batch_size
    acts, deltas = np.empty(size * 138, np.float32), np.empty(size * 138, np.float32)
    grads = np.zeros_like(params)
    plan = SimpleNamespace(sizes=sizes)
    for start in range(0, len(x), size):
        part, right = x[start : start + size], labels[start : start + size]
        rows = len(part)
        primitive("mlp_forward")(params, plan.sizes, part, acts)
        logits, delta = (a[rows * 128 : rows * 138].reshape(rows, 10) for a in (acts, deltas))
        primitive("softmax_cross_entropy")(logits, right, delta)
        primitive("mlp_backward")(params, plan.sizes, part, acts, deltas, grads)
        primitive("sgd")(params, grads, np.zeros_like(params), np.float32(experiment.learning_rate), np.float32(0))


def _train_with_numpy(params: np.ndarray, x: np.ndarray, labels: np.ndarray, experiment: Any) -> None:
    wide = params.astype(np.float64)
    for start in range(0, len(x), experiment.batch_size):
        part, right = x[start : start + experiment.batch_size], labels[start : start + experiment.batch_size]
        wide -= experiment.learning_rate * numpy_gradient(wide, part, right)[1]
    params[:] = wide


def numpy_gradient(params: np.ndarray, x: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean softmax cross-entropy of a 64-128-10 ReLU network, and its gradient by the flat parameters."""
    w1, b1 = params[:8192].reshape(64, 128), params[8192:8320]
    w2, b2 = params[8320:9600].reshape(128, 10), params[9600:]
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances = powers / powers.sum(1, keepdims=True)
    loss = -np.mean(np.log(chances[np.arange(len(x)), labels]))
    delta = chances
    delta[np.arange(len(x)), labels] -= 1
    delta /= len(x)
    before = (delta @ w2.T) * (hidden > 0)
    parts = [x.T @ before, before.sum(0), hidden.T @ delta, delta.sum(0)]
    return float(loss), np.concatenate([p.ravel() for p in parts])


__all__ = ["first_params", "generator", "numpy_gradient", "numpy_rounds", "plain_rounds"]
