"""What is this Aggregator's own; the promises of its Role are in test_conformance.py."""

import numpy as np
import pytest

import bb_core as bb
from bb_core.testing import FakeContext
from bb_trimmed_mean import TrimmedMean


def averaged(updates: list[np.ndarray], trim: float) -> tuple[np.ndarray, bb.Record]:
    given = [bb.roles.Contribution(bb.PeerId.from_int(n), update, bb.Record()) for n, update in enumerate(updates)]
    return TrimmedMean(TrimmedMean.Config(trim=trim)).combine(FakeContext(), given)


@pytest.mark.parametrize("peers", [1, 2, 5, 20])
@pytest.mark.parametrize("trim", [0.0, 0.1, 0.25, 0.4])
def test_it_is_what_sorting_gives(peers: int, trim: float) -> None:
    random = np.random.Generator(np.random.Philox(peers))
    updates = [random.standard_normal(3000).astype(np.float32) for _ in range(peers)]
    mean, stats = averaged(updates, trim)
    dropped = stats["dropped"]
    expected = np.sort(updates, axis=0)[dropped : peers - dropped].mean(axis=0)
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    assert dropped == int(trim * peers)


def test_an_outlier_does_not_count_however_large() -> None:
    mean, _ = averaged([np.full(3, value, np.float32) for value in (1, 2, 3, 2, 3e38)], 0.2)
    np.testing.assert_allclose(mean, 7 / 3, rtol=1e-6)
