"""Measures that add up: what Evaluate returns are sums, of which any number of batches and peers make a whole.

| in Evaluate's Record                                   | `summary` makes of it     |
|--------------------------------------------------------|---------------------------|
| `loss_sum`, `count`                                    | `loss`, the mean          |
| `correct`                                              | `accuracy`                |
| `top_k_correct`, asked for by `top_k`, such as `top_5` | `top_k`                   |
| `true_positives`, `predicted`, `actual` by class: `f1` | `f1`, the macro average   |
| `square_sum`                                           | `mse`, `rmse`             |

A mean of means would be wrong where peers have unequally many examples, and a mean of F1 scores always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

import bb_core as bb
from bb_core.errors import RoleError, UsageError

_TOP: Final = "top_"
_BY_CLASS: Final = ("true_positives", "predicted", "actual")


def check_names(names: Sequence[str]) -> None:
    """Refuse what is no further measure.

    Raises:
        ValueError: a name is neither `f1` nor `top_` with a number.
    """
    for name in names:
        number = name.removeprefix(_TOP)
        if name != "f1" and not (name.startswith(_TOP) and number.isdigit() and int(number) > 0):
            raise ValueError(f"metrics has {name!r}; expected f1, or top_3 with any number above 0")


def further(names: Sequence[str], prediction: Any, labels: Any) -> dict[str, Any]:
    """Return the sums of further measures of classes.

    Args:
        names: Such as `("top_3", "f1")`.
        prediction: (b, ..., classes) scores.
        labels: (b, ...) integers.
    """
    found: dict[str, Any] = {}
    classes = prediction.shape[-1]
    scores, right = prediction.reshape(-1, classes), np.asarray(labels).reshape(-1).astype(np.int64)
    for name in names:
        if name == "f1":
            guess = scores.argmax(1)
            found["true_positives"] = np.bincount(right[guess == right], minlength=classes)
            found["predicted"] = np.bincount(guess, minlength=classes)
            found["actual"] = np.bincount(right, minlength=classes)
        else:
            k = int(name.removeprefix(_TOP))
            better = scores > scores[np.arange(len(right)), right][:, None]
            hits = np.count_nonzero(better, axis=1) < k
            found[f"{name}_correct"] = float(hits.mean()) * len(prediction) if len(right) else 0.0
    return found


def total(records: Iterable[Mapping[str, Any]]) -> bb.Record:
    """Add up the Records of several batches or peers, field by field; what one lacks counts as nothing.

    Raises:
        RoleError: a field is no number and no array, or arrays of it differ in shape.
    """
    sums: dict[str, Any] = {}
    for record in records:
        for name, value in record.items():
            if isinstance(value, str | bytes) or not isinstance(value, bool | int | float | np.ndarray | np.generic):
                raise RoleError(f"{name} is a {type(value).__name__}, which cannot be added up", expected="a number")
            if name in sums and np.shape(sums[name]) != np.shape(value):
                raise RoleError(
                    f"{name} has the shapes {np.shape(sums[name])} and {np.shape(value)}",
                    expected="as many classes on all peers",
                )
            sums[name] = sums[name] + value if name in sums else value
    return bb.Record({name: _plain(value) for name, value in sums.items()})


def summary(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures of a Record of sums, as far as it has what they are made of."""
    count = record.get("count")
    found: dict[str, float] = {}
    if isinstance(count, int | float) and count > 0:
        for name, source in (("loss", "loss_sum"), ("accuracy", "correct"), ("mse", "square_sum")):
            if isinstance(record.get(source), int | float):
                found[name] = float(record[source]) / count
        for name in record:
            if name.startswith(_TOP) and name.endswith("_correct"):
                found[name.removesuffix("_correct")] = float(record[name]) / count
    if "mse" in found:
        found["rmse"] = float(np.sqrt(found["mse"]))
    if all(name in record for name in _BY_CLASS):
        hits, guessed, there = (np.asarray(record[name], np.float64) for name in _BY_CLASS)
        seen = guessed + there > 0  # a class that nobody has and nobody guesses says nothing
        found["f1"] = float((2 * hits[seen] / (guessed + there)[seen]).mean()) if seen.any() else 0.0
    return found


# --- ops --------------------------------------------------------------------------------------------------------------


def total_op(ctx: bb.Context, records: Any) -> bb.Record:
    """Add up what many peers have measured."""
    return total(records)


def summary_op(ctx: bb.Context, sums: bb.Record) -> bb.Record:
    """Say what sums amount to."""
    found = summary(sums)
    if not found:
        raise UsageError(f"there is nothing to be measured in {sorted(sums)}", expected="what Evaluate returns")
    return bb.Record(found)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
