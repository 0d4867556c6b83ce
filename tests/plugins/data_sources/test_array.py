"""Batches: each example once in a pass, seeded, and restartable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bb_plugins.data_sources.array import ArrayDataSource
from tests.plugins.fake_context import FakeContext

INPUTS = np.arange(40, dtype=np.float32).reshape(20, 2)
LABELS = np.arange(20) % 3
ROWS = np.array([1, 3, 5, 7, 9, 11, 13])


def source(**options: Any) -> ArrayDataSource:
    return ArrayDataSource(ArrayDataSource.Config(INPUTS, LABELS, **{"indices": ROWS, "batch_size": 3} | options))


def one_pass(data: ArrayDataSource, ctx: FakeContext) -> tuple[list[int], list[int]]:
    rows, sizes, ended = [], [], False
    while not ended:
        batch, labels, stats = data.next_batch(ctx)
        found = (batch[:, 0] / 2).astype(int)
        np.testing.assert_array_equal(labels, LABELS[found])
        rows += found.tolist()
        sizes.append(stats["num_samples"])
        ended = stats["epoch_end"]
    return rows, sizes


def test_a_pass_has_every_example_once_and_a_short_last_batch() -> None:
    data, ctx = source(), FakeContext()
    for _ in range(3):
        rows, sizes = one_pass(data, ctx)
        assert sorted(rows) == ROWS.tolist()
        assert sizes == [3, 3, 1]


def test_orders_differ_between_passes_and_agree_between_equal_seeds() -> None:
    first, again, other = (one_pass(source(), FakeContext(seed))[0] for seed in (0, 0, 1))
    assert first == again != other
    ctx, data = FakeContext(), source()
    assert one_pass(data, ctx)[0] != one_pass(data, ctx)[0]


def test_epoch_and_next_batch_give_the_same() -> None:
    by_op = one_pass(source(), FakeContext())[0]
    data = source()
    by_epoch = [int(r) for batch, _ in data.epoch(FakeContext()) for r in batch[:, 0] / 2]
    assert by_op == by_epoch


def test_without_shuffling_the_order_is_that_of_the_indices() -> None:
    assert one_pass(source(shuffle=False), FakeContext())[0] == ROWS.tolist()


def test_reset_begins_anew() -> None:
    data, ctx = source(shuffle=False), FakeContext()
    data.next_batch(ctx)
    data.reset(ctx)
    assert one_pass(data, ctx)[0] == ROWS.tolist()


def test_describe_counts_labels() -> None:
    found = source().describe(FakeContext())
    assert found["num_samples"] == 7
    assert dict(zip(found["labels"].tolist(), found["counts"].tolist(), strict=True)) == {0: 2, 1: 3, 2: 2}
    assert found["shape"].tolist() == [2]


def test_the_arrays_are_shared() -> None:
    assert source().config.inputs is INPUTS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"indices": np.array([20])}, "0 to 19"),
        ({"indices": np.array([-1])}, "0 to 19"),
        ({"indices": np.array([0.5])}, "integers"),
        ({"indices": np.zeros((2, 2), int)}, r"shape \(2, 2\)"),
    ],
)
def test_illegal_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        source(**options)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="20 inputs and 3 labels"):
        ArrayDataSource.Config(INPUTS, LABELS[:3])


def test_a_peer_without_examples_says_so() -> None:
    with pytest.raises(ValueError, match="no examples"):
        source(indices=np.arange(0)).next_batch(FakeContext())
