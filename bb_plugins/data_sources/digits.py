"""scikit-learn's handwritten digits: 1,797 images of 8 by 8 pixels, which come with the package."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bb_core.errors import MissingExtra

HELD_OUT = 360
_BRIGHTEST = 16


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """The digits, split for good.

    Shape:
        train_inputs (1437, 64), test_inputs (360, 64) f32 in 0..1 · train_labels (1437,), test_labels (360,) i64
    """

    train_inputs: npt.NDArray[np.float32]
    train_labels: npt.NDArray[np.int64]
    test_inputs: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]


def load_digits(seed: int = 0) -> Digits:
    """Read the digits, and hold 360 of them out, of each label alike.

    Args:
        seed: Of the split.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    inputs, labels = _read()
    held_out = _stratified(labels, np.random.Generator(np.random.Philox(seed)))
    return Digits(inputs[~held_out], labels[~held_out], inputs[held_out], labels[held_out])


def _read() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Read the file that scikit-learn ships; to import `sklearn.datasets` would take longer than the training."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MissingExtra(
            "the digits come with scikit-learn, which is not installed", hint='pip install "bytesandbrains[demo]"'
        )
    file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = _parse(file) if file.exists() else _ask_sklearn()
    return np.ascontiguousarray(table[:, :-1] / _BRIGHTEST, np.float32), table[:, -1].astype(np.int64)


def _parse(file: Path) -> npt.NDArray[Any]:
    with gzip.open(file, "rt", encoding="ascii") as lines:
        return np.loadtxt(lines, delimiter=",")


def _ask_sklearn() -> npt.NDArray[Any]:
    from sklearn.datasets import load_digits as read

    inputs, labels = read(return_X_y=True)
    return np.column_stack([inputs, labels])


def _stratified(labels: npt.NDArray[np.int64], random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Say of each example whether it is held out: of each label the same share, rounded so that the sum is right."""
    held_out = np.zeros(len(labels), np.bool_)
    share, before = HELD_OUT / len(labels), 0
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        wanted = round(share * (before + len(rows))) - round(share * before)
        held_out[rows[:wanted]] = True
        before += len(rows)
    return held_out
