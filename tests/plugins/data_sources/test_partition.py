"""Every way of dealing gives each example to one peer, by the seed alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.errors import UsageError
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.data_sources.partition import dirichlet, iid, shards

LABELS = np.random.Generator(np.random.Philox(0)).integers(0, 10, 600)
DEALERS: dict[str, Callable[[int, int], list[np.ndarray]]] = {
    "iid": lambda peers, seed: iid(LABELS, peers, seed),
    "dirichlet": lambda peers, seed: dirichlet(LABELS, peers, 1.0, seed),
    "shards": lambda peers, seed: shards(LABELS, peers, 2, seed),
}


@given(st.sampled_from(sorted(DEALERS)), st.integers(1, 12), st.integers(0, 100))
def test_each_example_goes_to_one_peer(name: str, peers: int, seed: int) -> None:
    parts = DEALERS[name](peers, seed)
    assert len(parts) == peers
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(600))
    for part, again in zip(parts, DEALERS[name](peers, seed), strict=True):
        assert part.dtype == np.int64
        assert np.array_equal(part, np.sort(part))
        assert np.array_equal(part, again)


@pytest.mark.parametrize("name", DEALERS)
def test_seeds_differ(name: str) -> None:
    first, second = (DEALERS[name](5, seed) for seed in (0, 1))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_iid_parts_are_alike() -> None:
    sizes = [len(p) for p in iid(LABELS, 7)]
    assert max(sizes) - min(sizes) <= 1


def test_a_small_alpha_gives_few_labels_and_a_large_one_all() -> None:
    def labels(alpha: float) -> float:
        return float(np.mean([len(np.unique(LABELS[p])) for p in dirichlet(LABELS, 10, alpha, min_size=1)]))

    assert labels(0.05) < 4 < 9 < labels(1000.0)


def test_every_peer_has_the_least_number() -> None:
    assert min(len(p) for p in dirichlet(LABELS, 20, 0.1, seed=3, min_size=2)) >= 2


def test_shards_give_few_labels() -> None:
    assert all(len(np.unique(LABELS[p])) <= 4 for p in shards(LABELS, 20, 2))


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda: iid(LABELS, 0), "peers is 0"),
        (lambda: iid(LABELS, 601), "600 examples"),
        (lambda: dirichlet(LABELS, 3, 0.0), "alpha is 0.0"),
        (lambda: dirichlet(LABELS, 3, float("nan")), "alpha is nan"),
        (lambda: dirichlet(LABELS, 301, 1.0), "at most 300 peers"),
        (lambda: dirichlet(LABELS, 200, 0.01), "raise alpha"),
        (lambda: shards(LABELS, 3, 0), "shards_per_peer"),
        (lambda: shards(LABELS, 400, 2), "at most 300 peers"),
    ],
)
def test_what_cannot_be_dealt_is_refused(attempt: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        attempt()
    assert says in str(caught.value)


def test_digits_are_split_for_good() -> None:
    digits = load_digits()
    assert digits.train_inputs.shape == (1437, 64)
    assert digits.test_inputs.shape == (360, 64)
    assert digits.train_inputs.dtype == np.float32
    assert (digits.train_inputs.min(), digits.train_inputs.max()) == (0, 1)
    counts = np.bincount(digits.test_labels)
    assert counts.min() >= 34
    assert counts.max() <= 38


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits as theirs

    inputs, labels = theirs(return_X_y=True)
    digits = load_digits()
    ours = np.concatenate([digits.train_inputs, digits.test_inputs]) * 16
    assert sorted(map(tuple, ours.astype(int))) == sorted(map(tuple, inputs.astype(int)))
    assert sorted([*digits.train_labels, *digits.test_labels]) == sorted(labels)
