"""Compiles the kernels that the recipes use before a run begins: a call of each, on arrays such as it will get.

Without it the first round would stand still while numba compiles, which takes seconds once in a machine's life, and
some tenths of one when the kernels come from numba's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from bb_plugins.backends.cpu.backend import primitive
from bb_plugins.models.mlp import MLP, plan_of


def warm_up(progress: Callable[[int, int, str], None] | None = None) -> None:
    """Compile every kernel, or load it from the cache.

    Args:
        progress: Called before each with (how many are done, how many there are, its name), and once at the end.
    """
    for done, (name, trial) in enumerate(TRIALS):
        if progress is not None:
            progress(done, len(TRIALS), name)
        trial()
    if progress is not None:
        progress(len(TRIALS), len(TRIALS), "ready")


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


def _add_scaled() -> None:
    update = np.zeros(2, np.float32)
    update.flags.writeable = False
    primitive("add_scaled")(np.zeros(2, np.float32), update, np.float32(1))


TRIALS: Final = (
    *((name, _mlp(name)) for name in ("softmax_cross_entropy", "mlp_forward", "mlp_backward", "sgd", "mlp_train")),
    ("add_scaled", _add_scaled),
)
"""(name, call), the parts before the whole: a kernel that calls others loads faster when they are there."""
