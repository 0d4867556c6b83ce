"""A logistic regression as four functions, as a user may have them."""

from __future__ import annotations

from typing import Any

import numpy as np


def init(rng: np.random.Generator) -> dict[str, Any]:
    return {"weight": rng.normal(0, 0.1, (4, 3)), "bias": np.zeros(3)}


def predict(params: dict[str, Any], batch: np.ndarray) -> np.ndarray:
    return batch @ params["weight"] + params["bias"]


def train(params: dict[str, Any], batch: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[Any, float]:
    loss, chances = _chances(params, batch, labels)
    chances[np.arange(len(labels)), labels] -= 1
    params["weight"] -= 0.1 * batch.T @ chances / len(batch)
    params["bias"] -= 0.1 * chances.mean(0)
    return params, loss


def evaluate(params: dict[str, Any], batch: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    loss, chances = _chances(params, batch, labels)
    return {"loss_sum": loss * len(batch), "correct": np.count_nonzero(chances.argmax(1) == labels)}


def _chances(params: dict[str, Any], batch: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    if len(labels) != len(batch):
        raise ValueError(f"{len(labels)} labels for {len(batch)} examples")
    logits = predict(params, batch)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances = powers / powers.sum(1, keepdims=True)
    return float(-np.mean(np.log(chances[np.arange(len(labels)), labels]))), chances
