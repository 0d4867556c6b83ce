"""Aggregation rules in numpy and f64, written from the papers: the whole stack at once, nothing clever."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def stacked(updates: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.asarray(u, np.float64) for u in updates])


def mean(updates: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """McMahan et al. 2017, Algorithm 1."""
    return np.average(stacked(updates), axis=0, weights=weights)


def median(updates: list[np.ndarray]) -> np.ndarray:
    """Yin et al. 2018, definition 1."""
    return np.median(stacked(updates), axis=0)


def trimmed_mean(updates: list[np.ndarray], dropped: int) -> np.ndarray:
    """Yin et al. 2018, definition 2."""
    ordered = np.sort(stacked(updates), axis=0)
    return ordered[dropped : len(ordered) - dropped].mean(axis=0)


def squared_distances(updates: list[np.ndarray]) -> np.ndarray:
    all_of_them = stacked(updates).reshape(len(updates), -1)
    return np.array([[((a - b) ** 2).sum() for b in all_of_them] for a in all_of_them])


def krum(updates: list[np.ndarray], liars: int, keep: int = 1) -> list[int]:
    """Blanchard et al. 2017, section 4: the places of the lowest scores, each over the K - f - 2 nearest others."""
    distances = squared_distances(updates)
    near = len(updates) - liars - 2
    found = []
    for i, row in enumerate(distances):
        others = sorted(d for j, d in enumerate(row) if j != i)
        found.append((sum(others[:near]), i))
    return sorted(i for _, i in sorted(found)[:keep])


def sorts(comparators: np.ndarray, rows: int, kept: range) -> bool:
    """Whether a network orders the places that are kept, as it does if it orders 0 and 1 (Knuth, 5.3.4)."""
    for ones in range(rows + 1):
        for places in combinations(range(rows), ones):
            values = [int(i in places) for i in range(rows)]
            for low, high in comparators:
                values[low], values[high] = min(values[low], values[high]), max(values[low], values[high])
            if any(values[i] != int(i >= rows - ones) for i in kept):
                return False
    return True
