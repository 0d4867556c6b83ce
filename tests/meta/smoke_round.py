"""One federated round by an installed package alone, its own plugins included; run as a script by `test_packaging`."""

from __future__ import annotations

import numpy as np

import bb_core as bb
from bb_plugins.recipes.federated_averaging import FederatedAveraging


def main() -> None:
    """Run it and print what came back."""
    data = {"inputs": np.eye(4, dtype=np.float32), "labels": np.arange(4)}
    result = bb.run(
        FederatedAveraging(clients_per_round=2, epochs=1),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use("bytesandbrains.MLP", layers=(4, 4)),
            "compute": "bytesandbrains.CpuBackend",
            "data": bb.use("bytesandbrains.ArrayDataSource", **data),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use("bytesandbrains.ArrayDataSource", **data),
        },
        peers={"client": 2},
    )
    (metrics,) = result.metrics
    print(metrics["training"]["peers"], metrics["metrics"]["count"], bb.__file__)


if __name__ == "__main__":
    main()
