"""Averages, and how contributions come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bb_core as bb
from bb_core.errors import ContributionRefused
from bb_plugins.aggregators.fedavg import FedAvg
from bb_plugins.aggregators.fedavgm import FedAvgM
from bb_plugins.aggregators.reductions import weighted_mean
from tests.plugins.aggregators.rounds import aggregated, updates
from tests.plugins.fake_context import FakeContext


@given(st.integers(1, 30), st.integers(0, 1000))
def test_the_mean_is_within_its_stated_bound(count: int, seed: int) -> None:
    weights = list(np.random.Generator(np.random.Philox(seed)).integers(1, 100, count))
    many = updates(count, seed=seed)
    exact = np.average(np.asarray(many, np.float64), axis=0, weights=weights)
    largest = max(float(np.abs(u).max()) for u in many)
    assert np.abs(weighted_mean(many, weights) - exact).max() <= count * 2.0**-24 * largest + 2.0**-24 * largest


def test_one_client_is_returned_as_it_is() -> None:
    (update,) = updates(1)
    mean, stats = aggregated(FedAvg(FedAvg.Config()), [update], [12])
    np.testing.assert_array_equal(mean, update)
    assert stats == bb.Record(num_samples=12, peers=1)


def test_the_order_of_arrival_does_not_matter() -> None:
    many = updates(5)
    mean, stats = aggregated(FedAvg(FedAvg.Config()), many, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(mean, weighted_mean(many, [1, 2, 3, 4, 5]))
    assert stats == bb.Record(num_samples=15, peers=5)


def test_without_a_weight_all_count_alike() -> None:
    many = updates(3)
    mean, _ = aggregated(FedAvg(FedAvg.Config(weight="")), many, [1, 100, 1000])
    np.testing.assert_array_equal(mean, weighted_mean(many, [1, 1, 1]))


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1e308, "many"])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(ContributionRefused, match="num_samples"):
        aggregated(FedAvg(FedAvg.Config()), updates(1), [weight])


@pytest.mark.parametrize(
    ("update", "says"),
    [
        (np.array([np.nan], np.float32), "NaN"),
        (np.array([np.inf], np.float32), "NaN or infinity"),
        (np.array([1]), "int64"),
    ],
)
def test_an_update_that_is_not_finite_numbers_is_refused(update: np.ndarray, says: str) -> None:
    with pytest.raises(ContributionRefused, match=says):
        aggregated(FedAvg(FedAvg.Config()), [update], [1])


def test_values_whose_squares_overflow_are_finite() -> None:
    big = np.full(4, 3e30, np.float32)
    np.testing.assert_array_equal(aggregated(FedAvg(FedAvg.Config()), [big], [1])[0], big)


def test_an_update_that_nobody_asked_for_is_refused() -> None:
    ctx = FakeContext()
    ctx.request = 9
    with pytest.raises(ContributionRefused, match="nobody has asked"):
        FedAvg(FedAvg.Config()).contribute(ctx, np.zeros(1, np.float32), bb.Record(num_samples=1))


def test_aggregate_without_a_collection_is_refused() -> None:
    with pytest.raises(ContributionRefused, match="nothing to aggregate"):
        FedAvg(FedAvg.Config()).aggregate(FakeContext())


def test_a_nodes_own_contribution_counts_on_top_of_the_cohort() -> None:
    aggregator, ctx = FedAvg(FedAvg.Config()), FakeContext()
    own, other = updates(2)
    aggregator.contribute(ctx, own, bb.Record(num_samples=1))
    ctx.requests = (7,)
    aggregator.collect(ctx, bb.PeerList([bb.PeerId.from_int(1)]))
    ctx.request, ctx.is_response, ctx.source = 7, True, bb.PeerId.from_int(1)
    with pytest.raises(AttributeError):  # the fake Later of this round cannot be completed
        aggregator.contribute(ctx, other, bb.Record(num_samples=1))
    np.testing.assert_array_equal(aggregator.aggregate(ctx)[0], weighted_mean([own, other], [1, 1]))


def test_server_momentum_is_that_of_the_paper() -> None:
    aggregator = FedAvgM(FedAvgM.Config(momentum=0.9, learning_rate=0.5))
    means = updates(4)
    found = [aggregated(aggregator, [m], [1])[0] for m in means]
    w, v = means[0].astype(np.float64), np.zeros(100)
    np.testing.assert_array_equal(found[0], means[0])
    for mean, ours in zip(means[1:], found[1:], strict=True):
        v = 0.9 * v + (w - mean)
        w = w - 0.5 * v
        np.testing.assert_allclose(ours, w, atol=1e-5)


def test_without_momentum_it_is_fedavg() -> None:
    aggregator = FedAvgM(FedAvgM.Config(momentum=0.0))
    for mean in updates(3):
        np.testing.assert_allclose(aggregated(aggregator, [mean], [1])[0], mean, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (FedAvg.Config, {"quorum": 0}),
        (FedAvg.Config, {"minimum": 0}),
        (FedAvgM.Config, {"momentum": 1.0}),
        (FedAvgM.Config, {"learning_rate": 0.0}),
        (FedAvgM.Config, {"quorum": -1}),
    ],
)
def test_illegal_options_are_refused(config: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        config(**options)
