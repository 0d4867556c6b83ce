"""Compiles kernels before a run begins: a call of each, on arrays such as it will get.

Without it the first round would stand still while numba compiles, which takes seconds once in a machine's life, and
some tenths of one when the kernels come from numba's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final

import numpy as np

import bb_core as bb
from bb_plugins.aggregators.reductions import squared_distances, trimmed_mean, weighted_mean
from bb_plugins.backends.cpu.backend import primitive
from bb_plugins.backends.cpu.ops import elementwise
from bb_plugins.codecs.int8_affine import Int8Affine
from bb_plugins.indexes.flat import FlatIndex
from bb_plugins.models.mlp import MLP, plan_of


def warm_up(names: Iterable[str], progress: Callable[[int, int, str], None] | None = None) -> None:
    """Compile kernels, or load them from the cache.

    Args:
        names: Which, of `every_kernel`.
        progress: Called before each with (how many are done, how many there are, its name), and once at the end.
    """
    wanted = tuple(names)
    for done, name in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted), name)
        _ready(name)
    if progress is not None:
        progress(len(wanted), len(wanted), "ready")


def kernel_named(name: str) -> Callable[..., Any]:
    """Return a compiled kernel: one of the CpuBackend's primitives, or one that stands with its Concrete."""
    if name not in ELSEWHERE:
        return primitive(name)
    found: Callable[..., Any] = getattr(import_module(ELSEWHERE[name]), name)
    return found


def every_kernel() -> tuple[str, ...]:
    """Return the names of all kernels: those that are called from Python, and those of plans."""
    from bb_plugins.backends.cpu.kernels.natives import natives

    return (*TRIALS, *natives())


def _ready(name: str) -> None:
    from bb_plugins.backends.cpu.kernels.natives import natives

    if name in TRIALS:
        TRIALS[name]()
    else:
        assert natives()[name].address


def _mlp(name: str) -> Callable[[], None]:
    def trial() -> None:
        plan = plan_of(MLP.Config(layers=(2, 3, 2)), rows=2)
        x, labels = np.zeros((2, 2), np.float32), np.zeros(2, np.int64)
        logits = plan.acts[6:10].reshape(2, 2)
        arguments = {
            "mlp_train": (plan, x, labels, 2),
            "mlp_forward": (plan.params, plan.sizes, x, plan.acts),
            "softmax_cross_entropy": (logits, labels, plan.deltas[6:10].reshape(2, 2)),
            "mlp_backward": (plan.params, plan.sizes, x, plan.acts, plan.deltas, plan.grads),
            "sgd": (plan.params, plan.grads, plan.velocity, plan.rate[0], plan.rate[1]),
        }
        primitive(name)(*arguments[name])

    return trial


_UPDATE: Final = np.zeros(2, np.float32)
_NO_CONTEXT: Final[Any] = None  # these Concretes ask nothing of it


def _search() -> None:
    index = FlatIndex(FlatIndex.Config())
    index.add(_NO_CONTEXT, np.zeros((1, 1), np.float32))
    index.search(_NO_CONTEXT, np.zeros((1, 1), np.float32), k=1)


def _quantise() -> bb.Record:
    return Int8Affine(Int8Affine.Config()).encode(_NO_CONTEXT, _UPDATE)[0]


AVERAGING: Final[tuple[str, ...]] = (
    "softmax_cross_entropy",
    "mlp_forward",
    "mlp_backward",
    "sgd",
    "mlp_train",
    "add_scaled",
    "add_four_scaled",
)
"""What a round of federated averaging needs."""

TRIALS: Final[dict[str, Callable[[], object]]] = {
    **{name: _mlp(name) for name in AVERAGING[:5]},
    "add_scaled": lambda: weighted_mean([_UPDATE], [1]),
    "add_four_scaled": lambda: weighted_mean([_UPDATE] * 4, [1] * 4),
    "add_squared_distances": lambda: squared_distances([_UPDATE]),
    "sort_columns": lambda: trimmed_mean([_UPDATE] * 3, 1),
    "mean_of_rows": lambda: trimmed_mean([_UPDATE], 0),
    "erf": lambda: elementwise.compiled("erf", _UPDATE),
    "gelu": lambda: elementwise.compiled("gelu", _UPDATE),
    "nearest": _search,
    "to_int8": _quantise,
    "int8_error": _quantise,
    "from_int8": lambda: Int8Affine(Int8Affine.Config()).decode(_NO_CONTEXT, _quantise()),
}
"""Kernel that Python calls -> a call of it, the parts before the whole: one that calls others loads faster then."""

ELSEWHERE: Final = {
    "nearest": "bb_plugins.indexes.kernels",
    "to_int8": "bb_plugins.codecs.kernels",
    "int8_error": "bb_plugins.codecs.kernels",
    "from_int8": "bb_plugins.codecs.kernels",
}
"""Kernels that are no primitives of the CpuBackend -> their module."""
