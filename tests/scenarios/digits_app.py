"""The digits demo for a few sites, as `bb up` and `bb simulate` load it; no test by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

import bb_core as bb
from bb_plugins.data_sources.digits import load_digits
from bb_plugins.recipes.federated_averaging import FederatedAveraging

SITES = 4
_digits = load_digits()
EXAMPLES = len(_digits.train_labels)


def share(number: int) -> dict[str, Any]:
    """One site's digits."""
    rows = np.arange(number, EXAMPLES, SITES)
    return {"inputs": _digits.train_inputs, "labels": _digits.train_labels, "indices": rows, "batch_size": 10}


def _bindings(**of_data: Any) -> dict[str, Any]:
    return {
        "cohort": "bytesandbrains.ConstantView",
        "model": bb.use("bytesandbrains.MLP", layers=(64, 32, 10), learning_rate=0.1),
        "compute": "bytesandbrains.CpuBackend",
        "data": bb.each("bytesandbrains.ArrayDataSource", lambda number: share(number) | of_data),
        "aggregator": "bytesandbrains.FedAvg",
        "holdout": bb.use(
            "bytesandbrains.ArrayDataSource",
            inputs=_digits.test_inputs,
            labels=_digits.test_labels,
            batch_size=len(_digits.test_labels),
            shuffle=False,
        ),
    }


bindings = _bindings()
program = FederatedAveraging(clients_per_round=SITES, epochs=2, deadline="3s")
