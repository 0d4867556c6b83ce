"""What of a program's outputs is a number that can be shown and plotted."""

from __future__ import annotations

from typing import Any

import numpy as np

import bb_core as bb


def numbers(name: str, value: Any) -> dict[str, float]:
    """What of an AppEvent can be plotted: a scalar, or the accuracy and the loss in a Record of measurements."""
    if isinstance(value, bool):
        return {}
    if isinstance(value, int | float | np.number):
        return {name: float(value)}
    if isinstance(value, np.ndarray):
        is_number = value.size == 1 and np.issubdtype(value.dtype, np.number)
        return {name: float(value.reshape(-1)[0])} if is_number else {}
    if isinstance(value, bb.Record):
        count = value.get("count")
        if isinstance(count, int | float) and count > 0:
            named = (("accuracy", "correct"), ("loss", "loss_sum"))
            return {k: float(value[f]) / count for k, f in named if isinstance(value.get(f), int | float)}
    return {}
